/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Names and directories for connectors whose folders are files: folder names become file names and
 * come back unchanged, and no name, link or path on a hostile disk leads out of the archive.
 *
 * Plain functions; any thread, but those that take a directory block: call them through mh_offload().
 * Never: a path from outside used as it is, a symbolic link followed below the root.
 */
#ifndef MH_MAIL_FILE_NAME_H
#define MH_MAIL_FILE_NAME_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

/* What a kind of file name cannot hold as it is. */
struct mh_file_naming {
    const char *special;   /* octets to escape beside '/', control octets and invalid UTF-8 */
    const char *extension; /* NULL, or what must not follow a '.': "mbox" */
    bool no_leading_tilde; /* a '~' at the start is escaped (Dovecot refuses it) */
    bool no_trailing_dot;  /* a '.' or blank at the end is escaped (other systems drop it) */
    size_t max_bytes;      /* longer names are cut and end in '~' and a digest */
};

/* NAME_MAX of every file system in use, less room for what a connector appends. */
#define MH_FILE_NAME_MAX_BYTES 240u

/* Appends RAW as a file name: special octets, a leading '.', and a '%' before two hex digits become
 * %XX. True: the name was too long and was cut, so that decoding gives another one. */
bool mh_file_name_encode(struct mh_buf *b, const char *raw, size_t len,
                         const struct mh_file_naming *naming);
/* Appends what NAME stands for. A name that mh_file_name_encode() would never make stands for itself. */
void mh_file_name_decode(struct mh_buf *b, const char *name, size_t len,
                         const struct mh_file_naming *naming);

/* Canonical PATH as a relative one, a file name a component ("a/b"), appended to NATIVE. MH_EFOLDER:
 * empty, too deep, or a component is empty. */
int mh_file_path_encode(const char *path, const struct mh_file_naming *naming,
                        struct mh_buf *native, struct mh_err *err) MH_MUST_CHECK;
/* What NATIVE's first LEN octets stand for, appended to PATH. */
int mh_file_path_decode(const char *native, size_t len, const struct mh_file_naming *naming,
                        struct mh_buf *path, struct mh_err *err) MH_MUST_CHECK;

/* Runs FN(ARG, ERR) in a worker thread; its result. waits */
int mh_file_run(int (*fn)(void *arg, struct mh_err *err), void *arg,
                struct mh_err *err) MH_MUST_CHECK;

/* Opens the directory at PATH, which a person named: links are followed. CREATE makes it, mode 0700,
 * and what is missing above it. MH_EUSAGE when there is none. */
int mh_file_open_root(const char *path, bool create, int *fd_out, struct mh_err *err) MH_MUST_CHECK;
/* Opens the directory REL ("a/b", "" is the root itself) below ROOT_FD without following links; "."
 * and ".." are refused. MH_ENOENT when there is none and it is not to be made, or no root (-1). */
int mh_file_open_dir(int root_fd, const char *rel, bool create, int *fd_out,
                     struct mh_err *err) MH_MUST_CHECK;
/* The same for the directory that holds the last part of REL; *NAME_OUT points into REL. */
int mh_file_open_parent(int root_fd, const char *rel, bool create, int *fd_out,
                        const char **name_out, struct mh_err *err) MH_MUST_CHECK;

/* Opens the directory NAME in DIR_FD, no link, to be listed; NULL with errno. */
DIR *mh_file_opendir(int dir_fd, const char *name);
/* Closes *FD unless it is -1, which it is then. */
void mh_file_close(int *fd);

/* All of a regular file, at most MAX_BYTES, into B; a missing one is MH_ENOENT. */
int mh_file_read_all(int dir_fd, const char *name, size_t max_bytes, struct mh_buf *b,
                     struct mh_err *err) MH_MUST_CHECK;
/* Appends TEXT, whole lines, to a file (made if missing, mode 0600), under a lock, and syncs it. */
int mh_file_append_text(int dir_fd, const char *name, const struct mh_buf *text,
                        struct mh_err *err) MH_MUST_CHECK;
/* Writes a whole file through NAME.tmp, syncs and renames it. */
int mh_file_replace(int dir_fd, const char *name, const struct mh_buf *text,
                    struct mh_err *err) MH_MUST_CHECK;
/* Room left on the file system. */
int mh_file_room(int fd, uint64_t *bytes_out, struct mh_err *err) MH_MUST_CHECK;

#endif
