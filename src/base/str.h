/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A growing byte buffer and string helpers. The buffer's owner frees it with mh_buf_done(); a buffer
 * belongs to one thread at a time. Never for message bytes (base/slab.h).
 *
 * The buffer remembers a failed allocation: append freely, then ask mh_buf_failed() once.
 */
#ifndef MH_BASE_STR_H
#define MH_BASE_STR_H

#include <stdbool.h>

#include "base/macros.h"

struct mh_buf {
    char *data; /* owned; always terminated once something was appended */
    size_t len;
    size_t cap;
    bool failed;
};

#define MH_BUF_INIT                                                                                \
    {                                                                                              \
        NULL, 0, 0, false                                                                          \
    }

void mh_buf_done(struct mh_buf *b);
void mh_buf_reset(struct mh_buf *b); /* len 0, memory kept */
void mh_buf_add(struct mh_buf *b, const void *data, size_t len);
void mh_buf_adds(struct mh_buf *b, const char *s);
void mh_buf_addc(struct mh_buf *b, char c);
void mh_buf_addf(struct mh_buf *b, const char *fmt, ...) MH_PRINTF(2, 3);
bool mh_buf_failed(const struct mh_buf *b);
const char *mh_buf_str(const struct mh_buf *b); /* "" when empty; borrowed: the buffer */
/* Hands the string over (caller frees) and empties the buffer; NULL when it failed. */
char *mh_buf_take(struct mh_buf *b) MH_MUST_CHECK;

/* Parses a decimal number that fills S[0..len) exactly; false on anything else or above MAX. */
bool mh_parse_u64(const char *s, size_t len, uint64_t max, uint64_t *out) MH_MUST_CHECK;
/* "256MiB", "10M", "1.5GiB", "4096": IEC units, K/M/G read as KiB/MiB/GiB. */
bool mh_parse_size(const char *s, uint64_t *bytes_out) MH_MUST_CHECK;
/* "12.3 MiB" into BUF. */
const char *mh_format_size(uint64_t bytes, char *buf, size_t buf_size);

/* Length of the valid UTF-8 sequence at S (RFC 3629: no surrogates, no overlong), 0 if none. */
size_t mh_utf8_seq(const char *s, size_t len);
/* The next character of *S, which is not at END yet; an invalid octet stands for itself above all
 * characters. */
uint32_t mh_utf8_next(const char **s, const char *end);
/* Appends the character in UTF-8; one that there cannot be (a surrogate, above U+10FFFF) as U+FFFD, and false. */
bool mh_buf_add_utf8(struct mh_buf *b, uint32_t point);
/* A hexadecimal digit's value, in either case; -1 when it is none. */
int mh_hex_value(char c);
/* The octet that S, a "%XX", stands for; -1 when it is none. */
int mh_escape_value(const char *s, size_t len);
bool mh_utf8_valid(const char *s, size_t len);
/* Appends S for a screen or a log: control bytes, DEL, C1 and invalid UTF-8 as \xHH, bidi overrides
 * as \u{…}; never a raw escape code. */
void mh_buf_add_printable(struct mh_buf *b, const char *s, size_t len);

bool mh_str_ieq(const char *a, const char *b);               /* ASCII case only */
bool mh_mem_ieq(const char *a, size_t a_len, const char *b); /* ASCII case only */
bool mh_str_starts(const char *s, const char *prefix);
bool mh_str_istarts(const char *s, const char *prefix);
/* Edit distance for "did you mean"; at most MAX+1. */
unsigned mh_str_distance(const char *a, const char *b, unsigned max);

#endif
