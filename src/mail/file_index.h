/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What eml and mbox archives cannot hold in a message's own file: flags, date with zone, keywords, and
 * a few facts about its form, in a side file of one line per message:
 *
 *   name TAB flags TAB date TAB form TAB octets TAB keywords
 *   1763816700.M1P2Q3.eml  FS  2026-11-22T13:05:00+01:00  raw  4711  $Forwarded work
 *
 * flags: letters of "DFRST" (draft, flagged, replied, seen, trashed) or "-". date: ISO 8601 or "-".
 * form: "raw" when the octets are the message's own although all lines end with LF, else "-".
 * octets: the message's length in the file, or "-". keywords: blank-separated. In name and keywords
 * what folder.h escapes is escaped. Lines are only ever appended; a later line about the same name
 * replaces an earlier one, and a line that is no line of ours is passed over.
 *
 * And the folders' roles and subscriptions of an archive, in one file at its root, one fact a line:
 *
 *   canonical path TAB "role" TAB role          canonical path TAB "subscribed" TAB "yes"
 *
 * An index belongs to one session. Loading and appending block: call them through mh_offload().
 */
#ifndef MH_MAIL_FILE_INDEX_H
#define MH_MAIL_FILE_INDEX_H

#include "base/log.h"
#include "mail/folder.h"
#include "mail/item.h"

/* A million messages with long names and keywords have some 150 MiB. */
#define MH_FILE_INDEX_MAX_BYTES   ((size_t)512 << 20)
#define MH_FILE_FOLDERS_NAME      ".mailhaul-folders"
#define MH_FILE_FOLDERS_MAX_BYTES ((size_t)256 << 20)

struct mh_file_record {
    uint64_t uid; /* mh_uid_from_name() of the name */
    struct mh_date date;
    uint8_t flags;
    bool is_raw;
    bool has_octets;
    uint64_t octets;
    const char *keywords; /* borrowed: the index; or the caller, when it is written */
    size_t keywords_len;
};

struct mh_file_index;

/* A missing file is an empty index. */
int mh_file_index_load(int dir_fd, const char *file, struct mh_file_index **out,
                       struct mh_err *err) MH_MUST_CHECK;
void mh_file_index_free(struct mh_file_index *x);
/* NULL: nothing is known of it. Borrowed until the next put. */
const struct mh_file_record *mh_file_index_find(const struct mh_file_index *x, uint64_t uid);
/* Replaces the record of REC->uid; keywords are copied. */
int mh_file_index_put(struct mh_file_index *x, const struct mh_file_record *rec,
                      struct mh_err *err) MH_MUST_CHECK;
/* Lines that were no lines of ours. */
size_t mh_file_index_odd_lines(const struct mh_file_index *x);
/* Appends REC's line to B. */
void mh_file_index_format(struct mh_buf *b, const char *name, const struct mh_file_record *rec);

/* Roles and subscriptions into the folders of L, which is sorted. An archive that says nothing about
 * subscriptions has all of them subscribed. */
int mh_file_folders_load(int root_fd, struct mh_folders *l, struct mh_err *err) MH_MUST_CHECK;
int mh_file_folders_note_role(int root_fd, const char *path, enum mh_role role,
                              struct mh_err *err) MH_MUST_CHECK;
int mh_file_folders_note_subscribed(int root_fd, const char *path,
                                    struct mh_err *err) MH_MUST_CHECK;
/* Sorts L, INBOX has its role. Two names on the disk that stand for one path (no connector makes
 * such) are told apart by a digest behind the second one, and LOG is told. */
int mh_file_folders_finish(struct mh_folders *l, const struct mh_log *log,
                           struct mh_err *err) MH_MUST_CHECK;

/* What mh_connector.store_flags is to change. */
struct mh_file_flags {
    const uint64_t *uids; /* borrowed, as are the keywords */
    size_t n;
    bool add;
    uint8_t flags;
    const char *keywords;
};

/* Changes the record of HAD->uid, or HAD itself when there is none, and appends its line to LINES. */
int mh_file_index_change(struct mh_file_index *x, const char *name,
                         const struct mh_file_record *had, const struct mh_file_flags *change,
                         struct mh_buf *lines, struct mh_err *err) MH_MUST_CHECK;
/* The flags of REC with FLAGS added or removed, and KEYWORDS (blank-separated) likewise, into OUT and
 * WORDS (which OUT->keywords borrows). */
void mh_file_record_change(const struct mh_file_record *rec, bool add, uint8_t flags,
                           const char *keywords, struct mh_buf *words, struct mh_file_record *out);
/* Whether the blank-separated WORDS hold WORD, any case. */
bool mh_file_words_have(const char *words, size_t words_len, const char *word, size_t len);
/* The uidvalidity of a folder whose uids come from names: the same for ever. */
uint32_t mh_file_uidvalidity(const char *path);

#endif
