/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sha256.h"

#include <stdio.h>
#include <string.h>

/* FIPS 180-4 section 4.2.2: fractions of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate_right(uint32_t value, int bits)
{
    return (value >> bits) | (value << (32 - bits));
}

static uint32_t read_be32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void schedule(uint32_t w[64], const unsigned char *block)
{
    for (size_t i = 0; i < 16; i++) {
        w[i] = read_be32(block + 4 * i);
    }
    for (size_t i = 16; i < 64; i++) {
        uint32_t a = w[i - 15];
        uint32_t b = w[i - 2];
        uint32_t s0 = rotate_right(a, 7) ^ rotate_right(a, 18) ^ (a >> 3);
        uint32_t s1 = rotate_right(b, 17) ^ rotate_right(b, 19) ^ (b >> 10);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
}

/* One round (FIPS 180-4 section 6.2.2) on v rotated by `turn`, instead of moving all of v. */
static inline void turn_round(uint32_t v[8], unsigned turn, uint32_t k_plus_w)
{
    uint32_t *d = &v[(3 - turn) & 7];
    uint32_t *h = &v[(7 - turn) & 7];
    uint32_t a = v[(0 - turn) & 7];
    uint32_t b = v[(1 - turn) & 7];
    uint32_t c = v[(2 - turn) & 7];
    uint32_t e = v[(4 - turn) & 7];
    uint32_t f = v[(5 - turn) & 7];
    uint32_t g = v[(6 - turn) & 7];
    uint32_t s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
    uint32_t t1 = *h + s1 + ((e & f) ^ (~e & g)) + k_plus_w;
    uint32_t s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
    *d += t1;
    *h = t1 + s0 + ((a & b) ^ (a & c) ^ (b & c));
}

static void add_block(uint32_t h[8], const unsigned char *block)
{
    uint32_t w[64];
    uint32_t v[8];
    schedule(w, block);
    memcpy(v, h, sizeof(v));
    for (size_t i = 0; i < 64; i += 8) {
        const uint32_t *k = round_constants + i;
        turn_round(v, 0, k[0] + w[i]);
        turn_round(v, 1, k[1] + w[i + 1]);
        turn_round(v, 2, k[2] + w[i + 2]);
        turn_round(v, 3, k[3] + w[i + 3]);
        turn_round(v, 4, k[4] + w[i + 4]);
        turn_round(v, 5, k[5] + w[i + 5]);
        turn_round(v, 6, k[6] + w[i + 6]);
        turn_round(v, 7, k[7] + w[i + 7]);
    }
    for (size_t i = 0; i < 8; i++) {
        h[i] += v[i];
    }
}

void mhc_sha256_init(struct mhc_sha256 *sha)
{
    *sha = (struct mhc_sha256){.h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                     0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void mhc_sha256_add(struct mhc_sha256 *sha, const void *bytes, size_t len)
{
    const unsigned char *from = bytes;
    size_t held = (size_t)(sha->total_bytes % MHC_SHA256_BLOCK_BYTES);
    sha->total_bytes += len;
    while (len > 0) {
        if (held == 0 && len >= MHC_SHA256_BLOCK_BYTES) {
            add_block(sha->h, from);
            from += MHC_SHA256_BLOCK_BYTES;
            len -= MHC_SHA256_BLOCK_BYTES;
            continue;
        }
        size_t part = MHC_SHA256_BLOCK_BYTES - held;
        part = part < len ? part : len;
        memcpy(sha->block + held, from, part);
        from += part;
        len -= part;
        held += part;
        if (held == MHC_SHA256_BLOCK_BYTES) {
            add_block(sha->h, sha->block);
            held = 0;
        }
    }
}

void mhc_sha256_hex(struct mhc_sha256 *sha, char hex_out[MHC_SHA256_HEX_SIZE])
{
    static const unsigned char padding[MHC_SHA256_BLOCK_BYTES] = {0x80};
    uint64_t bits = sha->total_bytes * 8;
    size_t held = (size_t)(sha->total_bytes % MHC_SHA256_BLOCK_BYTES);
    mhc_sha256_add(sha, padding, (held < 56 ? 56 : 120) - held);
    unsigned char length[8];
    for (size_t i = 0; i < 8; i++) {
        length[i] = (unsigned char)(bits >> (56 - 8 * i));
    }
    mhc_sha256_add(sha, length, sizeof(length));
    for (size_t i = 0; i < 8; i++) {
        snprintf(hex_out + 8 * i, 9, "%08x", sha->h[i]);
    }
}
