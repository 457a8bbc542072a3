/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/store.h"

#include <stdlib.h>

#include "base/mem.h"
#include "mail/folder.h"
#include "pst/ndb_priv.h"
#include "pst/text.h"

enum {
    PR_DISPLAY_NAME = 0x3001,
    PR_CONTENT_COUNT = 0x3602,
    PR_ASSOC_CONTENT_COUNT = 0x3617,
    PR_PASSWORD = 0x67ff,
    PR_TOP = 0x35e0,     /* PidTagIpmSubtreeEntryId */
    PR_OUTBOX = 0x35e2,  /* PidTagIpmOutboxEntryId */
    PR_DELETED = 0x35e3, /* PidTagIpmWastebasketEntryId */
    PR_SENT = 0x35e4,    /* PidTagIpmSentMailEntryId */
    PR_CALENDAR = 0x36d0,
    PR_CONTACTS = 0x36d1,
    PR_JOURNAL = 0x36d2,
    PR_NOTES = 0x36d3,
    PR_TASKS = 0x36d4,
    PR_DRAFTS = 0x36d7,
    PR_SPECIAL = 0x36d8, /* PidTagAdditionalRenEntryIds: conflicts, … , the fifth is junk */
    PR_RECEIVE_FOLDER = 0x6605, /* a NID, in the table of receive folders */
    PR_RECEIVE_CLASS = 0x001a,
    NID_RECEIVE_TABLE = 0x62b,
    ENTRY_ID_BYTES = 24,
    JUNK_INDEX = 4,
};

/* --- small reads ------------------------------------------------------------------------------ */

/* UTF-8 of a text; "" where there is none. NULL: no memory. 8-bit text is shown as Latin-1: a folder's
 * name has no code page of its own. */
static char *read_text(struct pst_props *p, unsigned id)
{
    struct mh_buf b = MH_BUF_INIT;
    struct pst_span s = {NULL, 0};
    const struct pst_value *v = pst_props_find(p, id);
    if (v && pst_value_read(&p->heap, p->sub, v, &s).state != PST_LOST) {
        if (v->type == PST_UNICODE_STRING)
            (void)pst_text_utf16(s, &b);
        for (size_t i = 0; v->type == PST_STRING8 && i < s.n && s.p[i]; i++) {
            const uint8_t wide[2] = {s.p[i], 0};
            (void)pst_text_utf16((struct pst_span){wide, 2}, &b);
        }
    }
    mh_buf_add(&b, "", 0);
    return b.data || mh_buf_failed(&b) ? mh_buf_take(&b) : mh_strdup("");
}

/* The NID in an entry id ([MS-PST] 2.4.3.2); 0: it is none. */
static uint32_t entry_nid(struct pst_span s)
{
    return s.n == ENTRY_ID_BYTES ? pst_u32(s.p + ENTRY_ID_BYTES - 4) : 0;
}

static uint32_t read_entry(struct pst_props *p, unsigned id)
{
    struct pst_span s;
    const struct pst_value *v = pst_props_find(p, id);
    bool is_there =
        v && v->type == PST_BINARY && pst_value_read(&p->heap, p->sub, v, &s).state != PST_LOST;
    return is_there ? entry_nid(s) : 0;
}

/* --- folders ---------------------------------------------------------------------------------- */

static struct pst_folder *find(const struct pst_store *s, uint32_t nid)
{
    size_t at = mh_lower_bound(i, 0, s->n_folders, s->folders[i].nid < nid);
    return at < s->n_folders && s->folders[at].nid == nid ? &s->folders[at] : NULL;
}

const struct pst_folder *pst_store_find(const struct pst_store *s, uint32_t nid)
{
    return find(s, nid);
}

struct gathering {
    struct pst_reader *r;
    struct pst_store *out;
    struct mh_err *err;
};

static int add_folder(struct gathering *g, const struct pst_node *node)
{
    struct pst_store *s = g->out;
    struct pst_props p;
    if (!mh_grow(s->folders, s->cap_folders, s->n_folders + 1))
        return mh_err_nomem(g->err);
    struct pst_folder *f = &s->folders[s->n_folders];
    *f = (struct pst_folder){.nid = node->nid,
                             .parent_nid = node->parent,
                             .parent = SIZE_MAX,
                             .announced = -1,
                             .announced_hidden = -1};
    struct pst_mark mark = pst_arena_mark(&g->r->arena);
    f->verdict = pst_props_open(g->r, node->data, node->sub, &p);
    f->name = f->verdict.state == PST_LOST ? mh_strdup("") : read_text(&p, PR_DISPLAY_NAME);
    if (f->verdict.state != PST_LOST) {
        f->announced = pst_props_number(&p, PR_CONTENT_COUNT, -1);
        f->announced_hidden = pst_props_number(&p, PR_ASSOC_CONTENT_COUNT, -1);
    }
    pst_arena_return(&g->r->arena, mark);
    if (!f->name)
        return mh_err_nomem(g->err);
    s->n_folders++;
    return MH_OK;
}

static int add_child(struct gathering *g, const struct pst_node *node)
{
    struct pst_store *s = g->out;
    if (!mh_grow(s->children, s->cap_children, s->n_children + 1))
        return mh_err_nomem(g->err);
    s->children[s->n_children++] = (struct pst_child){node->parent, node->nid};
    return MH_OK;
}

static int gather(void *ctx, const struct pst_node *node)
{
    struct gathering *g = ctx;
    switch (pst_nid_type(node->nid)) {
    case PST_NID_FOLDER:
        return add_folder(g, node);
    case PST_NID_MESSAGE:
    case PST_NID_ASSOCIATED:
        return add_child(g, node);
    default:
        return MH_OK;
    }
}

static int by_parent(const void *a, const void *b)
{
    const struct pst_child *x = a;
    const struct pst_child *y = b;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    return x->nid < y->nid ? -1 : x->nid > y->nid;
}

static int by_nid(const void *a, const void *b)
{
    const struct pst_folder *x = a;
    const struct pst_folder *y = b;
    return x->nid < y->nid ? -1 : x->nid > y->nid;
}

/* A folder names its parent; one that leads back to itself is cut off where that shows. */
static void link_folders(struct pst_store *s)
{
    for (size_t i = 0; i < s->n_folders; i++) {
        struct pst_folder *f = &s->folders[i];
        const struct pst_folder *parent = find(s, f->parent_nid);
        bool is_root = f->nid == PST_NID_ROOT_FOLDER || f->parent_nid == f->nid;
        if (parent && !is_root)
            f->parent = (size_t)(parent - s->folders);
        f->is_orphan = !parent && !is_root;
    }
    for (size_t i = 0; i < s->n_folders; i++) {
        size_t steps = 0;
        size_t at = i;
        while (s->folders[at].parent != SIZE_MAX && steps <= s->n_folders) {
            at = s->folders[at].parent;
            steps++;
        }
        if (steps > s->n_folders) {
            s->folders[i].parent = SIZE_MAX;
            s->folders[i].is_orphan = true;
            pst_worsen(&s->folders[i].verdict,
                       verdict(PST_SUSPECT, PST_WHY_NESTING, s->folders[i].nid));
        }
    }
}

static void mark_visible(struct pst_store *s)
{
    for (size_t i = 0; i < s->n_folders; i++) {
        size_t at = i;
        while (at != SIZE_MAX && s->folders[at].nid != s->top_nid)
            at = s->folders[at].parent;
        s->folders[i].is_visible = at != SIZE_MAX;
    }
}

/* --- roles ------------------------------------------------------------------------------------ */

static void give_role(struct pst_store *s, uint32_t nid, enum pst_role role)
{
    struct pst_folder *f = nid ? find(s, nid) : NULL;
    if (f && f->role == PST_ROLE_NONE)
        f->role = role;
}

/* Of the folder itself, which the root and the inbox both carry. */
static void read_siblings(struct gathering *g, uint32_t nid)
{
    static const struct {
        unsigned id;
        enum pst_role role;
    } known[] = {{PR_CALENDAR, PST_ROLE_CALENDAR}, {PR_CONTACTS, PST_ROLE_CONTACTS},
                 {PR_JOURNAL, PST_ROLE_JOURNAL},   {PR_NOTES, PST_ROLE_NOTES},
                 {PR_TASKS, PST_ROLE_TASKS},       {PR_DRAFTS, PST_ROLE_DRAFTS}};
    struct pst_node node;
    struct pst_props p;
    struct pst_span many;
    if (!nid || pst_node_find(g->r->file, nid, &node).state == PST_LOST)
        return;
    struct pst_mark mark = pst_arena_mark(&g->r->arena);
    if (pst_props_open(g->r, node.data, node.sub, &p).state != PST_LOST) {
        for (size_t i = 0; i < MH_ARRAY_LEN(known); i++)
            give_role(g->out, read_entry(&p, known[i].id), known[i].role);
        const struct pst_value *v = pst_props_find(&p, PR_SPECIAL);
        if (v && v->type == (PST_MANY | PST_BINARY) &&
            pst_value_read(&p.heap, p.sub, v, &many).state != PST_LOST) {
            struct pst_span one = pst_many_item(many, JUNK_INDEX);
            give_role(g->out, entry_nid(one), PST_ROLE_JUNK);
        }
    }
    pst_arena_return(&g->r->arena, mark);
}

static bool is_for_all_classes(struct pst_table *t, struct pst_span row)
{
    struct pst_value v;
    struct pst_span s;
    if (!pst_table_cell(t, row, PR_RECEIVE_CLASS, &v))
        return true;
    return pst_value_read(&t->heap, t->sub, &v, &s).state != PST_LOST && (s.n == 0 || s.p[0] == 0);
}

/* Mail of any class is received in the inbox: that is how a store says which one it is. */
static uint32_t find_inbox(struct pst_reader *r)
{
    struct pst_node node;
    struct pst_table t;
    uint32_t found = 0;
    if (pst_node_find(r->file, NID_RECEIVE_TABLE, &node).state == PST_LOST)
        return 0;
    struct pst_mark mark = pst_arena_mark(&r->arena);
    if (pst_table_open(r, node.data, node.sub, &t).state != PST_LOST) {
        for (uint64_t i = 0; i < t.n && !found; i++) {
            struct pst_span row;
            struct pst_value v;
            if (pst_table_row(&t, i, &row).state != PST_LOST && is_for_all_classes(&t, row) &&
                pst_table_cell(&t, row, PR_RECEIVE_FOLDER, &v) && v.inside && v.type == PST_I32)
                found = pst_u32(v.inside);
        }
    }
    pst_arena_return(&r->arena, mark);
    return found;
}

/* --- the store -------------------------------------------------------------------------------- */

static int read_own(struct gathering *g)
{
    struct pst_store *s = g->out;
    struct pst_node node;
    struct pst_props p;
    s->verdict = pst_node_find(g->r->file, PST_NID_MESSAGE_STORE, &node);
    if (s->verdict.state != PST_LOST)
        pst_worsen(&s->verdict, pst_props_open(g->r, node.data, node.sub, &p));
    if (s->verdict.state == PST_LOST) {
        s->name = mh_strdup("");
        return s->name ? MH_OK : mh_err_nomem(g->err);
    }
    s->name = read_text(&p, PR_DISPLAY_NAME);
    s->top_nid = read_entry(&p, PR_TOP);
    s->has_password = pst_props_number(&p, PR_PASSWORD, 0) != 0;
    give_role(s, read_entry(&p, PR_DELETED), PST_ROLE_DELETED);
    give_role(s, read_entry(&p, PR_SENT), PST_ROLE_SENT);
    give_role(s, read_entry(&p, PR_OUTBOX), PST_ROLE_OUTBOX);
    return s->name ? MH_OK : mh_err_nomem(g->err);
}

int pst_store_read(struct pst_reader *r, struct pst_store *out, struct mh_err *err)
{
    struct gathering g = {r, out, err};
    *out = (struct pst_store){.n_folders = 0};
    int code = pst_node_walk(r->file, gather, &g);
    if (code == MH_OK && out->n_folders > 1)
        qsort(out->folders, out->n_folders, sizeof *out->folders, by_nid);
    if (code == MH_OK && out->n_children > 1)
        qsort(out->children, out->n_children, sizeof *out->children, by_parent);
    struct pst_mark mark = pst_arena_mark(&r->arena);
    if (code == MH_OK)
        code = read_own(&g);
    pst_arena_return(&r->arena, mark);
    if (code != MH_OK) {
        pst_store_done(out);
        return code;
    }
    uint32_t inbox = find_inbox(r); /* the root, in an archive that never received anything */
    if (inbox != PST_NID_ROOT_FOLDER)
        give_role(out, inbox, PST_ROLE_INBOX);
    read_siblings(&g, inbox);
    read_siblings(&g, PST_NID_ROOT_FOLDER);
    link_folders(out);
    mark_visible(out);
    return MH_OK;
}

void pst_store_done(struct pst_store *s)
{
    for (size_t i = 0; i < s->n_folders; i++)
        mh_free(s->folders[i].name);
    mh_free(s->folders);
    mh_free(s->children);
    mh_free(s->name);
    *s = (struct pst_store){.n_folders = 0};
}

static void add_path(const struct pst_store *s, const struct pst_folder *f, size_t start,
                     struct mh_buf *out)
{
    if (f->nid == s->top_nid || f->parent == SIZE_MAX)
        return;
    add_path(s, &s->folders[f->parent], start, out);
    if (out->len > start)
        mh_buf_addc(out, '/');
    mh_path_add_component(out, f->name, strlen(f->name));
}

void pst_store_path(const struct pst_store *s, const struct pst_folder *f, struct mh_buf *out)
{
    add_path(s, f, out->len, out);
}

/* --- items ------------------------------------------------------------------------------------ */

static int order_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool is_item(uint32_t nid, bool hidden)
{
    return pst_nid_type(nid) == (hidden ? PST_NID_ASSOCIATED : PST_NID_MESSAGE);
}

/* What an octet that has changed makes of a row is no item, unless there is one. */
static bool is_row(const struct pst_reader *r, const uint8_t *row, bool hidden, bool is_proved)
{
    struct pst_node ignored;
    uint32_t nid = pst_u32(row);
    return is_item(nid, hidden) &&
           (is_proved || pst_node_find(r->file, nid, &ignored).state != PST_LOST);
}

/* The NIDs in the folder's table, in order, in the arena. */
static size_t list_rows(struct pst_reader *r, const struct pst_folder *folder, bool hidden,
                        const uint32_t **out, struct pst_verdict *v)
{
    uint32_t table_nid =
        pst_nid_of(folder->nid, hidden ? PST_NID_ASSOCIATED_TABLE : PST_NID_CONTENTS_TABLE);
    struct pst_node node;
    struct pst_table t;
    size_t n = 0;
    *out = NULL;
    *v = pst_node_find(r->file, table_nid, &node);
    if (v->state != PST_LOST)
        pst_worsen(v, pst_table_open(r, node.data, node.sub, &t));
    if (v->state == PST_LOST)
        return 0;
    uint32_t *nids = pst_arena_array(&r->arena, (size_t)MH_MAX(t.n, (uint64_t)1), sizeof *nids);
    if (!nids) {
        *v = lost(PST_WHY_MEMORY, table_nid);
        return 0;
    }
    for (uint64_t i = 0; i < t.n; i++) {
        struct pst_span row;
        struct pst_mark mark = pst_arena_mark(&r->arena);
        struct pst_verdict one = pst_table_row(&t, i, &row);
        bool is_proved = one.state == PST_OK && v->state == PST_OK;
        if (one.state != PST_LOST && is_row(r, row.p, hidden, is_proved))
            nids[n++] = pst_u32(row.p);
        pst_arena_return(&r->arena, mark);
        one.state = one.state == PST_LOST ? PST_SUSPECT : one.state;
        pst_worsen(v, one);
    }
    qsort(nids, n, sizeof *nids, order_u32);
    *out = nids;
    return n;
}

struct merge {
    const uint32_t *rows; /* NIDs */
    size_t row, n_rows;
    const struct pst_child *children;
    size_t child, n_children;
};

/* The next NID of both lists; false: none is left. */
static bool next_entry(struct merge *m, struct pst_entry *out)
{
    bool has_row = m->row < m->n_rows;
    bool has_child = m->child < m->n_children;
    uint32_t row = has_row ? m->rows[m->row] : 0;
    uint32_t child = has_child ? m->children[m->child].nid : 0;
    if (!has_row && !has_child)
        return false;
    *out = (struct pst_entry){.nid = !has_child || (has_row && row <= child) ? row : child};
    if (has_row && row == out->nid)
        out->by |= PST_BY_TABLE;
    if (has_child && child == out->nid)
        out->by |= PST_BY_PARENT;
    while (m->row < m->n_rows && m->rows[m->row] == out->nid)
        m->row++;
    m->child += (out->by & PST_BY_PARENT) != 0;
    return true;
}

int pst_store_items(struct pst_reader *r, const struct pst_store *s,
                    const struct pst_folder *folder, bool hidden, pst_entry_fn *fn, void *ctx,
                    struct pst_verdict *v)
{
    struct pst_entry e;
    int rc = 0;
    struct pst_mark mark = pst_arena_mark(&r->arena);
    struct merge m = {.n_rows = 0};
    size_t first = mh_lower_bound(i, 0, s->n_children, s->children[i].parent < folder->nid);
    m.children = s->children;
    m.child = first;
    m.n_children = mh_lower_bound(i, first, s->n_children, s->children[i].parent <= folder->nid);
    m.n_rows = list_rows(r, folder, hidden, &m.rows, v);
    while (rc == 0 && next_entry(&m, &e)) {
        if (!is_item(e.nid, hidden))
            continue;
        (void)pst_node_find(r->file, e.nid, &e.node);
        rc = fn(ctx, &e);
    }
    pst_arena_return(&r->arena, mark);
    return rc;
}
