/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Table contexts (2.3.4): rows of one width, in the heap or in the blocks of a subnode. A row never
 * lies across two blocks. A cell that has no value has its bit cleared in the row's last octets.
 */
#include "pst/ltp.h"

#include "pst/ndb_priv.h"

enum {
    TABLE_SIGNATURE = 0x7c,
    TABLE_HEAD_BYTES = 22,
    COLUMN_BYTES = 8,
    END_OF_ONES =
        6, /* where the head has the end of the one-octet cells: there the bitmap begins */
    END_OF_ALL = 8,
};

static struct pst_verdict get_head(struct pst_table *t, uint32_t *row_index, uint32_t *rows)
{
    struct pst_span head;
    struct pst_verdict v = pst_heap_item(&t->heap, t->heap.root, &head);
    if (v.state == PST_LOST)
        return v;
    if (head.n < TABLE_HEAD_BYTES || head.p[0] != TABLE_SIGNATURE)
        return lost(PST_WHY_TYPE, t->heap.root);
    t->n_columns = head.p[1];
    t->bitmap_at = pst_u16(head.p + END_OF_ONES);
    t->row_bytes = pst_u16(head.p + END_OF_ALL);
    *row_index = pst_u32(head.p + 10);
    *rows = pst_u32(head.p + 14);
    if ((size_t)t->n_columns * COLUMN_BYTES > head.n - TABLE_HEAD_BYTES ||
        t->bitmap_at > t->row_bytes || t->row_bytes < 4)
        return lost(PST_WHY_SIZE, t->heap.root);
    struct pst_column *columns =
        pst_arena_array(&t->heap.reader->arena, MH_MAX(t->n_columns, 1u), sizeof *columns);
    if (!columns)
        return lost(PST_WHY_MEMORY, t->heap.root);
    for (uint32_t i = 0; i < t->n_columns; i++) {
        const uint8_t *p = head.p + TABLE_HEAD_BYTES + (size_t)i * COLUMN_BYTES;
        columns[i] = (struct pst_column){.type = pst_u16(p),
                                         .id = pst_u16(p + 2),
                                         .at = pst_u16(p + 4),
                                         .bytes = p[6],
                                         .bit = p[7]};
    }
    t->columns = columns;
    return v;
}

static int count_row(void *ctx, const uint8_t *key, const uint8_t *entry)
{
    uint64_t *n = ctx;
    (void)key;
    (void)entry;
    (*n)++;
    return 0;
}

/* How many rows its index knows: a table that has lost rows knows of more than it has. */
static struct pst_verdict read_index(struct pst_table *t, uint32_t hid)
{
    struct pst_tree_shape shape;
    struct pst_verdict v = pst_tree_open(&t->heap, hid, &shape);
    if (v.state != PST_LOST)
        (void)pst_tree_walk(&t->heap, &shape, count_row, &t->n_indexed, &v);
    v.state = v.state == PST_LOST ? PST_SUSPECT : v.state;
    return v;
}

/* Every block but the last is full. */
static struct pst_verdict count_in_blocks(struct pst_table *t)
{
    struct pst_reader *r = t->heap.reader;
    struct pst_span first;
    struct pst_span last;
    if (t->rows.n == 0)
        return fine();
    struct pst_mark mark = pst_arena_mark(&r->arena);
    struct pst_verdict v = pst_block_read(r, t->rows.bids[0], &first);
    struct pst_verdict end = pst_block_read(r, t->rows.bids[t->rows.n - 1], &last);
    const struct layout *lay = r->file->lay;
    size_t full = v.state == PST_LOST ? lay->block_max - lay->block_trailer : first.n;
    t->per_block = (uint32_t)(full / t->row_bytes);
    t->n = (uint64_t)(t->rows.n - 1) * t->per_block;
    t->n += end.state == PST_LOST ? t->per_block : last.n / t->row_bytes;
    pst_arena_return(&r->arena, mark);
    pst_worsen(&v, end);
    v.state = v.state == PST_LOST ? PST_SUSPECT : v.state;
    return t->per_block > 0 ? v : lost(PST_WHY_SIZE, t->rows.bids[0]);
}

static struct pst_verdict find_rows(struct pst_table *t, uint32_t hnid)
{
    const struct pst_value where = {.type = PST_BINARY, .raw = hnid};
    if (pst_value_data(&t->heap, t->sub, &where, &t->rows)) {
        struct pst_verdict v = t->rows.verdict;
        if (v.state != PST_LOST)
            pst_worsen(&v, count_in_blocks(t));
        return v;
    }
    struct pst_verdict v = pst_heap_item(&t->heap, hnid, &t->inner);
    t->n = t->inner.n / t->row_bytes;
    return v;
}

struct pst_verdict pst_table_open(struct pst_reader *r, uint64_t data, uint64_t sub,
                                  struct pst_table *out)
{
    uint32_t row_index = 0;
    uint32_t rows = 0;
    *out = (struct pst_table){.sub = sub};
    struct pst_verdict v = pst_heap_open(r, data, &out->heap);
    if (v.state != PST_LOST && out->heap.use != PST_HEAP_TABLE)
        v = lost(PST_WHY_TYPE, data);
    if (v.state != PST_LOST)
        pst_worsen(&v, get_head(out, &row_index, &rows));
    if (v.state != PST_LOST)
        pst_worsen(&v, read_index(out, row_index));
    if (v.state != PST_LOST)
        pst_worsen(&v, find_rows(out, rows));
    if (v.state == PST_OK && out->n != out->n_indexed)
        v = verdict(PST_SUSPECT, PST_WHY_SIZE, data);
    return out->verdict = v;
}

struct pst_verdict pst_table_row(struct pst_table *t, uint64_t i, struct pst_span *out)
{
    *out = (struct pst_span){NULL, 0};
    if (i >= t->n)
        return lost(PST_WHY_SIZE, i);
    if (t->rows.n == 0) {
        *out = (struct pst_span){t->inner.p + i * t->row_bytes, t->row_bytes};
        return fine();
    }
    struct pst_span block;
    uint32_t number = (uint32_t)(i / t->per_block);
    struct pst_verdict v = pst_block_read(t->heap.reader, t->rows.bids[number], &block);
    size_t at = (size_t)(i % t->per_block) * t->row_bytes;
    if (v.state == PST_LOST)
        return v;
    if (at + t->row_bytes > block.n)
        return lost(PST_WHY_SIZE, t->rows.bids[number]);
    *out = (struct pst_span){block.p + at, t->row_bytes};
    return v;
}

bool pst_table_cell(const struct pst_table *t, struct pst_span row, unsigned id,
                    struct pst_value *out)
{
    for (uint32_t i = 0; i < t->n_columns; i++) {
        const struct pst_column *c = &t->columns[i];
        size_t bit_at = t->bitmap_at + c->bit / 8u;
        if (c->id != id)
            continue;
        if (bit_at >= row.n || (size_t)c->at + c->bytes > row.n ||
            !(row.p[bit_at] & 0x80 >> c->bit % 8))
            return false;
        unsigned bytes = pst_type_bytes(c->type);
        *out = (struct pst_value){.id = c->id, .type = c->type};
        if (bytes > 0 && bytes <= c->bytes)
            out->inside = row.p + c->at;
        else if (c->bytes == 4)
            out->raw = pst_u32(row.p + c->at);
        else
            return false;
        return true;
    }
    return false;
}
