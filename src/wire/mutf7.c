/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/mutf7.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_printable(uint32_t cp)
{
    return cp >= 0x20 && cp <= 0x7e;
}

/* --- decoding -------------------------------------------------------------------------------- */

/* One UTF-16 unit; *HIGH is a surrogate that waits for its second half. */
static bool take_unit(uint32_t unit, uint32_t *high, struct mh_buf *b)
{
    bool is_low = unit >= 0xdc00 && unit <= 0xdfff;
    if ((*high != 0) != is_low)
        return false;
    if (is_low) {
        (void)mh_buf_add_utf8(b, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
        *high = 0;
        return true;
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
        return true;
    }
    if (unit == 0 || is_printable(unit)) /* what is printable must not be shifted */
        return false;
    (void)mh_buf_add_utf8(b, unit);
    return true;
}

/* The inside of a shift, S[0..len) between `&` and `-`: whole UTF-16 units, no more padding than
 * needed, and that zero. */
static bool decode_shift(const char *s, size_t len, struct mh_buf *b)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    uint32_t high = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = s[i] ? strchr(alphabet, s[i]) : NULL;
        if (!at)
            return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        n_bits += 6;
        if (n_bits >= 16) {
            n_bits -= 16;
            if (!take_unit(bits >> n_bits & 0xffff, &high, b))
                return false;
        }
    }
    uint32_t rest = bits & ((1u << n_bits) - 1);
    return high == 0 && n_bits < 6 && rest == 0;
}

static bool decode(const char *name, size_t len, struct mh_buf *b)
{
    bool after_shift = false; /* two shifts in a row would be one in the valid form */
    for (size_t i = 0; i < len; i++) {
        if (name[i] != '&') {
            if (!is_printable((unsigned char)name[i]))
                return false;
            mh_buf_addc(b, name[i]);
            after_shift = false;
            continue;
        }
        const char *end = memchr(name + i, '-', len - i);
        if (!end)
            return false;
        size_t inside = (size_t)(end - name) - i - 1;
        if (inside == 0)
            mh_buf_addc(b, '&');
        else if (after_shift || !decode_shift(name + i + 1, inside, b))
            return false;
        after_shift = inside > 0;
        i += inside + 1;
    }
    return true;
}

bool mh_mutf7_decode(const char *name, size_t len, struct mh_buf *b)
{
    size_t before = b->len;
    if (decode(name, len, b))
        return true;
    b->len = before;
    if (b->data)
        b->data[before] = '\0';
    return false;
}

/* --- encoding -------------------------------------------------------------------------------- */

struct shift {
    struct mh_buf *b;
    bool is_open;
    uint32_t bits;
    unsigned n_bits;
};

static void put_unit(struct shift *s, uint32_t unit)
{
    if (!s->is_open)
        mh_buf_addc(s->b, '&');
    s->is_open = true;
    s->bits = s->bits << 16 | unit;
    s->n_bits += 16;
    while (s->n_bits >= 6) {
        s->n_bits -= 6;
        mh_buf_addc(s->b, alphabet[s->bits >> s->n_bits & 63]);
    }
}

static void close_shift(struct shift *s)
{
    if (!s->is_open)
        return;
    if (s->n_bits > 0)
        mh_buf_addc(s->b, alphabet[s->bits << (6 - s->n_bits) & 63]);
    mh_buf_addc(s->b, '-');
    *s = (struct shift){.b = s->b};
}

static void put_point(struct shift *s, uint32_t cp)
{
    if (is_printable(cp)) {
        close_shift(s);
        mh_buf_addc(s->b, (char)cp);
        if (cp == '&')
            mh_buf_addc(s->b, '-');
    } else if (cp < 0x10000) {
        put_unit(s, cp);
    } else {
        put_unit(s, 0xd800 + ((cp - 0x10000) >> 10));
        put_unit(s, 0xdc00 + ((cp - 0x10000) & 0x3ff));
    }
}

static uint32_t point_at(const char *s, size_t seq)
{
    static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t cp = (unsigned char)s[0] & mask[seq];
    for (size_t i = 1; i < seq; i++)
        cp = cp << 6 | ((unsigned char)s[i] & 0x3f);
    return cp;
}

bool mh_mutf7_encode(const char *utf8, size_t len, struct mh_buf *b)
{
    struct shift s = {.b = b};
    if (!mh_utf8_valid(utf8, len) || (len > 0 && memchr(utf8, '\0', len)))
        return false;
    for (size_t i = 0; i < len;) {
        size_t seq = mh_utf8_seq(utf8 + i, len - i);
        put_point(&s, point_at(utf8 + i, seq));
        i += seq;
    }
    close_shift(&s);
    return true;
}
