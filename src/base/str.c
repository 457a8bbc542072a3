/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/str.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

enum { DISTANCE_LEN_MAX = 64 };

void mh_buf_done(struct mh_buf *b)
{
    mh_free(b->data);
    *b = (struct mh_buf)MH_BUF_INIT;
}

void mh_buf_reset(struct mh_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

/* Room for MORE bytes and the terminator. */
static bool reserve(struct mh_buf *b, size_t more)
{
    size_t need = 0;
    if (b->failed || more == SIZE_MAX || __builtin_add_overflow(b->len, more + 1, &need) ||
        !mh_grow(b->data, b->cap, need))
        b->failed = true;
    return !b->failed;
}

void mh_buf_add(struct mh_buf *b, const void *data, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void mh_buf_adds(struct mh_buf *b, const char *s)
{
    mh_buf_add(b, s, strlen(s));
}

void mh_buf_addc(struct mh_buf *b, char c)
{
    mh_buf_add(b, &c, 1);
}

void mh_buf_addf(struct mh_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !reserve(b, (size_t)n)) {
        b->failed = true;
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

bool mh_buf_failed(const struct mh_buf *b)
{
    return b->failed;
}

const char *mh_buf_str(const struct mh_buf *b)
{
    return b->data ? b->data : "";
}

char *mh_buf_take(struct mh_buf *b)
{
    char *s = NULL;
    if (!b->failed && reserve(b, 0)) {
        b->data[b->len] = '\0';
        s = b->data;
        b->data = NULL;
    }
    mh_buf_done(b);
    return s;
}

bool mh_parse_u64(const char *s, size_t len, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(s[i] - '0'), &n) || n > max)
            return false;
    }
    *out = n;
    return true;
}

static bool unit_shift(const char *unit, unsigned *shift_out)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0},     {"B", 0},   {"K", 10},   {"KB", 10}, {"KiB", 10},
                 {"M", 20},   {"MB", 20}, {"MiB", 20}, {"G", 30},  {"GB", 30},
                 {"GiB", 30}, {"T", 40},  {"TB", 40},  {"TiB", 40}};
    for (size_t i = 0; i < MH_ARRAY_LEN(units); i++) {
        if (strcasecmp(unit, units[i].name) == 0) {
            *shift_out = units[i].shift;
            return true;
        }
    }
    return false;
}

bool mh_parse_size(const char *s, uint64_t *bytes_out)
{
    size_t digits = strspn(s, "0123456789");
    uint64_t whole = 0;
    unsigned shift = 0;
    if (!mh_parse_u64(s, digits, UINT64_MAX >> 1, &whole))
        return false;
    const char *rest = s + digits;
    uint64_t tenths = 0;
    if (*rest == '.') {
        if (!isdigit((unsigned char)rest[1]))
            return false;
        tenths = (uint64_t)(rest[1] - '0');
        rest += 2 + strspn(rest + 2, "0123456789");
    }
    rest += strspn(rest, " ");
    if (!unit_shift(rest, &shift) || whole > (UINT64_MAX >> (shift + 1)))
        return false;
    *bytes_out = (whole << shift) + ((tenths << shift) / 10);
    return true;
}

const char *mh_format_size(uint64_t bytes, char *buf, size_t buf_size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t u = 0;
    while (value >= 1023.95 && u + 1 < MH_ARRAY_LEN(units)) {
        value /= 1024;
        u++;
    }
    (void)snprintf(buf, buf_size, u ? "%.1f %s" : "%.0f %s", value, units[u]);
    return buf;
}

size_t mh_utf8_seq(const char *str, size_t len)
{
    const unsigned char *s = (const unsigned char *)str;
    if (len == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    size_t need = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || len < need)
        return 0;
    /* The second byte rules out overlong forms, surrogates and what lies above U+10FFFF. */
    unsigned char lo = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char hi = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return need;
}

uint32_t mh_utf8_next(const char **s, const char *end)
{
    const unsigned char *p = (const unsigned char *)*s;
    size_t len = mh_utf8_seq(*s, (size_t)(end - *s));
    *s += len ? len : 1;
    switch (len) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3:
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default:
        return 0x110000u + p[0];
    }
}

int mh_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int mh_escape_value(const char *s, size_t len)
{
    if (len < 3 || s[0] != '%')
        return -1;
    int high = mh_hex_value(s[1]);
    int low = mh_hex_value(s[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool mh_buf_add_utf8(struct mh_buf *b, uint32_t point)
{
    bool is_one = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
    uint32_t c = is_one ? point : 0xfffd;
    char s[4];
    size_t n = 0;
    if (c < 0x80) {
        s[n++] = (char)c;
    } else if (c < 0x800) {
        s[n++] = (char)(0xc0 | c >> 6);
        s[n++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        s[n++] = (char)(0xe0 | c >> 12);
        s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        s[n++] = (char)(0x80 | (c & 0x3f));
    } else {
        s[n++] = (char)(0xf0 | c >> 18);
        s[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        s[n++] = (char)(0x80 | (c & 0x3f));
    }
    mh_buf_add(b, s, n);
    return is_one;
}

bool mh_utf8_valid(const char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t seq = mh_utf8_seq(s + i, len - i);
        if (seq == 0)
            return false;
        i += seq;
    }
    return true;
}

/* A code point that moves the cursor or turns the line around: C1 controls and the bidi controls. */
static bool is_unsafe_point(uint32_t cp)
{
    return (cp >= 0x80 && cp < 0xa0) || cp == 0x200e || cp == 0x200f || cp == 0x061c ||
           (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

static uint32_t decode_seq(const char *str, size_t seq)
{
    static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t cp = (unsigned char)str[0] & mask[seq];
    for (size_t i = 1; i < seq; i++)
        cp = cp << 6 | ((unsigned char)str[i] & 0x3f);
    return cp;
}

void mh_buf_add_printable(struct mh_buf *b, const char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)s[i];
        size_t seq = mh_utf8_seq(s + i, len - i);
        if (seq == 0 || c < 0x20 || c == 0x7f) {
            mh_buf_addf(b, "\\x%02X", c);
            i++;
        } else if (seq > 1 && is_unsafe_point(decode_seq(s + i, seq))) {
            mh_buf_addf(b, "\\u{%04X}", decode_seq(s + i, seq));
            i += seq;
        } else {
            mh_buf_add(b, s + i, seq);
            i += seq;
        }
    }
}

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool mh_mem_ieq(const char *a, size_t a_len, const char *b)
{
    for (size_t i = 0; i < a_len; i++) {
        if (b[i] == '\0' || fold(a[i]) != fold(b[i]))
            return false;
    }
    return b[a_len] == '\0';
}

bool mh_str_ieq(const char *a, const char *b)
{
    return mh_mem_ieq(a, strlen(a), b);
}

bool mh_str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool mh_str_istarts(const char *s, const char *prefix)
{
    for (; *prefix; s++, prefix++) {
        if (fold(*s) != fold(*prefix))
            return false;
    }
    return true;
}

unsigned mh_str_distance(const char *a, const char *b, unsigned max)
{
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    unsigned row[DISTANCE_LEN_MAX + 1];
    if (a_len > DISTANCE_LEN_MAX || b_len > DISTANCE_LEN_MAX)
        return max + 1;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned change = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));
            diagonal = row[j];
            row[j] = MH_MIN(change, 1 + MH_MIN(row[j], row[j - 1]));
        }
    }
    return row[b_len] > max ? max + 1 : row[b_len];
}
