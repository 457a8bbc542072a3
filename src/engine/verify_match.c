/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify, what is not where the state says (or everything, without a state): looked for by content among the target's messages
 * that belong to nobody. First among those of equal size or date; then messages that are not in the sample
 * by these two alone; then all that is open on both sides.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/verify_priv.h"

/* A message of the target that belongs to nobody yet. */
struct there {
    size_t item;
    bool is_asked, is_paired;
    struct prints prints;
};

struct search {
    struct check_folder *f;
    struct there *there; /* owned */
    size_t n_there;
};

static const struct mh_item *left_item(const struct search *m, const struct left *l)
{
    return &m->f->src.items[l->item];
}

static const struct mh_item *there_item(const struct search *m, const struct there *t)
{
    return &m->f->dst.items[t->item];
}

static int collect_there(struct search *m, struct mh_err *err)
{
    struct check_folder *f = m->f;
    size_t n = 0;
    for (size_t t = 0; t < f->dst.n; t++)
        n += !f->is_taken[t] && !mh_uids_has(&f->siblings, f->dst.items[t].uid);
    m->there = n ? mh_zalloc(n * sizeof *m->there) : NULL;
    if (n && !m->there)
        return mh_err_nomem(err);
    for (size_t t = 0; t < f->dst.n && m->n_there < n; t++) {
        if (!f->is_taken[t] && !mh_uids_has(&f->siblings, f->dst.items[t].uid))
            m->there[m->n_there++].item = t;
    }
    return MH_OK;
}

static bool is_open(const struct search *m)
{
    bool left = false;
    bool there = false;
    for (size_t i = 0; i < m->f->n_left && !left; i++)
        left = m->f->left[i].target == 0;
    for (size_t i = 0; i < m->n_there && !there; i++)
        there = !m->there[i].is_paired;
    return left && there;
}

/* --- references, sorted by what must agree --------------------------------------------------------------------- */

/* How much must agree. Twins go by date and flags first: which is which shows in these only. */
enum likeness {
    LIKE_TWINS,
    LIKE_EXACT,
    LIKE_CANONICAL,
    LIKE_FINGERPRINT,
    LIKE_NO_ID_THERE, /* the fingerprint, but the target's has no Message-ID */
    LIKE_NO_ID_HERE,
    LIKE_SIZE, /* without content */
    LIKE_DATE,
    LIKE_LISTING, /* both */
};

struct ref {
    const struct mh_digest *digest; /* NULL: by listing */
    size_t digest_len;
    uint64_t size;
    int64_t date;
    unsigned flags;
    size_t index;
};

static int compare_ref(const struct ref *x, const struct ref *y)
{
    int c = x->digest ? memcmp(x->digest, y->digest, x->digest_len) : 0;
    if (c == 0)
        c = x->size < y->size ? -1 : x->size > y->size;
    if (c == 0)
        c = x->date < y->date ? -1 : x->date > y->date;
    return c != 0 ? c : (x->flags > y->flags) - (x->flags < y->flags);
}

static int order_ref(const void *a, const void *b)
{
    const struct ref *x = a;
    const struct ref *y = b;
    int c = compare_ref(x, y);
    return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

static struct ref make_ref(enum likeness like, const struct mh_item *item, const struct prints *p,
                           size_t index)
{
    struct ref r = {.index = index, .digest_len = MH_DIGEST_BYTES};
    if (like <= LIKE_EXACT)
        r.digest = &p->exact;
    else if (like == LIKE_CANONICAL)
        r.digest = &p->canonical;
    else if (like <= LIKE_NO_ID_HERE)
        r.digest = &p->fingerprint;
    if (like == LIKE_NO_ID_THERE || like == LIKE_NO_ID_HERE)
        r.digest_len = MH_FINGERPRINT_BYTES;
    if (like == LIKE_SIZE || like == LIKE_LISTING)
        r.size = item->size;
    if (like == LIKE_TWINS || like == LIKE_DATE || like == LIKE_LISTING)
        r.date = item->date.is_set ? item->date.unix_s : INT64_MIN;
    if (like == LIKE_TWINS)
        r.flags = item->flags;
    return r;
}

/* Who can take part: with what is known of its content. */
static bool can_be(enum likeness like, const struct mh_item *item, const struct prints *p,
                   bool has_exact, bool is_there)
{
    if (like <= LIKE_EXACT)
        return has_exact || p->is_ok;
    if (like >= LIKE_SIZE)
        return like == LIKE_SIZE || item->date.is_set;
    bool without_id =
        (like == LIKE_NO_ID_THERE && is_there) || (like == LIKE_NO_ID_HERE && !is_there);
    return p->is_ok && !(without_id && mh_fingerprint_has_id(&p->fingerprint));
}

enum who { ALL_LEFT, SAMPLED, NOT_SAMPLED };

static size_t list_left(const struct search *m, enum likeness like, enum who who, struct ref *out)
{
    size_t n = 0;
    for (size_t i = 0; i < m->f->n_left; i++) {
        const struct left *l = &m->f->left[i];
        bool wanted = who == ALL_LEFT || (who == SAMPLED) == l->is_sampled;
        if (l->is_strict && like >= LIKE_FINGERPRINT && like <= LIKE_NO_ID_HERE)
            continue;
        if (!l->target && wanted && can_be(like, left_item(m, l), &l->prints, l->has_exact, false))
            out[n++] = make_ref(like, left_item(m, l), &l->prints, i);
    }
    if (n > 1)
        qsort(out, n, sizeof *out, order_ref);
    return n;
}

static size_t list_there(const struct search *m, enum likeness like, struct ref *out)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_there; i++) {
        const struct there *t = &m->there[i];
        if (!t->is_paired && can_be(like, there_item(m, t), &t->prints, false, true))
            out[n++] = make_ref(like, there_item(m, t), &t->prints, i);
    }
    if (n > 1)
        qsort(out, n, sizeof *out, order_ref);
    return n;
}

/* Both lists; the caller frees them. */
static int list_both(const struct search *m, enum likeness like, enum who who, struct ref **l,
                     size_t *nl, struct ref **t, size_t *nt, struct mh_err *err)
{
    *l = mh_alloc(m->f->n_left * sizeof **l);
    *t = mh_alloc(m->n_there * sizeof **t);
    if (!*l || !*t)
        return mh_err_nomem(err);
    *nl = list_left(m, like, who, *l);
    *nt = list_there(m, like, *t);
    return MH_OK;
}

/* --- pairing ------------------------------------------------------------------------------------------------- */

static void pair_up(struct search *m, struct left *l, struct there *t, bool by_content)
{
    struct check_folder *f = m->f;
    l->target = t->item + 1;
    t->is_paired = true;
    f->is_taken[t->item] = true;
    if (!by_content) {
        f->counts.listed++;
        return;
    }
    struct verify_pair p = {.s = l->item, .t = t->item, .a = l->prints, .b = t->prints};
    p.a.is_ok = true;
    verify_judge(f, &p);
}

static int pair_equals(struct search *m, enum likeness like, enum who who, struct mh_err *err)
{
    struct ref *l = NULL;
    struct ref *t = NULL;
    size_t nl = 0;
    size_t nt = 0;
    int code = list_both(m, like, who, &l, &nl, &t, &nt, err);
    for (size_t i = 0, j = 0; code == MH_OK && i < nl && j < nt;) {
        int c = compare_ref(&l[i], &t[j]);
        if (c == 0)
            pair_up(m, &m->f->left[l[i].index], &m->there[t[j].index], like < LIKE_SIZE);
        i += c <= 0;
        j += c >= 0;
    }
    mh_free(l);
    mh_free(t);
    return code;
}

static int pair_all(struct search *m, enum likeness last, enum who who, struct mh_err *err)
{
    int code = MH_OK;
    for (enum likeness like = LIKE_TWINS; code == MH_OK && like <= last && is_open(m); like++)
        code = pair_equals(m, like, who, err);
    return code;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

static void ask_all(struct search *m)
{
    for (size_t i = 0; i < m->f->n_left; i++)
        m->f->left[i].is_asked = true;
    for (size_t i = 0; i < m->n_there; i++)
        m->there[i].is_asked = true;
}

/* Marks those in the sample, and who equals them by LIKE. */
static int ask_equals(struct search *m, enum likeness like, struct mh_err *err)
{
    struct ref *l = NULL;
    struct ref *t = NULL;
    size_t nl = 0;
    size_t nt = 0;
    int code = list_both(m, like, SAMPLED, &l, &nl, &t, &nt, err);
    for (size_t i = 0, j = 0; code == MH_OK && i < nl && j < nt;) {
        int c = compare_ref(&l[i], &t[j]);
        if (c == 0) {
            size_t end = i;
            for (; end < nl && compare_ref(&l[end], &t[j]) == 0; end++)
                m->f->left[l[end].index].is_asked = true;
            for (; j < nt && compare_ref(&l[i], &t[j]) == 0; j++)
                m->there[t[j].index].is_asked = true;
            i = end;
            continue;
        }
        i += c < 0;
        j += c > 0;
    }
    mh_free(l);
    mh_free(t);
    return code;
}

static void keep_left(void *ctx, size_t i, const struct prints *p)
{
    struct left *l = ((struct left *const *)ctx)[i];
    if (!p->is_ok)
        return;
    l->prints = *p;
    l->has_exact = true;
}

static void keep_there(void *ctx, size_t i, const struct prints *p)
{
    ((struct there *const *)ctx)[i]->prints = *p;
}

struct asked {
    const struct mh_item **left_items, **there_items; /* owned */
    struct left **left;                               /* owned */
    struct there **there;                             /* owned */
    size_t n_left, n_there;
};

static int collect_asked(const struct search *m, bool known_too, struct asked *a,
                         struct mh_err *err)
{
    struct check_folder *f = m->f;
    a->left_items = mh_alloc(f->n_left * sizeof(struct mh_item *));
    a->left = mh_alloc(f->n_left * sizeof(struct left *));
    a->there_items = mh_alloc(m->n_there * sizeof(struct mh_item *));
    a->there = mh_alloc(m->n_there * sizeof(struct there *));
    if (!a->left_items || !a->left || !a->there_items || !a->there)
        return mh_err_nomem(err);
    for (size_t i = 0; i < f->n_left; i++) {
        struct left *l = &f->left[i];
        if (l->target || !l->is_asked || l->prints.is_ok || (l->has_exact && !known_too))
            continue;
        a->left[a->n_left] = l;
        a->left_items[a->n_left++] = left_item(m, l);
    }
    for (size_t i = 0; i < m->n_there; i++) {
        struct there *t = &m->there[i];
        if (t->is_paired || !t->is_asked || t->prints.is_ok)
            continue;
        a->there[a->n_there] = t;
        a->there_items[a->n_there++] = there_item(m, t);
    }
    return MH_OK;
}

/* Reads the asked ones of both sides. KNOWN_TOO: also those of which the state keeps the exact digest, but no other. */
static int read_asked(struct search *m, bool known_too, struct mh_err *err)
{
    enum { KINDS = PRINT_EXACT | PRINT_CANONICAL | PRINT_FINGERPRINT };
    struct asked a = {0};
    int code = collect_asked(m, known_too, &a, err);
    if (code == MH_OK) {
        struct verify_wish src = {a.left_items, a.n_left, KINDS, keep_left, a.left};
        struct verify_wish dst = {a.there_items, a.n_there, KINDS, keep_there, a.there};
        code = verify_read(m->f, &src, &dst, err);
    }
    mh_free(a.left_items);
    mh_free(a.left);
    mh_free(a.there_items);
    mh_free(a.there);
    return code;
}

/* --- in this order -------------------------------------------------------------------------------------------- */

static int search(struct search *m, struct mh_err *err)
{
    int code = ask_equals(m, LIKE_SIZE, err);
    if (code == MH_OK)
        code = ask_equals(m, LIKE_DATE, err);
    if (code == MH_OK)
        code = read_asked(m, false, err);
    if (code == MH_OK)
        code = pair_all(m, LIKE_CANONICAL, SAMPLED, err);
    if (code == MH_OK && is_open(m))
        code = pair_equals(m, LIKE_LISTING, NOT_SAMPLED, err);
    if (code != MH_OK || !is_open(m))
        return code;
    /* What of it is there by its bytes shows before all of it is read again for its other digests. */
    ask_all(m);
    code = read_asked(m, false, err);
    if (code == MH_OK)
        code = pair_all(m, LIKE_EXACT, ALL_LEFT, err);
    if (code != MH_OK || !is_open(m))
        return code;
    code = read_asked(m, true, err);
    return code == MH_OK ? pair_all(m, LIKE_NO_ID_HERE, ALL_LEFT, err) : code;
}

int verify_match(struct check_folder *f, struct mh_err *err)
{
    struct search m = {.f = f};
    if (f->n_left == 0)
        return MH_OK;
    int code = collect_there(&m, err);
    if (code == MH_OK && m.n_there > 0)
        code = search(&m, err);
    mh_free(m.there);
    return code;
}
