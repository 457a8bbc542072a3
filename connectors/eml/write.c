/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Appending: a hidden file first, then its entry in the index, then its name. An entry whose file was
 * never named (a crash in between) means nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/eml/eml_priv.h"
#include "mail/file_name.h"

#define HIDDEN "."

static atomic_uint name_counter; /* of the process: sessions share their directories */

/* --- one message (worker thread) -------------------------------------------------------------- */

/* ".20261122T130500-5f3a…eml": sorted by the message's date, then by when it was stored. */
static char *hidden_name(const struct mh_append *what)
{
    struct timeval now;
    (void)gettimeofday(&now, NULL);
    struct mh_date date = {what->date.is_set ? what->date.unix_s : now.tv_sec, 0, true};
    char iso[32];
    mh_date_format_iso(&date, iso);
    unsigned nth = atomic_fetch_add_explicit(&name_counter, 1, memory_order_relaxed);
    return mh_asprintf("%s%.4s%.2s%.2sT%.2s%.2s%.2s-%llx%05lx-%lx-%x%s", HIDDEN, iso, iso + 5,
                       iso + 8, iso + 11, iso + 14, iso + 17, (unsigned long long)now.tv_sec,
                       (unsigned long)now.tv_usec, (unsigned long)getpid(), nth, EML_SUFFIX);
}

static const char *final_name(const struct mh_file_out *o)
{
    return o->name + strlen(HIDDEN);
}

static int write_parts(int dir_fd, struct mh_file_out *o)
{
    if (o->fd < 0) {
        o->name = hidden_name(&o->what);
        if (!o->name)
            return mh_err_nomem(&o->err);
        o->fd = openat(dir_fd, o->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (o->fd < 0)
            return mh_file_out_errno(&o->err, errno, "cannot make a file");
    }
    int rc = mh_file_out_write(o, &o->err);
    if (rc < 0 || !o->is_complete)
        return rc;
    if (o->what.date.is_set) {
        struct timespec times[2] = {{.tv_sec = o->what.date.unix_s},
                                    {.tv_sec = o->what.date.unix_s}};
        if (futimens(o->fd, times) < 0)
            return mh_file_out_errno(&o->err, errno, "cannot set the message's date");
    }
    return 0;
}

static void add_line(struct mh_file_out *o, struct mh_buf *lines)
{
    struct mh_file_record rec = {
        .date = o->what.date,
        .flags = o->what.flags,
        .is_raw = mh_form_scan_is_unix(&o->scan),
        .has_octets = true,
        .octets = o->scan.octets,
        .keywords = o->what.keywords,
        .keywords_len = strlen(o->what.keywords),
    };
    mh_file_index_format(lines, final_name(o), &rec);
}

/* --- a batch (worker thread) ------------------------------------------------------------------ */

/* Gives the synced files their names. */
static void name_files(int dir_fd, struct mh_file_out *batch)
{
    bool any = false;
    for (struct mh_file_out *o = batch; o; o = o->next) {
        if (!o->is_complete || o->rc < 0)
            continue;
        if (renameat(dir_fd, o->name, dir_fd, final_name(o)) < 0) {
            o->rc = mh_file_out_errno(&o->err, errno, "cannot name the message's file");
            continue;
        }
        o->offset = 1; /* it has its final name */
        o->uid = mh_uid_from_name(final_name(o), strlen(final_name(o)));
        any = true;
    }
    if (any && fsync(dir_fd) < 0) {
        struct mh_err err;
        int rc = mh_file_out_errno(&err, errno, "cannot write the directory to the disk");
        mh_file_batch_fail(batch, rc, &err);
    }
}

static void write_batch(void *ctx, struct mh_file_out *batch)
{
    struct mh_session *s = ctx;
    struct mh_buf lines = MH_BUF_INIT;
    struct mh_err err;
    for (struct mh_file_out *o = batch; o; o = o->next)
        o->rc = write_parts(s->target_fd, o);
    mh_file_batch_sync(batch);
    for (struct mh_file_out *o = batch; o; o = o->next)
        if (o->is_complete && o->rc == 0)
            add_line(o, &lines);
    int rc =
        lines.len || lines.failed ? mh_file_append_text(s->target_fd, EML_INDEX, &lines, &err) : 0;
    if (rc < 0)
        mh_file_batch_fail(batch, rc, &err);
    else
        name_files(s->target_fd, batch);
    mh_buf_done(&lines);
}

static void release(void *ctx, struct mh_file_out *o)
{
    struct mh_session *s = ctx;
    bool is_stored = o->rc == 0 && o->is_complete && o->offset;
    if (!is_stored && o->fd >= 0)
        (void)unlinkat(s->target_fd, o->offset ? final_name(o) : o->name, 0);
    if (o->fd >= 0)
        (void)close(o->fd);
    o->fd = -1;
}

static const struct mh_file_writer_ops writer_ops = {.write = write_batch, .release = release};

/* --- where to --------------------------------------------------------------------------------- */

struct open_job {
    struct mh_session *s;
    const char *native;
    int fd;
};

static int open_target(void *arg, struct mh_err *err)
{
    struct open_job *job = arg;
    return eml_open_folder(job->s->root_fd, job->native, &job->fd, err);
}

int eml_append_open(struct mh_session *s, const struct mh_folder *folder,
                    struct mh_append_sink *sink, struct mh_err *err)
{
    int rc = 0;
    if (s->writer)
        rc = mh_file_append_flush(s->writer, err);
    else
        rc = mh_file_writer_new(&writer_ops, s, &s->writer, err);
    struct open_job job = {s, folder->native, -1};
    if (rc == 0)
        rc = mh_file_run(open_target, &job, err);
    if (rc < 0)
        return rc;
    if (s->target_fd >= 0)
        (void)close(s->target_fd);
    s->target_fd = job.fd;
    mh_file_writer_target(s->writer, sink, mh_file_uidvalidity(folder->native));
    return 0;
}
