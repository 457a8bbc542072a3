/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mailhaul map [SRC DST | MAILBOX…]: where each folder will go, and why. */
#include <string.h>

#include "commands/report.h"
#include "commands/session.h"

static int show(struct mh_work *w, struct mh_err *err)
{
    struct mh_app *app = w->app;
    struct mh_check_result result;
    app->dry_run = true;
    int code = mh_work_start(w, MH_STATE_NONE, "mapping", err);
    if (code != MH_OK)
        return mh_fail(app, err);
    w->cfg.patience_ms = 1;
    w->cfg.names_only = true;
    code = mh_engine_check(&w->cfg, &result, err);
    app->screen->stop(app->screen);
    w->screen_is_on = false;
    int rc = code == MH_OK ? MH_EXIT_OK : mh_exit_of(err);
    for (size_t i = 0; i < result.n_mailboxes; i++) {
        const struct mh_check_side *const sides[] = {&result.mailboxes[i].source,
                                                     &result.mailboxes[i].target};
        for (size_t k = 0; k < MH_ARRAY_LEN(sides); k++)
            rc = sides[k]->err.code != MH_OK ? mh_exit_of_mailbox(&sides[k]->err) : rc;
    }
    if (app->json)
        report_check_json(app->out, &result);
    else
        report_map_text(app->out, &result);
    mh_check_result_done(&result);
    return rc;
}

int mh_command_map(struct mh_app *app, int argc, char **argv)
{
    return mh_with_plan(app, argc, argv, show);
}
