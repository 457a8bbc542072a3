/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "mail/digest_priv.h"

struct mh_digest_ctx {
    EVP_MD_CTX *evp;                 /* owned */
    struct fingerprint *fingerprint; /* owned; of that kind only, EVP is idle then */
    enum mh_digest_kind kind;
    /* Canonical: CRs at the end of what was fed, not yet decided: an LF makes them one line end. */
    size_t pending_crs;
    /* Canonical: something was fed since the last line end. */
    bool in_line;
};

/* Fetched once: an implicit fetch costs more than the digest of a small message. */
static const EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void sha256_fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
}

int mh_digest_ctx_new(enum mh_digest_kind kind, struct mh_digest_ctx **out, struct mh_err *err)
{
    pthread_once(&sha256_once, sha256_fetch);
    struct mh_digest_ctx *c = mh_zalloc(sizeof *c);
    if (!c)
        return mh_err_nomem(err);
    c->kind = kind;
    c->evp = EVP_MD_CTX_new();
    if (!c->evp || !sha256 || EVP_DigestInit_ex2(c->evp, sha256, NULL) != 1) {
        mh_digest_ctx_free(c);
        return mh_err_set(err, MH_ERUN, "mail",
                          "OpenSSL gives no SHA-256: check its configuration (openssl.cnf)");
    }
    int code =
        kind == MH_DIGEST_FINGERPRINT ? fingerprint_new(sha256, &c->fingerprint, err) : MH_OK;
    if (code != MH_OK) {
        mh_digest_ctx_free(c);
        return code;
    }
    *out = c;
    return MH_OK;
}

void mh_digest_ctx_free(struct mh_digest_ctx *c)
{
    if (!c)
        return;
    EVP_MD_CTX_free(c->evp);
    fingerprint_free(c->fingerprint);
    mh_free(c);
}

void mh_digest_start(struct mh_digest_ctx *c)
{
    c->pending_crs = 0;
    c->in_line = false;
    if (c->fingerprint) {
        fingerprint_start(c->fingerprint);
        return;
    }
    /* No type: the context is used again as it is. OpenSSL 3.0 still makes its inner state anew,
     * one small malloc of its own; there is no EVP call that does without. */
    int ok = EVP_DigestInit_ex2(c->evp, NULL, NULL);
    mh_assert(ok == 1);
}

static void feed(struct mh_digest_ctx *c, const void *data, size_t len)
{
    if (c->fingerprint) {
        fingerprint_feed(c->fingerprint, data, len);
        return;
    }
    /* SHA-256 takes 2^61 bytes; it can only fail in a context that was not started. */
    int ok = EVP_DigestUpdate(c->evp, data, len);
    mh_assert(ok == 1);
}

/* --- canonical form --------------------------------------------------------------------------- */

/* Skips octets that are no line end and no NUL, eight at a time: a word is left when one of its
 * octets is below 14 (0x0e), which takes the rare tab with it. */
static size_t plain_run(const unsigned char *p, size_t i, size_t len)
{
    const uint64_t ones = UINT64_MAX / 255;
    for (;;) {
        while (len - i >= 8) {
            uint64_t w;
            memcpy(&w, p + i, sizeof w);
            if ((w - ones * 14) & ~w & (ones * 128))
                break;
            i += 8;
        }
        size_t stop = MH_MIN(len, i + 8);
        while (i < stop && p[i] != '\r' && p[i] != '\n' && p[i] != '\0')
            i++;
        if (i < stop || i == len)
            return i;
    }
}

static void feed_line_ends(struct mh_digest_ctx *c, size_t n)
{
    for (; n > 0; n--)
        feed(c, "\r\n", 2);
    c->in_line = false;
}

/* The CRs that the last call left open, and those that P begins with; returns how much of P they take. */
static size_t settle_crs(struct mh_digest_ctx *c, const unsigned char *p, size_t len)
{
    size_t i = 0;
    if (c->pending_crs == 0)
        return 0;
    while (i < len && p[i] == '\r') {
        c->pending_crs++;
        i++;
    }
    if (i == len)
        return i;
    bool is_line_end = p[i] == '\n';
    feed_line_ends(c, is_line_end ? 1 : c->pending_crs);
    c->pending_crs = 0;
    return i + is_line_end;
}

static void canonical_add(struct mh_digest_ctx *c, const unsigned char *p, size_t len)
{
    static const unsigned char nul_becomes = 0x80;
    size_t i = settle_crs(c, p, len);
    size_t start = i; /* p[start..i) is canonical as it stands and not yet fed */
    while (i < len) {
        size_t plain_end = plain_run(p, i, len);
        c->in_line |= plain_end > i;
        i = plain_end;
        if (i == len)
            break;
        if (p[i] == '\r' && i + 1 < len && p[i + 1] == '\n') {
            c->in_line = false;
            i += 2;
            continue;
        }
        if (i > start)
            feed(c, p + start, i - start);
        if (p[i] == '\r') {
            c->pending_crs = 1;
            i++;
            i += settle_crs(c, p + i, len - i);
        } else if (p[i] == '\n') {
            feed_line_ends(c, 1);
            i++;
        } else {
            feed(c, &nul_becomes, 1);
            c->in_line = true;
            i++;
        }
        start = i;
    }
    if (len > start)
        feed(c, p + start, len - start);
}

/* --- the contract ----------------------------------------------------------------------------- */

void mh_digest_add(struct mh_digest_ctx *c, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (c->kind != MH_DIGEST_EXACT)
        canonical_add(c, data, len);
    else
        feed(c, data, len);
}

void mh_digest_end(struct mh_digest_ctx *c, struct mh_digest *out)
{
    if (c->pending_crs) /* never of the exact kind, nor is in_line */
        feed_line_ends(c, c->pending_crs);
    else if (c->in_line)
        feed_line_ends(c, 1);
    c->pending_crs = 0;
    if (c->fingerprint) {
        fingerprint_end(c->fingerprint, out);
        return;
    }
    unsigned len = 0;
    int ok = EVP_DigestFinal_ex(c->evp, out->bytes, &len);
    mh_assert(ok == 1 && len == MH_DIGEST_BYTES);
}

void mh_digest_of(const void *data, size_t len, struct mh_digest *out)
{
    pthread_once(&sha256_once, sha256_fetch);
    unsigned out_len = 0;
    /* Without SHA-256 mh_digest_ctx_new() has refused long before; input has no say in it. */
    int ok = EVP_Digest(data, len, out->bytes, &out_len, sha256, NULL);
    mh_assert(ok == 1 && out_len == MH_DIGEST_BYTES);
}

void mh_digest_hex(const struct mh_digest *d, char out[65])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < MH_DIGEST_BYTES; i++) {
        out[2 * i] = digits[d->bytes[i] >> 4];
        out[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    out[64] = '\0';
}

/* --- fingerprints ----------------------------------------------------------------------------- */

int mh_fingerprint_compare(const struct mh_digest *a, const struct mh_digest *b)
{
    return memcmp(a->bytes, b->bytes, MH_FINGERPRINT_BYTES);
}

bool mh_fingerprint_has_id(const struct mh_digest *d)
{
    unsigned any = 0;
    for (size_t i = MH_FINGERPRINT_BYTES; i < MH_DIGEST_BYTES; i++)
        any |= d->bytes[i];
    return any != 0;
}
