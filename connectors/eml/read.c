/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/eml/eml_priv.h"
#include "mail/file_fetch.h"
#include "mail/file_name.h"

void eml_selected_done(struct eml_selected *sel)
{
    if (sel->dir_fd >= 0)
        (void)close(sel->dir_fd);
    mh_free(sel->native);
    mh_free(sel->entries);
    mh_buf_done(&sel->names);
    mh_file_index_free(sel->index);
    *sel = (struct eml_selected){.dir_fd = -1};
}

/* --- the list of messages (worker thread) ----------------------------------------------------- */

static const char *entry_name(const struct eml_selected *sel, const struct eml_entry *e)
{
    return sel->names.data + e->name;
}

static int add_entry(struct eml_selected *sel, const char *name, struct mh_err *err)
{
    if (sel->n == sel->cap) {
        size_t cap = sel->cap ? sel->cap * 2 : 64;
        struct eml_entry *entries = mh_realloc_array(sel->entries, cap, sizeof *entries);
        if (!entries)
            return mh_err_nomem(err);
        sel->entries = entries;
        sel->cap = cap;
    }
    size_t at = sel->names.len;
    mh_buf_add(&sel->names, name, strlen(name) + 1);
    if (mh_buf_failed(&sel->names))
        return mh_err_nomem(err);
    sel->entries[sel->n++] = (struct eml_entry){mh_uid_from_name(name, strlen(name)), at};
    return 0;
}

static int entry_order(const void *pa, const void *pb)
{
    const struct eml_entry *a = pa;
    const struct eml_entry *b = pb;
    return (a->uid > b->uid) - (a->uid < b->uid);
}

static int read_entries(struct eml_selected *sel, const char *single, struct mh_err *err)
{
    if (single)
        return add_entry(sel, single, err);
    int fd = openat(sel->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        int rc = mh_err_sys(err, MH_EFOLDER, "eml", errno, "cannot list the messages");
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    const struct dirent *e = NULL;
    int rc = 0;
    errno = 0;
    while (rc == 0 && (e = readdir(d)) != NULL) {
        if ((e->d_type == DT_REG || e->d_type == DT_UNKNOWN) && eml_is_message_name(e->d_name))
            rc = add_entry(sel, e->d_name, err);
        errno = 0;
    }
    if (rc == 0 && errno)
        rc = mh_err_sys(err, MH_EFOLDER, "eml", errno, "cannot list the messages");
    (void)closedir(d);
    if (rc == 0 && sel->n > 1)
        qsort(sel->entries, sel->n, sizeof *sel->entries, entry_order);
    return rc;
}

static const struct eml_entry *find_entry(const struct eml_selected *sel, uint64_t uid)
{
    struct eml_entry key = {uid, 0};
    return sel->n ? bsearch(&key, sel->entries, sel->n, sizeof key, entry_order) : NULL;
}

/* --- selecting -------------------------------------------------------------------------------- */

struct select_job {
    struct mh_session *s;
    const char *native;
};

static int select_folder(void *arg, struct mh_err *err)
{
    struct select_job *job = arg;
    struct eml_selected *sel = &job->s->sel;
    int rc = eml_open_folder(job->s->root_fd, job->native, &sel->dir_fd, err);
    if (rc == 0)
        rc = mh_file_index_load(sel->dir_fd, EML_INDEX, &sel->index, err);
    return rc == 0 ? read_entries(sel, job->s->single, err) : rc;
}

int eml_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
               struct mh_opened *out, struct mh_err *err)
{
    (void)for_write;
    eml_selected_done(&s->sel);
    s->sel.native = mh_strdup(folder->native);
    if (!s->sel.native)
        return mh_err_nomem(err);
    struct select_job job = {s, folder->native};
    int rc = mh_file_run(select_folder, &job, err);
    if (rc < 0) {
        eml_selected_done(&s->sel);
        return rc;
    }
    if (mh_file_index_odd_lines(s->sel.index))
        mh_log(s->env->log, MH_LOG_WARNING, "folder %s: %zu lines of %s cannot be read",
               folder->path, mh_file_index_odd_lines(s->sel.index), EML_INDEX);
    *out = (struct mh_opened){
        .uidvalidity = mh_file_uidvalidity(folder->native),
        .messages = s->sel.n,
        .keywords_ok = true,
        .flags_ok = MH_SEEN | MH_ANSWERED | MH_FLAGGED | MH_DELETED | MH_DRAFT,
    };
    return 0;
}

/* --- scanning --------------------------------------------------------------------------------- */

struct scan_job {
    struct eml_selected *sel;
    bool follow; /* the single file that was named */
    size_t from, to;
    struct {
        uint64_t size;
        int64_t mtime_s;
        bool is_there;
    } stats[EML_SCAN_CHUNK];
};

static void stat_chunk(void *arg)
{
    struct scan_job *job = arg;
    for (size_t i = job->from; i < job->to; i++) {
        struct stat st;
        bool is_there = fstatat(job->sel->dir_fd, entry_name(job->sel, &job->sel->entries[i]), &st,
                                job->follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISREG(st.st_mode);
        job->stats[i - job->from].is_there = is_there;
        if (is_there) {
            job->stats[i - job->from].size = (uint64_t)st.st_size;
            job->stats[i - job->from].mtime_s = st.st_mtim.tv_sec;
        }
    }
}

static int add_item(const struct scan_job *job, size_t i, struct mh_scan *out, struct mh_err *err)
{
    struct mh_item item = {
        .uid = job->sel->entries[i].uid,
        .size = job->stats[i - job->from].size,
        .date = {job->stats[i - job->from].mtime_s, 0, true},
    };
    const struct mh_file_record *rec = mh_file_index_find(job->sel->index, item.uid);
    if (rec) {
        item.flags = rec->flags;
        if (rec->date.is_set)
            item.date = rec->date;
        int rc = mh_kwsets_intern(out->kwsets, rec->keywords, rec->keywords_len, &item.kwset, err);
        if (rc < 0)
            return rc;
    }
    return mh_scan_add(out, &item, err);
}

int eml_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err)
{
    mh_assert(s->sel.native);
    struct scan_job *job = mh_alloc(sizeof *job);
    if (!job)
        return mh_err_nomem(err);
    job->sel = &s->sel;
    job->follow = s->single != NULL;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < s->sel.n; at += EML_SCAN_CHUNK) {
        if (mh_task_cancelled()) {
            rc = mh_err_set(err, MH_ECANCEL, "eml", "stopped");
            break;
        }
        job->from = at;
        job->to = MH_MIN(at + EML_SCAN_CHUNK, s->sel.n);
        mh_offload(stat_chunk, job);
        for (size_t i = job->from; rc == 0 && i < job->to; i++)
            if (job->stats[i - at].is_there && s->sel.entries[i].uid >= uid_from)
                rc = add_item(job, i, out, err);
    }
    mh_scan_finish(out);
    mh_free(job);
    return rc;
}

/* --- fetching --------------------------------------------------------------------------------- */

struct fetch_ctx {
    struct mh_session *s;
    bool was_relisted;
};

/* The entry of UID; what was stored since the folder was selected is looked for once per call. */
static int need_entry(struct fetch_ctx *ctx, uint64_t uid, const struct eml_entry **out,
                      struct mh_err *err)
{
    struct eml_selected *sel = &ctx->s->sel;
    *out = find_entry(sel, uid);
    if (*out || ctx->was_relisted)
        return *out ? 0 : mh_err_set(err, MH_ENOENT, "eml", "the message is gone");
    ctx->was_relisted = true;
    struct mh_file_index *index = NULL;
    int rc = mh_file_index_load(sel->dir_fd, EML_INDEX, &index, err);
    if (rc < 0)
        return rc;
    mh_file_index_free(sel->index);
    sel->index = index;
    sel->n = 0;
    mh_buf_reset(&sel->names);
    rc = read_entries(sel, ctx->s->single, err);
    return rc == 0 ? need_entry(ctx, uid, out, err) : rc;
}

static int locate(void *arg, const struct mh_item *item, struct mh_file_extent *out,
                  struct mh_err *err)
{
    struct fetch_ctx *ctx = arg;
    struct eml_selected *sel = &ctx->s->sel;
    const struct eml_entry *e = NULL;
    int rc = need_entry(ctx, item->uid, &e, err);
    if (rc < 0)
        return rc;
    int no_follow = ctx->s->single ? 0 : O_NOFOLLOW;
    int fd = openat(sel->dir_fd, entry_name(sel, e), O_RDONLY | O_CLOEXEC | O_NONBLOCK | no_follow);
    struct stat st;
    if (fd < 0)
        return mh_err_sys(err, errno == ENOENT ? MH_ENOENT : MH_EITEM, "eml", errno,
                          "cannot open the message %s", entry_name(sel, e));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return mh_err_set(err, MH_EITEM, "eml", "%s is no regular file", entry_name(sel, e));
    }
    const struct mh_file_record *rec = mh_file_index_find(sel->index, item->uid);
    *out = (struct mh_file_extent){
        .fd = fd, .is_raw = rec && rec->is_raw, .len = (uint64_t)st.st_size};
    return 0;
}

int eml_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
              struct mh_sink *sink, struct mh_err *err)
{
    mh_assert(s->sel.native);
    struct fetch_ctx ctx = {s, false};
    struct mh_file_source source = {locate, &ctx};
    return mh_file_fetch(&source, s->env->pool, items, n, sink, err);
}

/* --- flags ------------------------------------------------------------------------------------ */

struct flags_job {
    struct mh_session *s;
    const uint64_t *uids;
    size_t n;
    bool add;
    uint8_t flags;
    const char *keywords;
};

/* Before anything changes: looking for a message that is not known reads the index again. */
static int need_all(struct flags_job *job, struct fetch_ctx *ctx, struct mh_err *err)
{
    const struct eml_entry *e = NULL;
    int rc = 0;
    for (size_t i = 0; i < job->n && (rc == 0 || rc == MH_ENOENT); i++)
        rc = need_entry(ctx, job->uids[i], &e, err);
    return rc == MH_ENOENT ? 0 : rc;
}

/* UID's record as it is to be, into the index and as a line into LINES. */
static int change_record(struct flags_job *job, uint64_t uid, struct mh_buf *words,
                         struct mh_buf *lines, struct mh_err *err)
{
    struct eml_selected *sel = &job->s->sel;
    const struct eml_entry *e = find_entry(sel, uid);
    if (!e)
        return 0; /* gone: the next scan says so */
    const struct mh_file_record *had = mh_file_index_find(sel->index, uid);
    struct mh_file_record none = {.uid = uid};
    struct mh_file_record now;
    mh_file_record_change(had ? had : &none, job->add, job->flags, job->keywords, words, &now);
    if (mh_buf_failed(words))
        return mh_err_nomem(err);
    mh_file_index_format(lines, entry_name(sel, e), &now);
    return mh_file_index_put(sel->index, &now, err);
}

static int store_flags(void *arg, struct mh_err *err)
{
    struct flags_job *job = arg;
    struct fetch_ctx ctx = {job->s, false};
    struct mh_buf words = MH_BUF_INIT;
    struct mh_buf lines = MH_BUF_INIT;
    int rc = need_all(job, &ctx, err);
    for (size_t i = 0; rc == 0 && i < job->n; i++)
        rc = change_record(job, job->uids[i], &words, &lines, err);
    if (rc == 0 && lines.len)
        rc = mh_file_append_text(job->s->sel.dir_fd, EML_INDEX, &lines, err);
    mh_buf_done(&words);
    mh_buf_done(&lines);
    return rc;
}

int eml_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                    const char *keywords, struct mh_err *err)
{
    mh_assert(s->sel.native);
    struct flags_job job = {s, uids, n, add, flags, keywords};
    return mh_file_run(store_flags, &job, err);
}
