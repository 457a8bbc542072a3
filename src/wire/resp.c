/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/resp.h"

#include "base/mem.h"
#include "base/str.h"
#include "wire/resp_priv.h"

/* What the reader keeps from one response to the next. Ordinary responses stay far below; what a
 * response of megabytes took is given back behind it. */
enum { KEEP_BYTES = 256 * 1024 };

/* How much of a line that is no IMAP an error shows. */
enum { EXCERPT_BYTES = 120 };

/*
 * Where the reader is. A response without literals stays in LINE. Otherwise:
 *
 *     LINE ─┬─ a literal that is not the body: LITERAL (kept) or SKIP (in a FETCH) ── LINE
 *           ├─ the body as a literal: BODY (between the events BODY_BEGIN and BODY_END) ── LINE
 *           └─ the body as a quoted string: QUOTED (between the same events)
 *                  ── SKIP if a literal is next, FINISH if the response is complete
 */
enum stage {
    STAGE_LINE,    /* text up to a line end */
    STAGE_LITERAL, /* octets that belong to a value */
    STAGE_SKIP,    /* octets that nobody wants */
    STAGE_BODY,    /* octets of the message */
    STAGE_QUOTED,  /* what is left of a quoted body */
    STAGE_FINISH,  /* the FETCH is complete, its event is due */
};

/* A step's answers beside errors: there is an event, or go on with the stage that is set now. */
enum { STEP_EVENT = 0, STEP_ON = 1 };

struct mh_resp {
    enum stage stage;
    enum stage after_body; /* where BODY_END leads to */
    size_t line_max;
    bool has_failed;
    bool had_body; /* a body was seen: lines may now be message text, so errors do not quote them */
    bool is_done;  /* an event for a whole response was given: the next call starts a new one */

    /* the response that is being read */
    bool has_head;
    struct mh_resp_head head;
    struct mh_buf text; /* its gathered text and literals, without line ends and markers */
    size_t segment;     /* where in TEXT the present line starts */
    size_t line_bytes;
    uint64_t literal_bytes;
    uint64_t left; /* octets of the literal of LITERAL, SKIP, BODY */
    struct mh_vals_literal *literals;
    size_t n_literals;
    size_t literals_cap;
    struct mh_vals vals;
    struct mh_fetch_scan scan;

    /* QUOTED: what is left, in the held slab or in TEXT */
    struct mh_span quoted;
    const char *base; /* what the offsets of the scan refer to; borrowed: TEXT or the held slab */
    bool is_in_place;

    struct mh_slab *held; /* one reference: an event points into it */
    struct mh_pool *pool; /* borrowed: of the slices that come in */
};

/* --- life ------------------------------------------------------------------------------------ */

int mh_resp_new(struct mh_resp **out, struct mh_err *err)
{
    struct mh_resp *r = mh_zalloc(sizeof *r);
    if (!r)
        return mh_err_nomem(err);
    r->line_max = MH_IMAP_LINE_MAX_BYTES;
    *out = r;
    return MH_OK;
}

static void release(struct mh_resp *r)
{
    if (r->held)
        mh_slab_unref(r->held);
    r->held = NULL;
}

void mh_resp_free(struct mh_resp *r)
{
    if (!r)
        return;
    release(r);
    mh_buf_done(&r->text);
    mh_vals_done(&r->vals);
    mh_free(r->literals);
    mh_free(r);
}

void mh_resp_set_line_max(struct mh_resp *r, size_t bytes)
{
    mh_assert(bytes > 0 && bytes <= MH_IMAP_LINE_MAX_BYTES);
    r->line_max = bytes;
}

bool mh_resp_is_idle(const struct mh_resp *r)
{
    return !r->has_failed && r->stage == STAGE_LINE &&
           (r->is_done || (!r->has_head && r->text.len == 0));
}

/* Forgets the response that was given, keeps the memory. */
static void start_response(struct mh_resp *r)
{
    r->is_done = false;
    r->has_head = false;
    r->segment = 0;
    r->line_bytes = 0;
    r->literal_bytes = 0;
    r->n_literals = 0;
    if (r->text.len > 0)
        mh_buf_reset(&r->text);
    if (r->text.cap > KEEP_BYTES)
        mh_buf_done(&r->text);
    mh_vals_trim(&r->vals, KEEP_BYTES);
    if (r->literals_cap * sizeof *r->literals > KEEP_BYTES) {
        mh_free(r->literals);
        r->literals = NULL;
        r->literals_cap = 0;
    }
}

/* --- small things ---------------------------------------------------------------------------- */

/* Takes N bytes off the front of IN. */
static void consume(struct mh_slice *in, uint32_t n)
{
    in->off += n;
    in->len -= n;
    if (in->len == 0)
        mh_slice_drop(in);
}

/* Keeps SLAB alive while an event points into it: IN may be dropped before. */
static void hold(struct mh_resp *r, struct mh_slab *slab)
{
    if (r->held == slab)
        return;
    release(r);
    mh_slab_ref(slab);
    r->held = slab;
}

static int more(struct mh_resp *r, struct mh_slice *in, struct mh_resp_event *ev)
{
    mh_slice_drop(in);
    release(r);
    ev->type = MH_RESP_MORE;
    return STEP_EVENT;
}

static int count_literal(struct mh_resp *r, uint64_t octets, struct mh_err *err)
{
    /* Before the login literals count like text. */
    uint64_t max = r->line_max < MH_IMAP_LINE_MAX_BYTES ? r->line_max : MH_IMAP_LITERAL_MAX_BYTES;
    if (r->literal_bytes > max || octets > max - r->literal_bytes)
        return mh_err_set(err, MH_EMAILBOX, "imap",
                          "a response with more than %llu octets in literals",
                          (unsigned long long)max);
    r->literal_bytes += octets;
    return MH_OK;
}

/* --- events ---------------------------------------------------------------------------------- */

static void point(const char *base, struct mh_span span, const char **s, size_t *len)
{
    *s = base + span.off;
    *len = span.len;
}

static void set_fetch(struct mh_resp *r, struct mh_resp_event *ev, enum mh_event_type type)
{
    mh_fetch_scan_fill(&r->scan, r->base);
    ev->type = type;
    ev->number = r->scan.found.seq;
    ev->has_number = true;
    ev->fetch = &r->scan.found;
}

static int finish_fetch(struct mh_resp *r, struct mh_resp_event *ev)
{
    set_fetch(r, ev, MH_RESP_FETCH);
    r->stage = STAGE_LINE;
    r->is_done = true;
    return STEP_EVENT;
}

static void set_status(const struct mh_resp *r, const char *base, size_t len,
                       struct mh_resp_event *ev)
{
    struct mh_span code;
    struct mh_span human;
    mh_resp_code_split(base, r->head.rest, len, &code, &human);
    if (r->head.kind == MH_KIND_CONTINUE) /* a SASL challenge or a text: all of it */
        human = (struct mh_span){r->head.rest, len - r->head.rest};
    if (code.off != SIZE_MAX)
        point(base, code, &ev->code, &ev->code_len);
    point(base, human, &ev->text, &ev->text_len);
    ev->status = r->head.status;
}

/* Values of `* NAME …`. Text that is not ours to write is copied when it has escapes. */
static int set_values(struct mh_resp *r, char *base, size_t len, bool in_place,
                      struct mh_resp_event *ev, struct mh_err *err)
{
    struct mh_vals_text text = {.text = base,
                                .from = r->head.rest,
                                .len = len,
                                .literals = r->literals,
                                .n_literals = r->n_literals,
                                .can_write = !in_place};
    enum mh_vals_result result = mh_vals_parse(&r->vals, &text);
    if (result == MH_VALS_ESCAPE) {
        mh_buf_add(&r->text, base, len);
        if (mh_buf_failed(&r->text))
            return mh_err_nomem(err);
        text.text = r->text.data;
        text.can_write = true;
        result = mh_vals_parse(&r->vals, &text);
    }
    point(text.text, r->head.name, &ev->name, &ev->name_len);
    switch (result) {
    case MH_VALS_OK:
        ev->vals = r->vals.nodes;
        ev->n_vals = r->vals.n;
        ev->n_top = r->vals.n_top;
        return MH_OK;
    case MH_VALS_NOMEM:
        return mh_err_nomem(err);
    case MH_VALS_DEPTH:
        return mh_err_set(err, MH_EMAILBOX, "imap", "more than %d parentheses deep",
                          MH_IMAP_DEPTH_MAX);
    default:
        break;
    }
    if (r->n_literals > 0 || mh_resp_head_is_known(ev->name, ev->name_len))
        return mh_err_set(err, MH_EMAILBOX, "imap", "malformed %.*s response",
                          (int)MH_MIN(ev->name_len, (size_t)32), ev->name);
    return MH_OK; /* prose behind an asterisk: an event without values */
}

/* --- bodies ---------------------------------------------------------------------------------- */

static int begin_body(struct mh_resp *r, enum stage stage, enum stage after,
                      struct mh_resp_event *ev)
{
    r->had_body = true;
    r->stage = stage;
    r->after_body = after;
    if (stage == STAGE_QUOTED)
        r->quoted = r->scan.quoted_body;
    set_fetch(r, ev, MH_RESP_BODY_BEGIN);
    return STEP_EVENT;
}

static int end_body(struct mh_resp *r, struct mh_resp_event *ev)
{
    r->stage = r->after_body;
    ev->type = MH_RESP_BODY_END;
    ev->fetch = &r->scan.found;
    return STEP_EVENT;
}

static int step_body(struct mh_resp *r, struct mh_slice *in, struct mh_resp_event *ev)
{
    if (r->left == 0)
        return end_body(r, ev);
    if (in->len == 0)
        return more(r, in, ev);
    uint32_t n = (uint32_t)MH_MIN((uint64_t)in->len, r->left);
    if (n == in->len) { /* all of it: the reference goes along */
        ev->slice = *in;
        *in = (struct mh_slice){NULL, 0, 0};
    } else {
        ev->slice = mh_slice_sub(in, 0, n);
        consume(in, n);
    }
    r->left -= n;
    ev->type = MH_RESP_BODY_DATA;
    ev->fetch = &r->scan.found;
    return STEP_EVENT;
}

/* The next run of a quoted body that lies in the held slab: a slice of it, escapes left out. */
static struct mh_slice quoted_in_place(struct mh_resp *r)
{
    size_t skip = 0;
    size_t run = mh_resp_quoted_run(r->base + r->quoted.off, r->quoted.len, &skip);
    const char *at = r->base + r->quoted.off + skip;
    r->quoted.off += skip + run;
    r->quoted.len -= skip + run;
    return mh_slice_of(r->held, (uint32_t)(at - (const char *)r->held->data), (uint32_t)run);
}

/* A quoted body whose line was gathered lies in no slab: what fits is copied into one. */
static uint32_t quoted_copy(struct mh_resp *r, struct mh_slab *slab)
{
    uint32_t used = 0;
    while (r->quoted.len > 0 && used < MH_SLAB_BYTES) {
        size_t skip = 0;
        const char *from = r->base + r->quoted.off;
        size_t run = mh_resp_quoted_run(from, r->quoted.len, &skip);
        run = MH_MIN(run, (size_t)(MH_SLAB_BYTES - used));
        mh_slab_copy(slab->data + used, from + skip, run);
        used += (uint32_t)run;
        r->quoted.off += skip + run;
        r->quoted.len -= skip + run;
    }
    return used;
}

static int step_quoted(struct mh_resp *r, struct mh_resp_event *ev, struct mh_err *err)
{
    if (r->quoted.len == 0)
        return end_body(r, ev);
    if (r->is_in_place) {
        ev->slice = quoted_in_place(r);
    } else {
        struct mh_slab *slab = mh_slab_get(r->pool);
        if (!slab)
            return mh_err_set(err, MH_ERETRY, "imap", "no memory left for a message in quotes");
        ev->slice = (struct mh_slice){slab, 0, quoted_copy(r, slab)};
    }
    ev->type = MH_RESP_BODY_DATA;
    ev->fetch = &r->scan.found;
    return STEP_EVENT;
}

/* --- literals that are not bodies ------------------------------------------------------------ */

static int add_literal(struct mh_resp *r, uint64_t octets, struct mh_err *err)
{
    if (!mh_grow(r->literals, r->literals_cap, r->n_literals + 1))
        return mh_err_nomem(err);
    r->literals[r->n_literals++] = (struct mh_vals_literal){r->text.len, (size_t)octets};
    r->left = octets;
    r->stage = STAGE_LITERAL;
    return STEP_ON;
}

static int step_literal(struct mh_resp *r, struct mh_slice *in, struct mh_resp_event *ev,
                        struct mh_err *err)
{
    if (r->left == 0) {
        r->segment = r->text.len;
        r->stage = STAGE_LINE;
        return STEP_ON;
    }
    if (in->len == 0)
        return more(r, in, ev);
    uint32_t n = (uint32_t)MH_MIN((uint64_t)in->len, r->left);
    if (r->stage == STAGE_LITERAL) {
        mh_buf_add(&r->text, mh_slice_data(in), n);
        if (mh_buf_failed(&r->text))
            return mh_err_nomem(err);
    }
    r->left -= n;
    consume(in, n);
    return STEP_ON;
}

/* --- lines ----------------------------------------------------------------------------------- */

/* The response goes on with a literal; its text so far is in r->text. */
static int take_literal(struct mh_resp *r, uint64_t octets, struct mh_resp_event *ev,
                        struct mh_err *err)
{
    bool is_body = false;
    r->base = r->text.data;
    r->is_in_place = false;
    r->left = octets;
    r->segment = r->text.len;
    if (r->head.kind == MH_KIND_DATA) {
        int rc = count_literal(r, octets, err);
        return rc ? rc : add_literal(r, octets, err);
    }
    int rc = mh_fetch_scan_text(&r->scan, r->text.data, r->text.len, err);
    if (rc == MH_OK)
        rc = mh_fetch_scan_literal(&r->scan, octets, &is_body, err);
    if (rc)
        return rc;
    if (is_body)
        return begin_body(r, STAGE_BODY, STAGE_LINE, ev);
    rc = count_literal(r, octets, err);
    if (rc)
        return rc;
    if (r->scan.has_quoted_body)
        return begin_body(r, STAGE_QUOTED, STAGE_SKIP, ev);
    r->stage = STAGE_SKIP;
    return STEP_ON;
}

/* The response is complete: BASE[0..len). */
static int take_response(struct mh_resp *r, char *base, size_t len, bool in_place,
                         struct mh_resp_event *ev, struct mh_err *err)
{
    if (r->head.kind == MH_KIND_FETCH) {
        r->base = base;
        r->is_in_place = in_place;
        int rc = mh_fetch_scan_text(&r->scan, base, len, err);
        if (rc == MH_OK)
            rc = mh_fetch_scan_end(&r->scan, err);
        if (rc)
            return rc;
        if (r->scan.has_quoted_body)
            return begin_body(r, STAGE_QUOTED, STAGE_FINISH, ev);
        return finish_fetch(r, ev);
    }
    r->is_done = true;
    ev->number = r->head.number;
    ev->has_number = r->head.has_number;
    if (r->head.kind == MH_KIND_DATA) {
        ev->type = MH_RESP_UNTAGGED;
        return set_values(r, base, len, in_place, ev, err);
    }
    set_status(r, base, len, ev);
    if (r->head.kind == MH_KIND_TAGGED) {
        ev->type = MH_RESP_TAGGED;
        point(base, r->head.tag, &ev->tag, &ev->tag_len);
    } else {
        ev->type = r->head.kind == MH_KIND_CONTINUE ? MH_RESP_CONTINUE : MH_RESP_UNTAGGED;
    }
    if (r->head.kind != MH_KIND_CONTINUE)
        point(base, r->head.name, &ev->name, &ev->name_len);
    return STEP_EVENT;
}

/*
 * A line is there, without its end: BASE[0..len), of which the present line starts at r->segment.
 * In place (nothing was gathered before): BASE is in the held slab. Otherwise: BASE is r->text.
 */
static int take_line(struct mh_resp *r, char *base, size_t len, bool in_place,
                     struct mh_resp_event *ev, struct mh_err *err)
{
    struct mh_resp_marker marker = {.found = false};
    if (!r->has_head) {
        if (mh_resp_skip_blanks(base, 0, len) == len) { /* an empty line between responses */
            start_response(r);
            return STEP_ON;
        }
        int rc = mh_resp_head_parse(base, len, &r->head, err);
        if (rc) {
            if (!r->had_body) /* what answers here: another protocol's greeting, perhaps */
                mh_err_server(err, base, MH_MIN(len, (size_t)EXCERPT_BYTES));
            return rc;
        }
        r->has_head = true;
        if (r->head.kind == MH_KIND_FETCH)
            mh_fetch_scan_start(&r->scan, r->head.number, r->head.rest);
    }
    if (r->head.kind == MH_KIND_DATA || r->head.kind == MH_KIND_FETCH) {
        size_t from = MH_MAX(r->segment, r->head.rest); /* never inside the name */
        int rc = mh_resp_marker_find(base, from, len, &marker, err);
        if (rc)
            return rc;
    }
    if (!marker.found)
        return take_response(r, base, len, in_place, ev, err);
    if (in_place) {
        mh_buf_add(&r->text, base, marker.off);
        if (mh_buf_failed(&r->text))
            return mh_err_nomem(err);
    } else {
        r->text.len = marker.off;
    }
    return take_literal(r, marker.octets, ev, err);
}

/* One slice's part of a line: in place if that is the whole line, gathered otherwise. */
static int step_line(struct mh_resp *r, struct mh_slice *in, struct mh_resp_event *ev,
                     struct mh_err *err)
{
    if (in->len == 0)
        return more(r, in, ev);
    char *data = (char *)mh_slice_data(in);
    const char *end = memchr(data, '\n', in->len);
    uint32_t taken = end ? (uint32_t)(end - data) + 1 : in->len;
    r->line_bytes += taken;
    if (r->line_bytes > r->line_max)
        return mh_err_set(err, MH_EMAILBOX, "imap", "a response longer than %zu bytes",
                          r->line_max);
    if (memchr(data, '\0', taken))
        return mh_err_set(err, MH_EMAILBOX, "imap", "a NUL byte in a response");
    r->pool = in->slab->pool;
    bool in_place = end && r->text.len == 0 && !r->has_head;
    if (in_place) {
        size_t len = taken - 1;
        if (len > 0 && data[len - 1] == '\r')
            len--;
        hold(r, in->slab);
        consume(in, taken);
        return take_line(r, data, len, true, ev, err);
    }
    mh_buf_add(&r->text, data, end ? taken - 1 : taken);
    consume(in, taken);
    if (mh_buf_failed(&r->text))
        return mh_err_nomem(err);
    if (!end)
        return more(r, in, ev);
    if (r->text.len > r->segment && r->text.data[r->text.len - 1] == '\r')
        r->text.len--;
    return take_line(r, r->text.data, r->text.len, false, ev, err);
}

static int step(struct mh_resp *r, struct mh_slice *in, struct mh_resp_event *ev,
                struct mh_err *err)
{
    switch (r->stage) {
    case STAGE_LINE:
        return step_line(r, in, ev, err);
    case STAGE_LITERAL:
    case STAGE_SKIP:
        return step_literal(r, in, ev, err);
    case STAGE_BODY:
        return step_body(r, in, ev);
    case STAGE_QUOTED:
        return step_quoted(r, ev, err);
    case STAGE_FINISH:
        return finish_fetch(r, ev);
    }
    mh_assert(false); /* no such stage */
    return STEP_ON;
}

int mh_resp_next(struct mh_resp *r, struct mh_slice *in, struct mh_resp_event *ev,
                 struct mh_err *err)
{
    if (r->has_failed)
        return mh_err_set(err, MH_EMAILBOX, "imap", "the dialogue is out of step since an error");
    if (r->is_done)
        start_response(r);
    *ev = (struct mh_resp_event){.type = MH_RESP_MORE};
    int rc = STEP_ON;
    while (rc == STEP_ON)
        rc = step(r, in, ev, err);
    if (rc < 0 && rc != MH_ERETRY)
        r->has_failed = true;
    return rc;
}
