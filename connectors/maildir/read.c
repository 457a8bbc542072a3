/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The selected folder: its messages, their bodies, their flags.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_fetch.h"
#include "mail/file_index.h"
#include "mail/file_name.h"

/* A keyword that Maildir has a letter of its own for. */
#define PASSED_KEYWORD "$Forwarded"

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void maildir_selected_done(struct maildir_selected *sel)
{
    close_fd(&sel->dir_fd);
    close_fd(&sel->cur_fd);
    close_fd(&sel->new_fd);
    mh_free(sel->native);
    mh_free(sel->entries);
    mh_buf_done(&sel->names);
    maildir_keywords_done(&sel->keywords);
    *sel = (struct maildir_selected){.dir_fd = -1, .cur_fd = -1, .new_fd = -1};
}

/* --- the list of messages (worker thread) ----------------------------------------------------- */

static const char *entry_name(const struct maildir_selected *sel, const struct maildir_entry *e)
{
    return sel->names.data + e->name;
}

static int add_entry(struct maildir_selected *sel, const char *name, bool is_new,
                     struct mh_err *err)
{
    if (sel->n == sel->cap) {
        size_t cap = sel->cap ? sel->cap * 2 : 64;
        struct maildir_entry *entries = mh_realloc_array(sel->entries, cap, sizeof *entries);
        if (!entries)
            return mh_err_nomem(err);
        sel->entries = entries;
        sel->cap = cap;
    }
    size_t at = sel->names.len;
    mh_buf_add(&sel->names, name, strlen(name) + 1);
    if (mh_buf_failed(&sel->names))
        return mh_err_nomem(err);
    uint64_t uid = mh_uid_from_name(name, strcspn(name, ":"));
    sel->entries[sel->n++] = (struct maildir_entry){uid, at, is_new};
    return 0;
}

static int read_box(struct maildir_selected *sel, int box_fd, bool is_new, struct mh_err *err)
{
    int fd = box_fd >= 0 ? openat(box_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            (void)close(fd);
        return is_new ? 0 : mh_err_sys(err, MH_EFOLDER, "maildir", errno, "cannot list cur");
    }
    const struct dirent *e = NULL;
    int rc = 0;
    errno = 0;
    while (rc == 0 && (e = readdir(d)) != NULL) {
        bool can_be = e->d_type == DT_REG || e->d_type == DT_UNKNOWN;
        if (e->d_name[0] != '.' && !can_be)
            sel->odd++;
        else if (e->d_name[0] != '.')
            rc = add_entry(sel, e->d_name, is_new, err);
        errno = 0;
    }
    if (rc == 0 && errno)
        rc = mh_err_sys(err, MH_EFOLDER, "maildir", errno, "cannot list the messages");
    (void)closedir(d);
    return rc;
}

static int entry_order(const void *pa, const void *pb, void *ctx)
{
    const struct maildir_entry *a = pa;
    const struct maildir_entry *b = pb;
    const struct maildir_selected *sel = ctx;
    if (a->uid != b->uid)
        return a->uid < b->uid ? -1 : 1;
    return strcmp(entry_name(sel, a), entry_name(sel, b));
}

/* Two files with one base name are an error of who made them, but two messages: every further
 * one's uid comes from its whole name. */
static void separate_twins(struct maildir_selected *sel)
{
    bool found = false;
    uint64_t uid = 0; /* of the present group */
    for (size_t i = 0; i < sel->n; i++) {
        bool is_first = sel->entries[i].uid != uid;
        uid = sel->entries[i].uid;
        if (is_first)
            continue;
        const char *name = entry_name(sel, &sel->entries[i]);
        sel->entries[i].uid = mh_uid_from_name(name, strlen(name) + 1);
        found = true;
    }
    if (found)
        qsort_r(sel->entries, sel->n, sizeof *sel->entries, entry_order, sel);
}

static int read_entries(struct maildir_selected *sel, struct mh_err *err)
{
    sel->n = 0;
    sel->odd = 0;
    mh_buf_reset(&sel->names);
    int rc = read_box(sel, sel->new_fd, true, err);
    if (rc == 0)
        rc = read_box(sel, sel->cur_fd, false, err);
    if (rc < 0)
        return rc;
    if (sel->n > 1)
        qsort_r(sel->entries, sel->n, sizeof *sel->entries, entry_order, sel);
    separate_twins(sel);
    return 0;
}

static struct maildir_entry *find_entry(struct maildir_selected *sel, uint64_t uid)
{
    size_t lo = 0;
    size_t hi = sel->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (sel->entries[mid].uid < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sel->n && sel->entries[lo].uid == uid ? &sel->entries[lo] : NULL;
}

/* --- selecting -------------------------------------------------------------------------------- */

struct select_job {
    struct mh_session *s;
    const char *native;
};

static int select_folder(void *arg, struct mh_err *err)
{
    struct select_job *job = arg;
    struct maildir_selected *sel = &job->s->sel;
    int rc = maildir_open_folder(job->s->root_fd, job->native, false, &sel->dir_fd, err);
    if (rc == 0)
        rc = mh_file_open_dir(sel->dir_fd, "cur", false, &sel->cur_fd, err);
    if (rc == 0) {
        int no_new = mh_file_open_dir(sel->dir_fd, "new", false, &sel->new_fd, err);
        rc = no_new == MH_ENOENT ? 0 : no_new;
    }
    if (rc == 0)
        rc = maildir_keywords_load(sel->dir_fd, &sel->keywords, err);
    return rc == 0 ? read_entries(sel, err) : rc;
}

int maildir_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                   struct mh_opened *out, struct mh_err *err)
{
    (void)for_write;
    maildir_selected_done(&s->sel);
    s->sel.native = mh_strdup(folder->native);
    if (!s->sel.native)
        return mh_err_nomem(err);
    struct select_job job = {s, folder->native};
    int rc = mh_file_run(select_folder, &job, err);
    if (rc < 0) {
        maildir_selected_done(&s->sel);
        return rc;
    }
    if (s->sel.odd)
        mh_log(s->env->log, MH_LOG_WARNING,
               "folder %s: %zu entries that are no regular files are left out", folder->path,
               s->sel.odd);
    *out = (struct mh_opened){
        .uidvalidity = mh_file_uidvalidity(folder->native),
        .messages = s->sel.n,
        .flags_ok = MH_SEEN | MH_ANSWERED | MH_FLAGGED | MH_DELETED | MH_DRAFT,
    };
    struct mh_buf known = MH_BUF_INIT;
    for (size_t i = 0; i < MAILDIR_KEYWORDS; i++) {
        const char *name = s->sel.keywords.names[i];
        out->keywords_ok |= name == NULL;
        if (name && known.len + strlen(name) + 2 < sizeof out->keywords)
            mh_buf_addf(&known, "%s%s", known.len ? " " : "", name);
    }
    memcpy(out->keywords, mh_buf_str(&known), known.len + 1);
    mh_buf_done(&known);
    return 0;
}

/* --- scanning --------------------------------------------------------------------------------- */

struct scan_job {
    struct maildir_selected *sel;
    size_t from, to;
    struct {
        uint64_t size;
        int64_t mtime_s;
        bool is_there;
    } stats[MAILDIR_SCAN_CHUNK];
};

static void stat_chunk(void *arg)
{
    struct scan_job *job = arg;
    for (size_t i = job->from; i < job->to; i++) {
        const struct maildir_entry *e = &job->sel->entries[i];
        struct stat st;
        int box_fd = e->is_new ? job->sel->new_fd : job->sel->cur_fd;
        bool is_there = fstatat(box_fd, entry_name(job->sel, e), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISREG(st.st_mode);
        job->stats[i - job->from].is_there = is_there;
        if (is_there) {
            job->stats[i - job->from].size = (uint64_t)st.st_size;
            job->stats[i - job->from].mtime_s = st.st_mtim.tv_sec;
        }
    }
}

static void add_keywords(const struct maildir_selected *sel, const struct maildir_info *info,
                         struct mh_buf *b)
{
    mh_buf_reset(b);
    for (size_t i = 0; i < MAILDIR_KEYWORDS; i++)
        if (info->letters & 1u << i && sel->keywords.names[i])
            mh_buf_addf(b, "%s%s", b->len ? " " : "", sel->keywords.names[i]);
    if (info->is_passed)
        mh_buf_addf(b, "%s%s", b->len ? " " : "", PASSED_KEYWORD);
}

static int add_item(const struct scan_job *job, size_t i, struct mh_buf *words, struct mh_scan *out,
                    struct mh_err *err)
{
    const struct maildir_entry *e = &job->sel->entries[i];
    struct maildir_info info;
    maildir_info_parse(entry_name(job->sel, e), &info);
    struct mh_item item = {
        .uid = e->uid,
        .size = info.has_size ? info.size : job->stats[i - job->from].size,
        .date = {job->stats[i - job->from].mtime_s, 0, true},
        .flags = e->is_new ? 0 : info.flags,
    };
    int rc = 0;
    if (!e->is_new) {
        add_keywords(job->sel, &info, words);
        rc = mh_buf_failed(words)
                 ? mh_err_nomem(err)
                 : mh_kwsets_intern(out->kwsets, mh_buf_str(words), words->len, &item.kwset, err);
    }
    return rc == 0 ? mh_scan_add(out, &item, err) : rc;
}

int maildir_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err)
{
    mh_assert(s->sel.native);
    struct scan_job *job = mh_alloc(sizeof *job);
    struct mh_buf words = MH_BUF_INIT;
    if (!job)
        return mh_err_nomem(err);
    job->sel = &s->sel;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < s->sel.n; at += MAILDIR_SCAN_CHUNK) {
        if (mh_task_cancelled()) {
            rc = mh_err_set(err, MH_ECANCEL, "maildir", "stopped");
            break;
        }
        job->from = at;
        job->to = MH_MIN(at + MAILDIR_SCAN_CHUNK, s->sel.n);
        mh_offload(stat_chunk, job);
        for (size_t i = job->from; rc == 0 && i < job->to; i++)
            if (job->stats[i - at].is_there && s->sel.entries[i].uid >= uid_from)
                rc = add_item(job, i, &words, out, err);
    }
    mh_scan_finish(out);
    mh_buf_done(&words);
    mh_free(job);
    return rc;
}

/* --- fetching --------------------------------------------------------------------------------- */

struct fetch_ctx {
    struct mh_session *s;
    bool was_relisted;
};

/* Opens UID's file. A name that is gone may only have changed its flags: the list is read again, once
 * per call. */
static int open_entry(struct fetch_ctx *ctx, uint64_t uid, const char **name_out,
                      struct mh_err *err)
{
    struct maildir_selected *sel = &ctx->s->sel;
    for (;;) {
        struct maildir_entry *e = find_entry(sel, uid);
        int fd = -1;
        if (e) {
            fd = openat(e->is_new ? sel->new_fd : sel->cur_fd, entry_name(sel, e),
                        O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
            *name_out = entry_name(sel, e);
            if (fd < 0 && errno != ENOENT)
                return mh_err_sys(err, MH_EITEM, "maildir", errno, "cannot open the message %s",
                                  *name_out);
        }
        if (fd >= 0)
            return fd;
        if (ctx->was_relisted)
            return mh_err_set(err, MH_ENOENT, "maildir", "the message is gone");
        ctx->was_relisted = true;
        int rc = read_entries(sel, err);
        if (rc < 0)
            return rc;
    }
}

static int locate(void *arg, const struct mh_item *item, struct mh_file_extent *out,
                  struct mh_err *err)
{
    struct fetch_ctx *ctx = arg;
    const char *name = "";
    int fd = open_entry(ctx, item->uid, &name, err);
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return mh_err_set(err, MH_EITEM, "maildir", "%s is no regular file", name);
    }
    struct maildir_info info;
    maildir_info_parse(name, &info);
    *out = (struct mh_file_extent){.fd = fd, .is_raw = info.is_raw, .len = (uint64_t)st.st_size};
    return 0;
}

int maildir_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
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
    uint32_t letters;
    bool passed;
    unsigned n_lost;
};

/* The letters of the job's keywords, made where they are missing and to be added. */
static int job_letters(struct flags_job *job, struct mh_err *err)
{
    struct maildir_selected *sel = &job->s->sel;
    bool is_new = false;
    bool is_changed = false;
    int rc = maildir_keywords_letters(&sel->keywords, job->keywords, &job->letters, &is_new,
                                      &job->n_lost, err);
    if (rc == 0 && is_new && job->add)
        rc = maildir_keywords_save(sel->dir_fd, &sel->keywords, &is_changed, err);
    if (rc == 0 && is_changed) {
        job->n_lost = 0;
        rc = maildir_keywords_letters(&sel->keywords, job->keywords, &job->letters, &is_new,
                                      &job->n_lost, err);
    }
    return rc;
}

/* Renames E's file to what its flags are to be. 1: it is not where it was. */
static int change_entry(struct flags_job *job, struct maildir_entry *e, struct mh_err *err)
{
    struct maildir_selected *sel = &job->s->sel;
    struct mh_buf name = MH_BUF_INIT;
    struct maildir_info info;
    const char *old = entry_name(sel, e);
    maildir_info_parse(old, &info);
    if (job->add) {
        info.flags |= job->flags;
        info.letters |= job->letters;
    } else {
        info.flags = (uint8_t)(info.flags & ~job->flags);
        info.letters &= ~job->letters;
        info.is_passed &= !job->passed;
    }
    maildir_info_format(&name, old, &info);
    int rc = mh_buf_failed(&name) ? mh_err_nomem(err) : 0;
    if (rc == 0 && (e->is_new || strcmp(mh_buf_str(&name), old) != 0)) {
        if (renameat(e->is_new ? sel->new_fd : sel->cur_fd, old, sel->cur_fd, mh_buf_str(&name)) <
            0) {
            rc = errno == ENOENT
                     ? 1
                     : mh_err_sys(err, MH_EFOLDER, "maildir", errno, "cannot rename %s", old);
        } else {
            e->is_new = false;
            e->name = sel->names.len;
            mh_buf_add(&sel->names, name.data, name.len + 1);
            rc = mh_buf_failed(&sel->names) ? mh_err_nomem(err) : 0;
        }
    }
    mh_buf_done(&name);
    return rc;
}

static int store_flags(void *arg, struct mh_err *err)
{
    struct flags_job *job = arg;
    bool was_relisted = false;
    int rc = job_letters(job, err);
    for (size_t i = 0; rc == 0 && i < job->n; i++) {
        struct maildir_entry *e = find_entry(&job->s->sel, job->uids[i]);
        rc = e ? change_entry(job, e, err) : 1;
        if (rc == 1 && !was_relisted) {
            was_relisted = true;
            rc = read_entries(&job->s->sel, err);
            i--; /* the same one again */
        } else if (rc == 1) {
            rc = 0; /* gone: the next scan says so */
        }
    }
    if (rc == 0 && fsync(job->s->sel.cur_fd) < 0)
        rc = mh_err_sys(err, MH_EFOLDER, "maildir", errno, "cannot write cur");
    return rc;
}

int maildir_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                        uint8_t flags, const char *keywords, struct mh_err *err)
{
    mh_assert(s->sel.native);
    const char *words = keywords ? keywords : "";
    struct flags_job job = {
        .s = s,
        .uids = uids,
        .n = n,
        .add = add,
        .flags = flags,
        .keywords = words,
        .passed = mh_file_words_have(words, strlen(words), PASSED_KEYWORD, strlen(PASSED_KEYWORD))};
    int rc = mh_file_run(store_flags, &job, err);
    if (job.n_lost && add)
        mh_log(s->env->log, MH_LOG_WARNING,
               "a Maildir holds %d different keywords at most: %u are not kept in %s",
               MAILDIR_KEYWORDS, job.n_lost, s->sel.native);
    return rc;
}
