/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A run: one job per mailbox, spread over the schedulers, waited for by the calling thread. */
#include <string.h>
#include <time.h>

#include "engine/engine_priv.h"

const struct mh_connector *run_connector(const struct run *run, const char *type)
{
    for (size_t i = 0; i < run->cfg->n_connectors; i++) {
        if (strcmp(run->cfg->connectors[i]->name, type) == 0)
            return run->cfg->connectors[i];
    }
    return NULL;
}

bool run_is_stopping(const struct run *run)
{
    return atomic_load_explicit(run->cfg->stop, memory_order_relaxed) > 0;
}

/* The first reason wins. Everybody unwinds as if the user had said "now". */
void run_fatal(struct run *run, const struct mh_err *why)
{
    (void)pthread_mutex_lock(&run->lock);
    if (run->fatal.code == MH_OK)
        run->fatal = *why;
    atomic_store_explicit(run->cfg->stop, MH_STOP_NOW, memory_order_relaxed);
    (void)pthread_cond_signal(&run->changed);
    (void)pthread_mutex_unlock(&run->lock);
}

/* One thing less to wait for: a job that ended or a post that ran. */
static void run_left_one(struct run *run)
{
    (void)pthread_mutex_lock(&run->lock);
    run->left--;
    (void)pthread_cond_signal(&run->changed);
    (void)pthread_mutex_unlock(&run->lock);
}

static void job_main(void *arg)
{
    struct job *job = arg;
    job->task = mh_task_self();
    job->run->work(job);
    job->task = NULL;
    run_left_one(job->run);
}

static void on_start(struct mh_post *post)
{
    struct job *job = mh_container_of(post, struct job, start);
    struct mh_err err;
    if (mh_task_spawn(job->sched, "mailbox", job_main, job, NULL, &err) == MH_OK)
        return;
    run_fatal(job->run, &err);
    run_left_one(job->run);
}

/* Stopping: whoever pauses looks up, and with "now" every task of the job unwinds. */
static void on_stop(struct mh_post *post)
{
    struct job *job = ((struct job_post *)(void *)post)->job;
    bool now = atomic_load_explicit(job->run->cfg->stop, memory_order_relaxed) >= MH_STOP_NOW;
    mh_wake_all(&job->changed);
    if (now && job->task)
        mh_task_cancel(job->task);
    for (unsigned i = 0; now && i < LANES_MAX; i++) {
        struct lane *lane = job->lanes[i];
        if (lane && lane->task)
            mh_task_cancel(lane->task);
        if (lane && lane->side_task)
            mh_task_cancel(lane->side_task);
    }
    run_left_one(job->run);
}

/* Sets the jobs up on their schedulers; nothing runs yet. */
static int make_jobs(struct run *run, job_fn *work, void *results, size_t result_size,
                     struct mh_err *err)
{
    struct mh_engine_config *cfg = run->cfg;
    run->work = work;
    run->n_jobs = cfg->n_mailboxes;
    run->jobs = mh_zalloc(run->n_jobs * sizeof *run->jobs);
    run->budgets.v = mh_zalloc(2 * run->n_jobs * sizeof *run->budgets.v);
    if (!run->jobs || !run->budgets.v)
        return mh_err_nomem(err);
    for (size_t i = 0; i < run->n_jobs; i++) {
        struct job *job = &run->jobs[i];
        job->run = run;
        job->index = i;
        job->mb = &cfg->mailboxes[i];
        job->sched = cfg->scheds[i % cfg->n_scheds];
        job->res_other = (char *)results + i * result_size;
        job->start.fn = on_start;
        for (unsigned level = 0; level < MH_ARRAY_LEN(job->stop_posts); level++)
            job->stop_posts[level] = (struct job_post){{NULL, on_stop}, job};
        int code = job_set_up(job, err);
        if (code != MH_OK)
            return code;
    }
    return MH_OK;
}

static void free_jobs(struct run *run)
{
    for (size_t i = 0; i < run->n_jobs && run->jobs; i++)
        job_tear_down(&run->jobs[i]);
    mh_free(run->jobs);
}

/* Lock held; a post runs once per level, so each level has its own. */
static void pass_stop_on(struct run *run, int level)
{
    for (size_t i = 0; i < run->n_jobs; i++) {
        run->left++;
        mh_sched_post(run->jobs[i].sched, &run->jobs[i].stop_posts[level - 1].post);
    }
}

/* Waits for every job. The stop level may be set by a signal handler, which cannot wake anybody: it is
 * looked at ten times a second. */
static void wait_for_jobs(struct run *run)
{
    int passed_on = 0;
    (void)pthread_mutex_lock(&run->lock);
    while (run->left > 0) {
        int level = atomic_load_explicit(run->cfg->stop, memory_order_relaxed);
        if (level == MH_STOP_NOT && run->cfg->until_wall_s &&
            mh_clock_wall_s() >= run->cfg->until_wall_s)
            atomic_store_explicit(run->cfg->stop, level = MH_STOP_SOON, memory_order_relaxed);
        while (passed_on < MH_MIN(level, MH_STOP_NOW))
            pass_stop_on(run, ++passed_on);
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until); /* whatever becomes of the wall clock */
        until.tv_nsec += 100 * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_clockwait(&run->changed, &run->lock, CLOCK_MONOTONIC, &until);
    }
    (void)pthread_mutex_unlock(&run->lock);
}

int run_jobs(struct mh_engine_config *cfg, job_fn *work, void *results, size_t result_size,
             struct mh_err *err)
{
    struct run run = {
        .cfg = cfg, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    mh_err_reset(&run.fatal);
    int code = budgets_init(&run.budgets, err);
    if (code != MH_OK)
        return code;
    code = make_jobs(&run, work, results, result_size, err);
    if (code == MH_OK) {
        run.left = run.n_jobs;
        for (size_t i = 0; i < run.n_jobs; i++)
            mh_sched_post(run.jobs[i].sched, &run.jobs[i].start);
        wait_for_jobs(&run);
        if (run.fatal.code != MH_OK) {
            *err = run.fatal;
            code = run.fatal.code;
        }
    }
    free_jobs(&run);
    budgets_done(&run.budgets);
    return code;
}
