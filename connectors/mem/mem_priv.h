/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the mem connector: the store, which stands for a server's disk. Its mail lives in plain
 * malloc memory: it is neither ours to account for nor to be failed by mh_mem's hook.
 * Everything is read and changed under the store's lock, by any thread; what changes is told to those
 * who watch by a post to their schedulers (watch.c).
 */
#ifndef MH_CONNECTORS_MEM_PRIV_H
#define MH_CONNECTORS_MEM_PRIV_H

#include <pthread.h>

#include "base/task.h"
#include "connectors/mem/mem.h"

struct mem_message {
    uint64_t uid;
    uint64_t modseq;
    uint64_t object_id; /* 0 when it is added: it gets one */
    struct mh_date date;
    uint8_t flags;
    char *keywords;      /* owned, canonical or "" */
    unsigned char *data; /* owned */
    uint64_t len;
};

/* A message that is not there any more, and since when. */
struct mem_gone {
    uint64_t uid, modseq;
};

struct mem_pair {
    char *name;  /* owned */
    char *value; /* owned */
    size_t len;  /* of value, which may hold any octets */
};

struct mem_pairs {
    struct mem_pair *v;
    size_t n;
};

struct mem_folder {
    char *path; /* owned */
    enum mh_role role;
    bool is_subscribed;
    bool is_removed; /* out of the store, kept for those who have it open */
    unsigned users;  /* sessions that have it open */
    uint32_t uidvalidity;
    uint64_t uidnext;
    uint64_t highestmodseq;
    uint64_t object_id;
    struct mem_message *v; /* owned, ascending by uid */
    size_t n, cap;
    struct mem_gone *gone; /* owned, ascending by modseq */
    size_t n_gone, cap_gone;
    uint64_t forgotten_modseq; /* what vanished up to it may be missing in `gone` */
    struct mem_pairs acl;
    struct mem_pairs metadata;
};

struct mem_watcher; /* watch.c */

enum mem_way { MEM_DOWN, MEM_UP, MEM_WAYS };

struct mem_store {
    struct mem_store *next;
    char *name;
    pthread_mutex_t lock;
    struct mh_mem_options options;
    struct mh_mem_stats stats;
    uint64_t fetched_octets, appended_octets; /* since the configuration */
    uint64_t used_bytes;
    struct mem_folder **folders; /* owned; each stays where it is */
    size_t n_folders;
    uint32_t next_uidvalidity;
    uint64_t next_object;
    uint64_t changes, inbox_changes; /* so far: in all folders, in the inbox */
    struct mem_watcher *watchers;    /* borrowed: those who wait */
    int64_t wire_free_us[MEM_WAYS];  /* what is on the wire has arrived by then */
    unsigned users;                  /* registry's lock: sessions, and calls that are at it */
};

/* Counts a user; NULL: there is none (and CREATE is false), or memory is out. */
struct mem_store *mem_store_open(const char *name, bool create);
void mem_store_close(struct mem_store *s);

/* All below: lock held. */

struct mem_folder *mem_folder_find(const struct mem_store *s, const char *path);
struct mem_folder *mem_folder_make(struct mem_store *s, const char *path);
/* PATH and what stands above it, as far as it is missing; NULL: out of memory. */
struct mem_folder *mem_folder_make_path(struct mem_store *s, const char *path);
/* With all below it, what stands above PATH is made. MH_EEXIST; MH_EFOLDER: the inbox, or below itself. */
int mem_folder_rename(struct mem_store *s, struct mem_folder *f, const char *path,
                      struct mh_err *err);
/* Takes it out with its mail; it is freed when nobody has it open. */
void mem_folder_remove(struct mem_store *s, struct mem_folder *f);
void mem_folder_ref(struct mem_folder *f);
void mem_folder_unref(struct mem_folder *f); /* NULL: nothing */
void mem_folder_free(struct mem_folder *f);

struct mem_message *mem_message_find(const struct mem_folder *f, uint64_t uid);
/* Takes KEYWORDS and DATA, on failure too. The new uid, or 0. */
uint64_t mem_message_add(struct mem_store *s, struct mem_folder *f, struct mem_message *m);
void mem_message_expunge(struct mem_store *s, struct mem_folder *f, uint64_t uid);
/* Takes KEYWORDS. */
void mem_message_set(struct mem_store *s, struct mem_folder *f, struct mem_message *m,
                     uint8_t flags, char *keywords_take);
/* Those of the N UIDS (ascending) that are there, with all they have, to the end of TO; OLD_OUT and NEW_OUT (room
 * for N each) get their uids. How many, or -1: out of memory, nothing was done. */
long mem_message_move(struct mem_store *s, struct mem_folder *f, struct mem_folder *to,
                      const uint64_t *uids, size_t n, uint64_t *old_out, uint64_t *new_out);
void mem_message_done(struct mem_message *m);
/* Blank-separated words in the canonical form of struct mh_kwsets, malloc; NULL: out of memory. */
char *mem_keywords(const char *words);
bool mem_pair_set(struct mem_pairs *l, const char *name, const char *value, size_t len);

/* watch.c: something has changed in F, or (NULL) in the list of folders. */
void mem_tell(struct mem_store *s, const struct mem_folder *f);

#endif
