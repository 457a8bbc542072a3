/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The engine over mailboxes in memory: what arrives, how often, and what the books say. After every run
 * the numbers are added up (haul.h). MH_TEST_SEED=n repeats a random test.
 */
#include "base/limits.h"
#include "chance.h"
#include "haul.h"

#define POOL_BYTES (16ull << 20)

static struct haul *open_one(void)
{
    return haul_open(1, 1, true, POOL_BYTES);
}

static void fill_three_folders(void)
{
    put_numbers("src0", "INBOX", 0, 120);
    put_numbers("src0", "Archive", 200, 40);
    put_numbers("src0", "Archive/2019", 300, 7);
    put_numbers("src0", "Empty", 0, 0);
}

static void assert_three_folders(void)
{
    ASSERT_SAME("INBOX");
    ASSERT_SAME("Archive");
    ASSERT_SAME("Archive/2019");
}

/* A pass over N messages when nothing has happened since the last one. */
static void run_again(struct haul *h, uint64_t n)
{
    haul_run_quiet(h, "again");
    ASSERT_COUNT(h, found, n);
    ASSERT_COUNT(h, unchanged, n);
}

/* --- copying -------------------------------------------------------------------------------------- */

Test(engine, a_copy_is_byte_exact_with_flags_keywords_and_dates)
{
    struct haul *h = open_one();
    fill_three_folders();
    haul_run_ok(h);
    assert_three_folders();
    ASSERT_COUNT(h, found, 167);
    ASSERT_COUNT(h, copied, 167);
    ASSERT_COUNT(h, adopted, 0);
    ASSERT_COUNT(h, failed, 0);
    cr_assert_eq(store_messages("dst0"), 167u);
    cr_assert_eq(h->res.mailboxes[0].n_items, 0u, "%s", h->res.mailboxes[0].items[0].reason);
    haul_close(h);
}

Test(engine, a_second_run_copies_nothing)
{
    struct haul *h = open_one();
    fill_three_folders();
    haul_run_ok(h);
    configure_faultless("src0");
    run_again(h, 167);
    uint64_t fetched = store_stats("src0").fetched;
    cr_assert_eq(fetched, 0u, "a run without news fetched %llu messages",
                 (unsigned long long)fetched);
    assert_three_folders();
    haul_close(h);
}

/* The same with folders looked into: a server without modseqs. */
Test(engine, a_second_run_without_condstore_copies_nothing)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.condstore = false;
    configure("src0", &o);
    configure("dst0", &o);
    fill_three_folders();
    haul_run_ok(h);
    run_again(h, 167);
    assert_three_folders();
    haul_close(h);
}

static void change_flags(const char *store, const char *path, uint64_t uid, uint8_t flags,
                         const char *keywords)
{
    struct mem_store *s = store_lock(store);
    struct mem_folder *f = mem_folder_find(s, path);
    struct mem_message *m = mem_message_find(f, uid);
    cr_assert_not_null(m);
    m->flags = flags;
    free(m->keywords);
    m->keywords = strdup(keywords);
    m->modseq = ++f->highestmodseq;
    store_unlock(s);
}

Test(engine, new_mail_and_changed_flags_are_the_delta)
{
    struct haul *h = open_one();
    fill_three_folders();
    haul_run_ok(h);
    put_numbers("src0", "INBOX", 150, 5);
    put_numbers("src0", "New", 400, 3);
    change_flags("src0", "INBOX", 7, MH_SEEN | MH_FLAGGED, "later");
    change_flags("src0", "INBOX", 8, 0, "");
    change_flags("src0", "Archive", 3, MH_DRAFT, "$label1");
    haul_run_ok(h);
    ASSERT_COUNT(h, found, 175);
    ASSERT_COUNT(h, copied, 8);
    ASSERT_COUNT(h, unchanged, 167);
    ASSERT_COUNT(h, updated, 3);
    assert_three_folders();
    ASSERT_SAME("New");
    run_again(h, 175);
    haul_close(h);
}

Test(engine, what_is_deleted_at_the_source_is_counted_and_kept)
{
    struct haul *h = open_one();
    put_numbers("src0", "INBOX", 0, 30);
    haul_run_ok(h);
    cr_assert(mh_mem_expunge("src0", "INBOX", 5));
    cr_assert(mh_mem_expunge("src0", "INBOX", 30));
    haul_run_ok(h);
    ASSERT_COUNT(h, found, 28);
    ASSERT_COUNT(h, unchanged, 28);
    ASSERT_COUNT(h, gone, 2);
    ASSERT_COUNT(h, removed, 0);
    cr_assert_eq(store_messages("dst0"), 30u);
    haul_close(h);
}

Test(engine, twins_and_messages_without_an_id_arrive_once_each)
{
    struct haul *h = open_one();
    struct bytes twin = bytes_message(900, 1);
    struct bytes bare = bytes_of_text("From: a@example.org\r\n\r\nno id\r\n");
    struct bytes empty = bytes_of_text("");
    for (unsigned i = 0; i < 5; i++) {
        (void)put("src0", "INBOX", &twin, 1000000000, MH_SEEN, "");
        (void)put("src0", "INBOX", &bare, 1000000000 + i, 0, "work");
        (void)put("src0", "INBOX", &empty, 1000000000, 0, "");
    }
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 15);
    ASSERT_SAME("INBOX");
    haul_forget(h);
    haul_run_ok(h);
    ASSERT_COUNT(h, adopted, 15);
    ASSERT_COUNT(h, copied, 0);
    ASSERT_SAME("INBOX");
    bytes_free(&twin);
    bytes_free(&bare);
    bytes_free(&empty);
    haul_close(h);
}

/* --- refusals ------------------------------------------------------------------------------------- */

enum { BAD_OCTETS = 7777 };

/* 100 messages in INBOX, those listed in CULPRITS with a length that the target refuses. */
static struct haul *open_with_culprits(const unsigned *culprits, size_t n)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.refuse_octets = BAD_OCTETS;
    o.refuse_code = MH_EITEM;
    o.refuse_reason = "refused";
    configure("dst0", &o);
    for (unsigned i = 0; i < 100; i++) {
        size_t len = 300 + i;
        for (size_t k = 0; k < n; k++)
            len = culprits[k] == i ? BAD_OCTETS : len;
        (void)put_number("src0", "INBOX", i, len);
    }
    return h;
}

static void assert_culprits(struct haul *h, const unsigned *culprits, size_t n)
{
    far.late_ms = 20;
    haul_run_ok(h);
    ASSERT_COUNT(h, found, 100);
    ASSERT_COUNT(h, copied, 100 - n);
    ASSERT_COUNT(h, failed, n);
    cr_assert_eq(reason_count(&h->res.failed, "refused"), n);
    struct difference d = differ("src0", "INBOX", "dst0", "INBOX", SAME_ALL);
    cr_assert_eq(d.lost, n);
    cr_assert_eq(d.extra, 0u, "%zu doubled", d.extra);
    for (size_t k = 0; k < n; k++) {
        bool named = false;
        for (size_t i = 0; i < h->res.mailboxes[0].n_items; i++)
            named |= h->res.mailboxes[0].items[i].uid == culprits[k] + 1;
        cr_expect(named, "message %u is not in the list of failures", culprits[k]);
    }
    cr_assert_gt(store_stats("dst0").largest_batch, 1u,
                 "no batch was ever sent: the test tests nothing");
}

Test(engine, one_refused_message_of_a_batch_is_isolated)
{
    for (unsigned at = 0; at < 100; at += 33) {
        struct haul *early = open_with_culprits(&at, 1);
        haul_run_ok(early);
        ASSERT_COUNT(early, copied, 99);
        haul_close(early);
        struct haul *h = open_with_culprits(&at, 1);
        assert_culprits(h, &at, 1);
        haul_close(h);
    }
}

Test(engine, three_refused_messages_of_a_batch_are_isolated)
{
    static const unsigned culprits[] = {0, 49, 50};
    struct haul *h = open_with_culprits(culprits, 3);
    assert_culprits(h, culprits, 3);
    /* The next run tries them again, and only them. */
    configure_faultless("dst0");
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 3);
    ASSERT_COUNT(h, unchanged, 97);
    ASSERT_SAME("INBOX");
    haul_close(h);
}

Test(engine, a_batch_of_which_all_are_refused_ends_with_all_named)
{
    unsigned culprits[100];
    for (unsigned i = 0; i < 100; i++)
        culprits[i] = i;
    struct haul *h = open_with_culprits(culprits, 100);
    assert_culprits(h, culprits, 100);
    cr_assert_eq(store_messages("dst0"), 0u);
    haul_close(h);
}

/* --- too big ---------------------------------------------------------------------------------------- */

static struct haul *open_with_limit(void)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.append_limit = 300000;
    configure("dst0", &o);
    put_numbers("src0", "INBOX", 0, 20);
    (void)put_number("src0", "INBOX", 20, 300000);
    (void)put_number("src0", "INBOX", 21, 300001);
    (void)put_number("src0", "INBOX", 22, 900000);
    return h;
}

Test(engine, messages_above_the_limit_are_skipped_as_too_big)
{
    struct haul *h = open_with_limit();
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 21);
    ASSERT_COUNT(h, skipped, 2);
    cr_assert_eq(reason_count(&h->res.skipped, "too-big"), 2u);
    haul_run_ok(h);
    ASSERT_COUNT(h, unchanged, 21);
    ASSERT_COUNT(h, skipped, 2);
    haul_close(h);
}

static void assert_file_is(const char *path, const struct bytes *b)
{
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s is not there", path);
    unsigned char *have = malloc(b->len + 1);
    cr_assert_not_null(have);
    size_t n = fread(have, 1, b->len + 1, f);
    (void)fclose(f);
    cr_assert_eq(n, b->len);
    cr_assert_eq(memcmp(have, b->data, n), 0, "%s has other bytes", path);
    free(have);
}

Test(engine, messages_above_the_limit_are_exported_byte_exact)
{
    struct haul *h = open_with_limit();
    char *dir = mh_asprintf("%s/big", h->dir);
    h->cfg.oversize_dir = dir;
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 21);
    ASSERT_COUNT(h, skipped, 2);
    cr_assert_eq(reason_count(&h->res.skipped, "too-big-exported"), 2u);
    static const struct {
        unsigned number;
        size_t len;
    } big[] = {{21, 300001}, {22, 900000}};
    for (size_t i = 0; i < MH_ARRAY_LEN(big); i++) {
        struct bytes b = bytes_message(big[i].len, big[i].number);
        char *path = mh_asprintf("%s/user0/INBOX/%u.eml", dir, big[i].number + 1);
        assert_file_is(path, &b);
        mh_free(path);
        bytes_free(&b);
    }
    mh_free(dir);
    haul_close(h);
}

/* --- lost connections -------------------------------------------------------------------------------- */

static void random_start(void)
{
    unsigned long long seed = chance_seed();
    (void)fprintf(stderr, "MH_TEST_SEED=%llu\n", seed);
    chance_begin(seed);
}

struct fault {
    uint64_t lose_answer_nth, drop_append_at, drop_fetch_at;
    bool multiappend, uidplus;
    unsigned n;      /* messages */
    int64_t late_ms; /* of verdicts */
};

/* Any server: with and without batches, UIDs in its answers, delay. */
static struct fault random_server(void)
{
    return (struct fault){.n = 20 + below(600),
                          .multiappend = below(3) != 0,
                          .uidplus = below(3) != 0,
                          .late_ms = below(2) ? 50 : 0};
}

/* One mailbox, one fault: nothing lost, nothing doubled, nothing failed; a second run finds all in place. */
static void run_with_fault(const struct fault *f)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    far.late_ms = f->late_ms;
    mh_mem_options_init(&o);
    o.drop_fetch_at = f->drop_fetch_at;
    configure("src0", &o);
    o.drop_fetch_at = 0;
    o.lose_answer_nth = f->lose_answer_nth;
    o.drop_append_at = f->drop_append_at;
    o.multiappend = f->multiappend;
    o.uidplus = f->uidplus;
    configure("dst0", &o);
    for (unsigned i = 0; i < f->n; i++)
        (void)put_number("src0", "INBOX", i % 11 == 3 ? 3 : i, 300 + (i % 7) * 10);
    haul_run_ok(h);
    struct difference d = differ("src0", "INBOX", "dst0", "INBOX", SAME_ALL);
    cr_assert(d.lost == 0 && d.extra == 0,
              "answer %llu, append octet %llu, fetch octet %llu, multiappend %d, uidplus %d, "
              "late %d: %zu lost, %zu doubled",
              (unsigned long long)f->lose_answer_nth, (unsigned long long)f->drop_append_at,
              (unsigned long long)f->drop_fetch_at, f->multiappend, f->uidplus, f->late_ms != 0,
              d.lost, d.extra);
    ASSERT_COUNT(h, found, f->n);
    ASSERT_COUNT(h, failed, 0);
    run_again(h, f->n);
    haul_close(h);
}

Test(engine, a_lost_answer_neither_doubles_nor_loses, .timeout = 300)
{
    random_start();
    for (int i = 0; i < 100; i++) {
        struct fault f = random_server();
        f.lose_answer_nth = 1 + below(f.n);
        run_with_fault(&f);
    }
}

Test(engine, a_connection_lost_inside_the_data_neither_doubles_nor_loses, .timeout = 300)
{
    random_start();
    for (int i = 0; i < 100; i++) {
        struct fault f = random_server();
        uint64_t at = 1 + below(300 * f.n);
        *(below(2) ? &f.drop_append_at : &f.drop_fetch_at) = at;
        run_with_fault(&f);
    }
}

/* Before each of the first connections the target is given a new fault. */
static unsigned faults_left;

static void new_fault(bool is_source)
{
    struct mem_store *s = mem_store_open(is_source ? "src0" : "dst0", false);
    if (!s || faults_left == 0) {
        if (s)
            mem_store_close(s);
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    switch (below(is_source ? 2 : 3)) {
    case 0:
        break;
    case 1:
        faults_left--;
        if (is_source)
            s->options.drop_fetch_at = s->fetched_octets + 1 + below(40000);
        else
            s->options.drop_append_at = s->appended_octets + 1 + below(40000);
        break;
    default:
        faults_left--;
        s->options.lose_answer_nth = s->stats.appends + 1 + below(100);
        break;
    }
    (void)pthread_mutex_unlock(&s->lock);
    mem_store_close(s);
}

/* Some messages may be given up after three losses, never doubled; the next quiet run brings the rest. */
Test(engine, connections_that_are_lost_again_and_again_neither_double_nor_lose, .timeout = 300)
{
    unsigned faults = 0;
    random_start();
    for (int i = 0; i < 40; i++) {
        struct haul *h = open_one();
        struct mh_mem_options o;
        mh_mem_options_init(&o);
        o.uidplus = below(3) != 0;
        o.multiappend = below(3) != 0;
        configure("dst0", &o);
        far.late_ms = below(2) ? 50 : 0;
        for (unsigned k = 0; k < 250; k++)
            (void)put_number("src0", "INBOX", k % 11 == 3 ? 3 : k, 300 + (k % 7) * 10);
        put_numbers("src0", "Archive", 300, 120);
        const unsigned planned = 2 + below(8);
        faults_left = planned;
        far.on_open = new_fault;
        haul_run_ok(h);
        far.on_open = NULL;
        faults += planned - faults_left;
        struct difference d = differ("src0", NULL, "dst0", NULL, SAME_ALL);
        cr_assert_eq(d.extra, 0u, "round %d: %zu doubled", i, d.extra);
        cr_assert_eq(d.lost, h->res.counts.failed, "round %d: %zu missing, %llu failed", i, d.lost,
                     (unsigned long long)h->res.counts.failed);
        configure_faultless("src0");
        configure_faultless("dst0");
        haul_run_ok(h);
        ASSERT_SAME_AS("src0", NULL, "dst0", NULL, SAME_ALL);
        haul_close(h);
    }
    cr_assert_gt(faults, 20, "%u faults only", faults);
}

/* A message that takes the connection with it each time is given up, alone. */
static void run_deadly(int64_t late_ms, bool multiappend, unsigned deadly_more, unsigned n)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.multiappend = multiappend;
    configure("dst0", &o);
    far.late_ms = late_ms;
    for (unsigned i = 0; i < 120; i++)
        (void)put_number("src0", "INBOX", i,
                         i >= 57 && i < 57 + 12 * n && i % 12 == 9 ? BAD_OCTETS : 300 + i);
    far.deadly_octets = BAD_OCTETS;
    far.deadly_more = deadly_more;
    haul_run_ok(h);
    ASSERT_COUNT(h, failed, n);
    ASSERT_COUNT(h, copied + h->res.counts.adopted, 120 - n); /* an answer may be lost with it */
    cr_assert_eq(reason_count(&h->res.failed, "connection-lost"), n);
    cr_assert_eq(items_named(h, "failed", "connection-lost"), n, "each one is named");
    for (size_t k = 0; k < h->res.mailboxes[0].n_items; k++)
        cr_assert_eq(h->res.mailboxes[0].items[k].uid % 12, 10u);
    struct difference d = differ("src0", "INBOX", "dst0", "INBOX", SAME_ALL);
    cr_assert_eq(d.lost, n);
    cr_assert_eq(d.extra, 0u);
    haul_close(h);
}

Test(engine, a_deadly_message_is_given_up_and_the_others_arrive)
{
    run_deadly(0, true, 0, 1);
    run_deadly(0, false, 0, 1);
}

Test(engine, a_deadly_message_is_given_up_alone_when_answers_are_slow)
{
    run_deadly(50, true, 0, 1);
    run_deadly(50, false, 0, 1);
}

/* What a client has sent behind the deadly message is lost with it, and is not to blame. */
Test(engine, a_deadly_message_is_given_up_alone_when_others_fly_behind_it)
{
    run_deadly(50, true, 2, 1);
    run_deadly(50, true, 40, 3);
    run_deadly(50, false, 2, 1);
    run_deadly(50, false, 40, 3);
}

static void source_dies_at(uint64_t octet, size_t big)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.drop_fetch_at = octet;
    configure("src0", &o);
    (void)put_number("src0", "INBOX", 0, 1000);
    (void)put_number("src0", "INBOX", 1, big);
    (void)put_number("src0", "INBOX", 2, 1000);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied + h->res.counts.adopted, 3);
    ASSERT_SAME("INBOX");
    haul_close(h);
}

Test(engine, a_source_that_dies_in_a_held_message_costs_nothing)
{
    source_dies_at(1000 + 1, MH_CUT_THROUGH_BYTES);
    source_dies_at(1000 + MH_CUT_THROUGH_BYTES / 2, MH_CUT_THROUGH_BYTES);
    source_dies_at(1000 + MH_CUT_THROUGH_BYTES, MH_CUT_THROUGH_BYTES);
}

Test(engine, a_source_that_dies_in_a_message_cut_through_costs_nothing)
{
    source_dies_at(1000 + 1, MH_CUT_THROUGH_BYTES + 1);
    source_dies_at(1000 + MH_CUT_THROUGH_BYTES / 2, MH_CUT_THROUGH_BYTES + 1);
    source_dies_at(1000 + 1500000, 3u << 20);
    source_dies_at(1000 + (3u << 20), 3u << 20);
}

Test(engine, a_message_that_vanishes_before_the_fetch_is_skipped)
{
    struct haul *h = open_one();
    put_numbers("src0", "INBOX", 0, 50);
    far.expunge_store = "src0";
    far.expunge_folder = "INBOX";
    far.expunge_uid = 20;
    haul_run_ok(h);
    ASSERT_COUNT(h, found, 50);
    ASSERT_COUNT(h, copied, 49);
    ASSERT_COUNT(h, skipped, 1);
    cr_assert_eq(reason_count(&h->res.skipped, "vanished"), 1u);
    ASSERT_SAME("INBOX");
    haul_close(h);
}

/* --- waiting ---------------------------------------------------------------------------------------- */

Test(engine, a_throttle_is_obeyed_and_the_messages_arrive)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.refuse_nth = 35;
    o.refuse_code = MH_ELATER;
    o.refuse_reason = "throttled";
    configure("dst0", &o);
    put_numbers("src0", "INBOX", 0, 130);
    far.retry_after_ms = 120 * 1000;
    haul_run_ok(h);
    cr_assert_gt(far.n_later, 0u);
    cr_assert_eq(far.n_too_early, 0u, "%u messages were begun during the pause", far.n_too_early);
    ASSERT_COUNT(h, copied, 130);
    ASSERT_COUNT(h, failed, 0);
    ASSERT_SAME("INBOX");
    haul_close(h);
}

Test(engine, over_quota_for_ever_ends_when_patience_does)
{
    struct haul *h = haul_open(2, 1, true, POOL_BYTES);
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.multiappend = false;
    o.quota_bytes = 50000;
    configure("dst0", &o);
    for (unsigned i = 0; i < 100; i++)
        (void)put_number("src0", "INBOX", i, 1000 + i);
    put_numbers("src0", "Archive", 200, 10);
    put_numbers("src1", "INBOX", 0, 30);
    h->cfg.patience_ms = 5 * 60 * 1000;
    cr_assert_eq(haul_run(h), 0);
    const struct mh_mailbox_result *full = &h->res.mailboxes[0];
    cr_assert_eq(full->err.code, MH_EMAILBOX, "%s", mh_code_name(full->err.code));
    cr_assert_not_null(full->err.reason);
    cr_assert_str_eq(full->err.reason, "quota");
    cr_assert_eq(full->counts.found, 110u);
    cr_assert_gt(full->counts.copied, 40u);
    cr_assert_eq(full->counts.failed, 110 - full->counts.copied);
    cr_assert_eq(h->res.mailboxes[1].err.code, 0);
    cr_assert_eq(h->res.mailboxes[1].counts.copied, 30u);
    ASSERT_SAME_AS("src1", NULL, "dst1", NULL, SAME_ALL);
    /* Room is made: the next run brings the rest. */
    configure_faultless("dst0");
    haul_run_ok(h);
    ASSERT_COUNT(h, failed, 0);
    ASSERT_SAME_AS("src0", NULL, "dst0", NULL, SAME_ALL);
    haul_close(h);
}

/* --- targets that can do less ----------------------------------------------------------------------- */

Test(engine, without_uidplus_the_uids_are_found_and_a_second_run_does_nothing)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.uidplus = false;
    o.condstore = false;
    configure("dst0", &o);
    configure("src0", &o);
    put_numbers("src0", "INBOX", 0, 90);
    put_numbers("src0", "INBOX", 0, 10);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 100);
    ASSERT_SAME("INBOX");
    run_again(h, 100);
    /* Flags can only follow when the UID is known. */
    change_flags("src0", "INBOX", 7, MH_DELETED, "found");
    haul_run_ok(h);
    ASSERT_COUNT(h, updated, 1);
    ASSERT_SAME("INBOX");
    haul_close(h);
}

Test(engine, without_keywords_they_are_dropped_and_noted)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.keywords = false;
    configure("dst0", &o);
    put_numbers("src0", "INBOX", 0, 40);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 40);
    ASSERT_SAME_AS("src0", "INBOX", "dst0", "INBOX", SAME_BUT_KEYWORDS);
    const struct mh_mailbox_result *m = &h->res.mailboxes[0];
    cr_assert_not_null(find_item_result(m->notes, m->n_notes, "keywords", "not-kept-by-target"));
    run_again(h, 40);
    haul_close(h);
}

/* --- targets that hold something already --------------------------------------------------------------- */

Test(engine, a_target_that_holds_half_the_mail_is_adopted)
{
    struct haul *h = open_one();
    put_numbers("src0", "INBOX", 0, 100);
    put_numbers("src0", "Archive", 200, 30);
    for (unsigned i = 0; i < 100; i += 2)
        (void)put_number("dst0", "INBOX", i, 300 + (i * 37) % 3000);
    put_numbers("dst0", "INBOX", 900, 5); /* not ours */
    haul_run_ok(h);
    ASSERT_COUNT(h, found, 130);
    ASSERT_COUNT(h, adopted, 50);
    ASSERT_COUNT(h, copied, 80);
    struct difference d = differ("src0", "INBOX", "dst0", "INBOX", SAME_ALL);
    cr_assert_eq(d.lost, 0u);
    cr_assert_eq(d.extra, 5u);
    run_again(h, 130);
    cr_assert_eq(store_messages("dst0"), 135u);
    haul_close(h);
}

Test(engine, a_lost_state_is_made_anew_by_adopting_everything)
{
    struct haul *h = open_one();
    fill_three_folders();
    haul_run_ok(h);
    haul_forget(h);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 0);
    ASSERT_COUNT(h, adopted, 167);
    ASSERT_COUNT(h, unchanged, 0);
    assert_three_folders();
    run_again(h, 167);
    haul_close(h);
}

static void renumber_and_run(const char *store)
{
    struct haul *h = open_one();
    fill_three_folders();
    haul_run_ok(h);
    cr_assert(mh_mem_renumber(store, "INBOX"));
    put_numbers("src0", "INBOX", 150, 5);
    haul_run_ok(h);
    ASSERT_COUNT(h, found, 172);
    ASSERT_COUNT(h, copied, 5);
    ASSERT_COUNT(h, adopted, 167);
    assert_three_folders();
    run_again(h, 172);
    haul_close(h);
}

Test(engine, a_new_uidvalidity_at_the_target_is_matched_by_content)
{
    renumber_and_run("dst0");
}

Test(engine, a_new_uidvalidity_at_the_source_is_matched_by_content)
{
    renumber_and_run("src0");
}

/* --- two folders into one ------------------------------------------------------------------------------- */

Test(engine, two_folders_into_one_arrive_together)
{
    struct haul *h = open_one();
    h->all_into = "All";
    put_numbers("src0", "INBOX", 0, 150);
    put_numbers("src0", "Archive", 140, 180); /* ten are in both */
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 330);
    ASSERT_SAME_AS("src0", NULL, "dst0", "All", SAME_ALL);
    run_again(h, 330);
    put_numbers("src0", "INBOX", 900, 3);
    put_numbers("src0", "Archive", 950, 3);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 6);
    ASSERT_SAME_AS("src0", NULL, "dst0", "All", SAME_ALL);
    haul_close(h);
}

/* What lies at the target for one of two twins does not serve both. */
Test(engine, two_folders_into_one_with_half_there_lose_no_twin)
{
    struct haul *h = open_one();
    h->all_into = "All";
    put_numbers("src0", "INBOX", 0, 20);
    put_numbers("src0", "Archive", 10, 20);
    put_numbers("dst0", "All", 0, 20);
    haul_run_ok(h);
    ASSERT_SAME_AS("src0", NULL, "dst0", "All", SAME_ALL);
    haul_close(h);
}

/* A new twin in one folder is not taken for the other folder's. */
Test(engine, two_folders_into_one_a_later_twin_is_carried)
{
    struct haul *h = open_one();
    h->all_into = "All";
    put_numbers("src0", "INBOX", 0, 20);
    put_numbers("src0", "Archive", 100, 20);
    haul_run_ok(h);
    put_numbers("src0", "INBOX", 200, 2);
    haul_run_ok(h);
    put_numbers("src0", "Archive", 200, 2);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 2);
    ASSERT_SAME_AS("src0", NULL, "dst0", "All", SAME_ALL);
    haul_close(h);
}

Test(engine, two_folders_into_one_survive_lost_answers, .timeout = 300)
{
    random_start();
    for (int i = 0; i < 40; i++) {
        struct haul *h = open_one();
        struct mh_mem_options o;
        mh_mem_options_init(&o);
        o.lose_answer_nth = 1 + below(560);
        o.uidplus = below(2) != 0;
        configure("dst0", &o);
        h->all_into = "All";
        far.late_ms = below(2) ? 50 : 0;
        put_numbers("src0", "INBOX", 0, 300);
        put_numbers("src0", "Archive", 260, 300); /* 40 are in both */
        haul_run_ok(h);
        struct difference d = differ("src0", NULL, "dst0", "All", SAME_ALL);
        cr_assert(d.lost == 0 && d.extra == 0,
                  "answer %llu lost, uidplus %d: %zu lost, %zu doubled",
                  (unsigned long long)o.lose_answer_nth, o.uidplus, d.lost, d.extra);
        haul_close(h);
    }
}

/* --- stopping --------------------------------------------------------------------------------------------- */

Test(engine, a_stop_in_the_middle_is_completed_by_the_next_run)
{
    static const uint64_t stops[] = {1, 2, 99, 100, 101, 250, 420};
    for (size_t i = 0; i < MH_ARRAY_LEN(stops); i++) {
        struct haul *h = open_one();
        put_numbers("src0", "INBOX", 0, 300);
        put_numbers("src0", "Archive", 300, 200);
        far.stop_at = stops[i];
        far.late_ms = i % 2 ? 50 : 0;
        cr_assert_eq(haul_run(h), MH_ECANCEL);
        cr_assert_lt(h->res.counts.copied, 500u);
        ASSERT_COUNT(h, found, 500);
        struct difference d = differ("src0", NULL, "dst0", NULL, SAME_ALL);
        cr_assert_eq(d.extra, 0u);
        cr_assert_eq(d.lost, h->res.counts.failed, "stopped at %llu: %zu missing, %llu failed",
                     (unsigned long long)stops[i], d.lost,
                     (unsigned long long)h->res.counts.failed);
        far.stop_at = 0;
        atomic_store(&h->stop, MH_STOP_NOT);
        haul_run_ok(h);
        ASSERT_COUNT(h, failed, 0);
        ASSERT_COUNT(h, copied + h->res.counts.adopted, 500);
        ASSERT_SAME_AS("src0", NULL, "dst0", NULL, SAME_ALL);
        haul_close(h);
    }
}

/* "Now" does not wait for answers: what they would have said is found out by the next run. */
Test(engine, a_stop_at_once_is_completed_by_the_next_run, .timeout = 100)
{
    struct haul *h = haul_open(1, 1, false, POOL_BYTES);
    put_numbers("src0", "INBOX", 0, 300);
    put_numbers("src0", "Archive", 300, 200);
    far.stop_at = 350;
    far.stop_level = MH_STOP_NOW;
    far.late_ms = 80 * 1000; /* answers that nobody waits for */
    int64_t start_ms = mh_clock_mono_ms();
    cr_assert_eq(haul_run(h), MH_ECANCEL);
    cr_assert_lt(mh_clock_mono_ms() - start_ms, 10 * 1000);
    ASSERT_COUNT(h, found, 500);
    cr_assert_gt(h->res.counts.failed, 0u);
    cr_assert_gt(store_messages("dst0"), h->res.counts.copied, "nothing was in flight");
    struct difference d = differ("src0", NULL, "dst0", NULL, SAME_ALL);
    cr_assert_eq(d.extra, 0u);
    far.late_ms = 0;
    atomic_store(&h->stop, MH_STOP_NOT);
    haul_run_ok(h);
    ASSERT_COUNT(h, failed, 0);
    ASSERT_SAME_AS("src0", NULL, "dst0", NULL, SAME_ALL);
    haul_close(h);
}

/* --- memory ------------------------------------------------------------------------------------------------ */

Test(engine, big_messages_of_four_mailboxes_stay_within_a_small_pool, .timeout = 300)
{
    struct haul *h = haul_open(4, 2, false, MH_MEMORY_MIN_BYTES);
    for (unsigned m = 0; m < 4; m++)
        for (unsigned i = 0; i < 10; i++)
            (void)put_number(h->src[m].path, "INBOX", m * 10 + i, 3u << 20);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 40);
    struct mh_pool_stats stats;
    mh_pool_stats(h->pool, &stats);
    cr_assert_leq(stats.peak_bytes, (uint64_t)MH_MEMORY_MIN_BYTES);
    for (unsigned m = 0; m < 4; m++)
        ASSERT_SAME_AS(h->src[m].path, NULL, h->dst[m].path, NULL, SAME_ALL);
    haul_close(h);
}

struct cost {
    uint64_t copied, calls, octets;
};

static struct cost cost_of(unsigned n)
{
    struct haul *h = open_one();
    configure_faultless("dst0");
    h->cfg.lanes_per_mailbox = 1;
    for (unsigned i = 0; i < n; i++)
        (void)put_number("src0", "INBOX", i * 4, 500 + (i * 37) % 3000);
    uint64_t copied = mh_slab_copied_bytes();
    uint64_t calls = mh_mem_calls();
    haul_run_ok(h);
    struct cost c = {mh_slab_copied_bytes() - copied, mh_mem_calls() - calls, h->res.counts.bytes};
    ASSERT_COUNT(h, copied, n);
    haul_close(h);
    return c;
}

/* mem copies twice by its nature (out of the store, into the store): everything above would be ours. */
Test(engine, no_byte_is_copied_and_nothing_allocated_per_message)
{
    enum { N = 2000 };
    (void)cost_of(N);
    struct cost once = cost_of(N);
    struct cost twice = cost_of(2 * N);
    cr_assert_eq(once.copied, 2 * once.octets, "%llu octets copied of %llu",
                 (unsigned long long)once.copied, (unsigned long long)(2 * once.octets));
    cr_assert_eq(twice.copied, 2 * twice.octets);
    uint64_t more = twice.calls - MH_MIN(once.calls, twice.calls);
    (void)fprintf(stderr, "%d messages: %llu allocations, %d: %llu\n", N,
                  (unsigned long long)once.calls, 2 * N, (unsigned long long)twice.calls);
    /* Lists that double, a chunk per 1,024 messages, a batch of rows per 128. */
    cr_assert_leq(more, 3u * N / MH_STATE_BATCH_ROWS + 16,
                  "%d messages more cost %llu allocations more", N, (unsigned long long)more);
}

/* --- looking only ------------------------------------------------------------------------------------------- */

Test(engine, a_dry_run_changes_nothing_at_the_target)
{
    struct haul *h = open_one();
    fill_three_folders();
    put_numbers("dst0", "INBOX", 0, 10);
    h->cfg.dry_run = true;
    haul_run_ok(h);
    ASSERT_COUNT(h, found, 167);
    ASSERT_COUNT(h, copied, 0);
    cr_assert_eq(reason_count(&h->res.skipped, "dry-run"), h->res.counts.skipped);
    cr_assert_eq(store_messages("dst0"), 10u);
    struct mem_store *s = store_lock("dst0");
    cr_assert_eq(s->n_folders, 1u, "folders were made");
    cr_assert_eq(s->stats.appends, 0u);
    store_unlock(s);
    h->cfg.dry_run = false;
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 157);
    ASSERT_COUNT(h, adopted, 10);
    change_flags("src0", "INBOX", 3, MH_DELETED, "");
    put_numbers("src0", "INBOX", 190, 1);
    h->cfg.dry_run = true;
    haul_run_ok(h);
    ASSERT_COUNT(h, unchanged, 167);
    ASSERT_COUNT(h, skipped, 1);
    cr_assert_eq(store_messages("dst0"), 167u);
    h->cfg.dry_run = false;
    haul_run_ok(h);
    ASSERT_COUNT(h, updated, 1);
    ASSERT_COUNT(h, copied, 1);
    assert_three_folders();
    haul_close(h);
}

/* --- check ---------------------------------------------------------------------------------------------------- */

Test(engine, check_says_which_side_refuses_its_list)
{
    for (int target = 0; target < 2; target++) {
        struct haul *h = open_one();
        struct mh_check_result r;
        struct mh_mem_options o;
        fill_three_folders();
        configure_faultless(target ? "src0" : "dst0");
        mh_mem_options_init(&o);
        o.refuse_list = true;
        configure(target ? "dst0" : "src0", &o);
        ASSERT_OK(mh_engine_check(&h->cfg, &r, &err));
        cr_assert_eq(r.n_mailboxes, 1u);
        cr_expect_eq(r.mailboxes[0].target.err.code, target ? MH_EMAILBOX : MH_OK);
        cr_expect_eq(r.mailboxes[0].source.err.code, target ? MH_OK : MH_EMAILBOX);
        mh_check_result_done(&r);
        haul_close(h);
    }
}

/* --- verify --------------------------------------------------------------------------------------------------- */

static void change_byte(const char *store, const char *path, uint64_t uid)
{
    struct mem_store *s = store_lock(store);
    struct mem_message *m = mem_message_find(mem_folder_find(s, path), uid);
    cr_assert_not_null(m);
    m->data[m->len / 2] ^= 1;
    store_unlock(s);
}

static uint64_t named(const struct mh_verify_mailbox *m, const char *state)
{
    uint64_t uid = 0;
    for (size_t i = 0; i < m->n_items; i++) {
        if (strcmp(m->items[i].state, state) != 0)
            continue;
        cr_expect_eq(uid, 0u, "two messages are '%s'", state);
        uid = m->items[i].uid;
    }
    return uid;
}

Test(engine, verify_names_what_is_dropped_doubled_changed_and_reflagged)
{
    struct haul *h = open_one();
    struct mh_verify_result v;
    fill_three_folders();
    haul_run_ok(h);
    ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
    cr_assert_eq(v.counts.exact, 167u);
    cr_assert_eq(v.counts.missing + v.counts.extra + v.counts.differs + v.counts.same +
                     v.counts.flags + v.counts.dates,
                 0u);
    mh_verify_result_done(&v);

    cr_assert(mh_mem_expunge("dst0", "INBOX", 11));
    change_byte("dst0", "INBOX", 22);
    change_flags("dst0", "INBOX", 33, MH_DELETED, "");
    uint64_t twin = put_number("dst0", "INBOX", 44, 300 + (44 * 37) % 3000);
    ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
    cr_assert_eq(v.n_mailboxes, 1u);
    cr_assert_eq(v.counts.exact, 165u, "%llu", (unsigned long long)v.counts.exact);
    cr_assert_eq(v.counts.missing, 1u);
    cr_assert_eq(v.counts.differs, 1u);
    cr_assert_eq(v.counts.flags, 1u);
    cr_assert_eq(v.counts.extra, 1u);
    cr_assert_eq(v.counts.dates, 0u);
    cr_assert_eq(named(&v.mailboxes[0], "missing"), 11u);
    cr_assert_eq(named(&v.mailboxes[0], "differs"), 22u);
    cr_assert_eq(named(&v.mailboxes[0], "flags"), 33u);
    cr_assert_eq(named(&v.mailboxes[0], "extra"), twin);
    mh_verify_result_done(&v);
    haul_close(h);
}

/* Twins that lie at the target in another order: which is which shows in date and flags. */
Test(engine, verify_without_a_state_tells_twins_by_date_and_flags)
{
    static const uint8_t flags[] = {MH_SEEN, MH_FLAGGED, 0};
    struct haul *h = open_one();
    struct mh_verify_result v;
    struct bytes twin = bytes_message(900, 1);
    for (size_t i = 0; i < 3; i++) {
        (void)put("src0", "INBOX", &twin, 1000000000, flags[i], "");
        (void)put("dst0", "INBOX", &twin, 1000000000, flags[2 - i], "");
        (void)put("src0", "INBOX", &twin, 1000000000 + (int64_t)i, MH_ANSWERED, "");
        (void)put("dst0", "INBOX", &twin, 1000000002 - (int64_t)i, MH_ANSWERED, "");
    }
    ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
    cr_assert_eq(v.counts.exact, 6u);
    cr_assert_eq(v.counts.flags, 0u);
    cr_assert_eq(v.counts.dates, 0u);
    mh_verify_result_done(&v);
    bytes_free(&twin);
    haul_close(h);
}

/* One message at the target does not stand for two twins that were carried into one folder. */
Test(engine, verify_of_two_folders_in_one_names_a_dropped_twin)
{
    struct haul *h = open_one();
    struct mh_verify_result v;
    h->all_into = "All";
    put_numbers("src0", "INBOX", 0, 20);
    put_numbers("src0", "Archive", 15, 20); /* five are in both */
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 40);
    ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
    cr_assert_eq(v.counts.exact, 40u);
    mh_verify_result_done(&v);
    struct bytes b = bytes_message(300 + (16 * 37) % 3000, 16);
    struct mem_store *s = store_lock("dst0");
    const struct mem_folder *f = mem_folder_find(s, "All");
    uint64_t uid = 0;
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].len == b.len && memcmp(f->v[i].data, b.data, b.len) == 0)
            uid = f->v[i].uid;
    store_unlock(s);
    bytes_free(&b);
    cr_assert(mh_mem_expunge("dst0", "All", uid));
    ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
    cr_assert_eq(v.counts.exact, 39u);
    cr_assert_eq(v.counts.missing, 1u);
    mh_verify_result_done(&v);
    haul_close(h);
}

/* Others deliver into the target while we look for what arrived. */
Test(engine, strange_mail_at_the_target_is_left_alone)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.lose_answer_nth = 50;
    configure("dst0", &o);
    put_numbers("src0", "INBOX", 0, 100);
    put_numbers("dst0", "INBOX", 800, 25);
    haul_run_ok(h);
    ASSERT_COUNT(h, failed, 0);
    struct difference d = differ("src0", "INBOX", "dst0", "INBOX", SAME_ALL);
    cr_assert_eq(d.lost, 0u);
    cr_assert_eq(d.extra, 25u);
    put_numbers("dst0", "INBOX", 900, 5);
    put_numbers("src0", "INBOX", 200, 5);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 5);
    d = differ("src0", "INBOX", "dst0", "INBOX", SAME_ALL);
    cr_assert_eq(d.lost, 0u);
    cr_assert_eq(d.extra, 30u);
    haul_close(h);
}

/* The UIDs that the state knows name other messages now. */
Test(engine, verify_after_a_new_uidvalidity_goes_by_content)
{
    struct haul *h = open_one();
    struct mh_verify_result v;
    put_numbers("src0", "INBOX", 0, 50);
    haul_run_ok(h);
    struct mem_store *s = store_lock("dst0");
    struct mem_folder *f = mem_folder_find(s, "INBOX");
    f->uidvalidity++;
    for (size_t i = 0; i < f->n / 2; i++) {
        struct mem_message m = f->v[i];
        f->v[i] = f->v[f->n - 1 - i];
        f->v[f->n - 1 - i] = m;
    }
    for (size_t i = 0; i < f->n; i++)
        f->v[i].uid = i + 1;
    store_unlock(s);
    ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
    cr_assert_eq(v.counts.exact, 50u, "%llu exact, %llu differ", (unsigned long long)v.counts.exact,
                 (unsigned long long)v.counts.differs);
    cr_assert_eq(v.counts.differs + v.counts.missing + v.counts.extra + v.counts.flags, 0u);
    mh_verify_result_done(&v);
    haul_close(h);
}
