/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside of the rate limit, for its tests: a bucket asks the wall clock which rate of its timetable
 * is in force; a test gives it a clock of its own. Call before the bucket is used.
 */
#ifndef MH_NET_BUCKET_PRIV_H
#define MH_NET_BUCKET_PRIV_H

#include "net/bucket.h"

void mh_bucket_set_wall(struct mh_bucket *b, int64_t (*wall_s)(void));

#endif
