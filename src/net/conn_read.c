/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "net/bucket.h"
#include "net/conn_priv.h"

static const struct mh_slice no_slice = {NULL, 0, 0};

/* --- slabs to read into ---------------------------------------------------------------------- */

void mh_fill_release(struct mh_fill *f)
{
    if (f->slab)
        mh_slab_unref(f->slab);
    *f = (struct mh_fill){NULL, 0};
}

/* Makes sure that F has room worth reading into. waits, when the pool is at its cap */
static int fill_room(struct mh_conn *c, struct mh_fill *f, struct mh_err *err)
{
    if (f->slab && mh_slab_is_sole(f->slab))
        f->off = 0; /* nobody looks at what was read into it any more */
    else if (f->slab && MH_SLAB_BYTES - f->off < MH_SLAB_MIN_READ_BYTES)
        mh_fill_release(f);
    if (f->slab)
        return MH_OK;
    struct mh_slab *slab = mh_slab_get(c->pool);
    if (!slab) {
        int rc = mh_slab_get_wait(c->pool, MH_NEVER, &slab, err);
        if (rc != MH_OK)
            return rc;
        if (c->is_closed) {
            mh_slab_unref(slab);
            return mh_conn_check_open(c, err);
        }
    }
    *f = (struct mh_fill){slab, 0};
    return MH_OK;
}

static unsigned char *fill_at(const struct mh_fill *f)
{
    mh_assert(f->slab != NULL);
    return f->slab->data + f->off;
}

static struct mh_slice fill_cut(struct mh_fill *f, size_t len)
{
    struct mh_slice s = mh_slice_of(f->slab, f->off, (uint32_t)len);
    f->off += (uint32_t)len;
    return s;
}

/* Gives back what nobody looks at; true when nothing is left to give back. */
static bool fill_rest(struct mh_fill *f)
{
    if (f->slab && mh_slab_is_sole(f->slab))
        mh_fill_release(f);
    return f->slab == NULL;
}

void mh_conn_rest(struct mh_due *due)
{
    struct mh_conn *c = mh_container_of(due, struct mh_conn, rest_due);
    int64_t now_ms = mh_now_ms();
    if (now_ms - c->used_ms < MH_CONN_REST_MS) {
        mh_loop_at(c->loop, due, c->used_ms + MH_CONN_REST_MS);
        return;
    }
    bool is_at_rest = fill_rest(&c->wire_fill);
    is_at_rest = fill_rest(&c->plain_fill) && is_at_rest;
    if (c->tls && c->tls->is_established)
        mh_tls_rest(c->tls);
    if (!is_at_rest)
        mh_loop_at(c->loop, due, now_ms + MH_CONN_REST_MS);
}

static void note_use(struct mh_conn *c)
{
    c->used_ms = mh_now_ms();
    if (!c->rest_due.is_booked)
        mh_loop_at(c->loop, &c->rest_due, c->used_ms + MH_CONN_REST_MS);
}

/* --- from the wire --------------------------------------------------------------------------- */

static int ended(struct mh_err *err)
{
    return mh_err_set(err, MH_ERETRY, "net", "the server closed the connection");
}

/* *N_OUT bytes into BUF; 0 with MH_OK: nothing now. Errors stay. */
static int receive(struct mh_conn *c, void *buf, size_t len, size_t *n_out, struct mh_err *err)
{
    *n_out = 0;
    if (c->tls) {
        enum mh_io io = mh_tls_read(c->tls, buf, len, n_out, err);
        if (io == MH_IO_FAIL)
            return err->code;
        return io == MH_IO_EOF ? ended(err) : MH_OK;
    }
    ssize_t n = mh_sock_recv(&c->sock, buf, len);
    if (n == 0)
        return ended(err);
    if (n < 0 && n != -EAGAIN)
        return mh_err_sys(err, MH_ERETRY, "net", (int)-n, "receiving failed");
    *n_out = (size_t)MH_MAX(n, 0);
    return MH_OK;
}

static bool has_input(const struct mh_conn *c)
{
    return c->tls ? mh_tls_has_input(c->tls) : c->sock.readable;
}

/* A task that finds bytes whenever it looks would never let others run. waits */
static int take_turns(struct mh_conn *c, struct mh_err *err)
{
    if (c->read_burst < MH_CONN_BURST_BYTES)
        return MH_OK;
    c->read_burst = 0;
    mh_yield();
    return mh_conn_check_open(c, err);
}

static int fail_reading(struct mh_conn *c, struct mh_err *err)
{
    mh_conn_place(c, err);
    c->read_err = *err;
    return err->code;
}

/* How many bytes the rate limit lets in; 0: ask again at *AGAIN_MS_OUT. */
static size_t grant(const struct mh_conn *c, size_t want, int64_t *again_ms_out)
{
    if (!c->limit_in)
        return want;
    int64_t now_ms = mh_now_ms();
    int64_t wait_ms = 0;
    size_t allowed = mh_bucket_take(c->limit_in, want, now_ms, &wait_ms);
    if (allowed == 0)
        *again_ms_out = now_ms + wait_ms;
    return allowed;
}

/* What TLS wants to say after it has read: a key update is answered, a blocked write may go on. */
static void after_tls_read(struct mh_conn *c)
{
    if (c->tls && (c->tls->write_wants_input || mh_tls_unsent_bytes(c->tls) > 0))
        mh_conn_flush_soon(c);
}

/* The next bytes as they come off the wire. An empty *OUT with MH_OK: nothing now; if *AGAIN_MS_OUT
 * was set, for the rate limit's sake until then. waits, but not for the peer */
static int pull_wire(struct mh_conn *c, struct mh_slice *out, int64_t *again_ms_out,
                     struct mh_err *err)
{
    *out = c->unread;
    c->unread = no_slice;
    if (out->len > 0 || !has_input(c))
        return MH_OK;
    int rc = take_turns(c, err);
    if (rc == MH_OK)
        rc = fill_room(c, &c->wire_fill, err);
    if (rc != MH_OK)
        return rc;
    size_t allowed = grant(c, MH_SLAB_BYTES - c->wire_fill.off, again_ms_out);
    c->is_read_held = allowed == 0;
    if (c->is_read_held)
        return MH_OK;
    size_t n = 0;
    rc = receive(c, fill_at(&c->wire_fill), allowed, &n, err);
    if (c->limit_in)
        mh_bucket_give(c->limit_in, allowed - n);
    after_tls_read(c);
    if (rc != MH_OK)
        return fail_reading(c, err);
    if (n > 0) {
        *out = fill_cut(&c->wire_fill, n);
        c->read_burst += n;
        note_use(c);
    }
    return MH_OK;
}

/* The same behind DEFLATE. */
static int pull_inflated(struct mh_conn *c, struct mh_slice *out, int64_t *again_ms_out,
                         struct mh_err *err)
{
    *out = no_slice;
    for (;;) {
        if (c->packed.len == 0 && !mh_deflate_has_output(c->z)) {
            int rc = pull_wire(c, &c->packed, again_ms_out, err);
            if (rc != MH_OK || c->packed.len == 0)
                return rc;
        }
        int rc = fill_room(c, &c->plain_fill, err);
        if (rc != MH_OK)
            return rc;
        struct mh_deflate_step step;
        rc = mh_deflate_decode(c->z, c->packed.len ? mh_slice_data(&c->packed) : NULL,
                               c->packed.len, fill_at(&c->plain_fill),
                               MH_SLAB_BYTES - c->plain_fill.off, &step, err);
        if (rc != MH_OK)
            return fail_reading(c, err);
        c->packed.off += (uint32_t)step.used;
        c->packed.len -= (uint32_t)step.used;
        if (c->packed.len == 0)
            mh_slice_drop(&c->packed);
        if (step.made > 0) {
            *out = fill_cut(&c->plain_fill, step.made);
            return MH_OK;
        }
    }
}

/* --- reading --------------------------------------------------------------------------------- */

struct read_wait {
    int64_t deadline_ms;
    bool is_callers; /* the deadline: passing it is no failure of the connection */
};

static int read_timed_out(const struct mh_conn *c, const struct read_wait *w, struct mh_err *err)
{
    if (w->is_callers)
        return mh_err_set(err, MH_ETIMEOUT, "net", "nothing came before the deadline");
    int rc = mh_err_set(err, MH_ERETRY, "net", "the server sent nothing for %lld s",
                        (long long)c->timeout_ms / 1000);
    mh_conn_place(c, err);
    return rc;
}

/* waits: for an edge of the socket or until AGAIN_MS, when the rate limit lets more in. */
static int wait_for_input(struct mh_conn *c, struct read_wait *w, int64_t again_ms,
                          struct mh_err *err)
{
    if (c->write_err.code != MH_OK && again_ms == MH_NEVER) {
        /* All that had come was read; a connection that cannot send gets no more answers. */
        *err = c->write_err;
        return err->code;
    }
    (void)fill_rest(&c->wire_fill);
    (void)fill_rest(&c->plain_fill);
    c->read_burst = 0;
    int64_t until_ms = w->deadline_ms;
    if (again_ms != MH_NEVER)
        until_ms = w->is_callers ? MH_MIN(until_ms, again_ms) : again_ms;
    int code = mh_wait(&c->readers, until_ms);
    int rc = mh_conn_check_open(c, err);
    if (rc != MH_OK)
        return rc;
    if (code == MH_ECANCEL)
        return mh_conn_stopped(err);
    if (again_ms != MH_NEVER && !w->is_callers)
        w->deadline_ms = mh_deadline_ms(c->timeout_ms); /* our limit, not the peer's silence */
    else if (code == MH_ETIMEOUT && mh_now_ms() >= w->deadline_ms)
        return read_timed_out(c, w, err);
    return MH_OK;
}

static int read_loop(struct mh_conn *c, struct read_wait *w, struct mh_slice *out,
                     struct mh_err *err)
{
    for (;;) {
        if (c->read_err.code != MH_OK) {
            *err = c->read_err;
            return err->code;
        }
        int64_t again_ms = MH_NEVER;
        int rc = c->z ? pull_inflated(c, out, &again_ms, err) : pull_wire(c, out, &again_ms, err);
        if (rc != MH_OK || out->len > 0)
            return rc;
        rc = wait_for_input(c, w, again_ms, err);
        if (rc != MH_OK)
            return rc;
    }
}

static int read_with(struct mh_conn *c, struct read_wait *w, struct mh_slice *out,
                     struct mh_err *err)
{
    struct mh_err scratch;
    err = err ? err : &scratch;
    *out = no_slice;
    mh_assert(!c->is_reading);
    int rc = mh_conn_check_open(c, err);
    if (rc == MH_OK && mh_task_cancelled())
        rc = mh_conn_stopped(err);
    if (rc != MH_OK)
        return rc;
    mh_conn_enter(c);
    c->is_reading = true;
    rc = read_loop(c, w, out, err);
    c->is_reading = false;
    if (rc == MH_OK) {
        c->info.bytes_in += out->len;
        atomic_fetch_add_explicit(&c->net->counters.bytes_in, out->len, memory_order_relaxed);
    }
    mh_conn_leave(c);
    return rc;
}

int mh_conn_read(struct mh_conn *c, struct mh_slice *out, struct mh_err *err)
{
    struct read_wait w = {.deadline_ms = mh_deadline_ms(c->timeout_ms)};
    return read_with(c, &w, out, err);
}

int mh_conn_read_until(struct mh_conn *c, int64_t deadline_ms, struct mh_slice *out,
                       struct mh_err *err)
{
    struct read_wait w = {.deadline_ms = deadline_ms, .is_callers = true};
    return read_with(c, &w, out, err);
}

void mh_conn_unread(struct mh_conn *c, struct mh_slice slice_take)
{
    mh_assert(c->unread.len == 0 && !c->is_reading);
    if (slice_take.len == 0 || c->is_closed) {
        mh_slice_drop(&slice_take);
        return;
    }
    /* It is read again, and counted then. */
    c->info.bytes_in -= slice_take.len;
    atomic_fetch_sub_explicit(&c->net->counters.bytes_in, slice_take.len, memory_order_relaxed);
    c->unread = slice_take;
}
