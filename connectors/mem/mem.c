/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sessions, folders, and what is around the mail. */
#include "connectors/mem/mem.h"

#include <string.h>

#include "base/mem.h"
#include "base/task.h"
#include "connectors/mem/session.h"

int mem_lost(struct mh_session *s, struct mh_err *err)
{
    s->is_dead = true;
    return mh_err_set(err, MH_ERETRY, "mem", "the connection was lost");
}

/* --- opening ---------------------------------------------------------------------------------- */

enum {
    OPEN_ROUND_TRIPS = 4,     /* TCP, TLS, greeting, log-in */
    COMPRESS_ROUND_TRIPS = 1, /* RFC 4978 */
};

static struct mh_caps caps_of(const struct mh_mem_options *o, const struct mh_env *env)
{
    return (struct mh_caps){
        .multiappend = o->multiappend,
        .uidplus = o->uidplus,
        .keywords = o->keywords,
        .condstore = o->condstore,
        .qresync = o->condstore && o->qresync,
        .list_status = true,
        .special_use = o->special_use,
        .create_special_use = o->special_use,
        .acl = o->acl,
        .metadata = o->metadata,
        .quota = o->quota_bytes != 0,
        .move = o->move,
        .rename = o->rename,
        .watch = o->watch,
        .watch_all = o->watch && o->watch_all,
        .object_id = o->object_id,
        .append_sync_literal = o->append_sync_literal,
        .can_compress = o->can_compress,
        .compressed = o->can_compress && env->compress,
        .round_trip_ms = o->round_trip_ms,
        .append_limit = o->append_limit,
        .separator = '/',
        .server_name = "mem",
        .cert_days_left = -1,
    };
}

static void mem_close(struct mh_session *s)
{
    if (!s)
        return;
    mem_append_close(s);
    mem_lock(s);
    mem_folder_unref(s->selected);
    s->store->stats.sessions--;
    mem_unlock(s);
    mem_store_close(s->store);
    mh_free(s);
}

static int mem_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                    struct mh_session **out, struct mh_err *err)
{
    struct mem_store *store = mem_store_open(ep->path, create);
    if (!store)
        return mh_err_set(err, MH_EUSAGE, "mem", "there is no store mem:%s", ep->path);
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s) {
        mem_store_close(store);
        return mh_err_nomem(err);
    }
    s->env = env;
    s->store = store;
    mem_lock(s);
    s->caps = caps_of(&store->options, env);
    store->stats.sessions++;
    store->stats.opened++;
    store->stats.compressed += s->caps.compressed;
    mem_unlock(s);
    unsigned round_trips = OPEN_ROUND_TRIPS + (s->caps.compressed ? COMPRESS_ROUND_TRIPS : 0);
    int rc = mem_ask(s, round_trips, err);
    if (rc < 0) {
        mem_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

static const struct mh_caps *mem_caps(struct mh_session *s)
{
    return &s->caps;
}

/* --- folders ---------------------------------------------------------------------------------- */

static int list_locked(struct mh_session *s, struct mh_folders *out, struct mh_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->store->n_folders; i++) {
        const struct mem_folder *from = s->store->folders[i];
        struct mh_folder *f = NULL;
        rc = mh_folders_add(out, from->path, from->path, &f, err);
        if (rc < 0)
            break;
        bool announces = s->caps.special_use || from->role == MH_ROLE_INBOX;
        f->role = announces ? from->role : MH_ROLE_NONE;
        f->attrs = MH_FOLDER_HAS_STATUS;
        f->attrs |= f->role != MH_ROLE_NONE ? MH_FOLDER_ROLE_ANNOUNCED : 0u;
        f->attrs |= from->is_subscribed ? MH_FOLDER_SUBSCRIBED : 0u;
        f->uidvalidity = from->uidvalidity;
        f->uidnext = from->uidnext;
        f->messages = from->n;
        f->highestmodseq = s->caps.condstore ? from->highestmodseq : 0;
        f->object_id = s->caps.object_id ? from->object_id : 0;
        f->size_known = true;
        for (size_t j = 0; j < from->n; j++)
            f->size += from->v[j].len;
    }
    return rc;
}

static int mem_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                    struct mh_err *err)
{
    (void)what;
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    rc = s->store->options.refuse_list ? mh_err_set(err, MH_EMAILBOX, "mem", "the list is refused")
                                       : list_locked(s, out, err);
    mem_unlock(s);
    mh_folders_sort(out);
    return rc < 0 ? rc : mem_carry(s, MEM_DOWN, out->n * MEM_FOLDER_OCTETS, err);
}

int mem_open_folder(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                    struct mh_opened *out, struct mh_err *err)
{
    int rc = 0;
    struct mem_folder *f = mem_need_folder(s, folder, &rc, err);
    mem_folder_unref(s->selected);
    s->selected = f;
    s->may_write = for_write;
    if (!f)
        return rc;
    mem_folder_ref(f);
    s->selected_uidvalidity = f->uidvalidity;
    *out = (struct mh_opened){
        .uidvalidity = f->uidvalidity,
        .uidnext = f->uidnext,
        .messages = f->n,
        .highestmodseq = s->caps.condstore ? f->highestmodseq : 0,
        .keywords_ok = s->caps.keywords,
        .flags_ok = MH_SEEN | MH_ANSWERED | MH_FLAGGED | MH_DELETED | MH_DRAFT,
    };
    return 0;
}

int mem_check_selected(struct mh_session *s, struct mh_err *err)
{
    mh_assert(s->selected);
    bool is_other = s->selected->uidvalidity != s->selected_uidvalidity;
    if (!s->selected->is_removed && !is_other)
        return 0;
    s->is_dead = true;
    return mh_err_set(err, MH_ERETRY, "mem", "the folder was %s, the connection closed",
                      is_other ? "renumbered" : "removed");
}

static int mem_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                      struct mh_opened *out, struct mh_err *err)
{
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    rc = mem_open_folder(s, folder, for_write, out, err);
    mem_unlock(s);
    return rc;
}

int mem_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                  struct mh_err *err)
{
    if (s->is_dead)
        return mem_lost(s, err);
    if (!*path)
        return mh_err_set(err, MH_EFOLDER, "mem", "the folder's name is empty");
    *path_out = mh_strdup(path);
    *native_out = mh_strdup(path);
    if (*path_out && *native_out)
        return 0;
    mh_free(mh_take(*path_out));
    mh_free(mh_take(*native_out));
    return mh_err_nomem(err);
}

static int mem_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                      char **native_out, struct mh_err *err)
{
    int rc = mem_plan_name(s, path, path_out, native_out, err);
    if (rc < 0)
        return rc;
    rc = mem_ask(s, 1, err);
    if (rc == 0) {
        mem_lock(s);
        struct mem_folder *f = mem_folder_make_path(s->store, path);
        if (f && s->caps.create_special_use && role != MH_ROLE_NONE && f->role == MH_ROLE_NONE)
            f->role = role;
        mem_unlock(s);
        rc = f ? 0 : mh_err_nomem(err);
    }
    if (rc == 0)
        return 0;
    mh_free(mh_take(*path_out));
    mh_free(mh_take(*native_out));
    return rc;
}

struct mem_folder *mem_need_folder(struct mh_session *s, const struct mh_folder *folder,
                                   int *rc_out, struct mh_err *err)
{
    struct mem_folder *f = mem_folder_find(s->store, folder->native);
    *rc_out = f ? 0 : mh_err_set(err, MH_ENOENT, "mem", "there is no folder %s", folder->native);
    return f;
}

static int mem_subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    struct mem_folder *f = mem_need_folder(s, folder, &rc, err);
    if (f)
        f->is_subscribed = true;
    mem_unlock(s);
    return rc;
}

/* --- around the mail -------------------------------------------------------------------------- */

static int mem_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    out->known = s->store->options.quota_bytes != 0;
    out->used_bytes = s->store->used_bytes;
    out->limit_bytes = s->store->options.quota_bytes;
    mem_unlock(s);
    return 0;
}

int mem_no_such(struct mh_err *err, const char *what)
{
    return mh_err_set(err, MH_ENOSUP, "mem", "the store has no %s", what);
}

static int mem_acl_get(struct mh_session *s, const struct mh_folder *folder,
                       struct mh_buf *lines_out, struct mh_err *err)
{
    if (!s->caps.acl)
        return mem_no_such(err, "ACL");
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    const struct mem_folder *f = mem_need_folder(s, folder, &rc, err);
    for (size_t i = 0; f && i < f->acl.n; i++)
        mh_buf_addf(lines_out, "%s %s\n", f->acl.v[i].name, f->acl.v[i].value);
    mem_unlock(s);
    return rc;
}

static int set_pair(struct mh_session *s, const struct mh_folder *folder, bool is_acl,
                    const char *name, const char *value, size_t len, struct mh_err *err)
{
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    struct mem_folder *f = mem_need_folder(s, folder, &rc, err);
    if (f && !mem_pair_set(is_acl ? &f->acl : &f->metadata, name, value, len))
        rc = mh_err_nomem(err);
    mem_unlock(s);
    return rc;
}

static int mem_acl_set(struct mh_session *s, const struct mh_folder *folder, const char *identifier,
                       const char *rights, struct mh_err *err)
{
    if (!s->caps.acl)
        return mem_no_such(err, "ACL");
    return set_pair(s, folder, true, identifier, rights, strlen(rights), err);
}

static int mem_metadata_get(struct mh_session *s, const struct mh_folder *folder,
                            int (*entry)(void *ctx, const char *name, const char *value,
                                         size_t len),
                            void *ctx, struct mh_err *err)
{
    if (!s->caps.metadata)
        return mem_no_such(err, "METADATA");
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    for (size_t i = 0; rc == 0; i++) {
        /* Copied out: the callback may wait. */
        char *name = NULL;
        char *value = NULL;
        size_t len = 0;
        mem_lock(s);
        const struct mem_folder *f = mem_need_folder(s, folder, &rc, err);
        bool has = f && i < f->metadata.n;
        if (has) {
            len = f->metadata.v[i].len;
            name = mh_strdup(f->metadata.v[i].name);
            value = mh_strndup(f->metadata.v[i].value, len);
        }
        mem_unlock(s);
        if (!has)
            break;
        rc = name && value ? entry(ctx, name, value, len) : mh_err_nomem(err);
        mh_free(name);
        mh_free(value);
    }
    return rc;
}

static int mem_metadata_set(struct mh_session *s, const struct mh_folder *folder, const char *name,
                            const char *value, size_t len, struct mh_err *err)
{
    if (!s->caps.metadata)
        return mem_no_such(err, "METADATA");
    return set_pair(s, folder, false, name, value, len, err);
}

const struct mh_connector mh_mem = {
    .name = "mem",
    .flags = MH_CAN_READ | MH_CAN_WRITE | MH_CAN_FLAGS | MH_IS_LOCAL | MH_HAS_KEYWORDS |
             MH_HAS_DATES | MH_HAS_ZONES | MH_HAS_FOLDERS | MH_UIDS_ASCEND,
    .open = mem_open,
    .close = mem_close,
    .caps = mem_caps,
    .list = mem_list,
    .select = mem_select,
    .create = mem_create,
    .plan_name = mem_plan_name,
    .subscribe = mem_subscribe,
    .scan = mem_scan,
    .scan_uids = mem_scan_uids,
    .select_changes = mem_select_changes,
    .fetch = mem_fetch,
    .append_open = mem_append_open,
    .append_begin = mem_append_begin,
    .append_data = mem_append_data,
    .append_end = mem_append_end,
    .append_cut = mem_append_cut,
    .append_flush = mem_append_flush,
    .store_flags = mem_store_flags,
    .move = mem_move,
    .rename = mem_rename,
    .watch = mem_watch,
    .quota = mem_quota,
    .acl_get = mem_acl_get,
    .acl_set = mem_acl_set,
    .metadata_get = mem_metadata_get,
    .metadata_set = mem_metadata_set,
};
