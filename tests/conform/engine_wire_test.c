/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The engine over a modelled wire: where compression pays it ends up compressed, where it cannot pay it does
 * not try. The scheduler's clock is virtual, so that minutes on a narrow wire take a moment (only the state's
 * writer is real, and nobody waits long for it); a run's length is what that clock says between the mailbox's
 * start and its end.
 */
#include "haul.h"

enum {
    MESSAGES = 12000,
    MESSAGE_OCTETS = 2048,
    WIRE_OCTETS_PER_S = 100 * 1000, /* all of it: 246 s */
    FAR_MS = 40,
    GAIN_PERCENT = 150,
    SIDES = 2,
};

#define POOL_BYTES (16ull << 20)

struct wire {
    const char *name;
    bool is_narrow[SIDES];      /* target, source; the other side is near and wide */
    int64_t round_trip_ms;      /* of the narrow side */
    uint64_t octets_per_s;      /* likewise; 0 = as wide as can be */
    bool can_compress[SIDES];   /* the server */
    unsigned lanes_per_mailbox; /* 0: as the engine likes */
};

static const struct wire far_source = {.name = "a narrow wire to the source",
                                       .is_narrow = {false, true},
                                       .round_trip_ms = FAR_MS,
                                       .octets_per_s = WIRE_OCTETS_PER_S,
                                       .can_compress = {true, true}};
static const struct wire far_target = {.name = "a narrow wire to the target",
                                       .is_narrow = {true, false},
                                       .round_trip_ms = FAR_MS,
                                       .octets_per_s = WIRE_OCTETS_PER_S,
                                       .can_compress = {true, true}};
static const struct wire far_both = {.name = "narrow wires to both",
                                     .is_narrow = {true, true},
                                     .round_trip_ms = FAR_MS,
                                     .octets_per_s = WIRE_OCTETS_PER_S,
                                     .can_compress = {true, true}};

/* --- one run ---------------------------------------------------------------------------------------- */

struct outcome {
    struct mh_event_sink sink;
    int64_t start_ms, end_ms;
    struct mh_mem_stats stats[SIDES];
};

/* Of the session that was opened last; the run's thread writes, the test's reads when it has ended. */
static bool last_is_compressed[SIDES];

static int wire_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                     struct mh_session **out, struct mh_err *err)
{
    int rc = far_open(ep, env, create, out, err);
    if (rc == 0)
        last_is_compressed[env->is_source] = mh_mem.caps(*out)->compressed;
    return rc;
}

static void on_event(struct mh_event_sink *sink, const struct mh_event *ev)
{
    struct outcome *o = mh_container_of(sink, struct outcome, sink);
    if (ev->kind == MH_EV_MAILBOX_START)
        o->start_ms = mh_now_ms();
    else if (ev->kind == MH_EV_MAILBOX_DONE)
        o->end_ms = mh_now_ms();
}

static int64_t took_ms(const struct outcome *o)
{
    return o->end_ms - o->start_ms;
}

static void haul_over(const struct wire *w, enum mh_compress compress, struct outcome *out)
{
    static const char *const stores[SIDES] = {"dst0", "src0"};
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    *out = (struct outcome){.sink = {on_event}};
    for (size_t i = 0; i < SIDES; i++) {
        struct mh_mem_options o;
        mh_mem_options_init(&o);
        o.can_compress = w->can_compress[i];
        o.round_trip_ms = w->is_narrow[i] ? w->round_trip_ms : 0;
        o.wire_octets_per_s = w->is_narrow[i] ? w->octets_per_s : 0;
        o.compress_gain_percent = GAIN_PERCENT;
        configure(stores[i], &o);
    }
    for (unsigned i = 0; i < MESSAGES; i++)
        (void)put_number("src0", "INBOX", i, MESSAGE_OCTETS);
    far_connector.open = wire_open;
    h->cfg.events = &out->sink;
    h->cfg.compress = compress;
    h->cfg.lanes_per_mailbox = w->lanes_per_mailbox;
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, MESSAGES);
    ASSERT_SAME("INBOX");
    for (size_t i = 0; i < SIDES; i++) {
        mh_mem_stats(stores[i], &out->stats[i]);
        cr_expect_eq(out->stats[i].sessions, 0u, "a session was left open");
    }
    haul_close(h);
    (void)fprintf(
        stderr,
        "%s, %s: %lld ms; compressed %llu of %llu sessions at the source, %llu of %llu at "
        "the target\n",
        w->name,
        compress == MH_COMPRESS_AUTO     ? "auto"
        : compress == MH_COMPRESS_ALWAYS ? "always"
                                         : "never",
        (long long)took_ms(out), (unsigned long long)out->stats[1].compressed,
        (unsigned long long)out->stats[1].opened, (unsigned long long)out->stats[0].compressed,
        (unsigned long long)out->stats[0].opened);
}

/* --- where it pays ---------------------------------------------------------------------------------- */

static void never_always_auto(const struct wire *w)
{
    struct outcome never;
    struct outcome always;
    struct outcome found;
    haul_over(w, MH_COMPRESS_NEVER, &never);
    cr_expect_eq(never.stats[0].compressed + never.stats[1].compressed, 0u);
    /* The wire is the limit, or this tests nothing. */
    int64_t alone_ms = (int64_t)MESSAGES * MESSAGE_OCTETS * 1000 / WIRE_OCTETS_PER_S;
    cr_assert_geq(took_ms(&never), alone_ms);

    haul_over(w, MH_COMPRESS_ALWAYS, &always);
    for (size_t i = 0; i < SIDES; i++)
        cr_expect_eq(always.stats[i].compressed, always.stats[i].opened, "from the start");
    cr_expect_lt(took_ms(&always), took_ms(&never) / 2);

    haul_over(w, MH_COMPRESS_AUTO, &found);
    for (size_t i = 0; i < SIDES; i++) {
        cr_expect(last_is_compressed[i], "it ended uncompressed");
        cr_expect_lt(found.stats[i].compressed, found.stats[i].opened, "nobody had measured it");
    }
    cr_expect_lt(took_ms(&found), took_ms(&never) * 2 / 3, "%lld ms of %lld",
                 (long long)took_ms(&found), (long long)took_ms(&never));
}

Test(engine_wire, a_narrow_wire_to_the_source_ends_up_compressed, .timeout = 200)
{
    never_always_auto(&far_source);
}

Test(engine_wire, a_narrow_wire_to_the_target_ends_up_compressed, .timeout = 200)
{
    never_always_auto(&far_target);
}

Test(engine_wire, narrow_wires_to_both_end_up_compressed, .timeout = 200)
{
    never_always_auto(&far_both);
}

/* --- where it cannot pay ------------------------------------------------------------------------------ */

Test(engine_wire, what_cannot_pay_is_not_tried, .timeout = 200)
{
    struct wire rows[5];
    struct outcome o;
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++)
        rows[i] = i % 2 ? far_target : far_source;
    rows[0].name = "a near source";
    rows[0].round_trip_ms = 0;
    rows[1].name = "a near target";
    rows[1].round_trip_ms = 0;
    rows[2].name = "a source that cannot compress";
    rows[2].can_compress[1] = false;
    rows[3].name = "a target that cannot compress";
    rows[3].can_compress[0] = false;
    rows[4].name = "a far source on a wide wire";
    rows[4].octets_per_s = 0;
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
        haul_over(&rows[i], MH_COMPRESS_AUTO, &o);
        cr_expect_eq(o.stats[0].compressed + o.stats[1].compressed, 0u, "%s", rows[i].name);
    }
}

/* Told to compress, a run does so as far as the servers can. */
Test(engine_wire, always_is_as_far_as_the_servers_can, .timeout = 200)
{
    struct wire w = far_source;
    struct outcome o;
    w.name = "only the source can";
    w.can_compress[0] = false;
    haul_over(&w, MH_COMPRESS_ALWAYS, &o);
    cr_expect_eq(o.stats[0].compressed, 0u);
    cr_expect_eq(o.stats[1].compressed, o.stats[1].opened);
}
