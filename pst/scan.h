/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Salvage: what an archive holds, found without its header and its trees.
 *
 * Every page and every block ends with a trailer that names it and proves it. So the whole file is
 * looked through for trailers, in steps of the smallest alignment: leaves of the node tree say which
 * nodes there are, or were; blocks say by themselves which ones they are.
 *
 * A signature holds an object to its place. Where all places are moved (something was put before the
 * archive, or cut out of it) they all fail by the same distance; the pages, which prove by themselves,
 * tell it.
 *
 * pst_scan_run() fills a struct pst_scan, which is only read from then on, by any thread; whoever ran
 * it gives it back.
 */
#ifndef MH_PST_SCAN_H
#define MH_PST_SCAN_H

#include "pst/ndb.h"

enum { PST_SHIFTS_MAX = 8 };

struct pst_found_block {
    uint64_t key;   /* BID without its lowest bit */
    uint32_t at_64; /* offset in the file, in steps of 64 octets */
    uint16_t size;
    bool is_suspect; /* its CRC is another */
};

/* How a node was found. */
enum pst_life {
    PST_ALIVE,   /* in the newest leaf that could have it */
    PST_FORMER,  /* an older version of one that is alive */
    PST_DELETED, /* in an older leaf only */
};

struct pst_found_node {
    struct pst_node node;
    uint64_t leaf_bid; /* of the page: the newer the greater */
    enum pst_life life;
};

struct pst_scan {
    struct pst_found_block *blocks; /* owned; by key, the best of each first */
    size_t n_blocks, cap_blocks;
    struct pst_found_node *nodes; /* owned; by NID, the newest of each first */
    size_t n_nodes, cap_nodes;
    int64_t shifts[PST_SHIFTS_MAX]; /* octets that things lie behind their places; the first is 0 */
    unsigned n_shifts;
    uint64_t pages; /* proved ones, of the node tree */
};

/* MH_ERUN: out of memory. thread: any, takes as long as reading the file does */
int pst_scan_run(const struct pst_file *f, struct pst_scan *out, struct mh_err *err) MH_MUST_CHECK;
void pst_scan_done(struct pst_scan *s);
/* With the struct itself; NULL is allowed. */
void pst_scan_free(struct pst_scan *s);

/* NULL: there is none. */
const struct pst_found_block *pst_scan_block(const struct pst_scan *s, uint64_t bid);
/* The one that is alive, or NULL. */
const struct pst_found_node *pst_scan_node(const struct pst_scan *s, uint32_t nid);

#endif
