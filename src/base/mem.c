/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a growing array begins with, the larger of both: short lists and short texts are most. */
enum { GROW_FIRST = 16, GROW_FIRST_BYTES = 64 };

static _Atomic uint64_t calls;
static _Atomic uint64_t fail_at; /* 0: off; otherwise the value of `calls` that fails */

static bool must_fail(void)
{
    uint64_t now = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1;
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    return at != 0 && now == at;
}

void *mh_alloc(size_t size_bytes)
{
    return must_fail() ? NULL : malloc(size_bytes ? size_bytes : 1);
}

void *mh_zalloc(size_t size_bytes)
{
    return must_fail() ? NULL : calloc(1, size_bytes ? size_bytes : 1);
}

void *mh_realloc(void *p, size_t size_bytes)
{
    return must_fail() ? NULL : realloc(p, size_bytes ? size_bytes : 1);
}

void *mh_realloc_array(void *p, size_t n, size_t size_bytes)
{
    size_t total = 0;
    if (__builtin_mul_overflow(n, size_bytes, &total))
        return NULL;
    return mh_realloc(p, total);
}

bool mh_grow_to(void *pointer_to_pointer, size_t *cap_inout, size_t need, size_t size_bytes)
{
    mh_assert(size_bytes > 0);
    size_t first = MH_MAX(GROW_FIRST_BYTES / size_bytes, (size_t)GROW_FIRST);
    size_t cap = MH_MAX(*cap_inout, first);
    while (cap < need)
        if (__builtin_mul_overflow(cap, (size_t)2, &cap))
            cap = need;
    void *v = NULL; /* by memcpy(): a T * must not be read or written as a void * */
    memcpy(&v, pointer_to_pointer, sizeof v);
    void *grown = mh_realloc_array(v, cap, size_bytes);
    if (!grown)
        return false;
    memcpy(pointer_to_pointer, &grown, sizeof grown);
    *cap_inout = cap;
    return true;
}

char *mh_strdup(const char *s)
{
    return mh_strndup(s, strlen(s));
}

char *mh_strndup(const char *s, size_t n)
{
    char *copy = mh_alloc(n + 1);
    if (!copy)
        return NULL;
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *mh_asprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = n < 0 ? NULL : mh_alloc((size_t)n + 1);
    if (!s)
        return NULL;
    va_start(ap, fmt);
    (void)vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

void mh_free(void *p)
{
    free(p);
}

void mh_free_p(void *pointer_to_pointer)
{
    void *p = NULL;
    memcpy(&p, pointer_to_pointer, sizeof p);
    free(p);
}

uint64_t mh_mem_calls(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}

void mh_mem_fail_nth(uint64_t nth)
{
    uint64_t at = nth ? atomic_load_explicit(&calls, memory_order_relaxed) + nth : 0;
    atomic_store_explicit(&fail_at, at, memory_order_relaxed);
}
