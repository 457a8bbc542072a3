/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Moving messages within an account: UID MOVE (RFC 6851), else UID COPY, \Deleted and UID EXPUNGE
 * (RFC 4315) of just these. Never a plain EXPUNGE, and never a CLOSE: they would remove what others
 * have marked.
 */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* What is known of a message beside its new UID; 0 is a UID that the server does not tell. */
#define NOT_MOVED UINT64_MAX
#define IS_THERE  (UINT64_MAX - 1)

/* One command's part of the messages. */
struct moving {
    struct mh_session *s;
    const struct mh_folder *to; /* borrowed */
    const uint64_t *uids;       /* borrowed: N of them, ascending */
    size_t n;
    uint64_t *now;                /* owned: by position, where each is now */
    uint64_t *doomed;             /* owned: UIDs that were copied and have to go */
    struct mh_uid_range *targets; /* owned: the new UIDs of one COPYUID, in its order */
    size_t n_targets, cap_targets;
    size_t at_range;    /* which of TARGETS is next … */
    uint64_t at_offset; /* … and how far in it */
    bool is_paired;     /* the present COPYUID's two sets are of one length */
    bool was_told;      /* by some COPYUID */
    bool has_lost;      /* messages left the folder during the command */
};

/* --- COPYUID ---------------------------------------------------------------------------------- */

/* The first of the UIDs that is not below UID. */
static size_t find_from(const struct moving *m, uint64_t uid)
{
    return mh_lower_bound(i, 0, m->n, m->uids[i] < uid);
}

static int count_range(void *ctx, uint32_t lo, uint32_t hi)
{
    uint64_t *n = ctx;
    *n += (uint64_t)hi - lo + 1;
    return MH_OK;
}

static int keep_target(void *ctx, uint32_t lo, uint32_t hi)
{
    struct moving *m = ctx;
    if (!mh_grow(m->targets, m->cap_targets, m->n_targets + 1))
        return MH_ERUN;
    m->targets[m->n_targets++] = (struct mh_uid_range){lo, hi};
    return MH_OK;
}

static uint64_t next_target(struct moving *m)
{
    const struct mh_uid_range *r = &m->targets[m->at_range];
    uint64_t uid = r->lo + m->at_offset++;
    if (uid == r->hi) {
        m->at_range++;
        m->at_offset = 0;
    }
    return uid;
}

/* LO to HI were moved. Of those that we did not ask for nothing is believed. */
static int take_source(void *ctx, uint32_t lo, uint32_t hi)
{
    struct moving *m = ctx;
    size_t i = find_from(m, lo);
    if (!m->is_paired) {
        for (; i < m->n && m->uids[i] <= hi; i++) {
            if (m->now[i] >= IS_THERE)
                m->now[i] = 0;
        }
        return MH_OK;
    }
    for (uint64_t uid = lo; uid <= hi; uid++) {
        uint64_t target = next_target(m);
        while (i < m->n && m->uids[i] < uid)
            i++;
        if (i < m->n && m->uids[i] == uid && m->now[i] >= IS_THERE)
            m->now[i] = target;
    }
    return MH_OK;
}

/* `COPYUID validity source target`: the sets belong together by position, in whatever order they are
 * (RFC 4315 section 3). Two of different lengths tell only what was moved, not where to. */
static void take_copyuid(struct imap_cmd *cmd, const char *code, size_t code_len)
{
    struct moving *m = cmd->ctx;
    size_t len = 0;
    const char *args = imap_code_args(code, code_len, &len);
    const char *source = memchr(args, ' ', len);
    const char *target = source ? memchr(source + 1, ' ', len - (size_t)(source + 1 - args)) : NULL;
    uint64_t n_sources = 0;
    uint64_t n_targets = 0;
    if (!target)
        return;
    source++;
    size_t source_len = (size_t)(target - source);
    target++;
    size_t target_len = len - (size_t)(target - args);
    if (mh_uid_set_parse(source, source_len, count_range, &n_sources, NULL) != MH_OK)
        return;
    m->n_targets = m->at_range = 0;
    m->at_offset = 0;
    m->is_paired = mh_uid_set_parse(target, target_len, count_range, &n_targets, NULL) == MH_OK &&
                   n_sources == n_targets && n_sources <= m->n;
    int rc = m->is_paired ? mh_uid_set_parse(target, target_len, keep_target, m, NULL) : MH_OK;
    if (rc == MH_OK)
        rc = mh_uid_set_parse(source, source_len, take_source, m, NULL);
    if (rc)
        cmd->rc = mh_err_nomem(&cmd->err);
    m->was_told = true;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* What leaves the folder meanwhile leaves it for our sake: it is no news for watch(). */
static bool take_moved(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct moving *m = cmd->ctx;
    if (ev->type != MH_RESP_UNTAGGED)
        return false;
    if (ev->status == MH_ST_OK && imap_code_is(ev->code, ev->code_len, "COPYUID")) {
        take_copyuid(cmd, ev->code, ev->code_len);
        return true;
    }
    bool has_lost = (ev->has_number && mh_resp_is(ev->name, ev->name_len, "EXPUNGE")) ||
                    mh_resp_is(ev->name, ev->name_len, "VANISHED");
    m->has_lost = m->has_lost || has_lost;
    return has_lost;
}

/* UID COPY tells it here, and so may UID MOVE (RFC 6851 section 4.3). */
static void take_answer(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    if (ev && ev->status == MH_ST_OK && imap_code_is(ev->code, ev->code_len, "COPYUID"))
        take_copyuid(cmd, ev->code, ev->code_len);
}

static bool take_found(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct moving *m = cmd->ctx;
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "SEARCH"))
        return false;
    for (unsigned i = 0; i < ev->n_vals; i = ev->vals[i].next) {
        const struct mh_val *v = &ev->vals[i];
        uint64_t uid = 0;
        if (v->kind != MH_VAL_ATOM || !mh_parse_u64(v->s, v->len, UINT32_MAX, &uid))
            continue;
        size_t at = find_from(m, uid);
        if (at < m->n && m->uids[at] == uid)
            m->now[at] = IS_THERE;
    }
    return true;
}

static int refused(const struct imap_cmd *cmd, struct mh_err *err)
{
    size_t code_len = strlen(cmd->code);
    struct imap_refusal r =
        imap_refusal_of(code_len ? cmd->code : NULL, code_len, cmd->reply, strlen(cmd->reply));
    return imap_cmd_refused(cmd, r.code == MH_ENOENT ? MH_ENOENT : MH_EFOLDER, err);
}

/* --- the commands ----------------------------------------------------------------------------- */

static int run_noop(struct mh_session *s, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(s, "NOOP", &cmd, err);
    if (rc == MH_OK)
        rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    imap_cmd_done(cmd);
    return rc;
}

/* Marks the messages that are in the folder as IS_THERE. */
static int search(struct moving *m, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(m->s, "UID SEARCH UID ", &cmd, err);
    if (rc == MH_OK) {
        mh_cmd_uid_set(&cmd->text, m->uids, m->n);
        cmd->untagged = take_found;
        cmd->ctx = m;
        rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    }
    imap_cmd_done(cmd);
    return rc;
}

/* UID MOVE or UID COPY. *STALE_OUT: refused because others have removed some of the messages. */
static int transfer_once(struct moving *m, const char *verb, bool *stale_out, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(m->s, verb, &cmd, err);
    if (rc == MH_OK) {
        mh_cmd_uid_set(&cmd->text, m->uids, m->n);
        mh_cmd_raw(&cmd->text, " ");
        mh_cmd_string(&cmd->text, m->to->native, strlen(m->to->native));
        cmd->untagged = take_moved;
        cmd->answered = take_answer;
        cmd->ctx = m;
        rc = imap_cmd_send(cmd, err);
    }
    if (rc == MH_OK)
        rc = imap_cmd_wait(cmd, err);
    if (rc == MH_OK && cmd->status != MH_ST_OK) {
        *stale_out = imap_code_is(cmd->code, strlen(cmd->code), "EXPUNGEISSUED");
        rc = refused(cmd, err);
    }
    imap_cmd_done(cmd);
    return rc;
}

static int transfer(struct moving *m, const char *verb, struct mh_err *err)
{
    for (unsigned tries = 1;; tries++) {
        bool is_stale = false;
        int rc = transfer_once(m, verb, &is_stale, err);
        if (!is_stale || tries == IMAP_MOVE_TRIES)
            return rc;
        rc = run_noop(m->s, err); /* the session learns what is gone */
        if (rc)
            return rc;
    }
}

static void forget(struct moving *m)
{
    for (size_t i = 0; i < m->n; i++)
        m->now[i] = NOT_MOVED;
}

/* A UID MOVE that was refused may have moved some: those that were told of and are gone. */
static void settle(struct moving *m)
{
    struct mh_err err;
    if (!m->was_told || m->s->is_dead || search(m, &err) != MH_OK)
        forget(m);
}

static int run_move(struct moving *m, struct mh_err *err)
{
    bool is_told = imap_has(&m->s->capset, IMAP_CAP_UIDPLUS);
    int rc = is_told ? MH_OK : search(m, err);
    if (rc)
        return rc;
    rc = transfer(m, "UID MOVE ", err);
    if (rc) {
        settle(m);
        return rc;
    }
    /* Where COPYUID is due and does not come, nothing was there, or the target's UIDs do not last
     * (RFC 4315 section 3, UIDNOTSTICKY). */
    for (size_t i = 0; i < m->n && !m->was_told; i++) {
        if (m->now[i] == IS_THERE || (is_told && m->has_lost))
            m->now[i] = 0;
    }
    return MH_OK;
}

/* --- without MOVE ----------------------------------------------------------------------------- */

static int mark_deleted(struct moving *m, size_t n, bool add, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(m->s, "UID STORE ", &cmd, err);
    if (rc == MH_OK) {
        mh_cmd_uid_set(&cmd->text, m->doomed, n);
        mh_cmd_raw(&cmd->text, add ? " +FLAGS.SILENT (\\Deleted)" : " -FLAGS.SILENT (\\Deleted)");
        rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    }
    imap_cmd_done(cmd);
    return rc;
}

static int expunge(struct moving *m, size_t n, struct mh_err *err)
{
    struct imap_cmd *cmd = NULL;
    int rc = imap_cmd_start(m->s, "UID EXPUNGE ", &cmd, err);
    if (rc == MH_OK) {
        mh_cmd_uid_set(&cmd->text, m->doomed, n);
        cmd->untagged = take_moved;
        cmd->ctx = m;
        rc = imap_cmd_run(cmd, MH_EFOLDER, err);
    }
    imap_cmd_done(cmd);
    return rc;
}

/* The copies are there. Refused now, the messages are in both folders, and stay as visible as they
 * were. */
static int remove_copied(struct moving *m, struct mh_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (m->now[i] < IS_THERE)
            m->doomed[n++] = m->uids[i];
    }
    if (n == 0)
        return MH_OK;
    int rc = mark_deleted(m, n, true, err);
    if (rc == MH_OK)
        rc = expunge(m, n, err);
    struct mh_err undo;
    if (rc && rc != MH_ECANCEL && !m->s->is_dead && mark_deleted(m, n, false, &undo) != MH_OK)
        mh_log(&m->s->log, MH_LOG_WARNING,
               "messages that could not be moved keep their \\Deleted: %s", undo.text);
    return rc;
}

static int run_copy(struct moving *m, struct mh_err *err)
{
    int rc = transfer(m, "UID COPY ", err);
    if (rc == MH_OK && !m->was_told) { /* no UIDs there that last, or nothing to copy */
        rc = search(m, err);
        for (size_t i = 0; i < m->n && rc == MH_OK; i++) {
            if (m->now[i] == IS_THERE)
                m->now[i] = 0;
        }
    }
    if (rc == MH_OK)
        rc = remove_copied(m, err);
    if (rc)
        forget(m);
    return rc;
}

/* --- all of them ------------------------------------------------------------------------------ */

static int tell(const struct moving *m, mh_moved_fn *moved, void *ctx, struct mh_err *err)
{
    int rc = MH_OK;
    for (size_t i = 0; i < m->n && rc == MH_OK; i++) {
        if (m->now[i] < IS_THERE)
            rc = moved(ctx, m->uids[i], m->now[i], err);
    }
    return rc;
}

/* The first part of the N UIDS that are left: *N_OUT of them. */
static int move_chunk(struct moving *m, const uint64_t *uids, size_t n, struct mh_err *err)
{
    m->uids = uids;
    m->n = imap_uid_chunk(uids, MH_MIN(n, (size_t)IMAP_MOVE_CHUNK));
    m->was_told = m->has_lost = false;
    forget(m);
    return imap_has(&m->s->capset, IMAP_CAP_MOVE) ? run_move(m, err) : run_copy(m, err);
}

static int check_can_move(struct mh_session *s, struct mh_err *err)
{
    mh_assert(s->is_dead || (s->selected.native && s->selected.for_write));
    int rc = imap_session_check(s, err);
    bool has_move = imap_has(&s->capset, IMAP_CAP_MOVE);
    if (rc == MH_OK && !has_move && !imap_has(&s->capset, IMAP_CAP_UIDPLUS))
        return mh_err_set(err, MH_ENOSUP, "imap", "the server has neither MOVE nor UIDPLUS");
    if (rc == MH_OK)
        rc = imap_reopen(s, IMAP_ACCESS_WRITE, err);
    if (rc == MH_OK && !has_move && !(s->selected.opened.flags_ok & MH_DELETED))
        return mh_err_set(err, MH_EFOLDER, "imap",
                          "the server lets nothing be deleted in this folder, so nothing can be "
                          "moved out of it");
    return rc;
}

int imap_move(struct mh_session *s, const uint64_t *uids, size_t n, const struct mh_folder *to,
              mh_moved_fn *moved, void *ctx, struct mh_err *err)
{
    while (n > 0 && uids[n - 1] > UINT32_MAX) /* there is none (RFC 9051 section 2.3.1.1) */
        n--;
    int rc = check_can_move(s, err);
    if (rc || n == 0)
        return rc;
    struct moving m = {.s = s, .to = to};
    m.now = mh_zalloc(IMAP_MOVE_CHUNK * sizeof *m.now);
    m.doomed = mh_zalloc(IMAP_MOVE_CHUNK * sizeof *m.doomed);
    rc = m.now && m.doomed ? MH_OK : mh_err_nomem(err);
    for (size_t at = 0; at < n && rc == MH_OK; at += m.n) {
        struct mh_err ignored;
        rc = move_chunk(&m, uids + at, n - at, err);
        s->selected.has_changed = true;
        /* Those that a failed command has moved all the same are told too. */
        int told = tell(&m, moved, ctx, rc ? &ignored : err);
        rc = rc ? rc : told;
    }
    mh_free(m.now);
    mh_free(m.doomed);
    mh_free(m.targets);
    return rc;
}
