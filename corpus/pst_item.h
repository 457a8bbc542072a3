/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_item.h: one message object ([MS-PST] 2.4.5): properties, recipients, attachments, and the
 * truth about them.
 *
 * Properties are set in `props` by whoever makes the item; recipients and attachments by the
 * functions here, attachments as they come, so that they need no memory.
 * Memory: mhc_item_write() writes it and gives everything back. Threads: one.
 */
#ifndef MHC_PST_ITEM_H
#define MHC_PST_ITEM_H

#include "pst_store.h"

enum mhc_recipient_type { MHC_TO = 1, MHC_CC = 2, MHC_BCC = 3 };

/* Somebody who has an address; in the sender's own company also one of X.500. */
struct mhc_pst_person {
    struct mhc_person person;
    bool has_x500;
};

struct mhc_item {
    struct mhc_pst *pst; /* borrowed */
    struct mhc_props props;
    struct mhc_subnodes subs;
    struct mhc_table recipients;
    struct mhc_table attachments;
    struct mhc_buf recipient_json; /* owned */
    struct mhc_buf attachment_json;
    struct mhc_buf json;       /* the fields of the truth, without braces */
    struct mhc_buf display[4]; /* names by recipient type */
    uint32_t recipient_count, attachment_count;
    uint32_t flags; /* PR_MESSAGE_FLAGS */
    uint64_t bytes; /* beside the properties */
    int64_t made;   /* Unix seconds */
};

/* The columns of the tables of recipients and attachments, with UTF-16 texts. */
extern const uint32_t mhc_recipient_columns[];
extern const size_t mhc_recipient_column_count;
extern const uint32_t mhc_attachment_columns[];
extern const size_t mhc_attachment_column_count;

/* `charset` of its texts; NULL: UTF-16. */
void mhc_item_init(struct mhc_item *item, struct mhc_pst *pst, const char *class,
                   const char *charset, int64_t made);
/* Sets a text and tells it as `key`. */
void mhc_item_text(struct mhc_item *item, uint32_t tag, const char *key, const char *utf8);
void mhc_item_subject(struct mhc_item *item, const char *prefix, const char *utf8);
/* The sender, or whom it was sent for. */
void mhc_item_from(struct mhc_item *item, struct mhc_pst_person who);
void mhc_item_recipient(struct mhc_item *item, enum mhc_recipient_type type,
                        struct mhc_pst_person who);
void mhc_item_categories(struct mhc_item *item, const char *const *names, size_t count);
/* A body's fields of the truth: the octets as stored, and as UTF-8. */
void mhc_item_plain(struct mhc_item *item, const char *utf8, size_t len);
void mhc_item_html(struct mhc_item *item, const char *utf8, size_t len, struct mhc_codepage page);
void mhc_item_rtf(struct mhc_item *item, const char *utf8, size_t len, bool is_html,
                  struct mhc_codepage page, bool is_compressed, bool is_unicode);

enum mhc_content { MHC_CONTENT_RANDOM, MHC_CONTENT_TEXT };
enum mhc_method { MHC_BY_VALUE = 1, MHC_BY_REFERENCE = 4, MHC_EMBEDDED = 5, MHC_OLE = 6 };

struct mhc_attachment {
    const char *name; /* UTF-8 */
    const char *short_name;
    const char *mime;
    const char *content_id; /* NULL: none */
    bool is_hidden;
    bool is_ole;       /* the octets are an object of another program */
    const char *bytes; /* NULL: `size` octets made of `prng` */
    uint64_t size;
    enum mhc_content content;
    struct mhc_prng *prng;
};

void mhc_item_attach(struct mhc_item *item, const struct mhc_attachment *what);
/* A file that lies elsewhere, at `path`. */
void mhc_item_attach_reference(struct mhc_item *item, const char *name, const char *path);
/* `inner` is written and done with. */
void mhc_item_attach_item(struct mhc_item *item, struct mhc_item *inner, const char *name);

/* Writes tables and properties; `json` and `props` stay until mhc_item_done(). */
struct mhc_ndb_body mhc_item_write(struct mhc_item *item);
void mhc_item_done(struct mhc_item *item);

#endif
