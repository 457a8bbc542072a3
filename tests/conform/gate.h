/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A gate that the calls of a connector pass through: before each a keeper is asked what becomes of
 * it. For tests in which a program or a connection ends at the nth call (cut.h, kill.h).
 *
 * Wraps far_connector of haul.h; owns nothing. The keeper is asked in the scheduler's thread that
 * makes the call; gate_between() is for the test's thread, between runs.
 */
#ifndef MH_TESTS_CONFORM_GATE_H
#define MH_TESTS_CONFORM_GATE_H

#include "haul.h"

enum gate_kind {
    GATE_READS,
    GATE_CHANGES, /* the store, at once */
    GATE_APPENDS, /* … or, with the batch, when it is sent */
};

enum gate_way {
    GATE_OPEN,    /* the call is made, and answered */
    GATE_ONE_WAY, /* it is made, and its answer lost */
    GATE_SHUT,    /* it is not made */
};

struct gate {
    /* WHAT: the slot's name. S NULL: open(). */
    enum gate_way (*ask)(struct mh_session *s, enum gate_kind kind, const char *what);
    /* What the caller gets in place of an answer. S may be NULL. */
    int (*lost)(struct mh_session *s, struct mh_err *err);
    /* Of what was moved before a lost answer the caller is told, as by a server that says it message by message. */
    bool tells_moves;
};

static struct gate gate;

#define GATE_PASS(kind, slot, session, ...)                                                        \
    do {                                                                                           \
        enum gate_way way_ = gate.ask(session, kind, #slot);                                       \
        if (way_ == GATE_OPEN)                                                                     \
            return far_connector.slot(__VA_ARGS__);                                                \
        if (way_ == GATE_ONE_WAY)                                                                  \
            (void)!far_connector.slot(__VA_ARGS__);                                                \
        return gate.lost(session, err);                                                            \
    } while (0)

static inline int gate_open(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                            struct mh_session **out, struct mh_err *err)
{
    if (gate.ask(NULL, GATE_READS, "open") == GATE_OPEN)
        return far_connector.open(ep, env, create, out, err);
    return gate.lost(NULL, err);
}

/* --- folders ------------------------------------------------------------------------------- */

static inline int gate_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                            struct mh_err *err)
{
    GATE_PASS(GATE_READS, list, s, s, what, out, err);
}

static inline int gate_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                              struct mh_opened *out, struct mh_err *err)
{
    GATE_PASS(GATE_READS, select, s, s, folder, for_write, out, err);
}

static inline int gate_select_changes(struct mh_session *s, const struct mh_folder *folder,
                                      const struct mh_since *since, struct mh_opened *opened_out,
                                      struct mh_changes *out, struct mh_err *err)
{
    GATE_PASS(GATE_READS, select_changes, s, s, folder, since, opened_out, out, err);
}

/* RC of a create() or rename(). The name is for a caller that gets the answer. */
static inline int gate_named(struct mh_session *s, enum gate_way way, int rc, char **path_out,
                             char **native_out, struct mh_err *err)
{
    if (way == GATE_OPEN)
        return rc;
    if (rc == 0) {
        mh_free(mh_take(*path_out));
        mh_free(mh_take(*native_out));
    }
    return gate.lost(s, err);
}

static inline int gate_create(struct mh_session *s, const char *path, enum mh_role role,
                              char **path_out, char **native_out, struct mh_err *err)
{
    enum gate_way way = gate.ask(s, GATE_CHANGES, "create");
    if (way == GATE_SHUT)
        return gate.lost(s, err);
    int rc = far_connector.create(s, path, role, path_out, native_out, err);
    return gate_named(s, way, rc, path_out, native_out, err);
}

static inline int gate_rename(struct mh_session *s, const struct mh_folder *folder,
                              const char *path, char **path_out, char **native_out,
                              struct mh_err *err)
{
    enum gate_way way = gate.ask(s, GATE_CHANGES, "rename");
    if (way == GATE_SHUT)
        return gate.lost(s, err);
    int rc = far_connector.rename(s, folder, path, path_out, native_out, err);
    return gate_named(s, way, rc, path_out, native_out, err);
}

static inline int gate_subscribe(struct mh_session *s, const struct mh_folder *folder,
                                 struct mh_err *err)
{
    GATE_PASS(GATE_CHANGES, subscribe, s, s, folder, err);
}

/* --- messages ------------------------------------------------------------------------------ */

static inline int gate_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out,
                            struct mh_err *err)
{
    GATE_PASS(GATE_READS, scan, s, s, uid_from, out, err);
}

static inline int gate_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n,
                                 struct mh_scan *out, struct mh_err *err)
{
    GATE_PASS(GATE_READS, scan_uids, s, s, uids, n, out, err);
}

static inline int gate_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
                             struct mh_sink *sink, struct mh_err *err)
{
    GATE_PASS(GATE_READS, fetch, s, s, items, n, sink, err);
}

static inline int gate_append_open(struct mh_session *s, const struct mh_folder *folder,
                                   struct mh_append_sink *sink, struct mh_err *err)
{
    GATE_PASS(GATE_APPENDS, append_open, s, s, folder, sink, err);
}

static inline int gate_append_begin(struct mh_session *s, const struct mh_append *msg,
                                    struct mh_err *err)
{
    GATE_PASS(GATE_READS, append_begin, s, s, msg, err);
}

static inline int gate_append_data(struct mh_session *s, struct mh_slice slice_take,
                                   struct mh_err *err)
{
    if (gate.ask(s, GATE_READS, "append_data") == GATE_OPEN)
        return far_connector.append_data(s, slice_take, err);
    mh_slice_drop(&slice_take);
    return gate.lost(s, err);
}

static inline int gate_append_end(struct mh_session *s, struct mh_err *err)
{
    GATE_PASS(GATE_APPENDS, append_end, s, s, err);
}

static inline int gate_append_cut(struct mh_session *s, struct mh_err *err)
{
    GATE_PASS(GATE_APPENDS, append_cut, s, s, err);
}

static inline int gate_append_flush(struct mh_session *s, struct mh_err *err)
{
    GATE_PASS(GATE_APPENDS, append_flush, s, s, err);
}

static inline int gate_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                                   uint8_t flags, const char *keywords, struct mh_err *err)
{
    GATE_PASS(GATE_CHANGES, store_flags, s, s, uids, n, add, flags, keywords, err);
}

static inline int gate_no_moved(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    (void)ctx;
    (void)uid;
    (void)new_uid;
    (void)err;
    return 0;
}

static inline int gate_move(struct mh_session *s, const uint64_t *uids, size_t n,
                            const struct mh_folder *to, mh_moved_fn *moved, void *ctx,
                            struct mh_err *err)
{
    enum gate_way way = gate.ask(s, GATE_CHANGES, "move");
    if (way == GATE_SHUT)
        return gate.lost(s, err);
    bool tells = way == GATE_OPEN || gate.tells_moves;
    int rc = far_connector.move(s, uids, n, to, tells ? moved : gate_no_moved, ctx, err);
    return way == GATE_OPEN ? rc : gate.lost(s, err);
}

/* --- around the mail ------------------------------------------------------------------------ */

static inline int gate_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    GATE_PASS(GATE_READS, quota, s, s, out, err);
}

static inline int gate_acl_get(struct mh_session *s, const struct mh_folder *folder,
                               struct mh_buf *lines_out, struct mh_err *err)
{
    GATE_PASS(GATE_READS, acl_get, s, s, folder, lines_out, err);
}

static inline int gate_acl_set(struct mh_session *s, const struct mh_folder *folder,
                               const char *identifier, const char *rights, struct mh_err *err)
{
    GATE_PASS(GATE_CHANGES, acl_set, s, s, folder, identifier, rights, err);
}

static inline int gate_metadata_get(struct mh_session *s, const struct mh_folder *folder,
                                    int (*entry)(void *ctx, const char *name, const char *value,
                                                 size_t len),
                                    void *ctx, struct mh_err *err)
{
    GATE_PASS(GATE_READS, metadata_get, s, s, folder, entry, ctx, err);
}

static inline int gate_metadata_set(struct mh_session *s, const struct mh_folder *folder,
                                    const char *name, const char *value, size_t len,
                                    struct mh_err *err)
{
    GATE_PASS(GATE_CHANGES, metadata_set, s, s, folder, name, value, len, err);
}

/* What a run calls; a test may put calls of its own in their places, and gate_…() back. */
static struct mh_connector gate_connector;

/* Every haul_open() makes far_connector anew. */
static inline void gate_between(struct haul *h, const struct gate *keeper)
{
    gate = *keeper;
    gate_connector = far_connector;
    gate_connector.open = gate_open;
    gate_connector.list = gate_list;
    gate_connector.select = gate_select;
    gate_connector.select_changes = gate_select_changes;
    gate_connector.create = gate_create;
    gate_connector.rename = gate_rename;
    gate_connector.subscribe = gate_subscribe;
    gate_connector.scan = gate_scan;
    gate_connector.scan_uids = gate_scan_uids;
    gate_connector.fetch = gate_fetch;
    gate_connector.append_open = gate_append_open;
    gate_connector.append_begin = gate_append_begin;
    gate_connector.append_data = gate_append_data;
    gate_connector.append_end = gate_append_end;
    gate_connector.append_cut = gate_append_cut;
    gate_connector.append_flush = gate_append_flush;
    gate_connector.store_flags = gate_store_flags;
    gate_connector.move = gate_move;
    gate_connector.quota = gate_quota;
    gate_connector.acl_get = gate_acl_get;
    gate_connector.acl_set = gate_acl_set;
    gate_connector.metadata_get = gate_metadata_get;
    gate_connector.metadata_set = gate_metadata_set;
    h->connectors[0] = &gate_connector;
}

#endif
