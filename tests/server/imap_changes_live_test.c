/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * select_changes() and object ids on real servers: a second client changes flags, appends and expunges,
 * and what is told must be what two scans differ in.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/server/live.h"

#define HEAD "From: a@example.org\r\nSubject: x\r\n\r\n"

/* --- another client --------------------------------------------------------------------------- */

/* Runs COMMANDS (a NULL at the end) one after the other, as USER over a connection without TLS, with the
 * plain calls of the system: nothing of it is the connector's. */
static bool others_do(struct world *w, const char *user, const char *const *commands)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->server.port)};
    char login[64];
    char *line = NULL;
    size_t cap = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    FILE *in = ok ? fdopen(fd, "r") : NULL;
    ok = in && getline(&line, &cap, in) > 0;
    (void)snprintf(login, sizeof login, "LOGIN %s secret", user);
    for (int i = -1; ok && (i < 0 || commands[i]); i++) {
        ok = dprintf(fd, "T%d %s\r\n", i + 1, i < 0 ? login : commands[i]) > 0;
        do
            ok = ok && getline(&line, &cap, in) > 0;
        while (ok && line[0] != 'T');
        const char *status = ok ? strchr(line, ' ') : NULL;
        ok = status && strncmp(status, " OK", 3) == 0;
        cr_expect(ok, "%s: %s: %s", w->server.kind, i < 0 ? login : commands[i], line ? line : "");
    }
    free(line);
    if (in)
        (void)fclose(in);
    return ok;
}

#define OTHERS_DO(w, ...)                                                                          \
    MUST(w, others_do(w, "user01", (const char *const[]){"SELECT INBOX", __VA_ARGS__, NULL}))

/* --- what is told, and what is ---------------------------------------------------------------- */

struct watcher {
    struct mh_session *s;
    struct mh_folder inbox;
    struct mh_scan known; /* as it was the last time */
    struct mh_since since;
};

static bool is_same(const struct mh_scan *a, const struct mh_item *x, const struct mh_scan *b,
                    const struct mh_item *y)
{
    return x->flags == y->flags &&
           strcmp(mh_kwsets_text(a->kwsets, x->kwset), mh_kwsets_text(b->kwsets, y->kwset)) == 0;
}

static bool is_whole(const struct mh_scan *a, const struct mh_item *x, const struct mh_scan *b,
                     const struct mh_item *y)
{
    return is_same(a, x, b, y) && x->size == y->size && x->modseq == y->modseq &&
           x->object_id == y->object_id && x->date.is_set && x->date.unix_s == y->date.unix_s;
}

/* All that NOW has and KNOWN has not, or otherwise, is told with its metadata; nothing else unless
 * MAY_TELL_MORE. */
static void expect_told(struct world *w, const struct mh_scan *known, const struct mh_scan *now,
                        const struct mh_scan *told, bool may_tell_more)
{
    size_t n = 0;
    for (size_t i = 0; i < now->n; i++) {
        const struct mh_item *item = &now->items[i];
        const struct mh_item *was = mh_scan_find(known, item->uid);
        const struct mh_item *is = mh_scan_find(told, item->uid);
        bool has_changed = !was || !is_same(known, was, now, item);
        cr_expect(is || !has_changed, "%s: %llu is not told", w->server.kind,
                  (unsigned long long)item->uid);
        cr_expect(!is || is_whole(told, is, now, item), "%s: %llu is told wrongly", w->server.kind,
                  (unsigned long long)item->uid);
        cr_expect(!is || has_changed || may_tell_more, "%s: %llu has not changed", w->server.kind,
                  (unsigned long long)item->uid);
        n += is != NULL;
    }
    cr_expect_eq(n, told->n, "%s: %zu told, %zu of them there", w->server.kind, told->n, n);
}

static void expect_gone(struct world *w, const struct mh_scan *known, const struct mh_scan *now,
                        const struct mh_changes *c)
{
    for (size_t i = 0; i < known->n; i++) {
        uint64_t uid = known->items[i].uid;
        bool is_gone = !mh_scan_find(now, uid);
        bool is_told = c->gone_by == MH_GONE_LISTED       ? mh_uids_has(&c->gone, uid)
                       : c->gone_by == MH_GONE_BY_PRESENT ? !mh_uids_has(&c->present, uid)
                                                          : false;
        cr_expect_eq(is_gone, is_told, "%s: %llu: gone %d, told %d", w->server.kind,
                     (unsigned long long)uid, is_gone, is_told);
    }
}

static struct mh_since since_of(const struct mh_opened *o)
{
    return (struct mh_since){o->uidvalidity, o->uidnext, o->messages, o->highestmodseq, true};
}

/* The bodies of what was told come, so the session is as select() leaves it. */
static void expect_bodies(struct world *w, struct watcher *x, const struct mh_scan *scan)
{
    struct shelf shelf;
    shelf_init(&shelf);
    if (scan->n == 0 || scan->n > MH_ARRAY_LEN(shelf.bytes))
        return;
    EXPECT(w, fetch_all(w, x->s, scan, &shelf.sink) == 0);
    EXPECT(w, shelf.n == scan->n && shelf.missed == 0);
    for (size_t i = 0; i < shelf.n; i++)
        EXPECT(w, shelf.bytes[i].len == scan->items[i].size);
    shelf_done(&shelf);
}

enum { MAY_TELL_MORE = 1 << 0, MESSAGES_UNKNOWN = 1 << 1 };

/* What has happened since the last look, which this one becomes. */
static void look(struct world *w, struct watcher *x, unsigned how)
{
    struct mh_changes c = {0};
    struct mh_opened opened = {0};
    struct mh_scan now;
    x->since.messages_known = !(how & MESSAGES_UNKNOWN);
    int rc = mh_imap.select_changes(x->s, &x->inbox, &x->since, &opened, &c, &w->err);
    EXPECT(w, rc == 0);
    if (rc == 0)
        expect_bodies(w, x, &c.scan);
    EXPECT(w, scan_from(w, x->s, 1, &now) == 0);
    EXPECT(w, opened.messages == now.n && opened.highestmodseq > 0);
    if (rc == 0) {
        expect_told(w, &x->known, &now, &c.scan, how & MAY_TELL_MORE);
        expect_gone(w, &x->known, &now, &c);
    }
    mh_changes_done(&c);
    mh_scan_done(&x->known);
    x->known = now;
    x->since = since_of(&opened);
}

static int append_n(struct world *w, struct mh_session *s, unsigned n)
{
    static unsigned counter;
    const struct mh_folder inbox = folder_of("INBOX");
    int rc = mh_imap.append_open(s, &inbox, &w->verdicts, &w->err);
    for (unsigned i = 0; i < n && rc == 0; i++) {
        char text[128];
        struct mh_append like = {.flags = i % 2 ? MH_SEEN : 0, .keywords = i % 3 ? "" : "work"};
        int len = snprintf(text, sizeof text, HEAD "message %u\r\n%.*s\r\n", counter,
                           (int)(counter % 20), "....................");
        counter++;
        rc = append(w, s, text, (size_t)len, &like);
    }
    return rc ? rc : mh_imap.append_flush(s, &w->err);
}

/* --- a folder's life -------------------------------------------------------------------------- */

static void live(struct world *w, struct watcher *x, struct mh_session *other)
{
    struct mh_opened opened;
    MUST(w, mh_imap.select(x->s, &x->inbox, false, &opened, &w->err) == 0);
    x->since = since_of(&opened);
    EXPECT(w, opened.messages == 0 && opened.highestmodseq > 0);
    look(w, x, 0);
    MUST(w, append_n(w, other, 12) == 0);
    look(w, x, 0);
    look(w, x, 0);
    EXPECT(w, x->known.n == 12);
    OTHERS_DO(w, "UID STORE 2,5 +FLAGS.SILENT (\\Flagged later)", "UID STORE 4 -FLAGS (\\Seen)");
    look(w, x, 0);
    OTHERS_DO(w, "UID STORE 3,7:8 +FLAGS (\\Deleted)");
    look(w, x, 0);
    OTHERS_DO(w, "EXPUNGE");
    look(w, x, 0);
    EXPECT(w, x->known.n == 9);
    look(w, x, 0);
    OTHERS_DO(w, "UID STORE 12 +FLAGS (\\Deleted)", "EXPUNGE"); /* the last one */
    look(w, x, 0);
    /* everything at once, and one that comes and goes */
    MUST(w, append_n(w, other, 3) == 0);
    OTHERS_DO(w, "UID STORE 1,14 +FLAGS (\\Deleted)", "EXPUNGE",
              "UID STORE 6,13 +FLAGS (\\Answered $Forwarded)", "UID COPY 9 INBOX");
    look(w, x, 0);
    EXPECT(w, x->known.n == 10);
    look(w, x, MESSAGES_UNKNOWN);
    OTHERS_DO(w, "UID STORE 9 +FLAGS (\\Deleted)", "EXPUNGE");
    look(w, x, MESSAGES_UNKNOWN);
    EXPECT(w, x->known.n == 9);
}

/* A message that came after the numbers, and was seen by the scan, goes: it has to be told. */
static void come_and_go(struct world *w, struct watcher *x, struct mh_session *other)
{
    const struct mh_since before = x->since;
    MUST(w, append_n(w, other, 2) == 0);
    look(w, x, 0);
    x->since = before;
    OTHERS_DO(w, "UID STORE 17:18 +FLAGS (\\Deleted)", "EXPUNGE");
    look(w, x, 0);
    EXPECT(w, x->known.n == 9);
}

/* What cannot be told leaves the folder open and says what it is like now. */
static void not_told(struct world *w, struct watcher *x)
{
    struct mh_opened opened = {0};
    struct mh_scan scan;
    struct mh_changes c = {0};
    struct mh_since since = x->since;
    since.uidvalidity++;
    EXPECT(w, mh_imap.select_changes(x->s, &x->inbox, &since, &opened, &c, &w->err) == MH_ENOSUP);
    EXPECT(w, opened.uidvalidity == x->since.uidvalidity && opened.messages == x->known.n);
    EXPECT(w, c.scan.n == 0 && c.gone_by == MH_GONE_NONE);
    EXPECT(w, scan_from(w, x->s, 1, &scan) == 0);
    EXPECT(w, scan.n == x->known.n);
    mh_scan_done(&scan);
    since = x->since;
    since.highestmodseq += 1000;
    EXPECT(w, mh_imap.select_changes(x->s, &x->inbox, &since, &opened, &c, &w->err) == MH_ENOSUP);
    mh_changes_done(&c);
    const struct mh_folder none = folder_of("INBOX.None");
    EXPECT(w, mh_imap.select_changes(x->s, &none, &x->since, &opened, &c, &w->err) == MH_ENOENT);
    mh_changes_done(&c);
    look(w, x, 0);
}

/* STATUS tells what a look begins with as well as opening the folder does. */
static void by_status(struct world *w, struct watcher *x, struct mh_session *other)
{
    struct mh_folders folders = MH_FOLDERS_INIT;
    EXPECT(w, mh_imap.list(x->s, MH_LIST_STATUS, &folders, &w->err) == 0);
    const struct mh_folder *f = mh_folders_find(&folders, "INBOX");
    EXPECT(w, f && f->highestmodseq == x->since.highestmodseq && f->messages == x->since.messages);
    if (f)
        x->since =
            (struct mh_since){f->uidvalidity, f->uidnext, f->messages, f->highestmodseq, true};
    mh_folders_done(&folders);
    MUST(w, append_n(w, other, 1) == 0);
    OTHERS_DO(w, "UID STORE 2 +FLAGS (\\Deleted)", "EXPUNGE", "UID STORE 5 FLAGS (new)");
    look(w, x, 0);
}

static void run_all(struct world *w)
{
    struct mh_session *other = NULL;
    struct watcher x = {.inbox = folder_of("INBOX")};
    MUST(w, open_as(w, "user01", true, &x.s) == 0);
    MUST(w, open_as(w, "user01", false, &other) == 0);
    MUST(w, mh_imap.caps(x.s)->condstore);
    MUST(w, mh_scan_init(&x.known, &w->err) == 0);
    live(w, &x, other);
    come_and_go(w, &x, other);
    not_told(w, &x);
    by_status(w, &x, other);
    /* as far back as it goes: whatever the server still knows, nothing may be left out */
    x.since.highestmodseq = 1;
    x.since.uidnext = 1;
    x.since.messages = 0;
    look(w, &x, MAY_TELL_MORE);
    x.since.highestmodseq = 1;
    look(w, &x, MAY_TELL_MORE);
    OTHERS_DO(w, "UID STORE 1:* +FLAGS (\\Deleted)", "EXPUNGE");
    look(w, &x, 0);
    EXPECT(w, x.known.n == 0);
    mh_scan_done(&x.known);
    mh_imap.close(other);
    mh_imap.close(x.s);
}

/* Each allocation fails once: an error, or all of it. */
static void run_without_memory(struct world *w)
{
    const struct mh_folder inbox = folder_of("INBOX");
    struct mh_session *s = NULL;
    struct mh_opened opened;
    unsigned failures = 0;
    bool was_hit = true;
    MUST(w, open_as(w, "user01", true, &s) == 0);
    MUST(w, append_n(w, s, 40) == 0);
    MUST(w, mh_imap.select(s, &inbox, false, &opened, &w->err) == 0);
    mh_imap.close(s);
    const struct mh_since since = since_of(&opened);
    OTHERS_DO(w, "UID STORE 1,3,5,7,9,11,13,15,17,19 +FLAGS (\\Deleted)", "EXPUNGE",
              "UID STORE 2:30 +FLAGS (a b c)");
    for (uint64_t nth = 1; was_hit && nth < 1000; nth++) {
        struct mh_changes c = {0};
        MUST(w, open_as(w, "user01", true, &s) == 0);
        uint64_t before = mh_mem_calls();
        mh_mem_fail_nth(nth);
        int rc = mh_imap.select_changes(s, &inbox, &since, &opened, &c, &w->err);
        was_hit = mh_mem_calls() - before >= nth;
        mh_mem_fail_nth(0);
        expect_clean(w, nth, rc);
        EXPECT(w, rc || (c.scan.n == 20 && opened.messages == 30));
        EXPECT(w, rc || c.gone_by != MH_GONE_NONE);
        failures += rc != 0;
        mh_changes_done(&c);
        mh_imap.close(s);
    }
    EXPECT(w, failures > 10 && !was_hit);
}

/* A server that has none of it. */
static void run_nothing(struct world *w)
{
    struct mh_session *s = NULL;
    struct mh_opened opened = {0};
    struct mh_changes c = {0};
    struct mh_scan scan;
    const struct mh_folder inbox = folder_of("INBOX");
    MUST(w, open_as(w, "user01", true, &s) == 0);
    EXPECT(w, !mh_imap.caps(s)->condstore && !mh_imap.caps(s)->object_id);
    MUST(w, append_n(w, s, 3) == 0);
    const struct mh_since since = {1, 1, 0, 1, true};
    EXPECT(w, mh_imap.select_changes(s, &inbox, &since, &opened, &c, &w->err) == MH_ENOSUP);
    EXPECT(w, opened.messages == 3 && opened.uidnext == 4 && opened.uidvalidity > 0);
    mh_changes_done(&c);
    EXPECT(w, scan_from(w, s, 1, &scan) == 0);
    EXPECT(w, scan.n == 3 && scan.items[0].object_id == 0 && scan.items[0].modseq == 0);
    mh_scan_done(&scan);
    mh_imap.close(s);
}

/* --- names that stay -------------------------------------------------------------------------- */

static uint64_t folder_id(struct world *w, struct mh_session *s, const char *path)
{
    struct mh_folders folders = MH_FOLDERS_INIT;
    EXPECT(w, mh_imap.list(s, MH_LIST_STATUS, &folders, &w->err) == 0);
    const struct mh_folder *f = mh_folders_find(&folders, path);
    EXPECT(w, f != NULL);
    uint64_t id = f ? f->object_id : 0;
    mh_folders_done(&folders);
    return id;
}

/* The name that message UID has in FOLDER. */
static uint64_t message_id(struct world *w, struct mh_session *s, const char *native, uint64_t uid)
{
    const struct mh_folder folder = folder_of(native);
    struct mh_opened opened;
    struct mh_scan scan;
    uint64_t id = 0;
    if (!holds(w, mh_scan_init(&scan, &w->err) == 0, __LINE__, "scan"))
        return 0;
    EXPECT(w, mh_imap.select(s, &folder, false, &opened, &w->err) == 0);
    EXPECT(w, mh_imap.scan_uids(s, &uid, 1, &scan, &w->err) == 0);
    EXPECT(w, scan.n == 1);
    if (scan.n == 1)
        id = scan.items[0].object_id;
    mh_scan_done(&scan);
    return id;
}

/* A message keeps its name in another folder, a folder under another name. */
static void run_object_ids(struct world *w)
{
    struct mh_session *s = NULL;
    MUST(w, open_as(w, "user01", true, &s) == 0);
    EXPECT(w, mh_imap.caps(s)->object_id);
    MUST(w, append_n(w, s, 2) == 0);
    OTHERS_DO(w, "CREATE INBOX.Before", "UID COPY 2 INBOX.Before");
    uint64_t first = message_id(w, s, "INBOX", 1);
    uint64_t second = message_id(w, s, "INBOX", 2);
    EXPECT(w, first && second && first != second);
    EXPECT(w, message_id(w, s, "INBOX.Before", 1) == second);
    uint64_t folder = folder_id(w, s, "Before");
    EXPECT(w, folder && folder != folder_id(w, s, "INBOX"));
    OTHERS_DO(w, "RENAME INBOX.Before INBOX.After");
    EXPECT(w, folder_id(w, s, "After") == folder);
    EXPECT(w, message_id(w, s, "INBOX.After", 1) == second);
    mh_imap.close(s);
}

/* --- the tests -------------------------------------------------------------------------------- */

LIVE(imap_changes_live, dovecot_qresync, "dovecot", "", run_all)
LIVE(imap_changes_live, dovecot_qresync_sdbox, "dovecot", "--store sdbox", run_all)
LIVE(imap_changes_live, dovecot_condstore, "dovecot", "--no-capability QRESYNC", run_all)
LIVE(imap_changes_live, dovecot_condstore_without_esearch, "dovecot",
     "--no-capability QRESYNC --no-capability ESEARCH", run_all)
LIVE(imap_changes_live, dovecot_qresync_without_memory, "dovecot",
     "--store sdbox --fast-fsync never", run_without_memory)
LIVE(imap_changes_live, dovecot_condstore_without_memory, "dovecot",
     "--store sdbox --fast-fsync never --no-capability QRESYNC", run_without_memory)
LIVE(imap_changes_live, dovecot_without, "dovecot",
     "--no-capability QRESYNC --no-capability CONDSTORE", run_nothing)
LIVE(imap_changes_live, cyrus_qresync, "cyrus", "", run_all)
LIVE(imap_changes_live, cyrus_condstore, "cyrus", "--no-capability QRESYNC", run_all)
LIVE(imap_changes_live, cyrus_object_ids, "cyrus", "", run_object_ids)
LIVE(imap_changes_live, courier_has_none_of_it, "courier", "", run_nothing)
