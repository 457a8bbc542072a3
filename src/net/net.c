/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/net.h"

#include "base/mem.h"
#include "net/net_priv.h"
#include "net/tls_priv.h"

int mh_net_new(struct mh_bucket *limit_in, struct mh_bucket *limit_out, struct mh_net **out,
               struct mh_err *err)
{
    struct mh_net *net = mh_zalloc(sizeof *net);
    if (!net)
        return mh_err_nomem(err);
    net->limit_in = limit_in;
    net->limit_out = limit_out;
    mh_trusts_init(&net->trusts);
    net->bio = mh_tls_bio_method_new();
    if (!net->bio) {
        mh_net_free(net);
        return mh_err_nomem(err);
    }
    *out = net;
    return MH_OK;
}

void mh_net_free(struct mh_net *net)
{
    if (!net)
        return;
    mh_trusts_done(&net->trusts);
    BIO_meth_free(net->bio);
    mh_free(net);
}

struct mh_net_counters *mh_net_counters(struct mh_net *net)
{
    return &net->counters;
}
