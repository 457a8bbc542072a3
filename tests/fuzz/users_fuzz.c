/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A users file, any bytes. Only two answers are right: mailboxes that differ in id and target, or
 * one line that says what is wrong.
 */
#include <string.h>

#include "fuzz.h"
#include "plan/plan.h"

static const char project[] =
    "version: 1\n"
    "source: {type: imap, host: old.example, password-file: 'pw/{user}'}\n"
    "target: {type: imap, host: new.example, password-command: [pass, '{user}']}\n"
    "users: users.csv\n"
    "waves: [{name: w, select: id != x and target_user == \"a b\"}]\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    char line[1024];
    mh_assert(mh_plan_parse(project, sizeof project - 1, "mailhaul.yaml", &p, &err) == 0);
    int rc = mh_plan_add_users(p, (const char *)data, size, "users.csv", 0600, NULL, &err);
    if (rc) {
        mh_assert(rc == MH_EUSAGE && err.text[0]);
        mh_assert(strchr(mh_err_line(&err, line, sizeof line), '\n') == NULL);
    }
    for (size_t i = 0; rc == 0 && i < p->n_mailboxes; i++) {
        const struct mh_mailbox *m = &p->mailboxes[i];
        mh_assert(mh_plan_mailbox(p, m->id) == m);
        mh_assert(mh_plan_map_user(p, m->source_user) != NULL);
        mh_assert(m->source.user && m->target.user && mh_plan_cell(p, m, "id"));
        (void)mh_wave_selects(&p->waves[0], m);
    }
    mh_plan_free(p);
    return 0;
}
