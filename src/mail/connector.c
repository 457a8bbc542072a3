/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/connector.h"

void mh_changes_done(struct mh_changes *c)
{
    mh_scan_done(&c->scan);
    mh_uids_done(&c->gone);
    mh_uids_done(&c->present);
    *c = (struct mh_changes){.gone_by = MH_GONE_NONE};
}
