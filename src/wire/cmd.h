/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writing IMAP commands: text with the right quoting, UID sets, APPEND framing. Pure functions
 * into a struct mh_buf; any thread. Whoever called mh_cmd_init() owns the memory until
 * mh_cmd_done().
 *
 * A string that is neither an atom nor quotable needs a literal. A literal that the server must
 * first allow splits the command: mh_cmd_string() then leaves a break mark, and the sender waits
 * for `+` there.
 *
 * Never: a CR, LF or NUL outside of a literal, whatever a name, flag or date holds. What cannot be
 * sent sets `failed`, and a failed command must not be sent.
 */
#ifndef MH_WIRE_CMD_H
#define MH_WIRE_CMD_H

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

enum mh_literal_mode { MH_LITERAL_SYNC, MH_LITERAL_MINUS, MH_LITERAL_PLUS };

/* A command under construction: text with the offsets behind which `+` must be awaited. */
#define MH_CMD_BREAKS_MAX 8
struct mh_cmd {
    struct mh_buf text;
    size_t breaks[MH_CMD_BREAKS_MAX]; /* offset behind the CRLF of a synchronising {n} */
    unsigned n_breaks;
    enum mh_literal_mode literals;
    bool utf8;   /* UTF8=ACCEPT enabled: quoted strings may hold UTF-8 */
    bool failed; /* a value that cannot be sent (NUL), too many breaks, out of memory */
};

void mh_cmd_init(struct mh_cmd *c, enum mh_literal_mode literals);
void mh_cmd_done(struct mh_cmd *c);
void mh_cmd_reset(struct mh_cmd *c);
/* Raw text: the caller knows its syntax. A CR or LF in it still sets `failed`: line ends come from
 * mh_cmd_end() alone. */
void mh_cmd_raw(struct mh_cmd *c, const char *text);
void mh_cmd_rawf(struct mh_cmd *c, const char *fmt, ...) MH_PRINTF(2, 3);
/* An astring: quoted where it can be, else a literal. Quoting always (never a bare atom) for
 * mailbox names. */
void mh_cmd_string(struct mh_cmd *c, const char *s, size_t len);
/* Any octets, NUL too, as literal8 `~{n}` (RFC 9051 section 4.3) or as a plain literal `{n}`, which
 * some servers take instead. Always synchronising: a server that does not know the form must not
 * take the octets for its next command. */
void mh_cmd_octets(struct mh_cmd *c, const char *s, size_t len, bool is_literal8);
/* Ascending: "1:5,7,9:12". An empty set or a uid that IMAP has not sets `failed`. */
void mh_cmd_uid_set(struct mh_cmd *c, const uint64_t *uids, size_t n);
void mh_cmd_end(struct mh_cmd *c); /* CRLF */

/* ` (\Seen kw) "17-Jul-1996 02:44:25 -0700" {4000+}` and CRLF: one message's part of
 * (MULTI)APPEND. FLAGS (blank-separated) and DATE may be empty/NULL; a flag that is no atom, or a
 * date with quotes or controls, sets `failed`. *SYNC_OUT: `+` must be awaited before the octets
 * (it is not in `breaks`, because the octets are not in the text). */
void mh_cmd_append_part(struct mh_cmd *c, const char *flags, const char *date, uint64_t octets,
                        bool *sync_out);
/* The same as UTF8 data (RFC 6855 section 4), for 8-bit headers once UTF8=ACCEPT is on:
 * ` UTF8 (~{4000+}`. The ")" behind the octets is the caller's. */
void mh_cmd_append_part_utf8(struct mh_cmd *c, const char *flags, const char *date, uint64_t octets,
                             bool *sync_out);

/* Parses "1:5,7" (APPENDUID, COPYUID, VANISHED) into ranges; MH_EMAILBOX when it is none. Calls
 * RANGE for each lo..hi (lo <= hi) in the order given; an answer other than 0 ends the parse and
 * is returned. */
int mh_uid_set_parse(const char *s, size_t len, int (*range)(void *ctx, uint32_t lo, uint32_t hi),
                     void *ctx, struct mh_err *err) MH_MUST_CHECK;

#endif
