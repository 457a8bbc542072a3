/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Appending: a batch is collected and stored, or refused, as a whole. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/mem/session.h"

static void give_verdict(struct mh_session *s, const struct mem_pending *p, uint64_t uid,
                         uint32_t uidvalidity, const struct mh_err *why)
{
    s->sink->done(s->sink, p->cookie, s->caps.uidplus ? uid : 0, uidvalidity, why);
}

/* Ends the batch with one verdict for all of it. */
static void fail_batch(struct mh_session *s, const struct mh_err *why)
{
    for (size_t i = 0; i < s->n_batch; i++) {
        mem_message_done(&s->batch[i].message);
        give_verdict(s, &s->batch[i], 0, 0, why);
    }
    s->n_batch = 0;
    s->is_arriving = false;
}

int mem_append_open(struct mh_session *s, const struct mh_folder *folder,
                    struct mh_append_sink *sink, struct mh_err *err)
{
    int rc = s->is_dead ? mem_lost(s, err) : mem_append_flush(s, err);
    if (rc < 0)
        return rc;
    char *path = mh_strdup(folder->native);
    if (!path)
        return mh_err_nomem(err);
    mem_lock(s);
    struct mem_folder *f = mem_need_folder(s, folder, &rc, err);
    mem_folder_unref(s->target);
    s->target = f;
    if (f)
        mem_folder_ref(f);
    mem_unlock(s);
    mh_free(s->target_path);
    s->target_path = path;
    s->sink = sink;
    return rc;
}

/* What the options have in store for the message that begins now. Lock held. */
static void plan_faults(struct mem_store *store, const struct mh_append *msg, struct mem_pending *p)
{
    struct mh_mem_options *o = &store->options;
    uint64_t nth = ++store->stats.appends;
    if (o->refuse_nth == nth || (o->refuse_octets && o->refuse_octets == msg->octets))
        p->code = o->refuse_code;
    p->loses_answer = o->lose_answer_nth == nth;
}

int mem_append_begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err)
{
    mh_assert(s->is_dead || (s->target && !s->is_arriving));
    if (s->is_dead)
        return mem_lost(s, err);
    if (s->caps.append_limit && msg->octets > s->caps.append_limit) {
        int rc = mh_err_set(err, MH_EITEM, "mem", "the message has more than %llu octets",
                            (unsigned long long)s->caps.append_limit);
        if (err)
            err->reason = "too-big";
        return rc;
    }
    if (!mh_grow(s->batch, s->cap_batch, s->n_batch + 1))
        return mh_err_nomem(err);
    if (s->caps.append_sync_literal) {
        int rc = mem_ask(s, 1, err);
        if (rc < 0)
            return rc;
    }
    const char *keywords = s->caps.keywords && msg->keywords ? msg->keywords : "";
    struct mem_pending p = {.cookie = msg->cookie};
    struct mh_date now = {mh_clock_wall_s(), 0, true};
    p.message = (struct mem_message){.date = msg->date.is_set ? msg->date : now,
                                     .flags = msg->flags,
                                     .keywords = mem_keywords(keywords),
                                     .data = malloc(msg->octets ? msg->octets : 1),
                                     .len = msg->octets};
    if (!p.message.keywords || !p.message.data) {
        mem_message_done(&p.message);
        return mh_err_nomem(err);
    }
    mem_lock(s);
    plan_faults(s->store, msg, &p);
    mem_unlock(s);
    s->batch[s->n_batch++] = p;
    s->is_arriving = true;
    return 0;
}

int mem_append_data(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err)
{
    if (s->is_dead) {
        mh_slice_drop(&slice_take);
        return mem_lost(s, err);
    }
    mh_assert(s->is_arriving);
    struct mem_pending *p = &s->batch[s->n_batch - 1];
    mh_assert(slice_take.len <= p->message.len - p->filled);
    if (slice_take.len)
        mh_slab_copy(p->message.data + p->filled, mh_slice_data(&slice_take), slice_take.len);
    p->filled += slice_take.len;
    mem_lock(s);
    s->store->appended_octets += slice_take.len;
    uint64_t drop_at = s->store->options.drop_append_at;
    bool drops = drop_at && s->store->appended_octets >= drop_at;
    if (drops)
        s->store->options.drop_append_at = 0;
    mem_unlock(s);
    uint32_t octets = slice_take.len;
    mh_slice_drop(&slice_take);
    if (!drops)
        return mem_carry(s, MEM_UP, octets, err);
    int rc = mem_lost(s, err);
    struct mh_err why;
    (void)mh_err_set(&why, MH_ERETRY, "mem", "the connection was lost");
    fail_batch(s, &why);
    return rc;
}

/* An append names its folder: after a rename or a removal there is none. Lock held. */
static bool has_target(const struct mh_session *s)
{
    return !s->target->is_removed && strcmp(s->target->path, s->target_path) == 0;
}

/* Why the batch as a whole cannot be stored; 0 if it can. Lock held. */
static int batch_fault(struct mh_session *s, struct mh_err *why)
{
    struct mem_store *store = s->store;
    uint64_t more = 0;
    if (!has_target(s)) {
        int code = s->n_batch > 1 ? MH_ESPLIT : MH_EITEM;
        (void)mh_err_set(why, code, "mem", "there is no folder %s any more", s->target_path);
        why->reason = "no-folder";
        return code;
    }
    for (size_t i = 0; i < s->n_batch; i++) {
        int code = s->batch[i].code;
        more += s->batch[i].message.len;
        if (!code)
            continue;
        if (code == MH_EITEM && s->n_batch > 1)
            return mh_err_set(why, MH_ESPLIT, "mem", "one of %zu messages is refused", s->n_batch);
        (void)mh_err_set(why, code, "mem", "the message is refused");
        why->reason = store->options.refuse_reason;
        return code;
    }
    if (store->options.quota_bytes && store->used_bytes + more > store->options.quota_bytes) {
        (void)mh_err_set(why, MH_ELATER, "mem", "the mailbox is full");
        why->reason = "quota";
        return MH_ELATER;
    }
    return 0;
}

/* Stores the batch or refuses it, and gives the verdicts. */
static int send_batch(struct mh_session *s, struct mh_err *err)
{
    struct mh_err why;
    if (s->n_batch == 0)
        return 0;
    s->is_unanswered = true;
    mem_lock(s);
    s->store->stats.batches++;
    s->store->stats.largest_batch = MH_MAX(s->store->stats.largest_batch, s->n_batch);
    int code = batch_fault(s, &why);
    if (code < 0) {
        mem_unlock(s);
        fail_batch(s, &why);
        return 0;
    }
    bool loses = false;
    for (size_t i = 0; i < s->n_batch; i++) {
        loses |= s->batch[i].loses_answer;
        s->batch[i].filled = mem_message_add(s->store, s->target, &s->batch[i].message);
        s->store->stats.stored += s->batch[i].filled != 0;
    }
    uint32_t uidvalidity = s->target->uidvalidity;
    mem_unlock(s);
    if (loses) {
        int rc = mem_lost(s, err);
        (void)mh_err_set(&why, MH_ERETRY, "mem", "the connection was lost before the answer");
        fail_batch(s, &why);
        return rc;
    }
    size_t n = s->n_batch;
    s->n_batch = 0;
    (void)mh_err_set(&why, MH_EITEM, "mem", "out of memory");
    for (size_t i = 0; i < n; i++)
        give_verdict(s, &s->batch[i], s->batch[i].filled, uidvalidity,
                     s->batch[i].filled ? NULL : &why);
    return 0;
}

int mem_append_end(struct mh_session *s, struct mh_err *err)
{
    if (s->is_dead)
        return mem_lost(s, err);
    mh_assert(s->is_arriving);
    const struct mem_pending *p = &s->batch[s->n_batch - 1];
    if (p->filled < p->message.len)
        return mh_err_set(err, MH_ERETRY, "mem", "the message ended before its announced length");
    s->is_arriving = false;
    return s->caps.multiappend ? 0 : send_batch(s, err);
}

int mem_append_cut(struct mh_session *s, struct mh_err *err)
{
    if (s->is_dead)
        return mem_lost(s, err);
    mh_assert(!s->is_arriving);
    return send_batch(s, err);
}

/* The only one that waits for answers: those of single messages and batches come while others are sent. */
int mem_append_flush(struct mh_session *s, struct mh_err *err)
{
    int rc = mem_append_cut(s, err);
    bool waits = s->is_unanswered;
    s->is_unanswered = false;
    return rc == 0 && waits ? mem_ask(s, 1, err) : rc;
}

void mem_append_close(struct mh_session *s)
{
    struct mh_err why;
    (void)mh_err_set(&why, MH_ERETRY, "mem", "closed before the message was stored");
    fail_batch(s, &why);
    mem_lock(s);
    mem_folder_unref(s->target);
    mem_unlock(s);
    mh_free(s->target_path);
    mh_free(s->batch);
}
