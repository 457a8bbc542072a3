/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * mime.h: the encodings that mail is made of: base64, quoted-printable, encoded words, parts.
 *
 * Memory: everything is appended to the caller's buffer. Threads: one.
 * Never: writes a line end other than CRLF, or a line above 78 columns, unless the text has one.
 */
#ifndef MHC_MIME_H
#define MHC_MIME_H

#include "base.h"
#include "prng.h"
#include "text.h"

/* RFC 2045 section 6. */
enum mhc_encoding {
    MHC_7BIT,
    MHC_8BIT,
    MHC_QUOTED_PRINTABLE,
    MHC_BASE64,
};

/* How the non-ASCII words of a header are written. */
enum mhc_word_style {
    MHC_WORD_UTF8_B, /* =?utf-8?B?...?= */
    MHC_WORD_UTF8_Q,
    MHC_WORD_LEGACY_B,
    MHC_WORD_LEGACY_Q,
};

enum { MHC_BOUNDARY_SIZE = 48 };

/* Base64 in lines of 76 characters, the last one ended too. */
void mhc_mime_base64(struct mhc_buf *buf, const char *bytes, size_t len);
/* Base64 without line ends. */
void mhc_mime_base64_flat(struct mhc_buf *buf, const char *bytes, size_t len);
/* About `want` bytes of base64 lines of random octets behind `magic` (itself base64 text). */
void mhc_mime_base64_random(struct mhc_buf *buf, struct mhc_prng *prng, const char *magic,
                            size_t want);
/* RFC 2045 section 6.7; a CRLF of the text stays a line end. */
void mhc_mime_quoted_printable(struct mhc_buf *buf, const char *bytes, size_t len);

/* One encoded word (RFC 2047 section 2); `bytes` must be short enough for its 75 characters. */
void mhc_mime_encoded_word(struct mhc_buf *buf, const char *charset, char encoding,
                           const char *bytes, size_t len);
/* `words` random words of `language` as header text, folded; plain where they are ASCII. */
void mhc_mime_phrase(struct mhc_buf *buf, struct mhc_prng *prng,
                     const struct mhc_language *language, enum mhc_word_style style,
                     uint32_t words);
/* A person as a mailbox (RFC 5322 section 3.4): bare, quoted or encoded name, and the address. */
void mhc_mime_address(struct mhc_buf *buf, struct mhc_person person);

void mhc_mime_boundary(char out[MHC_BOUNDARY_SIZE], struct mhc_prng *prng);
/* "--boundary" or "--boundary--" on a line of its own. */
void mhc_mime_part(struct mhc_buf *buf, const char *boundary);
void mhc_mime_end(struct mhc_buf *buf, const char *boundary);
/* The header lines and the blank line of a multipart; `more` are further parameters or "". */
void mhc_mime_multipart(struct mhc_buf *buf, const char *subtype, const char *boundary,
                        const char *more);

#endif
