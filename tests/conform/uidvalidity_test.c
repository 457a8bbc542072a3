/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A UIDVALIDITY that changes within a pass: the connection is lost at the nth call, for every n
 * there is, and when the side is opened again all its folders have new UIDs. Nothing may be
 * doubled or lost; a folder that could not be finished is named, and done by the next run; a pass
 * behind it changes nothing.
 */
#include "cut.h"

#define POOL_BYTES (16ull << 20)

enum { RUNS_MAX = 3, MESSAGES = 40, FOLDERS = 3 };

static const char *const folder_names[FOLDERS] = {"INBOX", "Work", "Old"};

/* --- what lies where ----------------------------------------------------------------------- */

/* Messages are known by the number in their text; twins have one number. */
struct view {
    unsigned n[FOLDERS][MESSAGES];
    uint8_t flags[FOLDERS][MESSAGES];
    unsigned elsewhere;
};

static bool on_message(void *ctx, const struct mh_mem_message *m)
{
    struct view *v = ctx;
    unsigned i = (unsigned)strtoul((const char *)m->bytes + strlen("Subject: "), NULL, 10);
    cr_assert_lt(i, MESSAGES);
    for (int f = 0; f < FOLDERS; f++) {
        if (strcmp(m->path, folder_names[f]) != 0)
            continue;
        v->n[f][i]++;
        v->flags[f][i] |= m->flags;
        return true;
    }
    v->elsewhere++;
    return true;
}

static struct view view_of(const char *store)
{
    struct view v;
    memset(&v, 0, sizeof v);
    cr_assert(mh_mem_each(store, on_message, &v));
    return v;
}

static uint64_t deliver(unsigned i, int folder, uint8_t flags)
{
    char text[256];
    uint64_t uid = 0;
    const struct mh_date date = {.unix_s = 1000000 + i / 2, .is_set = true};
    (void)snprintf(
        text, sizeof text, "Subject: %03u\r\n\r\n%.*s\r\n", i, (int)(i * 7 % 100),
        "the quick brown fox jumps over the lazy dog, the quick brown fox jumps over the "
        "lazy dog, and again");
    cr_assert(
        mh_mem_deliver("src0", folder_names[folder], text, strlen(text), flags, "", &date, &uid));
    return uid;
}

/* --- the story ----------------------------------------------------------------------------- */

static void fill(void)
{
    cr_assert(mh_mem_make_folder("src0", "Work") && mh_mem_make_folder("src0", "Old"));
    for (unsigned i = 0; i < 10; i++)
        (void)deliver(i, 0, i % 2 ? MH_SEEN : 0);
    (void)deliver(10, 0, MH_FLAGGED); /* twins */
    (void)deliver(10, 0, MH_FLAGGED);
    for (unsigned i = 11; i < 19; i++)
        (void)deliver(i, 1, 0);
    for (unsigned i = 19; i < 24; i++)
        (void)deliver(i, 2, MH_ANSWERED);
}

/*
 * What has left its folder may be found there at the target still: when it is not known any more
 * that it is the same.
 */
static const struct {
    unsigned message;
    int folder;
} left[] = {{3, 0}, {12, 1}};

static void live_a_day(void)
{
    for (unsigned i = 24; i < 28; i++)
        (void)deliver(i, 0, 0);
    for (unsigned i = 28; i < 31; i++)
        (void)deliver(i, 2, MH_SEEN);
    cr_assert(mh_mem_set_flags("src0", "INBOX", 1, MH_FLAGGED, ""));
    cr_assert(mh_mem_set_flags("src0", "Old", 2, MH_SEEN, ""));
    cr_assert(mh_mem_expunge("src0", "INBOX", 4));
    cr_assert(mh_mem_move("src0", "Work", 2, "Old"));
}

static bool may_stay(unsigned message, int folder)
{
    bool may = false;
    for (size_t i = 0; i < MH_ARRAY_LEN(left); i++)
        may |= left[i].message == message && left[i].folder == folder;
    return may;
}

static void check_folder(const struct view *src, const struct view *dst, int f, const char *what)
{
    for (unsigned i = 0; i < MESSAGES; i++) {
        unsigned least = src->n[f][i];
        unsigned n = dst->n[f][i];
        cr_assert_geq(n, least, "%s: message %u lies in %s %u times, at the source %u times", what,
                      i, folder_names[f], n, least);
        cr_assert_leq(n, least + may_stay(i, f),
                      "%s: message %u lies in %s %u times, at the source %u times", what, i,
                      folder_names[f], n, least);
        if (least)
            cr_assert_eq(dst->flags[f][i], src->flags[f][i],
                         "%s: message %u in %s has flags %02x, not %02x", what, i, folder_names[f],
                         dst->flags[f][i], src->flags[f][i]);
    }
}

static void check(const char *what)
{
    struct view src = view_of("src0");
    struct view dst = view_of("dst0");
    cr_assert_eq(dst.elsewhere, 0, "%s: %u messages lie elsewhere", what, dst.elsewhere);
    for (int f = 0; f < FOLDERS; f++)
        check_folder(&src, &dst, f, what);
}

/* --- one play ------------------------------------------------------------------------------ */

static struct {
    bool at_source;
    bool is_armed, was_done;
} renumbering;

static void renumber_all(const char *store)
{
    for (int f = 0; f < FOLDERS; f++)
        (void)mh_mem_renumber(store, folder_names[f]); /* one that is not made yet stays away */
}

/* Of the side that is opened again after the cut. */
static void on_open(bool is_source)
{
    if (!renumbering.is_armed || !cutter.was_hit || is_source != renumbering.at_source)
        return;
    renumbering.is_armed = false;
    renumbering.was_done = true;
    renumber_all(is_source ? "src0" : "dst0");
}

static void run_until_done(struct haul *h, const char *what)
{
    char line[1024];
    unsigned runs = 0;
    for (;;) {
        (void)haul_run(h);
        runs++;
        if (haul_went_through(h))
            return;
        const struct mh_err *why = haul_why(h);
        cr_assert_not_null(why, "%s: it failed and names nothing", what);
        cr_assert_lt(runs, RUNS_MAX, "%s: it does not end: %s", what,
                     mh_err_line(why, line, sizeof line));
    }
}

/* False: the pass has no call number AT. */
static bool play(bool at_source, bool in_delta, unsigned way, uint64_t at, bool reaches)
{
    char what[200];
    struct mh_mem_options o;
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    cut_between(h);
    far.on_open = on_open;
    mh_mem_options_init(&o);
    o.condstore = way != 0;
    o.qresync = way == 2;
    o.uidplus = way != 0;
    o.object_id = way == 2;
    configure("src0", &o);
    configure("dst0", &o);
    memset(&renumbering, 0, sizeof renumbering);
    cut_arm(0, false);
    fill();
    if (in_delta) {
        haul_run_ok(h);
        live_a_day();
    }
    renumbering.at_source = at_source;
    renumbering.is_armed = true;
    cut_arm(at, reaches);
    (void)snprintf(what, sizeof what, "way %u, cut at call %llu, %s", way, (unsigned long long)at,
                   reaches ? "which arrived" : "which did not arrive");
    run_until_done(h, what);
    bool was_hit = cutter.was_hit;
    (void)snprintf(what, sizeof what, "way %u, cut at call %llu (%s of the %s), %s", way,
                   (unsigned long long)at, cutter.what, cutter.is_source ? "source" : "target",
                   reaches ? "which arrived" : "which did not arrive");
    cutter.at = 0;
    check(what);
    if (renumbering.is_armed && was_hit) { /* nobody had to open it again: the next pass sees it */
        renumbering.is_armed = false;
        renumber_all(at_source ? "src0" : "dst0");
        run_until_done(h, what);
        check(what);
    }
    haul_run_quiet(h, what);
    check(what);
    haul_close(h);
    return was_hit;
}

static void renumber_everywhere(bool at_source, bool in_delta)
{
    unsigned within = 0;
    for (unsigned way = 0; way < 3; way++) {
        uint64_t at = 1;
        for (; play(at_source, in_delta, way, at, at % 2); at++)
            within += renumbering.was_done;
        cr_assert_gt(at, 20, "way %u: %llu calls only", way, (unsigned long long)at);
    }
    cr_assert_gt(within, 60, "it changed within a pass %u times only", within);
    (void)fprintf(stderr, "%u times within a pass\n", within);
}

Test(uidvalidity, at_the_source_within_a_first_copy, .timeout = 240)
{
    renumber_everywhere(true, false);
}

Test(uidvalidity, at_the_target_within_a_first_copy, .timeout = 240)
{
    renumber_everywhere(false, false);
}

Test(uidvalidity, at_the_source_within_a_delta, .timeout = 240)
{
    renumber_everywhere(true, true);
}

Test(uidvalidity, at_the_target_within_a_delta, .timeout = 240)
{
    renumber_everywhere(false, true);
}
