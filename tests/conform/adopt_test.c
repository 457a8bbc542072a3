/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A target that another tool has filled: what lies there stands for what the source has, whatever that tool did to
 * it. Each case is a tool; after the first run nothing is doubled and nothing missing, after the second nothing has changed.
 */
#include <criterion/criterion.h>

#include "haul.h"

#define FOLDER "INBOX"

static struct haul *open_one(void)
{
    return haul_open(1, 1, false, 32u << 20);
}

/* --- letters ------------------------------------------------------------------------------------- */

/* What a letter is made of; NULL: that line is left out. */
struct letter {
    const char *top; /* whole lines */
    const char *date, *from, *to, *subject, *id;
    const char *more; /* whole lines */
    const char *body;
};

static void add_field(struct mh_buf *b, const char *name, const char *value)
{
    if (value)
        mh_buf_addf(b, "%s: %s\r\n", name, value);
}

static void put_letter(const char *store, const struct letter *l, int64_t unix_s)
{
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_adds(&b, l->top ? l->top : "");
    add_field(&b, "Date", l->date);
    add_field(&b, "From", l->from);
    add_field(&b, "To", l->to);
    add_field(&b, "Subject", l->subject);
    add_field(&b, "Message-ID", l->id);
    mh_buf_addf(&b, "%s\r\n%s", l->more ? l->more : "", l->body);
    struct bytes bytes = {(unsigned char *)(uintptr_t)mh_buf_str(&b), strlen(mh_buf_str(&b))};
    (void)put(store, FOLDER, &bytes, unix_s, MH_SEEN, "");
    mh_buf_done(&b);
}

/* Number I at the source. */
struct numbered {
    char date[64], from[64], to[128], subject[128], id[64], body[256];
    struct letter l;
};

static void number(struct numbered *n, unsigned i)
{
    (void)snprintf(n->date, sizeof n->date, "Sun, 22 Nov 2026 10:%02u:%02u +0100", i / 60 % 60,
                   i % 60);
    (void)snprintf(n->from, sizeof n->from, "Anna <anna%u@old.example>", i % 3);
    (void)snprintf(n->to, sizeof n->to, "Bert <bert@old.example>, Cora <cora@old.example>");
    (void)snprintf(n->subject, sizeof n->subject,
                   "Gr\xc3\xbc\xc3\x9f"
                   "e number %u and many more words",
                   i);
    (void)snprintf(n->id, sizeof n->id, "<%u.abc@old.example>", i);
    (void)snprintf(n->body, sizeof n->body, "Dear Bert,\r\n\r\nthis is letter %u.\r\n%.*s\r\n", i,
                   (int)(i % 50), "..................................................");
    n->l = (struct letter){.top = "Received: from a.example by b.example; now\r\n",
                           .date = n->date,
                           .from = n->from,
                           .to = n->to,
                           .subject = n->subject,
                           .id = n->id,
                           .body = n->body};
}

static int64_t date_of(unsigned i)
{
    return 1000000000 + (int64_t)i * 977;
}

/* --- tools ------------------------------------------------------------------------------------------ */

typedef void tool_fn(struct numbered *n, unsigned i);

static void tool_faithful(struct numbered *n, unsigned i)
{
    (void)n, (void)i;
}

/* mbsync marks each message until it knows its UID. */
static void tool_tuid(struct numbered *n, unsigned i)
{
    static char line[64];
    (void)snprintf(line, sizeof line, "X-TUID: abcdefgh%04u\r\n", i);
    n->l.more = line;
}

/* Delivered anew: trace fields on top, scores below. */
static void tool_delivery(struct numbered *n, unsigned i)
{
    static char top[512];
    (void)snprintf(top, sizeof top,
                   "Return-Path: <anna@old.example>\r\nDelivered-To: bert@new.example\r\n"
                   "Received: from c.example by d.example\r\n\tfor <bert@new.example>; %u\r\n"
                   "Received: from a.example by b.example; now\r\n",
                   i);
    n->l.top = top;
    n->l.more = "X-Spam-Status: No\r\nX-Spam-Report: many\r\n words\r\n";
}

static void tool_strips(struct numbered *n, unsigned i)
{
    (void)i;
    n->l.top = NULL;
}

static void tool_refolds(struct numbered *n, unsigned i)
{
    (void)snprintf(n->to, sizeof n->to, "Bert <bert@old.example>,\r\n\tCora <cora@old.example>");
    (void)snprintf(n->subject, sizeof n->subject,
                   "Gr\xc3\xbc\xc3\x9f"
                   "e number %u\r\n and many\r\n\tmore words",
                   i);
}

static void tool_drops_brackets(struct numbered *n, unsigned i)
{
    (void)snprintf(n->id, sizeof n->id, "%u.abc@old.example", i);
}

static void tool_drops_id(struct numbered *n, unsigned i)
{
    (void)i;
    n->l.id = NULL;
}

/* Cyrus, munge8bit. */
static void tool_munges(struct numbered *n, unsigned i)
{
    (void)snprintf(n->subject, sizeof n->subject, "GrXXXXe number %u and many more words", i);
}

static void tool_rewrites_all(struct numbered *n, unsigned i)
{
    tool_delivery(n, i);
    tool_refolds(n, i);
    tool_drops_brackets(n, i);
}

enum { LOSES_DATES = 1 << 0, BARE_LF = 1 << 1, CR_CR_LF = 1 << 2 };

static const struct tool {
    const char *name;
    tool_fn *fn;
    unsigned does;
    enum mh_how how; /* every one of them */
} tools[] = {
    {"faithful", tool_faithful, 0, MH_HOW_ADOPTED_EXACT},
    {"faithful, dates lost", tool_faithful, LOSES_DATES, MH_HOW_ADOPTED_EXACT},
    {"bare LF", tool_faithful, BARE_LF, MH_HOW_ADOPTED_CANONICAL},
    {"bare LF, dates lost", tool_faithful, BARE_LF | LOSES_DATES, MH_HOW_ADOPTED_CANONICAL},
    {"CR CR LF", tool_faithful, CR_CR_LF, MH_HOW_ADOPTED_CANONICAL},
    {"X-TUID", tool_tuid, 0, MH_HOW_ADOPTED_FINGERPRINT},
    {"X-TUID, dates lost", tool_tuid, LOSES_DATES, MH_HOW_ADOPTED_FINGERPRINT},
    {"X-TUID, bare LF, dates lost", tool_tuid, BARE_LF | LOSES_DATES, MH_HOW_ADOPTED_FINGERPRINT},
    {"delivered anew", tool_delivery, 0, MH_HOW_ADOPTED_FINGERPRINT},
    {"delivered anew, dates lost", tool_delivery, LOSES_DATES, MH_HOW_ADOPTED_FINGERPRINT},
    {"trace fields dropped", tool_strips, LOSES_DATES, MH_HOW_ADOPTED_FINGERPRINT},
    {"refolded", tool_refolds, 0, MH_HOW_ADOPTED_FINGERPRINT},
    {"Message-ID without brackets", tool_drops_brackets, LOSES_DATES, MH_HOW_ADOPTED_FINGERPRINT},
    {"Message-ID dropped", tool_drops_id, LOSES_DATES, MH_HOW_ADOPTED_FINGERPRINT},
    {"8-bit headers munged", tool_munges, 0, MH_HOW_ADOPTED_FINGERPRINT},
    {"all at once", tool_rewrites_all, BARE_LF | LOSES_DATES, MH_HOW_ADOPTED_FINGERPRINT},
};

/* Line ends as the tool writes them, of all messages of a store. */
static void rewrite_line_ends(const char *store, const char *ends)
{
    struct mem_store *s = store_lock(store);
    struct mem_folder *f = mem_folder_find(s, FOLDER);
    for (size_t i = 0; f && i < f->n; i++) {
        struct mem_message *m = &f->v[i];
        unsigned char *data = malloc(2 * m->len + 1);
        size_t n = 0;
        cr_assert_not_null(data);
        for (size_t k = 0; k < m->len; k++) {
            if (m->data[k] == '\r' && k + 1 < m->len && m->data[k + 1] == '\n')
                continue;
            if (m->data[k] != '\n') {
                data[n++] = m->data[k];
                continue;
            }
            memcpy(data + n, ends, strlen(ends));
            n += strlen(ends);
        }
        free(m->data);
        m->data = data;
        m->len = n;
    }
    store_unlock(s);
}

static void fill(const struct tool *tool, unsigned at_source, unsigned at_target)
{
    struct numbered n;
    for (unsigned i = 0; i < at_source; i++) {
        number(&n, i);
        put_letter("src0", &n.l, date_of(i));
    }
    /* Another tool may have gone through the folder backwards. */
    for (unsigned i = at_target; i-- > 0;) {
        number(&n, i);
        tool->fn(&n, i);
        put_letter("dst0", &n.l, tool->does & LOSES_DATES ? 1700000000 : date_of(i));
    }
    if (tool->does & BARE_LF)
        rewrite_line_ends("dst0", "\n");
    if (tool->does & CR_CR_LF)
        rewrite_line_ends("dst0", "\r\r\n");
}

static uint64_t adopted_by(const struct mh_counts *c, enum mh_how how)
{
    return how == MH_HOW_ADOPTED_EXACT       ? c->adopted_exact
           : how == MH_HOW_ADOPTED_CANONICAL ? c->adopted_canonical
                                             : c->adopted_fingerprint;
}

static void expect_no_change(struct haul *h, uint64_t found, const char *name)
{
    size_t before = store_messages("dst0");
    haul_run_ok(h);
    const struct mh_counts *c = &h->res.counts;
    cr_expect_eq(c->copied, 0u, "%s: again: copied", name);
    cr_expect_eq(c->unchanged, found, "%s: again: unchanged %llu", name,
                 (unsigned long long)c->unchanged);
    cr_expect_eq(c->adopted_exact + c->adopted_canonical + c->adopted_fingerprint, 0u,
                 "%s: again: adopted", name);
    cr_expect_eq(store_messages("dst0"), before, "%s: again: messages", name);
}

Test(adopt, what_other_tools_have_put_there)
{
    enum { ALL = 120, THERE = 80 };
    for (size_t k = 0; k < MH_ARRAY_LEN(tools); k++) {
        const struct tool *tool = &tools[k];
        struct haul *h = open_one();
        fill(tool, ALL, THERE);
        haul_run_ok(h);
        const struct mh_counts *c = &h->res.counts;
        cr_expect_eq(c->found, ALL, "%s", tool->name);
        cr_expect_eq(c->copied, ALL - THERE, "%s: copied %llu", tool->name,
                     (unsigned long long)c->copied);
        cr_expect_eq(c->adopted, THERE, "%s: adopted %llu", tool->name,
                     (unsigned long long)c->adopted);
        cr_expect_eq(adopted_by(c, tool->how), THERE,
                     "%s: %llu exact, %llu canonical, %llu fingerprint", tool->name,
                     (unsigned long long)c->adopted_exact, (unsigned long long)c->adopted_canonical,
                     (unsigned long long)c->adopted_fingerprint);
        cr_expect_eq(c->adopted_exact + c->adopted_canonical + c->adopted_fingerprint, c->adopted);
        cr_expect_eq(store_messages("dst0"), ALL, "%s: at the target", tool->name);
        cr_expect_eq(items_named(h, "adopted", "fingerprint"), c->adopted_fingerprint,
                     "%s: each one found by fingerprint is named", tool->name);
        expect_no_change(h, ALL, tool->name);
        haul_close(h);
    }
}

/* The run before was ours; the state is lost; another tool has gone over the target since. */
Test(adopt, without_a_state_all_is_found_again)
{
    struct haul *h = open_one();
    fill(&tools[5], 90, 60);
    haul_run_ok(h);
    haul_forget(h);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 0);
    ASSERT_COUNT(h, adopted_exact, 30);
    ASSERT_COUNT(h, adopted_fingerprint, 60);
    cr_assert_eq(store_messages("dst0"), 90u);
    haul_close(h);
}

/* --- what must not be taken for one another ------------------------------------------------------------------ */

static const struct {
    const char *name;
    struct letter src, dst;
} strangers[] = {
    {"another body",
     {.date = "d", .subject = "s", .id = "<1@a>", .body = "one\r\n"},
     {.date = "d", .subject = "s", .id = "<1@a>", .body = "two\r\n"}},
    {"another subject",
     {.date = "d", .subject = "s", .id = "<1@a>", .body = "b\r\n"},
     {.date = "d", .subject = "t", .id = "<1@a>", .body = "b\r\n"}},
    {"another date",
     {.date = "d", .subject = "s", .id = "<1@a>", .body = "b\r\n"},
     {.date = "e", .subject = "s", .id = "<1@a>", .body = "b\r\n"}},
    {"another sender",
     {.date = "d", .from = "a", .id = "<1@a>", .body = "b\r\n"},
     {.date = "d", .from = "b", .id = "<1@a>", .body = "b\r\n"}},
    {"another recipient",
     {.date = "d", .to = "a", .id = "<1@a>", .body = "b\r\n"},
     {.date = "d", .to = "b", .id = "<1@a>", .body = "b\r\n"}},
    {"another Message-ID",
     {.date = "d", .subject = "s", .id = "<1@a>", .body = "b\r\n"},
     {.date = "d", .subject = "s", .id = "<2@a>", .body = "b\r\n"}},
    {"nothing to go by",
     {.more = "X-Note: one\r\n", .body = ""},
     {.more = "X-Note: two\r\n", .body = ""}},
    {"a subject alone",
     {.subject = "s", .more = "X-Note: 1\r\n", .body = "b\r\n"},
     {.subject = "s", .more = "X-Note: 2\r\n", .body = "b\r\n"}},
    {"no header at all", {.more = "hello one", .body = ""}, {.more = "hello two", .body = ""}},
};

Test(adopt, strangers_are_left_alone)
{
    for (size_t k = 0; k < MH_ARRAY_LEN(strangers); k++) {
        struct haul *h = open_one();
        put_letter("src0", &strangers[k].src, 1000000000);
        put_letter("dst0", &strangers[k].dst, 1000000000);
        haul_run_ok(h);
        cr_expect_eq(h->res.counts.copied, 1u, "%s", strangers[k].name);
        cr_expect_eq(h->res.counts.adopted, 0u, "%s", strangers[k].name);
        cr_expect_eq(store_messages("dst0"), 2u, "%s", strangers[k].name);
        expect_no_change(h, 1, strangers[k].name);
        haul_close(h);
    }
}

/* --- twins ------------------------------------------------------------------------------------------------------ */

/* One to one: three at the source and two rewritten ones at the target make one copy; more at the target than at the source
 * make none, and none is touched. */
Test(adopt, twins_are_paired_one_to_one)
{
    static const struct {
        unsigned src, dst, copied, adopted;
    } cases[] = {{3, 2, 1, 2}, {2, 3, 0, 2}, {4, 4, 0, 4}, {1, 0, 1, 0}};
    for (size_t k = 0; k < MH_ARRAY_LEN(cases); k++) {
        for (int rewritten = 0; rewritten < 2; rewritten++) {
            struct haul *h = open_one();
            struct numbered n;
            number(&n, 7);
            for (unsigned i = 0; i < cases[k].src; i++)
                put_letter("src0", &n.l, date_of(i));
            if (rewritten)
                tool_rewrites_all(&n, 7);
            for (unsigned i = 0; i < cases[k].dst; i++)
                put_letter("dst0", &n.l, 1700000000);
            haul_run_ok(h);
            ASSERT_COUNT(h, copied, cases[k].copied);
            ASSERT_COUNT(h, adopted, cases[k].adopted);
            cr_assert_eq(store_messages("dst0"), MH_MAX(cases[k].src, cases[k].dst));
            expect_no_change(h, cases[k].src, "twins");
            haul_close(h);
        }
    }
}

/* The same letter, once straight and once by a list (other trace fields): each of the two at the target stands for its own,
 * the exact one first, whatever their order. */
Test(adopt, the_exact_one_is_preferred)
{
    struct haul *h = open_one();
    struct numbered straight, list, other;
    number(&straight, 3);
    number(&list, 3);
    tool_delivery(&list, 3);
    put_letter("src0", &straight.l, date_of(1));
    put_letter("src0", &list.l, date_of(1));
    number(&other, 3);
    tool_tuid(&other, 3);
    put_letter("dst0", &other.l, date_of(1)); /* stands for the straight one */
    put_letter("dst0", &list.l, date_of(1));
    haul_run_ok(h);
    ASSERT_COUNT(h, adopted_exact, 1);
    ASSERT_COUNT(h, adopted_fingerprint, 1);
    const struct mh_item_result *item = find_item_result(
        h->res.mailboxes[0].items, h->res.mailboxes[0].n_items, "adopted", "fingerprint");
    cr_assert_not_null(item);
    cr_assert_eq(item->uid, 1u, "the straight one");
    cr_assert_str_eq(item->folder, FOLDER);
    cr_assert(strstr(item->text, "target UID 1"));
    expect_no_change(h, 2, "list");
    haul_close(h);
}

/* Message-ID dropped from some: those that still have theirs are paired by it first. */
Test(adopt, without_a_message_id_is_the_last_resort)
{
    struct haul *h = open_one();
    struct numbered n;
    for (unsigned i = 0; i < 3; i++) { /* alike but for their Message-ID */
        number(&n, 5);
        (void)snprintf(n.id, sizeof n.id, "<%u@a>", i);
        put_letter("src0", &n.l, date_of(i));
    }
    number(&n, 5);
    tool_tuid(&n, 5);
    (void)snprintf(n.id, sizeof n.id, "<2@a>");
    put_letter("dst0", &n.l, 1700000000);
    n.l.id = NULL;
    put_letter("dst0", &n.l, 1700000000);
    haul_run_ok(h);
    ASSERT_COUNT(h, adopted_fingerprint, 2);
    ASSERT_COUNT(h, copied, 1);
    cr_assert_eq(store_messages("dst0"), 3u);
    cr_assert_eq(h->res.mailboxes[0].n_items, 2u, "each one found by fingerprint is named");
    for (size_t i = 0; i < h->res.mailboxes[0].n_items; i++) {
        const struct mh_item_result *item = &h->res.mailboxes[0].items[i];
        cr_expect(strstr(item->text, item->uid == 3 ? "target UID 1" : "target UID 2"), "%llu: %s",
                  (unsigned long long)item->uid, item->text);
    }
    expect_no_change(h, 3, "ids");
    haul_close(h);
}

/* --- what it costs -------------------------------------------------------------------------------------------- */

/* Strange mail at the target that cannot be ours by its size makes nobody read the source twice; an empty side costs nothing. */
Test(adopt, looking_costs_nothing_where_nothing_can_be)
{
    struct haul *h = open_one();
    put_numbers("src0", FOLDER, 0, 200); /* up to 3 kB */
    haul_run_ok(h);
    cr_assert_eq(store_stats("src0").fetched, 200u, "each once, the target was empty");
    struct bytes big = bytes_message(300000, 1);
    (void)put("dst0", FOLDER, &big, 1700000000, 0, "");
    bytes_free(&big);
    put_numbers("src0", FOLDER, 200, 50);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 50);
    cr_assert_eq(store_stats("src0").fetched, 250u, "a stranger of another size");
    haul_close(h);
}
