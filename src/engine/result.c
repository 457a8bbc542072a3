/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Putting results together. A row that cannot be kept for lack of memory is lost from the report,
 * never from the counts. */
#include <stdio.h>
#include <string.h>

#include "engine/engine_priv.h"

void result_item(struct mh_item_result **v, size_t *n, size_t *cap, const char *folder,
                 uint64_t uid, const char *state, const char *reason, const char *text)
{
    if (!mh_grow(*v, *cap, *n + 1))
        return;
    struct mh_item_result *row = &(*v)[*n];
    *row = (struct mh_item_result){.folder = mh_strdup(folder ? folder : ""),
                                   .uid = uid,
                                   .state = state,
                                   .reason = mh_strdup(reason ? reason : ""),
                                   .text = mh_strdup(text ? text : "")};
    if (!row->folder || !row->reason || !row->text) {
        result_items_done(row, 1);
        return;
    }
    (*n)++;
}

static void item_done(struct mh_item_result *row)
{
    mh_free(row->folder);
    mh_free(row->reason);
    mh_free(row->text);
}

void result_items_done(struct mh_item_result *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        item_done(&v[i]);
}

void reasons_add(struct mh_reasons *r, const char *reason, uint64_t n)
{
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->v[i].reason, reason) == 0) {
            r->v[i].n += n;
            return;
        }
    }
    struct mh_reason_count *grown = mh_realloc_array(r->v, r->n + 1, sizeof *grown);
    if (!grown)
        return;
    r->v = grown;
    (void)snprintf(r->v[r->n].reason, sizeof r->v[r->n].reason, "%s", reason);
    r->v[r->n++].n = n;
}

static void reasons_take(struct mh_reasons *r, const char *reason)
{
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->v[i].reason, reason) != 0)
            continue;
        if (--r->v[i].n == 0)
            r->v[i] = r->v[--r->n];
        return;
    }
}

void result_forget(struct mh_mailbox_result *res, const char *folder)
{
    size_t kept = 0;
    for (size_t i = 0; i < res->n_items; i++) {
        struct mh_item_result *row = &res->items[i];
        if (strcmp(row->folder, folder) != 0) {
            res->items[kept++] = *row;
            continue;
        }
        if (strcmp(row->state, "skipped") == 0)
            reasons_take(&res->skipped, row->reason);
        else if (strcmp(row->state, "failed") == 0)
            reasons_take(&res->failed, row->reason);
        item_done(row);
    }
    res->n_items = kept;
}

void counts_add(struct mh_counts *to, const struct mh_counts *from)
{
    to->found += from->found;
    to->copied += from->copied;
    to->adopted += from->adopted;
    to->adopted_exact += from->adopted_exact;
    to->adopted_canonical += from->adopted_canonical;
    to->adopted_fingerprint += from->adopted_fingerprint;
    to->unchanged += from->unchanged;
    to->skipped += from->skipped;
    to->failed += from->failed;
    to->moved += from->moved;
    to->updated += from->updated;
    to->removed += from->removed;
    to->gone += from->gone;
    to->bytes += from->bytes;
}

void mailbox_result_done(struct mh_mailbox_result *m)
{
    for (size_t i = 0; i < m->n_folders; i++) {
        mh_free(m->folders[i].source);
        mh_free(m->folders[i].target);
    }
    mh_free(m->folders);
    result_items_done(m->items, m->n_items);
    mh_free(m->items);
    result_items_done(m->notes, m->n_notes);
    mh_free(m->notes);
    mh_free(m->skipped.v);
    mh_free(m->failed.v);
}

void mh_result_done(struct mh_result *r)
{
    for (size_t i = 0; i < r->n_mailboxes; i++)
        mailbox_result_done(&r->mailboxes[i]);
    mh_free(r->mailboxes);
    mh_free(r->skipped.v);
    mh_free(r->failed.v);
    *r = (struct mh_result){0};
}

void mh_verify_result_done(struct mh_verify_result *r)
{
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        result_items_done(r->mailboxes[i].items, r->mailboxes[i].n_items);
        mh_free(r->mailboxes[i].items);
    }
    mh_free(r->mailboxes);
    *r = (struct mh_verify_result){0};
}

void mh_check_result_done(struct mh_check_result *r)
{
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        result_items_done(r->mailboxes[i].names, r->mailboxes[i].n_names);
        mh_free(r->mailboxes[i].names);
    }
    mh_free(r->mailboxes);
    *r = (struct mh_check_result){0};
}
