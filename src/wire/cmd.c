/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    LITERAL_MINUS_MAX = 4096, /* RFC 7888 section 5 */
    QUOTED_MAX = 1000, /* servers have line limits (RFC 2683 section 3.2.1.5): a literal above */
};

void mh_cmd_init(struct mh_cmd *c, enum mh_literal_mode literals)
{
    *c = (struct mh_cmd){.text = MH_BUF_INIT, .literals = literals};
}

void mh_cmd_done(struct mh_cmd *c)
{
    mh_buf_done(&c->text);
}

void mh_cmd_reset(struct mh_cmd *c)
{
    mh_buf_reset(&c->text);
    c->n_breaks = 0;
    c->failed = false;
}

static void add(struct mh_cmd *c, const char *s, size_t len)
{
    mh_buf_add(&c->text, s, len);
    c->failed = c->failed || mh_buf_failed(&c->text);
}

void mh_cmd_raw(struct mh_cmd *c, const char *text)
{
    if (strpbrk(text, "\r\n"))
        c->failed = true;
    else
        add(c, text, strlen(text));
}

void mh_cmd_rawf(struct mh_cmd *c, const char *fmt, ...)
{
    char stack[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(stack, sizeof stack, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof stack) {
        mh_cmd_raw(c, stack);
        return;
    }
    char *text = n < 0 ? NULL : mh_alloc((size_t)n + 1);
    if (!text) {
        c->failed = true;
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    mh_cmd_raw(c, text);
    mh_free(text);
}

/* `{n}` or `{n+}` and CRLF; true if `+` must be awaited behind it. */
static bool add_marker(struct mh_cmd *c, const char *prefix, uint64_t octets)
{
    bool sync = c->literals == MH_LITERAL_SYNC ||
                (c->literals == MH_LITERAL_MINUS && octets > LITERAL_MINUS_MAX);
    mh_buf_addf(&c->text, "%s{%llu%s}\r\n", prefix, (unsigned long long)octets, sync ? "" : "+");
    c->failed = c->failed || mh_buf_failed(&c->text);
    return sync;
}

/* `+` must be awaited here. */
static void add_break(struct mh_cmd *c)
{
    if (c->n_breaks == MH_CMD_BREAKS_MAX)
        c->failed = true;
    else
        c->breaks[c->n_breaks++] = c->text.len;
}

static bool is_quotable(const struct mh_cmd *c, const char *s, size_t len)
{
    bool has_8bit = false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\r' || s[i] == '\n')
            return false;
        has_8bit = has_8bit || (unsigned char)s[i] >= 0x80;
    }
    return len <= QUOTED_MAX && (!has_8bit || (c->utf8 && mh_utf8_valid(s, len)));
}

static void add_quoted(struct mh_cmd *c, const char *s, size_t len)
{
    add(c, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '"' || s[i] == '\\')
            add(c, "\\", 1);
        add(c, s + i, 1);
    }
    add(c, "\"", 1);
}

void mh_cmd_string(struct mh_cmd *c, const char *s, size_t len)
{
    if (len > 0 && memchr(s, '\0', len)) { /* no form of an astring holds it (RFC 9051 CHAR8) */
        c->failed = true;
        return;
    }
    if (is_quotable(c, s, len)) {
        add_quoted(c, s, len);
        return;
    }
    if (add_marker(c, "", len))
        add_break(c);
    add(c, s, len);
}

void mh_cmd_octets(struct mh_cmd *c, const char *s, size_t len, bool is_literal8)
{
    mh_buf_addf(&c->text, "%s{%zu}\r\n", is_literal8 ? "~" : "", len);
    add_break(c);
    add(c, s, len);
}

/* Sets of many thousand UIDs are ordinary, so this does not go through printf. */
static void add_uid(struct mh_cmd *c, const char *before, uint64_t uid)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + uid % 10);
        uid /= 10;
    } while (uid > 0);
    if (before[0])
        digits[--at] = before[0];
    add(c, digits + at, sizeof digits - at);
}

void mh_cmd_uid_set(struct mh_cmd *c, const uint64_t *uids, size_t n)
{
    if (n == 0)
        c->failed = true;
    for (size_t i = 0; i < n;) {
        size_t last = i;
        if (uids[i] == 0 || uids[i] > UINT32_MAX) {
            c->failed = true;
            return;
        }
        while (last + 1 < n && uids[last + 1] <= UINT32_MAX && uids[last + 1] == uids[last] + 1)
            last++;
        add_uid(c, i > 0 ? "," : "", uids[i]);
        if (last > i)
            add_uid(c, ":", uids[last]);
        i = last + 1;
    }
}

void mh_cmd_end(struct mh_cmd *c)
{
    add(c, "\r\n", 2);
}

/* --- APPEND ---------------------------------------------------------------------------------- */

/* Blank-separated flags: an atom each, system flags with one backslash in front (RFC 9051 flag). */
static bool are_flags(const char *flags)
{
    for (const char *p = flags; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool at_start = p == flags || p[-1] == ' ';
        bool at_end = p[1] == ' ' || p[1] == '\0';
        if (c == '\\' ? !at_start || at_end : c < 0x20 || c > 0x7e || strchr("(){%*\"]", *p))
            return false;
    }
    return true;
}

/* The inside of a quoted string that needs no escapes. */
static bool is_plain(const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
            return false;
    }
    return true;
}

static void append_part(struct mh_cmd *c, const char *flags, const char *date, const char *prefix,
                        uint64_t octets, bool *sync_out)
{
    bool has_flags = flags && flags[strspn(flags, " ")];
    bool has_date = date && date[0];
    if ((has_flags && !are_flags(flags)) || (has_date && !is_plain(date))) {
        c->failed = true;
        *sync_out = true;
        return;
    }
    if (has_flags) {
        add(c, " (", 2);
        add(c, flags, strlen(flags));
        add(c, ")", 1);
    }
    if (has_date) {
        add(c, " \"", 2);
        add(c, date, strlen(date));
        add(c, "\"", 1);
    }
    *sync_out = add_marker(c, prefix, octets);
}

void mh_cmd_append_part(struct mh_cmd *c, const char *flags, const char *date, uint64_t octets,
                        bool *sync_out)
{
    append_part(c, flags, date, " ", octets, sync_out);
}

void mh_cmd_append_part_utf8(struct mh_cmd *c, const char *flags, const char *date, uint64_t octets,
                             bool *sync_out)
{
    append_part(c, flags, date, " UTF8 (~", octets, sync_out);
}

/* --- sets in answers ------------------------------------------------------------------------- */

static bool parse_uid(const char *s, size_t len, uint32_t *out)
{
    uint64_t n = 0;
    if (!mh_parse_u64(s, len, UINT32_MAX, &n) || n == 0)
        return false;
    *out = (uint32_t)n;
    return true;
}

int mh_uid_set_parse(const char *s, size_t len, int (*range)(void *ctx, uint32_t lo, uint32_t hi),
                     void *ctx, struct mh_err *err)
{
    const char *end = s + len;
    if (len == 0)
        return mh_err_set(err, MH_EMAILBOX, "imap", "an empty set of UIDs");
    for (;;) {
        const char *comma = memchr(s, ',', (size_t)(end - s));
        const char *stop = comma ? comma : end;
        const char *colon = memchr(s, ':', (size_t)(stop - s));
        const char *lo_end = colon ? colon : stop;
        uint32_t lo = 0;
        uint32_t hi = 0;
        if (!parse_uid(s, (size_t)(lo_end - s), &lo) ||
            (colon && !parse_uid(colon + 1, (size_t)(stop - colon - 1), &hi)))
            return mh_err_set(err, MH_EMAILBOX, "imap", "a malformed set of UIDs");
        if (!colon)
            hi = lo;
        int rc =
            range(ctx, MH_MIN(lo, hi), MH_MAX(lo, hi)); /* "9:5" is allowed, RFC 9051 seq-range */
        if (rc)
            return rc;
        if (!comma)
            return MH_OK;
        s = comma + 1;
    }
}
