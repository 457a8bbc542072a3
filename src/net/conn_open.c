/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/conn_priv.h"
#include "net/dial_priv.h"

/* --- life ------------------------------------------------------------------------------------ */

void mh_conn_leave(struct mh_conn *c)
{
    mh_assert(c->refs > 0);
    if (--c->refs > 0)
        return;
    mh_free(c->host);
    mh_free(c->ca_file);
    mh_free(c->pin);
    mh_free(c);
}

void mh_conn_place(const struct mh_conn *c, struct mh_err *err)
{
    mh_err_at(err, c->is_ip && strchr(c->host, ':') ? "[%s]:%u" : "%s:%u", c->host,
              (unsigned)c->port);
}

int mh_conn_check_open(const struct mh_conn *c, struct mh_err *err)
{
    if (!c->is_closed)
        return MH_OK;
    int rc = mh_err_set(err, MH_ERETRY, "net", "the connection was closed on this side");
    mh_conn_place(c, err);
    return rc;
}

int mh_conn_stopped(struct mh_err *err)
{
    return mh_err_set(err, MH_ECANCEL, "net", "stopped");
}

void mh_conn_poison(struct mh_conn *c, const struct mh_err *err)
{
    if (c->read_err.code == MH_OK)
        c->read_err = *err;
    mh_conn_fail_writing(c, err);
}

static void on_ready(struct mh_sock *sock, bool in, bool out)
{
    struct mh_conn *c = mh_container_of(sock, struct mh_conn, sock);
    if (in)
        mh_wake_all(&c->readers);
    bool can_go_on = out || (in && c->tls && c->tls->write_wants_input);
    if (can_go_on && mh_conn_queued_bytes(c) > 0)
        mh_conn_flush_soon(c);
}

static char *dup_or_null(const char *s)
{
    return s ? mh_strdup(s) : NULL;
}

static int conn_new(const struct mh_conn_config *cfg, const char *host, bool is_ip,
                    struct mh_conn **out, struct mh_err *err)
{
    struct mh_conn *c = mh_zalloc(sizeof *c);
    if (!c)
        return mh_err_nomem(err);
    c->refs = 1;
    c->sock.watch.fd = -1;
    c->loop = mh_loop_self();
    c->net = cfg->net;
    c->pool = cfg->pool;
    c->log = cfg->log;
    c->limit_in = cfg->is_source ? cfg->net->limit_in : NULL;
    c->limit_out = cfg->is_source ? NULL : cfg->net->limit_out;
    c->timeout_ms = cfg->timeout_ms;
    c->port = cfg->port;
    c->is_ip = is_ip;
    c->rest_due.fn = mh_conn_rest;
    c->flush_due.fn = mh_conn_flush_due;
    c->host = mh_strdup(host);
    c->ca_file = dup_or_null(cfg->ca_file);
    c->pin = dup_or_null(cfg->pin);
    if (!c->host || (cfg->ca_file && !c->ca_file) || (cfg->pin && !c->pin)) {
        mh_conn_leave(c);
        return mh_err_nomem(err);
    }
    *out = c;
    return MH_OK;
}

/* --- TLS ------------------------------------------------------------------------------------- */

/* waits: until the handshake is done and the certificate verified. */
static int shake_hands(struct mh_conn *c, struct mh_err *err)
{
    /* One deadline for the whole: a server that sends a byte a minute gets no further. */
    int64_t deadline_ms = mh_deadline_ms(c->timeout_ms);
    for (;;) {
        enum mh_io io = mh_tls_handshake(c->tls, err);
        if (io == MH_IO_OK)
            break;
        if (io == MH_IO_FAIL)
            return err->code;
        int code = mh_wait(&c->readers, deadline_ms);
        int rc = mh_conn_check_open(c, err);
        if (rc != MH_OK)
            return rc;
        if (code == MH_ECANCEL)
            return mh_conn_stopped(err);
        if (code == MH_ETIMEOUT)
            return mh_err_set(err, MH_ERETRY, "tls", "the TLS handshake was not done within %lld s",
                              (long long)c->timeout_ms / 1000);
    }
    mh_tls_describe(c->tls, &c->info);
    mh_log(c->log, MH_LOG_DEBUG, "%s to %s (%s), certificate sha256:%s%s", c->info.tls_version,
           c->info.peer, c->info.tls_cipher, c->info.fingerprint,
           c->info.tls_resumed ? ", resumed" : "");
    mh_conn_flush_soon(c);
    return MH_OK;
}

static int start_tls(struct mh_conn *c, struct mh_err *err)
{
    struct mh_tls_peer peer = {.host = c->host, .port = c->port, .is_ip = c->is_ip};
    struct mh_tls *tls = NULL;
    int rc = mh_tls_new(c->net, &c->sock, &peer, c->ca_file, c->pin, &tls, err);
    if (rc == MH_OK && c->is_closed) {
        mh_tls_free(tls);
        return mh_conn_check_open(c, err);
    }
    if (rc != MH_OK)
        return rc;
    c->tls = tls;
    return shake_hands(c, err);
}

/* True when bytes wait at the socket: sent in the clear, before our first handshake message. */
static bool has_plaintext(const struct mh_conn *c)
{
    char byte = 0;
    return c->unread.len > 0 ||
           recv(c->sock.watch.fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static int upgrade(struct mh_conn *c, struct mh_err *err)
{
    int rc = mh_conn_drain(c, err);
    if (rc != MH_OK)
        return rc;
    if (has_plaintext(c)) {
        rc = mh_err_set(
            err, MH_EMAILBOX, "tls",
            "refused: the server's STARTTLS reply was followed by more bytes in the clear; "
            "someone in between may be injecting them (use imaps:// if the server has it)");
        err->reason = "starttls-injection";
        return rc;
    }
    return start_tls(c, err);
}

int mh_conn_start_tls(struct mh_conn *c, struct mh_err *err)
{
    struct mh_err scratch;
    err = err ? err : &scratch;
    mh_assert(!c->tls && !c->z && !c->is_reading);
    int rc = mh_conn_check_open(c, err);
    if (rc != MH_OK)
        return rc;
    mh_conn_enter(c);
    c->is_reading = true;
    rc = upgrade(c, err);
    c->is_reading = false;
    if (rc != MH_OK && !c->is_closed) {
        if (err->where[0] == '\0')
            mh_conn_place(c, err);
        mh_conn_poison(c, err);
    }
    mh_conn_leave(c);
    return rc;
}

/* --- opening --------------------------------------------------------------------------------- */

/* waits: resolves, connects; the socket belongs to C then. */
static int connect_to(struct mh_conn *c, struct mh_err *err)
{
    struct mh_addrs addrs;
    int fd = -1;
    int rc = mh_resolve(c->host, c->port, &addrs, err);
    if (rc != MH_OK)
        return rc;
    if (mh_task_cancelled())
        return mh_conn_stopped(err);
    int64_t timeout_ms =
        c->timeout_ms > 0 ? MH_MIN(c->timeout_ms, MH_CONNECT_TIMEOUT_MS) : MH_CONNECT_TIMEOUT_MS;
    rc = mh_dial(&addrs, timeout_ms, &fd, c->info.peer, err);
    if (rc != MH_OK)
        return rc;
    atomic_fetch_add_explicit(&c->net->counters.connects, 1, memory_order_relaxed);
    mh_log(c->log, MH_LOG_DEBUG, "connected to %s", c->info.peer);
    return mh_sock_init(&c->sock, c->loop, fd, &c->net->counters, on_ready, err);
}

/* Trust settings that cannot work are a person's mistake: said before anything is opened. */
static int check_trust(const struct mh_conn_config *cfg, struct mh_err *err)
{
    const struct mh_trust *trust = NULL;
    if (!cfg->tls && !cfg->ca_file && !cfg->pin)
        return MH_OK;
    return mh_trusts_get(&cfg->net->trusts, cfg->ca_file, cfg->pin, &trust, err);
}

static int open_steps(const struct mh_conn_config *cfg, struct mh_conn **out, struct mh_err *err)
{
    char host[256];
    bool is_ip = false;
    struct mh_conn *c = NULL;
    int rc = mh_host_normalize(cfg->host, host, sizeof host, &is_ip, err);
    if (rc == MH_OK)
        rc = check_trust(cfg, err);
    if (rc == MH_OK)
        rc = conn_new(cfg, host, is_ip, &c, err);
    mh_assert(rc != MH_OK || c != NULL);
    if (rc == MH_OK)
        rc = connect_to(c, err);
    if (rc == MH_OK && cfg->tls)
        rc = start_tls(c, err);
    if (rc != MH_OK) {
        mh_conn_close(c);
        return rc;
    }
    *out = c;
    return MH_OK;
}

int mh_conn_open(const struct mh_conn_config *cfg, struct mh_conn **out, struct mh_err *err)
{
    struct mh_err scratch;
    err = err ? err : &scratch;
    mh_assert(cfg->host && cfg->pool && cfg->net && mh_task_self());
    int rc = open_steps(cfg, out, err);
    if (rc != MH_OK && err->where[0] == '\0')
        mh_err_at(err, "%.200s:%u", cfg->host, (unsigned)cfg->port);
    return rc;
}

/* --- compression ----------------------------------------------------------------------------- */

int mh_conn_start_deflate(struct mh_conn *c, struct mh_err *err)
{
    struct mh_err scratch;
    err = err ? err : &scratch;
    mh_assert(!c->z && !c->is_reading);
    mh_conn_enter(c);
    int rc = mh_conn_drain(c, err);
    if (rc == MH_OK)
        rc = mh_deflate_new(&c->z, err);
    if (rc == MH_OK)
        c->packed = c->unread;
    if (rc == MH_OK)
        c->unread = (struct mh_slice){NULL, 0, 0};
    mh_conn_leave(c);
    return rc;
}

/* --- the end --------------------------------------------------------------------------------- */

static void release_memory(struct mh_conn *c)
{
    mh_outq_done(&c->outq);
    mh_slice_drop(&c->unread);
    mh_slice_drop(&c->packed);
    mh_fill_release(&c->wire_fill);
    mh_fill_release(&c->plain_fill);
    mh_fill_release(&c->text_fill);
    mh_loop_block_give(c->loop, c->zblock);
    c->zblock = NULL;
    c->zsent = c->zfilled = 0;
    mh_deflate_free(c->z);
    c->z = NULL;
    mh_tls_free(c->tls);
    c->tls = NULL;
}

void mh_conn_close(struct mh_conn *c)
{
    if (!c)
        return;
    mh_assert(!c->is_closed && c->loop == mh_loop_self());
    if (c->sock.watch.fd >= 0) {
        mh_conn_flush(c);
        /* A goodbye behind bytes that were left out would call the torso whole. */
        if (c->tls && mh_conn_queued_bytes(c) == 0)
            mh_tls_say_goodbye(c->tls);
    }
    c->is_closed = true;
    mh_loop_forget(&c->flush_due);
    mh_loop_forget(&c->rest_due);
    release_memory(c);
    mh_sock_done(&c->sock);
    mh_wake_all(&c->readers);
    mh_wake_all(&c->writers);
    mh_wake_all(&c->drainers);
    mh_conn_leave(c);
}

const struct mh_conn_info *mh_conn_info(const struct mh_conn *c)
{
    return &c->info;
}
