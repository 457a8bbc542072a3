/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The timetable of --bwlimit and the token bucket, with given times only. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "net/bucket.h"
#include "net/bucket_priv.h"
#include "zones.h"

#define KI      1024ull
#define MI      (1024ull * 1024)
#define FOREVER "-"

static const struct {
    const char *name;
    const char *zone;
    const char *entries[3];
    const char *now; /* UTC */
    uint64_t rate;
    const char *until; /* UTC */
} timetable_cases[] = {
    {"no entry", "UTC0", {NULL}, "2026-01-07 12:00:00", 0, FOREVER},
    {"always", "UTC0", {"2M"}, "2026-01-07 12:00:00", 2 * MI, FOREVER},
    {"always, spelt out", "UTC0", {"1.5MiB/s"}, "2026-01-07 12:00:00", 3 * MI / 2, FOREVER},
    {"off", "UTC0", {"off"}, "2026-01-07 12:00:00", 0, FOREVER},
    {"zero is off", "UTC0", {"0"}, "2026-01-07 12:00:00", 0, FOREVER},
    {"daily: inside",
     "UTC0",
     {"08:00,512K 19:00,off"},
     "2026-01-07 12:00:00",
     512 * KI,
     "2026-01-07 19:00:00"},
    {"daily: first second",
     "UTC0",
     {"08:00,512K 19:00,off"},
     "2026-01-07 08:00:00",
     512 * KI,
     "2026-01-07 19:00:00"},
    {"daily: last second before",
     "UTC0",
     {"08:00,512K 19:00,off"},
     "2026-01-07 07:59:59",
     0,
     "2026-01-07 08:00:00"},
    {"daily: evening wraps to the morning",
     "UTC0",
     {"08:00,512K 19:00,off"},
     "2026-01-07 23:30:15",
     0,
     "2026-01-08 08:00:00"},
    {"daily: early morning is yesterday's last entry",
     "UTC0",
     {"08:00,512K 19:00,1M"},
     "2026-01-07 03:00:00",
     MI,
     "2026-01-07 08:00:00"},
    {"order of entries does not matter",
     "UTC0",
     {"19:00,off 08:00,512K"},
     "2026-01-07 12:00:00",
     512 * KI,
     "2026-01-07 19:00:00"},
    {"weekdays: Wednesday runs on from Monday",
     "UTC0",
     {"Mon-08:00,2M Sat-00:00,off"},
     "2026-01-07 12:00:00",
     2 * MI,
     "2026-01-10 00:00:00"},
    {"weekdays: Sunday is off",
     "UTC0",
     {"Mon-08:00,2M Sat-00:00,off"},
     "2026-01-11 12:00:00",
     0,
     "2026-01-12 08:00:00"},
    {"weekdays: Monday before eight wraps over the week",
     "UTC0",
     {"Mon-08:00,2M Sat-00:00,off"},
     "2026-01-12 07:00:00",
     0,
     "2026-01-12 08:00:00"},
    {"weekdays: Sunday's start carries Saturday over",
     "UTC0",
     {"Sat-22:00,1M Mon-06:00,off"},
     "2026-01-11 00:00:00",
     MI,
     "2026-01-12 06:00:00"},
    {"whole words, any case",
     "UTC0",
     {"monday-08:00,2m SATURDAY-00:00,OFF"},
     "2026-01-07 12:00:00",
     2 * MI,
     "2026-01-10 00:00:00"},
    {"range: inside",
     "UTC0",
     {"Mon-Fri 08:00-19:00 2MiB/s"},
     "2026-01-07 12:00:00",
     2 * MI,
     "2026-01-07 19:00:00"},
    {"range: after hours",
     "UTC0",
     {"Mon-Fri 08:00-19:00 2MiB/s"},
     "2026-01-07 19:00:00",
     0,
     "2026-01-08 08:00:00"},
    {"range: Friday night to Monday",
     "UTC0",
     {"Mon-Fri 08:00-19:00 2MiB/s"},
     "2026-01-09 20:00:00",
     0,
     "2026-01-12 08:00:00"},
    {"range: days wrap over the week",
     "UTC0",
     {"Fri-Mon 08:00-19:00 1M"},
     "2026-01-11 09:00:00",
     MI,
     "2026-01-11 19:00:00"},
    {"range: days wrap, Wednesday is outside",
     "UTC0",
     {"Fri-Mon 08:00-19:00 1M"},
     "2026-01-07 09:00:00",
     0,
     "2026-01-09 08:00:00"},
    {"range: over midnight",
     "UTC0",
     {"22:00-06:00 4M"},
     "2026-01-07 02:00:00",
     4 * MI,
     "2026-01-07 06:00:00"},
    {"range: Saturday night reaches into Sunday",
     "UTC0",
     {"Sat 22:00-06:00 4M"},
     "2026-01-11 05:59:59",
     4 * MI,
     "2026-01-11 06:00:00"},
    {"range: to the end of the day",
     "UTC0",
     {"Wed 20:00-24:00 1M"},
     "2026-01-07 23:59:59",
     MI,
     "2026-01-08 00:00:00"},
    {"range: one whole day", "UTC0", {"Wed 1M"}, "2026-01-07 00:00:00", MI, "2026-01-08 00:00:00"},
    {"ranges side by side",
     "UTC0",
     {"Mon-Fri 08:00-12:00 2M", "Mon-Fri 12:00-19:00 1M"},
     "2026-01-07 11:00:00",
     2 * MI,
     "2026-01-07 12:00:00"},
    {"ranges that overlap: the stricter",
     "UTC0",
     {"08:00-19:00 2M", "12:00-13:00 1M"},
     "2026-01-07 12:30:00",
     MI,
     "2026-01-07 13:00:00"},
    {"a range beside a constant: the stricter",
     "UTC0",
     {"08:00-19:00 2M", "10M"},
     "2026-01-07 20:00:00",
     10 * MI,
     "2026-01-08 08:00:00"},
    {"local time, winter",
     BERLIN,
     {"08:00,512K 19:00,off"},
     "2026-01-07 07:00:00",
     512 * KI,
     "2026-01-07 18:00:00"},
    {"local time, summer",
     BERLIN,
     {"08:00,512K 19:00,off"},
     "2026-07-07 06:00:00",
     512 * KI,
     "2026-07-07 17:00:00"},
    {"local time, half an hour off",
     INDIA,
     {"08:00,512K 19:00,off"},
     "2026-01-07 02:29:59",
     0,
     "2026-01-07 02:30:00"},
    {"spring: the night is an hour shorter",
     BERLIN,
     {"22:00,off 08:00,1M"},
     "2026-03-28 22:00:00",
     0,
     "2026-03-29 06:00:00"},
    {"autumn: the night is an hour longer",
     BERLIN,
     {"22:00,off 08:00,1M"},
     "2026-10-24 21:00:00",
     0,
     "2026-10-25 07:00:00"},
    {"spring: an entry in the hour that is not there",
     BERLIN,
     {"02:30,1M 12:00,off"},
     "2026-03-29 00:59:59",
     0,
     "2026-03-29 01:00:00"},
    {"autumn: the hour that comes twice, first time",
     BERLIN,
     {"02:30,1M 12:00,off"},
     "2026-10-25 00:30:00",
     MI,
     "2026-10-25 01:00:00"},
    {"autumn: the hour that comes twice, in between",
     BERLIN,
     {"02:30,1M 12:00,off"},
     "2026-10-25 01:00:00",
     0,
     "2026-10-25 01:30:00"},
    {"west of Greenwich, spring",
     NEW_YORK,
     {"Sun-01:00,1M Sun-04:00,off"},
     "2026-03-08 06:30:00",
     MI,
     "2026-03-08 08:00:00"},
    {"before 1970",
     "UTC0",
     {"08:00,512K 19:00,off"},
     "1969-12-31 12:00:00",
     512 * KI,
     "1969-12-31 19:00:00"},
};

Test(timetable, rates_and_their_ends)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(timetable_cases); i++) {
        const char *name = timetable_cases[i].name;
        struct mh_timetable *t = NULL;
        struct mh_err err;
        size_t n = 0;
        int64_t until = 0;
        while (timetable_cases[i].entries[n])
            n++;
        set_zone(timetable_cases[i].zone);
        cr_assert_eq(mh_timetable_parse(timetable_cases[i].entries, n, &t, &err), MH_OK, "%s: %s",
                     name, err.text);
        uint64_t rate = mh_timetable_rate(t, utc(timetable_cases[i].now), &until);
        cr_expect_eq(rate, timetable_cases[i].rate, "%s: rate %llu", name,
                     (unsigned long long)rate);
        int64_t expected = strcmp(timetable_cases[i].until, FOREVER) == 0
                               ? INT64_MAX
                               : utc(timetable_cases[i].until);
        cr_expect_eq(until, expected, "%s: until %lld, not %lld", name, (long long)until,
                     (long long)expected);
        mh_timetable_free(t);
    }
}

/* Whatever the zone does, the end that is told is the first second with another rate. */
Test(timetable, the_end_is_the_first_change)
{
    static const char *const zones[] = {BERLIN, NEW_YORK, INDIA, LORD_HOWE};
    static const char *const entries[] = {"Sun-01:30,1M Sun-02:15,2M Sun-03:00,off",
                                          "Sat 23:00-01:00 4M"};
    for (size_t z = 0; z < MH_ARRAY_LEN(zones); z++) {
        set_zone(zones[z]);
        struct mh_timetable *t = NULL;
        struct mh_err err;
        cr_assert_eq(mh_timetable_parse(entries, MH_ARRAY_LEN(entries), &t, &err), MH_OK);
        for (int month = 0; month < 12; month++) {
            int64_t start = utc("2026-01-03 12:00:00") + (int64_t)month * 30 * 86400;
            for (int64_t at = start; at < start + 8 * 86400;) {
                int64_t until = 0, ignored = 0;
                uint64_t rate = mh_timetable_rate(t, at, &until);
                cr_assert_gt(until, at);
                cr_assert_neq(mh_timetable_rate(t, until, &ignored), rate);
                for (int64_t between = at; between < until; between += 3607)
                    cr_assert_eq(mh_timetable_rate(t, between, &ignored), rate);
                cr_assert_eq(mh_timetable_rate(t, until - 1, &ignored), rate);
                at = until;
            }
        }
        mh_timetable_free(t);
    }
}

static const char *const bad_entries[] = {
    "",
    "   ",
    "fast",
    "512", /* bytes per second: meant is 512K */
    "-1M",
    "1Mbit",
    "8:00,1M", /* two digits */
    "08:60,1M",
    "24:00,1M", /* no start */
    "08:00,",
    "08:00;1M",
    "08:00,1M 19:00",
    "Mo-08:00,1M",
    "Monday08:00,1M",
    "Mon-Fri-08:00,1M",
    "Mon-Fri 08:00-19:00",
    "Mon-Fri 08:00-08:00 1M",
    "Mon-Fri 25:00-26:00 1M",
    "Mon- 08:00-19:00 1M",
    "Mon-Fri 08:00-19:00 1M 2M",
    "Mon-Fri 08:00-19:00x 1M",
    "Mon-Frix 08:00-19:00 1M",
    "99999999999999999999M",
    "2T",
    "10M:1M", /* rclone's up:down pair */
    "Mon-08:00,2Maaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};

Test(timetable, what_cannot_be_read_is_named)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(bad_entries); i++) {
        struct mh_timetable *t = NULL;
        struct mh_err err;
        const char *entries[] = {"1M", bad_entries[i]};
        cr_expect_eq(mh_timetable_parse(entries, 2, &t, &err), MH_EUSAGE, "accepted: \"%s\"",
                     bad_entries[i]);
        cr_expect(strstr(err.text, "cannot read the bandwidth limit \""), "%s", err.text);
    }
    struct mh_err err;
    struct mh_timetable *t = NULL;
    const char *entries[] = {"08:00,1M 09:00,nix 10:00,2M"};
    cr_assert_eq(mh_timetable_parse(entries, 1, &t, &err), MH_EUSAGE);
    cr_assert(strstr(err.text, "\"09:00,nix\""), "names the word: %s", err.text);
}

/* --- the bucket ------------------------------------------------------------------------------ */

static int64_t wall_now;

static int64_t wall(void)
{
    return wall_now;
}

/* A bucket and the timetable that it follows. */
struct limit {
    struct mh_timetable *t; /* NULL: none */
    struct mh_bucket *b;
};

static struct limit limit_in(const char *zone, const char *entry)
{
    struct limit l = {NULL, NULL};
    struct mh_err err;
    set_zone(zone);
    if (entry)
        cr_assert_eq(mh_timetable_parse(&entry, 1, &l.t, &err), MH_OK);
    cr_assert_eq(mh_bucket_new(l.t, &l.b, &err), MH_OK);
    mh_bucket_set_wall(l.b, wall);
    return l;
}

static struct limit limit_of(const char *entry)
{
    return limit_in("UTC0", entry);
}

static void limit_free(struct limit *l)
{
    mh_bucket_free(l->b);
    mh_timetable_free(l->t);
}

/* All that there is at NOW. */
static uint64_t take_all(struct mh_bucket *b, int64_t now_ms)
{
    uint64_t passed = 0;
    int64_t wait_ms = 0;
    for (size_t n = 1; n > 0; passed += n)
        n = mh_bucket_take(b, 65536, now_ms, &wait_ms);
    return passed;
}

/* Takes pieces of WANT bytes as fast as the bucket allows from FROM to UNTIL; the bytes that
 * passed. */
static uint64_t run_bucket(struct mh_bucket *b, size_t want, int64_t from_ms, int64_t until_ms)
{
    uint64_t passed = 0;
    for (int64_t now = from_ms; now < until_ms;) {
        int64_t wait_ms = 0;
        size_t n = mh_bucket_take(b, want, now, &wait_ms);
        cr_assert_leq(n, want);
        cr_assert(n > 0 ? wait_ms == 0 : wait_ms > 0);
        passed += n;
        now += wait_ms;
        cr_assert_lt(passed, 1ull << 40, "no limit at all");
    }
    return passed;
}

static const struct {
    const char *rate;
    uint64_t bytes_per_s;
    size_t want;
} rate_cases[] = {
    {"1K", KI, 65536},         {"1K", KI, 1},
    {"10K", 10 * KI, 4096},    {"512K", 512 * KI, 65536},
    {"2M", 2 * MI, 65536},     {"2M", 2 * MI, 100},
    {"100M", 100 * MI, 65536}, {"1G", 1024 * MI, 65536},
};

Test(bucket, the_rate_is_kept_over_100_s)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(rate_cases); i++) {
        struct limit l = limit_of(rate_cases[i].rate);
        uint64_t passed = run_bucket(l.b, rate_cases[i].want, 5000, 105000);
        uint64_t expected = 100 * rate_cases[i].bytes_per_s;
        uint64_t burst = MH_MAX(rate_cases[i].bytes_per_s / 8, 16 * KI);
        cr_expect_leq(passed, expected + burst, "%s by %zu: %llu", rate_cases[i].rate,
                      rate_cases[i].want, (unsigned long long)passed);
        cr_expect_geq(passed, expected * 99 / 100 - burst, "%s by %zu: %llu", rate_cases[i].rate,
                      rate_cases[i].want, (unsigned long long)passed);
        limit_free(&l);
    }
}

Test(bucket, nothing_is_given_in_crumbs)
{
    struct limit l = limit_of("64K");
    unsigned grants = 0;
    uint64_t passed = 0;
    for (int64_t now = 0; now < 10000; now++) {
        int64_t wait_ms = 0;
        size_t n = mh_bucket_take(l.b, 65536, now, &wait_ms);
        grants += n > 0;
        passed += n;
        cr_assert(n == 0 || n >= 1024, "%zu", n);
    }
    cr_assert_leq(grants, 641);
    cr_assert_geq(passed, (10000 - 20) * 64 * KI / 1000, "%llu", (unsigned long long)passed);
    limit_free(&l);
}

Test(bucket, a_pause_saves_up_one_burst_only)
{
    struct limit l = limit_of("1M");
    (void)run_bucket(l.b, 65536, 0, 1000);
    cr_assert_eq(take_all(l.b, 3600 * 1000), MI / 8);
    limit_free(&l);
}

Test(bucket, what_is_given_back_may_be_taken_again)
{
    struct limit l = limit_of("1M");
    int64_t wait_ms = 0;
    cr_assert_eq(mh_bucket_take(l.b, 65536, 0, &wait_ms), 0, "starts empty");
    size_t got = mh_bucket_take(l.b, 65536, 1000, &wait_ms);
    cr_assert_eq(got, 65536);
    mh_bucket_give(l.b, got);
    cr_assert_eq(take_all(l.b, 1000), MI / 8);
    mh_bucket_give(l.b, 1u << 30);
    cr_assert_eq(take_all(l.b, 1000), MI / 8, "never more than a burst");
    limit_free(&l);
}

Test(bucket, no_timetable_no_limit)
{
    struct limit l = limit_of(NULL);
    int64_t wait_ms = 7;
    cr_assert_eq(mh_bucket_take(l.b, SIZE_MAX, 0, &wait_ms), SIZE_MAX);
    cr_assert_eq(wait_ms, 0);
    mh_bucket_give(l.b, 5);
    limit_free(&l);
}

Test(bucket, follows_its_timetable_and_the_wall_clock)
{
    struct limit l = limit_of("08:00,1M 19:00,off");
    int64_t wait_ms = 0;
    wall_now = utc("2026-01-07 18:59:58");
    cr_assert_eq(mh_bucket_take(l.b, 1u << 20, 0, &wait_ms), 0);
    wall_now += 1;
    cr_assert_eq(mh_bucket_take(l.b, 1u << 20, 1000, &wait_ms), MI / 8);
    wall_now += 1;
    cr_assert_eq(mh_bucket_take(l.b, 1u << 20, 2000, &wait_ms), 1u << 20, "19:00: no limit");
    /* Somebody sets the clock back to the morning: seen within ten seconds. */
    wall_now = utc("2026-01-07 09:00:00");
    cr_assert_eq(mh_bucket_take(l.b, 1u << 20, 12001, &wait_ms), 0);
    uint64_t passed = run_bucket(l.b, 65536, 12001, 13001);
    cr_assert(passed >= MI * 9 / 10 && passed <= MI + MI / 8, "%llu", (unsigned long long)passed);
    limit_free(&l);
}

/* Fault 29. Berlin, office hours of 1 MiB/s from eight to seven. */
static const struct {
    const char *name;
    const char *from, *to; /* UTC */
    bool is_limited_before, is_limited_after;
} clock_jumps[] = {
    {"an hour ahead, into the hours", "2026-11-23 06:30:00", "2026-11-23 07:30:00", false, true},
    {"an hour back, out of them", "2026-11-23 07:30:00", "2026-11-23 06:30:00", true, false},
    {"a day ahead", "2026-11-23 12:00:00", "2026-11-24 12:00:00", true, true},
    {"a day back, to the weekend", "2026-11-23 12:00:00", "2026-11-22 12:00:00", true, false},
    {"to a Friday of 1970", "2026-11-22 12:00:00", "1970-01-02 12:00:00", false, true},
    {"to the night of 1970", "2026-11-23 12:00:00", "1970-01-01 00:00:00", true, false},
    {"to a Monday of 2040", "2026-11-22 12:00:00", "2040-01-16 12:00:00", false, true},
    {"summer begins: eight is an hour earlier", "2026-03-27 06:30:00", "2026-03-30 06:30:00", false,
     true},
    {"summer ends: eight is an hour later", "2026-10-23 06:30:00", "2026-10-26 06:30:00", true,
     false},
};

/* Whatever was set: within ten seconds the rate is the timetable's, and no burst was saved up. */
Test(bucket, keeps_to_the_timetable_when_the_clock_jumps)
{
    for (size_t i = 0; i < sizeof clock_jumps / sizeof *clock_jumps; i++) {
        struct limit l = limit_in(BERLIN, "Mon-Fri 08:00-19:00 1M");
        int64_t wait_ms = 0;
        wall_now = utc(clock_jumps[i].from);
        (void)mh_bucket_take(l.b, 1, 0, &wait_ms);
        cr_expect_eq(mh_bucket_take(l.b, 8u << 20, 1000, &wait_ms) == 8u << 20,
                     !clock_jumps[i].is_limited_before, "%s: before", clock_jumps[i].name);
        wall_now = utc(clock_jumps[i].to);
        (void)mh_bucket_take(l.b, 1, 11001, &wait_ms);
        size_t got = mh_bucket_take(l.b, 8u << 20, 11002, &wait_ms);
        cr_expect_eq(got == 8u << 20, !clock_jumps[i].is_limited_after, "%s: after",
                     clock_jumps[i].name);
        if (clock_jumps[i].is_limited_after)
            cr_expect_leq(got, MI / 8, "%s: %zu at once", clock_jumps[i].name, got);
        limit_free(&l);
    }
}

Test(bucket, time_that_runs_backwards_gives_nothing)
{
    struct limit l = limit_of("1M");
    int64_t wait_ms = 0;
    (void)run_bucket(l.b, 65536, 0, 1000);
    (void)take_all(l.b, 1000);
    for (int64_t now = 999; now > 0; now -= 100)
        cr_assert_eq(mh_bucket_take(l.b, 65536, now, &wait_ms), 0);
    limit_free(&l);
}

struct shared {
    struct mh_bucket *b;
    uint64_t passed;
};

static void *taker(void *arg)
{
    struct shared *s = arg;
    for (int64_t now = 0; now < 20000; now++) {
        int64_t wait_ms = 0;
        s->passed += mh_bucket_take(s->b, 65536, now, &wait_ms);
    }
    return NULL;
}

Test(bucket, threads_share_one_limit)
{
    struct limit l = limit_of("1M");
    struct shared s[3];
    pthread_t threads[3];
    uint64_t passed = 0;
    for (int i = 0; i < 3; i++) {
        s[i] = (struct shared){l.b, 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, taker, &s[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        passed += s[i].passed;
    }
    cr_assert_leq(passed, 20 * MI + MI / 8);
    cr_assert_geq(passed, 19 * MI, "%llu: what is there is given", (unsigned long long)passed);
    limit_free(&l);
}
