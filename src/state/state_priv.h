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
};

enum record_kind {
    REC_BATCH,
    REC_FOLDER,
    REC_CLEAR_ITEMS,
    REC_LEDGER,
    REC_CLEAR_LEDGER,
    REC_RUN,
    REC_MAILBOX,
    REC_KEYWORDS,
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

struct run_record {
    struct record rec;
    struct mh_run_row row;
    char *phase, *problem; /* owned */
};

struct text_record { /* mailbox, keywords */
    struct record rec;
    char *text[3]; /* owned */
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
    sqlite3_stmt *begin, *commit, *put_item, *put_folder, *clear_items, *put_ledger, *clear_ledger;
    sqlite3_stmt *put_run, *put_mailbox, *put_keywords, *set_uidnext;
};

struct mh_state {
    char *path; /* owned */
    bool read_only;
    sqlite3 *wr, *rd;
    pthread_mutex_t rd_lock;
    struct statements st;
    struct mh_queue *queue;
    pthread_t writer;
    bool has_writer;
    int lock_fd;
    int64_t last_write_wall_s; /* by whoever had it before */
    _Atomic uint32_t next_folder, next_mailbox;
    _Atomic int health;   /* code of the first write error */
    pthread_mutex_t lock; /* first_error, spare batches, keywords, synced */
    pthread_cond_t synced;
    struct mh_err first_error;
    struct mh_state_batch *spare;
    unsigned n_spare;
    struct mh_kwsets *keywords;
};

/* sqlite.c */
int state_sql_err(struct mh_state *st, sqlite3 *db, const char *what, struct mh_err *err);
int state_db_open(struct mh_state *st, struct mh_err *err) MH_MUST_CHECK;
void state_db_close(struct mh_state *st);
int state_prepare(struct mh_state *st, sqlite3 *db, const char *sql, sqlite3_stmt **out,
                  struct mh_err *err) MH_MUST_CHECK;

/* lock.c */
int state_lock(const char *path, int *fd_out, struct mh_err *err) MH_MUST_CHECK;

/* writer.c */
void *state_writer_main(void *arg);
void state_record_free(struct mh_state *st, struct record *rec);
int state_push(struct mh_state *st, struct record *rec, struct mh_err *err) MH_MUST_CHECK;

#endif
