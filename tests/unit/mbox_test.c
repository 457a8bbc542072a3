/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Finding and naming messages in an mbox; what is on its disk is tests/conform's. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "connectors/mbox/mbox_priv.h"

/* --- From_ lines ------------------------------------------------------------------------------ */

static const struct {
    const char *line;
    bool is_from;
    int64_t unix_s;
    int zone_min;
} from_cases[] = {
    {"From anna@x Sun Nov 22 12:05:00 2026\n", true, 1795349100, 0},
    {"From anna@x Sun Nov 22 12:05:00 2026\r\n", true, 1795349100, 0},
    {"From anna@x Sun Nov 22 12:05:00 2026", true, 1795349100, 0},
    {"From - Sun Nov 22 12:05:00 2026\n", true, 1795349100, 0},
    {"From anna@x Sun Nov  2 12:05:00 2026\n", true, 1793621100, 0},
    {"From anna@x Sun Nov 22 12:05 2026\n", true, 1795349100, 0},
    {"From anna@x Sun Nov 22 12:05:00 UTC 2026\n", true, 1795349100, 0},
    {"From anna@x Sun Nov 22 13:05:00 2026 +0100\n", true, 1795349100, 60},
    {"From anna@x Sun Nov 22 12:05:00 2026 remote from y\n", true, 1795349100, 0},
    {"From \"a b\" c@x Sun Nov 22 12:05:00 2026\n", true, 1795349100, 0},
    {"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n", true, 0, 0},
    {"From  Sun Nov 22 12:05:00 2026\n", true, 1795349100, 0},
    {"From Nov Nov 22 12:05:00 2026\n", true, 1795349100, 0},
    {"From me to you\n", false, 0, 0},
    {"From the Nov 22 on\n", false, 0, 0},
    {"From anna@x Sun Nov 22 12:05:00\n", false, 0, 0},
    {"From anna@x Sun Nov 32 12:05:00 2026\n", false, 0, 0},
    {"From anna@x Sun Nov 22 25:05:00 2026\n", false, 0, 0},
    {"From anna@x Sun Xyz 22 12:05:00 2026\n", false, 0, 0},
    {"From\n", false, 0, 0},
    {"From \n", false, 0, 0},
    {"from anna@x Sun Nov 22 12:05:00 2026\n", false, 0, 0},
    {">From anna@x Sun Nov 22 12:05:00 2026\n", false, 0, 0},
    {"From: anna@x Sun Nov 22 12:05:00 2026\n", false, 0, 0},
    {" From anna@x Sun Nov 22 12:05:00 2026\n", false, 0, 0},
};

Test(mbox, from_lines)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(from_cases); i++) {
        struct mh_date d = {0};
        bool is_from = mbox_from_line(from_cases[i].line, strlen(from_cases[i].line), &d);
        cr_expect_eq(is_from, from_cases[i].is_from, "%s", from_cases[i].line);
        if (is_from) {
            cr_expect_eq(d.unix_s, from_cases[i].unix_s, "%s: %lld", from_cases[i].line,
                         (long long)d.unix_s);
            cr_expect_eq(d.zone_min, from_cases[i].zone_min, "%s", from_cases[i].line);
        }
    }
}

/* --- idents ----------------------------------------------------------------------------------- */

static uint64_t ident_of(const char *text, size_t len, size_t step)
{
    struct mbox_ident i;
    cr_assert_eq(mbox_ident_init(&i, NULL), 0);
    mbox_ident_start(&i);
    for (size_t at = 0; at < len; at += step)
        mbox_ident_feed(&i, text + at, MH_MIN(step, len - at));
    uint64_t ident = mbox_ident_end(&i);
    mbox_ident_done(&i);
    return ident;
}

/* Texts of one group are one message, of different groups different ones. */
static const struct {
    int group;
    const char *text;
} ident_cases[] = {
    {1, "Subject: a\n\nbody\n"},
    {1, "Subject: a\r\n\r\nbody\r\n"},
    {1, "Subject: a\n\nbody"},
    {1, "Subject: a\n\nbody\n\n\n\r\n"},
    {1, "Status: RO\nSubject: a\n\nbody\n"},
    {1, "Subject: a\nStatus: O\nX-Status: AF\nX-Keywords: a b\n\nbody\n"},
    {1, "Subject: a\nX-Keywords: a\n b\n\tc\nContent-Length: 5\nLines: 1\nX-UID: 7\n\nbody\n"},
    {1, "X-IMAP: 1 2\nSubject: a\nX-Mozilla-Status2: 00000000\nx-mozilla-STATUS: 0001\n\nbody\n"},
    {2, "Subject: a\n\nbody.\n"},
    {3, "Subject: b\n\nbody\n"},
    {4, "Subject: a\n\n\nbody\n"},
    {5, "Subject: a\n\nStatus: RO\nbody\n"},
    {6, "Subject: a\nStatusX: RO\n\nbody\n"},
    {7, "Subject: a\n continued\n\nbody\n"},
    {8, "Subject: a\n\nbo\ndy\n"},
    {9, "Subject: a\n\nbo\rdy\n"},
    {10, ""},
    {10, "\n"},
    {10, "\r\n\r\n"},
    {10, "Status: RO\n"},
    {11, "X"},
    {12, "A-header-name-that-is-longer-than-any-we-know: x\n\nbody\n"},
    {13, "A-header-name-that-is-longer-than-any-we-knew: x\n\nbody\n"},
};

Test(mbox, idents)
{
    uint64_t idents[MH_ARRAY_LEN(ident_cases)];
    for (size_t i = 0; i < MH_ARRAY_LEN(ident_cases); i++) {
        const char *text = ident_cases[i].text;
        size_t len = strlen(text);
        idents[i] = ident_of(text, len, 4096);
        for (size_t step = 1; step < len; step++)
            cr_expect_eq(ident_of(text, len, step), idents[i], "case %zu, step %zu", i, step);
        for (size_t j = 0; j < i; j++)
            cr_expect_eq(idents[i] == idents[j], ident_cases[i].group == ident_cases[j].group,
                         "cases %zu and %zu", j, i);
    }
}

Test(mbox, counts)
{
    struct mbox_counts c = {NULL, 0, 0};
    for (uint32_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 1000; i++) {
            uint32_t nth = 99;
            cr_assert_eq(mbox_counts_add(&c, i * 64, &nth, NULL), 0);
            cr_assert_eq(nth, round);
        }
    }
    mbox_counts_done(&c);
}

/* --- scanning --------------------------------------------------------------------------------- */

#define FROM "From x Sun Nov 22 12:05:00 2026\n"

static const struct scan_case {
    const char *name;
    const char *text;
    size_t n;
    const char *messages[4]; /* their octets in the file */
    uint8_t flags[4];
    const char *keywords[4];
} scan_cases[] = {
    {"empty", "", 0, {NULL}, {0}, {NULL}},
    {"empty lines only", "\n\r\n\n", 0, {NULL}, {0}, {NULL}},
    {"one", FROM "a: b\n\nc\n\n", 1, {"a: b\n\nc\n"}, {0}, {NULL}},
    {"one without the last empty line", FROM "a: b\n\nc\n", 1, {"a: b\n\nc\n"}, {0}, {NULL}},
    {"one without a last line end", FROM "a: b\n\nc", 1, {"a: b\n\nc"}, {0}, {NULL}},
    {"empty lines before", "\n\n" FROM "a\n", 1, {"a\n"}, {0}, {NULL}},
    {"two", FROM "a\n\n" FROM "b\n\n", 2, {"a\n", "b\n"}, {0}, {NULL}},
    {"empty messages", FROM "\n" FROM "\n" FROM, 3, {"", "", ""}, {0}, {NULL}},
    {"CRLF",
     "From x Sun Nov 22 12:05:00 2026\r\na\r\n\r\nFrom x Sun Nov 22 12:05:00 2026\r\nb\r\n\r\n",
     2,
     {"a\r\n", "b\r\n"},
     {0},
     {NULL}},
    {"empty lines at the end stay but one",
     FROM "a\n\n\n\n" FROM "b\n\n\n",
     2,
     {"a\n\n\n", "b\n\n"},
     {0},
     {NULL}},
    {"From without an empty line before it",
     FROM "a\n" FROM "b\n\n",
     1,
     {"a\n" FROM "b\n"},
     {0},
     {NULL}},
    {"From without a date", FROM "a\n\nFrom me\nb\n\n", 1, {"a\n\nFrom me\nb\n"}, {0}, {NULL}},
    {"quoted From", FROM "a\n\n>" FROM "b\n\n", 1, {"a\n\n>" FROM "b\n"}, {0}, {NULL}},
    {"Content-Length lies",
     FROM "Content-Length: 9999\n\nc\n\n" FROM "d\n",
     2,
     {"Content-Length: 9999\n\nc\n", "d\n"},
     {0},
     {NULL}},
    {"cut in a From line", FROM "a\n\nFrom x Sun", 1, {"a\n\nFrom x Sun"}, {0}, {NULL}},
    {"a From line at the end without its end",
     FROM "a\n\nFrom x Sun Nov 22 12:05:00 2026",
     2,
     {"a\n", ""},
     {0},
     {NULL}},
    {"CR at the end", FROM "a\n\r", 1, {"a\n\r"}, {0}, {NULL}},
    {"flags",
     FROM "Status: RO\nX-Status: AF\nX-Keywords: one two   \n\nx\n\n" FROM
          "status:O\nX-Status: DT\n\n"
          "X-Keywords: body\n\n" FROM "a: b\n\nStatus: RO\n",
     3,
     {"Status: RO\nX-Status: AF\nX-Keywords: one two   \n\nx\n",
      "status:O\nX-Status: DT\n\nX-Keywords: body\n", "a: b\n\nStatus: RO\n"},
     {MH_SEEN | MH_ANSWERED | MH_FLAGGED, MH_DELETED | MH_DRAFT, 0},
     {"one two", "", ""}},
};

static void scan_text(const char *text, size_t len, size_t step, struct mbox_scan *s)
{
    struct mh_err err = {0};
    cr_assert_eq(mbox_scan_init(s, NULL), 0);
    for (size_t at = 0; at < len; at += step)
        cr_assert_eq(
            mbox_scan_feed(s, (const unsigned char *)text + at, MH_MIN(step, len - at), &err), 0,
            "%s", err.text);
    cr_assert_eq(mbox_scan_end(s, &err), 0, "%s", err.text);
}

Test(mbox, scan)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(scan_cases); i++) {
        const struct scan_case *c = &scan_cases[i];
        size_t len = strlen(c->text);
        for (size_t step = 1; step < len + 2; step++) {
            struct mbox_scan s;
            scan_text(c->text, len, step, &s);
            cr_assert_eq(s.n, c->n, "%s, step %zu: %zu messages", c->name, step, s.n);
            for (size_t j = 0; j < s.n; j++) {
                const struct mbox_message *m = &s.v[j];
                cr_expect_eq(m->len, strlen(c->messages[j]), "%s, step %zu, message %zu", c->name,
                             step, j);
                cr_expect(memcmp(c->text + m->start, c->messages[j], m->len) == 0, "%s", c->name);
                cr_expect(memcmp(c->text + m->from_at, "From ", 5) == 0, "%s", c->name);
                cr_expect_eq(m->next_at, j + 1 < s.n ? s.v[j + 1].from_at : len, "%s", c->name);
                cr_expect_eq(m->flags, c->flags[j], "%s, message %zu", c->name, j);
                cr_expect_eq(m->date.unix_s, 1795349100, "%s", c->name);
                if (c->keywords[j])
                    cr_expect_str_eq(s.words.data + m->keywords, c->keywords[j]);
                for (size_t k = 0; k < j; k++)
                    cr_expect_neq(m->uid, s.v[k].uid, "%s", c->name);
            }
            mbox_scan_done(&s);
        }
    }
}

static const char *const no_mboxes[] = {"Subject: a\n\nb\n", "x", "\n\nx" FROM, "From me\n\nb\n",
                                        "\x7f\x45\x4c\x46\x02\x01\x01"};

Test(mbox, what_is_no_mbox_is_refused)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(no_mboxes); i++) {
        struct mbox_scan s;
        struct mh_err err = {0};
        cr_assert_eq(mbox_scan_init(&s, NULL), 0);
        size_t len = strlen(no_mboxes[i]);
        int rc = mbox_scan_feed(&s, (const unsigned char *)no_mboxes[i], len, &err);
        if (rc == 0)
            rc = mbox_scan_end(&s, &err);
        cr_expect_eq(rc, MH_EFOLDER, "%s", no_mboxes[i]);
        cr_expect_not_null(strstr(err.text, "no mbox"));
        mbox_scan_done(&s);
    }
}

/* A hostile file: one endless line, and a From_ line that is longer than what is looked at. */
Test(mbox, long_lines)
{
    enum { LONG = 300000 };
    char *text = mh_alloc(LONG + 200);
    struct mbox_scan s;
    int head = sprintf(text, FROM "a: ");
    memset(text + head, 'x', LONG);
    text[head + LONG] = '\0';
    scan_text(text, (size_t)head + LONG, 65536, &s);
    cr_expect_eq(s.n, 1u);
    cr_expect_eq(s.v[0].len, (uint64_t)LONG + 3);
    mbox_scan_done(&s);
    head = sprintf(text, "From x Sun Nov 22 12:05:00 2026 ");
    memset(text + head, 'x', 2000);
    int tail = sprintf(text + head + 2000, "\nbody\n");
    for (size_t step = 1; step < 3000; step += 97) {
        scan_text(text, (size_t)(head + 2000 + tail), step, &s);
        cr_expect_eq(s.n, 1u);
        cr_expect_eq(s.v[0].len, 5u);
        mbox_scan_done(&s);
    }
    mh_free(text);
}
