/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Property contexts (2.3.3) and the values that they and the cells of tables lead to.
 */
#include "pst/ltp.h"

#include <stdlib.h>

#include "pst/ndb_priv.h"

/* An item has some hundred; ids are 16 bits wide. */
enum { PROPS_MAX = 65536, PROP_KEY_BYTES = 2, PROP_ENTRY_BYTES = 6 };

unsigned pst_type_bytes(unsigned type)
{
    switch (type) {
    case PST_BOOL:
        return 1;
    case PST_I16:
        return 2;
    case PST_I32:
    case PST_F32:
    case PST_ERROR:
        return 4;
    case PST_F64:
    case PST_CURRENCY:
    case PST_APP_TIME:
    case PST_I64:
    case PST_TIME:
        return 8;
    case PST_GUID:
        return 16;
    default:
        return 0;
    }
}

/* --- values ----------------------------------------------------------------------------------- */

/* The subnode that holds it. */
static struct pst_verdict find_subnode(struct pst_heap *h, uint64_t sub, uint32_t nid,
                                       struct pst_data *out)
{
    struct pst_subnode n;
    struct pst_verdict v = pst_subnode_find(h->reader, sub, nid, &n);
    *out = (struct pst_data){.n = 0};
    if (v.state != PST_LOST)
        pst_worsen(&v, pst_data_open(h->reader, n.data, out));
    return v;
}

static bool is_in_subnode(const struct pst_value *v)
{
    unsigned bytes = pst_type_bytes(v->type);
    return !v->inside && (bytes == 0 || bytes > 4) && pst_nid_type(v->raw) != PST_NID_HID;
}

bool pst_value_data(struct pst_heap *h, uint64_t sub, const struct pst_value *v,
                    struct pst_data *out)
{
    *out = (struct pst_data){.n = 0};
    if (!is_in_subnode(v))
        return false;
    out->verdict = find_subnode(h, sub, v->raw, out);
    return true;
}

/* All blocks behind each other; what is lost of them is left out. */
static struct pst_verdict put_together(struct pst_reader *r, const struct pst_data *d,
                                       struct pst_span *out)
{
    struct pst_verdict v = d->verdict;
    struct pst_span *parts = pst_arena_array(&r->arena, MH_MAX(d->n, 1u), sizeof *parts);
    size_t n = 0;
    *out = (struct pst_span){NULL, 0};
    if (!parts)
        return lost(PST_WHY_MEMORY, 0);
    for (uint32_t i = 0; i < d->n; i++) {
        struct pst_verdict one = pst_block_read(r, d->bids[i], &parts[i]);
        one.state = one.state == PST_LOST && d->n > 1 ? PST_SUSPECT : one.state;
        pst_worsen(&v, one);
        n += parts[i].n;
        if (n > pst_most_octets(r->file))
            return lost(PST_WHY_LIMIT, d->bids[i]);
    }
    if (v.state == PST_LOST || d->n == 0)
        return v;
    *out = parts[0];
    if (d->n == 1)
        return v;
    uint8_t *whole = pst_arena_alloc(&r->arena, n);
    if (!whole)
        return lost(PST_WHY_MEMORY, 0);
    *out = (struct pst_span){whole, n};
    for (uint32_t i = 0; i < d->n; i++) {
        if (parts[i].n > 0)
            memcpy(whole, parts[i].p, parts[i].n);
        whole += parts[i].n;
    }
    return v;
}

struct pst_verdict pst_value_read(struct pst_heap *h, uint64_t sub, const struct pst_value *v,
                                  struct pst_span *out)
{
    struct pst_data d;
    struct pst_verdict got;
    unsigned bytes = pst_type_bytes(v->type);
    *out = (struct pst_span){NULL, 0};
    if (v->inside) {
        *out = (struct pst_span){v->inside, bytes};
        return fine();
    }
    if (bytes > 0 && bytes <= 4) {
        uint8_t *p = pst_arena_alloc(&h->reader->arena, 4);
        if (!p)
            return lost(PST_WHY_MEMORY, v->id);
        pst_put_u32(p, v->raw);
        *out = (struct pst_span){p, bytes};
        return fine();
    }
    if (is_in_subnode(v)) {
        got = find_subnode(h, sub, v->raw, &d);
        if (got.state != PST_LOST)
            pst_worsen(&got, put_together(h->reader, &d, out));
    } else {
        got = pst_heap_item(h, v->raw, out);
    }
    if (got.state != PST_LOST && bytes > 0 && out->n < bytes)
        got = lost(PST_WHY_SIZE, v->id);
    return got;
}

/* Their number, where each begins, and the octets themselves. */
struct pst_span pst_many_item(struct pst_span octets, uint32_t i)
{
    const struct pst_span none = {NULL, 0};
    uint32_t n = octets.n >= 4 ? pst_u32(octets.p) : 0;
    if (i >= n || (octets.n - 4) / 4 < n)
        return none;
    size_t from = pst_u32(octets.p + 4 + (size_t)i * 4);
    size_t end = i + 1 < n ? pst_u32(octets.p + 8 + (size_t)i * 4) : octets.n;
    if (from > end || end > octets.n)
        return none;
    return (struct pst_span){octets.p + from, end - from};
}

/* --- a list of them --------------------------------------------------------------------------- */

struct props_fill {
    struct pst_value *v;
    uint32_t n, cap;
    bool is_in_order, is_too_long;
};

/* Some writers keep no order. */
static bool has_twins(const struct props_fill *f)
{
    for (uint32_t i = 1; i < f->n; i++)
        if (f->v[i].id == f->v[i - 1].id)
            return true;
    return false;
}

static int add_prop(void *ctx, const uint8_t *key, const uint8_t *entry)
{
    struct props_fill *f = ctx;
    unsigned id = pst_u16(key);
    if (id == 0) /* no property: some writers leave room behind the last one */
        return 0;
    if (f->n == f->cap) {
        f->is_too_long = true;
        return 1;
    }
    if (f->n > 0 && id <= f->v[f->n - 1].id)
        f->is_in_order = false;
    f->v[f->n++] =
        (struct pst_value){.id = (uint16_t)id, .type = pst_u16(entry), .raw = pst_u32(entry + 2)};
    return 0;
}

static int count_record(void *ctx, const uint8_t *key, const uint8_t *entry)
{
    uint32_t *n = ctx;
    (void)key;
    (void)entry;
    return ++*n >= PROPS_MAX;
}

static int by_id(const void *a, const void *b)
{
    const struct pst_value *x = a;
    const struct pst_value *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

struct pst_verdict pst_props_open(struct pst_reader *r, uint64_t data, uint64_t sub,
                                  struct pst_props *out)
{
    struct pst_tree_shape t;
    struct props_fill f = {.is_in_order = true};
    *out = (struct pst_props){.sub = sub};
    struct pst_verdict v = pst_heap_open(r, data, &out->heap);
    if (v.state != PST_LOST && out->heap.use != PST_HEAP_PROPS)
        v = lost(PST_WHY_TYPE, data);
    if (v.state != PST_LOST)
        pst_worsen(&v, pst_tree_open(&out->heap, out->heap.root, &t));
    if (v.state != PST_LOST && (t.key_bytes != PROP_KEY_BYTES || t.entry_bytes != PROP_ENTRY_BYTES))
        v = lost(PST_WHY_TYPE, data);
    out->verdict = v;
    if (v.state == PST_LOST)
        return v;
    struct pst_verdict walked;
    (void)pst_tree_walk(&out->heap, &t, count_record, &f.cap, &walked);
    pst_worsen(&v, walked);
    f.v = pst_arena_array(&r->arena, MH_MAX(f.cap, 1u), sizeof *f.v);
    if (!f.v)
        return out->verdict = lost(PST_WHY_MEMORY, data);
    (void)pst_tree_walk(&out->heap, &t, add_prop, &f, &walked);
    if (f.is_too_long)
        pst_worsen(&v, verdict(PST_SUSPECT, PST_WHY_LIMIT, data));
    if (!f.is_in_order)
        qsort(f.v, f.n, sizeof *f.v, by_id);
    if (has_twins(&f))
        pst_worsen(&v, verdict(PST_SUSPECT, PST_WHY_ORDER, data));
    out->v = f.v;
    out->n = f.n;
    return out->verdict = v;
}

const struct pst_value *pst_props_find(const struct pst_props *p, unsigned id)
{
    size_t at = mh_lower_bound(i, 0, p->n, p->v[i].id < id);
    return at < p->n && p->v[at].id == id ? &p->v[at] : NULL;
}

int64_t pst_props_number(struct pst_props *p, unsigned id, int64_t otherwise)
{
    const struct pst_value *v = pst_props_find(p, id);
    struct pst_span s;
    if (!v || pst_value_read(&p->heap, p->sub, v, &s).state == PST_LOST)
        return otherwise;
    switch (v->type) {
    case PST_BOOL:
        return s.p[0] != 0;
    case PST_I16:
        return (int16_t)pst_u16(s.p);
    case PST_I32:
    case PST_ERROR:
        return (int32_t)pst_u32(s.p);
    case PST_I64:
    case PST_TIME:
    case PST_CURRENCY:
        return (int64_t)pst_u64(s.p);
    default:
        return otherwise;
    }
}
