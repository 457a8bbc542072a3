/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * date.h: points in time as mail writes them, by our own calendar arithmetic.
 *
 * Memory: texts go into the caller's buffer. Threads: one. Never: asks the C library for a time
 * zone or a locale.
 */
#ifndef MHC_DATE_H
#define MHC_DATE_H

#include "base.h"

/* A moment and the zone it is told in. */
struct mhc_date {
    int64_t unix_seconds;
    int zone_minutes;
};

enum { MHC_DATE_SIZE = 48 };

/* RFC 5322 section 3.3: "Tue, 01 Jul 2025 14:00:00 +0200". */
const char *mhc_date_rfc5322(char out[MHC_DATE_SIZE], struct mhc_date date);
/* RFC 3501 section 9, date-time without its quotes: " 1-Jul-2025 14:00:00 +0200". */
const char *mhc_date_imap(char out[MHC_DATE_SIZE], struct mhc_date date);
/* RFC 5545 section 3.3.5, in UTC: "20250701T120000Z". */
const char *mhc_date_ical(char out[MHC_DATE_SIZE], struct mhc_date date);
/* RFC 5322 zone: "+0200". */
const char *mhc_date_zone(char out[MHC_DATE_SIZE], int zone_minutes);

#endif
