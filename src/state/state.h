/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The store of a project: which source message became which target message, folder by folder.
 *
 * What it promises: a row is written only after the target has answered for the message, so the state
 * never claims more than the target has. Nothing has to be durable before bytes leave: a folder's row
 * says up to which target UID everything is accounted for (target_uidnext), and whatever lies behind
 * it is looked at by content before anything is sent again. Losing the newest rows (power loss, dropped fsync)
 * therefore costs work, never mail.
 *
 * One thread of its own writes (SQLite in WAL mode, one transaction for all that has queued up). Loops
 * hand it filled batches by a bounded queue and go on; mh_state_sync() waits until all that was handed over is
 * committed. Reads run in the caller's thread on a second connection: call them through mh_offload() in a task.
 *
 * One run at a time has the store. A verify works beside it from a process of its own and writes its notes into the same
 * file: SQLite gives the two turns, each waits for the other's transaction (a minute at most), and the run, which may write one behind
 * the other, leaves a gap when it is told that somebody waits. What is committed is in one log in one order, whoever wrote it,
 * so all that is said here of losing the newest rows holds for both.
 * Functions are safe from any thread unless they say otherwise. Opaque, so that another store can take its place.
 */
#ifndef MH_STATE_STATE_H
#define MH_STATE_STATE_H

#include <stdbool.h>

#include "base/error.h"
#include "mail/digest.h"
#include "mail/folder.h"
#include "mail/item.h"
#include "mail/uids.h"

struct mh_state;

#define MH_STATE_SCHEMA     2
#define MH_STATE_BATCH_ROWS 128

/*
 * Opens or makes the store at PATH; one of an older schema is brought to this one, rows and all. MH_ELOCKED: another
 * run holds it (the text names pid and host; the lock of a dead one is free); MH_ERUN: not writable, damaged
 * (looked through when the last run did not end in good order), or made by a newer version. READ_ONLY takes no lock
 * and may run beside a writer; MH_ENOENT when there is no such store.
 */
int mh_state_open(const char *path, bool read_only, struct mh_state **out,
                  struct mh_err *err) MH_MUST_CHECK;
/*
 * Opens or makes the store for a verify: takes no run's lock, keeps no run out and is kept out by none. All can be read; of
 * what is written only mailboxes and verify rows are taken, everything else is MH_ERUN.
 */
int mh_state_open_beside(const char *path, struct mh_state **out, struct mh_err *err) MH_MUST_CHECK;
/* True when another handle has the store open for a run at this moment. */
bool mh_state_run_is_on(const struct mh_state *st);
/* Commits what is queued and closes. The first write error of the whole run, if any, is returned here too. */
int mh_state_close(struct mh_state *st, struct mh_err *err);

/* 0, or the error that made the writer stop (disk full, I/O): the run must stop. Cheap. */
int mh_state_health(struct mh_state *st, struct mh_err *err);
/* Waits (task: without blocking the loop) until everything handed over before is committed. */
int mh_state_sync(struct mh_state *st, struct mh_err *err) MH_MUST_CHECK;

/* The row of a mailbox; a new one is made and waited for (mh_state_sync()). SRC_KEY/DST_KEY: mh_endpoint_format(). */
int mh_state_mailbox(struct mh_state *st, const char *id, const char *src_key, const char *dst_key,
                     uint32_t *mailbox_out, struct mh_err *err) MH_MUST_CHECK;

struct mh_state_folder {
    uint32_t id; /* from mh_state_new_folder_id() for a new one */
    uint32_t mailbox;
    char *src_path;   /* owned; "": it has none any more, see mh_state_put_folder() */
    char *dst_path;   /* owned */
    char *dst_native; /* owned */
    uint32_t src_uidvalidity, dst_uidvalidity;
    /* src_uidnext is 0 in a row that is not complete: a pass has begun and never ended. */
    uint64_t src_uidnext, src_messages, src_highestmodseq;
    uint64_t
        src_object_id; /* mh_folder.object_id: finds the folder again under another name; 0 = unknown */
    uint64_t target_uidnext; /* every target UID below is accounted for; 0 = nothing known */
    bool complete;           /* the last pass ended with every message decided and none failed */
};

struct mh_state_folders {
    struct mh_state_folder *v; /* owned */
    size_t n;
};

/* In order of src_path (strcmp()), those without a path first. */
int mh_state_folders(struct mh_state *st, uint32_t mailbox, struct mh_state_folders *out,
                     struct mh_err *err) MH_MUST_CHECK;
void mh_state_folders_done(struct mh_state_folders *f);
uint32_t mh_state_new_folder_id(struct mh_state *st);
/*
 * Hands a folder's row over to be written (a copy is taken), its paths too when it was renamed. Does not wait for
 * the commit.
 *
 * A path belongs to one row of a mailbox, and the last put has it: a row that had it before keeps its items,
 * its ledger and all else, but its src_path is "" from then on, until it is put under another. So the rows of a chain
 * of renames (A to B, B to C) or of a swap may be put in any order, and when the second put is lost (the process is
 * killed between them) the folder is still there to be found by src_object_id or src_uidvalidity. Putting
 * a row with src_path "" says that the folder is not there at the source any more. mh_state_ledger() leaves
 * out the rows of folders without a path.
 */
int mh_state_put_folder(struct mh_state *st, const struct mh_state_folder *f,
                        struct mh_err *err) MH_MUST_CHECK;
/* Hands over: forget all items of the folder (its UIDVALIDITY changed at the source). */
int mh_state_clear_items(struct mh_state *st, uint32_t folder, struct mh_err *err) MH_MUST_CHECK;

enum mh_how {
    MH_HOW_COPIED,
    MH_HOW_ADOPTED_EXACT,     /* was there: same digest */
    MH_HOW_ADOPTED_CANONICAL, /* was there: same after the target's known rewrites */
    MH_HOW_ADOPTED_FINGERPRINT, /* was there: same stable headers and body (another tool added headers) */
    MH_HOW_MOVED,   /* moved with the source's: was carried into another folder before */
    MH_HOW_REMOVED, /* was carried, and the target's user has removed it since: dst_uid is 0 */
};

/* What has become of a message at the source. */
enum mh_gone {
    MH_GONE_NOT,         /* it is there */
    MH_GONE_KEPT,        /* deleted there, kept at the target */
    MH_GONE_QUARANTINED, /* deleted there, moved to the quarantine at the target */
    MH_GONE_MOVED,       /* lies in another folder now, at the target too */
};

struct mh_state_item {
    uint64_t src_uid;
    uint64_t dst_uid; /* 0 = unknown (no UIDPLUS, not yet resolved) */
    uint64_t size;    /* octets as fetched from the source */
    struct mh_date date;
    uint32_t kw;   /* mh_state_kw_id() */
    uint8_t flags; /* as last carried */
    uint8_t how;   /* enum mh_how */
    uint8_t gone;  /* enum mh_gone */
    /* Flags and keywords (mh_state_kw_id(), 0 none) that the target's user has changed since: the source's changes of
     * these are not carried any more. */
    uint8_t theirs;
    uint32_t theirs_kw;
    uint64_t object_id; /* mh_item.object_id; 0 = unknown */
    bool has_digest;
    struct mh_digest digest;
};

/* Items of a folder in ascending src_uid. */
struct mh_state_items {
    struct mh_state_item *v; /* owned */
    size_t n;
    size_t cap;
};
int mh_state_items(struct mh_state *st, uint32_t folder, struct mh_state_items *out,
                   struct mh_err *err) MH_MUST_CHECK;
/* Those of the source UIDS (finished) alone: what it costs depends on their number, not on the folder's. */
int mh_state_items_in(struct mh_state *st, uint32_t folder, const struct mh_uids *uids,
                      struct mh_state_items *out, struct mh_err *err) MH_MUST_CHECK;
void mh_state_items_done(struct mh_state_items *i);
/* Source UIDs of the folder's items that are MH_GONE_NOT; OUT is finished. */
int mh_state_src_uids(struct mh_state *st, uint32_t folder, struct mh_uids *out,
                      struct mh_err *err) MH_MUST_CHECK;
/* Target UIDs from FROM on that the folder's items account for, whatever became of them since; OUT is finished.
 * What it costs depends on their number alone. */
int mh_state_dst_uids(struct mh_state *st, uint32_t folder, uint64_t from, struct mh_uids *out,
                      struct mh_err *err) MH_MUST_CHECK;
struct mh_state_item *mh_state_items_find(const struct mh_state_items *i, uint64_t src_uid);

/* Keyword combinations by number, the same in every folder; "" is 0. A new one is stored with the next rows that are
 * handed over, ahead of them. */
int mh_state_kw_id(struct mh_state *st, const char *text, uint32_t *id_out,
                   struct mh_err *err) MH_MUST_CHECK;
/* Into BUF; "" when unknown. */
const char *mh_state_kw_text(struct mh_state *st, uint32_t id, char *buf, size_t buf_size);

/* A batch of rows on its way to the writer. Reused: no allocation per message. */
struct mh_state_batch {
    union { /* the store's own */
        void *link[4];
        uint64_t rec[4];
    };
    uint32_t folder;
    uint64_t target_uidnext; /* 0: leave as it is; else the folder's new value with this batch */
    unsigned n;
    struct mh_state_item rows[MH_STATE_BATCH_ROWS];
};
int mh_state_batch_get(struct mh_state *st, uint32_t folder, struct mh_state_batch **out,
                       struct mh_err *err) MH_MUST_CHECK;
/* Takes BATCH; insert or replace. May wait while the writer is behind. */
int mh_state_batch_put(struct mh_state *st, struct mh_state_batch *batch_take,
                       struct mh_err *err) MH_MUST_CHECK;
/* Gives an unused one back. */
void mh_state_batch_drop(struct mh_state *st, struct mh_state_batch *batch_take);

/* --- the ledger: what is not plainly copied or adopted ------------------------------------------- */

struct mh_ledger_row {
    uint32_t folder;
    uint64_t src_uid;
    const char *state;  /* "skipped", "failed" */
    const char *reason; /* slug */
    const char *text;   /* for a person */
};
/* Copies ROW and hands it over; replaces an older row of the same message. */
int mh_state_put_ledger(struct mh_state *st, const struct mh_ledger_row *row,
                        struct mh_err *err) MH_MUST_CHECK;
/* Forgets a folder's rows: a new pass decides anew. */
int mh_state_clear_ledger(struct mh_state *st, uint32_t folder, struct mh_err *err) MH_MUST_CHECK;
/* Forgets the row of one message, if there is one: it is gone at the source. */
int mh_state_clear_ledger_item(struct mh_state *st, uint32_t folder, uint64_t src_uid,
                               struct mh_err *err) MH_MUST_CHECK;
/* All rows of a mailbox in order of folder and uid. EACH returns non-zero to stop; it must not read from the store. */
int mh_state_ledger(struct mh_state *st, uint32_t mailbox,
                    int (*each)(void *ctx, const char *src_path, const struct mh_ledger_row *row),
                    void *ctx, struct mh_err *err) MH_MUST_CHECK;

/* --- runs, for `status` ------------------------------------------------------------------------------ */

struct mh_run_row {
    uint32_t mailbox;
    int64_t started_wall_s, ended_wall_s; /* ended 0: under way (or killed) */
    const char *phase;                    /* "moving", "done", "failed", … */
    const char *problem;                  /* one line, or "" */
    uint64_t found, copied, adopted, skipped, failed, updated, bytes;
    /* under --watch: when both sides were known to be equal last, and how long the last change took from the source's
     * telling to the target's answer; -1: not known */
    int64_t equal_wall_s, lag_ms;
};
/* One row per mailbox: the newest state of its newest run. */
int mh_state_put_run(struct mh_state *st, const struct mh_run_row *row,
                     struct mh_err *err) MH_MUST_CHECK;
/* When the store was last written by a run of MAILBOX that never ended (killed, power lost); 0: the last one
 * ended, or there was none. A server may still be storing what such a run had sent. It is so long before the wall clock's now
 * as has passed by a clock that nobody sets: also when the wall clock has jumped meanwhile. */
int mh_state_broken_off(struct mh_state *st, uint32_t mailbox, int64_t *wall_s_out,
                        struct mh_err *err) MH_MUST_CHECK;
int mh_state_runs(struct mh_state *st,
                  int (*each)(void *ctx, const char *mailbox_id, const struct mh_run_row *row),
                  void *ctx, struct mh_err *err) MH_MUST_CHECK;

/* --- verify that can be resumed --------------------------------------------------------------------- */

/* How far a verify of one folder has come, and what it has counted; a folder that is not listed has not been begun. */
struct mh_verify_row {
    uint32_t mailbox;
    const char *src_path;
    const char
        *mode; /* "stored", "deep", … with the sample: rows of another mode are not resumed */
    uint64_t next_uid;  /* of the source: all below are compared; UINT64_MAX: the folder is done */
    uint64_t counts[8]; /* in the caller's order */
};
/* What was found out about one message. */
struct mh_verify_item {
    uint64_t uid;
    const char *state, *reason, *text;
};
/*
 * Copies ROW (replacing the folder's) and the N rows of what was found since the last put, and hands them over: they
 * are written together or not at all. Items add up; a row of another mode, or with a next_uid below the
 * stored one, begins the folder anew and forgets the items before.
 */
int mh_state_put_verify(struct mh_state *st, const struct mh_verify_row *row,
                        const struct mh_verify_item *items, size_t n,
                        struct mh_err *err) MH_MUST_CHECK;
/*
 * One verify of a mailbox at a time, in whatever process (not for a store that is opened read-only): MH_ELOCKED names the
 * holder and WHAT it is doing. Holds until the unlock, the close of the store or the end of the process.
 */
int mh_state_lock_verify(struct mh_state *st, uint32_t mailbox, const char *what,
                         struct mh_err *err) MH_MUST_CHECK;
void mh_state_unlock_verify(struct mh_state *st, uint32_t mailbox);
/* Forgets all verify rows of the mailbox. */
int mh_state_clear_verify(struct mh_state *st, uint32_t mailbox, struct mh_err *err) MH_MUST_CHECK;
/* Each folder's row in order of path, behind it EACH_ITEM for its items as they were put; non-zero stops. The callbacks
 * must not call the store. */
int mh_state_verify(struct mh_state *st, uint32_t mailbox,
                    int (*each)(void *ctx, const struct mh_verify_row *row),
                    int (*each_item)(void *ctx, const char *src_path,
                                     const struct mh_verify_item *item),
                    void *ctx, struct mh_err *err) MH_MUST_CHECK;

#endif
