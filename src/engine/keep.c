/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages that the target cannot take, kept as .eml files when the policy says so. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/engine_priv.h"

struct keep {
    char *path; /* owned: the final name */
    char *part; /* owned: while it is being written */
    int fd;
};

/* Letters, digits and a few marks as they are; everything else as %XX: never a path of its own. */
static void add_safe(struct mh_buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '@' || c >= 0x80;
        if (plain)
            mh_buf_addc(b, (char)c);
        else
            mh_buf_addf(b, "%%%02X", c);
    }
}

struct file_job {
    struct keep *keep;
    const void *data;
    size_t len;
    int errnum;
};

static void make_file(void *arg)
{
    struct file_job *f = arg;
    char *slash = strrchr(f->keep->path, '/');
    for (char *at = f->keep->path + 1; at <= slash; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        int rc = mkdir(f->keep->path, 0700);
        int errnum = errno;
        *at = '/';
        if (rc != 0 && errnum != EEXIST) {
            f->errnum = errnum;
            return;
        }
    }
    f->keep->fd = open(f->keep->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    f->errnum = f->keep->fd < 0 ? errno : 0;
}

static void write_file(void *arg)
{
    struct file_job *f = arg;
    const char *at = f->data;
    size_t left = f->len;
    while (left && f->errnum == 0) {
        ssize_t n = write(f->keep->fd, at, left);
        if (n < 0 && errno != EINTR)
            f->errnum = errno;
        if (n > 0) {
            at += n;
            left -= (size_t)n;
        }
    }
}

static void end_file(void *arg)
{
    struct file_job *f = arg;
    if (fsync(f->keep->fd) != 0 || close(f->keep->fd) != 0 ||
        rename(f->keep->part, f->keep->path) != 0)
        f->errnum = errno;
    f->keep->fd = -1;
}

static int disk_error(struct lane *lane, int errnum, struct mh_err *err)
{
    return mh_err_sys(err, MH_ERUN, "export", errnum, "cannot write %s", lane->keep->path);
}

int keep_open(struct lane *lane, struct mh_err *err)
{
    const char *dir = lane->job->run->cfg->oversize_dir;
    struct mh_buf path = MH_BUF_INIT;
    lane->keep = NULL;
    if (!dir)
        return MH_OK;
    mh_buf_addf(&path, "%s/", dir);
    add_safe(&path, lane->job->mb->id);
    mh_buf_addc(&path, '/');
    add_safe(&path, lane->pass->entry->source->path);
    mh_buf_addf(&path, "/%llu.eml", (unsigned long long)lane->item->uid);
    struct keep *keep = mh_zalloc(sizeof *keep);
    if (!keep) {
        mh_buf_done(&path);
        return mh_err_nomem(err);
    }
    keep->fd = -1;
    keep->path = mh_buf_take(&path);
    keep->part = keep->path ? mh_asprintf("%s.part", keep->path) : NULL;
    lane->keep = keep;
    if (!keep->part)
        return mh_err_nomem(err);
    struct file_job job = {.keep = keep};
    mh_offload(make_file, &job);
    return job.errnum ? disk_error(lane, job.errnum, err) : MH_OK;
}

int keep_write(struct lane *lane, const struct mh_slice *slice, struct mh_err *err)
{
    struct file_job job = {.keep = lane->keep, .data = mh_slice_data(slice), .len = slice->len};
    mh_offload(write_file, &job);
    return job.errnum ? disk_error(lane, job.errnum, err) : MH_OK;
}

static void keep_free(struct lane *lane)
{
    struct keep *keep = mh_take(lane->keep);
    mh_free(keep->path);
    mh_free(keep->part);
    mh_free(keep);
}

int keep_close(struct lane *lane, struct mh_err *err)
{
    char text[512];
    char size[32];
    char limit[32];
    int code = MH_OK;
    (void)mh_format_size(lane->octets, size, sizeof size);
    (void)mh_format_size(lane->job->max_message, limit, sizeof limit);
    if (!lane->keep) {
        (void)snprintf(text, sizeof text, "%s; the target takes at most %s", size, limit);
        pass_close_item(lane->pass, lane->todo, "skipped", "too-big", text);
        return MH_OK;
    }
    struct file_job job = {.keep = lane->keep};
    mh_offload(end_file, &job);
    if (job.errnum) {
        code = disk_error(lane, job.errnum, err);
    } else {
        (void)snprintf(text, sizeof text, "%s; the target takes at most %s; kept as %s", size,
                       limit, lane->keep->path);
        pass_close_item(lane->pass, lane->todo, "skipped", "too-big-exported", text);
    }
    keep_free(lane);
    return code;
}

void keep_abort(struct lane *lane)
{
    if (!lane->keep)
        return;
    if (lane->keep->fd >= 0) {
        (void)close(lane->keep->fd);
        (void)unlink(lane->keep->part);
    }
    keep_free(lane);
}
