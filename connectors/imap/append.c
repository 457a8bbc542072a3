/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Appending.
 *
 * A batch is one APPEND command: with MULTIAPPEND (RFC 3502) all messages from a begin up to the
 * cut, without it one message. Batches are written one behind the other, their answers come later:
 *
 *     begin ── data… ── end ─┬─ begin … (the same command)
 *                            └─ cut: the line end; verdicts come with the answer
 *
 * With LITERAL+ (RFC 7888) nothing waits for the server. With a synchronising literal begin waits
 * for `+`; a NO instead of it ends the command before the bytes are sent: what can be said about
 * the message is then begin's answer, or its bytes are swallowed and the verdict comes behind its
 * end. A server may refuse a batch early, while it is still being written: what is left of the
 * message is sent all the same, because the server counts the octets of the literal, and the
 * command is ended there.
 *
 * Every begin that succeeded gets exactly one verdict, and never before its message was ended,
 * except by close().
 */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* A folder that was missing and has been made: try again so soon. */
enum { CREATED_RETRY_MS = 100 };

/* The dates that servers keep. Measured: before 1970 Cyrus 3.6.1 and Courier 5.0 refuse the message
 * and Dovecot 2.3.19 forgets the sign (it shows 2106); at the very start of 1970 Cyrus and Courier
 * put the present time; Cyrus begins anew behind 32 bits. */
#define DATE_LAST_S ((int64_t)UINT32_MAX)
enum { DAY_S = 86400 };

struct imap_batch {
    struct imap_batch *next;     /* spare ones */
    struct imap_cmd *cmd;        /* ours until the batch is finished */
    struct mh_append_sink *sink; /* borrowed */
    uint64_t *cookies;           /* owned */
    size_t n, cap;               /* messages whose begin succeeded */
    size_t told;                 /* of them have their verdict */
    bool begins;                 /* one more is on its way into the command */
    bool is_ended;               /* its line end was written */
    bool is_refused;             /* answered before that; WHY says what for */
    struct mh_err why;
};

/* --- batches ---------------------------------------------------------------------------------- */

static struct imap_batch *batch_get(struct mh_session *s)
{
    struct imap_batch *b = s->append.spare;
    if (!b)
        return mh_zalloc(sizeof *b);
    s->append.spare = b->next;
    *b = (struct imap_batch){.cookies = b->cookies, .cap = b->cap};
    return b;
}

/* All its verdicts were given. */
static void batch_finish(struct mh_session *s, struct imap_batch *b)
{
    mh_assert(b->told == b->n && s->append.due > 0);
    if (s->append.open == b)
        s->append.open = NULL;
    imap_cmd_done(b->cmd);
    b->cmd = NULL;
    b->next = s->append.spare;
    s->append.spare = b;
    if (--s->append.due == 0)
        mh_wake_all(&s->append.flushed);
}

/* --- verdicts --------------------------------------------------------------------------------- */

static void tell(struct imap_batch *b, uint64_t uid, uint32_t uidvalidity, const struct mh_err *why)
{
    b->sink->done(b->sink, b->cookies[b->told++], uid, uidvalidity, why);
}

static int count_range(void *ctx, uint32_t lo, uint32_t hi)
{
    uint64_t *n = ctx;
    *n += (uint64_t)hi - lo + 1;
    return MH_OK;
}

bool imap_appenduid_parse(const char *args, size_t len, size_t n, struct imap_appenduid *out)
{
    const char *blank = memchr(args, ' ', len);
    uint64_t validity = 0;
    uint64_t count = 0;
    struct mh_err err;
    if (!blank || !mh_parse_u64(args, (size_t)(blank - args), UINT32_MAX, &validity))
        return false;
    out->uidvalidity = (uint32_t)validity;
    out->set = blank + 1;
    out->set_len = len - (size_t)(out->set - args);
    return mh_uid_set_parse(out->set, out->set_len, count_range, &count, &err) == MH_OK &&
           count == n;
}

struct stored {
    struct imap_batch *b;
    uint32_t uidvalidity;
};

static int tell_range(void *ctx, uint32_t lo, uint32_t hi)
{
    struct stored *st = ctx;
    for (uint64_t uid = lo; uid <= hi; uid++)
        tell(st->b, uid, st->uidvalidity, NULL);
    return MH_OK;
}

/* The UIDs are in the order of the messages (RFC 4315 section 3). A set whose count is not ours
 * says nothing about any of them. */
static void tell_stored(struct mh_session *s, struct imap_batch *b, const struct mh_resp_event *ev)
{
    struct imap_appenduid where;
    struct stored st = {.b = b};
    struct mh_err err;
    size_t len = 0;
    const char *args = imap_code_args(ev->code, ev->code_len, &len);
    s->selected.has_changed = true;
    if (imap_code_is(ev->code, ev->code_len, "APPENDUID") &&
        imap_appenduid_parse(args, len, b->n, &where)) {
        st.uidvalidity = where.uidvalidity;
        if (mh_uid_set_parse(where.set, where.set_len, tell_range, &st, &err) == MH_OK)
            return;
    }
    while (b->told < b->n)
        tell(b, 0, 0, NULL);
}

/* The verdict WHY for those whose end was said. */
static void tell_refused(struct mh_session *s, struct imap_batch *b)
{
    size_t complete = b->n - (s->append.open == b && s->append.in_message ? 1 : 0);
    while (b->told < complete)
        tell(b, 0, 0, &b->why);
}

static void judge(struct mh_session *s, struct imap_batch *b, const struct mh_resp_event *ev)
{
    struct imap_refusal r = imap_refusal_of(ev->code, ev->code_len, ev->text, ev->text_len);
    bool is_alone = b->n + b->begins == 1;
    bool must_create = r.code == MH_ENOENT && !s->append.has_created;
    int code = r.code == MH_ELATER || must_create ? MH_ELATER : is_alone ? MH_EITEM : MH_ESPLIT;
    (void)imap_refused(code, is_alone ? "the message" : "a batch of messages", ev->code,
                       ev->code_len, ev->text, ev->text_len, &b->why);
    if (must_create) {
        s->append.must_create = true;
        b->why.retry_after_ms = CREATED_RETRY_MS;
    }
}

/* The tagged answer, or (EV NULL) the connection's end. Runs where responses are read. */
static void answered(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct imap_batch *b = cmd->ctx;
    struct mh_session *s = cmd->s;
    if (ev && ev->status == MH_ST_OK && b->is_ended) {
        tell_stored(s, b, ev);
        batch_finish(s, b);
        return;
    }
    b->is_refused = true;
    if (!ev) {
        b->why = s->death;
        b->why.code = MH_ERETRY;
    } else if (ev->status == MH_ST_OK) {
        (void)mh_err_set(&b->why, MH_ERETRY, "imap",
                         "the server says that it stored what was not sent yet");
        imap_session_fail(s, &b->why);
    } else {
        judge(s, b, ev);
    }
    tell_refused(s, b);
    if (b->is_ended)
        batch_finish(s, b);
}

/* --- batches on the wire ---------------------------------------------------------------------- */

/* The open batch's line end: it goes in flight, or away if it was refused already. With the wire
 * held. waits */
int imap_append_cut_open(struct mh_session *s, struct mh_err *err)
{
    struct imap_batch *b = s->append.open;
    mh_assert(b && !s->append.in_message);
    int rc = imap_write(s, "\r\n", 2, err);
    b->is_ended = true;
    s->append.open = NULL;
    if (b->is_refused)
        batch_finish(s, b);
    else
        b->cmd->is_sent = true;
    return rc;
}

static int cut(struct mh_session *s, struct mh_err *err)
{
    if (!s->append.open)
        return MH_OK;
    int rc = imap_wire_lock(s, err); /* cuts */
    if (rc == MH_OK)
        imap_wire_unlock(s);
    return rc;
}

/* The folder was not there: made once, so that the next batch finds it. A refusal is no error here:
 * the next append will be refused in its own words. */
static int make_folder(struct mh_session *s, struct mh_err *err)
{
    struct mh_err why;
    s->append.must_create = false;
    s->append.has_created = true;
    int rc = imap_folder_make(s, s->append.native, &why);
    if (rc == MH_OK || rc == MH_EFOLDER)
        return MH_OK;
    if (err)
        *err = why;
    return rc;
}

/* A new command, of which nothing is written yet. */
static int batch_open(struct mh_session *s, struct mh_err *err)
{
    struct imap_batch *b = batch_get(s);
    if (!b)
        return mh_err_nomem(err);
    s->append.open = b;
    s->append.due++;
    b->sink = s->append.sink;
    int rc = imap_cmd_start(s, "APPEND ", &b->cmd, err);
    if (rc) {
        batch_finish(s, b);
        return rc;
    }
    b->cmd->ctx = b;
    b->cmd->answered = answered;
    mh_cmd_string(&b->cmd->text, s->append.native, strlen(s->append.native));
    return MH_OK;
}

/* --- one message ------------------------------------------------------------------------------ */

/* The nearest date that the server keeps. Its zone must not lead back into 1969 either. */
static struct mh_date kept_date(const struct mh_session *s, struct mh_date date)
{
    int64_t first_s = s->names.family == IMAP_DOVECOT ? 0 : 1;
    int64_t kept_s = MH_MIN(MH_MAX(date.unix_s, first_s), DATE_LAST_S);
    if (kept_s != date.unix_s || kept_s < DAY_S)
        date.zone_min = 0;
    date.unix_s = kept_s;
    return date;
}

/* The framing in front of the octets, into the open batch's text. */
static int make_part(struct mh_session *s, const struct mh_append *msg, bool *sync_out,
                     struct mh_err *err)
{
    struct mh_cmd *text = &s->append.open->cmd->text;
    struct mh_buf *flags = &s->append.flags;
    char date[27] = "";
    mh_buf_reset(flags);
    imap_flags_add(s, msg->flags, msg->keywords, flags);
    if (msg->date.is_set) {
        const struct mh_date kept = kept_date(s, msg->date);
        mh_date_format_imap(&kept, date);
    }
    mh_cmd_append_part(text, mh_buf_str(flags), date, msg->octets, sync_out);
    if (mh_buf_failed(flags) || mh_buf_failed(&text->text))
        return mh_err_nomem(err);
    if (!text->failed)
        return MH_OK;
    (void)mh_err_set(err, MH_EITEM, "imap", "the message's flags or date cannot be sent");
    if (err)
        err->reason = "refused";
    return MH_EITEM;
}

/* Writes the framing. *IS_OVER_OUT: the server refused instead of letting the octets in, which
 * ended the command. With the wire held. waits */
static int write_part(struct mh_session *s, struct imap_batch *b, bool sync, bool *is_over_out,
                      struct mh_err *err)
{
    bool may_send = true;
    b->begins = true;
    int rc = imap_cmd_write(b->cmd, &may_send, err);
    if (rc == MH_OK && may_send && sync)
        rc = imap_wait_plus(s, b->cmd, &may_send, err);
    b->begins = false;
    *is_over_out = rc == MH_OK && !may_send;
    return rc;
}

static void enter_message(struct mh_session *s, const struct mh_append *msg)
{
    s->append.in_message = true;
    s->append.task = mh_task_self();
    s->append.left = msg->octets;
    s->append.is_single = msg->octets == 0 || !imap_has(&s->capset, IMAP_CAP_MULTIAPPEND);
}

/* The batch was refused instead of letting in this message. What is known to be the message's own
 * fault is said now; else its verdict comes behind its end, and its bytes go nowhere. */
static int refused_before(struct mh_session *s, struct imap_batch *b, const struct mh_append *msg,
                          struct mh_err *err)
{
    struct mh_err why = b->why;
    bool is_too_big = why.reason && strcmp(why.reason, "too-big") == 0;
    struct mh_append_sink *sink = b->sink;
    b->is_ended = true;
    batch_finish(s, b);
    if (why.code == MH_EITEM || (why.code == MH_ESPLIT && is_too_big)) {
        if (err)
            *err = why;
        if (err)
            err->code = MH_EITEM;
        return MH_EITEM;
    }
    s->append.swallowed = (struct imap_swallowed){sink, msg->cookie, why};
    s->append.is_swallowing = true;
    enter_message(s, msg);
    return MH_OK;
}

/* With the wire held. waits */
static int begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err)
{
    bool is_first = !s->append.open;
    bool is_over = false;
    bool sync = false;
    int rc = is_first ? batch_open(s, err) : MH_OK;
    if (rc)
        return rc;
    struct imap_batch *b = s->append.open;
    mh_assert(b);
    if (!is_first)
        mh_cmd_reset(&b->cmd->text);
    rc = mh_grow(b->cookies, b->cap, b->n + 1) ? MH_OK : mh_err_nomem(err);
    if (rc == MH_OK)
        rc = make_part(s, msg, &sync, err);
    if (rc) {
        if (is_first)
            batch_finish(s, b);
        return rc;
    }
    if (is_first)
        imap_cmd_launch(b->cmd);
    rc = write_part(s, b, sync, &is_over, err);
    if (rc)
        return rc;
    if (is_over)
        return refused_before(s, b, msg, err);
    b->cookies[b->n++] = msg->cookie;
    enter_message(s, msg);
    return MH_OK;
}

/* --- the vtable's functions ------------------------------------------------------------------- */

/* `STATUS mailbox (APPENDLIMIT 257890)`; NIL: none is known. */
static bool take_limit(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct imap_folder_limit *limit = cmd->ctx;
    const struct mh_val *list = imap_val(ev, 1);
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "STATUS") || !list ||
        list->kind != MH_VAL_LIST || list->children < 2 || !imap_val_is(list + 1, "APPENDLIMIT"))
        return false;
    if (list[2].kind == MH_VAL_ATOM)
        limit->is_known = mh_parse_u64(list[2].s, list[2].len, INT64_MAX, &limit->bytes);
    return true;
}

/* A server that announces APPENDLIMIT without a value has one per folder (RFC 7889 section 3). A
 * refusal is no error: the folder may be missing, and the append itself will say so. waits */
static int ask_limit(struct mh_session *s, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    bool is_per_folder = imap_has(&s->capset, IMAP_CAP_APPENDLIMIT) && s->capset.append_limit == 0;
    if (!is_per_folder || s->append.limit.was_asked)
        return MH_OK;
    struct imap_folder_limit limit = {.was_asked = true};
    int rc = imap_cmd_start(s, "STATUS ", &cmd, err);
    if (rc)
        return rc;
    mh_cmd_string(&cmd->text, s->append.native, strlen(s->append.native));
    mh_cmd_raw(&cmd->text, " (APPENDLIMIT)");
    cmd->untagged = take_limit;
    cmd->ctx = &limit;
    rc = imap_cmd_send(cmd, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(cmd, err);
    if (rc == MH_OK && cmd->status == MH_ST_OK)
        s->append.limit = limit;
    imap_cmd_done(cmd);
    return rc;
}

/* What is known of a folder stays known while it is the same one. */
static int set_folder(struct mh_session *s, const char *native, struct mh_err *err)
{
    if (s->append.native && strcmp(s->append.native, native) == 0)
        return MH_OK;
    char *copy = mh_strdup(native);
    if (!copy)
        return mh_err_nomem(err);
    mh_free(s->append.native);
    s->append.native = copy;
    s->append.limit = (struct imap_folder_limit){.was_asked = false};
    return MH_OK;
}

int imap_append_open(struct mh_session *s, const struct mh_folder *folder,
                     struct mh_append_sink *sink, struct mh_err *err)
{
    mh_assert(s->is_dead || !s->append.in_message);
    int rc = imap_session_check(s, err);
    if (rc == MH_OK)
        rc = cut(s, err);
    if (rc == MH_OK)
        rc = set_folder(s, folder->native, err);
    if (rc)
        return rc;
    s->append.sink = sink;
    s->append.must_create = s->append.has_created = false;
    return ask_limit(s, err);
}

static bool limit_of(const struct mh_session *s, uint64_t *out)
{
    bool has_limit = s->append.limit.is_known || s->capset.append_limit > 0;
    *out = s->append.limit.is_known ? s->append.limit.bytes : s->capset.append_limit;
    if (s->max_message && (!has_limit || s->max_message < *out))
        *out = s->max_message;
    return has_limit || s->max_message;
}

static int too_big(const struct mh_session *s, const struct mh_append *msg, struct mh_err *err)
{
    uint64_t limit = 0;
    if (!limit_of(s, &limit) || msg->octets <= limit)
        return MH_OK;
    char size[32];
    char most[32];
    (void)mh_err_set(err, MH_EITEM, "imap", "the message has %s, the target takes %s at most",
                     mh_format_size(msg->octets, size, sizeof size),
                     mh_format_size(limit, most, sizeof most));
    if (err)
        err->reason = "too-big";
    return MH_EITEM;
}

int imap_append_begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err)
{
    mh_assert(s->is_dead || (!s->append.in_message && s->append.native));
    int rc = imap_session_check(s, err);
    if (rc == MH_OK)
        rc = too_big(s, msg, err);
    if (rc == MH_OK && s->append.must_create)
        rc = make_folder(s, err);
    /* No octets inside a batch would mean that the batch is called off (RFC 3502). */
    bool is_spoilt = s->append.open && (s->append.open->is_refused || msg->octets == 0);
    if (rc == MH_OK && is_spoilt)
        rc = cut(s, err);
    if (rc == MH_OK)
        rc = imap_wire_take(s, err);
    if (rc)
        return rc;
    rc = begin(s, msg, err);
    imap_wire_unlock(s);
    return rc;
}

int imap_append_data(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err)
{
    mh_assert(s->append.in_message && slice_take.len <= s->append.left);
    s->append.left -= slice_take.len;
    if (s->is_dead || s->append.is_swallowing) {
        mh_slice_drop(&slice_take);
        return imap_session_check(s, err);
    }
    return imap_write_slice(s, slice_take, err);
}

int imap_append_end(struct mh_session *s, struct mh_err *err)
{
    mh_assert(s->append.in_message && (s->is_dead || s->append.left == 0));
    struct imap_batch *b = s->append.open;
    s->append.in_message = false;
    mh_wake_all(&s->wire);
    if (s->append.is_swallowing) {
        struct imap_swallowed *w = &s->append.swallowed;
        s->append.is_swallowing = false;
        w->sink->done(w->sink, w->cookie, 0, 0, &w->why);
        return imap_session_check(s, err);
    }
    mh_assert(b);
    if (b->is_refused)
        tell_refused(s, b);
    if (s->is_dead)
        batch_finish(s, b);
    int rc = imap_session_check(s, err);
    if (rc == MH_OK && (b->is_refused || s->append.is_single))
        rc = cut(s, err);
    return rc;
}

int imap_append_cut(struct mh_session *s, struct mh_err *err)
{
    mh_assert(s->is_dead || !s->append.in_message);
    int rc = imap_session_check(s, err);
    return rc ? rc : cut(s, err);
}

int imap_append_flush(struct mh_session *s, struct mh_err *err)
{
    int rc = imap_append_cut(s, err);
    while (rc == MH_OK && s->append.due > 0) {
        int code = mh_wait(&s->append.flushed, MH_NEVER);
        rc = imap_session_check(s, err);
        if (rc == MH_OK && code)
            rc = mh_err_set(err, code, "imap", "cancelled");
    }
    return rc;
}

/* The session is dead, so only a message that was not ended is left without a verdict. */
void imap_append_free(struct mh_session *s)
{
    struct imap_batch *b = s->append.open;
    bool was_swallowing = s->append.is_swallowing;
    s->append.in_message = s->append.is_swallowing = false;
    if (was_swallowing) {
        struct imap_swallowed *w = &s->append.swallowed;
        w->why.code = MH_ERETRY;
        w->sink->done(w->sink, w->cookie, 0, 0, &w->why);
    }
    if (b) {
        tell_refused(s, b);
        batch_finish(s, b);
    }
    while (s->append.spare) {
        b = s->append.spare;
        s->append.spare = b->next;
        mh_free(b->cookies);
        mh_free(b);
    }
    mh_buf_done(&s->append.flags);
    mh_free(s->append.native);
}
