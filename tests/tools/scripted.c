/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * mh-scripted: an IMAP server that does what a script says, for tests of what no decent server
 * does.
 *
 * Two ways to answer, both in one script: dialogues, byte by byte, one per connection; and MODEL, a
 * small correct server whose faults are ordered one by one. The format is in README.md. One thread
 * per connection runs its dialogue (scripted_script.h has the steps, scripted_peer.h the bytes,
 * scripted_model.h the model); the main thread accepts, and at SIGTERM wakes all of them through
 * stop_fd, joins them, and writes the dump. Exit code 1 when a client said what no C: line
 * expected, what a REJECT line forbade, or what the protocol forbids. Never: no thread outlives the
 * process's decision to end, and none is cancelled.
 */
#include "scripted_model.h"

#include <getopt.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

enum { REJECTS_MAX = 8, LITERAL_KEPT_MAX = 64 * 1024, DEPTH_MAX = NESTING_MAX };

struct options {
    const char *script, *listen, *port_file, *dump, *dump_folders, *certificates, *transcript;
    bool is_bound_to_parent;
};

struct server;

struct connection {
    struct server *server; /* borrowed */
    pthread_t thread;
    struct peer *peer; /* owned */
    atomic_bool is_done;
    struct connection *next;
};

struct server {
    struct options options;
    struct script script;
    struct model model;
    struct transcript transcript;
    int listen_fd, stop_fd, signal_fd;
    atomic_ullong mismatches;
    uint64_t accepted;
    struct connection *connections; /* owned; main thread only */
};

/* ------------------------------------------------------------------ running a dialogue */

/* One REPEAT or LOOP that is being run. */
struct round {
    size_t begin; /* its step */
    uint64_t count;
};

struct run {
    struct server *server;
    struct peer *peer;
    const struct dialogue *dialogue;
    struct variables variables;
    char *rejects[REJECTS_MAX]; /* owned */
    size_t rejects_len;
    struct round rounds[DEPTH_MAX];
    size_t depth;
    bool is_in_command; /* the next line goes on behind a literal: it has no tag */
    bool has_spoken, sends_no_continuation, echoes;
};

static bool run_is_in_loop(const struct run *run)
{
    for (size_t i = 0; i < run->depth; i++)
        if (run->dialogue->steps[run->rounds[i].begin].kind == STEP_LOOP)
            return true;
    return false;
}

static void run_mismatch(struct run *run, const struct step *step, const char *what,
                         const char *line, size_t len)
{
    atomic_fetch_add(&run->server->mismatches, 1);
    flockfile(stderr);
    fprintf(stderr, "%s: %s:%u: connection %llu: %s '%s', got ", tool_name,
            run->server->script.file, step->line, (unsigned long long)run->peer->number, what,
            step->text);
    if (line)
        tool_print_escaped(stderr, line, len);
    else
        fputs("the end of the stream", stderr);
    fputc('\n', stderr);
    funlockfile(stderr);
    peer_remark(run->peer, "mismatch at line %u", step->line);
    peer_end(run->peer, PEER_END_CLOSE);
}

/* "… {n}" or "… {n+}": the size, and whether the client waits. False: no literal. */
static bool line_has_literal(const char *line, size_t len, uint64_t *size_out, bool *is_waiting_out)
{
    if (len < 3 || line[len - 1] != '}')
        return false;
    size_t end = len - 1;
    *is_waiting_out = line[end - 1] != '+';
    end -= !*is_waiting_out;
    size_t begin = end;
    uint64_t size = 0;
    while (begin > 0 && isdigit((unsigned char)line[begin - 1]))
        begin--;
    if (begin == end || begin == 0 || line[begin - 1] != '{' || end - begin > 18)
        return false;
    for (size_t i = begin; i < end; i++)
        size = size * 10 + (uint64_t)(line[i] - '0');
    *size_out = size;
    return true;
}

/* Reads a literal behind a line; its beginning becomes $LITERAL. */
static void run_take_literal(struct run *run, uint64_t size, bool is_waiting)
{
    if (is_waiting && run->sends_no_continuation)
        return;
    if (is_waiting)
        peer_write_line(run->peer, "+ ok", 4);
    size_t kept = size < LITERAL_KEPT_MAX ? (size_t)size : LITERAL_KEPT_MAX, done = 0;
    char *bytes = tool_alloc(kept + 1);
    while (done < kept) {
        size_t got = peer_read(run->peer, bytes + done, kept - done);
        if (!got)
            break;
        done += got;
    }
    variables_set(&run->variables, "LITERAL", bytes, done);
    free(bytes);
    if (done == kept && peer_skip(run->peer, size - kept))
        run->is_in_command = true;
}

/*
 * A line from the client, checked against the REJECTs; NULL at the end of the stream. Caller frees.
 */
static char *run_read_line_dup(struct run *run, const struct step *step, size_t *len_out)
{
    char *line = peer_read_line_dup(run->peer, len_out);
    for (size_t i = 0; line && i < run->rejects_len; i++) {
        if (!tool_match(run->rejects[i], line, *len_out, NULL))
            continue;
        run_mismatch(run, step, "forbidden by REJECT; at", line, *len_out);
        free(line);
        return NULL;
    }
    return line;
}

static void run_capture(struct run *run, const char *line, size_t len,
                        const struct tool_run runs[TOOL_RUNS_MAX])
{
    for (unsigned i = 0; i < TOOL_RUNS_MAX; i++) {
        char name[2] = {(char)('1' + i), '\0'};
        variables_set(&run->variables, name, line + runs[i].at, runs[i].len);
    }
    if (!run->is_in_command) {
        size_t tag_len = strcspn(line, " ");
        variables_set(&run->variables, "TAG", line, tag_len < len ? tag_len : len);
    }
    if (run->echoes) {
        flockfile(stdout);
        printf("MATCH %llu ", (unsigned long long)run->peer->number);
        tool_print_escaped(stdout, line, len);
        putchar('\n');
        fflush(stdout);
        funlockfile(stdout);
    }
}

/* C: and the expecting half of STARTTLS. False: the dialogue is over, or its loop is. */
static bool run_expect(struct run *run, const struct step *step, const char *pattern)
{
    size_t len = 0;
    char *line = run_read_line_dup(run, step, &len);
    if (!line) {
        bool is_mismatch = run->peer->is_client_gone && !run_is_in_loop(run);
        if (is_mismatch)
            run_mismatch(run, step, "expected", NULL, 0);
        return false;
    }
    struct tool_run runs[TOOL_RUNS_MAX];
    if (!tool_match(pattern, line, len, runs)) {
        run_mismatch(run, step, "expected", line, len);
        free(line);
        return false;
    }
    run_capture(run, line, len, runs);
    uint64_t size = 0;
    bool is_waiting = false;
    run->is_in_command = false;
    if (line_has_literal(line, len, &size, &is_waiting))
        run_take_literal(run, size, is_waiting);
    free(line);
    return true;
}

static void run_until_close(struct run *run, const struct step *step)
{
    size_t len = 0;
    char *line = NULL;
    while ((line = run_read_line_dup(run, step, &len)) != NULL) {
        uint64_t size = 0;
        bool is_waiting = false;
        if (line_has_literal(line, len, &size, &is_waiting) && !is_waiting)
            peer_skip(run->peer, size);
        free(line);
    }
}

/* n bytes: the pattern over and over, or generated ones. */
static void run_literal(struct run *run, const struct step *step)
{
    unsigned char part[8192];
    uint64_t at = 0;
    while (at < step->number && !run->peer->is_over) {
        size_t len = step->number - at < sizeof(part) ? (size_t)(step->number - at) : sizeof(part);
        for (size_t i = 0; i < len && step->len > 0; i++)
            part[i] = (unsigned char)step->text[(at + i) % step->len];
        if (step->len == 0) {
            tool_fill(part, len, 1, at);
            for (size_t i = 0; i < len; i++)
                part[i] = (unsigned char)('a' + part[i] % 26);
        }
        peer_write(run->peer, part, len);
        at += len;
    }
    peer_remark(run->peer, "%llu generated bytes", (unsigned long long)step->number);
}

static void run_send(struct run *run, const struct step *step)
{
    size_t len = 0;
    char *text = variables_expand_dup(&run->variables, step->text, step->len, &len);
    if (step->kind == STEP_SEND) {
        peer_write_line(run->peer, text, len);
    } else {
        peer_note(run->peer, 'S', text, len);
        peer_write(run->peer, text, len);
    }
    run->has_spoken = true;
    free(text);
}

static bool run_tls(struct run *run, const struct step *step)
{
    int max_version = strcmp(step->text, "max=1.0") == 0   ? TLS1_VERSION
                      : strcmp(step->text, "max=1.1") == 0 ? TLS1_1_VERSION
                      : strcmp(step->text, "max=1.2") == 0 ? TLS1_2_VERSION
                                                           : TLS_NEWEST;
    if (step->kind == STEP_STARTTLS) {
        if (!run_expect(run, step, "* STARTTLS"))
            return false;
        char answer[TAG_BYTES_MAX + 16];
        int len = snprintf(answer, sizeof(answer), "%.64s OK begin",
                           variables_get(&run->variables, "TAG", "*"));
        peer_write_line(run->peer, answer, (size_t)len);
    }
    return peer_start_tls(run->peer, model_certificate(&run->server->model, step->name),
                          max_version);
}

static void run_add_reject(struct run *run, const struct step *step)
{
    size_t len = 0;
    if (run->rejects_len == REJECTS_MAX)
        tool_die("%s:%u: more than %d REJECTs", run->server->script.file, step->line, REJECTS_MAX);
    run->rejects[run->rejects_len++] =
        variables_expand_dup(&run->variables, step->text, step->len, &len);
}

/* REPEAT and LOOP: enters another round, or goes on behind the END. Returns the next step. */
static size_t run_round(struct run *run, size_t at)
{
    const struct step *step = &run->dialogue->steps[at];
    bool is_running = run->depth > 0 && run->rounds[run->depth - 1].begin == at;
    if (!is_running)
        run->rounds[run->depth++] = (struct round){.begin = at};
    struct round *round = &run->rounds[run->depth - 1];
    if (step->kind == STEP_REPEAT && round->count == step->number) {
        run->depth--;
        return step->jump + 1;
    }
    round->count++;
    if (step->kind == STEP_REPEAT)
        variables_set_number(&run->variables, step->name, round->count);
    return at + 1;
}

static void run_set(struct run *run, const struct step *step)
{
    size_t len = 0;
    char *value = variables_expand_dup(&run->variables, step->text, step->len, &len);
    variables_set(&run->variables, step->name, value, len);
    free(value);
}

static void run_end(struct run *run, enum step_kind kind)
{
    peer_flush(run->peer);
    peer_end(run->peer, kind == STEP_RST        ? PEER_END_RESET
                        : kind == STEP_TRUNCATE ? PEER_END_TRUNCATE
                                                : PEER_END_CLOSE);
}

static void run_expect_pattern(struct run *run, const struct step *step)
{
    size_t len = 0;
    char *pattern = variables_expand_dup(&run->variables, step->text, step->len, &len);
    (void)run_expect(run, step, pattern); /* a failure has ended the connection */
    free(pattern);
}

/* Performs one step and returns the next. */
static size_t run_step(struct run *run, size_t at)
{
    const struct step *step = &run->dialogue->steps[at];
    bool is_off = strcmp(step->text, "off") == 0;
    switch (step->kind) {
    case STEP_SEND:
    case STEP_SEND_RAW:
        run_send(run, step);
        break;
    case STEP_EXPECT:
        run_expect_pattern(run, step);
        break;
    case STEP_REJECT:
        run_add_reject(run, step);
        break;
    case STEP_LITERAL:
        run_literal(run, step);
        run->has_spoken = true;
        break;
    case STEP_REPEAT:
    case STEP_LOOP:
        return run_round(run, at);
    case STEP_END:
        return step->jump;
    case STEP_SLEEP:
        peer_sleep(run->peer, step->number);
        break;
    case STEP_STALL:
        peer_stall(run->peer);
        break;
    case STEP_CLOSE:
    case STEP_TRUNCATE:
    case STEP_RST:
        run_end(run, step->kind);
        break;
    case STEP_HALFCLOSE:
        peer_half_close(run->peer);
        break;
    case STEP_TLS:
    case STEP_STARTTLS:
        (void)run_tls(run, step); /* a failed handshake has ended the connection */
        break;
    case STEP_SET:
        run_set(run, step);
        break;
    case STEP_NOCONT:
        run->sends_no_continuation = !is_off;
        break;
    case STEP_ECHO_MATCH:
        run->echoes = !is_off;
        break;
    case STEP_UNTIL_CLOSE:
        run_until_close(run, step);
        break;
    case STEP_MODEL:
        model_serve(&run->server->model, run->peer, &run->variables, run->has_spoken);
        break;
    }
    return at + 1;
}

/* Thread: the connection's own. */
static void *connection_run(void *argument)
{
    struct connection *connection = argument;
    struct server *server = connection->server;
    struct run run = {.server = server, .peer = connection->peer};
    run.variables.parent = &server->script.globals;
    run.dialogue = script_find(&server->script, connection->peer->number);
    peer_remark(connection->peer, "accepted");
    size_t at = 0;
    while (run.dialogue && at < run.dialogue->len && !connection->peer->is_over)
        at = run_step(&run, at);
    if (!connection->peer->is_over)
        peer_flush(connection->peer);
    peer_done(connection->peer);
    for (size_t i = 0; i < run.rejects_len; i++)
        free(run.rejects[i]);
    variables_done(&run.variables);
    atomic_store(&connection->is_done, true);
    return NULL;
}

/* ------------------------------------------------------------------ accepting */

/* Joins the threads that are through, or all of them. */
static void server_reap(struct server *server, bool is_last)
{
    struct connection **link = &server->connections;
    while (*link) {
        struct connection *connection = *link;
        if (!is_last && !atomic_load(&connection->is_done)) {
            link = &connection->next;
            continue;
        }
        pthread_join(connection->thread, NULL);
        *link = connection->next;
        free(connection->peer);
        free(connection);
    }
}

static void server_accept(struct server *server)
{
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
        return;
    if (fd < 0)
        tool_die("accept: %s", strerror(errno));
    struct connection *connection = tool_alloc(sizeof(*connection));
    connection->server = server;
    connection->peer = tool_alloc(sizeof(*connection->peer));
    peer_init(connection->peer, fd, server->stop_fd, ++server->accepted, &server->transcript);
    connection->next = server->connections;
    server->connections = connection;
    int error = pthread_create(&connection->thread, NULL, connection_run, connection);
    if (error)
        tool_die("pthread_create: %s", strerror(error));
}

static void server_dump(struct server *server)
{
    if (server->options.dump)
        store_dump(&server->model.store, server->options.dump, false);
    if (server->options.dump_folders)
        store_dump(&server->model.store, server->options.dump_folders, true);
}

/* SIGUSR1: dump and go on. Anything else: end. */
static bool server_goes_on(struct server *server)
{
    struct signalfd_siginfo signal_info;
    if (read(server->signal_fd, &signal_info, sizeof(signal_info)) != sizeof(signal_info))
        return true;
    if (signal_info.ssi_signo != SIGUSR1)
        return false;
    server_dump(server);
    return true;
}

static void server_run(struct server *server)
{
    bool goes_on = true;
    while (goes_on) {
        struct pollfd wait[2] = {{.fd = server->listen_fd, .events = POLLIN},
                                 {.fd = server->signal_fd, .events = POLLIN}};
        if (poll(wait, 2, -1) < 0 && errno != EINTR)
            tool_die("poll: %s", strerror(errno));
        if (wait[1].revents)
            goes_on = server_goes_on(server);
        if (goes_on && wait[0].revents)
            server_accept(server);
        server_reap(server, false);
    }
    if (eventfd_write(server->stop_fd, 1) != 0)
        tool_die("eventfd: %s", strerror(errno));
    server_reap(server, true);
}

static void server_init(struct server *server)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1);
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        tool_die("cannot set up signals");
    server->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->signal_fd < 0 || server->stop_fd < 0)
        tool_die("no descriptors: %s", strerror(errno));
    if (server->options.is_bound_to_parent && prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
        tool_die("prctl: %s", strerror(errno));
    pthread_mutex_init(&server->transcript.lock, NULL);
    if (server->options.transcript) {
        server->transcript.file = fopen(server->options.transcript, "we");
        if (!server->transcript.file)
            tool_die("cannot write %s: %s", server->options.transcript, strerror(errno));
    }
    model_init(&server->model, &server->script.globals);
    server->model.certificates_folder = server->options.certificates;
    server->script.file = server->options.script;
    server->script.set_up = model_set_up;
    server->script.need_certificate = model_need_certificate;
    server->script.model = &server->model;
    script_read(&server->script);
    server->model.store.separator = variables_get(&server->script.globals, "SEPARATOR", "/")[0];
    uint16_t port = 0;
    server->listen_fd = tool_listen(server->options.listen, &port);
    tool_announce_port(port, server->options.port_file);
}

/* Writes what tests look at, and frees everything. Returns the exit code. */
static int server_done(struct server *server)
{
    server_dump(server);
    unsigned long long mismatches = atomic_load(&server->mismatches);
    unsigned long long violations = atomic_load(&server->model.violations);
    faults_report(&server->model.faults);
    fprintf(stderr, "%s: connections=%llu mismatches=%llu violations=%llu\n", tool_name,
            (unsigned long long)server->accepted, mismatches, violations);
    close(server->listen_fd);
    close(server->stop_fd);
    close(server->signal_fd);
    if (server->transcript.file && fclose(server->transcript.file) != 0)
        tool_die("cannot write %s: %s", server->options.transcript, strerror(errno));
    pthread_mutex_destroy(&server->transcript.lock);
    script_done(&server->script);
    model_done(&server->model);
    return mismatches || violations ? TOOL_EXIT_FAILED : TOOL_EXIT_OK;
}

/* ------------------------------------------------------------------ the command line */

static const char usage[] =
    "usage: mh-scripted SCRIPT [options]         (the script's format: tests/tools/README.md)\n"
    "  --listen ADDRESS:PORT   default 127.0.0.1:0; PORT=n is printed\n"
    "  --port-file FILE        write PORT=n there too\n"
    "  --certs DIR             certificates made by certkit.sh\n"
    "  --dump FILE             at the end and at SIGUSR1: folder, uid, sha256, size, flags, date, "
    "user\n"
    "  --dump-folders FILE     folder, uidvalidity, uidnext, messages, subscribed, attributes, "
    "user\n"
    "  --transcript FILE       every line of every connection\n"
    "  --with-parent           end when the parent process ends\n";

static void parse_options(int argc, char **argv, struct options *options)
{
    static const struct option long_options[] = {{"listen", required_argument, NULL, 'l'},
                                                 {"port-file", required_argument, NULL, 'p'},
                                                 {"certs", required_argument, NULL, 'c'},
                                                 {"dump", required_argument, NULL, 'd'},
                                                 {"dump-folders", required_argument, NULL, 'f'},
                                                 {"transcript", required_argument, NULL, 't'},
                                                 {"with-parent", no_argument, NULL, 'w'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    *options = (struct options){.listen = "127.0.0.1:0"};
    int id = 0;
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        const char **place = id == 'l'   ? &options->listen
                             : id == 'p' ? &options->port_file
                             : id == 'c' ? &options->certificates
                             : id == 'd' ? &options->dump
                             : id == 'f' ? &options->dump_folders
                             : id == 't' ? &options->transcript
                                         : NULL;
        if (place) {
            *place = optarg;
        } else if (id == 'w') {
            options->is_bound_to_parent = true;
        } else {
            fputs(usage, id == 'h' ? stdout : stderr);
            exit(id == 'h' ? TOOL_EXIT_OK : TOOL_EXIT_USAGE);
        }
    }
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        exit(TOOL_EXIT_USAGE);
    }
    options->script = argv[optind];
}

int main(int argc, char **argv)
{
    static struct server server;
    tool_name = "mh-scripted";
    parse_options(argc, argv, &server.options);
    server_init(&server);
    server_run(&server);
    return server_done(&server);
}
