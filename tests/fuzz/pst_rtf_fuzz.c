/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Compressed RTF from arbitrary octets: bounded by what went in, the same each time, within its
 * arena; and what comes out goes on to be text.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "pst/rtf.h"
#include "pst/rtf_text.h"

enum { ARENA_BYTES = 16 << 20 };

static void read_text(const struct pst_span *rtf)
{
    static struct pst_charset charset;
    static struct pst_rtf_reader *reader;
    struct mh_buf out = MH_BUF_INIT;
    if (!reader && !(reader = pst_rtf_reader_new(&charset)))
        abort();
    (void)pst_rtf_text(reader, rtf->p, rtf->n, &out);
    mh_assert(mh_utf8_valid(mh_buf_str(&out), out.len));
    mh_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pst_arena arena;
    struct pst_span out;
    struct pst_span again;
    pst_arena_init(&arena, ARENA_BYTES);
    struct pst_verdict v = pst_rtf_unpack(data, size, &arena, &out);
    struct pst_verdict w = pst_rtf_unpack(data, size, &arena, &again);
    mh_assert(v.state == w.state && v.why == w.why && out.n == again.n);
    mh_assert(out.n == 0 || memcmp(out.p, again.p, out.n) == 0);
    mh_assert(v.state != PST_LOST || out.n == 0);
    mh_assert(out.n <= size * 17 / 2 + 1);
    read_text(&out);
    pst_arena_done(&arena);
    return 0;
}
