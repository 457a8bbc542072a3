/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The header scan and the oddity scan on arbitrary messages: the same result however the bytes are
 * cut, bounded values, and the oddities that a plain byte-by-byte count finds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "fuzz.h"
#include "wire/header.h"

static const char *const fields[] = {"Message-ID", "Subject", "A", NULL};

struct result {
    struct mh_buf values;
    bool ended;
    struct mh_oddities oddities;
};

static void take_values(const struct mh_header_scan *h, struct mh_buf *out)
{
    for (unsigned i = 0; fields[i]; i++) {
        const char *value = NULL;
        for (unsigned nth = 0; (value = mh_header_scan_value(h, i, nth)); nth++) {
            size_t len = strlen(value);
            mh_assert(len <= MH_HEADER_VALUE_MAX_BYTES && nth < MH_HEADER_VALUES_MAX);
            mh_assert(!memchr(value, '\n', len) && !memchr(value, '\r', len));
            mh_assert(len == 0 || (value[0] != ' ' && value[len - 1] != ' '));
            mh_buf_addf(out, "%u:%s\n", i, value);
        }
    }
}

/* One scanner for all messages, as a session uses it: a reset must forget everything. */
static struct mh_header_scan *scanner(void)
{
    static struct mh_header_scan *h;
    struct mh_err err;
    if (!h && mh_header_scan_new(fields, &h, &err))
        abort();
    mh_header_scan_reset(h);
    return h;
}

/* In pieces of 1 to PIECE_MAX bytes; 0: in one. */
static void scan(const uint8_t *data, size_t size, size_t piece_max, struct result *r)
{
    struct mh_header_scan *h = scanner();
    struct mh_oddity_scan s;
    bool more = true;
    mh_oddity_start(&s);
    for (size_t at = 0, n = 0; at < size; at += n) {
        n = piece_max ? 1 + data[size - 1 - at] % piece_max : size;
        n = MH_MIN(n, size - at);
        mh_oddity_feed(&s, data + at, n);
        bool still = mh_header_scan_feed(h, data + at, n);
        mh_assert(more || !still);
        more = still;
    }
    mh_oddity_end(&s);
    take_values(h, &r->values);
    r->ended = !more;
    r->oddities = s.found;
}

/* The same by looking at one byte at a time, with the whole message at hand. */
static struct mh_oddities count(const uint8_t *p, size_t size)
{
    struct mh_oddities o = {0};
    bool in_header = true;
    uint64_t line = 0;
    for (size_t i = 0; i < size; i++) {
        bool is_crlf = p[i] == '\r' && i + 1 < size && p[i + 1] == '\n';
        o.nul_bytes += p[i] == '\0';
        o.bare_cr += p[i] == '\r' && !is_crlf;
        o.eight_bit_header += in_header && p[i] > 0x7f;
        if (p[i] == '\n') {
            o.bare_lf += i == 0 || p[i - 1] != '\r';
            in_header = in_header && line > 0;
            line = 0;
        } else if (!is_crlf) {
            line++;
            o.longest_line = MH_MAX(o.longest_line, line);
        }
    }
    size_t name = 0;
    while (name < size && p[name] > ' ' && p[name] < 0x7f && p[name] != ':')
        name++;
    size_t colon = name;
    while (colon < size && (p[colon] == ' ' || p[colon] == '\t'))
        colon++;
    o.has_header = name > 0 && colon < size && p[colon] == ':';
    o.has_final_newline = size > 0 && p[size - 1] == '\n';
    return o;
}

static void expect_oddities(const struct mh_oddities *a, const struct mh_oddities *b)
{
    mh_assert(a->nul_bytes == b->nul_bytes);
    mh_assert(a->bare_lf == b->bare_lf);
    mh_assert(a->bare_cr == b->bare_cr);
    mh_assert(a->eight_bit_header == b->eight_bit_header);
    mh_assert(a->longest_line == b->longest_line);
    mh_assert(a->has_header == b->has_header);
    mh_assert(a->has_final_newline == b->has_final_newline);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {0, 1, 16};
    struct mh_oddities counted = count(data, size);
    struct result whole = {.values = MH_BUF_INIT};
    scan(data, size, pieces[0], &whole);
    expect_oddities(&whole.oddities, &counted);
    for (size_t i = 1; i < MH_ARRAY_LEN(pieces); i++) {
        struct result r = {.values = MH_BUF_INIT};
        scan(data, size, pieces[i], &r);
        mh_assert(r.ended == whole.ended);
        mh_assert(strcmp(mh_buf_str(&r.values), mh_buf_str(&whole.values)) == 0);
        expect_oddities(&r.oddities, &counted);
        mh_buf_done(&r.values);
    }
    mh_buf_done(&whole.values);
    return 0;
}
