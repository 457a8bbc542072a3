/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tables of the SQLite store. user_version is the schema's number; migrations[i] brings a store
 * from version i to i + 1 in one transaction, and what is once released is never changed.
 *
 * WITHOUT ROWID keeps an item's row in its primary key, where any range of a folder's UIDs is a search: ten UIDs of
 * a folder cost 326 steps of SQLite's machine whether it has a thousand rows or a million. A message
 * takes 97 bytes in a store of 1,000,000 (measured: digest, object_id, index of dst_uid and all; 109 where both
 * sides are files and UIDs are 63 bits of a hash); a zero takes none. Reading a folder of a million takes 0.5 s,
 * its UIDs alone 0.2 s.
 *
 * Commits go to the write-ahead log and wait for no fsync (synchronous = NORMAL): losing power costs the newest
 * rows, which costs work, never mail (state.h). The disk is waited for when the log goes into the file, every
 * CHECKPOINT_PAGES: 9 fsyncs for 400 batches of 128 rows, opening and closing included.
 *
 * Only state/sqlite.c and the tests include this.
 */
#ifndef MH_STATE_SCHEMA_H
#define MH_STATE_SCHEMA_H

/* "mhst" */
#define MH_STATE_APPLICATION_ID 0x6d687374

static const char *const migrations[] = {
    "CREATE TABLE mailbox(id INTEGER PRIMARY KEY, name TEXT NOT NULL, src TEXT NOT NULL,"
    "  dst TEXT NOT NULL, UNIQUE(name, src, dst));"
    "CREATE TABLE folder(id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL REFERENCES mailbox(id),"
    "  src_path TEXT NOT NULL, dst_path TEXT NOT NULL, dst_native BLOB NOT NULL,"
    "  src_uidvalidity INTEGER, dst_uidvalidity INTEGER, src_uidnext INTEGER, src_messages INTEGER,"
    "  src_highestmodseq INTEGER, target_uidnext INTEGER, complete INTEGER,"
    "  UNIQUE(mailbox, src_path));"
    "CREATE TABLE keyword_set(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
    "CREATE TABLE item(folder INTEGER NOT NULL REFERENCES folder(id), src_uid INTEGER NOT NULL,"
    "  dst_uid INTEGER, size INTEGER, date INTEGER, zone INTEGER, kw INTEGER, flags INTEGER,"
    "  how INTEGER, gone INTEGER, digest BLOB, PRIMARY KEY(folder, src_uid)) WITHOUT ROWID;"
    "CREATE TABLE ledger(folder INTEGER NOT NULL REFERENCES folder(id), src_uid INTEGER NOT NULL,"
    "  state TEXT NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL,"
    "  PRIMARY KEY(folder, src_uid)) WITHOUT ROWID;"
    "CREATE TABLE run(mailbox INTEGER PRIMARY KEY REFERENCES mailbox(id), started INTEGER,"
    "  ended INTEGER, phase TEXT, problem TEXT, found INTEGER, copied INTEGER, adopted INTEGER,"
    "  skipped INTEGER, failed INTEGER, updated INTEGER, bytes INTEGER);"
    "CREATE TABLE life(id INTEGER PRIMARY KEY CHECK(id = 1), clean INTEGER NOT NULL);"
    "INSERT INTO life VALUES(1, 1);",

    "ALTER TABLE item ADD COLUMN object_id INTEGER;"
    "ALTER TABLE item ADD COLUMN theirs INTEGER;"
    "ALTER TABLE item ADD COLUMN theirs_kw INTEGER;"
    "CREATE INDEX item_by_dst ON item(folder, dst_uid) WHERE dst_uid > 0;"
    "ALTER TABLE folder ADD COLUMN src_object_id INTEGER;"
    "ALTER TABLE run ADD COLUMN equal_wall_s INTEGER NOT NULL DEFAULT -1;"
    "ALTER TABLE run ADD COLUMN lag_ms INTEGER NOT NULL DEFAULT -1;"
    "CREATE TABLE verify(id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL REFERENCES mailbox(id),"
    "  src_path TEXT NOT NULL, mode TEXT NOT NULL, next_uid INTEGER NOT NULL, n0 INTEGER,"
    "  n1 INTEGER, n2 INTEGER, n3 INTEGER, n4 INTEGER, n5 INTEGER, n6 INTEGER, n7 INTEGER,"
    "  UNIQUE(mailbox, src_path));"
    "CREATE TABLE verify_item(id INTEGER PRIMARY KEY,"
    "  verify INTEGER NOT NULL REFERENCES verify(id) ON DELETE CASCADE, uid INTEGER NOT NULL,"
    "  state TEXT NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL);"
    "CREATE INDEX verify_item_of ON verify_item(verify);",
};

#endif
