/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Something done again and again, until it is done without a failure: the first time its first allocation fails,
 * then its second one, and so on. Main thread only, for the count is the process's.
 *
 *     for (struct oom o = {0}; oom_next(&o);) {
 *         oom_begin(&o);
 *         int rc = mh_thing_new(&thing, &err);
 *         oom_end(&o);
 *         cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u", o.nth);
 *         …
 *     }
 */
#ifndef MH_TESTS_OUT_OF_MEMORY_H
#define MH_TESTS_OUT_OF_MEMORY_H

#include <criterion/criterion.h>

#include "base/mem.h"

struct oom {
    unsigned nth;     /* the allocation that fails */
    bool was_reached; /* it was asked for */
    uint64_t before;
};

/* False when all have failed once; there must have been one. */
static inline bool oom_next(struct oom *o)
{
    if (o->nth == 0 || o->was_reached) {
        o->nth++;
        return true;
    }
    cr_expect_gt(o->nth, 1u, "nothing was allocated");
    return false;
}

static inline void oom_begin(struct oom *o)
{
    o->before = mh_mem_calls();
    mh_mem_fail_nth(o->nth);
}

static inline void oom_end(struct oom *o)
{
    o->was_reached = mh_mem_calls() - o->before >= o->nth;
    mh_mem_fail_nth(0);
}

#endif
