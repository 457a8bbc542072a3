/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <openssl/crypto.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"

static _Atomic int stop;

/* Once: finish what is in flight. Twice: now. */
static void on_signal(int sig)
{
    (void)sig;
    int level = atomic_load_explicit(&stop, memory_order_relaxed);
    if (level < MH_STOP_NOW)
        atomic_store_explicit(&stop, level + 1, memory_order_relaxed);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
}

static const struct mh_cli_command *find_command(const char *name)
{
    for (const struct mh_cli_command *c = mh_cli_commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *nearest = NULL;
    unsigned best = 3;
    for (const struct mh_cli_command *c = mh_cli_commands; c->name; c++) {
        unsigned d = mh_str_distance(name, c->name, 2);
        if (d < best) {
            best = d;
            nearest = c->name;
        }
    }
    struct mh_buf shown = MH_BUF_INIT;
    mh_buf_add_printable(&shown, name, strlen(name));
    (void)fprintf(stderr, "mailhaul: no command '%s'; %s%s%s\n", mh_buf_str(&shown),
                  nearest ? "did you mean '" : "see mailhaul --help", nearest ? nearest : "",
                  nearest ? "'?" : "");
    mh_buf_done(&shown);
    return MH_EXIT_USAGE;
}

static void print_version(void)
{
    (void)printf("mailhaul %s (%s, SQLite %s)\n", MH_VERSION, OpenSSL_version(OPENSSL_VERSION),
                 sqlite3_libversion());
}

static int fail(const struct mh_err *err)
{
    char line[1024];
    (void)fprintf(stderr, "mailhaul: %s\n", mh_err_line(err, line, sizeof line));
    return MH_EXIT_USAGE;
}

static void set_defaults(struct mh_app *app)
{
    app->connectors = mh_cli_connectors;
    app->n_connectors = mh_cli_n_connectors;
    app->out = stdout;
    app->project_file = "mailhaul.yaml";
    app->timeout_ms = MH_TIMEOUT_DEFAULT_MS;
    app->stop = &stop;
    app->secrets.source.value = getenv("MAILHAUL_SOURCE_PASSWORD");
    app->secrets.target.value = getenv("MAILHAUL_TARGET_PASSWORD");
}

static int run_command(const struct mh_cli_command *command, struct mh_cli_options *o, int argc,
                       char **argv)
{
    struct mh_err err;
    mh_log_set_level(o->verbose >= 2   ? MH_LOG_DEBUG
                     : o->verbose == 1 ? MH_LOG_INFO
                     : o->app.quiet    ? MH_LOG_ERROR
                                       : MH_LOG_WARNING);
    if (o->trace_file && mh_trace_open(o->trace_file, &err) != MH_OK)
        return fail(&err);
    if (mh_screen_new(o->app.quiet, o->color, &o->app.screen, &err) != MH_OK)
        return fail(&err);
    int rc = command->run(&o->app, argc, argv);
    mh_screen_free(o->app.screen);
    mh_trace_close();
    if (fflush(stdout) != 0) {
        (void)fputs("mailhaul: cannot write to standard output\n", stderr);
        rc = rc ? rc : MH_EXIT_ERROR;
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct mh_cli_options o = {0};
    struct mh_err err;
    int n = 0;
    set_defaults(&o.app);
    const struct mh_cli_command *command = argc > 1 ? find_command(argv[1]) : NULL;
    if (argc > 1 && !command && argv[1][0] != '-')
        return unknown_command(argv[1]);
    int skip = command ? 2 : 1;
    mh_err_reset(&err);
    int code = mh_cli_parse(argc - skip, argv + skip, &o, &n, &err);
    int rc = MH_EXIT_USAGE;
    if (code != MH_OK) {
        rc = fail(&err);
    } else if (o.version) {
        print_version();
        rc = MH_EXIT_OK;
    } else if (o.help || !command) {
        mh_cli_help(o.help ? stdout : stderr, command);
        rc = o.help ? MH_EXIT_OK : MH_EXIT_USAGE;
    } else {
        catch_signals();
        rc = run_command(command, &o, n, argv + skip);
    }
    mh_cli_options_done(&o);
    return rc;
}
