/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/account.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "pst/ndb_priv.h"

/* A message in a message …: mail programs nest a handful. */
enum { NESTING_MAX = 32 };

/* --- one item --------------------------------------------------------------------------------- */

/* What is read of one item, and how much of it there can be at the most. */
struct depth {
    struct pst_reader *r;
    unsigned level;
    uint64_t bytes, most;
    struct pst_verdict v;
};

/* A part of it is not to be had: the rest still is. */
static void note_part(struct depth *d, struct pst_verdict part)
{
    if (part.state == PST_LOST)
        part.state = PST_SUSPECT;
    pst_worsen(&d->v, part);
}

static void read_blocks(struct depth *d, uint64_t bid)
{
    struct pst_data data;
    struct pst_mark mark = pst_arena_mark(&d->r->arena);
    note_part(d, pst_data_open(d->r, bid, &data));
    for (uint32_t i = 0; i < data.n && d->bytes <= d->most; i++) {
        struct pst_span s;
        struct pst_mark block = pst_arena_mark(&d->r->arena);
        note_part(d, pst_block_read(d->r, data.bids[i], &s));
        d->bytes += s.n;
        pst_arena_return(&d->r->arena, block);
    }
    pst_arena_return(&d->r->arena, mark);
}

static void read_subnodes(struct depth *d, uint64_t bid);

static int on_subnode(void *ctx, const struct pst_subnode *n)
{
    struct depth *d = ctx;
    if (d->level == NESTING_MAX) {
        note_part(d, lost(PST_WHY_NESTING, n->nid));
        return 1;
    }
    if (d->bytes > d->most) {
        note_part(d, lost(PST_WHY_LIMIT, n->nid));
        return 1;
    }
    d->level++;
    read_blocks(d, n->data);
    read_subnodes(d, n->sub);
    d->level--;
    return 0;
}

static void read_subnodes(struct depth *d, uint64_t bid)
{
    struct pst_verdict v;
    struct pst_mark mark = pst_arena_mark(&d->r->arena);
    (void)pst_subnode_walk(d->r, bid, on_subnode, d, &v);
    note_part(d, v);
    pst_arena_return(&d->r->arena, mark);
}

/* Without its properties an item says nothing: it is lost, whatever else is there. */
struct pst_verdict pst_account_node(struct pst_reader *r, const struct pst_node *node,
                                    uint64_t *bytes)
{
    struct pst_props p;
    struct pst_mark mark = pst_arena_mark(&r->arena);
    struct depth d = {.r = r, .most = pst_most_octets(r->file)};
    d.v = node->data ? pst_props_open(r, node->data, node->sub, &p)
                     : lost(PST_WHY_NO_NODE, node->nid);
    pst_arena_return(&r->arena, mark);
    if (d.v.state != PST_LOST) {
        read_blocks(&d, node->data);
        read_subnodes(&d, node->sub);
    }
    *bytes += d.bytes;
    return d.v;
}

/* --- all of them ------------------------------------------------------------------------------ */

struct counting {
    struct pst_reader *r;
    struct pst_account *out;
    struct pst_account_folder *now;
    const _Atomic int *stop;
    struct mh_err *err;
};

static int name_item(struct counting *c, uint32_t nid, struct pst_verdict v)
{
    struct pst_account *a = c->out;
    if (a->n_items == PST_ACCOUNT_ITEMS_MAX)
        return MH_OK;
    if (!mh_grow(a->items, a->cap_items, a->n_items + 1))
        return mh_err_nomem(c->err);
    a->items[a->n_items++] = (struct pst_account_item){c->now->folder, nid, v};
    return MH_OK;
}

static int on_item(void *ctx, const struct pst_entry *e)
{
    struct counting *c = ctx;
    struct pst_account_folder *f = c->now;
    if (c->stop && atomic_load_explicit(c->stop, memory_order_relaxed))
        return mh_err_set(c->err, MH_ECANCEL, "pst", "stopped");
    f->by_both += e->by == (PST_BY_TABLE | PST_BY_PARENT);
    f->by_table += e->by == PST_BY_TABLE;
    f->by_parent += e->by == PST_BY_PARENT;
    struct pst_verdict v = pst_account_node(c->r, &e->node, &f->bytes);
    f->read += v.state == PST_OK;
    f->suspect += v.state == PST_SUSPECT;
    f->lost += v.state == PST_LOST;
    return v.state == PST_OK ? MH_OK : name_item(c, e->nid, v);
}

static int on_hidden(void *ctx, const struct pst_entry *e)
{
    struct counting *c = ctx;
    (void)e;
    c->now->hidden++;
    return MH_OK;
}

static void add_up(struct pst_account_folder *to, const struct pst_account_folder *f)
{
    to->by_both += f->by_both;
    to->by_table += f->by_table;
    to->by_parent += f->by_parent;
    to->read += f->read;
    to->suspect += f->suspect;
    to->lost += f->lost;
    to->hidden += f->hidden;
    to->bytes += f->bytes;
}

/* Their folder is gone, so no folder tells of them. */
static uint64_t count_homeless(const struct pst_store *s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s->n_children; i++)
        n += pst_nid_type(s->children[i].nid) == PST_NID_MESSAGE &&
             !pst_store_find(s, s->children[i].parent);
    return n;
}

int pst_account_run(struct pst_reader *r, const struct pst_store *s, const _Atomic int *stop,
                    struct pst_account *out, struct mh_err *err)
{
    struct counting c = {.r = r, .out = out, .stop = stop, .err = err};
    int code = MH_OK;
    *out = (struct pst_account){.n_folders = s->n_folders, .total = {.folder = SIZE_MAX}};
    out->folders = mh_zalloc(MH_MAX(s->n_folders, (size_t)1) * sizeof *out->folders);
    if (!out->folders)
        return mh_err_nomem(err);
    for (size_t i = 0; i < s->n_folders && code == MH_OK; i++) {
        struct pst_verdict ignored;
        c.now = &out->folders[i];
        c.now->folder = i;
        code = pst_store_items(r, s, &s->folders[i], false, on_item, &c, &c.now->table);
        if (code == MH_OK)
            code = pst_store_items(r, s, &s->folders[i], true, on_hidden, &c, &ignored);
        add_up(&out->total, c.now);
    }
    out->homeless = count_homeless(s);
    if (code != MH_OK)
        pst_account_done(out);
    return code;
}

void pst_account_done(struct pst_account *a)
{
    mh_free(a->folders);
    mh_free(a->items);
    *a = (struct pst_account){.n_folders = 0};
}
