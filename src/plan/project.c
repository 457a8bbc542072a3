/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The keys of a project file, but for its two sides (side.c) and its waves and criteria
 * (waves.c). */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/mem.h"

#include "plan/plan_priv.h"

#define ZONEINFO "/usr/share/zoneinfo"

/* --- project ---------------------------------------------------------------------------------- */

/* libc takes a misspelt zone for UTC in silence, and the windows would be hours off. */
static int read_timezone(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    char quoted[PLAN_QUOTE_BYTES], path[sizeof ZONEINFO + 80];
    char **timezone = slot;
    int rc = plan_expect_text(r, node, "timezone");
    if (rc)
        return rc;
    size_t ok =
        strspn(node->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_+-");
    struct stat st;
    bool has_zones = stat(ZONEINFO, &st) == 0;
    (void)snprintf(path, sizeof path, ZONEINFO "/%.64s", node->text);
    bool is_known = !has_zones || (stat(path, &st) == 0 && S_ISREG(st.st_mode));
    if (node->text[ok] || node->text[0] == '/' || node->len > 64 || !is_known)
        return plan_node_fail(r, node,
                              "timezone %s is not known here; write one such as Europe/Paris",
                              plan_quote(quoted, node->text, node->len));
    *timezone = mh_strdup(node->text);
    return *timezone ? 0 : plan_nomem(r->err);
}

static const struct plan_field project_fields[] = {
    {.key = "name", .type = PLAN_NAME, .offset = offsetof(struct mh_plan, name)},
    {.key = "timezone",
     .type = PLAN_READ,
     .offset = offsetof(struct mh_plan, timezone),
     .read = read_timezone},
    {.key = "state", .type = PLAN_PATH, .offset = offsetof(struct mh_plan, state)},
};

static const struct plan_schema project_schema = {
    .name = "project",
    .form = "project: {name: acme-2026, timezone: Europe/Paris, state: acme.db}",
    .fields = project_fields,
    .n_fields = MH_ARRAY_LEN(project_fields),
};

/* --- limits ----------------------------------------------------------------------------------- */

static int read_bandwidth(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    static const struct plan_field f = {
        .key = "bandwidth", .type = PLAN_TEXTS, .one_is_list = true};
    struct mh_plan *p = slot;
    p->bandwidth_pos = node->pos;
    return plan_read_texts(r, &f, node, &p->bandwidth);
}

static const struct plan_field limits_fields[] = {
    {.key = "bandwidth", .type = PLAN_READ, .read = read_bandwidth},
    {.key = "memory",
     .type = PLAN_SIZE,
     .offset = offsetof(struct mh_plan, memory_bytes),
     .min = MH_MEMORY_MIN_BYTES,
     .max = (uint64_t)1 << 40},
};

static const struct plan_schema limits_schema = {
    .name = "limits",
    .form = "limits: {bandwidth: [\"Mon-Fri 08:00-19:00 2MiB/s\"], memory: 256MiB}",
    .fields = limits_fields,
    .n_fields = MH_ARRAY_LEN(limits_fields),
};

/* --- policy ----------------------------------------------------------------------------------- */

static int read_keywords(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    struct mh_keyword_map *m = slot;
    int rc = plan_expect(r, node, PLAN_MAP, "keywords", "keywords: {\"$MDNSent\": drop, Old: New}");
    for (const struct plan_node *n = node->first; rc == 0 && n; n = n->next) {
        rc = plan_expect_text(r, n, "what becomes of a keyword");
        if (rc)
            break;
        rc = mh_keyword_map_add(m, n->key->text, strcmp(n->text, "drop") == 0 ? NULL : n->text,
                                r->err);
        if (rc == MH_EUSAGE)
            mh_err_at(r->err, "%s:%u:%u", r->file, n->key->pos.line, n->key->pos.column);
    }
    return rc;
}

static const struct plan_choice oversize_choices[] = {
    {"skip", MH_OVERSIZE_SKIP}, {"export-eml", MH_OVERSIZE_EXPORT_EML}, {NULL, 0}};

static const struct plan_choice deletions_choices[] = {
    {"never", MH_DELETIONS_NEVER}, {"quarantine", MH_DELETIONS_QUARANTINE}, {NULL, 0}};

static const struct plan_field policy_fields[] = {
    {.key = "oversize",
     .type = PLAN_CHOICE,
     .offset = offsetof(struct mh_plan, oversize),
     .width = sizeof(enum mh_oversize),
     .choices = oversize_choices},
    {.key = "deletions",
     .type = PLAN_CHOICE,
     .offset = offsetof(struct mh_plan, deletions),
     .width = sizeof(enum mh_deletions),
     .choices = deletions_choices},
    {.key = "keywords",
     .type = PLAN_READ,
     .offset = offsetof(struct mh_plan, keywords),
     .read = read_keywords},
};

static const struct plan_schema policy_schema = {
    .name = "policy",
    .form = "policy: {oversize: export-eml, deletions: never, keywords: {\"$MDNSent\": drop}}",
    .fields = policy_fields,
    .n_fields = MH_ARRAY_LEN(policy_fields),
};

/* --- map -------------------------------------------------------------------------------------- */

/* A rule on its way from the file to mh_map_rules_add(). */
struct rule {
    enum mh_role role;
    char *match; /* owned */
    char *to;    /* owned */
    bool skip;
};

static const struct plan_choice role_choices[] = {
    {"inbox", MH_ROLE_INBOX},         {"all", MH_ROLE_ALL},
    {"archive", MH_ROLE_ARCHIVE},     {"drafts", MH_ROLE_DRAFTS},
    {"flagged", MH_ROLE_FLAGGED},     {"junk", MH_ROLE_JUNK},
    {"sent", MH_ROLE_SENT},           {"trash", MH_ROLE_TRASH},
    {"important", MH_ROLE_IMPORTANT}, {NULL, 0}};

static const struct plan_field rule_fields[] = {
    {.key = "role",
     .type = PLAN_CHOICE,
     .offset = offsetof(struct rule, role),
     .width = sizeof(enum mh_role),
     .choices = role_choices},
    {.key = "match", .type = PLAN_TEXT, .offset = offsetof(struct rule, match)},
    {.key = "to", .type = PLAN_TEXT, .offset = offsetof(struct rule, to)},
    {.key = "skip", .type = PLAN_BOOL, .offset = offsetof(struct rule, skip)},
};

static const struct plan_schema rule_schema = {
    .name = "a map rule",
    .form = "{role: sent, to: \"@sent\"}, {match: \"Old/(.+)\", to: \"Archive/$1\"} or {match: X, "
            "skip: yes}",
    .fields = rule_fields,
    .n_fields = MH_ARRAY_LEN(rule_fields),
};

/* The part of a rule that a complaint about it points at. */
static const struct plan_node *rule_part(const struct plan_node *node, const struct mh_err *err)
{
    const struct plan_node *part = NULL;
    if (mh_str_starts(err->text, "match"))
        part = plan_node_get(node, "match");
    else if (mh_str_starts(err->text, "to"))
        part = plan_node_get(node, "to");
    return part ? part : node;
}

static int read_rule(struct plan_reader *r, const struct plan_node *node)
{
    struct rule rule = {MH_ROLE_NONE, NULL, NULL, false};
    int rc = plan_read_mapping(r, &rule_schema, node, &rule);
    if (rc == 0) {
        const struct mh_map_rule plain = {rule.role, rule.match, rule.to, rule.skip};
        rc = mh_map_rules_add(r->plan->map, &plain, r->err);
        const struct plan_node *at = rc ? rule_part(node, r->err) : node;
        if (rc == MH_EUSAGE)
            mh_err_at(r->err, "%s:%u:%u", r->file, at->pos.line, at->pos.column);
    }
    mh_free(rule.match);
    mh_free(rule.to);
    return rc;
}

static int read_map(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    (void)slot;
    int rc = plan_expect(r, node, PLAN_LIST, "map", "map: [{role: sent, to: \"@sent\"}]");
    for (const struct plan_node *n = node->first; rc == 0 && n; n = n->next)
        rc = read_rule(r, n);
    return rc;
}

/* --- the file --------------------------------------------------------------------------------- */

static int read_version(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    (void)slot;
    char quoted[PLAN_QUOTE_BYTES];
    int rc = plan_expect_text(r, node, "version");
    if (rc == 0 && strcmp(node->text, "1") != 0)
        rc = plan_node_fail(r, node, "version must be 1, not %s: this mailhaul reads no other",
                            plan_quote(quoted, node->text, node->len));
    return rc;
}

static const struct plan_field file_fields[] = {
    {.key = "version", .type = PLAN_READ, .required = true, .read = read_version},
    {.key = "project", .type = PLAN_MAPPING, .schema = &project_schema},
    {.key = "source",
     .type = PLAN_MAPPING,
     .required = true,
     .offset = offsetof(struct mh_plan, source),
     .schema = &plan_source_schema},
    {.key = "target",
     .type = PLAN_MAPPING,
     .required = true,
     .offset = offsetof(struct mh_plan, target),
     .schema = &plan_target_schema},
    {.key = "users",
     .type = PLAN_PATH,
     .required = true,
     .offset = offsetof(struct mh_plan, users_file)},
    {.key = "limits", .type = PLAN_MAPPING, .schema = &limits_schema},
    {.key = "policy", .type = PLAN_MAPPING, .schema = &policy_schema},
    {.key = "map", .type = PLAN_READ, .read = read_map},
    {.key = "waves", .type = PLAN_READ, .read = plan_read_waves},
    {.key = "criteria", .type = PLAN_READ, .read = plan_read_criteria},
};

static const struct plan_schema file_schema = {
    .name = "the project file",
    .form = "version: 1, source: {…}, target: {…}, users: users.csv",
    .fields = file_fields,
    .n_fields = MH_ARRAY_LEN(file_fields),
};

static int set_defaults(struct mh_plan *p, struct mh_err *err)
{
    if (!p->name)
        p->name = mh_strdup("mailhaul");
    char *state = p->name && !p->state ? mh_asprintf("%s.db", p->name) : NULL;
    if (state)
        p->state = plan_path_in(p->folder, state);
    mh_free(state);
    return p->name && p->state ? 0 : plan_nomem(err);
}

int plan_read_project(struct plan_reader *r, const struct plan_node *root)
{
    int rc = plan_read_mapping(r, &file_schema, root, r->plan);
    return rc ? rc : set_defaults(r->plan, r->err);
}
