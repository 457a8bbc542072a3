/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Moving, renaming and watching against the real servers of tests/servers, with a second session at
 * work in the same account. Skipped where their packages are not unpacked (MH_SERVERS, or
 * build/servers of the source tree).
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/imap/imap.h"
#include "connectors/imap/imap_priv.h"
#include "net/loop.h"
#include "net/net.h"

/* --- a server --------------------------------------------------------------------------------- */

struct server {
    const char *kind;
    char folder[64];
    char script[512], packages[512];
    char ca[256];
    unsigned tls_port;
};

static void find_files(struct server *s)
{
    const char *source = getenv("MH_SOURCE");
    const char *packages = getenv("MH_SERVERS");
    char kind[600];
    struct stat st;
    source = source ? source : ".";
    (void)snprintf(s->script, sizeof s->script, "%s/tests/servers/server", source);
    (void)snprintf(s->packages, sizeof s->packages, "%s%s", packages ? packages : source,
                   packages ? "" : "/build/servers");
    (void)snprintf(kind, sizeof kind, "%s/%s", s->packages, s->kind);
    if (access(s->script, X_OK) != 0 || stat(kind, &st) != 0)
        cr_skip_test("%s is not unpacked: tests/servers/fetch-packages build/servers does it",
                     s->kind);
}

/* COMMAND in a shell without any descriptor of this process: its input is IN, its output OUT. */
static pid_t shell(const char *command, int in, int out)
{
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0)
        return pid;
    int null = open("/dev/null", O_RDWR);
    if (setsid() < 0 || null < 0 || dup2(in < 0 ? null : in, STDIN_FILENO) < 0 ||
        dup2(out < 0 ? null : out, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
        close_range(3, ~0U, 0) != 0)
        _exit(2);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(2);
}

/* The server is stopped when this process is gone, however it goes: its end of the pipe closes then. */
static void server_start(struct server *s, const char *options)
{
    char command[2048];
    char line[1024];
    int out[2];
    int alive[2];
    int status = 0;
    find_files(s);
    strcpy(s->folder, "/tmp/mh-coexist-XXXXXX");
    cr_assert(mkdtemp(s->folder));
    cr_assert(pipe2(alive, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    (void)snprintf(command, sizeof command, "read -r x; '%s' stop '%s' --now; rm -rf '%s'",
                   s->script, s->folder, s->folder);
    (void)shell(command, alive[0], -1);
    (void)close(alive[0]);
    (void)snprintf(command, sizeof command, "'%s' start %s '%s' --packages '%s' --tls --users 1 %s",
                   s->script, s->kind, s->folder, s->packages, options);
    pid_t pid = shell(command, -1, out[1]);
    (void)close(out[1]);
    FILE *f = fdopen(out[0], "r");
    cr_assert(f && waitpid(pid, &status, 0) == pid);
    while (fgets(line, sizeof line, f) && !s->ca[0]) {
        (void)sscanf(line, "TLS_PORT=%u", &s->tls_port);
        (void)sscanf(line, "CA=%255s", s->ca);
    }
    (void)fclose(f);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0 && s->ca[0], "%s does not start",
              s->kind);
}

/* --- two clients ------------------------------------------------------------------------------ */

struct world {
    struct server server;
    struct mh_pool *pool;
    struct mh_net *net;
    struct mh_session *s, *other; /* two sessions of user01 */
    struct mh_err err;
    void (*run)(struct world *w);
    struct mh_append_sink verdicts;
    uint64_t last_uid;
    /* watching */
    int watch_rc;
    bool watch_changed;
};

/* Criterion's assertions leave the function by longjmp(), which a task must not. */
static bool holds(struct world *w, bool cond, int line_no, const char *words)
{
    char line[1200];
    if (!cond)
        cr_expect(false, "%s, line %d: %s (%s)", w->server.kind, line_no, words,
                  mh_err_line(&w->err, line, sizeof line));
    return cond;
}

#define EXPECT(w, cond) (void)holds(w, cond, __LINE__, #cond)
#define MUST(w, cond)                                                                              \
    do {                                                                                           \
        if (!holds(w, cond, __LINE__, #cond))                                                      \
            return;                                                                                \
    } while (0)

static bool is_kind(const struct world *w, const char *kind)
{
    return strcmp(w->server.kind, kind) == 0;
}

static void on_done(struct mh_append_sink *sink, uint64_t cookie, uint64_t uid, uint32_t validity,
                    const struct mh_err *why)
{
    struct world *w = mh_container_of(sink, struct world, verdicts);
    (void)cookie;
    (void)validity;
    w->last_uid = why ? 0 : uid;
}

static bool is_compressed; /* the sessions of this test */

static int open_one(struct world *w, struct mh_session **out)
{
    char url[1024];
    struct mh_endpoint ep;
    (void)snprintf(url, sizeof url, "imaps://user01@127.0.0.1:%u/?ca=%s", w->server.tls_port,
                   w->server.ca);
    mh_endpoint_init(&ep);
    int rc = mh_endpoint_parse_url(url, &ep, &w->err);
    ep.secret.value = mh_strdup("secret");
    const struct mh_env env = {
        .pool = w->pool, .net = w->net, .timeout_ms = 30000, .compress = is_compressed};
    if (rc == 0)
        rc = mh_imap.open(&ep, &env, false, out, &w->err);
    mh_endpoint_done(&ep);
    return rc;
}

static void world_main(void *arg)
{
    struct world *w = arg;
    mh_err_reset(&w->err);
    if (holds(w, open_one(w, &w->s) == 0 && open_one(w, &w->other) == 0, __LINE__, "open"))
        w->run(w);
    if (w->s)
        mh_imap.close(w->s);
    if (w->other)
        mh_imap.close(w->other);
}

static void world_run(const char *kind, const char *options, void (*run)(struct world *w))
{
    struct mh_loop *loop = NULL;
    struct world w = {.server = {.kind = kind}, .run = run, .verdicts = {on_done}};
    mh_log_set_level(MH_LOG_ERROR);
    server_start(&w.server, options);
    cr_assert_eq(mh_pool_new(32u << 20, &w.pool, &w.err), 0);
    cr_assert_eq(mh_net_new(NULL, NULL, &w.net, &w.err), 0);
    cr_assert_eq(mh_loop_new(&loop, &w.err), 0);
    cr_assert_eq(mh_task_spawn(mh_loop_sched(loop), "client", world_main, &w, NULL, &w.err), 0);
    mh_sched_run(mh_loop_sched(loop));
    mh_loop_free(loop);
    mh_net_free(w.net);
    struct mh_pool_stats stats;
    mh_pool_stats(w.pool, &stats);
    cr_expect_eq(stats.in_use_bytes, 0, "%s: slabs were not given back", kind);
    mh_pool_free(w.pool);
}

/* --- folders and messages --------------------------------------------------------------------- */

static struct mh_folder inbox(void)
{
    return (struct mh_folder){.path = (char *)(uintptr_t) "INBOX",
                              .native = (char *)(uintptr_t) "INBOX"};
}

/* PATH is made; the caller frees both names. */
static struct mh_folder make(struct world *w, const char *path)
{
    struct mh_folder f = {.path = NULL};
    EXPECT(w, mh_imap.create(w->s, path, MH_ROLE_NONE, &f.path, &f.native, &w->err) == 0);
    return f;
}

static void folder_done(struct mh_folder *f)
{
    mh_free(f->path);
    mh_free(f->native);
}

#define HEAD "From: anna@example.org\r\nSubject: x\r\n\r\nbody\r\n"

static void append(struct world *w, struct mh_session *s, const struct mh_folder *to,
                   const struct mh_append *like)
{
    static const char text[] = HEAD;
    struct mh_append msg = *like;
    struct mh_slab *slab = NULL;
    msg.octets = sizeof text - 1;
    msg.keywords = msg.keywords ? msg.keywords : "";
    MUST(w, mh_imap.append_open(s, to, &w->verdicts, &w->err) == 0);
    MUST(w, mh_imap.append_begin(s, &msg, &w->err) == 0);
    MUST(w, mh_slab_get_wait(w->pool, MH_NEVER, &slab, &w->err) == 0);
    mh_slab_copy(slab->data, text, sizeof text - 1);
    MUST(w, mh_imap.append_data(s, (struct mh_slice){slab, 0, sizeof text - 1}, &w->err) == 0);
    MUST(w, mh_imap.append_end(s, &w->err) == 0);
    EXPECT(w, mh_imap.append_flush(s, &w->err) == 0);
    EXPECT(w, w->last_uid > 0);
}

/* What is in FOLDER, into SCAN (the caller's mh_scan_done()). */
static void scan_folder(struct world *w, struct mh_session *s, const struct mh_folder *folder,
                        struct mh_scan *scan)
{
    struct mh_opened opened;
    EXPECT(w, mh_scan_init(scan, &w->err) == 0);
    MUST(w, mh_imap.select(s, folder, false, &opened, &w->err) == 0);
    EXPECT(w, mh_imap.scan(s, 1, scan, &w->err) == 0);
}

struct pairs {
    uint64_t from[16], to[16];
    size_t n;
};

static int on_moved(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    struct pairs *p = ctx;
    if (p->n == MH_ARRAY_LEN(p->from))
        return mh_err_set(err, MH_ERUN, "test", "too many");
    p->from[p->n] = uid;
    p->to[p->n++] = new_uid;
    return 0;
}

static int move(struct world *w, struct mh_session *s, const struct mh_folder *from,
                const uint64_t *uids, size_t n, const struct mh_folder *to, struct pairs *pairs)
{
    struct mh_opened opened;
    pairs->n = 0;
    int rc = mh_imap.select(s, from, true, &opened, &w->err);
    return rc ? rc : mh_imap.move(s, uids, n, to, on_moved, pairs, &w->err);
}

/* --- moving ----------------------------------------------------------------------------------- */

enum { DATE_S = 1000000000, DAY_S = 86400 };

static void fill_inbox(struct world *w, uint64_t *uids)
{
    const struct mh_folder in = inbox();
    for (int i = 0; i < 6; i++) {
        const struct mh_append like = {.date = {DATE_S + i * DAY_S, 120, true},
                                       .flags = i & 1 ? MH_SEEN | MH_FLAGGED : MH_ANSWERED,
                                       .keywords = i & 2 ? "$Forwarded urgent" : ""};
        append(w, w->s, &in, &like);
        uids[i] = w->last_uid;
    }
}

/* Message I as it was appended, now with UID in SCAN. */
static void expect_moved(struct world *w, const struct mh_scan *scan, int i, uint64_t uid)
{
    const struct mh_item *item = mh_scan_find(scan, uid);
    MUST(w, item);
    EXPECT(w, item->flags == (i & 1 ? MH_SEEN | MH_FLAGGED : MH_ANSWERED));
    EXPECT(w, item->date.is_set && item->date.unix_s == DATE_S + i * DAY_S);
    const char *keywords = mh_kwsets_text(scan->kwsets, item->kwset);
    EXPECT(w, (strstr(keywords, "urgent") != NULL) == ((i & 2) != 0));
}

/* Four of six; one of the four is removed by the other session first, which also marks one of the two
 * others as deleted: it has to stay. */
static void run_move(struct world *w)
{
    const struct mh_folder in = inbox();
    struct mh_folder away = make(w, "Away \xc3\xa9");
    struct mh_folder bin = make(w, "Bin");
    const struct mh_folder none = {.path = away.path, .native = bin.native};
    struct mh_opened opened;
    struct mh_scan scan;
    struct pairs pairs;
    uint64_t uids[6] = {0};
    EXPECT(w, mh_imap.caps(w->s)->move);
    fill_inbox(w, uids);
    MUST(w, mh_imap.select(w->s, &in, true, &opened, &w->err) == 0);
    MUST(w, move(w, w->other, &in, &uids[1], 1, &bin, &pairs) == 0 && pairs.n == 1);
    EXPECT(w, mh_imap.store_flags(w->other, &uids[5], 1, true, MH_DELETED, "", &w->err) == 0);
    pairs.n = 0;
    EXPECT(w, mh_imap.move(w->s, uids, 4, &away, on_moved, &pairs, &w->err) == 0);
    EXPECT(w, pairs.n == 3);
    scan_folder(w, w->s, &away, &scan);
    EXPECT(w, scan.n == 3);
    for (size_t k = 0; k < pairs.n && k < 3; k++) {
        static const int of[] = {0, 2, 3};
        EXPECT(w, pairs.from[k] == uids[of[k]] && pairs.to[k] != 0);
        expect_moved(w, &scan, of[k], pairs.to[k]);
    }
    mh_scan_done(&scan);
    scan_folder(w, w->s, &in, &scan);
    EXPECT(w, scan.n == 2 && mh_scan_find(&scan, uids[4]));
    const struct mh_item *marked = mh_scan_find(&scan, uids[5]);
    EXPECT(w, marked && marked->flags & MH_DELETED);
    mh_scan_done(&scan);
    EXPECT(w, move(w, w->s, &in, uids, 4, &away, &pairs) == 0 && pairs.n == 0); /* all are gone */
    char *nowhere = mh_asprintf("%s-not", none.native);
    const struct mh_folder missing = {.path = nowhere, .native = nowhere};
    EXPECT(w, move(w, w->s, &in, &uids[4], 1, &missing, &pairs) == MH_ENOENT && pairs.n == 0);
    mh_free(nowhere);
    scan_folder(w, w->other, &in, &scan);
    EXPECT(w, scan.n == 2); /* nothing else was expunged, whoever looks */
    mh_scan_done(&scan);
    folder_done(&away);
    folder_done(&bin);
}

static void run_cannot_move(struct world *w)
{
    const struct mh_folder in = inbox();
    struct mh_folder away = make(w, "Away");
    struct mh_scan scan;
    struct pairs pairs;
    uint64_t uids[6] = {0};
    EXPECT(w, !mh_imap.caps(w->s)->move);
    fill_inbox(w, uids);
    EXPECT(w, move(w, w->s, &in, (uint64_t[]){1, 2, 3}, 3, &away, &pairs) == MH_ENOSUP);
    scan_folder(w, w->other, &in, &scan);
    EXPECT(w, scan.n == 6 && pairs.n == 0);
    mh_scan_done(&scan);
    folder_done(&away);
}

/* Thousands: in parts, each with its own COPYUID. */
static void run_move_many(struct world *w)
{
    enum { MANY = 1300 };
    const struct mh_folder in = inbox();
    const struct mh_append like = {.date = {DATE_S, 0, true}};
    static uint64_t uids[MANY];
    struct mh_folder away = make(w, "Away");
    struct mh_scan scan;
    struct mh_opened opened;
    size_t n = 0;
    for (size_t i = 0; i < MANY; i++)
        uids[i] = i + 1;
    for (int i = 0; i < 20; i++)
        append(w, w->s, &in, &like);
    /* Every second of the numbers is none: many ranges. */
    for (size_t i = 0; i < MANY; i++)
        uids[i] = 2 * i + 2;
    struct pairs pairs = {.n = 0};
    MUST(w, mh_imap.select(w->s, &in, true, &opened, &w->err) == 0);
    EXPECT(w, mh_imap.move(w->s, uids, MANY, &away, on_moved, &pairs, &w->err) == 0);
    n = pairs.n;
    EXPECT(w, n == 10);
    scan_folder(w, w->s, &away, &scan);
    EXPECT(w, scan.n == 10);
    mh_scan_done(&scan);
    scan_folder(w, w->s, &in, &scan);
    EXPECT(w, scan.n == 10);
    mh_scan_done(&scan);
    folder_done(&away);
}

/* --- renaming --------------------------------------------------------------------------------- */

static const struct mh_folder *find(struct world *w, struct mh_folders *list, const char *path)
{
    mh_folders_done(list);
    *list = (struct mh_folders)MH_FOLDERS_INIT;
    EXPECT(w, mh_imap.list(w->s, MH_LIST_NAMES, list, &w->err) == 0);
    mh_folders_sort(list);
    return mh_folders_find(list, path);
}

static int rename_to(struct world *w, const struct mh_folder *folder, const char *path,
                     struct mh_folder *out)
{
    *out = (struct mh_folder){.path = NULL};
    return mh_imap.rename(w->s, folder, path, &out->path, &out->native, &w->err);
}

static void run_rename(struct world *w)
{
    static const char child_path[] = "Alt/Kinder \xc3\xbc/Enkel";
    const struct mh_append like = {.date = {DATE_S, 0, true}};
    struct mh_folders list = MH_FOLDERS_INIT;
    struct mh_folder alt = make(w, "Alt");
    struct mh_folder child = make(w, child_path);
    struct mh_folder sibling = make(w, "Altes");
    struct mh_folder moved;
    struct mh_folder ignored;
    struct mh_opened opened;
    struct mh_scan scan;
    EXPECT(w, mh_imap.caps(w->s)->rename);
    EXPECT(w, mh_imap.subscribe(w->s, &alt, &w->err) == 0);
    EXPECT(w, mh_imap.subscribe(w->s, &child, &w->err) == 0);
    EXPECT(w, mh_imap.subscribe(w->s, &sibling, &w->err) == 0);
    append(w, w->s, &child, &like);
    MUST(w, mh_imap.select(w->s, &child, true, &opened, &w->err) == 0);
    const struct mh_folder *listed = find(w, &list, "Alt");
    MUST(w, listed && listed->attrs & MH_FOLDER_SUBSCRIBED);
    MUST(w, rename_to(w, listed,
                      "Neu/\xc3\x9c"
                      "ber & \xe6\x97\xa5",
                      &moved) == 0);
    EXPECT(w, strcmp(moved.path, "Neu/\xc3\x9c"
                                 "ber & \xe6\x97\xa5") == 0);
    /* What was open is open where it is now. Courier 5.0 gives it new UIDs: that is said. */
    EXPECT(w, mh_scan_init(&scan, &w->err) == 0);
    int rc = mh_imap.scan(w->s, 1, &scan, &w->err);
    if (is_kind(w, "courier"))
        EXPECT(w, rc == MH_EFOLDER);
    else
        EXPECT(w, rc == 0 && scan.n == 1 && scan.items[0].date.unix_s == DATE_S);
    mh_scan_done(&scan);
    EXPECT(w, find(w, &list, "Neu"));
    listed = find(w, &list, moved.path);
    EXPECT(w, listed && listed->attrs & MH_FOLDER_SUBSCRIBED &&
                  strcmp(listed->native, moved.native) == 0);
    listed = find(w, &list,
                  "Neu/\xc3\x9c"
                  "ber & \xe6\x97\xa5/Kinder \xc3\xbc/Enkel");
    EXPECT(w, listed && listed->attrs & MH_FOLDER_SUBSCRIBED);
    struct mh_folder grandchild = {.path = mh_strdup(listed ? listed->path : "x"),
                                   .native = mh_strdup(listed ? listed->native : "x")};
    EXPECT(w, !find(w, &list, "Alt") && !find(w, &list, child_path));
    listed = find(w, &list, "Altes");
    EXPECT(w, listed && listed->attrs & MH_FOLDER_SUBSCRIBED); /* only begins alike */
    append(w, w->s, &grandchild, &like);
    scan_folder(w, w->other, &grandchild, &scan);
    EXPECT(w, scan.n == 2);
    mh_scan_done(&scan);
    /* refusals */
    EXPECT(w, rename_to(w, &moved, "Altes", &ignored) == MH_EEXIST);
    EXPECT(w, rename_to(w, &moved, "INBOX", &ignored) == MH_EEXIST);
    const struct mh_folder in = inbox();
    EXPECT(w, rename_to(w, &in, "Eingang", &ignored) == MH_EFOLDER);
    EXPECT(w, rename_to(w, &alt, "Anders", &ignored) == MH_EFOLDER && w->err.server_text[0]);
    EXPECT(w, !find(w, &list, "Anders") && find(w, &list, moved.path));
    mh_folders_done(&list);
    folder_done(&alt);
    folder_done(&child);
    folder_done(&sibling);
    folder_done(&moved);
    folder_done(&grandchild);
}

/* --- watching --------------------------------------------------------------------------------- */

enum { PATIENCE_MS = 20000 };

static void watch_main(void *arg)
{
    struct world *w = arg;
    struct mh_err err;
    w->watch_rc = mh_imap.watch(w->s, mh_now_ms() + PATIENCE_MS, &w->watch_changed, &err);
}

/* Another task watches; back when the server lets it wait and it holds nothing. */
static struct mh_task *start_watch(struct world *w)
{
    struct mh_task *task = NULL;
    struct mh_pool_stats stats;
    int64_t until_ms = mh_now_ms() + PATIENCE_MS;
    w->watch_changed = false;
    EXPECT(w, mh_task_spawn(mh_sched_self(), "watch", watch_main, w, &task, &w->err) == 0);
    do {
        EXPECT(w, mh_sleep_until(mh_now_ms() + 5) == 0);
        mh_pool_stats(w->pool, &stats);
    } while ((!w->s->watch.idle || stats.in_use_bytes > 0) && mh_now_ms() < until_ms);
    EXPECT(w, w->s->watch.idle && stats.in_use_bytes == 0);
    return task;
}

/* What NOTIFY still tells of the changes before is told; then there is silence. */
static void settle(struct world *w)
{
    bool changed = true;
    for (int i = 0; i < 10 && changed; i++)
        EXPECT(w, mh_imap.watch(w->s, mh_now_ms() + 1500, &changed, &w->err) == 0);
    EXPECT(w, !changed);
}

/* Watching wakes when the other session does WHAT to UID of FOLDER. */
static void expect_wakes(struct world *w, char what, const struct mh_folder *folder, uint64_t *uid)
{
    const struct mh_append like = {.date = {DATE_S, 0, true}};
    struct mh_opened opened;
    struct pairs pairs = {.n = 0};
    struct mh_folder bin = {.path = NULL};
    if (what == 'e')
        EXPECT(w,
               mh_imap.create(w->other, "Bin", MH_ROLE_NONE, &bin.path, &bin.native, &w->err) == 0);
    settle(w);
    struct mh_task *task = start_watch(w);
    if (!task)
        return;
    int64_t since_ms = mh_now_ms();
    if (what == 'a') {
        append(w, w->other, folder, &like);
        *uid = w->last_uid;
    } else {
        EXPECT(w, mh_imap.select(w->other, folder, true, &opened, &w->err) == 0);
        if (what == 'f')
            EXPECT(w, mh_imap.store_flags(w->other, uid, 1, true, MH_FLAGGED, "", &w->err) == 0);
        else
            EXPECT(w, mh_imap.move(w->other, uid, 1, &bin, on_moved, &pairs, &w->err) == 0);
    }
    mh_task_join(task);
    cr_expect(w->watch_rc == 0 && w->watch_changed && mh_now_ms() - since_ms < PATIENCE_MS / 2,
              "%s: %c in %s: rc %d, changed %d, %lld ms", w->server.kind, what, folder->path,
              w->watch_rc, w->watch_changed, (long long)(mh_now_ms() - since_ms));
    folder_done(&bin);
}

static void run_watch(struct world *w)
{
    const struct mh_folder in = inbox();
    const struct mh_append like = {.date = {DATE_S, 0, true}};
    struct mh_folder elsewhere = make(w, "Elsewhere");
    struct mh_opened opened;
    struct mh_scan scan;
    uint64_t uid = 0;
    bool changed = false;
    const struct mh_caps *caps = mh_imap.caps(w->s);
    EXPECT(w, caps->watch && caps->watch_all == is_kind(w, "dovecot"));
    EXPECT(w, mh_imap.watch(w->s, 0, &changed, &w->err) == 0 && !changed);
    expect_wakes(w, 'a', &in, &uid);
    expect_wakes(w, 'f', &in, &uid);
    expect_wakes(w, 'e', &in, &uid);
    if (caps->watch_all) {
        expect_wakes(w, 'a', &elsewhere, &uid);
        expect_wakes(w, 'f', &elsewhere, &uid);
        expect_wakes(w, 'e', &elsewhere, &uid);
    }
    /* between two calls, another folder having been looked at */
    settle(w);
    append(w, w->other, &in, &like);
    scan_folder(w, w->s, &elsewhere, &scan);
    mh_scan_done(&scan);
    EXPECT(w, mh_imap.watch(w->s, mh_now_ms() + PATIENCE_MS, &changed, &w->err) == 0 && changed);
    settle(w);
    /* cancelled: the session goes on */
    struct mh_task *task = start_watch(w);
    mh_task_cancel(task);
    mh_task_join(task);
    EXPECT(w, w->watch_rc == MH_ECANCEL);
    MUST(w, mh_imap.select(w->s, &in, true, &opened, &w->err) == 0);
    EXPECT(w, opened.messages == 1);
    /* renewed twice, and nothing is taken for a change */
    w->s->watch.renew_ms = 400;
    EXPECT(w, mh_imap.watch(w->s, mh_now_ms() + 1000, &changed, &w->err) == 0 && !changed);
    folder_done(&elsewhere);
}

/* --- without memory --------------------------------------------------------------------------- */

/* The NTH allocation from here on fails; what is there was made before. */
static int everything(struct world *w, struct mh_folder *away, uint64_t nth, bool *was_hit)
{
    const struct mh_folder in = inbox();
    struct pairs pairs = {.n = 0};
    struct mh_folder moved = {.path = NULL};
    bool changed = false;
    char path[40];
    (void)snprintf(path, sizeof path, "N%llu", (unsigned long long)nth);
    uint64_t before = mh_mem_calls();
    mh_mem_fail_nth(nth);
    int rc = move(w, w->s, &in, (uint64_t[]){w->last_uid}, 1, away, &pairs);
    if (rc == 0)
        rc = rename_to(w, away, path, &moved);
    if (rc == 0)
        rc = mh_imap.watch(w->s, 0, &changed, &w->err);
    *was_hit = mh_mem_calls() - before >= nth;
    mh_mem_fail_nth(0);
    EXPECT(w, rc != 0 || pairs.n == 1);
    folder_done(&moved);
    return rc;
}

/* The nth allocation fails, for every n there is: a clean error, nothing kept. */
static void run_without_memory(struct world *w)
{
    const struct mh_folder in = inbox();
    const struct mh_append like = {.date = {DATE_S, 0, true}};
    unsigned failures = 0;
    bool was_hit = true;
    for (uint64_t nth = 1; was_hit && nth < 500; nth++) {
        mh_imap.close(mh_take(w->s));
        MUST(w, open_one(w, &w->s) == 0);
        struct mh_folder away = make(w, "Away");
        struct mh_folder child = make(w, "Away/Child");
        EXPECT(w, mh_imap.subscribe(w->s, &child, &w->err) == 0);
        away.attrs = MH_FOLDER_SUBSCRIBED;
        append(w, w->other, &in, &like);
        int rc = everything(w, &away, nth, &was_hit);
        cr_expect(rc == 0 || rc == MH_ERUN || rc == MH_ERETRY || rc == MH_EMAILBOX,
                  "call %llu: %s: %s", (unsigned long long)nth, mh_code_name(rc), w->err.text);
        failures += rc != 0;
        folder_done(&away);
        folder_done(&child);
    }
    EXPECT(w, failures > 10 && !was_hit);
}

/* --- the table -------------------------------------------------------------------------------- */

Test(imap_coexist_dovecot, move)
{
    world_run("dovecot", "", run_move);
}
Test(imap_coexist_dovecot, move_by_copy)
{
    world_run("dovecot", "--no-capability MOVE", run_move);
}
Test(imap_coexist_dovecot, move_without_uidplus)
{
    world_run("dovecot", "--no-capability UIDPLUS", run_move);
}
Test(imap_coexist_dovecot, cannot_move)
{
    world_run("dovecot", "--no-capability UIDPLUS --no-capability MOVE", run_cannot_move);
}
Test(imap_coexist_dovecot, move_many)
{
    world_run("dovecot", "", run_move_many);
}
Test(imap_coexist_dovecot, rename)
{
    world_run("dovecot", "", run_rename);
}
Test(imap_coexist_dovecot, rename_below_a_prefix)
{
    world_run("dovecot", "--prefix INBOX. --separator .", run_rename);
}
Test(imap_coexist_dovecot, watch)
{
    world_run("dovecot", "", run_watch);
}
Test(imap_coexist_dovecot, watch_compressed)
{
    is_compressed = true;
    world_run("dovecot", "", run_watch);
}
Test(imap_coexist_dovecot, without_memory)
{
    world_run("dovecot", "--store sdbox --fast-fsync never", run_without_memory);
}
Test(imap_coexist_cyrus, move)
{
    world_run("cyrus", "", run_move);
}
Test(imap_coexist_cyrus, move_many)
{
    world_run("cyrus", "", run_move_many);
}
Test(imap_coexist_cyrus, rename)
{
    world_run("cyrus", "", run_rename);
}
Test(imap_coexist_cyrus, watch)
{
    world_run("cyrus", "", run_watch);
}
Test(imap_coexist_courier, move)
{
    world_run("courier", "", run_move);
}
Test(imap_coexist_courier, move_many)
{
    world_run("courier", "", run_move_many);
}
Test(imap_coexist_courier, rename)
{
    world_run("courier", "", run_rename);
}
/* It looks every minute unless told otherwise. */
Test(imap_coexist_courier, watch)
{
    world_run("courier", "--option IMAP_IDLE_TIMEOUT=1", run_watch);
}
