/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The response reader as dialogues: bytes and the transcript they must give, in any slicing. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "tests/unit/wire_transcript.h"

struct dialogue {
    const char *name;
    const char *bytes;
    size_t len;
    const char *transcript;
    size_t transcript_len;
};

#define D(name, bytes, transcript)                                                                 \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, transcript, sizeof(transcript) - 1                         \
    }

/* --- slicings -------------------------------------------------------------------------------- */

static size_t cut_all(void *ctx, size_t left)
{
    (void)ctx;
    return left;
}

static size_t cut_n(void *ctx, size_t left)
{
    size_t n = *(const size_t *)ctx;
    return MH_MIN(n, left);
}

/* Different lengths, the same in every run. */
static size_t cut_mixed(void *ctx, size_t left)
{
    uint32_t *state = ctx;
    *state = *state * 1664525u + 1013904223u;
    return MH_MIN((size_t)(*state >> 24) % 23 + 1, left);
}

static void expect_run(const struct dialogue *d, const char *slicing, transcript_cut *cut,
                       void *ctx, bool eager)
{
    struct transcript t;
    transcript_init(&t);
    const char *got = transcript_run(&t, d->bytes, d->len, cut, ctx, eager);
    cr_expect(t.out.len == d->transcript_len && memcmp(got, d->transcript, t.out.len) == 0,
              "%s, %s:\n--- got\n%s--- expected\n%s", d->name, slicing, got, d->transcript);
    transcript_done(&t);
}

static void expect_all(const struct dialogue *dialogues, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct dialogue *d = &dialogues[i];
        expect_run(d, "one slice", cut_all, NULL, false);
        expect_run(d, "one slice given up at once", cut_all, NULL, true);
        for (size_t k = 1; k <= 9; k++) {
            char slicing[64];
            (void)snprintf(slicing, sizeof slicing, "slices of %zu", k);
            expect_run(d, slicing, cut_n, &k, k % 2 == 0);
        }
        uint32_t state = 7;
        expect_run(d, "mixed slices", cut_mixed, &state, true);
    }
}

/* --- tables ---------------------------------------------------------------------------------- */

static const struct dialogue status_dialogues[] = {
    D("greeting", "* OK [CAPABILITY IMAP4rev1 SASL-IR] ready.\r\n",
      "UNTAGGED OK OK code=<CAPABILITY IMAP4rev1 SASL-IR> text=<ready.>\n"),
    D("preauth", "* PREAUTH hello\r\n", "UNTAGGED PREAUTH PREAUTH text=<hello>\n"),
    D("bye", "* BYE Too many connections\r\n", "UNTAGGED BYE BYE text=<Too many connections>\n"),
    D("lower case", "* ok fine\r\na1 no nope\r\n",
      "UNTAGGED ok OK text=<fine>\nTAGGED a1 NO text=<nope>\n"),
    D("tagged", "A1 OK done\r\nA2 NO [TRYCREATE] no such\r\nA3 BAD what\r\n",
      "TAGGED A1 OK text=<done>\nTAGGED A2 NO code=<TRYCREATE> text=<no such>\n"
      "TAGGED A3 BAD text=<what>\n"),
    D("no text", "* OK\r\nA1 OK\r\nA2 NO [LIMIT]\r\nA3 OK \r\n",
      "UNTAGGED OK OK text=<>\nTAGGED A1 OK text=<>\nTAGGED A2 NO code=<LIMIT> text=<>\n"
      "TAGGED A3 OK text=<>\n"),
    D("code with brackets in it", "* OK [PERMANENTFLAGS (\\Seen [a]b \\*)] Limited\r\n",
      "UNTAGGED OK OK code=<PERMANENTFLAGS (\\Seen [a]b \\*)> text=<Limited>\n"),
    D("code with a quoted bracket", "A1 NO [X-FOO \"a]b\\\"]\" c] text [more]\r\n",
      "TAGGED A1 NO code=<X-FOO \"a]b\\\"]\" c> text=<text [more]>\n"),
    D("nested brackets", "A1 OK [X [y] z] t\r\n", "TAGGED A1 OK code=<X [y] z> text=<t>\n"),
    D("code with odd quotes", "A1 NO [ALERT don't \"] text\r\n",
      "TAGGED A1 NO code=<ALERT don't \"> text=<text>\n"),
    D("code without end", "A1 NO [ALERT text\r\n", "TAGGED A1 NO text=<[ALERT text>\n"),
    D("APPENDUID", "A1 OK [APPENDUID 38505 3955] APPEND completed\r\n",
      "TAGGED A1 OK code=<APPENDUID 38505 3955> text=<APPEND completed>\n"),
    D("a count in a human text is no literal", "* OK use {5}\r\nA1 NO {3}\r\n",
      "UNTAGGED OK OK text=<use {5}>\nTAGGED A1 NO text=<{3}>\n"),
    D("continuation", "+ aGVsbG8=\r\n+ \r\n+\r\n+ [ALERT] go on\r\n+OK\r\n",
      "CONTINUE  text=<aGVsbG8=>\nCONTINUE  text=<>\nCONTINUE  text=<>\n"
      "CONTINUE  code=<ALERT> text=<[ALERT] go on>\nCONTINUE  text=<OK>\n"),
    D("bare LF, empty lines, blanks around", "\r\n\n* OK a\n  \r\n  *  OK   b\nA1   OK  c\r\n\n",
      "UNTAGGED OK OK text=<a>\nUNTAGGED OK OK text=<b>\nTAGGED A1 OK text=<c>\n"),
    D("half a line", "* OK rea", "MIDWAY\n"),
    D("CR of a line end", "* OK a\r\n\r", "UNTAGGED OK OK text=<a>\nMIDWAY\n"),
};

Test(wire_resp, status)
{
    expect_all(status_dialogues, MH_ARRAY_LEN(status_dialogues));
}

static const struct dialogue data_dialogues[] = {
    D("list", "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent Items\"\r\n",
      "UNTAGGED LIST (\\HasNoChildren \\Sent) \"/\" \"Sent Items\"\n"),
    D("list, flat, atom, nil", "* LIST () NIL INBOX\r\n", "UNTAGGED LIST () NIL INBOX\n"),
    D("escapes", "* LIST () \"\\\\\" \"a\\\"b\\\\c\"\r\n", "UNTAGGED LIST () \"\\\" \"a\"b\\c\"\n"),
    D("forgotten escape", "* LIST () \"/\" \"a\\b\"\r\n", "UNTAGGED LIST () \"/\" \"a\\b\"\n"),
    D("literal", "* LIST () \"/\" {7}\r\na\"b\r\n()\r\n",
      "UNTAGGED LIST () \"/\" \"a\"b\r\n()\"\n"),
    D("two literals", "* LIST () {1}\r\n/ {3+}\r\nfoo\r\n", "UNTAGGED LIST () \"/\" \"foo\"\n"),
    D("empty literal", "* X ({0}\r\n) {0}\r\n\r\n", "UNTAGGED X (\"\") \"\"\n"),
    D("literal that ends in CR, bare LF behind it", "* X {2}\na\r\n* OK x\n",
      "UNTAGGED X \"a\r\"\nUNTAGGED OK OK text=<x>\n"),
    D("literal behind a literal", "* X {1}\r\na{1}\r\nb c\r\n", "UNTAGGED X \"a\" \"b\" c\n"),
    D("literal8 with a NUL", "* METADATA \"\" (/a ~{3}\r\na\0b)\r\n",
      "UNTAGGED METADATA \"\" (/a \"a\0b\")\n"),
    D("count in an atom is a part of it", "* LIST () \"/\" a{3}\r\n",
      "UNTAGGED LIST () \"/\" a{3}\n"),
    D("no count", "* X a {}\r\n* X {+}\r\n* X ~{1\r\n* X 1}\r\n",
      "UNTAGGED X a {}\nUNTAGGED X {+}\nUNTAGGED X ~{1\nUNTAGGED X 1}\n"),
    D("a literal is no name", "* {3}\r\n* OK a\r\n", "UNTAGGED {3}\nUNTAGGED OK OK text=<a>\n"),
    D("exists", "* 23 EXISTS\r\n* 0 RECENT\r\n* 4294967295 EXPUNGE\r\n",
      "UNTAGGED #23 EXISTS\nUNTAGGED #0 RECENT\nUNTAGGED #4294967295 EXPUNGE\n"),
    D("capability", "* CAPABILITY IMAP4rev1 AUTH=PLAIN LITERAL+\r\n",
      "UNTAGGED CAPABILITY IMAP4rev1 AUTH=PLAIN LITERAL+\n"),
    D("esearch", "* ESEARCH (TAG \"A1\") UID ALL 1:3,5 COUNT 4\r\n",
      "UNTAGGED ESEARCH (TAG \"A1\") UID ALL 1:3,5 COUNT 4\n"),
    D("vanished", "* VANISHED (EARLIER) 300:310,405\r\n* VANISHED 7\r\n",
      "UNTAGGED VANISHED (EARLIER) 300:310,405\nUNTAGGED VANISHED 7\n"),
    D("vanished, nothing in it", "* VANISHED (EARLIER)\r\n* VANISHED\r\n",
      "UNTAGGED VANISHED (EARLIER)\nUNTAGGED VANISHED\n"),
    D("status with a mailbox id", "* STATUS A (MESSAGES 3 MAILBOXID (F22) UIDNEXT 9)\r\n",
      "UNTAGGED STATUS A (MESSAGES 3 MAILBOXID (F22) UIDNEXT 9)\n"),
    D("thread", "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n",
      "UNTAGGED THREAD (2) (3 6 (4 23) (44 7 96))\n"),
    D("namespace", "* NAMESPACE ((\"\" \"/\")) NIL ((\"~\" \"/\"))\r\n",
      "UNTAGGED NAMESPACE ((\"\" \"/\")) NIL ((\"~\" \"/\"))\n"),
    D("status", "* STATUS \"a b\" (MESSAGES 3 UIDNEXT 9 SIZE 5000000000)\r\n",
      "UNTAGGED STATUS \"a b\" (MESSAGES 3 UIDNEXT 9 SIZE 5000000000)\n"),
    D("empty search", "* SEARCH\r\n* SEARCH \r\n* SEARCH 2 84\r\n",
      "UNTAGGED SEARCH\nUNTAGGED SEARCH\nUNTAGGED SEARCH 2 84\n"),
    D("prose", "* it isn't \"balanced ( at all\r\n* \r\n*\r\n* 5\r\nA1 OK x\r\n",
      "UNTAGGED it\nUNTAGGED \nUNTAGGED \nUNTAGGED #5 \nTAGGED A1 OK text=<x>\n"),
    D("unquoted 8-bit name", "* LIST () \"/\" Entw\xc3\xbcrfe\r\n",
      "UNTAGGED LIST () \"/\" Entw\xc3\xbcrfe\n"),
    D("malformed list", "* LIST (\\Foo \"/\" INBOX\r\n* OK x\r\n", "ERROR mailbox\n"),
    D("malformed list 2", "* LIST \\Foo) \"/\" INBOX\r\n", "ERROR mailbox\n"),
    D("unterminated string", "* LIST () \"/\" \"INBOX\r\n", "ERROR mailbox\n"),
    D("string over a literal", "* X \"a {3}\r\nb\"c d\r\n", "ERROR mailbox\n"),
    D("tabs", "*\tLIST\t()\t\"/\"\tINBOX\r\n", "UNTAGGED LIST () \"/\" INBOX\n"),
};

Test(wire_resp, data)
{
    expect_all(data_dialogues, MH_ARRAY_LEN(data_dialogues));
}

static const struct dialogue fetch_dialogues[] = {
    D("metadata",
      "* 5 FETCH (UID 5 FLAGS (\\Seen kw) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" "
      "RFC822.SIZE 4000)\r\n",
      "FETCH 5 uid=5 flags=<\\Seen kw> date=<17-Jul-1996 02:44:25 -0700> size=4000\n"),
    D("another order, extra blanks", "*  5  fetch  (  FLAGS  ( )  UID 7  )  \r\n",
      "FETCH 5 uid=7 flags=<>\n"),
    D("no blank", "* 5 FETCH(UID 7)\r\n", "FETCH 5 uid=7\n"),
    D("nothing", "* 5 FETCH ()\r\n", "FETCH 5 uid=0\n"),
    D("modseq", "* 5 FETCH (MODSEQ (12345678901234) UID 7)\r\n* 5 FETCH (MODSEQ 9)\r\n",
      "FETCH 5 uid=7 modseq=12345678901234\nFETCH 5 uid=0 modseq=9\n"),
    D("sizes beyond 4 GiB",
      "* 5 FETCH (RFC822.SIZE 5000000000)\r\n"
      "* 5 FETCH (RFC822.SIZE 9223372036854775807)\r\n",
      "FETCH 5 uid=0 size=5000000000\nFETCH 5 uid=0 size=9223372036854775807\n"),
    D("email id", "* 5 FETCH (EMAILID (M6d99) THREADID NIL)\r\n* 6 FETCH (EMAILID M7)\r\n",
      "FETCH 5 uid=0 email=<M6d99>\nFETCH 6 uid=0 email=<M7>\n"),
    D("unknown items",
      "* 5 FETCH (X-GM-MSGID 1278455344230334865 X-GM-LABELS (\\Inbox \"\\\\Sent \\\"x\" (a (b)) "
      "foo) "
      "ENVELOPE (NIL \"s\" ((\"n\" NIL \"m\" \"h\"))) BODY (\"TEXT\" \"PLAIN\" NIL) UID 9 X-NIL "
      "NIL "
      "BINARY.SIZE[1] 42)\r\n",
      "FETCH 5 uid=9 gm=1278455344230334865\n"),
    D("Gmail's id",
      "* 5 FETCH (UID 9 X-GM-MSGID 18446744073709551615)\r\n"
      "* 6 FETCH (x-gm-msgid 0 X-GM-THRID 7)\r\n",
      "FETCH 5 uid=9 gm=18446744073709551615\nFETCH 6 uid=0 gm=0\n"),
    D("Gmail's id in forms that it does not have: left out",
      "* 5 FETCH (X-GM-MSGID 18446744073709551616 UID 1)\r\n* 5 FETCH (X-GM-MSGID -1 UID 2)\r\n"
      "* 5 FETCH (X-GM-MSGID NIL UID 3)\r\n* 5 FETCH (X-GM-MSGID \"7\" UID 4)\r\n"
      "* 5 FETCH (X-GM-MSGID (7 (8)) UID 5)\r\n* 5 FETCH (X-GM-MSGID {1}\r\n7 UID 6)\r\n",
      "FETCH 5 uid=1\nFETCH 5 uid=2\nFETCH 5 uid=3\nFETCH 5 uid=4\nFETCH 5 uid=5\nFETCH 5 uid=6\n"),
    D("Gmail's id without a value", "* 5 FETCH (UID 9 X-GM-MSGID)\r\n", "ERROR mailbox\n"),
    D("email id: nil, empty, two words",
      "* 5 FETCH (EMAILID NIL UID 1)\r\n* 5 FETCH (EMAILID () UID 2)\r\n"
      "* 5 FETCH (EMAILID (M1 M2) UID 3)\r\n",
      "FETCH 5 uid=1\nFETCH 5 uid=2 email=<>\nFETCH 5 uid=3 email=<M1 M2>\n"),
    D("email id with a list in it", "* 5 FETCH (EMAILID ((M1)) UID 3)\r\n", "ERROR mailbox\n"),
    D("unknown item with literals",
      "* 5 FETCH (X-A {3}\r\n))) X-B ({2}\r\n\"( \"x\") UID 3 X-C ~{1}\r\n\")\r\n",
      "FETCH 5 uid=3\n"),
    D("nil values", "* 5 FETCH (INTERNALDATE NIL RFC822.SIZE NIL FLAGS NIL UID 3)\r\n",
      "FETCH 5 uid=3\n"),
    D("UID twice, the same", "* 5 FETCH (UID 3 UID 3)\r\n", "FETCH 5 uid=3\n"),
    D("no parenthesis", "* 5 FETCH UID 3\r\n", "ERROR mailbox\n"),
    D("no list", "* 5 FETCH\r\n", "ERROR mailbox\n"),
    D("not closed", "* 5 FETCH (UID 3\r\n", "ERROR mailbox\n"),
    D("text behind it", "* 5 FETCH (UID 3) x\r\n", "ERROR mailbox\n"),
    D("no value", "* 5 FETCH (UID)\r\n", "ERROR mailbox\n"),
    D("no value of an unknown item", "* 5 FETCH (UID 3 X-FOO)\r\n", "ERROR mailbox\n"),
    D("uid 0", "* 5 FETCH (UID 0)\r\n", "ERROR mailbox\n"),
    D("uid above 2^32-1", "* 5 FETCH (UID 4294967296)\r\n", "ERROR mailbox\n"),
    D("uid is a string", "* 5 FETCH (UID \"3\")\r\n", "ERROR mailbox\n"),
    D("uid is a list", "* 5 FETCH (UID (3))\r\n", "ERROR mailbox\n"),
    D("uid is a literal", "* 5 FETCH (UID {1}\r\n3)\r\n", "ERROR mailbox\n"),
    D("two uids", "* 5 FETCH (UID 3 UID 4)\r\n", "ERROR mailbox\n"),
    D("size above 2^63-1", "* 5 FETCH (RFC822.SIZE 9223372036854775808)\r\n", "ERROR mailbox\n"),
    D("negative size", "* 5 FETCH (RFC822.SIZE -1)\r\n", "ERROR mailbox\n"),
    D("size far above", "* 5 FETCH (RFC822.SIZE 99999999999999999999999)\r\n", "ERROR mailbox\n"),
    D("message 0", "* 0 FETCH (UID 3)\r\n", "ERROR mailbox\n"),
    D("blanks in lists", "* 5 FETCH (FLAGS ( \\Seen  kw ) EMAILID ( M1 ) MODSEQ ( 5 ))\r\n",
      "FETCH 5 uid=0 flags=<\\Seen  kw> modseq=5 email=<M1>\n"),
    D("strings where others send atoms", "* 5 FETCH (EMAILID \"M1\" X-A \"b)\" UID 3)\r\n",
      "FETCH 5 uid=3 email=<M1>\n"),
    D("flags as an atom", "* 5 FETCH (FLAGS \\Seen)\r\n", "ERROR mailbox\n"),
    D("flags as a string", "* 5 FETCH (FLAGS \"a\")\r\n", "ERROR mailbox\n"),
    D("date as an atom", "* 5 FETCH (INTERNALDATE 17-Jul-1996)\r\n", "ERROR mailbox\n"),
    D("string without end", "* 5 FETCH (INTERNALDATE \"17-Jul-1996)\r\n", "ERROR mailbox\n"),
    D("nested flags", "* 5 FETCH (FLAGS ((\\Seen)))\r\n", "ERROR mailbox\n"),
    D("flags without end", "* 5 FETCH (FLAGS (\\Seen\r\n", "ERROR mailbox\n"),
    D("section without end", "* 5 FETCH (BODY[HEADER NIL)\r\n", "ERROR mailbox\n"),
    D("a literal as a name", "* 5 FETCH ({3}\r\nUID 5)\r\n", "ERROR mailbox\n"),
    D("a list as a name", "* 5 FETCH ((UID) 5)\r\n", "ERROR mailbox\n"),
};

Test(wire_resp, fetch_metadata)
{
    expect_all(fetch_dialogues, MH_ARRAY_LEN(fetch_dialogues));
}

static const struct dialogue body_dialogues[] = {
    D("body", "* 12 FETCH (UID 7 BODY[] {11}\r\na)\r\n* 1 b\r\n)\r\nA1 OK\r\n",
      "BEGIN 12 uid=7 section=<BODY[]> octets=11\nDATA <a)\r\n* 1 b\r\n>\nEND\n"
      "FETCH 12 uid=7 section=<BODY[]> octets=11\nTAGGED A1 OK text=<>\n"),
    D("all of it, metadata on both sides",
      "* 1 FETCH (FLAGS (\\Seen) BODY[] {3}\r\nabc INTERNALDATE \" 1-Jul-1996 02:44:25 -0700\" "
      "UID 4294967295)\r\n",
      "BEGIN 1 uid=0 flags=<\\Seen> section=<BODY[]> octets=3\nDATA <abc>\nEND\n"
      "FETCH 1 uid=4294967295 flags=<\\Seen> date=< 1-Jul-1996 02:44:25 -0700> section=<BODY[]> "
      "octets=3\n"),
    D("empty body", "* 1 FETCH (BODY[] {0}\r\n UID 4)\r\n",
      "BEGIN 1 uid=0 section=<BODY[]> octets=0\nDATA <>\nEND\nFETCH 1 uid=4 section=<BODY[]> "
      "octets=0\n"),
    D("partial, literal8, plus",
      "* 1 FETCH (BODY[]<0> {2+}\r\nab)\r\n* 2 FETCH (BINARY[] ~{3}\r\na\0b)\r\n"
      "* 3 FETCH (RFC822 {1}\r\nx)\r\n",
      "BEGIN 1 uid=0 section=<BODY[]<0>> octets=2\nDATA <ab>\nEND\n"
      "FETCH 1 uid=0 section=<BODY[]<0>> octets=2\n"
      "BEGIN 2 uid=0 section=<BINARY[]> octets=3\nDATA <a\0b>\nEND\n"
      "FETCH 2 uid=0 section=<BINARY[]> octets=3\n"
      "BEGIN 3 uid=0 section=<RFC822> octets=1\nDATA <x>\nEND\n"
      "FETCH 3 uid=0 section=<RFC822> octets=1\n"),
    D("section with a list", "* 1 FETCH (BODY[HEADER.FIELDS (X \"Y ]\")]<0> {1}\r\nx UID 3)\r\n",
      "BEGIN 1 uid=0 section=<BODY[HEADER.FIELDS (X \"Y ]\")]<0>> octets=1\nDATA <x>\nEND\n"
      "FETCH 1 uid=3 section=<BODY[HEADER.FIELDS (X \"Y ]\")]<0>> octets=1\n"),
    D("the parts of RFC822",
      "* 1 FETCH (RFC822.HEADER {1}\r\nx)\r\n* 1 FETCH (RFC822.TEXT {1}\r\nx)\r\n",
      "BEGIN 1 uid=0 section=<RFC822.HEADER> octets=1\nDATA <x>\nEND\n"
      "FETCH 1 uid=0 section=<RFC822.HEADER> octets=1\n"
      "BEGIN 1 uid=0 section=<RFC822.TEXT> octets=1\nDATA <x>\nEND\n"
      "FETCH 1 uid=0 section=<RFC822.TEXT> octets=1\n"),
    D("nil", "* 1 FETCH (BODY[] NIL UID 3)\r\n", "FETCH 1 uid=3 section=<BODY[]> nil\n"),
    D("quoted", "* 1 FETCH (BODY[] \"abc\" UID 3)\r\n",
      "BEGIN 1 uid=3 section=<BODY[]> octets=3\nDATA <abc>\nEND\n"
      "FETCH 1 uid=3 section=<BODY[]> octets=3\n"),
    D("quoted, escapes", "* 1 FETCH (UID 3 BODY[] \"\\\"a\\\\\\\\\\\"b\\c\\\"\")\r\n",
      "BEGIN 1 uid=3 section=<BODY[]> octets=9\nDATA <\"a\\\\\"b\\c\">\nEND\n"
      "FETCH 1 uid=3 section=<BODY[]> octets=9\n"),
    D("quoted, empty", "* 1 FETCH (BODY[] \"\" UID 3)\r\n",
      "BEGIN 1 uid=3 section=<BODY[]> octets=0\nDATA <>\nEND\n"
      "FETCH 1 uid=3 section=<BODY[]> octets=0\n"),
    D("quoted, then a literal", "* 1 FETCH (BODY[] \"ab\" X {3}\r\nxyz UID 3)\r\n",
      "BEGIN 1 uid=0 section=<BODY[]> octets=2\nDATA <ab>\nEND\n"
      "FETCH 1 uid=3 section=<BODY[]> octets=2\n"),
    D("a second body is skipped",
      "* 1 FETCH (BODY[] {3}\r\nabc BODY[HEADER] {3}\r\nxyz UID 3 BODY[1] \"q\")\r\n",
      "BEGIN 1 uid=0 section=<BODY[]> octets=3\nDATA <abc>\nEND\n"
      "FETCH 1 uid=3 section=<BODY[]> octets=3\n"),
    D("literal before the body", "* 1 FETCH (X {2}\r\n)\r UID 3 BODY[] {1}\r\nx)\r\n",
      "BEGIN 1 uid=3 section=<BODY[]> octets=1\nDATA <x>\nEND\n"
      "FETCH 1 uid=3 section=<BODY[]> octets=1\n"),
    D("cut in the body", "* 1 FETCH (BODY[] {5}\r\nab",
      "BEGIN 1 uid=0 section=<BODY[]> octets=5\nDATA <ab>\nMIDWAY\n"),
    D("cut behind the body", "* 1 FETCH (BODY[] {2}\r\nab",
      "BEGIN 1 uid=0 section=<BODY[]> octets=2\nDATA <ab>\nEND\nMIDWAY\n"),
    D("the count lies: too small", "* 1 FETCH (BODY[] {2}\r\nabcd)\r\n",
      "BEGIN 1 uid=0 section=<BODY[]> octets=2\nDATA <ab>\nEND\nERROR mailbox\n"),
    D("the count lies: too small, and what is left has the form of an item",
      "* 1 FETCH (BODY[] {2}\r\nabX-FOO 1)\r\n",
      "BEGIN 1 uid=0 section=<BODY[]> octets=2\nDATA <ab>\nEND\nERROR mailbox\n"),
    D("the count lies: too large", "* 1 FETCH (BODY[] {8}\r\nabcd)\r\n* OK x\r\n",
      "BEGIN 1 uid=0 section=<BODY[]> octets=8\nDATA <abcd)\r\n*>\nEND\nERROR mailbox\n"),
    D("body as an atom", "* 1 FETCH (BODY[] abc)\r\n", "ERROR mailbox\n"),
    D("body as a list", "* 1 FETCH (BODY[] (abc))\r\n", "ERROR mailbox\n"),
    D("bare LF behind a count", "* 1 FETCH (BODY[] {2}\nab)\n",
      "BEGIN 1 uid=0 section=<BODY[]> octets=2\nDATA <ab>\nEND\n"
      "FETCH 1 uid=0 section=<BODY[]> octets=2\n"),
};

Test(wire_resp, fetch_bodies)
{
    expect_all(body_dialogues, MH_ARRAY_LEN(body_dialogues));
}

static const struct dialogue hostile_dialogues[] = {
    D("NUL in a line", "* OK a\0b\r\n", "ERROR mailbox\n"),
    D("NUL before the line end", "* LIST () \"/\" \"a\0", "ERROR mailbox\n"),
    D("number above 2^32-1", "* 4294967296 EXISTS\r\n", "ERROR mailbox\n"),
    D("literal above 2^63-1", "* X {9223372036854775808}\r\n", "ERROR mailbox\n"),
    D("literal above 2^64", "* X {99999999999999999999}\r\n", "ERROR mailbox\n"),
    D("literal above the cap", "* X {16777217}\r\n", "ERROR mailbox\n"),
    D("skipped literal above the cap", "* 1 FETCH (X {16777217}\r\n", "ERROR mailbox\n"),
    D("second body above the cap", "* 1 FETCH (BODY[] {1}\r\na BODY[1] {16777217}\r\n",
      "BEGIN 1 uid=0 section=<BODY[]> octets=1\nDATA <a>\nEND\nERROR mailbox\n"),
    D("literals above the cap together", "* X {3}\r\nabc {16777214}\r\n", "ERROR mailbox\n"),
    D("another protocol", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "ERROR mailbox\n"),
    D("another protocol 2", "220 mail.example ESMTP\r\n", "ERROR mailbox\n"),
    D("another protocol 3", "+OK POP3 ready\r\n", "CONTINUE  text=<OK POP3 ready>\n"),
    D("tag alone", "A1\r\n", "ERROR mailbox\n"),
    D("tagged data", "A1 LIST () \"/\" INBOX\r\n", "ERROR mailbox\n"),
    D("tagged BYE", "A1 BYE\r\n", "ERROR mailbox\n"),
    D("control byte in a tag", "A\x01 OK x\r\n", "ERROR mailbox\n"),
    D("no blank behind the asterisk", "*OK x\r\n", "ERROR mailbox\n"),
    D("control bytes are carried as they are", "* OK a\x1b[2J\rb\r\n",
      "UNTAGGED OK OK text=<a\x1b[2J\rb>\n"),
};

Test(wire_resp, hostile)
{
    expect_all(hostile_dialogues, MH_ARRAY_LEN(hostile_dialogues));
}

/* --- caps ------------------------------------------------------------------------------------ */

static void repeat(struct mh_buf *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mh_buf_adds(b, s);
}

static bool ends_in_error(struct transcript *t)
{
    size_t len = t->out.len;
    return len >= 14 && strcmp(t->out.data + len - 14, "ERROR mailbox\n") == 0;
}

static void expect_cap(const char *name, const struct mh_buf *in, size_t line_max, bool refused)
{
    size_t lens[] = {1000, 65536, 4096};
    for (size_t i = 0; i < MH_ARRAY_LEN(lens); i++) {
        struct transcript t;
        transcript_init(&t);
        mh_resp_set_line_max(t.resp, line_max);
        (void)transcript_run(&t, in->data, in->len, cut_n, &lens[i], true);
        cr_expect_eq(ends_in_error(&t), refused, "%s in slices of %zu: %s", name, lens[i],
                     t.err.text);
        transcript_done(&t);
    }
}

Test(wire_resp, line_cap)
{
    struct mh_buf in = MH_BUF_INIT;
    mh_buf_adds(&in, "* OK ");
    while (in.len < MH_IMAP_LINE_MAX_BYTES - 2)
        mh_buf_addc(&in, 'x');
    mh_buf_adds(&in, "\r\n");
    expect_cap("a line at the cap", &in, MH_IMAP_LINE_MAX_BYTES, false);
    expect_cap("the same before login", &in, MH_IMAP_GREETING_MAX_BYTES, true);
    in.len -= 2;
    mh_buf_adds(&in, "x\r\n");
    expect_cap("one byte more", &in, MH_IMAP_LINE_MAX_BYTES, true);
    mh_buf_reset(&in);
    repeat(&in, "x", MH_IMAP_LINE_MAX_BYTES + 1);
    expect_cap("a line without end", &in, MH_IMAP_LINE_MAX_BYTES, true);
    mh_buf_done(&in);
}

Test(wire_resp, cap_counts_a_response_as_a_whole)
{
    struct mh_buf in = MH_BUF_INIT;
    mh_buf_adds(&in, "* X");
    repeat(&in, " {1}\r\nx", MH_IMAP_LINE_MAX_BYTES / 5);
    expect_cap("many literals", &in, MH_IMAP_LINE_MAX_BYTES, true);
    mh_buf_reset(&in);
    mh_buf_adds(&in, "* 1 FETCH (");
    repeat(&in, "X {1}\r\nx ", MH_IMAP_LINE_MAX_BYTES / 6);
    expect_cap("many skipped literals", &in, MH_IMAP_LINE_MAX_BYTES, true);
    mh_buf_reset(&in);
    repeat(&in, "* OK some text\r\n\r\n", MH_IMAP_LINE_MAX_BYTES / 8);
    expect_cap("many responses", &in, MH_IMAP_LINE_MAX_BYTES, false);
    mh_buf_reset(&in);
    mh_buf_adds(&in, "* X {8193}\r\n");
    expect_cap("a literal", &in, MH_IMAP_LINE_MAX_BYTES, false);
    expect_cap("the same before login", &in, MH_IMAP_GREETING_MAX_BYTES, true);
    mh_buf_done(&in);
}

Test(wire_resp, depth_cap)
{
    static const char *const starts[] = {"* X ", "* LIST ", "* 1 FETCH (X "};
    for (size_t i = 0; i < MH_ARRAY_LEN(starts); i++) {
        for (size_t extra = 0; extra < 2; extra++) {
            struct mh_buf in = MH_BUF_INIT;
            size_t depth = MH_IMAP_DEPTH_MAX - (i == 2 ? 1u : 0u) + extra;
            mh_buf_adds(&in, starts[i]);
            repeat(&in, "(", depth);
            repeat(&in, ")", depth);
            mh_buf_adds(&in, i == 2 ? ")\r\n" : "\r\n");
            expect_cap(starts[i], &in, MH_IMAP_LINE_MAX_BYTES, extra == 1);
            mh_buf_done(&in);
        }
    }
}

Test(wire_resp, literal_at_the_cap_is_taken)
{
    struct transcript t;
    struct mh_buf in = MH_BUF_INIT;
    transcript_init(&t);
    mh_buf_addf(&in, "* X {%u}\r\n", MH_IMAP_LITERAL_MAX_BYTES);
    while (in.len < MH_IMAP_LITERAL_MAX_BYTES)
        mh_buf_add(&in, "0123456789abcdef", 16);
    size_t head = strlen("* X {16777216}\r\n");
    repeat(&in, "z", MH_IMAP_LITERAL_MAX_BYTES + head - in.len);
    mh_buf_adds(&in, "\r\n* OK next\r\n");
    const char *got = transcript_run(&t, in.data, in.len, cut_all, NULL, true);
    cr_expect_eq(strncmp(got, "UNTAGGED X \"0123", 16), 0);
    cr_expect(strstr(got, "\nUNTAGGED OK OK text=<next>\n"));
    mh_buf_done(&in);
    transcript_done(&t);
}

Test(wire_resp, stays_failed_and_says_what_answered)
{
    struct transcript t;
    transcript_init(&t);
    const char *greeting = "SSH-2.0-OpenSSH\r\n* OK fine\r\n";
    (void)transcript_run(&t, greeting, strlen(greeting), cut_all, NULL, false);
    cr_expect_str_eq(t.err.layer, "imap");
    cr_expect_str_eq(t.err.server_text, "SSH-2.0-OpenSSH");
    cr_expect_not(mh_resp_is_idle(t.resp));
    struct mh_slice slice = transcript_slice(&t, "* OK\r\n", 6);
    cr_expect_not(transcript_feed(&t, slice));
    transcript_done(&t);
}

Test(wire_resp, message_text_never_gets_into_an_error)
{
    struct transcript t;
    transcript_init(&t);
    const char *lie = "* 1 FETCH (BODY[] {3}\r\nabc)\r\ndear diary, this is private\r\n";
    (void)transcript_run(&t, lie, strlen(lie), cut_all, NULL, false);
    cr_expect(ends_in_error(&t));
    cr_expect_str_eq(t.err.server_text, "");
    cr_expect_null(strstr(t.err.text, "diary"));
    transcript_done(&t);
}

/* --- what it costs --------------------------------------------------------------------------- */

static const char stream[] = "* 12 FETCH (UID 7 FLAGS (\\Seen) BODY[] {26}\r\n"
                             "Subject: x\r\n\r\nhello world.)\r\n"
                             "* 13 FETCH (UID 8 FLAGS (\\Seen) RFC822.SIZE 4000)\r\n"
                             "* LIST (\\A) \"/\" \"a \\\"quoted\\\" name\"\r\n"
                             "* LIST (\\A) \"/\" {5}\r\n12345\r\n"
                             "A1 OK [X (a b)] done\r\n";

/* Feeds STREAM once, dropping what comes; the slab is reused for each round. */
static void feed_stream(struct mh_resp *r, struct mh_slab *slab, size_t piece)
{
    struct mh_err err;
    struct mh_resp_event ev;
    for (size_t at = 0; at < sizeof stream - 1;) {
        size_t n = MH_MIN(piece, sizeof stream - 1 - at);
        struct mh_slice in = mh_slice_of(slab, (uint32_t)at, (uint32_t)n);
        do {
            cr_assert_eq(mh_resp_next(r, &in, &ev, &err), 0, "%s", err.text);
            if (ev.type == MH_RESP_BODY_DATA) {
                cr_assert_eq(ev.slice.slab, slab, "a body slice lies in another slab");
                mh_slice_drop(&ev.slice);
            }
        } while (ev.type != MH_RESP_MORE);
        at += n;
    }
}

Test(wire_resp, allocates_and_copies_nothing_after_warm_up)
{
    size_t pieces[] = {sizeof stream, 100, 7, 1};
    struct mh_pool *pool = NULL;
    struct mh_resp *r = NULL;
    struct mh_err err;
    cr_assert_eq(mh_pool_new(1u << 20, &pool, &err), 0);
    cr_assert_eq(mh_resp_new(&r, &err), 0);
    struct mh_slab *slab = mh_slab_get(pool);
    cr_assert(slab);
    memcpy(slab->data, stream, sizeof stream - 1);
    for (size_t i = 0; i < MH_ARRAY_LEN(pieces); i++)
        feed_stream(r, slab, pieces[i]);
    uint64_t calls = mh_mem_calls();
    uint64_t copied = mh_slab_copied_bytes();
    for (size_t round = 0; round < 1000; round++)
        feed_stream(r, slab, pieces[round % MH_ARRAY_LEN(pieces)]);
    cr_expect_eq(mh_mem_calls() - calls, 0);
    cr_expect_eq(mh_slab_copied_bytes() - copied, 0);
    cr_expect(mh_slab_is_sole(slab), "the reader holds a slab that it has read");
    mh_resp_free(r);
    mh_slab_unref(slab);
    mh_pool_free(pool);
}

/* Allocations that the reader makes for BYTES in one slice, when it has seen them before. */
static uint64_t calls_when_warm(struct mh_resp *r, struct mh_slab *slab, const struct mh_buf *bytes)
{
    uint64_t calls = 0;
    cr_assert_leq(bytes->len, (size_t)MH_SLAB_BYTES);
    memcpy(slab->data, bytes->data, bytes->len);
    for (size_t round = 0; round < 3; round++) {
        struct mh_slice in = mh_slice_of(slab, 0, (uint32_t)bytes->len);
        struct mh_resp_event ev;
        struct mh_err err;
        calls = mh_mem_calls();
        do {
            cr_assert_eq(mh_resp_next(r, &in, &ev, &err), 0, "%s", err.text);
        } while (ev.type != MH_RESP_MORE);
        calls = mh_mem_calls() - calls;
    }
    return calls;
}

/* Values, literals: what a long response took is given back, what an ordinary one took is kept. */
Test(wire_resp, gives_memory_back_behind_a_long_response)
{
    static const struct {
        const char *start, *each;
        size_t n;
        bool is_long;
    } responses[] = {
        {"* SEARCH", " 1", 30000, true}, {"* SEARCH", " 1", 1000, false},
        {"* X ", "{0}\n", 16000, true},  {"* X ", "{0}\n", 100, false},
        {"* X (", "() ", 20000, true},   {"* X (", "() ", 500, false},
    };
    struct mh_slab *slab = mh_slab_get(transcript_pool());
    struct mh_err err;
    cr_assert(slab);
    for (size_t i = 0; i < MH_ARRAY_LEN(responses); i++) {
        struct mh_buf in = MH_BUF_INIT;
        struct mh_resp *r = NULL;
        cr_assert_eq(mh_resp_new(&r, &err), 0);
        mh_buf_adds(&in, responses[i].start);
        repeat(&in, responses[i].each, responses[i].n);
        mh_buf_adds(&in, strchr(responses[i].start, '(') ? ")\r\n" : "\r\n");
        cr_expect_eq(calls_when_warm(r, slab, &in) > 0, responses[i].is_long, "%s %s",
                     responses[i].start, responses[i].each);
        mh_resp_free(r);
        mh_buf_done(&in);
    }
    mh_slab_unref(slab);
}

/* A quoted body in one slice is a slice of the slab that came in; a gathered one is copied. */
Test(wire_resp, quoted_body_in_place_is_not_copied)
{
    const char *line = "* 1 FETCH (BODY[] \"ab\\\"cd\")\r\n";
    for (size_t piece = 1; piece <= 64; piece += 63) {
        struct transcript t;
        transcript_init(&t);
        uint64_t copied = mh_slab_copied_bytes();
        (void)transcript_run(&t, line, strlen(line), cut_n, &piece, true);
        cr_expect_eq(mh_slab_copied_bytes() - copied, piece == 1 ? 5 : 0);
        transcript_done(&t);
    }
}

Test(wire_resp, quoted_body_larger_than_a_slab)
{
    struct transcript t;
    struct mh_buf in = MH_BUF_INIT;
    transcript_init(&t);
    mh_buf_adds(&in, "* 1 FETCH (BODY[] \"");
    repeat(&in, "abc\\\"\\\\", 30000);
    mh_buf_adds(&in, "\")\r\n");
    const char *got = transcript_run(&t, in.data, in.len, cut_all, NULL, true);
    struct mh_buf want = MH_BUF_INIT;
    mh_buf_adds(&want, "BEGIN 1 uid=0 section=<BODY[]> octets=150000\nDATA <");
    repeat(&want, "abc\"\\", 30000);
    mh_buf_adds(&want, ">\nEND\nFETCH 1 uid=0 section=<BODY[]> octets=150000\n");
    cr_expect_str_eq(got, want.data);
    mh_buf_done(&want);
    mh_buf_done(&in);
    transcript_done(&t);
}

Test(wire_resp, no_slab_for_a_quoted_body_is_no_protocol_error)
{
    struct transcript t;
    transcript_init(&t);
    struct mh_slab *all[64];
    size_t n = 0;
    const char *line = "* 1 FETCH (BODY[] \"abc\")\r\n";
    struct mh_slice first = transcript_slice(&t, line, 21);
    cr_assert(transcript_feed(&t, first));
    while (n < MH_ARRAY_LEN(all) && (all[n] = mh_slab_get(t.pool)))
        n++;
    struct mh_slice second = transcript_slice(&t, line + 21, (uint32_t)strlen(line) - 21);
    struct mh_resp_event ev;
    struct mh_err err;
    cr_expect_eq(mh_resp_next(t.resp, &second, &ev, &err), 0);
    cr_expect_eq(ev.type, MH_RESP_BODY_BEGIN);
    cr_expect_eq(mh_resp_next(t.resp, &second, &ev, &err), MH_ERETRY);
    while (n > 0)
        mh_slab_unref(all[--n]);
    cr_expect_eq(mh_resp_next(t.resp, &second, &ev, &err), 0);
    cr_expect_eq(ev.type, MH_RESP_BODY_DATA);
    cr_expect_eq(ev.slice.len, 3u);
    mh_slice_drop(&ev.slice);
    cr_expect_eq(mh_resp_next(t.resp, &second, &ev, &err), 0);
    cr_expect_eq(ev.type, MH_RESP_BODY_END);
    cr_expect(transcript_feed(&t, second), "the FETCH is still due");
    cr_expect_str_eq(mh_buf_str(&t.out), "FETCH 1 uid=0 section=<BODY[]> octets=3\n");
    transcript_done(&t);
}

/* Every allocation fails once: a clean MH_ERUN, nothing leaked, nothing held. */
static void fail_each_allocation(const size_t piece_len)
{
    struct mh_buf in = MH_BUF_INIT;
    repeat(&in, stream, 2);
    mh_buf_adds(&in, "* X (");
    repeat(&in, "(a)", 200);
    repeat(&in, " {1}\r\nx", 20);
    mh_buf_adds(&in, ")\r\n");
    struct mh_pool *pool = NULL;
    struct mh_err err;
    cr_assert_eq(mh_pool_new(1u << 20, &pool, &err), 0);
    unsigned failures = 0;
    for (uint64_t nth = 1; nth < 1000; nth++) {
        struct mh_slab *slab = mh_slab_get(pool);
        struct mh_resp *r = NULL;
        cr_assert(slab);
        memcpy(slab->data, in.data, in.len);
        mh_mem_fail_nth(nth);
        int rc = mh_resp_new(&r, &err);
        for (size_t at = 0; rc == 0 && at < in.len; at += piece_len) {
            struct mh_resp_event ev = {.type = MH_RESP_MORE};
            struct mh_slice piece =
                mh_slice_of(slab, (uint32_t)at, (uint32_t)MH_MIN(in.len - at, piece_len));
            do {
                rc = mh_resp_next(r, &piece, &ev, &err);
                if (rc == 0 && ev.type == MH_RESP_BODY_DATA)
                    mh_slice_drop(&ev.slice);
            } while (rc == 0 && ev.type != MH_RESP_MORE);
            mh_slice_drop(&piece);
        }
        mh_mem_fail_nth(0);
        mh_resp_free(r);
        mh_slab_unref(slab);
        if (rc == 0)
            break;
        failures++;
        cr_expect_eq(rc, MH_ERUN, "allocation %llu: %s", (unsigned long long)nth, err.text);
    }
    cr_expect_geq(failures, 5u);
    mh_pool_free(pool);
    mh_buf_done(&in);
}

Test(wire_resp, survives_every_failed_allocation)
{
    fail_each_allocation(50);
    fail_each_allocation(4096);
}

/* The copy that an escaped string needs fails. */
Test(wire_resp, survives_a_failed_copy_of_a_line)
{
    struct transcript t;
    const char *line = "* LIST () \"/\" \"a\\\"b\"\r\n";
    transcript_init(&t);
    struct mh_slice slice = transcript_slice(&t, "* LIST () NIL a\r\n", 17);
    cr_assert(transcript_feed(&t, slice));
    slice = transcript_slice(&t, line, (uint32_t)strlen(line));
    struct mh_resp_event ev;
    mh_mem_fail_nth(1);
    cr_expect_eq(mh_resp_next(t.resp, &slice, &ev, &t.err), MH_ERUN);
    mh_mem_fail_nth(0);
    mh_slice_drop(&slice);
    transcript_done(&t);
}

Test(wire_resp, idle)
{
    struct transcript t;
    transcript_init(&t);
    cr_expect(mh_resp_is_idle(t.resp));
    static const struct {
        const char *piece;
        bool idle;
    } steps[] = {
        {"* OK ", false}, {"hi\r\n", true},
        {"\r\n", true},   {"* 1 FETCH (BODY[] {2}\r\n", false},
        {"ab", false},    {")", false},
        {"\r\n", true},   {"* LIST () \"/\" {1}\r\n", false},
        {"a", false},     {"\r\n* OK behind it\r\n", true},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(steps); i++) {
        struct mh_slice slice =
            transcript_slice(&t, steps[i].piece, (uint32_t)strlen(steps[i].piece));
        cr_assert(transcript_feed(&t, slice));
        cr_expect_eq(mh_resp_is_idle(t.resp), steps[i].idle, "step %zu", i);
    }
    transcript_done(&t);
}

Test(wire_resp, keyword)
{
    cr_expect(mh_resp_is("fetch", 5, "FETCH"));
    cr_expect(mh_resp_is("FeTcH...", 5, "FETCH"));
    cr_expect_not(mh_resp_is("FETC", 4, "FETCH"));
    cr_expect_not(mh_resp_is("FETCHX", 6, "FETCH"));
    cr_expect_not(mh_resp_is("FETCH\0", 6, "FETCH"));
    cr_expect(mh_resp_is("", 0, ""));
    cr_expect_not(mh_resp_is("\xe6", 1, "\xc6"), "only ASCII is folded");
}
