/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/task.h"
#include "net/dial_priv.h"

static mh_lookup_fn *lookup_fn = getaddrinfo;
static void (*free_list_fn)(struct addrinfo *) = freeaddrinfo;

void mh_resolve_set_lookup(mh_lookup_fn *lookup, void (*free_list)(struct addrinfo *list))
{
    lookup_fn = lookup;
    free_list_fn = free_list;
}

static bool is_literal(const char *host)
{
    struct in6_addr addr; /* large enough for both kinds */
    char bare[INET6_ADDRSTRLEN];
    size_t len = strcspn(host, "%"); /* fe80::1%eth0 */
    if (len >= sizeof bare)
        return false;
    memcpy(bare, host, len);
    bare[len] = '\0';
    return inet_pton(AF_INET6, bare, &addr) == 1 ||
           (host[len] == '\0' && inet_pton(AF_INET, bare, &addr) == 1);
}

int mh_host_normalize(const char *host, char *out, size_t out_size, bool *is_ip_out,
                      struct mh_err *err)
{
    size_t len = strlen(host);
    bool has_brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    if (has_brackets) {
        host++;
        len -= 2;
    } else if (len > 1 && host[len - 1] == '.') {
        len--;
    }
    if (len == 0 || len >= out_size || len > 253)
        return mh_err_set(err, MH_EUSAGE, "net", "\"%.60s\" is no host name", host);
    memcpy(out, host, len);
    out[len] = '\0';
    *is_ip_out = is_literal(out);
    if (has_brackets && !*is_ip_out)
        return mh_err_set(err, MH_EUSAGE, "net", "[%.60s] is no IPv6 address", out);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)out[i];
        if (c >= 0x80)
            return mh_err_set(err, MH_EUSAGE, "net",
                              "write the host %.60s in its ASCII form (xn--...)", out);
        if (c <= ' ' || c == 0x7f || strchr("/\\@\"<>[]", c))
            return mh_err_set(err, MH_EUSAGE, "net", "\"%.60s\" is no host name", out);
    }
    return MH_OK;
}

/* --- asking ---------------------------------------------------------------------------------- */

struct question {
    const char *host;
    char service[8];
    struct addrinfo hints;
    struct addrinfo *list; /* freed by the asker */
    int code;
    int sys_errno;
};

/* RFC 6761, 6.3: localhost and what is below it is this machine, whether or not anybody knows the name. */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t len = strlen(host);
    size_t want = sizeof name - 1;
    if (len < want || strcasecmp(host + len - want, name) != 0)
        return false;
    return len == want || host[len - want - 1] == '.';
}

static void ask(void *arg)
{
    struct question *q = arg;
    q->code = lookup_fn(q->host, q->service, &q->hints, &q->list);
    q->sys_errno = errno;
    if (q->code != 0 && is_localhost(q->host))
        q->code = lookup_fn(NULL, q->service, &q->hints, &q->list); /* the loopback addresses */
}

static int explain(const struct question *q, struct mh_err *err)
{
    switch (q->code) {
    case EAI_NONAME:
    case EAI_NODATA:
        return mh_err_set(err, MH_EMAILBOX, "net",
                          "unknown host: no address is known for this name (is it spelled right?)");
    case EAI_MEMORY:
        return mh_err_nomem(err);
    case EAI_SYSTEM:
        return mh_err_sys(err, MH_ERETRY, "net", q->sys_errno, "cannot look up the host's address");
    default:
        return mh_err_set(err, MH_ERETRY, "net", "cannot look up the host's address: %s",
                          gai_strerror(q->code));
    }
}

/* The next entry behind AFTER (NULL: from the start) whose being of FAMILY is IS_FAMILY. */
static const struct addrinfo *next_of(const struct addrinfo *from, int family, bool is_family)
{
    while (from && ((from->ai_family == family) != is_family ||
                    from->ai_addrlen > sizeof(struct sockaddr_storage)))
        from = from->ai_next;
    return from;
}

/* RFC 8305, 4: the first family and the others take turns, each in the resolver's order. */
static void interleave(const struct addrinfo *list, struct mh_addrs *out)
{
    int family = list->ai_family;
    const struct addrinfo *at[2] = {next_of(list, family, true), next_of(list, family, false)};
    out->n = 0;
    for (size_t turn = 0; (at[0] || at[1]) && out->n < MH_ADDRS_MAX; turn ^= 1) {
        const struct addrinfo *a = at[turn];
        if (!a)
            continue;
        struct mh_addr *to = &out->list[out->n++];
        memset(to, 0, sizeof *to);
        memcpy(&to->sa, a->ai_addr, a->ai_addrlen);
        to->len = a->ai_addrlen;
        at[turn] = next_of(a->ai_next, family, turn == 0);
    }
}

int mh_resolve(const char *host, uint16_t port, struct mh_addrs *out, struct mh_err *err)
{
    struct question q = {.host = host,
                         .hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP}};
    (void)snprintf(q.service, sizeof q.service, "%u", (unsigned)port);
    q.hints.ai_flags = AI_NUMERICSERV;
    if (is_literal(host)) {
        q.hints.ai_flags |= AI_NUMERICHOST; /* asks nobody */
        ask(&q);
    } else {
        mh_offload(ask, &q);
    }
    if (q.code != 0)
        return explain(&q, err);
    interleave(q.list, out);
    free_list_fn(q.list);
    return MH_OK;
}
