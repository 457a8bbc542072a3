/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/file_name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/task.h"
#include "mail/folder.h"
#include "mail/item.h"

/* --- names ------------------------------------------------------------------------------------ */

static bool is_extension(const char *s, size_t len, const char *extension)
{
    size_t want = strlen(extension);
    return len >= want && mh_mem_ieq(s, want, extension);
}

/* Whether the octet at RAW[I], the start of a valid character of SEQ octets, must be escaped. */
static bool needs_escape(const char *raw, size_t len, size_t i, size_t seq,
                         const struct mh_file_naming *naming)
{
    char c = raw[i];
    if (seq != 1)
        return seq == 0;
    if ((c >= 0 && c < 0x20) || c == 0x7f || c == '/' || strchr(naming->special, c))
        return true;
    if (i == 0 && (c == '.' || (c == '~' && naming->no_leading_tilde)))
        return true;
    if (c == '.' && naming->extension && is_extension(raw + i + 1, len - i - 1, naming->extension))
        return true;
    if (naming->no_trailing_dot && i + 1 == len && (c == '.' || c == ' '))
        return true;
    return mh_escape_value(raw + i, len - i) >= 0;
}

bool mh_file_name_encode(struct mh_buf *b, const char *raw, size_t len,
                         const struct mh_file_naming *naming)
{
    enum { TAIL_LEN = 17 }; /* '~' and 16 hex digits */
    size_t start = b->len;
    size_t cut = start; /* the last character's edge with room for the tail */
    for (size_t i = 0; i < len;) {
        size_t seq = mh_utf8_seq(raw + i, len - i);
        if (needs_escape(raw, len, i, seq, naming)) {
            mh_buf_addf(b, "%%%02X", (unsigned char)raw[i]);
            seq = 1;
        } else {
            mh_buf_add(b, raw + i, seq);
        }
        i += seq;
        if (b->len - start + TAIL_LEN <= naming->max_bytes)
            cut = b->len;
    }
    if (b->len - start <= naming->max_bytes || mh_buf_failed(b))
        return false;
    b->len = cut;
    mh_buf_addf(b, "~%016llx", (unsigned long long)mh_uid_from_name(raw, len));
    return true;
}

void mh_file_name_decode(struct mh_buf *b, const char *name, size_t len,
                         const struct mh_file_naming *naming)
{
    struct mh_buf again = MH_BUF_INIT;
    size_t start = b->len;
    for (size_t i = 0; i < len;) {
        int octet = mh_escape_value(name + i, len - i);
        mh_buf_addc(b, octet < 0 ? name[i] : (char)octet);
        i += octet < 0 ? 1 : 3;
    }
    if (!mh_buf_failed(b))
        (void)mh_file_name_encode(&again, b->data + start, b->len - start, naming);
    bool is_ours = again.len == len && (len == 0 || memcmp(again.data, name, len) == 0);
    if (!is_ours && !mh_buf_failed(b)) {
        b->len = start;
        mh_buf_add(b, name, len);
    }
    b->failed |= mh_buf_failed(&again);
    mh_buf_done(&again);
}

/* --- paths ------------------------------------------------------------------------------------ */

int mh_file_path_encode(const char *path, const struct mh_file_naming *naming,
                        struct mh_buf *native, struct mh_err *err)
{
    struct mh_buf raw = MH_BUF_INIT;
    const char *cursor = path;
    int rc = 0;
    if (!*path || mh_path_depth(path) > MH_FOLDER_DEPTH_MAX)
        rc = mh_err_set(err, MH_EFOLDER, "file", "the folder's name is empty or too deep");
    while (rc == 0 && mh_path_next(&cursor, &raw)) {
        if (mh_buf_failed(&raw))
            rc = mh_err_nomem(err);
        else if (raw.len == 0)
            rc = mh_err_set(err, MH_EFOLDER, "file", "a part of the folder's name is empty");
        if (native->len)
            mh_buf_addc(native, '/');
        (void)mh_file_name_encode(native, mh_buf_str(&raw), raw.len, naming);
    }
    mh_buf_done(&raw);
    return rc == 0 && mh_buf_failed(native) ? mh_err_nomem(err) : rc;
}

int mh_file_path_decode(const char *native, size_t len, const struct mh_file_naming *naming,
                        struct mh_buf *path, struct mh_err *err)
{
    struct mh_buf raw = MH_BUF_INIT;
    for (const char *p = native, *end = native + len; p < end;) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        mh_buf_reset(&raw);
        mh_file_name_decode(&raw, p, (size_t)(stop - p), naming);
        if (path->len)
            mh_buf_addc(path, '/');
        mh_path_add_component(path, mh_buf_str(&raw), raw.len);
        path->failed |= mh_buf_failed(&raw);
        p = slash ? slash + 1 : end;
    }
    mh_buf_done(&raw);
    return mh_buf_failed(path) ? mh_err_nomem(err) : 0;
}

/* --- in a worker thread ----------------------------------------------------------------------- */

struct run_job {
    int (*fn)(void *arg, struct mh_err *err);
    void *arg;
    struct mh_err *err;
    int rc;
};

static void run(void *arg)
{
    struct run_job *job = arg;
    job->rc = job->fn(job->arg, job->err);
}

int mh_file_run(int (*fn)(void *arg, struct mh_err *err), void *arg, struct mh_err *err)
{
    struct run_job job = {fn, arg, err, 0};
    mh_offload(run, &job);
    return job.rc;
}

/* --- directories ------------------------------------------------------------------------------ */

/* mkdir -p for what stands before the last part too. */
static int make_path(const char *path, struct mh_err *err)
{
    char *part = mh_strdup(path);
    if (!part)
        return mh_err_nomem(err);
    int errnum = 0;
    for (char *p = part + 1; errnum == 0 && *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            errnum = errno;
        *p = '/';
    }
    if (errnum == 0 && mkdir(part, 0700) < 0 && errno != EEXIST)
        errnum = errno;
    mh_free(part);
    return errnum
               ? mh_err_sys(err, MH_EMAILBOX, "file", errnum, "cannot make the directory %s", path)
               : 0;
}

int mh_file_open_root(const char *path, bool create, int *fd_out, struct mh_err *err)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int fd = open(path, flags);
    if (fd < 0 && errno == ENOENT && create) {
        int rc = make_path(path, err);
        if (rc < 0)
            return rc;
        fd = open(path, flags);
    }
    if (fd < 0)
        return mh_err_sys(err, MH_EUSAGE, "file", errno, "cannot open the directory %s", path);
    *fd_out = fd;
    return 0;
}

/* One step down. Takes over nothing. */
static int open_step(int dir_fd, const char *name, bool create, int *fd_out, struct mh_err *err)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return mh_err_set(err, MH_EFOLDER, "file", "\"%s\" is no name for a folder's directory",
                          name);
    int fd = openat(dir_fd, name, flags);
    if (fd < 0 && errno == ENOENT && create) {
        if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
            return mh_err_sys(err, MH_EFOLDER, "file", errno, "cannot make the directory %s", name);
        (void)fsync(dir_fd);
        fd = openat(dir_fd, name, flags);
    }
    if (fd < 0)
        return mh_err_sys(err, errno == ENOENT ? MH_ENOENT : MH_EFOLDER, "file", errno,
                          "cannot open the directory %s", name);
    *fd_out = fd;
    return 0;
}

/* Walks the first LEN octets of REL. */
static int walk(int root_fd, const char *rel, size_t len, bool create, int *fd_out,
                struct mh_err *err)
{
    if (root_fd < 0)
        return mh_err_set(err, MH_ENOENT, "file", "the archive is not there yet");
    int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mh_err_sys(err, MH_EMAILBOX, "file", errno, "cannot open the archive's directory");
    const char *end = rel + len;
    for (const char *p = rel; p < end;) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        char *name = mh_strndup(p, (size_t)(stop - p));
        int next = -1;
        int rc = name ? open_step(fd, name, create, &next, err) : mh_err_nomem(err);
        mh_free(name);
        (void)close(fd);
        if (rc < 0)
            return rc;
        fd = next;
        p = slash ? slash + 1 : end;
    }
    *fd_out = fd;
    return 0;
}

int mh_file_open_dir(int root_fd, const char *rel, bool create, int *fd_out, struct mh_err *err)
{
    return walk(root_fd, rel, strlen(rel), create, fd_out, err);
}

int mh_file_open_parent(int root_fd, const char *rel, bool create, int *fd_out,
                        const char **name_out, struct mh_err *err)
{
    const char *slash = strrchr(rel, '/');
    *name_out = slash ? slash + 1 : rel;
    if (!**name_out || strcmp(*name_out, ".") == 0 || strcmp(*name_out, "..") == 0)
        return mh_err_set(err, MH_EFOLDER, "file", "\"%s\" is no name for a folder's file",
                          *name_out);
    return walk(root_fd, rel, slash ? (size_t)(slash - rel) : 0, create, fd_out, err);
}

DIR *mh_file_opendir(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    int errnum = errno;
    if (!d)
        mh_file_close(&fd);
    errno = errnum;
    return d;
}

void mh_file_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

int mh_file_room(int fd, uint64_t *bytes_out, struct mh_err *err)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) < 0)
        return mh_err_sys(err, MH_ENOSUP, "file", errno, "cannot ask the file system for its room");
    *bytes_out = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

/* --- small files ------------------------------------------------------------------------------ */

int mh_file_read_all(int dir_fd, const char *name, size_t max_bytes, struct mh_buf *b,
                     struct mh_err *err)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return mh_err_sys(err, errno == ENOENT ? MH_ENOENT : MH_EFOLDER, "file", errno,
                          "cannot open %s", name);
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        rc = mh_err_set(err, MH_EFOLDER, "file", "%s is no regular file", name);
    while (rc == 0) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = mh_err_sys(err, MH_EFOLDER, "file", errno, "cannot read %s", name);
        if (n <= 0)
            break;
        mh_buf_add(b, chunk, (size_t)n);
        if (b->len > max_bytes)
            rc = mh_err_set(err, MH_EFOLDER, "file", "%s has more than %zu bytes", name, max_bytes);
        else if (mh_buf_failed(b))
            rc = mh_err_nomem(err);
    }
    (void)close(fd);
    return rc;
}

static int write_text(int fd, const struct mh_buf *text)
{
    for (size_t done = 0; done < text->len;) {
        ssize_t n = write(fd, text->data + done, text->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        done += (size_t)n;
    }
    return fsync(fd) < 0 ? errno : 0;
}

/* A crash may have left a line without its end: it must not swallow the next one. */
static int end_torn_line(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char last = '\n';
    if (size > 0 && pread(fd, &last, 1, size - 1) != 1)
        return errno;
    return last != '\n' && write(fd, "\n", 1) != 1 ? errno : 0;
}

int mh_file_append_text(int dir_fd, const char *name, const struct mh_buf *text, struct mh_err *err)
{
    if (text->failed)
        return mh_err_nomem(err);
    int fd = openat(dir_fd, name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mh_err_sys(err, MH_EFOLDER, "file", errno, "cannot open %s", name);
    int errnum = flock(fd, LOCK_EX) < 0 ? errno : end_torn_line(fd);
    if (errnum == 0)
        errnum = write_text(fd, text);
    (void)close(fd);
    return errnum ? mh_err_sys(err, MH_EFOLDER, "file", errnum, "cannot write %s", name) : 0;
}

int mh_file_replace(int dir_fd, const char *name, const struct mh_buf *text, struct mh_err *err)
{
    char *tmp = mh_asprintf("%s.tmp", name);
    if (!tmp || text->failed) {
        mh_free(tmp);
        return mh_err_nomem(err);
    }
    int fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int errnum = fd < 0 ? errno : write_text(fd, text);
    if (fd >= 0)
        (void)close(fd);
    if (errnum == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
        errnum = errno;
    if (errnum && fd >= 0)
        (void)unlinkat(dir_fd, tmp, 0);
    if (errnum == 0)
        (void)fsync(dir_fd);
    mh_free(tmp);
    return errnum ? mh_err_sys(err, MH_EFOLDER, "file", errnum, "cannot write %s", name) : 0;
}
