/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The writer thread: everything that has queued up in one transaction, in order. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "state/state_priv.h"

/* --- records --------------------------------------------------------------------------------------- */

static struct record *batch_record(struct mh_state_batch *b)
{
    return (struct record *)(void *)b;
}

void state_record_free(struct mh_state *st, struct record *rec)
{
    switch (rec->kind) {
    case REC_BATCH:
        mh_state_batch_drop(st, (struct mh_state_batch *)(void *)rec);
        return;
    case REC_SYNC:
        return; /* its owner waits for it */
    case REC_FOLDER: {
        struct folder_record *f = (struct folder_record *)(void *)rec;
        mh_free(f->row.src_path);
        mh_free(f->row.dst_path);
        mh_free(f->row.dst_native);
        break;
    }
    case REC_LEDGER: {
        struct ledger_record *l = (struct ledger_record *)(void *)rec;
        mh_free(l->state);
        mh_free(l->reason);
        mh_free(l->text);
        break;
    }
    case REC_RUN: {
        struct run_record *r = (struct run_record *)(void *)rec;
        mh_free(r->phase);
        mh_free(r->problem);
        break;
    }
    case REC_MAILBOX: {
        struct mailbox_record *t = (struct mailbox_record *)(void *)rec;
        for (size_t i = 0; i < MH_ARRAY_LEN(t->text); i++)
            mh_free(t->text[i]);
        break;
    }
    case REC_VERIFY: {
        struct verify_record *v = (struct verify_record *)(void *)rec;
        mh_free(v->items);
        mh_free(v->texts);
        break;
    }
    case REC_CLEAR_ITEMS:
    case REC_CLEAR_LEDGER:
    case REC_CLEAR_LEDGER_ITEM:
    case REC_CLEAR_VERIFY:
        break;
    }
    mh_free(rec);
}

/* What no run writes, or what stands as the first has written it. */
static bool is_taken_beside(enum record_kind kind)
{
    return kind == REC_VERIFY || kind == REC_CLEAR_VERIFY || kind == REC_MAILBOX ||
           kind == REC_SYNC;
}

int state_push(struct mh_state *st, struct record *rec, struct mh_err *err)
{
    int code = mh_state_health(st, err);
    if (code == MH_OK && st->read_only)
        code = mh_err_set(err, MH_ERUN, "state", "the state was opened for reading only");
    if (code == MH_OK && st->is_beside && !is_taken_beside(rec->kind))
        code = mh_err_set(err, MH_ERUN, "state", "the state was opened beside a run");
    if (code == MH_OK && mh_queue_push(st->queue, &rec->item) != MH_OK)
        code = mh_err_set(err, MH_ERUN, "state", "the state is closed");
    if (code != MH_OK)
        state_record_free(st, rec);
    return code;
}

/* --- writing ------------------------------------------------------------------------------------------ */

static void bind_u64(sqlite3_stmt *s, int i, uint64_t v)
{
    (void)sqlite3_bind_int64(s, i, (sqlite3_int64)v);
}

static void bind_text(sqlite3_stmt *s, int i, const char *v)
{
    (void)sqlite3_bind_text(s, i, v ? v : "", -1, SQLITE_STATIC);
}

static int step(struct mh_state *st, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    (void)sqlite3_reset(s);
    if (rc == SQLITE_DONE || rc == SQLITE_ROW)
        return MH_OK;
    st->step_rc = rc;
    return MH_ERUN;
}

static int write_item(struct mh_state *st, uint32_t folder, const struct mh_state_item *i)
{
    sqlite3_stmt *s = st->st.put_item;
    bind_u64(s, 1, folder);
    bind_u64(s, 2, i->src_uid);
    bind_u64(s, 3, i->dst_uid);
    bind_u64(s, 4, i->size);
    if (i->date.is_set)
        (void)sqlite3_bind_int64(s, 5, i->date.unix_s);
    else
        (void)sqlite3_bind_null(s, 5);
    (void)sqlite3_bind_int(s, 6, i->date.zone_min);
    bind_u64(s, 7, i->kw);
    (void)sqlite3_bind_int(s, 8, i->flags);
    (void)sqlite3_bind_int(s, 9, i->how);
    (void)sqlite3_bind_int(s, 10, i->gone);
    if (i->has_digest)
        (void)sqlite3_bind_blob(s, 11, i->digest.bytes, MH_DIGEST_BYTES, SQLITE_STATIC);
    else
        (void)sqlite3_bind_null(s, 11);
    bind_u64(s, 12, i->object_id);
    (void)sqlite3_bind_int(s, 13, i->theirs);
    bind_u64(s, 14, i->theirs_kw);
    return step(st, s);
}

static int write_batch(struct mh_state *st, const struct mh_state_batch *b)
{
    int code = MH_OK;
    for (unsigned i = 0; code == MH_OK && i < b->n; i++)
        code = write_item(st, b->folder, &b->rows[i]);
    if (code == MH_OK && b->target_uidnext) {
        bind_u64(st->st.set_uidnext, 1, b->target_uidnext);
        bind_u64(st->st.set_uidnext, 2, b->folder);
        code = step(st, st->st.set_uidnext);
    }
    return code;
}

static int write_folder(struct mh_state *st, const struct mh_state_folder *f)
{
    sqlite3_stmt *s = st->st.park_folder;
    bind_u64(s, 1, f->mailbox);
    bind_text(s, 2, f->src_path);
    bind_u64(s, 3, f->id);
    int code = step(st, s);
    if (code != MH_OK)
        return code;
    s = st->st.put_folder;
    bind_u64(s, 1, f->id);
    bind_u64(s, 2, f->mailbox);
    bind_text(s, 3, f->src_path);
    bind_text(s, 4, f->dst_path);
    (void)sqlite3_bind_blob(s, 5, f->dst_native ? f->dst_native : "",
                            f->dst_native ? (int)strlen(f->dst_native) : 0, SQLITE_STATIC);
    bind_u64(s, 6, f->src_uidvalidity);
    bind_u64(s, 7, f->dst_uidvalidity);
    bind_u64(s, 8, f->src_uidnext);
    bind_u64(s, 9, f->src_messages);
    bind_u64(s, 10, f->src_highestmodseq);
    bind_u64(s, 11, f->target_uidnext);
    (void)sqlite3_bind_int(s, 12, f->complete);
    bind_u64(s, 13, f->src_object_id);
    return step(st, s);
}

static int write_ledger(struct mh_state *st, const struct ledger_record *l)
{
    sqlite3_stmt *s = st->st.put_ledger;
    bind_u64(s, 1, l->rec.id);
    bind_u64(s, 2, l->src_uid);
    bind_text(s, 3, l->state);
    bind_text(s, 4, l->reason);
    bind_text(s, 5, l->text);
    return step(st, s);
}

static int write_run(struct mh_state *st, const struct run_record *r)
{
    sqlite3_stmt *s = st->st.put_run;
    const struct mh_run_row *w = &r->row;
    bind_u64(s, 1, w->mailbox);
    (void)sqlite3_bind_int64(s, 2, w->started_wall_s);
    (void)sqlite3_bind_int64(s, 3, w->ended_wall_s);
    bind_text(s, 4, r->phase);
    bind_text(s, 5, r->problem);
    const uint64_t counts[] = {w->found,  w->copied,  w->adopted, w->skipped,
                               w->failed, w->updated, w->bytes};
    for (size_t i = 0; i < MH_ARRAY_LEN(counts); i++)
        bind_u64(s, 6 + (int)i, counts[i]);
    (void)sqlite3_bind_int64(s, 13, w->equal_wall_s);
    (void)sqlite3_bind_int64(s, 14, w->lag_ms);
    return step(st, s);
}

static int write_mailbox(struct mh_state *st, const struct mailbox_record *m)
{
    sqlite3_stmt *s = st->st.put_mailbox;
    for (size_t i = 0; i < MH_ARRAY_LEN(m->text); i++)
        bind_text(s, 1 + (int)i, m->text[i]);
    return step(st, s);
}

static int write_verify(struct mh_state *st, const struct verify_record *v)
{
    sqlite3_stmt *const both[] = {st->st.forget_verify, st->st.put_verify};
    int code = MH_OK;
    for (size_t i = 0; i < MH_ARRAY_LEN(both); i++) {
        bind_u64(both[i], 1, v->rec.id);
        bind_text(both[i], 2, v->row.src_path);
        bind_text(both[i], 3, v->row.mode);
        bind_u64(both[i], 4, MH_MIN(v->row.next_uid, (uint64_t)INT64_MAX));
    }
    for (size_t i = 0; i < MH_ARRAY_LEN(v->row.counts); i++)
        bind_u64(st->st.put_verify, 5 + (int)i, v->row.counts[i]);
    for (size_t i = 0; code == MH_OK && i < MH_ARRAY_LEN(both); i++)
        code = step(st, both[i]);
    sqlite3_stmt *s = st->st.put_verify_item;
    bind_u64(s, 1, v->rec.id);
    bind_text(s, 2, v->row.src_path);
    for (size_t i = 0; code == MH_OK && i < v->n; i++) {
        bind_u64(s, 3, v->items[i].uid);
        bind_text(s, 4, v->items[i].state);
        bind_text(s, 5, v->items[i].reason);
        bind_text(s, 6, v->items[i].text);
        code = step(st, s);
    }
    return code;
}

static int write_id(struct mh_state *st, sqlite3_stmt *s, uint32_t id)
{
    bind_u64(s, 1, id);
    return step(st, s);
}

static int write_ids(struct mh_state *st, sqlite3_stmt *s, uint32_t id, uint64_t uid)
{
    bind_u64(s, 2, uid);
    return write_id(st, s, id);
}

static int write_record(struct mh_state *st, const struct record *rec)
{
    const void *p = rec;
    switch (rec->kind) {
    case REC_BATCH:
        return write_batch(st, p);
    case REC_FOLDER:
        return write_folder(st, &((const struct folder_record *)p)->row);
    case REC_CLEAR_ITEMS:
        return write_id(st, st->st.clear_items, rec->id);
    case REC_LEDGER:
        return write_ledger(st, p);
    case REC_CLEAR_LEDGER:
        return write_id(st, st->st.clear_ledger, rec->id);
    case REC_CLEAR_LEDGER_ITEM:
        return write_ids(st, st->st.clear_ledger_item, rec->id,
                         ((const struct uid_record *)p)->src_uid);
    case REC_RUN:
        return write_run(st, p);
    case REC_MAILBOX:
        return write_mailbox(st, p);
    case REC_VERIFY:
        return write_verify(st, p);
    case REC_CLEAR_VERIFY:
        return write_id(st, st->st.clear_verify, rec->id);
    case REC_SYNC:
        return MH_OK;
    }
    return MH_OK;
}

/* --- the thread --------------------------------------------------------------------------------------------- */

static void remember_error(struct mh_state *st, const struct mh_err *err)
{
    (void)pthread_mutex_lock(&st->lock);
    if (st->first_error.code == MH_OK)
        st->first_error = *err;
    (void)pthread_mutex_unlock(&st->lock);
    atomic_store(&st->health, MH_ERUN);
    (void)sqlite3_exec(st->wr, "ROLLBACK", NULL, NULL, NULL);
}

static void on_synced(struct mh_post *post)
{
    struct sync_record *s = mh_container_of(post, struct sync_record, post);
    s->done = true;
    mh_wake_all(&s->q);
}

/* S is gone as soon as its owner knows. */
static void tell_synced(struct mh_state *st, struct sync_record *s)
{
    s->code = atomic_load(&st->health);
    if (s->sched) {
        mh_sched_post(s->sched, &s->post);
        return;
    }
    (void)pthread_mutex_lock(&st->lock);
    s->done = true;
    (void)pthread_cond_broadcast(&st->synced);
    (void)pthread_mutex_unlock(&st->lock);
}

/* A set's text as a copy: it is borrowed only until somebody interns the next. */
static int next_keywords(struct mh_state *st, char **text_out)
{
    int code = MH_OK;
    *text_out = NULL;
    (void)pthread_mutex_lock(&st->lock);
    if (st->keywords_written < mh_kwsets_count(st->keywords)) {
        *text_out = mh_strdup(mh_kwsets_text(st->keywords, st->keywords_written + 1));
        code = *text_out ? MH_OK : MH_ERUN;
    }
    (void)pthread_mutex_unlock(&st->lock);
    return code;
}

/*
 * The sets of keywords that were interned since. What is written behind this was handed over by
 * somebody who had their numbers before, so that no row ever names a set that is not there.
 */
static int write_keywords(struct mh_state *st, struct mh_err *err)
{
    sqlite3_stmt *s = st->st.put_keywords;
    char *text = NULL;
    for (;;) {
        if (next_keywords(st, &text) != MH_OK)
            return mh_err_nomem(err);
        if (!text)
            return MH_OK;
        bind_u64(s, 1, st->keywords_written + 1);
        bind_text(s, 2, text);
        int code = step(st, s);
        mh_free(text);
        if (code != MH_OK)
            return state_sql_err(st, st->wr, st->step_rc, "cannot write", err);
        st->keywords_written++;
    }
}

/*
 * The log goes into the file every CHECKPOINT_PAGES, also while a reader keeps it from beginning anew. Pages are
 * counted whoever wrote them, and of two writers either brings them in; that one is at it is no error of the other.
 * Who lets the log begin anew sees it at once. The other may not, when it is as long again before it looks: by then
 * the first has brought in all of it but its last CHECKPOINT_PAGES.
 */
static int checkpoint_when_due(struct mh_state *st, struct mh_err *err)
{
    if (st->log_pages < st->log_pages_before)
        st->checkpoint_at = CHECKPOINT_PAGES; /* it has begun anew */
    st->log_pages_before = st->log_pages;
    if (st->log_pages < st->checkpoint_at)
        return MH_OK;
    st->checkpoint_at = st->log_pages + CHECKPOINT_PAGES;
    return state_db_checkpoint(st, err);
}

/*
 * The one lock that two writers share. SQLite waits by asking again (on_busy() in sqlite.c), and a run with a full queue
 * would be in again before anybody has asked: it leaves a gap that is longer than the other's pause.
 */
static int begin(struct mh_state *st)
{
    const struct timespec gap = {0, TURN_GAP_MS * 1000000L};
    if (!st->is_beside && state_turn_is_wanted(st))
        (void)nanosleep(&gap, NULL);
    int code = step(st, st->st.begin);
    if (st->is_beside)
        state_want_turn(st, false);
    return code;
}

static int write_list(struct mh_state *st, const struct mh_qitem *list, struct mh_err *err)
{
    int code = begin(st);
    if (code == MH_OK) {
        code = write_keywords(st, err);
        if (code != MH_OK)
            return code;
    }
    for (const struct mh_qitem *i = list; code == MH_OK && i; i = i->next)
        code = write_record(st, (const struct record *)(const void *)i);
    if (code == MH_OK)
        code = step(st, st->st.commit);
    if (code == MH_OK)
        state_stamp(st);
    return code == MH_OK ? checkpoint_when_due(st, err)
                         : state_sql_err(st, st->wr, st->step_rc, "cannot write", err);
}

void *state_writer_main(void *arg)
{
    struct mh_state *st = arg;
    struct mh_qitem *list = NULL;
    while ((list = mh_queue_pop_all(st->queue))) {
        struct mh_err err;
        if (atomic_load(&st->health) == MH_OK && write_list(st, list, &err) != MH_OK)
            remember_error(st, &err);
        while (list) {
            struct mh_qitem *next = list->next;
            struct record *rec = (struct record *)(void *)list;
            if (rec->kind == REC_SYNC) {
                struct sync_record *s = (struct sync_record *)(void *)rec;
                s->post.fn = on_synced;
                tell_synced(st, s);
            } else {
                state_record_free(st, rec);
            }
            list = next;
        }
    }
    return NULL;
}

/* --- batches ---------------------------------------------------------------------------------------------------- */

int mh_state_batch_get(struct mh_state *st, uint32_t folder, struct mh_state_batch **out,
                       struct mh_err *err)
{
    (void)pthread_mutex_lock(&st->lock);
    struct mh_state_batch *b = st->spare;
    if (b) {
        st->spare = b->link[0];
        st->n_spare--;
    }
    (void)pthread_mutex_unlock(&st->lock);
    if (!b)
        b = mh_alloc(sizeof *b);
    if (!b)
        return mh_err_nomem(err);
    _Static_assert(sizeof(struct record) <= sizeof b->rec, "the record lies in the batch's head");
    b->folder = folder;
    b->target_uidnext = 0;
    b->n = 0;
    *out = b;
    return MH_OK;
}

int mh_state_batch_put(struct mh_state *st, struct mh_state_batch *batch_take, struct mh_err *err)
{
    struct record *rec = batch_record(batch_take);
    rec->item = (struct mh_qitem){NULL, sizeof *batch_take};
    rec->kind = REC_BATCH;
    rec->id = batch_take->folder;
    return state_push(st, rec, err);
}

void mh_state_batch_drop(struct mh_state *st, struct mh_state_batch *batch_take)
{
    (void)pthread_mutex_lock(&st->lock);
    bool keep = st->n_spare < SPARE_BATCHES_MAX;
    if (keep) {
        batch_take->link[0] = st->spare;
        st->spare = batch_take;
        st->n_spare++;
    }
    (void)pthread_mutex_unlock(&st->lock);
    if (!keep)
        mh_free(batch_take);
}
