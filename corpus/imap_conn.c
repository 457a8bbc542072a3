/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "imap_conn.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 << 10,
    RESPONSE_MAX_BYTES = 16 << 20, /* one response with its literals; a fill needs a few KiB */
    PATIENCE_SECONDS = 120,        /* per read or write */
};

/* --- bytes --- */

int mhc_imap_send(struct mhc_imap *conn, const char *bytes, size_t len, struct mhc_err *err)
{
    while (len > 0) {
        ssize_t sent = send(conn->fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return mhc_fail(err, MHC_EFAIL, "%s:%s took no data for %d seconds", conn->target->host,
                            conn->target->port, PATIENCE_SECONDS);
        }
        if (sent < 0) {
            return mhc_fail(err, MHC_ECLOSED, "the server closed the connection while we sent: %s",
                            strerror(errno));
        }
        bytes += sent;
        len -= (size_t)sent;
    }
    return MHC_OK;
}

/* Reads more bytes behind those that are waiting. */
static int read_more(struct mhc_imap *conn, struct mhc_err *err)
{
    if (conn->in_used == conn->in.len) {
        conn->in.len = 0;
        conn->in_used = 0;
    }
    char *room = mhc_buf_room(&conn->in, READ_BYTES);
    ssize_t got;
    do {
        got = recv(conn->fd, room, READ_BYTES, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return mhc_fail(err, MHC_EFAIL, "%s:%s did not answer for %d seconds", conn->target->host,
                        conn->target->port, PATIENCE_SECONDS);
    }
    if (got <= 0) {
        return mhc_fail(err, MHC_ECLOSED, "the server closed the connection%s%s",
                        got < 0 ? ": " : "", got < 0 ? strerror(errno) : "");
    }
    conn->in.len += (size_t)got;
    return MHC_OK;
}

/* Moves one line, CRLF included, behind what conn->line holds. */
static int take_line(struct mhc_imap *conn, struct mhc_err *err)
{
    size_t looked = 0;
    for (;;) {
        const char *from = conn->in.data + conn->in_used;
        size_t have = conn->in.len - conn->in_used;
        const char *lf = have > looked ? memchr(from + looked, '\n', have - looked) : NULL;
        if (lf != NULL) {
            size_t len = (size_t)(lf - from) + 1;
            mhc_buf_add(&conn->line, from, len);
            conn->in_used += len;
            return MHC_OK;
        }
        looked = have;
        if (conn->line.len + have > RESPONSE_MAX_BYTES) {
            return mhc_fail(err, MHC_EFAIL, "%s:%s sent a line without an end", conn->target->host,
                            conn->target->port);
        }
        int rc = read_more(conn, err);
        if (rc != MHC_OK) {
            return rc;
        }
    }
}

static int take_octets(struct mhc_imap *conn, size_t len, struct mhc_err *err)
{
    while (len > 0) {
        size_t have = conn->in.len - conn->in_used;
        size_t part = have < len ? have : len;
        mhc_buf_add(&conn->line, conn->in.data + conn->in_used, part);
        conn->in_used += part;
        len -= part;
        int rc = len > 0 ? read_more(conn, err) : MHC_OK;
        if (rc != MHC_OK) {
            return rc;
        }
    }
    return MHC_OK;
}

/* The n of a "{n}" that ends the line, or -1. */
static long literal_at_end(const struct mhc_buf *line)
{
    size_t at = line->len >= 2 ? line->len - 2 : 0; /* before the CRLF */
    if (at < 3 || line->data[at] != '\r' || line->data[at - 1] != '}') {
        return -1;
    }
    long value = 0;
    long digit_value = 1;
    for (at -= 2; at > 0 && line->data[at] >= '0' && line->data[at] <= '9'; at--) {
        if (digit_value > RESPONSE_MAX_BYTES * 10L) {
            return RESPONSE_MAX_BYTES + 1L; /* too big whatever the rest says */
        }
        value += digit_value * (line->data[at] - '0');
        digit_value *= 10;
    }
    return line->data[at] == '{' && digit_value > 1 ? value : -1;
}

/* Reads one whole response into conn->line: NUL-terminated, the last CRLF cut off. */
static int read_response(struct mhc_imap *conn, struct mhc_err *err)
{
    conn->line.len = 0;
    for (;;) {
        int rc = take_line(conn, err);
        if (rc != MHC_OK) {
            return rc;
        }
        long literal = literal_at_end(&conn->line);
        if (literal < 0) {
            break;
        }
        if ((size_t)literal + conn->line.len > RESPONSE_MAX_BYTES) {
            return mhc_fail(err, MHC_EFAIL, "%s:%s sent a response of more than %d bytes",
                            conn->target->host, conn->target->port, RESPONSE_MAX_BYTES);
        }
        rc = take_octets(conn, (size_t)literal, err);
        if (rc != MHC_OK) {
            return rc;
        }
    }
    while (conn->line.len > 0 && strchr("\r\n", conn->line.data[conn->line.len - 1]) != NULL) {
        conn->line.len--;
    }
    (void)mhc_buf_str(&conn->line);
    return MHC_OK;
}

/* --- commands --- */

void mhc_imap_begin(struct mhc_imap *conn, struct mhc_buf *command)
{
    conn->tag++;
    mhc_buf_printf(command, "c%u ", conn->tag);
}

/* Where the line is the answer to the current command: its state and text; else NULL. */
static const char *tagged_text(const struct mhc_imap *conn)
{
    char tag[16];
    int len = snprintf(tag, sizeof(tag), "c%u ", conn->tag);
    return strncmp(conn->line.data, tag, (size_t)len) == 0 ? conn->line.data + len : NULL;
}

static int verdict(const char *text, struct mhc_err *err)
{
    if (strncasecmp(text, "OK", 2) == 0) {
        return MHC_OK;
    }
    return mhc_fail(err, MHC_SKIPPED, "%s", text);
}

int mhc_imap_await_tagged(struct mhc_imap *conn, mhc_imap_untagged *untagged, void *context,
                          struct mhc_err *err)
{
    for (;;) {
        int rc = read_response(conn, err);
        if (rc != MHC_OK) {
            return rc;
        }
        const char *text = tagged_text(conn);
        if (text != NULL) {
            return verdict(text, err);
        }
        if (untagged != NULL && conn->line.data[0] == '*') {
            untagged(context, conn->line.data, conn->line.len);
        }
    }
}

int mhc_imap_await_continuation(struct mhc_imap *conn, struct mhc_err *err)
{
    for (;;) {
        int rc = read_response(conn, err);
        if (rc != MHC_OK) {
            return rc;
        }
        const char *text = tagged_text(conn);
        if (text != NULL) {
            rc = verdict(text, err);
            return rc != MHC_OK ? rc
                                : mhc_fail(err, MHC_EFAIL,
                                           "the server ended a command that it "
                                           "had not heard to its end");
        }
        if (conn->line.data[0] == '+') {
            return MHC_OK;
        }
    }
}

int mhc_imap_command(struct mhc_imap *conn, const char *command, mhc_imap_untagged *untagged,
                     void *context, struct mhc_err *err)
{
    struct mhc_buf text = {0};
    mhc_imap_begin(conn, &text);
    mhc_buf_printf(&text, "%s\r\n", command);
    int rc = mhc_imap_send(conn, text.data, text.len, err);
    mhc_buf_done(&text);
    return rc != MHC_OK ? rc : mhc_imap_await_tagged(conn, untagged, context, err);
}

/* --- words --- */

void mhc_imap_quote(struct mhc_buf *buf, const char *text)
{
    mhc_buf_putc(buf, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            mhc_buf_putc(buf, '\\');
        }
        mhc_buf_putc(buf, *text);
    }
    mhc_buf_putc(buf, '"');
}

static bool read_quoted(const char **at, const char *end, struct mhc_buf *out)
{
    const char *c = *at + 1;
    while (c < end && *c != '"') {
        c += *c == '\\' && c + 1 < end ? 1 : 0;
        mhc_buf_putc(out, *c++);
    }
    bool is_closed = c < end;
    *at = is_closed ? c + 1 : end;
    return is_closed;
}

static bool read_literal(const char **at, const char *end, struct mhc_buf *out)
{
    char *digits_end = NULL;
    unsigned long len = strtoul(*at + 1, &digits_end, 10);
    if (end - digits_end < 3 || strncmp(digits_end, "}\r\n", 3) != 0) {
        return false;
    }
    const char *from = digits_end + 3;
    if (len > (size_t)(end - from)) {
        return false;
    }
    mhc_buf_add(out, from, len);
    *at = from + len;
    return true;
}

bool mhc_imap_read_string(const char **at, const char *end, struct mhc_buf *out)
{
    while (*at < end && **at == ' ') {
        (*at)++;
    }
    if (*at < end && **at == '"') {
        return read_quoted(at, end, out);
    }
    if (*at < end && **at == '{') {
        return read_literal(at, end, out);
    }
    const char *start = *at;
    while (*at < end && strchr(" ()\r\n", **at) == NULL) {
        (*at)++;
    }
    mhc_buf_add(out, start, (size_t)(*at - start));
    return *at > start;
}

bool mhc_imap_read_list(const char *line, size_t len, struct mhc_buf *name_out,
                        bool *is_selectable_out)
{
    const char *end = line + len;
    if (len < 8 || strncasecmp(line, "* LIST (", 8) != 0) {
        return false;
    }
    const char *close = memchr(line, ')', len);
    if (close == NULL) {
        return false;
    }
    struct mhc_buf flags = {0};
    struct mhc_buf separator = {0};
    mhc_buf_add(&flags, line + 8, (size_t)(close - line) - 8);
    const char *text = mhc_buf_str(&flags);
    *is_selectable_out =
        strcasestr(text, "\\Noselect") == NULL && strcasestr(text, "\\NonExistent") == NULL;
    const char *at = close + 1;
    bool is_good =
        mhc_imap_read_string(&at, end, &separator) && mhc_imap_read_string(&at, end, name_out);
    mhc_buf_done(&flags);
    mhc_buf_done(&separator);
    return is_good;
}

/* --- connecting --- */

static int connect_to(const struct mhc_imap_target *target, int *fd_out, struct mhc_err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(target->host, target->port, &hints, &found);
    if (rc != 0) {
        return mhc_fail(err, MHC_EFAIL, "cannot find %s:%s: %s", target->host, target->port,
                        gai_strerror(rc));
    }
    int problem = 0;
    int fd = -1;
    for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            problem = errno;
            close(fd);
            fd = -1;
        } else if (fd < 0) {
            problem = errno;
        }
    }
    freeaddrinfo(found);
    *fd_out = fd;
    return fd >= 0 ? MHC_OK
                   : mhc_fail(err, MHC_EFAIL, "cannot connect to %s:%s: %s", target->host,
                              target->port, strerror(problem));
}

static int set_patience(int fd, struct mhc_err *err)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0) {
        return mhc_fail(err, MHC_EFAIL, "cannot set a time limit on a socket: %s", strerror(errno));
    }
    return MHC_OK;
}

static int greet(struct mhc_imap *conn, struct mhc_err *err)
{
    int rc = read_response(conn, err);
    if (rc == MHC_OK && strncasecmp(conn->line.data, "* OK", 4) != 0) {
        return mhc_fail(err, MHC_EFAIL, "%s:%s is no IMAP server to log in to: it said \"%.80s\"",
                        conn->target->host, conn->target->port, conn->line.data);
    }
    return rc;
}

static int login(struct mhc_imap *conn, const char *user, struct mhc_err *err)
{
    struct mhc_buf command = {0};
    mhc_buf_puts(&command, "LOGIN ");
    mhc_imap_quote(&command, user);
    mhc_buf_putc(&command, ' ');
    mhc_imap_quote(&command, conn->target->password);
    int rc = mhc_imap_command(conn, mhc_buf_str(&command), NULL, NULL, err);
    mhc_buf_done(&command);
    if (rc == MHC_SKIPPED) {
        struct mhc_err said = *err;
        return mhc_fail(err, MHC_EFAIL, "%s:%s refused the login of %s: %.500s", conn->target->host,
                        conn->target->port, user, said.text);
    }
    return rc;
}

/* True where `word` stands in the line between blanks. */
static bool has_word(const char *line, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = strcasestr(line, word); at != NULL; at = strcasestr(at + 1, word)) {
        if (at > line && at[-1] == ' ' && (at[len] == ' ' || at[len] == '\0')) {
            return true;
        }
    }
    return false;
}

static void on_capability(void *context, const char *line, size_t len)
{
    struct mhc_imap *conn = context;
    (void)len;
    if (strncasecmp(line, "* CAPABILITY ", 13) == 0) {
        conn->has_literal_plus = has_word(line, "LITERAL+");
        conn->has_literal_minus = has_word(line, "LITERAL-");
        conn->has_multiappend = has_word(line, "MULTIAPPEND");
        conn->has_create_special_use = has_word(line, "CREATE-SPECIAL-USE");
        conn->has_uidplus = has_word(line, "UIDPLUS");
    }
}

/* "* NAMESPACE ((prefix separator ...)...": the first personal one (RFC 2342). */
static void on_namespace(void *context, const char *line, size_t len)
{
    struct mhc_imap *conn = context;
    const char *at = strstr(line, "((");
    if (strncasecmp(line, "* NAMESPACE ", 12) != 0 || at == NULL) {
        return;
    }
    at += 2;
    conn->prefix.len = 0;
    (void)mhc_imap_read_string(&at, line + len, &conn->prefix);
}

/* `* LIST (flags) "/" ""`: the separator, or NIL where there is none. */
static void on_separator(void *context, const char *line, size_t len)
{
    struct mhc_imap *conn = context;
    const char *at = memchr(line, ')', len);
    if (strncasecmp(line, "* LIST (", 8) != 0 || at == NULL) {
        return;
    }
    struct mhc_buf separator = {0};
    at++;
    if (mhc_imap_read_string(&at, line + len, &separator) && separator.len == 1) {
        conn->separator = separator.data[0];
    }
    mhc_buf_done(&separator);
}

/* Servers without NAMESPACE answer BAD; their prefix is empty. */
static int look_around(struct mhc_imap *conn, struct mhc_err *err)
{
    int rc = mhc_imap_command(conn, "CAPABILITY", on_capability, conn, err);
    if (rc == MHC_OK) {
        rc = mhc_imap_command(conn, "LIST \"\" \"\"", on_separator, conn, err);
    }
    if (rc == MHC_OK) {
        rc = mhc_imap_command(conn, "NAMESPACE", on_namespace, conn, err);
        rc = rc == MHC_SKIPPED ? MHC_OK : rc;
    }
    return rc == MHC_SKIPPED ? MHC_EFAIL : rc;
}

int mhc_imap_dial(struct mhc_imap *conn, const struct mhc_imap_target *target, const char *user,
                  struct mhc_err *err)
{
    *conn = (struct mhc_imap){.fd = -1, .target = target};
    (void)mhc_buf_room(&conn->in, READ_BYTES); /* so that there always is a place to read from */
    int rc = connect_to(target, &conn->fd, err);
    if (rc == MHC_OK) {
        rc = set_patience(conn->fd, err);
    }
    if (rc == MHC_OK) {
        rc = greet(conn, err);
    }
    if (rc == MHC_OK) {
        rc = login(conn, user, err);
    }
    if (rc == MHC_OK) {
        rc = look_around(conn, err);
    }
    if (rc != MHC_OK) {
        mhc_imap_hangup(conn);
    }
    return rc;
}

void mhc_imap_hangup(struct mhc_imap *conn)
{
    if (conn->fd >= 0) {
        close(conn->fd);
    }
    mhc_buf_done(&conn->in);
    mhc_buf_done(&conn->line);
    mhc_buf_done(&conn->prefix);
    *conn = (struct mhc_imap){.fd = -1};
}

void mhc_imap_logout(struct mhc_imap *conn)
{
    struct mhc_err nobody_cares;
    if (conn->fd >= 0) {
        int rc = mhc_imap_command(conn, "LOGOUT", NULL, NULL, &nobody_cares);
        (void)rc; /* everything that counts was answered before */
    }
    mhc_imap_hangup(conn);
}
