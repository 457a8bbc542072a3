/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an archive has at its end: the two trees ([MS-PST] 2.2.2.7.7), and what is put where room was
 * kept for it: the allocation maps and the header.
 */
#include "pst_ndb_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- pages --- */

static void seal_page(const struct mhc_ndb *ndb, uint8_t *page, unsigned type, uint64_t at,
                      uint64_t bid)
{
    const struct mhc_ndb_layout *lay = ndb->lay;
    uint8_t *p = page + lay->page_trailer;
    uint32_t crc = pst_crc(page, lay->page_trailer);
    bool is_tree = type == MHC_PAGE_BLOCKS || type == MHC_PAGE_NODES;
    p[0] = (uint8_t)type;
    p[1] = (uint8_t)type;
    pst_put_u16(p + 2, is_tree ? pst_signature(at, bid) : 0);
    if (ndb->format == MHC_PST_ANSI) {
        pst_put_u32(p + 4, (uint32_t)bid);
        pst_put_u32(p + 8, crc);
    } else {
        pst_put_u32(p + 4, crc);
        pst_put_u64(p + 8, bid);
    }
}

/* --- trees --- */

struct root {
    uint64_t bid;
    uint64_t at;
};

/* A page of the level below, as the level above knows it. */
struct branch {
    uint64_t key;
    struct root page;
};

struct tree {
    struct mhc_ndb *ndb;
    unsigned type;
    bool is_former; /* its own pages are free room */
    size_t leaf_count;
    size_t entry_bytes; /* of a leaf */
};

static uint64_t put_leaf_entry(const struct tree *t, uint8_t *p, size_t i)
{
    const struct mhc_ndb *ndb = t->ndb;
    size_t w = ndb->lay->id_bytes;
    if (t->type == MHC_PAGE_NODES) {
        const struct mhc_ndb_node *node = &ndb->nodes[i];
        mhc_ndb_put_id(ndb, p, node->nid);
        mhc_ndb_put_id(ndb, p + w, node->body.data);
        mhc_ndb_put_id(ndb, p + 2 * w, node->body.sub);
        pst_put_u32(p + 3 * w, node->parent);
        return node->nid;
    }
    enum { REFERENCES = 2 }; /* the one that uses it, and the tree's own */
    const struct mhc_ndb_place *place = &ndb->places[i];
    uint8_t *sizes = p + 2 * w;
    bool is_wide = ndb->format == MHC_PST_OST4K;
    mhc_ndb_put_id(ndb, p, place->bid);
    mhc_ndb_put_id(ndb, p + w, place->at);
    pst_put_u16(sizes, place->size);
    pst_put_u16(sizes + 2, is_wide ? place->plain_size : REFERENCES);
    if (is_wide) {
        pst_put_u16(sizes + 4, REFERENCES);
    }
    return place->bid;
}

static struct branch write_page(const struct tree *t, unsigned level, const struct branch *below,
                                size_t from, size_t count)
{
    struct mhc_ndb *ndb = t->ndb;
    const struct mhc_ndb_layout *lay = ndb->lay;
    uint8_t page[MHC_NDB_PAGE_MAX] = {0};
    size_t w = lay->id_bytes;
    size_t entry_bytes = level > 0 ? 3 * w : t->entry_bytes;
    struct branch out = {0};
    for (size_t i = 0; i < count; i++) {
        uint8_t *p = page + i * entry_bytes;
        uint64_t key = level > 0 ? below[from + i].key : put_leaf_entry(t, p, from + i);
        if (level > 0) {
            mhc_ndb_put_id(ndb, p, key);
            mhc_ndb_put_id(ndb, p + w, below[from + i].page.bid);
            mhc_ndb_put_id(ndb, p + 2 * w, below[from + i].page.at);
        }
        out.key = i == 0 ? key : out.key;
    }
    uint8_t *tail = page + lay->entries_bytes;
    size_t most = lay->entries_bytes / entry_bytes;
    if (ndb->format == MHC_PST_OST4K) {
        pst_put_u16(tail, (unsigned)count);
        pst_put_u16(tail + 2, (unsigned)most);
        tail += 2;
    } else {
        tail[0] = (uint8_t)count;
        tail[1] = (uint8_t)most;
    }
    tail[2] = (uint8_t)entry_bytes;
    tail[3] = (uint8_t)level;
    out.page.bid = ndb->next_page_bid;
    ndb->next_page_bid += 4;
    out.page.at = mhc_ndb_allocate(ndb, lay->page_bytes, lay->page_bytes);
    seal_page(ndb, page, t->type, out.page.at, out.page.bid);
    mhc_ndb_put(ndb, out.page.at, page, lay->page_bytes);
    if (t->is_former) {
        mhc_extents_add(&ndb->gaps, out.page.at, lay->page_bytes);
    }
    return out;
}

/* Level by level, each page full but the last; the branches of a level take the place of those below. */
static struct root write_tree(const struct tree *t)
{
    const struct mhc_ndb_layout *lay = t->ndb->lay;
    size_t most = lay->entries_bytes / t->entry_bytes;
    size_t count = t->leaf_count;
    struct branch *v = mhc_alloc((count / most + 2) * sizeof(*v));
    for (unsigned level = 0;; level++) {
        size_t pages = 0;
        for (size_t at = 0; at < count || pages == 0; at += most) {
            size_t part = count - at < most ? count - at : most;
            v[pages++] = write_page(t, level, v, at, part);
        }
        if (pages == 1) {
            break;
        }
        count = pages;
        most = lay->entries_bytes / (3 * (size_t)lay->id_bytes);
    }
    struct root root = v[0].page;
    free(v);
    return root;
}

static int by_nid(const void *a, const void *b)
{
    uint32_t x = ((const struct mhc_ndb_node *)a)->nid;
    uint32_t y = ((const struct mhc_ndb_node *)b)->nid;
    return x < y ? -1 : x > y;
}

static void write_trees(struct mhc_ndb *ndb, bool is_former, struct root *nodes_out,
                        struct root *blocks_out)
{
    if (ndb->node_count > 1) {
        qsort(ndb->nodes, ndb->node_count, sizeof(*ndb->nodes), by_nid);
    }
    struct tree nodes = {.ndb = ndb,
                         .type = MHC_PAGE_NODES,
                         .is_former = is_former,
                         .leaf_count = ndb->node_count,
                         .entry_bytes = ndb->lay->node_bytes};
    struct tree blocks = {.ndb = ndb,
                          .type = MHC_PAGE_BLOCKS,
                          .is_former = is_former,
                          .leaf_count = ndb->place_count,
                          .entry_bytes = ndb->lay->place_bytes};
    *nodes_out = write_tree(&nodes);
    *blocks_out = write_tree(&blocks);
}

static void free_slot(struct mhc_ndb *ndb, const struct mhc_ndb_place *place)
{
    const struct mhc_ndb_layout *lay = ndb->lay;
    uint64_t slot =
        (place->size + (uint64_t)lay->trailer_bytes + lay->align - 1) / lay->align * lay->align;
    mhc_extents_add(&ndb->gaps, place->at, slot);
}

void mhc_ndb_forget(struct mhc_ndb *ndb)
{
    struct root unused;
    write_trees(ndb, true, &unused, &unused);
    size_t kept = 0;
    for (size_t i = 0; i < ndb->place_count; i++) {
        if (ndb->places[i].is_doomed) {
            free_slot(ndb, &ndb->places[i]);
        } else {
            ndb->places[kept++] = ndb->places[i];
        }
    }
    ndb->place_count = kept;
    kept = 0;
    for (size_t i = 0; i < ndb->node_count; i++) {
        if (!ndb->nodes[i].is_doomed) {
            ndb->nodes[kept++] = ndb->nodes[i];
        }
    }
    ndb->node_count = kept;
}

/* --- maps ([MS-PST] 2.2.2.7.2) --- */

static int by_place(const void *a, const void *b)
{
    uint64_t x = ((const struct mhc_extent *)a)->at;
    uint64_t y = ((const struct mhc_extent *)b)->at;
    return x < y ? -1 : x > y;
}

static void clear_bits(uint8_t *bits, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        bits[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    }
}

/* The pages that a section begins with; `gap` is the first that may lie in it. Returns its free octets. */
static uint64_t write_maps(struct mhc_ndb *ndb, uint64_t section, size_t *gap)
{
    const struct mhc_ndb_layout *lay = ndb->lay;
    uint8_t types[MHC_NDB_MAPS_MAX];
    uint64_t start = mhc_ndb_section_start(ndb, section);
    uint64_t free_bytes = 0;
    unsigned n = mhc_ndb_maps_of(section, types);
    for (unsigned i = 0; i < n; i++) {
        uint8_t page[MHC_NDB_PAGE_MAX] = {0};
        uint8_t *bits = page + lay->map_at;
        uint64_t at = start + (uint64_t)i * lay->page_bytes;
        memset(bits, 0xff, lay->section_bytes / lay->align / 8);
        for (;
             i == 0 && *gap < ndb->gaps.count && ndb->gaps.v[*gap].at < start + lay->section_bytes;
             ++*gap) {
            const struct mhc_extent *e = &ndb->gaps.v[*gap];
            clear_bits(bits, (e->at - start) / lay->align, e->bytes / lay->align);
            free_bytes += e->bytes;
        }
        seal_page(ndb, page, types[i], at, at);
        mhc_ndb_write_at(ndb, at, page, lay->page_bytes);
    }
    return free_bytes;
}

static uint64_t write_all_maps(struct mhc_ndb *ndb)
{
    uint64_t section_end = mhc_ndb_section_start(ndb, ndb->sections);
    uint64_t free_bytes = 0;
    size_t gap = 0;
    if (section_end > ndb->end) {
        mhc_extents_add(&ndb->gaps, ndb->end, section_end - ndb->end);
    }
    qsort(ndb->gaps.v, ndb->gaps.count, sizeof(*ndb->gaps.v), by_place);
    for (uint64_t i = 0; i < ndb->sections; i++) {
        free_bytes += write_maps(ndb, i, &gap);
    }
    uint8_t page[MHC_NDB_PAGE_MAX] = {0};
    uint64_t list_at = ndb->lay->first_map - ndb->lay->page_bytes;
    seal_page(ndb, page, MHC_PAGE_DLIST, list_at, list_at);
    mhc_ndb_write_at(ndb, list_at, page, ndb->lay->page_bytes);
    return free_bytes;
}

/* --- the header ([MS-PST] 2.2.2.6) --- */

/* Where the two forms of it differ. */
struct header_form {
    unsigned bytes, next_page_bid, unique, nids, root, eof, last_map, free_bytes, node_root,
        block_root, is_valid, filler, sentinel, next_bid, crc_full;
};

static const struct header_form ansi_form = {512, 28,  32,  36,  164, 168, 172, 176,
                                             184, 192, 200, 204, 460, 24,  0};
static const struct header_form unicode_form = {564, 32,  40,  44,  180, 184, 192, 200,
                                                216, 232, 248, 256, 512, 516, 524};

static void put_root(const struct mhc_ndb *ndb, uint8_t *p, const struct root *root)
{
    mhc_ndb_put_id(ndb, p, root->bid);
    mhc_ndb_put_id(ndb, p + ndb->lay->id_bytes, root->at);
}

static void write_header(struct mhc_ndb *ndb, const struct root *nodes, const struct root *blocks,
                         uint64_t size, uint64_t free_bytes)
{
    enum {
        CRC_FROM = 8,
        CRC_PARTIAL_BYTES = 471,
        CRC_FULL_BYTES = 516,
        VERSION_OF_PST = 19,
        VERSION_OF_OST = 12,
        FILLER_BYTES = 256,
        SENTINEL = 0x80,
        MAPS_ARE_VALID = 2,
    };
    static const uint8_t magic[] = {'!', 'B', 'D', 'N'};
    uint8_t h[564] = {0};
    bool is_ost = ndb->format == MHC_PST_OST4K;
    const struct header_form *form = ndb->format == MHC_PST_ANSI ? &ansi_form : &unicode_form;
    memcpy(h, magic, sizeof(magic));
    h[8] = 'S';
    h[9] = is_ost ? 'O' : 'M';
    pst_put_u16(h + 10, ndb->lay->version);
    pst_put_u16(h + 12, is_ost ? VERSION_OF_OST : VERSION_OF_PST);
    h[14] = 1;
    h[15] = 1;
    mhc_ndb_put_id(ndb, h + form->next_page_bid, ndb->next_page_bid);
    pst_put_u32(h + form->unique, (uint32_t)ndb->place_count);
    for (unsigned type = 0; type < MHC_NID_TYPES; type++) {
        pst_put_u32(h + form->nids + 4 * (size_t)type, ndb->next_index[type]);
    }
    mhc_ndb_put_id(ndb, h + form->eof, size);
    mhc_ndb_put_id(ndb, h + form->last_map, mhc_ndb_section_start(ndb, ndb->sections - 1));
    mhc_ndb_put_id(ndb, h + form->free_bytes, free_bytes);
    put_root(ndb, h + form->node_root, nodes);
    put_root(ndb, h + form->block_root, blocks);
    h[form->is_valid] = MAPS_ARE_VALID;
    memset(h + form->filler, 0xff, FILLER_BYTES);
    h[form->sentinel] = SENTINEL;
    h[form->sentinel + 1] = (uint8_t)ndb->encoding;
    mhc_ndb_put_id(ndb, h + form->next_bid, ndb->next_bid);
    pst_put_u32(h + 4, pst_crc(h + CRC_FROM, CRC_PARTIAL_BYTES));
    if (form->crc_full != 0) {
        pst_put_u32(h + form->crc_full, pst_crc(h + CRC_FROM, CRC_FULL_BYTES));
    }
    mhc_ndb_write_at(ndb, 0, h, form->bytes);
}

/* --- closing --- */

static void free_ndb(struct mhc_ndb *ndb)
{
    mhc_extents_done(&ndb->gaps);
    mhc_buf_done(&ndb->out);
    free(ndb->places);
    free(ndb->nodes);
    free(ndb->scratch);
    free(ndb->packed);
    free(ndb->path);
    free(ndb);
}

int mhc_ndb_close(struct mhc_ndb *ndb, uint64_t *size_out, struct mhc_err *err)
{
    struct root nodes;
    struct root blocks;
    uint64_t page = ndb->lay->page_bytes;
    write_trees(ndb, false, &nodes, &blocks);
    mhc_ndb_flush(ndb);
    /* A section of the 4K format is large: such a file ends with its last page. */
    uint64_t size = ndb->format == MHC_PST_OST4K ? (ndb->end + page - 1) / page * page
                                                 : mhc_ndb_section_start(ndb, ndb->sections);
    size = size < ndb->lay->size_max ? size : ndb->end;
    uint64_t free_bytes = write_all_maps(ndb);
    write_header(ndb, &nodes, &blocks, size, free_bytes);
    bool is_cut = ftruncate(ndb->fd, (off_t)size) != 0;
    bool is_lost = close(ndb->fd) != 0;
    int rc = MHC_OK;
    *size_out = size;
    if (ndb->is_failed) {
        *err = ndb->err;
        rc = MHC_EFAIL;
    } else if (is_cut || is_lost) {
        rc = mhc_fail(err, MHC_EFAIL, "%s: %s", ndb->path, strerror(errno));
    }
    free_ndb(ndb);
    return rc;
}
