/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * nasty.h: the awkward messages, one named case each; see README.md for the list's reasons.
 *
 * Memory: bytes are appended to the caller's buffer; names are constant. Threads: one.
 */
#ifndef MHC_NASTY_H
#define MHC_NASTY_H

#include "base.h"
#include "date.h"

/* How many awkward messages there are, the copies of the twin included. */
uint64_t mhc_nasty_count(void);

/* What stands beside the bytes of a case. */
struct mhc_nasty_traits {
    const char *name;
    bool has_all_flags; /* every flag and every keyword */
    bool has_date;      /* INTERNALDATE is `date`; else one like any other message's */
    struct mhc_date date;
};

struct mhc_nasty_traits mhc_nasty_traits(uint64_t index);

/* Writes case `index`, which must be below mhc_nasty_count(). */
void mhc_nasty_write(struct mhc_buf *buf, uint64_t seed, uint64_t index, struct mhc_date date);

/* The small message that shows that an odd folder holds what it held. */
void mhc_nasty_marker(struct mhc_buf *buf, uint64_t index, struct mhc_date date);

#endif
