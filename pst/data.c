/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Blocks, and what is built of them: the data of a node, its subnodes ([MS-PST] 2.2.2.8).
 */
#include <zlib.h>

#include "pst/ndb_priv.h"

/* --- one block -------------------------------------------------------------------------------- */

void block_trailer_get(const struct layout *lay, const uint8_t *p, struct trailer *out)
{
    bool is_ansi = lay->format == PST_ANSI;
    *out = (struct trailer){.size = pst_u16(p),
                            .signature = pst_u16(p + 2),
                            .crc = pst_u32(p + (is_ansi ? 8 : 4)),
                            .bid = is_ansi ? pst_u32(p + 4) : pst_u64(p + 8)};
    out->plain_size = out->size;
    if (lay->format == PST_UNICODE_4K && pst_u16(p + 18) != 0)
        out->plain_size = pst_u16(p + 18);
}

uint32_t slot_bytes(const struct layout *lay, uint32_t size)
{
    return (size + lay->block_trailer + lay->block_align - 1) / lay->block_align * lay->block_align;
}

/* At its place, or as far from it as everything else in the file. */
static bool is_signed(const struct pst_file *f, uint64_t at, const struct trailer *t)
{
    bool is_fine = t->signature == pst_signature(at, t->bid);
    for (unsigned i = 0; f->salvage && i < f->salvage->n_shifts && !is_fine; i++)
        is_fine = t->signature == pst_signature(at - (uint64_t)f->salvage->shifts[i], t->bid);
    return is_fine;
}

static struct pst_verdict judge_block(const struct pst_file *f, const struct pst_place *place,
                                      const uint8_t *slot, const struct trailer *t)
{
    uint64_t bid = place->bid;
    if (pst_bid_key(t->bid) != pst_bid_key(bid))
        return lost(PST_WHY_IDENTITY, bid);
    if (t->size != place->size)
        return verdict(PST_SUSPECT, PST_WHY_SIZE, bid);
    if (!is_signed(f, place->at, t))
        return verdict(PST_SUSPECT, PST_WHY_SIGNATURE, bid);
    if (t->crc != pst_crc(slot, place->size))
        return verdict(PST_SUSPECT, PST_WHY_CRC, bid);
    return fine();
}

/* The block's octets and trailer in the file. */
static struct pst_verdict read_slot(struct pst_reader *r, const struct pst_place *place,
                                    struct pst_span *out, struct trailer *t)
{
    const struct pst_file *f = r->file;
    uint32_t size = slot_bytes(f->lay, place->size);
    uint8_t *room = NULL;
    if (size > f->lay->block_max)
        return lost(PST_WHY_SIZE, place->bid);
    if (!pst_bytes_is_mapped(f->bytes) && !(room = pst_arena_alloc(&r->arena, size)))
        return lost(PST_WHY_MEMORY, place->bid);
    const uint8_t *slot = pst_bytes_at(f->bytes, place->at, size, room);
    if (!slot)
        return lost(PST_WHY_CUT, place->bid);
    block_trailer_get(f->lay, slot + size - f->lay->block_trailer, t);
    *out = (struct pst_span){slot, place->size};
    return judge_block(f, place, slot, t);
}

/* Blocks of the 4K format may be deflated (RFC 1950), the file's own lists too. */
static struct pst_verdict inflate_block(struct pst_reader *r, const struct trailer *t,
                                        struct pst_span *io)
{
    uint8_t *plain = pst_arena_alloc(&r->arena, t->plain_size);
    if (!plain)
        return lost(PST_WHY_MEMORY, t->bid);
    uLongf n = t->plain_size;
    int rc = uncompress(plain, &n, io->p, (uLong)io->n);
    *io = (struct pst_span){plain, n};
    if (rc != Z_OK)
        return lost(PST_WHY_DEFLATE, t->bid);
    return n == t->plain_size ? fine() : verdict(PST_SUSPECT, PST_WHY_SIZE, t->bid);
}

static struct pst_verdict decode_block(struct pst_reader *r, uint64_t bid, struct pst_span *io)
{
    enum pst_encoding encoding = r->file->facts.encoding;
    if (encoding == PST_PLAIN || pst_bid_is_internal(bid))
        return fine();
    uint8_t *plain = pst_arena_alloc(&r->arena, io->n);
    if (!plain)
        return lost(PST_WHY_MEMORY, bid);
    pst_decode(encoding, bid, io->p, io->n, plain);
    io->p = plain;
    return fine();
}

struct pst_verdict pst_block_read(struct pst_reader *r, uint64_t bid, struct pst_span *out)
{
    struct pst_place place;
    struct trailer t = {.size = 0};
    struct pst_verdict v = place_find(r->file, bid, &place);
    *out = (struct pst_span){NULL, 0};
    if (v.state != PST_LOST)
        pst_worsen(&v, read_slot(r, &place, out, &t));
    if (v.state != PST_LOST && t.plain_size != t.size)
        pst_worsen(&v, inflate_block(r, &t, out));
    if (v.state != PST_LOST)
        pst_worsen(&v, decode_block(r, bid, out));
    if (v.state == PST_LOST)
        *out = (struct pst_span){NULL, 0};
    return v;
}

/* --- data ------------------------------------------------------------------------------------- */

enum { LIST_TYPE = 1, SUBNODE_TYPE = 2, LIST_LEVELS_MAX = 2 };

/* A list of blocks (XBLOCK), or of such lists (XXBLOCK). */
struct list {
    const uint8_t *bids;
    uint32_t n;
    unsigned level;
    uint32_t size; /* of all data below */
};

static struct pst_verdict get_list(const struct layout *lay, uint64_t bid, struct pst_span b,
                                   struct list *out)
{
    *out = (struct list){.n = 0};
    if (b.n < lay->list_head || b.p[0] != LIST_TYPE)
        return lost(PST_WHY_TYPE, bid);
    *out = (struct list){.bids = b.p + lay->list_head,
                         .n = pst_u16(b.p + 2),
                         .level = b.p[1],
                         .size = pst_u32(b.p + 4)};
    if (out->level < 1 || out->level > LIST_LEVELS_MAX)
        return lost(PST_WHY_NESTING, bid);
    if ((size_t)out->n * lay->id_bytes > b.n - lay->list_head)
        return lost(PST_WHY_SIZE, bid);
    return fine();
}

/* BIDs that are being gathered. */
struct gather {
    struct pst_reader *r;
    uint64_t *v;
    uint32_t n, cap;
    struct pst_verdict verdict;
};

static void gather_one(struct gather *g, uint64_t bid)
{
    if (g->n < g->cap)
        g->v[g->n++] = bid;
    else
        pst_worsen(&g->verdict, lost(PST_WHY_LIMIT, bid));
}

static void gather_list(struct gather *g, const struct list *l)
{
    for (uint32_t i = 0; i < l->n && g->verdict.state != PST_LOST; i++)
        gather_one(g, get_id(g->r->file->lay, l->bids + (size_t)i * g->r->file->lay->id_bytes));
}

/* The list at BID, one level below another. What cannot be read costs the octets it stands for. */
static void gather_below(struct gather *g, uint64_t bid)
{
    struct pst_span b;
    struct list l = {.n = 0};
    struct pst_verdict v = pst_block_read(g->r, bid, &b);
    if (v.state != PST_LOST)
        pst_worsen(&v, get_list(g->r->file->lay, bid, b, &l));
    if (v.state != PST_LOST && l.level != 1)
        v = lost(PST_WHY_NESTING, bid);
    if (v.state == PST_LOST)
        v.state = PST_SUSPECT;
    else
        gather_list(g, &l);
    pst_worsen(&g->verdict, v);
}

uint64_t pst_most_octets(const struct pst_file *f)
{
    bool deflates = f->lay->format == PST_UNICODE_4K;
    return deflates ? f->facts.size / f->lay->block_align * f->lay->block_max : f->facts.size;
}

/* Each block of one node has a place of its own in the file. */
static uint32_t most_blocks(const struct pst_file *f, const struct list *l)
{
    uint64_t room = f->facts.size / f->lay->block_align;
    uint64_t named = l->level == 1 ? l->n : (uint64_t)l->n * (f->lay->block_max / f->lay->id_bytes);
    return (uint32_t)MH_MIN(MH_MIN(room, named), (uint64_t)UINT32_MAX);
}

struct pst_verdict pst_data_open(struct pst_reader *r, uint64_t bid, struct pst_data *out)
{
    struct pst_span b;
    struct list l = {.n = 0};
    struct gather g = {.r = r, .cap = 1};
    *out = (struct pst_data){.n = 0};
    if (bid == 0)
        return fine();
    if (pst_bid_is_internal(bid)) {
        g.verdict = pst_block_read(r, bid, &b);
        if (g.verdict.state != PST_LOST)
            pst_worsen(&g.verdict, get_list(r->file->lay, bid, b, &l));
        g.cap = most_blocks(r->file, &l);
    }
    g.v = pst_arena_array(&r->arena, MH_MAX(g.cap, 1u), sizeof *g.v);
    if (!g.v)
        pst_worsen(&g.verdict, lost(PST_WHY_MEMORY, bid));
    if (g.verdict.state != PST_LOST && !pst_bid_is_internal(bid))
        gather_one(&g, bid);
    else if (g.verdict.state != PST_LOST && l.level == 1)
        gather_list(&g, &l);
    for (uint32_t i = 0; l.level == 2 && i < l.n && g.verdict.state != PST_LOST; i++)
        gather_below(&g, get_id(r->file->lay, l.bids + (size_t)i * r->file->lay->id_bytes));
    *out = (struct pst_data){.bids = g.v, .n = g.n, .size = l.size, .verdict = g.verdict};
    return g.verdict;
}

/* --- subnodes --------------------------------------------------------------------------------- */

struct subnodes {
    const uint8_t *entries;
    uint32_t n, entry_bytes;
    unsigned level;
};

static struct pst_verdict get_subnodes(const struct layout *lay, uint64_t bid, struct pst_span b,
                                       struct subnodes *out)
{
    *out = (struct subnodes){.n = 0};
    if (!b.p || b.n < lay->sub_head || b.p[0] != SUBNODE_TYPE)
        return lost(PST_WHY_TYPE, bid);
    *out = (struct subnodes){.entries = b.p + lay->sub_head,
                             .n = pst_u16(b.p + 2),
                             .level = b.p[1],
                             .entry_bytes = (b.p[1] ? 2 : 3) * lay->id_bytes};
    if (out->level > 1)
        return lost(PST_WHY_NESTING, bid);
    if ((size_t)out->n * out->entry_bytes > b.n - lay->sub_head)
        return lost(PST_WHY_SIZE, bid);
    return fine();
}

static struct pst_verdict read_subnodes(struct pst_reader *r, uint64_t bid, struct subnodes *out)
{
    struct pst_span b;
    struct pst_verdict v = pst_block_read(r, bid, &b);
    *out = (struct subnodes){.n = 0};
    if (v.state != PST_LOST)
        pst_worsen(&v, get_subnodes(r->file->lay, bid, b, out));
    return v;
}

static void get_subnode(const struct layout *lay, const uint8_t *p, struct pst_subnode *out)
{
    uint32_t w = lay->id_bytes;
    *out = (struct pst_subnode){.nid = (uint32_t)get_id(lay, p),
                                .data = get_id(lay, p + w),
                                .sub = get_id(lay, p + 2 * (size_t)w)};
}

static int walk_leaf(const struct pst_reader *r, const struct subnodes *s, pst_subnode_fn *fn,
                     void *ctx)
{
    int rc = 0;
    for (uint32_t i = 0; i < s->n && rc == 0; i++) {
        struct pst_subnode one;
        get_subnode(r->file->lay, s->entries + (size_t)i * s->entry_bytes, &one);
        rc = fn(ctx, &one);
    }
    return rc;
}

int pst_subnode_walk(struct pst_reader *r, uint64_t bid, pst_subnode_fn *fn, void *ctx,
                     struct pst_verdict *v)
{
    struct subnodes top;
    const struct layout *lay = r->file->lay;
    *v = fine();
    if (bid == 0)
        return 0;
    *v = read_subnodes(r, bid, &top);
    if (v->state == PST_LOST)
        return 0;
    if (top.level == 0)
        return walk_leaf(r, &top, fn, ctx);
    int rc = 0;
    for (uint32_t i = 0; i < top.n && rc == 0; i++) {
        struct subnodes leaf;
        uint64_t below = get_id(lay, top.entries + (size_t)i * top.entry_bytes + lay->id_bytes);
        struct pst_verdict part = read_subnodes(r, below, &leaf);
        if (part.state != PST_LOST && leaf.level != 0)
            part = lost(PST_WHY_NESTING, below);
        if (part.state != PST_LOST)
            rc = walk_leaf(r, &leaf, fn, ctx);
        else
            part.state = PST_SUSPECT;
        pst_worsen(v, part);
    }
    return rc;
}

struct wanted {
    uint32_t nid;
    bool is_found;
    struct pst_subnode *out;
};

static int take_wanted(void *ctx, const struct pst_subnode *subnode)
{
    struct wanted *w = ctx;
    if (subnode->nid != w->nid)
        return 0;
    *w->out = *subnode;
    w->is_found = true;
    return 1;
}

struct pst_verdict pst_subnode_find(struct pst_reader *r, uint64_t bid, uint32_t nid,
                                    struct pst_subnode *out)
{
    struct pst_verdict v;
    struct wanted w = {.nid = nid, .out = out};
    *out = (struct pst_subnode){.nid = nid};
    (void)pst_subnode_walk(r, bid, take_wanted, &w, &v);
    if (w.is_found)
        return v;
    if (v.state == PST_OK)
        v = lost(PST_WHY_NO_NODE, nid);
    v.state = PST_LOST;
    return v;
}
