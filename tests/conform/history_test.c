/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random histories: both sides live between passes, a model says what the target must be after each, and a pass without
 * news changes nothing. MH_TEST_SEED=n repeats one; MH_TEST_ROUNDS=n plays more.
 *
 * The model knows each message by its text. What the source does is carried; what the target's user has moved or removed
 * is left alone, a flag that both have changed is the target's from then on.
 */
#include "haul.h"

#define POOL_BYTES (16ull << 20)

enum { FOLDERS = 4, MESSAGES_MAX = 200, PASSES = 8, FLAGS = MH_SEEN | MH_FLAGGED | MH_ANSWERED };

static const char *const folder_names[FOLDERS] = {"INBOX", "Work", "Old", "Old/2024"};
static const char mine[] = "Mine"; /* the target user's own folder */

/* --- the model ------------------------------------------------------------------------------------ */

struct model_message {
    char text[96];
    int src, was_src; /* folder, -1: gone; WAS: at the last pass */
    uint64_t src_uid; /* where it lies now */
    bool is_reborn;   /* has left its folder and come back since */
    uint8_t src_flags, base;
    bool is_carried;
    int dst;        /* FOLDERS: in the user's own; -1: removed there, -2: in the quarantine */
    bool is_theirs; /* moved or removed by the target's user */
    uint8_t dst_flags, theirs;
};

static struct model_message messages[MESSAGES_MAX];
static unsigned n_messages;
static bool quarantines;

/* What a pass does. */
static void model_pass(void)
{
    for (unsigned i = 0; i < n_messages; i++) {
        struct model_message *m = &messages[i];
        if (!m->is_carried) {
            if (m->src >= 0) {
                m->is_carried = true;
                m->dst = m->src;
                m->dst_flags = m->base = m->src_flags;
            }
            m->was_src = m->src;
            continue;
        }
        bool is_gone = m->src < 0 && m->was_src >= 0;
        if (!m->is_theirs && m->src >= 0)
            m->dst = m->src;
        else if (!m->is_theirs && is_gone && quarantines)
            m->dst = -2;
        m->was_src = m->src;
        if (m->src < 0 || m->is_theirs)
            continue;
        uint8_t changed = (m->src_flags ^ m->base) & (uint8_t)~m->theirs;
        uint8_t agree = changed & (uint8_t) ~(m->src_flags ^ m->dst_flags);
        m->theirs |= agree;
        changed &= (uint8_t)~agree;
        m->dst_flags = (uint8_t)((m->dst_flags & ~changed) | (m->src_flags & changed));
        m->base = m->src_flags;
    }
}

/* --- what the stores hold ------------------------------------------------------------------------- */

struct found {
    struct model_message *m;
    unsigned n;
    int folder;
    uint64_t uid;
    uint8_t flags;
};

static int folder_number(const char *path)
{
    for (int i = 0; i < FOLDERS; i++)
        if (strcmp(path, folder_names[i]) == 0)
            return i;
    if (strcmp(path, mine) == 0)
        return FOLDERS;
    return strncmp(path, "mailhaul-removed/", 17) == 0 ? -2 : -3;
}

static bool on_message(void *ctx, const struct mh_mem_message *m)
{
    struct found *f = ctx;
    if (m->len != strlen(f->m->text) || memcmp(m->bytes, f->m->text, m->len) != 0)
        return true;
    f->n++;
    f->folder = folder_number(m->path);
    f->uid = m->uid;
    f->flags = m->flags;
    return true;
}

static struct found find(const char *store, struct model_message *m)
{
    struct found f = {.m = m};
    cr_assert(mh_mem_each(store, on_message, &f));
    return f;
}

static void check(unsigned long long seed, unsigned pass)
{
    for (unsigned i = 0; i < n_messages; i++) {
        struct model_message *m = &messages[i];
        struct found f = find("dst0", m);
        unsigned want = m->is_carried && m->dst != -1;
        cr_assert_eq(f.n, want,
                     "seed %llu, pass %u: message %u lies at the target %u times, not %u", seed,
                     pass, i, f.n, want);
        if (!want)
            continue;
        cr_assert_eq(f.folder, m->dst, "seed %llu, pass %u: message %u lies in %d, not %d", seed,
                     pass, i, f.folder, m->dst);
        cr_assert_eq(f.flags & FLAGS, m->dst_flags,
                     "seed %llu, pass %u: message %u has flags %02x, not %02x", seed, pass, i,
                     f.flags, m->dst_flags);
    }
}

/* --- chance --------------------------------------------------------------------------------------------- */

static unsigned long long state_of_chance;

static unsigned below(unsigned n)
{
    state_of_chance ^= state_of_chance << 13;
    state_of_chance ^= state_of_chance >> 7;
    state_of_chance ^= state_of_chance << 17;
    return (unsigned)((state_of_chance * 0x2545f4914f6cdd1dull >> 33) % n);
}

static uint8_t random_flags(void)
{
    return (uint8_t)(below(32) & FLAGS);
}

/* Some are of one size and one second, so that likeness alone proves nothing. */
static void deliver(void)
{
    if (n_messages == MESSAGES_MAX)
        return;
    unsigned i = n_messages++;
    struct model_message *m = &messages[i];
    *m = (struct model_message){
        .src = (int)below(FOLDERS), .was_src = -1, .src_flags = random_flags()};
    (void)snprintf(m->text, sizeof m->text, "Subject: %06u\r\n\r\n%.*s\r\n", i, (int)below(3),
                   "xxxx");
    const struct mh_date date = {.unix_s = 1000000 + below(4), .is_set = true};
    cr_assert(mh_mem_deliver("src0", folder_names[m->src], m->text, strlen(m->text), m->src_flags,
                             "", &date, &m->src_uid));
}

static struct model_message *any_at_source(void)
{
    for (unsigned tries = 0; n_messages && tries < 10; tries++) {
        struct model_message *m = &messages[below(n_messages)];
        if (m->src >= 0)
            return m;
    }
    return NULL;
}

static void at_source(void)
{
    struct model_message *m = any_at_source();
    unsigned what = below(5);
    if (what < 2 || !m) {
        deliver();
        return;
    }
    const char *from = folder_names[m->src];
    if (what == 2) {
        m->src_flags = random_flags();
        cr_assert(mh_mem_set_flags("src0", from, m->src_uid, m->src_flags, ""));
    } else if (what == 3) {
        int to = (int)below(FOLDERS);
        if (to == m->src)
            return;
        cr_assert(mh_mem_move("src0", from, m->src_uid, folder_names[to]));
        m->src = to;
        m->src_uid = find("src0", m).uid;
    } else {
        cr_assert(mh_mem_expunge("src0", from, m->src_uid));
        m->src = -1;
    }
}

static void at_target(void)
{
    struct model_message *m = n_messages ? &messages[below(n_messages)] : NULL;
    if (!m || !m->is_carried || m->dst < 0 || m->dst == FOLDERS)
        return;
    struct found f = find("dst0", m);
    cr_assert_eq(f.n, 1);
    switch (below(4)) {
    case 0:
        cr_assert(mh_mem_move("dst0", folder_names[m->dst], f.uid, mine));
        m->dst = FOLDERS;
        m->is_theirs = true;
        break;
    case 1:
        cr_assert(mh_mem_expunge("dst0", folder_names[m->dst], f.uid));
        m->dst = -1;
        m->is_theirs = true;
        break;
    default:
        m->dst_flags = random_flags();
        cr_assert(mh_mem_set_flags("dst0", folder_names[m->dst], f.uid, m->dst_flags, ""));
        break;
    }
}

/* --- one history ------------------------------------------------------------------------------------------ */

static uint64_t appends(void)
{
    struct mh_mem_stats stats;
    mh_mem_stats("dst0", &stats);
    return stats.appends;
}

static void play(unsigned long long seed)
{
    struct mh_mem_options o;
    state_of_chance = seed * 2654435769u + 88172645463325252ull;
    for (int i = 0; i < 16; i++)
        (void)below(2);
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    mh_mem_options_init(&o);
    unsigned way = below(3);
    o.condstore = way != 0;
    o.qresync = way == 2;
    o.object_id = below(2) != 0;
    o.multiappend = below(2) != 0;
    configure("src0", &o);
    configure("dst0", &o);
    quarantines = h->cfg.quarantines = below(2) != 0;
    n_messages = 0;
    for (int i = 1; i < FOLDERS; i++)
        cr_assert(mh_mem_make_folder("src0", folder_names[i]));
    haul_run_ok(h);
    cr_assert(mh_mem_make_folder("dst0", mine));
    for (unsigned pass = 0; pass < PASSES; pass++) {
        for (unsigned n = below(20); n > 0; n--)
            at_source();
        for (unsigned n = pass ? below(6) : 0; n > 0; n--)
            at_target();
        haul_run_ok(h);
        model_pass();
        check(seed, pass);
        uint64_t before = appends();
        haul_run_ok(h);
        check(seed, pass);
        cr_assert_eq(appends(), before, "seed %llu, pass %u: a pass without news appended", seed,
                     pass);
        cr_assert_eq(h->res.counts.updated + h->res.counts.moved + h->res.counts.removed, 0,
                     "seed %llu, pass %u: a pass without news changed something", seed, pass);
    }
    haul_close(h);
}

Test(history, ends_as_the_model_says, .timeout = 240)
{
    const char *seed = getenv("MH_TEST_SEED");
    const char *rounds = getenv("MH_TEST_ROUNDS");
    unsigned n = seed ? 1 : rounds ? (unsigned)atoi(rounds) : 60;
    unsigned long long first =
        seed ? strtoull(seed, NULL, 10) : (unsigned long long)mh_clock_wall_s();
    (void)fprintf(stderr, "MH_TEST_SEED=%llu to %llu\n", first, first + n - 1);
    for (unsigned i = 0; i < n; i++)
        play(first + i);
}
