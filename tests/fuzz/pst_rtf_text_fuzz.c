/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * RTF from arbitrary octets: UTF-8 comes out, bounded by what went in, the same whatever was read
 * before, and what cannot be read leaves the buffer as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fuzz.h"
#include "pst/rtf_text.h"

/* One reader for all bodies, as a thread uses it: the next body must not see the one before. */
static struct pst_rtf_reader *reader(void)
{
    static struct pst_charset charset;
    static struct pst_rtf_reader *r;
    if (!r && !(r = pst_rtf_reader_new(&charset)))
        abort();
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mh_buf out = MH_BUF_INIT;
    struct mh_buf again = MH_BUF_INIT;
    mh_buf_adds(&out, "kept");
    struct pst_rtf_result r = pst_rtf_text(reader(), data, size, &out);
    struct pst_rtf_result s = pst_rtf_text(reader(), data, size, &again);
    mh_assert(memcmp(out.data, "kept", 4) == 0);
    mh_assert(mh_utf8_valid(out.data, out.len));
    mh_assert(out.len - 4 <= 6 * size);
    mh_assert(r.replaced <= size);
    mh_assert(r.verdict.state != PST_LOST || out.len == 4);
    mh_assert(r.kind == s.kind && r.replaced == s.replaced && r.verdict.why == s.verdict.why);
    mh_assert(strcmp(out.data + 4, mh_buf_str(&again)) == 0);
    mh_buf_done(&out);
    mh_buf_done(&again);
    return 0;
}
