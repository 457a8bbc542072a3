/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opening the SQLite file: version, migration, integrity, the two handles. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state/schema.h"
#include "state/state_priv.h"

enum { BUSY_TIMEOUT_MS = 10 * 1000 };

int state_sql_err(struct mh_state *st, sqlite3 *db, const char *what, struct mh_err *err)
{
    int rc = sqlite3_extended_errcode(db);
    const char *hint = "";
    if ((rc & 0xff) == SQLITE_FULL)
        hint = "; free space on that disk and run the same command again";
    else if ((rc & 0xff) == SQLITE_READONLY || (rc & 0xff) == SQLITE_CANTOPEN)
        hint = "; check the rights on the file and its folder, or choose another with --state";
    else if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        hint = "; move the file away and run again: what is at the target is matched by content";
    return mh_err_set(err, MH_ERUN, "state", "state %s: %s: %s%s", st->path, what,
                      sqlite3_errmsg(db), hint);
}

static int exec(struct mh_state *st, sqlite3 *db, const char *sql, struct mh_err *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return state_sql_err(st, db, "cannot set up", err);
    return MH_OK;
}

int state_prepare(struct mh_state *st, sqlite3 *db, const char *sql, sqlite3_stmt **out,
                  struct mh_err *err)
{
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return state_sql_err(st, db, "cannot prepare", err);
    return MH_OK;
}

/* The one integer that SQL yields. */
static int query_int(struct mh_state *st, sqlite3 *db, const char *sql, int64_t *out,
                     struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return state_sql_err(st, db, "cannot read", err);
    int rc = sqlite3_step(stmt);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    int code =
        rc == SQLITE_ROW || rc == SQLITE_DONE ? MH_OK : state_sql_err(st, db, "cannot read", err);
    (void)sqlite3_finalize(stmt);
    return code;
}

static int open_handle(struct mh_state *st, int flags, sqlite3 **out, struct mh_err *err)
{
    if (sqlite3_open_v2(st->path, out, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        int code = *out ? state_sql_err(st, *out, "cannot open", err) : mh_err_nomem(err);
        (void)sqlite3_close(*out);
        *out = NULL;
        return code;
    }
    (void)sqlite3_extended_result_codes(*out, 1);
    (void)sqlite3_busy_timeout(*out, BUSY_TIMEOUT_MS);
    return MH_OK;
}

static int check_version(struct mh_state *st, sqlite3 *db, int64_t *version_out, struct mh_err *err)
{
    int64_t app = 0;
    int64_t tables = 0;
    int code = query_int(st, db, "PRAGMA user_version", version_out, err);
    if (code == MH_OK)
        code = query_int(st, db, "PRAGMA application_id", &app, err);
    if (code == MH_OK)
        code = query_int(st, db, "SELECT count(*) FROM sqlite_master", &tables, err);
    if (code != MH_OK)
        return code;
    if (tables > 0 && app != MH_STATE_APPLICATION_ID)
        return mh_err_set(err, MH_EUSAGE, "state",
                          "%s is a database of another program; choose "
                          "another file with --state",
                          st->path);
    if (*version_out > MH_STATE_SCHEMA)
        return mh_err_set(err, MH_ERUN, "state",
                          "%s was made by a newer mailhaul (schema %d, this one "
                          "knows %d); use that version",
                          st->path, (int)*version_out, MH_STATE_SCHEMA);
    return MH_OK;
}

static int migrate(struct mh_state *st, int64_t version, struct mh_err *err)
{
    for (; version < MH_STATE_SCHEMA; version++) {
        char *sql = mh_asprintf("BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA "
                                "user_version = %d; COMMIT;",
                                migrations[version], MH_STATE_APPLICATION_ID, (int)version + 1);
        int code = sql ? exec(st, st->wr, sql, err) : mh_err_nomem(err);
        mh_free(sql);
        if (code != MH_OK)
            return code;
    }
    return MH_OK;
}

/* A store that was not closed in good order is looked through before it is trusted. */
static int check_integrity(struct mh_state *st, struct mh_err *err)
{
    int64_t clean = 0;
    sqlite3_stmt *stmt = NULL;
    int code = query_int(st, st->wr, "SELECT clean FROM life", &clean, err);
    if (code != MH_OK || clean)
        return code;
    code = state_prepare(st, st->wr, "PRAGMA quick_check(1)", &stmt, err);
    if (code != MH_OK)
        return code;
    int rc = sqlite3_step(stmt);
    const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    if (!text || strcmp(text, "ok") != 0)
        code = mh_err_set(err, MH_ERUN, "state",
                          "state %s is damaged (%s); move it away and run again: what is at the "
                          "target is matched by content",
                          st->path, text ? text : "unreadable");
    (void)sqlite3_finalize(stmt);
    return code;
}

static int prepare_all(struct mh_state *st, struct mh_err *err)
{
    const struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } list[] = {
        {&st->st.begin, "BEGIN IMMEDIATE"},
        {&st->st.commit, "COMMIT"},
        {&st->st.put_item, "INSERT OR REPLACE INTO item VALUES(?,?,?,?,?,?,?,?,?,?,?)"},
        {&st->st.put_folder,
         "INSERT INTO folder VALUES(?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
         "dst_path=excluded.dst_path, dst_native=excluded.dst_native, "
         "src_uidvalidity=excluded.src_uidvalidity, dst_uidvalidity=excluded.dst_uidvalidity, "
         "src_uidnext=excluded.src_uidnext, src_messages=excluded.src_messages, "
         "src_highestmodseq=excluded.src_highestmodseq, target_uidnext=excluded.target_uidnext, "
         "complete=excluded.complete"},
        {&st->st.clear_items, "DELETE FROM item WHERE folder = ?"},
        {&st->st.put_ledger, "INSERT OR REPLACE INTO ledger VALUES(?,?,?,?,?)"},
        {&st->st.clear_ledger, "DELETE FROM ledger WHERE folder = ?"},
        {&st->st.put_run, "INSERT OR REPLACE INTO run VALUES(?,?,?,?,?,?,?,?,?,?,?,?)"},
        {&st->st.put_mailbox, "INSERT INTO mailbox VALUES(?,?,?,?)"},
        {&st->st.put_keywords, "INSERT OR IGNORE INTO keyword_set VALUES(?,?)"},
        {&st->st.set_uidnext, "UPDATE folder SET target_uidnext = ? WHERE id = ?"},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(list); i++) {
        int code = state_prepare(st, st->wr, list[i].sql, list[i].stmt, err);
        if (code != MH_OK)
            return code;
    }
    return MH_OK;
}

static int load_counters(struct mh_state *st, struct mh_err *err)
{
    int64_t folder = 0;
    int64_t mailbox = 0;
    int code = query_int(st, st->rd, "SELECT max(id) FROM folder", &folder, err);
    if (code == MH_OK)
        code = query_int(st, st->rd, "SELECT max(id) FROM mailbox", &mailbox, err);
    atomic_store(&st->next_folder, (uint32_t)folder + 1);
    atomic_store(&st->next_mailbox, (uint32_t)mailbox + 1);
    return code;
}

/* Takes up the number before ID that a broken-off run gave away and never wrote. */
static int fill_gap(struct mh_state *st, uint32_t id, struct mh_err *err)
{
    int code = MH_OK;
    while (code == MH_OK && mh_kwsets_count(st->keywords) + 1 < id) {
        char gap[32];
        uint32_t got = 0;
        int n = snprintf(gap, sizeof gap, "(unused-%u)", mh_kwsets_count(st->keywords) + 1);
        code = mh_kwsets_intern(st->keywords, gap, (size_t)n, &got, err);
    }
    return code;
}

/* Sets are numbered in the order they were first seen: loading them in order gives the same numbers. */
static int load_keywords(struct mh_state *st, struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int code =
        state_prepare(st, st->rd, "SELECT id, text FROM keyword_set ORDER BY id", &stmt, err);
    while (code == MH_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        uint32_t id = 0;
        const char *text = (const char *)sqlite3_column_text(stmt, 1);
        uint32_t want = (uint32_t)sqlite3_column_int64(stmt, 0);
        code = text ? fill_gap(st, want, err) : mh_err_nomem(err);
        if (code == MH_OK)
            code = mh_kwsets_intern(st->keywords, text, strlen(text), &id, err);
        if (code == MH_OK && id != want)
            code = mh_err_set(err, MH_ERUN, "state",
                              "state %s: keyword sets are out of order; move "
                              "it away and run again",
                              st->path);
    }
    (void)sqlite3_finalize(stmt);
    return code;
}

static int open_for_writing(struct mh_state *st, struct mh_err *err)
{
    int64_t version = 0;
    int code = open_handle(st, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &st->wr, err);
    if (code == MH_OK)
        code = check_version(st, st->wr, &version, err);
    if (code == MH_OK)
        code = exec(st, st->wr,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
                    "PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4000",
                    err);
    if (code == MH_OK)
        code = migrate(st, version, err);
    if (code == MH_OK)
        code = check_integrity(st, err);
    if (code == MH_OK)
        code = exec(st, st->wr, "UPDATE life SET clean = 0", err);
    return code == MH_OK ? prepare_all(st, err) : code;
}

int state_db_open(struct mh_state *st, struct mh_err *err)
{
    int64_t version = 0;
    int code = MH_OK;
    if (st->read_only && access(st->path, F_OK) != 0)
        return mh_err_sys(err, MH_ENOENT, "state", errno, "no state at %s", st->path);
    if (!st->read_only)
        code = open_for_writing(st, err);
    if (code == MH_OK)
        code = open_handle(st, SQLITE_OPEN_READWRITE, &st->rd, err);
    if (code == MH_OK)
        code = exec(st, st->rd, "PRAGMA query_only = ON", err);
    if (code == MH_OK && st->read_only)
        code = check_version(st, st->rd, &version, err);
    if (code == MH_OK && st->read_only && version != MH_STATE_SCHEMA)
        code = mh_err_set(err, MH_ERUN, "state",
                          "state %s has schema %d; run mailhaul once to bring "
                          "it to %d",
                          st->path, (int)version, MH_STATE_SCHEMA);
    if (code == MH_OK)
        code = load_counters(st, err);
    if (code == MH_OK)
        code = load_keywords(st, err);
    return code;
}

void state_db_close(struct mh_state *st)
{
    sqlite3_stmt **all = (sqlite3_stmt **)&st->st;
    for (size_t i = 0; i < sizeof st->st / sizeof(sqlite3_stmt *); i++)
        (void)sqlite3_finalize(all[i]);
    (void)sqlite3_close(st->rd);
    if (st->wr && atomic_load(&st->health) == MH_OK)
        (void)sqlite3_exec(st->wr, "UPDATE life SET clean = 1", NULL, NULL, NULL);
    (void)sqlite3_close(st->wr);
    st->rd = st->wr = NULL;
}
