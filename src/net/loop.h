/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An epoll loop: the poller of one scheduler. min(cores, 4) of them exist; a lane lives on one for
 * life. Created and run in the same thread; others use mh_loop_sched() only (to post), and
 * mh_loop_free() once that thread has ended.
 */
#ifndef MH_NET_LOOP_H
#define MH_NET_LOOP_H

#include "base/task.h"

struct mh_loop;

int mh_loop_new(struct mh_loop **out, struct mh_err *err) MH_MUST_CHECK;
void mh_loop_free(struct mh_loop *loop);
struct mh_sched *mh_loop_sched(struct mh_loop *loop);
/* The loop whose thread this is; asserts that there is one. */
struct mh_loop *mh_loop_self(void);

/* waits: until FD is readable/writable, or the deadline. For descriptors that are not connections
 * (signals, child processes' pipes). 0, MH_ETIMEOUT, MH_ECANCEL, or MH_ERUN when epoll refuses. */
int mh_loop_wait_fd(int fd, bool for_write, int64_t deadline_ms, struct mh_err *err) MH_MUST_CHECK;

#endif
