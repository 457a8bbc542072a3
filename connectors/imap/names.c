/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Folder names: a server's own bytes to canonical paths and back. Pure functions.
 *
 * To a path: the personal prefix goes ("INBOX.Sent" is "Sent" where the prefix is "INBOX."), each
 * component is decoded from modified UTF-7; one that is no valid encoding is kept as bytes, with
 * its '&' as %26, so that it differs from the valid spelling of the same text. To a name: what the
 * target refuses inside a component becomes %XX ('=XX' for servers that refuse '%', as Cyrus does).
 * A '%' of the name itself is escaped only where it could be taken for one of ours, so that two
 * names never become one.
 *
 * Below a prefix that is the INBOX ("INBOX.") the folder "INBOX.INBOX" is not the inbox: a name
 * that consists of INBOXes only gets one more on the way to a path, and loses it on the way back.
 */
#include <stdio.h>
#include <string.h>

#include "connectors/imap/imap_priv.h"
#include "mail/digest.h"
#include "wire/mutf7.h"

/* What a kind of server refuses in a component. */
struct name_rules {
    const char *bad;       /* anywhere */
    const char *bad_first; /* at the start */
    char escape;
    bool strict;           /* only letters, digits, inner blanks, '-', '_' and what is not ASCII */
    bool is_basic;         /* nothing above U+FFFF */
    size_t part_max_bytes; /* one component on the wire */
    size_t name_max_bytes; /* the whole name */
};

/* File systems end at 255 bytes a name. A hash tells cut names apart. */
enum { PART_MAX_BYTES = 255, STRICT_PART_MAX_BYTES = 200, HASH_CHARS = 9 };

/* Measured: Dovecot 2.3.19 (maildir), Cyrus 3.6.1, Courier 5.0 (a whole name is one directory
 * there). */
static const struct name_rules family_rules[] = {
    [IMAP_ANY] = {"", "", '%', false, false, PART_MAX_BYTES, 4000},
    [IMAP_DOVECOT] = {"/", "~", '%', false, false, PART_MAX_BYTES, 4000},
    [IMAP_CYRUS] = {"!\"%/;<>\\`{|}", "", '=', false, false, 400, 480},
    [IMAP_COURIER] = {"/", "", '%', false, true, 200, 240},
    [IMAP_EXCHANGE] = {"", "", '%', false, false, PART_MAX_BYTES, 4000},
};

/* When those were not enough: '=' in case it is the '%', and short in case it is the length. */
static const struct name_rules strict_rules = {"",  "", '%', true, true, STRICT_PART_MAX_BYTES,
                                               4000};
static const struct name_rules short_rules = {"", "", '=', true, true, STRICT_PART_MAX_BYTES, 200};

static const struct name_rules *rules_of(const struct imap_names *n, enum imap_name_level level)
{
    if (level == IMAP_NAME_AS_IS)
        return &family_rules[n->family];
    return level == IMAP_NAME_STRICT ? &strict_rules : &short_rules;
}

bool imap_is_inbox(const char *native, size_t len)
{
    return mh_mem_ieq(native, len, "INBOX");
}

enum imap_family imap_family_of(const char *server_name)
{
    static const struct {
        const char *word;
        enum imap_family family;
    } words[] = {
        {"dovecot", IMAP_DOVECOT},
        {"cyrus", IMAP_CYRUS},
        {"courier", IMAP_COURIER},
        {"microsoft exchange", IMAP_EXCHANGE},
    };
    for (; *server_name; server_name++) {
        for (size_t i = 0; i < MH_ARRAY_LEN(words); i++) {
            if (mh_str_istarts(server_name, words[i].word))
                return words[i].family;
        }
    }
    return IMAP_ANY;
}

/* --- to a path -------------------------------------------------------------------------------- */

/* Length of the personal prefix that NATIVE starts with; 0: none. The INBOX in it counts in any
 * case. */
static size_t prefix_len(const struct imap_names *n, const char *native, size_t len)
{
    size_t prefix = strlen(n->prefix);
    if (prefix == 0 || len < prefix)
        return 0;
    size_t same_in_any_case = mh_str_istarts(n->prefix, "INBOX") ? strlen("INBOX") : 0;
    if (same_in_any_case && !imap_is_inbox(native, same_in_any_case))
        return 0;
    return memcmp(native + same_in_any_case, n->prefix + same_in_any_case,
                  prefix - same_in_any_case) == 0
               ? prefix
               : 0;
}

bool imap_name_is_personal(const struct imap_names *n, const char *native, size_t len)
{
    return n->prefix[0] == '\0' || imap_is_inbox(native, len) || prefix_len(n, native, len) > 0;
}

static void add_undecodable(struct mh_buf *path, const char *part, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t run = 0;
        while (i + run < len && part[i + run] != '&')
            run++;
        mh_path_add_component(path, part + i, run);
        i += run;
        if (i < len) {
            mh_buf_adds(path, "%26");
            i++;
        }
    }
}

static void add_part(const struct imap_names *n, struct mh_buf *path, const char *part, size_t len)
{
    struct mh_buf text = MH_BUF_INIT;
    if (n->utf8)
        mh_path_add_component(path, part, len);
    else if (mh_mutf7_decode(part, len, &text))
        mh_path_add_component(path, text.data ? text.data : "", text.len);
    else
        add_undecodable(path, part, len);
    path->failed = path->failed || mh_buf_failed(&text);
    mh_buf_done(&text);
}

/* The end of the component that starts at FROM. A separator without a name in front of it belongs
 * to the component: "A//B" is "A" and "/B". */
static size_t part_end(const char *s, size_t from, size_t len, char separator)
{
    size_t i = from;
    while (i < len && separator && s[i] == separator)
        i++;
    while (i < len && !(separator && s[i] == separator))
        i++;
    return i;
}

bool imap_name_to_path(const struct imap_names *n, char separator, bool strip, const char *native,
                       size_t len, struct mh_buf *path)
{
    if (imap_is_inbox(native, len)) {
        mh_buf_adds(path, "INBOX");
        return true;
    }
    size_t skip = strip ? prefix_len(n, native, len) : 0;
    const char *s = native + skip;
    len -= skip;
    while (len > 0 && separator && s[len - 1] == separator)
        len--;
    if (len == 0)
        return false;
    bool all_inbox = skip > 0;
    for (size_t i = 0; i < len;) {
        size_t end = part_end(s, i, len, separator);
        if (i > 0)
            mh_buf_addc(path, '/');
        bool is_inbox = imap_is_inbox(s + i, end - i);
        all_inbox = all_inbox && end - i == strlen("INBOX") && memcmp(s + i, "INBOX", 5) == 0;
        if (i == 0 && skip == 0 && is_inbox)
            mh_buf_adds(path, "INBOX"); /* "inbox/Old" lies below the one INBOX */
        else
            add_part(n, path, s + i, end - i);
        i = end < len ? end + 1 : end;
    }
    if (all_inbox)
        mh_buf_adds(path, "/INBOX");
    return true;
}

/* --- to a name -------------------------------------------------------------------------------- */

static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ' ||
           c == '-' || c == '_';
}

static bool has(const char *set, unsigned char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RAW[i] starts what could be one of our escapes: of anything that is not plain, of a blank at
 * either end, and of the first letter of an INBOX that is none. */
static bool looks_escaped(const struct name_rules *rules, const char *raw, size_t len, size_t i)
{
    if (len - i < 3 || raw[i] != rules->escape)
        return false;
    int high = hex_digit(raw[i + 1]);
    int low = hex_digit(raw[i + 2]);
    if (high < 0 || low < 0)
        return false;
    unsigned char c = (unsigned char)(high << 4 | low);
    if (c == ' ')
        return i == 0 || i + 3 == len;
    return !is_plain(c) || (i == 0 && (c == 'I' || c == 'i'));
}

/* True if the sequence of SEQ bytes (0: no valid UTF-8) at RAW[i] cannot stand as it is. */
static bool must_escape(const struct name_rules *rules, char separator, const char *raw, size_t len,
                        size_t i, size_t seq)
{
    unsigned char c = (unsigned char)raw[i];
    if (seq == 0 || c < 0x20 || c == 0x7f)
        return true;
    if (seq == 4) /* Courier refuses surrogate pairs in modified UTF-7 */
        return rules->is_basic;
    if (seq > 1) /* the controls U+0080 to U+009F */
        return rules->strict && c == 0xc2 && (unsigned char)raw[i + 1] < 0xa0;
    if ((separator && c == (unsigned char)separator) || has(rules->bad, c) ||
        (i == 0 && has(rules->bad_first, c)) || looks_escaped(rules, raw, len, i))
        return true;
    bool is_end = i == 0 || i + 1 == len;
    return rules->strict && (!is_plain(c) || (c == ' ' && is_end));
}

static void add_escape(const struct name_rules *rules, struct mh_buf *b, unsigned char c)
{
    mh_buf_addf(b, "%c%02X", rules->escape, c);
}

/* RAW as the target's text, still UTF-8. HIDE_INBOX: it must not be taken for the inbox. */
static void escape_part(const struct name_rules *rules, char separator, const char *raw, size_t len,
                        bool hide_inbox, struct mh_buf *out)
{
    bool is_dots = (len == 1 && raw[0] == '.') || (len == 2 && raw[0] == '.' && raw[1] == '.');
    for (size_t i = 0; i < len;) {
        size_t seq = mh_utf8_seq(raw + i, len - i);
        size_t n = seq ? seq : 1;
        bool escaped =
            (i == 0 && hide_inbox) || is_dots || must_escape(rules, separator, raw, len, i, seq);
        if (!escaped)
            mh_buf_add(out, raw + i, n);
        for (size_t k = 0; escaped && k < n; k++)
            add_escape(rules, out, (unsigned char)raw[i + k]);
        i += n;
    }
}

static void encode(const struct imap_names *n, const char *text, size_t len, struct mh_buf *out)
{
    if (n->utf8)
        mh_buf_add(out, text, len);
    else if (!mh_mutf7_encode(text, len, out))
        out->failed = true; /* escape_part() leaves valid UTF-8 only, so this is no memory */
}

/* TEXT in at most MAX bytes on the wire: its start and a hash of all of it. */
static void encode_cut(const struct imap_names *n, const struct mh_buf *text, size_t max,
                       struct mh_buf *out)
{
    size_t from = out->len;
    encode(n, mh_buf_str(text), text->len, out);
    if (mh_buf_failed(out) || out->len - from <= max)
        return;
    struct mh_digest digest;
    char hex[65];
    mh_assert(text->data && out->data);
    mh_digest_of(text->data, text->len, &digest);
    mh_digest_hex(&digest, hex);
    size_t keep = MH_MIN(text->len, 2 * max);
    do {
        out->len = from;
        out->data[from] = '\0';
        do { /* back to the start of a character */
            keep--;
        } while (keep > 0 && ((text->data[keep] & 0xc0) == 0x80));
        encode(n, text->data, keep, out);
    } while (keep > 0 && !mh_buf_failed(out) && out->len - from > max - HASH_CHARS);
    mh_buf_addf(out, "-%.8s", hex);
}

/* True if PATH is INBOX/INBOX…, at least two of them. */
static bool is_inboxes(const char *path)
{
    size_t n = 0;
    for (;; n++) {
        if (strncmp(path, "INBOX", 5) != 0)
            return false;
        path += 5;
        if (*path == '\0')
            return n > 0;
        if (*path++ != '/')
            return false;
    }
}

/* A whole name that is too long: as many of its parents as fit, and a hash of all of it. */
static void shorten(const struct name_rules *rules, const struct imap_names *n,
                    struct mh_buf *native)
{
    struct mh_digest digest;
    char hex[65];
    if (native->len <= rules->name_max_bytes || mh_buf_failed(native))
        return;
    mh_digest_of(native->data, native->len, &digest);
    mh_digest_hex(&digest, hex);
    size_t keep = rules->name_max_bytes - 2 * HASH_CHARS;
    size_t prefix = strlen(n->prefix);
    while (keep > prefix && !(n->separator && native->data[keep - 1] == n->separator))
        keep--;
    native->len = keep;
    mh_buf_addf(native, "cut-%.8s", hex);
}

/*
 * True if the server would take the first component for the inbox, and it is not meant to be:
 * "inbox" where there is no prefix, and below "INBOX." with Dovecot, which takes INBOX.INBOX for
 * the INBOX itself (2.3.19; Cyrus and Courier do not).
 */
static bool hides_inbox(const struct imap_names *n, const char *raw, size_t len, bool is_only)
{
    bool is_spelled_so = len == strlen("INBOX") && memcmp(raw, "INBOX", len) == 0;
    bool is_distinct = n->family == IMAP_CYRUS || n->family == IMAP_COURIER;
    if (!imap_is_inbox(raw, len))
        return false;
    if (n->prefix[0] == '\0')
        return !is_spelled_so;
    return mh_str_istarts(n->prefix, "INBOX") && !is_distinct && (is_only || !is_spelled_so);
}

/* One component of a name; MORE: there is a separator in front of it. */
static void add_component(const struct imap_names *n, const struct name_rules *rules,
                          const char *raw, size_t len, bool more, bool hide_inbox,
                          struct mh_buf *native)
{
    if (more && n->separator)
        mh_buf_addc(native, n->separator);
    else if (more)
        add_escape(rules, native, '/'); /* no hierarchy there: the path stays readable */
    struct mh_buf text = MH_BUF_INIT;
    escape_part(rules, n->separator, raw, len, hide_inbox, &text);
    encode_cut(n, &text, rules->part_max_bytes, native);
    native->failed = native->failed || mh_buf_failed(&text);
    mh_buf_done(&text);
}

void imap_name_add_part(const struct imap_names *n, const char *raw, size_t len,
                        enum imap_name_level level, struct mh_buf *native)
{
    const struct name_rules *rules = rules_of(n, level);
    add_component(n, rules, raw, len, true, false, native);
    shorten(rules, n, native);
}

void imap_name_from_path(const struct imap_names *n, const char *path, enum imap_name_level level,
                         struct mh_buf *native)
{
    const struct name_rules *rules = rules_of(n, level);
    if (strcmp(path, "INBOX") == 0) {
        mh_buf_adds(native, "INBOX");
        return;
    }
    mh_buf_adds(native, n->prefix);
    const char *cursor = path;
    if (n->prefix[0] && is_inboxes(path))
        cursor += strlen("INBOX/");
    struct mh_buf raw = MH_BUF_INIT;
    for (bool more = false; mh_path_next(&cursor, &raw); more = true) {
        bool hides = !more && hides_inbox(n, mh_buf_str(&raw), raw.len, *cursor == '\0');
        add_component(n, rules, mh_buf_str(&raw), raw.len, more, hides, native);
        native->failed = native->failed || mh_buf_failed(&raw);
    }
    shorten(rules, n, native);
    mh_buf_done(&raw);
}
