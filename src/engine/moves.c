/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is gone from one folder: moved to another, or deleted.
 *
 * When all folders are surveyed, the rows of what is gone become the job's movables. A message that is new in a folder and
 * is the same as one of them (the server's own name for it, else size and date, proved by digest) has moved: it is moved at
 * the target too, without its bytes. What is left at the end was deleted: it stays at the target, or goes to
 * the quarantine folder, by policy; never anything that mailhaul did not put there, never by EXPUNGE of others' mail.
 *
 * A move that was made and not written down (a kill in between) is found again by content, as any other message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/engine_priv.h"

#define QUARANTINE_ROOT "mailhaul-removed"

/* Folders of which more vanish at once than are left, and at least so many: a list that cannot be trusted. */
enum { LOST_SUSPICIOUS = 4 };

struct movable {
    struct mh_state_item row;
    const struct mh_state_folder *from; /* borrowed: a pass's or the job's row; where it lay */
    struct mh_counts *counts;           /* borrowed: the folder's */
    bool is_taken;                      /* moved, or given up */
};

/* --- folders that are gone ---------------------------------------------------------------------------- */

/* It has a line of its own in the results, so that these add up. */
static int add_result(struct job *job, struct lost_folder *lost, struct mh_err *err)
{
    struct mh_folder_result *fr = &job->res->folders[job->res->n_folders++];
    fr->source = mh_strdup(lost->row->src_path);
    fr->target = mh_strdup(lost->row->dst_path);
    fr->why = "deleted-at-source";
    lost->res = fr;
    return fr->source && fr->target ? MH_OK : mh_err_nomem(err);
}

static int load_lost(struct job *job, struct lost_folder *lost, struct mh_err *err)
{
    struct mh_state_items rows = {0};
    int code = job_load_items(job, lost->row->id, NULL, &rows, err);
    for (size_t i = 0; code == MH_OK && i < rows.n; i++) {
        struct gone_list *l = &lost->gone;
        if (rows.v[i].gone != MH_GONE_NOT)
            continue;
        if (!mh_grow(l->v, l->cap, l->n + 1))
            code = mh_err_nomem(err);
        else
            l->v[l->n++] = (struct gone){.row = rows.v[i]};
    }
    mh_state_items_done(&rows);
    return code;
}

int moves_find_lost(struct job *job, struct mh_err *err)
{
    size_t n = 0;
    int code = MH_OK;
    job->lost = mh_zalloc(MH_MAX(job->rows.n, (size_t)1) * sizeof *job->lost);
    if (!job->lost)
        return mh_err_nomem(err);
    for (size_t i = 0; i < job->rows.n; i++) {
        struct mh_state_folder *row = &job->rows.v[i];
        /* 0: settled by an earlier run */
        if (row->src_uidvalidity != 0 && !mh_folders_find(&job->src_folders, row->src_path))
            job->lost[n++].row = row;
    }
    if (n >= LOST_SUSPICIOUS && n > job->rows.n / 2) {
        result_item(
            &job->res->notes, &job->res->n_notes, &job->res->cap_notes, "", 0, "folder",
            "not-believed",
            "most folders are missing from the source's list: what was in them is left as it is");
        return MH_OK;
    }
    job->n_lost = n;
    for (size_t i = 0; code == MH_OK && i < n; i++) {
        code = add_result(job, &job->lost[i], err);
        if (code == MH_OK)
            code = load_lost(job, &job->lost[i], err);
    }
    return code;
}

/* --- the index ------------------------------------------------------------------------------------------ */

static int64_t date_key(const struct mh_date *d)
{
    return d->is_set ? d->unix_s : INT64_MIN;
}

static int order_likeness(uint64_t size, int64_t date, const struct movable *m)
{
    int64_t other = date_key(&m->row.date);
    if (size != m->row.size)
        return size < m->row.size ? -1 : 1;
    return date < other ? -1 : date > other;
}

static int order_movables(const void *a, const void *b)
{
    const struct movable *x = a;
    const struct movable *y = b;
    int c = order_likeness(x->row.size, date_key(&x->row.date), y);
    if (c != 0)
        return c;
    if (x->from != y->from)
        return x->from->id < y->from->id ? -1 : 1;
    return x->row.src_uid < y->row.src_uid ? -1 : x->row.src_uid > y->row.src_uid;
}

static void add_all(struct job *job, const struct gone_list *l, const struct mh_state_folder *from,
                    struct mh_counts *counts)
{
    for (size_t i = 0; i < l->n; i++)
        job->movable[job->n_movable++] =
            (struct movable){.row = l->v[i].row, .from = from, .counts = counts};
}

/* They are the job's now. */
static void take_gone(struct job *job, struct pass *pass)
{
    add_all(job, &pass->gone, &pass->row, &pass->res->counts);
    pass->n_gone += pass->gone.n;
    pass->gone.n = 0;
}

int moves_index(struct job *job, struct mh_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < job->n_passes; i++)
        n += job->passes[i].gone.n;
    for (size_t i = 0; i < job->n_lost; i++)
        n += job->lost[i].gone.n;
    job->movable = mh_alloc(MH_MAX(n, (size_t)1) * sizeof *job->movable);
    if (!job->movable)
        return mh_err_nomem(err);
    for (size_t i = 0; i < job->n_passes; i++) {
        struct pass *p = &job->passes[i];
        take_gone(job, p);
        p->gone_is_indexed = p->is_surveyed;
    }
    for (size_t i = 0; i < job->n_lost; i++)
        add_all(job, &job->lost[i].gone, job->lost[i].row, &job->lost[i].res->counts);
    qsort(job->movable, job->n_movable, sizeof *job->movable, order_movables);
    return MH_OK;
}

void moves_done(struct job *job)
{
    for (size_t i = 0; i < job->n_lost; i++)
        mh_free(job->lost[i].gone.v);
    mh_free(mh_take(job->lost));
    mh_free(mh_take(job->movable));
    job->n_lost = job->n_movable = 0;
}

/* --- which have moved ------------------------------------------------------------------------------------- */

/* A message that is new in the pass's folder, and what it was in another. */
struct move {
    uint32_t todo;
    struct movable *was; /* NULL: looked like one, is none */
    uint64_t new_uid;
};

struct moves {
    struct move *v; /* owned */
    size_t n;
};

/* The first movable of this size and date. */
static size_t find_like(const struct job *job, uint64_t size, int64_t date)
{
    return mh_lower_bound(i, 0, job->n_movable, order_likeness(size, date, &job->movable[i]) > 0);
}

enum proof { PROOF_NAME, PROOF_DIGEST, PROOF_NONE };

static bool proves(const struct movable *m, const struct mh_item *item,
                   const struct mh_digest *digest, enum proof proof)
{
    if (proof == PROOF_NAME)
        return item->object_id != 0 && item->object_id == m->row.object_id;
    if (proof == PROOF_DIGEST)
        return m->row.has_digest && memcmp(digest, &m->row.digest, sizeof *digest) == 0;
    return true;
}

/* One that nobody has taken and that is proved to be ITEM. */
static struct movable *find_movable(const struct job *job, const struct mh_item *item,
                                    const struct mh_digest *digest, enum proof proof)
{
    int64_t date = date_key(&item->date);
    for (size_t i = find_like(job, item->size, date);
         i < job->n_movable && order_likeness(item->size, date, &job->movable[i]) == 0; i++) {
        struct movable *m = &job->movable[i];
        bool is_known = (m->row.dst_uid != 0 || m->row.how == MH_HOW_REMOVED) && m->from->dst_path;
        if (!m->is_taken && is_known && proves(m, item, digest, proof))
            return m;
    }
    return NULL;
}

/* Those that have to be looked at by content. */
static int prove_by_digest(struct pass *pass, struct lane *lane, struct moves *moves,
                           struct mh_err *err)
{
    const struct mh_item **items = mh_alloc(moves->n * sizeof(struct mh_item *));
    struct content *contents = mh_alloc(moves->n * sizeof *contents);
    size_t *which = mh_alloc(moves->n * sizeof *which);
    size_t n = 0;
    int code = items && contents && which ? MH_OK : mh_err_nomem(err);
    for (size_t i = 0; code == MH_OK && i < moves->n; i++) {
        if (moves->v[i].was)
            continue;
        items[n] = &pass->scan.items[pass->todo[moves->v[i].todo].item];
        which[n++] = i;
    }
    if (code == MH_OK)
        code = match_digests(lane->src, pass->job->sc, items, n, contents, err);
    for (size_t k = 0; code == MH_OK && k < n; k++) {
        struct move *m = &moves->v[which[k]];
        if (contents[k].is_ok)
            m->was = find_movable(pass->job, items[k], &contents[k].exact, PROOF_DIGEST);
        if (m->was)
            m->was->is_taken = true;
    }
    mh_free(items);
    mh_free(contents);
    mh_free(which);
    return code;
}

static int find_moves(struct pass *pass, struct lane *lane, struct moves *moves, struct mh_err *err)
{
    moves->v = mh_alloc(pass->n_todo * sizeof *moves->v);
    if (!moves->v)
        return mh_err_nomem(err);
    for (uint32_t i = 0; i < pass->n_todo; i++) {
        const struct mh_item *item = &pass->scan.items[pass->todo[i].item];
        if (pass->todo[i].status != TODO_OPEN || pass->todo[i].is_orphan || !item->date.is_set ||
            !find_movable(pass->job, item, NULL, PROOF_NONE))
            continue;
        struct movable *was = find_movable(pass->job, item, NULL, PROOF_NAME);
        if (was)
            was->is_taken = true;
        moves->v[moves->n++] = (struct move){.todo = i, .was = was};
    }
    return moves->n ? prove_by_digest(pass, lane, moves, err) : MH_OK;
}

/* --- moving ------------------------------------------------------------------------------------------------- */

static int order_moves(const void *a, const void *b)
{
    const struct move *x = a;
    const struct move *y = b;
    if (!x->was || !y->was) /* those that are none: last */
        return !x->was - !y->was;
    uint32_t from_x = x->was->from->id;
    uint32_t from_y = y->was->from->id;
    if (from_x != from_y)
        return from_x < from_y ? -1 : 1;
    uint64_t u = x->was->row.dst_uid;
    uint64_t v = y->was->row.dst_uid;
    return u < v ? -1 : u > v;
}

static int order_move(const void *key, const void *element)
{
    const uint64_t *uid = key;
    uint64_t other = ((const struct move *)element)->was->row.dst_uid;
    return *uid < other ? -1 : *uid > other;
}

static int on_moved(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    struct moves *group = ctx;
    struct move *m = bsearch(&uid, group->v, group->n, sizeof *m, order_move);
    (void)err;
    if (m)
        m->new_uid = new_uid;
    return MH_OK;
}

/* Opens FROM's folder at the target, if it is still the one that the state means. */
static int open_origin(struct job *job, struct lane *lane, const struct mh_state_folder *from,
                       bool *is_same_out, struct mh_err *err)
{
    const struct mh_folder *listed = mh_folders_find(&job->dst_folders, from->dst_path);
    struct mh_opened opened;
    *is_same_out = false;
    if (!listed || (listed->attrs & MH_FOLDER_NOSELECT))
        return MH_OK;
    int code = job->tc->select(lane->dst, listed, true, &opened, err);
    if (code == MH_EFOLDER || code == MH_ENOENT)
        return MH_OK;
    *is_same_out = code == MH_OK && opened.uidvalidity == from->dst_uidvalidity;
    return code;
}

/* Mail that mailhaul did not put there is not mailhaul's to put away. */
static bool is_ours(const struct movable *m)
{
    return m->row.dst_uid != 0 && (m->row.how == MH_HOW_COPIED || m->row.how == MH_HOW_MOVED);
}

/* The row of a moved message in its new folder. */
static int write_moved(struct pass *pass, struct lane *lane, const struct move *m,
                       struct mh_err *err)
{
    struct todo *t = &pass->todo[m->todo];
    const struct mh_item *item = &pass->scan.items[t->item];
    struct mh_state_item *row = lane_row(lane);
    if (!row)
        return mh_err_nomem(err);
    *row = m->was->row;
    row->src_uid = item->uid;
    row->dst_uid = m->new_uid;
    row->object_id = item->object_id;
    if (is_ours(m->was))
        row->how = MH_HOW_MOVED; /* what was adopted stays another one's */
    t->status = TODO_DONE;
    t->dst_uid = m->new_uid;
    pass->res->counts.adopted++;
    pass->res->counts.moved++;
    if (pass->job->mb->progress)
        atomic_fetch_add_explicit(&pass->job->mb->progress->adopted, 1, memory_order_relaxed);
    int code = flags_note(&pass->changes, row, item, pass->kw_ids[item->kwset], err);
    if (code == MH_OK)
        code = lane_push_rows(lane, false, err);
    return code;
}

/* It is not where it was carried to. Unless it is found here by content it stays removed, and the next run
 * knows that too. */
static int write_orphan(struct pass *pass, struct lane *lane, const struct move *m,
                        struct mh_err *err)
{
    struct mh_state_item *row = lane_row(lane);
    if (!row)
        return mh_err_nomem(err);
    *row = m->was->row;
    row->src_uid = pass->scan.items[pass->todo[m->todo].item].uid;
    row->dst_uid = 0;
    row->how = MH_HOW_REMOVED;
    pass->todo[m->todo].is_orphan = true;
    pass->todo[m->todo].was_ours = is_ours(m->was);
    return lane_push_rows(lane, false, err);
}

/* FROM's rows, as GONE. */
static int write_gone(struct job *job, struct movable *const *v, size_t n, enum mh_gone gone,
                      struct mh_err *err)
{
    struct mh_state *st = job->run->cfg->state;
    int code = MH_OK;
    for (size_t i = 0; code == MH_OK && i < n;) {
        struct mh_state_batch *batch = NULL;
        code = mh_state_batch_get(st, v[i]->from->id, &batch, err);
        if (code != MH_OK)
            break;
        uint32_t folder = v[i]->from->id;
        for (; i < n && v[i]->from->id == folder && batch->n < MH_STATE_BATCH_ROWS; i++) {
            struct mh_state_item *row = &batch->rows[batch->n++];
            *row = v[i]->row;
            row->gone = (uint8_t)gone;
        }
        code = mh_state_batch_put(st, batch, err);
    }
    return code;
}

/* Away and back again, or between two folders that are one at the target: it lies where it should. */
static bool lies_here(const struct pass *pass, const struct mh_state_folder *from)
{
    return strcmp(from->dst_path, pass->dst.path) == 0;
}

/* Moves them from FROM's folder at the target; *COULD_OUT false: they have to be carried as any other message. */
static int move_there(struct pass *pass, struct lane *lane, const struct mh_state_folder *from,
                      struct moves *group, bool *could_out, struct mh_err *err)
{
    struct job *job = pass->job;
    uint64_t *uids = mh_alloc(group->n * sizeof *uids);
    size_t n = 0;
    int code = uids ? open_origin(job, lane, from, could_out, err) : mh_err_nomem(err);
    for (size_t i = 0; uids && i < group->n; i++) {
        if (group->v[i].was->row.dst_uid != 0) /* removed before: there is nothing to move */
            uids[n++] = group->v[i].was->row.dst_uid;
    }
    if (code == MH_OK && *could_out && n > 0)
        code = job->tc->move(lane->dst, uids, n, &pass->dst, on_moved, group, err);
    mh_free(uids);
    if (code != MH_ENOSUP && code != MH_EFOLDER && code != MH_EITEM && code != MH_ENOENT)
        return code;
    *could_out = false;
    return MH_OK;
}

/* Those that lie where they should now, or do not lie anywhere: their rows. The others are nobody's again. */
static int settle_moves(struct pass *pass, struct lane *lane, struct moves *group, bool could,
                        struct mh_err *err)
{
    struct movable **settled = mh_alloc(group->n * sizeof(struct movable *));
    size_t n = 0;
    int code = settled ? MH_OK : mh_err_nomem(err);
    for (size_t i = 0; i < group->n; i++) {
        struct move *m = &group->v[i];
        bool is_settled = code == MH_OK && (m->new_uid != 0 || could);
        if (!is_settled) {
            m->was->is_taken = false;
            continue;
        }
        code = m->new_uid != 0 ? write_moved(pass, lane, m, err) : write_orphan(pass, lane, m, err);
        settled[n++] = m->was;
    }
    if (code == MH_OK)
        code = write_gone(pass->job, settled, n, MH_GONE_MOVED, err);
    mh_free(settled);
    return code == MH_OK ? lane_push_rows(lane, true, err) : code;
}

/* GROUP: from one folder, ascending by target UID. What the server has told of is written down even
 * if the connection broke behind that; what it has not told of is looked for again. */
static int move_group(struct pass *pass, struct lane *lane, struct moves *group, struct mh_err *err)
{
    const struct mh_state_folder *from = group->v[0].was->from;
    struct mh_err settle_err;
    bool is_here = lies_here(pass, from);
    bool could = is_here;
    int code = is_here ? MH_OK : move_there(pass, lane, from, group, &could, err);
    for (size_t i = 0; is_here && i < group->n; i++)
        group->v[i].new_uid = group->v[i].was->row.dst_uid;
    int settle_code = settle_moves(pass, lane, group, could && code == MH_OK, &settle_err);
    if (code == MH_OK && settle_code != MH_OK)
        *err = settle_err;
    return code == MH_OK ? settle_code : code;
}

static bool can_move(const struct job *job, struct lane *lane)
{
    const struct mh_caps *caps = job->tc->caps(lane->dst);
    return job->tc->move && caps->move && caps->uidplus && !job->run->cfg->dry_run;
}

/* A move that is made and not written down is found by content in the folder's window: it must be on
 * record where that begins. Not for a folder that is another one now: all of it is matched anew. */
static int begin_moving(struct pass *pass, struct lane *lane, bool *may_out, struct mh_err *err)
{
    bool is_other = false; /* only asked about while copying */
    int code = pass_open_target(pass, lane, &is_other, err);
    *may_out = code == MH_OK &&
               (!pass->row_is_known || pass->row.dst_uidvalidity == pass->dst_opened.uidvalidity);
    return *may_out ? pass_begin(pass, err) : code;
}

int moves_carry(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct moves moves = {.n = 0};
    size_t i = 0;
    bool may = false;
    if (pass->job->n_movable == 0 || pass->n_todo == 0 || !can_move(pass->job, lane))
        return MH_OK;
    int code = find_moves(pass, lane, &moves, err);
    if (moves.n)
        qsort(moves.v, moves.n, sizeof *moves.v, order_moves);
    if (code == MH_OK && moves.n && moves.v[0].was)
        code = begin_moving(pass, lane, &may, err);
    while (code == MH_OK && may && i < moves.n && moves.v[i].was) {
        struct moves group = {.v = &moves.v[i], .n = 1};
        while (i + group.n < moves.n && moves.v[i + group.n].was &&
               moves.v[i + group.n].was->from == moves.v[i].was->from)
            group.n++;
        i += group.n;
        code = move_group(pass, lane, &group, err);
    }
    for (; i < moves.n && moves.v[i].was; i++)
        moves.v[i].was->is_taken = false; /* its turn did not come */
    mh_free(moves.v);
    if (code != MH_OK)
        mh_err_at(err, "target, moving what has moved at the source");
    return code;
}

/* Not where it was carried to, and by content not here either: the target's user has removed it. */
void moves_close_orphans(struct pass *pass)
{
    for (uint32_t i = 0; i < pass->n_todo; i++) {
        if (pass->todo[i].is_orphan && pass->todo[i].status == TODO_OPEN)
            pass_close_item(
                pass, i, "skipped", "removed-at-target",
                "it was carried before, and somebody has removed it at the target since");
    }
}

/* --- what is deleted --------------------------------------------------------------------------------------- */

static int order_by_origin(const void *a, const void *b)
{
    const struct movable *x = *(const struct movable *const *)a;
    const struct movable *y = *(const struct movable *const *)b;
    if (x->from != y->from)
        return x->from->id < y->from->id ? -1 : 1;
    return x->row.dst_uid < y->row.dst_uid ? -1 : x->row.dst_uid > y->row.dst_uid;
}

/* An empty folder of an earlier day for PATH: made, and then the run was broken off before anything was put in. */
static const struct mh_folder *find_left_empty(const struct job *job, const char *path)
{
    const size_t root = sizeof QUARANTINE_ROOT "/" - 1;
    const struct mh_folder *found = NULL;
    for (size_t i = 0; i < job->dst_folders.n; i++) {
        const struct mh_folder *f = &job->dst_folders.v[i];
        const char *day = strncmp(f->path, QUARANTINE_ROOT "/", root) == 0 ? f->path + root : "";
        const char *rest = strchr(day, '/');
        bool is_empty = (f->attrs & MH_FOLDER_HAS_STATUS) && f->messages == 0 &&
                        !(f->attrs & MH_FOLDER_NOSELECT);
        if (rest && is_empty && strcmp(rest + 1, path) == 0)
            found = f;
    }
    return found;
}

/* "mailhaul-removed/2026-11-22/<folder>", made, or the one that was left empty. */
static int make_quarantine(struct job *job, struct lane *lane, const char *path,
                           struct mh_folder *out, struct mh_err *err)
{
    const struct mh_folder *left = find_left_empty(job, path);
    char day[16];
    struct tm tm;
    time_t now = (time_t)mh_clock_wall_s();
    if (left) {
        out->path = mh_strdup(left->path);
        out->native = mh_strdup(left->native);
        return out->path && out->native ? MH_OK : mh_err_nomem(err);
    }
    (void)gmtime_r(&now, &tm);
    (void)strftime(day, sizeof day, "%Y-%m-%d", &tm);
    char *want = mh_asprintf(QUARANTINE_ROOT "/%s/%s", day, path);
    if (!want)
        return mh_err_nomem(err);
    int code = job->tc->create(lane->dst, want, MH_ROLE_NONE, &out->path, &out->native, err);
    mh_free(want);
    return code;
}

struct put_away {
    struct movable **v;
    size_t n;
    bool *done; /* by index */
};

static int order_put_away(const void *key, const void *element)
{
    const uint64_t *uid = key;
    uint64_t other = (*(const struct movable *const *)element)->row.dst_uid;
    return *uid < other ? -1 : *uid > other;
}

static int on_put_away(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    struct put_away *p = ctx;
    (void)new_uid;
    (void)err;
    struct movable **m = bsearch(&uid, p->v, p->n, sizeof(struct movable *), order_put_away);
    if (m)
        p->done[m - p->v] = true;
    return MH_OK;
}

static void count_gone(struct movable *m, bool is_removed)
{
    m->is_taken = true;
    m->counts->removed += is_removed;
    m->counts->gone += !is_removed;
}

/* Which of the folder that is open are there; N_OUT of UIDS are left. */
static int only_there(struct job *job, struct lane *lane, uint64_t *uids, size_t n, size_t *n_out,
                      struct mh_err *err)
{
    struct mh_scan scan;
    *n_out = n;
    if (!job->tc->scan_uids)
        return MH_OK;
    int code = mh_scan_init(&scan, err);
    if (code == MH_OK)
        code = job->tc->scan_uids(lane->dst, uids, n, &scan, err);
    if (code == MH_OK)
        *n_out = 0;
    for (size_t i = 0; code == MH_OK && i < n; i++) {
        if (mh_scan_find(&scan, uids[i]))
            uids[(*n_out)++] = uids[i];
    }
    mh_scan_done(&scan);
    return code;
}

/* Moves what of P lies in FROM's folder. That of the quarantine is made only when there is something
 * to put in: servers keep an empty folder for ever, and there is no step of ours that removes one.
 * Where a run was broken off between the two, the next puts something in. */
static int put_away(struct job *job, struct lane *lane, const struct mh_state_folder *from,
                    struct put_away *p, uint64_t *uids, struct mh_err *err)
{
    struct mh_folder to = {.path = NULL};
    bool is_same = false;
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        uids[i] = p->v[i]->row.dst_uid;
    int code = open_origin(job, lane, from, &is_same, err);
    if (code == MH_OK && is_same)
        code = only_there(job, lane, uids, p->n, &n, err);
    if (code == MH_OK && n > 0)
        code = make_quarantine(job, lane, from->dst_path, &to, err);
    if (code == MH_OK && n > 0)
        code = job->tc->move(lane->dst, uids, n, &to, on_put_away, p, err);
    mh_free(to.path);
    mh_free(to.native);
    return code;
}

/* V: from one folder, ours. What the server has told of is written down even if the connection broke
 * behind that. */
static int quarantine_group(struct job *job, struct lane *lane, struct movable **v, size_t n,
                            struct mh_err *err)
{
    struct mh_err write_err;
    struct put_away p = {.v = v, .n = n, .done = mh_zalloc(n * sizeof *p.done)};
    uint64_t *uids = mh_alloc(n * sizeof *uids);
    int code = uids && p.done ? put_away(job, lane, v[0]->from, &p, uids, err) : mh_err_nomem(err);
    int write_code = MH_OK;
    for (size_t i = 0; p.done && write_code == MH_OK && i < n;) {
        /* One that is not there any more was removed by the target's user: gone for good. */
        bool is_away = p.done[i];
        size_t end = i + 1;
        while (end < n && p.done[end] == is_away)
            end++;
        if (is_away || code == MH_OK)
            write_code = write_gone(job, &v[i], end - i,
                                    is_away ? MH_GONE_QUARANTINED : MH_GONE_KEPT, &write_err);
        for (; i < end; i++) {
            if (is_away || code == MH_OK)
                count_gone(v[i], is_away);
        }
    }
    mh_free(p.done);
    mh_free(uids);
    if (code == MH_OK && write_code != MH_OK)
        *err = write_err;
    return code == MH_OK ? write_code : code;
}

/* Those of V that nothing was done with. */
static int keep_group(struct job *job, struct movable **v, size_t n, struct mh_err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!v[i]->is_taken)
            v[kept++] = v[i];
    }
    for (size_t i = 0; i < kept; i++)
        count_gone(v[i], false);
    return write_gone(job, v, kept, MH_GONE_KEPT, err);
}

/* Those of V (from one folder) that may be put away first, the others behind them. */
static size_t ours_first(struct movable **v, size_t n)
{
    size_t ours = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_ours(v[i]))
            continue;
        struct movable *m = v[i];
        v[i] = v[ours];
        v[ours++] = m;
    }
    if (ours)
        qsort(v, ours, sizeof(struct movable *), order_by_origin);
    return ours;
}

static void note_refusal(struct job *job, const struct mh_state_folder *from,
                         const struct mh_err *err)
{
    char line[512];
    result_item(&job->res->notes, &job->res->n_notes, &job->res->cap_notes, from->src_path, 0,
                "quarantine", "refused", mh_err_line(err, line, sizeof line));
}

static int settle_group(struct job *job, struct lane *lane, struct movable **v, size_t n,
                        struct mh_err *err)
{
    size_t ours = 0;
    int code = job->run->cfg->quarantines ? lane_sessions(lane, err) : MH_OK;
    if (code == MH_OK && job->run->cfg->quarantines && can_move(job, lane))
        ours = ours_first(v, n);
    if (code == MH_OK && ours)
        code = quarantine_group(job, lane, v, ours, err);
    if (code == MH_EFOLDER || code == MH_EITEM || code == MH_ENOSUP || code == MH_ENOENT) {
        note_refusal(job, v[0]->from, err);
        ours = 0;
        code = MH_OK;
    }
    if (code == MH_OK && job->run->cfg->quarantines && ours < n)
        result_item(&job->res->notes, &job->res->n_notes, &job->res->cap_notes,
                    v[0]->from->src_path, 0, "quarantine", "kept",
                    "deleted at the source, kept at the target");
    return code == MH_OK ? keep_group(job, v + ours, n - ours, err) : code;
}

/* A lost folder's mail is dealt with: the next run need not look at it again. */
static int close_lost(struct job *job, struct lost_folder *lost, struct mh_err *err)
{
    lost->row->src_uidvalidity = 0;
    lost->row->complete = false;
    return mh_state_put_folder(job->run->cfg->state, lost->row, err);
}

static bool all_went_well(const struct job *job)
{
    bool ok = job->stop_err.code == MH_OK;
    for (size_t i = 0; i < job->n_passes; i++)
        ok = ok && job->passes[i].phase == PASS_ENDED && job->passes[i].res->err.code == MH_OK &&
             !job->passes[i].has_failed;
    return ok;
}

/* Passes that were not surveyed have kept their gone ones: they join here. */
static int join_late(struct job *job, struct mh_err *err)
{
    size_t n = 0;
    if (!job->movable)
        return moves_index(job, err);
    for (size_t i = 0; i < job->n_passes; i++)
        n += job->passes[i].gone.n;
    struct movable *grown =
        mh_realloc_array(job->movable, job->n_movable + n + 1, sizeof *job->movable);
    if (!grown)
        return mh_err_nomem(err);
    job->movable = grown;
    for (size_t i = 0; i < job->n_passes; i++)
        take_gone(job, &job->passes[i]);
    return MH_OK;
}

static int gather_rest(struct job *job, struct movable ***out, size_t *n_out, struct mh_err *err)
{
    size_t n = 0;
    int code = join_late(job, err);
    if (code != MH_OK)
        return code;
    struct movable **v = mh_alloc(MH_MAX(job->n_movable, (size_t)1) * sizeof(struct movable *));
    if (!v)
        return mh_err_nomem(err);
    for (size_t i = 0; i < job->n_movable; i++) {
        if (!job->movable[i].is_taken)
            v[n++] = &job->movable[i];
    }
    if (n)
        qsort(v, n, sizeof(struct movable *), order_by_origin);
    *out = v;
    *n_out = n;
    return MH_OK;
}

void moves_forget(struct pass *pass)
{
    struct job *job = pass->job;
    for (size_t i = 0; i < job->n_movable; i++) {
        if (job->movable[i].from == &pass->row)
            job->movable[i].is_taken = true;
    }
}

int moves_settle(struct job *job, struct lane *lane, struct mh_err *err)
{
    struct movable **v = NULL;
    size_t n = 0;
    /* While anything is open, what is missing here may be what could not be carried there. */
    if (job->run->cfg->dry_run || !all_went_well(job))
        return MH_OK;
    int code = gather_rest(job, &v, &n, err);
    for (size_t i = 0; code == MH_OK && i < n;) {
        size_t end = i + 1;
        while (end < n && v[end]->from == v[i]->from)
            end++;
        code = settle_group(job, lane, v + i, end - i, err);
        i = end;
    }
    for (size_t i = 0; code == MH_OK && i < job->n_lost; i++)
        code = close_lost(job, &job->lost[i], err);
    for (size_t i = 0; code == MH_OK && i < job->n_passes; i++) {
        struct pass *p = &job->passes[i];
        if (p->will_be_complete)
            code = pass_write_row(p, ROW_COMPLETE, err);
    }
    mh_free(v);
    return code;
}
