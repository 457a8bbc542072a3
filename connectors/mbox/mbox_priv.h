/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the mbox connector. What blocks runs in worker threads; the vtable's functions run in tasks.
 */
#ifndef MH_CONNECTORS_MBOX_PRIV_H
#define MH_CONNECTORS_MBOX_PRIV_H

#include "connectors/mbox/mbox.h"
#include "mail/file_form.h"
#include "mail/file_store.h"

#define MBOX_SUFFIX     ".mbox"
#define MBOX_INDEX      ".index"
#define MBOX_JOURNAL    ".journal"
/* What one offload scans: a cancel is looked at in between. */
#define MBOX_SCAN_BYTES ((uint64_t)64 << 20)
/* The sender in our From_ lines: whose tail behind a journal is ours to remove. */
#define MBOX_OUR_FROM   "From mailhaul@localhost "

enum {
    MBOX_HEAD_MAX = 512, /* what is looked at of a line */
    MBOX_NAME_MAX = 40,  /* of a message's name in the index */
};

/* --- what a message is known by (ident.c) ------------------------------------------------------ */

/* Fed with a message's octets as they stand in the file. Line ends count as LF, those at the end and
 * the fields that mail programs rewrite not at all. */
struct mbox_ident {
    struct mh_digest_ctx *ctx; /* owned */
    char head[24];             /* the present header line up to its ':' */
    size_t head_len;
    uint64_t line_ends; /* seen and not yet fed */
    bool in_header;
    bool at_line_start;
    bool in_head;     /* the line's name is being collected */
    bool is_excluded; /* the present line, or the one it continues */
    bool has_cr;      /* the last octet, not yet fed */
};

int mbox_ident_init(struct mbox_ident *i, struct mh_err *err);
void mbox_ident_done(struct mbox_ident *i);
void mbox_ident_start(struct mbox_ident *i);
void mbox_ident_feed(struct mbox_ident *i, const void *data, size_t len);
uint64_t mbox_ident_end(struct mbox_ident *i);

/* How often each ident was seen. */
struct mbox_counts {
    struct {
        uint64_t ident;
        uint32_t n; /* 0: free slot */
    } * slots;      /* owned */
    size_t mask, used;
};

/* Counts IDENT; how often it was there before. */
int mbox_counts_add(struct mbox_counts *c, uint64_t ident, uint32_t *nth_out, struct mh_err *err);
void mbox_counts_done(struct mbox_counts *c);
/* The message's name in the index; its uid is mh_uid_from_name() of it. */
void mbox_message_name(uint64_t ident, uint32_t nth, char out[MBOX_NAME_MAX]);

/* --- a file's messages (scan.c) ----------------------------------------------------------------- */

struct mbox_message {
    uint64_t uid;
    uint64_t ident;
    uint32_t nth;
    uint8_t flags;    /* of the Status fields */
    uint64_t from_at; /* the From_ line */
    uint64_t start;
    uint64_t len;
    uint64_t next_at;               /* where the next From_ line is, or the end */
    uint64_t bare_lf, crlf, quoted; /* of its octets (mail/file_form.h) */
    struct mh_date date;
    size_t keywords; /* offset in words; 0: none */
};

struct mbox_scan {
    struct mbox_message *v; /* owned, in the file's order */
    size_t n, cap;
    struct mh_buf words; /* NUL-terminated lists, the first one empty */
    struct mbox_counts counts;
    /* where it stands */
    struct mbox_ident ident;
    struct mh_form_scan form;
    struct mbox_message cur;
    char head[MBOX_HEAD_MAX]; /* of the present line */
    size_t head_len;
    uint64_t at;        /* offset of the next octet */
    uint64_t line_at;   /* where the present line begins */
    uint64_t line_len;  /* of it so far */
    unsigned blank_len; /* an empty line held back: it may belong to the next From_ line */
    bool is_pending;    /* nothing of the present line was given to the message yet */
    bool is_from_rest;  /* the present line is a From_ line, decided already */
    bool after_blank;
    bool in_message, in_header;
    bool is_no_mbox; /* something before the first From_ line */
};

int mbox_scan_init(struct mbox_scan *s, struct mh_err *err);
void mbox_scan_done(struct mbox_scan *s);
int mbox_scan_feed(struct mbox_scan *s, const unsigned char *data, size_t len, struct mh_err *err);
int mbox_scan_end(struct mbox_scan *s, struct mh_err *err);
/* Whether LINE is a From_ line; its date. */
bool mbox_from_line(const char *line, size_t len, struct mh_date *date_out);

/* Feeds FD from s->at up to LIMIT or MBOX_SCAN_BYTES more, through BUF of MH_SLAB_BYTES. *DONE_OUT: the
 * end was reached, and the scan is ended. thread: worker */
int mbox_scan_file(struct mbox_scan *s, int fd, uint64_t limit, unsigned char *buf, bool *done_out,
                   struct mh_err *err);

/* --- files (folders.c) ------------------------------------------------------------------------ */

struct mh_session;

/* Opens a folder's mbox and the directory it is in; *FILE_OUT is its name there (caller frees). */
int mbox_open_file(struct mh_session *s, const char *native, int flags, int *dir_fd_out,
                   int *fd_out, char **file_out, struct mh_err *err);
/* The length before an unfinished append, UINT64_MAX without one. */
int mbox_journal_read(int dir_fd, const char *file, uint64_t *end_out, struct mh_err *err);
int mbox_journal_write(int dir_fd, const char *file, uint64_t end, struct mh_err *err);
int mbox_journal_remove(int dir_fd, const char *file, struct mh_err *err);
/* Waits a while for the lock; MH_ELATER when another program holds it longer. */
int mbox_lock(int fd, bool for_write, struct mh_err *err);
void mbox_unlock(int fd);

/* --- the session ------------------------------------------------------------------------------ */

struct mbox_selected {
    int dir_fd, fd; /* -1: none */
    char *native;   /* owned; NULL: none selected */
    char *file;     /* owned */
    struct mbox_scan scan;
    struct mbox_message **by_uid; /* owned; pointers into scan.v */
    struct mh_file_index *index;  /* owned */
};

struct mbox_target {
    int dir_fd, fd; /* -1: none */
    char *file;     /* owned */
    uint64_t end;   /* of the file, as we left it */
    bool is_locked;
    bool is_stale; /* something was taken back: look at the file anew before the next append */
    struct mbox_counts counts;
    struct mbox_ident ident; /* of the message that is being written */
};

struct mh_session {
    struct mh_file_store store; /* first: mail/file_store.h */
    struct mbox_selected sel;
    struct mbox_target target;
};

/* folders.c */
int mbox_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
              struct mh_err *err);
int mbox_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                char **native_out, struct mh_err *err);
int mbox_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                   struct mh_err *err);

/* read.c */
int mbox_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                struct mh_opened *out, struct mh_err *err);
int mbox_scan_folder(struct mh_session *s, uint64_t uid_from, struct mh_scan *out,
                     struct mh_err *err);
int mbox_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
               struct mh_sink *sink, struct mh_err *err);
int mbox_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                     const char *keywords, struct mh_err *err);
void mbox_selected_done(struct mbox_selected *sel);

/* write.c */
int mbox_append_open(struct mh_session *s, const struct mh_folder *folder,
                     struct mh_append_sink *sink, struct mh_err *err);
void mbox_target_done(struct mbox_target *t);

#endif
