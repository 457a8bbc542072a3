/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_store.h: the archive as Outlook knows it ([MS-PST] 2.4): the message store, its folders with
 * their tables, the names of properties.
 *
 * Folders are all named at the start; each one's items are written together, then its tables.
 * Memory: a struct mhc_pst owns what it points to; one folder's rows are held at a time.
 * Threads: one.
 */
#ifndef MHC_PST_STORE_H
#define MHC_PST_STORE_H

#include "pst_ltp.h"
#include "pst_truth.h"

#include <stdio.h>

struct mhc_item;

enum mhc_pst_role {
    MHC_ROLE_NONE,
    MHC_ROLE_ROOT,
    MHC_ROLE_TOP,
    MHC_ROLE_FINDER,
    MHC_ROLE_DELETED,
    MHC_ROLE_INBOX,
    MHC_ROLE_OUTBOX,
    MHC_ROLE_SENT,
    MHC_ROLE_DRAFTS,
    MHC_ROLE_CALENDAR,
    MHC_ROLE_CONTACTS,
    MHC_ROLE_TASKS,
    MHC_ROLE_NOTES,
    MHC_ROLE_JOURNAL,
    MHC_ROLE_JUNK,
    MHC_ROLE_COUNT,
};

struct mhc_pst_folder {
    char *name; /* owned */
    char *path; /* owned: from the top on; "/Name" for what is not below it */
    size_t parent;
    enum mhc_pst_role role;
    const char *class; /* of what it holds */
    uint32_t nid;
    uint32_t items, unread, associated;
    bool has_children;
};

struct mhc_pst {
    struct mhc_ndb *ndb;
    uint64_t seed;
    uint8_t key[16];                /* the store's record key */
    const char *charset;            /* of the store's own texts; NULL: UTF-16 */
    FILE *truth;                    /* NULL: none */
    struct mhc_pst_folder *folders; /* owned */
    size_t folder_count;
    size_t open;               /* the folder being filled */
    struct mhc_table contents; /* its rows */
    struct mhc_table associated;
    uint64_t items; /* written, all kinds */
    uint64_t mails;
    uint64_t deleted;
    uint64_t entries;           /* search keys given */
    size_t mark;                /* blocks before the item that is being made */
    struct mhc_extents extents; /* of that item */
};

/* Begins a store in `ndb`, which it does not own. */
void mhc_pst_init(struct mhc_pst *pst, struct mhc_ndb *ndb, uint64_t seed, FILE *truth);
/* Writes what all stores have, and the folders' trees. */
void mhc_pst_finish(struct mhc_pst *pst);
void mhc_pst_done(struct mhc_pst *pst);

/* A new folder below folder `parent`; returns its number. The first three are made by mhc_pst_init(). */
enum { MHC_FOLDER_ROOT, MHC_FOLDER_TOP, MHC_FOLDER_FINDER };
size_t mhc_pst_folder(struct mhc_pst *pst, size_t parent, const char *name, enum mhc_pst_role role,
                      const char *class);

/* Between these two, items go to folder `number`. */
void mhc_pst_folder_begin(struct mhc_pst *pst, size_t number);
void mhc_pst_folder_end(struct mhc_pst *pst);

enum mhc_pst_fate {
    MHC_ITEM_KEPT,
    MHC_ITEM_ASSOCIATED, /* what programs keep in a folder, such as views */
    MHC_ITEM_DELETED,    /* gone with the next mhc_ndb_forget() */
};

/* What is written from here on belongs to the next item; inner items begin none. */
void mhc_pst_item_begin(struct mhc_pst *pst);
/* Writes the item into the open folder and tells the truth about it; it is done with. */
void mhc_pst_add(struct mhc_pst *pst, struct mhc_item *item, enum mhc_pst_fate fate);

/* The id by which properties refer to a node (2.4.3.2). */
enum { MHC_ENTRY_ID_BYTES = 24 };
void mhc_pst_entry_id(const struct mhc_pst *pst, uint32_t nid, uint8_t out[MHC_ENTRY_ID_BYTES]);

#endif
