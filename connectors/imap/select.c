/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The selected folder: opening it, its messages' metadata, changing flags. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* Sequence numbers per UID SEARCH: the answer, at most 11 characters a number, stays below the cap
 * on one line. */
enum { SEARCH_STEP = 50000 };

/* --- flags in text ---------------------------------------------------------------------------- */

/* Splits blank-separated FLAGS: system flags as bits, the rest blank-separated into KEYWORDS. \* is
 * reported by the return value. */
static bool split_flags(const char *flags, size_t len, uint8_t *bits, struct mh_buf *keywords)
{
    bool has_star = false;
    for (size_t i = 0; i < len;) {
        size_t end = i;
        while (end < len && flags[end] != ' ')
            end++;
        if (end > i && flags[i] == '\\') {
            *bits |= mh_flag_parse(flags + i, end - i);
            has_star = has_star || (end - i == 2 && flags[i + 1] == '*');
        } else if (end > i) {
            if (keywords->len > 0)
                mh_buf_addc(keywords, ' ');
            mh_buf_add(keywords, flags + i, end - i);
        }
        i = end + 1;
    }
    return has_star;
}

/* RFC 9051 flag-keyword: an atom. */
static bool is_keyword(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] <= 0x20 || s[i] > 0x7e || strchr("(){%*\"\\]", s[i]))
            return false;
    }
    return len > 0;
}

void imap_flags_add(struct mh_session *s, uint8_t flags, const char *keywords, struct mh_buf *out)
{
    mh_flags_format(flags, out);
    for (const char *p = keywords ? keywords : ""; *p;) {
        size_t len = strcspn(p, " ");
        if (is_keyword(p, len)) {
            if (out->len > 0)
                mh_buf_addc(out, ' ');
            mh_buf_add(out, p, len);
        } else if (len > 0) {
            s->counters.dropped_keywords++;
        }
        p += len + (p[len] == ' ');
    }
}

/* --- select ----------------------------------------------------------------------------------- */

static void take_flag_list(struct imap_cmd *cmd, const char *flags, size_t len)
{
    struct imap_opening *o = cmd->ctx;
    struct mh_opened *out = &o->s->selected.opened;
    out->flags_ok = 0;
    mh_buf_reset(&o->flags);
    out->keywords_ok = split_flags(flags, len, &out->flags_ok, &o->flags);
    if (mh_buf_failed(&o->flags)) {
        cmd->rc = mh_err_nomem(&cmd->err);
        return;
    }
    size_t n = MH_MIN(o->flags.len, sizeof out->keywords - 1);
    if (n < o->flags.len) /* between two keywords */
        while (n > 0 && o->flags.data[n] != ' ')
            n--;
    if (n > 0)
        memcpy(out->keywords, o->flags.data, n);
    out->keywords[n] = '\0';
}

static void take_number(const struct mh_resp_event *ev, uint64_t max, uint64_t *out)
{
    size_t len = 0;
    const char *args = imap_code_args(ev->code, ev->code_len, &len);
    uint64_t n = 0;
    if (mh_parse_u64(args, len, max, &n))
        *out = n;
}

/* `FLAGS (…)`: holds where PERMANENTFLAGS is not sent (RFC 9051 section 7.1). */
static void take_flags_response(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    const struct imap_opening *o = cmd->ctx;
    const struct mh_val *list = imap_val(ev, 0);
    struct mh_buf text = MH_BUF_INIT;
    if (o->has_permanent || !list || list->kind != MH_VAL_LIST)
        return;
    unsigned i = 1;
    for (unsigned k = 0; k < list->children; k++, i = ev->vals[i].next) {
        if (ev->vals[i].kind != MH_VAL_ATOM)
            continue;
        mh_buf_add(&text, ev->vals[i].s, ev->vals[i].len);
        mh_buf_addc(&text, ' ');
    }
    if (mh_buf_failed(&text))
        cmd->rc = mh_err_nomem(&cmd->err);
    else
        take_flag_list(cmd, mh_buf_str(&text), text.len);
    mh_buf_done(&text);
}

static bool take_opening(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct imap_opening *o = cmd->ctx;
    struct mh_opened *opened = &o->s->selected.opened;
    uint64_t n = 0;
    if (ev->type != MH_RESP_UNTAGGED)
        return false;
    if (mh_resp_is(ev->name, ev->name_len, "FLAGS")) {
        take_flags_response(cmd, ev);
        return true;
    }
    if (imap_code_is(ev->code, ev->code_len, "PERMANENTFLAGS")) {
        size_t len = 0;
        const char *args = imap_code_args(ev->code, ev->code_len, &len);
        if (len >= 2 && args[0] == '(' && args[len - 1] == ')')
            take_flag_list(cmd, args + 1, len - 2);
        o->has_permanent = true;
    } else if (imap_code_is(ev->code, ev->code_len, "UIDVALIDITY")) {
        take_number(ev, UINT32_MAX, &n);
        opened->uidvalidity = (uint32_t)n;
    } else if (imap_code_is(ev->code, ev->code_len, "UIDNEXT")) {
        take_number(ev, (uint64_t)UINT32_MAX + 1, &opened->uidnext);
    } else if (imap_code_is(ev->code, ev->code_len, "HIGHESTMODSEQ")) {
        take_number(ev, INT64_MAX, &opened->highestmodseq);
    } else if (imap_code_is(ev->code, ev->code_len, "NOMODSEQ")) {
        o->has_no_modseq = true;
    }
    return ev->status == MH_ST_OK || mh_resp_is(ev->name, ev->name_len, "EXISTS") ||
           mh_resp_is(ev->name, ev->name_len, "RECENT");
}

/* A second select of the same folder costs nothing for a moment, unless something is known to have
 * changed there. What others changed meanwhile is seen by the next scan(), which asks. */
static bool is_selected(const struct mh_session *s, const char *native, bool for_write)
{
    const struct imap_selected *sel = &s->selected;
    return sel->native && strcmp(sel->native, native) == 0 && sel->for_write == for_write &&
           sel->access != IMAP_ACCESS_NONE && !sel->has_changed &&
           mh_now_ms() - sel->at_ms < IMAP_SELECT_FRESH_MS;
}

static bool take_uidnext(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct imap_opening *o = cmd->ctx;
    const struct mh_val *list = imap_val(ev, 1);
    uint64_t n = 0;
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "STATUS") || !list ||
        list->kind != MH_VAL_LIST)
        return false;
    if (list->children >= 2 && imap_val_is(list + 1, "UIDNEXT") && list[2].kind == MH_VAL_ATOM &&
        mh_parse_u64(list[2].s, list[2].len, (uint64_t)UINT32_MAX + 1, &n))
        o->uidnext = n;
    return true;
}

static int start_status(struct imap_opening *o, const char *native, struct mh_err *err)
{
    int rc = imap_cmd_start(o->s, "STATUS ", &o->status, err);
    if (rc)
        return rc;
    mh_cmd_string(&o->status->text, native, strlen(native));
    mh_cmd_raw(&o->status->text, " (UIDNEXT)");
    o->status->untagged = take_uidnext;
    o->status->ctx = o;
    return imap_cmd_send(o->status, err);
}

static bool is_missing(const struct imap_cmd *cmd)
{
    size_t code_len = strlen(cmd->code);
    const char *code = code_len ? cmd->code : NULL;
    return imap_refusal_of(code, code_len, cmd->reply, strlen(cmd->reply)).code == MH_ENOENT;
}

/* Whoever waits for the answer may hear more of the folder before it wakes up. */
static void opened(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct imap_opening *o = cmd->ctx;
    struct imap_selected *sel = &o->s->selected;
    if (!ev || ev->status != MH_ST_OK)
        return;
    if (sel->opened.uidnext == 0)
        sel->opened.uidnext = o->uidnext;
    sel->has_changed = false;
    sel->has_no_modseq = o->has_no_modseq;
    o->at_open = sel->opened;
    o->is_open = true;
}

/* With STATUS in front where SELECT alone does not tell the next UID (Courier). */
static int send_select(struct imap_opening *o, const char *native, bool for_write,
                       struct mh_err *err)
{
    struct mh_session *s = o->s;
    int rc = s->asks_uidnext ? start_status(o, native, err) : MH_OK;
    if (rc == MH_OK)
        rc = imap_cmd_start(s, for_write ? "SELECT " : "EXAMINE ", &o->cmd, err);
    if (rc)
        return rc;
    mh_cmd_string(&o->cmd->text, native, strlen(native));
    if (s->caps.condstore)
        mh_cmd_raw(&o->cmd->text, " (CONDSTORE)");
    o->cmd->untagged = take_opening;
    o->cmd->answered = opened;
    o->cmd->ctx = o;
    return imap_cmd_send(o->cmd, err);
}

static int wait_select(struct imap_opening *o, const char *native, struct mh_err *err)
{
    struct mh_session *s = o->s;
    struct mh_opened *now = &s->selected.opened;
    int rc = imap_cmd_wait(o->cmd, err);
    if (rc == MH_OK && o->cmd->status != MH_ST_OK)
        rc = imap_cmd_refused(o->cmd, is_missing(o->cmd) ? MH_ENOENT : MH_EFOLDER, err);
    if (rc == MH_OK && now->uidnext == 0 && !s->asks_uidnext) {
        s->asks_uidnext = true;
        rc = start_status(o, native, err);
        if (rc == MH_OK)
            rc = imap_cmd_wait(o->status, err);
        now->uidnext = o->at_open.uidnext = o->uidnext;
    }
    return rc;
}

static void opening_done(struct imap_opening *o)
{
    imap_cmd_done(mh_take(o->status));
    imap_cmd_done(mh_take(o->cmd));
    mh_buf_done(&o->flags);
    mh_free(mh_take(o->native));
}

int imap_open_begin(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                    struct imap_opening *o, struct mh_err *err)
{
    struct imap_selected *sel = &s->selected;
    *o = (struct imap_opening){.s = s, .for_write = for_write, .flags = MH_BUF_INIT};
    mh_free(sel->native);
    *sel = (struct imap_selected){.native = NULL};
    o->native = mh_strdup(folder->native);
    if (!o->native)
        return mh_err_nomem(err);
    int rc = send_select(o, o->native, for_write, err);
    if (rc) {
        mh_err_at(err, "folder %s", folder->path);
        opening_done(o);
    }
    return rc;
}

int imap_open_end(struct imap_opening *o, const struct mh_folder *folder, struct mh_err *err)
{
    struct imap_selected *sel = &o->s->selected;
    int rc = wait_select(o, o->native, err);
    if (rc == MH_OK) {
        sel->native = mh_take(o->native);
        sel->for_write = o->for_write;
        sel->access = o->for_write ? IMAP_ACCESS_WRITE : IMAP_ACCESS_READ;
        sel->at_ms = mh_now_ms();
        sel->was_used = false;
    } else {
        mh_err_at(err, "folder %s", folder->path);
    }
    opening_done(o);
    return rc;
}

int imap_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                struct mh_opened *out, struct mh_err *err)
{
    struct imap_selected *sel = &s->selected;
    struct imap_opening o;
    int rc = imap_session_check(s, err);
    if (rc)
        return rc;
    if (is_selected(s, folder->native, for_write)) {
        sel->was_used = true;
        *out = sel->opened;
        return MH_OK;
    }
    rc = imap_open_begin(s, folder, for_write, &o, err);
    if (rc == MH_OK)
        rc = imap_open_end(&o, folder, err);
    if (rc == MH_OK)
        *out = o.at_open;
    return rc;
}

int imap_reopen(struct mh_session *s, enum imap_access wanted, struct mh_err *err)
{
    struct imap_selected *sel = &s->selected;
    mh_assert(s->is_dead || sel->native);
    int rc = imap_session_check(s, err);
    bool is_open = wanted == IMAP_ACCESS_NONE ? sel->access != wanted : sel->access == wanted;
    if (rc || is_open)
        return rc;
    if (wanted == IMAP_ACCESS_NONE)
        wanted = sel->for_write ? IMAP_ACCESS_WRITE : IMAP_ACCESS_READ;
    const struct mh_opened before = sel->opened;
    bool had_changed = sel->has_changed;
    sel->access = IMAP_ACCESS_NONE;
    sel->opened = (struct mh_opened){.uidvalidity = 0};
    struct imap_opening o = {.s = s, .flags = MH_BUF_INIT};
    rc = send_select(&o, sel->native, wanted == IMAP_ACCESS_WRITE, err);
    if (rc == MH_OK)
        rc = wait_select(&o, sel->native, err);
    opening_done(&o);
    bool is_same = rc == MH_OK && sel->opened.uidvalidity == before.uidvalidity;
    if (is_same) {
        sel->access = wanted;
        sel->has_changed = sel->has_changed || had_changed ||
                           sel->opened.messages != before.messages ||
                           sel->opened.uidnext != before.uidnext;
        return MH_OK;
    }
    sel->opened = before; /* what the caller was told stays what it was */
    if (rc == MH_OK)
        return mh_err_set(err, MH_EFOLDER, "imap", "the folder was made anew meanwhile");
    if (rc == MH_ENOENT) { /* it was there before */
        rc = MH_EFOLDER;
        if (err)
            err->code = rc;
    }
    return rc;
}

/* --- scan ------------------------------------------------------------------------------------- */

struct scanning {
    struct mh_scan *out;
    uint64_t from;
    const uint64_t *asked; /* borrowed: those of the command, ascending; NULL: all of them */
    size_t n_asked;
    bool may_lack; /* a refusal is no error: what the server cannot describe is missing */
    struct mh_buf keywords;
    uint64_t *uids; /* owned: what SEARCH found beyond the list */
    size_t n_uids, cap_uids;
};

static int uid_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* EMAILID (RFC 8474), or what Gmail has in its place. */
static uint64_t object_id_of(const struct mh_fetch *f)
{
    char text[24];
    if (f->email_id_len > 0)
        return mh_uid_from_name(f->email_id, f->email_id_len);
    if (!f->has_gm_id)
        return 0;
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)f->gm_id);
    return mh_uid_from_name(text, (size_t)n);
}

int imap_item_of(const struct mh_fetch *f, struct mh_kwsets *kwsets, struct mh_buf *scratch,
                 struct mh_item *out, struct mh_err *err)
{
    *out = (struct mh_item){.uid = f->uid, .size = f->size, .object_id = object_id_of(f)};
    out->modseq = f->has_modseq ? f->modseq : 0;
    if (f->has_date && !mh_date_parse_imap(f->date, f->date_len, &out->date))
        out->date = (struct mh_date){.is_set = false};
    if (!f->has_flags)
        return MH_OK;
    mh_buf_reset(scratch);
    (void)split_flags(f->flags, f->flags_len, &out->flags, scratch);
    if (mh_buf_failed(scratch))
        return mh_err_nomem(err);
    if (scratch->len == 0)
        return MH_OK;
    return mh_kwsets_intern(kwsets, scratch->data, scratch->len, &out->kwset, err);
}

void imap_add_scan_items(const struct mh_session *s, struct mh_cmd *c)
{
    mh_cmd_raw(c, " (UID FLAGS INTERNALDATE RFC822.SIZE");
    if (s->caps.condstore && !s->selected.has_no_modseq)
        mh_cmd_raw(c, " MODSEQ");
    if (imap_has(&s->capset, IMAP_CAP_OBJECTID))
        mh_cmd_raw(c, " EMAILID");
    else if (imap_has(&s->capset, IMAP_CAP_X_GM_EXT_1))
        mh_cmd_raw(c, " X-GM-MSGID");
    mh_cmd_raw(c, ")");
}

/* `from:*` answers with the last message even when its UID is below; flag changes come in between.
 */
static bool take_item(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct scanning *c = cmd->ctx;
    const struct mh_fetch *f = ev->fetch;
    if (ev->type != MH_RESP_FETCH || f->uid == 0 || !f->has_size || f->had_body)
        return false;
    const uint64_t uid = f->uid;
    if (c->asked && !bsearch(&uid, c->asked, c->n_asked, sizeof uid, uid_order))
        return false; /* nothing asked for it */
    if (f->uid < c->from || cmd->rc)
        return true;
    struct mh_item item;
    int rc = imap_item_of(f, c->out->kwsets, &c->keywords, &item, &cmd->err);
    if (rc == MH_OK)
        rc = mh_scan_add(c->out, &item, &cmd->err);
    if (rc)
        cmd->rc = rc;
    return true;
}

/* In a selection that is not new, a NOOP goes in front: messages that came since are seen only
 * then. */
static int send_noop(struct mh_session *s, struct imap_cmd **out, struct mh_err *err)
{
    bool is_new = !s->selected.was_used && !s->selected.has_changed;
    s->selected.was_used = true;
    if (is_new)
        return MH_OK;
    int rc = imap_cmd_start(s, "NOOP", out, err);
    return rc ? rc : imap_cmd_send(*out, err);
}

/* *REFUSED_OUT: the server said NO, so there may be more than what came. */
static int scan_from(struct mh_session *s, struct scanning *c, bool *refused_out,
                     struct mh_err *err)
{
    struct imap_cmd *noop = NULL;
    struct imap_cmd *cmd = NULL;
    int rc = send_noop(s, &noop, err);
    if (rc == MH_OK)
        rc = imap_cmd_start(s, "UID FETCH ", &cmd, err);
    if (rc == MH_OK) {
        mh_cmd_rawf(&cmd->text, "%llu:*", (unsigned long long)MH_MAX(c->from, 1u));
        imap_add_scan_items(s, &cmd->text);
        cmd->untagged = take_item;
        cmd->ctx = c;
        rc = imap_cmd_send(cmd, err);
    }
    if (rc == MH_OK)
        rc = imap_cmd_wait(cmd, err);
    /* Some servers refuse `1:*` where there is nothing. */
    if (rc == MH_OK && cmd->status != MH_ST_OK && s->selected.opened.messages > 0) {
        rc = imap_cmd_refused(cmd, MH_EFOLDER, err);
        *refused_out = rc == MH_EFOLDER && cmd->status == MH_ST_NO;
        rc = *refused_out ? MH_OK : rc;
    }
    imap_cmd_done(noop);
    imap_cmd_done(cmd);
    return rc;
}

/* --- what the list left out ------------------------------------------------------------------- */

static bool take_search(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct scanning *c = cmd->ctx;
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "SEARCH"))
        return false;
    for (unsigned i = 0; i < ev->n_vals && cmd->rc == MH_OK; i = ev->vals[i].next) {
        const struct mh_val *v = &ev->vals[i];
        uint64_t uid = 0;
        if (v->kind != MH_VAL_ATOM || !mh_parse_u64(v->s, v->len, UINT32_MAX, &uid) || uid == 0 ||
            uid < c->from || mh_scan_find(c->out, uid))
            continue;
        if (!mh_grow(c->uids, c->cap_uids, c->n_uids + 1)) {
            cmd->rc = mh_err_nomem(&cmd->err);
            break;
        }
        c->uids[c->n_uids++] = uid;
    }
    return true;
}

static int search_all(struct mh_session *s, struct scanning *c, struct mh_err *err)
{
    uint64_t messages = s->selected.opened.messages;
    int rc = MH_OK;
    for (uint64_t lo = 1; lo <= messages && rc == MH_OK; lo += SEARCH_STEP) {
        struct imap_cmd *cmd = NULL;
        uint64_t hi = MH_MIN(lo + SEARCH_STEP - 1, messages);
        rc = imap_cmd_start(s, "UID SEARCH ", &cmd, err);
        if (rc)
            return rc;
        mh_cmd_rawf(&cmd->text, "%llu:%llu", (unsigned long long)lo, (unsigned long long)hi);
        cmd->untagged = take_search;
        cmd->ctx = c;
        rc = imap_cmd_run(cmd, MH_EFOLDER, err);
        imap_cmd_done(cmd);
    }
    return rc;
}

/* Those that went meanwhile are no refusal of the others. */
static int list_refused(const struct scanning *c, const struct imap_cmd *cmd, struct mh_err *err)
{
    if (imap_code_is(cmd->code, strlen(cmd->code), "EXPUNGEISSUED"))
        return MH_OK;
    int rc = imap_cmd_refused(cmd, MH_EFOLDER, err);
    return rc == MH_EFOLDER && c->may_lack ? MH_OK : rc;
}

/* The metadata of N messages. */
static int list_uids(struct mh_session *s, struct scanning *c, const uint64_t *uids, size_t n_uids,
                     struct mh_err *err)
{
    int rc = MH_OK;
    for (size_t i = 0; i < n_uids && rc == MH_OK;) {
        size_t n = imap_uid_chunk(uids + i, n_uids - i);
        struct imap_cmd *cmd = NULL;
        rc = imap_cmd_start(s, "UID FETCH ", &cmd, err);
        if (rc)
            return rc;
        mh_cmd_uid_set(&cmd->text, uids + i, n);
        imap_add_scan_items(s, &cmd->text);
        cmd->untagged = take_item;
        cmd->ctx = c;
        c->asked = uids + i;
        c->n_asked = n;
        rc = imap_cmd_send(cmd, err);
        if (rc == MH_OK)
            rc = imap_cmd_wait(cmd, err);
        if (rc == MH_OK && cmd->status != MH_ST_OK)
            rc = list_refused(c, cmd, err);
        imap_cmd_done(cmd);
        i += n;
    }
    mh_scan_finish(c->out);
    return rc;
}

int imap_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n, struct mh_scan *out,
                   struct mh_err *err)
{
    struct scanning c = {.out = out, .keywords = MH_BUF_INIT};
    struct imap_cmd *noop = NULL;
    while (n > 0 && uids[n - 1] > UINT32_MAX) /* there is none (RFC 9051 section 2.3.1.1) */
        n--;
    int rc = n > 0 ? imap_reopen(s, IMAP_ACCESS_NONE, err) : imap_session_check(s, err);
    if (rc == MH_OK && n > 0)
        rc = send_noop(s, &noop, err);
    if (rc == MH_OK)
        rc = list_uids(s, &c, uids, n, err);
    imap_cmd_done(noop);
    mh_buf_done(&c.keywords);
    return rc;
}

/* The metadata once more, for these alone: a message that the server cannot describe is listed by its
 * UID, and its fetch will say what is wrong with it. */
static int scan_missing(struct mh_session *s, struct scanning *c, struct mh_err *err)
{
    c->may_lack = true;
    int rc = list_uids(s, c, c->uids, c->n_uids, err);
    for (size_t i = 0; i < c->n_uids && rc == MH_OK; i++) {
        const struct mh_item bare = {.uid = c->uids[i]};
        if (!mh_scan_find(c->out, bare.uid))
            rc = mh_scan_add(c->out, &bare, err);
    }
    mh_scan_finish(c->out);
    return rc;
}

/* Some servers leave messages out of the list that they cannot read (Exchange, Gmail): they must
 * not be left out here. */
static int complete(struct mh_session *s, struct scanning *c, struct mh_err *err)
{
    size_t before = c->out->n;
    int rc = search_all(s, c, err);
    if (rc == MH_OK && c->n_uids > 0) {
        qsort(c->uids, c->n_uids, sizeof *c->uids, uid_order);
        rc = scan_missing(s, c, err);
    }
    if (rc == MH_OK && c->out->n > before)
        mh_log(&s->log, MH_LOG_DEBUG, "%zu messages were not in the server's own list",
               c->out->n - before);
    return rc;
}

int imap_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err)
{
    mh_assert(s->is_dead || s->selected.native);
    int rc = imap_reopen(s, IMAP_ACCESS_NONE, err);
    const struct imap_selected *sel = &s->selected;
    bool is_empty = sel->opened.messages == 0 && !sel->was_used && !sel->has_changed;
    if (rc || is_empty || uid_from > UINT32_MAX) {
        mh_scan_finish(out);
        return rc;
    }
    struct scanning c = {.out = out, .from = uid_from, .keywords = MH_BUF_INIT};
    bool was_refused = false;
    rc = scan_from(s, &c, &was_refused, err);
    mh_scan_finish(out);
    bool is_short = uid_from <= 1 && out->n < s->selected.opened.messages;
    if (rc == MH_OK && (was_refused || is_short))
        rc = complete(s, &c, err);
    mh_buf_done(&c.keywords);
    mh_free(c.uids);
    return rc;
}

/* --- flags ------------------------------------------------------------------------------------ */

static int start_store(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                       const char *flags, struct imap_cmd **out, struct mh_err *err)
{
    int rc = imap_cmd_start(s, "UID STORE ", out, err);
    if (rc)
        return rc;
    mh_cmd_uid_set(&(*out)->text, uids, n);
    mh_cmd_raw(&(*out)->text, add ? " +FLAGS.SILENT (" : " -FLAGS.SILENT (");
    mh_cmd_raw(&(*out)->text, flags);
    mh_cmd_raw(&(*out)->text, ")");
    return imap_cmd_send(*out, err);
}

static int finish_store(struct imap_cmd *cmd, struct mh_err *err)
{
    int rc = imap_cmd_wait(cmd, err);
    if (rc == MH_OK && cmd->status != MH_ST_OK)
        rc = imap_cmd_refused(cmd, MH_EITEM, err);
    imap_cmd_done(cmd);
    return rc;
}

int imap_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                     const char *keywords, struct mh_err *err)
{
    struct mh_buf text = MH_BUF_INIT;
    struct imap_cmd *window[IMAP_WINDOW];
    size_t first = 0;
    size_t in_flight = 0;
    imap_flags_add(s, flags, keywords, &text);
    enum imap_access access = s->selected.for_write ? IMAP_ACCESS_WRITE : IMAP_ACCESS_NONE;
    int rc = mh_buf_failed(&text) ? mh_err_nomem(err) : imap_reopen(s, access, err);
    int refused = MH_OK;
    for (size_t i = 0; rc == MH_OK && text.len > 0 && (i < n || in_flight > 0);) {
        if (i < n && in_flight < IMAP_WINDOW) {
            size_t chunk = imap_uid_chunk(uids + i, n - i);
            struct imap_cmd **slot = &window[(first + in_flight++) % IMAP_WINDOW];
            *slot = NULL;
            rc = start_store(s, uids + i, chunk, add, mh_buf_str(&text), slot, err);
            i += chunk;
            continue;
        }
        rc = finish_store(window[first], err);
        first = (first + 1) % IMAP_WINDOW;
        in_flight--;
        if (rc == MH_EITEM) { /* the others are under way: they are heard first */
            refused = rc;
            rc = MH_OK;
        }
    }
    for (; in_flight > 0; in_flight--, first = (first + 1) % IMAP_WINDOW)
        imap_cmd_done(window[first]);
    mh_buf_done(&text);
    return rc ? rc : refused;
}
