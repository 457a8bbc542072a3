/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection: TCP, then TLS when asked, read into slabs, written from slices.
 *
 * It belongs to the loop it was opened on. One task may read while another writes. Every call that
 * waits honours the connection's deadline and the task's cancellation.
 *
 * Reading: mh_conn_read() gives a slice of what arrived; the bytes were read (or decrypted by
 * OpenSSL) straight into the slab. When nobody calls it nothing is read, and TCP makes the peer
 * wait. A connection at rest holds no slab.
 *
 * Writing: slices and small framing text are queued in order; framing is copied into a slab of the
 * connection's own (never message bytes), slices are taken by reference. The loop sends the queue
 * once per round with as few system calls as it takes (writev; with TLS one SSL_write per slice,
 * large records straight to the kernel, small ones gathered). The writer waits while more than
 * MH_CONN_OUTQ_BYTES would be queued. The queue is always drained by the loop, also while the
 * peer's answers are not being read.
 *
 * TLS: 1.2 at least, the certificate is verified (chain to the system's roots or ca_file, host name
 * or IP in subjectAltName only, purposes, validity, no SHA-1, no RSA below 2048 bits) before
 * mh_conn_open() returns, so no secret can leave before. With a pin the SHA-256 of the leaf's DER
 * must match and takes the place of the whole check of the certificate. A refusal names the reason
 * (err->reason: "cert-expired", "cert-host", …) and the leaf's fingerprint. EOF without
 * close_notify is an error. Nothing here ever falls back to plaintext.
 */
#ifndef MH_NET_CONN_H
#define MH_NET_CONN_H

#include <stdbool.h>

#include "base/log.h"
#include "base/slab.h"
#include "base/task.h"

struct mh_conn;
struct mh_net;

struct mh_conn_config {
    const char *host; /* name or IP literal (also [v6]); borrowed during open */
    uint16_t port;
    bool tls; /* implicit TLS */
    const char *ca_file;
    const char *pin;    /* 64 hex digits, or NULL */
    int64_t timeout_ms; /* a read that brings nothing, a write that moves nothing */
    struct mh_pool *pool;
    struct mh_net *net;
    bool is_source; /* reads count against limit_in; otherwise writes against limit_out */
    const struct mh_log *log;
};

/* Resolves (offloaded), connects (all addresses in turn, RFC 8305 order, MH_CONNECT_TIMEOUT_MS
 * each), TLS. MH_ERETRY when the host cannot be reached, MH_EMAILBOX for TLS refusals and
 * unknown names. waits */
int mh_conn_open(const struct mh_conn_config *cfg, struct mh_conn **out,
                 struct mh_err *err) MH_MUST_CHECK;
/* Upgrades after STARTTLS was answered. MH_EMAILBOX if plaintext bytes are already waiting
 * behind the reply (an attack): call before any further read. After a failure the connection
 * carries nothing more, plaintext least of all. waits */
int mh_conn_start_tls(struct mh_conn *c, struct mh_err *err) MH_MUST_CHECK;
/* RFC 4978: raw DEFLATE both ways from the next byte on. Copies inside zlib only. waits */
int mh_conn_start_deflate(struct mh_conn *c, struct mh_err *err) MH_MUST_CHECK;
/* Ends it at once; queued bytes are tried once without waiting. NULL is allowed. Tasks that wait
 * in it get MH_ERETRY; the memory goes when the last of them has left. */
void mh_conn_close(struct mh_conn *c);

/* The next bytes (at least one): *OUT holds a reference. MH_ERETRY on EOF, reset, deadline.
 * waits */
int mh_conn_read(struct mh_conn *c, struct mh_slice *out, struct mh_err *err) MH_MUST_CHECK;
/* Like mh_conn_read() with a deadline of its own (MH_NEVER: none): MH_ETIMEOUT leaves the
 * connection usable. */
int mh_conn_read_until(struct mh_conn *c, int64_t deadline_ms, struct mh_slice *out,
                       struct mh_err *err) MH_MUST_CHECK;

/* Gives back the end of the last slice read: what came behind the reply to COMPRESS or STARTTLS.
 * The next read, mh_conn_start_deflate() or mh_conn_start_tls() (which refuses it) finds it. */
void mh_conn_unread(struct mh_conn *c, struct mh_slice slice_take);

/* Queues a slice. Waits while the queue is at its limit. */
int mh_conn_write_take(struct mh_conn *c, struct mh_slice slice_take,
                       struct mh_err *err) MH_MUST_CHECK;
/* Queues a copy of protocol text (at most MH_SLAB_BYTES). Waits likewise. */
int mh_conn_write_text(struct mh_conn *c, const void *text, size_t len,
                       struct mh_err *err) MH_MUST_CHECK;
/* The same for a secret: its copy is wiped as soon as it is sent, and it never reaches the
 * trace. */
int mh_conn_write_secret(struct mh_conn *c, const void *text, size_t len,
                         struct mh_err *err) MH_MUST_CHECK;
/* Waits until the queue is empty. */
int mh_conn_drain(struct mh_conn *c, struct mh_err *err) MH_MUST_CHECK;
/* Bytes queued and not yet given to the kernel. */
size_t mh_conn_queued_bytes(const struct mh_conn *c);
/* True while a rate limit of our own holds what is there to be read or sent: the peer is not to
 * blame for the silence. */
bool mh_conn_is_held(const struct mh_conn *c);

struct mh_conn_info {
    bool tls;
    bool tls_resumed; /* by a ticket of an earlier connection under the same trust settings */
    char tls_version[16];
    char tls_cipher[48];
    char fingerprint[65];   /* SHA-256 of the leaf, hex */
    int64_t cert_not_after; /* unix seconds */
    char peer[64];          /* address:port */
    uint64_t bytes_in, bytes_out;
};
const struct mh_conn_info *mh_conn_info(const struct mh_conn *c);

#endif
