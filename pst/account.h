/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An exact account of an archive: for each folder which items are known and by whom, and how far each
 * of them can be read. An item is read to its last octet: its properties, recipients, attachments and
 * whatever is embedded in them, each block proved.
 *
 * The account owns what it holds and is given back with pst_account_done(). The reader is the
 * caller's, one thread; it needs as much time as reading the archive does.
 */
#ifndef MH_PST_ACCOUNT_H
#define MH_PST_ACCOUNT_H

#include "pst/store.h"

struct pst_account_folder {
    size_t folder;     /* index in the store */
    uint64_t by_both;  /* items that the folder's table and their own nodes know */
    uint64_t by_table; /* … that its table alone knows */
    uint64_t by_parent; /* … that their nodes alone know: recovered ones, other readers lose them */
    /* These three add up to all items above. */
    uint64_t read, suspect, lost;
    uint64_t hidden;          /* associated items: views, rules, forms; no mail */
    uint64_t bytes;           /* of all blocks of the items, as they are used */
    struct pst_verdict table; /* how far its table is proved */
};

/* An item that cannot be had as it was. */
struct pst_account_item {
    size_t folder; /* index in the store */
    uint32_t nid;
    struct pst_verdict verdict;
};

struct pst_account {
    struct pst_account_folder *folders; /* owned; as many as the store has, in its order */
    size_t n_folders;
    struct pst_account_item *items; /* owned; SUSPECT and LOST ones, the first of them */
    size_t n_items, cap_items;
    struct pst_account_folder total; /* folder is SIZE_MAX */
    uint64_t homeless;               /* items whose folder is not there */
};

enum { PST_ACCOUNT_ITEMS_MAX = 100000 }; /* named one by one; all are counted */

/* STOP is looked at between items; not 0: MH_ECANCEL. NULL: never. */
int pst_account_run(struct pst_reader *r, const struct pst_store *s, const _Atomic int *stop,
                    struct pst_account *out, struct mh_err *err) MH_MUST_CHECK;
void pst_account_done(struct pst_account *a);

/* Reads all that hangs below NODE; *BYTES grows by what it is long. */
struct pst_verdict pst_account_node(struct pst_reader *r, const struct pst_node *node,
                                    uint64_t *bytes);

#endif
