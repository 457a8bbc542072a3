/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the two sides of a plan to the endpoints of each mailbox. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

#define USER_PLACE "{user}"

void plan_mailbox_done(struct mh_mailbox *m)
{
    mh_free(m->id);
    mh_free(m->source_user);
    mh_free(m->target_user);
    mh_endpoint_done(&m->source);
    mh_endpoint_done(&m->target);
    mh_free(m->pst);
    *m = (struct mh_mailbox){0};
}

static bool is_archive(const struct mh_endpoint *e)
{
    return e->path != NULL;
}

/* --- {user} ----------------------------------------------------------------------------------- */

/* *TEXT with USER at each {user}. */
static int put_user(char **text, const char *user, struct mh_err *err)
{
    if (!*text || !strstr(*text, USER_PLACE))
        return 0;
    struct mh_buf b = MH_BUF_INIT;
    const char *p = *text;
    for (const char *at = strstr(p, USER_PLACE); at; at = strstr(p, USER_PLACE)) {
        mh_buf_add(&b, p, (size_t)(at - p));
        mh_buf_adds(&b, user);
        p = at + strlen(USER_PLACE);
    }
    mh_buf_adds(&b, p);
    char *made = mh_buf_take(&b);
    if (!made)
        return plan_nomem(err);
    mh_free(*text);
    *text = made;
    return 0;
}

/* A user's name becomes part of a path only as a plain name: it must not lead elsewhere. */
static int put_user_in_path(char **path, const char *user, const char *what, struct mh_err *err)
{
    char quoted[PLAN_QUOTE_BYTES];
    if (!*path || !strstr(*path, USER_PLACE))
        return 0;
    if (!*user || strchr(user, '/') || strcmp(user, ".") == 0 || strcmp(user, "..") == 0)
        return mh_err_set(err, MH_EUSAGE, "plan",
                          "the user %s cannot stand for {user} in %s; rename it or give "
                          "the path in full",
                          plan_quote(quoted, user, strlen(user)), what);
    return put_user(path, user, err);
}

static int put_user_everywhere(struct mh_endpoint *e, const char *user, struct mh_err *err)
{
    int rc = put_user_in_path(&e->path, user, "path", err);
    if (rc == 0)
        rc = put_user_in_path(&e->secret.file, user, "password-file", err);
    for (char **arg = e->secret.command ? e->secret.command + 1 : NULL; rc == 0 && arg && *arg;
         arg++)
        rc = put_user(arg, user, err);
    return rc;
}

/* --- secrets ---------------------------------------------------------------------------------- */

static void forget_secret(struct mh_secret_source *s)
{
    mh_free(s->file);
    for (char **arg = s->command; arg && *arg; arg++)
        mh_free(*arg);
    mh_free(s->command);
    if (s->value)
        explicit_bzero(s->value, strlen(s->value));
    mh_free(s->value);
    *s = (struct mh_secret_source){NULL, NULL, NULL};
}

static int set_text(char **slot, const char *text, struct mh_err *err)
{
    *slot = mh_strdup(text);
    return *slot ? 0 : plan_nomem(err);
}

static int set_command(struct mh_secret_source *s, char *const *command, struct mh_err *err)
{
    struct mh_strings argv = {NULL, 0};
    for (; *command; command++) {
        int rc = plan_strings_add(&argv, *command, strlen(*command), err);
        if (rc) {
            mh_strings_done(&argv);
            return rc;
        }
    }
    s->command = argv.v;
    return 0;
}

/* The nearest word counts: command line, then the row, then the project file, then the
 * environment. */
static int set_secret(const char *folder, struct mh_secret_source *s,
                      const struct plan_secret_words *w, struct mh_err *err)
{
    const struct mh_plan_secret *opt = w->opt;
    if (opt && (opt->file || opt->command)) {
        forget_secret(s);
        return opt->file ? set_text(&s->file, opt->file, err) : set_command(s, opt->command, err);
    }
    bool has_password = w->password && *w->password;
    bool has_file = w->password_file && *w->password_file;
    if (has_password && has_file)
        return mh_err_set(err, MH_EUSAGE, "plan",
                          "this line has both a %s password and a password file; "
                          "keep one",
                          w->side);
    if (has_password || has_file)
        forget_secret(s);
    if (has_password)
        return set_text(&s->value, w->password, err);
    if (has_file) {
        s->file = plan_path_in(folder, w->password_file);
        return s->file ? 0 : plan_nomem(err);
    }
    if (!s->file && !s->command && !s->value && opt && opt->value)
        return set_text(&s->value, opt->value, err);
    return 0;
}

/* --- endpoints -------------------------------------------------------------------------------- */

static int make_endpoint(struct mh_plan *p, const struct mh_side *side, const char *user,
                         const struct plan_secret_words *w, struct mh_endpoint *out,
                         struct mh_err *err)
{
    int rc = mh_endpoint_dup(&side->endpoint, out, err);
    if (rc)
        return rc;
    if (!is_archive(out) && !*user)
        return mh_err_set(err, MH_EUSAGE, "plan", "%s_user is empty; name the user at the %s",
                          w->side, w->side);
    mh_free(out->user);
    out->user = NULL;
    if (*user) {
        rc = set_text(&out->user, user, err);
        if (rc)
            return rc;
    }
    if (!is_archive(out))
        rc = set_secret(p->folder, &out->secret, w, err);
    return rc ? rc : put_user_everywhere(out, user, err);
}

static const char *folder_of(const char *first, const char *second)
{
    return first ? first : second ? second : "";
}

/* Copying a folder into itself, or into a folder below itself, would double it with each run. */
static bool is_overlapping(const struct mh_endpoint *s, const struct mh_endpoint *t)
{
    const char *from = folder_of(s->folder, NULL);
    const char *to = folder_of(t->folder, t->folder_prefix);
    if (strcmp(s->type, t->type) != 0 || is_archive(s) != is_archive(t))
        return false;
    if (!is_archive(s) && !mh_str_ieq(s->user, t->user))
        return false;
    return mh_path_is_below(from, to) || mh_path_is_below(to, from);
}

static int check_not_itself(const struct mh_mailbox *m, struct mh_err *err)
{
    char quoted[PLAN_QUOTE_BYTES];
    if (!is_overlapping(&m->source, &m->target))
        return 0;
    char *from = mh_endpoint_server_key(&m->source);
    char *to = mh_endpoint_server_key(&m->target);
    int rc = from && to ? 0 : plan_nomem(err);
    if (rc == 0 && mh_str_ieq(from, to)) {
        const char *name = is_archive(&m->source) ? from : m->source.user;
        rc = mh_err_set(err, MH_EUSAGE, "plan",
                        "source and target are the same mailbox (%s): it would "
                        "be copied into itself",
                        plan_quote(quoted, name, strlen(name)));
    }
    mh_free(from);
    mh_free(to);
    return rc;
}

int plan_resolve(struct mh_plan *p, struct mh_mailbox *m, const struct plan_row *row,
                 const struct mh_plan_opts *opts, struct mh_err *err)
{
    const struct plan_secret_words source = {"source", opts ? &opts->source : NULL,
                                             row ? row->source_password : NULL,
                                             row ? row->source_password_file : NULL};
    const struct plan_secret_words target = {"target", opts ? &opts->target : NULL,
                                             row ? row->target_password : NULL,
                                             row ? row->target_password_file : NULL};
    int rc = make_endpoint(p, &p->source, m->source_user, &source, &m->source, err);
    if (rc == 0 && m->pst && strcmp(m->source.type, "pst") == 0) {
        mh_free(m->source.path);
        m->source.path = NULL;
        rc = set_text(&m->source.path, m->pst, err);
    }
    if (rc == 0)
        rc = make_endpoint(p, &p->target, m->target_user, &target, &m->target, err);
    return rc ? rc : check_not_itself(m, err);
}

/* --- one plan, many mailboxes ----------------------------------------------------------------- */

/* What counts as one target: the user, or the archive's path. */
static char *target_key(const struct mh_mailbox *m)
{
    return is_archive(&m->target) ? mh_strdup(m->target.path) : plan_lower(m->target_user);
}

static int fail_same_id(const struct mh_plan *p, const char *file, const struct mh_mailbox *m,
                        size_t other, struct mh_err *err)
{
    char quoted[PLAN_QUOTE_BYTES];
    return plan_fail(err, file, (struct mh_pos){m->line, 0},
                     "the id %s is in line %u too (letter case does not count); ids must differ",
                     plan_quote(quoted, m->id, strlen(m->id)), p->mailboxes[other].line);
}

static int fail_same_target(const struct mh_plan *p, const char *file, const struct mh_mailbox *m,
                            size_t other, struct mh_err *err)
{
    char quoted[PLAN_QUOTE_BYTES], id[PLAN_QUOTE_BYTES];
    const struct mh_mailbox *o = &p->mailboxes[other];
    const char *address = is_archive(&m->target) ? m->target.path : m->target_user;
    const char *hint = is_archive(&m->target) ? "put {user} into the target's path"
                                              : "give each its own target_user";
    return plan_fail(
        err, file, (struct mh_pos){m->line, 0},
        "the target %s is that of line %u (%s) too, two mailboxes would be mixed into one; %s",
        plan_quote(quoted, address, strlen(address)), o->line, plan_quote(id, o->id, strlen(o->id)),
        hint);
}

/* Puts the lower-cased or given KEY_TAKE; MH_EEXIST with the other mailbox in *OTHER_OUT. */
static int put_key(struct plan_strset *set, char *key_take, size_t index, size_t *other_out,
                   struct mh_err *err)
{
    int rc = key_take ? plan_strset_put(set, key_take, index, err) : plan_nomem(err);
    if (rc == MH_EEXIST)
        *other_out = *plan_strset_get(set, key_take);
    mh_free(key_take);
    return rc;
}

int plan_add_mailbox(struct mh_plan *p, const char *file, struct mh_mailbox *m, struct mh_err *err)
{
    size_t other = 0, index = p->n_mailboxes;
    if (index == MH_MAILBOXES_MAX)
        return plan_fail(err, file, (struct mh_pos){m->line, 0}, "more than %u mailboxes",
                         MH_MAILBOXES_MAX);
    if (!mh_grow(p->mailboxes, p->cap_mailboxes, index + 1))
        return plan_nomem(err);
    int rc = put_key(&p->users->by_id, plan_lower(m->id), index, &other, err);
    if (rc == MH_EEXIST)
        return fail_same_id(p, file, m, other, err);
    if (rc == 0)
        rc = put_key(&p->users->by_target, target_key(m), index, &other, err);
    if (rc == MH_EEXIST)
        return fail_same_target(p, file, m, other, err);
    if (rc == 0)
        rc = put_key(&p->users->by_source, plan_lower(m->source_user), index, &other, err);
    if (rc && rc != MH_EEXIST)
        return rc;
    p->mailboxes[p->n_mailboxes++] = *m;
    return 0;
}
