/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_prop.h: properties of an item on their way into an archive, and the code pages of their texts.
 *
 * Memory: a struct mhc_props owns its values and is used again after mhc_props_clear(). Threads: one.
 * Never: asks for a locale; a character that a code page has not becomes a question mark.
 */
#ifndef MHC_PST_PROP_H
#define MHC_PST_PROP_H

#include "base.h"
#include "text.h"

/* Types of values ([MS-OXCDATA] 2.11.1): the low half of a tag. */
enum {
    MHC_PT_I16 = 0x0002,
    MHC_PT_I32 = 0x0003,
    MHC_PT_F64 = 0x0005,
    MHC_PT_BOOL = 0x000b,
    MHC_PT_OBJECT = 0x000d,
    MHC_PT_I64 = 0x0014,
    MHC_PT_TEXT8 = 0x001e,
    MHC_PT_TEXT = 0x001f,
    MHC_PT_TIME = 0x0040,
    MHC_PT_GUID = 0x0048,
    MHC_PT_BINARY = 0x0102,
    MHC_PT_TEXTS8 = 0x101e,
    MHC_PT_TEXTS = 0x101f,
    MHC_PT_BINARIES = 0x1102,
};

/* A code page: Windows' number for it, and iconv's name. */
struct mhc_codepage {
    uint32_t number;
    const char *charset;
};

/* The code page of a language's 8-bit texts in an archive, and that of its HTML. */
struct mhc_codepage mhc_codepage_of(const struct mhc_language *language);
struct mhc_codepage mhc_codepage_of_html(const struct mhc_language *language);
/* Windows' number for a language. */
uint32_t mhc_locale_of(const struct mhc_language *language);

/* Adds UTF-8 as it stands in `charset`, and back. */
void mhc_text_to(struct mhc_buf *buf, const char *charset, const char *utf8, size_t len);
void mhc_text_from(struct mhc_buf *buf, const char *charset, const char *bytes, size_t len);

struct mhc_prop {
    uint32_t tag;
    uint32_t hnid; /* other than 0: the value lies in that subnode */
    size_t at;     /* in `bytes` */
    size_t len;
};

struct mhc_props {
    const char *charset; /* of texts; NULL: UTF-16 */
    struct mhc_buf bytes;
    struct mhc_prop *v; /* owned; in the order of their tags once mhc_props_sort() was called */
    size_t count;
    size_t cap;
};

void mhc_props_clear(struct mhc_props *props);
void mhc_props_done(struct mhc_props *props);
void mhc_props_sort(struct mhc_props *props);
/* NULL: not among them. Sorted or not. A text is found whichever of the two types it has. */
const struct mhc_prop *mhc_props_find(const struct mhc_props *props, uint32_t tag);

void mhc_props_bytes(struct mhc_props *props, uint32_t tag, const void *bytes, size_t len);
void mhc_props_i16(struct mhc_props *props, uint32_t tag, unsigned value);
void mhc_props_i32(struct mhc_props *props, uint32_t tag, uint32_t value);
void mhc_props_i64(struct mhc_props *props, uint32_t tag, uint64_t value);
void mhc_props_f64(struct mhc_props *props, uint32_t tag, double value);
void mhc_props_bool(struct mhc_props *props, uint32_t tag, bool value);
/* `unix_seconds` as the 100 ns since 1601 that Windows counts. */
void mhc_props_time(struct mhc_props *props, uint32_t tag, int64_t unix_seconds);
/* `tag` has the type MHC_PT_TEXT; it becomes MHC_PT_TEXT8 where the texts are 8-bit. */
void mhc_props_text(struct mhc_props *props, uint32_t tag, const char *utf8);
void mhc_props_text_of(struct mhc_props *props, uint32_t tag, const char *utf8, size_t len);
/* `tag` has the type MHC_PT_TEXTS. */
void mhc_props_texts(struct mhc_props *props, uint32_t tag, const char *const *utf8, size_t count);
/* A value that was written into the subnode `nid` before. */
void mhc_props_in_subnode(struct mhc_props *props, uint32_t tag, uint32_t nid);

#endif
