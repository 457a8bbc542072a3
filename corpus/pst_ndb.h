/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_ndb.h: writes the node database of an Outlook archive ([MS-PST] 2.2): blocks, data trees,
 * subnodes, the two trees over them, the allocation maps and the header.
 *
 * An archive is written from front to back: blocks as they come, everything that knows where they
 * are at the end, by mhc_ndb_close(). Memory holds the index entries alone.
 *
 * Memory: the caller frees what it got by mhc_ndb_close(). Threads: one.
 * An error of the file is kept and returned by mhc_ndb_close(): nothing before has to look.
 * Never: uses anything of the reader but the numbers, sums and encodings of pst/code.h, since each
 * of the two proves the other.
 */
#ifndef MHC_PST_NDB_H
#define MHC_PST_NDB_H

#include "base.h"

#include "pst/code.h"

enum mhc_pst_format {
    MHC_PST_ANSI,    /* wVer 14 */
    MHC_PST_UNICODE, /* wVer 23 */
    MHC_PST_OST4K,   /* wVer 36: pages of 4 KiB, blocks to 64 KiB, deflated where that helps */
};

/* The low five bits of a NID ([MS-PST] 2.2.2.1). */
enum {
    MHC_NID_INTERNAL = 0x01,
    MHC_NID_FOLDER = 0x02,
    MHC_NID_SEARCH_FOLDER = 0x03,
    MHC_NID_MESSAGE = 0x04,
    MHC_NID_ATTACHMENT = 0x05,
    MHC_NID_ASSOCIATED = 0x08,
    MHC_NID_HIERARCHY_TABLE = 0x0d,
    MHC_NID_CONTENTS_TABLE = 0x0e,
    MHC_NID_ASSOCIATED_TABLE = 0x0f,
    MHC_NID_SEARCH_TABLE = 0x10,
    MHC_NID_LTP = 0x1f,
    MHC_NID_TYPES = 32,
};

struct mhc_ndb;

/* A node's two block ids; 0: none. */
struct mhc_ndb_body {
    uint64_t data;
    uint64_t sub;
};

/* Makes the file at `path` anew. */
int mhc_ndb_open(struct mhc_ndb **ndb_out, const char *path, enum mhc_pst_format format,
                 enum pst_encoding encoding, struct mhc_err *err) MHC_MUST_CHECK;
/* Writes the trees, maps and header, and gives everything back. `*size_out`: the file's. */
int mhc_ndb_close(struct mhc_ndb *ndb, uint64_t *size_out, struct mhc_err *err) MHC_MUST_CHECK;

enum mhc_pst_format mhc_ndb_format(const struct mhc_ndb *ndb);
/* The most octets of data in one block. */
size_t mhc_ndb_block_bytes(const struct mhc_ndb *ndb);
/* A new NID of `type`. */
uint32_t mhc_ndb_new_nid(struct mhc_ndb *ndb, unsigned type);

/* --- data ([MS-PST] 2.2.2.8.3) --- */

/* The data of one node, on its way into blocks. */
struct mhc_ndb_data {
    struct mhc_ndb *ndb;
    struct mhc_buf tail; /* owned: what fills no block yet */
    uint64_t *bids;      /* owned */
    size_t count;
    uint64_t bytes;
};

void mhc_ndb_data_init(struct mhc_ndb_data *data, struct mhc_ndb *ndb);
void mhc_ndb_data_add(struct mhc_ndb_data *data, const void *bytes, size_t len);
/* Zeros up to the end of the block that is being filled. */
void mhc_ndb_data_pad(struct mhc_ndb_data *data);
/* The block id that stands for all of it, 0 for no octet at all; `data` is done with. */
uint64_t mhc_ndb_data_done(struct mhc_ndb_data *data);
/* All of that in one call. */
uint64_t mhc_ndb_data_write(struct mhc_ndb *ndb, const void *bytes, size_t len);

/* --- subnodes and nodes --- */

struct mhc_subnode {
    uint32_t nid;
    struct mhc_ndb_body body;
};

/* The subnodes of one node; all-zero is a valid empty list. */
struct mhc_subnodes {
    struct mhc_subnode *v; /* owned */
    size_t count;
    uint32_t next_index; /* of mhc_subnodes_new_nid() */
};

/* A NID of `type` that none of these subnodes has. */
uint32_t mhc_subnodes_new_nid(struct mhc_subnodes *subs, unsigned type);
void mhc_subnodes_add(struct mhc_subnodes *subs, uint32_t nid, struct mhc_ndb_body body);
/* The block id that stands for all of them, 0 for none; `subs` is empty again. */
uint64_t mhc_subnodes_write(struct mhc_subnodes *subs, struct mhc_ndb *ndb);

void mhc_ndb_node(struct mhc_ndb *ndb, uint32_t nid, uint32_t parent, struct mhc_ndb_body body);

/* --- where things lie --- */

struct mhc_extent {
    uint64_t at;
    uint32_t bytes; /* with padding and trailer */
};

struct mhc_extents {
    struct mhc_extent *v; /* owned */
    size_t count;
    size_t cap;
};

void mhc_extents_done(struct mhc_extents *extents);
/* From here on the places of all blocks are added to `extents` (NULL: to none). */
void mhc_ndb_trace(struct mhc_ndb *ndb, struct mhc_extents *extents);

/* --- what was deleted --- */

/* How many blocks there are: what is written from here on has higher numbers. */
size_t mhc_ndb_mark(const struct mhc_ndb *ndb);
/* The node `nid` and all blocks written since `mark` will be deleted by mhc_ndb_forget(). */
void mhc_ndb_doom(struct mhc_ndb *ndb, uint32_t nid, size_t mark);
/*
 * Writes both trees as they are now, then deletes what was doomed: its octets and those trees stay
 * in the file, in room that the maps call free, as Outlook leaves them.
 */
void mhc_ndb_forget(struct mhc_ndb *ndb);

#endif
