/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_truth.h"

#include <inttypes.h>
#include <string.h>

void mhc_json_text(struct mhc_buf *json, const char *utf8, size_t len)
{
    mhc_buf_putc(json, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)utf8[i];
        if (c == '"' || c == '\\') {
            mhc_buf_putc(json, '\\');
            mhc_buf_putc(json, (char)c);
        } else if (c < ' ') {
            mhc_buf_printf(json, "\\u%04x", c);
        } else {
            mhc_buf_putc(json, (char)c);
        }
    }
    mhc_buf_putc(json, '"');
}

void mhc_json_key(struct mhc_buf *json, const char *key)
{
    if (json->len > 0 && json->data[json->len - 1] != '{') {
        mhc_buf_putc(json, ',');
    }
    mhc_buf_printf(json, "\"%s\":", key);
}

void mhc_json_string(struct mhc_buf *json, const char *key, const char *utf8)
{
    mhc_json_key(json, key);
    mhc_json_text(json, utf8, strlen(utf8));
}

void mhc_json_number(struct mhc_buf *json, const char *key, int64_t value)
{
    mhc_json_key(json, key);
    mhc_buf_printf(json, "%" PRId64, value);
}

void mhc_json_bool(struct mhc_buf *json, const char *key, bool value)
{
    mhc_json_key(json, key);
    mhc_buf_puts(json, value ? "true" : "false");
}

void mhc_json_sum_of(struct mhc_buf *json, uint64_t size, struct mhc_sha256 *sha)
{
    char hex[MHC_SHA256_HEX_SIZE];
    mhc_sha256_hex(sha, hex);
    mhc_json_number(json, "size", (int64_t)size);
    mhc_json_string(json, "sha256", hex);
}

void mhc_json_sum(struct mhc_buf *json, const char *bytes, size_t len)
{
    struct mhc_sha256 sha;
    mhc_sha256_init(&sha);
    mhc_sha256_add(&sha, bytes, len);
    mhc_json_sum_of(json, len, &sha);
}

void mhc_json_extents(struct mhc_buf *json, const char *key, const struct mhc_extents *extents)
{
    mhc_json_key(json, key);
    mhc_buf_putc(json, '[');
    for (size_t i = 0; i < extents->count; i++) {
        mhc_buf_printf(json, "%s[%" PRIu64 ",%" PRIu32 "]", i > 0 ? "," : "", extents->v[i].at,
                       extents->v[i].bytes);
    }
    mhc_buf_putc(json, ']');
}
