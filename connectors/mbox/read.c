/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/mbox/mbox_priv.h"
#include "mail/file_fetch.h"
#include "mail/file_name.h"

void mbox_selected_done(struct mbox_selected *sel)
{
    mh_file_close(&sel->fd);
    mh_file_close(&sel->dir_fd);
    mh_free(sel->native);
    mh_free(sel->file);
    mh_free(sel->by_uid);
    mbox_scan_done(&sel->scan);
    mh_file_index_free(sel->index);
    *sel = (struct mbox_selected){.dir_fd = -1, .fd = -1};
}

/* --- selecting -------------------------------------------------------------------------------- */

static int by_uid(const void *pa, const void *pb)
{
    const struct mbox_message *a = *(struct mbox_message *const *)pa;
    const struct mbox_message *b = *(struct mbox_message *const *)pb;
    return (a->uid > b->uid) - (a->uid < b->uid);
}

static struct mbox_message *find_message(const struct mbox_selected *sel, uint64_t uid)
{
    struct mbox_message key = {.uid = uid};
    struct mbox_message *pkey = &key;
    struct mbox_message **found = sel->scan.n ? bsearch(&pkey, sel->by_uid, sel->scan.n,
                                                        sizeof(struct mbox_message *), by_uid)
                                              : NULL;
    return found ? *found : NULL;
}

struct select_job {
    struct mh_session *s;
    const char *native;
    struct mh_slab *slab;
    uint64_t limit;
    bool is_done;
};

static int open_folder(void *arg, struct mh_err *err)
{
    struct select_job *job = arg;
    struct mbox_selected *sel = &job->s->sel;
    int rc = mbox_open_file(job->s, job->native, O_RDONLY, &sel->dir_fd, &sel->fd, &sel->file, err);
    if (rc == 0)
        rc = mbox_lock(sel->fd, false, err);
    if (rc == 0)
        rc = mbox_journal_read(sel->dir_fd, sel->file, &job->limit, err);
    char *index = rc == 0 ? mh_asprintf("%s%s", sel->file, MBOX_INDEX) : NULL;
    if (rc == 0)
        rc = index ? mh_file_index_load(sel->dir_fd, index, &sel->index, err) : mh_err_nomem(err);
    mh_free(index);
    return rc == 0 ? mbox_scan_init(&sel->scan, err) : rc;
}

static int scan_part(void *arg, struct mh_err *err)
{
    struct select_job *job = arg;
    struct mbox_selected *sel = &job->s->sel;
    return mbox_scan_file(&sel->scan, sel->fd, job->limit, job->slab->data, &job->is_done, err);
}

/* What the index knows better: the exact length. A line end that it leaves out was added by us. */
static void apply_index(struct mbox_selected *sel)
{
    enum { TAIL_MAX = 4 }; /* the line end we may have added, and the empty line */
    for (size_t i = 0; i < sel->scan.n; i++) {
        struct mbox_message *m = &sel->scan.v[i];
        const struct mh_file_record *rec = mh_file_index_find(sel->index, m->uid);
        if (!rec)
            continue;
        uint64_t room = m->next_at - m->start;
        if (rec->has_octets && rec->octets <= room && room - rec->octets <= TAIL_MAX) {
            m->bare_lf -= rec->octets < m->len ? MH_MIN(m->len - rec->octets, m->bare_lf) : 0;
            m->len = rec->octets;
        }
    }
}

static int sort_messages(struct mbox_selected *sel, struct mh_err *err)
{
    size_t n = sel->scan.n;
    sel->by_uid = mh_alloc(n * sizeof(struct mbox_message *));
    if (!sel->by_uid)
        return mh_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        sel->by_uid[i] = &sel->scan.v[i];
    if (n > 1)
        qsort(sel->by_uid, n, sizeof(struct mbox_message *), by_uid);
    return 0;
}

static int scan_all(struct select_job *job, struct mh_err *err)
{
    int rc = mh_slab_get_wait(job->s->store.env->pool, MH_NEVER, &job->slab, err);
    if (rc < 0)
        return rc;
    while (rc == 0 && !job->is_done)
        rc = mh_task_cancelled() ? mh_err_set(err, MH_ECANCEL, "mbox", "stopped")
                                 : mh_file_run(scan_part, job, err);
    mh_slab_unref(job->slab);
    return rc;
}

static int load(struct mh_session *s, const char *native, struct mh_err *err)
{
    struct mbox_selected *sel = &s->sel;
    mbox_selected_done(sel);
    struct select_job job = {.s = s, .native = native};
    sel->native = mh_strdup(native);
    int rc = sel->native ? mh_file_run(open_folder, &job, err) : mh_err_nomem(err);
    if (rc == 0)
        rc = scan_all(&job, err);
    if (sel->fd >= 0)
        mbox_unlock(sel->fd);
    if (rc == 0) {
        apply_index(sel);
        rc = sort_messages(sel, err);
    }
    if (rc < 0)
        mbox_selected_done(sel);
    return rc;
}

int mbox_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                struct mh_opened *out, struct mh_err *err)
{
    (void)for_write;
    int rc = load(s, folder->native, err);
    if (rc < 0)
        return rc;
    mh_file_store_warn_odd_lines(s, folder, s->sel.index);
    mh_file_store_opened(folder, s->sel.scan.n, out);
    return 0;
}

static uint64_t wire_octets(const struct mbox_message *m, bool is_raw)
{
    bool is_unix = m->bare_lf && !m->crlf;
    return m->len - m->quoted + (is_unix && !is_raw ? m->bare_lf : 0);
}

/* --- scanning --------------------------------------------------------------------------------- */

static int add_item(const struct mbox_selected *sel, const struct mbox_message *m,
                    struct mh_scan *out, struct mh_err *err)
{
    const struct mh_file_record *rec = mh_file_index_find(sel->index, m->uid);
    const char *words = sel->scan.words.data + m->keywords;
    size_t words_len = strlen(words);
    struct mh_item item = {.uid = m->uid,
                           .size = wire_octets(m, rec && rec->is_raw),
                           .date = m->date,
                           .flags = m->flags};
    if (rec) {
        item.flags = rec->flags;
        item.date = rec->date.is_set ? rec->date : m->date;
        words = rec->keywords;
        words_len = rec->keywords_len;
    }
    int rc = mh_kwsets_intern(out->kwsets, words, words_len, &item.kwset, err);
    return rc == 0 ? mh_scan_add(out, &item, err) : rc;
}

int mbox_scan_folder(struct mh_session *s, uint64_t uid_from, struct mh_scan *out,
                     struct mh_err *err)
{
    const struct mbox_selected *sel = &s->sel;
    mh_assert(sel->native);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sel->scan.n; i++)
        if (sel->by_uid[i]->uid >= uid_from)
            rc = add_item(sel, sel->by_uid[i], out, err);
    mh_scan_finish(out);
    return rc;
}

/* --- fetching --------------------------------------------------------------------------------- */

static int locate(void *arg, const struct mh_item *item, struct mh_file_extent *out,
                  struct mh_err *err)
{
    struct mh_session *s = arg;
    struct mbox_selected *sel = &s->sel;
    const struct mbox_message *m = find_message(sel, item->uid);
    char from[5];
    if (!m)
        return mh_err_set(err, MH_ENOENT, "mbox", "the message is gone");
    if (pread(sel->fd, from, sizeof from, (off_t)m->from_at) != (ssize_t)sizeof from ||
        memcmp(from, "From ", sizeof from) != 0)
        return mh_err_set(err, MH_EITEM, "mbox", "the file was changed by another program");
    const struct mh_file_record *rec = mh_file_index_find(sel->index, m->uid);
    *out = (struct mh_file_extent){.fd = sel->fd,
                                   .keep_open = true,
                                   .is_raw = rec && rec->is_raw,
                                   .is_quoted = true,
                                   .off = m->start,
                                   .len = m->len};
    return 0;
}

int mbox_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
               struct mh_sink *sink, struct mh_err *err)
{
    struct mbox_selected *sel = &s->sel;
    mh_assert(sel->native);
    bool is_known = true;
    for (size_t i = 0; is_known && i < n; i++)
        is_known = find_message(sel, items[i]->uid) != NULL;
    if (!is_known) { /* stored since the folder was selected */
        char *native = mh_strdup(sel->native);
        int rc = native ? load(s, native, err) : mh_err_nomem(err);
        mh_free(native);
        if (rc < 0)
            return rc;
    }
    struct mh_file_source source = {locate, s};
    return mh_file_fetch(&source, s->store.env->pool, items, n, sink, err);
}

/* --- flags ------------------------------------------------------------------------------------ */

struct flags_job {
    struct mh_session *s;
    struct mh_file_flags change;
};

/* The message's own fields count until the index knows it. */
static int change_record(const struct flags_job *job, const struct mbox_message *m,
                         struct mh_buf *lines, struct mh_err *err)
{
    const struct mbox_selected *sel = &job->s->sel;
    const char *keywords = sel->scan.words.data + m->keywords;
    struct mh_file_record had = {.uid = m->uid,
                                 .date = m->date,
                                 .flags = m->flags,
                                 .keywords = keywords,
                                 .keywords_len = strlen(keywords)};
    char name[MBOX_NAME_MAX];
    mbox_message_name(m->ident, m->nth, name);
    return mh_file_index_change(sel->index, name, &had, &job->change, lines, err);
}

static int store_flags(void *arg, struct mh_err *err)
{
    struct flags_job *job = arg;
    struct mbox_selected *sel = &job->s->sel;
    struct mh_buf lines = MH_BUF_INIT;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < job->change.n; i++) {
        const struct mbox_message *m = find_message(sel, job->change.uids[i]);
        rc = m ? change_record(job, m, &lines, err) : 0;
    }
    char *index = mh_asprintf("%s%s", sel->file, MBOX_INDEX);
    if (rc == 0 && !index)
        rc = mh_err_nomem(err);
    if (rc == 0 && lines.len)
        rc = mh_file_append_text(sel->dir_fd, index, &lines, err);
    mh_free(index);
    mh_buf_done(&lines);
    return rc;
}

int mbox_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                     const char *keywords, struct mh_err *err)
{
    mh_assert(s->sel.native);
    struct flags_job job = {s, {uids, n, add, flags, keywords}};
    return mh_file_run(store_flags, &job, err);
}
