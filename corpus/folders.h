/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * folders.h: which folders a mailbox has and how many messages each one gets.
 *
 * Memory: a list owns its items and their paths; mhc_folders_done() frees them. Threads: one.
 */
#ifndef MHC_FOLDERS_H
#define MHC_FOLDERS_H

#include "base.h"
#include "profile.h"

/* Stands between the components of a path: the one character that no folder name has. */
#define MHC_LEVEL '\n'

struct mhc_folder {
    char *path;       /* owned; UTF-8 components, MHC_LEVEL between them */
    const char *role; /* RFC 6154 use attribute, or NULL */
    bool is_subscribed;
    bool is_raw;       /* the path is the store's own name already, broken as it may be */
    uint64_t first;    /* index of its first message within the mailbox */
    uint64_t messages; /* how many follow from there */
};

struct mhc_folder_list {
    struct mhc_folder *items; /* owned */
    size_t count;
};

/* Lays out mailbox number `mailbox` of a profile; INBOX is always the first folder. */
void mhc_folders_plan(struct mhc_folder_list *list_out, const struct mhc_profile *profile,
                      uint64_t mailbox);
void mhc_folders_done(struct mhc_folder_list *list);
/* Adds a folder behind the others; `path` is copied, `role` must live for ever. */
struct mhc_folder *mhc_folders_add(struct mhc_folder_list *list, const char *path,
                                   const char *role);

/* folders_nasty.c: the hostile folder tree. */
void mhc_folders_plan_nasty(struct mhc_folder_list *list, const struct mhc_profile *profile);

/* One component in modified UTF-7 (RFC 3501 section 5.1.3). */
void mhc_utf7_encode(struct mhc_buf *buf, const char *utf8, size_t len);
/* The path for people and for the manifest: components joined by '/', odd bytes as %XX. */
void mhc_folder_print(struct mhc_buf *buf, const struct mhc_folder *folder);

#endif
