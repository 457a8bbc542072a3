/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "mail/endpoint.h"
#include "out_of_memory.h"

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEX64_COLONS                                                                               \
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:"   \
    "EE:"                                                                                          \
    "FF"

/* --- good URLs -------------------------------------------------------------------------------- */

static const struct good_case {
    const char *url;
    const char *type, *user, *host;
    uint16_t port;
    enum mh_tls tls;
    const char *folder, *path;
    const char *format, *key;
} good_cases[] = {
    {"imaps://anna@mail.example.org/", "imap", "anna", "mail.example.org", 993, MH_TLS_IMPLICIT,
     NULL, NULL, "imaps://anna@mail.example.org:993/", "mail.example.org:993"},
    {"imaps://anna@host", "imap", "anna", "host", 993, MH_TLS_IMPLICIT, NULL, NULL,
     "imaps://anna@host:993/", "host:993"},
    {"IMAPS://anna@host", "imap", "anna", "host", 993, MH_TLS_IMPLICIT, NULL, NULL,
     "imaps://anna@host:993/", "host:993"},
    {"imap://anna@host", "imap", "anna", "host", 143, MH_TLS_STARTTLS, NULL, NULL,
     "imap://anna@host:143/", "host:143"},
    {"imap://anna@127.0.0.1:20143?tls=none", "imap", "anna", "127.0.0.1", 20143, MH_TLS_NONE, NULL,
     NULL, "imap://anna@127.0.0.1:20143/", "127.0.0.1:20143"},
    {"imaps://anna@example.org@host:1993", "imap", "anna@example.org", "host", 1993,
     MH_TLS_IMPLICIT, NULL, NULL, "imaps://anna%40example.org@host:1993/", "host:1993"},
    {"imaps://anna%40example.org@host", "imap", "anna@example.org", "host", 993, MH_TLS_IMPLICIT,
     NULL, NULL, "imaps://anna%40example.org@host:993/", "host:993"},
    {"imaps://DOM%5canna%2Fx%3Ay%2A@host", "imap", "DOM\\anna/x:y*", "host", 993, MH_TLS_IMPLICIT,
     NULL, NULL, "imaps://DOM\\anna%2Fx%3Ay%2A@host:993/", "host:993"},
    {"imaps://\xc3\xa4nna@host", "imap", "\xc3\xa4nna", "host", 993, MH_TLS_IMPLICIT, NULL, NULL,
     "imaps://\xc3\xa4nna@host:993/", "host:993"},
    {"imaps://anna@[2001:db8::1]:20993/", "imap", "anna", "2001:db8::1", 20993, MH_TLS_IMPLICIT,
     NULL, NULL, "imaps://anna@[2001:db8::1]:20993/", "[2001:db8::1]:20993"},
    {"imaps://anna@[::1]/Sent", "imap", "anna", "::1", 993, MH_TLS_IMPLICIT, "Sent", NULL,
     "imaps://anna@[::1]:993/", "[::1]:993"},
    {"imaps://anna@host/Archive/2019", "imap", "anna", "host", 993, MH_TLS_IMPLICIT, "Archive/2019",
     NULL, "imaps://anna@host:993/", "host:993"},
    {"imaps://anna@host/Archive/2019/", "imap", "anna", "host", 993, MH_TLS_IMPLICIT,
     "Archive/2019", NULL, "imaps://anna@host:993/", "host:993"},
    {"imaps://anna@host/inbox/x", "imap", "anna", "host", 993, MH_TLS_IMPLICIT, "INBOX/x", NULL,
     "imaps://anna@host:993/", "host:993"},
    {"imaps://anna@host/A/inbox", "imap", "anna", "host", 993, MH_TLS_IMPLICIT, "A/inbox", NULL,
     "imaps://anna@host:993/", "host:993"},
    {"imaps://anna@host/%C3%89t%C3%A9%20x", "imap", "anna", "host", 993, MH_TLS_IMPLICIT,
     "\xc3\x89t\xc3\xa9 x", NULL, "imaps://anna@host:993/", "host:993"},
    {"imaps://anna@host/A%2fB/100%25%3f", "imap", "anna", "host", 993, MH_TLS_IMPLICIT,
     "A%2FB/100%?", NULL, "imaps://anna@host:993/", "host:993"},
    {"imaps://anna@host/50%", "imap", "anna", "host", 993, MH_TLS_IMPLICIT, "50%", NULL,
     "imaps://anna@host:993/", "host:993"},
    {"imaps://anna@host/a@b:c", "imap", "anna", "host", 993, MH_TLS_IMPLICIT, "a@b:c", NULL,
     "imaps://anna@host:993/", "host:993"},
    {"maildir:/var/mail/anna", "maildir", NULL, NULL, 0, MH_TLS_IMPLICIT, NULL, "/var/mail/anna",
     "maildir:/var/mail/anna", "/var/mail/anna"},
    {"maildir:backup/anna", "maildir", NULL, NULL, 0, MH_TLS_IMPLICIT, NULL, "backup/anna",
     "maildir:backup/anna", "backup/anna"},
    {"maildir:///var/mail", "maildir", NULL, NULL, 0, MH_TLS_IMPLICIT, NULL, "///var/mail",
     "maildir:///var/mail", "///var/mail"},
    {"mbox:/a b?c=d%20#e", "mbox", NULL, NULL, 0, MH_TLS_IMPLICIT, NULL, "/a b?c=d%20#e",
     "mbox:/a b?c=d%20#e", "/a b?c=d%20#e"},
    {"eml:.", "eml", NULL, NULL, 0, MH_TLS_IMPLICIT, NULL, ".", "eml:.", "."},
    {"mem:one", "mem", NULL, NULL, 0, MH_TLS_IMPLICIT, NULL, "one", "mem:one", "one"},
};

static void expect_same(const char *got, const char *want, const char *url)
{
    cr_expect_eq(got == NULL, want == NULL, "%s: %s instead of %s", url, got ? got : "NULL",
                 want ? want : "NULL");
    if (got && want)
        cr_expect_str_eq(got, want, "%s", url);
}

Test(mail_endpoint, good)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(good_cases); i++) {
        const struct good_case *c = &good_cases[i];
        struct mh_endpoint e;
        struct mh_err err;
        cr_assert_eq(mh_endpoint_parse_url(c->url, &e, &err), 0, "%s: %s", c->url, err.text);
        expect_same(e.type, c->type, c->url);
        expect_same(e.user, c->user, c->url);
        expect_same(e.host, c->host, c->url);
        expect_same(e.folder, c->folder, c->url);
        expect_same(e.path, c->path, c->url);
        cr_expect_eq(e.port, c->port, "%s", c->url);
        cr_expect_eq(e.tls, c->tls, "%s", c->url);
        cr_expect_eq(e.auth, MH_AUTH_ANY, "%s", c->url);
        char *format = mh_endpoint_format(&e);
        char *key = mh_endpoint_server_key(&e);
        expect_same(format, c->format, c->url);
        expect_same(key, c->key, c->url);
        struct mh_endpoint again;
        cr_expect_eq(mh_endpoint_parse_url(format, &again, &err), 0, "%s: %s", format, err.text);
        expect_same(again.user, e.user, format);
        expect_same(again.host, e.host, format);
        cr_expect_eq(again.port, e.port, "%s", format);
        mh_free(format);
        mh_free(key);
        mh_endpoint_done(&again);
        mh_endpoint_done(&e);
    }
}

static const struct param_case {
    const char *query;
    enum mh_auth auth;
    const char *ca_file, *pin, *admin;
} param_cases[] = {
    {"?", MH_AUTH_ANY, NULL, NULL, NULL},
    {"?auth=plain", MH_AUTH_PLAIN, NULL, NULL, NULL},
    {"?auth=LOGIN", MH_AUTH_LOGIN, NULL, NULL, NULL},
    {"?auth=scram", MH_AUTH_SCRAM, NULL, NULL, NULL},
    {"?auth=xoauth2", MH_AUTH_XOAUTH2, NULL, NULL, NULL},
    {"?auth=oauthbearer", MH_AUTH_OAUTHBEARER, NULL, NULL, NULL},
    {"?ca=/etc/my%20ca.pem", MH_AUTH_ANY, "/etc/my ca.pem", NULL, NULL},
    {"?pin=sha256:" HEX64, MH_AUTH_ANY, NULL, HEX64, NULL},
    {"?pin=SHA256:" HEX64_COLONS, MH_AUTH_ANY, NULL, HEX64, NULL},
    {"?admin=mig%40admin", MH_AUTH_ANY, NULL, NULL, "mig@admin"},
    {"?ca=x&&auth=plain&admin=a&", MH_AUTH_PLAIN, "x", NULL, "a"},
};

Test(mail_endpoint, parameters)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(param_cases); i++) {
        const struct param_case *c = &param_cases[i];
        for (int with_folder = 0; with_folder < 2; with_folder++) {
            char *url = mh_asprintf("imaps://u@h%s%s", with_folder ? "/F" : "", c->query);
            struct mh_endpoint e;
            struct mh_err err;
            cr_assert_eq(mh_endpoint_parse_url(url, &e, &err), 0, "%s: %s", url, err.text);
            cr_expect_eq(e.auth, c->auth, "%s", url);
            expect_same(e.ca_file, c->ca_file, url);
            expect_same(e.pin, c->pin, url);
            expect_same(e.admin_user, c->admin, url);
            expect_same(e.folder, with_folder ? "F" : NULL, url);
            cr_expect_not(e.admin_by_name);
            mh_endpoint_done(&e);
            mh_free(url);
        }
    }
}

Test(mail_endpoint, admin_in_the_state_key)
{
    static const struct {
        const char *url, *format;
        bool by_name;
    } cases[] = {
        {"imaps://anna*boss@h/", "imaps://anna*boss@h:993/", true},
        {"imaps://anna@x.org*boss@h/", "imaps://anna%40x.org*boss@h:993/", true},
        {"imaps://anna@h/?admin=boss", "imaps://anna@h:993/?admin=boss", false},
        {"imaps://anna@h/F?ca=x&admin=b%26s", "imaps://anna@h:993/?admin=b%26s", false},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_endpoint e;
        cr_assert_eq(mh_endpoint_parse_url(cases[i].url, &e, NULL), 0, "%s", cases[i].url);
        char *format = mh_endpoint_format(&e);
        cr_expect_eq(e.admin_by_name, cases[i].by_name);
        cr_expect_not_null(e.admin_user);
        cr_expect_str_eq(format, cases[i].format);
        struct mh_endpoint again;
        cr_assert_eq(mh_endpoint_parse_url(format, &again, NULL), 0, "%s", format);
        cr_expect_str_eq(again.admin_user, e.admin_user);
        cr_expect_str_eq(again.user, e.user);
        mh_endpoint_done(&again);
        mh_free(format);
        mh_endpoint_done(&e);
    }
}

/* --- bad URLs --------------------------------------------------------------------------------- */

static const struct {
    const char *url;
    const char *says; /* part of the message */
} bad_cases[] = {
    {"", "must begin with its kind"},
    {"mail.example.org", "must begin with its kind"},
    {"anna@mail.example.org", "imaps://USER@HOST/"},
    {"/var/mail", "maildir:/path"},
    {"://x", "must begin with its kind"},
    {"imaps", "must begin with its kind"},
    {"averyveryverylongscheme:x", "must begin with its kind"},
    {"imaps:\n//anna@h", "control character"},
    {"imaps://anna@h\n", "control character"},
    {"imapss://anna@h", "did you mean imaps:"},
    {"imsp://anna@h", "did you mean imap"},
    {"maildri:/x", "did you mean maildir:"},
    {"http://h/", "\"http:\" is unknown"},
    {"pop3://anna@h", "POP3"},
    {"pst:/x.pst", "not in this version"},
    {"ews://anna@h", "not in this version"},
    {"graph://t/u", "not in this version"},
    {"imaps:anna@h", "two slashes"},
    {"imaps:/anna@h", "two slashes"},
    {"imaps://h/", "the user is missing: write imaps://USER@HOST/"},
    {"imap://h/", "the user is missing: write imap://USER@HOST/"},
    {"imaps://", "the user is missing"},
    {"imaps://?x@y", "the user is missing"},
    {"imaps://@h/", "the user's name is empty"},
    {"imaps://*boss@h/", "the user's name is empty"},
    {"imaps://anna*@h/", "the user's name is empty"},
    {"imaps://anna@/", "the host is empty"},
    {"imaps://anna@:993/", "the host is empty"},
    {"imaps://anna:secret@h/", "a password does not belong in a URL"},
    {"imaps://anna:@h/", "a password does not belong in a URL"},
    {"imaps://anna:p@ss@h/", "a password does not belong in a URL"},
    {"imaps://anna:sec/ret@h/", "'/' before the '@'"},
    {"imaps://anna:sec?ret@h/", "the user is missing"},
    {"imaps://anna@h?password=secret", "a password does not belong in a URL"},
    {"imaps://an%na@h", "the user's name has a '%' without two hex digits"},
    {"imaps://anna%4@h", "without two hex digits"},
    {"imaps://anna%@h", "write %25"},
    {"imaps://anna%00@h", "control character"},
    {"imaps://anna%0a@h", "control character"},
    {"imaps://anna@h:0/", "from 1 to 65535"},
    {"imaps://anna@h:65536/", "from 1 to 65535"},
    {"imaps://anna@h:/", "from 1 to 65535"},
    {"imaps://anna@h:imap/", "from 1 to 65535"},
    {"imaps://anna@h:+993/", "from 1 to 65535"},
    {"imaps://anna@h:99999999999999999999/", "from 1 to 65535"},
    {"imaps://anna@2001:db8::1/", "in brackets"},
    {"imaps://anna@[::1/", "no closing ']'"},
    {"imaps://anna@[]/", "the host is empty"},
    {"imaps://anna@[::1]993/", "only :PORT"},
    {"imaps://anna@[host]/", "no host name has"},
    {"imaps://anna@ho st/", "no host name has"},
    {"imaps://anna@h%6fst/", "no host name has"},
    {"imaps://anna@m\xc3\xbcller.example/", "xn--"},
    {"imaps://anna@h/A//B", "empty part"},
    {"imaps://anna@h//", "empty part"},
    {"imaps://anna@h/A#B", "%23"},
    {"imaps://anna@h/?foo=1", "unknown parameter \"foo\""},
    {"imaps://anna@h/?pni=1", "did you mean pin"},
    {"imaps://anna@h/?atuh=plain", "did you mean auth"},
    {"imaps://anna@h/?=x", "unknown parameter"},
    {"imaps://anna@h/?auth", "auth needs a value"},
    {"imaps://anna@h/?auth=", "auth= is unknown"},
    {"imaps://anna@h/?auth=xoauth", "did you mean auth=xoauth2"},
    {"imaps://anna@h/?auth=kerberos", "plain, login, scram, xoauth2, oauthbearer"},
    {"imaps://anna@h/?auth=plain&auth=plain", "auth= is given twice"},
    {"imaps://anna@h/?ca=", "ca= needs a file"},
    {"imaps://anna@h/?ca=%zz", "without two hex digits"},
    {"imaps://anna@h/?admin=", "admin= needs a name"},
    {"imaps://anna*boss@h/?admin=boss", "named twice"},
    {"imaps://anna@h/?pin=" HEX64, "sha256:"},
    {"imaps://anna@h/?pin=sha256:abcd", "64 hex digits"},
    {"imaps://anna@h/?pin=sha256:" HEX64 "0", "64 hex digits"},
    {"imaps://anna@h/?pin=sha256:g" HEX64, "64 hex digits"},
    {"imaps://anna@h/?pin=sha1:" HEX64, "sha256:"},
    {"imaps://anna@h/?tls=none", "contradicts itself"},
    {"imap://anna@h/?tls=off", "imap://…?tls=none"},
    {"imap://anna@h/?tls=none&ca=x", "ca= means nothing with tls=none"},
    {"imap://anna@h/?pin=sha256:" HEX64 "&tls=none", "pin= means nothing with tls=none"},
    {"maildir:", "the path is missing: write maildir:/path"},
    {"mbox:", "the path is missing: write mbox:/path"},
    {"eml:", "the path is missing: write eml:/path"},
    {"mem:", "the name is missing: write mem:NAME"},
    {"maildir://host/path", "takes a path, not a host"},
    {"maildir:~/Mail", "maildir:$HOME/Mail"},
    {"mbox:~", "mbox:$HOME"},
};

Test(mail_endpoint, bad)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(bad_cases); i++) {
        struct mh_endpoint e;
        struct mh_err err = {0};
        cr_expect_eq(mh_endpoint_parse_url(bad_cases[i].url, &e, &err), MH_EUSAGE, "%s",
                     bad_cases[i].url);
        cr_expect_not_null(strstr(err.text, bad_cases[i].says), "%s: %s", bad_cases[i].url,
                           err.text);
        cr_expect_null(strstr(err.text, "secret"), "the password is repeated: %s", err.text);
        cr_expect_null(strstr(err.text, "p@ss"), "the password is repeated: %s", err.text);
        cr_expect_lt(strlen(err.text), sizeof err.text - 1, "%s: the message is cut",
                     bad_cases[i].url);
        cr_expect_null(e.type, "nothing is left behind");
        mh_endpoint_done(&e);
    }
}

/* A password in every place where a wrong URL can have one stays out of the message. */
Test(mail_endpoint, passwords_are_never_repeated)
{
    static const char *const urls[] = {
        "imaps://anna:hunter2@h/",
        "imaps://anna:hunter2",
        "imaps://anna:hunter2@",
        "imaps://anna:hunter2@h:x",
        "imaps:anna:hunter2@h",
        "imaps://anna:/hunter2@h/",
        "imaps://anna:hunter2/@h/",
        "imaps://anna:hunter2#@h/",
        "imaps://anna:%hunter2@h/",
        "imaps://anna:hunter2@h?foo=1",
        "anna:hunter2@h",
        "imaps://anna:hun?ter=hunter2@h",
        "//anna:hunter2@h",
        "imaps://h:hunter2/",
        "imaps://u@h:hunter2/",
        "imaps://u@h/?password=hunter2",
        "imaps://u@h/?pass=hunter2",
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(urls); i++) {
        struct mh_endpoint e;
        struct mh_err err = {0};
        cr_expect_eq(mh_endpoint_parse_url(urls[i], &e, &err), MH_EUSAGE, "%s", urls[i]);
        cr_expect_null(strstr(err.text, "hunter2"), "%s", err.text);
    }
}

/* TEXT is as much of the beginning of WHOLE as there is. */
static void expect_beginning(const char *text, const char *whole, const char *url)
{
    cr_expect(!text || strncmp(text, whole, strlen(text)) == 0, "%s: %s", url, text);
}

Test(mail_endpoint, cut_urls_are_refused_or_shorter)
{
    static const char url[] =
        "imaps://anna%40example.org*b@[2001:db8::1]:993/A%2FB/C?auth=plain&ca=x";
    size_t n_good = 0;
    for (size_t len = 0; len < sizeof url; len++) {
        char *cut = mh_strndup(url, len);
        struct mh_endpoint e;
        struct mh_err err = {0};
        int rc = mh_endpoint_parse_url(cut, &e, &err);
        cr_expect(rc == 0 || (rc == MH_EUSAGE && len < sizeof url - 1), "%s: %s", cut, err.text);
        n_good += rc == 0;
        if (rc == 0) {
            expect_same(e.user, "anna@example.org", cut);
            expect_same(e.admin_user, "b", cut);
            expect_same(e.host, "2001:db8::1", cut);
            expect_beginning(e.folder, "A%2FB/C", cut);
            expect_beginning(e.ca_file, "x", cut);
        }
        if (len == sizeof url - 1) {
            expect_same(e.folder, "A%2FB/C", cut);
            expect_same(e.ca_file, "x", cut);
        }
        mh_endpoint_done(&e);
        mh_free(cut);
    }
    cr_expect(n_good > 5 && n_good < sizeof url - 20, "%zu", n_good);
}

/* --- copies ----------------------------------------------------------------------------------- */

static void fill(struct mh_endpoint *e)
{
    cr_assert_eq(
        mh_endpoint_parse_url("imaps://anna*boss@h:1/F?auth=plain&ca=x&pin=sha256:" HEX64, e, NULL),
        0);
    e->folder_prefix = mh_strdup("Old");
    e->profile = mh_strdup("gmail");
    e->connections = 3;
    e->per_mailbox = 2;
    e->max_message = 35 << 20;
    e->secret.file = mh_strdup("/f");
    e->secret.value = mh_strdup("v");
    e->secret.command = mh_zalloc(3 * sizeof *e->secret.command);
    e->secret.command[0] = mh_strdup("pass");
    e->secret.command[1] = mh_strdup("show");
}

Test(mail_endpoint, dup)
{
    struct mh_endpoint e;
    struct mh_endpoint copy;
    fill(&e);
    cr_assert_eq(mh_endpoint_dup(&e, &copy, NULL), 0);
    mh_endpoint_done(&e);
    cr_expect_str_eq(copy.type, "imap");
    cr_expect_str_eq(copy.user, "anna");
    cr_expect_str_eq(copy.admin_user, "boss");
    cr_expect(copy.admin_by_name);
    cr_expect_str_eq(copy.host, "h");
    cr_expect_eq(copy.port, 1);
    cr_expect_eq(copy.auth, MH_AUTH_PLAIN);
    cr_expect_str_eq(copy.folder, "F");
    cr_expect_str_eq(copy.folder_prefix, "Old");
    cr_expect_str_eq(copy.ca_file, "x");
    cr_expect_str_eq(copy.pin, HEX64);
    cr_expect_str_eq(copy.profile, "gmail");
    cr_expect_eq(copy.connections, 3u);
    cr_expect_eq(copy.per_mailbox, 2u);
    cr_expect_eq(copy.max_message, 35u << 20);
    cr_expect_str_eq(copy.secret.file, "/f");
    cr_expect_str_eq(copy.secret.value, "v");
    cr_expect_str_eq(copy.secret.command[1], "show");
    cr_expect_null(copy.secret.command[2]);
    mh_endpoint_done(&copy);
}

Test(mail_endpoint, dup_out_of_memory_leaves_nothing)
{
    struct mh_endpoint e;
    fill(&e);
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_endpoint copy;
        struct mh_err err;
        oom_begin(&o);
        int rc = mh_endpoint_dup(&e, &copy, &err);
        oom_end(&o);
        cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u", o.nth);
        cr_expect_eq(copy.type == NULL, o.was_reached, "allocation %u", o.nth);
        mh_endpoint_done(&copy);
    }
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_endpoint parsed;
        struct mh_err err = {0};
        oom_begin(&o);
        int rc = mh_endpoint_parse_url("imaps://a*b@h/A/B/C?ca=x&auth=plain", &parsed, &err);
        oom_end(&o);
        cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u: %s", o.nth, err.text);
        mh_endpoint_done(&parsed);
    }
    mh_endpoint_done(&e);
}
