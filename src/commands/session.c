/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "commands/session.h"

#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "commands/prompt.h"
#include "commands/report.h"
#include "net/bucket.h"
#include "net/loop.h"
#include "net/net.h"

/* --- loops ------------------------------------------------------------------------------------------- */

struct loop_thread {
    pthread_t thread;
    struct mh_loop
        *loop; /* made in the thread, freed when it was joined: we still talk to it till then */
    struct mh_sched *sched;
    struct mh_loops *all;
    struct mh_err err;
    int code;
};

struct mh_loops {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    unsigned n, n_ready;
    struct loop_thread threads[MH_LOOPS_MAX];
    struct mh_sched *scheds[MH_LOOPS_MAX];
};

static void tell_ready(struct loop_thread *t)
{
    (void)pthread_mutex_lock(&t->all->lock);
    t->all->n_ready++;
    (void)pthread_cond_signal(&t->all->ready);
    (void)pthread_mutex_unlock(&t->all->lock);
}

static void *loop_main(void *arg)
{
    struct loop_thread *t = arg;
    t->code = mh_loop_new(&t->loop, &t->err);
    if (t->code == MH_OK) {
        t->sched = mh_loop_sched(t->loop);
        mh_sched_hold(t->sched);
    }
    tell_ready(t);
    if (t->code == MH_OK)
        mh_sched_run(t->sched);
    return NULL;
}

/* A loop may be at the end of a post to another one: all have ended before the first is freed. */
static void loops_end(struct mh_loops *l)
{
    for (unsigned i = 0; l && i < l->n; i++) {
        if (l->threads[i].code == MH_OK)
            mh_sched_release(l->threads[i].sched);
    }
    for (unsigned i = 0; l && i < l->n; i++)
        (void)pthread_join(l->threads[i].thread, NULL);
    for (unsigned i = 0; l && i < l->n; i++)
        mh_loop_free(l->threads[i].loop);
    mh_free(l);
}

static int loops_start(struct mh_loops **out, struct mh_err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned want = cores < 1 ? 1 : (unsigned)MH_MIN(cores, (long)MH_LOOPS_MAX);
    struct mh_loops *l = mh_zalloc(sizeof *l);
    if (!l)
        return mh_err_nomem(err);
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->ready, NULL);
    int code = MH_OK;
    while (l->n < want && code == MH_OK) {
        struct loop_thread *t = &l->threads[l->n];
        t->all = l;
        int rc = pthread_create(&t->thread, NULL, loop_main, t);
        if (rc != 0)
            code = mh_err_sys(err, MH_ERUN, "loop", rc, "cannot start a thread");
        else
            l->n++;
    }
    (void)pthread_mutex_lock(&l->lock);
    while (l->n_ready < l->n)
        (void)pthread_cond_wait(&l->ready, &l->lock);
    (void)pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->n; i++) {
        l->scheds[i] = l->threads[i].sched;
        if (l->threads[i].code != MH_OK && code == MH_OK) {
            *err = l->threads[i].err;
            code = err->code;
        }
    }
    if (code != MH_OK) {
        loops_end(l);
        return code;
    }
    *out = l;
    return MH_OK;
}

/* --- callbacks of the engine --------------------------------------------------------------------------- */

static const char *known_path(void *ctx, const char *source_path)
{
    const struct mh_state_folders *known = ctx;
    size_t at = mh_lower_bound(i, 0, known->n, strcmp(known->v[i].src_path, source_path) < 0);
    bool found = at < known->n && strcmp(known->v[at].src_path, source_path) == 0;
    return found ? known->v[at].dst_path : NULL;
}

static int take_entry(struct mh_engine_map *out, const struct mh_map_entry *e)
{
    struct mh_engine_map_entry *to = &out->v[out->n];
    to->source = e->source;
    to->role = e->role;
    to->why = mh_map_why_name(e->why);
    to->target_path = e->target ? mh_strdup(e->target) : NULL;
    to->note = e->note ? mh_strdup(e->note) : NULL;
    if ((e->target && !to->target_path) || (e->note && !to->note))
        return MH_ERUN;
    out->n++;
    return MH_OK;
}

static int on_map(void *ctx, const struct mh_map_question *q, struct mh_engine_map *out,
                  struct mh_err *err)
{
    const struct mh_work *w = ctx;
    const struct mh_mailbox *m = q->mailbox->user;
    struct mh_mapping mapping = MH_MAPPING_INIT;
    struct mh_map_opts opts = mh_plan_map_opts(m, q->source_separator);
    opts.known = q->known ? known_path : NULL;
    opts.known_ctx = (void *)(uintptr_t)q->known;
    int code = mh_map_apply(w->plan->map, q->source, q->target, &opts, &mapping, err);
    if (code == MH_OK) {
        out->v = mh_zalloc(mapping.n * sizeof *out->v);
        code = out->v ? MH_OK : mh_err_nomem(err);
    }
    for (size_t i = 0; code == MH_OK && i < mapping.n; i++) {
        if (mapping.v[i].why == MH_MAP_OUTSIDE)
            continue;
        if (take_entry(out, &mapping.v[i]) != MH_OK)
            code = mh_err_nomem(err);
    }
    mh_mapping_done(&mapping);
    return code;
}

static int on_keywords(void *ctx, const char *keywords, struct mh_buf *out)
{
    const struct mh_work *w = ctx;
    struct mh_buf dropped = MH_BUF_INIT;
    (void)mh_map_keywords(&w->plan->keywords, keywords, out, &dropped);
    mh_buf_done(&dropped);
    return mh_buf_failed(out) ? MH_ERUN : MH_OK;
}

static bool on_user(void *ctx, const char *identifier, struct mh_buf *out)
{
    const struct mh_work *w = ctx;
    const char *mapped = mh_plan_map_user(w->plan, identifier);
    /* RFC 4314's own identifiers mean the same everywhere. */
    if (!mapped && (strcmp(identifier, "anyone") == 0 || strcmp(identifier, "anonymous") == 0))
        mapped = identifier;
    if (mapped)
        mh_buf_adds(out, mapped);
    return mapped != NULL;
}

/* --- the plan --------------------------------------------------------------------------------------------- */

int mh_work_plan(struct mh_work *w, struct mh_app *app, int argc, char **argv, struct mh_err *err)
{
    w->app = app;
    if (argc == 0) {
        return mh_plan_load(app->project_file, &app->secrets, &w->plan, err);
    }
    if (argc != 2)
        return mh_err_set(err, MH_EUSAGE, "usage",
                          "give a source and a target address: "
                          "mailhaul copy imaps://user@old.example imaps://user@new.example");
    if (app->users_csv)
        return mh_plan_from_urls_and_users(argv[0], argv[1], app->users_csv, &app->secrets,
                                           &w->plan, err);
    return mh_plan_from_urls(argv[0], argv[1], &app->secrets, &w->plan, err);
}

static bool is_chosen(const struct mh_app *app, const struct mh_plan *plan,
                      const struct mh_mailbox *m)
{
    const struct mh_wave *wave = app->wave ? mh_plan_wave(plan, app->wave) : NULL;
    bool named = app->n_only == 0;
    for (size_t i = 0; i < app->n_only; i++)
        named |= mh_str_ieq(app->only[i], m->id);
    return named && (!wave || mh_wave_selects(wave, m));
}

static int choose(struct mh_work *w, struct mh_err *err)
{
    struct mh_app *app = w->app;
    for (size_t i = 0; i < app->n_only; i++) {
        if (!mh_plan_mailbox(w->plan, app->only[i]))
            return mh_err_set(err, MH_EUSAGE, "usage", "no mailbox '%s' in the users file",
                              app->only[i]);
    }
    if (app->wave && !mh_plan_wave(w->plan, app->wave))
        return mh_err_set(err, MH_EUSAGE, "usage", "no wave '%s' in the project file", app->wave);
    w->mailboxes = mh_zalloc(w->plan->n_mailboxes * sizeof *w->mailboxes);
    w->progress = mh_zalloc(w->plan->n_mailboxes * sizeof *w->progress);
    w->ids = mh_zalloc(w->plan->n_mailboxes * sizeof *w->ids);
    if (!w->mailboxes || !w->progress || !w->ids)
        return mh_err_nomem(err);
    for (size_t i = 0; i < w->plan->n_mailboxes; i++) {
        struct mh_mailbox *m = &w->plan->mailboxes[i];
        if (!is_chosen(app, w->plan, m) || (app->pilot && w->n >= app->pilot))
            continue;
        /* Nobody types sixty passwords: for many mailboxes the login says what is missing. */
        bool may_ask = w->plan->n_mailboxes == 1;
        int code = may_ask ? prompt_for_secret(&m->source, err) : MH_OK;
        if (code == MH_OK && may_ask)
            code = prompt_for_secret(&m->target, err);
        if (code != MH_OK)
            return code;
        if (app->per_mailbox)
            m->source.per_mailbox = m->target.per_mailbox = app->per_mailbox;
        w->mailboxes[w->n] = (struct mh_engine_mailbox){.id = m->id,
                                                        .source = &m->source,
                                                        .target = &m->target,
                                                        .progress = &w->progress[w->n],
                                                        .user = m};
        w->ids[w->n++] = m->id;
    }
    if (w->n == 0)
        return mh_err_set(err, MH_EUSAGE, "usage", "no mailbox is selected");
    return MH_OK;
}

/* --- where the state lies -------------------------------------------------------------------------------------- */

static int make_dirs(char *path, struct mh_err *err)
{
    for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        int rc = mkdir(path, 0700);
        int errnum = errno;
        *at = '/';
        if (rc != 0 && errnum != EEXIST)
            return mh_err_sys(err, MH_ERUN, "state", errnum,
                              "cannot make the folder for %s; choose a place with --state", path);
    }
    return MH_OK;
}

/* Without a project: one store for each pair of addresses, below the user's state folder (XDG base directories). */
static char *default_state_path(const struct mh_plan *plan)
{
    const struct mh_mailbox *m = &plan->mailboxes[0];
    const char *base = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    struct mh_digest digest;
    char hex[65];
    struct mh_endpoint *src = plan->n_mailboxes > 1 ? (struct mh_endpoint *)&plan->source.endpoint
                                                    : (struct mh_endpoint *)&m->source;
    struct mh_endpoint *dst = plan->n_mailboxes > 1 ? (struct mh_endpoint *)&plan->target.endpoint
                                                    : (struct mh_endpoint *)&m->target;
    char *a = mh_endpoint_format(src);
    char *b = mh_endpoint_format(dst);
    char *both = a && b ? mh_asprintf("%s\n%s", a, b) : NULL;
    char *path = NULL;
    if (both) {
        mh_digest_of(both, strlen(both), &digest);
        mh_digest_hex(&digest, hex);
        hex[16] = '\0';
        if (base && base[0] == '/')
            path = mh_asprintf("%s/mailhaul/%s.db", base, hex);
        else
            path = mh_asprintf("%s/.local/state/mailhaul/%s.db",
                               home && home[0] == '/' ? home : "/tmp", hex);
    }
    mh_free(a);
    mh_free(b);
    mh_free(both);
    return path;
}

static int find_state(struct mh_work *w, struct mh_err *err)
{
    const char *given = w->app->state_path ? w->app->state_path : w->plan->state;
    w->state_path = given ? mh_strdup(given) : default_state_path(w->plan);
    return w->state_path ? MH_OK : mh_err_nomem(err);
}

static int open_state(struct mh_work *w, enum mh_state_need need, struct mh_err *err)
{
    int code = find_state(w, err);
    if (code == MH_OK && need != MH_STATE_READ)
        code = make_dirs(w->state_path, err);
    if (code == MH_OK && need == MH_STATE_WRITE)
        code = mh_state_open(w->state_path, false, &w->cfg.state, err);
    if (code == MH_OK && need == MH_STATE_KEEP)
        code = mh_state_open_beside(w->state_path, &w->cfg.state, err);
    if (code != MH_OK && need == MH_STATE_KEEP) {
        w->state_is_read_only = true;
        need = MH_STATE_READ;
        code = MH_OK;
    }
    if (code == MH_OK && need == MH_STATE_READ)
        code = mh_state_open(w->state_path, true, &w->cfg.state, err);
    if (code == MH_ENOENT && need == MH_STATE_READ)
        code = MH_OK; /* nothing was carried yet: nothing is known */
    return code;
}

/* --- up and down -------------------------------------------------------------------------------------------------- */

static int start_limits(struct mh_work *w, struct mh_err *err)
{
    const char *own[] = {w->app->bwlimit};
    const char *const *entries = w->app->bwlimit ? own : (const char *const *)w->plan->bandwidth.v;
    size_t n = w->app->bwlimit ? 1 : w->plan->bandwidth.n;
    if (n == 0)
        return MH_OK;
    int code = mh_timetable_parse(entries, n, &w->timetable, err);
    if (code == MH_OK)
        code = mh_bucket_new(w->timetable, &w->limit_in, err);
    if (code == MH_OK)
        code = mh_bucket_new(w->timetable, &w->limit_out, err);
    return code;
}

static int start_memory(struct mh_work *w, struct mh_err *err)
{
    uint64_t bytes = w->app->memory_bytes ? w->app->memory_bytes : w->plan->memory_bytes;
    if (bytes < MH_MEMORY_MIN_BYTES)
        return mh_err_set(err, MH_EUSAGE, "usage", "--memory must be at least %llu MiB",
                          (unsigned long long)(MH_MEMORY_MIN_BYTES >> 20));
    return mh_pool_new(bytes, &w->cfg.pool, err);
}

static void fill_config(struct mh_work *w)
{
    struct mh_app *app = w->app;
    w->cfg.scheds = w->loops->scheds;
    w->cfg.n_scheds = w->loops->n;
    w->cfg.connectors = app->connectors;
    w->cfg.n_connectors = app->n_connectors;
    w->cfg.events = app->screen ? &app->screen->events : NULL;
    w->cfg.timeout_ms = app->timeout_ms;
    w->cfg.compress = app->compress;
    w->cfg.mailboxes = w->mailboxes;
    w->cfg.n_mailboxes = w->n;
    w->cfg.map = on_map;
    w->cfg.keywords = w->plan->keywords.n ? on_keywords : NULL;
    w->cfg.map_user = on_user;
    w->cfg.callback_ctx = w;
    w->cfg.connections = app->connections;
    w->cfg.dry_run = app->dry_run;
    w->cfg.retry_failed = app->retry_failed;
    w->cfg.until_wall_s = app->until_wall_s;
    w->cfg.poll_ms = app->poll_ms;
    w->cfg.quarantines = w->plan->deletions == MH_DELETIONS_QUARANTINE;
    w->cfg.stop = app->stop;
    w->cfg.oversize_dir = w->oversize_dir;
}

int mh_work_start(struct mh_work *w, enum mh_state_need need, const char *verb, struct mh_err *err)
{
    int code = choose(w, err);
    if (code == MH_OK)
        code = start_limits(w, err);
    if (code == MH_OK)
        code = start_memory(w, err);
    if (code == MH_OK && need != MH_STATE_NONE)
        code = open_state(w, need, err);
    if (code == MH_OK && w->plan->oversize == MH_OVERSIZE_EXPORT_EML && w->state_path) {
        w->oversize_dir = mh_asprintf("%s-oversize", w->state_path);
        code = w->oversize_dir ? MH_OK : mh_err_nomem(err);
    }
    if (code == MH_OK)
        code = mh_net_new(w->limit_in, w->limit_out, &w->cfg.net, err);
    if (code == MH_OK)
        code = loops_start(&w->loops, err);
    if (code != MH_OK)
        return code;
    fill_config(w);
    if (w->app->screen) {
        w->app->screen->start(w->app->screen, verb, w->ids, w->progress, w->n);
        w->screen_is_on = true;
    }
    return MH_OK;
}

int mh_work_end(struct mh_work *w, struct mh_err *err)
{
    if (w->screen_is_on)
        w->app->screen->stop(w->app->screen);
    int code = mh_state_close(w->cfg.state, err); /* its thread posts to the loops: it ends first */
    loops_end(w->loops);
    mh_net_free(w->cfg.net);
    mh_bucket_free(w->limit_in);
    mh_bucket_free(w->limit_out);
    mh_timetable_free(w->timetable);
    mh_pool_free(w->cfg.pool);
    mh_free(w->mailboxes);
    mh_free(w->progress);
    mh_free(w->ids);
    mh_free(w->state_path);
    mh_free(w->oversize_dir);
    mh_plan_free(w->plan);
    *w = (struct mh_work){0};
    return code;
}

/* Addresses have a colon; names of mailboxes may have one too, but not two of two. */
static bool are_addresses(int argc, char **argv)
{
    return argc == 2 && strchr(argv[0], ':') && strchr(argv[1], ':');
}

int mh_with_plan(struct mh_app *app, int argc, char **argv,
                 int (*do_it)(struct mh_work *w, struct mh_err *err))
{
    struct mh_work w = {0};
    struct mh_err err;
    struct mh_err end_err;
    bool urls = are_addresses(argc, argv);
    mh_err_reset(&err);
    if (!urls) {
        app->only = (const char *const *)argv;
        app->n_only = (size_t)argc;
    }
    int code = mh_work_plan(&w, app, urls ? argc : 0, argv, &err);
    int rc = code == MH_OK ? do_it(&w, &err) : mh_fail(app, &err);
    if (mh_work_end(&w, &end_err) != MH_OK && rc == MH_EXIT_OK)
        rc = mh_fail(app, &end_err);
    return rc;
}

/* --- errors ----------------------------------------------------------------------------------------------------------- */

int mh_exit_of(const struct mh_err *err)
{
    switch (err->code) {
    case MH_OK:
        return MH_EXIT_OK;
    case MH_EUSAGE:
        return MH_EXIT_USAGE;
    case MH_EAUTH:
        return MH_EXIT_AUTH;
    case MH_ELOCKED:
        return MH_EXIT_LOCKED;
    case MH_ENOENT:
        return MH_EXIT_NO_PROJECT;
    case MH_ECANCEL:
        return MH_EXIT_INTERRUPTED;
    default:
        return MH_EXIT_ERROR;
    }
}

int mh_exit_of_mailbox(const struct mh_err *err)
{
    /* "No project" is about the command as a whole; what a mailbox lacks is an error of that mailbox. */
    return err->code == MH_ENOENT ? MH_EXIT_ERROR : mh_exit_of(err);
}

int mh_fail(struct mh_app *app, const struct mh_err *err)
{
    char line[1024];
    int exit_code = mh_exit_of(err);
    (void)mh_err_line(err, line, sizeof line);
    if (app->json)
        report_error_json(app->out, line, mh_code_name(err->code), exit_code);
    (void)fprintf(stderr, "mailhaul: %s\n", line);
    return exit_code;
}
