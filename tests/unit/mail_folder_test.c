/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "mail/folder.h"
#include "out_of_memory.h"

static struct mh_folder *add(struct mh_folders *l, const char *path)
{
    struct mh_folder *f = NULL;
    cr_assert_eq(mh_folders_add(l, path, path, &f, NULL), 0);
    return f;
}

Test(mail_folder, add_copies_and_empties)
{
    struct mh_folders l = MH_FOLDERS_INIT;
    struct mh_folder *f = NULL;
    char path[] = "A/B";
    char native[] = "A.B";
    cr_assert_eq(mh_folders_add(&l, path, native, &f, NULL), 0);
    path[0] = native[0] = 'X';
    cr_expect_str_eq(f->path, "A/B");
    cr_expect_str_eq(f->native, "A.B");
    cr_expect_eq(f->role, MH_ROLE_NONE);
    cr_expect_eq(f->attrs, 0u);
    cr_expect_eq(f->uidvalidity, 0u);
    cr_expect_not(f->size_known);
    mh_folders_done(&l);
    cr_expect_eq(l.n, 0u);
    mh_folders_done(&l);
}

Test(mail_folder, sort_puts_inbox_first_and_children_behind_parents)
{
    static const char *const in[] = {
        "a",     "Sent-old", "Sent/2019",    "Sent",       "INBOX/x",     "Sent!",
        "INBOX", "INBOXES",  "Sent/2019/Q1", "Sent/20190", "\xc3\x84rger"};
    static const char *const out[] = {
        "INBOX",      "INBOX/x", "INBOXES",  "Sent", "Sent/2019",   "Sent/2019/Q1",
        "Sent/20190", "Sent!",   "Sent-old", "a",    "\xc3\x84rger"};
    struct mh_folders l = MH_FOLDERS_INIT;
    for (size_t i = 0; i < MH_ARRAY_LEN(in); i++)
        (void)add(&l, in[i]);
    cr_expect_str_eq(mh_folders_find(&l, "Sent/2019")->path, "Sent/2019", "unsorted");
    mh_folders_sort(&l);
    for (size_t i = 0; i < MH_ARRAY_LEN(out); i++) {
        cr_expect_str_eq(l.v[i].path, out[i]);
        cr_expect_eq(mh_folders_find(&l, out[i]), &l.v[i]);
    }
    cr_expect_null(mh_folders_find(&l, "Sent/2"));
    cr_expect_null(mh_folders_find(&l, "inbox"));
    cr_expect_null(mh_folders_find(&l, ""));
    (void)add(&l, "0");
    cr_expect_str_eq(mh_folders_find(&l, "0")->path, "0", "found after an add too");
    mh_folders_done(&l);
}

Test(mail_folder, find_in_many)
{
    struct mh_folders l = MH_FOLDERS_INIT;
    char path[32];
    for (unsigned i = 0; i < 50000; i++) {
        (void)snprintf(path, sizeof path, "d%u/f%u", i * 7919 % 500, i);
        (void)add(&l, path);
    }
    mh_folders_sort(&l);
    for (unsigned i = 0; i < 50000; i++) {
        (void)snprintf(path, sizeof path, "d%u/f%u", i * 7919 % 500, i);
        cr_assert_not_null(mh_folders_find(&l, path));
    }
    mh_folders_done(&l);
}

Test(mail_folder, limit)
{
    struct mh_folders l = MH_FOLDERS_INIT;
    struct mh_folder *f = NULL;
    struct mh_err err;
    (void)add(&l, "A");
    size_t real = l.n;
    l.n = MH_FOLDERS_MAX; /* as if a hostile server had listed them */
    cr_expect_eq(mh_folders_add(&l, "B", "B", &f, &err), MH_EMAILBOX);
    cr_expect_not_null(strstr(err.text, "1000000"));
    l.n = real;
    mh_folders_done(&l);
}

Test(mail_folder, out_of_memory_is_an_error)
{
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_folders l = MH_FOLDERS_INIT;
        struct mh_err err;
        int rc = 0;
        oom_begin(&o);
        for (int i = 0; rc == 0 && i < 4; i++) {
            struct mh_folder *f = NULL;
            rc = mh_folders_add(&l, "path", "native", &f, &err);
        }
        oom_end(&o);
        cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u", o.nth);
        mh_folders_done(&l);
    }
}

/* --- guessing roles --------------------------------------------------------------------------- */

struct folder_in {
    const char *path;
    enum mh_role announced;
    unsigned attrs;
    uint64_t messages;
};

static const struct guess_case {
    const char *name;
    struct folder_in in[6];
    enum mh_role out[6];
} guess_cases[] = {
    {"by name",
     {{"INBOX", 0, 0, 0}, {"Sent", 0, 0, 0}, {"Papierkorb", 0, 0, 0}, {"Friends", 0, 0, 0}},
     {MH_ROLE_INBOX, MH_ROLE_SENT, MH_ROLE_TRASH, MH_ROLE_NONE}},
    {"directly below INBOX",
     {{"INBOX/Sent", 0, 0, 0}, {"INBOX/Old/Drafts", 0, 0, 0}},
     {MH_ROLE_SENT, MH_ROLE_NONE}},
    {"not below others",
     {{"Old/Sent", 0, 0, 0}, {"Sent%2FDrafts", 0, 0, 0}},
     {MH_ROLE_NONE, MH_ROLE_NONE}},
    {"never over an announced one",
     {{"Sent", 0, 0, 900}, {"Out", MH_ROLE_SENT, MH_FOLDER_ROLE_ANNOUNCED, 1}},
     {MH_ROLE_NONE, MH_ROLE_SENT}},
    {"an announced role stays",
     {{"Trash", MH_ROLE_JUNK, MH_FOLDER_ROLE_ANNOUNCED, 0}},
     {MH_ROLE_JUNK}},
    {"once: the first", {{"Sent", 0, 0, 0}, {"Sent Items", 0, 0, 0}}, {MH_ROLE_SENT, MH_ROLE_NONE}},
    {"once: the fuller one",
     {{"Sent", 0, 0, 3}, {"Sent Items", 0, 0, 4000}},
     {MH_ROLE_NONE, MH_ROLE_SENT}},
    {"once: top level before fuller",
     {{"INBOX/Sent", 0, 0, 4000}, {"Sent Items", 0, 0, 3}},
     {MH_ROLE_NONE, MH_ROLE_SENT}},
    {"top level before, in the other order",
     {{"Sent Items", 0, 0, 3}, {"INBOX/Sent", 0, 0, 4000}},
     {MH_ROLE_SENT, MH_ROLE_NONE}},
    {"no mail in it",
     {{"Sent", 0, MH_FOLDER_NOSELECT, 0}, {"Trash", 0, MH_FOLDER_FOREIGN, 0}},
     {MH_ROLE_NONE, MH_ROLE_NONE}},
    {"INBOX in another spelling is another folder", {{"Inbox", 0, 0, 0}}, {MH_ROLE_NONE}},
};

Test(mail_folder, guess_roles)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(guess_cases); i++) {
        const struct guess_case *c = &guess_cases[i];
        struct mh_folders l = MH_FOLDERS_INIT;
        for (size_t j = 0; c->in[j].path; j++) {
            struct mh_folder *f = add(&l, c->in[j].path);
            f->role = c->in[j].announced;
            f->attrs = c->in[j].attrs;
            f->messages = c->in[j].messages;
        }
        mh_folders_guess_roles(&l);
        for (size_t j = 0; c->in[j].path; j++) {
            cr_expect_eq(l.v[j].role, c->out[j], "%s: %s", c->name, c->in[j].path);
            if (c->out[j] != MH_ROLE_NONE)
                cr_expect_eq(mh_folders_find_role(&l, c->out[j]), &l.v[j], "%s", c->name);
        }
        mh_folders_done(&l);
    }
}
