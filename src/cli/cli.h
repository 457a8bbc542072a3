/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The command line: options, the registry of connectors and commands, the screen. Main thread, except
 * for the screen's event(), which loops call.
 */
#ifndef MH_CLI_CLI_H
#define MH_CLI_CLI_H

#include "commands/commands.h"

struct mh_cli_command {
    const char *name;
    int (*run)(struct mh_app *app, int argc, char **argv);
    const char *args;    /* "SRC DST" */
    const char *summary; /* one line */
};

/* All commands, ended by a NULL name. */
extern const struct mh_cli_command mh_cli_commands[];
/* All connectors of this build. */
extern const struct mh_connector *const mh_cli_connectors[];
extern const size_t mh_cli_n_connectors;

enum mh_color { MH_COLOR_AUTO, MH_COLOR_ALWAYS, MH_COLOR_NEVER };

struct mh_cli_options {
    struct mh_app app;
    enum mh_color color;
    int verbose;
    const char *trace_file;
    struct mh_strings commands[2]; /* owned: source and target password commands */
    bool help, version;
};

/* Reads ARGV behind the command's name into OUT; *ARGC_OUT arguments that are no options are moved to the
 * front of ARGV. MH_EUSAGE names the option and the nearest known one. */
int mh_cli_parse(int argc, char **argv, struct mh_cli_options *out, int *argc_out,
                 struct mh_err *err) MH_MUST_CHECK;
void mh_cli_options_done(struct mh_cli_options *o);
/*
 * When the clocks of this zone show VALUE next after NOW_S: "HH:MM", or "YYYY-MM-DDTHH:MM" (then maybe a time that is over).
 * In the hour that autumn repeats the first of the two that is still to come; a time that spring skips is the one
 * that it would have been without daylight saving. False when it cannot be read.
 */
bool mh_cli_time(const char *value, int64_t now_s, int64_t *wall_s_out);
/* COMMAND NULL: the overview. */
void mh_cli_help(FILE *out, const struct mh_cli_command *command);

/* A live table on a terminal, one plain line per event elsewhere, nothing when QUIET. */
int mh_screen_new(bool quiet, enum mh_color color, struct mh_screen **out,
                  struct mh_err *err) MH_MUST_CHECK;
void mh_screen_free(struct mh_screen *s);

#endif
