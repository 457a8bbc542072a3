/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A session's life: connection, reader, dispatch, death. */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* --- death ------------------------------------------------------------------------------------ */

static void cmd_finish(struct mh_session *s, struct imap_cmd *cmd, const struct mh_resp_event *ev);

/* Fetches and verdicts report what was on its way themselves. */
void imap_session_fail(struct mh_session *s, const struct mh_err *err)
{
    if (s->is_dead)
        return;
    s->is_dead = true;
    s->death = *err;
    if (s->death.code == MH_OK || s->death.code == MH_ECANCEL || s->death.code == MH_ETIMEOUT)
        s->death.code = MH_ERETRY;
    struct mh_conn *conn = mh_take(s->conn);
    mh_conn_close(conn);
    while (s->first)
        cmd_finish(s, s->first, NULL);
    mh_wake_all(&s->plus.waiters);
    mh_wake_all(&s->work);
    mh_wake_all(&s->reader_idle);
    mh_wake_all(&s->wire);
    mh_wake_all(&s->append.flushed);
    mh_wake_all(&s->death_watch);
}

int imap_session_check(struct mh_session *s, struct mh_err *err)
{
    if (!s->is_dead)
        return MH_OK;
    struct mh_err why = s->death;
    if (why.code == MH_ELATER && s->death_was_told)
        why.code = MH_ERETRY;
    s->death_was_told = true;
    if (err)
        *err = why;
    return why.code;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void keep_text(char *dst, size_t size, const char *s, size_t len)
{
    size_t n = MH_MIN(len, size - 1);
    if (n > 0)
        memcpy(dst, s, n);
    dst[n] = '\0';
}

/* CMD leaves the list with the answer EV, or with the session's death (NULL). */
static void cmd_finish(struct mh_session *s, struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct imap_cmd **at = &s->first;
    struct imap_cmd *before = NULL;
    while (*at != cmd) {
        before = *at;
        at = &(*at)->next;
    }
    *at = cmd->next;
    if (s->last == cmd)
        s->last = before;
    cmd->next = NULL;
    cmd->in_flight = false;
    cmd->is_answered = true;
    if (ev) {
        cmd->status = ev->status;
        keep_text(cmd->code, sizeof cmd->code, ev->code, ev->code ? ev->code_len : 0);
        keep_text(cmd->reply, sizeof cmd->reply, ev->text, ev->text_len);
    } else {
        cmd->rc = MH_ERETRY;
    }
    mh_wake_all(&cmd->waiters);
    mh_wake_all(&s->plus.waiters);
    if (cmd->answered)
        cmd->answered(cmd, ev);
    else if (cmd->is_abandoned)
        imap_cmd_done(cmd);
}

static void new_capabilities(struct mh_session *s, const struct mh_resp_event *ev)
{
    imap_capset_reset(&s->capset);
    if (ev->status == MH_ST_NONE) {
        for (unsigned i = 0; i < ev->n_vals; i = ev->vals[i].next) {
            if (ev->vals[i].kind == MH_VAL_ATOM)
                imap_capset_add(&s->capset, ev->vals[i].s, ev->vals[i].len);
        }
    } else {
        size_t len = 0;
        const char *args = imap_code_args(ev->code, ev->code_len, &len);
        imap_capset_add_all(&s->capset, args, len);
    }
    imap_capset_finish(&s->capset);
}

static void alert(const struct mh_session *s, const struct mh_resp_event *ev)
{
    /* Before TLS anybody can have put it there. */
    bool is_trusted = s->is_logged_in || (s->conn && mh_conn_info(s->conn)->tls);
    mh_log(&s->log, is_trusted ? MH_LOG_WARNING : MH_LOG_DEBUG, "the server says: %.*s",
           (int)MH_MIN(ev->text_len, (size_t)256), ev->text);
}

/* Data that may come a million times for one command, a limit of its own behind each. */
static bool is_listing(const struct mh_resp_event *ev)
{
    return ev->type == MH_RESP_FETCH || mh_resp_is(ev->name, ev->name_len, "LIST") ||
           mh_resp_is(ev->name, ev->name_len, "LSUB") ||
           mh_resp_is(ev->name, ev->name_len, "STATUS");
}

static int tagged(struct mh_session *s, const struct mh_resp_event *ev, struct mh_err *err)
{
    struct imap_cmd *cmd = s->first;
    while (cmd && !(strlen(cmd->tag) == ev->tag_len && memcmp(cmd->tag, ev->tag, ev->tag_len) == 0))
        cmd = cmd->next;
    if (!cmd)
        return mh_err_set(err, MH_EMAILBOX, "imap",
                          "the server answers a command that was not sent: the dialogue cannot be "
                          "trusted");
    if (imap_code_is(ev->code, ev->code_len, "CAPABILITY"))
        new_capabilities(s, ev);
    else if (imap_code_is(ev->code, ev->code_len, "ALERT") && ev->status == MH_ST_OK)
        alert(s, ev);
    cmd_finish(s, cmd, ev);
    imap_fetch_answered(s);
    return MH_OK;
}

static int continuation(struct mh_session *s, const struct mh_resp_event *ev, struct mh_err *err)
{
    if (!s->plus.is_wanted || s->plus.is_there) {
        s->counters.ignored_plus++; /* some servers send it for LITERAL+ too */
        return MH_OK;
    }
    mh_buf_reset(&s->plus.text);
    mh_buf_add(&s->plus.text, ev->text, ev->text_len);
    if (mh_buf_failed(&s->plus.text))
        return mh_err_nomem(err);
    s->plus.is_there = true;
    mh_wake_all(&s->plus.waiters);
    return MH_OK;
}

/* --- untagged data ---------------------------------------------------------------------------- */

static int greet(struct mh_session *s, const struct mh_resp_event *ev, struct mh_err *err)
{
    if (ev->type != MH_RESP_UNTAGGED ||
        (ev->status != MH_ST_OK && ev->status != MH_ST_PREAUTH && ev->status != MH_ST_BYE))
        return mh_err_set(err, MH_EMAILBOX, "imap", "this is no IMAP server: it does not greet");
    s->greeting_status = ev->status;
    struct mh_buf text = MH_BUF_INIT;
    mh_buf_add_printable(&text, ev->text, ev->text_len);
    keep_text(s->greeting_text, sizeof s->greeting_text, mh_buf_str(&text), text.len);
    mh_buf_done(&text);
    s->wants_greeting = false;
    mh_wake_all(&s->plus.waiters);
    return MH_OK;
}

/* The server ends the connection, perhaps with a time to wait. */
static int bye(const struct mh_resp_event *ev, struct mh_err *err)
{
    struct imap_refusal r = imap_refusal_of(ev->code, ev->code_len, ev->text, ev->text_len);
    int code = r.code == MH_ELATER ? MH_ELATER : MH_ERETRY;
    (void)imap_refused(code, "to go on and ends the connection", ev->code, ev->code_len, ev->text,
                       ev->text_len, err);
    err->reason = "connection-lost";
    if (r.code == MH_ELATER)
        err->reason = r.reason;
    return code;
}

static void set_messages(struct mh_session *s, uint64_t n)
{
    s->selected.opened.messages = n;
    s->selected.has_changed = true; /* a select under way takes this back when it ends */
}

static int count_uids(void *ctx, uint32_t lo, uint32_t hi)
{
    uint64_t *n = ctx;
    *n += (uint64_t)hi - lo + 1; /* a line's worth of them cannot overflow it */
    return MH_OK;
}

/* In place of EXPUNGE once QRESYNC is on. With EARLIER it is history, that counts nothing any more
 * (RFC 7162 section 3.2.10). */
static void vanished(struct mh_session *s, const struct mh_resp_event *ev)
{
    const struct mh_val *set = imap_val(ev, 0);
    uint64_t n = 0;
    if (set && set->kind == MH_VAL_ATOM &&
        mh_uid_set_parse(set->s, set->len, count_uids, &n, NULL) == MH_OK)
        set_messages(s, s->selected.opened.messages - MH_MIN(n, s->selected.opened.messages));
}

/* What concerns the session, whoever asked. True: it did. */
static bool session_data(struct mh_session *s, const struct mh_resp_event *ev)
{
    if (imap_code_is(ev->code, ev->code_len, "CAPABILITY") ||
        mh_resp_is(ev->name, ev->name_len, "CAPABILITY"))
        new_capabilities(s, ev);
    else if (imap_code_is(ev->code, ev->code_len, "ALERT"))
        alert(s, ev);
    else if (ev->has_number && mh_resp_is(ev->name, ev->name_len, "EXISTS"))
        set_messages(s, ev->number);
    else if (ev->has_number && mh_resp_is(ev->name, ev->name_len, "EXPUNGE"))
        set_messages(s, s->selected.opened.messages - (s->selected.opened.messages > 0));
    else if (mh_resp_is(ev->name, ev->name_len, "VANISHED"))
        vanished(s, ev);
    else
        return ev->status != MH_ST_NONE || mh_resp_is(ev->name, ev->name_len, "RECENT") ||
               mh_resp_is(ev->name, ev->name_len, "FLAGS");
    return true;
}

/* To the oldest command that wants it. */
static void offer(struct mh_session *s, const struct mh_resp_event *ev)
{
    uint64_t messages_before = s->selected.opened.messages;
    bool is_used = ev->type == MH_RESP_UNTAGGED && session_data(s, ev);
    for (struct imap_cmd *cmd = s->first; cmd; cmd = cmd->next) {
        if (cmd->untagged && !cmd->is_abandoned && cmd->untagged(cmd, ev)) {
            s->was_useful = s->was_useful || is_listing(ev);
            return;
        }
    }
    imap_watch_note(s, ev, messages_before);
    s->counters.ignored_data += !is_used;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int dispatch(struct mh_session *s, struct mh_resp_event *ev, struct mh_err *err)
{
    if (s->wants_greeting) {
        int rc = greet(s, ev, err);
        if (rc)
            return rc;
        if (s->greeting_status == MH_ST_BYE)
            return bye(ev, err);
        (void)session_data(s, ev);
        return MH_OK;
    }
    switch (ev->type) {
    case MH_RESP_BODY_BEGIN:
    case MH_RESP_BODY_DATA:
    case MH_RESP_BODY_END:
        s->was_useful = true;
        imap_fetch_body(s, ev);
        return MH_OK;
    case MH_RESP_FETCH:
        if (imap_fetch_item(s, ev))
            s->was_useful = true;
        else
            offer(s, ev);
        return MH_OK;
    case MH_RESP_UNTAGGED:
        if (ev->status == MH_ST_BYE)
            return bye(ev, err);
        offer(s, ev);
        return MH_OK;
    case MH_RESP_TAGGED:
        s->was_useful = true;
        return tagged(s, ev, err);
    case MH_RESP_CONTINUE:
        return continuation(s, ev, err);
    case MH_RESP_MORE:
        break;
    }
    return MH_OK;
}

/* Handles all of SLICE. Stops early when the session died meanwhile. */
static void pump(struct mh_session *s, struct mh_slice slice_take)
{
    struct mh_slice in = slice_take;
    struct imap_trace_mark mark;
    while (!s->is_dead) {
        struct mh_resp_event ev;
        struct mh_err err;
        mh_err_reset(&err);
        imap_trace_before(s, &in, &mark);
        bool was_greeting = s->wants_greeting;
        int rc = mh_resp_next(s->resp, &in, &ev, &err);
        if (rc && was_greeting && rc == MH_EMAILBOX) {
            char said[sizeof err.server_text];
            memcpy(said, err.server_text, sizeof said);
            (void)mh_err_set(&err, MH_EMAILBOX, "imap",
                             "this is no IMAP server: its first line is none that IMAP knows");
            mh_err_server(&err, said, strlen(said));
        }
        imap_trace_after(s, rc ? NULL : &ev, &in, &mark);
        if (rc == MH_OK && ev.type == MH_RESP_MORE)
            break;
        bool is_last = rc == MH_OK && ev.type == MH_RESP_TAGGED && s->stops_reading;
        if (rc == MH_OK)
            rc = dispatch(s, &ev, &err);
        if (rc)
            imap_session_fail(s, &err);
        if (is_last && !s->is_dead && in.len > 0) {
            /* Behind STARTTLS these are an attack, which the connection refuses; behind COMPRESS
             * they are compressed. */
            mh_conn_unread(s->conn, in);
            return;
        }
    }
    mh_slice_drop(&in);
}

/* The oldest command was written completely, so the server owes us something. */
static bool answer_is_due(const struct mh_session *s)
{
    return s->wants_greeting || (s->plus.is_wanted && !s->plus.is_there) ||
           (s->first && s->first->is_sent);
}

/* A server that goes on talking, but of nothing that was asked for, is not waited for without end. */
static int check_talk(struct mh_session *s, struct mh_err *err)
{
    int64_t now_ms = mh_now_ms();
    if (s->was_useful || !answer_is_due(s) || mh_conn_is_held(s->conn)) {
        s->was_useful = false;
        s->useful_ms = now_ms;
        return MH_OK;
    }
    if (now_ms - s->useful_ms <= IMAP_TALK_TIMEOUTS * s->env.timeout_ms)
        return MH_OK;
    (void)mh_err_set(err, MH_ERETRY, "imap",
                     "for %lld s the server has sent everything but the answer",
                     (long long)(IMAP_TALK_TIMEOUTS * s->env.timeout_ms / 1000));
    err->reason = "timeout";
    return MH_ERETRY;
}

/* A read that brings nothing for the time-out is the end, unless it is us who are slow: a message
 * of 150 MB takes its time to leave, and a source may stall in the middle of one. */
static int read_slice(struct mh_session *s, struct mh_slice *out, struct mh_err *err)
{
    int64_t timeout_ms = s->wants_greeting ? MH_GREETING_TIMEOUT_MS : s->env.timeout_ms;
    for (;;) {
        if (s->is_dead)
            return imap_session_check(s, err);
        struct mh_conn *conn = s->conn;
        uint64_t out_before = mh_conn_info(conn)->bytes_out;
        bool was_due = answer_is_due(s); /* behind IDLE it may be due since a moment ago */
        int rc = check_talk(s, err);
        if (rc)
            return rc;
        rc = mh_conn_read_until(conn, mh_deadline_ms(timeout_ms), out, err);
        s->was_useful = s->was_useful || s->is_dead || mh_conn_info(conn)->bytes_out != out_before;
        if (rc != MH_ETIMEOUT)
            return rc;
        /* Our own rate limit holding the line is no silence of the server's. */
        if (s->is_dead || !was_due || !answer_is_due(s) || mh_conn_is_held(conn) ||
            mh_conn_info(conn)->bytes_out != out_before)
            continue;
        (void)mh_err_set(err, MH_ERETRY, "imap", "the server has not answered for %lld s",
                         (long long)(timeout_ms / 1000));
        err->reason = "timeout";
        return MH_ERETRY;
    }
}

static struct mh_slice take_handed(struct mh_session *s)
{
    struct mh_slice slice = s->handed;
    s->handed = (struct mh_slice){NULL, 0, 0};
    return slice;
}

/* ERR, unless the session died of something that says more. */
static int read_failed(struct mh_session *s, int rc, struct mh_err *err)
{
    if (rc == MH_ECANCEL)
        return mh_err_set(err, MH_ECANCEL, "imap", "cancelled");
    imap_session_fail(s, err);
    return imap_session_check(s, err);
}

int imap_session_read(struct mh_session *s, struct mh_err *err)
{
    struct mh_slice slice = take_handed(s);
    struct mh_err why;
    mh_err_reset(&why);
    int rc = slice.slab ? MH_OK : read_slice(s, &slice, &why);
    if (rc) {
        rc = read_failed(s, rc, &why);
        if (err)
            *err = why;
        return rc;
    }
    pump(s, slice);
    return s->is_dead ? imap_session_check(s, err) : MH_OK;
}

/* Reads while an answer is due; parks otherwise, and while a fetch reads. What it had read when the
 * fetch began is handed over. */
static void reader_main(void *arg)
{
    struct mh_session *s = arg;
    while (!s->is_dead) {
        if (s->fetch_reads || !(s->first || s->wants_greeting)) {
            s->is_reading = false;
            mh_wake_all(&s->reader_idle);
            if (mh_wait(&s->work, MH_NEVER) != MH_OK)
                break;
            continue;
        }
        s->is_reading = true;
        struct mh_err err;
        mh_err_reset(&err);
        struct mh_slice slice = {NULL, 0, 0};
        int rc = read_slice(s, &slice, &err);
        if (rc)
            imap_session_fail(s, &err);
        else if (s->fetch_reads)
            s->handed = slice;
        else
            pump(s, slice);
    }
    s->is_reading = false;
    mh_wake_all(&s->reader_idle);
}

int imap_session_read_begin(struct mh_session *s, struct mh_err *err)
{
    mh_assert(!s->fetch_reads);
    s->fetch_reads = true;
    while (s->is_reading && !s->is_dead) {
        int rc = mh_wait(&s->reader_idle, MH_NEVER);
        if (rc) {
            imap_session_read_end(s);
            return mh_err_set(err, rc, "imap", "cancelled");
        }
    }
    return imap_session_check(s, err);
}

void imap_session_read_end(struct mh_session *s)
{
    s->fetch_reads = false;
    if (s->handed.slab) /* the fetch ended before it read */
        pump(s, take_handed(s));
    mh_wake_all(&s->work);
}

/* --- life ------------------------------------------------------------------------------------- */

static int connect_to(struct mh_session *s, const struct mh_endpoint *ep, struct mh_err *err)
{
    const struct mh_conn_config cfg = {
        .host = ep->host,
        .port = ep->port,
        .tls = ep->tls == MH_TLS_IMPLICIT,
        .ca_file = ep->ca_file,
        .pin = ep->pin,
        .timeout_ms = s->env.timeout_ms,
        .pool = s->env.pool,
        .net = s->env.net,
        .is_source = s->env.is_source,
        .log = &s->log,
    };
    return mh_conn_open(&cfg, &s->conn, err);
}

static int wait_greeting(struct mh_session *s, struct mh_err *err)
{
    while (s->wants_greeting && !s->is_dead) {
        int rc = mh_wait(&s->plus.waiters, MH_NEVER);
        if (rc)
            return mh_err_set(err, rc, "imap", "cancelled");
    }
    return imap_session_check(s, err);
}

int imap_session_open(const struct mh_endpoint *ep, const struct mh_env *env,
                      struct mh_session **out, struct mh_err *err)
{
    struct mh_session *s = mh_zalloc(sizeof *s);
    if (!s)
        return mh_err_nomem(err);
    s->env = *env;
    s->host = mh_strdup(ep->host);
    s->log = (struct mh_log){env->log, env->is_source ? "source" : "target", s->host};
    s->max_message = ep->max_message;
    s->wants_greeting = true;
    s->was_useful = true; /* the time to answer begins */
    int rc = s->host ? mh_resp_new(&s->resp, err) : mh_err_nomem(err);
    if (rc == MH_OK) {
        mh_resp_set_line_max(s->resp, MH_IMAP_GREETING_MAX_BYTES);
        rc = connect_to(s, ep, err);
    }
    if (rc == MH_OK)
        rc = mh_task_spawn(mh_sched_self(), "imap-reader", reader_main, s, &s->reader, err);
    if (rc == MH_OK)
        rc = wait_greeting(s, err);
    if (rc) {
        imap_session_close(s);
        return rc;
    }
    *out = s;
    return MH_OK;
}

/* Only when it goes out at once, and never into the middle of a command. */
static void say_goodbye(struct mh_session *s)
{
    if (s->is_dead || !s->is_logged_in || s->wire_held || s->append.open ||
        mh_conn_queued_bytes(s->conn) > 0)
        return;
    static const char logout[] = "Z LOGOUT\r\n";
    if (mh_conn_write_text(s->conn, logout, sizeof logout - 1, NULL) != MH_OK)
        mh_log(&s->log, MH_LOG_DEBUG, "no goodbye: the connection is gone");
}

static void log_counters(const struct mh_session *s)
{
    const struct imap_counters *c = &s->counters;
    if (c->ignored_data | c->ignored_bodies | c->ignored_plus)
        mh_log(&s->log, MH_LOG_DEBUG,
               "ignored: %llu unsolicited responses, %llu bodies, %llu continuations",
               (unsigned long long)c->ignored_data, (unsigned long long)c->ignored_bodies,
               (unsigned long long)c->ignored_plus);
    if (c->dropped_keywords)
        mh_log(&s->log, MH_LOG_WARNING, "%llu keywords were not sent: IMAP has no form for them",
               (unsigned long long)c->dropped_keywords);
}

void imap_session_close(struct mh_session *s)
{
    if (!s)
        return;
    struct mh_err err;
    (void)mh_err_set(&err, MH_ERETRY, "imap", "the connection was closed");
    if (!s->is_dead) {
        if (s->conn)
            say_goodbye(s);
        imap_session_fail(s, &err);
    }
    if (s->reader) {
        mh_task_cancel(s->reader);
        mh_task_join(s->reader);
    }
    imap_append_free(s);
    log_counters(s);
    while (s->spare) {
        struct imap_cmd *cmd = s->spare;
        s->spare = cmd->next;
        mh_cmd_done(&cmd->text);
        mh_free(cmd);
    }
    mh_slice_drop(&s->handed);
    mh_resp_free(s->resp);
    mh_buf_done(&s->plus.text);
    mh_buf_done(&s->trace);
    mh_free(s->selected.native);
    mh_free(s->fetch_states);
    mh_free(s->host);
    mh_free(s);
}
