/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The two forms of a message in files: as on the wire (lines end with CRLF), and as programs on Unix
 * store it (lines end with LF; in an mbox, lines that look like a separator are quoted by '>').
 *
 * mh_form_scan counts, so that the octets of the wire form are known before the first one is given
 * away; mh_form turns one form into the other. Both are fed a message in pieces of any size, know no
 * file, allocate nothing and never look at more than they are given. One message at a time; any
 * thread.
 *
 * Example. "a\n>From b\n" in an mbox: the scan finds 10 octets, 2 bare LFs, no CRLF, 1 quoted line,
 * so its wire form has 10 + 2 - 1 = 11 octets. mh_form_next() says in turn: emit "a" and "\r\n"; emit
 * "From " (the '>' is gone), then " b"'s rest and "\r\n".
 */
#ifndef MH_MAIL_FILE_FORM_H
#define MH_MAIL_FILE_FORM_H

#include <stdbool.h>

#include "base/macros.h"

/* How far the present line looks like ^>*From_ . */
struct mh_form_line {
    bool is_plain;      /* it does not */
    bool has_quote;     /* it began with '>' */
    unsigned char from; /* characters of "From " seen */
};

/* All zero is the start of a message. */
struct mh_form_scan {
    uint64_t octets;
    uint64_t bare_lf; /* LF without a CR before it */
    uint64_t crlf;
    uint64_t quoted; /* lines ^>+From_ */
    struct mh_form_line line;
    bool after_cr;
};

void mh_form_scan_feed(struct mh_form_scan *s, const void *data, size_t len);
/* Unix line ends throughout: LF and no CRLF. Anything else is given as it is. */
bool mh_form_scan_is_unix(const struct mh_form_scan *s);

enum mh_form_flag {
    MH_FORM_TO_CRLF = 1 << 0, /* each LF becomes CRLF (only for what the scan found to be Unix) */
    MH_FORM_UNQUOTE = 1 << 1, /* ^>+From_ loses one '>' (mboxrd, reading) */
    MH_FORM_QUOTE = 1 << 2,   /* ^>*From_ gains one '>' (mboxrd, writing) */
};

/* Octets of the form that FLAGS make of what S scanned (never with MH_FORM_QUOTE). */
uint64_t mh_form_octets(const struct mh_form_scan *s, unsigned flags);

/* All zero but `flags` is the start of a message. */
struct mh_form {
    unsigned flags;
    struct mh_form_line line;
};

/* What to put out next: three stretches in this order, each may be empty but is never NULL. */
struct mh_form_seg {
    const char *before; /* static */
    size_t before_len;
    const unsigned char *data; /* borrowed: the input */
    size_t len;
    const char *after; /* static */
    size_t after_len;
};

/* Takes a stretch from IN[0..len), len > 0; how many octets it was (at least 1). */
size_t mh_form_next(struct mh_form *f, const unsigned char *in, size_t len,
                    struct mh_form_seg *out);
/* The message has ended: what was held back. */
void mh_form_end(struct mh_form *f, struct mh_form_seg *out);

#endif
