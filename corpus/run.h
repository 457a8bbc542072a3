/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * run.h: the two things that the program does with a store: fill it, play a work day on it.
 *
 * Memory: all of it is theirs and gone when they return. Threads: one.
 */
#ifndef MHC_RUN_H
#define MHC_RUN_H

#include "base.h"
#include "options.h"
#include "store.h"

int mhc_fill(const struct mhc_options *options, struct mhc_store *store,
             struct mhc_err *err) MHC_MUST_CHECK;
int mhc_work_day(const struct mhc_options *options, struct mhc_store *store,
                 struct mhc_err *err) MHC_MUST_CHECK;
/* Of a lost connection it says which mailbox's it was; hands every other result on. */
int mhc_name_mailbox(int rc, const struct mhc_mailbox *mailbox, struct mhc_err *err) MHC_MUST_CHECK;

#endif
