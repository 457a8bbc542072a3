/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "mail/uids.h"

static struct mh_err err;

static const struct {
    const char *name;
    struct mh_uid_range in[8];
    struct mh_uid_range out[8];
    uint64_t count;
} sets[] = {
    {"empty", {{0, 0}}, {{0, 0}}, 0},
    {"one", {{7, 7}}, {{7, 7}}, 1},
    {"neighbours in order", {{1, 1}, {2, 2}, {3, 9}}, {{1, 9}}, 9},
    {"neighbours out of order", {{5, 9}, {1, 4}}, {{1, 9}}, 9},
    {"apart by one", {{1, 3}, {5, 6}}, {{1, 3}, {5, 6}}, 5},
    {"overlaps", {{1, 5}, {3, 8}, {2, 2}, {7, 7}}, {{1, 8}}, 8},
    {"inside the last one", {{1, 9}, {3, 4}, {12, 12}}, {{1, 9}, {12, 12}}, 10},
    {"turned round", {{9, 4}}, {{4, 9}}, 6},
    {"the last there is",
     {{UINT64_MAX, UINT64_MAX}, {5, 5}},
     {{5, 5}, {UINT64_MAX, UINT64_MAX}},
     2},
    {"all there is", {{1, UINT64_MAX}, {9, 9}}, {{1, UINT64_MAX}}, UINT64_MAX},
};

Test(mail_uids, ranges_are_sorted_and_joined)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct mh_uids u = {0};
        for (size_t k = 0; k < 8 && sets[i].in[k].lo; k++)
            cr_assert_eq(mh_uids_add(&u, sets[i].in[k].lo, sets[i].in[k].hi, &err), 0);
        mh_uids_finish(&u);
        size_t n = 0;
        for (; n < 8 && sets[i].out[n].lo; n++) {
            cr_assert_lt(n, u.n, "%s", sets[i].name);
            cr_expect_eq(u.v[n].lo, sets[i].out[n].lo, "%s: range %zu", sets[i].name, n);
            cr_expect_eq(u.v[n].hi, sets[i].out[n].hi, "%s: range %zu", sets[i].name, n);
        }
        cr_expect_eq(u.n, n, "%s: %zu ranges", sets[i].name, u.n);
        cr_expect_eq(mh_uids_count(&u), sets[i].count, "%s", sets[i].name);
        mh_uids_done(&u);
    }
}

Test(mail_uids, membership_agrees_with_a_plain_table)
{
    enum { N = 400 };
    bool in[N + 1] = {false};
    struct mh_uids u = {0};
    unsigned seed = 5;
    for (int i = 0; i < 60; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned lo = 1 + seed / 65536 % N;
        seed = seed * 1103515245 + 12345;
        unsigned hi = MH_MIN(lo + seed / 65536 % 6, (unsigned)N);
        cr_assert_eq(mh_uids_add(&u, lo, hi, &err), 0);
        for (unsigned k = lo; k <= hi; k++)
            in[k] = true;
    }
    mh_uids_finish(&u);
    uint64_t count = 0;
    for (unsigned k = 0; k <= N; k++) {
        cr_expect_eq(mh_uids_has(&u, k), in[k], "%u", k);
        count += in[k];
    }
    cr_expect_eq(mh_uids_count(&u), count);
    mh_uids_done(&u);
}

Test(mail_uids, there_is_an_end)
{
    struct mh_uids u = {0};
    for (uint64_t i = 0; i < MH_UID_RANGES_MAX; i++)
        cr_assert_eq(mh_uids_add(&u, 2 * i + 1, 2 * i + 1, &err), 0);
    cr_expect_eq(mh_uids_add(&u, 1, 1, &err), MH_EFOLDER);
    /* one that joins the last needs no room */
    cr_expect_eq(mh_uids_add(&u, 2ull * MH_UID_RANGES_MAX, 2ull * MH_UID_RANGES_MAX, &err), 0);
    mh_uids_done(&u);
}

Test(mail_uids, no_memory)
{
    struct mh_uids u = {0};
    mh_mem_fail_nth(1);
    cr_expect_eq(mh_uids_add(&u, 1, 1, &err), MH_ERUN);
    mh_mem_fail_nth(0);
    cr_expect_eq(u.n, 0);
    mh_uids_done(&u);
}
