/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Trust settings and what belongs to them for a whole run: one SSL_CTX per (ca_file, pin), and the
 * session tickets that servers gave to connections verified under these very settings. A ticket is
 * never offered to another host, another port or under other settings, so a resumed session stands
 * on the verification of the full handshake it came from.
 *
 * Owned by struct mh_net; thread: any (one lock, taken once per connection). Tickets of TLS 1.3 are
 * used once (RFC 8446, C.4), sessions of TLS 1.2 until the server refuses them.
 */
#ifndef MH_NET_TRUST_PRIV_H
#define MH_NET_TRUST_PRIV_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"

#define MH_SHA256_BYTES           32
/* Servers of a migration are few; each opens a handful of connections at a time. */
#define MH_TICKETS_MAX            256u
#define MH_TICKETS_PER_SERVER_MAX 8u

struct mh_trust {
    struct mh_trust *next;
    char *ca_file; /* owned; NULL = the system's roots */
    bool has_pin;
    unsigned char pin[MH_SHA256_BYTES];
    SSL_CTX *ctx; /* owned */
};

struct mh_ticket;

struct mh_trusts {
    pthread_mutex_t lock;
    struct mh_trust *list;
    struct mh_ticket *tickets; /* newest first */
    size_t n_tickets;
};

void mh_trusts_init(struct mh_trusts *ts);
void mh_trusts_done(struct mh_trusts *ts);

/* The settings' entry, made when it is new (reads CA_FILE in a worker thread). *OUT is borrowed:
 * TS. MH_EUSAGE when the file holds no certificate or the pin is not 64 hex digits. waits */
int mh_trusts_get(struct mh_trusts *ts, const char *ca_file, const char *pin,
                  const struct mh_trust **out, struct mh_err *err) MH_MUST_CHECK;

/* Takes SESSION, a ticket of HOST:PORT. */
void mh_ticket_put(struct mh_trusts *ts, const struct mh_trust *trust, const char *host,
                   uint16_t port, SSL_SESSION *session_take);
/* A session to resume, or NULL; the caller frees it with SSL_SESSION_free(). */
SSL_SESSION *mh_ticket_get(struct mh_trusts *ts, const struct mh_trust *trust, const char *host,
                           uint16_t port) MH_MUST_CHECK;

#endif
