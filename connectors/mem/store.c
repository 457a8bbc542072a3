/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "connectors/mem/mem_priv.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mem_store *registry;

/* --- the registry ----------------------------------------------------------------------------- */

static struct mem_store *find(const char *name)
{
    struct mem_store *s = registry;
    while (s && strcmp(s->name, name) != 0)
        s = s->next;
    return s;
}

static struct mem_store *make(const char *name)
{
    struct mem_store *s = calloc(1, sizeof *s);
    char *copy = s ? strdup(name) : NULL;
    if (!copy) {
        free(s);
        return NULL;
    }
    s->name = copy;
    (void)pthread_mutex_init(&s->lock, NULL);
    mh_mem_options_init(&s->options);
    struct mem_folder *inbox = mem_folder_make(s, "INBOX");
    if (!inbox) {
        free(s->name);
        free(s);
        return NULL;
    }
    inbox->role = MH_ROLE_INBOX;
    s->next = registry;
    registry = s;
    return s;
}

struct mem_store *mem_store_open(const char *name, bool create)
{
    (void)pthread_mutex_lock(&registry_lock);
    struct mem_store *s = find(name);
    if (!s && create)
        s = make(name);
    if (s)
        s->sessions++;
    (void)pthread_mutex_unlock(&registry_lock);
    return s;
}

void mem_store_close(struct mem_store *s)
{
    (void)pthread_mutex_lock(&registry_lock);
    mh_assert(s->sessions > 0);
    s->sessions--;
    (void)pthread_mutex_unlock(&registry_lock);
}

/* --- folders and messages --------------------------------------------------------------------- */

struct mem_folder *mem_folder_find(const struct mem_store *s, const char *path)
{
    for (size_t i = 0; i < s->n_folders; i++)
        if (strcmp(s->folders[i]->path, path) == 0)
            return s->folders[i];
    return NULL;
}

struct mem_folder *mem_folder_make(struct mem_store *s, const char *path)
{
    struct mem_folder *f = calloc(1, sizeof *f);
    char *copy = strdup(path);
    struct mem_folder **v = realloc(s->folders, (s->n_folders + 1) * sizeof(struct mem_folder *));
    if (v)
        s->folders = v;
    if (!f || !copy || !v) {
        free(f);
        free(copy);
        return NULL;
    }
    f->path = copy;
    f->uidvalidity = (uint32_t)s->n_folders + 1000;
    f->uidnext = 1;
    f->highestmodseq = 1;
    s->folders[s->n_folders++] = f;
    return f;
}

struct mem_message *mem_message_find(const struct mem_folder *f, uint64_t uid)
{
    size_t lo = 0;
    size_t hi = f->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (f->v[mid].uid < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < f->n && f->v[lo].uid == uid ? &f->v[lo] : NULL;
}

void mem_message_done(struct mem_message *m)
{
    free(m->keywords);
    free(m->data);
    *m = (struct mem_message){0};
}

uint64_t mem_message_add(struct mem_store *s, struct mem_folder *f, struct mem_message *m)
{
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 16;
        struct mem_message *v = realloc(f->v, cap * sizeof *v);
        if (!v) {
            mem_message_done(m);
            return 0;
        }
        f->v = v;
        f->cap = cap;
    }
    m->uid = f->uidnext++;
    m->modseq = ++f->highestmodseq;
    s->used_bytes += m->len;
    f->v[f->n++] = *m;
    *m = (struct mem_message){0};
    return f->v[f->n - 1].uid;
}

bool mem_pair_set(struct mem_pairs *l, const char *name, const char *value, size_t len)
{
    size_t i = 0;
    while (i < l->n && strcmp(l->v[i].name, name) != 0)
        i++;
    char *copy = calloc(1, len + 1);
    if (!copy)
        return false;
    memcpy(copy, value, len);
    if (i == l->n) {
        struct mem_pair *v = realloc(l->v, (l->n + 1) * sizeof *v);
        char *own = strdup(name);
        if (v)
            l->v = v;
        if (!v || !own) {
            free(own);
            free(copy);
            return false;
        }
        l->v[l->n++] = (struct mem_pair){own, NULL, 0};
    }
    free(l->v[i].value);
    l->v[i].value = copy;
    l->v[i].len = len;
    return true;
}

static void pairs_done(struct mem_pairs *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].name);
        free(l->v[i].value);
    }
    free(l->v);
}

static void folder_free(struct mem_folder *f)
{
    for (size_t i = 0; i < f->n; i++)
        mem_message_done(&f->v[i]);
    pairs_done(&f->acl);
    pairs_done(&f->metadata);
    free(f->v);
    free(f->path);
    free(f);
}

/* --- for tests -------------------------------------------------------------------------------- */

void mh_mem_options_init(struct mh_mem_options *o)
{
    *o = (struct mh_mem_options){
        .multiappend = true,
        .uidplus = true,
        .keywords = true,
        .condstore = true,
        .special_use = true,
        .acl = true,
        .metadata = true,
        .refuse_code = MH_EITEM,
    };
}

int mh_mem_configure(const char *name, const struct mh_mem_options *options, struct mh_err *err)
{
    struct mem_store *s = mem_store_open(name, true);
    if (!s)
        return mh_err_nomem(err);
    (void)pthread_mutex_lock(&s->lock);
    s->options = *options;
    s->stats = (struct mh_mem_stats){0};
    s->fetched_octets = s->appended_octets = 0;
    (void)pthread_mutex_unlock(&s->lock);
    mem_store_close(s);
    return 0;
}

void mh_mem_drop(const char *name)
{
    (void)pthread_mutex_lock(&registry_lock);
    struct mem_store *s = find(name);
    if (s) {
        mh_assert(s->sessions == 0);
        struct mem_store **at = &registry;
        while (*at != s)
            at = &(*at)->next;
        *at = s->next;
        for (size_t i = 0; i < s->n_folders; i++)
            folder_free(s->folders[i]);
        free(s->folders);
        free(s->name);
        (void)pthread_mutex_destroy(&s->lock);
        free(s);
    }
    (void)pthread_mutex_unlock(&registry_lock);
}

bool mh_mem_expunge(const char *name, const char *path, uint64_t uid)
{
    struct mem_store *s = mem_store_open(name, false);
    if (!s)
        return false;
    (void)pthread_mutex_lock(&s->lock);
    struct mem_folder *f = mem_folder_find(s, path);
    struct mem_message *m = f ? mem_message_find(f, uid) : NULL;
    if (m) {
        s->used_bytes -= m->len;
        mem_message_done(m);
        size_t behind = f->n - (size_t)(m - f->v) - 1;
        memmove(m, m + 1, behind * sizeof *m);
        f->n--;
        f->highestmodseq++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    mem_store_close(s);
    return m != NULL;
}

bool mh_mem_renumber(const char *name, const char *path)
{
    struct mem_store *s = mem_store_open(name, false);
    if (!s)
        return false;
    (void)pthread_mutex_lock(&s->lock);
    struct mem_folder *f = mem_folder_find(s, path);
    if (f) {
        f->uidvalidity++;
        f->uidnext += 1000;
        for (size_t i = 0; i < f->n; i++)
            f->v[i].uid = f->uidnext++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    mem_store_close(s);
    return f != NULL;
}

void mh_mem_stats(const char *name, struct mh_mem_stats *out)
{
    *out = (struct mh_mem_stats){0};
    struct mem_store *s = mem_store_open(name, false);
    if (!s)
        return;
    (void)pthread_mutex_lock(&s->lock);
    *out = s->stats;
    for (size_t i = 0; i < s->n_folders; i++)
        out->messages += s->folders[i]->n;
    (void)pthread_mutex_unlock(&s->lock);
    mem_store_close(s);
}
