/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "connectors/imap/imap.h"

#include "connectors/imap/imap_priv.h"

struct secret_job {
    const struct mh_secret_source *source;
    struct mh_buf *out;
    struct mh_err err;
    int rc;
};

/* thread: worker */
static void get_secret(void *arg)
{
    struct secret_job *job = arg;
    job->rc = mh_secret_get(job->source, job->out, &job->err);
}

/* The secret first: its command may ask a person, and no server waits for that. */
static int imap_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                     struct mh_session **out, struct mh_err *err)
{
    (void)create; /* the account is there or it is not */
    struct mh_buf secret = MH_BUF_INIT;
    struct secret_job job = {.source = &ep->secret, .out = &secret};
    mh_err_reset(&job.err);
    mh_offload(get_secret, &job);
    struct mh_session *s = NULL;
    int rc = job.rc;
    if (rc == MH_OK)
        rc = imap_session_open(ep, env, &s, err);
    else if (err)
        *err = job.err;
    if (rc == MH_OK)
        rc = imap_login(s, ep, &secret, err);
    mh_secret_wipe(&secret);
    if (rc) {
        imap_session_close(s);
        return rc;
    }
    *out = s;
    return MH_OK;
}

static const struct mh_caps *imap_caps(struct mh_session *s)
{
    return &s->caps;
}

const struct mh_connector mh_imap = {
    .name = "imap",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_HAS_KEYWORDS | MH_HAS_DATES |
             MH_HAS_ZONES | MH_HAS_FOLDERS | MH_UIDS_ASCEND,
    .open = imap_open,
    .close = imap_session_close,
    .caps = imap_caps,
    .list = imap_list,
    .select = imap_select,
    .create = imap_create,
    .plan_name = imap_plan_name,
    .subscribe = imap_subscribe,
    .scan = imap_scan,
    .scan_uids = imap_scan_uids,
    .select_changes = imap_select_changes,
    .fetch = imap_fetch,
    .append_open = imap_append_open,
    .append_begin = imap_append_begin,
    .append_data = imap_append_data,
    .append_end = imap_append_end,
    .append_cut = imap_append_cut,
    .append_flush = imap_append_flush,
    .store_flags = imap_store_flags,
    .move = imap_move,
    .rename = imap_rename,
    .finish_rename = imap_finish_rename,
    .watch = imap_watch,
    .quota = imap_quota,
    .acl_get = imap_acl_get,
    .acl_set = imap_acl_set,
    .metadata_get = imap_metadata_get,
    .metadata_set = imap_metadata_set,
};
