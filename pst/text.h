/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * UTF-16 as archives have it, to UTF-8. No state; any thread.
 */
#ifndef MH_PST_TEXT_H
#define MH_PST_TEXT_H

#include "base/str.h"
#include "pst/ndb.h"

/* Appends S, UTF-16 of little-endian order, to OUT; a surrogate without its other half, and an odd
 * octet at the end, become U+FFFD. Ends at a NUL. Returns how many had to be replaced. */
size_t pst_text_utf16(struct pst_span s, struct mh_buf *out);

#endif
