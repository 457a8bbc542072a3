/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Is this the server we were told to talk to? The certificate is checked inside the handshake,
 * before our Finished leaves. Names: RFC 9525 (subjectAltName only, one wildcard as the whole first
 * label). Everything quoted from a certificate is hostile: cut and made printable.
 */
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "net/tls_priv.h"

enum {
    NAME_BYTES = 64,   /* of one name, for people */
    NAMES_BYTES = 100, /* of a list of them */
};

void mh_tls_fingerprint(const X509 *cert, char hex[2 * MH_SHA256_BYTES + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    hex[0] = '\0';
    if (X509_digest(cert, EVP_sha256(), digest, &len) != 1)
        return;
    for (unsigned i = 0; i < len && i < MH_SHA256_BYTES; i++)
        (void)snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
}

/* --- names for people ------------------------------------------------------------------------ */

static void add_asn1(struct mh_buf *b, const ASN1_STRING *s)
{
    mh_buf_add_printable(b, (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

static void copy_cut(char *dst, size_t size, struct mh_buf *b)
{
    bool is_cut = b->len >= size;
    (void)snprintf(dst, size, "%.*s%s", (int)(is_cut ? size - 4 : size - 1), mh_buf_str(b),
                   is_cut ? "..." : "");
    mh_buf_done(b);
}

/* The common name, or the organisation, of NAME. */
static const char *short_name(const X509_NAME *name, char out[NAME_BYTES])
{
    static const int kinds[] = {NID_commonName, NID_organizationalUnitName, NID_organizationName};
    struct mh_buf b = MH_BUF_INIT;
    for (size_t i = 0; i < MH_ARRAY_LEN(kinds) && b.len == 0; i++) {
        int at = X509_NAME_get_index_by_NID(name, kinds[i], -1);
        if (at >= 0)
            add_asn1(&b, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    }
    if (b.len == 0)
        mh_buf_adds(&b, "(no name)");
    copy_cut(out, NAME_BYTES, &b);
    return out;
}

static void add_address(struct mh_buf *b, const ASN1_OCTET_STRING *ip)
{
    const unsigned char *a = ASN1_STRING_get0_data(ip);
    if (ASN1_STRING_length(ip) == 4) {
        mh_buf_addf(b, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
        return;
    }
    for (int i = 0; i + 1 < ASN1_STRING_length(ip); i += 2)
        mh_buf_addf(b, "%s%x", i ? ":" : "", (unsigned)a[i] << 8 | a[i + 1]);
}

/* What the certificate says whom it is for. */
struct alt_names {
    char text[NAMES_BYTES];
    bool has_any; /* DNS or address */
    bool has_nul;
};

static void read_alt_names(const X509 *cert, struct alt_names *out)
{
    struct mh_buf b = MH_BUF_INIT;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    *out = (struct alt_names){0};
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        bool is_dns = name->type == GEN_DNS;
        if (!is_dns && name->type != GEN_IPADD)
            continue;
        mh_buf_adds(&b, out->has_any ? ", " : "");
        out->has_any = true;
        if (is_dns) {
            const ASN1_STRING *s = name->d.dNSName;
            size_t len = (size_t)ASN1_STRING_length(s);
            out->has_nul |= memchr(ASN1_STRING_get0_data(s), '\0', len) != NULL;
            add_asn1(&b, s);
        } else {
            add_address(&b, name->d.iPAddress);
        }
    }
    GENERAL_NAMES_free(names);
    copy_cut(out->text, sizeof out->text, &b);
}

static const char *date_text(const ASN1_TIME *when, char *buf, size_t buf_size)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(when, &tm) != 1 ||
        strftime(buf, buf_size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        (void)snprintf(buf, buf_size, "an unreadable date");
    return buf;
}

/* --- refusals -------------------------------------------------------------------------------- */

/* What can be done about a refusal besides asking the server's admin. */
enum advice {
    ADVICE_TRUST, /* ?ca=FILE or ?pin= */
    ADVICE_PIN,   /* only the pin: another root would not help */
};

static void refuse(struct mh_tls *t, const X509 *leaf, const char *slug, enum advice advice,
                   const char *why)
{
    char fingerprint[2 * MH_SHA256_BYTES + 1];
    mh_tls_fingerprint(leaf, fingerprint);
    (void)mh_err_set(&t->refusal, MH_EMAILBOX, "tls",
                     "certificate refused: %s; if its SHA-256 fingerprint is the server's, add %s"
                     "?pin=sha256:%s",
                     why, advice == ADVICE_TRUST ? "?ca=FILE (its root) or " : "", fingerprint);
    t->refusal.reason = slug;
}

/* True when this machine has no roots at all: then every chain fails, and the server is not to
 * blame. */
static bool has_no_system_roots(void)
{
    const char *file = getenv(X509_get_default_cert_file_env());
    const char *dir = getenv(X509_get_default_cert_dir_env());
    if (access(file ? file : X509_get_default_cert_file(), R_OK) == 0)
        return false;
    DIR *d = opendir(dir ? dir : X509_get_default_cert_dir());
    if (!d)
        return true;
    bool has_any = false;
    for (const struct dirent *e = readdir(d); e && !has_any; e = readdir(d))
        has_any = e->d_name[0] != '.';
    (void)closedir(d);
    return !has_any;
}

/* The certificate an error is about, as the subject of a sentence. */
static const char *culprit(const X509 *cert, int depth, char *buf, size_t buf_size)
{
    char name[NAME_BYTES];
    if (depth == 0 || !cert)
        (void)snprintf(buf, buf_size, "it");
    else
        (void)snprintf(buf, buf_size, "its authority \"%s\"",
                       short_name(X509_get_subject_name(cert), name));
    return buf;
}

static void refuse_unknown(struct mh_tls *t, X509_STORE_CTX *ctx, const X509 *leaf)
{
    char why[256];
    char name[NAME_BYTES];
    const X509 *last = X509_STORE_CTX_get_current_cert(ctx);
    const char *issuer = short_name(X509_get_issuer_name(last ? last : leaf), name);
    const char *slug = "cert-unknown-root";
    if (!t->trust->ca_file && has_no_system_roots()) {
        (void)snprintf(why, sizeof why,
                       "this machine has no root certificates (install ca-certificates)");
    } else if (sk_X509_num(X509_STORE_CTX_get0_untrusted(ctx)) <= 1) {
        slug = "cert-chain";
        (void)snprintf(
            why, sizeof why,
            "its issuer \"%s\" is no root known here, and the server sent no intermediate "
            "certificate",
            issuer);
    } else {
        (void)snprintf(why, sizeof why, "the chain ends at the unknown authority \"%s\"", issuer);
    }
    refuse(t, leaf, slug, ADVICE_TRUST, why);
}

static void refuse_name(struct mh_tls *t, const X509 *leaf)
{
    char why[256];
    struct alt_names names;
    read_alt_names(leaf, &names);
    if (names.has_nul) {
        refuse(t, leaf, "cert-nul", ADVICE_PIN, "a name in it holds a NUL byte, as forged ones do");
    } else if (!names.has_any) {
        refuse(t, leaf, "cert-cn-only", ADVICE_PIN,
               "it has no subjectAltName; a name in the subject (CN) does not count (RFC 9525)");
    } else {
        (void)snprintf(why, sizeof why, "it is not for %.60s but for %s", t->peer.host, names.text);
        refuse(t, leaf, "cert-host", ADVICE_PIN, why);
    }
}

static void refuse_time(struct mh_tls *t, const X509 *cert, int depth, bool is_expired,
                        const X509 *leaf)
{
    char why[256];
    char who[NAME_BYTES + 20];
    char date[64];
    culprit(cert, depth, who, sizeof who);
    if (is_expired)
        (void)snprintf(why, sizeof why, "%s expired on %s", who,
                       date_text(X509_get0_notAfter(cert), date, sizeof date));
    else
        (void)snprintf(why, sizeof why, "%s is valid only from %s (is this machine's clock right?)",
                       who, date_text(X509_get0_notBefore(cert), date, sizeof date));
    refuse(t, leaf, is_expired ? "cert-expired" : "cert-not-yet-valid", ADVICE_PIN, why);
}

static void refuse_weak(struct mh_tls *t, const X509 *cert, int depth, bool is_key,
                        const X509 *leaf)
{
    char why[256];
    char who[NAME_BYTES + 20];
    culprit(cert, depth, who, sizeof who);
    if (is_key)
        (void)snprintf(why, sizeof why, "the key of %s is too weak (%d bits; RSA needs 2048)",
                       depth == 0 ? "the certificate" : who,
                       EVP_PKEY_get_bits(X509_get0_pubkey(cert)));
    else
        (void)snprintf(why, sizeof why, "%s is signed in a way that can be forged (%s)", who,
                       OBJ_nid2ln(X509_get_signature_nid(cert)));
    refuse(t, leaf, is_key ? "cert-weak-key" : "cert-weak-signature", ADVICE_PIN, why);
}

static void refuse_no_ca(struct mh_tls *t, const X509 *issuer, const X509 *leaf)
{
    char why[256];
    char name[NAME_BYTES];
    (void)snprintf(why, sizeof why, "its issuer \"%s\" is no certificate authority",
                   short_name(X509_get_subject_name(issuer), name));
    refuse(t, leaf, "cert-issuer-no-ca", ADVICE_PIN, why);
}

/* Puts OpenSSL's verdict into words. */
static void refuse_by_code(struct mh_tls *t, X509_STORE_CTX *ctx, const X509 *leaf)
{
    int code = X509_STORE_CTX_get_error(ctx);
    int depth = X509_STORE_CTX_get_error_depth(ctx);
    const X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    if (!cert)
        cert = leaf;
    switch (code) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        refuse(t, leaf, "cert-self-signed", ADVICE_TRUST, "it is self-signed and not trusted here");
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        refuse_unknown(t, ctx, leaf);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        refuse_name(t, leaf);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        refuse_time(t, cert, depth, code == X509_V_ERR_CERT_HAS_EXPIRED, leaf);
        break;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
        refuse_weak(t, cert, depth, true, leaf);
        break;
    case X509_V_ERR_CA_MD_TOO_WEAK:
        refuse_weak(t, cert, depth, false, leaf);
        break;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        refuse_no_ca(t, cert, leaf);
        break;
    default:
        refuse(t, leaf, "cert", ADVICE_PIN, X509_verify_cert_error_string(code));
        break;
    }
}

static bool is_pinned(const struct mh_tls *t, const X509 *leaf)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    return X509_digest(leaf, EVP_sha256(), digest, &len) == 1 && len == MH_SHA256_BYTES &&
           memcmp(digest, t->trust->pin, MH_SHA256_BYTES) == 0;
}

/* A pin names one certificate and stands for the whole check. */
static bool verify_pin(struct mh_tls *t, X509_STORE_CTX *ctx, const X509 *leaf)
{
    if (is_pinned(t, leaf)) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return true;
    }
    refuse(t, leaf, "cert-pin", ADVICE_PIN,
           "it is not the pinned one (renewed by the server, or someone stands in between)");
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
    return false;
}

static bool verify_chain(struct mh_tls *t, X509_STORE_CTX *ctx, const X509 *leaf)
{
    struct alt_names names;
    bool is_good = X509_verify_cert(ctx) == 1;
    ERR_clear_error();
    if (!is_good) {
        refuse_by_code(t, ctx, leaf);
        return false;
    }
    read_alt_names(leaf, &names);
    if (!names.has_nul)
        return true;
    refuse_name(t, leaf);
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
    return false;
}

int mh_tls_verify(X509_STORE_CTX *ctx, void *arg)
{
    (void)arg;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct mh_tls *t = SSL_get_app_data(ssl);
    const X509 *leaf = X509_STORE_CTX_get0_cert(ctx);
    mh_assert(leaf != NULL);
    return t->trust->has_pin ? verify_pin(t, ctx, leaf) : verify_chain(t, ctx, leaf);
}
