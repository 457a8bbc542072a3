/* SPDX-License-Identifier: GPL-3.0-or-later */
/* users.csv, the endpoints of each mailbox, and plans from URLs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "out_of_memory.h"
#include "plan/plan.h"
#include "scratch.h"

#define PROJECT                                                                                    \
    "version: 1\n"                                                                                 \
    "source: {type: imap, host: imap.old.example, admin-user: migadmin, password-file: "           \
    "'pw/{user}'}\n"                                                                               \
    "target: {type: imap, host: imap.new.example, password-command: [pass, 'new/{user}', x]}\n"    \
    "users: users.csv\n"
#define HEADER "id,source_user,target_user\n"

static struct mh_plan *project(const char *text)
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    char line[1024];
    int rc = mh_plan_parse(text, strlen(text), "acme/mailhaul.yaml", &p, &err);
    cr_assert_eq(rc, 0, "%s", mh_err_line(&err, line, sizeof line));
    return p;
}

static int add(struct mh_plan *p, const char *csv, unsigned mode, const struct mh_plan_opts *opts,
               char line[1024])
{
    struct mh_err err = {0};
    int rc = mh_plan_add_users(p, csv, strlen(csv), "users.csv", mode, opts, &err);
    mh_err_line(&err, line, 1024);
    return rc;
}

Test(plan_users, resolves_each_row_into_two_endpoints)
{
    char line[1024];
    struct mh_plan *p = project(PROJECT);
    cr_assert_eq(add(p, HEADER "anna,anna@old.example,anna@new.example\n", 0644, NULL, line), 0,
                 "%s", line);
    cr_assert_eq(p->n_mailboxes, 1u);
    const struct mh_mailbox *m = &p->mailboxes[0];
    cr_expect_str_eq(m->id, "anna");
    cr_expect_eq(m->line, 2u);
    cr_expect_str_eq(m->source.host, "imap.old.example");
    cr_expect_str_eq(m->source.user, "anna@old.example");
    cr_expect_str_eq(m->source.admin_user, "migadmin");
    cr_expect_str_eq(m->source.secret.file, "acme/pw/anna@old.example");
    cr_expect_str_eq(m->target.user, "anna@new.example");
    cr_expect_str_eq(m->target.secret.command[0], "pass");
    cr_expect_str_eq(m->target.secret.command[1], "new/anna@new.example");
    cr_expect_str_eq(m->target.secret.command[2], "x");
    cr_expect_null(m->target.secret.command[3]);
    mh_plan_free(p);
}

Test(plan_users, finds_mailboxes_users_and_cells)
{
    char line[1024];
    struct mh_plan *p = project(PROJECT);
    cr_assert_eq(add(p,
                     "\xef\xbb\xbf"
                     "Dept,ID,source_user,target_user,Note\r\n"
                     "sales,Anna,anna@old,a.roth@new,\"with, comma and \"\"quotes\"\"\"\r\n"
                     "\r\n   \r\n"
                     "it, Ben ,ben@old,ben@new,\"two\r\nlines\"\r\n"
                     "it,ann2,anna@old,ann2@new,",
                     0644, NULL, line),
                 0, "%s", line);
    cr_assert_eq(p->n_mailboxes, 3u);
    cr_expect_eq(p->mailboxes[1].line, 5u);
    cr_expect_eq(p->mailboxes[2].line, 7u);
    cr_expect_str_eq(p->mailboxes[1].id, "Ben");
    cr_expect_eq(mh_plan_mailbox(p, "ben"), &p->mailboxes[1]);
    cr_expect_null(mh_plan_mailbox(p, "carl"));
    cr_expect_str_eq(mh_plan_map_user(p, "ANNA@old"), "a.roth@new", "the first row counts");
    cr_expect_null(mh_plan_map_user(p, "anna@new"));
    cr_expect_null(mh_plan_map_user(p, ""));
    cr_expect_str_eq(mh_plan_cell(p, &p->mailboxes[0], "dept"), "sales");
    cr_expect_str_eq(mh_plan_cell(p, &p->mailboxes[0], "Note"), "with, comma and \"quotes\"");
    cr_expect_str_eq(mh_plan_cell(p, &p->mailboxes[1], "note"), "two\r\nlines");
    cr_expect_null(mh_plan_cell(p, &p->mailboxes[0], "town"));
    mh_plan_free(p);
}

static const struct {
    const char *name, *csv, *line;
} faults[] = {
    {"empty file", "",
     "users.csv: the file is empty; its first line is id,source_user,target_user"},
    {"blank file", "\n\n", "users.csv: the file is empty"},
    {"only a header", HEADER, "users.csv: there is no mailbox behind the first line"},
    {"missing column", "id,source_user\na,b\n",
     "users.csv:1: the column 'target_user' is missing; the first line names"},
    {"misspelt column", "id,source_user,targetuser\na,b,c\n",
     "users.csv:1: the column 'target_user' is missing (there is 'targetuser')"},
    {"no header", "anna,anna@old,anna@new\n", "users.csv:1: the column 'id' is missing"},
    {"semicolons", "id;source_user;target_user\na;b;c\n",
     "users.csv:1: the columns are separated by ';'; save the file with commas"},
    {"tabs", "id\tsource_user\ttarget_user\n", "users.csv:1: the columns are separated by tabs"},
    {"column twice", "id,source_user,target_user,ID\n", "users.csv:1: column 'ID' is here twice"},
    {"column without name", "id,source_user,target_user,\n", "users.csv:1: column 4 has no name"},
    {"empty id", HEADER "a,b,c\n,d,e\n", "users.csv:3: the id is empty"},
    {"empty source user", HEADER "a,,c\n",
     "users.csv:2: source_user is empty; name the user at the source"},
    {"empty target user", HEADER "a,b,\n", "users.csv:2: target_user is empty"},
    {"id twice", HEADER "a,b,c\n\nd,e,f\nA,g,h\n", "users.csv:5: the id 'A' is in line 2 too"},
    {"target twice", HEADER "a,b,Post@new.example\n\"d\",e,post@NEW.example\n",
     "users.csv:3: the target 'post@NEW.example' is that of line 2 ('a') too, two mailboxes would "
     "be mixed into one"},
    {"too few values", HEADER "a,b\n", "users.csv:2: 2 values, but the first line names 3 columns"},
    {"too many values", HEADER "a,b,c,d\n",
     "users.csv:2: 4 values, but the first line names 3 columns"},
    {"one value", HEADER "a\n", "users.csv:2: 1 value, but"},
    {"stray quote", HEADER "a,b\"c,d\n", "users.csv:2: a quote where none can be"},
    {"text behind quote", HEADER "a,\"b\"c,d\n", "users.csv:2: a quote where none can be"},
    {"open quote", HEADER "a,\"b,c\nd,e,f\n",
     "users.csv:2: the quote that is opened here is never closed"},
    {"id over two lines", HEADER "\"a\nb\",c,d\n", "users.csv:2: id has a line end or tab in it"},
    {"not UTF-8", HEADER "a,b\xff,c\n", "users.csv:2:4: byte 0xFF is not UTF-8"},
    {"control byte", HEADER "a,\x1b,c\n", "users.csv:2:3: control character 0x1B"},
    {"user leads out of the path", HEADER "a,../b,c\n",
     "users.csv:2: the user '../b' cannot stand for {user} in password-file"},
};

Test(plan_users, says_what_is_wrong_and_in_which_line)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(faults); i++) {
        char line[1024];
        struct mh_plan *p = project(PROJECT);
        cr_expect_eq(add(p, faults[i].csv, 0600, NULL, line), MH_EUSAGE, "%s", faults[i].name);
        cr_expect(mh_str_starts(line, faults[i].line), "%s:\n  got  %s\n  want %s", faults[i].name,
                  line, faults[i].line);
        mh_plan_free(p);
    }
}

Test(plan_users, refuses_bytes_that_are_no_text)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
        const char *line;
    } cases[] = {
        {"NUL", HEADER "a,b\0,c\n", sizeof HEADER "a,b\0,c\n" - 1, "users.csv:2:4: a NUL byte"},
        {"UTF-16", "\xff\xfei\0d\0", 6, "users.csv:1:1: the file is UTF-16; save it as UTF-8"},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_plan *p = project(PROJECT);
        struct mh_err err = {0};
        char line[1024];
        cr_expect_eq(
            mh_plan_add_users(p, cases[i].bytes, cases[i].len, "users.csv", 0600, NULL, &err),
            MH_EUSAGE);
        cr_expect(mh_str_starts(mh_err_line(&err, line, sizeof line), cases[i].line), "%s", line);
        mh_plan_free(p);
    }
}

Test(plan_users, bounds_cells_and_columns)
{
    struct mh_buf wide = MH_BUF_INIT, longer = MH_BUF_INIT;
    char line[1024];
    for (int i = 0; i < 300; i++)
        mh_buf_addf(&wide, "c%d,", i);
    mh_buf_adds(&longer, HEADER "a,b,");
    for (int i = 0; i < 5000; i++)
        mh_buf_addc(&longer, 'x');
    struct mh_plan *p = project(PROJECT);
    cr_expect_eq(add(p, wide.data, 0600, NULL, line), MH_EUSAGE);
    cr_expect_str_eq(line, "users.csv:1: more than 256 columns");
    mh_plan_free(p);
    p = project(PROJECT);
    cr_expect_eq(add(p, longer.data, 0600, NULL, line), MH_EUSAGE);
    cr_expect_str_eq(line, "users.csv:2: column 3 is longer than 4096 bytes; is a quote missing?");
    mh_plan_free(p);
    mh_buf_done(&wide);
    mh_buf_done(&longer);
}

/* --- secrets ---------------------------------------------------------------------------------- */

#define WITH_PASSWORDS "id,source_user,target_user,source_password,target_password_file\n"

Test(plan_users, takes_passwords_from_a_private_file_only)
{
    static const struct {
        unsigned mode;
        int rc;
    } modes[] = {{0600, 0},         {0400, 0},         {0640, MH_EUSAGE},
                 {0604, MH_EUSAGE}, {0644, MH_EUSAGE}, {0700, MH_EUSAGE}};
    for (size_t i = 0; i < MH_ARRAY_LEN(modes); i++) {
        char line[1024];
        struct mh_plan *p = project(PROJECT);
        int rc = add(p, WITH_PASSWORDS "a,b,c,s3cret,pw.txt\n", modes[i].mode, NULL, line);
        cr_expect_eq(rc, modes[i].rc, "%04o: %s", modes[i].mode, line);
        if (rc)
            cr_expect_not_null(strstr(line, "chmod 600 users.csv"), "%s", line);
        cr_expect_null(strstr(line, "s3cret"));
        mh_plan_free(p);
    }
}

Test(plan_users, keeps_passwords_in_endpoints_alone)
{
    char line[1024];
    struct mh_plan *p = project(PROJECT);
    cr_assert_eq(add(p, WITH_PASSWORDS "a,b,c,s3cret,pw.txt\nd,e,f,,\n", 0600, NULL, line), 0, "%s",
                 line);
    const struct mh_mailbox *m = p->mailboxes;
    cr_expect_str_eq(m[0].source.secret.value, "s3cret");
    cr_expect_null(m[0].source.secret.file, "the row goes before the project file");
    cr_expect_str_eq(m[0].target.secret.file, "acme/pw.txt");
    cr_expect_null(m[0].target.secret.command);
    cr_expect_str_eq(mh_plan_cell(p, &m[0], "source_password"), "");
    cr_expect_str_eq(m[1].source.secret.file, "acme/pw/e");
    cr_expect_str_eq(m[1].target.secret.command[1], "new/f");
    mh_plan_free(p);
}

Test(plan_users, refuses_a_row_with_two_secrets)
{
    char line[1024];
    struct mh_plan *p = project(PROJECT);
    cr_expect_eq(add(p,
                     "id,source_user,target_user,source_password,source_password_file\na,b,c,d,e\n",
                     0600, NULL, line),
                 MH_EUSAGE);
    cr_expect_str_eq(
        line, "users.csv:2: this line has both a source password and a password file; keep one");
    mh_plan_free(p);
}

Test(plan_users, command_line_goes_first_and_environment_last)
{
    char program[] = "get", user[] = "{user}";
    char *const command[] = {program, user, NULL};
    const struct mh_plan_opts opts = {.source = {.command = command, .value = "unused"},
                                      .target = {.value = "from-env"}};
    char line[1024];
    struct mh_plan *p = project("version: 1\nsource: {type: imap, host: a, password-file: f}\n"
                                "target: {type: imap, host: b}\nusers: users.csv\n");
    cr_assert_eq(add(p, HEADER "a,b,c\n", 0644, &opts, line), 0, "%s", line);
    cr_expect_null(p->mailboxes[0].source.secret.file);
    cr_expect_null(p->mailboxes[0].source.secret.value);
    cr_expect_str_eq(p->mailboxes[0].source.secret.command[1], "b");
    cr_expect_str_eq(p->mailboxes[0].target.secret.value, "from-env");
    mh_plan_free(p);
}

Test(plan_users, notes_columns_that_are_nearly_ours)
{
    char line[1024];
    struct mh_plan *p = project(PROJECT);
    cr_assert_eq(add(p, "id,source_user,target_user,source_pasword_file,town\na,b,c,d,e\n", 0644,
                     NULL, line),
                 0, "%s", line);
    cr_assert_eq(p->notes.n, 1u);
    cr_expect_str_eq(p->notes.v[0],
                     "users.csv:1: column 'source_pasword_file' is taken as your own; "
                     "did you mean 'source_password_file'?");
    mh_plan_free(p);
}

/* --- archives --------------------------------------------------------------------------------- */

Test(plan_users, gives_each_user_an_archive)
{
    char line[1024];
    struct mh_plan *p = project("version: 1\nsource: {type: pst, path: none.pst}\n"
                                "target: {type: maildir, path: 'out/{user}'}\nusers: users.csv\n");
    cr_assert_eq(add(p, "id,source_user,target_user,pst\na,,anna,in/a.pst\nb,,ben,/in/b.pst\n",
                     0644, NULL, line),
                 0, "%s", line);
    cr_expect_str_eq(p->mailboxes[0].source.path, "acme/in/a.pst");
    cr_expect_str_eq(p->mailboxes[1].source.path, "/in/b.pst");
    cr_expect_str_eq(p->mailboxes[0].target.path, "acme/out/anna");
    cr_expect_str_eq(p->mailboxes[1].pst, "/in/b.pst");
    mh_plan_free(p);
}

Test(plan_users, refuses_one_archive_for_two_users)
{
    char line[1024];
    struct mh_plan *p = project("version: 1\nsource: {type: imap, host: h}\n"
                                "target: {type: maildir, path: /out}\nusers: users.csv\n");
    cr_expect_eq(add(p, HEADER "a,b,c\nd,e,f\n", 0644, NULL, line), MH_EUSAGE);
    cr_expect_str_eq(
        line, "users.csv:3: the target '/out' is that of line 2 ('a') too, two mailboxes would "
              "be mixed into one; put {user} into the target's path");
    mh_plan_free(p);
}

Test(plan_users, refuses_a_mailbox_as_its_own_target)
{
    char line[1024];
    struct mh_plan *p =
        project("version: 1\nsource: {type: imap, host: h}\n"
                "target: {type: imap, host: H, folder-prefix: Old}\nusers: users.csv\n");
    cr_expect_eq(add(p, HEADER "a,b,c\nd,E,e\n", 0644, NULL, line), MH_EUSAGE);
    cr_expect_str_eq(line, "users.csv:3: source and target are the same mailbox ('E'): it would be "
                           "copied into itself");
    mh_plan_free(p);
}

/* --- URLs ------------------------------------------------------------------------------------- */

static struct mh_plan *from_urls(const char *src, const char *dst, const struct mh_plan_opts *opts,
                                 char line[1024])
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    int rc = mh_plan_from_urls(src, dst, opts, &p, &err);
    mh_err_line(&err, line, 1024);
    if (rc == 0)
        return p;
    cr_expect_eq(rc, MH_EUSAGE);
    return NULL;
}

Test(plan_urls, makes_one_mailbox)
{
    static const struct {
        const char *src, *dst, *id;
    } cases[] = {
        {"imaps://anna%40old@h/", "imaps://a.roth@g/", "anna@old"},
        {"maildir:/var/old/mail.dir", "imaps://a.roth@g/", "a.roth"},
        {"maildir:/var/old/anna.mbox/", "eml:/out", "anna"},
        {"mbox:.hidden", "eml:/out", ".hidden"},
        {"mem:one", "mem:two", "one"},
    };
    char line[1024];
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_plan *p = from_urls(cases[i].src, cases[i].dst, NULL, line);
        cr_assert_not_null(p, "%s: %s", cases[i].src, line);
        cr_expect_eq(p->n_mailboxes, 1u);
        cr_expect_str_eq(p->mailboxes[0].id, cases[i].id);
        cr_expect_eq(mh_plan_mailbox(p, cases[i].id), p->mailboxes);
        cr_expect_null(p->state);
        mh_plan_free(p);
    }
}

Test(plan_urls, carries_folders_and_secrets)
{
    const struct mh_plan_opts opts = {.source = {.file = "/run/{user}.pw"},
                                      .target = {.value = "env"}};
    char line[1024];
    struct mh_plan *p =
        from_urls("imaps://anna@h/Projects", "imap://ben@g/Old/Projects?tls=none", &opts, line);
    cr_assert_not_null(p, "%s", line);
    const struct mh_mailbox *m = p->mailboxes;
    cr_expect_str_eq(m->source.secret.file, "/run/anna.pw");
    cr_expect_str_eq(m->target.secret.value, "env");
    struct mh_map_opts map = mh_plan_map_opts(m, '.');
    cr_expect_str_eq(map.source_folder, "Projects");
    cr_expect_str_eq(map.target_folder, "Old/Projects");
    cr_expect_null(map.folder_prefix);
    cr_expect_eq(map.source_separator, '.');
    cr_expect_not(map.target_ignores_case);
    mh_plan_free(p);
}

static const struct {
    const char *name, *src, *dst, *line; /* line NULL: fine */
} pairs[] = {
    {"bad source", "imapss://a@h/", "imaps://b@g/", "source: "},
    {"bad target", "imaps://a@h/", "imaps://b@g:0/", "target: "},
    {"no user", "imaps://h/", "imaps://b@g/", "source: the user is missing"},
    {"same", "imaps://a@h/", "imaps://A@H/", "source and target are the same mailbox ('a')"},
    {"same archive", "eml:/x", "eml:/x", "source and target are the same mailbox ('/x')"},
    {"into itself", "imaps://a@h/", "imaps://a@h/Backup", "source and target are the same mailbox"},
    {"out of itself", "imaps://a@h/X", "imaps://a@h/", "source and target are the same mailbox"},
    {"below itself", "imaps://a@h/X", "imaps://a@h/X/Y", "source and target are the same mailbox"},
    {"beside itself", "imaps://a@h/X", "imaps://a@h/Y", NULL},
    {"another user", "imaps://a@h/", "imaps://b@h/", NULL},
    {"another server", "imaps://a@h/", "imaps://a@g/", NULL},
};

Test(plan_urls, refuses_what_cannot_be)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(pairs); i++) {
        char line[1024];
        struct mh_plan *p = from_urls(pairs[i].src, pairs[i].dst, NULL, line);
        cr_expect_eq(p != NULL, pairs[i].line == NULL, "%s: %s", pairs[i].name, line);
        if (pairs[i].line)
            cr_expect(mh_str_starts(line, pairs[i].line), "%s: %s", pairs[i].name, line);
        mh_plan_free(p);
    }
}

/* --- URLs and a CSV --------------------------------------------------------------------------- */

static char csv_path[64];

static void write_csv(const char *text, mode_t mode)
{
    scratch_write("users.csv", text, strlen(text), mode);
}

static void make_csv_path(void)
{
    scratch_make();
    (void)snprintf(csv_path, sizeof csv_path, "%s/users.csv", scratch_dir);
}

TestSuite(plan_csv, .init = make_csv_path, .fini = scratch_drop);

Test(plan_csv, puts_users_into_two_urls)
{
    static const struct {
        const char *src, *dst, *admin;
        bool by_name;
    } cases[] = {
        {"imaps://old.example", "imaps://new.example", NULL, false},
        {"imaps://old.example/", "imaps://{user}@new.example/", NULL, false},
        {"imap://old.example:1143?tls=none&admin=boss", "imaps://new.example", "boss", false},
        {"imaps://{user}*boss@old.example", "imaps://new.example", "boss", true},
    };
    write_csv(WITH_PASSWORDS "anna,a@old,a@new,s3cret,pw\nben,b@old,b@new,s4cret,pw\n", 0600);
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_plan *p = NULL;
        struct mh_err err = {0};
        char line[1024];
        cr_assert_eq(
            mh_plan_from_urls_and_users(cases[i].src, cases[i].dst, csv_path, NULL, &p, &err), 0,
            "%s: %s", cases[i].src, mh_err_line(&err, line, sizeof line));
        cr_assert_eq(p->n_mailboxes, 2u);
        const struct mh_mailbox *m = &p->mailboxes[1];
        cr_expect_str_eq(m->id, "ben");
        cr_expect_str_eq(m->source.user, "b@old");
        cr_expect_str_eq(m->target.user, "b@new");
        cr_expect_str_eq(m->source.host, "old.example");
        cr_expect_str_eq(m->source.secret.value, "s4cret");
        cr_expect_str_eq(m->target.secret.file, "pw");
        cr_expect_eq(m->source.admin_by_name, cases[i].by_name);
        if (cases[i].admin)
            cr_expect_str_eq(m->source.admin_user, cases[i].admin);
        mh_plan_free(p);
    }
}

Test(plan_csv, says_what_is_wrong)
{
    static const struct {
        const char *name, *src, *dst;
        mode_t mode;
        const char *text; /* somewhere in the line */
    } cases[] = {
        {"user in the URL", "imaps://anna@old", "imaps://new", 0600,
         "source: the users come from the CSV"},
        {"bad URL", "imaps://old", "imap//new", 0600, "target: "},
        {"open file", "imaps://old", "imaps://new", 0644,
         "users.csv:1: a file with passwords must be yours alone, but its mode is 0644: run chmod "
         "600 /tmp/"},
        {"one archive", "imaps://old", "eml:/out", 0600, "put {user} into the target's path"},
    };
    write_csv(WITH_PASSWORDS "anna,a@old,a@new,s3cret,\nben,b@old,b@new,s4cret,\n", 0600);
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_plan *p = NULL;
        struct mh_err err = {0};
        char line[1024];
        cr_assert_eq(chmod(csv_path, cases[i].mode), 0);
        cr_expect_eq(
            mh_plan_from_urls_and_users(cases[i].src, cases[i].dst, csv_path, NULL, &p, &err),
            MH_EUSAGE);
        mh_err_line(&err, line, sizeof line);
        cr_expect_not_null(strstr(line, cases[i].text), "%s: %s", cases[i].name, line);
    }
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    (void)unlink(csv_path);
    cr_expect_eq(mh_plan_from_urls_and_users("imaps://a", "imaps://b", csv_path, NULL, &p, &err),
                 MH_EUSAGE);
    cr_expect_not_null(strstr(err.text, "there is no users file"));
}

/* Fault 28. */
Test(plan_csv, survives_each_failed_allocation)
{
    unsigned failed = 0;
    write_csv(WITH_PASSWORDS "anna,a@old,a@new,s3cret,pw\nben,b@old,b@new,s4cret,pw\n", 0600);
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_plan *p = NULL;
        struct mh_err err = {0};
        oom_begin(&o);
        int rc =
            mh_plan_from_urls_and_users("imaps://old", "imaps://new", csv_path, NULL, &p, &err);
        oom_end(&o);
        /* libcsv asks for less memory when it gets none, so not each failure ends the work. */
        cr_expect(rc == MH_ERUN || rc == 0, "allocation %u: %s", o.nth, err.text);
        failed += rc == MH_ERUN;
        if (rc == 0)
            cr_expect_eq(p->n_mailboxes, 2u);
        if (rc == 0)
            mh_plan_free(p);
    }
    cr_expect_gt(failed, 50u);
}

Test(plan_csv, takes_a_large_file)
{
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_adds(&b, HEADER);
    for (int i = 0; i < 20000; i++)
        mh_buf_addf(&b, "id%d,user%d@old.example,user%d@new.example\n", i, i, i);
    char line[1024];
    struct mh_plan *p = project(PROJECT);
    cr_assert_eq(add(p, b.data, 0644, NULL, line), 0, "%s", line);
    cr_expect_eq(p->n_mailboxes, 20000u);
    cr_expect_str_eq(mh_plan_map_user(p, "User19999@old.example"), "user19999@new.example");
    mh_plan_free(p);
    mh_buf_done(&b);
}

/* --- commands --------------------------------------------------------------------------------- */

Test(plan_words, splits_a_command_line)
{
    static const struct {
        const char *text, *joined; /* words between bars; NULL: refused */
    } cases[] = {
        {"pass show x", "pass|show|x|"},
        {"  a   b ", "a|b|"},
        {"a \"b c\" 'd \"e'", "a|b c|d \"e|"},
        {"a\\ b c\\\\d", "a b|c\\d|"},
        {"a '' b", "a||b|"},
        {"a'b'c", "abc|"},
        {"$HOME *", "$HOME|*|"},
        {"", NULL},
        {"   ", NULL},
        {"a 'b", NULL},
        {"a \"b", NULL},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_strings words;
        struct mh_err err = {0};
        struct mh_buf joined = MH_BUF_INIT;
        int rc = mh_plan_split_command(cases[i].text, &words, &err);
        cr_expect_eq(rc, cases[i].joined ? 0 : MH_EUSAGE, "'%s'", cases[i].text);
        for (size_t w = 0; w < words.n; w++)
            mh_buf_addf(&joined, "%s|", words.v[w]);
        if (cases[i].joined)
            cr_expect_str_eq(mh_buf_str(&joined), cases[i].joined);
        mh_buf_done(&joined);
        mh_strings_done(&words);
    }
}
