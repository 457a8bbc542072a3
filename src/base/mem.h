/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Allocation: every module allocates here, so that tests can count and make the nth call fail.
 *
 * The caller owns what it gets and frees it with mh_free(). NULL means out of memory: answer with
 * mh_err_nomem(). Any thread. Message bytes never live here but in slabs (base/slab.h).
 */
#ifndef MH_BASE_MEM_H
#define MH_BASE_MEM_H

#include "base/macros.h"

void *mh_alloc(size_t size_bytes) MH_MUST_CHECK;  /* uninitialised */
void *mh_zalloc(size_t size_bytes) MH_MUST_CHECK; /* zeroed */
void *mh_realloc(void *p, size_t size_bytes) MH_MUST_CHECK;
/* Room for N objects of SIZE bytes; NULL also when the product overflows. */
void *mh_realloc_array(void *p, size_t n, size_t size_bytes) MH_MUST_CHECK;
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
