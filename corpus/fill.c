/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What one mailbox is filled with. */
struct filling {
    const struct mhc_options *options;
    struct mhc_store *store;
    struct mhc_mailbox mailbox;
    struct mhc_message message; /* used again and again */
};

static int put_sized(struct filling *filling, struct mhc_err *err)
{
    const struct mhc_options *options = filling->options;
    struct mhc_store *store = filling->store;
    int rc = MHC_OK;
    for (size_t i = 0; i < options->size_count && rc == MHC_OK; i++) {
        mhc_message_make_sized(&filling->message, &filling->mailbox, options->sizes[i]);
        rc = store->ops->put(store, &filling->message, err);
    }
    return rc;
}

static int fill_folder(struct filling *filling, const struct mhc_folder *folder,
                       struct mhc_err *err)
{
    struct mhc_store *store = filling->store;
    int rc = store->ops->folder_open(store, folder, err);
    if (rc == MHC_SKIPPED) {
        mhc_report_folder_refused(store->report, folder, err->text);
        return MHC_OK;
    }
    if (rc != MHC_OK) {
        return rc;
    }
    mhc_report_folder(store->report, folder);
    for (uint64_t at = 0; at < folder->messages && rc == MHC_OK; at++) {
        mhc_message_make(&filling->message, &filling->mailbox, folder, at);
        rc = store->ops->put(store, &filling->message, err);
    }
    if (rc == MHC_OK && strcmp(folder->path, "INBOX") == 0) {
        rc = put_sized(filling, err);
    }
    return rc == MHC_OK ? store->ops->folder_close(store, err) : rc;
}

static int fill_mailbox(struct filling *filling, struct mhc_err *err)
{
    struct mhc_store *store = filling->store;
    struct mhc_folder_list folders;
    mhc_folders_plan(&folders, &filling->options->profile, filling->mailbox.number);
    int rc = store->ops->mailbox_open(store, filling->mailbox.owner, err);
    for (size_t i = 0; i < folders.count && rc == MHC_OK; i++) {
        rc = fill_folder(filling, &folders.items[i], err);
    }
    if (rc == MHC_OK) {
        rc = store->ops->mailbox_close(store, err);
    }
    mhc_folders_done(&folders);
    return rc;
}

static void say_mailbox(const struct mhc_report *report, uint64_t messages_before)
{
    fprintf(stderr, "%s: %" PRIu64 " messages; %" PRIu64 " in %" PRIu64 " mailboxes so far\n",
            report->mailbox, report->messages - messages_before, report->messages,
            report->mailboxes);
}

int mhc_name_mailbox(int rc, const struct mhc_mailbox *mailbox, struct mhc_err *err)
{
    if (rc == MHC_ECLOSED) {
        struct mhc_err said = *err;
        return mhc_fail(err, MHC_EFAIL, "mailbox %s: %.600s", mailbox->owner, said.text);
    }
    return rc;
}

int mhc_fill(const struct mhc_options *options, struct mhc_store *store, struct mhc_err *err)
{
    struct mhc_size_plan sizes;
    struct mhc_buf user = {0};
    struct filling filling = {.options = options, .store = store};
    struct mhc_report *report = store->report;
    int rc = MHC_OK;
    mhc_size_plan_init(&sizes, &options->profile);
    filling.mailbox =
        (struct mhc_mailbox){.profile = &options->profile, .sizes = &sizes, .seed = options->seed};
    for (uint64_t number = 1; number <= options->profile.mailboxes && rc == MHC_OK; number++) {
        uint64_t messages_before = report->messages;
        user.len = 0;
        mhc_options_user(&user, options, number);
        filling.mailbox.number = number;
        filling.mailbox.owner = mhc_buf_str(&user);
        report->mailbox = filling.mailbox.owner;
        report->mailboxes++;
        rc = mhc_name_mailbox(fill_mailbox(&filling, err), &filling.mailbox, err);
        if (rc == MHC_OK && options->is_verbose) {
            say_mailbox(report, messages_before);
        }
    }
    report->mailbox = NULL;
    mhc_message_done(&filling.message);
    mhc_buf_done(&user);
    return rc;
}
