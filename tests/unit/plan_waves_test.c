/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Waves: their expressions, and how they take mailboxes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "plan/plan.h"

#define PROJECT                                                                                    \
    "version: 1\nsource: {type: imap, host: a}\ntarget: {type: imap, host: b}\nusers: users.csv\n"

static const char csv[] = "id,source_user,target_user,dept,pilot,site\n"
                          "anna,a,a2,sales,yes,New York\n"
                          "ben,b,b2,sales,no,Paris\n"
                          "carl,c,c2,it,Yes,\" Paris \"\n"
                          "dora,d,d2,it,,Rome\n";

/* A plan whose wave NAME selects by EXPRESSION, or the error line. */
static struct mh_plan *plan_with(const char *expression, char line[1024])
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    char text[2048];
    (void)snprintf(text, sizeof text, PROJECT "waves:\n- name: w\n  select: >-\n    %s\n",
                   expression);
    int rc = mh_plan_parse(text, strlen(text), "mailhaul.yaml", &p, &err);
    if (rc == 0) {
        rc = mh_plan_add_users(p, csv, strlen(csv), "users.csv", 0644, NULL, &err);
        if (rc) {
            mh_plan_free(p);
            p = NULL;
        }
    }
    cr_expect(rc == 0 || rc == MH_EUSAGE);
    mh_err_line(&err, line, 1024);
    return p;
}

static const struct {
    const char *select, *ids; /* initials */
} selections[] = {
    {"pilot == yes", "ac"},
    {"pilot != yes", "bd"},
    {"dept == sales and pilot == yes", "a"},
    {"dept == sales or pilot == yes", "abc"},
    {"dept == it or dept == sales and pilot == no", "bcd"},
    {"(dept == it or dept == sales) and pilot == no", "b"},
    {"dept == sales and (pilot == no or site == \"New York\")", "ab"},
    {"site == 'paris'", "bc"},
    {"site == \"new york\"", "a"},
    {"pilot == \"\"", "d"},
    {"DEPT==IT AND pilot!=yes", "d"},
    {"id == dora", "d"},
    {"source_user == b", "b"},
    {"((((id == dora))))", "d"},
    {"id == nobody", ""},
};

Test(plan_waves, select_mailboxes)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(selections); i++) {
        char line[1024], ids[8] = "";
        struct mh_plan *p = plan_with(selections[i].select, line);
        cr_assert_not_null(p, "%s: %s", selections[i].select, line);
        const struct mh_wave *w = mh_plan_wave(p, "w");
        for (size_t m = 0, n = 0; m < p->n_mailboxes; m++) {
            if (mh_wave_selects(w, &p->mailboxes[m]))
                ids[n++] = p->mailboxes[m].id[0];
        }
        cr_expect_str_eq(ids, selections[i].ids, "%s: %s", selections[i].select, ids);
        mh_plan_free(p);
    }
}

static const struct {
    const char *select, *line;
} faults[] = {
    {"pilot = yes", "mailhaul.yaml:7:11: select: here should be == or !=, not '='"},
    {"pilot", "mailhaul.yaml:7:11: select: == or != is missing at the end"},
    {"pilot ==", "mailhaul.yaml:7:11: select: a value is missing at the end"},
    {"== yes", "mailhaul.yaml:7:11: select: here should be the name of a column, not '=='"},
    {"and == yes", "mailhaul.yaml:7:11: select: here should be the name of a column, not 'and'"},
    {"pilot == yes and", "mailhaul.yaml:7:11: select: the name of a column is missing at the end"},
    {"pilot == yes dept == it",
     "mailhaul.yaml:7:11: select: here should be 'and', 'or' or the end, not 'dept'"},
    {"pilot == yes && dept == it",
     "mailhaul.yaml:7:11: select: here should be 'and', 'or' or the end, not '&&'"},
    {"(pilot == yes", "mailhaul.yaml:7:11: select: a closing parenthesis is missing at the end"},
    {"pilot == yes)", "mailhaul.yaml:7:11: select: here should be 'and', 'or' or the end, not ')'"},
    {"pilot == \"yes", "mailhaul.yaml:7:11: select: here should be a value, not '\"yes'"},
    {"((((((((((((((((( a == b", "mailhaul.yaml:7:11: select: more than 16 parentheses deep"},
    {"pilto == yes", "mailhaul.yaml:7:11: wave 'w' selects by 'pilto', which is no column of "
                     "users.csv; did you mean 'pilot'?"},
    {"dept == it or town == x",
     "mailhaul.yaml:7:11: wave 'w' selects by 'town', which is no column of users.csv"},
};

Test(plan_waves, say_what_is_wrong_with_an_expression)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(faults); i++) {
        char line[1024];
        struct mh_plan *p = plan_with(faults[i].select, line);
        cr_expect_null(p, "%s", faults[i].select);
        cr_expect(mh_str_starts(line, faults[i].line), "%s:\n  got  %s\n  want %s",
                  faults[i].select, line, faults[i].line);
        mh_plan_free(p);
    }
}

Test(plan_waves, bound_the_length_of_an_expression)
{
    struct mh_buf b = MH_BUF_INIT;
    char line[1024];
    mh_buf_adds(&b, "a==b");
    for (int i = 0; i < 200; i++)
        mh_buf_adds(&b, " or c==d");
    mh_buf_addc(&b, '\0');
    cr_expect_null(plan_with(b.data, line));
    cr_expect_str_eq(line, "mailhaul.yaml:7:11: select: more than 256 parts");
    mh_buf_done(&b);
}

Test(plan_waves, are_compared_with_the_mailboxes)
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    static const char text[] = PROJECT "waves:\n- {name: pilot, select: pilot == yes}\n"
                                       "- {name: sales, select: dept == sales, after: pilot}\n"
                                       "- {name: none, select: dept == board}\n";
    cr_assert_eq(mh_plan_parse(text, strlen(text), "mailhaul.yaml", &p, &err), 0);
    cr_assert_eq(mh_plan_add_users(p, csv, strlen(csv), "users.csv", 0644, NULL, &err), 0);
    cr_assert_eq(p->notes.n, 3u);
    cr_expect_str_eq(p->notes.v[0], "mailhaul.yaml:8: wave 'none' selects no mailbox");
    cr_expect_str_eq(p->notes.v[1], "mailhaul.yaml: 1 mailbox is in no wave: dora");
    cr_expect_str_eq(p->notes.v[2], "mailhaul.yaml: 1 mailbox is in more than one wave: anna");
    cr_expect_null(mh_plan_wave(p, "it"));
    mh_plan_free(p);
}

Test(plan_waves, windows)
{
    static const struct {
        const char *window;
        bool is_good;
    } cases[] = {
        {"20:00-06:00", true},       {"Fri 20:00-06:00", true},     {"mon-thu 19:00-24:00", true},
        {"00:00-24:00", true},       {"20:00-20:00", false},        {"8:00-9:00", false},
        {"08:60-09:00", false},      {"24:01-09:00", false},        {"Fri20:00-06:00", false},
        {"Fri- 20:00-06:00", false}, {"Friday 20:00-06:00", false}, {"20:00", false},
        {"20:00-", false},           {"20:00-06:00 x", false},      {"25:00-06:00", false},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_plan *p = NULL;
        struct mh_err err = {0};
        char text[512];
        (void)snprintf(text, sizeof text,
                       PROJECT "waves: [{name: w, select: a == b, window: '%s'}]\n",
                       cases[i].window);
        int rc = mh_plan_parse(text, strlen(text), "mailhaul.yaml", &p, &err);
        cr_expect_eq(rc, cases[i].is_good ? 0 : MH_EUSAGE, "'%s': %s", cases[i].window, err.text);
        if (rc == 0)
            mh_plan_free(p);
    }
}
