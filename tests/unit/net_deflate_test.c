/* SPDX-License-Identifier: GPL-3.0-or-later */
/* COMPRESS=DEFLATE (RFC 4978) on a connection: both ways, in pieces, damaged, as a bomb. */
#include "net_peer.h"

#include <zlib.h>

#include "base/mem.h"
#include "net/conn_priv.h"
#include "net_certs.h"

/* --- the server's side ----------------------------------------------------------------------- */

/* Raw bytes of the connection, with or without TLS. */
struct pipe_end {
    int fd;
    SSL *ssl;
};

static size_t raw_recv(const struct pipe_end *e, void *buf, size_t len)
{
    size_t n = 0;
    if (e->ssl)
        return SSL_read_ex(e->ssl, buf, len, &n) == 1 ? n : 0;
    ssize_t got = recv(e->fd, buf, len, 0);
    return got > 0 ? (size_t)got : 0;
}

static void raw_send(const struct pipe_end *e, const void *buf, size_t len)
{
    if (e->ssl && len > 0)
        peer_tls_send(e->ssl, buf, len);
    else
        peer_check(peer_send(e->fd, buf, len));
}

struct codec {
    struct pipe_end end;
    z_stream in, out;
    unsigned char raw[16384];
    uint64_t raw_in, raw_out;
    size_t step; /* bytes sent at a time; 0: as they come */
};

static void codec_init(struct codec *c, struct pipe_end end, int level)
{
    memset(c, 0, sizeof *c);
    c->end = end;
    peer_check(inflateInit2(&c->in, -15) == Z_OK);
    peer_check(deflateInit2(&c->out, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
}

/* The whole connection FD is compressed. */
static void codec_open(struct codec *c, int fd)
{
    codec_init(c, (struct pipe_end){fd, NULL}, 6);
}

static void codec_done(struct codec *c)
{
    (void)inflateEnd(&c->in);
    (void)deflateEnd(&c->out);
}

static void codec_close(struct codec *c)
{
    codec_done(c);
    (void)close(c->end.fd);
}

/* 0 at the end. */
static size_t codec_recv(struct codec *c, void *buf, size_t len)
{
    c->in.next_out = buf;
    c->in.avail_out = (uInt)len;
    for (;;) {
        int rc = inflate(&c->in, Z_SYNC_FLUSH);
        peer_check(rc == Z_OK || rc == Z_BUF_ERROR);
        if (c->in.avail_out < len)
            return len - c->in.avail_out;
        size_t n = raw_recv(&c->end, c->raw, sizeof c->raw);
        if (n == 0)
            return 0;
        c->raw_in += n;
        c->in.next_in = c->raw;
        c->in.avail_in = (uInt)n;
    }
}

static void codec_send(struct codec *c, const void *data, size_t len, int flush)
{
    static __thread unsigned char out[16384];
    c->out.next_in = (Bytef *)(uintptr_t)data;
    c->out.avail_in = (uInt)len;
    do {
        c->out.next_out = out;
        c->out.avail_out = sizeof out;
        (void)deflate(&c->out, flush);
        size_t made = sizeof out - c->out.avail_out;
        c->raw_out += made;
        for (size_t at = 0; at < made;) {
            size_t part = c->step ? MH_MIN(c->step, made - at) : made;
            raw_send(&c->end, out + at, part);
            at += part;
        }
    } while (c->out.avail_out == 0);
}

/* --- round trips ----------------------------------------------------------------------------- */

static void serve_echo(struct peer *p, int fd)
{
    struct codec c;
    unsigned char buf[20000];
    SSL *ssl = p->ctx ? peer_tls(p, fd) : NULL;
    peer_check(!p->ctx || ssl);
    codec_init(&c, (struct pipe_end){fd, ssl}, 6);
    for (size_t n = 0; (n = codec_recv(&c, buf, sizeof buf)) > 0;)
        codec_send(&c, buf, n, Z_SYNC_FLUSH);
    if (p->arg)
        *(uint64_t *)p->arg = c.raw_in;
    SSL_free(ssl);
    codec_close(&c);
}

#define BIG_BYTES 6000001u

static struct mh_conn *open_deflated(struct world *w)
{
    struct mh_err err;
    must(mh_conn_start_deflate(world_open(w), &err), &err);
    return w->conn;
}

static void big_main(void *arg)
{
    struct world *w = arg;
    w->cfg.tls = w->peer.ctx != NULL;
    w->cfg.pin = w->arg;
    struct mh_conn *c = open_deflated(w);
    must_echo_pattern(w, BIG_BYTES);
    mh_conn_close(c);
}

Test(deflate, megabytes_both_ways)
{
    world_run_plain(serve_echo, big_main);
}

Test(deflate, megabytes_both_ways_inside_tls)
{
    struct cert leaf = cert_make(&(struct cert_spec){.cn = "x"}, NULL);
    char pin[65];
    cert_fingerprint(&leaf, pin);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    cr_assert_eq(SSL_CTX_use_certificate(ctx, leaf.x), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(ctx, leaf.key), 1);
    struct world w = {.arg = pin, .peer = {.ctx = ctx}};
    world_run(&w, serve_echo, big_main);
    SSL_CTX_free(ctx);
}

/* Text as mail has it becomes smaller on the wire, and commands are answered though they are
 * short. */
static void text_main(void *arg)
{
    struct world *w = arg;
    uint64_t calls = 0;
    struct mh_conn *c = open_deflated(w);
    for (int i = 0; i < 1000; i++) {
        must_write(c, "a1 UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\r\n");
        must_read(c, "a1 UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\r\n");
        if (i == 100)
            calls = mh_mem_calls();
    }
    cr_assert_eq(mh_mem_calls(), calls, "no allocation once warm");
    cr_assert_eq(mh_conn_info(c)->bytes_out, 55 * 1000);
    mh_conn_close(c);
}

Test(deflate, commands_and_answers)
{
    uint64_t raw_in = 0;
    struct world w = {.peer = {.arg = &raw_in}};
    world_run(&w, serve_echo, text_main);
    cr_assert_lt(raw_in, 55 * 1000 / 3);
}

/* --- one flush a round ----------------------------------------------------------------------- */

static void serve_raw(struct peer *p, int fd)
{
    unsigned char raw[4096];
    size_t n = 0;
    int flushes = 0;
    static const unsigned char marker[] = {0, 0, 0xff, 0xff};
    while (n < 4 || memcmp(raw + n - 4, marker, 4) != 0) {
        ssize_t got = recv(fd, raw + n, sizeof raw - n, 0);
        peer_check(got > 0);
        n += (size_t)got;
    }
    for (size_t i = 0; i + 4 <= n; i++)
        flushes += memcmp(raw + i, marker, 4) == 0;
    atomic_store(&p->progress, flushes);
    peer_end(fd);
}

static void flushes_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    struct mh_slab *slab = mh_slab_get(w->pool);
    memset(slab->data, 'm', 100);
    struct mh_conn *c = open_deflated(w);
    for (int i = 0; i < 50; i++) {
        must_write(c, "a1 APPEND x {100+}\r\n");
        must(mh_conn_write_take(c, mh_slice_of(slab, 0, 100), &err), &err);
    }
    must(mh_conn_drain(c, &err), &err);
    mh_slab_unref(slab);
    mh_conn_close(c);
}

Test(deflate, one_flush_a_round)
{
    struct world w = {0};
    world_run(&w, serve_raw, flushes_main);
    cr_assert_eq(atomic_load(&w.peer.progress), 1);
}

/* --- pieces ---------------------------------------------------------------------------------- */

static const char greeting[] =
    "* OK everything that follows was compressed, byte by byte by byte\r\n";

static void serve_pieces(struct peer *p, int fd)
{
    struct codec c;
    codec_open(&c, fd);
    c.step = 1;
    (void)p;
    for (int i = 0; i < 20; i++) {
        codec_send(&c, greeting, strlen(greeting), Z_SYNC_FLUSH);
        codec_send(&c, NULL, 0, Z_FULL_FLUSH);
    }
    codec_close(&c);
}

static void pieces_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = open_deflated(w);
    char all[20 * sizeof greeting] = "";
    for (int i = 0; i < 20; i++)
        (void)strcat(all, greeting);
    must_read(c, all);
    must_end(c, MH_ERETRY, "the server closed the connection");
    mh_conn_close(c);
}

Test(deflate, one_byte_at_a_time)
{
    world_run_plain(serve_pieces, pieces_main);
}

/* The first compressed bytes come in one segment with the reply in the clear. */
static void serve_with_reply(struct peer *p, int fd)
{
    struct codec c;
    unsigned char both[256] = "a OK begin\r\n";
    (void)p;
    codec_open(&c, fd);
    c.out.next_in = (Bytef *)(uintptr_t)greeting;
    c.out.avail_in = sizeof greeting - 1;
    c.out.next_out = both + 12;
    c.out.avail_out = sizeof both - 12;
    peer_check(deflate(&c.out, Z_SYNC_FLUSH) == Z_OK && c.out.avail_out > 0);
    peer_expect(fd, "a COMPRESS DEFLATE\r\n");
    peer_check(peer_send(fd, both, sizeof both - c.out.avail_out));
    unsigned char buf[100];
    peer_check(codec_recv(&c, buf, sizeof buf) == 4 && memcmp(buf, "NOOP", 4) == 0);
    codec_close(&c);
}

static void with_reply_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    struct mh_slice slice;
    struct mh_conn *c = world_open(w);
    must_write(c, "a COMPRESS DEFLATE\r\n");
    must(mh_conn_read(c, &slice, &err), &err);
    cr_assert_gt(slice.len, 12);
    cr_assert_eq(memcmp(mh_slice_data(&slice), "a OK begin\r\n", 12), 0);
    mh_conn_unread(c, mh_slice_sub(&slice, 12, slice.len - 12));
    mh_slice_drop(&slice);
    must(mh_conn_start_deflate(c, &err), &err);
    must_read(c, greeting);
    must_write(c, "NOOP");
    must_end(c, MH_ERETRY, "closed");
    mh_conn_close(c);
}

Test(deflate, what_came_with_the_reply_is_the_streams_start)
{
    world_run_plain(serve_with_reply, with_reply_main);
}

/* --- bad streams ----------------------------------------------------------------------------- */

static void serve_bad(struct peer *p, int fd)
{
    struct codec c;
    codec_open(&c, fd);
    codec_send(&c, "good", 4, Z_SYNC_FLUSH);
    switch (p->served) {
    case 0: /* no block type 3 */
        peer_check(peer_send(fd, "\xff\xff\xff\xff", 4));
        break;
    case 1: /* the end of the stream */
        codec_send(&c, "bye", 3, Z_FINISH);
        break;
    default: /* a stored block whose two lengths disagree */
        peer_check(peer_send(fd, "\x00\x05\x00\x00\x00", 5));
        break;
    }
    (void)peer_drain(fd);
    codec_close(&c);
}

static void bad_main(void *arg)
{
    static const struct {
        const char *before;
        const char *words;
    } cases[] = {
        {"good", "the compressed stream is damaged"},
        {"goodbye", "the server ended the compressed stream"},
        {"good", "the compressed stream is damaged"},
    };
    struct world *w = arg;
    struct mh_err err;
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_slice slice;
        char text[64] = "";
        int rc = MH_OK;
        struct mh_conn *c = open_deflated(w);
        while ((rc = mh_conn_read(c, &slice, &err)) == MH_OK) {
            cr_assert_lt(strlen(text) + slice.len, sizeof text);
            (void)strncat(text, (char *)mh_slice_data(&slice), slice.len);
            mh_slice_drop(&slice);
        }
        cr_expect_eq(rc, MH_ERETRY);
        cr_expect(strstr(err.text, cases[i].words), "%zu: %s", i, err.text);
        cr_expect(strncmp(text, cases[i].before, strlen(cases[i].before)) == 0, "%zu: %s", i, text);
        cr_expect_eq(mh_conn_read(c, &slice, &err), MH_ERETRY, "and stays so");
        mh_conn_close(c);
    }
}

Test(deflate, damaged_and_ended_streams)
{
    struct world w = {.peer = {.connections = 3}};
    world_run(&w, serve_bad, bad_main);
}

#define BOMB_BYTES (200ull << 20)

static void serve_bomb(struct peer *p, int fd)
{
    static unsigned char zeros[65536];
    struct codec c;
    (void)p;
    codec_init(&c, (struct pipe_end){fd, NULL}, 9);
    for (uint64_t at = 0; at < BOMB_BYTES; at += sizeof zeros)
        codec_send(&c, zeros, sizeof zeros, Z_NO_FLUSH);
    codec_send(&c, NULL, 0, Z_SYNC_FLUSH);
    peer_check(c.raw_out < BOMB_BYTES / 500);
    codec_close(&c);
}

static void bomb_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    struct mh_slice slice;
    uint64_t total = 0;
    struct mh_conn *c = open_deflated(w);
    while (mh_conn_read(c, &slice, &err) == MH_OK) {
        total += slice.len;
        mh_slice_drop(&slice);
    }
    cr_assert_eq(total, BOMB_BYTES);
    cr_assert_leq(slabs_peak(w), 3, "inflated as it is read, never ahead");
    mh_conn_close(c);
}

Test(deflate, a_bomb_in_flat_memory)
{
    world_run_plain(serve_bomb, bomb_main);
}

/* --- back-pressure and memory ---------------------------------------------------------------- */

static void serve_late(struct peer *p, int fd)
{
    struct codec c;
    static unsigned char buf[65536];
    codec_open(&c, fd);
    while (!atomic_load(&p->go))
        (void)sched_yield();
    uint64_t at = 0;
    for (size_t n = 0; (n = codec_recv(&c, buf, sizeof buf)) > 0; at += n)
        peer_check(pattern_is(buf, n, at));
    peer_check(at == *(uint64_t *)p->arg);
    codec_close(&c);
}

static void held_writer(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    (void)write_pattern(w->conn, w->pool, 1u << 30, &err);
    cr_assert_eq(err.code, MH_ECANCEL, "%s", err.text);
}

static void backpressure_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    struct mh_conn *c = open_deflated(w);
    struct mh_task *writer = world_spawn(w, held_writer, w);
    while (c->sock.writable || c->outq.bytes + MH_SLAB_BYTES <= MH_CONN_OUTQ_BYTES)
        mh_yield();
    cr_assert_leq(mh_conn_queued_bytes(c), MH_CONN_OUTQ_BYTES + MH_LOOP_BLOCK_BYTES);
    mh_task_cancel(writer);
    mh_task_join(writer);
    atomic_store(&w->peer.go, 1);
    *(uint64_t *)w->peer.arg = c->info.bytes_out + c->outq.bytes;
    must(mh_conn_drain(c, &err), &err);
    cr_assert_eq(c->info.bytes_out, *(uint64_t *)w->peer.arg);
    cr_assert_null(c->zblock, "given back");
    mh_conn_close(c);
}

Test(deflate, a_peer_that_reads_nothing_holds_the_writer)
{
    uint64_t total = 0;
    struct world w = {.peer = {.arg = &total}};
    world_run(&w, serve_late, backpressure_main);
}

static void nth_main(void *arg)
{
    struct world *w = arg;
    int failures = 0;
    struct mh_err err;
    for (uint64_t nth = 1; nth <= 12; nth++) {
        struct mh_conn *c = world_open(w);
        struct mh_slice slice = {NULL, 0, 0};
        mh_mem_fail_nth(nth);
        int rc = mh_conn_start_deflate(c, &err);
        if (rc == MH_OK)
            rc = mh_conn_write_text(c, "x", 1, &err);
        if (rc == MH_OK)
            rc = mh_conn_read(c, &slice, &err);
        mh_mem_fail_nth(0);
        cr_assert(rc == MH_OK || rc == MH_ERUN, "%llu: %s", (unsigned long long)nth, err.text);
        failures += rc != MH_OK;
        mh_slice_drop(&slice);
        mh_conn_close(c);
    }
    cr_assert_geq(failures, 5);
    cr_assert_leq(failures, 11);
}

Test(deflate, every_allocation_may_fail)
{
    struct world w = {.peer = {.connections = 12}};
    world_run(&w, serve_echo, nth_main);
}
