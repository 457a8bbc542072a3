/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int mhc_report_open(struct mhc_report *report_out, const char *manifest_path, struct mhc_err *err)
{
    *report_out = (struct mhc_report){.manifest_path = manifest_path};
    if (manifest_path == NULL) {
        return MHC_OK;
    }
    report_out->manifest = fopen(manifest_path, "w");
    if (report_out->manifest == NULL) {
        return mhc_fail(err, MHC_EFAIL, "cannot write the manifest %s: %s", manifest_path,
                        strerror(errno));
    }
    return MHC_OK;
}

int mhc_report_close(struct mhc_report *report, struct mhc_err *err)
{
    FILE *manifest = report->manifest;
    report->manifest = NULL;
    if (manifest == NULL) {
        return MHC_OK;
    }
    bool has_failed = ferror(manifest) != 0; /* whose errno is long gone */
    if (fclose(manifest) != 0 || has_failed) {
        return mhc_fail(err, MHC_EFAIL, "cannot write the manifest %s: %s", report->manifest_path,
                        has_failed ? "an earlier write failed; is the disk full?"
                                   : strerror(errno));
    }
    return MHC_OK;
}

/* One field, with what would end it or move a cursor as %XX. */
static void print_escaped(FILE *out, const char *text, const char *also)
{
    struct mhc_buf escaped = {0};
    mhc_buf_add_escaped(&escaped, text, strlen(text), also);
    fputs(mhc_buf_str(&escaped), out);
    mhc_buf_done(&escaped);
}

static void print_place(const struct mhc_report *report, const char *kind,
                        const struct mhc_folder *folder)
{
    struct mhc_buf path = {0};
    mhc_folder_print(&path, folder);
    fprintf(report->manifest, "%s\t%s\t%s", kind, report->mailbox, mhc_buf_str(&path));
    mhc_buf_done(&path);
}

static void print_folder(struct mhc_report *report, const char *kind,
                         const struct mhc_folder *folder)
{
    print_place(report, kind, folder);
    fprintf(report->manifest, "\t%s\t%s\t%s", folder->is_subscribed ? "subscribed" : "unsubscribed",
            folder->role != NULL ? folder->role : "-", folder->is_raw ? "raw" : "utf8");
}

void mhc_report_folder(struct mhc_report *report, const struct mhc_folder *folder)
{
    report->folders++;
    if (report->manifest != NULL) {
        print_folder(report, "folder", folder);
        fputc('\n', report->manifest);
    }
}

/* One line for a person: "refused folder: user01, Name: reason"; `more` goes before the reason. */
static void say_refused(const struct mhc_report *report, const char *what,
                        const struct mhc_folder *folder, const char *more, const char *reason)
{
    struct mhc_buf path = {0};
    mhc_folder_print(&path, folder);
    printf("refused %s: %s, %s: %s", what, report->mailbox, mhc_buf_str(&path), more);
    mhc_buf_done(&path);
    print_escaped(stdout, reason, "");
    fputc('\n', stdout);
}

void mhc_report_subscription_refused(struct mhc_report *report, const struct mhc_folder *folder,
                                     const char *reason)
{
    report->refused_subscriptions++;
    say_refused(report, "subscription", folder, "", reason);
    if (report->manifest != NULL) {
        print_folder(report, "refused-subscription", folder);
        fputc('\t', report->manifest);
        print_escaped(report->manifest, reason, "");
        fputc('\n', report->manifest);
    }
}

void mhc_report_folder_refused(struct mhc_report *report, const struct mhc_folder *folder,
                               const char *reason)
{
    report->refused_folders++;
    say_refused(report, "folder", folder, "", reason);
    if (report->manifest != NULL) {
        print_folder(report, "refused-folder", folder);
        fputc('\t', report->manifest);
        print_escaped(report->manifest, reason, "");
        fputc('\n', report->manifest);
    }
}

static void print_record(struct mhc_report *report, const char *kind,
                         const struct mhc_folder *folder, const struct mhc_record *record)
{
    char zone[MHC_DATE_SIZE];
    struct mhc_buf names = {0};
    print_place(report, kind, folder);
    mhc_flags_print(&names, record->flags);
    mhc_buf_putc(&names, '\t');
    mhc_keywords_print(&names, record->keywords);
    fprintf(report->manifest, "\t%s\t%" PRIu64 "\t%" PRId64 " %s\t%s\t%s", record->sha256,
            record->size_bytes, record->date.unix_seconds,
            mhc_date_zone(zone, record->date.zone_minutes), mhc_buf_str(&names), record->label);
    mhc_buf_done(&names);
}

void mhc_report_message(struct mhc_report *report, const struct mhc_folder *folder,
                        const struct mhc_record *record)
{
    report->messages++;
    report->bytes += record->size_bytes;
    if (report->manifest != NULL) {
        print_record(report, "message", folder, record);
        fputc('\n', report->manifest);
    }
}

void mhc_report_message_refused(struct mhc_report *report, const struct mhc_folder *folder,
                                const struct mhc_record *record, const char *reason)
{
    report->refused_messages++;
    char what[96];
    snprintf(what, sizeof(what), "%s, %" PRIu64 " bytes: ", record->label, record->size_bytes);
    say_refused(report, "message", folder, what, reason);
    if (report->manifest != NULL) {
        print_record(report, "refused-message", folder, record);
        fputc('\t', report->manifest);
        print_escaped(report->manifest, reason, "");
        fputc('\n', report->manifest);
    }
}

static void print_change(struct mhc_report *report, const char *kind, const char *store_folder,
                         const char *id)
{
    fprintf(report->manifest, "%s\t%s\t", kind, report->mailbox);
    print_escaped(report->manifest, store_folder, "%");
    fputc('\t', report->manifest);
    print_escaped(report->manifest, id, "%");
}

void mhc_report_flags(struct mhc_report *report, const char *store_folder, const char *id,
                      unsigned flags)
{
    report->flag_changes++;
    if (report->manifest != NULL) {
        struct mhc_buf names = {0};
        mhc_flags_print(&names, flags);
        print_change(report, "flags", store_folder, id);
        fprintf(report->manifest, "\t%s\n", mhc_buf_str(&names));
        mhc_buf_done(&names);
    }
}

void mhc_report_expunged(struct mhc_report *report, const char *store_folder, const char *id)
{
    report->expunged++;
    if (report->manifest != NULL) {
        print_change(report, "expunged", store_folder, id);
        fputc('\n', report->manifest);
    }
}
