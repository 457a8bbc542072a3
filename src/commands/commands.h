/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The commands: each is one file with one function that takes what the command line said and returns the
 * exit code. Results go to app->out (one JSON object with --json), everything else to stderr through the screen
 * and the log. Called from the main thread; loops and workers are started and ended inside.
 */
#ifndef MH_COMMANDS_COMMANDS_H
#define MH_COMMANDS_COMMANDS_H

#include <stdatomic.h>
#include <stdio.h>

#include "engine/engine.h"
#include "plan/plan.h"

enum mh_exit {
    MH_EXIT_OK = 0,
    MH_EXIT_ERROR = 1,
    MH_EXIT_USAGE = 2,
    MH_EXIT_ITEMS = 3,    /* finished with failed items */
    MH_EXIT_CRITERIA = 4, /* criteria or verification not met */
    MH_EXIT_NO_PROJECT = 10,
    MH_EXIT_LOCKED = 11,
    MH_EXIT_AUTH = 12,
    MH_EXIT_INTERRUPTED = 130,
};

/* What a person watches while a command works; made by the command line's side. */
struct mh_screen {
    /* PROGRESS[i] belongs to IDS[i]; both outlive stop(). VERB: "moving", "verifying", "checking". */
    void (*start)(struct mh_screen *s, const char *verb, const char *const *ids,
                  struct mh_progress *progress, size_t n);
    void (*stop)(struct mh_screen *s);
    struct mh_event_sink events;
};

/* The command line, read. Everything borrowed from main(). */
struct mh_app {
    const struct mh_connector *const *connectors;
    size_t n_connectors;
    struct mh_screen *screen;
    FILE *out;
    bool json, quiet;
    const char *project_file; /* default mailhaul.yaml */
    bool project_is_given;
    const char *state_path; /* --state; NULL: the command's default */
    const char *users_csv;
    struct mh_plan_opts secrets;
    int64_t timeout_ms;
    uint64_t memory_bytes; /* 0: the project's or the default */
    const char *bwlimit;
    unsigned connections, per_mailbox;
    enum mh_compress compress;
    bool dry_run;
    bool watch, retry_failed;
    int64_t until_wall_s;    /* 0: never */
    int64_t poll_ms;         /* 0: the default */
    const char *const *only; /* mailbox ids chosen on the command line */
    size_t n_only;
    unsigned pilot; /* --pilot N; 0 = all */
    const char *wave;
    struct mh_verify_options verify; /* --deep, --sample, --fresh */
    _Atomic int *stop;               /* raised by the signal handler: enum mh_stop */
};

int mh_command_copy(struct mh_app *app, int argc, char **argv);
int mh_command_init(struct mh_app *app, int argc, char **argv);
int mh_command_check(struct mh_app *app, int argc, char **argv);
int mh_command_map(struct mh_app *app, int argc, char **argv);
int mh_command_run(struct mh_app *app, int argc, char **argv);
int mh_command_status(struct mh_app *app, int argc, char **argv);
int mh_command_verify(struct mh_app *app, int argc, char **argv);
int mh_command_pst(struct mh_app *app, int argc, char **argv);

#endif
