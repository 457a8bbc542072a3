/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keywords of messages (RFC 9051 section 2.3.2: flag-keyword is an atom, letter case is
 * ignored). */
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

void mh_keyword_map_done(struct mh_keyword_map *m)
{
    for (size_t i = 0; i < m->n; i++) {
        mh_free(m->v[i].from);
        mh_free(m->v[i].to);
    }
    mh_free(m->v);
    *m = (struct mh_keyword_map){NULL, 0};
}

/* Characters that no atom holds (RFC 9051 section 9, ATOM-CHAR). */
static bool is_atom(const char *s)
{
    const char *p = s;
    while ((unsigned char)*p > ' ' && (unsigned char)*p < 0x7f && !strchr("(){%*\"\\]", *p))
        p++;
    return p > s && *p == '\0';
}

static const struct mh_keyword_rule *find_rule(const struct mh_keyword_map *m, const char *word,
                                               size_t len)
{
    for (size_t i = 0; i < m->n; i++) {
        if (mh_mem_ieq(word, len, m->v[i].from))
            return &m->v[i];
    }
    return NULL;
}

int mh_keyword_map_add(struct mh_keyword_map *m, const char *from, const char *to,
                       struct mh_err *err)
{
    char quoted[PLAN_QUOTE_BYTES];
    if (!*from || strchr(from, ' '))
        return mh_err_set(err, MH_EUSAGE, "plan", "%s cannot be a keyword: it is one word",
                          plan_quote(quoted, from, strlen(from)));
    if (from[0] == '\\')
        return mh_err_set(err, MH_EUSAGE, "plan",
                          "%s is a system flag, not a keyword; flags are "
                          "carried as they are",
                          plan_quote(quoted, from, strlen(from)));
    if (to && !is_atom(to))
        return mh_err_set(err, MH_EUSAGE, "plan",
                          "keyword %s cannot be made: use ASCII letters, digits "
                          "and signs other than ( ) { %% * \" \\ ], without blanks",
                          plan_quote(quoted, to, strlen(to)));
    if (find_rule(m, from, strlen(from)))
        return mh_err_set(err, MH_EUSAGE, "plan",
                          "keyword %s is here twice (letter case does not "
                          "count); remove one",
                          plan_quote(quoted, from, strlen(from)));
    if (m->n == MH_KEYWORD_RULES_MAX)
        return mh_err_set(err, MH_EUSAGE, "plan", "more than %d keyword rules",
                          MH_KEYWORD_RULES_MAX);
    struct mh_keyword_rule *v = mh_realloc_array(m->v, m->n + 1, sizeof *v);
    if (!v)
        return plan_nomem(err);
    m->v = v;
    struct mh_keyword_rule rule = {mh_strdup(from), to ? mh_strdup(to) : NULL};
    if (!rule.from || (to && !rule.to)) {
        mh_free(rule.from);
        mh_free(rule.to);
        return plan_nomem(err);
    }
    v[m->n++] = rule;
    return 0;
}

/* Is WORD among the blank-separated words of LIST? */
static bool has_word(const char *list, size_t list_len, const char *word)
{
    for (const char *p = list; p < list + list_len;) {
        const char *blank = memchr(p, ' ', list_len - (size_t)(p - list));
        size_t len = blank ? (size_t)(blank - p) : list_len - (size_t)(p - list);
        if (mh_mem_ieq(p, len, word))
            return true;
        p += len + 1;
    }
    return false;
}

static void add_word(struct mh_buf *b, size_t start, const char *word, size_t len)
{
    if (b->len > start)
        mh_buf_addc(b, ' ');
    mh_buf_add(b, word, len);
}

/* The spelling of WORD as a rule makes it, NULL if none does: only those can come up twice. */
static const char *find_made(const struct mh_keyword_map *m, const char *word, size_t len)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->v[i].to && mh_mem_ieq(word, len, m->v[i].to))
            return m->v[i].to;
    }
    return NULL;
}

bool mh_map_keywords(const struct mh_keyword_map *m, const char *in, struct mh_buf *out,
                     struct mh_buf *dropped)
{
    static const struct mh_keyword_map no_rules = {NULL, 0};
    m = m ? m : &no_rules;
    size_t start = out->len;
    size_t dropped_start = dropped->len;
    bool changed = false;
    for (const char *p = in + strspn(in, " "); *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        const struct mh_keyword_rule *rule = find_rule(m, p, len);
        const char *made = rule ? rule->to : find_made(m, p, len);
        if (rule && !rule->to)
            add_word(dropped, dropped_start, p, len);
        else if (!made || !has_word(mh_buf_str(out) + start, out->len - start, made))
            add_word(out, start, rule ? made : p, rule ? strlen(made) : len);
        changed = changed || rule != NULL;
        p += len;
    }
    return changed;
}
