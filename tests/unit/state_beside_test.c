/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A verify that keeps its notes in the store that a run writes: what each may do, that neither waits for ever, whose lock is whose. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "state/schema.h"
#include "state_store.h"

TestSuite(beside, .init = store_make, .fini = scratch_drop);

static struct mh_state *open_beside(void)
{
    struct mh_state *st = NULL;
    struct mh_err err;
    mh_err_reset(&err);
    cr_assert_eq(mh_state_open_beside(store_path, &st, &err), MH_OK, "%s", err.text);
    return st;
}

static uint32_t folder_of(struct mh_state *st, uint32_t mailbox)
{
    struct mh_err err;
    struct mh_state_folder f = {.id = mh_state_new_folder_id(st),
                                .mailbox = mailbox,
                                .src_path = (char *)"INBOX",
                                .dst_path = (char *)"INBOX",
                                .dst_native = (char *)"INBOX"};
    cr_assert_eq(mh_state_put_folder(st, &f, &err), MH_OK);
    return f.id;
}

static void put_note(struct mh_state *st, uint32_t mailbox, uint64_t next_uid)
{
    struct mh_err err;
    struct mh_verify_row row = {
        .mailbox = mailbox, .src_path = "INBOX", .mode = "deep", .next_uid = next_uid};
    cr_assert_eq(mh_state_put_verify(st, &row, NULL, 0, &err), MH_OK);
}

static int on_note(void *ctx, const struct mh_verify_row *row)
{
    *(uint64_t *)ctx = row->next_uid;
    return 0;
}

static int on_note_item(void *ctx, const char *src_path, const struct mh_verify_item *item)
{
    (void)ctx;
    (void)src_path;
    (void)item;
    return 0;
}

static uint64_t note_of(struct mh_state *st, uint32_t mailbox)
{
    uint64_t next_uid = 0;
    struct mh_err err;
    cr_assert_eq(mh_state_verify(st, mailbox, on_note, on_note_item, &next_uid, &err), MH_OK);
    return next_uid;
}

static int64_t ask_file(const char *sql)
{
    sqlite3 *db = open_file();
    sqlite3_stmt *stmt = NULL;
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    return n;
}

static void put_item(struct mh_state *st, uint32_t folder, uint64_t uid)
{
    struct mh_err err;
    struct mh_state_batch *b = NULL;
    cr_assert_eq(mh_state_batch_get(st, folder, &b, &err), MH_OK);
    b->rows[b->n++] = (struct mh_state_item){.src_uid = uid, .dst_uid = uid};
    cr_assert_eq(mh_state_batch_put(st, b, &err), MH_OK);
}

/* --- whose is what ------------------------------------------------------------------------------------------ */

Test(beside, notes_are_kept_while_a_run_works)
{
    struct mh_err err;
    struct mh_state *run = open_store(false);
    uint32_t anna = mailbox_of(run, "anna");
    uint32_t folder = folder_of(run, anna);
    struct mh_state *notes = open_beside();
    cr_expect(mh_state_run_is_on(notes));
    cr_expect_not(mh_state_run_is_on(run), "its own run is none of somebody else");
    cr_assert_eq(mailbox_of(notes, "anna"), anna);
    put_note(notes, anna, 17);
    put_item(run, folder, 1);
    sync_store(notes);
    sync_store(run);
    cr_expect_eq(note_of(run, anna), 17u);
    struct mh_state_items items;
    cr_assert_eq(mh_state_items(notes, folder, &items, &err), MH_OK);
    cr_expect_eq(items.n, 1u, "what the run commits is seen");
    mh_state_items_done(&items);
    close_store(run);
    cr_expect_not(mh_state_run_is_on(notes));
    put_note(notes, anna, 18);
    close_store(notes);
    run = open_store(false);
    cr_expect_eq(note_of(run, anna), 18u);
    close_store(run);
}

Test(beside, what_is_the_runs_is_refused)
{
    struct mh_err err;
    struct mh_state *notes = open_beside();
    uint32_t anna = mailbox_of(notes, "anna");
    uint32_t kw = 0;
    struct mh_state_batch *b = NULL;
    const struct mh_state_folder f = {.id = 1, .mailbox = anna, .src_path = (char *)"INBOX"};
    const struct mh_ledger_row l = {.folder = 1, .state = "s", .reason = "r", .text = "t"};
    const struct mh_run_row r = {.mailbox = anna, .phase = "moving", .problem = ""};
    cr_assert_eq(mh_state_batch_get(notes, 1, &b, &err), MH_OK);
    cr_expect_eq(mh_state_batch_put(notes, b, &err), MH_ERUN);
    cr_expect_eq(mh_state_put_folder(notes, &f, &err), MH_ERUN);
    cr_expect_eq(mh_state_clear_items(notes, 1, &err), MH_ERUN);
    cr_expect_eq(mh_state_put_ledger(notes, &l, &err), MH_ERUN);
    cr_expect_eq(mh_state_clear_ledger(notes, 1, &err), MH_ERUN);
    cr_expect_eq(mh_state_clear_ledger_item(notes, 1, 1, &err), MH_ERUN);
    cr_expect_eq(mh_state_put_run(notes, &r, &err), MH_ERUN);
    cr_expect_eq(mh_state_kw_id(notes, "work", &kw, &err), MH_ERUN);
    cr_expect_not_null(strstr(err.text, "beside"), "%s", err.text);
    close_store(notes);
}

/* No number is given twice, whoever asks first. */
Test(beside, mailboxes_of_both_have_numbers_of_their_own)
{
    struct mh_state *notes = open_beside(); /* makes the store */
    struct mh_state *run = open_store(false);
    struct mh_state *more = open_beside();
    uint32_t a = mailbox_of(run, "a");
    uint32_t b = mailbox_of(notes, "b");
    uint32_t c = mailbox_of(run, "c");
    uint32_t d = mailbox_of(more, "d");
    cr_expect(a != b && a != c && a != d && b != c && b != d && c != d, "%u %u %u %u", a, b, c, d);
    cr_expect_eq(mailbox_of(notes, "c"), c);
    cr_expect_eq(mailbox_of(run, "d"), d);
    close_store(more);
    close_store(run);
    close_store(notes);
}

/* A run that was killed is told from one that ended by a mark that a verify must not set. */
Test(beside, the_mark_of_good_order_is_the_runs)
{
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct mh_err err;
        struct mh_state *st = NULL;
        _exit(mh_state_open(store_path, false, &st, &err) == MH_OK ? 0 : 1); /* and is not closed */
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    cr_expect_eq(ask_file("SELECT clean FROM life"), 0);
    struct mh_state *notes = open_beside();
    put_note(notes, mailbox_of(notes, "anna"), 3);
    close_store(notes);
    cr_expect_eq(ask_file("SELECT clean FROM life"), 0);
    struct mh_state *run = open_store(false);
    notes = open_beside();
    put_note(notes, mailbox_of(notes, "anna"), 4);
    close_store(run);
    cr_expect_eq(ask_file("SELECT clean FROM life"), 1);
    put_note(notes, mailbox_of(notes, "anna"), 5);
    close_store(notes);
    cr_expect_eq(ask_file("SELECT clean FROM life"), 1);
}

/* --- an older schema ---------------------------------------------------------------------------------------------- */

static int hold_run_lock(void)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s.lock", store_path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    cr_assert_geq(fd, 0);
    cr_assert_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
    return fd;
}

Test(beside, tables_are_not_changed_under_a_run_of_an_older_version)
{
    struct mh_err err;
    struct mh_state *notes = NULL;
    char sql[128];
    tell_file(migrations[0]);
    (void)snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = 1",
                   MH_STATE_APPLICATION_ID);
    tell_file(sql);
    int fd = hold_run_lock();
    cr_expect_eq(mh_state_open_beside(store_path, &notes, &err), MH_ERUN);
    cr_expect_not_null(strstr(err.text, "older mailhaul"), "%s", err.text);
    (void)close(fd);
    cr_expect_eq(ask_file("PRAGMA user_version"), 1);
    close_store(open_beside());
    cr_expect_eq(ask_file("PRAGMA user_version"), MH_STATE_SCHEMA);
}

/* --- one verify of a mailbox ------------------------------------------------------------------------------------- */

Test(beside, one_verify_of_a_mailbox_at_a_time)
{
    struct mh_err err;
    struct mh_state *run = open_store(false);
    struct mh_state *one = open_beside();
    struct mh_state *two = open_beside();
    uint32_t anna = mailbox_of(run, "anna");
    uint32_t berta = mailbox_of(run, "berta");
    char pid[32];
    (void)snprintf(pid, sizeof pid, "pid %ld on ", (long)getpid());
    cr_assert_eq(mh_state_lock_verify(one, anna, "verify --deep of anna", &err), MH_OK);
    cr_expect_eq(mh_state_lock_verify(two, anna, "verify of anna", &err), MH_ELOCKED);
    cr_expect_not_null(strstr(err.text, "verify --deep of anna"), "%s", err.text);
    cr_expect_not_null(strstr(err.text, pid), "%s", err.text);
    cr_expect_eq(mh_state_lock_verify(two, berta, "verify of berta", &err), MH_OK);
    cr_expect_eq(mh_state_lock_verify(one, berta, "verify of berta", &err), MH_ELOCKED);
    mh_state_unlock_verify(one, anna);
    cr_expect_eq(mh_state_lock_verify(two, anna, "verify of anna", &err), MH_OK);
    cr_expect_eq(mh_state_lock_verify(run, anna, "verify of anna", &err), MH_ELOCKED);
    close_store(two);
    cr_expect_eq(mh_state_lock_verify(one, anna, "verify of anna", &err), MH_OK,
                 "closing gives all back");
    close_store(one);
    close_store(run);
}

Test(beside, the_lock_of_a_dead_verify_is_free)
{
    struct mh_err err;
    struct mh_state *mine = open_beside();
    uint32_t anna = mailbox_of(mine, "anna");
    char byte = 0;
    char pid_text[32];
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct mh_state *st = NULL;
        if (mh_state_open_beside(store_path, &st, &err) != MH_OK ||
            mh_state_lock_verify(st, anna, "verify of anna", &err) != MH_OK ||
            write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    int code = mh_state_lock_verify(mine, anna, "verify of anna", &err);
    (void)snprintf(pid_text, sizeof pid_text, "pid %ld", (long)pid);
    cr_expect_not_null(strstr(err.text, pid_text), "%s", err.text);
    (void)kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_expect_eq(code, MH_ELOCKED);
    cr_expect_eq(mh_state_lock_verify(mine, anna, "verify of anna", &err), MH_OK);
    close_store(mine);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

/* --- two that write ---------------------------------------------------------------------------------------------- */

enum { NOTES = 200, TURN_MS_MAX = 5000 };

static _Atomic bool run_must_end;
static struct mh_state *busy_run;
static uint32_t busy_folder;
static _Atomic uint64_t n_put;

/* As much as the store takes, one transaction behind the other. */
static void *run_main(void *arg)
{
    (void)arg;
    struct mh_err err;
    for (uint64_t uid = 1; !atomic_load(&run_must_end);) {
        struct mh_state_batch *b = NULL;
        if (mh_state_batch_get(busy_run, busy_folder, &b, &err) != MH_OK)
            abort();
        for (; b->n < MH_STATE_BATCH_ROWS; uid++)
            b->rows[b->n++] = (struct mh_state_item){.src_uid = uid % 50000 + 1, .dst_uid = uid};
        if (mh_state_batch_put(busy_run, b, &err) != MH_OK)
            abort();
        atomic_fetch_add(&n_put, 1);
    }
    return NULL;
}

Test(beside, neither_keeps_the_other_waiting, .timeout = 120)
{
    pthread_t thread;
    int64_t longest_ms = 0;
    busy_run = open_store(false);
    uint32_t anna = mailbox_of(busy_run, "anna");
    busy_folder = folder_of(busy_run, anna);
    struct mh_state *notes = open_beside();
    cr_assert_eq(pthread_create(&thread, NULL, run_main, NULL), 0);
    while (atomic_load(&n_put) < 100)
        (void)sched_yield();
    uint64_t before = atomic_load(&n_put);
    for (uint64_t i = 1; i <= NOTES; i++) {
        int64_t since_ms = mh_clock_mono_ms();
        put_note(notes, anna, i);
        sync_store(notes);
        longest_ms = MH_MAX(longest_ms, mh_clock_mono_ms() - since_ms);
    }
    uint64_t meanwhile = atomic_load(&n_put) - before;
    atomic_store(&run_must_end, true);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_lt(longest_ms, TURN_MS_MAX, "%lld ms", (long long)longest_ms);
    cr_expect_gt(meanwhile, (uint64_t)NOTES, "the run came to %llu batches",
                 (unsigned long long)meanwhile);
    sync_store(busy_run);
    cr_expect_eq(note_of(busy_run, anna), (uint64_t)NOTES);
    close_store(notes);
    close_store(busy_run);
}

static void *hold_transaction(void *arg)
{
    const struct timespec a_while = {0, 300 * 1000000};
    (void)nanosleep(&a_while, NULL);
    return sqlite3_exec(arg, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? NULL : arg;
}

/* A transaction of somebody else that lasts is waited for, by either. */
Test(beside, a_long_transaction_is_no_error)
{
    for (unsigned i = 0; i < 2; i++) {
        pthread_t thread;
        void *failed = NULL;
        struct mh_state *st = i ? open_beside() : open_store(false);
        uint32_t anna = mailbox_of(st, "anna");
        sqlite3 *db = open_file();
        cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
        cr_assert_eq(pthread_create(&thread, NULL, hold_transaction, db), 0);
        put_note(st, anna, 7);
        sync_store(st);
        cr_assert_eq(pthread_join(thread, &failed), 0);
        cr_expect_null(failed);
        cr_expect_eq(note_of(st, anna), 7u);
        (void)sqlite3_close(db);
        close_store(st);
    }
}

/* --- the log -------------------------------------------------------------------------------------------------------- */

static off_t log_bytes(void)
{
    char name[128];
    struct stat info;
    (void)snprintf(name, sizeof name, "%s-wal", store_path);
    cr_assert_eq(stat(name, &info), 0, "%s", name);
    return info.st_size;
}

static void put_much(struct mh_state *st, uint32_t mailbox, uint64_t next_uid)
{
    enum { ITEMS = 256 };
    static char text[4000];
    struct mh_verify_item items[ITEMS];
    struct mh_err err;
    struct mh_verify_row row = {
        .mailbox = mailbox, .src_path = "INBOX", .mode = "deep", .next_uid = next_uid};
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < ITEMS; i++)
        items[i] = (struct mh_verify_item){i, "s", "r", text};
    cr_assert_eq(mh_state_put_verify(st, &row, items, ITEMS, &err), MH_OK);
    sync_store(st);
}

/* Two writers bring the log into the file in turn: it stays within twice what one would let it grow to (16 MiB). */
Test(beside, the_log_stays_within_its_bounds)
{
    struct mh_state *run = open_store(false);
    struct mh_state *notes = open_beside();
    uint32_t a = mailbox_of(run, "a");
    uint32_t b = mailbox_of(run, "b");
    off_t most = 0;
    for (uint64_t i = 1; i <= 90; i++) {
        put_much(i % 3 ? run : notes, i % 3 ? a : b, i);
        most = MH_MAX(most, log_bytes());
    }
    cr_expect_gt(most, (off_t)8 << 20, "%lld bytes: there was little to bound", (long long)most);
    cr_expect_leq(most, (off_t)(2 * 16 + 4) << 20, "%lld bytes", (long long)most);
    cr_expect_gt(ask_file("PRAGMA page_count"), 80 * 256, "it went into the file");
    close_store(notes);
    close_store(run);
}
