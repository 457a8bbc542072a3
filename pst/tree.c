/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The two trees: pages of entries in the order of their keys ([MS-PST] 2.2.2.7.7). A branch's entry
 * leads to the page of all keys from its own up to the next one's.
 */
#include "pst/ndb_priv.h"

/* --- pages ------------------------------------------------------------------------------------ */

void page_trailer_get(const struct layout *lay, const uint8_t *p, struct trailer *out)
{
    bool is_ansi = lay->format == PST_ANSI;
    *out = (struct trailer){.type = p[0],
                            .type_again = p[1],
                            .signature = pst_u16(p + 2),
                            .crc = pst_u32(p + (is_ansi ? 8 : 4)),
                            .bid = is_ansi ? pst_u32(p + 4) : pst_u64(p + 8)};
}

struct pst_verdict page_get(const struct layout *lay, const uint8_t *page, uint64_t at,
                            enum page_type type, struct page *out)
{
    const uint8_t *tail = page + lay->entries_bytes;
    bool is_wide = lay->format == PST_UNICODE_4K;
    out->entries = page;
    out->n = is_wide ? pst_u16(tail) : tail[0];
    out->entry_bytes = is_wide ? tail[4] : tail[2];
    out->level = is_wide ? tail[5] : tail[3];
    uint32_t least = out->level           ? lay->branch_bytes
                     : type == PAGE_NODES ? lay->node_bytes
                                          : lay->place_bytes;
    bool fits = out->level < TREE_LEVELS_MAX && out->entry_bytes >= least &&
                (uint64_t)out->n * out->entry_bytes <= lay->entries_bytes;
    return fits ? fine() : lost(PST_WHY_SIZE, at);
}

struct pst_verdict page_read(const struct pst_file *f, uint64_t at, uint64_t bid,
                             enum page_type type, uint8_t *room, struct page *out)
{
    const struct layout *lay = f->lay;
    struct trailer t;
    const uint8_t *page = pst_bytes_at(f->bytes, at + (uint64_t)f->moved, lay->page_bytes, room);
    *out = (struct page){.n = 0};
    if (!page)
        return lost(PST_WHY_CUT, at);
    page_trailer_get(lay, page + lay->page_trailer, &t);
    if (t.type != type || t.type_again != type)
        return lost(PST_WHY_TYPE, at);
    if (pst_bid_key(t.bid) != pst_bid_key(bid))
        return lost(PST_WHY_IDENTITY, at);
    if (t.signature != pst_signature(at, t.bid))
        return lost(PST_WHY_SIGNATURE, at);
    if (t.crc != pst_crc(page, lay->page_trailer))
        return lost(PST_WHY_CRC, at);
    return page_get(lay, page, at, type, out);
}

uint64_t page_key(const struct layout *lay, enum page_type type, const struct page *p, uint32_t i)
{
    uint64_t key = get_id(lay, page_entry(p, i));
    return type == PAGE_NODES ? (uint32_t)key : pst_bid_key(key);
}

void node_get(const struct layout *lay, const uint8_t *p, struct pst_node *out)
{
    uint32_t w = lay->id_bytes;
    *out = (struct pst_node){.nid = (uint32_t)get_id(lay, p),
                             .data = get_id(lay, p + w),
                             .sub = get_id(lay, p + 2 * (size_t)w),
                             .parent = pst_u32(p + 3 * (size_t)w)};
}

void place_get(const struct layout *lay, const uint8_t *p, struct pst_place *out)
{
    uint32_t w = lay->id_bytes;
    *out = (struct pst_place){
        .bid = get_id(lay, p), .at = get_id(lay, p + w), .size = pst_u16(p + 2 * (size_t)w)};
}

/* --- a whole tree ----------------------------------------------------------------------------- */

/* A page on the way from the root, and the keys that may be in it. */
struct step {
    uint8_t room[PAGE_MAX_BYTES];
    struct page page;
    uint32_t next;    /* entry */
    uint64_t key_end; /* no key from here on */
};

struct climb {
    const struct pst_file *f;
    const struct tree *t;
    struct pst_tree_facts *facts; /* NULL: not wanted */
    struct step steps[TREE_LEVELS_MAX];
    int depth; /* steps in use */
};

static bool is_in_order(const struct climb *c, const struct page *p, uint64_t from, uint64_t end)
{
    for (uint32_t i = 0; i < p->n; i++) {
        uint64_t key = page_key(c->f->lay, c->t->type, p, i);
        if (key < from || key >= end)
            return false;
        from = key + 1;
    }
    return true;
}

/* Onto the page that lies there. LEVEL -1: any. */
static struct pst_verdict step_down(struct climb *c, uint64_t at, uint64_t bid, int level,
                                    uint64_t from, uint64_t end)
{
    struct step *s = &c->steps[c->depth];
    struct pst_verdict v = page_read(c->f, at, bid, c->t->type, s->room, &s->page);
    if (v.state != PST_OK)
        return v;
    if (level >= 0 && s->page.level != (unsigned)level)
        return lost(PST_WHY_NESTING, at);
    if (!is_in_order(c, &s->page, from, end))
        return lost(PST_WHY_ORDER, at);
    s->next = 0;
    s->key_end = end;
    c->depth++;
    if (c->facts) {
        c->facts->pages++;
        c->facts->entries += s->page.level ? 0 : s->page.n;
    }
    return v;
}

/* A part of the tree is not to be had. */
static void note_part(struct climb *c, struct pst_verdict v)
{
    if (c->facts)
        pst_worsen(&c->facts->verdict, verdict(PST_SUSPECT, v.why, v.about));
}

static void step_into_next(struct climb *c)
{
    const struct layout *lay = c->f->lay;
    struct step *s = &c->steps[c->depth - 1];
    uint32_t i = s->next++;
    const uint8_t *e = page_entry(&s->page, i);
    uint64_t from = page_key(lay, c->t->type, &s->page, i);
    uint64_t end = i + 1 < s->page.n ? page_key(lay, c->t->type, &s->page, i + 1) : s->key_end;
    struct pst_verdict v =
        step_down(c, get_id(lay, e + 2 * (size_t)lay->id_bytes), get_id(lay, e + lay->id_bytes),
                  (int)s->page.level - 1, from, end);
    if (v.state != PST_OK)
        note_part(c, v);
}

/* All leaves, in order; what does not prove is passed over. */
static int climb_all(struct climb *c, tree_entry_fn *fn, void *ctx)
{
    int rc = 0;
    while (c->depth > 0 && rc == 0) {
        struct step *s = &c->steps[c->depth - 1];
        if (s->page.level > 0 && s->next < s->page.n) {
            step_into_next(c);
            continue;
        }
        for (uint32_t i = 0; s->page.level == 0 && fn && i < s->page.n && rc == 0; i++)
            rc = fn(ctx, page_entry(&s->page, i));
        c->depth--;
    }
    return rc;
}

static struct pst_verdict climb_root(struct climb *c)
{
    return step_down(c, c->t->root_at, c->t->root_bid, -1, 0, UINT64_MAX);
}

void tree_prove(const struct pst_file *f, const struct tree *t, struct pst_tree_facts *facts)
{
    struct climb c = {.f = f, .t = t, .facts = facts};
    *facts = (struct pst_tree_facts){.root_at = t->root_at, .root_bid = t->root_bid};
    facts->verdict = climb_root(&c);
    (void)climb_all(&c, NULL, NULL);
}

int tree_walk(const struct pst_file *f, const struct tree *t, tree_entry_fn *fn, void *ctx)
{
    struct climb c = {.f = f, .t = t};
    return climb_root(&c).state == PST_OK ? climb_all(&c, fn, ctx) : 0;
}

/* --- one entry -------------------------------------------------------------------------------- */

const uint8_t *tree_find(const struct pst_file *f, const struct tree *t, uint64_t key,
                         uint8_t *room, struct pst_verdict *v)
{
    const struct layout *lay = f->lay;
    uint64_t at = t->root_at;
    uint64_t bid = t->root_bid;
    unsigned above = TREE_LEVELS_MAX;
    for (;;) {
        struct page p;
        *v = page_read(f, at, bid, t->type, room, &p);
        if (v->state != PST_OK)
            return NULL;
        if (p.level >= above) {
            *v = lost(PST_WHY_NESTING, at);
            return NULL;
        }
        above = p.level;
        /* The last entry whose key is not above KEY. */
        size_t i = mh_lower_bound(k, 0, p.n, page_key(lay, t->type, &p, (uint32_t)k) <= key);
        bool is_there =
            i > 0 && (p.level > 0 || page_key(lay, t->type, &p, (uint32_t)i - 1) == key);
        if (!is_there) {
            *v = lost(t->type == PAGE_NODES ? PST_WHY_NO_NODE : PST_WHY_NO_BLOCK, key);
            return NULL;
        }
        const uint8_t *e = page_entry(&p, (uint32_t)i - 1);
        if (p.level == 0)
            return e;
        bid = get_id(lay, e + lay->id_bytes);
        at = get_id(lay, e + 2 * (size_t)lay->id_bytes);
    }
}

/* --- what is asked ---------------------------------------------------------------------------- */

static bool is_whole(const struct pst_tree_facts *t)
{
    return t->verdict.state == PST_OK;
}

static struct pst_verdict node_in_tree(const struct pst_file *f, uint32_t nid, struct pst_node *out)
{
    uint8_t room[PAGE_MAX_BYTES];
    struct pst_verdict v;
    const uint8_t *e = tree_find(f, &f->nodes, nid, room, &v);
    if (e)
        node_get(f->lay, e, out);
    return v;
}

/* A hurt tree is not asked: the scan knows all its leaves that are left. */
struct pst_verdict pst_node_find(const struct pst_file *f, uint32_t nid, struct pst_node *out)
{
    *out = (struct pst_node){.nid = nid};
    if (is_whole(&f->facts.nodes))
        return node_in_tree(f, nid, out);
    const struct pst_found_node *n = pst_scan_node(f->salvage, nid);
    if (!n)
        return lost(PST_WHY_NO_NODE, nid);
    *out = n->node;
    return fine();
}

static struct pst_verdict place_in_tree(const struct pst_file *f, uint64_t bid,
                                        struct pst_place *out)
{
    uint8_t room[PAGE_MAX_BYTES];
    struct pst_verdict v;
    const uint8_t *e = tree_find(f, &f->blocks, pst_bid_key(bid), room, &v);
    if (e)
        place_get(f->lay, e, out);
    return v;
}

struct pst_verdict place_find(const struct pst_file *f, uint64_t bid, struct pst_place *out)
{
    *out = (struct pst_place){.bid = bid};
    if (is_whole(&f->facts.blocks))
        return place_in_tree(f, bid, out);
    const struct pst_found_block *b = pst_scan_block(f->salvage, bid);
    if (!b)
        return lost(PST_WHY_NO_BLOCK, bid);
    *out = (struct pst_place){.bid = bid, .at = (uint64_t)b->at_64 * 64, .size = b->size};
    return fine();
}

struct node_walk {
    const struct layout *lay;
    pst_node_fn *fn;
    void *ctx;
};

static int tell_node(void *ctx, const uint8_t *entry)
{
    const struct node_walk *w = ctx;
    struct pst_node node;
    node_get(w->lay, entry, &node);
    return w->fn(w->ctx, &node);
}

int pst_node_walk(const struct pst_file *f, pst_node_fn *fn, void *ctx)
{
    struct node_walk w = {f->lay, fn, ctx};
    if (is_whole(&f->facts.nodes))
        return tree_walk(f, &f->nodes, tell_node, &w);
    int rc = 0;
    for (size_t i = 0; i < f->salvage->n_nodes && rc == 0; i++)
        if (f->salvage->nodes[i].life == PST_ALIVE)
            rc = fn(ctx, &f->salvage->nodes[i].node);
    return rc;
}
