/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What has happened in a folder since it was looked at last (RFC 7162).
 *
 * All questions follow EXAMINE at once, so that the answer is there after one round trip: the changed ones
 * among the messages of then, with all their metadata, and what has come since. With QRESYNC the same commands
 * ask for what is gone: the modifier VANISHED of UID FETCH says the same as the parameter of SELECT, but
 * in parts that are known to fit a line (a server that has forgotten when messages went names every
 * gap), and it does not send flags that would have to be asked for once more. Without QRESYNC, what is
 * gone follows from what is there, which is asked for unless the numbers prove that nothing is gone.
 *
 * The questions are sent before it is known that the folder is still the one of then. What comes before
 * EXAMINE is answered belongs to something else and is let go; what comes for a folder that is another one
 * now is thrown away.
 */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* More answers than twice the messages and this are no list of messages. */
#define ANSWERS_SLACK 1000

enum question {
    ASKS_CHANGED, /* among the messages of then */
    ASKS_GONE,    /* of those that have come since: somebody may know them already */
    ASKS_NEW,
    ASKS_PRESENT,
};

struct changing {
    struct mh_session *s;
    const struct mh_since *since;
    struct mh_changes *out;
    struct imap_opening opening;
    bool with_vanished;
    struct mh_buf keywords;      /* scratch */
    uint64_t n_asked, n_answers; /* commands; of FETCH each message is one */
    uint64_t n_new;              /* messages of SCAN between the UIDNEXT of then and that of now */
    struct imap_cmd *window[IMAP_WINDOW];
    size_t first, n; /* in flight */
};

static int cannot_tell(struct mh_err *err, const char *why)
{
    return mh_err_set(err, MH_ENOSUP, "imap", "the changes cannot be told: %s", why);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* `n:*` answers with the last message even when its UID is below. Which command an answer is for cannot
 * be told by the order alone: Dovecot ends several of them together, behind the answers of all. */
static bool is_echo(const struct changing *c, const struct imap_cmd *cmd, const struct mh_fetch *f)
{
    if (f->uid >= c->since->uidnext)
        return false;
    return f->has_modseq ? f->modseq <= c->since->highestmodseq : cmd->index == ASKS_NEW;
}

static bool take_item(struct imap_cmd *cmd, const struct mh_fetch *f)
{
    struct changing *c = cmd->ctx;
    struct mh_item item;
    if (f->uid == 0 || !f->has_size || f->had_body)
        return false;
    if (is_echo(c, cmd, f))
        return true;
    uint64_t messages = MH_MAX(c->since->messages, c->s->selected.opened.messages);
    if (c->n_answers++ / 2 > messages + ANSWERS_SLACK) {
        cmd->rc = mh_err_set(&cmd->err, MH_EFOLDER, "imap",
                             "the server lists more messages than it says there are");
        return true;
    }
    int rc = imap_item_of(f, c->out->scan.kwsets, &c->keywords, &item, &cmd->err);
    if (rc == MH_OK)
        rc = mh_scan_add(&c->out->scan, &item, &cmd->err);
    if (rc)
        cmd->rc = rc;
    return true;
}

/* What has no UID yet is not gone: sloppy servers name all that they do not have. */
static int add_gone(void *ctx, uint32_t lo, uint32_t hi)
{
    struct imap_cmd *cmd = ctx;
    struct changing *c = cmd->ctx;
    uint64_t uidnext = c->opening.at_open.uidnext;
    uint64_t last = uidnext > 0 ? uidnext - 1 : UINT32_MAX;
    return lo > last ? MH_OK : mh_uids_add(&c->out->gone, lo, MH_MIN(hi, last), &cmd->err);
}

static int add_present(void *ctx, uint32_t lo, uint32_t hi)
{
    struct imap_cmd *cmd = ctx;
    struct changing *c = cmd->ctx;
    return mh_uids_add(&c->out->present, lo, hi, &cmd->err);
}

/* A set that cannot be read is no reason to lose the connection: the changes are not told, that is all. */
static void take_set(struct imap_cmd *cmd, const struct mh_val *set,
                     int (*add)(void *ctx, uint32_t lo, uint32_t hi))
{
    int rc = MH_EMAILBOX;
    if (set && set->kind == MH_VAL_ATOM)
        rc = mh_uid_set_parse(set->s, set->len, add, cmd, &cmd->err);
    if (rc == MH_EMAILBOX)
        rc = cannot_tell(&cmd->err, "the server sends a set of UIDs that is none");
    if (rc)
        cmd->rc = rc;
}

/* `VANISHED (EARLIER) 1:5,7`. Without EARLIER it is of this moment: the session has counted it, and the
 * next question will be answered with it. */
static bool take_vanished(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    const struct changing *c = cmd->ctx;
    const struct mh_val *tag = imap_val(ev, 0);
    if (!tag || tag->kind != MH_VAL_LIST || tag->children < 1 || !imap_val_is(tag + 1, "EARLIER"))
        return false;
    if (c->with_vanished)
        take_set(cmd, imap_val(ev, 1), add_gone);
    return true;
}

static bool take_change(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    const struct changing *c = cmd->ctx;
    if (!c->opening.is_open)
        return false;
    if (cmd->rc)
        return true;
    if (ev->type == MH_RESP_FETCH)
        return take_item(cmd, ev->fetch);
    return ev->type == MH_RESP_UNTAGGED && mh_resp_is(ev->name, ev->name_len, "VANISHED") &&
           take_vanished(cmd, ev);
}

/* `ESEARCH (TAG "A9") UID ALL 1:5,7` (RFC 4731 section 3.1); without ALL nothing was found. */
static void take_esearch(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    unsigned n = 0;
    const struct mh_val *v = imap_val(ev, n);
    if (v && v->kind == MH_VAL_LIST)
        v = imap_val(ev, ++n);
    if (imap_val_is(v, "UID"))
        v = imap_val(ev, ++n);
    for (; v; n += 2, v = imap_val(ev, n)) {
        if (imap_val_is(v, "ALL"))
            take_set(cmd, imap_val(ev, n + 1), add_present);
    }
}

static bool take_search(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct changing *c = cmd->ctx;
    bool is_long = ev->type == MH_RESP_UNTAGGED && mh_resp_is(ev->name, ev->name_len, "ESEARCH");
    if (!is_long && (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "SEARCH")))
        return false;
    c->n_answers++;
    if (is_long)
        take_esearch(cmd, ev);
    for (unsigned i = 0; !is_long && i < ev->n_vals && cmd->rc == MH_OK; i = ev->vals[i].next) {
        if (ev->vals[i].kind != MH_VAL_LIST) /* `(MODSEQ n)` */
            take_set(cmd, &ev->vals[i], add_present);
    }
    return true;
}

/* --- questions -------------------------------------------------------------------------------- */

/* Messages that went while they were listed are no refusal; there is nothing to list in an empty folder,
 * and some servers say so by a refusal. */
static int check_answer(struct changing *c, const struct imap_cmd *cmd, struct mh_err *err)
{
    bool is_fetch = cmd->index != ASKS_PRESENT;
    if (cmd->status == MH_ST_OK)
        return MH_OK;
    if (is_fetch && (imap_code_is(cmd->code, strlen(cmd->code), "EXPUNGEISSUED") ||
                     (c->opening.is_open && c->opening.at_open.messages == 0)))
        return MH_OK;
    return imap_cmd_refused(cmd, MH_ENOSUP, err);
}

static int hear_oldest(struct changing *c, struct mh_err *err)
{
    struct imap_cmd *cmd = c->window[c->first];
    int rc = imap_cmd_wait(cmd, err);
    if (rc == MH_OK)
        rc = check_answer(c, cmd, err);
    imap_cmd_done(cmd);
    c->first = (c->first + 1) % IMAP_WINDOW;
    c->n--;
    return rc;
}

static int hear_all(struct changing *c, struct mh_err *err)
{
    int rc = MH_OK;
    while (c->n > 0 && rc == MH_OK)
        rc = hear_oldest(c, err);
    return rc;
}

/* What is still on its way is of no interest any more. */
static void stop_asking(struct changing *c)
{
    for (; c->n > 0; c->n--, c->first = (c->first + 1) % IMAP_WINDOW)
        imap_cmd_done(c->window[c->first]);
}

static void add_question(const struct changing *c, enum question what, uint64_t lo, uint64_t hi,
                         struct mh_cmd *text)
{
    if (what == ASKS_PRESENT && imap_has(&c->s->capset, IMAP_CAP_ESEARCH))
        mh_cmd_raw(text, "RETURN (ALL) ");
    if (what == ASKS_PRESENT)
        mh_cmd_raw(text, "UID ");
    mh_cmd_rawf(text, "%llu:", (unsigned long long)lo);
    if (hi > UINT32_MAX)
        mh_cmd_raw(text, "*");
    else
        mh_cmd_rawf(text, "%llu", (unsigned long long)hi);
    if (what == ASKS_CHANGED || what == ASKS_NEW)
        imap_add_scan_items(c->s, text);
    if (what == ASKS_GONE)
        mh_cmd_raw(text, " (UID)");
    if (what == ASKS_CHANGED || what == ASKS_GONE)
        mh_cmd_rawf(text, " (CHANGEDSINCE %llu%s)", (unsigned long long)c->since->highestmodseq,
                    c->with_vanished ? " VANISHED" : "");
}

/* LO..HI, HI above 2^32-1 for all from LO on. */
static int ask(struct changing *c, enum question what, uint64_t lo, uint64_t hi, struct mh_err *err)
{
    int rc = c->n == IMAP_WINDOW ? hear_oldest(c, err) : MH_OK;
    if (rc)
        return rc;
    struct imap_cmd *cmd = NULL;
    rc = imap_cmd_start(c->s, what == ASKS_PRESENT ? "UID SEARCH " : "UID FETCH ", &cmd, err);
    if (rc)
        return rc;
    add_question(c, what, lo, hi, &cmd->text);
    cmd->untagged = what == ASKS_PRESENT ? take_search : take_change;
    cmd->ctx = c;
    cmd->index = what;
    c->window[(c->first + c->n++) % IMAP_WINDOW] = cmd;
    c->n_asked++;
    return imap_cmd_send(cmd, err);
}

/* 1..LAST in parts whose answer fits a line when there are MESSAGES of them, or were. OPEN: the last part
 * goes on to the end. */
static int ask_parts(struct changing *c, enum question what, uint64_t last, uint64_t messages,
                     bool open, struct mh_err *err)
{
    uint64_t step = MH_MAX((uint64_t)IMAP_UIDS_PER_LINE, last / IMAP_UID_LINES_MAX + 1);
    int rc = MH_OK;
    if (messages <= IMAP_UIDS_PER_LINE)
        step = MH_MAX(last, 1u);
    for (uint64_t lo = 1; rc == MH_OK && lo <= last; lo += step) {
        bool is_last = last - lo < step;
        uint64_t end = open ? (uint64_t)UINT32_MAX + 1 : last;
        rc = ask(c, what, lo, is_last ? end : lo + step - 1, err);
    }
    return rc;
}

/* Only what was known then decides what is asked. `n:4294967295` where what is gone is asked for: `*` is the
 * last message that is there, and what went may have been behind it. */
static int ask_changes(struct changing *c, struct mh_err *err)
{
    const struct mh_since *since = c->since;
    const uint64_t max = UINT32_MAX;
    uint64_t known = since->uidnext > 0 ? MH_MIN(since->uidnext - 1, max) : max;
    bool is_one_line = !c->with_vanished || since->uidnext == 0;
    uint64_t messages = since->messages_known ? since->messages : UINT64_MAX;
    int rc = ask_parts(c, ASKS_CHANGED, known, is_one_line ? 0 : messages, false, err);
    if (rc == MH_OK && known < max && c->with_vanished)
        rc = ask(c, ASKS_GONE, known + 1, max, err);
    if (rc == MH_OK && known < max)
        rc = ask(c, ASKS_NEW, known + 1, max + 1, err);
    return rc;
}

/* What is gone is asked for again in the other way if the server does not know this one after all. */
static int hear_changes(struct changing *c, int asked, struct mh_err *err)
{
    int rc = asked ? asked : hear_all(c, err);
    if (rc != MH_ENOSUP || !c->with_vanished)
        return rc;
    mh_log(&c->s->log, MH_LOG_DEBUG, "VANISHED is of no use here: %s", err ? err->text : "");
    stop_asking(c);
    mh_changes_done(c->out);
    c->s->asks_vanished = c->with_vanished = false;
    c->n_answers = 0;
    rc = mh_scan_init(&c->out->scan, err);
    if (rc == MH_OK)
        rc = ask_changes(c, err);
    return rc ? rc : hear_all(c, err);
}

/* --- what is gone ----------------------------------------------------------------------------- */

/* The UIDs of all messages that are there. Nothing that is there may be missing in it. */
static int find_present(struct changing *c, struct mh_err *err)
{
    const struct mh_opened *at = &c->opening.at_open;
    const struct mh_opened *now = &c->s->selected.opened;
    struct mh_uids *present = &c->out->present;
    mh_uids_done(&c->out->gone);
    c->out->gone_by = MH_GONE_BY_PRESENT;
    if (at->messages == 0 && c->out->scan.n == 0)
        return MH_OK;
    c->n_asked = c->n_answers = 0;
    uint64_t uidnext = MH_MAX(at->uidnext, c->since->uidnext);
    int rc = ask_parts(c, ASKS_PRESENT, uidnext > 1 ? uidnext - 1 : 1, at->messages, true, err);
    if (rc == MH_OK)
        rc = hear_all(c, err);
    mh_uids_finish(present);
    if (rc == MH_OK &&
        (c->n_answers < c->n_asked || mh_uids_count(present) < MH_MIN(at->messages, now->messages)))
        rc = cannot_tell(err, "the server's search finds less than there is");
    return rc;
}

static void count_new(struct changing *c)
{
    const struct mh_scan *scan = &c->out->scan;
    c->n_new = 0;
    for (size_t i = 0; i < scan->n; i++)
        c->n_new += scan->items[i].uid >= c->since->uidnext &&
                    scan->items[i].uid < c->opening.at_open.uidnext;
}

/* What is listed is there, and at least MISSING of those of then are not. */
static bool is_plausible(const struct mh_changes *out, uint64_t missing)
{
    for (size_t i = 0; i < out->scan.n; i++) {
        if (mh_uids_has(&out->gone, out->scan.items[i].uid))
            return false;
    }
    return mh_uids_count(&out->gone) >= missing;
}

/*
 * The messages of then, and those that have come, against those that are there. That nothing is gone is
 * proved when the two are equal and each UID that was given since then is there: a folder's old messages
 * get fewer only.
 */
static int find_gone(struct changing *c, struct mh_err *err)
{
    const struct mh_since *since = c->since;
    const struct mh_opened *at = &c->opening.at_open;
    struct mh_changes *out = c->out;
    bool is_counted = since->messages_known && since->uidnext > 0 && at->uidnext > 0;
    count_new(c);
    uint64_t were = is_counted ? since->messages + c->n_new : 0;
    if (is_counted && were < at->messages)
        return cannot_tell(err, "there are more messages than the server lists");
    bool is_proof = is_counted && c->n_new == at->uidnext - since->uidnext;
    if (is_proof && were == at->messages) {
        mh_uids_done(&out->gone);
        return MH_OK;
    }
    mh_uids_finish(&out->gone);
    if (!c->with_vanished || !is_plausible(out, is_counted ? were - at->messages : 0))
        return find_present(c, err);
    out->gone_by = out->gone.n > 0 ? MH_GONE_LISTED : MH_GONE_NONE;
    return MH_OK;
}

/* --- all of it -------------------------------------------------------------------------------- */

/* Is it the folder of then, and does its MODSEQ count on from there? A server that lost its index starts
 * anew below; what changed before is not known then. */
static int check_folder(const struct changing *c, struct mh_err *err)
{
    const struct mh_since *since = c->since;
    const struct mh_opened *at = &c->opening.at_open;
    if (at->uidvalidity != since->uidvalidity)
        return cannot_tell(err, "UIDVALIDITY is another one");
    if (at->highestmodseq == 0)
        return cannot_tell(err, "the server has no MODSEQ for this folder");
    if (at->highestmodseq < since->highestmodseq)
        return cannot_tell(err, "HIGHESTMODSEQ is lower than it was");
    if (at->uidnext > 0 && at->uidnext < since->uidnext)
        return cannot_tell(err, "UIDNEXT is lower than it was");
    return MH_OK;
}

static int find_changes(struct changing *c, const struct mh_folder *folder,
                        struct mh_opened *opened_out, struct mh_err *err)
{
    struct mh_err late;
    mh_err_reset(&late);
    int rc = imap_open_begin(c->s, folder, false, &c->opening, err);
    if (rc)
        return rc;
    int asked = ask_changes(c, &late);
    rc = imap_open_end(&c->opening, folder, err);
    if (rc)
        return rc;
    *opened_out = c->opening.at_open;
    rc = check_folder(c, err);
    if (rc)
        return rc;
    if (asked && err)
        *err = late;
    rc = hear_changes(c, asked, err);
    mh_scan_finish(&c->out->scan);
    return rc ? rc : find_gone(c, err);
}

int imap_select_changes(struct mh_session *s, const struct mh_folder *folder,
                        const struct mh_since *since, struct mh_opened *opened_out,
                        struct mh_changes *out, struct mh_err *err)
{
    int rc = imap_session_check(s, err);
    if (rc)
        return rc;
    if (!s->caps.condstore || since->highestmodseq == 0) {
        rc = imap_select(s, folder, false, opened_out, err);
        return rc ? rc : cannot_tell(err, "the server has no MODSEQ, or had none");
    }
    struct changing c = {.s = s, .since = since, .out = out, .keywords = MH_BUF_INIT};
    c.with_vanished = s->asks_vanished;
    rc = mh_scan_init(&out->scan, err);
    if (rc == MH_OK)
        rc = find_changes(&c, folder, opened_out, err);
    stop_asking(&c);
    mh_buf_done(&c.keywords);
    if (rc)
        mh_changes_done(out);
    return rc;
}
