/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "out_of_memory.h"
#include "pst/charset.h"

#define RAW(s) (s), sizeof(s) - 1
#define R      "\xef\xbf\xbd" /* U+FFFD */

static const struct {
    const char *name;
    unsigned page;
    const char *text;
    size_t len;
    const char *utf8;
    uint64_t replaced;
} texts[] = {
    {"nothing", 1252, RAW(""), "", 0},
    {"ASCII", 1252, RAW("plain"), "plain", 0},
    {"Western", 1252, RAW("\x80 \xe4\xf6\xfc \x96"), "€ äöü –", 0},
    {"Western, an octet without a character", 1252, RAW("a\x81\x62"), "a" R "b", 1},
    {"Central European", 1250, RAW("\x9a\xe8"), "šč", 0},
    {"Cyrillic", 1251, RAW("\xcf\xf0\xe8\xe2\xe5\xf2"), "Привет", 0},
    {"Greek", 1253, RAW("\xc3\xe5\xe9\xe1"), "Γεια", 0},
    {"Turkish", 1254, RAW("\xfe\xf0\xfd"), "şğı", 0},
    {"Hebrew", 1255, RAW("\xf9\xec\xe5\xed"), "שלום", 0},
    {"Arabic", 1256, RAW("\xe3\xd1\xcd\xc8\xc7"), "مرحبا", 0},
    {"Baltic", 1257, RAW("\xe8\xfe"), "čž", 0},
    {"Vietnamese, a mark behind its letter", 1258, RAW("a\xcc"), "à", 0},
    {"Thai", 874, RAW("\xca\xc7\xd1"), "สวั", 0},
    {"DOS Cyrillic", 866, RAW("\x8f\xe0"), "Пр", 0},
    {"Mac", 10000, RAW("\x8a\x9a\x9f"), "äöü", 0},
    {"Russian KOI8", 20866, RAW("\xf0\xd2\xc9\xd7\xc5\xd4"), "Привет", 0},
    {"Ukrainian KOI8", 21866, RAW("\xa4\xa6\xa7"), "єії", 0},
    {"Latin-1 as it is written", 28591, RAW("\xe9 \x93\x94"), "é “”", 0},
    {"Latin-2", 28592, RAW("\xb1\xe6\xea"), "ąćę", 0},
    {"Latin-9", 28605, RAW("\xa4\xbc"), "€Œ", 0},
    {"Cyrillic of ISO", 28595, RAW("\xbf\xe0"), "Пр", 0},
    {"Shift-JIS", 932, RAW("\x93\xfa\x96{\x8c\xea"), "日本語", 0},
    {"Shift-JIS, a backslash as second octet", 932, RAW("\x83\\\x95\\"), "ソ表", 0},
    {"Shift-JIS, signs of NEC and IBM", 932, RAW("\x87\x40\xfa\x40\x81\x60"), "①ⅰ～", 0},
    {"Shift-JIS, half-width kana", 932, RAW("\xb1\xb2"), "ｱｲ", 0},
    {"Shift-JIS, cut within a character", 932, RAW("\x93\xfa\x96"), "日" R, 1},
    {"Shift-JIS, a wrong second octet", 932, RAW("\x93 \x93\xfa"), R " 日", 1},
    {"GBK", 936, RAW("\xc4\xe3\xba\xc3"), "你好", 0},
    {"GB18030, four octets", 54936, RAW("\x81\x30\x89\x37\xc4\xe3"), "Þ你", 0},
    {"Korean", 949, RAW("\xc7\xd1\xb1\xdb\x81\x41"), "한글갂", 0},
    {"Big5", 950, RAW("\xa4\xa4\xa4\xe5"), "中文", 0},
    {"EUC-JP", 51932, RAW("\xc6\xfc\xcb\xdc"), "日本", 0},
    {"EUC-KR", 51949, RAW("\xc7\xd1"), "한", 0},
    {"ISO-2022-JP", 50220, RAW("a\x1b$BF|K\\8l\x1b(Bz"), "a日本語z", 0},
    {"ISO-2022-JP of 1978, Roman letters", 50220, RAW("\x1b$@F|\x1b(Jz\\~"), "日z\\~", 0},
    {"ISO-2022-JP, signs of NEC", 50220, RAW("\x1b$B-!\x1b(B"), "①", 0},
    {"ISO-2022-JP, half-width kana by escape", 50221, RAW("\x1b(I12\x1b(B1"), "ｱｲ1", 0},
    {"ISO-2022-JP, half-width kana by shift", 50222,
     RAW("\x0e"
         "12\x0f"
         "12"),
     "ｱｲ12", 0},
    {"ISO-2022-JP, half-width kana in eight bits", 50221, RAW("\xb1\xb2"), "ｱｲ", 0},
    {"ISO-2022-JP, the supplement", 50220, RAW("\x1b$(D0!\x1b(B"), "丂", 0},
    {"ISO-2022-JP, kana that are none", 50220, RAW("\x1b(I1rr\x0er"), "ｱ" R R R, 3},
    {"ISO-2022-JP, a supplement that is none", 50220, RAW("\x1b$(D!!0!"), R "丂", 1},
    {"ISO-2022-JP, octets that are nothing", 50220,
     RAW("\xff\xfe"
         "a"),
     R R "a", 2},
    {"Shift-JIS, a pair without a character", 932, RAW("\x85\xa0\x93\xfa\x85 a"), R "日" R " a", 2},
    {"EUC-JP, three octets without a character", 51932, RAW("\x8f\xa1\xa1\xc6\xfc"), R "日", 1},
    {"ISO-2022-JP, half a character", 50220, RAW("\x1b$BF|K"), "日" R, 1},
    {"ISO-2022-JP, a line begins in ASCII", 50220, RAW("\x1b$BF|\r\nF|"), "日\r\nF|", 0},
    {"ISO-2022-KR", 50225, RAW("\x1b$)C\x0eGQ\x0f."), "한.", 0},
    {"UTF-7", 65000, RAW("a+ZeU-b"), "a日b", 0},
    {"UTF-8", 65001, RAW("日本 ä"), "日本 ä", 0},
    {"UTF-8, broken", 65001, RAW("\xe6\x97 \xc0\xaf \xed\xa0\x80z"), R R " " R R " " R R R "z", 7},
    {"UTF-16", 1200, RAW("a\0\xe5\x65\x3d\xd8\x00\xde"), "a日😀", 0},
    {"UTF-16, the other way round", 1201, RAW("\0a\x65\xe5"), "a日", 0},
    {"UTF-16, half a pair", 1200,
     RAW("\x3d\xd8"
         "a\0\x00\xde\x3d\xd8"),
     R "a" R R, 3},
    {"UTF-16, half a unit", 1200, RAW("a\0b"), "a" R, 1},
    {"false ASCII, in truth UTF-8", 20127, RAW("a ä"), "a ä", 2},
    {"false ASCII, in truth Western", 20127, RAW("a \xe4\x80"), "a ä€", 2},
    {"true ASCII", 20127, RAW("abc"), "abc", 0},
    {"a page that nobody knows", 4711, RAW("abc \xe4 d"), "abc " R " d", 1},
};

/* In memory of exactly its size, so that a read behind it is seen. */
static uint64_t add(struct pst_charset *c, unsigned page, const void *s, size_t len,
                    struct mh_buf *out)
{
    uint8_t *exact = malloc(len ? len : 1);
    cr_assert(exact);
    memcpy(exact, s, len);
    uint64_t replaced = pst_charset_add(c, page, exact, len, out);
    free(exact);
    return replaced;
}

/* Twice each, and one after the other: nothing stays behind in a converter. */
Test(pst_charset, texts)
{
    struct pst_charset c;
    pst_charset_init(&c);
    for (size_t k = 0; k < 2 * MH_ARRAY_LEN(texts); k++) {
        size_t i = k % MH_ARRAY_LEN(texts);
        struct mh_buf out = MH_BUF_INIT;
        uint64_t replaced = add(&c, texts[i].page, texts[i].text, texts[i].len, &out);
        cr_expect_str_eq(mh_buf_str(&out), texts[i].utf8, "%s: \"%s\"", texts[i].name,
                         mh_buf_str(&out));
        cr_expect_eq(replaced, texts[i].replaced, "%s: %d replaced", texts[i].name, (int)replaced);
        mh_buf_done(&out);
    }
    pst_charset_done(&c);
}

Test(pst_charset, all_can_be_opened_before)
{
    struct pst_charset c;
    pst_charset_init(&c);
    cr_expect_eq(pst_charset_open_all(&c), 0);
    struct mh_buf out = MH_BUF_INIT;
    cr_expect_eq(pst_charset_add(&c, 932, "\x93\xfa", 2, &out), 0);
    cr_expect_str_eq(mh_buf_str(&out), "日");
    mh_buf_done(&out);
    pst_charset_done(&c);
}

static const unsigned all_pages[] = {
    437,   708,   737,   775,   850,   852,   855,   857,   858,   860,   861,   862,   863,
    864,   865,   866,   869,   874,   932,   936,   949,   950,   1200,  1201,  1250,  1251,
    1252,  1253,  1254,  1255,  1256,  1257,  1258,  1361,  10000, 10001, 10002, 10003, 10007,
    10008, 10017, 10029, 20127, 20866, 20932, 20936, 20949, 21866, 28591, 28592, 28593, 28594,
    28595, 28596, 28597, 28598, 28599, 28600, 28601, 28603, 28604, 28605, 28606, 38598, 50220,
    50221, 50222, 50225, 50227, 51932, 51936, 51949, 51950, 54936, 65000, 65001, 4711};

static const unsigned unknown_pages[] = {0, 1, 42, 1253000, 28602, UINT32_MAX};

Test(pst_charset, known_pages)
{
    for (size_t i = 0; i + 1 < MH_ARRAY_LEN(all_pages); i++)
        cr_expect(pst_charset_is_known(all_pages[i]), "%u", all_pages[i]);
    for (size_t i = 0; i < MH_ARRAY_LEN(unknown_pages); i++)
        cr_expect_not(pst_charset_is_known(unknown_pages[i]), "%u", unknown_pages[i]);
}

static const struct {
    unsigned page;
    uint8_t octet;
    bool is_lead;
} leads[] = {{932, 0x80, false},   {932, 0x81, true},  {932, 0x9f, true},   {932, 0xa0, false},
             {932, 0xdf, false},   {932, 0xe0, true},  {932, 0xfc, true},   {932, 0xfd, false},
             {936, 0x80, false},   {936, 0xa1, true},  {936, 0xff, false},  {936, 'a', false},
             {949, 0xb0, true},    {950, 0xa4, true},  {54936, 0x81, true}, {1252, 0xe4, false},
             {51932, 0xc6, false}, {4711, 0x81, false}};

Test(pst_charset, octets_that_begin_a_character)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(leads); i++)
        cr_expect_eq(pst_charset_is_lead(leads[i].page, leads[i].octet), leads[i].is_lead,
                     "%u, %02x", leads[i].page, leads[i].octet);
    cr_expect(pst_charset_has_ascii(932) && pst_charset_has_ascii(65001));
    cr_expect_not(pst_charset_has_ascii(1200) || pst_charset_has_ascii(50220));
}

static const struct {
    uint32_t point;
    const char *utf8;
    bool is_one;
} points[] = {{'a', "a", true},
              {0x7f, "\x7f", true},
              {0x80, "\xc2\x80", true},
              {0x7ff, "\xdf\xbf", true},
              {0x800, "\xe0\xa0\x80", true},
              {0xd7ff, "\xed\x9f\xbf", true},
              {0xd800, R, false},
              {0xdfff, R, false},
              {0xe000, "\xee\x80\x80", true},
              {0xffff, "\xef\xbf\xbf", true},
              {0x10000, "\xf0\x90\x80\x80", true},
              {0x10ffff, "\xf4\x8f\xbf\xbf", true},
              {0x110000, R, false},
              {UINT32_MAX, R, false}};

Test(pst_charset, points)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(points); i++) {
        struct mh_buf out = MH_BUF_INIT;
        cr_expect_eq(mh_buf_add_utf8(&out, points[i].point), points[i].is_one);
        cr_expect_str_eq(mh_buf_str(&out), points[i].utf8, "%x", points[i].point);
        mh_buf_done(&out);
    }
}

/* Whatever the octets are: UTF-8 comes out, bounded, and U+FFFD only when it was counted. */
Test(pst_charset, random_octets_give_utf8)
{
    uint64_t seed = 3;
    struct pst_charset c;
    pst_charset_init(&c);
    for (size_t i = 0; i < MH_ARRAY_LEN(all_pages); i++) {
        for (int round = 0; round < 300; round++) {
            uint8_t s[200];
            struct mh_buf out = MH_BUF_INIT;
            for (size_t k = 0; k < sizeof s; k++) {
                seed = seed * 6364136223846793005ull + 1442695040888963407ull;
                s[k] = (uint8_t)(seed >> (round % 3 ? 33 : 40));
            }
            size_t len = (seed >> 20) % (sizeof s + 1);
            uint64_t replaced = add(&c, all_pages[i], s, len, &out);
            cr_expect(mh_utf8_valid(mh_buf_str(&out), out.len), "page %u", all_pages[i]);
            cr_expect_leq(out.len, 4 * len, "page %u: %zu from %zu", all_pages[i], out.len, len);
            cr_expect_leq(replaced, len, "page %u", all_pages[i]);
            mh_buf_done(&out);
        }
    }
    pst_charset_done(&c);
}

/* Longer than a piece of the conversion, with the seams at every place within a character. */
Test(pst_charset, long_texts)
{
    struct pst_charset c;
    pst_charset_init(&c);
    for (size_t lead = 0; lead < 7; lead++) {
        struct mh_buf in = MH_BUF_INIT;
        struct mh_buf out = MH_BUF_INIT;
        struct mh_buf expected = MH_BUF_INIT;
        for (size_t i = 0; i < lead; i++)
            mh_buf_addc(&in, '\x5c');
        mh_buf_add(&expected, mh_buf_str(&in), in.len);
        for (int i = 0; i < 20000; i++) {
            mh_buf_adds(&in, "\x93\xfa");
            mh_buf_adds(&expected, "日");
        }
        cr_expect_eq(add(&c, 932, in.data, in.len, &out), 0);
        cr_expect_str_eq(mh_buf_str(&out), mh_buf_str(&expected));
        mh_buf_done(&in);
        mh_buf_done(&out);
        mh_buf_done(&expected);
    }
    pst_charset_done(&c);
}

Test(pst_charset, without_memory)
{
    struct pst_charset c;
    pst_charset_init(&c);
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_buf out = MH_BUF_INIT;
        oom_begin(&o);
        (void)pst_charset_add(&c, 50220, "\x1b$BF|", 5, &out);
        oom_end(&o);
        cr_expect_eq(mh_buf_failed(&out), o.was_reached, "allocation %u", o.nth);
        mh_buf_done(&out);
    }
    pst_charset_done(&c);
}
