/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A program that is killed at the nth step, without a process to kill. A step is a call of a connector that reaches a
 * store, or a change of a file of the state. From the step on nothing reaches a store or the disk any more, and the stop
 * is raised; kill_heal() is the start of the next program. What the dead program still does in memory nobody sees.
 *
 * Or a connection is lost at the nth step, and at the next ones: the program lives on, and steps of the disk do not count.
 *
 * Steps come from the scheduler's thread and from the one that writes the state; the test's thread sets and reads
 * between runs. Wraps far_connector of haul.h and the disk of shim_vfs.h; owns nothing.
 */
#ifndef MH_TESTS_CONFORM_KILL_H
#define MH_TESTS_CONFORM_KILL_H

#include "../fault/shim_vfs.h"
#include "connectors/mem/session.h"
#include "haul.h"

enum kill_fate {
    KILL_LIVES,
    KILL_NOW, /* this step is the one: whether it reaches the store is killer.reaches */
    KILL_DEAD,
};

static struct killer {
    pthread_mutex_t lock;
    uint64_t steps, at; /* at 0: never */
    bool reaches, is_dead;
    uint64_t losses;  /* so many steps from AT on lose their connection; 0: AT kills */
    const char *only; /* steps of this name count; NULL: all */
    const char *what; /* the step it was; NULL: not killed yet */
    _Atomic int *stop;
} killer = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline enum kill_fate kill_step(const char *what)
{
    (void)pthread_mutex_lock(&killer.lock);
    enum kill_fate fate = killer.is_dead ? KILL_DEAD : KILL_LIVES;
    bool counts = !killer.only || strcmp(what, killer.only) == 0;
    uint64_t step = fate == KILL_LIVES && counts ? ++killer.steps : 0;
    if (killer.at && step >= killer.at && step < killer.at + MH_MAX(killer.losses, 1u)) {
        fate = KILL_NOW;
        if (!killer.what)
            killer.what = what;
        if (killer.losses == 0) {
            killer.is_dead = true;
            atomic_store(killer.stop, MH_STOP_NOW);
        }
    }
    (void)pthread_mutex_unlock(&killer.lock);
    return fate;
}

static inline enum kill_fate kill_disk_step(const char *what)
{
    return killer.losses ? KILL_LIVES : kill_step(what);
}

/* S (may be NULL) is lost when that is what the step was for. */
static inline void kill_cut(struct mh_session *s)
{
    if (s && killer.losses)
        s->is_dead = true;
}

static inline bool kill_is_dead(void)
{
    (void)pthread_mutex_lock(&killer.lock);
    bool is_dead = killer.is_dead;
    (void)pthread_mutex_unlock(&killer.lock);
    return is_dead;
}

/* Between runs: nobody takes steps. AT counts from here. */
static inline void kill_arm(uint64_t at, bool reaches, _Atomic int *stop)
{
    killer.steps = 0;
    killer.at = at;
    killer.reaches = reaches;
    killer.is_dead = false;
    killer.losses = 0;
    killer.only = NULL;
    killer.what = NULL;
    killer.stop = stop;
}

static inline const char *kill_what(void)
{
    return killer.what ? killer.what : "nothing";
}

static inline void kill_heal(void)
{
    killer.is_dead = false;
    killer.at = killer.losses = 0;
    killer.only = NULL;
    atomic_store(killer.stop, MH_STOP_NOT);
}

static inline int kill_lost(struct mh_err *err)
{
    return mh_err_set(err, MH_ERETRY, "test",
                      killer.losses ? "the connection was lost" : "the program is dead");
}

/* --- connectors --------------------------------------------------------------------------------------- */

/* A call that only reads: it is made, or not. */
#define KILL_READ(s, what, call)                                                                   \
    do {                                                                                           \
        if (kill_step(what) == KILL_LIVES)                                                         \
            return (call);                                                                         \
        kill_cut(s);                                                                               \
        return kill_lost(err);                                                                     \
    } while (0)

/* A call that changes the store: at the step itself it may be made and its answer lost. */
#define KILL_CHANGE(s, what, call)                                                                 \
    do {                                                                                           \
        enum kill_fate fate_ = kill_step(what);                                                    \
        if (fate_ == KILL_LIVES)                                                                   \
            return (call);                                                                         \
        if (fate_ == KILL_NOW && killer.reaches)                                                   \
            (void)!(call);                                                                         \
        kill_cut(s);                                                                               \
        return kill_lost(err);                                                                     \
    } while (0)

static inline int kill_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                            struct mh_session **out, struct mh_err *err)
{
    KILL_READ(NULL, "open", far_connector.open(ep, env, create, out, err));
}

static inline int kill_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                            struct mh_err *err)
{
    KILL_READ(s, "list", far_connector.list(s, what, out, err));
}

static inline int kill_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                              struct mh_opened *out, struct mh_err *err)
{
    KILL_READ(s, "select", far_connector.select(s, folder, for_write, out, err));
}

static inline int kill_select_changes(struct mh_session *s, const struct mh_folder *folder,
                                      const struct mh_since *since, struct mh_opened *opened_out,
                                      struct mh_changes *out, struct mh_err *err)
{
    KILL_READ(s, "select_changes",
              far_connector.select_changes(s, folder, since, opened_out, out, err));
}

/* The name is given to a caller that lives; a dead one must not get it. */
static inline int kill_named(struct mh_session *s, enum kill_fate fate, int rc, char **path_out,
                             char **native_out, struct mh_err *err)
{
    if (fate == KILL_LIVES)
        return rc;
    kill_cut(s);
    if (rc == 0) {
        mh_free(mh_take(*path_out));
        mh_free(mh_take(*native_out));
    }
    return kill_lost(err);
}

static inline int kill_create(struct mh_session *s, const char *path, enum mh_role role,
                              char **path_out, char **native_out, struct mh_err *err)
{
    enum kill_fate fate = kill_step("create");
    if (fate == KILL_DEAD || (fate == KILL_NOW && !killer.reaches)) {
        kill_cut(s);
        return kill_lost(err);
    }
    int rc = far_connector.create(s, path, role, path_out, native_out, err);
    return kill_named(s, fate, rc, path_out, native_out, err);
}

static inline int kill_rename(struct mh_session *s, const struct mh_folder *folder,
                              const char *path, char **path_out, char **native_out,
                              struct mh_err *err)
{
    enum kill_fate fate = kill_step("rename");
    if (fate == KILL_DEAD || (fate == KILL_NOW && !killer.reaches)) {
        kill_cut(s);
        return kill_lost(err);
    }
    int rc = far_connector.rename(s, folder, path, path_out, native_out, err);
    return kill_named(s, fate, rc, path_out, native_out, err);
}

static inline int kill_subscribe(struct mh_session *s, const struct mh_folder *folder,
                                 struct mh_err *err)
{
    KILL_CHANGE(s, "subscribe", far_connector.subscribe(s, folder, err));
}

static inline int kill_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out,
                            struct mh_err *err)
{
    KILL_READ(s, "scan", far_connector.scan(s, uid_from, out, err));
}

static inline int kill_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n,
                                 struct mh_scan *out, struct mh_err *err)
{
    KILL_READ(s, "scan_uids", far_connector.scan_uids(s, uids, n, out, err));
}

static inline int kill_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                             struct mh_sink *sink, struct mh_err *err)
{
    KILL_READ(s, "fetch", far_connector.fetch(s, items, n, sink, err));
}

static inline int kill_append_open(struct mh_session *s, const struct mh_folder *folder,
                                   struct mh_append_sink *sink, struct mh_err *err)
{
    KILL_CHANGE(s, "append_open", far_connector.append_open(s, folder, sink, err));
}

static inline int kill_append_begin(struct mh_session *s, const struct mh_append *msg,
                                    struct mh_err *err)
{
    KILL_READ(s, "append_begin", far_connector.append_begin(s, msg, err));
}

static inline int kill_append_data(struct mh_session *s, struct mh_slice slice_take,
                                   struct mh_err *err)
{
    if (kill_step("append_data") == KILL_LIVES)
        return far_connector.append_data(s, slice_take, err);
    mh_slice_drop(&slice_take);
    kill_cut(s);
    return kill_lost(err);
}

static inline int kill_append_end(struct mh_session *s, struct mh_err *err)
{
    KILL_CHANGE(s, "append_end", far_connector.append_end(s, err));
}

static inline int kill_append_cut(struct mh_session *s, struct mh_err *err)
{
    KILL_CHANGE(s, "append_cut", far_connector.append_cut(s, err));
}

static inline int kill_append_flush(struct mh_session *s, struct mh_err *err)
{
    KILL_CHANGE(s, "append_flush", far_connector.append_flush(s, err));
}

static inline int kill_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                                   uint8_t flags, const char *keywords, struct mh_err *err)
{
    KILL_CHANGE(s, "store_flags", far_connector.store_flags(s, uids, n, add, flags, keywords, err));
}

static inline int kill_move(struct mh_session *s, const uint64_t *uids, size_t n,
                            const struct mh_folder *to, mh_moved_fn *moved, void *ctx,
                            struct mh_err *err)
{
    KILL_CHANGE(s, "move", far_connector.move(s, uids, n, to, moved, ctx, err));
}

static inline int kill_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    KILL_READ(s, "quota", far_connector.quota(s, out, err));
}

static inline int kill_acl_get(struct mh_session *s, const struct mh_folder *folder,
                               struct mh_buf *lines_out, struct mh_err *err)
{
    KILL_READ(s, "acl_get", far_connector.acl_get(s, folder, lines_out, err));
}

static inline int kill_acl_set(struct mh_session *s, const struct mh_folder *folder,
                               const char *identifier, const char *rights, struct mh_err *err)
{
    KILL_CHANGE(s, "acl_set", far_connector.acl_set(s, folder, identifier, rights, err));
}

static inline int kill_metadata_get(struct mh_session *s, const struct mh_folder *folder,
                                    int (*entry)(void *ctx, const char *name, const char *value,
                                                 size_t len),
                                    void *ctx, struct mh_err *err)
{
    KILL_READ(s, "metadata_get", far_connector.metadata_get(s, folder, entry, ctx, err));
}

static inline int kill_metadata_set(struct mh_session *s, const struct mh_folder *folder,
                                    const char *name, const char *value, size_t len,
                                    struct mh_err *err)
{
    KILL_CHANGE(s, "metadata_set", far_connector.metadata_set(s, folder, name, value, len, err));
}

static struct mh_connector kill_connector;

/* --- the disk ------------------------------------------------------------------------------------------- */

/* Of the write that the program dies in a half is made. */
static inline int kill_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
    enum kill_fate fate = kill_disk_step("write");
    if (fate == KILL_LIVES)
        return shim_methods.xWrite(f, buf, n, at);
    if (fate == KILL_NOW && killer.reaches && n > 1)
        (void)shim_methods.xWrite(f, buf, n / 2, at);
    return SQLITE_IOERR_WRITE;
}

static inline int kill_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    enum kill_fate fate = kill_disk_step("truncate");
    if (fate == KILL_LIVES || (fate == KILL_NOW && killer.reaches))
        (void)!shim_methods.xTruncate(f, size);
    return fate == KILL_LIVES ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

static inline int kill_sync(sqlite3_file *f, int flags)
{
    return kill_disk_step("sync") == KILL_LIVES ? shim_methods.xSync(f, flags) : SQLITE_IOERR_FSYNC;
}

static sqlite3_io_methods kill_methods;

static inline int kill_file_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                                 int *out)
{
    int rc = shim_open(vfs, name, file, flags, out);
    if (file->pMethods)
        file->pMethods = &kill_methods;
    return rc;
}

static inline int kill_file_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    return kill_disk_step("delete") == KILL_LIVES ? shim_delete(vfs, name, sync_folder)
                                                  : SQLITE_IOERR_DELETE;
}

/* Before the first state of the process is opened; once is enough. */
static inline void kill_install(void)
{
    if (kill_methods.xWrite)
        return;
    shim_install();
    kill_methods = shim_methods;
    kill_methods.xWrite = kill_write;
    kill_methods.xTruncate = kill_truncate;
    kill_methods.xSync = kill_sync;
    shim.vfs.xOpen = kill_file_open;
    shim.vfs.xDelete = kill_file_delete;
}

/* Every haul_open() makes far_connector anew. */
static inline void kill_between(struct haul *h)
{
    kill_connector = far_connector;
    kill_connector.open = kill_open;
    kill_connector.list = kill_list;
    kill_connector.select = kill_select;
    kill_connector.select_changes = kill_select_changes;
    kill_connector.create = kill_create;
    kill_connector.rename = kill_rename;
    kill_connector.subscribe = kill_subscribe;
    kill_connector.scan = kill_scan;
    kill_connector.scan_uids = kill_scan_uids;
    kill_connector.fetch = kill_fetch;
    kill_connector.append_open = kill_append_open;
    kill_connector.append_begin = kill_append_begin;
    kill_connector.append_data = kill_append_data;
    kill_connector.append_end = kill_append_end;
    kill_connector.append_cut = kill_append_cut;
    kill_connector.append_flush = kill_append_flush;
    kill_connector.store_flags = kill_store_flags;
    kill_connector.move = kill_move;
    kill_connector.quota = kill_quota;
    kill_connector.acl_get = kill_acl_get;
    kill_connector.acl_set = kill_acl_set;
    kill_connector.metadata_get = kill_metadata_get;
    kill_connector.metadata_set = kill_metadata_set;
    h->connectors[0] = &kill_connector;
}

#endif
