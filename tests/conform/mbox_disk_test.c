/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mbox files as other programs leave them, what ours look like, and broken-off appends. */
#include <fcntl.h>
#include <sys/wait.h>

#include "connectors/mbox/mbox.h"
#include "disk.h"

#define FROM "From x Sun Nov 22 12:05:00 2026\n"

static const struct mh_folder folder_f = {.path = (char *)(uintptr_t) "F",
                                          .native = (char *)(uintptr_t) "F.mbox"};

static void body_foreign(struct rig *r)
{
    static const char text[] =
        FROM "Status: RO\nX-Status: A\nX-Keywords: work\nSubject: 1\n\n>From here\n>>From there\n\n"
             "From y@z Mon Nov 23 00:00:00 2026 +0100\nSubject: 2\n\nsecond\n\n\n" FROM
             "Subject: 3\r\n\r\nx\r\n";
    struct disk d;
    shell(
        r,
        "mkdir -p m/A; touch m/A.mbox m/A/B.mbox m/notes.txt; mkdir m/dir.mbox; ln -s /etc m/link");
    shell(r, "echo x >outside; ln -s ../outside m/out.mbox");
    write_disk(r, "m/F.mbox", text, sizeof text - 1);
    disk_open(&d, r, &mh_mbox, "m", false);
    const struct mh_folder *f = disk_list(&d, "F");
    cr_assert_not_null(f);
    cr_expect_eq(d.list.n, 3u, "%zu folders", d.list.n);
    cr_expect_not_null(mh_folders_find(&d.list, "A"));
    cr_expect_not_null(mh_folders_find(&d.list, "A/B"));
    disk_read(&d, f);
    static const char first[] =
        "Status: RO\r\nX-Status: A\r\nX-Keywords: work\r\nSubject: 1\r\n\r\n"
        "From here\r\n>From there\r\n";
    static const char second[] = "Subject: 2\r\n\r\nsecond\r\n\r\n";
    static const char third[] = "Subject: 3\r\n\r\nx\r\n";
    static const struct want want[] = {
        {first, MH_SEEN | MH_ANSWERED, "work", sizeof first - 1, 1795349100},
        {second, 0, "", sizeof second - 1, 1795388400},
        {third, 0, "", sizeof third - 1, 1795349100},
    };
    box_expect(&d.box, want, MH_ARRAY_LEN(want));
    uint64_t uids[3] = {d.box.items[0]->uid, d.box.items[1]->uid, d.box.items[2]->uid};
    /* Another program marks mail as read and rewrites the file: the same messages. */
    shell(r, "sed -i 's/^Status: RO/Status: R/; s/^Subject: 2/Status: O\\nSubject: 2/' m/F.mbox");
    struct mh_scan scan;
    scan_folder(&mh_mbox, d.s, f, &scan);
    for (size_t i = 0; i < 3; i++)
        cr_expect_not_null(mh_scan_find(&scan, uids[i]), "message %zu has another name now", i);
    mh_scan_done(&scan);
    disk_close(&d);
}

Test(mbox_disk, as_other_programs_leave_it)
{
    rig_run(body_foreign, NULL);
}

static void body_single(struct rig *r)
{
    static const struct {
        const char *file, *path;
    } files[] = {
        {"anna", "INBOX"}, {"Sent.mbox", "Sent"}, {"INBOX.mbox", "INBOX"}, {"new.mbox", "new"}};
    write_disk(r, "anna", FROM "a\n", sizeof FROM + 1);
    write_disk(r, "Sent.mbox", FROM "a\n", sizeof FROM + 1);
    write_disk(r, "INBOX.mbox", FROM "a\n", sizeof FROM + 1);
    for (size_t i = 0; i < MH_ARRAY_LEN(files); i++) {
        struct disk d;
        struct made m;
        struct mh_err why;
        mh_err_reset(&why);
        disk_open(&d, r, &mh_mbox, files[i].file, true);
        make_folder(&mh_mbox, d.s, files[i].path, MH_ROLE_NONE, &m);
        const struct mh_folder *f = disk_list(&d, files[i].path);
        cr_assert_eq(d.list.n, 1u);
        cr_assert_not_null(f);
        struct mail mail = {.bytes = bytes_of_text("b\r\n"), .flags = MH_SEEN};
        struct verdicts vs;
        disk_append(&d, f, &mail, 1, &vs);
        disk_read(&d, f);
        cr_expect_eq(d.box.scan.n, i == 3 ? 1u : 2u);
        cr_expect_eq(d.box.items[box_find(&d.box, "b\r\n", 3)]->flags, MH_SEEN);
        char *path = NULL;
        char *native = NULL;
        cr_expect_eq(mh_mbox.create(d.s, "Other", 0, &path, &native, &why), MH_EFOLDER);
        cr_expect_not_null(strstr(why.text, "give a directory"), "%s", why.text);
        bytes_free(&mail.bytes);
        verdicts_free(&vs);
        made_free(&m);
        disk_close(&d);
    }
}

Test(mbox_disk, single_files)
{
    rig_run(body_single, NULL);
}

/* Makes the folder F in a new archive. */
static void open_new(struct disk *d, struct rig *r)
{
    struct made m;
    disk_open(d, r, &mh_mbox, "m", true);
    make_folder(&mh_mbox, d->s, "F", MH_ROLE_NONE, &m);
    made_free(&m);
}

/* Appends them to F. */
static void append_texts(struct disk *d, const char *const *texts, size_t n)
{
    enum { TEXTS_MAX = 3 };
    struct mail mails[TEXTS_MAX] = {{.flags = 0}};
    struct verdicts vs;
    cr_assert_leq(n, (size_t)TEXTS_MAX);
    for (size_t i = 0; i < n; i++)
        mails[i] = (struct mail){.bytes = bytes_of_text(texts[i]),
                                 .flags = MH_FLAGGED,
                                 .keywords = "k",
                                 .date = {1795349100, 60, true}};
    disk_append(d, &folder_f, mails, n, &vs);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(vs.v[i].code, 0);
    mails_free(mails, n);
    verdicts_free(&vs);
}

static void body_written(struct rig *r)
{
    static const char *const texts[] = {"a: b\r\n\r\nFrom c\r\n", "x", ""};
    struct disk d;
    open_new(&d, r);
    append_texts(&d, texts, 3);
    shell(r,
          "F='From mailhaul@localhost Sun Nov 22 12:05:00 2026'; "
          "printf \"$F\\na: b\\r\\n\\r\\n>From c\\r\\n\\n$F\\nx\\n\\n$F\\n\\n\" | cmp - m/F.mbox");
    shell(r, "test \"$(wc -l <m/F.mbox.index)\" = 3; test ! -e m/F.mbox.journal");
    shell(r, "head -1 m/F.mbox.index | "
             "grep -qP '^[0-9a-f]{16}-0\\tF\\t2026-11-22T13:05:00\\+01:00\\t-\\t17\\tk$'");
    shell(r, "test \"$(stat -c %a m/F.mbox)\" = 600");
    disk_close(&d);
}

Test(mbox_disk, what_we_write)
{
    rig_run(body_written, NULL);
}

/* Whatever stands at the end of the file, the next message begins a message. */
static void body_ends(struct rig *r)
{
    static const char *const ends[] = {
        FROM "a", FROM "a\n", FROM "a\n\n",  FROM "a\n\n\n", FROM "a\r\n", FROM "a\r\n\r\n",
        FROM,     FROM "\n",  FROM "a\n\nb", "\n",           "\n\n\n"};
    static const char *const texts[] = {"new: one\r\n"};
    for (size_t i = 0; i < MH_ARRAY_LEN(ends); i++) {
        struct disk d;
        shell(r, "rm -rf m; mkdir m");
        write_disk(r, "m/F.mbox", ends[i], strlen(ends[i]));
        disk_open(&d, r, &mh_mbox, "m", true);
        append_texts(&d, texts, 1);
        disk_read(&d, &folder_f);
        cr_expect_eq(d.box.scan.n, ends[i][0] == 'F' ? 2u : 1u, "end %zu: %zu messages", i,
                     d.box.scan.n);
        (void)box_find(&d.box, texts[0], strlen(texts[0]));
        disk_close(&d);
    }
}

Test(mbox_disk, any_end_of_the_file)
{
    rig_run(body_ends, NULL);
}

/* --- broken off ------------------------------------------------------------------------------- */

/* Where we were killed: the file as it was, the octets that had arrived behind it, the journal. */
static void body_killed(struct rig *r)
{
    static const char *const old[] = {"old: 1\r\n\r\nx\r\n"};
    static const char *const texts[] = {"new: 1\r\n\r\nFrom x Sun Nov 22 12:05:00 2026\r\n",
                                        "new: 2\r\n\r\nbody of the second\r\n"};
    struct disk d;
    open_new(&d, r);
    append_texts(&d, old, 1);
    shell(r, "cp -r m before; stat -c %s m/F.mbox >journal");
    append_texts(&d, texts, 2);
    shell(r, "cp -r m after");
    disk_leave(&d);
    char *sizes = mh_asprintf("test $(stat -c %%s after/F.mbox) -lt 400");
    shell(r, sizes);
    mh_free(sizes);
    for (int cut = 0; cut < 250; cut += 7) {
        char command[256];
        (void)snprintf(command, sizeof command,
                       "rm -rf m && cp -r before m && cp journal m/F.mbox.journal && "
                       "head -c $(( $(cat journal) + %d )) after/F.mbox >m/F.mbox",
                       cut);
        shell(r, command);
        disk_enter(&d, true);
        disk_read(&d, &folder_f);
        cr_assert_eq(d.box.scan.n, 1u, "a reader stops at the journal");
        (void)box_find(&d.box, old[0], strlen(old[0]));
        append_texts(&d, texts, 2);
        disk_read(&d, &folder_f);
        cr_assert_eq(d.box.scan.n, 3u, "cut at %d: %zu messages", cut, d.box.scan.n);
        for (size_t i = 0; i < 2; i++)
            (void)box_find(&d.box, texts[i], strlen(texts[i]));
        shell(r, "cmp m/F.mbox after/F.mbox && test ! -e m/F.mbox.journal");
        disk_leave(&d);
    }
    disk_close(&d);
}

Test(mbox_disk, killed_in_an_append, .timeout = 120)
{
    rig_run(body_killed, NULL);
}

/* Another program has delivered behind what we left half done: nothing of it is removed. */
static void body_delivered_behind(struct rig *r)
{
    static const char *const texts[] = {"again: 1\r\n"};
    struct disk d;
    shell(r, "mkdir m");
    static const char before[] = FROM "old\n\n";
    char text[512];
    int len = snprintf(text, sizeof text,
                       "%sFrom mailhaul@localhost Sun Nov 22 12:05:00 2026\nhalf a mess\n\n" FROM
                       "delivered\n\n",
                       before);
    write_disk(r, "m/F.mbox", text, (size_t)len);
    char journal[32];
    int journal_len = snprintf(journal, sizeof journal, "%zu\n", sizeof before - 1);
    write_disk(r, "m/F.mbox.journal", journal, (size_t)journal_len);
    disk_open(&d, r, &mh_mbox, "m", true);
    append_texts(&d, texts, 1);
    disk_read(&d, &folder_f);
    cr_expect_eq(d.box.scan.n, 4u);
    (void)box_find(&d.box, "old\r\n", 5);
    (void)box_find(&d.box, "delivered\r\n", 11);
    (void)box_find(&d.box, "again: 1\r\n", 10);
    shell(r, "test ! -e m/F.mbox.journal");
    write_disk(r, "m/F.mbox.journal", "rubbish", 7);
    struct mh_opened opened;
    struct mh_err why;
    mh_err_reset(&why);
    cr_expect_eq(mh_mbox.select(d.s, &folder_f, false, &opened, &why), MH_EFOLDER);
    cr_expect_not_null(strstr(why.text, "no journal of mailhaul"));
    disk_close(&d);
}

Test(mbox_disk, another_program_has_delivered_behind_it)
{
    rig_run(body_delivered_behind, NULL);
}

/* Between two appends of one session another program delivers, and a twin of a message of ours too. */
static void body_delivered_between(struct rig *r)
{
    static const char *const texts[] = {"a: b\r\n"};
    struct disk d;
    struct verdicts vs;
    struct mail mail = {.bytes = bytes_of_text(texts[0])};
    open_new(&d, r);
    verdicts_init(&vs, 3);
    ASSERT_OK(mh_mbox.append_open(d.s, &folder_f, &vs.sink, &err));
    ASSERT_OK(send_mail(r, &mh_mbox, d.s, &mail, 0, 9, &err));
    ASSERT_OK(mh_mbox.append_flush(d.s, &err));
    shell(r, "printf 'From y Sun Nov 22 12:05:00 2026\\na: b\\n' >>m/F.mbox");
    ASSERT_OK(send_mail(r, &mh_mbox, d.s, &mail, 1, 9, &err));
    ASSERT_OK(send_mail(r, &mh_mbox, d.s, &mail, 2, 9, &err));
    ASSERT_OK(mh_mbox.append_flush(d.s, &err));
    disk_read(&d, &folder_f);
    cr_expect_eq(d.box.scan.n, 4u);
    for (size_t i = 0; i < 3; i++)
        cr_expect_not_null(mh_scan_find(&d.box.scan, vs.v[i].uid), "verdict %zu names another", i);
    bytes_free(&mail.bytes);
    verdicts_free(&vs);
    disk_close(&d);
}

Test(mbox_disk, another_program_delivers_in_between)
{
    rig_run(body_delivered_between, NULL);
}

/* A mail program holds the file's lock with fcntl(): we wait, then say so, and store nothing. */
static void body_locked(struct rig *r)
{
    struct disk d;
    struct verdicts vs;
    struct mail mail = {.bytes = bytes_of_text("a: b\r\n")};
    open_new(&d, r);
    verdicts_init(&vs, 2);
    ASSERT_OK(mh_mbox.append_open(d.s, &folder_f, &vs.sink, &err));
    int ready[2];
    int leave[2];
    cr_assert(pipe(ready) == 0 && pipe(leave) == 0);
    char *path = mh_asprintf("%s/m/F.mbox", r->dir);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR);
        struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        char c = fcntl(fd, F_SETLK, &fl) == 0 ? 'y' : 'n';
        (void)!write(ready[1], &c, 1);
        (void)!read(leave[0], &c, 1);
        _exit(0);
    }
    char c = 'n';
    cr_assert_eq(read(ready[0], &c, 1), 1);
    cr_assert_eq(c, 'y');
    ASSERT_OK(send_mail(r, &mh_mbox, d.s, &mail, 0, 9, &err));
    ASSERT_OK(mh_mbox.append_flush(d.s, &err));
    cr_expect_eq(vs.v[0].code, MH_ELATER);
    shell(r, "test ! -s m/F.mbox");
    cr_assert_eq(write(leave[1], "x", 1), 1);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    ASSERT_OK(send_mail(r, &mh_mbox, d.s, &mail, 1, 9, &err));
    ASSERT_OK(mh_mbox.append_flush(d.s, &err));
    cr_expect_eq(vs.v[1].code, 0);
    mh_free(path);
    bytes_free(&mail.bytes);
    verdicts_free(&vs);
    disk_close(&d);
}

Test(mbox_disk, locked_by_another_program, .timeout = 60)
{
    rig_run(body_locked, NULL);
}

static void body_changed(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir m");
    write_disk(r, "m/F.mbox", FROM "first\n\n" FROM "second\n\n", 2 * sizeof FROM + 14);
    disk_open(&d, r, &mh_mbox, "m", false);
    disk_read_around(&d, &folder_f, 2, "printf 'From x Sun Nov 22 12:05:00 2026\\nx\\n' >m/F.mbox");
    for (size_t i = 0; i < 2; i++)
        cr_expect(d.box.got.v[i].missed, "a message that is not what it was is not given away");
    disk_close(&d);
}

Test(mbox_disk, the_file_is_overwritten_while_we_look)
{
    rig_run(body_changed, NULL);
}
