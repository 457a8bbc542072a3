/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opening the SQLite file: version, migration, integrity, the two handles. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state/schema.h"
#include "state/state_priv.h"

enum { BUSY_TIMEOUT_MS = 10 * 1000 /* of reading: only opening and closing are in its way */ };

_Static_assert(MH_ARRAY_LEN(migrations) == MH_STATE_SCHEMA, "one migration a version");

static bool is_out_of_memory(int rc)
{
    return (rc & 0xff) == SQLITE_NOMEM || rc == SQLITE_IOERR_NOMEM;
}

/* What a person can do about it. */
static const char *hint_of(int rc, int errnum)
{
    int primary = rc & 0xff;
    if (is_out_of_memory(rc))
        return "; make memory free and run the same command again";
    if (primary == SQLITE_FULL || errnum == ENOSPC || errnum == EDQUOT)
        return "; free space on that disk and run the same command again";
    if (primary == SQLITE_READONLY || primary == SQLITE_CANTOPEN || errnum == EROFS ||
        errnum == EACCES)
        return "; check the rights on the file and its folder and that the disk can be written, or "
               "choose another with --state";
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
        return "; move the file away and run again: what is at the target is matched by content";
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED)
        return "; another program holds the file: end that and run the same command again";
    if (primary == SQLITE_IOERR)
        return "; check that disk (room, quota, rights, health), then run the same command again";
    return "";
}

int state_sql_err(struct mh_state *st, sqlite3 *db, int rc, const char *what, struct mh_err *err)
{
    int known = db ? sqlite3_extended_errcode(db) : SQLITE_OK;
    bool has_text = (known & 0xff) == (rc & 0xff);
    if (has_text)
        rc = known;
    bool has_errno = has_text && !is_out_of_memory(rc) &&
                     ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN);
    int errnum = has_errno ? sqlite3_system_errno(db) : 0;
    const char *text = has_text ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    return mh_err_set(err, MH_ERUN, "state", "state %s: %s: %s%s%s%s%s", st->path, what,
                      is_out_of_memory(rc) ? "out of memory" : text, errnum ? " (" : "",
                      errnum ? strerror(errnum) : "", errnum ? ")" : "", hint_of(rc, errnum));
}

static int exec(struct mh_state *st, sqlite3 *db, const char *what, const char *sql,
                struct mh_err *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? MH_OK : state_sql_err(st, db, rc, what, err);
}

int state_prepare(struct mh_state *st, sqlite3 *db, const char *sql, sqlite3_stmt **out,
                  struct mh_err *err)
{
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return rc == SQLITE_OK ? MH_OK : state_sql_err(st, db, rc, "cannot prepare", err);
}

/* The one integer that SQL yields. */
static int query_int(struct mh_state *st, sqlite3 *db, const char *sql, int64_t *out,
                     struct mh_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return state_sql_err(st, db, rc, "cannot read", err);
    rc = sqlite3_step(stmt);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    int code = rc == SQLITE_ROW || rc == SQLITE_DONE
                   ? MH_OK
                   : state_sql_err(st, db, rc, "cannot read", err);
    (void)sqlite3_finalize(stmt);
    return code;
}

static int open_handle(struct mh_state *st, int flags, sqlite3 **out, struct mh_err *err)
{
    int rc = sqlite3_open_v2(st->path, out, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        int code = *out ? state_sql_err(st, *out, rc, "cannot open", err) : mh_err_nomem(err);
        (void)sqlite3_close(*out);
        *out = NULL;
        return code;
    }
    (void)sqlite3_extended_result_codes(*out, 1);
    (void)sqlite3_busy_timeout(*out, BUSY_TIMEOUT_MS);
    return MH_OK;
}

/* Somebody else writes. Asked in the pauses of the writer's own handle: by who opens, later by the writer alone. */
static int on_busy(void *ctx, int n)
{
    struct mh_state *st = ctx;
    const struct timespec look = {0, BUSY_LOOK_MS * 1000000L};
    int64_t now_ms = mh_clock_mono_ms();
    if (n == 0)
        st->busy_until_ms = now_ms + BUSY_WAIT_MS;
    if (st->is_beside)
        state_want_turn(st, true);
    if (now_ms >= st->busy_until_ms)
        return 0;
    (void)nanosleep(&look, NULL);
    return 1;
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
        int code = sql ? exec(st, st->wr, "cannot set up", sql, err) : mh_err_nomem(err);
        mh_free(sql);
        if (code != MH_OK)
            return code;
    }
    return MH_OK;
}

/*
 * A store that was not closed in good order is looked through before it is trusted. Two signs tell: the
 * mark in the table, and a log beside the file (a disk that lies about what it has written may have lost the mark).
 */
static int check_integrity(struct mh_state *st, struct mh_err *err)
{
    int64_t clean = 0;
    sqlite3_stmt *stmt = NULL;
    int code = query_int(st, st->wr, "SELECT clean FROM life", &clean, err);
    if (code != MH_OK || (clean && !st->had_log))
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

/*
 * A folder takes its path from whichever row of the mailbox has it: that row is parked under its number as
 * a blob, which no path (text) equals. "" as a path parks the row itself.
 */
#define PARKED(path, id) "CASE " path " WHEN '' THEN CAST(" id " AS BLOB) ELSE " path " END"

static int prepare_all(struct mh_state *st, struct mh_err *err)
{
    const struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } list[] = {
        {&st->st.begin, "BEGIN IMMEDIATE"},
        {&st->st.commit, "COMMIT"},
        {&st->st.put_item,
         "INSERT OR REPLACE INTO item(folder, src_uid, dst_uid, size, date, zone, kw, flags, how, "
         "gone, digest, object_id, theirs, theirs_kw) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
        {&st->st.park_folder, "UPDATE folder SET src_path = CAST(id AS BLOB) "
                              "WHERE mailbox = ? AND src_path = ? AND id <> ?"},
        {&st->st.put_folder,
         "INSERT INTO folder(id, mailbox, src_path, dst_path, dst_native, src_uidvalidity, "
         "dst_uidvalidity, src_uidnext, src_messages, src_highestmodseq, target_uidnext, complete, "
         "src_object_id) VALUES(?1,?2," PARKED(
             "?3", "?1") ",?4,?5,?6,?7,?8,?9,?10,?11,?12,?13) "
                         "ON CONFLICT(id) DO UPDATE SET src_path=excluded.src_path, "
                         "dst_path=excluded.dst_path, dst_native=excluded.dst_native, "
                         "src_uidvalidity=excluded.src_uidvalidity, "
                         "dst_uidvalidity=excluded.dst_uidvalidity, "
                         "src_uidnext=excluded.src_uidnext, src_messages=excluded.src_messages, "
                         "src_highestmodseq=excluded.src_highestmodseq, "
                         "target_uidnext=excluded.target_uidnext, "
                         "complete=excluded.complete, src_object_id=excluded.src_object_id"},
        {&st->st.clear_items, "DELETE FROM item WHERE folder = ?"},
        {&st->st.put_ledger, "INSERT OR REPLACE INTO ledger VALUES(?,?,?,?,?)"},
        {&st->st.clear_ledger, "DELETE FROM ledger WHERE folder = ?"},
        {&st->st.clear_ledger_item, "DELETE FROM ledger WHERE folder = ? AND src_uid = ?"},
        {&st->st.put_run,
         "INSERT OR REPLACE INTO run(mailbox, started, ended, phase, problem, found, copied, "
         "adopted, skipped, failed, updated, bytes, equal_wall_s, lag_ms) "
         "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
        {&st->st.put_mailbox, "INSERT INTO mailbox(name, src, dst) VALUES(?,?,?) ON CONFLICT(name, "
                              "src, dst) DO NOTHING"},
        {&st->st.put_keywords, "INSERT OR IGNORE INTO keyword_set VALUES(?,?)"},
        {&st->st.set_uidnext, "UPDATE folder SET target_uidnext = ? WHERE id = ?"},
        {&st->st.forget_verify, "DELETE FROM verify WHERE mailbox = ?1 AND src_path = ?2 AND "
                                "(mode <> ?3 OR next_uid > ?4)"},
        {&st->st.put_verify,
         "INSERT INTO verify(mailbox, src_path, mode, next_uid, n0, n1, n2, n3, n4, n5, n6, n7) "
         "VALUES(?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(mailbox, src_path) DO UPDATE SET "
         "next_uid=excluded.next_uid, n0=excluded.n0, n1=excluded.n1, n2=excluded.n2, "
         "n3=excluded.n3, n4=excluded.n4, n5=excluded.n5, n6=excluded.n6, n7=excluded.n7"},
        {&st->st.put_verify_item,
         "INSERT INTO verify_item(verify, uid, state, reason, text) "
         "SELECT id, ?3, ?4, ?5, ?6 FROM verify WHERE mailbox = ?1 AND src_path = ?2"},
        {&st->st.clear_verify, "DELETE FROM verify WHERE mailbox = ?"},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(list); i++) {
        int code = state_prepare(st, st->wr, list[i].sql, list[i].stmt, err);
        if (code != MH_OK)
            return code;
    }
    return MH_OK;
}

static int load_counter(struct mh_state *st, struct mh_err *err)
{
    int64_t folder = 0;
    int code = query_int(st, st->rd, "SELECT max(id) FROM folder", &folder, err);
    atomic_store(&st->next_folder, (uint32_t)folder + 1);
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
    int rc = SQLITE_DONE;
    while (code == MH_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
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
    /* Half of them would be worse than none: the next new set would get the number of a lost one. */
    if (code == MH_OK && rc != SQLITE_DONE)
        code = state_sql_err(st, st->rd, rc, "cannot read", err);
    (void)sqlite3_finalize(stmt);
    st->keywords_written = mh_kwsets_count(st->keywords);
    return code;
}

static int on_commit(void *ctx, sqlite3 *db, const char *name, int pages)
{
    struct mh_state *st = ctx;
    (void)db;
    (void)name;
    st->log_pages = pages;
    return SQLITE_OK;
}

/* A run of an older version has the store open: its tables are not changed under it. */
static int leave_old_alone(struct mh_state *st, int64_t version, struct mh_err *err)
{
    if (!st->is_beside || version == 0 || version == MH_STATE_SCHEMA || !mh_state_run_is_on(st))
        return MH_OK;
    return mh_err_set(err, MH_ERUN, "state",
                      "a run of an older mailhaul has %s (schema %d, this one's is %d); start that "
                      "run again with this version",
                      st->path, (int)version, MH_STATE_SCHEMA);
}

/* A verify leaves the mark of good order alone: it is the runs', and the log tells of a verify. */
static int take_over(struct mh_state *st, struct mh_err *err)
{
    int code = MH_OK;
    if (!st->is_beside || !mh_state_run_is_on(st))
        code = check_integrity(st, err);
    if (code == MH_OK && !st->is_beside)
        code = exec(st, st->wr, "cannot write", "UPDATE life SET clean = 0", err);
    return code;
}

static int open_for_writing(struct mh_state *st, struct mh_err *err)
{
    int64_t version = 0;
    int code = open_handle(st, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &st->wr, err);
    if (code == MH_OK) {
        (void)sqlite3_busy_handler(st->wr, on_busy, st);
        code = check_version(st, st->wr, &version, err);
    }
    if (code == MH_OK)
        code = leave_old_alone(st, version, err);
    /* EXTRA for the one commit outside the log that a new file needs: its journal, were it there again after a
     * loss of power, would take back all that came later. */
    if (code == MH_OK)
        code = exec(st, st->wr, "cannot set up",
                    "PRAGMA synchronous = EXTRA; PRAGMA journal_mode = WAL; "
                    "PRAGMA synchronous = NORMAL; "
                    "PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864",
                    err);
    if (code == MH_OK) {
        /* SQLite's own hook would put the log into the file as well, but keep an error of that to itself. */
        (void)sqlite3_wal_hook(st->wr, on_commit, st);
        st->checkpoint_at = CHECKPOINT_PAGES;
        code = migrate(st, version, err);
    }
    if (code == MH_OK)
        code = take_over(st, err);
    if (st->is_beside)
        state_want_turn(st, false);
    return code == MH_OK ? prepare_all(st, err) : code;
}

int state_db_checkpoint(struct mh_state *st, struct mh_err *err)
{
    int rc = sqlite3_wal_checkpoint_v2(st->wr, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED)
        return state_sql_err(st, st->wr, rc, "cannot write", err);
    return MH_OK;
}

int state_db_finish(struct mh_state *st, struct mh_err *err)
{
    int code = MH_OK;
    if (!st->is_beside)
        code = exec(st, st->wr, "cannot write", "UPDATE life SET clean = 1", err);
    return code == MH_OK ? state_db_checkpoint(st, err) : code;
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
        code = exec(st, st->rd, "cannot set up", "PRAGMA query_only = ON", err);
    if (code == MH_OK && st->read_only)
        code = check_version(st, st->rd, &version, err);
    if (code == MH_OK && st->read_only && version != MH_STATE_SCHEMA)
        code = mh_err_set(err, MH_ERUN, "state",
                          "state %s has schema %d; run mailhaul once to bring "
                          "it to %d",
                          st->path, (int)version, MH_STATE_SCHEMA);
    if (code == MH_OK)
        code = load_counter(st, err);
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
    (void)sqlite3_close(st->wr);
    st->rd = st->wr = NULL;
}
