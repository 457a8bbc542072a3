/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "mail/file_name.h"
#include "scratch.h"

static const struct mh_file_naming plain = {.special = "", .max_bytes = 240};
static const struct mh_file_naming strict = {
    .special = "\\:*?\"<>|", .extension = "mbox", .no_trailing_dot = true, .max_bytes = 40};

/* --- names ------------------------------------------------------------------------------------ */

#define RAW(s) (s), sizeof(s) - 1

static const struct {
    const char *raw;
    size_t len;
    const char *plain, *strict;
} names[] = {
    {RAW("Archive"), "Archive", "Archive"},
    {RAW("a/b"), "a%2Fb", "a%2Fb"},
    {RAW("."), "%2E", "%2E"},
    {RAW(".."), "%2E.", "%2E%2E"},
    {RAW("..."), "%2E..", "%2E.%2E"},
    {RAW("a."), "a.", "a%2E"},
    {RAW("a "), "a ", "a%20"},
    {RAW("a.b"), "a.b", "a.b"},
    {RAW("a:b*c?"), "a:b*c?", "a%3Ab%2Ac%3F"},
    {RAW("x.mbox"), "x.mbox", "x%2Embox"},
    {RAW("x.MBOX.index"), "x.MBOX.index", "x%2EMBOX.index"},
    {RAW("mbox"), "mbox", "mbox"},
    {RAW("100%"), "100%", "100%"},
    {RAW("%2F"), "%252F", "%252F"},
    {RAW("a\0b\n"), "a%00b%0A", "a%00b%0A"},
    {RAW("\xc3\xa4"), "\xc3\xa4", "\xc3\xa4"},
    {RAW("\xe4"), "%E4", "%E4"},
};

Test(mail_file_name, names)
{
    const struct mh_file_naming *namings[] = {&plain, &strict};
    for (size_t i = 0; i < MH_ARRAY_LEN(names); i++) {
        for (int k = 0; k < 2; k++) {
            struct mh_buf b = MH_BUF_INIT;
            struct mh_buf raw = MH_BUF_INIT;
            cr_expect_not(mh_file_name_encode(&b, names[i].raw, names[i].len, namings[k]));
            cr_expect_str_eq(mh_buf_str(&b), k ? names[i].strict : names[i].plain);
            mh_file_name_decode(&raw, mh_buf_str(&b), b.len, namings[k]);
            cr_expect_eq(raw.len, names[i].len);
            cr_expect_arr_eq(raw.data, names[i].raw, raw.len);
            mh_buf_done(&b);
            mh_buf_done(&raw);
        }
    }
}

/* What we would never have written stands for itself. */
static const char *const foreign[] = {"a%41b",     "%zz",     "%2f", "a%20b",
                                      "%2E%2E%2E", ".hidden", "x%",  "a.mbox"};

Test(mail_file_name, foreign_names_stand_for_themselves)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(foreign); i++) {
        struct mh_buf raw = MH_BUF_INIT;
        mh_file_name_decode(&raw, foreign[i], strlen(foreign[i]), &strict);
        cr_expect_str_eq(mh_buf_str(&raw), foreign[i]);
        mh_buf_done(&raw);
    }
}

Test(mail_file_name, random_names_round_trip)
{
    static const char special[] = "%%/..:*\\ mbox2F\x01\xc3\xa4\xff";
    uint64_t seed = 99;
    for (int round = 0; round < 30000; round++) {
        char raw[12];
        struct mh_buf b = MH_BUF_INIT;
        struct mh_buf back = MH_BUF_INIT;
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        size_t len = 1 + (seed >> 33) % sizeof raw;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            raw[i] = special[(seed >> 33) % (sizeof special - 1)];
        }
        const struct mh_file_naming *naming = round % 2 ? &plain : &strict;
        bool cut = mh_file_name_encode(&b, raw, len, naming);
        cr_assert_leq(b.len, naming->max_bytes);
        cr_assert(mh_utf8_valid(b.data, b.len) && !strchr(b.data, '/') && b.data[0] != '.');
        mh_file_name_decode(&back, b.data, b.len, naming);
        if (!cut)
            cr_assert(back.len == len && memcmp(back.data, raw, len) == 0, "%s", b.data);
        mh_buf_done(&b);
        mh_buf_done(&back);
    }
}

Test(mail_file_name, long_names_are_cut_and_stay_apart)
{
    char one[400];
    char two[400];
    memset(one, 'x', sizeof one);
    memset(two, 'x', sizeof two);
    two[399] = 'y';
    memcpy(one + 20, "\xc3\xa4", 2);
    memcpy(two + 20, "\xc3\xa4", 2);
    struct mh_buf a = MH_BUF_INIT;
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_adds(&a, "before/");
    cr_expect(mh_file_name_encode(&a, one, sizeof one, &strict));
    cr_expect(mh_file_name_encode(&b, two, sizeof two, &strict));
    cr_expect_str_neq(a.data + 7, b.data);
    cr_expect_leq(b.len, 40u);
    cr_expect(mh_str_starts(a.data, "before/xxxx"));
    cr_expect(mh_utf8_valid(a.data, a.len), "cut at a character's edge");
    mh_buf_done(&a);
    mh_buf_done(&b);
}

/* --- paths ------------------------------------------------------------------------------------ */

static const struct {
    const char *path, *native, *back; /* NULL: the same */
} paths[] = {
    {"A", "A", NULL},
    {"A/B/C", "A/B/C", NULL},
    {"a%2Fb/x.mbox", "a%2Fb/x%2Embox", "a%2Fb/x.mbox"},
    {"%FF", "%FF", NULL},
    {"../..", "%2E%2E/%2E%2E", NULL},
};

Test(mail_file_name, paths)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(paths); i++) {
        struct mh_buf native = MH_BUF_INIT;
        struct mh_buf back = MH_BUF_INIT;
        cr_assert_eq(mh_file_path_encode(paths[i].path, &strict, &native, NULL), 0);
        cr_expect_str_eq(mh_buf_str(&native), paths[i].native);
        cr_assert_eq(mh_file_path_decode(native.data, native.len, &strict, &back, NULL), 0);
        cr_expect_str_eq(mh_buf_str(&back), paths[i].back ? paths[i].back : paths[i].path);
        mh_buf_done(&native);
        mh_buf_done(&back);
    }
    static const char *const none[] = {"", "A//B", "/A"};
    for (size_t i = 0; i < MH_ARRAY_LEN(none); i++) {
        struct mh_buf native = MH_BUF_INIT;
        cr_expect_eq(mh_file_path_encode(none[i], &plain, &native, NULL), MH_EFOLDER, "%s",
                     none[i]);
        mh_buf_done(&native);
    }
    struct mh_buf deep = MH_BUF_INIT;
    struct mh_buf native = MH_BUF_INIT;
    for (int i = 0; i < 200; i++)
        mh_buf_adds(&deep, i ? "/d" : "d");
    cr_expect_eq(mh_file_path_encode(mh_buf_str(&deep), &plain, &native, NULL), MH_EFOLDER);
    mh_buf_done(&deep);
    mh_buf_done(&native);
    struct mh_buf part = MH_BUF_INIT;
    cr_assert_eq(mh_file_path_decode("A/B.mbox", 3, &plain, &part, NULL), 0);
    cr_expect_str_eq(mh_buf_str(&part), "A/B", "no further than it is told");
    mh_buf_done(&part);
}

/* --- directories ------------------------------------------------------------------------------ */

static int root_fd;

static void open_root(void)
{
    scratch_make();
    cr_assert_eq(mh_file_open_root(scratch_dir, false, &root_fd, NULL), 0);
}

static void close_root(void)
{
    (void)close(root_fd);
    scratch_drop();
}

TestSuite(mail_file_dirs, .init = open_root, .fini = close_root);

static const struct {
    const char *rel;
    bool create;
    int rc;
} dirs[] = {
    {"", false, 0},
    {"a", false, MH_ENOENT},
    {"a/b/c", true, 0},
    {"a/b", false, 0},
    {"a/./b", false, MH_EFOLDER},
    {"a/../a", true, MH_EFOLDER},
    {"..", false, MH_EFOLDER},
    {".", false, MH_EFOLDER},
    {"/etc", false, MH_EFOLDER},
    {"a//b", false, MH_EFOLDER},
    {"link", false, MH_EFOLDER},
    {"link", true, MH_EFOLDER},
    {"a/link/x", true, MH_EFOLDER},
    {"file", false, MH_EFOLDER},
    {"dangling", true, MH_EFOLDER},
};

Test(mail_file_dirs, nothing_leads_out)
{
    scratch_shell(
        "ln -s /etc link; mkdir a; ln -s /tmp a/link; touch file; ln -s nowhere dangling; rmdir "
        "a/x "
        "2>/dev/null; rm -f a/link; rmdir a; true");
    for (size_t i = 0; i < MH_ARRAY_LEN(dirs); i++) {
        if (strcmp(dirs[i].rel, "a/link/x") == 0)
            scratch_shell("ln -s /tmp a/link");
        int fd = -1;
        struct mh_err err = {0};
        int rc = mh_file_open_dir(root_fd, dirs[i].rel, dirs[i].create, &fd, &err);
        cr_expect_eq(rc, dirs[i].rc, "%s: %s", dirs[i].rel, err.text);
        if (rc == 0)
            (void)close(fd);
    }
    scratch_shell("test ! -e nowhere");
}

Test(mail_file_dirs, root_is_made_with_its_parents)
{
    char *path = mh_asprintf("%s/x/y/z", scratch_dir);
    int fd = -1;
    struct mh_err err = {0};
    cr_expect_eq(mh_file_open_root(path, false, &fd, &err), MH_EUSAGE);
    cr_expect_not_null(strstr(err.text, path));
    cr_assert_eq(mh_file_open_root(path, true, &fd, &err), 0);
    (void)close(fd);
    scratch_shell("test $(stat -c %a x/y/z) = 700; ln -s x/y link");
    char *link = mh_asprintf("%s/link/z", scratch_dir);
    cr_assert_eq(mh_file_open_root(link, false, &fd, &err), 0, "a person's own link is followed");
    (void)close(fd);
    mh_free(path);
    mh_free(link);
}

Test(mail_file_dirs, opendir_follows_no_link)
{
    scratch_shell("mkdir d; ln -s d link; touch f");
    DIR *d = mh_file_opendir(root_fd, "d");
    cr_assert_not_null(d);
    (void)closedir(d);
    static const char *const none[] = {"link", "f", "nowhere"};
    for (size_t i = 0; i < MH_ARRAY_LEN(none); i++)
        cr_expect_null(mh_file_opendir(root_fd, none[i]), "%s", none[i]);
    int fd = -1;
    mh_file_close(&fd);
    cr_expect_eq(fd, -1);
}

/* Where there is no root yet there is no folder, and none is made beside it. */
Test(mail_file_dirs, no_root)
{
    const char *name = NULL;
    int fd = -1;
    cr_expect_eq(mh_file_open_dir(-1, "", false, &fd, NULL), MH_ENOENT);
    cr_expect_eq(mh_file_open_dir(-1, "a", true, &fd, NULL), MH_ENOENT);
    cr_expect_eq(mh_file_open_parent(-1, "a", true, &fd, &name, NULL), MH_ENOENT);
}

/* --- small files ------------------------------------------------------------------------------ */

Test(mail_file_dirs, read_all)
{
    struct mh_buf b = MH_BUF_INIT;
    struct mh_err err = {0};
    scratch_shell("printf 'hello' >f; head -c 100000 /dev/zero >big; mkfifo pipe; ln -s f link");
    cr_expect_eq(mh_file_read_all(root_fd, "f", 5, &b, &err), 0);
    cr_expect_str_eq(mh_buf_str(&b), "hello");
    mh_buf_reset(&b);
    cr_expect_eq(mh_file_read_all(root_fd, "f", 4, &b, &err), MH_EFOLDER);
    mh_buf_reset(&b);
    cr_expect_eq(mh_file_read_all(root_fd, "big", 100000, &b, &err), 0);
    cr_expect_eq(b.len, 100000u);
    cr_expect_eq(mh_file_read_all(root_fd, "none", 5, &b, &err), MH_ENOENT);
    cr_expect_eq(mh_file_read_all(root_fd, "pipe", 5, &b, &err), MH_EFOLDER);
    cr_expect_eq(mh_file_read_all(root_fd, "link", 5, &b, &err), MH_EFOLDER);
    mh_buf_done(&b);
}

Test(mail_file_dirs, append_and_replace)
{
    struct mh_buf text = MH_BUF_INIT;
    mh_buf_adds(&text, "one\n");
    cr_expect_eq(mh_file_append_text(root_fd, "f", &text, NULL), 0);
    cr_expect_eq(mh_file_append_text(root_fd, "f", &text, NULL), 0);
    scratch_shell("printf torn >>f");
    cr_expect_eq(mh_file_append_text(root_fd, "f", &text, NULL), 0);
    scratch_shell("test \"$(cat f)\" = \"$(printf 'one\\none\\ntorn\\none\\n')\"");
    cr_expect_eq(mh_file_replace(root_fd, "f", &text, NULL), 0);
    scratch_shell("test \"$(cat f)\" = one && test ! -e f.tmp");
    scratch_shell("ln -s f link; mkdir d");
    cr_expect_eq(mh_file_append_text(root_fd, "link", &text, NULL), MH_EFOLDER);
    cr_expect_eq(mh_file_replace(root_fd, "d", &text, NULL), MH_EFOLDER);
    scratch_shell("test ! -e d.tmp");
    mh_buf_done(&text);
}
