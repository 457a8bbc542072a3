/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Chance that a number repeats: MH_TEST_SEED=n. One thread at a time. */
#ifndef MH_TESTS_CONFORM_CHANCE_H
#define MH_TESTS_CONFORM_CHANCE_H

#include <stdlib.h>

#include "base/clock.h"

static unsigned long long state_of_chance;

/* 0 to N - 1; N is not 0. */
static inline unsigned below(unsigned n)
{
    state_of_chance ^= state_of_chance << 13;
    state_of_chance ^= state_of_chance >> 7;
    state_of_chance ^= state_of_chance << 17;
    return (unsigned)((state_of_chance * 0x2545f4914f6cdd1dull >> 33) % n);
}

/* What follows is the same for the same SEED. */
static inline void chance_begin(unsigned long long seed)
{
    state_of_chance = seed * 2654435769u + 88172645463325252ull;
    for (int i = 0; i < 16; i++)
        (void)below(2);
}

/* The one that was asked for, or another one each time. */
static inline unsigned long long chance_seed(void)
{
    const char *given = getenv("MH_TEST_SEED");
    return given ? strtoull(given, NULL, 10) : (unsigned long long)mh_clock_mono_us();
}

#endif
