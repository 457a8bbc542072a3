/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * special.h: bodies with a form of their own: reports, invitations, signed and wrapped mail.
 *
 * Each writes the MIME fields from Content-Type on, the blank line and the body, and expects a
 * header with MIME-Version before it. They look like the real thing; no signature verifies.
 * Memory: bytes are appended to the caller's buffer. Threads: one.
 */
#ifndef MHC_SPECIAL_H
#define MHC_SPECIAL_H

#include "base.h"
#include "date.h"
#include "prng.h"

/* Delivery status notification (RFC 3464). */
void mhc_special_dsn(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date);
/* Message disposition notification (RFC 8098). */
void mhc_special_mdn(struct mhc_buf *buf, struct mhc_prng *prng);
/* Abuse report (RFC 5965). */
void mhc_special_arf(struct mhc_buf *buf, struct mhc_prng *prng);
/* Invitation or cancellation (RFC 5546, RFC 6047); `method` is REQUEST, CANCEL or REPLY. */
void mhc_special_invite(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date,
                        const char *method);
/* S/MIME, RFC 8551: clear-signed, and enveloped. */
void mhc_special_smime_signed(struct mhc_buf *buf, struct mhc_prng *prng);
void mhc_special_smime_enveloped(struct mhc_buf *buf, struct mhc_prng *prng);
/* OpenPGP, RFC 3156: encrypted as MIME, and clear-signed in the text. */
void mhc_special_pgp_mime(struct mhc_buf *buf, struct mhc_prng *prng);
void mhc_special_pgp_inline(struct mhc_buf *buf, struct mhc_prng *prng);
/* A winmail.dat (TNEF) attachment. */
void mhc_special_tnef(struct mhc_buf *buf, struct mhc_prng *prng);
/* `levels` messages, each attached to the one around it (RFC 2046 section 5.2.1). */
void mhc_special_nested_messages(struct mhc_buf *buf, struct mhc_prng *prng, unsigned levels);

#endif
