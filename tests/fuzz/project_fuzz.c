/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A project file, any bytes: parsed, and when it is good, used: users are added, waves asked,
 * folders and keywords mapped. Only two answers are right, a plan or one line that says what is
 * wrong.
 */
#include <string.h>

#include "fuzz.h"
#include "plan/plan.h"

static const char users[] = "id,source_user,target_user,dept,pilot,pst\n"
                            "anna,anna@old.example,anna@new.example,sales,yes,\n"
                            "ben,ben@old.example,ben@new.example,it,no,b.pst\n";

static void check_error(int rc, const struct mh_err *err)
{
    char line[1024];
    mh_assert(rc == MH_EUSAGE && err->code == MH_EUSAGE && err->text[0]);
    mh_assert(strchr(mh_err_line(err, line, sizeof line), '\n') == NULL);
}

static void add_folder(struct mh_folders *l, const char *path, enum mh_role role)
{
    struct mh_folder *f = NULL;
    struct mh_err err;
    mh_assert(mh_folders_add(l, path, path, &f, &err) == 0);
    f->role = role;
}

static void map_folders(const struct mh_plan *p, const struct mh_mailbox *m)
{
    struct mh_folders source = MH_FOLDERS_INIT, target = MH_FOLDERS_INIT;
    struct mh_map_opts opts = mh_plan_map_opts(m, '.');
    struct mh_mapping mapping;
    struct mh_err err = {0};
    add_folder(&source, "INBOX", MH_ROLE_INBOX);
    add_folder(&source, "INBOX/Old/2019", MH_ROLE_NONE);
    add_folder(&source, "Gesendet", MH_ROLE_SENT);
    add_folder(&source, "Gesendet/a", MH_ROLE_NONE);
    add_folder(&source, "Sent", MH_ROLE_NONE);
    add_folder(&source, "sent", MH_ROLE_NONE);
    add_folder(&source, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", MH_ROLE_NONE);
    add_folder(&source, "\xc3\xa9t\xc3\xa9/%2F$1", MH_ROLE_JUNK);
    add_folder(&target, "Sent Items", MH_ROLE_SENT);
    int rc = mh_map_apply(p->map, &source, &target, &opts, &mapping, &err);
    if (rc)
        check_error(rc, &err);
    for (size_t i = 0; rc == 0 && i < mapping.n; i++)
        mh_assert((mapping.v[i].target && *mapping.v[i].target) || mapping.v[i].why == MH_MAP_SKIP);
    mh_mapping_done(&mapping);
    mh_folders_done(&source);
    mh_folders_done(&target);
}

static void use(struct mh_plan *p)
{
    struct mh_buf out = MH_BUF_INIT, dropped = MH_BUF_INIT;
    struct mh_err err = {0};
    int rc = mh_plan_add_users(p, users, sizeof users - 1, "users.csv", 0600, NULL, &err);
    if (rc)
        check_error(rc, &err);
    for (size_t i = 0; rc == 0 && i < p->n_mailboxes; i++) {
        map_folders(p, &p->mailboxes[i]);
        for (size_t w = 0; w < p->n_waves; w++)
            (void)mh_wave_selects(&p->waves[w], &p->mailboxes[i]);
    }
    (void)mh_map_keywords(&p->keywords, "$MDNSent Foo bar $Forwarded", &out, &dropped);
    mh_buf_done(&out);
    mh_buf_done(&dropped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    int rc = mh_plan_parse((const char *)data, size, "mailhaul.yaml", &p, &err);
    if (rc)
        check_error(rc, &err);
    else
        use(p);
    mh_plan_free(p);
    return 0;
}
