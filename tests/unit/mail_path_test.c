/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "mail/folder.h"

#define RAW(s) (s), sizeof(s) - 1

static const struct {
    const char *name, *raw;
    size_t len;
    const char *path;
} component_cases[] = {
    {"plain", RAW("Archive"), "Archive"},
    {"blank inside and at the end", RAW(" Old mail "), " Old mail "},
    {"UTF-8 stays", RAW("Entw\xc3\xbcrfe"), "Entw\xc3\xbcrfe"},
    {"four-byte UTF-8 stays", RAW("\xf0\x9f\x93\xa7"), "\xf0\x9f\x93\xa7"},
    {"slash", RAW("A/B"), "A%2FB"},
    {"NUL", RAW("A\0B"), "A%00B"},
    {"ESC", RAW("\x1b[31mred"), "%1B[31mred"},
    {"line end", RAW("A\r\nB"), "A%0D%0AB"},
    {"DEL", RAW("A\x7f"), "A%7F"},
    {"dots are ordinary here", RAW(".."), ".."},
    {"backslash", RAW("A\\B"), "A\\B"},
    {"percent alone", RAW("100%"), "100%"},
    {"percent and a letter", RAW("100% sure"), "100% sure"},
    {"percent and one digit", RAW("%4"), "%4"},
    {"looks like an escape", RAW("%41"), "%2541"},
    {"looks like one, lower case", RAW("%2f"), "%252f"},
    {"double percent", RAW("%%41"), "%%2541"},
    {"percent before an escaped byte", RAW("%\x01"), "%%01"},
    {"percent and a digit before one", RAW("%4/1"), "%4%2F1"},
    {"stray continuation", RAW("a\x80z"), "a%80z"},
    {"Latin-1", RAW("Entw\xfcrfe"), "Entw%FCrfe"},
    {"cut sequence", RAW("\xe2\x82"), "%E2%82"},
    {"overlong slash", RAW("\xc0\xaf"), "%C0%AF"},
    {"surrogate", RAW("\xed\xa0\x80"), "%ED%A0%80"},
};

Test(mail_path, component)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(component_cases); i++) {
        struct mh_buf b = MH_BUF_INIT;
        struct mh_buf raw = MH_BUF_INIT;
        mh_path_add_component(&b, component_cases[i].raw, component_cases[i].len);
        cr_expect_str_eq(mh_buf_str(&b), component_cases[i].path, "%s", component_cases[i].name);
        const char *cursor = mh_buf_str(&b);
        cr_expect(mh_path_next(&cursor, &raw), "%s", component_cases[i].name);
        cr_expect_eq(raw.len, component_cases[i].len, "%s", component_cases[i].name);
        cr_expect_arr_eq(raw.data, component_cases[i].raw, raw.len, "%s", component_cases[i].name);
        cr_expect_not(mh_path_next(&cursor, &raw));
        mh_buf_done(&b);
        mh_buf_done(&raw);
    }
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

/* Random components, rich in what is special: path and back is the identity, the path is clean
 * text, and encoding what was decoded gives the same path (so each name has exactly one). */
Test(mail_path, random_components_round_trip)
{
    static const char special[] = "%%%/.0123456789abcdefABCDEF\x01\x1b\x7f\xc3\xa4\x80\xff";
    uint64_t seed = 20261122;
    for (int round = 0; round < 20000; round++) {
        char raw[6][24];
        size_t lens[6];
        size_t n = 1 + next_random(&seed) % 6;
        struct mh_buf path = MH_BUF_INIT;
        struct mh_buf again = MH_BUF_INIT;
        struct mh_buf got = MH_BUF_INIT;
        for (size_t i = 0; i < n; i++) {
            lens[i] = 1 + next_random(&seed) % sizeof raw[i];
            for (size_t j = 0; j < lens[i]; j++)
                raw[i][j] = next_random(&seed) % 4
                                ? special[next_random(&seed) % (sizeof special - 1)]
                                : (char)(next_random(&seed) & 0xff);
            if (i)
                mh_buf_addc(&path, '/');
            mh_path_add_component(&path, raw[i], lens[i]);
        }
        cr_assert(mh_utf8_valid(path.data, path.len));
        cr_assert_eq(strlen(path.data), path.len);
        for (size_t i = 0; i < path.len; i++)
            cr_assert((unsigned char)path.data[i] >= 0x20 && path.data[i] != 0x7f);
        cr_assert_eq(mh_path_depth(path.data), n);
        const char *cursor = path.data;
        for (size_t i = 0; i < n; i++) {
            cr_assert(mh_path_next(&cursor, &got));
            cr_assert_eq(got.len, lens[i]);
            cr_assert_arr_eq(got.data, raw[i], lens[i], "%s", path.data);
            if (i)
                mh_buf_addc(&again, '/');
            mh_path_add_component(&again, got.data, got.len);
        }
        cr_assert_not(mh_path_next(&cursor, &got));
        cr_assert_str_eq(again.data, path.data);
        mh_buf_done(&path);
        mh_buf_done(&again);
        mh_buf_done(&got);
    }
}

static const struct {
    const char *path;
    const char *parts[5];
} split_cases[] = {
    {"", {NULL}},
    {"A", {"A"}},
    {"A/B/C", {"A", "B", "C"}},
    {"A//B", {"A", "", "B"}},
    {"A/", {"A"}},
    {"/A", {"", "A"}},
    {"%2f/%2F", {"/", "/"}},
    {"%zz%4", {"%zz%4"}},
    {"A%/41", {"A%", "41"}},
    {"A%4/1", {"A%4", "1"}},
};

Test(mail_path, split)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(split_cases); i++) {
        struct mh_buf b = MH_BUF_INIT;
        const char *cursor = split_cases[i].path;
        for (size_t j = 0; split_cases[i].parts[j]; j++) {
            cr_assert(mh_path_next(&cursor, &b), "%s", split_cases[i].path);
            cr_expect_str_eq(mh_buf_str(&b), split_cases[i].parts[j]);
        }
        cr_expect_not(mh_path_next(&cursor, &b), "%s", split_cases[i].path);
        cr_expect_eq(b.len, 0u);
        mh_buf_done(&b);
    }
}

Test(mail_path, depth)
{
    cr_expect_eq(mh_path_depth(""), 0u);
    cr_expect_eq(mh_path_depth("A"), 1u);
    cr_expect_eq(mh_path_depth("A%2FB"), 1u);
    cr_expect_eq(mh_path_depth("A/B/C"), 3u);
}

static const struct {
    const char *path, *prefix;
    bool below;
} below_cases[] = {
    {"A/B", "A", true},     {"A", "A", true},      {"A", "", true},     {"", "", true},
    {"AB", "A", false},     {"A", "A/B", false},   {"a/B", "A", false}, {"A/B/C", "A/B", true},
    {"A/BC", "A/B", false}, {"A%2FB", "A", false}, {"", "A", false},
};

Test(mail_path, below)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(below_cases); i++)
        cr_expect_eq(mh_path_is_below(below_cases[i].path, below_cases[i].prefix),
                     below_cases[i].below, "%s below %s", below_cases[i].path,
                     below_cases[i].prefix);
}
