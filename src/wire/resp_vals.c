/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/resp_priv.h"

#include "base/mem.h"

/* One parse: where it is and which lists are open. */
struct vals_parse {
    struct mh_vals *out;
    const struct mh_vals_text *in;
    size_t pos;
    size_t literal; /* the next one */
    unsigned open[MH_IMAP_DEPTH_MAX];
    unsigned depth;
};

static enum mh_vals_result push(struct vals_parse *p, enum mh_val_kind kind, const char *s,
                                size_t len)
{
    struct mh_vals *v = p->out;
    if (!mh_grow(v->nodes, v->cap, v->n + 1))
        return MH_VALS_NOMEM;
    if (p->depth > 0)
        v->nodes[p->open[p->depth - 1]].children++;
    else
        v->n_top++;
    v->nodes[v->n] = (struct mh_val){.kind = kind, .s = s, .len = len, .next = v->n + 1};
    v->n++;
    return MH_VALS_OK;
}

static enum mh_vals_result open_list(struct vals_parse *p)
{
    if (p->depth == MH_IMAP_DEPTH_MAX)
        return MH_VALS_DEPTH;
    enum mh_vals_result rc = push(p, MH_VAL_LIST, NULL, 0);
    if (rc != MH_VALS_OK)
        return rc;
    p->open[p->depth++] = p->out->n - 1;
    p->pos++;
    return MH_VALS_OK;
}

static enum mh_vals_result close_list(struct vals_parse *p)
{
    if (p->depth == 0)
        return MH_VALS_SYNTAX;
    p->out->nodes[p->open[--p->depth]].next = p->out->n;
    p->pos++;
    return MH_VALS_OK;
}

/* Writes S without its escapes over itself; returns the new length. */
static size_t unescape(char *s, size_t len)
{
    size_t to = 0;
    for (size_t from = 0; from < len;) {
        size_t skip = 0;
        size_t run = mh_resp_quoted_run(s + from, len - from, &skip);
        memmove(s + to, s + from + skip, run);
        to += run;
        from += skip + run;
    }
    return to;
}

static enum mh_vals_result take_quoted(struct vals_parse *p, size_t end)
{
    char *s = p->in->text + p->pos + 1;
    size_t close = mh_resp_quote_end(p->in->text, p->pos + 1, end);
    if (close == end)
        return MH_VALS_SYNTAX;
    size_t len = close - p->pos - 1;
    p->pos = close + 1;
    if (memchr(s, '\\', len)) {
        if (!p->in->can_write)
            return MH_VALS_ESCAPE;
        len = unescape(s, len);
    }
    return push(p, MH_VAL_STRING, s, len);
}

static enum mh_vals_result take_atom(struct vals_parse *p, size_t end)
{
    const char *s = p->in->text + p->pos;
    size_t len = mh_resp_atom_end(p->in->text, p->pos, end) - p->pos;
    p->pos += len;
    return push(p, mh_resp_is(s, len, "NIL") ? MH_VAL_NIL : MH_VAL_ATOM, s, len);
}

/* One token of the text that ends at END: the next literal or the end of all. */
static enum mh_vals_result take_token(struct vals_parse *p, size_t end)
{
    switch (p->in->text[p->pos]) {
    case ' ':
    case '\t':
        p->pos++;
        return MH_VALS_OK;
    case '(':
        return open_list(p);
    case ')':
        return close_list(p);
    case '"':
        return take_quoted(p, end);
    default:
        return take_atom(p, end);
    }
}

enum mh_vals_result mh_vals_parse(struct mh_vals *v, const struct mh_vals_text *in)
{
    struct vals_parse p = {.out = v, .in = in, .pos = in->from};
    v->n = 0;
    v->n_top = 0;
    for (;;) {
        bool has_literal = p.literal < in->n_literals;
        size_t end = has_literal ? in->literals[p.literal].off : in->len;
        enum mh_vals_result rc = MH_VALS_OK;
        if (p.pos < end) {
            rc = take_token(&p, end);
        } else if (has_literal) {
            size_t len = in->literals[p.literal++].len;
            rc = push(&p, MH_VAL_STRING, in->text + p.pos, len);
            p.pos += len;
        } else {
            return p.depth == 0 ? MH_VALS_OK : MH_VALS_SYNTAX;
        }
        if (rc != MH_VALS_OK)
            return rc;
    }
}

void mh_vals_trim(struct mh_vals *v, size_t keep_bytes)
{
    if (v->cap * sizeof *v->nodes > keep_bytes)
        mh_vals_done(v);
}

void mh_vals_done(struct mh_vals *v)
{
    mh_free(v->nodes);
    *v = (struct mh_vals){.nodes = NULL};
}
