/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_prop.h"

#include "pst/code.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- code pages --- */

struct language_pages {
    const char *charset; /* of the word list */
    const char *tag;
    uint32_t locale;
    struct mhc_codepage ansi, html;
};

static const struct language_pages pages[] = {
    {"us-ascii", "en", 1033, {1252, "CP1252"}, {20127, "US-ASCII"}},
    {"iso-8859-1", "de", 1031, {1252, "CP1252"}, {28591, "ISO-8859-1"}},
    {"iso-8859-15", "fr", 1036, {1252, "CP1252"}, {28605, "ISO-8859-15"}},
    {"windows-1252", "es", 3082, {1252, "CP1252"}, {1252, "CP1252"}},
    {"iso-8859-2", "pl", 1045, {1250, "CP1250"}, {28592, "ISO-8859-2"}},
    {"koi8-r", "ru", 1049, {1251, "CP1251"}, {20866, "KOI8-R"}},
    {"shift_jis", "ja", 1041, {932, "CP932"}, {932, "CP932"}},
    {"iso-2022-jp", "ja", 1041, {932, "CP932"}, {50220, "ISO-2022-JP"}},
    {"gb18030", "zh-CN", 2052, {936, "CP936"}, {54936, "GB18030"}},
    {"big5", "zh-TW", 1028, {950, "CP950"}, {950, "CP950"}},
    {"euc-kr", "ko", 1042, {949, "CP949"}, {51949, "EUC-KR"}},
    {"utf-8", "el", 1032, {1253, "CP1253"}, {65001, "UTF-8"}},
    {"utf-8", "ar", 1025, {1256, "CP1256"}, {65001, "UTF-8"}},
    {"utf-8", "hi", 1081, {65001, "UTF-8"}, {65001, "UTF-8"}},
    {"utf-8", "he", 1037, {1255, "CP1255"}, {65001, "UTF-8"}},
};

static const struct language_pages *pages_of(const struct mhc_language *language)
{
    for (size_t i = 0; i < MHC_COUNT(pages); i++) {
        if (strcmp(pages[i].charset, language->charset) == 0 &&
            strcmp(pages[i].tag, language->tag) == 0) {
            return &pages[i];
        }
    }
    return &pages[0];
}

struct mhc_codepage mhc_codepage_of(const struct mhc_language *language)
{
    return pages_of(language)->ansi;
}

struct mhc_codepage mhc_codepage_of_html(const struct mhc_language *language)
{
    return pages_of(language)->html;
}

uint32_t mhc_locale_of(const struct mhc_language *language)
{
    return pages_of(language)->locale;
}

/* One conversion, kept open: opening costs far more than a short text. */
struct converter {
    char name[48];
    iconv_t handle;
};

static iconv_t converter_of(const char *to, const char *from)
{
    enum { KEPT = 48 };
    static struct converter kept[KEPT]; /* at most twice the code pages above */
    char name[48];
    snprintf(name, sizeof(name), "%s<%s", to, from);
    size_t i = 0;
    while (i < KEPT && kept[i].name[0] != '\0' && strcmp(kept[i].name, name) != 0) {
        i++;
    }
    iconv_t handle = i < KEPT && kept[i].name[0] != '\0' ? kept[i].handle : iconv_open(to, from);
    if (i == KEPT || handle == (iconv_t)-1) {
        fprintf(stderr, "mailhaul-corpus: this system cannot convert from %s to %s\n", from, to);
        exit(1);
    }
    snprintf(kept[i].name, sizeof(kept[i].name), "%s", name);
    kept[i].handle = handle;
    return handle;
}

static void convert(struct mhc_buf *buf, iconv_t handle, const char *bytes, size_t len,
                    bool is_utf8)
{
    char *from = (char *)(uintptr_t)bytes;
    size_t left = len;
    (void)iconv(handle, NULL, NULL, NULL, NULL);
    for (;;) {
        size_t room = 4 * left + 64;
        char *to = mhc_buf_room(buf, room);
        char *start = to;
        size_t rc = iconv(handle, left > 0 ? &from : NULL, &left, &to, &room);
        buf->len += (size_t)(to - start);
        if (rc != (size_t)-1 && left == 0) {
            break;
        }
        if (rc == (size_t)-1 && errno != E2BIG) {
            size_t skip = is_utf8 ? mhc_utf8_length(from, left) : 1;
            char mark[] = "?";
            char *mark_at = mark;
            size_t mark_len = 1;
            from += skip > 0 ? skip : 1;
            left -= skip > 0 ? skip : 1;
            room = 16;
            to = start = mhc_buf_room(buf, room);
            (void)iconv(handle, &mark_at, &mark_len, &to, &room);
            buf->len += (size_t)(to - start);
        }
    }
    size_t room = 16; /* back to ASCII, where a charset has states */
    char *to = mhc_buf_room(buf, room);
    char *start = to;
    (void)iconv(handle, NULL, NULL, &to, &room);
    buf->len += (size_t)(to - start);
}

void mhc_text_to(struct mhc_buf *buf, const char *charset, const char *utf8, size_t len)
{
    convert(buf, converter_of(charset, "UTF-8"), utf8, len, true);
}

void mhc_text_from(struct mhc_buf *buf, const char *charset, const char *bytes, size_t len)
{
    convert(buf, converter_of("UTF-8", charset), bytes, len, false);
}

/* --- properties --- */

void mhc_props_clear(struct mhc_props *props)
{
    props->bytes.len = 0;
    props->count = 0;
}

void mhc_props_done(struct mhc_props *props)
{
    mhc_buf_done(&props->bytes);
    free(props->v);
    *props = (struct mhc_props){0};
}

static int by_tag(const void *a, const void *b)
{
    uint32_t x = ((const struct mhc_prop *)a)->tag;
    uint32_t y = ((const struct mhc_prop *)b)->tag;
    return x < y ? -1 : x > y;
}

void mhc_props_sort(struct mhc_props *props)
{
    if (props->count > 1) {
        qsort(props->v, props->count, sizeof(*props->v), by_tag);
    }
}

static bool is_text(uint32_t tag)
{
    uint32_t type = tag & 0xffff;
    return type == MHC_PT_TEXT || type == MHC_PT_TEXT8;
}

const struct mhc_prop *mhc_props_find(const struct mhc_props *props, uint32_t tag)
{
    for (size_t i = 0; i < props->count; i++) {
        uint32_t other = props->v[i].tag;
        if (other == tag || (other >> 16 == tag >> 16 && is_text(tag) && is_text(other))) {
            return &props->v[i];
        }
    }
    return NULL;
}

static struct mhc_prop *add(struct mhc_props *props, uint32_t tag)
{
    if (props->count == props->cap) {
        props->cap = props->cap > 0 ? 2 * props->cap : 32;
        props->v = mhc_realloc(props->v, props->cap * sizeof(*props->v));
    }
    struct mhc_prop *prop = &props->v[props->count++];
    *prop = (struct mhc_prop){.tag = tag, .at = props->bytes.len};
    return prop;
}

void mhc_props_bytes(struct mhc_props *props, uint32_t tag, const void *bytes, size_t len)
{
    struct mhc_prop *prop = add(props, tag);
    mhc_buf_add(&props->bytes, bytes, len);
    prop->len = len;
}

void mhc_props_i16(struct mhc_props *props, uint32_t tag, unsigned value)
{
    uint8_t p[2];
    pst_put_u16(p, value);
    mhc_props_bytes(props, tag, p, sizeof(p));
}

void mhc_props_i32(struct mhc_props *props, uint32_t tag, uint32_t value)
{
    uint8_t p[4];
    pst_put_u32(p, value);
    mhc_props_bytes(props, tag, p, sizeof(p));
}

void mhc_props_i64(struct mhc_props *props, uint32_t tag, uint64_t value)
{
    uint8_t p[8];
    pst_put_u64(p, value);
    mhc_props_bytes(props, tag, p, sizeof(p));
}

void mhc_props_f64(struct mhc_props *props, uint32_t tag, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    mhc_props_i64(props, tag, bits);
}

void mhc_props_bool(struct mhc_props *props, uint32_t tag, bool value)
{
    uint8_t p = value ? 1 : 0;
    mhc_props_bytes(props, tag, &p, 1);
}

void mhc_props_time(struct mhc_props *props, uint32_t tag, int64_t unix_seconds)
{
    static const int64_t since_1601 = INT64_C(11644473600);
    mhc_props_i64(props, tag, (uint64_t)(unix_seconds + since_1601) * 10000000u);
}

/* One text as it is stored, without an end mark. */
static void put_text(struct mhc_props *props, const char *utf8, size_t len)
{
    mhc_text_to(&props->bytes, props->charset != NULL ? props->charset : "UTF-16LE", utf8, len);
}

void mhc_props_text_of(struct mhc_props *props, uint32_t tag, const char *utf8, size_t len)
{
    struct mhc_prop *prop =
        add(props, props->charset != NULL ? (tag & 0xffff0000u) | MHC_PT_TEXT8 : tag);
    put_text(props, utf8, len);
    prop->len = props->bytes.len - prop->at;
}

void mhc_props_text(struct mhc_props *props, uint32_t tag, const char *utf8)
{
    mhc_props_text_of(props, tag, utf8, strlen(utf8));
}

/* [MS-PST] 2.3.3.4.2: how many, where each begins, the texts. */
void mhc_props_texts(struct mhc_props *props, uint32_t tag, const char *const *utf8, size_t count)
{
    struct mhc_prop *prop =
        add(props, props->charset != NULL ? (tag & 0xffff0000u) | MHC_PT_TEXTS8 : tag);
    mhc_buf_fill(&props->bytes, 0, 4 * (count + 1));
    pst_put_u32((uint8_t *)props->bytes.data + prop->at, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        uint32_t offset = (uint32_t)(props->bytes.len - prop->at);
        pst_put_u32((uint8_t *)props->bytes.data + prop->at + 4 * (i + 1), offset);
        put_text(props, utf8[i], strlen(utf8[i]));
    }
    prop->len = props->bytes.len - prop->at;
}

void mhc_props_in_subnode(struct mhc_props *props, uint32_t tag, uint32_t nid)
{
    add(props, tag)->hnid = nid;
}
