/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/trust_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/task.h"
#include "net/tls_priv.h"

/* One read(2) fetches up to four records. */
#define READ_AHEAD_BYTES ((size_t)64 * 1024)

struct mh_ticket {
    struct mh_ticket *next;
    const struct mh_trust *trust; /* borrowed: the same mh_trusts */
    SSL_SESSION *session;         /* owned */
    uint16_t port;
    char host[]; /* as it was verified */
};

void mh_trusts_init(struct mh_trusts *ts)
{
    *ts = (struct mh_trusts){0};
    (void)pthread_mutex_init(&ts->lock, NULL);
}

static void ticket_free(struct mh_ticket *ticket)
{
    SSL_SESSION_free(ticket->session);
    mh_free(ticket);
}

static void trust_free(struct mh_trust *trust)
{
    if (!trust)
        return;
    SSL_CTX_free(trust->ctx);
    mh_free(trust->ca_file);
    mh_free(trust);
}

void mh_trusts_done(struct mh_trusts *ts)
{
    while (ts->tickets) {
        struct mh_ticket *ticket = ts->tickets;
        ts->tickets = ticket->next;
        ticket_free(ticket);
    }
    while (ts->list) {
        struct mh_trust *trust = ts->list;
        ts->list = trust->next;
        trust_free(trust);
    }
    (void)pthread_mutex_destroy(&ts->lock);
}

/* --- contexts -------------------------------------------------------------------------------- */

static int load_roots(SSL_CTX *ctx, const char *ca_file, struct mh_err *err)
{
    if (!ca_file) {
        /* An empty system store shows when the first certificate is looked at. */
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ? MH_OK : mh_err_nomem(err);
    }
    if (access(ca_file, R_OK) != 0)
        return mh_err_sys(err, MH_EUSAGE, "tls", errno, "cannot read ?ca=%.200s", ca_file);
    if (SSL_CTX_load_verify_file(ctx, ca_file) != 1)
        return mh_err_set(
            err, MH_EUSAGE, "tls",
            "?ca=%.200s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", ca_file);
    /* Who names a certificate in a file trusts it, be it a root, an intermediate or the
     * server's. */
    (void)X509_STORE_set_flags(SSL_CTX_get_cert_store(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return MH_OK;
}

/* What every connection wants of TLS, whatever it trusts. */
static void configure(SSL_CTX *ctx)
{
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* 112 bits: no RSA or DH below 2048 bits, no SHA-1 signature. */
    SSL_CTX_set_security_level(ctx, 2);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_set_mode(ctx,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* A read comes back between control messages, so that a flood of them is counted, not
     * served. */
    (void)SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD_BYTES);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, mh_tls_verify, NULL);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL |
                                                  SSL_SESS_CACHE_NO_AUTO_CLEAR);
    SSL_CTX_sess_set_new_cb(ctx, mh_tls_new_session);
    X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(ctx),
                                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
}

struct make_ctx {
    const char *ca_file;
    SSL_CTX *ctx;
    int rc;
    struct mh_err err;
};

static void make_ctx(void *arg)
{
    struct make_ctx *m = arg;
    m->ctx = SSL_CTX_new(TLS_client_method());
    if (!m->ctx) {
        m->rc = mh_err_nomem(&m->err);
        return;
    }
    configure(m->ctx);
    m->rc = load_roots(m->ctx, m->ca_file, &m->err);
    ERR_clear_error();
    if (m->rc != MH_OK) {
        SSL_CTX_free(m->ctx);
        m->ctx = NULL;
    }
}

static bool parse_pin(const char *hex, unsigned char pin[MH_SHA256_BYTES])
{
    if (strlen(hex) != 2 * MH_SHA256_BYTES)
        return false;
    for (size_t i = 0; i < MH_SHA256_BYTES; i++) {
        int high = mh_hex_value(hex[2 * i]);
        int low = mh_hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        pin[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

/* A new entry in *OUT, not yet in the list. waits */
static int trust_new(const char *ca_file, const char *pin, struct mh_trust **out,
                     struct mh_err *err)
{
    struct mh_trust *trust = mh_zalloc(sizeof *trust);
    if (!trust || (ca_file && !(trust->ca_file = mh_strdup(ca_file)))) {
        trust_free(trust);
        return mh_err_nomem(err);
    }
    trust->has_pin = pin != NULL;
    if (pin && !parse_pin(pin, trust->pin)) {
        trust_free(trust);
        return mh_err_set(err, MH_EUSAGE, "tls",
                          "the pin is not a SHA-256 fingerprint: 64 hex digits are needed");
    }
    struct make_ctx make = {.ca_file = ca_file};
    mh_offload(make_ctx, &make);
    trust->ctx = make.ctx;
    if (make.rc != MH_OK) {
        if (err)
            *err = make.err;
        trust_free(trust);
        return make.rc;
    }
    *out = trust;
    return MH_OK;
}

static bool is_same(const struct mh_trust *a, const char *ca_file, bool has_pin,
                    const unsigned char *pin)
{
    if (!a->ca_file != !ca_file || a->has_pin != has_pin)
        return false;
    return (!ca_file || strcmp(a->ca_file, ca_file) == 0) &&
           (!has_pin || memcmp(a->pin, pin, MH_SHA256_BYTES) == 0);
}

static struct mh_trust *find_locked(struct mh_trusts *ts, const char *ca_file, bool has_pin,
                                    const unsigned char *pin)
{
    struct mh_trust *trust = ts->list;
    while (trust && !is_same(trust, ca_file, has_pin, pin))
        trust = trust->next;
    return trust;
}

int mh_trusts_get(struct mh_trusts *ts, const char *ca_file, const char *pin,
                  const struct mh_trust **out, struct mh_err *err)
{
    unsigned char bytes[MH_SHA256_BYTES] = {0};
    bool can_be_known = !pin || parse_pin(pin, bytes);
    (void)pthread_mutex_lock(&ts->lock);
    *out = can_be_known ? find_locked(ts, ca_file, pin != NULL, bytes) : NULL;
    (void)pthread_mutex_unlock(&ts->lock);
    if (*out)
        return MH_OK;

    struct mh_trust *made = NULL;
    int rc = trust_new(ca_file, pin, &made, err);
    if (rc != MH_OK)
        return rc;
    mh_assert(made != NULL);
    (void)pthread_mutex_lock(&ts->lock);
    /* Another task may have made the same meanwhile. */
    struct mh_trust *known = find_locked(ts, ca_file, made->has_pin, made->pin);
    if (!known) {
        made->next = ts->list;
        ts->list = made;
        known = mh_take(made);
    }
    (void)pthread_mutex_unlock(&ts->lock);
    trust_free(made);
    *out = known;
    return MH_OK;
}

/* --- tickets --------------------------------------------------------------------------------- */

static bool is_for(const struct mh_ticket *t, const struct mh_trust *trust, const char *host,
                   uint16_t port)
{
    return t->trust == trust && t->port == port && strcasecmp(t->host, host) == 0;
}

/* Drops the oldest of one server, or of all, so that the newest fits. */
static void make_room_locked(struct mh_trusts *ts, const struct mh_ticket *newest)
{
    struct mh_ticket **oldest = NULL;
    struct mh_ticket **oldest_same = NULL;
    size_t same = 0;
    for (struct mh_ticket **at = &ts->tickets; *at; at = &(*at)->next) {
        oldest = at;
        if (is_for(*at, newest->trust, newest->host, newest->port)) {
            oldest_same = at;
            same++;
        }
    }
    struct mh_ticket **victim = same >= MH_TICKETS_PER_SERVER_MAX ? oldest_same : NULL;
    if (!victim && ts->n_tickets >= MH_TICKETS_MAX)
        victim = oldest;
    if (!victim)
        return;
    struct mh_ticket *gone = *victim;
    *victim = gone->next;
    ts->n_tickets--;
    ticket_free(gone);
}

void mh_ticket_put(struct mh_trusts *ts, const struct mh_trust *trust, const char *host,
                   uint16_t port, SSL_SESSION *session_take)
{
    size_t host_size = strlen(host) + 1;
    struct mh_ticket *ticket = mh_alloc(sizeof *ticket + host_size);
    if (!ticket) {
        /* Without it the next connection shakes hands in full: slower, nothing else. */
        SSL_SESSION_free(session_take);
        return;
    }
    *ticket = (struct mh_ticket){.trust = trust, .session = session_take, .port = port};
    memcpy(ticket->host, host, host_size);
    (void)pthread_mutex_lock(&ts->lock);
    make_room_locked(ts, ticket);
    ticket->next = ts->tickets;
    ts->tickets = ticket;
    ts->n_tickets++;
    (void)pthread_mutex_unlock(&ts->lock);
}

/* The certificate behind a ticket may have expired since it was verified. */
static bool is_still_valid(const struct mh_trust *trust, const SSL_SESSION *session)
{
    const X509 *leaf = SSL_SESSION_get0_peer((SSL_SESSION *)(uintptr_t)session);
    if (!SSL_SESSION_is_resumable(session) || !leaf)
        return false;
    return trust->has_pin || X509_cmp_current_time(X509_get0_notAfter(leaf)) > 0;
}

SSL_SESSION *mh_ticket_get(struct mh_trusts *ts, const struct mh_trust *trust, const char *host,
                           uint16_t port)
{
    SSL_SESSION *session = NULL;
    (void)pthread_mutex_lock(&ts->lock);
    struct mh_ticket **at = &ts->tickets;
    while (*at && !session) {
        struct mh_ticket *ticket = *at;
        if (!is_for(ticket, trust, host, port)) {
            at = &ticket->next;
            continue;
        }
        bool is_good = is_still_valid(trust, ticket->session);
        if (is_good) {
            session = ticket->session;
            (void)SSL_SESSION_up_ref(session);
        }
        bool is_kept = is_good && SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION;
        if (!is_kept) {
            *at = ticket->next;
            ts->n_tickets--;
            ticket_free(ticket);
        }
    }
    (void)pthread_mutex_unlock(&ts->lock);
    return session;
}
