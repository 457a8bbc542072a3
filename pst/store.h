/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The store: its folders, their names and roles, and which items they hold ([MS-PST] 2.4.2 to 2.4.5).
 *
 * Items are found twice: by the table that a folder has of them, and by the nodes that say whose child
 * they are. What only one of the two knows is told apart, since that is where readers lose mail.
 *
 * pst_store_read() fills a struct pst_store with memory of its own, which any thread may read then;
 * whoever asked gives it back. Items are walked, never held: a folder may have a million.
 */
#ifndef MH_PST_STORE_H
#define MH_PST_STORE_H

#include "base/str.h"
#include "pst/ltp.h"

/* What a folder is for, as the store and the inbox say by its entry id: no language needed. */
enum pst_role {
    PST_ROLE_NONE,
    PST_ROLE_INBOX,
    PST_ROLE_SENT,
    PST_ROLE_OUTBOX,
    PST_ROLE_DELETED,
    PST_ROLE_DRAFTS,
    PST_ROLE_JUNK,
    PST_ROLE_CALENDAR,
    PST_ROLE_CONTACTS,
    PST_ROLE_JOURNAL,
    PST_ROLE_NOTES,
    PST_ROLE_TASKS,
};

struct pst_folder {
    uint32_t nid, parent_nid;
    char *name;      /* UTF-8, owned; "" where it has none */
    size_t parent;   /* index among the folders; SIZE_MAX: it has none */
    bool is_visible; /* at or below the folder that a mail program shows as the mailbox */
    bool is_orphan;  /* the folder that it should lie in is not there */
    enum pst_role role;
    int64_t announced,
        announced_hidden;       /* items and associated ones, as it says itself; -1: unsaid */
    struct pst_verdict verdict; /* of its properties */
};

/* An item, and the folder that its node names. */
struct pst_child {
    uint32_t parent, nid;
};

struct pst_store {
    char *name;                 /* UTF-8, owned; "" where it has none */
    bool has_password;          /* with which the format encrypts nothing */
    uint32_t top_nid;           /* the folder that a mail program shows as the mailbox; 0: unsaid */
    struct pst_folder *folders; /* owned; in the order of their NIDs */
    size_t n_folders, cap_folders;
    struct pst_child *children; /* owned; items, associated ones too, by parent and NID */
    size_t n_children, cap_children;
    struct pst_verdict verdict; /* of the store's own properties */
};

int pst_store_read(struct pst_reader *r, struct pst_store *out, struct mh_err *err) MH_MUST_CHECK;
void pst_store_done(struct pst_store *s);
/* NULL: there is none. */
const struct pst_folder *pst_store_find(const struct pst_store *s, uint32_t nid);
/* Its names from the top on with '/' between them; a '/' in a name is "%2F" as everywhere in
 * mailhaul (mail/folder.h). The top itself is "". */
void pst_store_path(const struct pst_store *s, const struct pst_folder *f, struct mh_buf *out);

/* By whom an item is known. */
enum { PST_BY_TABLE = 1, PST_BY_PARENT = 2 };

struct pst_entry {
    uint32_t nid;
    unsigned by;          /* PST_BY_… */
    struct pst_node node; /* its data is 0 where no node is left of it */
};

typedef int pst_entry_fn(void *ctx, const struct pst_entry *entry);

/*
 * All items of FOLDER (HIDDEN: its associated ones), in the order of their NIDs. V: how far its table
 * is proved. A return of FN other than 0 ends the walk and is its result.
 */
int pst_store_items(struct pst_reader *r, const struct pst_store *s,
                    const struct pst_folder *folder, bool hidden, pst_entry_fn *fn, void *ctx,
                    struct pst_verdict *v);

#endif
