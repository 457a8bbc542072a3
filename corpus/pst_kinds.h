/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_kinds.h: what an archive holds beside ordinary mail: contacts, appointments, tasks, notes,
 * meeting requests, signed mail, reports ([MS-OXOCNTC], [MS-OXOCAL], [MS-OXOTASK], [MS-OXONOTE],
 * [MS-OXOJRNL], [MS-OXOSMIME]).
 *
 * Memory: the item is the caller's, to be handed to mhc_pst_add(). Threads: one.
 */
#ifndef MHC_PST_KINDS_H
#define MHC_PST_KINDS_H

#include "pst_item.h"

enum mhc_pst_kind {
    MHC_KIND_CONTACT,
    MHC_KIND_LIST,
    MHC_KIND_APPOINTMENT,
    MHC_KIND_SERIES, /* an appointment each week, one of them cancelled */
    MHC_KIND_TASK,
    MHC_KIND_NOTE,
    MHC_KIND_JOURNAL,
    MHC_KIND_MEETING,
    MHC_KIND_SIGNED,
    MHC_KIND_ENVELOPED,
    MHC_KIND_REPORT,
    MHC_KIND_COUNT,
};

void mhc_pst_other(struct mhc_pst *pst, struct mhc_item *item_out, enum mhc_pst_kind kind,
                   uint64_t index);

#endif
