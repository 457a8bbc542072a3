/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Mapping rules: checked and compiled once, applied to single paths. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#include "plan/map_priv.h"
#include "plan/plan_priv.h"

struct rule {
    enum mh_role role; /* MH_ROLE_NONE: by regex */
    bool has_regex;
    regex_t regex; /* "^(" match ")$" */
    bool skip;
    enum mh_role to_role; /* of "@role"; MH_ROLE_NONE */
    char *to;             /* owned: what follows it, without the '/' in between */
    char *text;           /* owned: for people */
};

struct mh_map_rules {
    struct rule *v; /* owned */
    size_t n;
};

int mh_map_rules_new(struct mh_map_rules **out, struct mh_err *err)
{
    *out = mh_zalloc(sizeof **out);
    return *out ? 0 : mh_err_nomem(err);
}

static void rule_done(struct rule *r)
{
    if (r->has_regex)
        regfree(&r->regex);
    mh_free(r->to);
    mh_free(r->text);
}

void mh_map_rules_free(struct mh_map_rules *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        rule_done(&r->v[i]);
    mh_free(r->v);
    mh_free(r);
}

size_t mh_map_rules_count(const struct mh_map_rules *r)
{
    return r ? r->n : 0;
}

const char *mh_map_rules_text(const struct mh_map_rules *r, size_t number)
{
    mh_assert(number >= 1 && number <= r->n);
    return r->v[number - 1].text;
}

bool plan_rules_is_role(const struct mh_map_rules *rules, size_t number)
{
    mh_assert(number >= 1 && number <= rules->n);
    return rules->v[number - 1].role != MH_ROLE_NONE;
}

/* --- expressions that are safe to compile ----------------------------------------------------- */

/* The cost of what was read so far in each open group, and of its last atom. */
struct cost {
    unsigned long total[MH_MAP_MATCH_MAX_BYTES + 1];
    size_t depth;
    unsigned long atom;
};

/* The end of a bracket expression that begins at S ("[]a]", "[^]a]", "[[:alpha:]]"). */
static const char *bracket_end(const char *s)
{
    const char *p = s + 1;
    p += *p == '^';
    p += *p == ']';
    for (; *p && *p != ']'; p++) {
        if (*p == '[' && p[1] && strchr(".:=", p[1])) {
            const char *close = p + 2;
            while (*close && !(*close == p[1] && close[1] == ']'))
                close++;
            if (!*close)
                return close;
            p = close + 1;
        }
    }
    return *p ? p + 1 : p;
}

/* How often regcomp() writes the atom out that the quantifier at *AT follows; moves *AT behind
 * it. 0: what stands there is no quantifier. */
static unsigned long quantifier(const char **at)
{
    const char *p = *at;
    if (*p == '+' || *p == '*' || *p == '?') {
        *at = p + 1;
        return *p == '+' ? 2 : 1;
    }
    size_t len = *p == '{' ? strspn(p + 1, "0123456789,") : 0;
    if (len == 0 || p[len + 1] != '}')
        return 0;
    unsigned long most = 1, number = 0;
    for (p++; *p != '}'; p++) {
        if (*p == ',')
            number = 0;
        else
            number = MH_MIN(number * 10 + (unsigned long)(*p - '0'), MH_MAP_MATCH_COST_MAX + 1ul);
        most = MH_MAX(most, number + 1);
    }
    *at = p + 1;
    return most;
}

static void add_atom(struct cost *c, unsigned long cost)
{
    c->atom = cost;
    c->total[c->depth] += cost;
}

static void repeat_atom(struct cost *c, unsigned long times)
{
    unsigned long grown = MH_MIN(c->atom * times, 2ul * MH_MAP_MATCH_COST_MAX);
    c->total[c->depth] += grown - c->atom;
    c->atom = grown;
}

/*
 * regcomp() writes "+" and "{m,n}" out by copying what they follow; nested, that is exponential in
 * the expression's length. This counts the copies without making them. MATCH is at most
 * MH_MAP_MATCH_MAX_BYTES long.
 */
static bool is_affordable(const char *match)
{
    struct cost c = {.depth = 0};
    for (const char *p = match; *p;) {
        if (c.total[c.depth] > MH_MAP_MATCH_COST_MAX)
            return false;
        unsigned long times = quantifier(&p);
        if (times) {
            repeat_atom(&c, times);
        } else if (*p == '(') {
            c.total[++c.depth] = 1;
            c.atom = 0;
            p++;
        } else if (*p == ')' && c.depth > 0) {
            unsigned long group = c.total[c.depth--];
            add_atom(&c, group);
            p++;
        } else {
            p = *p == '[' ? bracket_end(p) : p + (*p == '\\' && p[1] ? 2 : 1);
            add_atom(&c, 1);
        }
    }
    return c.total[c.depth] <= MH_MAP_MATCH_COST_MAX;
}

/* A back-reference makes matching exponential, and a path cannot need one. */
static bool has_back_reference(const char *match)
{
    for (const char *p = match; *p; p++) {
        if (*p == '[')
            p = bracket_end(p) - 1;
        else if (*p == '\\' && p[1] >= '1' && p[1] <= '9')
            return true;
        else if (*p == '\\' && p[1])
            p++;
    }
    return false;
}

static int compile(struct rule *r, const char *match, struct mh_err *err)
{
    char quoted[PLAN_QUOTE_BYTES];
    if (!*match)
        return mh_err_set(err, MH_EUSAGE, "plan", "match is empty; write .* for every folder");
    if (strlen(match) > MH_MAP_MATCH_MAX_BYTES)
        return mh_err_set(err, MH_EUSAGE, "plan", "match is longer than %d bytes",
                          MH_MAP_MATCH_MAX_BYTES);
    if (has_back_reference(match))
        return mh_err_set(err, MH_EUSAGE, "plan",
                          "match has a back-reference (\\1) in it, which is "
                          "not supported");
    if (!is_affordable(match))
        return mh_err_set(err, MH_EUSAGE, "plan",
                          "match repeats repetitions too often ('+' or '{n}' "
                          "inside another); write it flatter");
    char *anchored = mh_asprintf("^(%s)$", match);
    if (!anchored)
        return mh_err_nomem(err);
    int code = regcomp(&r->regex, anchored, REG_EXTENDED);
    mh_free(anchored);
    if (code == REG_ESPACE)
        return mh_err_nomem(err);
    if (code) {
        char why[128];
        (void)regerror(code, NULL, why, sizeof why);
        return mh_err_set(err, MH_EUSAGE, "plan", "match %s is no regular expression: %s",
                          plan_quote(quoted, match, strlen(match)), why);
    }
    r->has_regex = true;
    return 0;
}

/* --- where to --------------------------------------------------------------------------------- */

/* Every $ of TO must be a group of the expression, or a doubled $. */
static int check_groups(const struct rule *r, const char *to, struct mh_err *err)
{
    size_t groups = r->has_regex ? r->regex.re_nsub - 1 : 0;
    for (const char *p = strchr(to, '$'); p; p = strchr(p + 2, '$')) {
        if (p[1] == '$')
            continue;
        if (p[1] < '1' || p[1] > '9')
            return mh_err_set(err, MH_EUSAGE, "plan",
                              "to has a '$' that is no group: write $1 to $9, "
                              "or $$ for a dollar sign");
        if ((size_t)(p[1] - '0') > groups)
            return mh_err_set(err, MH_EUSAGE, "plan",
                              "to uses $%c, but match has %zu group%s in "
                              "parentheses",
                              p[1], groups, groups == 1 ? "" : "s");
    }
    return 0;
}

static int set_to(struct rule *r, const char *to, struct mh_err *err)
{
    char quoted[PLAN_QUOTE_BYTES];
    const char *rest = to;
    if (!to[strspn(to, "/")])
        return mh_err_set(err, MH_EUSAGE, "plan", "to is empty; name a folder, or write skip: yes");
    if (to[0] == '@') {
        size_t len = strcspn(to + 1, "/");
        r->to_role = mh_role_parse(to + 1, len);
        if (r->to_role == MH_ROLE_NONE)
            return mh_err_set(
                err, MH_EUSAGE, "plan",
                "to %s names no role: @inbox, @sent, @drafts, @trash, "
                "@junk, @archive, @all, @flagged, @important (a folder whose name begins "
                "with @ is written %%40…)",
                plan_quote(quoted, to, len + 1));
        rest = to + 1 + len;
    }
    r->to = mh_strdup(rest);
    return r->to ? check_groups(r, rest, err) : mh_err_nomem(err);
}

static char *describe(const struct mh_map_rule *rule)
{
    struct mh_buf b = MH_BUF_INIT;
    if (rule->role != MH_ROLE_NONE) {
        mh_buf_addf(&b, "role %s", mh_role_name(rule->role));
    } else {
        mh_buf_adds(&b, "match \"");
        mh_buf_add_printable(&b, rule->match, strlen(rule->match));
        mh_buf_adds(&b, "\"");
    }
    if (rule->skip) {
        mh_buf_adds(&b, " skip");
    } else {
        mh_buf_adds(&b, " to \"");
        mh_buf_add_printable(&b, rule->to, strlen(rule->to));
        mh_buf_adds(&b, "\"");
    }
    return mh_buf_take(&b);
}

static int check_shape(const struct mh_map_rule *rule, struct mh_err *err)
{
    if ((rule->role != MH_ROLE_NONE) == (rule->match != NULL))
        return mh_err_set(err, MH_EUSAGE, "plan", "a map rule needs either role or match: %s",
                          rule->match ? "it has both" : "it has none");
    if (rule->skip == (rule->to != NULL))
        return mh_err_set(err, MH_EUSAGE, "plan", "a map rule needs either to or skip: yes: %s",
                          rule->to ? "it has both" : "it has none");
    return 0;
}

int mh_map_rules_add(struct mh_map_rules *r, const struct mh_map_rule *rule, struct mh_err *err)
{
    int rc = check_shape(rule, err);
    if (rc)
        return rc;
    if (r->n == MH_MAP_RULES_MAX)
        return mh_err_set(err, MH_EUSAGE, "plan", "more than %d map rules", MH_MAP_RULES_MAX);
    struct rule *v = mh_realloc_array(r->v, r->n + 1, sizeof *v);
    if (!v)
        return mh_err_nomem(err);
    r->v = v;
    struct rule made = {.role = rule->role, .skip = rule->skip};
    if (rule->match)
        rc = compile(&made, rule->match, err);
    if (rc == 0 && rule->to)
        rc = set_to(&made, rule->to, err);
    if (rc == 0) {
        made.text = describe(rule);
        rc = made.text ? 0 : mh_err_nomem(err);
    }
    if (rc)
        rule_done(&made);
    else
        v[r->n++] = made;
    return rc;
}

/* --- applying --------------------------------------------------------------------------------- */

static bool needs_forms(const struct mh_map_rules *r)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->v[i].has_regex)
            return true;
    }
    return false;
}

static char *with_separator(const char *path, char separator)
{
    char *copy = mh_strdup(path);
    for (char *p = copy; p && *p; p++) {
        if (*p == '/')
            *p = separator;
    }
    return copy;
}

/* Does the server keep F below INBOX although its canonical path is not there (Courier, Cyrus)? */
static bool is_below_inbox_natively(const struct mh_folder *f, char separator)
{
    return separator && f->native && mh_str_istarts(f->native, "INBOX") &&
           f->native[5] == separator && !mh_path_is_below(f->path, "INBOX");
}

/* The spellings of F's path that people may have in mind. With '/' replaced byte by byte, a group
 * found in one is at the same place of its base. */
static int make_forms(const struct mh_folder *f, char separator, struct plan_forms *forms,
                      struct mh_err *err)
{
    size_t n = 0;
    bool below = is_below_inbox_natively(f, separator);
    forms->base[n] = mh_strdup(f->path);
    forms->text[n++] = mh_strdup(f->path);
    if (separator && separator != '/') {
        forms->base[n] = mh_strdup(f->path);
        forms->text[n++] = with_separator(f->path, separator);
    }
    if (below) {
        forms->base[n] = mh_asprintf("INBOX/%s", f->path);
        forms->text[n++] = mh_asprintf("INBOX/%s", f->path);
        forms->base[n] = mh_asprintf("INBOX/%s", f->path);
        forms->text[n] = forms->base[n] ? with_separator(forms->base[n], separator) : NULL;
        n++;
    }
    forms->n = n;
    for (size_t i = 0; i < n; i++) {
        if (!forms->base[i] || !forms->text[i])
            return mh_err_nomem(err);
    }
    return 0;
}

static void forms_done(struct plan_forms *forms)
{
    for (size_t i = 0; i < forms->n; i++) {
        mh_free(forms->base[i]);
        mh_free(forms->text[i]);
    }
}

/* TO with its groups filled in, from the form BASE. */
static void expand(const struct rule *r, const char *base, const regmatch_t *groups,
                   struct mh_buf *out)
{
    for (const char *p = r->to; *p; p++) {
        if (*p != '$') {
            mh_buf_addc(out, *p);
            continue;
        }
        p++;
        if (*p == '$') {
            mh_buf_addc(out, '$');
            continue;
        }
        const regmatch_t *g = &groups[*p - '0' + 1]; /* group 1 is our own, around the whole */
        if (g->rm_so >= 0)
            mh_buf_add(out, base + g->rm_so, (size_t)(g->rm_eo - g->rm_so));
    }
}

/* Whether R fits the folder; the target's words into TO. */
static bool rule_fits(const struct rule *r, const struct mh_folder *f,
                      const struct plan_forms *forms, struct mh_buf *to)
{
    regmatch_t groups[PLAN_REGEX_GROUPS];
    if (r->role != MH_ROLE_NONE) {
        bool fits = f->role == r->role;
        if (fits && !r->skip)
            expand(r, "", groups, to);
        return fits;
    }
    for (size_t i = 0; i < forms->n; i++) {
        if (regexec(&r->regex, forms->text[i], PLAN_REGEX_GROUPS, groups, 0) == 0) {
            if (!r->skip)
                expand(r, forms->base[i], groups, to);
            return true;
        }
    }
    return false;
}

int plan_rules_find(const struct mh_map_rules *rules, const struct mh_folder *f, char separator,
                    struct plan_rule_hit *hit, struct mh_buf *to, struct mh_err *err)
{
    struct plan_forms forms = {.n = 0};
    *hit = (struct plan_rule_hit){0};
    if (!rules || rules->n == 0)
        return 0;
    int rc = 0;
    if (needs_forms(rules)) {
        hit->too_long = strlen(f->path) > MH_MAP_MATCH_PATH_MAX_BYTES;
        if (!hit->too_long)
            rc = make_forms(f, separator, &forms, err);
    }
    for (size_t i = 0; rc == 0 && hit->number == 0 && i < rules->n; i++) {
        const struct rule *r = &rules->v[i];
        mh_buf_reset(to);
        if (!rule_fits(r, f, &forms, to))
            continue;
        hit->number = i + 1;
        hit->skip = r->skip;
        hit->to_role = r->to_role;
    }
    forms_done(&forms);
    return rc;
}
