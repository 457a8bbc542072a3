/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The parts of the response reader: what a line starts with, values, the items of a FETCH. All of
 * them work on text that resp.c holds (a piece of a slab or its own buffer) and name pieces of it
 * by offset, because the buffer may move while a response is gathered. Never included outside
 * src/wire.
 */
#ifndef MH_WIRE_RESP_PRIV_H
#define MH_WIRE_RESP_PRIV_H

#include <string.h>

#include "wire/resp.h"

/* A piece of a response's text. */
struct mh_span {
    size_t off;
    size_t len;
};

/* --- characters and tokens (inline: the reader's inner loops) -------------------------------- */

static inline bool mh_resp_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline size_t mh_resp_skip_blanks(const char *text, size_t pos, size_t len)
{
    while (pos < len && mh_resp_is_blank(text[pos]))
        pos++;
    return pos;
}

/* The end of the atom that starts at POS. Wider than RFC 9051's atom: servers put brackets, quotes
 * and 8-bit bytes into flags and names. */
static inline size_t mh_resp_atom_end(const char *text, size_t pos, size_t len)
{
    while (pos < len && !mh_resp_is_blank(text[pos]) && text[pos] != '(' && text[pos] != ')')
        pos++;
    return pos;
}

/* POS is behind an opening quote: the closing one's offset, or LEN when there is none. */
static inline size_t mh_resp_quote_end(const char *text, size_t pos, size_t len)
{
    while (pos < len && text[pos] != '"')
        pos += text[pos] == '\\' ? 2 : 1;
    return pos < len ? pos : len;
}

/*
 * The next run of a quoted string's inside S that stands for itself; *SKIP bytes of it (an
 * escaping backslash) do not. Only \" and \\ are escapes (RFC 9051 section 9, quoted-specials); a
 * backslash before anything else is a server that forgot to escape it, and is kept.
 */
static inline size_t mh_resp_quoted_run(const char *s, size_t len, size_t *skip)
{
    size_t i = 0;
    *skip = 0;
    if (len >= 2 && s[0] == '\\' && (s[1] == '\\' || s[1] == '"')) {
        *skip = 1;
        i = 2;
    }
    while (i < len && !(s[i] == '\\' && i + 1 < len && (s[i + 1] == '\\' || s[i + 1] == '"')))
        i++;
    return i - *skip;
}

/* --- what a line starts with ----------------------------------------------------------------- */

enum mh_resp_kind {
    MH_KIND_DATA,     /* `* NAME …`, `* n NAME …` */
    MH_KIND_FETCH,    /* `* n FETCH …` */
    MH_KIND_STATUS,   /* `* OK|NO|BAD|BYE|PREAUTH …` */
    MH_KIND_TAGGED,   /* `TAG OK|NO|BAD …` */
    MH_KIND_CONTINUE, /* `+ …` */
};

struct mh_resp_head {
    enum mh_resp_kind kind;
    enum mh_status status;
    struct mh_span tag;
    struct mh_span name; /* also the status word */
    uint32_t number;
    bool has_number;
    size_t rest; /* offset of what comes behind, blanks skipped */
};

/* Reads the start of LINE. MH_EMAILBOX when it is none of the five kinds. */
int mh_resp_head_parse(const char *line, size_t len, struct mh_resp_head *head,
                       struct mh_err *err) MH_MUST_CHECK;
/* True if a malformed response of that name is a protocol error; any other is taken as prose. */
bool mh_resp_head_is_known(const char *name, size_t len);

/* A literal's announcement at the end of a line: `{n}`, `{n+}`, `~{n}` (RFC 9051 section 4.3). */
struct mh_resp_marker {
    bool found;
    size_t off; /* of its first character */
    uint64_t octets;
};

/* Looks at LINE[from..len). MH_EMAILBOX when the count is above 2^63-1. */
int mh_resp_marker_find(const char *line, size_t from, size_t len, struct mh_resp_marker *out,
                        struct mh_err *err) MH_MUST_CHECK;

/* Splits the text of a status response, TEXT[from..len), into `[code]` and human text (RFC 9051
 * section 7.1). CODE->off is SIZE_MAX when there is none. */
void mh_resp_code_split(const char *text, size_t from, size_t len, struct mh_span *code,
                        struct mh_span *human);

/* --- values ---------------------------------------------------------------------------------- */

/* A literal's octets inside the gathered text. */
struct mh_vals_literal {
    size_t off;
    size_t len;
};

/* The nodes of one response; the memory is kept from one to the next. */
struct mh_vals {
    struct mh_val *nodes; /* owned */
    size_t cap;
    unsigned n;
    unsigned n_top;
};

enum mh_vals_result {
    MH_VALS_OK,
    MH_VALS_SYNTAX,
    MH_VALS_DEPTH,  /* above MH_IMAP_DEPTH_MAX */
    MH_VALS_ESCAPE, /* an escaped string in text that is not ours to write: give it a copy */
    MH_VALS_NOMEM,
};

/* What to parse: TEXT[from..len) with LITERALS inside it, ascending. CAN_WRITE: strings may be
 * unescaped in place. */
struct mh_vals_text {
    char *text; /* borrowed */
    size_t from;
    size_t len;
    const struct mh_vals_literal *literals; /* borrowed */
    size_t n_literals;
    bool can_write;
};

enum mh_vals_result mh_vals_parse(struct mh_vals *v, const struct mh_vals_text *in) MH_MUST_CHECK;
/* Gives memory back that an unusually long response took. */
void mh_vals_trim(struct mh_vals *v, size_t keep_bytes);
void mh_vals_done(struct mh_vals *v);

/* --- the items of a FETCH -------------------------------------------------------------------- */

enum mh_fetch_item {
    MH_ITEM_NONE, /* an item's name is due, not its value */
    MH_ITEM_OTHER,
    MH_ITEM_UID,
    MH_ITEM_FLAGS,
    MH_ITEM_DATE,
    MH_ITEM_SIZE,
    MH_ITEM_MODSEQ,
    MH_ITEM_EMAIL_ID,
    MH_ITEM_GM_ID,
    MH_ITEM_BODY,
};

/*
 * A scan over `(NAME value NAME value …)` that stops wherever the text stops (at a literal) and
 * goes on there. A token never spans a literal, so the state between two pieces of text is this
 * small.
 */
struct mh_fetch_scan {
    struct mh_fetch found;      /* pointers are set by mh_fetch_scan_fill() */
    size_t pos;                 /* next byte to look at */
    unsigned depth;             /* open parentheses; 1: among the items */
    bool is_behind_literal;     /* the text ended at one that was taken */
    bool is_closed;             /* the outermost parenthesis was closed */
    enum mh_fetch_item item;    /* whose value is due */
    bool body_seen;             /* one body was found (streamed, quoted or NIL) */
    bool has_quoted_body;       /* in the text that was scanned last */
    struct mh_span quoted_body; /* between the quotes, escapes as sent */
    struct mh_span flags, date, email_id, section;
};

void mh_fetch_scan_start(struct mh_fetch_scan *s, uint32_t seq, size_t pos);
/* Scans TEXT[pos..len). */
int mh_fetch_scan_text(struct mh_fetch_scan *s, const char *text, size_t len,
                       struct mh_err *err) MH_MUST_CHECK;
/* A literal of OCTETS is next: *IS_BODY_OUT if it is the message body, else it is to be skipped. */
int mh_fetch_scan_literal(struct mh_fetch_scan *s, uint64_t octets, bool *is_body_out,
                          struct mh_err *err) MH_MUST_CHECK;
/* The response ends here: is it whole? */
int mh_fetch_scan_end(const struct mh_fetch_scan *s, struct mh_err *err) MH_MUST_CHECK;
/* Sets the pointers of S->found into TEXT. */
void mh_fetch_scan_fill(struct mh_fetch_scan *s, const char *text);

#endif
