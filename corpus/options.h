/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * options.h: the command line.
 *
 * Memory: texts are borrowed from argv, but for what mhc_options_done() frees. Threads: one.
 */
#ifndef MHC_OPTIONS_H
#define MHC_OPTIONS_H

#include "base.h"
#include "profile.h"
#include "pst_fill.h"
#include "store.h"

struct mhc_options {
    struct mhc_profile profile; /* the named one with the switches applied */
    uint64_t seed;
    struct mhc_pst_wish pst;     /* path NULL: mailboxes are filled; else nothing else counts */
    const char *maildir;         /* NULL: to an IMAP server */
    struct mhc_imap_target imap; /* host NULL: to a maildir */
    char *imap_address;          /* owned: what imap.host and imap.port point into */
    const char *user_format;
    const char *manifest;
    uint64_t work_day; /* 0: fill */
    uint64_t *sizes;   /* owned: sized messages for the INBOX of each mailbox */
    size_t size_count;
    bool is_verbose;
    bool wants_help;
    bool wants_version;
};

int mhc_options_parse(struct mhc_options *options_out, int argc, char **argv,
                      struct mhc_err *err) MHC_MUST_CHECK;
void mhc_options_done(struct mhc_options *options);
/* The user, and directory, of mailbox `number`. */
void mhc_options_user(struct mhc_buf *user_out, const struct mhc_options *options, uint64_t number);
extern const char mhc_options_help[];

#endif
