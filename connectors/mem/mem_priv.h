/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the mem connector: the store, which stands for a server's disk. Its mail lives in plain
 * malloc memory: it is neither ours to account for nor to be failed by mh_mem's hook.
 * Everything is read and changed under the store's lock.
 */
#ifndef MH_CONNECTORS_MEM_PRIV_H
#define MH_CONNECTORS_MEM_PRIV_H

#include <pthread.h>

#include "connectors/mem/mem.h"

struct mem_message {
    uint64_t uid;
    uint64_t modseq;
    struct mh_date date;
    uint8_t flags;
    char *keywords;      /* owned, canonical or "" */
    unsigned char *data; /* owned */
    uint64_t len;
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
    uint32_t uidvalidity;
    uint64_t uidnext;
    uint64_t highestmodseq;
    struct mem_message *v; /* owned, ascending by uid */
    size_t n, cap;
    struct mem_pairs acl;
    struct mem_pairs metadata;
};

struct mem_store {
    struct mem_store *next;
    char *name;
    pthread_mutex_t lock;
    struct mh_mem_options options;
    struct mh_mem_stats stats;
    uint64_t fetched_octets, appended_octets; /* since the configuration */
    uint64_t used_bytes;
    struct mem_folder **folders; /* owned; stay where they are */
    size_t n_folders;
    unsigned sessions;
};

/* Counts a session; NULL: there is none (and CREATE is false), or memory is out. */
struct mem_store *mem_store_open(const char *name, bool create);
void mem_store_close(struct mem_store *s);
/* All below: lock held. */
struct mem_folder *mem_folder_find(const struct mem_store *s, const char *path);
struct mem_folder *mem_folder_make(struct mem_store *s, const char *path);
struct mem_message *mem_message_find(const struct mem_folder *f, uint64_t uid);
/* Takes KEYWORDS and DATA, on failure too. The new uid, or 0. */
uint64_t mem_message_add(struct mem_store *s, struct mem_folder *f, struct mem_message *m);
void mem_message_done(struct mem_message *m);
bool mem_pair_set(struct mem_pairs *l, const char *name, const char *value, size_t len);

#endif
