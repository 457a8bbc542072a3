/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Connections per server, over all schedulers. Both ends of a lane are granted together, so that two
 * mailboxes that go opposite ways cannot wait for each other.
 */
#include <string.h>

#include "engine/engine_priv.h"

struct budget_waiter {
    struct budget_waiter *next;
    struct server *src, *dst;
    struct mh_sched *sched;
    struct mh_post post;
    struct mh_waitq q;
    bool granted; /* lock held */
    bool told;
};

int budgets_init(struct budgets *b, struct mh_err *err)
{
    *b = (struct budgets){0};
    if (pthread_mutex_init(&b->lock, NULL) != 0)
        return mh_err_nomem(err);
    return MH_OK;
}

void budgets_done(struct budgets *b)
{
    mh_assert(b->waiters == NULL);
    for (size_t i = 0; i < b->n; i++) {
        mh_free(b->v[i].key);
        tuner_free(b->v[i].tuner);
    }
    mh_free(b->v);
    (void)pthread_mutex_destroy(&b->lock);
}

struct server *budgets_server(struct budgets *b, const struct mh_endpoint *ep, unsigned limit,
                              struct mh_err *err)
{
    char *key = mh_endpoint_server_key(ep);
    if (!key) {
        (void)mh_err_nomem(err);
        return NULL;
    }
    for (size_t i = 0; i < b->n; i++) {
        if (strcmp(b->v[i].key, key) == 0) {
            mh_free(key);
            return &b->v[i];
        }
    }
    struct tuner *tuner = tuner_new();
    if (!tuner) {
        mh_free(key);
        (void)mh_err_nomem(err);
        return NULL;
    }
    /* Room for all was made by the caller: pointers into the array stay. */
    b->v[b->n] = (struct server){.key = key, .limit = limit, .tuner = tuner};
    return &b->v[b->n++];
}

/* Lock held. */
static bool grant(struct server *src, struct server *dst)
{
    bool same = src && src == dst;
    if (same && src->limit < 2)
        src->limit = 2; /* a lane within one server needs two */
    if (src && src->used + (same ? 2 : 1) > src->limit)
        return false;
    if (dst && !same && dst->used + 1 > dst->limit)
        return false;
    if (src)
        src->used++;
    if (dst)
        dst->used++;
    return true;
}

static void on_granted(struct mh_post *post)
{
    struct budget_waiter *w = mh_container_of(post, struct budget_waiter, post);
    w->told = true;
    mh_wake_all(&w->q);
}

bool budget_try(struct budgets *b, struct server *src, struct server *dst)
{
    (void)pthread_mutex_lock(&b->lock);
    bool ok = b->waiters == NULL && grant(src, dst);
    (void)pthread_mutex_unlock(&b->lock);
    return ok;
}

bool budget_has_waiters(struct budgets *b)
{
    (void)pthread_mutex_lock(&b->lock);
    bool has = b->waiters != NULL;
    (void)pthread_mutex_unlock(&b->lock);
    return has;
}

/* Takes W out of the line; false when it was granted meanwhile. */
static bool leave_line(struct budgets *b, struct budget_waiter *w)
{
    (void)pthread_mutex_lock(&b->lock);
    bool was_waiting = !w->granted;
    for (struct budget_waiter **at = &b->waiters; was_waiting && *at; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    (void)pthread_mutex_unlock(&b->lock);
    return was_waiting;
}

int budget_acquire(struct budgets *b, struct server *src, struct server *dst, struct mh_err *err)
{
    struct budget_waiter w = {
        .src = src, .dst = dst, .sched = mh_sched_self(), .post.fn = on_granted};
    (void)pthread_mutex_lock(&b->lock);
    bool now = b->waiters == NULL && grant(src, dst);
    if (!now) {
        struct budget_waiter **end = &b->waiters;
        while (*end)
            end = &(*end)->next;
        *end = &w;
    }
    (void)pthread_mutex_unlock(&b->lock);
    if (now)
        return MH_OK;
    int code = mh_wait(&w.q, MH_NEVER);
    if (code == MH_OK && w.told)
        return MH_OK;
    if (leave_line(b, &w))
        return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
    while (!w.told)
        mh_wait_always(&w.q);
    budget_release(b, src, dst);
    return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
}

void budget_release(struct budgets *b, struct server *src, struct server *dst)
{
    (void)pthread_mutex_lock(&b->lock);
    if (src)
        src->used--;
    if (dst)
        dst->used--;
    /* In order, but one that cannot be served (its server is full) does not hold up the others. */
    for (struct budget_waiter **at = &b->waiters; *at;) {
        struct budget_waiter *w = *at;
        if (!grant(w->src, w->dst)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->granted = true;
        mh_sched_post(w->sched, &w->post);
    }
    (void)pthread_mutex_unlock(&b->lock);
}
