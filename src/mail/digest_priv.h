/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the digests: the fingerprint, which takes the canonical form of a message as it is made, torn
 * anywhere, and tells header from body. A struct fingerprint belongs to its context; no allocation
 * behind fingerprint_new().
 */
#ifndef MH_MAIL_DIGEST_PRIV_H
#define MH_MAIL_DIGEST_PRIV_H

#include <openssl/types.h>

#include "mail/digest.h"

struct fingerprint;

/* SHA256: borrowed. */
int fingerprint_new(const EVP_MD *sha256, struct fingerprint **out,
                    struct mh_err *err) MH_MUST_CHECK;
void fingerprint_free(struct fingerprint *f);
void fingerprint_start(struct fingerprint *f);
/* Canonical octets: every line ends with CRLF, there is no NUL. */
void fingerprint_feed(struct fingerprint *f, const unsigned char *p, size_t len);
void fingerprint_end(struct fingerprint *f, struct mh_digest *out);

#endif
