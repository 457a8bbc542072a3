/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "connectors/eml/eml.h"

#include "base/mem.h"
#include "connectors/eml/eml_priv.h"
#include "mail/file_append.h"
#include "mail/file_name.h"

static int open_root(void *arg, struct mh_err *err)
{
    const struct mh_file_opening *o = arg;
    if (!mh_file_store_names_file(o, NULL))
        return mh_file_store_open_root(o, err);
    if (o->create)
        return mh_err_set(err, MH_EUSAGE, "eml", "%s is a file: messages go into a directory",
                          o->path);
    return mh_file_store_open_single(o, err);
}

static void eml_close(struct mh_session *s)
{
    if (!s)
        return;
    mh_file_store_done(&s->store);
    eml_selected_done(&s->sel);
    mh_file_close(&s->target_fd);
    mh_free(s);
}

static int eml_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                    struct mh_session **out, struct mh_err *err)
{
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s)
        return mh_err_nomem(err);
    mh_file_store_init(&s->store, env, "eml files");
    s->sel.dir_fd = -1;
    s->target_fd = -1;
    struct mh_file_opening opening = {s, ep->path, create};
    int rc = mh_file_run(open_root, &opening, err);
    if (rc < 0)
        eml_close(s);
    else
        *out = s;
    return rc;
}

const struct mh_connector mh_eml = {
    .name = "eml",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_IS_LOCAL | MH_HAS_KEYWORDS |
             MH_HAS_DATES | MH_HAS_ZONES | MH_HAS_FOLDERS,
    .open = eml_open,
    .close = eml_close,
    .caps = mh_file_store_caps,
    .list = eml_list,
    .select = eml_select,
    .create = eml_create,
    .plan_name = eml_plan_name,
    .subscribe = mh_file_store_subscribe,
    .scan = eml_scan,
    .fetch = eml_fetch,
    .append_open = eml_append_open,
    .append_begin = mh_file_append_begin,
    .append_data = mh_file_append_data,
    .append_end = mh_file_append_end,
    .append_cut = mh_file_append_cut,
    .append_flush = mh_file_append_flush,
    .store_flags = eml_store_flags,
    .quota = mh_file_store_quota,
};
