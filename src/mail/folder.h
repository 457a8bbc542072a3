/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Folders: canonical paths, roles, attributes.
 *
 * A canonical path is UTF-8 components joined by '/'. Inside a component these bytes are escaped
 * as %XX (upper-case hex): '/', control bytes, DEL, bytes that are not valid UTF-8, bytes a connector
 * could not decode; and a '%' that is followed by two hex digits. Everything else stands as it is, so
 * ordinary names read as they are and every byte string has exactly one path. The inbox is "INBOX",
 * whatever its spelling on the wire. A path is never used as a file-system path as it is.
 */
#ifndef MH_MAIL_FOLDER_H
#define MH_MAIL_FOLDER_H

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

/* RFC 6154 special uses, RFC 8457 \Important, and the inbox. */
enum mh_role {
    MH_ROLE_NONE,
    MH_ROLE_INBOX,
    MH_ROLE_ALL,
    MH_ROLE_ARCHIVE,
    MH_ROLE_DRAFTS,
    MH_ROLE_FLAGGED,
    MH_ROLE_JUNK,
    MH_ROLE_SENT,
    MH_ROLE_TRASH,
    MH_ROLE_IMPORTANT,
    MH_ROLE_COUNT
};

enum mh_folder_attr {
    MH_FOLDER_NOSELECT = 1 << 0, /* a name without messages (also \NonExistent) */
    MH_FOLDER_SUBSCRIBED = 1 << 1,
    MH_FOLDER_NOINFERIORS = 1 << 2,
    MH_FOLDER_HAS_STATUS = 1 << 3, /* messages … size below are known from LIST-STATUS/STATUS */
    MH_FOLDER_ROLE_ANNOUNCED = 1 << 4, /* the server said the role; else guessed by name */
    MH_FOLDER_FOREIGN = 1 << 5,        /* other users' or shared namespace: listed, not carried */
};

struct mh_folder {
    char *path;   /* owned: canonical */
    char *native; /* owned: the connector's own name, bytes (IMAP: modified UTF-7 as on the wire) */
    enum mh_role role;
    unsigned attrs; /* enum mh_folder_attr */
    uint32_t uidvalidity;
    uint64_t uidnext;
    uint64_t messages;
    uint64_t highestmodseq; /* 0 = unknown */
    uint64_t size;          /* STATUS=SIZE; 0 with size_known false */
    bool size_known;
    uint64_t
        object_id; /* MAILBOXID (RFC 8474) as 63 bits: stays when the folder is renamed; 0 = unknown */
};

struct mh_folders {
    struct mh_folder *v; /* owned */
    size_t n;
    size_t cap;
    bool is_sorted; /* since the last add: finding by path is a binary search */
};

#define MH_FOLDERS_INIT                                                                            \
    {                                                                                              \
        NULL, 0, 0, false                                                                          \
    }

/* Appends an empty folder with copies of PATH and NATIVE; MH_EMAILBOX above MH_FOLDERS_MAX. The
 * pointer is valid until the next add. */
int mh_folders_add(struct mh_folders *l, const char *path, const char *native,
                   struct mh_folder **out, struct mh_err *err) MH_MUST_CHECK;
void mh_folders_done(struct mh_folders *l);
/* Sorts by path, parents before children, INBOX first. */
void mh_folders_sort(struct mh_folders *l);
struct mh_folder *mh_folders_find(const struct mh_folders *l, const char *path);
struct mh_folder *mh_folders_find_role(const struct mh_folders *l, enum mh_role role);
/* Roles for folders the server announced none for: by well-known names (below), each role at most
 * once, top level or directly below INBOX only, never over an announced one. Of several candidates
 * the top-level one wins, then the one with more messages (where known), then the first. INBOX
 * becomes MH_ROLE_INBOX. */
void mh_folders_guess_roles(struct mh_folders *l);

/* "sent", "drafts", …; "" for none. */
const char *mh_role_name(enum mh_role role);
/* "\\Sent", …; NULL where there is no attribute (none, inbox). */
const char *mh_role_attr(enum mh_role role);
enum mh_role mh_role_parse(const char *name, size_t len); /* "sent" or "\\Sent", any case */
/* By well-known names in the major languages ("Gesendet", "Éléments envoyés", "送信済み", …), of one
 * component, compared after case folding of the Latin, Greek and Cyrillic letters. */
enum mh_role mh_role_guess(const char *component);
/* The name to create for a role at a target that has none: "Sent", "Drafts", "Trash", "Junk", "Archive". */
const char *mh_role_default_name(enum mh_role role);

/* --- canonical paths -------------------------------------------------------------------------- */

/* Appends one component, given as raw bytes, in canonical form (no separator). An empty component has
 * no path of its own (only "A//B" can hold one): connectors must not make one. */
void mh_path_add_component(struct mh_buf *b, const char *raw, size_t len);
/* Splits: the next component of *CURSOR, decoded to raw bytes into B (reset first); false at the end.
 * Hex digits of either case are read. mh_buf_failed(B) afterwards: out of memory. */
bool mh_path_next(const char **cursor, struct mh_buf *b);
size_t mh_path_depth(const char *path);
/* True if PATH is PREFIX or below it; everything is below "". */
bool mh_path_is_below(const char *path, const char *prefix);

#endif
