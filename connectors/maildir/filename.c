/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Message file names: "1763816700.M1P2Q3.host,S=4711,W=4800:2,FSab" (Maildir; S, W and the letters
 * a-z are Dovecot's, R is ours).
 */
#include <string.h>

#include "connectors/maildir/maildir_priv.h"

static const struct {
    char letter;
    uint8_t flag;
} letters[] = {
    {'D', MH_DRAFT}, {'F', MH_FLAGGED}, {'R', MH_ANSWERED}, {'S', MH_SEEN}, {'T', MH_DELETED},
};

/* The number behind ",K=" in the base name. */
static bool field(const char *name, size_t base_len, char key, uint64_t *out)
{
    for (size_t i = 0; i + 3 < base_len; i++) {
        if (name[i] != ',' || name[i + 1] != key || name[i + 2] != '=')
            continue;
        size_t end = i + 3;
        while (end < base_len && name[end] >= '0' && name[end] <= '9')
            end++;
        bool is_whole = end == base_len || name[end] == ',';
        return is_whole && mh_parse_u64(name + i + 3, end - i - 3, INT64_MAX, out);
    }
    return false;
}

/* Where the letters of the info part begin; the name's end when it has none. */
static const char *info_letters(const char *name, size_t base_len)
{
    const char *info = name + base_len;
    return strncmp(info, ":2,", 3) == 0 ? info + 3 : info + strlen(info);
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

void maildir_info_parse(const char *name, struct maildir_info *out)
{
    *out = (struct maildir_info){.base_len = strcspn(name, ":")};
    uint64_t raw = 0;
    out->has_size =
        field(name, out->base_len, 'W', &out->size) || field(name, out->base_len, 'S', &out->size);
    out->is_raw = field(name, out->base_len, 'R', &raw) && raw == 1;
    for (const char *p = info_letters(name, out->base_len); is_letter(*p); p++) {
        out->is_passed |= *p == 'P';
        if (*p >= 'a')
            out->letters |= 1u << (*p - 'a');
        for (size_t i = 0; i < MH_ARRAY_LEN(letters); i++)
            if (*p == letters[i].letter)
                out->flags |= letters[i].flag;
    }
}

/* Whether the flag of an upper-case letter is one that struct maildir_info knows. */
static bool is_known(char c)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(letters); i++)
        if (c == letters[i].letter)
            return true;
    return c == 'P';
}

static bool is_set(const struct maildir_info *info, char c)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(letters); i++)
        if (c == letters[i].letter)
            return info->flags & letters[i].flag;
    return c == 'P' && info->is_passed;
}

void maildir_info_format(struct mh_buf *b, const char *name, const struct maildir_info *info)
{
    const char *had = info_letters(name, info->base_len);
    size_t had_len = 0;
    while (is_letter(had[had_len]))
        had_len++;
    mh_buf_add(b, name, info->base_len);
    mh_buf_adds(b, ":2,");
    for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"; *c; c++)
        if (is_known(*c) ? is_set(info, *c) : memchr(had, *c, had_len) != NULL)
            mh_buf_addc(b, *c);
    for (unsigned i = 0; i < MAILDIR_KEYWORDS; i++)
        if (info->letters & 1u << i)
            mh_buf_addc(b, (char)('a' + i));
    mh_buf_adds(b, had + had_len);
}
