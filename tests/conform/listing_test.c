/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A source without CONDSTORE: the whole listing is held against the state while it is on its way. Whatever order the server
 * lists in, and wherever in the listing something has happened, the pass finds just that.
 */
#include "haul.h"

#define POOL_BYTES (16ull << 20)

enum {
    MESSAGES = 2 * MH_SCAN_STRETCH + 5000,
    MESSAGE_OCTETS = 200,
    ADDED = 3,
};

/* Around the borders of the stretches, at both ends, and in between; ascending. */
static const uint64_t flagged[] = {
    2, 5000, MH_SCAN_STRETCH - 1, MH_SCAN_STRETCH + 2, 2 * MH_SCAN_STRETCH, MESSAGES - 1,
};
static const uint64_t expunged[] = {
    1, MH_SCAN_STRETCH, MH_SCAN_STRETCH + 1, 2 * MH_SCAN_STRETCH + 1, MESSAGES,
};

/* --- a server that lists as it likes --------------------------------------------------------------- */

enum order {
    ASCENDING,
    DESCENDING,
    FIRST_COMES_LAST,     /* behind all that was compared on the way */
    SWAPPED_IN_A_STRETCH, /* seen before the first stretch is compared */
    TOLD_TWICE,           /* first with other flags: the last word counts */
    ORDERS,
};

static const char *const order_names[ORDERS] = {
    "ascending", "descending", "the first comes last", "two are swapped", "one is told twice",
};

static enum order order;
static bool is_listing_all; /* the window at the target begins further up */

static int add(struct mh_scan *out, const struct mh_scan *from, size_t i, struct mh_err *err)
{
    const char *words = mh_kwsets_text(from->kwsets, from->items[i].kwset);
    struct mh_item item = from->items[i];
    int rc = mh_kwsets_intern(out->kwsets, words, strlen(words), &item.kwset, err);
    return rc ? rc : mh_scan_add(out, &item, err);
}

/* Where the I-th item of the listing comes from. */
static size_t place(size_t i, size_t n)
{
    switch (order) {
    case DESCENDING:
        return n - 1 - i;
    case FIRST_COMES_LAST:
        return (i + 1) % n;
    case SWAPPED_IN_A_STRETCH:
        return i == 10 ? 11 : i == 11 ? 10 : i;
    default:
        return i;
    }
}

static int list_in_order(struct mh_session *s, uint64_t uid_from, struct mh_scan *out,
                         struct mh_err *err)
{
    struct mh_scan all;
    int rc = mh_scan_init(&all, err);
    if (rc == 0)
        rc = mh_mem.scan(s, uid_from, &all, err);
    if (rc == 0 && order == TOLD_TWICE && all.n > 1) {
        all.items[1].flags ^= MH_ANSWERED;
        rc = add(out, &all, 1, err);
        all.items[1].flags ^= MH_ANSWERED;
    }
    for (size_t i = 0; rc == 0 && i < all.n; i++)
        rc = add(out, &all, place(i, all.n), err);
    mh_scan_done(&all);
    mh_scan_finish(out);
    is_listing_all |= rc == 0 && uid_from == 1;
    return rc;
}

/* --- the cases ---------------------------------------------------------------------------------------- */

static struct haul *copied(void)
{
    struct mh_mem_options o;
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    mh_mem_options_init(&o);
    o.condstore = o.qresync = o.object_id = false;
    configure("src0", &o);
    configure("dst0", &o);
    for (unsigned i = 0; i < MESSAGES; i++)
        (void)put_number("src0", "INBOX", i, MESSAGE_OCTETS);
    far_connector.scan = list_in_order;
    order = ASCENDING;
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, MESSAGES);
    return h;
}

static void expect_quiet(struct haul *h, const char *name)
{
    haul_run_ok(h);
    cr_expect_eq(h->res.counts.copied + h->res.counts.updated + h->res.counts.removed, 0u, "%s",
                 name);
    cr_expect_eq(h->res.counts.adopted, h->res.counts.found, "%s", name);
    cr_expect_eq(h->res.counts.unchanged, h->res.counts.found, "%s", name);
}

Test(listing, what_has_happened_is_found_in_whatever_order, .timeout = 200)
{
    for (int k = 0; k < ORDERS; k++) {
        struct haul *h = copied();
        order = (enum order)k;
        expect_quiet(h, order_names[k]);
        for (size_t i = 0; i < MH_ARRAY_LEN(flagged); i++)
            cr_assert(mh_mem_set_flags("src0", "INBOX", flagged[i], MH_FLAGGED, "of-today"));
        for (size_t i = 0; i < MH_ARRAY_LEN(expunged); i++)
            cr_assert(mh_mem_expunge("src0", "INBOX", expunged[i]));
        for (unsigned i = 0; i < ADDED; i++)
            (void)put_number("src0", "INBOX", MESSAGES + i, MESSAGE_OCTETS);
        is_listing_all = false;
        haul_run_ok(h);
        cr_expect(is_listing_all, "%s: nobody asked", order_names[k]);
        cr_expect_eq(h->res.counts.copied, (uint64_t)ADDED, "%s", order_names[k]);
        cr_expect_eq(h->res.counts.updated, MH_ARRAY_LEN(flagged), "%s: %llu", order_names[k],
                     (unsigned long long)h->res.counts.updated);
        cr_expect_eq(h->res.counts.gone, MH_ARRAY_LEN(expunged), "%s: %llu", order_names[k],
                     (unsigned long long)h->res.counts.gone);
        expect_quiet(h, order_names[k]);
        haul_close(h);
    }
}

/* … and with CONDSTORE nobody asks for the listing again, whatever has happened in between. */
Test(listing, is_not_asked_for_where_the_server_tells_of_changes, .timeout = 200)
{
    for (int qresync = 0; qresync < 2; qresync++) {
        struct mh_mem_options o;
        struct haul *h = haul_open(1, 1, true, POOL_BYTES);
        mh_mem_options_init(&o);
        o.condstore = true;
        o.qresync = qresync;
        configure("src0", &o);
        far_connector.scan = list_in_order;
        order = ASCENDING;
        put_numbers("src0", "INBOX", 0, 100);
        haul_run_ok(h);
        is_listing_all = false;
        for (unsigned day = 0; day < 3; day++) {
            put_numbers("src0", "INBOX", 100 + day * 10, 10);
            cr_assert(mh_mem_set_flags("src0", "INBOX", 20 + day, MH_FLAGGED, ""));
            haul_run_ok(h);
            ASSERT_COUNT(h, copied, 10);
            ASSERT_COUNT(h, updated, 1);
            cr_assert(mh_mem_expunge("src0", "INBOX", 50 + day));
            haul_run_ok(h);
            ASSERT_COUNT(h, gone, 1);
            expect_quiet(h, "nothing is new");
        }
        cr_expect_not(is_listing_all, "QRESYNC %d: it was listed as a whole", qresync);
        haul_close(h);
    }
}

/* Keywords that nobody knew when the first stretch was compared. */
Test(listing, new_keywords_on_the_way, .timeout = 200)
{
    struct haul *h = copied();
    char word[16];
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(word, sizeof word, "word%u", i);
        cr_assert(mh_mem_set_flags("src0", "INBOX", 1 + i * 1800, 0, word));
    }
    haul_run_ok(h);
    ASSERT_COUNT(h, updated, 20);
    expect_quiet(h, "keywords");
    ASSERT_SAME("INBOX");
    haul_close(h);
}
