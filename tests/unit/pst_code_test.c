/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Checksums, signatures, encodings, UTF-16 and the reader's memory. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "pst/arena.h"
#include "pst/code.h"
#include "pst/text.h"

/* The register begins as zero and is not inverted: so leading zeros do not count, and nothing is 0. */
Test(pst_code, crc)
{
    static const struct {
        const char *data;
        size_t len;
        uint32_t crc;
    } known[] = {
        {"", 0, 0},
        {"\0", 1, 0},
        {"\1", 1, 0x77073096},
        {"\xff", 1, 0x2d02ef8d},
        {"123456789", 9, 0x2dfd2d88},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(known); i++)
        cr_expect_eq(pst_crc(known[i].data, known[i].len), known[i].crc, "case %zu: %08x", i,
                     pst_crc(known[i].data, known[i].len));
    cr_expect_eq(pst_crc("\0\0\0"
                         "123456789",
                         12),
                 pst_crc("123456789", 9));
}

Test(pst_code, signature)
{
    cr_expect_eq(pst_signature(0x4400, 0x4400), 0);
    cr_expect_eq(pst_signature(0x00012345, 0), 0x2344);
    cr_expect_eq(pst_signature(0, 0x00012345), 0x2344);
    cr_expect_eq(pst_signature(UINT64_C(0x100000000), 4), 4, "above 32 bits nothing counts");
}

Test(pst_code, numbers)
{
    uint8_t p[8];
    pst_put_u64(p, UINT64_C(0x0123456789abcdef));
    cr_expect_eq(p[0], 0xef);
    cr_expect_eq(pst_u16(p), 0xcdef);
    cr_expect_eq(pst_u32(p), 0x89abcdef);
    cr_expect_eq(pst_u64(p), UINT64_C(0x0123456789abcdef));
}

/* What each encoding makes of the octets 0 to 7 ([MS-PST] 5.1, 5.2), and back. */
static const struct {
    const char *name;
    enum pst_encoding encoding;
    uint64_t key;
    const uint8_t coded[8];
} encodings[] = {
    {"none", PST_PLAIN, 4, {0, 1, 2, 3, 4, 5, 6, 7}},
    {"permute", PST_PERMUTE, 4, {65, 54, 19, 98, 168, 33, 110, 187}},
    {"permute, another key", PST_PERMUTE, 1000, {65, 54, 19, 98, 168, 33, 110, 187}},
};

Test(pst_code, encodings)
{
    static const uint8_t plain[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    for (size_t i = 0; i < MH_ARRAY_LEN(encodings); i++) {
        uint8_t got[8];
        pst_encode(encodings[i].encoding, encodings[i].key, plain, sizeof plain, got);
        cr_expect_arr_eq(got, encodings[i].coded, sizeof got, "%s", encodings[i].name);
        pst_decode(encodings[i].encoding, encodings[i].key, got, sizeof got, got);
        cr_expect_arr_eq(got, plain, sizeof plain, "%s, in place", encodings[i].name);
    }
}

/* The same steps there and back; the key and the place of an octet both count. */
Test(pst_code, cyclic)
{
    static const uint64_t keys[] = {0, 4, 0x1234, 0xffff, 0x12345678, UINT64_C(0xffffffff00000004)};
    static uint8_t plain[70000];
    static uint8_t coded[sizeof plain];
    static uint8_t back[sizeof plain];
    memset(plain, 'a', sizeof plain);
    for (size_t i = 0; i < MH_ARRAY_LEN(keys); i++) {
        unsigned alike = 0;
        pst_encode(PST_CYCLIC, keys[i], plain, sizeof plain, coded);
        pst_decode(PST_CYCLIC, keys[i], coded, sizeof coded, back);
        cr_expect_arr_eq(back, plain, sizeof plain, "key %zu", i);
        for (size_t k = 0; k < 256; k++)
            alike += coded[k] == plain[k];
        cr_expect_lt(alike, 16, "key %zu: %u octets are as they were", i, alike);
        cr_expect_arr_eq(coded, coded + 65536, 1000, "the wheels have turned once");
    }
    uint8_t low[16];
    uint8_t high[16];
    pst_encode(PST_CYCLIC, 4, plain, sizeof low, low);
    pst_encode(PST_CYCLIC, UINT64_C(0xffffffff00000004), plain, sizeof high, high);
    cr_expect_arr_eq(low, high, sizeof low, "32 bits of the key count");
}

static const struct {
    const char *name;
    const char *octets;
    size_t n;
    const char *text;
    size_t replaced;
} texts[] = {
    {"empty", "", 0, "", 0},
    {"ASCII", "a\0b\0", 4, "ab", 0},
    {"two and three octets", "\xe9\0\x83\x30", 4, "\xc3\xa9\xe3\x82\x83", 0},
    {"a pair of surrogates", "\x3d\xd8\x00\xde", 4, "\xf0\x9f\x98\x80", 0},
    {"the last character", "\xff\xdb\xff\xdf", 4, "\xf4\x8f\xbf\xbf", 0},
    {"a high half alone", "\x3d\xd8", 2, "\xef\xbf\xbd", 1},
    {"a low half alone",
     "\x00\xde"
     "a\0",
     4,
     "\xef\xbf\xbd"
     "a",
     1},
    {"two high halves", "\x3d\xd8\x3d\xd8\x00\xde", 6, "\xef\xbf\xbd\xf0\x9f\x98\x80", 1},
    {"an odd octet", "a\0b", 3, "a\xef\xbf\xbd", 1},
    {"ends at NUL", "a\0\0\0b\0", 6, "a", 0},
    {"no character at all", "\xff\xff", 2, "\xef\xbf\xbf", 0},
};

Test(pst_text, utf16)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(texts); i++) {
        struct mh_buf b = MH_BUF_INIT;
        const struct pst_span s = {(const uint8_t *)texts[i].octets, texts[i].n};
        cr_expect_eq(pst_text_utf16(s, &b), texts[i].replaced, "%s", texts[i].name);
        cr_expect_str_eq(mh_buf_str(&b), texts[i].text, "%s", texts[i].name);
        mh_buf_done(&b);
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

Test(pst_arena, gives_and_takes_back)
{
    struct pst_arena a;
    pst_arena_init(&a, 8 << 20);
    struct pst_mark empty = pst_arena_mark(&a);
    char *first = pst_arena_alloc(&a, 100);
    cr_assert(first);
    memset(first, 1, 100);
    struct pst_mark mark = pst_arena_mark(&a);
    char *second = pst_arena_alloc(&a, 1);
    char *third = pst_arena_alloc(&a, 1);
    cr_expect_eq((uintptr_t)second % 16, 0);
    cr_expect_eq((uintptr_t)third % 16, 0);
    cr_expect_neq(second, third);
    char *large = pst_arena_alloc(&a, 3 << 20);
    cr_assert(large);
    memset(large, 2, 3 << 20);
    pst_arena_return(&a, mark);
    cr_expect_eq(pst_arena_alloc(&a, 1), second, "what was given back is given again");
    cr_expect_eq(first[99], 1, "what was before stays");
    pst_arena_return(&a, empty);
    cr_expect_eq(a.held_bytes, 0);
    pst_arena_done(&a);
}

Test(pst_arena, has_a_cap)
{
    struct pst_arena a;
    pst_arena_init(&a, 1 << 20);
    cr_expect_null(pst_arena_alloc(&a, (1 << 20) + 1));
    cr_expect_null(pst_arena_alloc(&a, SIZE_MAX));
    cr_expect_null(pst_arena_array(&a, SIZE_MAX / 2, 4));
    size_t given = 0;
    for (size_t i = 0; i < 100 && pst_arena_alloc(&a, 100 << 10); i++)
        given += 100 << 10;
    cr_expect(given >= 700 << 10 && given <= 1 << 20, "%zu octets of 1 MiB", given);
    cr_expect_leq(a.held_bytes, 1 << 20);
    pst_arena_done(&a);
    cr_expect_eq(a.held_bytes, 0);
}

Test(pst_arena, without_memory)
{
    struct pst_arena a;
    pst_arena_init(&a, 8 << 20);
    mh_mem_fail_nth(1);
    cr_expect_null(pst_arena_alloc(&a, 10));
    mh_mem_fail_nth(0);
    cr_expect(pst_arena_alloc(&a, 10), "it goes on when there is some again");
    pst_arena_done(&a);
}
