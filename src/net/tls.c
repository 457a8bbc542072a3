/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

/* A record's plaintext limit (RFC 8446, 5.1), and what encryption may add (5.2) with its header. */
#define RECORD_BYTES        16384u
#define RECORD_MAX_BYTES    (RECORD_BYTES + 256u + 5u)
/* From here on a record goes to the kernel by itself; smaller ones are copied behind each other. */
#define DIRECT_BYTES        8192u
/* Tickets and key updates come in ones and twos between data; a peer that sends only them is
 * hostile. */
#define CONTROLS_MAX        64u
/* A chain of certificates is at most 100 KiB for OpenSSL; what exceeds this is no handshake. */
#define HANDSHAKE_MAX_BYTES ((size_t)512 * 1024)

/* --- the BIO --------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *buf, size_t len, size_t *n_out)
{
    struct mh_tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *n_out = 0;
    ssize_t n = mh_sock_recv(t->sock, buf, len);
    if (n > 0 && !t->is_established)
        t->handshake_bytes += (size_t)n;
    if (t->handshake_bytes > HANDSHAKE_MAX_BYTES)
        n = -EPROTO;
    if (n > 0) {
        *n_out = (size_t)n;
        return 1;
    }
    t->is_starved = n == -EAGAIN;
    if (t->is_starved)
        BIO_set_retry_read(bio);
    else if (n < 0)
        t->recv_errno = (int)-n;
    return 0;
}

/* Sends the gathered bytes and DATA behind them in one call; how much of DATA the kernel took. */
static size_t send_with(struct mh_tls *t, const char *data, size_t len)
{
    struct iovec iov[2];
    size_t n_iov = 0;
    size_t waiting = mh_tls_unsent_bytes(t);
    if (waiting > 0)
        iov[n_iov++] = (struct iovec){t->block + t->sent, waiting};
    if (len > 0)
        iov[n_iov++] = (struct iovec){(void *)(uintptr_t)data, len};
    if (n_iov == 0 || t->send_errno)
        return 0;
    ssize_t n = mh_sock_send(t->sock, iov, n_iov);
    if (n < 0) {
        t->send_errno = (int)-n;
        return 0;
    }
    size_t of_block = MH_MIN((size_t)n, waiting);
    t->sent += of_block;
    if (t->sent == t->filled)
        t->sent = t->filled = 0;
    return (size_t)n - of_block;
}

/* Keeps DATA for the next send. */
static void gather(struct mh_tls *t, const char *data, size_t len)
{
    if (!t->block) {
        t->block = mh_loop_block_take(t->sock->loop);
        if (!t->block) {
            t->send_errno = ENOMEM;
            return;
        }
    }
    if (len > MH_LOOP_BLOCK_BYTES - t->filled) {
        size_t waiting = mh_tls_unsent_bytes(t);
        memmove(t->block, t->block + t->sent, waiting); /* no message bytes: ciphertext */
        t->filled -= t->sent;
        t->sent = 0;
    }
    if (len > MH_LOOP_BLOCK_BYTES - t->filled) {
        /* Data leaves room for control messages: only a peer that demands answers and reads none
         * gets here. */
        t->send_errno = ENOBUFS;
        return;
    }
    /* What a buffering BIO does inside OpenSSL; counted, so that nobody takes it for free. */
    memcpy(t->block + t->filled, data, len); /* no message bytes: ciphertext, counted */
    t->filled += len;
    atomic_fetch_add_explicit(&t->net->counters.gathered_bytes, len, memory_order_relaxed);
}

/* Always takes everything, so that OpenSSL never has a half-written record to repeat. A broken
 * socket shows in send_errno; reading goes on, for the peer may have said why. */
static int bio_write(BIO *bio, const char *data, size_t len, size_t *n_out)
{
    struct mh_tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *n_out = len;
    size_t done = 0;
    bool is_large = len >= DIRECT_BYTES;
    if (is_large || len > MH_LOOP_BLOCK_BYTES - mh_tls_unsent_bytes(t))
        done = send_with(t, data, is_large ? len : 0);
    if (done < len && !t->send_errno)
        gather(t, data + done, len - done);
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long number, void *ptr)
{
    const struct mh_tls *t = BIO_get_data(bio);
    (void)number;
    (void)ptr;
    switch (cmd) {
    case BIO_CTRL_FLUSH: /* the end of the round does that */
        return 1;
    case BIO_CTRL_EOF:
        return t->sock->is_eof;
    default:
        return 0;
    }
}

BIO_METHOD *mh_tls_bio_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "mailhaul socket");
    if (m && BIO_meth_set_read_ex(m, bio_read) == 1 && BIO_meth_set_write_ex(m, bio_write) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1)
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* --- the object ------------------------------------------------------------------------------ */

static bool set_peer(struct mh_tls *t)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    if (t->peer.is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(param, t->peer.host) == 1;
    return X509_VERIFY_PARAM_set1_host(param, t->peer.host, 0) == 1 &&
           SSL_set_tlsext_host_name(t->ssl, t->peer.host) == 1;
}

static bool attach_bio(struct mh_tls *t)
{
    BIO *bio = BIO_new(t->net->bio);
    if (!bio)
        return false;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    return true;
}

static void offer_ticket(struct mh_tls *t)
{
    SSL_SESSION *session = mh_ticket_get(&t->net->trusts, t->trust, t->peer.host, t->peer.port);
    if (!session)
        return;
    /* A refusal (a session of a protocol now off) only means a full handshake. */
    (void)SSL_set_session(t->ssl, session);
    SSL_SESSION_free(session);
}

int mh_tls_new(struct mh_net *net, struct mh_sock *sock, const struct mh_tls_peer *peer,
               const char *ca_file, const char *pin, struct mh_tls **out, struct mh_err *err)
{
    const struct mh_trust *trust = NULL;
    int rc = mh_trusts_get(&net->trusts, ca_file, pin, &trust, err);
    if (rc != MH_OK)
        return rc;
    struct mh_tls *t = mh_zalloc(sizeof *t);
    if (!t)
        return mh_err_nomem(err);
    t->net = net;
    t->sock = sock;
    t->trust = trust;
    t->peer = *peer;
    t->ssl = SSL_new(trust->ctx);
    if (!t->ssl || SSL_set_app_data(t->ssl, t) != 1 || !attach_bio(t) || !set_peer(t)) {
        mh_tls_free(t);
        ERR_clear_error();
        return mh_err_nomem(err);
    }
    SSL_set_connect_state(t->ssl);
    offer_ticket(t);
    *out = t;
    return MH_OK;
}

void mh_tls_free(struct mh_tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    mh_loop_block_give(t->sock->loop, t->block);
    mh_free(t);
}

void mh_tls_rest(struct mh_tls *t)
{
    if (!t->is_broken)
        (void)SSL_free_buffers(t->ssl);
}

bool mh_tls_has_input(const struct mh_tls *t)
{
    return t->end != MH_IO_OK || t->sock->readable || SSL_has_pending(t->ssl);
}

/* --- failures in words ----------------------------------------------------------------------- */

/* Why nothing can be sent any more. */
static enum mh_io fail_sending(const struct mh_tls *t, struct mh_err *err)
{
    if (t->send_errno == ENOMEM)
        (void)mh_err_nomem(err);
    else if (t->send_errno)
        (void)mh_err_sys(err, MH_ERETRY, "net", t->send_errno, "sending failed");
    else if (t->end == MH_IO_FAIL && err)
        *err = t->end_err;
    else
        (void)mh_err_set(err, MH_ERETRY, "tls", "TLS failed earlier on this connection");
    return MH_IO_FAIL;
}

/* What SSL_read() or SSL_do_handshake() met; OP_ERROR is SSL_get_error()'s answer. */
static enum mh_io fail_reading(struct mh_tls *t, int op_error, struct mh_err *err)
{
    unsigned long code = ERR_peek_error();
    bool is_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
    t->is_broken = true;
    if (t->recv_errno)
        (void)mh_err_sys(err, MH_ERETRY, "net", t->recv_errno, "receiving failed");
    else if (t->send_errno)
        (void)fail_sending(t, err);
    else if (is_ssl && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        (void)mh_err_set(err, MH_ERETRY, "tls",
                         "the connection ended without TLS close_notify: it was cut, what was sent "
                         "last may be missing");
    else
        (void)mh_err_set(
            err, MH_ERETRY, "tls", "TLS failed: %s",
            code ? ERR_reason_error_string(code)
                 : (op_error == SSL_ERROR_SYSCALL ? "the connection broke" : "no reason"));
    ERR_clear_error();
    return MH_IO_FAIL;
}

struct words {
    int ssl_reason;
    const char *slug;
    const char *text;
};

/* What an admin can do something about. */
static const struct words handshake_words[] = {
    {SSL_R_UNSUPPORTED_PROTOCOL, "tls-too-old", NULL},
    {SSL_R_WRONG_SSL_VERSION, "tls-too-old", NULL},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "tls-too-old", NULL},
    {SSL_R_WRONG_VERSION_NUMBER, "not-tls", NULL},
    {SSL_R_HTTP_REQUEST, "not-tls", NULL},
    {SSL_R_PACKET_LENGTH_TOO_LONG, "not-tls", NULL},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "tls-no-common",
     "the server found no TLS parameters it shares with us (only outdated ciphers?)"},
    {SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY, "tls-no-common",
     "the server asks for stronger TLS parameters than this machine's OpenSSL has"},
    {SSL_R_DH_KEY_TOO_SMALL, "tls-weak",
     "the server's Diffie-Hellman key is below 2048 bits: have its parameters renewed"},
    {SSL_R_WRONG_SIGNATURE_TYPE, "tls-weak",
     "the server signs its handshake in a way that is refused today (SHA-1 or MD5)"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "tls-weak",
     "the server signs its handshake in a way that is refused today (SHA-1 or MD5)"},
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED, "tls-too-old",
     "the server's TLS lacks secure renegotiation (RFC 5746, 2010): update it"},
    {SSL_R_TLSV1_UNRECOGNIZED_NAME, "tls-name",
     "the server does not know itself by this name: use the name it was set up with"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "tls-client-cert",
     "the server asks for a client certificate, which mailhaul does not send"},
};

static const char *slug_text(const char *slug)
{
    if (strcmp(slug, "not-tls") == 0)
        return "the server does not speak TLS on this port: it expects STARTTLS (imap://, usually "
               "port 143) or is no mail server";
    return "the server offers nothing newer than TLS 1.1, which is refused (RFC 8996): enable TLS "
           "1.2 "
           "there, or put a TLS proxy in front of it";
}

static enum mh_io fail_handshake(struct mh_tls *t, int op_error, struct mh_err *err)
{
    unsigned long code = ERR_peek_error();
    bool is_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
    int reason = ERR_GET_REASON(code);
    t->is_broken = true;
    if (t->refusal.code != MH_OK) {
        ERR_clear_error();
        if (err)
            *err = t->refusal;
        return MH_IO_FAIL;
    }
    if (t->recv_errno || t->send_errno || op_error == SSL_ERROR_SYSCALL || !is_ssl)
        return fail_reading(t, op_error, err);
    ERR_clear_error();
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        (void)mh_err_set(err, MH_ERETRY, "tls",
                         "the server closed the connection in the middle of the TLS handshake");
        return MH_IO_FAIL;
    }
    const struct words *w = NULL;
    for (size_t i = 0; i < MH_ARRAY_LEN(handshake_words) && !w; i++) {
        if (handshake_words[i].ssl_reason == reason)
            w = &handshake_words[i];
    }
    /* internal_error is what overloaded servers say. */
    bool is_passing = reason == SSL_R_TLSV1_ALERT_INTERNAL_ERROR;
    if (w)
        (void)mh_err_set(err, MH_EMAILBOX, "tls", "%s", w->text ? w->text : slug_text(w->slug));
    else
        (void)mh_err_set(err, is_passing ? MH_ERETRY : MH_EMAILBOX, "tls",
                         "the TLS handshake failed: %s", ERR_reason_error_string(code));
    if (err)
        err->reason = w ? w->slug : "tls";
    return MH_IO_FAIL;
}

/* --- the handshake --------------------------------------------------------------------------- */

static enum mh_io finish_handshake(struct mh_tls *t, struct mh_err *err)
{
    struct mh_net_counters *c = &t->net->counters;
    bool is_resumed = SSL_session_reused(t->ssl);
    /* Holds for a resumed session too: its ticket was filed after such a verification. */
    if (SSL_get_verify_result(t->ssl) != X509_V_OK || !SSL_get0_peer_certificate(t->ssl)) {
        t->is_broken = true;
        (void)mh_err_set(err, MH_EMAILBOX, "tls", "the server's certificate was not verified");
        return MH_IO_FAIL;
    }
    atomic_fetch_add_explicit(&c->tls_handshakes, 1, memory_order_relaxed);
    if (is_resumed)
        atomic_fetch_add_explicit(&c->tls_resumed, 1, memory_order_relaxed);
    t->is_established = true;
    return MH_IO_OK;
}

enum mh_io mh_tls_handshake(struct mh_tls *t, struct mh_err *err)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    int op_error = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, rc);
    /* Also what a refusal says: the server's log then shows why. */
    enum mh_io pushed = mh_tls_push(t, NULL);
    if (op_error == SSL_ERROR_WANT_READ)
        return pushed == MH_IO_FAIL ? fail_sending(t, err) : MH_IO_WAIT;
    return op_error == SSL_ERROR_NONE ? finish_handshake(t, err) : fail_handshake(t, op_error, err);
}

int mh_tls_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct mh_tls *t = SSL_get_app_data(ssl);
    if (!SSL_SESSION_is_resumable(session))
        return 0;
    mh_ticket_put(&t->net->trusts, t->trust, t->peer.host, t->peer.port, session);
    return 1; /* the reference is ours now */
}

static int64_t unix_time(const ASN1_TIME *when)
{
    struct tm tm;
    return ASN1_TIME_to_tm(when, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

void mh_tls_describe(const struct mh_tls *t, struct mh_conn_info *info)
{
    const X509 *leaf = SSL_get0_peer_certificate(t->ssl);
    info->tls = true;
    info->tls_resumed = SSL_session_reused(t->ssl);
    (void)snprintf(info->tls_version, sizeof info->tls_version, "%s", SSL_get_version(t->ssl));
    (void)snprintf(info->tls_cipher, sizeof info->tls_cipher, "%s", SSL_get_cipher_name(t->ssl));
    if (leaf) {
        mh_tls_fingerprint(leaf, info->fingerprint);
        info->cert_not_after = unix_time(X509_get0_notAfter(leaf));
    }
}

/* --- bytes ----------------------------------------------------------------------------------- */

/* What a read that brought no data means; MH_IO_OK: a control message was dealt with, go on. */
static enum mh_io read_end(struct mh_tls *t, struct mh_err *err)
{
    int op_error = SSL_get_error(t->ssl, 0);
    switch (op_error) {
    case SSL_ERROR_WANT_READ:
        if (t->is_starved)
            return MH_IO_WAIT;
        if (++t->controls <= CONTROLS_MAX)
            return MH_IO_OK;
        t->is_broken = true;
        (void)mh_err_set(err, MH_ERETRY, "tls",
                         "the server sends TLS control messages without end");
        return MH_IO_FAIL;
    case SSL_ERROR_ZERO_RETURN:
        return MH_IO_EOF;
    default:
        return fail_reading(t, op_error, err);
    }
}

enum mh_io mh_tls_read(struct mh_tls *t, void *buf, size_t len, size_t *n_out, struct mh_err *err)
{
    size_t n = 0;
    enum mh_io io = t->end;
    if (io == MH_IO_OK && t->is_broken)
        io = fail_sending(t, &t->end_err);
    while (io == MH_IO_OK && n < len) {
        size_t part = 0;
        ERR_clear_error();
        t->is_starved = false;
        if (SSL_read_ex(t->ssl, (unsigned char *)buf + n, len - n, &part) == 1)
            t->controls = 0;
        else
            io = read_end(t, &t->end_err);
        n += part;
        if (n > 0 && !mh_tls_has_input(t))
            break;
    }
    if (io == MH_IO_EOF || io == MH_IO_FAIL)
        t->end = io;
    *n_out = n;
    if (n > 0)
        return MH_IO_OK;
    if (io == MH_IO_FAIL && err)
        *err = t->end_err;
    return io;
}

enum mh_io mh_tls_write(struct mh_tls *t, const void *data, size_t len, size_t *n_out,
                        struct mh_err *err)
{
    *n_out = 0;
    t->write_wants_input = false;
    while (*n_out < len) {
        /* One record and the control messages beside it must find room. */
        size_t room = MH_LOOP_BLOCK_BYTES - RECORD_MAX_BYTES - DIRECT_BYTES;
        if (mh_tls_unsent_bytes(t) > room)
            (void)send_with(t, NULL, 0);
        if (t->send_errno || t->is_broken)
            return fail_sending(t, err);
        if (mh_tls_unsent_bytes(t) > room)
            return MH_IO_WAIT;
        size_t part = 0;
        ERR_clear_error();
        if (SSL_write_ex(t->ssl, (const unsigned char *)data + *n_out,
                         MH_MIN(len - *n_out, RECORD_BYTES), &part) != 1) {
            int op_error = SSL_get_error(t->ssl, 0);
            if (op_error != SSL_ERROR_WANT_READ)
                return fail_reading(t, op_error, err);
            t->write_wants_input = true;
            return MH_IO_WAIT;
        }
        *n_out += part;
    }
    return t->send_errno ? fail_sending(t, err) : MH_IO_OK;
}

enum mh_io mh_tls_push(struct mh_tls *t, struct mh_err *err)
{
    (void)send_with(t, NULL, 0);
    if (t->send_errno)
        return fail_sending(t, err);
    if (mh_tls_unsent_bytes(t) > 0)
        return MH_IO_WAIT;
    mh_loop_block_give(t->sock->loop, t->block);
    t->block = NULL;
    return MH_IO_OK;
}

void mh_tls_say_goodbye(struct mh_tls *t)
{
    if (!t->is_established || t->is_broken || t->send_errno)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
    (void)mh_tls_push(t, NULL);
}
