/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading: in the caller's thread, on a connection that readers share behind a lock. */
#include <stdlib.h>
#include <string.h>

#include "state/state_priv.h"

/* Prepares under the readers' lock; every begin has its end. */
static int read_begin(struct mh_state *st, const char *sql, sqlite3_stmt **out, struct mh_err *err)
{
    (void)pthread_mutex_lock(&st->rd_lock);
    int code = state_prepare(st, st->rd, sql, out, err);
    if (code != MH_OK)
        (void)pthread_mutex_unlock(&st->rd_lock);
    return code;
}

static int read_end(struct mh_state *st, sqlite3_stmt *stmt, int last_step, int code,
                    struct mh_err *err)
{
    if (code == MH_OK && last_step != SQLITE_DONE && last_step != SQLITE_ROW)
        code = state_sql_err(st, st->rd, last_step, "cannot read", err);
    (void)sqlite3_finalize(stmt);
    (void)pthread_mutex_unlock(&st->rd_lock);
    return code;
}

/* A text column; "" for SQL's NULL, NULL when out of memory. Valid until the next step. */
static const char *text_at(sqlite3_stmt *stmt, int column)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return "";
    return (const char *)sqlite3_column_text(stmt, column);
}

static uint64_t u64_at(sqlite3_stmt *stmt, int column)
{
    return (uint64_t)sqlite3_column_int64(stmt, column);
}

/* SQLite's integers have a sign; no UID is above. */
static sqlite3_int64 as_int64(uint64_t v)
{
    return (sqlite3_int64)MH_MIN(v, (uint64_t)INT64_MAX);
}

static int find_mailbox(struct mh_state *st, const char *const texts[3], uint32_t *mailbox_out,
                        bool *is_known_out, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int code =
        read_begin(st, "SELECT id FROM mailbox WHERE name=? AND src=? AND dst=?", &stmt, err);
    if (code != MH_OK)
        return code;
    for (int i = 0; i < 3; i++)
        (void)sqlite3_bind_text(stmt, 1 + i, texts[i], -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    *is_known_out = rc == SQLITE_ROW;
    if (*is_known_out)
        *mailbox_out = (uint32_t)sqlite3_column_int64(stmt, 0);
    return read_end(st, stmt, rc, MH_OK, err);
}

int mh_state_mailbox(struct mh_state *st, const char *id, const char *src_key, const char *dst_key,
                     uint32_t *mailbox_out, struct mh_err *err)
{
    const char *const texts[] = {id, src_key, dst_key};
    bool is_known = false;
    int code = find_mailbox(st, texts, mailbox_out, &is_known, err);
    if (code != MH_OK || is_known)
        return code;
    if (st->read_only)
        return mh_err_set(err, MH_ENOENT, "state", "the state knows no mailbox %s", id);
    /* Two that ask at once each hand over a row: the first one stands, so both look again. */
    code = state_push_mailbox(st, texts, err);
    if (code == MH_OK)
        code = mh_state_sync(st, err);
    if (code == MH_OK)
        code = find_mailbox(st, texts, mailbox_out, &is_known, err);
    if (code == MH_OK && !is_known)
        code = mh_err_set(err, MH_ERUN, "state",
                          "state %s: mailbox %s was written and is not there; another program "
                          "changes the file: end that and run the same command again",
                          st->path, id);
    return code;
}

/* A column's bytes as an own string; out of memory inside SQLite fails the next step. */
static char *dup_column(sqlite3_stmt *stmt, int column)
{
    const void *bytes = sqlite3_column_blob(stmt, column);
    int n = sqlite3_column_bytes(stmt, column);
    return mh_strndup(bytes ? bytes : "", bytes && n > 0 ? (size_t)n : 0);
}

static int add_folder(struct mh_state_folders *l, size_t *cap, sqlite3_stmt *s, struct mh_err *err)
{
    if (!mh_grow(l->v, *cap, l->n + 1))
        return mh_err_nomem(err);
    struct mh_state_folder *f = &l->v[l->n++];
    *f = (struct mh_state_folder){.id = (uint32_t)sqlite3_column_int64(s, 0),
                                  .mailbox = (uint32_t)sqlite3_column_int64(s, 1),
                                  .src_path = dup_column(s, 2),
                                  .dst_path = dup_column(s, 3),
                                  .dst_native = dup_column(s, 4),
                                  .src_uidvalidity = (uint32_t)sqlite3_column_int64(s, 5),
                                  .dst_uidvalidity = (uint32_t)sqlite3_column_int64(s, 6),
                                  .src_uidnext = u64_at(s, 7),
                                  .src_messages = u64_at(s, 8),
                                  .src_highestmodseq = u64_at(s, 9),
                                  .target_uidnext = u64_at(s, 10),
                                  .complete = sqlite3_column_int(s, 11) != 0,
                                  .src_object_id = u64_at(s, 12)};
    return f->src_path && f->dst_path && f->dst_native ? MH_OK : mh_err_nomem(err);
}

int mh_state_folders(struct mh_state *st, uint32_t mailbox, struct mh_state_folders *out,
                     struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    size_t cap = 0;
    int rc = SQLITE_DONE;
    *out = (struct mh_state_folders){0};
    int code = read_begin(st,
                          "SELECT id, mailbox, CASE typeof(src_path) WHEN 'text' THEN src_path "
                          "ELSE '' END AS path, dst_path, dst_native, src_uidvalidity, "
                          "dst_uidvalidity, src_uidnext, src_messages, src_highestmodseq, "
                          "target_uidnext, complete, src_object_id FROM folder WHERE mailbox=? "
                          "ORDER BY path, id",
                          &stmt, err);
    if (code != MH_OK)
        return code;
    (void)sqlite3_bind_int64(stmt, 1, mailbox);
    while (code == MH_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        code = add_folder(out, &cap, stmt, err);
    code = read_end(st, stmt, rc, code, err);
    if (code != MH_OK)
        mh_state_folders_done(out);
    return code;
}

void mh_state_folders_done(struct mh_state_folders *f)
{
    for (size_t i = 0; i < f->n; i++) {
        mh_free(f->v[i].src_path);
        mh_free(f->v[i].dst_path);
        mh_free(f->v[i].dst_native);
    }
    mh_free(f->v);
    *f = (struct mh_state_folders){0};
}

#define ITEM_COLUMNS                                                                               \
    "src_uid, dst_uid, size, date, zone, kw, flags, how, gone, digest, object_id, theirs, "        \
    "theirs_kw"

static int add_item(struct mh_state_items *l, sqlite3_stmt *s, struct mh_err *err)
{
    if (!mh_grow(l->v, l->cap, l->n + 1))
        return mh_err_nomem(err);
    struct mh_state_item *i = &l->v[l->n++];
    *i = (struct mh_state_item){.src_uid = u64_at(s, 0),
                                .dst_uid = u64_at(s, 1),
                                .size = u64_at(s, 2),
                                .date = {.unix_s = sqlite3_column_int64(s, 3),
                                         .zone_min = (int16_t)sqlite3_column_int(s, 4),
                                         .is_set = sqlite3_column_type(s, 3) != SQLITE_NULL},
                                .kw = (uint32_t)sqlite3_column_int64(s, 5),
                                .flags = (uint8_t)sqlite3_column_int(s, 6),
                                .how = (uint8_t)sqlite3_column_int(s, 7),
                                .gone = (uint8_t)sqlite3_column_int(s, 8),
                                .object_id = u64_at(s, 10),
                                .theirs = (uint8_t)sqlite3_column_int(s, 11),
                                .theirs_kw = (uint32_t)sqlite3_column_int64(s, 12)};
    const void *digest = sqlite3_column_blob(s, 9);
    if (digest && sqlite3_column_bytes(s, 9) == MH_DIGEST_BYTES) {
        memcpy(i->digest.bytes, digest, MH_DIGEST_BYTES);
        i->has_digest = true;
    }
    return MH_OK;
}

/* One range after the other by the primary key, all in one transaction of the reader. */
static int read_ranges(struct mh_state *st, sqlite3_stmt *stmt, uint32_t folder,
                       const struct mh_uids *uids, struct mh_state_items *out, struct mh_err *err)
{
    int code = MH_OK;
    int rc = sqlite3_exec(st->rd, "BEGIN", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return state_sql_err(st, st->rd, rc, "cannot read", err);
    (void)sqlite3_bind_int64(stmt, 1, folder);
    for (size_t i = 0; code == MH_OK && i < uids->n; i++) {
        (void)sqlite3_bind_int64(stmt, 2, as_int64(uids->v[i].lo));
        (void)sqlite3_bind_int64(stmt, 3, as_int64(uids->v[i].hi));
        while (code == MH_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
            code = add_item(out, stmt, err);
        if (code == MH_OK && rc != SQLITE_DONE)
            code = state_sql_err(st, st->rd, rc, "cannot read", err);
        (void)sqlite3_reset(stmt);
    }
    (void)sqlite3_exec(st->rd, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
    return code;
}

int mh_state_items_in(struct mh_state *st, uint32_t folder, const struct mh_uids *uids,
                      struct mh_state_items *out, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    *out = (struct mh_state_items){0};
    int code = read_begin(st,
                          "SELECT " ITEM_COLUMNS " FROM item WHERE folder=? AND src_uid BETWEEN ? "
                          "AND ? ORDER BY src_uid",
                          &stmt, err);
    if (code != MH_OK)
        return code;
    code = read_ranges(st, stmt, folder, uids, out, err);
    code = read_end(st, stmt, SQLITE_DONE, code, err);
    if (code != MH_OK)
        mh_state_items_done(out);
    return code;
}

int mh_state_items(struct mh_state *st, uint32_t folder, struct mh_state_items *out,
                   struct mh_err *err)
{
    struct mh_uid_range all = {0, UINT64_MAX};
    return mh_state_items_in(st, folder, &(struct mh_uids){&all, 1, 1}, out, err);
}

/* The UIDs that SQL yields for a folder and FROM. */
static int read_uids(struct mh_state *st, const char *sql, uint32_t folder, uint64_t from,
                     struct mh_uids *out, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_DONE;
    *out = (struct mh_uids){0};
    int code = read_begin(st, sql, &stmt, err);
    if (code != MH_OK)
        return code;
    (void)sqlite3_bind_int64(stmt, 1, folder);
    (void)sqlite3_bind_int64(stmt, 2, as_int64(from));
    while (code == MH_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        code = mh_uids_add(out, u64_at(stmt, 0), u64_at(stmt, 0), err);
    code = read_end(st, stmt, rc, code, err);
    mh_uids_finish(out);
    if (code != MH_OK)
        mh_uids_done(out);
    return code;
}

int mh_state_src_uids(struct mh_state *st, uint32_t folder, struct mh_uids *out, struct mh_err *err)
{
    return read_uids(st,
                     "SELECT src_uid FROM item WHERE folder=? AND src_uid>=? AND gone=0 "
                     "ORDER BY src_uid",
                     folder, 0, out, err);
}

int mh_state_dst_uids(struct mh_state *st, uint32_t folder, uint64_t from, struct mh_uids *out,
                      struct mh_err *err)
{
    return read_uids(st,
                     "SELECT dst_uid FROM item WHERE folder=? AND dst_uid>=? AND dst_uid>0 "
                     "ORDER BY dst_uid",
                     folder, from, out, err);
}

void mh_state_items_done(struct mh_state_items *i)
{
    mh_free(i->v);
    *i = (struct mh_state_items){0};
}

static int order_uid(const void *key, const void *element)
{
    uint64_t uid = *(const uint64_t *)key;
    const struct mh_state_item *i = element;
    return uid < i->src_uid ? -1 : uid > i->src_uid;
}

struct mh_state_item *mh_state_items_find(const struct mh_state_items *i, uint64_t src_uid)
{
    return i->n ? bsearch(&src_uid, i->v, i->n, sizeof *i->v, order_uid) : NULL;
}

int mh_state_ledger(struct mh_state *st, uint32_t mailbox,
                    int (*each)(void *ctx, const char *src_path, const struct mh_ledger_row *row),
                    void *ctx, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_DONE;
    int code = read_begin(st,
                          "SELECT f.id, f.src_path, l.src_uid, l.state, l.reason, l.text FROM "
                          "ledger l JOIN folder f ON f.id = l.folder WHERE f.mailbox=? AND "
                          "typeof(f.src_path)='text' ORDER BY f.src_path, l.src_uid",
                          &stmt, err);
    if (code != MH_OK)
        return code;
    (void)sqlite3_bind_int64(stmt, 1, mailbox);
    while (code == MH_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct mh_ledger_row row = {.folder = (uint32_t)sqlite3_column_int64(stmt, 0),
                                    .src_uid = u64_at(stmt, 2),
                                    .state = text_at(stmt, 3),
                                    .reason = text_at(stmt, 4),
                                    .text = text_at(stmt, 5)};
        const char *path = text_at(stmt, 1);
        if (!path || !row.state || !row.reason || !row.text)
            code = mh_err_nomem(err);
        else if (each(ctx, path, &row) != 0)
            break;
    }
    return read_end(st, stmt, rc, code, err);
}

int mh_state_broken_off(struct mh_state *st, uint32_t mailbox, int64_t *wall_s_out,
                        struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    *wall_s_out = 0;
    int code = read_begin(st, "SELECT 1 FROM run WHERE mailbox=? AND ended=0", &stmt, err);
    if (code != MH_OK)
        return code;
    (void)sqlite3_bind_int64(stmt, 1, mailbox);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && st->has_last_write) {
        int64_t age_s = (mh_clock_mono_ms() - st->last_write_mono_ms) / 1000;
        *wall_s_out = mh_clock_wall_s() - age_s;
        if (*wall_s_out ==
            0) /* the first second of 1970 is no reason to believe that there was none */
            *wall_s_out = -1;
    }
    return read_end(st, stmt, rc, code, err);
}

int mh_state_runs(struct mh_state *st,
                  int (*each)(void *ctx, const char *mailbox_id, const struct mh_run_row *row),
                  void *ctx, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_DONE;
    int code = read_begin(st,
                          "SELECT m.name, r.mailbox, r.started, r.ended, r.phase, r.problem, "
                          "r.found, r.copied, r.adopted, r.skipped, r.failed, r.updated, r.bytes, "
                          "r.equal_wall_s, r.lag_ms FROM run r JOIN mailbox m ON m.id = r.mailbox "
                          "ORDER BY m.id",
                          &stmt, err);
    if (code != MH_OK)
        return code;
    while (code == MH_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = text_at(stmt, 0);
        struct mh_run_row row = {.mailbox = (uint32_t)sqlite3_column_int64(stmt, 1),
                                 .started_wall_s = sqlite3_column_int64(stmt, 2),
                                 .ended_wall_s = sqlite3_column_int64(stmt, 3),
                                 .phase = text_at(stmt, 4),
                                 .problem = text_at(stmt, 5),
                                 .equal_wall_s = sqlite3_column_int64(stmt, 13),
                                 .lag_ms = sqlite3_column_int64(stmt, 14)};
        uint64_t *const counts[] = {&row.found,  &row.copied,  &row.adopted, &row.skipped,
                                    &row.failed, &row.updated, &row.bytes};
        for (size_t i = 0; i < MH_ARRAY_LEN(counts); i++)
            *counts[i] = u64_at(stmt, 6 + (int)i);
        if (!name || !row.phase || !row.problem)
            code = mh_err_nomem(err);
        else if (each(ctx, name, &row) != 0)
            break;
    }
    return read_end(st, stmt, rc, code, err);
}

/* --- verify ----------------------------------------------------------------------------------------------- */

struct verify_walk {
    sqlite3_stmt *items;
    int (*each)(void *ctx, const struct mh_verify_row *row);
    int (*each_item)(void *ctx, const char *src_path, const struct mh_verify_item *item);
    void *ctx;
    bool has_ended; /* a callback said so */
};

static int walk_items(struct mh_state *st, struct verify_walk *w, int64_t verify,
                      const char *src_path, struct mh_err *err)
{
    int rc = SQLITE_DONE;
    int code = MH_OK;
    (void)sqlite3_bind_int64(w->items, 1, verify);
    while (code == MH_OK && !w->has_ended && (rc = sqlite3_step(w->items)) == SQLITE_ROW) {
        struct mh_verify_item item = {.uid = u64_at(w->items, 0),
                                      .state = text_at(w->items, 1),
                                      .reason = text_at(w->items, 2),
                                      .text = text_at(w->items, 3)};
        if (!item.state || !item.reason || !item.text)
            code = mh_err_nomem(err);
        else
            w->has_ended = w->each_item(w->ctx, src_path, &item) != 0;
    }
    if (code == MH_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
        code = state_sql_err(st, st->rd, rc, "cannot read", err);
    (void)sqlite3_reset(w->items);
    return code;
}

static int walk_folder(struct mh_state *st, struct verify_walk *w, sqlite3_stmt *s,
                       struct mh_err *err)
{
    struct mh_verify_row row = {.mailbox = (uint32_t)sqlite3_column_int64(s, 1),
                                .src_path = text_at(s, 2),
                                .mode = text_at(s, 3),
                                .next_uid = u64_at(s, 4)};
    if (row.next_uid == (uint64_t)INT64_MAX)
        row.next_uid = UINT64_MAX;
    for (size_t i = 0; i < MH_ARRAY_LEN(row.counts); i++)
        row.counts[i] = u64_at(s, 5 + (int)i);
    if (!row.src_path || !row.mode)
        return mh_err_nomem(err);
    w->has_ended = w->each(w->ctx, &row) != 0;
    return w->has_ended ? MH_OK : walk_items(st, w, sqlite3_column_int64(s, 0), row.src_path, err);
}

int mh_state_verify(struct mh_state *st, uint32_t mailbox,
                    int (*each)(void *ctx, const struct mh_verify_row *row),
                    int (*each_item)(void *ctx, const char *src_path,
                                     const struct mh_verify_item *item),
                    void *ctx, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    struct verify_walk w = {.each = each, .each_item = each_item, .ctx = ctx};
    int rc = SQLITE_DONE;
    int code = read_begin(st,
                          "SELECT id, mailbox, src_path, mode, next_uid, n0, n1, n2, n3, n4, n5, "
                          "n6, n7 FROM verify WHERE mailbox=? ORDER BY src_path",
                          &stmt, err);
    if (code != MH_OK)
        return code;
    /* The outer statement stays open meanwhile: both see the store as it was at its first step. */
    code = state_prepare(st, st->rd,
                         "SELECT uid, state, reason, text FROM verify_item WHERE verify=? "
                         "ORDER BY id",
                         &w.items, err);
    (void)sqlite3_bind_int64(stmt, 1, mailbox);
    while (code == MH_OK && !w.has_ended && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        code = walk_folder(st, &w, stmt, err);
    (void)sqlite3_finalize(w.items);
    return read_end(st, stmt, rc, code, err);
}
