/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * mailhaul verify [SRC DST | MAILBOX…]: what is at the target, compared by content. It keeps in the state how far it is, also
 * beside a run; one verify of a mailbox at a time.
 */
#include "commands/report.h"
#include "commands/session.h"

static int exit_code(const struct mh_verify_result *r)
{
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        if (r->mailboxes[i].err.code != MH_OK)
            return mh_exit_of_mailbox(&r->mailboxes[i].err);
    }
    const struct mh_verify_counts *c = &r->counts;
    bool met = c->differs + c->missing + c->pending + c->extra + c->flags + c->dates == 0;
    return met ? MH_EXIT_OK : MH_EXIT_CRITERIA;
}

static int compare(struct mh_work *w, struct mh_err *err)
{
    struct mh_app *app = w->app;
    struct mh_verify_result result;
    int code = mh_work_start(w, MH_STATE_KEEP, "verifying", err);
    if (code != MH_OK)
        return mh_fail(app, err);
    w->cfg.verify = app->verify;
    w->cfg.verify.state_is_read_only = w->state_is_read_only;
    if (w->state_is_read_only && !app->quiet)
        (void)fputs(
            "mailhaul: the state cannot be written: this verify cannot be gone on with when "
            "it is broken off\n",
            stderr);
    code = mh_engine_verify(&w->cfg, &result, err);
    app->screen->stop(app->screen);
    w->screen_is_on = false;
    int rc = code == MH_OK ? exit_code(&result) : mh_exit_of(err);
    if (app->json)
        report_verify_json(app->out, &result);
    else
        report_verify_text(app->out, &result);
    mh_verify_result_done(&result);
    return rc;
}

int mh_command_verify(struct mh_app *app, int argc, char **argv)
{
    return mh_with_plan(app, argc, argv, compare);
}
