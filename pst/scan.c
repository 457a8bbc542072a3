/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/scan.h"

#include <stdlib.h>

#include "base/mem.h"
#include "pst/ndb_priv.h"

enum {
    STEP_BYTES = 64,        /* the smallest alignment of blocks; pages have 512 */
    WINDOW_BYTES = 4 << 20, /* read at once where the file is not mapped */
    STRAYS_MAX = 512,       /* pages whose place is unknown: each is held against each distance */
    SHIFT_MOST_BYTES =
        16 << 20, /* how far a distance is looked for when no allocation map tells it */
    STRAYS_AGREE = 3,
};

/* A page that proves, but not where it lies. */
struct stray {
    uint64_t at, bid;
    uint16_t signature;
};

/* Octets of the file, and what is made of them. */
struct scanner {
    const struct pst_file *f;
    const struct layout *lay;
    struct pst_scan *out;
    struct mh_err *err;
    uint8_t *room; /* owned: WINDOW_BYTES, where the file is not mapped */
    const uint8_t *window;
    uint64_t from, end; /* of the window, in the file */
    struct stray *strays;
    size_t n_strays, cap_strays;
    struct tree newest; /* page of the node tree; root_bid 0: there is none */
};

/* LEN octets at AT; NULL: not there. Goes forward with little way back. */
static const uint8_t *look(struct scanner *s, uint64_t at, uint32_t len)
{
    uint64_t size = s->f->facts.size;
    if (at > size || len > size - at)
        return NULL;
    if (!s->room)
        return pst_bytes_at(s->f->bytes, at, len, NULL);
    if (at < s->from || at + len > s->end) {
        uint64_t back = MH_MIN(at, (uint64_t)BLOCK_MAX_BYTES);
        s->from = at - back;
        s->end = MH_MIN(size, s->from + WINDOW_BYTES);
        s->window = pst_bytes_at(s->f->bytes, s->from, s->end - s->from, s->room);
        if (!s->window)
            s->end = s->from;
    }
    return s->window && at + len <= s->end ? s->window + (at - s->from) : NULL;
}

/* --- where things lie ------------------------------------------------------------------------- */

static void add_shift(struct scanner *s, int64_t shift)
{
    struct pst_scan *out = s->out;
    for (unsigned i = 0; i < out->n_shifts; i++)
        if (out->shifts[i] == shift)
            return;
    if (out->n_shifts < PST_SHIFTS_MAX)
        out->shifts[out->n_shifts++] = shift;
}

static bool is_signed_for(const struct scanner *s, uint64_t at, uint64_t bid, uint16_t signature)
{
    for (unsigned i = 0; i < s->out->n_shifts; i++)
        if (pst_signature(at - (uint64_t)s->out->shifts[i], bid) == signature)
            return true;
    return false;
}

static size_t count_agreeing(const struct scanner *s, int64_t shift)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_strays; i++) {
        const struct stray *x = &s->strays[i];
        n += pst_signature(x->at - (uint64_t)shift, x->bid) == x->signature;
    }
    return n;
}

/* The distance that most strays agree on; they are then none any more. */
static bool learn_shift(struct scanner *s)
{
    int64_t best = 0;
    size_t most = STRAYS_AGREE - 1;
    for (int64_t d = -SHIFT_MOST_BYTES; d <= SHIFT_MOST_BYTES; d += STEP_BYTES) {
        size_t n = count_agreeing(s, d);
        if (n > most || (n == most && llabs(d) < llabs(best))) {
            most = n;
            best = d;
        }
    }
    if (most < STRAYS_AGREE)
        return false;
    add_shift(s, best);
    size_t kept = 0;
    for (size_t i = 0; i < s->n_strays; i++) {
        const struct stray *x = &s->strays[i];
        if (pst_signature(x->at - (uint64_t)best, x->bid) != x->signature)
            s->strays[kept++] = *x;
    }
    s->n_strays = kept;
    return true;
}

/* --- pages ------------------------------------------------------------------------------------ */

static int add_node(struct scanner *s, const uint8_t *entry, uint64_t leaf_bid)
{
    struct pst_scan *out = s->out;
    if (!mh_grow(out->nodes, out->cap_nodes, out->n_nodes + 1))
        return mh_err_nomem(s->err);
    struct pst_found_node *n = &out->nodes[out->n_nodes++];
    *n = (struct pst_found_node){.leaf_bid = leaf_bid};
    node_get(s->lay, entry, &n->node);
    return MH_OK;
}

static int take_leaf(struct scanner *s, const struct page *p, uint64_t bid)
{
    int code = MH_OK;
    s->out->pages++;
    for (uint32_t i = 0; i < p->n && code == MH_OK; i++)
        code = add_node(s, page_entry(p, i), bid);
    return code;
}

static int add_stray(struct scanner *s, uint64_t at, const struct trailer *t)
{
    if (s->n_strays == STRAYS_MAX)
        return MH_OK;
    if (!mh_grow(s->strays, s->cap_strays, s->n_strays + 1))
        return mh_err_nomem(s->err);
    s->strays[s->n_strays++] = (struct stray){at, t->bid, t->signature};
    return MH_OK;
}

/* A page of a tree, or an allocation map, which says where it should lie. */
static int take_page(struct scanner *s, uint64_t at, const uint8_t *page, const struct trailer *t)
{
    struct page p = {.n = 0};
    enum page_type type = (enum page_type)t->type;
    /* What is cheap first: anybody can write two octets that look like a page's. */
    if (type != PAGE_ALLOCATION && page_get(s->lay, page, at, type, &p).state == PST_LOST)
        return MH_OK;
    if (t->crc != pst_crc(page, s->lay->page_trailer))
        return MH_OK;
    if (type == PAGE_ALLOCATION) {
        if ((at - t->bid) % STEP_BYTES == 0)
            add_shift(s, (int64_t)(at - t->bid));
        return MH_OK;
    }
    int code = MH_OK;
    if (!is_signed_for(s, at, t->bid, t->signature))
        code = add_stray(s, at, t);
    if (type == PAGE_NODES && t->bid > s->newest.root_bid)
        s->newest = (struct tree){.type = PAGE_NODES, .root_at = at, .root_bid = t->bid};
    if (code == MH_OK && type == PAGE_NODES && p.level == 0)
        code = take_leaf(s, &p, t->bid);
    return code;
}

static int scan_pages(struct scanner *s)
{
    const struct layout *lay = s->lay;
    int code = MH_OK;
    for (uint64_t at = 0; at + lay->page_bytes <= s->f->facts.size && code == MH_OK;
         at += STEP_BYTES) {
        const uint8_t *page = look(s, at, lay->page_bytes);
        if (!page)
            continue;
        const uint8_t *tail = page + lay->page_trailer;
        if (tail[0] != tail[1] ||
            (tail[0] != PAGE_NODES && tail[0] != PAGE_BLOCKS && tail[0] != PAGE_ALLOCATION))
            continue;
        struct trailer t;
        page_trailer_get(lay, tail, &t);
        code = take_page(s, at, page, &t);
    }
    return code;
}

/* --- blocks ----------------------------------------------------------------------------------- */

static int add_block(struct scanner *s, uint64_t at, const struct trailer *t, bool is_suspect)
{
    struct pst_scan *out = s->out;
    if (at / STEP_BYTES > UINT32_MAX) /* 256 GiB: no program makes archives of that size */
        return mh_err_set(s->err, MH_EUSAGE, "pst", "the file is larger than any archive can be");
    if (!mh_grow(out->blocks, out->cap_blocks, out->n_blocks + 1))
        return mh_err_nomem(s->err);
    out->blocks[out->n_blocks++] = (struct pst_found_block){.key = pst_bid_key(t->bid),
                                                            .at_64 = (uint32_t)(at / STEP_BYTES),
                                                            .size = (uint16_t)t->size,
                                                            .is_suspect = is_suspect};
    return MH_OK;
}

/* What ends at END, if it is a block. */
static int take_block(struct scanner *s, uint64_t end)
{
    const struct layout *lay = s->lay;
    struct trailer t;
    const uint8_t *tail = look(s, end - lay->block_trailer, lay->block_trailer);
    if (!tail)
        return MH_OK;
    block_trailer_get(lay, tail, &t);
    uint32_t slot = slot_bytes(lay, t.size);
    if (t.size == 0 || t.bid == 0 || slot > lay->block_max || slot > end)
        return MH_OK;
    uint64_t at = end - slot;
    if (!is_signed_for(s, at, t.bid, t.signature))
        return MH_OK;
    const uint8_t *octets = look(s, at, t.size);
    if (!octets)
        return MH_OK;
    return add_block(s, at, &t, t.crc != pst_crc(octets, t.size));
}

static int scan_blocks(struct scanner *s)
{
    int code = MH_OK;
    for (uint64_t end = STEP_BYTES; end <= s->f->facts.size && code == MH_OK; end += STEP_BYTES)
        code = take_block(s, end);
    return code;
}

/* --- which of them hold ----------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    const struct pst_found_block *x = a;
    const struct pst_found_block *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->is_suspect != y->is_suspect)
        return x->is_suspect - y->is_suspect;
    return x->at_64 < y->at_64 ? -1 : x->at_64 > y->at_64;
}

static int by_nid(const void *a, const void *b)
{
    const struct pst_found_node *x = a;
    const struct pst_found_node *y = b;
    if (x->node.nid != y->node.nid)
        return x->node.nid < y->node.nid ? -1 : 1;
    return x->leaf_bid > y->leaf_bid ? -1 : x->leaf_bid < y->leaf_bid;
}

/* The NIDs from the first to the last of one leaf. */
struct range {
    uint32_t first, last;
    uint64_t bid;
};

static int by_first(const void *a, const void *b)
{
    const struct range *x = a;
    const struct range *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Ranges that have begun, the newest leaf on top. */
struct heap {
    struct range *v;
    size_t n;
};

static void swap(struct range *a, struct range *b)
{
    struct range t = *a;
    *a = *b;
    *b = t;
}

static void push(struct heap *h, struct range r)
{
    size_t i = h->n++;
    h->v[i] = r;
    for (; i > 0 && h->v[(i - 1) / 2].bid < h->v[i].bid; i = (i - 1) / 2)
        swap(&h->v[(i - 1) / 2], &h->v[i]);
}

static void pop(struct heap *h)
{
    h->v[0] = h->v[--h->n];
    for (size_t i = 0, next = 0;; i = next) {
        size_t left = 2 * i + 1;
        next = left < h->n && h->v[left].bid > h->v[i].bid ? left : i;
        next = left + 1 < h->n && h->v[left + 1].bid > h->v[next].bid ? left + 1 : next;
        if (next == i)
            return;
        swap(&h->v[i], &h->v[next]);
    }
}

static int by_leaf(const void *a, const void *b)
{
    const struct range *x = a;
    const struct range *y = b;
    return x->bid < y->bid ? -1 : x->bid > y->bid;
}

/* One range a leaf, from one a node. */
static size_t join_ranges(struct range *v, size_t n)
{
    size_t kept = 0;
    qsort(v, n, sizeof *v, by_leaf);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && v[kept - 1].bid == v[i].bid) {
            v[kept - 1].first = MH_MIN(v[kept - 1].first, v[i].first);
            v[kept - 1].last = MH_MAX(v[kept - 1].last, v[i].last);
        } else {
            v[kept++] = v[i];
        }
    }
    qsort(v, kept, sizeof *v, by_first);
    return kept;
}

/*
 * Without a root: a node is alive if the newest leaf whose range it lies in has it, for a newer leaf of
 * the same range without it was written when it had gone. What lies in the gap between two newer
 * leaves seems to be alive. Nodes are in order.
 */
static int guess_life(struct scanner *s)
{
    struct pst_scan *out = s->out;
    struct range *ranges = mh_alloc(MH_MAX(out->n_nodes, (size_t)1) * sizeof *ranges);
    struct heap h = {.v = mh_alloc(MH_MAX(out->n_nodes, (size_t)1) * sizeof *h.v)};
    if (!ranges || !h.v) {
        mh_free(ranges);
        mh_free(h.v);
        return mh_err_nomem(s->err);
    }
    for (size_t i = 0; i < out->n_nodes; i++)
        ranges[i] =
            (struct range){out->nodes[i].node.nid, out->nodes[i].node.nid, out->nodes[i].leaf_bid};
    size_t n = join_ranges(ranges, out->n_nodes);
    size_t next = 0;
    for (size_t i = 0; i < out->n_nodes; i++) {
        struct pst_found_node *x = &out->nodes[i];
        while (next < n && ranges[next].first <= x->node.nid)
            push(&h, ranges[next++]);
        while (h.n > 0 && h.v[0].last < x->node.nid)
            pop(&h);
        bool is_first = i == 0 || out->nodes[i - 1].node.nid != x->node.nid;
        if (is_first)
            x->life = x->leaf_bid == h.v[0].bid ? PST_ALIVE : PST_DELETED;
        else
            x->life = out->nodes[i - 1].life == PST_DELETED ? PST_DELETED : PST_FORMER;
    }
    mh_free(ranges);
    mh_free(h.v);
    return MH_OK;
}

/* The nodes of a whole tree: those that are alive, and no others. */
struct living {
    struct pst_scan *out;
    const struct layout *lay;
    size_t next;
};

static int mark_living(void *ctx, const uint8_t *entry)
{
    struct living *l = ctx;
    struct pst_node node;
    node_get(l->lay, entry, &node);
    bool is_marked = false;
    for (; l->next < l->out->n_nodes && l->out->nodes[l->next].node.nid <= node.nid; l->next++) {
        struct pst_found_node *x = &l->out->nodes[l->next];
        bool is_it = !is_marked && x->node.nid == node.nid && x->node.data == node.data &&
                     x->node.sub == node.sub && x->node.parent == node.parent;
        x->life = is_it ? PST_ALIVE : x->node.nid == node.nid ? PST_FORMER : PST_DELETED;
        is_marked = is_marked || is_it;
    }
    return 0;
}

/*
 * Whatever changes, the root is written anew, and last: the newest page of all is the root, unless that
 * is lost. Then what is newest has but a part of the nodes; OTHERS are alive as far as their leaves
 * tell. False: it is no root.
 */
static bool know_life(struct scanner *s, size_t others)
{
    struct pst_file view = *s->f; /* with everything at its moved place; borrowed from F */
    struct tree t = s->newest;
    struct pst_tree_facts facts;
    uint8_t room[PAGE_MAX_BYTES];
    struct pst_verdict v;
    view.moved = s->out->shifts[s->out->n_shifts - 1];
    t.root_at -= (uint64_t)view.moved;
    tree_prove(&view, &t, &facts);
    if (facts.verdict.state != PST_OK || facts.entries < others / 2 ||
        !tree_find(&view, &t, PST_NID_MESSAGE_STORE, room, &v))
        return false;
    struct living l = {.out = s->out, .lay = s->lay};
    (void)tree_walk(&view, &t, mark_living, &l);
    for (; l.next < s->out->n_nodes; l.next++)
        s->out->nodes[l.next].life = PST_DELETED;
    return true;
}

/* The one that is alive goes first among those of its NID. */
static int by_life(const void *a, const void *b)
{
    const struct pst_found_node *x = a;
    const struct pst_found_node *y = b;
    if (x->node.nid != y->node.nid)
        return x->node.nid < y->node.nid ? -1 : 1;
    if (x->life != y->life)
        return (int)x->life - (int)y->life;
    return x->leaf_bid > y->leaf_bid ? -1 : x->leaf_bid < y->leaf_bid;
}

static int tell_life(struct scanner *s)
{
    size_t alive = 0;
    int code = guess_life(s);
    for (size_t i = 0; code == MH_OK && i < s->out->n_nodes; i++)
        alive += s->out->nodes[i].life == PST_ALIVE;
    if (code == MH_OK && know_life(s, alive) && s->out->n_nodes > 1)
        qsort(s->out->nodes, s->out->n_nodes, sizeof *s->out->nodes, by_life);
    return code;
}

/* --- all of it -------------------------------------------------------------------------------- */

int pst_scan_run(const struct pst_file *f, struct pst_scan *out, struct mh_err *err)
{
    struct scanner s = {.f = f, .lay = f->lay, .out = out, .err = err};
    int code = MH_OK;
    *out = (struct pst_scan){.n_shifts = 1};
    if (!pst_bytes_is_mapped(f->bytes) && !(s.room = mh_alloc(WINDOW_BYTES)))
        return mh_err_nomem(err);
    code = scan_pages(&s);
    while (code == MH_OK && s.n_strays >= STRAYS_AGREE && out->n_shifts < PST_SHIFTS_MAX &&
           learn_shift(&s))
        ;
    s.from = s.end = 0;
    if (code == MH_OK)
        code = scan_blocks(&s);
    mh_free(s.room);
    mh_free(s.strays);
    if (out->n_blocks > 1)
        qsort(out->blocks, out->n_blocks, sizeof *out->blocks, by_key);
    if (out->n_nodes > 1)
        qsort(out->nodes, out->n_nodes, sizeof *out->nodes, by_nid);
    if (code == MH_OK)
        code = tell_life(&s);
    if (code != MH_OK)
        pst_scan_done(out);
    return code;
}

void pst_scan_done(struct pst_scan *s)
{
    mh_free(s->blocks);
    mh_free(s->nodes);
    *s = (struct pst_scan){.n_blocks = 0};
}

void pst_scan_free(struct pst_scan *s)
{
    if (s)
        pst_scan_done(s);
    mh_free(s);
}

const struct pst_found_block *pst_scan_block(const struct pst_scan *s, uint64_t bid)
{
    uint64_t key = pst_bid_key(bid);
    size_t at = mh_lower_bound(i, 0, s->n_blocks, s->blocks[i].key < key);
    return at < s->n_blocks && s->blocks[at].key == key ? &s->blocks[at] : NULL;
}

const struct pst_found_node *pst_scan_node(const struct pst_scan *s, uint32_t nid)
{
    size_t at = mh_lower_bound(i, 0, s->n_nodes, s->nodes[i].node.nid < nid);
    bool is_there = at < s->n_nodes && s->nodes[at].node.nid == nid;
    return is_there && s->nodes[at].life == PST_ALIVE ? &s->nodes[at] : NULL;
}
