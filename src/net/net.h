/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What all connections of a run share: TLS contexts by trust settings, session tickets, the two
 * rate limits (what comes in from sources, what goes out to targets), counters. Made before the
 * loops start, freed after they ended; functions are safe from any thread.
 */
#ifndef MH_NET_NET_H
#define MH_NET_NET_H

#include <stdatomic.h>

#include "base/error.h"

struct mh_net;
struct mh_bucket;

/* LIMIT_IN/LIMIT_OUT borrowed, or NULL. */
int mh_net_new(struct mh_bucket *limit_in, struct mh_bucket *limit_out, struct mh_net **out,
               struct mh_err *err) MH_MUST_CHECK;
void mh_net_free(struct mh_net *net);

struct mh_net_counters {
    _Atomic uint64_t bytes_in, bytes_out; /* plaintext octets */
    _Atomic uint64_t connects, tls_handshakes;
    _Atomic uint64_t tls_resumed;    /* of the handshakes: without certificate, by a ticket */
    _Atomic uint64_t reads, writes;  /* system calls */
    _Atomic uint64_t gathered_bytes; /* ciphertext of small records, copied to leave in one call */
};
struct mh_net_counters *mh_net_counters(struct mh_net *net);

#endif
