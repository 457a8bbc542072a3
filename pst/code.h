/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stands in the file: little-endian numbers, checksums, signatures, encodings ([MS-PST] 5.1 to
 * 5.5). No state; any thread.
 */
#ifndef MH_PST_CODE_H
#define MH_PST_CODE_H

#include <stdbool.h>
#include <string.h>

#include "base/macros.h"

static inline uint16_t pst_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t pst_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t pst_u64(const uint8_t *p)
{
    return (uint64_t)pst_u32(p) | (uint64_t)pst_u32(p + 4) << 32;
}

static inline void pst_put_u16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void pst_put_u32(uint8_t *p, uint32_t v)
{
    pst_put_u16(p, v & 0xffff);
    pst_put_u16(p + 2, v >> 16);
}

static inline void pst_put_u64(uint8_t *p, uint64_t v)
{
    pst_put_u32(p, (uint32_t)v);
    pst_put_u32(p + 4, (uint32_t)(v >> 32));
}

/* The CRC-32 of pages, blocks, the header and compressed RTF: no inversion at either end (5.3). */
uint32_t pst_crc(const void *data, size_t len);

/* What a page or block at offset IB with identity BID is signed with (5.5). */
static inline uint16_t pst_signature(uint64_t ib, uint64_t bid)
{
    uint64_t x = ib ^ bid;
    return (uint16_t)(x >> 16 ^ x);
}

enum pst_encoding { PST_PLAIN = 0, PST_PERMUTE = 1, PST_CYCLIC = 2 };

/* LEN octets of a data block, from FROM to TO, which may be the same. KEY: the block's BID. */
void pst_decode(enum pst_encoding encoding, uint64_t key, const uint8_t *from, size_t len,
                uint8_t *to);
void pst_encode(enum pst_encoding encoding, uint64_t key, const uint8_t *from, size_t len,
                uint8_t *to);

#endif
