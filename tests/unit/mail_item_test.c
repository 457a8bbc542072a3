/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "mail/item.h"
#include "out_of_memory.h"

/* --- flags ------------------------------------------------------------------------------------ */

static const struct flag_case {
    uint8_t flags;
    const char *text;
} flag_cases[] = {
    {0, ""},
    {MH_SEEN, "\\Seen"},
    {MH_ANSWERED, "\\Answered"},
    {MH_FLAGGED, "\\Flagged"},
    {MH_DELETED, "\\Deleted"},
    {MH_DRAFT, "\\Draft"},
    {MH_DRAFT | MH_SEEN, "\\Seen \\Draft"},
    {0x1f, "\\Seen \\Answered \\Flagged \\Deleted \\Draft"},
    {0xe0, ""},
};

Test(mail_item, flags_format)
{
    struct mh_buf b = MH_BUF_INIT;
    for (size_t i = 0; i < MH_ARRAY_LEN(flag_cases); i++) {
        mh_buf_reset(&b);
        mh_flags_format(flag_cases[i].flags, &b);
        cr_expect_str_eq(mh_buf_str(&b), flag_cases[i].text);
    }
    mh_buf_done(&b);
}

static const struct flag_name_case {
    const char *name;
    uint8_t flag;
} flag_name_cases[] = {
    {"\\Seen", MH_SEEN},
    {"\\SEEN", MH_SEEN},
    {"\\seen", MH_SEEN},
    {"\\Answered", MH_ANSWERED},
    {"\\Flagged", MH_FLAGGED},
    {"\\Deleted", MH_DELETED},
    {"\\Draft", MH_DRAFT},
    {"\\Recent", 0},
    {"Seen", 0},
    {"\\See", 0},
    {"\\Seenn", 0},
    {"", 0},
    {"\\", 0},
    {"$Seen", 0},
    {"\\*", 0},
};

Test(mail_item, flag_parse)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(flag_name_cases); i++) {
        const struct flag_name_case *c = &flag_name_cases[i];
        cr_expect_eq(mh_flag_parse(c->name, strlen(c->name)), c->flag, "%s", c->name);
    }
    cr_expect_eq(mh_flag_parse("\\Seen Draft", 5), MH_SEEN, "the length counts");
}

/* --- keyword sets ----------------------------------------------------------------------------- */

static const struct kwset_case {
    const char *name, *in, *text;
} kwset_cases[] = {
    {"none", "", ""},
    {"blanks only", " \t ", ""},
    {"one", "$Forwarded", "$Forwarded"},
    {"sorted", "zebra apple mango", "apple mango zebra"},
    {"case is folded in order", "b A c", "A b c"},
    {"the first spelling stays", "Work WORK work", "Work"},
    {"the first spelling stays, in the middle", "zz wORK a Work", "a wORK zz"},
    {"duplicates", "a a a b a", "a b"},
    {"blanks around", "  a   b  ", "a b"},
    {"shorter first", "ab a abc", "a ab abc"},
    {"bytes above ASCII", "\xc3\xa9 z", "z \xc3\xa9"},
    {"odd but legal", "$MDNSent NonJunk $label1 [x", "$label1 $MDNSent [x NonJunk"},
};

Test(mail_item, kwsets_text)
{
    struct mh_kwsets *k = NULL;
    cr_assert_eq(mh_kwsets_new(&k, NULL), 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(kwset_cases); i++) {
        const struct kwset_case *c = &kwset_cases[i];
        uint32_t id = 99;
        cr_assert_eq(mh_kwsets_intern(k, c->in, strlen(c->in), &id, NULL), 0);
        cr_expect_eq(id == 0, c->text[0] == '\0', "%s", c->name);
        /* A set known from an earlier case keeps that case's spelling; compare folded. */
        cr_expect(mh_str_ieq(mh_kwsets_text(k, id), c->text), "%s: %s", c->name,
                  mh_kwsets_text(k, id));
        uint32_t again = 98;
        cr_assert_eq(mh_kwsets_intern(k, c->in, strlen(c->in), &again, NULL), 0);
        cr_expect_eq(again, id, "%s", c->name);
    }
    mh_kwsets_free(k);
}

Test(mail_item, kwsets_spelling)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(kwset_cases); i++) {
        const struct kwset_case *c = &kwset_cases[i];
        struct mh_kwsets *k = NULL;
        uint32_t id = 99;
        cr_assert_eq(mh_kwsets_new(&k, NULL), 0);
        cr_assert_eq(mh_kwsets_intern(k, c->in, strlen(c->in), &id, NULL), 0);
        cr_expect_str_eq(mh_kwsets_text(k, id), c->text, "%s", c->name);
        mh_kwsets_free(k);
    }
}

Test(mail_item, kwsets_one_set_for_any_order_and_case)
{
    struct mh_kwsets *k = NULL;
    uint32_t a = 0;
    uint32_t b = 0;
    uint32_t c = 0;
    cr_assert_eq(mh_kwsets_new(&k, NULL), 0);
    cr_assert_eq(mh_kwsets_intern(k, "red blue", 8, &a, NULL), 0);
    cr_assert_eq(mh_kwsets_intern(k, "Blue RED", 8, &b, NULL), 0);
    cr_assert_eq(mh_kwsets_intern(k, "redblue", 7, &c, NULL), 0);
    cr_expect_eq(a, b);
    cr_expect_neq(a, c);
    cr_expect_str_eq(mh_kwsets_text(k, b), "blue red");
    mh_kwsets_free(k);
}

Test(mail_item, kwsets_limit)
{
    struct mh_kwsets *k = NULL;
    struct mh_err err;
    char word[16];
    cr_assert_eq(mh_kwsets_new(&k, NULL), 0);
    for (uint32_t i = 1; i <= MH_KEYWORD_SETS_MAX; i++) {
        uint32_t id = 0;
        int len = snprintf(word, sizeof word, "k%u", i);
        cr_assert_eq(mh_kwsets_intern(k, word, (size_t)len, &id, NULL), 0);
        cr_assert_eq(id, i);
    }
    uint32_t id = 0;
    cr_expect_eq(mh_kwsets_intern(k, "one-more", 8, &id, &err), MH_EFOLDER);
    cr_expect_eq(err.code, MH_EFOLDER);
    cr_expect_not_null(strstr(err.text, "keyword"));
    /* What was there is found as before. */
    cr_expect_eq(mh_kwsets_intern(k, "k40000", 6, &id, &err), 0);
    cr_expect_eq(id, 40000u);
    cr_expect_str_eq(mh_kwsets_text(k, 65535), "k65535");
    mh_kwsets_free(k);
}

/* A hostile server: few sets, each as long as a response line may be. */
Test(mail_item, kwsets_text_limit)
{
    enum { WORD_BYTES = 1 << 20 };
    struct mh_kwsets *k = NULL;
    struct mh_err err;
    char *word = mh_alloc(WORD_BYTES);
    cr_assert_not_null(word);
    memset(word, 'x', WORD_BYTES);
    cr_assert_eq(mh_kwsets_new(&k, NULL), 0);
    int rc = 0;
    int n = 0;
    for (; rc == 0 && n < 100; n++) {
        uint32_t id = 0;
        word[0] = (char)('0' + n / 10);
        word[1] = (char)('0' + n % 10);
        rc = mh_kwsets_intern(k, word, WORD_BYTES, &id, &err);
    }
    cr_expect_eq(rc, MH_EFOLDER);
    cr_expect_leq(n, 20);
    mh_kwsets_free(k);
    mh_free(word);
}

Test(mail_item, kwsets_known_set_allocates_nothing)
{
    struct mh_kwsets *k = NULL;
    uint32_t id = 0;
    static const char list[] = "$Forwarded NonJunk $label1 work urgent";
    cr_assert_eq(mh_kwsets_new(&k, NULL), 0);
    cr_assert_eq(mh_kwsets_intern(k, list, sizeof list - 1, &id, NULL), 0);
    uint64_t before = mh_mem_calls();
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(mh_kwsets_intern(k, list, sizeof list - 1, &id, NULL), 0);
    cr_expect_eq(mh_mem_calls(), before);
    mh_kwsets_free(k);
}

Test(mail_item, kwsets_out_of_memory_is_an_error)
{
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_kwsets *k = NULL;
        struct mh_err err;
        oom_begin(&o);
        int rc = mh_kwsets_new(&k, &err);
        for (int i = 0; rc == 0 && i < 100; i++) {
            char words[32];
            uint32_t id = 0;
            int len = snprintf(words, sizeof words, "b%d a%d", i, i);
            rc = mh_kwsets_intern(k, words, (size_t)len, &id, &err);
        }
        oom_end(&o);
        cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u", o.nth);
        if (rc < 0 && k) {
            uint32_t id = 0;
            cr_expect_eq(mh_kwsets_intern(k, "after all", 9, &id, &err), 0);
            cr_expect_str_eq(mh_kwsets_text(k, id), "after all");
        }
        mh_kwsets_free(k);
    }
}

/* --- scans ------------------------------------------------------------------------------------ */

static void add(struct mh_scan *s, uint64_t uid, uint64_t size)
{
    struct mh_item item = {.uid = uid, .size = size};
    cr_assert_eq(mh_scan_add(s, &item, NULL), 0);
}

static const struct scan_case {
    const char *name;
    uint64_t in[8];  /* uids until 0; their place is the size */
    uint64_t out[8]; /* uids until 0 */
    uint64_t places[8];
} scan_cases[] = {
    {"empty", {0}, {0}, {0}},
    {"one", {7}, {7}, {0}},
    {"in order", {1, 2, 5, 9}, {1, 2, 5, 9}, {0, 1, 2, 3}},
    {"backwards", {9, 5, 2, 1}, {1, 2, 5, 9}, {3, 2, 1, 0}},
    {"mixed", {3, 1, 2}, {1, 2, 3}, {1, 2, 0}},
    {"repeated in order: the last wins", {1, 1, 2, 2, 2}, {1, 2}, {1, 4}},
    {"repeated apart: the last wins", {4, 1, 4, 2, 4, 1}, {1, 2, 4}, {5, 3, 4}},
    {"all the same", {6, 6, 6, 6, 6, 6, 6}, {6}, {6}},
    {"the largest", {UINT64_MAX, 1}, {1, UINT64_MAX}, {1, 0}},
};

Test(mail_item, scan_finish)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(scan_cases); i++) {
        const struct scan_case *c = &scan_cases[i];
        struct mh_scan s;
        cr_assert_eq(mh_scan_init(&s, NULL), 0);
        for (size_t j = 0; c->in[j]; j++)
            add(&s, c->in[j], j);
        mh_scan_finish(&s);
        size_t n = 0;
        for (; c->out[n]; n++) {
            cr_assert_lt(n, s.n, "%s", c->name);
            cr_expect_eq(s.items[n].uid, c->out[n], "%s at %zu", c->name, n);
            cr_expect_eq(s.items[n].size, c->places[n], "%s at %zu", c->name, n);
            cr_expect_eq(mh_scan_find(&s, c->out[n]), &s.items[n], "%s", c->name);
        }
        cr_expect_eq(s.n, n, "%s", c->name);
        cr_expect_null(mh_scan_find(&s, 1234567), "%s", c->name);
        mh_scan_done(&s);
    }
}

/* Every length up to 300, scrambled, with repeats, against what each uid was last given. */
Test(mail_item, scan_finish_any_length)
{
    for (uint64_t n = 0; n <= 300; n++) {
        struct mh_scan s;
        uint64_t last[128] = {0};
        cr_assert_eq(mh_scan_init(&s, NULL), 0);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t uid = 1 + (i * 7919 + n * 31) % 127;
            add(&s, uid, i + 1);
            last[uid] = i + 1;
        }
        mh_scan_finish(&s);
        size_t expected = 0;
        for (uint64_t uid = 1; uid < 128; uid++) {
            const struct mh_item *item = mh_scan_find(&s, uid);
            cr_assert_eq(item != NULL, last[uid] != 0);
            if (item)
                cr_assert_eq(item->size, last[uid]);
            expected += item != NULL;
        }
        cr_assert_eq(s.n, expected);
        for (size_t i = 1; i < s.n; i++)
            cr_assert_lt(s.items[i - 1].uid, s.items[i].uid);
        mh_scan_done(&s);
    }
}

Test(mail_item, scan_in_order_needs_no_room_to_sort)
{
    struct mh_scan s;
    cr_assert_eq(mh_scan_init(&s, NULL), 0);
    for (uint64_t uid = 1; uid <= 5000; uid++)
        add(&s, uid * 3, uid);
    cr_expect_null(s.spare);
    mh_scan_finish(&s);
    cr_expect_eq(s.n, 5000u);
    mh_scan_done(&s);
}

Test(mail_item, scan_out_of_memory_is_an_error)
{
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_scan s;
        struct mh_err err;
        oom_begin(&o);
        int rc = mh_scan_init(&s, &err);
        size_t added = 0;
        for (uint64_t uid = 1000; rc == 0 && uid > 0; uid--) {
            struct mh_item item = {.uid = uid};
            rc = mh_scan_add(&s, &item, &err);
            added += rc == 0;
        }
        oom_end(&o);
        cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u", o.nth);
        mh_scan_finish(&s);
        cr_expect_eq(s.n, added);
        mh_scan_done(&s);
    }
}

/* --- names ------------------------------------------------------------------------------------ */

Test(mail_item, uid_from_name)
{
    /* SHA-256("abc") begins ba7816bf8f01cfea: its first 63 bits without the sign. */
    cr_expect_eq(mh_uid_from_name("abc", 3), 0x3a7816bf8f01cfeaull);
    cr_expect_eq(mh_uid_from_name("", 0), 0x63b0c44298fc1c14ull);
    cr_expect_neq(mh_uid_from_name("a", 1), mh_uid_from_name("b", 1));
    for (int i = 0; i < 1000; i++) {
        char name[16];
        int len = snprintf(name, sizeof name, "%d", i);
        uint64_t uid = mh_uid_from_name(name, (size_t)len);
        cr_assert(uid > 0 && uid <= INT64_MAX);
    }
}
