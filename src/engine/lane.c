/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A lane: messages from one source session to one target session.
 *
 *   fetch() ──begin/data/end──▶ sink ──append_*()──▶ target ──done()──▶ verdict ──▶ row, ledger, credit
 *
 * A message up to MH_CUT_THROUGH_BYTES is held (by reference) until it is whole; a longer one goes through as
 * it arrives. Credits bound what is in flight: when they are used up the sink waits, the fetch waits, and
 * the source's server is held by TCP. Nothing here copies message bytes or allocates per message.
 *
 *   OPEN ─▶ TAKEN ─▶ FLIGHT ─▶ DONE | CLOSED
 *     ▲                └─▶ UNKNOWN (connection lost) ─▶ matched by content ─▶ DONE, or OPEN again
 *     └── batch refused: both halves, each as a unit
 */
#include <string.h>

#include "engine/engine_priv.h"

/* --- rows for the state ------------------------------------------------------------------------------- */

struct mh_state_item *lane_row(struct lane *lane)
{
    struct mh_err err;
    struct mh_state *st = lane->job->run->cfg->state;
    if (lane->rows && lane->rows->n == MH_STATE_BATCH_ROWS) {
        mh_assert(lane->n_full < MH_ARRAY_LEN(lane->full));
        lane->full[lane->n_full++] = mh_take(lane->rows);
    }
    if (!lane->rows && mh_state_batch_get(st, lane->pass->row.id, &lane->rows, &err) != MH_OK)
        return NULL;
    mh_assert(lane->rows->folder == lane->pass->row.id);
    return &lane->rows->rows[lane->rows->n++];
}

int lane_push_rows(struct lane *lane, bool all, struct mh_err *err)
{
    struct mh_state *st = lane->job->run->cfg->state;
    int code = MH_OK;
    if (all && lane->rows && lane->rows->n) {
        mh_assert(lane->n_full < MH_ARRAY_LEN(lane->full));
        lane->full[lane->n_full++] = mh_take(lane->rows);
    }
    /* Putting may wait, and verdicts may fill another batch meanwhile: the list is taken first in, first out. */
    while (lane->n_full && code == MH_OK) {
        struct mh_state_batch *batch = lane->full[0];
        lane->n_full--;
        for (unsigned i = 0; i < lane->n_full; i++)
            lane->full[i] = lane->full[i + 1];
        code = mh_state_batch_put(st, batch, err);
    }
    if (code != MH_OK)
        run_fatal(lane->job->run, err);
    return code;
}

/* --- verdicts ---------------------------------------------------------------------------------------------- */

/* One that was refused with its batch and went back on the list may be in another lane's hands by now, while
 * our chunk still names it. */
static bool is_mine(const struct lane *lane, uint32_t todo, enum todo_status status)
{
    const struct todo *t = &lane->pass->todo[todo];
    return t->status == status && t->owner == lane->number;
}

static void flying(struct lane *lane, bool now)
{
    if (now == lane->is_flying)
        return;
    lane->is_flying = now;
    if (now) {
        lane->pass->flying++;
    } else {
        lane->pass->flying--;
        mh_wake_all(&lane->job->changed);
    }
}

static void give_back(struct lane *lane, uint32_t first, uint32_t n, bool alone)
{
    struct mh_err err;
    if (n && pass_give_back(lane->pass, first, n, alone, &err) != MH_OK)
        run_fatal(lane->job->run, &err);
}

/* The refused batch is complete: its two halves are sent as units of their own. */
static void end_split(struct lane *lane)
{
    uint32_t n = lane->split_n;
    uint32_t half = (n + 1) / 2;
    lane->split_n = 0;
    give_back(lane, lane->split_first, half, true);
    give_back(lane, lane->split_first + half, n - half, true);
}

static void add_to_split(struct lane *lane, const struct flight *f)
{
    bool joins = lane->split_n && f->batch == lane->split_batch &&
                 f->todo >= lane->split_first + lane->split_n;
    if (!joins) {
        end_split(lane);
        lane->split_first = f->todo;
        lane->split_batch = f->batch;
    }
    /* A batch's messages are in the order of the list, but closed ones may lie between them. */
    lane->split_n = f->todo - lane->split_first + 1;
}

static void verdict_failed(struct lane *lane, const struct flight *f, const struct mh_err *why)
{
    struct pass *pass = lane->pass;
    struct todo *t = &pass->todo[f->todo];
    char line[512];
    switch (why->code) {
    case MH_ESPLIT:
        t->status = TODO_OPEN;
        add_to_split(lane, f);
        break;
    case MH_EITEM:
        pass_close_item(pass, f->todo, "failed", why->reason ? why->reason : "refused",
                        mh_err_line(why, line, sizeof line));
        break;
    case MH_ELATER:
        t->status = TODO_OPEN;
        lane->later = *why;
        give_back(lane, f->todo, 1, false);
        break;
    default:
        t->status = TODO_UNKNOWN;
        pass->n_unknown++;
        if (lane->dst_err.code == MH_OK)
            lane->dst_err = *why;
        break;
    }
}

static void on_verdict(struct mh_append_sink *s, uint64_t cookie, uint64_t uid,
                       uint32_t uidvalidity, const struct mh_err *why)
{
    struct lane *lane = mh_container_of(s, struct lane, verdicts);
    struct flight f = lane->flights[cookie & (FLIGHT_MAX - 1)];
    (void)uidvalidity; /* of the folder that was selected: checked by pass_open() */
    lane->in_flight--;
    lane->in_flight_bytes -= f.octets;
    lane->job->slowest_ms = MH_MAX(lane->job->slowest_ms, mh_now_ms() - f.sent_ms);
    if (why) {
        verdict_failed(lane, &f, why);
    } else {
        end_split(lane);
        pass_item_done(lane->pass, lane, f.todo, uid, f.octets, &f.digest, MH_HOW_COPIED, true);
        job_moving(lane->job);
        if (tuner_verdict(lane->job->tuner, f.octets, mh_now_ms())) {
            struct tuned now = tuner_now(lane->job->tuner);
            mh_log(&lane->job->log, MH_LOG_DEBUG,
                   "batches of %u, %u connections into a folder, %u over folders, %s", now.batch,
                   now.joined, now.lanes, now.compress ? "compressed" : "not compressed");
            lanes_staff(lane->job);
        }
    }
    if (lane->in_flight == 0) {
        end_split(lane); /* no further verdict will tell that the refused batch is complete */
        flying(lane, false);
    }
    mh_wake_all(&lane->window);
}

/* --- sending -------------------------------------------------------------------------------------------------- */

static int dst_failed(struct lane *lane, const struct mh_err *err, int code)
{
    if (lane->dst_err.code == MH_OK)
        lane->dst_err = *err;
    if (lane->dst_err.code == MH_OK)
        lane->dst_err.code = code;
    return code;
}

static int cut(struct lane *lane, struct mh_err *err)
{
    lane->batch_n = 0;
    lane->batch_bytes = 0;
    lane->batch_number++;
    int code = lane->job->tc->append_cut(lane->dst, err);
    return code == MH_OK ? MH_OK : dst_failed(lane, err, code);
}

static int flush(struct lane *lane, struct mh_err *err)
{
    lane->batch_n = 0;
    lane->batch_bytes = 0;
    lane->batch_number++;
    int code = lane->job->tc->append_flush(lane->dst, err);
    end_split(lane);
    return code == MH_OK ? MH_OK : dst_failed(lane, err, code);
}

/* Credits: a batch being executed, one on the way and one being made. */
static bool has_credit(const struct lane *lane, uint64_t octets)
{
    unsigned window = MH_MIN(3 * lane->batch_limit, (unsigned)FLIGHT_MAX - 1);
    if (!lane->job->tc->caps(lane->dst)->multiappend)
        window = 256;
    if (lane->in_flight == 0)
        return true;
    return lane->in_flight < window && lane->in_flight_bytes + octets <= FLIGHT_BYTES_MAX;
}

/* Keeps still while another lane looks at the folder's window. */
static int wait_for_match(struct lane *lane, struct mh_err *err)
{
    if (lane->in_flight) {
        int code = flush(lane, err);
        if (code != MH_OK)
            return code;
    }
    while (lane->pass->is_matching) {
        if (mh_wait(&lane->job->changed, MH_NEVER) != MH_OK)
            return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
    }
    return MH_OK;
}

static int wait_for_credit(struct lane *lane, uint64_t octets, struct mh_err *err)
{
    if (!has_credit(lane, octets) && lane->batch_n > 0) {
        int code = cut(lane, err);
        if (code != MH_OK)
            return code;
    }
    while (!has_credit(lane, octets)) {
        if (mh_wait(&lane->window, MH_NEVER) != MH_OK)
            return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
    }
    if (lane->n_full)
        return lane_push_rows(lane, false, err);
    return MH_OK;
}

/* The target asked to wait: what is in flight is answered first, then nothing moves for that time. */
static int heed_later(struct lane *lane, struct mh_err *err)
{
    while (lane->later.code != MH_OK) {
        int code = flush(lane, err);
        if (code != MH_OK)
            return code;
        struct mh_err why = lane->later;
        mh_err_reset(&lane->later);
        code = job_pause(lane->job, &why, err);
        if (code != MH_OK)
            return code;
    }
    return MH_OK;
}

/* Before a message is begun: everything that says "not now". */
static int may_begin(struct lane *lane, uint64_t octets, struct mh_err *err)
{
    if (lane->pass->is_matching) {
        int code = wait_for_match(lane, err);
        if (code != MH_OK)
            return code;
    }
    int code = wait_for_credit(lane, octets, err);
    if (code != MH_OK)
        return code;
    if (lane->dst_err.code != MH_OK) {
        *err = lane->dst_err;
        return lane->dst_err.code;
    }
    return heed_later(lane, err);
}

/* Opens the message at the target. MH_EITEM: closed already, the next one please. */
static int begin_append(struct lane *lane, struct mh_err *err)
{
    struct pass *pass = lane->pass;
    int code = may_begin(lane, lane->octets, err);
    if (code != MH_OK)
        return code;
    uint64_t cookie = lane->next_cookie;
    struct mh_append msg = {.date = lane->item->date,
                            .flags = lane->item->flags & pass->dst_opened.flags_ok,
                            .keywords = pass_keywords(pass, lane->item),
                            .octets = lane->octets,
                            .cookie = cookie};
    /* In the table before the call: a batch may be refused, verdicts and all, while we wait in there. */
    lane->flights[cookie & (FLIGHT_MAX - 1)] = (struct flight){.todo = lane->todo,
                                                               .batch = lane->batch_number,
                                                               .octets = lane->octets,
                                                               .sent_ms = mh_now_ms()};
    pass->todo[lane->todo].status = TODO_FLIGHT;
    lane->next_cookie++;
    lane->in_flight++;
    lane->in_flight_bytes += lane->octets;
    flying(lane, true);
    code = lane->job->tc->append_begin(lane->dst, &msg, err);
    if (code == MH_OK)
        return MH_OK;
    if (is_mine(lane, lane->todo, TODO_FLIGHT)) {
        /* No verdict comes for it: nothing of it was sent. */
        lane->in_flight--;
        lane->in_flight_bytes -= lane->octets;
        pass->todo[lane->todo].status = TODO_TAKEN;
        if (lane->in_flight == 0)
            flying(lane, false);
    }
    if (code == MH_EITEM) {
        char line[512];
        pass_close_item(pass, lane->todo, "failed", err->reason ? err->reason : "refused",
                        mh_err_line(err, line, sizeof line));
        return MH_EITEM;
    }
    return dst_failed(lane, err, code);
}

static int end_append(struct lane *lane, struct mh_err *err)
{
    mh_digest_end(lane->digest, &lane->flights[(lane->next_cookie - 1) & (FLIGHT_MAX - 1)].digest);
    int code = lane->job->tc->append_end(lane->dst, err);
    if (code != MH_OK)
        return dst_failed(lane, err, code);
    lane->batch_n++;
    lane->batch_bytes += lane->octets;
    if (lane->batch_n >= lane->batch_limit || lane->batch_bytes >= BATCH_BYTES_MAX)
        return cut(lane, err);
    return MH_OK;
}

static void drop_held(struct lane *lane)
{
    for (unsigned i = 0; i < lane->n_held; i++)
        mh_slice_drop(&lane->held[i]);
    lane->n_held = 0;
}

/* From held to through: everything so far goes to the target. */
static int send_held(struct lane *lane, struct mh_err *err)
{
    int code = begin_append(lane, err);
    for (unsigned i = 0; i < lane->n_held; i++) {
        if (code == MH_OK) {
            code = lane->job->tc->append_data(lane->dst, lane->held[i], err);
            if (code != MH_OK)
                (void)dst_failed(lane, err, code);
        } else {
            mh_slice_drop(&lane->held[i]);
        }
    }
    lane->n_held = 0;
    return code;
}

/* --- the sink ------------------------------------------------------------------------------------------------------ */

static bool is_too_big(const struct lane *lane, uint64_t octets)
{
    uint64_t limit = lane->job->max_message;
    return limit && octets > limit;
}

static uint32_t find_todo(const struct lane *lane, const struct mh_item *item)
{
    size_t at = mh_lower_bound(i, 0, lane->n_chunk, lane->chunk[i] < item);
    mh_assert(at < lane->n_chunk && lane->chunk[at] == item);
    return lane->chunk_todo[at];
}

static int sink_begin(struct mh_sink *s, const struct mh_item *item, uint64_t octets,
                      struct mh_err *err)
{
    struct lane *lane = mh_container_of(s, struct lane, sink);
    mh_assert(lane->n_held == 0);
    if (run_is_stopping(lane->job->run))
        return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
    lane->item = item;
    lane->todo = find_todo(lane, item);
    lane->octets = octets;
    lane->got = 0;
    lane->in_header = true;
    mh_digest_start(lane->digest);
    if (is_too_big(lane, octets)) {
        lane->mode = MSG_DROPPED;
        return keep_open(lane, err);
    }
    lane->mode = octets <= MH_CUT_THROUGH_BYTES ? MSG_HELD : MSG_NONE;
    if (lane->mode == MSG_HELD)
        return MH_OK;
    int code = begin_append(lane, err);
    if (code == MH_OK)
        lane->mode = MSG_THROUGH;
    if (code != MH_EITEM)
        return code;
    lane->mode = MSG_DROPPED;
    return MH_OK;
}

/* True when SLICE continues the last held one: one reference serves both. */
static bool extend_held(struct lane *lane, const struct mh_slice *slice)
{
    if (lane->n_held == 0)
        return false;
    struct mh_slice *last = &lane->held[lane->n_held - 1];
    if (last->slab != slice->slab || last->off + last->len != slice->off)
        return false;
    last->len += slice->len;
    return true;
}

static int hold(struct lane *lane, struct mh_slice slice_take, struct mh_err *err)
{
    if (extend_held(lane, &slice_take)) {
        mh_slice_drop(&slice_take);
        return MH_OK;
    }
    if (lane->n_held < HELD_SLICES_MAX) {
        lane->held[lane->n_held++] = slice_take;
        return MH_OK;
    }
    /* Torn into too many pieces to hold: let it through. */
    int code = send_held(lane, err);
    if (code == MH_EITEM) {
        lane->mode = MSG_DROPPED;
        mh_slice_drop(&slice_take);
        return MH_OK;
    }
    if (code != MH_OK) {
        mh_slice_drop(&slice_take);
        return code;
    }
    lane->mode = MSG_THROUGH;
    code = lane->job->tc->append_data(lane->dst, slice_take, err);
    return code == MH_OK ? MH_OK : dst_failed(lane, err, code);
}

/* Marks a message whose bytes servers are known to change without changing its size: a NUL anywhere, an
 * 8-bit byte in the header. The header's end may be torn between two slices: then a little body is looked at
 * too, which costs a look back and no more. */
static void look_for_odd(struct lane *lane, const unsigned char *data, size_t len)
{
    struct todo *t = &lane->pass->todo[lane->todo];
    if (memchr(data, '\0', len))
        t->is_odd = true;
    if (!lane->in_header)
        return;
    const unsigned char *end = memmem(data, len, "\r\n\r\n", 4);
    size_t n = end ? (size_t)(end - data) : len;
    lane->in_header = end == NULL;
    for (size_t i = 0; i < n && !t->is_odd; i++)
        t->is_odd = data[i] >= 0x80;
}

static int sink_data(struct mh_sink *s, struct mh_slice slice_take, struct mh_err *err)
{
    struct lane *lane = mh_container_of(s, struct lane, sink);
    lane->got += slice_take.len;
    if (lane->mode == MSG_DROPPED) {
        int code = lane->keep ? keep_write(lane, &slice_take, err) : MH_OK;
        mh_slice_drop(&slice_take);
        return code;
    }
    mh_digest_add(lane->digest, mh_slice_data(&slice_take), slice_take.len);
    look_for_odd(lane, mh_slice_data(&slice_take), slice_take.len);
    if (lane->mode == MSG_HELD)
        return hold(lane, slice_take, err);
    int code = lane->job->tc->append_data(lane->dst, slice_take, err);
    return code == MH_OK ? MH_OK : dst_failed(lane, err, code);
}

static int sink_end(struct mh_sink *s, struct mh_err *err)
{
    struct lane *lane = mh_container_of(s, struct lane, sink);
    int code = MH_OK;
    if (lane->mode == MSG_DROPPED) {
        if (is_mine(lane, lane->todo, TODO_TAKEN))
            code = keep_close(lane, err);
        lane->mode = MSG_NONE;
        return code;
    }
    if (lane->mode == MSG_HELD)
        code = send_held(lane, err);
    lane->mode = MSG_NONE;
    if (code == MH_OK)
        return end_append(lane, err);
    return code == MH_EITEM ? MH_OK : code;
}

static int sink_missed(struct mh_sink *s, const struct mh_item *item, const struct mh_err *why,
                       struct mh_err *err)
{
    struct lane *lane = mh_container_of(s, struct lane, sink);
    uint32_t todo = find_todo(lane, item);
    struct todo *t = &lane->pass->todo[todo];
    bool was_through = lane->mode == MSG_THROUGH && lane->item == item;
    drop_held(lane);
    keep_abort(lane);
    lane->mode = MSG_NONE;
    if (was_through) {
        /* The target waits for octets that will never come: only a new connection ends that. */
        return dst_failed(lane, why, MH_ERETRY);
    }
    if (!is_mine(lane, todo, TODO_TAKEN))
        return MH_OK;
    char line[512];
    if (why->code == MH_EITEM) {
        bool vanished = why->reason && strcmp(why->reason, "vanished") == 0;
        pass_close_item(lane->pass, todo, vanished ? "skipped" : "failed",
                        why->reason ? why->reason : "unreadable",
                        mh_err_line(why, line, sizeof line));
    } else if (++t->tries >= TRIES_MAX) {
        pass_close_item(lane->pass, todo, "failed", "connection-lost",
                        mh_err_line(why, line, sizeof line));
    }
    (void)err;
    return MH_OK;
}

/* --- a lane's life ------------------------------------------------------------------------------------------------------ */

int lane_new(struct job *job, unsigned number, struct lane **out, struct mh_err *err)
{
    struct lane *lane = mh_zalloc(sizeof *lane);
    if (!lane)
        return mh_err_nomem(err);
    lane->job = job;
    lane->number = number;
    lane->sink = (struct mh_sink){sink_begin, sink_data, sink_end, sink_missed};
    lane->verdicts = (struct mh_append_sink){on_verdict};
    mh_err_reset(&lane->dst_err);
    mh_err_reset(&lane->later);
    lane->flights = mh_zalloc(FLIGHT_MAX * sizeof *lane->flights);
    int code =
        lane->flights ? mh_digest_ctx_new(MH_DIGEST_EXACT, &lane->digest, err) : mh_err_nomem(err);
    if (code != MH_OK) {
        lane_free(lane);
        return code;
    }
    *out = lane;
    return MH_OK;
}

void lane_close(struct lane *lane)
{
    if (lane->src)
        lane->job->sc->close(lane->src);
    if (lane->dst)
        lane->job->tc->close(lane->dst);
    lane->src = lane->dst = NULL;
    lanes_untell_wire(lane);
    end_split(lane);
    drop_held(lane);
    keep_abort(lane);
    lane->mode = MSG_NONE;
    lane->batch_n = 0;
    lane->batch_bytes = 0;
}

void lane_free(struct lane *lane)
{
    if (!lane)
        return;
    if (lane->src || lane->dst)
        lane_close(lane);
    if (lane->rows)
        mh_state_batch_drop(lane->job->run->cfg->state, lane->rows);
    mh_digest_ctx_free(lane->digest);
    mh_free(lane->flights);
    mh_free(lane);
}

/* What the fetch did not bring goes back on the list, all of it in one piece. */
static void return_chunk(struct lane *lane)
{
    uint32_t first = UINT32_MAX;
    uint32_t last = 0;
    for (size_t i = 0; i < lane->n_chunk; i++) {
        uint32_t t = lane->chunk_todo[i];
        if (!is_mine(lane, t, TODO_TAKEN))
            continue;
        lane->pass->todo[t].status = TODO_OPEN;
        first = MH_MIN(first, t);
        last = MH_MAX(last, t);
    }
    lane->n_chunk = 0;
    if (first != UINT32_MAX)
        give_back(lane, first, last - first + 1, lane->is_alone);
}

/* Not at the target: to be sent again; one that takes the connection with it every time is given up. */
static void reopen_unknown(struct lane *lane)
{
    struct pass *pass = lane->pass;
    uint32_t first = 0;
    uint32_t n = 0; /* a stretch that goes back as one piece */
    for (uint32_t i = 0; i < pass->n_todo; i++) {
        struct todo *t = &pass->todo[i];
        if (t->status != TODO_UNKNOWN)
            continue;
        t->status = TODO_OPEN;
        if (++t->tries >= TRIES_MAX) {
            pass_close_item(pass, i, "failed", "connection-lost",
                            "the connection broke each time this message was sent");
            continue;
        }
        if (t->tries > 1) {
            give_back(lane, i, 1, true);
            continue;
        }
        if (n == 0)
            first = i;
        n = i - first + 1;
    }
    pass->n_unknown = 0;
    give_back(lane, first, n, false);
}

/* After a lost connection: which of those in flight have arrived? One lane asks, the others keep still. */
static int resolve_unknown(struct lane *lane, struct mh_err *err)
{
    struct pass *pass = lane->pass;
    while (pass->is_matching) {
        if (mh_wait(&lane->job->changed, MH_NEVER) != MH_OK)
            return mh_err_set(err, MH_ECANCEL, "engine", "stopped");
    }
    if (pass->n_unknown == 0)
        return MH_OK;
    pass->is_matching = true;
    int code = MH_OK;
    while (code == MH_OK && pass->flying > 0)
        code = mh_wait(&lane->job->changed, MH_NEVER);
    int64_t settle_ms = 2 * lane->job->slowest_ms;
    settle_ms = MH_MIN(MH_MAX(settle_ms, (int64_t)SETTLE_MIN_MS), (int64_t)SETTLE_MAX_MS);
    if (code == MH_OK)
        code = mh_sleep_until(mh_now_ms() + settle_ms);
    if (code == MH_OK)
        code = match_window(pass, lane, pass->window, true, err);
    else
        (void)mh_err_set(err, code, "engine", "stopped");
    if (code == MH_OK)
        reopen_unknown(lane);
    pass->is_matching = false;
    mh_wake_all(&lane->job->changed);
    return code;
}

/* New connections on both sides, the folder open again, the unknown resolved. */
static int reconnect(struct lane *lane, struct mh_err *err)
{
    lane_close(lane);
    tuner_disturbed(lane->job->tuner);
    mh_err_reset(&lane->dst_err);
    int code = job_open_both(lane->job, true, &lane->src, &lane->dst, err);
    if (code == MH_OK)
        code = pass_open(lane->pass, lane, err);
    if (code == MH_OK)
        code = resolve_unknown(lane, err);
    return code;
}

/* What to do after CODE; MH_OK: go on with the pass. */
static int recover(struct lane *lane, int code, struct mh_err *err)
{
    struct mh_err why = *err;
    if (run_is_stopping(lane->job->run))
        return MH_ECANCEL;
    while (is_passing(code)) {
        /* A sink's error leaves the source in mid-answer, so both sides are opened anew. */
        lane_close(lane);
        mh_err_reset(&lane->later);
        code = job_pause(lane->job, &why, err);
        if (code == MH_OK)
            code = reconnect(lane, err);
        why = *err;
    }
    return code;
}

/* A message whose connection broke twice flies alone: if it happens again, it was this one. */
static bool is_suspect(const struct lane *lane)
{
    return lane->n_chunk == 1 && lane->pass->todo[lane->chunk_todo[0]].tries + 1 >= TRIES_MAX;
}

static int one_chunk(struct lane *lane, struct mh_err *err)
{
    bool alone = is_suspect(lane);
    mh_err_reset(err);
    int code = alone && lane->in_flight ? flush(lane, err) : MH_OK;
    if (code == MH_OK)
        code = lane->job->sc->fetch(lane->src, lane->chunk, lane->n_chunk, &lane->sink, err);
    drop_held(lane);
    if (code != MH_OK && lane->mode == MSG_THROUGH) {
        /* Ended in mid-message: the target waits for octets that will never come. */
        (void)dst_failed(lane, err, MH_ERETRY);
    }
    if (code == MH_OK && alone)
        code = flush(lane, err);
    else if (code == MH_OK && lane->batch_n > 0)
        code =
            cut(lane, err); /* a batch never spans chunks: a refused one is a stretch of the list */
    if (lane->dst_err.code != MH_OK) {
        *err = lane->dst_err;
        code = lane->dst_err.code;
    } else if (code != MH_OK && lane->in_flight) {
        /* Whatever stopped the source, what the target has is answered for first. */
        struct mh_err flush_err;
        if (flush(lane, &flush_err) != MH_OK) {
            *err = flush_err;
            code = MH_ERETRY;
        }
    }
    return_chunk(lane);
    return code;
}

/* With its verdicts comes what the tuner learns, with its end the question how many lanes there should be. */
static int chunk(struct lane *lane, struct mh_err *err)
{
    lanes_press(lane);
    lanes_staff(lane->job);
    return one_chunk(lane, err);
}

/* The sessions are opened anew as the tuner wants the wire to be. */
static int rewire(struct lane *lane, struct mh_err *err)
{
    int code = lane->in_flight ? flush(lane, err) : MH_OK;
    return code == MH_OK ? reconnect(lane, err) : code;
}

/* Works in lane->pass until its list is empty and everything sent is answered. */
static int carry(struct lane *lane, struct mh_err *err)
{
    struct pass *pass = lane->pass;
    for (;;) {
        int code = MH_OK;
        bool leaves = pass->lanes > 1 && lanes_is_surplus(lane);
        lanes_tell_wire(lane);
        if (run_is_stopping(lane->job->run) || lane->job->stop_err.code != MH_OK)
            code = MH_ECANCEL;
        else if (!leaves && pass_has_work(pass) && lanes_must_rewire(lane))
            code = rewire(lane, err);
        else if (!leaves && pass_take_chunk(pass, lane))
            code = chunk(lane, err);
        else
            code = flush(lane, err);
        if (code == MH_OK)
            code = heed_later(lane, err);
        if (code != MH_OK) {
            code = recover(lane, code, err);
            if (code != MH_OK)
                return code;
            continue;
        }
        code = lane_push_rows(lane, false, err);
        if (code != MH_OK)
            return code;
        leaves = leaves && pass->lanes > 1; /* while we waited, the others may have left */
        if (lane->in_flight == 0 && (leaves || !pass_has_work(pass)) && pass->n_unknown == 0)
            return MH_OK;
        if (pass->n_unknown > 0 && lane->in_flight == 0) {
            code = resolve_unknown(lane, err);
            if (code != MH_OK && (code = recover(lane, code, err)) != MH_OK)
                return code;
        }
    }
}

/* The last lane stays until nothing is left: what others gave back while we looked is ours to carry. */
static int carry_and_look_back(struct lane *lane, struct mh_err *err)
{
    struct pass *pass = lane->pass;
    int code = MH_OK;
    do {
        code = carry(lane, err);
        if (code == MH_OK && pass->lanes > 1 && !pass->is_matching)
            code = look_back(pass, lane, true, err);
        if (is_passing(code)) /* what was not looked at is left to the last lane */
            code = recover(lane, code, err);
        if (code == MH_OK)
            code = lane_push_rows(lane, true, err);
    } while (code == MH_OK && pass->lanes == 1 && pass_has_work(pass));
    return code;
}

static bool waits(const struct pass *p)
{
    return p->phase == PASS_WAITING || p->phase == PASS_SURVEYED;
}

/* While folders are surveyed: one that is not yet. */
static struct pass *next_to_survey(struct job *job)
{
    while (job->first_unsurveyed < job->n_passes &&
           job->passes[job->first_unsurveyed].phase != PASS_WAITING)
        job->first_unsurveyed++;
    return job->first_unsurveyed < job->n_passes ? &job->passes[job->first_unsurveyed] : NULL;
}

/* A folder nobody works on first, the largest; else one that has work left for one more. */
static struct pass *next_pass(struct lane *lane)
{
    struct job *job = lane->job;
    if (job->is_surveying)
        return next_to_survey(job);
    while (job->first_waiting < job->n_passes && !waits(&job->passes[job->first_waiting]))
        job->first_waiting++;
    for (size_t i = job->first_waiting; i < job->n_passes; i++) {
        struct pass *p = &job->passes[i];
        if (waits(p) && !pass_must_wait(p))
            return p;
    }
    return lanes_joinable(job);
}

/* True while a folder is being prepared that may turn out to have work for this lane too. */
static bool may_come(const struct job *job)
{
    return job->n_in_phase[PASS_PREPARING] > 0 || job->n_in_phase[PASS_WAITING] > 0 ||
           job->n_in_phase[PASS_SURVEYING] > 0 || job->n_in_phase[PASS_SURVEYED] > 0;
}

/* The last lane leaves: the folder is finished, or starts anew when it could not even be prepared. */
static void leave_pass(struct lane *lane, int code, struct mh_err *err)
{
    struct pass *pass = lane->pass;
    pass->lanes--;
    if (pass->lanes > 0)
        return;
    bool is_unbegun = pass->phase == PASS_PREPARING || pass->phase == PASS_SURVEYING;
    if (is_unbegun && is_passing(code)) {
        pass_restart(pass);
        return;
    }
    if (code == MH_OK && pass_has_work(pass))
        return;
    if (code != MH_OK && pass->res->err.code == MH_OK)
        pass->res->err = *err;
    pass_finish(pass, lane);
}

/* The last folder is surveyed: from now on they are carried. */
static int end_survey(struct job *job, struct mh_err *err)
{
    bool is_last = job->is_surveying && job->n_in_phase[PASS_WAITING] == 0 &&
                   job->n_in_phase[PASS_SURVEYING] == 0;
    if (!is_last)
        return MH_OK;
    job->is_surveying = false;
    int code = moves_index(job, err);
    mh_wake_all(&job->changed);
    lanes_staff(job);
    return code;
}

/* Surveys LANE->pass; a code that concerns the whole mailbox. */
static int survey(struct lane *lane, struct mh_err *err)
{
    struct pass *pass = lane->pass;
    pass->lanes++;
    pass_enter(pass, PASS_SURVEYING);
    int code = pass_survey(pass, lane, err);
    if (code == MH_OK) {
        pass->lanes--;
        pass_enter(pass, PASS_SURVEYED);
    } else {
        leave_pass(lane, code, err);
    }
    struct mh_err index_err;
    if (end_survey(lane->job, &index_err) != MH_OK) {
        *err = index_err;
        return index_err.code;
    }
    return code;
}

/* Prepares and carries LANE->pass; returns a code that concerns the whole mailbox. */
static int work_on_pass(struct lane *lane, struct mh_err *err)
{
    struct pass *pass = lane->pass;
    int code = MH_OK;
    if (lane->job->is_surveying)
        return survey(lane, err);
    pass->lanes++;
    if (waits(pass)) {
        pass_enter(pass, PASS_PREPARING);
        struct mh_event ev = {.kind = MH_EV_FOLDER_START, .folder = pass->entry->source->path};
        job_event(lane->job, &ev);
        code = pass_prepare(pass, lane, err);
        mh_wake_all(&lane->job->changed);
    } else {
        code = pass_open(pass, lane, err);
        if (code != MH_OK)
            code =
                recover(lane, code, err); /* a passing fault of ours says nothing of the folder */
    }
    if (code == MH_OK && pass->phase == PASS_COPYING && pass->n_todo > 0)
        code = carry_and_look_back(lane, err); /* else the target's folder may not even be open */
    if (code != MH_OK && lane->in_flight)
        lane_close(lane); /* their verdicts belong to this pass */
    flying(lane, false);
    struct mh_err push_err;
    if (lane_push_rows(lane, true, &push_err) != MH_OK && code == MH_OK) {
        *err = push_err;
        code = push_err.code;
    }
    leave_pass(lane, code, err);
    mh_wake_all(&lane->job->changed);
    return code;
}

/* What CODE of a folder means for the lane: MH_OK to go on with the next. */
static int pass_failed(struct lane *lane, int code, struct mh_err *err)
{
    mh_err_at(err, "folder %s", lane->pass->entry->source->path);
    if (code == MH_EFOLDER || code == MH_EITEM || code == MH_ENOENT || code == MH_ENOSUP)
        return MH_OK;
    if (!is_passing(code))
        return code;
    struct mh_err why = *err;
    if (lane->src || lane->dst)
        lane_close(lane);
    return job_pause(lane->job, &why, err);
}

int lane_sessions(struct lane *lane, struct mh_err *err)
{
    return lane->src ? MH_OK : job_open_both(lane->job, true, &lane->src, &lane->dst, err);
}

void lane_work(struct lane *lane)
{
    struct job *job = lane->job;
    struct mh_err err;
    mh_err_reset(&err);
    int code = MH_OK;
    while (code == MH_OK && job->stop_err.code == MH_OK && !run_is_stopping(job->run) &&
           !lanes_is_surplus(lane)) {
        lane->pass = next_pass(lane);
        if (!lane->pass) {
            if (!may_come(job) || mh_wait(&job->changed, MH_NEVER) != MH_OK)
                break;
            continue;
        }
        code = lane_sessions(lane, &err);
        if (code == MH_OK) {
            code = work_on_pass(lane, &err);
            if (code != MH_OK)
                code = pass_failed(lane, code, &err);
        }
    }
    if (code != MH_OK && code != MH_ECANCEL && job->stop_err.code == MH_OK)
        job->stop_err = err;
    mh_wake_all(&job->changed);
}
