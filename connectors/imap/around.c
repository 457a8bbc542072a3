/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Around the mail: quota (RFC 9208) and rights (RFC 4314); annotations are in metadata.c. */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

int imap_lacks(struct mh_session *s, enum imap_cap cap, const char *what, struct mh_err *err)
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
    int rc = imap_lacks(s, IMAP_CAP_QUOTA, "quota", err);
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

struct acl {
    struct mh_buf *lines; /* borrowed: the caller's */
    unsigned n;
    uint64_t n_left_out; /* above IMAP_AROUND_MAX_BYTES or IMAP_AROUND_MAX */
};

static void add_right(struct acl *acl, const struct mh_val *identifier, const struct mh_val *rights)
{
    if (acl->n == IMAP_AROUND_MAX ||
        acl->lines->len + identifier->len + rights->len > IMAP_AROUND_MAX_BYTES) {
        acl->n_left_out++;
        return;
    }
    acl->n++;
    mh_buf_add(acl->lines, identifier->s, identifier->len);
    mh_buf_addc(acl->lines, ' ');
    if (rights->kind != MH_VAL_NIL)
        mh_buf_add(acl->lines, rights->s, rights->len);
    mh_buf_addc(acl->lines, '\n');
}

/* `ACL mailbox identifier rights identifier rights …` */
static bool take_acl(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "ACL"))
        return false;
    const struct mh_val *identifier = NULL;
    for (unsigned k = 1; (identifier = imap_val(ev, k)) != NULL; k += 2) {
        const struct mh_val *rights = imap_val(ev, k + 1);
        if (!rights || rights->kind == MH_VAL_LIST || identifier->kind == MH_VAL_LIST ||
            identifier->len == 0 || memchr(identifier->s, '\n', identifier->len))
            break;
        add_right(cmd->ctx, identifier, rights);
    }
    return true;
}

int imap_acl_get(struct mh_session *s, const struct mh_folder *folder, struct mh_buf *lines_out,
                 struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_lacks(s, IMAP_CAP_ACL, "access rights (ACL)", err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "GETACL ", &cmd, err);
    if (rc)
        return rc;
    mh_cmd_string(&cmd->text, folder->native, strlen(folder->native));
    struct acl acl = {.lines = lines_out};
    cmd->untagged = take_acl;
    cmd->ctx = &acl;
    rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    imap_cmd_done(cmd);
    if (rc == MH_OK && mh_buf_failed(lines_out))
        rc = mh_err_nomem(err);
    if (rc == MH_OK && acl.n_left_out) {
        rc = mh_err_set(
            err, MH_EITEM, "imap", "%llu rights are left out: a folder has %u with %u MiB at most",
            (unsigned long long)acl.n_left_out, IMAP_AROUND_MAX, IMAP_AROUND_MAX_BYTES >> 20);
        if (err)
            err->reason = "too-big";
    }
    if (rc)
        mh_err_at(err, "folder %s", folder->path);
    return rc;
}

int imap_acl_set(struct mh_session *s, const struct mh_folder *folder, const char *identifier,
                 const char *rights, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_lacks(s, IMAP_CAP_ACL, "access rights (ACL)", err);
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
