/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/task.h"
#include "net/dial_priv.h"
#include "net/loop_priv.h"

/* RFC 8305, 5: the pause before the next address is tried beside the one that does not answer. */
#define ATTEMPT_DELAY_MS 250

struct attempt {
    struct mh_watch watch;
    struct dial *dial;
    int64_t deadline_ms;
    size_t which;
    bool is_active;
    bool is_ready;
};

struct dial {
    struct mh_loop *loop;
    const struct mh_addrs *addrs;
    int64_t timeout_ms;
    struct mh_waitq q;
    struct attempt attempts[MH_ADDRS_MAX];
    size_t next;   /* to be started */
    size_t active; /* under way */
    int64_t next_start_ms;
    int last_errno;
    int fd; /* the winner, or -1 */
    size_t winner;
};

static void on_event(struct mh_watch *w, uint32_t events)
{
    struct attempt *a = mh_container_of(w, struct attempt, watch);
    (void)events;
    a->is_ready = true;
    mh_wake_all(&a->dial->q);
}

static void attempt_end(struct attempt *a, int errnum)
{
    struct dial *d = a->dial;
    mh_loop_unwatch(d->loop, &a->watch);
    a->is_active = false;
    d->active--;
    if (errnum == 0) {
        d->fd = a->watch.fd;
        d->winner = a->which;
        return;
    }
    d->last_errno = errnum;
    d->next_start_ms = 0; /* a failure makes room for the next at once */
    (void)close(a->watch.fd);
}

/* MH_ERUN when this machine refuses, whatever the address. */
static int attempt_start(struct dial *d, struct mh_err *err)
{
    size_t which = d->next++;
    const struct mh_addr *to = &d->addrs->list[which];
    struct attempt *a = &d->attempts[which];
    *a = (struct attempt){.dial = d, .which = which, .deadline_ms = mh_deadline_ms(d->timeout_ms)};
    d->next_start_ms = mh_now_ms() + ATTEMPT_DELAY_MS;
    int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE))
        return mh_err_sys(err, MH_ERUN, "net", errno,
                          "cannot open another connection (raise the limit: ulimit -n)");
    if (fd < 0) {
        d->last_errno = errno; /* no IPv6 here, say */
        d->next_start_ms = 0;
        return MH_OK;
    }
    a->watch = (struct mh_watch){.fd = fd, .ready = on_event};
    bool is_refused =
        connect(fd, (const struct sockaddr *)&to->sa, to->len) != 0 && errno != EINPROGRESS;
    if (is_refused) {
        d->last_errno = errno;
        d->next_start_ms = 0;
        (void)close(fd);
        return MH_OK;
    }
    int rc = mh_loop_watch(d->loop, &a->watch, EPOLLOUT | EPOLLONESHOT, err);
    if (rc != MH_OK) {
        (void)close(fd);
        return rc;
    }
    a->is_active = true;
    d->active++;
    return MH_OK;
}

/* Looks at those that told something or are late; returns the next time to look. */
static int64_t review(struct dial *d)
{
    int64_t now_ms = mh_now_ms();
    int64_t next_ms = MH_NEVER;
    for (size_t i = 0; i < d->next && d->fd < 0; i++) {
        struct attempt *a = &d->attempts[i];
        if (!a->is_active)
            continue;
        if (a->is_ready) {
            int errnum = 0;
            socklen_t len = sizeof errnum;
            if (getsockopt(a->watch.fd, SOL_SOCKET, SO_ERROR, &errnum, &len) != 0)
                errnum = errno;
            attempt_end(a, errnum);
        } else if (now_ms >= a->deadline_ms) {
            attempt_end(a, ETIMEDOUT);
        } else {
            next_ms = MH_MIN(next_ms, a->deadline_ms);
        }
    }
    return next_ms;
}

static int run(struct dial *d, struct mh_err *err)
{
    while (d->fd < 0) {
        int64_t next_ms = review(d);
        if (d->fd >= 0)
            break;
        if (d->next < d->addrs->n && (d->active == 0 || mh_now_ms() >= d->next_start_ms)) {
            int rc = attempt_start(d, err);
            if (rc != MH_OK)
                return rc;
            continue;
        }
        if (d->active == 0)
            return mh_err_sys(err, MH_ERETRY, "net", d->last_errno,
                              "cannot connect (%zu address%s tried)", d->next,
                              d->next == 1 ? "" : "es");
        if (d->next < d->addrs->n)
            next_ms = MH_MIN(next_ms, d->next_start_ms);
        if (mh_wait(&d->q, next_ms) == MH_ECANCEL)
            return mh_err_set(err, MH_ECANCEL, "net", "stopped");
    }
    return MH_OK;
}

static void describe(const struct mh_addr *a, char peer[MH_ADDR_TEXT_BYTES])
{
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    if (getnameinfo((const struct sockaddr *)&a->sa, a->len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        peer[0] = '\0';
        return;
    }
    bool is_v6 = a->sa.ss_family == AF_INET6;
    (void)snprintf(peer, MH_ADDR_TEXT_BYTES, is_v6 ? "[%.48s]:%s" : "%.48s:%s", host, port);
}

int mh_dial(const struct mh_addrs *addrs, int64_t timeout_ms, int *fd_out,
            char peer[MH_ADDR_TEXT_BYTES], struct mh_err *err)
{
    struct dial d = {.loop = mh_loop_self(), .addrs = addrs, .timeout_ms = timeout_ms, .fd = -1};
    int rc = run(&d, err);
    for (size_t i = 0; i < d.next; i++) {
        if (d.attempts[i].is_active)
            attempt_end(&d.attempts[i], ECANCELED);
    }
    if (rc == MH_OK) {
        describe(&addrs->list[d.winner], peer);
        *fd_out = d.fd;
    }
    return rc;
}
