/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_ltp.h: writes lists, tables and properties ([MS-PST] 2.3): the heap on a node, the tree in a
 * heap, a property context, a table context.
 *
 * Memory: a heap or table is held until it is written; then it is done with. Threads: one.
 */
#ifndef MHC_PST_LTP_H
#define MHC_PST_LTP_H

#include "pst_ndb.h"
#include "pst_prop.h"

/* The longest value that lies in a heap; longer ones get a subnode. */
enum { MHC_HEAP_ITEM_MAX = 3580 };

/* Writes properties and what they have in subnodes. `subs` gets those that are too long, and is written. */
struct mhc_ndb_body mhc_pc_write(struct mhc_ndb *ndb, struct mhc_props *props,
                                 struct mhc_subnodes *subs);

/* --- the heap (2.3.1) --- */

struct mhc_heap {
    struct mhc_ndb *ndb;
    struct mhc_buf bytes;      /* owned: all blocks */
    struct mhc_buf fill_level; /* owned: one octet for each block that is full */
    size_t start;              /* of the block that is being filled */
    uint16_t *ends;            /* owned: of its items; the first is where they begin */
    size_t count;              /* of its items */
};

/* --- a table (2.3.4) --- */

struct mhc_column {
    uint32_t tag;
    uint16_t at; /* in a row */
    uint8_t bytes;
    uint8_t bit; /* of "has a value" */
};

enum { MHC_COLUMNS_MAX = 64 };

struct mhc_table {
    struct mhc_heap heap;
    struct mhc_column columns[MHC_COLUMNS_MAX]; /* by tag */
    size_t column_count;
    uint16_t ends[4];         /* of the 4-octet columns, the 2-, the 1-octet ones, the bits */
    struct mhc_buf rows;      /* owned */
    struct mhc_buf index;     /* owned: the ids of the rows, with their places */
    struct mhc_subnodes subs; /* owned: long values */
    size_t row_count;
    size_t index_at; /* in the heap */
    uint32_t index_hid;
};

/*
 * Begins a table with these columns. Texts are 8-bit ones where `charset` says so (NULL: UTF-16).
 */
void mhc_table_init(struct mhc_table *table, struct mhc_ndb *ndb, const uint32_t *tags,
                    size_t count, const char *charset);
/* Adds a row; `values` without a column are passed over. Ids must ascend. */
void mhc_table_row(struct mhc_table *table, uint32_t id, const struct mhc_props *values);
/* Writes the table, which is done with. */
struct mhc_ndb_body mhc_table_write(struct mhc_table *table);
/* Gives a table back that nobody needs. */
void mhc_table_drop(struct mhc_table *table);

#endif
