/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/arena.h"

#include <stdalign.h>

#include "base/mem.h"

/* An ordinary mail with its blocks decoded fits into one. */
#define CHUNK_BYTES ((size_t)256 << 10)

struct pst_chunk {
    struct pst_chunk *below;
    size_t size; /* of room */
    alignas(max_align_t) unsigned char room[];
};

void pst_arena_init(struct pst_arena *a, size_t cap_bytes)
{
    *a = (struct pst_arena){.cap_bytes = cap_bytes};
}

static void pop(struct pst_arena *a)
{
    struct pst_chunk *gone = a->top;
    a->top = gone->below;
    a->held_bytes -= gone->size;
    mh_free(gone);
}

void pst_arena_done(struct pst_arena *a)
{
    while (a->top)
        pop(a);
    a->used = 0;
}

static bool push(struct pst_arena *a, size_t need)
{
    size_t size = MH_MAX(need, CHUNK_BYTES);
    if (size > a->cap_bytes - a->held_bytes)
        size = need;
    if (size > a->cap_bytes - a->held_bytes)
        return false;
    struct pst_chunk *c = mh_alloc(sizeof *c + size);
    if (!c)
        return false;
    *c = (struct pst_chunk){.below = a->top, .size = size};
    a->top = c;
    a->used = 0;
    a->held_bytes += size;
    return true;
}

void *pst_arena_alloc(struct pst_arena *a, size_t size_bytes)
{
    size_t align = alignof(max_align_t);
    if (size_bytes > a->cap_bytes)
        return NULL;
    size_t need = (size_bytes + align - 1) / align * align;
    bool fits = a->top && need <= a->top->size - a->used;
    if (!fits && !push(a, need))
        return NULL;
    void *p = a->top->room + a->used;
    a->used += need;
    return p;
}

void *pst_arena_array(struct pst_arena *a, size_t n, size_t size_bytes)
{
    size_t total = 0;
    return __builtin_mul_overflow(n, size_bytes, &total) ? NULL : pst_arena_alloc(a, total);
}

struct pst_mark pst_arena_mark(const struct pst_arena *a)
{
    return (struct pst_mark){a->top, a->used};
}

void pst_arena_return(struct pst_arena *a, struct pst_mark mark)
{
    while (a->top != mark.top)
        pop(a);
    a->used = mark.used;
}
