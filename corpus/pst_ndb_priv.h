/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_ndb_priv.h: what the two halves of the node database's writer share: pst_ndb.c writes blocks
 * as they come, pst_ndb_tree.c the trees, maps and header at the end.
 *
 * Memory: struct mhc_ndb owns all that it points to, but for `trace`. Threads: one.
 */
#ifndef MHC_PST_NDB_PRIV_H
#define MHC_PST_NDB_PRIV_H

#include "pst_ndb.h"

enum {
    MHC_PAGE_BLOCKS = 0x80,
    MHC_PAGE_NODES = 0x81,
    MHC_PAGE_FMAP = 0x82,
    MHC_PAGE_PMAP = 0x83,
    MHC_PAGE_AMAP = 0x84,
    MHC_PAGE_FPMAP = 0x85,
    MHC_PAGE_DLIST = 0x86,
    MHC_NDB_MAPS_MAX = 4,
    MHC_NDB_PAGE_MAX = 4096,
};

/* Sizes and offsets in octets. */
struct mhc_ndb_layout {
    unsigned version;
    uint32_t page_bytes;
    uint32_t entries_bytes; /* of a page of a tree; what follows counts them */
    uint32_t page_trailer;  /* where it begins */
    uint32_t map_at;        /* where the bits of a map's page begin */
    uint32_t align;         /* of blocks; one bit of a map stands for as much */
    uint32_t trailer_bytes; /* of a block */
    uint32_t block_bytes;   /* the most data of a block */
    uint32_t id_bytes;
    uint32_t node_bytes; /* a leaf's entry */
    uint32_t place_bytes;
    uint32_t sub_head_bytes;
    uint64_t first_map;
    uint64_t section_bytes; /* what one allocation map stands for */
    uint64_t size_max;
};

struct mhc_ndb_node {
    uint32_t nid;
    uint32_t parent;
    struct mhc_ndb_body body;
    bool is_doomed;
};

struct mhc_ndb_place {
    uint64_t bid;
    uint64_t at;
    uint16_t size;       /* in the file */
    uint16_t plain_size; /* inflated */
    bool is_doomed;
};

struct mhc_ndb {
    int fd;
    char *path;
    enum mhc_pst_format format;
    enum pst_encoding encoding;
    const struct mhc_ndb_layout *lay;
    uint64_t next_bid;
    uint64_t next_page_bid;
    uint32_t next_index[MHC_NID_TYPES];
    struct mhc_ndb_place *places; /* by BID */
    size_t place_count, place_cap;
    struct mhc_ndb_node *nodes; /* as they came */
    size_t node_count, node_cap;
    uint64_t end;            /* of what is allocated */
    uint64_t sections;       /* begun */
    struct mhc_extents gaps; /* free room before `end` */
    struct mhc_extents *trace;
    uint8_t *scratch, *packed; /* one block each */
    struct mhc_buf out;        /* not written yet */
    uint64_t out_at;
    bool is_failed; /* `err` says why */
    struct mhc_err err;
};

/* Anywhere in the file. */
void mhc_ndb_write_at(struct mhc_ndb *ndb, uint64_t at, const void *bytes, size_t len);
/* Behind what was put before. */
void mhc_ndb_put(struct mhc_ndb *ndb, uint64_t at, const void *bytes, size_t len);
void mhc_ndb_flush(struct mhc_ndb *ndb);
uint64_t mhc_ndb_allocate(struct mhc_ndb *ndb, uint64_t bytes, uint64_t align);
void mhc_extents_add(struct mhc_extents *extents, uint64_t at, uint64_t bytes);
uint64_t mhc_ndb_section_start(const struct mhc_ndb *ndb, uint64_t section);
/* The types of the map pages that a section begins with; returns how many. */
unsigned mhc_ndb_maps_of(uint64_t section, uint8_t types[MHC_NDB_MAPS_MAX]);
/* A BID or an offset, as wide as the format has it. */
void mhc_ndb_put_id(const struct mhc_ndb *ndb, uint8_t *p, uint64_t id);

#endif
