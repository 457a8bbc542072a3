/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TLS: who is believed and who is not and why; STARTTLS; truncation; resumption; two threads. */
#include "net_peer.h"

#include "net_certs.h"

#include <ctype.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include "base/mem.h"
#include "net/conn_priv.h"
#include "net/dial_priv.h"
#include "scratch.h"

#define HOST "mail.example.test"

/* --- all names are here ---------------------------------------------------------------------- */

static int lookup(const char *host, const char *service, const struct addrinfo *hints,
                  struct addrinfo **out)
{
    struct addrinfo numeric = *hints;
    bool is_literal = hints->ai_flags & AI_NUMERICHOST;
    numeric.ai_flags |= AI_NUMERICHOST;
    return getaddrinfo(is_literal ? host : "127.0.0.1", service, &numeric, out);
}

/* --- a server with a chain ------------------------------------------------------------------- */

static struct cert root, other_root, inter;
static char root_file[] = "/tmp/mh-net-root-XXXXXX";

static void make_authorities(void)
{
    mh_resolve_set_lookup(lookup, freeaddrinfo);
    root = cert_make(&(struct cert_spec){.cn = "Test Root", .ca = CA_YES}, NULL);
    other_root = cert_make(&(struct cert_spec){.cn = "Other Root", .ca = CA_YES}, NULL);
    inter = cert_make(&(struct cert_spec){.cn = "Test Intermediate", .ca = CA_YES}, &root);
    cert_write(&root, root_file);
}

static void remove_authorities(void)
{
    (void)unlink(root_file);
}

static struct cert leaf_of(const struct cert *issuer)
{
    return cert_make(&(struct cert_spec){.cn = "Test Server", .san = {HOST, "IP:127.0.0.1"}},
                     issuer);
}

/* LEAF with CHAIN behind it (each may be NULL). */
static SSL_CTX *server_ctx(const struct cert *leaf, const struct cert *chain1,
                           const struct cert *chain2)
{
    const struct cert *chain[] = {chain1, chain2};
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    cr_assert_not_null(ctx);
    SSL_CTX_set_security_level(ctx, 0); /* bad servers must be able to be bad */
    cr_assert_eq(SSL_CTX_use_certificate(ctx, leaf->x), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(ctx, leaf->key), 1);
    for (int i = 0; i < 2; i++)
        cr_assert(!chain[i] || SSL_CTX_add1_chain_cert(ctx, chain[i]->x) == 1);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
    return ctx;
}

static void world_trust(struct world *w)
{
    w->cfg.host = HOST;
    w->cfg.tls = true;
    w->cfg.ca_file = root_file;
}

/* With a server whose certificate is good. */
static void trusted_run(void (*serve)(struct peer *, int), void (*fn)(void *))
{
    struct cert leaf = leaf_of(&root);
    struct world w = {.peer = {.ctx = server_ctx(&leaf, NULL, NULL)}};
    world_run(&w, serve, fn);
    SSL_CTX_free(w.peer.ctx);
}

TestSuite(tls, .init = make_authorities, .fini = remove_authorities);

/* --- whom we believe ------------------------------------------------------------------------- */

/* The handshake succeeds, or no byte of the client's is ever read. */
static void serve_login(struct peer *p, int fd)
{
    SSL *ssl = peer_tls(p, fd);
    *(bool *)p->arg = ssl != NULL;
    if (!ssl) {
        ERR_clear_error();
        (void)close(fd);
        return;
    }
    char buf[100];
    size_t n = 0;
    if (SSL_read_ex(ssl, buf, sizeof buf, &n) == 1) {
        peer_check(n == 5 && memcmp(buf, "login", 5) == 0);
        peer_tls_send(ssl, "OK", 2);
        peer_tls_end(ssl, fd);
        return;
    }
    /* TLS 1.3: the server may think it is done before the client says no. */
    *(bool *)p->arg = false;
    ERR_clear_error();
    SSL_free(ssl);
    (void)close(fd);
}

struct attempt {
    struct world w;
    const char *host;
    const char *ca_file;
    const char *pin;
    bool was_served;
    int rc;
    struct mh_err err;
    struct mh_conn_info info;
};

static void attempt_main(void *arg)
{
    struct attempt *a = arg;
    struct mh_conn *c = NULL;
    world_trust(&a->w);
    if (a->host)
        a->w.cfg.host = a->host;
    a->w.cfg.ca_file = a->ca_file;
    a->w.cfg.pin = a->pin;
    mh_err_reset(&a->err);
    a->rc = mh_conn_open(&a->w.cfg, &c, &a->err);
    if (a->rc != MH_OK) {
        cr_assert_null(c);
        return;
    }
    a->info = *mh_conn_info(c);
    must_write(c, "login");
    must_read(c, "OK");
    mh_conn_close(c);
}

static void attempt_run(struct attempt *a, SSL_CTX *ctx)
{
    a->w.peer.ctx = ctx;
    a->w.peer.arg = &a->was_served;
    a->w.peer.connections = 1;
    world_run(&a->w, serve_login, attempt_main);
    SSL_CTX_free(ctx);
}

enum chain_kind {
    BY_ROOT,        /* the leaf alone, signed by the root we know */
    BY_INTER,       /* with the intermediate */
    NO_INTER,       /* without it */
    BY_OTHER,       /* the leaf alone, by a root we do not know */
    WITH_OTHER,     /* with that root */
    BY_ITSELF,      /* self-signed */
    BY_LEAF,        /* signed by an end-entity certificate */
    BY_BARE,        /* signed by a certificate without extensions */
    BY_USAGE,       /* signed by one with keyCertSign and no basicConstraints */
    BY_EXPIRED,     /* signed by an intermediate that has expired */
    BY_WEAK_KEY,    /* … whose key has 1024 bits */
    BY_WEAK_DIGEST, /* … that is signed with SHA-1 */
};

static SSL_CTX *chain_ctx(enum chain_kind kind, const struct cert_spec *spec, struct cert *leaf_out)
{
    static const struct cert_spec issuers[] = {
        [BY_LEAF] = {.cn = "No Authority", .san = {"other.example.test"}},
        [BY_BARE] = {.cn = "No Authority", .ca = CA_NO_EXTENSIONS},
        [BY_USAGE] = {.cn = "No Authority", .ca = CA_USAGE_ONLY},
        [BY_EXPIRED] = {.cn = "Old Authority",
                        .ca = CA_YES,
                        .from_s = -9 * DAY_S,
                        .until_s = -DAY_S},
        [BY_WEAK_KEY] = {.cn = "Weak Authority", .ca = CA_YES, .rsa_bits = 1024},
        [BY_WEAK_DIGEST] = {.cn = "Weak Authority", .ca = CA_YES, .digest = "SHA1"},
    };
    switch (kind) {
    case BY_ROOT:
        *leaf_out = cert_make(spec, &root);
        return server_ctx(leaf_out, NULL, NULL);
    case BY_INTER:
        *leaf_out = cert_make(spec, &inter);
        return server_ctx(leaf_out, &inter, NULL);
    case NO_INTER:
        *leaf_out = cert_make(spec, &inter);
        return server_ctx(leaf_out, NULL, NULL);
    case BY_OTHER:
        *leaf_out = cert_make(spec, &other_root);
        return server_ctx(leaf_out, NULL, NULL);
    case WITH_OTHER:
        *leaf_out = cert_make(spec, &other_root);
        return server_ctx(leaf_out, &other_root, NULL);
    case BY_ITSELF:
        *leaf_out = cert_make(spec, NULL);
        return server_ctx(leaf_out, NULL, NULL);
    default:
        break;
    }
    struct cert issuer = cert_make(&issuers[kind], &root);
    *leaf_out = cert_make(spec, &issuer);
    return server_ctx(leaf_out, &issuer, NULL);
}

#define GOOD                                                                                       \
    {                                                                                              \
        .cn = "Test Server", .san = { HOST }                                                       \
    }

static const struct {
    const char *name;
    struct cert_spec spec;
    enum chain_kind chain;
    const char *host;   /* NULL: HOST */
    const char *reason; /* NULL: believed */
    const char *words;
} trust_cases[] = {
    {"good", GOOD, BY_ROOT, NULL, NULL, NULL},
    {"good, with an intermediate", GOOD, BY_INTER, NULL, NULL, NULL},
    {"good, RSA 2048", {.cn = "x", .san = {HOST}, .rsa_bits = 2048}, BY_ROOT, NULL, NULL, NULL},
    {"good, one name of several",
     {.cn = "x", .san = {"a.example.test", "b.example.test", HOST}},
     BY_ROOT,
     NULL,
     NULL,
     NULL},
    {"good, letter case", {.cn = "x", .san = {"MAIL.Example.TEST"}}, BY_ROOT, NULL, NULL, NULL},
    {"good, trailing dot", GOOD, BY_ROOT, HOST ".", NULL, NULL},
    {"wildcard one level", {.cn = "x", .san = {"*.example.test"}}, BY_ROOT, NULL, NULL, NULL},
    {"IP literal", {.cn = "x", .san = {"IP:127.0.0.1"}}, BY_ROOT, "127.0.0.1", NULL, NULL},
    {"server purpose",
     {.cn = "x", .san = {HOST}, .purpose = "serverAuth"},
     BY_ROOT,
     NULL,
     NULL,
     NULL},

    {"self-signed", GOOD, BY_ITSELF, NULL, "cert-self-signed", "it is self-signed"},
    {"unknown root", GOOD, WITH_OTHER, NULL, "cert-unknown-root",
     "unknown authority \"Other Root\""},
    {"unknown root that is not sent", GOOD, BY_OTHER, NULL, "cert-chain",
     "its issuer \"Other Root\" is no root known here"},
    {"missing intermediate", GOOD, NO_INTER, NULL, "cert-chain",
     "its issuer \"Test Intermediate\" is no root known here, and the server sent no intermediate"},
    {"wrong host",
     {.cn = "x", .san = {"other.example.test", "IP:192.0.2.1"}},
     BY_ROOT,
     NULL,
     "cert-host",
     "it is not for mail.example.test but for other.example.test, 192.0.2.1"},
    {"wrong host, right CN",
     {.cn = HOST, .san = {"other.example.test"}},
     BY_ROOT,
     NULL,
     "cert-host",
     "it is not for mail.example.test but for other.example.test"},
    {"the name as a suffix",
     {.cn = "x", .san = {"example.test"}},
     BY_ROOT,
     NULL,
     "cert-host",
     NULL},
    {"the name as a prefix",
     {.cn = "x", .san = {HOST ".evil.test"}},
     BY_ROOT,
     NULL,
     "cert-host",
     NULL},
    {"expired",
     {.cn = "x", .san = {HOST}, .from_s = -9 * DAY_S, .until_s = -DAY_S},
     BY_ROOT,
     NULL,
     "cert-expired",
     "it expired on 20"},
    {"not yet valid",
     {.cn = "x", .san = {HOST}, .from_s = DAY_S, .until_s = 9 * DAY_S},
     BY_ROOT,
     NULL,
     "cert-not-yet-valid",
     "it is valid only from 20"},
    {"issuer that is no CA", GOOD, BY_LEAF, NULL, "cert-issuer-no-ca",
     "its issuer \"No Authority\" is no certificate authority"},
    {"issuer without extensions", GOOD, BY_BARE, NULL, "cert-issuer-no-ca",
     "is no certificate authority"},
    {"issuer without basicConstraints", GOOD, BY_USAGE, NULL, "cert-issuer-no-ca",
     "is no certificate authority"},
    {"expired intermediate", GOOD, BY_EXPIRED, NULL, "cert-expired",
     "its authority \"Old Authority\" expired on 20"},
    {"name only in CN", {.cn = HOST}, BY_ROOT, NULL, "cert-cn-only", "it has no subjectAltName"},
    {"wildcard two levels", {.cn = "x", .san = {"*.test"}}, BY_ROOT, NULL, "cert-host", NULL},
    {"wildcard is one label only",
     {.cn = "x", .san = {"*.example.test"}},
     BY_ROOT,
     "imap.mail.example.test",
     "cert-host",
     NULL},
    {"wildcard does not match the bare domain",
     {.cn = "x", .san = {"*.mail.example.test"}},
     BY_ROOT,
     NULL,
     "cert-host",
     NULL},
    {"partial wildcard",
     {.cn = "x", .san = {"ma*.example.test"}},
     BY_ROOT,
     NULL,
     "cert-host",
     NULL},
    {"wildcard in the middle",
     {.cn = "x", .san = {"mail.*.test"}},
     BY_ROOT,
     NULL,
     "cert-host",
     NULL},
    {"IP literal mismatch",
     {.cn = "x", .san = {"IP:127.0.0.2", HOST}},
     BY_ROOT,
     "127.0.0.1",
     "cert-host",
     "it is not for 127.0.0.1 but for 127.0.0.2, mail.example.test"},
    {"IP literal as a DNS name",
     {.cn = "x", .san = {"127.0.0.1"}},
     BY_ROOT,
     "127.0.0.1",
     "cert-host",
     NULL},
    {"IP literal in CN", {.cn = "127.0.0.1"}, BY_ROOT, "127.0.0.1", "cert-cn-only", NULL},
    {"SHA-1 signature",
     {.cn = "x", .san = {HOST}, .digest = "SHA1"},
     BY_ROOT,
     NULL,
     "cert-weak-signature",
     "it is signed in a way that can be forged (ecdsa-with-SHA1)"},
    {"SHA-1 signature of the intermediate", GOOD, BY_WEAK_DIGEST, NULL, "cert-weak-signature",
     "its authority \"Weak Authority\" is signed in a way that can be forged"},
    {"1024-bit key",
     {.cn = "x", .san = {HOST}, .rsa_bits = 1024},
     BY_ROOT,
     NULL,
     "cert-weak-key",
     "the key of the certificate is too weak (1024 bits"},
    {"1024-bit key of the intermediate", GOOD, BY_WEAK_KEY, NULL, "cert-weak-key",
     "the key of its authority \"Weak Authority\" is too weak (1024 bits"},
    {"NUL in the name",
     {.cn = "x", .san = {HOST "\0.evil.test"}, .san_len = {sizeof HOST + 10}},
     BY_ROOT,
     NULL,
     "cert-nul",
     "a name in it holds a NUL byte"},
    {"NUL in the name beside the right one",
     {.cn = "x", .san = {HOST, "a\0.evil.test"}, .san_len = {0, 12}},
     BY_ROOT,
     NULL,
     "cert-nul",
     "a name in it holds a NUL byte"},
    {"escape codes in a name",
     {.cn = "x", .san = {"\x1b[2Jevil.test"}},
     BY_ROOT,
     NULL,
     "cert-host",
     "but for \\x1B[2Jevil.test"},
    {"wrong purpose",
     {.cn = "x", .san = {HOST}, .purpose = "clientAuth"},
     BY_ROOT,
     NULL,
     "cert",
     "purpose"},
};

Test(tls, certificates)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(trust_cases); i++) {
        const char *name = trust_cases[i].name;
        struct cert leaf;
        char fingerprint[65];
        struct attempt a = {.ca_file = root_file, .host = trust_cases[i].host};
        attempt_run(&a, chain_ctx(trust_cases[i].chain, &trust_cases[i].spec, &leaf));
        cert_fingerprint(&leaf, fingerprint);
        if (!trust_cases[i].reason) {
            cr_expect_eq(a.rc, MH_OK, "%s: %s", name, a.err.text);
            cr_expect(a.was_served, "%s", name);
            cr_expect_str_eq(a.info.fingerprint, fingerprint, "%s", name);
            continue;
        }
        cr_expect_eq(a.rc, MH_EMAILBOX, "%s: %s %s", name, mh_code_name(a.rc), a.err.text);
        cr_expect_not(a.was_served, "%s: something was sent", name);
        cr_expect(a.err.reason && strcmp(a.err.reason, trust_cases[i].reason) == 0, "%s: %s (%s)",
                  name, a.err.reason, a.err.text);
        cr_expect(!trust_cases[i].words || strstr(a.err.text, trust_cases[i].words), "%s: %s", name,
                  a.err.text);
        const char *pin = strstr(a.err.text, "?pin=sha256:");
        cr_expect(pin && strcmp(pin + 12, fingerprint) == 0, "%s: %s", name, a.err.text);
        cr_expect_str_eq(a.err.layer, "tls");
    }
}

/* --- the certificates that servers under test use as well ------------------------------------ */

enum { CASE_FIELD_BYTES = 64 };

struct kit_case {
    char cert[CASE_FIELD_BYTES];
    char host[CASE_FIELD_BYTES];
    char verdict[CASE_FIELD_BYTES];
};

static SSL_CTX *kit_ctx(const char *dir, const char *name)
{
    char path[256];
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_security_level(ctx, 0);
    (void)snprintf(path, sizeof path, "%s/%s.crt", dir, name);
    cr_assert_eq(SSL_CTX_use_certificate_chain_file(ctx, path), 1, "%s", path);
    (void)snprintf(path, sizeof path, "%s/%s.key", dir, name);
    cr_assert_eq(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM), 1, "%s", path);
    return ctx;
}

static void kit_case_run(const char *dir, const struct kit_case *k)
{
    char root_path[256];
    (void)snprintf(root_path, sizeof root_path, "%s/ca.crt", dir);
    struct attempt a = {.ca_file = root_path, .host = k->host};
    attempt_run(&a, kit_ctx(dir, k->cert));
    int expected = strcmp(k->verdict, "pass") == 0 ? MH_OK : MH_EMAILBOX;
    cr_expect_eq(a.rc, expected, "%s as %s: %s", k->cert, k->host, a.err.text);
    cr_expect_eq(a.was_served, expected == MH_OK, "%s as %s", k->cert, k->host);
}

Test(tls, certificates_of_the_kit)
{
    const char *source = getenv("MH_SOURCE");
    char text[512];
    char line[512];
    int cases = 0;
    scratch_make();
    (void)snprintf(text, sizeof text, "sh %s/tests/tools/certkit.sh %s", source ? source : ".",
                   scratch_dir);
    cr_assert_eq(system(text), 0, "%s", text);
    (void)snprintf(text, sizeof text, "%s/cases.tsv", scratch_dir);
    FILE *f = fopen(text, "r");
    cr_assert_not_null(f, "%s", text);
    while (fgets(line, sizeof line, f)) {
        struct kit_case k;
        cr_assert_eq(sscanf(line, "%63s %63s %63s", k.cert, k.host, k.verdict), 3, "%s", line);
        kit_case_run(scratch_dir, &k);
        cases++;
    }
    cr_assert_geq(cases, 19);
    (void)fclose(f);
    scratch_drop();
}

Test(tls, the_dates_of_a_refusal)
{
    struct cert leaf;
    struct attempt a = {.ca_file = root_file};
    struct cert_spec spec = {.cn = "x", .san = {HOST}, .from_s = -9 * DAY_S, .until_s = -DAY_S};
    attempt_run(&a, chain_ctx(BY_ROOT, &spec, &leaf));
    struct tm tm;
    char words[64];
    cr_assert_eq(ASN1_TIME_to_tm(X509_get0_notAfter(leaf.x), &tm), 1);
    cr_assert_gt(strftime(words, sizeof words, "it expired on %Y-%m-%d %H:%M:%S UTC;", &tm), 0);
    cr_assert(strstr(a.err.text, words), "%s", a.err.text);
}

Test(tls, info_of_a_good_connection)
{
    struct cert leaf;
    struct attempt a = {.ca_file = root_file};
    attempt_run(&a, chain_ctx(BY_ROOT, &(struct cert_spec)GOOD, &leaf));
    cr_assert(a.info.tls);
    cr_assert_str_eq(a.info.tls_version, "TLSv1.3");
    cr_assert(strncmp(a.info.tls_cipher, "TLS_", 4) == 0, "%s", a.info.tls_cipher);
    int64_t in_days = (a.info.cert_not_after - mh_clock_wall_s() + DAY_S / 2) / DAY_S;
    cr_assert_eq(in_days, 30);
    cr_assert_not(a.info.tls_resumed);
}

/* A system whose roots hold ours. */
Test(tls, the_systems_roots)
{
    struct cert leaf;
    struct attempt a = {0};
    cr_assert_eq(setenv("SSL_CERT_FILE", root_file, 1), 0);
    cr_assert_eq(setenv("SSL_CERT_DIR", "/nonexistent", 1), 0);
    attempt_run(&a, chain_ctx(BY_INTER, &(struct cert_spec)GOOD, &leaf));
    cr_assert_eq(a.rc, MH_OK, "%s", a.err.text);
}

Test(tls, a_system_without_roots_says_so)
{
    struct cert leaf;
    struct attempt a = {0};
    cr_assert_eq(setenv("SSL_CERT_FILE", "/nonexistent", 1), 0);
    cr_assert_eq(setenv("SSL_CERT_DIR", "/nonexistent", 1), 0);
    attempt_run(&a, chain_ctx(BY_INTER, &(struct cert_spec)GOOD, &leaf));
    cr_assert_eq(a.rc, MH_EMAILBOX);
    cr_assert(strstr(a.err.text, "install ca-certificates"), "%s", a.err.text);
}

/* ?ca= may name the server's own certificate. */
Test(tls, a_self_signed_certificate_as_ca_file)
{
    struct cert leaf;
    char file[] = "/tmp/mh-net-leaf-XXXXXX";
    struct attempt a = {.ca_file = file};
    SSL_CTX *ctx = chain_ctx(BY_ITSELF, &(struct cert_spec)GOOD, &leaf);
    cert_write(&leaf, file);
    attempt_run(&a, ctx);
    cr_expect_eq(a.rc, MH_OK, "%s", a.err.text);
    /* … but not for another host. */
    struct attempt b = {.ca_file = file, .host = "other.example.test"};
    attempt_run(&b, server_ctx(&leaf, NULL, NULL));
    cr_expect_eq(b.rc, MH_EMAILBOX);
    cr_expect_str_eq(b.err.reason, "cert-host");
    (void)unlink(file);
}

/* --- pins ------------------------------------------------------------------------------------ */

Test(tls, a_pin_takes_the_place_of_the_chain)
{
    struct cert leaf;
    char pin[65];
    struct attempt a = {.pin = pin};
    SSL_CTX *ctx = chain_ctx(BY_ITSELF, &(struct cert_spec){.cn = "whoever"}, &leaf);
    cert_fingerprint(&leaf, pin);
    for (char *p = pin; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    attempt_run(&a, ctx);
    cr_expect_eq(a.rc, MH_OK, "%s", a.err.text);
    cr_expect(a.was_served);
}

Test(tls, a_pin_refuses_every_other_certificate)
{
    struct cert leaf;
    char pin[65];
    char fingerprint[65];
    cert_fingerprint(&root, pin);
    struct attempt a = {.pin = pin, .ca_file = root_file};
    attempt_run(&a, chain_ctx(BY_ROOT, &(struct cert_spec)GOOD, &leaf));
    cert_fingerprint(&leaf, fingerprint);
    cr_expect_eq(a.rc, MH_EMAILBOX);
    cr_expect_not(a.was_served);
    cr_expect_str_eq(a.err.reason, "cert-pin");
    cr_expect(strstr(a.err.text, "it is not the pinned one"), "%s", a.err.text);
    cr_expect(strstr(a.err.text, fingerprint), "%s", a.err.text);
}

static const struct {
    const char *ca_file;
    const char *pin;
    const char *words;
} usage_cases[] = {
    {NULL, "abc", "the pin is not a SHA-256 fingerprint"},
    {NULL, "g123456789012345678901234567890123456789012345678901234567890123", "64 hex digits"},
    {"/nonexistent/ca.pem", NULL, "cannot read ?ca=/nonexistent/ca.pem: No such file"},
    {"/dev/null", NULL, "?ca=/dev/null holds no certificate in PEM form"},
};

static void usage_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = NULL;
    struct mh_err err;
    w->cfg.port = 1; /* nobody there: it must not get that far */
    for (size_t i = 0; i < MH_ARRAY_LEN(usage_cases); i++) {
        for (int tls = 0; tls < 2; tls++) {
            w->cfg.tls = tls;
            w->cfg.ca_file = usage_cases[i].ca_file;
            w->cfg.pin = usage_cases[i].pin;
            cr_expect_eq(mh_conn_open(&w->cfg, &c, &err), MH_EUSAGE, "%s", usage_cases[i].words);
            cr_expect(strstr(err.text, usage_cases[i].words), "%s", err.text);
        }
    }
}

Test(tls, settings_that_cannot_work_are_said_before_connecting)
{
    world_run_plain(NULL, usage_main);
}

/* --- servers that cannot or will not --------------------------------------------------------- */

static SSL_CTX *versions_ctx(const struct cert *leaf, int min, int max)
{
    SSL_CTX *ctx = server_ctx(leaf, NULL, NULL);
    cr_assert_eq(SSL_CTX_set_min_proto_version(ctx, min), 1);
    cr_assert_eq(SSL_CTX_set_max_proto_version(ctx, max), 1);
    return ctx;
}

static const struct {
    const char *name;
    int max;
    const char *version; /* NULL: refused */
} version_cases[] = {
    {"TLS 1.0 only", TLS1_VERSION, NULL},
    {"TLS 1.1 only", TLS1_1_VERSION, NULL},
    {"TLS 1.2", TLS1_2_VERSION, "TLSv1.2"},
    {"TLS 1.3", TLS1_3_VERSION, "TLSv1.3"},
};

Test(tls, versions)
{
    struct cert leaf = leaf_of(&root);
    for (size_t i = 0; i < MH_ARRAY_LEN(version_cases); i++) {
        struct attempt a = {.ca_file = root_file};
        attempt_run(&a, versions_ctx(&leaf, TLS1_VERSION, version_cases[i].max));
        if (version_cases[i].version) {
            cr_expect_eq(a.rc, MH_OK, "%s: %s", version_cases[i].name, a.err.text);
            cr_expect_str_eq(a.info.tls_version, version_cases[i].version);
            continue;
        }
        cr_expect_eq(a.rc, MH_EMAILBOX, "%s: %s", version_cases[i].name, a.err.text);
        cr_expect_str_eq(a.err.reason, "tls-too-old", "%s", a.err.text);
        cr_expect(strstr(a.err.text, "nothing newer than TLS 1.1"), "%s", a.err.text);
        cr_expect_not(a.was_served);
    }
}

struct talk {
    struct world w;
    const char *says;
    int rc;
    const char *reason;
    const char *words;
    struct mh_err err;
};

static void serve_words(struct peer *p, int fd)
{
    const struct talk *t = p->arg;
    peer_sends(fd, t->says);
    if (!t->says[0])
        (void)shutdown(fd, SHUT_WR);
    peer_end(fd);
}

static void talk_main(void *arg)
{
    struct talk *t = arg;
    struct mh_conn *c = NULL;
    world_trust(&t->w);
    t->w.cfg.timeout_ms = 200;
    int rc = mh_conn_open(&t->w.cfg, &c, &t->err);
    cr_expect_eq(rc, t->rc, "%s: %s", t->says, t->err.text);
    cr_expect(strstr(t->err.text, t->words), "%s: %s", t->says, t->err.text);
    cr_expect(!t->reason || (t->err.reason && strcmp(t->err.reason, t->reason) == 0), "%s: %s",
              t->says, t->err.reason);
    cr_expect(strstr(t->err.where, HOST), "%s", t->err.where);
}

Test(tls, what_speaks_no_tls)
{
    struct talk cases[] = {
        {.says = "* OK IMAP4rev1 ready\r\n",
         .rc = MH_EMAILBOX,
         .reason = "not-tls",
         .words = "does not speak TLS on this port"},
        {.says = "HTTP/1.1 400 Bad Request\r\n\r\n",
         .rc = MH_EMAILBOX,
         .reason = "not-tls",
         .words = "does not speak TLS on this port"},
        {.says = "",
         .rc = MH_ERETRY,
         .words = "closed the connection in the middle of the TLS handshake"},
        {.says = "\x16\x03\x03", .rc = MH_ERETRY, .words = "handshake was not done within"},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        cases[i].w.peer.arg = &cases[i];
        world_run(&cases[i].w, serve_words, talk_main);
    }
}

static void serve_alert(struct peer *p, int fd)
{
    static const unsigned char alerts[][7] = {
        {0x15, 3, 3, 0, 2, 2, 40},  /* handshake_failure */
        {0x15, 3, 3, 0, 2, 2, 80},  /* internal_error */
        {0x15, 3, 3, 0, 2, 2, 70},  /* protocol_version */
        {0x15, 3, 3, 0, 2, 1, 112}, /* unrecognized_name, a warning, then nothing */
    };
    char hello[5];
    peer_recv(fd, hello, sizeof hello);
    peer_check(peer_send(fd, alerts[p->served], 7));
    (void)shutdown(fd, SHUT_WR);
    peer_end(fd);
}

static void alerts_main(void *arg)
{
    static const struct {
        int rc;
        const char *words;
    } expected[] = {
        {MH_EMAILBOX, "found no TLS parameters it shares with us"},
        {MH_ERETRY, "alert internal error"},
        {MH_EMAILBOX, "nothing newer than TLS 1.1"},
        {MH_ERETRY, "closed the connection in the middle of the TLS handshake"},
    };
    struct world *w = arg;
    world_trust(w);
    for (size_t i = 0; i < MH_ARRAY_LEN(expected); i++) {
        struct mh_conn *c = NULL;
        struct mh_err err;
        int rc = mh_conn_open(&w->cfg, &c, &err);
        cr_expect_eq(rc, expected[i].rc, "%zu: %s %s", i, mh_code_name(rc), err.text);
        cr_expect(strstr(err.text, expected[i].words), "%zu: %s", i, err.text);
    }
}

Test(tls, alerts_in_words)
{
    struct world w = {.peer = {.connections = 4}};
    world_run(&w, serve_alert, alerts_main);
}

/* --- STARTTLS -------------------------------------------------------------------------------- */

static void serve_starttls(struct peer *p, int fd)
{
    peer_sends(fd, "* OK ready\r\n");
    peer_expect(fd, "a STARTTLS\r\n");
    peer_sends(fd, "a OK begin\r\n");
    SSL *ssl = peer_tls(p, fd);
    peer_check(ssl != NULL);
    peer_tls_expect(ssl, "login");
    peer_tls_send(ssl, "OK", 2);
    peer_tls_end(ssl, fd);
}

static void starttls_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    world_trust(w);
    w->cfg.tls = false;
    struct mh_conn *c = world_open(w);
    must_read(c, "* OK ready\r\n");
    must_write(c, "a STARTTLS\r\n");
    must_read(c, "a OK begin\r\n");
    must(mh_conn_start_tls(c, &err), &err);
    cr_assert(mh_conn_info(c)->tls);
    must_write(c, "login");
    must_read(c, "OK");
    mh_conn_close(c);
}

Test(tls, starttls)
{
    trusted_run(serve_starttls, starttls_main);
}

/* What follows the reply in the clear is never taken for the server's word. */
static void serve_injection(struct peer *p, int fd)
{
    char buf[64];
    peer_expect(fd, "a STARTTLS\r\n");
    peer_sends(fd, "a OK begin\r\n");
    if (p->served == 0) {
        peer_expect(fd, "+"); /* the reply was read alone */
    }
    peer_sends(fd, "* CAPABILITY IMAP4rev1\r\n");
    atomic_store(&p->progress, (int)p->served + 1);
    peer_check(recv(fd, buf, sizeof buf, 0) <= 0); /* not even a ClientHello */
    (void)close(fd);
}

static void after_refused_starttls(struct mh_conn *c)
{
    struct mh_err err;
    struct mh_slice slice;
    cr_expect_eq(mh_conn_write_text(c, "a LOGIN", 7, &err), MH_EMAILBOX,
                 "no way back to plaintext");
    cr_expect_eq(mh_conn_write_secret(c, "x", 1, &err), MH_EMAILBOX);
    cr_expect_eq(mh_conn_read(c, &slice, &err), MH_EMAILBOX);
    cr_expect_eq(mh_conn_queued_bytes(c), 0);
    mh_conn_close(c);
}

static void injection_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    struct mh_slice slice;
    world_trust(w);
    w->cfg.tls = false;

    /* First: they wait at the socket. */
    struct mh_conn *c = world_open(w);
    must_write(c, "a STARTTLS\r\n");
    must_read(c, "a OK begin\r\n");
    must_write(c, "+");
    must(mh_conn_drain(c, &err), &err);
    while (atomic_load(&w->peer.progress) != 1)
        mh_yield();
    cr_assert_eq(mh_conn_start_tls(c, &err), MH_EMAILBOX);
    cr_assert_str_eq(err.reason, "starttls-injection");
    cr_assert(strstr(err.text, "more bytes in the clear"), "%s", err.text);
    after_refused_starttls(c);

    /* Second: they came with the reply, and the reader gives them back. */
    c = world_open(w);
    must_write(c, "a STARTTLS\r\n");
    while (atomic_load(&w->peer.progress) != 2)
        mh_yield();
    must(mh_conn_read(c, &slice, &err), &err);
    cr_assert_eq(slice.len, 36, "one segment: %u", slice.len);
    mh_conn_unread(c, mh_slice_sub(&slice, 12, slice.len - 12));
    mh_slice_drop(&slice);
    cr_assert_eq(mh_conn_start_tls(c, &err), MH_EMAILBOX);
    cr_assert_str_eq(err.reason, "starttls-injection");
    after_refused_starttls(c);
}

Test(tls, starttls_with_injected_bytes)
{
    struct world w = {.peer = {.connections = 2}};
    world_run(&w, serve_injection, injection_main);
}

static void serve_starttls_refused(struct peer *p, int fd)
{
    peer_expect(fd, "a STARTTLS\r\n");
    peer_sends(fd, "a OK begin\r\n");
    SSL *ssl = peer_tls(p, fd);
    if (ssl) { /* TLS 1.3: done on this side; the refusal follows */
        char buf[10];
        size_t n = 0;
        peer_check(SSL_read_ex(ssl, buf, sizeof buf, &n) != 1);
        SSL_free(ssl);
    }
    ERR_clear_error();
    peer_end(fd);
}

static void starttls_refused_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    world_trust(w);
    w->cfg.tls = false;
    struct mh_conn *c = world_open(w);
    must_write(c, "a STARTTLS\r\n");
    must_read(c, "a OK begin\r\n");
    cr_assert_eq(mh_conn_start_tls(c, &err), MH_EMAILBOX);
    cr_assert_str_eq(err.reason, "cert-self-signed");
    after_refused_starttls(c);
}

Test(tls, starttls_with_a_bad_certificate)
{
    struct cert leaf = leaf_of(NULL);
    struct world w = {.peer = {.ctx = server_ctx(&leaf, NULL, NULL)}};
    world_run(&w, serve_starttls_refused, starttls_refused_main);
    SSL_CTX_free(w.peer.ctx);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void serve_then_close(struct peer *p, int fd)
{
    SSL *ssl = peer_tls(p, fd);
    peer_check(ssl != NULL);
    peer_tls_send(ssl, "* BYE\r\n", 7);
    if (p->served == 1)
        (void)SSL_shutdown(ssl);
    if (p->served == 2)
        peer_check(peer_send(fd, "\x17\x03\x03\x00\x40torn", 9)); /* half a record */
    if (p->served == 3)
        peer_check(peer_send(fd,
                             "\x17\x03\x03\x00\x14"
                             "01234567890123456789",
                             25)); /* forged */
    SSL_free(ssl);
    (void)shutdown(fd, SHUT_WR);
    peer_end(fd);
}

static void ends_main(void *arg)
{
    static const char *const words[] = {
        "the connection ended without TLS close_notify",
        "the server closed the connection",
        "the connection ended without TLS close_notify",
        "TLS failed: decryption failed or bad record mac",
    };
    struct world *w = arg;
    struct mh_err err;
    world_trust(w);
    for (size_t i = 0; i < MH_ARRAY_LEN(words); i++) {
        struct mh_conn *c = world_open(w);
        must_read(c, "* BYE\r\n");
        must_end(c, MH_ERETRY, words[i]);
        must_end(c, MH_ERETRY, words[i]);
        if (i == 3) {
            cr_expect_eq(mh_conn_write_text(c, "x", 1, &err), MH_OK, "only queued");
            cr_expect_eq(mh_conn_drain(c, &err), MH_ERETRY);
        }
        mh_conn_close(c);
    }
}

Test(tls, truncation_is_told_from_a_goodbye)
{
    struct cert leaf = leaf_of(&root);
    struct world w = {.peer = {.ctx = server_ctx(&leaf, NULL, NULL), .connections = 4}};
    world_run(&w, serve_then_close, ends_main);
    SSL_CTX_free(w.peer.ctx);
}

/* --- bytes ----------------------------------------------------------------------------------- */

/* Passes what the two ends say through a pipe of one byte at a time. */
struct relay {
    int from, to;
};

static void *relay_main(void *arg)
{
    const struct relay *r = arg;
    char byte = 0;
    while (recv(r->from, &byte, 1, 0) == 1) {
        if (!peer_send(r->to, &byte, 1))
            break;
    }
    (void)shutdown(r->to, SHUT_WR);
    return NULL;
}

static void serve_byte_relay(struct peer *p, int fd)
{
    int pair[2];
    int one = 1;
    pthread_t threads[2];
    peer_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    peer_check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    struct relay in = {fd, pair[0]};
    struct relay out = {pair[0], fd};
    peer_check(pthread_create(&threads[0], NULL, relay_main, &in) == 0);
    peer_check(pthread_create(&threads[1], NULL, relay_main, &out) == 0);
    SSL *ssl = peer_tls(p, pair[1]);
    peer_check(ssl != NULL);
    for (int i = 0; i < 20; i++) {
        peer_tls_expect(ssl, "a1 NOOP\r\n");
        peer_tls_send(ssl, "a1 OK\r\n", 7);
    }
    peer_tls_end(ssl, pair[1]);
    peer_check(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[1], NULL) == 0);
    (void)close(pair[0]);
    (void)close(fd);
}

static void bytes_main(void *arg)
{
    struct world *w = arg;
    world_trust(w);
    struct mh_conn *c = world_open(w);
    for (int i = 0; i < 20; i++) {
        must_write(c, "a1 NOOP\r\n");
        must_read(c, "a1 OK\r\n");
    }
    mh_conn_close(c);
}

Test(tls, one_byte_at_a_time)
{
    trusted_run(serve_byte_relay, bytes_main);
}

/* Echoes, record by record, and asks for new keys in between. */
static void serve_echo_with_updates(struct peer *p, int fd)
{
    char buf[16384];
    SSL *ssl = peer_tls(p, fd);
    peer_check(ssl != NULL);
    size_t n = 0;
    for (unsigned i = 1; SSL_read_ex(ssl, buf, sizeof buf, &n) == 1; i++) {
        if (i % 16 == 0 && SSL_version(ssl) == TLS1_3_VERSION)
            peer_check(SSL_key_update(ssl, i % 32 ? SSL_KEY_UPDATE_REQUESTED
                                                  : SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
        peer_tls_send(ssl, buf, n);
    }
    peer_check(SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN);
    SSL_free(ssl);
    (void)close(fd);
}

#define ECHO_BYTES 9000001u

static void echo_main(void *arg)
{
    struct world *w = arg;
    world_trust(w);
    struct mh_conn *c = world_open(w);
    must_echo_pattern(w, ECHO_BYTES);
    mh_conn_close(c);
}

Test(tls, megabytes_both_ways_with_key_updates)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct cert leaf = leaf_of(&root);
    for (int i = 0; i < 2; i++) {
        struct world w = {.peer = {.ctx = versions_ctx(&leaf, TLS1_2_VERSION, versions[i])}};
        world_run(&w, serve_echo_with_updates, echo_main);
        SSL_CTX_free(w.peer.ctx);
    }
}

static void serve_tls_late(struct peer *p, int fd)
{
    static unsigned char buf[65536];
    SSL *ssl = peer_tls(p, fd);
    size_t n = 0;
    peer_check(ssl != NULL);
    while (!atomic_load(&p->go))
        (void)sched_yield();
    size_t total = 0;
    while (SSL_read_ex(ssl, buf, sizeof buf, &n) == 1) {
        for (size_t i = 0; i < n; i++)
            peer_check(buf[i] == pattern((total + i) % MH_SLAB_BYTES));
        total += n;
    }
    peer_check(SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN);
    peer_check(total == *(size_t *)p->arg);
    SSL_free(ssl);
    (void)close(fd);
}

static void backpressure_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    size_t written = 0;
    world_trust(w);
    struct mh_conn *c = world_open(w);
    c->timeout_ms = 150;
    int rc = MH_OK;
    while (rc == MH_OK) {
        struct mh_slab *slab = mh_slab_get(w->pool);
        cr_assert_not_null(slab);
        pattern_fill(slab->data, MH_SLAB_BYTES, 0);
        rc = mh_conn_write_take(c, mh_slice_of(slab, 0, MH_SLAB_BYTES), &err);
        mh_slab_unref(slab);
        written += rc == MH_OK ? MH_SLAB_BYTES : 0;
        cr_assert_leq(mh_conn_queued_bytes(c), MH_CONN_OUTQ_BYTES + MH_LOOP_BLOCK_BYTES);
    }
    cr_assert_eq(rc, MH_ERETRY);
    cr_assert_leq(slabs_peak(w), MH_CONN_OUTQ_BYTES / MH_SLAB_BYTES + 2);
    *(size_t *)w->peer.arg = written;
    c->timeout_ms = 20000;
    atomic_store(&w->peer.go, 1);
    must(mh_conn_drain(c, &err), &err);
    mh_conn_close(c);
}

Test(tls, a_peer_that_reads_nothing_holds_the_writer)
{
    size_t expected = 0;
    struct cert leaf = leaf_of(&root);
    struct world w = {.peer = {.ctx = server_ctx(&leaf, NULL, NULL), .arg = &expected}};
    world_run(&w, serve_tls_late, backpressure_main);
    SSL_CTX_free(w.peer.ctx);
}

static void serve_tls_collect(struct peer *p, int fd)
{
    SSL *ssl = peer_tls(p, fd);
    peer_check(ssl != NULL);
    for (int i = 0; i < 100; i++)
        peer_tls_expect(ssl, "a1 APPEND x {7+}\r\nMESSAGE\r\n");
    peer_tls_send(ssl, "OK", 2);
    peer_tls_end(ssl, fd);
}

static void gather_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    world_trust(w);
    struct mh_conn *c = world_open(w);
    struct mh_slab *slab = mh_slab_get(w->pool);
    memcpy(slab->data, "MESSAGE", 7);
    must(mh_conn_drain(c, &err), &err);
    uint64_t writes = mh_net_counters(w->net)->writes;
    for (int i = 0; i < 100; i++) {
        must_write(c, "a1 APPEND x {7+}\r\n");
        must(mh_conn_write_take(c, mh_slice_of(slab, 0, 7), &err), &err);
        must_write(c, "\r\n");
    }
    must_read(c, "OK");
    cr_assert_eq(mh_net_counters(w->net)->writes - writes, 1, "300 pieces, one system call");
    mh_slab_unref(slab);
    mh_conn_close(c);
}

Test(tls, small_records_leave_together)
{
    trusted_run(serve_tls_collect, gather_main);
}

/* Nothing but tickets, until the client has had enough. */
static void serve_tickets(struct peer *p, int fd)
{
    SSL *ssl = peer_tls(p, fd);
    peer_check(ssl != NULL);
    /* OpenSSL itself forgives a client that is gone while tickets are sent: look at the socket. */
    for (struct pollfd gone = {.fd = fd}; poll(&gone, 1, 0) == 0;)
        peer_check(SSL_new_session_ticket(ssl) == 1 && SSL_do_handshake(ssl) == 1);
    ERR_clear_error();
    SSL_free(ssl);
    (void)close(fd);
}

static void tickets_main(void *arg)
{
    struct world *w = arg;
    world_trust(w);
    struct mh_conn *c = world_open(w);
    must_end(c, MH_ERETRY, "TLS control messages without end");
    mh_conn_close(c);
}

Test(tls, a_flood_of_tickets_ends)
{
    trusted_run(serve_tickets, tickets_main);
}

/* --- a write in the middle of the server's control message ------------------------------------ */

/* TLS on FD, pumped by hand, so that records can be held back. */
static void pump_out(SSL *ssl, int fd)
{
    char buf[16384];
    int n = 0;
    while ((n = BIO_read(SSL_get_wbio(ssl), buf, sizeof buf)) > 0)
        peer_check(peer_send(fd, buf, (size_t)n));
}

static void pump_in(SSL *ssl, int fd)
{
    char buf[4096];
    ssize_t n = recv(fd, buf, sizeof buf, 0);
    peer_check(n > 0 && BIO_write(SSL_get_rbio(ssl), buf, (int)n) == n);
}

/* Makes a ticket of several records. */
static int big_ticket(SSL *ssl, void *arg)
{
    static const char data[2000] = {0};
    (void)arg;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), data, sizeof data);
}

static void serve_torn_ticket(struct peer *p, int fd)
{
    SSL *ssl = SSL_new(p->ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    while (SSL_accept(ssl) != 1) {
        pump_out(ssl, fd);
        pump_in(ssl, fd);
    }
    pump_out(ssl, fd);
    peer_check(SSL_new_session_ticket(ssl) == 1 && SSL_do_handshake(ssl) == 1);
    char ticket[8192];
    int len = BIO_read(SSL_get_wbio(ssl), ticket, sizeof ticket);
    int first = 5 + ((unsigned char)ticket[3] << 8 | (unsigned char)ticket[4]);
    peer_check(len > 2 * first); /* three records at least */
    peer_check(peer_send(fd, ticket, (size_t)first));
    while (!atomic_load(&p->go))
        (void)sched_yield();
    peer_check(peer_send(fd, ticket + first, (size_t)(len - first)));
    char text[5];
    size_t n = 0;
    while (SSL_read_ex(ssl, text, sizeof text, &n) != 1)
        pump_in(ssl, fd);
    peer_check(n == 5 && memcmp(text, "login", 5) == 0);
    peer_tls_send(ssl, "OK", 2);
    pump_out(ssl, fd);
    (void)peer_drain(fd);
    SSL_free(ssl);
    (void)close(fd);
}

static void torn_reader(void *arg)
{
    struct world *w = arg;
    must_read(w->conn, "OK");
}

static void torn_main(void *arg)
{
    struct world *w = arg;
    world_trust(w);
    w->cfg.timeout_ms = 0; /* nothing but the right event helps */
    struct mh_conn *c = world_open(w);
    struct mh_task *reader = world_spawn(w, torn_reader, w);
    while (!SSL_in_init(c->tls->ssl))
        mh_yield();
    must_write(c, "login");
    while (!c->tls->write_wants_input)
        mh_yield();
    cr_assert_eq(mh_conn_queued_bytes(c), 5);
    atomic_store(&w->peer.go, 1);
    mh_task_join(reader);
    cr_assert_eq(mh_conn_queued_bytes(c), 0);
    mh_conn_close(c);
}

Test(tls, a_write_waits_for_the_rest_of_a_control_message)
{
    struct cert leaf = leaf_of(&root);
    struct world w = {.peer = {.ctx = server_ctx(&leaf, NULL, NULL)}};
    cr_assert_eq(SSL_CTX_set_max_send_fragment(w.peer.ctx, 512), 1);
    cr_assert_eq(SSL_CTX_set_num_tickets(w.peer.ctx, 0), 1);
    cr_assert_eq(SSL_CTX_set_session_ticket_cb(w.peer.ctx, big_ticket, NULL, NULL), 1);
    world_run(&w, serve_torn_ticket, torn_main);
    SSL_CTX_free(w.peer.ctx);
}

/* --- memory ---------------------------------------------------------------------------------- */

static void serve_many_pings(struct peer *p, int fd)
{
    SSL *ssl = peer_tls(p, fd);
    peer_check(ssl != NULL);
    for (int i = 0; i < 1000; i++) {
        peer_tls_expect(ssl, "a1 NOOP\r\n");
        peer_tls_send(ssl, "a1 OK\r\n", 7);
    }
    peer_tls_end(ssl, fd);
}

static void pings_main(void *arg)
{
    struct world *w = arg;
    uint64_t calls = 0;
    world_trust(w);
    struct mh_conn *c = world_open(w);
    for (int i = 0; i < 1000; i++) {
        must_write(c, "a1 NOOP\r\n");
        must_read(c, "a1 OK\r\n");
        if (i == 100)
            calls = mh_mem_calls();
    }
    cr_assert_eq(mh_mem_calls(), calls, "no allocation of ours once warm");
    cr_assert_eq(mh_sleep_until(mh_now_ms() + 20), MH_OK);
    must_hold_no_slab(w);
    cr_assert_null(c->tls->block);
    mh_conn_close(c);
}

Test(tls, no_allocation_once_warm_and_nothing_held_at_rest)
{
    trusted_run(serve_many_pings, pings_main);
}

static void serve_any(struct peer *p, int fd)
{
    SSL *ssl = peer_tls(p, fd);
    char byte = 0;
    size_t n = 0;
    if (ssl && SSL_read_ex(ssl, &byte, 1, &n) == 1)
        (void)SSL_write_ex(ssl, &byte, 1, &n);
    ERR_clear_error();
    SSL_free(ssl);
    peer_end(fd);
}

static void nth_main(void *arg)
{
    struct world *w = arg;
    int failures = 0;
    world_trust(w);
    for (uint64_t nth = 1; nth <= 30; nth++) {
        struct mh_conn *c = NULL;
        struct mh_err err;
        struct mh_slice slice = {NULL, 0, 0};
        mh_err_reset(&err);
        mh_mem_fail_nth(nth);
        int rc = mh_conn_open(&w->cfg, &c, &err);
        if (rc == MH_OK)
            rc = mh_conn_write_text(c, "x", 1, &err);
        if (rc == MH_OK)
            rc = mh_conn_drain(c, &err);
        if (rc == MH_OK)
            rc = mh_conn_read(c, &slice, &err);
        mh_mem_fail_nth(0);
        mh_slice_drop(&slice);
        mh_conn_close(c);
        cr_assert(rc == MH_OK || rc == MH_ERUN, "%llu: %s: %s", (unsigned long long)nth,
                  mh_code_name(rc), err.text);
        failures += rc != MH_OK;
    }
    cr_assert_geq(failures, 5);
    /* Wakes the server where a failed attempt did not get as far as connecting. */
    atomic_store(&w->peer.go, 1);
    int fd = -1;
    struct mh_addrs addrs;
    struct mh_err err;
    char peer[MH_ADDR_TEXT_BYTES];
    must(mh_resolve("127.0.0.1", w->peer.port, &addrs, &err), &err);
    while (mh_dial(&addrs, 1000, &fd, peer, &err) == MH_OK) {
        (void)close(fd);
        if (atomic_load(&w->peer.progress))
            break;
    }
}

static void serve_until_told(struct peer *p, int fd)
{
    if (atomic_load(&p->go)) {
        atomic_store(&p->progress, 1);
        p->connections = p->served + 1;
        (void)close(fd);
        return;
    }
    serve_any(p, fd);
}

Test(tls, every_allocation_may_fail)
{
    struct cert leaf = leaf_of(&root);
    struct world w = {.peer = {.ctx = server_ctx(&leaf, NULL, NULL), .connections = 1000}};
    world_run(&w, serve_until_told, nth_main);
    SSL_CTX_free(w.peer.ctx);
}

/* --- resumption ------------------------------------------------------------------------------ */

static void serve_session(struct peer *p, int fd)
{
    SSL *ssl = peer_tls(p, fd);
    peer_check(ssl != NULL);
    peer_tls_send(ssl, SSL_session_reused(ssl) ? "resumed" : "in full", 7);
    peer_tls_end(ssl, fd);
}

static void session(struct world *w, bool is_resumed)
{
    struct mh_conn *c = world_open(w);
    cr_expect_eq(mh_conn_info(c)->tls_resumed, is_resumed);
    cr_expect_eq(strlen(mh_conn_info(c)->fingerprint), 64, "known also without a certificate");
    cr_expect_gt(mh_conn_info(c)->cert_not_after, 0);
    must_read(c, is_resumed ? "resumed" : "in full");
    mh_conn_close(c);
}

static void resumption_main(void *arg)
{
    struct world *w = arg;
    char pin[65];
    char file[] = "/tmp/mh-net-root-XXXXXX";
    const struct cert *leaf = w->arg;
    world_trust(w);
    session(w, false);
    session(w, true);
    session(w, true);
    /* Other settings know nothing of it, nor does another name for the same server. */
    cert_fingerprint(leaf, pin);
    w->cfg.pin = pin;
    session(w, false);
    session(w, true);
    w->cfg.pin = NULL;
    cert_write(&root, file);
    w->cfg.ca_file = file;
    session(w, false);
    w->cfg.ca_file = root_file;
    w->cfg.host = "127.0.0.1";
    session(w, false);
    w->cfg.host = HOST;
    session(w, true);
    cr_expect_eq(mh_net_counters(w->net)->tls_handshakes, 8);
    cr_expect_eq(mh_net_counters(w->net)->tls_resumed, 4);
    (void)unlink(file);
}

Test(tls, a_second_connection_resumes_under_the_same_trust_only)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct cert leaf = leaf_of(&root);
    for (int i = 0; i < 2; i++) {
        struct world w = {
            .arg = &leaf,
            .peer = {.ctx = versions_ctx(&leaf, TLS1_2_VERSION, versions[i]), .connections = 8}};
        world_run(&w, serve_session, resumption_main);
        SSL_CTX_free(w.peer.ctx);
    }
}

/* The server changes its certificate and its ticket keys: verified anew, and refused if it is
 * bad. */
static void changed_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = NULL;
    struct mh_err err;
    world_trust(w);
    session(w, false);
    atomic_store(&w->peer.go, 1);
    cr_assert_eq(mh_conn_open(&w->cfg, &c, &err), MH_EMAILBOX);
    cr_assert_str_eq(err.reason, "cert-self-signed");
}

static void serve_changing(struct peer *p, int fd)
{
    if (p->served == 0) {
        serve_session(p, fd);
        return;
    }
    p->ctx = p->arg;
    SSL *ssl = peer_tls(p, fd);
    if (ssl) {
        char buf[10];
        size_t n = 0;
        peer_check(SSL_read_ex(ssl, buf, sizeof buf, &n) != 1);
        SSL_free(ssl);
    }
    ERR_clear_error();
    (void)close(fd);
}

Test(tls, a_ticket_does_not_excuse_a_new_certificate)
{
    struct cert leaf = leaf_of(&root);
    struct cert bad = leaf_of(NULL);
    SSL_CTX *first = server_ctx(&leaf, NULL, NULL);
    SSL_CTX *second = server_ctx(&bad, NULL, NULL);
    struct world w = {.peer = {.ctx = first, .arg = second, .connections = 2}};
    world_run(&w, serve_changing, changed_main);
    SSL_CTX_free(first);
    SSL_CTX_free(second);
}

/* --- two loops in two threads, one pool, one net --------------------------------------------- */

enum { ROUNDS = 12 };

struct lane {
    struct world w;
    struct peer *peer;
    pthread_t thread;
};

static void lane_main(void *arg)
{
    struct lane *l = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct mh_conn *c = world_open(&l->w);
        must_exchange_pattern(&l->w, 300000);
        mh_conn_close(c);
    }
}

static void *lane_thread(void *arg)
{
    struct lane *l = arg;
    struct mh_err err;
    must(mh_loop_new(&l->w.loop, &err), &err);
    must(mh_task_spawn(mh_loop_sched(l->w.loop), "lane", lane_main, l, NULL, &err), &err);
    mh_sched_run(mh_loop_sched(l->w.loop));
    mh_loop_free(l->w.loop);
    return NULL;
}

Test(tls, two_loops_share_pool_and_net)
{
    static const char *const limit[] = {"200M"};
    struct cert leaf = leaf_of(&root);
    struct peer peers[2] = {{.ctx = server_ctx(&leaf, NULL, NULL)},
                            {.ctx = server_ctx(&leaf, NULL, NULL)}};
    struct lane lanes[2] = {0};
    struct mh_pool *pool = NULL;
    struct mh_net *net = NULL;
    struct mh_timetable *t = NULL;
    struct mh_bucket *bucket = NULL;
    struct mh_err err;
    must(mh_pool_new(POOL_BYTES, &pool, &err), &err);
    must(mh_timetable_parse(limit, 1, &t, &err), &err);
    must(mh_bucket_new(t, &bucket, &err), &err);
    must(mh_net_new(bucket, bucket, &net, &err), &err);
    for (int i = 0; i < 2; i++) {
        peer_start(&peers[i], ROUNDS, serve_echo_with_updates);
        lanes[i].w.pool = pool;
        lanes[i].w.cfg = (struct mh_conn_config){.port = peers[i].port,
                                                 .timeout_ms = 20000,
                                                 .pool = pool,
                                                 .net = net,
                                                 .is_source = i == 0};
        world_trust(&lanes[i].w);
        cr_assert_eq(pthread_create(&lanes[i].thread, NULL, lane_thread, &lanes[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(lanes[i].thread, NULL), 0);
        peer_join(&peers[i]);
        SSL_CTX_free(peers[i].ctx);
    }
    cr_assert_eq(mh_net_counters(net)->bytes_in, 2 * ROUNDS * 300000);
    cr_assert_eq(mh_net_counters(net)->bytes_out, 2 * ROUNDS * 300000);
    mh_net_free(net);
    mh_bucket_free(bucket);
    mh_timetable_free(t);
    mh_pool_free(pool);
}
