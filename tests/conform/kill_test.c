/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Killed at every step, and a thousand lost answers.
 *
 * The script: a first copy, a day of changes at the source, a pass, another day, another pass. It is
 * played once undisturbed and once for each step of the first two (sampled when there are many;
 * MH_TEST_ALL=1: all, each both ways), killed there and run again until it goes through: the target must
 * end as the undisturbed one, and a pass behind it must change nothing. Likewise a connection is lost at
 * each step, and at some behind it: that must not even need another run.
 *
 * Lost answers: MH_TEST_SEED=n repeats a mailbox.
 */
#include "chance.h"
#include "connectors/mem/session.h"
#include "kill.h"
#include "lines.h"

#define POOL_BYTES (16ull << 20)

enum {
    APPEND_LIMIT = 20000,
    STEPS_ALL = 500,     /* with more than that … */
    STEPS_SAMPLED = 250, /* … so many are tried */
    TRIES_MAX = 4,       /* of runs after a kill; one should do */
};

/* --- what lies at the target, as text ------------------------------------------------------------------ */

static const char quarantine[] = "mailhaul-removed";

static bool is_quarantine(const char *path)
{
    return strncmp(path, quarantine, sizeof quarantine - 1) == 0;
}

/* The quarantine is named after the day of the pass. */
static char *timeless(const char *path)
{
    if (!is_quarantine(path) || !path[sizeof quarantine - 1])
        return mh_strdup(path);
    const char *rest = strchr(path + sizeof quarantine, '/');
    return rest ? mh_asprintf("%s/DATE%s", quarantine, rest) : mh_asprintf("%s/DATE", quarantine);
}

static bool add_message(void *ctx, const struct mh_mem_message *m)
{
    uint64_t hash = 14695981039346656037ull;
    char *path = timeless(m->path);
    for (uint64_t i = 0; i < m->len; i++)
        hash = (hash ^ m->bytes[i]) * 1099511628211ull;
    lines_add(ctx, mh_asprintf("%s: %llu octets %016llx, flags %02x [%s], date %lld %d", path,
                               (unsigned long long)m->len, (unsigned long long)hash, m->flags,
                               m->keywords, (long long)m->date.unix_s, m->date.zone_min));
    mh_free(path);
    return true;
}

static bool add_folder(void *ctx, const struct mh_mem_folder *f)
{
    char *path = timeless(f->path);
    lines_add(ctx, mh_asprintf("folder %s: role %d, subscribed %d", path, (int)f->role,
                               f->is_subscribed));
    mh_free(path);
    return true;
}

static struct lines lines_of(const char *store)
{
    struct lines l = {NULL, 0, 0};
    cr_assert(mh_mem_each_folder(store, add_folder, &l));
    cr_assert(mh_mem_each(store, add_message, &l));
    lines_sort(&l);
    return l;
}

/* --- the script ------------------------------------------------------------------------------------------ */

struct script {
    const char *name;
    bool is_bare;      /* both servers can do next to nothing */
    bool is_condstore; /* … or have CONDSTORE without QRESYNC */
    int64_t late_ms;   /* answers of appends come so late */
};

static void put_twins(const char *path, unsigned i, uint8_t flags, uint8_t others)
{
    struct bytes b = bytes_message(700, i);
    (void)put("src0", path, &b, 1234567890, flags, "work");
    (void)put("src0", path, &b, 1234567890, others, "work");
    bytes_free(&b);
}

static void script_configure(const struct script *script)
{
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    if (script->is_bare)
        o.multiappend = o.uidplus = o.move = o.rename = o.object_id = o.special_use = false;
    o.condstore = !script->is_bare;
    o.qresync = o.condstore && !script->is_condstore;
    configure("src0", &o);
    o.append_limit = APPEND_LIMIT;
    configure("dst0", &o);
}

static void fill(void)
{
    static const char *const folders[] = {"Work", "Work/Plans", "Old", "Empty", "Gone"};
    for (size_t i = 0; i < MH_ARRAY_LEN(folders); i++)
        cr_assert(mh_mem_make_folder("src0", folders[i]));
    put_numbers("src0", "INBOX", 0, 6);
    put_twins("INBOX", 100, MH_SEEN, MH_SEEN);
    put_numbers("src0", "Work", 10, 5);
    put_numbers("src0", "Work/Plans", 20, 4);
    put_twins("Work/Plans", 101, 0, 0);
    put_numbers("src0", "Old", 30, 4);
    (void)put_number("src0", "Old", 39, APPEND_LIMIT + 5000);
    put_numbers("src0", "Gone", 40, 2);
}

static void live_a_day(void)
{
    put_numbers("src0", "INBOX", 50, 3);
    put_numbers("src0", "Work", 60, 2);
    cr_assert(mh_mem_make_folder("src0", "New"));
    put_numbers("src0", "New", 70, 2);
    cr_assert(mh_mem_set_flags("src0", "INBOX", 1, MH_FLAGGED | MH_SEEN, "work"));
    cr_assert(mh_mem_set_flags("src0", "INBOX", 2, 0, "$Forwarded later"));
    cr_assert(mh_mem_set_flags("src0", "Old", 2, MH_ANSWERED, ""));
    cr_assert(mh_mem_move("src0", "Work", 2, "Old"));
    cr_assert(mh_mem_move("src0", "INBOX", 3, "Work"));
    cr_assert(mh_mem_rename("src0", "Work/Plans", "Work/Done"));
    cr_assert(mh_mem_expunge("src0", "INBOX", 4));
    cr_assert(mh_mem_expunge("src0", "INBOX", 7)); /* one of the twins */
    cr_assert(mh_mem_expunge("src0", "Old", 1));
    cr_assert(mh_mem_remove_folder("src0", "Gone"));
}

/* What was carried, moved and flagged on the day before goes again: whose did the pass take it for? */
static void live_another_day(void)
{
    static const struct {
        const char *path;
        uint64_t uid;
    } gone[] = {{"INBOX", 9}, {"INBOX", 1}, {"Work", 6},      {"Work", 8},
                {"Old", 6},   {"New", 1},   {"Work/Done", 1}, {"Work/Done", 5}};
    for (size_t i = 0; i < MH_ARRAY_LEN(gone); i++)
        cr_assert(mh_mem_expunge("src0", gone[i].path, gone[i].uid), "%s", gone[i].path);
    cr_assert(mh_mem_set_flags("src0", "INBOX", 2, MH_SEEN, ""));
    cr_assert(mh_mem_set_flags("src0", "INBOX", 10, MH_FLAGGED, "later"));
    cr_assert(mh_mem_set_flags("src0", "Old", 2, 0, ""));
}

/* The program, from its start to its end. True: it has done its work. */
static bool program(struct haul *h)
{
    struct mh_err err;
    mh_err_reset(&err);
    int rc = mh_state_open(h->state_path, false, &h->state, &err);
    cr_assert(rc == 0 || kill_is_dead(), "the state cannot be opened after a kill at %s: %s",
              kill_what(), err.text);
    if (rc < 0) {
        h->state = NULL;
        return false;
    }
    h->cfg.state = h->state;
    (void)haul_run(h);
    rc = mh_state_close(h->state, &err);
    h->state = NULL;
    bool is_dead = kill_is_dead();
    cr_assert(rc == 0 || is_dead, "the state cannot be closed: %s", err.text);
    return !is_dead && haul_went_through(h);
}

static void program_until_done(struct haul *h, const char *what)
{
    char line[1024];
    for (unsigned tries = 0; !program(h); tries++) {
        cr_assert_lt(tries, TRIES_MAX, "%s: it does not end: %s", what,
                     mh_err_line(&h->err, line, sizeof line));
        kill_heal();
    }
}

/* What a kill came to. Steps are not numbered alike in every play: the state's thread gathers writes as they come. */
struct course {
    uint64_t steps;
    bool was_killed, in_copy;
};

/* A run that must go through: what passes is no verdict, not over a folder and not over a message. */
static bool run_through_losses(struct haul *h, const char *what)
{
    char line[1024];
    haul_open_state(h);
    (void)haul_run(h);
    haul_close_state(h);
    for (size_t i = 0; i < h->res.mailboxes[0].n_folders; i++) {
        const struct mh_folder_result *f = &h->res.mailboxes[0].folders[i];
        cr_expect_eq(f->err.code, 0, "%s: folder %s: %s", what, f->source,
                     mh_err_line(&f->err, line, sizeof line));
    }
    bool is_through = haul_went_through(h);
    cr_expect(is_through, "%s: it did not go through: %s", what,
              mh_err_line(&h->err, line, sizeof line));
    return is_through;
}

static void go_on(struct haul *h, const char *what)
{
    if (!killer.losses || !run_through_losses(h, what))
        program_until_done(h, what);
}

/* The target's end after a fault at step AT (0: none). LOSSES: so many steps from there on lose their connection; 0: the
 * program is killed there. */
static struct lines play(const struct script *script, uint64_t at, bool reaches, uint64_t losses,
                         struct course *out)
{
    char what[160];
    const char *how = losses ? "connections lost from" : "killed at";
    kill_arm(0, false, NULL);
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    kill_between(h);
    far.late_ms = script->late_ms;
    script_configure(script);
    h->cfg.quarantines = true;
    fill();
    haul_remove_state(h);
    kill_arm(at, reaches, &h->stop);
    killer.losses = losses;
    (void)snprintf(what, sizeof what, "%s, %s step %llu, which %s", script->name, how,
                   (unsigned long long)at, reaches ? "arrived" : "did not arrive");
    go_on(h, what);
    out->in_copy = killer.what != NULL;
    live_a_day();
    go_on(h, what);
    out->steps = killer.steps;
    out->was_killed = killer.what != NULL;
    kill_heal();
    live_another_day();
    go_on(h, what);
    haul_open_state(h);
    (void)snprintf(what, sizeof what, "%s, %s step %llu (%s), which %s", script->name, how,
                   (unsigned long long)at, kill_what(), reaches ? "arrived" : "did not arrive");
    struct lines before = lines_of("dst0");
    haul_run_quiet(h, what);
    struct lines end = lines_of("dst0");
    cr_assert(lines_same(&before, &end), "%s: a pass without news changed something", what);
    lines_free(&before);
    haul_close(h);
    return end;
}

/* --- killed at every step ---------------------------------------------------------------------------------- */

static bool check_fault(const struct script *script, const struct lines *want, uint64_t at,
                        bool reaches, uint64_t losses)
{
    char what[160];
    struct course course;
    struct lines got = play(script, at, reaches, losses, &course);
    bool is_same = lines_same(want, &got);
    (void)snprintf(what, sizeof what, "%s, %s step %llu of the %s (%s), which %s", script->name,
                   losses ? "connections lost from" : "killed at", (unsigned long long)at,
                   course.in_copy ? "copy" : "delta", kill_what(),
                   reaches ? "arrived" : "did not arrive");
    if (!is_same)
        lines_report(what, want, &got);
    cr_expect(is_same, "%s: not the undisturbed end", what);
    lines_free(&got);
    return course.was_killed;
}

static void fault_everywhere(const struct script *script, uint64_t losses)
{
    struct course course;
    uint64_t plays = 0;
    uint64_t kills = 0;
    const char *all = getenv("MH_TEST_ALL");
    kill_install();
    struct lines want = play(script, 0, false, losses, &course);
    const uint64_t steps = course.steps;
    cr_assert_gt(steps, 100, "%s: %llu steps only", script->name, (unsigned long long)steps);
    uint64_t n = steps > STEPS_ALL && !all ? STEPS_SAMPLED : steps;
    (void)fprintf(stderr, "%s: %llu steps, %s at %llu of them\n", script->name,
                  (unsigned long long)steps, losses ? "a connection lost" : "killed",
                  (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = 1 + i * steps / n;
        for (int other = 0; other < (all ? 2 : 1); other++, plays++)
            kills += check_fault(script, &want, at, (at + other) % 2, losses);
    }
    cr_assert_geq(kills * 10, plays * 8, "%s: %llu plays, %llu faults", script->name,
                  (unsigned long long)plays, (unsigned long long)kills);
    (void)fprintf(stderr, "%s: %llu faults\n", script->name, (unsigned long long)kills);
    lines_free(&want);
}

Test(kill, at_every_step_of_servers_that_can_everything, .timeout = 240)
{
    fault_everywhere(&(struct script){.name = "everything"}, 0);
}

Test(kill, at_every_step_with_answers_that_come_late, .timeout = 240)
{
    fault_everywhere(&(struct script){.name = "late", .is_condstore = true, .late_ms = 5}, 0);
}

Test(kill, at_every_step_of_servers_that_can_nothing, .timeout = 240)
{
    fault_everywhere(&(struct script){.name = "bare", .is_bare = true}, 0);
}

/* --- a connection lost at every step ------------------------------------------------------------------------ */

Test(kill, a_connection_lost_at_every_step_is_nobodys_verdict, .timeout = 240)
{
    fault_everywhere(&(struct script){.name = "everything"}, 1);
    fault_everywhere(&(struct script){.name = "late", .is_condstore = true, .late_ms = 5}, 1);
    fault_everywhere(&(struct script){.name = "bare", .is_bare = true}, 1);
}

Test(kill, connections_lost_again_and_again_are_nobodys_verdict, .timeout = 240)
{
    fault_everywhere(&(struct script){.name = "everything"}, 4);
    fault_everywhere(&(struct script){.name = "bare", .is_bare = true}, 4);
}

/* --- lost answers --------------------------------------------------------------------------------------------- */

enum { ANSWERS = 1000 /* with the batch stored */, RUNS_MAX = 40, LOST_FOLDERS = 3 };

static const char *const lost_folders[LOST_FOLDERS] = {"INBOX", "Work", "Work/Old"};

enum loss {
    LOSS_NOTHING,
    LOSS_OF_THE_ANSWER, /* the batch is stored */
    LOSS_OF_THE_BATCH,  /* … is not stored, though the message's last octet was sent */
    LOSSES,
};

/* What becomes of the message that is being sent; one target session. */
static struct {
    struct mh_mem_options options;
    unsigned every; /* about so many messages are between two losses */
    unsigned until;
    enum loss now;
    unsigned n[LOSSES];
} loser;

static int losing_begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err)
{
    loser.now = LOSS_NOTHING;
    if (loser.until > 0 && --loser.until == 0) {
        loser.now = below(3) ? LOSS_OF_THE_ANSWER : LOSS_OF_THE_BATCH;
        loser.until = 1 + below(2 * loser.every);
    }
    if (loser.now == LOSS_OF_THE_ANSWER) {
        struct mh_mem_options o = loser.options;
        o.lose_answer_nth = 1;
        int rc = mh_mem_configure("dst0", &o, err);
        if (rc != 0)
            return rc;
    }
    int rc = far_connector.append_begin(s, msg, err);
    loser.n[loser.now] += rc == 0;
    return rc;
}

static int losing_end(struct mh_session *s, struct mh_err *err)
{
    if (loser.now == LOSS_OF_THE_BATCH)
        s->is_dead = true;
    loser.now = LOSS_NOTHING;
    return far_connector.append_end(s, err);
}

static struct mh_connector losing_connector;

static void put_random_mail(unsigned *number)
{
    for (unsigned f = 0; f < LOST_FOLDERS; f++) {
        for (unsigned n = below(120); n > 0; n--) {
            unsigned i = (*number)++;
            /* Every fourth is a twin of its neighbour: the same octets, flags and date, in the same folder. */
            unsigned twins = below(4) ? 1 : 2;
            while (twins--)
                (void)put_number("src0", lost_folders[f], i, 200 + (i * 37) % 900);
        }
    }
}

static void assert_each_once(unsigned long long seed)
{
    for (unsigned f = 0; f < LOST_FOLDERS; f++) {
        struct difference d = differ("src0", lost_folders[f], "dst0", lost_folders[f], SAME_ALL);
        cr_assert(d.lost == 0 && d.extra == 0, "seed %llu, %s: %zu lost, %zu doubled or changed",
                  seed, lost_folders[f], d.lost, d.extra);
    }
    cr_assert_eq(store_messages("src0"), store_messages("dst0"), "seed %llu", seed);
}

static void run_until_done(struct haul *h, unsigned long long seed)
{
    char line[1024];
    unsigned runs = 0;
    bool was_partial = false;
    do {
        cr_assert_lt(runs++, RUNS_MAX, "seed %llu: it does not end: %s", seed,
                     mh_err_line(&h->err, line, sizeof line));
        h->cfg.retry_failed = false;
        (void)haul_run(h);
        /* A pass over what failed message by message says nothing of the others. */
        was_partial = h->code == 0 && h->res.counts.failed > 0;
        if (was_partial) {
            h->cfg.retry_failed = true;
            (void)haul_run(h);
            h->cfg.retry_failed = false;
        }
    } while (was_partial || !haul_went_through(h));
}

/* Two passes over a random mailbox. */
static void lose_answers(unsigned long long seed)
{
    char what[40];
    unsigned number = 0;
    (void)snprintf(what, sizeof what, "seed %llu", seed);
    chance_begin(seed);
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    losing_connector = far_connector;
    losing_connector.append_begin = losing_begin;
    losing_connector.append_end = losing_end;
    h->connectors[0] = &losing_connector;
    mh_mem_options_init(&loser.options);
    loser.options.uidplus = below(3) != 0;
    loser.options.multiappend = below(3) != 0;
    loser.options.condstore = below(2) != 0;
    configure("src0", &loser.options);
    configure("dst0", &loser.options);
    far.late_ms = below(2) ? 1 + below(50) : 0;
    for (unsigned f = 1; f < LOST_FOLDERS; f++)
        cr_assert(mh_mem_make_folder("src0", lost_folders[f]));
    for (unsigned pass = 0; pass < 2; pass++) {
        put_random_mail(&number);
        loser.every = 5 + below(25);
        loser.until = 1 + below(loser.every);
        run_until_done(h, seed);
        assert_each_once(seed);
        loser.until = 0;
        haul_run_quiet(h, what);
        assert_each_once(seed);
    }
    haul_close(h);
}

Test(kill, a_thousand_lost_answers, .timeout = 240)
{
    bool is_given = getenv("MH_TEST_SEED") != NULL;
    unsigned long long seed = chance_seed();
    unsigned long long first = seed;
    memset(&loser, 0, sizeof loser);
    shim_install(); /* nothing is really synced */
    (void)fprintf(stderr, "MH_TEST_SEED=%llu and following\n", first);
    do
        lose_answers(seed++);
    while (!is_given && loser.n[LOSS_OF_THE_ANSWER] < ANSWERS);
    (void)fprintf(stderr, "%llu mailboxes, %u answers lost, %u batches lost with them\n",
                  seed - first, loser.n[LOSS_OF_THE_ANSWER], loser.n[LOSS_OF_THE_BATCH]);
}
