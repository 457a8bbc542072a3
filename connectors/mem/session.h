/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the mem connector: a session, and the slots of mh_mem by file. A session belongs to one
 * scheduler; what it shares with others is the store, whose lock it takes in each call and never holds
 * while it waits.
 */
#ifndef MH_CONNECTORS_MEM_SESSION_H
#define MH_CONNECTORS_MEM_SESSION_H

#include "connectors/mem/mem_priv.h"

/* One message of the batch that is being sent. */
struct mem_pending {
    struct mem_message message;
    uint64_t cookie;
    uint64_t filled;
    int code; /* 0, or why it will be refused */
    bool loses_answer;
};

struct mh_session {
    const struct mh_env *env; /* borrowed */
    struct mem_store *store;
    struct mh_caps caps;
    bool is_dead;                  /* the connection was lost */
    struct mem_folder *selected;   /* referenced; NULL: none */
    uint32_t selected_uidvalidity; /* then */
    bool may_write;                /* it was selected for writing */

    struct mem_folder *target;   /* referenced */
    char *target_path;           /* owned: an append names the folder, whatever became of it */
    struct mh_append_sink *sink; /* borrowed */
    struct mem_pending *batch;   /* owned */
    size_t n_batch, cap_batch;
    bool is_arriving;   /* between begin and end of the last of the batch */
    bool is_unanswered; /* sent since the last flush */

    bool is_watching; /* watch() was called before … */
    uint64_t seen;    /* … and has told of so many changes */
};

static inline void mem_lock(struct mh_session *s)
{
    (void)pthread_mutex_lock(&s->store->lock);
}

static inline void mem_unlock(struct mh_session *s)
{
    (void)pthread_mutex_unlock(&s->store->lock);
}

/* mem.c */
int mem_lost(struct mh_session *s, struct mh_err *err);
int mem_no_such(struct mh_err *err, const char *what);
/* The folder for one of the calls that name it; NULL and *RC_OUT set when it is not there. Lock held. */
struct mem_folder *mem_need_folder(struct mh_session *s, const struct mh_folder *folder,
                                   int *rc_out, struct mh_err *err);
/* FOLDER becomes the selected one; *OUT filled. MH_ENOENT: none is selected then. Lock held. */
int mem_open_folder(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                    struct mh_opened *out, struct mh_err *err);
/* The selected folder has been removed: servers close the connection (Dovecot 2.3). Lock held. */
int mem_check_selected(struct mh_session *s, struct mh_err *err);
int mem_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                  struct mh_err *err);

/* wire.c. Each waits as far away as the store is, and not at all when it is near; MH_ECANCEL. Lock not held. */
enum {
    MEM_ITEM_OCTETS = 100,   /* what a message's metadata takes on the wire */
    MEM_FOLDER_OCTETS = 200, /* likewise a folder's */
};
/* A command and its answer. */
int mem_ask(struct mh_session *s, unsigned round_trips, struct mh_err *err);
/* Until OCTETS more have passed. */
int mem_carry(struct mh_session *s, enum mem_way way, uint64_t octets, struct mh_err *err);
/* Until what the server says by itself has come. */
int mem_hear(struct mh_session *s, struct mh_err *err);

/* read.c */
int mem_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err);
int mem_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n, struct mh_scan *out,
                  struct mh_err *err);
int mem_select_changes(struct mh_session *s, const struct mh_folder *folder,
                       const struct mh_since *since, struct mh_opened *opened_out,
                       struct mh_changes *out, struct mh_err *err);
int mem_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
              struct mh_sink *sink, struct mh_err *err);

/* append.c */
int mem_append_open(struct mh_session *s, const struct mh_folder *folder,
                    struct mh_append_sink *sink, struct mh_err *err);
int mem_append_begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err);
int mem_append_data(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err);
int mem_append_end(struct mh_session *s, struct mh_err *err);
int mem_append_cut(struct mh_session *s, struct mh_err *err);
int mem_append_flush(struct mh_session *s, struct mh_err *err);
/* Verdicts for what was not stored yet; frees the batch. */
void mem_append_close(struct mh_session *s);

/* change.c */
int mem_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                    const char *keywords, struct mh_err *err);
int mem_move(struct mh_session *s, const uint64_t *uids, size_t n, const struct mh_folder *to,
             mh_moved_fn *moved, void *ctx, struct mh_err *err);
int mem_rename(struct mh_session *s, const struct mh_folder *folder, const char *path,
               char **path_out, char **native_out, struct mh_err *err);

/* watch.c */
int mem_watch(struct mh_session *s, int64_t until_ms, bool *changed_out, struct mh_err *err);

#endif
