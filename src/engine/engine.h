/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The engine: moves mailboxes from sources to targets over lanes, keeps budgets, decides what to try
 * again, accounts for every message. It knows connectors as vtables and people as an event sink.
 *
 * A run is given schedulers (one per loop thread, already running and held), connectors, a pool, a state
 * and a list of mailboxes. Each mailbox is a task on one scheduler for its whole life; so are its lanes. Only three
 * things are shared between schedulers, each behind a small lock: the connection budgets, the pool, and the
 * state's queue; results are put together when a mailbox has ended.
 *
 * Ownership: everything in struct mh_engine_config is borrowed and outlives the run. Results are the
 * caller's (mh_result_done). thread: mh_engine_run() and mh_engine_verify() are called from a plain thread that is no
 * scheduler, and return when all mailboxes have ended.
 */
#ifndef MH_ENGINE_ENGINE_H
#define MH_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/task.h"
#include "mail/connector.h"
#include "mail/events.h"
#include "state/state.h"

/* --- what goes in ---------------------------------------------------------------------------------- */

/* One source folder's place at the target, decided by the mapping. */
struct mh_engine_map_entry {
    const struct mh_folder *source; /* borrowed: the list that was mapped */
    char *target_path;              /* owned; NULL = not carried */
    enum mh_role role;              /* to ask the target for; MH_ROLE_NONE */
    const char *why; /* static: "rule", "role", "role-guessed", "same", "prefix", "skip-rule", … */
    char *note;      /* owned: what a person should know about it, or NULL */
};
struct mh_engine_map {
    struct mh_engine_map_entry *v; /* owned */
    size_t n;
};

struct mh_engine_mailbox {
    const char *id; /* in all outputs */
    const struct mh_endpoint *source, *target;
    struct mh_progress *progress; /* written by the engine, read by screens */
    void *user;                   /* for the callbacks */
};

/* What the mapping is asked with. */
struct mh_map_question {
    const struct mh_engine_mailbox *mailbox;
    const struct mh_folders *source, *target; /* roles set */
    char source_separator;                    /* of native names; 0 = none */
    const struct mh_state_folders *known;     /* where earlier runs put folders, by src_path */
};
/* Decides where folders go; called in a task, must not wait. A source folder without an entry is out of
 * scope and not counted. */
typedef int mh_map_fn(void *ctx, const struct mh_map_question *q, struct mh_engine_map *out,
                      struct mh_err *err);
/* Rewrites a keyword list for the target ("" drops all) into OUT, in place allowed. */
typedef int mh_keywords_fn(void *ctx, const char *keywords, struct mh_buf *out);
/* The target's name for an ACL identifier; false: cannot be carried (listed). */
typedef bool mh_user_fn(void *ctx, const char *identifier, struct mh_buf *out);
enum mh_stop {
    MH_STOP_NOT,
    MH_STOP_SOON, /* finish what is in flight, take nothing new */
    MH_STOP_NOW,
};

enum mh_compress {
    MH_COMPRESS_AUTO, /* where it is measured to pay: the wire is the limit, not the server */
    MH_COMPRESS_ALWAYS,
    MH_COMPRESS_NEVER,
};

/* {0}: every message, the target against the digests that the state keeps, going on where a verify was broken off. */
struct mh_verify_options {
    bool deep;           /* both sides are fetched: no digest that was written down is believed */
    uint32_t sample_ppm; /* so many of a million messages, chosen by their names; 0 = all */
    bool fresh;          /* begin anew */
    bool state_is_read_only; /* nothing can be kept for going on */
};

struct mh_engine_config {
    struct mh_sched **scheds; /* running */
    unsigned n_scheds;
    const struct mh_connector *const *connectors;
    size_t n_connectors;
    struct mh_pool *pool;
    struct mh_net *net;
    struct mh_state *state;
    struct mh_event_sink *events;
    const struct mh_log *log;
    int64_t timeout_ms;
    enum mh_compress compress;

    const struct mh_engine_mailbox *mailboxes;
    size_t n_mailboxes;

    mh_map_fn *map;
    mh_keywords_fn *keywords; /* NULL: as they are */
    mh_user_fn *map_user;     /* NULL: ACLs are listed, not carried */
    void *callback_ctx;

    uint64_t max_message;       /* 0: only what the target announces */
    unsigned connections;       /* per server; 0 = default */
    unsigned lanes_per_mailbox; /* 0 = default */
    bool names_only;            /* check: only where folders go */
    bool dry_run;               /* decide and count, change nothing at the target */
    bool retry_failed;          /* only messages that failed in earlier runs */
    int64_t until_wall_s;       /* the stop is raised then; 0 = never */
    /* What is deleted at the source goes to mailhaul-removed/<date>/… at the target; else it is kept. */
    bool quarantines;
    int64_t poll_ms;       /* watching: so often a quiet mailbox is asked for news; 0 = default */
    unsigned watchers_max; /* watching: source connections kept for it; 0 = default */
    int64_t
        patience_ms; /* waiting for one thing (quota, throttle, server) in a row before the mailbox gives up; 0 = default */
    const char
        *oversize_dir; /* policy oversize: export-eml goes below it; NULL = skip with reason */

    struct mh_verify_options verify;

    _Atomic int *stop; /* enum mh_stop; raised by anybody, a signal handler too */
};

/* --- what comes out ------------------------------------------------------------------------------- */

/* A count per reason; few of them. */
struct mh_reason_count {
    char reason[32];
    uint64_t n;
};
struct mh_reasons {
    struct mh_reason_count *v; /* owned */
    size_t n;
};

struct mh_counts {
    uint64_t found, copied, adopted, unchanged /* part of adopted: by earlier runs */, skipped,
        failed;
    /* parts of adopted: by this run, and by which digest */
    uint64_t adopted_exact, adopted_canonical, adopted_fingerprint;
    uint64_t moved; /* part of adopted: with the source's, from another folder */
    uint64_t updated, removed, gone /* deleted at the source, kept at the target */;
    uint64_t bytes;
};

struct mh_folder_result {
    char *source, *target; /* owned */
    const char *why;       /* of the mapping */
    struct mh_counts counts;
    struct mh_err err; /* code 0: fine */
};

/* What is not plainly copied or adopted, and what the target changed. */
struct mh_item_result {
    char *folder; /* owned: source path */
    uint64_t uid;
    const char *
        state; /* static: "skipped", "failed", "copied" (with a note), "adopted" (by fingerprint) */
    char *reason; /* owned */
    char *text;   /* owned */
};

struct mh_mailbox_result {
    const struct mh_engine_mailbox *mailbox;
    struct mh_counts counts;
    struct mh_reasons skipped, failed; /* their sums are counts.skipped and counts.failed */
    struct mh_folder_result *folders;  /* owned */
    size_t n_folders;
    struct mh_item_result *items; /* owned */
    size_t n_items, cap_items;
    struct mh_item_result
        *notes; /* owned: folder-level facts (ACL not carried, keyword dropped, name changed) */
    size_t n_notes, cap_notes;
    struct mh_err err; /* why the mailbox stopped; code 0: went through */
};

struct mh_result {
    struct mh_counts counts;
    struct mh_reasons skipped, failed;
    struct mh_mailbox_result *mailboxes; /* owned */
    size_t n_mailboxes;
    int64_t elapsed_ms;
    struct mh_err err; /* why the run stopped early; code 0 */
};

/* Runs all mailboxes. 0 when every one was taken up (their results say how they ended); MH_ERUN when the
 * run had to stop (state not writable), MH_ECANCEL when stopped by the user. OUT is filled in any case. */
int mh_engine_run(struct mh_engine_config *cfg, struct mh_result *out,
                  struct mh_err *err) MH_MUST_CHECK;
void mh_result_done(struct mh_result *r);
/* Runs all mailboxes again and again, each when something has happened at its source, until the stop is raised: then 0. OUT is
 * what the last pass of each mailbox did. */
int mh_engine_watch(struct mh_engine_config *cfg, struct mh_result *out,
                    struct mh_err *err) MH_MUST_CHECK;

/* --- verify ----------------------------------------------------------------------------------------- */

/* Each message of the source is found: found = exact + same + differs + missing + skipped + listed + later. */
struct mh_verify_counts {
    uint64_t found;
    uint64_t exact, same, differs; /* compared by content: their sum is "checked" */
    uint64_t missing;
    uint64_t
        skipped; /* not at the target, and the ledger says why; or their folder is not carried */
    uint64_t listed; /* at the target by its listing; not in the sample */
    /* Beside a run: it has changed while it was looked for, or a run has not come to it yet; the next verify's. */
    uint64_t later;
    uint64_t pending;   /* part of later: not carried yet */
    uint64_t unsettled; /* likewise, of flags, dates and messages of the target */
    uint64_t extra;
    uint64_t flags, dates; /* mismatches among those that are there (keywords count as flags) */
};

struct mh_verify_mailbox {
    const struct mh_engine_mailbox *mailbox;
    struct mh_verify_counts counts;
    /* owned: state = "differs", "missing", "extra", "same", "skipped", "flags", "date", "folder", "later", "unsettled" */
    struct mh_item_result *items;
    size_t n_items, cap_items;
    size_t folders,
        resumed_at; /* to be compared; of these, where it went on: 1 = first, 0 = begun anew */
    struct mh_err err;
};

struct mh_verify_result {
    struct mh_verify_options options; /* as asked for */
    struct mh_verify_counts counts;
    struct mh_verify_mailbox *mailboxes; /* owned */
    size_t n_mailboxes;
    int64_t elapsed_ms;
};

int mh_engine_verify(struct mh_engine_config *cfg, struct mh_verify_result *out,
                     struct mh_err *err) MH_MUST_CHECK;
void mh_verify_result_done(struct mh_verify_result *r);

/* --- check: what a run would meet, per mailbox ---------------------------------------------------------- */

struct mh_check_side {
    struct mh_err err; /* code 0: logged in and listed */
    struct mh_caps caps;
    struct mh_quota quota;
    uint64_t folders, messages, bytes;
    bool bytes_known;
};

struct mh_check_mailbox {
    const struct mh_engine_mailbox *mailbox;
    struct mh_check_side source, target;
    uint64_t biggest;    /* octets of the biggest message; 0 = not asked (no SIZE) */
    uint64_t over_limit; /* messages above the target's limit */
    /* owned: one per folder: folder = source path, state = "same", "changed", "skipped" or "refused",
     * reason = why, text = path at the target (or what is wrong) */
    struct mh_item_result *names;
    size_t n_names, cap_names;
};

struct mh_check_result {
    struct mh_check_mailbox *mailboxes; /* owned */
    size_t n_mailboxes;
    int64_t elapsed_ms;
};

int mh_engine_check(struct mh_engine_config *cfg, struct mh_check_result *out,
                    struct mh_err *err) MH_MUST_CHECK;
void mh_check_result_done(struct mh_check_result *r);

#endif
