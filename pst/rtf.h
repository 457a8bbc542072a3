/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Compressed RTF, as it stands in the property 0x1009 ([MS-OXRTFCP]): LZFu, and MELA, which is not
 * compressed at all.
 *
 * Octets in, octets out. What comes out is borrowed from what went in (MELA) or lies in the
 * caller's arena; one thread. No announced size is believed: what comes out is counted before there
 * is room for it, and never larger than 17 octets for each 2 that went in.
 */
#ifndef MH_PST_RTF_H
#define MH_PST_RTF_H

#include "pst/ndb.h"

enum {
    /* One RTF body with the pictures in it; the reader's arena has to hold it whole. */
    PST_RTF_MAX_BYTES = 64 << 20,
};

/*
 * The RTF in LEN octets at PACKED. PST_SUSPECT: *OUT holds what could be read, but the CRC is
 * another (PST_WHY_CRC), the sizes do not fit, as when its end is missing (PST_WHY_SIZE), or the
 * mark of the format is gone and the rest tells what it is (PST_WHY_TYPE). PST_LOST: *OUT is empty.
 * ABOUT is 0 in all of them.
 */
struct pst_verdict pst_rtf_unpack(const void *packed, size_t len, struct pst_arena *arena,
                                  struct pst_span *out);

#endif
