/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The well-known folder names, one list per role, for mh_role_guess() and its test. Constant data;
 * any thread. Never in here: a word that people also use for folders of their own ("Concept",
 * "Werbung"), and names of outboxes, which hold mail that was not sent.
 */
#ifndef MH_MAIL_ROLE_PRIV_H
#define MH_MAIL_ROLE_PRIV_H

#include "mail/folder.h"

struct mh_role_names {
    enum mh_role role;
    const char *const *names; /* NULL-terminated, lower case, UTF-8 */
};

/* Ordered by role; the last one has MH_ROLE_COUNT and no names. */
extern const struct mh_role_names mh_role_table[];

#endif
