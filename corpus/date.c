/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "date.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const day_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

struct civil {
    int year;
    int month; /* 0-11 */
    int day;   /* 1-31 */
    int weekday;
    int hour;
    int minute;
    int second;
};

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 1 && is_leap(year) ? 29 : days[month];
}

/* The wall clock at `date`'s zone; moments before 1970 included. */
static struct civil civil_of(struct mhc_date date)
{
    const int64_t day_seconds = 86400;
    int64_t local = date.unix_seconds + (int64_t)date.zone_minutes * 60;
    int64_t days = local / day_seconds;
    int64_t rest = local % day_seconds;
    if (rest < 0) {
        rest += day_seconds;
        days--;
    }
    struct civil c = {.year = 1970, .day = 1};
    c.weekday = (int)(((days + 4) % 7 + 7) % 7);
    c.hour = (int)(rest / 3600);
    c.minute = (int)(rest / 60 % 60);
    c.second = (int)(rest % 60);
    while (days < 0) {
        c.year--;
        days += is_leap(c.year) ? 366 : 365;
    }
    while (days >= (is_leap(c.year) ? 366 : 365)) {
        days -= is_leap(c.year) ? 366 : 365;
        c.year++;
    }
    while (days >= month_days(c.year, c.month)) {
        days -= month_days(c.year, c.month);
        c.month++;
    }
    c.day += (int)days;
    return c;
}

const char *mhc_date_zone(char out[MHC_DATE_SIZE], int zone_minutes)
{
    int absolute = abs(zone_minutes);
    snprintf(out, MHC_DATE_SIZE, "%c%02d%02d", zone_minutes < 0 ? '-' : '+', absolute / 60,
             absolute % 60);
    return out;
}

const char *mhc_date_rfc5322(char out[MHC_DATE_SIZE], struct mhc_date date)
{
    char zone[MHC_DATE_SIZE];
    struct civil c = civil_of(date);
    snprintf(out, MHC_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d %.5s", day_names[c.weekday],
             c.day, month_names[c.month], c.year, c.hour, c.minute, c.second,
             mhc_date_zone(zone, date.zone_minutes));
    return out;
}

const char *mhc_date_imap(char out[MHC_DATE_SIZE], struct mhc_date date)
{
    char zone[MHC_DATE_SIZE];
    struct civil c = civil_of(date);
    snprintf(out, MHC_DATE_SIZE, "%2d-%s-%04d %02d:%02d:%02d %.5s", c.day, month_names[c.month],
             c.year, c.hour, c.minute, c.second, mhc_date_zone(zone, date.zone_minutes));
    return out;
}

const char *mhc_date_ical(char out[MHC_DATE_SIZE], struct mhc_date date)
{
    struct civil c = civil_of((struct mhc_date){date.unix_seconds, 0});
    snprintf(out, MHC_DATE_SIZE, "%04d%02d%02dT%02d%02d%02dZ", c.year, c.month + 1, c.day, c.hour,
             c.minute, c.second);
    return out;
}
