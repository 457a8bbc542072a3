/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The switches, distances and faults of mem:, and what is done behind it, which other tests rely on. */
#include <pthread.h>
#include <stdatomic.h>

#include "connectors/mem/mem.h"
#include "rig.h"

static const struct mh_folder inbox = {.path = (char *)(uintptr_t) "INBOX",
                                       .native = (char *)(uintptr_t) "INBOX"};

struct
try {
    struct mh_mem_options o; /* everything on, no faults, unless the test changes some */
    struct mh_endpoint ep;
    struct mh_session *s;
    struct verdicts vs;
};

static void try_init(struct try *t)
{
    *t = (struct try){.s = NULL};
    mh_mem_options_init(&t->o);
}

static void try_open(struct rig *r, struct try *t)
{
    ASSERT_OK(mh_mem_configure("faults", &t->o, &err));
    mh_endpoint_init(&t->ep);
    t->ep.path = mh_strdup("faults");
    ASSERT_OK(mh_mem.open(&t->ep, &r->env, false, &t->s, &err));
    verdicts_init(&t->vs, 100);
    ASSERT_OK(mh_mem.append_open(t->s, &inbox, &t->vs.sink, &err));
}

static void try_close(struct try *t)
{
    mh_mem.close(t->s);
    verdicts_free(&t->vs);
    mh_endpoint_done(&t->ep);
    mh_mem_drop("faults");
}

static int send_one(struct rig *r, struct try *t, size_t len, uint64_t cookie, struct mh_err *err)
{
    struct mail m = {.bytes = bytes_message(len, (unsigned)cookie)};
    int rc = send_mail(r, &mh_mem, t->s, &m, cookie, 1000, err);
    bytes_free(&m.bytes);
    return rc;
}

/* Open, with N messages of LEN octets stored; their verdicts are the first N. */
static void try_stock(struct rig *r, struct try *t, size_t n, size_t len)
{
    try_init(t);
    try_open(r, t);
    for (uint64_t i = 0; i < n; i++)
        ASSERT_OK(send_one(r, t, len, i, &err));
    ASSERT_OK(mh_mem.append_flush(t->s, &err));
}

static void body_refuse(struct rig *r)
{
    struct mh_mem_stats stats;
    struct try t;
    try_init(&t);
    t.o.refuse_octets = 777;
    t.o.refuse_reason = "bad";
    try_open(r, &t);
    for (uint64_t i = 0; i < 5; i++)
        ASSERT_OK(send_one(r, &t, i == 3 ? 777 : 500, i, &err));
    cr_expect_eq(t.vs.n, 0u, "the batch is open");
    ASSERT_OK(mh_mem.append_cut(t.s, &err));
    for (size_t i = 0; i < 5; i++)
        cr_expect_eq(t.vs.v[i].code, MH_ESPLIT);
    mh_mem_stats("faults", &stats);
    cr_expect_eq(stats.messages, 0u, "a refused batch stores nothing");
    ASSERT_OK(send_one(r, &t, 777, 10, &err));
    ASSERT_OK(mh_mem.append_flush(t.s, &err));
    cr_expect_eq(t.vs.v[10].code, MH_EITEM);
    cr_expect_str_eq(t.vs.v[10].reason, "bad");
    ASSERT_OK(send_one(r, &t, 500, 11, &err));
    ASSERT_OK(mh_mem.append_flush(t.s, &err));
    cr_expect_eq(t.vs.v[11].code, 0);
    mh_mem_stats("faults", &stats);
    cr_expect_eq(stats.messages, 1u);
    cr_expect_eq(stats.appends, 7u);
    cr_expect_eq(stats.batches, 3u);
    cr_expect_eq(stats.largest_batch, 5u);
    try_close(&t);
}

Test(mem, refuses_a_message_and_its_batch)
{
    rig_run(body_refuse, NULL);
}

static void body_nth(struct rig *r)
{
    struct try t;
    try_init(&t);
    t.o.multiappend = false;
    t.o.uidplus = false;
    t.o.refuse_nth = 2;
    t.o.refuse_code = MH_ELATER;
    try_open(r, &t);
    for (uint64_t i = 0; i < 3; i++) {
        ASSERT_OK(send_one(r, &t, 500, i, &err));
        cr_expect_eq(t.vs.v[i].code, i == 1 ? MH_ELATER : 0);
        cr_expect_eq(t.vs.v[i].uid, 0u, "no UIDPLUS");
    }
    try_close(&t);
}

Test(mem, refuses_the_nth_message)
{
    rig_run(body_nth, NULL);
}

static void body_lost(struct rig *r)
{
    struct mh_mem_stats stats;
    struct mh_folders l = MH_FOLDERS_INIT;
    struct mh_err why;
    struct try t;
    try_init(&t);
    t.o.lose_answer_nth = 2;
    try_open(r, &t);
    ASSERT_OK(send_one(r, &t, 500, 0, &err));
    ASSERT_OK(send_one(r, &t, 500, 1, &err));
    mh_err_reset(&why);
    cr_expect_eq(mh_mem.append_cut(t.s, &why), MH_ERETRY);
    cr_expect_eq(t.vs.v[0].code, MH_ERETRY);
    cr_expect_eq(t.vs.v[1].code, MH_ERETRY);
    mh_mem_stats("faults", &stats);
    cr_expect_eq(stats.messages, 2u, "stored, but nobody was told");
    cr_expect_eq(mh_mem.list(t.s, MH_LIST_STATUS, &l, &why), MH_ERETRY, "the session is dead");
    mh_folders_done(&l);
    try_close(&t);
}

Test(mem, loses_an_answer)
{
    rig_run(body_lost, NULL);
}

static void body_drop_append(struct rig *r)
{
    struct mh_mem_stats stats;
    struct mh_err why;
    struct try t;
    try_init(&t);
    t.o.drop_append_at = 1700;
    try_open(r, &t);
    ASSERT_OK(send_one(r, &t, 1000, 0, &err));
    mh_err_reset(&why);
    cr_expect_eq(send_one(r, &t, 1000, 1, &why), MH_ERETRY);
    cr_expect_eq(t.vs.n, 2u);
    cr_expect_eq(t.vs.v[1].code, MH_ERETRY);
    mh_mem_stats("faults", &stats);
    cr_expect_eq(stats.messages, 0u);
    try_close(&t);
}

Test(mem, drops_the_connection_in_an_append)
{
    rig_run(body_drop_append, NULL);
}

static void body_drop_fetch(struct rig *r)
{
    struct try t;
    try_stock(r, &t, 3, 1000);
    t.o.drop_fetch_at = 1500;
    ASSERT_OK(mh_mem_configure("faults", &t.o, &err));
    struct mh_scan scan;
    struct collector got;
    scan_folder(&mh_mem, t.s, &inbox, &scan);
    const struct mh_item **items = item_list(&scan);
    collector_init(&got);
    struct mh_err why;
    mh_err_reset(&why);
    cr_expect_eq(mh_mem.fetch(t.s, items, 3, &got.sink, &why), MH_ERETRY);
    cr_expect_eq(got.n, 2u);
    cr_expect(got.v[0].ended);
    cr_expect_not(got.v[1].ended);
    cr_expect_eq(got.v[1].bytes.len, 499u, "%zu octets came before the break", got.v[1].bytes.len);
    struct mh_scan dead;
    ASSERT_OK(mh_scan_init(&dead, &err));
    cr_expect_eq(mh_mem.scan(t.s, 1, &dead, &why), MH_ERETRY);
    cr_expect_eq(mh_mem.scan_uids(t.s, &t.vs.v[0].uid, 1, &dead, &why), MH_ERETRY);
    cr_expect_eq(mh_mem.scan_uids(t.s, NULL, 0, &dead, &why), MH_ERETRY, "dead is dead");
    cr_expect_eq(dead.n, 0u);
    mh_scan_done(&dead);
    collector_free(&got);
    mh_scan_done(&scan);
    free(items);
    try_close(&t);
}

Test(mem, drops_the_connection_in_a_fetch)
{
    rig_run(body_drop_fetch, NULL);
}

static void body_limits(struct rig *r)
{
    struct mh_quota q;
    struct mh_err why;
    struct try t;
    try_init(&t);
    t.o.multiappend = false;
    t.o.append_limit = 1000;
    t.o.quota_bytes = 2500;
    try_open(r, &t);
    cr_expect_eq(mh_mem.caps(t.s)->append_limit, 1000u);
    mh_err_reset(&why);
    cr_expect_eq(send_one(r, &t, 1001, 9, &why), MH_EITEM, "refused before it is sent");
    cr_expect_str_eq(why.reason, "too-big");
    cr_expect_eq(t.vs.n, 0u);
    for (uint64_t i = 0; i < 3; i++)
        ASSERT_OK(send_one(r, &t, 1000, i, &err));
    cr_expect_eq(t.vs.v[1].code, 0);
    cr_expect_eq(t.vs.v[2].code, MH_ELATER);
    cr_expect_str_eq(t.vs.v[2].reason, "quota");
    ASSERT_OK(mh_mem.quota(t.s, &q, &err));
    cr_expect_eq(q.used_bytes, 2000u);
    cr_expect_eq(q.limit_bytes, 2500u);
    try_close(&t);
}

Test(mem, limits)
{
    rig_run(body_limits, NULL);
}

/* How many of the first N messages that were sent are listed under their UIDs. */
static size_t count_listed(struct try *t, size_t n)
{
    uint64_t uids[100];
    struct mh_scan scan;
    for (size_t i = 0; i < n; i++)
        uids[i] = t->vs.v[i].uid;
    ASSERT_OK(mh_scan_init(&scan, &err));
    ASSERT_OK(mh_mem.scan_uids(t->s, uids, n, &scan, &err));
    size_t listed = scan.n;
    mh_scan_done(&scan);
    return listed;
}

static void body_behind(struct rig *r)
{
    struct mh_opened before;
    struct mh_opened after;
    struct try t;
    try_stock(r, &t, 4, 100);
    ASSERT_OK(mh_mem.select(t.s, &inbox, false, &before, &err));
    cr_expect_eq(count_listed(&t, 4), 4u);
    cr_expect(mh_mem_expunge("faults", "INBOX", t.vs.v[1].uid));
    cr_expect_not(mh_mem_expunge("faults", "INBOX", t.vs.v[1].uid));
    cr_expect_not(mh_mem_expunge("faults", "None", 1));
    cr_expect_eq(count_listed(&t, 4), 3u);
    ASSERT_OK(mh_mem.select(t.s, &inbox, false, &after, &err));
    cr_expect_eq(after.messages, 3u);
    cr_expect_gt(after.highestmodseq, before.highestmodseq);
    cr_expect_eq(after.uidvalidity, before.uidvalidity);
    cr_expect(mh_mem_renumber("faults", "INBOX"));
    struct mh_scan scan;
    struct mh_err why;
    ASSERT_OK(mh_scan_init(&scan, &err));
    cr_expect_eq(mh_mem.scan_uids(t.s, &t.vs.v[0].uid, 1, &scan, &why), MH_ERETRY,
                 "old UIDs name nothing");
    mh_scan_done(&scan);
    mh_mem.close(t.s);
    ASSERT_OK(mh_mem.open(&t.ep, &r->env, false, &t.s, &err));
    ASSERT_OK(mh_mem.select(t.s, &inbox, false, &after, &err));
    cr_expect_neq(after.uidvalidity, before.uidvalidity);
    cr_expect_eq(after.messages, 3u);
    scan_folder(&mh_mem, t.s, &inbox, &scan);
    cr_expect_eq(scan.n, 3u);
    cr_expect_eq(scan.items[0].uid, 1u);
    mh_scan_done(&scan);
    try_close(&t);
}

Test(mem, changes_behind_our_back)
{
    rig_run(body_behind, NULL);
}

/* --- what others do --------------------------------------------------------------------------- */

static const struct mh_date noon = {1700000000, 60, true};

static uint64_t deliver(const char *path, const char *text, uint8_t flags, const char *keywords)
{
    uint64_t uid = 0;
    cr_assert(mh_mem_deliver("faults", path, text, strlen(text), flags, keywords, &noon, &uid));
    return uid;
}

struct walk {
    struct mh_buf text;
    size_t left; /* stops behind so many; 0: never */
};

static bool walk_message(void *ctx, const struct mh_mem_message *m)
{
    struct walk *w = ctx;
    mh_buf_addf(&w->text, "%s/%llu %u [%s] %lld%+d %.*s\n", m->path, (unsigned long long)m->uid,
                m->flags, m->keywords, (long long)m->date.unix_s, m->date.zone_min, (int)m->len,
                (const char *)m->bytes);
    return w->left == 0 || --w->left > 0;
}

static bool walk_folder(void *ctx, const struct mh_mem_folder *f)
{
    struct walk *w = ctx;
    mh_buf_addf(&w->text, "%s %llu\n", f->path, (unsigned long long)f->messages);
    return w->left == 0 || --w->left > 0;
}

static void expect_mail(const char *want)
{
    struct walk w = {MH_BUF_INIT, 0};
    cr_expect(mh_mem_each("faults", walk_message, &w));
    cr_expect_str_eq(mh_buf_str(&w.text), want);
    mh_buf_done(&w.text);
}

static void expect_folders(const char *want)
{
    struct walk w = {MH_BUF_INIT, 0};
    cr_expect(mh_mem_each_folder("faults", walk_folder, &w));
    cr_expect_str_eq(mh_buf_str(&w.text), want);
    mh_buf_done(&w.text);
}

static void body_others(struct rig *r)
{
    struct try t;
    try_stock(r, &t, 0, 0);
    uint64_t a = deliver("INBOX", "one", MH_SEEN, NULL);
    uint64_t b = deliver("INBOX", "two", 0, "work  Late work $Forwarded");
    cr_expect(mh_mem_make_folder("faults", "A/B"));
    cr_expect(mh_mem_set_flags("faults", "INBOX", a, MH_FLAGGED, "z y"));
    cr_expect(mh_mem_move("faults", "INBOX", b, "A/B"));
    expect_mail("INBOX/1 4 [y z] 1700000000+60 one\n"
                "A/B/1 0 [$Forwarded Late work] 1700000000+60 two\n");
    cr_expect(mh_mem_rename("faults", "A", "C/D"));
    expect_folders("INBOX 1\nC/D 0\nC/D/B 1\nC 0\n");
    cr_expect(mh_mem_expunge("faults", "C/D/B", 1));
    cr_expect(mh_mem_remove_folder("faults", "C"));
    expect_folders("INBOX 1\nC/D 0\nC/D/B 0\n");
    struct walk w = {MH_BUF_INIT, 2}; /* who has seen enough says so */
    cr_expect_not(mh_mem_each_folder("faults", walk_folder, &w));
    cr_expect_str_eq(mh_buf_str(&w.text), "INBOX 1\nC/D 0\n");
    w.left = 1;
    cr_expect_not(mh_mem_each("faults", walk_message, &w));
    mh_buf_done(&w.text);
    try_close(&t);
}

Test(mem, what_others_do_is_there)
{
    rig_run(body_others, NULL);
}

static void body_impossible(struct rig *r)
{
    struct walk w = {MH_BUF_INIT, 0};
    struct try t;
    try_stock(r, &t, 1, 10);
    cr_assert(mh_mem_make_folder("faults", "A/B"));
    cr_expect_not(mh_mem_make_folder("faults", "A/B"), "it is there");
    cr_expect_not(mh_mem_make_folder("faults", ""));
    cr_expect_not(mh_mem_deliver("faults", "None", "x", 1, 0, NULL, NULL, NULL));
    cr_expect_not(mh_mem_set_flags("faults", "INBOX", 2, 0, ""));
    cr_expect_not(mh_mem_set_flags("faults", "None", 1, 0, ""));
    cr_expect_not(mh_mem_move("faults", "INBOX", 2, "A"));
    cr_expect_not(mh_mem_move("faults", "INBOX", 1, "None"));
    cr_expect_not(mh_mem_move("faults", "None", 1, "A"));
    cr_expect_not(mh_mem_rename("faults", "None", "New"));
    cr_expect_not(mh_mem_rename("faults", "A", "A/B"));
    cr_expect_not(mh_mem_rename("faults", "A", "A/C"));
    cr_expect_not(mh_mem_rename("faults", "A", "A"));
    cr_expect_not(mh_mem_rename("faults", "A", ""));
    cr_expect_not(mh_mem_rename("faults", "INBOX", "New"));
    cr_expect_not(mh_mem_remove_folder("faults", "INBOX"));
    cr_expect_not(mh_mem_remove_folder("faults", "None"));
    cr_expect_not(mh_mem_deliver("none", "INBOX", "x", 1, 0, NULL, NULL, NULL));
    cr_expect_not(mh_mem_make_folder("none", "A"));
    cr_expect_not(mh_mem_remove_folder("none", "A"));
    cr_expect_not(mh_mem_rename("none", "A", "B"));
    cr_expect_not(mh_mem_move("none", "INBOX", 1, "A"));
    cr_expect_not(mh_mem_set_flags("none", "INBOX", 1, 0, ""));
    cr_expect_not(mh_mem_expunge("none", "INBOX", 1));
    cr_expect_not(mh_mem_renumber("none", "INBOX"));
    cr_expect_not(mh_mem_each("none", walk_message, &w));
    cr_expect_not(mh_mem_each_folder("none", walk_folder, &w));
    expect_folders("INBOX 1\nA 0\nA/B 0\n");
    mh_buf_done(&w.text);
    try_close(&t);
}

Test(mem, what_cannot_be_done_is_refused_and_changes_nothing)
{
    rig_run(body_impossible, NULL);
}

/* Each change of flags is one modseq; one that changes nothing is none. */
static void body_modseqs(struct rig *r)
{
    struct mh_opened a;
    struct mh_opened b;
    struct try t;
    try_stock(r, &t, 1, 10);
    uint64_t uid = t.vs.v[0].uid;
    ASSERT_OK(mh_mem.select(t.s, &inbox, true, &a, &err));
    cr_assert(mh_mem_set_flags("faults", "INBOX", uid, MH_SEEN, "one"));
    ASSERT_OK(mh_mem.select(t.s, &inbox, true, &b, &err));
    cr_expect_eq(b.highestmodseq, a.highestmodseq + 1);
    cr_assert(mh_mem_set_flags("faults", "INBOX", uid, MH_SEEN, "one"));
    ASSERT_OK(mh_mem.store_flags(t.s, &uid, 1, true, MH_SEEN, "one", &err));
    ASSERT_OK(mh_mem.select(t.s, &inbox, true, &a, &err));
    cr_expect_eq(a.highestmodseq, b.highestmodseq);
    struct mh_folders l = MH_FOLDERS_INIT;
    ASSERT_OK(mh_mem.list(t.s, MH_LIST_STATUS, &l, &err));
    cr_expect_eq(l.v[0].highestmodseq, a.highestmodseq, "STATUS says what SELECT says");
    mh_folders_done(&l);
    try_close(&t);
}

Test(mem, modseqs)
{
    rig_run(body_modseqs, NULL);
}

/* A folder that is removed takes those along who have it open; one made anew is another one. */
static void body_removed(struct rig *r)
{
    struct made a;
    struct made b;
    struct mh_opened first;
    struct mh_opened second;
    struct mh_scan scan;
    struct mh_err why;
    struct try t;
    try_stock(r, &t, 0, 0);
    make_folder(&mh_mem, t.s, "A", MH_ROLE_NONE, &a);
    make_folder(&mh_mem, t.s, "B", MH_ROLE_NONE, &b);
    ASSERT_OK(mh_mem.select(t.s, &a.folder, true, &first, &err));
    ASSERT_OK(mh_mem.append_open(t.s, &b.folder, &t.vs.sink, &err));
    ASSERT_OK(send_one(r, &t, 100, 0, &err));
    cr_assert(mh_mem_rename("faults", "B", "C"));
    ASSERT_OK(mh_mem.append_flush(t.s, &err));
    cr_expect_eq(t.vs.v[0].code, MH_EITEM, "there is no folder of that name");
    cr_expect_str_eq(t.vs.v[0].reason, "no-folder");
    for (uint64_t i = 1; i < 3; i++)
        ASSERT_OK(send_one(r, &t, 100, i, &err));
    cr_assert(mh_mem_remove_folder("faults", "C"));
    ASSERT_OK(mh_mem.append_flush(t.s, &err));
    cr_expect_eq(t.vs.v[1].code, MH_ESPLIT);
    cr_expect_eq(t.vs.v[2].code, MH_ESPLIT);
    cr_assert(mh_mem_remove_folder("faults", "A"));
    cr_assert(mh_mem_make_folder("faults", "A"));
    ASSERT_OK(mh_scan_init(&scan, &err));
    mh_err_reset(&why);
    cr_expect_eq(mh_mem.scan(t.s, 1, &scan, &why), MH_ERETRY);
    cr_expect_eq(mh_mem.select(t.s, &a.folder, true, &second, &why), MH_ERETRY, "cut off");
    mh_scan_done(&scan);
    mh_mem.close(t.s);
    ASSERT_OK(mh_mem.open(&t.ep, &r->env, false, &t.s, &err));
    ASSERT_OK(mh_mem.select(t.s, &a.folder, true, &second, &err));
    cr_expect_neq(first.uidvalidity, second.uidvalidity);
    made_free(&a);
    made_free(&b);
    try_close(&t);
}

Test(mem, a_removed_folder_is_gone_for_those_who_have_it_open)
{
    rig_run(body_removed, NULL);
}

/* --- switches --------------------------------------------------------------------------------- */

static int ignore_move(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    (void)uid, (void)err;
    *(uint64_t *)ctx = new_uid;
    return 0;
}

static void body_off(struct rig *r)
{
    struct mh_opened opened;
    struct mh_changes changes = {.gone_by = MH_GONE_NONE};
    struct mh_since since = {.uidvalidity = 1000, .uidnext = 1, .highestmodseq = 1};
    struct mh_err why;
    char *path = NULL;
    char *native = NULL;
    bool changed = false;
    uint64_t uid = 1;
    struct try t;
    try_init(&t);
    t.o.condstore = t.o.move = t.o.rename = t.o.watch = t.o.object_id = t.o.can_compress = false;
    r->env.compress = true;
    try_open(r, &t);
    const struct mh_caps *caps = mh_mem.caps(t.s);
    cr_expect_not(caps->condstore || caps->qresync || caps->move || caps->rename);
    cr_expect_not(caps->watch || caps->watch_all || caps->object_id);
    cr_expect_not(caps->can_compress || caps->compressed);
    mh_err_reset(&why);
    cr_expect_eq(mh_mem.select_changes(t.s, &inbox, &since, &opened, &changes, &why), MH_ENOSUP);
    cr_expect_eq(opened.uidvalidity, 1000u, "it is open");
    cr_expect_eq(opened.highestmodseq, 0u);
    cr_expect_eq(mh_mem.move(t.s, &uid, 1, &inbox, ignore_move, &uid, &why), MH_ENOSUP);
    cr_expect_eq(mh_mem.rename(t.s, &inbox, "New", &path, &native, &why), MH_ENOSUP);
    cr_expect_eq(mh_mem.watch(t.s, MH_NEVER, &changed, &why), MH_ENOSUP);
    mh_changes_done(&changes);
    try_close(&t);
}

Test(mem, switched_off_is_said_in_caps_and_answers)
{
    rig_run(body_off, NULL);
}

static void body_on(struct rig *r)
{
    struct mh_opened opened;
    struct mh_err why;
    uint64_t new_uid = 99;
    struct try t;
    try_stock(r, &t, 2, 50);
    const struct mh_caps *caps = mh_mem.caps(t.s);
    cr_expect(caps->condstore && caps->qresync && caps->move && caps->rename);
    cr_expect(caps->watch && caps->watch_all && caps->object_id);
    cr_expect(caps->can_compress && !caps->compressed);
    cr_expect_eq(caps->round_trip_ms, 0);
    mh_mem.close(t.s);
    t.o.uidplus = t.o.qresync = t.o.watch_all = false;
    t.o.round_trip_ms = 40;
    ASSERT_OK(mh_mem_configure("faults", &t.o, &err));
    r->env.compress = true;
    ASSERT_OK(mh_mem.open(&t.ep, &r->env, false, &t.s, &err));
    caps = mh_mem.caps(t.s);
    cr_expect(caps->condstore && !caps->qresync && caps->watch && !caps->watch_all);
    cr_expect(caps->can_compress && caps->compressed);
    cr_expect_eq(caps->round_trip_ms, 40);
    cr_assert(mh_mem_make_folder("faults", "To"));
    struct mh_folder to = {.path = (char *)(uintptr_t) "To", .native = (char *)(uintptr_t) "To"};
    ASSERT_OK(mh_mem.select(t.s, &inbox, false, &opened, &err));
    mh_err_reset(&why);
    uint64_t *uids = &t.vs.v[0].uid;
    cr_expect_eq(mh_mem.move(t.s, uids, 1, &to, ignore_move, &new_uid, &why), MH_EFOLDER);
    cr_expect_eq(new_uid, 99u, "open for reading only: nothing was moved");
    ASSERT_OK(mh_mem.select(t.s, &inbox, true, &opened, &err));
    ASSERT_OK(mh_mem.move(t.s, uids, 1, &to, ignore_move, &new_uid, &err));
    cr_expect_eq(new_uid, 0u, "without UIDPLUS nobody is told");
    struct mh_mem_stats stats;
    mh_mem_stats("faults", &stats);
    cr_expect_eq(stats.moved, 1u);
    cr_expect_eq(stats.opened, 1u);
    cr_expect_eq(stats.compressed, 1u);
    cr_expect_eq(stats.sessions, 1u);
    try_close(&t);
}

Test(mem, switched_on_is_said_in_caps)
{
    rig_run_virtual(body_on, NULL);
}

/* --- what has vanished ------------------------------------------------------------------------ */

/* The form that each server has it in, and what it costs to ask. */
static void body_vanished(struct rig *r)
{
    static const struct {
        const char *name;
        bool qresync;
        uint64_t vanished_max, round_trips, gone, present;
    } rows[] = {
        {"QRESYNC", true, 0, 1, 3, 0},
        {"QRESYNC, log of exactly so many", true, 4, 1, 3, 0},
        {"QRESYNC, forgotten", true, 2, 1, 4, 0}, /* and one from before */
        {"CONDSTORE", false, 0, 3, 0, 6},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
        struct mh_changes changes = {.gone_by = MH_GONE_NONE};
        struct mh_opened o;
        struct mh_mem_stats before;
        struct mh_mem_stats after;
        struct try t;
        try_init(&t);
        t.o.qresync = rows[i].qresync;
        t.o.vanished_max = rows[i].vanished_max;
        try_open(r, &t);
        for (uint64_t k = 0; k < 10; k++)
            ASSERT_OK(send_one(r, &t, 50, k, &err));
        ASSERT_OK(mh_mem.append_flush(t.s, &err));
        cr_assert(mh_mem_expunge("faults", "INBOX", 9));
        ASSERT_OK(mh_mem.select(t.s, &inbox, false, &o, &err));
        for (uint64_t uid = 2; uid < 8; uid += 2)
            cr_assert(mh_mem_expunge("faults", "INBOX", uid));
        struct mh_since since = {o.uidvalidity, o.uidnext, o.messages, o.highestmodseq, true};
        mh_mem_stats("faults", &before);
        ASSERT_OK(mh_mem.select_changes(t.s, &inbox, &since, &o, &changes, &err));
        mh_mem_stats("faults", &after);
        cr_expect_eq(after.round_trips - before.round_trips, rows[i].round_trips, "%s: %llu",
                     rows[i].name, (unsigned long long)(after.round_trips - before.round_trips));
        cr_expect_eq(changes.gone_by, rows[i].gone ? MH_GONE_LISTED : MH_GONE_BY_PRESENT);
        cr_expect_eq(mh_uids_count(&changes.gone), rows[i].gone, "%s", rows[i].name);
        cr_expect_eq(mh_uids_count(&changes.present), rows[i].present, "%s", rows[i].name);
        cr_expect_eq(changes.scan.n, 0u);
        mh_changes_done(&changes);
        since = (struct mh_since){o.uidvalidity, o.uidnext, o.messages, o.highestmodseq, true};
        ASSERT_OK(mh_mem.select_changes(t.s, &inbox, &since, &o, &changes, &err));
        mh_mem_stats("faults", &before);
        cr_expect_eq(before.round_trips - after.round_trips, rows[i].qresync ? 1u : 2u,
                     "%s: nothing to ask for", rows[i].name);
        cr_expect_eq(changes.gone_by, MH_GONE_NONE, "%s", rows[i].name);
        mh_changes_done(&changes);
        try_close(&t);
    }
}

Test(mem, what_has_vanished_is_told_in_the_servers_form)
{
    rig_run(body_vanished, NULL);
}

/* --- watching --------------------------------------------------------------------------------- */

struct watching {
    struct mh_session *s;
    int64_t until_ms, woken_ms;
    int code;
    bool changed, was_called;
};

static void watch_task(void *arg)
{
    struct watching *w = arg;
    struct mh_err err;
    w->code = mh_mem.watch(w->s, w->until_ms, &w->changed, &err);
    w->woken_ms = mh_now_ms();
    w->was_called = true;
}

static bool watch_now(struct try *t)
{
    bool changed = false;
    ASSERT_OK(mh_mem.watch(t->s, mh_now_ms(), &changed, &err));
    return changed;
}

static bool do_deliver(void)
{
    return mh_mem_deliver("faults", "INBOX", "x", 1, 0, NULL, NULL, NULL);
}
static bool do_flags(void)
{
    return mh_mem_set_flags("faults", "INBOX", 1, MH_FLAGGED, "");
}
static bool do_expunge(void)
{
    return mh_mem_expunge("faults", "INBOX", 2);
}
static bool do_renumber(void)
{
    return mh_mem_renumber("faults", "INBOX");
}
static bool do_move_out(void)
{
    return mh_mem_move("faults", "INBOX", 3, "A");
}
static bool do_move_in(void)
{
    return mh_mem_move("faults", "A", 1, "INBOX");
}
static bool do_deliver_else(void)
{
    return mh_mem_deliver("faults", "A", "x", 1, 0, NULL, NULL, NULL);
}
static bool do_make(void)
{
    return mh_mem_make_folder("faults", "New");
}
static bool do_rename(void)
{
    return mh_mem_rename("faults", "New", "Newer");
}
static bool do_remove(void)
{
    return mh_mem_remove_folder("faults", "Newer");
}

static const struct {
    const char *name;
    bool (*act)(void);
    bool in_inbox;
} acts[] = {
    {"delivery", do_deliver, true},       {"flags", do_flags, true},
    {"expunge", do_expunge, true},        {"move out", do_move_out, true},
    {"move in", do_move_in, true},        {"delivery elsewhere", do_deliver_else, false},
    {"new folder", do_make, false},       {"renamed folder", do_rename, false},
    {"removed folder", do_remove, false}, {"renumbered", do_renumber, true},
};

/* Each change is told once: to one who waits, and by the next call to one who did not. */
static void body_watch(struct rig *r)
{
    for (int all = 0; all < 2; all++) {
        struct try t;
        try_stock(r, &t, 5, 10);
        mh_mem.close(t.s);
        cr_assert(mh_mem_make_folder("faults", "A"));
        t.o.watch_all = all;
        ASSERT_OK(mh_mem_configure("faults", &t.o, &err));
        ASSERT_OK(mh_mem.open(&t.ep, &r->env, false, &t.s, &err));
        cr_expect_not(watch_now(&t), "the first call begins the watch");
        for (size_t i = 0; i < MH_ARRAY_LEN(acts); i++) {
            bool heard = all || acts[i].in_inbox;
            struct watching w = {.s = t.s, .until_ms = mh_now_ms() + 5000};
            struct mh_task *task = NULL;
            int64_t start = mh_now_ms();
            ASSERT_OK(mh_task_spawn(r->sched, "watch", watch_task, &w, &task, &err));
            cr_assert_eq(mh_sleep_until(start + 1000), 0);
            cr_assert(acts[i].act(), "%s", acts[i].name);
            mh_task_join(task);
            cr_expect_eq(w.code, 0);
            cr_expect_eq(w.changed, heard, "%s, all %d", acts[i].name, all);
            cr_expect_eq(w.woken_ms - start, heard ? 1000 : 5000, "%s, all %d", acts[i].name, all);
            cr_expect_not(watch_now(&t), "%s is told twice", acts[i].name);
        }
        cr_assert(do_deliver() && do_deliver_else());
        cr_expect(watch_now(&t), "what came between two calls is told by the next");
        cr_expect_not(watch_now(&t));
        cr_assert(do_deliver_else());
        cr_expect_eq(watch_now(&t), all);
        try_close(&t);
    }
}

Test(mem, watching)
{
    rig_run_virtual(body_watch, NULL);
}

/* What another session does is heard as well, half a round trip later; cancelling ends the wait. */
static void body_watch_sessions(struct rig *r)
{
    struct mh_session *other = NULL;
    struct mh_task *task = NULL;
    struct mh_opened opened;
    struct try t;
    try_stock(r, &t, 1, 10);
    ASSERT_OK(mh_mem.open(&t.ep, &r->env, false, &other, &err));
    struct watching w = {.s = other, .until_ms = MH_NEVER};
    ASSERT_OK(mh_task_spawn(r->sched, "watch", watch_task, &w, &task, &err));
    cr_assert_eq(mh_sleep_until(mh_now_ms() + 1000), 0);
    t.o.round_trip_ms = 40;
    ASSERT_OK(mh_mem_configure("faults", &t.o, &err));
    ASSERT_OK(mh_mem.select(t.s, &inbox, true, &opened, &err));
    int64_t start = mh_now_ms();
    cr_expect_not(w.was_called);
    ASSERT_OK(mh_mem.store_flags(t.s, &t.vs.v[0].uid, 1, true, MH_FLAGGED, "", &err));
    cr_expect_eq(mh_now_ms(), start + 40);
    mh_task_join(task);
    cr_expect(w.changed);
    cr_expect_eq(w.woken_ms, start + 60);

    w = (struct watching){.s = other, .until_ms = MH_NEVER};
    ASSERT_OK(mh_task_spawn(r->sched, "watch", watch_task, &w, &task, &err));
    cr_assert_eq(mh_sleep_until(mh_now_ms() + 1000), 0);
    mh_task_cancel(task);
    mh_task_join(task);
    cr_expect_eq(w.code, MH_ECANCEL);
    cr_expect_not(w.changed);
    mh_mem.close(other);
    try_close(&t);
}

Test(mem, watching_other_sessions)
{
    rig_run_virtual(body_watch_sessions, NULL);
}

/* --- watching from another thread --- */

enum { POSTINGS = 300 };

struct far_watch {
    struct rig *r;
    struct mh_endpoint ep;
    _Atomic unsigned heard; /* messages that are in the store when the watch has told of a change */
    bool failed;
};

/* Watches until everything has come, and looks each time. */
static void far_watch_task(void *arg)
{
    struct far_watch *w = arg;
    struct mh_session *s = NULL;
    struct mh_err err;
    int code = mh_mem.open(&w->ep, &w->r->env, false, &s, &err);
    bool changed = false;
    if (code == 0)
        code = mh_mem.watch(s, mh_now_ms(), &changed, &err);
    while (code == 0 && atomic_load(&w->heard) < POSTINGS) {
        struct mh_mem_stats stats;
        mh_mem_stats("faults", &stats);
        atomic_store(&w->heard, (unsigned)stats.messages);
        if (stats.messages < POSTINGS)
            code = mh_mem.watch(s, mh_now_ms() + 60000, &changed, &err);
        if (code == 0 && stats.messages < POSTINGS && !changed)
            break; /* a change was missed */
    }
    w->failed = code != 0 || atomic_load(&w->heard) < POSTINGS;
    mh_mem.close(s);
}

static void *far_watch_main(void *arg)
{
    struct far_watch *w = arg;
    struct mh_sched *sched = NULL;
    struct mh_err err;
    w->failed = true;
    if (mh_sched_new(NULL, &sched, &err) != 0)
        return NULL;
    if (mh_task_spawn(sched, "watch", far_watch_task, w, NULL, &err) == 0)
        mh_sched_run(sched);
    mh_sched_free(sched);
    return NULL;
}

static void body_watch_threads(struct rig *r)
{
    enum { WATCHERS = 3 };
    struct far_watch w[WATCHERS];
    pthread_t threads[WATCHERS];
    struct try t;
    try_stock(r, &t, 0, 0);
    for (size_t i = 0; i < WATCHERS; i++) {
        w[i] = (struct far_watch){.r = r};
        mh_endpoint_init(&w[i].ep);
        w[i].ep.path = mh_strdup("faults");
        cr_assert_eq(pthread_create(&threads[i], NULL, far_watch_main, &w[i]), 0);
    }
    for (unsigned i = 0; i < POSTINGS; i++)
        cr_assert(do_deliver());
    for (size_t i = 0; i < WATCHERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_expect_not(w[i].failed, "watcher %zu heard of %u messages", i, atomic_load(&w[i].heard));
        mh_endpoint_done(&w[i].ep);
    }
    try_close(&t);
}

Test(mem, watching_from_other_threads, .timeout = 100)
{
    rig_run(body_watch_threads, NULL);
}

/* --- how far away it is ----------------------------------------------------------------------- */

/* What a store that is 40 ms away takes for each thing, and what one that is near does not. */
static void body_round_trips(struct rig *r)
{
    struct mh_opened opened;
    struct mh_scan scan;
    struct mh_folders l = MH_FOLDERS_INIT;
    struct made m;
    struct collector got;
    struct try t;
    try_stock(r, &t, 3, 100);
    int64_t start = mh_now_ms();
    mh_mem.close(t.s);
    t.o.round_trip_ms = 40;
    ASSERT_OK(mh_mem_configure("faults", &t.o, &err));
    cr_expect_eq(mh_now_ms(), start, "near by nothing takes time");
    ASSERT_OK(mh_mem.open(&t.ep, &r->env, false, &t.s, &err));
    cr_expect_eq(mh_now_ms() - start, 4 * 40);
    ASSERT_OK(mh_mem.list(t.s, MH_LIST_STATUS, &l, &err));
    cr_expect_eq(mh_now_ms() - start, 5 * 40);
    scan_folder(&mh_mem, t.s, &inbox, &scan);
    cr_expect_eq(mh_now_ms() - start, 7 * 40);
    const struct mh_item **items = item_list(&scan);
    collector_init(&got);
    ASSERT_OK(mh_mem.fetch(t.s, items, 3, &got.sink, &err));
    cr_expect_eq(mh_now_ms() - start, 8 * 40, "one for all of them");
    make_folder(&mh_mem, t.s, "A/B", MH_ROLE_NONE, &m);
    ASSERT_OK(mh_mem.select(t.s, &m.folder, true, &opened, &err));
    ASSERT_OK(mh_mem.append_open(t.s, &inbox, &t.vs.sink, &err));
    cr_expect_eq(mh_now_ms() - start, 10 * 40);
    for (uint64_t i = 10; i < 20; i++)
        ASSERT_OK(send_one(r, &t, 100, i, &err));
    ASSERT_OK(mh_mem.append_cut(t.s, &err));
    cr_expect_eq(mh_now_ms() - start, 10 * 40, "sending waits for nobody");
    ASSERT_OK(mh_mem.append_flush(t.s, &err));
    ASSERT_OK(mh_mem.append_flush(t.s, &err)); /* nothing is due any more */
    cr_expect_eq(mh_now_ms() - start, 11 * 40);
    struct mh_mem_stats stats;
    mh_mem_stats("faults", &stats);
    cr_expect_eq(stats.round_trips, 11u);
    collector_free(&got);
    free(items);
    mh_scan_done(&scan);
    mh_folders_done(&l);
    made_free(&m);
    try_close(&t);
}

Test(mem, round_trips)
{
    rig_run_virtual(body_round_trips, NULL);
}

static void body_sync_literal(struct rig *r)
{
    struct try t;
    try_init(&t);
    t.o.append_sync_literal = true;
    t.o.round_trip_ms = 40;
    try_open(r, &t);
    int64_t start = mh_now_ms();
    for (uint64_t i = 0; i < 10; i++)
        ASSERT_OK(send_one(r, &t, 100, i, &err));
    cr_expect_eq(mh_now_ms() - start, 10 * 40);
    try_close(&t);
}

Test(mem, a_synchronising_literal_costs_a_round_trip)
{
    rig_run_virtual(body_sync_literal, NULL);
}

struct reader {
    struct try *t;
    struct rig *r;
    const struct mh_item **items;
    size_t n;
    struct mh_task *task;
};

static void read_task(void *arg)
{
    struct reader *reader = arg;
    struct mh_session *s = NULL;
    struct mh_opened opened;
    struct collector got;
    collector_init(&got);
    ASSERT_OK(mh_mem.open(&reader->t->ep, &reader->r->env, false, &s, &err));
    ASSERT_OK(mh_mem.select(s, &inbox, false, &opened, &err));
    ASSERT_OK(mh_mem.fetch(s, reader->items, reader->n, &got.sink, &err));
    cr_expect_eq(got.n, reader->n);
    collector_free(&got);
    mh_mem.close(s);
}

/* 50 messages of 6,000 octets and one of 200,000 at 100,000 octets a second: 5 s; two sessions share the wire. */
static void body_narrow(struct rig *r)
{
    static const struct {
        const char *name;
        bool compress;
        int64_t took_ms;
    } rows[] = {{"not compressed", false, 5000}, {"compressed", true, 2000}};
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
        struct try t;
        struct mh_scan scan;
        try_init(&t);
        t.o.wire_octets_per_s = 100000;
        t.o.compress_gain_percent = 150;
        r->env.compress = rows[i].compress;
        try_open(r, &t);
        int64_t start = mh_now_ms();
        for (uint64_t k = 0; k < 50; k++)
            ASSERT_OK(send_one(r, &t, 6000, k, &err));
        ASSERT_OK(send_one(r, &t, 200000, 50, &err));
        ASSERT_OK(mh_mem.append_flush(t.s, &err));
        cr_expect_eq(mh_now_ms() - start, rows[i].took_ms, "%s: up in %lld ms", rows[i].name,
                     (long long)(mh_now_ms() - start));
        t.o.wire_octets_per_s = 0;
        ASSERT_OK(mh_mem_configure("faults", &t.o, &err));
        scan_folder(&mh_mem, t.s, &inbox, &scan);
        const struct mh_item **items = item_list(&scan);
        t.o.wire_octets_per_s = 100000;
        ASSERT_OK(mh_mem_configure("faults", &t.o, &err));
        struct reader readers[2] = {{&t, r, items, 25, NULL}, {&t, r, items + 25, 26, NULL}};
        start = mh_now_ms();
        for (size_t k = 0; k < 2; k++)
            ASSERT_OK(
                mh_task_spawn(r->sched, "read", read_task, &readers[k], &readers[k].task, &err));
        for (size_t k = 0; k < 2; k++)
            mh_task_join(readers[k].task);
        cr_expect_eq(mh_now_ms() - start, rows[i].took_ms, "%s: down in %lld ms", rows[i].name,
                     (long long)(mh_now_ms() - start));
        free(items);
        mh_scan_done(&scan);
        try_close(&t);
    }
}

Test(mem, a_narrow_wire_is_shared_and_compression_widens_it)
{
    rig_run_virtual(body_narrow, NULL);
}

struct stopped {
    struct try *t;
    const struct mh_item **items;
    int code;
};

static void stopped_task(void *arg)
{
    struct stopped *job = arg;
    struct collector got;
    struct mh_err err;
    collector_init(&got);
    job->code = mh_mem.fetch(job->t->s, job->items, 3, &got.sink, &err);
    cr_expect_eq(got.n, 1u);
    cr_expect_not(got.v[0].ended);
    collector_free(&got);
}

/* However narrow the wire: who is stopped waits no longer. */
static void body_stopped(struct rig *r)
{
    struct mh_task *task = NULL;
    struct mh_scan scan;
    struct try t;
    try_stock(r, &t, 3, 1000);
    scan_folder(&mh_mem, t.s, &inbox, &scan);
    const struct mh_item **items = item_list(&scan);
    t.o.wire_octets_per_s = 1;
    ASSERT_OK(mh_mem_configure("faults", &t.o, &err));
    struct stopped job = {&t, items, 0};
    int64_t start = mh_now_ms();
    ASSERT_OK(mh_task_spawn(r->sched, "fetch", stopped_task, &job, &task, &err));
    cr_assert_eq(mh_sleep_until(start + 500), 0);
    mh_task_cancel(task);
    mh_task_join(task);
    cr_expect_eq(job.code, MH_ECANCEL);
    cr_expect_eq(mh_now_ms(), start + 500);
    free(items);
    mh_scan_done(&scan);
    try_close(&t);
}

Test(mem, who_is_stopped_waits_no_longer)
{
    rig_run_virtual(body_stopped, NULL);
}
