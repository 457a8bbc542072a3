/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Folders that were renamed at the source.
 *
 * A folder that is new by its name is an old one when the server says so (MAILBOXID), or when it has the UIDVALIDITY of
 * one that is not listed any more and its messages are that one's: a sample of known UIDs is there with the same sizes
 * and dates. It is renamed at the target too, and its rows go on under the new name, so that no message moves.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

enum {
    SAMPLE_MAX = 32,      /* messages looked at */
    LIKENESS_PERCENT = 80 /* of those that are still there must be the same */
};

/* --- is it the same folder? ------------------------------------------------------------------------- */

/* Up to SAMPLE_MAX of the UIDs, spread evenly. */
static void take_sample(const struct mh_uids *all, struct mh_uids *out, struct mh_err *err,
                        int *code)
{
    uint64_t count = mh_uids_count(all);
    uint64_t step = MH_MAX(count / SAMPLE_MAX, (uint64_t)1);
    uint64_t seen = 0; /* UIDs in the ranges before */
    uint64_t next = 0;
    for (size_t i = 0; *code == MH_OK && i < all->n; i++) {
        uint64_t here = all->v[i].hi - all->v[i].lo + 1;
        for (; *code == MH_OK && next < seen + here; next += step)
            *code =
                mh_uids_add(out, all->v[i].lo + (next - seen), all->v[i].lo + (next - seen), err);
        seen += here;
    }
    mh_uids_finish(out);
}

static bool is_alike(const struct mh_state_item *row, const struct mh_item *item)
{
    return row->size == item->size &&
           (!row->date.is_set || !item->date.is_set || row->date.unix_s == item->date.unix_s);
}

static int compare_sample(struct job *job, struct lane *lane, const struct mh_state_items *rows,
                          bool *same_out, struct mh_err *err)
{
    struct mh_scan scan;
    uint64_t uids[2 * SAMPLE_MAX];
    size_t n = 0;
    size_t there = 0;
    size_t alike = 0;
    for (; n < rows->n && n < MH_ARRAY_LEN(uids); n++)
        uids[n] = rows->v[n].src_uid;
    int code = mh_scan_init(&scan, err);
    if (code == MH_OK)
        code = job->sc->scan_uids ? job->sc->scan_uids(lane->src, uids, n, &scan, err)
                                  : job->sc->scan(lane->src, 1, &scan, err);
    for (size_t i = 0; code == MH_OK && i < n; i++) {
        const struct mh_item *item = mh_scan_find(&scan, uids[i]);
        there += item != NULL;
        alike += item && is_alike(&rows->v[i], item);
    }
    *same_out = there > 0 && alike * 100 >= there * LIKENESS_PERCENT;
    mh_scan_done(&scan);
    return code;
}

static int has_same_content(struct job *job, struct lane *lane, const struct mh_state_folder *row,
                            const struct mh_folder *folder, bool *same_out, struct mh_err *err)
{
    struct mh_uids all = {.n = 0};
    struct mh_uids sample = {.n = 0};
    struct mh_state_items rows = {0};
    struct mh_opened opened;
    *same_out = false;
    int code = job_load_uids(job, row->id, true, 0, &all, err);
    if (code == MH_OK)
        take_sample(&all, &sample, err, &code);
    if (code == MH_OK && sample.n > 0)
        code = job_load_items(job, row->id, &sample, &rows, err);
    if (code == MH_OK && rows.n > 0) {
        code = job->sc->select(lane->src, folder, false, &opened, err);
        if (code == MH_EFOLDER || code == MH_ENOENT)
            code = MH_OK;
        else if (code == MH_OK && opened.uidvalidity == row->src_uidvalidity)
            code = compare_sample(job, lane, &rows, same_out, err);
    }
    mh_state_items_done(&rows);
    mh_uids_done(&sample);
    mh_uids_done(&all);
    return code;
}

/* --- renaming ------------------------------------------------------------------------------------------ */

/* *NAME (owned), if it begins with FROM, with TO in its place. */
static int replace_start(char **name, const char *from, const char *to, struct mh_err *err)
{
    size_t len = strlen(from);
    if (!*name || strncmp(*name, from, len) != 0)
        return MH_OK;
    char *replaced = mh_asprintf("%s%s", to, *name + len);
    if (!replaced)
        return mh_err_nomem(err);
    mh_free(*name);
    *name = replaced;
    return MH_OK;
}

/* What lies below ROW's folder at the target has gone along with it: also what is not at the source any
 * more, whose mail is still to be looked for there. */
static int take_along(struct job *job, const struct mh_state_folder *row, const char *path,
                      const char *native, struct mh_err *err)
{
    size_t len = strlen(row->dst_path);
    int code = MH_OK;
    for (size_t i = 0; code == MH_OK && i < job->rows.n; i++) {
        struct mh_state_folder *r = &job->rows.v[i];
        bool is_below = r != row && r->dst_path && strncmp(r->dst_path, row->dst_path, len) == 0 &&
                        r->dst_path[len] == '/';
        if (!is_below || strcmp(row->dst_path, path) == 0)
            continue;
        code = replace_start(&r->dst_path, row->dst_path, path, err);
        if (code == MH_OK && row->dst_native)
            code = replace_start(&r->dst_native, row->dst_native, native, err);
        if (code == MH_OK)
            code = mh_state_put_folder(job->run->cfg->state, r, err);
    }
    return code;
}

static int adopt_names(struct job *job, struct mh_state_folder *row, const char *src_path,
                       char *dst_path_take, char *dst_native_take, struct mh_err *err)
{
    char *copy = mh_strdup(src_path);
    int code = copy ? take_along(job, row, dst_path_take, dst_native_take, err) : mh_err_nomem(err);
    if (code != MH_OK) {
        mh_free(copy);
        mh_free(dst_path_take);
        mh_free(dst_native_take);
        return code;
    }
    mh_free(row->src_path);
    mh_free(row->dst_path);
    mh_free(row->dst_native);
    row->src_path = copy;
    row->dst_path = dst_path_take;
    row->dst_native = dst_native_take;
    return mh_state_put_folder(job->run->cfg->state, row, err);
}

static void note(struct job *job, const char *path, const char *reason, const char *text)
{
    result_item(&job->res->notes, &job->res->n_notes, &job->res->cap_notes, path, 0, "folder",
                reason, text);
}

/* THERE has ROW's new name from a run that was broken off before it could write that down. */
static int finish_rename(struct job *job, struct lane *lane, const struct mh_state_folder *row,
                         const struct mh_folder *there, struct mh_err *err)
{
    if (!job->tc->finish_rename || !row->dst_native)
        return MH_OK;
    int code = job->tc->finish_rename(lane->dst, row->dst_native, there, err);
    return code == MH_EFOLDER || code == MH_ENOSUP || code == MH_ENOENT ? MH_OK : code;
}

/* ROW's folder at the target becomes TO; *DONE_OUT false: it stays, and the source's is a new one. */
static int rename_target(struct job *job, struct lane *lane, struct mh_state_folder *row,
                         const struct mh_engine_map_entry *e, bool *done_out, struct mh_err *err)
{
    const struct mh_folder *there = mh_folders_find(&job->dst_folders, row->dst_path);
    const struct mh_folder *taken = mh_folders_find(&job->dst_folders, e->target_path);
    char *path = NULL;
    char *native = NULL;
    char line[512];
    int code = MH_OK;
    *done_out = false;
    bool is_half_done = !there && taken && taken->uidvalidity == row->dst_uidvalidity;
    if (is_half_done)
        there = taken;
    if (!there || there->uidvalidity != row->dst_uidvalidity || (taken && taken != there))
        return MH_OK;
    if (taken != there) {
        code = job->tc->rename(lane->dst, there, e->target_path, &path, &native, err);
    } else { /* done already, or the mapping has both in one place */
        if (is_half_done)
            code = finish_rename(job, lane, row, there, err);
        path = mh_strdup(there->path);
        native = mh_strdup(there->native);
        if (code == MH_OK && !(path && native))
            code = mh_err_nomem(err);
    }
    if (code == MH_EFOLDER || code == MH_EEXIST || code == MH_ENOSUP || code == MH_ENOENT) {
        note(job, e->source->path, "not-renamed", mh_err_line(err, line, sizeof line));
        return MH_OK;
    }
    if (code != MH_OK) {
        mh_free(path);
        mh_free(native);
        return code;
    }
    *done_out = true;
    note(job, e->source->path, "renamed-with-source", row->src_path);
    return adopt_names(job, row, e->source->path, path, native, err);
}

/* The name that ROW knows is nobody's now, or another folder's. */
static bool has_left_its_name(const struct job *job, const struct mh_state_folder *row)
{
    const struct mh_folder *listed = mh_folders_find(&job->src_folders, row->src_path);
    return !listed ||
           ((listed->attrs & MH_FOLDER_HAS_STATUS) && listed->uidvalidity != row->src_uidvalidity);
}

/* The state's folder that E's is under another name; NULL: none. */
static int find_former(struct job *job, struct lane *lane, const struct mh_engine_map_entry *e,
                       struct mh_state_folder **out, struct mh_err *err)
{
    const struct mh_folder *f = e->source;
    int code = MH_OK;
    *out = NULL;
    for (size_t i = 0; code == MH_OK && !*out && i < job->rows.n; i++) {
        struct mh_state_folder *row = &job->rows.v[i];
        bool same = row->src_object_id != 0 && row->src_object_id == f->object_id;
        bool differs = row->src_object_id != 0 && f->object_id != 0 && !same;
        if (row->src_uidvalidity == 0 || row->src_uidvalidity != f->uidvalidity || differs ||
            !row->dst_path || !has_left_its_name(job, row))
            continue;
        if (!same)
            code = has_same_content(job, lane, row, f, &same, err);
        if (same)
            *out = row;
    }
    return code;
}

static int order_by_depth(const void *a, const void *b)
{
    const struct mh_engine_map_entry *x = *(const struct mh_engine_map_entry *const *)a;
    const struct mh_engine_map_entry *y = *(const struct mh_engine_map_entry *const *)b;
    size_t dx = mh_path_depth(x->source->path);
    size_t dy = mh_path_depth(y->source->path);
    return dx < dy ? -1 : dx > dy;
}

/* Names below one that was renamed have changed with it at the target: the lists are read again before they are looked at. */
int renames_carry(struct job *job, struct lane *lane, bool *renamed_out, struct mh_err *err)
{
    *renamed_out = false;
    if (job->rows.n == 0 || !job->tc->rename || !job->tc->caps(lane->dst)->rename ||
        job->run->cfg->dry_run)
        return MH_OK;
    const struct mh_engine_map_entry **v =
        mh_alloc(MH_MAX(job->map.n, (size_t)1) * sizeof(struct mh_engine_map_entry *));
    size_t n = 0;
    int code = v ? MH_OK : mh_err_nomem(err);
    for (size_t i = 0; v && i < job->map.n; i++) {
        const struct mh_engine_map_entry *e = &job->map.v[i];
        bool is_new = e->target_path && !(e->source->attrs & MH_FOLDER_NOSELECT) &&
                      (e->source->attrs & MH_FOLDER_HAS_STATUS) && !job_row(job, e->source->path);
        if (is_new)
            v[n++] = e;
    }
    if (n > 0)
        qsort(v, n, sizeof(struct mh_engine_map_entry *), order_by_depth);
    for (size_t i = 0; code == MH_OK && i < n && !*renamed_out; i++) {
        struct mh_state_folder *former = NULL;
        code = find_former(job, lane, v[i], &former, err);
        if (code == MH_OK && former)
            code = rename_target(job, lane, former, v[i], renamed_out, err);
    }
    mh_free(v);
    if (*renamed_out)
        job_sort_rows(job);
    return code;
}
