/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writes compressed RTF ([MS-OXRTFCP]), well or badly: the longest match each time, or what a test
 * wants to have in it. Everything here is static: each test is a program of its own.
 */
#ifndef MH_TESTS_PST_LZFU_H
#define MH_TESTS_PST_LZFU_H

#include "base/str.h"
#include "pst/code.h"

enum { LZFU_RING_BYTES = 4096, LZFU_MATCH_MAX = 17, LZFU_HEAD_BYTES = 16 };

static const char lzfu_preset[] =
    "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    "\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    "\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

/* A writer of runs: eight tokens behind each control octet. */
struct lzfu {
    struct mh_buf packed; /* owned; behind the head */
    size_t control_at;
    unsigned n_tokens;
    uint64_t written;
};

#define LZFU_INIT                                                                                  \
    {                                                                                              \
        MH_BUF_INIT, 0, 0, sizeof lzfu_preset - 1                                                  \
    }

static inline void lzfu_token(struct lzfu *z, bool is_reference)
{
    if (z->n_tokens % 8 == 0) {
        z->control_at = z->packed.len;
        mh_buf_addc(&z->packed, '\0');
    }
    if (is_reference)
        z->packed.data[z->control_at] |= (char)(1u << z->n_tokens % 8);
    z->n_tokens++;
}

static inline void lzfu_literal(struct lzfu *z, char c)
{
    lzfu_token(z, false);
    mh_buf_addc(&z->packed, c);
    z->written++;
}

/* N octets from BACK behind; BACK 0: the end. */
static inline void lzfu_reference(struct lzfu *z, unsigned back, unsigned n)
{
    unsigned word = (unsigned)((z->written - back) % LZFU_RING_BYTES) << 4 | (n - 2);
    lzfu_token(z, true);
    mh_buf_addc(&z->packed, (char)(word >> 8));
    mh_buf_addc(&z->packed, (char)word);
    z->written += back ? n : 0;
}

/* How much of what comes at AT stood at FROM already; it may run into itself. */
static inline unsigned lzfu_match(const char *text, size_t len, size_t from, size_t at)
{
    unsigned n = 0;
    while (n < LZFU_MATCH_MAX && at + n < len && text[from + n] == text[at + n])
        n++;
    return n;
}

static inline void lzfu_text(struct lzfu *z, const char *rtf, size_t len)
{
    size_t preset = sizeof lzfu_preset - 1;
    struct mh_buf all = MH_BUF_INIT;
    mh_buf_add(&all, lzfu_preset, preset);
    mh_buf_add(&all, rtf, len);
    for (size_t at = preset; at < all.len;) {
        unsigned best = 0;
        size_t back = 0;
        for (size_t b = 1; b < LZFU_RING_BYTES && b <= at && best < LZFU_MATCH_MAX; b++) {
            unsigned n = lzfu_match(all.data, all.len, at - b, at);
            if (n > best) {
                best = n;
                back = b;
            }
        }
        if (best >= 2)
            lzfu_reference(z, (unsigned)back, best);
        else
            lzfu_literal(z, all.data[at]);
        at += best >= 2 ? best : 1;
    }
    mh_buf_done(&all);
}

/* Head and runs of Z, which is empty then, to OUT; the sizes and the CRC are right. */
static inline void lzfu_finish(struct lzfu *z, struct mh_buf *out)
{
    uint8_t head[LZFU_HEAD_BYTES];
    pst_put_u32(head, (uint32_t)z->packed.len + 12);
    pst_put_u32(head + 4, (uint32_t)(z->written - (sizeof lzfu_preset - 1)));
    memcpy(head + 8, "LZFu", 4);
    pst_put_u32(head + 12, pst_crc(mh_buf_str(&z->packed), z->packed.len));
    mh_buf_add(out, head, sizeof head);
    mh_buf_add(out, mh_buf_str(&z->packed), z->packed.len);
    mh_buf_done(&z->packed);
    *z = (struct lzfu)LZFU_INIT;
}

/* RTF, whole, with its end. */
static inline void lzfu_pack(const char *rtf, size_t len, struct mh_buf *out)
{
    struct lzfu z = LZFU_INIT;
    lzfu_text(&z, rtf, len);
    lzfu_reference(&z, 0, 2);
    lzfu_finish(&z, out);
}

#endif
