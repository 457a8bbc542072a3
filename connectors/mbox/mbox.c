/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "connectors/mbox/mbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/mbox/mbox_priv.h"
#include "mail/file_name.h"

/* --- opening ---------------------------------------------------------------------------------- */

struct open_job {
    struct mh_session *s;
    const char *path;
    bool create;
};

/* A single file: its directory becomes the root. */
static int open_single(struct mh_session *s, const char *path, bool create, struct mh_err *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mh_strndup(path, (size_t)(slash - path) + 1) : mh_strdup(".");
    s->single = mh_strdup(slash ? slash + 1 : path);
    int rc =
        dir && s->single ? mh_file_open_root(dir, create, &s->root_fd, err) : mh_err_nomem(err);
    mh_free(dir);
    return rc;
}

/* What is there decides; where nothing is, a path that ends in .mbox becomes a file. */
static int open_root(void *arg, struct mh_err *err)
{
    struct open_job *job = arg;
    struct stat st;
    size_t len = strlen(job->path);
    bool is_there = stat(job->path, &st) == 0;
    bool names_file = len > strlen(MBOX_SUFFIX) &&
                      strcmp(job->path + len - strlen(MBOX_SUFFIX), MBOX_SUFFIX) == 0;
    if (is_there ? !S_ISDIR(st.st_mode) : names_file && job->create)
        return open_single(job->s, job->path, job->create, err);
    return mh_file_open_root(job->path, job->create, &job->s->root_fd, err);
}

static void mbox_close(struct mh_session *s)
{
    if (!s)
        return;
    mh_file_writer_close(s->writer);
    mbox_selected_done(&s->sel);
    mbox_target_done(&s->target);
    if (s->root_fd >= 0)
        (void)close(s->root_fd);
    mh_free(s->single);
    mh_free(s);
}

static int mbox_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                     struct mh_session **out, struct mh_err *err)
{
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s)
        return mh_err_nomem(err);
    s->env = env;
    s->root_fd = -1;
    s->sel = (struct mbox_selected){.dir_fd = -1, .fd = -1};
    s->target = (struct mbox_target){.dir_fd = -1, .fd = -1};
    struct open_job job = {s, ep->path, create};
    int rc = mh_file_run(open_root, &job, err);
    if (rc < 0) {
        mbox_close(s);
        return rc;
    }
    s->caps = (struct mh_caps){.uidplus = true,
                               .keywords = true,
                               .special_use = !s->single,
                               .create_special_use = !s->single,
                               .quota = true,
                               .separator = s->single ? '\0' : '/',
                               .server_name = "mbox files",
                               .cert_days_left = -1};
    *out = s;
    return 0;
}

static const struct mh_caps *mbox_caps(struct mh_session *s)
{
    return &s->caps;
}

/* --- appending and the rest --------------------------------------------------------------------- */

static int append_begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err)
{
    return mh_file_append_begin(s->writer, msg, err);
}

static int append_data(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err)
{
    return mh_file_append_data(s->writer, slice_take, err);
}

static int append_end(struct mh_session *s, struct mh_err *err)
{
    return mh_file_append_end(s->writer, err);
}

static int append_cut(struct mh_session *s, struct mh_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static int append_flush(struct mh_session *s, struct mh_err *err)
{
    return mh_file_append_flush(s->writer, err);
}

static int mbox_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    return mh_file_quota(s->root_fd, out, err);
}

const struct mh_connector mh_mbox = {
    .name = "mbox",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_IS_LOCAL | MH_HAS_KEYWORDS |
             MH_HAS_DATES | MH_HAS_ZONES | MH_HAS_FOLDERS,
    .open = mbox_open,
    .close = mbox_close,
    .caps = mbox_caps,
    .list = mbox_list,
    .select = mbox_select,
    .create = mbox_create,
    .plan_name = mbox_plan_name,
    .subscribe = mbox_subscribe,
    .scan = mbox_scan_folder,
    .fetch = mbox_fetch,
    .append_open = mbox_append_open,
    .append_begin = append_begin,
    .append_data = append_data,
    .append_end = append_end,
    .append_cut = append_cut,
    .append_flush = append_flush,
    .store_flags = mbox_store_flags,
    .quota = mbox_quota,
};
