/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection that is lost at the nth call of a connector: the call is not made, or made and its
 * answer lost. What is open beside it lives on, and a new connection can be had at once. Wraps
 * far_connector of haul.h, for the sessions of mem; owns nothing. Calls come from the scheduler's
 * thread, the test's thread sets and reads between runs.
 */
#ifndef MH_TESTS_CONFORM_CUT_H
#define MH_TESTS_CONFORM_CUT_H

#include "connectors/mem/session.h"
#include "haul.h"

static struct cutter {
    uint64_t calls, at; /* at 0: never */
    bool reaches;
    bool was_hit, is_source; /* which side it was */
    const char *what;
} cutter;

/* Between runs. AT counts from here. */
static inline void cut_arm(uint64_t at, bool reaches)
{
    cutter = (struct cutter){.at = at, .reaches = reaches, .what = "nothing"};
}

static inline bool cut_is_here(const struct mh_session *s, const char *what)
{
    if (++cutter.calls != cutter.at || s->is_dead)
        return false;
    cutter.was_hit = true;
    cutter.is_source = s->env->is_source;
    cutter.what = what;
    return true;
}

/* A call on a dead session answers that it is. */
#define CUT_READ(what, call)                                                                       \
    do {                                                                                           \
        if (cut_is_here(s, what))                                                                  \
            s->is_dead = true;                                                                     \
        return (call);                                                                             \
    } while (0)

#define CUT_CHANGE(what, call)                                                                     \
    do {                                                                                           \
        if (!cut_is_here(s, what))                                                                 \
            return (call);                                                                         \
        if (cutter.reaches)                                                                        \
            (void)!(call);                                                                         \
        return mem_lost(s, err);                                                                   \
    } while (0)

static inline int cut_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                           struct mh_err *err)
{
    CUT_READ("list", far_connector.list(s, what, out, err));
}

static inline int cut_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                             struct mh_opened *out, struct mh_err *err)
{
    CUT_READ("select", far_connector.select(s, folder, for_write, out, err));
}

static inline int cut_select_changes(struct mh_session *s, const struct mh_folder *folder,
                                     const struct mh_since *since, struct mh_opened *opened_out,
                                     struct mh_changes *out, struct mh_err *err)
{
    CUT_READ("select_changes",
             far_connector.select_changes(s, folder, since, opened_out, out, err));
}

static inline int cut_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out,
                           struct mh_err *err)
{
    CUT_READ("scan", far_connector.scan(s, uid_from, out, err));
}

static inline int cut_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n,
                                struct mh_scan *out, struct mh_err *err)
{
    CUT_READ("scan_uids", far_connector.scan_uids(s, uids, n, out, err));
}

static inline int cut_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                            struct mh_sink *sink, struct mh_err *err)
{
    CUT_READ("fetch", far_connector.fetch(s, items, n, sink, err));
}

static inline int cut_append_open(struct mh_session *s, const struct mh_folder *folder,
                                  struct mh_append_sink *sink, struct mh_err *err)
{
    CUT_READ("append_open", far_connector.append_open(s, folder, sink, err));
}

static inline int cut_append_begin(struct mh_session *s, const struct mh_append *msg,
                                   struct mh_err *err)
{
    CUT_READ("append_begin", far_connector.append_begin(s, msg, err));
}

static inline int cut_append_data(struct mh_session *s, struct mh_slice slice_take,
                                  struct mh_err *err)
{
    CUT_READ("append_data", far_connector.append_data(s, slice_take, err));
}

/*
 * The batch is stored, if this is what stores it, and the answer is lost; or it is lost with the
 * connection.
 */
static inline void cut_batch(struct mh_session *s, const char *what)
{
    if (!cut_is_here(s, what))
        return;
    if (cutter.reaches && s->n_batch > 0)
        s->batch[s->n_batch - 1].loses_answer = true;
    else
        s->is_dead = true;
}

static inline int cut_append_end(struct mh_session *s, struct mh_err *err)
{
    cut_batch(s, "append_end");
    return far_connector.append_end(s, err);
}

static inline int cut_append_cut(struct mh_session *s, struct mh_err *err)
{
    cut_batch(s, "append_cut");
    return far_connector.append_cut(s, err);
}

static inline int cut_append_flush(struct mh_session *s, struct mh_err *err)
{
    cut_batch(s, "append_flush");
    return far_connector.append_flush(s, err);
}

static inline int cut_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                                  uint8_t flags, const char *keywords, struct mh_err *err)
{
    CUT_CHANGE("store_flags", far_connector.store_flags(s, uids, n, add, flags, keywords, err));
}

static inline int cut_no_moved(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    (void)ctx;
    (void)uid;
    (void)new_uid;
    (void)err;
    return 0;
}

static inline int cut_move(struct mh_session *s, const uint64_t *uids, size_t n,
                           const struct mh_folder *to, mh_moved_fn *moved, void *ctx,
                           struct mh_err *err)
{
    if (!cut_is_here(s, "move"))
        return far_connector.move(s, uids, n, to, moved, ctx, err);
    if (cutter.reaches)
        (void)!far_connector.move(s, uids, n, to, cut_no_moved, NULL, err);
    return mem_lost(s, err);
}

/* The name is for a caller that gets the answer. */
static inline int cut_named(struct mh_session *s, int rc, char **path_out, char **native_out,
                            struct mh_err *err)
{
    if (rc == 0) {
        mh_free(mh_take(*path_out));
        mh_free(mh_take(*native_out));
    }
    return mem_lost(s, err);
}

static inline int cut_create(struct mh_session *s, const char *path, enum mh_role role,
                             char **path_out, char **native_out, struct mh_err *err)
{
    if (!cut_is_here(s, "create"))
        return far_connector.create(s, path, role, path_out, native_out, err);
    int rc = cutter.reaches ? far_connector.create(s, path, role, path_out, native_out, err) : -1;
    return cut_named(s, rc, path_out, native_out, err);
}

static inline int cut_rename(struct mh_session *s, const struct mh_folder *folder, const char *path,
                             char **path_out, char **native_out, struct mh_err *err)
{
    if (!cut_is_here(s, "rename"))
        return far_connector.rename(s, folder, path, path_out, native_out, err);
    int rc = cutter.reaches ? far_connector.rename(s, folder, path, path_out, native_out, err) : -1;
    return cut_named(s, rc, path_out, native_out, err);
}

static struct mh_connector cut_connector;

/* Every haul_open() makes far_connector anew. */
static inline void cut_between(struct haul *h)
{
    cut_connector = far_connector;
    cut_connector.list = cut_list;
    cut_connector.select = cut_select;
    cut_connector.select_changes = cut_select_changes;
    cut_connector.create = cut_create;
    cut_connector.rename = cut_rename;
    cut_connector.scan = cut_scan;
    cut_connector.scan_uids = cut_scan_uids;
    cut_connector.fetch = cut_fetch;
    cut_connector.append_open = cut_append_open;
    cut_connector.append_begin = cut_append_begin;
    cut_connector.append_data = cut_append_data;
    cut_connector.append_end = cut_append_end;
    cut_connector.append_cut = cut_append_cut;
    cut_connector.append_flush = cut_append_flush;
    cut_connector.store_flags = cut_store_flags;
    cut_connector.move = cut_move;
    h->connectors[0] = &cut_connector;
}

#endif
