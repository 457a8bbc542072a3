/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Appending. A batch: lock, journal, messages, sync, index, journal away, unlock. A message that goes
 * on in the next batch keeps the lock and the journal, which then says where it begins.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/task.h"
#include "connectors/mbox/mbox_priv.h"
#include "mail/file_append.h"
#include "mail/file_name.h"

enum { IOV_PER_CALL = 96 };

/* What is kept of a message from batch to batch. */
struct progress {
    struct mh_form form;
    uint64_t from_at; /* where the file ended before it */
    uint64_t octets;  /* as stored, without the From_ line */
    unsigned char last;
};

void mbox_target_done(struct mbox_target *t)
{
    mh_file_close(&t->fd);
    mh_file_close(&t->dir_fd);
    mh_free(t->file);
    mbox_counts_done(&t->counts);
    mbox_ident_done(&t->ident);
    *t = (struct mbox_target){.dir_fd = -1, .fd = -1};
}

/* --- writing at the end (worker thread) ------------------------------------------------------- */

static int write_at_end(struct mbox_target *t, struct iovec *iov, size_t n)
{
    while (n) {
        ssize_t done = pwritev(t->fd, iov, (int)n, (off_t)t->end);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno;
        t->end += (uint64_t)done;
        size_t left = (size_t)done;
        while (n && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            n--;
        }
        if (n) {
            iov->iov_base = (char *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
    return 0;
}

static int write_text(struct mbox_target *t, const char *text, size_t len)
{
    struct iovec iov = {(char *)(uintptr_t)text, len};
    return write_at_end(t, &iov, 1);
}

static void add_iov(struct iovec *iov, size_t *n, const void *data, size_t len)
{
    if (len)
        iov[(*n)++] = (struct iovec){(void *)(uintptr_t)data, len};
}

/* Puts a stretch of the message into the list to be written, and into its ident. */
static void add_segment(struct mbox_target *t, struct progress *p, const struct mh_form_seg *seg,
                        struct iovec *iov, size_t *n)
{
    add_iov(iov, n, seg->before, seg->before_len);
    mbox_ident_feed(&t->ident, seg->before, seg->before_len);
    add_iov(iov, n, seg->data, seg->len);
    mbox_ident_feed(&t->ident, seg->data, seg->len);
    if (seg->len)
        p->last = seg->data[seg->len - 1];
    else if (seg->before_len)
        p->last = (unsigned char)seg->before[seg->before_len - 1];
    p->octets += seg->before_len + seg->len;
}

static int write_slice(struct mbox_target *t, struct progress *p, const unsigned char *data,
                       size_t len)
{
    while (len) {
        struct iovec iov[IOV_PER_CALL];
        size_t n = 0;
        while (len && n + 3 <= IOV_PER_CALL) {
            struct mh_form_seg seg;
            size_t taken = mh_form_next(&p->form, data, len, &seg);
            add_segment(t, p, &seg, iov, &n);
            data += taken;
            len -= taken;
        }
        int errnum = write_at_end(t, iov, n);
        if (errnum)
            return errnum;
    }
    return 0;
}

/* --- one message (worker thread) -------------------------------------------------------------- */

/* "From mailhaul@localhost Sun Nov 22 12:05:00 2026", in UTC (RFC 4155). */
static int write_from_line(struct mbox_target *t, const struct mh_append *what)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    struct mh_date date = {what->date.is_set ? what->date.unix_s : mh_clock_wall_s(), 0, true};
    char imap[27]; /* "22-Nov-2026 12:05:00 +0000" has all that is needed but the day's name */
    char line[64];
    mh_date_format_imap(&date, imap);
    int64_t day = date.unix_s / 86400 - (date.unix_s % 86400 < 0);
    int len = snprintf(line, sizeof line, "%s%s %.3s %.2s %.8s %.4s\n", MBOX_OUR_FROM,
                       days[((day + 4) % 7 + 7) % 7], imap + 3, imap, imap + 12, imap + 7);
    return write_text(t, line, (size_t)len);
}

/* The empty line that stands before a From_ line, if what is there does not end in one. */
static int separate(struct mbox_target *t)
{
    char tail[3] = "\n\n\n";
    size_t len = (size_t)MH_MIN(t->end, 3);
    if (t->end == 0)
        return 0;
    if (pread(t->fd, tail + 3 - len, len, (off_t)(t->end - len)) != (ssize_t)len)
        return errno ? errno : EIO;
    if (tail[2] != '\n')
        return write_text(t, "\n\n", 2);
    bool is_separate = tail[1] == '\n' || (tail[1] == '\r' && tail[0] == '\n');
    return is_separate ? 0 : write_text(t, "\n", 1);
}

static int begin_message(struct mbox_target *t, struct mh_file_out *o)
{
    struct progress *p = mh_zalloc(sizeof *p);
    if (!p)
        return mh_err_nomem(&o->err);
    p->form.flags = MH_FORM_QUOTE;
    p->from_at = t->end;
    o->state = p;
    mbox_ident_start(&t->ident);
    int errnum = separate(t);
    if (errnum == 0)
        errnum = write_from_line(t, &o->what);
    return errnum ? mh_file_out_errno(&o->err, errnum, "cannot write the message") : 0;
}

/* The last stretch and the empty line behind it. */
static int end_message(struct mbox_target *t, struct mh_file_out *o)
{
    struct progress *p = o->state;
    struct mh_form_seg seg;
    struct iovec iov[3];
    size_t n = 0;
    mh_form_end(&p->form, &seg);
    add_segment(t, p, &seg, iov, &n);
    bool needs_end = p->octets && p->last != '\n';
    add_iov(iov, &n, "\n\n", needs_end ? 2 : 1);
    int errnum = write_at_end(t, iov, n);
    if (errnum)
        return mh_file_out_errno(&o->err, errnum, "cannot write the message");
    uint32_t nth = 0;
    uint64_t ident = mbox_ident_end(&t->ident);
    char name[MBOX_NAME_MAX];
    int rc = mbox_counts_add(&t->counts, ident, &nth, &o->err);
    if (rc < 0)
        return rc;
    mbox_message_name(ident, nth, name);
    o->uid = mh_uid_from_name(name, strlen(name));
    o->name = mh_strdup(name);
    return o->name ? 0 : mh_err_nomem(&o->err);
}

static int write_message(struct mbox_target *t, struct mh_file_out *o)
{
    int rc = o->state ? 0 : begin_message(t, o);
    for (size_t i = 0; rc == 0 && i < o->parts.n; i++) {
        const struct mh_slice *s = &o->parts.v[i];
        mh_form_scan_feed(&o->scan, mh_slice_data(s), s->len);
        int errnum = write_slice(t, o->state, mh_slice_data(s), s->len);
        if (errnum)
            rc = mh_file_out_errno(&o->err, errnum, "cannot write the message");
    }
    return rc == 0 && o->is_complete ? end_message(t, o) : rc;
}

/* Takes a message that failed or was given up off the file's end again. */
static void undo(struct mbox_target *t, struct mh_file_out *o)
{
    struct progress *p = o->state;
    if (!p)
        return;
    if (ftruncate(t->fd, (off_t)p->from_at) == 0)
        t->end = p->from_at;
    t->is_stale = true;
    mh_free(p);
    o->state = NULL;
}

/* --- lock and journal (worker thread) --------------------------------------------------------- */

/* Whether everything from FROM on was written by us: no From_ line of another program in it. */
static bool tail_is_ours(struct mbox_target *t, uint64_t from, unsigned char *buf)
{
    char head[sizeof MBOX_OUR_FROM - 1];
    size_t head_len = 0;
    for (uint64_t at = from;;) {
        ssize_t n = pread(t->fd, buf, MH_SLAB_BYTES, (off_t)at);
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] == '\n') {
                head_len = 0;
            } else if (head_len < sizeof head) {
                head[head_len++] = (char)buf[i];
                if (head_len == sizeof head && memcmp(head, "From ", 5) == 0 &&
                    memcmp(head, MBOX_OUR_FROM, sizeof head) != 0)
                    return false;
            }
        }
        at += (uint64_t)n;
    }
}

/* A crash left a journal: what stands behind it was never acknowledged. */
static int recover(struct mh_session *s, unsigned char *buf, struct mh_err *err)
{
    struct mbox_target *t = &s->target;
    uint64_t end = UINT64_MAX;
    struct stat st;
    int rc = mbox_journal_read(t->dir_fd, t->file, &end, err);
    if (rc < 0 || end == UINT64_MAX)
        return rc;
    if (fstat(t->fd, &st) < 0)
        return mh_err_sys(err, MH_EFOLDER, "mbox", errno, "cannot look at %s", t->file);
    if ((uint64_t)st.st_size > end) {
        if (!tail_is_ours(t, end, buf))
            mh_log(s->store.env->log, MH_LOG_WARNING,
                   "%s: another program has appended behind an append of ours that was cut off; "
                   "the last message of ours may be incomplete",
                   t->file);
        else if (ftruncate(t->fd, (off_t)end) < 0 || fsync(t->fd) < 0)
            return mh_err_sys(err, MH_EFOLDER, "mbox", errno, "cannot cut %s", t->file);
    }
    return mbox_journal_remove(t->dir_fd, t->file, err);
}

/* Counts the idents that the file holds. */
static int count_all(struct mbox_target *t, unsigned char *buf, struct mh_err *err)
{
    struct mbox_scan scan;
    bool is_done = false;
    int rc = mbox_scan_init(&scan, err);
    while (rc == 0 && !is_done)
        rc = mbox_scan_file(&scan, t->fd, UINT64_MAX, buf, &is_done, err);
    if (rc == 0) {
        mbox_counts_done(&t->counts);
        t->counts = scan.counts;
        scan.counts = (struct mbox_counts){NULL, 0, 0};
        t->end = scan.at;
        t->is_stale = false;
    }
    mbox_scan_done(&scan);
    return rc;
}

/* Looks at the file that is open and locked. */
static int look_at_file(struct mh_session *s, struct mh_err *err)
{
    unsigned char *buf = mh_alloc(MH_SLAB_BYTES);
    int rc = buf ? recover(s, buf, err) : mh_err_nomem(err);
    if (rc == 0)
        rc = count_all(&s->target, buf, err);
    mh_free(buf);
    return rc;
}

/* Lock, and a look whether the file is as we left it. */
static int take_file(struct mh_session *s, struct mh_err *err)
{
    struct mbox_target *t = &s->target;
    struct stat st;
    if (t->is_locked)
        return 0;
    int rc = mbox_lock(t->fd, true, err);
    if (rc < 0)
        return rc;
    if (fstat(t->fd, &st) < 0)
        rc = mh_err_sys(err, MH_EFOLDER, "mbox", errno, "cannot look at %s", t->file);
    if (rc == 0 && (t->is_stale || (uint64_t)st.st_size != t->end))
        rc = look_at_file(s, err);
    if (rc == 0)
        rc = mbox_journal_write(t->dir_fd, t->file, t->end, err);
    t->is_locked = rc == 0;
    if (rc < 0)
        mbox_unlock(t->fd);
    return rc;
}

static void leave_file(struct mbox_target *t)
{
    if (!t->is_locked)
        return;
    /* A journal that stays says too little, never too much: the next append looks for itself. */
    (void)mbox_journal_remove(t->dir_fd, t->file, NULL);
    mbox_unlock(t->fd);
    t->is_locked = false;
}

/* --- a batch (worker thread) ------------------------------------------------------------------ */

/* Messages on the disk, then what the index says of them. */
static int commit(struct mbox_target *t, struct mh_file_out *batch, struct mh_err *err)
{
    struct mh_buf lines = MH_BUF_INIT;
    for (const struct mh_file_out *o = batch; o; o = o->next)
        if (o->is_complete && o->rc == 0)
            mh_file_out_index(o, o->name, ((struct progress *)o->state)->octets, &lines);
    int rc = 0;
    char *index = mh_asprintf("%s%s", t->file, MBOX_INDEX);
    if (!index || mh_buf_failed(&lines))
        rc = mh_err_nomem(err);
    else if (lines.len && fsync(t->fd) < 0)
        rc = mh_file_out_errno(err, errno, "cannot write the messages to the disk");
    else if (lines.len)
        rc = mh_file_append_text(t->dir_fd, index, &lines, err);
    mh_free(index);
    mh_buf_done(&lines);
    return rc;
}

/* Fails the whole batch, and takes it off the file again from its first message on. */
static void fail_batch(struct mbox_target *t, struct mh_file_out *batch, int rc,
                       const struct mh_err *err)
{
    bool is_cut = false;
    for (struct mh_file_out *o = batch; o; o = o->next) {
        if (o->rc < 0)
            continue;
        o->rc = rc;
        o->err = *err;
        if (!is_cut && o->state) {
            undo(t, o);
            is_cut = true;
        }
        mh_free(o->state);
        o->state = NULL;
    }
    t->is_stale = true;
}

static void write_batch(struct mh_session *s, struct mh_file_out *batch)
{
    struct mbox_target *t = &s->target;
    struct mh_err err;
    struct mh_file_out *last = batch;
    mh_assert(batch);
    int rc = take_file(s, &err);
    if (rc < 0) {
        fail_batch(t, batch, rc, &err);
        return;
    }
    for (struct mh_file_out *o = batch; o; o = o->next) {
        o->rc = write_message(t, o);
        if (o->rc < 0)
            undo(t, o);
        last = o;
    }
    rc = commit(t, batch, &err);
    bool goes_on = rc == 0 && !last->is_complete && last->rc == 0;
    if (goes_on)
        rc =
            mbox_journal_write(t->dir_fd, t->file, ((struct progress *)last->state)->from_at, &err);
    if (rc < 0)
        fail_batch(t, batch, rc, &err);
    if (rc < 0 || !goes_on)
        leave_file(t);
}

static void release(struct mh_session *s, struct mh_file_out *o)
{
    if (o->state && !(o->rc == 0 && o->is_complete)) {
        undo(&s->target, o);
        leave_file(&s->target);
    }
    mh_free(o->state);
    o->state = NULL;
}

/* --- where to --------------------------------------------------------------------------------- */

static int open_target(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    struct mbox_target *t = &s->target;
    mbox_target_done(t);
    int rc = mbox_open_file(s, folder->native, O_RDWR, &t->dir_fd, &t->fd, &t->file, err);
    if (rc == 0)
        rc = mbox_ident_init(&t->ident, err);
    if (rc == 0)
        rc = mbox_lock(t->fd, true, err);
    if (rc == 0) {
        rc = look_at_file(s, err);
        mbox_unlock(t->fd);
    }
    if (rc < 0)
        mbox_target_done(t);
    return rc;
}

int mbox_append_open(struct mh_session *s, const struct mh_folder *folder,
                     struct mh_append_sink *sink, struct mh_err *err)
{
    static const struct mh_file_writer_ops ops = {open_target, write_batch, release};
    return mh_file_append_open(s, &ops, folder, sink, err);
}
