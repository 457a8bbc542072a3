/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One accepted connection of mh-scripted: buffered bytes in and out, plain or TLS, and all the ways
 * to end it.
 *
 * For: the dialogue runner and the model. Memory: a peer belongs to the thread of its connection,
 * which alone calls these functions; stop_fd is shared and only polled. Errors: once the client is
 * gone or the connection was ended, is_over is set, reads give the end and writes vanish, so
 * callers check once per step and not once per byte. Never: no wait goes on when stop_fd becomes
 * readable, so the process can always end; out_budget is never passed, not by one byte.
 */
#ifndef MH_TESTS_SCRIPTED_PEER_H
#define MH_TESTS_SCRIPTED_PEER_H

#include "tool.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>

enum { PEER_BUFFER_BYTES = 64 * 1024, PEER_CLOSE_MS = 1000, PEER_LINE_BYTES_MAX = 1024 * 1024 };

#define PEER_NO_BUDGET UINT64_MAX
#define TLS_NEWEST     0

/* How a connection is ended by the server. */
enum peer_end {
    PEER_END_CLOSE,    /* close_notify under TLS, then FIN */
    PEER_END_TRUNCATE, /* FIN without close_notify */
    PEER_END_RESET     /* RST */
};

/* What clients sent and were sent, for the tests; shared by all connections. */
struct transcript {
    pthread_mutex_t lock;
    FILE *file; /* owned; NULL: not wanted */
};

struct peer {
    int fd;
    int stop_fd; /* borrowed: the process's */
    uint64_t number;
    SSL *tls; /* owned; NULL: plain */
    struct transcript *transcript;
    bool is_over;
    bool is_client_gone; /* is_over because the client closed */
    bool is_stopped;     /* the process is ending */
    uint64_t out_budget; /* bytes that may still leave before the connection is cut */
    enum peer_end budget_end;
    size_t in_at, in_len, out_len;
    unsigned char in[PEER_BUFFER_BYTES], out[PEER_BUFFER_BYTES];
};

static void peer_note(struct peer *peer, char who, const char *text, size_t len)
{
    struct transcript *transcript = peer->transcript;
    if (!transcript->file)
        return;
    pthread_mutex_lock(&transcript->lock);
    fprintf(transcript->file, "%llu %c: ", (unsigned long long)peer->number, who);
    tool_print_escaped(transcript->file, text, len);
    fputc('\n', transcript->file);
    fflush(transcript->file);
    pthread_mutex_unlock(&transcript->lock);
}

TOOL_PRINTF(2, 3) static void peer_remark(struct peer *peer, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    peer_note(peer, '!', text, strlen(text));
}

/* Waits for events on the socket; false when the process ends or deadline_ns (0: none) passes. */
static bool peer_wait(struct peer *peer, short events, int64_t deadline_ns)
{
    for (;;) {
        struct pollfd wait[2] = {{.fd = peer->fd, .events = events},
                                 {.fd = peer->stop_fd, .events = POLLIN}};
        int timeout_ms = -1;
        if (deadline_ns) {
            int64_t left_ms = (deadline_ns - tool_now_ns() + TOOL_NS_PER_MS - 1) / TOOL_NS_PER_MS;
            timeout_ms = left_ms > 0 ? (int)left_ms : 0;
        }
        int ready = poll(wait, 2, timeout_ms);
        if (ready < 0 && errno == EINTR)
            continue;
        if (wait[1].revents)
            peer->is_stopped = true;
        return ready > 0 && !peer->is_stopped;
    }
}

/* Does what OpenSSL asks for; false when the operation cannot go on. */
static bool peer_wait_for_tls(struct peer *peer, int result)
{
    switch (SSL_get_error(peer->tls, result)) {
    case SSL_ERROR_WANT_READ:
        return peer_wait(peer, POLLIN, 0);
    case SSL_ERROR_WANT_WRITE:
        return peer_wait(peer, POLLOUT, 0);
    default:
        return false;
    }
}

/* One write of at most len bytes; 0 when the client is gone. */
static size_t peer_put(struct peer *peer, const unsigned char *bytes, size_t len)
{
    for (;;) {
        if (peer->tls) {
            size_t done = 0;
            ERR_clear_error();
            int result = SSL_write_ex(peer->tls, bytes, len, &done);
            if (result > 0)
                return done;
            if (!peer_wait_for_tls(peer, result))
                return 0;
            continue;
        }
        ssize_t done = send(peer->fd, bytes, len, MSG_NOSIGNAL);
        if (done > 0)
            return (size_t)done;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN || !peer_wait(peer, POLLOUT, 0))
            return 0;
    }
}

static void peer_end(struct peer *peer, enum peer_end how);

/* Sends what is buffered, as far as the budget goes; a spent budget ends the connection. */
static void peer_flush(struct peer *peer)
{
    size_t len = peer->out_len, done = 0;
    peer->out_len = 0;
    bool is_cut = peer->out_budget != PEER_NO_BUDGET && len >= peer->out_budget;
    if (is_cut)
        len = (size_t)peer->out_budget;
    else if (peer->out_budget != PEER_NO_BUDGET)
        peer->out_budget -= len;
    while (!peer->is_over && done < len) {
        size_t part = peer_put(peer, peer->out + done, len - done);
        if (!part)
            peer->is_over = peer->is_client_gone = true;
        done += part;
    }
    if (is_cut)
        peer_end(peer, peer->budget_end);
}

static void peer_write(struct peer *peer, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0 && !peer->is_over) {
        size_t part =
            PEER_BUFFER_BYTES - peer->out_len < len ? PEER_BUFFER_BYTES - peer->out_len : len;
        memcpy(peer->out + peer->out_len, at, part);
        peer->out_len += part;
        at += part;
        len -= part;
        if (peer->out_len == PEER_BUFFER_BYTES)
            peer_flush(peer);
    }
}

/* A whole line: text and CR LF; goes into the transcript. */
static void peer_write_line(struct peer *peer, const char *text, size_t len)
{
    peer_note(peer, 'S', text, len);
    peer_write(peer, text, len);
    peer_write(peer, "\r\n", 2);
}

/*
 * After n more bytes have left, the connection ends as told. What was written before is not
 * counted.
 */
static void peer_cut_after(struct peer *peer, uint64_t n, enum peer_end how)
{
    peer_flush(peer);
    peer->out_budget = n;
    peer->budget_end = how;
    if (n == 0)
        peer_end(peer, how);
}

/*
 * Makes sure that a byte can be read; false at the end. Waiting is the moment to send what is due.
 */
static bool peer_fill(struct peer *peer)
{
    if (peer->in_at < peer->in_len)
        return true;
    if (peer->out_len > 0)
        peer_flush(peer);
    while (!peer->is_over) {
        size_t got = 0;
        bool is_alive = true;
        if (peer->tls) {
            ERR_clear_error();
            int result = SSL_read_ex(peer->tls, peer->in, PEER_BUFFER_BYTES, &got);
            if (result <= 0)
                is_alive = peer_wait_for_tls(peer, result);
        } else {
            ssize_t result = recv(peer->fd, peer->in, PEER_BUFFER_BYTES, 0);
            if (result > 0)
                got = (size_t)result;
            else
                is_alive = result < 0 &&
                           (errno == EINTR || (errno == EAGAIN && peer_wait(peer, POLLIN, 0)));
        }
        if (got > 0) {
            peer->in_at = 0;
            peer->in_len = got;
            return true;
        }
        if (!is_alive) {
            peer->is_over = true;
            peer->is_client_gone = !peer->is_stopped;
        }
    }
    return false;
}

/* Reads up to len bytes of what is there, waiting for the first; 0 at the end. */
static size_t peer_read(struct peer *peer, void *bytes, size_t len)
{
    if (!len || !peer_fill(peer))
        return 0;
    size_t part = peer->in_len - peer->in_at < len ? peer->in_len - peer->in_at : len;
    memcpy(bytes, peer->in + peer->in_at, part);
    peer->in_at += part;
    return part;
}

/* Reads and forgets exactly n bytes; false when the client went away within. */
static bool peer_skip(struct peer *peer, uint64_t n)
{
    while (n > 0 && peer_fill(peer)) {
        size_t part = peer->in_len - peer->in_at;
        if (part > n)
            part = (size_t)n;
        peer->in_at += part;
        n -= part;
    }
    return n == 0;
}

/*
 * The next line without CR LF, or NULL at the end of the stream or beyond PEER_LINE_BYTES_MAX (the
 * connection is then over). NUL-terminated, may contain NUL. The caller frees.
 */
static char *peer_read_line_dup(struct peer *peer, size_t *len_out)
{
    size_t room = 256, len = 0;
    char *line = tool_alloc(room);
    while (peer_fill(peer)) {
        const unsigned char *from = peer->in + peer->in_at;
        size_t available = peer->in_len - peer->in_at;
        const unsigned char *newline = memchr(from, '\n', available);
        size_t part = newline ? (size_t)(newline - from) + 1 : available;
        if (len + part > PEER_LINE_BYTES_MAX) {
            peer_remark(peer, "line of more than %d bytes", PEER_LINE_BYTES_MAX);
            peer->is_over = true;
            break;
        }
        if (len + part + 1 > room)
            line = tool_realloc(line, room = 2 * (len + part + 1));
        memcpy(line + len, from, part);
        len += part;
        peer->in_at += part;
        if (!newline)
            continue;
        len--;
        if (len > 0 && line[len - 1] == '\r')
            len--;
        else
            peer_remark(peer, "line ended by LF alone");
        line[len] = '\0';
        peer_note(peer, 'C', line, len);
        *len_out = len;
        return line;
    }
    free(line);
    return NULL;
}

/* Lets real time pass; an answer that is due goes out first. */
static void peer_sleep(struct peer *peer, uint64_t ms)
{
    peer_flush(peer);
    struct pollfd stop = {.fd = peer->stop_fd, .events = POLLIN};
    int64_t until_ns = tool_now_ns() + (int64_t)ms * TOOL_NS_PER_MS;
    int64_t left_ns = 0;
    while ((left_ns = until_ns - tool_now_ns()) > 0) {
        struct timespec wait = {.tv_sec = left_ns / TOOL_NS_PER_S,
                                .tv_nsec = left_ns % TOOL_NS_PER_S};
        if (ppoll(&stop, 1, &wait, NULL) > 0) {
            peer->is_over = true;
            return;
        }
    }
}

/* Never reads or writes again; returns when the client closes or the process ends. */
static void peer_stall(struct peer *peer)
{
    peer_flush(peer);
    if (peer->is_over)
        return;
    peer_remark(peer, "stalled");
    peer_wait(peer, POLLRDHUP, 0);
    peer->is_over = true;
}

/* No more from us, but we go on reading. */
static void peer_half_close(struct peer *peer)
{
    peer_flush(peer);
    if (peer->tls)
        SSL_shutdown(peer->tls);
    shutdown(peer->fd, SHUT_WR);
}

/*
 * Ends the connection. Without RST, what the client still sends is read until it closes (for at
 * most PEER_CLOSE_MS), because closing over unread bytes would send RST after all.
 */
static void peer_end(struct peer *peer, enum peer_end how)
{
    if (peer->is_over)
        return;
    if (peer->out_len > 0)
        peer_flush(peer);
    if (peer->is_over)
        return;
    peer->is_over = true;
    peer_remark(peer, "%s",
                how == PEER_END_RESET      ? "reset"
                : how == PEER_END_TRUNCATE ? "truncated"
                                           : "closed");
    if (how == PEER_END_RESET) {
        tool_set_reset_on_close(peer->fd);
        return;
    }
    if (peer->tls && how == PEER_END_CLOSE)
        SSL_shutdown(peer->tls);
    shutdown(peer->fd, SHUT_WR);
    int64_t deadline_ns = tool_now_ns() + PEER_CLOSE_MS * TOOL_NS_PER_MS;
    while (peer_wait(peer, POLLIN, deadline_ns)) {
        ssize_t got = recv(peer->fd, peer->in, PEER_BUFFER_BYTES, 0);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
            break;
    }
}

/*
 * The server's side of a TLS handshake, with versions up to max_version. What the client sent ahead
 * of it is forgotten.
 */
static bool peer_start_tls(struct peer *peer, SSL_CTX *context, int max_version)
{
    peer_flush(peer);
    peer->in_at = peer->in_len = 0;
    if (peer->is_over)
        return false;
    peer->tls = SSL_new(context);
    if (!peer->tls || !SSL_set_fd(peer->tls, peer->fd) ||
        !SSL_set_max_proto_version(peer->tls, max_version))
        tool_die("cannot make a TLS session");
    for (;;) {
        ERR_clear_error();
        int result = SSL_accept(peer->tls);
        if (result == 1) {
            peer_remark(peer, "tls %s", SSL_get_version(peer->tls));
            return true;
        }
        if (peer_wait_for_tls(peer, result))
            continue;
        unsigned long error = ERR_peek_error();
        peer_remark(peer, "tls failed: %s",
                    error ? ERR_reason_error_string(error) : "connection closed");
        /* A failed session can send nothing more, close_notify included. */
        SSL_free(peer->tls);
        peer->tls = NULL;
        peer_end(peer, PEER_END_CLOSE);
        return false;
    }
}

static void peer_init(struct peer *peer, int fd, int stop_fd, uint64_t number,
                      struct transcript *transcript)
{
    peer->fd = fd;
    peer->stop_fd = stop_fd;
    peer->number = number;
    peer->transcript = transcript;
    peer->out_budget = PEER_NO_BUDGET;
    tool_set_nodelay(fd);
}

/* Thread: the connection's, at its end. */
static void peer_done(struct peer *peer)
{
    if (!peer->is_over)
        peer_end(peer, PEER_END_CLOSE);
    SSL_free(peer->tls);
    close(peer->fd);
}

#endif
