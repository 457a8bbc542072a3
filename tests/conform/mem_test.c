/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The switches and faults of mem:, which other tests rely on. */
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
    cr_expect_eq(mh_mem.list(t.s, true, &l, &why), MH_ERETRY, "the session is dead");
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
    cr_expect_eq(count_listed(&t, 4), 0u, "old UIDs name nothing");
    ASSERT_OK(mh_mem.select(t.s, &inbox, false, &after, &err));
    cr_expect_neq(after.uidvalidity, before.uidvalidity);
    cr_expect_eq(after.messages, 3u);
    struct mh_scan scan;
    scan_folder(&mh_mem, t.s, &inbox, &scan);
    cr_expect_null(mh_scan_find(&scan, t.vs.v[0].uid));
    cr_expect_eq(scan.n, 3u);
    mh_scan_done(&scan);
    try_close(&t);
}

Test(mem, changes_behind_our_back)
{
    rig_run(body_behind, NULL);
}
