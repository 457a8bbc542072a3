/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Folder mapping and keyword mapping. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "out_of_memory.h"
#include "plan/map.h"

/* The tables leave out what is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define A MH_FOLDER_ROLE_ANNOUNCED

/* A folder as a table names it. */
struct row {
    const char *path;
    enum mh_role role;
    unsigned attrs;
    const char *native; /* NULL: like path */
};

/* What is expected of it. */
struct want {
    const char *target; /* NULL: not carried */
    enum mh_map_why why;
    unsigned flags;
};

enum { ROWS_MAX = 10 };

static void fill(struct mh_folders *l, const struct row *rows, size_t max)
{
    for (size_t i = 0; i < max && rows[i].path; i++) {
        struct mh_folder *f = NULL;
        struct mh_err err;
        cr_assert_eq(mh_folders_add(l, rows[i].path, rows[i].native ? rows[i].native : rows[i].path,
                                    &f, &err),
                     0);
        f->role = rows[i].role;
        f->attrs = rows[i].attrs;
    }
}

static struct mh_map_rules *make_rules(const struct mh_map_rule *rules, size_t max)
{
    struct mh_map_rules *r = NULL;
    struct mh_err err = {0};
    cr_assert_eq(mh_map_rules_new(&r, &err), 0);
    for (size_t i = 0; i < max && (rules[i].match || rules[i].role); i++)
        cr_assert_eq(mh_map_rules_add(r, &rules[i], &err), 0, "%s", err.text);
    return r;
}

static const char *known_target(void *ctx, const char *source_path)
{
    const char *const *pairs = ctx;
    for (; pairs[0]; pairs += 2) {
        if (strcmp(pairs[0], source_path) == 0)
            return pairs[1];
    }
    return NULL;
}

static const char *const known_pairs[] = {"Sent", "Sent (2)", "Gesendet", "Sent", NULL};

static const struct {
    const char *name;
    struct row source[ROWS_MAX];
    struct row target[ROWS_MAX];
    struct mh_map_rule rules[4];
    struct mh_map_opts opts;
    struct want want[ROWS_MAX];
} cases[] = {
    {.name = "same paths",
     .source = {{"INBOX"}, {"INBOX/Old"}, {"Projects/Ünï"}, {"100%25"}},
     .target = {{"INBOX"}, {"Projects"}},
     .want = {{"INBOX", MH_MAP_ROLE},
              {"INBOX/Old", MH_MAP_SAME},
              {"Projects/Ünï", MH_MAP_SAME},
              {"100%25", MH_MAP_SAME}}},
    {.name = "role to announced role",
     .source = {{"Gesendet", MH_ROLE_SENT, A}, {"Papierkorb", MH_ROLE_TRASH}},
     .target = {{"Sent", MH_ROLE_SENT}, {"Sent Items", MH_ROLE_SENT, A}, {"Trash", MH_ROLE_TRASH}},
     .want = {{"Sent Items", MH_MAP_ROLE}, {"Trash", MH_MAP_ROLE}}},
    {.name = "role that the target has not",
     .source = {{"Gesendet", MH_ROLE_SENT}, {"Spam", MH_ROLE_JUNK, A}},
     .want = {{"Sent", MH_MAP_ROLE}, {"Junk", MH_MAP_ROLE}}},
    {.name = "children follow a role",
     .source =
         {{"Gesendet", MH_ROLE_SENT}, {"Gesendet/2019"}, {"Gesendet/2019/Mai"}, {"Gesendet-alt"}},
     .target = {{"Sent Items", MH_ROLE_SENT, A}},
     .want = {{"Sent Items", MH_MAP_ROLE},
              {"Sent Items/2019", MH_MAP_PARENT},
              {"Sent Items/2019/Mai", MH_MAP_PARENT},
              {"Gesendet-alt", MH_MAP_SAME}}},
    {.name = "children stay where the target's folder takes none",
     .source = {{"Gesendet", MH_ROLE_SENT}, {"Gesendet/2019"}},
     .target = {{"Sent", MH_ROLE_SENT, A | MH_FOLDER_NOINFERIORS}},
     .want = {{"Sent", MH_MAP_ROLE}, {"Gesendet/2019", MH_MAP_SAME}}},
    {.name = "children follow past a missing parent",
     .source = {{"Gesendet", MH_ROLE_SENT}, {"Gesendet/a/b"}},
     .target = {{"Sent", MH_ROLE_SENT, A}},
     .want = {{"Sent", MH_MAP_ROLE}, {"Sent/a/b", MH_MAP_PARENT}}},
    {.name = "plain folder with the role's name is numbered",
     .source = {{"Gesendet", MH_ROLE_SENT, A}, {"Sent"}, {"Sent/2019"}, {"Gesendet/2019"}},
     .want = {{"Sent", MH_MAP_ROLE},
              {"Sent (2)", MH_MAP_SAME, MH_MAP_RENAMED},
              {"Sent (2)/2019", MH_MAP_PARENT},
              {"Sent/2019", MH_MAP_PARENT}}},
    {.name = "number passes over names that the source has",
     .source = {{"Gesendet", MH_ROLE_SENT, A}, {"Sent"}, {"Sent (2)"}},
     .want = {{"Sent", MH_MAP_ROLE},
              {"Sent (3)", MH_MAP_SAME, MH_MAP_RENAMED},
              {"Sent (2)", MH_MAP_SAME}}},
    {.name = "number does not depend on the target",
     .source = {{"Gesendet", MH_ROLE_SENT, A}, {"Sent"}},
     .target = {{"Sent", MH_ROLE_SENT}, {"Sent (2)"}},
     .want = {{"Sent", MH_MAP_ROLE}, {"Sent (2)", MH_MAP_SAME, MH_MAP_RENAMED}}},
    {.name = "two folders of one role: announced first",
     .source = {{"A", MH_ROLE_SENT}, {"B", MH_ROLE_SENT, A}},
     .target = {{"Sent", MH_ROLE_SENT, A}},
     .want = {{"A", MH_MAP_SAME}, {"Sent", MH_MAP_ROLE}}},
    {.name = "inbox in other spellings",
     .source = {{"Inbox"}, {"INBOX"}, {"inbox/x"}},
     .want = {{"INBOX (2)", MH_MAP_SAME, MH_MAP_RENAMED},
              {"INBOX", MH_MAP_ROLE},
              {"INBOX/x", MH_MAP_SAME}}},
    {.name = "inbox by role",
     .source = {{"Posteingang", MH_ROLE_INBOX}, {"Posteingang/x"}},
     .want = {{"INBOX", MH_MAP_ROLE}, {"INBOX/x", MH_MAP_PARENT}}},
    {.name = "foreign folders are not carried",
     .source = {{"INBOX"}, {"Other Users/ben", MH_ROLE_NONE, MH_FOLDER_FOREIGN}},
     .want = {{"INBOX", MH_MAP_ROLE}, {NULL, MH_MAP_FOREIGN}}},
    {.name = "a foreign role at the target is no role",
     .source = {{"Gesendet", MH_ROLE_SENT}},
     .target = {{"Shared/Sent", MH_ROLE_SENT, A | MH_FOLDER_FOREIGN}},
     .want = {{"Sent", MH_MAP_ROLE}}},
    {.name = "virtual folders are warned about",
     .source = {{"All", MH_ROLE_ALL, A}},
     .want = {{"All Mail", MH_MAP_ROLE, MH_MAP_VIRTUAL}}},
    {.name = "target's name without messages",
     .source = {{"Work"}, {"Dir", MH_ROLE_NONE, MH_FOLDER_NOSELECT}},
     .target = {{"Work", MH_ROLE_NONE, MH_FOLDER_NOSELECT},
                {"Dir", MH_ROLE_NONE, MH_FOLDER_NOSELECT}},
     .want = {{"Work", MH_MAP_SAME, MH_MAP_NOSELECT}, {"Dir", MH_MAP_SAME}}},
    /* letter case */
    {.name = "letter case among source folders",
     .source = {{"Notes"}, {"notes"}, {"Été"}, {"ÉTÉ"}, {"Other"}},
     .want = {{"Notes", MH_MAP_SAME, MH_MAP_CASE},
              {"notes", MH_MAP_SAME, MH_MAP_CASE},
              {"Été", MH_MAP_SAME, MH_MAP_CASE},
              {"ÉTÉ", MH_MAP_SAME, MH_MAP_CASE},
              {"Other", MH_MAP_SAME}}},
    {.name = "letter case against the target",
     .source = {{"notes"}},
     .target = {{"Notes"}},
     .want = {{"notes", MH_MAP_SAME, MH_MAP_CASE}}},
    {.name = "letter case where the target ignores it",
     .source = {{"NOTES"}, {"Notes"}, {"notes/x"}, {"ΣΊΣΥΦΟΣ"}},
     .target = {{"Notes"}, {"σίσυφος"}},
     .opts = {.target_ignores_case = true},
     .want = {{"Notes", MH_MAP_SAME},
              {"Notes (2)", MH_MAP_SAME, MH_MAP_RENAMED},
              {"notes/x", MH_MAP_SAME},
              {"σίσυφος", MH_MAP_SAME}}},
    /* rules */
    {.name = "rule on the canonical path",
     .source = {{"INBOX/Old/2019/Mai"}, {"INBOX/Old"}},
     .rules = {{.match = "INBOX.Old/(.+)", .to = "Archive/$1"}},
     .want = {{"Archive/2019/Mai", MH_MAP_RULE}, {"INBOX/Old", MH_MAP_SAME}}},
    {.name = "rule on the source's own separator",
     .source = {{"Old/2019/Mai"}},
     .rules = {{.match = "Old\\.(.+)", .to = "Archive/$1"}},
     .opts = {.source_separator = '.'},
     .want = {{"Archive/2019/Mai", MH_MAP_RULE}}},
    {.name = "rule on a name below INBOX that has no INBOX here",
     .source = {{"Old/2019", MH_ROLE_NONE, 0, "INBOX.Old.2019"},
                {"Old/2020", MH_ROLE_NONE, 0, "Old.2020"}},
     .rules = {{.match = "INBOX\\.Old\\.(.+)", .to = "A/$1"},
               {.match = "INBOX/Old/(.+)", .to = "B/$1"}},
     .opts = {.source_separator = '.'},
     .want = {{"A/2019", MH_MAP_RULE}, {"Old/2020", MH_MAP_SAME}}},
    {.name = "rule must fit the whole path",
     .source = {{"Old"}, {"Older"}, {"xOld"}, {"b"}},
     .rules = {{.match = "Old|b", .to = "New"}},
     .want = {{"New", MH_MAP_RULE, MH_MAP_MERGED},
              {"Older", MH_MAP_SAME},
              {"xOld", MH_MAP_SAME},
              {"New", MH_MAP_RULE, MH_MAP_MERGED}}},
    {.name = "first rule counts",
     .source = {{"a"}},
     .rules = {{.match = "a", .to = "one"}, {.match = "a", .to = "two"}},
     .want = {{"one", MH_MAP_RULE}}},
    {.name = "groups",
     .source = {{"a/b/c"}, {"x"}},
     .rules = {{.match = "(a)/(b)/(c)(/d)?", .to = "$3/$2$$$1/$4"}, {.match = "x", .to = "$$5"}},
     .want = {{"c/b$a", MH_MAP_RULE}, {"$5", MH_MAP_RULE}}},
    {.name = "skip",
     .source = {{"Junk", MH_ROLE_JUNK}, {"Junk/x"}, {"Tmp/1"}},
     .rules = {{.role = MH_ROLE_JUNK, .skip = true}, {.match = "Tmp/.*", .skip = true}},
     .want = {{NULL, MH_MAP_SKIP}, {"Junk/x", MH_MAP_SAME}, {NULL, MH_MAP_SKIP}}},
    {.name = "to a role, and below one",
     .source = {{"Gesendet", MH_ROLE_SENT}, {"Gesendet/alt"}, {"Old/2019"}},
     .target = {{"Sent Items", MH_ROLE_SENT, A}},
     .rules = {{.role = MH_ROLE_SENT, .to = "@sent"}, {.match = "Old/(.+)", .to = "@archive/$1"}},
     .want = {{"Sent Items", MH_MAP_RULE},
              {"Sent Items/alt", MH_MAP_PARENT},
              {"Archive/2019", MH_MAP_RULE}}},
    {.name = "role to another name takes its children along, match does not",
     .source = {{"Sent", MH_ROLE_SENT}, {"Sent/x"}, {"Old"}, {"Old/x"}},
     .rules = {{.role = MH_ROLE_SENT, .to = "Mine"}, {.match = "Old", .to = "New"}},
     .want = {{"Mine", MH_MAP_RULE},
              {"Mine/x", MH_MAP_PARENT},
              {"New", MH_MAP_RULE},
              {"Old/x", MH_MAP_SAME}}},
    {.name = "a rule may fold into a folder that is there",
     .source = {{"A"}, {"B"}},
     .rules = {{.match = "A", .to = "B"}},
     .want = {{"B", MH_MAP_RULE, MH_MAP_MERGED}, {"B", MH_MAP_SAME, MH_MAP_MERGED}}},
    {.name = "a rule may fold into a role",
     .source = {{"A"}, {"Gesendet", MH_ROLE_SENT}},
     .rules = {{.match = "A", .to = "@sent"}},
     .want = {{"Sent", MH_MAP_RULE, MH_MAP_MERGED}, {"Sent", MH_MAP_ROLE, MH_MAP_MERGED}}},
    {.name = "number passes over what a rule made",
     .source = {{"Gesendet", MH_ROLE_SENT, A}, {"Sent"}, {"x"}},
     .rules = {{.match = "x", .to = "Sent (2)"}},
     .want = {{"Sent", MH_MAP_ROLE},
              {"Sent (3)", MH_MAP_SAME, MH_MAP_RENAMED},
              {"Sent (2)", MH_MAP_RULE}}},
    {.name = "a rule's path is made canonical",
     .source = {{"a"}, {"b"}, {"é"}, {"c%2Fd"}},
     .rules = {{.match = "a", .to = "/X//inbox/"},
               {.match = "b", .to = "inbox/%41%2f"},
               {.match = "(.)", .to = "$1"},
               {.match = "c(.*)", .to = "$1"}},
     .want = {{"X/inbox", MH_MAP_RULE},
              {"INBOX/A%2F", MH_MAP_RULE},
              {"é", MH_MAP_RULE},
              {"%2Fd", MH_MAP_RULE}}},
    /* prefix and folders of the command line */
    {.name = "folder prefix",
     .source = {{"INBOX"}, {"Gesendet", MH_ROLE_SENT}, {"A/B"}, {"r"}, {"s"}},
     .target = {{"Sent", MH_ROLE_SENT, A}},
     .rules = {{.match = "r", .to = "R"}, {.match = "s", .to = "@sent"}},
     .opts = {.folder_prefix = "Old/Mail"},
     .want = {{"Old/Mail/INBOX", MH_MAP_PREFIX},
              {"Old/Mail/Gesendet", MH_MAP_PREFIX},
              {"Old/Mail/A/B", MH_MAP_PREFIX},
              {"Old/Mail/R", MH_MAP_RULE},
              {"Sent", MH_MAP_RULE}}},
    {.name = "one folder to another",
     .source = {{"Work"}, {"Work/x"}, {"Workshop"}, {"INBOX"}},
     .opts = {.source_folder = "Work", .target_folder = "Old/Job"},
     .want = {{"Old/Job", MH_MAP_PREFIX},
              {"Old/Job/x", MH_MAP_PREFIX},
              {NULL, MH_MAP_OUTSIDE},
              {NULL, MH_MAP_OUTSIDE}}},
    {.name = "one folder",
     .source = {{"Gesendet", MH_ROLE_SENT}, {"INBOX"}},
     .target = {{"Sent", MH_ROLE_SENT, A}},
     .opts = {.source_folder = "Gesendet"},
     .want = {{"Sent", MH_MAP_ROLE}, {NULL, MH_MAP_OUTSIDE}}},
    {.name = "into a folder",
     .source = {{"INBOX"}, {"A"}},
     .opts = {.target_folder = "Import"},
     .want = {{"Import/INBOX", MH_MAP_PREFIX}, {"Import/A", MH_MAP_PREFIX}}},
    /* earlier runs */
    {.name = "an earlier run's paths stay",
     .source = {{"Gesendet"}, {"Sent", MH_ROLE_SENT, A}, {"New", MH_ROLE_NONE}},
     .opts = {.known = known_target, .known_ctx = (void *)known_pairs},
     .want = {{"Sent", MH_MAP_KNOWN}, {"Sent (2)", MH_MAP_KNOWN}, {"New", MH_MAP_SAME}}},
    {.name = "a new folder does not slip into an earlier run's",
     .source = {{"Gesendet"}, {"Postausgang", MH_ROLE_SENT, A}},
     .opts = {.known = known_target, .known_ctx = (void *)known_pairs},
     .want = {{"Sent", MH_MAP_KNOWN}, {"Postausgang", MH_MAP_SAME}}},
    {.name = "a rule goes before an earlier run",
     .source = {{"Gesendet"}},
     .rules = {{.match = "Gesendet", .to = "X"}},
     .opts = {.known = known_target, .known_ctx = (void *)known_pairs},
     .want = {{"X", MH_MAP_RULE}}},
};

static void check_entry(const char *name, const struct mh_map_entry *e, const struct want *w)
{
    cr_expect_eq(e->target != NULL, w->target != NULL, "%s: %s", name, e->source->path);
    if (e->target && w->target)
        cr_expect_str_eq(e->target, w->target, "%s: %s -> %s, not %s", name, e->source->path,
                         e->target, w->target);
    cr_expect_eq(e->why, w->why, "%s: %s is '%s', not '%s'", name, e->source->path,
                 mh_map_why_name(e->why), mh_map_why_name(w->why));
    cr_expect_eq(e->flags, w->flags, "%s: %s has flags %x, not %x", name, e->source->path, e->flags,
                 w->flags);
    cr_expect_eq(e->note != NULL, e->flags != 0, "%s: %s", name, e->source->path);
    cr_expect_eq(e->rule != 0, e->why == MH_MAP_RULE || e->why == MH_MAP_SKIP, "%s", name);
}

Test(plan_map, maps_folders)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_folders source = MH_FOLDERS_INIT, target = MH_FOLDERS_INIT;
        struct mh_mapping m;
        struct mh_err err = {0};
        fill(&source, cases[i].source, ROWS_MAX);
        fill(&target, cases[i].target, ROWS_MAX);
        struct mh_map_rules *rules = make_rules(cases[i].rules, MH_ARRAY_LEN(cases[i].rules));
        cr_assert_eq(mh_map_apply(rules, &source, &target, &cases[i].opts, &m, &err), 0, "%s: %s",
                     cases[i].name, err.text);
        cr_assert_eq(m.n, source.n);
        for (size_t k = 0; k < m.n; k++) {
            cr_assert_eq(m.v[k].source, &source.v[k]);
            check_entry(cases[i].name, &m.v[k], &cases[i].want[k]);
        }
        mh_mapping_done(&m);
        mh_map_rules_free(rules);
        mh_folders_done(&source);
        mh_folders_done(&target);
    }
}

/* The order in which a server lists its folders decides nothing. */
Test(plan_map, does_not_depend_on_the_order)
{
    static const struct row forward[] = {{"Gesendet", MH_ROLE_SENT},
                                         {"Sent"},
                                         {"Sent/a"},
                                         {"Gesendet/a"},
                                         {"sent"},
                                         {"Inbox"},
                                         {"INBOX"}};
    const size_t n = MH_ARRAY_LEN(forward);
    struct mh_folders target = MH_FOLDERS_INIT;
    struct mh_map_opts opts = {.target_ignores_case = true};
    char *first[MH_ARRAY_LEN(forward)] = {NULL};
    for (size_t turn = 0; turn < n; turn++) {
        struct row rows[MH_ARRAY_LEN(forward)];
        struct mh_folders source = MH_FOLDERS_INIT;
        struct mh_mapping m;
        struct mh_err err = {0};
        for (size_t k = 0; k < n; k++)
            rows[k] = forward[turn % 2 ? (2 * n - 1 - k - turn) % n : (k + turn) % n];
        fill(&source, rows, n);
        cr_assert_eq(mh_map_apply(NULL, &source, &target, &opts, &m, &err), 0);
        for (size_t k = 0; k < n; k++) {
            size_t at = turn % 2 ? (2 * n - 1 - k - turn) % n : (k + turn) % n;
            if (!first[at])
                first[at] = mh_strdup(m.v[k].target);
            cr_expect_str_eq(m.v[k].target, first[at], "turn %zu: %s", turn, m.v[k].source->path);
        }
        mh_mapping_done(&m);
        mh_folders_done(&source);
    }
    for (size_t k = 0; k < n; k++)
        mh_free(first[k]);
}

Test(plan_map, tells_what_to_make_and_counts)
{
    static const struct row from[] = {
        {"Gesendet", MH_ROLE_SENT, A}, {"Sent"}, {"notes"}, {"Notes"}, {"A"}, {"B"}};
    static const struct row to[] = {{"Notes"}};
    const struct mh_map_rule rule[] = {{.match = "A|B", .to = "AB"}};
    struct mh_folders source = MH_FOLDERS_INIT, target = MH_FOLDERS_INIT;
    struct mh_mapping m;
    struct mh_err err = {0};
    fill(&source, from, MH_ARRAY_LEN(from));
    fill(&target, to, 1);
    struct mh_map_rules *rules = make_rules(rule, 1);
    cr_assert_eq(mh_map_apply(rules, &source, &target, NULL, &m, &err), 0);
    cr_expect_eq(m.v[0].role, MH_ROLE_SENT);
    cr_expect_null(m.v[0].existing);
    cr_expect_eq(m.v[1].role, MH_ROLE_NONE);
    cr_expect_eq(m.v[3].existing, &target.v[0]);
    cr_expect_eq(m.carried, 6u);
    cr_expect_eq(m.merged, 2u);
    cr_expect_eq(m.renamed, 1u);
    cr_expect_eq(m.warned, 2u);
    cr_expect_str_eq(m.v[4].note, "several folders become this one");
    mh_mapping_done(&m);
    mh_map_rules_free(rules);
    mh_folders_done(&source);
    mh_folders_done(&target);
}

Test(plan_map, refuses_an_empty_result)
{
    static const struct row from[] = {{"x"}};
    const struct mh_map_rule rule[] = {{.match = "x(.*)", .to = "/$1/"}};
    struct mh_folders source = MH_FOLDERS_INIT, target = MH_FOLDERS_INIT;
    struct mh_map_opts with_prefix = {.folder_prefix = "P"};
    struct mh_map_opts *opts[] = {NULL, &with_prefix};
    fill(&source, from, 1);
    struct mh_map_rules *rules = make_rules(rule, 1);
    for (size_t i = 0; i < MH_ARRAY_LEN(opts); i++) {
        struct mh_mapping m;
        struct mh_err err = {0};
        cr_expect_eq(mh_map_apply(rules, &source, &target, opts[i], &m, &err), MH_EUSAGE);
        cr_expect_str_eq(
            err.text, "map rule 1 (match \"x(.*)\" to \"/$1/\") makes an empty name of folder 'x'; "
                      "change the rule");
        mh_mapping_done(&m);
    }
    mh_map_rules_free(rules);
    mh_folders_done(&source);
}

/* --- bounds ----------------------------------------------------------------------------------- */

Test(plan_map, bounds_rules_and_paths)
{
    struct mh_map_rules *r = NULL;
    struct mh_err err = {0};
    char match[600];
    memset(match, 'a', sizeof match);
    match[sizeof match - 1] = '\0';
    const struct mh_map_rule lengthy = {.match = match, .skip = true};
    const struct mh_map_rule all = {.match = ".*", .skip = true};
    cr_assert_eq(mh_map_rules_new(&r, &err), 0);
    cr_expect_eq(mh_map_rules_add(r, &lengthy, &err), MH_EUSAGE);
    for (int i = 0; i < MH_MAP_RULES_MAX; i++)
        cr_assert_eq(mh_map_rules_add(r, &all, &err), 0);
    cr_expect_eq(mh_map_rules_add(r, &all, &err), MH_EUSAGE);

    char path[MH_MAP_MATCH_PATH_MAX_BYTES + 2];
    memset(path, 'b', sizeof path);
    path[sizeof path - 1] = '\0';
    struct mh_folders source = MH_FOLDERS_INIT, target = MH_FOLDERS_INIT;
    struct mh_mapping m;
    const struct row rows[] = {{path}, {"short"}};
    fill(&source, rows, 2);
    cr_assert_eq(mh_map_apply(r, &source, &target, NULL, &m, &err), 0);
    cr_expect_str_eq(m.v[0].target, path);
    cr_expect_eq(m.v[0].flags, MH_MAP_UNMATCHED);
    cr_expect_eq(m.v[1].why, MH_MAP_SKIP);
    mh_mapping_done(&m);
    mh_map_rules_free(r);
    mh_folders_done(&source);
}

Test(plan_map, survives_each_failed_allocation)
{
    static const struct row from[] = {
        {"Gesendet", MH_ROLE_SENT, A},        {"Sent"}, {"Sent/x"}, {"notes"}, {"Notes"},
        {"A/1", MH_ROLE_NONE, 0, "INBOX.A.1"}};
    static const struct row to[] = {{"NOTES"}, {"Trash", MH_ROLE_TRASH}};
    const struct mh_map_rule rule[] = {{.match = "INBOX\\.A\\.(.*)", .to = "@archive/$1"}};
    struct mh_folders source = MH_FOLDERS_INIT, target = MH_FOLDERS_INIT;
    fill(&source, from, MH_ARRAY_LEN(from));
    fill(&target, to, MH_ARRAY_LEN(to));
    struct mh_map_rules *rules = make_rules(rule, 1);
    for (int ignores = 0; ignores < 2; ignores++) {
        struct mh_map_opts opts = {.source_separator = '.', .target_ignores_case = ignores};
        for (struct oom o = {0}; oom_next(&o);) {
            struct mh_mapping m;
            struct mh_err err = {0};
            oom_begin(&o);
            int rc = mh_map_apply(rules, &source, &target, &opts, &m, &err);
            oom_end(&o);
            cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u: %d %s", o.nth, rc,
                         err.text);
            mh_mapping_done(&m);
        }
    }
    mh_map_rules_free(rules);
    mh_folders_done(&source);
    mh_folders_done(&target);
}

Test(plan_map, takes_many_folders)
{
    struct mh_folders source = MH_FOLDERS_INIT, target = MH_FOLDERS_INIT;
    struct mh_mapping m;
    struct mh_err err = {0};
    const size_t n = 50000;
    for (size_t i = 0; i < n; i++) {
        struct mh_folder *f = NULL;
        char path[64];
        /* Half of them differ in letter case only. */
        (void)snprintf(path, sizeof path, "%s/%zu", i % 2 ? "Tree" : "tree", i / 2);
        cr_assert_eq(mh_folders_add(&source, path, path, &f, &err), 0);
    }
    struct mh_map_opts opts = {.target_ignores_case = true};
    cr_assert_eq(mh_map_apply(NULL, &source, &target, &opts, &m, &err), 0);
    cr_expect_eq(m.carried, n);
    cr_expect_eq(m.renamed, n / 2);
    mh_mapping_done(&m);
    mh_folders_done(&source);
}

/* --- keywords --------------------------------------------------------------------------------- */

static const struct {
    const char *name, *in, *out, *dropped;
    bool changed;
} keywords[] = {
    {"none", "", "", "", false},
    {"others stay", "A b $Forwarded", "A b $Forwarded", "", false},
    {"dropped", "$MDNSent x", "x", "$MDNSent", true},
    {"dropped in another case", "$mdnsent", "", "$mdnsent", true},
    {"renamed", "a foo z", "a Bar z", "", true},
    {"renamed onto one that is there", "bar foo", "bar", "", true},
    {"renamed onto one that comes", "FOO bar", "Bar", "", true},
    {"two become one", "foo foo2", "Bar", "", true},
    {"renamed to itself in other letters", "case", "Case", "", true},
    {"not in a chain", "one", "two", "", true},
    {"extra blanks", "  a   $MDNSent   foo  ", "a Bar", "$MDNSent", true},
    {"all dropped", "$MDNSent Junk", "", "$MDNSent Junk", true},
};

Test(plan_keywords, are_mapped)
{
    struct mh_keyword_map m = {NULL, 0};
    struct mh_err err = {0};
    static const char *const rules[][2] = {{"$MDNSent", NULL}, {"Foo", "Bar"}, {"foo2", "Bar"},
                                           {"case", "Case"},   {"one", "two"}, {"two", "three"},
                                           {"junk", NULL}};
    for (size_t i = 0; i < MH_ARRAY_LEN(rules); i++)
        cr_assert_eq(mh_keyword_map_add(&m, rules[i][0], rules[i][1], &err), 0, "%s", err.text);
    for (size_t i = 0; i < MH_ARRAY_LEN(keywords); i++) {
        struct mh_buf out = MH_BUF_INIT, dropped = MH_BUF_INIT;
        mh_buf_adds(&out, "before ");
        bool changed = mh_map_keywords(&m, keywords[i].in, &out, &dropped);
        cr_expect_str_eq(mh_buf_str(&out) + 7, keywords[i].out, "%s: '%s'", keywords[i].name,
                         mh_buf_str(&out));
        cr_expect_str_eq(mh_buf_str(&dropped), keywords[i].dropped, "%s", keywords[i].name);
        cr_expect_eq(changed, keywords[i].changed, "%s", keywords[i].name);
        mh_buf_done(&out);
        mh_buf_done(&dropped);
    }
    mh_keyword_map_done(&m);
}

Test(plan_keywords, without_rules_stay)
{
    struct mh_buf out = MH_BUF_INIT, dropped = MH_BUF_INIT;
    cr_expect_not(mh_map_keywords(NULL, "a B", &out, &dropped));
    cr_expect_str_eq(mh_buf_str(&out), "a B");
    mh_buf_done(&out);
    mh_buf_done(&dropped);
}

Test(plan_keywords, refuse_what_no_server_takes)
{
    static const char *const bad[] = {"",     "a b",  "a(b", "a)b",  "a{b",  "a%b", "a*b",
                                      "a\"b", "a\\b", "a]b", "\x7f", "\x01", "é"};
    struct mh_keyword_map m = {NULL, 0};
    for (size_t i = 0; i < MH_ARRAY_LEN(bad); i++) {
        struct mh_err err = {0};
        cr_expect_eq(mh_keyword_map_add(&m, "from", bad[i], &err), MH_EUSAGE, "'%s'", bad[i]);
        cr_expect_str_not_empty(err.text);
    }
    struct mh_err err = {0};
    cr_expect_eq(mh_keyword_map_add(&m, "é", "e", &err), 0, "what a source has may be anything");
    for (int i = 1; i < MH_KEYWORD_RULES_MAX; i++) {
        char from[16];
        (void)snprintf(from, sizeof from, "k%d", i);
        cr_assert_eq(mh_keyword_map_add(&m, from, NULL, &err), 0);
    }
    cr_expect_eq(mh_keyword_map_add(&m, "more", NULL, &err), MH_EUSAGE);
    mh_keyword_map_done(&m);
}
