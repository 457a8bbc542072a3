/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Modified UTF-7, the encoding of mailbox names (RFC 3501 section 5.1.3). Pure functions that
 * append to the caller's buffer; any thread. Never lenient: each text has exactly one encoding, so
 * that a name that was decoded encodes to the very same bytes, and a name that is not valid is
 * kept as bytes by the caller.
 */
#ifndef MH_WIRE_MUTF7_H
#define MH_WIRE_MUTF7_H

#include <stdbool.h>

#include "base/str.h"

/* Appends the UTF-8 of NAME[0..len); false (B unchanged) when it is not the one valid encoding of
 * a text: bad base64, surrogates alone, a shift for printable ASCII, missing '-', 8-bit bytes.
 * U+0000 is refused both ways: a name goes through C strings. */
bool mh_mutf7_decode(const char *name, size_t len, struct mh_buf *b) MH_MUST_CHECK;
/* Appends the encoding of valid UTF-8 (asserted by the return value: false if it is not). */
bool mh_mutf7_encode(const char *utf8, size_t len, struct mh_buf *b) MH_MUST_CHECK;

#endif
