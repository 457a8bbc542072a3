/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "mail/file_append.h"
#include "mail/file_name.h"

/* --- opening and closing ---------------------------------------------------------------------- */

void mh_file_store_init(struct mh_file_store *st, const struct mh_env *env, const char *server_name)
{
    *st = (struct mh_file_store){.env = env,
                                 .root_fd = -1,
                                 .above_fd = -1,
                                 .caps = {.uidplus = true,
                                          .keywords = true,
                                          .list_status = true,
                                          .special_use = true,
                                          .create_special_use = true,
                                          .quota = true,
                                          .separator = '/',
                                          .cert_days_left = -1}};
    (void)snprintf(st->caps.server_name, sizeof st->caps.server_name, "%s", server_name);
}

void mh_file_store_done(struct mh_file_store *st)
{
    mh_file_writer_close(st->writer);
    mh_file_close(&st->root_fd);
    mh_file_close(&st->above_fd);
    mh_free(st->single);
    st->writer = NULL;
    st->single = NULL;
}

/* What is missing will be made, now or when it is not only looked at. */
static bool may_be_missing(const struct mh_file_opening *o)
{
    return o->create || !mh_file_store(o->s)->env->is_source;
}

bool mh_file_store_names_file(const struct mh_file_opening *o, const char *suffix)
{
    struct stat st;
    if (stat(o->path, &st) == 0)
        return S_ISREG(st.st_mode);
    size_t len = strlen(o->path);
    return may_be_missing(o) && suffix && len > strlen(suffix) &&
           strcmp(o->path + len - strlen(suffix), suffix) == 0;
}

/* The nearest directory above PATH, where nothing is. */
static int open_above(const char *path, int *fd_out, struct mh_err *err)
{
    char *above = mh_strdup(path);
    if (!above)
        return mh_err_nomem(err);
    int fd = -1;
    int errnum = ENOENT;
    while (fd < 0 && errnum == ENOENT && *above && strcmp(above, "/") != 0) {
        char *slash = strrchr(above, '/');
        above[slash && slash > above ? slash - above : slash != NULL] = '\0'; /* "/" or "" last */
        fd = open(*above ? above : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        errnum = errno;
    }
    mh_free(above);
    if (fd < 0)
        return mh_err_sys(err, MH_EUSAGE, "file", errnum, "cannot make the directory %s", path);
    *fd_out = fd;
    return 0;
}

/* The directory at PATH, which may be missing, into ST. */
static int open_dir_at(const struct mh_file_opening *o, const char *path, struct mh_err *err)
{
    struct mh_file_store *store = mh_file_store(o->s);
    struct stat st;
    bool is_missing = stat(path, &st) < 0 && errno == ENOENT;
    if (is_missing && !o->create && may_be_missing(o))
        return open_above(path, &store->above_fd, err);
    return mh_file_open_root(path, o->create, &store->root_fd, err);
}

int mh_file_store_open_root(const struct mh_file_opening *o, struct mh_err *err)
{
    return open_dir_at(o, o->path, err);
}

int mh_file_store_open_single(const struct mh_file_opening *o, struct mh_err *err)
{
    struct mh_file_store *store = mh_file_store(o->s);
    const char *slash = strrchr(o->path, '/');
    char *dir = slash ? mh_strndup(o->path, (size_t)(slash - o->path) + 1) : mh_strdup(".");
    store->single = mh_strdup(slash ? slash + 1 : o->path);
    int rc = dir && store->single ? open_dir_at(o, dir, err) : mh_err_nomem(err);
    mh_free(dir);
    return rc;
}

const struct mh_caps *mh_file_store_caps(struct mh_session *s)
{
    return &mh_file_store(s)->caps;
}

struct quota_job {
    int fd;
    struct mh_quota *out;
};

static int quota(void *arg, struct mh_err *err)
{
    struct quota_job *job = arg;
    return mh_file_room(job->fd, &job->out->limit_bytes, err);
}

int mh_file_store_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    const struct mh_file_store *st = mh_file_store(s);
    *out = (struct mh_quota){0};
    struct quota_job job = {st->root_fd >= 0 ? st->root_fd : st->above_fd, out};
    int rc = mh_file_run(quota, &job, err);
    out->known = rc == 0;
    return rc;
}

/* --- in a worker thread ----------------------------------------------------------------------- */

struct folder_job {
    struct mh_session *s;
    int (*fn)(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err);
    const struct mh_folder *folder;
};

static int run_folder(void *arg, struct mh_err *err)
{
    struct folder_job *job = arg;
    return job->fn(job->s, job->folder, err);
}

int mh_file_store_run(struct mh_session *s,
                      int (*fn)(struct mh_session *s, const struct mh_folder *folder,
                                struct mh_err *err),
                      const struct mh_folder *folder, struct mh_err *err)
{
    struct folder_job job = {s, fn, folder};
    return mh_file_run(run_folder, &job, err);
}

/* --- listing ---------------------------------------------------------------------------------- */

struct list_job {
    struct mh_session *s;
    int (*add)(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
               struct mh_err *err);
    enum mh_listing what;
    struct mh_folders *out;
};

static int list(void *arg, struct mh_err *err)
{
    struct list_job *job = arg;
    const struct mh_file_store *st = mh_file_store(job->s);
    int rc = job->add(job->s, job->what, job->out, err);
    if (rc == 0)
        rc = mh_file_folders_finish(job->out, st->env->log, err);
    if (rc == 0 && !st->single)
        rc = mh_file_folders_load(st->root_fd, job->out, err);
    for (size_t i = 0; st->single && i < job->out->n; i++)
        job->out->v[i].attrs |= MH_FOLDER_SUBSCRIBED; /* nothing can say otherwise */
    return rc;
}

int mh_file_store_list(struct mh_session *s,
                       int (*add)(struct mh_session *s, enum mh_listing what,
                                  struct mh_folders *out, struct mh_err *err),
                       enum mh_listing what, struct mh_folders *out, struct mh_err *err)
{
    if (mh_file_store(s)->root_fd < 0)
        return 0;
    struct list_job job = {s, add, what, out};
    return mh_file_run(list, &job, err);
}

int mh_file_store_add(struct mh_folders *l, const char *path, const char *native,
                      struct mh_folder **out, struct mh_err *err)
{
    int rc = mh_folders_add(l, path, native, out, err);
    if (rc == 0)
        (*out)->uidvalidity = mh_file_uidvalidity(native);
    return rc;
}

/* --- making and subscribing ------------------------------------------------------------------- */

int mh_file_store_planned(int rc, struct mh_buf *path, struct mh_buf *native, char **path_out,
                          char **native_out, struct mh_err *err)
{
    if (rc == 0) {
        *path_out = mh_buf_take(path);
        *native_out = mh_buf_take(native);
        if (!*path_out || !*native_out) {
            mh_free(*path_out);
            mh_free(*native_out);
            rc = mh_err_nomem(err);
        }
    }
    mh_buf_done(path);
    mh_buf_done(native);
    return rc;
}

static int note_role(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    return mh_file_folders_note_role(mh_file_store(s)->root_fd, folder->path, folder->role, err);
}

int mh_file_store_create(struct mh_session *s,
                         int (*make)(struct mh_session *s, const struct mh_folder *folder,
                                     struct mh_err *err),
                         enum mh_role role, char **path_out, char **native_out, struct mh_err *err)
{
    struct mh_folder folder = {.path = *path_out, .native = *native_out, .role = role};
    bool has_own_role = role != MH_ROLE_NONE && role != MH_ROLE_INBOX;
    int rc = mh_file_store_run(s, make, &folder, err);
    if (rc == 0 && has_own_role && !mh_file_store(s)->single)
        rc = mh_file_store_run(s, note_role, &folder, err);
    if (rc < 0) {
        mh_free(*path_out);
        mh_free(*native_out);
    }
    return rc;
}

static int note_subscribed(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    return mh_file_folders_note_subscribed(mh_file_store(s)->root_fd, folder->path, err);
}

int mh_file_store_subscribe(struct mh_session *s, const struct mh_folder *folder,
                            struct mh_err *err)
{
    if (mh_file_store(s)->single)
        return mh_err_set(err, MH_ENOSUP, "file", "a single file keeps no subscriptions");
    return mh_file_store_run(s, note_subscribed, folder, err);
}

/* --- selecting -------------------------------------------------------------------------------- */

void mh_file_store_opened(const struct mh_folder *folder, uint64_t messages, struct mh_opened *out)
{
    *out = (struct mh_opened){
        .uidvalidity = mh_file_uidvalidity(folder->native),
        .messages = messages,
        .keywords_ok = true,
        .flags_ok = MH_SEEN | MH_ANSWERED | MH_FLAGGED | MH_DELETED | MH_DRAFT,
    };
}

void mh_file_store_warn_odd_lines(struct mh_session *s, const struct mh_folder *folder,
                                  const struct mh_file_index *x)
{
    if (mh_file_index_odd_lines(x))
        mh_log(mh_file_store(s)->env->log, MH_LOG_WARNING,
               "folder %s: %zu lines of its index cannot be read", folder->path,
               mh_file_index_odd_lines(x));
}

/* --- fetching --------------------------------------------------------------------------------- */

int mh_file_store_fetch(struct mh_session *s,
                        int (*locate)(void *lookup, const struct mh_item *item,
                                      struct mh_file_extent *out, struct mh_err *err),
                        const struct mh_item *const *items, size_t n, struct mh_sink *sink,
                        struct mh_err *err)
{
    struct mh_file_lookup lookup = {s, false};
    struct mh_file_source source = {locate, &lookup};
    return mh_file_fetch(&source, mh_file_store(s)->env->pool, items, n, sink, err);
}
