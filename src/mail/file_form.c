/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/file_form.h"

#include <string.h>

static const char from_text[] = ">From ";
enum { FROM_LEN = 5 };

static const struct mh_form_seg nothing = {"", 0, (const unsigned char *)"", 0, "", 0};

/*
 * One line's beginning, octet by octet:
 *
 *   start --'>'--> quotes --"From "--> separator look-alike
 *     |              |
 *     +--- other ----+--> plain
 */
enum look { LOOK_MORE, LOOK_PLAIN, LOOK_FROM };

static enum look line_look(struct mh_form_line *line, unsigned char c)
{
    if (c == '>' && line->from == 0) {
        line->has_quote = true;
        return LOOK_MORE;
    }
    if (c != (unsigned char)from_text[1 + line->from]) {
        line->is_plain = true;
        return LOOK_PLAIN;
    }
    if (++line->from < FROM_LEN)
        return LOOK_MORE;
    line->is_plain = true;
    return LOOK_FROM;
}

/* --- scanning --------------------------------------------------------------------------------- */

static void scan_line_end(struct mh_form_scan *s, const unsigned char *lf,
                          const unsigned char *start)
{
    bool has_cr = lf > start ? lf[-1] == '\r' : s->after_cr;
    if (has_cr)
        s->crlf++;
    else
        s->bare_lf++;
    s->line = (struct mh_form_line){0};
}

void mh_form_scan_feed(struct mh_form_scan *s, const void *data, size_t len)
{
    const unsigned char *start = data;
    const unsigned char *end = start + len;
    const unsigned char *p = start;
    while (p < end) {
        while (p < end && !s->line.is_plain && *p != '\n')
            if (line_look(&s->line, *p++) == LOOK_FROM && s->line.has_quote)
                s->quoted++;
        const unsigned char *lf = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        if (!lf)
            break;
        scan_line_end(s, lf, start);
        p = lf + 1;
    }
    s->octets += len;
    if (len)
        s->after_cr = end[-1] == '\r';
}

bool mh_form_scan_is_unix(const struct mh_form_scan *s)
{
    return s->bare_lf && !s->crlf;
}

uint64_t mh_form_octets(const struct mh_form_scan *s, unsigned flags)
{
    mh_assert(!(flags & MH_FORM_QUOTE));
    uint64_t octets = s->octets;
    if (flags & MH_FORM_TO_CRLF)
        octets += s->bare_lf;
    if (flags & MH_FORM_UNQUOTE)
        octets -= s->quoted;
    return octets;
}

/* --- changing --------------------------------------------------------------------------------- */

/* The line has turned out to be plain: what was held back goes out as it came. Quoting holds back the
 * letters of "From ", unquoting one '>' before them too. */
static void give_held(struct mh_form *f, const struct mh_form_line *was, struct mh_form_seg *out)
{
    bool holds_quote = was->has_quote && (f->flags & MH_FORM_UNQUOTE);
    out->before = holds_quote ? from_text : from_text + 1;
    out->before_len = was->from + (holds_quote ? 1u : 0u);
}

/* The stretch to the line's end at most. Nothing of it needs to be held back. */
static size_t rest_of_line(struct mh_form *f, const unsigned char *in, size_t len, size_t from,
                           struct mh_form_seg *out)
{
    const unsigned char *lf = from < len ? memchr(in + from, '\n', len - from) : NULL;
    size_t end = lf ? (size_t)(lf - in) : len;
    out->data = in + from;
    if (!lf) {
        out->len = end - from;
        return len;
    }
    f->line = (struct mh_form_line){0};
    if (f->flags & MH_FORM_TO_CRLF) {
        out->len = end - from;
        out->after = "\r\n";
        out->after_len = 2;
    } else {
        out->len = end + 1 - from;
    }
    return end + 1;
}

size_t mh_form_next(struct mh_form *f, const unsigned char *in, size_t len, struct mh_form_seg *out)
{
    *out = nothing;
    if (!(f->flags & (MH_FORM_QUOTE | MH_FORM_UNQUOTE)))
        return rest_of_line(f, in, len, 0, out);
    size_t at = 0;
    while (!f->line.is_plain && at < len) {
        struct mh_form_line was = f->line;
        bool is_held_quote = in[at] == '>' && was.from == 0;
        if (is_held_quote && (was.has_quote || (f->flags & MH_FORM_QUOTE))) {
            /* One of several: all look the same, so this one may go and the first stays held. */
            (void)line_look(&f->line, in[at]);
            out->data = in + at;
            out->len = 1;
            return at + 1;
        }
        enum look look = line_look(&f->line, in[at]);
        if (look == LOOK_PLAIN) {
            give_held(f, &was, out);
            return rest_of_line(f, in, len, at, out);
        }
        at++;
        if (look == LOOK_FROM) {
            bool adds = (f->flags & MH_FORM_QUOTE) != 0;
            out->before = adds ? from_text : from_text + 1;
            out->before_len = adds ? FROM_LEN + 1 : FROM_LEN;
            return at;
        }
    }
    return at ? at : rest_of_line(f, in, len, 0, out);
}

void mh_form_end(struct mh_form *f, struct mh_form_seg *out)
{
    *out = nothing;
    if ((f->flags & (MH_FORM_QUOTE | MH_FORM_UNQUOTE)) && !f->line.is_plain)
        give_held(f, &f->line, out);
    f->line = (struct mh_form_line){0};
}
