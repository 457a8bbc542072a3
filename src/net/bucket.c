/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/bucket.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/bucket_priv.h"

/* How long an unused limit is saved up: an eighth of a second keeps the wire even. */
#define BURST_MS        125u
/* A slab must pass in a few steps also at a small rate: a burst holds a TLS record at least. */
#define BURST_MIN_BYTES (16u * 1024u)
/* Nothing is given in crumbs: each grant costs a system call at both ends. */
#define GRAIN_MAX_BYTES (16u * 1024u)
#define GRAIN_MIN_BYTES 512u
#define GRAINS_PER_S    64u
/* The wall clock may be set at any time: the timetable is looked at again this often. */
#define RECHECK_MS      (10 * 1000)
/* After a pause (a laptop's sleep) nothing more than a full burst has gathered. */
#define REFILL_MAX_MS   (60 * 1000)

struct mh_bucket {
    pthread_mutex_t lock;
    const struct mh_timetable *timetable; /* borrowed: outlives the bucket; NULL = no limit */
    int64_t (*wall_s)(void);
    uint64_t rate;         /* bytes per second in force; 0 = no limit */
    uint64_t milli_tokens; /* thousandths of a byte */
    int64_t filled_ms;     /* when tokens were last added */
    int64_t check_ms;      /* when to look at the timetable again */
    bool is_started;
};

int mh_bucket_new(const struct mh_timetable *t, struct mh_bucket **out, struct mh_err *err)
{
    struct mh_bucket *b = mh_zalloc(sizeof *b);
    if (!b)
        return mh_err_nomem(err);
    (void)pthread_mutex_init(&b->lock, NULL);
    b->timetable = t;
    b->wall_s = mh_clock_wall_s;
    *out = b;
    return MH_OK;
}

void mh_bucket_free(struct mh_bucket *b)
{
    if (!b)
        return;
    (void)pthread_mutex_destroy(&b->lock);
    mh_free(b);
}

void mh_bucket_set_wall(struct mh_bucket *b, int64_t (*wall_s)(void))
{
    b->wall_s = wall_s;
}

static uint64_t burst_bytes(const struct mh_bucket *b)
{
    return MH_MAX(b->rate * BURST_MS / 1000, BURST_MIN_BYTES);
}

static void look_at_timetable(struct mh_bucket *b, int64_t now_ms)
{
    if (b->is_started && now_ms < b->check_ms)
        return;
    int64_t wall_s = b->wall_s();
    int64_t until_s = 0;
    b->rate = mh_timetable_rate(b->timetable, wall_s, &until_s);
    int64_t holds_ms =
        until_s > wall_s + RECHECK_MS / 1000 ? RECHECK_MS : (until_s - wall_s) * 1000;
    b->check_ms = now_ms + holds_ms;
}

static void refill(struct mh_bucket *b, int64_t now_ms)
{
    int64_t passed_ms = b->is_started ? now_ms - b->filled_ms : 0;
    /* Two threads read their clocks before they take the lock: the later one may come first. */
    if (passed_ms > 0)
        b->milli_tokens += b->rate * (uint64_t)MH_MIN(passed_ms, REFILL_MAX_MS);
    if (passed_ms > 0 || !b->is_started)
        b->filled_ms = now_ms;
    b->milli_tokens = MH_MIN(b->milli_tokens, burst_bytes(b) * 1000);
    b->is_started = true;
}

static size_t take_locked(struct mh_bucket *b, size_t want, int64_t now_ms, int64_t *wait_ms_out)
{
    /* Time that passed counts at the rate that was in force then. */
    refill(b, now_ms);
    look_at_timetable(b, now_ms);
    if (b->rate == 0) {
        b->milli_tokens = 0;
        return want;
    }
    uint64_t grain = MH_MIN(MH_MAX(b->rate / GRAINS_PER_S, GRAIN_MIN_BYTES), GRAIN_MAX_BYTES);
    uint64_t least = MH_MIN(grain, want);
    uint64_t have = b->milli_tokens / 1000;
    if (have < least) {
        uint64_t missing = least * 1000 - b->milli_tokens;
        *wait_ms_out = (int64_t)((missing + b->rate - 1) / b->rate);
        return 0;
    }
    uint64_t give = MH_MIN(have, want);
    b->milli_tokens -= give * 1000;
    return (size_t)give;
}

size_t mh_bucket_take(struct mh_bucket *b, size_t want, int64_t now_ms, int64_t *wait_ms_out)
{
    *wait_ms_out = 0;
    if (!b->timetable || want == 0)
        return want;
    (void)pthread_mutex_lock(&b->lock);
    size_t got = take_locked(b, want, now_ms, wait_ms_out);
    (void)pthread_mutex_unlock(&b->lock);
    return got;
}

void mh_bucket_give(struct mh_bucket *b, size_t n)
{
    if (!b->timetable || n == 0)
        return;
    (void)pthread_mutex_lock(&b->lock);
    if (b->rate != 0)
        b->milli_tokens = MH_MIN(b->milli_tokens + (uint64_t)n * 1000, burst_bytes(b) * 1000);
    (void)pthread_mutex_unlock(&b->lock);
}
