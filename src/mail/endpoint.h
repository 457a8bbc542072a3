/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where a mailbox is: one side of a migration, from a URL on the command line or from the project
 * file, and how its secrets are got. Plain values owned by the endpoint; any thread after set-up.
 *
 * URL forms (design of the command line):
 *   imaps://user@host[:993]/[folder]   implicit TLS
 *   imap://user@host[:143]/[folder]    STARTTLS required; ?tls=none allows plaintext
 *   maildir:/path  mbox:/path  eml:/path  mem:name  (pst:, ews:, graph: in later parts)
 * imap(s)://user*admin@host/ logs in as Dovecot's master user ("admin_by_name"); admin=USER is the SASL
 * authorisation identity. A literal '*' in a user's name is written %2A. What follows the colon of
 * an archive is its path to the last byte: no escapes, no query.
 * Query parameters: ca=FILE pin=sha256:HEX auth=plain|login|scram|xoauth2|oauthbearer admin=USER tls=none;
 * admin=*USER is Dovecot's master-user form, as is user*USER@host.
 * user may be percent-encoded ("anna%40example.org"); a literal "anna@example.org@host" is read with the last '@'.
 * A password inside a URL is refused with the reason.
 */
#ifndef MH_MAIL_ENDPOINT_H
#define MH_MAIL_ENDPOINT_H

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

enum mh_tls { MH_TLS_IMPLICIT, MH_TLS_STARTTLS, MH_TLS_NONE };
enum mh_auth {
    MH_AUTH_ANY, /* the strongest both sides have: SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN command */
    MH_AUTH_PLAIN,
    MH_AUTH_LOGIN, /* the LOGIN command */
    MH_AUTH_SCRAM,
    MH_AUTH_XOAUTH2,
    MH_AUTH_OAUTHBEARER,
};

/* A secret is read when it is needed and wiped after use. Exactly one source is set. For XOAUTH2 and
 * OAUTHBEARER the secret is the access token. */
struct mh_secret_source {
    char *file;     /* owned: first line is the secret; must not be readable by others (warning) */
    char **command; /* owned, NULL-terminated argv, run without a shell; first line of its output */
    char *value;    /* owned: from the environment, a prompt or a 0600 CSV; wiped when freed */
};

struct mh_endpoint {
    char *type; /* owned: "imap", "maildir", "mbox", "eml", "mem" */
    char *host;
    uint16_t port;
    enum mh_tls tls;
    enum mh_auth auth;
    char *user;          /* who owns the mailbox */
    char *admin_user;    /* logs in on the user's behalf; NULL = the user */
    bool admin_by_name;  /* Dovecot master user: login name is user*admin; else SASL authzid */
    char *folder;        /* canonical path to restrict to or to copy into; NULL = whole mailbox */
    char *folder_prefix; /* target: put everything below this path; NULL = none */
    char *path;          /* archives */
    char *ca_file;
    char *pin; /* 64 hex digits: SHA-256 of the certificate (DER) */
    struct mh_secret_source secret;
    unsigned connections; /* to this server over all mailboxes; 0 = default */
    unsigned per_mailbox; /* 0 = default */
    uint64_t max_message; /* bytes; 0 = what the server announces */
    char *profile;        /* "generic", "exchange-online", "gmail", …; NULL = generic */
};

void mh_endpoint_init(struct mh_endpoint *e);
void mh_endpoint_done(struct mh_endpoint *e);
int mh_endpoint_dup(const struct mh_endpoint *from, struct mh_endpoint *out,
                    struct mh_err *err) MH_MUST_CHECK;
/* MH_EUSAGE names what is wrong and the nearest right form. */
int mh_endpoint_parse_url(const char *url, struct mh_endpoint *out,
                          struct mh_err *err) MH_MUST_CHECK;
/* "imaps://user@host:993/" for people and as key in the state; no secret, no query but admin. */
char *mh_endpoint_format(const struct mh_endpoint *e) MH_MUST_CHECK;
/* "host:port" or the path: what counts as one server for connection budgets. */
char *mh_endpoint_server_key(const struct mh_endpoint *e) MH_MUST_CHECK;

/* A secret, with everything else its file or command prints: access tokens have some kilobytes. */
#define MH_SECRET_MAX_BYTES          ((size_t)64 << 10)
/* A password command may ask a person (pinentry), who may have gone for a coffee. */
#define MH_SECRET_COMMAND_TIMEOUT_MS 300000

/* The secret into OUT (terminated, no line end). Runs a command: call through mh_offload() in a task.
 * The caller wipes OUT with mh_secret_wipe(). MH_EAUTH, with what to do, when none is configured or
 * it cannot be had. A file that others can read is logged as a warning. */
int mh_secret_get(const struct mh_secret_source *s, struct mh_buf *out,
                  struct mh_err *err) MH_MUST_CHECK;
void mh_secret_wipe(struct mh_buf *b);

#endif
