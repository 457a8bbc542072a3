/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TLS over a socket of ours, without waiting: each call does what can be done now and says what it
 * needs. OpenSSL reads through a BIO that knows when the socket has nothing; what it writes is
 * gathered in a block of the loop, so that many small records leave in one system call. Large
 * records go to the kernel from OpenSSL's own buffer.
 *
 * Owned by its connection; loop's thread. No secret may be written before mh_tls_handshake() said
 * MH_IO_OK: by then the certificate has been verified (tls_verify.c).
 */
#ifndef MH_NET_TLS_PRIV_H
#define MH_NET_TLS_PRIV_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "net/conn.h"
#include "net/net_priv.h"
#include "net/sock_priv.h"

enum mh_io {
    MH_IO_OK,
    MH_IO_WAIT, /* nothing now: an edge of the socket will tell */
    MH_IO_EOF,  /* the peer said goodbye in due form */
    MH_IO_FAIL, /* *err says why; no later call will do better */
};

/* Whom we want to talk to. */
struct mh_tls_peer {
    const char *host; /* borrowed: name or IP literal without brackets */
    uint16_t port;
    bool is_ip;
};

struct mh_tls {
    SSL *ssl;                     /* owned */
    struct mh_net *net;           /* borrowed */
    struct mh_sock *sock;         /* borrowed: the connection */
    const struct mh_trust *trust; /* borrowed: net */
    struct mh_tls_peer peer;
    bool is_established;
    bool is_broken;         /* OpenSSL must not be called any more */
    bool write_wants_input; /* a control message of the peer has to be read first */
    bool is_starved;        /* the socket had nothing for the last read */
    unsigned controls;      /* control messages in a row */
    size_t handshake_bytes; /* received so far */
    int send_errno;         /* sticky */
    int recv_errno;
    unsigned char *block; /* of the loop; what is in [sent, filled) waits for the socket */
    size_t sent, filled;
    enum mh_io end; /* the end that was met behind the last bytes given out */
    struct mh_err end_err;
    struct mh_err refusal; /* filled by the verification; code 0 = none */
};

BIO_METHOD *mh_tls_bio_method_new(void);
/* PEER's strings are borrowed for the object's life. waits */
int mh_tls_new(struct mh_net *net, struct mh_sock *sock, const struct mh_tls_peer *peer,
               const char *ca_file, const char *pin, struct mh_tls **out,
               struct mh_err *err) MH_MUST_CHECK;
void mh_tls_free(struct mh_tls *t);

enum mh_io mh_tls_handshake(struct mh_tls *t, struct mh_err *err);
enum mh_io mh_tls_read(struct mh_tls *t, void *buf, size_t len, size_t *n_out, struct mh_err *err);
/* Takes what fits; *N_OUT < LEN with MH_IO_WAIT. */
enum mh_io mh_tls_write(struct mh_tls *t, const void *data, size_t len, size_t *n_out,
                        struct mh_err *err);
/* Sends what was gathered as far as the socket takes it. */
enum mh_io mh_tls_push(struct mh_tls *t, struct mh_err *err);
static inline size_t mh_tls_unsent_bytes(const struct mh_tls *t)
{
    return t->filled - t->sent;
}
/* True when a read may bring something without an event of the socket. */
bool mh_tls_has_input(const struct mh_tls *t);
/* close_notify, as far as the socket takes it now. */
void mh_tls_say_goodbye(struct mh_tls *t);
/* Gives back the record buffers of a connection that rests. */
void mh_tls_rest(struct mh_tls *t);
/* Fills the TLS part of INFO after the handshake. */
void mh_tls_describe(const struct mh_tls *t, struct mh_conn_info *info);

/* --- callbacks of the context ---------------------------------------------------------------- */
int mh_tls_new_session(SSL *ssl, SSL_SESSION *session);
/* The whole verification of the peer's chain; a refusal's words go to the mh_tls of the SSL. */
int mh_tls_verify(X509_STORE_CTX *ctx, void *arg);
/* SHA-256 of CERT's DER as hex. */
void mh_tls_fingerprint(const X509 *cert, char hex[2 * MH_SHA256_BYTES + 1]);

#endif
