/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The names a Maildir is made of; what is on its disk is tests/conform's. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/maildir/maildir_priv.h"
#include "scratch.h"

/* --- folders ---------------------------------------------------------------------------------- */

static const struct {
    const char *path, *plus, *fs;
} folder_cases[] = {
    {"INBOX", ".", "."},
    {"INBOX/a", ".INBOX.a", "INBOX/a"},
    {"Sent", ".Sent", "Sent"},
    {"A/B/C", ".A.B.C", "A/B/C"},
    {"v1.2", ".v1%2E2", "v1.2"},
    {".a", ".%2Ea", "%2Ea"},
    {"a%2Fb", ".a%2Fb", "a%2Fb"},
    {"%2541", ".%2541", "%2541"},
    {"100%", ".100%", "100%"},
    {"Entw\xc3\xbcrfe", ".Entw&APw-rfe", "Entw&APw-rfe"},
    {"A&B", ".A&-B", "A&-B"},
    {"%FC", ".%FC", "%FC"},
    {"%1B[31m", ".%1B[31m", "%1B[31m"},
    {"~a/~/b~", ".%7Ea.%7E.b~", "%7Ea/%7E/b~"},
    {"cur", ".cur", "%63ur"},
    {"a/new", ".a.new", "a/%6Eew"},
    {"tmp/x", ".tmp.x", "%74mp/x"},
    {"\xe5\x8f\xb0\xe5\x8c\x97", ".&U,BTFw-", "&U,BTFw-"},
};

Test(maildir, folder_names)
{
    static const enum maildir_layout layouts[] = {MAILDIR_PLUS_PLUS, MAILDIR_FS};
    for (size_t i = 0; i < MH_ARRAY_LEN(folder_cases); i++) {
        for (int k = 0; k < 2; k++) {
            struct mh_buf native = MH_BUF_INIT;
            struct mh_buf path = MH_BUF_INIT;
            const char *want = k ? folder_cases[i].fs : folder_cases[i].plus;
            cr_assert_eq(maildir_name_encode(layouts[k], folder_cases[i].path, &native, NULL), 0);
            cr_expect_str_eq(mh_buf_str(&native), want);
            cr_assert_eq(maildir_name_decode(layouts[k], mh_buf_str(&native), &path, NULL), 0);
            cr_expect_str_eq(mh_buf_str(&path), folder_cases[i].path);
            mh_buf_done(&native);
            mh_buf_done(&path);
        }
    }
}

/* Names that other programs have made. */
static const struct {
    const char *native, *path;
} foreign_cases[] = {
    {".Entw\xc3\xbcrfe", "Entw\xc3\xbcrfe"}, /* Dovecot with UTF-8 names */
    {".Entw\xfcrfe", "Entw%FCrfe"},
    {".A&B", "A&B"},
    {".A&AGE-", "A&AGE-"}, /* not the one encoding of "Aa" */
    {".50%41", "50%2541"},
    {".a%20b", "a%2520b"},
    {"..A", "..A"},
    {".A..B", ".A..B"},
    {".A.", ".A."},
    {".Sent Items", "Sent Items"},
    {".~a", "~a"},
};

Test(maildir, foreign_folder_names)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(foreign_cases); i++) {
        struct mh_buf path = MH_BUF_INIT;
        cr_assert_eq(maildir_name_decode(MAILDIR_PLUS_PLUS, foreign_cases[i].native, &path, NULL),
                     0);
        cr_expect_str_eq(mh_buf_str(&path), foreign_cases[i].path);
        mh_buf_done(&path);
    }
}

Test(maildir, bad_and_long_folder_names)
{
    struct mh_buf native = MH_BUF_INIT;
    struct mh_buf deep = MH_BUF_INIT;
    struct mh_err err;
    cr_expect_eq(maildir_name_encode(MAILDIR_PLUS_PLUS, "", &native, &err), MH_EFOLDER);
    cr_expect_eq(maildir_name_encode(MAILDIR_PLUS_PLUS, "A//B", &native, &err), MH_EFOLDER);
    cr_expect_eq(maildir_name_encode(MAILDIR_PLUS_PLUS, "/A", &native, &err), MH_EFOLDER);
    for (int i = 0; i < 200; i++)
        mh_buf_addf(&deep, "%sd", i ? "/" : "");
    cr_expect_eq(maildir_name_encode(MAILDIR_FS, mh_buf_str(&deep), &native, &err), MH_EFOLDER);
    mh_buf_reset(&deep);
    for (int i = 0; i < 100; i++)
        mh_buf_addf(&deep, "%sdir", i ? "/" : "");
    cr_expect_eq(maildir_name_encode(MAILDIR_PLUS_PLUS, mh_buf_str(&deep), &native, &err), 0);
    cr_expect_leq(native.len, 255u);
    cr_expect(mh_str_starts(native.data, ".dir.dir.dir"));
    char *one = mh_strdup(native.data);
    mh_buf_adds(&deep, "2");
    cr_expect_eq(maildir_name_encode(MAILDIR_PLUS_PLUS, mh_buf_str(&deep), &native, &err), 0);
    cr_expect_str_neq(native.data, one, "long names stay apart");
    mh_free(one);
    mh_buf_done(&native);
    mh_buf_done(&deep);
}

/* --- messages --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint8_t flags;
    bool passed;
    uint32_t letters;
    bool has_size;
    uint64_t size;
    bool is_raw;
} info_cases[] = {
    {"1.M1P1Q1.host", 0, false, 0, false, 0, false},
    {"1.M1P1Q1.host:2,", 0, false, 0, false, 0, false},
    {"1.M1P1Q1.host:2,S", MH_SEEN, false, 0, false, 0, false},
    {"1.M1P1Q1.host:2,DFPRST", 0x1f, true, 0, false, 0, false},
    {"1.M1P1Q1.host:2,TSRFD", 0x1f, false, 0, false, 0, false},
    {"1.M1P1Q1.host:2,Sacz", MH_SEEN, false, 1 | 1 << 2 | 1 << 25, false, 0, false},
    {"1.M1P1Q1.host:1,S", 0, false, 0, false, 0, false},
    {"1.M1P1Q1.host:2,S,x=F", MH_SEEN, false, 0, false, 0, false},
    {"1.host,S=123:2,S", MH_SEEN, false, 0, true, 123, false},
    {"1.host,S=123,W=130:2,S", MH_SEEN, false, 0, true, 130, false},
    {"1.host,W=130,S=123", 0, false, 0, true, 130, false},
    {"1.host,S=123,W=130,R=1:2,", 0, false, 0, true, 130, true},
    {"1.host,R=1", 0, false, 0, false, 0, true},
    {"1.host,R=0", 0, false, 0, false, 0, false},
    {"1.host,S=:2,S", MH_SEEN, false, 0, false, 0, false},
    {"1.host,S=12x", 0, false, 0, false, 0, false},
    {"1.host,S=-1", 0, false, 0, false, 0, false},
    {"1.host,S=99999999999999999999999", 0, false, 0, false, 0, false},
    {"S=5", 0, false, 0, false, 0, false},
    {":2,F", MH_FLAGGED, false, 0, false, 0, false},
    {"x:y:2,F", 0, false, 0, false, 0, false},
};

Test(maildir, message_names)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(info_cases); i++) {
        struct maildir_info info;
        maildir_info_parse(info_cases[i].name, &info);
        cr_expect_eq(info.flags, info_cases[i].flags, "%s", info_cases[i].name);
        cr_expect_eq(info.is_passed, info_cases[i].passed, "%s", info_cases[i].name);
        cr_expect_eq(info.letters, info_cases[i].letters, "%s", info_cases[i].name);
        cr_expect_eq(info.has_size, info_cases[i].has_size, "%s", info_cases[i].name);
        if (info.has_size)
            cr_expect_eq(info.size, info_cases[i].size, "%s", info_cases[i].name);
        cr_expect_eq(info.is_raw, info_cases[i].is_raw, "%s", info_cases[i].name);
    }
}

static const struct {
    const char *name;
    uint8_t add, remove;
    uint32_t letters;
    const char *now;
} format_cases[] = {
    {"1.h", MH_SEEN, 0, 0, "1.h:2,S"},
    {"1.h:2,", 0x1f, 0, 3, "1.h:2,DFRSTab"},
    {"1.h:2,PSx", 0, MH_SEEN, 0, "1.h:2,Px"},
    {"1.h:2,AQS", MH_FLAGGED, 0, 0, "1.h:2,AFQS"},
    {"1.h:2,S,more", MH_FLAGGED, 0, 0, "1.h:2,FS,more"},
    {"1.h:1,odd", MH_FLAGGED, 0, 0, "1.h:2,F"},
};

Test(maildir, message_names_with_new_flags)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(format_cases); i++) {
        struct maildir_info info;
        struct mh_buf b = MH_BUF_INIT;
        maildir_info_parse(format_cases[i].name, &info);
        info.flags = (uint8_t)((info.flags | format_cases[i].add) & ~format_cases[i].remove);
        info.letters |= format_cases[i].letters;
        maildir_info_format(&b, format_cases[i].name, &info);
        cr_expect_str_eq(mh_buf_str(&b), format_cases[i].now);
        mh_buf_done(&b);
    }
}

/* --- keywords --------------------------------------------------------------------------------- */

TestSuite(maildir_keywords, .init = scratch_make, .fini = scratch_drop);

static void write_file(const char *name, const char *text)
{
    scratch_write(name, text, strlen(text), 0600);
}

/* Into K what the file says once it is TEXT; NULL leaves it as it is, or missing. */
static void load(struct maildir_keywords *k, const char *text)
{
    if (text)
        write_file("dovecot-keywords", text);
    cr_assert_eq(maildir_keywords_load(scratch_fd, k, NULL), 0);
}

/* What giving letters to lists of keywords came to. */
struct given {
    uint32_t letters; /* of the last list */
    bool is_new;      /* any of them */
    unsigned lost;
};

static void give(struct maildir_keywords *k, const char *words, struct given *g)
{
    cr_assert_eq(maildir_keywords_letters(k, words, &g->letters, &g->is_new, &g->lost, NULL), 0);
}

Test(maildir_keywords, load)
{
    struct maildir_keywords k;
    load(&k, NULL);
    cr_expect_null(k.names[0], "a missing file is an empty table");
    load(&k, "0 $Forwarded\n2 work\n25 last\n26 too far\n-1 x\nno\n3 two words\n"
             "4 \n5\n\n6 unfinished");
    for (size_t i = 0; i < MAILDIR_KEYWORDS; i++) {
        const char *want = i == 0    ? "$Forwarded"
                           : i == 2  ? "work"
                           : i == 25 ? "last"
                           : i == 6  ? "unfinished"
                                     : NULL;
        cr_expect_eq(k.names[i] == NULL, want == NULL, "%zu", i);
        if (want && k.names[i])
            cr_expect_str_eq(k.names[i], want);
    }
    maildir_keywords_done(&k);
}

Test(maildir_keywords, letters)
{
    struct maildir_keywords k;
    struct given g = {0};
    load(&k, "1 Work\n");
    give(&k, "work", &g);
    cr_expect_eq(g.letters, 2u);
    cr_expect_not(g.is_new);
    give(&k, "a WORK  b", &g);
    cr_expect_eq(g.letters, 7u);
    cr_expect(g.is_new);
    for (int i = 0; i < 40; i++) {
        char word[16];
        (void)snprintf(word, sizeof word, "k%d", i);
        give(&k, word, &g);
        cr_expect_eq(g.letters != 0, i < 23);
    }
    cr_expect_eq(g.lost, 17u);
    maildir_keywords_done(&k);
}

/* What has a letter, without giving any away. */
Test(maildir_keywords, known)
{
    struct maildir_keywords k;
    struct given g = {0};
    load(&k, "1 Work\n3 home\n");
    cr_expect_eq(maildir_keywords_known(&k, ""), 0u);
    cr_expect_eq(maildir_keywords_known(&k, " HOME  other work"), 10u);
    cr_expect_null(k.names[0]);
    give(&k, "work", &g);
    cr_expect_not(g.is_new);
    maildir_keywords_done(&k);
}

/* The report is bounded, whatever comes. */
Test(maildir_keywords, lost_ones_are_kept_for_the_report)
{
    struct maildir_keywords k;
    struct given g = {0};
    char word[MAILDIR_KEYWORD_MAX + 2];
    load(&k, NULL);
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    for (int i = 0; i < 2; i++)
        give(&k, word, &g);
    cr_expect_eq(g.letters, 0u, "longer than Dovecot has them");
    cr_expect_eq(k.n_lost, 1u);
    cr_expect_str_eq(mh_buf_str(&k.lost), word);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(word, sizeof word, "k%d", i);
        give(&k, word, &g);
    }
    cr_expect_eq(g.lost, 2u + 1000 - MAILDIR_KEYWORDS);
    cr_expect_lt(k.lost.len, 1024u);
    cr_expect(k.has_lost_more);
    maildir_keywords_report(&k, NULL, "F");
    cr_expect_eq(k.n_lost + k.lost.len + k.has_lost_more, 0u);
    maildir_keywords_done(&k);
}

/* Another program has given a letter away since we read the file. */
Test(maildir_keywords, save_merges)
{
    struct maildir_keywords k;
    struct maildir_keywords again;
    struct given g = {0};
    bool changed = false;
    load(&k, NULL);
    give(&k, "ours", &g);
    write_file("dovecot-keywords", "0 theirs\n");
    cr_assert_eq(maildir_keywords_save(scratch_fd, &k, &changed, NULL), 0);
    cr_expect(changed, "our letter means something else now");
    load(&again, NULL);
    cr_expect_str_eq(again.names[0], "theirs");
    cr_expect_str_eq(again.names[1], "ours");
    cr_expect_str_eq(k.names[1], "ours");
    cr_expect_eq(faccessat(scratch_fd, "dovecot-keywords.lock", F_OK, 0), -1, "the lock is gone");
    maildir_keywords_done(&again);
    maildir_keywords_done(&k);
}

Test(maildir_keywords, a_stale_lock_is_broken_and_a_fresh_one_respected)
{
    struct maildir_keywords k;
    struct mh_err err = {0};
    bool changed = false;
    cr_assert_eq(maildir_keywords_load(scratch_fd, &k, NULL), 0);
    write_file("dovecot-keywords.lock", "");
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cr_assert_eq(utimensat(scratch_fd, "dovecot-keywords.lock", old, 0), 0);
    cr_expect_eq(maildir_keywords_save(scratch_fd, &k, &changed, &err), 0, "%s", err.text);
    write_file("dovecot-keywords.lock", "");
    cr_expect_eq(maildir_keywords_save(scratch_fd, &k, &changed, &err), MH_EFOLDER);
    cr_expect_not_null(strstr(err.text, "held by another program"));
    maildir_keywords_done(&k);
}
