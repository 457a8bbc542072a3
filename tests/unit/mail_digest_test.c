/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/mem.h"
#include "mail/digest.h"

static void digest_in_steps(enum mh_digest_kind kind, const char *data, size_t len, size_t step,
                            char hex[65])
{
    struct mh_digest_ctx *c = NULL;
    struct mh_digest d;
    cr_assert_eq(mh_digest_ctx_new(kind, &c, NULL), 0);
    mh_digest_start(c);
    for (size_t i = 0; i < len; i += step)
        mh_digest_add(c, data + i, MH_MIN(step, len - i));
    mh_digest_end(c, &d);
    mh_digest_hex(&d, hex);
    mh_digest_ctx_free(c);
}

/* FIPS 180-2 examples. */
static const struct {
    const char *data, *hex;
} known[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

Test(mail_digest, known_answers)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(known); i++) {
        char hex[65];
        struct mh_digest d;
        size_t len = strlen(known[i].data);
        mh_digest_of(known[i].data, len, &d);
        mh_digest_hex(&d, hex);
        cr_expect_str_eq(hex, known[i].hex);
        for (size_t step = 1; step < 5; step++) {
            digest_in_steps(MH_DIGEST_EXACT, known[i].data, len, step, hex);
            cr_expect_str_eq(hex, known[i].hex);
        }
    }
}

#define TEXT(s) (s), sizeof(s) - 1

/* IN's canonical digest is the exact digest of CANON. */
static const struct {
    const char *name, *in;
    size_t in_len;
    const char *canon;
    size_t canon_len;
} canonical[] = {
    {"empty", TEXT(""), TEXT("")},
    {"canonical already", TEXT("a: b\r\n\r\nc\r\n"), TEXT("a: b\r\n\r\nc\r\n")},
    {"bare LF", TEXT("a: b\n\nc\n"), TEXT("a: b\r\n\r\nc\r\n")},
    {"bare CR", TEXT("a: b\r\rc\r"), TEXT("a: b\r\n\r\nc\r\n")},
    {"mixed", TEXT("a\nb\rc\r\nd"), TEXT("a\r\nb\r\nc\r\nd\r\n")},
    {"no final line end", TEXT("a: b\r\n\r\nc"), TEXT("a: b\r\n\r\nc\r\n")},
    {"only a line end", TEXT("\n"), TEXT("\r\n")},
    {"CR CR LF", TEXT("a\r\r\nb\r\n"), TEXT("a\r\nb\r\n")},
    {"CR CR LF LF", TEXT("a\r\r\n\nb\r\n"), TEXT("a\r\n\r\nb\r\n")},
    {"CRs at the end", TEXT("a\r\r\r"), TEXT("a\r\n\r\n\r\n")},
    {"LF CR", TEXT("a\n\rb\r\n"), TEXT("a\r\n\r\nb\r\n")},
    {"NUL", TEXT("a\0b\r\n"),
     TEXT("a\x80"
          "b\r\n")},
    {"NUL at the end", TEXT("a\r\n\0"), TEXT("a\r\n\x80\r\n")},
    {"NUL alone", TEXT("\0"), TEXT("\x80\r\n")},
    {"NUL between CR and LF", TEXT("a\r\0\n"), TEXT("a\r\n\x80\r\n")},
    {"tabs and other controls stay", TEXT("a\tb\x01\x0b\x0c\x0e\x1a\r\n"),
     TEXT("a\tb\x01\x0b\x0c\x0e\x1a\r\n")},
    {"8-bit stays", TEXT("\x80\xff\xfe\x81 \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\n"),
     TEXT("\x80\xff\xfe\x81 \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\r\n")},
    {"a long line", TEXT("0123456789012345678901234567890123456789012345678901234567890123\n0"),
     TEXT("0123456789012345678901234567890123456789012345678901234567890123\r\n0\r\n")},
};

Test(mail_digest, canonical)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(canonical); i++) {
        char expected[65];
        digest_in_steps(MH_DIGEST_EXACT, canonical[i].canon, canonical[i].canon_len, 4096,
                        expected);
        for (size_t step = 1; step <= canonical[i].in_len + 1; step++) {
            char hex[65];
            digest_in_steps(MH_DIGEST_CANONICAL, canonical[i].in, canonical[i].in_len, step, hex);
            cr_expect_str_eq(hex, expected, "%s in steps of %zu", canonical[i].name, step);
        }
    }
}

static size_t add_line_ends(unsigned char *out, size_t n, size_t count)
{
    for (; count > 0; count--) {
        out[n++] = '\r';
        out[n++] = '\n';
    }
    return n;
}

/* The plain definition, octet by octet. */
static size_t canonicalise(const unsigned char *in, size_t len, unsigned char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        size_t crs = 0;
        while (i + crs < len && in[i + crs] == '\r')
            crs++;
        bool lf = i + crs < len && in[i + crs] == '\n';
        if (crs || lf) {
            n = add_line_ends(out, n, lf ? 1 : crs);
            i += crs + lf;
        } else {
            out[n++] = in[i] ? in[i] : 0x80;
            i++;
        }
    }
    if (len && in[len - 1] != '\r' && in[len - 1] != '\n')
        n = add_line_ends(out, n, 1);
    return n;
}

Test(mail_digest, canonical_of_random_bytes_is_the_definition)
{
    static const unsigned char alphabet[] = {'\r', '\n', '\0', '\t', 'a',
                                             'b',  ' ',  0x80, 0xff, 0x0e};
    struct mh_digest_ctx *c = NULL;
    uint64_t seed = 88172645463325252ull;
    cr_assert_eq(mh_digest_ctx_new(MH_DIGEST_CANONICAL, &c, NULL), 0);
    for (int round = 0; round < 20000; round++) {
        unsigned char in[96];
        unsigned char canon[2 * sizeof in + 2];
        struct mh_digest got;
        struct mh_digest want;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        size_t len = seed % sizeof in;
        size_t letters = (seed >> 8) % 2 ? sizeof alphabet : 4;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            in[i] = (seed >> 33) % 8 ? 'x' : alphabet[(seed >> 40) % letters];
        }
        mh_digest_start(c);
        for (size_t at = 0; at < len;) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            size_t step = MH_MIN(1 + (seed >> 50) % 30, len - at);
            mh_digest_add(c, in + at, step);
            at += step;
        }
        mh_digest_end(c, &got);
        mh_digest_of(canon, canonicalise(in, len, canon), &want);
        cr_assert_arr_eq(got.bytes, want.bytes, MH_DIGEST_BYTES, "round %d", round);
    }
    mh_digest_ctx_free(c);
}

static size_t openssl_calls;

static void *counting_malloc(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    openssl_calls++;
    return malloc(n);
}

static void *counting_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    openssl_calls++;
    return realloc(p, n);
}

static void counting_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

/* Before main(): the test library itself uses OpenSSL, which takes no other functions after its
 * first allocation. */
__attribute__((constructor)) static void count_openssl(void)
{
    (void)CRYPTO_set_mem_functions(counting_malloc, counting_realloc, counting_free);
}

Test(mail_digest, used_again_without_an_allocation_of_ours)
{
    size_t openssl_at_start = openssl_calls;
    struct mh_digest_ctx *c = NULL;
    struct mh_digest first;
    struct mh_digest d;
    cr_assert_eq(mh_digest_ctx_new(MH_DIGEST_CANONICAL, &c, NULL), 0);
    cr_expect_gt(openssl_calls, openssl_at_start, "the counter works");
    mh_digest_start(c);
    mh_digest_add(c, "warm\n", 5);
    mh_digest_end(c, &first);
    size_t openssl_before = openssl_calls;
    uint64_t ours_before = mh_mem_calls();
    for (int i = 0; i < 1000; i++) {
        mh_digest_start(c);
        mh_digest_add(c, "warm\n", 5);
        mh_digest_end(c, &d);
        cr_assert_arr_eq(d.bytes, first.bytes, MH_DIGEST_BYTES);
    }
    cr_expect_leq(openssl_calls - openssl_before, 1000u, "at most one by OpenSSL per message");
    cr_expect_eq(mh_mem_calls(), ours_before);
    mh_digest_ctx_free(c);
}

/* A message that was cut off leaves nothing in the next one's digest. */
Test(mail_digest, start_forgets_an_unfinished_message)
{
    struct mh_digest_ctx *c = NULL;
    struct mh_digest got;
    struct mh_digest want;
    cr_assert_eq(mh_digest_ctx_new(MH_DIGEST_CANONICAL, &c, NULL), 0);
    mh_digest_start(c);
    mh_digest_add(c, "half a message\r", 15);
    mh_digest_start(c);
    mh_digest_add(c, "\na", 2);
    mh_digest_end(c, &got);
    mh_digest_of("\r\na\r\n", 5, &want);
    cr_expect_arr_eq(got.bytes, want.bytes, MH_DIGEST_BYTES);
    mh_digest_ctx_free(c);
}

/* --- fingerprints ----------------------------------------------------------------------------- */

#define HEAD                                                                                       \
    "Received: from a by b; Sun, 22 Nov 2026 10:00:00 +0100\r\n"                                   \
    "Date: Sun, 22 Nov 2026 10:00:00 +0100\r\n"                                                    \
    "From: Anna <anna@old.example>\r\n"                                                            \
    "To: Bert <bert@old.example>,\r\n Cora <cora@old.example>\r\n"                                 \
    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\tand more\r\n"
#define ID   "Message-ID: <1@old.example>\r\n"
#define BODY "\r\nDear Bert,\r\n\r\nyours\r\n"

enum likeness { SAME, SAME_BUT_ID, OTHER };

static const struct {
    const char *name;
    const char *a;
    size_t a_len;
    const char *b;
    size_t b_len;
    enum likeness like;
} alike[] = {
    {"itself", TEXT(HEAD ID BODY), TEXT(HEAD ID BODY), SAME},
    {"a header on top", TEXT(HEAD ID BODY), TEXT("X-TUID: abcdefghijkl\r\n" HEAD ID BODY), SAME},
    {"a header at the end", TEXT(HEAD ID BODY), TEXT(HEAD ID "X-TUID: abcdefghijkl\r\n" BODY),
     SAME},
    {"a folded header in the middle", TEXT(HEAD ID BODY),
     TEXT(HEAD "X-Spam-Report: a\r\n\tDate: is not one\r\n b\r\n" ID BODY), SAME},
    {"a header left out", TEXT("X-Mailer: some\r\n" HEAD ID BODY), TEXT(HEAD ID BODY), SAME},
    {"an empty field added", TEXT(HEAD ID BODY), TEXT(HEAD "Cc: \r\n" ID BODY), SAME},
    {"another order", TEXT(HEAD ID BODY), TEXT(ID HEAD BODY), SAME},
    {"a separator of an mbox", TEXT(HEAD ID BODY),
     TEXT("From anna@old.example Sun Nov 22 10:00:00 2026\r\n" HEAD ID BODY), SAME},
    {"a quoted separator inside", TEXT(HEAD ID BODY),
     TEXT(HEAD ">From anna@old.example Sun Nov 22 10:00:00 2026\r\n" ID BODY), SAME},
    {"line ends", TEXT("Date: x\r\nSubject: a\r\n b\r\n\r\nc\r\n\r\nd\r\n"),
     TEXT("Date: x\nSubject: a\n b\n\nc\n\nd"), SAME},
    {"CR CR LF", TEXT("Date: x\r\nSubject: a\r\n\r\nc\r\n"),
     TEXT("Date: x\r\r\nSubject: a\r\r\n\r\r\nc\r\r\n"), SAME},
    {"folded anew", TEXT("Date: x\r\nTo: a@b,c@d\r\nSubject: one  two\r\n\r\n"),
     TEXT("Date: x\r\nTo: a@b,\r\n\tc@d\r\nSubject: one\r\n two\r\n\r\n"), SAME},
    {"names in other letters, a blank before the colon",
     TEXT("Date: x\r\nMessage-ID: <1@a>\r\n\r\n"), TEXT("DATE : x\r\nmessage-id:<1@a>\r\n\r\n"),
     SAME},
    {"no brackets", TEXT(HEAD ID BODY), TEXT(HEAD "Message-ID: 1@old.example\r\n" BODY), SAME},
    {"8-bit bytes in the header",
     TEXT("Date: x\r\nSubject: Gr\xc3\xbc\xc3\x9f"
          "e\r\n\r\nb\r\n"),
     TEXT("Date: x\r\nSubject: GrXXXXe\r\n\r\nb\r\n"), SAME},
    {"NUL in the header", TEXT("Date: x\r\nSubject: a\0b\r\n\r\nb\r\n"),
     TEXT("Date: x\r\nSubject: aXb\r\n\r\nb\r\n"), SAME},
    {"no empty line, no body", TEXT(HEAD ID), TEXT(HEAD ID "\r\n"), SAME},
    {"no final line end in the header", TEXT("Date: x"), TEXT("Date: x\r\n"), SAME},
    {"the longest name",
     TEXT("X-2345678901234567890123456789012345678901234567890: a\r\n" HEAD ID BODY),
     TEXT(HEAD ID BODY), SAME},

    {"no Message-ID", TEXT(HEAD ID BODY), TEXT(HEAD BODY), SAME_BUT_ID},
    {"an empty Message-ID", TEXT(HEAD ID BODY), TEXT(HEAD "Message-ID: <>\r\n" BODY), SAME_BUT_ID},
    {"another Message-ID", TEXT(HEAD ID BODY), TEXT(HEAD "Message-ID: <2@old.example>\r\n" BODY),
     SAME_BUT_ID},

    {"another body", TEXT(HEAD ID BODY), TEXT(HEAD ID BODY "PS\r\n"), OTHER},
    {"8-bit bytes in the body", TEXT(HEAD ID "\r\n\xc3\xbc\r\n"), TEXT(HEAD ID "\r\nXX\r\n"),
     OTHER},
    {"blanks in the body", TEXT(HEAD ID "\r\na b\r\n"), TEXT(HEAD ID "\r\na  b\r\n"), OTHER},
    {"another date", TEXT("Date: x\r\nSubject: a\r\n\r\n"), TEXT("Date: y\r\nSubject: a\r\n\r\n"),
     OTHER},
    {"another subject", TEXT("Date: x\r\nSubject: a\r\n\r\n"),
     TEXT("Date: x\r\nSubject: b\r\n\r\n"), OTHER},
    {"another sender", TEXT("Date: x\r\nFrom: a\r\n\r\n"), TEXT("Date: x\r\nFrom: b\r\n\r\n"),
     OTHER},
    {"another recipient", TEXT("Date: x\r\nTo: a\r\n\r\n"), TEXT("Date: x\r\nTo: b\r\n\r\n"),
     OTHER},
    {"one more in copy", TEXT("Date: x\r\nCc: a\r\n\r\n"), TEXT("Date: x\r\nCc: a, b\r\n\r\n"),
     OTHER},
    {"the recipient in copy", TEXT("Date: x\r\nTo: a\r\n\r\n"), TEXT("Date: x\r\nCc: a\r\n\r\n"),
     OTHER},
    {"a second subject", TEXT("Date: x\r\nSubject: a\r\n\r\n"),
     TEXT("Date: x\r\nSubject: a\r\nSubject: a\r\n\r\n"), OTHER},
    {"a subject split in two", TEXT("Date: x\r\nSubject: ab\r\n\r\n"),
     TEXT("Date: x\r\nSubject: a\r\nSubject: b\r\n\r\n"), OTHER},
    {"two subjects the other way round", TEXT("Date: x\r\nSubject: a\r\nSubject: b\r\n\r\n"),
     TEXT("Date: x\r\nSubject: b\r\nSubject: a\r\n\r\n"), OTHER},
    {"no subject", TEXT("Date: x\r\nSubject: a\r\n\r\n"), TEXT("Date: x\r\n\r\n"), OTHER},
    {"body lines that look like a header", TEXT("Date: x\r\n\r\nSubject: a\r\n"),
     TEXT("Date: x\r\nSubject: a\r\n\r\n"), OTHER},

    /* Nothing to go by: the whole of it counts. */
    {"empty and not", TEXT(""), TEXT("\r\n"), OTHER},
    {"no header", TEXT("hello\r\nworld\r\n"), TEXT("hello\r\nword\r\n"), OTHER},
    {"no header, but colons", TEXT("hello world: a\r\n"), TEXT("hello world: b\r\n"), OTHER},
    {"strange headers only", TEXT("X-A: 1\r\n\r\n"), TEXT("X-A: 2\r\n\r\n"), OTHER},
    {"a subject alone, another header", TEXT("Subject: a\r\nX-A: 1\r\n\r\n"),
     TEXT("Subject: a\r\nX-A: 2\r\n\r\n"), OTHER},
    {"a first line that continues nothing", TEXT(" a\r\nDate: x\r\n\r\n"),
     TEXT(" b\r\nDate: x\r\n\r\n"), OTHER},
    {"what follows a line that is no field", TEXT("Date: x\r\nhello\r\nX-A: 1\r\n\r\n"),
     TEXT("Date: x\r\nhello\r\nX-A: 2\r\n\r\n"), OTHER},
};

static struct mh_digest fingerprint_in_steps(struct mh_digest_ctx *c, const char *data, size_t len,
                                             size_t step)
{
    struct mh_digest d;
    mh_digest_start(c);
    for (size_t i = 0; i < len; i += step)
        mh_digest_add(c, data + i, MH_MIN(step, len - i));
    mh_digest_end(c, &d);
    return d;
}

static enum likeness how_alike(const struct mh_digest *a, const struct mh_digest *b)
{
    if (memcmp(a, b, sizeof *a) == 0)
        return SAME;
    return mh_fingerprint_compare(a, b) == 0 ? SAME_BUT_ID : OTHER;
}

Test(mail_digest, fingerprints)
{
    struct mh_digest_ctx *c = NULL;
    cr_assert_eq(mh_digest_ctx_new(MH_DIGEST_FINGERPRINT, &c, NULL), 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(alike); i++) {
        struct mh_digest a = fingerprint_in_steps(c, alike[i].a, alike[i].a_len, 4096);
        for (size_t step = 1; step <= alike[i].b_len + 1; step++) {
            struct mh_digest b = fingerprint_in_steps(c, alike[i].b, alike[i].b_len, step);
            cr_expect_eq(how_alike(&a, &b), alike[i].like, "%s in steps of %zu", alike[i].name,
                         step);
        }
    }
    struct mh_digest with = fingerprint_in_steps(c, TEXT(HEAD ID BODY), 7);
    struct mh_digest without = fingerprint_in_steps(c, TEXT(HEAD BODY), 7);
    cr_expect(mh_fingerprint_has_id(&with));
    cr_expect_not(mh_fingerprint_has_id(&without));
    mh_digest_ctx_free(c);
}

/* A field of many megabytes needs no more memory; behind so much header the rest counts as body. */
Test(mail_digest, fingerprint_of_an_endless_header)
{
    enum { CHUNK = 1 << 16, CHUNKS = 32 };
    static char chunk[2][CHUNK];
    struct mh_digest_ctx *c = NULL;
    struct mh_digest d[4];
    memset(chunk[0], 'a', CHUNK);
    memset(chunk[1], 'b', CHUNK);
    cr_assert_eq(mh_digest_ctx_new(MH_DIGEST_FINGERPRINT, &c, NULL), 0);
    uint64_t before = mh_mem_calls();
    /* {early, late}: which chunk differs from the first message. */
    for (size_t k = 0; k < 4; k++) {
        mh_digest_start(c);
        mh_digest_add(c, TEXT("Date: x\r\nX-Long: "));
        for (size_t i = 0; i < CHUNKS; i++)
            mh_digest_add(c, chunk[(k == 1 && i == 1) || (k == 2 && i == CHUNKS - 2)], CHUNK);
        mh_digest_add(c, TEXT("\r\n\r\nbody\r\n"));
        mh_digest_end(c, &d[k]);
    }
    cr_expect_eq(mh_mem_calls(), before);
    cr_expect_eq(how_alike(&d[0], &d[3]), SAME, "the same again");
    cr_expect_eq(how_alike(&d[0], &d[1]), SAME, "a header that does not count");
    cr_expect_eq(how_alike(&d[0], &d[2]), OTHER, "behind the cap everything counts");
    mh_digest_ctx_free(c);
}

/* What random bytes do: the same in one piece and torn; the body is always looked at. */
Test(mail_digest, fingerprint_of_random_bytes)
{
    static const char alphabet[] = "\r\n\0 \t:<>dDaAtTeE:x\r\n\xff";
    struct mh_digest_ctx *c = NULL;
    uint64_t seed = 88172645463325252ull;
    cr_assert_eq(mh_digest_ctx_new(MH_DIGEST_FINGERPRINT, &c, NULL), 0);
    for (int round = 0; round < 20000; round++) {
        char in[64];
        size_t at = 0;
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        size_t len = (seed >> 33) % sizeof in;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            in[i] = alphabet[(seed >> 40) % (sizeof alphabet - 1)];
        }
        struct mh_digest whole = fingerprint_in_steps(c, in, len, sizeof in);
        mh_digest_start(c);
        while (at < len) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            size_t step = MH_MIN(1 + (seed >> 50) % 9, len - at);
            mh_digest_add(c, in + at, step);
            at += step;
        }
        struct mh_digest torn;
        mh_digest_end(c, &torn);
        cr_assert_arr_eq(whole.bytes, torn.bytes, MH_DIGEST_BYTES, "round %d", round);
    }
    mh_digest_ctx_free(c);
}
