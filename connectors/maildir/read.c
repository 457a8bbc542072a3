/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The selected folder: its messages, their bodies, their flags.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_fetch.h"
#include "mail/file_name.h"

/* A keyword that Maildir has a letter of its own for. */
#define PASSED_KEYWORD "$Forwarded"

void maildir_selected_done(struct maildir_selected *sel)
{
    mh_file_close(&sel->dir_fd);
    mh_file_close(&sel->box_fds[MAILDIR_CUR]);
    mh_file_close(&sel->box_fds[MAILDIR_NEW]);
    mh_free(sel->native);
    mh_file_entries_done(&sel->list);
    maildir_keywords_done(&sel->keywords);
    *sel = (struct maildir_selected){.dir_fd = -1, .box_fds = {-1, -1}};
}

/* --- the list of messages (worker thread) ----------------------------------------------------- */

static uint64_t uid_of(const char *name)
{
    return *name == '.' ? 0 : mh_uid_from_name(name, strcspn(name, ":"));
}

/* Two files with one base name are an error of who made them, but two messages: every further
 * one's uid comes from its whole name. */
static void separate_twins(struct mh_file_entries *l)
{
    bool found = false;
    uint64_t uid = 0; /* of the present group */
    for (size_t i = 0; i < l->n; i++) {
        bool is_first = l->v[i].uid != uid;
        uid = l->v[i].uid;
        if (is_first)
            continue;
        const char *name = mh_file_entries_name(l, &l->v[i]);
        l->v[i].uid = mh_uid_from_name(name, strlen(name) + 1);
        found = true;
    }
    if (found)
        mh_file_entries_sort(l);
}

/* new/ first: what a mail program moves to cur/ meanwhile is seen twice rather than never. */
static int read_entries(struct maildir_selected *sel, struct mh_err *err)
{
    struct mh_file_entries *l = &sel->list;
    const int *fds = sel->box_fds;
    int rc = 0;
    mh_file_entries_reset(l);
    if (fds[MAILDIR_NEW] >= 0)
        rc = mh_file_entries_read(l, fds[MAILDIR_NEW], MAILDIR_NEW, uid_of, err);
    if (rc == 0)
        rc = mh_file_entries_read(l, fds[MAILDIR_CUR], MAILDIR_CUR, uid_of, err);
    mh_file_entries_sort(l);
    separate_twins(l);
    return rc;
}

/* --- selecting -------------------------------------------------------------------------------- */

static int select_folder(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    struct maildir_selected *sel = &s->sel;
    int rc = maildir_open_folder(s->store.root_fd, folder->native, false, &sel->dir_fd, err);
    if (rc == 0)
        rc = mh_file_open_dir(sel->dir_fd, "cur", false, &sel->box_fds[MAILDIR_CUR], err);
    if (rc == 0) {
        int no_new = mh_file_open_dir(sel->dir_fd, "new", false, &sel->box_fds[MAILDIR_NEW], err);
        rc = no_new == MH_ENOENT ? 0 : no_new;
    }
    if (rc == 0)
        rc = maildir_keywords_load(sel->dir_fd, &sel->keywords, err);
    return rc == 0 ? read_entries(sel, err) : rc;
}

/* New keywords fit while a letter is left; the target's engine leaves others out by the list. */
static void tell_keywords(const struct maildir_keywords *k, struct mh_opened *out)
{
    struct mh_buf known = MH_BUF_INIT;
    for (size_t i = 0; i < MAILDIR_KEYWORDS; i++) {
        const char *name = k->names[i];
        out->keywords_room += name == NULL;
        if (name && known.len + strlen(name) + 2 < sizeof out->keywords)
            mh_buf_addf(&known, "%s%s", known.len ? " " : "", name);
    }
    out->keywords_ok = out->keywords_room > 0;
    memcpy(out->keywords, mh_buf_str(&known), known.len + 1);
    mh_buf_done(&known);
}

int maildir_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                   struct mh_opened *out, struct mh_err *err)
{
    (void)for_write;
    maildir_selected_done(&s->sel);
    s->sel.native = mh_strdup(folder->native);
    int rc = s->sel.native ? mh_file_store_run(s, select_folder, folder, err) : mh_err_nomem(err);
    if (rc < 0) {
        maildir_selected_done(&s->sel);
        return rc;
    }
    if (s->sel.list.odd)
        mh_log(s->store.env->log, MH_LOG_WARNING,
               "folder %s: %zu entries that are no regular files are left out", folder->path,
               s->sel.list.odd);
    mh_file_store_opened(folder, s->sel.list.n, out);
    tell_keywords(&s->sel.keywords, out);
    return 0;
}

/* --- scanning --------------------------------------------------------------------------------- */

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

static int add_item(const struct maildir_selected *sel, const struct mh_file_walk *w,
                    struct mh_buf *words, struct mh_scan *out, struct mh_err *err)
{
    bool is_new = w->entry->box == MAILDIR_NEW;
    struct maildir_info info;
    maildir_info_parse(mh_file_entries_name(&sel->list, w->entry), &info);
    struct mh_item item = {
        .uid = w->entry->uid,
        .size = info.has_size ? info.size : w->size,
        .date = {w->mtime_s, 0, true},
        .flags = is_new ? 0 : info.flags,
    };
    int rc = 0;
    if (!is_new) {
        add_keywords(sel, &info, words);
        rc = mh_buf_failed(words)
                 ? mh_err_nomem(err)
                 : mh_kwsets_intern(out->kwsets, mh_buf_str(words), words->len, &item.kwset, err);
    }
    return rc == 0 ? mh_scan_add(out, &item, err) : rc;
}

int maildir_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err)
{
    struct mh_file_walk w;
    struct mh_buf words = MH_BUF_INIT;
    mh_assert(s->sel.native);
    int rc = mh_file_walk_init(&w, &s->sel.list, s->sel.box_fds, uid_from, err);
    while (rc == 0 && (rc = mh_file_walk_next(&w, err)) > 0)
        rc = add_item(&s->sel, &w, &words, out, err);
    mh_scan_finish(out);
    mh_buf_done(&words);
    mh_file_walk_done(&w);
    return rc;
}

/* --- fetching --------------------------------------------------------------------------------- */

/* Opens UID's file. A name that is gone may only have changed its flags: the list is read again, once
 * per call. */
static int open_entry(struct mh_file_lookup *lookup, uint64_t uid, const char **name_out,
                      struct mh_err *err)
{
    struct maildir_selected *sel = &lookup->s->sel;
    for (;;) {
        const struct mh_file_entry *e = mh_file_entries_find(&sel->list, uid);
        if (e) {
            *name_out = mh_file_entries_name(&sel->list, e);
            int fd = openat(sel->box_fds[e->box], *name_out,
                            O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
            if (fd >= 0)
                return fd;
            if (errno != ENOENT)
                return mh_err_sys(err, MH_EITEM, "maildir", errno, "cannot open the message %s",
                                  *name_out);
        }
        if (lookup->was_relisted)
            return mh_err_set(err, MH_ENOENT, "maildir", "the message is gone");
        lookup->was_relisted = true;
        int rc = read_entries(sel, err);
        if (rc < 0)
            return rc;
    }
}

static int locate(void *arg, const struct mh_item *item, struct mh_file_extent *out,
                  struct mh_err *err)
{
    struct maildir_info info;
    const char *name = "";
    int fd = open_entry(arg, item->uid, &name, err);
    if (fd < 0)
        return fd;
    maildir_info_parse(name, &info);
    return mh_file_extent_whole(fd, name, info.is_raw, out, err);
}

int maildir_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                  struct mh_sink *sink, struct mh_err *err)
{
    mh_assert(s->sel.native);
    return mh_file_store_fetch(s, locate, items, n, sink, err);
}

/* --- flags ------------------------------------------------------------------------------------ */

struct flags_job {
    struct mh_session *s;
    struct mh_file_flags change;
    uint32_t letters;
    bool passed;
};

/* The letters of the job's keywords, made where they are missing and to be added. */
static int job_letters(struct flags_job *job, struct mh_err *err)
{
    struct maildir_selected *sel = &job->s->sel;
    struct maildir_keywords *k = &sel->keywords;
    const char *words = job->change.keywords;
    bool is_new = false;
    bool is_changed = false;
    unsigned n_lost = 0;
    if (!job->change.add) {
        job->letters = maildir_keywords_known(k, words);
        return 0;
    }
    int rc = maildir_keywords_letters(k, words, &job->letters, &is_new, &n_lost, err);
    if (rc == 0 && is_new)
        rc = maildir_keywords_save(sel->dir_fd, k, &is_changed, err);
    if (rc == 0 && is_changed)
        rc = maildir_keywords_letters(k, words, &job->letters, &is_new, &n_lost, err);
    return rc;
}

/* Renames E's file to what its flags are to be. 1: it is not where it was. */
static int change_entry(const struct flags_job *job, struct mh_file_entry *e, struct mh_err *err)
{
    struct maildir_selected *sel = &job->s->sel;
    int cur_fd = sel->box_fds[MAILDIR_CUR];
    struct mh_buf name = MH_BUF_INIT;
    struct maildir_info info;
    const char *old = mh_file_entries_name(&sel->list, e);
    maildir_info_parse(old, &info);
    if (job->change.add) {
        info.flags |= job->change.flags;
        info.letters |= job->letters;
    } else {
        info.flags = (uint8_t)(info.flags & ~job->change.flags);
        info.letters &= ~job->letters;
        info.is_passed &= !job->passed;
    }
    maildir_info_format(&name, old, &info);
    const char *now = mh_buf_str(&name);
    int rc = mh_buf_failed(&name) ? mh_err_nomem(err) : 0;
    if (rc == 0 && (e->box == MAILDIR_NEW || strcmp(now, old) != 0)) {
        if (renameat(sel->box_fds[e->box], old, cur_fd, now) == 0) {
            e->box = MAILDIR_CUR;
            rc = mh_file_entries_rename(&sel->list, e, now, err);
        } else {
            rc = errno == ENOENT
                     ? 1
                     : mh_err_sys(err, MH_EFOLDER, "maildir", errno, "cannot rename %s", old);
        }
    }
    mh_buf_done(&name);
    return rc;
}

static int store_flags(void *arg, struct mh_err *err)
{
    struct flags_job *job = arg;
    struct maildir_selected *sel = &job->s->sel;
    bool was_relisted = false;
    int rc = job_letters(job, err);
    for (size_t i = 0; rc == 0 && i < job->change.n; i++) {
        struct mh_file_entry *e = mh_file_entries_find(&sel->list, job->change.uids[i]);
        rc = e ? change_entry(job, e, err) : 1;
        if (rc == 1 && !was_relisted) {
            was_relisted = true;
            rc = read_entries(sel, err);
            i--; /* the same one again */
        } else if (rc == 1) {
            rc = 0; /* gone: the next scan says so */
        }
    }
    if (rc == 0 && fsync(sel->box_fds[MAILDIR_CUR]) < 0)
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
        .change = {uids, n, add, flags, words},
        .passed = mh_file_words_have(words, strlen(words), PASSED_KEYWORD, strlen(PASSED_KEYWORD))};
    int rc = mh_file_run(store_flags, &job, err);
    maildir_keywords_report(&s->sel.keywords, s->store.env->log, s->sel.native);
    return rc;
}
