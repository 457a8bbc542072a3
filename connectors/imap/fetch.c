/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fetching bodies.
 *
 * Two UID FETCH commands are in flight, each for some hundred messages, so that the server never
 * waits for us. A message that is cut through has a command of its own. The fetching task reads;
 * the sink's calls happen inside of that, and a sink that waits holds the server.
 *
 * A message's UID stands in front of its body with every server that was seen. Where it does not,
 * what came is let go and those messages are asked for again, one command each: then the command
 * says who it is. So are the messages of a command that was refused, to find the one it was refused
 * for.
 */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

enum item_state {
    ITEM_WANTED,
    ITEM_AGAIN, /* to be asked for alone */
    ITEM_DONE,  /* delivered or reported missed */
};

/* One command: items [first, end). */
struct fetch_cmd {
    struct imap_cmd *cmd;
    size_t first, end;
    bool is_again;
};

struct imap_fetching {
    struct mh_session *s;
    const struct mh_item *const *items;
    size_t n;
    struct mh_sink *sink;
    unsigned char *states;
    size_t next;       /* the first item that no command has asked for */
    size_t n_again;    /* items in ITEM_AGAIN that no command has asked for */
    size_t again_from; /* none of them is below */
    bool one_by_one;   /* the server puts UIDs behind bodies */

    struct fetch_cmd window[IMAP_FETCH_WINDOW];
    size_t first_cmd, n_cmds;
    uint64_t bytes_in_flight; /* of what was asked for and has not come, by the announced sizes */

    /* the body that is coming */
    size_t current;  /* SIZE_MAX: none that anybody wants */
    bool is_guessed; /* its UID is known only behind it */
    bool awaits_uid; /* it is complete but for that */

    int rc; /* why the fetch ends early */
    struct mh_err err;
};

#define NO_ITEM SIZE_MAX

/* --- where a body belongs --------------------------------------------------------------------- */

static struct fetch_cmd *cmd_at(struct imap_fetching *f, size_t i)
{
    return &f->window[(f->first_cmd + i) % IMAP_FETCH_WINDOW];
}

/* The items of one command ascend. */
static size_t find_in(const struct imap_fetching *f, const struct fetch_cmd *c, uint64_t uid)
{
    size_t at = mh_lower_bound(i, c->first, c->end, f->items[i]->uid < uid);
    bool found = at < c->end && f->items[at]->uid == uid && f->states[at] != ITEM_DONE;
    return found ? at : NO_ITEM;
}

static size_t find_item(struct imap_fetching *f, uint64_t uid)
{
    for (size_t i = 0; i < f->n_cmds; i++) {
        struct fetch_cmd *c = cmd_at(f, i);
        size_t at = c->cmd->is_answered ? NO_ITEM : find_in(f, c, uid);
        if (at != NO_ITEM)
            return at;
    }
    return NO_ITEM;
}

/* The message of the oldest command, if that asked for one only and nothing of an earlier fetch is
 * on its way. */
static size_t sole_item(struct imap_fetching *f)
{
    for (size_t i = 0; i < f->n_cmds; i++) {
        const struct fetch_cmd *c = cmd_at(f, i);
        if (c->cmd->is_answered)
            continue;
        bool is_sole =
            c->end - c->first == 1 && f->states[c->first] != ITEM_DONE && f->s->first == c->cmd;
        return is_sole ? c->first : NO_ITEM;
    }
    return NO_ITEM;
}

/* --- what the sink is told -------------------------------------------------------------------- */

static void end_by(struct imap_fetching *f, int rc)
{
    if (rc && !f->rc)
        f->rc = rc;
}

static void done_with(struct imap_fetching *f, size_t i)
{
    f->states[i] = ITEM_DONE;
    f->bytes_in_flight -= MH_MIN(f->bytes_in_flight, f->items[i]->size);
}

static void miss(struct imap_fetching *f, size_t i, const struct mh_err *why)
{
    done_with(f, i);
    if (!f->rc)
        end_by(f, f->sink->missed(f->sink, f->items[i], why, &f->err));
}

static void miss_unreadable(struct imap_fetching *f, size_t i, const char *text)
{
    struct mh_err why;
    (void)mh_err_set(&why, MH_EITEM, "imap", "%s", text);
    why.reason = "unreadable";
    miss(f, i, &why);
}

/* A body came whole. waits */
static void finish_body(struct imap_fetching *f)
{
    size_t i = f->current;
    f->current = NO_ITEM;
    f->awaits_uid = false;
    done_with(f, i);
    end_by(f, f->sink->end(f->sink, &f->err));
}

static bool is_whole_message(const struct mh_fetch *fetch)
{
    return mh_resp_is(fetch->section, fetch->section_len, "BODY[]") ||
           mh_resp_is(fetch->section, fetch->section_len, "BODY.PEEK[]") ||
           mh_resp_is(fetch->section, fetch->section_len, "RFC822");
}

static void begin_body(struct imap_fetching *f, const struct mh_fetch *fetch)
{
    f->current = NO_ITEM;
    f->is_guessed = fetch->uid == 0;
    size_t i = f->is_guessed ? sole_item(f) : find_item(f, fetch->uid);
    if (f->is_guessed && i == NO_ITEM)
        f->one_by_one = true;
    if (i == NO_ITEM || f->rc || !is_whole_message(fetch)) {
        f->s->counters.ignored_bodies++;
        return;
    }
    end_by(f, f->sink->begin(f->sink, f->items[i], fetch->octets, &f->err));
    if (!f->rc)
        f->current = i;
}

/* In the fetching task, inside of imap_session_read(). waits */
void imap_fetch_body(struct mh_session *s, struct mh_resp_event *ev)
{
    struct imap_fetching *f = s->fetch;
    if (!f) {
        s->counters.ignored_bodies += ev->type == MH_RESP_BODY_BEGIN;
        if (ev->type == MH_RESP_BODY_DATA)
            mh_slice_drop(&ev->slice);
        return;
    }
    switch (ev->type) {
    case MH_RESP_BODY_BEGIN:
        begin_body(f, ev->fetch);
        break;
    case MH_RESP_BODY_DATA:
        if (f->current == NO_ITEM) {
            mh_slice_drop(&ev->slice);
            break;
        }
        end_by(f, f->sink->data(f->sink, ev->slice, &f->err));
        if (f->rc)
            f->current = NO_ITEM;
        break;
    default:
        if (f->current == NO_ITEM)
            break;
        if (f->is_guessed)
            f->awaits_uid = true;
        else
            finish_body(f);
        break;
    }
}

bool imap_fetch_item(struct mh_session *s, const struct mh_resp_event *ev)
{
    struct imap_fetching *f = s->fetch;
    const struct mh_fetch *fetch = ev->fetch;
    if (!f)
        return false;
    if (f->awaits_uid) {
        if (fetch->uid == 0 || fetch->uid == f->items[f->current]->uid) {
            finish_body(f);
        } else {
            struct mh_err err;
            (void)mh_err_set(&err, MH_EMAILBOX, "imap",
                             "the server sends another message than it was asked for");
            imap_session_fail(s, &err);
        }
        return true;
    }
    if (fetch->had_body)
        return true;
    size_t i = fetch->uid ? find_item(f, fetch->uid) : NO_ITEM;
    bool is_answer = fetch->body_is_nil || !(fetch->has_flags || fetch->has_size);
    if (i == NO_ITEM || !is_answer)
        return false;
    miss_unreadable(f, i, "the server has no content for this message");
    return true;
}

/* --- commands --------------------------------------------------------------------------------- */

/* The end of the command that starts at item I. */
static size_t chunk_end(const struct imap_fetching *f, size_t i)
{
    uint64_t bytes = f->items[i]->size;
    size_t ranges = 1;
    size_t end = i + 1;
    if (f->one_by_one || bytes > MH_CUT_THROUGH_BYTES)
        return end;
    for (; end < f->n && end - i < IMAP_FETCH_CHUNK_MESSAGES; end++) {
        const struct mh_item *item = f->items[end];
        const struct mh_item *before = f->items[end - 1];
        bytes += item->size;
        ranges += item->uid != before->uid + 1;
        if (item->uid <= before->uid || item->size > MH_CUT_THROUGH_BYTES ||
            bytes > IMAP_FETCH_CHUNK_BYTES || ranges > IMAP_UID_RANGES_MAX)
            break;
    }
    return end;
}

/* The next items to ask for: those that have to go alone first. False: none is left. */
static bool next_chunk(struct imap_fetching *f, struct fetch_cmd *c)
{
    *c = (struct fetch_cmd){.cmd = NULL};
    if (f->n_again > 0) {
        while (f->states[f->again_from] != ITEM_AGAIN)
            f->again_from++;
        c->first = f->again_from++;
        c->end = c->first + 1;
        c->is_again = true;
        f->n_again--;
        f->states[c->first] = ITEM_WANTED;
        return true;
    }
    if (f->next == f->n)
        return false;
    c->first = f->next;
    c->end = f->next = chunk_end(f, f->next);
    return true;
}

/*
 * Courier's MIME reader gives up at some 300 parts or levels, and what it has not read is missing
 * from BODY[], from BODY[]<0.n>, from HEADER and TEXT, and from RFC822.SIZE (5.0.13; it has neither
 * BINARY nor RFC822.PEEK). RFC822 alone is the file as it is. It sets \Seen, but not in a folder
 * that was opened by EXAMINE: one that is open for writing is opened that way for the fetch, and
 * again for writing when flags are to be stored.
 */
static bool reads_by_file(const struct mh_session *s)
{
    return s->names.family == IMAP_COURIER && s->utf8_enabled;
}

static const char *body_item(const struct mh_session *s)
{
    return reads_by_file(s) ? " (UID RFC822)" : " (UID BODY.PEEK[])";
}

static int send_chunk(struct imap_fetching *f, struct fetch_cmd *c, struct mh_err *err)
{
    uint64_t uids[IMAP_FETCH_CHUNK_MESSAGES];
    size_t n = c->end - c->first;
    int rc = imap_cmd_start(f->s, "UID FETCH ", &c->cmd, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        uids[i] = f->items[c->first + i]->uid;
    mh_cmd_uid_set(&c->cmd->text, uids, n);
    mh_cmd_raw(&c->cmd->text, body_item(f->s));
    return imap_cmd_send(c->cmd, err);
}

/* More may be asked for: two commands always, and small ones up to the window. */
static bool wants_more(const struct imap_fetching *f)
{
    bool is_left = f->n_again > 0 || f->next < f->n;
    return is_left && (f->n_cmds < 2 || (f->n_cmds < IMAP_FETCH_WINDOW &&
                                         f->bytes_in_flight < IMAP_FETCH_CHUNK_BYTES / 2));
}

/* A command can go out without waiting for another task that writes, or for the server to read. */
static bool wire_is_free(const struct mh_session *s)
{
    return !s->wire_held && !s->append.in_message &&
           mh_conn_queued_bytes(s->conn) < MH_CONN_OUTQ_BYTES / 2;
}

static int ask(struct imap_fetching *f, struct mh_err *err)
{
    struct mh_session *s = f->s;
    while (wants_more(f)) {
        bool is_free = wire_is_free(s);
        if (!is_free && f->n_cmds > 0)
            return MH_OK; /* answers are due: read them first */
        if (!is_free)
            imap_session_read_end(s); /* an appending task may need its answers to go on */
        struct fetch_cmd *c = cmd_at(f, f->n_cmds);
        if (!next_chunk(f, c))
            return MH_OK;
        for (size_t i = c->first; i < c->end; i++)
            f->bytes_in_flight += f->items[i]->size;
        f->n_cmds++;
        int rc = send_chunk(f, c, err);
        if (!is_free) {
            int began = imap_session_read_begin(s, rc ? NULL : err);
            rc = rc ? rc : began;
        }
        if (rc)
            return rc;
    }
    return MH_OK;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* WHY an item of the command C did not come, by its answer. */
static void explain(const struct fetch_cmd *c, struct mh_err *why)
{
    if (c->cmd->status == MH_ST_OK) {
        (void)mh_err_set(why, MH_EITEM, "imap", "the message is gone since the folder was listed");
        why->reason = "vanished";
        return;
    }
    bool is_gone = imap_code_is(c->cmd->code, strlen(c->cmd->code), "EXPUNGEISSUED");
    if (imap_cmd_refused(c->cmd, MH_EITEM, why) == MH_EITEM)
        why->reason = is_gone ? "vanished" : "unreadable";
}

/* The oldest command is answered: what of it did not come? waits */
static void retire(struct imap_fetching *f, const struct fetch_cmd *c)
{
    struct mh_err why;
    explain(c, &why);
    if (why.code == MH_ELATER) {
        if (!f->rc)
            f->err = why;
        end_by(f, MH_ELATER);
        return;
    }
    bool alone = c->end - c->first == 1;
    for (size_t i = c->first; i < c->end; i++) {
        if (f->states[i] != ITEM_WANTED)
            continue;
        bool again = !alone && (c->cmd->status != MH_ST_OK || f->one_by_one);
        if (!again) {
            miss(f, i, &why);
            continue;
        }
        f->states[i] = ITEM_AGAIN;
        f->again_from = f->n_again > 0 ? MH_MIN(f->again_from, i) : i;
        f->n_again++;
        f->bytes_in_flight -= MH_MIN(f->bytes_in_flight, f->items[i]->size);
    }
}

/* Right behind a tagged answer, so that the sink hears of the messages in their order. */
void imap_fetch_answered(struct mh_session *s)
{
    struct imap_fetching *f = s->fetch;
    while (f && f->n_cmds > 0 && cmd_at(f, 0)->cmd->is_answered && !s->is_dead) {
        struct fetch_cmd c = *cmd_at(f, 0);
        f->first_cmd = (f->first_cmd + 1) % IMAP_FETCH_WINDOW;
        f->n_cmds--;
        retire(f, &c);
        imap_cmd_done(c.cmd);
    }
}

/*
 * The fetch ended before its commands did. What is on its way is read by the reader task and
 * dropped, so that the session goes on; where that would be much, a new connection is cheaper.
 */
static void leave(struct imap_fetching *f)
{
    struct mh_session *s = f->s;
    if (f->n_cmds > 0 && f->bytes_in_flight > IMAP_FETCH_DRAIN_BYTES && !s->is_dead) {
        struct mh_err err;
        (void)mh_err_set(&err, MH_ERETRY, "imap", "a fetch was ended with %llu bytes on their way",
                         (unsigned long long)f->bytes_in_flight);
        imap_session_fail(s, &err);
    }
    for (; f->n_cmds > 0; f->n_cmds--) {
        imap_cmd_done(cmd_at(f, 0)->cmd);
        f->first_cmd = (f->first_cmd + 1) % IMAP_FETCH_WINDOW;
    }
    s->fetch = NULL;
    if (s->fetch_reads)
        imap_session_read_end(s);
}

/* --- all of it -------------------------------------------------------------------------------- */

static int states_for(struct mh_session *s, size_t n, struct mh_err *err)
{
    if (n > s->fetch_states_cap) {
        unsigned char *states = mh_realloc(s->fetch_states, n);
        if (!states)
            return mh_err_nomem(err);
        s->fetch_states = states;
        s->fetch_states_cap = n;
    }
    if (n > 0)
        memset(s->fetch_states, ITEM_WANTED, n);
    return MH_OK;
}

static int run(struct imap_fetching *f, struct mh_err *err)
{
    int rc = MH_OK;
    while (rc == MH_OK && !f->rc) {
        rc = ask(f, err);
        if (rc || f->n_cmds == 0)
            break;
        rc = imap_session_read(f->s, err);
    }
    return rc;
}

/* The connection broke in mid-message: what came of it is void. */
static void void_current(struct imap_fetching *f, const struct mh_err *why)
{
    if (f->current == NO_ITEM || f->rc)
        return;
    struct mh_err cut = *why;
    struct mh_err late;
    cut.code = MH_ERETRY;
    cut.reason = "connection-lost";
    if (f->sink->missed(f->sink, f->items[f->current], &cut, &late) != MH_OK)
        mh_log_err(&f->s->log, MH_LOG_DEBUG, &late);
}

int imap_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
               struct mh_sink *sink, struct mh_err *err)
{
    mh_assert(!s->fetch && (s->is_dead || s->selected.native));
    struct mh_err scratch;
    err = err ? err : &scratch;
    int rc = states_for(s, n, err);
    if (rc == MH_OK)
        rc = imap_session_check(s, err);
    if (rc == MH_OK && n > 0)
        rc = imap_reopen(s, reads_by_file(s) ? IMAP_ACCESS_READ : IMAP_ACCESS_NONE, err);
    if (rc || n == 0)
        return rc;
    struct imap_fetching f = {.s = s, .items = items, .n = n, .sink = sink, .current = NO_ITEM};
    f.states = s->fetch_states;
    mh_err_reset(&f.err);
    s->fetch = &f;
    rc = imap_session_read_begin(s, err);
    if (rc == MH_OK)
        rc = run(&f, err);
    if (rc)
        void_current(&f, err);
    if (f.rc) {
        *err = f.err;
        rc = f.rc;
    }
    leave(&f);
    return rc;
}
