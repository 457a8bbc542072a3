/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_fill.h: one archive from the command line's wishes: which folders, how much in each.
 *
 * Memory: all of it is theirs and gone on return. Threads: one.
 */
#ifndef MHC_PST_FILL_H
#define MHC_PST_FILL_H

#include "pst_ndb.h"

struct mhc_pst_wish {
    const char *path;
    const char *truth; /* NULL: none */
    enum mhc_pst_format format;
    enum pst_encoding encoding;
    uint64_t messages;
    uint64_t seed;
};

/* What was made. */
struct mhc_pst_made {
    uint64_t folders, items, deleted, bytes;
};

int mhc_pst_fill(const struct mhc_pst_wish *wish, struct mhc_pst_made *made_out,
                 struct mhc_err *err) MHC_MUST_CHECK;

#endif
