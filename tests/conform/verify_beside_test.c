/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify beside a run: users change both sides and a run carries it while a folder is compared, between the listing and the
 * verdict. What has changed is left to the next verify, what is wrong is named all the same, and that next one, with everything at
 * rest, finds the same faults and nothing else.
 */
#include <criterion/criterion.h>

#include "haul.h"

enum { MAIL = 2100 /* three chunks */, ARCHIVE = 40, WORK = 1100 /* two */ };

static struct mh_connector hooked;
static struct {
    struct haul *h;
    unsigned fetches, at; /* of chunks of INBOX and of Work by the verify */
    void (*before)(void); /* what users do */
    bool runs;            /* and a run carries it */
    enum mh_stop stop;    /* of the verify */
    bool is_running;
    _Atomic int *verify_stop;
} hook;

static void run_now(void *arg)
{
    (void)arg;
    haul_run_ok(hook.h);
}

static int hooked_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                        struct mh_sink *sink, struct mh_err *err)
{
    if (!hook.is_running && n > ARCHIVE && ++hook.fetches == hook.at) {
        hook.is_running = true;
        if (hook.before)
            hook.before();
        if (hook.runs)
            mh_offload(run_now, NULL);
        if (hook.stop)
            atomic_store(hook.verify_stop, (int)hook.stop);
        hook.is_running = false;
    }
    return far_fetch(s, items, n, sink, err);
}

/* The run's handle is open all the time, so that for the verify a run is at work. */
struct beside {
    struct haul *h;
    struct mh_state *notes;
    struct mh_engine_config cfg;
    struct mh_engine_mailbox mailbox;
    struct mh_progress progress;
    _Atomic int stop;
};

static void open_beside(struct beside *b)
{
    *b = (struct beside){.h = haul_open(1, 1, false, 32u << 20)};
    hooked = far_connector;
    hooked.fetch = hooked_fetch;
    b->h->connectors[0] = &hooked;
    b->h->cfg.quarantines = true;
    ASSERT_OK(mh_state_open_beside(b->h->state_path, &b->notes, &err));
    b->mailbox = b->h->mailboxes[0];
    b->mailbox.progress = &b->progress;
    b->cfg = b->h->cfg;
    b->cfg.state = b->notes;
    b->cfg.mailboxes = &b->mailbox;
    b->cfg.stop = &b->stop;
    put_numbers("src0", "INBOX", 0, MAIL);
    put_numbers("src0", "Archive", 5000, ARCHIVE);
    put_numbers("src0", "Work", 6000, WORK);
    haul_run_ok(b->h);
}

static void close_beside(struct beside *b)
{
    ASSERT_OK(mh_state_close(b->notes, &err));
    haul_close(b->h);
}

static struct mh_verify_result verify(struct beside *b, struct mh_verify_options options)
{
    struct mh_verify_result v;
    char line[1024];
    b->cfg.verify = options;
    memset(&b->progress, 0, sizeof b->progress);
    ASSERT_OK(mh_engine_verify(&b->cfg, &v, &err));
    const struct mh_verify_mailbox *m = &v.mailboxes[0];
    if (atomic_exchange(&b->stop, MH_STOP_NOT) == MH_STOP_NOT)
        cr_assert_eq(m->err.code, 0, "%s", mh_err_line(&m->err, line, sizeof line));
    const struct mh_verify_counts *c = &v.counts;
    cr_expect_eq(c->found,
                 c->exact + c->same + c->differs + c->missing + c->skipped + c->listed + c->later);
    cr_expect_leq(c->pending, c->later);
    return v;
}

static size_t count(const struct mh_verify_result *v, const char *state)
{
    size_t n = 0;
    for (size_t i = 0; i < v->mailboxes[0].n_items; i++)
        n += strcmp(v->mailboxes[0].items[i].state, state) == 0;
    return n;
}

static bool names(const struct mh_verify_result *v, const char *state, const char *reason,
                  const char *folder, uint64_t uid)
{
    for (size_t i = 0; i < v->mailboxes[0].n_items; i++) {
        const struct mh_item_result *r = &v->mailboxes[0].items[i];
        if (strcmp(r->state, state) == 0 && strcmp(r->folder, folder) == 0 && r->uid == uid)
            return strcmp(r->reason, reason) == 0;
    }
    return false;
}

/* --- what happens meanwhile --------------------------------------------------------------------------------- */

static void arrives(void)
{
    (void)put_number("src0", "INBOX", 9000, 800);
    (void)put_number("src0", "Archive", 9001, 800);
}

static void is_deleted(void)
{
    cr_assert(mh_mem_expunge("src0", "INBOX", 3));    /* its chunk is being read */
    cr_assert(mh_mem_expunge("src0", "INBOX", 2000)); /* its is to come */
}

static void is_moved(void)
{
    cr_assert(mh_mem_move("src0", "INBOX", 4, "Archive"));
    cr_assert(mh_mem_move("src0", "INBOX", 2001, "Archive"));
}

static void is_flagged(void)
{
    cr_assert(mh_mem_set_flags("src0", "INBOX", 5, MH_FLAGGED | MH_DRAFT, ""));
    cr_assert(mh_mem_set_flags("src0", "INBOX", 2002, MH_FLAGGED | MH_DRAFT, ""));
}

static void flags_differ_at_first(void)
{
    cr_assert(mh_mem_set_flags("src0", "INBOX", 6, MH_FLAGGED | MH_DRAFT, ""));
}

static void is_not_carried_at_first(void)
{
    (void)put_number("src0", "INBOX", 9002, 900);
}

static void is_renamed(void)
{
    cr_assert(mh_mem_rename("src0", "Archive", "Vault"));
}

static void everything(void)
{
    arrives();
    is_deleted();
    is_moved();
    is_flagged();
}

static void nothing(void)
{
}

static const struct {
    const char *name;
    void (*first)(void); /* before the verify, and no run has carried it */
    void (*meanwhile)(void);
    bool runs;
    uint64_t later[2]; /* by mode: only --deep reads what was deleted at the source */
    uint64_t pending, unsettled;
} cases[] = {
    {"nothing", nothing, nothing, true, {0, 0}, 0, 0},
    {"mail arrives and is carried", nothing, arrives, true, {0, 0}, 0, 0},
    {"mail arrives and is not carried", nothing, arrives, false, {1, 1}, 1, 0},
    {"mail is deleted, and put away at the target", nothing, is_deleted, true, {2, 2}, 0, 0},
    {"mail is deleted, and still there at the target", nothing, is_deleted, false, {0, 1}, 0, 0},
    {"mail is moved, at both sides", nothing, is_moved, true, {2, 2}, 0, 0},
    {"flags change, at both sides", nothing, is_flagged, true, {0, 0}, 0, 0},
    {"new mail is carried meanwhile", is_not_carried_at_first, nothing, true, {1, 1}, 0, 0},
    {"new mail is not carried yet", is_not_carried_at_first, nothing, false, {1, 1}, 1, 0},
    {"flags are carried meanwhile", flags_differ_at_first, nothing, true, {0, 0}, 0, 1},
    {"all of it", nothing, everything, true, {4, 4}, 0, 0},
};

static const struct mh_verify_options both_modes[] = {{0}, {.deep = true}};

/* Nobody is accused. */
Test(verify_beside, what_a_run_carries_meanwhile_is_left_to_the_next)
{
    for (size_t k = 0; k < 2 * MH_ARRAY_LEN(cases); k++) {
        const size_t i = k / 2;
        struct beside b;
        open_beside(&b);
        cases[i].first();
        memset(&hook, 0, sizeof hook);
        hook.h = b.h;
        hook.at = k % 2 ? 2 : 1;
        hook.before = cases[i].meanwhile;
        hook.runs = cases[i].runs;
        struct mh_verify_result v = verify(&b, both_modes[k % 2]);
        cr_assert_geq(hook.fetches, hook.at, "%s: nothing has happened meanwhile", cases[i].name);
        const struct mh_verify_counts *c = &v.counts;
        cr_expect_eq(c->missing + c->differs + c->extra + c->flags + c->dates, 0u,
                     "%s: missing %llu, differs %llu, extra %llu, flags %llu", cases[i].name,
                     (unsigned long long)c->missing, (unsigned long long)c->differs,
                     (unsigned long long)c->extra, (unsigned long long)c->flags);
        cr_expect_eq(c->later, cases[i].later[k % 2], "%s, mode %zu: later %llu", cases[i].name,
                     k % 2, (unsigned long long)c->later);
        cr_expect_eq(c->pending, cases[i].pending, "%s: pending %llu", cases[i].name,
                     (unsigned long long)c->pending);
        cr_expect_eq(c->unsettled, cases[i].unsettled, "%s: unsettled %llu", cases[i].name,
                     (unsigned long long)c->unsettled);
        cr_expect_eq(count(&v, "later"), c->later);
        cr_expect_eq(count(&v, "unsettled"), c->unsettled);
        mh_verify_result_done(&v);
        haul_run_ok(b.h);
        v = verify(&b, both_modes[k % 2]);
        cr_expect_eq(v.counts.exact, v.counts.found, "%s: at rest", cases[i].name);
        cr_expect_eq(v.mailboxes[0].n_items, 0u, "%s: at rest %zu", cases[i].name,
                     v.mailboxes[0].n_items);
        cr_expect_eq(v.counts.found, store_messages("src0"), "%s", cases[i].name);
        mh_verify_result_done(&v);
        close_beside(&b);
    }
}

/* --- what is wrong is named all the same ---------------------------------------------------------------------- */

static uint64_t doubled;

static void tamper(void)
{
    struct mem_store *s = store_lock("dst0");
    struct mem_message *m = mem_message_find(mem_folder_find(s, "INBOX"), 1500);
    m->data[m->len / 2] ^= 1;
    store_unlock(s);
    cr_assert(mh_mem_expunge("dst0", "INBOX", 1501));
    cr_assert(mh_mem_set_flags("dst0", "INBOX", 1502, MH_ANSWERED | MH_DRAFT, ""));
    doubled = put_number("dst0", "INBOX", 53, 300 + (53 * 37) % 3000);
    haul_run_ok(hook.h); /* its window is past the doubled one */
}

Test(verify_beside, faults_are_named_whatever_a_run_does)
{
    for (size_t k = 0; k < 2; k++) {
        struct beside b;
        open_beside(&b);
        memset(&hook, 0, sizeof hook);
        hook.h = b.h;
        is_not_carried_at_first();
        tamper();
        hook.at = 1;
        hook.before = everything;
        hook.runs = true;
        struct mh_verify_result v = verify(&b, both_modes[k]);
        cr_expect(names(&v, "differs", "content", "INBOX", 1500));
        cr_expect(names(&v, "missing", "not-at-target", "INBOX", 1501));
        cr_expect(names(&v, "flags", "differ", "INBOX", 1502));
        cr_expect(names(&v, "extra", "only-at-target", "INBOX", doubled));
        cr_expect_eq(v.counts.differs, 1u);
        cr_expect_eq(v.counts.missing, 1u);
        cr_expect_eq(v.counts.flags, 1u);
        cr_expect_eq(v.counts.extra, 1u, "%llu", (unsigned long long)v.counts.extra);
        cr_expect_eq(v.counts.later, 4u, "%llu", (unsigned long long)v.counts.later);
        mh_verify_result_done(&v);
        close_beside(&b);
    }
}

/* --- going on ------------------------------------------------------------------------------------------------------- */

/* Broken off beside a service: what its passes have left alone is not compared again, what they changed is. */
Test(verify_beside, goes_on_beside_a_service)
{
    static const struct {
        const char *name;
        void (*meanwhile)(void);
        size_t resumed_at;
    } stops[] = {
        {"passes without news", nothing, 3},
        {"mail in one of the folders that were done", is_not_carried_at_first, 2},
        {"a folder has another name", is_renamed, 2},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(stops); i++) {
        struct beside b;
        open_beside(&b);
        memset(&hook, 0, sizeof hook);
        hook.h = b.h;
        hook.at = 4; /* in Work: INBOX and Archive are done */
        hook.stop = MH_STOP_SOON;
        hook.verify_stop = &b.stop;
        struct mh_verify_result v = verify(&b, both_modes[0]);
        cr_assert_eq(v.mailboxes[0].err.code, MH_ECANCEL, "%s", stops[i].name);
        mh_verify_result_done(&v);
        stops[i].meanwhile();
        haul_run_ok(b.h);
        haul_run_ok(b.h);
        hook.at = 0;
        hook.fetches = 0;
        v = verify(&b, both_modes[0]);
        cr_expect_eq(v.mailboxes[0].resumed_at, stops[i].resumed_at, "%s: %zu", stops[i].name,
                     v.mailboxes[0].resumed_at);
        cr_expect_eq(v.counts.exact, v.counts.found, "%s", stops[i].name);
        cr_expect_eq(v.counts.found, store_messages("src0"), "%s", stops[i].name);
        mh_verify_result_done(&v);
        close_beside(&b);
    }
}

/* --- one at a time -------------------------------------------------------------------------------------------------- */

static int second_code;
static char second_text[1024];

static void verify_too(void *arg)
{
    struct beside *b = arg;
    struct mh_state *notes = NULL;
    struct mh_verify_result v;
    struct mh_progress progress = {0};
    struct mh_engine_config cfg = b->cfg;
    struct mh_engine_mailbox mailbox = b->mailbox;
    ASSERT_OK(mh_state_open_beside(b->h->state_path, &notes, &err));
    mailbox.progress = &progress;
    cfg.state = notes;
    cfg.mailboxes = &mailbox;
    ASSERT_OK(mh_engine_verify(&cfg, &v, &err));
    second_code = v.mailboxes[0].err.code;
    (void)mh_err_line(&v.mailboxes[0].err, second_text, sizeof second_text);
    mh_verify_result_done(&v);
    ASSERT_OK(mh_state_close(notes, &err));
}

static struct beside *first;

static void try_another(void)
{
    mh_offload(verify_too, first);
}

Test(verify_beside, two_verifies_exclude_each_other_and_no_run)
{
    struct beside b;
    char want[64];
    open_beside(&b);
    memset(&hook, 0, sizeof hook);
    hook.h = b.h;
    first = &b;
    hook.at = 1;
    hook.before = try_another;
    hook.runs = true;
    struct mh_verify_result v = verify(&b, (struct mh_verify_options){.deep = true});
    cr_expect_eq(v.counts.exact, v.counts.found);
    mh_verify_result_done(&v);
    cr_expect_eq(second_code, MH_ELOCKED);
    (void)snprintf(want, sizeof want, "verify --deep of user0, pid %ld", (long)getpid());
    cr_expect_not_null(strstr(second_text, want), "%s", second_text);
    hook.at = 0;
    verify_too(&b);
    cr_expect_eq(second_code, 0, "the lock is free again: %s", second_text);
    close_beside(&b);
}
