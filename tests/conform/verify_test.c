/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verify against what is done behind its back: each change is named, in every mode; all numbers add up; and a verify that was
 * broken off anywhere ends as one that was not.
 */
#include <criterion/criterion.h>
#include <jansson.h>

#include "commands/report.h"
#include "haul.h"

static struct haul *open_one(void)
{
    return haul_open(1, 1, false, 32u << 20);
}

/* --- modes ----------------------------------------------------------------------------------------- */

static const struct mode {
    const char *name;
    struct mh_verify_options options;
} modes[] = {
    {"stored", {0}},
    {"deep", {.deep = true}},
    {"a sample of everything", {.sample_ppm = 1000000}},
    {"deep, a sample of everything", {.deep = true, .sample_ppm = 1000000}},
};

/* --- the books -------------------------------------------------------------------------------------- */

static uint64_t count_items(const struct mh_verify_mailbox *m, const char *state)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->n_items; i++)
        n += strcmp(m->items[i].state, state) == 0;
    return n;
}

static void check_counts(const struct mh_verify_counts *c, const char *what)
{
    cr_expect_eq(
        c->found, c->exact + c->same + c->differs + c->missing + c->skipped + c->listed,
        "%s: found %llu = exact %llu + same %llu + differs %llu + missing %llu + skipped %llu "
        "+ listed %llu",
        what, (unsigned long long)c->found, (unsigned long long)c->exact,
        (unsigned long long)c->same, (unsigned long long)c->differs, (unsigned long long)c->missing,
        (unsigned long long)c->skipped, (unsigned long long)c->listed);
    cr_expect_leq(c->exact + c->same + c->differs, c->found, "%s: checked", what);
}

#define VERIFY_FIELD(name)                                                                         \
    {                                                                                              \
#name, offsetof(struct mh_verify_counts, name)                                             \
    }

static const struct count_field verify_fields[] = {
    VERIFY_FIELD(found),   VERIFY_FIELD(exact),     VERIFY_FIELD(same),   VERIFY_FIELD(differs),
    VERIFY_FIELD(missing), VERIFY_FIELD(skipped),   VERIFY_FIELD(listed), VERIFY_FIELD(later),
    VERIFY_FIELD(pending), VERIFY_FIELD(unsettled), VERIFY_FIELD(extra),  VERIFY_FIELD(flags),
    VERIFY_FIELD(dates),
};
_Static_assert(MH_ARRAY_LEN(verify_fields) * sizeof(uint64_t) == sizeof(struct mh_verify_counts),
               "a number that nobody adds up");

/* Whole folders that are named in one line count as more. */
static void check_books(const struct mh_verify_result *v, bool by_folder)
{
    struct mh_verify_counts sum = {0};
    for (size_t i = 0; i < v->n_mailboxes; i++) {
        const struct mh_verify_mailbox *m = &v->mailboxes[i];
        const struct mh_verify_counts *c = &m->counts;
        check_counts(c, m->mailbox->id);
        fields_sum(&sum, c, verify_fields, MH_ARRAY_LEN(verify_fields));
        cr_expect_eq(count_items(m, "same"), c->same);
        cr_expect_eq(count_items(m, "differs"), c->differs);
        cr_expect_eq(count_items(m, "extra"), c->extra);
        cr_expect_eq(count_items(m, "flags"), c->flags);
        cr_expect_eq(count_items(m, "date"), c->dates);
        if (by_folder)
            continue;
        cr_expect_eq(count_items(m, "missing"), c->missing);
        cr_expect_eq(count_items(m, "skipped"), c->skipped);
        cr_expect_eq(count_items(m, "folder"), 0u);
    }
    check_counts(&v->counts, "total");
    fields_equal("the mailboxes and the total", &sum, &v->counts, verify_fields,
                 MH_ARRAY_LEN(verify_fields));
}

static struct mh_verify_result verify(struct haul *h, struct mh_verify_options options)
{
    struct mh_verify_result v;
    h->cfg.verify = options;
    memset(&h->progress[0], 0, sizeof h->progress[0]);
    ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
    char line[1024];
    cr_assert_eq(v.mailboxes[0].err.code, 0, "%s",
                 mh_err_line(&v.mailboxes[0].err, line, sizeof line));
    check_books(&v, false);
    return v;
}

static const struct mh_item_result *find(const struct mh_verify_result *v, const char *state,
                                         const char *folder, uint64_t uid)
{
    for (size_t i = 0; i < v->mailboxes[0].n_items; i++) {
        const struct mh_item_result *r = &v->mailboxes[0].items[i];
        if (strcmp(r->state, state) == 0 && strcmp(r->folder, folder) == 0 && r->uid == uid)
            return r;
    }
    return NULL;
}

#define ASSERT_NAMED(v, state, folder, uid, why)                                                   \
    do {                                                                                           \
        const struct mh_item_result *r_ = find(v, state, folder, uid);                             \
        cr_assert(r_ != NULL, "no '%s' for %s UID %llu", state, folder,                            \
                  (unsigned long long)(uid));                                                      \
        cr_expect_str_eq(r_->reason, why, "%s UID %llu", state, (unsigned long long)(uid));        \
    } while (0)

/* --- behind its back --------------------------------------------------------------------------------- */

static void with_message(const char *store, const char *path, uint64_t uid,
                         void (*change)(struct mem_message *m))
{
    struct mem_store *s = store_lock(store);
    struct mem_message *m = mem_message_find(mem_folder_find(s, path), uid);
    cr_assert_not_null(m);
    change(m);
    store_unlock(s);
}

static void change_byte(struct mem_message *m)
{
    m->data[m->len / 2] ^= 1;
}

static void change_flags(struct mem_message *m)
{
    m->flags ^= MH_FLAGGED;
}

static void change_date(struct mem_message *m)
{
    m->date.unix_s += 3600;
}

static void change_byte_and_date(struct mem_message *m)
{
    change_byte(m);
    change_date(m);
}

static void rewrite_line_end(struct mem_message *m)
{
    /* The first CRLF becomes LF. */
    for (size_t i = 0; i + 1 < m->len; i++) {
        if (m->data[i] != '\r' || m->data[i + 1] != '\n')
            continue;
        memmove(m->data + i, m->data + i + 1, m->len - i - 1);
        m->len--;
        return;
    }
}

static void move_away(const char *store, const char *from, uint64_t uid, const char *to,
                      uint64_t *new_uid)
{
    struct mem_store *s = store_lock(store);
    const struct mem_message *m = mem_message_find(mem_folder_find(s, from), uid);
    cr_assert_not_null(m);
    struct bytes b = bytes_of(m->data, m->len);
    char *keywords = strdup(m->keywords);
    int64_t date = m->date.unix_s;
    uint8_t flags = m->flags;
    store_unlock(s);
    cr_assert(mh_mem_expunge(store, from, uid));
    *new_uid = put(store, to, &b, date, flags, keywords);
    free(keywords);
    bytes_free(&b);
}

enum { INBOX_MESSAGES = 100, ARCHIVE_MESSAGES = 40 };

static void fill(void)
{
    put_numbers("src0", "INBOX", 0, INBOX_MESSAGES);
    put_numbers("src0", "Archive", 500, ARCHIVE_MESSAGES);
    put_numbers("src0", "Empty", 0, 0);
}

struct tampered {
    uint64_t doubled, moved;
};

static struct tampered tamper(void)
{
    struct tampered t;
    cr_assert(mh_mem_expunge("dst0", "INBOX", 11));
    with_message("dst0", "INBOX", 22, change_byte);
    with_message("dst0", "INBOX", 33, change_flags);
    with_message("dst0", "INBOX", 44, change_date);
    with_message("dst0", "INBOX", 77, rewrite_line_end);
    t.doubled = put_number("dst0", "INBOX", 54, 300 + (54 * 37) % 3000);
    move_away("dst0", "INBOX", 66, "Archive", &t.moved);
    return t;
}

static void expect_tampered(const struct mh_verify_result *v, const struct tampered *t)
{
    const struct mh_verify_counts *c = &v->counts;
    cr_expect_eq(c->found, (uint64_t)INBOX_MESSAGES + ARCHIVE_MESSAGES);
    cr_expect_eq(c->exact, c->found - 4, "%llu", (unsigned long long)c->exact);
    cr_expect_eq(c->missing, 2u);
    cr_expect_eq(c->differs, 1u);
    cr_expect_eq(c->same, 1u);
    cr_expect_eq(c->extra, 2u);
    cr_expect_eq(c->flags, 1u);
    cr_expect_eq(c->dates, 1u);
    cr_expect_eq(c->skipped + c->listed, 0u);
    ASSERT_NAMED(v, "missing", "INBOX", 11u, "not-at-target");
    ASSERT_NAMED(v, "differs", "INBOX", 22u, "content");
    ASSERT_NAMED(v, "flags", "INBOX", 33u, "differ");
    ASSERT_NAMED(v, "date", "INBOX", 44u, "differs");
    ASSERT_NAMED(v, "same", "INBOX", 77u, "rewritten-by-target");
    ASSERT_NAMED(v, "extra", "INBOX", t->doubled, "only-at-target");
    ASSERT_NAMED(v, "missing", "INBOX", 66u, "not-at-target");
    ASSERT_NAMED(v, "extra", "Archive", t->moved, "only-at-target");
}

Test(verify, names_what_was_done_behind_its_back)
{
    for (size_t k = 0; k < MH_ARRAY_LEN(modes); k++) {
        struct haul *h = open_one();
        fill();
        haul_run_ok(h);
        struct mh_verify_result v = verify(h, modes[k].options);
        cr_expect_eq(v.counts.exact, (uint64_t)INBOX_MESSAGES + ARCHIVE_MESSAGES, "%s",
                     modes[k].name);
        cr_expect_eq(v.mailboxes[0].n_items, 0u, "%s: nothing to name", modes[k].name);
        mh_verify_result_done(&v);
        struct tampered t = tamper();
        v = verify(h, modes[k].options);
        expect_tampered(&v, &t);
        mh_verify_result_done(&v);
        haul_close(h);
    }
}

/* Nothing is known: everything is found by content, and a changed message is one that is missing and one too many. */
Test(verify, without_a_state)
{
    for (size_t k = 0; k < MH_ARRAY_LEN(modes); k++) {
        struct haul *h = open_one();
        fill();
        haul_run_ok(h);
        haul_forget(h);
        struct tampered t = tamper();
        struct mh_verify_result v = verify(h, modes[k].options);
        cr_expect_eq(v.counts.exact, (uint64_t)INBOX_MESSAGES + ARCHIVE_MESSAGES - 4, "%s",
                     modes[k].name);
        cr_expect_eq(v.counts.missing, 3u);
        cr_expect_eq(v.counts.extra, 3u);
        cr_expect_eq(v.counts.same, 1u);
        cr_expect_eq(v.counts.flags, 1u);
        cr_expect_eq(v.counts.dates, 1u);
        ASSERT_NAMED(&v, "missing", "INBOX", 22u, "not-at-target");
        ASSERT_NAMED(&v, "extra", "INBOX", 22u, "only-at-target");
        ASSERT_NAMED(&v, "missing", "INBOX", 11u, "not-at-target");
        ASSERT_NAMED(&v, "extra", "Archive", t.moved, "only-at-target");
        ASSERT_NAMED(&v, "same", "INBOX", 77u, "rewritten-by-target");
        mh_verify_result_done(&v);
        haul_close(h);
    }
}

/* --- what is believed --------------------------------------------------------------------------------------- */

Test(verify, reads_the_source_only_where_it_must)
{
    struct haul *h = open_one();
    fill();
    haul_run_ok(h);
    uint64_t before = store_stats("src0").fetched;
    struct mh_verify_result v = verify(h, modes[0].options);
    cr_assert_eq(store_stats("src0").fetched, before, "nothing has changed");
    mh_verify_result_done(&v);
    with_message("src0", "INBOX", 5,
                 change_byte_and_date);                 /* another message behind the same UID */
    with_message("src0", "INBOX", 8, rewrite_line_end); /* of another size, with its old date */
    (void)put_number("src0", "INBOX", 700, 900);        /* not carried yet */
    v = verify(h, modes[0].options);
    cr_expect_eq(v.counts.missing, 1u);
    ASSERT_NAMED(&v, "same", "INBOX", 8u, "rewritten-by-target");
    ASSERT_NAMED(&v, "differs", "INBOX", 5u, "content");
    ASSERT_NAMED(&v, "missing", "INBOX", (uint64_t)INBOX_MESSAGES + 1, "not-at-target");
    cr_expect_leq(store_stats("src0").fetched - before, 5u, "two of them twice");
    mh_verify_result_done(&v);
    before = store_stats("src0").fetched;
    v = verify(h, modes[1].options);
    cr_expect_geq(store_stats("src0").fetched - before,
                  (uint64_t)INBOX_MESSAGES + ARCHIVE_MESSAGES);
    mh_verify_result_done(&v);
    haul_close(h);
}

/* The one thing that only --deep sees: content that changed under a listing that did not. */
Test(verify, deep_believes_no_digest)
{
    struct haul *h = open_one();
    fill();
    haul_run_ok(h);
    with_message("src0", "INBOX", 5, change_byte);
    struct mh_verify_result v = verify(h, modes[0].options);
    cr_expect_eq(v.counts.differs, 0u);
    mh_verify_result_done(&v);
    v = verify(h, modes[1].options);
    cr_expect_eq(v.counts.differs, 1u);
    ASSERT_NAMED(&v, "differs", "INBOX", 5u, "content");
    mh_verify_result_done(&v);
    haul_close(h);
}

static struct bytes letter(const char *head)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "%sDate: Sun, 22 Nov 2026 10:00:00 +0100\r\nFrom: a@b\r\nMessage-ID: <1@a>\r\n"
                     "\r\nbody\r\n",
                     head);
    return bytes_of(text, (size_t)n);
}

/* What another tool carried with a header more is the same; what we carried and somebody has put a header into is not. */
Test(verify, headers_of_another_tool)
{
    for (size_t k = 0; k < 2; k++) {
        for (int ours = 0; ours < 2; ours++) {
            struct haul *h = open_one();
            struct bytes a = letter("");
            struct bytes b = letter("X-TUID: 0123456789ab\r\n");
            (void)put("src0", "INBOX", &a, 1000000000, 0, "");
            if (!ours)
                (void)put("dst0", "INBOX", &b, 1000000000, 0, "");
            haul_run_ok(h);
            ASSERT_COUNT(h, adopted_fingerprint, !ours);
            if (ours) {
                struct mem_store *s = store_lock("dst0");
                struct mem_message *m = mem_message_find(mem_folder_find(s, "INBOX"), 1);
                struct bytes copy = bytes_of(b.data, b.len);
                free(m->data);
                m->data = copy.data;
                m->len = copy.len;
                store_unlock(s);
            }
            struct mh_verify_result v = verify(h, modes[k].options);
            cr_expect_eq(v.counts.same, (uint64_t)!ours);
            cr_expect_eq(v.counts.differs, (uint64_t)ours);
            if (ours)
                ASSERT_NAMED(&v, "differs", "INBOX", 1u, "headers");
            else
                ASSERT_NAMED(&v, "same", "INBOX", 1u, "other-headers");
            mh_verify_result_done(&v);
            bytes_free(&a);
            bytes_free(&b);
            haul_close(h);
        }
    }
}

/* Somebody has replaced what we carried by one with other headers: it does not stand for it. */
Test(verify, a_replaced_message_is_missing)
{
    for (size_t k = 0; k < MH_ARRAY_LEN(modes); k++) {
        struct haul *h = open_one();
        struct bytes a = letter("");
        struct bytes b = letter("X-Note: another\r\n");
        (void)put("src0", "INBOX", &a, 1000000000, 0, "");
        haul_run_ok(h);
        cr_assert(mh_mem_expunge("dst0", "INBOX", 1));
        uint64_t uid = put("dst0", "INBOX", &b, 1000000000, 0, "");
        struct mh_verify_result v = verify(h, modes[k].options);
        cr_expect_eq(v.counts.missing, 1u, "%s", modes[k].name);
        cr_expect_eq(v.counts.extra, 1u, "%s", modes[k].name);
        ASSERT_NAMED(&v, "extra", "INBOX", uid, "only-at-target");
        mh_verify_result_done(&v);
        haul_forget(h); /* nobody knows who carried it */
        v = verify(h, modes[k].options);
        ASSERT_NAMED(&v, "same", "INBOX", 1u, "other-headers");
        mh_verify_result_done(&v);
        bytes_free(&a);
        bytes_free(&b);
        haul_close(h);
    }
}

/* What the run left out with a reason is named with it and is not missing. */
Test(verify, what_the_ledger_has_skipped)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.append_limit = 2000;
    configure("dst0", &o);
    struct bytes big = bytes_message(3000, 1);
    struct bytes small = bytes_message(1000, 2);
    uint64_t uid = put("src0", "INBOX", &big, 1000000000, 0, "");
    (void)put("src0", "INBOX", &small, 1000000000, 0, "");
    haul_run_ok(h);
    ASSERT_COUNT(h, skipped, 1);
    struct mh_verify_result v = verify(h, modes[0].options);
    cr_expect_eq(v.counts.skipped, 1u);
    cr_expect_eq(v.counts.missing, 0u);
    cr_expect_eq(v.counts.exact, 1u);
    ASSERT_NAMED(&v, "skipped", "INBOX", uid, "too-big");
    mh_verify_result_done(&v);
    bytes_free(&big);
    bytes_free(&small);
    haul_close(h);
}

/* "Archive" is not carried. */
static int map_but_archive(void *ctx, const struct mh_map_question *q, struct mh_engine_map *out,
                           struct mh_err *err)
{
    int code = haul_map(ctx, q, out, err);
    for (size_t i = 0; code == 0 && i < out->n; i++) {
        if (strcmp(out->v[i].source->path, "Archive") != 0)
            continue;
        mh_free(out->v[i].target_path);
        out->v[i].target_path = NULL;
        out->v[i].why = "skip-rule";
    }
    return code;
}

Test(verify, whole_folders_are_in_the_account)
{
    struct haul *h = open_one();
    struct mh_verify_result v;
    fill();
    h->cfg.map = map_but_archive;
    haul_run_ok(h);
    put_numbers("src0", "New", 0, 7);
    ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
    check_books(&v, true);
    cr_expect_eq(v.counts.found, (uint64_t)INBOX_MESSAGES + ARCHIVE_MESSAGES + 7);
    cr_expect_eq(v.counts.exact, (uint64_t)INBOX_MESSAGES);
    cr_expect_eq(v.counts.skipped, (uint64_t)ARCHIVE_MESSAGES);
    cr_expect_eq(v.counts.missing, 7u);
    ASSERT_NAMED(&v, "skipped", "Archive", 0u, "skip-rule");
    ASSERT_NAMED(&v, "folder", "New", 0u, "missing-at-target");
    mh_verify_result_done(&v);
    haul_close(h);
}

/* --- samples -------------------------------------------------------------------------------------------------- */

enum { MANY = 2500 };

static void fill_many(void)
{
    for (unsigned i = 0; i < MANY; i++)
        (void)put_number("src0", "INBOX", i, 200 + i % 100);
    put_numbers("src0", "Archive", 5000, 300);
    put_numbers("src0", "Sent", 6000, 30);
}

/* Of a tenth the content, of all the listing: what is missing, extra, re-flagged and re-dated is named in any case. */
Test(verify, a_sample_lists_everything)
{
    struct haul *h = open_one();
    const struct mh_verify_options tenth = {.sample_ppm = 100000};
    fill_many();
    haul_run_ok(h);
    uint64_t before = store_stats("dst0").fetched;
    struct mh_verify_result v = verify(h, tenth);
    uint64_t checked = v.counts.exact;
    cr_expect_eq(v.counts.found, (uint64_t)MANY + 330);
    cr_expect_eq(v.counts.listed, v.counts.found - checked);
    cr_expect(checked > 180 && checked < 400, "%llu of 2830", (unsigned long long)checked);
    cr_expect_eq(store_stats("dst0").fetched - before, checked, "no other content is read");
    mh_verify_result_done(&v);
    uint64_t sampled = 0;
    for (uint64_t uid = 1; uid <= MANY; uid++)
        with_message("dst0", "INBOX", uid, change_byte);
    v = verify(h, tenth);
    sampled = v.counts.differs;
    cr_expect(sampled > 150 && sampled < 360);
    cr_expect_eq(v.counts.exact + v.counts.differs, checked, "the same choice again");
    mh_verify_result_done(&v);
    for (uint64_t uid = 100; uid < 160; uid++) { /* some in the sample, most not */
        cr_assert(mh_mem_expunge("dst0", "INBOX", uid));
        with_message("dst0", "INBOX", uid + 500, change_flags);
        with_message("dst0", "INBOX", uid + 1000, change_date);
    }
    v = verify(h, tenth);
    cr_expect_eq(v.counts.missing, 60u);
    cr_expect_eq(v.counts.flags, 60u);
    cr_expect_eq(v.counts.dates, 60u);
    cr_expect_eq(v.counts.extra, 0u);
    mh_verify_result_done(&v);
    haul_close(h);
}

/* Without a state too: those that are not in the sample are found by their listing. */
Test(verify, a_sample_without_a_state)
{
    struct haul *h = open_one();
    const struct mh_verify_options tenth = {.sample_ppm = 100000};
    fill_many();
    haul_run_ok(h);
    haul_forget(h);
    struct mh_verify_result v = verify(h, tenth);
    cr_expect_eq(v.counts.missing + v.counts.extra + v.counts.differs, 0u);
    cr_expect_gt(v.counts.listed, 2000u);
    mh_verify_result_done(&v);
    cr_assert(mh_mem_expunge("dst0", "INBOX", 9));
    with_message("dst0", "INBOX", 10, rewrite_line_end);
    with_message("dst0", "INBOX", 10, change_date);
    v = verify(h, tenth);
    cr_expect_eq(v.counts.missing, 1u);
    ASSERT_NAMED(&v, "missing", "INBOX", 9u, "not-at-target");
    ASSERT_NAMED(&v, "same", "INBOX", 10u,
                 "rewritten-by-target"); /* by content, in the sample or not */
    mh_verify_result_done(&v);
    haul_close(h);
}

/* --- broken off -------------------------------------------------------------------------------------------------- */

static struct mh_connector stopping;
static struct {
    struct haul *h;
    unsigned fetches, stop_at;
    enum mh_stop level;
} stopper;

static int stopping_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                          struct mh_sink *sink, struct mh_err *err)
{
    if (++stopper.fetches == stopper.stop_at)
        atomic_store(&stopper.h->stop, (int)stopper.level);
    return far_fetch(s, items, n, sink, err);
}

static void let_stop(struct haul *h)
{
    stopping = far_connector;
    stopping.fetch = stopping_fetch;
    h->connectors[0] = &stopping;
    stopper.h = h;
    stopper.stop_at = 0;
}

/* A verify that is stopped at the Nth fetch; true when it was. */
static bool verify_stopped(struct haul *h, struct mh_verify_options options, unsigned n,
                           enum mh_stop level, struct mh_verify_result *v)
{
    struct mh_err err;
    stopper.fetches = 0;
    stopper.stop_at = n;
    stopper.level = level;
    h->cfg.verify = options;
    memset(&h->progress[0], 0, sizeof h->progress[0]);
    cr_assert_eq(mh_engine_verify(&h->cfg, v, &err), 0);
    check_books(v, false);
    atomic_store(&h->stop, 0);
    stopper.stop_at = 0;
    bool stopped = v->mailboxes[0].err.code != 0;
    if (stopped)
        cr_expect_eq(v->mailboxes[0].err.code, MH_ECANCEL);
    return stopped;
}

static void expect_equal_reports(const struct mh_verify_result *a, const struct mh_verify_result *b,
                                 const char *what, unsigned n)
{
    const struct mh_verify_mailbox *x = &a->mailboxes[0];
    const struct mh_verify_mailbox *y = &b->mailboxes[0];
    cr_expect_arr_eq(&a->counts, &b->counts, sizeof a->counts, "%s, stopped at %u: the numbers",
                     what, n);
    cr_assert_eq(x->n_items, y->n_items, "%s, stopped at %u: %zu items instead of %zu", what, n,
                 y->n_items, x->n_items);
    for (size_t i = 0; i < x->n_items; i++) {
        cr_expect_eq(x->items[i].uid, y->items[i].uid);
        cr_expect_str_eq(x->items[i].folder, y->items[i].folder);
        cr_expect_str_eq(x->items[i].state, y->items[i].state);
        cr_expect_str_eq(x->items[i].reason, y->items[i].reason);
        cr_expect_str_eq(x->items[i].text, y->items[i].text);
    }
}

/* Some of everything, in all chunks. */
static void tamper_many(void)
{
    for (uint64_t uid = 7; uid < MANY; uid += 400) {
        with_message("dst0", "INBOX", uid, change_byte);
        with_message("dst0", "INBOX", uid + 1, change_flags);
        with_message("dst0", "INBOX", uid + 2, change_date);
        cr_assert(mh_mem_expunge("dst0", "INBOX", uid + 3));
        with_message("dst0", "INBOX", uid + 4, rewrite_line_end);
        (void)put_number("dst0", "Archive", (unsigned)uid, 250);
    }
    cr_assert(mh_mem_expunge("dst0", "Archive", 3));
    with_message("dst0", "Sent", 5, change_byte);
    (void)put_number("src0", "Sent", 9000, 333);
}

/* A run has carried what is to be verified, and a verify can be stopped. */
static struct haul *open_carried(void)
{
    struct haul *h = open_one();
    let_stop(h);
    fill_many();
    haul_run_ok(h);
    return h;
}

static struct haul *open_tampered(void)
{
    struct haul *h = open_carried();
    tamper_many();
    return h;
}

Test(verify, broken_off_anywhere_ends_as_if_it_had_not)
{
    for (size_t k = 0; k < 2; k++) {
        for (enum mh_stop level = MH_STOP_SOON; level <= MH_STOP_NOW; level++) {
            struct haul *h = open_tampered();
            struct mh_verify_result whole;
            struct mh_verify_result v;
            cr_assert_not(verify_stopped(h, modes[k].options, 0, level, &whole));
            cr_expect_gt(whole.counts.differs, 3u);
            unsigned fetches = stopper.fetches;
            unsigned resumed = 0;
            cr_assert_gt(fetches, 5u);
            for (unsigned n = 1; n <= fetches; n++) {
                bool stopped = verify_stopped(h, modes[k].options, n, level, &v);
                cr_expect(stopped || n + 8 > fetches, "stopped at %u of %u", n, fetches);
                mh_verify_result_done(&v);
                cr_assert_not(verify_stopped(h, modes[k].options, 0, level, &v));
                expect_equal_reports(&whole, &v, modes[k].name, n);
                resumed += v.mailboxes[0].resumed_at > 0;
                cr_expect(stopped || v.mailboxes[0].resumed_at == 0,
                          "%s, level %d, %u of %u: ended in good order, not begun anew",
                          modes[k].name, (int)level, n, fetches);
                mh_verify_result_done(&v);
            }
            cr_expect_gt(resumed, fetches / 3, "%u of %u", resumed, fetches);
            mh_verify_result_done(&whole);
            haul_close(h);
        }
    }
}

/* Broken off again and again it still comes to its end. */
Test(verify, broken_off_again_and_again)
{
    struct haul *h = open_tampered();
    struct mh_verify_result whole;
    struct mh_verify_result v;
    cr_assert_not(verify_stopped(h, modes[1].options, 0, MH_STOP_SOON, &whole));
    unsigned tries = 0;
    size_t resumed_at = 0;
    while (verify_stopped(h, modes[1].options, 3, MH_STOP_SOON, &v)) {
        cr_expect_geq(v.mailboxes[0].resumed_at, resumed_at, "it goes forward");
        resumed_at = v.mailboxes[0].resumed_at;
        mh_verify_result_done(&v);
        cr_assert_lt(++tries, 50u);
        haul_close_state(h); /* another process */
        haul_open_state(h);
    }
    cr_expect_geq(tries, 3u);
    expect_equal_reports(&whole, &v, "again and again", tries);
    mh_verify_result_done(&v);
    mh_verify_result_done(&whole);
    haul_close(h);
}

/* A report of two days would be none: what has changed what is compared makes it begin anew. */
Test(verify, what_makes_it_begin_anew)
{
    static const struct {
        const char *name;
        struct mh_verify_options options;
        bool run;
        bool resumes;
    } cases[] = {
        {"the same again", {0}, false, true},
        {"--fresh", {.fresh = true}, false, false},
        {"another mode", {.deep = true}, false, false},
        {"a sample", {.sample_ppm = 500000}, false, false},
        {"a run in between", {0}, true, false},
        {"a state that is only read", {.state_is_read_only = true}, false, false},
    };
    for (size_t k = 0; k < MH_ARRAY_LEN(cases); k++) {
        struct haul *h = open_tampered();
        struct mh_verify_result v;
        cr_assert(verify_stopped(h, modes[0].options, 3, MH_STOP_SOON, &v));
        mh_verify_result_done(&v);
        if (cases[k].run)
            haul_run_ok(h);
        cr_assert_not(verify_stopped(h, cases[k].options, 0, MH_STOP_SOON, &v));
        cr_expect_eq(v.mailboxes[0].resumed_at > 0, cases[k].resumes, "%s", cases[k].name);
        mh_verify_result_done(&v);
        haul_close(h);
    }
}

/* What was compared is gone before it goes on: no number may be of two days. */
Test(verify, a_folder_that_changed_meanwhile_is_compared_anew)
{
    struct haul *h = open_carried();
    struct mh_verify_result v;
    cr_assert(
        verify_stopped(h, modes[0].options, 2, MH_STOP_SOON, &v)); /* behind the second chunk */
    mh_verify_result_done(&v);
    cr_assert(mh_mem_expunge("dst0", "INBOX", 5));
    cr_assert(mh_mem_expunge("src0", "INBOX", 6));
    cr_assert_not(verify_stopped(h, modes[0].options, 0, MH_STOP_SOON, &v));
    cr_expect_gt(v.mailboxes[0].resumed_at, 0u);
    cr_expect_eq(v.counts.found, (uint64_t)MANY + 330 - 1);
    cr_expect_eq(v.counts.missing, 1u);
    cr_expect_eq(v.counts.exact, v.counts.found - 1);
    ASSERT_NAMED(&v, "missing", "INBOX", 5u, "not-at-target");
    mh_verify_result_done(&v);
    haul_close(h);
}

/* --- reports ---------------------------------------------------------------------------------------------- */

static uint64_t number_of(const json_t *root, const char *key)
{
    const json_t *j = json_object_get(root, key);
    cr_assert(json_is_integer(j), "%s", key);
    return (uint64_t)json_integer_value(j);
}

static void check_json(const struct mh_verify_result *v, const char *mode, double sample)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    cr_assert_not_null(out);
    report_verify_json(out, v);
    (void)fclose(out);
    json_t *j = json_loads(text, 0, NULL);
    cr_assert_not_null(j, "%s", text);
    cr_expect_eq(number_of(j, "found"), number_of(j, "exact") + number_of(j, "same") +
                                            number_of(j, "differs") + number_of(j, "missing") +
                                            number_of(j, "skipped") + number_of(j, "listed"));
    cr_expect_eq(number_of(j, "checked"),
                 number_of(j, "exact") + number_of(j, "same") + number_of(j, "differs"));
    cr_expect_leq(number_of(j, "checked"), number_of(j, "found"));
    cr_expect_eq(number_of(j, "extra"), v->counts.extra);
    cr_expect_eq(number_of(j, "flags"), v->counts.flags);
    cr_expect_eq(number_of(j, "dates"), v->counts.dates);
    cr_expect_eq(json_array_size(json_object_get(j, "items")), v->mailboxes[0].n_items);
    cr_expect_str_eq(json_string_value(json_object_get(j, "mode")), mode);
    cr_expect_float_eq(json_real_value(json_object_get(j, "sample")), sample, 0.00001);
    cr_expect(json_is_false(json_object_get(j, "resumed")));
    json_decref(j);
    free(text);
}

static void check_text(const struct mh_verify_result *v)
{
    char *text = NULL;
    size_t len = 0;
    unsigned long long n[7] = {0};
    FILE *out = open_memstream(&text, &len);
    cr_assert_not_null(out);
    report_verify_text(out, v);
    (void)fclose(out);
    const char *line = strstr(text, "found ");
    cr_assert_not_null(line, "%s", text);
    cr_assert_geq(sscanf(line, "found %llu = exact %llu + same %llu + differs %llu + missing %llu",
                         &n[0], &n[1], &n[2], &n[3], &n[4]),
                  5, "%s", text);
    const char *skipped = strstr(line, "+ skipped ");
    const char *listed = strstr(line, "+ only listed ");
    cr_assert(!skipped || sscanf(skipped, "+ skipped %llu", &n[5]) == 1);
    cr_assert(!listed || sscanf(listed, "+ only listed %llu", &n[6]) == 1);
    cr_expect_eq(n[0], n[1] + n[2] + n[3] + n[4] + n[5] + n[6], "%s", text);
    cr_expect_eq(n[0], v->counts.found);
    cr_expect_not_null(strstr(text, "NOT complete"));
    free(text);
}

Test(verify, reports_add_up)
{
    static const struct {
        struct mh_verify_options options;
        const char *mode;
        double sample;
    } cases[] = {
        {{0}, "stored", 100},
        {{.deep = true}, "deep", 100},
        {{.sample_ppm = 125000}, "stored", 12.5},
        {{.deep = true, .sample_ppm = 1}, "deep", 0.0001},
    };
    struct haul *h = open_tampered();
    for (size_t k = 0; k < MH_ARRAY_LEN(cases); k++) {
        struct mh_verify_result v = verify(h, cases[k].options);
        check_json(&v, cases[k].mode, cases[k].sample);
        check_text(&v);
        mh_verify_result_done(&v);
    }
    haul_close(h);
}
