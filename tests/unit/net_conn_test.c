/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Connections in the clear: reading, writing, deadlines, cancelling, closing, memory, rate
 * limits. */
#include "net_peer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/mem.h"

#include "net/conn_priv.h"

/* --- bytes ----------------------------------------------------------------------------------- */

static void serve_echo(struct peer *p, int fd)
{
    char buf[65536];
    (void)p;
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n <= 0 || !peer_send(fd, buf, (size_t)n))
            break;
    }
    (void)close(fd);
}

static void echo_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    const struct mh_conn_info *info = mh_conn_info(c);
    must_write(c, "a1 CAPABILITY\r\n");
    must_read(c, "a1 CAPABILITY\r\n");
    cr_assert_eq(info->bytes_in, 15);
    cr_assert_eq(info->bytes_out, 15);
    cr_assert_not(info->tls);
    cr_assert_str_eq(info->tls_version, "");
    struct mh_net_counters *n = mh_net_counters(w->net);
    cr_assert_eq(n->connects, 1);
    cr_assert_eq(n->bytes_in, 15);
    cr_assert_eq(n->bytes_out, 15);
    cr_assert_eq(n->tls_handshakes, 0);
    mh_conn_close(c);
}

Test(conn, echo)
{
    world_run_plain(serve_echo, echo_main);
}

static const char dialogue[] =
    "* OK ready\r\n* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\na1 OK done\r\n";

static void serve_bytes(struct peer *p, int fd)
{
    (void)p;
    for (const char *s = dialogue; *s; s++) {
        peer_check(peer_send(fd, s, 1));
        peer_expect(fd, "+"); /* the byte was read: the next cannot join it */
    }
    (void)close(fd);
}

static void bytes_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    for (const char *s = dialogue; *s; s++) {
        const char one[2] = {*s, '\0'};
        cr_assert_eq(must_read(c, one), 1);
        must_write(c, "+");
    }
    must_end(c, MH_ERETRY, "the server closed the connection");
    must_end(c, MH_ERETRY, "the server closed the connection");
    cr_assert_leq(slabs_peak(w), 2, "one slab to read, one for text");
    mh_conn_close(c);
}

Test(conn, one_byte_at_a_time)
{
    world_run_plain(serve_bytes, bytes_main);
}

enum { SLICES_HELD = 40 };

static void serve_spaced(struct peer *p, int fd)
{
    (void)p;
    unsigned char buf[1000];
    for (int i = 0; i < SLICES_HELD; i++) {
        pattern_fill(buf, sizeof buf, (uint64_t)i * sizeof buf);
        peer_check(peer_send(fd, buf, sizeof buf));
        peer_expect(fd, "+");
    }
    (void)close(fd);
}

static void held_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    struct mh_slice held[SLICES_HELD];
    struct mh_err err;
    for (int i = 0; i < SLICES_HELD; i++) {
        must(mh_conn_read(c, &held[i], &err), &err);
        cr_assert_eq(held[i].len, 1000);
        must_write(c, "+");
    }
    cr_assert_leq(slabs_peak(w), 2, "what arrives in pieces fills up one slab");
    for (int i = 0; i < SLICES_HELD; i++) {
        cr_assert(pattern_is(mh_slice_data(&held[i]), 1000, (uint64_t)i * 1000), "slice %d", i);
        mh_slice_drop(&held[i]);
    }
    mh_conn_close(c);
}

Test(conn, slices_that_are_held_keep_their_bytes)
{
    world_run_plain(serve_spaced, held_main);
}

static void serve_pattern_both_ways(struct peer *p, int fd)
{
    static unsigned char out[65536];
    static unsigned char in[65536];
    const uint64_t total = *(uint64_t *)p->arg;
    for (uint64_t at = 0; at < total;) {
        size_t part = (size_t)MH_MIN(total - at, sizeof out);
        pattern_fill(out, part, at);
        peer_check(peer_send(fd, out, part));
        peer_recv(fd, in, part);
        peer_check(pattern_is(in, part, at));
        at += part;
    }
    (void)close(fd);
}

static void big_main(void *arg)
{
    struct world *w = arg;
    (void)world_open(w);
    must_exchange_pattern(w, *(uint64_t *)w->peer.arg);
    must_end(w->conn, MH_ERETRY, "closed");
    mh_conn_close(w->conn);
}

Test(conn, megabytes_both_ways_at_once)
{
    uint64_t total = 12345678;
    struct world w = {.peer = {.arg = &total}};
    world_run(&w, serve_pattern_both_ways, big_main);
}

static void unread_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    struct mh_slice slice;
    struct mh_err err;
    must_write(c, "OK done\r\nmore");
    must(mh_conn_read(c, &slice, &err), &err);
    cr_assert_eq(slice.len, 13);
    mh_conn_unread(c, mh_slice_sub(&slice, 9, 4));
    mh_slice_drop(&slice);
    cr_assert_eq(mh_conn_info(c)->bytes_in, 9);
    must_read(c, "more");
    cr_assert_eq(mh_conn_info(c)->bytes_in, 13);
    mh_conn_close(c);
}

Test(conn, what_was_read_too_far_can_be_given_back)
{
    world_run_plain(serve_echo, unread_main);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void serve_bye(struct peer *p, int fd)
{
    (void)p;
    peer_sends(fd, "* BYE shutting down\r\n");
    (void)close(fd);
}

static void bye_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    char where[64];
    struct mh_err err;
    struct mh_slice slice;
    must_read(c, "* BYE shutting down\r\n");
    cr_assert_eq(mh_conn_read(c, &slice, &err), MH_ERETRY);
    (void)snprintf(where, sizeof where, "127.0.0.1:%u", (unsigned)w->peer.port);
    cr_assert_str_eq(err.where, where);
    cr_assert_str_eq(err.layer, "net");
    mh_conn_close(c);
}

Test(conn, what_came_before_the_end_is_read)
{
    world_run_plain(serve_bye, bye_main);
}

static void serve_reset(struct peer *p, int fd)
{
    (void)p;
    peer_expect(fd, "x");
    peer_reset(fd);
}

/* Writes TEXT and waits until it has left, at the most so often; what the first failure was. */
static int write_until_refused(struct mh_conn *c, const char *text, int most, struct mh_err *err)
{
    int rc = MH_OK;
    for (int i = 0; i < most && rc == MH_OK; i++) {
        rc = mh_conn_write_text(c, text, strlen(text), err);
        if (rc == MH_OK)
            rc = mh_conn_drain(c, err);
    }
    return rc;
}

static void reset_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    struct mh_err err;
    (void)signal(SIGPIPE, SIG_DFL); /* would end the test */
    must_write(c, "x");
    must_end(c, MH_ERETRY, "receiving failed: Connection reset by peer");
    cr_assert_eq(write_until_refused(c, "y", 10, &err), MH_ERETRY);
    cr_assert_str_eq(err.text, "sending failed: Broken pipe");
    cr_assert_eq(mh_conn_write_text(c, "y", 1, &err), MH_ERETRY, "and stays so");
    cr_assert_eq(mh_conn_drain(c, &err), MH_ERETRY);
    cr_assert_eq(mh_conn_queued_bytes(c), 0);
    mh_conn_close(c);
}

Test(conn, a_reset_is_an_error_and_no_signal)
{
    world_run_plain(serve_reset, reset_main);
}

/* The server says why, closes, and resets because of what we go on sending. */
static void serve_overquota(struct peer *p, int fd)
{
    peer_sends(fd, "* BYE over quota\r\n");
    (void)close(fd);
    atomic_store(&p->progress, 1);
}

static void overquota_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    struct mh_err err;
    while (!atomic_load(&w->peer.progress))
        mh_yield();
    cr_assert_eq(write_until_refused(c, "data", 1000, &err), MH_ERETRY);
    must_read(c, "* BYE over quota\r\n");
    struct mh_slice slice;
    cr_assert_eq(mh_conn_read(c, &slice, &err), MH_ERETRY);
    mh_conn_close(c);
}

Test(conn, the_reason_is_read_after_a_failed_write)
{
    world_run_plain(serve_overquota, overquota_main);
}

/* --- deadlines ------------------------------------------------------------------------------- */

/* Silent until the client has gone. */
static void serve_silence(struct peer *p, int fd)
{
    (void)p;
    peer_end(fd);
}

static void deadline_main(void *arg)
{
    struct world *w = arg;
    w->cfg.timeout_ms = 60;
    struct mh_conn *c = world_open(w);
    int64_t start = mh_now_ms();
    must_end(c, MH_ERETRY, "the server sent nothing for");
    cr_assert_geq(mh_now_ms() - start, 60);
    mh_conn_close(c);
}

Test(conn, a_read_that_brings_nothing_ends)
{
    world_run_plain(serve_silence, deadline_main);
}

static void until_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    struct mh_slice slice;
    struct mh_err err;
    cr_assert_eq(mh_conn_read_until(c, mh_now_ms() + 30, &slice, &err), MH_ETIMEOUT);
    cr_assert_not(mh_conn_is_held(c), "silence is the peer's");
    cr_assert_eq(mh_conn_read_until(c, mh_now_ms() - 1, &slice, &err), MH_ETIMEOUT);
    must_write(c, "x");
    must(mh_conn_read_until(c, MH_NEVER, &slice, &err), &err);
    cr_assert_eq(slice.len, 1);
    mh_slice_drop(&slice);
    must_write(c, "still here");
    must_read(c, "still here");
    mh_conn_close(c);
}

Test(conn, a_deadline_of_the_callers_leaves_it_usable)
{
    world_run_plain(serve_echo, until_main);
}

/* Reads nothing until told, then everything. */
static void serve_late(struct peer *p, int fd)
{
    while (!atomic_load(&p->go))
        (void)sched_yield();
    size_t n = peer_drain(fd);
    peer_check(p->arg == NULL || n == *(size_t *)p->arg);
    (void)close(fd);
}

static void backpressure_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    size_t written = 0;
    w->cfg.timeout_ms = 150;
    struct mh_conn *c = world_open(w);
    int rc = MH_OK;
    while (rc == MH_OK) {
        struct mh_slab *slab = mh_slab_get(w->pool);
        cr_assert_not_null(slab, "the queue is bounded, the pool is not empty");
        rc = mh_conn_write_take(c, mh_slice_of(slab, 0, MH_SLAB_BYTES), &err);
        mh_slab_unref(slab);
        written += rc == MH_OK ? MH_SLAB_BYTES : 0;
        cr_assert_leq(mh_conn_queued_bytes(c), MH_CONN_OUTQ_BYTES);
        cr_assert_lt(written, 1u << 30, "the kernel's buffers end somewhere");
    }
    cr_assert_eq(rc, MH_ERETRY);
    cr_assert(strstr(err.text, "the server took no bytes for"), "%s", err.text);
    cr_assert_geq(mh_conn_queued_bytes(c), MH_CONN_OUTQ_BYTES - MH_SLAB_BYTES);
    cr_assert_leq(slabs_peak(w), MH_CONN_OUTQ_BYTES / MH_SLAB_BYTES + 1);
    /* Nothing is lost by waiting: the same connection goes on when the server does. */
    *(size_t *)w->peer.arg = written;
    atomic_store(&w->peer.go, 1);
    must(mh_conn_drain(c, &err), &err);
    cr_assert_eq(mh_conn_info(c)->bytes_out, written);
    mh_conn_close(c);
}

Test(conn, a_peer_that_reads_nothing_holds_the_writer)
{
    size_t expected = 0;
    struct world w = {.peer = {.arg = &expected}};
    world_run(&w, serve_late, backpressure_main);
}

/* Reads in small steps through a small window. */
static void serve_slowly(struct peer *p, int fd)
{
    const size_t total = *(size_t *)p->arg;
    unsigned char buf[1500];
    for (size_t at = 0; at < total;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        peer_check(n > 0 && pattern_is(buf, (size_t)n, at));
        at += (size_t)n;
    }
    peer_sends(fd, "OK");
    (void)close(fd);
}

static void slow_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    struct mh_conn *c = world_open(w);
    must(write_pattern(c, w->pool, *(size_t *)w->peer.arg, &err), &err);
    must_read(c, "OK");
    cr_assert_leq(slabs_peak(w), MH_CONN_OUTQ_BYTES / MH_SLAB_BYTES + 2);
    mh_conn_close(c);
}

Test(conn, a_slow_reader_gets_everything_in_flat_memory)
{
    size_t total = 20000001;
    struct world w = {.peer = {.arg = &total}};
    world_run(&w, serve_slowly, slow_main);
}

/* --- several tasks in one connection --------------------------------------------------------- */

struct outcome {
    struct world w;
    int read_rc, write_rc, drain_rc;
    struct mh_err read_err, write_err, drain_err;
};

static void parked_reader(void *arg)
{
    struct outcome *o = arg;
    struct mh_slice slice;
    o->read_rc = mh_conn_read(o->w.conn, &slice, &o->read_err);
    cr_assert_null(slice.slab);
}

static void parked_writer(void *arg)
{
    struct outcome *o = arg;
    o->write_rc = write_pattern(o->w.conn, o->w.pool, 1u << 30, &o->write_err);
}

static void parked_drainer(void *arg)
{
    struct outcome *o = arg;
    o->drain_rc = mh_conn_drain(o->w.conn, &o->drain_err);
}

/* A reader, a writer and one that waits for the queue to leave: each comes to its rest. */
static void park_three(struct outcome *o, struct mh_task *tasks[3])
{
    (void)world_open(&o->w);
    tasks[0] = world_spawn(&o->w, parked_reader, o);
    tasks[1] = world_spawn(&o->w, parked_writer, o);
    while (mh_conn_queued_bytes(o->w.conn) < MH_CONN_OUTQ_BYTES - MH_SLAB_BYTES)
        mh_yield();
    tasks[2] = world_spawn(&o->w, parked_drainer, o);
    for (int i = 0; i < 5; i++)
        mh_yield();
}

static void join_three(const struct outcome *o, struct mh_task *tasks[3], int rc)
{
    for (int i = 0; i < 3; i++)
        mh_task_join(tasks[i]);
    cr_assert_eq(o->read_rc, rc);
    cr_assert_eq(o->write_rc, rc);
    cr_assert_eq(o->drain_rc, rc);
}

static void close_main(void *arg)
{
    struct outcome *o = arg;
    struct mh_task *tasks[3];
    o->w.cfg.timeout_ms = 0; /* no deadline frees them */
    park_three(o, tasks);
    mh_conn_close(o->w.conn);
    join_three(o, tasks, MH_ERETRY);
    cr_assert(strstr(o->read_err.text, "closed on this side"), "%s", o->read_err.text);
    cr_assert(strstr(o->write_err.text, "closed on this side"), "%s", o->write_err.text);
    cr_assert(strstr(o->drain_err.text, "closed on this side"), "%s", o->drain_err.text);
    atomic_store(&o->w.peer.go, 1);
}

Test(conn, closing_frees_the_tasks_that_wait_in_it)
{
    struct outcome o = {0};
    world_run(&o.w, serve_late, close_main);
}

static void cancel_main(void *arg)
{
    struct outcome *o = arg;
    struct mh_task *tasks[3];
    struct mh_err err;
    park_three(o, tasks);
    for (int i = 0; i < 3; i++)
        mh_task_cancel(tasks[i]);
    join_three(o, tasks, MH_ECANCEL);
    /* The connection itself is unharmed. */
    atomic_store(&o->w.peer.go, 1);
    must(mh_conn_drain(o->w.conn, &err), &err);
    mh_conn_close(o->w.conn);
}

Test(conn, cancelled_tasks_leave_the_connection_whole)
{
    struct outcome o = {0};
    world_run(&o.w, serve_late, cancel_main);
}

static void cancelled_reader(void *arg)
{
    struct outcome *o = arg;
    struct mh_slice slice;
    cr_assert_eq(mh_sleep_until(MH_NEVER - 1), MH_ECANCEL);
    o->read_rc = mh_conn_read(o->w.conn, &slice, &o->read_err);
}

static void cancelled_before_main(void *arg)
{
    struct outcome *o = arg;
    (void)world_open(&o->w);
    struct mh_task *t = world_spawn(&o->w, cancelled_reader, o);
    mh_yield();
    must_write(o->w.conn, "data that is there");
    must_read(o->w.conn, "d");
    mh_task_cancel(t);
    mh_task_join(t);
    cr_assert_eq(o->read_rc, MH_ECANCEL, "also when there would be something to read");
    mh_conn_close(o->w.conn);
}

static void serve_d(struct peer *p, int fd)
{
    (void)p;
    peer_sends(fd, "d");
    peer_end(fd);
}

Test(conn, a_cancelled_task_reads_no_more)
{
    struct outcome o = {0};
    world_run(&o.w, serve_d, cancelled_before_main);
}

/* Every slab that is free: nobody else gets one meanwhile. */
struct hoard {
    struct mh_slab *slabs[POOL_BYTES / MH_SLAB_BYTES + 1];
    size_t n;
};

static void hoard_take(struct hoard *h, struct mh_pool *pool)
{
    h->n = 0;
    while ((h->slabs[h->n] = mh_slab_get(pool)) != NULL)
        h->n++;
}

static void hoard_give(struct hoard *h, size_t n)
{
    for (; n > 0 && h->n > 0; n--)
        mh_slab_unref(h->slabs[--h->n]);
}

static void starved_main(void *arg)
{
    struct outcome *o = arg;
    struct hoard all;
    (void)world_open(&o->w);
    hoard_take(&all, o->w.pool);
    struct mh_task *reader = world_spawn(&o->w, parked_reader, o);
    while (!o->w.conn->sock.readable)
        mh_yield();
    mh_yield();
    mh_conn_close(o->w.conn); /* while the reader waits for a slab */
    mh_yield();
    hoard_give(&all, SIZE_MAX);
    mh_task_join(reader);
    cr_assert_eq(o->read_rc, MH_ERETRY);
    cr_assert(strstr(o->read_err.text, "closed on this side"), "%s", o->read_err.text);
}

Test(conn, closing_while_a_task_waits_for_memory)
{
    struct outcome o = {0};
    world_run(&o.w, serve_d, starved_main);
}

static void wait_for_slab_main(void *arg)
{
    struct world *w = arg;
    struct hoard all;
    struct mh_conn *c = world_open(w);
    struct mh_slice slice;
    struct mh_err err;
    hoard_take(&all, w->pool);
    hoard_give(&all, 1);
    must_write(c, "text needs a slab");
    must(mh_conn_drain(c, &err), &err);
    must(mh_conn_read(c, &slice, &err), &err); /* the text's slab is back: it is read into */
    mh_slice_drop(&slice);
    hoard_give(&all, SIZE_MAX);
    mh_conn_close(c);
}

Test(conn, one_slab_is_enough_to_ask_and_be_answered)
{
    world_run_plain(serve_echo, wait_for_slab_main);
}

/* --- framing and secrets --------------------------------------------------------------------- */

static void serve_collect(struct peer *p, int fd)
{
    const char *expected = p->arg;
    peer_expect(fd, expected);
    peer_sends(fd, "OK");
    peer_end(fd);
}

static void mixed_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    struct mh_slab *slab = mh_slab_get(w->pool);
    struct mh_err err;
    memcpy(slab->data, "MESSAGE", 7);
    uint64_t copied = mh_slab_copied_bytes();
    uint64_t writes = mh_net_counters(w->net)->writes;
    must_write(c, "a1 APPEND x ");
    must_write(c, "{7+}\r\n");
    must(mh_conn_write_take(c, mh_slice_of(slab, 0, 3), &err), &err);
    must(mh_conn_write_take(c, mh_slice_of(slab, 3, 4), &err), &err);
    must(mh_conn_write_take(c, (struct mh_slice){NULL, 0, 0}, &err), &err);
    must_write(c, " ");
    must_write(c, "{2+}\r\n");
    must(mh_conn_write_take(c, mh_slice_of(slab, 0, 2), &err), &err);
    must_write(c, "");
    must_write(c, "\r\n");
    must_read(c, "OK");
    cr_assert_eq(mh_net_counters(w->net)->writes - writes, 1, "one round, one system call");
    cr_assert_eq(mh_slab_copied_bytes(), copied, "message bytes are not copied");
    cr_assert(mh_slab_is_sole(slab));
    mh_slab_unref(slab);
    mh_conn_close(c);
}

Test(conn, text_and_slices_leave_in_order_and_together)
{
    struct world w = {
        .peer = {.arg = (void *)(uintptr_t) "a1 APPEND x {7+}\r\nMESSAGE {2+}\r\nME\r\n"}};
    world_run(&w, serve_collect, mixed_main);
}

static void serve_count(struct peer *p, int fd)
{
    size_t left = *(size_t *)p->arg;
    static char buf[65536];
    while (left > 0) {
        ssize_t n = recv(fd, buf, MH_MIN(left, sizeof buf), 0);
        peer_check(n > 0);
        for (ssize_t i = 0; i < n; i++)
            peer_check(buf[i] == 't');
        left -= (size_t)n;
    }
    peer_sends(fd, "OK");
    (void)close(fd);
}

static void long_text_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    struct mh_err err;
    static char text[MH_SLAB_BYTES];
    memset(text, 't', sizeof text);
    size_t left = *(size_t *)w->peer.arg;
    must(mh_conn_write_text(c, text, sizeof text, &err), &err);
    left -= sizeof text;
    for (size_t len = 1; left > 0; len = len * 3 % 40009) {
        size_t part = MH_MIN(len, left);
        must(mh_conn_write_text(c, text, part, &err), &err);
        left -= part;
    }
    must_read(c, "OK");
    mh_conn_close(c);
}

Test(conn, text_of_every_length)
{
    size_t total = 3000000;
    struct world w = {.peer = {.arg = &total}};
    world_run(&w, serve_count, long_text_main);
}

static const char secret[] = "correct horse battery staple";

/* True when some slab of the pool holds the secret. */
static bool pool_holds_secret(struct mh_pool *pool)
{
    struct hoard all;
    bool found = false;
    hoard_take(&all, pool);
    for (size_t i = 0; i < all.n; i++)
        found |= memmem(all.slabs[i]->data, MH_SLAB_BYTES, secret, sizeof secret - 1) != NULL;
    hoard_give(&all, SIZE_MAX);
    return found;
}

static void login(struct mh_conn *c)
{
    struct mh_err err;
    must_write(c, "a1 LOGIN anna ");
    must(mh_conn_write_secret(c, secret, strlen(secret), &err), &err);
    must_write(c, "\r\n");
}

static void secret_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    login(c);
    must_read(c, "OK");
    cr_assert_not(pool_holds_secret(w->pool), "sent: wiped");
    login(c);
    mh_conn_close(c);
    cr_assert_not(pool_holds_secret(w->pool), "closed: wiped");
    /* The pool does show what is not wiped. */
    struct mh_slab *slab = mh_slab_get(w->pool);
    memcpy(slab->data + 5000, secret, sizeof secret);
    mh_slab_unref(slab);
    cr_assert(pool_holds_secret(w->pool));
    mh_trace_close();
}

Test(conn, secrets_are_wiped_and_not_traced)
{
    struct world w = {
        .peer = {.arg = (void *)(uintptr_t) "a1 LOGIN anna correct horse battery staple\r\n"}};
    char path[] = "/tmp/mh-net-trace-XXXXXX";
    char text[4096] = {0};
    struct mh_err err;
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    must(mh_trace_open(path, &err), &err);
    world_run(&w, serve_collect, secret_main);
    cr_assert_gt(read(fd, text, sizeof text - 1), 0);
    (void)close(fd);
    (void)unlink(path);
    cr_assert(strstr(text, "> a1 LOGIN anna "), "%s", text);
    cr_assert(strstr(text, "> (secret)"), "%s", text);
    cr_assert_not(strstr(text, "battery"), "%s", text);
}

/* --- memory ---------------------------------------------------------------------------------- */

static void no_malloc_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    uint64_t calls = 0;
    for (int i = 0; i < 2000; i++) {
        must_write(c, "a1 NOOP\r\n");
        must_read(c, "a1 NOOP\r\n");
        if (i == 100)
            calls = mh_mem_calls();
    }
    cr_assert_eq(mh_mem_calls(), calls);
    mh_conn_close(c);
}

Test(conn, no_allocation_once_warm)
{
    world_run_plain(serve_echo, no_malloc_main);
}

static void idle_main(void *arg)
{
    struct outcome *o = arg;
    struct mh_conn *c = world_open(&o->w);
    must_read(c, "d");
    struct mh_task *reader = world_spawn(&o->w, parked_reader, o);
    mh_yield();
    mh_yield();
    cr_assert_eq(slabs_in_use(&o->w), 0, "a reader that waits holds no slab");
    mh_task_cancel(reader);
    mh_task_join(reader);
    mh_conn_close(c);
}

Test(conn, a_waiting_reader_pins_no_slab)
{
    struct outcome o = {0};
    world_run(&o.w, serve_d, idle_main);
}

static void unattended_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = world_open(w);
    must_read(c, "d");
    must_hold_no_slab(w);
    mh_conn_close(c);
}

Test(conn, a_connection_at_rest_pins_no_slab)
{
    world_run_plain(serve_d, unattended_main);
}

enum { CROWD = 500 };

static int crowd_fds[CROWD];

static void serve_crowd(struct peer *p, int fd)
{
    crowd_fds[p->served] = fd;
    peer_sends(fd, "* OK hello\r\n");
    if (p->served + 1 < CROWD)
        return;
    for (int i = 0; i < CROWD; i++) {
        peer_end(crowd_fds[i]);
    }
}

static void crowd_main(void *arg)
{
    struct world *w = arg;
    static struct mh_conn *conns[CROWD];
    for (int i = 0; i < CROWD; i++) {
        conns[i] = world_open(w);
        must_read(conns[i], "* OK hello\r\n");
    }
    must_hold_no_slab(w);
    for (int i = 0; i < CROWD; i++)
        mh_conn_close(conns[i]);
}

/* More connections than the pool has slabs. */
Test(conn, five_hundred_idle_connections)
{
    struct world w = {.peer = {.connections = CROWD}};
    world_run(&w, serve_crowd, crowd_main);
}

static void nth_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    int failures = 0;
    for (uint64_t nth = 1; nth < 50; nth++) {
        struct mh_conn *c = NULL;
        mh_err_reset(&err);
        mh_mem_fail_nth(nth);
        int rc = mh_conn_open(&w->cfg, &c, &err);
        if (rc == MH_OK)
            rc = mh_conn_write_text(c, "x", 1, &err);
        struct mh_slice slice = {NULL, 0, 0};
        if (rc == MH_OK)
            rc = mh_conn_read(c, &slice, &err);
        mh_mem_fail_nth(0);
        mh_slice_drop(&slice);
        mh_conn_close(c);
        if (rc != MH_OK) {
            cr_assert_eq(rc, MH_ERUN, "%llu: %s", (unsigned long long)nth, err.text);
            failures++;
        }
    }
    cr_assert_geq(failures, 2);
}

Test(conn, every_allocation_may_fail)
{
    struct world w = {.peer = {.connections = 49 - 2}};
    /* The first two allocations come before the connection is made. */
    world_run(&w, serve_echo, nth_main);
}

/* --- rate limits ----------------------------------------------------------------------------- */

#define LIMITED_BYTES     (192u * 1024)
#define LIMIT_BYTES_PER_S (256u * 1024)
#define LIMIT_BURST_BYTES (32u * 1024)
#define LIMIT_RATE        "256K" /* LIMIT_BYTES_PER_S */

struct limits {
    struct world w;
    bool is_source;
    int64_t took_ms;
    size_t slices;
};

enum { LIMIT_IN = 1, LIMIT_OUT = 2 };

/* Runs FN with a connection of which RATE limits the directions WHICH. */
static void limits_run(struct limits *l, const char *rate, unsigned which,
                       void (*serve)(struct peer *, int), void (*fn)(void *))
{
    struct mh_timetable *t = NULL;
    struct mh_bucket *b = NULL;
    struct mh_err err;
    must(mh_timetable_parse(&rate, 1, &t, &err), &err);
    must(mh_bucket_new(t, &b, &err), &err);
    must(mh_net_new(which & LIMIT_IN ? b : NULL, which & LIMIT_OUT ? b : NULL, &l->w.net, &err),
         &err);
    world_run(&l->w, serve, fn);
    mh_bucket_free(b);
    mh_timetable_free(t);
}

static void limits_main(void *arg)
{
    struct limits *l = arg;
    struct mh_err err;
    l->w.cfg.is_source = l->is_source;
    l->w.cfg.timeout_ms =
        300; /* below the time it takes: our own limit is not the peer's silence */
    (void)world_open(&l->w);
    int64_t start = mh_now_ms();
    must_exchange_pattern(&l->w, LIMITED_BYTES);
    must(mh_conn_drain(l->w.conn, &err), &err);
    l->took_ms = mh_now_ms() - start;
    mh_conn_close(l->w.conn);
}

static const struct {
    const char *name;
    bool is_source;
    unsigned limits;
    bool is_limited;
} limit_cases[] = {
    {"a source's reads", true, LIMIT_IN, true},
    {"a target's writes", false, LIMIT_OUT, true},
    {"a source's writes are free", true, LIMIT_OUT, false},
    {"a target's reads are free", false, LIMIT_IN, false},
};

Test(conn, rate_limits)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(limit_cases); i++) {
        uint64_t total = LIMITED_BYTES;
        struct limits l = {.w = {.peer = {.arg = &total}}, .is_source = limit_cases[i].is_source};
        limits_run(&l, LIMIT_RATE, limit_cases[i].limits, serve_pattern_both_ways, limits_main);
        int64_t least_ms = (int64_t)(LIMITED_BYTES - LIMIT_BURST_BYTES) * 1000 / LIMIT_BYTES_PER_S;
        if (limit_cases[i].is_limited)
            cr_expect_geq(l.took_ms, least_ms - 10, "%s: %lld ms", limit_cases[i].name,
                          (long long)l.took_ms);
        else
            cr_expect_lt(l.took_ms, least_ms, "%s: %lld ms", limit_cases[i].name,
                         (long long)l.took_ms);
    }
}

static void tiny_writer(void *arg)
{
    struct limits *l = arg;
    struct mh_err err;
    struct mh_slab *slab = mh_slab_get(l->w.pool);
    int rc = MH_OK;
    while (rc == MH_OK) {
        rc = mh_conn_write_take(l->w.conn, mh_slice_of(slab, 0, 1), &err);
        l->slices += rc == MH_OK;
    }
    mh_slab_unref(slab);
    cr_assert_eq(rc, MH_ECANCEL);
}

static void tiny_main(void *arg)
{
    struct limits *l = arg;
    (void)world_open(&l->w);
    struct mh_task *writer = world_spawn(&l->w, tiny_writer, l);
    size_t before = SIZE_MAX;
    while (l->slices != before) {
        before = l->slices;
        mh_yield();
    }
    cr_assert_eq(mh_conn_queued_bytes(l->w.conn), 4096, "not only their bytes are bounded");
    mh_task_cancel(writer);
    mh_task_join(writer);
    mh_conn_close(l->w.conn);
}

static void throttled_end_main(void *arg)
{
    struct limits *l = arg;
    struct pattern_out out = {&l->w, *(uint64_t *)l->w.peer.arg};
    struct mh_err err;
    struct mh_slice slice;
    (void)world_open(&l->w);
    struct mh_task *writer = world_spawn(&l->w, pattern_out_main, &out);
    while (mh_conn_queued_bytes(l->w.conn) == 0)
        mh_yield();
    mh_task_cancel(writer);
    mh_task_join(writer);
    /* Both directions are held by the limit now; closing must end it at once. */
    cr_assert_eq(mh_conn_read_until(l->w.conn, mh_now_ms() + 5, &slice, &err), MH_ETIMEOUT);
    cr_assert(mh_conn_is_held(l->w.conn));
    mh_conn_close(l->w.conn);
}

static void held_read_main(void *arg)
{
    struct limits *l = arg;
    struct mh_err err;
    struct mh_slice slice;
    l->w.cfg.is_source = true;
    struct mh_conn *c = world_open(&l->w);
    while (!mh_conn_is_held(c))
        cr_assert_eq(mh_conn_read_until(c, mh_now_ms() + 5, &slice, &err), MH_ETIMEOUT);
    /* Half a second makes the first bytes free. */
    must(mh_conn_read(c, &slice, &err), &err);
    cr_assert_leq(slice.len, 1024);
    cr_assert_not(mh_conn_is_held(c));
    mh_slice_drop(&slice);
    mh_conn_close(c);
}

static void serve_plenty(struct peer *p, int fd)
{
    static const char plenty[8192];
    (void)p;
    peer_check(peer_send(fd, plenty, sizeof plenty));
    peer_end(fd);
}

Test(conn, a_read_that_the_limit_holds_says_so)
{
    struct limits l = {0};
    limits_run(&l, "1K", LIMIT_IN, serve_plenty, held_read_main);
}

/* The limit starts with nothing saved up: the queue stays. */
Test(conn, a_flood_of_tiny_slices_is_bounded)
{
    struct limits l = {0};
    limits_run(&l, "1K", LIMIT_OUT, serve_silence, tiny_main);
}

Test(conn, closing_while_a_limit_holds_the_queue)
{
    uint64_t total = 100000;
    struct limits l = {.w = {.peer = {.arg = &total}}};
    limits_run(&l, LIMIT_RATE, LIMIT_OUT, serve_silence, throttled_end_main);
}
