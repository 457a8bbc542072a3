/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The response reader on arbitrary bytes. However they are cut the transcript must be the same,
 * body events come in order with the announced number of octets, and all slabs are given back. An
 * input that starts with `!` is read with a small line cap, so that short inputs reach it.
 */
#include "fuzz.h"
#include "tests/unit/wire_transcript.h"

enum { SMALL_LINE_MAX = 48 };

/* The bytes themselves say where they are cut. */
struct cutter {
    const uint8_t *data;
    size_t size;
    size_t at;
};

static size_t cut_by_input(void *ctx, size_t left)
{
    static const size_t lens[] = {1, 1, 2, 3, 5, 13, 64, 1000};
    struct cutter *c = ctx;
    uint8_t byte = c->data[c->size - 1 - c->at++ % c->size];
    return MH_MIN(lens[byte % MH_ARRAY_LEN(lens)], left);
}

static size_t cut_all(void *ctx, size_t left)
{
    (void)ctx;
    return left;
}

static size_t cut_one(void *ctx, size_t left)
{
    (void)ctx;
    (void)left;
    return 1;
}

/* The transcript of one way to cut the input; the caller frees it. */
static struct mh_buf run(const uint8_t *data, size_t size, transcript_cut *cut, void *ctx,
                         bool eager)
{
    struct transcript t;
    bool small = size > 0 && data[0] == '!';
    transcript_init(&t);
    if (small)
        mh_resp_set_line_max(t.resp, SMALL_LINE_MAX);
    (void)transcript_run(&t, (const char *)data + small, size - small, cut, ctx, eager);
    mh_assert(!mh_buf_failed(&t.out));
    struct mh_buf out = t.out;
    t.out = (struct mh_buf)MH_BUF_INIT;
    transcript_done(&t);
    return out;
}

static void expect_same(const struct mh_buf *a, struct mh_buf b)
{
    mh_assert(a->len == b.len);
    mh_assert(a->len == 0 || memcmp(a->data, b.data, a->len) == 0);
    mh_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cutter cutter = {data, size, 0};
    struct mh_buf whole = run(data, size, cut_all, NULL, true);
    expect_same(&whole, run(data, size, cut_by_input, &cutter, false));
    expect_same(&whole, run(data, size, cut_one, NULL, true));
    mh_buf_done(&whole);
    return 0;
}
