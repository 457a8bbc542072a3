/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Content digests: SHA-256 of a message's octets, computed as the bytes pass (+0.66 ns/B).
 *
 * The canonical digest answers "the same message after what servers are known to rewrite": every
 * LF with the CRs before it, and every CR without an LF behind it, counts as one CRLF (Dovecot 2.3
 * stores CR CR LF as CR LF), a NUL counts as 0x80 (Dovecot), and a missing final line end counts as
 * present. Two messages with one canonical digest are `same`, with one exact digest `exact`.
 *
 * The fingerprint answers "the same message, although another tool has put headers in, dropped some,
 * folded them anew, or a server has replaced their 8-bit bytes (Cyrus)": Date, From, To, Cc, Subject
 * and Message-ID without their blanks, line ends and the angle brackets of Message-ID, bytes from 0x80 on as 'X', and
 * the canonical body. Its last bytes are Message-ID's own, all zero where there is none, because some tools drop or add it
 * (mh_fingerprint_*). A message with neither Date nor Message-ID is known by its whole header and body.
 *
 * A context belongs to one scheduler; it is reused, so that no message costs a malloc of ours, and needs the same memory
 * for every message.
 */
#ifndef MH_MAIL_DIGEST_H
#define MH_MAIL_DIGEST_H

#include <stdbool.h>

#include "base/error.h"

#define MH_DIGEST_BYTES 32

struct mh_digest {
    unsigned char bytes[MH_DIGEST_BYTES];
};

enum mh_digest_kind { MH_DIGEST_EXACT, MH_DIGEST_CANONICAL, MH_DIGEST_FINGERPRINT };

struct mh_digest_ctx;

int mh_digest_ctx_new(enum mh_digest_kind kind, struct mh_digest_ctx **out,
                      struct mh_err *err) MH_MUST_CHECK;
void mh_digest_ctx_free(struct mh_digest_ctx *c);
void mh_digest_start(struct mh_digest_ctx *c);
void mh_digest_add(struct mh_digest_ctx *c, const void *data, size_t len);
void mh_digest_end(struct mh_digest_ctx *c, struct mh_digest *out);
void mh_digest_of(const void *data, size_t len, struct mh_digest *out);
void mh_digest_hex(const struct mh_digest *d, char out[65]);

/* Of a fingerprint's bytes so many stand for all but the Message-ID. */
#define MH_FINGERPRINT_BYTES 20

/* Orders by all but the Message-ID: below, 0 or above. */
int mh_fingerprint_compare(const struct mh_digest *a, const struct mh_digest *b);
/* The message had a Message-ID. */
bool mh_fingerprint_has_id(const struct mh_digest *d);

#endif
