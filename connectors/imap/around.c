/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Around the mail: quota (RFC 9208), rights (RFC 4314), annotations (RFC 5464). */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

static int lacks(struct mh_session *s, enum imap_cap cap, const char *what, struct mh_err *err)
{
    int rc = imap_session_check(s, err);
    if (rc || imap_has(&s->capset, cap))
        return rc;
    return mh_err_set(err, MH_ENOSUP, "imap", "this server has no %s", what);
}

/* --- quota ------------------------------------------------------------------------------------ */

/* `QUOTA root (STORAGE 10 512 MESSAGE 3 100)`, in KiB. Of several roots the one with the least room
 * counts. */
static bool take_quota(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct mh_quota *q = cmd->ctx;
    const struct mh_val *list = imap_val(ev, 1);
    if (ev->type != MH_RESP_UNTAGGED)
        return false;
    if (mh_resp_is(ev->name, ev->name_len, "QUOTAROOT"))
        return true;
    if (!mh_resp_is(ev->name, ev->name_len, "QUOTA") || !list || list->kind != MH_VAL_LIST)
        return false;
    for (unsigned k = 0; k + 2 < list->children;
         k += 3) { /* flat: resources are atoms and numbers */
        const struct mh_val *v = list + 1 + k;
        uint64_t used = 0;
        uint64_t limit = 0;
        const uint64_t max = UINT64_MAX / 1024;
        if (v[0].kind != MH_VAL_ATOM || v[1].kind != MH_VAL_ATOM || v[2].kind != MH_VAL_ATOM)
            break;
        if (!imap_val_is(&v[0], "STORAGE") || !mh_parse_u64(v[1].s, v[1].len, max, &used) ||
            !mh_parse_u64(v[2].s, v[2].len, max, &limit))
            continue;
        bool is_tighter = !q->known || q->limit_bytes == 0 ||
                          limit * 1024 - MH_MIN(used, limit) * 1024 <
                              q->limit_bytes - MH_MIN(q->used_bytes, q->limit_bytes);
        if (is_tighter && (limit > 0 || !q->known))
            *q = (struct mh_quota){true, used * 1024, limit * 1024};
    }
    return true;
}

int imap_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err)
{
    *out = (struct mh_quota){.known = false};
    struct imap_cmd *cmd = NULL;
    int rc = lacks(s, IMAP_CAP_QUOTA, "quota", err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "GETQUOTAROOT \"INBOX\"", &cmd, err);
    if (rc)
        return rc;
    cmd->untagged = take_quota;
    cmd->ctx = out;
    rc = imap_cmd_run(cmd, MH_ENOSUP, err);
    imap_cmd_done(cmd);
    return rc;
}

/* --- rights ----------------------------------------------------------------------------------- */

/* `ACL mailbox identifier rights identifier rights …` */
static bool take_acl(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct mh_buf *lines = cmd->ctx;
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "ACL"))
        return false;
    const struct mh_val *identifier = NULL;
    for (unsigned k = 1; (identifier = imap_val(ev, k)) != NULL; k += 2) {
        const struct mh_val *rights = imap_val(ev, k + 1);
        if (!rights || rights->kind == MH_VAL_LIST || identifier->kind == MH_VAL_LIST ||
            identifier->len == 0 || memchr(identifier->s, '\n', identifier->len))
            break;
        mh_buf_add(lines, identifier->s, identifier->len);
        mh_buf_addc(lines, ' ');
        if (rights->kind != MH_VAL_NIL)
            mh_buf_add(lines, rights->s, rights->len);
        mh_buf_addc(lines, '\n');
    }
    return true;
}

int imap_acl_get(struct mh_session *s, const struct mh_folder *folder, struct mh_buf *lines_out,
                 struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = lacks(s, IMAP_CAP_ACL, "access rights (ACL)", err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "GETACL ", &cmd, err);
    if (rc)
        return rc;
    mh_cmd_string(&cmd->text, folder->native, strlen(folder->native));
    cmd->untagged = take_acl;
    cmd->ctx = lines_out;
    rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    imap_cmd_done(cmd);
    if (rc == MH_OK && mh_buf_failed(lines_out))
        rc = mh_err_nomem(err);
    if (rc)
        mh_err_at(err, "folder %s", folder->path);
    return rc;
}

int imap_acl_set(struct mh_session *s, const struct mh_folder *folder, const char *identifier,
                 const char *rights, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = lacks(s, IMAP_CAP_ACL, "access rights (ACL)", err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "SETACL ", &cmd, err);
    if (rc)
        return rc;
    mh_cmd_string(&cmd->text, folder->native, strlen(folder->native));
    mh_cmd_raw(&cmd->text, " ");
    mh_cmd_string(&cmd->text, identifier, strlen(identifier));
    mh_cmd_raw(&cmd->text, " ");
    mh_cmd_string(&cmd->text, rights, strlen(rights));
    rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    imap_cmd_done(cmd);
    if (rc)
        mh_err_at(err, "folder %s, rights of %s", folder->path, identifier);
    return rc;
}

/* --- annotations ------------------------------------------------------------------------------ */

/* Entries as they come: name, NUL, the value's length, the value. The callback may wait, so it runs
 * in the caller's task behind the answer. */
struct entries {
    struct mh_buf bytes;
};

static void add_entry(struct entries *e, const struct mh_val *name, const struct mh_val *value)
{
    size_t len = value->len;
    mh_buf_add(&e->bytes, name->s, name->len);
    mh_buf_addc(&e->bytes, '\0');
    mh_buf_add(&e->bytes, &len, sizeof len);
    mh_buf_add(&e->bytes, value->s, len);
}

/* `METADATA mailbox (entry value entry value …)` */
static bool take_metadata(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct entries *e = cmd->ctx;
    const struct mh_val *list = imap_val(ev, 1);
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "METADATA"))
        return false;
    if (!list || list->kind != MH_VAL_LIST)
        return true; /* names only: a change somebody else made */
    unsigned i = (unsigned)(list - ev->vals) + 1;
    for (unsigned k = 0; k + 1 < list->children; k += 2) {
        const struct mh_val *name = &ev->vals[i];
        i = ev->vals[i].next;
        const struct mh_val *value = &ev->vals[i];
        i = ev->vals[i].next;
        bool is_named = (name->kind == MH_VAL_ATOM || name->kind == MH_VAL_STRING) &&
                        name->len > 0 && !memchr(name->s, '\0', name->len);
        bool has_value = value->kind == MH_VAL_STRING || value->kind == MH_VAL_ATOM;
        if (is_named && has_value)
            add_entry(e, name, value);
    }
    return true;
}

static int give_entries(const struct entries *e,
                        int (*entry)(void *ctx, const char *name, const char *value, size_t len),
                        void *ctx, struct mh_err *err)
{
    const char *p = mh_buf_str(&e->bytes);
    const char *end = p + e->bytes.len;
    while (p < end) {
        size_t len = 0;
        const char *name = p;
        p += strlen(name) + 1;
        memcpy(&len, p, sizeof len);
        p += sizeof len;
        int rc = entry(ctx, name, p, len);
        if (rc)
            return mh_err_set(err, rc, "imap", "annotation %s", name);
        p += len;
    }
    return MH_OK;
}

int imap_metadata_get(struct mh_session *s, const struct mh_folder *folder,
                      int (*entry)(void *ctx, const char *name, const char *value, size_t len),
                      void *ctx, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = lacks(s, IMAP_CAP_METADATA, "annotations (METADATA)", err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "GETMETADATA ", &cmd, err);
    if (rc)
        return rc;
    struct entries e = {MH_BUF_INIT};
    mh_cmd_rawf(&cmd->text, "(DEPTH infinity MAXSIZE %u) ", IMAP_METADATA_MAX_BYTES);
    mh_cmd_string(&cmd->text, folder->native, strlen(folder->native));
    mh_cmd_raw(&cmd->text, " (/private /shared)");
    cmd->untagged = take_metadata;
    cmd->ctx = &e;
    rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    if (rc == MH_OK && imap_code_is(cmd->code, strlen(cmd->code), "METADATA"))
        mh_log(&s->log, MH_LOG_WARNING, "folder %s: annotations above %u bytes are left out: %s",
               folder->path, IMAP_METADATA_MAX_BYTES, cmd->code);
    imap_cmd_done(cmd);
    if (rc == MH_OK && mh_buf_failed(&e.bytes))
        rc = mh_err_nomem(err);
    if (rc == MH_OK)
        rc = give_entries(&e, entry, ctx, err);
    mh_buf_done(&e.bytes);
    if (rc)
        mh_err_at(err, "folder %s", folder->path);
    return rc;
}

int imap_metadata_set(struct mh_session *s, const struct mh_folder *folder, const char *name,
                      const char *value, size_t len, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = lacks(s, IMAP_CAP_METADATA, "annotations (METADATA)", err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "SETMETADATA ", &cmd, err);
    if (rc)
        return rc;
    mh_cmd_string(&cmd->text, folder->native, strlen(folder->native));
    mh_cmd_raw(&cmd->text, " (");
    mh_cmd_string(&cmd->text, name, strlen(name));
    mh_cmd_raw(&cmd->text, " ");
    mh_cmd_string(&cmd->text, value, len);
    mh_cmd_raw(&cmd->text, ")");
    rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    imap_cmd_done(cmd);
    if (rc)
        mh_err_at(err, "folder %s, annotation %s", folder->path, name);
    return rc;
}
