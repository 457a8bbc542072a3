/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/ltp.h"

#include "pst/ndb_priv.h"

enum {
    HEAP_SIGNATURE = 0xec,
    HEAP_HEAD_BYTES = 12,
    TREE_SIGNATURE = 0xb5,
    TREE_HEAD_BYTES = 8,
    TREE_DEPTH_MAX = 8,
};

struct pst_heap_block {
    bool is_read;
    struct pst_span span;
    struct pst_verdict verdict;
};

/* --- items ------------------------------------------------------------------------------------ */

struct hid {
    uint32_t index; /* 1 = first */
    uint32_t block;
};

/* 4K blocks have room for more items: three bits go from the block's number to the item's. */
static struct hid get_hid(const struct pst_heap *h, uint32_t hid)
{
    bool is_wide = h->reader->file->lay->format == PST_UNICODE_4K;
    return is_wide ? (struct hid){hid >> 5 & 0x3fff, hid >> 19}
                   : (struct hid){hid >> 5 & 0x7ff, hid >> 16};
}

static const struct pst_heap_block *block_of(struct pst_heap *h, uint32_t i)
{
    struct pst_heap_block *b = &h->blocks[i];
    if (!b->is_read) {
        b->verdict = pst_block_read(h->reader, h->data.bids[i], &b->span);
        b->is_read = true;
    }
    return b;
}

struct pst_verdict pst_heap_open(struct pst_reader *r, uint64_t bid, struct pst_heap *out)
{
    *out = (struct pst_heap){.reader = r};
    struct pst_verdict v = pst_data_open(r, bid, &out->data);
    if (v.state != PST_LOST && out->data.n == 0)
        v = lost(PST_WHY_SIZE, bid);
    if (v.state == PST_LOST)
        return v;
    out->blocks = pst_arena_array(&r->arena, out->data.n, sizeof *out->blocks);
    if (!out->blocks)
        return lost(PST_WHY_MEMORY, bid);
    memset(out->blocks, 0, out->data.n * sizeof *out->blocks);
    const struct pst_heap_block *first = block_of(out, 0);
    pst_worsen(&v, first->verdict);
    if (v.state == PST_LOST)
        return v;
    if (first->span.n < HEAP_HEAD_BYTES || first->span.p[2] != HEAP_SIGNATURE)
        return lost(PST_WHY_TYPE, bid);
    out->use = first->span.p[3];
    out->root = pst_u32(first->span.p + 4);
    return v;
}

/* Each block ends with the offsets of its items, one more than there are (2.3.1.5). */
static bool find_item(struct pst_span block, uint32_t index, struct pst_span *out)
{
    if (block.n < 2)
        return false;
    size_t map = pst_u16(block.p);
    if (map + 4 > block.n)
        return false;
    uint32_t n = pst_u16(block.p + map);
    if (index == 0 || index > n || map + 4 + ((size_t)n + 1) * 2 > block.n)
        return false;
    const uint8_t *at = block.p + map + 4 + (size_t)(index - 1) * 2;
    size_t from = pst_u16(at);
    size_t end = pst_u16(at + 2);
    if (from > end || end > map)
        return false;
    *out = (struct pst_span){block.p + from, end - from};
    return true;
}

struct pst_verdict pst_heap_item(struct pst_heap *h, uint32_t hid, struct pst_span *out)
{
    struct hid where = get_hid(h, hid);
    *out = (struct pst_span){NULL, 0};
    if (hid == 0)
        return fine();
    if (pst_nid_type(hid) != PST_NID_HID || where.block >= h->data.n)
        return lost(PST_WHY_SIZE, hid);
    const struct pst_heap_block *b = block_of(h, where.block);
    if (b->verdict.state == PST_LOST)
        return b->verdict;
    if (!find_item(b->span, where.index, out))
        return lost(PST_WHY_SIZE, hid);
    return b->verdict;
}

/* --- trees ------------------------------------------------------------------------------------ */

struct pst_verdict pst_tree_open(struct pst_heap *h, uint32_t hid, struct pst_tree_shape *out)
{
    struct pst_span head;
    struct pst_verdict v = pst_heap_item(h, hid, &head);
    *out = (struct pst_tree_shape){.key_bytes = 0};
    if (v.state == PST_LOST)
        return v;
    if (head.n < TREE_HEAD_BYTES || head.p[0] != TREE_SIGNATURE)
        return lost(PST_WHY_TYPE, hid);
    *out = (struct pst_tree_shape){.key_bytes = head.p[1],
                                   .entry_bytes = head.p[2],
                                   .levels = head.p[3],
                                   .root = pst_u32(head.p + 4)};
    uint8_t k = out->key_bytes;
    bool is_sane = (k == 2 || k == 4 || k == 8 || k == 16) && out->entry_bytes >= 1 &&
                   out->entry_bytes <= 32 && out->levels < TREE_DEPTH_MAX;
    return is_sane ? v : lost(PST_WHY_SIZE, hid);
}

/* On the way: the records of one item. */
struct rung {
    struct pst_span records;
    size_t next;
};

struct descent {
    struct pst_heap *h;
    const struct pst_tree_shape *t;
    struct rung rungs[TREE_DEPTH_MAX];
    unsigned depth;
    uint64_t left; /* records that the heap has room for: what leads back to itself ends */
};

static size_t record_bytes(const struct descent *d)
{
    bool is_leaf = d->depth == d->t->levels + 1u;
    return d->t->key_bytes + (is_leaf ? d->t->entry_bytes : sizeof(uint32_t));
}

static struct pst_verdict go_down(struct descent *d, uint32_t hid)
{
    struct rung *r = &d->rungs[d->depth];
    struct pst_verdict v = pst_heap_item(d->h, hid, &r->records);
    r->next = 0;
    if (v.state != PST_LOST)
        d->depth++;
    return v;
}

int pst_tree_walk(struct pst_heap *h, const struct pst_tree_shape *t, pst_record_fn *fn, void *ctx,
                  struct pst_verdict *v)
{
    struct descent d = {.h = h, .t = t};
    int rc = 0;
    d.left = (uint64_t)h->data.n * h->reader->file->lay->block_max;
    *v = t->root ? go_down(&d, t->root) : fine();
    if (v->state == PST_LOST)
        v->state = PST_SUSPECT;
    while (d.depth > 0 && rc == 0) {
        struct rung *r = &d.rungs[d.depth - 1];
        size_t n = record_bytes(&d);
        if (r->next + n > r->records.n) {
            d.depth--;
            continue;
        }
        if (d.left-- == 0) {
            pst_worsen(v, verdict(PST_SUSPECT, PST_WHY_NESTING, t->root));
            break;
        }
        const uint8_t *key = r->records.p + r->next;
        r->next += n;
        if (d.depth == t->levels + 1u) {
            rc = fn(ctx, key, key + t->key_bytes);
            continue;
        }
        struct pst_verdict part = go_down(&d, pst_u32(key + t->key_bytes));
        part.state = part.state == PST_LOST ? PST_SUSPECT : part.state;
        pst_worsen(v, part);
    }
    return rc;
}
