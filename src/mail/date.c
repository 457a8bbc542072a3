/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/item.h"

#include <stdio.h>
#include <string.h>

/* Seconds of 0000-01-01 00:00:00 and 9999-12-31 23:59:59: what four digits of a year can say. */
#define DATE_MIN_S (-62167219200ll)
#define DATE_MAX_S 253402300799ll

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* A date and time as its parts; month 1..12. */
struct civil {
    int year, month, day, hour, minute, second;
    int zone_min;
};

/* --- the calendar ----------------------------------------------------------------------------- */

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month)
{
    static const char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years count from March, so that the
 * leap day is the last of its year and months have a regular length. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* The inverse. DAYS is within what struct civil can hold. */
static void civil_from_days(int64_t days, struct civil *c)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    c->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    c->month = (int)(month < 10 ? month + 3 : month - 9);
    c->year = (int)(year_of_era + era * 400 + (c->month <= 2));
}

/* The parts of D in its zone; a time that no four-digit year can say becomes the nearest one. */
static void civil_from_date(const struct mh_date *d, struct civil *c)
{
    int64_t unix_s = MH_MIN(MH_MAX(d->unix_s, DATE_MIN_S), DATE_MAX_S);
    int64_t local_s = unix_s + (int64_t)d->zone_min * 60;
    local_s = MH_MIN(MH_MAX(local_s, DATE_MIN_S), DATE_MAX_S);
    int64_t days = local_s / 86400;
    int64_t rest = local_s % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    civil_from_days(days, c);
    c->hour = (int)(rest / 3600);
    c->minute = (int)(rest / 60 % 60);
    c->second = (int)(rest % 60);
    c->zone_min = d->zone_min;
}

/* False when C is no date. Second 60 (a leap second) is the next minute's first. */
static bool date_from_civil(const struct civil *c, struct mh_date *out)
{
    if (c->year < 0 || c->year > 9999 || c->month < 1 || c->month > 12 || c->day < 1 ||
        c->day > days_in_month(c->year, c->month))
        return false;
    if (c->hour < 0 || c->hour > 23 || c->minute < 0 || c->minute > 59 || c->second < 0 ||
        c->second > 60)
        return false;
    int64_t minutes = days_from_civil(c->year, c->month, c->day) * 1440 + (int64_t)c->hour * 60 +
                      c->minute - c->zone_min;
    int64_t s = minutes * 60 + c->second;
    *out = (struct mh_date){.unix_s = s, .zone_min = (int16_t)c->zone_min, .is_set = true};
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

static char zone_sign(const struct civil *c)
{
    return c->zone_min < 0 ? '-' : '+';
}

static unsigned zone_abs(const struct civil *c)
{
    return (unsigned)(c->zone_min < 0 ? -c->zone_min : c->zone_min) % 1440;
}

void mh_date_format_imap(const struct mh_date *d, char out[27])
{
    struct civil c;
    civil_from_date(d, &c);
    unsigned zone = zone_abs(&c);
    /* Room for what the compiler thinks an int can be; the text is 26 characters. */
    char text[96];
    (void)snprintf(text, sizeof text, "%2d-%s-%04d %02d:%02d:%02d %c%02u%02u", c.day,
                   months[c.month - 1], c.year, c.hour, c.minute, c.second, zone_sign(&c),
                   zone / 60, zone % 60);
    memcpy(out, text, 26);
    out[26] = '\0';
}

void mh_date_format_iso(const struct mh_date *d, char out[32])
{
    struct civil c;
    civil_from_date(d, &c);
    unsigned zone = zone_abs(&c);
    char text[96];
    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d%c%02u:%02u", c.year, c.month,
                   c.day, c.hour, c.minute, c.second, zone_sign(&c), zone / 60, zone % 60);
    memcpy(out, text, 25);
    out[25] = '\0';
}

/* --- reading ---------------------------------------------------------------------------------- */

/* What is left to read. */
struct cursor {
    const char *p;
    const char *end;
};

static bool take_char(struct cursor *c, char want)
{
    if (c->p == c->end || *c->p != want)
        return false;
    c->p++;
    return true;
}

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

static bool is_alpha(char ch)
{
    return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z');
}

/* A number of MIN to MAX digits (MAX at most 9); the number of digits, or 0. */
static int take_number(struct cursor *c, int min, int max, int *out)
{
    int n = 0;
    int value = 0;
    while (n < max && c->p < c->end && is_digit(*c->p)) {
        value = value * 10 + (*c->p++ - '0');
        n++;
    }
    if (n < min)
        return 0;
    *out = value;
    return n;
}

static size_t take_word(struct cursor *c, const char **word_out)
{
    *word_out = c->p;
    while (c->p < c->end && is_alpha(*c->p))
        c->p++;
    return (size_t)(c->p - *word_out);
}

/* The month of a word that is an English month or its first three letters; 0 if it is none. */
static int month_parse(const char *word, size_t len)
{
    static const char *const long_names[12] = {"January",   "February", "March",    "April",
                                               "May",       "June",     "July",     "August",
                                               "September", "October",  "November", "December"};
    for (int i = 0; i < 12; i++)
        if (mh_mem_ieq(word, len, months[i]) || mh_mem_ieq(word, len, long_names[i]))
            return i + 1;
    return 0;
}

/* "+hhmm" or "-hhmm", below 24 hours. */
static bool take_numeric_zone(struct cursor *c, int *zone_min_out)
{
    bool west = c->p < c->end && *c->p == '-';
    if (!west && (c->p == c->end || *c->p != '+'))
        return false;
    c->p++;
    int hours = 0;
    int minutes = 0;
    if (!take_number(c, 2, 2, &hours) || !take_number(c, 2, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *zone_min_out = west ? -(hours * 60 + minutes) : hours * 60 + minutes;
    return true;
}

static bool take_hms(struct cursor *c, int *hour, int *minute, int *second)
{
    return take_number(c, 2, 2, hour) && take_char(c, ':') && take_number(c, 2, 2, minute) &&
           take_char(c, ':') && take_number(c, 2, 2, second);
}

bool mh_date_parse_imap(const char *s, size_t len, struct mh_date *out)
{
    struct cursor c = {s, s + len};
    struct civil d = {0};
    const char *month;
    (void)take_char(&c, ' '); /* date-day-fixed = (SP DIGIT) / 2DIGIT */
    if (!take_number(&c, 1, 2, &d.day) || !take_char(&c, '-'))
        return false;
    size_t month_len = take_word(&c, &month);
    d.month = month_len == 3 ? month_parse(month, month_len) : 0;
    if (!take_char(&c, '-') || !take_number(&c, 4, 4, &d.year) || !take_char(&c, ' '))
        return false;
    if (!take_hms(&c, &d.hour, &d.minute, &d.second) || !take_char(&c, ' '))
        return false;
    if (!take_numeric_zone(&c, &d.zone_min) || c.p != c.end)
        return false;
    return date_from_civil(&d, out);
}

/* --- RFC 5322 --------------------------------------------------------------------------------- */

/* Skips blanks, line ends and comments, which may be nested and hold quoted pairs (section 3.2.2);
 * an open comment ends with the value. */
static void skip_cfws(struct cursor *c)
{
    int depth = 0;
    for (; c->p < c->end; c->p++) {
        char ch = *c->p;
        if (ch == '(') {
            depth++;
        } else if (depth && ch == ')') {
            depth--;
        } else if (depth && ch == '\\' && c->p + 1 < c->end) {
            c->p++;
        } else if (!depth && ch != ' ' && ch != '\t' && ch != '\r' && ch != '\n') {
            return;
        }
    }
}

/* Two digits are 2000-2049 or 1950-1999, three digits count from 1900 (section 4.3). */
static bool take_year(struct cursor *c, int *year_out)
{
    int digits = take_number(c, 2, 4, year_out);
    if (digits == 2)
        *year_out += *year_out < 50 ? 2000 : 1900;
    else if (digits == 3)
        *year_out += 1900;
    return digits != 0;
}

/* Obsolete zones by name (section 4.3). One letter (military, defined wrongly in RFC 822) and
 * unknown names say nothing about the zone: UTC. */
static bool take_named_zone(struct cursor *c, int *zone_min_out)
{
    static const struct {
        const char *name;
        int hours;
    } zones[] = {
        {"UT", 0},   {"GMT", 0},  {"UTC", 0},  {"EST", -5}, {"EDT", -4}, {"CST", -6},
        {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7},
    };
    const char *word;
    size_t len = take_word(c, &word);
    *zone_min_out = 0;
    for (size_t i = 0; i < MH_ARRAY_LEN(zones); i++)
        if (mh_mem_ieq(word, len, zones[i].name))
            *zone_min_out = zones[i].hours * 60;
    return len != 0;
}

/* hour ":" minute [":" second], one digit tolerated: old mailers write " 9:05". */
static bool take_time_of_day(struct cursor *c, struct civil *d)
{
    if (!take_number(c, 1, 2, &d->hour))
        return false;
    skip_cfws(c);
    if (!take_char(c, ':'))
        return false;
    skip_cfws(c);
    if (!take_number(c, 1, 2, &d->minute))
        return false;
    skip_cfws(c);
    if (!take_char(c, ':'))
        return true;
    skip_cfws(c);
    return take_number(c, 1, 2, &d->second) != 0;
}

bool mh_date_parse_rfc5322(const char *s, size_t len, struct mh_date *out)
{
    struct cursor c = {s, s + len};
    struct civil d = {0};
    const char *word;
    skip_cfws(&c);
    if (take_word(&c, &word)) { /* the day's name; it says nothing new and is often wrong */
        skip_cfws(&c);
        (void)take_char(&c, ',');
        skip_cfws(&c);
    }
    if (!take_number(&c, 1, 2, &d.day))
        return false;
    skip_cfws(&c);
    size_t month_len = take_word(&c, &word);
    d.month = month_parse(word, month_len);
    skip_cfws(&c);
    if (!take_year(&c, &d.year))
        return false;
    skip_cfws(&c);
    if (!take_time_of_day(&c, &d))
        return false;
    skip_cfws(&c);
    /* What follows the zone is not looked at; without any zone the time is read as UTC. */
    if (c.p < c.end && (*c.p == '+' || *c.p == '-')) {
        if (!take_numeric_zone(&c, &d.zone_min))
            return false;
    } else if (c.p < c.end && !take_named_zone(&c, &d.zone_min)) {
        return false;
    }
    return date_from_civil(&d, out);
}
