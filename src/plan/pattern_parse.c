/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From an extended regular expression (POSIX.1-2017 XBD 9.4) to the code of pattern.c: a tree
 * first, since a repetition writes its part out several times.
 *
 *   either = run { "|" run }       run = { part { "*" | "+" | "?" | "{m}" | "{m,}" | "{m,n}" } }
 *   part   = "(" either ")" | "[" … "]" | "." | "^" | "$" | "\" sign | character
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#include "plan/map.h"
#include "plan/pattern_priv.h"
#include "plan/plan_priv.h"

enum { REPEAT_MAX = 255, NO_LIMIT = -1, NONE = -1 };

enum kind { LEAF, SEQUENCE, CHOICE, REPEAT, GROUP };

struct tree {
    enum kind kind;
    struct plan_inst leaf; /* of a LEAF */
    int a, b;              /* parts: indices, NONE */
    int min, max;          /* of a REPEAT; max may be NO_LIMIT */
    size_t group;          /* number of a GROUP */
};

struct parser {
    struct plan_pattern *out;
    struct tree *nodes; /* owned: NODES_MAX of them */
    int n;
    const char *at;
    unsigned depth;
    unsigned long steps; /* of emit(): nested repetitions of nothing emit no code */
    struct mh_err *err;
    int rc; /* the first error; afterwards every function returns at once */
};

/* Each byte makes at most one leaf and one node that joins it. */
#define NODES_MAX (2 * MH_MAP_MATCH_MAX_BYTES + 2)
#define STEPS_MAX (16ul * PLAN_PATTERN_CODE_MAX)

static int refuse(struct parser *p, const char *why)
{
    if (p->rc == 0)
        p->rc = mh_err_set(p->err, MH_EUSAGE, "plan", "match is no expression: %s", why);
    return NONE;
}

static int no_memory(struct parser *p)
{
    if (p->rc == 0)
        p->rc = plan_nomem(p->err);
    return NONE;
}

static int add(struct parser *p, struct tree node)
{
    mh_assert(p->n < NODES_MAX);
    p->nodes[p->n] = node;
    return p->n++;
}

static int add_leaf(struct parser *p, enum plan_op op, uint32_t x)
{
    return add(p, (struct tree){.kind = LEAF, .leaf = {op, x, 0}, .a = NONE, .b = NONE});
}

/* --- brackets --------------------------------------------------------------------------------- */

static bool add_range(struct parser *p, uint32_t first, uint32_t last)
{
    struct plan_pattern *out = p->out;
    struct plan_range *ranges = mh_realloc_array(out->ranges, out->n_ranges + 1, sizeof *ranges);
    if (!ranges) {
        (void)no_memory(p);
        return false;
    }
    out->ranges = ranges;
    ranges[out->n_ranges++] = (struct plan_range){first, last};
    out->sets[out->n_sets - 1].n++;
    return true;
}

/* Everything outside ASCII counts as letters. */
#define FOREIGN                                                                                    \
    {                                                                                              \
        0x80, 0x10ffff                                                                             \
    }

static const struct {
    const char *name;
    struct plan_range ranges[4];
} classes[] = {
    {"alpha", {{'A', 'Z'}, {'a', 'z'}, FOREIGN}},
    {"digit", {{'0', '9'}}},
    {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}, FOREIGN}},
    {"upper", {{'A', 'Z'}}},
    {"lower", {{'a', 'z'}}},
    {"space", {{'\t', '\r'}, {' ', ' '}}},
    {"blank", {{'\t', '\t'}, {' ', ' '}}},
    {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
    {"print", {{' ', '~'}, FOREIGN}},
    {"graph", {{'!', '~'}, FOREIGN}},
    {"cntrl", {{1, 0x1f}, {0x7f, 0x7f}}},
    {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
};

/* "[:alpha:]" inside brackets. */
static bool parse_class(struct parser *p)
{
    const char *name = p->at + 2;
    const char *close = strstr(name, ":]");
    for (size_t i = 0; close && i < MH_ARRAY_LEN(classes); i++) {
        size_t len = (size_t)(close - name);
        if (strlen(classes[i].name) != len || strncmp(classes[i].name, name, len) != 0)
            continue;
        p->at = close + 2;
        for (size_t k = 0; k < MH_ARRAY_LEN(classes[i].ranges) && classes[i].ranges[k].last; k++) {
            if (!add_range(p, classes[i].ranges[k].first, classes[i].ranges[k].last))
                return false;
        }
        return true;
    }
    (void)refuse(p, "[: in brackets begins a class such as [:alpha:]");
    return false;
}

static bool parse_member(struct parser *p)
{
    if (p->at[0] == '[' && p->at[1] == ':')
        return parse_class(p);
    if (p->at[0] == '[' && (p->at[1] == '.' || p->at[1] == '=')) {
        (void)refuse(p, "[. and [= are not supported");
        return false;
    }
    const char *end = p->at + strlen(p->at);
    uint32_t first = mh_utf8_next(&p->at, end);
    uint32_t last = first;
    if (p->at[0] == '-' && p->at[1] && p->at[1] != ']') {
        p->at++;
        last = mh_utf8_next(&p->at, end);
    }
    if (last < first) {
        (void)refuse(p, "a range in brackets runs backwards");
        return false;
    }
    return add_range(p, first, last);
}

static int parse_brackets(struct parser *p)
{
    struct plan_pattern *out = p->out;
    struct plan_set *sets = mh_realloc_array(out->sets, out->n_sets + 1, sizeof *sets);
    if (!sets)
        return no_memory(p);
    out->sets = sets;
    p->at++;
    bool is_negated = *p->at == '^';
    p->at += is_negated;
    sets[out->n_sets++] = (struct plan_set){out->n_ranges, 0, is_negated};
    /* The first ] is a member. */
    for (bool is_first = true; *p->at && (is_first || *p->at != ']'); is_first = false) {
        if (!parse_member(p))
            return NONE;
    }
    if (*p->at != ']')
        return refuse(p, "a [ is never closed");
    p->at++;
    return add_leaf(p, PLAN_OP_SET, (uint32_t)(out->n_sets - 1));
}

/* --- parts ------------------------------------------------------------------------------------ */

static int parse_either(struct parser *p);

static int parse_group(struct parser *p)
{
    size_t number = ++p->out->groups;
    if (++p->depth > PLAN_PATTERN_DEPTH_MAX)
        return refuse(p, "too many parentheses in each other");
    p->at++;
    int inner = parse_either(p);
    if (p->rc)
        return NONE;
    if (*p->at != ')')
        return refuse(p, "a ( is never closed");
    p->at++;
    p->depth--;
    return add(p, (struct tree){.kind = GROUP, .a = inner, .b = NONE, .group = number});
}

static int parse_escape(struct parser *p)
{
    char c = p->at[1];
    if (c >= '1' && c <= '9')
        return refuse(p, "back-references (\\1) are not supported");
    if (c == '\0' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '0' || (c & 0x80))
        return refuse(p, "a \\ stands before a sign that it makes ordinary, such as \\.");
    p->at += 2;
    return add_leaf(p, PLAN_OP_CHAR, (unsigned char)c);
}

static int parse_part(struct parser *p)
{
    switch (*p->at) {
    case '(':
        return parse_group(p);
    case '[':
        return parse_brackets(p);
    case '\\':
        return parse_escape(p);
    case ')':
        return refuse(p, "a ) closes nothing");
    case '*':
    case '+':
    case '?':
    case '{':
        return refuse(
            p,
            "a repetition (* + ? {}) stands where nothing can be repeated; write \\* for the sign");
    case '.':
        p->at++;
        return add_leaf(p, PLAN_OP_ANY, 0);
    case '^':
        p->at++;
        return add_leaf(p, PLAN_OP_BEGIN, 0);
    case '$':
        p->at++;
        return add_leaf(p, PLAN_OP_END, 0);
    default:
        return add_leaf(p, PLAN_OP_CHAR, mh_utf8_next(&p->at, p->at + strlen(p->at)));
    }
}

/* --- repetition ------------------------------------------------------------------------------- */

/* The number at *AT, 0 … REPEAT_MAX; NONE if there is none. */
static int parse_number(const char **at)
{
    int n = NONE;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        n = (n == NONE ? 0 : n) * 10 + (**at - '0');
        if (n > REPEAT_MAX)
            return REPEAT_MAX + 1;
    }
    return n;
}

static bool parse_bounds(struct parser *p, int *min, int *max)
{
    p->at++;
    *min = parse_number(&p->at);
    *max = *min;
    if (*p->at == ',') {
        p->at++;
        *max = parse_number(&p->at); /* NONE is NO_LIMIT */
    }
    bool ok = *min >= 0 && *min <= REPEAT_MAX && *max <= REPEAT_MAX && *p->at == '}' &&
              (*max == NO_LIMIT || *min <= *max);
    if (ok)
        p->at++;
    else
        (void)refuse(
            p, "a repetition in braces is {m}, {m,} or {m,n} up to 255; write \\{ for the sign");
    return ok;
}

/* PART with the repetitions behind it. */
static int parse_repeats(struct parser *p, int part)
{
    while (p->rc == 0 && *p->at && strchr("*+?{", *p->at)) {
        int min = *p->at == '+' ? 1 : 0;
        int max = *p->at == '?' ? 1 : NO_LIMIT;
        if (*p->at != '{')
            p->at++;
        else if (!parse_bounds(p, &min, &max))
            return NONE;
        part = add(p, (struct tree){.kind = REPEAT, .a = part, .b = NONE, .min = min, .max = max});
    }
    return part;
}

static int parse_run(struct parser *p)
{
    int run = NONE;
    while (p->rc == 0 && *p->at && *p->at != '|' && !(*p->at == ')' && p->depth)) {
        int part = parse_part(p);
        if (p->rc == 0)
            part = parse_repeats(p, part);
        if (p->rc)
            return NONE;
        run = run == NONE ? part : add(p, (struct tree){.kind = SEQUENCE, .a = run, .b = part});
    }
    return run; /* NONE: empty */
}

static int parse_either(struct parser *p)
{
    int either = parse_run(p);
    while (p->rc == 0 && *p->at == '|') {
        p->at++;
        int other = parse_run(p);
        if (p->rc == 0)
            either = add(p, (struct tree){.kind = CHOICE, .a = either, .b = other});
    }
    return either;
}

/* --- code ------------------------------------------------------------------------------------- */

static size_t emit_inst(struct parser *p, struct plan_inst inst)
{
    if (p->out->n_code == PLAN_PATTERN_CODE_MAX) {
        (void)refuse(p, "too long once its repetitions are written out");
        return 0;
    }
    p->out->code[p->out->n_code] = inst;
    return p->out->n_code++;
}

static void emit(struct parser *p, int at);

static uint32_t here(const struct parser *p)
{
    return (uint32_t)p->out->n_code;
}

static void emit_choice(struct parser *p, const struct tree *t)
{
    size_t split = emit_inst(p, (struct plan_inst){PLAN_OP_SPLIT, here(p) + 1, 0});
    emit(p, t->a);
    size_t jump = emit_inst(p, (struct plan_inst){PLAN_OP_JUMP, 0, 0});
    p->out->code[split].y = here(p);
    emit(p, t->b);
    p->out->code[jump].x = here(p);
}

/* At least MIN copies; then either a loop, or MAX - MIN copies that may be left out from here
 * on. */
static void emit_repeat(struct parser *p, const struct tree *t)
{
    for (int i = 0; i < t->min && p->rc == 0; i++)
        emit(p, t->a);
    if (t->max == NO_LIMIT) {
        size_t split = emit_inst(p, (struct plan_inst){PLAN_OP_SPLIT, here(p) + 1, 0});
        emit(p, t->a);
        (void)emit_inst(p, (struct plan_inst){PLAN_OP_JUMP, (uint32_t)split, 0});
        p->out->code[split].y = here(p);
        return;
    }
    for (int i = t->min; i < t->max && p->rc == 0; i++) {
        size_t split = emit_inst(p, (struct plan_inst){PLAN_OP_SPLIT, here(p) + 1, 0});
        emit(p, t->a);
        p->out->code[split].y = here(p);
    }
}

static void emit_group(struct parser *p, const struct tree *t)
{
    bool is_kept = t->group < PLAN_PATTERN_GROUPS;
    if (is_kept)
        (void)emit_inst(p, (struct plan_inst){PLAN_OP_SAVE, (uint32_t)(2 * t->group), 0});
    emit(p, t->a);
    if (is_kept)
        (void)emit_inst(p, (struct plan_inst){PLAN_OP_SAVE, (uint32_t)(2 * t->group + 1), 0});
}

static void emit(struct parser *p, int at)
{
    if (p->rc || at == NONE)
        return;
    const struct tree *t = &p->nodes[at];
    if (++p->steps > STEPS_MAX) {
        (void)refuse(p, "too many repetitions in each other");
        return;
    }
    switch (t->kind) {
    case LEAF:
        (void)emit_inst(p, t->leaf);
        break;
    case SEQUENCE:
        emit(p, t->a);
        emit(p, t->b);
        break;
    case CHOICE:
        emit_choice(p, t);
        break;
    case REPEAT:
        emit_repeat(p, t);
        break;
    case GROUP:
        emit_group(p, t);
        break;
    }
}

int plan_pattern_new(const char *text, struct plan_pattern **out, struct mh_err *err)
{
    struct parser p = {.at = text, .err = err};
    if (!*text)
        return mh_err_set(err, MH_EUSAGE, "plan", "match is empty; write .* for every folder");
    if (strlen(text) > MH_MAP_MATCH_MAX_BYTES)
        return mh_err_set(err, MH_EUSAGE, "plan", "match is longer than %d bytes",
                          MH_MAP_MATCH_MAX_BYTES);
    p.out = mh_zalloc(sizeof *p.out);
    p.nodes = mh_zalloc(NODES_MAX * sizeof *p.nodes);
    int root = p.out && p.nodes ? parse_either(&p) : no_memory(&p);
    emit(&p, root);
    if (p.rc == 0)
        (void)emit_inst(&p, (struct plan_inst){PLAN_OP_FIT, 0, 0});
    mh_free(p.nodes);
    if (p.rc)
        plan_pattern_free(p.out);
    else
        *out = p.out;
    return p.rc;
}

void plan_pattern_free(struct plan_pattern *p)
{
    if (!p)
        return;
    mh_free(p->ranges);
    mh_free(p->sets);
    mh_free(p);
}
