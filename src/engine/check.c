/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a run would meet: logins, quotas, limits, names, before anything is touched. */
#include <string.h>

#include "engine/engine_priv.h"

static void look_at(struct job *job, struct mh_session *s, const struct mh_connector *c,
                    const struct mh_folders *folders, struct mh_check_side *out)
{
    struct mh_err err;
    out->caps = *c->caps(s);
    if (c->quota && c->quota(s, &out->quota, &err) != MH_OK)
        out->quota = (struct mh_quota){0};
    out->bytes_known = true;
    for (size_t i = 0; i < folders->n; i++) {
        const struct mh_folder *f = &folders->v[i];
        if (f->attrs & (MH_FOLDER_NOSELECT | MH_FOLDER_FOREIGN))
            continue;
        out->folders++;
        out->messages += f->messages;
        out->bytes += f->size;
        out->bytes_known &= f->size_known || f->messages == 0;
    }
    (void)job;
}

/* Sizes by listing: only where the totals or a limit cannot be judged without. */
static int measure_source(struct job *job, struct mh_session *src, struct mh_check_mailbox *out,
                          uint64_t limit, struct mh_err *err)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < job->src_folders.n; i++) {
        const struct mh_folder *f = &job->src_folders.v[i];
        struct mh_opened opened;
        struct mh_scan scan;
        if (f->attrs & (MH_FOLDER_NOSELECT | MH_FOLDER_FOREIGN) ||
            ((f->attrs & MH_FOLDER_HAS_STATUS) && f->messages == 0))
            continue;
        int code = mh_scan_init(&scan, err);
        if (code == MH_OK)
            code = job->sc->select(src, f, false, &opened, err);
        if (code == MH_OK)
            code = job->sc->scan(src, 1, &scan, err);
        for (size_t k = 0; code == MH_OK && k < scan.n; k++) {
            uint64_t size = scan.items[k].size;
            bytes += size;
            out->biggest = MH_MAX(out->biggest, size);
            out->over_limit += limit && size > limit;
        }
        mh_scan_done(&scan);
        if (code != MH_OK && code != MH_EFOLDER)
            return code;
    }
    out->source.bytes = bytes;
    out->source.bytes_known = true;
    return MH_OK;
}

/* The name that one folder will have at the target. */
static int look_at_name(struct job *job, struct mh_session *dst,
                        const struct mh_engine_map_entry *e, struct mh_check_mailbox *out,
                        struct mh_err *err)
{
    char *path = NULL;
    char *native = NULL;
    const char *source = e->source->path;
    const char *state = "skipped";
    const char *text = "";
    const char *reason = e->why;
    int code = MH_OK;
    if (e->target_path && mh_folders_find(&job->dst_folders, e->target_path)) {
        text = e->target_path;
        state = strcmp(text, source) == 0 ? "same" : "changed";
    } else if (e->target_path) {
        code = job->tc->plan_name(dst, e->target_path, &path, &native, err);
        text = code == MH_OK ? path : err->text;
        state = code != MH_OK ? "refused" : strcmp(path, source) == 0 ? "same" : "changed";
        if (code != MH_OK || strcmp(path, e->target_path) != 0)
            reason = "target-refuses-name";
    }
    if (code == MH_OK && e->note)
        result_item(&out->names, &out->n_names, &out->cap_names, source, 0, "note", reason,
                    e->note);
    if (code == MH_OK || code == MH_EFOLDER || code == MH_EITEM) {
        result_item(&out->names, &out->n_names, &out->cap_names, source, 0, state, reason, text);
        code = MH_OK;
    }
    mh_free(path);
    mh_free(native);
    return code;
}

static int look_at_names(struct job *job, struct mh_session *dst, struct mh_check_mailbox *out,
                         struct mh_err *err)
{
    int code = MH_OK;
    for (size_t i = 0; i < job->map.n && code == MH_OK; i++) {
        if (!(job->map.v[i].source->attrs & MH_FOLDER_NOSELECT))
            code = look_at_name(job, dst, &job->map.v[i], out, err);
    }
    return code;
}

struct side_open {
    struct job *job;
    struct mh_session *session;
    struct mh_check_side *out;
};

static void open_target_side(void *arg)
{
    struct side_open *o = arg;
    if (job_open(o->job, false, &o->session, &o->out->err) != MH_OK)
        o->session = NULL;
    else
        mh_err_reset(&o->out->err); /* success may leave the detail of what was got over */
}

/* Both logins are tried, so that one wrong password does not hide the other. */
static int open_sides(struct job *job, struct mh_check_mailbox *out, struct mh_session **src,
                      struct mh_session **dst)
{
    struct side_open target = {.job = job, .out = &out->target};
    struct mh_task *task = NULL;
    mh_err_reset(&out->source.err);
    int code = mh_task_spawn(job->sched, "check-target", open_target_side, &target, &task,
                             &out->source.err);
    if (code != MH_OK)
        return code;
    if (job_open(job, true, src, &out->source.err) != MH_OK)
        *src = NULL;
    else
        mh_err_reset(&out->source.err);
    mh_task_join(task);
    *dst = target.session;
    return MH_OK;
}

static void check_both(struct job *job, struct mh_check_mailbox *out, struct mh_session *src,
                       struct mh_session *dst)
{
    struct mh_err err;
    bool at_target = false;
    mh_err_reset(&err);
    int code = job_map(job, src, dst, MH_LIST_SIZES, &at_target, &err);
    if (code == MH_OK) {
        look_at(job, src, job->sc, &job->src_folders, &out->source);
        look_at(job, dst, job->tc, &job->dst_folders, &out->target);
        code = look_at_names(job, dst, out, &err);
        at_target = code != MH_OK;
    }
    uint64_t limit =
        job->mb->target->max_message ? job->mb->target->max_message : out->target.caps.append_limit;
    bool needs_sizes = !job->run->cfg->names_only &&
                       (limit > 0 || (!out->source.bytes_known && out->target.quota.known));
    if (code == MH_OK && needs_sizes)
        code = measure_source(job, src, out, limit, &err);
    if (code != MH_OK)
        *(at_target ? &out->target.err : &out->source.err) = err;
}

static void look_alone(struct job *job, struct mh_session *s, const struct mh_connector *c,
                       struct mh_check_side *side)
{
    struct mh_folders folders = MH_FOLDERS_INIT;
    if (c->list(s, MH_LIST_SIZES, &folders, &side->err) == MH_OK) {
        mh_err_reset(&side->err);
        look_at(job, s, c, &folders, side);
    }
    mh_folders_done(&folders);
}

static void check_job(struct job *job)
{
    struct mh_check_mailbox *out = job->res_other;
    struct mh_session *src = NULL;
    struct mh_session *dst = NULL;
    out->mailbox = job->mb;
    out->source.caps.cert_days_left = out->target.caps.cert_days_left = -1;
    mh_err_reset(&out->source.err);
    mh_err_reset(&out->target.err);
    job_phase(job, MH_PHASE_CONNECTING);
    if (budget_acquire(&job->run->budgets, job->src_server, job->dst_server, &out->source.err) !=
        MH_OK)
        return;
    if (open_sides(job, out, &src, &dst) == MH_OK) {
        if (src && dst)
            check_both(job, out, src, dst);
        else if (src)
            look_alone(job, src, job->sc, &out->source);
        else if (dst)
            look_alone(job, dst, job->tc, &out->target);
    }
    if (src)
        job->sc->close(src);
    if (dst)
        job->tc->close(dst);
    budget_release(&job->run->budgets, job->src_server, job->dst_server);
    bool ok = out->source.err.code == MH_OK && out->target.err.code == MH_OK;
    job_phase(job, ok ? MH_PHASE_DONE : MH_PHASE_FAILED);
}

int mh_engine_check(struct mh_engine_config *cfg, struct mh_check_result *out, struct mh_err *err)
{
    int64_t start = mh_clock_mono_ms();
    *out = (struct mh_check_result){0};
    out->mailboxes = mh_zalloc(cfg->n_mailboxes * sizeof *out->mailboxes);
    if (!out->mailboxes)
        return mh_err_nomem(err);
    out->n_mailboxes = cfg->n_mailboxes;
    int code = run_jobs(cfg, check_job, out->mailboxes, sizeof *out->mailboxes, err);
    out->elapsed_ms = mh_clock_mono_ms() - start;
    return code;
}
