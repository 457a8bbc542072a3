/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "connectors/maildir/maildir.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_append.h"
#include "mail/file_name.h"

static bool has_cur(int dir_fd, const char *name)
{
    struct stat st;
    char path[NAME_MAX + sizeof "/cur"];
    (void)snprintf(path, sizeof path, "%s/cur", name);
    return fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* What the root holds: folders like ".A" make it Maildir++, folders like "A" fs layout; Maildir++ when
 * it has none yet. *HAS_ANY_OUT: it is a Maildir at all. */
static enum maildir_layout find_layout(int root_fd, bool *has_any_out)
{
    bool has_dotted = false;
    bool has_plain = false;
    DIR *d = mh_file_opendir(root_fd, ".");
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
    *has_any_out = has_cur(root_fd, ".") || has_dotted || has_plain;
    return has_plain && !has_dotted ? MAILDIR_FS : MAILDIR_PLUS_PLUS;
}

static int open_root(void *arg, struct mh_err *err)
{
    const struct mh_file_opening *o = arg;
    struct mh_session *s = o->s;
    bool has_any = false;
    int rc = mh_file_store_open_root(o, err);
    if (rc < 0)
        return rc;
    if (s->store.root_fd >= 0)
        s->layout = find_layout(s->store.root_fd, &has_any);
    s->store.caps.separator = s->layout == MAILDIR_FS ? '/' : '.';
    if (!has_any && s->store.env->is_source)
        return mh_err_set(err, MH_EUSAGE, "maildir",
                          "%s is no Maildir: neither it nor a directory in it has cur", o->path);
    return o->create ? maildir_make_boxes(s->store.root_fd, err) : 0;
}

static void maildir_close(struct mh_session *s)
{
    if (!s)
        return;
    mh_file_store_done(&s->store);
    maildir_selected_done(&s->sel);
    maildir_target_done(s);
    mh_free(s);
}

static int maildir_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                        struct mh_session **out, struct mh_err *err)
{
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s)
        return mh_err_nomem(err);
    mh_file_store_init(&s->store, env, "Maildir");
    s->sel = (struct maildir_selected){.dir_fd = -1, .box_fds = {-1, -1}};
    s->target = (struct maildir_target){.dir_fd = -1, .tmp_fd = -1, .cur_fd = -1};
    struct mh_file_opening opening = {s, ep->path, create};
    int rc = mh_file_run(open_root, &opening, err);
    if (rc < 0)
        maildir_close(s);
    else
        *out = s;
    return rc;
}

const struct mh_connector mh_maildir = {
    .name = "maildir",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_IS_LOCAL | MH_HAS_KEYWORDS |
             MH_HAS_DATES | MH_HAS_FOLDERS,
    .open = maildir_open,
    .close = maildir_close,
    .caps = mh_file_store_caps,
    .list = maildir_list,
    .select = maildir_select,
    .create = maildir_create,
    .plan_name = maildir_plan_name,
    .subscribe = maildir_subscribe,
    .scan = maildir_scan,
    .fetch = maildir_fetch,
    .append_open = maildir_append_open,
    .append_begin = mh_file_append_begin,
    .append_data = mh_file_append_data,
    .append_end = mh_file_append_end,
    .append_cut = mh_file_append_cut,
    .append_flush = mh_file_append_flush,
    .store_flags = maildir_store_flags,
    .quota = mh_file_store_quota,
};
