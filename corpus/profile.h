/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * profile.h: what kind of mailboxes are made: how many, how big, how the sizes spread.
 *
 * Memory: the named profiles are constant; a run works on a copy with the switches applied.
 * Threads: one.
 */
#ifndef MHC_PROFILE_H
#define MHC_PROFILE_H

#include "base.h"

struct mhc_profile {
    const char *name;
    unsigned mailboxes;
    uint64_t messages; /* in each mailbox; for `nasty`: ordinary ones beside the awkward */
    size_t mean_bytes;
    unsigned folders;    /* in each mailbox; `nasty` has its own */
    unsigned inbox_part; /* of 100 messages, how many lie in INBOX */
    double sigma;        /* of the logarithm of the sizes */
    bool has_tail;       /* a dozen messages of megabytes */
    bool is_nasty;
};

const struct mhc_profile *mhc_profile_find(const char *name);

/* How the sizes of one run are spread, worked out once. */
struct mhc_size_plan {
    uint64_t tail_stride;  /* every how many messages one belongs to the tail; 0: none */
    double tail_max_bytes; /* the biggest; the smallest is a twentieth */
    double body_mean_bytes;
    double sigma;
};

void mhc_size_plan_init(struct mhc_size_plan *plan_out, const struct mhc_profile *profile);
/* True where message `number` of the whole run is one of the big ones. */
bool mhc_size_is_tail(const struct mhc_size_plan *plan, uint64_t number);
/* The size of a big one. */
size_t mhc_size_of_tail(const struct mhc_size_plan *plan, uint64_t number);
/* The size of any other, from a standard normal number. */
size_t mhc_size_of_body(const struct mhc_size_plan *plan, double normal);

#endif
