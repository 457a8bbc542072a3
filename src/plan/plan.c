/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Plans: made from files and URLs, asked, freed. */
#include "plan/plan.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

#include "plan/plan_priv.h"

#define USER_PLACE "{user}"

/* --- life ------------------------------------------------------------------------------------- */

int plan_new(const char *file, struct mh_plan **out, struct mh_err *err)
{
    struct mh_plan *p = mh_zalloc(sizeof *p);
    if (!p)
        return plan_nomem(err);
    mh_endpoint_init(&p->source.endpoint);
    mh_endpoint_init(&p->target.endpoint);
    p->memory_bytes = MH_MEMORY_DEFAULT_BYTES;
    p->file = file ? mh_strdup(file) : NULL;
    p->folder = file ? plan_path_folder(file) : mh_strdup(".");
    p->users = mh_zalloc(sizeof *p->users);
    int rc = (file && !p->file) || !p->folder || !p->users ? plan_nomem(err) : 0;
    if (rc == 0)
        rc = mh_map_rules_new(&p->map, err);
    if (rc)
        mh_plan_free(p);
    else
        *out = p;
    return rc;
}

static void side_done(struct mh_side *s)
{
    mh_endpoint_done(&s->endpoint);
    mh_free(s->oauth.tenant);
    mh_free(s->oauth.client_id);
    mh_free(s->oauth.client_secret_file);
}

static void users_free(struct mh_plan_users *u)
{
    if (!u)
        return;
    plan_strset_done(&u->by_id);
    plan_strset_done(&u->by_source);
    plan_strset_done(&u->by_target);
    mh_free(u);
}

static void mailboxes_done(struct mh_plan *p)
{
    for (size_t i = 0; i < p->n_mailboxes; i++) {
        struct mh_mailbox *m = &p->mailboxes[i];
        for (size_t c = 0; m->cells && c < p->columns.n; c++)
            mh_free(m->cells[c]);
        mh_free(m->cells);
        plan_mailbox_done(m);
    }
    mh_free(p->mailboxes);
}

void mh_plan_free(struct mh_plan *p)
{
    if (!p)
        return;
    mailboxes_done(p);
    users_free(p->users);
    side_done(&p->source);
    side_done(&p->target);
    for (size_t i = 0; i < p->n_waves; i++)
        plan_wave_done(&p->waves[i]);
    mh_free(p->waves);
    for (size_t i = 0; i < p->n_criteria; i++) {
        mh_free(p->criteria[i].name);
        mh_free(p->criteria[i].record);
    }
    mh_free(p->criteria);
    mh_keyword_map_done(&p->keywords);
    mh_map_rules_free(p->map);
    mh_strings_done(&p->bandwidth);
    mh_strings_done(&p->columns);
    mh_strings_done(&p->notes);
    char *texts[] = {p->file, p->folder, p->name, p->timezone, p->state, p->users_file};
    for (size_t i = 0; i < MH_ARRAY_LEN(texts); i++)
        mh_free(texts[i]);
    mh_free(p);
}

/* --- from a project file ---------------------------------------------------------------------- */

static int parse_into(struct mh_plan *p, const char *text, size_t len, struct mh_err *err)
{
    struct plan_node *root = NULL;
    size_t start = 0;
    if (len > MH_PROJECT_MAX_BYTES)
        return plan_fail(err, p->file, (struct mh_pos){0, 0},
                         "larger than %u KiB: not a project file", MH_PROJECT_MAX_BYTES / 1024);
    int rc = plan_check_text(p->file, text, len, &start, err);
    if (rc == 0)
        rc = plan_doc_parse(p->file, text + start, len - start, &root, err);
    if (rc == 0) {
        struct plan_reader r = {p->file, p, err};
        rc = plan_read_project(&r, root);
    }
    plan_node_free(root);
    return rc;
}

int mh_plan_parse(const char *text, size_t len, const char *file, struct mh_plan **out,
                  struct mh_err *err)
{
    struct mh_err unused;
    struct mh_plan *p = NULL;
    struct mh_err *e = err ? err : &unused;
    int rc = plan_new(file, &p, e);
    if (rc == 0)
        rc = parse_into(p, text, len, e);
    if (rc)
        mh_plan_free(p);
    else
        *out = p;
    return rc;
}

static int load_users(struct mh_plan *p, const char *path, const struct mh_plan_opts *opts,
                      struct mh_err *err)
{
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    int rc = plan_read_file(path, "users file", MH_USERS_MAX_BYTES, &text, &len, &mode, err);
    if (rc == MH_ENOENT)
        rc = mh_err_set(err, MH_EUSAGE, "plan",
                        "there is no users file %.200s; its first line is "
                        "id,source_user,target_user",
                        path);
    if (rc == 0)
        rc = mh_plan_add_users(p, text, len, path, mode, opts, err);
    if (text)
        explicit_bzero(text, len); /* may hold passwords */
    mh_free(text);
    return rc;
}

int mh_plan_load(const char *path, const struct mh_plan_opts *opts, struct mh_plan **out,
                 struct mh_err *err)
{
    struct mh_plan *p = NULL;
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    int rc = plan_read_file(path, "project file", MH_PROJECT_MAX_BYTES, &text, &len, &mode, err);
    if (rc == MH_ENOENT)
        return mh_err_set(err, MH_ENOENT, "plan",
                          "there is no project file %.200s; 'mailhaul init' makes "
                          "one, and 'mailhaul copy SRC DST' needs none",
                          path);
    if (rc == 0)
        rc = mh_plan_parse(text, len, path, &p, err);
    mh_free(text);
    if (rc == 0)
        rc = load_users(p, p->users_file, opts, err);
    if (rc)
        mh_plan_free(p);
    else
        *out = p;
    return rc;
}

/* --- from URLs -------------------------------------------------------------------------------- */

static int parse_url(const char *url, const char *side, struct mh_endpoint *e, struct mh_err *err)
{
    int rc = mh_endpoint_parse_url(url, e, err);
    if (rc)
        mh_err_at(err, "%s", side);
    return rc;
}

/* A mailbox's name from its endpoints: the user, or the archive's name without folders and
 * ending. */
static char *make_id(const struct mh_endpoint *source, const struct mh_endpoint *target)
{
    if (source->user || target->user)
        return mh_strdup(source->user ? source->user : target->user);
    const char *path = source->path ? source->path : "mailbox";
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    size_t start = len;
    while (start > 0 && path[start - 1] != '/')
        start--;
    const char *dot = memrchr(path + start, '.', len - start);
    size_t name_len = dot && dot > path + start ? (size_t)(dot - path) - start : len - start;
    return name_len ? mh_strndup(path + start, name_len) : mh_strdup("mailbox");
}

static int add_one(struct mh_plan *p, const struct mh_plan_opts *opts, struct mh_err *err)
{
    const struct mh_endpoint *s = &p->source.endpoint, *t = &p->target.endpoint;
    struct mh_mailbox m = {0};
    m.id = make_id(s, t);
    m.source_user = mh_strdup(s->user ? s->user : "");
    m.target_user = mh_strdup(t->user ? t->user : "");
    int rc = m.id && m.source_user && m.target_user ? 0 : plan_nomem(err);
    if (rc == 0)
        rc = plan_resolve(p, &m, NULL, opts, err);
    if (rc == 0)
        rc = plan_add_mailbox(p, "", &m, err);
    if (rc)
        plan_mailbox_done(&m);
    return rc;
}

static int set_name(struct mh_plan *p, struct mh_err *err)
{
    p->name = mh_strdup("copy");
    return p->name ? 0 : plan_nomem(err);
}

int mh_plan_from_urls(const char *source_url, const char *target_url,
                      const struct mh_plan_opts *opts, struct mh_plan **out, struct mh_err *err)
{
    struct mh_plan *p = NULL;
    int rc = plan_new(NULL, &p, err);
    if (rc == 0)
        rc = set_name(p, err);
    if (rc == 0)
        rc = parse_url(source_url, "source", &p->source.endpoint, err);
    if (rc == 0)
        rc = parse_url(target_url, "target", &p->target.endpoint, err);
    if (rc == 0)
        rc = add_one(p, opts, err);
    if (rc)
        mh_plan_free(p);
    else
        *out = p;
    return rc;
}

/* URL with {user} as its user where it has none; caller frees. */
static char *with_user_place(const char *url)
{
    const char *host = strstr(url, "://");
    if (!mh_str_istarts(url, "imap") || !host)
        return mh_strdup(url);
    host += strlen("://");
    if (memchr(host, '@', strcspn(host, "/?#")))
        return mh_strdup(url);
    return mh_asprintf("%.*s" USER_PLACE "@%s", (int)(host - url), url, host);
}

/* A URL whose user comes from the CSV. */
static int parse_template(const char *url, const char *side, struct mh_endpoint *e,
                          struct mh_err *err)
{
    char *full = with_user_place(url);
    if (!full)
        return plan_nomem(err);
    int rc = mh_endpoint_parse_url(full, e, err);
    mh_free(full);
    if (rc == 0 && e->user && strcmp(e->user, USER_PLACE) != 0)
        rc = mh_err_set(err, MH_EUSAGE, "plan",
                        "the users come from the CSV; write this URL without a "
                        "user, or with {user} in its place");
    if (rc)
        mh_err_at(err, "%s", side);
    mh_free(e->user);
    e->user = NULL;
    return rc;
}

int mh_plan_from_urls_and_users(const char *source_url, const char *target_url,
                                const char *users_path, const struct mh_plan_opts *opts,
                                struct mh_plan **out, struct mh_err *err)
{
    struct mh_plan *p = NULL;
    int rc = plan_new(NULL, &p, err);
    if (rc == 0)
        rc = set_name(p, err);
    if (rc == 0)
        rc = parse_template(source_url, "source", &p->source.endpoint, err);
    if (rc == 0)
        rc = parse_template(target_url, "target", &p->target.endpoint, err);
    if (rc == 0) {
        p->users_file = mh_strdup(users_path);
        rc = p->users_file ? load_users(p, users_path, opts, err) : plan_nomem(err);
    }
    if (rc)
        mh_plan_free(p);
    else
        *out = p;
    return rc;
}

/* --- questions -------------------------------------------------------------------------------- */

/* The mailbox whose lower-cased name is in SET. Names come from cells, so a longer one is not
 * there. */
static const struct mh_mailbox *find_in(const struct mh_plan *p, const struct plan_strset *set,
                                        const char *name)
{
    char key[MH_USERS_CELL_MAX_BYTES + 1];
    size_t len = strlen(name);
    if (len >= sizeof key)
        return NULL;
    memcpy(key, name, len + 1);
    plan_lower_in_place(key);
    const size_t *at = plan_strset_get(set, key);
    return at ? &p->mailboxes[*at] : NULL;
}

const struct mh_mailbox *mh_plan_mailbox(const struct mh_plan *p, const char *id)
{
    return find_in(p, &p->users->by_id, id);
}

const char *mh_plan_map_user(const struct mh_plan *p, const char *source_user)
{
    const struct mh_mailbox *m =
        *source_user ? find_in(p, &p->users->by_source, source_user) : NULL;
    return m && *m->target_user ? m->target_user : NULL;
}

const char *mh_plan_cell(const struct mh_plan *p, const struct mh_mailbox *m, const char *column)
{
    for (size_t i = 0; m->cells && i < p->columns.n; i++) {
        if (mh_str_ieq(p->columns.v[i], column))
            return m->cells[i];
    }
    return NULL;
}

const struct mh_wave *mh_plan_wave(const struct mh_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_waves; i++) {
        if (strcmp(p->waves[i].name, name) == 0)
            return &p->waves[i];
    }
    return NULL;
}

bool mh_wave_selects(const struct mh_wave *w, const struct mh_mailbox *m)
{
    return m->cells && plan_select_matches(w->select, m->cells);
}

struct mh_map_opts mh_plan_map_opts(const struct mh_mailbox *m, char source_separator)
{
    const char *profile = m->target.profile;
    return (struct mh_map_opts){
        .folder_prefix = m->target.folder_prefix,
        .source_folder = m->source.folder,
        .target_folder = m->target.folder,
        .source_separator = source_separator,
        .target_ignores_case = profile && mh_str_starts(profile, "exchange"),
    };
}
