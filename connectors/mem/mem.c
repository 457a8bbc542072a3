/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "connectors/mem/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/mem/mem_priv.h"
#include "mail/file_index.h"

/* One message of the batch that is being sent. */
struct pending {
    struct mem_message message;
    uint64_t cookie;
    uint64_t filled;
    int code; /* 0, or why it will be refused */
    bool loses_answer;
};

struct mh_session {
    const struct mh_env *env; /* borrowed */
    struct mem_store *store;
    struct mh_caps caps;
    bool is_dead;                /* the connection was lost */
    struct mem_folder *selected; /* borrowed: the store */
    struct mem_folder *target;
    struct mh_append_sink *sink; /* borrowed */
    struct pending *batch;       /* owned */
    size_t n_batch, cap_batch;
    bool is_arriving; /* between begin and end of the last of the batch */
};

static void lock(struct mh_session *s)
{
    (void)pthread_mutex_lock(&s->store->lock);
}

static void unlock(struct mh_session *s)
{
    (void)pthread_mutex_unlock(&s->store->lock);
}

static int lost(struct mh_session *s, struct mh_err *err)
{
    s->is_dead = true;
    return mh_err_set(err, MH_ERETRY, "mem", "the connection was lost");
}

/* --- opening ---------------------------------------------------------------------------------- */

static int mem_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                    struct mh_session **out, struct mh_err *err)
{
    struct mem_store *store = mem_store_open(ep->path, create);
    if (!store)
        return mh_err_set(err, MH_EUSAGE, "mem", "there is no store mem:%s", ep->path);
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s) {
        mem_store_close(store);
        return mh_err_nomem(err);
    }
    s->env = env;
    s->store = store;
    lock(s);
    const struct mh_mem_options *o = &store->options;
    s->caps = (struct mh_caps){
        .multiappend = o->multiappend,
        .uidplus = o->uidplus,
        .keywords = o->keywords,
        .condstore = o->condstore,
        .list_status = true,
        .special_use = o->special_use,
        .create_special_use = o->special_use,
        .acl = o->acl,
        .metadata = o->metadata,
        .quota = o->quota_bytes != 0,
        .append_sync_literal = o->append_sync_literal,
        .append_limit = o->append_limit,
        .separator = '/',
        .server_name = "mem",
        .cert_days_left = -1,
    };
    unlock(s);
    *out = s;
    return 0;
}

static void give_verdict(struct mh_session *s, const struct pending *p, uint64_t uid,
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

static void mem_close(struct mh_session *s)
{
    if (!s)
        return;
    struct mh_err why;
    (void)mh_err_set(&why, MH_ERETRY, "mem", "closed before the message was stored");
    fail_batch(s, &why);
    mh_free(s->batch);
    mem_store_close(s->store);
    mh_free(s);
}

static const struct mh_caps *mem_caps(struct mh_session *s)
{
    return &s->caps;
}

/* --- folders ---------------------------------------------------------------------------------- */

static int list_locked(struct mh_session *s, struct mh_folders *out, struct mh_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->store->n_folders; i++) {
        const struct mem_folder *from = s->store->folders[i];
        struct mh_folder *f = NULL;
        rc = mh_folders_add(out, from->path, from->path, &f, err);
        if (rc < 0)
            break;
        bool announces = s->caps.special_use || from->role == MH_ROLE_INBOX;
        f->role = announces ? from->role : MH_ROLE_NONE;
        f->attrs = MH_FOLDER_HAS_STATUS;
        f->attrs |= f->role != MH_ROLE_NONE ? MH_FOLDER_ROLE_ANNOUNCED : 0u;
        f->attrs |= from->is_subscribed ? MH_FOLDER_SUBSCRIBED : 0u;
        f->uidvalidity = from->uidvalidity;
        f->uidnext = from->uidnext;
        f->messages = from->n;
        f->highestmodseq = s->caps.condstore ? from->highestmodseq : 0;
        f->size_known = true;
        for (size_t j = 0; j < from->n; j++)
            f->size += from->v[j].len;
    }
    return rc;
}

static int mem_list(struct mh_session *s, bool with_status, struct mh_folders *out,
                    struct mh_err *err)
{
    (void)with_status;
    if (s->is_dead)
        return lost(s, err);
    lock(s);
    int rc = s->store->options.refuse_list
                 ? mh_err_set(err, MH_EMAILBOX, "mem", "the list is refused")
                 : list_locked(s, out, err);
    unlock(s);
    mh_folders_sort(out);
    return rc;
}

static int mem_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                      struct mh_opened *out, struct mh_err *err)
{
    (void)for_write;
    if (s->is_dead)
        return lost(s, err);
    lock(s);
    struct mem_folder *f = mem_folder_find(s->store, folder->native);
    s->selected = f;
    if (f)
        *out = (struct mh_opened){
            .uidvalidity = f->uidvalidity,
            .uidnext = f->uidnext,
            .messages = f->n,
            .highestmodseq = s->caps.condstore ? f->highestmodseq : 0,
            .keywords_ok = s->caps.keywords,
            .flags_ok = MH_SEEN | MH_ANSWERED | MH_FLAGGED | MH_DELETED | MH_DRAFT,
        };
    unlock(s);
    return f ? 0 : mh_err_set(err, MH_ENOENT, "mem", "there is no folder %s", folder->native);
}

static int mem_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                         struct mh_err *err)
{
    if (s->is_dead)
        return lost(s, err);
    if (!*path)
        return mh_err_set(err, MH_EFOLDER, "mem", "the folder's name is empty");
    *path_out = mh_strdup(path);
    *native_out = mh_strdup(path);
    if (*path_out && *native_out)
        return 0;
    mh_free(*path_out);
    mh_free(*native_out);
    return mh_err_nomem(err);
}

/* PATH and what stands above it. */
static bool make_path(struct mh_session *s, const char *path, enum mh_role role)
{
    for (const char *p = path;; p++) {
        p += strcspn(p, "/");
        char *part = strndup(path, (size_t)(p - path));
        struct mem_folder *f = part ? mem_folder_find(s->store, part) : NULL;
        if (part && !f)
            f = mem_folder_make(s->store, part);
        free(part);
        if (!f)
            return false;
        if (!*p) {
            if (s->caps.create_special_use && role != MH_ROLE_NONE && f->role == MH_ROLE_NONE)
                f->role = role;
            return true;
        }
    }
}

static int mem_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                      char **native_out, struct mh_err *err)
{
    int rc = mem_plan_name(s, path, path_out, native_out, err);
    if (rc < 0)
        return rc;
    lock(s);
    bool made = make_path(s, path, role);
    unlock(s);
    if (made)
        return 0;
    mh_free(*path_out);
    mh_free(*native_out);
    return mh_err_nomem(err);
}

/* The folder for one of the calls around the mail; NULL and *RC_OUT set when it is not there. */
static struct mem_folder *need_folder(struct mh_session *s, const struct mh_folder *folder,
                                      int *rc_out, struct mh_err *err)
{
    struct mem_folder *f = mem_folder_find(s->store, folder->native);
    *rc_out = f ? 0 : mh_err_set(err, MH_ENOENT, "mem", "there is no folder %s", folder->native);
    return f;
}

static int mem_subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    int rc = 0;
    lock(s);
    struct mem_folder *f = need_folder(s, folder, &rc, err);
    if (f)
        f->is_subscribed = true;
    unlock(s);
    return rc;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Lock held. */
static int list_message(const struct mh_session *s, const struct mem_message *m,
                        struct mh_scan *out, struct mh_err *err)
{
    struct mh_item item = {.uid = m->uid,
                           .size = m->len,
                           .date = m->date,
                           .flags = m->flags,
                           .modseq = s->caps.condstore ? m->modseq : 0};
    int rc = mh_kwsets_intern(out->kwsets, m->keywords, strlen(m->keywords), &item.kwset, err);
    return rc < 0 ? rc : mh_scan_add(out, &item, err);
}

static int mem_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out,
                    struct mh_err *err)
{
    if (s->is_dead)
        return lost(s, err);
    mh_assert(s->selected);
    int rc = 0;
    lock(s);
    for (size_t i = 0; rc == 0 && i < s->selected->n; i++)
        if (s->selected->v[i].uid >= uid_from)
            rc = list_message(s, &s->selected->v[i], out, err);
    unlock(s);
    mh_scan_finish(out);
    return rc;
}

static int mem_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n, struct mh_scan *out,
                         struct mh_err *err)
{
    if (s->is_dead)
        return lost(s, err);
    mh_assert(s->selected);
    int rc = 0;
    lock(s);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct mem_message *m = mem_message_find(s->selected, uids[i]);
        rc = m ? list_message(s, m, out, err) : 0;
    }
    unlock(s);
    mh_scan_finish(out);
    return rc;
}

/* What fetch() fills; messages follow each other in it. */
struct outlet {
    struct mh_slab *slab;
    uint32_t fill;
};

/* Copies up to a slab's rest from OFF of the message; 0: it is gone. */
static uint32_t copy_part(struct mh_session *s, uint64_t uid, uint64_t off, struct outlet *o)
{
    lock(s);
    const struct mem_message *m = mem_message_find(s->selected, uid);
    uint32_t len = 0;
    if (m && off < m->len) {
        len = (uint32_t)MH_MIN(m->len - off, MH_SLAB_BYTES - o->fill);
        uint64_t drop_at = s->store->options.drop_fetch_at;
        if (drop_at && s->store->fetched_octets + len >= drop_at) {
            s->store->options.drop_fetch_at = 0;
            s->is_dead = true;
            len = (uint32_t)(drop_at - 1 - s->store->fetched_octets);
        }
        mh_slab_copy(o->slab->data + o->fill, m->data + off, len);
        s->store->fetched_octets += len;
    }
    unlock(s);
    return len;
}

static int next_part(struct mh_session *s, uint64_t uid, uint64_t off, struct outlet *o,
                     struct mh_slice *out, struct mh_err *err)
{
    if (o->slab && o->fill == MH_SLAB_BYTES) {
        mh_slab_unref(o->slab);
        o->slab = NULL;
    }
    if (!o->slab) {
        int rc = mh_slab_get_wait(s->env->pool, MH_NEVER, &o->slab, err);
        if (rc < 0)
            return rc;
        o->fill = 0;
    }
    uint32_t len = copy_part(s, uid, off, o);
    *out = len ? mh_slice_of(o->slab, o->fill, len) : (struct mh_slice){NULL, 0, 0};
    o->fill += len;
    return 0;
}

static int fetch_one(struct mh_session *s, const struct mh_item *item, struct outlet *o,
                     struct mh_sink *sink, struct mh_err *err)
{
    struct mh_err why;
    lock(s);
    const struct mem_message *m = mem_message_find(s->selected, item->uid);
    uint64_t octets = m ? m->len : 0;
    unlock(s);
    int rc = m ? sink->begin(sink, item, octets, err) : 0;
    for (uint64_t off = 0; m && rc == 0 && off < octets;) {
        struct mh_slice slice;
        rc = next_part(s, item->uid, off, o, &slice, err);
        if (rc < 0)
            return rc;
        off += slice.len;
        m = slice.len ? m : NULL;
        if (slice.len)
            rc = sink->data(sink, slice, err);
        if (rc == 0 && s->is_dead)
            return lost(s, err);
    }
    if (rc < 0)
        return rc;
    if (m) {
        lock(s);
        s->store->stats.fetched++;
        unlock(s);
        return sink->end(sink, err);
    }
    (void)mh_err_set(&why, MH_EITEM, "mem", "the message is gone");
    why.reason = "vanished";
    return sink->missed(sink, item, &why, err);
}

static int mem_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                     struct mh_sink *sink, struct mh_err *err)
{
    mh_assert(s->selected || s->is_dead);
    struct outlet o = {NULL, 0};
    int rc = s->is_dead ? lost(s, err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = mh_task_cancelled() ? mh_err_set(err, MH_ECANCEL, "mem", "stopped")
                                 : fetch_one(s, items[i], &o, sink, err);
    if (o.slab)
        mh_slab_unref(o.slab);
    return rc;
}

/* --- appending -------------------------------------------------------------------------------- */

static int mem_append_flush(struct mh_session *s, struct mh_err *err);

static int mem_append_open(struct mh_session *s, const struct mh_folder *folder,
                           struct mh_append_sink *sink, struct mh_err *err)
{
    int rc = s->is_dead ? lost(s, err) : mem_append_flush(s, err);
    if (rc < 0)
        return rc;
    lock(s);
    s->target = need_folder(s, folder, &rc, err);
    unlock(s);
    s->sink = sink;
    return rc;
}

/* What the options have in store for the message that begins now. Lock held. */
static void plan_faults(struct mem_store *store, const struct mh_append *msg, struct pending *p)
{
    struct mh_mem_options *o = &store->options;
    uint64_t nth = ++store->stats.appends;
    if (o->refuse_nth == nth || (o->refuse_octets && o->refuse_octets == msg->octets))
        p->code = o->refuse_code;
    p->loses_answer = o->lose_answer_nth == nth;
}

static int mem_append_begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err)
{
    mh_assert(s->is_dead || (s->target && !s->is_arriving));
    if (s->is_dead)
        return lost(s, err);
    if (s->caps.append_limit && msg->octets > s->caps.append_limit) {
        int rc = mh_err_set(err, MH_EITEM, "mem", "the message has more than %llu octets",
                            (unsigned long long)s->caps.append_limit);
        if (err)
            err->reason = "too-big";
        return rc;
    }
    if (s->n_batch == s->cap_batch) {
        size_t cap = s->cap_batch ? s->cap_batch * 2 : 8;
        struct pending *batch = mh_realloc_array(s->batch, cap, sizeof *batch);
        if (!batch)
            return mh_err_nomem(err);
        s->batch = batch;
        s->cap_batch = cap;
    }
    const char *keywords = s->caps.keywords && msg->keywords ? msg->keywords : "";
    struct pending p = {.cookie = msg->cookie};
    struct mh_date now = {mh_clock_wall_s(), 0, true};
    p.message = (struct mem_message){.date = msg->date.is_set ? msg->date : now,
                                     .flags = msg->flags,
                                     .keywords = strdup(keywords),
                                     .data = malloc(msg->octets ? msg->octets : 1),
                                     .len = msg->octets};
    if (!p.message.keywords || !p.message.data) {
        mem_message_done(&p.message);
        return mh_err_nomem(err);
    }
    lock(s);
    plan_faults(s->store, msg, &p);
    unlock(s);
    s->batch[s->n_batch++] = p;
    s->is_arriving = true;
    return 0;
}

static int mem_append_data(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err)
{
    if (s->is_dead) {
        mh_slice_drop(&slice_take);
        return lost(s, err);
    }
    mh_assert(s->is_arriving);
    struct pending *p = &s->batch[s->n_batch - 1];
    mh_assert(slice_take.len <= p->message.len - p->filled);
    if (slice_take.len)
        mh_slab_copy(p->message.data + p->filled, mh_slice_data(&slice_take), slice_take.len);
    p->filled += slice_take.len;
    lock(s);
    s->store->appended_octets += slice_take.len;
    uint64_t drop_at = s->store->options.drop_append_at;
    bool drops = drop_at && s->store->appended_octets >= drop_at;
    if (drops)
        s->store->options.drop_append_at = 0;
    unlock(s);
    mh_slice_drop(&slice_take);
    if (!drops)
        return 0;
    int rc = lost(s, err);
    struct mh_err why;
    (void)mh_err_set(&why, MH_ERETRY, "mem", "the connection was lost");
    fail_batch(s, &why);
    return rc;
}

/* Why the batch as a whole cannot be stored; 0 if it can. Lock held. */
static int batch_fault(struct mh_session *s, struct mh_err *why)
{
    struct mem_store *store = s->store;
    uint64_t more = 0;
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
    lock(s);
    s->store->stats.batches++;
    s->store->stats.largest_batch = MH_MAX(s->store->stats.largest_batch, s->n_batch);
    int code = batch_fault(s, &why);
    if (code < 0) {
        unlock(s);
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
    unlock(s);
    if (loses) {
        int rc = lost(s, err);
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

static int mem_append_end(struct mh_session *s, struct mh_err *err)
{
    if (s->is_dead)
        return lost(s, err);
    mh_assert(s->is_arriving);
    const struct pending *p = &s->batch[s->n_batch - 1];
    if (p->filled < p->message.len)
        return mh_err_set(err, MH_ERETRY, "mem", "the message ended before its announced length");
    s->is_arriving = false;
    return s->caps.multiappend ? 0 : send_batch(s, err);
}

static int mem_append_cut(struct mh_session *s, struct mh_err *err)
{
    if (s->is_dead)
        return lost(s, err);
    mh_assert(!s->is_arriving);
    return send_batch(s, err);
}

static int mem_append_flush(struct mh_session *s, struct mh_err *err)
{
    return mem_append_cut(s, err);
}

static void change_flags(struct mh_session *s, struct mem_message *m, bool add, uint8_t flags,
                         const char *keywords, struct mh_buf *words)
{
    struct mh_file_record had = {
        .flags = m->flags, .keywords = m->keywords, .keywords_len = strlen(m->keywords)};
    struct mh_file_record now;
    mh_file_record_change(&had, add, flags, s->caps.keywords ? keywords : NULL, words, &now);
    char *copy = strdup(mh_buf_str(words));
    if (!copy)
        return;
    free(m->keywords);
    m->keywords = copy;
    m->flags = now.flags;
    m->modseq = ++s->selected->highestmodseq;
}

static int mem_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                           uint8_t flags, const char *keywords, struct mh_err *err)
{
    struct mh_buf words = MH_BUF_INIT;
    if (s->is_dead)
        return lost(s, err);
    mh_assert(s->selected);
    lock(s);
    for (size_t i = 0; i < n; i++) {
        struct mem_message *m = mem_message_find(s->selected, uids[i]);
        if (m)
            change_flags(s, m, add, flags, keywords, &words);
    }
    unlock(s);
    bool failed = mh_buf_failed(&words);
    mh_buf_done(&words);
    return failed ? mh_err_nomem(err) : 0;
}

/* --- around the mail -------------------------------------------------------------------------- */

static int mem_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    (void)err;
    lock(s);
    out->known = s->store->options.quota_bytes != 0;
    out->used_bytes = s->store->used_bytes;
    out->limit_bytes = s->store->options.quota_bytes;
    unlock(s);
    return 0;
}

static int no_such(struct mh_err *err, const char *what)
{
    return mh_err_set(err, MH_ENOSUP, "mem", "the store has no %s", what);
}

static int mem_acl_get(struct mh_session *s, const struct mh_folder *folder,
                       struct mh_buf *lines_out, struct mh_err *err)
{
    int rc = 0;
    if (!s->caps.acl)
        return no_such(err, "ACL");
    lock(s);
    const struct mem_folder *f = need_folder(s, folder, &rc, err);
    for (size_t i = 0; f && i < f->acl.n; i++)
        mh_buf_addf(lines_out, "%s %s\n", f->acl.v[i].name, f->acl.v[i].value);
    unlock(s);
    return rc;
}

static int set_pair(struct mh_session *s, const struct mh_folder *folder, bool is_acl,
                    const char *name, const char *value, size_t len, struct mh_err *err)
{
    int rc = 0;
    lock(s);
    struct mem_folder *f = need_folder(s, folder, &rc, err);
    if (f && !mem_pair_set(is_acl ? &f->acl : &f->metadata, name, value, len))
        rc = mh_err_nomem(err);
    unlock(s);
    return rc;
}

static int mem_acl_set(struct mh_session *s, const struct mh_folder *folder, const char *identifier,
                       const char *rights, struct mh_err *err)
{
    if (!s->caps.acl)
        return no_such(err, "ACL");
    return set_pair(s, folder, true, identifier, rights, strlen(rights), err);
}

static int mem_metadata_get(struct mh_session *s, const struct mh_folder *folder,
                            int (*entry)(void *ctx, const char *name, const char *value,
                                         size_t len),
                            void *ctx, struct mh_err *err)
{
    int rc = 0;
    if (!s->caps.metadata)
        return no_such(err, "METADATA");
    for (size_t i = 0; rc == 0; i++) {
        /* Copied out: the callback may wait. */
        char *name = NULL;
        char *value = NULL;
        size_t len = 0;
        lock(s);
        const struct mem_folder *f = need_folder(s, folder, &rc, err);
        bool has = f && i < f->metadata.n;
        if (has) {
            len = f->metadata.v[i].len;
            name = mh_strdup(f->metadata.v[i].name);
            value = mh_strndup(f->metadata.v[i].value, len);
        }
        unlock(s);
        if (!has)
            break;
        rc = name && value ? entry(ctx, name, value, len) : mh_err_nomem(err);
        mh_free(name);
        mh_free(value);
    }
    return rc;
}

static int mem_metadata_set(struct mh_session *s, const struct mh_folder *folder, const char *name,
                            const char *value, size_t len, struct mh_err *err)
{
    if (!s->caps.metadata)
        return no_such(err, "METADATA");
    return set_pair(s, folder, false, name, value, len, err);
}

const struct mh_connector mh_mem = {
    .name = "mem",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_IS_LOCAL | MH_HAS_KEYWORDS |
             MH_HAS_DATES | MH_HAS_ZONES | MH_HAS_FOLDERS | MH_UIDS_ASCEND,
    .open = mem_open,
    .close = mem_close,
    .caps = mem_caps,
    .list = mem_list,
    .select = mem_select,
    .create = mem_create,
    .plan_name = mem_plan_name,
    .subscribe = mem_subscribe,
    .scan = mem_scan,
    .scan_uids = mem_scan_uids,
    .fetch = mem_fetch,
    .append_open = mem_append_open,
    .append_begin = mem_append_begin,
    .append_data = mem_append_data,
    .append_end = mem_append_end,
    .append_cut = mem_append_cut,
    .append_flush = mem_append_flush,
    .store_flags = mem_store_flags,
    .quota = mem_quota,
    .acl_get = mem_acl_get,
    .acl_set = mem_acl_set,
    .metadata_get = mem_metadata_get,
    .metadata_set = mem_metadata_set,
};
