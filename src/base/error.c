/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void mh_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "mailhaul: bug: %s (%s:%d); please report this line\n", cond, file, line);
    abort();
}

void mh_err_reset(struct mh_err *err)
{
    err->code = MH_OK;
    err->layer = "";
    err->reason = NULL;
    err->retry_after_ms = 0;
    err->text[0] = '\0';
    err->server_text[0] = '\0';
    err->where[0] = '\0';
}

/* Puts S into DST without control bytes or broken UTF-8, cut at SIZE on a character's edge. */
static void set_printable(char *dst, size_t size, const char *s, size_t len)
{
    size_t at = 0;
    for (size_t i = 0; i < len;) {
        size_t seq = mh_utf8_seq(s + i, len - i);
        unsigned char c = (unsigned char)s[i];
        bool plain = seq > 1 || (seq == 1 && c >= 0x20 && c != 0x7f);
        size_t need = plain ? seq : 1;
        if (at + need >= size)
            break;
        if (plain)
            memcpy(dst + at, s + i, seq);
        else
            dst[at] = '?';
        at += need;
        i += seq ? seq : 1;
    }
    dst[at] = '\0';
}

static void fill(struct mh_err *err, int code, const char *layer, const char *text)
{
    mh_err_reset(err);
    err->code = code;
    err->layer = layer;
    set_printable(err->text, sizeof err->text, text, strlen(text));
}

int mh_err_set(struct mh_err *err, int code, const char *layer, const char *fmt, ...)
{
    if (!err)
        return code;
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fill(err, code, layer, text);
    return code;
}

int mh_err_sys(struct mh_err *err, int code, const char *layer, int errnum, const char *fmt, ...)
{
    if (!err)
        return code;
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof text) {
        char reason[128];
        (void)snprintf(text + n, sizeof text - (size_t)n, ": %s",
                       strerror_r(errnum, reason, sizeof reason));
    }
    fill(err, code, layer, text);
    return code;
}

void mh_err_at(struct mh_err *err, const char *fmt, ...)
{
    if (!err)
        return;
    char front[sizeof err->where];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    char joined[2 * sizeof err->where + 2];
    (void)snprintf(joined, sizeof joined, "%s%s%s", front, err->where[0] ? ", " : "", err->where);
    set_printable(err->where, sizeof err->where, joined, strlen(joined));
}

void mh_err_server(struct mh_err *err, const char *text, size_t len)
{
    if (err)
        set_printable(err->server_text, sizeof err->server_text, text, len);
}

const char *mh_err_line(const struct mh_err *err, char *buf, size_t buf_size)
{
    bool has_server = err->server_text[0] != '\0';
    (void)snprintf(buf, buf_size, "%s%s%s%s%s%s", err->where, err->where[0] ? ": " : "", err->text,
                   has_server ? " (server said: " : "", err->server_text, has_server ? ")" : "");
    return buf;
}

const char *mh_code_name(int code)
{
    static const char *const names[] = {
        "ok",  "retry", "later",  "item",    "split",           "folder",   "mailbox", "auth",
        "run", "usage", "cancel", "timeout", "no-such-feature", "no-entry", "exists",  "locked"};
    size_t i = (size_t) - (long)code;
    return i < MH_ARRAY_LEN(names) ? names[i] : "unknown";
}
