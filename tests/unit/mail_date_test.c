/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mail/item.h"

/* --- IMAP ------------------------------------------------------------------------------------- */

/* Valid in both directions: TEXT is what formatting gives. */
static const struct imap_case {
    const char *text;
    int64_t unix_s;
    int zone_min;
    const char *iso;
} imap_cases[] = {
    {" 1-Jan-1970 00:00:00 +0000", 0, 0, "1970-01-01T00:00:00+00:00"},
    {"17-Jul-1996 02:44:25 -0700", 837596665, -420, "1996-07-17T02:44:25-07:00"},
    {"31-Dec-1969 23:59:59 +0000", -1, 0, "1969-12-31T23:59:59+00:00"},
    {"22-Nov-2026 13:05:00 +0100", 1795349100, 60, "2026-11-22T13:05:00+01:00"},
    {"29-Feb-2000 12:00:00 +0000", 951825600, 0, "2000-02-29T12:00:00+00:00"},
    {"29-Feb-2024 23:59:59 +0530", 1709231399, 330, "2024-02-29T23:59:59+05:30"},
    {" 1-Mar-2100 00:00:00 +0000", 4107542400, 0, "2100-03-01T00:00:00+00:00"},
    {"19-Jan-2038 03:14:08 +0000", 2147483648, 0, "2038-01-19T03:14:08+00:00"},
    {" 1-Jan-0000 00:00:00 +0000", -62167219200, 0, "0000-01-01T00:00:00+00:00"},
    {"31-Dec-9999 23:59:59 +0000", 253402300799, 0, "9999-12-31T23:59:59+00:00"},
    {" 1-Jan-2000 23:59:00 +2359", 946684800, 1439, "2000-01-01T23:59:00+23:59"},
    {"31-Dec-1999 00:01:00 -2359", 946684800, -1439, "1999-12-31T00:01:00-23:59"},
    {" 1-Jan-2000 05:45:00 +0545", 946684800, 345, "2000-01-01T05:45:00+05:45"},
};

Test(mail_date, imap_both_ways)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(imap_cases); i++) {
        const struct imap_case *c = &imap_cases[i];
        struct mh_date d;
        cr_assert(mh_date_parse_imap(c->text, strlen(c->text), &d), "%s", c->text);
        cr_expect(d.is_set);
        cr_expect_eq(d.unix_s, c->unix_s, "%s: %lld", c->text, (long long)d.unix_s);
        cr_expect_eq(d.zone_min, c->zone_min, "%s", c->text);
        char text[27];
        char iso[32];
        mh_date_format_imap(&d, text);
        mh_date_format_iso(&d, iso);
        cr_expect_str_eq(text, c->text);
        cr_expect_str_eq(iso, c->iso);
    }
}

/* Read with tolerance. */
static const struct {
    const char *text;
    int64_t unix_s;
} imap_tolerated[] = {
    {"1-Jan-1970 00:00:01 +0000", 1},           {"01-Jan-1970 00:00:01 +0000", 1},
    {" 1-JAN-1970 00:00:01 +0000", 1},          {" 1-jan-1970 00:00:01 -0000", 1},
    {"31-Dec-2016 23:59:60 +0000", 1483228800},
};

Test(mail_date, imap_tolerated)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(imap_tolerated); i++) {
        struct mh_date d;
        const char *text = imap_tolerated[i].text;
        cr_assert(mh_date_parse_imap(text, strlen(text), &d), "%s", text);
        cr_expect_eq(d.unix_s, imap_tolerated[i].unix_s, "%s", text);
    }
}

static const char *const imap_bad[] = {
    "",
    " ",
    "17-Jul-1996",
    "17-Jul-1996 02:44:25",
    "17-Jul-1996 02:44:25 ",
    "17-Jul-1996 02:44:25 -070",
    "17-Jul-1996 02:44:25 -07000",
    "17-Jul-1996 02:44:25 -0760",
    "17-Jul-1996 02:44:25 +2400",
    "17-Jul-1996 02:44:25 GMT",
    "17-Jul-1996 24:00:00 +0000",
    "17-Jul-1996 23:60:00 +0000",
    "17-Jul-1996 23:59:61 +0000",
    "17-Jul-1996 2:44:25 +0000",
    "00-Jul-1996 02:44:25 +0000",
    "32-Jul-1996 02:44:25 +0000",
    "31-Jun-1996 02:44:25 +0000",
    "29-Feb-1900 02:44:25 +0000",
    "29-Feb-2023 02:44:25 +0000",
    "30-Feb-2024 02:44:25 +0000",
    "17-July-1996 02:44:25 +0000",
    "17-Xyz-1996 02:44:25 +0000",
    "17-07-1996 02:44:25 +0000",
    "17-Jul-96 02:44:25 +0000",
    "17-Jul-19960 02:44:25 +0000",
    "17-Jul--996 02:44:25 +0000",
    "  7-Jul-1996 02:44:25 +0000",
    "17-Jul-1996  02:44:25 +0000",
    "17-Jul-1996 02:44:25 +0000 ",
    "17 Jul 1996 02:44:25 +0000",
    "NIL",
};

Test(mail_date, imap_bad)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(imap_bad); i++) {
        struct mh_date d;
        cr_expect_not(mh_date_parse_imap(imap_bad[i], strlen(imap_bad[i]), &d), "%s", imap_bad[i]);
    }
}

/* Every beginning of a good date is refused, and read within its length (the sanitizer watches). */
Test(mail_date, imap_cut)
{
    static const char text[] = "17-Jul-1996 02:44:25 -0700";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *cut = strndup(text, len);
        struct mh_date d;
        cr_expect_not(mh_date_parse_imap(cut, len, &d), "%zu", len);
        free(cut);
    }
}

/* What four digits of a year cannot say becomes the nearest thing they can. */
static const struct {
    int64_t unix_s;
    int16_t zone_min;
    const char *text;
} out_of_range[] = {
    {INT64_MAX, 0, "31-Dec-9999 23:59:59 +0000"},
    {INT64_MIN, 0, " 1-Jan-0000 00:00:00 +0000"},
    {INT64_MAX, 1439, "31-Dec-9999 23:59:59 +2359"},
    {INT64_MIN, -1439, " 1-Jan-0000 00:00:00 -2359"},
    {253402300800, 0, "31-Dec-9999 23:59:59 +0000"},
    {-62167219201, 0, " 1-Jan-0000 00:00:00 +0000"},
};

Test(mail_date, out_of_range)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(out_of_range); i++) {
        struct mh_date d = {out_of_range[i].unix_s, out_of_range[i].zone_min, true};
        char text[27];
        mh_date_format_imap(&d, text);
        cr_expect_str_eq(text, out_of_range[i].text);
    }
}

/* The calendar against the C library's, a step of 17 days through 10,000 years. */
Test(mail_date, calendar_is_the_libc_one)
{
    for (int64_t s = -62167219200; s < 253402300800; s += 1469173) {
        struct mh_date d = {s, 0, true};
        struct mh_date back;
        char iso[32];
        char expected[64];
        struct tm tm;
        time_t t = (time_t)s;
        mh_date_format_iso(&d, iso);
        cr_assert_not_null(gmtime_r(&t, &tm));
        (void)snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d+00:00",
                       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                       tm.tm_sec);
        cr_assert_str_eq(iso, expected);
        char imap[27];
        mh_date_format_imap(&d, imap);
        cr_assert(mh_date_parse_imap(imap, 26, &back));
        cr_assert_eq(back.unix_s, s);
    }
}

/* --- RFC 5322 --------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    int64_t unix_s;
    int zone_min;
} rfc5322_cases[] = {
    {"Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360},
    {"21 Nov 97 09:55:06 GMT", 880106106, 0},
    {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360},
    {"Tue, 1 Jul 2003 10:52:37 +0200", 1057049557, 120},
    {"Thu, 13 Feb 1969 23:32 -0330", -27723480, -210},
    {"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 "
     "(Newfoundland Time)",
     -27723480, -210},
    {"Mon 12 Jan 2004 10:00:00 +0000", 1073901600, 0},
    {"12 Jan 2004 10:00:00", 1073901600, 0},
    {"12 January 2004 10:00:00 +0000", 1073901600, 0},
    {"12 jan 2004 10:00:00 +0000 (UTC)", 1073901600, 0},
    {"12 Jan 2004 10:00:00 -0800 PST", 1073930400, -480},
    {"(a (nested \\) one) comment) 12 Jan 2004 10:00:00 +0000", 1073901600, 0},
    {"12 Jan 2004 9:05:07 +0000", 1073898307, 0},
    {"12 Jan 04 10:00:00 +0000", 1073901600, 0},
    {"1 Jan 49 00:00:00 +0000", 2493072000, 0},
    {"1 Jan 50 00:00:00 +0000", -631152000, 0},
    {"1 Jan 104 00:00:00 +0000", 1072915200, 0},
    {"29 Feb 2000 12:00:00 +0000", 951825600, 0},
    {"1 Jan 2000 00:00:00 UT", 946684800, 0},
    {"1 Jan 2000 00:00:00 utc", 946684800, 0},
    {"31 Dec 1999 19:00:00 EST", 946684800, -300},
    {"31 Dec 1999 20:00:00 EDT", 946684800, -240},
    {"31 Dec 1999 18:00:00 CST", 946684800, -360},
    {"31 Dec 1999 19:00:00 CDT", 946684800, -300},
    {"31 Dec 1999 17:00:00 MST", 946684800, -420},
    {"31 Dec 1999 18:00:00 MDT", 946684800, -360},
    {"31 Dec 1999 16:00:00 PST", 946684800, -480},
    {"31 Dec 1999 17:00:00 PDT", 946684800, -420},
    {"1 Jan 2000 00:00:00 Z", 946684800, 0},
    {"1 Jan 2000 00:00:00 A", 946684800, 0},
    {"1 Jan 2000 00:00:00 CEST", 946684800, 0},
    {"31 Dec 2016 23:59:60 +0000", 1483228800, 0},
};

Test(mail_date, rfc5322)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(rfc5322_cases); i++) {
        struct mh_date d;
        const char *text = rfc5322_cases[i].text;
        cr_assert(mh_date_parse_rfc5322(text, strlen(text), &d), "%s", text);
        cr_expect_eq(d.unix_s, rfc5322_cases[i].unix_s, "%s: %lld", text, (long long)d.unix_s);
        cr_expect_eq(d.zone_min, rfc5322_cases[i].zone_min, "%s", text);
        cr_expect(d.is_set);
    }
}

static const char *const rfc5322_bad[] = {
    "",
    "   ",
    "(only a comment",
    "tomorrow",
    "Fri, 21 Nov",
    "Fri, 21 Nov 1997",
    "Fri, 21 Nov 1997 09",
    "Fri, 21 Nov 1997 09:",
    "Fri, 32 Nov 1997 09:55:06 -0600",
    "Fri, 31 Nov 1997 09:55:06 -0600",
    "Fri, 29 Feb 1997 09:55:06 -0600",
    "Fri, 0 Nov 1997 09:55:06 -0600",
    "Fri, 21 Now 1997 09:55:06 -0600",
    "Fri, 21 Novem 1997 09:55:06 -0600",
    "Fri, 21 Nov 1997 24:55:06 -0600",
    "Fri, 21 Nov 1997 09:60:06 -0600",
    "Fri, 21 Nov 1997 09:55:61 -0600",
    "Fri, 21 Nov 1997 09:55:06 -06",
    "Fri, 21 Nov 1997 09:55:06 +9999",
    "Fri, 21 Nov 1997 09:55:06 *",
    "Fri, 21 Nov 7 09:55:06 -0600",
    "1997-11-21T09:55:06Z",
    "Fri Nov 21 09:55:06 1997",
};

Test(mail_date, rfc5322_bad)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(rfc5322_bad); i++) {
        struct mh_date d;
        const char *text = rfc5322_bad[i];
        cr_expect_not(mh_date_parse_rfc5322(text, strlen(text), &d), "%s", text);
    }
}
