/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "mail/file_index.h"
#include "mail/file_name.h"
#include "scratch.h"

TestSuite(mail_file_index, .init = scratch_make, .fini = scratch_drop);

static void write_index(const char *text, size_t len)
{
    scratch_write("index", text, len, 0600);
}

static struct mh_file_index *load(void)
{
    struct mh_file_index *x = NULL;
    struct mh_err err = {0};
    cr_assert_eq(mh_file_index_load(scratch_fd, "index", &x, &err), 0, "%s", err.text);
    return x;
}

static const struct mh_file_record *find(const struct mh_file_index *x, const char *name)
{
    return mh_file_index_find(x, mh_uid_from_name(name, strlen(name)));
}

/* --- lines ------------------------------------------------------------------------------------ */

static const struct line_case {
    const char *name;
    struct mh_file_record rec;
    const char *keywords;
    const char *line;
} line_cases[] = {
    {"plain.eml", {.flags = 0}, "", "plain.eml\t-\t-\t-\t-\t\n"},
    {"all.eml",
     {.flags = 0x1f,
      .date = {1795349100, 60, true},
      .is_raw = true,
      .has_octets = true,
      .octets = 7},
     "$Forwarded work",
     "all.eml\tDFRST\t2026-11-22T13:05:00+01:00\traw\t7\t$Forwarded work\n"},
    {"west",
     {.date = {951825600, -330, true}},
     "a/b 100% \xc3\xa9",
     "west\t-\t2000-02-29T06:30:00-05:30\t-\t-\ta%2Fb 100% \xc3\xa9\n"},
    {"tab\tline\n%41/\xff",
     {.flags = MH_SEEN},
     "odd\x01",
     "tab%09line%0A%2541%2F%FF\tS\t-\t-\t-\todd%01\n"},
};

Test(mail_file_index, lines_round_trip)
{
    struct mh_buf text = MH_BUF_INIT;
    for (size_t i = 0; i < MH_ARRAY_LEN(line_cases); i++) {
        struct mh_buf line = MH_BUF_INIT;
        struct mh_file_record rec = line_cases[i].rec;
        rec.keywords = line_cases[i].keywords;
        rec.keywords_len = strlen(rec.keywords);
        mh_file_index_format(&line, line_cases[i].name, &rec);
        cr_expect_str_eq(mh_buf_str(&line), line_cases[i].line);
        mh_buf_adds(&text, mh_buf_str(&line));
        mh_buf_done(&line);
    }
    write_index(text.data, text.len);
    struct mh_file_index *x = load();
    for (size_t i = 0; i < MH_ARRAY_LEN(line_cases); i++) {
        const struct line_case *c = &line_cases[i];
        const struct mh_file_record *rec = find(x, c->name);
        cr_assert_not_null(rec, "%s", c->name);
        cr_expect_eq(rec->flags, c->rec.flags, "%s", c->name);
        cr_expect_eq(rec->date.is_set, c->rec.date.is_set, "%s", c->name);
        cr_expect_eq(rec->date.unix_s, c->rec.date.unix_s, "%s", c->name);
        cr_expect_eq(rec->date.zone_min, c->rec.date.zone_min, "%s", c->name);
        cr_expect_eq(rec->is_raw, c->rec.is_raw, "%s", c->name);
        cr_expect_eq(rec->has_octets, c->rec.has_octets, "%s", c->name);
        cr_expect_eq(rec->octets, c->rec.octets, "%s", c->name);
        cr_expect_eq(rec->keywords_len, strlen(c->keywords), "%s", c->name);
        cr_expect(memcmp(rec->keywords, c->keywords, rec->keywords_len) == 0, "%s", c->name);
    }
    cr_expect_eq(mh_file_index_odd_lines(x), 0u);
    cr_expect_null(find(x, "other"));
    mh_file_index_free(x);
    mh_buf_done(&text);
}

static const char *const bad_lines[] = {
    "",
    "name",
    "name\tS\t-\t-\t-",
    "\tS\t-\t-\t-\t",
    "name\t\t-\t-\t-\t",
    "name\tX\t-\t-\t-\t",
    "name\tSS-\t-\t-\t-\t",
    "name\tS\tyesterday\t-\t-\t",
    "name\tS\t2026-02-30T13:05:00+01:00\t-\t-\t",
    "name\tS\t2026-00-30T13:05:00+01:00\t-\t-\t",
    "name\tS\t2026-13-30T13:05:00+01:00\t-\t-\t",
    "name\tS\t2026-11-22T25:05:00+01:00\t-\t-\t",
    "name\tS\t2026-11-22T13:05:00+99:00\t-\t-\t",
    "name\tS\t2026-11-22T13:05:00+0100\t-\t-\t",
    "name\tS\t-\twire\t-\t",
    "name\tS\t-\t-\tmany\t",
    "name\tS\t-\t-\t-7\t",
    "name\tS\t-\t-\t99999999999999999999\t",
    "\x7f\x45\x4c\x46\x01\x01",
};

Test(mail_file_index, bad_lines_are_passed_over)
{
    struct mh_buf text = MH_BUF_INIT;
    for (size_t i = 0; i < MH_ARRAY_LEN(bad_lines); i++)
        mh_buf_addf(&text, "%s\ngood%zu\tS\t-\t-\t-\tk\n", bad_lines[i], i);
    write_index(text.data, text.len);
    struct mh_file_index *x = load();
    cr_expect_eq(mh_file_index_odd_lines(x), MH_ARRAY_LEN(bad_lines));
    cr_expect_null(find(x, "name"));
    for (size_t i = 0; i < MH_ARRAY_LEN(bad_lines); i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "good%zu", i);
        cr_expect_not_null(find(x, name));
    }
    mh_file_index_free(x);
    mh_buf_done(&text);
}

Test(mail_file_index, the_last_line_wins_and_a_torn_one_does_not)
{
    static const char text[] =
        "a\tS\t-\t-\t-\told\na\tF\t-\t-\t-\tnew\nb\tS\t-\t-\t-\tx\nb\tT\t-\t-\t-\tto";
    write_index(text, sizeof text - 1);
    struct mh_file_index *x = load();
    cr_expect_eq(find(x, "a")->flags, MH_FLAGGED);
    cr_expect_eq(find(x, "b")->flags, MH_SEEN);
    struct mh_file_record rec = *find(x, "a");
    rec.flags = MH_DRAFT;
    rec.keywords = "put";
    rec.keywords_len = 3;
    cr_assert_eq(mh_file_index_put(x, &rec, NULL), 0);
    cr_expect_eq(find(x, "a")->flags, MH_DRAFT);
    mh_file_index_free(x);
}

Test(mail_file_index, missing_empty_and_any_beginning)
{
    struct mh_file_index *x = load();
    cr_expect_null(find(x, "a"));
    mh_file_index_free(x);
    static const char text[] =
        "a\tS\t2026-11-22T13:05:00+01:00\traw\t12\tone two\nb\tDFRST\t-\t-\t-\t\n";
    for (size_t len = 0; len < sizeof text; len++) {
        write_index(text, len);
        x = load();
        cr_expect_eq(find(x, "b") != NULL, len == sizeof text - 1);
        mh_file_index_free(x);
    }
}

Test(mail_file_index, many)
{
    struct mh_buf text = MH_BUF_INIT;
    for (int i = 0; i < 20000; i++)
        mh_buf_addf(&text, "m%d\tS\t-\t-\t%d\tk%d\n", i, i, i % 10);
    write_index(text.data, text.len);
    struct mh_file_index *x = load();
    for (int i = 0; i < 20000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "m%d", i);
        const struct mh_file_record *rec = find(x, name);
        cr_assert(rec && rec->octets == (uint64_t)i);
    }
    mh_file_index_free(x);
    mh_buf_done(&text);
}

/* --- changes ---------------------------------------------------------------------------------- */

static const struct {
    uint8_t had_flags;
    const char *had;
    bool add;
    uint8_t flags;
    const char *keywords;
    uint8_t now_flags;
    const char *now;
} change_cases[] = {
    {0, "", true, MH_SEEN, "a", MH_SEEN, "a"},
    {MH_SEEN, "a", true, MH_SEEN, "A b", MH_SEEN, "a b"},
    {MH_SEEN | MH_DRAFT, "a b c", false, MH_SEEN, "B x", MH_DRAFT, "a c"},
    {MH_SEEN, "a b", false, 0x1f, "a b", 0, ""},
    {MH_SEEN, "a b", true, 0, NULL, MH_SEEN, "a b"},
    {MH_SEEN, "ab", false, 0, "a", MH_SEEN, "ab"},
};

Test(mail_file_index, change)
{
    struct mh_buf words = MH_BUF_INIT;
    for (size_t i = 0; i < MH_ARRAY_LEN(change_cases); i++) {
        struct mh_file_record had = {.flags = change_cases[i].had_flags,
                                     .keywords = change_cases[i].had,
                                     .keywords_len = strlen(change_cases[i].had)};
        struct mh_file_record now;
        mh_file_record_change(&had, change_cases[i].add, change_cases[i].flags,
                              change_cases[i].keywords, &words, &now);
        cr_expect_eq(now.flags, change_cases[i].now_flags, "case %zu", i);
        cr_expect_str_eq(now.keywords, change_cases[i].now, "case %zu", i);
        cr_expect_eq(now.keywords_len, strlen(change_cases[i].now), "case %zu", i);
    }
    mh_buf_done(&words);
}

/* --- folders ---------------------------------------------------------------------------------- */

static void add_folder(struct mh_folders *l, const char *path, const char *native)
{
    struct mh_folder *f = NULL;
    cr_assert_eq(mh_folders_add(l, path, native, &f, NULL), 0);
}

Test(mail_file_index, folders)
{
    struct mh_folders l = MH_FOLDERS_INIT;
    add_folder(&l, "Sent", "Sent");
    add_folder(&l, "Other", "Other");
    add_folder(&l, "INBOX", "INBOX");
    cr_assert_eq(mh_file_folders_finish(&l, NULL, NULL), 0);
    cr_assert_eq(mh_file_folders_load(scratch_fd, &l, NULL), 0);
    cr_assert_eq(l.n, 3u);
    for (size_t i = 0; i < l.n; i++)
        cr_expect(l.v[i].attrs & MH_FOLDER_SUBSCRIBED, "no file: all of them");
    mh_folders_done(&l);

    cr_assert_eq(mh_file_folders_note_role(scratch_fd, "Sent", MH_ROLE_SENT, NULL), 0);
    cr_assert_eq(mh_file_folders_note_role(scratch_fd, "Other", MH_ROLE_NONE, NULL), 0);
    cr_assert_eq(mh_file_folders_note_role(scratch_fd, "Gone", MH_ROLE_TRASH, NULL), 0);
    cr_assert_eq(mh_file_folders_note_subscribed(scratch_fd, "Other", NULL), 0);
    add_folder(&l, "Sent", "Sent");
    add_folder(&l, "Other", "Other");
    mh_folders_sort(&l);
    cr_assert_eq(mh_file_folders_load(scratch_fd, &l, NULL), 0);
    cr_expect_eq(mh_folders_find(&l, "Sent")->role, MH_ROLE_SENT);
    cr_expect_eq(mh_folders_find(&l, "Sent")->attrs, (unsigned)MH_FOLDER_ROLE_ANNOUNCED);
    cr_expect_eq(mh_folders_find(&l, "Other")->attrs, (unsigned)MH_FOLDER_SUBSCRIBED);
    mh_folders_done(&l);
}

Test(mail_file_index, two_directories_for_one_path_are_told_apart)
{
    struct mh_folders l = MH_FOLDERS_INIT;
    add_folder(&l, "A", "a3");
    add_folder(&l, "A", "a1");
    add_folder(&l, "B", "b");
    add_folder(&l, "A", "a2");
    cr_assert_eq(mh_file_folders_finish(&l, NULL, NULL), 0);
    cr_assert_eq(l.n, 4u);
    for (size_t i = 1; i < l.n; i++)
        cr_expect_str_neq(l.v[i - 1].path, l.v[i].path);
    cr_expect_str_eq(mh_folders_find(&l, "A")->native, "a1");
    mh_folders_done(&l);
}

Test(mail_file_index, uidvalidity)
{
    cr_expect_neq(mh_file_uidvalidity("A"), 0u);
    cr_expect_eq(mh_file_uidvalidity("A"), mh_file_uidvalidity("A"));
    cr_expect_neq(mh_file_uidvalidity("A"), mh_file_uidvalidity("B"));
}

/* Flags of many messages are changed in memory and in the lines that go to the file. */
Test(mail_file_index, a_change_goes_to_memory_and_to_the_lines)
{
    struct mh_file_index *x = NULL;
    struct mh_buf lines = MH_BUF_INIT;
    struct mh_file_flags add = {.add = true, .flags = MH_SEEN, .keywords = "work"};
    struct mh_file_flags take = {.flags = MH_FLAGGED, .keywords = "Own"};
    cr_assert_eq(mh_file_index_load(scratch_fd, "none yet", &x, NULL), 0);
    struct mh_file_record had = {
        .uid = mh_uid_from_name("m", 1), .flags = MH_FLAGGED, .keywords = "own", .keywords_len = 3};
    cr_assert_eq(mh_file_index_change(x, "m", &had, &add, &lines, NULL), 0);
    cr_assert_eq(mh_file_index_change(x, "m", &had, &take, &lines, NULL), 0);
    cr_expect_str_eq(mh_buf_str(&lines), "m\tFS\t-\t-\t-\town work\n"
                                         "m\tS\t-\t-\t-\twork\n");
    const struct mh_file_record *now = mh_file_index_find(x, had.uid);
    cr_assert_not_null(now);
    cr_expect_eq(now->flags, MH_SEEN);
    mh_buf_done(&lines);
    mh_file_index_free(x);
}
