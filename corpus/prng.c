/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "prng.h"

#include <math.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

void mhc_prng_init(struct mhc_prng *prng, uint64_t seed, enum mhc_stream stream, uint64_t mailbox,
                   uint64_t item)
{
    uint64_t state = seed;
    const uint64_t key[] = {(uint64_t)stream, mailbox, item};
    for (size_t i = 0; i < MHC_COUNT(key); i++) {
        state = splitmix(&state) ^ (key[i] * UINT64_C(0xd6e8feb86659fd93));
    }
    for (size_t i = 0; i < 4; i++) {
        prng->state[i] = splitmix(&state);
    }
}

uint64_t mhc_prng_next(struct mhc_prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint32_t mhc_prng_below(struct mhc_prng *prng, uint32_t bound)
{
    /* The product's high half is the result; low halves under 2^32 mod bound would favour some
     * results and are drawn again. */
    uint32_t reject_below = (uint32_t)(-bound) % bound;
    for (;;) {
        uint64_t product = (mhc_prng_next(prng) >> 32) * bound;
        if ((uint32_t)product >= reject_below) {
            return (uint32_t)(product >> 32);
        }
    }
}

bool mhc_prng_chance(struct mhc_prng *prng, uint32_t per_mille)
{
    return mhc_prng_below(prng, 1000) < per_mille;
}

double mhc_prng_unit(struct mhc_prng *prng)
{
    return (double)(mhc_prng_next(prng) >> 11) * 0x1.0p-53;
}

double mhc_prng_normal(struct mhc_prng *prng)
{
    double radius = sqrt(-2.0 * log(1.0 - mhc_prng_unit(prng)));
    return radius * cos(6.283185307179586 * mhc_prng_unit(prng));
}
