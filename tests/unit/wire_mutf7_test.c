/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include <string.h>

#include "wire/mutf7.h"

static const struct {
    const char *name;
    const char *utf8;
    const char *encoded;
} names[] = {
    {"empty", "", ""},
    {"ASCII", "INBOX/a b~!", "INBOX/a b~!"},
    {"ampersand", "a&b&&", "a&-b&-&-"},
    {"the standard's example",
     "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
     "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
    {"German", "Entw\xc3\xbcrfe", "Entw&APw-rfe"},
    {"two letters in a row", "\xc3\xa4\xc3\xb6", "&AOQA9g-"},
    {"three letters in a row", "\xc3\xa4\xc3\xb6\xc3\xbc", "&AOQA9gD8-"},
    {"beside an ampersand", "\xc3\xa4&\xc3\xb6", "&AOQ-&-&APY-"},
    {"Cyrillic", "\xd0\x9a\xd0\xbe\xd1\x80\xd0\xb7\xd0\xb8\xd0\xbd\xd0\xb0",
     "&BBoEPgRABDcEOAQ9BDA-"},
    {"beyond the BMP", "x\xf0\x9f\x93\xac", "x&2D3c7A-"},
    {"the last code point", "\xf4\x8f\xbf\xbf", "&2,,f,w-"},
    {"control characters", "a\tb\x1b\x7f", "a&AAk-b&ABsAfw-"},
    {"U+FFFF", "\xef\xbf\xbf", "&,,8-"},
    {"C1", "\xc2\x80", "&AIA-"},
};

Test(wire_mutf7, both_ways)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(names); i++) {
        struct mh_buf b = MH_BUF_INIT;
        cr_expect(mh_mutf7_encode(names[i].utf8, strlen(names[i].utf8), &b), "%s", names[i].name);
        cr_expect_str_eq(mh_buf_str(&b), names[i].encoded, "%s", names[i].name);
        mh_buf_reset(&b);
        mh_buf_adds(&b, "kept:");
        cr_expect(mh_mutf7_decode(names[i].encoded, strlen(names[i].encoded), &b), "%s",
                  names[i].name);
        cr_expect_str_eq(mh_buf_str(&b) + 5, names[i].utf8, "%s", names[i].name);
        cr_expect_eq(strncmp(b.data, "kept:", 5), 0);
        mh_buf_done(&b);
    }
}

Test(wire_mutf7, not_an_encoding)
{
    static const struct {
        const char *name;
        const char *encoded;
        size_t len;
    } bad[] = {
        {"8-bit byte", "Entw\xc3\xbcrfe", 9},
        {"raw control byte", "a\tb", 3},
        {"raw DEL", "a\x7f", 2},
        {"raw NUL", "a\0b", 3},
        {"no end", "&APw", 4},
        {"ampersand at the end", "a&", 2},
        {"ordinary base64", "&U/BTFw-", 8},
        {"a byte that is not in the alphabet", "&AP=-", 5},
        {"a byte that is not in the alphabet 2", "&A\xc3w-", 5},
        {"NUL in a shift", "&A\0w-", 5},
        {"printable ASCII shifted", "&AGE-", 5},
        {"an ampersand shifted", "&ACY-", 5},
        {"printable ASCII among others", "&APwAYQ-", 8},
        {"two shifts in a row", "&AOQ-&APY-", 10},
        {"bits left over that are not 0", "&APx-", 5},
        {"a character too many", "&APwA-", 6},
        {"too short for a unit", "&AP-", 4},
        {"one character", "&A-", 3},
        {"a high surrogate alone", "&2D0-", 5},
        {"a low surrogate alone", "&3Kw-", 5},
        {"surrogates the wrong way round", "&3KzYPQ-", 8},
        {"a high surrogate before a letter", "&2D0A,A-", 8},
        {"two high surrogates", "&2D3YPQ-", 8},
        {"U+0000", "&AAA-", 5},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(bad); i++) {
        struct mh_buf b = MH_BUF_INIT;
        mh_buf_adds(&b, "kept");
        cr_expect_not(mh_mutf7_decode(bad[i].encoded, bad[i].len, &b), "%s", bad[i].name);
        cr_expect_str_eq(mh_buf_str(&b), "kept", "%s", bad[i].name);
        cr_expect_eq(b.len, 4u, "%s", bad[i].name);
        mh_buf_done(&b);
    }
}

Test(wire_mutf7, not_utf8)
{
    static const struct {
        const char *s;
        size_t len;
    } bad[] = {{"\xfc", 1}, {"a\xc3", 2}, {"\xed\xa0\x80", 3}, {"\xc0\xaf", 2}, {"a\0b", 3}};
    for (size_t i = 0; i < MH_ARRAY_LEN(bad); i++) {
        struct mh_buf b = MH_BUF_INIT;
        cr_expect_not(mh_mutf7_encode(bad[i].s, bad[i].len, &b));
        cr_expect_eq(b.len, 0u);
        mh_buf_done(&b);
    }
}

static size_t put_utf8(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)(lead[n] | cp);
    return n;
}

/* Every character there is, alone and between others. */
Test(wire_mutf7, every_code_point)
{
    struct mh_buf encoded = MH_BUF_INIT;
    struct mh_buf back = MH_BUF_INIT;
    for (uint32_t cp = 1; cp <= 0x10ffff; cp++) {
        char text[16];
        size_t len = 0;
        if (cp >= 0xd800 && cp <= 0xdfff)
            continue;
        len += put_utf8(cp, text + len);
        len += put_utf8(0xe9, text + len);
        len += put_utf8('/', text + len);
        len += put_utf8(cp, text + len);
        mh_buf_reset(&encoded);
        mh_buf_reset(&back);
        cr_assert(mh_mutf7_encode(text, len, &encoded), "U+%04X", cp);
        cr_assert(mh_mutf7_decode(encoded.data, encoded.len, &back), "U+%04X: %s", cp,
                  encoded.data);
        cr_assert(back.len == len && memcmp(back.data, text, len) == 0, "U+%04X", cp);
    }
    mh_buf_done(&encoded);
    mh_buf_done(&back);
}
