/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From a host name to a connected socket: resolution in a worker thread, then the addresses in the
 * order of RFC 8305 (families alternating), each started when the one before failed or has been
 * silent for a moment; the first that answers wins. Loop's thread. Plain values, no state.
 */
#ifndef MH_NET_DIAL_PRIV_H
#define MH_NET_DIAL_PRIV_H

#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"

/* A name with more addresses than this has enough of them. */
#define MH_ADDRS_MAX       16u
/* "[" 45 characters of IPv6, a zone, "]:65535" */
#define MH_ADDR_TEXT_BYTES 64u

struct mh_addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

struct mh_addrs {
    struct mh_addr list[MH_ADDRS_MAX];
    size_t n;
};

/* "[::1]" without the brackets and a trailing dot of a name cut off, into OUT. MH_EUSAGE for what
 * cannot be a host. *IS_IP_OUT: an address literal. */
int mh_host_normalize(const char *host, char *out, size_t out_size, bool *is_ip_out,
                      struct mh_err *err) MH_MUST_CHECK;

/* HOST as mh_host_normalize() made it. MH_EMAILBOX: no such name; MH_ERETRY: no answer. waits */
int mh_resolve(const char *host, uint16_t port, struct mh_addrs *out,
               struct mh_err *err) MH_MUST_CHECK;

/* A connected, non-blocking socket in *FD_OUT, the address's text in PEER. MH_ERETRY when none of
 * ADDRS can be reached; each has TIMEOUT_MS. waits */
int mh_dial(const struct mh_addrs *addrs, int64_t timeout_ms, int *fd_out,
            char peer[MH_ADDR_TEXT_BYTES], struct mh_err *err) MH_MUST_CHECK;

/* What asks for names; tests put their own in its place before any loop runs. Default
 * getaddrinfo(). */
typedef int mh_lookup_fn(const char *host, const char *service, const struct addrinfo *hints,
                         struct addrinfo **out);
void mh_resolve_set_lookup(mh_lookup_fn *lookup, void (*free_list)(struct addrinfo *list));

#endif
