/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Coexistence as a service, in virtual time: a task plays the users of the source and looks how long the target takes to
 * follow; the engine watches. Two weeks take some seconds.
 */
#include <malloc.h>
#include <time.h>

#include "haul.h"
#include "state_disk.h"

#define POOL_BYTES (64ull << 20)

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS, LOOK_MS = 50 };

struct life {
    struct haul *h;
    void (*play)(struct life *l);
    unsigned n; /* changes so far */
    int64_t lag_max_ms;
    int64_t lag_sum_ms;
    bool was_late; /* something did not come within an hour */
    bool is_over;
};

/* All mailboxes have had their first pass: the engine's own start does not live by the virtual clock. */
static bool is_watching(const struct haul *h)
{
    for (size_t i = 0; i < h->cfg.n_mailboxes; i++)
        if (atomic_load(&h->progress[i].phase) != MH_PHASE_WATCHING)
            return false;
    return true;
}

static void life_main(void *arg)
{
    struct life *l = arg;
    while (!is_watching(l->h) && mh_sleep_until(mh_now_ms() + LOOK_MS) == 0)
        continue;
    l->play(l);
    l->is_over = true;
    atomic_store(&l->h->stop, MH_STOP_SOON);
}

static struct life *unborn;
static unsigned opened;

/* Life begins with the engine's first connection: before that only the clock would run. */
static void on_open(bool is_source)
{
    struct mh_err err;
    (void)is_source;
    opened++;
    if (!unborn)
        return;
    if (mh_task_spawn(mh_sched_self(), "life", life_main, unborn, NULL, &err) != 0)
        abort();
    unborn = NULL;
}

/* Watches until PLAY has returned. */
static void watch(struct haul *h, struct life *l, void (*play)(struct life *l))
{
    *l = (struct life){.h = h, .play = play};
    unborn = l;
    opened = 0;
    far.on_open = on_open;
    mh_result_done(&h->res);
    h->code = mh_engine_watch(&h->cfg, &h->res, &h->err);
    atomic_store(&h->stop, MH_STOP_NOT);
    cr_assert_eq(h->code, 0, "%s", h->err.text);
    cr_assert(l->is_over);
    cr_assert_not(l->was_late, "change %u never came", l->n);
}

/* --- what the users do ---------------------------------------------------------------------------------- */

struct seen {
    const char *path, *text;
    uint8_t flags;
    bool is_there;
};

static bool on_message(void *ctx, const struct mh_mem_message *m)
{
    struct seen *s = ctx;
    s->is_there |= strcmp(m->path, s->path) == 0 && m->flags == s->flags &&
                   m->len == strlen(s->text) && memcmp(m->bytes, s->text, m->len) == 0;
    return !s->is_there;
}

/* Until STORE has TEXT with FLAGS in PATH; how long that took counts. */
static void await_at(struct life *l, const char *store, const char *path, const char *text,
                     uint8_t flags)
{
    int64_t since_ms = mh_now_ms();
    struct seen s = {.path = path, .text = text, .flags = flags};
    l->n++;
    for (;;) {
        (void)mh_mem_each(store, on_message, &s);
        if (s.is_there || mh_now_ms() - since_ms > HOUR_MS || mh_sleep_until(mh_now_ms() + LOOK_MS))
            break;
    }
    int64_t lag_ms = mh_now_ms() - since_ms;
    l->was_late |= !s.is_there;
    l->lag_max_ms = MH_MAX(l->lag_max_ms, lag_ms);
    l->lag_sum_ms += lag_ms;
}

struct uid_search {
    const char *path, *text;
    uint64_t uid;
};

static bool on_uid(void *ctx, const struct mh_mem_message *m)
{
    struct uid_search *s = ctx;
    if (strcmp(m->path, s->path) == 0 && m->len == strlen(s->text) &&
        memcmp(m->bytes, s->text, m->len) == 0)
        s->uid = m->uid;
    return true;
}

static uint64_t message_uid(const char *store, const char *path, const char *text)
{
    struct uid_search s = {.path = path, .text = text};
    (void)mh_mem_each(store, on_uid, &s);
    return s.uid;
}

static const struct mh_date a_date = {.unix_s = 1000, .is_set = true};

static void deliver(struct life *l, const char *src, const char *dst, const char *path,
                    const char *text)
{
    if (!mh_mem_deliver(src, path, text, strlen(text), 0, "", &a_date, NULL))
        abort();
    await_at(l, dst, path, text, 0);
}

static void options(struct mh_mem_options *o, bool watches, bool watches_all)
{
    mh_mem_options_init(o);
    o->watch = watches;
    o->watch_all = watches_all;
}

static void configure_all(struct haul *h, const struct mh_mem_options *o)
{
    for (size_t i = 0; i < h->cfg.n_mailboxes; i++) {
        configure(h->src[i].path, o);
        configure(h->dst[i].path, o);
        cr_assert(mh_mem_make_folder(h->src[i].path, "Work"));
    }
}

/* --- one day --------------------------------------------------------------------------------------------- */

static void a_few_changes(struct life *l)
{
    deliver(l, "src0", "dst0", "INBOX", "Subject: 1\r\n\r\nfirst\r\n");
    (void)!mh_sleep_until(mh_now_ms() + HOUR_MS);
    deliver(l, "src0", "dst0", "Work", "Subject: 2\r\n\r\nsecond\r\n");
    if (!mh_mem_set_flags("src0", "INBOX", 1, MH_SEEN, ""))
        abort();
    await_at(l, "dst0", "INBOX", "Subject: 1\r\n\r\nfirst\r\n", MH_SEEN);
    if (!mh_mem_move("src0", "INBOX", 1, "Work"))
        abort();
    await_at(l, "dst0", "Work", "Subject: 1\r\n\r\nfirst\r\n", MH_SEEN);
    (void)!mh_sleep_until(mh_now_ms() + DAY_MS);
    deliver(l, "src0", "dst0", "INBOX", "Subject: 3\r\n\r\nthird\r\n");
}

static const struct {
    const char *name;
    bool watch, watch_all, condstore;
    int64_t lag_max_ms;
} servers[] = {
    {"NOTIFY", true, true, true, 2000},
    {"IDLE: the other folders by asking", true, false, true, 62000},
    {"neither", false, false, true, 62000},
    {"neither, and no MODSEQ", false, false, false, 62000},
};

Test(watch, what_happens_at_the_source_comes_soon)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(servers); i++) {
        struct haul *h = haul_open(1, 1, true, POOL_BYTES);
        struct mh_mem_options o;
        struct life l;
        options(&o, servers[i].watch, servers[i].watch_all);
        o.condstore = servers[i].condstore;
        h->cfg.poll_ms = MINUTE_MS;
        configure_all(h, &o);
        watch(h, &l, a_few_changes);
        cr_expect_leq(l.lag_max_ms, servers[i].lag_max_ms, "%s: %lld ms", servers[i].name,
                      (long long)l.lag_max_ms);
        cr_expect_eq(store_stats("src0").sessions, 0, "%s: a session was left open",
                     servers[i].name);
        haul_close(h);
    }
}

/* --- more mailboxes than connections ------------------------------------------------------------------------- */

static void a_round_of_all(struct life *l)
{
    char src[32];
    char dst[32];
    char text[64];
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < l->h->cfg.n_mailboxes; i++) {
            (void)snprintf(src, sizeof src, "src%zu", i);
            (void)snprintf(dst, sizeof dst, "dst%zu", i);
            (void)snprintf(text, sizeof text, "Subject: %u\r\n\r\nround\r\n", round);
            deliver(l, src, dst, "INBOX", text);
            (void)!mh_sleep_until(mh_now_ms() + 1000);
        }
    }
}

Test(watch, connections_are_shared_fairly)
{
    static const struct {
        unsigned watchers_max;
        int64_t lag_max_ms;
    } bounds[] = {{0, 2000}, {3, 62000}};
    for (size_t i = 0; i < MH_ARRAY_LEN(bounds); i++) {
        struct haul *h = haul_open(20, 1, true, POOL_BYTES);
        struct mh_mem_options o;
        struct life l;
        options(&o, true, true);
        h->cfg.poll_ms = MINUTE_MS;
        h->cfg.connections = 2;
        h->cfg.watchers_max = bounds[i].watchers_max;
        configure_all(h, &o);
        watch(h, &l, a_round_of_all);
        cr_expect_leq(l.lag_max_ms, bounds[i].lag_max_ms, "%u watchers: %lld ms",
                      bounds[i].watchers_max, (long long)l.lag_max_ms);
        haul_close(h);
    }
}

/* --- servers that break ------------------------------------------------------------------------------------- */

enum { BROKEN = 8 /* connections in the day: every third hour … of one side or the other */ };

static void a_day_with_faults(struct life *l)
{
    char text[64];
    for (unsigned i = 0; i < 24; i++) {
        struct mh_mem_options o;
        struct mh_err err;
        options(&o, true, true);
        o.lose_answer_nth = i % 3 == 0;
        o.drop_fetch_at = i % 3 == 1 ? 10 : 0;
        if (mh_mem_configure(i % 2 ? "src0" : "dst0", &o, &err) != 0)
            abort();
        (void)snprintf(text, sizeof text, "Subject: %u\r\n\r\nhour by hour\r\n", i);
        deliver(l, "src0", "dst0", "INBOX", text);
        (void)!mh_sleep_until(mh_now_ms() + HOUR_MS);
    }
}

static void watch_a_day_with_faults(void)
{
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    struct mh_mem_options o;
    struct life l;
    options(&o, true, true);
    configure_all(h, &o);
    watch(h, &l, a_day_with_faults);
    cr_expect_eq(store_messages("dst0"), 24u, "%llu", (unsigned long long)store_messages("dst0"));
    cr_expect_leq(l.lag_max_ms, 60 * 1000, "%lld ms", (long long)l.lag_max_ms);
    cr_expect_lt(opened, 24 * 8u, "%u connections in a day", opened);
    cr_expect_geq(opened, 2 + BROKEN, "%u connections: none has broken", opened);
    haul_close(h);
}

Test(watch, broken_connections_are_made_good)
{
    watch_a_day_with_faults();
}

/* A disk that takes up to WRITE_US for a write, now more, now less. */
enum { WRITE_US = 1500 };

static int slow_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
    const struct timespec pause = {0, (long)(shim_random() % WRITE_US) * 1000};
    (void)nanosleep(&pause, NULL);
    return shim_methods.xWrite(f, buf, n, at);
}

/* What one pass has handed over to the state, and what of it the next one reads at which moment, must not matter: rows that
 * were not there for the survey and were there a moment later have doubled messages. */
Test(watch, broken_connections_are_made_good_on_a_slow_disk, .timeout = 100)
{
    state_disk_install();
    state_disk.xWrite = slow_write;
    shim.seed = 88172645463325252ull;
    watch_a_day_with_faults();
}

/* --- two weeks ------------------------------------------------------------------------------------------------ */

static size_t in_use_second_day, in_use_last_day;

static void two_weeks(struct life *l)
{
    char text[64];
    uint8_t flags[4] = {0};
    bool is_in_work[4] = {false};
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(text, sizeof text, "Subject: %u\r\n\r\none of four\r\n", i);
        deliver(l, "src0", "dst0", "INBOX", text);
    }
    for (unsigned step = 0; step < 14 * 24 * 4; step++) {
        unsigned i = step % 4;
        (void)snprintf(text, sizeof text, "Subject: %u\r\n\r\none of four\r\n", i);
        const char *path = is_in_work[i] ? "Work" : "INBOX";
        uint64_t uid = message_uid("src0", path, text);
        if (step % 3 == 0) {
            is_in_work[i] = !is_in_work[i];
            if (!mh_mem_move("src0", path, uid, is_in_work[i] ? "Work" : "INBOX"))
                abort();
        } else {
            flags[i] ^= MH_FLAGGED;
            if (!mh_mem_set_flags("src0", path, uid, flags[i], ""))
                abort();
        }
        await_at(l, "dst0", is_in_work[i] ? "Work" : "INBOX", text, flags[i]);
        (void)!mh_sleep_until(mh_now_ms() + 15 * MINUTE_MS);
        if (step == 2 * 24 * 4)
            in_use_second_day = mallinfo2().uordblks;
    }
    in_use_last_day = mallinfo2().uordblks;
}

Test(watch, two_weeks_take_no_more_memory_than_two_days, .timeout = 240)
{
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    struct mh_mem_options o;
    struct life l;
    options(&o, true, true);
    configure_all(h, &o);
    watch(h, &l, two_weeks);
    cr_expect_leq(l.lag_max_ms, 2000, "%lld ms", (long long)l.lag_max_ms);
    cr_expect_leq(in_use_last_day, in_use_second_day + 256 * 1024, "%zu bytes became %zu",
                  in_use_second_day, in_use_last_day);
    cr_expect_eq(store_stats("src0").sessions, 0);
    cr_expect_eq(store_stats("dst0").sessions, 0);
    cr_expect_eq(store_messages("dst0"), 4u);
    haul_close(h);
}
