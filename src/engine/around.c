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
        const char *reason = code == MH_EITEM && err->reason ? err->reason : "refused";
        note(pass, state, reason, mh_err_line(err, line, sizeof line));
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
    /* A folder that has only the name of one that was there before is not where that one is. */
    uint32_t listed = pass->entry->source->uidvalidity; /* 0: the server did not say */
    bool is_that = pass->row_is_known && pass->row.dst_path &&
                   (listed == 0 || listed == pass->row.src_uidvalidity);
    if (!there && is_that)
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

/* --- what the source has ----------------------------------------------------------------------------- */

static int keep_metadata(void *ctx, const char *name, const char *value, size_t len)
{
    struct mh_buf *to = ctx;
    mh_buf_add(to, name, strlen(name) + 1);
    mh_buf_add(to, &len, sizeof len);
    mh_buf_add(to, value, len);
    return MH_OK; /* whether there was memory is asked at the end */
}

int around_read(struct pass *pass, struct mh_session *src, struct around *out, struct mh_err *err)
{
    const struct mh_connector *sc = pass->job->sc;
    const struct mh_folder *folder = pass->entry->source;
    int code = MH_OK;
    /* Rights and annotations are carried when the folder is, not in every pass after it. */
    if (pass->job->run->cfg->dry_run || pass->row.complete)
        return MH_OK;
    if (sc->acl_get && sc->caps(src)->acl)
        code = tolerate(pass, sc->acl_get(src, folder, &out->acl, err), "acl", err);
    if (code == MH_OK && sc->metadata_get && sc->caps(src)->metadata)
        code = tolerate(pass, sc->metadata_get(src, folder, keep_metadata, &out->metadata, err),
                        "metadata", err);
    if (code == MH_OK && (mh_buf_failed(&out->acl) || mh_buf_failed(&out->metadata)))
        code = mh_err_nomem(err);
    return code;
}

void around_done(struct around *a)
{
    mh_buf_done(&a->acl);
    mh_buf_done(&a->metadata);
}

/* --- what the target gets ----------------------------------------------------------------------------- */

int around_make(struct pass *pass, struct mh_session *dst, struct mh_err *err)
{
    struct job *job = pass->job;
    bool is_subscribed = false;
    int code = make_folder(pass, dst, &is_subscribed, err);
    if (code != MH_OK || job->run->cfg->dry_run)
        return code;
    bool is_wanted = (pass->entry->source->attrs & MH_FOLDER_SUBSCRIBED) != 0;
    if (is_wanted && !is_subscribed && job->tc->subscribe)
        code = tolerate(pass, job->tc->subscribe(dst, &pass->dst, err), "subscription", err);
    if (code != MH_OK)
        return code;
    mh_free(pass->row.dst_path);
    mh_free(pass->row.dst_native);
    pass->row.dst_path = mh_strdup(pass->dst.path);
    pass->row.dst_native = mh_strdup(pass->dst.native);
    return pass->row.dst_path && pass->row.dst_native ? MH_OK : mh_err_nomem(err);
}

/* One line of the source's rights, set at the target under the mapped identifier. */
static int apply_right(struct pass *pass, struct mh_session *dst, const char *identifier,
                       const char *rights, struct mh_err *err)
{
    struct job *job = pass->job;
    struct mh_engine_config *cfg = job->run->cfg;
    struct mh_buf who = MH_BUF_INIT;
    int code = MH_OK;
    /* The owner's own rights are a matter of course at any target. */
    if (job->mb->source->user && strcmp(identifier, job->mb->source->user) == 0)
        return MH_OK;
    if (job->tc->acl_set && job->tc->caps(dst)->acl && cfg->map_user &&
        cfg->map_user(cfg->callback_ctx, identifier, &who)) {
        code = tolerate(pass, job->tc->acl_set(dst, &pass->dst, mh_buf_str(&who), rights, err),
                        "acl", err);
    } else {
        char text[256];
        (void)snprintf(text, sizeof text, "%s has %s", identifier, rights);
        note(pass, "acl", "not-carried", text);
    }
    mh_buf_done(&who);
    return code;
}

static int apply_metadata(struct pass *pass, struct mh_session *dst, const char *name,
                          const char *value, size_t len, struct mh_err *err)
{
    const struct mh_connector *tc = pass->job->tc;
    if (!tc->metadata_set || !tc->caps(dst)->metadata) {
        note(pass, "metadata", "not-carried", name);
        return MH_OK;
    }
    return tolerate(pass, tc->metadata_set(dst, &pass->dst, name, value, len, err), "metadata",
                    err);
}

int around_apply(struct pass *pass, struct mh_session *dst, struct around *a, struct mh_err *err)
{
    int code = MH_OK;
    char *save = NULL;
    for (char *line = a->acl.len ? strtok_r(a->acl.data, "\n", &save) : NULL; line && code == MH_OK;
         line = strtok_r(NULL, "\n", &save)) {
        char *blank = strrchr(line, ' ');
        if (!blank)
            continue;
        *blank = '\0';
        code = apply_right(pass, dst, line, blank + 1, err);
    }
    const char *end = mh_buf_str(&a->metadata) + a->metadata.len;
    for (const char *p = mh_buf_str(&a->metadata); p < end && code == MH_OK;) {
        size_t len = 0;
        const char *name = p;
        p += strlen(name) + 1;
        memcpy(&len, p, sizeof len);
        p += sizeof len;
        code = apply_metadata(pass, dst, name, p, len, err);
        p += len;
    }
    return code;
}
