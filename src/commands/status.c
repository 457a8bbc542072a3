/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mailhaul status: one line per mailbox from the state, problems first; reads while a run writes. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "commands/report.h"
#include "commands/session.h"

struct line {
    char *id, *phase, *problem; /* owned */
    struct mh_run_row row;
};

struct lines {
    struct line *v; /* owned */
    size_t n, cap;
    bool failed;
};

static int on_run(void *ctx, const char *mailbox_id, const struct mh_run_row *row)
{
    struct lines *l = ctx;
    if (!mh_grow(l->v, l->cap, l->n + 1)) {
        l->failed = true;
        return 1;
    }
    struct line *to = &l->v[l->n];
    *to =
        (struct line){mh_strdup(mailbox_id), mh_strdup(row->phase), mh_strdup(row->problem), *row};
    l->n++;
    l->failed = !to->id || !to->phase || !to->problem;
    return l->failed;
}

static int rank(const struct line *l)
{
    return strcmp(l->phase, "failed") == 0 ? 0 : strcmp(l->phase, "done") == 0 ? 2 : 1;
}

static int order_line(const void *a, const void *b)
{
    int d = rank(a) - rank(b);
    return d ? d : strcmp(((const struct line *)a)->id, ((const struct line *)b)->id);
}

static const char *when(int64_t wall_s, char *buf, size_t size)
{
    time_t t = (time_t)wall_s;
    struct tm tm;
    if (wall_s <= 0 || !localtime_r(&t, &tm) || strftime(buf, size, "%Y-%m-%d %H:%M", &tm) == 0)
        (void)snprintf(buf, size, "-");
    return buf;
}

static void print_text(FILE *out, const struct lines *l)
{
    char started[32];
    char equal[32];
    char lag[32];
    char bytes[32];
    (void)fprintf(out, "%-20s %-8s %-16s %-16s %7s %10s %10s %10s %8s %8s %10s\n", "mailbox",
                  "state", "started", "equal at", "lag", "found", "copied", "there", "skipped",
                  "failed", "bytes");
    for (size_t i = 0; i < l->n; i++) {
        const struct mh_run_row *r = &l->v[i].row;
        (void)snprintf(lag, sizeof lag, "-");
        if (r->lag_ms >= 0)
            (void)snprintf(lag, sizeof lag, "%.1f s", (double)r->lag_ms / 1000);
        (void)fprintf(out,
                      "%-20s %-8s %-16s %-16s %7s %10" PRIu64 " %10" PRIu64 " %10" PRIu64
                      " %8" PRIu64 " %8" PRIu64 " %10s\n",
                      l->v[i].id, l->v[i].phase, when(r->started_wall_s, started, sizeof started),
                      when(r->equal_wall_s, equal, sizeof equal), lag, r->found, r->copied,
                      r->adopted, r->skipped, r->failed,
                      mh_format_size(r->bytes, bytes, sizeof bytes));
        if (l->v[i].problem[0])
            (void)fprintf(out, "    %s\n", l->v[i].problem);
    }
    if (l->n == 0)
        (void)fputs("nothing was run yet\n", out);
}

static void print_json(FILE *out, const struct lines *l)
{
    json_t *root = json_pack("{s:i, s:[]}", "schema", MH_JSON_SCHEMA, "mailboxes");
    for (size_t i = 0; root && i < l->n; i++) {
        const struct mh_run_row *r = &l->v[i].row;
        (void)json_array_append_new(
            json_object_get(root, "mailboxes"),
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
                      "id", l->v[i].id, "state", l->v[i].phase, "problem", l->v[i].problem,
                      "started", (json_int_t)r->started_wall_s, "ended",
                      (json_int_t)r->ended_wall_s, "found", (json_int_t)r->found, "copied",
                      (json_int_t)r->copied, "adopted", (json_int_t)r->adopted, "skipped",
                      (json_int_t)r->skipped, "failed", (json_int_t)r->failed, "updated",
                      (json_int_t)r->updated, "bytes", (json_int_t)r->bytes, "equal",
                      (json_int_t)r->equal_wall_s, "lag_ms", (json_int_t)r->lag_ms));
    }
    report_json(out, root);
}

static void lines_done(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++) {
        mh_free(l->v[i].id);
        mh_free(l->v[i].phase);
        mh_free(l->v[i].problem);
    }
    mh_free(l->v);
}

/* --state, or the project's. */
static int state_path(struct mh_app *app, char **out, struct mh_err *err)
{
    struct mh_plan *plan = NULL;
    int code = MH_OK;
    if (!app->state_path) {
        code = mh_plan_load(app->project_file, &app->secrets, &plan, err);
        if (code != MH_OK)
            return code;
    }
    *out = mh_strdup(app->state_path ? app->state_path : plan->state);
    mh_plan_free(plan);
    return *out ? MH_OK : mh_err_nomem(err);
}

int mh_command_status(struct mh_app *app, int argc, char **argv)
{
    struct mh_state *st = NULL;
    struct lines lines = {0};
    struct mh_err err;
    char *path = NULL;
    (void)argv;
    mh_err_reset(&err);
    int code = argc == 0 ? state_path(app, &path, &err)
                         : mh_err_set(&err, MH_EUSAGE, "usage", "status takes no arguments");
    if (code == MH_OK)
        code = mh_state_open(path, true, &st, &err);
    if (code == MH_OK)
        code = mh_state_runs(st, on_run, &lines, &err);
    if (code == MH_OK && lines.failed)
        code = mh_err_nomem(&err);
    if (code == MH_OK) {
        if (lines.n)
            qsort(lines.v, lines.n, sizeof *lines.v, order_line);
        if (app->json)
            print_json(app->out, &lines);
        else
            print_text(app->out, &lines);
    }
    struct mh_err close_err;
    (void)mh_state_close(st, &close_err); /* opened for reading: nothing can be lost */
    lines_done(&lines);
    mh_free(path);
    return code == MH_OK ? MH_EXIT_OK : mh_fail(app, &err);
}
