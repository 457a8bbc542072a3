/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the commands that touch servers share: the plan chosen from the command line, the loops, pool, net and
 * state around an engine configuration, and the way back down. Main thread only.
 */
#ifndef MH_COMMANDS_SESSION_H
#define MH_COMMANDS_SESSION_H

#include "commands/commands.h"

struct mh_bucket;
struct mh_timetable;
struct mh_loops;

struct mh_work {
    struct mh_app *app;
    struct mh_plan *plan; /* owned */
    struct mh_engine_config cfg;
    struct mh_engine_mailbox *mailboxes; /* owned */
    struct mh_progress *progress;        /* owned */
    const char **ids;                    /* owned array */
    size_t n;
    char *state_path;   /* owned */
    char *oversize_dir; /* owned */
    struct mh_timetable *timetable;
    struct mh_bucket *limit_in, *limit_out;
    struct mh_loops *loops;
    bool screen_is_on;
    bool state_is_read_only; /* MH_STATE_KEEP, and it cannot be written */
};

/* MH_STATE_KEEP: to keep notes in, beside a run too; only to read when it cannot be written. */
enum mh_state_need { MH_STATE_NONE, MH_STATE_WRITE, MH_STATE_READ, MH_STATE_KEEP };

/* Reads the plan: from two URLs when ARGC is 2 (with app->users_csv for many), else from the project file. */
int mh_work_plan(struct mh_work *w, struct mh_app *app, int argc, char **argv,
                 struct mh_err *err) MH_MUST_CHECK;
/* Opens state, memory, network, loops; fills w->cfg. */
int mh_work_start(struct mh_work *w, enum mh_state_need need, const char *verb,
                  struct mh_err *err) MH_MUST_CHECK;
/* Everything down; the state's last error, if nothing went wrong before. Safe after a failed start. */
int mh_work_end(struct mh_work *w, struct mh_err *err);

/* Reads the plan (two addresses, or mailboxes of the project by name), calls DO_IT with it, takes everything down;
 * returns the exit code. */
int mh_with_plan(struct mh_app *app, int argc, char **argv,
                 int (*do_it)(struct mh_work *w, struct mh_err *err));

/* The exit code for an error, and one line about it on stderr (an object with --json). */
int mh_fail(struct mh_app *app, const struct mh_err *err);
int mh_exit_of(const struct mh_err *err);
/* The same for an error of one mailbox of several. */
int mh_exit_of_mailbox(const struct mh_err *err);

#endif
