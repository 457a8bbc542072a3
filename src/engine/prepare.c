/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Preparing a pass: the folder is made or found and opened, both sides at once unless the source's was surveyed
 * before; flag changes are carried, moves are made, and what is at the target already is found.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

/* --- what is known --------------------------------------------------------------------------------- */

static int order_by_target(const void *a, const void *b)
{
    const struct mh_state_item *x = a;
    const struct mh_state_item *y = b;
    return x->dst_uid < y->dst_uid ? -1 : x->dst_uid > y->dst_uid;
}

/* When one side alone has been renumbered, the other's UIDs tell whose each message is, and what its flags were. */
static int keep_former(struct pass *pass, struct mh_err *err)
{
    bool at_source = pass->row.src_uidvalidity != pass->src_opened.uidvalidity;
    bool at_target = pass->row.dst_uidvalidity != pass->dst_opened.uidvalidity;
    if ((at_source && at_target) || pass->former.n > 0)
        return MH_OK;
    struct mh_state_items *f = &pass->former;
    int code = job_load_items(pass->job, pass->row.id, NULL, f, err);
    size_t n = 0;
    for (size_t i = 0; code == MH_OK && i < f->n; i++) {
        if (f->v[i].gone == MH_GONE_NOT && f->v[i].how != MH_HOW_REMOVED)
            f->v[n++] = f->v[i];
    }
    f->n = n;
    pass->former_by_target = at_source;
    if (at_source && n > 0)
        qsort(f->v, n, sizeof *f->v, order_by_target);
    return code;
}

/* What the state knows of the folder does not hold any more when a UIDVALIDITY is another one. */
static int check_uidvalidity(struct pass *pass, struct mh_err *err)
{
    struct mh_state_folder *row = &pass->row;
    if (!pass->row_is_known)
        return MH_OK;
    bool same = row->src_uidvalidity == pass->src_opened.uidvalidity &&
                row->dst_uidvalidity == pass->dst_opened.uidvalidity;
    if (same)
        return MH_OK;
    pass->row_is_known = false;
    row->target_uidnext = 0;
    row->complete = false;
    pass->is_broken_off = false; /* whatever it stored, it did so elsewhere */
    if (pass->job->run->cfg->dry_run)
        return MH_OK;
    result_item(&pass->job->res->notes, &pass->job->res->n_notes, &pass->job->res->cap_notes,
                pass->entry->source->path, 0, "folder", "uidvalidity-changed",
                "matched again by content");
    moves_forget(pass);
    int code = keep_former(pass, err);
    return code == MH_OK ? mh_state_clear_items(pass->job->run->cfg->state, row->id, err) : code;
}

int order_uids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* What SIBLING has in the target folder that both are carried into: from earlier runs and from this one. */
static int add_sibling(struct pass *pass, const struct pass *sibling, struct mh_err *err)
{
    int code = MH_OK;
    if (sibling->row_is_known && sibling->row.dst_uidvalidity == pass->dst_opened.uidvalidity)
        code = job_load_uids(pass->job, sibling->row.id, false, pass->window, &pass->known, err);
    for (size_t i = 0; code == MH_OK && i < sibling->n_todo; i++) {
        const struct todo *t = &sibling->todo[i];
        if (t->status == TODO_DONE && t->dst_uid >= pass->window)
            code = mh_uids_add(&pass->known, t->dst_uid, t->dst_uid, err);
    }
    return code;
}

/* The target UIDs from the window on that are accounted for. */
static int load_known(struct pass *pass, struct mh_err *err)
{
    int code = MH_OK;
    if (pass->row_is_known)
        code = job_load_uids(pass->job, pass->row.id, false, pass->window, &pass->known, err);
    for (struct pass *p = pass->sibling; code == MH_OK && p != pass; p = p->sibling)
        code = add_sibling(pass, p, err);
    mh_uids_finish(&pass->known);
    return code;
}

/* --- both sides ------------------------------------------------------------------------------------ */

/* Whether the last pass has come to its end is told by src_uidnext, which nobody else reads of a row
 * that is not complete. */
static bool is_begun(const struct mh_state_folder *row)
{
    return !row->complete && row->src_uidnext == 0;
}

int pass_write_row(struct pass *pass, enum row_mark mark, struct mh_err *err)
{
    struct mh_state_folder *row = &pass->row;
    bool complete = mark == ROW_COMPLETE;
    if (pass->job->run->cfg->dry_run)
        return MH_OK;
    row->complete = complete;
    row->src_uidvalidity = pass->src_opened.uidvalidity;
    row->dst_uidvalidity = pass->dst_opened.uidvalidity;
    row->src_uidnext = complete            ? pass->src_opened.uidnext
                       : mark == ROW_ENDED ? MH_MAX(pass->src_opened.uidnext, (uint64_t)1)
                                           : 0;
    row->src_messages = pass->src_opened.messages;
    row->src_highestmodseq = complete ? pass->src_opened.highestmodseq : 0;
    return mh_state_put_folder(pass->job->run->cfg->state, row, err);
}

static bool uids_ascend(const struct pass *pass)
{
    return (pass->job->tc->flags & MH_UIDS_ASCEND) != 0;
}

/* The row before anything of the pass. A folder that was made for it has its window at once. */
static int write_begun(struct pass *pass, struct mh_err *err)
{
    if (pass->has_begun)
        return MH_OK;
    if (!pass->is_judged)
        pass->is_broken_off = uids_ascend(pass) && pass->row_is_known &&
                              pass->row.target_uidnext > 0 && is_begun(&pass->row);
    pass->is_judged = true;
    if (pass->created && uids_ascend(pass))
        pass->row.target_uidnext = MH_MAX(pass->dst_opened.uidnext, (uint64_t)1);
    pass->has_begun = true;
    return pass_write_row(pass, ROW_BEGUN, err);
}

int pass_begin(struct pass *pass, struct mh_err *err)
{
    int code = write_begun(pass, err);
    return code == MH_OK ? mh_state_sync(pass->job->run->cfg->state, err) : code;
}

int pass_open_target(struct pass *pass, struct lane *lane, bool *moved_out, struct mh_err *err)
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
    int code = pass_open_source(pass, lane, &src_moved, err);
    if (code == MH_OK)
        code = pass_open_target(pass, lane, &dst_moved, err);
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
    bool ascend = uids_ascend(pass);
    bool trusted = pass->row.target_uidnext > 0;
    pass->window = ascend && trusted ? pass->row.target_uidnext : 1;
    if (pass->created) {
        pass->window = ascend ? MH_MAX(pass->dst_opened.uidnext, (uint64_t)1) : 1;
        return MH_OK;
    }
    bool maybe = pass_has_work(pass) && pass->dst_opened.messages > 0 &&
                 (!ascend || pass->dst_opened.uidnext > pass->window);
    int code = load_known(pass, err);
    return code == MH_OK && maybe ? match_window(pass, lane, pass->window, false, err) : code;
}

/* What lies at the target is accounted for: ours begins behind it. That is on record before the
 * first message leaves, so that a run that breaks off leaves behind where its window began. */
static int record_window(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    uint64_t from = MH_MAX(pass->window, pass->dst_opened.uidnext);
    bool is_open = false;
    for (size_t i = 0; i < pass->n_todo && !is_open; i++)
        is_open = pass->todo[i].status == TODO_OPEN;
    if (!is_open)
        return MH_OK;
    if (uids_ascend(pass) && pass_saw_all(pass) && pass->dst_opened.uidnext > 0 &&
        from != pass->row.target_uidnext) {
        /* The rows of what was found, ahead of the word that it was. */
        int code = lane_push_rows(lane, true, err);
        pass->window = pass->row.target_uidnext = from;
        if (code == MH_OK)
            code = pass_write_row(pass, ROW_BEGUN, err);
        if (code != MH_OK)
            return code;
    }
    return mh_state_sync(pass->job->run->cfg->state, err);
}

/* The source's half of the preparation, in a task of its own: the target's goes on beside it, because each
 * step of either is a round trip. */
typedef int source_half_fn(struct pass *pass, struct lane *lane, struct mh_err *err);

struct source_half {
    struct pass *pass;
    struct lane *lane;
    source_half_fn *half;
    struct mh_err err;
    int code;
};

static void do_source_half(void *arg)
{
    struct source_half *h = arg;
    mh_err_reset(&h->err);
    h->code = h->half(h->pass, h->lane, &h->err);
}

/* The folder was surveyed, and others after it. */
static int reopen_source(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool moved = false;
    int code = pass_open_source(pass, lane, &moved, err);
    if (code == MH_OK && moved)
        return mh_err_set(err, MH_ERETRY, "engine",
                          "the folder is another one since it was listed");
    return code;
}

static int make_and_open_target(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool moved = false;
    int code = around_make(pass, lane->dst, err);
    return code == MH_OK ? pass_open_target(pass, lane, &moved, err) : code;
}

static int open_both_sides(struct pass *pass, struct lane *lane, source_half_fn *half,
                           struct mh_err *err)
{
    struct source_half source = {.pass = pass, .lane = lane, .half = half};
    int code = mh_task_spawn(pass->job->sched, "source-half", do_source_half, &source,
                             &lane->side_task, err);
    if (code != MH_OK)
        return code;
    code = make_and_open_target(pass, lane, err);
    if (code == MH_ECANCEL)
        mh_task_cancel(lane->side_task);
    mh_task_join(lane->side_task);
    lane->side_task = NULL;
    if (code == MH_OK && source.code != MH_OK) {
        *err = source.err;
        code = source.code;
    }
    return code;
}

static void prepare_anew(struct pass *pass)
{
    struct mh_counts *c = &pass->res->counts;
    c->adopted = c->unchanged = c->moved = 0;
    pass_forget(pass);
}

/* The target's folder is open behind it. */
static int move_and_open(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool is_other = false; /* looked at by the caller */
    int code = moves_carry(pass, lane, err);
    return code == MH_OK ? pass_open_target(pass, lane, &is_other, err) : code;
}

/* Everything in one go: the folder was not surveyed before. */
static int prepare_all(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    int code = open_both_sides(pass, lane, survey_source, err);
    if (code == MH_OK)
        code = check_uidvalidity(pass, err);
    if (code != MH_OK)
        return code;
    if (pass->is_partial && !pass->row_is_known) {
        /* What has changed says nothing when what was there is not known any more. */
        prepare_anew(pass);
        return prepare_all(pass, lane, err);
    }
    code = survey_compare(pass, err);
    /* What has moved is moved, also when the folder is prepared for the second time. */
    if (code == MH_OK && pass->job->n_movable > 0)
        code = move_and_open(pass, lane, err);
    return code;
}

/* Nothing at the target has to be touched. */
static bool is_idle(const struct pass *pass)
{
    return pass->is_surveyed && pass->n_todo == 0 && pass->changes.n == 0 && pass->row_is_known;
}

/* The target's half; what was surveyed holds unless the target's folder is another one. */
static int prepare_target(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool is_other = false; /* looked at below */
    int code = MH_OK;
    if (pass->n_todo > 0 && pass->job->n_movable == 0) {
        code = open_both_sides(pass, lane, reopen_source, err);
    } else {
        if (pass->n_todo > 0)
            code = reopen_source(pass, lane, err);
        if (code == MH_OK)
            code = around_make(pass, lane->dst, err);
        if (code == MH_OK)
            code = moves_carry(pass, lane, err);
        if (code == MH_OK)
            code = pass_open_target(pass, lane, &is_other, err);
    }
    if (code != MH_OK || !pass->row_is_known ||
        pass->row.dst_uidvalidity == pass->dst_opened.uidvalidity)
        return code;
    prepare_anew(pass);
    return prepare_all(pass, lane, err);
}

static void add_progress(struct pass *pass)
{
    struct mh_progress *p = pass->job->mb->progress;
    uint64_t bytes = 0;
    for (size_t i = 0; i < pass->n_todo; i++)
        bytes += pass->scan.items[pass->todo[i].item].size;
    pass->todo_octets = bytes;
    if (!p)
        return;
    atomic_fetch_add_explicit(&p->found, pass->n_found, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->found_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->adopted, pass->res->counts.unchanged, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->unchanged, pass->res->counts.unchanged, memory_order_relaxed);
}

/* What was found, and what of it earlier runs have dealt with. */
static void count_found(struct pass *pass)
{
    struct mh_counts *c = &pass->res->counts;
    if (pass->job->run->cfg->retry_failed)
        pass->n_found = c->adopted + pass->n_todo;
    c->found = pass->n_found;
    if (pass->is_partial && !pass->job->run->cfg->retry_failed) {
        uint64_t others = count_left_out(pass->job, pass);
        for (size_t i = 0; i < pass->n_todo; i++)
            others += pass->todo[i].status != TODO_DONE || pass->todo[i].dst_uid != 0;
        c->unchanged = c->found > others ? c->found - others : 0;
        c->adopted += c->unchanged;
    }
    add_progress(pass);
}

/* What is decided anew goes from the ledger, and what is gone. */
static int forget_ledger(struct pass *pass, struct mh_err *err)
{
    struct job *job = pass->job;
    struct mh_state *st = job->run->cfg->state;
    int code = MH_OK;
    if (job->run->cfg->dry_run)
        return MH_OK;
    if (pass->is_partial)
        return forget_left_out(pass, err);
    if (!job->run->cfg->retry_failed)
        return mh_state_clear_ledger(st, pass->row.id, err);
    for (size_t i = 0; code == MH_OK && i < pass->n_todo; i++)
        code = mh_state_clear_ledger_item(st, pass->row.id,
                                          pass->scan.items[pass->todo[i].item].uid, err);
    return code;
}

static int skip_all(struct pass *pass)
{
    for (size_t i = 0; i < pass->n_todo; i++) {
        if (pass->todo[i].status == TODO_OPEN)
            pass_close_item(pass, (uint32_t)i, "skipped", "dry-run", "");
    }
    pass->next = pass->n_todo;
    return MH_OK;
}

/* Those that are noted so far. */
static int store_changes(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    if (pass->changes.n == 0)
        return MH_OK;
    int code = flags_store(pass, lane, err);
    pass->has_stored = true; /* or the connection was lost, and who knows */
    pass->changes.n = 0;
    return code;
}

/*
 * The attempt before was lost with its connection. What it has written (moves, flags, matches) is
 * read now: it must be there, or the survey would not know what the look into the window knows, and
 * a message be carried twice. Where messages may be moved here the folder is surveyed again before
 * it is prepared, as all are in a delta.
 */
static int look_again(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct job *job = pass->job;
    int code = job->run->cfg->dry_run ? MH_OK : mh_state_sync(job->run->cfg->state, err);
    if (code == MH_OK && job->n_movable > 0 && !pass->is_surveyed)
        code = pass_survey(pass, lane, err);
    return code;
}

int pass_prepare(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct job *job = pass->job;
    bool dry = job->run->cfg->dry_run;
    int again = pass->is_restarted ? look_again(pass, lane, err) : MH_OK;
    if (again != MH_OK)
        return again;
    if (is_idle(pass)) {
        pass->dst_opened.uidvalidity = pass->row.dst_uidvalidity; /* as it was listed */
        int idle = forget_ledger(pass, err);
        count_found(pass);
        if (idle != MH_OK)
            return idle;
        pass_enter(pass, PASS_COPYING); /* of nothing: what is left is the end */
        return MH_OK;
    }
    int code = pass->is_surveyed ? prepare_target(pass, lane, err) : prepare_all(pass, lane, err);
    if (code == MH_OK)
        code = around_apply(pass, lane->dst, &pass->around, err);
    if (code == MH_OK)
        code = pass->changes.n > 0 ? pass_begin(pass, err) : write_begun(pass, err);
    if (code == MH_OK)
        code = forget_ledger(pass, err);
    if (code == MH_OK)
        code = flags_map_keywords(pass, err);
    if (code == MH_OK)
        code = store_changes(pass, lane, err);
    if (code != MH_OK)
        return code;
    count_found(pass);
    if (dry)
        return skip_all(pass);
    if (!job->tc->caps(lane->dst)->uidplus || pass->unplaced) {
        pass->digests = mh_zalloc(pass->n_todo * sizeof *pass->digests);
        if (!pass->digests)
            return mh_err_nomem(err);
        for (size_t i = 0; pass->unplaced && i < pass->n_todo; i++)
            pass->digests[i] = pass->unplaced[i].digest;
    }
    code = look_into_window(pass, lane, err);
    if (code == MH_OK)
        code = store_changes(pass, lane, err);
    if (code != MH_OK)
        return code;
    moves_close_orphans(pass);
    code = record_window(pass, lane, err);
    if (code != MH_OK)
        return code;
    pass_enter(pass, PASS_COPYING);
    return MH_OK;
}
