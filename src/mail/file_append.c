/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/file_append.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"

enum {
    SLICE_COST = 4096,  /* what a slice counts at least */
    MESSAGE_COST = 512, /* what an empty message counts */
    IOV_MAX_PER_CALL = 64,
};

struct mh_file_writer {
    const struct mh_file_writer_ops *ops;
    struct mh_session *session;  /* borrowed */
    struct mh_append_sink *sink; /* borrowed */
    uint32_t uidvalidity;
    struct mh_file_out *queue; /* begun, no verdict, not in the writer's hands; in order */
    struct mh_file_out **queue_end;
    struct mh_file_out *arriving; /* between begin and end; in the queue or in the writer's hands */
    struct mh_file_out *spare;    /* for the next messages */
    size_t queued_bytes;
    size_t due; /* begun, without a verdict */
    struct mh_waitq work;
    struct mh_waitq space;
    struct mh_waitq idle;
    struct mh_task *task;
    bool is_stopping;
    int dead; /* the code that ended the session, 0 while it lives */
    struct mh_err dead_err;
};

/* --- slices ----------------------------------------------------------------------------------- */

static size_t slice_cost(const struct mh_slice *s)
{
    return MH_MAX(s->len, (uint32_t)SLICE_COST);
}

static bool slices_push(struct mh_file_slices *l, struct mh_slice slice)
{
    if (!mh_grow(l->v, l->cap, l->n + 1))
        return false;
    l->v[l->n++] = slice;
    return true;
}

/* Gives the references up; what they counted. */
static size_t slices_drop(struct mh_file_slices *l)
{
    size_t cost = 0;
    for (size_t i = 0; i < l->n; i++) {
        cost += slice_cost(&l->v[i]);
        mh_slice_drop(&l->v[i]);
    }
    l->n = 0;
    return cost;
}

/* --- messages --------------------------------------------------------------------------------- */

static struct mh_file_out *out_new(struct mh_file_writer *w)
{
    struct mh_file_out *o = w->spare;
    if (!o)
        return mh_zalloc(sizeof *o);
    w->spare = o->next;
    struct mh_file_slices parts = o->parts;
    struct mh_file_slices incoming = o->incoming;
    *o = (struct mh_file_out){.parts = parts, .incoming = incoming};
    return o;
}

/* O's message is over: kept for the next one. */
static void out_recycle(struct mh_file_writer *w, struct mh_file_out *o)
{
    w->queued_bytes -= slices_drop(&o->parts) + slices_drop(&o->incoming) + MESSAGE_COST;
    mh_free((char *)(uintptr_t)o->what.keywords);
    mh_free(o->name);
    o->what.keywords = NULL;
    o->name = NULL;
    o->next = w->spare;
    w->spare = o;
}

static void queue_push(struct mh_file_writer *w, struct mh_file_out *o)
{
    o->next = NULL;
    *w->queue_end = o;
    w->queue_end = &o->next;
}

static void queue_push_front(struct mh_file_writer *w, struct mh_file_out *o)
{
    o->next = w->queue;
    if (!w->queue)
        w->queue_end = &o->next;
    w->queue = o;
}

static struct mh_file_out *queue_take_all(struct mh_file_writer *w)
{
    struct mh_file_out *all = w->queue;
    w->queue = NULL;
    w->queue_end = &w->queue;
    return all;
}

static void verdict(struct mh_file_writer *w, struct mh_file_out *o)
{
    if (o->rc < 0 && o->rc != MH_EITEM && o->rc != MH_ELATER && !w->dead) {
        w->dead = o->rc;
        w->dead_err = o->err;
    }
    w->due--;
    w->sink->done(w->sink, o->what.cookie, o->rc < 0 ? 0 : o->uid, w->uidvalidity,
                  o->rc < 0 ? &o->err : NULL);
}

/* --- the writer's task ------------------------------------------------------------------------ */

struct batch_job {
    struct mh_file_writer *w;
    struct mh_file_out *batch;
    bool only_release;
};

/* Worker thread. Messages that failed before are only kept until they end; they are passed over. */
static void write_batch(void *arg)
{
    struct batch_job *job = arg;
    struct mh_file_writer *w = job->w;
    struct mh_file_out *all = job->batch;
    if (!job->only_release && !(all->rc < 0 && !all->next)) {
        struct mh_file_out *failed_first = all->rc < 0 ? all : NULL;
        w->ops->write(w->session, failed_first ? all->next : all);
    }
    for (struct mh_file_out *o = all; o; o = o->next) {
        bool is_over = o->is_complete || o->rc < 0 || job->only_release;
        if (is_over && !o->is_released) {
            w->ops->release(w->session, o);
            o->is_released = true;
        }
    }
}

static bool has_work(const struct mh_file_writer *w)
{
    return w->queue && (w->queue->next || w->queue->incoming.n || w->queue->all_arrived);
}

/* What arrived becomes what is to be written. */
static struct mh_file_out *take_batch(struct mh_file_writer *w)
{
    struct mh_file_out *batch = queue_take_all(w);
    for (struct mh_file_out *o = batch; o; o = o->next) {
        struct mh_file_slices empty = o->parts;
        o->parts = o->incoming;
        o->incoming = empty;
        o->is_complete = o->all_arrived;
    }
    return batch;
}

static void writer_task(void *arg)
{
    struct mh_file_writer *w = arg;
    for (;;) {
        while (!w->is_stopping && !has_work(w))
            mh_wait_always(&w->work);
        if (w->is_stopping)
            return;
        struct batch_job job = {w, take_batch(w), false};
        mh_offload(write_batch, &job);
        struct mh_file_out *next = NULL;
        for (struct mh_file_out *o = job.batch; o; o = next) {
            next = o->next;
            if (o->is_complete) {
                verdict(w, o);
                out_recycle(w, o);
            } else { /* only the last one can be */
                w->queued_bytes -= slices_drop(&o->parts);
                queue_push_front(w, o);
            }
        }
        mh_wake_all(&w->space);
        if (w->due == 0)
            mh_wake_all(&w->idle);
    }
}

/* --- the contract ----------------------------------------------------------------------------- */

static int writer_new(const struct mh_file_writer_ops *ops, struct mh_session *session,
                      struct mh_file_writer **out, struct mh_err *err)
{
    struct mh_file_writer *w = mh_zalloc(sizeof *w);
    if (!w)
        return mh_err_nomem(err);
    w->ops = ops;
    w->session = session;
    w->queue_end = &w->queue;
    int rc = mh_task_spawn(mh_sched_self(), "file writer", writer_task, w, &w->task, err);
    if (rc < 0) {
        mh_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void mh_file_writer_close(struct mh_file_writer *w)
{
    if (!w)
        return;
    w->is_stopping = true;
    mh_wake_all(&w->work);
    mh_task_join(w->task);
    struct batch_job job = {w, queue_take_all(w), true};
    if (job.batch)
        mh_offload(write_batch, &job);
    struct mh_file_out *next = NULL;
    for (struct mh_file_out *o = job.batch; o; o = next) {
        next = o->next;
        if (o->rc == 0)
            o->rc = mh_err_set(&o->err, MH_ERETRY, "file", "closed before the message was written");
        verdict(w, o);
        out_recycle(w, o);
    }
    while (w->spare) {
        struct mh_file_out *o = w->spare;
        w->spare = o->next;
        mh_free(o->parts.v);
        mh_free(o->incoming.v);
        mh_free(o);
    }
    mh_free(w);
}

static int dead_error(const struct mh_file_writer *w, struct mh_err *err)
{
    if (err)
        *err = w->dead_err;
    return w->dead;
}

/* Waits until the queue is below its limit. */
static int wait_for_space(struct mh_file_writer *w, struct mh_err *err)
{
    while (!w->dead && w->queued_bytes >= MH_FILE_QUEUE_BYTES)
        if (mh_wait(&w->space, MH_NEVER) != MH_OK)
            return mh_err_set(err, MH_ECANCEL, "file", "stopped");
    return w->dead ? dead_error(w, err) : 0;
}

int mh_file_append_open(struct mh_session *s, const struct mh_file_writer_ops *ops,
                        const struct mh_folder *folder, struct mh_append_sink *sink,
                        struct mh_err *err)
{
    struct mh_file_store *st = mh_file_store(s);
    int rc = st->writer ? mh_file_append_flush(s, err) : writer_new(ops, s, &st->writer, err);
    if (rc < 0)
        return rc;
    st->writer->sink = NULL; /* nothing may begin before there is a folder again */
    rc = mh_file_store_run(s, ops->open, folder, err);
    if (rc < 0)
        return rc;
    st->writer->sink = sink;
    st->writer->uidvalidity = mh_file_uidvalidity(folder->native);
    return 0;
}

int mh_file_append_begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err)
{
    struct mh_file_writer *w = mh_file_store(s)->writer;
    mh_assert(w && w->sink && !w->arriving);
    int rc = wait_for_space(w, err);
    if (rc < 0)
        return rc;
    struct mh_file_out *o = out_new(w);
    char *keywords = mh_strdup(msg->keywords ? msg->keywords : "");
    if (!o || !keywords) {
        if (o) {
            o->next = w->spare;
            w->spare = o;
        }
        mh_free(keywords);
        return mh_err_nomem(err);
    }
    o->what = *msg;
    o->what.keywords = keywords;
    o->fd = -1;
    w->arriving = o;
    w->due++;
    w->queued_bytes += MESSAGE_COST;
    queue_push(w, o);
    return 0;
}

int mh_file_append_data(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err)
{
    struct mh_file_writer *w = mh_file_store(s)->writer;
    struct mh_file_out *o = w->arriving;
    mh_assert(o && slice_take.len <= o->what.octets - o->arrived);
    if (slice_take.len == 0) {
        mh_slice_drop(&slice_take);
        return 0;
    }
    int rc = wait_for_space(w, err);
    if (rc == 0 && !slices_push(&o->incoming, slice_take))
        rc = mh_err_nomem(err);
    if (rc < 0) {
        mh_slice_drop(&slice_take);
        return rc;
    }
    o->arrived += slice_take.len;
    w->queued_bytes += slice_cost(&slice_take);
    mh_wake_all(&w->work);
    return 0;
}

int mh_file_append_end(struct mh_session *s, struct mh_err *err)
{
    struct mh_file_writer *w = mh_file_store(s)->writer;
    struct mh_file_out *o = w->arriving;
    mh_assert(o);
    if (o->arrived < o->what.octets)
        return mh_err_set(err, MH_ERETRY, "file", "the message ended before its announced length");
    o->all_arrived = true;
    w->arriving = NULL;
    mh_wake_all(&w->work);
    return 0;
}

/* Each batch is as long as it is by itself. */
int mh_file_append_cut(struct mh_session *s, struct mh_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

int mh_file_append_flush(struct mh_session *s, struct mh_err *err)
{
    struct mh_file_writer *w = mh_file_store(s)->writer;
    mh_assert(w && !w->arriving);
    while (w->due)
        if (mh_wait(&w->idle, MH_NEVER) != MH_OK)
            return mh_err_set(err, MH_ECANCEL, "file", "stopped");
    return w->dead ? dead_error(w, err) : 0;
}

/* --- for the ops ------------------------------------------------------------------------------ */

/* Writes N stretches, however the file system cuts them. */
static int write_all(int fd, struct iovec *iov, size_t n)
{
    while (n) {
        ssize_t done = writev(fd, iov, (int)MH_MIN(n, (size_t)IOV_MAX_PER_CALL));
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno;
        size_t left = (size_t)done;
        while (n && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            n--;
        }
        if (n && left) {
            iov->iov_base = (char *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
    return 0;
}

int mh_file_out_make(struct mh_file_out *out, int dir_fd, char *name_take)
{
    out->name = name_take;
    if (!out->name)
        return mh_err_nomem(&out->err);
    out->fd = openat(dir_fd, out->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return out->fd < 0 ? mh_file_out_errno(&out->err, errno, "cannot make the message's file") : 0;
}

int mh_file_out_write(struct mh_file_out *out)
{
    for (size_t i = 0; i < out->parts.n;) {
        struct iovec iov[IOV_MAX_PER_CALL];
        size_t n = 0;
        for (; n < IOV_MAX_PER_CALL && i < out->parts.n; n++, i++) {
            const struct mh_slice *s = &out->parts.v[i];
            iov[n] = (struct iovec){mh_slice_data(s), s->len};
            mh_form_scan_feed(&out->scan, mh_slice_data(s), s->len);
        }
        int errnum = write_all(out->fd, iov, n);
        if (errnum)
            return mh_file_out_errno(&out->err, errnum, "cannot write the message");
    }
    const struct timespec date = {.tv_sec = out->what.date.unix_s};
    const struct timespec times[2] = {date, date};
    if (out->is_complete && out->what.date.is_set && futimens(out->fd, times) < 0)
        return mh_file_out_errno(&out->err, errno, "cannot set the message's date");
    return 0;
}

void mh_file_out_index(const struct mh_file_out *out, const char *name, uint64_t octets,
                       struct mh_buf *lines)
{
    struct mh_file_record rec = {
        .date = out->what.date,
        .flags = out->what.flags,
        .is_raw = mh_form_scan_is_unix(&out->scan),
        .has_octets = true,
        .octets = octets,
        .keywords = out->what.keywords,
        .keywords_len = strlen(out->what.keywords),
    };
    mh_file_index_format(lines, name, &rec);
}

void mh_file_batch_fail(struct mh_file_out *batch, int rc, const struct mh_err *err)
{
    for (struct mh_file_out *o = batch; o; o = o->next) {
        if (!o->is_complete || o->rc < 0)
            continue;
        o->rc = rc;
        o->err = *err;
    }
}

/*
 * Many files cost one wait with syncfs() and one wait each with fsync() (1,000 files of 2 KB in
 * batches of 250 on ext4: 1.5 s against 3.6 s; in batches of 10 there is no difference). syncfs()
 * reports lost writes since Linux 5.8; when it fails, fsync() finds whose they are.
 */
void mh_file_batch_sync(struct mh_file_out *batch)
{
    enum { FEW = 10 };
    size_t n = 0;
    int fd = -1;
    for (const struct mh_file_out *o = batch; o; o = o->next) {
        n += o->is_complete && o->rc == 0;
        fd = o->is_complete && o->rc == 0 ? o->fd : fd;
    }
    if (n > FEW && syncfs(fd) == 0)
        return;
    for (struct mh_file_out *o = batch; o; o = o->next)
        if (o->is_complete && o->rc == 0 && fsync(o->fd) < 0)
            o->rc = mh_file_out_errno(&o->err, errno, "cannot write the message to the disk");
}

int mh_file_out_errno(struct mh_err *err, int errnum, const char *what)
{
    bool is_full = errnum == ENOSPC || errnum == EDQUOT;
    bool is_item = errnum == EFBIG || errnum == ENAMETOOLONG;
    int code = is_full ? MH_ELATER : is_item ? MH_EITEM : MH_EMAILBOX;
    int rc = mh_err_sys(err, code, "file", errnum, "%s", what);
    if (err && is_full)
        err->reason = "quota";
    if (err && is_item)
        err->reason = "too-big";
    return rc;
}
