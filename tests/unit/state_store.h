/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A store of the test's own, for the tests of src/state: where its file is, opening and closing it where that must
 * go well, and a look at the file past the store. As a suite's fixture: .init = store_make, .fini = scratch_drop.
 */
#ifndef MH_TESTS_STATE_STORE_H
#define MH_TESTS_STATE_STORE_H

#include <sqlite3.h>

#include "scratch.h"
#include "state/state.h"

static char store_path[64];

static inline void store_make(void)
{
    scratch_make();
    (void)snprintf(store_path, sizeof store_path, "%s/state.db", scratch_dir);
}

static inline struct mh_state *open_store(bool read_only)
{
    struct mh_state *st = NULL;
    struct mh_err err;
    mh_err_reset(&err);
    cr_assert_eq(mh_state_open(store_path, read_only, &st, &err), MH_OK, "%s", err.text);
    return st;
}

static inline void close_store(struct mh_state *st)
{
    struct mh_err err;
    mh_err_reset(&err);
    cr_assert_eq(mh_state_close(st, &err), MH_OK, "%s", err.text);
}

static inline void sync_store(struct mh_state *st)
{
    struct mh_err err;
    mh_err_reset(&err);
    cr_assert_eq(mh_state_sync(st, &err), MH_OK, "%s", err.text);
}

/* The number of the mailbox NAME, given to it when it has none yet. */
static inline uint32_t mailbox_of(struct mh_state *st, const char *name)
{
    uint32_t id = 0;
    struct mh_err err;
    mh_err_reset(&err);
    cr_assert_eq(mh_state_mailbox(st, name, "a", "b", &id, &err), MH_OK, "%s", err.text);
    return id;
}

/* The file itself, for SQL that the store does not speak; the caller closes it. */
static inline sqlite3 *open_file(void)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(store_path, &db), SQLITE_OK);
    return db;
}

static inline void tell_file(const char *sql)
{
    char *message = NULL;
    sqlite3 *db = open_file();
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &message), SQLITE_OK, "%s", message);
    (void)sqlite3_close(db);
}

#endif
