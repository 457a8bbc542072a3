/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Directories of .eml files as other programs leave them, and what ours look like on the disk. */
#include "connectors/eml/eml.h"
#include "disk.h"

static void body_foreign(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir -p e/Sent e/A/B e/empty e/.hidden e/50%25; echo x >e/.hidden/a.eml");
    for (size_t i = 0; i < MH_ARRAY_LEN(form_cases); i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "e/Sent/%zu %s.%s", i, i % 2 ? "B\xc3\xa9" : "a",
                       i % 3 ? "eml" : "EML");
        write_disk(r, name, form_cases[i].in, strlen(form_cases[i].in));
    }
    shell(
        r,
        "echo text >e/Sent/readme.txt; echo x >outside.eml; ln -s ../../outside.eml e/Sent/l.eml; "
        "mkdir e/Sent/dir.eml; ln -s / e/root; echo root >e/top.eml");
    shell(r, "touch -d '2001-09-09 01:46:40 UTC' e/Sent/*");
    disk_open(&d, r, &mh_eml, "e", false);
    const struct mh_folder *f = disk_list(&d, "Sent");
    cr_assert_not_null(f);
    cr_expect_eq(f->messages, MH_ARRAY_LEN(form_cases));
    cr_expect(f->attrs & MH_FOLDER_SUBSCRIBED);
    cr_expect_not_null(mh_folders_find(&d.list, "A"));
    cr_expect_not_null(mh_folders_find(&d.list, "A/B"));
    cr_expect_not_null(mh_folders_find(&d.list, "empty"));
    cr_expect_not_null(mh_folders_find(&d.list, "INBOX"), "files in the root");
    cr_expect_not_null(mh_folders_find(&d.list, "Sent/dir.eml"), "a directory, whatever its name");
    cr_expect_eq(d.list.n, 7u, "%zu folders", d.list.n);
    disk_read(&d, f);
    cr_assert_eq(d.box.scan.n, MH_ARRAY_LEN(form_cases));
    for (size_t i = 0; i < MH_ARRAY_LEN(form_cases); i++) {
        size_t at = box_find(&d.box, form_cases[i].out, strlen(form_cases[i].out));
        cr_expect_eq(d.box.items[at]->date.unix_s, 1000000000);
        cr_expect_eq(d.box.items[at]->flags, 0);
    }
    disk_read(&d, mh_folders_find(&d.list, "INBOX"));
    (void)box_find(&d.box, "root\r\n", 6);
    shell(r, "mkdir e/INBOX; echo inbox >e/INBOX/1.eml");
    f = disk_list(&d, "INBOX");
    cr_expect_str_eq(f->native, "INBOX");
    cr_expect_not_null(mh_folders_find(&d.list, "INBOX~root"));
    disk_close(&d);
}

Test(eml_disk, as_other_programs_leave_it)
{
    rig_run(body_foreign, NULL);
}

static void body_single(struct rig *r)
{
    struct disk d;
    struct mh_err why;
    shell(r,
          "mkdir d; printf 'a: b\\n\\nc\\n' >d/one.msg; echo other >d/two.eml; ln -s d/one.msg l");
    static const char *const names[] = {"d/one.msg", "l"};
    for (size_t i = 0; i < 2; i++) {
        disk_open(&d, r, &mh_eml, names[i], false);
        const struct mh_folder *f = disk_list(&d, "INBOX");
        cr_assert_eq(d.list.n, 1u);
        cr_assert_not_null(f);
        cr_expect_eq(f->messages, 1u);
        disk_read(&d, f);
        cr_assert_eq(d.box.scan.n, 1u);
        (void)box_find(&d.box, "a: b\r\n\r\nc\r\n", 11);
        disk_leave(&d);
        mh_err_reset(&why);
        cr_expect_eq(mh_eml.open(&d.ep, &r->env, true, &d.s, &why), MH_EUSAGE, "no target");
        disk_close(&d);
    }
}

Test(eml_disk, a_single_file)
{
    rig_run(body_single, NULL);
}

static void body_written(struct rig *r)
{
    struct disk d;
    struct made m;
    struct verdicts vs;
    struct mail mails[] = {{.bytes = bytes_of_text("a: b\r\n\r\nc\r\n"),
                            .flags = MH_SEEN | MH_FLAGGED,
                            .date = {1795349100, 60, true},
                            .keywords = "work a/b"},
                           {.bytes = bytes_of_text("a: b\n\nc\n"), .date = {0, 0, true}}};
    disk_open(&d, r, &mh_eml, "e", true);
    make_folder(&mh_eml, d.s, "A/what?", MH_ROLE_SENT, &m);
    disk_append(&d, &m.folder, mails, MH_ARRAY_LEN(mails), &vs);
    shell(r, "test \"$(ls e/A/what%3F | wc -l)\" = 2");
    shell(r, "printf 'a: b\\r\\n\\r\\nc\\r\\n' | cmp - e/A/what%3F/20261122T120500-*.eml");
    shell(r, "printf 'a: b\\n\\nc\\n' | cmp - e/A/what%3F/19700101T000000-*.eml");
    shell(r, "test \"$(ls -A e/A/what%3F | grep '^\\.')\" = .mailhaul-index");
    shell(r, "grep -qP "
             "'^20261122T120500-[0-9a-fx-]+\\.eml\\tFS\\t2026-11-22T13:05:00\\+01:00\\t-\\t11\\t"
             "work a%2Fb$' e/A/what%3F/.mailhaul-index");
    shell(r, "grep -qP '^19700101T000000-\\S+\\t-\\t1970-01-01T00:00:00\\+00:00\\traw\\t8\\t$' "
             "e/A/what%3F/.mailhaul-index");
    shell(r, "grep -qP '^A/what\\?\\trole\\tsent$' e/.mailhaul-folders");
    shell(r, "test \"$(stat -c %Y e/A/what%3F/2026*)\" = 1795349100");
    made_free(&m);
    mails_free(mails, MH_ARRAY_LEN(mails));
    verdicts_free(&vs);
    disk_close(&d);
}

Test(eml_disk, what_we_write)
{
    rig_run(body_written, NULL);
}

/* Between the scan and the fetch somebody puts a link and a pipe where mail was. */
static void body_swapped(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir -p e/F; echo secret >outside; for i in 1 2 3 4; do echo $i >e/F/$i.eml; done");
    disk_open(&d, r, &mh_eml, "e", false);
    disk_read_around(&d, disk_list(&d, "F"), 4,
                     "cd e/F; rm 1.eml 2.eml 3.eml; ln -s ../../outside 1.eml; mkfifo 2.eml");
    for (size_t i = 0; i < 4; i++) {
        const struct got *got = &d.box.got.v[i];
        bool is_gone = got->uid == mh_uid_from_name("3.eml", 5);
        cr_expect_eq(got->missed, got->uid != mh_uid_from_name("4.eml", 5));
        if (got->missed)
            cr_expect_str_eq(got->reason, is_gone ? "vanished" : "unreadable");
    }
    disk_close(&d);
}

Test(eml_disk, other_things_where_mail_was, .timeout = 30)
{
    rig_run(body_swapped, NULL);
}

/* A damaged index takes nothing but flags with it. */
static void body_index(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir -p e/F; echo one >e/F/1.eml; echo two >e/F/2.eml; echo three >e/F/3.eml");
    shell(
        r,
        "printf "
        "'1.eml\\tS\\t-\\t-\\t-\\tk\\ngarbage\\n2.eml\\tQ\\t-\\t-\\t-\\t\\n3.eml\\tF\\t-\\t-\\t-' "
        ">e/F/.mailhaul-index");
    disk_open(&d, r, &mh_eml, "e", false);
    const struct mh_folder *f = disk_list(&d, "F");
    disk_read(&d, f);
    cr_assert_eq(d.box.scan.n, 3u);
    size_t one = box_find(&d.box, "one\r\n", 5);
    cr_expect_eq(d.box.items[one]->flags, MH_SEEN);
    cr_expect_str_eq(box_keywords(&d.box, one), "k");
    cr_expect_eq(d.box.items[box_find(&d.box, "two\r\n", 5)]->flags, 0);
    cr_expect_eq(d.box.items[box_find(&d.box, "three\r\n", 7)]->flags, 0);
    uint64_t uid = mh_uid_from_name("3.eml", 5);
    ASSERT_OK(mh_eml.store_flags(d.s, &uid, 1, true, MH_DRAFT, NULL, &err));
    disk_read(&d, f);
    cr_expect_eq(d.box.items[box_find(&d.box, "three\r\n", 7)]->flags, MH_DRAFT,
                 "a torn line does not swallow the next one");
    disk_close(&d);
}

Test(eml_disk, a_damaged_index)
{
    rig_run(body_index, NULL);
}
