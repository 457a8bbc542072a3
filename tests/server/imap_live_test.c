/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The IMAP connector against the real servers of tests/servers: Dovecot, Cyrus and Courier, each
 * started in a scratch folder for the test. Skipped where their packages are not unpacked
 * (MH_SERVERS, or build/servers of the source tree).
 */
#include "base/clock.h"
#include "tests/server/live.h"

/* --- logins ----------------------------------------------------------------------------------- */

static void run_logins(struct world *w)
{
    struct mh_session *s = NULL;
    char line[1200];
    bool is_courier = is_kind(w, "courier");
    static const char *const auths[] = {"", "&auth=plain", "&auth=login", "&auth=scram"};
    for (size_t i = 0; i < (is_courier ? 3 : 4); i++) {
        int rc = open_url(w, "secret", true, &s, "imaps://user01@127.0.0.1:%u/?ca=%s%s",
                          w->server.tls_port, w->server.ca, auths[i]);
        EXPECT(w, rc == 0);
        if (rc)
            continue;
        const struct mh_caps *caps = mh_imap.caps(s);
        EXPECT(w, caps->tls[0] && caps->cert_days_left > 300 && caps->separator);
        mh_imap.close(s);
    }
    MUST(w, open_url(w, "secret", true, &s, "imap://user01@127.0.0.1:%u/?ca=%s", w->server.port,
                     w->server.ca) == 0);
    EXPECT(w, mh_imap.caps(s)->tls[0]); /* STARTTLS */
    mh_imap.close(s);
    EXPECT(w, open_url(w, "secret", true, &s, "imaps://user01@127.0.0.1:%u/", w->server.tls_port) ==
                  MH_EMAILBOX); /* an unknown root */
    EXPECT(w, open_url(w, "n0t-the-0ne", true, &s, "imaps://user01@127.0.0.1:%u/?ca=%s",
                       w->server.tls_port, w->server.ca) == MH_EAUTH);
    EXPECT(w, strstr(w->err.where, "user01"));
    EXPECT(w, !strstr(mh_err_line(&w->err, line, sizeof line), "n0t-the-0ne"));
}

static void run_admin_logins(struct world *w)
{
    struct mh_session *s = NULL;
    MUST(w, open_url(w, "adminsecret", true, &s,
                     "imaps://user02@127.0.0.1:%u/?ca=%s&admin=admin&auth=plain",
                     w->server.tls_port, w->server.ca) == 0);
    mh_imap.close(s);
    if (is_kind(w, "dovecot")) {
        MUST(w,
             open_url(w, "adminsecret", true, &s, "imaps://user02@127.0.0.1:%u/?ca=%s&admin=*admin",
                      w->server.tls_port, w->server.ca) == 0);
        mh_imap.close(s);
    }
    EXPECT(w, open_url(w, "no", true, &s, "imaps://user02@127.0.0.1:%u/?ca=%s&admin=admin",
                       w->server.tls_port, w->server.ca) == MH_EAUTH);
}

/* An access token of the server's: for USER, SECONDS from now on. */
static void make_token(struct world *w, const char *user, int seconds, char *out, size_t size)
{
    char command[1200];
    FILE *f = NULL;
    int status = 0;
    (void)snprintf(command, sizeof command, "'%s' token '%s' %s %d", w->server.script,
                   w->server.folder, user, seconds);
    out[0] = '\0';
    pid_t pid = shell(command, &f);
    EXPECT(w, fgets(out, (int)size, f) && strchr(out, '\n'));
    (void)fclose(f);
    EXPECT(w, waitpid(pid, &status, 0) == pid && status == 0);
    out[strcspn(out, "\n")] = '\0';
}

enum token_from { TOKEN_GIVEN, TOKEN_FILE, TOKEN_COMMAND };

/* Opens user01's mailbox with TOKEN, handed over as FROM says. */
static int open_by_token(struct world *w, const char *mech, const char *token, enum token_from from,
                         bool is_starttls)
{
    struct mh_endpoint ep;
    struct mh_session *s = NULL;
    char url[600];
    char file[100];
    (void)snprintf(url, sizeof url, "imap%s://user01@127.0.0.1:%u/?ca=%s&auth=%s",
                   is_starttls ? "" : "s", is_starttls ? w->server.port : w->server.tls_port,
                   w->server.ca, mech);
    (void)snprintf(file, sizeof file, "%s/token", w->server.folder);
    mh_endpoint_init(&ep);
    mh_err_reset(&w->err);
    int rc = mh_endpoint_parse_url(url, &ep, &w->err);
    EXPECT(w, rc == 0);
    if (from == TOKEN_GIVEN) {
        ep.secret.value = mh_strdup(token);
    } else {
        int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        EXPECT(w, fd >= 0 && dprintf(fd, "%s\n", token) > 0 && close(fd) == 0);
    }
    if (from == TOKEN_FILE)
        ep.secret.file = mh_strdup(file);
    if (from == TOKEN_COMMAND) {
        ep.secret.command = mh_zalloc(3 * sizeof *ep.secret.command);
        ep.secret.command[0] = mh_strdup("cat");
        ep.secret.command[1] = mh_strdup(file);
    }
    rc = open_endpoint(w, &ep, true, &s);
    mh_endpoint_done(&ep);
    if (rc == 0)
        mh_imap.close(s);
    return rc;
}

/* Refused in one line, that says what is wrong and holds nothing of the token or of the server's
 * JSON. */
static void refuse_token(struct world *w, const char *mech, const char *token, const char *status)
{
    char line[1200];
    EXPECT(w, open_by_token(w, mech, token, TOKEN_GIVEN, false) == MH_EAUTH);
    mh_err_line(&w->err, line, sizeof line);
    cr_expect(strstr(line, "user01") && strstr(line, "refuses the access token") &&
                  strstr(line, status) && strstr(line, "[AUTHENTICATIONFAILED]"),
              "%s: %s", mech, line);
    cr_expect(!strpbrk(line, "\n{}") && !strstr(line, "scope"), "%s: %s", mech, line);
    for (const char *part = token; strlen(part) >= 8; part++) {
        char piece[9];
        (void)snprintf(piece, sizeof piece, "%s", part);
        cr_expect(!strstr(line, piece), "%s: a piece of the token: %s", mech, line);
    }
    cr_expect(!strstr(line, token), "%s: the token: %s", mech, line); /* if it is a short one */
    EXPECT(w, w->err.reason && strcmp(w->err.reason, "login-refused") == 0);
}

static void run_token_logins(struct world *w)
{
    static const struct {
        const char *name, *status;
    } mechs[] = {{"xoauth2", "(401)"}, {"oauthbearer", "(invalid_token)"}};
    char good[2048];
    char over[2048];
    char other[2048];
    char forged[2048];
    make_token(w, "user01", 3600, good, sizeof good);
    make_token(w, "user01", -100, over, sizeof over);
    make_token(w, "user02", 3600, other, sizeof other);
    memcpy(forged, good, sizeof forged);
    forged[strlen(forged) - 10] ^= 1; /* in the signature */
    for (size_t i = 0; i < MH_ARRAY_LEN(mechs); i++) {
        const char *mech = mechs[i].name;
        EXPECT(w, open_by_token(w, mech, good, TOKEN_GIVEN, false) == 0);
        EXPECT(w, open_by_token(w, mech, good, TOKEN_FILE, false) == 0);
        EXPECT(w, open_by_token(w, mech, good, TOKEN_COMMAND, false) == 0);
        EXPECT(w, open_by_token(w, mech, good, TOKEN_FILE, true) == 0);
        refuse_token(w, mech, over, mechs[i].status);
        refuse_token(w, mech, other, mechs[i].status);
        refuse_token(w, mech, forged, mechs[i].status);
        refuse_token(w, mech, "secret", mechs[i].status); /* the password is none */
    }
}

/* --- folders ---------------------------------------------------------------------------------- */

static const char *const awkward_names[] = {
    "Plain",
    "deep/er/est",
    "Entw\xc3\xbcrfe",
    "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
    "dot.ted",
    "a%2Fslash",
    "~tilde",
    "quo\"te and back\\slash",
    "100%25 and 5*",
    "amper&sand",
    "trailing ",
    "..",
    "c%01ntrol",
    "bad%FCutf8",
    "inbox",
    "INBOX/Below",
    "%2569nbox",
    "brack[et]s {3}",
    "(paren)",
    "!bang#hash",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaa"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaa"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaa",
};

/* Every name finds a form, no two share one, list() shows it as create() said, twice is once. */
static void run_folders(struct world *w)
{
    struct mh_session *s = NULL;
    struct mh_folders list = MH_FOLDERS_INIT;
    char *paths[MH_ARRAY_LEN(awkward_names)] = {NULL};
    MUST(w, open_as(w, "user01", false, &s) == 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(awkward_names); i++) {
        char *native = NULL;
        char *again = NULL;
        int rc = mh_imap.create(s, awkward_names[i], MH_ROLE_NONE, &paths[i], &native, &w->err);
        EXPECT(w, rc == 0);
        if (rc)
            continue;
        mh_free(native);
        EXPECT(w, mh_imap.create(s, awkward_names[i], MH_ROLE_NONE, &again, &native, &w->err) == 0);
        EXPECT(w, again && strcmp(again, paths[i]) == 0);
        mh_free(again);
        mh_free(native);
    }
    MUST(w, mh_imap.list(s, MH_LIST_STATUS, &list, &w->err) == 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(awkward_names); i++) {
        struct mh_folder *f = paths[i] ? mh_folders_find(&list, paths[i]) : NULL;
        cr_expect(f, "%s: %s is not listed as %s", w->server.kind, awkward_names[i], paths[i]);
        struct mh_opened opened;
        if (f) {
            EXPECT(w, f->attrs & MH_FOLDER_HAS_STATUS);
            EXPECT(w, mh_imap.select(s, f, false, &opened, &w->err) == 0);
            EXPECT(w, opened.uidvalidity != 0 && opened.uidnext == 1 && opened.messages == 0);
            EXPECT(w, mh_imap.subscribe(s, f, &w->err) == 0);
        }
        for (size_t k = 0; k < i; k++)
            cr_expect(!paths[i] || !paths[k] || strcmp(paths[i], paths[k]) != 0, "%s: %s and %s",
                      w->server.kind, awkward_names[i], awkward_names[k]);
    }
    mh_folders_done(&list);
    MUST(w, mh_imap.list(s, MH_LIST_NAMES, &list, &w->err) == 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(awkward_names); i++) {
        struct mh_folder *f = paths[i] ? mh_folders_find(&list, paths[i]) : NULL;
        cr_expect(f && (f->attrs & MH_FOLDER_SUBSCRIBED), "%s: %s is not subscribed",
                  w->server.kind, paths[i]);
        mh_free(paths[i]);
    }
    struct mh_folder *inbox = mh_folders_find(&list, "INBOX");
    EXPECT(w, inbox && inbox->role == MH_ROLE_INBOX);
    mh_folders_done(&list);
    mh_imap.close(s);
}

/* A source session (UTF8=ACCEPT where there is one) sees the same paths as a target session. */
static void run_same_paths(struct world *w)
{
    struct mh_session *target = NULL;
    struct mh_session *source = NULL;
    struct mh_folders a = MH_FOLDERS_INIT;
    struct mh_folders b = MH_FOLDERS_INIT;
    char *path = NULL;
    char *native = NULL;
    MUST(w, open_as(w, "user02", false, &target) == 0);
    MUST(w, open_as(w, "user02", true, &source) == 0);
    EXPECT(w, mh_imap.create(target, "Entw\xc3\xbcrfe/a&b", MH_ROLE_NONE, &path, &native,
                             &w->err) == 0);
    mh_free(path);
    mh_free(native);
    EXPECT(w, mh_imap.create(source, "\xe2\x82\xac", MH_ROLE_NONE, &path, &native, &w->err) == 0);
    mh_free(path);
    mh_free(native);
    EXPECT(w, mh_imap.list(target, MH_LIST_STATUS, &a, &w->err) == 0);
    EXPECT(w, mh_imap.list(source, MH_LIST_STATUS, &b, &w->err) == 0);
    EXPECT(w, a.n == b.n);
    for (size_t i = 0; i < MH_MIN(a.n, b.n); i++)
        cr_expect_str_eq(a.v[i].path, b.v[i].path, "%s", w->server.kind);
    EXPECT(w, mh_folders_find(&a, "\xe2\x82\xac"));
    EXPECT(w, mh_folders_find(&b, "Entw\xc3\xbcrfe/a&b"));
    mh_folders_done(&a);
    mh_folders_done(&b);
    mh_imap.close(target);
    mh_imap.close(source);
}

/* --- messages --------------------------------------------------------------------------------- */

#define HEAD "From: anna@example.org\r\nSubject: x\r\nDate: Wed, 17 Jul 1996 02:44:25 -0700\r\n\r\n"

static const struct {
    const char *bytes;
    uint8_t flags;
    const char *keywords;
    int64_t date_s;
} samples[] = {
    {HEAD "one\r\n", 0, "", 837596665},
    {HEAD "two\r\n", MH_SEEN | MH_FLAGGED | MH_DELETED, "$Forwarded work", 1000000000},
    {HEAD "one\r\n", MH_DRAFT | MH_ANSWERED, "", 837596665},
    {HEAD "8-bit \xc3\xbc \xfc\r\n.\r\n)\r\n", 0, "$MDNSent", 1500000000},
    {"Subject: \xc3\xbc\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
     "charset=utf-8\r\n\r\nx\r\n",
     MH_SEEN, "", 1600000000},
};

/* The bodies of the open folder are those of the samples. */
static void expect_samples(struct world *w, struct mh_session *s, const struct mh_scan *scan)
{
    bool is_cyrus = is_kind(w, "cyrus"); /* rewrites 8-bit headers */
    struct shelf shelf;
    shelf_init(&shelf);
    EXPECT(w, fetch_all(w, s, scan, &shelf.sink) == 0);
    EXPECT(w, shelf.n == MH_ARRAY_LEN(samples) && shelf.missed == 0);
    for (size_t i = 0; i < MH_MIN(shelf.n, MH_ARRAY_LEN(samples)); i++)
        if (!is_cyrus || (unsigned char)samples[i].bytes[9] < 0x80)
            cr_expect_str_eq(mh_buf_str(&shelf.bytes[i]), samples[i].bytes, "%s", w->server.kind);
    shelf_done(&shelf);
}

/* Appended in one batch where the server can, read back: bytes, flags, keywords, dates. */
static void run_messages(struct world *w)
{
    struct mh_session *s = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    struct mh_opened opened;
    struct mh_scan scan;
    MUST(w, open_as(w, "user01", false, &s) == 0);
    const struct mh_caps *caps = mh_imap.caps(s);
    MUST(w, mh_imap.append_open(s, &inbox, &w->verdicts, &w->err) == 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(samples); i++) {
        const struct mh_append like = {.flags = samples[i].flags,
                                       .keywords = samples[i].keywords,
                                       .date = {samples[i].date_s, 120, true},
                                       .cookie = i};
        EXPECT(w, append(w, s, samples[i].bytes, strlen(samples[i].bytes), &like) == 0);
    }
    EXPECT(w, mh_imap.append_flush(s, &w->err) == 0);
    EXPECT(w, w->stored == MH_ARRAY_LEN(samples));
    EXPECT(w, !caps->uidplus || w->last_uid == MH_ARRAY_LEN(samples));
    MUST(w, mh_imap.select(s, &inbox, true, &opened, &w->err) == 0);
    EXPECT(w, opened.messages == MH_ARRAY_LEN(samples));
    EXPECT(w, opened.uidnext == MH_ARRAY_LEN(samples) + 1 && opened.keywords_ok);
    EXPECT(w, opened.flags_ok == (MH_SEEN | MH_ANSWERED | MH_FLAGGED | MH_DELETED | MH_DRAFT));
    EXPECT(w, scan_from(w, s, 1, &scan) == 0);
    MUST(w, scan.n == MH_ARRAY_LEN(samples));
    for (size_t i = 0; i < scan.n; i++) {
        const struct mh_item *item = &scan.items[i];
        EXPECT(w, item->flags == samples[i].flags);
        EXPECT(w, item->date.is_set && item->date.unix_s == samples[i].date_s);
        const char *keywords = mh_kwsets_text(scan.kwsets, item->kwset);
        cr_expect(strcmp(keywords, samples[i].keywords) == 0, "%s: %s, not %s", w->server.kind,
                  keywords, samples[i].keywords);
        EXPECT(w, item->size == strlen(samples[i].bytes));
        EXPECT(w, (item->modseq != 0) == caps->condstore);
    }
    expect_samples(w, s, &scan);
    /* Read-only, as `verify` does: Courier is then asked in another way. */
    MUST(w, mh_imap.select(s, &inbox, false, &opened, &w->err) == 0);
    expect_samples(w, s, &scan);
    mh_scan_done(&scan);
    mh_imap.close(s);
}

enum { DAY_S = 86400 };

/* Where servers refuse a date or misread it. Dovecot puts the present time for the future. */
static const struct {
    int64_t sent_s, kept_s, dovecot_s; /* INT64_MAX: the present */
} edges[] = {
    {-2000000000, 1, 0},
    {-3600, 1, 0},
    {0, 1, 0},
    {1, 1, 1},
    {DAY_S - 1, DAY_S - 1, DAY_S - 1},
    {INT64_C(4294967295), INT64_C(4294967295), INT64_MAX},
    {INT64_C(4294967296), INT64_C(4294967295), INT64_MAX},
    {INT64_C(253402300799), INT64_C(4294967295), INT64_MAX},
};

static void run_dates_at_the_edge(struct world *w)
{
    struct mh_session *s = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    struct mh_opened opened;
    struct mh_scan scan;
    bool is_dovecot = is_kind(w, "dovecot");
    MUST(w, open_as(w, "user01", false, &s) == 0);
    MUST(w, mh_imap.append_open(s, &inbox, &w->verdicts, &w->err) == 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(edges); i++) {
        const struct mh_append like = {
            .keywords = "", .date = {edges[i].sent_s, -300, true}, .cookie = i};
        EXPECT(w, append(w, s, samples[0].bytes, strlen(samples[0].bytes), &like) == 0);
    }
    EXPECT(w, mh_imap.append_flush(s, &w->err) == 0);
    EXPECT(w, w->stored == MH_ARRAY_LEN(edges) && w->refused == 0);
    MUST(w, mh_imap.select(s, &inbox, false, &opened, &w->err) == 0);
    EXPECT(w, scan_from(w, s, 1, &scan) == 0);
    MUST(w, scan.n == MH_ARRAY_LEN(edges));
    for (size_t i = 0; i < scan.n; i++) {
        int64_t want_s = is_dovecot ? edges[i].dovecot_s : edges[i].kept_s;
        int64_t got_s = scan.items[i].date.unix_s;
        bool is_now = want_s == INT64_MAX && llabs(got_s - mh_clock_wall_s()) < DAY_S;
        cr_expect(got_s == want_s || is_now, "%s: %lld became %lld", w->server.kind,
                  (long long)edges[i].sent_s, (long long)got_s);
    }
    mh_scan_done(&scan);
    mh_imap.close(s);
}

/* Flags and keywords change; the next scan, of the new messages only, sees what came. */
static void run_changes(struct world *w)
{
    struct mh_session *s = NULL;
    struct mh_session *other = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    struct mh_opened opened;
    struct mh_scan scan;
    const struct mh_append like = {.keywords = ""};
    MUST(w, open_as(w, "user02", false, &s) == 0);
    MUST(w, open_as(w, "user02", false, &other) == 0);
    MUST(w, mh_imap.select(s, &inbox, true, &opened, &w->err) == 0);
    EXPECT(w, opened.messages == 0);
    MUST(w, mh_imap.append_open(other, &inbox, &w->verdicts, &w->err) == 0);
    EXPECT(w, append(w, other, HEAD, strlen(HEAD), &like) == 0);
    EXPECT(w, append(w, other, HEAD, strlen(HEAD), &like) == 0);
    EXPECT(w, mh_imap.append_flush(other, &w->err) == 0);
    MUST(w, mh_imap.select(s, &inbox, true, &opened, &w->err) == 0);
    EXPECT(w, scan_from(w, s, 1, &scan) == 0);
    EXPECT(w, scan.n == 2);
    mh_scan_done(&scan);
    static const uint64_t uids[] = {1, 2};
    EXPECT(w, mh_imap.store_flags(s, uids, 2, true, MH_SEEN | MH_FLAGGED, "later", &w->err) == 0);
    EXPECT(w, mh_imap.store_flags(s, uids, 1, false, MH_SEEN, "later", &w->err) == 0);
    EXPECT(w, append(w, other, HEAD, strlen(HEAD), &like) == 0);
    EXPECT(w, mh_imap.append_flush(other, &w->err) == 0);
    EXPECT(w, scan_from(w, s, 1, &scan) == 0);
    EXPECT(w, scan.n == 3);
    EXPECT(w, scan.n == 3 && scan.items[0].flags == MH_FLAGGED && scan.items[0].kwset == 0);
    EXPECT(w, scan.n == 3 && scan.items[1].flags == (MH_SEEN | MH_FLAGGED));
    EXPECT(w,
           scan.n == 3 && strcmp(mh_kwsets_text(scan.kwsets, scan.items[1].kwset), "later") == 0);
    mh_scan_done(&scan);
    EXPECT(w, scan_from(w, s, 3, &scan) == 0);
    EXPECT(w, scan.n == 1 && scan.items[0].uid == 3);
    mh_scan_done(&scan);
    EXPECT(w, scan_from(w, s, 4, &scan) == 0);
    EXPECT(w, scan.n == 0);
    mh_scan_done(&scan);
    mh_imap.close(other);
    mh_imap.close(s);
}

/* A message that the server does not take: alone it is refused, in a batch the batch is split, and
 * the session goes on. A message that is gone is missed. */
static void run_refusals(struct world *w)
{
    struct mh_session *s = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    const struct mh_folder none = folder_of("Nowhere");
    const struct mh_append like = {.keywords = ""};
    struct mh_opened opened;
    struct shelf shelf;
    bool is_courier = is_kind(w, "courier");
    MUST(w, open_as(w, "user03", false, &s) == 0);
    MUST(w, mh_imap.append_open(s, &inbox, &w->verdicts, &w->err) == 0);
    EXPECT(w, append(w, s, "", 0, &like) == 0);
    EXPECT(w, mh_imap.append_flush(s, &w->err) == 0);
    EXPECT(w, is_courier ? w->stored == 1 : w->refused == 1); /* Courier makes two octets of none */
    if (is_kind(w, "cyrus")) {
        EXPECT(w, append(w, s, HEAD, strlen(HEAD), &like) == 0);
        EXPECT(w, append(w, s, HEAD "\0", sizeof HEAD, &like) == 0);
        EXPECT(w, mh_imap.append_flush(s, &w->err) == 0);
        EXPECT(w, w->split == 2 && w->stored == 0);
        EXPECT(w, append(w, s, HEAD "\0", sizeof HEAD, &like) == 0);
        EXPECT(w, mh_imap.append_flush(s, &w->err) == 0);
        EXPECT(w, w->refused == 2 && strcmp(w->last_reason, "nul-byte") == 0);
    }
    EXPECT(w, append(w, s, HEAD, strlen(HEAD), &like) == 0);
    EXPECT(w, mh_imap.append_flush(s, &w->err) == 0);
    EXPECT(w, w->stored == (is_courier ? 2 : 1));
    MUST(w, mh_imap.select(s, &inbox, false, &opened, &w->err) == 0);
    struct mh_item gone = {.uid = 999, .size = 100};
    const struct mh_item *items[] = {&gone};
    shelf_init(&shelf);
    EXPECT(w, mh_imap.fetch(s, items, 1, &shelf.sink, &w->err) == 0);
    EXPECT(w, shelf.missed == 1 && strcmp(shelf.reason, "vanished") == 0);
    shelf_done(&shelf);
    EXPECT(w, mh_imap.select(s, &none, false, &opened, &w->err) == MH_ENOENT);
    mh_imap.close(s);
}

/* A message longer than what is held, through and back, bytes and memory. */
static void run_big(struct world *w)
{
    enum { BIG = 3 << 20 };
    struct mh_session *s = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    const struct mh_append like = {.keywords = ""};
    struct mh_opened opened;
    struct mh_scan scan;
    struct shelf shelf;
    char *big = big_message(HEAD, BIG);
    MUST(w, big);
    MUST(w, open_as(w, "user03", false, &s) == 0);
    EXPECT(w, append_to(w, s, &inbox, big, BIG, &like) == 0);
    EXPECT(w, w->stored == 1);
    MUST(w, mh_imap.select(s, &inbox, false, &opened, &w->err) == 0);
    EXPECT(w, scan_from(w, s, 1, &scan) == 0);
    shelf_init(&shelf);
    EXPECT(w, fetch_all(w, s, &scan, &shelf.sink) == 0);
    EXPECT(w,
           shelf.n == 1 && shelf.bytes[0].len == BIG && memcmp(shelf.bytes[0].data, big, BIG) == 0);
    struct mh_pool_stats stats;
    mh_pool_stats(w->pool, &stats);
    EXPECT(w, stats.peak_bytes < 2u << 20);
    shelf_done(&shelf);
    mh_scan_done(&scan);
    mh_imap.close(s);
    free(big);
}

/* Hundreds of parts, or of levels: DEPTH of them, each inside of the one before. */
static void make_multipart(struct mh_buf *b, unsigned parts, unsigned depth)
{
    mh_buf_adds(b, "From: anna@example.org\r\nMIME-Version: 1.0\r\n"
                   "Content-Type: multipart/mixed; boundary=\"b0\"\r\n\r\n");
    for (unsigned i = 0; i < depth; i++)
        mh_buf_addf(b, "--b%u\r\nContent-Type: multipart/mixed; boundary=\"b%u\"\r\n\r\n", i,
                    i + 1);
    for (unsigned i = 0; i < parts; i++)
        mh_buf_addf(b, "--b%u\r\nContent-Type: text/plain\r\n\r\npart %u\r\n", depth, i);
    for (unsigned i = 0; i <= depth; i++)
        mh_buf_addf(b, "--b%u--\r\n", depth - i);
}

static void expect_whole(struct world *w, struct mh_session *s, const struct mh_scan *scan,
                         const struct mh_buf *sent)
{
    struct shelf shelf;
    shelf_init(&shelf);
    EXPECT(w, fetch_all(w, s, scan, &shelf.sink) == 0);
    EXPECT(w, shelf.n == scan->n && shelf.missed == 0);
    for (size_t i = 0; i < shelf.n; i++)
        cr_expect(shelf.bytes[i].len == sent[i].len &&
                      memcmp(shelf.bytes[i].data, sent[i].data, sent[i].len) == 0,
                  "%s: message %zu: %zu of %zu octets", w->server.kind, i, shelf.bytes[i].len,
                  sent[i].len);
    shelf_done(&shelf);
}

static void scan_flags(struct world *w, struct mh_session *s, size_t n, uint8_t flags,
                       struct mh_scan *out)
{
    EXPECT(w, scan_from(w, s, 1, out) == 0);
    EXPECT(w, out->n == n);
    for (size_t i = 0; i < out->n; i++)
        EXPECT(w, out->items[i].flags == flags);
}

/* Whole, however the folder is open and whichever side it is, and reading leaves no \\Seen. In a
 * folder that is open for writing, flags can be stored behind the fetch. */
static void run_many_parts(struct world *w)
{
    const struct mh_folder inbox = folder_of("INBOX");
    const struct mh_append like = {.keywords = ""};
    struct mh_buf sent[4] = {MH_BUF_INIT, MH_BUF_INIT, MH_BUF_INIT, MH_BUF_INIT};
    struct mh_session *s = NULL;
    struct mh_opened opened;
    struct mh_scan scan;
    make_multipart(&sent[0], 3, 0);
    make_multipart(&sent[1], 1200, 0);
    make_multipart(&sent[2], 2, 400);
    mh_buf_add(&sent[3], HEAD "a\0b\r\nand more\r\n", sizeof HEAD "a\0b\r\nand more\r\n" - 1);
    size_t n = is_kind(w, "courier") ? 4 : 3; /* the others keep no NUL */
    for (int i = 0; i < 4; i++) {
        bool is_source = i & 1;
        bool for_write = i & 2;
        MUST(w, open_as(w, "user01", is_source, &s) == 0);
        for (size_t k = 0; k < n && i == 0; k++) {
            EXPECT(w, append_to(w, s, &inbox, sent[k].data, sent[k].len, &like) == 0);
            EXPECT(w, w->stored == k + 1);
        }
        MUST(w, mh_imap.select(s, &inbox, for_write, &opened, &w->err) == 0);
        scan_flags(w, s, n, 0, &scan);
        expect_whole(w, s, &scan, sent);
        mh_scan_done(&scan);
        scan_flags(w, s, n, 0, &scan);
        static const uint64_t uids[] = {1, 2, 3, 4};
        if (for_write) {
            EXPECT(w, mh_imap.store_flags(s, uids, n, true, MH_FLAGGED, "", &w->err) == 0);
            mh_scan_done(&scan);
            scan_flags(w, s, n, MH_FLAGGED, &scan);
            expect_whole(w, s, &scan, sent);
            EXPECT(w, mh_imap.store_flags(s, uids, n, false, MH_FLAGGED, "", &w->err) == 0);
        }
        mh_scan_done(&scan);
        mh_imap.close(s);
    }
    for (size_t i = 0; i < MH_ARRAY_LEN(sent); i++)
        mh_buf_done(&sent[i]);
}

/* --- ends before the end ---------------------------------------------------------------------- */

struct stopper {
    struct mh_sink sink;
    struct mh_task *task; /* to cancel at the second message, or NULL */
    unsigned n, missed;
    uint64_t begun_uid, missed_uid; /* the last ones */
};

static int stop_begin(struct mh_sink *s, const struct mh_item *item, uint64_t octets,
                      struct mh_err *err)
{
    struct stopper *stop = mh_container_of(s, struct stopper, sink);
    (void)octets;
    stop->begun_uid = item->uid;
    if (++stop->n < 2)
        return 0;
    if (!stop->task)
        return mh_err_set(err, MH_EFOLDER, "test", "enough");
    mh_task_cancel(stop->task);
    return 0;
}

static int stop_data(struct mh_sink *s, struct mh_slice slice, struct mh_err *err)
{
    (void)s;
    (void)err;
    mh_slice_drop(&slice);
    return 0;
}

static int stop_end(struct mh_sink *s, struct mh_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static int stop_missed(struct mh_sink *s, const struct mh_item *item, const struct mh_err *why,
                       struct mh_err *err)
{
    struct stopper *stop = mh_container_of(s, struct stopper, sink);
    (void)why;
    (void)err;
    stop->missed++;
    stop->missed_uid = item->uid;
    return 0;
}

struct fetching {
    struct world *w;
    struct mh_session *s;
    const struct mh_scan *scan;
    struct stopper stopper;
    int rc;
};

static void fetch_main(void *arg)
{
    struct fetching *f = arg;
    f->stopper.task = mh_task_self();
    f->rc = fetch_all(f->w, f->s, f->scan, &f->stopper.sink);
}

/* A sink that has enough, and a fetch that is cancelled: the session goes on behind both. */
static void run_stopped(struct world *w)
{
    enum { MESSAGES = 12, SIZE = 400000 };
    struct mh_session *s = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    struct mh_opened opened;
    struct mh_scan scan;
    struct mh_task *task = NULL;
    struct shelf shelf;
    const struct mh_append like = {.keywords = ""};
    char *bytes = big_message(HEAD, SIZE);
    MUST(w, bytes);
    MUST(w, open_as(w, "user01", false, &s) == 0);
    MUST(w, mh_imap.append_open(s, &inbox, &w->verdicts, &w->err) == 0);
    for (int i = 0; i < MESSAGES; i++)
        EXPECT(w, append(w, s, bytes, SIZE, &like) == 0);
    EXPECT(w, mh_imap.append_flush(s, &w->err) == 0);
    MUST(w, mh_imap.select(s, &inbox, false, &opened, &w->err) == 0);
    EXPECT(w, scan_from(w, s, 1, &scan) == 0 && scan.n == MESSAGES);
    struct fetching f = {.w = w,
                         .s = s,
                         .scan = &scan,
                         .stopper.sink = {stop_begin, stop_data, stop_end, stop_missed}};
    EXPECT(w, fetch_all(w, s, &scan, &f.stopper.sink) == MH_EFOLDER);
    EXPECT(w, f.stopper.n == 2 && f.stopper.missed == 0);
    f.stopper.n = 0;
    MUST(w, mh_task_spawn(mh_sched_self(), "fetch", fetch_main, &f, &task, &w->err) == 0);
    mh_task_join(task);
    EXPECT(w, f.rc == MH_ECANCEL && f.stopper.n == 2);
    /* The one that had begun is void. */
    EXPECT(w, f.stopper.missed == 1 && f.stopper.missed_uid == f.stopper.begun_uid);
    scan.n = 2;
    shelf_init(&shelf);
    EXPECT(w, fetch_all(w, s, &scan, &shelf.sink) == 0);
    EXPECT(w, shelf.n == 2 && shelf.bytes[1].len == SIZE &&
                  memcmp(shelf.bytes[1].data, bytes, SIZE) == 0);
    shelf_done(&shelf);
    mh_scan_done(&scan);
    mh_imap.close(s);
    free(bytes);
}

/* Open, list, append, scan, fetch: an error, or all of it. */
static int everything(struct world *w)
{
    struct mh_session *s = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    struct mh_folders list = MH_FOLDERS_INIT;
    struct mh_opened opened;
    struct mh_scan scan = {NULL};
    struct shelf shelf;
    const struct mh_append like = {.keywords = "a b", .flags = MH_SEEN};
    unsigned stored = w->stored;
    shelf_init(&shelf);
    int rc = open_as(w, "user01", false, &s);
    if (rc)
        return rc;
    rc = mh_imap.list(s, MH_LIST_STATUS, &list, &w->err);
    if (rc == 0)
        rc = append_to(w, s, &inbox, HEAD, strlen(HEAD), &like);
    if (rc == 0)
        rc = mh_imap.select(s, &inbox, false, &opened, &w->err);
    if (rc == 0)
        rc = scan_from(w, s, 1, &scan);
    scan.n = MH_MIN(scan.n, (size_t)3);
    if (rc == 0)
        rc = fetch_all(w, s, &scan, &shelf.sink);
    EXPECT(w, rc || (list.n > 0 && scan.n > 0 && shelf.n == scan.n && shelf.missed == 0));
    EXPECT(w, rc || w->stored == stored + 1);
    mh_imap.close(s);
    mh_folders_done(&list);
    mh_scan_done(&scan);
    shelf_done(&shelf);
    return rc;
}

/* The nth allocation fails, for every n there is: a clean error, nothing kept. */
static void run_without_memory(struct world *w)
{
    unsigned failures = 0;
    bool was_hit = true;
    MUST(w, everything(w) == 0);
    for (uint64_t nth = 1; was_hit && nth < 3000; nth++) {
        uint64_t before = mh_mem_calls();
        mh_mem_fail_nth(nth);
        int rc = everything(w);
        was_hit = mh_mem_calls() - before >= nth;
        mh_mem_fail_nth(0);
        expect_clean(w, nth, rc);
        failures += rc != 0;
    }
    EXPECT(w, failures > 20 && !was_hit);
    MUST(w, everything(w) == 0);
}

/* --- around the mail -------------------------------------------------------------------------- */

static int find_comment(void *ctx, const char *name, const char *value, size_t len)
{
    bool *found = ctx;
    if (strcmp(name, "/private/comment") == 0)
        *found = len == 9 && memcmp(value, "\"a\"\r\n\\b\\ ", 9) == 0;
    return 0;
}

struct annotations {
    unsigned n;
    struct mh_buf names;
    struct mh_buf last; /* value */
};

static int keep_annotation(void *ctx, const char *name, const char *value, size_t len)
{
    struct annotations *a = ctx;
    a->n++;
    mh_buf_addf(&a->names, "%s ", name);
    mh_buf_reset(&a->last);
    mh_buf_add(&a->last, value, len);
    return 0;
}

static void get_annotations(struct world *w, struct mh_session *s, const char *native,
                            struct annotations *out)
{
    const struct mh_folder folder = folder_of(native);
    mh_buf_reset(&out->names);
    mh_buf_reset(&out->last);
    out->n = 0;
    EXPECT(w, mh_imap.metadata_get(s, &folder, keep_annotation, out, &w->err) == 0);
}

/* A folder in which nothing was set has no annotations, whatever the server shows; one that is set
 * is all there is. */
static void run_annotations(struct world *w)
{
    struct mh_session *s = NULL;
    struct annotations a = {.names = MH_BUF_INIT, .last = MH_BUF_INIT};
    struct mh_folder plain = {NULL};
    struct mh_folder junk = {NULL};
    bool is_cyrus = is_kind(w, "cyrus");
    MUST(w, open_as(w, "user01", false, &s) == 0);
    MUST(w, mh_imap.create(s, "Plain", MH_ROLE_NONE, &plain.path, &plain.native, &w->err) == 0);
    MUST(w, mh_imap.create(s, "Junk", MH_ROLE_JUNK, &junk.path, &junk.native, &w->err) == 0);
    static const char *const kinds[] = {"fresh", "with a message"};
    const struct mh_append like = {.keywords = ""};
    for (size_t i = 0; i < MH_ARRAY_LEN(kinds); i++) {
        EXPECT(w, i == 0 || append_to(w, s, &plain, HEAD, strlen(HEAD), &like) == 0);
        EXPECT(w, i == 0 || append_to(w, s, &junk, HEAD, strlen(HEAD), &like) == 0);
        get_annotations(w, s, plain.native, &a);
        cr_expect_eq(a.n, 0, "%s, %s: %s", w->server.kind, kinds[i], mh_buf_str(&a.names));
        get_annotations(w, s, junk.native, &a);
        cr_expect_eq(a.n, 0, "%s, role, %s: %s", w->server.kind, kinds[i], mh_buf_str(&a.names));
    }
    EXPECT(w, w->stored == 2);
    EXPECT(w, mh_imap.metadata_set(s, &plain, "/shared/comment", "x", 1, &w->err) == 0);
    get_annotations(w, s, plain.native, &a);
    cr_expect_str_eq(mh_buf_str(&a.names), "/shared/comment ", "%s", w->server.kind);
    /* An option of the folder: somebody's wish once it is not as it comes. */
    static const char seen[] = "/shared/vendor/cmu/cyrus-imapd/sharedseen";
    EXPECT(w, mh_imap.metadata_set(s, &junk, seen, "true", 4, &w->err) == 0);
    get_annotations(w, s, junk.native, &a);
    cr_expect(strncmp(mh_buf_str(&a.names), seen, sizeof seen - 1) == 0 && a.n == 1, "%s: %s",
              w->server.kind, mh_buf_str(&a.names));
    /* NUL bytes: kept whole, or refused by name. */
    int rc = mh_imap.metadata_set(s, &plain, "/shared/comment", "a\0b", 3, &w->err);
    EXPECT(w, rc == (is_cyrus ? 0 : MH_EFOLDER));
    EXPECT(w, rc == 0 || (w->err.reason && strcmp(w->err.reason, "nul-byte") == 0));
    get_annotations(w, s, plain.native, &a);
    EXPECT(w, a.n == 1 && a.last.len == (is_cyrus ? 3 : 1));
    EXPECT(w, memcmp(a.last.data, is_cyrus ? "a\0b" : "x", a.last.len) == 0);
    mh_buf_done(&a.names);
    mh_buf_done(&a.last);
    folder_done(&plain);
    folder_done(&junk);
    mh_imap.close(s);
}

static void run_around(struct world *w)
{
    enum { TOO_BIG = 200000 };
    struct mh_session *s = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    struct mh_quota quota;
    struct mh_buf lines = MH_BUF_INIT;
    bool found = false;
    const struct mh_append like = {.keywords = ""};
    MUST(w, open_as(w, "user01", false, &s) == 0);
    EXPECT(w, mh_imap.quota(s, &quota, &w->err) == 0);
    EXPECT(w, quota.known && quota.limit_bytes == 100 * 1024);
    EXPECT(w, mh_imap.acl_set(s, &inbox, "user02", "lrs", &w->err) == 0);
    EXPECT(w, mh_imap.acl_get(s, &inbox, &lines, &w->err) == 0);
    cr_expect(strstr(mh_buf_str(&lines), "user02 lrs"), "%s: %s", w->server.kind,
              mh_buf_str(&lines));
    mh_buf_done(&lines);
    if (mh_imap.caps(s)->metadata) {
        EXPECT(w, mh_imap.metadata_set(s, &inbox, "/private/comment", "\"a\"\r\n\\b\\ ", 9,
                                       &w->err) == 0);
        EXPECT(w, mh_imap.metadata_get(s, &inbox, find_comment, &found, &w->err) == 0);
        EXPECT(w, found);
    } else {
        EXPECT(w, mh_imap.metadata_get(s, &inbox, find_comment, &found, &w->err) == MH_ENOSUP);
    }
    /* The account is full: that is no message's fault. */
    char *big = big_message(HEAD, TOO_BIG);
    MUST(w, big);
    EXPECT(w, append_to(w, s, &inbox, big, TOO_BIG, &like) == 0);
    EXPECT(w, w->later == 1 && strcmp(w->last_reason, "over-quota") == 0);
    free(big);
    mh_imap.close(s);
}

/* --- nothing copied, nothing allocated -------------------------------------------------------- */

struct relay {
    struct mh_sink sink;
    struct world *w;
    struct mh_session *to;
    unsigned n;
};

/* Messages on their way at most; what was on its way at once before it is counted; and rounds until
 * one is quiet: how deep slabs, commands and queues get depends on how network and scheduler take turns,
 * so a round may still add one or two of them. What is allocated for messages, be it for every
 * hundredth, shows in every round. */
enum { RELAY_WINDOW = 40, RELAY_BURST = 128, WARM_UP_ROUNDS = 8 };

static int relay_begin(struct mh_sink *s, const struct mh_item *item, uint64_t octets,
                       struct mh_err *err)
{
    struct relay *r = mh_container_of(s, struct relay, sink);
    const struct mh_append msg = {
        .flags = item->flags, .date = item->date, .octets = octets, .cookie = r->n};
    return mh_imap.append_begin(r->to, &msg, err);
}

static int relay_data(struct mh_sink *s, struct mh_slice slice, struct mh_err *err)
{
    return mh_imap.append_data(mh_container_of(s, struct relay, sink)->to, slice, err);
}

static int relay_end(struct mh_sink *s, struct mh_err *err)
{
    struct relay *r = mh_container_of(s, struct relay, sink);
    int rc = mh_imap.append_end(r->to, err);
    r->n++;
    if (rc == 0 && r->n % 20 == 0)
        rc = mh_imap.append_cut(r->to, err);
    while (rc == 0 && r->n - r->w->stored > RELAY_WINDOW)
        mh_wait_always(&r->w->verdict);
    return rc;
}

static int relay_missed(struct mh_sink *s, const struct mh_item *item, const struct mh_err *why,
                        struct mh_err *err)
{
    (void)s;
    (void)item;
    *err = *why;
    return why->code;
}

/* More on its way at once than relay_all() ever has. */
static void relay_burst(struct world *w, struct mh_session *to)
{
    const struct mh_append like = {.keywords = "", .date = {1000000000, 0, true}};
    w->stored = 0;
    for (unsigned i = 1; i <= RELAY_BURST; i++) {
        EXPECT(w, append(w, to, HEAD, strlen(HEAD), &like) == 0);
        EXPECT(w, i % 10 != 0 || mh_imap.append_cut(to, &w->err) == 0);
    }
    EXPECT(w, mh_imap.append_flush(to, &w->err) == 0);
    EXPECT(w, w->stored == RELAY_BURST);
}

/* N messages of FROM, to their verdicts. */
static void relay_all(struct world *w, struct mh_session *from, struct mh_session *to,
                      const struct mh_item *const *items, size_t n)
{
    struct relay relay = {
        .sink = {relay_begin, relay_data, relay_end, relay_missed}, .w = w, .to = to};
    w->stored = 0;
    EXPECT(w, mh_imap.fetch(from, items, n, &relay.sink, &w->err) == 0);
    EXPECT(w, mh_imap.append_flush(to, &w->err) == 0);
    EXPECT(w, w->stored == n);
}

static void run_relay(struct world *w)
{
    enum { MESSAGES = 600 };
    const struct mh_item *items[MESSAGES];
    struct mh_session *from = NULL;
    struct mh_session *to = NULL;
    const struct mh_folder inbox = folder_of("INBOX");
    struct mh_opened opened;
    struct mh_scan scan;
    const struct mh_append like = {.keywords = "", .date = {1000000000, 0, true}};
    MUST(w, open_as(w, "user01", false, &from) == 0);
    MUST(w, open_as(w, "user02", false, &to) == 0);
    MUST(w, mh_imap.append_open(from, &inbox, &w->verdicts, &w->err) == 0);
    for (int i = 0; i < MESSAGES; i++)
        EXPECT(w, append(w, from, HEAD "body\r\n", strlen(HEAD "body\r\n"), &like) == 0);
    MUST(w, mh_imap.append_flush(from, &w->err) == 0);
    MUST(w, mh_imap.select(from, &inbox, false, &opened, &w->err) == 0);
    MUST(w, scan_from(w, from, 1, &scan) == 0);
    MUST(w, scan.n == MESSAGES);
    for (size_t i = 0; i < scan.n; i++)
        items[i] = &scan.items[i];
    MUST(w, mh_imap.append_open(to, &inbox, &w->verdicts, &w->err) == 0);
    relay_burst(w, to);
    uint64_t copied = mh_slab_copied_bytes();
    unsigned rounds = 0;
    uint64_t calls = 0;
    do {
        uint64_t before = mh_mem_calls();
        relay_all(w, from, to, items, scan.n);
        calls = mh_mem_calls() - before;
    } while (calls > 0 && ++rounds < WARM_UP_ROUNDS);
    cr_expect_eq(mh_slab_copied_bytes(), copied, "message bytes were copied");
    cr_expect_eq(calls, 0, "%llu allocations for %u messages even in round %u",
                 (unsigned long long)calls, (unsigned)MESSAGES, rounds);
    mh_scan_done(&scan);
    mh_imap.close(from);
    mh_imap.close(to);
}

/* --- all of it -------------------------------------------------------------------------------- */

#define EVERYWHERE(kind)                                                                           \
    LIVE(imap_live_##kind, logins, #kind, "", run_logins)                                          \
    LIVE(imap_live_##kind, folders, #kind, "", run_folders)                                        \
    LIVE(imap_live_##kind, same_paths, #kind, "", run_same_paths)                                  \
    LIVE(imap_live_##kind, messages, #kind, "", run_messages)                                      \
    LIVE(imap_live_##kind, dates_at_the_edge, #kind, "", run_dates_at_the_edge)                    \
    LIVE(imap_live_##kind, changes, #kind, "", run_changes)                                        \
    LIVE(imap_live_##kind, refusals, #kind, "", run_refusals)                                      \
    LIVE(imap_live_##kind, big, #kind, "", run_big)                                                \
    LIVE(imap_live_##kind, many_parts, #kind, "", run_many_parts)                                  \
    LIVE(imap_live_##kind, around, #kind, "--quota 100K", run_around)

EVERYWHERE(dovecot)
EVERYWHERE(cyrus)
EVERYWHERE(courier)

LIVE(imap_live_dovecot, admin_logins, "dovecot", "", run_admin_logins)
LIVE(imap_live_dovecot, token_logins, "dovecot", "", run_token_logins)
LIVE(imap_live_dovecot, token_logins_without_initial_response, "dovecot", "--no-capability SASL-IR",
     run_token_logins)
LIVE(imap_live_cyrus, admin_logins, "cyrus", "", run_admin_logins)
LIVE(imap_live_dovecot, annotations, "dovecot", "", run_annotations)
LIVE(imap_live_cyrus, annotations, "cyrus", "", run_annotations)
LIVE(imap_live_dovecot, nothing_is_copied_or_allocated, "dovecot",
     "--store sdbox --fast-fsync never", run_relay)
LIVE(imap_live_dovecot, nothing_is_copied_or_allocated_one_by_one, "dovecot",
     "--store sdbox --fast-fsync never --no-capability MULTIAPPEND --no-capability LITERAL+",
     run_relay)
LIVE(imap_live_cyrus, nothing_is_copied_or_allocated, "cyrus", "", run_relay)
LIVE(imap_live_dovecot, stopped_fetches, "dovecot", "--store sdbox --fast-fsync never", run_stopped)
LIVE(imap_live_dovecot, without_memory, "dovecot", "--store sdbox --fast-fsync never",
     run_without_memory)
LIVE(imap_live_dovecot, folders_with_prefix_and_other_separator, "dovecot",
     "--prefix INBOX. --separator .", run_folders)
LIVE(imap_live_dovecot, folders_with_slash, "dovecot", "--store sdbox --separator /", run_folders)
LIVE(imap_live_cyrus, folders_with_slash, "cyrus", "--separator / --option altnamespace=yes",
     run_folders)

/* Each of these is hidden: the connector does without, and the mail is the same. */
LIVE(imap_live_dovecot, messages_without_multiappend, "dovecot", "--no-capability MULTIAPPEND",
     run_messages)
LIVE(imap_live_dovecot, messages_without_literal_plus, "dovecot", "--no-capability LITERAL+",
     run_messages)
LIVE(imap_live_dovecot, messages_without_uidplus_and_condstore, "dovecot",
     "--no-capability UIDPLUS --no-capability CONDSTORE --no-capability QRESYNC", run_messages)
LIVE(imap_live_dovecot, folders_without_list_status, "dovecot", "--no-capability LIST-STATUS",
     run_folders)
LIVE(imap_live_dovecot, folders_without_list_extended, "dovecot",
     "--no-capability LIST-EXTENDED --no-capability LIST-STATUS --no-capability NAMESPACE",
     run_folders)
LIVE(imap_live_dovecot, logins_without_initial_response, "dovecot", "--no-capability SASL-IR",
     run_logins)
