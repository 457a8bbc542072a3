/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify: compares source and target by content, folder by folder.
 *
 * Every source message is looked for at the target: first where the state says it went, then by digest
 * among those that nobody claims. Digests of both sides are taken from what the servers send now, so that
 * nothing is believed that was written down earlier.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

enum { VERIFY_CHUNK = 512 };

struct side {
    struct mh_scan scan;
    struct content *contents; /* owned: by item */
    bool *is_taken;           /* owned: target only */
    uint32_t uidvalidity;
};

struct check_folder {
    struct job *job;
    struct mh_verify_mailbox *out;
    const struct mh_engine_map_entry *entry;
    struct side src, dst;
    struct mh_state_items known;
    size_t *match; /* owned: source item -> target item + 1; 0 = none */
};

static void report(struct check_folder *f, uint64_t uid, const char *state, const char *reason,
                   const char *text)
{
    result_item(&f->out->items, &f->out->n_items, &f->out->cap_items, f->entry->source->path, uid,
                state, reason, text);
}

/* --- reading both sides ------------------------------------------------------------------------------ */

static int read_contents(struct mh_session *s, const struct mh_connector *c, struct side *side,
                         struct mh_err *err)
{
    const struct mh_item *items[VERIFY_CHUNK];
    side->contents = mh_zalloc(side->scan.n * sizeof *side->contents);
    side->is_taken = mh_zalloc(side->scan.n * sizeof *side->is_taken);
    if (!side->contents || !side->is_taken)
        return mh_err_nomem(err);
    for (size_t at = 0; at < side->scan.n; at += VERIFY_CHUNK) {
        size_t n = MH_MIN(side->scan.n - at, (size_t)VERIFY_CHUNK);
        for (size_t i = 0; i < n; i++)
            items[i] = &side->scan.items[at + i];
        int code = match_digests(s, c, items, n, side->contents + at, err);
        if (code != MH_OK)
            return code;
    }
    return MH_OK;
}

static int read_side(struct mh_session *s, const struct mh_connector *c,
                     const struct mh_folder *folder, struct side *side, struct mh_err *err)
{
    struct mh_opened opened;
    int code = mh_scan_init(&side->scan, err);
    if (code == MH_OK)
        code = c->select(s, folder, false, &opened, err);
    if (code == MH_OK) {
        side->uidvalidity = opened.uidvalidity;
        code = c->scan(s, 1, &side->scan, err);
    }
    return code == MH_OK ? read_contents(s, c, side, err) : code;
}

struct reading {
    struct mh_session *s;
    const struct mh_connector *c;
    const struct mh_folder *folder;
    struct side *side;
    struct mh_err err;
    int code;
};

static void read_task(void *arg)
{
    struct reading *r = arg;
    mh_err_reset(&r->err);
    r->code = read_side(r->s, r->c, r->folder, r->side, &r->err);
}

static int read_both(struct check_folder *f, struct mh_session *src, struct mh_session *dst,
                     const struct mh_folder *target, struct mh_err *err)
{
    struct reading r = {.s = dst, .c = f->job->tc, .folder = target, .side = &f->dst};
    struct mh_task *task = NULL;
    int code = mh_task_spawn(f->job->sched, "verify-target", read_task, &r, &task, err);
    if (code != MH_OK)
        return code;
    code = read_side(src, f->job->sc, f->entry->source, &f->src, err);
    mh_task_join(task);
    if (code == MH_OK && r.code != MH_OK)
        *err = r.err;
    return code == MH_OK ? r.code : code;
}

/* --- matching ------------------------------------------------------------------------------------------- */

static bool is_exact(const struct content *a, const struct content *b)
{
    return a->is_ok && b->is_ok && memcmp(&a->exact, &b->exact, sizeof a->exact) == 0;
}

static bool is_same(const struct content *a, const struct content *b)
{
    return a->is_ok && b->is_ok && memcmp(&a->canonical, &b->canonical, sizeof a->canonical) == 0;
}

static void take(struct check_folder *f, size_t source, size_t target)
{
    f->match[source] = target + 1;
    f->dst.is_taken[target] = true;
}

static void match_by_state(struct check_folder *f)
{
    for (size_t i = 0; i < f->src.scan.n; i++) {
        const struct mh_state_item *row = mh_state_items_find(&f->known, f->src.scan.items[i].uid);
        const struct mh_item *there =
            row && row->dst_uid ? mh_scan_find(&f->dst.scan, row->dst_uid) : NULL;
        if (there && !f->dst.is_taken[there - f->dst.scan.items])
            take(f, i, (size_t)(there - f->dst.scan.items));
    }
}

/* How much must agree. Twins go by date and flags first: which is which shows in these only. */
enum likeness { LIKE_TWINS, LIKE_EXACT, LIKE_CANONICAL };

struct digest_ref {
    const struct mh_digest *digest;
    int64_t date; /* 0 unless LIKE_TWINS; flags likewise */
    uint8_t flags;
    size_t index;
};

static int compare_ref(const struct digest_ref *x, const struct digest_ref *y)
{
    int c = memcmp(x->digest, y->digest, sizeof *x->digest);
    if (c == 0)
        c = x->date < y->date ? -1 : x->date > y->date;
    return c != 0 ? c : (int)x->flags - (int)y->flags;
}

static int order_ref(const void *a, const void *b)
{
    const struct digest_ref *x = a;
    const struct digest_ref *y = b;
    int c = compare_ref(x, y);
    if (c != 0)
        return c;
    return x->index < y->index ? -1 : x->index > y->index;
}

static size_t list_open(const struct side *side, const size_t *match, enum likeness like,
                        struct digest_ref *out)
{
    size_t n = 0;
    for (size_t i = 0; i < side->scan.n; i++) {
        bool open = match ? match[i] == 0 : !side->is_taken[i];
        if (!open || !side->contents[i].is_ok)
            continue;
        const struct mh_item *item = &side->scan.items[i];
        const struct content *c = &side->contents[i];
        out[n++] = (struct digest_ref){
            .digest = like == LIKE_CANONICAL ? &c->canonical : &c->exact,
            .date = like == LIKE_TWINS && item->date.is_set ? item->date.unix_s : 0,
            .flags = like == LIKE_TWINS ? item->flags : 0,
            .index = i};
    }
    qsort(out, n, sizeof *out, order_ref);
    return n;
}

static int match_by_digest(struct check_folder *f, enum likeness like, struct mh_err *err)
{
    struct digest_ref *s = mh_alloc(f->src.scan.n * sizeof *s);
    struct digest_ref *t = mh_alloc(f->dst.scan.n * sizeof *t);
    if (!s || !t) {
        mh_free(s);
        mh_free(t);
        return mh_err_nomem(err);
    }
    size_t ns = list_open(&f->src, f->match, like, s);
    size_t nt = list_open(&f->dst, NULL, like, t);
    for (size_t i = 0, j = 0; i < ns && j < nt;) {
        int c = compare_ref(&s[i], &t[j]);
        if (c == 0)
            take(f, s[i].index, t[j].index);
        i += c <= 0;
        j += c >= 0;
    }
    mh_free(s);
    mh_free(t);
    return MH_OK;
}

/* --- comparing ----------------------------------------------------------------------------------------------- */

static void compare_flags(struct check_folder *f, const struct mh_item *s, const struct mh_item *t)
{
    struct mh_buf have = MH_BUF_INIT;
    struct mh_buf want = MH_BUF_INIT;
    struct mh_engine_config *cfg = f->job->run->cfg;
    const char *source_kw = mh_kwsets_text(f->src.scan.kwsets, s->kwset);
    const char *target_kw = mh_kwsets_text(f->dst.scan.kwsets, t->kwset);
    struct mh_buf mapped = MH_BUF_INIT;
    if (!cfg->keywords || cfg->keywords(cfg->callback_ctx, source_kw, &mapped) != MH_OK) {
        mh_buf_reset(&mapped);
        mh_buf_adds(&mapped, source_kw);
    }
    bool keywords_differ =
        (f->job->tc->flags & MH_HAS_KEYWORDS) && !mh_str_ieq(mh_buf_str(&mapped), target_kw);
    if (s->flags != t->flags || keywords_differ) {
        mh_flags_format(s->flags, &want);
        mh_flags_format(t->flags, &have);
        mh_buf_addf(&want, "%s%s; target: %s %s", *mh_buf_str(&mapped) ? " " : "",
                    mh_buf_str(&mapped), mh_buf_str(&have), target_kw);
        f->out->counts.flags++;
        report(f, s->uid, "flags", "differ", mh_buf_str(&want));
    }
    mh_buf_done(&mapped);
    mh_buf_done(&have);
    mh_buf_done(&want);
}

static void compare_dates(struct check_folder *f, const struct mh_item *s, const struct mh_item *t)
{
    if (!(f->job->tc->flags & MH_HAS_DATES) || !s->date.is_set)
        return;
    bool same = t->date.is_set && s->date.unix_s == t->date.unix_s;
    if (same)
        return;
    char want[32];
    char have[32];
    char text[80];
    mh_date_format_iso(&s->date, want);
    mh_date_format_iso(&t->date, have);
    (void)snprintf(text, sizeof text, "%s; target: %s", want, t->date.is_set ? have : "none");
    f->out->counts.dates++;
    report(f, s->uid, "date", "differs", text);
}

static void compare_pair(struct check_folder *f, size_t i, size_t j)
{
    const struct mh_item *s = &f->src.scan.items[i];
    const struct mh_item *t = &f->dst.scan.items[j];
    const struct content *a = &f->src.contents[i];
    const struct content *b = &f->dst.contents[j];
    char text[96];
    (void)snprintf(text, sizeof text, "target UID %llu", (unsigned long long)t->uid);
    if (is_exact(a, b)) {
        f->out->counts.exact++;
    } else if (is_same(a, b)) {
        f->out->counts.same++;
        report(f, s->uid, "same", "rewritten-by-target", text);
    } else {
        f->out->counts.differs++;
        report(f, s->uid, "differs", a->is_ok && b->is_ok ? "content" : "unreadable", text);
    }
    compare_flags(f, s, t);
    compare_dates(f, s, t);
}

static void compare_all(struct check_folder *f)
{
    for (size_t i = 0; i < f->src.scan.n; i++) {
        if (f->match[i]) {
            compare_pair(f, i, f->match[i] - 1);
            continue;
        }
        f->out->counts.missing++;
        report(f, f->src.scan.items[i].uid, "missing", "not-at-target", f->entry->target_path);
    }
}

/* Target messages that belong to no source message. Those that were carried and are gone at the source stay
 * by policy and are no surprise. */
static void report_extra(struct check_folder *f)
{
    for (size_t r = 0; r < f->known.n; r++) {
        const struct mh_state_item *row = &f->known.v[r];
        if (row->dst_uid == 0 || mh_scan_find(&f->src.scan, row->src_uid))
            continue;
        const struct mh_item *t = mh_scan_find(&f->dst.scan, row->dst_uid);
        if (t)
            f->dst.is_taken[t - f->dst.scan.items] = true;
    }
    for (size_t j = 0; j < f->dst.scan.n; j++) {
        if (f->dst.is_taken[j])
            continue;
        f->out->counts.extra++;
        report(f, f->dst.scan.items[j].uid, "extra", "only-at-target", f->entry->target_path);
    }
}

static void folder_done(struct check_folder *f)
{
    mh_scan_done(&f->src.scan);
    mh_scan_done(&f->dst.scan);
    mh_free(f->src.contents);
    mh_free(f->dst.contents);
    mh_free(f->src.is_taken);
    mh_free(f->dst.is_taken);
    mh_free(f->match);
    mh_state_items_done(&f->known);
}

/* --- folders ----------------------------------------------------------------------------------------------------- */

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

/* What the state says was carried here from another source folder does not serve this one's twins. */
static int take_siblings(struct check_folder *f, struct mh_err *err)
{
    struct job *job = f->job;
    int code = MH_OK;
    for (size_t i = 0; i < job->map.n && code == MH_OK; i++) {
        const struct mh_engine_map_entry *o = &job->map.v[i];
        if (o == f->entry || !o->target_path || strcmp(o->target_path, f->entry->target_path) != 0)
            continue;
        const struct mh_state_folder *row = job_row(job, o->source->path);
        if (!row || row->dst_uidvalidity != f->dst.uidvalidity)
            continue;
        struct mh_state_items rows = {0};
        code = job_load_items(job, row->id, &rows, err);
        for (size_t r = 0; code == MH_OK && r < rows.n; r++) {
            const struct mh_item *t =
                rows.v[r].dst_uid ? mh_scan_find(&f->dst.scan, rows.v[r].dst_uid) : NULL;
            if (t)
                f->dst.is_taken[t - f->dst.scan.items] = true;
        }
        mh_state_items_done(&rows);
    }
    return code;
}

static int verify_folder(struct check_folder *f, struct mh_session *src, struct mh_session *dst,
                         struct mh_err *err)
{
    struct job *job = f->job;
    const struct mh_state_folder *row = job_row(job, f->entry->source->path);
    const struct mh_folder *target = mh_folders_find(&job->dst_folders, f->entry->target_path);
    if (row && row->dst_path && (!target || strcmp(row->dst_path, target->path) != 0)) {
        const struct mh_folder *by_row = mh_folders_find(&job->dst_folders, row->dst_path);
        target = by_row ? by_row : target;
    }
    if (!target) {
        f->out->counts.missing += f->entry->source->messages;
        report(f, 0, "folder", "missing-at-target", f->entry->target_path);
        return MH_OK;
    }
    int code = read_both(f, src, dst, target, err);
    /* UIDs of another UIDVALIDITY name other messages. */
    if (code == MH_OK && row && row->src_uidvalidity == f->src.uidvalidity &&
        row->dst_uidvalidity == f->dst.uidvalidity)
        code = job_load_items(job, row->id, &f->known, err);
    if (code == MH_OK)
        code = take_siblings(f, err);
    f->match = code == MH_OK ? mh_zalloc(f->src.scan.n * sizeof *f->match) : NULL;
    if (code == MH_OK && !f->match)
        code = mh_err_nomem(err);
    if (code != MH_OK)
        return code;
    match_by_state(f);
    for (enum likeness like = LIKE_TWINS; code == MH_OK && like <= LIKE_CANONICAL; like++)
        code = match_by_digest(f, like, err);
    if (code != MH_OK)
        return code;
    compare_all(f);
    if (!is_shared_target(job, f->entry))
        report_extra(f);
    return MH_OK;
}

static int load_rows(struct job *job, struct mh_err *err)
{
    char *src = mh_endpoint_format(job->mb->source);
    char *dst = mh_endpoint_format(job->mb->target);
    struct mh_state *st = job->run->cfg->state;
    int code = src && dst ? MH_OK : mh_err_nomem(err);
    if (code == MH_OK && st) {
        code = mh_state_mailbox(st, job->mb->id, src, dst, &job->state_id, err);
        if (code == MH_OK)
            code = mh_state_folders(st, job->state_id, &job->rows, err);
        if (code == MH_ENOENT)
            code = MH_OK; /* without a state everything is matched by digest */
    }
    mh_free(src);
    mh_free(dst);
    return code;
}

static int verify_mailbox(struct job *job, struct mh_verify_mailbox *out, struct mh_session *src,
                          struct mh_session *dst, struct mh_err *err)
{
    int code = load_rows(job, err);
    mh_err_reset(err);
    if (code == MH_OK)
        code = job_map(job, src, dst, true, NULL, err);
    if (code != MH_OK)
        return code;
    struct mh_progress *p = job->mb->progress;
    for (size_t i = 0; i < job->map.n && code == MH_OK; i++) {
        const struct mh_engine_map_entry *e = &job->map.v[i];
        if (e->source->attrs & MH_FOLDER_NOSELECT || !e->target_path)
            continue;
        if (run_is_stopping(job->run))
            return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
        struct check_folder f = {.job = job, .out = out, .entry = e};
        code = verify_folder(&f, src, dst, err);
        if (code == MH_EFOLDER || code == MH_ENOENT) {
            /* One that cannot be opened is named; the others are compared all the same. */
            char line[512];
            report(&f, 0, "folder", "unreadable", mh_err_line(err, line, sizeof line));
            out->counts.missing += MH_MAX(e->source->messages, (uint64_t)1);
            mh_err_reset(err);
            code = MH_OK;
        }
        if (code != MH_OK)
            mh_err_at(err, "folder %s", e->source->path);
        if (p) {
            atomic_fetch_add_explicit(&p->found, f.src.scan.n, memory_order_relaxed);
            atomic_fetch_add_explicit(&p->folders_done, 1, memory_order_relaxed);
        }
        folder_done(&f);
    }
    return code;
}

static void verify_job(struct job *job)
{
    struct mh_verify_mailbox *out = job->res_other;
    struct mh_session *src = NULL;
    struct mh_session *dst = NULL;
    struct mh_err err;
    out->mailbox = job->mb;
    mh_err_reset(&out->err);
    mh_err_reset(&err);
    int code = budget_acquire(&job->run->budgets, job->src_server, job->dst_server, &err);
    if (code != MH_OK) {
        out->err = err;
        return;
    }
    job_phase(job, MH_PHASE_CONNECTING);
    code = job_open_both(job, true, &src, &dst, &err);
    if (code == MH_OK) {
        job_phase(job, MH_PHASE_MOVING);
        code = verify_mailbox(job, out, src, dst, &err);
        job->sc->close(src);
        job->tc->close(dst);
    }
    if (code != MH_OK)
        out->err = err;
    job_phase(job, code == MH_OK ? MH_PHASE_DONE : MH_PHASE_FAILED);
    budget_release(&job->run->budgets, job->src_server, job->dst_server);
}

int mh_engine_verify(struct mh_engine_config *cfg, struct mh_verify_result *out, struct mh_err *err)
{
    int64_t start = mh_clock_mono_ms();
    *out = (struct mh_verify_result){0};
    out->mailboxes = mh_zalloc(cfg->n_mailboxes * sizeof *out->mailboxes);
    if (!out->mailboxes)
        return mh_err_nomem(err);
    out->n_mailboxes = cfg->n_mailboxes;
    int code = run_jobs(cfg, verify_job, out->mailboxes, sizeof *out->mailboxes, err);
    for (size_t i = 0; i < out->n_mailboxes; i++) {
        const struct mh_verify_counts *c = &out->mailboxes[i].counts;
        out->counts.exact += c->exact;
        out->counts.same += c->same;
        out->counts.differs += c->differs;
        out->counts.missing += c->missing;
        out->counts.extra += c->extra;
        out->counts.flags += c->flags;
        out->counts.dates += c->dates;
    }
    out->elapsed_ms = mh_clock_mono_ms() - start;
    return code;
}
