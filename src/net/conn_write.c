/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "net/bucket.h"
#include "net/conn_priv.h"

enum {
    IOV_MAX_SLICES = 64,
    GRANT_MAX_BYTES = 256 * 1024, /* asked of the rate limit at a time */
};

/* --- out to the wire ------------------------------------------------------------------------- */

size_t mh_conn_queued_bytes(const struct mh_conn *c)
{
    size_t in_tls = c->tls ? mh_tls_unsent_bytes(c->tls) : 0;
    return c->outq.bytes + (c->zfilled - c->zsent) + in_tls;
}

/* *N_OUT bytes were taken; fewer than offered with MH_OK: the socket is full. */
static int transmit(struct mh_conn *c, const struct iovec *iov, size_t n_iov, size_t *n_out,
                    struct mh_err *err)
{
    *n_out = 0;
    if (!c->tls) {
        ssize_t n = mh_sock_send(&c->sock, iov, n_iov);
        if (n < 0)
            return mh_err_sys(err, MH_ERETRY, "net", (int)-n, "sending failed");
        *n_out = (size_t)n;
        return MH_OK;
    }
    for (size_t i = 0; i < n_iov; i++) {
        size_t part = 0;
        enum mh_io io = mh_tls_write(c->tls, iov[i].iov_base, iov[i].iov_len, &part, err);
        *n_out += part;
        if (io == MH_IO_FAIL)
            return err->code;
        if (io == MH_IO_WAIT)
            break;
    }
    return MH_OK;
}

/* How many bytes may leave now; with 0 the next flush is booked. */
static size_t grant(struct mh_conn *c, size_t want)
{
    if (!c->limit_out)
        return want;
    int64_t now_ms = mh_now_ms();
    int64_t wait_ms = 0;
    size_t allowed = mh_bucket_take(c->limit_out, MH_MIN(want, GRANT_MAX_BYTES), now_ms, &wait_ms);
    if (allowed == 0) {
        c->moved_ms = now_ms; /* our limit, not the peer's fault */
        c->is_throttled = true;
        mh_loop_at(c->loop, &c->flush_due, now_ms + wait_ms);
    }
    return allowed;
}

/* Sends IOV's bytes, ALLOWED of them by the limit; false in *GO_ON_OUT when the socket is full. */
static int send_granted(struct mh_conn *c, const struct iovec *iov, size_t n_iov, size_t allowed,
                        size_t *n_out, bool *go_on_out, struct mh_err *err)
{
    size_t offered = 0;
    for (size_t i = 0; i < n_iov; i++)
        offered += iov[i].iov_len;
    int rc = transmit(c, iov, n_iov, n_out, err);
    if (c->limit_out)
        mh_bucket_give(c->limit_out, allowed - *n_out);
    *go_on_out = *n_out == offered;
    return rc;
}

static void consume(struct mh_conn *c, size_t n)
{
    mh_outq_consume(&c->outq, n);
    c->info.bytes_out += n;
    atomic_fetch_add_explicit(&c->net->counters.bytes_out, n, memory_order_relaxed);
}

static int send_slices(struct mh_conn *c, struct mh_err *err)
{
    struct iovec iov[IOV_MAX_SLICES];
    bool go_on = true;
    while (go_on && c->outq.bytes > 0 && c->sock.writable) {
        size_t n = 0;
        size_t allowed = grant(c, c->outq.bytes);
        if (allowed == 0)
            return MH_OK;
        size_t n_iov = mh_outq_peek(&c->outq, iov, IOV_MAX_SLICES, allowed);
        int rc = send_granted(c, iov, n_iov, allowed, &n, &go_on, err);
        consume(c, n);
        if (rc != MH_OK)
            return rc;
    }
    return MH_OK;
}

/* Compresses queued slices into the block, the last one of the round with a flush. */
static int fill_zblock(struct mh_conn *c, struct mh_err *err)
{
    if (!c->zblock)
        c->zblock = mh_loop_block_take(c->loop);
    if (!c->zblock)
        return mh_err_nomem(err);
    c->zsent = c->zfilled = 0;
    do {
        struct iovec iov = {NULL, 0};
        struct mh_deflate_step step;
        (void)mh_outq_peek(&c->outq, &iov, 1, SIZE_MAX);
        bool is_last = iov.iov_len == c->outq.bytes;
        mh_deflate_encode(c->z, iov.iov_base, iov.iov_len, is_last, c->zblock + c->zfilled,
                          MH_LOOP_BLOCK_BYTES - c->zfilled, &step);
        consume(c, step.used);
        c->zfilled += step.made;
    } while (c->outq.bytes > 0 && c->zfilled < MH_LOOP_BLOCK_BYTES);
    return MH_OK;
}

static int send_deflated(struct mh_conn *c, struct mh_err *err)
{
    bool go_on = true;
    while (go_on && c->sock.writable) {
        if (c->zsent == c->zfilled) {
            if (c->outq.bytes == 0 && !mh_deflate_is_pending(c->z))
                break;
            int rc = fill_zblock(c, err);
            if (rc != MH_OK)
                return rc;
            continue;
        }
        size_t n = 0;
        size_t allowed = grant(c, c->zfilled - c->zsent);
        if (allowed == 0)
            return MH_OK;
        struct iovec iov = {c->zblock + c->zsent, allowed};
        int rc = send_granted(c, &iov, 1, allowed, &n, &go_on, err);
        c->zsent += n;
        if (rc != MH_OK)
            return rc;
    }
    if (c->zsent == c->zfilled) {
        mh_loop_block_give(c->loop, c->zblock);
        c->zblock = NULL;
    }
    return MH_OK;
}

static int send_all(struct mh_conn *c, struct mh_err *err)
{
    int rc = MH_OK;
    bool may_send = !c->tls || c->tls->is_established;
    if (may_send)
        rc = c->z ? send_deflated(c, err) : send_slices(c, err);
    if (rc == MH_OK && c->tls && mh_tls_push(c->tls, err) == MH_IO_FAIL)
        rc = err->code;
    return rc;
}

void mh_conn_fail_writing(struct mh_conn *c, const struct mh_err *err)
{
    if (c->write_err.code == MH_OK)
        c->write_err = *err;
    mh_outq_clear(&c->outq);
    mh_fill_release(&c->text_fill);
    c->zsent = c->zfilled = 0;
    /* What the peer said last may wait at the socket, its edge not yet seen: have the reader
     * look. */
    c->sock.readable = true;
    mh_wake_all(&c->readers);
    mh_wake_all(&c->writers);
    mh_wake_all(&c->drainers);
}

void mh_conn_flush(struct mh_conn *c)
{
    struct mh_err err;
    if (c->write_err.code != MH_OK)
        return;
    c->is_throttled = false;
    uint64_t before = c->sock.sent_bytes;
    int rc = send_all(c, &err);
    if (rc != MH_OK) {
        mh_conn_place(c, &err);
        mh_conn_fail_writing(c, &err);
        return;
    }
    if (c->sock.sent_bytes > before)
        c->moved_ms = mh_now_ms();
    if (c->outq.bytes == 0)
        mh_fill_release(&c->text_fill);
    if (c->outq.bytes <= MH_CONN_OUTQ_BYTES / 2)
        mh_wake_all(&c->writers);
    if (mh_conn_queued_bytes(c) == 0)
        mh_wake_all(&c->drainers);
}

void mh_conn_flush_due(struct mh_due *due)
{
    mh_conn_flush(mh_container_of(due, struct mh_conn, flush_due));
}

void mh_conn_flush_soon(struct mh_conn *c)
{
    if (!c->is_throttled)
        mh_loop_soon(c->loop, &c->flush_due);
}

/* --- writing --------------------------------------------------------------------------------- */

static int check_writable(const struct mh_conn *c, struct mh_err *err)
{
    int rc = mh_conn_check_open(c, err);
    if (rc == MH_OK && c->write_err.code != MH_OK) {
        *err = c->write_err;
        rc = err->code;
    }
    return rc;
}

/* waits: once on Q, at most until the peer has taken nothing for the connection's time-out since
 * SINCE_MS. MH_OK: look again. */
static int wait_for_progress(struct mh_conn *c, struct mh_waitq *q, int64_t since_ms,
                             struct mh_err *err)
{
    int64_t from_ms = MH_MAX(since_ms, c->moved_ms);
    int code = mh_wait(q, c->timeout_ms > 0 ? from_ms + c->timeout_ms : MH_NEVER);
    int rc = check_writable(c, err);
    if (rc != MH_OK)
        return rc;
    if (code == MH_ECANCEL)
        return mh_conn_stopped(err);
    if (c->is_throttled)
        c->moved_ms = mh_now_ms(); /* our limit, not the peer's fault */
    if (code != MH_ETIMEOUT || c->moved_ms > from_ms)
        return MH_OK;
    rc = mh_err_set(err, MH_ERETRY, "net", "the server took no bytes for %lld s",
                    (long long)c->timeout_ms / 1000);
    mh_conn_place(c, err);
    return rc;
}

/* waits: until LEN bytes more have room in the queue. */
static int wait_for_room(struct mh_conn *c, size_t len, struct mh_err *err)
{
    int rc = check_writable(c, err);
    if (rc == MH_OK && c->write_burst >= MH_CONN_BURST_BYTES) {
        c->write_burst = 0;
        mh_yield();
        rc = check_writable(c, err);
    }
    int64_t since_ms = 0;
    while (rc == MH_OK &&
           (c->outq.bytes + len > MH_CONN_OUTQ_BYTES || c->outq.n >= MH_CONN_OUTQ_SLICES)) {
        since_ms = since_ms ? since_ms : mh_now_ms();
        c->write_burst = 0;
        rc = wait_for_progress(c, &c->writers, since_ms, err);
    }
    return rc;
}

static void after_queueing(struct mh_conn *c, size_t len)
{
    c->write_burst += len;
    if (c->is_throttled || (c->tls && !c->tls->is_established))
        return;
    if (c->outq.bytes >= MH_CONN_EAGER_BYTES && c->sock.writable)
        mh_conn_flush(c);
    else if (!c->flush_due.is_booked)
        mh_loop_soon(c->loop, &c->flush_due);
}

int mh_conn_write_take(struct mh_conn *c, struct mh_slice slice_take, struct mh_err *err)
{
    struct mh_err scratch;
    err = err ? err : &scratch;
    mh_conn_enter(c);
    size_t len = slice_take.len;
    int rc = wait_for_room(c, len, err);
    if (rc != MH_OK || len == 0)
        mh_slice_drop(&slice_take);
    else if (!mh_outq_push(&c->outq, slice_take, false))
        rc = mh_err_nomem(err);
    else
        after_queueing(c, len);
    mh_conn_leave(c);
    return rc;
}

/* Makes sure that the text slab has room for LEN bytes. waits, when the pool is at its cap */
static int text_room(struct mh_conn *c, size_t len, struct mh_err *err)
{
    struct mh_fill *f = &c->text_fill;
    if (f->slab && mh_slab_is_sole(f->slab))
        f->off = 0; /* all of it is sent */
    if (f->slab && MH_SLAB_BYTES - f->off >= len)
        return MH_OK;
    mh_fill_release(f);
    struct mh_slab *slab = mh_slab_get(c->pool);
    if (!slab) {
        int rc = mh_slab_get_wait(c->pool, MH_NEVER, &slab, err);
        if (rc != MH_OK)
            return rc;
        rc = check_writable(c, err);
        if (rc != MH_OK) {
            mh_slab_unref(slab);
            return rc;
        }
        mh_fill_release(f); /* another writer may have got one meanwhile */
    }
    *f = (struct mh_fill){slab, 0};
    return MH_OK;
}

/* Puts LEN bytes of protocol text behind what is queued; text that follows text becomes one
 * slice. */
static int queue_text(struct mh_conn *c, const void *text, size_t len, bool is_secret,
                      struct mh_err *err)
{
    struct mh_fill *f = &c->text_fill;
    uint32_t off = f->off;
    memcpy(f->slab->data + off, text, len); /* no message bytes: protocol text */
    f->off += (uint32_t)len;
    if (!is_secret && mh_outq_extend(&c->outq, f->slab, off, (uint32_t)len))
        return MH_OK;
    if (mh_outq_push(&c->outq, mh_slice_of(f->slab, off, (uint32_t)len), is_secret))
        return MH_OK;
    explicit_bzero(f->slab->data + off, len);
    return mh_err_nomem(err);
}

static int write_text(struct mh_conn *c, const void *text, size_t len, bool is_secret,
                      struct mh_err *err)
{
    struct mh_err scratch;
    err = err ? err : &scratch;
    mh_assert(len <= MH_SLAB_BYTES);
    if (len == 0)
        return MH_OK;
    mh_conn_enter(c);
    int rc = wait_for_room(c, len, err);
    if (rc == MH_OK)
        rc = text_room(c, len, err);
    if (rc == MH_OK)
        rc = queue_text(c, text, len, is_secret, err);
    if (rc == MH_OK && mh_trace_enabled())
        mh_trace(c->log, '>', is_secret ? "(secret)" : text, is_secret ? 8 : len);
    if (rc == MH_OK)
        after_queueing(c, len);
    mh_conn_leave(c);
    return rc;
}

int mh_conn_write_text(struct mh_conn *c, const void *text, size_t len, struct mh_err *err)
{
    return write_text(c, text, len, false, err);
}

int mh_conn_write_secret(struct mh_conn *c, const void *text, size_t len, struct mh_err *err)
{
    return write_text(c, text, len, true, err);
}

bool mh_conn_is_held(const struct mh_conn *c)
{
    return c->is_read_held || c->is_throttled;
}

int mh_conn_drain(struct mh_conn *c, struct mh_err *err)
{
    struct mh_err scratch;
    err = err ? err : &scratch;
    mh_conn_enter(c);
    int64_t since_ms = mh_now_ms();
    int rc = check_writable(c, err);
    if (rc == MH_OK)
        mh_conn_flush(c);
    if (rc == MH_OK)
        rc = check_writable(c, err);
    while (rc == MH_OK && mh_conn_queued_bytes(c) > 0)
        rc = wait_for_progress(c, &c->drainers, since_ms, err);
    mh_conn_leave(c);
    return rc;
}
