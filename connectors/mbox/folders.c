/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "connectors/mbox/mbox_priv.h"
#include "mail/file_name.h"

enum {
    LOCK_TRIES = 250,
    LOCK_WAIT_MS = 20,
};

/* Room for ".mbox.journal.tmp" behind it. */
static const struct mh_file_naming naming = {
    .special = "\\:*?\"<>|",
    .extension = "mbox",
    .no_trailing_dot = true,
    .max_bytes = MH_FILE_NAME_MAX_BYTES - 10,
};

static bool has_suffix(const char *name)
{
    size_t len = strlen(name);
    return len > strlen(MBOX_SUFFIX) && strcmp(name + len - strlen(MBOX_SUFFIX), MBOX_SUFFIX) == 0;
}

/* --- locks ------------------------------------------------------------------------------------ */

/*
 * Locks of the open file description: they exclude the fcntl() locks of mail programs, and unlike
 * those they do not vanish when another session of this process closes the same file.
 */
int mbox_lock(int fd, bool for_write, struct mh_err *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        struct flock fl = {.l_type = for_write ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
            return 0;
        if (errno != EAGAIN && errno != EACCES)
            return mh_err_sys(err, MH_EFOLDER, "mbox", errno, "cannot lock the mbox");
        /* A wait in the kernel could not be ended: ask again for a while. */
        struct timespec pause = {0, LOCK_WAIT_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    return mh_err_set(err, MH_ELATER, "mbox", "the mbox is locked by another program");
}

void mbox_unlock(int fd)
{
    struct flock fl = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_OFD_SETLK, &fl);
}

/* --- journals --------------------------------------------------------------------------------- */

int mbox_journal_read(int dir_fd, const char *file, uint64_t *end_out, struct mh_err *err)
{
    char *name = mh_asprintf("%s%s", file, MBOX_JOURNAL);
    struct mh_buf text = MH_BUF_INIT;
    *end_out = UINT64_MAX;
    int rc = name ? mh_file_read_all(dir_fd, name, 64, &text, err) : mh_err_nomem(err);
    bool is_whole = rc == 0 && text.len > 1 && text.data[text.len - 1] == '\n';
    if (rc == 0 && (!is_whole || !mh_parse_u64(text.data, text.len - 1, INT64_MAX, end_out)))
        rc = mh_err_set(err, MH_EFOLDER, "mbox", "%s is no journal of mailhaul: remove it", name);
    mh_buf_done(&text);
    mh_free(name);
    return rc == MH_ENOENT ? 0 : rc;
}

int mbox_journal_write(int dir_fd, const char *file, uint64_t end, struct mh_err *err)
{
    char *name = mh_asprintf("%s%s", file, MBOX_JOURNAL);
    struct mh_buf text = MH_BUF_INIT;
    mh_buf_addf(&text, "%llu\n", (unsigned long long)end);
    int rc = name ? mh_file_replace(dir_fd, name, &text, err) : mh_err_nomem(err);
    mh_buf_done(&text);
    mh_free(name);
    return rc;
}

int mbox_journal_remove(int dir_fd, const char *file, struct mh_err *err)
{
    char *name = mh_asprintf("%s%s", file, MBOX_JOURNAL);
    int rc = 0;
    if (!name)
        rc = mh_err_nomem(err);
    else if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        rc = mh_err_sys(err, MH_EFOLDER, "mbox", errno, "cannot remove %s", name);
    else
        (void)fsync(dir_fd);
    mh_free(name);
    return rc;
}

/* --- files and names -------------------------------------------------------------------------- */

int mbox_open_file(struct mh_session *s, const char *native, int flags, int *dir_fd_out,
                   int *fd_out, char **file_out, struct mh_err *err)
{
    const char *name = NULL;
    int dir_fd = -1;
    int rc = mh_file_open_parent(s->store.root_fd, native, flags & O_CREAT, &dir_fd, &name, err);
    if (rc < 0)
        return rc;
    int no_follow = s->store.single ? 0 : O_NOFOLLOW;
    int fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NONBLOCK | no_follow, 0600);
    struct stat st;
    char *file = mh_strdup(name);
    if (fd < 0)
        rc = mh_err_sys(err, errno == ENOENT ? MH_ENOENT : MH_EFOLDER, "mbox", errno,
                        "cannot open %s", name);
    else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        rc = mh_err_set(err, MH_EFOLDER, "mbox", "%s is no regular file", name);
    else if (!file)
        rc = mh_err_nomem(err);
    if (rc < 0) {
        mh_file_close(&fd);
        mh_file_close(&dir_fd);
        mh_free(file);
        return rc;
    }
    *dir_fd_out = dir_fd;
    *fd_out = fd;
    *file_out = file;
    return 0;
}

/* A single file that is not called NAME.mbox is a mail spool: INBOX. */
static int decode(const char *native, struct mh_buf *path, struct mh_err *err)
{
    if (has_suffix(native))
        return mh_file_path_decode(native, strlen(native) - strlen(MBOX_SUFFIX), &naming, path,
                                   err);
    mh_buf_adds(path, "INBOX");
    return mh_buf_failed(path) ? mh_err_nomem(err) : 0;
}

int mbox_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                   struct mh_err *err)
{
    const char *single = s->store.single;
    struct mh_buf native = MH_BUF_INIT;
    struct mh_buf back = MH_BUF_INIT;
    int rc = single ? 0 : mh_file_path_encode(path, &naming, &native, err);
    mh_buf_adds(&native, single ? single : MBOX_SUFFIX);
    if (rc == 0 && mh_buf_failed(&native))
        rc = mh_err_nomem(err);
    if (rc == 0)
        rc = decode(mh_buf_str(&native), &back, err);
    if (rc == 0 && single && strcmp(mh_buf_str(&back), path) != 0)
        rc = mh_err_set(err, MH_EFOLDER, "mbox",
                        "the file %s holds the folder %s only: give a directory for several",
                        single, mh_buf_str(&back));
    return mh_file_store_planned(rc, &back, &native, path_out, native_out, err);
}

/* --- listing (worker thread) ------------------------------------------------------------------ */

static int add_folder(struct mh_folders *out, const char *native, uint64_t size, struct mh_err *err)
{
    struct mh_buf path = MH_BUF_INIT;
    struct mh_folder *f = NULL;
    int rc = decode(native, &path, err);
    if (rc == 0)
        rc = mh_file_store_add(out, mh_buf_str(&path), native, &f, err);
    if (rc == 0) {
        f->size = size;
        f->size_known = true;
    }
    mh_buf_done(&path);
    return rc;
}

/* The folders in the directory NAME of DIR_FD, whose native names begin with PREFIX. */
static int list_dir(struct mh_folders *out, int dir_fd, const char *name, const char *prefix,
                    unsigned depth, struct mh_err *err)
{
    DIR *d = mh_file_opendir(dir_fd, name);
    if (!d)
        return mh_err_sys(err, MH_EMAILBOX, "mbox", errno, "cannot list %s", name);
    const struct dirent *e = NULL;
    int rc = 0;
    while (rc == 0 && (e = readdir(d)) != NULL) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        char *native = mh_asprintf("%s%s%s", prefix, *prefix ? "/" : "", e->d_name);
        if (!native)
            rc = mh_err_nomem(err);
        else if (S_ISREG(st.st_mode) && has_suffix(e->d_name))
            rc = add_folder(out, native, (uint64_t)st.st_size, err);
        else if (S_ISDIR(st.st_mode) && depth < MH_FOLDER_DEPTH_MAX)
            rc = list_dir(out, dirfd(d), e->d_name, native, depth + 1, err);
        mh_free(native);
    }
    (void)closedir(d);
    return rc;
}

static int add_folders(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                       struct mh_err *err)
{
    (void)what;
    const struct mh_file_store *store = &s->store;
    struct stat st;
    if (!store->single)
        return list_dir(out, store->root_fd, ".", "", 0, err);
    bool is_there = fstatat(store->root_fd, store->single, &st, 0) == 0;
    return is_there ? add_folder(out, store->single, (uint64_t)st.st_size, err) : 0;
}

/* No counts: only reading all of a file tells them. */
int mbox_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
              struct mh_err *err)
{
    return mh_file_store_list(s, add_folders, what, out, err);
}

/* --- making ----------------------------------------------------------------------------------- */

static int make_one(struct mh_session *s, const char *native, struct mh_err *err)
{
    int dir_fd = -1;
    int fd = -1;
    char *file = NULL;
    int rc = mbox_open_file(s, native, O_RDWR | O_CREAT, &dir_fd, &fd, &file, err);
    if (rc == 0)
        (void)fsync(dir_fd);
    mh_file_close(&fd);
    mh_file_close(&dir_fd);
    mh_free(file);
    return rc;
}

/* The folders above it too: each is a file beside its directory. */
static int make(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    const char *native = folder->native;
    const char *p = native;
    int rc = 0;
    for (; rc == 0 && !s->store.single && (p = strchr(p, '/')) != NULL; p++) {
        char *parent = mh_asprintf("%.*s%s", (int)(p - native), native, MBOX_SUFFIX);
        rc = parent ? make_one(s, parent, err) : mh_err_nomem(err);
        mh_free(parent);
    }
    return rc == 0 ? make_one(s, native, err) : rc;
}

int mbox_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                char **native_out, struct mh_err *err)
{
    int rc = mbox_plan_name(s, path, path_out, native_out, err);
    return rc == 0 ? mh_file_store_create(s, make, role, path_out, native_out, err) : rc;
}
