/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify: compares source and target by content, folder by folder.
 *
 * Every source message is looked for at the target: first where the state says it went, then by digest
 * among those that nobody claims. The target's bytes are always read as they are now. They are held against the
 * digest that the state keeps of what was read from the source, where the source's listing of the message has not changed;
 * --deep reads the source too, so that nothing is believed that was written down earlier.
 */
#include <stdio.h>
#include <string.h>

#include "engine/verify_priv.h"

/* --- the account ------------------------------------------------------------------------------------------- */

static uint64_t sum_found(const struct mh_verify_counts *c)
{
    return c->exact + c->same + c->differs + c->missing + c->skipped + c->listed + c->later;
}

static void add_counts(struct mh_verify_counts *to, const struct mh_verify_counts *c)
{
    to->found += c->found;
    to->exact += c->exact;
    to->same += c->same;
    to->differs += c->differs;
    to->missing += c->missing;
    to->skipped += c->skipped;
    to->listed += c->listed;
    to->later += c->later;
    to->pending += c->pending;
    to->unsettled += c->unsettled;
    to->extra += c->extra;
    to->flags += c->flags;
    to->dates += c->dates;
}

static void close_folder(struct check_folder *f)
{
    struct mh_progress *p = f->job->mb->progress;
    f->counts.found = sum_found(&f->counts);
    add_counts(&f->out->counts, &f->counts);
    if (p)
        atomic_fetch_add_explicit(&p->folders_done, 1, memory_order_relaxed);
}

bool verify_run_is_on(const struct check *c)
{
    const struct mh_state *st = c->job->run->cfg->state;
    return st && mh_state_run_is_on(st);
}

/* None of its messages can be compared; what had been compared is void. */
static void close_unreadable(struct check_folder *f, const char *reason, const char *text)
{
    bool is_there = strcmp(reason, "missing-at-target") != 0;
    uint64_t n = MH_MAX(f->entry->source->messages, is_there ? (uint64_t)1 : 0);
    result_items_done(f->out->items + f->first_item, f->out->n_items - f->first_item);
    f->out->n_items = f->first_item;
    f->counts = (struct mh_verify_counts){0};
    /* A folder that a run has not made yet, or that was there when the run looked: nothing is lost in it so far. */
    if (verify_run_is_on(f->check))
        f->counts.later = f->counts.pending = n;
    else
        f->counts.missing = n;
    verify_report(f, 0, "folder", reason, text);
    close_folder(f);
}

/* --- folders -------------------------------------------------------------------------------------------------- */

static bool is_compared(const struct mh_engine_map_entry *e)
{
    return !(e->source->attrs & MH_FOLDER_NOSELECT) && e->target_path;
}

/* Where the state says that the folder went, else where the mapping says. */
static const struct mh_folder *find_target(struct job *job, const struct mh_engine_map_entry *e)
{
    const struct mh_state_folder *row = job_row(job, e->source->path);
    const struct mh_folder *target = mh_folders_find(&job->dst_folders, e->target_path);
    if (row && row->dst_path && (!target || strcmp(row->dst_path, target->path) != 0)) {
        const struct mh_folder *by_row = mh_folders_find(&job->dst_folders, row->dst_path);
        target = by_row ? by_row : target;
    }
    return target;
}

/* Messages of a folder that the mapping leaves out are in the account, by name. */
static void leave_out(struct check *c, const struct mh_engine_map_entry *e)
{
    struct check_folder f = {.check = c, .job = c->job, .out = c->out, .entry = e};
    char text[96];
    if (e->source->attrs & MH_FOLDER_NOSELECT || e->source->messages == 0)
        return;
    (void)snprintf(text, sizeof text, "%llu messages: the folder is not carried",
                   (unsigned long long)e->source->messages);
    f.counts.skipped = f.counts.found = e->source->messages;
    add_counts(&c->out->counts, &f.counts);
    verify_report(&f, 0, "skipped", e->why, text);
}

/* One that was compared before the verify was broken off. */
static void close_restored(struct check_folder *f, const struct kept_folder *kept)
{
    struct mh_progress *p = f->job->mb->progress;
    verify_restore(f, kept);
    close_folder(f);
    if (!p)
        return;
    atomic_fetch_add_explicit(&p->found, f->counts.found, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->adopted, f->counts.found, memory_order_relaxed);
}

static int check_one(struct check *c, const struct mh_engine_map_entry *e, struct mh_err *err)
{
    const struct kept_folder *kept = verify_kept(c, e->source->path);
    const struct mh_folder *target = find_target(c->job, e);
    struct check_folder f = {.check = c,
                             .job = c->job,
                             .out = c->out,
                             .entry = e,
                             .first_item = c->out->n_items,
                             .saved_items = c->out->n_items};
    char line[512];
    verify_mode(c, job_row(c->job, e->source->path), f.mode);
    if (kept && kept->next_uid == UINT64_MAX) {
        close_restored(&f, kept);
        return MH_OK;
    }
    if (!target) {
        close_unreadable(&f, "missing-at-target", e->target_path);
        return MH_OK;
    }
    int code = verify_folder(&f, target, kept, err);
    if (code == MH_OK) {
        close_folder(&f);
        code = verify_save(&f, UINT64_MAX, err);
    } else if (code == MH_EFOLDER || code == MH_ENOENT) {
        /* One that cannot be opened is named; the others are compared all the same. */
        close_unreadable(&f, "unreadable", mh_err_line(err, line, sizeof line));
        mh_err_reset(err);
        code = MH_OK;
    }
    if (code != MH_OK) {
        /* It is not in the account, so nothing of it is named; the next verify goes on in it. */
        result_items_done(f.out->items + f.first_item, f.out->n_items - f.first_item);
        f.out->n_items = f.first_item;
        mh_err_at(err, "folder %s", e->source->path);
    }
    verify_folder_done(&f);
    return code;
}

/* Counts the folders, and says where it goes on. */
static void say_where(struct check *c)
{
    const struct job *job = c->job;
    size_t done = 0;
    char text[96];
    for (size_t i = 0; i < job->map.n; i++) {
        const struct mh_engine_map_entry *e = &job->map.v[i];
        if (!is_compared(e))
            continue;
        const struct kept_folder *kept = verify_kept(c, e->source->path);
        c->out->folders++;
        done += kept && kept->next_uid == UINT64_MAX;
    }
    if (job->mb->progress)
        atomic_store_explicit(&job->mb->progress->folders, c->out->folders, memory_order_relaxed);
    if (c->n_kept == 0)
        return;
    c->out->resumed_at = MH_MAX(MH_MIN(done + 1, c->out->folders), (size_t)1);
    (void)snprintf(text, sizeof text, "resumed at folder %zu of %zu", c->out->resumed_at,
                   c->out->folders);
    struct mh_event ev = {.kind = MH_EV_NOTE, .text = text};
    job_event(c->job, &ev);
}

/* --- mailboxes ---------------------------------------------------------------------------------------------- */

/* What the holder of the lock is doing, for people. */
static void describe(const struct check *c, char *buf, size_t size)
{
    const struct mh_verify_options *o = &c->job->run->cfg->verify;
    char sample[32] = "";
    if (o->sample_ppm)
        (void)snprintf(sample, sizeof sample, " --sample %g", (double)o->sample_ppm / 10000);
    (void)snprintf(buf, size, "verify%s%s of %.80s", o->deep ? " --deep" : "", sample,
                   c->job->mb->id);
}

/* The mailbox's number in the state, and the lock of its verify where there is something to keep. */
static int take_mailbox(struct check *c, struct mh_err *err)
{
    struct job *job = c->job;
    struct mh_state *st = job->run->cfg->state;
    char what[160];
    if (!st)
        return MH_OK;
    char *src = mh_endpoint_format(job->mb->source);
    char *dst = mh_endpoint_format(job->mb->target);
    int code = src && dst ? MH_OK : mh_err_nomem(err);
    if (code == MH_OK)
        code = mh_state_mailbox(st, job->mb->id, src, dst, &job->state_id, err);
    mh_free(src);
    mh_free(dst);
    if (code == MH_ENOENT) {
        mh_err_reset(err);
        return MH_OK; /* without a state everything is matched by digest */
    }
    c->can_store = code == MH_OK && !job->run->cfg->verify.state_is_read_only;
    if (!c->can_store)
        return code;
    describe(c, what, sizeof what);
    code = mh_state_lock_verify(st, job->state_id, what, err);
    c->is_locked = code == MH_OK;
    c->can_store = c->is_locked;
    return code;
}

static int load_rows(struct check *c, struct mh_err *err)
{
    struct job *job = c->job;
    if (job->state_id == 0)
        return MH_OK;
    int code = mh_state_folders(job->run->cfg->state, job->state_id, &job->rows, err);
    return code == MH_OK ? verify_load(c, err) : code;
}

static int check_mailbox(struct check *c, struct mh_err *err)
{
    struct job *job = c->job;
    int code = load_rows(c, err);
    if (code == MH_OK)
        code = job_map(job, c->src, c->dst, MH_LIST_STATUS, NULL, err);
    if (code != MH_OK)
        return code;
    say_where(c);
    for (size_t i = 0; i < job->map.n && code == MH_OK; i++) {
        const struct mh_engine_map_entry *e = &job->map.v[i];
        if (!is_compared(e))
            leave_out(c, e);
        else if (run_is_stopping(job->run))
            code = mh_err_set(err, MH_ECANCEL, "engine", "stopped");
        else
            code = check_one(c, e, err);
    }
    return code == MH_OK ? verify_forget(c, err) : code;
}

/* What was handed over is kept for certain, or it is said that it is not. */
static int keep_all(struct check *c, int code, struct mh_err *err)
{
    struct mh_err why;
    if (!c->can_store || mh_state_sync(c->job->run->cfg->state, &why) == MH_OK || code != MH_OK)
        return code;
    *err = why;
    return why.code;
}

/* With a place in the budgets of both servers. */
static int check_connected(struct check *c, struct mh_err *err)
{
    struct job *job = c->job;
    job_phase(job, MH_PHASE_CONNECTING);
    int code = job_open_both(job, true, &c->src, &c->dst, err);
    if (code != MH_OK)
        return code;
    job_phase(job, MH_PHASE_MOVING);
    code = check_mailbox(c, err);
    code = keep_all(c, code, err);
    job->sc->close(c->src);
    job->tc->close(c->dst);
    return code;
}

static void verify_job(struct job *job)
{
    struct mh_verify_mailbox *out = job->res_other;
    struct check c = {.job = job, .out = out};
    struct mh_err err;
    out->mailbox = job->mb;
    mh_err_reset(&out->err);
    mh_err_reset(&err);
    int code = take_mailbox(&c, &err);
    if (code == MH_OK)
        code = budget_acquire(&job->run->budgets, job->src_server, job->dst_server, &err);
    if (code == MH_OK) {
        code = check_connected(&c, &err);
        budget_release(&job->run->budgets, job->src_server, job->dst_server);
    }
    verify_loaded_done(&c);
    if (c.is_locked)
        mh_state_unlock_verify(job->run->cfg->state, job->state_id);
    if (code != MH_OK)
        out->err = err;
    if (code == MH_ERUN)
        run_fatal(job->run, &err);
    job_phase(job, code == MH_OK ? MH_PHASE_DONE : MH_PHASE_FAILED);
}

int mh_engine_verify(struct mh_engine_config *cfg, struct mh_verify_result *out, struct mh_err *err)
{
    int64_t start = mh_clock_mono_ms();
    *out = (struct mh_verify_result){0};
    out->mailboxes = mh_zalloc(cfg->n_mailboxes * sizeof *out->mailboxes);
    if (!out->mailboxes)
        return mh_err_nomem(err);
    out->n_mailboxes = cfg->n_mailboxes;
    out->options = cfg->verify;
    int code = run_jobs(cfg, verify_job, out->mailboxes, sizeof *out->mailboxes, err);
    for (size_t i = 0; i < out->n_mailboxes; i++)
        add_counts(&out->counts, &out->mailboxes[i].counts);
    out->elapsed_ms = mh_clock_mono_ms() - start;
    return code;
}
