/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading the selected folder: metadata, what has changed, bodies. */
#include <string.h>

#include "base/task.h"
#include "connectors/mem/session.h"

/* --- metadata --------------------------------------------------------------------------------- */

/* Lock held. */
static int list_message(const struct mh_session *s, const struct mem_message *m,
                        struct mh_scan *out, struct mh_err *err)
{
    struct mh_item item = {.uid = m->uid,
                           .size = m->len,
                           .date = m->date,
                           .flags = m->flags,
                           .modseq = s->caps.condstore ? m->modseq : 0,
                           .object_id = s->caps.object_id ? m->object_id : 0};
    int rc = mh_kwsets_intern(out->kwsets, m->keywords, strlen(m->keywords), &item.kwset, err);
    return rc < 0 ? rc : mh_scan_add(out, &item, err);
}

/* The list is complete, or RC says why not. */
static int end_scan(struct mh_session *s, struct mh_scan *out, int rc, struct mh_err *err)
{
    mh_scan_finish(out);
    return rc < 0 ? rc : mem_carry(s, MEM_DOWN, out->n * MEM_ITEM_OCTETS, err);
}

int mem_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err)
{
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    rc = mem_check_selected(s, err);
    for (size_t i = 0; rc == 0 && i < s->selected->n; i++)
        if (s->selected->v[i].uid >= uid_from)
            rc = list_message(s, &s->selected->v[i], out, err);
    mem_unlock(s);
    return end_scan(s, out, rc, err);
}

int mem_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n, struct mh_scan *out,
                  struct mh_err *err)
{
    int rc = s->is_dead ? mem_lost(s, err) : n ? mem_ask(s, 1, err) : 0;
    if (rc < 0)
        return rc;
    mem_lock(s);
    rc = mem_check_selected(s, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct mem_message *m = mem_message_find(s->selected, uids[i]);
        rc = m ? list_message(s, m, out, err) : 0;
    }
    mem_unlock(s);
    return end_scan(s, out, rc, err);
}

/* --- what has changed ------------------------------------------------------------------------- */

/* Below: lock held. */

static int list_changed(const struct mh_session *s, uint64_t since_modseq, struct mh_scan *out,
                        struct mh_err *err)
{
    const struct mem_folder *f = s->selected;
    int rc = mh_scan_init(out, err);
    for (size_t i = 0; rc == 0 && i < f->n; i++)
        if (f->v[i].modseq > since_modseq)
            rc = list_message(s, &f->v[i], out, err);
    return rc;
}

/* Every UID that is not there. */
static int list_holes(const struct mem_folder *f, struct mh_uids *out, struct mh_err *err)
{
    uint64_t next = 1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < f->n; i++) {
        if (f->v[i].uid > next)
            rc = mh_uids_add(out, next, f->v[i].uid - 1, err);
        next = f->v[i].uid + 1;
    }
    return rc == 0 && f->uidnext > next ? mh_uids_add(out, next, f->uidnext - 1, err) : rc;
}

static int list_vanished(const struct mem_folder *f, uint64_t since_modseq, struct mh_changes *out,
                         struct mh_err *err)
{
    int rc = 0;
    if (since_modseq < f->forgotten_modseq)
        rc = list_holes(f, &out->gone, err);
    else
        for (size_t i = f->n_gone; rc == 0 && i > 0 && f->gone[i - 1].modseq > since_modseq; i--)
            rc = mh_uids_add(&out->gone, f->gone[i - 1].uid, f->gone[i - 1].uid, err);
    mh_uids_finish(&out->gone);
    out->gone_by = out->gone.n ? MH_GONE_LISTED : MH_GONE_NONE;
    return rc;
}

/* Without QRESYNC the numbers say whether one is missing; which, only the list of those that are there. */
static int list_present(const struct mem_folder *f, const struct mh_since *since,
                        struct mh_changes *out, struct mh_err *err)
{
    uint64_t n_new = 0;
    int rc = 0;
    for (size_t i = f->n; i > 0 && f->v[i - 1].uid >= since->uidnext; i--)
        n_new++;
    if (since->messages_known && since->messages == f->n - n_new)
        return 0;
    for (size_t i = 0; rc == 0 && i < f->n; i++)
        rc = mh_uids_add(&out->present, f->v[i].uid, f->v[i].uid, err);
    mh_uids_finish(&out->present);
    out->gone_by = MH_GONE_BY_PRESENT;
    return rc;
}

static int open_and_compare(struct mh_session *s, const struct mh_folder *folder,
                            const struct mh_since *since, struct mh_opened *opened_out,
                            struct mh_changes *out, struct mh_err *err)
{
    int rc = mem_open_folder(s, folder, false, opened_out, err);
    if (rc < 0)
        return rc;
    if (!s->caps.condstore)
        return mem_no_such(err, "CONDSTORE");
    if (opened_out->uidvalidity != since->uidvalidity)
        return mh_err_set(err, MH_ENOSUP, "mem", "%s is another folder now", folder->path);
    if (opened_out->highestmodseq < since->highestmodseq)
        return mh_err_set(err, MH_ENOSUP, "mem", "%s has gone back in time", folder->path);
    rc = list_changed(s, since->highestmodseq, &out->scan, err);
    if (rc == 0 && s->caps.qresync)
        rc = list_vanished(s->selected, since->highestmodseq, out, err);
    else if (rc == 0)
        rc = list_present(s->selected, since, out, err);
    return rc;
}

int mem_select_changes(struct mh_session *s, const struct mh_folder *folder,
                       const struct mh_since *since, struct mh_opened *opened_out,
                       struct mh_changes *out, struct mh_err *err)
{
    mh_assert(since->highestmodseq != 0);
    if (s->is_dead)
        return mem_lost(s, err);
    int rc = mem_ask(s, s->caps.qresync ? 1 : 2, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    rc = open_and_compare(s, folder, since, opened_out, out, err);
    mem_unlock(s);
    mh_scan_finish(&out->scan);
    if (rc == 0 && out->gone_by == MH_GONE_BY_PRESENT)
        rc = mem_ask(s, 1, err);
    return rc < 0 ? rc : mem_carry(s, MEM_DOWN, out->scan.n * MEM_ITEM_OCTETS, err);
}

/* --- bodies ----------------------------------------------------------------------------------- */

/* What fetch() fills; messages follow each other in it. */
struct outlet {
    struct mh_slab *slab;
    uint32_t fill;
};

/* Copies up to a slab's rest from OFF of the message; 0: it is gone. */
static uint32_t copy_part(struct mh_session *s, uint64_t uid, uint64_t off, struct outlet *o)
{
    mem_lock(s);
    const struct mem_message *m = mem_message_find(s->selected, uid);
    uint32_t len = 0;
    if (m && off < m->len) {
        len = (uint32_t)MH_MIN(m->len - off, MH_SLAB_BYTES - o->fill);
        uint64_t drop_at = s->store->options.drop_fetch_at;
        if (drop_at && s->store->fetched_octets + len >= drop_at) {
            s->store->options.drop_fetch_at = 0;
            s->is_dead = true;
            len = (uint32_t)(drop_at - 1 - s->store->fetched_octets);
        }
        mh_slab_copy(o->slab->data + o->fill, m->data + off, len);
        s->store->fetched_octets += len;
    }
    mem_unlock(s);
    return len;
}

static int next_part(struct mh_session *s, uint64_t uid, uint64_t off, struct outlet *o,
                     struct mh_slice *out, struct mh_err *err)
{
    if (o->slab && o->fill == MH_SLAB_BYTES) {
        mh_slab_unref(o->slab);
        o->slab = NULL;
    }
    if (!o->slab) {
        int rc = mh_slab_get_wait(s->env->pool, MH_NEVER, &o->slab, err);
        if (rc < 0)
            return rc;
        o->fill = 0;
    }
    uint32_t len = copy_part(s, uid, off, o);
    int rc = mem_carry(s, MEM_DOWN, len, err);
    if (rc < 0)
        return rc;
    *out = len ? mh_slice_of(o->slab, o->fill, len) : (struct mh_slice){NULL, 0, 0};
    o->fill += len;
    return 0;
}

/* How long the message is; false: it is gone. */
static bool length_of(struct mh_session *s, uint64_t uid, uint64_t *octets_out)
{
    mem_lock(s);
    const struct mem_message *m = mem_message_find(s->selected, uid);
    *octets_out = m ? m->len : 0;
    mem_unlock(s);
    return m != NULL;
}

static int fetch_one(struct mh_session *s, const struct mh_item *item, struct outlet *o,
                     struct mh_sink *sink, struct mh_err *err)
{
    struct mh_err why;
    uint64_t octets = 0;
    bool is_there = length_of(s, item->uid, &octets);
    int rc = is_there ? sink->begin(sink, item, octets, err) : 0;
    for (uint64_t off = 0; is_there && rc == 0 && off < octets;) {
        struct mh_slice slice;
        rc = next_part(s, item->uid, off, o, &slice, err);
        if (rc < 0)
            return rc;
        off += slice.len;
        is_there = slice.len > 0;
        if (is_there)
            rc = sink->data(sink, slice, err);
        if (rc == 0 && s->is_dead)
            return mem_lost(s, err);
    }
    if (rc < 0)
        return rc;
    if (is_there) {
        mem_lock(s);
        s->store->stats.fetched++;
        mem_unlock(s);
        return sink->end(sink, err);
    }
    (void)mh_err_set(&why, MH_EITEM, "mem", "the message is gone");
    why.reason = "vanished";
    return sink->missed(sink, item, &why, err);
}

int mem_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
              struct mh_sink *sink, struct mh_err *err)
{
    struct outlet o = {NULL, 0};
    int rc = s->is_dead ? mem_lost(s, err) : n ? mem_ask(s, 1, err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        mem_lock(s);
        rc = mem_check_selected(s, err);
        mem_unlock(s);
        if (rc == 0)
            rc = mh_task_cancelled() ? mh_err_set(err, MH_ECANCEL, "mem", "stopped")
                                     : fetch_one(s, items[i], &o, sink, err);
    }
    if (o.slab)
        mh_slab_unref(o.slab);
    return rc;
}
