/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Arrays that grow. */
#include <criterion/criterion.h>

#include "base/mem.h"

Test(mem, grown_arrays_keep_what_they_hold)
{
    enum { N = 10000 };
    uint64_t *v = NULL;
    size_t cap = 0;
    uint64_t before = mh_mem_calls();
    for (size_t i = 0; i < N; i++) {
        cr_assert(mh_grow(v, cap, i + 1));
        cr_assert_gt(cap, i);
        v[i] = i * 7;
    }
    cr_expect_leq(mh_mem_calls() - before, 11u, "doubled, not one by one");
    for (size_t i = 0; i < N; i++)
        cr_assert_eq(v[i], i * 7);
    mh_free(v);
}

static const struct {
    const char *name;
    size_t cap, need;
    unsigned calls;
} grow_cases[] = {
    {"nothing asked", 0, 0, 0},         {"the first one", 0, 1, 1},  {"there is room", 20, 19, 0},
    {"there is just room", 20, 20, 0},  {"one too many", 20, 21, 1}, {"many at once", 20, 1000, 1},
    {"many at once, first", 0, 777, 1},
};

Test(mem, growing_asks_once_and_only_for_what_is_missing)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(grow_cases); i++) {
        size_t cap = grow_cases[i].cap;
        void **v = cap ? mh_alloc(cap * sizeof *v) : NULL;
        for (size_t k = 0; k < cap; k++)
            v[k] = &v[k];
        void **was = v;
        uint64_t before = mh_mem_calls();
        cr_assert(mh_grow(v, cap, grow_cases[i].need), "%s", grow_cases[i].name);
        cr_expect_eq(mh_mem_calls() - before, grow_cases[i].calls, "%s", grow_cases[i].name);
        cr_expect_geq(cap, grow_cases[i].need, "%s", grow_cases[i].name);
        for (size_t k = 0; k < grow_cases[i].cap; k++)
            cr_expect_eq(v[k], (void *)(was + k), "%s: %zu", grow_cases[i].name, k);
        if (cap)
            v[cap - 1] = NULL; /* it is there */
        mh_free(v);
    }
}

/* What cannot be is refused before anything is asked for: a wrapped size would be a small one. */
Test(mem, a_size_that_overflows_is_refused)
{
    static const size_t needs[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / sizeof(uint64_t) + 1};
    for (size_t i = 0; i < MH_ARRAY_LEN(needs); i++) {
        uint64_t *v = NULL;
        size_t cap = 0;
        cr_assert(mh_grow(v, cap, 3));
        uint64_t *was = v;
        size_t had = cap;
        v[2] = 5;
        uint64_t before = mh_mem_calls();
        cr_expect_not(mh_grow(v, cap, needs[i]), "%zu", needs[i]);
        cr_expect_eq(mh_mem_calls(), before, "%zu", needs[i]);
        cr_expect_eq(v, was);
        cr_expect_eq(cap, had);
        cr_expect_eq(v[2], 5u);
        mh_free(v);
    }
}

Test(mem, out_of_memory_leaves_the_array_as_it_was)
{
    unsigned failures = 0;
    for (uint64_t nth = 1; nth <= 8; nth++) {
        unsigned char *v = NULL;
        size_t cap = 0, n = 0;
        mh_mem_fail_nth(nth);
        while (n < 1000) {
            unsigned char *was = v;
            size_t had = cap;
            if (mh_grow(v, cap, n + 1)) {
                v[n] = (unsigned char)n;
                n++;
            } else {
                failures++;
                cr_assert_eq(v, was);
                cr_assert_eq(cap, had);
            }
        }
        mh_mem_fail_nth(0);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(v[i], (unsigned char)i);
        mh_free(v);
    }
    cr_expect_eq(failures, 5u, "64 to 1024 bytes: %u failures", failures);
}
