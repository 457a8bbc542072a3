/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Lists, tables and properties ([MS-PST] 2.3): what the data of a node says.
 *
 *     node ── data blocks ── heap (HN) ─┬─ tree (BTH) ─┬─ property context (PC)
 *                                       │              └─ row index of a table
 *                                       └─ table context (TC)
 *
 * Everything lies in the reader's arena or in the mapping and is void when the arena is returned to a
 * mark from before. One thread a reader. As below, what does not prove is a verdict: a value that
 * cannot be had is LOST, everything beside it is still there.
 */
#ifndef MH_PST_LTP_H
#define MH_PST_LTP_H

#include "pst/ndb.h"

/* --- heap ------------------------------------------------------------------------------------- */

/* What a heap is for: bClientSig (2.3.1.2). */
enum pst_heap_use { PST_HEAP_PROPS = 0xbc, PST_HEAP_TABLE = 0x7c, PST_HEAP_TREE = 0xb5 };

/* Items of octets in the blocks of one node. */
struct pst_heap {
    struct pst_reader *reader;
    struct pst_data data;
    struct pst_heap_block *blocks; /* in the arena: read when they are asked for */
    uint8_t use;                   /* enum pst_heap_use */
    uint32_t root;                 /* HID */
};

/* The heap in the data at BID. */
struct pst_verdict pst_heap_open(struct pst_reader *r, uint64_t bid, struct pst_heap *out);
/* HID 0 is an empty item. */
struct pst_verdict pst_heap_item(struct pst_heap *h, uint32_t hid, struct pst_span *out);

/* A record of a tree in a heap (2.3.2). The return ends the walk, if it is not 0. */
typedef int pst_record_fn(void *ctx, const uint8_t *key, const uint8_t *entry);

struct pst_tree_shape {
    uint8_t key_bytes, entry_bytes, levels;
    uint32_t root;
};

struct pst_verdict pst_tree_open(struct pst_heap *h, uint32_t hid, struct pst_tree_shape *out);
/* All records, in order. V: what of them is lost. */
int pst_tree_walk(struct pst_heap *h, const struct pst_tree_shape *t, pst_record_fn *fn, void *ctx,
                  struct pst_verdict *v);

/* --- values ----------------------------------------------------------------------------------- */

/* Property types ([MS-OXCDATA] 2.11.1). */
enum pst_type {
    PST_I16 = 0x0002,
    PST_I32 = 0x0003,
    PST_F32 = 0x0004,
    PST_F64 = 0x0005,
    PST_CURRENCY = 0x0006,
    PST_APP_TIME = 0x0007,
    PST_ERROR = 0x000a,
    PST_BOOL = 0x000b,
    PST_OBJECT = 0x000d,
    PST_I64 = 0x0014,
    PST_STRING8 = 0x001e,
    PST_UNICODE_STRING = 0x001f,
    PST_TIME = 0x0040,
    PST_GUID = 0x0048,
    PST_BINARY = 0x0102,
    PST_MANY = 0x1000, /* of one of these */
};

/* Octets that a value of TYPE has always; 0: it has its own length. */
unsigned pst_type_bytes(unsigned type);

/* Where a value lies, as its container has it. */
struct pst_value {
    uint16_t id, type;
    uint32_t raw;          /* up to 4 octets the value itself, else its HID or subnode */
    const uint8_t *inside; /* a table's cell that is the value itself; else NULL */
};

/* --- property context ------------------------------------------------------------------------- */

struct pst_props {
    struct pst_heap heap;
    uint64_t sub;              /* BID of the node's subnodes */
    const struct pst_value *v; /* in the arena, in the order of their ids */
    uint32_t n;
    struct pst_verdict verdict; /* of the list; each value has its own */
};

/* Of a node or subnode with this data and these subnodes. */
struct pst_verdict pst_props_open(struct pst_reader *r, uint64_t data, uint64_t sub,
                                  struct pst_props *out);
/* NULL: it has none. */
const struct pst_value *pst_props_find(const struct pst_props *p, unsigned id);

/*
 * The octets of a value in one piece, numbers in the file's order. A value in a subnode is put
 * together in the arena: for one that may be large, pst_value_data().
 */
struct pst_verdict pst_value_read(struct pst_heap *h, uint64_t sub, const struct pst_value *v,
                                  struct pst_span *out);
/* The blocks of a value that lies in a subnode. False: it does not; read it. */
bool pst_value_data(struct pst_heap *h, uint64_t sub, const struct pst_value *v,
                    struct pst_data *out);

/* Item I of the many that OCTETS, read from a value of PST_MANY texts or octets, are (2.3.3.4.2);
 * empty: there is none. */
struct pst_span pst_many_item(struct pst_span octets, uint32_t i);

/* Numbers of any width, and PST_BOOL; 0 where there is none, or it is lost. */
int64_t pst_props_number(struct pst_props *p, unsigned id, int64_t otherwise);

/* --- table context ---------------------------------------------------------------------------- */

struct pst_column {
    uint16_t id, type;
    uint16_t at;   /* in the row */
    uint8_t bytes; /* in the row */
    uint8_t bit;   /* of the row's existence bitmap */
};

struct pst_table {
    struct pst_heap heap;
    uint64_t sub;
    const struct pst_column *columns; /* in the arena */
    uint32_t n_columns;
    uint32_t row_bytes, bitmap_at;
    uint64_t n;                 /* rows, as many as there are octets for */
    uint64_t n_indexed;         /* rows that the table's index counts */
    struct pst_verdict verdict; /* of its head and index; each row has its own */
    /* how rows are found */
    struct pst_data rows;  /* in a subnode … */
    struct pst_span inner; /* … or in the heap */
    uint32_t per_block;
};

struct pst_verdict pst_table_open(struct pst_reader *r, uint64_t data, uint64_t sub,
                                  struct pst_table *out);
/* Row I's octets; the first four are its NID or number. */
struct pst_verdict pst_table_row(struct pst_table *t, uint64_t i, struct pst_span *out);
/* False: the row has no such value. For pst_value_read() with the table's heap and subnodes. */
bool pst_table_cell(const struct pst_table *t, struct pst_span row, unsigned id,
                    struct pst_value *out);

#endif
