/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tasks: order, timers, cancelling, joining, posts from other threads, offloaded work, the pool. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/queue.h"
#include "base/task.h"

struct world {
    struct mh_sched *sched;
    struct mh_waitq q;
    int64_t log[64];
    int n;
    int wrong;
    int code;
    struct mh_pool *pool;
    struct mh_queue *queue;
    struct mh_task *other;
};

static void run(struct world *w, void (*fn)(void *), bool is_virtual)
{
    struct mh_err err;
    cr_assert_eq(mh_sched_new(NULL, &w->sched, &err), MH_OK);
    if (is_virtual)
        mh_sched_set_virtual(w->sched, 1000);
    cr_assert_eq(mh_task_spawn(w->sched, "main", fn, w, NULL, &err), MH_OK);
    mh_sched_run(w->sched);
    mh_sched_free(w->sched);
}

struct sleeper {
    struct world *w;
    int64_t when;
};

static void sleep_and_log(void *arg)
{
    struct sleeper *s = arg;
    cr_assert_eq(mh_sleep_until(s->when), MH_OK);
    cr_assert_eq(mh_now_ms(), s->when);
    s->w->log[s->w->n++] = s->when;
}

static void timers_main(void *arg)
{
    struct world *w = arg;
    static struct sleeper s[40];
    struct mh_err err;
    for (int i = 0; i < 40; i++) {
        s[i] = (struct sleeper){w, 1000 + (i * 7919 % 40) * 86400000ll};
        cr_assert_eq(mh_task_spawn(w->sched, "sleeper", sleep_and_log, &s[i], NULL, &err), MH_OK);
    }
}

Test(task, timers_fire_in_order_of_time)
{
    struct world w = {0};
    run(&w, timers_main, true);
    cr_assert_eq(w.n, 40);
    for (int i = 1; i < 40; i++)
        cr_assert_lt(w.log[i - 1], w.log[i]);
}

static void wait_for_cancel(void *arg)
{
    struct world *w = arg;
    w->code = mh_wait(&w->q, MH_NEVER);
    cr_assert(mh_task_cancelled());
    cr_assert_eq(mh_wait(&w->q, MH_NEVER), MH_ECANCEL, "every later wait answers the same");
    cr_assert_eq(mh_sleep_until(mh_now_ms() + 1000), MH_ECANCEL);
}

static void cancel_main(void *arg)
{
    struct world *w = arg;
    struct mh_task *t = NULL;
    struct mh_err err;
    cr_assert_eq(mh_task_spawn(w->sched, "waiter", wait_for_cancel, w, &t, &err), MH_OK);
    mh_yield();
    cr_assert_not_null(w->q.head);
    mh_task_cancel(t);
    cr_assert_null(w->q.head);
    mh_task_join(t);
}

Test(task, cancel_unwinds_a_waiting_task)
{
    struct world w = {0};
    run(&w, cancel_main, false);
    cr_assert_eq(w.code, MH_ECANCEL);
}

static void timeout_main(void *arg)
{
    struct world *w = arg;
    cr_assert_eq(mh_wait(&w->q, mh_now_ms() + 5000), MH_ETIMEOUT);
    cr_assert_null(w->q.head);
    w->code = 1;
}

Test(task, wait_times_out_and_leaves_the_queue)
{
    struct world w = {0};
    run(&w, timeout_main, true);
    cr_assert_eq(w.code, 1);
}

static void blocking_work(void *arg)
{
    *(pthread_t *)arg = pthread_self();
}

static void offload_main(void *arg)
{
    struct world *w = arg;
    pthread_t where = pthread_self();
    mh_offload(blocking_work, &where);
    w->code = !pthread_equal(where, pthread_self());
}

Test(task, offload_runs_in_another_thread)
{
    struct world w = {0};
    run(&w, offload_main, false);
    cr_assert_eq(w.code, 1);
}

static void give_slab_back(void *arg)
{
    struct mh_slab *slab = arg;
    mh_slab_unref(slab);
}

static void give_back_task(void *arg)
{
    mh_offload(give_slab_back, arg);
}

static void pool_main(void *arg)
{
    struct world *w = arg;
    struct mh_slab *a = mh_slab_get(w->pool);
    struct mh_slab *b = mh_slab_get(w->pool);
    struct mh_slab *c = NULL;
    struct mh_err err;
    cr_assert(a && b);
    cr_assert_null(mh_slab_get(w->pool), "the cap is hard");
    cr_assert_eq(mh_task_spawn(w->sched, "giver", give_back_task, a, NULL, &err), MH_OK);
    cr_assert_eq(mh_slab_get_wait(w->pool, MH_NEVER, &c, &err), MH_OK);
    cr_assert_eq(c, a);
    cr_assert_eq(mh_slab_get_wait(w->pool, mh_now_ms() + 10, &a, &err), MH_ERUN);
    mh_slab_unref(b);
    mh_slab_unref(c);
}

Test(task, slab_waits_for_another_thread)
{
    struct world w = {0};
    struct mh_err err;
    cr_assert_eq(mh_pool_new(2 * MH_SLAB_BYTES, &w.pool, &err), MH_OK);
    run(&w, pool_main, false);
    mh_pool_free(w.pool);
}

static void reserve_task(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    cr_assert_eq(mh_pool_reserve_wait(w->pool, 3 * MH_SLAB_BYTES, &err), MH_OK);
    w->log[w->n++] = 2;
    mh_pool_unreserve(w->pool, 3 * MH_SLAB_BYTES);
}

static void reserve_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    cr_assert_eq(mh_pool_reserve_wait(w->pool, 2 * MH_SLAB_BYTES, &err), MH_OK);
    cr_assert_eq(mh_task_spawn(w->sched, "second", reserve_task, w, NULL, &err), MH_OK);
    mh_yield();
    w->log[w->n++] = 1;
    mh_pool_unreserve(w->pool, 2 * MH_SLAB_BYTES);
    cr_assert_eq(mh_pool_reserve_wait(w->pool, 99 * MH_SLAB_BYTES, &err), MH_EUSAGE);
}

Test(task, reservations_wait_for_each_other)
{
    struct world w = {0};
    struct mh_err err;
    cr_assert_eq(mh_pool_new(4 * MH_SLAB_BYTES, &w.pool, &err), MH_OK);
    run(&w, reserve_main, false);
    cr_assert_eq(w.n, 2);
    cr_assert_eq(w.log[0], 1);
    mh_pool_free(w.pool);
}

struct numbered {
    struct mh_qitem item;
    int n;
};

static void producer_main(void *arg)
{
    struct world *w = arg;
    for (int i = 0; i < 1000; i++) {
        struct numbered *x = mh_alloc(sizeof *x);
        *x = (struct numbered){{NULL, 100}, i};
        cr_assert_eq(mh_queue_push(w->queue, &x->item), MH_OK);
    }
    mh_queue_close(w->queue);
}

/* Criterion's assertions belong to the main thread: what is wrong is counted. */
static void *consumer(void *arg)
{
    struct world *w = arg;
    struct mh_qitem *list = NULL;
    while ((list = mh_queue_pop_all(w->queue))) {
        size_t in_one = 0;
        while (list) {
            struct numbered *x = mh_container_of(list, struct numbered, item);
            list = list->next;
            w->wrong += x->n != w->n++;
            in_one++;
            mh_free(x);
        }
        w->wrong += in_one > 8;
    }
    return NULL;
}

Test(queue, full_queue_holds_the_task_and_keeps_order)
{
    struct world w = {0};
    struct mh_err err;
    pthread_t thread;
    cr_assert_eq(mh_queue_new(8, 1000000, &w.queue, &err), MH_OK);
    cr_assert_eq(pthread_create(&thread, NULL, consumer, &w), 0);
    run(&w, producer_main, false);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(w.n, 1000);
    cr_assert_eq(w.wrong, 0, "%d out of order, or beyond the queue's room", w.wrong);
    mh_queue_free(w.queue);
}
