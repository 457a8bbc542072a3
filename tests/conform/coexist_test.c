/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Coexistence: both sides live between passes. Each case says what happens at the source and at the target, and
 * what is at the target after the next pass; whatever happened, a pass behind it changes nothing.
 */
#include "haul.h"

#define POOL_BYTES (16ull << 20)

static struct haul *open_one(void)
{
    return haul_open(1, 1, true, POOL_BYTES);
}

/* --- what is where ------------------------------------------------------------------------------ */

struct search {
    const char *path, *text;
    struct mh_mem_message found; /* its pointers are not valid any more */
    unsigned n;
};

static bool on_message(void *ctx, const struct mh_mem_message *m)
{
    struct search *s = ctx;
    bool hit = (!s->path || strcmp(m->path, s->path) == 0) && m->len == strlen(s->text) &&
               memcmp(m->bytes, s->text, m->len) == 0;
    if (hit)
        s->found = *m;
    s->n += hit;
    return true;
}

/* How often TEXT lies in PATH (NULL: anywhere). */
static unsigned count(const char *store, const char *path, const char *text)
{
    struct search s = {.path = path, .text = text};
    cr_assert(mh_mem_each(store, on_message, &s));
    return s.n;
}

static uint64_t uid_of(const char *store, const char *path, const char *text)
{
    struct search s = {.path = path, .text = text};
    cr_assert(mh_mem_each(store, on_message, &s));
    cr_assert_eq(s.n, 1, "%u of %s in %s", s.n, text, path);
    return s.found.uid;
}

static uint8_t flags_of(const char *store, const char *path, const char *text)
{
    struct search s = {.path = path, .text = text};
    cr_assert(mh_mem_each(store, on_message, &s));
    cr_assert_eq(s.n, 1, "%u of %s in %s", s.n, text, path);
    return s.found.flags;
}

struct quarantined {
    const char *text;
    unsigned n;
};

static bool on_quarantined(void *ctx, const struct mh_mem_message *m)
{
    struct quarantined *q = ctx;
    q->n += strncmp(m->path, "mailhaul-removed/", 17) == 0 && m->len == strlen(q->text) &&
            memcmp(m->bytes, q->text, m->len) == 0;
    return true;
}

static unsigned count_quarantined(const char *store, const char *text)
{
    struct quarantined q = {.text = text};
    cr_assert(mh_mem_each(store, on_quarantined, &q));
    return q.n;
}

static void configure_both(const struct mh_mem_options *o)
{
    configure("src0", o);
    configure("dst0", o);
}

/* --- every way in which a server tells what has changed ------------------------------------------- */

enum way { WAY_QRESYNC, WAY_CONDSTORE, WAY_NOTHING, WAYS };

static const char *const way_names[WAYS] = {"QRESYNC", "CONDSTORE", "neither"};

static void configure_way(enum way way)
{
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.condstore = way != WAY_NOTHING;
    o.qresync = way == WAY_QRESYNC;
    o.object_id = way == WAY_QRESYNC;
    configure_both(&o);
}

#define A_TEXT "Subject: a\r\n\r\nthe first\r\n"
#define B_TEXT "Subject: b\r\n\r\nthe second one\r\n"
#define C_TEXT "Subject: c\r\n\r\nthe third, a longer one\r\n"
#define D_TEXT "Subject: d\r\n\r\nnew mail of the day\r\n"

static struct haul *begin(enum way way)
{
    struct haul *h = open_one();
    configure_way(way);
    cr_assert(mh_mem_make_folder("src0", "Work"));
    cr_assert(mh_mem_make_folder("src0", "Old"));
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    (void)put_text("src0", "INBOX", B_TEXT, MH_SEEN, 2000);
    (void)put_text("src0", "Work", C_TEXT, MH_FLAGGED, 3000);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 3);
    return h;
}

Test(coexist, new_mail_flags_and_deletions)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = begin((enum way)way);
        (void)put_text("src0", "INBOX", D_TEXT, 0, 4000);
        cr_assert(mh_mem_set_flags("src0", "INBOX", uid_of("src0", "INBOX", A_TEXT),
                                   MH_SEEN | MH_ANSWERED, "todo"));
        cr_assert(mh_mem_expunge("src0", "INBOX", uid_of("src0", "INBOX", B_TEXT)));
        haul_run_ok(h);
        ASSERT_COUNT(h, copied, 1);
        ASSERT_COUNT(h, updated, 1);
        ASSERT_COUNT(h, gone, 1);
        cr_expect_eq(count("dst0", "INBOX", D_TEXT), 1, "%s", way_names[way]);
        cr_expect_eq(count("dst0", "INBOX", B_TEXT), 1, "%s: deleted there, kept here",
                     way_names[way]);
        cr_expect_eq(flags_of("dst0", "INBOX", A_TEXT), MH_SEEN | MH_ANSWERED, "%s",
                     way_names[way]);
        haul_run_quiet(h, way_names[way]);
        haul_close(h);
    }
}

Test(coexist, a_moved_message_is_moved_without_its_bytes)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = begin((enum way)way);
        uint64_t before = store_stats("dst0").appends;
        cr_assert(mh_mem_move("src0", "INBOX", uid_of("src0", "INBOX", B_TEXT), "Old"));
        haul_run_ok(h);
        cr_expect_eq(store_stats("dst0").appends, before, "%s: its bytes were sent",
                     way_names[way]);
        ASSERT_COUNT(h, moved, 1);
        ASSERT_COUNT(h, copied, 0);
        ASSERT_COUNT(h, gone, 0);
        cr_expect_eq(count("dst0", NULL, B_TEXT), 1, "%s", way_names[way]);
        cr_expect_eq(count("dst0", "Old", B_TEXT), 1, "%s", way_names[way]);
        cr_expect_eq(flags_of("dst0", "Old", B_TEXT), MH_SEEN, "%s", way_names[way]);
        haul_run_quiet(h, way_names[way]);
        haul_close(h);
    }
}

Test(coexist, moved_flagged_and_moved_on)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = begin((enum way)way);
        cr_assert(mh_mem_move("src0", "INBOX", uid_of("src0", "INBOX", A_TEXT), "Work"));
        cr_assert(mh_mem_set_flags("src0", "Work", uid_of("src0", "Work", A_TEXT), MH_FLAGGED, ""));
        haul_run_ok(h);
        ASSERT_COUNT(h, moved, 1);
        cr_expect_eq(flags_of("dst0", "Work", A_TEXT), MH_FLAGGED, "%s", way_names[way]);
        cr_assert(mh_mem_move("src0", "Work", uid_of("src0", "Work", A_TEXT), "INBOX"));
        haul_run_ok(h);
        ASSERT_COUNT(h, moved, 1);
        cr_expect_eq(count("dst0", NULL, A_TEXT), 1, "%s", way_names[way]);
        cr_expect_eq(count("dst0", "INBOX", A_TEXT), 1, "%s", way_names[way]);
        haul_run_quiet(h, way_names[way]);
        haul_close(h);
    }
}

Test(coexist, twins_move_one_by_one)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = open_one();
        configure_way((enum way)way);
        cr_assert(mh_mem_make_folder("src0", "Old"));
        uint64_t first = put_text("src0", "INBOX", A_TEXT, 0, 1000);
        (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
        (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
        haul_run_ok(h);
        cr_assert(mh_mem_move("src0", "INBOX", first, "Old"));
        haul_run_ok(h);
        cr_expect_eq(count("dst0", "INBOX", A_TEXT), 2, "%s", way_names[way]);
        cr_expect_eq(count("dst0", "Old", A_TEXT), 1, "%s", way_names[way]);
        haul_run_quiet(h, way_names[way]);
        haul_close(h);
    }
}

/* Same size, same second, another message: not moved, whatever it looks like. */
Test(coexist, a_likeness_is_no_move)
{
    struct haul *h = open_one();
    configure_way(WAY_CONDSTORE);
    cr_assert(mh_mem_make_folder("src0", "Old"));
    uint64_t uid = put_text("src0", "INBOX", "Subject: 1\r\n\r\nabc\r\n", 0, 1000);
    haul_run_ok(h);
    cr_assert(mh_mem_expunge("src0", "INBOX", uid));
    (void)put_text("src0", "Old", "Subject: 2\r\n\r\nabc\r\n", 0, 1000);
    haul_run_ok(h);
    ASSERT_COUNT(h, moved, 0);
    ASSERT_COUNT(h, copied, 1);
    ASSERT_COUNT(h, gone, 1);
    cr_expect_eq(count("dst0", "INBOX", "Subject: 1\r\n\r\nabc\r\n"), 1);
    cr_expect_eq(count("dst0", "Old", "Subject: 2\r\n\r\nabc\r\n"), 1);
    haul_run_quiet(h, "a likeness");
    haul_close(h);
}

Test(coexist, a_target_that_cannot_move_gets_it_once_more)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.move = false;
    configure_both(&o);
    cr_assert(mh_mem_make_folder("src0", "Old"));
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    haul_run_ok(h);
    cr_assert(mh_mem_move("src0", "INBOX", 1, "Old"));
    haul_run_ok(h);
    ASSERT_COUNT(h, moved, 0);
    ASSERT_COUNT(h, copied, 1);
    ASSERT_COUNT(h, gone, 1);
    haul_run_quiet(h, "it cannot move");
    haul_close(h);
}

/* --- what users do at the target is theirs ---------------------------------------------------------- */

Test(coexist, what_is_removed_or_moved_at_the_target_is_not_brought_back)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = begin((enum way)way);
        cr_assert(mh_mem_make_folder("dst0", "Mine"));
        cr_assert(mh_mem_expunge("dst0", "INBOX", uid_of("dst0", "INBOX", A_TEXT)));
        cr_assert(mh_mem_move("dst0", "INBOX", uid_of("dst0", "INBOX", B_TEXT), "Mine"));
        /* and the source goes on with both */
        cr_assert(mh_mem_set_flags("src0", "INBOX", uid_of("src0", "INBOX", A_TEXT), MH_SEEN, ""));
        cr_assert(mh_mem_move("src0", "INBOX", uid_of("src0", "INBOX", B_TEXT), "Old"));
        (void)put_text("src0", "INBOX", D_TEXT, 0, 4000);
        haul_run_ok(h);
        cr_expect_eq(count("dst0", NULL, A_TEXT), 0, "%s", way_names[way]);
        cr_expect_eq(count("dst0", NULL, B_TEXT), 1, "%s", way_names[way]);
        cr_expect_eq(count("dst0", "Mine", B_TEXT), 1, "%s", way_names[way]);
        cr_expect_eq(count("dst0", "INBOX", D_TEXT), 1, "%s", way_names[way]);
        haul_run_quiet(h, way_names[way]);
        haul_close(h);
    }
}

Test(coexist, a_flag_that_changed_on_both_sides_is_the_targets_from_then_on)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = begin((enum way)way);
        cr_assert(
            mh_mem_set_flags("dst0", "INBOX", uid_of("dst0", "INBOX", A_TEXT), MH_FLAGGED, "mine"));
        cr_assert(mh_mem_set_flags("src0", "INBOX", uid_of("src0", "INBOX", A_TEXT),
                                   MH_FLAGGED | MH_SEEN, "mine yours"));
        haul_run_ok(h);
        cr_expect_eq(flags_of("dst0", "INBOX", A_TEXT), MH_FLAGGED | MH_SEEN, "%s", way_names[way]);
        /* the source takes all of it back: what the target's user had set as well stays */
        cr_assert(mh_mem_set_flags("src0", "INBOX", uid_of("src0", "INBOX", A_TEXT), 0, ""));
        haul_run_ok(h);
        cr_expect_eq(flags_of("dst0", "INBOX", A_TEXT), MH_FLAGGED, "%s", way_names[way]);
        haul_run_quiet(h, way_names[way]);
        haul_close(h);
    }
}

/* --- deletions by policy ------------------------------------------------------------------------------ */

Test(coexist, quarantine_takes_what_we_put_there_and_nothing_else)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = open_one();
        configure_way((enum way)way);
        h->cfg.quarantines = true;
        (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
        (void)put_text("src0", "INBOX", B_TEXT, 0, 2000);
        (void)put_text("dst0", "INBOX", B_TEXT, 0, 2000); /* was there: adopted, not ours */
        haul_run_ok(h);
        ASSERT_COUNT(h, copied, 1);
        cr_assert(mh_mem_expunge("src0", "INBOX", 1));
        cr_assert(mh_mem_expunge("src0", "INBOX", 2));
        haul_run_ok(h);
        ASSERT_COUNT(h, removed, 1);
        ASSERT_COUNT(h, gone, 1);
        cr_expect_eq(count("dst0", "INBOX", A_TEXT), 0, "%s", way_names[way]);
        cr_expect_eq(count_quarantined("dst0", A_TEXT), 1, "%s", way_names[way]);
        cr_expect_eq(count("dst0", "INBOX", B_TEXT), 1, "%s", way_names[way]);
        haul_run_quiet(h, way_names[way]);
        haul_close(h);
    }
}

Test(coexist, a_folder_that_is_gone_is_deleted_mail)
{
    for (int quarantines = 0; quarantines < 2; quarantines++) {
        struct haul *h = begin(WAY_QRESYNC);
        h->cfg.quarantines = quarantines;
        cr_assert(mh_mem_remove_folder("src0", "Work"));
        haul_run_ok(h);
        ASSERT_COUNT(h, removed, (unsigned)quarantines);
        ASSERT_COUNT(h, gone, 1u - (unsigned)quarantines);
        cr_expect_eq(count("dst0", "Work", C_TEXT), 1u - (unsigned)quarantines);
        cr_expect_eq(count_quarantined("dst0", C_TEXT), (unsigned)quarantines);
        haul_run_quiet(h, quarantines ? "put away" : "kept");
        ASSERT_COUNT(h, gone, 0);
        haul_close(h);
    }
}

/* --- renames ---------------------------------------------------------------------------------------------- */

Test(coexist, a_renamed_folder_is_renamed)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = begin((enum way)way);
        uint64_t before = store_stats("dst0").appends;
        cr_assert(mh_mem_rename("src0", "Work", "Projects/Work"));
        haul_run_ok(h);
        cr_expect_eq(store_stats("dst0").appends, before, "%s: its mail was sent again",
                     way_names[way]);
        cr_expect_eq(count("dst0", NULL, C_TEXT), 1, "%s", way_names[way]);
        cr_expect_eq(count("dst0", "Projects/Work", C_TEXT), 1, "%s", way_names[way]);
        ASSERT_COUNT(h, unchanged, 3);
        ASSERT_COUNT(h, gone, 0);
        haul_run_quiet(h, way_names[way]);
        (void)put_text("src0", "Projects/Work", D_TEXT, 0, 4000);
        haul_run_ok(h);
        cr_expect_eq(count("dst0", "Projects/Work", D_TEXT), 1, "%s", way_names[way]);
        haul_close(h);
    }
}

/* Another folder under a name that is free now, and the old one under another: nothing is mixed up. */
Test(coexist, names_that_change_places)
{
    struct haul *h = begin(WAY_QRESYNC);
    cr_assert(mh_mem_rename("src0", "Work", "Work-2025"));
    cr_assert(mh_mem_make_folder("src0", "Work"));
    (void)put_text("src0", "Work", D_TEXT, 0, 4000);
    haul_run_ok(h);
    cr_expect_eq(count("dst0", NULL, C_TEXT), 1);
    cr_expect_eq(count("dst0", "Work", D_TEXT), 1);
    cr_expect_eq(count("dst0", "Work", C_TEXT) + count("dst0", "Work-2025", C_TEXT), 1);
    haul_run_quiet(h, "names that change places");
    haul_close(h);
}

/* --- only what has failed ------------------------------------------------------------------------------------- */

Test(coexist, retry_failed_takes_only_these)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    configure_faultless("src0");
    mh_mem_options_init(&o);
    o.refuse_octets = strlen(B_TEXT);
    o.refuse_code = MH_EITEM;
    o.refuse_reason = "refused";
    configure("dst0", &o);
    cr_assert(mh_mem_make_folder("src0", "Work"));
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    (void)put_text("src0", "INBOX", B_TEXT, 0, 2000);
    (void)put_text("src0", "Work", C_TEXT, 0, 3000);
    (void)haul_run(h);
    ASSERT_COUNT(h, copied, 2);
    ASSERT_COUNT(h, failed, 1);
    configure_faultless("dst0");
    (void)put_text("src0", "INBOX", D_TEXT, 0, 4000);
    h->cfg.retry_failed = true;
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 1);
    ASSERT_COUNT(h, failed, 0);
    cr_expect_eq(count("dst0", "INBOX", B_TEXT), 1);
    cr_expect_eq(count("dst0", "INBOX", D_TEXT), 0, "new mail was not asked for");
    h->cfg.retry_failed = false;
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 1);
    cr_expect_eq(count("dst0", "INBOX", D_TEXT), 1);
    haul_run_quiet(h, "a run for all");
    haul_close(h);
}

/* --- mail that keeps arriving -------------------------------------------------------------------------------- */

static unsigned late;

/* Whenever the engine opens a connection, the source has one message more. */
static void one_more(bool is_source)
{
    char text[64];
    (void)is_source;
    (void)snprintf(text, sizeof text, "Subject: late %u\r\n\r\nx\r\n", ++late);
    (void)put_text("src0", "INBOX", text, 0, 5000 + late);
}

Test(coexist, mail_that_arrives_during_a_pass_comes_with_it_or_with_the_next)
{
    for (int way = 0; way < WAYS; way++) {
        struct haul *h = begin((enum way)way);
        late = 0;
        far.on_open = one_more;
        for (int pass = 0; pass < 4; pass++)
            haul_run_ok(h);
        far.on_open = NULL;
        cr_assert_gt(late, 4);
        haul_run_ok(h); /* the late sweep */
        cr_expect_eq(store_messages("dst0"), 3u + late, "%s", way_names[way]);
        haul_run_quiet(h, way_names[way]);
        haul_close(h);
    }
}

/* --- how often the target is told ------------------------------------------------------------------ */

static unsigned n_stores;

static int counting_store(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                          uint8_t flags, const char *keywords, struct mh_err *err)
{
    n_stores++;
    for (size_t i = 1; i < n; i++)
        cr_expect_lt(uids[i - 1], uids[i]);
    return mh_mem.store_flags(s, uids, n, add, flags, keywords, err);
}

/* What the messages had before does not matter to the target. */
Test(coexist, one_store_for_all_that_change_alike)
{
    enum { N = 24 };
    struct haul *h = open_one();
    char word[16];
    far_connector.store_flags = counting_store;
    configure_way(WAY_QRESYNC);
    for (unsigned i = 0; i < N; i++) {
        uint64_t uid = put_number("src0", "INBOX", i, 300);
        (void)snprintf(word, sizeof word, "had%u", i % 5);
        cr_assert(mh_mem_set_flags("src0", "INBOX", uid, i % 3 ? MH_SEEN : MH_FLAGGED, word));
    }
    haul_run_ok(h);
    n_stores = 0;
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(word, sizeof word, "had%u", i % 5);
        uint8_t had = i % 3 ? MH_SEEN : MH_FLAGGED;
        cr_assert(mh_mem_set_flags("src0", "INBOX", 1 + i, had | MH_ANSWERED, word));
    }
    haul_run_ok(h);
    ASSERT_COUNT(h, updated, N);
    cr_expect_eq(n_stores, 1, "%u stores", n_stores);
    ASSERT_SAME("INBOX");
    n_stores = 0; /* and one more for what goes */
    for (unsigned i = 0; i < N; i++)
        cr_assert(mh_mem_set_flags("src0", "INBOX", 1 + i, MH_SEEN | MH_ANSWERED, "all"));
    haul_run_ok(h);
    ASSERT_SAME("INBOX");
    cr_expect_leq(n_stores, 12, "%u stores", n_stores); /* Seen or not, and a word each */
    haul_run_quiet(h, "flags");
    haul_close(h);
}

/* --- a side that has new numbers ------------------------------------------------------------------------- */

/* Found by content; whose each is, and what has happened to its flags, is known by the other side's UIDs. */
static void renumber(bool at_source)
{
    struct haul *h = open_one();
    h->cfg.quarantines = true;
    configure_way(WAY_QRESYNC);
    (void)put_text("dst0", "INBOX", C_TEXT, 0, 3000); /* was there before */
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    (void)put_text("src0", "INBOX", B_TEXT, MH_FLAGGED, 2000);
    (void)put_text("src0", "INBOX", C_TEXT, 0, 3000);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 2);
    ASSERT_COUNT(h, adopted, 1);
    /* Away and back: at the target it lies where it lay, under two rows, of which one is over. */
    cr_assert(mh_mem_make_folder("src0", "Old"));
    cr_assert(mh_mem_move("src0", "INBOX", uid_of("src0", "INBOX", B_TEXT), "Old"));
    cr_assert(mh_mem_move("src0", "Old", uid_of("src0", "Old", B_TEXT), "INBOX"));
    haul_run_ok(h);
    ASSERT_COUNT(h, moved, 1);
    /* A flag that its user has set at the target is theirs, and one that both have set. */
    cr_assert(mh_mem_set_flags("src0", "INBOX", uid_of("src0", "INBOX", A_TEXT), MH_SEEN, "todo"));
    cr_assert(mh_mem_set_flags("src0", "INBOX", uid_of("src0", "INBOX", B_TEXT), 0, ""));
    cr_assert(mh_mem_set_flags("dst0", "INBOX", uid_of("dst0", "INBOX", A_TEXT), MH_ANSWERED, ""));
    cr_assert(mh_mem_renumber(at_source ? "src0" : "dst0", "INBOX"));
    uint64_t before = store_stats("dst0").appends;
    haul_run_ok(h);
    cr_expect_eq(store_stats("dst0").appends, before, "something was sent again");
    ASSERT_COUNT(h, adopted, 3);
    ASSERT_COUNT(h, updated, 2);
    cr_expect_eq(flags_of("dst0", "INBOX", A_TEXT), MH_SEEN | MH_ANSWERED);
    cr_expect_eq(flags_of("dst0", "INBOX", B_TEXT), 0);
    haul_run_quiet(h, "renumbered");
    /* What mailhaul has put there it may put away, what was there before it may not. */
    cr_assert(mh_mem_expunge("src0", "INBOX", uid_of("src0", "INBOX", B_TEXT)));
    cr_assert(mh_mem_expunge("src0", "INBOX", uid_of("src0", "INBOX", C_TEXT)));
    haul_run_ok(h);
    ASSERT_COUNT(h, removed, 1);
    ASSERT_COUNT(h, gone, 1);
    cr_expect_eq(count_quarantined("dst0", B_TEXT), 1);
    cr_expect_eq(count("dst0", "INBOX", C_TEXT), 1);
    haul_run_quiet(h, "deleted");
    haul_close(h);
}

Test(coexist, a_renumbered_source_keeps_whose_it_is)
{
    renumber(true);
}

Test(coexist, a_renumbered_target_keeps_whose_it_is)
{
    renumber(false);
}
