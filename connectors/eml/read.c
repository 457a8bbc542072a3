/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "connectors/eml/eml_priv.h"
#include "mail/file_fetch.h"
#include "mail/file_name.h"

void eml_selected_done(struct eml_selected *sel)
{
    mh_file_close(&sel->dir_fd);
    mh_free(sel->native);
    mh_file_entries_done(&sel->list);
    mh_file_index_free(sel->index);
    *sel = (struct eml_selected){.dir_fd = -1};
}

/* --- selecting -------------------------------------------------------------------------------- */

static uint64_t uid_of(const char *name)
{
    return eml_is_message_name(name) ? mh_uid_from_name(name, strlen(name)) : 0;
}

/* What is in the directory now, and what the index says of it. thread: worker */
static int read_folder(struct mh_session *s, struct mh_err *err)
{
    struct eml_selected *sel = &s->sel;
    const char *single = s->store.single;
    struct mh_file_index *index = NULL;
    int rc = mh_file_index_load(sel->dir_fd, EML_INDEX, &index, err);
    if (rc < 0)
        return rc;
    mh_file_index_free(sel->index);
    sel->index = index;
    mh_file_entries_reset(&sel->list);
    if (single) {
        uint64_t uid = mh_uid_from_name(single, strlen(single));
        rc = mh_file_entries_add(&sel->list, uid, single, 0, err);
    } else {
        rc = mh_file_entries_read(&sel->list, sel->dir_fd, 0, uid_of, err);
    }
    mh_file_entries_sort(&sel->list);
    return rc;
}

static int select_folder(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    int rc = eml_open_folder(s, folder->native, &s->sel.dir_fd, err);
    return rc == 0 ? read_folder(s, err) : rc;
}

int eml_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
               struct mh_opened *out, struct mh_err *err)
{
    (void)for_write;
    eml_selected_done(&s->sel);
    s->sel.native = mh_strdup(folder->native);
    int rc = s->sel.native ? mh_file_store_run(s, select_folder, folder, err) : mh_err_nomem(err);
    if (rc < 0) {
        eml_selected_done(&s->sel);
        return rc;
    }
    mh_file_store_warn_odd_lines(s, folder, s->sel.index);
    mh_file_store_opened(folder, s->sel.list.n, out);
    return 0;
}

/* --- scanning --------------------------------------------------------------------------------- */

static int add_item(const struct eml_selected *sel, const struct mh_file_walk *w,
                    struct mh_scan *out, struct mh_err *err)
{
    struct mh_item item = {.uid = w->entry->uid, .size = w->size, .date = {w->mtime_s, 0, true}};
    const struct mh_file_record *rec = mh_file_index_find(sel->index, item.uid);
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
    struct mh_file_walk w;
    mh_assert(s->sel.native);
    int rc = mh_file_walk_init(&w, &s->sel.list, &s->sel.dir_fd, uid_from, err);
    w.follow = s->store.single != NULL;
    while (rc == 0 && (rc = mh_file_walk_next(&w, err)) > 0)
        rc = add_item(&s->sel, &w, out, err);
    mh_scan_finish(out);
    mh_file_walk_done(&w);
    return rc;
}

/* --- fetching --------------------------------------------------------------------------------- */

/* The name of UID's file; what was stored since the folder was selected is looked for once per call. */
static int need_name(struct mh_file_lookup *lookup, uint64_t uid, const char **out,
                     struct mh_err *err)
{
    const struct mh_file_entries *list = &lookup->s->sel.list;
    const struct mh_file_entry *e = mh_file_entries_find(list, uid);
    if (!e && !lookup->was_relisted) {
        lookup->was_relisted = true;
        int rc = read_folder(lookup->s, err);
        if (rc < 0)
            return rc;
        e = mh_file_entries_find(list, uid);
    }
    if (!e)
        return mh_err_set(err, MH_ENOENT, "eml", "the message is gone");
    *out = mh_file_entries_name(list, e);
    return 0;
}

static int locate(void *arg, const struct mh_item *item, struct mh_file_extent *out,
                  struct mh_err *err)
{
    struct mh_file_lookup *lookup = arg;
    struct eml_selected *sel = &lookup->s->sel;
    const char *name = "";
    int rc = need_name(lookup, item->uid, &name, err);
    if (rc < 0)
        return rc;
    int no_follow = lookup->s->store.single ? 0 : O_NOFOLLOW;
    int fd = openat(sel->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | no_follow);
    if (fd < 0)
        return mh_err_sys(err, errno == ENOENT ? MH_ENOENT : MH_EITEM, "eml", errno,
                          "cannot open the message %s", name);
    const struct mh_file_record *rec = mh_file_index_find(sel->index, item->uid);
    return mh_file_extent_whole(fd, name, rec && rec->is_raw, out, err);
}

int eml_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
              struct mh_sink *sink, struct mh_err *err)
{
    mh_assert(s->sel.native);
    return mh_file_store_fetch(s, locate, items, n, sink, err);
}

/* --- flags ------------------------------------------------------------------------------------ */

struct flags_job {
    struct mh_file_lookup lookup;
    struct mh_file_flags change;
};

/* A message that is gone is passed over: the next scan says so. All are looked for before anything
 * changes, because that may read the index again. */
static int store_flags(void *arg, struct mh_err *err)
{
    struct flags_job *job = arg;
    struct eml_selected *sel = &job->lookup.s->sel;
    struct mh_buf lines = MH_BUF_INIT;
    const char *name = NULL;
    int rc = 0;
    for (size_t i = 0; i < job->change.n && (rc == 0 || rc == MH_ENOENT); i++)
        rc = need_name(&job->lookup, job->change.uids[i], &name, err);
    if (rc == MH_ENOENT)
        rc = 0;
    for (size_t i = 0; rc == 0 && i < job->change.n; i++) {
        struct mh_file_record had = {.uid = job->change.uids[i]};
        const struct mh_file_entry *e = mh_file_entries_find(&sel->list, had.uid);
        if (e)
            rc = mh_file_index_change(sel->index, mh_file_entries_name(&sel->list, e), &had,
                                      &job->change, &lines, err);
    }
    if (rc == 0 && lines.len)
        rc = mh_file_append_text(sel->dir_fd, EML_INDEX, &lines, err);
    mh_buf_done(&lines);
    return rc;
}

int eml_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                    const char *keywords, struct mh_err *err)
{
    mh_assert(s->sel.native);
    struct flags_job job = {{s, false}, {uids, n, add, flags, keywords}};
    return mh_file_run(store_flags, &job, err);
}
