/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Learns how many messages per MULTIAPPEND the target likes: tries the next step up or down for a while and
 * keeps what carried more messages per second. A step must win clearly, or noise would drive it.
 */
#include "engine/engine_priv.h"

enum {
    EPOCH_MS = 700,       /* long enough for several batches of a syncing target */
    EPOCH_MESSAGES = 300, /* and for the figure to mean something */
    HOLD_EPOCHS = 6,      /* rest after both neighbours have lost */
};

static const unsigned steps[] = {25, 50, 100, 200, 400, 800};

struct tuner {
    size_t step;
    int direction;
    bool is_trying;    /* the present step is a trial */
    double best_rate;  /* of the step we came from */
    unsigned failures; /* trials lost in a row */
    unsigned hold;     /* epochs to rest */
    int64_t epoch_start_ms;
    uint64_t messages;
};

struct tuner *tuner_new(void)
{
    struct tuner *t = mh_zalloc(sizeof *t);
    if (t) {
        t->step = 2;
        t->direction = 1;
    }
    return t;
}

void tuner_free(struct tuner *t)
{
    mh_free(t);
}

unsigned tuner_batch(const struct tuner *t)
{
    return steps[t->step];
}

static bool can_move(const struct tuner *t)
{
    return t->direction > 0 ? t->step + 1 < MH_ARRAY_LEN(steps) : t->step > 0;
}

static void start_trial(struct tuner *t, double rate)
{
    if (!can_move(t))
        t->direction = -t->direction;
    t->best_rate = rate;
    t->is_trying = true;
    t->step = t->direction > 0 ? t->step + 1 : t->step - 1;
}

static void end_trial(struct tuner *t, double rate)
{
    t->is_trying = false;
    if (rate > t->best_rate * 1.04) {
        t->failures = 0;
        return;
    }
    t->step = t->direction > 0 ? t->step - 1 : t->step + 1;
    t->direction = -t->direction;
    if (++t->failures >= 2) {
        t->failures = 0;
        t->hold = HOLD_EPOCHS;
    }
}

void tuner_verdict(struct tuner *t, uint64_t octets, int64_t now_ms)
{
    (void)octets;
    if (t->epoch_start_ms == 0)
        t->epoch_start_ms = now_ms;
    t->messages++;
    int64_t ms = now_ms - t->epoch_start_ms;
    if (ms < EPOCH_MS || t->messages < EPOCH_MESSAGES)
        return;
    double rate = (double)t->messages * 1000 / (double)ms;
    t->epoch_start_ms = now_ms;
    t->messages = 0;
    if (t->is_trying)
        end_trial(t, rate);
    else if (t->hold > 0)
        t->hold--;
    else
        start_trial(t, rate);
}
