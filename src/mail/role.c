/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "mail/folder.h"
#include "mail/role_priv.h"

/* attr: RFC 6154 section 2, RFC 8457. create: the name to make where a target has none. */
static const struct {
    const char *name, *attr, *create;
} roles[MH_ROLE_COUNT] = {
    [MH_ROLE_NONE] = {"", NULL, ""},
    [MH_ROLE_INBOX] = {"inbox", NULL, "INBOX"},
    [MH_ROLE_ALL] = {"all", "\\All", "All Mail"},
    [MH_ROLE_ARCHIVE] = {"archive", "\\Archive", "Archive"},
    [MH_ROLE_DRAFTS] = {"drafts", "\\Drafts", "Drafts"},
    [MH_ROLE_FLAGGED] = {"flagged", "\\Flagged", "Flagged"},
    [MH_ROLE_JUNK] = {"junk", "\\Junk", "Junk"},
    [MH_ROLE_SENT] = {"sent", "\\Sent", "Sent"},
    [MH_ROLE_TRASH] = {"trash", "\\Trash", "Trash"},
    [MH_ROLE_IMPORTANT] = {"important", "\\Important", "Important"},
};

const char *mh_role_name(enum mh_role role)
{
    mh_assert(role < MH_ROLE_COUNT);
    return roles[role].name;
}

const char *mh_role_attr(enum mh_role role)
{
    mh_assert(role < MH_ROLE_COUNT);
    return roles[role].attr;
}

const char *mh_role_default_name(enum mh_role role)
{
    mh_assert(role < MH_ROLE_COUNT);
    return roles[role].create;
}

enum mh_role mh_role_parse(const char *name, size_t len)
{
    for (unsigned role = MH_ROLE_INBOX; role < MH_ROLE_COUNT; role++)
        if (mh_mem_ieq(name, len, roles[role].name) ||
            (roles[role].attr && mh_mem_ieq(name, len, roles[role].attr)))
            return (enum mh_role)role;
    return MH_ROLE_NONE;
}

/* --- guessing --------------------------------------------------------------------------------- */

/* Case folding as far as the table's languages need it, from the Unicode charts. */
static const struct fold_range {
    uint32_t first, last;
    int32_t add;   /* to every character of the range … */
    uint32_t step; /* … or, with 2, to every second one from the first on */
} folds[] = {
    {'A', 'Z', 32, 1},
    {0xc0, 0xd6, 32, 1},
    {0xd8, 0xde, 32, 1},
    {0x100, 0x12e, 1, 2},
    {0x130, 0x130, 'i' - 0x130, 1},
    {0x132, 0x136, 1, 2},
    {0x139, 0x147, 1, 2},
    {0x14a, 0x176, 1, 2},
    {0x178, 0x178, -121, 1},
    {0x179, 0x17d, 1, 2},
    {0x1a0, 0x1a4, 1, 2},
    {0x1af, 0x1af, 1, 1},
    {0x218, 0x21a, 1, 2},
    {0x386, 0x386, 38, 1},
    {0x388, 0x38a, 37, 1},
    {0x38c, 0x38c, 64, 1},
    {0x38e, 0x38f, 63, 1},
    {0x391, 0x3a1, 32, 1},
    {0x3a3, 0x3ab, 32, 1},
    {0x3c2, 0x3c2, 1, 1}, /* final sigma */
    {0x400, 0x40f, 80, 1},
    {0x410, 0x42f, 32, 1},
    {0x490, 0x490, 1, 1},
    {0x1ea0, 0x1ef8, 1, 2},
};

static uint32_t fold_char(uint32_t c)
{
    if (c == '-' || c == '_' || c == 0xa0)
        return ' ';
    for (size_t i = 0; i < MH_ARRAY_LEN(folds) && c >= folds[i].first; i++)
        if (c <= folds[i].last && (c - folds[i].first) % folds[i].step == 0)
            return (uint32_t)((int32_t)c + folds[i].add);
    return c;
}

static bool names_equal(const char *a, const char *b)
{
    const char *a_end = a + strlen(a);
    const char *b_end = b + strlen(b);
    while (a < a_end && b < b_end)
        if (fold_char(mh_utf8_next(&a, a_end)) != fold_char(mh_utf8_next(&b, b_end)))
            return false;
    return a == a_end && b == b_end;
}

enum mh_role mh_role_guess(const char *component)
{
    for (const struct mh_role_names *t = mh_role_table; t->names; t++)
        for (const char *const *name = t->names; *name; name++)
            if (names_equal(component, *name))
                return t->role;
    return MH_ROLE_NONE;
}
