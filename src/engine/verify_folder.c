/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Verify, one folder: both listings, then the messages in chunks, each where the state says that it went. */
#include <stdio.h>
#include <string.h>

#include "engine/verify_priv.h"

void verify_report(struct check_folder *f, uint64_t uid, const char *state, const char *reason,
                   const char *text)
{
    result_item(&f->out->items, &f->out->n_items, &f->out->cap_items, f->entry->source->path, uid,
                state, reason, text);
}

/* --- both sides at once --------------------------------------------------------------------------------- */

struct reading {
    struct check_folder *f;
    const struct mh_folder *folder; /* NULL: digests are read */
    const struct verify_wish *wish;
    struct mh_err err;
    int code;
};

int verify_list(struct mh_session *s, const struct mh_connector *c, const struct mh_folder *folder,
                struct mh_scan *scan, uint32_t *uidvalidity_out, struct mh_err *err)
{
    struct mh_opened opened;
    int code = mh_scan_init(scan, err);
    if (code == MH_OK)
        code = c->select(s, folder, false, &opened, err);
    if (code != MH_OK)
        return code;
    *uidvalidity_out = opened.uidvalidity;
    return c->scan(s, 1, scan, err);
}

static int read_wish(struct mh_session *s, const struct mh_connector *c,
                     const struct verify_wish *w, struct mh_err *err)
{
    return prints_read(s, c, w->items, w->n, w->kinds, w->fn, w->ctx, err);
}

static void read_target(void *arg)
{
    struct reading *r = arg;
    struct check_folder *f = r->f;
    mh_err_reset(&r->err);
    if (r->folder)
        r->code = verify_list(f->check->dst, f->job->tc, r->folder, &f->dst, &f->dst_uidvalidity,
                              &r->err);
    else
        r->code = read_wish(f->check->dst, f->job->tc, r->wish, &r->err);
}

/* The target's half of R in a task of its own, the source's half here. */
static int read_both(struct reading *r, const struct verify_wish *src, struct mh_err *err)
{
    struct check_folder *f = r->f;
    struct mh_task *task = NULL;
    int code = mh_task_spawn(f->job->sched, "verify-target", read_target, r, &task, err);
    if (code != MH_OK)
        return code;
    mh_assert(r->folder || src);
    if (r->folder)
        code = verify_list(f->check->src, f->job->sc, f->entry->source, &f->src,
                           &f->src_uidvalidity, err);
    else
        code = read_wish(f->check->src, f->job->sc, src, err);
    if (code == MH_ECANCEL)
        mh_task_cancel(task);
    mh_task_join(task);
    if (code == MH_OK && r->code != MH_OK) {
        *err = r->err;
        mh_err_at(err, "target");
    }
    return code == MH_OK ? r->code : code;
}

int verify_read(struct check_folder *f, const struct verify_wish *src,
                const struct verify_wish *dst, struct mh_err *err)
{
    struct reading r = {.f = f, .wish = dst};
    if (dst->n == 0)
        return read_wish(f->check->src, f->job->sc, src, err);
    return read_both(&r, src, err);
}

/* --- one pair --------------------------------------------------------------------------------------------- */

/* The source's keywords as the target should have them. */
static void map_keywords(const struct check_folder *f, const char *source_kw, struct mh_buf *mapped)
{
    const struct mh_engine_config *cfg = f->job->run->cfg;
    if (!cfg->keywords || cfg->keywords(cfg->callback_ctx, source_kw, mapped) != MH_OK) {
        mh_buf_reset(mapped);
        mh_buf_adds(mapped, source_kw);
    }
}

bool verify_flags_differ(struct check_folder *f, const struct mh_scan *src, const struct mh_item *s,
                         const struct mh_scan *dst, const struct mh_item *t)
{
    struct mh_buf mapped = MH_BUF_INIT;
    map_keywords(f, mh_kwsets_text(src->kwsets, s->kwset), &mapped);
    bool differ = s->flags != t->flags ||
                  ((f->job->tc->flags & MH_HAS_KEYWORDS) &&
                   !mh_str_ieq(mh_buf_str(&mapped), mh_kwsets_text(dst->kwsets, t->kwset)));
    mh_buf_done(&mapped);
    return differ;
}

static void compare_flags(struct check_folder *f, const struct mh_item *s, const struct mh_item *t)
{
    struct mh_buf have = MH_BUF_INIT;
    struct mh_buf want = MH_BUF_INIT;
    struct mh_buf mapped = MH_BUF_INIT;
    if (verify_flags_differ(f, &f->src, s, &f->dst, t)) {
        const char *target_kw = mh_kwsets_text(f->dst.kwsets, t->kwset);
        map_keywords(f, mh_kwsets_text(f->src.kwsets, s->kwset), &mapped);
        mh_flags_format(s->flags, &want);
        mh_flags_format(t->flags, &have);
        mh_buf_addf(&want, "%s%s; target: %s %s", *mh_buf_str(&mapped) ? " " : "",
                    mh_buf_str(&mapped), mh_buf_str(&have), target_kw);
        f->counts.flags++;
        verify_report(f, s->uid, "flags", "differ", mh_buf_str(&want));
    }
    mh_buf_done(&mapped);
    mh_buf_done(&have);
    mh_buf_done(&want);
}

static void compare_dates(struct check_folder *f, const struct mh_item *s, const struct mh_item *t)
{
    char want[32];
    char have[32];
    char text[80];
    if (!(f->job->tc->flags & MH_HAS_DATES) || !s->date.is_set)
        return;
    if (t->date.is_set && s->date.unix_s == t->date.unix_s)
        return;
    mh_date_format_iso(&s->date, want);
    mh_date_format_iso(&t->date, have);
    (void)snprintf(text, sizeof text, "%s; target: %s", want, t->date.is_set ? have : "none");
    f->counts.dates++;
    verify_report(f, s->uid, "date", "differs", text);
}

void verify_compare_flags_and_date(struct check_folder *f, size_t s, size_t t)
{
    compare_flags(f, &f->src.items[s], &f->dst.items[t]);
    compare_dates(f, &f->src.items[s], &f->dst.items[t]);
}

static bool is_exact(const struct prints *a, const struct prints *b)
{
    return a->is_ok && b->is_ok && memcmp(&a->exact, &b->exact, sizeof a->exact) == 0;
}

static bool is_same(const struct prints *a, const struct prints *b)
{
    static const struct mh_digest none;
    return memcmp(&a->canonical, &none, sizeof none) != 0 &&
           memcmp(&a->canonical, &b->canonical, sizeof a->canonical) == 0;
}

static bool is_same_but_headers(const struct prints *a, const struct prints *b)
{
    static const struct mh_digest none;
    return memcmp(&a->fingerprint, &none, sizeof none) != 0 &&
           mh_fingerprint_compare(&a->fingerprint, &b->fingerprint) == 0 &&
           (!mh_fingerprint_has_id(&a->fingerprint) || !mh_fingerprint_has_id(&b->fingerprint) ||
            memcmp(&a->fingerprint, &b->fingerprint, sizeof a->fingerprint) == 0);
}

void verify_judge(struct check_folder *f, const struct verify_pair *p)
{
    uint64_t uid = f->src.items[p->s].uid;
    bool both = p->a.is_ok && p->b.is_ok;
    char text[96];
    (void)snprintf(text, sizeof text, "target UID %llu",
                   (unsigned long long)f->dst.items[p->t].uid);
    if (is_exact(&p->a, &p->b)) {
        f->counts.exact++;
        return;
    }
    bool headers = both && is_same_but_headers(&p->a, &p->b);
    /* What another tool has carried is known to have other headers; what we have carried is not. */
    bool adopted = !p->by_state || p->how == MH_HOW_ADOPTED_FINGERPRINT;
    if (both && is_same(&p->a, &p->b)) {
        f->counts.same++;
        verify_report(f, uid, "same", "rewritten-by-target", text);
    } else if (headers && adopted) {
        f->counts.same++;
        verify_report(f, uid, "same", "other-headers", text);
    } else {
        f->counts.differs++;
        verify_report(f, uid, "differs",
                      !both     ? "unreadable"
                      : headers ? "headers"
                                : "content",
                      text);
    }
}

/* --- a chunk ------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The sum over SUM and one message more that lies at THERE (0: nobody knows). The store's numbers have a sign. */
static uint64_t add_place(uint64_t sum, uint64_t uid, uint64_t there)
{
    return mix(sum + mix(uid) + there) >> 2;
}

/* The same choice on every machine and on every day: it goes by the message's name alone. */
static bool is_sampled(const struct check_folder *f, uint64_t uid)
{
    uint32_t ppm = f->job->run->cfg->verify.sample_ppm;
    return ppm == 0 || mix(f->seed + mix(uid)) % 1000000 < ppm;
}

/* The digest that the state keeps is of what the source has now, as far as its listing shows. */
static bool is_unchanged(const struct check_folder *f, const struct mh_state_item *row,
                         const struct mh_item *item)
{
    return !f->job->run->cfg->verify.deep && row->has_digest && row->size == item->size &&
           row->date.is_set == item->date.is_set &&
           (!item->date.is_set || row->date.unix_s == item->date.unix_s);
}

static int add_left(struct check_folder *f, size_t s, const struct mh_state_item *row,
                    struct mh_err *err)
{
    const struct mh_item *item = &f->src.items[s];
    if (!mh_grow(f->left, f->cap_left, f->n_left + 1))
        return mh_err_nomem(err);
    struct left *l = &f->left[f->n_left++];
    *l = (struct left){.item = s, .is_sampled = is_sampled(f, item->uid)};
    l->has_exact = row && is_unchanged(f, row, item);
    l->is_strict = row && row->how != MH_HOW_ADOPTED_FINGERPRINT;
    if (l->has_exact)
        l->prints.exact = row->digest;
    return MH_OK;
}

/* What the state says of the messages [at, at + n). */
static int load_chunk(struct check_folder *f, size_t at, size_t n, struct mh_state_items *rows,
                      struct mh_err *err)
{
    struct mh_uids uids = {0};
    if (!f->rows_hold || n == 0)
        return MH_OK;
    int code = mh_uids_add(&uids, f->src.items[at].uid, f->src.items[at + n - 1].uid, err);
    mh_uids_finish(&uids);
    if (code == MH_OK)
        code = job_load_items(f->job, f->row->id, &uids, rows, err);
    mh_uids_done(&uids);
    return code;
}

/* Where the messages [at, at + n) are by the state: into PAIRS; the others are left over. */
static int locate(struct check_folder *f, size_t at, size_t n, struct verify_pair *pairs,
                  size_t *n_pairs, struct mh_err *err)
{
    struct mh_state_items rows = {0};
    int code = load_chunk(f, at, n, &rows, err);
    *n_pairs = 0;
    for (size_t s = at; code == MH_OK && s < at + n; s++) {
        const struct mh_item *item = &f->src.items[s];
        const struct mh_state_item *row = mh_state_items_find(&rows, item->uid);
        const struct mh_item *there =
            row && f->places_hold && row->dst_uid ? mh_scan_find(&f->dst, row->dst_uid) : NULL;
        size_t t = there ? (size_t)(there - f->dst.items) : 0;
        bool is_there = there && !f->is_taken[t];
        f->places = add_place(f->places, item->uid, is_there ? there->uid : 0);
        if (!is_there) {
            code = add_left(f, s, row, err);
            continue;
        }
        f->is_taken[t] = true;
        struct verify_pair *p = &pairs[(*n_pairs)++];
        *p = (struct verify_pair){.s = s,
                                  .t = t,
                                  .is_sampled = is_sampled(f, item->uid),
                                  .by_state = true,
                                  .how = (enum mh_how)row->how};
        p->has_digest = is_unchanged(f, row, item);
        if (p->has_digest) {
            p->a.exact = row->digest;
            p->a.is_ok = true;
        }
    }
    mh_state_items_done(&rows);
    return code;
}

/* Of the pairs of a chunk, those whose content is to be read. */
struct reads {
    struct verify_pair *pair[VERIFY_CHUNK];
    const struct mh_item *item[VERIFY_CHUNK];
    size_t n;
};

static void keep_a(void *ctx, size_t i, const struct prints *p)
{
    ((struct reads *)ctx)->pair[i]->a = *p;
}

static void keep_b(void *ctx, size_t i, const struct prints *p)
{
    ((struct reads *)ctx)->pair[i]->b = *p;
}

static void add_read(struct reads *r, struct verify_pair *p, const struct mh_item *item)
{
    r->pair[r->n] = p;
    r->item[r->n++] = item;
}

static int read_pairs(struct check_folder *f, struct reads *a, struct reads *b, unsigned kinds,
                      struct mh_err *err)
{
    struct verify_wish src = {a->item, a->n, kinds, keep_a, a};
    struct verify_wish dst = {b->item, b->n, kinds, keep_b, b};
    return verify_read(f, &src, &dst, err);
}

/* Reads what must be read: first the plain bytes, then of those that are not equal everything. READS: two. */
static int read_chunk(struct check_folder *f, struct verify_pair *pairs, size_t n,
                      struct reads *reads, struct mh_err *err)
{
    struct reads *a = &reads[0];
    struct reads *b = &reads[1];
    a->n = b->n = 0;
    for (size_t i = 0; i < n; i++) {
        struct verify_pair *p = &pairs[i];
        if (!p->is_sampled)
            continue;
        add_read(b, p, &f->dst.items[p->t]);
        if (!p->has_digest)
            add_read(a, p, &f->src.items[p->s]);
    }
    int code = read_pairs(f, a, b, PRINT_EXACT, err);
    a->n = b->n = 0;
    for (size_t i = 0; code == MH_OK && i < n; i++) {
        struct verify_pair *p = &pairs[i];
        if (!p->is_sampled || !p->a.is_ok || !p->b.is_ok || is_exact(&p->a, &p->b))
            continue;
        add_read(a, p, &f->src.items[p->s]);
        add_read(b, p, &f->dst.items[p->t]);
    }
    if (code == MH_OK)
        code = read_pairs(f, a, b, PRINT_EXACT | PRINT_CANONICAL | PRINT_FINGERPRINT, err);
    return code;
}

static void progress_add(struct check_folder *f, uint64_t n)
{
    struct mh_progress *p = f->job->mb->progress;
    if (p)
        atomic_fetch_add_explicit(&p->adopted, n, memory_order_relaxed);
}

static void judge_chunk(struct check_folder *f, const struct verify_pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (pairs[i].is_sampled)
            verify_judge(f, &pairs[i]);
        else
            f->counts.listed++;
        verify_compare_flags_and_date(f, pairs[i].s, pairs[i].t);
    }
    progress_add(f, n);
}

/* --- the folder ------------------------------------------------------------------------------------------- */

static int take_siblings(struct check_folder *f, struct mh_err *err)
{
    struct job *job = f->job;
    int code = MH_OK;
    for (size_t i = 0; i < job->map.n && code == MH_OK; i++) {
        const struct mh_engine_map_entry *o = &job->map.v[i];
        if (o == f->entry || !o->target_path || strcmp(o->target_path, f->entry->target_path) != 0)
            continue;
        const struct mh_state_folder *row = job_row(job, o->source->path);
        struct mh_uids uids = {0};
        if (row && row->dst_uidvalidity == f->dst_uidvalidity)
            code = job_load_uids(job, row->id, false, 1, &uids, err);
        for (size_t r = 0; code == MH_OK && r < uids.n; r++)
            code = mh_uids_add(&f->siblings, uids.v[r].lo, uids.v[r].hi, err);
        mh_uids_done(&uids);
    }
    mh_uids_finish(&f->siblings);
    return code;
}

static int open_folder(struct check_folder *f, const struct mh_folder *target, struct mh_err *err)
{
    struct reading r = {.f = f, .folder = target};
    struct mh_progress *p = f->job->mb->progress;
    struct mh_digest seed;
    int code = read_both(&r, NULL, err);
    if (code != MH_OK)
        return code;
    f->row = job_row(f->job, f->entry->source->path);
    /* UIDs of another UIDVALIDITY name other messages. */
    f->rows_hold = f->row && f->row->src_uidvalidity == f->src_uidvalidity;
    f->places_hold = f->rows_hold && f->row->dst_uidvalidity == f->dst_uidvalidity;
    f->is_taken = mh_zalloc(f->dst.n * sizeof *f->is_taken);
    if (!f->is_taken)
        return mh_err_nomem(err);
    if (f->places_hold)
        code = job_load_uids(f->job, f->row->id, false, 1, &f->accounted, err);
    if (code == MH_OK)
        code = take_siblings(f, err);
    char *name = mh_asprintf("%s\n%s", f->job->mb->id, f->entry->source->path);
    if (!name)
        return mh_err_nomem(err);
    mh_digest_of(name, strlen(name), &seed);
    mh_free(name);
    memcpy(&f->seed, seed.bytes, sizeof f->seed);
    if (p)
        atomic_fetch_add_explicit(&p->found, f->src.n, memory_order_relaxed);
    return code;
}

/* Back to before the first chunk. */
static void begin_anew(struct check_folder *f)
{
    result_items_done(f->out->items + f->first_item, f->out->n_items - f->first_item);
    f->out->n_items = f->saved_items = f->first_item;
    f->counts = (struct mh_verify_counts){0};
    f->n_left = 0;
    f->places = add_place(0, f->src_uidvalidity, f->dst_uidvalidity);
    if (f->dst.n)
        memset(f->is_taken, 0, f->dst.n * sizeof *f->is_taken);
}

/* Index of the first message with a UID of at least UID. */
static size_t first_from(const struct mh_scan *scan, uint64_t uid)
{
    return mh_lower_bound(i, 0, scan->n, scan->items[i].uid < uid);
}

/* Finds again where everything was that was compared before. *AT_OUT: where to go on; 0 when the folder is not the one that
 * it was. */
static int go_on(struct check_folder *f, const struct kept_folder *kept, struct verify_pair *pairs,
                 size_t *at_out, struct mh_err *err)
{
    int code = MH_OK;
    size_t end = first_from(&f->src, kept->next_uid);
    size_t located = 0;
    for (size_t at = 0; code == MH_OK && at < end; at += VERIFY_CHUNK) {
        size_t n = 0;
        code = locate(f, at, MH_MIN(end - at, (size_t)VERIFY_CHUNK), pairs, &n, err);
        located += n;
    }
    if (code != MH_OK)
        return code;
    uint64_t places = f->places;
    verify_restore(f, kept);
    bool fits = f->places == places &&
                located == f->counts.exact + f->counts.same + f->counts.differs + f->counts.listed;
    *at_out = fits ? end : 0;
    if (!fits)
        begin_anew(f);
    else
        progress_add(f, located);
    return MH_OK;
}

static int compare_chunks(struct check_folder *f, const struct kept_folder *kept,
                          struct mh_err *err)
{
    struct verify_pair *pairs = mh_alloc(VERIFY_CHUNK * sizeof *pairs);
    struct reads *reads = mh_alloc(2 * sizeof *reads);
    size_t at = 0;
    int code = pairs && reads ? MH_OK : mh_err_nomem(err);
    begin_anew(f);
    if (code == MH_OK && kept)
        code = go_on(f, kept, pairs, &at, err);
    while (code == MH_OK && at < f->src.n) {
        size_t n = MH_MIN(f->src.n - at, (size_t)VERIFY_CHUNK);
        size_t n_pairs = 0;
        if (run_is_stopping(f->job->run)) {
            code = mh_err_set(err, MH_ECANCEL, "engine", "stopped");
            break;
        }
        code = locate(f, at, n, pairs, &n_pairs, err);
        if (code == MH_OK)
            code = read_chunk(f, pairs, n_pairs, reads, err);
        if (code != MH_OK)
            break;
        judge_chunk(f, pairs, n_pairs);
        at += n;
        code = verify_save(f, f->src.items[at - 1].uid + 1, err);
    }
    mh_free(pairs);
    mh_free(reads);
    return code;
}

static void compare_left(struct check_folder *f)
{
    for (size_t i = 0; i < f->n_left; i++) {
        if (f->left[i].target)
            verify_compare_flags_and_date(f, f->left[i].item, f->left[i].target - 1);
    }
}

/* Those that nobody was found for where the state says. */
static void judge_left(struct check_folder *f, const struct again *a)
{
    for (size_t i = 0; i < f->n_left; i++) {
        const struct left *l = &f->left[i];
        uint64_t uid = f->src.items[l->item].uid;
        if (l->target)
            continue;
        const char *why = verify_left_out(f->check, f->rows_hold ? f->row : NULL, uid);
        const char *later = verify_again_left(f, a, uid);
        if (why) {
            f->counts.skipped++;
            verify_report(f, uid, "skipped", why, "left out by the run, see its ledger");
        } else if (later) {
            f->counts.later++;
            f->counts.pending += strcmp(later, VERIFY_NOT_YET) == 0;
            verify_report(f, uid, "later", later, "a run is at work: left to the next verify");
        } else {
            f->counts.missing++;
            verify_report(f, uid, "missing", "not-at-target", f->entry->target_path);
        }
    }
    progress_add(f, f->n_left);
}

/* True when another entry of the mapping leads into the same target folder: then what is extra for one may
 * belong to the other. */
static bool is_shared_target(const struct job *job, const struct mh_engine_map_entry *e)
{
    for (size_t i = 0; i < job->map.n; i++) {
        const struct mh_engine_map_entry *o = &job->map.v[i];
        if (o != e && o->target_path && strcmp(o->target_path, e->target_path) == 0)
            return true;
    }
    return false;
}

/* Target messages that belong to no source message. Those that were carried and are gone at the source stay
 * by policy and are no surprise. */
static void report_extra(struct check_folder *f, const struct again *a)
{
    for (size_t t = 0; t < f->dst.n; t++) {
        uint64_t uid = f->dst.items[t].uid;
        bool is_settled = true;
        if (f->is_taken[t] || mh_uids_has(&f->accounted, uid) ||
            !verify_again_extra(f, a, uid, &is_settled))
            continue;
        if (is_settled) {
            f->counts.extra++;
            verify_report(f, uid, "extra", "only-at-target", f->entry->target_path);
        } else {
            f->counts.unsettled++;
            verify_report(f, uid, "unsettled", "not-accounted-yet", f->entry->target_path);
        }
    }
}

int verify_folder(struct check_folder *f, const struct mh_folder *target,
                  const struct kept_folder *kept, struct mh_err *err)
{
    struct again again = {0};
    f->run_was_on = verify_run_is_on(f->check);
    int code = open_folder(f, target, err);
    if (code == MH_OK)
        code = compare_chunks(f, kept, err);
    if (code == MH_OK)
        code = verify_match(f, err);
    if (code != MH_OK)
        return code;
    compare_left(f);
    code = verify_again(f, target, &again, err);
    if (code == MH_OK)
        judge_left(f, &again);
    if (code == MH_OK && !is_shared_target(f->job, f->entry))
        report_extra(f, &again);
    verify_again_done(&again);
    return code;
}

void verify_folder_done(struct check_folder *f)
{
    mh_scan_done(&f->src);
    mh_scan_done(&f->dst);
    mh_free(f->is_taken);
    mh_free(f->left);
    mh_uids_done(&f->accounted);
    mh_uids_done(&f->siblings);
}
