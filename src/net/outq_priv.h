/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The slices a connection has still to send, in order: a ring that grows when it must and stays, so
 * that nothing is allocated once it has its size. Owns its slices. One thread.
 * A secret's bytes are wiped in the slab as soon as they are consumed or dropped.
 */
#ifndef MH_NET_OUTQ_PRIV_H
#define MH_NET_OUTQ_PRIV_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/slab.h"

struct mh_outq_entry {
    struct mh_slice slice;
    bool is_secret;
};

/* Zero-initialised is empty. */
struct mh_outq {
    struct mh_outq_entry *ring; /* owned; a power of two of them */
    size_t cap, head, n;
    size_t bytes;
};

void mh_outq_done(struct mh_outq *q);
/* Takes SLICE (not empty). False: out of memory, the slice is dropped. */
bool mh_outq_push(struct mh_outq *q, struct mh_slice slice_take, bool is_secret) MH_MUST_CHECK;
/* Makes the last entry longer when LEN bytes at OFF of SLAB follow it directly and it is no
 * secret. */
bool mh_outq_extend(struct mh_outq *q, const struct mh_slab *slab, uint32_t off, uint32_t len);
/* The first entries, at most MAX_BYTES of them (more than 0), as iovecs; how many. */
size_t mh_outq_peek(const struct mh_outq *q, struct iovec *iov, size_t max_iov, size_t max_bytes);
/* N bytes from the front are done with. */
void mh_outq_consume(struct mh_outq *q, size_t n);
void mh_outq_clear(struct mh_outq *q);

#endif
