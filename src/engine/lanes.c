/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How many lanes a mailbox has: the tuner says how many the target likes, the budgets how many there may be,
 * the folders how many have something to do. The first lane is the job's own task and always there.
 */
#include "engine/engine_priv.h"

static unsigned clamp(const struct job *job, unsigned wanted)
{
    return MH_MIN(wanted, job->lanes_bound);
}

/* Over all folders of the mailbox. */
static unsigned allowed(const struct job *job)
{
    struct tuned now = tuner_now(job->tuner);
    return clamp(job, MH_MAX(now.lanes, now.joined));
}

static unsigned running(const struct job *job)
{
    return 1 + job->n_lanes;
}

struct pass *lanes_joinable(const struct job *job)
{
    unsigned joined = clamp(job, tuner_now(job->tuner).joined);
    for (unsigned i = 0; i < LANES_MAX && job->n_in_phase[PASS_COPYING]; i++) {
        struct pass *p = job->lanes[i] ? job->lanes[i]->pass : NULL;
        if (p && p->phase == PASS_COPYING && p->lanes < joined && pass_left(p) > JOIN_MESSAGES_MIN)
            return p;
    }
    return NULL;
}

static bool has_waiting(const struct job *job)
{
    return job->n_in_phase[PASS_WAITING] + job->n_in_phase[PASS_SURVEYED] > 0 &&
           job->waiting_messages > LANE_MESSAGES_MIN;
}

bool lanes_is_surplus(const struct lane *lane)
{
    if (lane->number == 0)
        return false;
    const struct job *job = lane->job;
    unsigned joined = clamp(job, tuner_now(job->tuner).joined);
    bool crowds = lane->pass && lane->pass->phase == PASS_COPYING && lane->pass->lanes > joined;
    return crowds || running(job) > allowed(job);
}

static bool is_worth_compressing(const struct job *job, const struct mh_caps *caps)
{
    return job->run->cfg->compress == MH_COMPRESS_AUTO && caps->can_compress &&
           caps->round_trip_ms >= WIRE_FAR_MS;
}

/* Messages of the mailbox that have no verdict yet. */
static uint64_t left_of(const struct job *job)
{
    uint64_t left = job->waiting_messages;
    for (unsigned i = 0; i < LANES_MAX; i++) {
        const struct pass *p = job->lanes[i] ? job->lanes[i]->pass : NULL;
        bool is_counted = false;
        for (unsigned k = 0; k < i && !is_counted; k++)
            is_counted = job->lanes[k] && job->lanes[k]->pass == p;
        if (p && !is_counted && p->phase == PASS_COPYING)
            left += p->n_todo - MH_MIN(p->res->counts.copied, (uint64_t)p->n_todo);
    }
    return left;
}

/* The whole mailbox's work, as if all messages were like this folder's. */
static void press_wire(const struct lane *lane)
{
    struct job *job = lane->job;
    const struct pass *pass = lane->pass;
    uint64_t left = left_of(job);
    uint64_t each = pass->n_todo ? pass->todo_octets / pass->n_todo : 0;
    bool is_far = is_worth_compressing(job, job->sc->caps(lane->src)) ||
                  is_worth_compressing(job, job->tc->caps(lane->dst));
    if (is_far)
        tuner_press_wire(job->tuner, left, left * each);
}

static bool is_wired_as(const struct mh_caps *caps, bool compressed)
{
    return !caps->can_compress || caps->compressed == compressed;
}

bool lanes_must_rewire(const struct lane *lane)
{
    const struct job *job = lane->job;
    bool wanted = job_compresses(job);
    return !is_wired_as(job->sc->caps(lane->src), wanted) ||
           !is_wired_as(job->tc->caps(lane->dst), wanted);
}

void lanes_tell_wire(struct lane *lane)
{
    const struct job *job = lane->job;
    const struct mh_caps *src = job->sc->caps(lane->src);
    const struct mh_caps *dst = job->tc->caps(lane->dst);
    if (lane->wire != WIRE_UNTOLD || !(src->can_compress || dst->can_compress))
        return;
    bool compressed = src->compressed || dst->compressed;
    lane->wire = compressed ? WIRE_COMPRESSED : WIRE_PLAIN;
    tuner_wired(job->tuner, compressed, 1, mh_now_ms());
}

void lanes_untell_wire(struct lane *lane)
{
    if (lane->wire != WIRE_UNTOLD)
        tuner_wired(lane->job->tuner, lane->wire == WIRE_COMPRESSED, -1, mh_now_ms());
    lane->wire = WIRE_UNTOLD;
}

void lanes_press(const struct lane *lane)
{
    struct job *job = lane->job;
    struct tuned now = tuner_now(job->tuner);
    press_wire(lane);
    if (budget_has_waiters(&job->run->budgets))
        return;
    if (has_waiting(job) && running(job) >= now.lanes && now.lanes < job->lanes_bound)
        tuner_press(job->tuner, TUNE_LANES);
    if (lane->pass->lanes >= now.joined && now.joined < job->lanes_bound &&
        pass_left(lane->pass) > JOIN_MESSAGES_MIN)
        tuner_press(job->tuner, TUNE_JOINED);
}

/* --- one more ---------------------------------------------------------------------------------------- */

/* One more's share of memory and connections. */
static bool take_share(struct job *job)
{
    if (!budget_try(&job->run->budgets, job->src_server, job->dst_server))
        return false;
    if (mh_pool_reserve(job->run->cfg->pool, LANE_BYTES))
        return true;
    budget_release(&job->run->budgets, job->src_server, job->dst_server);
    return false;
}

static void return_share(struct job *job)
{
    mh_pool_unreserve(job->run->cfg->pool, LANE_BYTES);
    budget_release(&job->run->budgets, job->src_server, job->dst_server);
}

static void leave(struct lane *lane)
{
    struct job *job = lane->job;
    job->lanes[lane->number] = NULL;
    job->n_lanes--;
    lane_free(lane);
    return_share(job);
    mh_wake_all(&job->changed);
}

static void lane_task(void *arg)
{
    struct lane *lane = arg;
    struct job *job = lane->job;
    struct mh_err err;
    lane->task = mh_task_self();
    mh_err_reset(&err);
    int code = job_open_both(job, false, &lane->src, &lane->dst, &err);
    if (code == MH_OK) {
        lane_work(lane);
    } else {
        /* A server that wants no more of us: those that are there carry on. */
        job->lanes_bound = MH_MAX(running(job) - 1, 1u);
        mh_log_err(&job->log, MH_LOG_INFO, &err);
    }
    leave(lane);
}

static bool start_lane(struct job *job)
{
    struct mh_err err;
    struct lane *lane = NULL;
    unsigned number = 1;
    while (number < LANES_MAX && job->lanes[number])
        number++;
    mh_assert(number < LANES_MAX);
    if (!take_share(job))
        return false;
    int code = lane_new(job, number, &lane, &err);
    if (code != MH_OK) {
        return_share(job);
        return false;
    }
    job->lanes[number] = lane;
    job->n_lanes++;
    code = mh_task_spawn(job->sched, "lane", lane_task, lane, NULL, &err);
    if (code != MH_OK)
        leave(lane);
    return code == MH_OK;
}

void lanes_staff(struct job *job)
{
    const struct mh_engine_config *cfg = job->run->cfg;
    if (cfg->dry_run || job->stop_err.code != MH_OK || run_is_stopping(job->run))
        return;
    unsigned spread = clamp(job, tuner_now(job->tuner).lanes);
    while (running(job) < allowed(job)) {
        bool has_work = (has_waiting(job) && running(job) < spread) || lanes_joinable(job);
        if (!has_work || !start_lane(job))
            return;
    }
}
