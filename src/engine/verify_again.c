/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify beside a run, the second look. A folder was listed when it was begun, its rows were read chunk by chunk since, and
 * a run has gone on carrying, moving and putting away. Before anything is said against a message, both sides and the
 * rows are looked at once more, in this order:
 *
 *     1 the rows of what is in doubt   what they say is there was there before 2
 *     2 the target                     what a run moves there, users had moved at the source before
 *     3 the source                     so what is still there, and not at the target, nobody has moved
 *     4 what is accounted for          the newest word on what a run has put at the target
 *
 * What has changed is left to the next verify, and counted as such: "later" a message of the source, "unsettled" anything else.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/verify_priv.h"

/* --- who is in doubt ---------------------------------------------------------------------------------------------- */

static bool is_finding(const struct mh_item_result *r)
{
    return strcmp(r->state, "flags") == 0 || strcmp(r->state, "date") == 0 ||
           strcmp(r->state, "differs") == 0;
}

static int collect(struct check_folder *f, struct mh_uids *out, struct mh_err *err)
{
    int code = MH_OK;
    for (size_t i = f->first_item; code == MH_OK && i < f->out->n_items; i++) {
        uint64_t uid = f->out->items[i].uid;
        if (is_finding(&f->out->items[i]))
            code = mh_uids_add(out, uid, uid, err);
    }
    for (size_t i = 0; code == MH_OK && i < f->n_left; i++) {
        uint64_t uid = f->src.items[f->left[i].item].uid;
        if (!f->left[i].target)
            code = mh_uids_add(out, uid, uid, err);
    }
    mh_uids_finish(out);
    return code;
}

static bool has_extra(const struct check_folder *f)
{
    for (size_t t = 0; t < f->dst.n; t++) {
        if (!f->is_taken[t] && !mh_uids_has(&f->accounted, f->dst.items[t].uid))
            return true;
    }
    return false;
}

/* --- looking --------------------------------------------------------------------------------------------------------- */

static void load_folders(void *arg)
{
    struct again *a = arg;
    mh_err_reset(&a->err);
    a->code = mh_state_folders(a->st, a->mailbox, &a->rows, &a->err);
}

/* The folder's row as it is now, or NULL. */
static int load_row(struct check_folder *f, struct again *a, struct mh_err *err)
{
    mh_state_folders_done(&a->rows);
    a->row = NULL;
    mh_offload(load_folders, a);
    if (a->code != MH_OK) {
        *err = a->err;
        return a->code;
    }
    for (size_t i = 0; i < a->rows.n && !a->row; i++) {
        const struct mh_state_folder *row = &a->rows.v[i];
        if (strcmp(row->src_path, f->entry->source->path) == 0 &&
            row->src_uidvalidity == f->src_uidvalidity &&
            row->dst_uidvalidity == f->dst_uidvalidity)
            a->row = row;
    }
    return MH_OK;
}

static int list_again(struct check_folder *f, const struct mh_folder *target, struct again *a,
                      struct mh_err *err)
{
    uint32_t dst_uidvalidity = 0;
    uint32_t src_uidvalidity = 0;
    int code = verify_list(f->check->dst, f->job->tc, target, &a->dst, &dst_uidvalidity, err);
    if (code != MH_OK) {
        mh_err_at(err, "target");
        return code;
    }
    code = verify_list(f->check->src, f->job->sc, f->entry->source, &a->src, &src_uidvalidity, err);
    if (code != MH_OK)
        return code;
    if (dst_uidvalidity != f->dst_uidvalidity || src_uidvalidity != f->src_uidvalidity)
        return mh_err_set(err, MH_EFOLDER, "engine",
                          "UIDVALIDITY changed while the folder was compared");
    return MH_OK;
}

static int look(struct check_folder *f, const struct mh_folder *target, const struct mh_uids *doubt,
                struct again *a, struct mh_err *err)
{
    int code = load_row(f, a, err);
    if (code == MH_OK && a->row && doubt->n)
        code = job_load_items(f->job, a->row->id, doubt, &a->items, err);
    if (code == MH_OK)
        code = list_again(f, target, a, err);
    if (code == MH_OK)
        code = load_row(f, a, err);
    if (code == MH_OK && a->row)
        code = job_load_uids(f->job, a->row->id, false, 1, &a->accounted, err);
    return code;
}

/* --- what was found ---------------------------------------------------------------------------------------------------- */

static bool is_same_text(const struct mh_scan *a, const struct mh_item *x, const struct mh_scan *b,
                         const struct mh_item *y)
{
    return x->flags == y->flags &&
           strcmp(mh_kwsets_text(a->kwsets, x->kwset), mh_kwsets_text(b->kwsets, y->kwset)) == 0;
}

static int order_left(const void *key, const void *element)
{
    size_t item = *(const size_t *)key;
    const struct left *l = element;
    return item < l->item ? -1 : item > l->item;
}

/* Where the message of the source with UID lay at the target when it was compared; NULL: it did not. */
static const struct mh_item *place_of(const struct check_folder *f, const struct again *a,
                                      uint64_t uid)
{
    const struct mh_item *s = mh_scan_find(&f->src, uid);
    size_t at = s ? (size_t)(s - f->src.items) : 0;
    const struct left *l =
        s && f->n_left ? bsearch(&at, f->left, f->n_left, sizeof *f->left, order_left) : NULL;
    if (l)
        return l->target ? &f->dst.items[l->target - 1] : NULL;
    const struct mh_state_item *row = mh_state_items_find(&a->items, uid);
    return row && row->dst_uid ? mh_scan_find(&f->dst, row->dst_uid) : NULL;
}

static int rename_finding(struct check_folder *f, size_t i, const char *state, const char *reason,
                          struct mh_err *err)
{
    struct mh_item_result *r = &f->out->items[i];
    char *copy = mh_strdup(reason);
    if (!copy)
        return mh_err_nomem(err);
    mh_free(r->reason);
    r->reason = copy;
    r->state = state;
    f->must_save_anew |= i < f->saved_items;
    return MH_OK;
}

/* Flags are in order now, or on their way. */
static bool is_settling(struct check_folder *f, const struct again *a, const struct mh_item *s1,
                        const struct mh_item *t1, const struct mh_item *s2,
                        const struct mh_item *t2)
{
    return !is_same_text(&f->src, s1, &a->src, s2) || !is_same_text(&f->dst, t1, &a->dst, t2) ||
           !verify_flags_differ(f, &a->src, s2, &a->dst, t2);
}

static int review_finding(struct check_folder *f, const struct again *a, size_t i,
                          struct mh_err *err)
{
    const struct mh_item_result *r = &f->out->items[i];
    const struct mh_item *s1 = mh_scan_find(&f->src, r->uid);
    const struct mh_item *t1 = place_of(f, a, r->uid);
    const struct mh_item *s2 = mh_scan_find(&a->src, r->uid);
    const struct mh_item *t2 = t1 ? mh_scan_find(&a->dst, t1->uid) : NULL;
    bool is_there = s1 && t1 && s2 && t2;
    if (strcmp(r->state, "differs") == 0) {
        if (is_there || strcmp(r->reason, "unreadable") != 0)
            return MH_OK;
        f->counts.differs--;
        f->counts.later++;
        return rename_finding(f, i, "later", "changed-meanwhile", err);
    }
    bool is_flags = strcmp(r->state, "flags") == 0;
    if (is_there && !(is_flags && is_settling(f, a, s1, t1, s2, t2)))
        return MH_OK;
    if (is_flags)
        f->counts.flags--;
    else
        f->counts.dates--;
    f->counts.unsettled++;
    return rename_finding(f, i, "unsettled", "changed-meanwhile", err);
}

/* --- the outside ------------------------------------------------------------------------------------------------------- */

int verify_again(struct check_folder *f, const struct mh_folder *target, struct again *a,
                 struct mh_err *err)
{
    struct mh_uids doubt = {0};
    bool has_worked = f->run_was_on;
    bool is_on = verify_run_is_on(f->check);
    int code = MH_OK;
    *a = (struct again){.st = f->job->run->cfg->state, .mailbox = f->job->state_id};
    if (!is_on && !has_worked)
        code = verify_run_has_worked(f->check, &has_worked, err);
    if (code != MH_OK || !(is_on || has_worked))
        return code;
    code = collect(f, &doubt, err);
    a->is_used = code == MH_OK && (doubt.n > 0 || has_extra(f));
    if (a->is_used)
        code = look(f, target, &doubt, a, err);
    for (size_t i = f->first_item; code == MH_OK && a->is_used && i < f->out->n_items; i++) {
        if (is_finding(&f->out->items[i]))
            code = review_finding(f, a, i, err);
    }
    a->run_is_on = is_on || verify_run_is_on(f->check);
    mh_uids_done(&doubt);
    return code;
}

const char *verify_again_left(const struct check_folder *f, const struct again *a, uint64_t uid)
{
    if (!a->is_used)
        return NULL;
    const struct mh_state_item *row = mh_state_items_find(&a->items, uid);
    if (!mh_scan_find(&a->src, uid) || (row && row->gone != MH_GONE_NOT))
        return "changed-meanwhile";
    if (row && row->dst_uid)
        return mh_scan_find(&a->dst, row->dst_uid) && !mh_scan_find(&f->dst, row->dst_uid)
                   ? "changed-meanwhile"
                   : NULL;
    bool is_undecided = !row || row->how != MH_HOW_REMOVED;
    return is_undecided && a->run_is_on ? VERIFY_NOT_YET : NULL;
}

bool verify_again_extra(const struct check_folder *f, const struct again *a, uint64_t uid,
                        bool *is_settled_out)
{
    *is_settled_out = true;
    if (!a->is_used)
        return true;
    if (!mh_scan_find(&a->dst, uid) || mh_uids_has(&a->accounted, uid))
        return false;
    bool ascend = (f->job->tc->flags & MH_UIDS_ASCEND) != 0;
    *is_settled_out = !a->run_is_on || !ascend || (a->row && uid < a->row->target_uidnext);
    return true;
}

void verify_again_done(struct again *a)
{
    mh_scan_done(&a->src);
    mh_scan_done(&a->dst);
    mh_state_folders_done(&a->rows);
    mh_state_items_done(&a->items);
    mh_uids_done(&a->accounted);
}
