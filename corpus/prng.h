/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * prng.h: the generator's own dice: xoshiro256** seeded through splitmix64.
 *
 * Every mailbox, folder and message has a stream of its own, named by a key, so that what one item
 * looks like does not depend on how many numbers another one drew.
 * Memory: the state is a plain value. Threads: one. Never: seeded from a clock or the system.
 */
#ifndef MHC_PRNG_H
#define MHC_PRNG_H

#include "base.h"

struct mhc_prng {
    uint64_t state[4];
};

/* What a stream is for: the first part of its key. */
enum mhc_stream {
    MHC_STREAM_MAILBOX = 1,
    MHC_STREAM_CONTENT,
    MHC_STREAM_META,
    MHC_STREAM_THREAD,
    MHC_STREAM_ID,
    MHC_STREAM_SUBJECT,
    MHC_STREAM_SIZE,
    MHC_STREAM_TWIN,
    MHC_STREAM_WORKDAY,
};

void mhc_prng_init(struct mhc_prng *prng, uint64_t seed, enum mhc_stream stream, uint64_t mailbox,
                   uint64_t item);
uint64_t mhc_prng_next(struct mhc_prng *prng);
/* A number in [0, bound), every one equally likely; bound must not be 0. */
uint32_t mhc_prng_below(struct mhc_prng *prng, uint32_t bound);
/* True in `per_mille` of 1,000 cases. */
bool mhc_prng_chance(struct mhc_prng *prng, uint32_t per_mille);
/* A number in [0, 1). */
double mhc_prng_unit(struct mhc_prng *prng);
/* A number of the standard normal distribution. */
double mhc_prng_normal(struct mhc_prng *prng);

#endif
