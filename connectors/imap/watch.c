/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Waiting for changes: NOTIFY (RFC 5465) for all folders, else the INBOX alone; in both cases under
 * IDLE (RFC 2177), in which the server may be silent for as long as it likes.
 *
 * While IDLE lasts the wire is held, and the session's reader reads what comes: a connection at
 * rest, its parser too, holds no slab. What comes in unasked at other times is looked at as well, so
 * nothing is missed between two calls; a select of another folder in between is caught by comparing
 * the INBOX's numbers.
 *
 * Measured with Dovecot 2.3.19: changes of flags are told only behind NOTIFY SET STATUS (which
 * turns CONDSTORE on); a second NOTIFY SET in one session silences it; events come within half a
 * second.
 */
#include <string.h>

#include "connectors/imap/imap_priv.h"

/* `selected-delayed`: without it NOTIFY would also take from the selected folder what other
 * commands rely on. A server that does not know an event refuses all of them ([BADEVENT]). */
static const char *const notify_forms[] = {
    "NOTIFY SET STATUS (selected-delayed (MessageNew MessageExpunge FlagChange)) "
    "(personal (MessageNew MessageExpunge FlagChange MailboxName))",
    "NOTIFY SET STATUS (selected-delayed (MessageNew MessageExpunge FlagChange)) "
    "(personal (MessageNew MessageExpunge FlagChange))",
};

/* --- what counts ------------------------------------------------------------------------------ */

static bool inbox_is_open(const struct mh_session *s)
{
    const struct imap_selected *sel = &s->selected;
    return sel->native && sel->access != IMAP_ACCESS_NONE &&
           imap_is_inbox(sel->native, strlen(sel->native));
}

/* True if what is said of the selected folder is said of one that is watched. */
static bool is_watched(const struct mh_session *s)
{
    const struct imap_selected *sel = &s->selected;
    return s->watch.notifies ? sel->native && sel->access != IMAP_ACCESS_NONE : inbox_is_open(s);
}

static bool is_change(const struct mh_session *s, const struct mh_resp_event *ev,
                      uint64_t messages_before)
{
    if (ev->type == MH_RESP_FETCH)
        return is_watched(s);
    if (mh_resp_is(ev->name, ev->name_len, "STATUS") || mh_resp_is(ev->name, ev->name_len, "LIST"))
        return true;
    if (!is_watched(s))
        return false;
    if (ev->has_number && mh_resp_is(ev->name, ev->name_len, "EXISTS"))
        return ev->number != messages_before; /* some servers only repeat it */
    return (ev->has_number && mh_resp_is(ev->name, ev->name_len, "EXPUNGE")) ||
           mh_resp_is(ev->name, ev->name_len, "VANISHED");
}

static void stop_notify(struct mh_session *s)
{
    s->watch.notifies = false;
    s->caps.watch_all = false;
}

void imap_watch_note(struct mh_session *s, const struct mh_resp_event *ev, uint64_t messages_before)
{
    struct imap_watch *w = &s->watch;
    if (!w->is_armed || (ev->type != MH_RESP_UNTAGGED && ev->type != MH_RESP_FETCH))
        return;
    if (w->notifies && imap_code_is(ev->code, ev->code_len, "NOTIFICATIONOVERFLOW"))
        stop_notify(s); /* RFC 5465 section 5.8: it tells nothing more, and something was lost */
    else if (!is_change(s, ev, messages_before))
        return;
    w->has_changed = true;
    if (w->idle)
        mh_wake_all(&w->idle->waiters);
}

/* --- arming ----------------------------------------------------------------------------------- */

/* The folders as they are now, which NOTIFY begins with. */
static bool take_baseline(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    (void)cmd;
    return ev->type == MH_RESP_UNTAGGED && mh_resp_is(ev->name, ev->name_len, "STATUS");
}

/* Once per session. A server that says no is watched by IDLE. */
static int start_notify(struct mh_session *s, struct mh_err *err)
{
    int rc = MH_OK;
    for (size_t i = 0; i < MH_ARRAY_LEN(notify_forms) && rc == MH_OK && !s->watch.notifies; i++) {
        struct imap_cmd *cmd = NULL;
        rc = imap_cmd_start(s, notify_forms[i], &cmd, err);
        if (rc)
            return rc;
        cmd->untagged = take_baseline;
        rc = imap_cmd_send(cmd, err);
        if (rc == MH_OK)
            rc = imap_cmd_wait(cmd, err);
        if (rc == MH_OK && cmd->status != MH_ST_OK &&
            imap_cmd_refused(cmd, MH_ENOSUP, err) == MH_ELATER)
            rc = MH_ELATER;
        s->watch.notifies = rc == MH_OK && cmd->status == MH_ST_OK;
        imap_cmd_done(cmd);
    }
    if (rc == MH_OK && !s->watch.notifies) {
        mh_log(&s->log, MH_LOG_DEBUG, "the server refuses NOTIFY: only the inbox is watched");
        stop_notify(s);
    }
    s->watch.is_armed = s->watch.is_armed || s->watch.notifies;
    return rc;
}

static void remember_inbox(struct mh_session *s)
{
    const struct mh_opened *o = &s->selected.opened;
    struct imap_watch *w = &s->watch;
    if (!inbox_is_open(s))
        return;
    w->uidvalidity = o->uidvalidity;
    w->uidnext = o->uidnext;
    w->messages = o->messages;
    w->highestmodseq = o->highestmodseq;
}

static bool inbox_differs(const struct mh_session *s)
{
    const struct mh_opened *o = &s->selected.opened;
    const struct imap_watch *w = &s->watch;
    return w->uidvalidity != o->uidvalidity || w->uidnext != o->uidnext ||
           w->messages != o->messages || w->highestmodseq != o->highestmodseq;
}

/* Read-only, unless the caller has it open anyhow. */
static int open_inbox(struct mh_session *s, struct mh_err *err)
{
    char inbox[] = "INBOX";
    const struct mh_folder folder = {.path = inbox, .native = inbox};
    struct mh_opened opened;
    int rc = inbox_is_open(s) ? MH_OK : imap_select(s, &folder, false, &opened, err);
    if (rc)
        return rc;
    if (s->watch.is_armed && s->watch.uidvalidity != 0 && inbox_differs(s))
        s->watch.has_changed = true;
    s->watch.is_armed = true;
    remember_inbox(s);
    return MH_OK;
}

/* NOOP: what came since the last call, the server perhaps not having told it yet. */
static int look(struct mh_session *s, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(s, "NOOP", &cmd, err);
    if (rc == MH_OK)
        rc = imap_cmd_send(cmd, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(cmd, err);
    imap_cmd_done(cmd);
    return rc;
}

/* --- IDLE ------------------------------------------------------------------------------------- */

/* waits: until there is something to tell, UNTIL_MS, or the server ends it. Then DONE, also for a
 * task that is cancelled: the write does not wait, and the answer comes by itself. */
static int stay(struct mh_session *s, struct imap_cmd *cmd, int64_t until_ms, struct mh_err *err)
{
    static const char done[] = "DONE\r\n";
    int rc = MH_OK;
    s->watch.idle = cmd;
    while (!s->watch.has_changed && !cmd->is_answered && rc == MH_OK)
        rc = mh_wait(&cmd->waiters, until_ms);
    s->watch.idle = NULL;
    if (!cmd->is_answered) {
        cmd->is_sent = true; /* the answer is due */
        s->was_useful = true;
        int written = imap_write(s, done, sizeof done - 1, err);
        if (written)
            return written;
    }
    return rc == MH_ECANCEL ? mh_err_set(err, rc, "imap", "cancelled") : MH_OK;
}

static int no_idle(struct mh_session *s, const struct imap_cmd *cmd, struct mh_err *err)
{
    int rc = imap_cmd_refused(cmd, MH_ENOSUP, err);
    if (rc == MH_ENOSUP)
        s->caps.watch = s->caps.watch_all = false;
    return rc;
}

/* CMD was answered. SINCE_MS: when it began; WAS_ASKED: by DONE. */
static int judge_idle(struct mh_session *s, const struct imap_cmd *cmd, int64_t since_ms,
                      bool was_asked, struct mh_err *err)
{
    struct imap_watch *w = &s->watch;
    if (cmd->status != MH_ST_OK)
        return no_idle(s, cmd, err);
    bool is_short = !was_asked && mh_now_ms() - since_ms < IMAP_IDLE_SHORT_MS;
    w->short_idles = is_short ? w->short_idles + 1 : 0;
    if (w->short_idles < IMAP_IDLE_SHORT_MAX)
        return MH_OK;
    s->caps.watch = s->caps.watch_all = false;
    return mh_err_set(err, MH_ENOSUP, "imap", "the server ends IDLE at once, again and again");
}

/* One IDLE, with the wire held: nobody else may write in it. */
static int idle_once(struct mh_session *s, int64_t until_ms, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    bool goes = false;
    int rc = imap_cmd_start(s, "IDLE", &cmd, err);
    if (rc)
        return rc;
    mh_cmd_end(&cmd->text);
    rc = mh_buf_failed(&cmd->text.text) ? mh_err_nomem(err) : imap_wire_lock(s, err);
    if (rc) {
        imap_cmd_done(cmd);
        return rc;
    }
    int64_t since_ms = mh_now_ms();
    /* It does not count as sent before DONE: until then no answer is due, however long it takes. */
    imap_cmd_launch(cmd);
    rc = imap_write(s, cmd->text.text.data, cmd->text.text.len, err);
    if (rc == MH_OK)
        rc = imap_wait_plus(s, cmd, &goes, err);
    if (rc == MH_OK && goes)
        rc = stay(s, cmd, until_ms, err);
    bool was_asked = cmd->is_sent;
    imap_wire_unlock(s);
    if (rc == MH_OK)
        rc = imap_cmd_wait(cmd, err);
    if (rc == MH_OK)
        rc = judge_idle(s, cmd, since_ms, was_asked, err);
    imap_cmd_done(cmd);
    return rc;
}

/* --- watching --------------------------------------------------------------------------------- */

static int arm(struct mh_session *s, struct mh_err *err)
{
    int rc = s->caps.watch_all && !s->watch.notifies ? start_notify(s, err) : MH_OK;
    if (rc == MH_OK && !s->watch.notifies)
        rc = open_inbox(s, err);
    return rc;
}

static int wait_for_change(struct mh_session *s, int64_t until_ms, struct mh_err *err)
{
    struct imap_watch *w = &s->watch;
    int64_t renew_ms = w->renew_ms ? w->renew_ms : IMAP_IDLE_RENEW_MS;
    int rc = MH_OK;
    while (rc == MH_OK && !w->has_changed && mh_now_ms() < until_ms)
        rc = idle_once(s, MH_MIN(until_ms, mh_now_ms() + renew_ms), err);
    return rc;
}

int imap_watch(struct mh_session *s, int64_t until_ms, bool *changed_out, struct mh_err *err)
{
    struct imap_watch *w = &s->watch;
    *changed_out = false;
    int rc = imap_session_check(s, err);
    if (rc == MH_OK && !s->caps.watch)
        rc = mh_err_set(err, MH_ENOSUP, "imap", "the server has no IDLE");
    bool was_armed = w->is_armed;
    if (rc == MH_OK)
        rc = arm(s, err);
    if (rc == MH_OK && was_armed && !w->has_changed)
        rc = look(s, err);
    if (rc == MH_OK)
        rc = wait_for_change(s, until_ms, err);
    if (rc)
        return rc; /* what is known of is told by the next call */
    if (!w->notifies)
        remember_inbox(s);
    *changed_out = w->has_changed;
    w->has_changed = false;
    return MH_OK;
}
