/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Matching by content: which messages at the target are ours already?
 *
 * Used when a run begins in a folder that holds more than the state accounts for (a run that broke off,
 * another tool, a new UIDVALIDITY), after a lost connection, and to find UIDs where the server does not tell
 * them. Size or date make a pair worth a look; only equal digests make it a match. Twins are paired one
 * to one in UID order, so that nothing is doubled and nothing is lost.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

/* --- digests of stored messages --------------------------------------------------------------------- */

struct digest_sink {
    struct mh_sink sink;
    struct mh_digest_ctx *exact, *canonical;
    const struct mh_item *const *items;
    size_t n;
    size_t at; /* the item that is arriving */
    struct content *out;
};

static size_t find_item(const struct digest_sink *d, const struct mh_item *item)
{
    for (size_t k = 0; k < d->n; k++) {
        size_t i = (d->at + k) % d->n; /* they come in order, so this is the first look */
        if (d->items[i] == item)
            return i;
    }
    mh_assert(d->n == 0);
    return 0;
}

static int digest_begin(struct mh_sink *s, const struct mh_item *item, uint64_t octets,
                        struct mh_err *err)
{
    struct digest_sink *d = mh_container_of(s, struct digest_sink, sink);
    (void)err;
    d->at = find_item(d, item);
    d->out[d->at].octets = octets;
    mh_digest_start(d->exact);
    mh_digest_start(d->canonical);
    return MH_OK;
}

static int digest_data(struct mh_sink *s, struct mh_slice slice_take, struct mh_err *err)
{
    struct digest_sink *d = mh_container_of(s, struct digest_sink, sink);
    (void)err;
    mh_digest_add(d->exact, mh_slice_data(&slice_take), slice_take.len);
    mh_digest_add(d->canonical, mh_slice_data(&slice_take), slice_take.len);
    mh_slice_drop(&slice_take);
    return MH_OK;
}

static int digest_end(struct mh_sink *s, struct mh_err *err)
{
    struct digest_sink *d = mh_container_of(s, struct digest_sink, sink);
    (void)err;
    mh_digest_end(d->exact, &d->out[d->at].exact);
    mh_digest_end(d->canonical, &d->out[d->at].canonical);
    d->out[d->at].is_ok = true;
    return MH_OK;
}

static int digest_missed(struct mh_sink *s, const struct mh_item *item, const struct mh_err *why,
                         struct mh_err *err)
{
    struct digest_sink *d = mh_container_of(s, struct digest_sink, sink);
    (void)why;
    (void)err;
    d->out[find_item(d, item)].is_ok = false;
    return MH_OK;
}

int match_digests(struct mh_session *session, const struct mh_connector *c,
                  const struct mh_item *const *items, size_t n, struct content *out,
                  struct mh_err *err)
{
    struct digest_sink d = {
        .sink = {digest_begin, digest_data, digest_end, digest_missed},
        .items = items,
        .n = n,
        .out = out,
    };
    if (n == 0)
        return MH_OK;
    memset(out, 0, n * sizeof *out);
    int code = mh_digest_ctx_new(MH_DIGEST_EXACT, &d.exact, err);
    if (code == MH_OK)
        code = mh_digest_ctx_new(MH_DIGEST_CANONICAL, &d.canonical, err);
    if (code == MH_OK)
        code = c->fetch(session, items, n, &d.sink, err);
    mh_digest_ctx_free(d.exact);
    mh_digest_ctx_free(d.canonical);
    return code;
}

/* --- pairing --------------------------------------------------------------------------------------------- */

/* One message of either side. */
struct party {
    const struct mh_item *item;
    uint32_t todo;  /* wanted ones */
    bool is_asked;  /* its digest is needed */
    bool is_stored; /* wanted ones: the target has answered for it */
    bool is_known;  /* its exact digest is known without fetching */
    bool is_paired;
    struct content content;
};

struct parties {
    struct party *v; /* owned */
    size_t n;
};

static int order_by_size(const void *a, const void *b)
{
    const struct party *x = *(const struct party *const *)a;
    const struct party *y = *(const struct party *const *)b;
    return x->item->size < y->item->size ? -1 : x->item->size > y->item->size;
}

static int64_t date_key(const struct party *p)
{
    return p->item->date.is_set ? p->item->date.unix_s : INT64_MIN;
}

static int order_by_date(const void *a, const void *b)
{
    int64_t x = date_key(*(const struct party *const *)a);
    int64_t y = date_key(*(const struct party *const *)b);
    return x < y ? -1 : x > y;
}

typedef int order_fn(const void *a, const void *b);

/* Marks everybody who has a counterpart that compares equal by ORDER. */
static int ask_equals(struct parties *wanted, struct parties *there, order_fn *order, bool by_date,
                      struct mh_err *err)
{
    struct party **w = mh_alloc(wanted->n * sizeof(struct party *));
    struct party **t = mh_alloc(there->n * sizeof(struct party *));
    if (!w || !t) {
        mh_free(w);
        mh_free(t);
        return mh_err_nomem(err);
    }
    for (size_t i = 0; i < wanted->n; i++)
        w[i] = &wanted->v[i];
    for (size_t i = 0; i < there->n; i++)
        t[i] = &there->v[i];
    qsort(w, wanted->n, sizeof(struct party *), order);
    qsort(t, there->n, sizeof(struct party *), order);
    size_t i = 0;
    size_t j = 0;
    while (i < wanted->n && j < there->n) {
        int c = order(&w[i], &t[j]);
        if (c < 0) {
            i++;
        } else if (c > 0) {
            j++;
        } else {
            bool real = !by_date || w[i]->item->date.is_set;
            size_t i_end = i;
            for (; i_end < wanted->n && order(&w[i_end], &t[j]) == 0; i_end++)
                w[i_end]->is_asked |= real;
            for (; j < there->n && order(&w[i], &t[j]) == 0; j++)
                t[j]->is_asked |= real;
            i = i_end;
        }
    }
    mh_free(w);
    mh_free(t);
    return MH_OK;
}

/* Fetches the digests of those that are asked for. */
static int fetch_asked(struct parties *p, struct mh_session *s, const struct mh_connector *c,
                       struct mh_err *err)
{
    const struct mh_item **items = mh_alloc(p->n * sizeof(struct mh_item *));
    struct party **who = mh_alloc(p->n * sizeof(struct party *));
    struct content *contents = mh_alloc(p->n * sizeof *contents);
    size_t n = 0;
    int code = items && who && contents ? MH_OK : mh_err_nomem(err);
    for (size_t i = 0; code == MH_OK && i < p->n; i++) {
        if (!p->v[i].is_asked || p->v[i].is_known)
            continue;
        items[n] = p->v[i].item;
        who[n++] = &p->v[i];
    }
    if (code == MH_OK)
        code = match_digests(s, c, items, n, contents, err);
    for (size_t i = 0; code == MH_OK && i < n; i++) {
        who[i]->content = contents[i];
        who[i]->is_known = contents[i].is_ok;
    }
    mh_free(items);
    mh_free(who);
    mh_free(contents);
    return code;
}

static int order_by_exact(const void *a, const void *b)
{
    const struct party *x = *(const struct party *const *)a;
    const struct party *y = *(const struct party *const *)b;
    int c = memcmp(&x->content.exact, &y->content.exact, sizeof x->content.exact);
    if (c != 0)
        return c;
    if (x->is_stored != y->is_stored)
        return x->is_stored ? -1 : 1; /* of twins, the one that is there for certain comes first */
    return x->item->uid < y->item->uid ? -1 : x->item->uid > y->item->uid;
}

static int order_by_canonical(const void *a, const void *b)
{
    const struct party *x = *(const struct party *const *)a;
    const struct party *y = *(const struct party *const *)b;
    int c = memcmp(&x->content.canonical, &y->content.canonical, sizeof x->content.canonical);
    if (c != 0)
        return c;
    if (x->is_stored != y->is_stored)
        return x->is_stored ? -1 : 1; /* of twins, the one that is there for certain comes first */
    return x->item->uid < y->item->uid ? -1 : x->item->uid > y->item->uid;
}

static size_t collect_open(struct parties *p, struct party **out, bool is_canonical)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        /* A digest taken from the state has no canonical form beside it. */
        bool has = p->v[i].is_known && (!is_canonical || p->v[i].content.is_ok);
        if (has && !p->v[i].is_paired)
            out[n++] = &p->v[i];
    }
    return n;
}

struct pairing {
    struct pass *pass;
    struct lane *lane;
    size_t found;
};

static void pair_up(struct pairing *m, struct party *wanted, struct party *there, enum mh_how how)
{
    wanted->is_paired = there->is_paired = true;
    m->found++;
    struct todo *t = &m->pass->todo[wanted->todo];
    if (t->status == TODO_DONE) {
        /* Stored before without being told the UID: its row is written again with it. */
        struct mh_state_item *row = lane_row(m->lane);
        t->dst_uid = there->item->uid;
        if (row)
            *row = (struct mh_state_item){.src_uid = wanted->item->uid,
                                          .dst_uid = there->item->uid,
                                          .size = wanted->content.octets,
                                          .date = wanted->item->date,
                                          .kw = m->pass->kw_ids[wanted->item->kwset],
                                          .flags = wanted->item->flags,
                                          .how = MH_HOW_COPIED,
                                          .has_digest = true,
                                          .digest = wanted->content.exact};
        return;
    }
    if (t->status == TODO_UNKNOWN)
        m->pass->n_unknown--;
    pass_item_done(m->pass, m->lane, wanted->todo, there->item->uid, wanted->content.octets,
                   &wanted->content.exact, how);
}

static int pair_equals(struct pairing *m, struct parties *wanted, struct parties *there,
                       bool is_canonical, struct mh_err *err)
{
    order_fn *order = is_canonical ? order_by_canonical : order_by_exact;
    struct party **w = mh_alloc(wanted->n * sizeof(struct party *));
    struct party **t = mh_alloc(there->n * sizeof(struct party *));
    if (!w || !t) {
        mh_free(w);
        mh_free(t);
        return mh_err_nomem(err);
    }
    size_t nw = collect_open(wanted, w, is_canonical);
    size_t nt = collect_open(there, t, is_canonical);
    qsort(w, nw, sizeof(struct party *), order);
    qsort(t, nt, sizeof(struct party *), order);
    for (size_t i = 0, j = 0; i < nw && j < nt;) {
        int c = is_canonical
                    ? memcmp(&w[i]->content.canonical, &t[j]->content.canonical, MH_DIGEST_BYTES)
                    : memcmp(&w[i]->content.exact, &t[j]->content.exact, MH_DIGEST_BYTES);
        if (c == 0)
            pair_up(m, w[i], t[j], is_canonical ? MH_HOW_ADOPTED_CANONICAL : MH_HOW_ADOPTED_EXACT);
        i += c <= 0;
        j += c >= 0;
    }
    mh_free(w);
    mh_free(t);
    /* Rows may have filled several batches: hand them on before the next stretch. */
    return lane_push_rows(m->lane, false, err);
}

/* --- who takes part ------------------------------------------------------------------------------------------ */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The target's messages from FROM on that nothing accounts for yet. */
static int collect_there(struct pass *pass, struct lane *lane, uint64_t from, struct mh_scan *scan,
                         struct parties *out, struct mh_err *err)
{
    int code = lane->job->tc->scan(lane->dst, from, scan, err);
    if (code != MH_OK) {
        mh_err_at(err, "target, looking for what is there");
        return code;
    }
    uint64_t *mine = mh_alloc(pass->n_todo * sizeof *mine);
    out->v = mh_zalloc(scan->n * sizeof *out->v);
    if (!mine || !out->v) {
        mh_free(mine);
        return mh_err_nomem(err);
    }
    size_t n_mine = 0;
    for (size_t i = 0; i < pass->n_todo; i++) {
        if (pass->todo[i].status == TODO_DONE && pass->todo[i].dst_uid)
            mine[n_mine++] = pass->todo[i].dst_uid;
    }
    qsort(mine, n_mine, sizeof *mine, compare_u64);
    for (size_t i = 0; i < scan->n; i++) {
        const uint64_t *uid = &scan->items[i].uid;
        bool taken =
            (pass->n_known && bsearch(uid, pass->known, pass->n_known, sizeof *uid, compare_u64)) ||
            (n_mine && bsearch(uid, mine, n_mine, sizeof *uid, compare_u64));
        if (!taken)
            out->v[out->n++].item = &scan->items[i];
    }
    mh_free(mine);
    return MH_OK;
}

/* Which of the pass's messages we look for. Those that are stored but have no UID take part with the
 * digest they were sent with, or they would be taken for somebody else's. */
static int collect_wanted(struct pass *pass, bool only_unknown, struct parties *out,
                          struct mh_err *err)
{
    out->v = mh_zalloc(pass->n_todo * sizeof *out->v);
    if (!out->v)
        return mh_err_nomem(err);
    for (size_t i = 0; i < pass->n_todo; i++) {
        const struct todo *t = &pass->todo[i];
        bool stored = t->status == TODO_DONE && t->dst_uid == 0 && pass->digests;
        bool open = t->status == TODO_UNKNOWN || (!only_unknown && t->status == TODO_OPEN);
        if (!stored && !open)
            continue;
        struct party *p = &out->v[out->n++];
        p->item = &pass->scan.items[t->item];
        p->todo = (uint32_t)i;
        if (stored) {
            p->is_known = p->is_stored = true;
            p->content.exact = pass->digests[i];
            p->content.octets = t->octets;
        }
    }
    return MH_OK;
}

static int match(struct pass *pass, struct lane *lane, uint64_t from, bool only_unknown,
                 bool only_stored, struct mh_err *err)
{
    struct parties wanted = {0};
    struct parties there = {0};
    struct mh_scan scan;
    struct pairing m = {.pass = pass, .lane = lane};
    int code = mh_scan_init(&scan, err);
    if (code != MH_OK)
        return code;
    code = collect_wanted(pass, only_unknown || only_stored, &wanted, err);
    if (code == MH_OK && wanted.n)
        code = collect_there(pass, lane, from, &scan, &there, err);
    if (code == MH_OK && wanted.n && there.n) {
        code = ask_equals(&wanted, &there, order_by_size, false, err);
        if (code == MH_OK)
            code = ask_equals(&wanted, &there, order_by_date, true, err);
        if (code == MH_OK)
            code = fetch_asked(&there, lane->dst, lane->job->tc, err);
        if (code == MH_OK)
            code = fetch_asked(&wanted, lane->src, lane->job->sc, err);
        if (code == MH_OK)
            code = pair_equals(&m, &wanted, &there, false, err);
        if (code == MH_OK)
            code = pair_equals(&m, &wanted, &there, true, err);
    }
    mh_free(wanted.v);
    mh_free(there.v);
    mh_scan_done(&scan);
    if (m.found)
        mh_log(&lane->job->log, MH_LOG_INFO,
               "folder %s: %zu messages found at the target by content", pass->entry->source->path,
               m.found);
    return code;
}

int match_window(struct pass *pass, struct lane *lane, uint64_t from, bool only_unknown,
                 struct mh_err *err)
{
    return match(pass, lane, from, only_unknown, false, err);
}

int match_uids(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    return match(pass, lane, pass->window, true, true, err);
}
