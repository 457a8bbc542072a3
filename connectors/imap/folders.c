/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Making folders: a name that the target takes, its parents, what is there already. */
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
