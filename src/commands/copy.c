/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mailhaul copy SRC DST and mailhaul run: the same engine, state and ledger. */
#include <string.h>
#include <systemd/sd-daemon.h>

#include "commands/report.h"
#include "commands/session.h"

/* The exit code of a finished run: the gravest thing that happened. */
static int exit_code(const struct mh_result *r)
{
    bool auth = false;
    bool stopped = false;
    bool has_failed = r->counts.failed > 0;
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        auth |= r->mailboxes[i].err.code == MH_EAUTH;
        stopped |= r->mailboxes[i].err.code != MH_OK;
        for (size_t k = 0; k < r->mailboxes[i].n_folders; k++)
            has_failed |= r->mailboxes[i].folders[k].err.code != MH_OK;
    }
    if (auth)
        return MH_EXIT_AUTH;
    if (has_failed)
        return MH_EXIT_ITEMS;
    return stopped ? MH_EXIT_ERROR : MH_EXIT_OK;
}

static int carry(struct mh_work *w, struct mh_err *err)
{
    struct mh_app *app = w->app;
    struct mh_result result;
    int code = mh_work_start(w, MH_STATE_WRITE, app->watch ? "watching" : "moving", err);
    if (code != MH_OK)
        return mh_fail(app, err);
    if (app->watch) {
        /* Nothing but a socket to systemd; without one both do nothing. */
        (void)sd_notify(0, "READY=1\nSTATUS=watching");
        code = mh_engine_watch(&w->cfg, &result, err);
        (void)sd_notify(0, "STOPPING=1");
    } else {
        code = mh_engine_run(&w->cfg, &result, err);
    }
    app->screen->stop(app->screen);
    w->screen_is_on = false;
    int rc = exit_code(&result);
    if (app->json)
        report_run_json(app->out, &result);
    else if (!app->quiet)
        report_run_text(app->out, &result, w->state_path);
    mh_result_done(&result);
    if (code == MH_OK)
        return rc;
    char line[1024];
    (void)fprintf(stderr, "mailhaul: %s\n", mh_err_line(err, line, sizeof line));
    return mh_exit_of(err);
}

int mh_command_copy(struct mh_app *app, int argc, char **argv)
{
    bool addresses = argc == 2 && strchr(argv[0], ':') && strchr(argv[1], ':');
    if (addresses)
        return mh_with_plan(app, argc, argv, carry);
    struct mh_err err;
    (void)mh_err_set(&err, MH_EUSAGE, "usage",
                     "give a source and a target address: "
                     "mailhaul copy imaps://user@old.example/ imaps://user@new.example/");
    return mh_fail(app, &err);
}

int mh_command_run(struct mh_app *app, int argc, char **argv)
{
    struct mh_err err;
    if (app->watch && (app->dry_run || app->retry_failed)) {
        (void)mh_err_set(&err, MH_EUSAGE, "usage",
                         "--watch goes with neither --dry-run nor --retry-failed");
        return mh_fail(app, &err);
    }
    return mh_with_plan(app, argc, argv, carry);
}
