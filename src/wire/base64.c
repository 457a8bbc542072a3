/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void mh_base64_encode(const void *data, size_t len, struct mh_buf *b)
{
    const unsigned char *in = data;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = MH_MIN(len - i, (size_t)3);
        unsigned v = (unsigned)in[i] << 16;
        v |= n > 1 ? (unsigned)in[i + 1] << 8 : 0;
        v |= n > 2 ? in[i + 2] : 0;
        char out[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
                       n > 1 ? alphabet[v >> 6 & 63] : '=', n > 2 ? alphabet[v & 63] : '='};
        mh_buf_add(b, out, sizeof out);
    }
}

/* 0..63, or 64 for a byte that is not in the alphabet. */
static unsigned value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Four characters to OUT; the number of octets, 0 when they are no group. Padding only in the last
 * group, and the bits that padding leaves over must be 0 (RFC 4648 section 3.5). */
static size_t decode_group(const char *s, bool is_last, unsigned char out[3])
{
    size_t n = 3;
    if (is_last && s[3] == '=')
        n = s[2] == '=' ? 1 : 2;
    unsigned v = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned x = i <= n ? value_of(s[i]) : 0;
        if (x > 63)
            return 0;
        v = v << 6 | x;
    }
    if ((n == 1 && v & 0xffff) || (n == 2 && v & 0xff))
        return 0;
    out[0] = (unsigned char)(v >> 16);
    out[1] = (unsigned char)(v >> 8);
    out[2] = (unsigned char)v;
    return n;
}

bool mh_base64_decode(const char *s, size_t len, struct mh_buf *b)
{
    size_t before = b->len;
    if (len % 4 != 0)
        return false;
    for (size_t i = 0; i < len; i += 4) {
        unsigned char out[3];
        size_t n = decode_group(s + i, i + 4 == len, out);
        if (n == 0) {
            b->len = before;
            if (b->data)
                b->data[before] = '\0';
            return false;
        }
        mh_buf_add(b, out, n);
    }
    return true;
}
