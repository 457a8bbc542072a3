/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/tune.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"

enum {
    SETTLE_MS = 400, /* after a knob was turned: connections are opened, old batches answered */
    REWIRE_MS = 30 * 1000, /* likewise, until all connections are (not) compressed now */
    STRETCH_MS = 700,
    STRETCH_MESSAGES = 200, /* fewer say nothing … */
    STRETCH_BATCHES = 6,    /* … nor do few batches, whose answers come in one go */
    SLOW_STRETCH_MS = 3000, /* unless the target is this slow: then less must do … */
    SLOW_STRETCH_MESSAGES = 20,
    SLOW_STRETCH_BATCHES = 3,
    SLOWEST_STRETCH_MS = 12 * 1000, /* … and in the end what came */
    REST_STRETCHES = 20,            /* after no step has won */
    WIRE_REST_STRETCHES = 300,      /* after TUNE_WIRE has lost: its trials cost log-ins */
    WIRE_WORTH_MS = 30 * 1000,      /* with less left to do they do not pay */
    MESSAGE_OCTETS = 16 * 1024,     /* a message costs the target as much as so many octets */
    GAIN_PERCENT = 5,               /* what a step must win */
    CONFIRMATIONS = 2,              /* so often in a row, or noise would drive it */
    DRIFT_PERCENT = 30,             /* a change of this size ends a rest */
};

static const unsigned batches[] = {25, 50, 100, 200, 400, 800};
static const unsigned connections[] = {1, 2, 3, 4, 6, 8};
static const unsigned wires[] = {false, true};

static const struct {
    const unsigned *v;
    unsigned n;
} scales[TUNE_KNOBS] = {
    [TUNE_JOINED] = {connections, MH_ARRAY_LEN(connections)},
    [TUNE_LANES] = {connections, MH_ARRAY_LEN(connections)},
    [TUNE_BATCH] = {batches, MH_ARRAY_LEN(batches)},
    [TUNE_WIRE] = {wires, MH_ARRAY_LEN(wires)},
};

/* Every step there is, the most promising first; compression is thought worth a trial where it may win much. */
static const struct move {
    enum tune_knob knob;
    int by;
} moves[] = {
    {TUNE_WIRE, 1},   {TUNE_LANES, 1},   {TUNE_JOINED, 1}, {TUNE_BATCH, 1},
    {TUNE_BATCH, -1}, {TUNE_JOINED, -1}, {TUNE_LANES, -1}, {TUNE_WIRE, -1},
};

struct tuner {
    pthread_mutex_t lock;
    unsigned at[TUNE_KNOBS]; /* index into the scale */
    bool is_begun;
    bool can_batch;
    bool pressed[TUNE_KNOBS]; /* since the last stretch began */

    double work_left;  /* of who pressed TUNE_WIRE */
    unsigned wired[2]; /* connections that are not compressed, that are */
    bool is_rewiring;  /* some are not yet as TUNE_WIRE says */

    /* the stretch being measured */
    int64_t settle_until_ms, start_ms; /* 0: not begun */
    int64_t last_ms;                   /* the last message's verdict */
    uint64_t messages, octets;

    /* the trial */
    const struct move *trial; /* NULL: measuring what we have */
    unsigned trials_won;
    double base, trial_sum;

    bool has_lost[MH_ARRAY_LEN(moves)]; /* since something won */
    unsigned rest, wire_rest;           /* stretches to go */
};

struct tuner *tuner_new(void)
{
    struct tuner *t = mh_zalloc(sizeof *t);
    if (t && pthread_mutex_init(&t->lock, NULL) != 0)
        mh_free(mh_take(t));
    if (!t)
        return NULL;
    t->at[TUNE_BATCH] = 3;
    t->at[TUNE_LANES] = t->at[TUNE_JOINED] = 1;
    return t;
}

void tuner_free(struct tuner *t)
{
    if (!t)
        return;
    (void)pthread_mutex_destroy(&t->lock);
    mh_free(t);
}

void tuner_begin(struct tuner *t, bool multiappend, bool sync_literal)
{
    (void)pthread_mutex_lock(&t->lock);
    if (!t->is_begun) {
        t->is_begun = true;
        t->can_batch = multiappend;
        /* Round trips are hidden by company only; into one folder that must be proved: Courier makes
         * the second one there wait a second for its lock. */
        t->at[TUNE_LANES] = sync_literal ? 4 : multiappend ? 1 : 2;
        if (multiappend) /* one reads, one is read, one waits for the disk */
            t->at[TUNE_JOINED] = 2;
    }
    (void)pthread_mutex_unlock(&t->lock);
}

struct tuned tuner_now(struct tuner *t)
{
    (void)pthread_mutex_lock(&t->lock);
    struct tuned now = {.batch = batches[t->at[TUNE_BATCH]],
                        .lanes = connections[t->at[TUNE_LANES]],
                        .joined = connections[t->at[TUNE_JOINED]],
                        .compress = wires[t->at[TUNE_WIRE]]};
    (void)pthread_mutex_unlock(&t->lock);
    return now;
}

void tuner_press(struct tuner *t, enum tune_knob knob)
{
    (void)pthread_mutex_lock(&t->lock);
    t->pressed[knob] = true;
    (void)pthread_mutex_unlock(&t->lock);
}

static double work_of(uint64_t messages, uint64_t octets)
{
    return (double)octets + (double)messages * MESSAGE_OCTETS;
}

void tuner_press_wire(struct tuner *t, uint64_t messages, uint64_t octets)
{
    (void)pthread_mutex_lock(&t->lock);
    t->pressed[TUNE_WIRE] = true;
    t->work_left = work_of(messages, octets);
    (void)pthread_mutex_unlock(&t->lock);
}

/* --- below: lock held ------------------------------------------------------------------------------------ */

static void begin_stretch(struct tuner *t, int64_t settle_until_ms)
{
    t->settle_until_ms = settle_until_ms;
    t->start_ms = 0;
    t->messages = t->octets = 0;
    memset(t->pressed, 0, sizeof t->pressed);
}

static bool can_move(const struct tuner *t, const struct move *m)
{
    unsigned at = t->at[m->knob];
    if (m->knob == TUNE_WIRE && (t->wire_rest > 0 || t->work_left < t->base * WIRE_WORTH_MS))
        return false;
    if (m->knob == TUNE_BATCH ? !t->can_batch : !t->pressed[m->knob])
        return false;
    return m->by > 0 ? at + 1 < scales[m->knob].n : at > 0;
}

static void turn(struct tuner *t, const struct move *m, int by, int64_t now_ms)
{
    t->at[m->knob] = (unsigned)((int)t->at[m->knob] + by);
    t->is_rewiring = m->knob == TUNE_WIRE;
    begin_stretch(t, now_ms + (m->knob == TUNE_WIRE ? REWIRE_MS : SETTLE_MS));
}

/* True when a trial began. */
static bool try_move(struct tuner *t, const struct move *m, int64_t now_ms)
{
    if (!can_move(t, m))
        return false;
    t->trial = m;
    t->trials_won = 0;
    t->trial_sum = 0;
    turn(t, m, m->by, now_ms);
    return true;
}

static bool try_next(struct tuner *t, int64_t now_ms)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(moves); i++) {
        if (!t->has_lost[i] && try_move(t, &moves[i], now_ms))
            return true;
    }
    memset(t->has_lost, 0, sizeof t->has_lost);
    t->rest = REST_STRETCHES;
    return false;
}

static bool wins(double rate, double base)
{
    return rate > base * (100 + GAIN_PERCENT) / 100;
}

/* A trial's stretch is over. True when a knob was turned. */
static bool judge_trial(struct tuner *t, double rate, int64_t now_ms)
{
    const struct move *m = t->trial;
    if (!wins(rate, t->base)) {
        t->trial = NULL;
        t->has_lost[m - moves] = true;
        if (m->knob == TUNE_WIRE)
            t->wire_rest = WIRE_REST_STRETCHES;
        turn(t, m, -m->by, now_ms);
        return true;
    }
    t->trial_sum += rate;
    if (++t->trials_won < CONFIRMATIONS)
        return false;
    /* Kept, and on in the same direction; all others have a new chance. */
    t->base = t->trial_sum / CONFIRMATIONS;
    t->trial = NULL;
    memset(t->has_lost, 0, sizeof t->has_lost);
    return try_move(t, m, now_ms) || try_next(t, now_ms);
}

static bool has_drifted(const struct tuner *t, double rate)
{
    return rate > t->base * (100 + DRIFT_PERCENT) / 100 ||
           rate < t->base * (100 - DRIFT_PERCENT) / 100;
}

static bool judge_base(struct tuner *t, double rate, int64_t now_ms)
{
    if (t->rest > 0 && !has_drifted(t, rate)) {
        t->rest--;
        return false;
    }
    t->rest = 0;
    t->base = rate;
    return try_next(t, now_ms);
}

static bool is_enough(const struct tuner *t)
{
    int64_t ms = t->start_ms ? t->last_ms - t->start_ms : 0;
    uint64_t wanted = STRETCH_MESSAGES;
    if (t->can_batch)
        wanted = MH_MAX(wanted, (uint64_t)STRETCH_BATCHES * batches[t->at[TUNE_BATCH]]);
    uint64_t slow = SLOW_STRETCH_MESSAGES;
    if (t->can_batch)
        slow = MH_MAX(slow, (uint64_t)SLOW_STRETCH_BATCHES * batches[t->at[TUNE_BATCH]]);
    return (ms >= STRETCH_MS && t->messages >= wanted) ||
           (ms >= SLOW_STRETCH_MS && t->messages >= slow) ||
           (ms >= SLOWEST_STRETCH_MS && t->messages >= SLOW_STRETCH_MESSAGES);
}

/* True when a knob was turned; else the next stretch has begun where this one ended. */
static bool end_stretch(struct tuner *t, int64_t now_ms)
{
    int64_t end_ms = t->last_ms;
    double rate = work_of(t->messages, t->octets) / (double)(end_ms - t->start_ms);
    t->wire_rest -= t->wire_rest > 0;
    if (t->trial ? judge_trial(t, rate, now_ms) : judge_base(t, rate, now_ms))
        return true;
    begin_stretch(t, 0);
    t->start_ms = end_ms;
    return false;
}

bool tuner_verdict(struct tuner *t, uint64_t octets, int64_t now_ms)
{
    bool turned = false;
    (void)pthread_mutex_lock(&t->lock);
    /* A batch is answered in one go: a stretch lasts from one such moment to another, and the one that begins it does
     * not count. */
    if (now_ms > t->last_ms && is_enough(t))
        turned = end_stretch(t, now_ms);
    if (now_ms < t->settle_until_ms) {
        /* still on the way to what is to be measured */
    } else if (t->start_ms == 0) {
        t->start_ms = now_ms;
    } else if (now_ms > t->start_ms) {
        t->messages++;
        t->octets += octets;
    }
    t->last_ms = now_ms;
    (void)pthread_mutex_unlock(&t->lock);
    return turned;
}

void tuner_wired(struct tuner *t, bool compressed, int by, int64_t now_ms)
{
    (void)pthread_mutex_lock(&t->lock);
    t->wired[compressed] = (unsigned)((int)t->wired[compressed] + by);
    bool wanted = wires[t->at[TUNE_WIRE]];
    if (t->is_rewiring && t->wired[wanted] > 0 && t->wired[!wanted] == 0) {
        t->is_rewiring = false;
        begin_stretch(t, MH_MIN(t->settle_until_ms, now_ms + SETTLE_MS));
    }
    (void)pthread_mutex_unlock(&t->lock);
}

void tuner_disturbed(struct tuner *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->start_ms = 0;
    t->messages = t->octets = 0;
    (void)pthread_mutex_unlock(&t->lock);
}
