/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Listing, making and subscribing folders.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_index.h"
#include "mail/file_name.h"

#define SUBSCRIPTIONS_FILE      "subscriptions"
#define SUBSCRIPTIONS_MAX_BYTES ((size_t)64 << 20)

/* --- listing (worker thread) ------------------------------------------------------------------ */

struct list_job {
    struct mh_session *s;
    bool with_status;
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
    int fd = openat(dir_fd, box, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    const struct dirent *e = NULL;
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        struct maildir_info info;
        maildir_info_parse(e->d_name, &info);
        f->messages++;
        f->size += info.size;
        f->size_known &= info.has_size;
    }
    (void)closedir(d);
}

/* Adds the folder NATIVE, whose directory is NAME in DIR_FD, when it is a Maildir. */
static int add_folder(struct list_job *job, int dir_fd, const char *name, const char *native,
                      struct mh_err *err)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || !is_dir(fd, "cur")) {
        if (fd >= 0)
            (void)close(fd);
        return 0;
    }
    struct mh_buf path = MH_BUF_INIT;
    struct mh_folder *f = NULL;
    int rc = maildir_name_decode(job->s->layout, native, &path, err);
    if (rc == 0)
        rc = mh_folders_add(job->out, mh_buf_str(&path), native, &f, err);
    if (rc == 0) {
        f->uidvalidity = mh_file_uidvalidity(native);
        if (strcmp(native, MAILDIR_ROOT) == 0) {
            f->role = MH_ROLE_INBOX;
            f->attrs |= MH_FOLDER_ROLE_ANNOUNCED;
        }
        if (job->with_status) {
            f->size_known = true;
            count_box(fd, "cur", f);
            count_box(fd, "new", f);
            f->attrs |= MH_FOLDER_HAS_STATUS;
        }
    }
    mh_buf_done(&path);
    (void)close(fd);
    return rc;
}

static bool is_box(const char *name)
{
    return strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0;
}

static int list_dir(struct list_job *job, int dir_fd, const char *prefix, unsigned depth,
                    struct mh_err *err);

/* The directory NAME in DIR_FD; in fs layout with what is below it. */
static int list_entry(struct list_job *job, int dir_fd, const char *name, const char *native,
                      unsigned depth, struct mh_err *err)
{
    int rc = add_folder(job, dir_fd, name, native, err);
    if (rc < 0 || job->s->layout != MAILDIR_FS || depth >= MH_FOLDER_DEPTH_MAX)
        return rc;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return mh_err_sys(err, MH_EMAILBOX, "maildir", errno, "cannot open %s", native);
    rc = list_dir(job, fd, native, depth + 1, err);
    (void)close(fd);
    return rc;
}

/* The directories in DIR_FD that can be folders. */
static int list_dir(struct list_job *job, int dir_fd, const char *prefix, unsigned depth,
                    struct mh_err *err)
{
    bool is_fs = job->s->layout == MAILDIR_FS;
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        int rc = mh_err_sys(err, MH_EMAILBOX, "maildir", errno, "cannot list the folders");
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    const struct dirent *e = NULL;
    int rc = 0;
    while (rc == 0 && (e = readdir(d)) != NULL) {
        bool is_dotted = e->d_name[0] == '.';
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || is_dotted == is_fs ||
            is_box(e->d_name) || !is_dir(fd, e->d_name))
            continue;
        char *native = mh_asprintf("%s%s%s", prefix, *prefix ? "/" : "", e->d_name);
        rc = native ? list_entry(job, fd, e->d_name, native, depth, err) : mh_err_nomem(err);
        mh_free(native);
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

/* A Maildir without the file is not Dovecot's; it has no notion of subscriptions. */
static int load_subscriptions(struct mh_session *s, struct mh_folders *l, struct mh_err *err)
{
    struct mh_buf text = MH_BUF_INIT;
    struct mh_buf name = MH_BUF_INIT;
    int rc = mh_file_read_all(s->root_fd, SUBSCRIPTIONS_FILE, SUBSCRIPTIONS_MAX_BYTES, &text, err);
    bool version_2 = is_version_2(&text);
    for (size_t i = 0; i < l->n && (rc == 0 || rc == MH_ENOENT); i++) {
        subscription_name(s, l->v[i].native, version_2, &name);
        l->v[i].attrs &= ~(unsigned)MH_FOLDER_SUBSCRIBED;
        if (rc == MH_ENOENT || has_line(&text, &name))
            l->v[i].attrs |= MH_FOLDER_SUBSCRIBED;
    }
    mh_buf_done(&text);
    mh_buf_done(&name);
    return rc == MH_ENOENT ? 0 : rc;
}

static int list(void *arg, struct mh_err *err)
{
    struct list_job *job = arg;
    int rc = add_folder(job, job->s->root_fd, ".", MAILDIR_ROOT, err);
    if (rc == 0)
        rc = list_dir(job, job->s->root_fd, "", 1, err);
    if (rc == 0)
        rc = mh_file_folders_finish(job->out, job->s->env->log, err);
    if (rc == 0)
        rc = mh_file_folders_load(job->s->root_fd, job->out, err);
    return rc == 0 ? load_subscriptions(job->s, job->out, err) : rc;
}

int maildir_list(struct mh_session *s, bool with_status, struct mh_folders *out, struct mh_err *err)
{
    struct list_job job = {s, with_status, out};
    return mh_file_run(list, &job, err);
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
        rc = maildir_open_folder(s->root_fd, mh_buf_str(&native), true, &fd, err);
    if (rc == 0)
        rc = maildir_make_boxes(fd, err);
    /* Tells delivery programs that this is no mailbox of its own (Maildir++). */
    bool is_marked = s->layout == MAILDIR_PLUS_PLUS && strcmp(mh_buf_str(&native), ".") != 0;
    if (rc == 0 && is_marked) {
        int mark = openat(fd, "maildirfolder", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (mark >= 0)
            (void)close(mark);
    }
    if (fd >= 0)
        (void)close(fd);
    mh_buf_done(&native);
    mh_free(part);
    return rc;
}

struct create_job {
    struct mh_session *s;
    const char *path;
    enum mh_role role;
};

static int create(void *arg, struct mh_err *err)
{
    struct create_job *job = arg;
    int rc = 0;
    for (const char *p = job->path; rc == 0;) {
        size_t len = (size_t)(p - job->path) + strcspn(p, "/");
        rc = make_folder(job->s, job->path, len, err);
        if (!job->path[len])
            break;
        p = job->path + len + 1;
    }
    if (rc == 0 && job->role != MH_ROLE_INBOX)
        rc = mh_file_folders_note_role(job->s->root_fd, job->path, job->role, err);
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
    if (rc == 0) {
        *path_out = mh_buf_take(&back);
        *native_out = mh_buf_take(&native);
        if (!*path_out || !*native_out) {
            mh_free(*path_out);
            mh_free(*native_out);
            rc = mh_err_nomem(err);
        }
    }
    mh_buf_done(&native);
    mh_buf_done(&back);
    return rc;
}

int maildir_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                   char **native_out, struct mh_err *err)
{
    int rc = maildir_plan_name(s, path, path_out, native_out, err);
    if (rc < 0)
        return rc;
    struct create_job job = {s, *path_out, role};
    rc = mh_file_run(create, &job, err);
    if (rc < 0) {
        mh_free(*path_out);
        mh_free(*native_out);
    }
    return rc;
}

/* --- subscribing ------------------------------------------------------------------------------ */

struct subscribe_job {
    struct mh_session *s;
    const char *native;
};

static int subscribe(void *arg, struct mh_err *err)
{
    struct subscribe_job *job = arg;
    struct mh_buf text = MH_BUF_INIT;
    struct mh_buf line = MH_BUF_INIT;
    int rc =
        mh_file_read_all(job->s->root_fd, SUBSCRIPTIONS_FILE, SUBSCRIPTIONS_MAX_BYTES, &text, err);
    if (rc == 0 || rc == MH_ENOENT) {
        subscription_name(job->s, job->native, is_version_2(&text), &line);
        bool is_there = has_line(&text, &line);
        mh_buf_addc(&line, '\n');
        rc = is_there ? 0 : mh_file_append_text(job->s->root_fd, SUBSCRIPTIONS_FILE, &line, err);
    }
    mh_buf_done(&text);
    mh_buf_done(&line);
    return rc;
}

int maildir_subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    struct subscribe_job job = {s, folder->native};
    return mh_file_run(subscribe, &job, err);
}
