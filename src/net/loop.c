/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop_priv.h"

enum {
    EVENTS_PER_POLL = 128,
    SPARE_BLOCKS_MAX = 32, /* 2 MiB kept per loop */
};

struct mh_loop {
    struct mh_sched *sched; /* owned */
    int epoll_fd;
    struct mh_watch interrupt; /* an eventfd */
    struct mh_due soon;        /* list heads */
    struct mh_due timed;
    int64_t next_ms; /* no timed call is due before */
    void *spare_blocks[SPARE_BLOCKS_MAX];
    size_t n_spare;
    struct epoll_event events[EVENTS_PER_POLL];
};

static __thread struct mh_loop *this_loop;

/* --- calls that are due ---------------------------------------------------------------------- */

static void list_init(struct mh_due *head)
{
    head->next = head->prev = head;
}

static bool list_is_empty(const struct mh_due *head)
{
    return head->next == head;
}

static void list_add(struct mh_due *head, struct mh_due *due)
{
    due->prev = head->prev;
    due->next = head;
    head->prev->next = due;
    head->prev = due;
    due->is_booked = true;
}

void mh_loop_forget(struct mh_due *due)
{
    if (!due->is_booked)
        return;
    due->prev->next = due->next;
    due->next->prev = due->prev;
    due->is_booked = false;
}

void mh_loop_soon(struct mh_loop *loop, struct mh_due *due)
{
    mh_loop_forget(due);
    list_add(&loop->soon, due);
}

void mh_loop_at(struct mh_loop *loop, struct mh_due *due, int64_t when_ms)
{
    mh_loop_forget(due);
    due->when_ms = when_ms;
    if (list_is_empty(&loop->timed) || when_ms < loop->next_ms)
        loop->next_ms = when_ms;
    list_add(&loop->timed, due);
}

/* Moves the timed calls whose time has come to the others. */
static void ripen(struct mh_loop *loop, int64_t now_ms)
{
    int64_t next_ms = MH_NEVER;
    for (struct mh_due *due = loop->timed.next, *after = NULL; due != &loop->timed; due = after) {
        after = due->next;
        if (due->when_ms <= now_ms)
            mh_loop_soon(loop, due);
        else
            next_ms = MH_MIN(next_ms, due->when_ms);
    }
    loop->next_ms = next_ms;
}

/* The poller's flush. What a call books for soon runs in the next round: a connection whose peer
 * takes everything at once cannot keep the others waiting. */
static void loop_flush(void *ctx)
{
    struct mh_loop *loop = ctx;
    if (!list_is_empty(&loop->timed)) {
        int64_t now_ms = mh_now_ms();
        if (now_ms >= loop->next_ms)
            ripen(loop, now_ms);
    }
    if (list_is_empty(&loop->soon))
        return;
    struct mh_due round = loop->soon;
    round.next->prev = round.prev->next = &round;
    list_init(&loop->soon);
    while (!list_is_empty(&round)) {
        struct mh_due *due = round.next;
        mh_loop_forget(due);
        due->fn(due);
    }
}

/* --- epoll ----------------------------------------------------------------------------------- */

static int poll_timeout(const struct mh_loop *loop, int64_t timeout_ms)
{
    if (!list_is_empty(&loop->soon))
        return 0;
    if (!list_is_empty(&loop->timed)) {
        int64_t left = MH_MAX(loop->next_ms - mh_now_ms(), 0);
        timeout_ms = timeout_ms < 0 ? left : MH_MIN(timeout_ms, left);
    }
    return (int)MH_MIN(timeout_ms, INT32_MAX);
}

static void loop_poll(void *ctx, int64_t timeout_ms)
{
    struct mh_loop *loop = ctx;
    /* An error can only be EINTR: the descriptor and the array are ours. The scheduler asks
     * again. */
    int n =
        epoll_wait(loop->epoll_fd, loop->events, EVENTS_PER_POLL, poll_timeout(loop, timeout_ms));
    for (int i = 0; i < n; i++) {
        struct mh_watch *w = loop->events[i].data.ptr;
        w->ready(w, loop->events[i].events);
    }
}

/* thread: any. The descriptor is watched edge-triggered, so each write counts and nobody reads it;
 * its counter would take 2^64 - 1 interrupts to fill. */
static void loop_interrupt(void *ctx)
{
    struct mh_loop *loop = ctx;
    uint64_t one = 1;
    while (write(loop->interrupt.fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static void on_interrupt(struct mh_watch *w, uint32_t events)
{
    (void)w;
    (void)events;
}

int mh_loop_watch(struct mh_loop *loop, struct mh_watch *w, uint32_t events, struct mh_err *err)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) != 0)
        return mh_err_sys(err, MH_ERUN, "net", errno, "cannot wait for a descriptor");
    return MH_OK;
}

void mh_loop_unwatch(struct mh_loop *loop, const struct mh_watch *w)
{
    /* Cannot fail for a descriptor that is watched. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
}

/* --- the loop -------------------------------------------------------------------------------- */

static int open_descriptors(struct mh_loop *loop, struct mh_err *err)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->interrupt.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->interrupt.ready = on_interrupt;
    if (loop->epoll_fd < 0 || loop->interrupt.fd < 0)
        return mh_err_sys(err, MH_ERUN, "net", errno, "cannot make an event loop");
    return mh_loop_watch(loop, &loop->interrupt, EPOLLIN | EPOLLET, err);
}

int mh_loop_new(struct mh_loop **out, struct mh_err *err)
{
    mh_assert(this_loop == NULL);
    struct mh_loop *loop = mh_zalloc(sizeof *loop);
    if (!loop)
        return mh_err_nomem(err);
    list_init(&loop->soon);
    list_init(&loop->timed);
    loop->next_ms = MH_NEVER;
    struct mh_poller poller = {
        .poll = loop_poll, .interrupt = loop_interrupt, .flush = loop_flush, .ctx = loop};
    int rc = open_descriptors(loop, err);
    if (rc == MH_OK)
        rc = mh_sched_new(&poller, &loop->sched, err);
    if (rc != MH_OK) {
        mh_loop_free(loop);
        return rc;
    }
    this_loop = loop;
    *out = loop;
    return MH_OK;
}

void mh_loop_free(struct mh_loop *loop)
{
    if (!loop)
        return;
    mh_sched_free(loop->sched);
    mh_assert(list_is_empty(&loop->soon) && list_is_empty(&loop->timed));
    while (loop->n_spare)
        mh_free(loop->spare_blocks[--loop->n_spare]);
    if (loop->interrupt.fd >= 0)
        (void)close(loop->interrupt.fd);
    if (loop->epoll_fd >= 0)
        (void)close(loop->epoll_fd);
    if (this_loop == loop)
        this_loop = NULL;
    mh_free(loop);
}

struct mh_sched *mh_loop_sched(struct mh_loop *loop)
{
    return loop->sched;
}

struct mh_loop *mh_loop_self(void)
{
    mh_assert(this_loop != NULL);
    return this_loop;
}

void *mh_loop_block_take(struct mh_loop *loop)
{
    return loop->n_spare ? loop->spare_blocks[--loop->n_spare] : mh_alloc(MH_LOOP_BLOCK_BYTES);
}

void mh_loop_block_give(struct mh_loop *loop, void *block)
{
    if (block && loop->n_spare < SPARE_BLOCKS_MAX)
        loop->spare_blocks[loop->n_spare++] = block;
    else
        mh_free(block);
}

/* --- other descriptors ----------------------------------------------------------------------- */

struct fd_wait {
    struct mh_watch watch;
    struct mh_waitq q;
    bool is_ready;
};

static void on_fd(struct mh_watch *w, uint32_t events)
{
    struct fd_wait *wait = mh_container_of(w, struct fd_wait, watch);
    (void)events;
    wait->is_ready = true;
    mh_wake_all(&wait->q);
}

int mh_loop_wait_fd(int fd, bool for_write, int64_t deadline_ms, struct mh_err *err)
{
    struct mh_loop *loop = mh_loop_self();
    struct fd_wait wait = {.watch = {.fd = fd, .ready = on_fd}};
    uint32_t events = EPOLLONESHOT | (for_write ? (uint32_t)EPOLLOUT : (uint32_t)EPOLLIN);
    int rc = mh_loop_watch(loop, &wait.watch, events, err);
    if (rc != MH_OK)
        return rc;
    while (rc == MH_OK && !wait.is_ready)
        rc = mh_wait(&wait.q, deadline_ms);
    mh_loop_unwatch(loop, &wait.watch);
    if (rc == MH_ETIMEOUT)
        return mh_err_set(err, rc, "net", "nothing happened before the deadline");
    if (rc == MH_ECANCEL)
        return mh_err_set(err, rc, "net", "stopped");
    return rc;
}
