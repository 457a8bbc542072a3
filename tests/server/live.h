/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The IMAP connector against the real servers of tests/servers: each is started in a scratch folder for
 * the test, and a task of the test's own is the client. Skipped where the packages are not unpacked
 * (MH_SERVERS, or build/servers of the source tree). For the tests of tests/server; everything is
 * static, since each test is a program of its own.
 */
#ifndef MH_TESTS_SERVER_LIVE_H
#define MH_TESTS_SERVER_LIVE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/imap/imap.h"
#include "net/loop.h"
#include "net/net.h"

/* --- a server --------------------------------------------------------------------------------- */

struct server {
    const char *kind;
    char folder[64];
    char script[512], packages[512];
    char ca[256];
    unsigned port, tls_port;
};

static inline void find_files(struct server *s)
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

/* A shell command without any descriptor of this process but 0, 1 and 2: servers stay, and the test
 * framework waits for the ends of its pipes. Returns its pid; *OUT gets its output. */
static inline pid_t shell(const char *command, FILE **out)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(fds[1], STDOUT_FILENO) < 0 ||
            dup2(null, STDERR_FILENO) < 0 || close_range(3, ~0U, 0) != 0)
            _exit(2);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(2);
    }
    (void)close(fds[1]);
    *out = fdopen(fds[0], "r");
    cr_assert(*out);
    return pid;
}

/* Stops the server when this process is gone, however it goes: reads until nobody can write. */
static inline void guard(const struct server *s)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0) {
        (void)close(fds[0]);
        return; /* the writing end stays open until the end */
    }
    char command[1200];
    (void)snprintf(command, sizeof command,
                   "read -r line; '%s' stop '%s' --now >/dev/null 2>&1; rm -rf '%s'", s->script,
                   s->folder, s->folder);
    int null = open("/dev/null", O_RDWR);
    if (setsid() < 0 || null < 0 || dup2(fds[0], STDIN_FILENO) < 0 ||
        dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
        close_range(3, ~0U, 0) != 0)
        _exit(2);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(2);
}

static inline void server_start(struct server *s, const char *options)
{
    char command[2048];
    char line[1024];
    int status = 0;
    FILE *out = NULL;
    find_files(s);
    strcpy(s->folder, "/tmp/mh-live-XXXXXX");
    cr_assert(mkdtemp(s->folder));
    guard(s);
    (void)snprintf(command, sizeof command, "'%s' start %s '%s' --packages '%s' --tls --users 3 %s",
                   s->script, s->kind, s->folder, s->packages, options);
    pid_t pid = shell(command, &out);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    while (fgets(line, sizeof line, out) && !s->ca[0]) {
        (void)sscanf(line, "PORT=%u", &s->port);
        (void)sscanf(line, "TLS_PORT=%u", &s->tls_port);
        (void)sscanf(line, "CA=%255s", s->ca);
    }
    (void)fclose(out);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s does not start", s->kind);
    cr_assert(s->port && s->tls_port && s->ca[0]);
}

/* --- the world of a client -------------------------------------------------------------------- */

struct world {
    struct server server;
    struct mh_pool *pool;
    struct mh_net *net;
    struct mh_err err;
    void (*run)(struct world *w);
    bool is_compressed;           /* the sessions that are opened from now on */
    struct mh_session *s, *other; /* the test's own; closed behind it, NULL: not open */
    /* verdicts of appends */
    struct mh_append_sink verdicts;
    unsigned stored, refused, split, later, lost;
    uint64_t last_uid;
    char last_reason[32];
    struct mh_waitq verdict;
};

static inline void world_main(void *arg)
{
    struct world *w = arg;
    w->run(w);
    if (w->s)
        mh_imap.close(w->s);
    if (w->other)
        mh_imap.close(w->other);
}

static inline void on_done(struct mh_append_sink *sink, uint64_t cookie, uint64_t uid,
                           uint32_t validity, const struct mh_err *why)
{
    struct world *w = mh_container_of(sink, struct world, verdicts);
    (void)cookie;
    (void)validity;
    w->stored += why == NULL;
    w->last_uid = why ? w->last_uid : uid;
    if (why) {
        w->refused += why->code == MH_EITEM;
        w->split += why->code == MH_ESPLIT;
        w->later += why->code == MH_ELATER;
        w->lost += why->code == MH_ERETRY;
        (void)snprintf(w->last_reason, sizeof w->last_reason, "%s", why->reason ? why->reason : "");
    }
    mh_wake_all(&w->verdict);
}

static inline void world_run(const char *kind, const char *options, void (*run)(struct world *w))
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

/* Criterion's assertions leave the function by longjmp(), which a task must not. */
static inline bool holds(struct world *w, bool cond, int line_no, const char *words)
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

static inline bool is_kind(const struct world *w, const char *kind)
{
    return strcmp(w->server.kind, kind) == 0;
}

/* What the NTH allocation, failing, may end in: such an error, or nothing that anybody sees. */
static inline void expect_clean(struct world *w, uint64_t nth, int rc)
{
    cr_expect(rc == 0 || rc == MH_ERUN || rc == MH_ERETRY || rc == MH_EMAILBOX,
              "%s, call %llu: %s: %s", w->server.kind, (unsigned long long)nth, mh_code_name(rc),
              w->err.text);
}

static inline int open_endpoint(struct world *w, const struct mh_endpoint *ep, bool is_source,
                                struct mh_session **out)
{
    const struct mh_env env = {.pool = w->pool,
                               .net = w->net,
                               .timeout_ms = 30000,
                               .is_source = is_source,
                               .compress = w->is_compressed};
    return mh_imap.open(ep, &env, false, out, &w->err);
}

static inline int open_url(struct world *w, const char *password, bool is_source,
                           struct mh_session **out, const char *fmt, ...)
{
    char url[1024];
    struct mh_endpoint ep;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(url, sizeof url, fmt, ap);
    va_end(ap);
    mh_endpoint_init(&ep);
    mh_err_reset(&w->err);
    int rc = mh_endpoint_parse_url(url, &ep, &w->err);
    ep.secret.value = mh_strdup(password);
    if (rc == 0 && !ep.secret.value)
        rc = mh_err_nomem(&w->err);
    if (rc == 0)
        rc = open_endpoint(w, &ep, is_source, out);
    mh_endpoint_done(&ep);
    return rc;
}

static inline int open_as(struct world *w, const char *user, bool is_source,
                          struct mh_session **out)
{
    return open_url(w, "secret", is_source, out, "imaps://%s@127.0.0.1:%u/?ca=%s", user,
                    w->server.tls_port, w->server.ca);
}

/* --- folders and messages --------------------------------------------------------------------- */

static inline struct mh_folder folder_of(const char *name)
{
    return (struct mh_folder){.path = (char *)(uintptr_t)name, .native = (char *)(uintptr_t)name};
}

/* Of a folder whose two names are the caller's. */
static inline void folder_done(struct mh_folder *f)
{
    mh_free(f->path);
    mh_free(f->native);
}

/* A head, and lines of letters up to SIZE octets, which are more than 1000; for free(). */
static inline char *big_message(const char *head, size_t size)
{
    char *big = malloc(size);
    if (!big)
        return NULL;
    memset(big, 'x', size);
    memcpy(big, head, strlen(head));
    for (size_t i = 200; i + 2 <= size; i += 79)
        memcpy(big + i, "\r\n", 2);
    memcpy(big + size - 2, "\r\n", 2);
    return big;
}

static inline int append(struct world *w, struct mh_session *s, const void *bytes, size_t len,
                         const struct mh_append *like)
{
    struct mh_append msg = *like;
    msg.octets = len;
    int rc = mh_imap.append_begin(s, &msg, &w->err);
    for (size_t at = 0; at < len && rc == 0;) {
        struct mh_slab *slab = NULL;
        size_t n = MH_MIN(len - at, (size_t)MH_SLAB_BYTES);
        rc = mh_slab_get_wait(w->pool, MH_NEVER, &slab, &w->err);
        if (rc)
            break;
        mh_slab_copy(slab->data, (const char *)bytes + at, n);
        rc = mh_imap.append_data(s, (struct mh_slice){slab, 0, (uint32_t)n}, &w->err);
        at += n;
    }
    return rc ? rc : mh_imap.append_end(s, &w->err);
}

/* One message to FOLDER, to its verdict. */
static inline int append_to(struct world *w, struct mh_session *s, const struct mh_folder *folder,
                            const void *bytes, size_t len, const struct mh_append *like)
{
    int rc = mh_imap.append_open(s, folder, &w->verdicts, &w->err);
    if (rc == 0)
        rc = append(w, s, bytes, len, like);
    return rc ? rc : mh_imap.append_flush(s, &w->err);
}

/* The open folder from UID FROM on, into OUT, which needs mh_scan_done() in any case. */
static inline int scan_from(struct world *w, struct mh_session *s, uint64_t from,
                            struct mh_scan *out)
{
    int rc = mh_scan_init(out, &w->err);
    return rc ? rc : mh_imap.scan(s, from, out, &w->err);
}

/* --- fetching into memory --------------------------------------------------------------------- */

struct shelf {
    struct mh_sink sink;
    struct mh_buf bytes[16];
    size_t n;
    unsigned missed;
    char reason[32];
};

static inline int shelf_begin(struct mh_sink *s, const struct mh_item *item, uint64_t octets,
                              struct mh_err *err)
{
    struct shelf *shelf = mh_container_of(s, struct shelf, sink);
    (void)item;
    (void)octets;
    return shelf->n < MH_ARRAY_LEN(shelf->bytes) ? 0 : mh_err_set(err, MH_ERUN, "test", "full");
}

static inline int shelf_data(struct mh_sink *s, struct mh_slice slice, struct mh_err *err)
{
    struct shelf *shelf = mh_container_of(s, struct shelf, sink);
    (void)err;
    mh_buf_add(&shelf->bytes[shelf->n], mh_slice_data(&slice), slice.len);
    mh_slice_drop(&slice);
    return 0;
}

static inline int shelf_end(struct mh_sink *s, struct mh_err *err)
{
    struct shelf *shelf = mh_container_of(s, struct shelf, sink);
    (void)err;
    shelf->n++;
    return 0;
}

static inline int shelf_missed(struct mh_sink *s, const struct mh_item *item,
                               const struct mh_err *why, struct mh_err *err)
{
    struct shelf *shelf = mh_container_of(s, struct shelf, sink);
    (void)item;
    (void)err;
    shelf->missed++;
    (void)snprintf(shelf->reason, sizeof shelf->reason, "%s", why->reason);
    return 0;
}

static inline void shelf_init(struct shelf *shelf)
{
    *shelf = (struct shelf){.sink = {shelf_begin, shelf_data, shelf_end, shelf_missed}};
}

static inline void shelf_done(struct shelf *shelf)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(shelf->bytes); i++)
        mh_buf_done(&shelf->bytes[i]);
}

static inline int fetch_all(struct world *w, struct mh_session *s, const struct mh_scan *scan,
                            struct mh_sink *sink)
{
    const struct mh_item **items = calloc(scan->n + 1, sizeof *items);
    for (size_t i = 0; i < scan->n; i++)
        items[i] = &scan->items[i];
    int rc = mh_imap.fetch(s, items, scan->n, sink, &w->err);
    free(items);
    return rc;
}

/* --- the tables of the tests ------------------------------------------------------------------ */

#define LIVE(suite, name, kind, options, run)                                                      \
    Test(suite, name)                                                                              \
    {                                                                                              \
        world_run(kind, options, run);                                                             \
    }

#endif
