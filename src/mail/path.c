/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/folder.h"

#include <string.h>

void mh_path_add_component(struct mh_buf *b, const char *raw, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)raw[i];
        size_t seq = mh_utf8_seq(raw + i, len - i);
        bool as_is = seq > 1 || (seq == 1 && c >= 0x20 && c != 0x7f && c != '/' &&
                                 mh_escape_value(raw + i, len - i) < 0);
        if (as_is)
            mh_buf_add(b, raw + i, seq);
        else
            mh_buf_addf(b, "%%%02X", c);
        i += as_is ? seq : 1;
    }
}

bool mh_path_next(const char **cursor, struct mh_buf *b)
{
    const char *s = *cursor;
    mh_buf_reset(b);
    if (!s || !*s)
        return false;
    size_t len = strcspn(s, "/");
    for (size_t i = 0; i < len;) {
        int octet = mh_escape_value(s + i, len - i);
        mh_buf_addc(b, octet < 0 ? s[i] : (char)octet);
        i += octet < 0 ? 1 : 3;
    }
    *cursor = s[len] ? s + len + 1 : s + len;
    return true;
}

size_t mh_path_depth(const char *path)
{
    size_t depth = *path != '\0';
    for (const char *p = path; *p; p++)
        depth += *p == '/';
    return depth;
}

bool mh_path_is_below(const char *path, const char *prefix)
{
    size_t len = strlen(prefix);
    if (len == 0)
        return true;
    return strncmp(path, prefix, len) == 0 && (path[len] == '\0' || path[len] == '/');
}
