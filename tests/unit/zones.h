/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For the tests of what a clock on the wall shows: zones as rules, so that no zone files are needed, and moments
 * as people write them. The zone is the process's own, set for good: main thread only, and never beside another
 * that reads the time.
 */
#ifndef MH_TESTS_ZONES_H
#define MH_TESTS_ZONES_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define BERLIN    "CET-1CEST,M3.5.0,M10.5.0/3"
#define NEW_YORK  "EST5EDT,M3.2.0,M11.1.0"
#define INDIA     "IST-5:30"
#define LORD_HOWE "LHST-10:30LHDT-11,M10.1.0,M4.1.0"

/* "2026-11-22 20:00:00" of UTC in seconds since 1970. */
static inline int64_t utc(const char *s)
{
    struct tm tm = {0};
    const char *end = strptime(s, "%Y-%m-%d %H:%M:%S", &tm);
    cr_assert(end && *end == '\0', "%s", s);
    return (int64_t)timegm(&tm);
}

static inline void set_zone(const char *zone)
{
    cr_assert_eq(setenv("TZ", zone, 1), 0);
    tzset();
}

#endif
