/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store's public face: opening, handing over, reading. */
#include "state/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/state_priv.h"

/* --- life ---------------------------------------------------------------------------------------------- */

static void state_free(struct mh_state *st)
{
    while (st->spare) {
        struct mh_state_batch *b = st->spare;
        st->spare = b->link[0];
        mh_free(b);
    }
    state_db_close(st);
    mh_queue_free(st->queue);
    mh_kwsets_free(st->keywords);
    if (st->lock_fd >= 0)
        (void)close(st->lock_fd);
    (void)pthread_mutex_destroy(&st->rd_lock);
    (void)pthread_mutex_destroy(&st->lock);
    (void)pthread_cond_destroy(&st->synced);
    mh_free(st->path);
    mh_free(st);
}

static int start_writer(struct mh_state *st, struct mh_err *err)
{
    int code = mh_queue_new(QUEUE_ITEMS_MAX, QUEUE_BYTES_MAX, &st->queue, err);
    if (code != MH_OK)
        return code;
    int rc = pthread_create(&st->writer, NULL, state_writer_main, st);
    if (rc != 0)
        return mh_err_sys(err, MH_ERUN, "state", rc, "cannot start the state's thread");
    st->has_writer = true;
    return MH_OK;
}

/* The write-ahead log's time is that of the last commit; without one the file's own. */
static int find_last_write(struct mh_state *st, struct mh_err *err)
{
    struct stat info;
    char *wal = mh_asprintf("%s-wal", st->path);
    if (!wal)
        return mh_err_nomem(err);
    if (stat(wal, &info) == 0 || stat(st->path, &info) == 0)
        st->last_write_wall_s = (int64_t)info.st_mtime;
    mh_free(wal);
    return MH_OK;
}

int mh_state_open(const char *path, bool read_only, struct mh_state **out, struct mh_err *err)
{
    struct mh_state *st = mh_zalloc(sizeof *st);
    if (!st)
        return mh_err_nomem(err);
    st->lock_fd = -1;
    st->read_only = read_only;
    mh_err_reset(&st->first_error);
    (void)pthread_mutex_init(&st->rd_lock, NULL);
    (void)pthread_mutex_init(&st->lock, NULL);
    (void)pthread_cond_init(&st->synced, NULL);
    st->path = mh_strdup(path);
    int code = st->path ? mh_kwsets_new(&st->keywords, err) : mh_err_nomem(err);
    if (code == MH_OK && !read_only)
        code = state_lock(path, &st->lock_fd, err);
    if (code == MH_OK)
        code = find_last_write(st, err);
    if (code == MH_OK)
        code = state_db_open(st, err);
    if (code == MH_OK && !read_only)
        code = start_writer(st, err);
    if (code != MH_OK) {
        state_free(st);
        return code;
    }
    *out = st;
    return MH_OK;
}

int mh_state_close(struct mh_state *st, struct mh_err *err)
{
    if (!st)
        return MH_OK;
    if (st->has_writer) {
        mh_queue_close(st->queue);
        (void)pthread_join(st->writer, NULL);
    }
    int code = mh_state_health(st, err);
    state_free(st);
    return code;
}

int mh_state_health(struct mh_state *st, struct mh_err *err)
{
    int code = atomic_load_explicit(&st->health, memory_order_relaxed);
    if (code == MH_OK)
        return MH_OK;
    (void)pthread_mutex_lock(&st->lock);
    if (err)
        *err = st->first_error;
    (void)pthread_mutex_unlock(&st->lock);
    return code;
}

int mh_state_sync(struct mh_state *st, struct mh_err *err)
{
    struct sync_record s = {.rec = {.item = {NULL, 0}, .kind = REC_SYNC},
                            .sched = mh_task_self() ? mh_sched_self() : NULL};
    int code = state_push(st, &s.rec, err);
    if (code != MH_OK)
        return code;
    if (s.sched) {
        while (!s.done)
            mh_wait_always(&s.q);
    } else {
        (void)pthread_mutex_lock(&st->lock);
        while (!s.done)
            (void)pthread_cond_wait(&st->synced, &st->lock);
        (void)pthread_mutex_unlock(&st->lock);
    }
    return s.code == MH_OK ? MH_OK : mh_state_health(st, err);
}

/* --- handing over ------------------------------------------------------------------------------------------ */

static int push_id(struct mh_state *st, enum record_kind kind, uint32_t id, struct mh_err *err)
{
    struct record *rec = mh_zalloc(sizeof *rec);
    if (!rec)
        return mh_err_nomem(err);
    *rec = (struct record){{NULL, sizeof *rec}, kind, id};
    return state_push(st, rec, err);
}

int mh_state_clear_items(struct mh_state *st, uint32_t folder, struct mh_err *err)
{
    return push_id(st, REC_CLEAR_ITEMS, folder, err);
}

int mh_state_clear_ledger(struct mh_state *st, uint32_t folder, struct mh_err *err)
{
    return push_id(st, REC_CLEAR_LEDGER, folder, err);
}

int mh_state_put_folder(struct mh_state *st, const struct mh_state_folder *f, struct mh_err *err)
{
    struct folder_record *r = mh_zalloc(sizeof *r);
    if (!r)
        return mh_err_nomem(err);
    r->rec = (struct record){{NULL, sizeof *r}, REC_FOLDER, f->id};
    r->row = *f;
    r->row.src_path = mh_strdup(f->src_path);
    r->row.dst_path = mh_strdup(f->dst_path ? f->dst_path : "");
    r->row.dst_native = mh_strdup(f->dst_native ? f->dst_native : "");
    if (!r->row.src_path || !r->row.dst_path || !r->row.dst_native) {
        state_record_free(st, &r->rec);
        return mh_err_nomem(err);
    }
    return state_push(st, &r->rec, err);
}

int mh_state_put_ledger(struct mh_state *st, const struct mh_ledger_row *row, struct mh_err *err)
{
    struct ledger_record *r = mh_zalloc(sizeof *r);
    if (!r)
        return mh_err_nomem(err);
    r->rec = (struct record){{NULL, sizeof *r + strlen(row->text)}, REC_LEDGER, row->folder};
    r->src_uid = row->src_uid;
    r->state = mh_strdup(row->state);
    r->reason = mh_strdup(row->reason);
    r->text = mh_strdup(row->text);
    if (!r->state || !r->reason || !r->text) {
        state_record_free(st, &r->rec);
        return mh_err_nomem(err);
    }
    return state_push(st, &r->rec, err);
}

int mh_state_put_run(struct mh_state *st, const struct mh_run_row *row, struct mh_err *err)
{
    struct run_record *r = mh_zalloc(sizeof *r);
    if (!r)
        return mh_err_nomem(err);
    r->rec = (struct record){{NULL, sizeof *r}, REC_RUN, row->mailbox};
    r->row = *row;
    r->phase = mh_strdup(row->phase);
    r->problem = mh_strdup(row->problem);
    if (!r->phase || !r->problem) {
        state_record_free(st, &r->rec);
        return mh_err_nomem(err);
    }
    return state_push(st, &r->rec, err);
}

static int push_texts(struct mh_state *st, enum record_kind kind, uint32_t id, const char *a,
                      const char *b, const char *c, struct mh_err *err)
{
    const char *const texts[] = {a, b, c};
    struct text_record *r = mh_zalloc(sizeof *r);
    if (!r)
        return mh_err_nomem(err);
    r->rec = (struct record){{NULL, sizeof *r}, kind, id};
    for (size_t i = 0; i < MH_ARRAY_LEN(texts); i++) {
        r->text[i] = texts[i] ? mh_strdup(texts[i]) : NULL;
        if (texts[i] && !r->text[i]) {
            state_record_free(st, &r->rec);
            return mh_err_nomem(err);
        }
    }
    return state_push(st, &r->rec, err);
}

uint32_t mh_state_new_folder_id(struct mh_state *st)
{
    return atomic_fetch_add(&st->next_folder, 1);
}

int mh_state_kw_id(struct mh_state *st, const char *text, uint32_t *id_out, struct mh_err *err)
{
    char canonical[1024];
    uint32_t known = 0;
    (void)pthread_mutex_lock(&st->lock);
    uint32_t before = mh_kwsets_count(st->keywords);
    int code = mh_kwsets_intern(st->keywords, text, strlen(text), &known, err);
    bool is_new = code == MH_OK && mh_kwsets_count(st->keywords) > before;
    if (is_new)
        (void)snprintf(canonical, sizeof canonical, "%s", mh_kwsets_text(st->keywords, known));
    (void)pthread_mutex_unlock(&st->lock);
    *id_out = known;
    if (is_new && !st->read_only)
        code = push_texts(st, REC_KEYWORDS, known, canonical, NULL, NULL, err);
    return code;
}

const char *mh_state_kw_text(struct mh_state *st, uint32_t id, char *buf, size_t buf_size)
{
    (void)pthread_mutex_lock(&st->lock);
    bool known = id <= mh_kwsets_count(st->keywords);
    (void)snprintf(buf, buf_size, "%s", known ? mh_kwsets_text(st->keywords, id) : "");
    (void)pthread_mutex_unlock(&st->lock);
    return buf;
}

/* --- reading -------------------------------------------------------------------------------------------------- */

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
        code = state_sql_err(st, st->rd, "cannot read", err);
    (void)sqlite3_finalize(stmt);
    (void)pthread_mutex_unlock(&st->rd_lock);
    return code;
}

int mh_state_mailbox(struct mh_state *st, const char *id, const char *src_key, const char *dst_key,
                     uint32_t *mailbox_out, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int code =
        read_begin(st, "SELECT id FROM mailbox WHERE name=? AND src=? AND dst=?", &stmt, err);
    if (code != MH_OK)
        return code;
    (void)sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 2, src_key, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 3, dst_key, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    bool is_known = rc == SQLITE_ROW;
    if (is_known)
        *mailbox_out = (uint32_t)sqlite3_column_int64(stmt, 0);
    code = read_end(st, stmt, rc, MH_OK, err);
    if (code != MH_OK || is_known)
        return code;
    if (st->read_only)
        return mh_err_set(err, MH_ENOENT, "state", "the state knows no mailbox %s", id);
    *mailbox_out = atomic_fetch_add(&st->next_mailbox, 1);
    return push_texts(st, REC_MAILBOX, *mailbox_out, id, src_key, dst_key, err);
}

/* A column's text as an own string. */
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
                                  .src_uidnext = (uint64_t)sqlite3_column_int64(s, 7),
                                  .src_messages = (uint64_t)sqlite3_column_int64(s, 8),
                                  .src_highestmodseq = (uint64_t)sqlite3_column_int64(s, 9),
                                  .target_uidnext = (uint64_t)sqlite3_column_int64(s, 10),
                                  .complete = sqlite3_column_int(s, 11) != 0};
    return f->src_path && f->dst_path && f->dst_native ? MH_OK : mh_err_nomem(err);
}

int mh_state_folders(struct mh_state *st, uint32_t mailbox, struct mh_state_folders *out,
                     struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    size_t cap = 0;
    int rc = SQLITE_DONE;
    *out = (struct mh_state_folders){0};
    int code = read_begin(st, "SELECT * FROM folder WHERE mailbox=? ORDER BY src_path", &stmt, err);
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

static int add_item(struct mh_state_items *l, sqlite3_stmt *s, struct mh_err *err)
{
    if (!mh_grow(l->v, l->cap, l->n + 1))
        return mh_err_nomem(err);
    struct mh_state_item *i = &l->v[l->n++];
    *i = (struct mh_state_item){.src_uid = (uint64_t)sqlite3_column_int64(s, 0),
                                .dst_uid = (uint64_t)sqlite3_column_int64(s, 1),
                                .size = (uint64_t)sqlite3_column_int64(s, 2),
                                .date = {.unix_s = sqlite3_column_int64(s, 3),
                                         .zone_min = (int16_t)sqlite3_column_int(s, 4),
                                         .is_set = sqlite3_column_type(s, 3) != SQLITE_NULL},
                                .kw = (uint32_t)sqlite3_column_int64(s, 5),
                                .flags = (uint8_t)sqlite3_column_int(s, 6),
                                .how = (uint8_t)sqlite3_column_int(s, 7),
                                .gone = (uint8_t)sqlite3_column_int(s, 8)};
    const void *digest = sqlite3_column_blob(s, 9);
    if (digest && sqlite3_column_bytes(s, 9) == MH_DIGEST_BYTES) {
        memcpy(i->digest.bytes, digest, MH_DIGEST_BYTES);
        i->has_digest = true;
    }
    return MH_OK;
}

int mh_state_items(struct mh_state *st, uint32_t folder, struct mh_state_items *out,
                   struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_DONE;
    *out = (struct mh_state_items){0};
    int code = read_begin(st,
                          "SELECT src_uid, dst_uid, size, date, zone, kw, flags, how, gone, "
                          "digest FROM item WHERE folder=? ORDER BY src_uid",
                          &stmt, err);
    if (code != MH_OK)
        return code;
    (void)sqlite3_bind_int64(stmt, 1, folder);
    while (code == MH_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        code = add_item(out, stmt, err);
    code = read_end(st, stmt, rc, code, err);
    if (code != MH_OK)
        mh_state_items_done(out);
    return code;
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
                          "ledger l JOIN folder f ON f.id = l.folder WHERE f.mailbox=? ORDER BY "
                          "f.src_path, l.src_uid",
                          &stmt, err);
    if (code != MH_OK)
        return code;
    (void)sqlite3_bind_int64(stmt, 1, mailbox);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct mh_ledger_row row = {.folder = (uint32_t)sqlite3_column_int64(stmt, 0),
                                    .src_uid = (uint64_t)sqlite3_column_int64(stmt, 2),
                                    .state = (const char *)sqlite3_column_text(stmt, 3),
                                    .reason = (const char *)sqlite3_column_text(stmt, 4),
                                    .text = (const char *)sqlite3_column_text(stmt, 5)};
        const char *path = (const char *)sqlite3_column_text(stmt, 1);
        if (each(ctx, path, &row) != 0)
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
    if (rc == SQLITE_ROW)
        *wall_s_out = st->last_write_wall_s;
    return read_end(st, stmt, rc, code, err);
}

int mh_state_runs(struct mh_state *st,
                  int (*each)(void *ctx, const char *mailbox_id, const struct mh_run_row *row),
                  void *ctx, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = SQLITE_DONE;
    int code = read_begin(st,
                          "SELECT m.name, r.* FROM run r JOIN mailbox m ON m.id = r.mailbox "
                          "ORDER BY m.id",
                          &stmt, err);
    if (code != MH_OK)
        return code;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct mh_run_row row = {.mailbox = (uint32_t)sqlite3_column_int64(stmt, 1),
                                 .started_wall_s = sqlite3_column_int64(stmt, 2),
                                 .ended_wall_s = sqlite3_column_int64(stmt, 3),
                                 .phase = (const char *)sqlite3_column_text(stmt, 4),
                                 .problem = (const char *)sqlite3_column_text(stmt, 5)};
        uint64_t *const counts[] = {&row.found,  &row.copied,  &row.adopted, &row.skipped,
                                    &row.failed, &row.updated, &row.bytes};
        for (size_t i = 0; i < MH_ARRAY_LEN(counts); i++)
            *counts[i] = (uint64_t)sqlite3_column_int64(stmt, 6 + (int)i);
        if (each(ctx, (const char *)sqlite3_column_text(stmt, 0), &row) != 0)
            break;
    }
    return read_end(st, stmt, rc, code, err);
}
