/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Maildirs as other programs leave them, and what ours look like on the disk. */
#include "base/log.h"
#include "connectors/maildir/maildir.h"
#include "disk.h"

static const struct mh_folder inbox = {.path = (char *)(uintptr_t) "INBOX",
                                       .native = (char *)(uintptr_t) "."};

static char log_lines[8192];

static void keep_log(void *ctx, enum mh_log_level level, const char *line)
{
    (void)ctx, (void)level;
    strncat(log_lines, line, sizeof log_lines - strlen(log_lines) - 2);
    strcat(log_lines, "\n");
}

static void body_foreign(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir -p m/cur m/new m/tmp");
    shell(r, "printf 'a: 1\\n\\nnew\\n' >m/new/1.M1P1.host");
    shell(r, "printf 'a: 2\\n\\nseen\\n' >'m/cur/2.M1P1.host,S=14:2,FSa'");
    shell(r, "printf 'a: 3\\r\\n\\r\\ncrlf\\r\\n' >'m/cur/3.M1P1.host,S=16,W=16:2,RPc'");
    shell(r, "printf 'a: 4\\n\\nraw\\n' >'m/cur/4.M1P1.host,S=11,W=14,R=1:2,DT'");
    shell(r, "printf '' >m/cur/5.empty");
    shell(r, "printf '0 $label1\\n2 work\\n' >m/dovecot-keywords");
    shell(r, "touch -d '2001-09-09 01:46:40 UTC' m/new/* m/cur/*");
    /* What is no message */
    shell(r, "touch m/cur/.hidden m/tmp/unfinished; mkdir m/cur/dir; mkfifo m/cur/pipe");
    shell(r, "echo secret >outside; ln -s ../../outside m/cur/link:2,S; ln -s /etc/passwd m/new/p");
    mh_log_set_output(keep_log, NULL);
    disk_open(&d, r, &mh_maildir, "m", false);
    disk_read(&d, &inbox);
    enum { TOUCHED_S = 1000000000 };
    static const struct want want[] = {
        {"a: 1\r\n\r\nnew\r\n", 0, "", 10, TOUCHED_S},
        {"a: 2\r\n\r\nseen\r\n", MH_SEEN | MH_FLAGGED, "$label1", 14, TOUCHED_S},
        {"a: 3\r\n\r\ncrlf\r\n", MH_ANSWERED, "$Forwarded work", 16, TOUCHED_S},
        {"a: 4\n\nraw\n", MH_DRAFT | MH_DELETED, "", 14, TOUCHED_S},
        {"", 0, "", 0, TOUCHED_S},
    };
    box_expect(&d.box, want, MH_ARRAY_LEN(want));
    cr_expect_not_null(strstr(log_lines, "4 entries that are no regular files"), "%s", log_lines);
    disk_close(&d);
}

Test(maildir_disk, as_other_programs_leave_it)
{
    rig_run(body_foreign, NULL);
}

static void body_forms(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir -p m/cur m/new m/tmp");
    for (size_t i = 0; i < MH_ARRAY_LEN(form_cases); i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "m/cur/%zu.x:2,", i);
        write_disk(r, name, form_cases[i].in, strlen(form_cases[i].in));
    }
    disk_open(&d, r, &mh_maildir, "m", false);
    disk_read(&d, &inbox);
    for (size_t i = 0; i < MH_ARRAY_LEN(form_cases); i++)
        (void)box_find(&d.box, form_cases[i].out, strlen(form_cases[i].out));
    disk_close(&d);
}

Test(maildir_disk, forms)
{
    rig_run(body_forms, NULL);
}

/* LF files of every size around what is read at once become CRLF, exactly. */
static void body_lf_sizes(struct rig *r)
{
    static const size_t sizes[] = {1,     2,      65534,  65535,   65536,   65537,
                                   70000, 131072, 524288, 1048575, 1048576, 3000000};
    enum { N = MH_ARRAY_LEN(sizes) };
    struct disk d;
    shell(r, "mkdir -p m/cur m/new m/tmp");
    char *texts[N];
    for (size_t i = 0; i < N; i++) {
        char name[32];
        texts[i] = malloc(sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++)
            texts[i][j] = (char)(j % 23 == 22 || j == 0 ? '\n' : 'a' + (j + i) % 26);
        (void)snprintf(name, sizeof name, "m/cur/%zu.x:2,", i);
        write_disk(r, name, texts[i], sizes[i]);
    }
    disk_open(&d, r, &mh_maildir, "m", false);
    disk_read(&d, &inbox);
    for (size_t i = 0; i < N; i++) {
        struct mh_buf want = MH_BUF_INIT;
        for (size_t j = 0; j < sizes[i]; j++) {
            if (texts[i][j] == '\n')
                mh_buf_addc(&want, '\r');
            mh_buf_addc(&want, texts[i][j]);
        }
        (void)box_find(&d.box, mh_buf_str(&want), want.len);
        mh_buf_done(&want);
        free(texts[i]);
    }
    disk_close(&d);
}

Test(maildir_disk, lf_files_of_any_size)
{
    rig_run(body_lf_sizes, NULL);
}

/* While we look, a mail program reads the mail: new/ becomes cur/, flags change, one is deleted. */
static void body_moving(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir -p m/cur m/new m/tmp; for i in 1 2 3; do echo $i >m/new/$i.x; done");
    disk_open(&d, r, &mh_maildir, "m", false);
    disk_read_around(&d, &inbox, 3,
                     "mv m/new/1.x m/cur/1.x:2,S; mv m/new/2.x m/cur/2.x:2,FS; rm m/new/3.x");
    size_t ended = 0;
    for (size_t i = 0; i < 3; i++) {
        ended += d.box.got.v[i].ended;
        if (d.box.got.v[i].missed)
            cr_expect_str_eq(d.box.got.v[i].reason, "vanished");
    }
    cr_expect_eq(ended, 2u);
    shell(r, "mv m/cur/1.x:2,S m/cur/1.x:2,RS");
    uint64_t uid = mh_uid_from_name("1.x", 3);
    ASSERT_OK(mh_maildir.store_flags(d.s, &uid, 1, true, MH_FLAGGED, "", &err));
    shell(r, "test -e m/cur/1.x:2,FRS");
    disk_close(&d);
}

Test(maildir_disk, flags_change_while_we_look)
{
    rig_run(body_moving, NULL);
}

/* Between the scan and the fetch somebody puts a link, a directory and a pipe where mail was. */
static void body_swapped(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir -p m/cur m/new m/tmp; echo secret >outside; for i in 1 2 3 4; do echo $i "
             ">m/cur/$i.x:2,; "
             "done");
    disk_open(&d, r, &mh_maildir, "m", false);
    disk_read_around(&d, &inbox, 4,
                     "cd m/cur; rm *; ln -s ../../outside 1.x:2,; mkdir 2.x:2,; mkfifo 3.x:2,; "
                     "echo 4 >4.x:2,");
    for (size_t i = 0; i < 4; i++) {
        const struct got *got = &d.box.got.v[i];
        cr_expect_eq(got->missed, got->uid != mh_uid_from_name("4.x", 3));
        if (got->missed)
            cr_expect_str_eq(got->reason, "unreadable");
    }
    disk_close(&d);
}

Test(maildir_disk, other_things_where_mail_was, .timeout = 30)
{
    rig_run(body_swapped, NULL);
}

/* Two files with one base name are two messages, whatever made them so. */
static void body_twin_names(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir -p m/cur m/new m/tmp; echo one >m/cur/1.x:2,S; echo two >m/cur/1.x:2,F; "
             "echo three >m/new/1.x");
    disk_open(&d, r, &mh_maildir, "m", false);
    disk_read(&d, &inbox);
    cr_assert_eq(d.box.scan.n, 3u);
    (void)box_find(&d.box, "one\r\n", 5);
    (void)box_find(&d.box, "two\r\n", 5);
    (void)box_find(&d.box, "three\r\n", 7);
    disk_close(&d);
}

Test(maildir_disk, two_files_with_one_name)
{
    rig_run(body_twin_names, NULL);
}

static void body_folders(struct rig *r)
{
    struct disk d;
    shell(
        r,
        "for d in m m/.Sent m/.A.B m/.Entw\\&APw-rfe m/.v1%2E2; do mkdir -p $d/cur $d/new $d/tmp; "
        "done; mkdir m/.nomaildir m/courierimapkeywords; touch m/.Sent/cur/1,S=100:2,S");
    shell(r, "mkdir -p out/cur; ln -s ../out m/.link; touch m/.file");
    shell(r, "printf 'Sent\\nEntw&APw-rfe\\nGone\\n' >m/subscriptions");
    disk_open(&d, r, &mh_maildir, "m", false);
    cr_expect_eq(mh_maildir.caps(d.s)->separator, '.');
    const struct mh_folder *f = disk_list(&d, "Sent");
    cr_assert_eq(d.list.n, 5u);
    cr_assert_not_null(f);
    cr_expect_eq(f->messages, 1u);
    cr_expect_eq(f->size, 100u);
    cr_expect(f->size_known);
    cr_expect(f->attrs & MH_FOLDER_SUBSCRIBED);
    cr_expect_not_null(mh_folders_find(&d.list, "A/B"));
    cr_expect_not(mh_folders_find(&d.list, "A/B")->attrs & MH_FOLDER_SUBSCRIBED);
    cr_expect_not_null(mh_folders_find(&d.list, "v1.2"));
    cr_expect(mh_folders_find(&d.list, "Entw\xc3\xbcrfe")->attrs & MH_FOLDER_SUBSCRIBED);
    ASSERT_OK(mh_maildir.subscribe(d.s, mh_folders_find(&d.list, "A/B"), &err));
    ASSERT_OK(mh_maildir.subscribe(d.s, mh_folders_find(&d.list, "A/B"), &err));
    shell(r, "test \"$(grep -cx A.B m/subscriptions)\" = 1");
    /* Dovecot's second version of the file */
    shell(r, "printf 'V\\t2\\n\\nA\\tB\\nINBOX\\n' >m/subscriptions");
    f = disk_list(&d, "A/B");
    cr_expect(f->attrs & MH_FOLDER_SUBSCRIBED);
    cr_expect(mh_folders_find(&d.list, "INBOX")->attrs & MH_FOLDER_SUBSCRIBED);
    cr_expect_not(mh_folders_find(&d.list, "Sent")->attrs & MH_FOLDER_SUBSCRIBED);
    struct mh_folder deep = {.path = (char *)(uintptr_t) "X/Y",
                             .native = (char *)(uintptr_t) ".X.Y"};
    ASSERT_OK(mh_maildir.subscribe(d.s, &deep, &err));
    shell(r, "test \"$(tail -n 1 m/subscriptions)\" = \"$(printf 'X\\tY')\"");
    disk_close(&d);
}

Test(maildir_disk, folders)
{
    rig_run(body_folders, NULL);
}

static void body_fs(struct rig *r)
{
    struct disk d;
    shell(r, "for d in INBOX Sent A/B v1.2; do mkdir -p m/$d/cur m/$d/new m/$d/tmp; done; mkdir "
             "m/empty");
    disk_open(&d, r, &mh_maildir, "m", false);
    cr_expect_eq(mh_maildir.caps(d.s)->separator, '/');
    cr_assert_not_null(disk_list(&d, "A/B"));
    cr_expect_eq(d.list.n, 4u, "%zu folders", d.list.n);
    cr_expect_not_null(mh_folders_find(&d.list, "INBOX"));
    cr_expect_not_null(mh_folders_find(&d.list, "v1.2"));
    disk_close(&d);
}

Test(maildir_disk, fs_layout)
{
    rig_run(body_fs, NULL);
}

static void body_not_one(struct rig *r)
{
    struct mh_endpoint ep;
    struct mh_session *s = NULL;
    struct mh_err why;
    mh_err_reset(&why);
    shell(r, "mkdir m; echo x >f");
    mh_endpoint_init(&ep);
    ep.path = mh_asprintf("%s/m", r->dir);
    r->env.is_source = true;
    cr_expect_eq(mh_maildir.open(&ep, &r->env, false, &s, &why), MH_EUSAGE);
    cr_expect_not_null(strstr(why.text, "is no Maildir"), "%s", why.text);
    mh_endpoint_done(&ep);
    r->env.is_source = false;
    ep.path = mh_asprintf("%s/f", r->dir);
    cr_expect_eq(mh_maildir.open(&ep, &r->env, false, &s, &why), MH_EUSAGE);
    cr_expect_eq(mh_maildir.open(&ep, &r->env, true, &s, &why), MH_EUSAGE);
    mh_endpoint_done(&ep);
}

Test(maildir_disk, what_is_no_maildir)
{
    rig_run(body_not_one, NULL);
}

/* What we write: a file in cur/ with sizes and flags in its name, nothing in tmp/ or new/. */
static void body_written(struct rig *r)
{
    struct disk d;
    struct verdicts vs;
    struct mail mails[] = {{.bytes = bytes_of_text("a: b\r\n\r\nc\r\n"),
                            .flags = MH_SEEN,
                            .date = {1000000000, 60, true},
                            .keywords = "work"},
                           {.bytes = bytes_of_text("a: b\n\nc\n"), .flags = MH_FLAGGED}};
    disk_open(&d, r, &mh_maildir, "m", true);
    disk_append(&d, &inbox, mails, MH_ARRAY_LEN(mails), &vs);
    shell(r,
          "test \"$(ls m/cur | wc -l)\" = 2; test -z \"$(ls m/tmp m/new | grep -v :$ | grep .)\"");
    shell(r, "ls m/cur | grep -qE ',S=11,W=11:2,Sa$' && ls m/cur | grep -qE ',S=8,W=11,R=1:2,F$'");
    shell(r, "test \"$(stat -c %Y m/cur/*W=11:2,Sa)\" = 1000000000");
    shell(r, "test \"$(stat -c %a m/cur/*W=11:2,Sa)\" = 600");
    shell(r, "printf 'a: b\\r\\n\\r\\nc\\r\\n' | cmp - m/cur/*W=11:2,Sa");
    shell(r, "printf 'a: b\\n\\nc\\n' | cmp - m/cur/*R=1:2,F");
    shell(r, "test \"$(cat m/dovecot-keywords)\" = '0 work'");
    mails_free(mails, MH_ARRAY_LEN(mails));
    verdicts_free(&vs);
    disk_close(&d);
}

Test(maildir_disk, what_we_write)
{
    rig_run(body_written, NULL);
}

/* More keywords than letters: what is not kept is said. */
static void body_keywords(struct rig *r)
{
    struct disk d;
    struct verdicts vs;
    struct mail mails[30];
    char words[MH_ARRAY_LEN(mails)][16];
    mh_log_set_output(keep_log, NULL);
    disk_open(&d, r, &mh_maildir, "m", true);
    for (size_t i = 0; i < MH_ARRAY_LEN(mails); i++) {
        (void)snprintf(words[i], sizeof words[i], "k%02d", (int)i);
        mails[i] = (struct mail){.bytes = bytes_of_text("x\r\n"), .keywords = words[i]};
    }
    disk_append(&d, &inbox, mails, MH_ARRAY_LEN(mails), &vs);
    disk_read(&d, &inbox);
    size_t with = 0;
    for (size_t i = 0; i < 30; i++)
        with += *box_keywords(&d.box, i) != '\0';
    cr_expect_eq(with, 26u);
    struct mh_opened opened;
    ASSERT_OK(mh_maildir.select(d.s, &inbox, true, &opened, &err));
    cr_expect_not(opened.keywords_ok);
    cr_expect_str_eq(opened.keywords,
                     "k00 k01 k02 k03 k04 k05 k06 k07 k08 k09 k10 k11 k12 k13 k14 k15 k16 k17 k18 "
                     "k19 k20 k21 k22 k23 k24 k25");
    uint64_t uid = vs.v[0].uid;
    ASSERT_OK(mh_maildir.store_flags(d.s, &uid, 1, true, MH_SEEN, "k01 more MORE", &err));
    cr_expect_not_null(strstr(log_lines, "1 were not kept: more"), "%s", log_lines);
    disk_leave(&d);
    cr_expect_not_null(strstr(log_lines, "INBOX: a Maildir holds 26 different keywords at most: "
                                         "4 were not kept: k26 k27 k28 k29"),
                       "%s", log_lines);
    shell(r, "ls m/cur | grep -q ':2,Sab$'");
    mails_free(mails, MH_ARRAY_LEN(mails));
    verdicts_free(&vs);
    disk_close(&d);
}

Test(maildir_disk, more_keywords_than_letters)
{
    rig_run(body_keywords, NULL);
}

/* The 26th letter: until it is given away new keywords are welcome. */
static void body_last_letter(struct rig *r)
{
    struct disk d;
    struct mh_opened opened;
    shell(r, "mkdir -p m/cur m/new m/tmp; touch m/cur/1.x:2,; "
             "seq 0 24 | sed 's/.*/& word&/' >m/dovecot-keywords");
    disk_open(&d, r, &mh_maildir, "m", false);
    ASSERT_OK(mh_maildir.select(d.s, &inbox, true, &opened, &err));
    cr_expect(opened.keywords_ok);
    uint64_t uid = mh_uid_from_name("1.x", 3);
    /* Taking away what nobody has gives no letter away. */
    ASSERT_OK(mh_maildir.store_flags(d.s, &uid, 1, false, 0, "unknown", &err));
    ASSERT_OK(mh_maildir.store_flags(d.s, &uid, 1, true, 0, "last", &err));
    shell(r, "test -e m/cur/1.x:2,z; grep -qx '25 last' m/dovecot-keywords");
    ASSERT_OK(mh_maildir.select(d.s, &inbox, true, &opened, &err));
    cr_expect_not(opened.keywords_ok);
    cr_expect_not_null(strstr(opened.keywords, "word24 last"));
    disk_close(&d);
}

Test(maildir_disk, the_last_letter)
{
    rig_run(body_last_letter, NULL);
}

/* A native name out of a state file that somebody has edited cannot lead out. */
static void body_native(struct rig *r)
{
    static const char *const natives[] = {"..",   "../out", ".A/../../out", "/etc",
                                          "link", "",       "./cur"};
    struct disk d;
    shell(r, "mkdir -p m/cur m/new m/tmp out/cur out/new out/tmp; ln -s ../out m/link; echo x "
             ">out/cur/1");
    disk_open(&d, r, &mh_maildir, "m", false);
    for (size_t i = 0; i < MH_ARRAY_LEN(natives); i++) {
        struct mh_folder f = {.path = (char *)(uintptr_t)natives[i],
                              .native = (char *)(uintptr_t)natives[i]};
        struct mh_opened opened = {0};
        struct mh_err why;
        mh_err_reset(&why);
        int rc = mh_maildir.select(d.s, &f, true, &opened, &why);
        cr_expect(rc < 0 || opened.messages == 0, "%s", natives[i]);
    }
    disk_close(&d);
}

Test(maildir_disk, names_from_outside_do_not_lead_out)
{
    rig_run(body_native, NULL);
}
