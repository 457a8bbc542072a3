/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Mapping rules: checked and compiled once, applied to single paths. */
#include <string.h>

#include "base/mem.h"

#include "plan/map_priv.h"
#include "plan/pattern_priv.h"
#include "plan/plan_priv.h"

struct rule {
    enum mh_role role;            /* MH_ROLE_NONE: by pattern */
    struct plan_pattern *pattern; /* owned; NULL: by role */
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
    return *out ? 0 : plan_nomem(err);
}

static void rule_done(struct rule *r)
{
    plan_pattern_free(r->pattern);
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

/* --- where to --------------------------------------------------------------------------------- */

/* Every $ of TO must be a group of the expression, or a doubled $. */
static int check_groups(const struct rule *r, const char *to, struct mh_err *err)
{
    size_t groups = r->pattern ? r->pattern->groups : 0;
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
    return r->to ? check_groups(r, rest, err) : plan_nomem(err);
}

static char *describe(const struct mh_map_rule *rule)
{
    struct mh_buf b = MH_BUF_INIT;
    if (rule->role != MH_ROLE_NONE) {
        mh_buf_addf(&b, "role %s", mh_role_name(rule->role));
    } else if (rule->match) {
        mh_buf_adds(&b, "match \"");
        mh_buf_add_printable(&b, rule->match, strlen(rule->match));
        mh_buf_adds(&b, "\"");
    }
    if (rule->skip) {
        mh_buf_adds(&b, " skip");
    } else if (rule->to) {
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
        return plan_nomem(err);
    r->v = v;
    struct rule made = {.role = rule->role, .skip = rule->skip};
    if (rule->match)
        rc = plan_pattern_new(rule->match, &made.pattern, err);
    if (rc == 0 && rule->to)
        rc = set_to(&made, rule->to, err);
    if (rc == 0) {
        made.text = describe(rule);
        rc = made.text ? 0 : plan_nomem(err);
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
        if (r->v[i].pattern)
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
            return plan_nomem(err);
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
static void expand(const struct rule *r, const char *base, const struct plan_span *spans,
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
        const struct plan_span *span = &spans[*p - '0'];
        if (span->is_set)
            mh_buf_add(out, base + span->from, span->to - span->from);
    }
}

/* Whether R fits the folder; the target's words into TO. */
static int rule_fits(const struct rule *r, const struct mh_folder *f,
                     const struct plan_forms *forms, bool *fits_out, struct mh_buf *to,
                     struct mh_err *err)
{
    struct plan_span spans[PLAN_PATTERN_GROUPS];
    *fits_out = !r->pattern && f->role == r->role;
    if (*fits_out && !r->skip)
        expand(r, "", spans, to);
    int rc = 0;
    for (size_t i = 0; r->pattern && rc == 0 && !*fits_out && i < forms->n; i++) {
        rc = plan_pattern_fits(r->pattern, forms->text[i], fits_out, spans, err);
        if (rc == 0 && *fits_out && !r->skip)
            expand(r, forms->base[i], spans, to);
    }
    return rc;
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
        bool fits = false;
        mh_buf_reset(to);
        rc = rule_fits(r, f, &forms, &fits, to, err);
        if (rc || !fits)
            continue;
        hit->number = i + 1;
        hit->skip = r->skip;
        hit->to_role = r->to_role;
    }
    forms_done(&forms);
    return rc;
}
