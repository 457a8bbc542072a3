/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rate limits: a token bucket shared by connections of all loops (one mutex, taken once per read or
 * write), and the timetable of --bwlimit. thread: any.
 *
 * Timetable, rclone's form: "2M" (always), or entries separated by blanks: "08:00,512K 19:00,off",
 * "Mon-08:00,2M Sat-00:00,off", and the project file's "Mon-Fri 08:00-19:00 2MiB/s" (outside: no
 * limit). Local time. A rate is bytes per second. The last entry before now (wrapping over the
 * week) is in force.
 */
#ifndef MH_NET_BUCKET_H
#define MH_NET_BUCKET_H

#include "base/error.h"

struct mh_timetable;

/* MH_EUSAGE names the entry that cannot be read. */
int mh_timetable_parse(const char *const *entries, size_t n, struct mh_timetable **out,
                       struct mh_err *err) MH_MUST_CHECK;
void mh_timetable_free(struct mh_timetable *t);
/* Bytes per second in force at WALL_S (0 = no limit), and until when that holds. */
uint64_t mh_timetable_rate(const struct mh_timetable *t, int64_t wall_s, int64_t *until_wall_s_out);

struct mh_bucket;

/* T borrowed: outlives the bucket; NULL = no limit. */
int mh_bucket_new(const struct mh_timetable *t, struct mh_bucket **out,
                  struct mh_err *err) MH_MUST_CHECK;
void mh_bucket_free(struct mh_bucket *b);
/* How many of WANT bytes may pass now (0 … WANT; they are taken). With 0, *WAIT_MS_OUT says when
 * to ask again. */
size_t mh_bucket_take(struct mh_bucket *b, size_t want, int64_t now_ms, int64_t *wait_ms_out);
/* Gives back what was taken and not used. */
void mh_bucket_give(struct mh_bucket *b, size_t n);

#endif
