/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What every kind of work on a mailbox needs: sessions with patience, listing, mapping, pauses. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

static void map_done(struct mh_engine_map *map)
{
    for (size_t i = 0; i < map->n; i++) {
        mh_free(map->v[i].target_path);
        mh_free(map->v[i].note);
    }
    mh_free(map->v);
    *map = (struct mh_engine_map){0};
}

/* What the user allows one mailbox, the stricter side's. */
static unsigned lanes_bound(const struct job *job)
{
    unsigned target = job->mb->target->per_mailbox;
    unsigned source = job->mb->source->per_mailbox;
    unsigned n = target ? target : job->run->cfg->lanes_per_mailbox;
    if (source && (!n || source < n))
        n = source;
    return n ? MH_MIN(n, (unsigned)LANES_MAX) : LANES_MAX;
}

int job_set_up(struct job *job, struct mh_err *err)
{
    struct run *run = job->run;
    struct mh_engine_config *cfg = run->cfg;
    job->log = (struct mh_log){cfg->log, "mailbox", job->mb->id};
    job->sc = run_connector(run, job->mb->source->type);
    job->tc = run_connector(run, job->mb->target->type);
    if (!job->sc || !job->tc)
        return mh_err_set(err, MH_EUSAGE, "engine", "no connector for '%s'",
                          job->sc ? job->mb->target->type : job->mb->source->type);
    struct mh_env env = {
        .pool = cfg->pool, .net = cfg->net, .log = &job->log, .timeout_ms = cfg->timeout_ms};
    job->src_env = job->dst_env = env;
    job->src_env.is_source = true;
    const struct mh_endpoint *const ends[] = {job->mb->source, job->mb->target};
    const struct mh_connector *const connectors[] = {job->sc, job->tc};
    struct server **const servers[] = {&job->src_server, &job->dst_server};
    for (size_t i = 0; i < 2; i++) {
        unsigned limit = ends[i]->connections ? ends[i]->connections
                         : cfg->connections   ? cfg->connections
                                              : CONNECTIONS_DEFAULT;
        if (connectors[i]->flags & MH_IS_LOCAL)
            continue;
        *servers[i] = budgets_server(&run->budgets, ends[i], limit, err);
        if (!*servers[i])
            return MH_ERUN;
    }
    mh_err_reset(&job->stop_err);
    job->lag_ms = -1;
    job->lanes_bound = lanes_bound(job);
    job->tuner = job->dst_server ? job->dst_server->tuner : (job->own_tuner = tuner_new());
    return job->tuner ? MH_OK : mh_err_nomem(err);
}

void job_tear_down(struct job *job)
{
    map_done(&job->map);
    mh_folders_done(&job->src_folders);
    mh_folders_done(&job->dst_folders);
    mh_state_folders_done(&job->rows);
    tuner_free(job->own_tuner);
}

void job_phase(struct job *job, enum mh_mailbox_phase phase)
{
    if (job->mb->progress)
        atomic_store_explicit(&job->mb->progress->phase, (int)phase, memory_order_relaxed);
}

void job_event(struct job *job, const struct mh_event *ev)
{
    struct mh_event_sink *sink = job->run->cfg->events;
    struct mh_event out = *ev;
    out.mailbox = job->mb->id;
    if (sink)
        sink->event(sink, &out);
}

/* --- patience -------------------------------------------------------------------------------------- */

void job_moving(struct job *job)
{
    job->stuck_since_ms = 0;
    job->backoff = 0;
}

/* How long to wait: what the server asked for, else twice as long each time, with jitter so that
 * thirty mailboxes do not come back at once. */
static int64_t pause_ms(struct job *job, const struct mh_err *why)
{
    if (why->retry_after_ms > 0)
        return why->retry_after_ms;
    int64_t ms = BACKOFF_FIRST_MS << MH_MIN(job->backoff, 8u);
    ms = MH_MIN(ms, (int64_t)BACKOFF_MAX_MS);
    uint64_t mix = (job->index + 1) * 0x9e3779b97f4a7c15ull + job->backoff * 0xbf58476d1ce4e5b9ull;
    return ms - (int64_t)((mix >> 33) % (uint64_t)(ms / 4 + 1));
}

static void show_waiting(struct job *job, const struct mh_err *why, int64_t ms)
{
    char line[512];
    int64_t until = mh_clock_wall_s() + (ms + 999) / 1000;
    if (job->mb->progress)
        atomic_store_explicit(&job->mb->progress->waiting_until_wall_s, until,
                              memory_order_relaxed);
    job_phase(job, MH_PHASE_WAITING);
    struct mh_event ev = {.kind = MH_EV_WAITING,
                          .until_wall_s = until,
                          .err = why,
                          .text = mh_err_line(why, line, sizeof line)};
    job_event(job, &ev);
}

int job_pause(struct job *job, const struct mh_err *why, struct mh_err *err)
{
    int64_t patience =
        job->run->cfg->patience_ms ? job->run->cfg->patience_ms : PATIENCE_DEFAULT_MS;
    int64_t now = mh_now_ms();
    int64_t ms = pause_ms(job, why);
    if (job->stuck_since_ms == 0)
        job->stuck_since_ms = now;
    if (now + ms - job->stuck_since_ms > patience) {
        if (err)
            *err = *why;
        if (err)
            err->code = MH_EMAILBOX;
        return MH_EMAILBOX;
    }
    job->backoff++;
    tuner_disturbed(job->tuner);
    job->pause_until_ms = MH_MAX(job->pause_until_ms, now + ms);
    show_waiting(job, why, ms);
    int code = MH_OK;
    while (code == MH_OK && !run_is_stopping(job->run) && mh_now_ms() < job->pause_until_ms)
        code = mh_wait(&job->changed, job->pause_until_ms);
    job_phase(job, MH_PHASE_MOVING);
    if (job->mb->progress)
        atomic_store_explicit(&job->mb->progress->waiting_until_wall_s, 0, memory_order_relaxed);
    if (code == MH_ECANCEL || run_is_stopping(job->run))
        return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
    return MH_OK;
}

/* --- sessions ------------------------------------------------------------------------------------------ */

bool job_compresses(const struct job *job)
{
    enum mh_compress how = job->run->cfg->compress;
    return how == MH_COMPRESS_ALWAYS || (how == MH_COMPRESS_AUTO && tuner_now(job->tuner).compress);
}

static int open_once(struct job *job, bool is_source, struct mh_session **out, struct mh_err *err)
{
    mh_err_reset(err);
    job->src_env.compress = job->dst_env.compress = job_compresses(job);
    if (is_source)
        return job->sc->open(job->mb->source, &job->src_env, false, out, err);
    bool carries = job->run->work == mailbox_run || job->run->work == mailbox_watch;
    bool writes = carries && !job->run->cfg->dry_run;
    return job->tc->open(job->mb->target, &job->dst_env, writes, out, err);
}

int job_open(struct job *job, bool is_source, struct mh_session **out, struct mh_err *err)
{
    for (;;) {
        int code = open_once(job, is_source, out, err);
        if (code == MH_OK)
            return MH_OK;
        mh_err_at(err, "%s", is_source ? "source" : "target");
        if (code != MH_ERETRY && code != MH_ELATER)
            return code;
        struct mh_err why = *err;
        code = job_pause(job, &why, err);
        if (code != MH_OK)
            return code;
    }
}

struct opening {
    struct job *job;
    bool is_patient;
    struct mh_session *session;
    struct mh_err err;
    int code;
};

static int open_side(struct job *job, bool is_source, bool is_patient, struct mh_session **out,
                     struct mh_err *err)
{
    return is_patient ? job_open(job, is_source, out, err) : open_once(job, is_source, out, err);
}

static void open_target(void *arg)
{
    struct opening *o = arg;
    o->code = open_side(o->job, false, o->is_patient, &o->session, &o->err);
}

int job_open_both(struct job *job, bool is_patient, struct mh_session **src,
                  struct mh_session **dst, struct mh_err *err)
{
    struct opening target = {.job = job, .is_patient = is_patient};
    struct mh_task *task = NULL;
    int code = mh_task_spawn(job->sched, "open-target", open_target, &target, &task, err);
    if (code != MH_OK)
        return code;
    code = open_side(job, true, is_patient, src, err);
    if (code != MH_OK)
        mh_task_cancel(task);
    mh_task_join(task);
    if (code == MH_OK && target.code == MH_OK) {
        *dst = target.session;
        return MH_OK;
    }
    if (code == MH_OK) {
        *err = target.err;
        code = target.code;
        job->sc->close(*src);
        *src = NULL;
    } else if (target.code == MH_OK) {
        job->tc->close(target.session);
    }
    return code;
}

/* --- listing and mapping ---------------------------------------------------------------------------------- */

struct listing {
    struct job *job;
    struct mh_session *dst;
    enum mh_listing what;
    struct mh_err err;
    int code;
};

static void list_target(void *arg)
{
    struct listing *l = arg;
    mh_err_reset(&l->err);
    l->code = l->job->tc->list(l->dst, l->what, &l->job->dst_folders, &l->err);
}

static int list_both(struct job *job, struct mh_session *src, struct mh_session *dst,
                     enum mh_listing what, bool *at_target_out, struct mh_err *err)
{
    struct listing target = {.job = job, .dst = dst, .what = what};
    struct mh_task *task = NULL;
    int code = mh_task_spawn(job->sched, "list-target", list_target, &target, &task, err);
    if (code != MH_OK)
        return code;
    code = job->sc->list(src, what, &job->src_folders, err);
    mh_task_join(task);
    if (code != MH_OK) {
        mh_err_at(err, "source, listing the folders");
        return code;
    }
    if (target.code != MH_OK) {
        *err = target.err;
        if (at_target_out)
            *at_target_out = true;
        mh_err_at(err, "target, listing the folders");
    }
    return target.code;
}

int job_map(struct job *job, struct mh_session *src, struct mh_session *dst, enum mh_listing what,
            bool *at_target_out, struct mh_err *err)
{
    mh_folders_done(&job->src_folders);
    mh_folders_done(&job->dst_folders);
    if (at_target_out)
        *at_target_out = false;
    int code = list_both(job, src, dst, what, at_target_out, err);
    if (code != MH_OK)
        return code;
    mh_folders_guess_roles(&job->src_folders);
    mh_folders_guess_roles(&job->dst_folders);
    struct mh_map_question q = {.mailbox = job->mb,
                                .source = &job->src_folders,
                                .target = &job->dst_folders,
                                .source_separator = job->sc->caps(src)->separator,
                                .known = &job->rows};
    map_done(&job->map);
    code = job->run->cfg->map(job->run->cfg->callback_ctx, &q, &job->map, err);
    if (code != MH_OK)
        mh_err_at(err, "mapping the folders");
    return code;
}

/* What is asked of the state in a worker thread. */
struct row_load {
    struct mh_state *st;
    uint32_t folder;
    const struct mh_uids *only; /* NULL: all */
    bool at_source;
    uint64_t from;
    struct mh_state_items *items; /* or … */
    struct mh_uids *uids;
    struct mh_err err;
    int code;
};

static void load_rows(void *arg)
{
    struct row_load *l = arg;
    if (l->items)
        l->code = l->only ? mh_state_items_in(l->st, l->folder, l->only, l->items, &l->err)
                          : mh_state_items(l->st, l->folder, l->items, &l->err);
    else
        l->code = l->at_source ? mh_state_src_uids(l->st, l->folder, l->uids, &l->err)
                               : mh_state_dst_uids(l->st, l->folder, l->from, l->uids, &l->err);
}

static int load(struct row_load *l, struct mh_err *err)
{
    mh_offload(load_rows, l);
    if (l->code != MH_OK)
        *err = l->err;
    return l->code;
}

int job_load_items(struct job *job, uint32_t folder, const struct mh_uids *uids,
                   struct mh_state_items *out, struct mh_err *err)
{
    struct row_load l = {.st = job->run->cfg->state, .folder = folder, .only = uids, .items = out};
    return load(&l, err);
}

int job_load_uids(struct job *job, uint32_t folder, bool at_source, uint64_t from,
                  struct mh_uids *out, struct mh_err *err)
{
    struct row_load l = {.st = job->run->cfg->state,
                         .folder = folder,
                         .at_source = at_source,
                         .from = from,
                         .uids = out};
    return load(&l, err);
}

static int order_rows(const void *a, const void *b)
{
    return strcmp(((const struct mh_state_folder *)a)->src_path,
                  ((const struct mh_state_folder *)b)->src_path);
}

void job_sort_rows(struct job *job)
{
    if (job->rows.n)
        qsort(job->rows.v, job->rows.n, sizeof *job->rows.v, order_rows);
}

static int order_row(const void *key, const void *element)
{
    return strcmp(key, ((const struct mh_state_folder *)element)->src_path);
}

struct mh_state_folder *job_row(struct job *job, const char *src_path)
{
    return job->rows.n ? bsearch(src_path, job->rows.v, job->rows.n, sizeof *job->rows.v, order_row)
                       : NULL;
}
