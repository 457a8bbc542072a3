/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Preparing a pass: the folder is made or found and opened, both sides at once; the listing of the source is held
 * against the state, and what is missing becomes the todo list.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

/* --- the list of what to do --------------------------------------------------------------------------- */

static int alloc_todo(struct pass *pass, size_t n, struct mh_err *err)
{
    pass->todo = mh_zalloc(n * sizeof *pass->todo);
    return pass->todo ? MH_OK : mh_err_nomem(err);
}

static void add_todo(struct pass *pass, size_t item)
{
    pass->todo[pass->n_todo++] = (struct todo){.item = (uint32_t)item, .status = TODO_OPEN};
}

/* A message that was carried before. */
static void count_unchanged(struct pass *pass)
{
    pass->res->counts.adopted++;
    pass->res->counts.unchanged++;
}

/* Walks the listing and the state side by side, both ascending by source UID. */
static int compare(struct pass *pass, struct lane *lane, struct mh_state_items *known,
                   struct flag_changes *changes, struct mh_err *err)
{
    size_t r = 0;
    int code = alloc_todo(pass, pass->scan.n, err);
    for (size_t i = 0; code == MH_OK && i <= pass->scan.n; i++) {
        const struct mh_item *item = i < pass->scan.n ? &pass->scan.items[i] : NULL;
        for (; r < known->n && (!item || known->v[r].src_uid < item->uid); r++) {
            pass->res->counts.gone++;
            if (known->v[r].gone != MH_GONE_NOT || pass->job->run->cfg->dry_run)
                continue;
            struct mh_state_item *row = lane_row(lane);
            if (!row)
                return mh_err_nomem(err);
            *row = known->v[r];
            row->gone = MH_GONE_KEPT;
        }
        if (!item)
            break;
        if (r == known->n || known->v[r].src_uid != item->uid) {
            add_todo(pass, i);
            continue;
        }
        count_unchanged(pass);
        uint32_t kw = pass->kw_ids[item->kwset];
        if (item->flags != known->v[r].flags || kw != known->v[r].kw)
            code = flags_note(changes, &known->v[r], r, item, kw, err);
        r++;
    }
    return code;
}

/* --- what is known --------------------------------------------------------------------------------- */

/* What the state knows of the folder, unless a UIDVALIDITY says that it no longer holds. */
static int load_known(struct pass *pass, struct mh_state_items *known, struct mh_err *err)
{
    struct mh_state_folder *row = &pass->row;
    struct mh_state *st = pass->job->run->cfg->state;
    if (!pass->row_is_known)
        return MH_OK;
    bool same = row->src_uidvalidity == pass->src_opened.uidvalidity &&
                row->dst_uidvalidity == pass->dst_opened.uidvalidity;
    if (!same && pass->job->run->cfg->dry_run)
        return MH_OK;
    if (!same) {
        row->target_uidnext = 0;
        row->complete = false;
        result_item(&pass->job->res->notes, &pass->job->res->n_notes, &pass->job->res->cap_notes,
                    pass->entry->source->path, 0, "folder", "uidvalidity-changed",
                    "matched again by content");
        return mh_state_clear_items(st, row->id, err);
    }
    return job_load_items(pass->job, row->id, known, err);
}

int order_uids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int add_known(struct pass *pass, const struct mh_state_items *rows, struct mh_err *err)
{
    uint64_t *v = mh_realloc_array(pass->known, pass->n_known + rows->n + 1, sizeof *pass->known);
    if (!v)
        return mh_err_nomem(err);
    pass->known = v;
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->v[i].dst_uid)
            pass->known[pass->n_known++] = rows->v[i].dst_uid;
    }
    return MH_OK;
}

/* What SIBLING has in the target folder that both are carried into: from earlier runs and from this one. */
static int add_sibling(struct pass *pass, const struct pass *sibling, struct mh_err *err)
{
    struct mh_state_items rows = {0};
    int code = MH_OK;
    if (sibling->row_is_known && sibling->row.dst_uidvalidity == pass->dst_opened.uidvalidity)
        code = job_load_items(pass->job, sibling->row.id, &rows, err);
    if (code == MH_OK)
        code = add_known(pass, &rows, err);
    mh_state_items_done(&rows);
    if (code != MH_OK || sibling->n_todo == 0)
        return code;
    uint64_t *v =
        mh_realloc_array(pass->known, pass->n_known + sibling->n_todo, sizeof *pass->known);
    if (!v)
        return mh_err_nomem(err);
    pass->known = v;
    for (size_t i = 0; i < sibling->n_todo; i++) {
        if (sibling->todo[i].status == TODO_DONE && sibling->todo[i].dst_uid)
            pass->known[pass->n_known++] = sibling->todo[i].dst_uid;
    }
    return MH_OK;
}

static int keep_known_uids(struct pass *pass, const struct mh_state_items *known,
                           struct mh_err *err)
{
    int code = add_known(pass, known, err);
    for (struct pass *p = pass->sibling; code == MH_OK && p != pass; p = p->sibling)
        code = add_sibling(pass, p, err);
    if (code == MH_OK && pass->n_known)
        qsort(pass->known, pass->n_known, sizeof *pass->known, order_uids);
    return code;
}

/* --- both sides ------------------------------------------------------------------------------------ */

/* The folder's row goes to the state before the first item of the pass, so that a run that breaks off
 * finds out where its window began. */
int pass_write_row(struct pass *pass, bool complete, struct mh_err *err)
{
    struct mh_state_folder *row = &pass->row;
    if (pass->job->run->cfg->dry_run)
        return MH_OK;
    row->complete = complete;
    row->src_uidvalidity = pass->src_opened.uidvalidity;
    row->dst_uidvalidity = pass->dst_opened.uidvalidity;
    row->src_uidnext = complete ? pass->src_opened.uidnext : 0;
    row->src_messages = pass->src_opened.messages;
    row->src_highestmodseq = complete ? pass->src_opened.highestmodseq : 0;
    return mh_state_put_folder(pass->job->run->cfg->state, row, err);
}

/* Opens the folder at the source; *MOVED_OUT: while it was being copied it became another one. */
static int open_source(struct pass *pass, struct lane *lane, bool *moved_out, struct mh_err *err)
{
    struct mh_opened opened;
    int code = pass->job->sc->select(lane->src, pass->entry->source, false, &opened, err);
    if (code != MH_OK) {
        mh_err_at(err, "source");
        return code;
    }
    bool is_copying = pass->phase == PASS_COPYING;
    *moved_out = is_copying && opened.uidvalidity != pass->src_opened.uidvalidity;
    if (!is_copying)
        pass->src_opened = opened;
    return MH_OK;
}

static int open_target(struct pass *pass, struct lane *lane, bool *moved_out, struct mh_err *err)
{
    struct job *job = pass->job;
    struct mh_opened opened;
    *moved_out = false;
    if (job->run->cfg->dry_run && !pass->dst.native)
        return MH_OK;
    int code = job->tc->select(lane->dst, &pass->dst, !job->run->cfg->dry_run, &opened, err);
    if (code == MH_OK && !job->run->cfg->dry_run)
        code = job->tc->append_open(lane->dst, &pass->dst, &lane->verdicts, err);
    if (code != MH_OK) {
        mh_err_at(err, "target");
        return code;
    }
    bool is_copying = pass->phase == PASS_COPYING;
    *moved_out = is_copying && opened.uidvalidity != pass->dst_opened.uidvalidity;
    if (!is_copying)
        pass->dst_opened = opened;
    return MH_OK;
}

int pass_open(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool src_moved = false;
    bool dst_moved = false;
    int code = open_source(pass, lane, &src_moved, err);
    if (code == MH_OK)
        code = open_target(pass, lane, &dst_moved, err);
    if (code == MH_OK && (src_moved || dst_moved))
        return mh_err_set(
            err, MH_EFOLDER, "engine",
            "UIDVALIDITY changed while the folder was being copied; the next run matches "
            "it by content");
    return code;
}

/* Where the window starts, and a look into it when something may be there. */
static int look_into_window(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool ascend = (pass->job->tc->flags & MH_UIDS_ASCEND) != 0;
    bool trusted = pass->row_is_known && pass->row.target_uidnext > 0;
    pass->window = ascend && trusted ? pass->row.target_uidnext : 1;
    if (pass->created) {
        pass->window = ascend ? MH_MAX(pass->dst_opened.uidnext, (uint64_t)1) : 1;
        return MH_OK;
    }
    bool maybe = pass->n_todo > 0 && pass->dst_opened.messages > 0 &&
                 (!ascend || pass->dst_opened.uidnext > pass->window);
    return maybe ? match_window(pass, lane, pass->window, false, err) : MH_OK;
}

/* The source's half of the preparation, in a task of its own: the target's goes on beside it, because each
 * step of either is a round trip. */
struct source_half {
    struct pass *pass;
    struct lane *lane;
    struct around around;
    struct mh_err err;
    int code;
};

static void read_source(void *arg)
{
    struct source_half *h = arg;
    struct pass *pass = h->pass;
    bool moved = false; /* not while preparing */
    mh_err_reset(&h->err);
    h->code = around_read(pass, h->lane->src, &h->around, &h->err);
    if (h->code == MH_OK)
        h->code = open_source(pass, h->lane, &moved, &h->err);
    if (h->code != MH_OK)
        return;
    h->code = pass->job->sc->scan(h->lane->src, 1, &pass->scan, &h->err);
    if (h->code != MH_OK)
        mh_err_at(&h->err, "source, listing the messages");
}

/* Both halves; AROUND is what the source has around its mail. */
static int open_both_sides(struct pass *pass, struct lane *lane, struct around *around,
                           struct mh_err *err)
{
    struct source_half source = {.pass = pass, .lane = lane, .around = {MH_BUF_INIT, MH_BUF_INIT}};
    bool moved = false;
    int code = mh_scan_init(&pass->scan, err);
    if (code == MH_OK)
        code = mh_task_spawn(pass->job->sched, "read-source", read_source, &source,
                             &lane->side_task, err);
    if (code != MH_OK)
        return code;
    code = around_make(pass, lane->dst, err);
    if (code == MH_OK)
        code = open_target(pass, lane, &moved, err);
    if (code == MH_ECANCEL)
        mh_task_cancel(lane->side_task);
    mh_task_join(lane->side_task);
    lane->side_task = NULL;
    *around = source.around;
    if (code == MH_OK && source.code != MH_OK) {
        *err = source.err;
        code = source.code;
    }
    return code;
}

static int compare_with_state(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct job *job = pass->job;
    struct mh_state_items known = {0};
    struct flag_changes changes = {0};
    int code = load_known(pass, &known, err);
    if (code == MH_OK)
        code = flags_map_keywords(pass, err);
    if (code == MH_OK)
        code = pass_write_row(pass, false, err);
    if (code == MH_OK && !job->run->cfg->dry_run)
        code = mh_state_clear_ledger(job->run->cfg->state, pass->row.id, err);
    if (code == MH_OK)
        code = compare(pass, lane, &known, &changes, err);
    if (code == MH_OK)
        code = flags_store(pass, lane, &changes, &known, err);
    if (code == MH_OK)
        code = keep_known_uids(pass, &known, err);
    mh_free(changes.v);
    mh_state_items_done(&known);
    return code;
}

static void count_found(struct pass *pass)
{
    struct mh_progress *p = pass->job->mb->progress;
    uint64_t bytes = 0;
    pass->res->counts.found = pass->scan.n;
    for (size_t i = 0; i < pass->n_todo; i++)
        bytes += pass->scan.items[pass->todo[i].item].size;
    if (!p)
        return;
    atomic_fetch_add_explicit(&p->found, pass->scan.n, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->found_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->adopted, pass->res->counts.unchanged, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->unchanged, pass->res->counts.unchanged, memory_order_relaxed);
}

int pass_prepare(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct job *job = pass->job;
    struct around around = {MH_BUF_INIT, MH_BUF_INIT};
    int code = open_both_sides(pass, lane, &around, err);
    if (code == MH_OK)
        code = around_apply(pass, lane->dst, &around, err);
    around_done(&around);
    if (code == MH_OK)
        code = compare_with_state(pass, lane, err);
    if (code != MH_OK)
        return code;
    count_found(pass);
    if (job->run->cfg->dry_run) {
        for (size_t i = 0; i < pass->n_todo; i++)
            pass_close_item(pass, (uint32_t)i, "skipped", "dry-run", "");
        pass->next = pass->n_todo;
        return MH_OK;
    }
    if (!job->tc->caps(lane->dst)->uidplus) {
        pass->digests = mh_zalloc(pass->n_todo * sizeof *pass->digests);
        if (!pass->digests)
            return mh_err_nomem(err);
    }
    code = look_into_window(pass, lane, err);
    pass_enter(pass, PASS_COPYING);
    return code;
}
