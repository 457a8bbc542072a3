/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

static void folder_done(struct mh_folder *f)
{
    mh_free(f->path);
    mh_free(f->native);
    *f = (struct mh_folder){0};
}

int mh_folders_add(struct mh_folders *l, const char *path, const char *native,
                   struct mh_folder **out, struct mh_err *err)
{
    if (l->n >= MH_FOLDERS_MAX)
        return mh_err_set(err, MH_EMAILBOX, "mail", "more than %u folders in one mailbox",
                          MH_FOLDERS_MAX);
    if (!mh_grow(l->v, l->cap, l->n + 1))
        return mh_err_nomem(err);
    struct mh_folder f = {.path = mh_strdup(path), .native = mh_strdup(native)};
    if (!f.path || !f.native) {
        folder_done(&f);
        return mh_err_nomem(err);
    }
    l->is_sorted = false;
    l->v[l->n] = f;
    *out = &l->v[l->n++];
    return 0;
}

void mh_folders_done(struct mh_folders *l)
{
    for (size_t i = 0; i < l->n; i++)
        folder_done(&l->v[i]);
    mh_free(l->v);
    *l = (struct mh_folders)MH_FOLDERS_INIT;
}

/* --- order ------------------------------------------------------------------------------------ */

/* '/' before everything else, so that a folder's children follow it, not its "name-with-suffix". */
static int path_cmp(const char *a, const char *b)
{
    bool a_inbox = mh_path_is_below(a, "INBOX");
    bool b_inbox = mh_path_is_below(b, "INBOX");
    if (a_inbox != b_inbox)
        return a_inbox ? -1 : 1;
    while (*a && *a == *b) {
        a++;
        b++;
    }
    int ca = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
    int cb = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;
    return ca - cb;
}

static int folder_order(const void *a, const void *b)
{
    const struct mh_folder *fa = a;
    const struct mh_folder *fb = b;
    int d = path_cmp(fa->path, fb->path);
    return d ? d : strcmp(fa->native, fb->native);
}

void mh_folders_sort(struct mh_folders *l)
{
    if (l->n > 1)
        qsort(l->v, l->n, sizeof *l->v, folder_order);
    l->is_sorted = true;
}

struct mh_folder *mh_folders_find(const struct mh_folders *l, const char *path)
{
    size_t at = 0;
    if (l->is_sorted)
        at = mh_lower_bound(i, 0, l->n, path_cmp(l->v[i].path, path) < 0);
    else
        while (at < l->n && strcmp(l->v[at].path, path) != 0)
            at++;
    return at < l->n && strcmp(l->v[at].path, path) == 0 ? &l->v[at] : NULL;
}

/* --- roles ------------------------------------------------------------------------------------ */

struct mh_folder *mh_folders_find_role(const struct mh_folders *l, enum mh_role role)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].role == role)
            return &l->v[i];
    return NULL;
}

/* The name to guess by: top level, or directly below INBOX (*BELOW_INBOX_OUT); NULL elsewhere. */
static const char *guessable_name(const struct mh_folder *f, bool *below_inbox_out)
{
    const char *name = f->path;
    *below_inbox_out = mh_str_starts(name, "INBOX/");
    if (*below_inbox_out)
        name += strlen("INBOX/");
    return strchr(name, '/') ? NULL : name;
}

struct guess {
    struct mh_folder *folder; /* borrowed: the list */
    bool below_inbox;
};

/* Of two folders with names of one role: the top-level one, then the fuller one, then the first. */
static bool guess_is_better(const struct guess *a, const struct guess *b)
{
    if (!b->folder)
        return true;
    if (a->below_inbox != b->below_inbox)
        return b->below_inbox;
    return a->folder->messages > b->folder->messages;
}

void mh_folders_guess_roles(struct mh_folders *l)
{
    bool taken[MH_ROLE_COUNT] = {false};
    struct guess best[MH_ROLE_COUNT] = {{NULL, false}};
    for (size_t i = 0; i < l->n; i++)
        taken[l->v[i].role] = true;
    for (size_t i = 0; i < l->n; i++) {
        struct guess g = {&l->v[i], false};
        if (g.folder->role != MH_ROLE_NONE ||
            g.folder->attrs & (MH_FOLDER_NOSELECT | MH_FOLDER_FOREIGN))
            continue;
        const char *name = guessable_name(g.folder, &g.below_inbox);
        enum mh_role role = MH_ROLE_NONE;
        if (name)
            role = strcmp(g.folder->path, "INBOX") == 0 ? MH_ROLE_INBOX : mh_role_guess(name);
        if (role != MH_ROLE_NONE && !taken[role] && guess_is_better(&g, &best[role]))
            best[role] = g;
    }
    for (size_t role = 0; role < MH_ROLE_COUNT; role++)
        if (best[role].folder)
            best[role].folder->role = (enum mh_role)role;
}
