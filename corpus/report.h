/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * report.h: what a run says: the manifest, the refusals one line each, the counts.
 *
 * The manifest is TSV; README.md describes its lines. Nothing is printed raw: a name that a server
 * or a folder tree chose is escaped before it reaches a screen.
 * Memory: a report owns its manifest file; mhc_report_close() ends it. Threads: one.
 */
#ifndef MHC_REPORT_H
#define MHC_REPORT_H

#include "base.h"
#include "folders.h"
#include "message.h"

#include <stdio.h>

struct mhc_report {
    FILE *manifest;            /* owned; NULL: none was asked for */
    const char *manifest_path; /* borrowed */
    const char *mailbox;       /* borrowed: which one is being worked on */
    uint64_t mailboxes;
    uint64_t folders;
    uint64_t messages;
    uint64_t bytes;
    uint64_t refused_folders;
    uint64_t refused_messages;
    uint64_t refused_subscriptions;
    uint64_t flag_changes;
    uint64_t expunged;
};

int mhc_report_open(struct mhc_report *report_out, const char *manifest_path,
                    struct mhc_err *err) MHC_MUST_CHECK;
/* Writes out the rest of the manifest; that the disk was full is known here at the latest. */
int mhc_report_close(struct mhc_report *report, struct mhc_err *err) MHC_MUST_CHECK;

void mhc_report_folder(struct mhc_report *report, const struct mhc_folder *folder);
void mhc_report_folder_refused(struct mhc_report *report, const struct mhc_folder *folder,
                               const char *reason);
void mhc_report_subscription_refused(struct mhc_report *report, const struct mhc_folder *folder,
                                     const char *reason);
void mhc_report_message(struct mhc_report *report, const struct mhc_folder *folder,
                        const struct mhc_record *record);
void mhc_report_message_refused(struct mhc_report *report, const struct mhc_folder *folder,
                                const struct mhc_record *record, const char *reason);
/* A message of an earlier fill that a work day changed or removed; `store_folder` and `id` are the
 * store's own names for it: modified UTF-7, and the UID or the file. */
void mhc_report_flags(struct mhc_report *report, const char *store_folder, const char *id,
                      unsigned flags);
void mhc_report_expunged(struct mhc_report *report, const char *store_folder, const char *id);

#endif
