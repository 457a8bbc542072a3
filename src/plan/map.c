/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The mapping of one mailbox's folders (the order of the rules stands in map.h).
 *
 * Folders claim their target paths in three rounds, so that what a person or an earlier run decided
 * stands before anything is guessed: rules and known paths; INBOX and roles; all others, parents
 * before their children. Only the defaults of rounds two and three may not claim what is claimed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#include "plan/map_priv.h"
#include "plan/plan_priv.h"

struct mapper {
    const struct mh_map_rules *rules; /* NULL: none */
    const struct mh_folders *source;
    const struct mh_folders *target;
    struct mh_map_opts opts;
    struct mh_mapping *out;
    struct mh_err *err;
    size_t *order;              /* owned: source folders by path, so parents come before children */
    struct plan_strset sources; /* source path -> index */
    struct plan_strset targets; /* key of the target's own path -> index */
    struct plan_strset claimed; /* key of a path -> number of entries sent there */
    struct plan_strset by_default; /* key of a path that a default claimed -> next number to try */
    const struct mh_folder *roles[MH_ROLE_COUNT]; /* the target's folder of each role */
    struct mh_buf words;                          /* scratch: a rule's result, a parent's path */
    char *key;                                    /* owned scratch: see key_of() */
    bool failed;                                  /* memory was out in a lookup */
};

/* What makes two target paths one: the path, without letter case where the target ignores it.
 * Borrowed until the next call; NULL: out of memory, and M remembers it. */
static const char *key_of(struct mapper *m, const char *path)
{
    if (!m->opts.target_ignores_case)
        return path;
    mh_free(m->key);
    m->key = plan_fold(path);
    m->failed = m->failed || !m->key;
    return m->key;
}

/* The number of PATH's key in SET, or NULL (also when memory is out). */
static size_t *lookup(struct mapper *m, const struct plan_strset *set, const char *path)
{
    const char *key = key_of(m, path);
    return key ? plan_strset_get(set, key) : NULL;
}

/* --- paths ------------------------------------------------------------------------------------ */

/* WORDS as a canonical path behind FRONT (may be ""): components decoded and written again,
 * empty ones left out, the first one INBOX whatever its letter case. NULL: out of memory. */
static char *make_path(const char *front, const char *words)
{
    struct mh_buf raw = MH_BUF_INIT;
    struct mh_buf path = MH_BUF_INIT;
    mh_buf_adds(&path, front);
    for (const char *cursor = words; mh_path_next(&cursor, &raw);) {
        path.failed = path.failed || raw.failed;
        if (raw.len == 0)
            continue;
        bool is_inbox = path.len == 0 && mh_mem_ieq(raw.data, raw.len, "INBOX");
        if (path.len)
            mh_buf_addc(&path, '/');
        mh_path_add_component(&path, is_inbox ? "INBOX" : raw.data, raw.len);
    }
    mh_buf_done(&raw);
    return mh_buf_take(&path);
}

/* The path of the command line's or the project's prefix, "" for none. */
static const char *prefix_of(const struct mh_map_opts *o)
{
    if (o->target_folder && !o->source_folder)
        return o->target_folder;
    return o->folder_prefix ? o->folder_prefix : "";
}

/* --- claiming --------------------------------------------------------------------------------- */

/* Gives entry E the path PATH_TAKE and counts it. */
static int claim(struct mapper *m, struct mh_map_entry *e, char *path_take, enum mh_map_why why)
{
    if (!path_take)
        return plan_nomem(m->err);
    e->target = path_take;
    e->why = why;
    const char *key = key_of(m, path_take);
    if (!key)
        return plan_nomem(m->err);
    int rc = plan_strset_put(&m->claimed, key, 1, m->err);
    if (rc == MH_EEXIST) {
        ++*plan_strset_get(&m->claimed, key);
        rc = 0;
    }
    if (rc || why == MH_MAP_RULE)
        return rc;
    rc = plan_strset_put(&m->by_default, key, 2, m->err);
    mh_assert(rc != MH_EEXIST || why == MH_MAP_KNOWN); /* the others asked is_free() */
    return rc == MH_EEXIST ? 0 : rc;
}

/* May a default send a folder to PATH? Not where another default did; where a rule did, the
 * folders merge. */
static bool is_free(struct mapper *m, const char *path)
{
    return !lookup(m, &m->by_default, path) && !m->failed;
}

/* PATH_TAKE as the target spells it: INBOX in capitals (RFC 9051 section 5.1), and where letter
 * case does not count, like the folder that is there. NULL: out of memory. */
static char *settle_spelling(struct mapper *m, char *path_take)
{
    if (path_take && mh_str_istarts(path_take, "INBOX") && strchr("/", path_take[5])) {
        for (size_t i = 0; i < 5; i++)
            path_take[i] = "INBOX"[i];
    }
    if (!path_take || !m->opts.target_ignores_case)
        return path_take;
    const size_t *at = lookup(m, &m->targets, path_take);
    if (!at)
        return path_take;
    mh_free(path_take);
    return mh_strdup(m->target->v[*at].path);
}

/* PATH with the first " (n)" behind it that no other folder has or gets. */
static char *numbered(struct mapper *m, const char *path)
{
    size_t *next = lookup(m, &m->by_default, path);
    while (next && !m->failed) {
        char *candidate = mh_asprintf("%s (%zu)", path, (*next)++);
        if (!candidate || (!lookup(m, &m->claimed, candidate) &&
                           !lookup(m, &m->sources, candidate) && !m->failed))
            return candidate;
        mh_free(candidate);
    }
    return NULL;
}

/* Claims PATH_TAKE for a default, or PATH_TAKE with a number. */
static int claim_default(struct mapper *m, struct mh_map_entry *e, char *path_take,
                         enum mh_map_why why)
{
    char *path = settle_spelling(m, path_take);
    if (path && !is_free(m, path)) {
        char *other = numbered(m, path);
        mh_free(path);
        path = other;
        e->flags |= MH_MAP_RENAMED;
    }
    return claim(m, e, path, why);
}

/* --- round one: rules and what an earlier run decided ----------------------------------------- */

/* The path of the target's folder of ROLE, or of the one to make. */
static char *role_path(const struct mapper *m, enum mh_role role)
{
    const struct mh_folder *f = m->roles[role];
    return mh_strdup(f ? f->path : mh_role_default_name(role));
}

static int apply_rule(struct mapper *m, struct mh_map_entry *e, const struct plan_rule_hit *hit)
{
    e->rule = hit->number;
    if (hit->skip) {
        e->why = MH_MAP_SKIP;
        return 0;
    }
    if (mh_buf_failed(&m->words))
        return plan_nomem(m->err);
    char *front =
        hit->to_role != MH_ROLE_NONE ? role_path(m, hit->to_role) : mh_strdup(prefix_of(&m->opts));
    char *path = front ? make_path(front, mh_buf_str(&m->words)) : NULL;
    bool is_role_itself = hit->to_role != MH_ROLE_NONE && path && strcmp(path, front) == 0;
    bool is_empty = path && hit->to_role == MH_ROLE_NONE && strcmp(path, front) == 0;
    mh_free(front);
    if (is_empty) {
        char quoted[PLAN_QUOTE_BYTES];
        mh_free(path);
        return mh_err_set(m->err, MH_EUSAGE, "plan",
                          "map rule %zu (%.150s) makes an empty name of folder %s; "
                          "change the rule",
                          hit->number, mh_map_rules_text(m->rules, hit->number),
                          plan_quote(quoted, e->source->path, strlen(e->source->path)));
    }
    if (is_role_itself)
        e->role = hit->to_role;
    return claim(m, e, settle_spelling(m, path), MH_MAP_RULE);
}

static int claim_decided(struct mapper *m, size_t i)
{
    struct mh_map_entry *e = &m->out->v[i];
    struct plan_rule_hit hit;
    if (e->source->attrs & MH_FOLDER_FOREIGN) {
        e->why = MH_MAP_FOREIGN;
        return 0;
    }
    if (m->opts.source_folder && !mh_path_is_below(e->source->path, m->opts.source_folder)) {
        e->why = MH_MAP_OUTSIDE;
        return 0;
    }
    int rc =
        plan_rules_find(m->rules, e->source, m->opts.source_separator, &hit, &m->words, m->err);
    if (rc)
        return rc;
    if (hit.too_long)
        e->flags |= MH_MAP_UNMATCHED;
    if (hit.number)
        return apply_rule(m, e, &hit);
    const char *known = m->opts.known ? m->opts.known(m->opts.known_ctx, e->source->path) : NULL;
    return known ? claim(m, e, mh_strdup(known), MH_MAP_KNOWN) : 0;
}

/* --- round two: INBOX and roles --------------------------------------------------------------- */

static bool is_settled(const struct mh_map_entry *e)
{
    return e->target || e->why == MH_MAP_SKIP || e->why == MH_MAP_FOREIGN ||
           e->why == MH_MAP_OUTSIDE;
}

/* Do the options send everything below one path, or one folder to another? */
static bool is_moved_whole(const struct mh_map_opts *o)
{
    return *prefix_of(o) || (o->source_folder && o->target_folder);
}

/* Sends E to the target's folder of its role, unless another folder is there already. */
static int claim_role(struct mapper *m, struct mh_map_entry *e)
{
    enum mh_role role = e->source->role;
    char *path =
        settle_spelling(m, role == MH_ROLE_INBOX ? mh_strdup("INBOX") : role_path(m, role));
    if (!path)
        return plan_nomem(m->err);
    if (!is_free(m, path)) {
        mh_free(path);
        return 0; /* a second folder of that role: round three */
    }
    e->role = role;
    return claim(m, e, path, MH_MAP_ROLE);
}

/* Rank 0: INBOX; 1: announced roles; 2: guessed roles. */
static int claim_roles(struct mapper *m, int rank)
{
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < m->out->n; k++) {
        struct mh_map_entry *e = &m->out->v[m->order[k]];
        const struct mh_folder *f = e->source;
        bool is_inbox = f->role == MH_ROLE_INBOX || strcmp(f->path, "INBOX") == 0;
        bool is_announced = f->attrs & MH_FOLDER_ROLE_ANNOUNCED;
        if (is_settled(e) || (f->role == MH_ROLE_NONE && !is_inbox))
            continue;
        if (rank == 0 && is_inbox && f->role == MH_ROLE_NONE)
            rc = claim_default(m, e, mh_strdup("INBOX"), MH_MAP_ROLE);
        else if (rank == (is_inbox ? 0 : is_announced ? 1 : 2))
            rc = claim_role(m, e);
    }
    return rc;
}

/* --- round three: all others ------------------------------------------------------------------ */

/* The entry of the source folder PATH itself, letter case and all; NULL if there is none. */
static const struct mh_map_entry *find_entry(const struct mapper *m, const char *path)
{
    size_t low = 0, high = m->out->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(m->source->v[m->order[middle]].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == m->out->n || strcmp(m->source->v[m->order[low]].path, path) != 0)
        return NULL;
    return &m->out->v[m->order[low]];
}

/* The entry of the nearest folder that PATH is in; NULL if there is none. */
static const struct mh_map_entry *find_parent(struct mapper *m, const char *path)
{
    const struct mh_map_entry *parent = NULL;
    mh_buf_reset(&m->words);
    mh_buf_adds(&m->words, path);
    char *slash = mh_buf_failed(&m->words) ? NULL : strrchr(m->words.data, '/');
    for (; slash && !parent; slash = strrchr(m->words.data, '/')) {
        *slash = '\0';
        parent = find_entry(m, m->words.data);
    }
    return parent;
}

/* Did a default (or a rule about its role) give E another path, that folders in it can follow? */
static bool is_followed(struct mapper *m, const struct mh_map_entry *e)
{
    bool by_role_rule = e->why == MH_MAP_RULE && plan_rules_is_role(m->rules, e->rule);
    bool by_default = e->why == MH_MAP_ROLE || e->why == MH_MAP_PARENT || e->why == MH_MAP_SAME;
    if (!e->target || strcmp(e->target, e->source->path) == 0 || !(by_default || by_role_rule))
        return false;
    const size_t *at = lookup(m, &m->targets, e->target);
    return !at || !(m->target->v[*at].attrs & MH_FOLDER_NOINFERIORS);
}

static int claim_moved(struct mapper *m, struct mh_map_entry *e)
{
    const struct mh_map_opts *o = &m->opts;
    const char *path = e->source->path;
    if (o->source_folder && o->target_folder) {
        const char *rest = path + strlen(o->source_folder);
        return claim_default(m, e, mh_asprintf("%s%s", o->target_folder, rest), MH_MAP_PREFIX);
    }
    return claim_default(m, e, mh_asprintf("%s/%s", prefix_of(o), path), MH_MAP_PREFIX);
}

static int claim_rest(struct mapper *m)
{
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < m->out->n; k++) {
        struct mh_map_entry *e = &m->out->v[m->order[k]];
        const char *path = e->source->path;
        if (is_settled(e))
            continue;
        if (is_moved_whole(&m->opts)) {
            rc = claim_moved(m, e);
            continue;
        }
        const struct mh_map_entry *parent = find_parent(m, path);
        if (mh_buf_failed(&m->words))
            return plan_nomem(m->err);
        if (parent && is_followed(m, parent))
            rc = claim_default(
                m, e, mh_asprintf("%s%s", parent->target, path + strlen(parent->source->path)),
                MH_MAP_PARENT);
        else
            rc = claim_default(m, e, mh_strdup(path), MH_MAP_SAME);
    }
    return rc;
}

/* --- afterwards: what the target has, warnings ------------------------------------------------ */

/* The target path number I: of an entry (may be NULL), or behind them of a folder that the
 * target has. */
static const char *path_at(const struct mapper *m, size_t i)
{
    return i < m->out->n ? m->out->v[i].target : m->target->v[i - m->out->n].path;
}

/* Flags entries whose path differs in letter case only from another's or from one the target
 * has. */
static int flag_case(struct mapper *m)
{
    size_t n = m->out->n + m->target->n;
    struct plan_strset folded = {0}; /* -> the first path of that spelling */
    size_t *first = mh_zalloc(n * sizeof *first);
    bool *is_mixed = mh_zalloc(n * sizeof *is_mixed);
    int rc = first && is_mixed ? 0 : plan_nomem(m->err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!path_at(m, i))
            continue;
        char *key = plan_fold(path_at(m, i));
        rc = key ? plan_strset_put(&folded, key, i, m->err) : plan_nomem(m->err);
        first[i] = rc == MH_EEXIST ? *plan_strset_get(&folded, key) : i;
        rc = rc == MH_EEXIST ? 0 : rc;
        mh_free(key);
        if (rc == 0 && strcmp(path_at(m, first[i]), path_at(m, i)) != 0)
            is_mixed[first[i]] = true;
    }
    for (size_t i = 0; rc == 0 && i < m->out->n; i++) {
        if (m->out->v[i].target && is_mixed[first[i]])
            m->out->v[i].flags |= MH_MAP_CASE;
    }
    plan_strset_done(&folded);
    mh_free(first);
    mh_free(is_mixed);
    return rc;
}

static int note(struct mapper *m, struct mh_map_entry *e, const char *text)
{
    char *joined = e->note ? mh_asprintf("%s; %s", e->note, text) : mh_strdup(text);
    mh_free(e->note);
    e->note = joined;
    return joined ? 0 : plan_nomem(m->err);
}

static int add_notes(struct mapper *m, struct mh_map_entry *e)
{
    static const struct {
        unsigned flag;
        const char *text;
    } texts[] = {
        {MH_MAP_MERGED, "several folders become this one"},
        {MH_MAP_RENAMED, "renamed: another folder has its name at the target"},
        {MH_MAP_CASE, "differs from another name in letter case only; a target that ignores case "
                      "would mix them"},
        {MH_MAP_VIRTUAL,
         "usually repeats messages of other folders; a rule with skip: yes leaves it out"},
        {MH_MAP_NOSELECT,
         "the target has this name without messages; it must be made a real folder"},
        {MH_MAP_UNMATCHED, "the path is too long for match rules"},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < MH_ARRAY_LEN(texts); i++) {
        if (e->flags & texts[i].flag)
            rc = note(m, e, texts[i].text);
    }
    return rc;
}

static int finish_entry(struct mapper *m, struct mh_map_entry *e)
{
    static const unsigned warnings =
        MH_MAP_CASE | MH_MAP_VIRTUAL | MH_MAP_NOSELECT | MH_MAP_UNMATCHED;
    if (!e->target)
        return 0;
    const size_t *at = lookup(m, &m->targets, e->target);
    const size_t *count = lookup(m, &m->claimed, e->target);
    if (at) {
        e->existing = &m->target->v[*at];
        if (e->existing->attrs & MH_FOLDER_NOSELECT && !(e->source->attrs & MH_FOLDER_NOSELECT))
            e->flags |= MH_MAP_NOSELECT;
        else
            e->role = MH_ROLE_NONE;
    }
    if (count && *count > 1)
        e->flags |= MH_MAP_MERGED;
    if (e->source->role == MH_ROLE_ALL || e->source->role == MH_ROLE_FLAGGED ||
        e->source->role == MH_ROLE_IMPORTANT)
        e->flags |= MH_MAP_VIRTUAL;
    m->out->carried++;
    m->out->merged += (e->flags & MH_MAP_MERGED) != 0;
    m->out->renamed += (e->flags & MH_MAP_RENAMED) != 0;
    m->out->warned += (e->flags & warnings) != 0;
    return add_notes(m, e);
}

/* --- the whole -------------------------------------------------------------------------------- */

static int by_path(const void *a, const void *b, void *folders)
{
    const struct mh_folders *l = folders;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    int order = strcmp(l->v[i].path, l->v[j].path);
    return order ? order : (i > j) - (i < j);
}

static int index_folders(struct mapper *m, const struct mh_folders *l, struct plan_strset *set)
{
    for (size_t i = 0; i < l->n; i++) {
        const char *key = key_of(m, l->v[i].path);
        int rc = key ? plan_strset_put(set, key, i, m->err) : plan_nomem(m->err);
        if (rc && rc != MH_EEXIST)
            return rc;
    }
    return 0;
}

/* Of several folders of one role the announced one, then the first by path. */
static bool is_better_role(const struct mh_folder *f, const struct mh_folder *than)
{
    unsigned announced = f->attrs & MH_FOLDER_ROLE_ANNOUNCED;
    if (!than || announced != (than->attrs & MH_FOLDER_ROLE_ANNOUNCED))
        return !than || announced;
    return strcmp(f->path, than->path) < 0;
}

static void find_target_roles(struct mapper *m)
{
    for (size_t i = 0; i < m->target->n; i++) {
        const struct mh_folder *f = &m->target->v[i];
        if (f->role == MH_ROLE_NONE || f->attrs & (MH_FOLDER_FOREIGN | MH_FOLDER_NOSELECT))
            continue;
        if (is_better_role(f, m->roles[f->role]))
            m->roles[f->role] = f;
    }
}

static int prepare(struct mapper *m)
{
    size_t n = m->source->n;
    m->out->v = mh_zalloc(n * sizeof *m->out->v);
    m->order = mh_zalloc(n * sizeof *m->order);
    if (!m->out->v || !m->order)
        return plan_nomem(m->err);
    m->out->n = n;
    for (size_t i = 0; i < n; i++) {
        m->out->v[i].source = &m->source->v[i];
        m->order[i] = i;
    }
    if (n > 1)
        qsort_r(m->order, n, sizeof *m->order, by_path, (void *)(uintptr_t)m->source);
    find_target_roles(m);
    int rc = index_folders(m, m->source, &m->sources);
    return rc ? rc : index_folders(m, m->target, &m->targets);
}

static int run_rounds(struct mapper *m)
{
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < m->out->n; k++)
        rc = claim_decided(m, m->order[k]);
    for (int rank = 0; rc == 0 && rank < 3 && !is_moved_whole(&m->opts); rank++)
        rc = claim_roles(m, rank);
    if (rc == 0)
        rc = claim_rest(m);
    if (rc == 0 && !m->opts.target_ignores_case)
        rc = flag_case(m);
    for (size_t i = 0; rc == 0 && i < m->out->n; i++)
        rc = finish_entry(m, &m->out->v[i]);
    return rc == 0 && m->failed ? plan_nomem(m->err) : rc;
}

int mh_map_apply(const struct mh_map_rules *rules, const struct mh_folders *source,
                 const struct mh_folders *target, const struct mh_map_opts *opts,
                 struct mh_mapping *out, struct mh_err *err)
{
    struct mapper m = {.rules = rules, .source = source, .target = target, .out = out, .err = err};
    if (opts)
        m.opts = *opts;
    *out = (struct mh_mapping)MH_MAPPING_INIT;
    int rc = prepare(&m);
    if (rc == 0)
        rc = run_rounds(&m);
    mh_free(m.order);
    plan_strset_done(&m.sources);
    plan_strset_done(&m.targets);
    plan_strset_done(&m.claimed);
    plan_strset_done(&m.by_default);
    mh_buf_done(&m.words);
    mh_free(m.key);
    return rc;
}

void mh_mapping_done(struct mh_mapping *m)
{
    for (size_t i = 0; i < m->n; i++) {
        mh_free(m->v[i].target);
        mh_free(m->v[i].note);
    }
    mh_free(m->v);
    *m = (struct mh_mapping)MH_MAPPING_INIT;
}

const char *mh_map_why_name(enum mh_map_why why)
{
    static const char *const names[] = {
        [MH_MAP_SAME] = "same",     [MH_MAP_ROLE] = "role",       [MH_MAP_PARENT] = "parent",
        [MH_MAP_PREFIX] = "prefix", [MH_MAP_KNOWN] = "known",     [MH_MAP_RULE] = "rule",
        [MH_MAP_SKIP] = "skip",     [MH_MAP_FOREIGN] = "foreign", [MH_MAP_OUTSIDE] = "outside",
    };
    mh_assert((size_t)why < MH_ARRAY_LEN(names));
    return names[why];
}
