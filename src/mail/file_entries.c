/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/file_entries.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/task.h"
#include "mail/file_name.h"

enum { WALK_CHUNK = 2048 }; /* entries that one offload looks at: some milliseconds of stat() */

/* --- the list --------------------------------------------------------------------------------- */

void mh_file_entries_done(struct mh_file_entries *l)
{
    mh_free(l->v);
    mh_buf_done(&l->names);
    *l = (struct mh_file_entries){.n = 0};
}

void mh_file_entries_reset(struct mh_file_entries *l)
{
    l->n = 0;
    l->odd = 0;
    mh_buf_reset(&l->names);
}

const char *mh_file_entries_name(const struct mh_file_entries *l, const struct mh_file_entry *e)
{
    return l->names.data + e->name;
}

int mh_file_entries_rename(struct mh_file_entries *l, struct mh_file_entry *e, const char *name,
                           struct mh_err *err)
{
    e->name = l->names.len;
    mh_buf_add(&l->names, name, strlen(name) + 1);
    return mh_buf_failed(&l->names) ? mh_err_nomem(err) : 0;
}

int mh_file_entries_add(struct mh_file_entries *l, uint64_t uid, const char *name,
                        unsigned char box, struct mh_err *err)
{
    if (!mh_grow(l->v, l->cap, l->n + 1))
        return mh_err_nomem(err);
    struct mh_file_entry *e = &l->v[l->n];
    *e = (struct mh_file_entry){.uid = uid, .box = box};
    int rc = mh_file_entries_rename(l, e, name, err);
    l->n += rc == 0;
    return rc;
}

int mh_file_entries_read(struct mh_file_entries *l, int dir_fd, unsigned char box,
                         uint64_t (*uid_of)(const char *name), struct mh_err *err)
{
    DIR *d = mh_file_opendir(dir_fd, ".");
    if (!d)
        return mh_err_sys(err, MH_EFOLDER, "file", errno, "cannot list the messages");
    const struct dirent *e = NULL;
    int rc = 0;
    errno = 0;
    while (rc == 0 && (e = readdir(d)) != NULL) {
        uint64_t uid = uid_of(e->d_name);
        if (uid && (e->d_type == DT_REG || e->d_type == DT_UNKNOWN))
            rc = mh_file_entries_add(l, uid, e->d_name, box, err);
        else
            l->odd += uid != 0;
        errno = 0;
    }
    if (rc == 0 && errno)
        rc = mh_err_sys(err, MH_EFOLDER, "file", errno, "cannot list the messages");
    (void)closedir(d);
    return rc;
}

static int by_uid(const void *pa, const void *pb, void *ctx)
{
    const struct mh_file_entry *a = pa;
    const struct mh_file_entry *b = pb;
    const struct mh_file_entries *l = ctx;
    if (a->uid != b->uid)
        return a->uid < b->uid ? -1 : 1;
    return strcmp(mh_file_entries_name(l, a), mh_file_entries_name(l, b));
}

void mh_file_entries_sort(struct mh_file_entries *l)
{
    if (l->n > 1)
        qsort_r(l->v, l->n, sizeof *l->v, by_uid, l);
}

/* Where the first one with a uid of at least UID is, or would be. */
static size_t first_from(const struct mh_file_entries *l, uint64_t uid)
{
    return mh_lower_bound(i, 0, l->n, l->v[i].uid < uid);
}

struct mh_file_entry *mh_file_entries_find(const struct mh_file_entries *l, uint64_t uid)
{
    size_t at = first_from(l, uid);
    return at < l->n && l->v[at].uid == uid ? &l->v[at] : NULL;
}

/* --- the walk --------------------------------------------------------------------------------- */

struct mh_file_stat {
    uint64_t size;
    int64_t mtime_s;
    bool is_there;
};

int mh_file_walk_init(struct mh_file_walk *w, const struct mh_file_entries *l, const int *box_fds,
                      uint64_t uid_from, struct mh_err *err)
{
    size_t at = first_from(l, uid_from);
    *w = (struct mh_file_walk){.l = l, .box_fds = box_fds, .from = at, .to = at, .next = at};
    w->stats = mh_alloc(WALK_CHUNK * sizeof *w->stats);
    return w->stats ? 0 : mh_err_nomem(err);
}

void mh_file_walk_done(struct mh_file_walk *w)
{
    mh_free(w->stats);
    w->stats = NULL;
}

static void stat_chunk(void *arg)
{
    struct mh_file_walk *w = arg;
    for (size_t i = w->from; i < w->to; i++) {
        const struct mh_file_entry *e = &w->l->v[i];
        struct stat st;
        bool is_there = fstatat(w->box_fds[e->box], mh_file_entries_name(w->l, e), &st,
                                w->follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISREG(st.st_mode);
        w->stats[i - w->from] = (struct mh_file_stat){.is_there = is_there};
        if (is_there) {
            w->stats[i - w->from].size = (uint64_t)st.st_size;
            w->stats[i - w->from].mtime_s = st.st_mtim.tv_sec;
        }
    }
}

int mh_file_walk_next(struct mh_file_walk *w, struct mh_err *err)
{
    for (;;) {
        if (w->next == w->l->n)
            return 0;
        if (w->next == w->to) {
            if (mh_task_cancelled())
                return mh_err_set(err, MH_ECANCEL, "file", "stopped");
            w->from = w->to;
            w->to = MH_MIN(w->from + WALK_CHUNK, w->l->n);
            mh_offload(stat_chunk, w);
        }
        const struct mh_file_stat *st = &w->stats[w->next - w->from];
        w->entry = &w->l->v[w->next++];
        w->size = st->size;
        w->mtime_s = st->mtime_s;
        if (st->is_there)
            return 1;
    }
}
