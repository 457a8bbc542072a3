/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One message as a connector names it: identity, size, date, flags. Plain values; any thread.
 */
#ifndef MH_MAIL_ITEM_H
#define MH_MAIL_ITEM_H

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

/* System flags (RFC 9051 section 2.3.2). \Recent is the server's own and never carried. */
enum mh_flag {
    MH_SEEN = 1 << 0,
    MH_ANSWERED = 1 << 1,
    MH_FLAGGED = 1 << 2,
    MH_DELETED = 1 << 3,
    MH_DRAFT = 1 << 4,
};

/* INTERNALDATE with its zone: the same instant in another zone is the same date, but the zone is
 * carried because some servers show it. */
struct mh_date {
    int64_t unix_s;
    int16_t zone_min; /* minutes east of UTC, -1439..1439 */
    bool is_set;
};

struct mh_item {
    uint64_t uid;  /* IMAP UID; for files a stable 63-bit name (mh_uid_from_name); never 0 */
    uint64_t size; /* RFC822.SIZE as announced: may lie */
    struct mh_date date;
    uint32_t kwset;  /* index into the scan's struct mh_kwsets; 0 = none */
    uint8_t flags;   /* enum mh_flag */
    uint64_t modseq; /* RFC 7162; 0 = unknown */
    /* What the server calls the message wherever it lies (EMAILID of RFC 8474, X-GM-MSGID), as 63 bits
     * (mh_uid_from_name()); 0 = it has no such name. Byte-identical twins may share it. */
    uint64_t object_id;
};

/* Text of all keyword sets of one folder: keyword names that a server sends at its line limit of
 * 1 MiB, 65,535 times, must not fill the memory. Real folders have a few hundred bytes. */
#define MH_KEYWORD_TEXT_MAX_BYTES (16u << 20)

/* Distinct keyword combinations, so that an item needs four bytes for any number of keywords. A set
 * is its keywords sorted (bytewise, ASCII case folded for comparison, first spelling kept), joined
 * by one space. Belongs to one scheduler. */
struct mh_kwsets;

int mh_kwsets_new(struct mh_kwsets **out, struct mh_err *err) MH_MUST_CHECK;
void mh_kwsets_free(struct mh_kwsets *k);
/* Interns the blank-separated KEYWORDS (any order, duplicates dropped); "" is 0. Sets that differ
 * in case only are one set. MH_EFOLDER above MH_KEYWORD_SETS_MAX or MH_KEYWORD_TEXT_MAX_BYTES. */
int mh_kwsets_intern(struct mh_kwsets *k, const char *keywords, size_t len, uint32_t *id_out,
                     struct mh_err *err) MH_MUST_CHECK;
/* How many sets there are besides the empty one: their ids are 1 … count. */
uint32_t mh_kwsets_count(const struct mh_kwsets *k);
/* The set's canonical text; "" for 0. Borrowed: K, until the next intern. */
const char *mh_kwsets_text(const struct mh_kwsets *k, uint32_t id);

enum { MH_SCAN_STRETCH = 16 * 1024 };

/* The metadata of a folder's messages, ascending by uid. Grows by doubling; one scheduler. */
struct mh_scan {
    struct mh_item *items; /* owned */
    size_t n;
    size_t cap;
    struct mh_kwsets *kwsets; /* owned */
    struct mh_item *spare;    /* owned: room to sort, once items came out of order */
    size_t spare_cap;
    bool was_out_of_order; /* finish() had to sort */

    /* Called by add() each MH_SCAN_STRETCH items, or NULL: who wants to look at them while more are on the way. Whatever
     * comes later may belong before them (SPARE is set then). In the thread and task that adds; it must not wait. */
    void (*grown)(void *ctx);
    void *grown_ctx;
};

int mh_scan_init(struct mh_scan *s, struct mh_err *err) MH_MUST_CHECK;
void mh_scan_done(struct mh_scan *s);
int mh_scan_add(struct mh_scan *s, const struct mh_item *item, struct mh_err *err) MH_MUST_CHECK;
/* Sorts by uid when they did not come in order and drops repeated uids (the last one wins); for
 * connectors to call at the end. Cannot fail: the room it needs was taken by mh_scan_add(). */
void mh_scan_finish(struct mh_scan *s);
/* Gives back the room behind the last item. */
void mh_scan_shrink(struct mh_scan *s);
/* NULL if absent. The scan must be finished. */
const struct mh_item *mh_scan_find(const struct mh_scan *s, uint64_t uid);

/* "\Seen \Flagged" into B, in a fixed order. */
void mh_flags_format(uint8_t flags, struct mh_buf *b);
/* One flag name ("\\Seen", any case) to its bit; 0 if it is no system flag. */
uint8_t mh_flag_parse(const char *name, size_t len);

/* "17-Jul-1996 02:44:25 -0700" (RFC 9051 date-time), 26 characters, day padded with a blank. */
void mh_date_format_imap(const struct mh_date *d, char out[27]);
bool mh_date_parse_imap(const char *s, size_t len, struct mh_date *out) MH_MUST_CHECK;
/* "2026-11-22T13:05:00+01:00" into OUT. */
void mh_date_format_iso(const struct mh_date *d, char out[32]);
/* An RFC 5322 date header's value, obsolete zones included. */
bool mh_date_parse_rfc5322(const char *s, size_t len, struct mh_date *out) MH_MUST_CHECK;

/* A stable identity for things named by text (file names): 63 bits of SHA-256, never 0. */
uint64_t mh_uid_from_name(const char *name, size_t len);

#endif
