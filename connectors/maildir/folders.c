/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Listing, making and subscribing folders.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_name.h"

#define SUBSCRIPTIONS_FILE      "subscriptions"
#define SUBSCRIPTIONS_MAX_BYTES ((size_t)64 << 20)

/* --- listing (worker thread) ------------------------------------------------------------------ */

struct listing {
    enum maildir_layout layout;
    enum mh_listing what;
    struct mh_folders *out;
};

static bool is_dir(int dir_fd, const char *name)
{
    struct stat st;
    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Counts the messages of one box; their size too while every name tells it. */
static void count_box(int dir_fd, const char *box, struct mh_folder *f)
{
    DIR *d = mh_file_opendir(dir_fd, box);
    const struct dirent *e = NULL;
    while (d && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        struct maildir_info info;
        maildir_info_parse(e->d_name, &info);
        f->messages++;
        f->size += info.size;
        f->size_known &= info.has_size;
    }
    if (d)
        (void)closedir(d);
}

/* Adds the folder NATIVE, whose directory is open at DIR_FD, when it is a Maildir. */
static int add_folder(const struct listing *l, int dir_fd, const char *native, struct mh_err *err)
{
    if (!is_dir(dir_fd, "cur"))
        return 0;
    struct mh_buf path = MH_BUF_INIT;
    struct mh_folder *f = NULL;
    int rc = maildir_name_decode(l->layout, native, &path, err);
    if (rc == 0)
        rc = mh_file_store_add(l->out, mh_buf_str(&path), native, &f, err);
    if (rc == 0 && l->what != MH_LIST_NAMES) {
        f->size_known = true;
        count_box(dir_fd, "cur", f);
        count_box(dir_fd, "new", f);
        f->attrs |= MH_FOLDER_HAS_STATUS;
    }
    mh_buf_done(&path);
    return rc;
}

static bool is_box(const char *name)
{
    return strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0;
}

/* Whether the directory NAME can be a folder's. */
static bool can_be_folder(enum maildir_layout layout, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || is_box(name))
        return false;
    return (name[0] == '.') == (layout == MAILDIR_PLUS_PLUS);
}

/* The directory NAME in DIR_FD, which is the folder NATIVE, and where folders can be in it, these. */
static int list_dir(const struct listing *l, int dir_fd, const char *name, const char *native,
                    unsigned depth, struct mh_err *err)
{
    DIR *d = mh_file_opendir(dir_fd, name);
    bool is_root = depth == 0;
    bool has_children = is_root || (l->layout == MAILDIR_FS && depth < MH_FOLDER_DEPTH_MAX);
    if (!d && !is_root && l->layout == MAILDIR_PLUS_PLUS)
        return 0; /* dotted directories are not all of mail: a home can be a Maildir's root */
    if (!d)
        return mh_err_sys(err, MH_EMAILBOX, "maildir", errno, "cannot list %s", native);
    const struct dirent *e = NULL;
    int rc = add_folder(l, dirfd(d), native, err);
    while (rc == 0 && has_children && (e = readdir(d)) != NULL) {
        if (!can_be_folder(l->layout, e->d_name) || !is_dir(dirfd(d), e->d_name))
            continue;
        char *child = mh_asprintf("%s%s%s", is_root ? "" : native, is_root ? "" : "/", e->d_name);
        rc = child ? list_dir(l, dirfd(d), e->d_name, child, depth + 1, err) : mh_err_nomem(err);
        mh_free(child);
    }
    (void)closedir(d);
    return rc;
}

/* --- subscriptions: Dovecot's file, version 1 (native names) or 2 (parts between tabs) ---------- */

static bool is_version_2(const struct mh_buf *text)
{
    return text->len >= 4 && memcmp(text->data, "V\t2\n", 4) == 0;
}

/* The name that FOLDER has in the file. */
static void subscription_name(const struct mh_session *s, const char *native, bool version_2,
                              struct mh_buf *b)
{
    char separator = s->layout == MAILDIR_PLUS_PLUS ? '.' : '/';
    mh_buf_reset(b);
    if (strcmp(native, MAILDIR_ROOT) == 0) {
        mh_buf_adds(b, "INBOX");
        return;
    }
    for (const char *p = native + (s->layout == MAILDIR_PLUS_PLUS); *p; p++)
        mh_buf_addc(b, version_2 && *p == separator ? '\t' : *p);
}

static bool has_line(const struct mh_buf *text, const struct mh_buf *line)
{
    for (size_t at = 0; at < text->len;) {
        const char *p = text->data + at;
        const char *lf = memchr(p, '\n', text->len - at);
        size_t len = lf ? (size_t)(lf - p) : text->len - at;
        if (len == line->len && memcmp(p, mh_buf_str(line), len) == 0)
            return true;
        at += len + 1;
    }
    return false;
}

struct subscriptions_job {
    struct mh_session *s;
    struct mh_folders *l;
};

/* A Maildir without the file is not Dovecot's; it has no notion of subscriptions. */
static int load_subscriptions(void *arg, struct mh_err *err)
{
    struct subscriptions_job *job = arg;
    struct mh_folders *l = job->l;
    struct mh_buf text = MH_BUF_INIT;
    struct mh_buf name = MH_BUF_INIT;
    int rc = mh_file_read_all(job->s->store.root_fd, SUBSCRIPTIONS_FILE, SUBSCRIPTIONS_MAX_BYTES,
                              &text, err);
    bool version_2 = is_version_2(&text);
    for (size_t i = 0; i < l->n && (rc == 0 || rc == MH_ENOENT); i++) {
        subscription_name(job->s, l->v[i].native, version_2, &name);
        l->v[i].attrs &= ~(unsigned)MH_FOLDER_SUBSCRIBED;
        if (rc == MH_ENOENT || has_line(&text, &name))
            l->v[i].attrs |= MH_FOLDER_SUBSCRIBED;
    }
    mh_buf_done(&text);
    mh_buf_done(&name);
    return rc == MH_ENOENT ? 0 : rc;
}

static int add_folders(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                       struct mh_err *err)
{
    struct listing l = {s->layout, what, out};
    return list_dir(&l, s->store.root_fd, ".", MAILDIR_ROOT, 0, err);
}

int maildir_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                 struct mh_err *err)
{
    struct subscriptions_job job = {s, out};
    int rc = mh_file_store_list(s, add_folders, what, out, err);
    return rc == 0 && out->n ? mh_file_run(load_subscriptions, &job, err) : rc;
}

/* --- making ----------------------------------------------------------------------------------- */

int maildir_make_boxes(int dir_fd, struct mh_err *err)
{
    static const char *const boxes[] = {"tmp", "new", "cur"}; /* cur last: with it it is a folder */
    for (size_t i = 0; i < MH_ARRAY_LEN(boxes); i++)
        if (mkdirat(dir_fd, boxes[i], 0700) < 0 && errno != EEXIST)
            return mh_err_sys(err, MH_EFOLDER, "maildir", errno, "cannot make %s", boxes[i]);
    (void)fsync(dir_fd);
    return 0;
}

/* Makes the folder of the canonical path's first LEN octets. */
static int make_folder(struct mh_session *s, const char *path, size_t len, struct mh_err *err)
{
    char *part = mh_strndup(path, len);
    struct mh_buf native = MH_BUF_INIT;
    int fd = -1;
    int rc = part ? maildir_name_encode(s->layout, part, &native, err) : mh_err_nomem(err);
    if (rc == 0)
        rc = maildir_open_folder(s->store.root_fd, mh_buf_str(&native), true, &fd, err);
    if (rc == 0)
        rc = maildir_make_boxes(fd, err);
    /* Tells delivery programs that this is no mailbox of its own (Maildir++). */
    bool is_marked =
        s->layout == MAILDIR_PLUS_PLUS && strcmp(mh_buf_str(&native), MAILDIR_ROOT) != 0;
    if (rc == 0 && is_marked) {
        int mark = openat(fd, "maildirfolder", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        mh_file_close(&mark);
    }
    mh_file_close(&fd);
    mh_buf_done(&native);
    mh_free(part);
    return rc;
}

/* The folders above it too. */
static int make(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    size_t len = strcspn(folder->path, "/");
    int rc = make_folder(s, folder->path, len, err);
    while (rc == 0 && folder->path[len]) {
        len += 1 + strcspn(folder->path + len + 1, "/");
        rc = make_folder(s, folder->path, len, err);
    }
    return rc;
}

int maildir_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                      struct mh_err *err)
{
    struct mh_buf native = MH_BUF_INIT;
    struct mh_buf back = MH_BUF_INIT;
    int rc = maildir_name_encode(s->layout, path, &native, err);
    if (rc == 0)
        rc = maildir_name_decode(s->layout, mh_buf_str(&native), &back, err);
    return mh_file_store_planned(rc, &back, &native, path_out, native_out, err);
}

int maildir_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                   char **native_out, struct mh_err *err)
{
    int rc = maildir_plan_name(s, path, path_out, native_out, err);
    return rc == 0 ? mh_file_store_create(s, make, role, path_out, native_out, err) : rc;
}

/* --- subscribing ------------------------------------------------------------------------------ */

static int subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    int root_fd = s->store.root_fd;
    struct mh_buf text = MH_BUF_INIT;
    struct mh_buf line = MH_BUF_INIT;
    int rc = mh_file_read_all(root_fd, SUBSCRIPTIONS_FILE, SUBSCRIPTIONS_MAX_BYTES, &text, err);
    if (rc == 0 || rc == MH_ENOENT) {
        subscription_name(s, folder->native, is_version_2(&text), &line);
        bool is_there = has_line(&text, &line);
        mh_buf_addc(&line, '\n');
        rc = is_there ? 0 : mh_file_append_text(root_fd, SUBSCRIPTIONS_FILE, &line, err);
    }
    mh_buf_done(&text);
    mh_buf_done(&line);
    return rc;
}

int maildir_subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    return mh_file_store_run(s, subscribe, folder, err);
}
