/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Base64 (RFC 4648) for SASL and, later, HTTP bodies. Pure functions; any thread.
 */
#ifndef MH_WIRE_BASE64_H
#define MH_WIRE_BASE64_H

#include <stdbool.h>

#include "base/str.h"

void mh_base64_encode(const void *data, size_t len, struct mh_buf *b);
/* Strict: padding required, no other bytes. false (B unchanged) otherwise. */
bool mh_base64_decode(const char *s, size_t len, struct mh_buf *b) MH_MUST_CHECK;

#endif
