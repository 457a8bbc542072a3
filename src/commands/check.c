/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mailhaul check [SRC DST | MAILBOX…]: everything that can go wrong on the night, before the night. */
#include "commands/report.h"
#include "commands/session.h"

static int exit_code(const struct mh_check_result *r)
{
    int rc = MH_EXIT_OK;
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        const struct mh_err *const errs[] = {&r->mailboxes[i].source.err,
                                             &r->mailboxes[i].target.err};
        for (size_t k = 0; k < MH_ARRAY_LEN(errs); k++) {
            if (errs[k]->code == MH_EAUTH)
                return MH_EXIT_AUTH;
            if (errs[k]->code != MH_OK)
                rc = mh_exit_of_mailbox(errs[k]);
        }
    }
    return rc;
}

static int look(struct mh_work *w, struct mh_err *err)
{
    struct mh_app *app = w->app;
    struct mh_check_result result;
    app->dry_run = true; /* nothing is made at the target, not even a missing archive */
    int code = mh_work_start(w, MH_STATE_NONE, "checking", err);
    if (code != MH_OK)
        return mh_fail(app, err);
    w->cfg.patience_ms = 1; /* a person waits for the answer: the first refusal is the answer */
    code = mh_engine_check(&w->cfg, &result, err);
    app->screen->stop(app->screen);
    w->screen_is_on = false;
    int rc = code == MH_OK ? exit_code(&result) : mh_exit_of(err);
    if (app->json)
        report_check_json(app->out, &result);
    else
        report_check_text(app->out, &result);
    for (size_t i = 0; !app->json && i < w->plan->notes.n; i++)
        (void)fprintf(app->out, "  ~ %s\n", w->plan->notes.v[i]);
    mh_check_result_done(&result);
    return rc;
}

int mh_command_check(struct mh_app *app, int argc, char **argv)
{
    return mh_with_plan(app, argc, argv, look);
}
