/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the engine. A run has jobs (mailboxes), a job has passes (folders) and lanes (a source and a
 * target session that carry messages). Everything below a job is touched by its scheduler only.
 *
 *     run ── job ─┬─ pass "INBOX"      scan, todo list, verdicts so far
 *                 ├─ pass "Archive"
 *                 ├─ lane 0            works on INBOX
 *                 └─ lane 1            joined INBOX, or took Archive
 */
#ifndef MH_ENGINE_PRIV_H
#define MH_ENGINE_PRIV_H

#include <pthread.h>

#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/tune.h"

/* --- limits of the engine's own --------------------------------------------------------------------- */

enum {
    LANES_MAX = 8,               /* of one mailbox; how many are good the tuner learns */
    LANE_MESSAGES_MIN = 256,     /* waiting: below this another lane is not worth its log-in */
    JOIN_MESSAGES_MIN = 128,     /* of a folder: nor is joining it */
    CONNECTIONS_DEFAULT = 16,    /* per server */
    WATCHERS_DEFAULT = 512,      /* kept source connections, of the whole run */
    FLIGHT_MAX = 2048,           /* messages sent and not answered, per lane; a power of two */
    FLIGHT_BYTES_MAX = 32 << 20, /* likewise in octets; one larger message may fly alone */
    BATCH_BYTES_MAX = 8 << 20,   /* a MULTIAPPEND is cut behind this */
    CHUNK_ITEMS = 1024,          /* one fetch() call */
    CHUNK_BYTES = 32 << 20,
    HELD_SLICES_MAX = 64, /* of one held message; beyond it is cut through */
    TRIES_MAX = 3,        /* of one message that takes the connection with it */
    WIRE_FAR_MS =
        5, /* compression is tried from here on: nearer by, servers are slower than the wire */
    BACKOFF_FIRST_MS = 500,
    BACKOFF_MAX_MS = 60 * 1000,
    PATIENCE_DEFAULT_MS = 15 * 60 * 1000,
    /* A server goes on storing what a dead connection had sent: before we look at what arrived it gets this
     * long (a broken-off run), or twice its slowest answer so far, within these bounds (a lost connection). */
    SETTLE_AFTER_RUN_S = 10,
    SETTLE_MIN_MS = 200,
    SETTLE_MAX_MS = 10 * 1000,
    LANE_SLABS = 20, /* one lane's worst case: two read slabs, a held message, a full write queue */
};

#define LANE_BYTES ((uint64_t)LANE_SLABS * MH_SLAB_BYTES)

/* --- budgets --------------------------------------------------------------------------------------------- */

struct server {
    char *key; /* owned */
    unsigned limit, used;
    struct tuner *tuner; /* owned: what it likes as a target */
};

struct budget_waiter;
struct budgets {
    pthread_mutex_t lock;
    struct server *v; /* owned; fixed after set-up */
    size_t n;
    struct budget_waiter *waiters;
};

/* --- the run ------------------------------------------------------------------------------------------------ */

struct job;

/*
 * A folder's way. In a delta all folders are surveyed before the first is carried, so that a message that is gone from one
 * and new in another is known to have moved; a first copy goes from WAITING to PREPARING at once.
 *
 *     WAITING ─▶ SURVEYING ─▶ SURVEYED ─▶ PREPARING ─▶ COPYING ─▶ ENDED
 *        └───────────────────────────────────▲
 */
enum pass_phase {
    PASS_WAITING,
    PASS_SURVEYING,
    PASS_SURVEYED,
    PASS_PREPARING,
    PASS_COPYING,
    PASS_ENDED,
    PASS_PHASES
};

/* What is to be done with each mailbox: run, verify, check. In a task; must leave nothing behind. */
typedef void job_fn(struct job *job);

struct run {
    struct mh_engine_config *cfg;
    struct budgets budgets;
    struct job *jobs; /* owned */
    size_t n_jobs;
    job_fn *work;
    _Atomic unsigned n_watchers; /* source connections that are kept between passes */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t left;         /* jobs not ended and posts not run */
    struct mh_err fatal; /* why the whole run stops; code 0 */
};

struct job_post {
    struct mh_post post; /* first */
    struct job *job;
};

struct job {
    struct run *run;
    size_t index;
    const struct mh_engine_mailbox *mb;
    const struct mh_connector *sc, *tc;
    struct server *src_server, *dst_server; /* NULL: local, no budget */
    struct mh_sched *sched;
    struct mh_task *task;
    struct mh_post start;
    struct job_post stop_posts[2]; /* MH_STOP_SOON, MH_STOP_NOW */
    struct mh_log log;
    struct mh_env src_env, dst_env;

    struct mh_mailbox_result *res; /* borrowed: the caller's */
    void *res_other;               /* verify's or check's result */

    uint32_t state_id;
    struct mh_folders src_folders, dst_folders;
    struct mh_engine_map map;
    struct mh_state_folders rows;
    struct old_skips *skips; /* owned: what earlier passes left out, by folder */
    struct pass *passes;     /* owned; the largest first */
    size_t n_passes;
    struct lost_folder *lost; /* owned: known to the state, not listed by the source any more */
    size_t n_lost;
    bool is_surveying; /* a delta: no folder is carried before all are surveyed */
    struct movable
        *movable; /* owned: what is gone from one folder and may be new in another; see moves.c */
    size_t n_movable;
    size_t first_waiting;    /* no pass before it is PASS_WAITING or PASS_SURVEYED */
    size_t first_unsurveyed; /* likewise PASS_WAITING alone */
    size_t n_in_phase[PASS_PHASES];
    uint64_t waiting_messages;     /* of those that are PASS_WAITING or PASS_SURVEYED */
    struct lane *lanes[LANES_MAX]; /* [0] works in the job's own task, the others in theirs */
    unsigned n_lanes;              /* running besides the first */
    unsigned
        lanes_bound; /* so many at most: what was asked for, or where a server refused one more */
    struct mh_waitq changed; /* a pass ended, a lane ended, the job stops */
    uint64_t max_message;
    struct mh_err stop_err; /* why all lanes end; code 0 */

    int64_t pause_until_ms; /* 0: no pause */
    int64_t stuck_since_ms; /* no verdict since; 0: moving */
    unsigned backoff;       /* failures in a row */
    int64_t told_ms;        /* under watch: when the news came that this pass is for; 0: none did */
    int64_t
        lag_ms; /* under watch: of the last change, from its telling to the end of its pass; -1 */
    int64_t slowest_ms;        /* answer of the target to a message so far */
    int64_t broken_off_wall_s; /* an earlier run of this mailbox was killed then; 0: none */
    struct tuner *tuner;       /* the target server's, or own_tuner */
    struct tuner *own_tuner;   /* owned: of a target that is no server */
};

/* --- a folder ------------------------------------------------------------------------------------------------- */

enum todo_status {
    TODO_OPEN,    /* to be sent, in nobody's hands */
    TODO_TAKEN,   /* in a lane's chunk */
    TODO_FLIGHT,  /* handed to the target */
    TODO_UNKNOWN, /* the connection died: perhaps there */
    TODO_DONE,    /* copied, adopted */
    TODO_CLOSED,  /* skipped or failed: in the ledger */
};

struct todo {
    uint32_t item; /* index into the scan */
    uint8_t status;
    uint8_t tries;
    uint8_t owner; /* TAKEN, FLIGHT: the lane in whose hands it is */
    bool is_new;   /* DONE by this pass's own sending */
    bool is_odd;   /* has bytes that servers are known to change */
    bool
        is_orphan; /* moved at the source, and not at the target where it should be to move it from */
    bool was_ours;    /* … to where mailhaul had put it */
    bool is_seen;     /* looked back at */
    uint64_t dst_uid; /* once DONE; 0 when the target does not say */
    uint64_t octets;  /* as sent */
};

/* A stretch of the todo list to be sent as one unit: [first, first+n). */
struct group {
    struct group *next;
    uint32_t first, n;
    bool alone; /* came back from a refused or broken batch: batches of at most n */
};

/* A message that earlier passes left out. */
struct old_skip {
    uint32_t folder;     /* the row's number, which stays when the folder gets another name */
    char *reason, *text; /* owned */
    uint64_t uid;
    bool has_failed; /* else it was skipped */
};

struct old_skips {
    struct old_skip *v; /* owned; in order of folder */
    size_t n, cap;
    bool failed;
};

/* A message that the state knows and that is not at the source any more. */
struct gone {
    struct mh_state_item row;
    bool is_taken; /* moved: not gone after all */
};
struct gone_list {
    struct gone *v; /* owned; until the barrier behind the survey it may grow */
    size_t n, cap;
};

/* Flags or keywords that changed at the source. */
struct flag_change {
    struct mh_state_item row; /* as the state has it; the target's UID is in it */
    uint8_t add, remove;
    uint32_t kw_new; /* the state's number */
};
struct flag_changes {
    struct flag_change *v; /* owned */
    size_t n, cap;
};

/* What the source has around a folder's mail. */
struct around {
    struct mh_buf acl;      /* lines "identifier rights" */
    struct mh_buf metadata; /* name NUL, length, value; one behind the other */
};

/* A folder that is gone from the source with all its mail. */
struct lost_folder {
    struct mh_state_folder *row; /* borrowed: the job's rows */
    struct gone_list gone;
    struct mh_folder_result *res; /* borrowed: the job's */
};

/* How far the source's listing has been held against the state. */
struct comparison {
    size_t n;                    /* items */
    uint64_t next_uid;           /* rows below it have been looked at */
    uint64_t adopted, unchanged; /* the counts before it began */
    bool is_off;                 /* not while it is listed: it is done all at once, afterwards */
};

struct pass {
    struct job *job;
    const struct mh_engine_map_entry *entry; /* borrowed: the job's map */
    struct mh_folder dst;                    /* owned fields */
    struct mh_state_folder row;              /* owned fields */
    bool row_is_known;
    struct pass *sibling; /* ring of those that go into the same target folder; itself when alone */
    bool created;         /* in this run: nothing can be there yet */
    bool has_begun;       /* its row says so, on record before the first message is put there */
    bool is_judged;       /* whether it said so already when the run came to it: */
    bool is_broken_off;   /* an earlier pass over it has begun and never ended */
    bool is_restarted;    /* in this run, because a connection was lost in preparing it */
    bool has_stored;      /* flags, in this run; perhaps without an answer */
    enum pass_phase phase;
    struct mh_opened src_opened, dst_opened;
    struct mh_scan
        scan; /* of all messages, or (is_partial) of those that are new or have changed */
    bool is_partial;
    enum mh_gone_by gone_by;    /* with is_partial: what VANISHED is, see mh_changes */
    struct mh_uids vanished;    /* likewise */
    bool is_surveyed;           /* compared with the state before the target was opened */
    struct comparison compared; /* without is_partial */
    /* One side has been renumbered: the rows as they were, ascending by the UIDs of the other, which still hold. */
    struct mh_state_items former;
    bool former_by_target;
    uint64_t n_found; /* messages at the source */
    struct around around;
    struct flag_changes changes;
    struct gone_list gone;
    size_t n_gone; /* likewise, once they are the job's (moves_index()) */
    bool gone_is_indexed;
    bool will_be_complete; /* once it is settled what becomes of the gone ones */
    uint32_t *kw_ids;      /* owned: scan's keyword set -> the state's number */
    size_t n_kw_ids, cap_kw_ids;
    char **kw_texts;      /* owned: … -> text for the target after mapping and filtering */
    struct mh_buf kw_new; /* keywords new to a target folder that has room for a few only */
    unsigned n_kw_new;
    struct todo *todo;             /* owned */
    size_t n_todo, cap_todo, next; /* [next, n_todo) was never handed out */
    uint64_t todo_octets;          /* as the source announced them */
    struct group *again;           /* handed back; owned */
    size_t n_unknown;
    uint64_t window;      /* target UIDs from here on may be ours */
    struct mh_uids known; /* target UIDs from the window on that earlier passes account for */
    /* Owned, by todo, NULL if there are none: rows of earlier runs that do not know where the message lies at the target
     * (src_uid 0: none). Such a todo is DONE, and looked for. */
    struct mh_state_item *unplaced;
    struct mh_digest *digests;    /* owned: by todo, where the target does not tell UIDs */
    unsigned lanes;               /* working on it now */
    unsigned flying;              /* lanes with messages in flight */
    bool is_matching;             /* one lane looks at the window: the others keep still */
    struct mh_folder_result *res; /* borrowed: the job's */
    size_t res_index;
    bool has_failed;
    bool is_clean;   /* the listing could be trusted: row may become complete */
    bool flag_later; /* a flag change could not be carried: next pass */
};

/* --- a lane ----------------------------------------------------------------------------------------------------- */

struct flight {
    uint32_t todo;
    uint32_t batch;
    uint64_t octets;
    int64_t sent_ms;
    struct mh_digest digest;
};

struct lane {
    struct job *job;
    unsigned number;
    struct mh_task *task;
    struct mh_task *side_task; /* reads the source while the lane opens the target; NULL */
    struct mh_session *src, *dst;
    struct pass *pass;
    struct mh_sink sink;
    struct mh_append_sink verdicts;
    struct mh_digest_ctx *digest;

    /* the message that is arriving */
    const struct mh_item *item;
    uint32_t todo;
    uint64_t octets, got;
    bool in_header; /* nothing seen yet that ends it */
    enum { MSG_NONE, MSG_HELD, MSG_THROUGH, MSG_DROPPED } mode;
    struct mh_slice held[HELD_SLICES_MAX];
    unsigned n_held;
    struct keep *keep; /* a message too big for the target, being kept as a file */

    /* the chunk being fetched */
    const struct mh_item *chunk[CHUNK_ITEMS];
    uint32_t chunk_todo[CHUNK_ITEMS];
    size_t n_chunk;
    unsigned batch_limit; /* messages per batch in this chunk */
    bool is_alone;        /* the chunk is a unit that came back */

    /* what is in flight */
    struct flight *flights; /* owned: FLIGHT_MAX, by cookie */
    uint64_t next_cookie;
    unsigned in_flight;
    uint64_t in_flight_bytes;
    uint32_t batch_number;
    unsigned batch_n;
    uint64_t batch_bytes;
    struct mh_waitq window;

    /* the batch that was refused as a whole, being collected verdict by verdict */
    uint32_t split_first, split_n, split_batch;

    struct mh_state_batch *rows; /* being filled */
    struct mh_state_batch *full[FLIGHT_MAX / MH_STATE_BATCH_ROWS + 2];
    unsigned n_full;
    struct mh_err dst_err; /* why the target session must be opened anew; code 0 */
    struct mh_err later;   /* the target asked to wait; code 0 */
    bool is_flying;        /* counted in pass->flying */
    enum {
        WIRE_UNTOLD,
        WIRE_PLAIN,
        WIRE_COMPRESSED
    } wire; /* what the tuner was told of the sessions */
};

/* budget.c */
int budgets_init(struct budgets *b, struct mh_err *err) MH_MUST_CHECK;
void budgets_done(struct budgets *b);
struct server *budgets_server(struct budgets *b, const struct mh_endpoint *ep, unsigned limit,
                              struct mh_err *err);
/* waits: until one connection to each (NULL: none needed) is granted. */
int budget_acquire(struct budgets *b, struct server *src, struct server *dst,
                   struct mh_err *err) MH_MUST_CHECK;
/* Only if nobody waits. */
bool budget_try(struct budgets *b, struct server *src, struct server *dst);
bool budget_has_waiters(struct budgets *b);
void budget_release(struct budgets *b, struct server *src, struct server *dst);

/* run.c */
int run_jobs(struct mh_engine_config *cfg, job_fn *work, void *results, size_t result_size,
             struct mh_err *err) MH_MUST_CHECK;
void run_fatal(struct run *run, const struct mh_err *why);
bool run_is_stopping(const struct run *run);
/* The connector for an endpoint's type; NULL: none. */
const struct mh_connector *run_connector(const struct run *run, const char *type);

/* job.c: what run, verify and check share */
/* waits: opens a session, with patience for passing faults. */
int job_open(struct job *job, bool is_source, struct mh_session **out,
             struct mh_err *err) MH_MUST_CHECK;
/* Opens both sides at once; not patient: one attempt. */
int job_open_both(struct job *job, bool is_patient, struct mh_session **src,
                  struct mh_session **dst, struct mh_err *err) MH_MUST_CHECK;
/* What sessions are opened with now: what was asked for, or what the tuner has learnt. */
bool job_compresses(const struct job *job);
/* A fault that goes by: new connections and patience make it good, and it is nobody's verdict. */
static inline bool is_passing(int code)
{
    return code == MH_ERETRY || code == MH_ELATER || code == MH_ETIMEOUT;
}
/* waits: the pause that WHY asks for, shown to people. MH_EMAILBOX when patience is over. */
int job_pause(struct job *job, const struct mh_err *why, struct mh_err *err) MH_MUST_CHECK;
void job_moving(struct job *job); /* something was achieved: patience starts anew */
/* Lists both sides and maps. *AT_TARGET_OUT (may be NULL): what failed was the target's list. */
int job_map(struct job *job, struct mh_session *src, struct mh_session *dst, enum mh_listing what,
            bool *at_target_out, struct mh_err *err) MH_MUST_CHECK;
void job_phase(struct job *job, enum mh_mailbox_phase phase);
void job_event(struct job *job, const struct mh_event *ev);
int job_set_up(struct job *job, struct mh_err *err) MH_MUST_CHECK;
void job_tear_down(struct job *job);
struct mh_state_folder *job_row(struct job *job, const char *src_path);
/* After a name in them has changed. */
void job_sort_rows(struct job *job);
/* waits: the state's rows of a folder; UIDS NULL: all, else these alone. */
int job_load_items(struct job *job, uint32_t folder, const struct mh_uids *uids,
                   struct mh_state_items *out, struct mh_err *err) MH_MUST_CHECK;
/* waits: the UIDs of a folder's rows at the source (FROM ignored), or at the target from FROM on. */
int job_load_uids(struct job *job, uint32_t folder, bool at_source, uint64_t from,
                  struct mh_uids *out, struct mh_err *err) MH_MUST_CHECK;

/* mailbox.c */
void mailbox_run(struct job *job);
/* One pass over the mailbox, results and all. SRC_KEPT (may be NULL): a source session to use, NULL in it: none; the
 * pass leaves its own there when it went through. waits */
void mailbox_pass(struct job *job, struct mh_session **src_kept);

/* watch.c: passes until the run stops */
void mailbox_watch(struct job *job);

/* around.c */
int around_read(struct pass *pass, struct mh_session *src, struct around *out,
                struct mh_err *err) MH_MUST_CHECK;
/* Folder made or found at the target, and subscribed. */
int around_make(struct pass *pass, struct mh_session *dst, struct mh_err *err) MH_MUST_CHECK;
/* Rights and annotations; what cannot be carried is noted. */
int around_apply(struct pass *pass, struct mh_session *dst, struct around *a,
                 struct mh_err *err) MH_MUST_CHECK;
void around_done(struct around *a);

/* flags.c */
/* ITEM's flags or keywords (the state's number KW) are not those of ROW any more. */
int flags_note(struct flag_changes *c, const struct mh_state_item *row, const struct mh_item *item,
               uint32_t kw, struct mh_err *err) MH_MUST_CHECK;
/* Carries the pass's changes to the target and into the state. */
int flags_store(struct pass *pass, struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
/* The state's numbers of all keyword sets of the listing. */
int flags_number_keywords(struct pass *pass, struct mh_err *err) MH_MUST_CHECK;
/* Their texts for the target, which must be open. */
int flags_map_keywords(struct pass *pass, struct mh_err *err) MH_MUST_CHECK;

/* survey.c: what has happened in a folder at the source */
/* Opens and lists it there, or what has changed since the last complete pass; what is around it too. waits */
int survey_source(struct pass *pass, struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
/* Holds the listing against the state: todo list, flag changes, gone ones. waits */
int survey_compare(struct pass *pass, struct mh_err *err) MH_MUST_CHECK;
/* Both, for the stage before anything is carried. waits */
int pass_survey(struct pass *pass, struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
/* Opens the folder at the source; *MOVED_OUT: while it was being copied it became another one. waits */
int pass_open_source(struct pass *pass, struct lane *lane, bool *moved_out,
                     struct mh_err *err) MH_MUST_CHECK;
/* True when messages of the folder have failed in earlier runs. */
bool has_failed_before(const struct job *job, uint32_t folder);
/* Skipped by earlier passes and still there: counted and itemised again; how many. */
uint64_t count_left_out(struct job *job, struct pass *pass);
/* Those of them that are gone: their ledger rows go too. */
int forget_left_out(struct pass *pass, struct mh_err *err) MH_MUST_CHECK;

/* moves.c: what is gone from one folder */
/* Known folders that the source does not list any more, and what was in them. waits */
int moves_find_lost(struct job *job, struct mh_err *err) MH_MUST_CHECK;
/* All folders are surveyed: from here on it is known what may have moved. */
int moves_index(struct job *job, struct mh_err *err) MH_MUST_CHECK;
/* Moves at the target what is new in the pass's folder and lies in another one there. The source's folder is
 * open; at the target another one may be open afterwards. waits */
int moves_carry(struct pass *pass, struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
/* PASS's folder has a new UIDVALIDITY since it was surveyed: what it missed then goes by UIDs that are others' now. It is kept. */
void moves_forget(struct pass *pass);
/* Closes the todo items whose place at the target is empty: its user removed them. */
void moves_close_orphans(struct pass *pass);
/* Behind all passes: what is gone for good, by the policy. waits */
int moves_settle(struct job *job, struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
void moves_done(struct job *job);

/* renames.c */
/* Folders that have another name at the source than the state knows get it at the target too; *RENAMED_OUT: the lists
 * must be read again. waits */
int renames_carry(struct job *job, struct lane *lane, bool *renamed_out,
                  struct mh_err *err) MH_MUST_CHECK;

/* prepare.c */
int pass_prepare(struct pass *pass, struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
/* Opens the folder at the target, for writing unless this is a dry run; *MOVED_OUT as pass_open_source(). waits */
int pass_open_target(struct pass *pass, struct lane *lane, bool *moved_out,
                     struct mh_err *err) MH_MUST_CHECK;
/* The folder open on both sides. */
int pass_open(struct pass *pass, struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
/* What a folder's row says of the last pass over it. */
enum row_mark {
    ROW_BEGUN,    /* from target_uidnext on there may be messages of ours that have no row */
    ROW_ENDED,    /* there are none; not every message is carried */
    ROW_COMPLETE, /* likewise, and every message is decided */
};
int pass_write_row(struct pass *pass, enum row_mark mark, struct mh_err *err) MH_MUST_CHECK;
/* Puts on record, committed when it returns, that messages of ours may lie at the target from now
 * on. The target's folder is open. waits */
int pass_begin(struct pass *pass, struct mh_err *err) MH_MUST_CHECK;
/* For qsort() of UIDs (uint64_t), ascending. */
int order_uids(const void *a, const void *b);

/* pass.c */
void pass_finish(struct pass *pass, struct lane *lane);
void pass_done(struct pass *pass);
bool pass_has_work(const struct pass *pass);
/* Every message of the source that has no row is on the list. False when only failed ones are tried
 * again: what lies in the window may be one of the others, and the window stays where it is. */
bool pass_saw_all(const struct pass *pass);
/* Flags that are at the target and not in the state may be of our own making: a run was broken off,
 * or a connection was lost while this one set them. */
bool pass_may_have_stored(const struct pass *pass);
/* Keeps the job's counts of passes by phase. */
void pass_enter(struct pass *pass, enum pass_phase phase);
/* Messages that nobody has taken yet. */
size_t pass_left(const struct pass *pass);
/* True while another folder is being carried into the same target folder: what lies there could be claimed
 * by both. */
bool pass_must_wait(const struct pass *pass);
/* Forgets everything that was learnt of the folder's mail. */
void pass_forget(struct pass *pass);
/* Back to the start, as if it had not been looked at: the connection broke while preparing. */
void pass_restart(struct pass *pass);
/* The next stretch of the todo list for LANE->chunk; false: none left. */
bool pass_take_chunk(struct pass *pass, struct lane *lane);
int pass_give_back(struct pass *pass, uint32_t first, uint32_t n, bool alone,
                   struct mh_err *err) MH_MUST_CHECK;
void pass_close_item(struct pass *pass, uint32_t todo, const char *state, const char *reason,
                     const char *text);
/* Marks an item as there; writes its row through the lane. IS_SENT: by this pass, and its octets count. */
void pass_item_done(struct pass *pass, struct lane *lane, uint32_t todo, uint64_t dst_uid,
                    uint64_t octets, const struct mh_digest *digest, enum mh_how how, bool is_sent);
const char *pass_keywords(const struct pass *pass, const struct mh_item *item);

/* lanes.c: how many lanes a mailbox has */
/* Starts lanes where there is work for them, the tuner and the budgets allow it and nobody else waits. */
void lanes_staff(struct job *job);
/* True when LANE should end: the target likes fewer. */
bool lanes_is_surplus(const struct lane *lane);
/* A folder with work for one more lane, or NULL. */
struct pass *lanes_joinable(const struct job *job);
/* Tells the tuner how LANE's sessions are wired, if that can be chosen; that they are gone. */
void lanes_tell_wire(struct lane *lane);
void lanes_untell_wire(struct lane *lane);
/* True when LANE's sessions are not compressed as they should be. */
bool lanes_must_rewire(const struct lane *lane);
/* Tells the tuner what would be used if it were allowed. */
void lanes_press(const struct lane *lane);

/* lane.c */
int lane_new(struct job *job, unsigned number, struct lane **out, struct mh_err *err) MH_MUST_CHECK;
void lane_free(struct lane *lane);
/* waits: opens both sides if they are not open. */
int lane_sessions(struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
/* Closes both sides, verdicts and all. */
void lane_close(struct lane *lane);
/* Works until there is nothing left for it. */
void lane_work(struct lane *lane);
int lane_push_rows(struct lane *lane, bool all, struct mh_err *err) MH_MUST_CHECK;
struct mh_state_item *lane_row(struct lane *lane);

/* keep.c: a message that is too big for the target, kept as a file when the policy says so */
int keep_open(struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
int keep_write(struct lane *lane, const struct mh_slice *slice, struct mh_err *err) MH_MUST_CHECK;
/* Ends it and closes the item in the ledger. */
int keep_close(struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
void keep_abort(struct lane *lane);

/* lookback.c */
/* What the target made of the messages it took, itemised: of those that LANE has sent, or of all that nobody has
 * looked back at. */
int look_back(struct pass *pass, struct lane *lane, bool own_only,
              struct mh_err *err) MH_MUST_CHECK;

/* match.c */
/* Finds by content which of the pass's open items are at the target from UID FROM on; marks them DONE. */
int match_window(struct pass *pass, struct lane *lane, uint64_t from, bool only_unknown,
                 struct mh_err *err) MH_MUST_CHECK;
/* Finds the target UIDs of what was stored without being told one. */
int match_uids(struct pass *pass, struct lane *lane, struct mh_err *err) MH_MUST_CHECK;
/* Digests of N items of the selected folder; ok[i] false where it did not come. */
struct content {
    struct mh_digest exact, canonical;
    uint64_t octets;
    bool is_ok;
};
int match_digests(struct mh_session *s, const struct mh_connector *c,
                  const struct mh_item *const *items, size_t n, struct content *out,
                  struct mh_err *err) MH_MUST_CHECK;

/* result.c */
void result_item(struct mh_item_result **v, size_t *n, size_t *cap, const char *folder,
                 uint64_t uid, const char *state, const char *reason, const char *text);
void result_items_done(struct mh_item_result *v, size_t n);
void mailbox_result_done(struct mh_mailbox_result *m);
/* The source folder FOLDER is begun anew: what was said of its messages is taken back. */
void result_forget(struct mh_mailbox_result *res, const char *folder);
void reasons_add(struct mh_reasons *r, const char *reason, uint64_t n);
void counts_add(struct mh_counts *to, const struct mh_counts *from);

#endif
