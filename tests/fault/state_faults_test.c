/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Faults 25-28 of the matrix below the state: killed at every write, power lost with and without a disk that
 * keeps its word, full, failing and read-only disks, out of memory at every allocation.
 *
 * All run one script: some runs of some batches, each batch with what goes with it. Whatever happens to it, the
 * script run again must end with the very rows of an undisturbed one.
 */
#include <criterion/criterion.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "shim_vfs.h"
#include "state/schema.h"
#include "state/state.h"

static char dir[64];
static char path[96];

static void make_dir(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/mh-fault-test-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/state.db", dir);
}

/* In the scratch folder. */
static void run_command(const char *words)
{
    char *command = mh_asprintf("cd '%s' && %s", dir, words);
    cr_assert_eq(system(command), 0, "%s", command);
    mh_free(command);
}

static void drop_dir(void)
{
    run_command("rm -rf \"$PWD\"");
}

static void drop_store(void)
{
    run_command("rm -f state.db*");
}

TestSuite(state_faults, .init = make_dir, .fini = drop_dir, .timeout = 240);

/* --- the script --------------------------------------------------------------------------------------- */

struct script {
    unsigned runs, batches, rows; /* batches of a run, rows of a batch */
};

/* Seen by the parent of a process that dies. */
struct progress {
    uint64_t handed_over, synced, kept; /* batches; kept: when the store was closed last */
};
static struct progress *progress;

/* Every test begins with this, the disk below SQLite in its place. */
static void begin(void)
{
    shim_install();
    progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(progress, MAP_FAILED);
}

struct position {
    uint32_t mailbox, folder;
    uint64_t batch;       /* that comes next */
    uint64_t verify_next; /* of the verify row */
};

static struct mh_state_item row_of(uint64_t uid, uint32_t kw)
{
    struct mh_state_item i = {.src_uid = uid,
                              .dst_uid = uid + 1000,
                              .size = uid * 7,
                              .date = {1500000000 + (int64_t)uid, 60, true},
                              .kw = kw,
                              .flags = MH_SEEN,
                              .object_id = uid << 20,
                              .has_digest = true};
    mh_digest_of(&uid, sizeof uid, &i.digest);
    return i;
}

static int see_verify(void *ctx, const struct mh_verify_row *row)
{
    *(uint64_t *)ctx = row->next_uid;
    return 0;
}

static int see_verify_item(void *ctx, const char *src_path, const struct mh_verify_item *item)
{
    (void)ctx;
    (void)src_path;
    (void)item;
    return 0;
}

/* Where a run before has left off. */
static int find_position(struct mh_state *st, const struct script *s, struct position *p,
                         struct mh_err *err)
{
    struct mh_state_folders folders = {0};
    struct mh_state_items items = {0};
    *p = (struct position){0};
    int code = mh_state_mailbox(st, "anna", "imap://a", "imap://b", &p->mailbox, err);
    if (code == MH_OK)
        code = mh_state_folders(st, p->mailbox, &folders, err);
    if (code == MH_OK && folders.n)
        p->folder = folders.v[folders.n - 1].id;
    if (code == MH_OK && folders.n)
        code = mh_state_items(st, p->folder, &items, err);
    if (code == MH_OK)
        code = mh_state_verify(st, p->mailbox, see_verify, see_verify_item, &p->verify_next, err);
    p->batch = items.n / s->rows;
    mh_state_items_done(&items);
    mh_state_folders_done(&folders);
    if (code == MH_OK && !p->folder) {
        struct mh_state_folder f = {.id = mh_state_new_folder_id(st),
                                    .mailbox = p->mailbox,
                                    .src_path = (char *)"INBOX",
                                    .dst_path = (char *)"INBOX"};
        p->folder = f.id;
        code = mh_state_put_folder(st, &f, err);
    }
    return code;
}

static int put_around(struct mh_state *st, const struct script *s, const struct position *p,
                      struct mh_err *err)
{
    struct mh_run_row run = {.mailbox = p->mailbox,
                             .phase = "moving",
                             .problem = "",
                             .found = p->batch * s->rows,
                             .lag_ms = -1};
    struct mh_ledger_row skipped = {p->folder, 100000 + p->batch, "skipped", "too-big", "as told"};
    struct mh_verify_item found = {p->batch, "missing", "absent", "not there"};
    struct mh_verify_row verify = {
        .mailbox = p->mailbox, .src_path = "INBOX", .mode = "deep", .next_uid = p->batch + 1};
    int code = mh_state_put_run(st, &run, err);
    if (code == MH_OK)
        code = mh_state_put_ledger(st, &skipped, err);
    if (code == MH_OK && p->batch > 0)
        code = mh_state_clear_ledger_item(st, p->folder, 100000 + p->batch - 1, err);
    if (code == MH_OK && p->verify_next < verify.next_uid)
        code = mh_state_put_verify(st, &verify, &found, 1, err);
    return code;
}

static int put_batch(struct mh_state *st, const struct script *s, struct position *p,
                     struct mh_err *err)
{
    char words[32];
    uint32_t kw = 0;
    struct mh_state_batch *b = NULL;
    (void)snprintf(words, sizeof words, "set-%u", (unsigned)(p->batch / 3));
    int code = mh_state_kw_id(st, words, &kw, err);
    if (code == MH_OK)
        code = put_around(st, s, p, err);
    if (code == MH_OK)
        code = mh_state_batch_get(st, p->folder, &b, err);
    if (code != MH_OK)
        return code;
    for (unsigned i = 0; i < s->rows; i++)
        b->rows[b->n++] = row_of(p->batch * s->rows + i + 1, kw);
    b->target_uidnext = (p->batch + 1) * s->rows + 1001;
    p->batch++;
    if (progress)
        progress->handed_over = p->batch;
    code = mh_state_batch_put(st, b, err);
    if (code == MH_OK)
        code = mh_state_sync(st, err);
    if (code == MH_OK && progress)
        progress->synced = p->batch;
    return code;
}

/* One run: to the next multiple of the batches of a run. */
static int run_once(const struct script *s, bool *is_done, struct mh_err *err)
{
    struct mh_state *st = NULL;
    struct position p;
    struct mh_err close_err;
    mh_err_reset(err);
    int code = mh_state_open(path, false, &st, err);
    if (code != MH_OK)
        return code;
    code = find_position(st, s, &p, err);
    uint64_t until =
        MH_MIN((p.batch / s->batches + 1) * s->batches, (uint64_t)s->runs * s->batches);
    while (code == MH_OK && p.batch < until)
        code = put_batch(st, s, &p, err);
    *is_done = p.batch == (uint64_t)s->runs * s->batches;
    int closed = mh_state_close(st, &close_err);
    if (code == MH_OK && closed != MH_OK)
        *err = close_err;
    if (code == MH_OK && closed == MH_OK && progress)
        progress->kept = p.batch;
    return code == MH_OK ? closed : code;
}

static int run_script(const struct script *s, struct mh_err *err)
{
    bool is_done = false;
    int code = MH_OK;
    while (code == MH_OK && !is_done)
        code = run_once(s, &is_done, err);
    return code;
}

/* --- what must be there ----------------------------------------------------------------------------------- */

static int add_row(void *ctx, int n, char **values, char **names)
{
    char **dump = ctx;
    (void)names;
    for (int i = 0; i < n; i++) {
        char *longer =
            mh_asprintf("%s%s%s", *dump, values[i] ? values[i] : "-", i + 1 < n ? "|" : "\n");
        mh_free(*dump);
        *dump = longer;
    }
    return 0;
}

/* Every row of every table but "life", as text; and the store must be sound. */
static char *dump_store(void)
{
    static const char *const queries[] = {
        "PRAGMA integrity_check",
        "PRAGMA foreign_key_check",
        "SELECT * FROM mailbox",
        "SELECT * FROM folder",
        "SELECT * FROM keyword_set",
        ("SELECT folder, count(*), min(src_uid), max(src_uid), sum(size), sum(kw), sum(dst_uid), "
         "group_concat(hex(digest), ' ') FROM (SELECT * FROM item ORDER BY src_uid) GROUP BY "
         "folder"),
        "SELECT count(*) FROM item INDEXED BY item_by_dst WHERE dst_uid > 0",
        "SELECT * FROM ledger",
        "SELECT * FROM run",
        "SELECT mailbox, src_path, mode, next_uid FROM verify",
        "SELECT uid, state, reason, text FROM verify_item ORDER BY id",
    };
    sqlite3 *db = NULL;
    char *dump = mh_strdup("");
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    for (size_t i = 0; i < MH_ARRAY_LEN(queries); i++) {
        char *message = NULL;
        int rc = sqlite3_exec(db, queries[i], add_row, &dump, &message);
        cr_assert_eq(rc, SQLITE_OK, "%s: %s", queries[i], message);
    }
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
    cr_assert_eq(strncmp(dump, "ok\n", 3), 0, "%.300s", dump);
    return dump;
}

/* The rows of an undisturbed run. */
static char *undisturbed(const struct script *s)
{
    struct mh_err err;
    cr_assert_eq(run_script(s, &err), MH_OK, "%s", err.text);
    char *dump = dump_store();
    drop_store();
    return dump;
}

/* The store must be as some batches in a row, no more than AT_MOST, left it; how many. */
static uint64_t check_earlier(const struct script *s, uint64_t at_most, const char *what)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    struct mh_state_folders folders = {0};
    struct mh_state_items items = {0};
    mh_err_reset(&err);
    cr_assert_eq(mh_state_open(path, false, &st, &err), MH_OK, "%s: %s", what, err.text);
    cr_assert_eq(mh_state_folders(st, 1, &folders, &err), MH_OK);
    if (folders.n)
        cr_assert_eq(mh_state_items(st, folders.v[0].id, &items, &err), MH_OK);
    uint64_t n = items.n / s->rows;
    cr_assert_eq(items.n % s->rows, 0, "%s: half a batch", what);
    cr_assert_leq(n, at_most, "%s: rows that were never handed over", what);
    if (folders.n)
        cr_assert_eq(folders.v[0].target_uidnext, n ? n * s->rows + 1001 : 0, "%s", what);
    for (size_t i = 0; i < items.n; i++) {
        char words[32];
        char text[32];
        struct mh_state_item want = row_of(i + 1, items.v[i].kw);
        cr_assert_eq(items.v[i].src_uid, want.src_uid, "%s", what);
        cr_assert_eq(items.v[i].dst_uid, want.dst_uid, "%s", what);
        cr_assert_eq(memcmp(&items.v[i].digest, &want.digest, sizeof want.digest), 0, "%s", what);
        (void)snprintf(words, sizeof words, "set-%u", (unsigned)(i / s->rows / 3));
        cr_assert_str_eq(mh_state_kw_text(st, want.kw, text, sizeof text), words, "%s", what);
    }
    mh_state_items_done(&items);
    mh_state_folders_done(&folders);
    cr_assert_eq(mh_state_close(st, &err), MH_OK, "%s: %s", what, err.text);
    return n;
}

static void check_resumed(const struct script *s, const char *want, const char *what)
{
    struct mh_err err;
    cr_assert_eq(run_script(s, &err), MH_OK, "%s: %s", what, err.text);
    char *dump = dump_store();
    cr_assert_str_eq(dump, want, "%s", what);
    mh_free(dump);
}

/* --- 25: killed ------------------------------------------------------------------------------------------- */

static void make_old_store(void)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, migrations[0], NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "PRAGMA application_id = 0x6d687374; PRAGMA user_version = 1",
                              NULL, NULL, NULL),
                 SQLITE_OK);
    (void)sqlite3_close(db);
}

enum end { END_KILL, END_CUT };

/*
 * Runs the script in a child that dies at its AT-th change (0: not at all). True when it died; *CHANGES: how many there
 * were when it did not.
 */
static bool run_until(const struct script *s, enum end end, enum shim_loss loss, uint64_t at,
                      uint64_t *changes)
{
    int status = 0;
    uint64_t *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(shared, MAP_FAILED);
    *progress = (struct progress){0};
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct mh_err err;
        shim.changes = 0;
        shim.kill_at = end == END_KILL ? at : 0;
        shim.cut_at = end == END_CUT ? at : 0;
        shim.loss = loss;
        shim.seed = at * 2654435761u + (uint64_t)loss + 1;
        int code = run_script(s, &err);
        *shared = shim.changes;
        _exit(code == MH_OK ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    bool is_dead = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    cr_assert(is_dead || status == 0, "status %d", status);
    *changes = *shared;
    (void)munmap(shared, sizeof *shared);
    return is_dead;
}

enum { KILLS_MAX = 500, POINTS = 100 };

/* So that of N places some POINTS_WANTED are taken, all of them when they are not many more. */
static uint64_t stride(uint64_t n, uint64_t points_wanted)
{
    return MH_MAX(n / points_wanted, (uint64_t)1);
}

static void kill_everywhere(bool is_old)
{
    const struct script s = {2, 4, 40};
    uint64_t changes = 0;
    uint64_t ignored = 0;
    unsigned kills = 0;
    begin();
    char *want = undisturbed(&s);
    if (is_old)
        make_old_store();
    cr_assert(!run_until(&s, END_KILL, SHIM_LOSE_NOTHING, 0, &changes));
    cr_assert_gt(changes, 100);
    for (uint64_t at = 1; at <= changes; at += stride(changes, KILLS_MAX)) {
        char what[32];
        (void)snprintf(what, sizeof what, "change %llu", (unsigned long long)at);
        drop_store();
        if (is_old)
            make_old_store();
        if (!run_until(&s, END_KILL, SHIM_LOSE_NOTHING, at, &ignored))
            break; /* this time it came through with fewer */
        kills++;
        uint64_t n = check_earlier(&s, progress->handed_over, what);
        cr_assert_geq(n, progress->synced, "%s: what was committed is lost", what);
        check_resumed(&s, want, what);
    }
    cr_assert_geq(kills, 100);
    mh_free(want);
}

Test(state_faults, killed_at_every_write)
{
    kill_everywhere(false);
}

Test(state_faults, killed_while_an_old_store_is_migrated)
{
    kill_everywhere(true);
}

/* --- 26: power lost ---------------------------------------------------------------------------------------- */

static void cut_everywhere(enum shim_loss loss)
{
    const struct script s = {3, 6, 60};
    uint64_t changes = 0;
    uint64_t ignored = 0;
    uint64_t lost = 0;
    unsigned cuts = 0;
    begin();
    char *want = undisturbed(&s);
    cr_assert(!run_until(&s, END_CUT, loss, UINT64_MAX, &changes));
    for (uint64_t at = 1; at <= changes; at += stride(changes, POINTS)) {
        char what[48];
        (void)snprintf(what, sizeof what, "loss %d at change %llu", (int)loss,
                       (unsigned long long)at);
        drop_store();
        if (!run_until(&s, END_CUT, loss, at, &ignored))
            break; /* this time it came through with fewer */
        uint64_t n = check_earlier(&s, progress->handed_over, what);
        if (loss != SHIM_LOSE_TAIL)
            cr_assert_geq(n, progress->kept, "%s: what was closed is lost", what);
        cuts++;
        lost += progress->handed_over - n;
        check_resumed(&s, want, what);
    }
    cr_assert_geq(cuts, POINTS / 2);
    cr_assert_gt(lost, 0, "a cut that costs nothing is none");
    mh_free(want);
}

Test(state_faults, power_lost_with_all_that_was_not_synced)
{
    cut_everywhere(SHIM_LOSE_ALL);
}

Test(state_faults, power_lost_with_torn_writes)
{
    cut_everywhere(SHIM_LOSE_SECTORS);
}

Test(state_faults, fsync_dropped_by_a_disk_that_keeps_the_order)
{
    cut_everywhere(SHIM_LOSE_TAIL);
}

/* Rows as they were handed over, whichever; or the store is refused with what to do. True: it was read. */
static bool read_what_is_left(const struct script *s, const char *what)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    struct mh_state_folders folders = {0};
    struct mh_state_items items = {0};
    mh_err_reset(&err);
    int code = mh_state_open(path, false, &st, &err);
    if (code == MH_OK)
        code = mh_state_folders(st, 1, &folders, &err);
    for (size_t i = 0; code == MH_OK && i < folders.n; i++)
        code = mh_state_items(st, folders.v[i].id, &items, &err);
    if (code != MH_OK) {
        cr_assert_eq(code, MH_ERUN, "%s", what);
        cr_assert(strstr(err.text, "move it away") || strstr(err.text, "move the file away"),
                  "%s: %s", what, err.text);
    }
    for (size_t i = 0; i < items.n; i++) {
        struct mh_state_item want = row_of(items.v[i].src_uid, 0);
        cr_assert_leq(want.src_uid, progress->handed_over * s->rows, "%s", what);
        cr_assert_eq(items.v[i].dst_uid, want.dst_uid, "%s", what);
        cr_assert_eq(memcmp(&items.v[i].digest, &want.digest, sizeof want.digest), 0, "%s", what);
    }
    mh_state_items_done(&items);
    mh_state_folders_done(&folders);
    (void)mh_state_close(st, &err);
    return code == MH_OK;
}

Test(state_faults, fsync_dropped_by_a_disk_that_keeps_nothing)
{
    const struct script s = {3, 6, 60};
    uint64_t changes = 0;
    uint64_t ignored = 0;
    unsigned left = 0;
    unsigned refused = 0;
    begin();
    cr_assert(!run_until(&s, END_CUT, SHIM_LOSE_PAGES, UINT64_MAX, &changes));
    for (uint64_t at = 1; at <= changes; at += stride(changes, 2 * POINTS)) {
        char what[32];
        (void)snprintf(what, sizeof what, "change %llu", (unsigned long long)at);
        drop_store();
        if (!run_until(&s, END_CUT, SHIM_LOSE_PAGES, at, &ignored))
            break; /* this time it came through with fewer */
        bool ok = read_what_is_left(&s, what);
        left += ok;
        refused += !ok;
    }
    cr_assert_gt(left, 0);
    cr_assert_gt(refused, 0, "a disk like that harms a store now and then");
}

/* --- 27: disks that fail ------------------------------------------------------------------------------------ */

/* What is left to say where SQLite does not tell which error the system gave. */
#define BY_SQLITE_ALONE "disk I/O error; check that disk (room, quota, rights, health)"

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* One line that says what, where and what to do. */
static void check_words(const struct mh_err *err, int code, const char *const *words,
                        const char *what)
{
    char line[1024];
    (void)mh_err_line(err, line, sizeof line);
    cr_assert_eq(code, MH_ERUN, "%s: %s", what, mh_code_name(code));
    cr_assert_null(strchr(line, '\n'), "%s: %s", what, line);
    for (size_t i = 0; words[i]; i++)
        cr_assert(strstr(line, words[i]) || strstr(line, BY_SQLITE_ALONE), "%s: %s", what, line);
    cr_assert(!strstr(line, BY_SQLITE_ALONE) || strstr(line, path), "%s: %s", what, line);
}

static const struct {
    const char *name;
    unsigned ops;
    int rc, errnum;
    const char *words[2];
} disks[] = {
    {"full disk", SHIM_WRITE, SQLITE_FULL, ENOSPC, {"full", "free space"}},
    {"quota", SHIM_WRITE, SQLITE_IOERR_WRITE, EDQUOT, {"Disk quota exceeded", "free space"}},
    {"EIO on write",
     SHIM_WRITE,
     SQLITE_IOERR_WRITE,
     EIO,
     {"Input/output error", "check that disk"}},
    {"EIO on fsync", SHIM_SYNC, SQLITE_IOERR_FSYNC, EIO, {"Input/output error", "check that disk"}},
    {"EIO on truncate",
     SHIM_TRUNCATE,
     SQLITE_IOERR_TRUNCATE,
     EIO,
     {"Input/output", "check that disk"}},
    {"EIO on read", SHIM_READ, SQLITE_IOERR_READ, EIO, {"Input/output error", "check that disk"}},
    {"read-only disk",
     SHIM_CHANGES,
     SQLITE_IOERR_WRITE,
     EROFS,
     {"Read-only", "disk can be written"}},
};

/* The fault at the NTH operation; true when it came to that. */
static bool fail_at(const struct script *s, size_t disk, uint64_t nth, bool is_lasting,
                    const char *want, unsigned *told)
{
    struct mh_err err;
    char what[96];
    (void)snprintf(what, sizeof what, "%s, %s operation %llu", disks[disk].name,
                   is_lasting ? "from" : "at", (unsigned long long)nth);
    drop_store();
    *progress = (struct progress){0};
    shim_fail(disks[disk].ops, nth, is_lasting, disks[disk].rc, disks[disk].errnum);
    int code = run_script(s, &err);
    bool has_failed = shim.has_failed;
    shim_fail(0, 0, false, 0, 0);
    if (code != MH_OK) {
        cr_assert(has_failed, "%s: %s", what, err.text);
        check_words(&err, code, WORDS(disks[disk].words[0], disks[disk].words[1], path), what);
        ++*told;
    }
    uint64_t n = check_earlier(s, (uint64_t)s->runs * s->batches, what);
    cr_assert_geq(n, progress->synced, "%s: what was committed is lost", what);
    check_resumed(s, want, what);
    return has_failed;
}

Test(state_faults, disks_that_fail)
{
    const struct script s = {2, 2, 40};
    begin();
    char *want = undisturbed(&s);
    for (size_t disk = 0; disk < MH_ARRAY_LEN(disks); disk++) {
        unsigned told = 0;
        bool goes_on = true;
        for (uint64_t nth = 1; goes_on; nth += 1 + nth / 6)
            goes_on = fail_at(&s, disk, nth, false, want, &told) +
                          fail_at(&s, disk, nth, true, want, &told) >
                      0;
        cr_expect(told > 0 || disks[disk].ops == SHIM_TRUNCATE, "%s was never told of",
                  disks[disk].name);
    }
    mh_free(want);
}

/* A checkpoint in the middle of a long run that cannot sync stops the run; SQLite alone would keep it to itself. */
Test(state_faults, a_checkpoint_that_fails_stops_the_run)
{
    const struct script s = {1, 400, 128};
    struct mh_err err;
    begin();
    cr_assert_eq(run_once(&(struct script){1, 1, 128}, &(bool){false}, &err), MH_OK);
    shim_fail(SHIM_SYNC, 3, true, SQLITE_IOERR_FSYNC, EIO); /* those before are of opening */
    int code = run_script(&s, &err);
    bool has_failed = shim.has_failed;
    shim_fail(0, 0, false, 0, 0);
    cr_assert(has_failed);
    check_words(&err, code, WORDS("Input/output", "check that disk", path), "sync");
    cr_assert_lt(progress->handed_over, 400, "it stops in the middle, not at the end");
    (void)check_earlier(&s, progress->handed_over, "after the sync");
}

/* A real one: SQLite's shared memory and the lock file are on it as well. */
Test(state_faults, a_full_disk_that_gets_room_again)
{
    const struct script s = {1, 300, 128};
    struct mh_err err;
    char *mount_at = mh_asprintf("%s/disk", dir);
    begin();
    run_command("mkdir disk");
    /* In a mount namespace of this process: it goes with the process, however that ends. */
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", mount_at, "tmpfs", 0, "size=1m") < 0) {
        mh_free(mount_at);
        cr_skip_test("needs the right to mount a small tmpfs");
    }
    (void)snprintf(path, sizeof path, "%s/state.db", mount_at);
    int code = run_script(&s, &err);
    check_words(&err, code, WORDS("full", "free space", path), "full tmpfs");
    code = run_script(&s, &err);
    check_words(&err, code, WORDS("free space", path), "still full");
    run_command("mount -o remount,ro \"$PWD/disk\"");
    code = run_script(&s, &err);
    check_words(&err, code, WORDS("Read-only", "--state", path), "read-only");
    run_command("mount -o remount,rw,size=64m \"$PWD/disk\"");
    uint64_t n = check_earlier(&s, progress->handed_over, "with room");
    cr_assert_geq(n, progress->synced);
    cr_assert_eq(run_script(&s, &err), MH_OK, "%s", err.text);
    cr_assert_eq(check_earlier(&s, 300, "at the end"), 300);
    cr_assert_eq(umount(mount_at), 0);
    mh_free(mount_at);
}

/* --- 28: out of memory ---------------------------------------------------------------------------------------- */

Test(state_faults, nth_allocation_of_ours_fails)
{
    const struct script s = {2, 3, 10};
    struct mh_err err;
    begin();
    char *want = undisturbed(&s);
    uint64_t before = mh_mem_calls();
    cr_assert_eq(run_script(&s, &err), MH_OK);
    uint64_t calls = mh_mem_calls() - before;
    unsigned told = 0;
    cr_assert_gt(calls, 50);
    for (uint64_t nth = 1; nth <= calls; nth++) {
        char what[32];
        (void)snprintf(what, sizeof what, "allocation %llu", (unsigned long long)nth);
        drop_store();
        mh_mem_fail_nth(nth);
        int code = run_script(&s, &err);
        mh_mem_fail_nth(0);
        if (code != MH_OK)
            check_words(&err, code, WORDS("out of memory"), what);
        told += code != MH_OK;
        (void)check_earlier(&s, (uint64_t)s.runs * s.batches, what);
        check_resumed(&s, want, what);
    }
    cr_assert_gt(told, calls / 2);
    mh_free(want);
}

static sqlite3_mem_methods real_memory;
static uint64_t sqlite_calls;
static uint64_t sqlite_fails_at;

static bool sqlite_must_fail(void)
{
    uint64_t now = __atomic_add_fetch(&sqlite_calls, 1, __ATOMIC_RELAXED);
    return now == __atomic_load_n(&sqlite_fails_at, __ATOMIC_RELAXED);
}

static void *failing_malloc(int n)
{
    return sqlite_must_fail() ? NULL : real_memory.xMalloc(n);
}

static void *failing_realloc(void *p, int n)
{
    return sqlite_must_fail() ? NULL : real_memory.xRealloc(p, n);
}

static void fail_sqlite(uint64_t nth)
{
    __atomic_store_n(&sqlite_fails_at, nth ? sqlite_calls + nth : 0, __ATOMIC_RELAXED);
}

Test(state_faults, nth_allocation_of_sqlite_fails)
{
    const struct script s = {2, 2, 10};
    struct mh_err err;
    cr_assert_eq(sqlite3_shutdown(), SQLITE_OK);
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
    sqlite3_mem_methods failing = real_memory;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
    cr_assert_eq(sqlite3_initialize(), SQLITE_OK);
    begin();
    char *want = undisturbed(&s);
    uint64_t before = sqlite_calls;
    cr_assert_eq(run_script(&s, &err), MH_OK);
    uint64_t calls = sqlite_calls - before;
    unsigned told = 0;
    cr_assert_gt(calls, 500);
    for (uint64_t nth = 1; nth <= calls; nth += stride(calls, 2 * POINTS)) {
        char what[32];
        (void)snprintf(what, sizeof what, "allocation %llu", (unsigned long long)nth);
        drop_store();
        fail_sqlite(nth);
        int code = run_script(&s, &err);
        fail_sqlite(0);
        if (code != MH_OK)
            check_words(&err, code, WORDS("out of memory"), what);
        told += code != MH_OK;
        (void)check_earlier(&s, (uint64_t)s.runs * s.batches, what);
        check_resumed(&s, want, what);
    }
    cr_assert_gt(told, 100);
    mh_free(want);
}

/* --- what a batch costs the disk ------------------------------------------------------------------------------ */

Test(state_faults, fsyncs_are_fewer_than_batches)
{
    const struct script s = {1, 400, 128};
    struct mh_err err;
    begin();
    cr_assert_eq(run_script(&s, &err), MH_OK, "%s", err.text);
    cr_assert_gt(shim.syncs, 0, "a run that never syncs is not kept");
    cr_assert_leq(shim.syncs, 400 / 10);
    if (getenv("MH_SHOW_COST"))
        (void)fprintf(stderr, "%llu fsyncs for 400 batches of 128 rows, each waited for\n",
                      (unsigned long long)shim.syncs);
}
