/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "wire/header.h"

static const char *const fields[] = {"Message-ID", "Subject", "Date", NULL};
enum { MESSAGE_ID, SUBJECT, DATE };

/* --- values ---------------------------------------------------------------------------------- */

#define BYTES(s) s, sizeof(s) - 1

static const struct header_case {
    const char *name;
    const char *bytes;
    size_t len;
    const char *values; /* "i:value|" for each value in the order of the fields */
    bool ended;
} cases[] = {
    {"plain", BYTES("Subject: hi\r\nMessage-ID: <1@x>\r\n\r\nDate: body\r\n"), "0:<1@x>|1:hi|",
     true},
    {"bare LF", BYTES("Subject: hi\nDate: d\n\nDate: body\n"), "1:hi|2:d|", true},
    {"mixed line ends", BYTES("Subject: hi\nDate: d\r\nMessage-ID: m\n\r\nDate: x"),
     "0:m|1:hi|2:d|", true},
    {"CR CR LF", BYTES("Subject: hi\r\r\nDate: d\r\r\n\r\r\nDate: x\r\r\n"), "1:hi|2:d|", true},
    {"folded", BYTES("Subject: a\r\n b\r\n\tc\r\nDate:\r\n d\r\n\r\n"), "1:a b\tc|2:d|", true},
    {"folded, bare LF", BYTES("Subject: a\n  b\n\n"), "1:a  b|", true},
    {"folded with a line of blanks", BYTES("Subject: a\r\n   \r\n b\r\n\r\n"), "1:a    b|", true},
    {"blanks around", BYTES("Subject:  \t a b  \t\r\n\r\n"), "1:a b|", true},
    {"blank before the colon", BYTES("Subject : a\r\nDate \t: d\r\n\r\n"), "1:a|2:d|", true},
    {"any case", BYTES("SUBJECT: a\r\nmessage-id:b\r\n\r\n"), "0:b|1:a|", true},
    {"empty value", BYTES("Subject:\r\nDate: \r\n\r\n"), "1:|2:|", true},
    {"repeated", BYTES("Subject: a\r\nSubject: b\r\nsubject: c\r\n\r\n"), "1:a|1:b|1:c|", true},
    {"colons in the value", BYTES("Date: 12:30:59\r\n\r\n"), "2:12:30:59|", true},
    {"fields of others",
     BYTES("X-Subject: no\r\nSubjects: no\r\nSub: no\r\nReceived: a\r\n Subject: no\r\n"
           "Subject: yes\r\n\r\n"),
     "1:yes|", true},
    {"a folded line that belongs to nothing", BYTES(" Subject: no\r\n\tx\r\nSubject: a\r\n\r\n"),
     "1:a|", true},
    {"junk lines",
     BYTES("From x Mon Jan 1\r\nfoo bar\r\n: no name\r\nSubject: a\r\njunk\r\n more\r\n"
           "Date: d\r\n\r\n"),
     "1:a|2:d|", true},
    {"8-bit", BYTES("Subj\xc3\xa9: no\r\nSubject: \xc3\xa9\xff\r\n\r\n"), "1:\xc3\xa9\xff|", true},
    {"NUL and bare CR", BYTES("Subject: a\0b\rc\r\nDate: \0\r\n\r\n"), "1:ab c|2:|", true},
    {"a name and a bare LF", BYTES("Subject\nDate: d\n\n"), "2:d|", true},
    {"no header", BYTES("\r\nSubject: a\r\n"), "", true},
    {"a line that starts with CR", BYTES("\rSubject: no\r\nSubject: a\r\n\r\n"), "1:a|", true},
    {"cut in a value", BYTES("Subject: a\r\nDate: d "), "1:a|2:d|", false},
    {"cut in a name", BYTES("Subject: a\r\nDat"), "1:a|", false},
    {"cut behind the last field", BYTES("Subject: a\r\n"), "1:a|", false},
    {"nothing", BYTES(""), "", false},
    {"a name without end",
     BYTES("SubjectSubjectSubjectSubjectSubjectSubjectSubjectSubjectSubjectSubjectSubject: a\r\n"
           "Subject: b\r\n\r\n"),
     "1:b|", true},
};

static void add_values(const struct mh_header_scan *h, struct mh_buf *out)
{
    for (unsigned i = 0; fields[i]; i++) {
        const char *value = NULL;
        for (unsigned nth = 0; (value = mh_header_scan_value(h, i, nth)); nth++)
            mh_buf_addf(out, "%u:%s|", i, value);
    }
}

Test(wire_header, values)
{
    struct mh_header_scan *h = NULL;
    struct mh_err err;
    cr_assert_eq(mh_header_scan_new(fields, &h, &err), 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        const struct header_case *c = &cases[i];
        for (size_t piece = 1; piece <= c->len + 1; piece++) {
            struct mh_buf got = MH_BUF_INIT;
            bool more = true;
            mh_header_scan_reset(h);
            for (size_t at = 0; at < c->len; at += piece)
                more = mh_header_scan_feed(h, c->bytes + at, MH_MIN(piece, c->len - at));
            add_values(h, &got);
            cr_expect_str_eq(mh_buf_str(&got), c->values, "%s in pieces of %zu", c->name, piece);
            cr_expect_eq(!more, c->ended, "%s in pieces of %zu", c->name, piece);
            mh_buf_done(&got);
        }
    }
    mh_header_scan_free(h);
}

static void feed(struct mh_header_scan *h, const char *s)
{
    (void)mh_header_scan_feed(h, s, strlen(s));
}

Test(wire_header, long_values_are_cut)
{
    struct mh_header_scan *h = NULL;
    struct mh_err err;
    cr_assert_eq(mh_header_scan_new(fields, &h, &err), 0);
    feed(h, "Subject: ");
    for (size_t i = 0; i < MH_HEADER_VALUE_MAX_BYTES; i++)
        feed(h, i == MH_HEADER_VALUE_MAX_BYTES - 1 ? "y" : "x");
    feed(h, "zzz\r\n zzz\r\nDate: d\r\n\r\n");
    const char *subject = mh_header_scan_value(h, SUBJECT, 0);
    cr_assert(subject);
    cr_expect_eq(strlen(subject), MH_HEADER_VALUE_MAX_BYTES);
    cr_expect_eq(subject[MH_HEADER_VALUE_MAX_BYTES - 1], 'y');
    cr_expect_str_eq(mh_header_scan_value(h, DATE, 0), "d");
    mh_header_scan_free(h);
}

/* Blanks, values and bytes without end: bounded, and what came first is kept. */
Test(wire_header, hostile_headers_are_bounded)
{
    struct mh_header_scan *h = NULL;
    struct mh_err err;
    cr_assert_eq(mh_header_scan_new(fields, &h, &err), 0);
    uint64_t calls = mh_mem_calls();
    feed(h, "Subject: a");
    for (size_t i = 0; i < 3 * MH_HEADER_KEEP_MAX_BYTES; i++)
        feed(h, " ");
    feed(h, "b\r\n");
    cr_expect_str_eq(mh_header_scan_value(h, SUBJECT, 0), "a");
    unsigned n = 0;
    for (unsigned i = 0; i < 1000; i++)
        feed(h, "Message-ID: <1@x>\r\n");
    while (mh_header_scan_value(h, MESSAGE_ID, n))
        n++;
    cr_expect_eq(n, MH_HEADER_VALUES_MAX - 1);
    mh_header_scan_reset(h);
    size_t kept = 0;
    for (unsigned i = 0; i < 100; i++) {
        feed(h, "Subject: ");
        for (size_t k = 0; k < 1000; k++)
            feed(h, "x");
        feed(h, "\r\n");
    }
    for (n = 0; mh_header_scan_value(h, SUBJECT, n); n++)
        kept += strlen(mh_header_scan_value(h, SUBJECT, n)) + 1;
    cr_expect_leq(kept, MH_HEADER_KEEP_MAX_BYTES);
    cr_expect_geq(kept, MH_HEADER_KEEP_MAX_BYTES - 1002);
    cr_expect_eq(mh_mem_calls(), calls, "the scan allocates");
    mh_header_scan_free(h);
}

Test(wire_header, reset_forgets_and_absent_is_null)
{
    struct mh_header_scan *h = NULL;
    struct mh_err err;
    cr_assert_eq(mh_header_scan_new(fields, &h, &err), 0);
    cr_expect_null(mh_header_scan_value(h, SUBJECT, 0));
    feed(h, "Subject: a\r\n\r\n");
    cr_expect_not(mh_header_scan_feed(h, "Date: d\r\n", 9));
    cr_expect_null(mh_header_scan_value(h, DATE, 0));
    mh_header_scan_reset(h);
    cr_expect_null(mh_header_scan_value(h, SUBJECT, 0));
    feed(h, "Date: d\r\n\r\n");
    cr_expect_str_eq(mh_header_scan_value(h, DATE, 0), "d");
    cr_expect_null(mh_header_scan_value(h, DATE, 1));
    mh_header_scan_free(h);
    mh_header_scan_free(NULL);
    mh_mem_fail_nth(1);
    cr_expect_eq(mh_header_scan_new(fields, &h, &err), MH_ERUN);
    mh_mem_fail_nth(0);
}

/* --- oddities -------------------------------------------------------------------------------- */

static const struct oddity_case {
    const char *name;
    const char *bytes;
    size_t len;
    struct mh_oddities want;
} oddity_cases[] = {
    {"ordinary",
     BYTES("Subject: a\r\n\r\nbody text\r\n"),
     {.longest_line = 10, .has_header = true, .has_final_newline = true}},
    {"nothing", BYTES(""), {.longest_line = 0}},
    {"one byte", BYTES("x"), {.longest_line = 1}},
    {"bare LF",
     BYTES("A: b\n\nc\r\nd\n"),
     {.bare_lf = 3, .longest_line = 4, .has_header = true, .has_final_newline = true}},
    {"bare CR",
     BYTES("A: b\r\n\r\nc\rd\r\re\r\n\r"),
     {.bare_cr = 4, .longest_line = 6, .has_header = true}},
    {"CR CR LF",
     BYTES("A: b\r\r\n"),
     {.bare_cr = 1, .longest_line = 5, .has_header = true, .has_final_newline = true}},
    {"NUL", BYTES("A: \0\0\r\n\r\nx\0y"), {.nul_bytes = 3, .longest_line = 5, .has_header = true}},
    {"8-bit header",
     BYTES("A: \xc3\xbc\r\nB: \xff\r\n\r\n\xc3\xbc\r\n"),
     {.eight_bit_header = 3, .longest_line = 5, .has_header = true, .has_final_newline = true}},
    {"no header",
     BYTES("hello world: x\r\nA: b\r\n\r\n"),
     {.longest_line = 14, .has_final_newline = true}},
    {"no colon at all", BYTES("hello\r\n"), {.longest_line = 5, .has_final_newline = true}},
    {"empty line first", BYTES("\r\nA: b\r\n"), {.longest_line = 4, .has_final_newline = true}},
    {"no name", BYTES(": b\r\n"), {.longest_line = 3, .has_final_newline = true}},
    {"blank before the colon",
     BYTES("A : b\r\n"),
     {.longest_line = 5, .has_header = true, .has_final_newline = true}},
    {"folded line first", BYTES(" A: b\r\n"), {.longest_line = 5, .has_final_newline = true}},
    {"8-bit name",
     BYTES("\xc3\xbc: b\r\n"),
     {.eight_bit_header = 2, .longest_line = 5, .has_final_newline = true}},
    {"only line ends", BYTES("\r\n\n\r\n"), {.bare_lf = 1, .has_final_newline = true}},
    {"last line is the longest",
     BYTES("A: b\r\n\r\nlong without an end"),
     {.longest_line = 19, .has_header = true}},
};

static void expect_oddities(const struct oddity_case *c, size_t piece)
{
    struct mh_oddity_scan s;
    mh_oddity_start(&s);
    for (size_t at = 0; at < c->len; at += piece)
        mh_oddity_feed(&s, c->bytes + at, MH_MIN(piece, c->len - at));
    mh_oddity_end(&s);
    const struct mh_oddities *got = &s.found;
    cr_expect_eq(got->nul_bytes, c->want.nul_bytes, "%s/%zu", c->name, piece);
    cr_expect_eq(got->bare_lf, c->want.bare_lf, "%s/%zu", c->name, piece);
    cr_expect_eq(got->bare_cr, c->want.bare_cr, "%s/%zu", c->name, piece);
    cr_expect_eq(got->eight_bit_header, c->want.eight_bit_header, "%s/%zu", c->name, piece);
    cr_expect_eq(got->longest_line, c->want.longest_line, "%s/%zu", c->name, piece);
    cr_expect_eq(got->has_header, c->want.has_header, "%s/%zu", c->name, piece);
    cr_expect_eq(got->has_final_newline, c->want.has_final_newline, "%s/%zu", c->name, piece);
}

Test(wire_header, oddities)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(oddity_cases); i++) {
        for (size_t piece = 1; piece <= oddity_cases[i].len + 1; piece++)
            expect_oddities(&oddity_cases[i], piece);
    }
}
