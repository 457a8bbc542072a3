/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The IMAP connector against dialogues that no real server holds: mh-scripted plays the server,
 * line by line, and fails when the client says something else than the script expects. What the
 * connector reports goes into a log that is compared as a whole. For the tests of tests/replay: each
 * has its tables of dialogues, and may add operations of its own (struct dialogue.more_ops).
 */
#ifndef MH_TESTS_REPLAY_DIALOGUE_H
#define MH_TESTS_REPLAY_DIALOGUE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/imap/imap.h"
#include "net/loop.h"
#include "net/net.h"

/* --- the scripted server ---------------------------------------------------------------------- */

struct server {
    char folder[64];
    pid_t pid;
    unsigned port;
};

static inline void write_file(const char *folder, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    cr_assert_geq(fputs(text, f), 0);
    cr_assert_eq(fclose(f), 0);
}

static inline void server_start(struct server *s, const char *script)
{
    const char *build = getenv("MH_BUILD");
    char program[512];
    (void)snprintf(program, sizeof program, "%s/tests/mh-scripted", build ? build : ".");
    if (access(program, X_OK) != 0)
        cr_skip_test("%s is not built", program);
    strcpy(s->folder, "/tmp/mh-dialogue-XXXXXX");
    cr_assert(mkdtemp(s->folder));
    write_file(s->folder, "script", script);
    int out[2];
    cr_assert_eq(pipe(out), 0);
    s->pid = fork();
    cr_assert_geq(s->pid, 0);
    if (s->pid == 0) {
        if (chdir(s->folder) != 0 || dup2(out[1], STDOUT_FILENO) < 0)
            _exit(2);
        (void)close(out[0]);
        execl(program, "mh-scripted", "script", "--with-parent", "--transcript", "transcript",
              (char *)NULL);
        _exit(2);
    }
    (void)close(out[1]);
    FILE *f = fdopen(out[0], "r");
    cr_assert(f && fscanf(f, "PORT=%u", &s->port) == 1, "mh-scripted does not start");
    (void)fclose(f);
}

/* The script's own complaints (an unexpected line, a step that did not happen) are failures. */
static inline void server_stop(struct server *s, const char *name)
{
    int status = 0;
    cr_assert_eq(kill(s->pid, SIGTERM), 0);
    cr_assert_eq(waitpid(s->pid, &status, 0), s->pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: the dialogue went otherwise",
              name);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/script", s->folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/transcript", s->folder);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        (void)unlink(path);
    (void)rmdir(s->folder);
}

/* --- the client ------------------------------------------------------------------------------- */

struct client;
/* An operation of the test's own; MH_EUSAGE: not one of them. */
typedef int more_ops_fn(struct client *c, const char *op, char *arg, struct mh_err *err);

struct client {
    unsigned port;
    const char *url_rest; /* behind the port */
    const char *password;
    const char *ops;       /* what to do once it is open: words, see run_ops() */
    more_ops_fn *more_ops; /* NULL: none */
    int64_t timeout_ms;
    struct mh_pool *pool;
    struct mh_net *net;
    struct mh_buf log;
    struct mh_session *session;
    struct mh_sink sink;
    struct mh_append_sink verdicts;
    uint64_t sink_fails_at; /* begin of this uid; 0 never */
    uint64_t max_message;
    uint64_t body_bytes;
    uint64_t left; /* octets of the message that is being appended */
    unsigned n_verdicts;
    struct mh_waitq verdict;
};

static inline void say_error(struct client *c, const char *what, const struct mh_err *err)
{
    mh_buf_addf(&c->log, "%s: %s", what, mh_code_name(err->code));
    if (err->reason)
        mh_buf_addf(&c->log, " %s", err->reason);
    if (strstr(err->text, "access token"))
        mh_buf_addf(&c->log, " %s", err->text);
    if (err->retry_after_ms)
        mh_buf_addf(&c->log, " after %lld", (long long)err->retry_after_ms);
    if (err->server_text[0])
        mh_buf_addf(&c->log, " (%s)", err->server_text);
    mh_buf_addc(&c->log, '\n');
}

static inline int on_begin(struct mh_sink *s, const struct mh_item *item, uint64_t octets,
                           struct mh_err *err)
{
    struct client *c = mh_container_of(s, struct client, sink);
    if (item->uid == c->sink_fails_at)
        return mh_err_set(err, MH_EITEM, "test", "enough");
    mh_buf_addf(&c->log, "%llu[%llu]", (unsigned long long)item->uid, (unsigned long long)octets);
    c->body_bytes = 0;
    return 0;
}

static inline int on_data(struct mh_sink *s, struct mh_slice slice, struct mh_err *err)
{
    struct client *c = mh_container_of(s, struct client, sink);
    (void)err;
    if (c->body_bytes + slice.len <= 32)
        mh_buf_add(&c->log, mh_slice_data(&slice), slice.len);
    c->body_bytes += slice.len;
    mh_slice_drop(&slice);
    return 0;
}

static inline int on_end(struct mh_sink *s, struct mh_err *err)
{
    struct client *c = mh_container_of(s, struct client, sink);
    (void)err;
    if (c->body_bytes > 32)
        mh_buf_addf(&c->log, "=%llu", (unsigned long long)c->body_bytes);
    mh_buf_adds(&c->log, ".\n");
    return 0;
}

static inline int on_missed(struct mh_sink *s, const struct mh_item *item, const struct mh_err *why,
                            struct mh_err *err)
{
    struct client *c = mh_container_of(s, struct client, sink);
    char what[32];
    (void)err;
    (void)snprintf(what, sizeof what, "missed %llu", (unsigned long long)item->uid);
    say_error(c, what, why);
    return 0;
}

static inline void on_done(struct mh_append_sink *s, uint64_t cookie, uint64_t uid,
                           uint32_t uidvalidity, const struct mh_err *why)
{
    struct client *c = mh_container_of(s, struct client, verdicts);
    char what[32];
    c->n_verdicts++;
    mh_wake_all(&c->verdict);
    (void)snprintf(what, sizeof what, "#%llu", (unsigned long long)cookie);
    if (why)
        say_error(c, what, why);
    else
        mh_buf_addf(&c->log, "#%llu=%llu/%u\n", (unsigned long long)cookie, (unsigned long long)uid,
                    uidvalidity);
}

static inline struct mh_folder folder_of(const char *name)
{
    return (struct mh_folder){.path = (char *)(uintptr_t)name, .native = (char *)(uintptr_t)name};
}

/* "fetch 1,5,9:300000": UIDs, perhaps with sizes. */
static inline int op_fetch(struct client *c, char *list, struct mh_err *err)
{
    struct mh_item items[64];
    const struct mh_item *of[64];
    size_t n = 0;
    for (char *p = strtok(list, ","); p; p = strtok(NULL, ",")) {
        char *end = NULL;
        cr_assert_lt(n, MH_ARRAY_LEN(items));
        items[n] = (struct mh_item){.uid = strtoull(p, &end, 10), .size = 10};
        if (*end == ':')
            items[n].size = strtoull(end + 1, NULL, 10);
        of[n] = &items[n];
        n++;
    }
    return mh_imap.fetch(c->session, of, n, &c->sink, err);
}

/* "begin 7,100": cookie and octets; "begin 7,100,-3600,60": with a date and its zone. */
static inline int op_begin(struct client *c, char *arg, struct mh_err *err)
{
    char *end = NULL;
    struct mh_append msg = {.cookie = strtoull(arg, &end, 10)};
    msg.octets = strtoull(end + 1, &end, 10);
    if (*end == ',') {
        msg.date = (struct mh_date){.unix_s = strtoll(end + 1, &end, 10), .is_set = true};
        msg.date.zone_min = (int16_t)strtol(end + 1, NULL, 10);
    }
    c->left = msg.octets;
    return mh_imap.append_begin(c->session, &msg, err);
}

/* The message that was begun, to its end. */
static inline int op_rest(struct client *c, struct mh_err *err)
{
    int rc = 0;
    while (c->left > 0 && rc == 0) {
        struct mh_slab *slab = NULL;
        rc = mh_slab_get_wait(c->pool, MH_NEVER, &slab, err);
        if (rc)
            break;
        uint32_t part = (uint32_t)MH_MIN(c->left, (uint64_t)MH_SLAB_BYTES);
        memset(slab->data, 'x', part);
        rc = mh_imap.append_data(c->session, (struct mh_slice){slab, 0, part}, err);
        c->left -= part;
    }
    return rc ? rc : mh_imap.append_end(c->session, err);
}

static inline int op_append(struct client *c, char *arg, struct mh_err *err)
{
    int rc = op_begin(c, arg, err);
    return rc ? rc : op_rest(c, err);
}

static inline int op_await(struct client *c, unsigned verdicts)
{
    while (c->n_verdicts < verdicts)
        mh_wait_always(&c->verdict);
    return 0;
}

static inline int op_list(struct client *c, enum mh_listing what, struct mh_err *err)
{
    struct mh_folders folders = MH_FOLDERS_INIT;
    int rc = mh_imap.list(c->session, what, &folders, err);
    for (size_t i = 0; rc == 0 && i < folders.n; i++) {
        const struct mh_folder *f = &folders.v[i];
        mh_buf_addf(&c->log, "%s%s%s%s%s%s", f->path,
                    f->attrs & MH_FOLDER_NOSELECT ? " noselect" : "",
                    f->attrs & MH_FOLDER_SUBSCRIBED ? " subscribed" : "",
                    f->attrs & MH_FOLDER_FOREIGN ? " foreign" : "", f->role ? " " : "",
                    mh_role_name(f->role));
        if (f->attrs & MH_FOLDER_HAS_STATUS)
            mh_buf_addf(&c->log, " %llu", (unsigned long long)f->messages);
        mh_buf_addc(&c->log, '\n');
    }
    mh_folders_done(&folders);
    return rc;
}

static inline int op_scan(struct client *c, uint64_t from, struct mh_err *err)
{
    struct mh_scan scan;
    int rc = mh_scan_init(&scan, err);
    if (rc)
        return rc;
    rc = mh_imap.scan(c->session, from, &scan, err);
    for (size_t i = 0; rc == 0 && i < scan.n; i++) {
        const struct mh_item *item = &scan.items[i];
        char date[32] = "-";
        if (item->date.is_set)
            mh_date_format_iso(&item->date, date);
        mh_buf_addf(&c->log, "%llu %llu %x (%s) %s\n", (unsigned long long)item->uid,
                    (unsigned long long)item->size, item->flags,
                    mh_kwsets_text(scan.kwsets, item->kwset), date);
    }
    mh_scan_done(&scan);
    return rc;
}

/* "1:3,7": ascending, as IMAP writes it. Returns how many. */
static inline size_t parse_uids(const char *set, uint64_t *uids, size_t cap)
{
    size_t n = 0;
    for (char *end = NULL; *set; set = end + (*end == ',')) {
        uint64_t first = strtoull(set, &end, 10);
        uint64_t last = *end == ':' ? strtoull(end + 1, &end, 10) : first;
        for (uint64_t uid = first; uid <= last; uid++) {
            cr_assert_lt(n, cap);
            uids[n++] = uid;
        }
    }
    return n;
}

/* "uids 1:3,7": what scan_uids() lists, as UID/size and keywords. */
static inline int op_uids(struct client *c, const char *set, struct mh_err *err)
{
    uint64_t uids[2000];
    struct mh_scan scan;
    size_t n = parse_uids(set, uids, MH_ARRAY_LEN(uids));
    int rc = mh_scan_init(&scan, err);
    if (rc)
        return rc;
    rc = mh_imap.scan_uids(c->session, n ? uids : NULL, n, &scan, err);
    if (rc == 0) {
        for (size_t i = 0; i < scan.n; i++)
            mh_buf_addf(&c->log, "%llu/%llu(%s) ", (unsigned long long)scan.items[i].uid,
                        (unsigned long long)scan.items[i].size,
                        mh_kwsets_text(scan.kwsets, scan.items[i].kwset));
        mh_buf_addf(&c->log, "%zu listed\n", scan.n);
    }
    mh_scan_done(&scan);
    return rc;
}

static inline int op_create(struct client *c, const char *path, struct mh_err *err)
{
    char *real = NULL;
    char *native = NULL;
    int rc = mh_imap.create(c->session, path, MH_ROLE_NONE, &real, &native, err);
    if (rc == 0)
        mh_buf_addf(&c->log, "created %s as %s\n", real, native);
    mh_free(real);
    mh_free(native);
    return rc;
}

static inline int op_rights(struct client *c, const char *name, struct mh_err *err)
{
    struct mh_folder folder = folder_of(name);
    struct mh_buf lines = MH_BUF_INIT;
    int rc = mh_imap.acl_get(c->session, &folder, &lines, err);
    mh_buf_adds(&c->log, mh_buf_str(&lines));
    mh_buf_done(&lines);
    return rc;
}

static inline int op_quota(struct client *c, struct mh_err *err)
{
    struct mh_quota q;
    int rc = mh_imap.quota(c->session, &q, err);
    if (rc == 0)
        mh_buf_addf(&c->log, "quota %d %llu of %llu\n", q.known, (unsigned long long)q.used_bytes,
                    (unsigned long long)q.limit_bytes);
    return rc;
}

static inline int on_entry(void *ctx, const char *name, const char *value, size_t len)
{
    struct client *c = ctx;
    mh_buf_addf(&c->log, "%s=", name);
    for (size_t i = 0; i < len; i++)
        mh_buf_addc(&c->log, value[i] ? value[i] : '@');
    mh_buf_addc(&c->log, '\n');
    return 0;
}

static inline int count_entry(void *ctx, const char *name, const char *value, size_t len)
{
    unsigned *n = ctx;
    (void)name;
    (void)value;
    (void)len;
    ++*n;
    return 0;
}

/* How many annotations, and how many lines of rights, where there are too many to show. */
static inline int op_count(struct client *c, const char *name, struct mh_err *err)
{
    struct mh_folder folder = folder_of(name);
    struct mh_buf lines = MH_BUF_INIT;
    unsigned n = 0;
    int rc = mh_imap.metadata_get(c->session, &folder, count_entry, &n, err);
    mh_buf_addf(&c->log, "%u annotations\n", n);
    if (rc)
        say_error(c, "metadata", err);
    rc = mh_imap.acl_get(c->session, &folder, &lines, err);
    n = 0;
    for (const char *p = mh_buf_str(&lines); (p = strchr(p, '\n')) != NULL; p++)
        n++;
    mh_buf_addf(&c->log, "%u rights\n", n);
    mh_buf_done(&lines);
    return rc;
}

static inline int one_op(struct client *c, const char *op, char *arg, struct mh_err *err)
{
    struct mh_folder folder = folder_of(arg);
    struct mh_opened opened;
    static const uint64_t uids[] = {1, 2, 3, 7};
    if (strcmp(op, "list") == 0)
        return op_list(c,
                       strcmp(arg, "sizes") == 0 ? MH_LIST_SIZES
                       : *arg                    ? MH_LIST_STATUS
                                                 : MH_LIST_NAMES,
                       err);
    if (strcmp(op, "create") == 0)
        return op_create(c, arg, err);
    if (strcmp(op, "select") == 0 || strcmp(op, "open") == 0) {
        int rc = mh_imap.select(c->session, &folder, *op == 'o', &opened, err);
        if (rc == 0)
            mh_buf_addf(&c->log, "selected %llu messages, next %llu, %s%s\n",
                        (unsigned long long)opened.messages, (unsigned long long)opened.uidnext,
                        opened.keywords, opened.keywords_ok ? "*" : "");
        return rc;
    }
    if (strcmp(op, "scan") == 0)
        return op_scan(c, strtoull(arg, NULL, 10), err);
    if (strcmp(op, "uids") == 0)
        return op_uids(c, arg, err);
    if (strcmp(op, "fetch") == 0)
        return op_fetch(c, arg, err);
    if (strcmp(op, "store") == 0)
        return mh_imap.store_flags(c->session, uids, 4, true, MH_SEEN, arg, err);
    if (strcmp(op, "to") == 0)
        return mh_imap.append_open(c->session, &folder, &c->verdicts, err);
    if (strcmp(op, "append") == 0)
        return op_append(c, arg, err);
    if (strcmp(op, "begin") == 0)
        return op_begin(c, arg, err);
    if (strcmp(op, "rest") == 0)
        return op_rest(c, err);
    if (strcmp(op, "await") == 0)
        return op_await(c, (unsigned)strtoul(arg, NULL, 10));
    if (strcmp(op, "cut") == 0)
        return mh_imap.append_cut(c->session, err);
    if (strcmp(op, "flush") == 0)
        return mh_imap.append_flush(c->session, err);
    if (strcmp(op, "rights") == 0)
        return op_rights(c, arg, err);
    if (strcmp(op, "quota") == 0)
        return op_quota(c, err);
    if (strcmp(op, "metadata") == 0)
        return mh_imap.metadata_get(c->session, &folder, on_entry, c, err);
    if (strcmp(op, "count") == 0)
        return op_count(c, arg, err);
    if (strcmp(op, "annotate") == 0)
        return mh_imap.metadata_set(c->session, &folder, "/private/comment", "a\r\nb", 4, err);
    if (strcmp(op, "annotate-nul") == 0)
        return mh_imap.metadata_set(c->session, &folder, "/private/comment", "a\0b", 3, err);
    int rc = c->more_ops ? c->more_ops(c, op, arg, err) : MH_EUSAGE;
    cr_assert_neq(rc, MH_EUSAGE, "no such operation: %s", op);
    return rc;
}

/* OPS: "select INBOX; fetch 1,2; to Sent; append 1,10"; "open" is select for writing. An error is logged and the next one goes
 * on. */
static inline void run_ops(struct client *c)
{
    char *ops = strdup(c->ops);
    char *rest = NULL;
    for (char *op = strtok_r(ops, ";", &rest); op; op = strtok_r(NULL, ";", &rest)) {
        op += strspn(op, " ");
        char *arg = op + strcspn(op, " ");
        if (*arg)
            *arg++ = '\0';
        struct mh_err err;
        mh_err_reset(&err);
        if (one_op(c, op, arg, &err) != 0)
            say_error(c, op, &err);
    }
    free(ops);
}

static inline void client_main(void *arg)
{
    struct client *c = arg;
    struct mh_endpoint ep;
    struct mh_err err;
    char url[256];
    mh_endpoint_init(&ep);
    mh_err_reset(&err);
    (void)snprintf(url, sizeof url, "imap://anna@127.0.0.1:%u/%s", c->port, c->url_rest);
    int rc = mh_endpoint_parse_url(url, &ep, &err);
    ep.secret.value = mh_strdup(c->password);
    ep.max_message = c->max_message;
    const struct mh_env env = {
        .pool = c->pool, .net = c->net, .timeout_ms = c->timeout_ms, .is_source = false};
    if (rc == 0)
        rc = mh_imap.open(&ep, &env, false, &c->session, &err);
    if (rc)
        say_error(c, "open", &err);
    else if (c->ops)
        run_ops(c);
    if (rc == 0) {
        if (!c->ops)
            mh_buf_adds(&c->log, "open\n");
        mh_imap.close(c->session);
    }
    mh_endpoint_done(&ep);
}

/* Their tables stand outside clang-format: a row of a script ends where a step of it does. */
struct dialogue {
    const char *name;
    const char *url_rest; /* NULL: plaintext */
    const char *password; /* NULL: "secret" */
    const char *ops;      /* NULL: open only */
    const char *script;
    const char *log;
    uint64_t sink_fails_at;
    uint64_t max_message; /* the endpoint's; 0 none */
    int64_t timeout_ms;   /* 0: long enough */
    more_ops_fn *more_ops;
};

static inline void play(const struct dialogue *d)
{
    struct server server;
    struct mh_err err;
    struct mh_loop *loop = NULL;
    struct client c = {.url_rest = d->url_rest ? d->url_rest : "?tls=none",
                       .password = d->password ? d->password : "secret",
                       .ops = d->ops,
                       .more_ops = d->more_ops,
                       .timeout_ms = d->timeout_ms ? d->timeout_ms : 30000,
                       .sink = {on_begin, on_data, on_end, on_missed},
                       .verdicts = {on_done},
                       .sink_fails_at = d->sink_fails_at,
                       .max_message = d->max_message};
    server_start(&server, d->script);
    c.port = server.port;
    cr_assert_eq(mh_pool_new(16u << 20, &c.pool, &err), 0);
    cr_assert_eq(mh_net_new(NULL, NULL, &c.net, &err), 0);
    cr_assert_eq(mh_loop_new(&loop, &err), 0);
    cr_assert_eq(mh_task_spawn(mh_loop_sched(loop), "client", client_main, &c, NULL, &err), 0);
    mh_sched_run(mh_loop_sched(loop));
    mh_loop_free(loop);
    mh_net_free(c.net);
    struct mh_pool_stats stats;
    mh_pool_stats(c.pool, &stats);
    cr_expect_eq(stats.in_use_bytes, 0, "%s: slabs were not given back", d->name);
    mh_pool_free(c.pool);
    cr_expect_str_eq(mh_buf_str(&c.log), d->log, "%s:\n%s", d->name, mh_buf_str(&c.log));
    mh_buf_done(&c.log);
    server_stop(&server, d->name);
}

static inline void play_all(const struct dialogue *dialogues, size_t n)
{
    mh_log_set_level(MH_LOG_ERROR);
    for (size_t i = 0; i < n; i++)
        play(&dialogues[i]);
}

/* --- scripts ---------------------------------------------------------------------------------- */

/* What follows a login where the server has neither ID nor NAMESPACE. */
#define LOGGED_IN(caps)                                                                            \
    "S: $TAG OK [CAPABILITY IMAP4rev1 " caps "] in\n"                                              \
    "C: * LIST \"\" \"\"\n"                                                                        \
    "S: * LIST (\\Noselect) \"/\" \"\"\n"                                                          \
    "S: $TAG OK\n"
#define GREETING(caps) "CONN 1\nS: * OK [CAPABILITY IMAP4rev1" caps "] hello\n"
#define HELLO          GREETING(" SASL-IR AUTH=PLAIN")
#define LOGIN(caps)                                                                                \
    HELLO                                                                                          \
    "C: * AUTHENTICATE PLAIN AGFubmEAc2VjcmV0\n" LOGGED_IN(caps)

#endif
