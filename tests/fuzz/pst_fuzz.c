/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whole archives: every node, property, table row and folder of whatever the octets make of one. A
 * changed octet breaks a checksum, behind which nothing would be reached: so half of the inputs have
 * their checksums set right first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "fuzz.h"
#include "pst/names.h"
#include "pst/ndb_priv.h"
#include "pst/store.h"

enum { FUZZ_MAX_BYTES = 1 << 20, ARENA_BYTES = 32 << 20, NESTING_MAX = 4 };

/* --- checksums -------------------------------------------------------------------------------- */

static void put_crc(const struct layout *lay, uint8_t *trailer, uint32_t crc)
{
    pst_put_u32(trailer + (lay->format == PST_ANSI ? 8 : 4), crc);
}

static void heal_blocks(const struct layout *lay, uint8_t *data, size_t size)
{
    for (size_t end = 64; end <= size; end += 64) {
        struct trailer t;
        uint8_t *tail = data + end - lay->block_trailer;
        block_trailer_get(lay, tail, &t);
        uint32_t slot = slot_bytes(lay, t.size);
        if (t.size > 0 && slot <= end && slot <= lay->block_max &&
            t.signature == pst_signature(end - slot, t.bid))
            put_crc(lay, tail, pst_crc(data + end - slot, t.size));
    }
}

static void heal_pages(const struct layout *lay, uint8_t *data, size_t size)
{
    for (size_t at = 0; at + lay->page_bytes <= size; at += 512) {
        uint8_t *tail = data + at + lay->page_trailer;
        if (tail[0] == tail[1] && (tail[0] == PAGE_NODES || tail[0] == PAGE_BLOCKS))
            put_crc(lay, tail, pst_crc(data + at, lay->page_trailer));
    }
}

static void heal(uint8_t *data, size_t size)
{
    enum pst_format format = PST_UNICODE;
    if (size < 564)
        return;
    if (data[10] == 14 || data[10] == 15)
        format = PST_ANSI;
    else if (data[10] >= 36)
        format = PST_UNICODE_4K;
    heal_blocks(&layouts[format], data, size);
    heal_pages(&layouts[format], data, size);
    pst_put_u32(data + 4, pst_crc(data + 8, 471));
    if (format != PST_ANSI)
        pst_put_u32(data + 524, pst_crc(data + 8, 516));
}

/* --- everything that there is ----------------------------------------------------------------- */

static unsigned sum; /* of all octets that are handed out: they must be there */

static void touch(struct pst_span s)
{
    for (size_t i = 0; i < s.n; i++)
        sum += s.p[i];
}

static void all_props(struct pst_reader *r, uint64_t data, uint64_t sub)
{
    struct pst_props p;
    if (pst_props_open(r, data, sub, &p).state == PST_LOST)
        return;
    for (uint32_t i = 0; i < p.n; i++) {
        struct pst_span s;
        struct pst_mark mark = pst_arena_mark(&r->arena);
        mh_assert(i == 0 || p.v[i - 1].id <= p.v[i].id);
        if (pst_value_read(&p.heap, p.sub, &p.v[i], &s).state == PST_LOST)
            mh_assert(s.n == 0 || s.p);
        else
            touch(s);
        for (uint32_t k = 0; k < 3 && p.v[i].type & PST_MANY; k++)
            touch(pst_many_item(s, k));
        pst_arena_return(&r->arena, mark);
    }
}

static void all_rows(struct pst_reader *r, uint64_t data, uint64_t sub)
{
    struct pst_table t;
    if (pst_table_open(r, data, sub, &t).state == PST_LOST)
        return;
    for (uint64_t i = 0; i < t.n && i < 1000; i++) {
        struct pst_span row;
        struct pst_mark mark = pst_arena_mark(&r->arena);
        if (pst_table_row(&t, i, &row).state != PST_LOST) {
            touch(row);
            for (uint32_t k = 0; k < t.n_columns; k++) {
                struct pst_value v;
                struct pst_span s;
                if (pst_table_cell(&t, row, t.columns[k].id, &v) &&
                    pst_value_read(&t.heap, t.sub, &v, &s).state != PST_LOST)
                    touch(s);
            }
        }
        pst_arena_return(&r->arena, mark);
    }
}

struct visit {
    struct pst_reader *r;
    unsigned depth, left;
};

static int on_subnode(void *ctx, const struct pst_subnode *n)
{
    struct visit *v = ctx;
    struct pst_verdict ignored;
    struct pst_mark mark = pst_arena_mark(&v->r->arena);
    if (v->left == 0 || v->depth == NESTING_MAX)
        return 1;
    v->left--;
    v->depth++;
    all_props(v->r, n->data, n->sub);
    all_rows(v->r, n->data, n->sub);
    (void)pst_subnode_walk(v->r, n->sub, on_subnode, v, &ignored);
    v->depth--;
    pst_arena_return(&v->r->arena, mark);
    return 0;
}

static int on_node(void *ctx, const struct pst_node *n)
{
    struct visit *v = ctx;
    struct pst_verdict ignored;
    struct pst_mark mark = pst_arena_mark(&v->r->arena);
    if (v->left == 0)
        return 1;
    v->left--;
    all_props(v->r, n->data, n->sub);
    all_rows(v->r, n->data, n->sub);
    (void)pst_subnode_walk(v->r, n->sub, on_subnode, v, &ignored);
    pst_arena_return(&v->r->arena, mark);
    return 0;
}

static int on_entry(void *ctx, const struct pst_entry *e)
{
    uint32_t *before = ctx;
    mh_assert(e->by != 0 && e->nid >= *before);
    *before = e->nid;
    return 0;
}

static void all_folders(struct pst_reader *r)
{
    struct pst_store s;
    struct mh_err err;
    struct pst_verdict v;
    if (pst_store_read(r, &s, &err))
        abort();
    for (size_t i = 0; i < s.n_folders && i < 200; i++) {
        struct mh_buf path = MH_BUF_INIT;
        uint32_t before = 0;
        pst_store_path(&s, &s.folders[i], &path);
        (void)pst_store_items(r, &s, &s.folders[i], i % 2, on_entry, &before, &v);
        mh_buf_done(&path);
    }
    pst_store_done(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct mh_err err;
    struct pst_file *f = NULL;
    struct pst_reader r;
    struct pst_names names;
    int fd = memfd_create("archive", MFD_CLOEXEC);
    uint8_t *copy = mh_alloc(size + 1);
    if (fd < 0 || !copy || size == 0 || size > FUZZ_MAX_BYTES)
        goto out;
    memcpy(copy, data, size);
    if (data[size - 1] & 1)
        heal(copy, size);
    if (write(fd, copy, size) != (ssize_t)size)
        abort();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (pst_file_open(path, data[size - 1] & 2 ? PST_ACCESS_READ : PST_ACCESS_BEST, &f, &err))
        goto out;
    pst_reader_init(&r, f, ARENA_BYTES);
    struct visit v = {.r = &r, .left = 2000};
    (void)pst_node_walk(f, on_node, &v);
    if (pst_names_read(&r, &names, &err))
        abort();
    pst_names_done(&names);
    all_folders(&r);
    pst_reader_done(&r);
    pst_file_close(f);
out:
    mh_free(copy);
    if (fd >= 0)
        (void)close(fd);
    return 0;
}
