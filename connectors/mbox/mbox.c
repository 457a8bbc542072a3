/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "connectors/mbox/mbox.h"

#include "base/mem.h"
#include "connectors/mbox/mbox_priv.h"
#include "mail/file_append.h"
#include "mail/file_name.h"

/* What is there decides; where nothing is, a path that ends in .mbox becomes a file. */
static int open_root(void *arg, struct mh_err *err)
{
    const struct mh_file_opening *o = arg;
    struct mh_caps *caps = &o->s->store.caps;
    caps->list_status = false; /* only reading all of a file tells */
    if (!mh_file_store_names_file(o, MBOX_SUFFIX))
        return mh_file_store_open_root(o, err);
    caps->special_use = caps->create_special_use = false;
    caps->separator = '\0';
    return mh_file_store_open_single(o, err);
}

static void mbox_close(struct mh_session *s)
{
    if (!s)
        return;
    mh_file_store_done(&s->store);
    mbox_selected_done(&s->sel);
    mbox_target_done(&s->target);
    mh_free(s);
}

static int mbox_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                     struct mh_session **out, struct mh_err *err)
{
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s)
        return mh_err_nomem(err);
    mh_file_store_init(&s->store, env, "mbox files");
    s->sel = (struct mbox_selected){.dir_fd = -1, .fd = -1};
    s->target = (struct mbox_target){.dir_fd = -1, .fd = -1};
    struct mh_file_opening opening = {s, ep->path, create};
    int rc = mh_file_run(open_root, &opening, err);
    if (rc < 0)
        mbox_close(s);
    else
        *out = s;
    return rc;
}

const struct mh_connector mh_mbox = {
    .name = "mbox",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_IS_LOCAL | MH_HAS_KEYWORDS |
             MH_HAS_DATES | MH_HAS_ZONES | MH_HAS_FOLDERS,
    .open = mbox_open,
    .close = mbox_close,
    .caps = mh_file_store_caps,
    .list = mbox_list,
    .select = mbox_select,
    .create = mbox_create,
    .plan_name = mbox_plan_name,
    .subscribe = mh_file_store_subscribe,
    .scan = mbox_scan_folder,
    .fetch = mbox_fetch,
    .append_open = mbox_append_open,
    .append_begin = mh_file_append_begin,
    .append_data = mh_file_append_data,
    .append_end = mh_file_append_end,
    .append_cut = mh_file_append_cut,
    .append_flush = mh_file_append_flush,
    .store_flags = mbox_store_flags,
    .quota = mh_file_store_quota,
};
