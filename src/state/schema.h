/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tables of the SQLite store. user_version is the schema's number; migrations[i] brings a store
 * from version i to i + 1. WITHOUT ROWID keeps an item's row in its primary key: about 90 bytes a message.
 * Only state/sqlite.c includes this.
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
};

#endif
