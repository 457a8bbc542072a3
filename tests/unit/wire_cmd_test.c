/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include <string.h>

#include "base/mem.h"
#include "wire/cmd.h"

/* --- strings --------------------------------------------------------------------------------- */

#define BYTES(s) s, sizeof(s) - 1

Test(wire_cmd, strings)
{
    static const struct {
        const char *name;
        const char *s;
        size_t len;
        enum mh_literal_mode literals;
        bool utf8;
        const char *text;
        unsigned n_breaks;
        bool failed;
    } cases[] = {
        {"plain", BYTES("INBOX"), MH_LITERAL_SYNC, false, "\"INBOX\"", 0, false},
        {"empty", BYTES(""), MH_LITERAL_SYNC, false, "\"\"", 0, false},
        {"blanks", BYTES(" a b "), MH_LITERAL_SYNC, false, "\" a b \"", 0, false},
        {"escapes", BYTES("a\"b\\c"), MH_LITERAL_SYNC, false, "\"a\\\"b\\\\c\"", 0, false},
        {"what an atom could not hold", BYTES("(*%{3})"), MH_LITERAL_SYNC, false, "\"(*%{3})\"", 0,
         false},
        {"escape code", BYTES("a\x1b[2J"), MH_LITERAL_SYNC, false, "\"a\x1b[2J\"", 0, false},
        {"CR", BYTES("a\rb"), MH_LITERAL_SYNC, false, "{3}\r\na\rb", 1, false},
        {"an injected command", BYTES("a\"\r\nA2 DELETE \"b"), MH_LITERAL_SYNC, false,
         "{16}\r\na\"\r\nA2 DELETE \"b", 1, false},
        {"LF, LITERAL-", BYTES("a\nb"), MH_LITERAL_MINUS, false, "{3+}\r\na\nb", 0, false},
        {"LF, LITERAL+", BYTES("a\nb"), MH_LITERAL_PLUS, false, "{3+}\r\na\nb", 0, false},
        {"8 bit", BYTES("\xc3\xbc"), MH_LITERAL_PLUS, false, "{2+}\r\n\xc3\xbc", 0, false},
        {"8 bit, UTF8=ACCEPT", BYTES("\xc3\xbc"), MH_LITERAL_PLUS, true, "\"\xc3\xbc\"", 0, false},
        {"no UTF-8, UTF8=ACCEPT", BYTES("\xfc"), MH_LITERAL_PLUS, true, "{1+}\r\n\xfc", 0, false},
        {"NUL", BYTES("a\0b"), MH_LITERAL_PLUS, true, "", 0, true},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_cmd c;
        mh_cmd_init(&c, cases[i].literals);
        c.utf8 = cases[i].utf8;
        mh_cmd_string(&c, cases[i].s, cases[i].len);
        cr_expect_str_eq(mh_buf_str(&c.text), cases[i].text, "%s", cases[i].name);
        cr_expect_eq(c.n_breaks, cases[i].n_breaks, "%s", cases[i].name);
        cr_expect_eq(c.failed, cases[i].failed, "%s", cases[i].name);
        mh_cmd_done(&c);
    }
}

/* Never unasked, whatever the server has: see cmd.h. */
Test(wire_cmd, octets)
{
    static const enum mh_literal_mode modes[] = {MH_LITERAL_SYNC, MH_LITERAL_MINUS,
                                                 MH_LITERAL_PLUS};
    for (size_t i = 0; i < 2 * MH_ARRAY_LEN(modes); i++) {
        struct mh_cmd c;
        bool is_literal8 = i % 2 == 0;
        mh_cmd_init(&c, modes[i / 2]);
        mh_cmd_octets(&c, BYTES("a\0\r\nb"), is_literal8);
        mh_cmd_raw(&c, ")");
        cr_expect_not(c.failed);
        size_t marker = is_literal8 ? 6 : 5;
        cr_assert_eq(c.text.len, marker + 5 + 1);
        cr_expect_eq(memcmp(c.text.data, "~{5}\r\na\0\r\nb)" + !is_literal8, c.text.len), 0);
        cr_expect(c.n_breaks == 1 && c.breaks[0] == marker);
        mh_cmd_reset(&c);
        for (unsigned k = 0; k <= MH_CMD_BREAKS_MAX; k++)
            mh_cmd_octets(&c, "", 0, is_literal8);
        cr_expect(c.failed && c.n_breaks == MH_CMD_BREAKS_MAX);
        mh_cmd_done(&c);
    }
}

Test(wire_cmd, long_strings_become_literals)
{
    char s[5000];
    memset(s, 'x', sizeof s);
    struct mh_cmd c;
    mh_cmd_init(&c, MH_LITERAL_MINUS);
    mh_cmd_string(&c, s, 1000);
    cr_expect_eq(c.text.len, 1002);
    mh_cmd_reset(&c);
    mh_cmd_string(&c, s, 4096);
    cr_expect_eq(strncmp(c.text.data, "{4096+}\r\n", 9), 0);
    cr_expect_eq(c.n_breaks, 0u);
    mh_cmd_reset(&c);
    mh_cmd_string(&c, s, 4097); /* too long for LITERAL- */
    cr_expect_eq(strncmp(c.text.data, "{4097}\r\n", 8), 0);
    cr_expect_eq(c.n_breaks, 1u);
    cr_expect_eq(c.breaks[0], 8u);
    mh_cmd_done(&c);
}

Test(wire_cmd, breaks_are_behind_the_markers)
{
    struct mh_cmd c;
    mh_cmd_init(&c, MH_LITERAL_SYNC);
    mh_cmd_raw(&c, "A1 RENAME ");
    mh_cmd_string(&c, "a\n", 2);
    mh_cmd_raw(&c, " ");
    mh_cmd_string(&c, "b\n", 2);
    mh_cmd_end(&c);
    cr_expect_str_eq(c.text.data, "A1 RENAME {2}\r\na\n {2}\r\nb\n\r\n");
    cr_assert_eq(c.n_breaks, 2u);
    for (unsigned i = 0; i < 2; i++)
        cr_expect_eq(strncmp(c.text.data + c.breaks[i] - 5, "{2}\r\n", 5), 0);
    cr_expect_not(c.failed);
    mh_cmd_reset(&c);
    for (unsigned i = 0; i <= MH_CMD_BREAKS_MAX; i++)
        mh_cmd_string(&c, "\n", 1);
    cr_expect(c.failed, "more breaks than there is room for");
    cr_expect_eq(c.n_breaks, (unsigned)MH_CMD_BREAKS_MAX);
    mh_cmd_reset(&c);
    cr_expect(!c.failed && c.n_breaks == 0 && c.text.len == 0);
    mh_cmd_done(&c);
}

Test(wire_cmd, raw_text_cannot_end_a_line)
{
    static const char *const bad[] = {"a\r\nA2 LOGOUT", "a\nb", "a\rb"};
    for (size_t i = 0; i < MH_ARRAY_LEN(bad); i++) {
        struct mh_cmd c;
        mh_cmd_init(&c, MH_LITERAL_PLUS);
        mh_cmd_raw(&c, bad[i]);
        cr_expect(c.failed);
        cr_expect_eq(c.text.len, 0u);
        mh_cmd_reset(&c);
        mh_cmd_rawf(&c, "A1 ID (\"name\" \"%s\")", bad[i]);
        cr_expect(c.failed);
        cr_expect_eq(c.text.len, 0u);
        mh_cmd_done(&c);
    }
}

Test(wire_cmd, formatted)
{
    struct mh_cmd c;
    mh_cmd_init(&c, MH_LITERAL_PLUS);
    mh_cmd_rawf(&c, "A%u UID FETCH %d:*", 7u, 9);
    cr_expect_str_eq(c.text.data, "A7 UID FETCH 9:*");
    mh_cmd_reset(&c);
    mh_cmd_rawf(&c, "%0700d", 5);
    cr_expect_eq(c.text.len, 700u);
    cr_expect_eq(c.text.data[699], '5');
    cr_expect_not(c.failed);
    mh_cmd_done(&c);
}

/* --- sets ------------------------------------------------------------------------------------ */

Test(wire_cmd, uid_sets)
{
    static const struct {
        const char *name;
        uint64_t uids[8];
        size_t n;
        const char *text;
        bool failed;
    } cases[] = {
        {"one", {7}, 1, "7", false},
        {"a range", {1, 2, 3}, 3, "1:3", false},
        {"two", {1, 2}, 2, "1:2", false},
        {"mixed", {1, 2, 3, 5, 7, 8, 10}, 7, "1:3,5,7:8,10", false},
        {"the largest", {4294967294, 4294967295}, 2, "4294967294:4294967295", false},
        {"too large", {4294967295, 4294967296}, 2, NULL, true},
        {"zero", {0}, 1, NULL, true},
        {"none", {0}, 0, NULL, true},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_cmd c;
        mh_cmd_init(&c, MH_LITERAL_PLUS);
        mh_cmd_uid_set(&c, cases[i].uids, cases[i].n);
        cr_expect_eq(c.failed, cases[i].failed, "%s", cases[i].name);
        if (cases[i].text)
            cr_expect_str_eq(mh_buf_str(&c.text), cases[i].text, "%s", cases[i].name);
        mh_cmd_done(&c);
    }
}

static int collect(void *ctx, uint32_t lo, uint32_t hi)
{
    mh_buf_addf(ctx, "[%u %u]", lo, hi);
    return hi == 666 ? MH_ECANCEL : 0;
}

Test(wire_cmd, uid_set_parse)
{
    static const struct {
        const char *set;
        const char *ranges;
        int rc;
    } cases[] = {
        {"7", "[7 7]", 0},
        {"1:5,7", "[1 5][7 7]", 0},
        {"5:1", "[1 5]", 0},
        {"3,1,2:2", "[3 3][1 1][2 2]", 0},
        {"4294967295", "[4294967295 4294967295]", 0},
        {"666,7", "[666 666]", MH_ECANCEL},
        {"", "", MH_EMAILBOX},
        {"0", "", MH_EMAILBOX},
        {"1,", "[1 1]", MH_EMAILBOX},
        {",1", "", MH_EMAILBOX},
        {"1:", "", MH_EMAILBOX},
        {":1", "", MH_EMAILBOX},
        {"1:2:3", "", MH_EMAILBOX},
        {"*", "", MH_EMAILBOX},
        {"1:*", "", MH_EMAILBOX},
        {"4294967296", "", MH_EMAILBOX},
        {"1 2", "", MH_EMAILBOX},
        {"-1", "", MH_EMAILBOX},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_buf ranges = MH_BUF_INIT;
        struct mh_err err;
        int rc = mh_uid_set_parse(cases[i].set, strlen(cases[i].set), collect, &ranges, &err);
        cr_expect_eq(rc, cases[i].rc, "\"%s\"", cases[i].set);
        cr_expect_str_eq(mh_buf_str(&ranges), cases[i].ranges, "\"%s\"", cases[i].set);
        mh_buf_done(&ranges);
    }
}

struct walk {
    const uint64_t *uids;
    size_t at;
};

static int walk_range(void *ctx, uint32_t lo, uint32_t hi)
{
    struct walk *w = ctx;
    for (uint64_t uid = lo; uid <= hi; uid++) {
        if (w->uids[w->at++] != uid)
            return MH_ENOENT;
    }
    return 0;
}

Test(wire_cmd, a_set_that_was_written_reads_back)
{
    enum { N = 20000 };
    static uint64_t uids[N];
    uint32_t state = 1;
    uint64_t uid = 0;
    for (size_t i = 0; i < N; i++) {
        state = state * 1664525u + 1013904223u;
        uid += 1 + (state >> 31) * (state >> 24);
        uids[i] = uid;
    }
    struct mh_cmd c;
    mh_cmd_init(&c, MH_LITERAL_PLUS);
    mh_cmd_uid_set(&c, uids, N);
    struct walk w = {uids, 0};
    struct mh_err err;
    cr_assert_not(c.failed);
    cr_expect_eq(mh_uid_set_parse(c.text.data, c.text.len, walk_range, &w, &err), 0);
    cr_expect_eq(w.at, (size_t)N);
    mh_cmd_done(&c);
}

/* --- APPEND ---------------------------------------------------------------------------------- */

Test(wire_cmd, append_parts)
{
    static const char date[] = "17-Jul-1996 02:44:25 -0700";
    static const struct {
        const char *name;
        const char *flags;
        const char *date;
        uint64_t octets;
        enum mh_literal_mode literals;
        const char *text; /* NULL: failed */
        bool sync;
    } cases[] = {
        {"all", "\\Seen kw", date, 4000, MH_LITERAL_PLUS,
         " (\\Seen kw) \"17-Jul-1996 02:44:25 -0700\" {4000+}\r\n", false},
        {"no flags", "", date, 1, MH_LITERAL_SYNC, " \"17-Jul-1996 02:44:25 -0700\" {1}\r\n", true},
        {"nothing", NULL, NULL, 0, MH_LITERAL_PLUS, " {0+}\r\n", false},
        {"blank flags", "  ", "", 3, MH_LITERAL_PLUS, " {3+}\r\n", false},
        {"LITERAL-, 4096", NULL, NULL, 4096, MH_LITERAL_MINUS, " {4096+}\r\n", false},
        {"LITERAL-, 4097", NULL, NULL, 4097, MH_LITERAL_MINUS, " {4097}\r\n", true},
        {"beyond 4 GiB", NULL, NULL, 5000000000, MH_LITERAL_PLUS, " {5000000000+}\r\n", false},
        {"keywords", "$Forwarded NonJunk [x", NULL, 1, MH_LITERAL_PLUS,
         " ($Forwarded NonJunk [x) {1+}\r\n", false},
        {"line end in a flag", "\\Seen\r\nA2", NULL, 1, MH_LITERAL_PLUS, NULL, true},
        {"bare CR in a flag", "a\rb", NULL, 1, MH_LITERAL_PLUS, NULL, true},
        {"parenthesis in a flag", "a) {0+}", NULL, 1, MH_LITERAL_PLUS, NULL, true},
        {"quote in a flag", "a\"b", NULL, 1, MH_LITERAL_PLUS, NULL, true},
        {"8-bit keyword", "w\xc3\xa4hrung", NULL, 1, MH_LITERAL_PLUS, NULL, true},
        {"wildcard", "\\*", NULL, 1, MH_LITERAL_PLUS, NULL, true},
        {"backslash alone", "\\ a", NULL, 1, MH_LITERAL_PLUS, NULL, true},
        {"backslash inside", "a\\b", NULL, 1, MH_LITERAL_PLUS, NULL, true},
        {"quote in a date", NULL, "1\" {3+}", 1, MH_LITERAL_PLUS, NULL, true},
        {"line end in a date", NULL, "1\n", 1, MH_LITERAL_PLUS, NULL, true},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_cmd c;
        bool sync = !cases[i].sync;
        mh_cmd_init(&c, cases[i].literals);
        mh_cmd_append_part(&c, cases[i].flags, cases[i].date, cases[i].octets, &sync);
        cr_expect_eq(c.failed, cases[i].text == NULL, "%s", cases[i].name);
        cr_expect_str_eq(mh_buf_str(&c.text), cases[i].text ? cases[i].text : "", "%s",
                         cases[i].name);
        cr_expect_eq(sync, cases[i].sync, "%s", cases[i].name);
        cr_expect_eq(c.n_breaks, 0u, "%s", cases[i].name);
        mh_cmd_done(&c);
    }
}

Test(wire_cmd, append_as_utf8_data)
{
    struct mh_cmd c;
    bool sync = false;
    mh_cmd_init(&c, MH_LITERAL_MINUS);
    mh_cmd_append_part_utf8(&c, "\\Seen", NULL, 9000, &sync);
    cr_expect_str_eq(mh_buf_str(&c.text), " (\\Seen) UTF8 (~{9000}\r\n");
    cr_expect(sync);
    mh_cmd_done(&c);
}

Test(wire_cmd, out_of_memory_is_a_failed_command)
{
    struct mh_cmd c;
    bool sync = false;
    for (unsigned step = 0; step < 5; step++) {
        uint64_t uid = 5;
        mh_cmd_init(&c, MH_LITERAL_PLUS);
        mh_mem_fail_nth(1);
        switch (step) {
        case 0:
            mh_cmd_raw(&c, "A1 NOOP");
            break;
        case 1:
            mh_cmd_string(&c, "a", 1);
            break;
        case 2:
            mh_cmd_uid_set(&c, &uid, 1);
            break;
        case 3:
            mh_cmd_append_part(&c, NULL, NULL, 1, &sync);
            break;
        default:
            mh_cmd_rawf(&c, "%0700d", 5);
            break;
        }
        mh_mem_fail_nth(0);
        cr_expect(c.failed, "step %u", step);
        mh_cmd_done(&c);
    }
}
