/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "base/str.h"
#include "mail/file_form.h"

#define TEXT(s) (s), sizeof(s) - 1

static void scan_in_steps(const char *data, size_t len, size_t step, struct mh_form_scan *s)
{
    *s = (struct mh_form_scan){0};
    for (size_t i = 0; i < len; i += step)
        mh_form_scan_feed(s, data + i, MH_MIN(step, len - i));
}

static void change_in_steps(unsigned flags, const char *data, size_t len, size_t step,
                            struct mh_buf *out)
{
    struct mh_form f = {.flags = flags};
    struct mh_form_seg seg;
    mh_buf_reset(out);
    for (size_t i = 0; i < len; i += step) {
        size_t part = MH_MIN(step, len - i);
        for (size_t at = 0; at < part;) {
            size_t taken = mh_form_next(&f, (const unsigned char *)data + i + at, part - at, &seg);
            cr_assert(taken >= 1 && taken <= part - at);
            mh_buf_add(out, seg.before, seg.before_len);
            mh_buf_add(out, seg.data, seg.len);
            mh_buf_add(out, seg.after, seg.after_len);
            at += taken;
        }
    }
    mh_form_end(&f, &seg);
    mh_buf_add(out, seg.before, seg.before_len);
    mh_buf_add(out, seg.data, seg.len);
    mh_buf_add(out, seg.after, seg.after_len);
}

static const struct {
    const char *name, *data;
    size_t len;
    uint64_t bare_lf, crlf, quoted;
    bool is_unix;
} scans[] = {
    {"empty", TEXT(""), 0, 0, 0, false},
    {"no line end", TEXT("abc"), 0, 0, 0, false},
    {"LF", TEXT("a\nb\n"), 2, 0, 0, true},
    {"CRLF", TEXT("a\r\nb\r\n"), 0, 2, 0, false},
    {"mixed", TEXT("a\r\nb\n"), 1, 1, 0, false},
    {"CR only", TEXT("a\rb\r"), 0, 0, 0, false},
    {"CR CR LF", TEXT("a\r\r\n"), 0, 1, 0, false},
    {"LF CR", TEXT("a\n\r"), 1, 0, 0, true},
    {"quoted", TEXT(">From a\n>>From b\n>>>>>From c"), 2, 0, 3, true},
    {"a From line is not quoted", TEXT("From a\n From b\nx>From c\n"), 3, 0, 0, true},
    {"nearly quoted", TEXT(">Fro a\n>From\n> From \n>from \n>\n"), 5, 0, 0, true},
    {"quoted at the very end", TEXT(">From "), 0, 0, 1, false},
};

Test(mail_file_form, scan)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(scans); i++) {
        for (size_t step = 1; step < scans[i].len + 2; step++) {
            struct mh_form_scan s;
            scan_in_steps(scans[i].data, scans[i].len, step, &s);
            cr_expect_eq(s.octets, scans[i].len, "%s", scans[i].name);
            cr_expect_eq(s.bare_lf, scans[i].bare_lf, "%s, step %zu", scans[i].name, step);
            cr_expect_eq(s.crlf, scans[i].crlf, "%s, step %zu", scans[i].name, step);
            cr_expect_eq(s.quoted, scans[i].quoted, "%s, step %zu", scans[i].name, step);
            cr_expect_eq(mh_form_scan_is_unix(&s), scans[i].is_unix, "%s", scans[i].name);
        }
    }
}

static const struct {
    const char *name;
    unsigned flags;
    const char *in;
    size_t in_len;
    const char *out;
    size_t out_len;
} changes[] = {
    {"nothing to do", 0, TEXT("a\n>From b\r\n"), TEXT("a\n>From b\r\n")},
    {"to CRLF", MH_FORM_TO_CRLF, TEXT("a\n\nb"), TEXT("a\r\n\r\nb")},
    {"quote", MH_FORM_QUOTE, TEXT("From a\n>From b\nFro\nFrom\n"),
     TEXT(">From a\n>>From b\nFro\nFrom\n")},
    {"unquote", MH_FORM_UNQUOTE, TEXT(">From a\n>>From b\n>Fro\n>>>\nFrom c\n"),
     TEXT("From a\n>From b\n>Fro\n>>>\nFrom c\n")},
    {"quote, cut in From", MH_FORM_QUOTE, TEXT(">>Fro"), TEXT(">>Fro")},
    {"unquote, cut in From", MH_FORM_UNQUOTE, TEXT(">>Fro"), TEXT(">>Fro")},
    {"unquote, only quotes", MH_FORM_UNQUOTE, TEXT(">>>"), TEXT(">>>")},
    {"unquote and CRLF", MH_FORM_UNQUOTE | MH_FORM_TO_CRLF, TEXT("a\n>From b\n>F\n"),
     TEXT("a\r\nFrom b\r\n>F\r\n")},
    {"NUL", MH_FORM_UNQUOTE, TEXT(">From \0\n\0"), TEXT("From \0\n\0")},
};

Test(mail_file_form, change)
{
    struct mh_buf out = MH_BUF_INIT;
    for (size_t i = 0; i < MH_ARRAY_LEN(changes); i++) {
        for (size_t step = 1; step < changes[i].in_len + 2; step++) {
            change_in_steps(changes[i].flags, changes[i].in, changes[i].in_len, step, &out);
            cr_expect_eq(out.len, changes[i].out_len, "%s, step %zu", changes[i].name, step);
            cr_expect(
                memcmp(mh_buf_str(&out), changes[i].out, MH_MIN(out.len, changes[i].out_len)) == 0,
                "%s, step %zu: %s", changes[i].name, step, mh_buf_str(&out));
        }
    }
    mh_buf_done(&out);
}

/* For random text in random steps: quoting and unquoting is the identity, what is announced is what
 * comes, and LF to CRLF is the plain definition. */
Test(mail_file_form, random)
{
    static const char alphabet[] = "\n\n\n>>>FFrom From \r>x";
    struct mh_buf quoted = MH_BUF_INIT;
    struct mh_buf back = MH_BUF_INIT;
    uint64_t seed = 4242;
    for (int round = 0; round < 50000; round++) {
        char text[64];
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        size_t len = (seed >> 33) % sizeof text;
        size_t step1 = 1 + (seed >> 40) % 9;
        size_t step2 = 1 + (seed >> 50) % 9;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            text[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        change_in_steps(MH_FORM_QUOTE, text, len, step1, &quoted);
        change_in_steps(MH_FORM_UNQUOTE, mh_buf_str(&quoted), quoted.len, step2, &back);
        cr_assert_eq(back.len, len);
        cr_assert(memcmp(mh_buf_str(&back), text, len) == 0);
        for (size_t i = 0; i + 5 <= quoted.len; i++)
            if (i == 0 || quoted.data[i - 1] == '\n')
                cr_assert(memcmp(quoted.data + i, "From ", 5) != 0, "a separator was written");
        struct mh_form_scan s;
        scan_in_steps(mh_buf_str(&quoted), quoted.len, step2, &s);
        unsigned flags = MH_FORM_UNQUOTE | (mh_form_scan_is_unix(&s) ? MH_FORM_TO_CRLF : 0u);
        change_in_steps(flags, mh_buf_str(&quoted), quoted.len, step1, &back);
        cr_assert_eq(back.len, mh_form_octets(&s, flags), "announced %llu, came %zu",
                     (unsigned long long)mh_form_octets(&s, flags), back.len);
    }
    mh_buf_done(&quoted);
    mh_buf_done(&back);
}
