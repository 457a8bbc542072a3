/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What has happened in a folder at the source since the last pass.
 *
 * By the cheapest way the server has: what it says has changed since the row's MODSEQ (then the state is asked for these
 * messages alone), else the whole listing, held against the state in stretches. Out come a todo list of what is new, the
 * flag changes, and the rows of what is gone.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

enum { COMPARE_STRETCH = MH_SCAN_STRETCH }; /* messages whose rows are in memory at once */

static void compare_on_the_way(void *ctx);

/* --- opening and listing ---------------------------------------------------------------------------- */

int pass_open_source(struct pass *pass, struct lane *lane, bool *moved_out, struct mh_err *err)
{
    struct mh_opened opened;
    int code = pass->job->sc->select(lane->src, pass->entry->source, false, &opened, err);
    if (code != MH_OK) {
        mh_err_at(err, "source");
        return code;
    }
    bool is_listed = pass->is_surveyed || pass->phase == PASS_COPYING;
    *moved_out = is_listed && opened.uidvalidity != pass->src_opened.uidvalidity;
    if (!is_listed)
        pass->src_opened = opened;
    return MH_OK;
}

static bool may_ask_changes(const struct pass *pass, struct mh_session *src)
{
    const struct mh_connector *sc = pass->job->sc;
    return sc->select_changes && sc->caps(src)->condstore && pass->row_is_known &&
           pass->row.complete && pass->row.src_highestmodseq != 0 && pass->row.src_uidnext != 0;
}

/* *TOLD_OUT false: the server cannot say, and the folder is open for a whole listing. */
static int ask_changes(struct pass *pass, struct mh_session *src, struct mh_uids *gone,
                       bool *told_out, struct mh_err *err)
{
    const struct mh_state_folder *row = &pass->row;
    const struct mh_since since = {.uidvalidity = row->src_uidvalidity,
                                   .uidnext = row->src_uidnext,
                                   .messages = row->src_messages,
                                   .messages_known = true,
                                   .highestmodseq = row->src_highestmodseq};
    struct mh_changes changes = {.gone_by = MH_GONE_NONE};
    int code = pass->job->sc->select_changes(src, pass->entry->source, &since, &pass->src_opened,
                                             &changes, err);
    *told_out = code == MH_OK;
    if (code == MH_OK) {
        pass->scan = changes.scan;
        changes.scan = (struct mh_scan){.items = NULL};
        pass->is_partial = true;
        pass->n_found = pass->src_opened.messages;
        pass->gone_by = changes.gone_by;
        *gone = changes.gone_by == MH_GONE_BY_PRESENT ? changes.present : changes.gone;
        if (changes.gone_by == MH_GONE_BY_PRESENT)
            changes.present = (struct mh_uids){.n = 0};
        else
            changes.gone = (struct mh_uids){.n = 0};
    }
    mh_changes_done(&changes);
    return code == MH_ENOSUP ? MH_OK : code;
}

/* The rows that the state has of the folder are those of this listing. */
static bool may_compare(const struct pass *pass)
{
    return pass->phase == PASS_SURVEYING && pass->row_is_known &&
           pass->src_opened.uidvalidity == pass->row.src_uidvalidity;
}

static int list_all(struct pass *pass, struct mh_session *src, struct mh_err *err)
{
    int code = mh_scan_init(&pass->scan, err);
    if (code == MH_OK && may_compare(pass)) {
        const struct mh_counts *c = &pass->res->counts;
        pass->compared = (struct comparison){.adopted = c->adopted, .unchanged = c->unchanged};
        pass->scan.grown = compare_on_the_way;
        pass->scan.grown_ctx = pass;
    }
    if (code == MH_OK)
        code = pass->job->sc->scan(src, 1, &pass->scan, err);
    pass->scan.grown = NULL;
    pass->n_found = pass->scan.n;
    return code;
}

int survey_source(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool told = false;
    bool moved = false; /* not while it is listed for the first time */
    int code = around_read(pass, lane->src, &pass->around, err);
    if (code != MH_OK)
        return code;
    bool asks = may_ask_changes(pass, lane->src);
    if (asks)
        code = ask_changes(pass, lane->src, &pass->vanished, &told, err);
    else
        code = pass_open_source(pass, lane, &moved, err);
    if (code == MH_OK && !told)
        code = list_all(pass, lane->src, err);
    if (code != MH_OK)
        mh_err_at(err, "source, listing the messages");
    return code;
}

/* --- what earlier passes left out --------------------------------------------------------------------- */

static int order_skip(const void *key, const void *element)
{
    uint32_t folder = *(const uint32_t *)key;
    uint32_t other = ((const struct old_skip *)element)->folder;
    return folder < other ? -1 : folder > other;
}

/* The first of the folder's; N_OUT: how many. */
static const struct old_skip *find_left_out(const struct job *job, uint32_t folder, size_t *n_out)
{
    const struct old_skip *v = job->skips->v;
    const struct old_skip *end = v + job->skips->n;
    const struct old_skip *s =
        job->skips->n ? bsearch(&folder, v, job->skips->n, sizeof *s, order_skip) : NULL;
    *n_out = 0;
    while (s && s > v && s[-1].folder == folder)
        s--;
    while (s && s + *n_out < end && s[*n_out].folder == folder)
        ++*n_out;
    return s;
}

/* UID 0: any. */
static bool has_failed(const struct job *job, uint32_t folder, uint64_t uid)
{
    size_t n = 0;
    const struct old_skip *s = find_left_out(job, folder, &n);
    for (size_t i = 0; i < n; i++) {
        if (s[i].has_failed && (uid == 0 || s[i].uid == uid))
            return true;
    }
    return false;
}

bool has_failed_before(const struct job *job, uint32_t folder)
{
    return has_failed(job, folder, 0);
}

/* --- comparing -------------------------------------------------------------------------------------- */

static void add_todo(struct pass *pass, size_t item)
{
    pass->todo[pass->n_todo++] = (struct todo){.item = (uint32_t)item, .status = TODO_OPEN};
}

static int note_gone(struct pass *pass, const struct mh_state_item *row, struct mh_err *err)
{
    struct gone_list *l = &pass->gone;
    if (row->gone != MH_GONE_NOT)
        return MH_OK; /* known to be gone */
    if (pass->gone_is_indexed) {
        pass->flag_later =
            true; /* surveyed for the second time: the next run sees to what this one does not know of */
        return MH_OK;
    }
    if (!mh_grow(l->v, l->cap, l->n + 1))
        return mh_err_nomem(err);
    l->v[l->n++] = (struct gone){.row = *row};
    return MH_OK;
}

/* Stored by a run that broke off before it had found out where: no UIDPLUS. */
static int add_unplaced(struct pass *pass, size_t i, const struct mh_state_item *row,
                        struct mh_err *err)
{
    if (!pass->unplaced)
        pass->unplaced = mh_zalloc(pass->cap_todo * sizeof *pass->unplaced);
    if (!pass->unplaced)
        return mh_err_nomem(err);
    add_todo(pass, i);
    struct todo *t = &pass->todo[pass->n_todo - 1];
    t->status = TODO_DONE;
    t->octets = row->size;
    pass->unplaced[pass->n_todo - 1] = *row;
    return MH_OK;
}

/* A message that was carried before, or went with another folder's and has come back. */
static int known_item(struct pass *pass, size_t i, const struct mh_state_item *row,
                      struct mh_err *err)
{
    const struct mh_item *item = &pass->scan.items[i];
    bool is_elsewhere = row->gone == MH_GONE_QUARANTINED || row->gone == MH_GONE_MOVED;
    bool is_removed = row->how == MH_HOW_REMOVED && row->gone == MH_GONE_NOT;
    if (is_elsewhere || is_removed) {
        add_todo(pass, i);
        pass->todo[pass->n_todo - 1].is_orphan = is_removed;
        return MH_OK;
    }
    if (!pass->is_partial) {
        pass->res->counts.adopted++;
        pass->res->counts.unchanged++;
    }
    bool is_unplaced = row->dst_uid == 0 && row->how == MH_HOW_COPIED && row->has_digest;
    if (is_unplaced && row->gone == MH_GONE_NOT)
        return add_unplaced(pass, i, row, err);
    uint32_t kw = pass->kw_ids[item->kwset];
    if (item->flags == row->flags && kw == row->kw && row->gone == MH_GONE_NOT)
        return MH_OK;
    return flags_note(&pass->changes, row, item, kw, err);
}

/* The items [FIRST, END) and the rows of the same UIDs, both ascending, side by side. */
static int merge(struct pass *pass, size_t first, size_t end, const struct mh_state_items *rows,
                 struct mh_err *err)
{
    size_t r = 0;
    int code = MH_OK;
    for (size_t i = first; code == MH_OK && i < end; i++) {
        uint64_t uid = pass->scan.items[i].uid;
        if (pass->gone_by == MH_GONE_LISTED && mh_uids_has(&pass->vanished, uid))
            continue; /* told of, and gone in the same answer: its row, if any, is met below */
        for (; code == MH_OK && r < rows->n && rows->v[r].src_uid < uid; r++)
            code = note_gone(pass, &rows->v[r], err);
        if (code != MH_OK)
            break;
        if (r < rows->n && rows->v[r].src_uid == uid)
            code = known_item(pass, i, &rows->v[r++], err);
        else if (!pass->job->run->cfg->retry_failed || has_failed(pass->job, pass->row.id, uid))
            add_todo(pass, i);
        else
            pass->flag_later = true; /* not this run's business: a later one lists it all */
    }
    for (; code == MH_OK && r < rows->n; r++)
        code = note_gone(pass, &rows->v[r], err);
    return code;
}

static int merge_uids(struct pass *pass, size_t first, size_t end, const struct mh_uids *uids,
                      struct mh_err *err)
{
    struct mh_state_items rows = {0};
    int code = MH_OK;
    if (pass->row_is_known && uids->n > 0)
        code = job_load_items(pass->job, pass->row.id, uids, &rows, err);
    if (code == MH_OK)
        code = merge(pass, first, end, &rows, err);
    mh_state_items_done(&rows);
    return code;
}

/* Room for as many todos as there are items so far, and numbers for their keywords. */
static int make_room(struct pass *pass, struct mh_err *err)
{
    size_t cap = pass->cap_todo;
    if (!mh_grow(pass->todo, pass->cap_todo, MH_MAX(pass->scan.n, (size_t)1)))
        return mh_err_nomem(err);
    if (pass->unplaced && pass->cap_todo > cap) {
        struct mh_state_item *v =
            mh_realloc_array(pass->unplaced, pass->cap_todo, sizeof *pass->unplaced);
        if (!v)
            return mh_err_nomem(err);
        memset(v + cap, 0, (pass->cap_todo - cap) * sizeof *v);
        pass->unplaced = v;
    }
    return flags_number_keywords(pass, err);
}

/* The items up to END that were not looked at, and the rows of the same UIDs; of the last stretch all that follow. */
static int compare_stretch(struct pass *pass, size_t end, bool is_last, struct mh_err *err)
{
    struct comparison *c = &pass->compared;
    struct mh_uid_range range = {c->next_uid,
                                 is_last ? (uint64_t)INT64_MAX : pass->scan.items[end - 1].uid};
    const struct mh_uids uids = {.v = &range, .n = 1};
    int code = merge_uids(pass, c->n, end, &uids, err);
    c->n = end;
    c->next_uid = range.hi + 1;
    return code;
}

/* The server is working on the rest of the listing. Not for connectors that list in another thread. */
static void compare_on_the_way(void *ctx)
{
    struct pass *pass = ctx;
    struct mh_err err; /* it comes again when all is compared at the end */
    if (pass->compared.is_off || !mh_task_self())
        return;
    pass->compared.is_off = pass->scan.spare || make_room(pass, &err) != MH_OK ||
                            compare_stretch(pass, pass->scan.n, false, &err) != MH_OK;
}

/* As if nothing had been compared on the way. */
static void forget_comparison(struct pass *pass)
{
    struct comparison *c = &pass->compared;
    pass->n_todo = pass->changes.n = pass->gone.n = 0;
    mh_free(mh_take(pass->unplaced));
    pass->res->counts.adopted = c->adopted;
    pass->res->counts.unchanged = c->unchanged;
    *c = (struct comparison){.adopted = c->adopted, .unchanged = c->unchanged};
}

/* The listing, or what is left of it, a stretch at a time. */
static int compare_all(struct pass *pass, struct mh_err *err)
{
    struct comparison *c = &pass->compared;
    size_t n = pass->scan.n;
    size_t end = 0;
    int code = MH_OK;
    if (c->is_off || (c->n > 0 && pass->scan.was_out_of_order))
        forget_comparison(pass);
    do {
        end = MH_MIN(c->n + COMPARE_STRETCH, n);
        code = compare_stretch(pass, end, end == n, err);
    } while (code == MH_OK && end < n);
    return code;
}

/* What the state has and PRESENT has not. */
static int subtract(const struct mh_uids *known, const struct mh_uids *present, struct mh_uids *out,
                    struct mh_err *err)
{
    size_t p = 0;
    int code = MH_OK;
    for (size_t k = 0; code == MH_OK && k < known->n; k++) {
        uint64_t lo = known->v[k].lo;
        uint64_t hi = known->v[k].hi;
        while (p < present->n && present->v[p].hi < lo)
            p++;
        for (size_t q = p; code == MH_OK && lo <= hi; q++) {
            bool is_last = q == present->n || present->v[q].lo > hi;
            uint64_t stop = is_last ? hi + 1 : present->v[q].lo;
            if (stop > lo)
                code = mh_uids_add(out, lo, stop - 1, err);
            if (is_last)
                break;
            lo = present->v[q].hi + 1;
        }
    }
    return code;
}

/* PASS->vanished becomes what is gone, in whichever form the server told it. */
static int find_vanished(struct pass *pass, struct mh_err *err)
{
    struct mh_uids known = {0};
    struct mh_uids gone = {0};
    if (pass->gone_by != MH_GONE_BY_PRESENT)
        return MH_OK;
    int code = job_load_uids(pass->job, pass->row.id, true, 0, &known, err);
    /* What was left out has no row. */
    size_t n = 0;
    const struct old_skip *left_out = find_left_out(pass->job, pass->row.id, &n);
    for (size_t i = 0; code == MH_OK && i < n; i++)
        code = mh_uids_add(&known, left_out[i].uid, left_out[i].uid, err);
    mh_uids_finish(&known);
    if (code == MH_OK)
        code = subtract(&known, &pass->vanished, &gone, err);
    mh_uids_done(&known);
    mh_uids_done(&pass->vanished);
    mh_uids_finish(&gone);
    pass->vanished = gone;
    pass->gone_by = MH_GONE_LISTED;
    return code;
}

/* What has changed: the state is asked for these messages alone. */
static int compare_changes(struct pass *pass, struct mh_err *err)
{
    struct mh_uids uids = {0};
    int code = find_vanished(pass, err);
    for (size_t i = 0; code == MH_OK && i < pass->scan.n; i++)
        code = mh_uids_add(&uids, pass->scan.items[i].uid, pass->scan.items[i].uid, err);
    for (size_t i = 0; code == MH_OK && i < pass->vanished.n; i++)
        code = mh_uids_add(&uids, pass->vanished.v[i].lo, pass->vanished.v[i].hi, err);
    mh_uids_finish(&uids);
    if (code == MH_OK)
        code = merge_uids(pass, 0, pass->scan.n, &uids, err);
    mh_uids_done(&uids);
    return code;
}

/* Of a listing only what is to be carried is looked at again: the rest of a large one goes. */
static void compact(struct pass *pass)
{
    for (size_t k = 0; k < pass->n_todo; k++) {
        pass->scan.items[k] = pass->scan.items[pass->todo[k].item];
        pass->todo[k].item = (uint32_t)k;
    }
    pass->scan.n = pass->n_todo;
    mh_scan_shrink(&pass->scan);
    struct todo *todo = mh_realloc_array(pass->todo, MH_MAX(pass->n_todo, (size_t)1), sizeof *todo);
    if (todo) {
        pass->todo = todo;
        pass->cap_todo = MH_MAX(pass->n_todo, (size_t)1);
    }
}

int survey_compare(struct pass *pass, struct mh_err *err)
{
    int code = make_room(pass, err);
    if (code == MH_OK)
        code = pass->is_partial ? compare_changes(pass, err) : compare_all(pass, err);
    if (code == MH_OK)
        compact(pass);
    return code;
}

/* --- what they left out, counted ---------------------------------------------------------------------- */

uint64_t count_left_out(struct job *job, struct pass *pass)
{
    const char *path = pass->entry->source->path;
    size_t n = 0;
    uint64_t counted = 0;
    const struct old_skip *s = find_left_out(job, pass->row.id, &n);
    for (size_t i = 0; i < n; i++) {
        /* gone, or to be decided anew */
        if (s[i].has_failed || mh_uids_has(&pass->vanished, s[i].uid) ||
            mh_scan_find(&pass->scan, s[i].uid))
            continue;
        counted++;
        reasons_add(&job->res->skipped, s[i].reason, 1);
        result_item(&job->res->items, &job->res->n_items, &job->res->cap_items, path, s[i].uid,
                    "skipped", s[i].reason, s[i].text);
    }
    pass->res->counts.skipped += counted;
    if (job->mb->progress)
        atomic_fetch_add_explicit(&job->mb->progress->skipped, counted, memory_order_relaxed);
    return counted;
}

int forget_left_out(struct pass *pass, struct mh_err *err)
{
    struct job *job = pass->job;
    size_t n = 0;
    int code = MH_OK;
    const struct old_skip *s = find_left_out(job, pass->row.id, &n);
    for (size_t i = 0; code == MH_OK && i < n && !job->run->cfg->dry_run; i++) {
        if (mh_uids_has(&pass->vanished, s[i].uid))
            code = mh_state_clear_ledger_item(job->run->cfg->state, pass->row.id, s[i].uid, err);
    }
    return code;
}

/* --- before anything is carried --------------------------------------------------------------------- */

/* What the target's list says; 0: nothing. */
static uint32_t listed_uidvalidity(const struct pass *pass)
{
    const struct mh_folder *dst =
        pass->row.dst_path ? mh_folders_find(&pass->job->dst_folders, pass->row.dst_path) : NULL;
    return dst && (dst->attrs & MH_FOLDER_HAS_STATUS) ? dst->uidvalidity : 0;
}

static int order_gone(const void *key, const void *element)
{
    const uint64_t *uid = key;
    uint64_t other = ((const struct gone *)element)->row.src_uid;
    return *uid < other ? -1 : *uid > other;
}

/* Vanished, and the state knows it as carried: in the order of the listing, so ascending. */
static bool is_gone(const struct pass *pass, uint64_t uid)
{
    const struct gone_list *l = &pass->gone;
    return l->n > 0 && bsearch(&uid, l->v, l->n, sizeof *l->v, order_gone);
}

/* What was there, less what went, and what is new, is what is there: else a server has told of something that is not
 * so, and nothing is moved or put away on its word. */
static bool adds_up(const struct pass *pass)
{
    size_t n = 0;
    uint64_t there = pass->row.src_messages;
    const struct old_skip *s = find_left_out(pass->job, pass->row.id, &n);
    for (size_t i = 0; i < pass->n_todo; i++)
        there += pass->todo[i].status == TODO_OPEN && !pass->todo[i].is_orphan;
    for (size_t i = 0; i < n; i++)
        there -= mh_uids_has(&pass->vanished, s[i].uid) && !is_gone(pass, s[i].uid);
    return there - pass->gone.n == pass->n_found;
}

/* The whole listing after all. */
static int survey_anew(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    mh_log(&pass->job->log, MH_LOG_INFO,
           "folder %s: what the server says has changed does not add up",
           pass->entry->source->path);
    pass_forget(pass);
    pass->row.src_highestmodseq = 0;
    int code = survey_source(pass, lane, err);
    return code == MH_OK ? survey_compare(pass, err) : code;
}

int pass_survey(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    uint32_t listed = listed_uidvalidity(pass);
    /* A folder that is another one at the target, or none, is prepared as a whole when its turn comes. */
    if (pass->row_is_known && (listed == 0 || listed != pass->row.dst_uidvalidity))
        return MH_OK;
    int code = survey_source(pass, lane, err);
    if (code != MH_OK)
        return code;
    if (pass->row_is_known && pass->src_opened.uidvalidity != pass->row.src_uidvalidity) {
        pass_forget(pass); /* likewise at the source */
        return MH_OK;
    }
    code = survey_compare(pass, err);
    if (code == MH_OK && pass->is_partial && !adds_up(pass))
        code = survey_anew(pass, lane, err);
    pass->is_surveyed = code == MH_OK;
    return code;
}
