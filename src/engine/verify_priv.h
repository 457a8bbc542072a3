/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside verify. A mailbox is a check, its folders are compared one behind the other, each in chunks of the
 * source by UID. Everything in the task of the mailbox, but for the reading of the target, which is a task beside it.
 *
 *     verify.c         mailboxes and folders, totals
 *     verify_folder.c  one folder: listings, chunks, what the state says where a message went
 *     verify_match.c   those that are not where the state says: by content
 *     verify_again.c   beside a run: a second look before anything is said against a message
 *     verify_resume.c  what is kept of a verify that is broken off
 *
 * Memory: the listings of both sides, a byte for each message of the target, one chunk; and some 200 bytes for each message
 * that is not where the state says.
 */
#ifndef MH_ENGINE_VERIFY_PRIV_H
#define MH_ENGINE_VERIFY_PRIV_H

#include "engine/engine_priv.h"
#include "engine/prints.h"

enum {
    VERIFY_CHUNK = 1024, /* messages: a round trip, and a row of the state */
    VERIFY_MODE_BYTES = 192,
};

/* Why a message is left to the next verify: the run has not come to it. */
#define VERIFY_NOT_YET "not-carried-yet"

/* A message that an earlier run left out, and why. */
struct left_out {
    uint32_t folder; /* the state's */
    uint64_t uid;
    char reason[32];
};

/* How far a folder had come when the verify was broken off. */
struct kept_folder {
    char *path; /* owned */
    char mode[VERIFY_MODE_BYTES];
    uint64_t next_uid;
    uint64_t counts[8];
    struct mh_item_result *items; /* owned */
    size_t n_items, cap_items;
};

struct check {
    struct job *job;
    struct mh_verify_mailbox *out;
    struct mh_session *src, *dst;
    bool can_store;
    bool is_locked; /* no other verify of the mailbox is under way */
    char how[48];   /* what is compared, for the state; a row of another kind is not gone on with */
    char run[80];   /* the mailbox's newest run when this began, by its times and numbers */
    struct left_out *left_out; /* owned; by folder and UID */
    size_t n_left_out, cap_left_out;
    struct kept_folder *kept; /* owned; in order of path */
    size_t n_kept, cap_kept;
};

/* A message of the source that is not where the state says, or of which it says nothing. */
struct left {
    size_t item, target; /* of the listings; TARGET + 1, 0 = none */
    bool is_sampled, is_asked;
    bool has_exact; /* as the state keeps it */
    bool
        is_strict; /* carried by us, byte for byte: nothing else stands for it by its fingerprint */
    struct prints prints;
};

struct check_folder {
    struct check *check;
    struct job *job;
    struct mh_verify_mailbox *out;
    const struct mh_engine_map_entry *entry;
    const struct mh_state_folder *row; /* borrowed: the job's; NULL: the state knows nothing */
    bool rows_hold;                    /* they are of these messages of the source */
    bool places_hold;                  /* likewise of the target */
    bool run_was_on;                   /* somebody else's, when the folder was begun */
    bool must_save_anew; /* of what was handed to the state something is not true any more */
    char mode[VERIFY_MODE_BYTES]; /* for the state */
    struct mh_scan src, dst;
    uint32_t src_uidvalidity, dst_uidvalidity;
    bool *is_taken;           /* owned: by item of the target */
    struct mh_uids accounted; /* at the target, by the rows of this folder */
    struct mh_uids siblings;  /* at the target, by the rows of others that are carried into it */
    struct mh_verify_counts counts;
    size_t first_item,
        saved_items;   /* of OUT's: this folder's, and handed to the state up to here */
    uint64_t seed;     /* of the sample */
    uint64_t places;   /* a sum over where everything was found so far */
    struct left *left; /* owned */
    size_t n_left, cap_left;
};

/* Two messages that belong together. */
struct verify_pair {
    size_t s, t;
    bool is_sampled;
    bool by_state;   /* the state says so */
    bool has_digest; /* A's exact one is the state's */
    enum mh_how how;
    struct prints a, b;
};

/* verify_folder.c */
void verify_report(struct check_folder *f, uint64_t uid, const char *state, const char *reason,
                   const char *text);
/* Compares one folder, TARGET being open to be selected; KEPT: what is known of it from before, or NULL. waits */
int verify_folder(struct check_folder *f, const struct mh_folder *target,
                  const struct kept_folder *kept, struct mh_err *err) MH_MUST_CHECK;
void verify_folder_done(struct check_folder *f);
/* Reads digests of both sides at once. waits */
struct verify_wish {
    const struct mh_item *const *items;
    size_t n;
    unsigned kinds;
    prints_fn *fn;
    void *ctx;
};
int verify_read(struct check_folder *f, const struct verify_wish *src,
                const struct verify_wish *dst, struct mh_err *err) MH_MUST_CHECK;
/* Counts and names what there is to say about a pair. */
void verify_judge(struct check_folder *f, const struct verify_pair *p);
void verify_compare_flags_and_date(struct check_folder *f, size_t s, size_t t);
/* True when T of the listing DST has not the flags and keywords that S of the listing SRC should have there. */
bool verify_flags_differ(struct check_folder *f, const struct mh_scan *src, const struct mh_item *s,
                         const struct mh_scan *dst, const struct mh_item *t);
/* Selects FOLDER and reads its listing into SCAN, which is empty and in any case the caller's to end. waits */
int verify_list(struct mh_session *s, const struct mh_connector *c, const struct mh_folder *folder,
                struct mh_scan *scan, uint32_t *uidvalidity_out, struct mh_err *err) MH_MUST_CHECK;

/* verify_match.c */
/* Finds F->left at the target by content. waits */
int verify_match(struct check_folder *f, struct mh_err *err) MH_MUST_CHECK;

/* verify_again.c */
struct again {
    bool is_used;   /* nothing was in doubt, or no run was at work */
    bool run_is_on; /* still */
    struct mh_state *st;
    uint32_t mailbox;
    struct mh_state_folders rows;
    const struct mh_state_folder *row; /* of ROWS: the folder's, of these UIDVALIDITYs; NULL */
    struct mh_state_items items;       /* of the messages in doubt */
    struct mh_uids accounted;
    struct mh_scan src, dst;
    struct mh_err err;
    int code;
};
/* Looks again where a run is or was at work, and takes back what has changed since. A is the caller's to end. waits */
int verify_again(struct check_folder *f, const struct mh_folder *target, struct again *a,
                 struct mh_err *err) MH_MUST_CHECK;
/* Why a message that was not found is left to the next verify (static); NULL: it is missing. */
const char *verify_again_left(const struct check_folder *f, const struct again *a, uint64_t uid);
/* True when the target's message UID belongs to nobody; *IS_SETTLED_OUT: and no run is about to account for it. */
bool verify_again_extra(const struct check_folder *f, const struct again *a, uint64_t uid,
                        bool *is_settled_out);
void verify_again_done(struct again *a);

/* verify.c */
/* True when a run of somebody else has the state open. */
bool verify_run_is_on(const struct check *c);

/* verify_resume.c */
/* True when a run of the mailbox has begun or ended since the verify began. waits */
int verify_run_has_worked(struct check *c, bool *has_out, struct mh_err *err) MH_MUST_CHECK;
/* For the state: what is compared, and what the run had done in the folder by ROW (or NULL). */
void verify_mode(const struct check *c, const struct mh_state_folder *row,
                 char out[VERIFY_MODE_BYTES]);
/* What the state keeps for verify: what was left out, how far it had come. waits */
int verify_load(struct check *c, struct mh_err *err) MH_MUST_CHECK;
const struct kept_folder *verify_kept(const struct check *c, const char *path);
/* Hands over how far F is; UINT64_MAX: to its end. */
int verify_save(struct check_folder *f, uint64_t next_uid, struct mh_err *err) MH_MUST_CHECK;
/* F's counts, places and items as they were kept. */
void verify_restore(struct check_folder *f, const struct kept_folder *kept);
/* The ledger's reason why a message is not there; NULL: there is none. */
const char *verify_left_out(const struct check *c, const struct mh_state_folder *row, uint64_t uid);
/* All is compared: the next verify begins anew. */
int verify_forget(struct check *c, struct mh_err *err) MH_MUST_CHECK;
void verify_loaded_done(struct check *c);

#endif
