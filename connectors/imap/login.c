/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From the greeting to a session that can work: STARTTLS, authentication, what is asked behind it.
 *
 *     greeting ── [CAPABILITY] ── [STARTTLS, handshake, CAPABILITY] ── AUTHENTICATE or LOGIN ──
 *     CAPABILITY, ID, NAMESPACE, ENABLE in one go ── [COMPRESS]
 *
 * With implicit TLS and a server that announces itself unasked (Dovecot, Cyrus) that is two round
 * trips behind the handshake.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"
#include "wire/base64.h"

struct login {
    struct mh_session *s;
    const struct mh_endpoint *ep;
    char *authcid;       /* owned: who logs in */
    const char *authzid; /* borrowed: whose mailbox it is, when the mechanism says it; else "" */
    const struct mh_buf *secret;
};

/* --- capabilities ----------------------------------------------------------------------------- */

/* The data itself goes to the session, whoever asked. */
static int ask_capabilities(struct mh_session *s, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(s, "CAPABILITY", &cmd, err);
    if (rc == MH_OK)
        rc = imap_cmd_run(cmd, MH_EMAILBOX, err);
    imap_cmd_done(cmd);
    s->counters.round_trips++;
    if (rc == MH_OK && !s->capset.is_known)
        rc = mh_err_set(err, MH_EMAILBOX, "imap", "the server does not say what it can do");
    return rc;
}

/* --- STARTTLS --------------------------------------------------------------------------------- */

/* What was learnt in the clear could have been written by anybody. */
static void forget(struct mh_session *s)
{
    imap_capset_reset(&s->capset);
    s->greeting_text[0] = '\0';
    s->counters = (struct imap_counters){.round_trips = s->counters.round_trips};
}

static int start_tls(struct mh_session *s, struct mh_err *err)
{
    if (!s->capset.is_known) {
        int rc = ask_capabilities(s, err);
        if (rc)
            return rc;
    }
    if (!imap_has(&s->capset, IMAP_CAP_STARTTLS))
        return mh_err_set(err, MH_EMAILBOX, "imap",
                          "the server does not offer STARTTLS, so nothing was sent; use imaps:// "
                          "if it has a TLS port, or ?tls=none to send the password in the clear");
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(s, "STARTTLS", &cmd, err);
    if (rc)
        return rc;
    s->stops_reading = true;
    rc = imap_cmd_run(cmd, MH_EMAILBOX, err);
    s->stops_reading = false;
    imap_cmd_done(cmd);
    s->counters.round_trips++;
    if (rc)
        return rc;
    forget(s);
    rc = mh_conn_start_tls(s->conn, err);
    return rc ? rc : ask_capabilities(s, err);
}

/* --- the mechanisms --------------------------------------------------------------------------- */

/* Room first, so that no growth leaves pieces of the secret in freed memory. */
static void make_room(struct mh_buf *b, size_t bytes)
{
    static const char zeros[256];
    while (b->len < bytes && !mh_buf_failed(b))
        mh_buf_add(b, zeros, sizeof zeros);
    mh_buf_reset(b);
}

static void to_base64(const struct mh_buf *raw, struct mh_buf *out)
{
    mh_buf_reset(out);
    mh_base64_encode(mh_buf_str(raw), raw->len, out);
}

struct exchange {
    struct login *l;
    struct imap_sasl sasl;
    struct imap_cmd *cmd;
    struct mh_buf raw, text; /* our message, before and in base64; secret */
};

static int exchange_begin(struct exchange *x, struct mh_err *err)
{
    struct mh_session *s = x->l->s;
    bool with_ir = imap_has(&s->capset, IMAP_CAP_SASL_IR);
    int rc = MH_OK;
    if (with_ir)
        rc = imap_sasl_step(&x->sasl, "", 0, &x->raw, err);
    if (rc)
        return rc;
    mh_cmd_raw(&x->cmd->text, with_ir ? " " : "");
    if (!with_ir)
        mh_cmd_end(&x->cmd->text);
    if (x->cmd->text.failed)
        return mh_err_nomem(err);
    imap_cmd_launch(x->cmd);
    x->cmd->is_sent = true;
    if (!with_ir)
        return imap_write(s, x->cmd->text.text.data, x->cmd->text.text.len, err);
    to_base64(&x->raw, &x->text);
    return mh_buf_failed(&x->text) ? mh_err_nomem(err)
                                   : imap_write_secret(s, x->cmd->text.text.data, &x->text, err);
}

/* One challenge in s->plus.text: our answer, or `*`, which makes the server end the exchange. */
static int exchange_step(struct exchange *x, struct mh_err *err)
{
    struct mh_session *s = x->l->s;
    struct mh_buf challenge = MH_BUF_INIT;
    int rc = MH_OK;
    bool is_base64 = mh_base64_decode(mh_buf_str(&s->plus.text), s->plus.text.len, &challenge);
    if (mh_buf_failed(&challenge))
        rc = mh_err_nomem(err);
    else if (!is_base64)
        rc = mh_err_set(err, MH_EAUTH, "imap", "the server's challenge is not base64");
    else if (x->sasl.step > IMAP_SASL_STEPS_MAX)
        rc = mh_err_set(err, MH_EAUTH, "imap", "the server's challenges do not end");
    else
        rc = imap_sasl_step(&x->sasl, mh_buf_str(&challenge), challenge.len, &x->raw, err);
    mh_buf_done(&challenge);
    if (rc == MH_OK) {
        to_base64(&x->raw, &x->text);
        return mh_buf_failed(&x->text) ? mh_err_nomem(err)
                                       : imap_write_secret(s, "", &x->text, err);
    }
    static const char cancel[] = "*\r\n";
    struct mh_err late;
    if (imap_write(s, cancel, sizeof cancel - 1, &late) || imap_cmd_wait(x->cmd, &late))
        mh_log_err(&s->log, MH_LOG_DEBUG, &late);
    return rc;
}

/* What the server said stays; the text says what it is about. */
static void token_refused(const struct imap_sasl *sasl, struct mh_err *err)
{
    const char *status = sasl->oauth_status;
    (void)snprintf(err->text, sizeof err->text,
                   "the server refuses the access token%s%s%s: it is over, or for another user or "
                   "purpose",
                   status[0] ? " (" : "", status, status[0] ? ")" : "");
}

static int exchange_run(struct exchange *x, struct mh_err *err)
{
    struct mh_session *s = x->l->s;
    int rc = imap_wire_lock(s, err);
    if (rc)
        return rc;
    s->hides_plus = true;
    rc = exchange_begin(x, err);
    while (rc == MH_OK && !x->cmd->is_answered) {
        bool plus = false;
        rc = imap_wait_plus(s, x->cmd, &plus, err);
        s->counters.round_trips++;
        if (rc == MH_OK && plus)
            rc = exchange_step(x, err);
    }
    s->hides_plus = false;
    imap_wire_unlock(s);
    if (rc)
        return rc;
    if (x->cmd->status == MH_ST_OK)
        return imap_sasl_finish(&x->sasl, err);
    rc = imap_cmd_refused(x->cmd, MH_EAUTH, err);
    bool is_oauth = x->sasl.mech == IMAP_MECH_XOAUTH2 || x->sasl.mech == IMAP_MECH_OAUTHBEARER;
    if (rc == MH_EAUTH && is_oauth && err)
        token_refused(&x->sasl, err);
    return rc;
}

static int run_sasl(struct login *l, enum imap_mech mech, struct mh_err *err)
{
    struct exchange x = {.l = l, .raw = MH_BUF_INIT, .text = MH_BUF_INIT};
    imap_sasl_init(&x.sasl, mech);
    x.sasl.authcid = l->authcid;
    x.sasl.authzid = l->authzid;
    x.sasl.host = l->ep->host;
    x.sasl.port = l->ep->port;
    x.sasl.secret = l->secret;
    size_t room = l->secret->len + strlen(l->authcid) + strlen(l->authzid) + 512;
    make_room(&x.raw, room);
    make_room(&x.text, room * 4 / 3 + 16);
    int rc = imap_cmd_start(l->s, "AUTHENTICATE ", &x.cmd, err);
    if (rc == MH_OK) {
        mh_cmd_raw(&x.cmd->text, imap_mech_name(mech));
        rc = exchange_run(&x, err);
    }
    imap_cmd_done(x.cmd);
    imap_sasl_done(&x.sasl);
    mh_secret_wipe(&x.raw);
    mh_secret_wipe(&x.text);
    return rc;
}

/* The LOGIN command: the password as quoted string where it can be one (RFC 9051 section 9), else
 * as literal. It never enters the command's text. */
static bool quote_password(const struct mh_buf *secret, struct mh_buf *out)
{
    mh_buf_addc(out, '"');
    for (size_t i = 0; i < secret->len; i++) {
        unsigned char c = (unsigned char)secret->data[i];
        if (c < 0x20 || c > 0x7e)
            return false;
        if (c == '"' || c == '\\')
            mh_buf_addc(out, '\\');
        mh_buf_addc(out, (char)c);
    }
    mh_buf_addc(out, '"');
    return true;
}

static int send_login(struct login *l, struct imap_cmd *cmd, struct mh_buf *quoted,
                      struct mh_err *err)
{
    struct mh_session *s = l->s;
    mh_cmd_raw(&cmd->text, " ");
    mh_cmd_string(&cmd->text, l->authcid, strlen(l->authcid));
    mh_cmd_raw(&cmd->text, " ");
    bool is_quoted = quote_password(l->secret, quoted) && cmd->text.n_breaks == 0;
    if (!is_quoted && cmd->text.n_breaks > 0)
        return mh_err_set(err, MH_EAUTH, "imap",
                          "this user name cannot be sent with LOGIN: use auth=plain");
    bool plus = cmd->text.literals != MH_LITERAL_SYNC && l->secret->len <= 4096;
    if (!is_quoted)
        mh_cmd_rawf(&cmd->text, "{%zu%s}", l->secret->len, plus ? "+" : "");
    if (cmd->text.failed || mh_buf_failed(quoted))
        return mh_err_set(err, MH_EAUTH, "imap", "this user name cannot be sent");
    imap_cmd_launch(cmd);
    cmd->is_sent = true;
    if (is_quoted)
        return imap_write_secret(s, cmd->text.text.data, quoted, err);
    mh_cmd_end(&cmd->text);
    int rc = imap_write(s, cmd->text.text.data, cmd->text.text.len, err);
    bool may_send = true;
    if (rc == MH_OK && !plus)
        rc = imap_wait_plus(s, cmd, &may_send, err);
    if (rc || !may_send)
        return rc;
    return imap_write_secret(s, "", l->secret, err);
}

static int run_login(struct login *l, struct mh_err *err)
{
    struct mh_buf quoted = MH_BUF_INIT;
    make_room(&quoted, 2 * l->secret->len + 16);
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(l->s, "LOGIN", &cmd, err);
    if (rc == MH_OK)
        rc = imap_wire_lock(l->s, err);
    if (rc == MH_OK) {
        rc = send_login(l, cmd, &quoted, err);
        imap_wire_unlock(l->s);
        if (rc == MH_OK)
            rc = imap_cmd_wait(cmd, err);
        l->s->counters.round_trips++;
        if (rc == MH_OK && cmd->status != MH_ST_OK)
            rc = imap_cmd_refused(cmd, MH_EAUTH, err);
    }
    imap_cmd_done(cmd);
    mh_secret_wipe(&quoted);
    return rc;
}

/* --- which mechanism -------------------------------------------------------------------------- */

static const struct {
    enum imap_mech mech;
    enum imap_cap cap;
    enum mh_auth auth; /* which setting asks for it by name */
    bool in_any;
} mechs[] = {
    {IMAP_MECH_SCRAM_SHA_256, IMAP_CAP_AUTH_SCRAM_SHA_256, MH_AUTH_SCRAM, true},
    {IMAP_MECH_SCRAM_SHA_1, IMAP_CAP_AUTH_SCRAM_SHA_1, MH_AUTH_SCRAM, true},
    {IMAP_MECH_PLAIN, IMAP_CAP_AUTH_PLAIN, MH_AUTH_PLAIN, true},
    {IMAP_MECH_XOAUTH2, IMAP_CAP_AUTH_XOAUTH2, MH_AUTH_XOAUTH2, false},
    {IMAP_MECH_OAUTHBEARER, IMAP_CAP_AUTH_OAUTHBEARER, MH_AUTH_OAUTHBEARER, false},
};

static bool can_login_command(const struct login *l)
{
    bool wanted = l->ep->auth == MH_AUTH_ANY || l->ep->auth == MH_AUTH_LOGIN;
    return wanted && !l->authzid[0] && !imap_has(&l->s->capset, IMAP_CAP_LOGINDISABLED);
}

/* The best mechanism that both sides have, weaker than SCRAM if NO_SCRAM; false: none. */
static bool choose(const struct login *l, bool no_scram, enum imap_mech *out)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(mechs); i++) {
        bool is_scram = mechs[i].auth == MH_AUTH_SCRAM;
        bool wanted =
            l->ep->auth == mechs[i].auth || (l->ep->auth == MH_AUTH_ANY && mechs[i].in_any);
        if (wanted && !(is_scram && no_scram) && imap_has(&l->s->capset, mechs[i].cap)) {
            *out = mechs[i].mech;
            return true;
        }
    }
    *out = IMAP_MECH_LOGIN;
    return can_login_command(l);
}

static int no_mechanism(const struct login *l, struct mh_err *err)
{
    if (l->ep->auth == MH_AUTH_ANY && l->authzid[0])
        return mh_err_set(err, MH_EAUTH, "imap",
                          "the server has no mechanism that logs in on behalf of another user (it "
                          "announces: %.200s)",
                          l->s->capset.text);
    return mh_err_set(err, MH_EAUTH, "imap",
                      "the server offers no login of the kind that was asked for%s (it announces: "
                      "%.200s)",
                      imap_has(&l->s->capset, IMAP_CAP_LOGINDISABLED) ? ", and forbids LOGIN" : "",
                      l->s->capset.text);
}

static int try_mech(struct login *l, enum imap_mech mech, struct mh_err *err)
{
    int rc = mech == IMAP_MECH_LOGIN ? run_login(l, err) : run_sasl(l, mech, err);
    mh_log(&l->s->log, MH_LOG_DEBUG, "login by %s: %s", imap_mech_name(mech), mh_code_name(rc));
    return rc;
}

/* A server may keep some passwords in a form that SCRAM cannot use: one more try with the password
 * itself, where the connection is encrypted, and never behind a failed proof of the server's. */
static bool may_try_again(const struct login *l, enum imap_mech mech, int rc,
                          const struct mh_err *err)
{
    bool was_scram = mech == IMAP_MECH_SCRAM_SHA_256 || mech == IMAP_MECH_SCRAM_SHA_1;
    bool is_impostor = err && err->reason && strcmp(err->reason, "impostor") == 0;
    return rc == MH_EAUTH && was_scram && !is_impostor && l->ep->auth == MH_AUTH_ANY &&
           !l->s->is_dead && mh_conn_info(l->s->conn)->tls;
}

/* Dovecot 2.3 has no SCRAM for one who logs in on another's behalf: it answers [UNAVAILABLE],
 * whatever the password. Behind TLS the password itself is as good. */
static bool avoids_scram(const struct login *l)
{
    return l->ep->auth == MH_AUTH_ANY && l->ep->admin_user && mh_conn_info(l->s->conn)->tls;
}

static int authenticate(struct login *l, struct mh_err *err)
{
    enum imap_mech mech;
    bool has_other = avoids_scram(l) && choose(l, true, &mech);
    if (!has_other && !choose(l, false, &mech))
        return no_mechanism(l, err);
    l->s->capset.is_known = false; /* what holds before the login need not hold behind it */
    int rc = try_mech(l, mech, err);
    if (may_try_again(l, mech, rc, err) && choose(l, true, &mech))
        rc = try_mech(l, mech, err);
    if (rc == MH_EAUTH && err)
        mh_err_at(err, "login as %s", l->authcid);
    return rc;
}

static int who_logs_in(struct login *l, struct mh_err *err)
{
    const struct mh_endpoint *ep = l->ep;
    const char *user = ep->user ? ep->user : "";
    l->authzid = "";
    if (ep->admin_user && ep->admin_by_name) {
        l->authcid = mh_asprintf("%s*%s", user, ep->admin_user);
    } else if (ep->admin_user) {
        l->authcid = mh_strdup(ep->admin_user);
        l->authzid = user;
    } else {
        l->authcid = mh_strdup(user);
    }
    return l->authcid ? MH_OK : mh_err_nomem(err);
}

/* --- behind the login ------------------------------------------------------------------------- */

static bool take_id(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct mh_session *s = cmd->s;
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "ID"))
        return false;
    for (unsigned i = 1; i + 1 < ev->n_vals && ev->vals[0].kind == MH_VAL_LIST; i += 2) {
        const struct mh_val *value = &ev->vals[i + 1];
        if (!imap_val_is(&ev->vals[i], "name") || value->kind != MH_VAL_STRING)
            continue;
        struct mh_buf name = MH_BUF_INIT;
        mh_buf_add_printable(&name, value->s, value->len);
        size_t n = MH_MIN(name.len, sizeof s->id_name - 1);
        memcpy(s->id_name, mh_buf_str(&name), n);
        s->id_name[n] = '\0';
        mh_buf_done(&name);
    }
    return true;
}

static int start_id(struct mh_session *s, struct imap_cmd **out, struct mh_err *err)
{
    if (!imap_has(&s->capset, IMAP_CAP_ID))
        return MH_OK;
    int rc =
        imap_cmd_start(s, "ID (\"name\" \"mailhaul\" \"version\" \"" MH_VERSION "\")", out, err);
    if (rc == MH_OK) {
        (*out)->untagged = take_id;
        rc = imap_cmd_send(*out, err);
    }
    return rc;
}

/*
 * UTF8=ACCEPT (RFC 6855) is enabled at sources, where it costs no round trip and keeps a server
 * from showing a downgraded form (RFC 6858) of a message with 8-bit headers: Courier 5.0 wraps
 * those into a message of its own when they are fetched as RFC822. At a target it would be a loss:
 * the plain forms of APPEND and of names keep every byte there, while section 4 wants to be told
 * before the first octet whether a header has 8-bit bytes, which a stream cannot know. Courier
 * takes the plain forms all the same, and its mail is read back by `verify`, so it is asked at both
 * sides.
 */
static int start_utf8(struct mh_session *s, struct imap_cmd **out, struct mh_err *err)
{
    bool is_wanted = s->env.is_source || s->names.family == IMAP_COURIER;
    if (!is_wanted || !imap_has(&s->capset, IMAP_CAP_UTF8_ACCEPT))
        return MH_OK;
    int rc = imap_cmd_start(s, "ENABLE UTF8=ACCEPT", out, err);
    return rc ? rc : imap_cmd_send(*out, err);
}

/* RFC 5161: what ENABLED does not name is not on. */
static bool take_enabled(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "ENABLED"))
        return false;
    for (unsigned i = 0; i < ev->n_vals; i = ev->vals[i].next)
        cmd->s->asks_vanished = cmd->s->asks_vanished || imap_val_is(&ev->vals[i], "QRESYNC");
    return true;
}

/* UTF8=ACCEPT is *OUT's, QRESYNC (RFC 7162) goes behind it: all that was sent before is answered before,
 * so waiting for it here costs nothing. */
static int start_enable(struct mh_session *s, struct imap_cmd **out, struct mh_err *err)
{
    struct imap_cmd *qresync = NULL;
    if (!imap_has(&s->capset, IMAP_CAP_ENABLE))
        return MH_OK;
    int rc = start_utf8(s, out, err);
    if (rc || !imap_has(&s->capset, IMAP_CAP_QRESYNC))
        return rc;
    rc = imap_cmd_start(s, "ENABLE QRESYNC", &qresync, err);
    if (rc == MH_OK) {
        qresync->untagged = take_enabled;
        rc = imap_cmd_send(qresync, err);
    }
    if (rc == MH_OK)
        rc = imap_cmd_wait(qresync, err);
    imap_cmd_done(qresync);
    return rc;
}

static int wait_for(struct imap_cmd *cmd, bool *ok_out, struct mh_err *err)
{
    *ok_out = false;
    if (!cmd)
        return MH_OK;
    int rc = imap_cmd_wait(cmd, err);
    *ok_out = rc == MH_OK && cmd->status == MH_ST_OK;
    return rc;
}

/* By its ID, its greeting (which STARTTLS makes us forget), or a capability that no other has. */
static void learn_family(struct mh_session *s)
{
    s->names.family = imap_family_of(s->id_name);
    if (s->names.family == IMAP_ANY)
        s->names.family = imap_family_of(s->greeting_text);
    if (s->names.family == IMAP_ANY && strstr(s->capset.text, "ACL2=UNION"))
        s->names.family = IMAP_COURIER;
}

static void learn_names(struct mh_session *s)
{
    learn_family(s);
    bool is_rev2_alone =
        imap_has(&s->capset, IMAP_CAP_IMAP4REV2) && !imap_has(&s->capset, IMAP_CAP_IMAP4REV1);
    s->names.utf8 = s->utf8_enabled || is_rev2_alone;
}

/* ID, NAMESPACE and ENABLE go out together; with CAPABILITY in front where the login did not tell.
 */
static int after_login(struct mh_session *s, struct mh_err *err)
{
    struct imap_cmd *caps = NULL;
    struct imap_cmd *id = NULL;
    struct imap_cmd *ns = NULL;
    struct imap_cmd *enable = NULL;
    bool ok = false;
    int rc = MH_OK;
    int64_t asked_ms = mh_now_ms();
    learn_family(s);
    if (!s->capset.is_known) {
        rc = imap_cmd_start(s, "CAPABILITY", &caps, err);
        if (rc == MH_OK)
            rc = imap_cmd_send(caps, err);
    }
    if (rc == MH_OK)
        rc = start_id(s, &id, err);
    if (rc == MH_OK)
        rc = imap_namespace_start(s, &ns, err);
    if (rc == MH_OK)
        rc = start_enable(s, &enable, err);
    if (rc == MH_OK)
        rc = wait_for(caps, &ok, err);
    if (rc == MH_OK)
        rc = wait_for(id, &ok, err);
    if (rc == MH_OK)
        rc = wait_for(ns, &ok, err);
    if (rc == MH_OK)
        rc = wait_for(enable, &s->utf8_enabled, err);
    s->counters.round_trips++;
    s->round_trip_ms = mh_now_ms() - asked_ms;
    imap_cmd_done(caps);
    imap_cmd_done(id);
    imap_cmd_done(ns);
    imap_cmd_done(enable);
    learn_names(s);
    return rc;
}

/* RFC 4978. A server that refuses stays uncompressed. */
static int start_compress(struct mh_session *s, struct mh_err *err)
{
    if (!s->env.compress || !imap_has(&s->capset, IMAP_CAP_COMPRESS))
        return MH_OK;
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(s, "COMPRESS DEFLATE", &cmd, err);
    if (rc)
        return rc;
    s->stops_reading = true;
    rc = imap_cmd_send(cmd, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(cmd, err);
    s->stops_reading = false;
    s->counters.round_trips++;
    if (rc == MH_OK && cmd->status == MH_ST_OK) {
        rc = mh_conn_start_deflate(s->conn, err);
        s->is_compressed = rc == MH_OK;
    } else if (rc == MH_OK) {
        s->capset.bits &= ~(1ull << IMAP_CAP_COMPRESS); /* said, and not meant */
    }
    imap_cmd_done(cmd);
    return rc;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int reach_login(struct login *l, struct mh_err *err)
{
    struct mh_session *s = l->s;
    bool is_tls = mh_conn_info(s->conn)->tls;
    if (s->greeting_status == MH_ST_PREAUTH && !is_tls)
        return mh_err_set(err, MH_EMAILBOX, "imap",
                          "the server says that we are logged in before we could ask for TLS: this "
                          "is how an attack looks, nothing was sent");
    if (l->ep->tls == MH_TLS_STARTTLS) {
        int rc = start_tls(s, err);
        if (rc)
            return rc;
    }
    if (!s->capset.is_known) {
        int rc = ask_capabilities(s, err);
        if (rc)
            return rc;
    }
    if (s->greeting_status == MH_ST_PREAUTH)
        return MH_OK;
    int rc = who_logs_in(l, err);
    return rc ? rc : authenticate(l, err);
}

int imap_login(struct mh_session *s, const struct mh_endpoint *ep, const struct mh_buf *secret,
               struct mh_err *err)
{
    struct login l = {.s = s, .ep = ep, .authzid = "", .secret = secret};
    int rc = reach_login(&l, err);
    mh_free(l.authcid);
    if (rc)
        return rc;
    s->is_logged_in = true;
    mh_resp_set_line_max(s->resp, MH_IMAP_LINE_MAX_BYTES);
    rc = after_login(s, err);
    if (rc == MH_OK)
        rc = start_compress(s, err);
    if (rc)
        return rc;
    imap_caps_fill(s);
    mh_log(&s->log, MH_LOG_DEBUG, "%s: ready after %u round trips behind the greeting",
           s->caps.server_name, s->counters.round_trips);
    return MH_OK;
}
