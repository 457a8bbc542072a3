/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/names.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "pst/ndb_priv.h"
#include "pst/text.h"

enum {
    STREAM_GUIDS = 0x0002,
    STREAM_ENTRIES = 0x0003,
    STREAM_TEXTS = 0x0004,
    ENTRY_BYTES = 8,
    GUID_BYTES = 16,
    FIRST_ID = 0x8000,
    FIRST_LISTED_GUID = 3, /* 0: none, 1: PS_MAPI, 2: PS_PUBLIC_STRINGS */
};

/* As they lie in the file; all but these few end alike: …-0000-0000-c000-000000000046. */
static const struct {
    enum pst_set set;
    uint8_t guid[GUID_BYTES];
} sets[] = {
#define OUTLOOK_SET(set, a, b)                                                                     \
    {                                                                                              \
        set,                                                                                       \
        {                                                                                          \
            a, b, 0x06, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46                                \
        }                                                                                          \
    }
    OUTLOOK_SET(PST_SET_COMMON, 0x08, 0x20),
    OUTLOOK_SET(PST_SET_ADDRESS, 0x04, 0x20),
    OUTLOOK_SET(PST_SET_APPOINTMENT, 0x02, 0x20),
    OUTLOOK_SET(PST_SET_TASK, 0x03, 0x20),
    OUTLOOK_SET(PST_SET_LOG, 0x0a, 0x20),
    OUTLOOK_SET(PST_SET_NOTE, 0x0e, 0x20),
    {PST_SET_MEETING,
     {0x90, 0xda, 0xd8, 0x6e, 0x0b, 0x45, 0x1b, 0x10, 0x98, 0xda, 0, 0xaa, 0, 0x3f, 0x13, 0x05}},
    {PST_SET_INTERNET_HEADERS, {0x86, 0x03, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}},
    {PST_SET_PUBLIC_STRINGS, {0x29, 0x03, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}},
    {PST_SET_MAPI, {0x28, 0x03, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}},
};

static enum pst_set set_of(unsigned index, struct pst_span guids)
{
    if (index < FIRST_LISTED_GUID)
        return (enum pst_set)index;
    size_t at = (size_t)(index - FIRST_LISTED_GUID) * GUID_BYTES;
    if (!guids.p || at + GUID_BYTES > guids.n)
        return PST_SET_OTHER;
    for (size_t i = 0; i < MH_ARRAY_LEN(sets); i++)
        if (memcmp(guids.p + at, sets[i].guid, GUID_BYTES) == 0)
            return sets[i].set;
    return PST_SET_OTHER;
}

/* Its length in octets stands before it. */
static bool find_text(struct pst_span texts, uint32_t at, struct pst_span *out)
{
    if (at > texts.n || texts.n - at < 4)
        return false;
    uint32_t n = pst_u32(texts.p + at);
    if (n > texts.n - at - 4)
        return false;
    *out = (struct pst_span){texts.p + at + 4, n};
    return true;
}

static int add_name(struct pst_names *names, const uint8_t *entry, struct pst_span guids,
                    struct pst_span texts, struct mh_err *err)
{
    unsigned about = pst_u16(entry + 4);
    struct pst_span text;
    struct pst_name name = {.id = (uint16_t)(FIRST_ID + pst_u16(entry + 6)),
                            .set = set_of(about >> 1, guids),
                            .number = pst_u32(entry)};
    if (!mh_grow(names->v, names->cap, names->n + 1))
        return mh_err_nomem(err);
    if (about & 1) {
        if (!find_text(texts, name.number, &text)) {
            pst_worsen(&names->verdict, verdict(PST_SUSPECT, PST_WHY_SIZE, PST_NID_NAME_MAP));
            return MH_OK;
        }
        struct mh_buf b = MH_BUF_INIT;
        pst_text_utf16(text, &b);
        name.number = 0;
        name.text = mh_buf_take(&b);
        if (!name.text)
            return mh_err_nomem(err);
    }
    names->v[names->n++] = name;
    return MH_OK;
}

static struct pst_span stream(struct pst_props *p, unsigned id, struct pst_verdict *v)
{
    struct pst_span s = {NULL, 0};
    const struct pst_value *value = pst_props_find(p, id);
    if (value) {
        struct pst_verdict got = pst_value_read(&p->heap, p->sub, value, &s);
        got.state = got.state == PST_LOST ? PST_SUSPECT : got.state;
        pst_worsen(v, got);
    }
    return s;
}

static int by_id(const void *a, const void *b)
{
    const struct pst_name *x = a;
    const struct pst_name *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

int pst_names_read(struct pst_reader *r, struct pst_names *out, struct mh_err *err)
{
    struct pst_node node;
    struct pst_props p;
    int code = MH_OK;
    struct pst_mark mark = pst_arena_mark(&r->arena);
    *out = (struct pst_names){.n = 0};
    out->verdict = pst_node_find(r->file, PST_NID_NAME_MAP, &node);
    if (out->verdict.state != PST_LOST)
        pst_worsen(&out->verdict, pst_props_open(r, node.data, node.sub, &p));
    if (out->verdict.state != PST_LOST) {
        struct pst_span guids = stream(&p, STREAM_GUIDS, &out->verdict);
        struct pst_span texts = stream(&p, STREAM_TEXTS, &out->verdict);
        struct pst_span entries = stream(&p, STREAM_ENTRIES, &out->verdict);
        for (size_t at = 0; at + ENTRY_BYTES <= entries.n && code == MH_OK; at += ENTRY_BYTES)
            code = add_name(out, entries.p + at, guids, texts, err);
    }
    pst_arena_return(&r->arena, mark);
    if (out->n > 1)
        qsort(out->v, out->n, sizeof *out->v, by_id);
    if (code != MH_OK)
        pst_names_done(out);
    return code;
}

void pst_names_done(struct pst_names *n)
{
    for (size_t i = 0; i < n->n; i++)
        mh_free(n->v[i].text);
    mh_free(n->v);
    *n = (struct pst_names){.n = 0};
}

unsigned pst_names_number(const struct pst_names *n, enum pst_set set, uint32_t number)
{
    for (size_t i = 0; i < n->n; i++)
        if (!n->v[i].text && n->v[i].set == set && n->v[i].number == number)
            return n->v[i].id;
    return 0;
}

unsigned pst_names_text(const struct pst_names *n, enum pst_set set, const char *text)
{
    for (size_t i = 0; i < n->n; i++)
        if (n->v[i].text && n->v[i].set == set && mh_str_ieq(n->v[i].text, text))
            return n->v[i].id;
    return 0;
}
