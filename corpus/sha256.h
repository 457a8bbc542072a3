/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * sha256.h: SHA-256 (FIPS 180-4), so that the manifest needs no crypto library.
 *
 * Memory: the state is a plain value. Threads: one. Never: used for anything secret.
 */
#ifndef MHC_SHA256_H
#define MHC_SHA256_H

#include "base.h"

enum {
    MHC_SHA256_BLOCK_BYTES = 64,
    MHC_SHA256_BYTES = 32,
    MHC_SHA256_HEX_SIZE = 2 * MHC_SHA256_BYTES + 1,
};

struct mhc_sha256 {
    uint32_t h[8];
    uint64_t total_bytes;
    unsigned char block[MHC_SHA256_BLOCK_BYTES];
};

void mhc_sha256_init(struct mhc_sha256 *sha);
void mhc_sha256_add(struct mhc_sha256 *sha, const void *bytes, size_t len);
/* Ends the sum and writes it as lower-case hex with a NUL. */
void mhc_sha256_hex(struct mhc_sha256 *sha, char hex_out[MHC_SHA256_HEX_SIZE]);

#endif
