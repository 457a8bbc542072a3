/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Digests of stored messages, for matching and for verify: bodies pass, nothing of them is kept.
 * In a task of the session's scheduler; results are plain values.
 */
#ifndef MH_ENGINE_PRINTS_H
#define MH_ENGINE_PRINTS_H

#include <stdbool.h>

#include "mail/connector.h"
#include "mail/digest.h"

enum {
    PRINT_EXACT = 1 << 0,
    PRINT_CANONICAL = 1 << 1,
    PRINT_FINGERPRINT = 1 << 2,
};

/* What was asked for is set; the rest is zero. */
struct prints {
    struct mh_digest exact, canonical, fingerprint;
    uint64_t octets;
    bool is_ok; /* false: the message did not come */
};

/* Message I of those asked for; each is told once, in any order. Must not wait. */
typedef void prints_fn(void *ctx, size_t i, const struct prints *p);

/* Fetches N items of the selected folder and tells FN the digests KINDS of each. */
int prints_read(struct mh_session *s, const struct mh_connector *c,
                const struct mh_item *const *items, size_t n, unsigned kinds, prints_fn *fn,
                void *ctx, struct mh_err *err) MH_MUST_CHECK;

#endif
