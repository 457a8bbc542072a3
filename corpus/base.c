/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mhc_fail(struct mhc_err *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return code;
}

void *mhc_realloc(void *old, size_t size_bytes)
{
    void *got = realloc(old, size_bytes > 0 ? size_bytes : 1);
    if (got == NULL) {
        fprintf(stderr, "mailhaul-corpus: out of memory (%zu bytes asked for)\n", size_bytes);
        exit(1);
    }
    return got;
}

void *mhc_alloc(size_t size_bytes)
{
    void *got = mhc_realloc(NULL, size_bytes);
    memset(got, 0, size_bytes);
    return got;
}

char *mhc_strdup(const char *text)
{
    size_t size_bytes = strlen(text) + 1;
    char *copy = mhc_alloc(size_bytes);
    memcpy(copy, text, size_bytes);
    return copy;
}

void mhc_buf_done(struct mhc_buf *buf)
{
    free(buf->data);
    *buf = (struct mhc_buf){0};
}

char *mhc_buf_room(struct mhc_buf *buf, size_t more)
{
    if (buf->data == NULL || more > buf->cap - buf->len) {
        size_t cap = buf->cap < 4096 ? 4096 : buf->cap;
        while (more > cap - buf->len) {
            if (cap > SIZE_MAX / 2) {
                fprintf(stderr, "mailhaul-corpus: a message grew beyond the address space\n");
                exit(1);
            }
            cap *= 2;
        }
        buf->data = mhc_realloc(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void mhc_buf_add(struct mhc_buf *buf, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(mhc_buf_room(buf, len), bytes, len);
        buf->len += len;
    }
}

void mhc_buf_puts(struct mhc_buf *buf, const char *text)
{
    mhc_buf_add(buf, text, strlen(text));
}

void mhc_buf_putc(struct mhc_buf *buf, char byte)
{
    *mhc_buf_room(buf, 1) = byte;
    buf->len++;
}

void mhc_buf_fill(struct mhc_buf *buf, char byte, size_t count)
{
    if (count > 0) {
        memset(mhc_buf_room(buf, count), byte, count);
        buf->len += count;
    }
}

void mhc_buf_printf(struct mhc_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need > 0) {
        size_t len = (size_t)need;
        vsnprintf(mhc_buf_room(buf, len + 1), len + 1, format, again);
        buf->len += len;
    }
    va_end(again);
}

void mhc_buf_puts_crlf(struct mhc_buf *buf, const char *text)
{
    const char *end;
    while ((end = strchr(text, '\n')) != NULL) {
        mhc_buf_add(buf, text, (size_t)(end - text));
        mhc_buf_add(buf, "\r\n", 2);
        text = end + 1;
    }
    mhc_buf_puts(buf, text);
}

const char *mhc_buf_str(struct mhc_buf *buf)
{
    *mhc_buf_room(buf, 1) = '\0';
    return buf->data;
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t mhc_utf8_length(const char *bytes, size_t len)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (len >= 1 && b[0] < 0x80) {
        return 1;
    }
    if (len >= 2 && b[0] >= 0xc2 && b[0] <= 0xdf && is_continuation(b[1])) {
        return 2;
    }
    if (len >= 3 && (b[0] & 0xf0) == 0xe0 && is_continuation(b[1]) && is_continuation(b[2])) {
        bool is_overlong = b[0] == 0xe0 && b[1] < 0xa0;
        bool is_surrogate = b[0] == 0xed && b[1] >= 0xa0;
        return is_overlong || is_surrogate ? 0 : 3;
    }
    if (len >= 4 && b[0] >= 0xf0 && b[0] <= 0xf4 && is_continuation(b[1]) &&
        is_continuation(b[2]) && is_continuation(b[3])) {
        bool is_overlong = b[0] == 0xf0 && b[1] < 0x90;
        bool is_beyond = b[0] == 0xf4 && b[1] >= 0x90;
        return is_overlong || is_beyond ? 0 : 4;
    }
    return 0;
}

/* C1 controls and the marks that turn the direction of text: valid UTF-8 that deceives a reader. */
static bool is_deceptive(const char *bytes, size_t len)
{
    const unsigned char *b = (const unsigned char *)bytes;
    bool is_c1 = len == 2 && b[0] == 0xc2 && b[1] < 0xa0;
    bool is_turn = len == 3 && b[0] == 0xe2 &&
                   ((b[1] == 0x80 && b[2] >= 0xaa && b[2] <= 0xae) ||
                    (b[1] == 0x81 && b[2] >= 0xa6 && b[2] <= 0xa9));
    return is_c1 || is_turn;
}

void mhc_buf_add_escaped(struct mhc_buf *buf, const char *bytes, size_t len, const char *also)
{
    for (size_t at = 0; at < len;) {
        size_t step = mhc_utf8_length(bytes + at, len - at);
        unsigned char first = (unsigned char)bytes[at];
        bool is_plain =
            step > 1 ? !is_deceptive(bytes + at, step)
                     : step == 1 && first >= 0x20 && first != 0x7f && strchr(also, first) == NULL;
        if (is_plain) {
            mhc_buf_add(buf, bytes + at, step);
            at += step;
        } else {
            mhc_buf_printf(buf, "%%%02X", first);
            at++;
        }
    }
}
