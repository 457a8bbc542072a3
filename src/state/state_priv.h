/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the store: one handle that only the writer thread uses, one that readers share behind a lock,
 * and the queue between the loops and the writer.
 */
#ifndef MH_STATE_PRIV_H
#define MH_STATE_PRIV_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/queue.h"
#include "base/task.h"
#include "state/state.h"

enum {
    QUEUE_ITEMS_MAX = 1024,
    QUEUE_BYTES_MAX = 16 << 20,
    SPARE_BATCHES_MAX = 64,
    /* Pages of the write-ahead log (16 MiB) that are gathered before they go into the file: the only time of a run
     * that the disk is waited for. */
    CHECKPOINT_PAGES = 4000,
    STATE_BOOT_NAME_BYTES = 48, /* a UUID */
    /* Of two writers: how long one waits for the other's transactions, how often it asks, and the gap that a run
     * leaves for who waits. */
    BUSY_WAIT_MS = 60 * 1000,
    BUSY_LOOK_MS = 5,
    TURN_GAP_MS = 3 * BUSY_LOOK_MS,
};

enum record_kind {
    REC_BATCH,
    REC_FOLDER,
    REC_CLEAR_ITEMS,
    REC_LEDGER,
    REC_CLEAR_LEDGER,
    REC_CLEAR_LEDGER_ITEM,
    REC_RUN,
    REC_MAILBOX,
    REC_VERIFY,
    REC_CLEAR_VERIFY,
    REC_SYNC,
};

/* What travels to the writer; the kind's own fields follow in a larger struct. */
struct record {
    struct mh_qitem item; /* first */
    enum record_kind kind;
    uint32_t id; /* folder or mailbox */
};

struct folder_record {
    struct record rec;
    struct mh_state_folder row; /* owned strings */
};

struct ledger_record {
    struct record rec;
    uint64_t src_uid;
    char *state, *reason, *text; /* owned */
};

struct uid_record {
    struct record rec;
    uint64_t src_uid;
};

struct run_record {
    struct record rec;
    struct mh_run_row row;
    char *phase, *problem; /* owned */
};

struct mailbox_record {
    struct record rec;
    char *text[3]; /* owned: id, source, target */
};

struct verify_record {
    struct record rec;
    struct mh_verify_row row;
    struct mh_verify_item *items; /* owned */
    size_t n;
    char *texts; /* owned: all strings of row and items */
};

struct sync_record {
    struct record rec;
    struct mh_sched *sched; /* NULL: a plain thread waits on the condition */
    struct mh_post post;
    struct mh_waitq q;
    bool done;
    int code;
};

struct statements {
    sqlite3_stmt *begin, *commit, *put_item, *park_folder, *put_folder, *clear_items, *put_ledger;
    sqlite3_stmt *clear_ledger, *clear_ledger_item, *put_run, *put_mailbox, *put_keywords;
    sqlite3_stmt *set_uidnext, *forget_verify, *put_verify, *put_verify_item, *clear_verify;
};

struct mh_state {
    char *path; /* owned */
    bool read_only;
    bool is_beside; /* writes only what no run writes, and holds no run's lock */
    sqlite3 *wr, *rd;
    pthread_mutex_t rd_lock;
    struct statements st;
    struct mh_queue *queue;
    pthread_t writer;
    bool has_writer;
    int lock_fd;   /* the run's; -1: read only, or beside one */
    int verify_fd; /* -1: read only */
    char boot_name[STATE_BOOT_NAME_BYTES];
    bool had_log; /* a write-ahead log lay there: not closed in good order */
    bool has_last_write;
    int64_t
        last_write_mono_ms; /* by the run before; of our own monotonic clock, may lie before its zero */
    /* The writer's: it has announced that it waits beside a run, and until when it waits. */
    bool wants_turn;
    int64_t busy_until_ms;
    /* The writer's: pages in the log after the last commit, the one before, and when it is due next. */
    int log_pages, log_pages_before, checkpoint_at;
    uint32_t keywords_written;
    int step_rc; /* of the step that failed */
    _Atomic uint32_t next_folder;
    _Atomic int health;   /* code of the first write error */
    pthread_mutex_t lock; /* first_error, spare batches, keywords, synced */
    pthread_cond_t synced;
    struct mh_err first_error;
    struct mh_state_batch *spare;
    unsigned n_spare;
    struct mh_kwsets *
        keywords; /* interned by whoever asks; the writer stores them ahead of the rows that name them */
};

/* sqlite.c */
/* MH_ERUN: a call of SQLite on DB ended with RC; says WHAT, where, why and what to do. */
int state_sql_err(struct mh_state *st, sqlite3 *db, int rc, const char *what, struct mh_err *err);
int state_db_open(struct mh_state *st, struct mh_err *err) MH_MUST_CHECK;
/* Writes the log into the file. A reader that is in the way is no error. */
int state_db_checkpoint(struct mh_state *st, struct mh_err *err) MH_MUST_CHECK;
/* Marks the store as closed in good order, once the writer has ended without an error. */
int state_db_finish(struct mh_state *st, struct mh_err *err) MH_MUST_CHECK;
void state_db_close(struct mh_state *st);
int state_prepare(struct mh_state *st, sqlite3 *db, const char *sql, sqlite3_stmt **out,
                  struct mh_err *err) MH_MUST_CHECK;

/* state.c */
int state_push_mailbox(struct mh_state *st, const char *const texts[3],
                       struct mh_err *err) MH_MUST_CHECK;

/* lock.c */
int state_lock(const char *path, int *fd_out, struct mh_err *err) MH_MUST_CHECK;
/* Before any stamp is read or written: which start of the machine this is. */
void state_read_boot_name(struct mh_state *st);
/* The run's: on record that something was committed now. Nothing beside a run. */
void state_stamp(struct mh_state *st);
/* How long ago that was, for the holder of the lock; FILE_WALL_S: the time of the newest file, where no stamp tells. */
int64_t state_stamp_age_ms(struct mh_state *st, int64_t file_wall_s);
/* From begin (done or failed) to end nobody else opens the store for writing. */
int state_begin_opening(struct mh_state *st, struct mh_err *err) MH_MUST_CHECK;
void state_end_opening(struct mh_state *st);
/* Beside a run: announces that it waits for its turn to write, or no longer. The run's: whether somebody does. */
void state_want_turn(struct mh_state *st, bool wanted);
bool state_turn_is_wanted(const struct mh_state *st);

/* writer.c */
void *state_writer_main(void *arg);
void state_record_free(struct mh_state *st, struct record *rec);
int state_push(struct mh_state *st, struct record *rec, struct mh_err *err) MH_MUST_CHECK;

#endif
