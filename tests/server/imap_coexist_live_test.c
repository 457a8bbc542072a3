/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Moving, renaming and watching against the real servers of tests/servers, with a second session at
 * work in the same account. Skipped where their packages are not unpacked (MH_SERVERS, or
 * build/servers of the source tree).
 */
#include "connectors/imap/imap_priv.h"
#include "tests/server/live.h"

/* --- folders and messages --------------------------------------------------------------------- */

/* Two sessions of user01. */
static int open_both(struct world *w)
{
    int rc = open_as(w, "user01", false, &w->s);
    return rc ? rc : open_as(w, "user01", false, &w->other);
}

/* PATH is made; the caller's folder_done(). */
static struct mh_folder make(struct world *w, const char *path)
{
    struct mh_folder f = {.path = NULL};
    EXPECT(w, mh_imap.create(w->s, path, MH_ROLE_NONE, &f.path, &f.native, &w->err) == 0);
    return f;
}

/* One more message in FOLDER, whose UID the server says. */
static void add(struct world *w, struct mh_session *s, const struct mh_folder *folder,
                const struct mh_append *like)
{
    static const char text[] = "From: anna@example.org\r\nSubject: x\r\n\r\nbody\r\n";
    w->last_uid = 0;
    EXPECT(w, append_to(w, s, folder, text, sizeof text - 1, like) == 0);
    EXPECT(w, w->last_uid > 0);
}

/* What is in FOLDER, into SCAN (the caller's mh_scan_done()). */
static void scan_folder(struct world *w, struct mh_session *s, const struct mh_folder *folder,
                        struct mh_scan *scan)
{
    struct mh_opened opened;
    *scan = (struct mh_scan){.n = 0};
    MUST(w, mh_imap.select(s, folder, false, &opened, &w->err) == 0);
    EXPECT(w, scan_from(w, s, 1, scan) == 0);
}

struct pairs {
    uint64_t from[16], to[16];
    size_t n;
};

static int on_moved(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    struct pairs *p = ctx;
    if (p->n == MH_ARRAY_LEN(p->from))
        return mh_err_set(err, MH_ERUN, "test", "too many");
    p->from[p->n] = uid;
    p->to[p->n++] = new_uid;
    return 0;
}

static int move(struct world *w, struct mh_session *s, const struct mh_folder *from,
                const uint64_t *uids, size_t n, const struct mh_folder *to, struct pairs *pairs)
{
    struct mh_opened opened;
    pairs->n = 0;
    int rc = mh_imap.select(s, from, true, &opened, &w->err);
    return rc ? rc : mh_imap.move(s, uids, n, to, on_moved, pairs, &w->err);
}

/* --- moving ----------------------------------------------------------------------------------- */

enum { DATE_S = 1000000000, DAY_S = 86400 };

static uint8_t flags_of(int i)
{
    return i & 1 ? MH_SEEN | MH_FLAGGED : MH_ANSWERED;
}

static const char *keywords_of(int i)
{
    return i & 2 ? "$Forwarded urgent" : "";
}

static void fill_inbox(struct world *w, uint64_t *uids)
{
    const struct mh_folder in = folder_of("INBOX");
    for (int i = 0; i < 6; i++) {
        const struct mh_append like = {.date = {DATE_S + i * DAY_S, 120, true},
                                       .flags = flags_of(i),
                                       .keywords = keywords_of(i)};
        add(w, w->s, &in, &like);
        uids[i] = w->last_uid;
    }
}

/* Message I as it was appended, now with UID in SCAN. */
static void expect_moved(struct world *w, const struct mh_scan *scan, int i, uint64_t uid)
{
    const struct mh_item *item = mh_scan_find(scan, uid);
    MUST(w, item);
    EXPECT(w, item->flags == flags_of(i));
    EXPECT(w, item->date.is_set && item->date.unix_s == DATE_S + i * DAY_S);
    EXPECT(w, strcmp(mh_kwsets_text(scan->kwsets, item->kwset), keywords_of(i)) == 0);
}

/* Four of six; one of the four is removed by the other session first, which also marks one of the two
 * others as deleted: it has to stay. */
static void run_move(struct world *w)
{
    const struct mh_folder in = folder_of("INBOX");
    MUST(w, open_both(w) == 0);
    struct mh_folder away = make(w, "Away \xc3\xa9");
    struct mh_folder bin = make(w, "Bin");
    const struct mh_folder none = {.path = away.path, .native = bin.native};
    struct mh_opened opened;
    struct mh_scan scan;
    struct pairs pairs;
    uint64_t uids[6] = {0};
    EXPECT(w, mh_imap.caps(w->s)->move);
    fill_inbox(w, uids);
    MUST(w, mh_imap.select(w->s, &in, true, &opened, &w->err) == 0);
    MUST(w, move(w, w->other, &in, &uids[1], 1, &bin, &pairs) == 0 && pairs.n == 1);
    EXPECT(w, mh_imap.store_flags(w->other, &uids[5], 1, true, MH_DELETED, "", &w->err) == 0);
    pairs.n = 0;
    EXPECT(w, mh_imap.move(w->s, uids, 4, &away, on_moved, &pairs, &w->err) == 0);
    EXPECT(w, pairs.n == 3);
    scan_folder(w, w->s, &away, &scan);
    EXPECT(w, scan.n == 3);
    for (size_t k = 0; k < pairs.n && k < 3; k++) {
        static const int of[] = {0, 2, 3};
        EXPECT(w, pairs.from[k] == uids[of[k]] && pairs.to[k] != 0);
        expect_moved(w, &scan, of[k], pairs.to[k]);
    }
    mh_scan_done(&scan);
    scan_folder(w, w->s, &in, &scan);
    EXPECT(w, scan.n == 2 && mh_scan_find(&scan, uids[4]));
    const struct mh_item *marked = mh_scan_find(&scan, uids[5]);
    EXPECT(w, marked && marked->flags & MH_DELETED);
    mh_scan_done(&scan);
    EXPECT(w, move(w, w->s, &in, uids, 4, &away, &pairs) == 0 && pairs.n == 0); /* all are gone */
    char *nowhere = mh_asprintf("%s-not", none.native);
    const struct mh_folder missing = {.path = nowhere, .native = nowhere};
    EXPECT(w, move(w, w->s, &in, &uids[4], 1, &missing, &pairs) == MH_ENOENT && pairs.n == 0);
    mh_free(nowhere);
    scan_folder(w, w->other, &in, &scan);
    EXPECT(w, scan.n == 2); /* nothing else was expunged, whoever looks */
    mh_scan_done(&scan);
    folder_done(&away);
    folder_done(&bin);
}

static void run_cannot_move(struct world *w)
{
    const struct mh_folder in = folder_of("INBOX");
    MUST(w, open_both(w) == 0);
    struct mh_folder away = make(w, "Away");
    struct mh_scan scan;
    struct pairs pairs;
    uint64_t uids[6] = {0};
    EXPECT(w, !mh_imap.caps(w->s)->move);
    fill_inbox(w, uids);
    EXPECT(w, move(w, w->s, &in, (uint64_t[]){1, 2, 3}, 3, &away, &pairs) == MH_ENOSUP);
    scan_folder(w, w->other, &in, &scan);
    EXPECT(w, scan.n == 6 && pairs.n == 0);
    mh_scan_done(&scan);
    folder_done(&away);
}

/* Thousands: in parts, each with its own COPYUID. */
static void run_move_many(struct world *w)
{
    enum { MANY = 1300 };
    const struct mh_folder in = folder_of("INBOX");
    const struct mh_append like = {.date = {DATE_S, 0, true}, .keywords = ""};
    static uint64_t uids[MANY];
    MUST(w, open_both(w) == 0);
    struct mh_folder away = make(w, "Away");
    struct mh_scan scan;
    struct mh_opened opened;
    for (int i = 0; i < 20; i++)
        add(w, w->s, &in, &like);
    /* Every second of the numbers is none: many ranges. */
    for (size_t i = 0; i < MANY; i++)
        uids[i] = 2 * i + 2;
    struct pairs pairs = {.n = 0};
    MUST(w, mh_imap.select(w->s, &in, true, &opened, &w->err) == 0);
    EXPECT(w, mh_imap.move(w->s, uids, MANY, &away, on_moved, &pairs, &w->err) == 0);
    EXPECT(w, pairs.n == 10);
    scan_folder(w, w->s, &away, &scan);
    EXPECT(w, scan.n == 10);
    for (size_t i = 0; i < pairs.n; i++)
        EXPECT(w, pairs.from[i] == uids[i] && mh_scan_find(&scan, pairs.to[i]));
    mh_scan_done(&scan);
    scan_folder(w, w->s, &in, &scan);
    EXPECT(w, scan.n == 10);
    mh_scan_done(&scan);
    folder_done(&away);
}

/* --- renaming --------------------------------------------------------------------------------- */

static const struct mh_folder *find(struct world *w, struct mh_folders *list, const char *path)
{
    mh_folders_done(list);
    *list = (struct mh_folders)MH_FOLDERS_INIT;
    EXPECT(w, mh_imap.list(w->s, MH_LIST_NAMES, list, &w->err) == 0);
    mh_folders_sort(list);
    return mh_folders_find(list, path);
}

static int rename_to(struct world *w, const struct mh_folder *folder, const char *path,
                     struct mh_folder *out)
{
    *out = (struct mh_folder){.path = NULL};
    return mh_imap.rename(w->s, folder, path, &out->path, &out->native, &w->err);
}

static void run_rename(struct world *w)
{
    static const char child_path[] = "Alt/Kinder \xc3\xbc/Enkel";
    const struct mh_append like = {.date = {DATE_S, 0, true}, .keywords = ""};
    struct mh_folders list = MH_FOLDERS_INIT;
    MUST(w, open_both(w) == 0);
    struct mh_folder alt = make(w, "Alt");
    struct mh_folder child = make(w, child_path);
    struct mh_folder sibling = make(w, "Altes");
    struct mh_folder moved;
    struct mh_folder ignored;
    struct mh_opened opened;
    struct mh_scan scan;
    EXPECT(w, mh_imap.caps(w->s)->rename);
    EXPECT(w, mh_imap.subscribe(w->s, &alt, &w->err) == 0);
    EXPECT(w, mh_imap.subscribe(w->s, &child, &w->err) == 0);
    EXPECT(w, mh_imap.subscribe(w->s, &sibling, &w->err) == 0);
    add(w, w->s, &child, &like);
    MUST(w, mh_imap.select(w->s, &child, true, &opened, &w->err) == 0);
    const struct mh_folder *listed = find(w, &list, "Alt");
    MUST(w, listed && listed->attrs & MH_FOLDER_SUBSCRIBED);
    MUST(w, rename_to(w, listed,
                      "Neu/\xc3\x9c"
                      "ber & \xe6\x97\xa5",
                      &moved) == 0);
    EXPECT(w, strcmp(moved.path, "Neu/\xc3\x9c"
                                 "ber & \xe6\x97\xa5") == 0);
    /* What was open is open where it is now. Courier 5.0 gives it new UIDs: that is said. */
    EXPECT(w, mh_scan_init(&scan, &w->err) == 0);
    int rc = mh_imap.scan(w->s, 1, &scan, &w->err);
    if (is_kind(w, "courier"))
        EXPECT(w, rc == MH_EFOLDER);
    else
        EXPECT(w, rc == 0 && scan.n == 1 && scan.items[0].date.unix_s == DATE_S);
    mh_scan_done(&scan);
    EXPECT(w, find(w, &list, "Neu"));
    listed = find(w, &list, moved.path);
    EXPECT(w, listed && listed->attrs & MH_FOLDER_SUBSCRIBED &&
                  strcmp(listed->native, moved.native) == 0);
    listed = find(w, &list,
                  "Neu/\xc3\x9c"
                  "ber & \xe6\x97\xa5/Kinder \xc3\xbc/Enkel");
    EXPECT(w, listed && listed->attrs & MH_FOLDER_SUBSCRIBED);
    struct mh_folder grandchild = {.path = mh_strdup(listed ? listed->path : "x"),
                                   .native = mh_strdup(listed ? listed->native : "x")};
    EXPECT(w, !find(w, &list, "Alt") && !find(w, &list, child_path));
    listed = find(w, &list, "Altes");
    EXPECT(w, listed && listed->attrs & MH_FOLDER_SUBSCRIBED); /* only begins alike */
    add(w, w->s, &grandchild, &like);
    scan_folder(w, w->other, &grandchild, &scan);
    EXPECT(w, scan.n == 2);
    mh_scan_done(&scan);
    /* refusals */
    EXPECT(w, rename_to(w, &moved, "Altes", &ignored) == MH_EEXIST);
    EXPECT(w, rename_to(w, &moved, "INBOX", &ignored) == MH_EEXIST);
    const struct mh_folder in = folder_of("INBOX");
    EXPECT(w, rename_to(w, &in, "Eingang", &ignored) == MH_EFOLDER);
    EXPECT(w, rename_to(w, &alt, "Anders", &ignored) == MH_EFOLDER && w->err.server_text[0]);
    EXPECT(w, !find(w, &list, "Anders") && find(w, &list, moved.path));
    mh_folders_done(&list);
    folder_done(&alt);
    folder_done(&child);
    folder_done(&sibling);
    folder_done(&moved);
    folder_done(&grandchild);
}

/* --- watching --------------------------------------------------------------------------------- */

enum { PATIENCE_MS = 20000 };

struct watching {
    struct world *w;
    struct mh_task *task;
    int rc;
    bool has_changed;
};

static void watch_main(void *arg)
{
    struct watching *x = arg;
    struct mh_err err;
    x->rc = mh_imap.watch(x->w->s, mh_now_ms() + PATIENCE_MS, &x->has_changed, &err);
}

/* Another task watches; back when the server lets it wait and it holds nothing. */
static void start_watch(struct world *w, struct watching *x)
{
    struct mh_pool_stats stats;
    int64_t until_ms = mh_now_ms() + PATIENCE_MS;
    *x = (struct watching){.w = w};
    MUST(w, mh_task_spawn(mh_sched_self(), "watch", watch_main, x, &x->task, &w->err) == 0);
    do {
        EXPECT(w, mh_sleep_until(mh_now_ms() + 5) == 0);
        mh_pool_stats(w->pool, &stats);
    } while ((!w->s->watch.idle || stats.in_use_bytes > 0) && mh_now_ms() < until_ms);
    EXPECT(w, w->s->watch.idle && stats.in_use_bytes == 0);
}

/* What NOTIFY still tells of the changes before is told; then there is silence. */
static void settle(struct world *w)
{
    bool changed = true;
    for (int i = 0; i < 10 && changed; i++)
        EXPECT(w, mh_imap.watch(w->s, mh_now_ms() + 1500, &changed, &w->err) == 0);
    EXPECT(w, !changed);
}

/* Watching wakes when the other session does WHAT to UID of FOLDER. */
static void expect_wakes(struct world *w, char what, const struct mh_folder *folder, uint64_t *uid)
{
    const struct mh_append like = {.date = {DATE_S, 0, true}, .keywords = ""};
    struct mh_opened opened;
    struct pairs pairs = {.n = 0};
    struct mh_folder bin = {.path = NULL};
    struct watching x;
    if (what == 'e')
        EXPECT(w,
               mh_imap.create(w->other, "Bin", MH_ROLE_NONE, &bin.path, &bin.native, &w->err) == 0);
    settle(w);
    start_watch(w, &x);
    MUST(w, x.task);
    int64_t since_ms = mh_now_ms();
    if (what == 'a') {
        add(w, w->other, folder, &like);
        *uid = w->last_uid;
    } else {
        EXPECT(w, mh_imap.select(w->other, folder, true, &opened, &w->err) == 0);
        if (what == 'f')
            EXPECT(w, mh_imap.store_flags(w->other, uid, 1, true, MH_FLAGGED, "", &w->err) == 0);
        else
            EXPECT(w, mh_imap.move(w->other, uid, 1, &bin, on_moved, &pairs, &w->err) == 0);
    }
    mh_task_join(x.task);
    cr_expect(x.rc == 0 && x.has_changed && mh_now_ms() - since_ms < PATIENCE_MS / 2,
              "%s: %c in %s: rc %d, changed %d, %lld ms", w->server.kind, what, folder->path, x.rc,
              x.has_changed, (long long)(mh_now_ms() - since_ms));
    folder_done(&bin);
}

static void run_watch(struct world *w)
{
    const struct mh_folder in = folder_of("INBOX");
    const struct mh_append like = {.date = {DATE_S, 0, true}, .keywords = ""};
    MUST(w, open_both(w) == 0);
    struct mh_folder elsewhere = make(w, "Elsewhere");
    struct mh_opened opened;
    struct mh_scan scan;
    struct watching x;
    uint64_t uid = 0;
    bool changed = false;
    const struct mh_caps *caps = mh_imap.caps(w->s);
    EXPECT(w, caps->watch && caps->watch_all == is_kind(w, "dovecot"));
    EXPECT(w, mh_imap.watch(w->s, 0, &changed, &w->err) == 0 && !changed);
    expect_wakes(w, 'a', &in, &uid);
    expect_wakes(w, 'f', &in, &uid);
    expect_wakes(w, 'e', &in, &uid);
    if (caps->watch_all) {
        expect_wakes(w, 'a', &elsewhere, &uid);
        expect_wakes(w, 'f', &elsewhere, &uid);
        expect_wakes(w, 'e', &elsewhere, &uid);
    }
    /* between two calls, another folder having been looked at */
    settle(w);
    add(w, w->other, &in, &like);
    scan_folder(w, w->s, &elsewhere, &scan);
    mh_scan_done(&scan);
    EXPECT(w, mh_imap.watch(w->s, mh_now_ms() + PATIENCE_MS, &changed, &w->err) == 0 && changed);
    settle(w);
    /* cancelled: the session goes on */
    start_watch(w, &x);
    MUST(w, x.task);
    mh_task_cancel(x.task);
    mh_task_join(x.task);
    EXPECT(w, x.rc == MH_ECANCEL);
    MUST(w, mh_imap.select(w->s, &in, true, &opened, &w->err) == 0);
    EXPECT(w, opened.messages == 1);
    /* renewed twice, and nothing is taken for a change */
    w->s->watch.renew_ms = 400;
    EXPECT(w, mh_imap.watch(w->s, mh_now_ms() + 1000, &changed, &w->err) == 0 && !changed);
    folder_done(&elsewhere);
}

static void run_watch_compressed(struct world *w)
{
    w->is_compressed = true;
    run_watch(w);
}

/* --- without memory --------------------------------------------------------------------------- */

/* The NTH allocation from here on fails; what is there was made before. */
static int everything(struct world *w, struct mh_folder *away, uint64_t nth, bool *was_hit)
{
    const struct mh_folder in = folder_of("INBOX");
    struct pairs pairs = {.n = 0};
    struct mh_folder moved = {.path = NULL};
    bool changed = false;
    char path[40];
    (void)snprintf(path, sizeof path, "N%llu", (unsigned long long)nth);
    uint64_t before = mh_mem_calls();
    mh_mem_fail_nth(nth);
    int rc = move(w, w->s, &in, (uint64_t[]){w->last_uid}, 1, away, &pairs);
    if (rc == 0)
        rc = rename_to(w, away, path, &moved);
    if (rc == 0)
        rc = mh_imap.watch(w->s, 0, &changed, &w->err);
    *was_hit = mh_mem_calls() - before >= nth;
    mh_mem_fail_nth(0);
    EXPECT(w, rc != 0 || pairs.n == 1);
    folder_done(&moved);
    return rc;
}

/* The nth allocation fails, for every n there is: a clean error, nothing kept. */
static void run_without_memory(struct world *w)
{
    const struct mh_folder in = folder_of("INBOX");
    const struct mh_append like = {.date = {DATE_S, 0, true}, .keywords = ""};
    unsigned failures = 0;
    bool was_hit = true;
    MUST(w, open_both(w) == 0);
    for (uint64_t nth = 1; was_hit && nth < 500; nth++) {
        mh_imap.close(mh_take(w->s));
        MUST(w, open_as(w, "user01", false, &w->s) == 0);
        struct mh_folder away = make(w, "Away");
        struct mh_folder child = make(w, "Away/Child");
        EXPECT(w, mh_imap.subscribe(w->s, &child, &w->err) == 0);
        away.attrs = MH_FOLDER_SUBSCRIBED;
        add(w, w->other, &in, &like);
        int rc = everything(w, &away, nth, &was_hit);
        expect_clean(w, nth, rc);
        failures += rc != 0;
        folder_done(&away);
        folder_done(&child);
    }
    EXPECT(w, failures > 10 && !was_hit);
}

/* --- the table -------------------------------------------------------------------------------- */

LIVE(imap_coexist_dovecot, move, "dovecot", "", run_move)
LIVE(imap_coexist_dovecot, move_by_copy, "dovecot", "--no-capability MOVE", run_move)
LIVE(imap_coexist_dovecot, move_without_uidplus, "dovecot", "--no-capability UIDPLUS", run_move)
LIVE(imap_coexist_dovecot, cannot_move, "dovecot", "--no-capability UIDPLUS --no-capability MOVE",
     run_cannot_move)
LIVE(imap_coexist_dovecot, move_many, "dovecot", "", run_move_many)
LIVE(imap_coexist_dovecot, rename, "dovecot", "", run_rename)
LIVE(imap_coexist_dovecot, rename_below_a_prefix, "dovecot", "--prefix INBOX. --separator .",
     run_rename)
LIVE(imap_coexist_dovecot, watch, "dovecot", "", run_watch)
LIVE(imap_coexist_dovecot, watch_compressed, "dovecot", "", run_watch_compressed)
LIVE(imap_coexist_dovecot, without_memory, "dovecot", "--store sdbox --fast-fsync never",
     run_without_memory)
LIVE(imap_coexist_cyrus, move, "cyrus", "", run_move)
LIVE(imap_coexist_cyrus, move_many, "cyrus", "", run_move_many)
LIVE(imap_coexist_cyrus, rename, "cyrus", "", run_rename)
LIVE(imap_coexist_cyrus, watch, "cyrus", "", run_watch)
LIVE(imap_coexist_courier, move, "courier", "", run_move)
LIVE(imap_coexist_courier, move_many, "courier", "", run_move_many)
LIVE(imap_coexist_courier, rename, "courier", "", run_rename)
/* It looks every minute unless told otherwise. */
LIVE(imap_coexist_courier, watch, "courier", "--option IMAP_IDLE_TIMEOUT=1", run_watch)
