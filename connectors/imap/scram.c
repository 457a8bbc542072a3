/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SCRAM-SHA-256 and SCRAM-SHA-1 (RFC 5802, RFC 7677), the client's side, without channel binding
 * ("n": most servers behind a TLS proxy could not check it).
 *
 * The server proves that it knows the password too, and is not believed before that. Its iteration
 * count is bounded: the key derivation runs in a worker thread, but even there a hostile count must
 * not burn the processor.
 */
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "connectors/imap/imap_priv.h"
#include "wire/base64.h"

enum { NONCE_BYTES = 18, SALT_MAX_BYTES = 1024 };

static const EVP_MD *md_of(const struct imap_scram *c)
{
    return c->sha256 ? EVP_sha256() : EVP_sha1();
}

static int hash_len(const struct imap_scram *c)
{
    return c->sha256 ? 32 : 20;
}

void imap_scram_init(struct imap_scram *c, bool sha256)
{
    *c = (struct imap_scram){.sha256 = sha256};
}

void imap_scram_done(struct imap_scram *c)
{
    OPENSSL_cleanse(c->server_signature, sizeof c->server_signature);
    mh_buf_done(&c->bare);
    mh_buf_done(&c->gs2);
}

void imap_saslname_add(struct mh_buf *b, const char *name)
{
    for (; *name; name++) {
        if (*name == ',')
            mh_buf_adds(b, "=2C");
        else if (*name == '=')
            mh_buf_adds(b, "=3D");
        else
            mh_buf_addc(b, *name);
    }
}

static int make_nonce(struct imap_scram *c, struct mh_err *err)
{
    if (c->nonce[0])
        return MH_OK;
    unsigned char random[NONCE_BYTES];
    if (RAND_bytes(random, sizeof random) != 1)
        return mh_err_set(err, MH_ERUN, "imap", "no random numbers from OpenSSL");
    struct mh_buf text = MH_BUF_INIT;
    mh_base64_encode(random, sizeof random, &text);
    mh_assert(text.len < sizeof c->nonce || mh_buf_failed(&text));
    bool failed = mh_buf_failed(&text);
    if (!failed)
        memcpy(c->nonce, text.data, text.len + 1);
    mh_buf_done(&text);
    return failed ? mh_err_nomem(err) : MH_OK;
}

int imap_scram_first(struct imap_scram *c, const char *authcid, const char *authzid,
                     struct mh_buf *out, struct mh_err *err)
{
    int rc = make_nonce(c, err);
    if (rc)
        return rc;
    mh_buf_adds(&c->gs2, "n,");
    if (authzid[0]) {
        mh_buf_adds(&c->gs2, "a=");
        imap_saslname_add(&c->gs2, authzid);
    }
    mh_buf_addc(&c->gs2, ',');
    mh_buf_adds(&c->bare, "n=");
    imap_saslname_add(&c->bare, authcid);
    mh_buf_addf(&c->bare, ",r=%s", c->nonce);
    mh_buf_add(out, mh_buf_str(&c->gs2), c->gs2.len);
    mh_buf_add(out, mh_buf_str(&c->bare), c->bare.len);
    bool failed = mh_buf_failed(&c->gs2) || mh_buf_failed(&c->bare) || mh_buf_failed(out);
    return failed ? mh_err_nomem(err) : MH_OK;
}

/* --- the server's first message --------------------------------------------------------------- */

struct server_first {
    const char *nonce;
    size_t nonce_len;
    const char *salt; /* base64 */
    size_t salt_len;
    int iterations;
};

/* `NAME=value` at *P, up to the next comma. */
static bool take_attr(const char **p, const char *end, char name, const char **value, size_t *len)
{
    if (end - *p < 2 || (*p)[0] != name || (*p)[1] != '=')
        return false;
    *value = *p + 2;
    const char *comma = memchr(*value, ',', (size_t)(end - *value));
    const char *stop = comma ? comma : end;
    *len = (size_t)(stop - *value);
    *p = comma ? comma + 1 : end;
    return true;
}

static int parse_first(const struct imap_scram *c, const char *s, size_t len,
                       struct server_first *f, struct mh_err *err)
{
    const char *p = s;
    const char *end = s + len;
    const char *count = NULL;
    size_t count_len = 0;
    uint64_t n = 0;
    if (!take_attr(&p, end, 'r', &f->nonce, &f->nonce_len) ||
        !take_attr(&p, end, 's', &f->salt, &f->salt_len) ||
        !take_attr(&p, end, 'i', &count, &count_len) ||
        !mh_parse_u64(count, count_len, INT32_MAX, &n))
        return mh_err_set(err, MH_EAUTH, "imap", "the server's SCRAM challenge is malformed");
    size_t ours = strlen(c->nonce);
    if (f->nonce_len <= ours || memcmp(f->nonce, c->nonce, ours) != 0)
        return mh_err_set(err, MH_EAUTH, "imap",
                          "the server's SCRAM challenge is not the answer to ours");
    if (n < IMAP_SCRAM_ITERATIONS_MIN || n > IMAP_SCRAM_ITERATIONS_MAX)
        return mh_err_set(err, MH_EAUTH, "imap",
                          "the server asks for %llu SCRAM iterations; %d to %d are accepted",
                          (unsigned long long)n, IMAP_SCRAM_ITERATIONS_MIN,
                          IMAP_SCRAM_ITERATIONS_MAX);
    f->iterations = (int)n;
    return MH_OK;
}

/* --- the proof -------------------------------------------------------------------------------- */

struct derivation {
    const struct imap_scram *c;
    const struct mh_buf *password;
    const struct mh_buf *salt;
    const struct mh_buf *auth_message;
    int iterations;
    unsigned char proof[IMAP_SCRAM_HASH_MAX];
    unsigned char server_signature[IMAP_SCRAM_HASH_MAX];
    bool ok;
};

static bool hmac(const struct derivation *d, const unsigned char *key, const void *data, size_t len,
                 unsigned char *out)
{
    unsigned out_len = 0;
    return HMAC(md_of(d->c), key, hash_len(d->c), data, len, out, &out_len) != NULL;
}

/* RFC 5802 section 3. thread: worker */
static void derive(void *arg)
{
    struct derivation *d = arg;
    const EVP_MD *md = md_of(d->c);
    int n = hash_len(d->c);
    unsigned char salted[IMAP_SCRAM_HASH_MAX];
    unsigned char client_key[IMAP_SCRAM_HASH_MAX];
    unsigned char stored_key[IMAP_SCRAM_HASH_MAX];
    unsigned char client_signature[IMAP_SCRAM_HASH_MAX];
    unsigned char server_key[IMAP_SCRAM_HASH_MAX];
    d->ok = PKCS5_PBKDF2_HMAC(mh_buf_str(d->password), (int)d->password->len,
                              (const unsigned char *)mh_buf_str(d->salt), (int)d->salt->len,
                              d->iterations, md, n, salted) == 1 &&
            hmac(d, salted, "Client Key", 10, client_key) &&
            EVP_Digest(client_key, (size_t)n, stored_key, NULL, md, NULL) == 1 &&
            hmac(d, stored_key, d->auth_message->data, d->auth_message->len, client_signature) &&
            hmac(d, salted, "Server Key", 10, server_key) &&
            hmac(d, server_key, d->auth_message->data, d->auth_message->len, d->server_signature);
    for (int i = 0; i < n && d->ok; i++)
        d->proof[i] = client_key[i] ^ client_signature[i];
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client_key, sizeof client_key);
    OPENSSL_cleanse(stored_key, sizeof stored_key);
    OPENSSL_cleanse(server_key, sizeof server_key);
    OPENSSL_cleanse(client_signature, sizeof client_signature);
}

/* client-final-message-without-proof */
static void add_final(const struct imap_scram *c, const struct server_first *f, struct mh_buf *b)
{
    mh_buf_adds(b, "c=");
    mh_base64_encode(mh_buf_str(&c->gs2), c->gs2.len, b);
    mh_buf_adds(b, ",r=");
    mh_buf_add(b, f->nonce, f->nonce_len);
}

int imap_scram_final(struct imap_scram *c, const char *challenge, size_t len,
                     const struct mh_buf *password, struct mh_buf *out, struct mh_err *err)
{
    struct server_first f = {.nonce = NULL};
    int rc = parse_first(c, challenge, len, &f, err);
    if (rc)
        return rc;
    struct mh_buf salt = MH_BUF_INIT;
    struct mh_buf message = MH_BUF_INIT;
    struct derivation d = {c, password, &salt, &message, f.iterations, {0}, {0}, false};
    bool is_base64 = mh_base64_decode(f.salt, f.salt_len, &salt);
    if (mh_buf_failed(&salt)) {
        rc = mh_err_nomem(err);
        goto out;
    }
    if (!is_base64 || salt.len == 0 || salt.len > SALT_MAX_BYTES) {
        rc = mh_err_set(err, MH_EAUTH, "imap", "the server's SCRAM salt is malformed");
        goto out;
    }
    mh_buf_add(&message, mh_buf_str(&c->bare), c->bare.len);
    mh_buf_addc(&message, ',');
    mh_buf_add(&message, challenge, len);
    mh_buf_addc(&message, ',');
    add_final(c, &f, &message);
    add_final(c, &f, out);
    rc = mh_buf_failed(&message) || mh_buf_failed(out) ? mh_err_nomem(err) : MH_OK;
    if (rc)
        goto out;
    mh_offload(derive, &d);
    if (!d.ok) {
        rc = mh_err_set(err, MH_ERUN, "imap", "OpenSSL cannot compute the SCRAM proof");
        goto out;
    }
    mh_buf_adds(out, ",p=");
    mh_base64_encode(d.proof, (size_t)hash_len(c), out);
    memcpy(c->server_signature, d.server_signature, sizeof c->server_signature);
    c->has_signature = true;
    rc = mh_buf_failed(out) ? mh_err_nomem(err) : MH_OK;
out:
    OPENSSL_cleanse(&d, sizeof d);
    mh_buf_done(&salt);
    mh_buf_done(&message);
    return rc;
}

/* --- the server's proof ----------------------------------------------------------------------- */

int imap_scram_verify(struct imap_scram *c, const char *challenge, size_t len, struct mh_err *err)
{
    const char *p = challenge;
    const char *value = NULL;
    size_t value_len = 0;
    if (take_attr(&p, challenge + len, 'e', &value, &value_len)) {
        (void)mh_err_set(err, MH_EAUTH, "imap", "the server refuses the login");
        mh_err_server(err, value, value_len);
        return MH_EAUTH;
    }
    struct mh_buf signature = MH_BUF_INIT;
    size_t n = (size_t)hash_len(c);
    bool same = c->has_signature && take_attr(&p, challenge + len, 'v', &value, &value_len) &&
                mh_base64_decode(value, value_len, &signature) && signature.len == n &&
                CRYPTO_memcmp(signature.data, c->server_signature, n) == 0;
    bool no_memory = mh_buf_failed(&signature);
    mh_buf_done(&signature);
    if (no_memory)
        return mh_err_nomem(err);
    c->is_verified = same;
    if (same)
        return MH_OK;
    (void)mh_err_set(
        err, MH_EAUTH, "imap",
        "the server could not prove that it knows the password: it may be an impostor");
    if (err)
        err->reason = "impostor";
    return MH_EAUTH;
}
