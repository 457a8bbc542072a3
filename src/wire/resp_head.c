/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/resp_priv.h"

#include "base/str.h"

enum { TAG_MAX_LEN = 64 };

static inline char fold(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

bool mh_resp_is(const char *s, size_t len, const char *keyword)
{
    size_t i = 0;
    while (i < len && keyword[i] != '\0' && fold(s[i]) == fold(keyword[i]))
        i++;
    return i == len && keyword[i] == '\0';
}

static enum mh_status status_of(const char *s, size_t len)
{
    if (len == 2 && mh_resp_is(s, len, "OK"))
        return MH_ST_OK;
    if (len == 2 && mh_resp_is(s, len, "NO"))
        return MH_ST_NO;
    if (len == 3 && mh_resp_is(s, len, "BAD"))
        return MH_ST_BAD;
    if (len == 3 && mh_resp_is(s, len, "BYE"))
        return MH_ST_BYE;
    if (len == 7 && mh_resp_is(s, len, "PREAUTH"))
        return MH_ST_PREAUTH;
    return MH_ST_NONE;
}

static struct mh_span token_at(const char *line, size_t pos, size_t len)
{
    return (struct mh_span){pos, mh_resp_atom_end(line, pos, len) - pos};
}

static bool all_digits(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
    }
    return len > 0;
}

/* `* …`, behind the asterisk. */
static int parse_untagged(const char *line, size_t pos, size_t len, struct mh_resp_head *head,
                          struct mh_err *err)
{
    if (pos < len && !mh_resp_is_blank(line[pos]))
        return mh_err_set(err, MH_EMAILBOX, "imap", "no blank behind \"*\"");
    struct mh_span name = token_at(line, mh_resp_skip_blanks(line, pos, len), len);
    if (all_digits(line + name.off, name.len)) {
        uint64_t number = 0;
        if (!mh_parse_u64(line + name.off, name.len, UINT32_MAX, &number))
            return mh_err_set(err, MH_EMAILBOX, "imap", "a number above 2^32-1 behind \"*\"");
        head->number = (uint32_t)number;
        head->has_number = true;
        name = token_at(line, mh_resp_skip_blanks(line, name.off + name.len, len), len);
    }
    head->name = name;
    head->rest = mh_resp_skip_blanks(line, name.off + name.len, len);
    if (head->has_number && mh_resp_is(line + name.off, name.len, "FETCH")) {
        head->kind = MH_KIND_FETCH;
        if (head->number == 0)
            return mh_err_set(err, MH_EMAILBOX, "imap", "FETCH of message number 0");
        return MH_OK;
    }
    head->status = head->has_number ? MH_ST_NONE : status_of(line + name.off, name.len);
    head->kind = head->status == MH_ST_NONE ? MH_KIND_DATA : MH_KIND_STATUS;
    return MH_OK;
}

static int parse_tagged(const char *line, size_t pos, size_t len, struct mh_resp_head *head,
                        struct mh_err *err)
{
    head->kind = MH_KIND_TAGGED;
    head->tag = token_at(line, pos, len);
    bool is_tag = head->tag.len > 0 && head->tag.len <= TAG_MAX_LEN;
    for (size_t i = 0; is_tag && i < head->tag.len; i++)
        is_tag = line[pos + i] > ' ' && line[pos + i] < 0x7f;
    if (is_tag) {
        size_t at = mh_resp_skip_blanks(line, pos + head->tag.len, len);
        head->name = token_at(line, at, len);
        head->status = status_of(line + at, head->name.len);
        head->rest = mh_resp_skip_blanks(line, at + head->name.len, len);
    }
    if (head->status != MH_ST_OK && head->status != MH_ST_NO && head->status != MH_ST_BAD)
        return mh_err_set(err, MH_EMAILBOX, "imap", "a line that is no IMAP response");
    return MH_OK;
}

int mh_resp_head_parse(const char *line, size_t len, struct mh_resp_head *head, struct mh_err *err)
{
    *head = (struct mh_resp_head){.status = MH_ST_NONE};
    size_t pos = mh_resp_skip_blanks(line, 0, len);
    char first = pos < len ? line[pos] : '\0';
    if (first == '*')
        return parse_untagged(line, pos + 1, len, head, err);
    if (first == '+') {
        head->kind = MH_KIND_CONTINUE;
        head->rest = mh_resp_skip_blanks(line, pos + 1, len);
        return MH_OK;
    }
    return parse_tagged(line, pos, len, head, err);
}

bool mh_resp_head_is_known(const char *name, size_t len)
{
    static const char *const known[] = {
        "LIST",     "LSUB",      "XLIST",  "STATUS",     "SEARCH",   "ESEARCH",
        "SORT",     "THREAD",    "FLAGS",  "CAPABILITY", "ENABLED",  "NAMESPACE",
        "QUOTA",    "QUOTAROOT", "ACL",    "LISTRIGHTS", "MYRIGHTS", "METADATA",
        "VANISHED", "ID",        "EXISTS", "RECENT",     "EXPUNGE",
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(known); i++) {
        if (mh_resp_is(name, len, known[i]))
            return true;
    }
    return false;
}

int mh_resp_marker_find(const char *line, size_t from, size_t len, struct mh_resp_marker *out,
                        struct mh_err *err)
{
    *out = (struct mh_resp_marker){.found = false};
    if (len == from || line[len - 1] != '}')
        return MH_OK;
    size_t end = len - 1; /* behind the digits */
    if (end > from && line[end - 1] == '+')
        end--;
    size_t digits = end;
    while (digits > from && line[digits - 1] >= '0' && line[digits - 1] <= '9')
        digits--;
    if (digits == end || digits == from || line[digits - 1] != '{')
        return MH_OK;
    size_t off = digits - 1;
    if (off > from && line[off - 1] == '~')
        off--;
    /* In the middle of an atom it is a part of a name. */
    if (off > from && !mh_resp_is_blank(line[off - 1]) && line[off - 1] != '(')
        return MH_OK;
    if (!mh_parse_u64(line + digits, end - digits, INT64_MAX, &out->octets))
        return mh_err_set(err, MH_EMAILBOX, "imap", "a literal's count is above 2^63-1");
    out->found = true;
    out->off = off;
    return MH_OK;
}

/*
 * The offset of the `]` that ends the code whose inside starts at POS, or LEN. Brackets nest and
 * do not count inside quotes or parentheses: PERMANENTFLAGS lists keywords, and keywords have
 * brackets.
 */
static size_t code_end(const char *text, size_t pos, size_t len)
{
    unsigned brackets = 0;
    unsigned parens = 0;
    for (; pos < len; pos++) {
        switch (text[pos]) {
        case '"':
            pos = mh_resp_quote_end(text, pos + 1, len);
            break;
        case '(':
            parens++;
            break;
        case ')':
            parens -= parens > 0;
            break;
        case '[':
            brackets += parens == 0;
            break;
        case ']':
            if (parens == 0 && brackets-- == 0)
                return pos;
            break;
        default:
            break;
        }
    }
    return len;
}

void mh_resp_code_split(const char *text, size_t from, size_t len, struct mh_span *code,
                        struct mh_span *human)
{
    *code = (struct mh_span){SIZE_MAX, 0};
    *human = (struct mh_span){from, len - from};
    if (from == len || text[from] != '[')
        return;
    size_t end = code_end(text, from + 1, len);
    if (end == len) { /* odd quotes or parentheses in it: the first bracket then */
        const char *bracket = memchr(text + from, ']', len - from);
        if (!bracket)
            return;
        end = (size_t)(bracket - text);
    }
    *code = (struct mh_span){from + 1, end - from - 1};
    size_t rest = mh_resp_skip_blanks(text, end + 1, len);
    *human = (struct mh_span){rest, len - rest};
}
