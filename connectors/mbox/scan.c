/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Finds the messages of an mbox, fed with its octets in pieces of any size.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/mbox/mbox_priv.h"

/* --- From_ lines ------------------------------------------------------------------------------ */

enum { TOKENS_MAX = 24 };

struct token {
    const char *s;
    size_t len;
};

static size_t split(const char *line, size_t len, struct token tokens[TOKENS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < len && n < TOKENS_MAX;) {
        size_t end = i;
        while (end < len && line[end] != ' ' && line[end] != '\t')
            end++;
        if (end > i)
            tokens[n++] = (struct token){line + i, end - i};
        i = end + 1;
    }
    return n;
}

static bool is_number(const struct token *t, size_t min, size_t max)
{
    for (size_t i = 0; i < t->len; i++)
        if (t->s[i] < '0' || t->s[i] > '9')
            return false;
    return t->len >= min && t->len <= max;
}

/* "Nov 22 13:05:00 2026" from T[0] on, with what may stand between the time and the year (a zone's
 * name) or behind it (its offset). */
static bool read_date(const struct token *t, size_t n, struct mh_date *out)
{
    if (n < 4 || t[0].len != 3 || !is_number(&t[1], 1, 2) || !memchr(t[2].s, ':', t[2].len))
        return false;
    size_t year = 3;
    while (year < n && year < 5 && !is_number(&t[year], 4, 4))
        year++;
    if (year == n || !is_number(&t[year], 4, 4))
        return false;
    const struct token *zone = year + 1 < n ? &t[year + 1] : NULL;
    bool has_zone = zone && zone->len == 5 && (zone->s[0] == '+' || zone->s[0] == '-');
    char text[64];
    int len = snprintf(text, sizeof text, "%.*s %.*s %.*s %.*s %.*s", (int)MH_MIN(t[1].len, 2),
                       t[1].s, 3, t[0].s, 4, t[year].s, (int)MH_MIN(t[2].len, 8), t[2].s,
                       has_zone ? 5 : 0, has_zone ? zone->s : "");
    return mh_date_parse_rfc5322(text, (size_t)len, out);
}

/* The sender may be anything, so the date is looked for from the left. */
bool mbox_from_line(const char *line, size_t len, struct mh_date *date_out)
{
    struct token t[TOKENS_MAX];
    if (len < 5 || memcmp(line, "From ", 5) != 0)
        return false;
    while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    size_t n = split(line, len, t);
    for (size_t i = 1; i + 3 < n; i++)
        if (read_date(t + i, n - i, date_out))
            return true;
    return false;
}

/* --- header fields ---------------------------------------------------------------------------- */

static bool field_value(const struct mbox_scan *s, const char *name, const char **value_out,
                        size_t *len_out)
{
    size_t name_len = strlen(name);
    size_t len = s->head_len;
    if (len <= name_len || s->head[name_len] != ':' || !mh_mem_ieq(s->head, name_len, name))
        return false;
    const char *v = s->head + name_len + 1;
    const char *end = s->head + len;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (end > v && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *value_out = v;
    *len_out = (size_t)(end - v);
    return true;
}

static void read_field(struct mbox_scan *s)
{
    static const struct {
        const char *field;
        char letter;
        uint8_t flag;
    } letters[] = {
        {"Status", 'R', MH_SEEN},       {"Status", 'D', MH_DELETED},
        {"X-Status", 'A', MH_ANSWERED}, {"X-Status", 'F', MH_FLAGGED},
        {"X-Status", 'D', MH_DELETED},  {"X-Status", 'T', MH_DRAFT},
    };
    const char *value = NULL;
    size_t len = 0;
    for (size_t i = 0; i < MH_ARRAY_LEN(letters); i++)
        if (field_value(s, letters[i].field, &value, &len) && len &&
            memchr(value, letters[i].letter, len))
            s->cur.flags |= letters[i].flag;
    if (field_value(s, "X-Keywords", &value, &len) && len && !memchr(value, '\0', len)) {
        s->cur.keywords = s->words.len;
        mh_buf_add(&s->words, value, len);
        mh_buf_add(&s->words, "", 1);
    }
}

/* --- messages --------------------------------------------------------------------------------- */

int mbox_scan_init(struct mbox_scan *s, struct mh_err *err)
{
    *s = (struct mbox_scan){.after_blank = true, .is_pending = true};
    mh_buf_add(&s->words, "", 1);
    return mbox_ident_init(&s->ident, err);
}

void mbox_scan_done(struct mbox_scan *s)
{
    mh_free(s->v);
    mh_buf_done(&s->words);
    mbox_counts_done(&s->counts);
    mbox_ident_done(&s->ident);
    *s = (struct mbox_scan){0};
}

static void give(struct mbox_scan *s, const void *data, size_t len)
{
    s->is_no_mbox |= !s->in_message;
    mh_form_scan_feed(&s->form, data, len);
    mbox_ident_feed(&s->ident, data, len);
    s->cur.len += len;
}

/* The empty line belongs to the message after all. */
static void give_blank(struct mbox_scan *s)
{
    if (s->blank_len && s->in_message)
        give(s, s->blank_len == 2 ? "\r\n" : "\n", s->blank_len);
    s->blank_len = 0;
}

static int end_message(struct mbox_scan *s, uint64_t next_at, struct mh_err *err)
{
    char name[MBOX_NAME_MAX];
    if (!s->in_message)
        return 0;
    if (!mh_grow(s->v, s->cap, s->n + 1))
        return mh_err_nomem(err);
    struct mbox_message *m = &s->cur;
    m->next_at = next_at;
    m->bare_lf = s->form.bare_lf;
    m->crlf = s->form.crlf;
    m->quoted = s->form.quoted;
    m->ident = mbox_ident_end(&s->ident);
    int rc = mbox_counts_add(&s->counts, m->ident, &m->nth, err);
    if (rc < 0)
        return rc;
    mbox_message_name(m->ident, m->nth, name);
    m->uid = mh_uid_from_name(name, strlen(name));
    s->v[s->n++] = *m;
    s->in_message = false;
    s->blank_len = 0;
    return 0;
}

static int start_message(struct mbox_scan *s, const struct mh_date *date, struct mh_err *err)
{
    int rc = end_message(s, s->line_at, err);
    if (rc < 0)
        return rc;
    s->cur = (struct mbox_message){.from_at = s->line_at, .date = *date};
    s->form = (struct mh_form_scan){0};
    mbox_ident_start(&s->ident);
    s->blank_len = 0;
    s->in_message = true;
    s->in_header = true;
    s->is_from_rest = true;
    return 0;
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool head_is_blank(const struct mbox_scan *s)
{
    return (s->line_len == 1 && s->head[0] == '\n') ||
           (s->line_len == 2 && s->head[0] == '\r' && s->head[1] == '\n');
}

/* What the line is cannot be told yet: held back until more of it comes. */
static bool is_undecided(const struct mbox_scan *s, bool is_whole)
{
    if (is_whole)
        return false;
    if (s->line_len == 1 && s->head[0] == '\r')
        return true;
    return s->after_blank && s->line_len < MBOX_HEAD_MAX &&
           memcmp(s->head, "From ", MH_MIN(s->head_len, 5)) == 0;
}

/* A stretch of the present line; LEN is at least 1 and IS_WHOLE says that it ends it. */
static int take_part(struct mbox_scan *s, const unsigned char *p, size_t len, bool is_whole,
                     struct mh_err *err)
{
    size_t had = s->head_len;
    size_t more = MH_MIN(len, MBOX_HEAD_MAX - s->head_len);
    memcpy(s->head + s->head_len, p, more); /* a look at the line, not the message's way */
    s->head_len += more;
    s->line_len += len;
    if (s->is_from_rest)
        return 0;
    if (!s->is_pending) {
        give(s, p, len);
        return 0;
    }
    if (is_undecided(s, is_whole))
        return 0;
    s->is_pending = false;
    struct mh_date date;
    if (s->after_blank && mbox_from_line(s->head, s->head_len, &date))
        return start_message(s, &date, err);
    give_blank(s);
    if (head_is_blank(s)) {
        s->blank_len = (unsigned)s->line_len;
        return 0;
    }
    give(s, s->head, had);
    give(s, p, len);
    return 0;
}

static void end_line(struct mbox_scan *s)
{
    bool is_blank = head_is_blank(s);
    if (s->is_from_rest)
        s->cur.start = s->at;
    else if (is_blank)
        s->in_header = false;
    else if (s->in_header)
        read_field(s);
    s->after_blank = is_blank;
    s->is_from_rest = false;
    s->is_pending = true;
    s->head_len = 0;
    s->line_len = 0;
    s->line_at = s->at;
}

int mbox_scan_feed(struct mbox_scan *s, const unsigned char *data, size_t len, struct mh_err *err)
{
    for (size_t i = 0; i < len;) {
        const unsigned char *lf = memchr(data + i, '\n', len - i);
        size_t end = lf ? (size_t)(lf - data) + 1 : len;
        int rc = take_part(s, data + i, end - i, lf != NULL, err);
        if (rc < 0)
            return rc;
        if (s->is_no_mbox)
            return mh_err_set(err, MH_EFOLDER, "mbox",
                              "this is no mbox: it does not begin with a \"From \" line");
        s->at += end - i;
        i = end;
        if (lf)
            end_line(s);
    }
    return mh_buf_failed(&s->words) ? mh_err_nomem(err) : 0;
}

int mbox_scan_end(struct mbox_scan *s, struct mh_err *err)
{
    if (s->line_len && s->is_pending) { /* the last line has no end */
        struct mh_date date;
        s->is_pending = false;
        if (s->after_blank && mbox_from_line(s->head, s->head_len, &date)) {
            int rc = start_message(s, &date, err);
            if (rc < 0)
                return rc;
        } else {
            give_blank(s);
            give(s, s->head, s->head_len);
        }
    }
    if (s->is_from_rest)
        s->cur.start = s->at;
    if (s->is_no_mbox)
        return mh_err_set(err, MH_EFOLDER, "mbox",
                          "this is no mbox: it does not begin with a \"From \" line");
    return end_message(s, s->at, err);
}

int mbox_scan_file(struct mbox_scan *s, int fd, uint64_t limit, unsigned char *buf, bool *done_out,
                   struct mh_err *err)
{
    *done_out = false;
    for (uint64_t stop = s->at + MBOX_SCAN_BYTES; s->at < limit && s->at < stop;) {
        size_t want = (size_t)MH_MIN(limit - s->at, MH_SLAB_BYTES);
        ssize_t n = pread(fd, buf, want, (off_t)s->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mh_err_sys(err, MH_EFOLDER, "mbox", errno, "cannot read the mbox");
        if (n == 0)
            limit = s->at;
        int rc = n ? mbox_scan_feed(s, buf, (size_t)n, err) : 0;
        if (rc < 0)
            return rc;
    }
    if (s->at < limit)
        return 0;
    *done_out = true;
    return mbox_scan_end(s, err);
}
