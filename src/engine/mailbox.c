/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One mailbox from beginning to end: connect, list, map, decide what has changed, let lanes work, account. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

/* --- what earlier passes left out ------------------------------------------------------------------ */

static int on_ledger_row(void *ctx, const char *src_path, const struct mh_ledger_row *row)
{
    struct old_skips *s = ctx;
    (void)src_path;
    if (!mh_grow(s->v, s->cap, s->n + 1)) {
        s->failed = true;
        return 1;
    }
    s->v[s->n++] = (struct old_skip){.folder = row->folder,
                                     .reason = mh_strdup(row->reason),
                                     .text = mh_strdup(row->text),
                                     .uid = row->src_uid,
                                     .has_failed = strcmp(row->state, "failed") == 0};
    return 0;
}

static int order_skips(const void *a, const void *b)
{
    const struct old_skip *x = a;
    const struct old_skip *y = b;
    if (x->folder != y->folder)
        return x->folder < y->folder ? -1 : 1;
    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static void old_skips_free(struct old_skips *s)
{
    for (size_t i = 0; s && i < s->n; i++) {
        mh_free(s->v[i].reason);
        mh_free(s->v[i].text);
    }
    if (s)
        mh_free(s->v);
    mh_free(s);
}

struct load_state {
    struct job *job;
    struct mh_err err;
    int code;
};

/* In a worker thread: the mailbox's rows. */
static void load_state(void *arg)
{
    struct load_state *l = arg;
    struct job *job = l->job;
    struct mh_state *st = job->run->cfg->state;
    char *src = mh_endpoint_format(job->mb->source);
    char *dst = mh_endpoint_format(job->mb->target);
    l->code = src && dst ? mh_state_mailbox(st, job->mb->id, src, dst, &job->state_id, &l->err)
                         : mh_err_nomem(&l->err);
    if (l->code == MH_OK)
        l->code = mh_state_folders(st, job->state_id, &job->rows, &l->err);
    if (l->code == MH_OK)
        l->code = mh_state_broken_off(st, job->state_id, &job->broken_off_wall_s, &l->err);
    if (l->code == MH_OK)
        l->code = mh_state_ledger(st, job->state_id, on_ledger_row, job->skips, &l->err);
    if (l->code == MH_OK && job->skips->failed)
        l->code = mh_err_nomem(&l->err);
    if (job->skips->n)
        qsort(job->skips->v, job->skips->n, sizeof *job->skips->v, order_skips);
    mh_free(src);
    mh_free(dst);
}

static int read_state(struct job *job, struct mh_err *err)
{
    struct load_state l = {.job = job};
    /* What the pass before has handed over is read now: it must be there. */
    int code = job->run->cfg->dry_run ? MH_OK : mh_state_sync(job->run->cfg->state, err);
    if (code != MH_OK)
        return code;
    job->skips = mh_zalloc(sizeof *job->skips);
    if (!job->skips)
        return mh_err_nomem(err);
    mh_offload(load_state, &l);
    if (l.code != MH_OK)
        *err = l.err;
    return l.code;
}

/* --- passes ---------------------------------------------------------------------------------------------- */

/* True when both servers say that nothing happened in the folder since the last complete pass. */
static bool is_unchanged(const struct job *job, const struct pass *pass)
{
    const struct mh_folder *src = pass->entry->source;
    const struct mh_state_folder *row = &pass->row;
    const struct mh_folder *dst = mh_folders_find(&job->dst_folders, pass->entry->target_path);
    if (!dst && row->dst_path)
        dst = mh_folders_find(&job->dst_folders, row->dst_path);
    return pass->row_is_known && row->complete && (src->attrs & MH_FOLDER_HAS_STATUS) && dst &&
           (dst->attrs & MH_FOLDER_HAS_STATUS) && row->src_uidvalidity == src->uidvalidity &&
           row->src_uidnext == src->uidnext && row->src_messages == src->messages &&
           src->highestmodseq != 0 && row->src_highestmodseq == src->highestmodseq &&
           row->dst_uidvalidity == dst->uidvalidity;
}

/* Accounts for a folder in which nothing happened: what was carried is there, what was left out still is. */
static void count_unchanged(struct job *job, struct pass *pass)
{
    struct mh_counts *c = &pass->res->counts;
    c->found = pass->entry->source->messages;
    uint64_t left_out = count_left_out(job, pass);
    c->unchanged = c->adopted = c->found > left_out ? c->found - left_out : 0;
    struct mh_progress *p = job->mb->progress;
    if (p) {
        atomic_fetch_add_explicit(&p->found, c->found, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->adopted, c->adopted, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->unchanged, c->unchanged, memory_order_relaxed);
    }
    pass->phase = PASS_ENDED;
}

static int fill_row(struct job *job, struct pass *pass, struct mh_err *err)
{
    const struct mh_state_folder *row = job_row(job, pass->entry->source->path);
    pass->row_is_known = row != NULL;
    if (row) {
        pass->row = *row;
        pass->row.dst_path = row->dst_path ? mh_strdup(row->dst_path) : NULL;
        pass->row.dst_native = row->dst_native ? mh_strdup(row->dst_native) : NULL;
    } else {
        pass->row.id = mh_state_new_folder_id(job->run->cfg->state);
        pass->row.mailbox = job->state_id;
    }
    pass->row.src_object_id = pass->entry->source->object_id;
    pass->row.src_path = mh_strdup(pass->entry->source->path);
    return pass->row.src_path ? MH_OK : mh_err_nomem(err);
}

/* A folder that the mapping leaves out: its messages are skipped by name. */
static void skip_folder(struct job *job, const struct mh_engine_map_entry *e,
                        struct mh_folder_result *res)
{
    res->counts.found = res->counts.skipped = e->source->messages;
    if (job->mb->progress) {
        atomic_fetch_add_explicit(&job->mb->progress->found, e->source->messages,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&job->mb->progress->skipped, e->source->messages,
                                  memory_order_relaxed);
    }
    if (e->source->messages)
        reasons_add(&job->res->skipped, e->why, e->source->messages);
    result_item(&job->res->notes, &job->res->n_notes, &job->res->cap_notes, e->source->path, 0,
                "folder", e->why, "not carried");
}

/* Largest first: a large folder that is begun last keeps everybody waiting. */
static int order_by_size(const void *a, const void *b)
{
    uint64_t x = ((const struct pass *)a)->entry->source->messages;
    uint64_t y = ((const struct pass *)b)->entry->source->messages;
    return x > y ? -1 : x < y;
}

static int order_by_target(const void *a, const void *b)
{
    const struct pass *x = *(const struct pass *const *)a;
    const struct pass *y = *(const struct pass *const *)b;
    return strcmp(x->entry->target_path, y->entry->target_path);
}

/* Folders that a rule folds into one target folder know of each other: a ring of siblings. */
static int make_rings(struct job *job, struct mh_err *err)
{
    struct pass **v = mh_alloc(job->n_passes * sizeof(struct pass *));
    if (!v)
        return mh_err_nomem(err);
    for (size_t i = 0; i < job->n_passes; i++) {
        v[i] = &job->passes[i];
        v[i]->sibling = v[i];
    }
    qsort(v, job->n_passes, sizeof(struct pass *), order_by_target);
    for (size_t i = 1; i < job->n_passes; i++) {
        if (order_by_target(&v[i - 1], &v[i]) != 0)
            continue;
        v[i]->sibling = v[i - 1]->sibling;
        v[i - 1]->sibling = v[i];
    }
    mh_free(v);
    return MH_OK;
}

/* The passes in the order in which they are taken up, and how many are in each phase. */
static int order_passes(struct job *job, struct mh_err *err)
{
    qsort(job->passes, job->n_passes, sizeof *job->passes, order_by_size);
    for (size_t i = 0; i < job->n_passes; i++) {
        struct pass *pass = &job->passes[i];
        job->n_in_phase[pass->phase]++;
        if (pass->phase == PASS_WAITING)
            job->waiting_messages += pass->entry->source->messages;
        /* A delta: something can have moved from or to a folder that was complete. */
        job->is_surveying |= pass->row_is_known && pass->row.complete;
    }
    job->is_surveying = job->is_surveying && job->n_in_phase[PASS_WAITING] > 0;
    return make_rings(job, err);
}

static int make_passes(struct job *job, struct mh_err *err)
{
    struct mh_mailbox_result *res = job->res;
    job->passes = mh_zalloc(job->map.n * sizeof *job->passes);
    res->folders = mh_zalloc((job->map.n + job->rows.n) * sizeof *res->folders); /* lost ones too */
    if (!job->passes || !res->folders)
        return mh_err_nomem(err);
    for (size_t i = 0; i < job->map.n; i++) {
        const struct mh_engine_map_entry *e = &job->map.v[i];
        struct mh_folder_result *fr = &res->folders[res->n_folders];
        if (e->source->attrs & MH_FOLDER_NOSELECT)
            continue; /* a name without messages; made as a parent where it is one */
        const struct mh_state_folder *known = job_row(job, e->source->path);
        if (job->run->cfg->retry_failed && !(known && has_failed_before(job, known->id)))
            continue;
        fr->source = mh_strdup(e->source->path);
        fr->target = e->target_path ? mh_strdup(e->target_path) : NULL;
        fr->why = e->why;
        res->n_folders++;
        if (!fr->source || (e->target_path && !fr->target))
            return mh_err_nomem(err);
        if (e->note)
            result_item(&res->notes, &res->n_notes, &res->cap_notes, e->source->path, 0, "folder",
                        "mapping", e->note);
        if (!e->target_path) {
            skip_folder(job, e, fr);
            continue;
        }
        struct pass *pass = &job->passes[job->n_passes++];
        *pass = (struct pass){.job = job, .entry = e, .res = fr};
        int code = fill_row(job, pass, err);
        if (code != MH_OK)
            return code;
        if (is_unchanged(job, pass))
            count_unchanged(job, pass);
    }
    if (job->mb->progress)
        atomic_store_explicit(&job->mb->progress->folders, job->n_passes, memory_order_relaxed);
    return order_passes(job, err);
}

/* --- the work ------------------------------------------------------------------------------------------------ */

/* The limit that is known before anything is sent: what the admin says, else what the server announces. */
static uint64_t message_limit(struct job *job, struct mh_session *dst)
{
    uint64_t own =
        job->mb->target->max_message ? job->mb->target->max_message : job->run->cfg->max_message;
    uint64_t announced = job->tc->caps(dst)->append_limit;
    if (own && announced)
        return MH_MIN(own, announced);
    return own ? own : announced;
}

/* After a run that was killed a moment ago the target may still be storing what that had sent. */
static int let_settle(struct job *job, struct mh_err *err)
{
    int64_t left_s = job->broken_off_wall_s + SETTLE_AFTER_RUN_S - mh_clock_wall_s();
    if (job->broken_off_wall_s == 0 || left_s <= 0)
        return MH_OK;
    left_s = MH_MIN(left_s, (int64_t)SETTLE_AFTER_RUN_S); /* the clock may have been set back */
    struct mh_event ev = {
        .kind = MH_EV_WAITING,
        .until_wall_s = mh_clock_wall_s() + left_s,
        .text = "the last run was broken off: the target may still be storing what it sent"};
    job_event(job, &ev);
    if (mh_sleep_until(mh_now_ms() + left_s * 1000) != MH_OK)
        return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
    return MH_OK;
}

/* On record before the first octet leaves: a run that has begun and not ended. */
static int write_start(struct job *job, int64_t started_wall_s, struct mh_err *err)
{
    struct mh_run_row row = {.mailbox = job->state_id,
                             .started_wall_s = started_wall_s,
                             .phase = "moving",
                             .problem = "",
                             .equal_wall_s = -1,
                             .lag_ms = job->lag_ms};
    if (job->run->cfg->dry_run)
        return MH_OK;
    int code = mh_state_put_run(job->run->cfg->state, &row, err);
    return code == MH_OK ? mh_state_sync(job->run->cfg->state, err) : code;
}

/* What is gone at the source, with new connections if these break. */
static int settle(struct job *job, struct lane *lane, struct mh_err *err)
{
    int code = moves_settle(job, lane, err);
    while (is_passing(code)) {
        struct mh_err why = *err;
        lane_close(lane);
        code = job_pause(job, &why, err);
        if (code == MH_OK)
            code = moves_settle(job, lane, err);
    }
    return code;
}

static int work(struct job *job, struct lane *lane, int64_t started_wall_s, struct mh_err *err)
{
    job_phase(job, MH_PHASE_CONNECTING);
    int code = read_state(job, err);
    if (code == MH_OK)
        code = let_settle(job, err);
    if (code == MH_OK)
        code = write_start(job, started_wall_s, err);
    if (code == MH_OK)
        code = lane->src ? job_open(job, false, &lane->dst, err)
                         : job_open_both(job, true, &lane->src, &lane->dst, err);
    job_phase(job, MH_PHASE_LISTING);
    for (bool again = true; code == MH_OK && again;) {
        code = job_map(job, lane->src, lane->dst, MH_LIST_STATUS, NULL, err);
        if (code == MH_OK)
            code = renames_carry(job, lane, &again, err);
        if (!is_passing(code))
            continue;
        again = true;
        struct mh_err why = *err;
        job->sc->close(mh_take(lane->src));
        job->tc->close(mh_take(lane->dst));
        code = job_pause(job, &why, err);
        if (code == MH_OK)
            code = job_open_both(job, true, &lane->src, &lane->dst, err);
    }
    if (code == MH_OK)
        code = make_passes(job, err);
    if (code == MH_OK)
        code = moves_find_lost(job, err);
    if (code != MH_OK)
        return code;
    job->max_message = message_limit(job, lane->dst);
    job_phase(job, MH_PHASE_MOVING);
    job_moving(job);
    const struct mh_caps *caps = job->tc->caps(lane->dst);
    tuner_begin(job->tuner, caps->multiappend, caps->append_sync_literal);
    lanes_staff(job);
    lane_work(lane);
    while (job->n_lanes > 0)
        mh_wait_always(&job->changed);
    if (job->stop_err.code == MH_OK && settle(job, lane, err) != MH_OK)
        job->stop_err = *err;
    if (job->stop_err.code != MH_OK)
        *err = job->stop_err;
    return job->stop_err.code;
}

/* --- the account ------------------------------------------------------------------------------------------------- */

/* Everything that was found and has no verdict ends as failed, with the reason why we stopped. */
static void close_pass(struct job *job, struct pass *pass)
{
    struct mh_counts *c = &pass->res->counts;
    const char *reason = run_is_stopping(job->run) ? "stopped" : "not-carried";
    bool is_counted = c->found > 0;
    if (!is_counted) { /* broken off before it was known what there is: nothing of it counts */
        if (job->mb->progress)
            atomic_fetch_sub_explicit(&job->mb->progress->adopted, c->moved, memory_order_relaxed);
        c->adopted = c->unchanged = c->moved = 0;
    }
    if (!is_counted && (pass->phase != PASS_COPYING))
        c->found = MH_MAX(c->found, pass->entry->source->messages);
    uint64_t decided = c->copied + c->adopted + c->skipped + c->failed;
    if (c->found <= decided)
        return;
    uint64_t open = c->found - decided;
    char line[512];
    const struct mh_err *why = pass->res->err.code != MH_OK ? &pass->res->err : &job->stop_err;
    c->failed += open;
    reasons_add(&job->res->failed, reason, open);
    result_item(&job->res->items, &job->res->n_items, &job->res->cap_items,
                pass->entry->source->path, 0, "failed", reason,
                why->code != MH_OK ? mh_err_line(why, line, sizeof line)
                                   : "the next run carries on here");
    if (job->mb->progress)
        atomic_fetch_add_explicit(&job->mb->progress->failed, open, memory_order_relaxed);
}

static void account(struct job *job)
{
    for (size_t i = 0; i < job->n_passes; i++)
        close_pass(job, &job->passes[i]);
    for (size_t i = 0; i < job->res->n_folders; i++)
        counts_add(&job->res->counts, &job->res->folders[i].counts);
}

/* True when the target may still be storing something of ours that nobody has answered for. */
static bool has_unknown(const struct job *job)
{
    bool unknown = false;
    for (size_t i = 0; i < job->n_passes; i++)
        unknown |= job->passes[i].n_unknown > 0;
    return unknown;
}

static void write_end(struct job *job, bool ok, int64_t started_wall_s)
{
    const struct mh_counts *c = &job->res->counts;
    char line[512];
    struct mh_err err;
    struct mh_run_row row = {.mailbox = job->state_id,
                             .started_wall_s = started_wall_s,
                             .ended_wall_s = has_unknown(job) ? 0 : mh_clock_wall_s(),
                             .phase = ok ? "done" : "failed",
                             .problem = job->res->err.code != MH_OK
                                            ? mh_err_line(&job->res->err, line, sizeof line)
                                            : "",
                             .found = c->found,
                             .copied = c->copied,
                             .adopted = c->adopted,
                             .skipped = c->skipped,
                             .failed = c->failed,
                             .updated = c->updated,
                             .bytes = c->bytes,
                             .equal_wall_s = ok ? started_wall_s : -1,
                             .lag_ms = job->lag_ms};
    if (job->state_id && !job->run->cfg->dry_run &&
        mh_state_put_run(job->run->cfg->state, &row, &err) != MH_OK)
        run_fatal(job->run, &err);
}

/* How long a change took, from the server's telling to the end of the pass that carried it. */
static void note_lag(struct job *job)
{
    const struct mh_counts *c = &job->res->counts;
    if (job->told_ms == 0 || c->copied + c->updated + c->moved + c->removed == 0)
        return;
    job->lag_ms = mh_now_ms() - job->told_ms;
    if (job->mb->progress)
        atomic_store_explicit(&job->mb->progress->lag_ms, job->lag_ms, memory_order_relaxed);
}

static void finish(struct job *job, int code, const struct mh_err *err, int64_t started_wall_s)
{
    if (code != MH_OK)
        job->res->err = *err;
    if (code == MH_ERUN)
        run_fatal(job->run, err);
    account(job);
    bool ok = job->res->err.code == MH_OK && job->res->counts.failed == 0;
    if (ok)
        note_lag(job);
    write_end(job, ok, started_wall_s);
    job_phase(job, ok ? MH_PHASE_DONE : MH_PHASE_FAILED);
    struct mh_event ev = {.kind = MH_EV_MAILBOX_DONE,
                          .err = job->res->err.code != MH_OK ? &job->res->err : NULL};
    if (job->run->work != mailbox_watch || ev.err)
        job_event(job, &ev);
    for (size_t i = 0; i < job->n_passes; i++)
        pass_done(&job->passes[i]);
    mh_free(job->passes);
    job->passes = NULL;
    job->n_passes = 0;
    moves_done(job);
    old_skips_free(mh_take(job->skips));
}

/* What a pass counts of the whole mailbox begins anew; what it moves is counted on. */
static void reset_progress(struct mh_progress *p)
{
    _Atomic uint64_t *const counts[] = {&p->found,  &p->found_bytes, &p->adopted, &p->skipped,
                                        &p->failed, &p->unchanged,   &p->folders, &p->folders_done};
    for (size_t i = 0; i < MH_ARRAY_LEN(counts); i++)
        atomic_store_explicit(counts[i], 0, memory_order_relaxed);
}

/* Nothing of an earlier pass is left but what the state and the tuner know. */
static void reset(struct job *job)
{
    mailbox_result_done(job->res);
    *job->res = (struct mh_mailbox_result){.mailbox = job->mb};
    mh_err_reset(&job->res->err);
    mh_err_reset(&job->stop_err);
    mh_state_folders_done(&job->rows);
    job->rows = (struct mh_state_folders){.n = 0};
    memset(job->n_in_phase, 0, sizeof job->n_in_phase);
    job->first_waiting = job->first_unsurveyed = 0;
    job->waiting_messages = 0;
    job->is_surveying = false;
    job->broken_off_wall_s = 0;
    job->pause_until_ms = job->stuck_since_ms = 0;
    job->backoff = 0;
    if (job->mb->progress)
        reset_progress(job->mb->progress);
}

/* One lane's share of memory, and the lane. */
static int with_lane(struct job *job, struct mh_session **src_kept, int64_t started_wall_s,
                     struct mh_err *err)
{
    struct mh_pool *pool = job->run->cfg->pool;
    struct lane *lane = NULL;
    int code = mh_pool_reserve_wait(pool, LANE_BYTES, err);
    if (code != MH_OK)
        return code;
    struct mh_event ev = {.kind = MH_EV_MAILBOX_START};
    if (job->run->work != mailbox_watch) /* there passes without end begin */
        job_event(job, &ev);
    code = lane_new(job, 0, &lane, err);
    job->lanes[0] = lane;
    if (code == MH_OK && src_kept)
        lane->src = mh_take(*src_kept);
    if (code == MH_OK)
        code = work(job, lane, started_wall_s, err);
    if (lane && src_kept && code == MH_OK)
        *src_kept = mh_take(lane->src);
    job->lanes[0] = NULL;
    lane_free(lane);
    mh_pool_unreserve(pool, LANE_BYTES);
    return code;
}

void mailbox_pass(struct job *job, struct mh_session **src_kept)
{
    struct mh_err err;
    int64_t started = mh_clock_wall_s();
    mh_err_reset(&err);
    job->res = job->res_other;
    reset(job);
    /* A kept connection is not one of those that passes share. */
    struct server *src = src_kept && *src_kept ? NULL : job->src_server;
    int code = budget_acquire(&job->run->budgets, src, job->dst_server, &err);
    if (code == MH_OK) {
        code = with_lane(job, src_kept, started, &err);
        budget_release(&job->run->budgets, src, job->dst_server);
    }
    finish(job, code, &err, started);
}

void mailbox_run(struct job *job)
{
    mailbox_pass(job, NULL);
}

static void put_together(struct mh_result *out)
{
    for (size_t i = 0; i < out->n_mailboxes; i++) {
        struct mh_mailbox_result *m = &out->mailboxes[i];
        counts_add(&out->counts, &m->counts);
        for (size_t k = 0; k < m->skipped.n; k++)
            reasons_add(&out->skipped, m->skipped.v[k].reason, m->skipped.v[k].n);
        for (size_t k = 0; k < m->failed.n; k++)
            reasons_add(&out->failed, m->failed.v[k].reason, m->failed.v[k].n);
    }
}

/* FN with every mailbox. */
static int run_all(struct mh_engine_config *cfg, job_fn *fn, struct mh_result *out,
                   struct mh_err *err)
{
    int64_t start = mh_clock_mono_ms();
    *out = (struct mh_result){0};
    out->mailboxes = mh_zalloc(cfg->n_mailboxes * sizeof *out->mailboxes);
    if (!out->mailboxes)
        return mh_err_nomem(err);
    out->n_mailboxes = cfg->n_mailboxes;
    int code = run_jobs(cfg, fn, out->mailboxes, sizeof *out->mailboxes, err);
    if (code == MH_OK)
        code = mh_state_sync(cfg->state, err);
    if (code == MH_OK && atomic_load(cfg->stop) > 0)
        code = mh_err_set(err, MH_ECANCEL, "engine", "stopped; the same command carries on");
    put_together(out);
    out->elapsed_ms = mh_clock_mono_ms() - start;
    if (code != MH_OK)
        out->err = *err;
    return code;
}

int mh_engine_run(struct mh_engine_config *cfg, struct mh_result *out, struct mh_err *err)
{
    return run_all(cfg, mailbox_run, out, err);
}

int mh_engine_watch(struct mh_engine_config *cfg, struct mh_result *out, struct mh_err *err)
{
    int code = run_all(cfg, mailbox_watch, out, err);
    return code == MH_ECANCEL ? MH_OK : code; /* the way a service ends */
}
