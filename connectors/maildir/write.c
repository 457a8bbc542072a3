/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Appending: tmp/ first, then cur/ under the final name. A batch is written, synced, renamed, and
 * cur/ synced once.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_name.h"

static atomic_uint name_counter; /* of the process: sessions share their directories */

void maildir_target_done(struct mh_session *s)
{
    struct maildir_target *t = &s->target;
    maildir_keywords_report(&t->keywords, s->store.env->log, t->path ? t->path : "");
    mh_file_close(&t->dir_fd);
    mh_file_close(&t->tmp_fd);
    mh_file_close(&t->cur_fd);
    mh_free(t->path);
    t->path = NULL;
    maildir_keywords_done(&t->keywords);
}

/* --- one message (worker thread) -------------------------------------------------------------- */

/* "1763816700.M123456P789Q1.host", by the convention of the Maildir page (cr.yp.to/proto/maildir). */
static char *unique_name(void)
{
    struct timeval now;
    char host[65];
    (void)gettimeofday(&now, NULL);
    if (gethostname(host, sizeof host) < 0)
        (void)snprintf(host, sizeof host, "localhost");
    host[sizeof host - 1] = '\0';
    for (char *p = host; *p; p++)
        if (*p == '/' || *p == ':' || *p == ',' || (unsigned char)*p <= ' ')
            *p = '_';
    unsigned nth = atomic_fetch_add_explicit(&name_counter, 1, memory_order_relaxed);
    return mh_asprintf("%lld.M%06ldP%ldQ%u.%s", (long long)now.tv_sec, (long)now.tv_usec,
                       (long)getpid(), nth, host);
}

static int write_parts(struct maildir_target *t, struct mh_file_out *o)
{
    int rc = o->fd < 0 ? mh_file_out_make(o, t->tmp_fd, unique_name()) : 0;
    return rc == 0 ? mh_file_out_write(o) : rc;
}

/* Letters for the batch's keywords; new ones are on the disk before a message uses them. */
static int batch_letters(struct maildir_target *t, struct mh_file_out *batch, struct mh_err *err)
{
    bool is_new = false;
    bool is_changed = false;
    uint32_t letters = 0;
    unsigned n_lost = 0;
    int rc = 0;
    for (struct mh_file_out *o = batch; rc == 0 && o; o = o->next)
        if (o->is_complete)
            rc = maildir_keywords_letters(&t->keywords, o->what.keywords, &letters, &is_new,
                                          &n_lost, err);
    if (rc == 0 && is_new)
        rc = maildir_keywords_save(t->dir_fd, &t->keywords, &is_changed, err);
    return rc;
}

/* Gives the synced file in tmp its name in cur. */
static int move_to_cur(struct maildir_target *t, struct mh_file_out *o)
{
    struct mh_buf base = MH_BUF_INIT;
    struct mh_buf name = MH_BUF_INIT;
    struct maildir_info info = {.flags = o->what.flags};
    bool is_new = false;
    unsigned n_lost = 0;
    unsigned long long size = o->scan.octets;
    unsigned long long wire_size = o->scan.octets + o->scan.bare_lf;
    mh_buf_addf(&base, "%s,S=%llu,W=%llu%s", o->name, size, wire_size,
                mh_form_scan_is_unix(&o->scan) ? ",R=1" : "");
    info.base_len = base.len;
    int rc = maildir_keywords_letters(&t->keywords, o->what.keywords, &info.letters, &is_new,
                                      &n_lost, &o->err);
    maildir_info_format(&name, mh_buf_str(&base), &info);
    if (rc == 0 && (mh_buf_failed(&base) || mh_buf_failed(&name)))
        rc = mh_err_nomem(&o->err);
    if (rc == 0 && renameat(t->tmp_fd, o->name, t->cur_fd, mh_buf_str(&name)) < 0)
        rc = mh_file_out_errno(&o->err, errno, "cannot move the message to cur");
    if (rc == 0) {
        o->uid = mh_uid_from_name(base.data, base.len);
        o->state = mh_buf_take(&name);
    }
    mh_buf_done(&base);
    mh_buf_done(&name);
    return rc;
}

/* --- a batch (worker thread) ------------------------------------------------------------------ */

static void write_batch(struct mh_session *s, struct mh_file_out *batch)
{
    struct maildir_target *t = &s->target;
    struct mh_err err;
    for (struct mh_file_out *o = batch; o; o = o->next)
        o->rc = write_parts(t, o);
    int rc = batch_letters(t, batch, &err);
    if (rc < 0)
        mh_file_batch_fail(batch, rc, &err);
    mh_file_batch_sync(batch);
    bool any = false;
    for (struct mh_file_out *o = batch; o; o = o->next) {
        if (!o->is_complete || o->rc < 0)
            continue;
        o->rc = move_to_cur(t, o);
        any |= o->rc == 0;
    }
    if (any && fsync(t->cur_fd) < 0) {
        rc = mh_file_out_errno(&err, errno, "cannot write cur to the disk");
        mh_file_batch_fail(batch, rc, &err);
    }
}

/* A message that was not stored leaves no file behind, under neither of its names. */
static void release(struct mh_session *s, struct mh_file_out *o)
{
    bool is_stored = o->rc == 0 && o->is_complete && o->state;
    if (!is_stored && o->state)
        (void)unlinkat(s->target.cur_fd, o->state, 0);
    else if (!is_stored && o->fd >= 0)
        (void)unlinkat(s->target.tmp_fd, o->name, 0);
    mh_file_close(&o->fd);
    mh_free(o->state);
    o->state = NULL;
}

/* --- where to --------------------------------------------------------------------------------- */

static int open_target(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    struct maildir_target *t = &s->target;
    maildir_target_done(s);
    t->path = mh_strdup(folder->path);
    int rc = t->path ? 0 : mh_err_nomem(err);
    if (rc == 0)
        rc = maildir_open_folder(s->store.root_fd, folder->native, false, &t->dir_fd, err);
    if (rc == 0)
        rc = maildir_make_boxes(t->dir_fd, err);
    if (rc == 0)
        rc = mh_file_open_dir(t->dir_fd, "tmp", false, &t->tmp_fd, err);
    if (rc == 0)
        rc = mh_file_open_dir(t->dir_fd, "cur", false, &t->cur_fd, err);
    return rc == 0 ? maildir_keywords_load(t->dir_fd, &t->keywords, err) : rc;
}

int maildir_append_open(struct mh_session *s, const struct mh_folder *folder,
                        struct mh_append_sink *sink, struct mh_err *err)
{
    static const struct mh_file_writer_ops ops = {open_target, write_batch, release};
    return mh_file_append_open(s, &ops, folder, sink, err);
}
