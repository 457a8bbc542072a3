/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/slab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct mh_pool {
    pthread_mutex_t lock;
    uint64_t cap_slabs;
    uint64_t made_slabs;
    uint64_t in_use_slabs;
    uint64_t peak_slabs;
    uint64_t reserved_bytes;
    struct mh_slab *free;
    struct mh_pool_waiter *waiters; /* to be told when something comes back */
};

static _Atomic uint64_t copied_bytes;

int mh_pool_new(uint64_t cap_bytes, struct mh_pool **out, struct mh_err *err)
{
    struct mh_pool *pool = mh_zalloc(sizeof *pool);
    if (!pool)
        return mh_err_nomem(err);
    (void)pthread_mutex_init(&pool->lock, NULL);
    pool->cap_slabs = cap_bytes / MH_SLAB_BYTES;
    *out = pool;
    return MH_OK;
}

void mh_pool_free(struct mh_pool *pool)
{
    if (!pool)
        return;
    mh_assert(pool->in_use_slabs == 0);
    mh_assert(pool->waiters == NULL);
    while (pool->free) {
        struct mh_slab *slab = pool->free;
        pool->free = slab->next;
        free(slab->data);
        mh_free(slab);
    }
    (void)pthread_mutex_destroy(&pool->lock);
    mh_free(pool);
}

/* A new slab from the system; NULL when memory is out. */
static struct mh_slab *slab_make(struct mh_pool *pool)
{
    struct mh_slab *slab = mh_zalloc(sizeof *slab);
    if (!slab)
        return NULL;
    slab->data = aligned_alloc(4096, MH_SLAB_BYTES);
    if (!slab->data) {
        mh_free(slab);
        return NULL;
    }
    slab->pool = pool;
    return slab;
}

struct mh_slab *mh_slab_get(struct mh_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    struct mh_slab *slab = pool->free;
    if (slab) {
        pool->free = slab->next;
    } else if (pool->made_slabs < pool->cap_slabs) {
        slab = slab_make(pool);
        if (slab)
            pool->made_slabs++;
    }
    if (slab && ++pool->in_use_slabs > pool->peak_slabs)
        pool->peak_slabs = pool->in_use_slabs;
    (void)pthread_mutex_unlock(&pool->lock);
    if (slab) {
        slab->next = NULL;
        __atomic_store_n(&slab->refs, 1u, __ATOMIC_RELAXED);
    }
    return slab;
}

void mh_slab_ref(struct mh_slab *slab)
{
    unsigned before = __atomic_fetch_add(&slab->refs, 1u, __ATOMIC_RELAXED);
    mh_assert(before > 0);
}

/* Tells everybody who waits; they look again and wait again if they must. Lock held. */
static void notify_waiters(struct mh_pool *pool)
{
    while (pool->waiters) {
        struct mh_pool_waiter *w = pool->waiters;
        pool->waiters = w->next;
        w->is_listed = false;
        w->notify(w);
    }
}

void mh_slab_unref(struct mh_slab *slab)
{
    unsigned before = __atomic_fetch_sub(&slab->refs, 1u, __ATOMIC_ACQ_REL);
    mh_assert(before > 0);
    if (before > 1)
        return;
    struct mh_pool *pool = slab->pool;
    (void)pthread_mutex_lock(&pool->lock);
    slab->next = pool->free;
    pool->free = slab;
    pool->in_use_slabs--;
    notify_waiters(pool);
    (void)pthread_mutex_unlock(&pool->lock);
}

bool mh_slab_is_sole(const struct mh_slab *slab)
{
    return __atomic_load_n(&slab->refs, __ATOMIC_ACQUIRE) == 1;
}

struct mh_slice mh_slice_of(struct mh_slab *slab, uint32_t off, uint32_t len)
{
    mh_assert(off <= MH_SLAB_BYTES && len <= MH_SLAB_BYTES - off);
    mh_slab_ref(slab);
    return (struct mh_slice){slab, off, len};
}

struct mh_slice mh_slice_sub(const struct mh_slice *s, uint32_t off, uint32_t len)
{
    mh_assert(off <= s->len && len <= s->len - off);
    return mh_slice_of(s->slab, s->off + off, len);
}

void mh_slice_drop(struct mh_slice *s)
{
    if (s->slab)
        mh_slab_unref(s->slab);
    *s = (struct mh_slice){NULL, 0, 0};
}

void mh_slab_copy(void *dst, const void *src, size_t len)
{
    atomic_fetch_add_explicit(&copied_bytes, len, memory_order_relaxed);
    memcpy(dst, src, len);
}

uint64_t mh_slab_copied_bytes(void)
{
    return atomic_load_explicit(&copied_bytes, memory_order_relaxed);
}

void mh_pool_stats(const struct mh_pool *pool, struct mh_pool_stats *out)
{
    struct mh_pool *p = (struct mh_pool *)(uintptr_t)pool; /* the lock is not part of its value */
    (void)pthread_mutex_lock(&p->lock);
    out->cap_bytes = p->cap_slabs * MH_SLAB_BYTES;
    out->in_use_bytes = p->in_use_slabs * MH_SLAB_BYTES;
    out->peak_bytes = p->peak_slabs * MH_SLAB_BYTES;
    (void)pthread_mutex_unlock(&p->lock);
}

bool mh_pool_reserve(struct mh_pool *pool, uint64_t bytes)
{
    (void)pthread_mutex_lock(&pool->lock);
    uint64_t cap = pool->cap_slabs * MH_SLAB_BYTES;
    bool granted = bytes <= cap && pool->reserved_bytes <= cap - bytes;
    if (granted)
        pool->reserved_bytes += bytes;
    (void)pthread_mutex_unlock(&pool->lock);
    return granted;
}

void mh_pool_unreserve(struct mh_pool *pool, uint64_t bytes)
{
    (void)pthread_mutex_lock(&pool->lock);
    mh_assert(pool->reserved_bytes >= bytes);
    pool->reserved_bytes -= bytes;
    notify_waiters(pool);
    (void)pthread_mutex_unlock(&pool->lock);
}

void mh_pool_waiter_add(struct mh_pool *pool, struct mh_pool_waiter *w)
{
    (void)pthread_mutex_lock(&pool->lock);
    w->next = pool->waiters;
    w->is_listed = true;
    pool->waiters = w;
    (void)pthread_mutex_unlock(&pool->lock);
}

bool mh_pool_waiter_remove(struct mh_pool *pool, struct mh_pool_waiter *w)
{
    (void)pthread_mutex_lock(&pool->lock);
    bool was_listed = w->is_listed;
    for (struct mh_pool_waiter **at = &pool->waiters; was_listed && *at; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            w->is_listed = false;
            break;
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return was_listed;
}
