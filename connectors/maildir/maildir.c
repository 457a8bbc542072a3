/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "connectors/maildir/maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_name.h"

/* --- opening ---------------------------------------------------------------------------------- */

static bool has_cur(int dir_fd, const char *name)
{
    struct stat st;
    char *path = mh_asprintf("%s/cur", name);
    bool has = path && fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    mh_free(path);
    return has;
}

/* What the root holds: folders like ".A" make it Maildir++, folders like "A" fs layout; Maildir++ when
 * it has none yet. *HAS_ANY_OUT: it is a Maildir at all. */
static enum maildir_layout find_layout(int root_fd, bool *has_any_out)
{
    struct stat st;
    bool has_dotted = false;
    bool has_plain = false;
    int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e = NULL;
    while (d && !has_dotted && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            !has_cur(root_fd, e->d_name))
            continue;
        has_dotted |= e->d_name[0] == '.';
        has_plain |= e->d_name[0] != '.';
    }
    if (d)
        (void)closedir(d);
    else if (fd >= 0)
        (void)close(fd);
    bool has_inbox = fstatat(root_fd, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    *has_any_out = has_inbox || has_dotted || has_plain;
    return has_plain && !has_dotted ? MAILDIR_FS : MAILDIR_PLUS_PLUS;
}

struct open_job {
    struct mh_session *s;
    const char *path;
    bool create;
};

static int open_root(void *arg, struct mh_err *err)
{
    struct open_job *job = arg;
    struct mh_session *s = job->s;
    bool has_any = false;
    int rc = mh_file_open_root(job->path, job->create, &s->root_fd, err);
    if (rc < 0)
        return rc;
    s->layout = find_layout(s->root_fd, &has_any);
    if (!has_any && !job->create)
        return mh_err_set(err, MH_EUSAGE, "maildir",
                          "%s is no Maildir: neither it nor a directory in it has cur", job->path);
    return job->create ? maildir_make_boxes(s->root_fd, err) : 0;
}

static void maildir_close(struct mh_session *s)
{
    if (!s)
        return;
    mh_file_writer_close(s->writer);
    if (s->target.n_lost_keywords)
        mh_log(s->env->log, MH_LOG_WARNING,
               "a Maildir holds %d different keywords at most: %zu were not kept", MAILDIR_KEYWORDS,
               s->target.n_lost_keywords);
    maildir_selected_done(&s->sel);
    maildir_target_done(&s->target);
    if (s->root_fd >= 0)
        (void)close(s->root_fd);
    mh_free(s);
}

static int maildir_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                        struct mh_session **out, struct mh_err *err)
{
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s)
        return mh_err_nomem(err);
    s->env = env;
    s->root_fd = -1;
    s->sel = (struct maildir_selected){.dir_fd = -1, .cur_fd = -1, .new_fd = -1};
    s->target = (struct maildir_target){.dir_fd = -1, .tmp_fd = -1, .cur_fd = -1};
    struct open_job job = {s, ep->path, create};
    int rc = mh_file_run(open_root, &job, err);
    if (rc < 0) {
        maildir_close(s);
        return rc;
    }
    s->caps = (struct mh_caps){.uidplus = true,
                               .keywords = true,
                               .list_status = true,
                               .special_use = true,
                               .create_special_use = true,
                               .quota = true,
                               .separator = s->layout == MAILDIR_FS ? '/' : '.',
                               .server_name = "Maildir",
                               .cert_days_left = -1};
    *out = s;
    return 0;
}

static const struct mh_caps *maildir_caps(struct mh_session *s)
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

static int maildir_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    return mh_file_quota(s->root_fd, out, err);
}

const struct mh_connector mh_maildir = {
    .name = "maildir",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_IS_LOCAL | MH_HAS_KEYWORDS |
             MH_HAS_DATES | MH_HAS_FOLDERS,
    .open = maildir_open,
    .close = maildir_close,
    .caps = maildir_caps,
    .list = maildir_list,
    .select = maildir_select,
    .create = maildir_create,
    .plan_name = maildir_plan_name,
    .subscribe = maildir_subscribe,
    .scan = maildir_scan,
    .fetch = maildir_fetch,
    .append_open = maildir_append_open,
    .append_begin = append_begin,
    .append_data = append_data,
    .append_end = append_end,
    .append_cut = append_cut,
    .append_flush = append_flush,
    .store_flags = maildir_store_flags,
    .quota = maildir_quota,
};
