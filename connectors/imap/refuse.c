/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a refusal means. Response codes are RFC 5530, RFC 7889 ([TOOBIG]), RFC 9208 ([OVERQUOTA])
 * and RFC 3501; many servers send none, so their well-known texts are read too. Pure functions.
 */
#include <string.h>

#include "connectors/imap/imap_priv.h"

struct by_code {
    const char *name;
    int code;
    const char *reason;
};

static const struct by_code codes[] = {
    {"OVERQUOTA", MH_ELATER, "over-quota"},
    {"TOOBIG", MH_EITEM, "too-big"},
    {"UNAVAILABLE", MH_ELATER, "unavailable"},
    {"INUSE", MH_ELATER, "unavailable"},
    {"SERVERBUG", MH_ELATER, "unavailable"},
    {"THROTTLED", MH_ELATER, "throttled"},
    {"ALREADYEXISTS", MH_EEXIST, "exists"},
    {"NONEXISTENT", MH_ENOENT, "no-folder"},
    {"TRYCREATE", MH_ENOENT, "no-folder"},
    {"AUTHENTICATIONFAILED", MH_EAUTH, "login-refused"},
    {"AUTHORIZATIONFAILED", MH_EAUTH, "login-refused"},
    {"EXPIRED", MH_EAUTH, "login-refused"},
    {"EXPUNGEISSUED", MH_EITEM, "vanished"},
    {"NOPERM", MH_EITEM, "no-permission"},
    {"UNKNOWN-CTE", MH_EITEM, "refused"},
    {"CANNOT", MH_EITEM, "refused"},
    {"CORRUPTION", MH_EITEM, "refused"},
    {"CLIENTBUG", MH_EITEM, "refused"},
};

/* In order of preference; compared ASCII case folded. Each was sent by some server. */
static const struct {
    const char *words;
    int code;
    const char *reason;
} texts[] = {
    {"backoff time", MH_ELATER, "throttled"},    /* Exchange */
    {"throttl", MH_ELATER, "throttled"},         /* Exchange, Yahoo */
    {"bandwidth limit", MH_ELATER, "throttled"}, /* Gmail, behind [OVERQUOTA] */
    {"rate limit", MH_ELATER, "throttled"},      /* Yahoo, iCloud */
    {"too many requests", MH_ELATER, "throttled"},
    {"too many simultaneous", MH_ELATER, "throttled"}, /* Gmail */
    {"too many connections", MH_ELATER, "throttled"},
    {"number of connections", MH_ELATER, "throttled"}, /* Dovecot: Maximum number of … exceeded */
    {"concurrent connections", MH_ELATER, "throttled"}, /* Exchange */
    {"try again later", MH_ELATER, "unavailable"},
    {"temporar", MH_ELATER, "unavailable"},           /* Temporary …, temporarily … */
    {"server unavailable", MH_ELATER, "unavailable"}, /* Exchange */
    {"authenticated but not connected", MH_ELATER,
     "unavailable"}, /* Exchange, when it is overloaded */
    {"quota", MH_ELATER, "over-quota"},
    {"mailbox is full", MH_ELATER, "over-quota"},
    {"mailbox full", MH_ELATER, "over-quota"},
    {"disk space", MH_ELATER, "over-quota"},
    {"disk full", MH_ELATER, "over-quota"},
    {"contains nul", MH_EITEM, "nul-byte"}, /* Cyrus */
    {"nul character", MH_EITEM, "nul-byte"},
    {"nul byte", MH_EITEM, "nul-byte"},
    {"bare newline", MH_EITEM, "bare-newline"}, /* Cyrus */
    {"bare lf", MH_EITEM, "bare-newline"},
    {"bare cr", MH_EITEM, "bare-newline"},
    {"invalid header", MH_EITEM, "bad-header"}, /* Cyrus */
    {"malformed header", MH_EITEM, "bad-header"},
    {"non-ascii header", MH_EITEM, "bad-header"},
    {"line too long", MH_EITEM, "line-too-long"},
    {"line length", MH_EITEM, "line-too-long"},
    {"long line", MH_EITEM, "line-too-long"},
    {"internal date", MH_EITEM, "bad-date"}, /* Dovecot: Invalid internal date. */
    {"internaldate", MH_EITEM, "bad-date"},
    {"date-time", MH_EITEM, "bad-date"}, /* Cyrus: Invalid date-time in Append command */
    {"invalid date", MH_EITEM, "bad-date"},
    {"too large", MH_EITEM, "too-big"},
    {"too big", MH_EITEM, "too-big"},
    {"maximum size", MH_EITEM, "too-big"}, /* Exchange: Maximum size of appendable message … */
    {"size limit", MH_EITEM, "too-big"},
    {"message size", MH_EITEM, "too-big"},
    {"exceeds the maximum", MH_EITEM, "too-big"},
    {"keyword", MH_EITEM, "keyword-refused"}, /* Dovecot: Invalid keyword name … */
    {"invalid flag", MH_EITEM, "keyword-refused"},
    {"invalid system flag", MH_EITEM, "keyword-refused"},
    {"unknown flag", MH_EITEM, "keyword-refused"},
    {"too many flags", MH_EITEM, "keyword-refused"},
    {"already exists", MH_EEXIST, "exists"},
    {"does not exist", MH_ENOENT, "no-folder"},
    {"doesn't exist", MH_ENOENT, "no-folder"},
};

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Where WORDS (lower case) stands in S, or NULL. */
static const char *find_words(const char *s, size_t len, const char *words)
{
    size_t n = strlen(words);
    for (size_t i = 0; s && i + n <= len; i++) {
        size_t k = 0;
        while (k < n && fold(s[i + k]) == words[k])
            k++;
        if (k == n)
            return s + i;
    }
    return NULL;
}

/* "Suggested Backoff Time: 299962 milliseconds" (Exchange). 0: no such words. */
static int64_t backoff_ms(const char *text, size_t len)
{
    const char *end = text + len;
    const char *p = find_words(text, len, "backoff time");
    if (!p)
        return 0;
    while (p < end && (*p < '0' || *p > '9'))
        p++;
    size_t digits = 0;
    while (p + digits < end && p[digits] >= '0' && p[digits] <= '9')
        digits++;
    uint64_t n = 0;
    if (digits == 0)
        return 0;
    if (!mh_parse_u64(p, digits, IMAP_BACKOFF_MAX_MS, &n))
        return IMAP_BACKOFF_MAX_MS;
    return (int64_t)n;
}

bool imap_code_is(const char *code, size_t code_len, const char *name)
{
    if (!code)
        return false;
    const char *blank = memchr(code, ' ', code_len);
    return mh_mem_ieq(code, blank ? (size_t)(blank - code) : code_len, name);
}

const char *imap_code_args(const char *code, size_t code_len, size_t *len_out)
{
    size_t i = 0;
    while (i < code_len && code[i] != ' ')
        i++;
    while (i < code_len && code[i] == ' ')
        i++;
    *len_out = code_len - i;
    return code + i;
}

static const struct by_code *find_code(const char *code, size_t code_len)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(codes); i++) {
        if (imap_code_is(code, code_len, codes[i].name))
            return &codes[i];
    }
    return NULL;
}

static struct imap_refusal by_text(const char *text, size_t len)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(texts); i++) {
        if (find_words(text, len, texts[i].words))
            return (struct imap_refusal){texts[i].code, texts[i].reason, 0};
    }
    return (struct imap_refusal){MH_EITEM, "refused", 0};
}

struct imap_refusal imap_refusal_of(const char *code, size_t code_len, const char *text,
                                    size_t text_len)
{
    struct imap_refusal of_text = by_text(text, text_len);
    struct imap_refusal r = of_text;
    const struct by_code *c = code ? find_code(code, code_len) : NULL;
    bool is_throttle = strcmp(of_text.reason, "throttled") == 0;
    if (imap_code_is(code, code_len, "LIMIT")) {
        /* "Some implementation limit" (RFC 5530): of this message if the text says so, else of
         * time. */
        if (of_text.code != MH_EITEM || strcmp(of_text.reason, "refused") == 0)
            r = (struct imap_refusal){MH_ELATER, "throttled", 0};
    } else if (c && !(c->code == MH_ELATER && is_throttle)) {
        r.code = c->code;
        r.reason = c->reason;
        /* The text says more about the message than "cannot". */
        if (c->code == MH_EITEM && of_text.code == MH_EITEM && strcmp(c->reason, "refused") == 0)
            r.reason = of_text.reason;
    }
    if (r.code == MH_ELATER)
        r.retry_after_ms = backoff_ms(text, text_len);
    return r;
}

int imap_refused(int code, const char *what, const char *resp_code, size_t resp_code_len,
                 const char *text, size_t text_len, struct mh_err *err)
{
    if (!err)
        return code;
    struct imap_refusal r = imap_refusal_of(resp_code, resp_code_len, text, text_len);
    (void)mh_err_set(err, code, "imap", "the server refuses %s", what);
    err->reason = r.reason;
    err->retry_after_ms = code == MH_ELATER ? r.retry_after_ms : 0;
    char said[sizeof err->server_text];
    size_t at = 0;
    if (resp_code) {
        size_t n = MH_MIN(resp_code_len, sizeof said - 4);
        said[at++] = '[';
        memcpy(said + at, resp_code, n);
        at += n;
        said[at++] = ']';
        said[at++] = ' ';
    }
    size_t n = MH_MIN(text_len, sizeof said - at);
    memcpy(said + at, text, n);
    mh_err_server(err, said, at + n);
    return code;
}
