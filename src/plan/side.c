/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The `source` and `target` mappings of a project file. */
#include <arpa/inet.h>
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

enum { IMAPS_PORT = 993, IMAP_PORT = 143, HTTPS_PORT = 443, HOST_MAX_BYTES = 253 };

/* What a type of endpoint has besides its name. */
static const struct side_type {
    const char *name;
    bool is_archive; /* a path; else a host */
    bool needs_host;
    bool is_https;
} side_types[] = {
    {"imap", false, true, false}, {"ews", false, true, true},      {"graph", false, false, true},
    {"pst", true, false, false},  {"maildir", true, false, false}, {"mbox", true, false, false},
    {"eml", true, false, false},  {"mem", true, false, false},
};

static const struct plan_choice tls_choices[] = {
    {"implicit", MH_TLS_IMPLICIT}, {"starttls", MH_TLS_STARTTLS}, {"none", MH_TLS_NONE}, {NULL, 0}};

static const struct plan_choice auth_choices[] = {{"plain", MH_AUTH_PLAIN},
                                                  {"login", MH_AUTH_LOGIN},
                                                  {"scram", MH_AUTH_SCRAM},
                                                  {"xoauth2", MH_AUTH_XOAUTH2},
                                                  {"oauthbearer", MH_AUTH_OAUTHBEARER},
                                                  {NULL, 0}};

/* Servers whose limits and habits are built in. */
static const char *const profiles[] = {"generic", "exchange-online", "exchange-server", "gmail"};

/* --- single keys ------------------------------------------------------------------------------ */

static int read_type(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    char quoted[PLAN_QUOTE_BYTES];
    char **type = slot;
    int rc = plan_expect_text(r, node, "type");
    if (rc)
        return rc;
    for (size_t i = 0; i < MH_ARRAY_LEN(side_types); i++) {
        if (strcmp(side_types[i].name, node->text) == 0) {
            *type = mh_strdup(node->text);
            return *type ? 0 : plan_nomem(r->err);
        }
    }
    const char *near =
        plan_nearest(node->text, side_types, MH_ARRAY_LEN(side_types), sizeof *side_types);
    return plan_node_fail(r, node,
                          "type is imap, ews, graph, pst, maildir, mbox or eml, not %s%s%s%s",
                          plan_quote(quoted, node->text, node->len), near ? "; did you mean '" : "",
                          near ? near : "", near ? "'?" : "");
}

static bool is_ipv6(const char *text)
{
    struct in6_addr unused;
    return inet_pton(AF_INET6, text, &unused) == 1;
}

static bool is_host(const char *text)
{
    size_t ok = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");
    return ok > 0 && ok <= HOST_MAX_BYTES && !text[ok] && text[0] != '-' && text[0] != '.';
}

/* What people write instead of a host. */
static int fail_host(struct plan_reader *r, const struct plan_node *node)
{
    char quoted[PLAN_QUOTE_BYTES];
    (void)plan_quote(quoted, node->text, node->len);
    if (strchr(node->text, '@'))
        return plan_node_fail(r, node, "host %s must be the server's name alone, without a user",
                              quoted);
    if (strchr(node->text, '/'))
        return plan_node_fail(r, node, "host %s must be the server's name alone, not a URL",
                              quoted);
    if (strchr(node->text, ':'))
        return plan_node_fail(r, node, "host %s has a port in it; write the port as 'port: …'",
                              quoted);
    for (const char *p = node->text; *p; p++) {
        if (*p & 0x80)
            return plan_node_fail(r, node, "host %s has letters outside ASCII; write its xn-- form",
                                  quoted);
    }
    return plan_node_fail(r, node, "host %s is not a host name or address", quoted);
}

/* A name, an IPv4 address, or an IPv6 address with or without brackets (kept without). */
static int read_host(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    char **host = slot;
    int rc = plan_expect_text(r, node, "host");
    if (rc)
        return rc;
    bool has_brackets = node->len > 2 && node->text[0] == '[' && node->text[node->len - 1] == ']';
    *host = mh_strndup(node->text + has_brackets, node->len - (has_brackets ? 2 : 0));
    if (!*host)
        return plan_nomem(r->err);
    if (is_ipv6(*host) || (!has_brackets && is_host(*host)))
        return 0;
    return fail_host(r, node);
}

/* "sha256:" and 64 hex digits, with or without colons between the octets (openssl prints them). */
static int read_pin(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    char quoted[PLAN_QUOTE_BYTES];
    char **pin = slot;
    int rc = plan_expect_text(r, node, "pin");
    if (rc)
        return rc;
    struct mh_buf hex = MH_BUF_INIT;
    bool ok = mh_str_istarts(node->text, "sha256:");
    for (const char *p = ok ? node->text + strlen("sha256:") : ""; ok && *p; p++) {
        ok = *p == ':' || strchr("0123456789abcdefABCDEF", *p);
        if (*p != ':')
            mh_buf_addc(&hex, *p >= 'A' && *p <= 'F' ? (char)(*p + 32) : *p);
    }
    ok = ok && hex.len == 64;
    *pin = mh_buf_take(&hex);
    if (!*pin)
        return plan_nomem(r->err);
    if (ok)
        return 0;
    return plan_node_fail(r, node,
                          "pin must be sha256: and 64 hex digits, not %s (openssl x509 "
                          "-noout -fingerprint -sha256 prints it)",
                          plan_quote(quoted, node->text, node->len));
}

/* "*migadmin": Dovecot's user*migadmin login name; without the star SASL authorisation. */
static int read_admin(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    struct mh_endpoint *e = &((struct mh_side *)slot)->endpoint;
    int rc = plan_expect_text(r, node, "admin-user");
    if (rc)
        return rc;
    e->admin_by_name = node->text[0] == '*';
    if (e->admin_by_name && !node->text[1])
        return plan_node_fail(r, node, "admin-user '*' has no name behind the star");
    e->admin_user = mh_strdup(node->text + e->admin_by_name);
    return e->admin_user ? 0 : plan_nomem(r->err);
}

static int read_command(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    static const char form[] = "write it word by word: [pass, show, acme/admin]";
    struct mh_strings argv = {NULL, 0};
    int rc = plan_expect(r, node, PLAN_LIST, "password-command", form);
    if (rc == 0 && node->n == 0)
        rc = plan_node_fail(r, node, "password-command is empty; %s", form);
    for (const struct plan_node *n = node->first; rc == 0 && n; n = n->next) {
        rc = plan_expect_text(r, n, "a word of password-command");
        if (rc == 0)
            rc = plan_strings_add(&argv, n->text, n->len, r->err);
    }
    if (rc == 0 && argv.v && strstr(argv.v[0], "{user}"))
        rc = plan_node_fail(r, node->first,
                            "{user} stands for arguments of password-command, not "
                            "for the program");
    if (rc)
        mh_strings_done(&argv);
    else
        *(char ***)slot = argv.v;
    return rc;
}

static int read_profile(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    char quoted[PLAN_QUOTE_BYTES];
    char **profile = slot;
    int rc = plan_expect_text(r, node, "profile");
    if (rc)
        return rc;
    for (size_t i = 0; i < MH_ARRAY_LEN(profiles); i++) {
        if (strcmp(profiles[i], node->text) == 0) {
            *profile = mh_strdup(node->text);
            return *profile ? 0 : plan_nomem(r->err);
        }
    }
    const char *near = plan_nearest(node->text, profiles, MH_ARRAY_LEN(profiles), sizeof *profiles);
    return plan_node_fail(
        r, node, "profile is generic, exchange-online, exchange-server or gmail, not %s%s%s%s",
        plan_quote(quoted, node->text, node->len), near ? "; did you mean '" : "", near ? near : "",
        near ? "'?" : "");
}

/* A canonical path: each component decoded and written again; empty ones are refused. */
static int read_prefix(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    char **prefix = slot;
    int rc = plan_expect_text(r, node, "folder-prefix");
    if (rc)
        return rc;
    struct mh_buf raw = MH_BUF_INIT;
    struct mh_buf path = MH_BUF_INIT;
    const char *cursor = node->text;
    bool is_whole = node->text[0] != '/' && node->text[node->len - 1] != '/';
    while (is_whole && mh_path_next(&cursor, &raw)) {
        is_whole = raw.len > 0 || mh_buf_failed(&raw);
        if (path.len)
            mh_buf_addc(&path, '/');
        bool is_inbox = path.len == 0 && mh_str_ieq(mh_buf_str(&raw), "INBOX");
        mh_path_add_component(&path, is_inbox ? "INBOX" : mh_buf_str(&raw), raw.len);
        path.failed = path.failed || raw.failed;
    }
    mh_buf_done(&raw);
    *prefix = mh_buf_take(&path);
    if (!*prefix)
        return plan_nomem(r->err);
    if (!is_whole)
        return plan_node_fail(r, node,
                              "folder-prefix is a path such as Old/Mail: no '/' in front or "
                              "behind, none doubled");
    return 0;
}

/* --- the whole -------------------------------------------------------------------------------- */

static const struct side_type *type_of(const struct mh_endpoint *e)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(side_types); i++) {
        if (strcmp(side_types[i].name, e->type) == 0)
            return &side_types[i];
    }
    mh_assert(false); /* read_type() lets no other through */
    return NULL;
}

/* A key that means nothing for this type would be ignored in silence. */
static int check_keys(struct plan_reader *r, const struct plan_node *node,
                      const struct side_type *t)
{
    static const char *const network[] = {
        "host",          "port",  "tls",        "ca",
        "pin",           "auth",  "admin-user", "password-command",
        "password-file", "oauth", "profile",    "connections",
        "per-mailbox"};
    static const char *const archive[] = {"path"};
    const char *const *wrong = t->is_archive ? network : archive;
    size_t n = t->is_archive ? MH_ARRAY_LEN(network) : MH_ARRAY_LEN(archive);
    for (size_t i = 0; i < n; i++) {
        const struct plan_node *found = plan_node_get(node, wrong[i]);
        if (found)
            return plan_node_fail(r, found->key, "'%s' means nothing for type %s; remove it",
                                  wrong[i], t->name);
    }
    if (t->is_archive && !plan_node_get(node, "path"))
        return plan_node_fail(r, node, "type %s needs the key 'path'", t->name);
    if (t->needs_host && !plan_node_get(node, "host"))
        return plan_node_fail(r, node, "type %s needs the key 'host'", t->name);
    return 0;
}

static int check_tls(struct plan_reader *r, const struct plan_node *node, const struct side_type *t,
                     const struct mh_endpoint *e)
{
    const struct plan_node *tls = plan_node_get(node, "tls");
    if (t->is_https && e->tls != MH_TLS_IMPLICIT)
        return plan_node_fail(r, tls, "type %s is always implicit TLS; remove this key", t->name);
    if (e->tls != MH_TLS_NONE)
        return 0;
    if (e->ca_file || e->pin)
        return plan_node_fail(r, tls, "%s means nothing with tls: none; leave one of them out",
                              e->ca_file ? "ca" : "pin");
    return plan_note(r->plan, r->err,
                     "%s:%u: tls: none: passwords and mail of %s cross the network "
                     "unprotected",
                     r->file, tls->pos.line, e->host);
}

static int check_secrets(struct plan_reader *r, const struct plan_node *node,
                         const struct mh_side *s)
{
    const struct mh_endpoint *e = &s->endpoint;
    const struct plan_node *file = plan_node_get(node, "password-file");
    if (e->secret.file && e->secret.command)
        return plan_node_fail(r, file->key, "password-file and password-command: keep one of them");
    const struct plan_node *oauth = plan_node_get(node, "oauth");
    bool is_token = e->auth == MH_AUTH_XOAUTH2 || e->auth == MH_AUTH_OAUTHBEARER;
    if (oauth && !is_token && strcmp(e->type, "imap") == 0)
        return plan_node_fail(r, oauth->key, "oauth needs auth: xoauth2 or auth: oauthbearer");
    return 0;
}

static void set_default_port(struct mh_endpoint *e, const struct side_type *t)
{
    if (e->port || t->is_archive)
        return;
    e->port = t->is_https ? HTTPS_PORT : e->tls == MH_TLS_IMPLICIT ? IMAPS_PORT : IMAP_PORT;
}

static int check_side(struct plan_reader *r, const struct plan_node *node, void *obj)
{
    struct mh_side *s = obj;
    struct mh_endpoint *e = &s->endpoint;
    const struct side_type *t = type_of(e);
    int rc = check_keys(r, node, t);
    if (rc == 0)
        rc = check_tls(r, node, t, e);
    if (rc == 0)
        rc = check_secrets(r, node, s);
    if (rc == 0 && e->connections && e->per_mailbox > e->connections)
        rc = plan_node_fail(r, plan_node_get(node, "per-mailbox"),
                            "per-mailbox is %u, more than the %u connections to the server",
                            e->per_mailbox, e->connections);
    set_default_port(e, t);
    return rc;
}

static int check_source(struct plan_reader *r, const struct plan_node *node, void *obj)
{
    static const char *const target_only[] = {"folder-prefix", "max-message"};
    for (size_t i = 0; i < MH_ARRAY_LEN(target_only); i++) {
        const struct plan_node *found = plan_node_get(node, target_only[i]);
        if (found)
            return plan_node_fail(r, found->key, "'%s' is about writing; move it to target",
                                  target_only[i]);
    }
    return check_side(r, node, obj);
}

static const struct plan_field oauth_fields[] = {
    {.key = "tenant",
     .type = PLAN_TEXT,
     .required = true,
     .offset = offsetof(struct mh_oauth, tenant)},
    {.key = "client-id",
     .type = PLAN_TEXT,
     .required = true,
     .offset = offsetof(struct mh_oauth, client_id)},
    {.key = "client-secret-file",
     .type = PLAN_PATH,
     .required = true,
     .offset = offsetof(struct mh_oauth, client_secret_file)},
};

static const struct plan_schema oauth_schema = {
    .name = "oauth",
    .form = "oauth: {tenant: …, client-id: …, client-secret-file: …}",
    .fields = oauth_fields,
    .n_fields = MH_ARRAY_LEN(oauth_fields),
};

#define SIDE(member) offsetof(struct mh_side, endpoint.member)

static const struct plan_field side_fields[] = {
    {.key = "type", .type = PLAN_READ, .required = true, .offset = SIDE(type), .read = read_type},
    {.key = "host", .type = PLAN_READ, .offset = SIDE(host), .read = read_host},
    {.key = "port",
     .type = PLAN_UINT,
     .offset = SIDE(port),
     .width = sizeof(uint16_t),
     .min = 1,
     .max = UINT16_MAX},
    {.key = "tls",
     .type = PLAN_CHOICE,
     .offset = SIDE(tls),
     .width = sizeof(enum mh_tls),
     .choices = tls_choices},
    {.key = "ca", .type = PLAN_PATH, .offset = SIDE(ca_file)},
    {.key = "pin", .type = PLAN_READ, .offset = SIDE(pin), .read = read_pin},
    {.key = "auth",
     .type = PLAN_CHOICE,
     .offset = SIDE(auth),
     .width = sizeof(enum mh_auth),
     .choices = auth_choices},
    {.key = "admin-user", .type = PLAN_READ, .offset = 0, .read = read_admin},
    {.key = "password-command",
     .type = PLAN_READ,
     .offset = SIDE(secret.command),
     .read = read_command},
    {.key = "password-file", .type = PLAN_PATH, .offset = SIDE(secret.file)},
    {.key = "oauth",
     .type = PLAN_MAPPING,
     .offset = offsetof(struct mh_side, oauth),
     .schema = &oauth_schema},
    {.key = "profile", .type = PLAN_READ, .offset = SIDE(profile), .read = read_profile},
    {.key = "connections",
     .type = PLAN_UINT,
     .offset = SIDE(connections),
     .width = sizeof(unsigned),
     .min = 1,
     .max = MH_PLAN_CONNECTIONS_MAX},
    {.key = "per-mailbox",
     .type = PLAN_UINT,
     .offset = SIDE(per_mailbox),
     .width = sizeof(unsigned),
     .min = 1,
     .max = MH_PLAN_PER_MAILBOX_MAX},
    {.key = "max-message",
     .type = PLAN_SIZE,
     .offset = SIDE(max_message),
     .min = 1024,
     .max = (uint64_t)1 << 40},
    {.key = "folder-prefix", .type = PLAN_READ, .offset = SIDE(folder_prefix), .read = read_prefix},
    {.key = "path", .type = PLAN_PATH, .offset = SIDE(path)},
};

const struct plan_schema plan_source_schema = {
    .name = "source",
    .form = "source: {type: imap, host: imap.example.org}",
    .fields = side_fields,
    .n_fields = MH_ARRAY_LEN(side_fields),
    .check = check_source,
};

const struct plan_schema plan_target_schema = {
    .name = "target",
    .form = "target: {type: imap, host: imap.example.org}",
    .fields = side_fields,
    .n_fields = MH_ARRAY_LEN(side_fields),
    .check = check_side,
};
