/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The epoll loop: waiting for descriptors, being interrupted, calls that are due. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "net/loop.h"
#include "net/loop_priv.h"

struct world {
    struct mh_loop *loop;
    int fds[2];
    struct mh_task *other;
    int order[8];
    int n;
};

static void run(struct world *w, void (*fn)(void *))
{
    struct mh_err err;
    cr_assert_eq(mh_loop_new(&w->loop, &err), MH_OK);
    cr_assert_eq(mh_loop_self(), w->loop);
    cr_assert_eq(pipe2(w->fds, O_CLOEXEC | O_NONBLOCK), 0);
    cr_assert_eq(mh_task_spawn(mh_loop_sched(w->loop), "test", fn, w, NULL, &err), MH_OK);
    mh_sched_run(mh_loop_sched(w->loop));
    (void)close(w->fds[0]);
    (void)close(w->fds[1]);
    mh_loop_free(w->loop);
}

/* --- descriptors ----------------------------------------------------------------------------- */

static void writer(void *arg)
{
    struct world *w = arg;
    cr_assert_eq(write(w->fds[1], "x", 1), 1);
}

static void readable_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    cr_assert_eq(mh_loop_wait_fd(w->fds[1], true, MH_NEVER, &err), MH_OK, "a pipe has room");
    cr_assert_eq(mh_task_spawn(mh_loop_sched(w->loop), "writer", writer, w, NULL, &err), MH_OK);
    cr_assert_eq(mh_loop_wait_fd(w->fds[0], false, MH_NEVER, &err), MH_OK);
    cr_assert_eq(mh_loop_wait_fd(w->fds[0], false, MH_NEVER, &err), MH_OK, "it still has");
    char c = 0;
    cr_assert_eq(read(w->fds[0], &c, 1), 1);
    cr_assert_eq(mh_loop_wait_fd(w->fds[0], false, mh_now_ms() + 20, &err), MH_ETIMEOUT);
    cr_assert_eq(err.code, MH_ETIMEOUT);
    (void)close(w->fds[1]);
    cr_assert_eq(mh_loop_wait_fd(w->fds[0], false, MH_NEVER, &err), MH_OK, "the end is an event");
    w->fds[1] = -1;
}

Test(loop, waits_for_descriptors)
{
    struct world w = {0};
    run(&w, readable_main);
}

static void regular_main(void *arg)
{
    (void)arg;
    struct mh_err err;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(mh_loop_wait_fd(fd, false, MH_NEVER, &err), MH_ERUN, "epoll takes no files");
    cr_assert_eq(err.code, MH_ERUN);
    (void)close(fd);
}

Test(loop, refuses_what_epoll_refuses)
{
    struct world w = {0};
    run(&w, regular_main);
}

static void waiter(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    cr_assert_eq(mh_loop_wait_fd(w->fds[0], false, MH_NEVER, &err), MH_ECANCEL);
    w->n = 1;
}

static void cancel_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    cr_assert_eq(mh_task_spawn(mh_loop_sched(w->loop), "waiter", waiter, w, &w->other, &err),
                 MH_OK);
    mh_yield();
    mh_task_cancel(w->other);
    mh_task_join(w->other);
    cr_assert_eq(w->n, 1);
    /* Its watch is gone: a new one on the same descriptor is taken. */
    cr_assert_eq(write(w->fds[1], "x", 1), 1);
    cr_assert_eq(mh_loop_wait_fd(w->fds[0], false, MH_NEVER, &err), MH_OK);
}

Test(loop, a_cancelled_wait_leaves_nothing_behind)
{
    struct world w = {0};
    run(&w, cancel_main);
}

/* --- posts from another thread wake a poll that waits ---------------------------------------- */

enum { POSTS = 2000 };

struct ping {
    struct world *w;
    struct mh_waitq q;
    struct mh_post post;
    _Atomic int seen;
    int got;
};

static void on_post(struct mh_post *post)
{
    struct ping *p = mh_container_of(post, struct ping, post);
    p->got++;
    atomic_store(&p->seen, p->got);
    mh_wake_all(&p->q);
}

static void *poster(void *arg)
{
    struct ping *p = arg;
    for (int i = 0; i < POSTS; i++) {
        mh_sched_post(mh_loop_sched(p->w->loop), &p->post);
        while (atomic_load(&p->seen) <= i)
            continue;
    }
    return NULL;
}

static void posts_main(void *arg)
{
    struct ping p = {.w = arg, .post = {.fn = on_post}};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, poster, &p), 0);
    while (p.got < POSTS)
        cr_assert_eq(mh_wait(&p.q, mh_now_ms() + 60000), MH_OK);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(loop, no_interrupt_is_lost)
{
    struct world w = {0};
    run(&w, posts_main);
}

/* --- calls that are due ---------------------------------------------------------------------- */

struct call {
    struct mh_due due;
    struct world *w;
    int id;
    struct call *forgets;
    bool again;
};

static void on_due(struct mh_due *due)
{
    struct call *c = mh_container_of(due, struct call, due);
    cr_assert_not(due->is_booked);
    c->w->order[c->w->n++] = c->id;
    if (c->forgets)
        mh_loop_forget(&c->forgets->due);
    if (c->again) {
        c->again = false;
        mh_loop_soon(c->w->loop, &c->due);
    }
}

static void dues_main(void *arg)
{
    struct world *w = arg;
    struct call c[6];
    for (int i = 0; i < 6; i++)
        c[i] = (struct call){.due = {.fn = on_due}, .w = w, .id = i};
    int64_t now = mh_now_ms();
    mh_loop_at(w->loop, &c[0].due, now + 30);
    mh_loop_at(w->loop, &c[1].due, now + 10);
    mh_loop_soon(w->loop, &c[2].due);
    mh_loop_soon(w->loop, &c[3].due);
    mh_loop_soon(w->loop, &c[4].due);
    mh_loop_at(w->loop, &c[5].due, now + 20);
    mh_loop_soon(w->loop, &c[2].due); /* the later booking counts: now behind 3 and 4 */
    c[3].forgets = &c[4];
    c[2].again = true;
    cr_assert_eq(w->n, 0, "nothing runs before the end of the round");
    mh_yield();
    cr_assert_eq(w->n, 2);
    cr_assert_eq(w->order[0], 3);
    cr_assert_eq(w->order[1], 2);
    mh_yield();
    cr_assert_eq(w->n, 3, "booked again in its call: next round");
    cr_assert_eq(w->order[2], 2);
    mh_loop_forget(&c[5].due);
    mh_loop_forget(&c[5].due);
    cr_assert_eq(mh_sleep_until(now + 50), MH_OK);
    mh_yield();
    cr_assert_eq(w->n, 5);
    cr_assert_eq(w->order[3], 1);
    cr_assert_eq(w->order[4], 0);
}

Test(loop, due_calls_run_in_order)
{
    struct world w = {0};
    run(&w, dues_main);
}

struct only {
    struct mh_due due;
    struct mh_waitq q;
};

static void on_only(struct mh_due *due)
{
    struct only *o = mh_container_of(due, struct only, due);
    mh_wake_all(&o->q);
}

static void only_main(void *arg)
{
    struct world *w = arg;
    struct only o = {.due = {.fn = on_only}};
    int64_t start = mh_now_ms();
    mh_loop_at(w->loop, &o.due, start + 30);
    cr_assert_eq(mh_wait(&o.q, MH_NEVER), MH_OK, "the poll ends for it");
    cr_assert_geq(mh_now_ms() - start, 30);
}

Test(loop, a_timed_call_ends_a_poll_without_deadline)
{
    struct world w = {0};
    run(&w, only_main);
}
