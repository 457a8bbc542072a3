/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Around the mail of a folder: the folder itself, its subscription, rights and annotations. */
#include <stdio.h>
#include <string.h>

#include "engine/engine_priv.h"

static void note(struct pass *pass, const char *state, const char *reason, const char *text)
{
    struct mh_mailbox_result *res = pass->job->res;
    result_item(&res->notes, &res->n_notes, &res->cap_notes, pass->entry->source->path, 0, state,
                reason, text);
}

/* A step whose failure is worth a line but not the folder; passing faults and stops go up. */
static int tolerate(struct pass *pass, int code, const char *state, struct mh_err *err)
{
    if (code == MH_OK || code == MH_ENOSUP)
        return MH_OK;
    if (code == MH_EITEM || code == MH_EFOLDER || code == MH_ENOENT || code == MH_EEXIST) {
        char line[512];
        note(pass, state, "refused", mh_err_line(err, line, sizeof line));
        return MH_OK;
    }
    return code;
}

static int set_dst(struct pass *pass, const char *path, const char *native, struct mh_err *err)
{
    mh_free(pass->dst.path);
    mh_free(pass->dst.native);
    pass->dst.path = mh_strdup(path);
    pass->dst.native = mh_strdup(native);
    return pass->dst.path && pass->dst.native ? MH_OK : mh_err_nomem(err);
}

/* Finds the target folder in the list or makes it. */
static int make_folder(struct pass *pass, struct mh_session *dst, bool *is_subscribed_out,
                       struct mh_err *err)
{
    struct job *job = pass->job;
    const char *want = pass->entry->target_path;
    const struct mh_folder *there = mh_folders_find(&job->dst_folders, want);
    if (!there && pass->row_is_known && pass->row.dst_path)
        there = mh_folders_find(&job->dst_folders, pass->row.dst_path);
    *is_subscribed_out = there && (there->attrs & MH_FOLDER_SUBSCRIBED);
    if (there && !(there->attrs & MH_FOLDER_NOSELECT))
        return set_dst(pass, there->path, there->native, err);
    if (job->run->cfg->dry_run)
        return MH_OK;
    char *path = NULL;
    char *native = NULL;
    int code = job->tc->create(dst, want, pass->entry->role, &path, &native, err);
    if (code == MH_OK) {
        code = set_dst(pass, path, native, err);
        pass->created = !there && !pass->row_is_known && strcmp(path, "INBOX") != 0;
        if (code == MH_OK && strcmp(path, want) != 0)
            note(pass, "folder", "renamed", path);
    } else {
        mh_err_at(err, "target, making the folder %s", want);
    }
    mh_free(path);
    mh_free(native);
    return code;
}

/* "identifier rights" lines of the source, each set at the target under the mapped identifier. */
static int carry_acl(struct pass *pass, struct mh_session *src, struct mh_session *dst,
                     struct mh_err *err)
{
    struct job *job = pass->job;
    struct mh_engine_config *cfg = job->run->cfg;
    struct mh_buf lines = MH_BUF_INIT;
    if (!job->sc->acl_get || !job->sc->caps(src)->acl)
        return MH_OK;
    int code = tolerate(pass, job->sc->acl_get(src, pass->entry->source, &lines, err), "acl", err);
    char *save = NULL;
    for (char *line = code == MH_OK && lines.len ? strtok_r(lines.data, "\n", &save) : NULL;
         line && code == MH_OK; line = strtok_r(NULL, "\n", &save)) {
        struct mh_buf who = MH_BUF_INIT;
        char *blank = strrchr(line, ' ');
        if (!blank)
            continue;
        *blank = '\0';
        /* The owner's own rights are a matter of course at any target. */
        if (job->mb->source->user && strcmp(line, job->mb->source->user) == 0) {
            mh_buf_done(&who);
            continue;
        }
        bool can = job->tc->acl_set && job->tc->caps(dst)->acl && cfg->map_user &&
                   cfg->map_user(cfg->callback_ctx, line, &who);
        if (can) {
            code =
                tolerate(pass, job->tc->acl_set(dst, &pass->dst, mh_buf_str(&who), blank + 1, err),
                         "acl", err);
        } else {
            char text[256];
            (void)snprintf(text, sizeof text, "%s has %s", line, blank + 1);
            note(pass, "acl", "not-carried", text);
        }
        mh_buf_done(&who);
    }
    mh_buf_done(&lines);
    return code;
}

struct metadata_carry {
    struct pass *pass;
    struct mh_session *dst;
    struct mh_err *err;
};

static int on_metadata(void *ctx, const char *name, const char *value, size_t len)
{
    struct metadata_carry *m = ctx;
    struct job *job = m->pass->job;
    if (!job->tc->metadata_set || !job->tc->caps(m->dst)->metadata) {
        note(m->pass, "metadata", "not-carried", name);
        return MH_OK;
    }
    return tolerate(m->pass, job->tc->metadata_set(m->dst, &m->pass->dst, name, value, len, m->err),
                    "metadata", m->err);
}

static int carry_metadata(struct pass *pass, struct mh_session *src, struct mh_session *dst,
                          struct mh_err *err)
{
    struct job *job = pass->job;
    struct metadata_carry m = {pass, dst, err};
    if (!job->sc->metadata_get || !job->sc->caps(src)->metadata)
        return MH_OK;
    return tolerate(pass, job->sc->metadata_get(src, pass->entry->source, on_metadata, &m, err),
                    "metadata", err);
}

int around_folder(struct job *job, struct pass *pass, struct mh_session *src,
                  struct mh_session *dst, struct mh_err *err)
{
    bool is_subscribed = false;
    int code = make_folder(pass, dst, &is_subscribed, err);
    if (code != MH_OK || job->run->cfg->dry_run)
        return code;
    bool is_wanted = (pass->entry->source->attrs & MH_FOLDER_SUBSCRIBED) != 0;
    if (is_wanted && !is_subscribed && job->tc->subscribe)
        code = tolerate(pass, job->tc->subscribe(dst, &pass->dst, err), "subscription", err);
    /* Rights and annotations are carried when the folder is, not in every pass after it. */
    if (code == MH_OK && !pass->row.complete)
        code = carry_acl(pass, src, dst, err);
    if (code == MH_OK && !pass->row.complete)
        code = carry_metadata(pass, src, dst, err);
    if (code != MH_OK)
        return code;
    mh_free(pass->row.dst_path);
    mh_free(pass->row.dst_native);
    pass->row.dst_path = mh_strdup(pass->dst.path);
    pass->row.dst_native = mh_strdup(pass->dst.native);
    return pass->row.dst_path && pass->row.dst_native ? MH_OK : mh_err_nomem(err);
}
