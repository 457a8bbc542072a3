/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * store.h: where mailboxes are written to: the one contract of the maildir and the IMAP writer.
 *
 * Calls come in this order: mailbox_open, then for each folder folder_open, put..., folder_close,
 * then mailbox_close. A store tells the report about every message it took or refused, at the
 * latest in folder_close: a put that returned MHC_OK may still wait in a batch.
 * Memory: what is passed in is the caller's; a user and a folder must live until their close, a
 * message only until put returns. After an error only free() may follow. Threads: one.
 */
#ifndef MHC_STORE_H
#define MHC_STORE_H

#include "base.h"
#include "folders.h"
#include "message.h"
#include "report.h"

struct mhc_store;

/* An old message, as a work day finds it. */
struct mhc_item {
    char *id; /* owned by the list: the UID or the file name */
    unsigned flags;
};

struct mhc_item_list {
    struct mhc_item *items; /* owned */
    size_t count;
};

struct mhc_store_ops {
    int (*mailbox_open)(struct mhc_store *store, const char *user, struct mhc_err *err);
    /* MHC_SKIPPED: the store cannot have this folder, `err` says why; no close follows. */
    int (*folder_open)(struct mhc_store *store, const struct mhc_folder *folder,
                       struct mhc_err *err);
    int (*put)(struct mhc_store *store, const struct mhc_message *message, struct mhc_err *err);
    int (*folder_close)(struct mhc_store *store, struct mhc_err *err);
    int (*mailbox_close)(struct mhc_store *store, struct mhc_err *err);

    /* Work day: the store's own names of the folders that can hold mail, sorted, in `names_out`
     * with LF behind each. */
    int (*list)(struct mhc_store *store, struct mhc_buf *names_out, struct mhc_err *err);
    /* Work day: opens one of them and lists its messages in a fixed order. */
    int (*select)(struct mhc_store *store, const char *name, struct mhc_item_list *items_out,
                  struct mhc_err *err);
    /* Work day, in the selected folder: the item gets exactly these flags. */
    int (*set_flags)(struct mhc_store *store, const struct mhc_item *item, unsigned flags,
                     struct mhc_err *err);
    /* Work day, in the selected folder: these items, and no others, are gone afterwards. */
    int (*expunge)(struct mhc_store *store, const struct mhc_item *const *items, size_t count,
                   struct mhc_err *err);
    void (*free)(struct mhc_store *store);
};

/* The head of every store; the writer's own fields follow it. */
struct mhc_store {
    const struct mhc_store_ops *ops;
    struct mhc_report *report; /* borrowed */
};

struct mhc_imap_target {
    const char *host; /* borrowed, all of them */
    const char *port;
    const char *password;
};

struct mhc_store *mhc_maildir_new(struct mhc_report *report, const char *root);
struct mhc_store *mhc_imap_new(struct mhc_report *report, const struct mhc_imap_target *target);

void mhc_items_add(struct mhc_item_list *list, const char *id, size_t id_len, unsigned flags);
void mhc_items_done(struct mhc_item_list *list);

#endif
