/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of connectors stand on: a scheduler with a small pool, a task that the test's body
 * runs in, a scratch folder, sinks that keep what they get, and messages made from a number.
 * Everything fails the test by itself; only the one test process uses a rig.
 */
#ifndef MH_TESTS_CONFORM_RIG_H
#define MH_TESTS_CONFORM_RIG_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"
#include "mail/connector.h"

#define RIG_POOL_BYTES MH_MEMORY_MIN_BYTES /* 8 MiB: never exceeded, whatever a test does */

struct rig {
    char dir[64]; /* scratch, removed at the end */
    struct mh_sched *sched;
    struct mh_pool *pool;
    struct mh_env env;
    void (*body)(struct rig *r);
    void *ctx;
};

static void rig_task(void *arg)
{
    struct rig *r = arg;
    r->body(r);
}

/* Runs BODY in a task, under a virtual clock if START_MS is not negative. All slabs must be back afterwards
 * (mh_pool_free() asserts it). */
static inline void rig_run_at(int64_t start_ms, void (*body)(struct rig *r), void *ctx)
{
    struct rig r = {.dir = "/tmp/mh-conform-XXXXXX", .body = body, .ctx = ctx};
    struct mh_err err;
    cr_assert_not_null(mkdtemp(r.dir));
    cr_assert_eq(mh_sched_new(NULL, &r.sched, &err), 0);
    if (start_ms >= 0)
        mh_sched_set_virtual(r.sched, start_ms);
    cr_assert_eq(mh_pool_new(RIG_POOL_BYTES, &r.pool, &err), 0);
    r.env = (struct mh_env){.pool = r.pool, .timeout_ms = 60000};
    cr_assert_eq(mh_task_spawn(r.sched, "test", rig_task, &r, NULL, &err), 0);
    mh_sched_run(r.sched);
    struct mh_pool_stats stats;
    mh_pool_stats(r.pool, &stats);
    cr_assert_leq(stats.peak_bytes, RIG_POOL_BYTES);
    cr_assert_eq(stats.in_use_bytes, 0u, "%llu bytes of slabs were not given back",
                 (unsigned long long)stats.in_use_bytes);
    mh_sched_free(r.sched);
    mh_pool_free(r.pool);
    char *command = mh_asprintf("chmod -R u+rwX '%s'; rm -rf '%s'", r.dir, r.dir);
    cr_assert_eq(system(command), 0);
    mh_free(command);
}

static inline void rig_run(void (*body)(struct rig *r), void *ctx)
{
    rig_run_at(-1, body, ctx);
}

/* Waiting takes no time. */
static inline void rig_run_virtual(void (*body)(struct rig *r), void *ctx)
{
    rig_run_at(1000000, body, ctx);
}

/* ASSERT_OK(call with &err): the error's text is in the failure. */
#define ASSERT_OK(call)                                                                            \
    do {                                                                                           \
        struct mh_err err;                                                                         \
        mh_err_reset(&err);                                                                        \
        int rig_rc = (call);                                                                       \
        char rig_line[1024];                                                                       \
        cr_assert_eq(rig_rc, 0, "%s: %s: %s", #call, mh_code_name(rig_rc),                         \
                     mh_err_line(&err, rig_line, sizeof rig_line));                                \
    } while (0)

/* --- octets ----------------------------------------------------------------------------------- */

struct bytes {
    unsigned char *data; /* malloc */
    size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
    struct bytes b = {malloc(len ? len : 1), len};
    cr_assert_not_null(b.data);
    memcpy(b.data, data, len);
    return b;
}

static inline struct bytes bytes_of_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

/* A message of exactly LEN octets: header, empty line, lines that end in CRLF while there is room. */
static inline struct bytes bytes_message(size_t len, unsigned seed)
{
    struct bytes b = {malloc(len + 1), len};
    char head[128];
    int head_len = snprintf(head, sizeof head, "Subject: message %u\r\nMessage-ID: <%u@x>\r\n\r\n",
                            seed, seed);
    cr_assert_not_null(b.data);
    for (size_t i = 0; i < len; i++) {
        size_t column = i % 72;
        b.data[i] = column == 70   ? '\r'
                    : column == 71 ? '\n'
                                   : (unsigned char)('a' + (i * 31 + seed + i / 72) % 26);
    }
    if (len >= 70)
        memcpy(b.data, head, MH_MIN((size_t)head_len, len));
    if (len >= 2)
        memcpy(b.data + len - 2, "\r\n", 2);
    return b;
}

static inline void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){NULL, 0};
}

/* --- verdicts --------------------------------------------------------------------------------- */

struct verdict {
    unsigned n; /* how often it came */
    int code;
    uint64_t uid;
    uint32_t uidvalidity;
    const char *reason;
};

struct verdicts {
    struct mh_append_sink sink;
    struct verdict *v; /* by cookie */
    size_t cap;
    size_t n;
};

static inline void verdicts_done_fn(struct mh_append_sink *sink, uint64_t cookie, uint64_t uid,
                                    uint32_t uidvalidity, const struct mh_err *why)
{
    struct verdicts *vs = mh_container_of(sink, struct verdicts, sink);
    cr_assert_lt(cookie, vs->cap, "a verdict for a message that was not sent");
    struct verdict *v = &vs->v[cookie];
    v->n++;
    v->code = why ? why->code : 0;
    v->uid = uid;
    v->uidvalidity = uidvalidity;
    v->reason = why ? why->reason : NULL;
    vs->n++;
    cr_assert_eq(v->n, 1u, "two verdicts for one message");
}

static inline void verdicts_init(struct verdicts *vs, size_t cap)
{
    *vs = (struct verdicts){
        .sink.done = verdicts_done_fn, .v = calloc(cap, sizeof *vs->v), .cap = cap};
    cr_assert_not_null(vs->v);
}

static inline void verdicts_free(struct verdicts *vs)
{
    free(vs->v);
}

/* --- appending -------------------------------------------------------------------------------- */

struct mail {
    struct bytes bytes;
    struct mh_date date;
    uint8_t flags;
    const char *keywords;
};

static inline void mails_free(struct mail *mails, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes_free(&mails[i].bytes);
}

/* Sends one message in slices of at most STEP octets, several of them in one slab. */
static inline int send_mail(const struct rig *r, const struct mh_connector *c, struct mh_session *s,
                            const struct mail *m, uint64_t cookie, size_t step, struct mh_err *err)
{
    struct mh_append what = {.date = m->date,
                             .flags = m->flags,
                             .keywords = m->keywords,
                             .octets = m->bytes.len,
                             .cookie = cookie};
    int rc = c->append_begin(s, &what, err);
    struct mh_slab *slab = NULL;
    uint32_t fill = MH_SLAB_BYTES;
    for (size_t at = 0; rc == 0 && at < m->bytes.len;) {
        if (fill == MH_SLAB_BYTES) {
            if (slab)
                mh_slab_unref(slab);
            slab = NULL;
            rc = mh_slab_get_wait(r->pool, MH_NEVER, &slab, err);
            if (rc < 0)
                return rc;
            fill = 0;
        }
        uint32_t len =
            (uint32_t)MH_MIN(MH_MIN(step, m->bytes.len - at), (size_t)(MH_SLAB_BYTES - fill));
        memcpy(slab->data + fill, m->bytes.data + at, len);
        rc = c->append_data(s, mh_slice_of(slab, fill, len), err);
        fill += len;
        at += len;
    }
    if (slab)
        mh_slab_unref(slab);
    return rc == 0 ? c->append_end(s, err) : rc;
}

/* A whole slab of the message that was begun last. */
static inline void send_slab(const struct rig *r, const struct mh_connector *c,
                             struct mh_session *s)
{
    struct mh_slab *slab = NULL;
    ASSERT_OK(mh_slab_get_wait(r->pool, MH_NEVER, &slab, &err));
    memset(slab->data, 'x', MH_SLAB_BYTES);
    ASSERT_OK(c->append_data(s, mh_slice_of(slab, 0, MH_SLAB_BYTES), &err));
    mh_slab_unref(slab);
}

/* --- fetching --------------------------------------------------------------------------------- */

struct got {
    uint64_t uid;
    struct bytes bytes;
    uint64_t announced;
    bool ended, missed;
    int why;
    char reason[32];
};

enum fail_at { FAIL_NEVER, FAIL_BEGIN, FAIL_DATA, FAIL_END, FAIL_MISSED };

/* Keeps what it gets; may wait or fail on the way. */
struct collector {
    struct mh_sink sink;
    struct got *v;
    size_t n, cap;
    bool waits; /* yields and sleeps at every call */
    bool drops; /* does not keep the octets */
    enum fail_at fail_at;
    size_t fail_after;      /* calls of that kind that succeed */
    struct mh_task *cancel; /* cancelled at the third data() */
    size_t n_data;
};

static inline int collector_wait(struct collector *c, struct mh_err *err)
{
    if (c->waits && mh_sleep_until(mh_now_ms() + 1) != MH_OK)
        return mh_err_set(err, MH_ECANCEL, "test", "stopped");
    return 0;
}

static inline int collector_fail(struct collector *c, enum fail_at at, struct mh_err *err)
{
    if (c->fail_at != at || c->fail_after-- > 0)
        return collector_wait(c, err);
    c->fail_at = FAIL_NEVER;
    return mh_err_set(err, MH_ELATER, "test", "the sink is full");
}

static inline struct got *collector_last(struct collector *c)
{
    cr_assert_gt(c->n, 0u);
    struct got *g = &c->v[c->n - 1];
    cr_assert_not(g->ended || g->missed, "a call for a message that is over");
    return g;
}

static inline struct got *collector_add(struct collector *c, const struct mh_item *item)
{
    if (c->n)
        cr_assert(c->v[c->n - 1].ended || c->v[c->n - 1].missed, "the one before has not ended");
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->v = realloc(c->v, c->cap * sizeof *c->v);
        cr_assert_not_null(c->v);
    }
    c->v[c->n] = (struct got){.uid = item->uid};
    return &c->v[c->n++];
}

static inline int collector_begin(struct mh_sink *sink, const struct mh_item *item, uint64_t octets,
                                  struct mh_err *err)
{
    struct collector *c = mh_container_of(sink, struct collector, sink);
    struct got *g = collector_add(c, item);
    g->announced = octets;
    if (!c->drops) {
        g->bytes.data = malloc(octets ? octets : 1);
        cr_assert_not_null(g->bytes.data);
    }
    return collector_fail(c, FAIL_BEGIN, err);
}

static inline int collector_data(struct mh_sink *sink, struct mh_slice slice_take,
                                 struct mh_err *err)
{
    struct collector *c = mh_container_of(sink, struct collector, sink);
    struct got *g = collector_last(c);
    cr_assert_leq(g->bytes.len + slice_take.len, g->announced, "more octets than announced");
    if (slice_take.len && !c->drops)
        memcpy(g->bytes.data + g->bytes.len, mh_slice_data(&slice_take), slice_take.len);
    g->bytes.len += slice_take.len;
    mh_slice_drop(&slice_take);
    if (c->cancel && ++c->n_data == 3)
        mh_task_cancel(c->cancel);
    return collector_fail(c, FAIL_DATA, err);
}

static inline int collector_end(struct mh_sink *sink, struct mh_err *err)
{
    struct collector *c = mh_container_of(sink, struct collector, sink);
    struct got *g = collector_last(c);
    cr_assert_eq(g->bytes.len, g->announced, "not as many octets as announced");
    g->ended = true;
    return collector_fail(c, FAIL_END, err);
}

static inline int collector_missed(struct mh_sink *sink, const struct mh_item *item,
                                   const struct mh_err *why, struct mh_err *err)
{
    struct collector *c = mh_container_of(sink, struct collector, sink);
    struct got *g = NULL;
    if (c->n && !c->v[c->n - 1].ended && !c->v[c->n - 1].missed)
        g = collector_last(c);
    else
        g = collector_add(c, item);
    cr_assert_eq(g->uid, item->uid);
    g->missed = true;
    g->why = why->code;
    (void)snprintf(g->reason, sizeof g->reason, "%s", why->reason ? why->reason : "");
    return collector_fail(c, FAIL_MISSED, err);
}

static inline void collector_init(struct collector *c)
{
    *c = (struct collector){.sink = {.begin = collector_begin,
                                     .data = collector_data,
                                     .end = collector_end,
                                     .missed = collector_missed}};
}

static inline void collector_free(struct collector *c)
{
    for (size_t i = 0; i < c->n; i++)
        bytes_free(&c->v[i].bytes);
    free(c->v);
    *c = (struct collector){.n = 0};
}

/* --- folders and scans ------------------------------------------------------------------------ */

/* A folder value as list() would give it. */
struct made {
    struct mh_folder folder;
};

static inline void make_folder(const struct mh_connector *c, struct mh_session *s, const char *path,
                               enum mh_role role, struct made *out)
{
    *out = (struct made){.folder = {.role = role}};
    ASSERT_OK(c->create(s, path, role, &out->folder.path, &out->folder.native, &err));
}

static inline void made_free(struct made *m)
{
    mh_free(m->folder.path);
    mh_free(m->folder.native);
}

static inline void scan_folder(const struct mh_connector *c, struct mh_session *s,
                               const struct mh_folder *f, struct mh_scan *out)
{
    struct mh_opened opened;
    ASSERT_OK(mh_scan_init(out, &err));
    ASSERT_OK(c->select(s, f, false, &opened, &err));
    ASSERT_OK(c->scan(s, 1, out, &err));
}

/* All items of a scan, as fetch() wants them. */
static inline const struct mh_item **item_list(const struct mh_scan *scan)
{
    const struct mh_item **items = malloc((scan->n + 1) * sizeof *items);
    cr_assert_not_null(items);
    for (size_t i = 0; i < scan->n; i++)
        items[i] = &scan->items[i];
    return items;
}

#endif
