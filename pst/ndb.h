/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The node database of an archive ([MS-PST] 2.2): which nodes there are, and the blocks that hold
 * what they say. ANSI (wVer 14, 15), Unicode (23) and the 4K pages of newer OSTs (36) alike.
 *
 * Two look-ups answer everything: a node by its NID, a block by its BID. They are answered by the
 * file's two trees, and by a scan of the whole file for page and block trailers where the trees are
 * hurt (scan.h); nothing above knows which it was, but each answer carries how far it is proved.
 *
 * struct pst_file is one archive: opened once, then read by any number of threads without a lock;
 * whoever opened it closes it behind the last reader. struct pst_reader is one thread's way to read
 * it, with an arena for what has to be decoded.
 *
 * It trusts nothing that the file says: every offset, count and length is held against what there
 * is, every page and block proved by type, signature, CRC and identity before it is used, every
 * nesting bounded. A damaged file is a result, not an error: errors are for what is no archive, or
 * cannot be read at all.
 */
#ifndef MH_PST_NDB_H
#define MH_PST_NDB_H

#include <stdbool.h>

#include "base/error.h"
#include "pst/arena.h"
#include "pst/bytes.h"
#include "pst/code.h"

/* --- how far something is proved -------------------------------------------------------------- */

enum pst_state {
    PST_OK,      /* everything it stands on is proved */
    PST_SUSPECT, /* readable, but something about it does not fit: WHY */
    PST_LOST,    /* not there: WHY */
};

enum pst_why {
    PST_WHY_NONE,
    PST_WHY_CUT,       /* lies behind the end of the file, or could not be read */
    PST_WHY_TYPE,      /* something else lies there */
    PST_WHY_SIGNATURE, /* its signature is that of another place */
    PST_WHY_CRC,       /* its octets have changed */
    PST_WHY_IDENTITY,  /* it says that it is another one */
    PST_WHY_SIZE,      /* its sizes contradict each other */
    PST_WHY_ORDER,     /* its entries are not in order */
    PST_WHY_NO_BLOCK,  /* no index knows the block */
    PST_WHY_NO_NODE,   /* no index knows the node */
    PST_WHY_NESTING,   /* leads back to itself, or deeper than the format goes */
    PST_WHY_LIMIT,     /* more than an archive of this size can hold, or than we take */
    PST_WHY_DEFLATE,   /* its compressed octets are broken */
    PST_WHY_MEMORY,    /* we have no memory for it */
};

/* The worst of what something stands on; the first of its kind. */
struct pst_verdict {
    enum pst_state state;
    enum pst_why why;
    uint64_t about; /* the BID, NID or file offset that WHY is about */
};

/* V becomes the worse of V and OTHER. */
void pst_worsen(struct pst_verdict *v, struct pst_verdict other);
/* "changed octets", … for people and the ledger. */
const char *pst_why_text(enum pst_why why);

/* --- identities ------------------------------------------------------------------------------- */

/* A NID's low five bits ([MS-PST] 2.2.2.1). */
enum pst_nid_type {
    PST_NID_HID = 0x00,
    PST_NID_INTERNAL = 0x01,
    PST_NID_FOLDER = 0x02,
    PST_NID_SEARCH_FOLDER = 0x03,
    PST_NID_MESSAGE = 0x04,
    PST_NID_ATTACHMENT = 0x05,
    PST_NID_SEARCH_UPDATES = 0x06,
    PST_NID_SEARCH_CRITERIA = 0x07,
    PST_NID_ASSOCIATED = 0x08,
    PST_NID_CONTENTS_INDEX = 0x0a,
    PST_NID_RECEIVE_FOLDERS = 0x0b,
    PST_NID_OUTGOING_QUEUE = 0x0c,
    PST_NID_HIERARCHY_TABLE = 0x0d,
    PST_NID_CONTENTS_TABLE = 0x0e,
    PST_NID_ASSOCIATED_TABLE = 0x0f,
    PST_NID_SEARCH_CONTENTS_TABLE = 0x10,
    PST_NID_ATTACHMENT_TABLE = 0x11,
    PST_NID_RECIPIENT_TABLE = 0x12,
    PST_NID_SEARCH_INDEX = 0x13,
    PST_NID_LTP = 0x1f,
};

static inline enum pst_nid_type pst_nid_type(uint32_t nid)
{
    return (enum pst_nid_type)(nid & 0x1f);
}

/* The node of TYPE that belongs to NID: a folder's contents table, … */
static inline uint32_t pst_nid_of(uint32_t nid, enum pst_nid_type type)
{
    return (nid & ~0x1fu) | type;
}

/* Nodes that every archive has ([MS-PST] 2.4.1). */
enum {
    PST_NID_MESSAGE_STORE = 0x21,
    PST_NID_NAME_MAP = 0x61,
    PST_NID_ROOT_FOLDER = 0x122,
};

/* Blocks of the file itself (lists of blocks, subnodes) are never encoded ([MS-PST] 2.2.2.2). */
static inline bool pst_bid_is_internal(uint64_t bid)
{
    return (bid & 2) != 0;
}

/* The lowest bit of a BID says nothing about which one it is. */
static inline uint64_t pst_bid_key(uint64_t bid)
{
    return bid & ~(uint64_t)1;
}

/* --- the archive ------------------------------------------------------------------------------ */

enum pst_format { PST_ANSI, PST_UNICODE, PST_UNICODE_4K };

struct pst_node {
    uint32_t nid;
    uint32_t parent; /* of folders and their items; 0: none */
    uint64_t data;   /* BID; 0: none */
    uint64_t sub;    /* BID of the subnodes; 0: none */
};

/* Where a block lies. In a file whose contents are moved this is where it is, not where it should be. */
struct pst_place {
    uint64_t bid;
    uint64_t at;   /* offset in the file */
    uint32_t size; /* octets in the file, without padding and trailer */
};

/* What one tree is like, looked through from its root at open. */
struct pst_tree_facts {
    uint64_t root_at, root_bid; /* as the header has them */
    uint64_t pages, entries;    /* proved ones */
    struct pst_verdict verdict; /* SUSPECT: parts of it are lost; LOST: its root is */
};

struct pst_facts {
    enum pst_format format;
    enum pst_encoding encoding;
    unsigned version;        /* wVer */
    bool is_ost;             /* made by an Exchange or IMAP cache */
    uint64_t size;           /* of the file */
    uint64_t announced_size; /* what the header says that it is; 0: unknown */
    struct pst_verdict header;
    struct pst_tree_facts nodes, blocks;
    bool is_salvaged; /* what a tree could not answer is answered by a scan of the file */
    bool
        is_guessed; /* format or encoding are not the header's word, but what the contents are like */
    int64_t shift; /* octets that its contents lie behind their places; 0 where they should */
};

struct pst_file;

/*
 * Opens the archive at PATH and looks its trees through; where they are hurt, the whole file. MH_EUSAGE:
 * no archive and nothing in it that is of one, or what pst_bytes_open() says; MH_ERUN: out of memory.
 * thread: any
 */
int pst_file_open(const char *path, enum pst_access access, struct pst_file **out,
                  struct mh_err *err) MH_MUST_CHECK;
/* NULL is allowed. */
void pst_file_close(struct pst_file *f);
const struct pst_facts *pst_file_facts(const struct pst_file *f);

/* --- reading ---------------------------------------------------------------------------------- */

struct pst_reader {
    const struct pst_file *file; /* borrowed */
    struct pst_arena arena;      /* what is read lies here, unless it lies in the mapping */
};

/* ARENA_BYTES: the most that one item may need. */
void pst_reader_init(struct pst_reader *r, const struct pst_file *f, size_t arena_bytes);
void pst_reader_done(struct pst_reader *r);

/* PST_LOST with PST_WHY_NO_NODE: there is none. */
struct pst_verdict pst_node_find(const struct pst_file *f, uint32_t nid, struct pst_node *out);

/* Called in the order of NIDs; a return other than 0 ends the walk and is its result. */
typedef int pst_node_fn(void *ctx, const struct pst_node *node);
/* All nodes that the trees, or the scan in their place, know. */
int pst_node_walk(const struct pst_file *f, pst_node_fn *fn, void *ctx);

struct pst_span {
    const uint8_t *p; /* borrowed: the mapping or the reader's arena */
    size_t n;
};

/*
 * The octets of the block BID, decoded and inflated. SUSPECT: they are there, but their CRC is
 * another; LOST: *OUT is empty.
 */
struct pst_verdict pst_block_read(struct pst_reader *r, uint64_t bid, struct pst_span *out);

/* --- data of a node --------------------------------------------------------------------------- */

/* The blocks that a node's data is cut into ([MS-PST] 2.2.2.8.3.2), in order. */
struct pst_data {
    const uint64_t *bids; /* in the arena */
    uint32_t n;
    uint64_t size; /* octets in all, as announced; 0 for one block, which says so itself */
    struct pst_verdict verdict;
};

/* BID 0: no data at all. The verdict is *OUT's too. */
struct pst_verdict pst_data_open(struct pst_reader *r, uint64_t bid, struct pst_data *out);

/* --- subnodes --------------------------------------------------------------------------------- */

struct pst_subnode {
    uint32_t nid;
    uint64_t data, sub; /* BIDs; 0: none */
};

typedef int pst_subnode_fn(void *ctx, const struct pst_subnode *subnode);
/* All subnodes in the tree at BID, in the order of their NIDs. V: how far that tree is proved. */
int pst_subnode_walk(struct pst_reader *r, uint64_t bid, pst_subnode_fn *fn, void *ctx,
                     struct pst_verdict *v);
struct pst_verdict pst_subnode_find(struct pst_reader *r, uint64_t bid, uint32_t nid,
                                    struct pst_subnode *out);

#endif
