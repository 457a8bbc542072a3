/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "out_of_memory.h"
#include "pst/rtf.h"
#include "pst_lzfu.h"

enum { ARENA_BYTES = 8 << 20 };

#define RAW(s) (s), sizeof(s) - 1

/* In memory of exactly its size, so that a read behind it is seen. */
static struct pst_verdict unpack(const void *packed, size_t len, struct pst_arena *arena,
                                 struct mh_buf *out)
{
    struct pst_span span;
    uint8_t *exact = malloc(len ? len : 1);
    cr_assert(exact);
    memcpy(exact, packed, len);
    struct pst_verdict v = pst_rtf_unpack(exact, len, arena, &span);
    mh_buf_reset(out);
    mh_buf_add(out, span.n ? (const char *)span.p : "", span.n);
    cr_expect_eq(v.about, 0);
    cr_expect(v.state != PST_LOST || (!span.p && span.n == 0));
    free(exact);
    return v;
}

static void expect(const char *name, const struct mh_buf *packed, enum pst_state state,
                   enum pst_why why, const char *text, size_t len)
{
    struct pst_arena arena;
    struct mh_buf out = MH_BUF_INIT;
    pst_arena_init(&arena, ARENA_BYTES);
    struct pst_verdict v = unpack(mh_buf_str(packed), packed->len, &arena, &out);
    cr_expect_eq(v.state, state, "%s: state %d, why %d", name, v.state, v.why);
    cr_expect_eq(v.why, why, "%s: why %d", name, v.why);
    cr_expect_eq(out.len, len, "%s: %zu octets", name, out.len);
    cr_expect(out.len != len || memcmp(mh_buf_str(&out), text, len) == 0, "%s: \"%s\"", name,
              mh_buf_str(&out));
    mh_buf_done(&out);
    pst_arena_done(&arena);
}

/* --- whole streams ---------------------------------------------------------------------------- */

/* The examples of [MS-OXRTFCP] 3, and small ones. */
static const struct {
    const char *name, *packed;
    size_t len;
    const char *text;
} whole[] = {
    {"the format's first example",
     RAW("\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\x03\0\x0a\0rcpg125B2\x0a\xf3 hel\x09\0 bw"
         "\x05\xb0ld}\x0a\x80\x0f\xa0"),
     "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"},
    {"a reference into what it writes",
     RAW("\x1a\0\0\0\x1c\0\0\0LZFu\xe2\xd4\x4bQA\0\x04 WXYZ\rn}\x01\x0e\xb0"),
     "{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"},
    {"not compressed", RAW("\x15\0\0\0\x09\0\0\0MELA\0\0\0\0{\\rtf1 a}"), "{\\rtf1 a}"},
    {"not compressed, with octets behind it",
     RAW("\x15\0\0\0\x09\0\0\0MELA\0\0\0\0{\\rtf1 a}\0\0\0"), "{\\rtf1 a}"},
    {"not compressed, its head counted in both sizes",
     RAW("\x15\0\0\0\x15\0\0\0MELA\0\0\0\0{\\rtf1 a}"), "{\\rtf1 a}"},
    {"not compressed, its head counted in none", RAW("\x09\0\0\0\x09\0\0\0MELA\0\0\0\0{\\rtf1 a}"),
     "{\\rtf1 a}"},
    {"nothing, not compressed", RAW("\x0c\0\0\0\0\0\0\0MELA\0\0\0\0"), ""},
};

Test(pst_rtf, whole_streams)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(whole); i++) {
        struct mh_buf packed = MH_BUF_INIT;
        mh_buf_add(&packed, whole[i].packed, whole[i].len);
        expect(whole[i].name, &packed, PST_OK, PST_WHY_NONE, whole[i].text, strlen(whole[i].text));
        mh_buf_done(&packed);
    }
}

/* What is not compressed is not copied either. */
Test(pst_rtf, plain_streams_are_borrowed)
{
    static const char packed[] = "\x15\0\0\0\x09\0\0\0MELA\0\0\0\0{\\rtf1 a}";
    struct pst_arena arena;
    struct pst_span span;
    pst_arena_init(&arena, 0);
    struct pst_verdict v = pst_rtf_unpack(packed, sizeof packed - 1, &arena, &span);
    cr_expect_eq(v.state, PST_OK);
    cr_expect_eq((const char *)span.p, packed + LZFU_HEAD_BYTES);
    pst_arena_done(&arena);
}

/* --- written by hand -------------------------------------------------------------------------- */

static const char hello[] = "{\\rtf1\\ansi\\deff0 hello hello hello\\par}";

enum {
    AT_PACKED_SIZE = 0,
    AT_PLAIN_SIZE = 4,
    AT_MARK = 8,
    AT_CRC = 12,
    KEEP = -1,
};

/* HELLO, and what is done to it: a number of the head, the length, octets behind. */
static const struct {
    const char *name;
    int field;
    uint32_t number;
    int cut; /* octets that are missing at its end */
    int padding;
    enum pst_state state;
    enum pst_why why;
    bool is_whole;
} damages[] = {
    {"octets behind it", KEEP, 0, 0, 5, PST_OK, PST_WHY_NONE, true},
    {"another CRC", AT_CRC, 0x12345678, 0, 0, PST_SUSPECT, PST_WHY_CRC, true},
    {"another CRC, octets behind it", AT_CRC, 0, 0, 9, PST_SUSPECT, PST_WHY_CRC, true},
    {"says to be shorter", AT_PACKED_SIZE, 20, 0, 0, PST_SUSPECT, PST_WHY_SIZE, true},
    {"says to be longer", AT_PACKED_SIZE, 2000, 0, 0, PST_SUSPECT, PST_WHY_SIZE, true},
    {"says to be endless", AT_PACKED_SIZE, UINT32_MAX, 0, 0, PST_SUSPECT, PST_WHY_SIZE, true},
    {"says to be less than a head", AT_PACKED_SIZE, 3, 0, 0, PST_SUSPECT, PST_WHY_SIZE, true},
    {"says to hold less", AT_PLAIN_SIZE, 3, 0, 0, PST_SUSPECT, PST_WHY_SIZE, true},
    {"says to hold more", AT_PLAIN_SIZE, 300, 0, 0, PST_SUSPECT, PST_WHY_SIZE, true},
    {"says to hold 4 GB", AT_PLAIN_SIZE, UINT32_MAX, 0, 0, PST_SUSPECT, PST_WHY_SIZE, true},
    {"no mark, but a CRC", AT_MARK, 0, 0, 0, PST_SUSPECT, PST_WHY_TYPE, true},
    {"no mark, cut", AT_MARK, 0, 1, 0, PST_LOST, PST_WHY_TYPE, false},
    {"its last octet is missing", KEEP, 0, 1, 0, PST_SUSPECT, PST_WHY_SIZE, true},
    {"a third of it is missing", KEEP, 0, 12, 0, PST_SUSPECT, PST_WHY_SIZE, false},
};

Test(pst_rtf, damaged_streams)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(damages); i++) {
        struct mh_buf packed = MH_BUF_INIT;
        struct mh_buf out = MH_BUF_INIT;
        struct pst_arena arena;
        pst_arena_init(&arena, ARENA_BYTES);
        lzfu_pack(hello, sizeof hello - 1, &packed);
        packed.len -= (size_t)damages[i].cut;
        if (damages[i].field != KEEP)
            pst_put_u32((uint8_t *)packed.data + damages[i].field, damages[i].number);
        for (int k = 0; k < damages[i].padding; k++)
            mh_buf_addc(&packed, 'x');
        struct pst_verdict v = unpack(packed.data, packed.len, &arena, &out);
        cr_expect_eq(v.state, damages[i].state, "%s: %d", damages[i].name, v.state);
        cr_expect_eq(v.why, damages[i].why, "%s: %d", damages[i].name, v.why);
        if (damages[i].is_whole)
            cr_expect_str_eq(mh_buf_str(&out), hello, "%s", damages[i].name);
        else
            cr_expect(out.len < sizeof hello - 1 && memcmp(mh_buf_str(&out), hello, out.len) == 0,
                      "%s", damages[i].name);
        cr_expect(v.state == PST_LOST || out.len > 10, "%s", damages[i].name);
        mh_buf_done(&packed);
        mh_buf_done(&out);
        pst_arena_done(&arena);
    }
}

static const struct {
    const char *name, *packed;
    size_t len;
    enum pst_state state;
    enum pst_why why;
    const char *text;
} strange[] = {
    {"nothing", RAW(""), PST_LOST, PST_WHY_SIZE, ""},
    {"half a head", RAW("\x2d\0\0\0\x2b\0\0\0LZFu"), PST_LOST, PST_WHY_SIZE, ""},
    {"a head alone", RAW("\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7"), PST_SUSPECT, PST_WHY_SIZE,
     ""},
    {"something else", RAW("\x2d\0\0\0\x2b\0\0\0ZZZZ\xf1\xc5\xc7\xa7nothing"), PST_LOST,
     PST_WHY_TYPE, ""},
    {"RTF as it is", RAW("{\\rtf1 a}"), PST_SUSPECT, PST_WHY_TYPE, "{\\rtf1 a}"},
    {"RTF behind a head without a mark", RAW("\x15\0\0\0\x09\0\0\0....\0\0\0\0{\\rtf1 a}"),
     PST_SUSPECT, PST_WHY_TYPE, "{\\rtf1 a}"},
    {"not compressed, cut", RAW("\x15\0\0\0\x09\0\0\0MELA\0\0\0\0{\\rtf1"), PST_SUSPECT,
     PST_WHY_SIZE, "{\\rtf1"},
    {"not compressed, says to be shorter", RAW("\x10\0\0\0\x09\0\0\0MELA\0\0\0\0{\\rtf1 a}"),
     PST_SUSPECT, PST_WHY_SIZE, "{\\rtf1 a}"},
    {"not compressed, says to hold 4 GB", RAW("\x15\0\0\0\xff\xff\xff\xffMELA\0\0\0\0{\\rtf1 a}"),
     PST_SUSPECT, PST_WHY_SIZE, "{\\rtf1 a}"},
};

Test(pst_rtf, strange_streams)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(strange); i++) {
        struct mh_buf packed = MH_BUF_INIT;
        mh_buf_add(&packed, strange[i].packed, strange[i].len);
        expect(strange[i].name, &packed, strange[i].state, strange[i].why, strange[i].text,
               strlen(strange[i].text));
        mh_buf_done(&packed);
    }
}

/* Writers that leave the end out fill the last run up: no octet of that is text. */
Test(pst_rtf, without_an_end)
{
    struct lzfu z = LZFU_INIT;
    struct mh_buf packed = MH_BUF_INIT;
    lzfu_text(&z, hello, sizeof hello - 1);
    lzfu_finish(&z, &packed);
    expect("no end", &packed, PST_OK, PST_WHY_NONE, hello, sizeof hello - 1);
    mh_buf_reset(&packed);
    lzfu_text(&z, hello, sizeof hello - 1);
    uint64_t written = z.written;
    lzfu_literal(&z, '\0');
    lzfu_literal(&z, '\0');
    z.written = written;
    lzfu_finish(&z, &packed);
    expect("filled up", &packed, PST_OK, PST_WHY_NONE, hello, sizeof hello - 1);
    mh_buf_done(&packed);
}

/* A reference to where nothing was written yet: zeros, as in a ring that was cleared. */
Test(pst_rtf, references_to_nothing)
{
    struct lzfu z = LZFU_INIT;
    struct mh_buf packed = MH_BUF_INIT;
    lzfu_literal(&z, 'a');
    lzfu_reference(&z, 1000, 4);
    lzfu_literal(&z, 'b');
    lzfu_reference(&z, 0, 2);
    lzfu_finish(&z, &packed);
    expect("nothing there", &packed, PST_SUSPECT, PST_WHY_SIZE, RAW("a\0\0\0\0b"));
    mh_buf_done(&packed);
}

/* References of every length to every distance, around the ring several times. */
Test(pst_rtf, around_the_ring)
{
    struct lzfu z = LZFU_INIT;
    struct mh_buf packed = MH_BUF_INIT;
    struct mh_buf text = MH_BUF_INIT;
    mh_buf_adds(&text, lzfu_preset);
    for (unsigned back = 1; back < LZFU_RING_BYTES; back++) {
        while (text.len < back) {
            char c = (char)('a' + text.len * 7 % 26);
            mh_buf_addc(&text, c);
            lzfu_literal(&z, c);
        }
        unsigned n = 2 + back % 16;
        lzfu_reference(&z, back, n);
        for (unsigned i = 0; i < n; i++)
            mh_buf_addc(&text, text.data[text.len - back]);
    }
    lzfu_reference(&z, 0, 2);
    lzfu_finish(&z, &packed);
    expect("ring", &packed, PST_OK, PST_WHY_NONE, text.data + strlen(lzfu_preset),
           text.len - strlen(lzfu_preset));
    mh_buf_done(&packed);
    mh_buf_done(&text);
}

/* --- any RTF ---------------------------------------------------------------------------------- */

static uint32_t random_below(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((*seed >> 33) % n);
}

static void random_rtf(uint64_t *seed, size_t len, struct mh_buf *out)
{
    static const char *const words[] = {"\\par\r\n", "\\f1\\fs20 ", "{\\*\\htmltag64 ", "}",
                                        "\\'e4",     "hello ",      "\\pard\\plain",    "aaaaaaaa"};
    mh_buf_adds(out, "{\\rtf1");
    while (out->len < len) {
        if (random_below(seed, 4) == 0)
            mh_buf_addc(out, (char)random_below(seed, 256));
        else
            mh_buf_adds(out, words[random_below(seed, MH_ARRAY_LEN(words))]);
    }
}

Test(pst_rtf, random_texts_round_trip)
{
    uint64_t seed = 7;
    for (int round = 0; round < 60; round++) {
        struct mh_buf rtf = MH_BUF_INIT;
        struct mh_buf packed = MH_BUF_INIT;
        random_rtf(&seed, random_below(&seed, round < 55 ? 600 : 20000), &rtf);
        lzfu_pack(rtf.data, rtf.len, &packed);
        expect("random", &packed, PST_OK, PST_WHY_NONE, rtf.data, rtf.len);
        mh_buf_done(&rtf);
        mh_buf_done(&packed);
    }
}

/* What was cut off anywhere: as much of the text as its octets tell, and never more. */
Test(pst_rtf, every_prefix)
{
    uint64_t seed = 11;
    struct pst_arena arena;
    struct mh_buf rtf = MH_BUF_INIT;
    struct mh_buf packed = MH_BUF_INIT;
    struct mh_buf out = MH_BUF_INIT;
    size_t before = 0;
    pst_arena_init(&arena, ARENA_BYTES);
    random_rtf(&seed, 3000, &rtf);
    lzfu_pack(rtf.data, rtf.len, &packed);
    for (size_t len = 0; len < packed.len; len++) {
        struct pst_mark mark = pst_arena_mark(&arena);
        struct pst_verdict v = unpack(packed.data, len, &arena, &out);
        cr_expect_eq(v.state, len < LZFU_HEAD_BYTES ? PST_LOST : PST_SUSPECT, "%zu", len);
        cr_expect_eq(v.why, PST_WHY_SIZE, "%zu", len);
        cr_expect(out.len >= before && out.len <= rtf.len, "%zu", len);
        cr_expect(memcmp(mh_buf_str(&out), rtf.data, out.len) == 0, "%zu", len);
        before = out.len;
        pst_arena_return(&arena, mark);
    }
    cr_expect_eq(before, rtf.len);
    mh_buf_done(&rtf);
    mh_buf_done(&packed);
    mh_buf_done(&out);
    pst_arena_done(&arena);
}

/* Every octet changed once: never taken for whole when it reads differently. */
Test(pst_rtf, every_octet_changed)
{
    struct pst_arena arena;
    struct mh_buf packed = MH_BUF_INIT;
    struct mh_buf out = MH_BUF_INIT;
    pst_arena_init(&arena, ARENA_BYTES);
    lzfu_pack(hello, sizeof hello - 1, &packed);
    for (size_t i = 0; i < packed.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct pst_mark mark = pst_arena_mark(&arena);
            packed.data[i] ^= (char)(1u << bit);
            struct pst_verdict v = unpack(packed.data, packed.len, &arena, &out);
            cr_expect_neq(v.state, PST_OK, "octet %zu, bit %u", i, bit);
            cr_expect(i >= LZFU_HEAD_BYTES || strcmp(mh_buf_str(&out), hello) == 0, "octet %zu", i);
            packed.data[i] ^= (char)(1u << bit);
            pst_arena_return(&arena, mark);
        }
    }
    mh_buf_done(&packed);
    mh_buf_done(&out);
    pst_arena_done(&arena);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void expect_lost(const struct mh_buf *packed, size_t arena_bytes, enum pst_why why)
{
    struct pst_arena arena;
    struct mh_buf out = MH_BUF_INIT;
    pst_arena_init(&arena, arena_bytes);
    struct pst_verdict v = unpack(packed->data, packed->len, &arena, &out);
    cr_expect_eq(v.state, PST_LOST);
    cr_expect_eq(v.why, why);
    cr_expect_eq(arena.held_bytes, 0);
    mh_buf_done(&out);
    pst_arena_done(&arena);
}

Test(pst_rtf, an_arena_that_is_too_small)
{
    struct mh_buf packed = MH_BUF_INIT;
    lzfu_pack(hello, sizeof hello - 1, &packed);
    expect_lost(&packed, 200, PST_WHY_MEMORY);
    mh_buf_done(&packed);
}

/* More than a body may have: counted, and no memory asked for. */
Test(pst_rtf, more_than_a_body_may_have)
{
    struct lzfu z = LZFU_INIT;
    struct mh_buf packed = MH_BUF_INIT;
    lzfu_literal(&z, 'a');
    while (z.written < PST_RTF_MAX_BYTES + sizeof lzfu_preset)
        lzfu_reference(&z, 1, LZFU_MATCH_MAX);
    lzfu_finish(&z, &packed);
    expect_lost(&packed, SIZE_MAX, PST_WHY_LIMIT);
    mh_buf_done(&packed);
}

Test(pst_rtf, without_memory)
{
    struct mh_buf packed = MH_BUF_INIT;
    lzfu_pack(hello, sizeof hello - 1, &packed);
    for (struct oom o = {0}; oom_next(&o);) {
        struct pst_arena arena;
        struct pst_span span;
        pst_arena_init(&arena, ARENA_BYTES);
        oom_begin(&o);
        struct pst_verdict v = pst_rtf_unpack(packed.data, packed.len, &arena, &span);
        oom_end(&o);
        cr_expect_eq(v.state, o.was_reached ? PST_LOST : PST_OK);
        cr_expect_eq(v.why, o.was_reached ? PST_WHY_MEMORY : PST_WHY_NONE);
        pst_arena_done(&arena);
    }
    mh_buf_done(&packed);
}
