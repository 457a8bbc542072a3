/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Making and renaming folders: a name that the target takes, its parents, what is there already. */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* --- one CREATE ------------------------------------------------------------------------------- */

/* What one name led to. */
struct attempt {
    struct mh_session *s;
    const char *wanted;    /* borrowed: native */
    struct mh_buf exact;   /* as LIST spells it: "" unless it is there */
    struct mh_buf similar; /* the same but for letter case, or the only one */
    unsigned n_listed;
    bool is_selectable;
    bool was_created;
};

/* LIST's pattern is the name itself; a '%' in it finds more. */
static bool take_listed(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct attempt *a = cmd->ctx;
    const struct mh_val *attrs = imap_val(ev, 0);
    const struct mh_val *name = imap_val(ev, 2);
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "LIST") || !name ||
        name->kind == MH_VAL_LIST || name->kind == MH_VAL_NIL || attrs->kind != MH_VAL_LIST)
        return false;
    a->n_listed++;
    bool is_exact = name->len == strlen(a->wanted) && memcmp(name->s, a->wanted, name->len) == 0;
    if (!is_exact && !mh_mem_ieq(name->s, name->len, a->wanted))
        return true;
    struct mh_buf *to = is_exact ? &a->exact : &a->similar;
    mh_buf_reset(to);
    mh_buf_add(to, name->s, name->len);
    if (mh_buf_failed(to))
        cmd->rc = mh_err_nomem(&cmd->err);
    if (is_exact) {
        a->is_selectable = true;
        for (unsigned k = 0; k < attrs->children; k++) {
            if (imap_val_is(attrs + 1 + k, "\\Noselect") ||
                imap_val_is(attrs + 1 + k, "\\NonExistent"))
                a->is_selectable = false;
        }
    }
    return true;
}

static void add_create(struct imap_cmd *cmd, const char *native, enum mh_role role)
{
    mh_cmd_string(&cmd->text, native, strlen(native));
    if (role != MH_ROLE_NONE && mh_role_attr(role) &&
        imap_has(&cmd->s->capset, IMAP_CAP_CREATE_SPECIAL_USE))
        mh_cmd_rawf(&cmd->text, " (USE (%s))", mh_role_attr(role));
}

/* Letters, digits and a few marks, no blank at an end: no server makes another name of it. */
static bool is_plain(const char *native)
{
    size_t len = strlen(native);
    for (size_t i = 0; i < len; i++) {
        char c = native[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool is_inner = c == ' ' && i > 0 && i + 1 < len;
        if (!is_alnum && !is_inner && !strchr("-_./", c))
            return false;
    }
    return len > 0;
}

static int send_list(struct attempt *a, struct imap_cmd **out, struct mh_err *err)
{
    int rc = imap_cmd_start(a->s, "LIST \"\" ", out, err);
    if (rc)
        return rc;
    mh_cmd_string(&(*out)->text, a->wanted, strlen(a->wanted));
    (*out)->untagged = take_listed;
    (*out)->ctx = a;
    return imap_cmd_send(*out, err);
}

/* CREATE and LIST in one go: what is there is then known, whatever words a refusal is made of. A plain
 * name is listed only when it was refused. *REFUSED_OUT is the refusal, 0 when it is there now. */
static int create_once(struct attempt *a, enum mh_role role, int *refused_out,
                       struct mh_err *refusal, struct mh_err *err)
{
    struct imap_cmd *create = NULL;
    struct imap_cmd *list = NULL;
    mh_buf_reset(&a->exact);
    mh_buf_reset(&a->similar);
    a->n_listed = 0;
    a->is_selectable = a->was_created = false;
    int rc = imap_cmd_start(a->s, "CREATE ", &create, err);
    if (rc)
        return rc;
    add_create(create, a->wanted, role);
    rc = imap_cmd_send(create, err);
    if (rc == MH_OK && !is_plain(a->wanted))
        rc = send_list(a, &list, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(create, err);
    if (rc == MH_OK) {
        a->was_created = create->status == MH_ST_OK;
        *refused_out = a->was_created ? MH_OK : imap_cmd_refused(create, MH_EFOLDER, refusal);
        if (!a->was_created && !list)
            rc = send_list(a, &list, err);
    }
    if (rc == MH_OK && list)
        rc = imap_cmd_wait(list, err);
    imap_cmd_done(create);
    imap_cmd_done(list);
    return rc;
}

/* 0: the folder is there and *NATIVE_OUT (caller frees) is its name. MH_EFOLDER: refused, ERR says
 * why. */
static int try_name(struct mh_session *s, const char *native, enum mh_role role, char **native_out,
                    struct mh_err *err)
{
    struct attempt a = {.s = s, .wanted = native, .exact = MH_BUF_INIT, .similar = MH_BUF_INIT};
    struct mh_err refusal;
    int refused = MH_OK;
    mh_err_reset(&refusal);
    int rc = create_once(&a, role, &refused, &refusal, err);
    if (rc == MH_OK && refused == MH_EFOLDER && role != MH_ROLE_NONE &&
        a.exact.len == 0) /* [USEATTR]: perhaps only the role was refused */
        rc = create_once(&a, MH_ROLE_NONE, &refused, &refusal, err);
    if (rc)
        goto out;
    bool is_there = a.was_created || (a.exact.len > 0 && a.is_selectable) ||
                    (a.exact.len == 0 && a.similar.len > 0 && refused == MH_EFOLDER &&
                     refusal.reason && strcmp(refusal.reason, "exists") == 0);
    if (is_there) {
        /* The server's own spelling, where it differs in case only: a later list() shows that one.
         */
        const struct mh_buf *name = a.exact.len == 0 && a.similar.len > 0 ? &a.similar : NULL;
        *native_out = mh_strdup(name ? mh_buf_str(name) : native);
        rc = *native_out ? MH_OK : mh_err_nomem(err);
    } else {
        rc = refused;
        if (err)
            *err = refusal;
    }
out:
    mh_buf_done(&a.exact);
    mh_buf_done(&a.similar);
    return rc;
}

int imap_folder_make(struct mh_session *s, const char *native, struct mh_err *err)
{
    char *made = NULL;
    int rc = try_name(s, native, MH_ROLE_NONE, &made, err);
    mh_free(made);
    return rc;
}

/* --- a path ----------------------------------------------------------------------------------- */

static int fill_out(const struct mh_session *s, const char *native, char **path_out,
                    char **native_out, struct mh_err *err)
{
    struct mh_buf path = MH_BUF_INIT;
    mh_assert(native);
    if (!imap_name_to_path(&s->names, s->names.separator, true, native, strlen(native), &path)) {
        mh_buf_done(&path);
        return mh_err_set(err, MH_EFOLDER, "imap", "a folder without a name cannot be made");
    }
    char *p = mh_buf_take(&path);
    char *n = mh_strdup(native);
    if (!p || !n) {
        mh_free(p);
        mh_free(n);
        return mh_err_nomem(err);
    }
    *path_out = p;
    *native_out = n;
    return MH_OK;
}

/* Component by component, each made to fit on its own, so that a parent that was made before keeps
 * its name. */
static int create_by_parts(struct mh_session *s, const char *path, enum mh_role role,
                           char **native_out, struct mh_err *err)
{
    struct mh_buf raw = MH_BUF_INIT;
    struct mh_buf first = MH_BUF_INIT;
    struct mh_buf name = MH_BUF_INIT;
    char *parent = NULL; /* owned: the native name so far */
    const char *cursor = path;
    int rc = MH_OK;
    while (rc == MH_OK && mh_path_next(&cursor, &raw)) {
        enum mh_role its_role = *cursor ? MH_ROLE_NONE : role;
        char *made = NULL;
        rc = MH_EFOLDER;
        for (int level = IMAP_NAME_AS_IS; level < IMAP_NAME_LEVELS && rc == MH_EFOLDER; level++) {
            mh_buf_reset(&name);
            if (parent) {
                mh_buf_adds(&name, parent);
                imap_name_add_part(&s->names, mh_buf_str(&raw), raw.len,
                                   (enum imap_name_level)level, &name);
            } else {
                mh_buf_reset(&first);
                mh_path_add_component(&first, mh_buf_str(&raw), raw.len);
                imap_name_from_path(&s->names, mh_buf_str(&first), (enum imap_name_level)level,
                                    &name);
            }
            rc = mh_buf_failed(&name) || mh_buf_failed(&first)
                     ? mh_err_nomem(err)
                     : try_name(s, name.data, its_role, &made, err);
        }
        mh_free(parent);
        parent = made;
    }
    if (rc == MH_OK && parent)
        *native_out = mh_take(parent);
    else if (rc == MH_OK)
        rc = mh_err_set(err, MH_EFOLDER, "imap", "a folder without a name cannot be made");
    mh_free(parent);
    mh_buf_done(&raw);
    mh_buf_done(&first);
    mh_buf_done(&name);
    return rc;
}

int imap_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                char **native_out, struct mh_err *err)
{
    struct mh_buf native = MH_BUF_INIT;
    char *made = NULL;
    imap_name_from_path(&s->names, path, IMAP_NAME_AS_IS, &native);
    int rc = mh_buf_failed(&native) ? mh_err_nomem(err)
                                    : try_name(s, mh_buf_str(&native), role, &made, err);
    if (rc == MH_EFOLDER)
        rc = create_by_parts(s, path, role, &made, err);
    if (rc == MH_OK)
        rc = fill_out(s, made, path_out, native_out, err);
    if (rc)
        mh_err_at(err, "folder %s", path);
    mh_buf_done(&native);
    mh_free(made);
    return rc;
}

int imap_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                   struct mh_err *err)
{
    struct mh_buf native = MH_BUF_INIT;
    imap_name_from_path(&s->names, path, IMAP_NAME_AS_IS, &native);
    int rc = mh_buf_failed(&native) ? mh_err_nomem(err)
                                    : fill_out(s, mh_buf_str(&native), path_out, native_out, err);
    mh_buf_done(&native);
    return rc;
}

int imap_subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(s, "SUBSCRIBE ", &cmd, err);
    if (rc == MH_OK) {
        mh_cmd_string(&cmd->text, folder->native, strlen(folder->native));
        rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    }
    imap_cmd_done(cmd);
    return rc;
}

/* --- renaming --------------------------------------------------------------------------------- */

/* The subscribed names below a folder, each from the separator on; "": its own. */
struct below {
    struct mh_session *s;
    const char *root; /* borrowed: native */
    bool has_root;    /* its own name is wanted too */
    char **rest;      /* owned, each too */
    size_t n, cap;
};

static void below_done(struct below *b)
{
    for (size_t i = 0; i < b->n; i++)
        mh_free(b->rest[i]);
    mh_free(b->rest);
}

/* What follows ROOT in NATIVE: "" for itself; NULL if it is neither ROOT nor below it. */
static const char *rest_of(const struct mh_session *s, const char *native, const char *root)
{
    size_t len = strlen(root);
    if (strncmp(native, root, len) != 0)
        return NULL;
    bool is_below = s->names.separator && native[len] == s->names.separator;
    return native[len] == '\0' || is_below ? native + len : NULL;
}

static int add_below(struct below *b, const struct mh_val *name, struct mh_err *err)
{
    char *native =
        memchr(name->s, '\0', name->len) ? NULL : mh_asprintf("%.*s", (int)name->len, name->s);
    const char *rest = native ? rest_of(b->s, native, b->root) : NULL;
    int rc = MH_OK;
    if (rest && (*rest || b->has_root)) {
        char *kept = mh_strdup(rest);
        if (kept && mh_grow(b->rest, b->cap, b->n + 1))
            b->rest[b->n++] = mh_take(kept);
        else
            rc = mh_err_nomem(err);
        mh_free(kept);
    }
    mh_free(native);
    return rc;
}

static bool take_subscribed(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct below *b = cmd->ctx;
    const struct mh_val *attrs = imap_val(ev, 0);
    const struct mh_val *name = imap_val(ev, 2);
    bool is_lsub = mh_resp_is(ev->name, ev->name_len, "LSUB");
    if (ev->type != MH_RESP_UNTAGGED || (!is_lsub && !mh_resp_is(ev->name, ev->name_len, "LIST")) ||
        !name || attrs->kind != MH_VAL_LIST || name->kind == MH_VAL_LIST)
        return false;
    bool is_parent = false; /* of a subscribed one */
    for (unsigned k = 0; k < attrs->children && is_lsub; k++)
        is_parent = is_parent || imap_val_is(attrs + 1 + k, "\\Noselect");
    if (!is_parent && cmd->rc == MH_OK && b->n < MH_FOLDERS_MAX)
        cmd->rc = add_below(b, name, &cmd->err);
    return true;
}

static int list_subscribed(struct below *b, struct mh_err *err)
{
    struct mh_session *s = b->s;
    struct imap_cmd *cmd = NULL;
    char below[] = {s->names.separator, '\0'};
    if (!*below && !b->has_root)
        return MH_OK;
    bool is_extended = imap_has(&s->capset, IMAP_CAP_LIST_EXTENDED);
    char *pattern = mh_asprintf("%s%s*", b->root, b->has_root ? "" : below);
    int rc = pattern ? imap_cmd_start(s, is_extended ? "LIST (SUBSCRIBED) \"\" " : "LSUB \"\" ",
                                      &cmd, err)
                     : mh_err_nomem(err);
    if (rc == MH_OK) {
        mh_cmd_string(&cmd->text, pattern, strlen(pattern));
        cmd->untagged = take_subscribed;
        cmd->ctx = b;
        rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    }
    imap_cmd_done(cmd);
    mh_free(pattern);
    return rc;
}

static int send_about(struct mh_session *s, const char *verb, const char *native, const char *rest,
                      struct imap_cmd **out, struct mh_err *err)
{
    char *name = mh_asprintf("%s%s", native, rest);
    int rc = name ? imap_cmd_start(s, verb, out, err) : mh_err_nomem(err);
    if (rc == MH_OK) {
        mh_cmd_string(&(*out)->text, name, strlen(name));
        rc = imap_cmd_send(*out, err);
    }
    mh_free(name);
    return rc;
}

/* The folder is renamed whatever becomes of this. */
static int move_subscription(struct mh_session *s, const char *from, const char *to,
                             const char *rest, struct mh_err *err)
{
    struct imap_cmd *add = NULL;
    struct imap_cmd *drop = NULL;
    int rc = send_about(s, "SUBSCRIBE ", to, rest, &add, err);
    if (rc == MH_OK)
        rc = send_about(s, "UNSUBSCRIBE ", from, rest, &drop, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(add, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(drop, err);
    if (rc == MH_OK && add->status != MH_ST_OK)
        mh_log(&s->log, MH_LOG_WARNING, "a renamed folder is not subscribed any more: %s",
               add->reply);
    if (rc == MH_OK && drop->status != MH_ST_OK) /* some servers have done it themselves */
        mh_log(&s->log, MH_LOG_DEBUG, "the old name of a folder stays subscribed: %s", drop->reply);
    imap_cmd_done(add);
    imap_cmd_done(drop);
    return rc;
}

/* No RFC says what a session has open whose folder was renamed: so it has nothing open then. */
static int leave_renamed(struct mh_session *s, const char *native, struct mh_err *err)
{
    struct imap_selected *sel = &s->selected;
    struct imap_cmd *cmd = NULL;
    if (!sel->native || sel->access == IMAP_ACCESS_NONE || !rest_of(s, sel->native, native))
        return MH_OK;
    /* CLOSE would expunge. */
    bool has_unselect = imap_has(&s->capset, IMAP_CAP_UNSELECT);
    int rc = imap_cmd_start(s, has_unselect ? "UNSELECT" : "EXAMINE INBOX", &cmd, err);
    sel->access = IMAP_ACCESS_NONE;
    if (rc == MH_OK)
        rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    imap_cmd_done(cmd);
    return rc;
}

/* *NAME, where it is FROM or below it, becomes TO. */
static int follow(const struct mh_session *s, char **name, const char *from, const char *to,
                  struct mh_err *err)
{
    const char *rest = *name ? rest_of(s, *name, from) : NULL;
    if (!rest)
        return MH_OK;
    char *renamed = mh_asprintf("%s%s", to, rest);
    if (!renamed)
        return mh_err_nomem(err);
    mh_free(*name);
    *name = renamed;
    return MH_OK;
}

/* MH_EEXIST, MH_EFOLDER, …; *IS_FINAL_OUT: another spelling of the name would not help. */
static int rename_refused(const struct imap_cmd *cmd, bool is_there, bool *is_final_out,
                          struct mh_err *err)
{
    size_t code_len = strlen(cmd->code);
    struct imap_refusal r =
        imap_refusal_of(code_len ? cmd->code : NULL, code_len, cmd->reply, strlen(cmd->reply));
    is_there = is_there || r.code == MH_EEXIST;
    *is_final_out = is_there || r.code == MH_ENOENT || strcmp(r.reason, "no-permission") == 0;
    return imap_cmd_refused(cmd, is_there ? MH_EEXIST : MH_EFOLDER, err);
}

/* What the answer CMD means, the new name being listed in A. */
static int judge_rename(const struct attempt *a, const struct imap_cmd *cmd, bool *is_final_out,
                        struct mh_err *err)
{
    if (cmd->status != MH_ST_OK)
        return rename_refused(cmd, a->exact.len > 0 && a->is_selectable, is_final_out, err);
    if (a->n_listed > 0)
        return MH_OK;
    *is_final_out = true; /* Courier 5.0 says OK when there is nothing to rename */
    (void)mh_err_set(err, MH_EFOLDER, "imap",
                     "the server has renamed nothing: there was no such folder");
    if (err)
        mh_err_server(err, cmd->reply, strlen(cmd->reply));
    return MH_EFOLDER;
}

/* RENAME and LIST in one go, as create() does it: what is there then is known whatever was said. */
static int rename_once(struct mh_session *s, const char *from, const char *to, bool *is_final_out,
                       struct mh_err *err)
{
    struct attempt a = {.s = s, .wanted = to, .exact = MH_BUF_INIT, .similar = MH_BUF_INIT};
    struct imap_cmd *cmd = NULL;
    struct imap_cmd *list = NULL;
    int rc = imap_cmd_start(s, "RENAME ", &cmd, err);
    if (rc == MH_OK) {
        mh_cmd_string(&cmd->text, from, strlen(from));
        mh_cmd_raw(&cmd->text, " ");
        mh_cmd_string(&cmd->text, to, strlen(to));
        rc = imap_cmd_send(cmd, err);
    }
    if (rc == MH_OK)
        rc = send_list(&a, &list, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(cmd, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(list, err);
    if (rc == MH_OK)
        rc = judge_rename(&a, cmd, is_final_out, err);
    imap_cmd_done(cmd);
    imap_cmd_done(list);
    mh_buf_done(&a.exact);
    mh_buf_done(&a.similar);
    return rc;
}

/* PATH without its last component, made; *OUT its native name (caller frees), NULL at the top. */
static int make_parent(struct mh_session *s, const char *path, char **out, struct mh_err *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return MH_OK;
    char *parent = mh_asprintf("%.*s", (int)(slash - path), path);
    char *made_path = NULL;
    int rc = parent ? MH_OK : mh_err_nomem(err);
    if (rc == MH_OK && strcmp(parent, "INBOX") == 0) {
        *out = mh_strdup("INBOX");
        rc = *out ? MH_OK : mh_err_nomem(err);
    } else if (rc == MH_OK) {
        rc = imap_create(s, parent, MH_ROLE_NONE, &made_path, out, err);
    }
    mh_free(parent);
    mh_free(made_path);
    return rc;
}

static int name_at_level(const struct mh_session *s, const char *path, const char *parent,
                         enum imap_name_level level, struct mh_buf *name, struct mh_err *err)
{
    struct mh_buf raw = MH_BUF_INIT;
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    mh_buf_reset(name);
    /* Below a prefix "INBOX.", INBOX/A is a name of its own rule. */
    bool is_own_rule = !parent || (imap_is_inbox(parent, strlen(parent)) && s->names.prefix[0]);
    if (is_own_rule) {
        imap_name_from_path(&s->names, path, level, name);
    } else if (mh_path_next(&last, &raw)) {
        mh_buf_adds(name, parent);
        imap_name_add_part(&s->names, mh_buf_str(&raw), raw.len, level, name);
    }
    bool failed = mh_buf_failed(name) || mh_buf_failed(&raw);
    mh_buf_done(&raw);
    if (failed)
        return mh_err_nomem(err);
    return name->len ? MH_OK : mh_err_set(err, MH_EFOLDER, "imap", "a folder needs a name");
}

/* Tries one spelling behind the other; the one that the server took is in NAME. */
static int rename_to_path(struct mh_session *s, const char *from, const char *path,
                          const char *parent, struct mh_buf *name, struct mh_err *err)
{
    struct mh_buf tried = MH_BUF_INIT;
    bool is_final = false;
    int rc = MH_EFOLDER;
    for (int level = 0; level < IMAP_NAME_LEVELS && rc == MH_EFOLDER && !is_final; level++) {
        struct mh_err why;
        mh_err_reset(&why);
        int made = name_at_level(s, path, parent, (enum imap_name_level)level, name, &why);
        if (made == MH_OK && tried.len > 0 && strcmp(mh_buf_str(&tried), mh_buf_str(name)) == 0)
            continue;
        rc = made ? made : rename_once(s, from, mh_buf_str(name), &is_final, &why);
        if (rc && err)
            *err = why;
        mh_buf_reset(&tried);
        mh_buf_adds(&tried, mh_buf_str(name));
        if (mh_buf_failed(&tried) && rc == MH_EFOLDER)
            rc = mh_err_nomem(err);
    }
    mh_buf_done(&tried);
    return rc;
}

static int move_subscriptions(struct mh_session *s, const struct below *b, const char *to,
                              struct mh_err *err)
{
    int rc = MH_OK;
    for (size_t i = 0; i < b->n && rc == MH_OK; i++)
        rc = move_subscription(s, b->root, to, b->rest[i], err);
    return rc;
}

/* What the session and the subscriptions have under the old name. */
static int after_rename(struct mh_session *s, const struct mh_folder *folder, const char *to,
                        const struct below *b, struct mh_err *err)
{
    int rc = follow(s, &s->selected.native, folder->native, to, err);
    if (rc == MH_OK)
        rc = follow(s, &s->append.native, folder->native, to, err);
    if (rc == MH_OK && folder->attrs & MH_FOLDER_SUBSCRIBED)
        rc = move_subscription(s, folder->native, to, "", err);
    return rc ? rc : move_subscriptions(s, b, to, err);
}

int imap_finish_rename(struct mh_session *s, const char *from, const struct mh_folder *folder,
                       struct mh_err *err)
{
    struct below below = {.s = s, .root = from, .has_root = true};
    int rc = imap_session_check(s, err);
    if (rc == MH_OK)
        rc = list_subscribed(&below, err);
    if (rc == MH_OK)
        rc = move_subscriptions(s, &below, folder->native, err);
    if (rc)
        mh_err_at(err, "folder %s, subscriptions", folder->path);
    below_done(&below);
    return rc;
}

int imap_rename(struct mh_session *s, const struct mh_folder *folder, const char *path,
                char **path_out, char **native_out, struct mh_err *err)
{
    struct below below = {.s = s, .root = folder->native};
    struct mh_buf name = MH_BUF_INIT;
    char *parent = NULL;
    int rc = imap_session_check(s, err);
    if (rc)
        return rc;
    if (imap_is_inbox(folder->native, strlen(folder->native))) /* it would be emptied instead */
        return mh_err_set(err, MH_EFOLDER, "imap", "the inbox cannot be renamed");
    if (strcmp(path, "INBOX") == 0)
        return mh_err_set(err, MH_EEXIST, "imap", "there is an inbox already");
    rc = make_parent(s, path, &parent, err);
    if (rc == MH_OK)
        rc = list_subscribed(&below, err);
    if (rc == MH_OK)
        rc = leave_renamed(s, folder->native, err);
    if (rc == MH_OK)
        rc = rename_to_path(s, folder->native, path, parent, &name, err);
    if (rc == MH_OK)
        rc = after_rename(s, folder, mh_buf_str(&name), &below, err);
    if (rc == MH_OK)
        rc = fill_out(s, mh_buf_str(&name), path_out, native_out, err);
    if (rc)
        mh_err_at(err, "folder %s to %s", folder->path, path);
    below_done(&below);
    mh_buf_done(&name);
    mh_free(parent);
    return rc;
}
