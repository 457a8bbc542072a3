/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Annotations of folders (METADATA, RFC 5464).
 *
 * What the user or the administrator has set is given; what the server itself computes and shows
 * beside it is left out, because it says nothing about the mailbox and no server takes it back.
 */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* --- what is nobody's data -------------------------------------------------------------------- */

/*
 * Measured on Cyrus 3.6.1: what GETMETADATA (DEPTH infinity) shows of a folder in which nothing was
 * set, and whether SETMETADATA takes it, by its owner or by the administrator. UNSET NULL: the
 * server's own, nobody can set it. Else an option of the folder that can be set, and that is shown
 * with this value where it was not: any other value is somebody's wish and is carried.
 */
static const struct {
    const char *name;
    const char *unset;
} computed[] = {
    {"/shared/vendor/cmu/cyrus-imapd/annotsize", NULL},    /* octets of the annotations */
    {"/shared/vendor/cmu/cyrus-imapd/foldermodseq", NULL}, /* counts changes of the folder */
    {"/shared/vendor/cmu/cyrus-imapd/hasalarms", NULL},    /* calendar alarms are pending */
    {"/shared/vendor/cmu/cyrus-imapd/lastpop", NULL},      /* time of the last POP3 login */
    {"/shared/vendor/cmu/cyrus-imapd/lastupdate", NULL},   /* time of the last change */
    {"/shared/vendor/cmu/cyrus-imapd/partition", NULL},    /* the disk it lies on */
    {"/shared/vendor/cmu/cyrus-imapd/server", NULL},       /* the host it lies on, in a cluster */
    {"/shared/vendor/cmu/cyrus-imapd/size", NULL},         /* octets of the messages */
    {"/shared/vendor/cmu/cyrus-imapd/synccrcs", NULL},     /* checksums for replication */
    {"/shared/vendor/cmu/cyrus-imapd/uniqueid", NULL},     /* the folder's own identifier */
    {"/shared/vendor/cmu/cyrus-imapd/duplicatedeliver", "false"},
    {"/shared/vendor/cmu/cyrus-imapd/pop3newuidl", "true"},
    {"/shared/vendor/cmu/cyrus-imapd/sharedseen", "false"},
};

static bool is_computed(const char *name, const char *value, size_t len)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(computed); i++) {
        if (mh_str_ieq(name, computed[i].name))
            return !computed[i].unset || mh_mem_ieq(value, len, computed[i].unset);
    }
    return false;
}

/* The folder's role (RFC 6154 section 4), which LIST tells as well, and which goes with the folder:
 * one attribute that we know. Any other value is carried as it is. */
static bool is_role(const struct mh_session *s, const char *name, const char *value, size_t len)
{
    return imap_has(&s->capset, IMAP_CAP_SPECIAL_USE) && mh_str_ieq(name, "/private/specialuse") &&
           len > 0 && value[0] == '\\' && mh_role_parse(value, len) != MH_ROLE_NONE;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Entries as they come: name, NUL, the value's length, the value. The callback may wait, so it runs
 * in the caller's task behind the answer. */
struct entries {
    struct mh_buf bytes;
    unsigned n;
    uint64_t n_left_out; /* above IMAP_AROUND_MAX_BYTES or IMAP_AROUND_MAX */
};

static void add_entry(struct entries *e, const struct mh_val *name, const struct mh_val *value)
{
    size_t len = value->len;
    if (e->n == IMAP_AROUND_MAX || e->bytes.len + name->len + len > IMAP_AROUND_MAX_BYTES) {
        e->n_left_out++;
        return;
    }
    e->n++;
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

static int give_entries(const struct mh_session *s, const struct entries *e,
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
        const char *value = p;
        p += len;
        if (is_computed(name, value, len) || is_role(s, name, value, len))
            continue;
        int rc = entry(ctx, name, value, len);
        if (rc)
            return mh_err_set(err, rc, "imap", "annotation %s", name);
    }
    return MH_OK;
}

/* What the server or we have left out for its size; 0: nothing. */
static int left_out(const struct entries *e, const char *code, struct mh_err *err)
{
    int rc = MH_OK;
    if (e->n_left_out)
        rc = mh_err_set(err, MH_EITEM, "imap",
                        "%llu annotations are left out: a folder has %u with %u MiB at most",
                        (unsigned long long)e->n_left_out, IMAP_AROUND_MAX,
                        IMAP_AROUND_MAX_BYTES >> 20);
    else if (imap_code_is(code, strlen(code), "METADATA"))
        rc = mh_err_set(err, MH_EITEM, "imap", "annotations above %u MiB are left out (%s)",
                        IMAP_METADATA_MAX_BYTES >> 20, code);
    if (rc && err)
        err->reason = "too-big";
    return rc;
}

int imap_metadata_get(struct mh_session *s, const struct mh_folder *folder,
                      int (*entry)(void *ctx, const char *name, const char *value, size_t len),
                      void *ctx, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_lacks(s, IMAP_CAP_METADATA, "annotations (METADATA)", err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "GETMETADATA ", &cmd, err);
    if (rc)
        return rc;
    struct entries e = {.bytes = MH_BUF_INIT};
    char code[sizeof cmd->code];
    mh_cmd_rawf(&cmd->text, "(DEPTH infinity MAXSIZE %u) ", IMAP_METADATA_MAX_BYTES);
    mh_cmd_string(&cmd->text, folder->native, strlen(folder->native));
    mh_cmd_raw(&cmd->text, " (/private /shared)");
    cmd->untagged = take_metadata;
    cmd->ctx = &e;
    rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    memcpy(code, cmd->code, sizeof code);
    imap_cmd_done(cmd);
    if (rc == MH_OK && mh_buf_failed(&e.bytes))
        rc = mh_err_nomem(err);
    if (rc == MH_OK)
        rc = give_entries(s, &e, entry, ctx, err);
    if (rc == MH_OK)
        rc = left_out(&e, code, err);
    mh_buf_done(&e.bytes);
    if (rc)
        mh_err_at(err, "folder %s", folder->path);
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

/*
 * A value with NUL bytes is a literal8 (RFC 5464 section 5). Cyrus 3.6.1 refuses that form as bad
 * syntax and takes the NUL in a plain literal, in which it also gives it back. Dovecot 2.3 knows the
 * form and keeps no NUL: it says so.
 */
static void add_value(struct imap_cmd *cmd, const char *value, size_t len, bool has_nul)
{
    if (!has_nul)
        mh_cmd_string(&cmd->text, value, len);
    else
        mh_cmd_octets(&cmd->text, value, len, cmd->s->names.family != IMAP_CYRUS);
}

static void explain_nul(struct mh_err *err)
{
    mh_err_at(err, "a value with NUL bytes");
    if (err && err->reason && strcmp(err->reason, "refused") == 0)
        err->reason = "nul-byte";
}

int imap_metadata_set(struct mh_session *s, const struct mh_folder *folder, const char *name,
                      const char *value, size_t len, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_lacks(s, IMAP_CAP_METADATA, "annotations (METADATA)", err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "SETMETADATA ", &cmd, err);
    if (rc)
        return rc;
    bool has_nul = len > 0 && memchr(value, '\0', len);
    mh_cmd_string(&cmd->text, folder->native, strlen(folder->native));
    mh_cmd_raw(&cmd->text, " (");
    mh_cmd_string(&cmd->text, name, strlen(name));
    mh_cmd_raw(&cmd->text, " ");
    add_value(cmd, value, len, has_nul);
    mh_cmd_raw(&cmd->text, ")");
    rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    imap_cmd_done(cmd);
    if (rc == MH_EFOLDER && has_nul)
        explain_nul(err);
    if (rc)
        mh_err_at(err, "folder %s, annotation %s", folder->path, name);
    return rc;
}
