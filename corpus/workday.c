/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * workday.c: what a day does to a mailbox: new mail, changed flags, deletions, a new folder.
 *
 * What is touched is drawn from the list of all messages as the store tells it, by a stream named
 * by seed, day and mailbox: the same mailbox has the same day again.
 */
#include "prng.h"
#include "run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NEW_PER_CENT = 2,
    FLAGS_PER_CENT = 2,
    EXPUNGE_PER_CENT = 1,
    NEW_FOLDER_PER_CENT = 20, /* of the new mail; the rest arrives in INBOX */
    EXPUNGE_AT_ONCE = 500,    /* keeps a command line short */
};

enum fate { STAYS, CHANGES_FLAGS, IS_EXPUNGED };

struct day {
    const struct mhc_options *options;
    struct mhc_store *store;
    struct mhc_mailbox mailbox;
    struct mhc_message message; /* used again and again */
    struct mhc_prng prng;
    struct mhc_buf names; /* the folders, LF behind each */
    uint64_t *counts;     /* owned: messages in each of them */
    size_t name_count;
    uint64_t total;
    unsigned char *fates; /* owned: for each message of the mailbox, in list order */
};

/* A share of `total`, at least one where there is anything. */
static uint64_t share(uint64_t total, uint64_t per_cent)
{
    return total == 0 ? 0 : (total * per_cent + 99) / 100;
}

static int select_folder(struct day *day, const char *name, struct mhc_item_list *items,
                         struct mhc_err *err)
{
    int rc = day->store->ops->select(day->store, name, items, err);
    if (rc == MHC_SKIPPED) {
        /* Listed, yet not to be opened: hostile names do that. Its mail has a quiet day. */
        mhc_items_done(items);
        rc = MHC_OK;
    }
    return rc;
}

/* Splits off the next folder name; false at the end. */
static bool next_name(const struct day *day, size_t *at, struct mhc_buf *name_out)
{
    if (*at >= day->names.len) {
        return false;
    }
    const char *from = day->names.data + *at;
    const char *end = memchr(from, '\n', day->names.len - *at);
    size_t len = (size_t)(end - from);
    name_out->len = 0;
    mhc_buf_add(name_out, from, len);
    (void)mhc_buf_str(name_out);
    *at += len + 1;
    return true;
}

/* The folder that a day leaves behind, up to the separator. */
static void day_folder(char *out, size_t size, uint64_t day)
{
    snprintf(out, size, "Arbeitstag %" PRIu64, day);
}

/* A day played twice would deliver the same mail again, under the same file names. */
static int check_not_played(struct day *day, struct mhc_err *err)
{
    char folder[64];
    struct mhc_buf name = {0};
    int rc = MHC_OK;
    day_folder(folder, sizeof(folder), day->options->work_day);
    for (size_t at = 0; rc == MHC_OK && next_name(day, &at, &name);) {
        const char *found = strstr(name.data, folder);
        char behind = found != NULL ? found[strlen(folder)] : '0';
        if (behind < '0' || behind > '9') {
            rc = mhc_fail(err, MHC_EFAIL, "%s has had work day %" PRIu64 " already",
                          day->mailbox.owner, day->options->work_day);
        }
    }
    mhc_buf_done(&name);
    return rc;
}

static int count_messages(struct day *day, struct mhc_err *err)
{
    struct mhc_buf name = {0};
    int rc = MHC_OK;
    for (size_t at = 0; rc == MHC_OK && next_name(day, &at, &name);) {
        struct mhc_item_list items = {0};
        rc = select_folder(day, name.data, &items, err);
        day->counts = mhc_realloc(day->counts, (day->name_count + 1) * sizeof(*day->counts));
        day->counts[day->name_count++] = items.count;
        day->total += items.count;
        mhc_items_done(&items);
    }
    mhc_buf_done(&name);
    return rc;
}

static void draw_fates(struct day *day, uint64_t wanted, enum fate fate)
{
    while (wanted > 0) {
        uint64_t at = mhc_prng_next(&day->prng) % day->total;
        if (day->fates[at] == STAYS) {
            day->fates[at] = (unsigned char)fate;
            wanted--;
        }
    }
}

/* Another set of flags than the message has, never with \Deleted newly set. */
static unsigned changed_flags(struct mhc_prng *prng, unsigned flags)
{
    switch (mhc_prng_below(prng, 4)) {
    case 0:
        return flags ^ MHC_SEEN;
    case 1:
        return flags ^ MHC_FLAGGED;
    case 2:
        return flags ^ MHC_ANSWERED;
    default:
        return (flags ^ MHC_FLAGGED) | MHC_SEEN;
    }
}

static int change_flags(struct day *day, const char *name, const struct mhc_item_list *items,
                        const unsigned char *fates, struct mhc_err *err)
{
    int rc = MHC_OK;
    for (size_t i = 0; i < items->count && rc == MHC_OK; i++) {
        if (fates[i] == CHANGES_FLAGS) {
            const struct mhc_item *item = &items->items[i];
            unsigned flags = changed_flags(&day->prng, item->flags);
            rc = day->store->ops->set_flags(day->store, item, flags, err);
            if (rc == MHC_OK) {
                mhc_report_flags(day->store->report, name, item->id, flags);
            }
        }
    }
    return rc;
}

static int expunge(struct day *day, const char *name, const struct mhc_item_list *items,
                   const unsigned char *fates, struct mhc_err *err)
{
    const struct mhc_item *doomed[EXPUNGE_AT_ONCE];
    size_t count = 0;
    int rc = MHC_OK;
    for (size_t i = 0; i < items->count && rc == MHC_OK; i++) {
        if (fates[i] == IS_EXPUNGED) {
            doomed[count++] = &items->items[i];
            mhc_report_expunged(day->store->report, name, items->items[i].id);
        }
        if (count == EXPUNGE_AT_ONCE || (count > 0 && i + 1 == items->count)) {
            rc = day->store->ops->expunge(day->store, doomed, count, err);
            count = 0;
        }
    }
    return rc;
}

/* Goes through the folders again and lets every message have its fate. */
static int apply_fates(struct day *day, struct mhc_err *err)
{
    struct mhc_buf name = {0};
    const unsigned char *fates = day->fates;
    int rc = MHC_OK;
    size_t at = 0;
    for (size_t i = 0; rc == MHC_OK && next_name(day, &at, &name); i++) {
        struct mhc_item_list items = {0};
        if (day->counts[i] > 0) {
            rc = select_folder(day, name.data, &items, err);
        }
        if (rc == MHC_OK && items.count > 0 && items.count != day->counts[i]) {
            rc = mhc_fail(err, MHC_EFAIL, "%s changed while the day was played", name.data);
        }
        if (rc == MHC_OK && items.count > 0) {
            rc = change_flags(day, name.data, &items, fates, err);
        }
        if (rc == MHC_OK && items.count > 0) {
            rc = expunge(day, name.data, &items, fates, err);
        }
        fates += day->counts[i];
        mhc_items_done(&items);
    }
    mhc_buf_done(&name);
    return rc;
}

static int deliver(struct day *day, const struct mhc_folder *folder, uint64_t from, uint64_t to,
                   struct mhc_err *err)
{
    struct mhc_store *store = day->store;
    int rc = store->ops->folder_open(store, folder, err);
    if (rc == MHC_SKIPPED) {
        mhc_report_folder_refused(store->report, folder, err->text);
        return MHC_OK;
    }
    if (rc == MHC_OK && strcmp(folder->path, "INBOX") != 0) {
        mhc_report_folder(store->report, folder);
    }
    for (uint64_t at = from; at < to && rc == MHC_OK; at++) {
        mhc_message_make_new(&day->message, &day->mailbox, day->options->work_day, at);
        rc = store->ops->put(store, &day->message, err);
    }
    return rc == MHC_OK ? store->ops->folder_close(store, err) : rc;
}

static int deliver_new_mail(struct day *day, struct mhc_err *err)
{
    char path[96];
    char day_part[64];
    uint64_t wanted = share(day->total, NEW_PER_CENT);
    uint64_t elsewhere = wanted * NEW_FOLDER_PER_CENT / 100;
    struct mhc_folder inbox = {.path = path};
    struct mhc_folder fresh = {.path = path, .is_subscribed = true};
    snprintf(path, sizeof(path), "INBOX");
    int rc = deliver(day, &inbox, 0, wanted - elsewhere, err);
    if (rc == MHC_OK) {
        day_folder(day_part, sizeof(day_part), day->options->work_day);
        snprintf(path, sizeof(path), "%s%cÜbergabe", day_part, MHC_LEVEL);
        rc = deliver(day, &fresh, wanted - elsewhere, wanted, err);
    }
    return rc;
}

static int play(struct day *day, struct mhc_err *err)
{
    struct mhc_store *store = day->store;
    int rc = store->ops->mailbox_open(store, day->mailbox.owner, err);
    if (rc == MHC_OK) {
        rc = store->ops->list(store, &day->names, err);
    }
    if (rc == MHC_OK) {
        rc = check_not_played(day, err);
    }
    if (rc == MHC_OK) {
        rc = count_messages(day, err);
    }
    if (rc == MHC_OK && day->total > 0) {
        day->fates = mhc_alloc(day->total);
        /* Of a mailbox of one message that one is only flagged: both would not fit. */
        uint64_t flags = share(day->total, FLAGS_PER_CENT);
        uint64_t expunged = share(day->total, EXPUNGE_PER_CENT);
        draw_fates(day, flags, CHANGES_FLAGS);
        draw_fates(day, expunged < day->total ? expunged : 0, IS_EXPUNGED);
        rc = apply_fates(day, err);
    }
    if (rc == MHC_OK) {
        rc = deliver_new_mail(day, err);
    }
    return rc == MHC_OK ? store->ops->mailbox_close(store, err) : rc;
}

static int play_mailbox(const struct mhc_options *options, struct mhc_store *store,
                        const struct mhc_mailbox *mailbox, struct mhc_err *err)
{
    struct day day = {.options = options, .store = store, .mailbox = *mailbox};
    mhc_prng_init(&day.prng, options->seed, MHC_STREAM_WORKDAY, mailbox->number, options->work_day);
    int rc = play(&day, err);
    mhc_buf_done(&day.names);
    mhc_message_done(&day.message);
    free(day.counts);
    free(day.fates);
    return rc;
}

int mhc_work_day(const struct mhc_options *options, struct mhc_store *store, struct mhc_err *err)
{
    struct mhc_size_plan sizes;
    struct mhc_buf user = {0};
    struct mhc_report *report = store->report;
    int rc = MHC_OK;
    mhc_size_plan_init(&sizes, &options->profile);
    for (uint64_t number = 1; number <= options->profile.mailboxes && rc == MHC_OK; number++) {
        struct mhc_report before = *report;
        user.len = 0;
        mhc_options_user(&user, options, number);
        const struct mhc_mailbox mailbox = {.profile = &options->profile,
                                            .sizes = &sizes,
                                            .seed = options->seed,
                                            .number = number,
                                            .owner = mhc_buf_str(&user)};
        report->mailbox = mailbox.owner;
        report->mailboxes++;
        rc = mhc_name_mailbox(play_mailbox(options, store, &mailbox, err), &mailbox, err);
        if (rc == MHC_OK && options->is_verbose) {
            fprintf(stderr,
                    "%s: %" PRIu64 " new, %" PRIu64 " with other flags, %" PRIu64 " expunged\n",
                    mailbox.owner, report->messages - before.messages,
                    report->flag_changes - before.flag_changes, report->expunged - before.expunged);
        }
    }
    report->mailbox = NULL;
    mhc_buf_done(&user);
    return rc;
}
