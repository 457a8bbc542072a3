/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/task.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "base/mem.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MH_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define MH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(MH_ASAN)
#define MH_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(MH_TSAN)
#define MH_TSAN 1
#endif
#ifdef MH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef MH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum {
    GUARD_BYTES = 4096,
    SPARE_STACKS_MAX = 64, /* kept for the next tasks */
};

/* Where one line of execution is when it does not run: a task's, or the scheduler's own. */
struct fiber {
    ucontext_t ctx;
    void *stack; /* lowest address, above the guard; NULL for the thread's own */
    size_t stack_bytes;
#ifdef MH_ASAN
    void *fake_stack;
#endif
#ifdef MH_TSAN
    void *tsan;
#endif
};

struct mh_task {
    struct fiber fiber;
    struct mh_sched *sched;
    const char *name; /* static */
    void (*fn)(void *);
    void *arg;
    struct mh_task *next, *prev; /* in `queue` or in the run queue */
    struct mh_waitq *queue;      /* parked here, or NULL */
    int64_t deadline_ms;
    size_t timer; /* index in the heap + 1; 0 = none */
    int wake_code;
    bool is_cancelled;
    bool is_joinable;
    bool is_ended;
    bool is_interruptible; /* its present wait */
    struct mh_waitq joiners;
};

struct offload_job {
    struct offload_job *next;
    void (*fn)(void *);
    void *arg;
    struct mh_sched *sched;
    struct mh_post post;
    struct mh_waitq q;
    bool done;
};

struct mh_sched {
    struct fiber self;
    struct mh_poller poller;
    struct mh_task *current;
    struct mh_waitq runnable;
    struct mh_task **timers; /* binary heap by deadline */
    size_t n_timers, cap_timers;
    size_t n_tasks;
    void *spare_stacks[SPARE_STACKS_MAX];
    size_t n_spare;
    bool is_virtual;
    int64_t virtual_ms;
    size_t outside; /* tasks that wait for another thread: offloads and the like */
    _Atomic(struct mh_post *) posts;
    _Atomic int holds;
    /* the poller used when none was given */
    pthread_mutex_t lock;
    pthread_cond_t kicked;
    bool kick;
    /* worker threads, started when first needed */
    pthread_t workers[MH_OFFLOAD_THREADS];
    unsigned n_workers, idle_workers;
    struct offload_job *jobs, **jobs_tail;
    pthread_cond_t has_job;
    bool stop_workers;
};

static __thread struct mh_sched *this_sched;

/* --- switching ------------------------------------------------------------------------------- */

static void fiber_switch(struct fiber *from, struct fiber *to, bool from_ends)
{
#ifdef MH_ASAN
    __sanitizer_start_switch_fiber(from_ends ? NULL : &from->fake_stack, to->stack,
                                   to->stack_bytes);
#else
    (void)from_ends;
#endif
#ifdef MH_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    (void)swapcontext(&from->ctx, &to->ctx);
#ifdef MH_ASAN
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

static void list_push(struct mh_waitq *q, struct mh_task *t)
{
    t->next = NULL;
    t->prev = q->tail;
    if (q->tail)
        q->tail->next = t;
    else
        q->head = t;
    q->tail = t;
}

static void list_remove(struct mh_waitq *q, struct mh_task *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        q->head = t->next;
    if (t->next)
        t->next->prev = t->prev;
    else
        q->tail = t->prev;
    t->next = t->prev = NULL;
}

/* --- timers: a binary heap, the task knows its place ------------------------------------------- */

static void timer_place(struct mh_sched *s, size_t i, struct mh_task *t)
{
    s->timers[i] = t;
    t->timer = i + 1;
}

static void timer_up(struct mh_sched *s, size_t i, struct mh_task *t)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (s->timers[parent]->deadline_ms <= t->deadline_ms)
            break;
        timer_place(s, i, s->timers[parent]);
        i = parent;
    }
    timer_place(s, i, t);
}

static void timer_down(struct mh_sched *s, size_t i, struct mh_task *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n_timers)
            break;
        if (child + 1 < s->n_timers &&
            s->timers[child + 1]->deadline_ms < s->timers[child]->deadline_ms)
            child++;
        if (t->deadline_ms <= s->timers[child]->deadline_ms)
            break;
        timer_place(s, i, s->timers[child]);
        i = child;
    }
    timer_place(s, i, t);
}

/* Room was made when the task was spawned (one timer per task at most), so this cannot fail. */
static void timer_add(struct mh_sched *s, struct mh_task *t)
{
    mh_assert(s->n_timers < s->cap_timers);
    timer_up(s, s->n_timers++, t);
}

static void timer_remove(struct mh_sched *s, struct mh_task *t)
{
    size_t i = t->timer - 1;
    struct mh_task *last = s->timers[--s->n_timers];
    t->timer = 0;
    if (last == t)
        return;
    if (i > 0 && s->timers[(i - 1) / 2]->deadline_ms > last->deadline_ms)
        timer_up(s, i, last);
    else
        timer_down(s, i, last);
}

/* --- waiting ------------------------------------------------------------------------------------ */

static void make_runnable(struct mh_task *t, int code)
{
    if (t->queue)
        list_remove(t->queue, t);
    t->queue = NULL;
    if (t->timer)
        timer_remove(t->sched, t);
    t->wake_code = code;
    list_push(&t->sched->runnable, t);
}

static int park(struct mh_waitq *q, int64_t deadline_ms, bool is_interruptible)
{
    struct mh_sched *s = this_sched;
    mh_assert(s && s->current);
    struct mh_task *t = s->current;
    if (is_interruptible && t->is_cancelled)
        return MH_ECANCEL;
    t->is_interruptible = is_interruptible;
    t->queue = q;
    if (q)
        list_push(q, t);
    if (deadline_ms != MH_NEVER) {
        t->deadline_ms = deadline_ms;
        timer_add(s, t);
    }
    fiber_switch(&t->fiber, &s->self, false);
    return t->wake_code;
}

int mh_wait(struct mh_waitq *q, int64_t deadline_ms)
{
    return park(q, deadline_ms, true);
}

void mh_wait_always(struct mh_waitq *q)
{
    (void)park(q, MH_NEVER, false);
}

int mh_sleep_until(int64_t when_ms)
{
    int code = park(NULL, when_ms, true);
    return code == MH_ETIMEOUT ? MH_OK : code;
}

void mh_wake_one(struct mh_waitq *q)
{
    if (q->head)
        make_runnable(q->head, MH_OK);
}

void mh_wake_all(struct mh_waitq *q)
{
    while (q->head)
        make_runnable(q->head, MH_OK);
}

void mh_yield(void)
{
    struct mh_sched *s = this_sched;
    struct mh_task *t = s->current;
    list_push(&s->runnable, t);
    fiber_switch(&t->fiber, &s->self, false);
}

struct mh_sched *mh_sched_self(void)
{
    return this_sched;
}

struct mh_task *mh_task_self(void)
{
    return this_sched ? this_sched->current : NULL;
}

int64_t mh_now_ms(void)
{
    return this_sched && this_sched->is_virtual ? this_sched->virtual_ms : mh_clock_mono_ms();
}

int64_t mh_deadline_ms(int64_t timeout_ms)
{
    return timeout_ms <= 0 ? MH_NEVER : mh_now_ms() + timeout_ms;
}

/* --- tasks ------------------------------------------------------------------------------------------ */

/* A stack that a task has had before: its last frames never returned. */
__attribute__((noinline)) static void *stack_again(struct mh_sched *s)
{
    void *stack = s->spare_stacks[--s->n_spare];
#ifdef MH_ASAN
    __asan_unpoison_memory_region(stack, MH_TASK_STACK_BYTES);
#endif
    return stack;
}

/* Not inlined: getcontext() in the caller counts as returning twice. */
__attribute__((noinline)) static void *stack_new(struct mh_sched *s)
{
    if (s->n_spare)
        return stack_again(s);
    char *map = mmap(NULL, GUARD_BYTES + MH_TASK_STACK_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    if (mprotect(map, GUARD_BYTES, PROT_NONE) != 0) {
        (void)munmap(map, GUARD_BYTES + MH_TASK_STACK_BYTES);
        return NULL;
    }
    return map + GUARD_BYTES;
}

static void stack_free(struct mh_sched *s, void *stack)
{
    if (s && s->n_spare < SPARE_STACKS_MAX)
        s->spare_stacks[s->n_spare++] = stack;
    else
        (void)munmap((char *)stack - GUARD_BYTES, GUARD_BYTES + MH_TASK_STACK_BYTES);
}

static void task_main(void)
{
    struct mh_sched *s = this_sched;
    struct mh_task *t = s->current;
#ifdef MH_ASAN
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    t->fn(t->arg);
    t->is_ended = true;
    fiber_switch(&t->fiber, &s->self, true);
    __builtin_unreachable(); /* nothing resumes an ended task */
}

int mh_task_spawn(struct mh_sched *s, const char *name, void (*fn)(void *arg), void *arg,
                  struct mh_task **out, struct mh_err *err)
{
    mh_assert(this_sched == NULL || this_sched == s);
    struct mh_task *t = mh_zalloc(sizeof *t);
    void *stack = t ? stack_new(s) : NULL;
    if (!t || !stack || !mh_grow(s->timers, s->cap_timers, s->n_tasks + 1)) {
        if (stack)
            stack_free(s, stack);
        mh_free(t);
        return mh_err_nomem(err);
    }
    t->sched = s;
    t->name = name;
    t->fn = fn;
    t->arg = arg;
    t->is_joinable = out != NULL;
    t->fiber.stack = stack;
    t->fiber.stack_bytes = MH_TASK_STACK_BYTES;
    (void)getcontext(&t->fiber.ctx);
    t->fiber.ctx.uc_stack.ss_sp = stack;
    t->fiber.ctx.uc_stack.ss_size = MH_TASK_STACK_BYTES;
    t->fiber.ctx.uc_link = NULL;
    makecontext(&t->fiber.ctx, task_main, 0);
#ifdef MH_TSAN
    t->fiber.tsan = __tsan_create_fiber(0);
#endif
    s->n_tasks++;
    list_push(&s->runnable, t);
    if (out)
        *out = t;
    return MH_OK;
}

void mh_task_cancel(struct mh_task *t)
{
    t->is_cancelled = true;
    bool is_parked = t->queue || t->timer;
    if (is_parked && t->is_interruptible)
        make_runnable(t, MH_ECANCEL);
}

bool mh_task_cancelled(void)
{
    struct mh_task *t = mh_task_self();
    return t && t->is_cancelled;
}

void mh_task_join(struct mh_task *t)
{
    mh_assert(t->is_joinable);
    while (!t->is_ended)
        mh_wait_always(&t->joiners);
    mh_free(t);
}

/* In the scheduler's own context: T's stack is not in use any more. */
static void task_end(struct mh_sched *s, struct mh_task *t)
{
#ifdef MH_TSAN
    __tsan_destroy_fiber(t->fiber.tsan);
#endif
    stack_free(s, t->fiber.stack);
    s->n_tasks--;
    if (t->is_joinable)
        mh_wake_all(&t->joiners);
    else
        mh_free(t);
}

/* --- the scheduler --------------------------------------------------------------------------------- */

/* The poller when none is given: time and posts only. */
static void plain_poll(void *ctx, int64_t timeout_ms)
{
    struct mh_sched *s = ctx;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    if (timeout_ms > 0) {
        until.tv_sec += timeout_ms / 1000;
        until.tv_nsec += timeout_ms % 1000 * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
    }
    (void)pthread_mutex_lock(&s->lock);
    int rc = 0;
    while (!s->kick && timeout_ms != 0 && rc == 0)
        rc = timeout_ms < 0 ? pthread_cond_wait(&s->kicked, &s->lock)
                            : pthread_cond_timedwait(&s->kicked, &s->lock, &until);
    s->kick = false;
    (void)pthread_mutex_unlock(&s->lock);
}

static void plain_interrupt(void *ctx)
{
    struct mh_sched *s = ctx;
    (void)pthread_mutex_lock(&s->lock);
    s->kick = true;
    (void)pthread_cond_signal(&s->kicked);
    (void)pthread_mutex_unlock(&s->lock);
}

int mh_sched_new(const struct mh_poller *poller, struct mh_sched **out, struct mh_err *err)
{
    struct mh_sched *s = mh_zalloc(sizeof *s);
    if (!s)
        return mh_err_nomem(err);
    s->jobs_tail = &s->jobs;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->has_job, NULL);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->kicked, &attr);
    (void)pthread_condattr_destroy(&attr);
    s->poller =
        poller ? *poller
               : (struct mh_poller){.poll = plain_poll, .interrupt = plain_interrupt, .ctx = s};
    *out = s;
    return MH_OK;
}

void mh_sched_free(struct mh_sched *s)
{
    if (!s)
        return;
    mh_assert(s->n_tasks == 0);
    (void)pthread_mutex_lock(&s->lock);
    s->stop_workers = true;
    (void)pthread_cond_broadcast(&s->has_job);
    (void)pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->n_workers; i++)
        (void)pthread_join(s->workers[i], NULL);
    while (s->n_spare)
        (void)munmap((char *)s->spare_stacks[--s->n_spare] - GUARD_BYTES,
                     GUARD_BYTES + MH_TASK_STACK_BYTES);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->kicked);
    (void)pthread_cond_destroy(&s->has_job);
    mh_free(s->timers);
    mh_free(s);
}

void mh_outside_begin(void)
{
    this_sched->outside++;
}

void mh_outside_end(void)
{
    mh_assert(this_sched->outside > 0);
    this_sched->outside--;
}

void mh_sched_set_virtual(struct mh_sched *s, int64_t start_ms)
{
    s->is_virtual = true;
    s->virtual_ms = start_ms;
}

void mh_sched_hold(struct mh_sched *s)
{
    atomic_fetch_add_explicit(&s->holds, 1, memory_order_relaxed);
}

void mh_sched_release(struct mh_sched *s)
{
    int before = atomic_fetch_sub_explicit(&s->holds, 1, memory_order_release);
    mh_assert(before > 0);
    s->poller.interrupt(s->poller.ctx);
}

void mh_sched_post(struct mh_sched *s, struct mh_post *post)
{
    struct mh_post *head = atomic_load_explicit(&s->posts, memory_order_relaxed);
    do {
        post->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&s->posts, &head, post, memory_order_release,
                                                    memory_order_relaxed));
    if (!head)
        s->poller.interrupt(s->poller.ctx);
}

static void run_posts(struct mh_sched *s)
{
    struct mh_post *list = atomic_exchange_explicit(&s->posts, NULL, memory_order_acquire);
    struct mh_post *in_order = NULL;
    while (list) {
        struct mh_post *next = list->next;
        list->next = in_order;
        in_order = list;
        list = next;
    }
    while (in_order) {
        struct mh_post *next = in_order->next;
        in_order->fn(in_order);
        in_order = next;
    }
}

static void run_timers(struct mh_sched *s)
{
    int64_t now = mh_now_ms();
    while (s->n_timers && s->timers[0]->deadline_ms <= now)
        make_runnable(s->timers[0], MH_ETIMEOUT);
}

static void run_tasks(struct mh_sched *s)
{
    /* Those that become runnable meanwhile run in the next round, after the poller had its turn. */
    struct mh_task *last = s->runnable.tail;
    struct mh_task *t = NULL;
    while (t != last) {
        t = s->runnable.head;
        list_remove(&s->runnable, t);
        s->current = t;
        fiber_switch(&s->self, &t->fiber, false);
        s->current = NULL;
        bool was_last = t == last;
        if (t->is_ended)
            task_end(s, t);
        if (was_last)
            break;
    }
}

/* How long the poller may wait; jumps a virtual clock instead of waiting. */
static int64_t poll_timeout(struct mh_sched *s)
{
    if (s->runnable.head || atomic_load_explicit(&s->posts, memory_order_relaxed))
        return 0;
    if (!s->n_timers)
        return -1;
    if (s->is_virtual) {
        if (s->outside == 0 && s->timers[0]->deadline_ms > s->virtual_ms)
            s->virtual_ms = s->timers[0]->deadline_ms;
        return s->outside ? -1 : 0;
    }
    int64_t left = s->timers[0]->deadline_ms - mh_clock_mono_ms();
    return left < 0 ? 0 : left;
}

static bool is_finished(struct mh_sched *s)
{
    return s->n_tasks == 0 && atomic_load_explicit(&s->holds, memory_order_acquire) == 0 &&
           atomic_load_explicit(&s->posts, memory_order_acquire) == NULL;
}

void mh_sched_run(struct mh_sched *s)
{
    mh_assert(this_sched == NULL);
    this_sched = s;
#ifdef MH_TSAN
    s->self.tsan = __tsan_get_current_fiber();
#endif
#ifdef MH_ASAN
    pthread_attr_t attr;
    (void)pthread_getattr_np(pthread_self(), &attr);
    (void)pthread_attr_getstack(&attr, &s->self.stack, &s->self.stack_bytes);
    (void)pthread_attr_destroy(&attr);
#endif
    for (;;) {
        run_posts(s);
        run_timers(s);
        if (s->runnable.head)
            run_tasks(s);
        if (s->poller.flush)
            s->poller.flush(s->poller.ctx);
        if (is_finished(s))
            break;
        s->poller.poll(s->poller.ctx, poll_timeout(s));
    }
    this_sched = NULL;
}

/* --- blocking work elsewhere --------------------------------------------------------------------------- */

static void on_offload_done(struct mh_post *post)
{
    struct offload_job *job = mh_container_of(post, struct offload_job, post);
    job->done = true;
    mh_wake_all(&job->q);
}

static void *worker_main(void *arg)
{
    struct mh_sched *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->jobs && !s->stop_workers) {
            s->idle_workers++;
            (void)pthread_cond_wait(&s->has_job, &s->lock);
            s->idle_workers--;
        }
        struct offload_job *job = s->jobs;
        if (!job)
            break;
        s->jobs = job->next;
        if (!s->jobs)
            s->jobs_tail = &s->jobs;
        (void)pthread_mutex_unlock(&s->lock);
        job->fn(job->arg);
        mh_sched_post(job->sched, &job->post);
        (void)pthread_mutex_lock(&s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Lock held. False when there is no worker and none can be made: the caller works itself. */
static bool ensure_worker(struct mh_sched *s)
{
    if (s->idle_workers == 0 && s->n_workers < MH_OFFLOAD_THREADS &&
        pthread_create(&s->workers[s->n_workers], NULL, worker_main, s) == 0)
        s->n_workers++;
    return s->n_workers > 0;
}

void mh_offload(void (*fn)(void *arg), void *arg)
{
    struct mh_sched *s = this_sched;
    if (!s || !s->current) {
        fn(arg);
        return;
    }
    struct offload_job job = {.fn = fn, .arg = arg, .sched = s, .post.fn = on_offload_done};
    (void)pthread_mutex_lock(&s->lock);
    bool has_worker = ensure_worker(s);
    if (has_worker) {
        *s->jobs_tail = &job;
        s->jobs_tail = &job.next;
        (void)pthread_cond_signal(&s->has_job);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!has_worker) {
        fn(arg);
        return;
    }
    s->outside++;
    while (!job.done)
        mh_wait_always(&job.q);
    s->outside--;
}

/* --- waiting for the pool -------------------------------------------------------------------------------- */

struct pool_wait {
    struct mh_pool_waiter waiter;
    struct mh_sched *sched;
    struct mh_post post;
    struct mh_waitq q;
    bool told;
};

static void on_pool_post(struct mh_post *post)
{
    struct pool_wait *w = mh_container_of(post, struct pool_wait, post);
    w->told = true;
    mh_wake_all(&w->q);
}

static void on_pool_notify(struct mh_pool_waiter *waiter)
{
    struct pool_wait *w = mh_container_of(waiter, struct pool_wait, waiter);
    mh_sched_post(w->sched, &w->post);
}

/* Waits until something came back to POOL; TRY is asked again before parking, so that what came back
 * in between is not missed. Returns true when TRY succeeded. */
static int pool_wait(struct mh_pool *pool, bool (*try_get)(void *ctx), void *ctx,
                     int64_t deadline_ms)
{
    while (!try_get(ctx)) {
        struct pool_wait w = {
            .waiter.notify = on_pool_notify, .sched = this_sched, .post.fn = on_pool_post};
        mh_pool_waiter_add(pool, &w.waiter);
        bool got = try_get(ctx);
        int code = got ? MH_OK : mh_wait(&w.q, deadline_ms);
        /* Told already: the post is on its way and W must live until it has run. */
        if (!mh_pool_waiter_remove(pool, &w.waiter)) {
            while (!w.told)
                mh_wait_always(&w.q);
        }
        if (got || code != MH_OK)
            return code;
    }
    return MH_OK;
}

struct slab_try {
    struct mh_pool *pool;
    struct mh_slab *slab;
};

static bool try_slab(void *ctx)
{
    struct slab_try *t = ctx;
    t->slab = mh_slab_get(t->pool);
    return t->slab != NULL;
}

int mh_slab_get_wait(struct mh_pool *pool, int64_t deadline_ms, struct mh_slab **out,
                     struct mh_err *err)
{
    struct slab_try t = {pool, NULL};
    int code = pool_wait(pool, try_slab, &t, deadline_ms);
    *out = t.slab;
    if (code == MH_ECANCEL)
        return mh_err_set(err, MH_ECANCEL, "task", "stopped");
    if (code != MH_OK)
        return mh_err_set(err, MH_ERUN, "memory",
                          "the memory cap is too small for this many connections; raise --memory");
    return MH_OK;
}

struct reserve_try {
    struct mh_pool *pool;
    uint64_t bytes;
};

static bool try_reserve(void *ctx)
{
    struct reserve_try *t = ctx;
    return mh_pool_reserve(t->pool, t->bytes);
}

int mh_pool_reserve_wait(struct mh_pool *pool, uint64_t bytes, struct mh_err *err)
{
    struct mh_pool_stats stats;
    mh_pool_stats(pool, &stats);
    if (bytes > stats.cap_bytes)
        return mh_err_set(err, MH_EUSAGE, "memory",
                          "one lane needs %llu KiB but --memory allows %llu KiB; raise it",
                          (unsigned long long)bytes >> 10,
                          (unsigned long long)stats.cap_bytes >> 10);
    struct reserve_try t = {pool, bytes};
    if (pool_wait(pool, try_reserve, &t, MH_NEVER) != MH_OK)
        return mh_err_set(err, MH_ECANCEL, "task", "stopped");
    return MH_OK;
}
