/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A bounded queue between threads: intrusive items, capacity in items and bytes, never dropping.
 * Items belong to the queue from push to pop. A full queue makes the pusher wait: a task through
 * its scheduler, a plain thread on a condition variable. thread: any.
 */
#ifndef MH_BASE_QUEUE_H
#define MH_BASE_QUEUE_H

#include <stdbool.h>

#include "base/error.h"

struct mh_qitem {
    struct mh_qitem *next;
    size_t bytes;
};

struct mh_queue;

int mh_queue_new(size_t max_items, size_t max_bytes, struct mh_queue **out,
                 struct mh_err *err) MH_MUST_CHECK;
void mh_queue_free(struct mh_queue *q); /* must be empty */
/* waits while full. MH_ECANCEL once the queue is closed (ITEM stays the caller's). */
int mh_queue_push(struct mh_queue *q, struct mh_qitem *item) MH_MUST_CHECK;
/* Blocks a plain thread until an item is there; takes all that is there as a list in order.
 * NULL: closed and empty. */
struct mh_qitem *mh_queue_pop_all(struct mh_queue *q);
void mh_queue_close(struct mh_queue *q);

#endif
