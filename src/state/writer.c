/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The writer thread: everything that has queued up in one transaction, in order. */
#include <stdio.h>
#include <string.h>

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
    case REC_MAILBOX:
    case REC_KEYWORDS: {
        struct text_record *t = (struct text_record *)(void *)rec;
        for (size_t i = 0; i < MH_ARRAY_LEN(t->text); i++)
            mh_free(t->text[i]);
        break;
    }
    case REC_CLEAR_ITEMS:
    case REC_CLEAR_LEDGER:
        break;
    }
    mh_free(rec);
}

int state_push(struct mh_state *st, struct record *rec, struct mh_err *err)
{
    int code = mh_state_health(st, err);
    if (code == MH_OK && st->read_only)
        code = mh_err_set(err, MH_ERUN, "state", "the state was opened for reading only");
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

static int step(sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    (void)sqlite3_reset(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? MH_OK : MH_ERUN;
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
    return step(s);
}

static int write_batch(struct mh_state *st, const struct mh_state_batch *b)
{
    int code = MH_OK;
    for (unsigned i = 0; code == MH_OK && i < b->n; i++)
        code = write_item(st, b->folder, &b->rows[i]);
    if (code == MH_OK && b->target_uidnext) {
        bind_u64(st->st.set_uidnext, 1, b->target_uidnext);
        bind_u64(st->st.set_uidnext, 2, b->folder);
        code = step(st->st.set_uidnext);
    }
    return code;
}

static int write_folder(struct mh_state *st, const struct mh_state_folder *f)
{
    sqlite3_stmt *s = st->st.put_folder;
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
    return step(s);
}

static int write_ledger(struct mh_state *st, const struct ledger_record *l)
{
    sqlite3_stmt *s = st->st.put_ledger;
    bind_u64(s, 1, l->rec.id);
    bind_u64(s, 2, l->src_uid);
    bind_text(s, 3, l->state);
    bind_text(s, 4, l->reason);
    bind_text(s, 5, l->text);
    return step(s);
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
    return step(s);
}

static int write_texts(sqlite3_stmt *s, const struct text_record *t, int n)
{
    bind_u64(s, 1, t->rec.id);
    for (int i = 0; i < n; i++)
        bind_text(s, 2 + i, t->text[i]);
    return step(s);
}

static int write_id(sqlite3_stmt *s, uint32_t id)
{
    bind_u64(s, 1, id);
    return step(s);
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
        return write_id(st->st.clear_items, rec->id);
    case REC_LEDGER:
        return write_ledger(st, p);
    case REC_CLEAR_LEDGER:
        return write_id(st->st.clear_ledger, rec->id);
    case REC_RUN:
        return write_run(st, p);
    case REC_MAILBOX:
        return write_texts(st->st.put_mailbox, p, 3);
    case REC_KEYWORDS:
        return write_texts(st->st.put_keywords, p, 1);
    case REC_SYNC:
        return MH_OK;
    }
    return MH_OK;
}

/* --- the thread --------------------------------------------------------------------------------------------- */

static void remember_error(struct mh_state *st)
{
    struct mh_err err;
    (void)state_sql_err(st, st->wr, "cannot write", &err);
    (void)pthread_mutex_lock(&st->lock);
    if (st->first_error.code == MH_OK)
        st->first_error = err;
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

static void write_list(struct mh_state *st, struct mh_qitem *list)
{
    bool ok = atomic_load(&st->health) == MH_OK;
    if (ok)
        ok = step(st->st.begin) == MH_OK;
    for (struct mh_qitem *i = list; ok && i; i = i->next)
        ok = write_record(st, (const struct record *)(const void *)i) == MH_OK;
    if (ok)
        ok = step(st->st.commit) == MH_OK;
    if (!ok && atomic_load(&st->health) == MH_OK)
        remember_error(st);
}

void *state_writer_main(void *arg)
{
    struct mh_state *st = arg;
    struct mh_qitem *list = NULL;
    while ((list = mh_queue_pop_all(st->queue))) {
        write_list(st, list);
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
