/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Appending: a hidden file first, then its entry in the index, then its name. An entry whose file was
 * never named (a crash in between) means nothing.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/eml/eml_priv.h"
#include "mail/file_append.h"
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
    int rc = o->fd < 0 ? mh_file_out_make(o, dir_fd, hidden_name(&o->what)) : 0;
    return rc == 0 ? mh_file_out_write(o) : rc;
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

static void write_batch(struct mh_session *s, struct mh_file_out *batch)
{
    struct mh_buf lines = MH_BUF_INIT;
    struct mh_err err;
    for (struct mh_file_out *o = batch; o; o = o->next)
        o->rc = write_parts(s->target_fd, o);
    mh_file_batch_sync(batch);
    for (struct mh_file_out *o = batch; o; o = o->next)
        if (o->is_complete && o->rc == 0)
            mh_file_out_index(o, final_name(o), o->scan.octets, &lines);
    int rc =
        lines.len || lines.failed ? mh_file_append_text(s->target_fd, EML_INDEX, &lines, &err) : 0;
    if (rc < 0)
        mh_file_batch_fail(batch, rc, &err);
    else
        name_files(s->target_fd, batch);
    mh_buf_done(&lines);
}

static void release(struct mh_session *s, struct mh_file_out *o)
{
    bool is_stored = o->rc == 0 && o->is_complete && o->offset;
    if (!is_stored && o->fd >= 0)
        (void)unlinkat(s->target_fd, o->offset ? final_name(o) : o->name, 0);
    mh_file_close(&o->fd);
}

/* --- where to --------------------------------------------------------------------------------- */

static int open_target(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    mh_file_close(&s->target_fd);
    return eml_open_folder(s, folder->native, &s->target_fd, err);
}

int eml_append_open(struct mh_session *s, const struct mh_folder *folder,
                    struct mh_append_sink *sink, struct mh_err *err)
{
    static const struct mh_file_writer_ops ops = {open_target, write_batch, release};
    return mh_file_append_open(s, &ops, folder, sink, err);
}
