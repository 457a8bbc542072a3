/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/outq_priv.h"

#include <string.h>

#include "base/mem.h"

#define FIRST_CAP 32u

static struct mh_outq_entry *entry_at(const struct mh_outq *q, size_t i)
{
    return &q->ring[(q->head + i) & (q->cap - 1)];
}

void mh_outq_done(struct mh_outq *q)
{
    mh_outq_clear(q);
    mh_free(q->ring);
    *q = (struct mh_outq){0};
}

static bool grow(struct mh_outq *q)
{
    size_t cap = q->cap ? 2 * q->cap : FIRST_CAP;
    struct mh_outq_entry *ring = mh_realloc_array(NULL, cap, sizeof *ring);
    if (!ring)
        return false;
    for (size_t i = 0; i < q->n; i++)
        ring[i] = *entry_at(q, i);
    mh_free(q->ring);
    q->ring = ring;
    q->cap = cap;
    q->head = 0;
    return true;
}

bool mh_outq_push(struct mh_outq *q, struct mh_slice slice_take, bool is_secret)
{
    mh_assert(slice_take.len > 0);
    if (q->n == q->cap && !grow(q)) {
        mh_slice_drop(&slice_take);
        return false;
    }
    q->n++;
    *entry_at(q, q->n - 1) = (struct mh_outq_entry){slice_take, is_secret};
    q->bytes += slice_take.len;
    return true;
}

bool mh_outq_extend(struct mh_outq *q, const struct mh_slab *slab, uint32_t off, uint32_t len)
{
    if (q->n == 0)
        return false;
    struct mh_outq_entry *last = entry_at(q, q->n - 1);
    if (last->is_secret || last->slice.slab != slab || last->slice.off + last->slice.len != off)
        return false;
    last->slice.len += len;
    q->bytes += len;
    return true;
}

size_t mh_outq_peek(const struct mh_outq *q, struct iovec *iov, size_t max_iov, size_t max_bytes)
{
    size_t n = 0;
    for (; n < q->n && n < max_iov && max_bytes > 0; n++) {
        const struct mh_slice *s = &entry_at(q, n)->slice;
        iov[n].iov_base = mh_slice_data(s);
        iov[n].iov_len = MH_MIN(s->len, max_bytes);
        max_bytes -= iov[n].iov_len;
    }
    return n;
}

void mh_outq_consume(struct mh_outq *q, size_t n)
{
    mh_assert(n <= q->bytes);
    q->bytes -= n;
    while (n > 0) {
        struct mh_outq_entry *e = entry_at(q, 0);
        uint32_t part = (uint32_t)MH_MIN(e->slice.len, n);
        if (e->is_secret)
            explicit_bzero(mh_slice_data(&e->slice), part);
        n -= part;
        e->slice.off += part;
        e->slice.len -= part;
        if (e->slice.len > 0)
            break;
        mh_slice_drop(&e->slice);
        q->head = (q->head + 1) & (q->cap - 1);
        q->n--;
    }
}

void mh_outq_clear(struct mh_outq *q)
{
    mh_outq_consume(q, q->bytes);
}
