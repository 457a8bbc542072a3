/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --until: the moment that a time of day or a date means, whatever the clocks of the zone do. */
#include <criterion/criterion.h>

#include "base/macros.h"
#include "cli/cli.h"
#include "zones.h"

static const struct {
    const char *name, *zone;
    const char *now; /* UTC */
    const char *value;
    const char *want; /* UTC; NULL: cannot be read */
} cases[] = {
    {"later today", BERLIN, "2026-11-22 20:00:00", "23:30", "2026-11-22 22:30:00"},
    {"tomorrow", BERLIN, "2026-11-22 20:00:00", "06:00", "2026-11-23 05:00:00"},
    {"this very minute is tomorrow's", BERLIN, "2026-11-22 05:00:30", "06:00",
     "2026-11-23 05:00:00"},
    {"the last of a year", BERLIN, "2026-12-31 20:00:00", "06:00", "2027-01-01 05:00:00"},
    {"half an hour's zone", INDIA, "2026-11-22 20:00:00", "06:00", "2026-11-23 00:30:00"},
    {"a night that is an hour shorter", BERLIN, "2026-03-28 21:00:00", "06:00",
     "2026-03-29 04:00:00"},
    {"a night that is an hour longer", BERLIN, "2026-10-24 20:00:00", "06:00",
     "2026-10-25 05:00:00"},
    {"spring skips it", BERLIN, "2026-03-28 22:00:00", "02:30", "2026-03-29 01:30:00"},
    {"spring skips it, a moment before", BERLIN, "2026-03-29 00:59:59", "02:30",
     "2026-03-29 01:30:00"},
    {"spring has skipped it", BERLIN, "2026-03-29 02:00:00", "02:30", "2026-03-30 00:30:00"},
    {"autumn has it twice: the first", BERLIN, "2026-10-24 22:00:00", "02:30",
     "2026-10-25 00:30:00"},
    {"in the first of the two hours", BERLIN, "2026-10-25 00:10:00", "02:30",
     "2026-10-25 00:30:00"},
    {"behind the first", BERLIN, "2026-10-25 00:40:00", "02:30", "2026-10-25 01:30:00"},
    {"in the second of the two hours", BERLIN, "2026-10-25 01:10:00", "02:30",
     "2026-10-25 01:30:00"},
    {"behind both", BERLIN, "2026-10-25 01:40:00", "02:30", "2026-10-26 01:30:00"},
    {"the other side of the sea, in spring", NEW_YORK, "2026-03-08 05:00:00", "02:30",
     "2026-03-08 07:30:00"},
    {"the other side of the sea, in autumn", NEW_YORK, "2026-11-01 05:40:00", "01:30",
     "2026-11-01 06:30:00"},
    {"a date", BERLIN, "2026-11-22 20:00:00", "2026-12-01T06:00", "2026-12-01 05:00:00"},
    {"a date in summer", BERLIN, "2026-11-22 20:00:00", "2027-07-01T06:00", "2027-07-01 04:00:00"},
    {"a date that is over", BERLIN, "2026-11-22 20:00:00", "2020-01-01T00:00",
     "2019-12-31 23:00:00"},
    {"a date that spring skips", BERLIN, "2026-01-01 00:00:00", "2026-03-29T02:30",
     "2026-03-29 01:30:00"},
    {"a date that autumn has twice", BERLIN, "2026-10-25 00:40:00", "2026-10-25T02:30",
     "2026-10-25 01:30:00"},
    {"a clock at its zero", BERLIN, "1970-01-01 00:00:07", "06:00", "1970-01-01 05:00:00"},
    {"a clock far ahead", BERLIN, "2040-06-01 20:00:00", "06:00", "2040-06-02 04:00:00"},
    {"no time", BERLIN, "2026-11-22 20:00:00", "tomorrow", NULL},
    {"no minute", BERLIN, "2026-11-22 20:00:00", "06", NULL},
    {"more than a time", BERLIN, "2026-11-22 20:00:00", "06:00h", NULL},
    {"no such hour", BERLIN, "2026-11-22 20:00:00", "25:00", NULL},
};

Test(cli_time, until_is_when_the_clocks_show_it_next)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        int64_t got = 0;
        set_zone(cases[i].zone);
        bool ok = mh_cli_time(cases[i].value, utc(cases[i].now), &got);
        cr_expect_eq(ok, cases[i].want != NULL, "%s", cases[i].name);
        if (ok && cases[i].want)
            cr_expect_eq(got, utc(cases[i].want), "%s: %+lld s", cases[i].name,
                         (long long)(got - utc(cases[i].want)));
    }
}
