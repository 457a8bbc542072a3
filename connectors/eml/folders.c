/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "connectors/eml/eml_priv.h"
#include "mail/file_name.h"

static const struct mh_file_naming naming = {
    .special = "\\:*?\"<>|",
    .extension = "eml",
    .no_trailing_dot = true,
    .max_bytes = MH_FILE_NAME_MAX_BYTES,
};

bool eml_is_message_name(const char *name)
{
    size_t len = strlen(name);
    return len > strlen(EML_SUFFIX) && name[0] != '.' &&
           mh_str_ieq(name + len - strlen(EML_SUFFIX), EML_SUFFIX);
}

int eml_open_folder(int root_fd, const char *native, int *fd_out, struct mh_err *err)
{
    return mh_file_open_dir(root_fd, strcmp(native, EML_ROOT) == 0 ? "" : native, false, fd_out,
                            err);
}

/* --- names ------------------------------------------------------------------------------------ */

static int encode(const char *path, struct mh_buf *native, struct mh_err *err)
{
    struct mh_buf raw = MH_BUF_INIT;
    const char *cursor = path;
    int rc = 0;
    if (!*path || mh_path_depth(path) > MH_FOLDER_DEPTH_MAX)
        rc = mh_err_set(err, MH_EFOLDER, "eml", "the folder's name is empty or too deep");
    while (rc == 0 && mh_path_next(&cursor, &raw)) {
        if (mh_buf_failed(&raw))
            rc = mh_err_nomem(err);
        else if (raw.len == 0)
            rc = mh_err_set(err, MH_EFOLDER, "eml", "a part of the folder's name is empty");
        if (native->len)
            mh_buf_addc(native, '/');
        (void)mh_file_name_encode(native, mh_buf_str(&raw), raw.len, &naming);
    }
    mh_buf_done(&raw);
    return rc == 0 && mh_buf_failed(native) ? mh_err_nomem(err) : rc;
}

static int decode(const char *native, struct mh_buf *path, struct mh_err *err)
{
    struct mh_buf raw = MH_BUF_INIT;
    for (const char *p = native; *p;) {
        size_t len = strcspn(p, "/");
        mh_buf_reset(&raw);
        mh_file_name_decode(&raw, p, len, &naming);
        if (path->len)
            mh_buf_addc(path, '/');
        mh_path_add_component(path, mh_buf_str(&raw), raw.len);
        path->failed |= mh_buf_failed(&raw);
        p += len + (p[len] == '/');
    }
    mh_buf_done(&raw);
    return mh_buf_failed(path) ? mh_err_nomem(err) : 0;
}

int eml_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                  struct mh_err *err)
{
    (void)s;
    struct mh_buf native = MH_BUF_INIT;
    struct mh_buf back = MH_BUF_INIT;
    int rc = encode(path, &native, err);
    if (rc == 0)
        rc = decode(mh_buf_str(&native), &back, err);
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

/* --- listing (worker thread) ------------------------------------------------------------------ */

struct list_job {
    struct mh_session *s;
    bool with_status;
    bool has_inbox;
    struct mh_folders *out;
};

/* What a look into one directory found. */
struct found {
    uint64_t messages;
    uint64_t size;
};

static int list_children(struct list_job *job, DIR *d, const char *native, unsigned depth,
                         struct found *found, struct mh_err *err);

static int add_folder(struct list_job *job, const char *native, const struct found *found,
                      struct mh_err *err)
{
    bool is_root = strcmp(native, EML_ROOT) == 0;
    if (is_root && found->messages == 0)
        return 0;
    struct mh_buf path = MH_BUF_INIT;
    struct mh_folder *f = NULL;
    int rc = 0;
    if (is_root)
        mh_buf_adds(&path, job->has_inbox ? "INBOX~root" : "INBOX");
    else
        rc = decode(native, &path, err);
    if (rc == 0)
        rc = mh_folders_add(job->out, mh_buf_str(&path), native, &f, err);
    if (rc == 0) {
        f->uidvalidity = mh_file_uidvalidity(native);
        if (strcmp(f->path, "INBOX") == 0) {
            f->role = MH_ROLE_INBOX;
            f->attrs |= MH_FOLDER_ROLE_ANNOUNCED;
        }
        if (job->with_status) {
            f->messages = found->messages;
            f->size = found->size;
            f->size_known = true;
            f->attrs |= MH_FOLDER_HAS_STATUS;
        }
    }
    mh_buf_done(&path);
    return rc;
}

/* The directory open at FD (taken over) as a folder, with what is below it. */
static int list_dir(struct list_job *job, int fd, const char *native, unsigned depth,
                    struct mh_err *err)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        int rc = mh_err_sys(err, MH_EMAILBOX, "eml", errno, "cannot list %s", native);
        (void)close(fd);
        return rc;
    }
    struct found found = {0, 0};
    int rc = list_children(job, d, native, depth, &found, err);
    if (rc == 0)
        rc = add_folder(job, native, &found, err);
    (void)closedir(d);
    return rc;
}

static int list_children(struct list_job *job, DIR *d, const char *native, unsigned depth,
                         struct found *found, struct mh_err *err)
{
    bool is_root = strcmp(native, EML_ROOT) == 0;
    const struct dirent *e = NULL;
    int rc = 0;
    while (rc == 0 && (e = readdir(d)) != NULL) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(st.st_mode) && eml_is_message_name(e->d_name)) {
            found->messages++;
            found->size += (uint64_t)st.st_size;
        }
        if (!S_ISDIR(st.st_mode) || depth > MH_FOLDER_DEPTH_MAX)
            continue;
        int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        char *child = mh_asprintf("%s%s%s", is_root ? "" : native, is_root ? "" : "/", e->d_name);
        if (fd < 0)
            rc = mh_err_sys(err, MH_EMAILBOX, "eml", errno, "cannot open %s", e->d_name);
        else if (!child)
            rc = mh_err_nomem(err);
        else
            rc = list_dir(job, fd, child, depth + 1, err);
        if (fd >= 0 && !child)
            (void)close(fd);
        mh_free(child);
    }
    return rc;
}

static int list(void *arg, struct mh_err *err)
{
    struct list_job *job = arg;
    struct mh_session *s = job->s;
    struct stat st;
    int rc = 0;
    if (s->single) {
        bool is_there = fstatat(s->root_fd, s->single, &st, 0) == 0;
        struct found one = {1, is_there ? (uint64_t)st.st_size : 0};
        rc = add_folder(job, EML_ROOT, &one, err);
    } else {
        job->has_inbox =
            fstatat(s->root_fd, "INBOX", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
        int fd = openat(s->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = fd < 0 ? mh_err_sys(err, MH_EMAILBOX, "eml", errno, "cannot list the folders")
                    : list_dir(job, fd, EML_ROOT, 0, err);
    }
    if (rc == 0)
        rc = mh_file_folders_finish(job->out, s->env->log, err);
    return rc == 0 ? mh_file_folders_load(s->root_fd, job->out, err) : rc;
}

int eml_list(struct mh_session *s, bool with_status, struct mh_folders *out, struct mh_err *err)
{
    struct list_job job = {s, with_status, false, out};
    return mh_file_run(list, &job, err);
}

/* --- making and subscribing ------------------------------------------------------------------- */

struct create_job {
    struct mh_session *s;
    const char *path, *native;
    enum mh_role role;
};

static int create(void *arg, struct mh_err *err)
{
    struct create_job *job = arg;
    int fd = -1;
    int rc = mh_file_open_dir(job->s->root_fd, job->native, true, &fd, err);
    if (rc < 0)
        return rc;
    (void)close(fd);
    if (job->role == MH_ROLE_INBOX)
        return 0;
    return mh_file_folders_note_role(job->s->root_fd, job->path, job->role, err);
}

int eml_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
               char **native_out, struct mh_err *err)
{
    int rc = eml_plan_name(s, path, path_out, native_out, err);
    if (rc < 0)
        return rc;
    struct create_job job = {s, *path_out, *native_out, role};
    rc = mh_file_run(create, &job, err);
    if (rc < 0) {
        mh_free(*path_out);
        mh_free(*native_out);
    }
    return rc;
}

static int subscribe(void *arg, struct mh_err *err)
{
    struct create_job *job = arg;
    return mh_file_folders_note_subscribed(job->s->root_fd, job->path, err);
}

int eml_subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    struct create_job job = {s, folder->path, folder->native, MH_ROLE_NONE};
    return mh_file_run(subscribe, &job, err);
}
