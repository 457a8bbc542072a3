/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Coexistence as a service: passes over a mailbox whenever something has happened at its source.
 *
 *     pass ─▶ watch (the server tells) or sleep (it is asked) ─▶ news? ─▶ pass ─▶ …
 *
 * Where the server tells (NOTIFY, IDLE) the source's connection is kept and waits in there, as long as there are
 * connections for watching; the target's is opened for each pass. Elsewhere the folders' STATUS is asked for now and then,
 * more often where something happened lately, over connections that all mailboxes of the server share. Nothing of a pass is
 * kept in memory behind it. A mailbox that fails is tried again, later and later; the service goes on with the others.
 */
#include <string.h>

#include "engine/engine_priv.h"

enum {
    POLL_DEFAULT_MS = 60 * 1000,
    POLL_STEPS = 3,            /* an active mailbox is asked 2^3 times as often as a quiet one */
    POLL_MIN_MS = 1000,        /* … but not more often than this */
    RETRY_FIRST_MS = 5 * 1000, /* after a failed pass; doubled each time */
    RETRY_MAX_MS = 15 * 60 * 1000,
    TOLD_POLLS = 10,  /* a mailbox whose server tells is asked that much less often */
    TOGETHER_MS = 50, /* what a server tells in one go is carried in one pass */
};

struct watching {
    struct job *job;
    struct mh_session *src; /* kept between passes; NULL */
    bool has_slot;          /* counted among the run's watchers */
    bool is_armed;          /* the server tells of changes since */
    struct mh_digest print; /* of what the source's folders were when the last good pass began */
    bool is_printable;      /* every folder has what tells any change */
    unsigned quiet;         /* polls in a row without news */
    unsigned failed;        /* passes in a row */
    int64_t
        asked_ms; /* when the source was seen without news last: what has happened since may be as old */
};

/* --- what the folders are -------------------------------------------------------------------------------- */

/* One number that is another one when anything has changed; false: STATUS does not tell everything. */
static bool take_print(const struct mh_folders *l, struct mh_digest *out)
{
    bool tells_all = true;
    struct mh_buf text = MH_BUF_INIT;
    for (size_t i = 0; i < l->n; i++) {
        const struct mh_folder *f = &l->v[i];
        const uint64_t numbers[] = {f->uidvalidity, f->uidnext, f->messages, f->highestmodseq,
                                    f->attrs & MH_FOLDER_SUBSCRIBED};
        mh_buf_add(&text, f->path, strlen(f->path) + 1);
        mh_buf_add(&text, numbers, sizeof numbers);
        if (!(f->attrs & (MH_FOLDER_NOSELECT | MH_FOLDER_FOREIGN)))
            tells_all = tells_all && (f->attrs & MH_FOLDER_HAS_STATUS) && f->highestmodseq != 0;
    }
    mh_digest_of(mh_buf_str(&text), text.len, out);
    tells_all = tells_all && !mh_buf_failed(&text);
    mh_buf_done(&text);
    return tells_all;
}

/* --- connections ------------------------------------------------------------------------------------------- */

static void drop_source(struct watching *w)
{
    if (w->src)
        w->job->sc->close(mh_take(w->src));
    w->is_armed = false;
    if (w->has_slot)
        atomic_fetch_sub(&w->job->run->n_watchers, 1);
    w->has_slot = false;
}

/* A connection that is kept counts against those that may be. */
static bool may_keep(struct watching *w)
{
    struct run *run = w->job->run;
    unsigned most = run->cfg->watchers_max ? run->cfg->watchers_max : WATCHERS_DEFAULT;
    if (!w->src || !w->job->sc->watch || !w->job->sc->caps(w->src)->watch)
        return false;
    if (w->has_slot)
        return true;
    if (atomic_fetch_add(&run->n_watchers, 1) < most)
        return w->has_slot = true;
    atomic_fetch_sub(&run->n_watchers, 1);
    return false;
}

/* --- is there news? ---------------------------------------------------------------------------------------- */

static int64_t poll_ms(const struct watching *w)
{
    int64_t slowest = w->job->run->cfg->poll_ms ? w->job->run->cfg->poll_ms : POLL_DEFAULT_MS;
    unsigned steps = POLL_STEPS - MH_MIN(w->quiet, (unsigned)POLL_STEPS);
    return MH_MAX(slowest >> steps, MH_MIN(slowest, (int64_t)POLL_MIN_MS));
}

static int64_t retry_ms(const struct watching *w)
{
    int64_t ms = (int64_t)RETRY_FIRST_MS << MH_MIN(w->failed - 1, 10u);
    return MH_MIN(ms, (int64_t)RETRY_MAX_MS);
}

/* Asks the source's folders, over a connection of its own if none is kept. In doubt there is news. */
static bool ask_for_news(struct watching *w)
{
    struct job *job = w->job;
    struct mh_err err;
    struct mh_digest print;
    bool was_kept = w->src != NULL;
    bool news = true;
    if (!was_kept && budget_acquire(&job->run->budgets, job->src_server, NULL, &err) != MH_OK)
        return true;
    int code = was_kept ? MH_OK : job_open(job, true, &w->src, &err);
    mh_folders_done(&job->src_folders);
    if (code == MH_OK)
        code = job->sc->list(w->src, MH_LIST_STATUS, &job->src_folders, &err);
    if (code == MH_OK && take_print(&job->src_folders, &print))
        news = !w->is_printable || memcmp(&print, &w->print, sizeof print) != 0;
    job->told_ms =
        w->asked_ms; /* what is found by asking may have happened right behind the last look */
    w->asked_ms = mh_now_ms();
    if (code != MH_OK || !was_kept)
        drop_source(w);
    if (!was_kept)
        budget_release(&job->run->budgets, job->src_server, NULL);
    return news;
}

/* The source's own task while it waits, so that the job's can be woken by a stop. */
struct listener {
    struct job *job;
    struct mh_session *src;
    int64_t until_ms;
    bool is_done, has_changed;
    struct mh_err err;
    int code;
};

static void listen_task(void *arg)
{
    struct listener *l = arg;
    mh_err_reset(&l->err);
    l->code = l->job->sc->watch(l->src, l->until_ms, &l->has_changed, &l->err);
    l->is_done = true;
    mh_wake_all(&l->job->changed);
}

/* Has the server tell from now on; what happened before that is asked for. */
static bool arm(struct watching *w)
{
    struct mh_err err;
    bool changed = false;
    int code = w->job->sc->watch(w->src, mh_now_ms(), &changed, &err);
    if (code != MH_OK) {
        drop_source(w);
        return code != MH_ECANCEL;
    }
    w->is_armed = true;
    return changed || ask_for_news(w);
}

/* Waits until the server tells of a change or it is time to ask. */
static bool listen(struct watching *w)
{
    struct job *job = w->job;
    if (!w->is_armed && arm(w))
        return true;
    if (!w->src || !job->sc->caps(w->src)->watch)
        return false; /* it does not tell after all */
    struct listener l = {.job = job, .src = w->src, .until_ms = mh_now_ms() + poll_ms(w)};
    struct mh_task *task = NULL;
    struct mh_err err;
    if (job->sc->caps(w->src)
            ->watch_all) /* it tells of everything; asked all the same, now and then */
        l.until_ms = mh_now_ms() + TOLD_POLLS * poll_ms(w);
    if (mh_task_spawn(job->sched, "listen", listen_task, &l, &task, &err) != MH_OK)
        return ask_for_news(w);
    while (!l.is_done && !run_is_stopping(job->run)) {
        if (mh_wait(&job->changed, MH_NEVER) != MH_OK)
            break;
    }
    if (!l.is_done)
        mh_task_cancel(task);
    mh_task_join(task);
    if (l.code != MH_OK) {
        drop_source(w); /* whatever has happened meanwhile: the next pass looks */
        return l.code != MH_ECANCEL;
    }
    if (!l.has_changed)
        return ask_for_news(w);
    job->told_ms = mh_now_ms();
    return true;
}

/* Nothing but time: until UNTIL_MS or a stop. */
static void doze(struct job *job, int64_t until_ms)
{
    while (!run_is_stopping(job->run) && mh_now_ms() < until_ms) {
        if (mh_wait(&job->changed, until_ms) == MH_ECANCEL)
            return;
    }
}

static void wait_for_news(struct watching *w)
{
    struct job *job = w->job;
    if (w->failed > 0) {
        drop_source(w);
        doze(job, mh_now_ms() + retry_ms(w));
        job->told_ms = mh_now_ms();
        return;
    }
    bool news = false;
    while (!news && !run_is_stopping(job->run)) {
        if (may_keep(w)) {
            news = listen(w);
        } else {
            drop_source(w);
            doze(job, mh_now_ms() + poll_ms(w));
            news = !run_is_stopping(job->run) && ask_for_news(w);
        }
        w->quiet = news ? 0 : w->quiet + 1;
    }
    if (news && w->src)
        doze(job, mh_now_ms() + TOGETHER_MS);
}

/* --- the service ------------------------------------------------------------------------------------------- */

/* The other side is as this one was when the pass began. */
static void note_pass(struct watching *w)
{
    struct job *job = w->job;
    bool ok = job->res->err.code == MH_OK;
    for (size_t i = 0; i < job->res->n_folders; i++)
        ok = ok && job->res->folders[i].err.code == MH_OK;
    w->failed = ok ? 0 : w->failed + 1;
    w->is_printable = ok && take_print(&job->src_folders, &w->print);
}

void mailbox_watch(struct job *job)
{
    struct watching w = {.job = job};
    while (!run_is_stopping(job->run)) {
        w.asked_ms = mh_now_ms();
        mailbox_pass(job, &w.src);
        note_pass(&w);
        if (run_is_stopping(job->run))
            break;
        job_phase(job, MH_PHASE_WATCHING);
        wait_for_news(&w);
    }
    drop_source(&w);
}
