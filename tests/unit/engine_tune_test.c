/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The tuner against modelled targets, each with a known best: it must come near it, stay there, and move on when
 * the target changes. Time is the model's own. */
#include <criterion/criterion.h>

#include "engine/tune.h"

struct model {
    const char *name;
    /* messages per second at these settings */
    double (*rate)(struct tuned now);
    bool multiappend, sync_literal;
    bool spread;         /* work lies in many folders: else in one */
    double noise;        /* share of the rate, up and down */
    struct tuned lo, hi; /* where it must end */
    bool is_far;         /* the wire is worth a trial */
};

static unsigned long long seed;

static double random_unit(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(seed >> 40) / (double)(1 << 24);
}

/* A connection is (not) compressed only so long after it should be: what it was doing comes first. */
enum { REWIRE_LAG_MS = 5000 };

/* Drives the tuner for SECONDS of the model's time; returns the messages that were stored. */
static double drive(struct tuner *t, const struct model *m, int64_t *now_ms, double seconds)
{
    double stored = 0;
    double end = (double)*now_ms + seconds * 1000;
    double at = (double)*now_ms;
    bool is_compressed = tuner_now(t).compress;
    double wanted_since = at;
    tuner_wired(t, is_compressed, 1, *now_ms);
    while (at < end) {
        struct tuned now = tuner_now(t);
        unsigned batch = m->multiappend ? now.batch : 1;
        if (now.compress == is_compressed) {
            wanted_since = at;
        } else if (at - wanted_since > REWIRE_LAG_MS) {
            tuner_wired(t, is_compressed, -1, *now_ms);
            is_compressed = now.compress;
            tuner_wired(t, is_compressed, 1, *now_ms);
        }
        now.compress = is_compressed;
        double rate = m->rate(now) * (1 + m->noise * (2 * random_unit() - 1));
        at += batch / rate * 1000;
        *now_ms = (int64_t)at;
        tuner_press(t, m->spread ? TUNE_LANES : TUNE_JOINED);
        if (m->is_far)
            tuner_press_wire(t, 1000 * 1000, 0);
        for (unsigned i = 0; i < batch; i++)
            (void)tuner_verdict(t, 4096, *now_ms);
        stored += batch;
    }
    tuner_wired(t, is_compressed, -1, *now_ms);
    return stored;
}

/* Each APPEND is synced, so batches pay; a third connection into a folder fights for its lock. */
static double syncing(struct tuned now)
{
    static const double by_joined[] = {0, 1190, 1936, 1600, 1320, 1200, 1100, 1050, 1000};
    double batch = (double)now.batch;
    return by_joined[now.joined] * batch / (batch + 20);
}

/* One writer per mailbox, whoever asks. */
static double one_writer(struct tuned now)
{
    return 900.0 / (1 + 0.15 * (now.joined - 1));
}

/* Far away, a round trip per message: company is all. */
static double far_away(struct tuned now)
{
    return 20.0 * now.joined;
}

/* Connections over several folders help up to six. */
static double spreading(struct tuned now)
{
    return 400.0 * (now.lanes < 6 ? now.lanes : 6) - 40.0 * (now.lanes > 6 ? now.lanes - 6 : 0);
}

static double flat(struct tuned now)
{
    (void)now;
    return 1000;
}

static const struct model models[] = {
    {"a syncing server",
     syncing,
     true,
     false,
     false,
     0,
     {100, 0, 2, false},
     {800, 99, 2, false},
     false},
    {"a syncing server, noisy",
     syncing,
     true,
     false,
     false,
     0.15,
     {50, 0, 1, false},
     {800, 99, 3, false},
     false},
    {"one writer per folder",
     one_writer,
     true,
     false,
     false,
     0,
     {25, 0, 1, false},
     {800, 99, 1, false},
     false},
    {"far away, synchronising",
     far_away,
     false,
     true,
     false,
     0,
     {0, 0, 8, false},
     {999, 99, 8, false},
     false},
    {"far away, noisy",
     far_away,
     false,
     true,
     false,
     0.1,
     {0, 0, 6, false},
     {999, 99, 8, false},
     false},
    {"over folders",
     spreading,
     true,
     false,
     true,
     0,
     {25, 6, 0, false},
     {800, 6, 99, false},
     false},
    {"nothing matters", flat, true, false, false, 0, {200, 2, 3, false}, {200, 2, 3, false}, false},
};

Test(engine_tune, comes_near_the_best_of_each_target)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const struct model *m = &models[i];
        struct tuner *t = tuner_new();
        int64_t now_ms = 1000;
        unsigned outside = 0;
        cr_assert(t);
        seed = 42;
        tuner_begin(t, m->multiappend, m->sync_literal);
        (void)drive(t, m, &now_ms, 120);
        /* Trials may be under way at any one moment: mostly it must be where it should. */
        for (unsigned s = 0; s < 200; s++) {
            (void)drive(t, m, &now_ms, 1);
            struct tuned now = tuner_now(t);
            outside += now.batch < m->lo.batch || now.batch > m->hi.batch ||
                       now.lanes < m->lo.lanes || now.lanes > m->hi.lanes ||
                       now.joined < m->lo.joined || now.joined > m->hi.joined;
        }
        struct tuned now = tuner_now(t);
        cr_expect(outside < 60, "%s: outside for %u of 200 s, now batch %u, lanes %u, joined %u",
                  m->name, outside, now.batch, now.lanes, now.joined);
        tuner_free(t);
    }
}

Test(engine_tune, learning_costs_little)
{
    const struct model *m = &models[0];
    struct tuner *t = tuner_new();
    int64_t now_ms = 1000;
    cr_assert(t);
    tuner_begin(t, true, false);
    double stored = drive(t, m, &now_ms, 60);
    tuner_free(t);
    double best = 60 * syncing((struct tuned){.batch = 800, .joined = 2});
    cr_expect(stored > 0.85 * best, "%.0f of %.0f", stored, best);
}

static double changed; /* the syncing server likes one connection from now on */

static double moody(struct tuned now)
{
    return changed > 0 ? one_writer(now) : syncing(now);
}

Test(engine_tune, keeps_adapting)
{
    struct model m = {.name = "moody", .rate = moody, .multiappend = true};
    struct tuner *t = tuner_new();
    int64_t now_ms = 1000;
    unsigned at_one = 0;
    cr_assert(t);
    tuner_begin(t, true, false);
    changed = 0;
    (void)drive(t, &m, &now_ms, 120);
    changed = 1;
    (void)drive(t, &m, &now_ms, 120);
    for (unsigned s = 0; s < 100; s++) {
        (void)drive(t, &m, &now_ms, 1);
        at_one += tuner_now(t).joined == 1;
    }
    cr_expect(at_one > 60, "%u of 100 s at one connection", at_one);
    tuner_free(t);
}

/* The wire carries so much and no more, whoever sends. */
static double narrow_wire(struct tuned now)
{
    return now.compress ? 500 : 300;
}

/* The server is the limit, and compressing costs it time. */
static double busy_server(struct tuned now)
{
    return now.compress ? 850 : 1000;
}

Test(engine_tune, compresses_where_the_wire_is_the_limit)
{
    static const struct {
        const char *name;
        double (*rate)(struct tuned now);
        double noise;
        bool is_far, compresses;
    } wires[] = {
        {"a narrow wire", narrow_wire, 0, true, true},
        {"a narrow wire, noisy", narrow_wire, 0.15, true, true},
        {"a narrow wire that nobody thinks worth it", narrow_wire, 0, false, false},
        {"a busy server", busy_server, 0, true, false},
        {"a busy server, noisy", busy_server, 0.15, true, false},
    };
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        struct model m = {.name = wires[i].name,
                          .rate = wires[i].rate,
                          .multiappend = true,
                          .noise = wires[i].noise,
                          .is_far = wires[i].is_far};
        struct tuner *t = tuner_new();
        int64_t now_ms = 1000;
        unsigned compressed = 0;
        cr_assert(t);
        seed = 7;
        tuner_begin(t, true, false);
        (void)drive(t, &m, &now_ms, 60);
        for (unsigned s = 0; s < 20; s++) {
            (void)drive(t, &m, &now_ms, 10);
            compressed += tuner_now(t).compress;
        }
        cr_expect(wires[i].compresses ? compressed >= 15 : compressed <= 5,
                  "%s: compressed %u of 20 times", m.name, compressed);
        cr_expect(wires[i].is_far || compressed == 0, "%s", m.name);
        tuner_free(t);
    }
}

Test(engine_tune, an_unpressed_knob_is_left_alone)
{
    struct tuner *t = tuner_new();
    cr_assert(t);
    tuner_begin(t, true, false);
    unsigned lanes = tuner_now(t).lanes;
    unsigned joined = tuner_now(t).joined;
    for (int64_t ms = 1; ms < 60000; ms++) {
        (void)tuner_verdict(t, 100, ms);
        cr_assert_eq(tuner_now(t).lanes, lanes);
        cr_assert_eq(tuner_now(t).joined, joined);
    }
    tuner_free(t);
}

Test(engine_tune, a_disturbed_stretch_is_not_judged)
{
    struct tuner *t = tuner_new();
    cr_assert(t);
    tuner_begin(t, true, false);
    struct tuned before = tuner_now(t);
    for (int64_t ms = 1; ms < 60000; ms++) {
        tuner_press(t, TUNE_JOINED);
        if (ms % 500 == 0)
            tuner_disturbed(t);
        cr_assert_not(tuner_verdict(t, 100, ms));
    }
    cr_assert_eq(tuner_now(t).batch, before.batch);
    tuner_free(t);
}
