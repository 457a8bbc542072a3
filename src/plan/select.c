/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which mailboxes a wave takes: `dept == sales and (site != "New York" or pilot == yes)`.
 *
 *   either   = both { "or" both }
 *   both     = test { "and" test }
 *   test     = "(" either ")" | column ("==" | "!=") value
 *   column, value = word | "text" | 'text'
 *
 * The expression is kept in postfix order: comparisons push, "and" and "or" join the two on top.
 * Values are compared without blanks around them and without ASCII letter case.
 */
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

enum { DEPTH_MAX = 16, OPS_MAX = 256 };

enum op_kind { OP_EQUAL, OP_DIFFERENT, OP_AND, OP_OR };

struct op {
    enum op_kind kind;
    char *column; /* owned */
    char *value;  /* owned */
    size_t index; /* of the column, once bound */
};

struct mh_select {
    struct op *ops; /* owned: OPS_MAX of them */
    size_t n;
    bool is_bound;
};

/* --- words ------------------------------------------------------------------------------------ */

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,
    TOKEN_QUOTED,
    TOKEN_EQUAL,
    TOKEN_DIFFERENT,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_BAD
};

struct parser {
    struct mh_select *select;
    const char *at;
    enum token_kind kind;
    const char *text; /* of a word, without quotes */
    size_t len;
    unsigned depth;
    struct mh_err *err;
};

static size_t word_len(const char *s)
{
    size_t n = 0;
    while (s[n] && !strchr(" \t()=!\"'<>&|,;", s[n]))
        n++;
    return n;
}

static void set_token(struct parser *p, enum token_kind kind, const char *text, size_t len,
                      size_t used)
{
    p->kind = kind;
    p->text = text;
    p->len = len;
    p->at += used;
}

static void next_token(struct parser *p)
{
    p->at += strspn(p->at, " \t");
    const char *s = p->at;
    const char *close = *s == '"' || *s == '\'' ? strchr(s + 1, *s) : NULL;
    if (*s == '\0')
        set_token(p, TOKEN_END, s, 0, 0);
    else if (close)
        set_token(p, TOKEN_QUOTED, s + 1, (size_t)(close - s - 1), (size_t)(close - s + 1));
    else if (mh_str_starts(s, "=="))
        set_token(p, TOKEN_EQUAL, s, 2, 2);
    else if (mh_str_starts(s, "!="))
        set_token(p, TOKEN_DIFFERENT, s, 2, 2);
    else if (*s == '(' || *s == ')')
        set_token(p, *s == '(' ? TOKEN_OPEN : TOKEN_CLOSE, s, 1, 1);
    else if (word_len(s))
        set_token(p, TOKEN_WORD, s, word_len(s), word_len(s));
    else
        set_token(p, TOKEN_BAD, s, strcspn(s, " \t"), 1);
}

static int unexpected(struct parser *p, const char *wanted)
{
    char quoted[PLAN_QUOTE_BYTES];
    if (p->kind == TOKEN_END)
        return mh_err_set(p->err, MH_EUSAGE, "plan", "select: %s is missing at the end", wanted);
    return mh_err_set(p->err, MH_EUSAGE, "plan",
                      "select: here should be %s, not %s; write it like "
                      "\"pilot == yes and dept != sales\"",
                      wanted, plan_quote(quoted, p->text, p->len));
}

/* --- the grammar ------------------------------------------------------------------------------ */

static int push(struct parser *p, struct op op)
{
    if (p->select->n == OPS_MAX) {
        mh_free(op.column);
        mh_free(op.value);
        return mh_err_set(p->err, MH_EUSAGE, "plan", "select: more than %d parts", OPS_MAX);
    }
    p->select->ops[p->select->n++] = op;
    return 0;
}

static bool is_operand(const struct parser *p)
{
    bool is_operator = p->kind == TOKEN_WORD &&
                       (mh_mem_ieq(p->text, p->len, "and") || mh_mem_ieq(p->text, p->len, "or"));
    return (p->kind == TOKEN_WORD && !is_operator) || p->kind == TOKEN_QUOTED;
}

/* LEN without the blanks at the end of TEXT. */
static size_t trimmed_len(const char *text, size_t len)
{
    while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    return len;
}

static int parse_compare(struct parser *p)
{
    if (!is_operand(p))
        return unexpected(p, "the name of a column");
    const char *column = p->text;
    size_t column_len = p->len;
    next_token(p);
    if (p->kind != TOKEN_EQUAL && p->kind != TOKEN_DIFFERENT)
        return unexpected(p, "== or !=");
    struct op op = {.kind = p->kind == TOKEN_EQUAL ? OP_EQUAL : OP_DIFFERENT};
    next_token(p);
    if (!is_operand(p))
        return unexpected(p, "a value");
    op.column = mh_strndup(column, column_len);
    size_t blanks = MH_MIN(strspn(p->text, " \t"), p->len);
    op.value = mh_strndup(p->text + blanks, trimmed_len(p->text + blanks, p->len - blanks));
    next_token(p);
    if (!op.column || !op.value) {
        mh_free(op.column);
        mh_free(op.value);
        return plan_nomem(p->err);
    }
    return push(p, op);
}

static int parse_either(struct parser *p);

static int parse_test(struct parser *p)
{
    if (p->kind != TOKEN_OPEN)
        return parse_compare(p);
    if (++p->depth > DEPTH_MAX)
        return mh_err_set(p->err, MH_EUSAGE, "plan", "select: more than %d parentheses deep",
                          DEPTH_MAX);
    next_token(p);
    int rc = parse_either(p);
    if (rc == 0 && p->kind != TOKEN_CLOSE)
        rc = unexpected(p, "a closing parenthesis");
    if (rc == 0)
        next_token(p);
    p->depth--;
    return rc;
}

static int parse_joined(struct parser *p, const char *word, enum op_kind kind,
                        int (*part)(struct parser *))
{
    int rc = part(p);
    while (rc == 0 && p->kind == TOKEN_WORD && mh_mem_ieq(p->text, p->len, word)) {
        next_token(p);
        rc = part(p);
        if (rc == 0)
            rc = push(p, (struct op){.kind = kind});
    }
    return rc;
}

static int parse_both(struct parser *p)
{
    return parse_joined(p, "and", OP_AND, parse_test);
}

static int parse_either(struct parser *p)
{
    return parse_joined(p, "or", OP_OR, parse_both);
}

int plan_select_parse(const char *text, struct mh_select **out, struct mh_err *err)
{
    struct mh_select *s = mh_zalloc(sizeof *s);
    if (!s)
        return plan_nomem(err);
    s->ops = mh_zalloc(OPS_MAX * sizeof *s->ops);
    struct parser p = {.select = s, .at = text, .err = err};
    int rc = s->ops ? 0 : plan_nomem(err);
    if (rc == 0) {
        next_token(&p);
        rc = parse_either(&p);
    }
    if (rc == 0 && p.kind != TOKEN_END)
        rc = unexpected(&p, "'and', 'or' or the end");
    if (rc)
        plan_select_free(s);
    else
        *out = s;
    return rc;
}

void plan_select_free(struct mh_select *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->ops && i < s->n; i++) {
        mh_free(s->ops[i].column);
        mh_free(s->ops[i].value);
    }
    mh_free(s->ops);
    mh_free(s);
}

/* --- use -------------------------------------------------------------------------------------- */

const char *plan_select_bind(struct mh_select *s, const struct mh_strings *columns)
{
    for (size_t i = 0; i < s->n; i++) {
        struct op *op = &s->ops[i];
        if (!op->column)
            continue;
        size_t c = 0;
        while (c < columns->n && !mh_str_ieq(columns->v[c], op->column))
            c++;
        if (c == columns->n)
            return op->column;
        op->index = c;
    }
    s->is_bound = true;
    return NULL;
}

static bool values_equal(const char *cell, const char *value)
{
    cell += strspn(cell, " \t");
    return mh_mem_ieq(cell, trimmed_len(cell, strlen(cell)), value);
}

bool plan_select_matches(const struct mh_select *s, char *const *cells)
{
    bool stack[OPS_MAX] = {false};
    size_t top = 0;
    mh_assert(s->is_bound);
    for (size_t i = 0; i < s->n; i++) {
        const struct op *op = &s->ops[i];
        if (op->column) {
            stack[top++] = values_equal(cells[op->index], op->value) == (op->kind == OP_EQUAL);
            continue;
        }
        mh_assert(top >= 2); /* the parser pushes both sides first */
        bool right = stack[--top];
        stack[top - 1] = op->kind == OP_AND ? stack[top - 1] && right : stack[top - 1] || right;
    }
    return stack[0];
}
