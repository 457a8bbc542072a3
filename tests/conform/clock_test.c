/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fault 29: the wall clock jumps, and summer begins and ends, in the middle of everything. The clock is the test's: it stands
 * between the program and the C library, and is set while a run, a pause or a service is at work. What is measured goes on as if
 * nothing had happened; what is meant by the clock on the wall follows that.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "connectors/maildir/maildir_priv.h"
#include "haul.h"

#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"

enum { MAIL = 60, HOUR_S = 3600, DAY_S = 24 * HOUR_S };

/* --- the clock --------------------------------------------------------------------------------------------- */

static _Atomic int64_t ahead_s; /* of the machine's own */
static _Atomic unsigned looks;  /* of the test's own thread, which the engine waits in */
static pthread_t own_thread;

/* What this thread was told last, and what the clock was ahead then. */
static _Thread_local int64_t told_s, told_ahead_s;

static struct timespec true_time(clockid_t id)
{
    struct timespec ts;
    (void)syscall(SYS_clock_gettime, id, &ts);
    return ts;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    *ts = true_time(id);
    if (id != CLOCK_REALTIME)
        return 0;
    told_ahead_s = atomic_load(&ahead_s);
    ts->tv_sec += told_ahead_s;
    told_s = ts->tv_sec;
    if (pthread_equal(own_thread, pthread_self()))
        atomic_fetch_add(&looks, 1);
    return 0;
}

time_t time(time_t *out)
{
    time_t now = true_time(CLOCK_REALTIME).tv_sec + atomic_load(&ahead_s);
    if (out)
        *out = now;
    return now;
}

/* The kernel knows the true time only: a wait until a moment of the test's wall clock ends when that would have been. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *at)
{
    struct timespec until = *at;
    bool by_wall = llabs((long long)at->tv_sec - told_s) <= 2;
    if (by_wall)
        until.tv_sec -= told_ahead_s;
    return pthread_cond_clockwait(cond, mutex, by_wall ? CLOCK_REALTIME : CLOCK_MONOTONIC, &until);
}

static void set_clock(int64_t wall_s)
{
    atomic_store(&ahead_s, wall_s - (int64_t)true_time(CLOCK_REALTIME).tv_sec);
}

static int64_t utc(const char *s)
{
    struct tm tm = {0};
    cr_assert_not_null(strptime(s, "%Y-%m-%d %H:%M:%S", &tm), "%s", s);
    return (int64_t)timegm(&tm);
}

static const struct jump {
    const char *name;
    const char *from, *to; /* UTC */
} jumps[] = {
    {"not at all", "2026-11-22 12:00:00", "2026-11-22 12:00:00"},
    {"an hour ahead", "2026-11-22 12:00:00", "2026-11-22 13:00:00"},
    {"an hour back", "2026-11-22 12:00:00", "2026-11-22 11:00:00"},
    {"a day ahead", "2026-11-22 12:00:00", "2026-11-23 12:00:00"},
    {"a day back", "2026-11-22 12:00:00", "2026-11-21 12:00:00"},
    {"a year ahead", "2026-11-22 12:00:00", "2027-11-22 12:00:00"},
    {"a year back", "2026-11-22 12:00:00", "2025-11-22 12:00:00"},
    {"to 1970", "2026-11-22 12:00:00", "1970-05-01 00:00:00"},
    {"out of 1970", "1970-05-01 00:00:00", "2026-11-22 12:00:00"},
    {"to 2040", "2026-11-22 12:00:00", "2040-01-20 00:00:00"},
    {"summer begins", "2026-03-29 00:59:58", "2026-03-29 01:00:02"},
    {"summer ends", "2026-10-25 00:59:58", "2026-10-25 01:00:02"},
    {"set back over the end of summer", "2026-10-25 01:20:00", "2026-10-25 00:20:00"},
    {"set ahead over the begin of summer", "2026-03-29 00:30:00", "2026-03-29 02:30:00"},
};

static void in_berlin(void)
{
    cr_assert_eq(setenv("TZ", BERLIN, 1), 0);
    tzset();
}

TestSuite(clock, .init = in_berlin);

/* --- a run ----------------------------------------------------------------------------------------------------- */

static struct mh_connector hooked;
static struct {
    unsigned fetches;
    int64_t to_s; /* at the second fetch */
} hook;

static int hooked_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                        struct mh_sink *sink, struct mh_err *err)
{
    if (++hook.fetches == 2 && hook.to_s)
        set_clock(hook.to_s);
    return far_fetch(s, items, n, sink, err);
}

static void hook_into(struct haul *h, int64_t to_s)
{
    hooked = far_connector;
    hooked.fetch = hooked_fetch;
    hook.fetches = 0;
    hook.to_s = to_s;
    h->connectors[0] = &hooked;
}

static bool has_folder(const char *store, const char *path)
{
    struct mem_store *s = store_lock(store);
    bool has = mem_folder_find(s, path) != NULL;
    store_unlock(s);
    return has;
}

static bool has_quarantine(int64_t wall_s)
{
    char path[64];
    struct tm tm;
    time_t at = (time_t)wall_s;
    cr_assert_not_null(gmtime_r(&at, &tm));
    cr_assert_gt(strftime(path, sizeof path, "mailhaul-removed/%Y-%m-%d/INBOX", &tm), 0u);
    return has_folder("dst0", path);
}

/* Everything arrives once with its own date, what is deleted is put away under the day that the clock shows, no pass changes
 * anything once both sides are equal, and verify finds nothing. */
Test(clock, a_run_is_the_same_whatever_the_clock_does)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(jumps); i++) {
        struct haul *h = haul_open(1, 1, true, 16u << 20);
        struct mh_verify_result v;
        h->cfg.quarantines = true;
        set_clock(utc(jumps[i].from));
        hook_into(h, utc(jumps[i].to));
        put_numbers("src0", "INBOX", 0, MAIL);
        put_numbers("src0", "Old", 100, MAIL);
        haul_run_ok(h);
        cr_assert_geq(hook.fetches, 2u);
        ASSERT_SAME("INBOX");
        ASSERT_SAME("Old");
        ASSERT_COUNT(h, copied, 2 * MAIL);
        cr_assert(mh_mem_expunge("src0", "INBOX", 7));
        haul_run_ok(h);
        ASSERT_COUNT(h, removed, 1);
        cr_expect(has_quarantine(utc(jumps[i].to)), "%s", jumps[i].name);
        set_clock(utc(jumps[i].from));
        cr_assert(mh_mem_expunge("src0", "INBOX", 8));
        haul_run_ok(h);
        ASSERT_COUNT(h, removed, 1);
        cr_expect(has_quarantine(utc(jumps[i].from)), "%s", jumps[i].name);
        haul_run_ok(h);
        ASSERT_COUNT(h, copied, 0);
        ASSERT_COUNT(h, updated + h->res.counts.removed, 0);
        ASSERT_OK(mh_engine_verify(&h->cfg, &v, &err));
        cr_expect_eq(v.counts.exact, 2u * MAIL - 2, "%s", jumps[i].name);
        cr_expect_eq(v.counts.found, v.counts.exact, "%s", jumps[i].name);
        mh_verify_result_done(&v);
        haul_close(h);
    }
}

/* --- after a run that was broken off ------------------------------------------------------------------------------ */

static uint32_t leave_broken_off(struct haul *h)
{
    uint32_t mailbox = 0;
    struct mh_err err;
    char *src = mh_endpoint_format(&h->src[0]);
    char *dst = mh_endpoint_format(&h->dst[0]);
    cr_assert_eq(mh_state_mailbox(h->state, h->ids[0], src, dst, &mailbox, &err), 0);
    struct mh_run_row row = {
        .mailbox = mailbox, .started_wall_s = time(NULL), .phase = "moving", .problem = ""};
    cr_assert_eq(mh_state_put_run(h->state, &row, &err), 0);
    haul_close_state(h);
    mh_free(src);
    mh_free(dst);
    return mailbox;
}

/* How long ago the run before has written, as the state says it: by the wall clock of now. */
static int64_t age_s(struct haul *h, uint32_t mailbox)
{
    int64_t wall_s = 0;
    struct mh_err err;
    cr_assert_eq(mh_state_broken_off(h->state, mailbox, &wall_s, &err), 0);
    cr_assert_neq(wall_s, 0, "it was broken off");
    return time(NULL) - wall_s;
}

/* "<boot> <ms>" of the lock file. */
static void change_stamp(const struct haul *h, const char *boot, int64_t older_ms)
{
    enum { STAMP_AT = 256 };
    char path[128];
    char text[128] = "";
    char name[64] = "";
    long long ms = 0;
    (void)snprintf(path, sizeof path, "%s.lock", h->state_path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_gt(pread(fd, text, sizeof text - 1, STAMP_AT), 0);
    cr_assert_eq(sscanf(text, "%63s %lld", name, &ms), 2, "%s", text);
    memset(text, 0, sizeof text);
    int n = snprintf(text, sizeof text, "%s %lld\n", boot ? boot : name, ms - (long long)older_ms);
    cr_assert_gt(n, 0);
    cr_assert_eq(pwrite(fd, text, 96, STAMP_AT), 96);
    (void)close(fd);
}

/* The next run waits for what the target may still be storing: as long as is needed, not as the clocks say. */
Test(clock, the_age_of_a_broken_off_run_is_measured)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(jumps); i++) {
        const char *name = jumps[i].name;
        struct haul *h = haul_open(1, 1, true, 16u << 20);
        set_clock(utc(jumps[i].from));
        uint32_t mailbox = leave_broken_off(h);
        set_clock(utc(jumps[i].to));
        haul_open_state(h);
        cr_expect_leq(age_s(h, mailbox), 2, "%s: %lld s", name, (long long)age_s(h, mailbox));
        cr_expect_geq(age_s(h, mailbox), 0, "%s: %lld s", name, (long long)age_s(h, mailbox));
        set_clock(utc(jumps[i].from)); /* between opening and asking */
        cr_expect_leq(age_s(h, mailbox), 2, "%s: %lld s", name, (long long)age_s(h, mailbox));
        haul_close_state(h);
        change_stamp(h, NULL, 5 * 1000);
        haul_open_state(h);
        int64_t got_s = age_s(h, mailbox);
        cr_expect(got_s >= 5 && got_s <= 7, "%s: %lld s for 5", name, (long long)got_s);
        haul_close_state(h);
        haul_open_state(h);
        haul_close(h);
    }
}

/* The machine was started anew, or the state lies on another one: not older than the file says, nor than this start. */
Test(clock, the_age_over_a_restart_is_never_too_great)
{
    struct timespec up = true_time(CLOCK_BOOTTIME);
    for (size_t i = 0; i < MH_ARRAY_LEN(jumps); i++) {
        struct haul *h = haul_open(1, 1, true, 16u << 20);
        atomic_store(&ahead_s, 0); /* a file's time is the machine's */
        uint32_t mailbox = leave_broken_off(h);
        change_stamp(h, "00000000-0000-0000-0000-000000000000", 0);
        atomic_store(&ahead_s, utc(jumps[i].to) - utc(jumps[i].from));
        haul_open_state(h);
        int64_t most_s = MH_MAX(utc(jumps[i].to) - utc(jumps[i].from), (int64_t)0);
        int64_t got_s = age_s(h, mailbox);
        cr_expect(got_s >= 0 && got_s <= MH_MIN(most_s, (int64_t)up.tv_sec + 10) + 2,
                  "%s: %lld s of %lld, started %lld s ago", jumps[i].name, (long long)got_s,
                  (long long)most_s, (long long)up.tv_sec);
        haul_close(h);
    }
}

static int64_t opened_ms;

static void on_open(bool is_source)
{
    (void)is_source;
    if (opened_ms == 0)
        opened_ms = mh_now_ms();
}

Test(clock, a_run_waits_after_one_that_was_broken_off)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(jumps); i++) {
        struct haul *h = haul_open(1, 1, true, 16u << 20);
        set_clock(utc(jumps[i].from));
        (void)put_number("src0", "INBOX", 1, 500);
        (void)leave_broken_off(h);
        set_clock(utc(jumps[i].to));
        haul_open_state(h);
        opened_ms = 0;
        far.on_open = on_open;
        haul_run_ok(h);
        int64_t waited_ms = opened_ms - 1000000; /* where the virtual clock begins */
        cr_expect(waited_ms >= 8000 && waited_ms <= 10000, "%s: %lld ms", jumps[i].name,
                  (long long)waited_ms);
        haul_close(h);
    }
}

/* --- --until -------------------------------------------------------------------------------------------------------- */

enum { POLL_MS = 60 * 1000, POLLS = 30, ENOUGH_LOOKS = 5 };

static struct {
    struct haul *h;
    int64_t to_s, mended_s; /* 0: it stays as it is */
    int64_t lag_max_ms;
    bool is_spawned, was_early, was_heard;
    sem_t is_over;
} service;

static size_t carried(void)
{
    return store_messages("dst0");
}

/* The engine's own thread has looked at the clock since: real time, which the virtual one would run away from. */
static void await_looks(void *arg)
{
    (void)arg;
    unsigned before = atomic_load(&looks);
    while (atomic_load(&looks) - before < ENOUGH_LOOKS && atomic_load(&service.h->stop) == 0)
        (void)sched_yield();
}

static void live(void)
{
    while (atomic_load(&service.h->progress[0].phase) != MH_PHASE_WATCHING)
        if (mh_sleep_until(mh_now_ms() + 100) != 0)
            return;
    for (unsigned i = 0; i < POLLS && atomic_load(&service.h->stop) == 0; i++) {
        if (i == POLLS / 3)
            set_clock(service.to_s);
        size_t had = carried();
        int64_t since_ms = mh_now_ms();
        (void)put_number("src0", "INBOX", 1000 + i, 400);
        while (carried() == had && atomic_load(&service.h->stop) == 0 &&
               mh_now_ms() - since_ms < 10 * POLL_MS)
            if (mh_sleep_until(mh_now_ms() + 100) != 0)
                return;
        service.lag_max_ms = MH_MAX(service.lag_max_ms, mh_now_ms() - since_ms);
    }
    mh_offload(await_looks, NULL);
    if (service.mended_s) {
        service.was_early = atomic_load(&service.h->stop) != 0;
        set_clock(service.mended_s);
        mh_offload(await_looks, NULL);
    }
    /* The clock has said it by now; if it was not heard, the test must end all the same. */
    service.was_heard = atomic_load(&service.h->stop) != 0;
    atomic_store(&service.h->stop, MH_STOP_SOON);
}

static void service_life(void *arg)
{
    (void)arg;
    live();
    (void)sem_post(&service.is_over);
}

static void on_first_open(bool is_source)
{
    struct mh_err err;
    (void)is_source;
    if (service.is_spawned)
        return;
    service.is_spawned = true;
    if (mh_task_spawn(mh_sched_self(), "life", service_life, NULL, NULL, &err) != 0)
        abort();
}

static const struct {
    const char *name;
    const char *from, *to, *mended, *until;
} ends[] = {
    {"the clock jumps over it", "2026-11-22 12:00:00", "2026-11-22 13:00:00", NULL,
     "2026-11-22 12:30:00"},
    {"to 2040", "2026-11-22 12:00:00", "2040-01-20 00:00:00", NULL, "2026-11-22 12:30:00"},
    {"a day back, then set right", "2026-11-22 12:00:00", "2026-11-21 12:00:00",
     "2026-11-22 12:30:01", "2026-11-22 12:30:00"},
    {"to 1970, then set right", "2026-11-22 12:00:00", "1970-05-01 00:00:00", "2026-11-22 12:30:01",
     "2026-11-22 12:30:00"},
    {"summer begins on the way", "2026-03-29 00:59:58", "2026-03-29 01:00:02",
     "2026-03-29 04:00:00", "2026-03-29 04:00:00"},
    {"summer ends on the way", "2026-10-25 00:59:58", "2026-10-25 01:00:02", "2026-10-25 05:00:00",
     "2026-10-25 05:00:00"},
};

/* A service polls and carries as before; it ends when the clock on the wall says so, and not before. */
Test(clock, a_service_goes_on_until_the_clock_says_so)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(ends); i++) {
        struct haul *h = haul_open(1, 1, true, 16u << 20);
        memset(&service, 0, sizeof service);
        own_thread = pthread_self();
        cr_assert_eq(sem_init(&service.is_over, 0, 0), 0);
        service.h = h;
        service.to_s = utc(ends[i].to);
        service.mended_s = ends[i].mended ? utc(ends[i].mended) : 0;
        h->cfg.poll_ms = POLL_MS;
        h->cfg.until_wall_s = utc(ends[i].until);
        set_clock(utc(ends[i].from));
        put_numbers("src0", "INBOX", 0, MAIL);
        far.on_open = on_first_open;
        mh_result_done(&h->res);
        h->code = mh_engine_watch(&h->cfg, &h->res, &h->err);
        cr_assert(service.is_spawned);
        while (sem_wait(&service.is_over) != 0)
            continue;
        cr_expect_eq(h->code, 0, "%s: %s", ends[i].name, h->err.text);
        cr_expect(service.was_heard, "%s: the end was not heard", ends[i].name);
        cr_expect_not(service.was_early, "%s: too early", ends[i].name);
        cr_expect_leq(service.lag_max_ms, POLL_MS + 2000, "%s: %lld ms", ends[i].name,
                      (long long)service.lag_max_ms);
        cr_expect_gt(carried(), (size_t)MAIL + POLLS / 4, "%s: %zu", ends[i].name, carried());
        haul_close(h);
    }
}

/* --- locks that are files ---------------------------------------------------------------------------------------------- */

static void write_lock(int dir_fd, int64_t wall_s)
{
    int fd = openat(dir_fd, "dovecot-keywords.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    struct timespec at[2] = {{.tv_sec = wall_s}, {.tv_sec = wall_s}};
    cr_assert_eq(futimens(fd, at), 0);
    (void)close(fd);
}

static int dir_of_lock;
static _Atomic bool holder_is_done;

/* A holder that is alive: it takes the lock anew again and again, as one that writes much. */
static void *hold_keywords(void *arg)
{
    const struct timespec pause = {0, 50 * 1000000};
    int64_t wall_s = *(const int64_t *)arg;
    for (unsigned i = 0; !atomic_load(&holder_is_done); i++) {
        write_lock(dir_of_lock, wall_s + i);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

/* A dead holder's lock is broken whichever way the clock has jumped since, a live one's never. */
Test(clock, keyword_locks_of_a_maildir)
{
    static const struct {
        const char *name;
        int64_t age_s;
        bool is_alive;
        int want;
    } locks[] = {
        {"left an hour ago", HOUR_S, false, 0},
        {"left a moment ago", 1, false, MH_EFOLDER},
        {"left in a future that was taken back", -DAY_S, false, 0},
        {"held while the clock jumps ahead", DAY_S, true, MH_EFOLDER},
        {"held while the clock jumps back", -DAY_S, true, MH_EFOLDER},
    };
    char dir[] = "/tmp/mh-clock-XXXXXX";
    char command[64];
    cr_assert_not_null(mkdtemp(dir));
    dir_of_lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < MH_ARRAY_LEN(locks); i++) {
        struct maildir_keywords k;
        struct mh_err err = {0};
        bool changed = false;
        pthread_t holder;
        int64_t wall_s = time(NULL) - locks[i].age_s;
        cr_assert_eq(maildir_keywords_load(dir_of_lock, &k, NULL), 0);
        write_lock(dir_of_lock, wall_s);
        atomic_store(&holder_is_done, !locks[i].is_alive);
        cr_assert_eq(pthread_create(&holder, NULL, hold_keywords, &wall_s), 0);
        int rc = maildir_keywords_save(dir_of_lock, &k, &changed, &err);
        atomic_store(&holder_is_done, true);
        cr_assert_eq(pthread_join(holder, NULL), 0);
        cr_expect_eq(rc, locks[i].want, "%s: %d", locks[i].name, rc);
        (void)unlinkat(dir_of_lock, "dovecot-keywords.lock", 0);
        maildir_keywords_done(&k);
    }
    (void)close(dir_of_lock);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}
