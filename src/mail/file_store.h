/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The frame of connectors for files: what a session on a folder of files is, whatever stands in them.
 * A connector's struct mh_session begins with a struct mh_file_store, so that the functions below
 * that say "mh_connector.X" go into its vtable as they are; the others are what its own functions
 * are made of.
 *
 * Who owns what: the store is part of its session, which frees it with mh_file_store_done(). Thread:
 * tasks of the session's scheduler; functions that are run in a worker thread say so.
 * Never: a write to an archive that was opened to be looked at.
 *
 * Example. `check` opens the target maildir:/backup/anna, and only /backup is there. The root stays
 * shut (root_fd -1), list() finds no folders, quota() tells the room in /backup, select() answers
 * MH_ENOENT. `copy` opens it with CREATE: the root is made.
 */
#ifndef MH_MAIL_FILE_STORE_H
#define MH_MAIL_FILE_STORE_H

#include "mail/connector.h"
#include "mail/file_fetch.h"
#include "mail/file_index.h"

struct mh_file_store {
    const struct mh_env *env; /* borrowed */
    int root_fd;              /* -1: a target that is looked at before it is made */
    int above_fd;             /* with root_fd -1: the nearest directory above it that is there */
    char *single;             /* owned: the one file's name in the root; NULL = folders */
    struct mh_caps caps;
    struct mh_file_writer
        *writer; /* owned; NULL until the first append_open (mail/file_append.h) */
};

/* S begins with it. */
static inline struct mh_file_store *mh_file_store(struct mh_session *s)
{
    return (struct mh_file_store *)(void *)s;
}

/* --- opening and closing ---------------------------------------------------------------------- */

/* All that these archives can do; what a kind or layout cannot is for the connector to take away. */
void mh_file_store_init(struct mh_file_store *st, const struct mh_env *env,
                        const char *server_name);
/* Ends the appends first: every verdict that is due comes. waits */
void mh_file_store_done(struct mh_file_store *st);

/* What mh_connector.open has to do in a worker thread: an argument for mh_file_run(). */
struct mh_file_opening {
    struct mh_session *s;
    const char *path; /* borrowed: the endpoint */
    bool create;
};

/* Whether PATH is a file: it is one, or nothing is there, SUFFIX is not NULL and PATH ends so, which
 * makes a target's file of it. thread: worker */
bool mh_file_store_names_file(const struct mh_file_opening *o, const char *suffix);
/* The directory at PATH becomes the root, made with CREATE. A source that is not there is MH_EUSAGE, a
 * target that is only looked at is an empty store. thread: worker */
int mh_file_store_open_root(const struct mh_file_opening *o, struct mh_err *err) MH_MUST_CHECK;
/* The file at PATH is all there is; its directory becomes the root. thread: worker */
int mh_file_store_open_single(const struct mh_file_opening *o, struct mh_err *err) MH_MUST_CHECK;

/* mh_connector.caps and mh_connector.quota, which is the room on the file system. */
const struct mh_caps *mh_file_store_caps(struct mh_session *s);
int mh_file_store_quota(struct mh_session *s, struct mh_quota *out,
                        struct mh_err *err) MH_MUST_CHECK;

/* --- folders ---------------------------------------------------------------------------------- */

/* Runs FN(S, FOLDER) in a worker thread; its result. waits */
int mh_file_store_run(struct mh_session *s,
                      int (*fn)(struct mh_session *s, const struct mh_folder *folder,
                                struct mh_err *err),
                      const struct mh_folder *folder, struct mh_err *err) MH_MUST_CHECK;

/* mh_connector.list for folders that ADD adds in any order in a worker thread; it is not asked for
 * those of a store that is not there. waits */
int mh_file_store_list(struct mh_session *s,
                       int (*add)(struct mh_session *s, enum mh_listing what,
                                  struct mh_folders *out, struct mh_err *err),
                       enum mh_listing what, struct mh_folders *out,
                       struct mh_err *err) MH_MUST_CHECK;
/* For ADD: a folder with its uidvalidity. */
int mh_file_store_add(struct mh_folders *l, const char *path, const char *native,
                      struct mh_folder **out, struct mh_err *err) MH_MUST_CHECK;

/* The end of mh_connector.plan_name: takes what the buffers hold, when RC is 0, and empties them. */
int mh_file_store_planned(int rc, struct mh_buf *path, struct mh_buf *native, char **path_out,
                          char **native_out, struct mh_err *err) MH_MUST_CHECK;
/* The end of mh_connector.create: runs MAKE in a worker thread and notes the role. *PATH_OUT and
 * *NATIVE_OUT are what plan_name() has made, and freed when this fails. waits */
int mh_file_store_create(struct mh_session *s,
                         int (*make)(struct mh_session *s, const struct mh_folder *folder,
                                     struct mh_err *err),
                         enum mh_role role, char **path_out, char **native_out,
                         struct mh_err *err) MH_MUST_CHECK;
/* mh_connector.subscribe in MH_FILE_FOLDERS_NAME; a single file has no place for it. waits */
int mh_file_store_subscribe(struct mh_session *s, const struct mh_folder *folder,
                            struct mh_err *err) MH_MUST_CHECK;

/* What opening FOLDER tells where all flags and keywords are kept. */
void mh_file_store_opened(const struct mh_folder *folder, uint64_t messages, struct mh_opened *out);
/* Says that X, FOLDER's, has lines that are none of ours. */
void mh_file_store_warn_odd_lines(struct mh_session *s, const struct mh_folder *folder,
                                  const struct mh_file_index *x);

/* --- fetching --------------------------------------------------------------------------------- */

/* One look for messages that are files: a name that the session does not know, or that is gone, has
 * the connector read the folder again, once. */
struct mh_file_lookup {
    struct mh_session *s;
    bool was_relisted;
};

/* mh_connector.fetch: as mh_file_fetch(), with a struct mh_file_lookup as LOCATE's context. waits */
int mh_file_store_fetch(struct mh_session *s,
                        int (*locate)(void *lookup, const struct mh_item *item,
                                      struct mh_file_extent *out, struct mh_err *err),
                        const struct mh_item *const *items, size_t n, struct mh_sink *sink,
                        struct mh_err *err) MH_MUST_CHECK;

#endif
