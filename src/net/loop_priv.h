/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What connections need of their loop: descriptors to watch, calls at the end of a round or at a
 * time, and blocks of scratch memory that are kept for the next one who needs them.
 *
 * Watches and dues are embedded in their owner, who takes them back before it goes. Everything here
 * belongs to the loop's thread. Callbacks must not wait and must not free a watch.
 */
#ifndef MH_NET_LOOP_PRIV_H
#define MH_NET_LOOP_PRIV_H

#include <stdbool.h>
#include <sys/epoll.h>

#include "net/loop.h"

/* Ciphertext or compressed bytes on their way out: three full TLS records and some. */
#define MH_LOOP_BLOCK_BYTES (64u * 1024u)

struct mh_watch {
    int fd; /* borrowed */
    void (*ready)(struct mh_watch *w, uint32_t events);
};

/* MH_ERUN when epoll refuses (a regular file; out of memory). EVENTS as for epoll_ctl(). */
int mh_loop_watch(struct mh_loop *loop, struct mh_watch *w, uint32_t events,
                  struct mh_err *err) MH_MUST_CHECK;
void mh_loop_unwatch(struct mh_loop *loop, const struct mh_watch *w);

/* A call that is due; zero-initialised with fn set is ready for use and not booked. */
struct mh_due {
    struct mh_due *next, *prev;
    void (*fn)(struct mh_due *due);
    int64_t when_ms;
    bool is_booked;
};

/* Books FN for the end of this round, or for the time WHEN_MS; a later booking replaces the
 * earlier. */
void mh_loop_soon(struct mh_loop *loop, struct mh_due *due);
void mh_loop_at(struct mh_loop *loop, struct mh_due *due, int64_t when_ms);
void mh_loop_forget(struct mh_due *due);

/* MH_LOOP_BLOCK_BYTES, or NULL when memory is out; given back with mh_loop_block_give(). */
void *mh_loop_block_take(struct mh_loop *loop) MH_MUST_CHECK;
void mh_loop_block_give(struct mh_loop *loop, void *block); /* NULL is allowed */

#endif
