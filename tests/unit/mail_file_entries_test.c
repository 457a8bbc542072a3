/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "mail/file_entries.h"
#include "scratch.h"

TestSuite(mail_file_entries, .init = scratch_make, .fini = scratch_drop);

/* Names are numbers here; "x…" is no message. */
static uint64_t uid_of(const char *name)
{
    return strtoull(name, NULL, 10);
}

Test(mail_file_entries, added_sorted_found_renamed)
{
    enum { N = 1000 };
    struct mh_file_entries l = {.n = 0};
    char name[16];
    for (unsigned i = 0; i < N; i++) {
        uint64_t uid = 1 + (i * 617u) % N * 2; /* all odd numbers, in no order */
        (void)snprintf(name, sizeof name, "n%u", (unsigned)uid);
        cr_assert_eq(mh_file_entries_add(&l, uid, name, i % 2, NULL), 0);
    }
    mh_file_entries_sort(&l);
    cr_assert_eq(l.n, (size_t)N);
    for (uint64_t uid = 0; uid <= 2 * N; uid++) {
        struct mh_file_entry *e = mh_file_entries_find(&l, uid);
        cr_assert_eq(e != NULL, uid % 2 == 1, "%u", (unsigned)uid);
        (void)snprintf(name, sizeof name, "n%u", (unsigned)uid);
        if (e)
            cr_expect_str_eq(mh_file_entries_name(&l, e), name);
    }
    struct mh_file_entry *e = mh_file_entries_find(&l, 7);
    cr_assert_eq(mh_file_entries_rename(&l, e, "another name", NULL), 0);
    cr_expect_str_eq(mh_file_entries_name(&l, mh_file_entries_find(&l, 7)), "another name");
    cr_expect_str_eq(mh_file_entries_name(&l, mh_file_entries_find(&l, 9)), "n9");
    mh_file_entries_reset(&l);
    cr_expect_null(mh_file_entries_find(&l, 7));
    mh_file_entries_done(&l);
}

Test(mail_file_entries, only_files_are_messages)
{
    struct mh_file_entries l = {.n = 0};
    scratch_shell("touch 3 1 2 xyz; mkdir 4; mkfifo 5; ln -s 1 6; mkdir x");
    cr_assert_eq(mh_file_entries_read(&l, scratch_fd, 9, uid_of, NULL), 0);
    mh_file_entries_sort(&l);
    cr_expect_eq(l.n, 3u);
    cr_expect_eq(l.odd, 3u, "those with a message's name");
    for (size_t i = 0; i < l.n; i++) {
        cr_expect_eq(l.v[i].uid, i + 1);
        cr_expect_eq(l.v[i].box, 9);
    }
    struct mh_err err = {0};
    cr_expect_eq(mh_file_entries_read(&l, -1, 0, uid_of, &err), MH_EFOLDER);
    mh_file_entries_done(&l);
}

/* More than one offload looks at; what has gone or become something else meanwhile is passed over. */
Test(mail_file_entries, walk)
{
    static const struct {
        uint64_t uid_from;
        size_t n;
    } cases[] = {{0, 4997}, {1, 4997}, {10, 4990}, {2049, 2951}, {5000, 1}, {5001, 0}};
    struct mh_file_entries l = {.n = 0};
    struct mh_file_walk w;
    scratch_shell("seq 5000 | awk '{ print >$1; close($1) }'; touch -d @1000000000 1000");
    cr_assert_eq(mh_file_entries_read(&l, scratch_fd, 1, uid_of, NULL), 0);
    mh_file_entries_sort(&l);
    cr_assert_eq(l.n, 5000u);
    scratch_shell("rm 2 3000; rm 4; ln -s 5 4");
    const int fds[] = {-1, scratch_fd};
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        size_t n = 0;
        uint64_t last = 0;
        int rc = mh_file_walk_init(&w, &l, fds, cases[i].uid_from, NULL);
        cr_assert_eq(rc, 0);
        while ((rc = mh_file_walk_next(&w, NULL)) > 0) {
            char text[8];
            int len = snprintf(text, sizeof text, "%u\n", (unsigned)w.entry->uid);
            cr_expect_gt(w.entry->uid, last);
            last = w.entry->uid;
            cr_expect_eq(w.size, last == 1000 ? 5u : (uint64_t)len);
            if (last == 1000)
                cr_expect_eq(w.mtime_s, 1000000000);
            n++;
        }
        cr_expect_eq(rc, 0);
        cr_expect_eq(n, cases[i].n, "from %u: %zu", (unsigned)cases[i].uid_from, n);
        mh_file_walk_done(&w);
    }
    cr_assert_eq(mh_file_walk_init(&w, &l, fds, 4, NULL), 0);
    w.follow = true;
    cr_expect_eq(mh_file_walk_next(&w, NULL), 1);
    cr_expect_eq(w.entry->uid, 4u, "a link that is to be followed");
    mh_file_walk_done(&w);
    mh_file_entries_done(&l);
}
