/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The messages of a folder whose every message is a file: names and uids, found by uid, and a walk
 * over what stat() says of them.
 *
 * Who owns what: names are the list's, valid until the next change. A list belongs to one session; reading
 * blocks: call it through mh_offload(). Never: a file opened, a link followed but a single file's.
 */
#ifndef MH_MAIL_FILE_ENTRIES_H
#define MH_MAIL_FILE_ENTRIES_H

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

struct mh_file_entry {
    uint64_t uid;
    size_t name;       /* offset in names */
    unsigned char box; /* which of the folder's directories it is in: the connector's number */
};

/* All zero is an empty one. */
struct mh_file_entries {
    struct mh_file_entry *v; /* owned, by uid once sorted */
    size_t n, cap;
    struct mh_buf names; /* NUL-terminated, one after the other */
    size_t odd;          /* names of messages that are no regular files */
};

void mh_file_entries_done(struct mh_file_entries *l);
/* Empties it; the memory is kept. */
void mh_file_entries_reset(struct mh_file_entries *l);
int mh_file_entries_add(struct mh_file_entries *l, uint64_t uid, const char *name,
                        unsigned char box, struct mh_err *err) MH_MUST_CHECK;
/* Adds the files in DIR_FD for which UID_OF() says a uid; 0 = no message's name. thread: worker */
int mh_file_entries_read(struct mh_file_entries *l, int dir_fd, unsigned char box,
                         uint64_t (*uid_of)(const char *name), struct mh_err *err) MH_MUST_CHECK;
/* By uid, then by name. */
void mh_file_entries_sort(struct mh_file_entries *l);
/* NULL: not there. */
struct mh_file_entry *mh_file_entries_find(const struct mh_file_entries *l, uint64_t uid);
const char *mh_file_entries_name(const struct mh_file_entries *l, const struct mh_file_entry *e);
int mh_file_entries_rename(struct mh_file_entries *l, struct mh_file_entry *e, const char *name,
                           struct mh_err *err) MH_MUST_CHECK;

/* A walk in a task; the list must not change meanwhile. */
struct mh_file_walk {
    const struct mh_file_entries *l; /* borrowed, as are the descriptors */
    const int *box_fds;              /* by entry's box */
    bool follow;                     /* links too: a person named the file */
    struct mh_file_stat *stats;      /* owned: of [from, to) */
    size_t from, to, next;
    /* What the last step found. */
    const struct mh_file_entry *entry;
    uint64_t size;
    int64_t mtime_s;
};

int mh_file_walk_init(struct mh_file_walk *w, const struct mh_file_entries *l, const int *box_fds,
                      uint64_t uid_from, struct mh_err *err) MH_MUST_CHECK;
/* To the next one that is there, a regular file: 1; 0 at the end; MH_ECANCEL. waits */
int mh_file_walk_next(struct mh_file_walk *w, struct mh_err *err) MH_MUST_CHECK;
void mh_file_walk_done(struct mh_file_walk *w);

#endif
