/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * YAML to a tree of scalars, lists and mappings, each with its place. libyaml finds the events;
 * what a project file has no use for (anchors, aliases, tags, a second document, keys that are no
 * scalars, repeated keys) is refused here, so the tree is no larger than its text.
 *
 * libcyaml would read straight into structs, but gives an unknown or missing key the place of the
 * value before it, takes a second document and an empty value in silence, and has no mapping with
 * free keys.
 */
#include <string.h>
#include <yaml.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

struct frame {
    struct plan_node *container; /* borrowed: in the tree */
    struct plan_node *key;       /* owned: a key that waits for its value */
};

struct builder {
    const char *file;
    const char *text;
    size_t len;
    yaml_parser_t parser;
    struct plan_node *root; /* owned */
    struct frame stack[PLAN_DOC_DEPTH_MAX];
    size_t depth;
    size_t nodes;
    unsigned documents;
    bool ended;
    struct mh_err *err;
};

/* Frees a tree without recursion, by hanging children and keys in front of the list still to
 * free. */
void plan_node_free(struct plan_node *n)
{
    while (n) {
        if (n->first) {
            n->last->next = n->next;
            n->next = n->first;
        }
        struct plan_node *next = n->next;
        if (n->key)
            mh_free(n->key->text);
        mh_free(n->key);
        mh_free(n->text);
        mh_free(n);
        n = next;
    }
}

const struct plan_node *plan_node_get(const struct plan_node *map, const char *key)
{
    for (const struct plan_node *n = map->first; n; n = n->next) {
        if (n->key && strcmp(n->key->text, key) == 0)
            return n;
    }
    return NULL;
}

static struct mh_pos pos_of(yaml_mark_t mark)
{
    return (struct mh_pos){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

/* --- libyaml's errors ------------------------------------------------------------------------- */

/* The byte at a place of the text; 0 at the end. */
static char byte_at(const struct builder *b, struct mh_pos pos)
{
    size_t i = 0;
    for (unsigned line = 1; line < pos.line && i < b->len; i++)
        line += b->text[i] == '\n' ||
                (b->text[i] == '\r' && (i + 1 == b->len || b->text[i + 1] != '\n'));
    for (unsigned column = 1; column < pos.column && i < b->len; column++) {
        size_t seq = mh_utf8_seq(b->text + i, b->len - i);
        i += seq ? seq : 1;
    }
    return i < b->len ? b->text[i] : '\0';
}

static int syntax_error(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return plan_nomem(b->err);
    struct mh_pos pos = pos_of(p->problem_mark);
    if (p->error == YAML_READER_ERROR)
        return plan_fail(b->err, b->file, (struct mh_pos){0, 0},
                         "a character that YAML does not allow, at byte %zu; remove it",
                         p->problem_offset);
    if (byte_at(b, pos) == '\t')
        return plan_fail(b->err, b->file, pos, "a tab where YAML wants blanks; indent with spaces");
    const char *context = p->context ? p->context : "";
    return plan_fail(
        b->err, b->file, pos,
        "not valid YAML: %s%s%s; look at the indentation and brackets here (a value with any "
        "of {}[]:#&*! in it needs quotes)",
        p->problem ? p->problem : "unreadable", *context ? " " : "", context);
}

/* --- building --------------------------------------------------------------------------------- */

static bool is_null_scalar(const yaml_event_t *e)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < MH_ARRAY_LEN(nulls); i++) {
        if (strcmp((const char *)e->data.scalar.value, nulls[i]) == 0)
            return true;
    }
    return false;
}

static int make_node(struct builder *b, const yaml_event_t *e, enum plan_node_kind kind,
                     struct plan_node **out)
{
    struct mh_pos pos = pos_of(e->start_mark);
    if (++b->nodes > PLAN_DOC_NODES_MAX)
        return plan_fail(b->err, b->file, pos, "more than %d values; a project file has fewer",
                         PLAN_DOC_NODES_MAX);
    struct plan_node *n = mh_zalloc(sizeof *n);
    if (!n)
        return plan_nomem(b->err);
    n->kind = kind;
    n->pos = pos;
    if (kind == PLAN_SCALAR) {
        n->is_null = is_null_scalar(e);
        n->len = e->data.scalar.length;
        n->text = mh_strndup((const char *)e->data.scalar.value, n->len);
        if (!n->text) {
            mh_free(n);
            return plan_nomem(b->err);
        }
    }
    *out = n;
    return 0;
}

/* A node in a mapping's key position becomes the pending key, which takes it; it stays the
 * caller's on error. */
static int set_key(struct builder *b, struct frame *f, struct plan_node *key)
{
    char quoted[PLAN_QUOTE_BYTES];
    if (key->kind != PLAN_SCALAR || key->is_null || strlen(key->text) != key->len)
        return plan_fail(b->err, b->file, key->pos, "a key must be a plain word");
    const struct plan_node *before = plan_node_get(f->container, key->text);
    if (before)
        return plan_fail(b->err, b->file, key->pos,
                         "key %s is here twice, first in line %u; remove one of them",
                         plan_quote(quoted, key->text, key->len), before->key->pos.line);
    if (f->container->n >= PLAN_DOC_KEYS_MAX)
        return plan_fail(b->err, b->file, key->pos, "more than %d keys in one mapping",
                         PLAN_DOC_KEYS_MAX);
    f->key = key;
    return 0;
}

/* Hangs NODE_TAKE into the tree. */
static int attach(struct builder *b, struct plan_node *node_take)
{
    struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;
    if (!f) {
        b->root = node_take;
        return 0;
    }
    if (f->container->kind == PLAN_MAP && !f->key) {
        int rc = set_key(b, f, node_take);
        if (rc)
            plan_node_free(node_take);
        return rc;
    }
    node_take->key = mh_take(f->key);
    if (f->container->last)
        f->container->last->next = node_take;
    else
        f->container->first = node_take;
    f->container->last = node_take;
    f->container->n++;
    return 0;
}

static int refuse_extras(struct builder *b, const yaml_event_t *e, const yaml_char_t *anchor,
                         const yaml_char_t *tag)
{
    if (anchor)
        return plan_fail(b->err, b->file, pos_of(e->start_mark),
                         "anchors (&) and aliases (*) are not read; write the value out, in "
                         "quotes if it begins with & or *");
    if (tag)
        return plan_fail(b->err, b->file, pos_of(e->start_mark),
                         "tags (!) are not read; remove it, or put the value in quotes");
    return 0;
}

static int add_scalar(struct builder *b, const yaml_event_t *e)
{
    struct plan_node *n = NULL;
    int rc = refuse_extras(b, e, e->data.scalar.anchor, e->data.scalar.tag);
    if (rc == 0)
        rc = make_node(b, e, PLAN_SCALAR, &n);
    return n ? attach(b, n) : rc;
}

static int add_container(struct builder *b, const yaml_event_t *e, enum plan_node_kind kind,
                         const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct plan_node *n = NULL;
    int rc = refuse_extras(b, e, anchor, tag);
    if (rc == 0 && b->depth == PLAN_DOC_DEPTH_MAX)
        rc = plan_fail(b->err, b->file, pos_of(e->start_mark), "nested deeper than %d levels",
                       PLAN_DOC_DEPTH_MAX);
    if (rc == 0)
        rc = make_node(b, e, kind, &n);
    if (n)
        rc = attach(b, n);
    if (rc == 0)
        b->stack[b->depth++] = (struct frame){n, NULL};
    return rc;
}

static int add_event(struct builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->documents > 1)
            return plan_fail(b->err, b->file, pos_of(e->start_mark),
                             "a second document begins here; a project file has one");
        return 0;
    case YAML_ALIAS_EVENT:
        return refuse_extras(b, e, e->data.alias.anchor, NULL);
    case YAML_SCALAR_EVENT:
        return add_scalar(b, e);
    case YAML_SEQUENCE_START_EVENT:
        return add_container(b, e, PLAN_LIST, e->data.sequence_start.anchor,
                             e->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return add_container(b, e, PLAN_MAP, e->data.mapping_start.anchor,
                             e->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return 0;
    case YAML_STREAM_END_EVENT:
        b->ended = true;
        return 0;
    default:
        return 0;
    }
}

static int build(struct builder *b)
{
    int rc = 0;
    while (rc == 0 && !b->ended) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b->parser, &event))
            return syntax_error(b);
        rc = add_event(b, &event);
        yaml_event_delete(&event);
    }
    if (rc == 0 && !b->root)
        rc = plan_fail(b->err, b->file, (struct mh_pos){0, 0},
                       "the file is empty; 'mailhaul init' writes one to start from");
    return rc;
}

int plan_doc_parse(const char *file, const char *text, size_t len, struct plan_node **root_out,
                   struct mh_err *err)
{
    struct builder b = {.file = file, .text = text, .len = len, .err = err};
    if (!yaml_parser_initialize(&b.parser))
        return plan_nomem(err);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    int rc = build(&b);
    yaml_parser_delete(&b.parser);
    for (size_t i = 0; i < b.depth; i++)
        plan_node_free(b.stack[i].key);
    if (rc)
        plan_node_free(b.root);
    else
        *root_out = b.root;
    return rc;
}
