/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_ltp.h"

#include <stdlib.h>
#include <string.h>

/* --- heap --- */

enum {
    HEAP_MAGIC = 0xec,
    HEAP_OF_PROPS = 0xbc,
    HEAP_OF_TABLE = 0x7c,
    TREE_MAGIC = 0xb5,
    FIRST_HEAD_BYTES = 12,
    MAPPED_HEAD_BYTES = 66,
    HEAD_BYTES = 2,
    LEVELS_IN_FIRST = 8, /* blocks whose fill level stands in the first one */
    LEVELS_IN_MAP = 128, /* and in each that has a map of them */
    ITEMS_MAX = 2047,    /* of one block: what the index in a HID can say */
    LEVEL_FULL = 15,
    TREE_HEAD_BYTES = 8,
};

static size_t block_index(const struct mhc_heap *heap)
{
    return heap->fill_level.len;
}

static void begin_block(struct mhc_heap *heap)
{
    size_t index = block_index(heap);
    bool has_map = index >= LEVELS_IN_FIRST && (index - LEVELS_IN_FIRST) % LEVELS_IN_MAP == 0;
    size_t head = index == 0 ? FIRST_HEAD_BYTES : has_map ? MAPPED_HEAD_BYTES : HEAD_BYTES;
    heap->start = heap->bytes.len;
    mhc_buf_fill(&heap->bytes, 0, head);
    heap->count = 0;
    heap->ends[0] = (uint16_t)head;
}

static void heap_init(struct mhc_heap *heap, struct mhc_ndb *ndb)
{
    *heap = (struct mhc_heap){.ndb = ndb};
    heap->ends = mhc_alloc((ITEMS_MAX + 1) * sizeof(*heap->ends));
    begin_block(heap);
}

static void heap_done(struct mhc_heap *heap)
{
    mhc_buf_done(&heap->bytes);
    mhc_buf_done(&heap->fill_level);
    free(heap->ends);
    *heap = (struct mhc_heap){0};
}

/* What a block takes with `items` items that end at `end`. */
static size_t block_need(size_t end, size_t items)
{
    return (end + 1) / 2 * 2 + 4 + 2 * (items + 1);
}

/* [MS-PST] 2.3.1.2: the room that is left, in sixteen steps. */
static char level_of(size_t room)
{
    static const uint16_t steps[LEVEL_FULL] = {3584, 2560, 2048, 1792, 1536, 1280, 1024, 768,
                                               512,  256,  128,  64,   32,   16,   8};
    char level = 0;
    while (level < LEVEL_FULL && room < steps[(size_t)level]) {
        level++;
    }
    return level;
}

/* The map of the block's items (HNPAGEMAP), behind them. */
static void end_block(struct mhc_heap *heap, bool is_last)
{
    size_t full = mhc_ndb_block_bytes(heap->ndb);
    size_t end = heap->ends[heap->count];
    size_t need = block_need(end, heap->count);
    mhc_buf_fill(&heap->bytes, 0, heap->start + need - heap->bytes.len);
    uint8_t *block = (uint8_t *)heap->bytes.data + heap->start;
    uint8_t *map = block + (end + 1) / 2 * 2;
    pst_put_u16(block, (unsigned)(map - block));
    pst_put_u16(map, (unsigned)heap->count);
    for (size_t i = 0; i <= heap->count; i++) {
        pst_put_u16(map + 4 + 2 * i, heap->ends[i]);
    }
    mhc_buf_putc(&heap->fill_level, level_of(full - need));
    if (!is_last) {
        mhc_buf_fill(&heap->bytes, 0, full - need);
    }
}

/* Room for one item; `*at_out` is where it lies in the heap's bytes. Returns its HID. */
static uint32_t heap_room(struct mhc_heap *heap, size_t len, size_t *at_out)
{
    bool is_wide = mhc_ndb_format(heap->ndb) == MHC_PST_OST4K;
    size_t end = heap->ends[heap->count] + len;
    if (heap->count == ITEMS_MAX ||
        block_need(end, heap->count + 1) > mhc_ndb_block_bytes(heap->ndb)) {
        end_block(heap, false);
        begin_block(heap);
        end = heap->ends[0] + len;
    }
    *at_out = heap->bytes.len;
    mhc_buf_fill(&heap->bytes, 0, len);
    heap->ends[++heap->count] = (uint16_t)end;
    return (uint32_t)(block_index(heap) << (is_wide ? 19 : 16) | heap->count << 5);
}

static uint32_t heap_add(struct mhc_heap *heap, const void *bytes, size_t len)
{
    size_t at;
    uint32_t hid = heap_room(heap, len, &at);
    memcpy(heap->bytes.data + at, bytes, len);
    return hid;
}

/* Four bits for each of `count` blocks from `first` on. */
static void put_levels(const struct mhc_heap *heap, uint8_t *p, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t block = first + i;
        unsigned level = block < heap->fill_level.len ? (uint8_t)heap->fill_level.data[block] : 0;
        p[i / 2] |= (uint8_t)(level << (i % 2 * 4));
    }
}

static uint64_t heap_write(struct mhc_heap *heap, unsigned client, uint32_t root)
{
    size_t full = mhc_ndb_block_bytes(heap->ndb);
    end_block(heap, true);
    uint8_t *p = (uint8_t *)heap->bytes.data;
    p[2] = HEAP_MAGIC;
    p[3] = (uint8_t)client;
    pst_put_u32(p + 4, root);
    put_levels(heap, p + 8, 0, LEVELS_IN_FIRST);
    for (size_t i = LEVELS_IN_FIRST; i < heap->fill_level.len; i += LEVELS_IN_MAP) {
        put_levels(heap, p + i * full + 2, i, LEVELS_IN_MAP);
    }
    uint64_t bid = mhc_ndb_data_write(heap->ndb, heap->bytes.data, heap->bytes.len);
    heap_done(heap);
    return bid;
}

/* --- the tree in a heap (2.3.2) --- */

/* Cuts records into items; each one's first key and HID go to `above`. */
static void write_level(struct mhc_heap *heap, const char *records, size_t len, size_t record_bytes,
                        size_t key_bytes, struct mhc_buf *above)
{
    size_t most = MHC_HEAP_ITEM_MAX / record_bytes * record_bytes;
    for (size_t at = 0; at < len; at += most) {
        size_t part = len - at < most ? len - at : most;
        uint8_t hid[4];
        pst_put_u32(hid, heap_add(heap, records + at, part));
        mhc_buf_add(above, records + at, key_bytes);
        mhc_buf_add(above, hid, sizeof(hid));
    }
}

/* Fills the header at `head_at` and writes the levels below it, the records in the order of their keys. */
static void write_bth(struct mhc_heap *heap, size_t head_at, unsigned key_bytes,
                      unsigned entry_bytes, const struct mhc_buf *records)
{
    struct mhc_buf level = {0};
    unsigned levels = 0;
    uint32_t root = 0;
    mhc_buf_add(&level, records->data, records->len);
    size_t record_bytes = key_bytes + entry_bytes;
    while (level.len > 0) {
        struct mhc_buf above = {0};
        write_level(heap, level.data, level.len, record_bytes, key_bytes, &above);
        mhc_buf_done(&level);
        record_bytes = key_bytes + 4;
        if (above.len == record_bytes) {
            root = pst_u32((uint8_t *)above.data + key_bytes);
            mhc_buf_done(&above);
        } else {
            levels++;
            level = above;
        }
    }
    mhc_buf_done(&level);
    uint8_t *p = (uint8_t *)heap->bytes.data + head_at;
    p[0] = TREE_MAGIC;
    p[1] = (uint8_t)key_bytes;
    p[2] = (uint8_t)entry_bytes;
    p[3] = (uint8_t)levels;
    pst_put_u32(p + 4, root);
}

/* --- properties (2.3.3) --- */

/* Values of at most four octets stand in the property itself. */
static bool is_inline(uint32_t tag)
{
    uint32_t type = tag & 0xffff;
    return type == MHC_PT_I16 || type == MHC_PT_I32 || type == MHC_PT_BOOL;
}

/* A value's HNID: in the heap, or in a subnode when it is too long for it. */
static uint32_t put_value(struct mhc_heap *heap, struct mhc_subnodes *subs,
                          const struct mhc_props *props, const struct mhc_prop *prop)
{
    const char *bytes = props->bytes.data + prop->at;
    if (prop->hnid != 0 || prop->len == 0) {
        return prop->hnid;
    }
    if (prop->len <= MHC_HEAP_ITEM_MAX) {
        return heap_add(heap, bytes, prop->len);
    }
    uint32_t nid = mhc_subnodes_new_nid(subs, MHC_NID_LTP);
    struct mhc_ndb_body body = {.data = mhc_ndb_data_write(heap->ndb, bytes, prop->len)};
    mhc_subnodes_add(subs, nid, body);
    return nid;
}

struct mhc_ndb_body mhc_pc_write(struct mhc_ndb *ndb, struct mhc_props *props,
                                 struct mhc_subnodes *subs)
{
    enum { KEY_BYTES = 2, ENTRY_BYTES = 6 };
    struct mhc_heap heap;
    struct mhc_buf records = {0};
    size_t head_at;
    heap_init(&heap, ndb);
    mhc_props_sort(props);
    uint32_t root = heap_room(&heap, TREE_HEAD_BYTES, &head_at);
    for (size_t i = 0; i < props->count; i++) {
        const struct mhc_prop *prop = &props->v[i];
        uint8_t record[KEY_BYTES + ENTRY_BYTES] = {0};
        pst_put_u16(record, prop->tag >> 16);
        pst_put_u16(record + 2, prop->tag & 0xffff);
        if (is_inline(prop->tag)) {
            memcpy(record + 4, props->bytes.data + prop->at, prop->len);
        } else {
            pst_put_u32(record + 4, put_value(&heap, subs, props, prop));
        }
        mhc_buf_add(&records, record, sizeof(record));
    }
    write_bth(&heap, head_at, KEY_BYTES, ENTRY_BYTES, &records);
    mhc_buf_done(&records);
    struct mhc_ndb_body body = {.data = heap_write(&heap, HEAP_OF_PROPS, root)};
    body.sub = mhc_subnodes_write(subs, ndb);
    return body;
}

/* --- tables (2.3.4) --- */

enum {
    TAG_ROW_ID = 0x67f20003,
    TAG_ROW_VERSION = 0x67f30003,
    WIDE_BYTES = 8,
    TABLE_HEAD_BYTES = 22,
    COLUMN_BYTES = 8,
};

static uint8_t column_bytes(uint32_t tag)
{
    switch (tag & 0xffff) {
    case MHC_PT_BOOL:
        return 1;
    case MHC_PT_I16:
        return 2;
    case MHC_PT_I64:
    case MHC_PT_F64:
    case MHC_PT_TIME:
        return WIDE_BYTES;
    default:
        return 4;
    }
}

static int by_tag(const void *a, const void *b)
{
    uint32_t x = ((const struct mhc_column *)a)->tag;
    uint32_t y = ((const struct mhc_column *)b)->tag;
    return x < y ? -1 : x > y;
}

/* The widest columns first; the two that say which row it is before all others. */
static void lay_out_row(struct mhc_table *table)
{
    static const struct {
        uint8_t least, most;
    } groups[] = {{4, WIDE_BYTES}, {2, 2}, {1, 1}};
    unsigned at = WIDE_BYTES;
    uint8_t bit = 2;
    for (size_t g = 0; g < MHC_COUNT(groups); g++) {
        for (size_t i = 0; i < table->column_count; i++) {
            struct mhc_column *c = &table->columns[i];
            if (c->tag == TAG_ROW_ID || c->tag == TAG_ROW_VERSION) {
                c->at = c->tag == TAG_ROW_ID ? 0 : 4;
                c->bit = c->tag == TAG_ROW_ID ? 0 : 1;
            } else if (c->bytes >= groups[g].least && c->bytes <= groups[g].most) {
                c->at = (uint16_t)at;
                c->bit = bit++;
                at += c->bytes;
            }
        }
        table->ends[g] = (uint16_t)at;
    }
    table->ends[3] = (uint16_t)(at + (table->column_count + 7) / 8);
}

void mhc_table_init(struct mhc_table *table, struct mhc_ndb *ndb, const uint32_t *tags,
                    size_t count, const char *charset)
{
    *table = (struct mhc_table){.column_count = count + 2};
    heap_init(&table->heap, ndb);
    for (size_t i = 0; i < count; i++) {
        bool is_8bit = charset != NULL && (tags[i] & 0xffff) == MHC_PT_TEXT;
        table->columns[i].tag = is_8bit ? (tags[i] & 0xffff0000u) | MHC_PT_TEXT8 : tags[i];
    }
    table->columns[count].tag = TAG_ROW_ID;
    table->columns[count + 1].tag = TAG_ROW_VERSION;
    for (size_t i = 0; i < table->column_count; i++) {
        table->columns[i].bytes = column_bytes(table->columns[i].tag);
    }
    qsort(table->columns, table->column_count, sizeof(*table->columns), by_tag);
    lay_out_row(table);
    table->index_hid = heap_room(&table->heap, TREE_HEAD_BYTES, &table->index_at);
}

static void put_cell(struct mhc_table *table, size_t row_at, const struct mhc_column *c,
                     const struct mhc_props *values, const struct mhc_prop *prop)
{
    uint32_t type = c->tag & 0xffff;
    bool is_value = is_inline(c->tag) || type == MHC_PT_TIME || type == MHC_PT_I64;
    uint32_t hnid = is_value ? 0 : put_value(&table->heap, &table->subs, values, prop);
    uint8_t *row = (uint8_t *)table->rows.data + row_at;
    if (is_value) {
        memcpy(row + c->at, values->bytes.data + prop->at, prop->len);
    } else {
        pst_put_u32(row + c->at, hnid);
    }
    row[table->ends[2] + c->bit / 8] |= (uint8_t)(0x80u >> c->bit % 8);
}

void mhc_table_row(struct mhc_table *table, uint32_t id, const struct mhc_props *values)
{
    bool is_ansi = mhc_ndb_format(table->heap.ndb) == MHC_PST_ANSI;
    size_t row_at = table->rows.len;
    uint8_t record[8];
    mhc_buf_fill(&table->rows, 0, table->ends[3]);
    uint8_t *row = (uint8_t *)table->rows.data + row_at;
    pst_put_u32(row, id);
    pst_put_u32(row + 4, (uint32_t)table->row_count + 1);
    row[table->ends[2]] = 0xc0;
    for (size_t i = 0; i < table->column_count; i++) {
        const struct mhc_column *c = &table->columns[i];
        const struct mhc_prop *prop = mhc_props_find(values, c->tag);
        if (prop != NULL) {
            put_cell(table, row_at, c, values, prop);
        }
    }
    pst_put_u32(record, id);
    pst_put_u32(record + 4, (uint32_t)table->row_count++);
    mhc_buf_add(&table->index, record, is_ansi ? 6 : 8);
}

/* The rows lie in the heap, or in a subnode, where none is cut by the end of a block. */
static uint32_t write_rows(struct mhc_table *table)
{
    struct mhc_ndb *ndb = table->heap.ndb;
    size_t row_bytes = table->ends[3];
    size_t in_block = mhc_ndb_block_bytes(ndb) / row_bytes * row_bytes;
    if (table->rows.len == 0) {
        return 0;
    }
    if (table->rows.len <= MHC_HEAP_ITEM_MAX) {
        return heap_add(&table->heap, table->rows.data, table->rows.len);
    }
    struct mhc_ndb_data data;
    mhc_ndb_data_init(&data, ndb);
    for (size_t at = 0; at < table->rows.len; at += in_block) {
        size_t left = table->rows.len - at;
        mhc_ndb_data_pad(&data);
        mhc_ndb_data_add(&data, table->rows.data + at, left < in_block ? left : in_block);
    }
    uint32_t nid = mhc_subnodes_new_nid(&table->subs, MHC_NID_LTP);
    mhc_subnodes_add(&table->subs, nid, (struct mhc_ndb_body){.data = mhc_ndb_data_done(&data)});
    return nid;
}

struct mhc_ndb_body mhc_table_write(struct mhc_table *table)
{
    enum { KEY_BYTES = 4 };
    struct mhc_ndb *ndb = table->heap.ndb;
    uint8_t head[TABLE_HEAD_BYTES + MHC_COLUMNS_MAX * COLUMN_BYTES] = {0};
    uint32_t rows = write_rows(table);
    write_bth(&table->heap, table->index_at, KEY_BYTES, mhc_ndb_format(ndb) == MHC_PST_ANSI ? 2 : 4,
              &table->index);
    head[0] = HEAP_OF_TABLE;
    head[1] = (uint8_t)table->column_count;
    for (size_t i = 0; i < MHC_COUNT(table->ends); i++) {
        pst_put_u16(head + 2 + 2 * i, table->ends[i]);
    }
    pst_put_u32(head + 10, table->index_hid);
    pst_put_u32(head + 14, rows);
    for (size_t i = 0; i < table->column_count; i++) {
        const struct mhc_column *c = &table->columns[i];
        uint8_t *p = head + TABLE_HEAD_BYTES + i * COLUMN_BYTES;
        pst_put_u32(p, c->tag);
        pst_put_u16(p + 4, c->at);
        p[6] = c->bytes;
        p[7] = c->bit;
    }
    size_t head_bytes = TABLE_HEAD_BYTES + table->column_count * COLUMN_BYTES;
    uint32_t root = heap_add(&table->heap, head, head_bytes);
    struct mhc_ndb_body body = {.data = heap_write(&table->heap, HEAP_OF_TABLE, root)};
    body.sub = mhc_subnodes_write(&table->subs, ndb);
    mhc_buf_done(&table->rows);
    mhc_buf_done(&table->index);
    return body;
}

void mhc_table_drop(struct mhc_table *table)
{
    heap_done(&table->heap);
    mhc_buf_done(&table->rows);
    mhc_buf_done(&table->index);
    free(table->subs.v);
}
