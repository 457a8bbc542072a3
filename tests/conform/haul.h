/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of the engine stand on: schedulers in threads of their own, a state in a scratch folder,
 * mailboxes in memory, a connector that does as mem does and can be told to misbehave, and a check of the
 * books after every run. The test's thread calls the engine and asserts; callbacks only count.
 */
#ifndef MH_TESTS_CONFORM_HAUL_H
#define MH_TESTS_CONFORM_HAUL_H

#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>

#include "connectors/mem/mem_priv.h"
#include "engine/engine.h"
#include "rig.h"

#define HAUL_MAILBOXES_MAX 32
#define HAUL_SCHEDS_MAX    2

/* --- a connector that misbehaves on request ---------------------------------------------------- */

struct late_verdict {
    uint64_t cookie, uid;
    uint32_t uidvalidity;
    bool has_err;
    struct mh_err err;
};

enum { LATE_MAX = 4096 };

/* Between a target session and the engine's sink: verdicts may come late, as they do over a wire. */
struct tap {
    struct mh_append_sink sink;
    struct mh_append_sink *inner;
    struct mh_session *s;
    struct late_verdict *late; /* in order */
    size_t n_late;
    bool is_closed;          /* the postman frees it */
    struct mh_task *postman; /* once it runs */
    bool has_postman;        /* a task that delivers after a while */
    struct mh_waitq no_late; /* everything was delivered */
    uint64_t doomed[64];     /* cookies: the deadly message and what was sent behind it */
    size_t n_doomed;
    bool is_dead;
};

static struct {
    pthread_mutex_t lock;
    struct tap *taps[256];
    size_t n_taps;
    /* each MH_ELATER verdict asks for this long; nothing may be begun before */
    int64_t retry_after_ms, later_until_ms;
    unsigned n_later, n_too_early;
    /* raises the stop when this message (1 = first) is begun */
    uint64_t begun, stop_at;
    enum mh_stop stop_level; /* 0: SOON */
    _Atomic int *stop;
    /* somebody deletes a message between the listing and the fetch */
    const char *expunge_store, *expunge_folder;
    uint64_t expunge_uid;
    /* a message of this length takes the connection with it each time, as soon as DEADLY_MORE others were
     * sent behind it, which are lost */
    uint64_t deadly_octets;
    unsigned deadly_more;
    bool is_deadly;
    /* verdicts come this much later */
    int64_t late_ms;
    /* called before a session is opened */
    void (*on_open)(bool is_source);
} far;

static inline void tap_free(struct tap *t)
{
    free(t->late);
    free(t);
}

static inline void far_deliver(struct tap *t)
{
    size_t n = t->n_late;
    t->n_late = 0;
    for (size_t i = 0; i < n; i++) {
        const struct late_verdict *v = &t->late[i];
        t->inner->done(t->inner, v->cookie, v->uid, v->uidvalidity, v->has_err ? &v->err : NULL);
    }
    mh_wake_all(&t->no_late);
}

static inline void far_lose(struct tap *t)
{
    for (size_t i = 0; i < t->n_late; i++) {
        struct late_verdict *v = &t->late[i];
        v->has_err = true;
        v->uid = 0;
        (void)mh_err_set(&v->err, MH_ERETRY, "test", "the answer was lost");
    }
    far_deliver(t);
}

/* The server falls over the deadly message: the answers before it are out, what came behind is lost. */
static inline int far_die(struct tap *t, struct mh_err *err)
{
    struct mh_err why;
    size_t n = t->n_doomed;
    t->n_doomed = 0;
    t->is_dead = true;
    far_deliver(t);
    (void)mh_err_set(&why, MH_ERETRY, "test", "the server has crashed");
    for (size_t i = 0; i < n; i++)
        t->inner->done(t->inner, t->doomed[i], 0, 0, &why);
    return mh_err_set(err, MH_ERETRY, "test", "the server has crashed");
}

static inline void far_postman(void *arg)
{
    struct tap *t = arg;
    t->postman = mh_task_self();
    if (!t->is_closed)
        (void)!mh_sleep_until(mh_now_ms() + far.late_ms);
    t->postman = NULL;
    t->has_postman = false;
    if (t->is_closed)
        tap_free(t);
    else if (t->n_doomed)
        (void)far_die(t, NULL);
    else
        far_deliver(t);
}

static inline void far_send_postman(struct tap *t)
{
    struct mh_err err;
    if (t->has_postman)
        return;
    t->has_postman = true;
    if (mh_task_spawn(mh_sched_self(), "postman", far_postman, t, NULL, &err) != 0)
        abort();
}

static inline void far_keep(struct tap *t, uint64_t cookie, uint64_t uid, uint32_t uidvalidity,
                            const struct mh_err *why)
{
    mh_assert(t->n_late < LATE_MAX);
    struct late_verdict *v = &t->late[t->n_late++];
    *v = (struct late_verdict){
        .cookie = cookie, .uid = uid, .uidvalidity = uidvalidity, .has_err = why != NULL};
    if (why)
        v->err = *why;
    far_send_postman(t);
}

static inline struct tap *far_tap(struct mh_session *s)
{
    struct tap *found = NULL;
    (void)pthread_mutex_lock(&far.lock);
    for (size_t i = 0; i < far.n_taps; i++)
        if (far.taps[i]->s == s)
            found = far.taps[i];
    (void)pthread_mutex_unlock(&far.lock);
    return found;
}

static inline int far_append_end(struct mh_session *s, struct mh_err *err)
{
    struct tap *t = far_tap(s);
    if (t->is_dead || t->n_doomed > far.deadly_more)
        return far_die(t, err);
    return t->n_doomed ? 0 : mh_mem.append_end(s, err);
}

static inline int far_append_cut(struct mh_session *s, struct mh_err *err)
{
    struct tap *t = far_tap(s);
    if (t->is_dead)
        return far_die(t, err);
    return t->n_doomed ? 0 : mh_mem.append_cut(s, err);
}

static inline int far_append_flush(struct mh_session *s, struct mh_err *err)
{
    struct tap *t = far_tap(s);
    if (t && (t->is_dead || t->n_doomed))
        return far_die(t, err);
    int rc = mh_mem.append_flush(s, err);
    while (rc == 0 && t && t->n_late)
        if (mh_wait(&t->no_late, MH_NEVER) != 0)
            rc = mh_err_set(err, MH_ECANCEL, "test", "stopped");
    return rc;
}

static inline void far_done(struct mh_append_sink *sink, uint64_t cookie, uint64_t uid,
                            uint32_t uidvalidity, const struct mh_err *why)
{
    struct tap *t = mh_container_of(sink, struct tap, sink);
    struct mh_err changed;
    if (far.late_ms && !(why && why->code == MH_ERETRY)) {
        far_keep(t, cookie, uid, uidvalidity, why);
        return;
    }
    far_lose(t); /* what was on its way is lost with the connection */
    if (why && why->code == MH_ELATER && far.retry_after_ms) {
        changed = *why;
        changed.retry_after_ms = far.retry_after_ms;
        far.later_until_ms = mh_now_ms() + far.retry_after_ms;
        far.n_later++;
        why = &changed;
    }
    t->inner->done(t->inner, cookie, uid, uidvalidity, why);
}

static inline int far_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                           struct mh_session **out, struct mh_err *err)
{
    if (far.on_open)
        far.on_open(env->is_source);
    return mh_mem.open(ep, env, create, out, err);
}

static inline void far_close(struct mh_session *s)
{
    struct tap *t = far_tap(s);
    if (t) {
        far_lose(t);
        if (t->n_doomed)
            (void)far_die(t, NULL);
    }
    mh_mem.close(s);
    (void)pthread_mutex_lock(&far.lock);
    for (size_t i = 0; i < far.n_taps;) {
        if (far.taps[i]->s != s) {
            i++;
            continue;
        }
        far.taps[i]->is_closed = true;
        if (far.taps[i]->postman)
            mh_task_cancel(far.taps[i]->postman);
        if (!far.taps[i]->has_postman)
            tap_free(far.taps[i]);
        far.taps[i] = far.taps[--far.n_taps];
    }
    (void)pthread_mutex_unlock(&far.lock);
}

static inline int far_append_open(struct mh_session *s, const struct mh_folder *folder,
                                  struct mh_append_sink *sink, struct mh_err *err)
{
    struct tap *t = far_tap(s);
    if (t) {
        int rc = far_append_flush(s, err);
        t->inner = sink;
        return rc == 0 ? mh_mem.append_open(s, folder, &t->sink, err) : rc;
    }
    t = calloc(1, sizeof *t);
    if (!t)
        return mh_err_nomem(err);
    *t = (struct tap){.sink = {far_done}, .inner = sink, .s = s};
    if (far.late_ms)
        t->late = malloc(LATE_MAX * sizeof *t->late);
    mh_assert(!far.late_ms || t->late);
    (void)pthread_mutex_lock(&far.lock);
    mh_assert(far.n_taps < MH_ARRAY_LEN(far.taps));
    far.taps[far.n_taps++] = t;
    (void)pthread_mutex_unlock(&far.lock);
    return mh_mem.append_open(s, folder, &t->sink, err);
}

static inline int far_append_begin(struct mh_session *s, const struct mh_append *msg,
                                   struct mh_err *err)
{
    if (mh_now_ms() < far.later_until_ms)
        far.n_too_early++;
    if (++far.begun == far.stop_at)
        atomic_store(far.stop, far.stop_level ? (int)far.stop_level : MH_STOP_SOON);
    far.is_deadly = far.deadly_octets && msg->octets == far.deadly_octets;
    struct tap *t = far_tap(s);
    if (t->is_dead)
        return far_die(t, err);
    if (!t->n_doomed && far.is_deadly) {
        int rc = mh_mem.append_cut(s, err); /* what was sent before it is safe */
        if (rc != 0)
            return rc;
    }
    if (!t->n_doomed && !far.is_deadly)
        return mh_mem.append_begin(s, msg, err);
    mh_assert(t->n_doomed < MH_ARRAY_LEN(t->doomed));
    t->doomed[t->n_doomed++] = msg->cookie;
    far_send_postman(t);
    return 0;
}

static inline int far_append_data(struct mh_session *s, struct mh_slice slice_take,
                                  struct mh_err *err)
{
    struct tap *t = far_tap(s);
    if (!t->is_dead && !t->n_doomed)
        return mh_mem.append_data(s, slice_take, err);
    mh_slice_drop(&slice_take);
    return t->is_dead ? far_die(t, err) : 0;
}

static inline int far_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                            struct mh_sink *sink, struct mh_err *err)
{
    if (far.expunge_uid)
        (void)mh_mem_expunge(far.expunge_store, far.expunge_folder, far.expunge_uid);
    far.expunge_uid = 0;
    return mh_mem.fetch(s, items, n, sink, err);
}

/* mem as if it were behind a wire: with budgets and a look back. */
static struct mh_connector far_connector;

static inline void far_init(void)
{
    memset(&far, 0, sizeof far);
    (void)pthread_mutex_init(&far.lock, NULL);
    far_connector = mh_mem;
    far_connector.flags &= ~(unsigned)MH_IS_LOCAL;
    far_connector.open = far_open;
    far_connector.close = far_close;
    far_connector.append_open = far_append_open;
    far_connector.append_begin = far_append_begin;
    far_connector.append_data = far_append_data;
    far_connector.append_end = far_append_end;
    far_connector.append_cut = far_append_cut;
    far_connector.append_flush = far_append_flush;
    far_connector.fetch = far_fetch;
}

/* --- the engine's surroundings ------------------------------------------------------------------- */

struct haul_thread {
    pthread_t thread;
    sem_t ready;
    bool is_virtual;
    struct mh_sched *sched;
    int code;
};

struct haul {
    char dir[64];
    char state_path[96];
    struct haul_thread threads[HAUL_SCHEDS_MAX];
    struct mh_sched *scheds[HAUL_SCHEDS_MAX];
    unsigned n_scheds;
    struct mh_pool *pool;
    struct mh_state *state;
    struct mh_endpoint src[HAUL_MAILBOXES_MAX], dst[HAUL_MAILBOXES_MAX];
    struct mh_engine_mailbox mailboxes[HAUL_MAILBOXES_MAX];
    struct mh_progress progress[HAUL_MAILBOXES_MAX];
    char ids[HAUL_MAILBOXES_MAX][32];
    const struct mh_connector *connectors[1];
    struct mh_engine_config cfg;
    _Atomic int stop;
    const char *all_into; /* target of every folder; NULL: the same path */
    struct mh_result res;
    int code; /* of the last run */
    struct mh_err err;
};

static inline void *haul_thread_main(void *arg)
{
    struct haul_thread *t = arg;
    struct mh_err err;
    t->code = mh_sched_new(NULL, &t->sched, &err);
    if (t->code == 0) {
        mh_sched_hold(t->sched);
        if (t->is_virtual)
            mh_sched_set_virtual(t->sched, 1000000);
    }
    (void)sem_post(&t->ready);
    if (t->code == 0) {
        mh_sched_run(t->sched);
        mh_sched_free(t->sched);
    }
    return NULL;
}

static inline int haul_map(void *ctx, const struct mh_map_question *q, struct mh_engine_map *out,
                           struct mh_err *err)
{
    const struct haul *h = ctx;
    out->v = mh_zalloc(q->source->n * sizeof *out->v);
    if (!out->v)
        return mh_err_nomem(err);
    for (size_t i = 0; i < q->source->n; i++) {
        struct mh_engine_map_entry *e = &out->v[out->n++];
        *e = (struct mh_engine_map_entry){.source = &q->source->v[i], .why = "same"};
        e->target_path = mh_strdup(h->all_into ? h->all_into : q->source->v[i].path);
        if (!e->target_path)
            return mh_err_nomem(err);
    }
    return 0;
}

static inline void haul_open_state(struct haul *h)
{
    ASSERT_OK(mh_state_open(h->state_path, false, &h->state, &err));
    h->cfg.state = h->state;
}

static inline void haul_close_state(struct haul *h)
{
    ASSERT_OK(mh_state_close(h->state, &err));
    h->state = NULL;
}

/* Closed, and gone. */
static inline void haul_remove_state(struct haul *h)
{
    haul_close_state(h);
    char *command = mh_asprintf("rm -f '%s'*", h->state_path);
    cr_assert_eq(system(command), 0);
    mh_free(command);
}

/* The state as on the first day. */
static inline void haul_forget(struct haul *h)
{
    haul_remove_state(h);
    haul_open_state(h);
}

static inline void haul_set_mailbox(struct haul *h, size_t i)
{
    (void)snprintf(h->ids[i], sizeof h->ids[i], "user%zu", i);
    mh_endpoint_init(&h->src[i]);
    mh_endpoint_init(&h->dst[i]);
    h->src[i].type = mh_strdup("mem");
    h->src[i].path = mh_asprintf("src%zu", i);
    h->dst[i].type = mh_strdup("mem");
    h->dst[i].path = mh_asprintf("dst%zu", i);
    h->mailboxes[i] = (struct mh_engine_mailbox){
        .id = h->ids[i], .source = &h->src[i], .target = &h->dst[i], .progress = &h->progress[i]};
}

/* VIRTUAL: waiting takes no time; one scheduler only. */
static inline struct haul *haul_open(size_t n_mailboxes, unsigned n_scheds, bool is_virtual,
                                     uint64_t pool_bytes)
{
    struct haul *h = calloc(1, sizeof *h);
    cr_assert_not_null(h);
    cr_assert(!is_virtual || n_scheds == 1);
    mh_log_set_level(MH_LOG_ERROR);
    far_init();
    far.stop = &h->stop;
    (void)snprintf(h->dir, sizeof h->dir, "/tmp/mh-engine-XXXXXX");
    cr_assert_not_null(mkdtemp(h->dir));
    (void)snprintf(h->state_path, sizeof h->state_path, "%s/state.db", h->dir);
    for (unsigned i = 0; i < n_scheds; i++) {
        struct haul_thread *t = &h->threads[i];
        t->is_virtual = is_virtual;
        cr_assert_eq(sem_init(&t->ready, 0, 0), 0);
        cr_assert_eq(pthread_create(&t->thread, NULL, haul_thread_main, t), 0);
        while (sem_wait(&t->ready) != 0)
            ;
        cr_assert_eq(t->code, 0);
        h->scheds[h->n_scheds++] = t->sched;
    }
    ASSERT_OK(mh_pool_new(pool_bytes, &h->pool, &err));
    h->connectors[0] = &far_connector;
    h->cfg = (struct mh_engine_config){.scheds = h->scheds,
                                       .n_scheds = h->n_scheds,
                                       .connectors = h->connectors,
                                       .n_connectors = 1,
                                       .pool = h->pool,
                                       .timeout_ms = 60000,
                                       .mailboxes = h->mailboxes,
                                       .n_mailboxes = n_mailboxes,
                                       .map = haul_map,
                                       .callback_ctx = h,
                                       .stop = &h->stop};
    for (size_t i = 0; i < n_mailboxes; i++)
        haul_set_mailbox(h, i);
    haul_open_state(h);
    return h;
}

static inline void haul_close(struct haul *h)
{
    mh_result_done(&h->res);
    haul_close_state(h);
    for (unsigned i = 0; i < h->n_scheds; i++) {
        mh_sched_release(h->scheds[i]);
        cr_assert_eq(pthread_join(h->threads[i].thread, NULL), 0);
        (void)sem_destroy(&h->threads[i].ready);
    }
    struct mh_pool_stats stats;
    mh_pool_stats(h->pool, &stats);
    cr_assert_leq(stats.peak_bytes, stats.cap_bytes);
    cr_assert_eq(stats.in_use_bytes, 0u, "slabs were not given back");
    mh_pool_free(h->pool);
    cr_assert_eq(far.n_taps, 0u, "a target session was not closed");
    for (size_t i = 0; i < h->cfg.n_mailboxes; i++) {
        mh_mem_drop(h->src[i].path);
        mh_mem_drop(h->dst[i].path);
        mh_endpoint_done(&h->src[i]);
        mh_endpoint_done(&h->dst[i]);
    }
    char *command = mh_asprintf("rm -rf '%s'", h->dir);
    cr_assert_eq(system(command), 0);
    mh_free(command);
    free(h);
}

/* --- the books ------------------------------------------------------------------------------------ */

/* A number of a struct that has nothing but numbers (uint64_t). */
struct count_field {
    const char *name;
    size_t at;
};

static inline uint64_t count_get(const void *counts, const struct count_field *field)
{
    uint64_t n = 0;
    memcpy(&n, (const char *)counts + field->at, sizeof n);
    return n;
}

static inline void fields_equal(const char *what, const void *a, const void *b,
                                const struct count_field *fields, size_t n_fields)
{
    for (size_t i = 0; i < n_fields; i++) {
        uint64_t x = count_get(a, &fields[i]);
        uint64_t y = count_get(b, &fields[i]);
        cr_expect_eq(x, y, "%s: %s: %llu and %llu", what, fields[i].name, (unsigned long long)x,
                     (unsigned long long)y);
    }
}

static inline void fields_sum(void *to, const void *counts, const struct count_field *fields,
                              size_t n_fields)
{
    for (size_t i = 0; i < n_fields; i++) {
        uint64_t n = count_get(to, &fields[i]) + count_get(counts, &fields[i]);
        memcpy((char *)to + fields[i].at, &n, sizeof n);
    }
}

#define COUNT_FIELD(name)                                                                          \
    {                                                                                              \
#name, offsetof(struct mh_counts, name)                                                    \
    }

static const struct count_field count_fields[] = {
    COUNT_FIELD(found),
    COUNT_FIELD(copied),
    COUNT_FIELD(adopted),
    COUNT_FIELD(unchanged),
    COUNT_FIELD(skipped),
    COUNT_FIELD(failed),
    COUNT_FIELD(adopted_exact),
    COUNT_FIELD(adopted_canonical),
    COUNT_FIELD(adopted_fingerprint),
    COUNT_FIELD(moved),
    COUNT_FIELD(updated),
    COUNT_FIELD(removed),
    COUNT_FIELD(gone),
    COUNT_FIELD(bytes),
};
_Static_assert(MH_ARRAY_LEN(count_fields) * sizeof(uint64_t) == sizeof(struct mh_counts),
               "a number that nobody adds up");

static inline void counts_equal(const char *what, const struct mh_counts *a,
                                const struct mh_counts *b)
{
    fields_equal(what, a, b, count_fields, MH_ARRAY_LEN(count_fields));
}

static inline void counts_sum(struct mh_counts *to, const struct mh_counts *c)
{
    fields_sum(to, c, count_fields, MH_ARRAY_LEN(count_fields));
}

static inline uint64_t reasons_sum(const struct mh_reasons *r)
{
    uint64_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += r->v[i].n;
    return n;
}

static inline uint64_t reason_count(const struct mh_reasons *r, const char *reason)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->v[i].reason, reason) == 0)
            return r->v[i].n;
    return 0;
}

static inline void check_mailbox_sums(const struct mh_mailbox_result *m)
{
    struct mh_counts sum = {0};
    for (size_t i = 0; i < m->n_folders; i++) {
        const struct mh_counts *c = &m->folders[i].counts;
        cr_expect_eq(c->found, c->copied + c->adopted + c->skipped + c->failed,
                     "folder %s: found %llu is not copied %llu + adopted %llu + skipped %llu + "
                     "failed %llu",
                     m->folders[i].source, (unsigned long long)c->found,
                     (unsigned long long)c->copied, (unsigned long long)c->adopted,
                     (unsigned long long)c->skipped, (unsigned long long)c->failed);
        cr_expect_leq(c->unchanged, c->adopted, "folder %s: unchanged", m->folders[i].source);
        counts_sum(&sum, c);
    }
    counts_equal("mailbox against its folders", &m->counts, &sum);
    cr_expect_eq(reasons_sum(&m->skipped), m->counts.skipped, "reasons of skipped");
    cr_expect_eq(reasons_sum(&m->failed), m->counts.failed, "reasons of failed");
    const struct mh_progress *p = m->mailbox->progress;
    cr_expect_eq(atomic_load(&p->copied), m->counts.copied, "progress: copied");
    cr_expect_eq(atomic_load(&p->adopted), m->counts.adopted, "progress: adopted");
    cr_expect_eq(atomic_load(&p->unchanged), m->counts.unchanged, "progress: unchanged");
    cr_expect_eq(atomic_load(&p->skipped), m->counts.skipped, "progress: skipped");
    cr_expect_eq(atomic_load(&p->failed), m->counts.failed, "progress: failed");
    cr_expect_eq(atomic_load(&p->updated), m->counts.updated, "progress: updated");
    cr_expect_eq(atomic_load(&p->bytes), m->counts.bytes, "progress: bytes");
    bool ok = m->err.code == 0 && m->counts.failed == 0;
    cr_expect_eq(atomic_load(&p->phase), ok ? MH_PHASE_DONE : MH_PHASE_FAILED, "progress: phase");
}

/* Every number is the sum of its parts: after each run. */
static inline void check_sums(const struct mh_result *r)
{
    struct mh_counts sum = {0};
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        check_mailbox_sums(&r->mailboxes[i]);
        counts_sum(&sum, &r->mailboxes[i].counts);
    }
    counts_equal("run against its mailboxes", &r->counts, &sum);
    cr_expect_eq(reasons_sum(&r->skipped), r->counts.skipped, "the run's reasons of skipped");
    cr_expect_eq(reasons_sum(&r->failed), r->counts.failed, "the run's reasons of failed");
}

/* A run, whatever comes of it, with its books checked. */
static inline int haul_run(struct haul *h)
{
    mh_result_done(&h->res);
    for (size_t i = 0; i < h->cfg.n_mailboxes; i++)
        memset(&h->progress[i], 0, sizeof h->progress[i]);
    mh_err_reset(&h->err);
    h->code = mh_engine_run(&h->cfg, &h->res, &h->err);
    check_sums(&h->res);
    return h->code;
}

/* A run that goes through. */
static inline void haul_run_ok(struct haul *h)
{
    char line[1024];
    int code = haul_run(h);
    cr_assert_eq(code, 0, "run: %s", mh_err_line(&h->err, line, sizeof line));
    for (size_t i = 0; i < h->res.n_mailboxes; i++) {
        const struct mh_mailbox_result *m = &h->res.mailboxes[i];
        cr_assert_eq(m->err.code, 0, "mailbox: %s", mh_err_line(&m->err, line, sizeof line));
        for (size_t k = 0; k < m->n_folders; k++)
            cr_assert_eq(m->folders[k].err.code, 0, "folder %s: %s", m->folders[k].source,
                         mh_err_line(&m->folders[k].err, line, sizeof line));
    }
}

/* Of the last run: why a mailbox or folder was not done; NULL: none says so. */
static inline const struct mh_err *haul_why(const struct haul *h)
{
    for (size_t i = 0; i < h->res.n_mailboxes; i++) {
        const struct mh_mailbox_result *m = &h->res.mailboxes[i];
        if (m->err.code != 0)
            return &m->err;
        for (size_t k = 0; k < m->n_folders; k++)
            if (m->folders[k].err.code != 0)
                return &m->folders[k].err;
    }
    return NULL;
}

/* The last run has left nothing undone. */
static inline bool haul_went_through(const struct haul *h)
{
    return h->code == 0 && h->res.counts.failed == 0 && !haul_why(h);
}

static inline const struct mh_item_result *
find_item_result(const struct mh_item_result *v, size_t n, const char *state, const char *reason)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i].state, state) == 0 && strcmp(v[i].reason, reason) == 0)
            return &v[i];
    return NULL;
}

/* Of the first mailbox, those with this STATE and REASON. */
static inline size_t items_named(const struct haul *h, const char *state, const char *reason)
{
    const struct mh_mailbox_result *m = &h->res.mailboxes[0];
    size_t n = 0;
    for (size_t i = 0; i < m->n_items; i++)
        n += strcmp(m->items[i].state, state) == 0 && strcmp(m->items[i].reason, reason) == 0;
    return n;
}

#define ASSERT_COUNT(h, field, n)                                                                  \
    cr_assert_eq((h)->res.counts.field, (uint64_t)(n), #field ": %llu instead of %llu",            \
                 (unsigned long long)(h)->res.counts.field, (unsigned long long)(n))

/* --- mail ------------------------------------------------------------------------------------------ */

static inline struct mem_store *store_lock(const char *name)
{
    struct mem_store *s = mem_store_open(name, true);
    cr_assert_not_null(s);
    (void)pthread_mutex_lock(&s->lock);
    return s;
}

static inline void store_unlock(struct mem_store *s)
{
    (void)pthread_mutex_unlock(&s->lock);
    mem_store_close(s);
}

/* Puts a message into a store behind everybody's back; makes the folder. */
static inline uint64_t put(const char *store, const char *path, const struct bytes *b,
                           int64_t unix_s, uint8_t flags, const char *keywords)
{
    struct mem_store *s = store_lock(store);
    struct mem_folder *f = mem_folder_find(s, path);
    if (!f)
        f = mem_folder_make(s, path);
    cr_assert_not_null(f);
    struct bytes copy = bytes_of(b->data, b->len);
    struct mem_message m = {.date = {unix_s, 60, true},
                            .flags = flags,
                            .keywords = strdup(keywords),
                            .data = copy.data,
                            .len = copy.len};
    uint64_t uid = mem_message_add(s, f, &m);
    cr_assert_neq(uid, 0u);
    store_unlock(s);
    return uid;
}

/* TEXT as a message that comes from somewhere. */
static inline uint64_t put_text(const char *store, const char *path, const char *text,
                                uint8_t flags, int64_t unix_s)
{
    uint64_t uid = 0;
    const struct mh_date date = {.unix_s = unix_s, .is_set = true};
    cr_assert(mh_mem_deliver(store, path, text, strlen(text), flags, "", &date, &uid), "%s %s",
              store, path);
    return uid;
}

/* Message number I of some folder: all of date, flags, keywords and length follow from it. */
static inline uint64_t put_number(const char *store, const char *path, unsigned i, size_t len)
{
    static const char *const keywords[] = {"", "$Forwarded", "work", "$label1 work"};
    static const uint8_t flags[] = {0, MH_SEEN, MH_SEEN | MH_ANSWERED, MH_FLAGGED, MH_DRAFT};
    struct bytes b = bytes_message(len, i);
    uint64_t uid = put(store, path, &b, 1000000000 + i * 977, flags[i % 5], keywords[i % 4]);
    bytes_free(&b);
    return uid;
}

static inline void put_numbers(const char *store, const char *path, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++)
        (void)put_number(store, path, i, 300 + (i * 37) % 3000);
}

enum same { SAME_ALL, SAME_BYTES, SAME_BUT_KEYWORDS };

static enum same same_what; /* qsort has no context */

static inline int message_order(const void *a, const void *b)
{
    const struct mem_message *x = *(const struct mem_message *const *)a;
    const struct mem_message *y = *(const struct mem_message *const *)b;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    int c = memcmp(x->data, y->data, x->len);
    if (c != 0 || same_what == SAME_BYTES)
        return c;
    if (x->flags != y->flags)
        return x->flags < y->flags ? -1 : 1;
    if (x->date.unix_s != y->date.unix_s)
        return x->date.unix_s < y->date.unix_s ? -1 : 1;
    if (x->date.zone_min != y->date.zone_min)
        return x->date.zone_min < y->date.zone_min ? -1 : 1;
    return same_what == SAME_BUT_KEYWORDS ? 0 : strcmp(x->keywords, y->keywords);
}

struct heap {
    const struct mem_message **v;
    size_t n;
};

/* The messages of one folder (NULL: of all), sorted. Nobody else is at the store. */
static inline struct heap heap_of(const char *store, const char *path)
{
    struct heap l = {NULL, 0};
    struct mem_store *s = store_lock(store);
    for (size_t i = 0; i < s->n_folders; i++) {
        const struct mem_folder *f = s->folders[i];
        if (path && strcmp(path, f->path) != 0)
            continue;
        l.v = realloc(l.v, (l.n + f->n + 1) * sizeof *l.v);
        cr_assert_not_null(l.v);
        for (size_t k = 0; k < f->n; k++)
            l.v[l.n++] = &f->v[k];
    }
    store_unlock(s);
    if (l.n)
        qsort(l.v, l.n, sizeof *l.v, message_order);
    return l;
}

struct difference {
    size_t lost;  /* at the source and not at the target */
    size_t extra; /* at the target and not at the source: doubled, or changed */
};

static inline struct difference differ(const char *src, const char *src_path, const char *dst,
                                       const char *dst_path, enum same what)
{
    same_what = what;
    struct heap a = heap_of(src, src_path);
    struct heap b = heap_of(dst, dst_path);
    struct difference d = {0, 0};
    size_t i = 0;
    size_t j = 0;
    while (i < a.n || j < b.n) {
        int c = i == a.n ? 1 : j == b.n ? -1 : message_order(&a.v[i], &b.v[j]);
        d.lost += c < 0;
        d.extra += c > 0;
        i += c <= 0;
        j += c >= 0;
    }
    free(a.v);
    free(b.v);
    return d;
}

static inline const char *path_name(const char *path)
{
    return path ? path : "all";
}

#define ASSERT_SAME_AS(src, src_path, dst, dst_path, what)                                         \
    do {                                                                                           \
        struct difference diff_ = differ(src, src_path, dst, dst_path, what);                      \
        cr_assert(diff_.lost == 0 && diff_.extra == 0,                                             \
                  "%s -> %s: %zu lost, %zu doubled or changed", path_name(src_path),               \
                  path_name(dst_path), diff_.lost, diff_.extra);                                   \
    } while (0)
#define ASSERT_SAME(path) ASSERT_SAME_AS("src0", path, "dst0", path, SAME_ALL)

static inline struct mh_mem_stats store_stats(const char *store)
{
    struct mh_mem_stats stats;
    mh_mem_stats(store, &stats);
    return stats;
}

static inline size_t store_messages(const char *store)
{
    return (size_t)store_stats(store).messages;
}

static inline void configure(const char *store, const struct mh_mem_options *o)
{
    ASSERT_OK(mh_mem_configure(store, o, &err));
}

/* A server that can do everything and does no harm; its counts begin anew. */
static inline void configure_faultless(const char *store)
{
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    configure(store, &o);
}

/* A pass of the first mailbox when nothing has happened since the last one. */
static inline void haul_run_quiet(struct haul *h, const char *what)
{
    char line[1024];
    uint64_t appends = store_stats("dst0").appends;
    (void)haul_run(h);
    const struct mh_err *why = haul_why(h);
    cr_assert(haul_went_through(h), "%s: a pass without news fails: %s", what,
              mh_err_line(why ? why : &h->err, line, sizeof line));
    cr_assert_eq(store_stats("dst0").appends, appends, "%s: a pass without news appended", what);
    const struct mh_counts *c = &h->res.counts;
    cr_assert_eq(c->copied + c->moved + c->updated + c->removed, 0,
                 "%s: a pass without news: %llu copied, %llu moved, %llu updated, %llu removed",
                 what, (unsigned long long)c->copied, (unsigned long long)c->moved,
                 (unsigned long long)c->updated, (unsigned long long)c->removed);
}

#endif
