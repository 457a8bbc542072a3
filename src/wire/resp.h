/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The IMAP response reader (RFC 9051, RFC 3501), without I/O: bytes in, one event out at a time.
 *
 * Feed it the slices a connection read, in order; each call consumes a part and yields at most one
 * event. Message bodies (a literal behind BODY[…], RFC822, BINARY[…] inside a FETCH) come out as
 * slices of the very slabs that went in: never copied, never gathered. Everything else (framing, a
 * few hundred bytes) is given as a parsed response: read where it lies when its line is whole
 * within one slice, else gathered into the reader's own buffer.
 * Ownership: what an event points to is valid until the next call, also when *IN was dropped by
 * then (the reader holds the slab); a body slice holds a reference that the caller takes. One
 * reader belongs to one connection and its thread. After the first responses it allocates nothing
 * for ordinary responses (its buffers grow to what the server sends, within the caps of
 * base/limits.h).
 * Never: reads past a cap, trusts a number, calls back, waits.
 *
 * Lenient where servers are sloppy and nothing depends on it: extra blanks, bare LF, empty lines,
 * items in any order, unknown items, backslashes that nobody escaped, prose behind an asterisk.
 * Strict where a lie would cost mail: counts, UIDs, parentheses, what stands right behind a body.
 *
 * Example: `* 12 FETCH (UID 7 BODY[] {4000}\r\n`, 4,000 bytes over three slices, `)\r\n` gives
 * BODY_BEGIN (uid 7, octets 4000), BODY_DATA three times, BODY_END, then FETCH (uid 7, had_body).
 */
#ifndef MH_WIRE_RESP_H
#define MH_WIRE_RESP_H

#include <stdbool.h>

#include "base/error.h"
#include "base/slab.h"

struct mh_resp;

/* A parsed value of a response: atoms and numbers, strings (quoted or literal), NIL, lists. Nodes
 * lie in one array; a list's children follow it, `next` skips over a node's whole subtree. */
enum mh_val_kind { MH_VAL_ATOM, MH_VAL_STRING, MH_VAL_NIL, MH_VAL_LIST };
struct mh_val {
    enum mh_val_kind kind;
    const char *s; /* ATOM, STRING, NIL (as sent): bytes, not terminated, escapes resolved */
    size_t len;
    unsigned children; /* LIST: number of direct children */
    unsigned next;     /* index of the node behind this one's subtree */
};

enum mh_event_type {
    MH_RESP_MORE,     /* everything consumed, nothing complete */
    MH_RESP_UNTAGGED, /* `* NAME …` and `* n NAME …` other than FETCH */
    MH_RESP_FETCH,    /* a FETCH is complete (its body, if any, has been streamed) */
    /* A body of `octets` bytes starts; fields of the FETCH so far are set. Of two bodies in one
     * FETCH the first is streamed, others are skipped (up to MH_IMAP_LITERAL_MAX_BYTES). */
    MH_RESP_BODY_BEGIN,
    MH_RESP_BODY_DATA, /* `slice`, never empty; none at all for an empty body */
    MH_RESP_BODY_END,
    MH_RESP_TAGGED,   /* `TAG OK|NO|BAD …` */
    MH_RESP_CONTINUE, /* `+ …` */
};

enum mh_status { MH_ST_NONE, MH_ST_OK, MH_ST_NO, MH_ST_BAD, MH_ST_BYE, MH_ST_PREAUTH };

/* The parts of a FETCH that mailhaul knows; unknown items are skipped whole. */
struct mh_fetch {
    uint32_t seq;
    uint32_t uid; /* 0: not (yet) seen */
    bool has_flags, has_size, has_date, has_modseq, has_gm_id;
    bool had_body;    /* a body was streamed */
    bool body_is_nil; /* BODY[] NIL */
    uint64_t size;
    uint64_t modseq;
    uint64_t gm_id;   /* X-GM-MSGID (Gmail's X-GM-EXT-1) */
    uint64_t octets;  /* of the body */
    const char *date; /* INTERNALDATE's text, unparsed */
    size_t date_len;
    const char *flags; /* "\Seen $Forwarded", blank-separated, as sent: no atoms until checked */
    size_t flags_len;
    const char *email_id; /* RFC 8474; NULL none */
    size_t email_id_len;
    const char *section; /* the body's item as sent: "BODY[]", "BODY[HEADER]<0>"; NULL none */
    size_t section_len;
};

struct mh_resp_event {
    enum mh_event_type type;
    /* UNTAGGED */
    const char *name; /* "LIST", "EXISTS", "OK", …; as sent; empty for `*` alone */
    size_t name_len;
    uint64_t number; /* `* n NAME`, also of a FETCH */
    bool has_number;
    /* The rest as values; none for OK/NO/BAD/BYE/PREAUTH/CONTINUE, and none behind a name that the
     * reader does not know when it is prose. */
    const struct mh_val *vals;
    unsigned n_vals; /* nodes in vals */
    unsigned n_top;  /* top-level values */
    /* OK/NO/BAD/BYE/PREAUTH, tagged or not, and CONTINUE */
    enum mh_status status;
    const char *code; /* inside [ ], as sent: "APPENDUID 38505 3955"; NULL none */
    size_t code_len;
    const char *text; /* human text, may be empty (CONTINUE: everything behind "+ ") */
    size_t text_len;
    /* TAGGED */
    const char *tag;
    size_t tag_len;
    /* FETCH, BODY_* */
    const struct mh_fetch *fetch;
    struct mh_slice slice; /* BODY_DATA: the caller takes the reference */
};

int mh_resp_new(struct mh_resp **out, struct mh_err *err) MH_MUST_CHECK;
void mh_resp_free(struct mh_resp *r);
/* Caps a response outside literals; MH_IMAP_LINE_MAX_BYTES (the default) is the most. Below that,
 * so with MH_IMAP_GREETING_MAX_BYTES before login, it caps literals that are no body as well. */
void mh_resp_set_line_max(struct mh_resp *r, size_t bytes);

/*
 * Consumes from *IN: shortens it from the front and, when it is empty, drops it. Call again with
 * the same slice until MH_RESP_MORE. On an error what is left of *IN is the caller's to drop.
 * MH_EMAILBOX: protocol error (layer "imap", text says which); the connection must be closed,
 * every later call fails too. MH_ERETRY: a body that came as a quoted string over two slices has
 * to be copied into a slab (by mh_slab_copy(), the only such case) and the pool is at its cap.
 */
int mh_resp_next(struct mh_resp *r, struct mh_slice *in, struct mh_resp_event *ev,
                 struct mh_err *err) MH_MUST_CHECK;
/* True between responses: nothing half-read (STARTTLS asks). */
bool mh_resp_is_idle(const struct mh_resp *r);

/* Compares an atom-like text with a keyword, ASCII case folded. */
bool mh_resp_is(const char *s, size_t len, const char *keyword);

#endif
