/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the maildir connector. Functions that take a directory's descriptor block and run in worker
 * threads; those that take a session's vtable arguments run in tasks.
 */
#ifndef MH_CONNECTORS_MAILDIR_PRIV_H
#define MH_CONNECTORS_MAILDIR_PRIV_H

#include "connectors/maildir/maildir.h"
#include "mail/file_append.h"
#include "mail/file_entries.h"
#include "mail/file_store.h"

/* --- folder names (names.c) ------------------------------------------------------------------- */

enum maildir_layout {
    MAILDIR_PLUS_PLUS, /* root/.A.B */
    MAILDIR_FS,        /* root/A/B */
};

/* The native name of the root. */
#define MAILDIR_ROOT "."

/* Canonical PATH to a native name and back; a name too long for a directory is cut, which decoding
 * shows. NATIVE and PATH are reset first. */
int maildir_name_encode(enum maildir_layout layout, const char *path, struct mh_buf *native,
                        struct mh_err *err);
int maildir_name_decode(enum maildir_layout layout, const char *native, struct mh_buf *path,
                        struct mh_err *err);
/* Opens a folder's directory. */
int maildir_open_folder(int root_fd, const char *native, bool create, int *fd_out,
                        struct mh_err *err);

/* --- keywords (keywords.c) -------------------------------------------------------------------- */

enum { MAILDIR_KEYWORDS = 26, MAILDIR_KEYWORD_MAX = 256 };

/* dovecot-keywords: the letters a-z of the info part. */
struct maildir_keywords {
    char *names[MAILDIR_KEYWORDS]; /* owned; NULL = unused */
    bool is_unsaved;               /* some are not in the file yet */
    struct mh_buf lost;            /* blank-separated: that got no letter, once each */
    size_t n_lost;
    bool has_lost_more; /* than are in `lost`, which is for a person */
};

/* A missing file is an empty table. */
int maildir_keywords_load(int dir_fd, struct maildir_keywords *k, struct mh_err *err);
void maildir_keywords_done(struct maildir_keywords *k);
/* The letters of the blank-separated WORDS as a bit set. Unknown ones get a letter (*IS_NEW_OUT: the
 * table must be saved) as long as there are any; *N_LOST_OUT counts those that got none. */
int maildir_keywords_letters(struct maildir_keywords *k, const char *words, uint32_t *letters_out,
                             bool *is_new_out, unsigned *n_lost_out, struct mh_err *err);
/* The letters of those of WORDS that have one. */
uint32_t maildir_keywords_known(const struct maildir_keywords *k, const char *words);
/* Says once what got no letter in the folder PATH. */
void maildir_keywords_report(struct maildir_keywords *k, const struct mh_log *log,
                             const char *path);
/* Adds this table's keywords to the file's, under Dovecot's lock, and takes the result over. A letter
 * another program has given away meanwhile changes: ask for letters again when *CHANGED_OUT. */
int maildir_keywords_save(int dir_fd, struct maildir_keywords *k, bool *changed_out,
                          struct mh_err *err);

/* --- file names (filename.c) ------------------------------------------------------------------ */

/* What stands in a message's file name. */
struct maildir_info {
    size_t base_len; /* up to the ':' */
    uint8_t flags;
    bool is_passed;   /* P */
    uint32_t letters; /* keywords a-z */
    bool has_size;    /* W= or S= */
    uint64_t size;    /* W=, else S= */
    bool is_raw;      /* R=1 */
};

void maildir_info_parse(const char *name, struct maildir_info *out);
/* Appends NAME's base with an info part of FLAGS and LETTERS; what else its info part had is kept. */
void maildir_info_format(struct mh_buf *b, const char *name, const struct maildir_info *info);

/* --- the session ------------------------------------------------------------------------------ */

/* Where a message is: the box of its struct mh_file_entry. */
enum { MAILDIR_CUR, MAILDIR_NEW, MAILDIR_BOXES };

/* The selected folder. */
struct maildir_selected {
    int dir_fd; /* -1: none, as are the boxes'; a folder may have no new/ */
    int box_fds[MAILDIR_BOXES];
    char *native; /* owned; NULL: none selected */
    struct mh_file_entries list;
    struct maildir_keywords keywords;
};

/* Where appends go. */
struct maildir_target {
    int dir_fd, tmp_fd, cur_fd; /* -1: none */
    char *path;                 /* owned: of the folder */
    struct maildir_keywords keywords;
};

struct mh_session {
    struct mh_file_store store; /* first: mail/file_store.h */
    enum maildir_layout layout;
    struct maildir_selected sel;
    struct maildir_target target;
};

/* folders.c */
int maildir_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                 struct mh_err *err);
int maildir_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                   char **native_out, struct mh_err *err);
int maildir_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                      struct mh_err *err);
int maildir_subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err);
/* cur, new and tmp in DIR_FD. */
int maildir_make_boxes(int dir_fd, struct mh_err *err);

/* read.c */
int maildir_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                   struct mh_opened *out, struct mh_err *err);
int maildir_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err);
int maildir_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                  struct mh_sink *sink, struct mh_err *err);
int maildir_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                        uint8_t flags, const char *keywords, struct mh_err *err);
void maildir_selected_done(struct maildir_selected *sel);

/* write.c */
int maildir_append_open(struct mh_session *s, const struct mh_folder *folder,
                        struct mh_append_sink *sink, struct mh_err *err);
/* Says what the folder could not keep, too. */
void maildir_target_done(struct mh_session *s);

#endif
