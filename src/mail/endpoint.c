/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/endpoint.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/mem.h"
#include "mail/folder.h"

#define IMAPS_PORT 993
#define IMAP_PORT  143

void mh_endpoint_init(struct mh_endpoint *e)
{
    *e = (struct mh_endpoint){0};
}

static void secret_done(struct mh_secret_source *s)
{
    mh_free(s->file);
    for (char **arg = s->command; arg && *arg; arg++)
        mh_free(*arg);
    mh_free(s->command);
    if (s->value)
        OPENSSL_cleanse(s->value, strlen(s->value));
    mh_free(s->value);
}

void mh_endpoint_done(struct mh_endpoint *e)
{
    char *owned[] = {e->type,          e->host, e->user,    e->admin_user, e->folder,
                     e->folder_prefix, e->path, e->ca_file, e->pin,        e->profile};
    for (size_t i = 0; i < MH_ARRAY_LEN(owned); i++)
        mh_free(owned[i]);
    secret_done(&e->secret);
    mh_endpoint_init(e);
}

/* --- copying ---------------------------------------------------------------------------------- */

/* *OUT is a copy of S, or NULL like S. */
static bool dup_string(const char *s, char **out)
{
    *out = s ? mh_strdup(s) : NULL;
    return !s || *out;
}

static bool dup_command(char *const *argv, char ***out)
{
    *out = NULL;
    if (!argv)
        return true;
    size_t n = 0;
    while (argv[n])
        n++;
    char **copy = mh_zalloc((n + 1) * sizeof *copy);
    *out = copy;
    bool ok = copy != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = dup_string(argv[i], &copy[i]);
    return ok;
}

int mh_endpoint_dup(const struct mh_endpoint *from, struct mh_endpoint *out, struct mh_err *err)
{
    mh_endpoint_init(out);
    out->port = from->port;
    out->tls = from->tls;
    out->auth = from->auth;
    out->admin_by_name = from->admin_by_name;
    out->connections = from->connections;
    out->per_mailbox = from->per_mailbox;
    out->max_message = from->max_message;
    if (dup_string(from->type, &out->type) && dup_string(from->host, &out->host) &&
        dup_string(from->user, &out->user) && dup_string(from->admin_user, &out->admin_user) &&
        dup_string(from->folder, &out->folder) &&
        dup_string(from->folder_prefix, &out->folder_prefix) &&
        dup_string(from->path, &out->path) && dup_string(from->ca_file, &out->ca_file) &&
        dup_string(from->pin, &out->pin) && dup_string(from->profile, &out->profile) &&
        dup_string(from->secret.file, &out->secret.file) &&
        dup_command(from->secret.command, &out->secret.command) &&
        dup_string(from->secret.value, &out->secret.value))
        return 0;
    mh_endpoint_done(out);
    return mh_err_nomem(err);
}

/* --- parts of a URL --------------------------------------------------------------------------- */

/*
 * No message below repeats what stands before the host: a password may be in there, even in a URL
 * that is wrong in other ways ("imaps://anna:secret" looks like a host and a port).
 */
#define USAGE(err, ...) mh_err_set(err, MH_EUSAGE, "url", __VA_ARGS__)

/* Bytes of a URL that are being looked at. */
struct part {
    const char *s;
    size_t len;
};

static struct part part_of(const char *from, const char *to)
{
    return (struct part){from, (size_t)(to - from)};
}

static const char *part_find(struct part p, char c)
{
    return p.len ? memchr(p.s, c, p.len) : NULL;
}

/* P without its percent escapes into *OUT; WHAT names it in the messages. */
static int decode(struct part p, const char *what, char **out, struct mh_err *err)
{
    struct mh_buf b = MH_BUF_INIT;
    int rc = 0;
    for (size_t i = 0; i < p.len && rc == 0; i++) {
        char c = p.s[i];
        if (c == '%') {
            int high = i + 2 < p.len ? mh_hex_value(p.s[i + 1]) : -1;
            int low = i + 2 < p.len ? mh_hex_value(p.s[i + 2]) : -1;
            bool ok = high >= 0 && low >= 0;
            c = (char)(ok ? high * 16 + low : '%');
            if (!ok)
                rc = USAGE(err,
                           "%s has a '%%' without two hex digits: write %%25 for a percent sign",
                           what);
            i += 2;
        }
        if ((c >= 0 && c < 0x20) || c == 0x7f)
            rc = USAGE(err, "%s has a control character in it", what);
        mh_buf_addc(&b, c);
    }
    if (rc == 0) {
        *out = mh_buf_take(&b);
        rc = *out ? 0 : mh_err_nomem(err);
    }
    mh_buf_done(&b);
    return rc;
}

/* "anna*admin" is Dovecot's master user form; '*' itself is written %2A. */
static int parse_user(struct part p, struct mh_endpoint *out, struct mh_err *err)
{
    if (part_find(p, ':'))
        return USAGE(err,
                     "a password does not belong in a URL, where every user of this machine and "
                     "the shell's history can see it: write USER@HOST and use a password file "
                     "or command, the environment, or the prompt (a ':' in the user's name is "
                     "written %%3A)");
    const char *star = part_find(p, '*');
    struct part user = star ? part_of(p.s, star) : p;
    int rc = decode(user, "the user's name", &out->user, err);
    if (rc == 0 && star) {
        out->admin_by_name = true;
        rc = decode(part_of(star + 1, p.s + p.len), "the admin's name", &out->admin_user, err);
    }
    if (rc == 0 && (!*out->user || (star && !*out->admin_user)))
        rc = USAGE(err, "the user's name is empty: write %s://USER@HOST/",
                   out->tls == MH_TLS_IMPLICIT ? "imaps" : "imap");
    return rc;
}

static bool host_char_ok(char c, bool is_ipv6)
{
    if (mh_hex_value(c) >= 0 || c == '.')
        return true;
    if (is_ipv6)
        return c == ':';
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

static int parse_port(struct part p, struct mh_endpoint *out, struct mh_err *err)
{
    uint64_t port = 0;
    if (!mh_parse_u64(p.s, p.len, UINT16_MAX, &port) || port == 0)
        return USAGE(err, "the port behind the host must be a number from 1 to 65535");
    out->port = (uint16_t)port;
    return 0;
}

/* host, host:port, [IPv6] or [IPv6]:port; the brackets are not kept. */
static int parse_host(struct part p, struct mh_endpoint *out, struct mh_err *err)
{
    const char *end = p.s + p.len;
    bool is_ipv6 = p.len > 0 && p.s[0] == '[';
    const char *close = is_ipv6 ? part_find(p, ']') : NULL;
    if (is_ipv6 && !close)
        return USAGE(err, "the IPv6 address has no closing ']': write [2001:db8::1]");
    const char *colon = is_ipv6 ? (close + 1 < end ? close + 1 : NULL) : part_find(p, ':');
    struct part host = is_ipv6 ? part_of(p.s + 1, close) : part_of(p.s, colon ? colon : end);
    if (is_ipv6 && colon && *colon != ':')
        return USAGE(err, "after the ']' of an IPv6 address only :PORT may follow");
    if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1)))
        return USAGE(err,
                     "more than one ':' behind the user: an IPv6 address is written in brackets, "
                     "[2001:db8::1]");
    if (host.len == 0)
        return USAGE(err, "the host is empty: write USER@HOST");
    for (size_t i = 0; i < host.len; i++) {
        if ((unsigned char)host.s[i] >= 0x80)
            return USAGE(err, "the host has letters outside ASCII: write its xn-- form");
        if (!host_char_ok(host.s[i], is_ipv6))
            return USAGE(err, "the host has a character that no host name has");
    }
    out->host = mh_strndup(host.s, host.len);
    if (!out->host)
        return mh_err_nomem(err);
    return colon ? parse_port(part_of(colon + 1, end), out, err) : 0;
}

/* The folder as canonical path: a URL's escapes and a path's escapes mean the same, so each
 * component is decoded and written again. */
static int parse_folder(struct part p, struct mh_endpoint *out, struct mh_err *err)
{
    if (p.len == 0)
        return 0;
    if (p.len > 1 && p.s[p.len - 1] == '/')
        p.len--;
    char *text = mh_strndup(p.s, p.len);
    if (!text)
        return mh_err_nomem(err);
    struct mh_buf raw = MH_BUF_INIT;
    struct mh_buf path = MH_BUF_INIT;
    const char *cursor = text;
    int rc = 0;
    while (rc == 0 && mh_path_next(&cursor, &raw)) {
        if (mh_buf_failed(&raw))
            rc = mh_err_nomem(err);
        else if (raw.len == 0)
            rc = USAGE(err, "the folder has an empty part ('//'): write FOLDER/SUBFOLDER");
        if (path.len)
            mh_buf_addc(&path, '/');
        bool is_inbox = path.len == 0 && mh_mem_ieq(mh_buf_str(&raw), raw.len, "INBOX");
        mh_path_add_component(&path, is_inbox ? "INBOX" : mh_buf_str(&raw), raw.len);
    }
    if (rc == 0) {
        out->folder = mh_buf_take(&path);
        rc = out->folder ? 0 : mh_err_nomem(err);
    }
    mh_buf_done(&raw);
    mh_buf_done(&path);
    mh_free(text);
    return rc;
}

/* --- query parameters ------------------------------------------------------------------------- */

/* The word of WORDS (N of them) nearest to S; NULL when none is near. */
static const char *nearest(const char *s, const char *const *words, size_t n)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (size_t i = 0; i < n; i++) {
        unsigned d = mh_str_distance(s, words[i], 3);
        if (d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}

static int param_ca(struct mh_endpoint *e, char *value, struct mh_err *err)
{
    if (!*value)
        return USAGE(err, "ca= needs a file: write ?ca=/path/to/ca.pem");
    return dup_string(value, &e->ca_file) ? 0 : mh_err_nomem(err);
}

/* Colons between the octets, as `openssl x509 -fingerprint` prints them, are left out. */
static int param_pin(struct mh_endpoint *e, char *value, struct mh_err *err)
{
    char hex[65];
    size_t n = 0;
    bool ok = mh_str_istarts(value, "sha256:");
    for (const char *p = value + (ok ? strlen("sha256:") : 0); ok && *p; p++) {
        if (*p == ':')
            continue;
        ok = n < 64 && mh_hex_value(*p) >= 0;
        if (ok)
            hex[n++] = "0123456789abcdef"[mh_hex_value(*p)];
    }
    if (!ok || n != 64)
        return USAGE(err,
                     "pin= needs the certificate's SHA-256: write ?pin=sha256: and 64 hex digits "
                     "(openssl x509 -noout -fingerprint -sha256)");
    hex[64] = '\0';
    return dup_string(hex, &e->pin) ? 0 : mh_err_nomem(err);
}

static int param_auth(struct mh_endpoint *e, char *value, struct mh_err *err)
{
    static const char *const names[] = {"plain", "login", "scram", "xoauth2", "oauthbearer"};
    static const enum mh_auth auths[] = {MH_AUTH_PLAIN, MH_AUTH_LOGIN, MH_AUTH_SCRAM,
                                         MH_AUTH_XOAUTH2, MH_AUTH_OAUTHBEARER};
    for (size_t i = 0; i < MH_ARRAY_LEN(names); i++) {
        if (mh_str_ieq(value, names[i])) {
            e->auth = auths[i];
            return 0;
        }
    }
    const char *near = nearest(value, names, MH_ARRAY_LEN(names));
    return USAGE(err,
                 "auth=%s is unknown%s%s: it is one of plain, login, scram, xoauth2, oauthbearer",
                 value, near ? "; did you mean auth=" : "", near ? near : "");
}

static int param_admin(struct mh_endpoint *e, char *value, struct mh_err *err)
{
    if (!*value)
        return USAGE(err, "admin= needs a name: write ?admin=USER");
    if (e->admin_user)
        return USAGE(err, "the admin is named twice, by USER*ADMIN and by admin=: keep one");
    /* "*migadmin": Dovecot's user*migadmin login name; without the star SASL authorisation. */
    e->admin_by_name = *value == '*';
    value += e->admin_by_name;
    if (!*value)
        return USAGE(err, "admin=* needs a name behind the star");
    return dup_string(value, &e->admin_user) ? 0 : mh_err_nomem(err);
}

static int param_tls(struct mh_endpoint *e, char *value, struct mh_err *err)
{
    if (!mh_str_ieq(value, "none"))
        return USAGE(err,
                     "tls=%s is unknown: imaps:// is implicit TLS, imap:// is STARTTLS, and "
                     "imap://…?tls=none goes without encryption",
                     value);
    if (e->tls == MH_TLS_IMPLICIT)
        return USAGE(err,
                     "imaps:// with tls=none contradicts itself: write imap://…?tls=none to go "
                     "without encryption");
    e->tls = MH_TLS_NONE;
    return 0;
}

static int parse_param(struct part p, unsigned *seen, struct mh_endpoint *out, struct mh_err *err)
{
    static const char *const names[] = {"ca", "pin", "auth", "admin", "tls"};
    static int (*const set[])(struct mh_endpoint *, char *, struct mh_err *) = {
        param_ca, param_pin, param_auth, param_admin, param_tls};
    const char *equals = part_find(p, '=');
    struct part key = equals ? part_of(p.s, equals) : p;
    for (size_t i = 0; i < MH_ARRAY_LEN(names); i++) {
        if (!mh_mem_ieq(key.s, key.len, names[i]))
            continue;
        if (*seen & 1u << i)
            return USAGE(err, "%s= is given twice", names[i]);
        *seen |= 1u << i;
        if (!equals)
            return USAGE(err, "%s needs a value: write ?%s=…", names[i], names[i]);
        char *value = NULL;
        int rc = decode(part_of(equals + 1, p.s + p.len), names[i], &value, err);
        if (rc == 0)
            rc = set[i](out, value, err);
        mh_free(value);
        return rc;
    }
    char name[32];
    size_t len = MH_MIN(key.len, sizeof name - 1);
    memcpy(name, key.s, len);
    name[len] = '\0';
    if (mh_str_istarts(name, "pass"))
        return USAGE(err,
                     "a password does not belong in a URL: use a password file or command, the "
                     "environment, or the prompt");
    const char *near = nearest(name, names, MH_ARRAY_LEN(names));
    return USAGE(err, "unknown parameter \"%s\"%s%s: there are ca, pin, auth, admin and tls", name,
                 near ? "; did you mean " : "", near ? near : "");
}

static int parse_query(struct part p, struct mh_endpoint *out, struct mh_err *err)
{
    unsigned seen = 0;
    while (p.len) {
        const char *end = p.s + p.len;
        const char *amp = part_find(p, '&');
        struct part param = part_of(p.s, amp ? amp : end);
        if (param.len) {
            int rc = parse_param(param, &seen, out, err);
            if (rc < 0)
                return rc;
        }
        p = part_of(amp ? amp + 1 : end, end);
    }
    if (out->tls == MH_TLS_NONE && (out->ca_file || out->pin))
        return USAGE(err, "%s= means nothing with tls=none: leave one of them out",
                     out->ca_file ? "ca" : "pin");
    return 0;
}

/* --- whole URLs ------------------------------------------------------------------------------- */

static int parse_imap(const char *scheme, const char *rest, struct mh_endpoint *out,
                      struct mh_err *err)
{
    bool implicit = strcmp(scheme, "imaps") == 0;
    out->tls = implicit ? MH_TLS_IMPLICIT : MH_TLS_STARTTLS;
    out->port = implicit ? IMAPS_PORT : IMAP_PORT;
    if (strncmp(rest, "//", 2) != 0)
        return USAGE(err, "after %s: two slashes must follow: write %s://USER@HOST/", scheme,
                     scheme);
    rest += 2;
    if (strchr(rest, '#'))
        return USAGE(err, "a '#' in a URL starts a fragment, which means nothing here: write %%23");
    const char *query = strchrnul(rest, '?');
    struct part authority = part_of(rest, rest + strcspn(rest, "/?"));
    const char *authority_end = authority.s + authority.len;
    const char *at = authority.len ? memrchr(authority.s, '@', authority.len) : NULL;
    if (!at && memchr(authority_end, '@', (size_t)(query - authority_end)))
        return USAGE(err,
                     "there is a '/' before the '@': in a user's name it is written %%2F, and a "
                     "password does not belong in a URL");
    if (!at)
        return USAGE(err, "the user is missing: write %s://USER@HOST/", scheme);
    int rc = parse_user(part_of(authority.s, at), out, err);
    if (rc == 0)
        rc = parse_host(part_of(at + 1, authority_end), out, err);
    if (rc == 0 && authority_end < query)
        rc = parse_folder(part_of(authority_end + 1, query), out, err);
    if (rc == 0 && *query)
        rc = parse_query(part_of(query + 1, query + strlen(query)), out, err);
    return rc;
}

/* Everything behind the colon is the path, to the last byte. */
static int parse_archive(const char *scheme, const char *rest, struct mh_endpoint *out,
                         struct mh_err *err)
{
    bool is_mem = strcmp(scheme, "mem") == 0;
    if (!*rest)
        return USAGE(err, "the %s is missing: write %s:%s", is_mem ? "name" : "path", scheme,
                     is_mem ? "NAME" : "/path");
    if (!is_mem && rest[0] == '/' && rest[1] == '/' && rest[2] != '/')
        return USAGE(err, "%s: takes a path, not a host: write %s:/path", scheme, scheme);
    if (!is_mem && rest[0] == '~' && (rest[1] == '/' || rest[1] == '\0'))
        return USAGE(err, "the shell does not replace a '~' behind %s: write %s:$HOME%s", scheme,
                     scheme, rest + 1);
    return dup_string(rest, &out->path) ? 0 : mh_err_nomem(err);
}

static const struct scheme {
    const char *name;
    const char *type; /* NULL: not in this version */
    int (*parse)(const char *scheme, const char *rest, struct mh_endpoint *out, struct mh_err *err);
} schemes[] = {
    {"imaps", "imap", parse_imap},
    {"imap", "imap", parse_imap},
    {"maildir", "maildir", parse_archive},
    {"mbox", "mbox", parse_archive},
    {"eml", "eml", parse_archive},
    {"mem", "mem", parse_archive},
    {"pst", NULL, NULL},
    {"ews", NULL, NULL},
    {"graph", NULL, NULL},
};

static int unknown_scheme(const char *name, struct mh_err *err)
{
    static const char *const known[] = {"imaps", "imap", "maildir", "mbox", "eml"};
    if (mh_str_ieq(name, "pop3") || mh_str_ieq(name, "pop3s") || mh_str_ieq(name, "pop"))
        return USAGE(err,
                     "POP3 has no folders, flags or dates to move: use the server's IMAP side, "
                     "imaps://USER@HOST/");
    const char *near = nearest(name, known, MH_ARRAY_LEN(known));
    return USAGE(err,
                 "\"%s:\" is unknown%s%s%s: there are imaps://USER@HOST/, imap://USER@HOST/, "
                 "maildir:/path, mbox:/path and eml:/path",
                 name, near ? "; did you mean " : "", near ? near : "", near ? ":" : "");
}

int mh_endpoint_parse_url(const char *url, struct mh_endpoint *out, struct mh_err *err)
{
    mh_endpoint_init(out);
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return USAGE(err, "the address has a control character (a line end?) in it");
    size_t len = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    char name[16];
    if (len == 0 || url[len] != ':' || len >= sizeof name)
        return USAGE(err, "the address must begin with its kind: imaps://USER@HOST/, "
                          "imap://USER@HOST/, maildir:/path, mbox:/path or eml:/path");
    memcpy(name, url, len);
    name[len] = '\0';
    for (size_t i = 0; i < MH_ARRAY_LEN(schemes); i++) {
        const struct scheme *s = &schemes[i];
        if (!mh_str_ieq(name, s->name))
            continue;
        if (!s->type)
            return USAGE(err, "%s: is not in this version of mailhaul", s->name);
        int rc = dup_string(s->type, &out->type) ? 0 : mh_err_nomem(err);
        if (rc == 0)
            rc = s->parse(s->name, url + len + 1, out, err);
        if (rc < 0)
            mh_endpoint_done(out);
        return rc;
    }
    return unknown_scheme(name, err);
}

/* --- for people and for the state ------------------------------------------------------------- */

/* S with what has a meaning in a URL escaped. */
static void add_escaped(struct mh_buf *b, const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s <= 0x20 || strchr("%:/?#&*@\x7f", *s))
            mh_buf_addf(b, "%%%02X", (unsigned char)*s);
        else
            mh_buf_addc(b, *s);
    }
}

static bool is_imap(const struct mh_endpoint *e)
{
    return e->type && strcmp(e->type, "imap") == 0;
}

static void add_host_port(struct mh_buf *b, const struct mh_endpoint *e)
{
    const char *host = e->host ? e->host : "";
    bool is_ipv6 = strchr(host, ':') != NULL;
    mh_buf_addf(b, "%s%s%s:%u", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", e->port);
}

char *mh_endpoint_format(const struct mh_endpoint *e)
{
    struct mh_buf b = MH_BUF_INIT;
    if (is_imap(e)) {
        mh_buf_adds(&b, e->tls == MH_TLS_IMPLICIT ? "imaps://" : "imap://");
        add_escaped(&b, e->user ? e->user : "");
        if (e->admin_user && e->admin_by_name) {
            mh_buf_addc(&b, '*');
            add_escaped(&b, e->admin_user);
        }
        mh_buf_addc(&b, '@');
        add_host_port(&b, e);
        mh_buf_addc(&b, '/');
        if (e->admin_user && !e->admin_by_name) {
            mh_buf_adds(&b, "?admin=");
            add_escaped(&b, e->admin_user);
        }
    } else {
        mh_buf_addf(&b, "%s:%s", e->type ? e->type : "", e->path ? e->path : "");
    }
    char *text = mh_buf_take(&b);
    mh_buf_done(&b);
    return text;
}

char *mh_endpoint_server_key(const struct mh_endpoint *e)
{
    struct mh_buf b = MH_BUF_INIT;
    if (is_imap(e))
        add_host_port(&b, e);
    else
        mh_buf_adds(&b, e->path ? e->path : "");
    char *text = mh_buf_take(&b);
    mh_buf_done(&b);
    return text;
}
