/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store's public face: opening, closing, handing over. */
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
    if (st->verify_fd >= 0)
        (void)close(st->verify_fd);
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

/* Where the run before has left no better word: the write-ahead log's time is that of the last commit; without one
 * the file's own. A log with something in it also says that nobody closed the store in good order, or that somebody
 * still has it open. */
static int find_last_write(struct mh_state *st, struct mh_err *err)
{
    struct stat info = {0};
    char *wal = mh_asprintf("%s-wal", st->path);
    if (!wal)
        return mh_err_nomem(err);
    bool has_log = stat(wal, &info) == 0;
    st->had_log = has_log && info.st_size > 0;
    if (st->lock_fd >= 0)
        state_read_boot_name(st);
    st->has_last_write = st->lock_fd >= 0 && (has_log || stat(st->path, &info) == 0);
    if (st->has_last_write)
        st->last_write_mono_ms =
            mh_clock_mono_ms() - state_stamp_age_ms(st, (int64_t)info.st_mtime);
    mh_free(wal);
    return MH_OK;
}

enum purpose { FOR_READING, FOR_A_RUN, BESIDE_A_RUN };

static int open_for(const char *path, enum purpose purpose, struct mh_state **out,
                    struct mh_err *err)
{
    struct mh_state *st = mh_zalloc(sizeof *st);
    bool read_only = purpose == FOR_READING;
    if (!st)
        return mh_err_nomem(err);
    st->lock_fd = st->verify_fd = -1;
    st->read_only = read_only;
    st->is_beside = purpose == BESIDE_A_RUN;
    mh_err_reset(&st->first_error);
    (void)pthread_mutex_init(&st->rd_lock, NULL);
    (void)pthread_mutex_init(&st->lock, NULL);
    (void)pthread_cond_init(&st->synced, NULL);
    st->path = mh_strdup(path);
    int code = st->path ? mh_kwsets_new(&st->keywords, err) : mh_err_nomem(err);
    if (code == MH_OK && purpose == FOR_A_RUN)
        code = state_lock(path, &st->lock_fd, err);
    if (code == MH_OK && !read_only)
        code = state_begin_opening(st, err);
    if (code == MH_OK)
        code = find_last_write(st, err);
    if (code == MH_OK)
        code = state_db_open(st, err);
    state_end_opening(st);
    if (code == MH_OK && !read_only)
        code = start_writer(st, err);
    if (code != MH_OK) {
        state_free(st);
        return code;
    }
    *out = st;
    return MH_OK;
}

int mh_state_open(const char *path, bool read_only, struct mh_state **out, struct mh_err *err)
{
    return open_for(path, read_only ? FOR_READING : FOR_A_RUN, out, err);
}

int mh_state_open_beside(const char *path, struct mh_state **out, struct mh_err *err)
{
    return open_for(path, BESIDE_A_RUN, out, err);
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
    if (code == MH_OK && st->has_writer)
        code = state_db_finish(st, err);
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
        mh_outside_begin();
        while (!s.done)
            mh_wait_always(&s.q);
        mh_outside_end();
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

int mh_state_clear_ledger_item(struct mh_state *st, uint32_t folder, uint64_t src_uid,
                               struct mh_err *err)
{
    struct uid_record *r = mh_zalloc(sizeof *r);
    if (!r)
        return mh_err_nomem(err);
    *r = (struct uid_record){{{NULL, sizeof *r}, REC_CLEAR_LEDGER_ITEM, folder}, src_uid};
    return state_push(st, &r->rec, err);
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

int state_push_mailbox(struct mh_state *st, const char *const texts[3], struct mh_err *err)
{
    struct mailbox_record *r = mh_zalloc(sizeof *r);
    if (!r)
        return mh_err_nomem(err);
    r->rec = (struct record){{NULL, sizeof *r}, REC_MAILBOX, 0};
    for (size_t i = 0; i < MH_ARRAY_LEN(r->text); i++) {
        r->text[i] = mh_strdup(texts[i]);
        if (!r->text[i]) {
            state_record_free(st, &r->rec);
            return mh_err_nomem(err);
        }
    }
    return state_push(st, &r->rec, err);
}

/* Appends TEXT behind *END and returns where it begins. */
static const char *add_text(char **end, const char *text)
{
    const char *begin = *end;
    *end = stpcpy(*end, text) + 1;
    return begin;
}

int mh_state_put_verify(struct mh_state *st, const struct mh_verify_row *row,
                        const struct mh_verify_item *items, size_t n, struct mh_err *err)
{
    size_t len = strlen(row->src_path) + strlen(row->mode) + 2;
    for (size_t i = 0; i < n; i++)
        len += strlen(items[i].state) + strlen(items[i].reason) + strlen(items[i].text) + 3;
    struct verify_record *r = mh_zalloc(sizeof *r);
    if (!r)
        return mh_err_nomem(err);
    r->rec = (struct record){{NULL, sizeof *r + len + n * sizeof *items}, REC_VERIFY, row->mailbox};
    r->row = *row;
    r->n = n;
    r->texts = mh_alloc(len);
    r->items = mh_realloc_array(NULL, n, sizeof *items);
    if (!r->texts || !r->items) {
        state_record_free(st, &r->rec);
        return mh_err_nomem(err);
    }
    char *end = r->texts;
    r->row.src_path = add_text(&end, row->src_path);
    r->row.mode = add_text(&end, row->mode);
    for (size_t i = 0; i < n; i++) {
        r->items[i].uid = items[i].uid;
        r->items[i].state = add_text(&end, items[i].state);
        r->items[i].reason = add_text(&end, items[i].reason);
        r->items[i].text = add_text(&end, items[i].text);
    }
    mh_assert(end == r->texts + len);
    return state_push(st, &r->rec, err);
}

int mh_state_clear_verify(struct mh_state *st, uint32_t mailbox, struct mh_err *err)
{
    return push_id(st, REC_CLEAR_VERIFY, mailbox, err);
}

uint32_t mh_state_new_folder_id(struct mh_state *st)
{
    return atomic_fetch_add(&st->next_folder, 1);
}

int mh_state_kw_id(struct mh_state *st, const char *text, uint32_t *id_out, struct mh_err *err)
{
    if (st->is_beside) /* the run gives the numbers */
        return mh_err_set(err, MH_ERUN, "state", "the state was opened beside a run");
    (void)pthread_mutex_lock(&st->lock);
    int code = mh_kwsets_intern(st->keywords, text, strlen(text), id_out, err);
    (void)pthread_mutex_unlock(&st->lock);
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
