/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Raw DEFLATE in both directions (RFC 1951, as RFC 4978 wants it), without I/O. Owned by a
 * connection; one thread. The only copies are zlib's own.
 */
#ifndef MH_NET_DEFLATE_PRIV_H
#define MH_NET_DEFLATE_PRIV_H

#include <stdbool.h>

#include "base/error.h"

struct mh_deflate;

int mh_deflate_new(struct mh_deflate **out, struct mh_err *err) MH_MUST_CHECK;
void mh_deflate_free(struct mh_deflate *z);

/* What one call used of its input and made of it. */
struct mh_deflate_step {
    size_t used, made;
};

/* MH_ERETRY when the peer's stream is damaged or has ended. */
int mh_deflate_decode(struct mh_deflate *z, const void *in, size_t in_len, void *out,
                      size_t out_len, struct mh_deflate_step *step,
                      struct mh_err *err) MH_MUST_CHECK;
/* True when zlib may hold output it had no room for: call again without input. */
bool mh_deflate_has_output(const struct mh_deflate *z);

/* IS_LAST: nothing follows in this round, the peer must get all of it (Z_SYNC_FLUSH). */
void mh_deflate_encode(struct mh_deflate *z, const void *in, size_t in_len, bool is_last, void *out,
                       size_t out_len, struct mh_deflate_step *step);
/* True while something encoded has not come out yet. */
bool mh_deflate_is_pending(const struct mh_deflate *z);

#endif
