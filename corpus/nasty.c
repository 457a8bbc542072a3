/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nasty.h"
#include "mime.h"
#include "prng.h"
#include "special.h"

#include <string.h>

enum {
    LONG_LINE_BYTES = 1 << 20, /* fault row 20 */
    LONG_FIELD_BYTES = 64 << 10,
    HUGE_HEADER_BYTES = 256 << 10,
    MANY_FIELDS = 3000,
    MANY_RECIPIENTS = 5000,
    MANY_REFERENCES = 2000,
    MANY_PARTS = 2000,
    DEEP_PARTS = 100,
    VERY_DEEP_PARTS = 1000,
    DEEP_MESSAGES = 30,
};

typedef void case_writer(struct mhc_buf *, struct mhc_prng *, struct mhc_date);

struct nasty_case {
    const char *name;
    const char *fields;   /* further header lines, LF for CRLF; behind the standard ones */
    const char *body;     /* LF for CRLF */
    case_writer *rest;    /* what follows the standard header, where `body` is NULL */
    struct mhc_date date; /* of INTERNALDATE, where has_date */
    uint32_t copies;      /* byte-identical ones; 0 means 1 */
    bool is_whole;        /* `body` or `rest` is all there is: no standard header */
    bool has_all_flags;
    bool has_date;
};

static void english(struct mhc_buf *buf, struct mhc_prng *prng, size_t want)
{
    mhc_text_lines(buf, prng, mhc_text_language(0), false, want);
}

static void standard_header(struct mhc_buf *buf, const char *name, struct mhc_date date)
{
    char when[MHC_DATE_SIZE];
    mhc_buf_printf(buf,
                   "From: Awkward Sender <awkward@example.com>\r\nTo: owner@example.com\r\n"
                   "Subject: awkward: %s\r\nMessage-ID: <%s@awkward.example>\r\nDate: %s\r\n",
                   name, name, mhc_date_rfc5322(when, date));
}

/* --- octets that IMAP or a store treats in its own way --- */

static void nul_in_body(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    static const char text[] = "\r\nbefore\0after\r\n\0\0\0\r\n";
    mhc_buf_add(buf, text, sizeof(text) - 1);
    english(buf, prng, 200);
}

static void nul_in_header(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    static const char text[] = "X-Nul: a\0b\r\n\r\n";
    mhc_buf_add(buf, text, sizeof(text) - 1);
    english(buf, prng, 100);
}

static void bare_cr(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "\r\nold\rMac\rlines\r\rand then\r\n");
    english(buf, prng, 100);
}

/* Every line of the message ends in LF alone, the header's too. */
static void bare_lf(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    struct mhc_buf whole = {0};
    standard_header(&whole, "bare-lf", date);
    mhc_buf_puts(&whole, "\r\n");
    english(&whole, prng, 300);
    for (size_t i = 0; i < whole.len; i++) {
        if (whole.data[i] != '\r') {
            mhc_buf_putc(buf, whole.data[i]);
        }
    }
    mhc_buf_done(&whole);
}

static void mixed_line_ends(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    mhc_buf_puts(buf, "X-One: lf\nX-Two: crlf\r\n\r\nlf\ncrlf\r\ncr\rcrcrlf\r\r\nlfcr\n\rend\n");
}

static void all_octets(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    mhc_buf_puts(buf, "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
                      "Content-Transfer-Encoding: binary\r\n\r\n");
    for (int octet = 255; octet >= 0; octet--) {
        mhc_buf_putc(buf, (char)octet);
    }
    mhc_buf_puts(buf, "\r\n");
}

static void utf16_raw(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    static const char text[] = "\xff\xfeH\0e\0l\0l\0o\0\r\0\n\0g\0r\0\xfc\0n\0\r\0\n";
    mhc_buf_puts(buf, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-16le\r\n"
                      "Content-Transfer-Encoding: binary\r\n\r\n");
    mhc_buf_add(buf, text, sizeof(text)); /* with the closing NUL: the high half of its LF */
    mhc_buf_puts(buf, "\r\n");
}

static void utf16_base64(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    static const char text[] = "\xfe\xff\0G\0r\0\xfc\0\xdf\0e\0\r\0\n";
    mhc_buf_puts(buf, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-16\r\n"
                      "Content-Transfer-Encoding: base64\r\n\r\n");
    mhc_mime_base64(buf, text, sizeof(text) - 1);
}

static void yenc(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "\r\n=ybegin line=128 size=1280 name=binary.dat\r\n");
    for (int line = 0; line < 10; line++) {
        for (int column = 0; column < 128; column++) {
            unsigned char octet = (unsigned char)mhc_prng_next(prng);
            bool is_critical = octet == 0 || octet == '\n' || octet == '\r' || octet == '=';
            mhc_buf_putc(buf, (char)(is_critical ? octet + 64 : octet));
        }
        mhc_buf_puts(buf, "\r\n");
    }
    mhc_buf_puts(buf, "=yend size=1280\r\n");
}

/* --- sizes and counts --- */

static void long_line(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    mhc_buf_puts(buf, "\r\nThe next line has 1 MiB.\r\n");
    mhc_buf_fill(buf, 'L', LONG_LINE_BYTES);
    mhc_buf_puts(buf, "\r\n");
}

static void long_html_line(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>");
    for (size_t end = buf->len + LONG_FIELD_BYTES; buf->len < end;) {
        mhc_buf_printf(buf, "<td class=\"c%u\">é</td>", mhc_prng_below(prng, 100));
    }
    mhc_buf_puts(buf, "</html>\r\n");
}

static void long_field(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "X-Long: ");
    mhc_buf_fill(buf, 'h', LONG_FIELD_BYTES);
    mhc_buf_puts(buf, "\r\n\r\n");
    english(buf, prng, 100);
}

static void huge_header(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "X-Huge:\r\n");
    for (size_t end = buf->len + HUGE_HEADER_BYTES; buf->len < end;) {
        mhc_buf_printf(buf, "\tfolded %016llx\r\n", (unsigned long long)mhc_prng_next(prng));
    }
    mhc_buf_puts(buf, "\r\nbody\r\n");
}

static void many_fields(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    for (int i = 0; i < MANY_FIELDS; i++) {
        mhc_buf_printf(buf, "X-Field-%d: %d\r\n", i, i);
    }
    mhc_buf_puts(buf, "\r\nbody\r\n");
}

static void many_recipients(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "Cc: first@example.com");
    for (int i = 0; i < MANY_RECIPIENTS; i++) {
        mhc_buf_puts(buf, ",\r\n ");
        mhc_mime_address(buf, mhc_text_person(prng));
    }
    mhc_buf_puts(buf, "\r\n\r\nbody\r\n");
}

static void many_references(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "References:");
    for (int i = 0; i < MANY_REFERENCES; i++) {
        mhc_buf_printf(buf, "\r\n <%016llx@example.com>", (unsigned long long)mhc_prng_next(prng));
    }
    mhc_buf_puts(buf, "\r\n\r\nbody\r\n");
}

/* --- MIME --- */

static void nested_parts(struct mhc_buf *buf, unsigned levels)
{
    mhc_buf_puts(buf, "MIME-Version: 1.0\r\n");
    for (unsigned level = 0; level < levels; level++) {
        mhc_buf_printf(buf, "Content-Type: multipart/mixed; boundary=\"b%u\"\r\n\r\n--b%u\r\n",
                       level, level);
    }
    mhc_buf_puts(buf, "Content-Type: text/plain\r\n\r\nthe bottom\r\n");
    while (levels > 0) {
        mhc_buf_printf(buf, "--b%u--\r\n", --levels);
    }
}

static void deep_parts(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    nested_parts(buf, DEEP_PARTS);
}

static void very_deep_parts(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    nested_parts(buf, VERY_DEEP_PARTS);
}

static void many_parts(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)prng;
    (void)date;
    mhc_buf_puts(buf, "MIME-Version: 1.0\r\n");
    mhc_mime_multipart(buf, "mixed", "many", "");
    for (int i = 0; i < MANY_PARTS; i++) {
        mhc_buf_printf(buf, "--many\r\nContent-Type: text/plain\r\n\r\npart %d\r\n", i);
    }
    mhc_mime_end(buf, "many");
}

static void nested_messages(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "MIME-Version: 1.0\r\n");
    mhc_special_nested_messages(buf, prng, 3);
}

static void deep_messages(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    (void)date;
    mhc_buf_puts(buf, "MIME-Version: 1.0\r\n");
    mhc_special_nested_messages(buf, prng, DEEP_MESSAGES);
}

/* Makes a case writer of one of the bodies of special.h. */
#define SPECIAL_CASE(name, call)                                                                   \
    static void name(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)             \
    {                                                                                              \
        (void)date;                                                                                \
        mhc_buf_puts(buf, "MIME-Version: 1.0\r\n");                                                \
        call;                                                                                      \
    }

SPECIAL_CASE(dsn, mhc_special_dsn(buf, prng, date))
SPECIAL_CASE(mdn, mhc_special_mdn(buf, prng))
SPECIAL_CASE(arf, mhc_special_arf(buf, prng))
SPECIAL_CASE(invite, mhc_special_invite(buf, prng, date, "REQUEST"))
SPECIAL_CASE(cancel, mhc_special_invite(buf, prng, date, "CANCEL"))
SPECIAL_CASE(smime_signed, mhc_special_smime_signed(buf, prng))
SPECIAL_CASE(smime_enveloped, mhc_special_smime_enveloped(buf, prng))
SPECIAL_CASE(pgp_mime, mhc_special_pgp_mime(buf, prng))
SPECIAL_CASE(pgp_inline, mhc_special_pgp_inline(buf, prng))
SPECIAL_CASE(tnef, mhc_special_tnef(buf, prng))

#define MULTIPART(boundary)                                                                        \
    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=" boundary "\n"
#define DATED(seconds, zone) .has_date = true, .date = {seconds, zone}

static const struct nasty_case cases[] = {
    /* Fault row 20: line ends, NUL, lengths, missing halves. */
    {.name = "nul-in-body", .rest = nul_in_body},
    {.name = "nul-in-header", .rest = nul_in_header},
    {.name = "bare-cr", .rest = bare_cr},
    {.name = "bare-lf", .rest = bare_lf, .is_whole = true},
    {.name = "mixed-line-ends", .rest = mixed_line_ends},
    {.name = "all-octets", .rest = all_octets},
    {.name = "line-1mib", .rest = long_line},
    {.name = "html-one-line", .rest = long_html_line},
    {.name = "field-64kib", .rest = long_field},
    {.name = "header-8bit-utf8", .fields = "X-Note: schöne Grüße\n", .body = "8-bit above\n"},
    {.name = "header-8bit-latin1",
     .fields = "X-Note: sch\xf6ne Gr\xfc\xdf"
               "e\n",
     .body = "8-bit above\n"},
    {.name = "header-iso-2022-jp",
     .fields = "X-Note: \x1b$B2q5D\x1b(B\n",
     .body = "escapes above\n"},
    {.name = "body-8bit-no-mime", .body = "caf\xe9 cr\xe8me\nnaïve mixture\n"},
    {.name = "no-header",
     .body = "There is no header in this message.\nIndeed not: one.\n",
     .is_whole = true},
    {.name = "no-header-blank-first", .body = "\nThe first line was blank.\n", .is_whole = true},
    {.name = "empty-body", .body = ""},
    {.name = "headers-only",
     .body = "From: awkward@example.com\nSubject: no blank line follows\n",
     .is_whole = true},
    {.name = "header-unfinished",
     .body = "From: awkward@example.com\nSubject: not even a line e",
     .is_whole = true},
    {.name = "no-final-newline", .body = "last line without an end"},
    {.name = "ends-in-cr", .body = "last line ends in half\r"},
    {.name = "only-crlf", .body = "\n", .is_whole = true},
    {.name = "blank-lines", .body = "\n\n\n\n\n\n\n\n", .is_whole = true},
    {.name = "trailing-blanks", .body = "spaces   \ntabs\t\t\n \n\t\n"},
    /* Text that means something to a protocol or a file format. */
    {.name = "content-length-too-big",
     .fields = "Content-Length: 999999999\nLines: 100000\n",
     .body = "short\n"},
    {.name = "content-length-too-small",
     .fields = "Content-Length: 3\nLines: 0\n",
     .body = "more than three\n"},
    {.name = "imap-text",
     .body = "A001 OK done\n)\n* 1 FETCH (FLAGS (\\Seen) UID 1)\n* BYE\nA002 NO [OVERQUOTA]\n)\n"},
    {.name = "imap-continuation", .body = "+ go ahead\n+ \n+\n+ OK\n"},
    {.name = "imap-literals", .body = "{1000000}\n{4294967297+}\n~{5}\n* 1 FETCH (BODY[] {10}\n"},
    {.name = "dot-lines", .body = ".\n..\n.\n.end\n.\n"},
    {.name = "from-lines",
     .body = "From awkward@example.com Tue Jul  1 12:00:00 2025\n>From x\n>>From y\n\nFrom z\n"},
    {.name = "mbox-fields",
     .fields = "Status: RO\nX-Status: AF\nX-UID: 17\nX-Keywords: Junk\nX-TUID: abcdefghijkl\n",
     .body = "fields of mbox files\n"},
    {.name = "control-characters",
     .fields = "X-Title: \x1b]0;gotcha\a\x1b[2J\n",
     .body = "\x1b[31mred\x1b[0m \b\b\b\x7f\x0c\x1a\n"},
    /* Headers. */
    {.name = "huge-header", .rest = huge_header},
    {.name = "many-fields", .rest = many_fields},
    {.name = "many-recipients", .rest = many_recipients},
    {.name = "many-references", .rest = many_references},
    {.name = "no-message-id",
     .body = "From: a@example.com\nSubject: nameless\nDate: Tue, 01 Jul 2025 12:00:00 +0000\n\nno "
             "Message-ID\n",
     .is_whole = true},
    {.name = "no-from-no-date", .body = "Subject: nobody, never\n\nbody\n", .is_whole = true},
    {.name = "repeated-id-1",
     .body = "From: a@example.com\nSubject: one\nMessage-ID: <same@awkward.example>\n\nfirst\n",
     .is_whole = true},
    {.name = "repeated-id-2",
     .body = "From: b@example.com\nSubject: two\nMessage-ID: <same@awkward.example>\n\nsecond\n",
     .is_whole = true},
    {.name = "repeated-id-3",
     .body = "From: a@example.com\nSubject: one\nMessage-ID: <same@awkward.example>\n\nFirst\n",
     .is_whole = true},
    {.name = "repeated-fields",
     .fields = "Subject: a second subject\nFrom: other@example.com\nMessage-ID: "
               "<other@awkward.example>\nDate: never\n",
     .body = "which one?\n"},
    {.name = "empty-fields",
     .fields = "Cc:\nX-Empty:\nX-Blank:    \nReferences:\n",
     .body = "nothing above\n"},
    {.name = "folding",
     .fields = "X-Folded: one\n \n\ttwo\n  \n three\nX-Fold-First:\n value\n",
     .body = "folded\n"},
    {.name = "broken-fields",
     .fields = "X Space: in the name\n: no name\nNoColonHere\nX-Tab\t: tab\n",
     .body = "broken above\n"},
    {.name = "garbage-dates",
     .fields = "Resent-Date: Foo, 99 Bar 20255 25:61:61 +9999\nReceived: from nowhere\n",
     .body = "when?\n"},
    {.name = "encoded-words-broken",
     .fields = "Comments: =?utf-8?B?Zm9v =?utf-8?Q?=C3?= =?nope?X?a?= =?utf-8?B?//8=?=\n",
     .body = "broken words\n"},
    {.name = "bidi-override", .fields = "X-File: \xe2\x80\xaegnp.exe\n", .body = "right to left\n"},
    /* MIME. */
    {.name = "boundary-unclosed",
     .fields = MULTIPART("\"open\""),
     .body = "--open\n\npart one\n--open\n\npart two, no end\n"},
    {.name = "boundary-missing", .fields = MULTIPART("\"never\""), .body = "no such line below\n"},
    {.name = "boundary-prefix",
     .fields = MULTIPART("\"ab\""),
     .body =
         "--ab\nContent-Type: multipart/mixed; boundary=abc\n\n--abc\n\ninner\n--abc--\n--ab--\n"},
    {.name = "boundary-empty", .fields = MULTIPART("\"\""), .body = "--\n\nwhat?\n----\n"},
    {.name = "part-empty", .fields = MULTIPART("z"), .body = "--z\n--z\n\n--z\n\n\n--z--\n"},
    {.name = "mime-deep-100", .rest = deep_parts},
    {.name = "mime-deep-1000", .rest = very_deep_parts},
    {.name = "mime-parts-2000", .rest = many_parts},
    {.name = "charset-unknown",
     .fields = "MIME-Version: 1.0\nContent-Type: text/plain; charset=x-klingon\n",
     .body = "nuqneH\n"},
    {.name = "charset-lie",
     .fields = "MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n",
     .body = "caf\xe9, 8-bit all the same\n"},
    {.name = "encoding-unknown",
     .fields = "MIME-Version: 1.0\nContent-Transfer-Encoding: x-uue2\n",
     .body = "as it is\n"},
    {.name = "base64-broken",
     .fields = "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n",
     .body = "Zm9v!!\n===\nYmFyA\n"},
    {.name = "utf16-raw", .rest = utf16_raw},
    {.name = "utf16-base64", .rest = utf16_base64},
    {.name = "file-name-path",
     .fields =
         "MIME-Version: 1.0\nContent-Disposition: attachment; filename=\"../../../etc/passwd\"\n",
     .body = "root:x\n"},
    {.name = "file-name-rfc2231",
     .fields = "MIME-Version: 1.0\nContent-Disposition: attachment;\n "
               "filename*0*=utf-8''na%C3%AF;\n filename*1=\"ve.txt\"\n",
     .body = "continued\n"},
    {.name = "format-flowed",
     .fields = "MIME-Version: 1.0\nContent-Type: text/plain; format=flowed; delsp=yes\n",
     .body = "flowing \ntext \n> quoted \n-- \nsignature\n"},
    {.name = "message-partial",
     .fields = "MIME-Version: 1.0\nContent-Type: message/partial; id=\"p@example.com\"; number=2; "
               "total=3\n",
     .body = "the middle\n"},
    {.name = "external-body",
     .fields = "MIME-Version: 1.0\nContent-Type: message/external-body; access-type=local-file; "
               "name=\"/etc/passwd\"\n",
     .body = "Content-Type: text/plain\n\n"},
    {.name = "digest",
     .fields = "MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=d\n",
     .body = "--d\n\nSubject: one\n\n1\n--d\n\nSubject: two\n\n2\n--d--\n"},
    {.name = "uuencode", .body = "begin 644 hello.txt\n.2&5L;&\\L('=O<FQD(0H*\n`\nend\n"},
    {.name = "yenc", .rest = yenc},
    {.name = "nested-messages", .rest = nested_messages},
    {.name = "nested-messages-30", .rest = deep_messages},
    {.name = "dsn", .rest = dsn},
    {.name = "mdn", .rest = mdn},
    {.name = "arf", .rest = arf},
    {.name = "invitation", .rest = invite},
    {.name = "cancellation", .rest = cancel},
    {.name = "smime-signed", .rest = smime_signed},
    {.name = "smime-enveloped", .rest = smime_enveloped},
    {.name = "pgp-mime", .rest = pgp_mime},
    {.name = "pgp-inline", .rest = pgp_inline},
    {.name = "winmail-dat", .rest = tnef},
    /* What stands beside the bytes. */
    {.name = "twin", .body = "one of eight, byte for byte\n", .copies = 8},
    {.name = "all-flags", .body = "every flag, every keyword\n", .has_all_flags = true},
    {.name = "date-1969", .body = "before the epoch\n", DATED(-3600, 0)},
    {.name = "date-1970", .body = "the epoch\n", DATED(0, 0)},
    {.name = "date-2038", .body = "one past 2^31\n", DATED(INT64_C(2147483648), 0)},
    {.name = "date-2099", .body = "far ahead\n", DATED(INT64_C(4102444799), 0)},
    {.name = "zone-plus-1400", .body = "Kiritimati\n", DATED(1609459200, 840)},
    {.name = "zone-minus-1200", .body = "Baker Island\n", DATED(1609459200, -720)},
    {.name = "zone-plus-0545", .body = "Kathmandu\n", DATED(1609459200, 345)},
    {.name = "zone-minus-0330", .body = "St. John's\n", DATED(1609459200, -210)},
    {.name = "zone-plus-1345", .body = "Chatham, in summer\n", DATED(1609459200, 825)},
    {.name = "zone-minus-0025", .body = "Dublin, 1915\n", DATED(1609459200, -25)},
};

static uint64_t copies_of(const struct nasty_case *nasty)
{
    return nasty->copies > 0 ? nasty->copies : 1;
}

uint64_t mhc_nasty_count(void)
{
    uint64_t count = 0;
    for (size_t i = 0; i < MHC_COUNT(cases); i++) {
        count += copies_of(&cases[i]);
    }
    return count;
}

static const struct nasty_case *case_at(uint64_t index)
{
    size_t i = 0;
    while (index >= copies_of(&cases[i])) {
        index -= copies_of(&cases[i]);
        i++;
    }
    return &cases[i];
}

struct mhc_nasty_traits mhc_nasty_traits(uint64_t index)
{
    const struct nasty_case *nasty = case_at(index);
    return (struct mhc_nasty_traits){nasty->name, nasty->has_all_flags, nasty->has_date,
                                     nasty->date};
}

void mhc_nasty_write(struct mhc_buf *buf, uint64_t seed, uint64_t index, struct mhc_date date)
{
    const struct nasty_case *nasty = case_at(index);
    struct mhc_prng prng;
    mhc_prng_init(&prng, seed, MHC_STREAM_CONTENT, 0, (uint64_t)(nasty - cases));
    if (nasty->copies > 0) {
        /* Twins agree to the last byte, so in their Date too. */
        date = (struct mhc_date){1609459200, 60};
    }
    if (!nasty->is_whole) {
        standard_header(buf, nasty->name, date);
    }
    if (nasty->body == NULL) {
        nasty->rest(buf, &prng, date);
        return;
    }
    if (nasty->fields != NULL) {
        mhc_buf_puts_crlf(buf, nasty->fields);
    }
    mhc_buf_puts(buf, nasty->is_whole ? "" : "\r\n");
    mhc_buf_puts_crlf(buf, nasty->body);
}

void mhc_nasty_marker(struct mhc_buf *buf, uint64_t index, struct mhc_date date)
{
    char when[MHC_DATE_SIZE];
    mhc_buf_printf(buf,
                   "From: Marker <marker@example.com>\r\nTo: owner@example.com\r\n"
                   "Subject: marker %llu\r\nMessage-ID: <marker.%llu@awkward.example>\r\n"
                   "Date: %s\r\n\r\nThis message marks an oddly named folder.\r\n",
                   (unsigned long long)index, (unsigned long long)index,
                   mhc_date_rfc5322(when, date));
}
