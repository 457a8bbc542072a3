/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A crit-bit tree over terminated strings. An inner node names the first bit in which its two sides
 * differ; a path down looks at one bit per node, and the one key it ends at is compared. The cost
 * of a call is the key's length, whatever the other keys are: folder names come from servers, and a
 * hash table would let them choose its collisions.
 */
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

/* A child is the index of an inner node, or of a leaf when LEAF is set. */
#define LEAF ((size_t)1 << (sizeof(size_t) * 8 - 1))

struct plan_strset_node {
    size_t child[2];
    size_t byte;         /* of the key */
    unsigned char other; /* all bits but the one that decides */
};

struct plan_strset_leaf {
    size_t key; /* offset into keys */
    size_t value;
};

/* There is one inner node fewer than leaves; index 0 is none of them: its child[0] is the link
 * to the root, so that the root changes like any other link. */

void plan_strset_done(struct plan_strset *s)
{
    mh_free(s->nodes);
    mh_free(s->leaves);
    mh_buf_done(&s->keys);
    *s = (struct plan_strset){0};
}

static unsigned direction(const struct plan_strset_node *n, const char *key, size_t len)
{
    unsigned char c = n->byte < len ? (unsigned char)key[n->byte] : 0;
    return (1u + (n->other | c)) >> 8;
}

/* The leaf a walk for KEY ends at: the only one that can be equal. */
static size_t walk(const struct plan_strset *s, const char *key, size_t len)
{
    size_t at = s->nodes[0].child[0];
    while (!(at & LEAF))
        at = s->nodes[at].child[direction(&s->nodes[at], key, len)];
    return at & ~LEAF;
}

static const char *key_of(const struct plan_strset *s, size_t leaf)
{
    return s->keys.data + s->leaves[leaf].key;
}

size_t *plan_strset_get(const struct plan_strset *s, const char *key)
{
    if (s->n == 0)
        return NULL;
    size_t leaf = walk(s, key, strlen(key));
    return strcmp(key_of(s, leaf), key) == 0 ? &s->leaves[leaf].value : NULL;
}

/* One room for both: it counts once the second one has it, too. */
static int grow(struct plan_strset *s, struct mh_err *err)
{
    size_t cap = s->cap;
    bool has_room = mh_grow(s->nodes, cap, s->n + 1) && mh_grow(s->leaves, s->cap, s->n + 1);
    return has_room ? 0 : plan_nomem(err);
}

/* Appends the leaf; its index is s->n before. */
static int add_leaf(struct plan_strset *s, const char *key, size_t len, size_t value,
                    struct mh_err *err)
{
    int rc = grow(s, err);
    if (rc)
        return rc;
    s->leaves[s->n] = (struct plan_strset_leaf){s->keys.len, value};
    mh_buf_add(&s->keys, key, len + 1);
    if (mh_buf_failed(&s->keys)) {
        s->keys.failed = false; /* the set stays as it was */
        return plan_nomem(err);
    }
    s->n++;
    return 0;
}

/* Where a node that decides at BYTE/OTHER has to be linked in on the way to KEY. */
static size_t *find_link(struct plan_strset *s, const char *key, size_t len, size_t byte,
                         unsigned char other)
{
    size_t *link = &s->nodes[0].child[0];
    while (!(*link & LEAF)) {
        struct plan_strset_node *n = &s->nodes[*link];
        if (n->byte > byte || (n->byte == byte && n->other > other))
            break;
        link = &n->child[direction(n, key, len)];
    }
    return link;
}

int plan_strset_put(struct plan_strset *s, const char *key, size_t value, struct mh_err *err)
{
    size_t len = strlen(key);
    if (s->n == 0) {
        int rc = add_leaf(s, key, len, value, err);
        if (rc == 0)
            s->nodes[0].child[0] = 0 | LEAF;
        return rc;
    }
    const char *near = key_of(s, walk(s, key, len));
    size_t byte = 0;
    while (near[byte] == key[byte] && key[byte])
        byte++;
    unsigned differ = (unsigned)(unsigned char)near[byte] ^ (unsigned)(unsigned char)key[byte];
    if (differ == 0)
        return MH_EEXIST;
    while (differ & (differ - 1)) /* keep the highest bit only */
        differ &= differ - 1;
    unsigned char other = (unsigned char)(differ ^ 0xff);
    unsigned near_side = (1u + (other | (unsigned char)near[byte])) >> 8;

    int rc = add_leaf(s, key, len, value, err);
    if (rc)
        return rc;
    size_t at = s->n - 1; /* as many inner nodes as leaves but one; index 0 is the root's link */
    size_t *link = find_link(s, key, len, byte, other);
    struct plan_strset_node *n = &s->nodes[at];
    n->byte = byte;
    n->other = other;
    n->child[near_side] = *link;
    n->child[1 - near_side] = (s->n - 1) | LEAF;
    *link = at;
    return 0;
}
