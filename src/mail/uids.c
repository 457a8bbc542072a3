/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/uids.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

void mh_uids_done(struct mh_uids *u)
{
    mh_free(u->v);
    *u = (struct mh_uids){0};
}

int mh_uids_add(struct mh_uids *u, uint64_t lo, uint64_t hi, struct mh_err *err)
{
    struct mh_uid_range r =
        lo <= hi ? (struct mh_uid_range){lo, hi} : (struct mh_uid_range){hi, lo};
    struct mh_uid_range *last = u->n ? &u->v[u->n - 1] : NULL;
    /* Servers list them in order: the neighbour of the last one needs no range of its own. */
    if (last && r.lo >= last->lo && r.lo - 1 <= last->hi) {
        last->hi = MH_MAX(last->hi, r.hi);
        return MH_OK;
    }
    if (u->n == MH_UID_RANGES_MAX)
        return mh_err_set(err, MH_EFOLDER, "mail", "more than %u ranges of UIDs",
                          (unsigned)MH_UID_RANGES_MAX);
    if (!mh_grow(u->v, u->cap, u->n + 1))
        return mh_err_nomem(err);
    mh_assert(u->v);
    u->v[u->n++] = r;
    return MH_OK;
}

static int order_ranges(const void *a, const void *b)
{
    const struct mh_uid_range *x = a;
    const struct mh_uid_range *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

void mh_uids_finish(struct mh_uids *u)
{
    size_t n = 0;
    if (u->n == 0)
        return;
    qsort(u->v, u->n, sizeof *u->v, order_ranges);
    for (size_t i = 1; i < u->n; i++) {
        if (u->v[n].hi == UINT64_MAX || u->v[i].lo <= u->v[n].hi + 1)
            u->v[n].hi = MH_MAX(u->v[n].hi, u->v[i].hi);
        else
            u->v[++n] = u->v[i];
    }
    u->n = n + 1;
}

bool mh_uids_has(const struct mh_uids *u, uint64_t uid)
{
    size_t at = mh_lower_bound(i, 0, u->n, u->v[i].hi < uid);
    return at < u->n && u->v[at].lo <= uid;
}

uint64_t mh_uids_count(const struct mh_uids *u)
{
    uint64_t n = 0;
    for (size_t i = 0; i < u->n; i++) {
        uint64_t more = u->v[i].hi - u->v[i].lo;
        if (__builtin_add_overflow(n, more, &n) || __builtin_add_overflow(n, 1, &n))
            return UINT64_MAX;
    }
    return n;
}
