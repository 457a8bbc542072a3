/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Certificates for the tests of src/net, good and bad, made in memory with OpenSSL when a test asks
 * for them: nothing in the tree expires. They live until the test's process ends (certs_made).
 */
#ifndef MH_TESTS_NET_CERTS_H
#define MH_TESTS_NET_CERTS_H

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_S (24 * 3600)

enum ca_kind {
    CA_LEAF,          /* CA:FALSE */
    CA_YES,           /* CA:TRUE */
    CA_NO_EXTENSIONS, /* neither basicConstraints nor keyUsage */
    CA_USAGE_ONLY,    /* keyCertSign without basicConstraints */
};

struct cert_spec {
    const char *cn;
    const char *san[3]; /* DNS names, or addresses as "IP:…" */
    size_t san_len[3];  /* 0: strlen; otherwise how many bytes, so that a NUL can be in it */
    enum ca_kind ca;
    int rsa_bits;         /* 0: a P-256 key */
    const char *digest;   /* NULL: SHA-256 */
    long from_s, until_s; /* from now; 0 and 0: yesterday to in 30 days */
    const char *purpose;  /* extendedKeyUsage, or NULL */
};

struct cert {
    X509 *x;
    EVP_PKEY *key;
};

static struct cert certs_made[128];
static size_t n_certs_made;

static inline void cert_add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    cr_assert_not_null(ext, "%s", value);
    cr_assert_eq(X509_add_ext(x, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

/* By hand: the configuration syntax cannot say NUL. */
static inline void cert_add_names(X509 *x, const struct cert_spec *spec)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    for (size_t i = 0; i < 3 && spec->san[i]; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        const char *text = spec->san[i];
        if (strncmp(text, "IP:", 3) == 0) {
            ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text + 3);
            cr_assert_not_null(ip);
            GENERAL_NAME_set0_value(name, GEN_IPADD, ip);
        } else {
            ASN1_IA5STRING *dns = ASN1_IA5STRING_new();
            size_t len = spec->san_len[i] ? spec->san_len[i] : strlen(text);
            cr_assert_eq(ASN1_STRING_set(dns, text, (int)len), 1);
            GENERAL_NAME_set0_value(name, GEN_DNS, dns);
        }
        cr_assert_gt(sk_GENERAL_NAME_push(names, name), 0);
    }
    if (sk_GENERAL_NAME_num(names) > 0)
        cr_assert_eq(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

/* Signed by ISSUER, or by itself when that is NULL. */
static inline struct cert cert_make(const struct cert_spec *spec, const struct cert *issuer)
{
    static long serial = 1000;
    struct cert c = {X509_new(),
                     spec->rsa_bits ? EVP_RSA_gen((unsigned)spec->rsa_bits) : EVP_EC_gen("P-256")};
    cr_assert(c.x && c.key);
    X509 *signer = issuer ? issuer->x : c.x;
    bool has_times = spec->from_s || spec->until_s;
    cr_assert_eq(X509_set_version(c.x, X509_VERSION_3), 1);
    cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(c.x), serial++), 1);
    cr_assert_not_null(
        X509_gmtime_adj(X509_getm_notBefore(c.x), has_times ? spec->from_s : -DAY_S));
    cr_assert_not_null(
        X509_gmtime_adj(X509_getm_notAfter(c.x), has_times ? spec->until_s : 30 * DAY_S));
    cr_assert_eq(X509_set_pubkey(c.x, c.key), 1);
    cr_assert_eq(X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x), "CN", MBSTRING_UTF8,
                                            (const unsigned char *)spec->cn, -1, -1, 0),
                 1);
    cr_assert_eq(X509_set_issuer_name(c.x, X509_get_subject_name(signer)), 1);
    cert_add_names(c.x, spec);
    if (spec->ca == CA_YES || spec->ca == CA_LEAF)
        cert_add_extension(c.x, signer, NID_basic_constraints,
                           spec->ca == CA_YES ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (spec->ca == CA_YES || spec->ca == CA_USAGE_ONLY)
        cert_add_extension(c.x, signer, NID_key_usage, "critical,keyCertSign");
    if (spec->purpose)
        cert_add_extension(c.x, signer, NID_ext_key_usage, spec->purpose);
    const EVP_MD *digest = EVP_get_digestbyname(spec->digest ? spec->digest : "SHA256");
    cr_assert_gt(X509_sign(c.x, issuer ? issuer->key : c.key, digest), 0);
    cr_assert_lt(n_certs_made, sizeof certs_made / sizeof certs_made[0]);
    certs_made[n_certs_made++] = c;
    return c;
}

/* PATH (a mkstemp() template) becomes a file with CERT in PEM form. */
static inline void cert_write(const struct cert *cert, char *path)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    FILE *f = fdopen(fd, "w");
    cr_assert_not_null(f);
    cr_assert_eq(PEM_write_X509(f, cert->x), 1);
    cr_assert_eq(fclose(f), 0);
}

static inline void cert_fingerprint(const struct cert *cert, char hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    cr_assert_eq(X509_digest(cert->x, EVP_sha256(), digest, &len), 1);
    for (unsigned i = 0; i < len; i++)
        (void)snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
}

#endif
