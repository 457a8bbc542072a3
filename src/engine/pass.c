/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A pass over one folder: the todo list that lanes work off, verdicts, the row that says how far we got. */
#include <stdio.h>
#include <string.h>

#include "engine/engine_priv.h"

enum {
    CHUNK_BATCHES = 4,       /* so soon a lane asks whether it is still wanted */
    CHUNK_SINGLES_MIN = 16,  /* without batches: less is not worth a FETCH */
    CHUNK_SINGLES_MAX = 256, /* likewise CHUNK_BATCHES */
};

/* --- handing out work -------------------------------------------------------------------------------------------- */

bool pass_has_work(const struct pass *pass)
{
    return pass->again || pass->next < pass->n_todo;
}

size_t pass_left(const struct pass *pass)
{
    return pass->n_todo - pass->next;
}

/* Messages of a folder that waits to be taken up. */
static uint64_t waiting_messages(const struct pass *pass)
{
    if (pass->phase == PASS_SURVEYED && pass->is_surveyed)
        return pass->n_todo;
    bool waits = pass->phase == PASS_WAITING || pass->phase == PASS_SURVEYED;
    return waits ? pass->entry->source->messages : 0;
}

void pass_enter(struct pass *pass, enum pass_phase phase)
{
    struct job *job = pass->job;
    job->n_in_phase[pass->phase]--;
    job->waiting_messages -= waiting_messages(pass);
    pass->phase = phase;
    job->n_in_phase[phase]++;
    job->waiting_messages += waiting_messages(pass);
    if (phase == PASS_WAITING)
        job->first_unsurveyed = MH_MIN(job->first_unsurveyed, (size_t)(pass - job->passes));
    if (phase == PASS_WAITING || phase == PASS_SURVEYED)
        job->first_waiting = MH_MIN(job->first_waiting, (size_t)(pass - job->passes));
}

bool pass_must_wait(const struct pass *pass)
{
    for (const struct pass *p = pass->sibling; p != pass; p = p->sibling) {
        if (p->phase == PASS_PREPARING || p->phase == PASS_COPYING)
            return true;
    }
    return false;
}

int pass_give_back(struct pass *pass, uint32_t first, uint32_t n, bool alone, struct mh_err *err)
{
    struct group *g = mh_alloc(sizeof *g);
    if (!g)
        return mh_err_nomem(err);
    *g = (struct group){.next = pass->again, .first = first, .n = n, .alone = alone};
    pass->again = g;
    return MH_OK;
}

/* Announced at more than twice of what the target takes: not even a lie about the size brings that below the
 * limit, so it is not fetched to be thrown away. Closer to the limit the literal's count decides. */
static bool close_hopeless(struct pass *pass, uint32_t todo)
{
    const struct job *job = pass->job;
    uint64_t octets = pass->scan.items[pass->todo[todo].item].size;
    char text[128];
    char size[32];
    char limit[32];
    if (!job->max_message || octets / 2 <= job->max_message || job->run->cfg->oversize_dir)
        return false;
    (void)mh_format_size(octets, size, sizeof size);
    (void)mh_format_size(job->max_message, limit, sizeof limit);
    (void)snprintf(text, sizeof text, "%s; the target takes at most %s", size, limit);
    pass_close_item(pass, todo, "skipped", "too-big", text);
    return true;
}

static void fill_chunk(struct pass *pass, struct lane *lane, uint32_t first, uint32_t end,
                       uint32_t *next_out)
{
    uint64_t bytes = 0;
    uint32_t t = first;
    lane->n_chunk = 0;
    for (; t < end && lane->n_chunk < CHUNK_ITEMS && bytes < CHUNK_BYTES; t++) {
        if (pass->todo[t].status != TODO_OPEN || close_hopeless(pass, t))
            continue;
        pass->todo[t].status = TODO_TAKEN;
        pass->todo[t].owner = (uint8_t)lane->number;
        lane->chunk[lane->n_chunk] = &pass->scan.items[pass->todo[t].item];
        lane->chunk_todo[lane->n_chunk++] = t;
        bytes += pass->scan.items[pass->todo[t].item].size;
    }
    *next_out = t;
}

/* How many of what was never handed out LANE takes: a share, so that all lanes come to the end together, in whole
 * batches, because a batch never spans chunks and each costs the target a sync. */
static size_t chunk_share(const struct pass *pass, const struct lane *lane, unsigned batch)
{
    size_t left = pass_left(pass);
    size_t share = left / (pass->lanes + 1);
    if (!pass->job->tc->caps(lane->dst)->multiappend)
        return MH_MIN(MH_MIN(MH_MAX(share, (size_t)CHUNK_SINGLES_MIN), (size_t)CHUNK_SINGLES_MAX),
                      left);
    size_t most = MH_MIN((size_t)CHUNK_BATCHES, (size_t)CHUNK_ITEMS / batch);
    size_t whole = MH_MIN(share / batch + 1, most) * batch;
    return left < whole + batch / 2 ? left : whole;
}

bool pass_take_chunk(struct pass *pass, struct lane *lane)
{
    struct tuned now = tuner_now(pass->job->tuner);
    uint32_t next = 0;
    lane->n_chunk = 0;
    while (pass->again && lane->n_chunk == 0) {
        struct group *g = pass->again;
        lane->is_alone = g->alone;
        lane->batch_limit = g->alone ? MH_MAX(g->n, 1u) : now.batch;
        fill_chunk(pass, lane, g->first, g->first + g->n, &next);
        g->n -= next - g->first;
        g->first = next;
        if (g->n == 0) {
            pass->again = g->next;
            mh_free(g);
        }
    }
    while (pass->next < pass->n_todo && lane->n_chunk == 0) {
        size_t end = pass->next + chunk_share(pass, lane, now.batch);
        lane->is_alone = false;
        lane->batch_limit = now.batch;
        fill_chunk(pass, lane, (uint32_t)pass->next, (uint32_t)end, &next);
        pass->next = next;
    }
    return lane->n_chunk > 0;
}

/* --- verdicts ------------------------------------------------------------------------------------------------------- */

void pass_close_item(struct pass *pass, uint32_t todo, const char *state, const char *reason,
                     const char *text)
{
    struct job *job = pass->job;
    const struct mh_item *item = &pass->scan.items[pass->todo[todo].item];
    struct mh_progress *p = job->mb->progress;
    bool failed = strcmp(state, "failed") == 0;
    pass->todo[todo].status = TODO_CLOSED;
    if (failed) {
        pass->res->counts.failed++;
        pass->has_failed = true;
    } else {
        pass->res->counts.skipped++;
    }
    if (p)
        atomic_fetch_add_explicit(failed ? &p->failed : &p->skipped, 1, memory_order_relaxed);
    reasons_add(failed ? &job->res->failed : &job->res->skipped, reason, 1);
    result_item(&job->res->items, &job->res->n_items, &job->res->cap_items,
                pass->entry->source->path, item->uid, failed ? "failed" : "skipped", reason, text);
    struct mh_ledger_row row = {.folder = pass->row.id,
                                .src_uid = item->uid,
                                .state = state,
                                .reason = reason,
                                .text = text};
    struct mh_err err;
    if (!job->run->cfg->dry_run && mh_state_put_ledger(job->run->cfg->state, &row, &err) != MH_OK)
        run_fatal(job->run, &err);
    struct mh_event ev = {.kind = MH_EV_ITEM,
                          .folder = pass->entry->source->path,
                          .uid = item->uid,
                          .state = state,
                          .reason = reason,
                          .text = text};
    job_event(job, &ev);
}

void pass_item_done(struct pass *pass, struct lane *lane, uint32_t todo, uint64_t dst_uid,
                    uint64_t octets, const struct mh_digest *digest, enum mh_how how, bool is_sent)
{
    struct mh_progress *p = pass->job->mb->progress;
    struct mh_counts *c = &pass->res->counts;
    const struct mh_item *item = &pass->scan.items[pass->todo[todo].item];
    uint64_t bytes = is_sent ? octets : 0;
    mh_assert(pass->todo[todo].status != TODO_DONE);
    pass->todo[todo].status = TODO_DONE;
    pass->todo[todo].dst_uid = dst_uid;
    pass->todo[todo].octets = octets;
    pass->todo[todo].is_new = is_sent;
    if (pass->digests)
        pass->digests[todo] = *digest;
    c->copied += how == MH_HOW_COPIED;
    c->adopted += how != MH_HOW_COPIED;
    c->moved += how == MH_HOW_MOVED;
    c->bytes += bytes;
    if (p) {
        atomic_fetch_add_explicit(how == MH_HOW_COPIED ? &p->copied : &p->adopted, 1,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&p->bytes, bytes, memory_order_relaxed);
    }
    struct mh_state_item *row = lane_row(lane);
    if (!row) {
        struct mh_err err;
        (void)mh_err_nomem(&err);
        run_fatal(pass->job->run, &err);
        return;
    }
    *row = (struct mh_state_item){.src_uid = item->uid,
                                  .dst_uid = dst_uid,
                                  .size = octets,
                                  .date = item->date,
                                  .kw = pass->kw_ids[item->kwset],
                                  .flags = item->flags,
                                  .how = (uint8_t)how,
                                  .object_id = item->object_id,
                                  .has_digest = true,
                                  .digest = *digest};
}

/* --- the end ------------------------------------------------------------------------------------------------------------ */

static size_t count_status(const struct pass *pass, enum todo_status status)
{
    size_t n = 0;
    for (size_t i = 0; i < pass->n_todo; i++)
        n += pass->todo[i].status == status;
    return n;
}

/* Without UIDPLUS: the new UIDs are found in the window once everything has been answered. */
static int find_uids(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool wanted = false;
    for (size_t i = 0; i < pass->n_todo && !wanted; i++)
        wanted = pass->todo[i].status == TODO_DONE && pass->todo[i].dst_uid == 0;
    return wanted ? match_uids(pass, lane, err) : MH_OK;
}

/* Everything stored has its UID: where these are not told, they have been found. */
static bool is_placed(const struct pass *pass)
{
    for (size_t i = 0; i < pass->n_todo; i++) {
        if (pass->todo[i].status == TODO_DONE && pass->todo[i].dst_uid == 0)
            return false;
    }
    return true;
}

/* The target UID below which everything is now accounted for. */
static uint64_t accounted_uidnext(const struct pass *pass)
{
    uint64_t next =
        MH_MAX(pass->row.target_uidnext, MH_MAX(pass->window, pass->dst_opened.uidnext));
    for (size_t i = 0; i < pass->n_todo; i++) {
        if (pass->todo[i].status == TODO_DONE && pass->todo[i].dst_uid >= next)
            next = pass->todo[i].dst_uid + 1;
    }
    return next;
}

/* Everything is answered for: what is left to be learnt of it from the target. */
static int ask_rest(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    if (!lane->dst) /* closed behind a fault */
        return mh_err_set(err, MH_ERETRY, "engine", "the connection was lost");
    int code = find_uids(pass, lane, err);
    return code == MH_OK ? look_back(pass, lane, false, err) : code;
}

static bool is_going_well(const struct pass *pass)
{
    const struct job *job = pass->job;
    return pass->res->err.code == MH_OK && job->stop_err.code == MH_OK &&
           !run_is_stopping(job->run);
}

/* A lost connection is no verdict over a folder that was carried: asked again over new ones, with
 * the same patience as for everything else. */
static int ask_patiently(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    int code = ask_rest(pass, lane, err);
    bool was_lost = false;
    while (is_passing(code) && is_going_well(pass)) {
        struct mh_err why = *err;
        was_lost = true;
        if (lane->src || lane->dst)
            lane_close(lane);
        code = job_pause(pass->job, &why, err);
        if (code == MH_OK)
            code = lane_sessions(lane, err);
        if (code == MH_OK)
            code = pass_open(pass, lane, err);
        if (code == MH_OK)
            code = ask_rest(pass, lane, err);
    }
    if (was_lost && code == MH_OK)
        job_moving(pass->job);
    return code;
}

bool pass_saw_all(const struct pass *pass)
{
    return !(pass->job->run->cfg->retry_failed && pass->flag_later);
}

bool pass_may_have_stored(const struct pass *pass)
{
    return pass->job->broken_off_wall_s != 0 || pass->is_broken_off || pass->has_stored;
}

/* The row's word on a pass that is over. */
static int write_ended(struct pass *pass, struct lane *lane, bool is_decided, struct mh_err *err)
{
    bool saw_all = pass_saw_all(pass);
    bool complete = is_decided && !pass->has_failed && !pass->flag_later;
    bool has_gone = pass->n_gone > 0 || pass->gone.n > 0;
    pass->will_be_complete = complete && has_gone; /* once it is settled what becomes of those */
    if ((pass->job->tc->flags & MH_UIDS_ASCEND) && saw_all)
        pass->row.target_uidnext = accounted_uidnext(pass);
    int code = lane_push_rows(lane, true, err);
    if (code != MH_OK)
        return code;
    if (complete && !has_gone)
        return pass_write_row(pass, ROW_COMPLETE, err);
    return pass_write_row(pass, saw_all || !pass->is_broken_off ? ROW_ENDED : ROW_BEGUN, err);
}

void pass_finish(struct pass *pass, struct lane *lane)
{
    struct job *job = pass->job;
    struct mh_err err;
    mh_err_reset(&err);
    bool is_carried = pass->phase == PASS_COPYING;
    bool asks = is_carried && pass->n_todo > 0 && (lane->dst || is_going_well(pass));
    int code = asks ? ask_patiently(pass, lane, &err) : MH_OK;
    bool is_decided =
        count_status(pass, TODO_DONE) + count_status(pass, TODO_CLOSED) == pass->n_todo;
    /* A stop that waited for the answers has left nothing open at the target either. */
    bool is_stopped = run_is_stopping(job->run) && pass->n_unknown == 0 && is_placed(pass);
    if (is_carried && code == MH_OK && (is_decided || is_stopped))
        code = write_ended(pass, lane, is_decided, &err);
    struct mh_err push_err;
    if (lane_push_rows(lane, true, &push_err) != MH_OK &&
        code == MH_OK) { /* the lane goes on elsewhere */
        err = push_err;
        code = push_err.code;
    }
    if (code != MH_OK && pass->res->err.code == MH_OK)
        pass->res->err = err;
    bool ends_all = code != MH_OK && code != MH_ECANCEL && code != MH_EFOLDER && code != MH_EITEM &&
                    code != MH_ENOENT && code != MH_ENOSUP;
    if (ends_all && !is_passing(code) && job->stop_err.code == MH_OK)
        job->stop_err = err;
    pass_enter(pass, PASS_ENDED);
}

void pass_forget(struct pass *pass)
{
    while (pass->again) {
        struct group *g = pass->again;
        pass->again = g->next;
        mh_free(g);
    }
    for (size_t k = 0; pass->kw_texts && pass->kw_texts[k]; k++)
        mh_free(pass->kw_texts[k]);
    mh_free(mh_take(pass->kw_texts));
    mh_free(mh_take(pass->kw_ids));
    pass->n_kw_ids = pass->cap_kw_ids = 0;
    mh_buf_done(&pass->kw_new);
    pass->n_kw_new = 0;
    mh_free(mh_take(pass->todo));
    pass->cap_todo = 0;
    mh_free(mh_take(pass->digests));
    mh_free(mh_take(pass->unplaced));
    mh_free(mh_take(pass->changes.v));
    mh_free(mh_take(pass->gone.v));
    mh_uids_done(&pass->known);
    mh_uids_done(&pass->vanished);
    around_done(&pass->around);
    mh_scan_done(&pass->scan);
    pass->scan = (struct mh_scan){0};
    pass->compared = (struct comparison){0};
    pass->changes = (struct flag_changes){0};
    pass->gone = (struct gone_list){0};
    pass->gone_by = MH_GONE_NONE;
    pass->is_partial = pass->is_surveyed = false;
    pass->has_begun = false;
    pass->n_found = 0;
    pass->n_todo = pass->next = pass->n_unknown = 0;
}

void pass_restart(struct pass *pass)
{
    struct mh_progress *p = pass->job->mb->progress;
    struct mh_counts *c = &pass->res->counts;
    if (c->found == 0) /* what comparing has counted was told nobody yet; moves were */
        *c = (struct mh_counts){.adopted = c->moved, .updated = c->updated};
    if (p) {
        atomic_fetch_sub_explicit(&p->found, c->found, memory_order_relaxed);
        atomic_fetch_sub_explicit(&p->adopted, c->adopted, memory_order_relaxed);
        atomic_fetch_sub_explicit(&p->unchanged, c->unchanged, memory_order_relaxed);
        atomic_fetch_sub_explicit(&p->copied, c->copied, memory_order_relaxed);
        atomic_fetch_sub_explicit(&p->bytes, c->bytes, memory_order_relaxed);
        atomic_fetch_sub_explicit(&p->skipped, c->skipped, memory_order_relaxed);
        atomic_fetch_sub_explicit(&p->failed, c->failed, memory_order_relaxed);
    }
    result_forget(pass->job->res, pass->entry->source->path);
    /* Flags that were set stay set; the state knows which. */
    uint64_t updated = c->updated;
    *c = (struct mh_counts){.updated = updated};
    pass_forget(pass);
    pass->is_restarted |= pass->phase == PASS_PREPARING;
    pass->row_is_known = pass->row_is_known || pass->row.dst_uidvalidity != 0;
    pass_enter(pass, PASS_WAITING);
}

void pass_done(struct pass *pass)
{
    pass_forget(pass);
    mh_state_items_done(&pass->former);
    mh_free(mh_take(pass->dst.path));
    mh_free(mh_take(pass->dst.native));
    mh_free(mh_take(pass->row.src_path));
    mh_free(mh_take(pass->row.dst_path));
    mh_free(mh_take(pass->row.dst_native));
}
