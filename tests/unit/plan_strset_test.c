/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The set of strings, compared with a plain list; and case folding. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "plan/plan_priv.h"

Test(plan_strset, agrees_with_a_list)
{
    enum { TRIES = 3000 };
    static char keys[TRIES][8];
    static size_t values[TRIES];
    size_t n = 0;
    uint32_t random = 1;
    struct plan_strset s = {0};
    for (size_t i = 0; i < TRIES; i++) {
        char key[8] = "";
        struct mh_err err;
        random = random * 1664525u + 1013904223u;
        /* Short keys over few letters: many prefixes of each other, and repeats. */
        for (uint32_t k = 0, bits = random >> 8; k < bits % 7; k++)
            key[k] = "ab\xff/"[(random >> (10 + 2 * k)) % 4];
        size_t at = 0;
        while (at < n && strcmp(keys[at], key) != 0)
            at++;
        size_t *found = plan_strset_get(&s, key);
        cr_assert_eq(found != NULL, at < n, "'%s'", key);
        if (found)
            cr_assert_eq(*found, values[at]);
        int rc = plan_strset_put(&s, key, i, &err);
        cr_assert_eq(rc, at < n ? MH_EEXIST : 0);
        if (rc == 0) {
            memcpy(keys[n], key, sizeof key);
            values[n++] = i;
        }
    }
    cr_expect_eq(s.n, n);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(*plan_strset_get(&s, keys[i]), values[i]);
    cr_expect_gt(n, 200u);
    plan_strset_done(&s);
}

Test(plan_strset, keeps_its_keys_when_memory_is_out)
{
    struct plan_strset s = {0};
    struct mh_err err;
    size_t n = 0;
    unsigned failed = 0;
    for (int i = 0; i < 200; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key %d", i);
        mh_mem_fail_nth(1);
        int rc = plan_strset_put(&s, key, n, &err);
        mh_mem_fail_nth(0);
        cr_assert(rc == 0 || rc == MH_ERUN);
        failed += rc == MH_ERUN;
        if (rc)
            cr_assert_null(plan_strset_get(&s, key));
        if (rc)
            cr_assert_eq(plan_strset_put(&s, key, n, &err), 0);
        n++;
    }
    cr_expect_gt(failed, 5u, "%u: it grew without asking for memory", failed);
    for (size_t i = 0; i < n; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key %zu", i);
        cr_expect_eq(*plan_strset_get(&s, key), i);
    }
    plan_strset_done(&s);
}

Test(plan_fold, removes_letter_case)
{
    static const struct {
        const char *text, *folded;
    } cases[] = {
        {"", ""},
        {"INBOX/Old 1", "inbox/old 1"},
        {"ÉLÉMENTS ENVOYÉS", "éléments envoyés"},
        {"×÷ß", "×÷ß"},
        {"ŁÓDŹ ŸŽ", "łódź ÿž"},
        {"ΑΒΓ ΆΈΌΏ ΣΑΣ", "αβγ άέόώ σασ"},
        {"ς", "σ"},
        {"ЁЖ ЇҐ ѢӐ", "ёж їґ ѣӑ"},
        {"ԱՖ", "աֆ"},
        {"Ẁ Ạ", "ẁ ạ"},
        {"ＡＺ", "ａｚ"},
        {"日本 😀", "日本 😀"},
        {"a\xff\xc3", "a\xff\xc3"},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        char *folded = plan_fold(cases[i].text);
        cr_expect_str_eq(folded, cases[i].folded, "%s: %s", cases[i].text, folded);
        mh_free(folded);
    }
}
