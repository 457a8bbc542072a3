/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify, what the state keeps for it: which messages the runs left out, and how far a verify had come that was broken
 * off. Rows of another mode are not gone on with. Those from before another run of the mailbox only where that has changed
 * nothing: the folder's row is as it was, and nothing was found in it that a run could have mended. So a verify that is broken
 * off beside a service, which makes one run behind the other, loses the folders that were busy and no others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/verify_priv.h"

/* The order of mh_verify_row.counts. While the folder is not done nothing is missing, left out or extra yet: their place holds
 * where everything was found (KEPT_PLACES). What a second look counts is in the upper halves of others: "later" with
 * missing, "pending" with extra, "unsettled" with flags. */
enum {
    KEPT_EXACT,
    KEPT_SAME,
    KEPT_DIFFERS,
    KEPT_MISSING,
    KEPT_EXTRA,
    KEPT_FLAGS,
    KEPT_DATES,
    KEPT_SKIPPED
};
#define KEPT_PLACES KEPT_MISSING

static const char *const states[] = {"differs", "missing", "extra",  "same",  "skipped",
                                     "flags",   "date",    "folder", "later", "unsettled"};

/* The static text of a state's name; NULL: none of ours. */
static const char *state_text(const char *name)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(states); i++) {
        if (strcmp(states[i], name) == 0)
            return states[i];
    }
    return NULL;
}

/* --- loading --------------------------------------------------------------------------------------------- */

struct loading {
    struct check *c;
    char run[80];  /* the mailbox's newest one, by its times and numbers */
    bool is_taken; /* the rows that come now are gone on with */
    struct mh_err err;
    int code;
};

static int on_run(void *ctx, const char *mailbox_id, const struct mh_run_row *row)
{
    struct loading *l = ctx;
    if (strcmp(mailbox_id, l->c->job->mb->id) != 0)
        return 0;
    (void)snprintf(l->run, sizeof l->run, "%" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%" PRIx64,
                   (uint64_t)row->started_wall_s, (uint64_t)row->ended_wall_s, row->copied,
                   row->updated);
    return 1;
}

static int on_ledger(void *ctx, const char *src_path, const struct mh_ledger_row *row)
{
    struct loading *l = ctx;
    struct check *c = l->c;
    (void)src_path;
    if (strcmp(row->state, "skipped") != 0)
        return 0;
    if (!mh_grow(c->left_out, c->cap_left_out, c->n_left_out + 1)) {
        l->code = mh_err_nomem(&l->err);
        return 1;
    }
    struct left_out *o = &c->left_out[c->n_left_out++];
    *o = (struct left_out){.folder = row->folder, .uid = row->src_uid};
    (void)snprintf(o->reason, sizeof o->reason, "%s", row->reason);
    return 0;
}

static uint64_t low(uint64_t n)
{
    return n & UINT32_MAX;
}

static uint64_t high(uint64_t n)
{
    return n >> 32;
}

/* Nothing was found that a run could have mended since. */
static bool is_clean(const struct mh_verify_row *row)
{
    const uint64_t *n = row->counts;
    bool is_done = row->next_uid == UINT64_MAX;
    return n[KEPT_DIFFERS] + n[KEPT_EXTRA] + n[KEPT_FLAGS] + n[KEPT_DATES] == 0 &&
           !(is_done && n[KEPT_MISSING]) && high(n[KEPT_SKIPPED]) == 0;
}

static bool can_go_on(const struct check *c, const struct mh_verify_row *row)
{
    char mode[VERIFY_MODE_BYTES];
    verify_mode(c, job_row(c->job, row->src_path), mode);
    if (strcmp(row->mode, mode) == 0)
        return true;
    /* "<how> row=<…> run=<…>": all but the last part */
    const char *run = strstr(mode, " run=");
    return run && strncmp(row->mode, mode, (size_t)(run - mode) + 1) == 0 && is_clean(row);
}

static int on_kept(void *ctx, const struct mh_verify_row *row)
{
    struct loading *l = ctx;
    struct check *c = l->c;
    l->is_taken = can_go_on(c, row);
    if (!l->is_taken)
        return 0;
    char *path = mh_strdup(row->src_path);
    if (!path || !mh_grow(c->kept, c->cap_kept, c->n_kept + 1)) {
        mh_free(path);
        l->code = mh_err_nomem(&l->err);
        return 1;
    }
    struct kept_folder *k = &c->kept[c->n_kept++];
    *k = (struct kept_folder){.path = path, .next_uid = row->next_uid};
    (void)snprintf(k->mode, sizeof k->mode, "%s", row->mode);
    memcpy(k->counts, row->counts, sizeof k->counts);
    return 0;
}

static int on_kept_item(void *ctx, const char *src_path, const struct mh_verify_item *item)
{
    struct loading *l = ctx;
    const char *state = state_text(item->state);
    if (!l->is_taken || !state)
        return 0;
    struct kept_folder *k = &l->c->kept[l->c->n_kept - 1];
    result_item(&k->items, &k->n_items, &k->cap_items, src_path, item->uid, state, item->reason,
                item->text);
    return 0;
}

static int order_left_out(const void *a, const void *b)
{
    const struct left_out *x = a;
    const struct left_out *y = b;
    if (x->folder != y->folder)
        return x->folder < y->folder ? -1 : 1;
    return (x->uid > y->uid) - (x->uid < y->uid);
}

static int order_kept(const void *a, const void *b)
{
    return strcmp(((const struct kept_folder *)a)->path, ((const struct kept_folder *)b)->path);
}

static void load(void *arg)
{
    struct loading *l = arg;
    struct check *c = l->c;
    const struct mh_verify_options *o = &c->job->run->cfg->verify;
    struct mh_state *st = c->job->run->cfg->state;
    int code = mh_state_runs(st, on_run, l, &l->err);
    (void)snprintf(c->run, sizeof c->run, "%s", l->run);
    (void)snprintf(c->how, sizeof c->how, "%s ppm=%" PRIu32, o->deep ? "deep" : "stored",
                   o->sample_ppm);
    if (code == MH_OK && l->code == MH_OK)
        code = mh_state_ledger(st, c->job->state_id, on_ledger, l, &l->err);
    if (code == MH_OK && l->code == MH_OK && c->can_store && !o->fresh)
        code = mh_state_verify(st, c->job->state_id, on_kept, on_kept_item, l, &l->err);
    if (code != MH_OK && l->code == MH_OK)
        l->code = code;
    if (c->n_left_out > 1)
        qsort(c->left_out, c->n_left_out, sizeof *c->left_out, order_left_out);
    if (c->n_kept > 1)
        qsort(c->kept, c->n_kept, sizeof *c->kept, order_kept);
}

void verify_mode(const struct check *c, const struct mh_state_folder *row,
                 char out[VERIFY_MODE_BYTES])
{
    char text[256] = "";
    char hex[65];
    struct mh_digest digest;
    if (row)
        (void)snprintf(text, sizeof text,
                       "%" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64
                       " %" PRIu64 " %d %.80s",
                       row->id, row->src_uidvalidity, row->dst_uidvalidity, row->src_uidnext,
                       row->src_messages, row->src_highestmodseq, row->target_uidnext,
                       row->complete, row->dst_path ? row->dst_path : "");
    mh_digest_of(text, strlen(text), &digest);
    mh_digest_hex(&digest, hex);
    (void)snprintf(out, VERIFY_MODE_BYTES, "%s row=%.16s run=%s", c->how, hex, c->run);
}

static void load_run(void *arg)
{
    struct loading *l = arg;
    l->code = mh_state_runs(l->c->job->run->cfg->state, on_run, l, &l->err);
}

int verify_run_has_worked(struct check *c, bool *has_out, struct mh_err *err)
{
    struct loading l = {.c = c, .run = "none"};
    *has_out = false;
    if (c->job->state_id == 0)
        return MH_OK;
    mh_err_reset(&l.err);
    mh_offload(load_run, &l);
    if (l.code != MH_OK)
        *err = l.err;
    *has_out = l.code == MH_OK && strcmp(l.run, c->run) != 0;
    return l.code;
}

int verify_load(struct check *c, struct mh_err *err)
{
    struct loading l = {.c = c, .run = "none"};
    mh_err_reset(&l.err);
    mh_offload(load, &l);
    if (l.code != MH_OK)
        *err = l.err;
    else if (c->can_store && c->n_kept == 0)
        return verify_forget(c, err);
    return l.code;
}

const char *verify_left_out(const struct check *c, const struct mh_state_folder *row, uint64_t uid)
{
    struct left_out key = {.folder = row ? row->id : 0, .uid = uid};
    const struct left_out *o =
        row && c->n_left_out ? bsearch(&key, c->left_out, c->n_left_out, sizeof key, order_left_out)
                             : NULL;
    return o ? o->reason : NULL;
}

const struct kept_folder *verify_kept(const struct check *c, const char *path)
{
    struct kept_folder key = {.path = (char *)(uintptr_t)path};
    return c->n_kept ? bsearch(&key, c->kept, c->n_kept, sizeof key, order_kept) : NULL;
}

void verify_restore(struct check_folder *f, const struct kept_folder *kept)
{
    const uint64_t *n = kept->counts;
    bool is_done = kept->next_uid == UINT64_MAX;
    f->counts = (struct mh_verify_counts){.exact = n[KEPT_EXACT],
                                          .same = n[KEPT_SAME],
                                          .differs = n[KEPT_DIFFERS],
                                          .missing = is_done ? low(n[KEPT_MISSING]) : 0,
                                          .later = is_done ? high(n[KEPT_MISSING]) : 0,
                                          .extra = low(n[KEPT_EXTRA]),
                                          .pending = high(n[KEPT_EXTRA]),
                                          .flags = low(n[KEPT_FLAGS]),
                                          .unsettled = high(n[KEPT_FLAGS]),
                                          .dates = n[KEPT_DATES],
                                          .skipped = high(n[KEPT_SKIPPED]),
                                          .listed = low(n[KEPT_SKIPPED])};
    if (!is_done)
        f->places = n[KEPT_PLACES];
    for (size_t i = 0; i < kept->n_items; i++)
        verify_report(f, kept->items[i].uid, kept->items[i].state, kept->items[i].reason,
                      kept->items[i].text);
    /* Rows of another mode are not added to, they are written anew. */
    f->saved_items = strcmp(kept->mode, f->mode) == 0 ? f->out->n_items : f->first_item;
}

/* --- keeping --------------------------------------------------------------------------------------------- */

/* What was kept of the folder is forgotten: the next save has all of it. */
static int begin_saving_anew(struct check_folder *f, struct mh_err *err)
{
    struct mh_verify_row none = {.mailbox = f->job->state_id,
                                 .src_path = f->entry->source->path,
                                 .mode = f->mode,
                                 .next_uid = 0};
    f->saved_items = f->first_item;
    f->must_save_anew = false;
    return mh_state_put_verify(f->job->run->cfg->state, &none, NULL, 0, err);
}

int verify_save(struct check_folder *f, uint64_t next_uid, struct mh_err *err)
{
    const struct mh_verify_counts *c = &f->counts;
    bool is_done = next_uid == UINT64_MAX;
    if (!f->check->can_store)
        return MH_OK;
    if (f->must_save_anew && begin_saving_anew(f, err) != MH_OK)
        return err->code;
    struct mh_verify_row row = {
        .mailbox = f->job->state_id,
        .src_path = f->entry->source->path,
        .mode = f->mode,
        .next_uid = next_uid,
        .counts = {c->exact, c->same, c->differs, is_done ? c->later << 32 | c->missing : f->places,
                   c->pending << 32 | c->extra, c->unsettled << 32 | c->flags, c->dates,
                   c->skipped << 32 | c->listed}};
    size_t n = f->out->n_items - f->saved_items;
    struct mh_verify_item *items = n ? mh_alloc(n * sizeof *items) : NULL;
    if (n && !items)
        return mh_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const struct mh_item_result *r = &f->out->items[f->saved_items + i];
        items[i] = (struct mh_verify_item){r->uid, r->state, r->reason, r->text};
    }
    int code = mh_state_put_verify(f->job->run->cfg->state, &row, items, n, err);
    mh_free(items);
    if (code == MH_OK)
        f->saved_items = f->out->n_items;
    return code;
}

int verify_forget(struct check *c, struct mh_err *err)
{
    return c->can_store ? mh_state_clear_verify(c->job->run->cfg->state, c->job->state_id, err)
                        : MH_OK;
}

void verify_loaded_done(struct check *c)
{
    for (size_t i = 0; i < c->n_kept; i++) {
        mh_free(c->kept[i].path);
        result_items_done(c->kept[i].items, c->kept[i].n_items);
        mh_free(c->kept[i].items);
    }
    mh_free(c->kept);
    mh_free(c->left_out);
}
