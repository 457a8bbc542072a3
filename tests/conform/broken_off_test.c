/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a run finds stored after one that was broken off: whose is it? What is ours goes into quarantine when the source
 * deletes it, as if nothing had happened; what another one has put there stays where it is, whatever happened.
 */
#include "kill.h"

#define POOL_BYTES (16ull << 20)

#define A_TEXT "Subject: a\r\n\r\nthe first\r\n"
#define B_TEXT "Subject: b\r\n\r\nthe second one\r\n"
#define C_TEXT "Subject: c\r\n\r\nthe third, a longer one\r\n"

struct search {
    const char *path, *text; /* PATH: or what is below it; NULL: anywhere */
    unsigned n;
    uint64_t uid;
    uint8_t flags;
};

static bool on_message(void *ctx, const struct mh_mem_message *m)
{
    struct search *s = ctx;
    size_t len = s->path ? strlen(s->path) : 0;
    bool is_here = strncmp(m->path, s->path ? s->path : "", len) == 0 &&
                   (len == 0 || m->path[len] == '\0' || m->path[len] == '/');
    if (!is_here || m->len != strlen(s->text) || memcmp(m->bytes, s->text, m->len) != 0)
        return true;
    s->n++;
    s->uid = m->uid;
    s->flags = m->flags;
    return true;
}

static struct search find(const char *store, const char *path, const char *text)
{
    struct search s = {.path = path, .text = text};
    cr_assert(mh_mem_each(store, on_message, &s));
    return s;
}

static unsigned count(const char *path, const char *text)
{
    return find("dst0", path, text).n;
}

static const char quarantine[] = "mailhaul-removed";

static void expunge(const char *path, const char *text)
{
    cr_assert(mh_mem_expunge("src0", path, find("src0", path, text).uid), "%s", text);
}

static struct haul *open_one(void)
{
    kill_install();
    kill_arm(0, false, NULL);
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    configure_faultless("src0");
    configure_faultless("dst0");
    kill_between(h);
    kill_arm(0, false, &h->stop);
    h->cfg.quarantines = true;
    return h;
}

/* A run that is killed at the nth step of this name, and the start of the next program. */
static void run_killed(struct haul *h, const char *step, uint64_t nth, bool reaches)
{
    struct mh_err err;
    kill_arm(nth, reaches, &h->stop);
    killer.only = step;
    (void)haul_run(h);
    cr_assert(kill_is_dead(), "there was no %s", step);
    (void)mh_state_close(h->state, &err);
    kill_heal();
    haul_open_state(h);
}

/* --- after a kill ----------------------------------------------------------------------------------- */

static int refuse_login(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                        struct mh_session **out, struct mh_err *err)
{
    (void)ep;
    (void)env;
    (void)create;
    (void)out;
    return mh_err_set(err, MH_EAUTH, "test", "not now");
}

static void run_refused(struct haul *h)
{
    gate_connector.open = refuse_login;
    (void)haul_run(h);
    cr_assert_neq(h->res.mailboxes[0].err.code, 0);
    gate_connector.open = gate_open;
}

Test(broken_off, what_was_stored_and_not_recorded_is_ours)
{
    for (int failed_between = 0; failed_between < 2; failed_between++) {
        struct haul *h = open_one();
        (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
        (void)put_text("src0", "INBOX", B_TEXT, MH_SEEN, 2000);
        (void)put_text("dst0", "INBOX", B_TEXT, MH_SEEN, 2000); /* another tool's */
        (void)put_text("dst0", "INBOX", C_TEXT, 0, 3000);       /* of nobody at the source */
        run_killed(h, "append_cut", 1, true);
        cr_assert_eq(count("INBOX", A_TEXT), 1);
        if (failed_between) /* a run that does not come so far forgets nothing */
            run_refused(h);
        haul_run_ok(h);
        ASSERT_COUNT(h, copied, 1);
        ASSERT_COUNT(h, adopted, 1);
        ASSERT_COUNT(h, bytes, 0);
        cr_expect_eq(items_named(h, "copied", "broken-off"), 1u);
        haul_run_quiet(h, "carried");
        expunge("INBOX", A_TEXT);
        expunge("INBOX", B_TEXT);
        haul_run_ok(h);
        ASSERT_COUNT(h, removed, 1);
        ASSERT_COUNT(h, gone, 1);
        cr_expect_eq(count(quarantine, A_TEXT), 1);
        cr_expect_eq(count("INBOX", A_TEXT), 0);
        cr_expect_eq(count("INBOX", B_TEXT), 1, "another tool's mail was put away");
        haul_run_quiet(h, "put away");
        haul_close(h);
    }
}

/* TEXT lies on both sides: it is found at the target, and stays there when the source deletes it. */
static void expect_another_ones(struct haul *h, const char *text)
{
    haul_run_ok(h);
    cr_expect_eq(items_named(h, "copied", "broken-off"), 0u);
    ASSERT_COUNT(h, adopted_exact, 1);
    expunge("INBOX", text);
    haul_run_ok(h);
    ASSERT_COUNT(h, removed, 0);
    cr_expect_eq(count("INBOX", text), 1);
}

/* Killed before anything is stored: who finds it there then? */
Test(broken_off, another_date_is_another_ones)
{
    struct haul *h = open_one();
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    run_killed(h, "append_cut", 1, false);
    cr_assert_eq(count("INBOX", A_TEXT), 0);
    (void)put_text("dst0", "INBOX", A_TEXT, 0, 1001);
    expect_another_ones(h, A_TEXT);
    haul_close(h);
}

/* The same as above, but the pass before has ended: nothing of ours can be there unknown. */
Test(broken_off, what_lies_behind_a_pass_that_has_ended_is_another_ones)
{
    static const enum mh_stop stops[] = {MH_STOP_NOT, MH_STOP_SOON};
    for (size_t i = 0; i < MH_ARRAY_LEN(stops); i++) {
        struct haul *h = open_one();
        (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
        if (stops[i]) { /* stopped in good order, with messages left */
            struct mh_mem_options o;
            mh_mem_options_init(&o);
            o.multiappend = false;
            configure("dst0", &o);
            for (unsigned k = 0; k < 600; k++)
                (void)put_number("src0", "INBOX", k, 300);
            far.stop_at = 3;
            far.stop_level = stops[i];
            (void)haul_run(h);
            cr_assert_gt(h->res.counts.failed, 0u);
            far.stop_at = 0;
            atomic_store(&h->stop, MH_STOP_NOT);
        } else {
            haul_run_ok(h);
        }
        (void)put_text("src0", "INBOX", C_TEXT, 0, 3000);
        /* By hand, from one account to the other. */
        (void)put_text("dst0", "INBOX", C_TEXT, 0, 3000);
        expect_another_ones(h, C_TEXT);
        haul_close(h);
    }
}

Test(broken_off, flags_that_have_changed_meanwhile_are_carried)
{
    struct haul *h = open_one();
    (void)put_text("src0", "INBOX", A_TEXT, MH_SEEN, 1000);
    run_killed(h, "append_cut", 1, true);
    uint64_t at_source = find("src0", "INBOX", A_TEXT).uid;
    uint64_t at_target = find("dst0", "INBOX", A_TEXT).uid;
    cr_assert(mh_mem_set_flags("src0", "INBOX", at_source, MH_SEEN | MH_FLAGGED, "todo"));
    cr_assert(mh_mem_set_flags("dst0", "INBOX", at_target, MH_SEEN | MH_ANSWERED, ""));
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 1);
    cr_expect_eq(find("dst0", "INBOX", A_TEXT).flags, MH_SEEN | MH_FLAGGED | MH_ANSWERED);
    haul_run_quiet(h, "flags");
    haul_close(h);
}

/* In the books of an earlier run. */
static void note_failed(struct haul *h, const char *text)
{
    struct mh_err err;
    struct mh_state_folders folders = {.n = 0};
    struct mh_ledger_row row = {.src_uid = find("src0", "INBOX", text).uid,
                                .state = "failed",
                                .reason = "refused",
                                .text = ""};
    cr_assert_eq(mh_state_folders(h->state, 1, &folders, &err), 0);
    cr_assert_eq(folders.n, 1);
    row.folder = folders.v[0].id;
    cr_assert_eq(mh_state_put_ledger(h->state, &row, &err), 0);
    cr_assert_eq(mh_state_sync(h->state, &err), 0);
    mh_state_folders_done(&folders);
}

/* What the target has of it may be our own doing: not a word of its user, who would keep it. */
Test(broken_off, flags_that_we_have_set_are_not_theirs)
{
    static const struct {
        const char *name;
        uint64_t losses;
        bool failed_between;
    } cases[] = {{"killed", 0, false},
                 {"killed, and a run that does not come so far", 0, true},
                 {"its answer lost", 1, false}};
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct haul *h = open_one();
        (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
        haul_run_ok(h);
        uint64_t uid = find("src0", "INBOX", A_TEXT).uid;
        cr_assert(mh_mem_set_flags("src0", "INBOX", uid, MH_FLAGGED, ""));
        if (cases[i].losses) {
            kill_arm(1, true, &h->stop);
            killer.losses = cases[i].losses;
            killer.only = "store_flags";
        } else {
            run_killed(h, "store_flags", 1, true);
        }
        if (cases[i].failed_between)
            run_refused(h);
        haul_run_ok(h);
        kill_heal();
        cr_expect_eq(find("dst0", "INBOX", A_TEXT).flags, MH_FLAGGED, "%s", cases[i].name);
        cr_assert(mh_mem_set_flags("src0", "INBOX", uid, 0, ""));
        haul_run_ok(h);
        cr_expect_eq(find("dst0", "INBOX", A_TEXT).flags, 0, "%s", cases[i].name);
        haul_close(h);
    }
}

/* A run over failed messages alone has not looked for the others. */
Test(broken_off, retry_failed_leaves_the_window_where_it_was)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.multiappend = false;
    configure("dst0", &o);
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    haul_run_ok(h);
    (void)put_text("src0", "INBOX", C_TEXT, 0, 3000);
    (void)put_text("src0", "INBOX", B_TEXT, 0, 2000);
    run_killed(h, "append_end", 1, true);
    cr_assert_eq(count("INBOX", C_TEXT), 1);
    cr_assert_eq(count("INBOX", B_TEXT), 0);
    note_failed(h, B_TEXT);
    h->cfg.retry_failed = true;
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 1);
    h->cfg.retry_failed = false;
    haul_run_ok(h);
    cr_expect_eq(count("INBOX", C_TEXT), 1, "stored twice");
    cr_expect_eq(items_named(h, "copied", "broken-off"), 1u);
    expunge("INBOX", C_TEXT);
    haul_run_ok(h);
    ASSERT_COUNT(h, removed, 1);
    haul_close(h);
}

/* --- after a lost answer -------------------------------------------------------------------------------- */

Test(broken_off, what_was_sent_in_this_run_is_ours)
{
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.lose_answer_nth = 1;
    configure("dst0", &o);
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    (void)put_text("src0", "INBOX", B_TEXT, 0, 2000);
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 2);
    ASSERT_COUNT(h, adopted, 0);
    ASSERT_COUNT(h, bytes, strlen(A_TEXT) + strlen(B_TEXT));
    cr_expect_geq(items_named(h, "copied", "answer-lost"), 1u);
    expunge("INBOX", A_TEXT);
    expunge("INBOX", B_TEXT);
    haul_run_ok(h);
    ASSERT_COUNT(h, removed, 2);
    haul_close(h);
}

/* --- moves ------------------------------------------------------------------------------------------------ */

static struct haul *open_moved(void)
{
    struct haul *h = open_one();
    cr_assert(mh_mem_make_folder("src0", "Work"));
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    (void)put_text("src0", "INBOX", B_TEXT, 0, 2000);
    (void)put_text("dst0", "INBOX", B_TEXT, 0, 2000); /* another tool's */
    haul_run_ok(h);
    ASSERT_COUNT(h, copied, 1);
    cr_assert(mh_mem_move("src0", "INBOX", find("src0", "INBOX", A_TEXT).uid, "Work"));
    cr_assert(mh_mem_move("src0", "INBOX", find("src0", "INBOX", B_TEXT).uid, "Work"));
    return h;
}

/* Whatever happens to the move: whose it was it stays. */
Test(broken_off, moved_mail_stays_whose_it_was)
{
    static const struct {
        const char *name;
        uint64_t losses;
        bool is_disturbed, reaches;
    } cases[] = {
        {"undisturbed", 0, false, false},   {"killed before", 0, true, false},
        {"killed behind", 0, true, true},   {"lost before", 1, true, false},
        {"its answer lost", 1, true, true}, {"lost twice", 2, true, false},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct haul *h = open_moved();
        uint64_t before = store_stats("dst0").appends;
        if (cases[i].is_disturbed && cases[i].losses == 0)
            run_killed(h, "move", 1, cases[i].reaches);
        if (cases[i].losses) {
            kill_arm(1, cases[i].reaches, &h->stop);
            killer.losses = cases[i].losses;
            killer.only = "move";
        }
        haul_run_ok(h);
        kill_heal();
        cr_expect_eq(store_stats("dst0").appends, before, "%s: its bytes were sent", cases[i].name);
        cr_expect_eq(count("Work", A_TEXT), 1, "%s", cases[i].name);
        cr_expect_eq(count("Work", B_TEXT), 1, "%s", cases[i].name);
        cr_expect_eq(count(NULL, A_TEXT) + count(NULL, B_TEXT), 2, "%s", cases[i].name);
        haul_run_quiet(h, cases[i].name);
        expunge("Work", A_TEXT);
        expunge("Work", B_TEXT);
        haul_run_ok(h);
        cr_expect_eq(count(quarantine, A_TEXT), 1, "%s: ours", cases[i].name);
        cr_expect_eq(count("Work", B_TEXT), 1, "%s: another tool's", cases[i].name);
        haul_close(h);
    }
}

/* --- the quarantine's folders ------------------------------------------------------------------------------- */

struct folders {
    unsigned n; /* of the quarantine */
    char path[96];
};

static bool on_folder(void *ctx, const struct mh_mem_folder *f)
{
    struct folders *q = ctx;
    if (strncmp(f->path, quarantine, sizeof quarantine - 1) == 0) {
        q->n++;
        (void)snprintf(q->path, sizeof q->path, "%s", f->path);
    }
    return true;
}

static struct folders quarantine_folders(void)
{
    struct folders q = {.n = 0};
    cr_assert(mh_mem_each_folder("dst0", on_folder, &q));
    return q;
}

static struct haul *open_to_remove(void)
{
    struct haul *h = open_one();
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    haul_run_ok(h);
    expunge("INBOX", A_TEXT);
    return h;
}

Test(broken_off, no_folder_is_made_for_what_is_not_there)
{
    struct haul *h = open_to_remove();
    cr_assert(mh_mem_expunge("dst0", "INBOX", find("dst0", "INBOX", A_TEXT).uid));
    haul_run_ok(h);
    ASSERT_COUNT(h, removed, 0);
    ASSERT_COUNT(h, gone, 1);
    cr_expect_eq(quarantine_folders().n, 0);
    haul_close(h);
}

/* Made yesterday, and then the run was broken off before anything was put in. */
Test(broken_off, a_folder_that_was_left_empty_is_used)
{
    static const char left[] = "mailhaul-removed/2001-02-03/INBOX";
    struct haul *h = open_to_remove();
    cr_assert(mh_mem_make_folder("dst0", left));
    unsigned before = quarantine_folders().n;
    haul_run_ok(h);
    ASSERT_COUNT(h, removed, 1);
    cr_expect_eq(count(left, A_TEXT), 1);
    cr_expect_eq(quarantine_folders().n, before);
    (void)put_text("src0", "INBOX", B_TEXT, 0, 2000); /* from now on it is not empty */
    haul_run_ok(h);
    expunge("INBOX", B_TEXT);
    haul_run_ok(h);
    cr_expect_eq(count(left, B_TEXT), 0);
    cr_expect_eq(count(quarantine, B_TEXT), 1);
    haul_close(h);
}

/* Below a folder that was renamed, and so gone along with it at the target: that is where its mail lies. */
Test(broken_off, what_was_deleted_below_a_renamed_folder_is_put_away)
{
    struct haul *h = open_one();
    cr_assert(mh_mem_make_folder("src0", "Old"));
    cr_assert(mh_mem_make_folder("src0", "Old/Sub"));
    (void)put_text("src0", "Old", A_TEXT, 0, 1000);
    (void)put_text("src0", "Old/Sub", C_TEXT, 0, 3000);
    haul_run_ok(h);
    cr_assert(mh_mem_remove_folder("src0", "Old/Sub"));
    cr_assert(mh_mem_rename("src0", "Old", "New"));
    haul_run_ok(h);
    ASSERT_COUNT(h, removed, 1);
    cr_expect_eq(count("New", A_TEXT), 1);
    cr_expect_eq(count(quarantine, C_TEXT), 1);
    haul_run_quiet(h, "renamed");
    haul_close(h);
}

/* --- a state that comes late ----------------------------------------------------------------------------------- */

/* A disk that takes its time: the state's thread stands at a write until the engine has looked twice at the target's flags,
 * which it must not do before its own rows can be read, or (then) for HELD_MS. */
enum { HELD_MS = 300 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned looks; /* 0: nobody is held */
} slow = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int slow_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += HELD_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    (void)pthread_mutex_lock(&slow.lock);
    while (slow.looks == 1 && pthread_cond_timedwait(&slow.changed, &slow.lock, &until) == 0)
        continue;
    slow.looks = slow.looks ? 2 : 0;
    (void)pthread_mutex_unlock(&slow.lock);
    return shim_methods.xWrite(f, buf, n, at);
}

/* A change of flags, and then the connection is lost in the look behind it. */
static int slow_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out,
                     struct mh_err *err)
{
    (void)uid_from;
    (void)out;
    gate_connector.scan = gate_scan;
    s->is_dead = true;
    return kill_lost(s, err);
}

static int slow_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                            uint8_t flags, const char *keywords, struct mh_err *err)
{
    (void)pthread_mutex_lock(&slow.lock);
    slow.looks = 1; /* the row of this change is not written before … */
    (void)pthread_mutex_unlock(&slow.lock);
    return far_connector.store_flags(s, uids, n, add, flags, keywords, err);
}

static int slow_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n, struct mh_scan *out,
                          struct mh_err *err)
{
    (void)pthread_mutex_lock(&slow.lock);
    if (slow.looks == 1)
        slow.looks = 2; /* … the target is looked at again */
    (void)pthread_cond_broadcast(&slow.changed);
    (void)pthread_mutex_unlock(&slow.lock);
    return far_connector.scan_uids(s, uids, n, out, err);
}

Test(broken_off, what_an_attempt_has_written_is_read_by_the_next)
{
    state_disk_install();
    state_disk.xWrite = slow_write; /* open_one() installs no other */
    struct haul *h = open_one();
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    o.condstore = o.qresync = false; /* the target's window is all that is scanned there */
    configure("dst0", &o);
    (void)put_text("src0", "INBOX", A_TEXT, 0, 1000);
    haul_run_ok(h);
    uint64_t uid = find("src0", "INBOX", A_TEXT).uid;
    cr_assert(mh_mem_set_flags("src0", "INBOX", uid, MH_FLAGGED, ""));
    (void)put_text("src0", "INBOX", B_TEXT, 0, 2000);
    (void)put_text("dst0", "INBOX", C_TEXT, 0, 3000); /* so that there is something to look at */
    gate_connector.scan = slow_scan;
    gate_connector.store_flags = slow_store_flags;
    gate_connector.scan_uids = slow_scan_uids;
    haul_run_ok(h);
    ASSERT_COUNT(h, updated, 1);
    gate_connector.store_flags = gate_store_flags;
    gate_connector.scan_uids = gate_scan_uids;
    cr_assert_eq(find("dst0", "INBOX", A_TEXT).flags, MH_FLAGGED);
    /* Was it taken for the work of the target's user? Then it would stay. */
    cr_assert(mh_mem_set_flags("src0", "INBOX", uid, 0, ""));
    haul_run_ok(h);
    cr_expect_eq(find("dst0", "INBOX", A_TEXT).flags, 0);
    haul_close(h);
}
