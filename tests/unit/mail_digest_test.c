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
