/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a name to a socket: host forms, the order of addresses, fallback, words for failures. */
#include "net_peer.h"

#include <netdb.h>

#include "net/dial_priv.h"

static const struct {
    const char *name;
    const char *host;
    const char *out; /* NULL: refused */
    bool is_ip;
} host_cases[] = {
    {"a name", "mail.example.org", "mail.example.org", false},
    {"a trailing dot", "mail.example.org.", "mail.example.org", false},
    {"IPv4", "192.0.2.7", "192.0.2.7", true},
    {"IPv6", "2001:db8::1", "2001:db8::1", true},
    {"IPv6 in brackets", "[2001:db8::1]", "2001:db8::1", true},
    {"IPv6 with a zone", "[fe80::1%lo]", "fe80::1%lo", true},
    {"no IPv4: a name of digits", "192.0.2", "192.0.2", false},
    {"an A-label", "xn--bcher-kva.example", "xn--bcher-kva.example", false},
    {"an underscore", "my_mail.example", "my_mail.example", false},
    {"empty", "", NULL, false},
    {"a dot", ".", ".", false},
    {"empty brackets", "[]", NULL, false},
    {"a name in brackets", "[mail.example.org]", NULL, false},
    {"IPv4 with a zone", "127.0.0.1%lo", "127.0.0.1%lo", false},
    {"a blank", "mail example.org", NULL, false},
    {"a line end", "mail.example.org\r\nX", NULL, false},
    {"a slash", "mail.example.org/INBOX", NULL, false},
    {"an at sign", "anna@mail.example.org", NULL, false},
    {"a U-label",
     "b\xc3\xbc"
     "cher.example",
     NULL, false},
};

Test(dial, host_forms)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(host_cases); i++) {
        char out[256];
        bool is_ip = false;
        struct mh_err err;
        int rc = mh_host_normalize(host_cases[i].host, out, sizeof out, &is_ip, &err);
        if (!host_cases[i].out) {
            cr_expect_eq(rc, MH_EUSAGE, "%s", host_cases[i].name);
            continue;
        }
        cr_expect_eq(rc, MH_OK, "%s: %s", host_cases[i].name, err.text);
        cr_expect_str_eq(out, host_cases[i].out, "%s: %s", host_cases[i].name, out);
        cr_expect_eq(is_ip, host_cases[i].is_ip, "%s", host_cases[i].name);
    }
    char longest[300];
    char out[256];
    bool is_ip = false;
    struct mh_err err;
    memset(longest, 'a', sizeof longest);
    longest[254] = '\0';
    cr_expect_eq(mh_host_normalize(longest, out, sizeof out, &is_ip, &err), MH_EUSAGE);
    longest[253] = '\0';
    cr_expect_eq(mh_host_normalize(longest, out, sizeof out, &is_ip, &err), MH_OK);
}

/* --- a resolver of our own ------------------------------------------------------------------- */

struct answer {
    int code;
    const char *addresses[20];
};

static struct answer answer;
static char asked[256];

static int lookup(const char *host, const char *service, const struct addrinfo *hints,
                  struct addrinfo **out)
{
    *out = NULL;
    if (hints->ai_flags & AI_NUMERICHOST)
        return getaddrinfo(host, service, hints, out);
    (void)snprintf(asked, sizeof asked, "%s", host);
    struct addrinfo **at = out;
    struct addrinfo numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    for (size_t i = 0; answer.code == 0 && answer.addresses[i]; i++) {
        peer_check(getaddrinfo(answer.addresses[i], service, &numeric, at) == 0);
        while (*at)
            at = &(*at)->ai_next;
    }
    return answer.code;
}

static void free_each(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;
        list->ai_next = NULL;
        freeaddrinfo(list);
        list = next;
    }
}

static void use_answer(const struct answer *a)
{
    answer = *a;
    mh_resolve_set_lookup(lookup, free_each);
}

static const struct {
    const char *name;
    const char *in[20];
    const char *out[20];
} order_cases[] = {
    {"one", {"192.0.2.1"}, {"192.0.2.1"}},
    {"families take turns, the resolver's first goes first",
     {"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"},
     {"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"}},
    {"IPv4 first when it came first",
     {"192.0.2.1", "192.0.2.2", "2001:db8::1"},
     {"192.0.2.1", "2001:db8::1", "192.0.2.2"}},
    {"one family",
     {"192.0.2.3", "192.0.2.1", "192.0.2.2"},
     {"192.0.2.3", "192.0.2.1", "192.0.2.2"}},
    {"at most 16",
     {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7",
      "192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13",
      "192.0.2.14", "192.0.2.15", "192.0.2.16", "192.0.2.17", "192.0.2.18"},
     {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7",
      "192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13",
      "192.0.2.14", "192.0.2.15", "192.0.2.16"}},
};

/* The address as digits; its port, too, unless PORT is NULL. */
static void numbers_of(const struct mh_addr *a, char host[64], char port[8])
{
    cr_assert_eq(getnameinfo((const struct sockaddr *)&a->sa, a->len, host, 64, port, port ? 8 : 0,
                             NI_NUMERICHOST | NI_NUMERICSERV),
                 0);
}

Test(dial, addresses_in_the_order_of_rfc_8305)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(order_cases); i++) {
        struct answer a = {0};
        struct mh_addrs addrs;
        struct mh_err err;
        memcpy(a.addresses, order_cases[i].in, sizeof a.addresses);
        use_answer(&a);
        cr_assert_eq(mh_resolve("mail.example.org", 993, &addrs, &err), MH_OK);
        size_t n = 0;
        for (; order_cases[i].out[n]; n++) {
            char host[64];
            char port[8];
            cr_assert_lt(n, addrs.n, "%s", order_cases[i].name);
            numbers_of(&addrs.list[n], host, port);
            cr_expect_str_eq(host, order_cases[i].out[n], "%s: %s", order_cases[i].name, host);
            cr_expect_str_eq(port, "993");
        }
        cr_expect_eq(addrs.n, n, "%s", order_cases[i].name);
    }
}

/* A machine without a hosts file: only a question without a name has an answer. */
static int lookup_nobody(const char *host, const char *service, const struct addrinfo *hints,
                         struct addrinfo **out)
{
    return host ? EAI_NONAME : getaddrinfo(NULL, service, hints, out);
}

Test(dial, localhost_needs_no_resolver)
{
    static const struct {
        const char *host;
        bool is_known;
    } cases[] = {{"localhost", true},
                 {"LocalHost", true},
                 {"imap.localhost", true},
                 {"notlocalhost", false},
                 {"localhost.example.org", false},
                 {"host", false}};
    mh_resolve_set_lookup(lookup_nobody, freeaddrinfo);
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_addrs addrs = {0};
        struct mh_err err;
        int rc = mh_resolve(cases[i].host, 993, &addrs, &err);
        cr_expect_eq(rc == MH_OK, cases[i].is_known, "%s", cases[i].host);
        cr_expect_eq(addrs.n > 0, cases[i].is_known, "%s: %zu addresses", cases[i].host, addrs.n);
        for (size_t k = 0; rc == MH_OK && k < addrs.n; k++) {
            char host[64];
            numbers_of(&addrs.list[k], host, NULL);
            cr_expect(strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0, "%s", host);
        }
    }
}

static const struct {
    int code;
    int rc;
    const char *words;
} failure_cases[] = {
    {EAI_NONAME, MH_EMAILBOX, "unknown host"},
    {EAI_NODATA, MH_EMAILBOX, "unknown host"},
    {EAI_AGAIN, MH_ERETRY, "cannot look up the host's address: Temporary failure"},
    {EAI_FAIL, MH_ERETRY, "cannot look up"},
    {EAI_SYSTEM, MH_ERETRY, "cannot look up"},
    {EAI_MEMORY, MH_ERUN, "out of memory"},
};

static void failures_main(void *arg)
{
    struct world *w = arg;
    for (size_t i = 0; i < MH_ARRAY_LEN(failure_cases); i++) {
        struct mh_conn *c = NULL;
        struct mh_err err;
        use_answer(&(struct answer){.code = failure_cases[i].code});
        w->cfg.host = "mail.example.org.";
        asked[0] = '\0';
        int rc = mh_conn_open(&w->cfg, &c, &err);
        cr_expect_eq(rc, failure_cases[i].rc, "%s: %s", gai_strerror(failure_cases[i].code),
                     err.text);
        cr_expect(strstr(err.text, failure_cases[i].words), "%s", err.text);
        cr_expect_str_eq(asked, "mail.example.org");
        cr_expect(strstr(err.where, "mail.example.org"), "%s", err.where);
        cr_expect_null(c);
    }
}

Test(dial, lookup_failures_in_words)
{
    world_run_plain(NULL, failures_main);
}

/* --- connecting ------------------------------------------------------------------------------ */

static void greet(struct peer *p, int fd)
{
    (void)p;
    peer_sends(fd, "hello");
    peer_end(fd);
}

static void fallback_main(void *arg)
{
    struct world *w = arg;
    char peer[64];
    /* Nobody listens there: refused at once, the next one is tried. */
    use_answer(&(struct answer){.addresses = {"::1", "127.0.0.9", "127.0.0.1"}});
    w->cfg.host = "mail.example.org";
    struct mh_conn *c = world_open(w);
    (void)snprintf(peer, sizeof peer, "127.0.0.1:%u", (unsigned)w->peer.port);
    cr_assert_str_eq(mh_conn_info(c)->peer, peer);
    must_read(c, "hello");
    mh_conn_close(c);
}

Test(dial, a_refused_address_is_passed_over)
{
    world_run_plain(greet, fallback_main);
}

/* A listener whose queue is full answers no SYN, like a firewall that drops. */
struct silent {
    int listen_fd;
    uint16_t port;
    int fillers[8];
    size_t n;
};

static void silent_open(struct silent *s, const char *address, uint16_t port)
{
    struct peer p = {.port = port};
    peer_listen(&p, address, 0);
    s->listen_fd = p.listen_fd;
    s->port = p.port;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(p.port)};
    cr_assert_eq(inet_pton(AF_INET, address, &a.sin_addr), 1);
    for (s->n = 0; s->n < MH_ARRAY_LEN(s->fillers); s->n++) {
        s->fillers[s->n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        cr_assert_geq(s->fillers[s->n], 0);
        (void)connect(s->fillers[s->n], (struct sockaddr *)&a, sizeof a);
    }
}

static void silent_close(struct silent *s)
{
    while (s->n > 0)
        (void)close(s->fillers[--s->n]);
    (void)close(s->listen_fd);
}

/* One that the world would connect to. */
static void silent_open_for(struct silent *s, struct world *w)
{
    silent_open(s, "127.0.0.5", 0);
    w->cfg.host = "127.0.0.5";
    w->cfg.port = s->port;
}

static void silent_main(void *arg)
{
    struct world *w = arg;
    struct silent s;
    silent_open(&s, "127.0.0.5", w->peer.port);
    use_answer(&(struct answer){.addresses = {"127.0.0.5", "127.0.0.1"}});
    w->cfg.host = "mail.example.org";
    int64_t start = mh_now_ms();
    struct mh_conn *c = world_open(w);
    cr_assert_geq(mh_now_ms() - start, 250, "the first had its head start");
    cr_assert_lt(mh_now_ms() - start, 15000, "nobody waits for it to fail");
    must_read(c, "hello");
    mh_conn_close(c);
    silent_close(&s);
}

Test(dial, a_silent_address_delays_by_a_moment_only)
{
    world_run_plain(greet, silent_main);
}

static void nobody_main(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = NULL;
    struct mh_err err;
    use_answer(&(struct answer){.addresses = {"127.0.0.9", "127.0.0.10"}});
    w->cfg.host = "mail.example.org";
    w->cfg.port = 1;
    cr_assert_eq(mh_conn_open(&w->cfg, &c, &err), MH_ERETRY);
    cr_assert_str_eq(err.text, "cannot connect (2 addresses tried): Connection refused");
    cr_assert_str_eq(err.where, "mail.example.org:1");

    struct silent s;
    silent_open_for(&s, w);
    w->cfg.timeout_ms = 100;
    int64_t start = mh_now_ms();
    cr_assert_eq(mh_conn_open(&w->cfg, &c, &err), MH_ERETRY);
    cr_assert_str_eq(err.text, "cannot connect (1 address tried): Connection timed out");
    cr_assert_geq(mh_now_ms() - start, 100);
    silent_close(&s);
}

Test(dial, unreachable_servers_are_worth_another_try)
{
    world_run_plain(NULL, nobody_main);
}

static void open_and_be_cancelled(void *arg)
{
    struct world *w = arg;
    struct mh_conn *c = NULL;
    struct mh_err err;
    cr_assert_eq(mh_conn_open(&w->cfg, &c, &err), MH_ECANCEL);
    cr_assert_null(c);
}

static void cancel_main(void *arg)
{
    struct world *w = arg;
    struct silent s;
    silent_open_for(&s, w);
    struct mh_task *t = world_spawn(w, open_and_be_cancelled, w);
    mh_yield();
    mh_yield();
    mh_task_cancel(t);
    mh_task_join(t);
    silent_close(&s);
}

Test(dial, connecting_can_be_cancelled)
{
    world_run_plain(NULL, cancel_main);
}
