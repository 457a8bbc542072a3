/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A non-blocking socket under edge-triggered epoll. `readable` and `writable` remember the last
 * edge until the kernel says that there is no more, so no call is made that cannot do anything.
 * Embedded in its connection; belongs to the loop's thread. Never waits.
 */
#ifndef MH_NET_SOCK_PRIV_H
#define MH_NET_SOCK_PRIV_H

#include <sys/types.h>
#include <sys/uio.h>

#include "net/loop_priv.h"
#include "net/net.h"

struct mh_sock {
    struct mh_watch watch;            /* its fd is owned */
    struct mh_loop *loop;             /* borrowed */
    struct mh_net_counters *counters; /* borrowed */
    /* Called in the poll after the flags were set. */
    void (*ready)(struct mh_sock *s, bool in, bool out);
    bool readable, writable;
    bool has_hup; /* the peer ended its side: reading goes on until the end is seen */
    bool is_eof;  /* the end was seen */
    uint64_t sent_bytes;
};

/* Takes FD (closed on failure), sets the options of a long-lived mail connection, watches it. */
int mh_sock_init(struct mh_sock *s, struct mh_loop *loop, int fd_take,
                 struct mh_net_counters *counters, void (*ready)(struct mh_sock *, bool, bool),
                 struct mh_err *err) MH_MUST_CHECK;
void mh_sock_done(struct mh_sock *s);

/* Bytes read; 0 at the end; -EAGAIN; another -errno. */
ssize_t mh_sock_recv(struct mh_sock *s, void *buf, size_t len);
/* Bytes the kernel took (0 when it is full), or -errno. */
ssize_t mh_sock_send(struct mh_sock *s, const struct iovec *iov, size_t n_iov);

#endif
