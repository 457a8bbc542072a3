/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_truth.h: what an archive holds, as JSON lines beside it: what a reader must find.
 *
 * Memory: everything is appended to the caller's buffer. Threads: one.
 * The fields are told in README.md.
 */
#ifndef MHC_PST_TRUTH_H
#define MHC_PST_TRUTH_H

#include "pst_ndb.h"
#include "sha256.h"

/* A quoted string. */
void mhc_json_text(struct mhc_buf *json, const char *utf8, size_t len);
/* `"key":` with a comma before it, unless it is the first of its object. */
void mhc_json_key(struct mhc_buf *json, const char *key);
void mhc_json_string(struct mhc_buf *json, const char *key, const char *utf8);
void mhc_json_number(struct mhc_buf *json, const char *key, int64_t value);
void mhc_json_bool(struct mhc_buf *json, const char *key, bool value);
/* Size and SHA-256 of octets, as `"size":..,"sha256":".."`. */
void mhc_json_sum(struct mhc_buf *json, const char *bytes, size_t len);
void mhc_json_sum_of(struct mhc_buf *json, uint64_t size, struct mhc_sha256 *sha);
void mhc_json_extents(struct mhc_buf *json, const char *key, const struct mhc_extents *extents);

#endif
