/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/bucket.h"

enum {
    DAY_MINUTES = 24 * 60,
    WEEK_MINUTES = 7 * DAY_MINUTES,
    QUARTER_S = 15 * 60,
    LOOK_AHEAD_S = 8 * 24 * 3600,
    TOKEN_BYTES = 48,   /* "Wednesday-08:00,1023.9MiB/s" is far shorter */
    TOKENS_MAX = 7 * 24 /* of one entry: a point for each hour of a week */
};

/* Below this a rate is a slip of the pen ("512" for "512K"): 25 KB of mail would take minutes. */
#define RATE_MIN_BYTES 1024u
#define RATE_MAX_BYTES (1ull << 40)

/* The rate of each minute of the week (Sunday 00:00 first), 0 = no limit. Filled in two layers
 * that the last step merges: points hold from their minute to the next point, ranges within
 * themselves. */
struct mh_timetable {
    uint64_t rate[WEEK_MINUTES];
    bool is_constant;
};

struct draft {
    uint64_t point[WEEK_MINUTES];
    bool has_point[WEEK_MINUTES];
    uint64_t range[WEEK_MINUTES];
};

/* --- words ----------------------------------------------------------------------------------- */

/* Reads a weekday (three letters or the whole word); returns the characters used, 0 if none. */
static size_t read_day(const char *s, int *day_out)
{
    static const char *const names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
    size_t len = 0;
    while (isalpha((unsigned char)s[len]))
        len++;
    for (int i = 0; i < 7; i++) {
        if ((len == 3 || len == strlen(names[i])) && strncasecmp(s, names[i], len) == 0) {
            *day_out = i;
            return len;
        }
    }
    return 0;
}

/* Reads HH:MM (24:00 only as an end); returns the characters used, 0 if none. */
static size_t read_time(const char *s, bool is_end, int *minute_out)
{
    for (size_t i = 0; i < 5; i++) {
        if (i == 2 ? s[i] != ':' : !isdigit((unsigned char)s[i]))
            return 0;
    }
    int hour = (s[0] - '0') * 10 + (s[1] - '0');
    int minute = (s[3] - '0') * 10 + (s[4] - '0');
    if (minute > 59 || hour * 60 + minute > (is_end ? DAY_MINUTES : DAY_MINUTES - 1))
        return 0;
    *minute_out = hour * 60 + minute;
    return 5;
}

static bool read_rate(const char *s, uint64_t *rate_out)
{
    char number[TOKEN_BYTES];
    size_t len = strlen(s);
    if (strcasecmp(s, "off") == 0 || strcmp(s, "0") == 0) {
        *rate_out = 0;
        return true;
    }
    if (len > 2 && strcmp(s + len - 2, "/s") == 0)
        len -= 2;
    (void)snprintf(number, sizeof number, "%.*s", (int)len, s);
    return mh_parse_size(number, rate_out) && *rate_out >= RATE_MIN_BYTES &&
           *rate_out <= RATE_MAX_BYTES;
}

/* --- entries --------------------------------------------------------------------------------- */

struct tokens {
    size_t n;
    char text[TOKENS_MAX][TOKEN_BYTES];
};

/* False when there are too many words or one is too long. */
static bool split(const char *entry, struct tokens *out)
{
    out->n = 0;
    for (const char *p = entry; *p;) {
        size_t len = strcspn(p, " \t");
        if (len >= TOKEN_BYTES || out->n == TOKENS_MAX)
            return false;
        if (len > 0) {
            memcpy(out->text[out->n], p, len);
            out->text[out->n++][len] = '\0';
        }
        p += len + strspn(p + len, " \t");
    }
    return true;
}

/* "[Mon-]08:00,512K" */
static bool add_point(struct draft *d, const char *word)
{
    int day = 0;
    int minute = 0;
    uint64_t rate = 0;
    size_t used = read_day(word, &day);
    bool has_day = used > 0;
    if (has_day && word[used++] != '-')
        return false;
    size_t time_len = read_time(word + used, false, &minute);
    if (time_len == 0 || word[used + time_len] != ',' ||
        !read_rate(word + used + time_len + 1, &rate))
        return false;
    for (int i = has_day ? day : 0; i <= (has_day ? day : 6); i++) {
        d->point[i * DAY_MINUTES + minute] = rate;
        d->has_point[i * DAY_MINUTES + minute] = true;
    }
    return true;
}

/* Two limits at once: the smaller holds. */
static uint64_t stricter(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return MH_MIN(a, b);
}

/* "[Mon-Fri] [08:00-19:00] 2MiB/s" */
static bool add_range(struct draft *d, const struct tokens *t)
{
    int first_day = 0, last_day = 6, from = 0, until = DAY_MINUTES;
    uint64_t rate = 0;
    size_t at = 0;
    size_t used = t->n > 1 ? read_day(t->text[0], &first_day) : 0;
    if (used > 0) {
        const char *rest = t->text[at++] + used;
        last_day = first_day;
        if (*rest &&
            (*rest != '-' || (used = read_day(rest + 1, &last_day)) == 0 || rest[1 + used]))
            return false;
    }
    if (at + 1 < t->n) {
        const char *word = t->text[at++];
        if (read_time(word, false, &from) == 0 || word[5] != '-' ||
            read_time(word + 6, true, &until) == 0 || word[11] || from == until)
            return false;
    }
    if (at + 1 != t->n || !read_rate(t->text[at], &rate))
        return false;
    int days = (last_day - first_day + 7) % 7 + 1;
    int minutes = until > from ? until - from : until + DAY_MINUTES - from;
    for (int i = 0; i < days; i++) {
        for (int m = 0; m < minutes; m++) {
            int at_minute = ((first_day + i) * DAY_MINUTES + from + m) % WEEK_MINUTES;
            d->range[at_minute] = stricter(d->range[at_minute], rate);
        }
    }
    return true;
}

static bool add_entry(struct draft *d, const char *entry, struct tokens *t, const char **bad_out)
{
    *bad_out = entry;
    if (!split(entry, t) || t->n == 0)
        return false;
    if (!strchr(entry, ','))
        return add_range(d, t);
    for (size_t i = 0; i < t->n; i++) {
        *bad_out = t->text[i];
        if (!add_point(d, t->text[i]))
            return false;
    }
    return true;
}

/* The rate in force when the week begins: the last point of the week before. */
static uint64_t carried_over(const struct draft *d)
{
    for (int i = WEEK_MINUTES - 1; i >= 0; i--) {
        if (d->has_point[i])
            return d->point[i];
    }
    return 0;
}

static void merge(const struct draft *d, struct mh_timetable *t)
{
    uint64_t point = carried_over(d);
    t->is_constant = true;
    for (int i = 0; i < WEEK_MINUTES; i++) {
        if (d->has_point[i])
            point = d->point[i];
        t->rate[i] = stricter(point, d->range[i]);
        t->is_constant = t->is_constant && t->rate[i] == t->rate[0];
    }
}

int mh_timetable_parse(const char *const *entries, size_t n, struct mh_timetable **out,
                       struct mh_err *err)
{
    MH_CLEANUP(mh_free_p) struct mh_timetable *t = mh_zalloc(sizeof *t);
    MH_CLEANUP(mh_free_p) struct draft *d = mh_zalloc(sizeof *d);
    MH_CLEANUP(mh_free_p) struct tokens *words = mh_alloc(sizeof *words);
    if (!t || !d || !words)
        return mh_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const char *bad = NULL;
        if (!add_entry(d, entries[i], words, &bad))
            return mh_err_set(err, MH_EUSAGE, "limits",
                              "cannot read the bandwidth limit \"%.60s\": write \"2M\", "
                              "\"08:00,512K 19:00,off\", \"Mon-08:00,2M Sat-00:00,off\" or "
                              "\"Mon-Fri 08:00-19:00 2MiB/s\" (bytes per second, at least 1K)",
                              bad);
    }
    merge(d, t);
    tzset();
    *out = mh_take(t);
    return MH_OK;
}

void mh_timetable_free(struct mh_timetable *t)
{
    mh_free(t);
}

/* --- asking ---------------------------------------------------------------------------------- */

/* The minute of the week in local time at WALL_S. */
static int local_minute(int64_t wall_s, int *second_out)
{
    time_t when = (time_t)wall_s;
    struct tm tm;
    if (!localtime_r(&when, &tm))
        (void)gmtime_r(&when, &tm);
    *second_out = MH_MIN(tm.tm_sec, 59);
    return tm.tm_wday * DAY_MINUTES + tm.tm_hour * 60 + tm.tm_min;
}

/*
 * Walks ahead in steps of a quarter of an hour: zones change their offset only at such marks, so
 * local time is continuous within a step and no daylight saving can fall between two looks.
 */
static int64_t next_change(const struct mh_timetable *t, int64_t wall_s, uint64_t rate)
{
    int64_t at = wall_s;
    while (at - wall_s < LOOK_AHEAD_S) {
        int second = 0;
        int minute = local_minute(at, &second);
        if (t->rate[minute] != rate)
            return at;
        int64_t mark = at - at % QUARTER_S + QUARTER_S;
        for (int64_t k = 1; at - second + 60 * k < mark; k++) {
            if (t->rate[(minute + k) % WEEK_MINUTES] != rate)
                return at - second + 60 * k;
        }
        at = mark;
    }
    return at;
}

uint64_t mh_timetable_rate(const struct mh_timetable *t, int64_t wall_s, int64_t *until_wall_s_out)
{
    if (t->is_constant) {
        *until_wall_s_out = INT64_MAX;
        return t->rate[0];
    }
    int second = 0;
    uint64_t rate = t->rate[local_minute(wall_s, &second)];
    *until_wall_s_out = next_change(t, wall_s, rate);
    return rate;
}
