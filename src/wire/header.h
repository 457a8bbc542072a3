/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A scan over a message's header (RFC 5322), without I/O: fed with the message's bytes as they
 * pass, it keeps the values of a few named fields and stops at the empty line. Bounded memory,
 * taken once when the scanner is made; broken headers are no error (what is found is found). One
 * scanner belongs to one message at a time and to one thread; its owner frees it. Never: keeps
 * more of a message than the fields that were asked for, allocates while it is fed.
 */
#ifndef MH_WIRE_HEADER_H
#define MH_WIRE_HEADER_H

#include <stdbool.h>

#include "base/error.h"

/* A longer value is cut: real ones stay below 2 KiB, hostile ones have no end. */
#define MH_HEADER_VALUE_MAX_BYTES 8192u
/* Values, and bytes of them, that one message can make a scanner keep; the first ones stay. */
#define MH_HEADER_VALUES_MAX      128u
#define MH_HEADER_KEEP_MAX_BYTES  (64u * 1024u)

struct mh_header_scan;

/* FIELDS: names without colon, NULL-terminated, borrowed (static), each at most 64 characters. */
int mh_header_scan_new(const char *const *fields, struct mh_header_scan **out,
                       struct mh_err *err) MH_MUST_CHECK;
void mh_header_scan_free(struct mh_header_scan *h);
void mh_header_scan_reset(struct mh_header_scan *h);
/* Returns false once the header has ended: more bytes are ignored. */
bool mh_header_scan_feed(struct mh_header_scan *h, const void *data, size_t len);
/* The NTH value of FIELDS[I], unfolded, without leading and trailing blanks, NUL bytes dropped;
 * NULL if absent. Borrowed until reset. */
const char *mh_header_scan_value(const struct mh_header_scan *h, unsigned i, unsigned nth);

/* What is unusual about a message's bytes, in one pass: for the ledger's reasons and triage. */
struct mh_oddities {
    uint64_t nul_bytes, bare_lf, bare_cr;
    uint64_t eight_bit_header; /* bytes above 0x7f before the first empty line */
    uint64_t longest_line;     /* octets without the line end */
    bool has_header;           /* the first line is a header field */
    bool has_final_newline;
};
/* In progress: a plain value of its user's; only `found` is for others, after mh_oddity_end(). */
struct mh_oddity_scan {
    struct mh_oddities found;
    uint64_t line_len; /* of the present line, a CR at its end included */
    bool last_was_cr, in_header;
    unsigned char first_line; /* how far it is a header field */
};
void mh_oddity_start(struct mh_oddity_scan *s);
void mh_oddity_feed(struct mh_oddity_scan *s, const void *data, size_t len);
void mh_oddity_end(struct mh_oddity_scan *s);

#endif
