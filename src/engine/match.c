/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Matching by content: which messages at the target are ours already?
 *
 * Used when a run begins in a folder that holds more than the state accounts for (a run that broke off,
 * another tool, a new UIDVALIDITY), after a lost connection, and to find UIDs where the server does not tell
 * them. Size or date make a pair worth a look first, and then everybody who is still open on both sides and whose
 * sizes do not forbid it is looked at, because a tool may have lost the dates and put headers in. Only equal digests make a
 * match: of the bytes, of the canonical form, and last of stable headers and body (the fingerprint). Twins are paired one
 * to one in UID order, so that nothing is doubled and nothing is lost.
 *
 * Memory: some 200 bytes for each message that is open on either side; no content.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"
#include "engine/prints.h"

/* --- digests of stored messages --------------------------------------------------------------------- */

static void keep_content(void *ctx, size_t i, const struct prints *p)
{
    struct content *out = ctx;
    out[i] = (struct content){
        .exact = p->exact, .canonical = p->canonical, .octets = p->octets, .is_ok = p->is_ok};
}

int match_digests(struct mh_session *session, const struct mh_connector *c,
                  const struct mh_item *const *items, size_t n, struct content *out,
                  struct mh_err *err)
{
    return prints_read(session, c, items, n, PRINT_EXACT | PRINT_CANONICAL, keep_content, out, err);
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
    struct prints prints;
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

/* The parties as a list in ORDER, open ones only; the caller frees it. NULL: no memory. */
static struct party **sorted(const struct parties *p, order_fn *order, size_t *n_out)
{
    struct party **v = mh_alloc(p->n * sizeof(struct party *));
    *n_out = 0;
    for (size_t i = 0; v && i < p->n; i++) {
        if (!p->v[i].is_paired)
            v[(*n_out)++] = &p->v[i];
    }
    if (v && *n_out > 1)
        qsort(v, *n_out, sizeof(struct party *), order);
    return v;
}

struct both {
    struct party **w, **t; /* owned: wanted and there */
    size_t nw, nt;
};

static int both_sorted(const struct parties *wanted, const struct parties *there, order_fn *order,
                       struct both *out, struct mh_err *err)
{
    *out = (struct both){0};
    out->w = sorted(wanted, order, &out->nw);
    out->t = sorted(there, order, &out->nt);
    return out->w && out->t ? MH_OK : mh_err_nomem(err);
}

static void both_done(struct both *b)
{
    mh_free(b->w);
    mh_free(b->t);
}

/* Marks everybody who has a counterpart that compares equal by ORDER. */
static int ask_equals(struct parties *wanted, struct parties *there, order_fn *order, bool by_date,
                      struct mh_err *err)
{
    struct both b;
    int code = both_sorted(wanted, there, order, &b, err);
    size_t i = 0;
    size_t j = 0;
    while (code == MH_OK && i < b.nw && j < b.nt) {
        int c = order(&b.w[i], &b.t[j]);
        if (c < 0) {
            i++;
        } else if (c > 0) {
            j++;
        } else {
            bool real = !by_date || b.w[i]->item->date.is_set;
            size_t i_end = i;
            for (; i_end < b.nw && order(&b.w[i_end], &b.t[j]) == 0; i_end++)
                b.w[i_end]->is_asked |= real;
            for (; j < b.nt && order(&b.w[i], &b.t[j]) == 0; j++)
                b.t[j]->is_asked |= real;
            i = i_end;
        }
    }
    both_done(&b);
    return code;
}

/* What tools add to a header, and by how much line ends and servers that count badly change a size. */
enum { NEAR_BYTES = 32 * 1024, NEAR_SHARE = 4 };

static bool is_near(const struct party *x, const struct party *y)
{
    uint64_t less = MH_MIN(x->item->size, y->item->size);
    uint64_t more = MH_MAX(x->item->size, y->item->size);
    return less == 0 || more - less <= NEAR_BYTES + more / NEAR_SHARE;
}

/* Marks those of V whose size is near that of one of O; both are sorted by it. A size of 0 is near everything. */
static void ask_near(struct party **v, size_t n, struct party **o, size_t n_o)
{
    size_t above = 0; /* the first of O that is larger */
    for (size_t i = 0; i < n; i++) {
        while (above < n_o && o[above]->item->size <= v[i]->item->size)
            above++;
        v[i]->is_asked |= (above < n_o && is_near(v[i], o[above])) ||
                          (above > 0 && is_near(v[i], o[above - 1])) || is_near(v[i], o[0]);
    }
}

/* Marks everybody who is still open and not known by all digests, where sizes allow a pair. */
static int ask_rest(struct parties *wanted, struct parties *there, struct mh_err *err)
{
    struct both b;
    int code = both_sorted(wanted, there, order_by_size, &b, err);
    if (code == MH_OK && b.nw && b.nt) {
        ask_near(b.w, b.nw, b.t, b.nt);
        ask_near(b.t, b.nt, b.w, b.nw);
    }
    both_done(&b);
    return code;
}

/* --- reading ---------------------------------------------------------------------------------------------- */

static void keep_prints(void *ctx, size_t i, const struct prints *p)
{
    struct party *who = ((struct party *const *)ctx)[i];
    if (p->is_ok)
        who->prints = *p;
    who->is_known |= p->is_ok;
}

/* Fetches the digests of those that are asked for and were not fetched yet. Without ALL_KINDS those whose exact digest is
 * known from sending are left as they are. */
static int fetch_asked(struct parties *p, struct mh_session *s, const struct mh_connector *c,
                       bool all_kinds, struct mh_err *err)
{
    const struct mh_item **items = mh_alloc(p->n * sizeof(struct mh_item *));
    struct party **who = mh_alloc(p->n * sizeof(struct party *));
    size_t n = 0;
    int code = items && who ? MH_OK : mh_err_nomem(err);
    for (size_t i = 0; code == MH_OK && i < p->n; i++) {
        struct party *x = &p->v[i];
        if (!x->is_asked || x->is_paired || x->prints.is_ok || (x->is_known && !all_kinds))
            continue;
        items[n] = x->item;
        who[n++] = x;
    }
    if (code == MH_OK)
        code = prints_read(s, c, items, n, PRINT_EXACT | PRINT_CANONICAL | PRINT_FINGERPRINT,
                           keep_prints, who, err);
    mh_free(items);
    mh_free(who);
    return code;
}

/* --- pairing by digest ------------------------------------------------------------------------------------ */

/* Of twins, the one that is there for certain comes first, then the lower UID. */
static int order_twins(const struct party *x, const struct party *y)
{
    if (x->is_stored != y->is_stored)
        return x->is_stored ? -1 : 1;
    return x->item->uid < y->item->uid ? -1 : x->item->uid > y->item->uid;
}

typedef int compare_fn(const struct prints *a, const struct prints *b);

static int compare_exact(const struct prints *a, const struct prints *b)
{
    return memcmp(&a->exact, &b->exact, sizeof a->exact);
}

static int compare_canonical(const struct prints *a, const struct prints *b)
{
    return memcmp(&a->canonical, &b->canonical, sizeof a->canonical);
}

static int compare_fingerprint(const struct prints *a, const struct prints *b)
{
    return memcmp(&a->fingerprint, &b->fingerprint, sizeof a->fingerprint);
}

static int compare_but_id(const struct prints *a, const struct prints *b)
{
    return mh_fingerprint_compare(&a->fingerprint, &b->fingerprint);
}

#define ORDER_BY(name)                                                                             \
    static int order_by_##name(const void *a, const void *b)                                       \
    {                                                                                              \
        const struct party *x = *(const struct party *const *)a;                                   \
        const struct party *y = *(const struct party *const *)b;                                   \
        int c = compare_##name(&x->prints, &y->prints);                                            \
        return c != 0 ? c : order_twins(x, y);                                                     \
    }
ORDER_BY(exact)
ORDER_BY(canonical)
ORDER_BY(fingerprint)
ORDER_BY(but_id)

static bool has_exact(const struct party *p)
{
    return p->is_known;
}

/* A digest taken from sending has no other form beside it. */
static bool has_all(const struct party *p)
{
    return p->prints.is_ok;
}

static bool has_no_id(const struct party *p)
{
    return p->prints.is_ok && !mh_fingerprint_has_id(&p->prints.fingerprint);
}

/* The ways to be the same, the surest first. The last two: one of the two has lost its Message-ID, or been given one. */
enum { ROUND_EXACT, ROUND_CANONICAL, ROUND_FINGERPRINT, ROUNDS = 5 };
static const struct round {
    compare_fn *compare;
    order_fn *order;
    bool (*wanted)(const struct party *p); /* who can take part */
    bool (*there)(const struct party *p);
    enum mh_how how;
} rounds[ROUNDS] = {
    [ROUND_EXACT] = {compare_exact, order_by_exact, has_exact, has_exact, MH_HOW_ADOPTED_EXACT},
    [ROUND_CANONICAL] = {compare_canonical, order_by_canonical, has_all, has_all,
                         MH_HOW_ADOPTED_CANONICAL},
    [ROUND_FINGERPRINT] = {compare_fingerprint, order_by_fingerprint, has_all, has_all,
                           MH_HOW_ADOPTED_FINGERPRINT},
    {compare_but_id, order_by_but_id, has_all, has_no_id, MH_HOW_ADOPTED_FINGERPRINT},
    {compare_but_id, order_by_but_id, has_no_id, has_all, MH_HOW_ADOPTED_FINGERPRINT},
};

struct pairing {
    struct pass *pass;
    struct lane *lane;
    const struct mh_scan *scan; /* borrowed: of the target's window */
    struct parties wanted, there;
    size_t found;
};

/* In the books: which way it was found; what is not certain by its bytes is named one by one. */
static void count_adopted(struct pairing *m, const struct party *wanted, const struct party *there,
                          enum mh_how how)
{
    struct job *job = m->pass->job;
    struct mh_counts *c = &m->pass->res->counts;
    char text[160];
    c->adopted_exact += how == MH_HOW_ADOPTED_EXACT;
    c->adopted_canonical += how == MH_HOW_ADOPTED_CANONICAL;
    c->adopted_fingerprint += how == MH_HOW_ADOPTED_FINGERPRINT;
    if (how != MH_HOW_ADOPTED_FINGERPRINT)
        return;
    (void)snprintf(
        text, sizeof text,
        "at the target with the same Date, From, To, Cc, Subject, Message-ID and body, but "
        "other headers: target UID %llu",
        (unsigned long long)there->item->uid);
    result_item(&job->res->items, &job->res->n_items, &job->res->cap_items,
                m->pass->entry->source->path, wanted->item->uid, "adopted", "fingerprint", text);
}

/*
 * Who has put there what was found? What mailhaul stored it knows by the server's answer, so what it
 * has to look for is another one's, and is adopted. But where an answer was lost, or the row that it
 * led to, what is found may be ours; then it must count as ours (COPIED, or MOVED), or it would be
 * kept for ever where an undisturbed run puts it into quarantine. It counts as ours when
 *
 *  - its octets are the source's, or differ only as servers are known to change them (a fingerprint
 *    shows another tool's work), and its date is the one that we send; and
 *  - we have sent it in this pass, and the connection was lost before the answer (TODO_UNKNOWN);
 *  - or the row says that a pass was begun and never ended (is_broken_off), and it lies at or above
 *    the UIDNEXT which that pass had put on record before its first message left, under the same
 *    UIDVALIDITY: whatever it stored and could not record lies there;
 *  - or it was ours in another folder, has left that, and lies where the source has moved it.
 *
 * Could it be another one's all the same? Only if somebody has stored the same octets under the same
 * date while that pass was open, of a message that has no row: a copy made by hand from the one
 * account to the other. Of such twins either is as good as the other: each message of the source takes
 * one, in the order of UIDs, and one too many stays nobody's and is never touched. The one that was
 * taken by mistake stands in for the one that an undisturbed run would have stored beside it. No
 * harm can come to it but one: when the source's message is deleted, and the policy says so, it is
 * moved to the quarantine, whole, as that one would have been. Nothing here leads to EXPUNGE.
 *
 * What was there before a pass lies below the UIDNEXT on record, and behind a pass that has ended in
 * good order everything without a row is another one's: both are adopted, and stay.
 */
static bool is_ours(const struct pairing *m, const struct party *wanted, const struct party *there,
                    enum mh_how how)
{
    const struct todo *t = &m->pass->todo[wanted->todo];
    const struct mh_date *sent = &wanted->item->date;
    const struct mh_date *stored = &there->item->date;
    bool keeps_dates = (m->lane->job->tc->flags & MH_HAS_DATES) != 0;
    if (how != MH_HOW_ADOPTED_EXACT && how != MH_HOW_ADOPTED_CANONICAL)
        return false;
    if (keeps_dates && sent->is_set && (!stored->is_set || stored->unix_s != sent->unix_s))
        return false;
    if (t->status == TODO_UNKNOWN)
        return true;
    return t->is_orphan ? t->was_ours : m->pass->is_broken_off;
}

/* The ledger's line of a message that is ours and that nobody had told us of. */
static void note_found(const struct pairing *m, const struct party *wanted,
                       const struct party *there, bool is_sent)
{
    struct job *job = m->pass->job;
    char text[160];
    (void)snprintf(text, sizeof text, "stored before %s; found by its bytes: target UID %llu",
                   is_sent ? "the connection was lost" : "an earlier run was broken off",
                   (unsigned long long)there->item->uid);
    result_item(&job->res->items, &job->res->n_items, &job->res->cap_items,
                m->pass->entry->source->path, wanted->item->uid, "copied",
                is_sent ? "answer-lost" : "broken-off", text);
}

/* What the source has set since it was stored is carried; what the target has more may be its user's. */
static int note_flags(struct pairing *m, const struct party *wanted, const struct party *there,
                      enum mh_how how, struct mh_err *err)
{
    struct pass *pass = m->pass;
    const struct mh_item *item = wanted->item;
    const char *words = mh_kwsets_text(m->scan->kwsets, there->item->kwset);
    bool same_words = mh_str_ieq(words, pass_keywords(pass, item));
    uint8_t lacks = item->flags & pass->dst_opened.flags_ok & (uint8_t)~there->item->flags;
    if (lacks == 0 && same_words)
        return MH_OK;
    const struct mh_state_item row = {.src_uid = item->uid,
                                      .dst_uid = there->item->uid,
                                      .size = wanted->prints.octets,
                                      .date = item->date,
                                      .kw = same_words ? pass->kw_ids[item->kwset] : 0,
                                      .flags = item->flags & (uint8_t)~lacks,
                                      .how = (uint8_t)how,
                                      .object_id = item->object_id,
                                      .has_digest = true,
                                      .digest = wanted->prints.exact};
    return flags_note(&pass->changes, &row, item, pass->kw_ids[item->kwset], err);
}

/* Stored before without being told the UID: its row is written again with it. */
static void place(struct pairing *m, const struct party *wanted, const struct party *there)
{
    struct todo *t = &m->pass->todo[wanted->todo];
    struct mh_state_item *row = lane_row(m->lane);
    t->dst_uid = there->item->uid;
    if (row && m->pass->unplaced && m->pass->unplaced[wanted->todo].src_uid) {
        *row = m->pass->unplaced[wanted->todo];
        row->dst_uid = there->item->uid;
        m->pass->flag_later = true; /* what has changed since is the next run's */
    } else if (row)
        *row = (struct mh_state_item){.src_uid = wanted->item->uid,
                                      .dst_uid = there->item->uid,
                                      .size = t->octets,
                                      .date = wanted->item->date,
                                      .kw = m->pass->kw_ids[wanted->item->kwset],
                                      .flags = wanted->item->flags,
                                      .how = MH_HOW_COPIED,
                                      .has_digest = true,
                                      .digest = wanted->prints.exact};
}

static int order_by_target(const void *key, const void *element)
{
    const uint64_t *uid = key;
    uint64_t other = ((const struct mh_state_item *)element)->dst_uid;
    return *uid < other ? -1 : *uid > other;
}

/* The row of the message from before one side was renumbered, or NULL. */
static const struct mh_state_item *former_row(const struct pass *pass, const struct party *wanted,
                                              const struct party *there)
{
    const struct mh_state_items *f = &pass->former;
    if (f->n == 0)
        return NULL;
    if (!pass->former_by_target)
        return mh_state_items_find(f, wanted->item->uid);
    return bsearch(&there->item->uid, f->v, f->n, sizeof *f->v, order_by_target);
}

/* It stays whose it was, and what has happened to its flags since is carried. */
static int inherit(struct pairing *m, const struct party *wanted, const struct party *there,
                   const struct mh_state_item *former, struct mh_err *err)
{
    const struct mh_item *item = wanted->item;
    uint32_t kw = m->pass->kw_ids[item->kwset];
    struct mh_state_item *row = lane_row(m->lane);
    if (!row)
        return mh_err_nomem(err);
    *row = *former;
    row->src_uid = item->uid;
    row->dst_uid = there->item->uid;
    row->size = wanted->prints.octets;
    row->date = item->date;
    row->object_id = item->object_id;
    row->has_digest = true;
    row->digest = wanted->prints.exact;
    if (item->flags == row->flags && kw == row->kw)
        return MH_OK;
    return flags_note(&m->pass->changes, row, item, kw, err);
}

static int pair_up(struct pairing *m, struct party *wanted, struct party *there, enum mh_how how,
                   struct mh_err *err)
{
    struct todo *t = &m->pass->todo[wanted->todo];
    bool is_sent = t->status == TODO_UNKNOWN;
    bool ours = is_ours(m, wanted, there, how);
    const struct mh_state_item *former = ours ? NULL : former_row(m->pass, wanted, there);
    int code = MH_OK;
    wanted->is_paired = there->is_paired = true;
    m->found++;
    if (t->status == TODO_DONE) {
        place(m, wanted, there);
        return MH_OK;
    }
    m->pass->n_unknown -= is_sent;
    if (!ours)
        count_adopted(m, wanted, there, how);
    if (ours)
        how = t->is_orphan ? MH_HOW_MOVED : MH_HOW_COPIED;
    if (how == MH_HOW_COPIED)
        note_found(m, wanted, there, is_sent);
    if (ours && !is_sent)
        code = note_flags(m, wanted, there, how, err);
    pass_item_done(m->pass, m->lane, wanted->todo, there->item->uid, wanted->prints.octets,
                   &wanted->prints.exact, how, ours && is_sent);
    if (code == MH_OK && former)
        code = inherit(m, wanted, there, former, err);
    return code;
}

static size_t only(struct party **v, size_t n, bool (*can)(const struct party *p))
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (can(v[i]))
            v[kept++] = v[i];
    }
    return kept;
}

static int pair_equals(struct pairing *m, const struct round *r, struct mh_err *err)
{
    struct both b;
    int code = both_sorted(&m->wanted, &m->there, r->order, &b, err);
    if (code == MH_OK) {
        b.nw = only(b.w, b.nw, r->wanted);
        b.nt = only(b.t, b.nt, r->there);
        for (size_t i = 0, j = 0; code == MH_OK && i < b.nw && j < b.nt;) {
            int c = r->compare(&b.w[i]->prints, &b.t[j]->prints);
            if (c == 0)
                code = pair_up(m, b.w[i], b.t[j], r->how, err);
            i += c <= 0;
            j += c >= 0;
        }
    }
    both_done(&b);
    /* Rows may have filled several batches: hand them on before the next stretch. */
    return code == MH_OK ? lane_push_rows(m->lane, false, err) : code;
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
        bool taken = mh_uids_has(&pass->known, *uid) ||
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
            p->prints.exact = pass->digests[i];
            p->prints.octets = t->octets;
        }
    }
    return MH_OK;
}

static bool is_open(const struct parties *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (!p->v[i].is_paired)
            return true;
    }
    return false;
}

/* Digests of both sides' asked ones, the target's first: it has fewer. */
static int fetch_both(struct pairing *m, bool all_kinds, struct mh_err *err)
{
    const struct lane *lane = m->lane;
    int code = fetch_asked(&m->there, lane->dst, lane->job->tc, all_kinds, err);
    return code == MH_OK ? fetch_asked(&m->wanted, lane->src, lane->job->sc, all_kinds, err) : code;
}

static int pair_rounds(struct pairing *m, size_t first, size_t end, struct mh_err *err)
{
    int code = MH_OK;
    for (size_t i = first; code == MH_OK && i < end && is_open(&m->wanted) && is_open(&m->there);
         i++)
        code = pair_equals(m, &rounds[i], err);
    return code;
}

static int match_all(struct pairing *m, struct mh_err *err)
{
    int code = ask_equals(&m->wanted, &m->there, order_by_size, false, err);
    if (code == MH_OK)
        code = ask_equals(&m->wanted, &m->there, order_by_date, true, err);
    if (code == MH_OK)
        code = fetch_both(m, false, err);
    if (code == MH_OK)
        code = pair_rounds(m, ROUND_EXACT, ROUND_FINGERPRINT, err);
    if (code != MH_OK || !is_open(&m->wanted) || !is_open(&m->there))
        return code;
    code = ask_rest(&m->wanted, &m->there, err);
    if (code == MH_OK)
        code = fetch_both(m, true, err);
    return code == MH_OK ? pair_rounds(m, ROUND_EXACT, ROUNDS, err) : code;
}

static int match(struct pass *pass, struct lane *lane, uint64_t from, bool only_unknown,
                 bool only_stored, struct mh_err *err)
{
    struct mh_scan scan;
    struct pairing m = {.pass = pass, .lane = lane, .scan = &scan};
    int code = mh_scan_init(&scan, err);
    if (code != MH_OK)
        return code;
    code = collect_wanted(pass, only_unknown || only_stored, &m.wanted, err);
    if (code == MH_OK && m.wanted.n)
        code = collect_there(pass, lane, from, &scan, &m.there, err);
    if (code == MH_OK && m.wanted.n && m.there.n)
        code = match_all(&m, err);
    mh_free(m.wanted.v);
    mh_free(m.there.v);
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
