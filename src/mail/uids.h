/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sets of UIDs as ranges: what a server says has vanished (RFC 7162 section 3.2.10), what a folder
 * holds. A million neighbours need sixteen bytes. Plain values; any thread.
 */
#ifndef MH_MAIL_UIDS_H
#define MH_MAIL_UIDS_H

#include <stdbool.h>

#include "base/error.h"

struct mh_uid_range {
    uint64_t lo, hi; /* both in it; lo <= hi */
};

/* {0} is empty. */
struct mh_uids {
    struct mh_uid_range *v; /* owned; once finished ascending, apart by at least one UID */
    size_t n, cap;
};

void mh_uids_done(struct mh_uids *u);
/* In any order, overlaps allowed; LO > HI counts as HI..LO (RFC 9051 section 9, seq-range). MH_EFOLDER above
 * MH_UID_RANGES_MAX ranges even when joined: a server that sends them is not sane. */
int mh_uids_add(struct mh_uids *u, uint64_t lo, uint64_t hi, struct mh_err *err) MH_MUST_CHECK;
/* Sorts and joins; before any of those below. Cannot fail. */
void mh_uids_finish(struct mh_uids *u);
bool mh_uids_has(const struct mh_uids *u, uint64_t uid);
/* How many UIDs there are in it; UINT64_MAX when more. */
uint64_t mh_uids_count(const struct mh_uids *u);

#endif
