/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/header.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { NAME_MAX_LEN = 64 };

/*
 * Within a header:  LINE_START ── NAME ── NAME_BLANK ── VALUE ── VALUE_CR ── LINE_START …
 * SKIP is a line that nobody asked for; EMPTY_CR is a CR at the start of a line.
 */
enum state { LINE_START, EMPTY_CR, NAME, NAME_BLANK, VALUE, VALUE_CR, SKIP, ENDED };

struct value {
    unsigned field;
    unsigned off; /* into text; terminated */
};

struct mh_header_scan {
    const char *const *fields; /* borrowed */
    enum state state;
    bool is_kept; /* the present field is one of ours: a folded line goes on with it */
    char name[NAME_MAX_LEN + 1];
    size_t name_len; /* above NAME_MAX_LEN: longer than any of ours */
    struct value values[MH_HEADER_VALUES_MAX];
    unsigned n_values;
    /* The last value ends at text[end], where its terminator is. Blanks that follow it are parked
     * behind the terminator, because they count only when something follows them. */
    size_t end;
    size_t gap;
    char text[MH_HEADER_KEEP_MAX_BYTES];
};

int mh_header_scan_new(const char *const *fields, struct mh_header_scan **out, struct mh_err *err)
{
    struct mh_header_scan *h = mh_alloc(sizeof *h);
    if (!h)
        return mh_err_nomem(err);
    for (const char *const *field = fields; *field; field++)
        mh_assert(strlen(*field) <= NAME_MAX_LEN);
    h->fields = fields;
    mh_header_scan_reset(h);
    *out = h;
    return MH_OK;
}

void mh_header_scan_free(struct mh_header_scan *h)
{
    mh_free(h);
}

void mh_header_scan_reset(struct mh_header_scan *h)
{
    h->state = LINE_START;
    h->is_kept = false;
    h->n_values = 0;
    h->end = 0;
    h->gap = 0;
    h->text[0] = '\0';
}

const char *mh_header_scan_value(const struct mh_header_scan *h, unsigned i, unsigned nth)
{
    for (unsigned v = 0; v < h->n_values; v++) {
        if (h->values[v].field == i && nth-- == 0)
            return h->text + h->values[v].off;
    }
    return NULL;
}

/* The name is complete: is it one of ours, and is there room? */
static void start_value(struct mh_header_scan *h)
{
    h->state = SKIP;
    if (h->name_len == 0 || h->name_len > NAME_MAX_LEN)
        return;
    size_t off = h->n_values ? h->end + 1 : 0;
    if (h->n_values == MH_HEADER_VALUES_MAX || off >= sizeof h->text)
        return;
    for (unsigned i = 0; h->fields[i]; i++) {
        if (!mh_mem_ieq(h->name, h->name_len, h->fields[i]))
            continue;
        h->values[h->n_values++] = (struct value){i, (unsigned)off};
        h->end = off;
        h->gap = 0;
        h->text[off] = '\0';
        h->is_kept = true;
        h->state = VALUE;
        return;
    }
}

/* True if N more bytes and a terminator fit behind the present value and its parked blanks. */
static bool has_room(const struct mh_header_scan *h, size_t n)
{
    size_t used = h->end - h->values[h->n_values - 1].off + h->gap;
    return used + n <= MH_HEADER_VALUE_MAX_BYTES && h->end + h->gap + n + 1 < sizeof h->text;
}

static void add_blank(struct mh_header_scan *h, char c)
{
    bool is_leading = h->end == h->values[h->n_values - 1].off;
    if (!is_leading && has_room(h, 1))
        h->text[h->end + 1 + h->gap++] = c;
}

static void add_byte(struct mh_header_scan *h, char c)
{
    if (c == '\0' || !has_room(h, 1))
        return;
    memmove(h->text + h->end, h->text + h->end + 1, h->gap);
    h->end += h->gap;
    h->gap = 0;
    h->text[h->end++] = c;
    h->text[h->end] = '\0';
}

static void at_line_start(struct mh_header_scan *h, char c)
{
    switch (c) {
    case '\n':
        h->state = ENDED;
        break;
    case '\r':
        h->state = EMPTY_CR;
        break;
    case ' ':
    case '\t': /* folded: goes on with the field above */
        h->state = h->is_kept ? VALUE : SKIP;
        if (h->is_kept)
            add_blank(h, c);
        break;
    default:
        h->is_kept = false;
        h->name_len = 0;
        h->state = NAME;
        break;
    }
}

static void in_name(struct mh_header_scan *h, char c)
{
    if (c == '\n')
        h->state = LINE_START;
    else if (c == ':')
        start_value(h);
    else if (c == ' ' || c == '\t')
        h->state = NAME_BLANK;
    else if (h->state == NAME_BLANK || c <= ' ' || c >= 0x7f)
        h->state = SKIP; /* prose, or 8-bit: no field name (RFC 5322 section 2.2) */
    else if (h->name_len < NAME_MAX_LEN)
        h->name[h->name_len++] = c;
    else
        h->name_len = NAME_MAX_LEN + 1;
}

static void in_value(struct mh_header_scan *h, char c)
{
    if (h->state == VALUE_CR && c != '\n')
        add_blank(h, ' '); /* a bare CR ends no line, and nobody wants it in a text */
    h->state = VALUE;
    if (c == '\n')
        h->state = LINE_START;
    else if (c == '\r')
        h->state = VALUE_CR;
    else if (c == ' ' || c == '\t')
        add_blank(h, c);
    else
        add_byte(h, c);
}

/* One byte in any state but SKIP. */
static void take(struct mh_header_scan *h, char c)
{
    switch (h->state) {
    case LINE_START:
        at_line_start(h, c);
        if (h->state == NAME)
            in_name(h, c);
        break;
    case EMPTY_CR:
        h->is_kept = false;
        if (c != '\r') /* CR CR LF is what a careless conversion leaves */
            h->state = c == '\n' ? ENDED : SKIP;
        break;
    case NAME:
    case NAME_BLANK:
        in_name(h, c);
        break;
    case VALUE:
    case VALUE_CR:
        in_value(h, c);
        break;
    case SKIP:
    case ENDED:
        break;
    }
}

bool mh_header_scan_feed(struct mh_header_scan *h, const void *data, size_t len)
{
    const char *p = data;
    const char *end = p + len;
    while (p < end && h->state != ENDED) {
        if (h->state != SKIP) {
            take(h, *p++);
            continue;
        }
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf)
            break;
        h->state = LINE_START;
        p = lf + 1;
    }
    return h->state != ENDED;
}

/* --- oddities -------------------------------------------------------------------------------- */

/* The first line so far: still a field's name, blanks behind it, or known to be a field or not. */
enum { FIRST_EMPTY, FIRST_NAME, FIRST_BLANK, FIRST_KNOWN };

void mh_oddity_start(struct mh_oddity_scan *s)
{
    *s = (struct mh_oddity_scan){.in_header = true, .first_line = FIRST_EMPTY};
}

static uint64_t count_byte(const char *p, size_t len, char c)
{
    uint64_t n = 0;
    const char *end = p + len;
    while (p < end && (p = memchr(p, c, (size_t)(end - p)))) {
        n++;
        p++;
    }
    return n;
}

static void look_at_first_line(struct mh_oddity_scan *s, const char *p, size_t len)
{
    for (size_t i = 0; i < len && s->first_line != FIRST_KNOWN; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == ':') {
            s->found.has_header = s->first_line != FIRST_EMPTY;
            s->first_line = FIRST_KNOWN;
        } else if (s->first_line != FIRST_EMPTY && (c == ' ' || c == '\t')) {
            s->first_line = FIRST_BLANK;
        } else {
            bool is_name = s->first_line != FIRST_BLANK && c > ' ' && c < 0x7f;
            s->first_line = is_name ? FIRST_NAME : FIRST_KNOWN;
        }
    }
}

/* A piece of a line, at least one byte, no LF in it. */
static void take_piece(struct mh_oddity_scan *s, const char *p, size_t len)
{
    s->found.has_final_newline = false;
    s->found.bare_cr += s->last_was_cr; /* what follows it is no LF */
    s->last_was_cr = p[len - 1] == '\r';
    s->found.bare_cr += count_byte(p, len - 1, '\r');
    s->found.nul_bytes += count_byte(p, len, '\0');
    s->line_len += len;
    if (!s->in_header)
        return;
    look_at_first_line(s, p, len);
    for (size_t i = 0; i < len; i++)
        s->found.eight_bit_header += (unsigned char)p[i] >> 7;
}

static void take_line_end(struct mh_oddity_scan *s)
{
    uint64_t len = s->line_len - s->last_was_cr;
    s->found.bare_lf += !s->last_was_cr;
    s->found.longest_line = MH_MAX(s->found.longest_line, len);
    s->found.has_final_newline = true;
    s->in_header = s->in_header && len > 0;
    s->first_line = FIRST_KNOWN;
    s->line_len = 0;
    s->last_was_cr = false;
}

void mh_oddity_feed(struct mh_oddity_scan *s, const void *data, size_t len)
{
    const char *p = data;
    const char *end = p + len;
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *stop = lf ? lf : end;
        if (stop > p)
            take_piece(s, p, (size_t)(stop - p));
        if (lf)
            take_line_end(s);
        p = lf ? lf + 1 : end;
    }
}

void mh_oddity_end(struct mh_oddity_scan *s)
{
    s->found.bare_cr += s->last_was_cr;
    s->last_was_cr = false;
    s->found.longest_line = MH_MAX(s->found.longest_line, s->line_len);
}
