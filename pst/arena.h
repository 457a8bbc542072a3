/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Memory of one reader: what an item's parsing needs, given back as a whole when the item is done.
 *
 * Embedded by its owner, who frees it with pst_arena_done(). One thread. What it gives is valid until
 * the mark before it is returned to. It never gives more than its cap in all: NULL then, as when
 * memory is out.
 */
#ifndef MH_PST_ARENA_H
#define MH_PST_ARENA_H

#include <stdbool.h>

#include "base/macros.h"

struct pst_chunk;

struct pst_arena {
    struct pst_chunk *top; /* owned, with those below it */
    size_t used;           /* of the top chunk, octets */
    size_t held_bytes;     /* by all chunks */
    size_t cap_bytes;
};

struct pst_mark {
    struct pst_chunk *top;
    size_t used;
};

void pst_arena_init(struct pst_arena *a, size_t cap_bytes);
void pst_arena_done(struct pst_arena *a);
/* Aligned for anything; not zeroed. */
void *pst_arena_alloc(struct pst_arena *a, size_t size_bytes) MH_MUST_CHECK;
/* Room for N objects; NULL also when the product overflows. */
void *pst_arena_array(struct pst_arena *a, size_t n, size_t size_bytes) MH_MUST_CHECK;

struct pst_mark pst_arena_mark(const struct pst_arena *a);
/* Everything given since MARK is void. */
void pst_arena_return(struct pst_arena *a, struct pst_mark mark);

#endif
