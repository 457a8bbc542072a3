/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "connectors/eml/eml.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/eml/eml_priv.h"
#include "mail/file_name.h"

/* --- opening ---------------------------------------------------------------------------------- */

struct open_job {
    struct mh_session *s;
    const char *path;
    bool create;
};

/* A single file: its directory becomes the root. */
static int open_single(struct mh_session *s, const char *path, struct mh_err *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *dir = slash ? mh_strndup(path, (size_t)(slash - path) + 1) : mh_strdup(".");
    s->single = mh_strdup(name);
    int rc = dir && s->single ? mh_file_open_root(dir, false, &s->root_fd, err) : mh_err_nomem(err);
    mh_free(dir);
    return rc;
}

static int open_root(void *arg, struct mh_err *err)
{
    struct open_job *job = arg;
    struct stat st;
    bool is_file = stat(job->path, &st) == 0 && S_ISREG(st.st_mode);
    if (!is_file)
        return mh_file_open_root(job->path, job->create, &job->s->root_fd, err);
    if (job->create)
        return mh_err_set(err, MH_EUSAGE, "eml", "%s is a file: messages go into a directory",
                          job->path);
    return open_single(job->s, job->path, err);
}

static void eml_close(struct mh_session *s)
{
    if (!s)
        return;
    mh_file_writer_close(s->writer);
    eml_selected_done(&s->sel);
    if (s->target_fd >= 0)
        (void)close(s->target_fd);
    if (s->root_fd >= 0)
        (void)close(s->root_fd);
    mh_free(s->single);
    mh_free(s);
}

static int eml_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                    struct mh_session **out, struct mh_err *err)
{
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s)
        return mh_err_nomem(err);
    s->env = env;
    s->root_fd = -1;
    s->target_fd = -1;
    s->sel = (struct eml_selected){.dir_fd = -1};
    s->caps = (struct mh_caps){.uidplus = true,
                               .keywords = true,
                               .list_status = true,
                               .special_use = true,
                               .create_special_use = true,
                               .quota = true,
                               .separator = '/',
                               .server_name = "eml files",
                               .cert_days_left = -1};
    struct open_job job = {s, ep->path, create};
    int rc = mh_file_run(open_root, &job, err);
    if (rc < 0) {
        eml_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

static const struct mh_caps *eml_caps(struct mh_session *s)
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

static int eml_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    return mh_file_quota(s->root_fd, out, err);
}

const struct mh_connector mh_eml = {
    .name = "eml",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_IS_LOCAL | MH_HAS_KEYWORDS |
             MH_HAS_DATES | MH_HAS_ZONES | MH_HAS_FOLDERS,
    .open = eml_open,
    .close = eml_close,
    .caps = eml_caps,
    .list = eml_list,
    .select = eml_select,
    .create = eml_create,
    .plan_name = eml_plan_name,
    .subscribe = eml_subscribe,
    .scan = eml_scan,
    .fetch = eml_fetch,
    .append_open = eml_append_open,
    .append_begin = append_begin,
    .append_data = append_data,
    .append_end = append_end,
    .append_cut = append_cut,
    .append_flush = append_flush,
    .store_flags = eml_store_flags,
    .quota = eml_quota,
};
