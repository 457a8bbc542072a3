/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For the tests of src/net: a server in a thread of its own, in the clear or with TLS, and the
 * world (pool, net, loop) a client task runs in. The server's side is blocking and checks with
 * abort(), for Criterion's assertions belong to the main thread. Nothing here sleeps.
 */
#ifndef MH_TESTS_NET_PEER_H
#define MH_TESTS_NET_PEER_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/bucket.h"
#include "net/conn.h"
#include "net/loop.h"
#include "net/net.h"

#define MAYBE_UNUSED __attribute__((unused))

#define peer_check(cond)                                                                           \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            (void)fprintf(stderr, "peer: %s (%s:%d)\n", #cond, __FILE__, __LINE__);                \
            ERR_print_errors_fp(stderr);                                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* --- the server ------------------------------------------------------------------------------ */

struct peer {
    int listen_fd;
    uint16_t port;
    pthread_t thread;
    unsigned connections; /* to serve, one after the other */
    void (*serve)(struct peer *p, int fd);
    void *arg;
    SSL_CTX *ctx;         /* for peer_tls(); owned by the test */
    unsigned served;      /* so far; the number of the present one */
    _Atomic int progress; /* the server says how far it is */
    _Atomic int go;       /* the client says that it may go on */
};

static MAYBE_UNUSED void *peer_main(void *arg)
{
    struct peer *p = arg;
    for (; p->served < p->connections; p->served++) {
        int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        peer_check(fd >= 0);
        p->serve(p, fd);
    }
    return NULL;
}

static MAYBE_UNUSED void peer_listen(struct peer *p, const char *address, int backlog)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    cr_assert_eq(inet_pton(AF_INET, address, &a.sin_addr), 1);
    p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(p->listen_fd, 0);
    a.sin_port = htons(p->port);
    cr_assert_eq(bind(p->listen_fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(listen(p->listen_fd, backlog), 0);
    cr_assert_eq(getsockname(p->listen_fd, (struct sockaddr *)&a, &len), 0);
    p->port = ntohs(a.sin_port);
}

/* Starts SERVE for CONNECTIONS connections; it closes its descriptor. */
static MAYBE_UNUSED void peer_start(struct peer *p, unsigned connections,
                                    void (*serve)(struct peer *, int))
{
    (void)signal(SIGPIPE, SIG_IGN); /* for the OpenSSL of the server's side */
    p->connections = connections;
    p->serve = serve;
    peer_listen(p, "127.0.0.1", 64);
    cr_assert_eq(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

static MAYBE_UNUSED void peer_join(struct peer *p)
{
    cr_assert_eq(pthread_join(p->thread, NULL), 0);
    (void)close(p->listen_fd);
}

/* Sends all of DATA; false when the client is gone. */
static MAYBE_UNUSED bool peer_send(int fd, const void *data, size_t len)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static MAYBE_UNUSED void peer_sends(int fd, const char *s)
{
    peer_check(peer_send(fd, s, strlen(s)));
}

/* Reads exactly LEN bytes. */
static MAYBE_UNUSED void peer_recv(int fd, void *data, size_t len)
{
    for (char *p = data; len > 0;) {
        ssize_t n = recv(fd, p, len, 0);
        peer_check(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

/* Expects S and nothing else so far. */
static MAYBE_UNUSED void peer_expect(int fd, const char *s)
{
    char buf[512];
    size_t len = strlen(s);
    peer_check(len <= sizeof buf);
    peer_recv(fd, buf, len);
    peer_check(memcmp(buf, s, len) == 0);
}

/* Reads until the client closes; how many bytes came. */
static MAYBE_UNUSED size_t peer_drain(int fd)
{
    static __thread char buf[65536];
    size_t total = 0;
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n <= 0)
            return total;
        total += (size_t)n;
    }
}

/* Silent until the client has gone, whatever it sends. */
static MAYBE_UNUSED void peer_end(int fd)
{
    (void)peer_drain(fd);
    (void)close(fd);
}

/* Closes with RST instead of FIN. */
static MAYBE_UNUSED void peer_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    peer_check(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    (void)close(fd);
}

/* The server's side of TLS on FD, or NULL when the handshake failed. */
static MAYBE_UNUSED SSL *peer_tls(const struct peer *p, int fd)
{
    SSL *ssl = SSL_new(p->ctx);
    peer_check(ssl && SSL_set_fd(ssl, fd) == 1);
    if (SSL_accept(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

static MAYBE_UNUSED void peer_tls_send(SSL *ssl, const void *data, size_t len)
{
    size_t n = 0;
    peer_check(SSL_write_ex(ssl, data, len, &n) == 1 && n == len);
}

static MAYBE_UNUSED void peer_tls_expect(SSL *ssl, const char *s)
{
    char buf[512];
    size_t len = strlen(s);
    size_t at = 0;
    peer_check(len <= sizeof buf);
    while (at < len) {
        size_t n = 0;
        peer_check(SSL_read_ex(ssl, buf + at, len - at, &n) == 1);
        at += n;
    }
    peer_check(memcmp(buf, s, len) == 0);
}

/* Waits for the client's goodbye, answers it, closes. */
static MAYBE_UNUSED void peer_tls_end(SSL *ssl, int fd)
{
    char buf[1024];
    size_t n = 0;
    while (SSL_read_ex(ssl, buf, sizeof buf, &n) == 1)
        continue;
    peer_check(SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN);
    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    (void)close(fd);
}

/* --- the client's world ---------------------------------------------------------------------- */

struct world {
    struct mh_pool *pool;
    struct mh_net *net;
    struct mh_loop *loop;
    struct mh_conn_config cfg; /* for 127.0.0.1 and the peer's port */
    struct peer peer;
    struct mh_conn *conn;
    void *arg;
};

#define POOL_BYTES (64 * MH_SLAB_BYTES)

static MAYBE_UNUSED void world_init(struct world *w)
{
    struct mh_err err;
    cr_assert_eq(mh_pool_new(POOL_BYTES, &w->pool, &err), MH_OK);
    if (!w->net)
        cr_assert_eq(mh_net_new(NULL, NULL, &w->net, &err), MH_OK);
    cr_assert_eq(mh_loop_new(&w->loop, &err), MH_OK);
    w->cfg = (struct mh_conn_config){.host = "127.0.0.1",
                                     .port = w->peer.port,
                                     .timeout_ms = 20000,
                                     .pool = w->pool,
                                     .net = w->net};
}

static MAYBE_UNUSED uint64_t slabs_in_use(const struct world *w)
{
    struct mh_pool_stats stats;
    mh_pool_stats(w->pool, &stats);
    return stats.in_use_bytes / MH_SLAB_BYTES;
}

static MAYBE_UNUSED uint64_t slabs_peak(const struct world *w)
{
    struct mh_pool_stats stats;
    mh_pool_stats(w->pool, &stats);
    return stats.peak_bytes / MH_SLAB_BYTES;
}

/* Everything must have come back. */
static MAYBE_UNUSED void world_done(struct world *w)
{
    struct mh_pool_stats stats;
    mh_pool_stats(w->pool, &stats);
    cr_assert_eq(stats.in_use_bytes, 0, "%llu bytes of slabs are lost",
                 (unsigned long long)stats.in_use_bytes);
    mh_loop_free(w->loop);
    mh_net_free(w->net);
    mh_pool_free(w->pool);
}

/* Starts the peer and runs FN(w) as a task until all tasks have ended. */
static MAYBE_UNUSED void world_run(struct world *w, void (*serve)(struct peer *, int),
                                   void (*fn)(void *))
{
    struct mh_err err;
    if (serve)
        peer_start(&w->peer, w->peer.connections ? w->peer.connections : 1, serve);
    world_init(w);
    cr_assert_eq(mh_task_spawn(mh_loop_sched(w->loop), "test", fn, w, NULL, &err), MH_OK);
    mh_sched_run(mh_loop_sched(w->loop));
    if (serve)
        peer_join(&w->peer);
    world_done(w);
}

/* The same in a world with nothing special in it. */
static MAYBE_UNUSED void world_run_plain(void (*serve)(struct peer *, int), void (*fn)(void *))
{
    struct world w = {0};
    world_run(&w, serve, fn);
}

static MAYBE_UNUSED void must(int rc, const struct mh_err *err)
{
    char line[1024];
    cr_assert_eq(rc, MH_OK, "%s: %s", mh_code_name(rc),
                 rc ? mh_err_line(err, line, sizeof line) : "");
}

/* A second task, FN(arg), which the caller joins. */
static MAYBE_UNUSED struct mh_task *world_spawn(struct world *w, void (*fn)(void *), void *arg)
{
    struct mh_task *task = NULL;
    struct mh_err err;
    must(mh_task_spawn(mh_loop_sched(w->loop), "second", fn, arg, &task, &err), &err);
    return task;
}

/* Nobody reads or writes: after a while no slab is held. */
static MAYBE_UNUSED void must_hold_no_slab(const struct world *w)
{
    int64_t give_up = mh_now_ms() + 20000;
    while (slabs_in_use(w) > 0 && mh_now_ms() < give_up)
        cr_assert_eq(mh_sleep_until(mh_now_ms() + 20), MH_OK);
    cr_assert_eq(slabs_in_use(w), 0, "a connection that nobody uses gives its slab back");
}

static MAYBE_UNUSED struct mh_conn *world_open(struct world *w)
{
    struct mh_err err;
    must(mh_conn_open(&w->cfg, &w->conn, &err), &err);
    return w->conn;
}

static MAYBE_UNUSED void must_write(struct mh_conn *c, const char *text)
{
    struct mh_err err;
    must(mh_conn_write_text(c, text, strlen(text), &err), &err);
}

/* Reads exactly strlen(S) bytes and compares; returns the number of slices they came in. */
static MAYBE_UNUSED unsigned must_read(struct mh_conn *c, const char *s)
{
    struct mh_err err;
    unsigned slices = 0;
    for (size_t at = 0, len = strlen(s); at < len; slices++) {
        struct mh_slice slice;
        must(mh_conn_read(c, &slice, &err), &err);
        cr_assert_leq(slice.len, len - at);
        cr_assert_eq(memcmp(mh_slice_data(&slice), s + at, slice.len), 0);
        at += slice.len;
        mh_slice_drop(&slice);
    }
    return slices;
}

/* The next read fails with CODE and words that contain WORDS. */
static MAYBE_UNUSED void must_end(struct mh_conn *c, int code, const char *words)
{
    struct mh_err err;
    struct mh_slice slice;
    mh_err_reset(&err);
    int rc = mh_conn_read(c, &slice, &err);
    cr_assert_eq(rc, code, "%s: %s", mh_code_name(rc), err.text);
    cr_assert_eq(err.code, code);
    cr_assert(strstr(err.text, words), "\"%s\" lacks \"%s\"", err.text, words);
    cr_assert_null(slice.slab);
}

/* Byte AT of a stream that repeats only after a long while. */
static MAYBE_UNUSED unsigned char pattern(uint64_t at)
{
    return (unsigned char)((at * 2654435761u) >> 13);
}

static MAYBE_UNUSED void pattern_fill(unsigned char *buf, size_t len, uint64_t at)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = pattern(at + i);
}

static MAYBE_UNUSED bool pattern_is(const unsigned char *buf, size_t len, uint64_t at)
{
    for (size_t i = 0; i < len; i++) {
        if (buf[i] != pattern(at + i))
            return false;
    }
    return true;
}

/* Queues LEN bytes of the pattern as slices of slabs of its own. */
static MAYBE_UNUSED int write_pattern(struct mh_conn *c, struct mh_pool *pool, uint64_t len,
                                      struct mh_err *err)
{
    for (uint64_t at = 0; at < len;) {
        struct mh_slab *slab = NULL;
        uint32_t part = (uint32_t)MH_MIN(len - at, MH_SLAB_BYTES);
        int rc = mh_slab_get_wait(pool, MH_NEVER, &slab, err);
        if (rc != MH_OK)
            return rc;
        pattern_fill(slab->data, part, at);
        rc = mh_conn_write_take(c, mh_slice_of(slab, 0, part), err);
        mh_slab_unref(slab);
        if (rc != MH_OK)
            return rc;
        at += part;
    }
    return MH_OK;
}

/* Reads LEN bytes and compares them with the pattern. */
static MAYBE_UNUSED void must_read_pattern(struct mh_conn *c, uint64_t len)
{
    struct mh_err err;
    for (uint64_t at = 0; at < len;) {
        struct mh_slice slice;
        must(mh_conn_read(c, &slice, &err), &err);
        cr_assert_leq(slice.len, len - at);
        cr_assert(pattern_is(mh_slice_data(&slice), slice.len, at), "at %llu",
                  (unsigned long long)at);
        at += slice.len;
        mh_slice_drop(&slice);
    }
}

/* A task's argument: LEN bytes of the pattern into the world's connection. */
struct pattern_out {
    struct world *w;
    uint64_t len;
};

static MAYBE_UNUSED void pattern_out_main(void *arg)
{
    const struct pattern_out *out = arg;
    struct mh_err err;
    must(write_pattern(out->w->conn, out->w->pool, out->len, &err), &err);
}

/* LEN bytes of the pattern out and LEN in, both at once. */
static MAYBE_UNUSED void must_exchange_pattern(struct world *w, uint64_t len)
{
    struct pattern_out out = {w, len};
    struct mh_task *writer = world_spawn(w, pattern_out_main, &out);
    must_read_pattern(w->conn, len);
    mh_task_join(writer);
}

/* The same with a server that sends back what it gets: all is counted and nothing is copied. */
static MAYBE_UNUSED void must_echo_pattern(struct world *w, uint64_t len)
{
    uint64_t copied = mh_slab_copied_bytes();
    must_exchange_pattern(w, len);
    cr_assert_eq(mh_conn_info(w->conn)->bytes_in, len);
    cr_assert_eq(mh_conn_info(w->conn)->bytes_out, len);
    cr_assert_eq(mh_slab_copied_bytes(), copied);
}

#endif
