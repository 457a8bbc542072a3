/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Message bytes live in slabs: page-aligned, fixed size, reference counted, from one pool with a
 * hard cap set at start. A slice is a counted view into a slab; passing a slice on passes the bytes
 * without copying them.
 *
 * Who owns what: mh_slab_get() gives the caller one reference; every struct mh_slice holds one
 * reference on its slab, given up by mh_slice_drop(). A function whose slice argument is called
 * *_take consumes that reference, on failure too.
 * Threads: the pool and the counts are safe from any thread; the bytes of a slab are written by one
 * holder only, past the end of all slices that were made so far.
 * Never: malloc on the hot path (slabs are kept and used again), growing past the cap.
 *
 * Example. A connection has a slab with 10,000 of 65,536 bytes filled. It reads 16,000 more behind
 * them; the reader finds a 4,000-byte message at offset 10,120 and makes a slice (10,120, 4,000).
 * The target's write list takes the slice. The connection fills the slab up, gets a new one and drops
 * its own reference; when the last slice was written to the wire the slab is back in the pool.
 */
#ifndef MH_BASE_SLAB_H
#define MH_BASE_SLAB_H

#include <stdbool.h>

#include "base/error.h"
#include "base/limits.h"

struct mh_pool;

struct mh_slab {
    struct mh_pool *pool; /* borrowed: outlives its slabs */
    struct mh_slab *next; /* in the pool's free list */
    unsigned char *data;  /* MH_SLAB_BYTES, page-aligned; owned by the pool */
    unsigned refs;        /* atomic */
};

struct mh_slice {
    struct mh_slab *slab; /* one reference; NULL for an empty slice */
    uint32_t off;
    uint32_t len;
};

/* A pool of at most CAP_BYTES; memory is taken from the system as it is first needed. */
int mh_pool_new(uint64_t cap_bytes, struct mh_pool **out, struct mh_err *err) MH_MUST_CHECK;
/* All slabs must be back (asserted). */
void mh_pool_free(struct mh_pool *pool);

/*
 * A slab with one reference, or NULL when the cap is reached (or memory is out). Callers in tasks
 * use mh_slab_get_wait() of base/task.h.
 */
struct mh_slab *mh_slab_get(struct mh_pool *pool) MH_MUST_CHECK;
void mh_slab_ref(struct mh_slab *slab);
void mh_slab_unref(struct mh_slab *slab);

struct mh_slice mh_slice_of(struct mh_slab *slab, uint32_t off,
                            uint32_t len); /* takes a reference of its own */
struct mh_slice mh_slice_sub(const struct mh_slice *s, uint32_t off, uint32_t len); /* likewise */
void mh_slice_drop(struct mh_slice *s); /* gives the reference up, empties *s */
static inline unsigned char *mh_slice_data(const struct mh_slice *s)
{
    return s->slab->data + s->off;
}

/* The only way to copy message bytes; counts them. */
void mh_slab_copy(void *dst, const void *src, size_t len);
uint64_t mh_slab_copied_bytes(void);

struct mh_pool_stats {
    uint64_t cap_bytes;
    uint64_t in_use_bytes;
    uint64_t peak_bytes;
};
void mh_pool_stats(const struct mh_pool *pool, struct mh_pool_stats *out);

/* True when the caller holds the only reference: it may fill the slab from the start again. */
bool mh_slab_is_sole(const struct mh_slab *slab);

/*
 * Reservations: before a lane starts it books its worst case, so that lanes that all hold half a
 * message can never starve each other. false: not now, ask again after another lane gave back.
 */
bool mh_pool_reserve(struct mh_pool *pool, uint64_t bytes) MH_MUST_CHECK;
void mh_pool_unreserve(struct mh_pool *pool, uint64_t bytes);

/* Somebody who waits for a slab or a reservation: told once, with the pool locked, from any thread.
 * For base/task.h, which turns it into mh_slab_get_wait(). */
struct mh_pool_waiter {
    struct mh_pool_waiter *next;
    void (*notify)(struct mh_pool_waiter *w); /* must not call the pool */
    bool is_listed;
};
void mh_pool_waiter_add(struct mh_pool *pool, struct mh_pool_waiter *w);
/* False when it was told already. */
bool mh_pool_waiter_remove(struct mh_pool *pool, struct mh_pool_waiter *w);

#endif
