/* SPDX-License-Identifier: GPL-3.0-or-later */
/* main.c: mailhaul-corpus, from the command line to the last line that it prints. */
#include "options.h"
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#ifndef MH_VERSION
#define MH_VERSION "unknown"
#endif

static void print_summary(const struct mhc_options *options, const struct mhc_report *report)
{
    if (options->work_day > 0) {
        printf("work day %" PRIu64 " in %" PRIu64 " mailboxes: %" PRIu64 " new messages, %" PRIu64
               " with other flags, %" PRIu64 " expunged, %" PRIu64 " new folders",
               options->work_day, report->mailboxes, report->messages, report->flag_changes,
               report->expunged, report->folders);
    } else {
        printf("%" PRIu64 " mailboxes, %" PRIu64 " folders, %" PRIu64 " messages, %" PRIu64
               " bytes",
               report->mailboxes, report->folders, report->messages, report->bytes);
    }
    printf("; refused: %" PRIu64 " folders, %" PRIu64 " messages, %" PRIu64 " subscriptions\n",
           report->refused_folders, report->refused_messages, report->refused_subscriptions);
}

static int run(const struct mhc_options *options, struct mhc_err *err)
{
    struct mhc_report report;
    int rc = mhc_report_open(&report, options->manifest, err);
    if (rc != MHC_OK) {
        return rc;
    }
    struct mhc_store *store = options->maildir != NULL ? mhc_maildir_new(&report, options->maildir)
                                                       : mhc_imap_new(&report, &options->imap);
    rc = options->work_day > 0 ? mhc_work_day(options, store, err) : mhc_fill(options, store, err);
    store->ops->free(store);
    struct mhc_err close_err;
    int close_rc = mhc_report_close(&report, &close_err);
    if (rc == MHC_OK && close_rc != MHC_OK) {
        *err = close_err;
        rc = close_rc;
    }
    if (rc == MHC_OK) {
        print_summary(options, &report);
    }
    return rc;
}

static int write_archive(const struct mhc_options *options, struct mhc_err *err)
{
    struct mhc_pst_made made;
    int rc = mhc_pst_fill(&options->pst, &made, err);
    if (rc == MHC_OK) {
        printf("%" PRIu64 " folders, %" PRIu64 " items (%" PRIu64 " of them deleted), %" PRIu64
               " bytes\n",
               made.folders, made.items, made.deleted, made.bytes);
    }
    return rc;
}

/* One line on stderr, without what could move a cursor: the text may come from a server. */
static int complain(int rc, const struct mhc_err *err)
{
    struct mhc_buf line = {0};
    mhc_buf_add_escaped(&line, err->text, strlen(err->text), "");
    fprintf(stderr, "mailhaul-corpus: %s\n", mhc_buf_str(&line));
    mhc_buf_done(&line);
    return rc == MHC_EUSAGE ? 2 : 1;
}

int main(int argc, char **argv)
{
    struct mhc_options options;
    struct mhc_err err = {.text = ""};
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error to report, not a death */
    int rc = mhc_options_parse(&options, argc, argv, &err);
    if (rc == MHC_OK && options.wants_help) {
        fputs(mhc_options_help, stdout);
    } else if (rc == MHC_OK && options.wants_version) {
        puts("mailhaul-corpus " MH_VERSION);
    } else if (rc == MHC_OK && options.pst.path != NULL) {
        rc = write_archive(&options, &err);
    } else if (rc == MHC_OK) {
        rc = run(&options, &err);
    }
    mhc_options_done(&options);
    if (rc == MHC_OK && fflush(stdout) != 0) {
        rc = mhc_fail(&err, MHC_EFAIL, "cannot write to standard output: %s", strerror(errno));
    }
    return rc == MHC_OK ? 0 : complain(rc, &err);
}
