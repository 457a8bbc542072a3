/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/text.h"

enum { REPLACEMENT = 0xfffd };

static bool is_high(uint32_t c)
{
    return c >= 0xd800 && c < 0xdc00;
}

static bool is_low(uint32_t c)
{
    return c >= 0xdc00 && c < 0xe000;
}

size_t pst_text_utf16(struct pst_span s, struct mh_buf *out)
{
    size_t replaced = 0;
    size_t i = 0;
    for (; i + 2 <= s.n; i += 2) {
        uint32_t c = pst_u16(s.p + i);
        if (c == 0)
            return replaced;
        uint32_t next = i + 4 <= s.n ? pst_u16(s.p + i + 2) : 0;
        if (is_high(c) && is_low(next)) {
            c = 0x10000 + ((c & 0x3ff) << 10 | (next & 0x3ff));
            i += 2;
        } else if (is_high(c) || is_low(c)) {
            c = REPLACEMENT;
            replaced++;
        }
        (void)mh_buf_add_utf8(out, c);
    }
    if (i < s.n) {
        (void)mh_buf_add_utf8(out, REPLACEMENT);
        replaced++;
    }
    return replaced;
}
