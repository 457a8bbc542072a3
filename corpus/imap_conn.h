/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * imap_conn.h: a small blocking IMAP connection: commands out, answers in, one at a time.
 *
 * Plaintext only, for servers on the same machine. What a server sends is bounded and never
 * trusted to be complete or on time.
 * Memory: a struct mhc_imap owns its buffers and its socket; mhc_imap_hangup() frees them, on a
 * half-opened connection too. Lines live until the next read. Threads: one.
 */
#ifndef MHC_IMAP_CONN_H
#define MHC_IMAP_CONN_H

#include "base.h"
#include "store.h"

struct mhc_imap {
    int fd;                               /* owned; -1: not connected */
    const struct mhc_imap_target *target; /* borrowed */
    struct mhc_buf in;                    /* owned: bytes read and not used yet */
    size_t in_used;
    struct mhc_buf line; /* owned: the last response, its literals inside */
    unsigned tag;
    bool has_literal_plus;
    bool has_literal_minus;
    bool has_multiappend;
    bool has_create_special_use;
    bool has_uidplus;
    char separator;        /* '\0': the server's folders are flat */
    struct mhc_buf prefix; /* owned: of the personal namespace */
};

/* Called for each untagged response of a command, NUL-terminated, without its CRLF. */
typedef void mhc_imap_untagged(void *context, const char *line, size_t len);

/* Connects, logs in and learns capabilities and name space. `conn` must be zeroed or hung up. */
int mhc_imap_dial(struct mhc_imap *conn, const struct mhc_imap_target *target, const char *user,
                  struct mhc_err *err) MHC_MUST_CHECK;
void mhc_imap_hangup(struct mhc_imap *conn);
void mhc_imap_logout(struct mhc_imap *conn);

/*
 * Sends one command (without tag and CRLF) and reads to its end. MHC_OK: the server said OK;
 * MHC_SKIPPED: NO or BAD, `err` holds its words; MHC_ECLOSED and MHC_EFAIL: no more to be had.
 */
int mhc_imap_command(struct mhc_imap *conn, const char *command, mhc_imap_untagged *untagged,
                     void *context, struct mhc_err *err) MHC_MUST_CHECK;

/* The pieces of a command with literals: begin, send..., continuation..., end. */
void mhc_imap_begin(struct mhc_imap *conn, struct mhc_buf *command);
int mhc_imap_send(struct mhc_imap *conn, const char *bytes, size_t len,
                  struct mhc_err *err) MHC_MUST_CHECK;
int mhc_imap_await_continuation(struct mhc_imap *conn, struct mhc_err *err) MHC_MUST_CHECK;
int mhc_imap_await_tagged(struct mhc_imap *conn, mhc_imap_untagged *untagged, void *context,
                          struct mhc_err *err) MHC_MUST_CHECK;

/* A quoted string (RFC 3501 section 4.3). */
void mhc_imap_quote(struct mhc_buf *buf, const char *text);
/* Reads a quoted string, a literal or an atom at `*at` and moves `*at` behind it; false: there is
 * none. The byte at `end` must be a NUL. */
bool mhc_imap_read_string(const char **at, const char *end, struct mhc_buf *out);
/* Reads "* LIST (flags) sep name": the name, and whether mail can lie in it; false: it is none. */
bool mhc_imap_read_list(const char *line, size_t len, struct mhc_buf *name_out,
                        bool *is_selectable_out);

#endif
