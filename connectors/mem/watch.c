/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Watching. Who waits stands in the store's list; a change takes him out of it and posts to his scheduler,
 * whichever thread that is. Between two calls the store's count of changes remembers for him.
 */
#include <string.h>

#include "base/task.h"
#include "connectors/mem/session.h"

struct mem_watcher {
    struct mem_watcher *next;
    struct mh_sched *sched;
    struct mh_post post;
    struct mh_waitq q;
    bool inbox_only;
    bool is_listed; /* store's lock */
    bool is_told;   /* its own scheduler: the post has run */
};

static void on_told(struct mh_post *post)
{
    struct mem_watcher *w = mh_container_of(post, struct mem_watcher, post);
    w->is_told = true;
    mh_wake_all(&w->q);
}

void mem_tell(struct mem_store *s, const struct mem_folder *f)
{
    bool is_inbox = f && f->role == MH_ROLE_INBOX;
    s->changes++;
    s->inbox_changes += is_inbox;
    for (struct mem_watcher **at = &s->watchers; *at;) {
        struct mem_watcher *w = *at;
        if (w->inbox_only && !is_inbox) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->is_listed = false;
        mh_sched_post(w->sched, &w->post); /* the last touch: W may be gone behind it */
    }
}

static uint64_t changes(const struct mh_session *s)
{
    return s->caps.watch_all ? s->store->changes : s->store->inbox_changes;
}

static void delist(struct mem_store *store, struct mem_watcher *w)
{
    struct mem_watcher **at = &store->watchers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

/* Lock held, and again afterwards; the answer is mh_wait()'s. */
static int wait_for_change(struct mh_session *s, int64_t until_ms)
{
    struct mem_watcher w = {.next = s->store->watchers,
                            .sched = mh_sched_self(),
                            .post.fn = on_told,
                            .inbox_only = !s->caps.watch_all,
                            .is_listed = true};
    s->store->watchers = &w;
    mem_unlock(s);
    int code = mh_wait(&w.q, until_ms);
    mem_lock(s);
    if (w.is_listed) {
        delist(s->store, &w);
        return code;
    }
    mem_unlock(s);
    while (!w.is_told) /* the post is on its way and W must live until it has run */
        mh_wait_always(&w.q);
    mem_lock(s);
    return code;
}

int mem_watch(struct mh_session *s, int64_t until_ms, bool *changed_out, struct mh_err *err)
{
    int code = MH_OK;
    *changed_out = false;
    if (s->is_dead)
        return mem_lost(s, err);
    if (!s->caps.watch)
        return mem_no_such(err, "IDLE");
    mem_lock(s);
    if (!s->is_watching)
        s->seen = changes(s);
    s->is_watching = true;
    while (code == MH_OK && changes(s) == s->seen)
        code = wait_for_change(s, until_ms);
    bool has_changed = changes(s) != s->seen;
    mem_unlock(s);
    if (code == MH_ECANCEL)
        return mh_err_set(err, MH_ECANCEL, "mem", "stopped");
    if (!has_changed)
        return MH_OK;
    code = mem_hear(s, err);
    if (code != MH_OK)
        return code;
    mem_lock(s);
    s->seen = changes(s);
    mem_unlock(s);
    *changed_out = true;
    return MH_OK;
}
