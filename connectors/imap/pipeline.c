/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Commands: building, sending in order, waiting for answers. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* --- the wire --------------------------------------------------------------------------------- */

int imap_wire_take(struct mh_session *s, struct mh_err *err)
{
    /* A command into the middle of one's own message would wait for itself. */
    mh_assert(!s->append.in_message || s->append.task != mh_task_self());
    while (!s->is_dead && (s->wire_held || s->append.in_message)) {
        int rc = mh_wait(&s->wire, MH_NEVER);
        if (rc)
            return mh_err_set(err, rc, "imap", "cancelled");
    }
    int rc = imap_session_check(s, err);
    if (rc)
        return rc;
    s->wire_held = true;
    return MH_OK;
}

int imap_wire_lock(struct mh_session *s, struct mh_err *err)
{
    int rc = imap_wire_take(s, err);
    if (rc)
        return rc;
    rc = s->append.open ? imap_append_cut_open(s, err) : MH_OK;
    if (rc)
        imap_wire_unlock(s);
    return rc;
}

void imap_wire_unlock(struct mh_session *s)
{
    s->wire_held = false;
    mh_wake_all(&s->wire);
}

/* A write that failed, or that a death from elsewhere cut short. */
static int write_failed(struct mh_session *s, struct mh_err *why, struct mh_err *err)
{
    /* The server's last words may wait to be read: they say more than a broken pipe. */
    int64_t until_ms = mh_now_ms() + IMAP_LAST_WORDS_MS;
    while (!s->is_dead && !s->fetch_reads && why->code == MH_ERETRY) {
        if (mh_wait(&s->death_watch, until_ms) != MH_OK)
            break;
    }
    imap_session_fail(s, why);
    int rc = imap_session_check(s, err);
    if (why->code != MH_ECANCEL)
        return rc;
    return mh_err_set(err, MH_ECANCEL, "imap",
                      "cancelled"); /* half a command is out: the session is dead */
}

int imap_write(struct mh_session *s, const char *text, size_t len, struct mh_err *err)
{
    struct mh_err why;
    mh_err_reset(&why);
    while (len > 0) {
        if (s->is_dead)
            return imap_session_check(s, err);
        size_t n = MH_MIN(len, (size_t)MH_SLAB_BYTES);
        if (mh_conn_write_text(s->conn, text, n, &why) != MH_OK)
            return write_failed(s, &why, err);
        text += n;
        len -= n;
    }
    return MH_OK;
}

int imap_write_secret(struct mh_session *s, const char *text, const struct mh_buf *secret,
                      struct mh_err *err)
{
    struct mh_err why;
    mh_err_reset(&why);
    if (s->is_dead)
        return imap_session_check(s, err);
    int rc = MH_OK;
    if (text[0])
        rc = mh_conn_write_text(s->conn, text, strlen(text), &why);
    for (size_t at = 0; rc == MH_OK && at < secret->len && !s->is_dead;) {
        size_t n = MH_MIN(secret->len - at, (size_t)MH_SLAB_BYTES);
        rc = mh_conn_write_secret(s->conn, secret->data + at, n, &why);
        at += n;
    }
    if (rc == MH_OK && !s->is_dead)
        rc = mh_conn_write_text(s->conn, "\r\n", 2, &why);
    if (rc || s->is_dead)
        return write_failed(s, &why, err);
    return MH_OK;
}

int imap_write_slice(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err)
{
    struct mh_err why;
    mh_err_reset(&why);
    if (mh_conn_write_take(s->conn, slice_take, &why) != MH_OK)
        return write_failed(s, &why, err);
    return s->is_dead ? imap_session_check(s, err) : MH_OK;
}

int imap_wait_plus(struct mh_session *s, struct imap_cmd *cmd, bool *plus_out, struct mh_err *err)
{
    s->plus.is_wanted = true;
    int rc = MH_OK;
    while (!s->is_dead && !s->plus.is_there && !cmd->is_answered && rc == MH_OK)
        rc = mh_wait(&s->plus.waiters, MH_NEVER);
    *plus_out = s->plus.is_there;
    s->plus.is_wanted = s->plus.is_there = false;
    if (rc) { /* half a command is out */
        struct mh_err why;
        (void)mh_err_set(&why, MH_ECANCEL, "imap", "cancelled");
        return write_failed(s, &why, err);
    }
    return imap_session_check(s, err);
}

/* --- commands --------------------------------------------------------------------------------- */

enum mh_literal_mode imap_literal_mode(const struct mh_session *s)
{
    if (imap_has(&s->capset, IMAP_CAP_LITERAL_PLUS))
        return MH_LITERAL_PLUS;
    if (imap_has(&s->capset, IMAP_CAP_LITERAL_MINUS))
        return MH_LITERAL_MINUS;
    return MH_LITERAL_SYNC;
}

static struct imap_cmd *cmd_get(struct mh_session *s)
{
    struct imap_cmd *cmd = s->spare;
    if (cmd) {
        s->spare = cmd->next;
        struct mh_cmd text = cmd->text;
        *cmd = (struct imap_cmd){.text = text};
        mh_cmd_reset(&cmd->text);
    } else {
        cmd = mh_zalloc(sizeof *cmd);
        if (cmd)
            mh_cmd_init(&cmd->text, MH_LITERAL_SYNC);
    }
    return cmd;
}

int imap_cmd_start(struct mh_session *s, const char *name, struct imap_cmd **out,
                   struct mh_err *err)
{
    *out = NULL;
    int rc = imap_session_check(s, err);
    if (rc)
        return rc;
    struct imap_cmd *cmd = cmd_get(s);
    if (!cmd)
        return mh_err_nomem(err);
    cmd->s = s;
    cmd->text.literals = imap_literal_mode(s);
    cmd->text.utf8 = s->names.utf8;
    (void)snprintf(cmd->tag, sizeof cmd->tag, "A%u", ++s->last_tag);
    mh_cmd_raw(&cmd->text, cmd->tag);
    mh_cmd_raw(&cmd->text, " ");
    mh_cmd_raw(&cmd->text, name);
    *out = cmd;
    return MH_OK;
}

void imap_cmd_launch(struct imap_cmd *cmd)
{
    struct mh_session *s = cmd->s;
    cmd->in_flight = true;
    cmd->next = NULL;
    if (s->last)
        s->last->next = cmd;
    else
        s->first = cmd;
    s->last = cmd;
    s->was_useful = true; /* the time to answer begins */
    mh_wake_all(&s->work);
}

int imap_cmd_write(struct imap_cmd *cmd, bool *all_out, struct mh_err *err)
{
    struct mh_session *s = cmd->s;
    size_t at = 0;
    *all_out = true;
    for (unsigned i = 0; i < cmd->text.n_breaks; i++) {
        int rc = imap_write(s, cmd->text.text.data + at, cmd->text.breaks[i] - at, err);
        if (rc == MH_OK)
            rc = imap_wait_plus(s, cmd, all_out, err);
        if (rc || !*all_out)
            return rc;
        at = cmd->text.breaks[i];
    }
    return imap_write(s, cmd->text.text.data + at, cmd->text.text.len - at, err);
}

int imap_cmd_send(struct imap_cmd *cmd, struct mh_err *err)
{
    struct mh_session *s = cmd->s;
    mh_cmd_end(&cmd->text);
    if (cmd->text.failed)
        return mh_buf_failed(&cmd->text.text)
                   ? mh_err_nomem(err)
                   : mh_err_set(err, MH_EFOLDER, "imap",
                                "a name or value that IMAP has no form for (a NUL byte)");
    int rc = imap_wire_lock(s, err);
    if (rc)
        return rc;
    imap_cmd_launch(cmd);
    bool all = true;
    rc = imap_cmd_write(cmd, &all, err);
    if (rc == MH_OK)
        cmd->is_sent = true;
    imap_wire_unlock(s);
    return rc;
}

int imap_cmd_wait(struct imap_cmd *cmd, struct mh_err *err)
{
    struct mh_session *s = cmd->s;
    while (!cmd->is_answered) {
        int rc = mh_wait(&cmd->waiters, MH_NEVER);
        if (rc)
            return mh_err_set(err, rc, "imap", "cancelled");
    }
    if (s->is_dead && cmd->status == MH_ST_NONE)
        return imap_session_check(s, err);
    if (cmd->rc) {
        if (err)
            *err = cmd->err;
        return cmd->rc;
    }
    return MH_OK;
}

void imap_cmd_done(struct imap_cmd *cmd)
{
    if (!cmd)
        return;
    struct mh_session *s = cmd->s;
    if (cmd->in_flight) {
        cmd->is_abandoned = true;
        cmd->untagged = NULL;
        cmd->answered = NULL;
        return;
    }
    cmd->next = s->spare;
    s->spare = cmd;
}

int imap_cmd_run(struct imap_cmd *cmd, int fallback, struct mh_err *err)
{
    int rc = imap_cmd_send(cmd, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(cmd, err);
    if (rc == MH_OK && cmd->status != MH_ST_OK)
        rc = imap_cmd_refused(cmd, fallback, err);
    return rc;
}

int imap_cmd_refused(const struct imap_cmd *cmd, int fallback, struct mh_err *err)
{
    size_t code_len = strlen(cmd->code);
    size_t text_len = strlen(cmd->reply);
    const char *code = code_len ? cmd->code : NULL;
    struct imap_refusal r = imap_refusal_of(code, code_len, cmd->reply, text_len);
    char what[48];
    const char *name = mh_buf_str(&cmd->text.text) + strlen(cmd->tag) + 1;
    int len = (int)strcspn(name, " \r\n");
    if (len == 3 && memcmp(name, "UID", 3) == 0)
        len += 1 + (int)strcspn(name + 4, " \r\n");
    (void)snprintf(what, sizeof what, "%.*s", len, name);
    return imap_refused(r.code == MH_ELATER ? MH_ELATER : fallback, what, code, code_len,
                        cmd->reply, text_len, err);
}

/* --- values ----------------------------------------------------------------------------------- */

const struct mh_val *imap_val(const struct mh_resp_event *ev, unsigned n)
{
    unsigned i = 0;
    for (; n > 0 && i < ev->n_vals; n--)
        i = ev->vals[i].next;
    return i < ev->n_vals ? &ev->vals[i] : NULL;
}

bool imap_val_is(const struct mh_val *v, const char *keyword)
{
    return v && (v->kind == MH_VAL_ATOM || v->kind == MH_VAL_STRING) &&
           mh_resp_is(v->s, v->len, keyword);
}

size_t imap_uid_chunk(const uint64_t *uids, size_t n)
{
    size_t ranges = 0;
    size_t i = 0;
    for (; i < n; i++) {
        bool is_new = i == 0 || uids[i] != uids[i - 1] + 1;
        if (is_new && ranges == IMAP_UID_RANGES_MAX)
            break;
        ranges += is_new;
    }
    return i;
}
