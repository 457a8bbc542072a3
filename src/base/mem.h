/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Allocation: every module allocates here, so that tests can count and make the nth call fail.
 *
 * The caller owns what it gets and frees it with mh_free(). NULL means out of memory: answer with
 * mh_err_nomem(). Any thread. Message bytes never live here but in slabs (base/slab.h).
 */
#ifndef MH_BASE_MEM_H
#define MH_BASE_MEM_H

#include <stdbool.h>

#include "base/macros.h"

void *mh_alloc(size_t size_bytes) MH_MUST_CHECK;  /* uninitialised */
void *mh_zalloc(size_t size_bytes) MH_MUST_CHECK; /* zeroed */
void *mh_realloc(void *p, size_t size_bytes) MH_MUST_CHECK;
/* Room for N objects of SIZE bytes; NULL also when the product overflows. */
void *mh_realloc_array(void *p, size_t n, size_t size_bytes) MH_MUST_CHECK;

/*
 * Room for NEED objects in the growing array V (any pointer variable, NULL at first) that has room for
 * CAP (a size_t variable, 0 at first): doubled until they fit. False when out of memory or when their
 * size overflows; V and CAP then are what they were.
 *
 *     if (!mh_grow(l->v, l->cap, l->n + 1))
 *         return mh_err_nomem(err);
 *     l->v[l->n++] = next;
 */
#define mh_grow(v, cap, need) mh_grow_p(&(v), &(cap), (need), sizeof(__typeof__(*(v))))

/* mh_grow()'s two halves: what is asked each time, and what is done when there is no room. */
bool mh_grow_to(void *pointer_to_pointer, size_t *cap_inout, size_t need,
                size_t size_bytes) MH_MUST_CHECK;
static inline MH_MUST_CHECK bool mh_grow_p(void *pointer_to_pointer, size_t *cap_inout, size_t need,
                                           size_t size_bytes)
{
    return need <= *cap_inout || mh_grow_to(pointer_to_pointer, cap_inout, need, size_bytes);
}

char *mh_strdup(const char *s) MH_MUST_CHECK;
char *mh_strndup(const char *s, size_t n) MH_MUST_CHECK;
char *mh_asprintf(const char *fmt, ...) MH_PRINTF(1, 2) MH_MUST_CHECK;
void mh_free(void *p);
/* For MH_CLEANUP on any pointer variable. */
void mh_free_p(void *pointer_to_pointer);

/* Calls so far in this process (all threads): the "0 mallocs per message" test reads it. */
uint64_t mh_mem_calls(void);
/* Makes the NTH call from now fail, once; 0 switches it off. Tests only. */
void mh_mem_fail_nth(uint64_t nth);

#endif
