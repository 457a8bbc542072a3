/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/queue.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/task.h"

/* A task that waits for room; lives on the task's stack. */
struct room_waiter {
    struct room_waiter *next;
    struct mh_sched *sched;
    struct mh_post post;
    struct mh_waitq q;
    bool told;
};

struct mh_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_cond_t drained; /* for plain threads that push */
    size_t max_items, max_bytes;
    size_t items, bytes;
    struct mh_qitem *head, *tail;
    struct room_waiter *waiters;
    bool closed;
};

int mh_queue_new(size_t max_items, size_t max_bytes, struct mh_queue **out, struct mh_err *err)
{
    struct mh_queue *q = mh_zalloc(sizeof *q);
    if (!q)
        return mh_err_nomem(err);
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->filled, NULL);
    (void)pthread_cond_init(&q->drained, NULL);
    q->max_items = max_items;
    q->max_bytes = max_bytes;
    *out = q;
    return MH_OK;
}

void mh_queue_free(struct mh_queue *q)
{
    if (!q)
        return;
    mh_assert(q->head == NULL);
    (void)pthread_cond_destroy(&q->filled);
    (void)pthread_cond_destroy(&q->drained);
    (void)pthread_mutex_destroy(&q->lock);
    mh_free(q);
}

/* One oversized item may enter an empty queue: it must pass somehow. */
static bool has_room(const struct mh_queue *q, const struct mh_qitem *item)
{
    return q->items == 0 || (q->items < q->max_items && q->bytes + item->bytes <= q->max_bytes);
}

static void on_room(struct mh_post *post)
{
    struct room_waiter *w = mh_container_of(post, struct room_waiter, post);
    w->told = true;
    mh_wake_all(&w->q);
}

/* Lock held on entry and exit; released while the task is parked. */
static void wait_for_room(struct mh_queue *q)
{
    if (!mh_task_self()) {
        (void)pthread_cond_wait(&q->drained, &q->lock);
        return;
    }
    struct room_waiter w = {.sched = mh_sched_self(), .post.fn = on_room, .next = q->waiters};
    q->waiters = &w;
    (void)pthread_mutex_unlock(&q->lock);
    /* The consumer always drains and tells: this ends, so a cancelled task waits it out too. */
    while (!w.told)
        mh_wait_always(&w.q);
    (void)pthread_mutex_lock(&q->lock);
}

int mh_queue_push(struct mh_queue *q, struct mh_qitem *item)
{
    (void)pthread_mutex_lock(&q->lock);
    while (!q->closed && !has_room(q, item))
        wait_for_room(q);
    bool closed = q->closed;
    if (!closed) {
        item->next = NULL;
        if (q->tail)
            q->tail->next = item;
        else
            q->head = item;
        q->tail = item;
        q->items++;
        q->bytes += item->bytes;
        (void)pthread_cond_signal(&q->filled);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return closed ? MH_ECANCEL : MH_OK;
}

/* Lock held. */
static void tell_waiters(struct mh_queue *q)
{
    struct room_waiter *w = q->waiters;
    q->waiters = NULL;
    while (w) {
        struct room_waiter *next = w->next; /* W is gone once its post has run */
        mh_sched_post(w->sched, &w->post);
        w = next;
    }
    (void)pthread_cond_broadcast(&q->drained);
}

struct mh_qitem *mh_queue_pop_all(struct mh_queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    while (!q->head && !q->closed)
        (void)pthread_cond_wait(&q->filled, &q->lock);
    struct mh_qitem *all = q->head;
    q->head = q->tail = NULL;
    q->items = q->bytes = 0;
    tell_waiters(q);
    (void)pthread_mutex_unlock(&q->lock);
    return all;
}

void mh_queue_close(struct mh_queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->closed = true;
    (void)pthread_cond_broadcast(&q->filled);
    tell_waiters(q);
    (void)pthread_mutex_unlock(&q->lock);
}
