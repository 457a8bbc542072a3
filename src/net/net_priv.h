/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside of struct mh_net for the connections; see net.h. */
#ifndef MH_NET_NET_PRIV_H
#define MH_NET_NET_PRIV_H

#include "net/net.h"
#include "net/trust_priv.h"

struct mh_net {
    struct mh_bucket *limit_in, *limit_out; /* borrowed, or NULL */
    struct mh_net_counters counters;
    struct mh_trusts trusts;
    BIO_METHOD *bio; /* owned: how OpenSSL reaches a socket of ours */
};

#endif
