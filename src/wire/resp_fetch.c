/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire/resp_priv.h"

#include "base/str.h"

static int malformed(struct mh_err *err, const char *what)
{
    return mh_err_set(err, MH_EMAILBOX, "imap", "malformed FETCH: %s", what);
}

void mh_fetch_scan_start(struct mh_fetch_scan *s, uint32_t seq, size_t pos)
{
    *s = (struct mh_fetch_scan){.pos = pos, .item = MH_ITEM_NONE};
    s->found.seq = seq;
}

/* --- names ----------------------------------------------------------------------------------- */

static bool starts(const char *name, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);
    return len >= n && mh_resp_is(name, n, prefix);
}

static enum mh_fetch_item item_of(const char *name, size_t len)
{
    switch (name[0]) {
    case 'U':
    case 'u':
        return mh_resp_is(name, len, "UID") ? MH_ITEM_UID : MH_ITEM_OTHER;
    case 'F':
    case 'f':
        return mh_resp_is(name, len, "FLAGS") ? MH_ITEM_FLAGS : MH_ITEM_OTHER;
    case 'I':
    case 'i':
        return mh_resp_is(name, len, "INTERNALDATE") ? MH_ITEM_DATE : MH_ITEM_OTHER;
    case 'M':
    case 'm':
        return mh_resp_is(name, len, "MODSEQ") ? MH_ITEM_MODSEQ : MH_ITEM_OTHER;
    case 'E':
    case 'e':
        return mh_resp_is(name, len, "EMAILID") ? MH_ITEM_EMAIL_ID : MH_ITEM_OTHER;
    case 'X':
    case 'x':
        return mh_resp_is(name, len, "X-GM-MSGID") ? MH_ITEM_GM_ID : MH_ITEM_OTHER;
    case 'R':
    case 'r':
        if (mh_resp_is(name, len, "RFC822.SIZE"))
            return MH_ITEM_SIZE;
        return mh_resp_is(name, len, "RFC822") || mh_resp_is(name, len, "RFC822.HEADER") ||
                       mh_resp_is(name, len, "RFC822.TEXT")
                   ? MH_ITEM_BODY
                   : MH_ITEM_OTHER;
    case 'B':
    case 'b':
        /* BODY and BODYSTRUCTURE without a section are structures, BINARY.SIZE[…] is a number. */
        return starts(name, len, "BODY[") || starts(name, len, "BINARY[") ||
                       starts(name, len, "BODY.PEEK[")
                   ? MH_ITEM_BODY
                   : MH_ITEM_OTHER;
    default:
        return MH_ITEM_OTHER;
    }
}

/* The end of the name at POS: a section in brackets may hold blanks, parentheses and quoted
 * strings (`BODY[HEADER.FIELDS ("X Y" Z)]<0>`). LEN + 1 when the section has no end. */
static size_t name_end(const char *text, size_t pos, size_t len)
{
    while (pos < len && !mh_resp_is_blank(text[pos]) && text[pos] != '(' && text[pos] != ')') {
        if (text[pos] == '[') {
            while (pos < len && text[pos] != ']')
                pos = text[pos] == '"' ? mh_resp_quote_end(text, pos + 1, len) + 1 : pos + 1;
            if (pos >= len)
                return len + 1;
        }
        pos++;
    }
    return pos;
}

static int take_name(struct mh_fetch_scan *s, const char *text, size_t len, struct mh_err *err)
{
    size_t end = name_end(text, s->pos, len);
    if (end > len)
        return malformed(err, "a section without \"]\"");
    if (end == s->pos)
        return malformed(err, "a list where an item's name is due");
    s->item = item_of(text + s->pos, end - s->pos);
    if (s->item == MH_ITEM_BODY && !s->body_seen)
        s->section = (struct mh_span){s->pos, end - s->pos};
    s->pos = end;
    return MH_OK;
}

/* --- values ---------------------------------------------------------------------------------- */

static bool is_nil(const char *s, size_t len)
{
    return len == 3 && mh_resp_is(s, len, "NIL");
}

static int take_number(struct mh_fetch_scan *s, const char *atom, size_t len, struct mh_err *err)
{
    uint64_t n = 0;
    uint64_t max = s->item == MH_ITEM_UID ? UINT32_MAX : INT64_MAX;
    if (!mh_parse_u64(atom, len, max, &n))
        return malformed(err, "a number that is none or too large");
    if (s->item == MH_ITEM_UID) {
        if (n == 0)
            return malformed(err, "UID 0");
        if (s->found.uid != 0 && s->found.uid != n)
            return malformed(err, "two different UIDs in one response");
        s->found.uid = (uint32_t)n;
    } else if (s->item == MH_ITEM_SIZE) {
        s->found.size = n;
        s->found.has_size = true;
    } else {
        s->found.modseq = n;
        s->found.has_modseq = true;
    }
    return MH_OK;
}

static int take_atom(struct mh_fetch_scan *s, const char *text, size_t len, struct mh_err *err)
{
    const char *atom = text + s->pos;
    size_t end = mh_resp_atom_end(text, s->pos, len);
    size_t n = end - s->pos;
    int rc = MH_OK;
    switch (s->item) {
    case MH_ITEM_UID:
        rc = take_number(s, atom, n, err);
        break;
    case MH_ITEM_SIZE:
    case MH_ITEM_MODSEQ:
        rc = is_nil(atom, n) ? MH_OK : take_number(s, atom, n, err);
        break;
    case MH_ITEM_EMAIL_ID:
        if (!is_nil(atom, n))
            s->email_id = (struct mh_span){s->pos, n};
        break;
    case MH_ITEM_GM_ID: /* nothing depends on it: what is no number is left out */
        s->found.has_gm_id = mh_parse_u64(atom, n, UINT64_MAX, &s->found.gm_id);
        break;
    case MH_ITEM_FLAGS:
    case MH_ITEM_DATE:
        if (!is_nil(atom, n))
            rc = malformed(err, "FLAGS or INTERNALDATE of an unknown form");
        break;
    case MH_ITEM_BODY:
        if (!is_nil(atom, n))
            rc = malformed(err, "a body that is no string");
        else if (!s->body_seen)
            s->found.body_is_nil = s->body_seen = true;
        break;
    case MH_ITEM_NONE:
    case MH_ITEM_OTHER:
        break;
    }
    s->pos = end;
    s->item = MH_ITEM_NONE;
    return rc;
}

/* Octets of a quoted string's inside once its escapes are gone. */
static uint64_t quoted_octets(const char *s, size_t len)
{
    uint64_t octets = 0;
    for (size_t i = 0; i < len;) {
        size_t skip = 0;
        size_t run = mh_resp_quoted_run(s + i, len - i, &skip);
        octets += run;
        i += skip + run;
    }
    return octets;
}

static int take_quoted(struct mh_fetch_scan *s, const char *text, size_t len, struct mh_err *err)
{
    size_t start = s->pos + 1;
    size_t close = mh_resp_quote_end(text, start, len);
    if (close == len)
        return malformed(err, "a quoted string without an end");
    struct mh_span inside = {start, close - start};
    s->pos = close + 1;
    if (s->depth > 1)
        return MH_OK;
    switch (s->item) {
    case MH_ITEM_DATE:
        s->date = inside;
        s->found.has_date = true;
        break;
    case MH_ITEM_EMAIL_ID:
        s->email_id = inside;
        break;
    case MH_ITEM_BODY:
        if (!s->body_seen) {
            s->quoted_body = inside;
            s->has_quoted_body = s->body_seen = s->found.had_body = true;
            s->found.octets = quoted_octets(text + start, inside.len);
        }
        break;
    case MH_ITEM_OTHER:
    case MH_ITEM_GM_ID:
        break;
    default:
        return malformed(err, "a string where a number or a list is due");
    }
    s->item = MH_ITEM_NONE;
    return MH_OK;
}

/* FLAGS, MODSEQ and EMAILID have one flat list; POS is at its parenthesis. */
static int take_flat_list(struct mh_fetch_scan *s, const char *text, size_t len, struct mh_err *err)
{
    size_t from = mh_resp_skip_blanks(text, s->pos + 1, len);
    size_t end = from;
    while (end < len && text[end] != ')' && text[end] != '(')
        end++;
    if (end == len || text[end] == '(')
        return malformed(err, "a list of an unknown form");
    s->pos = end + 1;
    while (end > from && mh_resp_is_blank(text[end - 1]))
        end--;
    struct mh_span inside = {from, end - from};
    int rc = MH_OK;
    if (s->item == MH_ITEM_FLAGS) {
        s->flags = inside;
        s->found.has_flags = true;
    } else if (s->item == MH_ITEM_EMAIL_ID) {
        s->email_id = inside;
    } else {
        rc = take_number(s, text + from, inside.len, err);
    }
    s->item = MH_ITEM_NONE;
    return rc;
}

static int take_open(struct mh_fetch_scan *s, const char *text, size_t len, struct mh_err *err)
{
    switch (s->depth == 1 ? s->item : MH_ITEM_OTHER) {
    case MH_ITEM_FLAGS:
    case MH_ITEM_MODSEQ:
    case MH_ITEM_EMAIL_ID:
        return take_flat_list(s, text, len, err);
    case MH_ITEM_OTHER:
    case MH_ITEM_GM_ID:
        if (s->depth == MH_IMAP_DEPTH_MAX)
            return mh_err_set(err, MH_EMAILBOX, "imap", "more than %d parentheses deep",
                              MH_IMAP_DEPTH_MAX);
        s->depth++;
        s->pos++;
        return MH_OK;
    default:
        return malformed(err, "a list where a string or a number is due");
    }
}

static int take_close(struct mh_fetch_scan *s, struct mh_err *err)
{
    s->pos++;
    if (--s->depth == 0) {
        s->is_closed = true;
        if (s->item != MH_ITEM_NONE)
            return malformed(err, "an item without a value");
    }
    if (s->depth <= 1)
        s->item = MH_ITEM_NONE;
    return MH_OK;
}

/* The next token; POS is at a byte that is no blank. */
static int take_token(struct mh_fetch_scan *s, const char *text, size_t len, struct mh_err *err)
{
    char c = text[s->pos];
    if (s->is_closed)
        return malformed(err, "text behind the closing parenthesis");
    if (s->depth == 0) {
        if (c != '(')
            return malformed(err, "no parenthesis");
        s->depth = 1;
        s->pos++;
        return MH_OK;
    }
    if (c == ')')
        return take_close(s, err);
    if (s->depth == 1 && s->item == MH_ITEM_NONE)
        return take_name(s, text, len, err);
    if (c == '(')
        return take_open(s, text, len, err);
    if (c == '"')
        return take_quoted(s, text, len, err);
    if (s->depth == 1)
        return take_atom(s, text, len, err);
    s->pos = mh_resp_atom_end(text, s->pos, len);
    return MH_OK;
}

int mh_fetch_scan_text(struct mh_fetch_scan *s, const char *text, size_t len, struct mh_err *err)
{
    bool is_glued = s->pos < len && !mh_resp_is_blank(text[s->pos]) && text[s->pos] != ')';
    s->has_quoted_body = false;
    if (s->is_behind_literal && is_glued) /* the count was a lie: the rest of the octets is here */
        return malformed(err, "no blank behind a literal");
    s->is_behind_literal = false;
    for (;;) {
        s->pos = mh_resp_skip_blanks(text, s->pos, len);
        if (s->pos == len)
            return MH_OK;
        int rc = take_token(s, text, len, err);
        if (rc)
            return rc;
    }
}

int mh_fetch_scan_literal(struct mh_fetch_scan *s, uint64_t octets, bool *is_body_out,
                          struct mh_err *err)
{
    *is_body_out = false;
    s->is_behind_literal = true;
    if (s->depth > 1)
        return MH_OK;
    if (s->depth == 0 || s->item == MH_ITEM_NONE)
        return malformed(err, "a literal where none is due");
    if (s->item != MH_ITEM_OTHER && s->item != MH_ITEM_GM_ID && s->item != MH_ITEM_BODY)
        return malformed(err, "a literal where a number, a list or a short string is due");
    if (s->item == MH_ITEM_BODY && !s->body_seen) {
        s->body_seen = *is_body_out = true;
        s->found.octets = octets;
        s->found.had_body = true;
    }
    s->item = MH_ITEM_NONE;
    return MH_OK;
}

int mh_fetch_scan_end(const struct mh_fetch_scan *s, struct mh_err *err)
{
    return s->is_closed ? MH_OK : malformed(err, "no closing parenthesis");
}

static void point(const char *text, struct mh_span span, const char **s, size_t *len)
{
    *s = span.off ? text + span.off : NULL; /* nothing of interest is at offset 0 */
    *len = span.len;
}

void mh_fetch_scan_fill(struct mh_fetch_scan *s, const char *text)
{
    struct mh_fetch *f = &s->found;
    point(text, s->flags, &f->flags, &f->flags_len);
    point(text, s->date, &f->date, &f->date_len);
    point(text, s->email_id, &f->email_id, &f->email_id_len);
    point(text, s->section, &f->section, &f->section_len);
}
