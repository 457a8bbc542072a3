/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tasks: straight-line code that waits without blocking its thread.
 *
 * A scheduler (struct mh_sched) belongs to one thread and runs many tasks, each on a small stack of
 * its own. A task runs until it waits; then the next runnable one goes on. When none can run, the
 * scheduler asks its poller for events up to the nearest deadline. src/net supplies the poller
 * (epoll); without one the scheduler just waits for time and posts, and with a virtual clock it jumps
 * to the next deadline, so that two weeks of waiting take a moment in a test.
 *
 * Nothing inside one scheduler needs a lock: tasks switch only in functions marked "waits".
 * Another thread reaches a scheduler through mh_sched_post() only.
 * Ownership: a task's argument is the task function's; the scheduler frees the task when it returns.
 * Cancelling: mh_task_cancel() makes every present and later wait of the task answer MH_ECANCEL,
 * so it unwinds through its ordinary clean-up path. mh_offload() always waits for its work to end.
 *
 * Example. The reader task of a connection calls mh_wait(&conn->readable, deadline): it is parked on
 * the queue. epoll reports input, the poller calls mh_wake_all(&conn->readable), the scheduler
 * resumes the reader behind its mh_wait(), which returns 0.
 */
#ifndef MH_BASE_TASK_H
#define MH_BASE_TASK_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/slab.h"

struct mh_sched;
struct mh_task;

/* Tasks parked until somebody wakes them; zero-initialised is empty. Belongs to one scheduler. */
struct mh_waitq {
    struct mh_task *head;
    struct mh_task *tail;
};

struct mh_poller {
    /* Waits up to TIMEOUT_MS (0: look only; -1: no limit) and wakes what became ready. */
    void (*poll)(void *ctx, int64_t timeout_ms);
    /* Makes a poll in progress return. thread: any */
    void (*interrupt)(void *ctx);
    /* Before each poll: send what was queued in this round; may be NULL. */
    void (*flush)(void *ctx);
    void *ctx; /* borrowed: outlives the scheduler */
};

/* thread: the one that will run it. POLLER may be NULL. */
int mh_sched_new(const struct mh_poller *poller, struct mh_sched **out,
                 struct mh_err *err) MH_MUST_CHECK;
/* No task may be left. */
void mh_sched_free(struct mh_sched *s);
/* A clock that starts at START_MS and jumps to the next deadline when nothing can run. Tests only. */
void mh_sched_set_virtual(struct mh_sched *s, int64_t start_ms);
/* Runs until no task is left and no thread holds the scheduler (mh_sched_hold), then returns. */
void mh_sched_run(struct mh_sched *s);
/* Keeps mh_sched_run() going without tasks until the matching release. thread: any */
void mh_sched_hold(struct mh_sched *s);
void mh_sched_release(struct mh_sched *s);
/* In a task that waits for another thread's post: a virtual clock stands still from begin to end, because the thread
 * does not live by it. Nothing with a real clock. */
void mh_outside_begin(void);
void mh_outside_end(void);
/* Runs FN(ARG) in the scheduler's thread between tasks (it must not wait). thread: any
 * POST is storage that stays valid until FN runs; FN may free it. No allocation, cannot fail. */
struct mh_post {
    struct mh_post *next;
    void (*fn)(struct mh_post *post);
};
void mh_sched_post(struct mh_sched *s, struct mh_post *post);

struct mh_sched *mh_sched_self(void);       /* NULL outside a scheduler thread */
struct mh_task *mh_task_self(void);         /* NULL outside a task */
int64_t mh_now_ms(void);                    /* the scheduler's clock; monotonic outside */
int64_t mh_deadline_ms(int64_t timeout_ms); /* mh_now_ms() + TIMEOUT_MS, or MH_NEVER for <= 0 */

/* Starts FN(ARG) as a task; it runs when the caller next waits. NAME is static, for diagnosis.
 * *OUT (may be NULL) is valid until the task has ended and was joined or detached: a task started
 * with OUT must be joined with mh_task_join(). */
int mh_task_spawn(struct mh_sched *s, const char *name, void (*fn)(void *arg), void *arg,
                  struct mh_task **out, struct mh_err *err) MH_MUST_CHECK;
void mh_task_cancel(struct mh_task *t);
bool mh_task_cancelled(void); /* of the calling task */
/* waits: until T has ended, whatever happens (a cancelled caller waits on). Frees T. */
void mh_task_join(struct mh_task *t);

/* waits: until woken (0), DEADLINE_MS passed (MH_ETIMEOUT) or cancelled (MH_ECANCEL). */
int mh_wait(struct mh_waitq *q, int64_t deadline_ms) MH_MUST_CHECK;
/* waits: until woken, cancelled or not. For waits that are known to end soon. */
void mh_wait_always(struct mh_waitq *q);
void mh_wake_one(struct mh_waitq *q);
void mh_wake_all(struct mh_waitq *q);
/* waits: until the time has come (0) or cancelled. */
int mh_sleep_until(int64_t when_ms) MH_MUST_CHECK;
/* Lets other runnable tasks go first. waits */
void mh_yield(void);

/* waits: while FN(ARG) runs in a worker thread. For blocking calls and long computing. Outside a task FN is called directly. */
void mh_offload(void (*fn)(void *arg), void *arg);

/* waits: for a slab when the pool is at its cap, until DEADLINE_MS. */
int mh_slab_get_wait(struct mh_pool *pool, int64_t deadline_ms, struct mh_slab **out,
                     struct mh_err *err) MH_MUST_CHECK;
/* waits: until the reservation is granted. */
int mh_pool_reserve_wait(struct mh_pool *pool, uint64_t bytes, struct mh_err *err) MH_MUST_CHECK;

#endif
