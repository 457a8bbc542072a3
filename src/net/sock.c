/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/sock_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* A peer that vanished is noticed after 60 + 4 * 15 s also while nobody reads or writes. */
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 15,
    KEEPALIVE_PROBES = 4,
    DISCARD_BYTES = 1 << 20,
    /* A read shorter than this is an answer, not a body. A server with Nagle's algorithm holds its next line
     * (Courier: the `+` behind the answer) until the last one is acknowledged, and we would wait up to 40 ms with
     * that, hoping for data to go along. */
    QUICKACK_BELOW = 1024,
};

static void on_events(struct mh_watch *w, uint32_t events)
{
    struct mh_sock *s = mh_container_of(w, struct mh_sock, watch);
    bool is_broken = events & (EPOLLERR | EPOLLHUP);
    bool in = is_broken || (events & (EPOLLIN | EPOLLRDHUP));
    bool out = is_broken || (events & EPOLLOUT);
    if (is_broken || (events & EPOLLRDHUP))
        s->has_hup = true;
    s->readable |= in;
    s->writable |= out;
    s->ready(s, in, out);
}

static void set_option(int fd, int level, int name, int value)
{
    /* Each of them is an improvement, none a condition: a socket without it works too. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

int mh_sock_init(struct mh_sock *s, struct mh_loop *loop, int fd_take,
                 struct mh_net_counters *counters, void (*ready)(struct mh_sock *, bool, bool),
                 struct mh_err *err)
{
    *s = (struct mh_sock){.watch = {.fd = fd_take, .ready = on_events},
                          .loop = loop,
                          .counters = counters,
                          .ready = ready,
                          .writable = true};
    set_option(fd_take, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd_take, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd_take, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd_take, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd_take, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    /* The first edge of each kind is reported with the registration. */
    int rc = mh_loop_watch(loop, &s->watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, err);
    if (rc != MH_OK) {
        (void)close(fd_take);
        s->watch.fd = -1;
    }
    return rc;
}

static void discard_unread(int fd)
{
    unsigned char waste[4096];
    for (size_t left = DISCARD_BYTES; left > 0; left -= MH_MIN(left, sizeof waste)) {
        if (recv(fd, waste, MH_MIN(left, sizeof waste), MSG_DONTWAIT) <= 0)
            return;
    }
}

void mh_sock_done(struct mh_sock *s)
{
    if (s->watch.fd < 0)
        return;
    mh_loop_unwatch(s->loop, &s->watch);
    /* Bytes left unread (TLS tickets, say) would turn the close into a reset, and that takes
     * what is still on its way to the peer with it. */
    discard_unread(s->watch.fd);
    (void)close(s->watch.fd);
    s->watch.fd = -1;
}

/*
 * A read or write that moves less than it could has emptied or filled the kernel's buffer; what
 * changes after it makes a new edge (epoll(7)), so the call that would answer EAGAIN is spared.
 */
ssize_t mh_sock_recv(struct mh_sock *s, void *buf, size_t len)
{
    if (!s->readable)
        return -EAGAIN;
    ssize_t n = 0;
    do {
        n = recv(s->watch.fd, buf, len, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    atomic_fetch_add_explicit(&s->counters->reads, 1, memory_order_relaxed);
    if (n == 0)
        s->is_eof = true;
    if (n > 0 && n < QUICKACK_BELOW)
        set_option(s->watch.fd, IPPROTO_TCP, TCP_QUICKACK, 1); /* lasts until the next answer */
    if (n > 0 && (size_t)n < len && !s->has_hup)
        s->readable = false;
    if (n >= 0)
        return n;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        return -errno;
    s->readable = false;
    return -EAGAIN;
}

ssize_t mh_sock_send(struct mh_sock *s, const struct iovec *iov, size_t n_iov)
{
    if (!s->writable)
        return 0;
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n_iov};
    size_t len = 0;
    for (size_t i = 0; i < n_iov; i++)
        len += iov[i].iov_len;
    ssize_t n = 0;
    do {
        n = sendmsg(s->watch.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    atomic_fetch_add_explicit(&s->counters->writes, 1, memory_order_relaxed);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return -errno;
    if (n < 0 || (size_t)n < len)
        s->writable = false;
    s->sent_bytes += (uint64_t)MH_MAX(n, 0);
    return MH_MAX(n, 0);
}
