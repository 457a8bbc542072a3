/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Text in arbitrary code pages, which the first two octets choose: UTF-8 comes out, bounded by what
 * went in, and the same again.
 */
#include <string.h>

#include "base/error.h"
#include "fuzz.h"
#include "pst/charset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pst_charset charset;
    struct mh_buf out = MH_BUF_INIT;
    struct mh_buf again = MH_BUF_INIT;
    if (size < 2)
        return 0;
    unsigned page = (unsigned)data[0] | (unsigned)data[1] << 8;
    uint64_t replaced = pst_charset_add(&charset, page, data + 2, size - 2, &out);
    mh_assert(replaced <= size - 2);
    mh_assert(out.len <= 4 * (size - 2));
    mh_assert(mh_utf8_valid(mh_buf_str(&out), out.len));
    mh_assert(pst_charset_add(&charset, page, data + 2, size - 2, &again) == replaced);
    mh_assert(out.len == again.len);
    mh_assert(out.len == 0 || memcmp(out.data, again.data, out.len) == 0);
    mh_buf_done(&out);
    mh_buf_done(&again);
    return 0;
}
