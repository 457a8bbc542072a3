/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The ring of slices: order, joining, partial consumption, growth, wiping. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "net/outq_priv.h"

static struct mh_pool *pool;
static struct mh_slab *slab;

static void setup(void)
{
    struct mh_err err;
    cr_assert_eq(mh_pool_new(4 * MH_SLAB_BYTES, &pool, &err), MH_OK);
    slab = mh_slab_get(pool);
    for (size_t i = 0; i < MH_SLAB_BYTES; i++)
        slab->data[i] = (unsigned char)(i % 251);
}

static void teardown(void)
{
    cr_assert(mh_slab_is_sole(slab), "slices were dropped");
    mh_slab_unref(slab);
    mh_pool_free(pool);
}

TestSuite(outq, .init = setup, .fini = teardown);

static void push(struct mh_outq *q, uint32_t off, uint32_t len)
{
    cr_assert(mh_outq_push(q, mh_slice_of(slab, off, len), false));
}

Test(outq, peek_respects_both_limits)
{
    struct mh_outq q = {0};
    struct iovec iov[8];
    push(&q, 0, 100);
    push(&q, 1000, 200);
    push(&q, 5000, 300);
    cr_assert_eq(q.bytes, 600);
    cr_assert_eq(mh_outq_peek(&q, iov, 8, 1000), 3);
    cr_assert_eq(iov[1].iov_base, slab->data + 1000);
    cr_assert_eq(iov[2].iov_len, 300);
    cr_assert_eq(mh_outq_peek(&q, iov, 2, 1000), 2);
    cr_assert_eq(mh_outq_peek(&q, iov, 8, 150), 2);
    cr_assert_eq(iov[1].iov_len, 50);
    cr_assert_eq(mh_outq_peek(&q, iov, 8, 100), 1);
    mh_outq_done(&q);
}

Test(outq, partial_consumption_moves_the_front)
{
    struct mh_outq q = {0};
    struct iovec iov[8];
    push(&q, 0, 100);
    push(&q, 1000, 200);
    mh_outq_consume(&q, 1);
    cr_assert_eq(mh_outq_peek(&q, iov, 8, 1000), 2);
    cr_assert_eq(iov[0].iov_base, slab->data + 1);
    cr_assert_eq(iov[0].iov_len, 99);
    mh_outq_consume(&q, 149);
    cr_assert_eq(mh_outq_peek(&q, iov, 8, 1000), 1);
    cr_assert_eq(iov[0].iov_base, slab->data + 1050);
    cr_assert_eq(q.bytes, 150);
    mh_outq_consume(&q, 150);
    cr_assert_eq(q.n, 0);
    cr_assert_eq(mh_outq_peek(&q, iov, 8, 1000), 0);
    mh_outq_done(&q);
}

Test(outq, text_behind_text_is_one_slice)
{
    struct mh_outq q = {0};
    cr_assert_not(mh_outq_extend(&q, slab, 0, 10), "nothing to join");
    push(&q, 0, 10);
    cr_assert(mh_outq_extend(&q, slab, 10, 5));
    cr_assert_not(mh_outq_extend(&q, slab, 16, 5), "a gap");
    mh_outq_consume(&q, 12);
    cr_assert(mh_outq_extend(&q, slab, 15, 5), "also when its front has left");
    cr_assert_eq(q.n, 1);
    cr_assert_eq(q.bytes, 8);
    mh_outq_done(&q);
}

Test(outq, secrets_are_wiped_as_they_leave_and_never_joined)
{
    static const unsigned char zeros[64];
    struct mh_outq q = {0};
    cr_assert(mh_outq_push(&q, mh_slice_of(slab, 100, 64), true));
    cr_assert_not(mh_outq_extend(&q, slab, 164, 8));
    push(&q, 164, 8);
    mh_outq_consume(&q, 10);
    cr_assert_eq(memcmp(slab->data + 100, zeros, 10), 0);
    cr_assert_eq(slab->data[110], 110, "the rest is still to be sent");
    mh_outq_clear(&q);
    cr_assert_eq(memcmp(slab->data + 100, zeros, 64), 0, "dropped unsent: wiped as well");
    cr_assert_eq(slab->data[164], 164, "no secret");
    mh_outq_done(&q);
}

/* Against a plain model: the front and the sum after each of many pushes and consumptions. */
Test(outq, a_long_run_keeps_order_and_allocates_no_more)
{
    struct mh_outq q = {0};
    uint32_t next_in = 0, next_out = 0;
    uint64_t seed = 42, calls = 0;
    size_t expected = 0;
    for (int step = 0; step < 200000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bool is_push = (seed >> 60) < 8 ? q.n < 200 : q.n == 0;
        if (is_push) {
            uint32_t len = 1 + (uint32_t)(seed >> 40) % 50;
            uint32_t off = next_in % 60000;
            /* The first byte of each slice tells which it is. */
            push(&q, off, len);
            next_in += 7;
            expected += len;
        } else {
            struct iovec iov;
            cr_assert_eq(mh_outq_peek(&q, &iov, 1, SIZE_MAX), 1);
            cr_assert_eq(iov.iov_base, slab->data + next_out % 60000);
            mh_outq_consume(&q, iov.iov_len);
            expected -= iov.iov_len;
            next_out += 7;
        }
        cr_assert_eq(q.bytes, expected);
        if (step == 100000)
            calls = mh_mem_calls();
    }
    cr_assert_eq(mh_mem_calls(), calls, "the ring has its size");
    mh_outq_done(&q);
}

Test(outq, out_of_memory_drops_the_slice)
{
    struct mh_outq q = {0};
    mh_mem_fail_nth(1);
    cr_assert_not(mh_outq_push(&q, mh_slice_of(slab, 0, 10), false));
    cr_assert_eq(q.bytes, 0);
    push(&q, 0, 10);
    mh_outq_done(&q);
}
