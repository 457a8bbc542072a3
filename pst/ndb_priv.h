/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the node database: the layouts of the three formats, pages, trees.
 */
#ifndef MH_PST_NDB_PRIV_H
#define MH_PST_NDB_PRIV_H

#include "pst/ndb.h"
#include "pst/scan.h"

enum {
    PAGE_MAX_BYTES = 4096,
    TREE_LEVELS_MAX = 8, /* 20 entries a page and 8 levels: more blocks than fit into 2^64 octets */
    BLOCK_MAX_BYTES = 65536, /* of the 4K format; 8192 in the others, the trailer included */
};

enum page_type { PAGE_BLOCKS = 0x80, PAGE_NODES = 0x81, PAGE_ALLOCATION = 0x84 };

/* Where things stand in each format: octets. */
struct layout {
    enum pst_format format;
    uint32_t page_bytes;
    uint32_t entries_bytes; /* room for a page's entries; what follows counts them */
    uint32_t page_trailer;  /* offset in the page */
    uint32_t block_align;   /* blocks begin at multiples of it, and are padded to them */
    uint32_t block_trailer; /* size */
    uint32_t block_max;     /* with padding and trailer */
    uint32_t id_bytes;      /* of a BID, an offset, a key */
    uint32_t branch_bytes;  /* an entry that leads to another page */
    uint32_t node_bytes;    /* a leaf's entry */
    uint32_t place_bytes;   /* a leaf's entry */
    uint32_t list_head;     /* XBLOCK: before its BIDs */
    uint32_t sub_head;      /* SLBLOCK, SIBLOCK: before their entries */
};

extern const struct layout layouts[3];

struct tree {
    enum page_type type;
    uint64_t root_at, root_bid;
};

struct pst_file {
    struct pst_bytes *bytes; /* owned */
    const struct layout *lay;
    struct tree nodes, blocks;
    int64_t moved;            /* octets that pages lie behind the places that are written of them */
    struct pst_scan *salvage; /* owned; NULL: the trees are whole and answer everything */
    struct pst_facts facts;
};

/* An id of this format's width. */
static inline uint64_t get_id(const struct layout *lay, const uint8_t *p)
{
    return lay->id_bytes == 8 ? pst_u64(p) : pst_u32(p);
}

/* A page's or block's trailer. */
struct trailer {
    uint32_t size; /* a block's octets */
    uint32_t plain_size;
    uint8_t type, type_again; /* a page's */
    uint16_t signature;
    uint32_t crc;
    uint64_t bid;
};

/* A block of SIZE octets with its trailer, padded. */
uint32_t slot_bytes(const struct layout *lay, uint32_t size);
void page_trailer_get(const struct layout *lay, const uint8_t *p, struct trailer *out);
void block_trailer_get(const struct layout *lay, const uint8_t *p, struct trailer *out);

/* A page of one of the trees, proved. */
struct page {
    const uint8_t *entries;
    uint32_t n;
    uint32_t entry_bytes;
    unsigned level; /* 0: a leaf */
};

/* What PAGE, which lies at AT, says behind its entries. */
struct pst_verdict page_get(const struct layout *lay, const uint8_t *page, uint64_t at,
                            enum page_type type, struct page *out);
/* ROOM: PAGE_MAX_BYTES, needed where the file is not mapped. */
struct pst_verdict page_read(const struct pst_file *f, uint64_t at, uint64_t bid,
                             enum page_type type, uint8_t *room, struct page *out);
static inline const uint8_t *page_entry(const struct page *p, uint32_t i)
{
    return p->entries + (size_t)i * p->entry_bytes;
}
/* The key of entry I: a NID or a BID. */
uint64_t page_key(const struct layout *lay, enum page_type type, const struct page *p, uint32_t i);

void node_get(const struct layout *lay, const uint8_t *p, struct pst_node *out);
void place_get(const struct layout *lay, const uint8_t *p, struct pst_place *out);

/* Looks a whole tree through, from its root; what is proved is counted into *FACTS. */
void tree_prove(const struct pst_file *f, const struct tree *t, struct pst_tree_facts *facts);
/* The leaf's entry for KEY, in ROOM's page or the mapping; NULL: V says why. */
const uint8_t *tree_find(const struct pst_file *f, const struct tree *t, uint64_t key,
                         uint8_t *room, struct pst_verdict *v);
typedef int tree_entry_fn(void *ctx, const uint8_t *entry);
int tree_walk(const struct pst_file *f, const struct tree *t, tree_entry_fn *fn, void *ctx);

/* What the data of one node can have at the most: each of its blocks lies in the file but once. */
uint64_t pst_most_octets(const struct pst_file *f);

struct pst_verdict place_find(const struct pst_file *f, uint64_t bid, struct pst_place *out);

static inline struct pst_verdict verdict(enum pst_state state, enum pst_why why, uint64_t about)
{
    return (struct pst_verdict){state, why, about};
}

static inline struct pst_verdict fine(void)
{
    return verdict(PST_OK, PST_WHY_NONE, 0);
}

static inline struct pst_verdict lost(enum pst_why why, uint64_t about)
{
    return verdict(PST_LOST, why, about);
}

#endif
