/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Directories of .eml files as other programs leave them, and what ours look like on the disk. */
#include "connectors/eml/eml.h"
#include "disk.h"

static void body_foreign(struct rig *r)
{
    struct mh_endpoint ep;
    struct mh_folders l = MH_FOLDERS_INIT;
    struct box box;
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
    struct mh_session *s = open_disk(r, &mh_eml, "e", false, &ep);
    const struct mh_folder *f = list_find(&mh_eml, s, &l, "Sent");
    cr_assert_not_null(f);
    cr_expect_eq(f->messages, MH_ARRAY_LEN(form_cases));
    cr_expect(f->attrs & MH_FOLDER_SUBSCRIBED);
    cr_expect_not_null(mh_folders_find(&l, "A"));
    cr_expect_not_null(mh_folders_find(&l, "A/B"));
    cr_expect_not_null(mh_folders_find(&l, "empty"));
    cr_expect_not_null(mh_folders_find(&l, "INBOX"), "files in the root");
    cr_expect_not_null(mh_folders_find(&l, "Sent/dir.eml"), "a directory, whatever its name");
    cr_expect_eq(l.n, 7u, "%zu folders", l.n);
    box_read(&mh_eml, s, f, &box);
    cr_assert_eq(box.scan.n, MH_ARRAY_LEN(form_cases));
    for (size_t i = 0; i < MH_ARRAY_LEN(form_cases); i++) {
        size_t at = box_find(&box, form_cases[i].out, strlen(form_cases[i].out));
        cr_expect_eq(box.items[at]->date.unix_s, 1000000000);
        cr_expect_eq(box.items[at]->flags, 0);
    }
    box_free(&box);
    box_read(&mh_eml, s, mh_folders_find(&l, "INBOX"), &box);
    (void)box_find(&box, "root\r\n", 6);
    box_free(&box);
    shell(r, "mkdir e/INBOX; echo inbox >e/INBOX/1.eml");
    f = list_find(&mh_eml, s, &l, "INBOX");
    cr_expect_str_eq(f->native, "INBOX");
    cr_expect_not_null(mh_folders_find(&l, "INBOX~root"));
    mh_folders_done(&l);
    mh_eml.close(s);
    mh_endpoint_done(&ep);
}

Test(eml_disk, as_other_programs_leave_it)
{
    rig_run(body_foreign, NULL);
}

static void body_single(struct rig *r)
{
    struct mh_endpoint ep;
    struct mh_folders l = MH_FOLDERS_INIT;
    struct box box;
    struct mh_session *none = NULL;
    struct mh_err why;
    shell(r,
          "mkdir d; printf 'a: b\\n\\nc\\n' >d/one.msg; echo other >d/two.eml; ln -s d/one.msg l");
    static const char *const names[] = {"d/one.msg", "l"};
    for (size_t i = 0; i < 2; i++) {
        struct mh_session *s = open_disk(r, &mh_eml, names[i], false, &ep);
        const struct mh_folder *f = list_find(&mh_eml, s, &l, "INBOX");
        cr_assert_eq(l.n, 1u);
        cr_assert_not_null(f);
        cr_expect_eq(f->messages, 1u);
        box_read(&mh_eml, s, f, &box);
        cr_assert_eq(box.scan.n, 1u);
        (void)box_find(&box, "a: b\r\n\r\nc\r\n", 11);
        box_free(&box);
        mh_eml.close(s);
        mh_err_reset(&why);
        cr_expect_eq(mh_eml.open(&ep, &r->env, true, &none, &why), MH_EUSAGE, "no target");
        mh_endpoint_done(&ep);
    }
    mh_folders_done(&l);
}

Test(eml_disk, a_single_file)
{
    rig_run(body_single, NULL);
}

static void body_written(struct rig *r)
{
    struct mh_endpoint ep;
    struct made m;
    struct verdicts vs;
    struct mail crlf = {.bytes = bytes_of_text("a: b\r\n\r\nc\r\n"),
                        .flags = MH_SEEN | MH_FLAGGED,
                        .date = {1795349100, 60, true},
                        .keywords = "work a/b"};
    struct mail lf = {.bytes = bytes_of_text("a: b\n\nc\n"), .date = {0, 0, true}};
    struct mh_session *s = open_disk(r, &mh_eml, "e", true, &ep);
    make_folder(&mh_eml, s, "A/what?", MH_ROLE_SENT, &m);
    verdicts_init(&vs, 2);
    ASSERT_OK(mh_eml.append_open(s, &m.folder, &vs.sink, &err));
    ASSERT_OK(send_mail(r, &mh_eml, s, &crlf, 0, 5, &err));
    ASSERT_OK(send_mail(r, &mh_eml, s, &lf, 1, 5, &err));
    ASSERT_OK(mh_eml.append_flush(s, &err));
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
    bytes_free(&crlf.bytes);
    bytes_free(&lf.bytes);
    verdicts_free(&vs);
    mh_eml.close(s);
    mh_endpoint_done(&ep);
}

Test(eml_disk, what_we_write)
{
    rig_run(body_written, NULL);
}

/* Between the scan and the fetch somebody puts a link and a pipe where mail was. */
static void body_swapped(struct rig *r)
{
    struct mh_endpoint ep;
    struct mh_folders l = MH_FOLDERS_INIT;
    struct mh_scan scan;
    struct collector got;
    shell(r, "mkdir -p e/F; echo secret >outside; for i in 1 2 3 4; do echo $i >e/F/$i.eml; done");
    struct mh_session *s = open_disk(r, &mh_eml, "e", false, &ep);
    scan_folder(&mh_eml, s, list_find(&mh_eml, s, &l, "F"), &scan);
    cr_assert_eq(scan.n, 4u);
    shell(r, "cd e/F; rm 1.eml 2.eml 3.eml; ln -s ../../outside 1.eml; mkfifo 2.eml");
    const struct mh_item **items = item_list(&scan);
    collector_init(&got);
    ASSERT_OK(mh_eml.fetch(s, items, 4, &got.sink, &err));
    for (size_t i = 0; i < 4; i++) {
        bool is_mail = got.v[i].uid == mh_uid_from_name("4.eml", 5);
        bool is_gone = got.v[i].uid == mh_uid_from_name("3.eml", 5);
        cr_expect_eq(got.v[i].missed, !is_mail);
        if (got.v[i].missed)
            cr_expect_str_eq(got.v[i].reason, is_gone ? "vanished" : "unreadable");
    }
    collector_free(&got);
    free(items);
    mh_scan_done(&scan);
    mh_folders_done(&l);
    mh_eml.close(s);
    mh_endpoint_done(&ep);
}

Test(eml_disk, other_things_where_mail_was, .timeout = 30)
{
    rig_run(body_swapped, NULL);
}

/* A damaged index takes nothing but flags with it. */
static void body_index(struct rig *r)
{
    struct mh_endpoint ep;
    struct mh_folders l = MH_FOLDERS_INIT;
    struct box box;
    shell(r, "mkdir -p e/F; echo one >e/F/1.eml; echo two >e/F/2.eml; echo three >e/F/3.eml");
    shell(
        r,
        "printf "
        "'1.eml\\tS\\t-\\t-\\t-\\tk\\ngarbage\\n2.eml\\tQ\\t-\\t-\\t-\\t\\n3.eml\\tF\\t-\\t-\\t-' "
        ">e/F/.mailhaul-index");
    struct mh_session *s = open_disk(r, &mh_eml, "e", false, &ep);
    const struct mh_folder *f = list_find(&mh_eml, s, &l, "F");
    box_read(&mh_eml, s, f, &box);
    cr_assert_eq(box.scan.n, 3u);
    size_t one = box_find(&box, "one\r\n", 5);
    cr_expect_eq(box.items[one]->flags, MH_SEEN);
    cr_expect_str_eq(box_keywords(&box, one), "k");
    cr_expect_eq(box.items[box_find(&box, "two\r\n", 5)]->flags, 0);
    cr_expect_eq(box.items[box_find(&box, "three\r\n", 7)]->flags, 0);
    uint64_t uid = mh_uid_from_name("3.eml", 5);
    ASSERT_OK(mh_eml.store_flags(s, &uid, 1, true, MH_DRAFT, NULL, &err));
    box_free(&box);
    box_read(&mh_eml, s, f, &box);
    cr_expect_eq(box.items[box_find(&box, "three\r\n", 7)]->flags, MH_DRAFT,
                 "a torn line does not swallow the next one");
    box_free(&box);
    mh_folders_done(&l);
    mh_eml.close(s);
    mh_endpoint_done(&ep);
}

Test(eml_disk, a_damaged_index)
{
    rig_run(body_index, NULL);
}
