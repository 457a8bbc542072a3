/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The suite that every connector passes. A subject is a connector with a place to put mail; what it
 * cannot do by its nature stands in its deviations, so that nothing is skipped in silence. A subject
 * with a server behind it joins by a row in the table.
 */
#include <criterion/parameterized.h>

#include "connectors/eml/eml.h"
#include "connectors/maildir/maildir.h"
#include "connectors/mbox/mbox.h"
#include "connectors/mem/mem.h"
#include "rig.h"

enum deviation {
    NO_ZONE = 1 << 0, /* dates come back in UTC */
    NO_ACL = 1 << 1,
    NO_METADATA = 1 << 2,
    NO_COUNTS = 1 << 3,   /* list() with status tells no counts */
    FIXED_NAMES = 1 << 4, /* long folder names are cut */
    FEW_KEYWORDS = 1 << 5,
    BATCHES = 1 << 6,    /* multiappend */
    NO_CHANGES = 1 << 7, /* select_changes() cannot tell */
    NO_MOVE = 1 << 8,
    NO_RENAME = 1 << 9,
};

struct subject {
    const char *name;
    const struct mh_connector *connector;
    unsigned deviations;
    /* A new, empty mailbox called NAME; the endpoint is the caller's. */
    void (*setup)(struct rig *r, const char *name, struct mh_endpoint *out);
    void (*teardown)(const struct mh_endpoint *ep);
    /* Somebody else deletes a message; NULL where the connector has no scan_uids. */
    void (*expunge)(const struct mh_endpoint *ep, const struct mh_folder *f, uint64_t uid);
};

static void setup_path(struct rig *r, const char *type, const char *name, struct mh_endpoint *out)
{
    mh_endpoint_init(out);
    out->type = mh_strdup(type);
    out->path = mh_asprintf("%s/%s", r->dir, name);
}

static void setup_maildir(struct rig *r, const char *name, struct mh_endpoint *out)
{
    setup_path(r, "maildir", name, out);
}

/* A Maildir with a nested folder already there is fs layout. */
static void setup_maildir_fs(struct rig *r, const char *name, struct mh_endpoint *out)
{
    setup_path(r, "maildir", name, out);
    char *command = mh_asprintf("mkdir -p '%s'/Seed/cur '%s'/Seed/new '%s'/Seed/tmp", out->path,
                                out->path, out->path);
    cr_assert_eq(system(command), 0);
    mh_free(command);
}

static void setup_mbox(struct rig *r, const char *name, struct mh_endpoint *out)
{
    setup_path(r, "mbox", name, out);
}

static void setup_eml(struct rig *r, const char *name, struct mh_endpoint *out)
{
    setup_path(r, "eml", name, out);
}

static void setup_mem(struct rig *r, const char *name, struct mh_endpoint *out)
{
    (void)r;
    mh_endpoint_init(out);
    out->type = mh_strdup("mem");
    out->path = mh_strdup(name);
}

static void setup_mem_plain(struct rig *r, const char *name, struct mh_endpoint *out)
{
    struct mh_mem_options o;
    setup_mem(r, name, out);
    mh_mem_options_init(&o);
    o.multiappend = false;
    o.condstore = false;
    o.move = false;
    o.rename = false;
    o.object_id = false;
    ASSERT_OK(mh_mem_configure(name, &o, &err));
}

static void setup_mem_condstore(struct rig *r, const char *name, struct mh_endpoint *out)
{
    struct mh_mem_options o;
    setup_mem(r, name, out);
    mh_mem_options_init(&o);
    o.qresync = false;
    ASSERT_OK(mh_mem_configure(name, &o, &err));
}

/* It remembers next to nothing of what has vanished. */
static void setup_mem_forgetful(struct rig *r, const char *name, struct mh_endpoint *out)
{
    struct mh_mem_options o;
    setup_mem(r, name, out);
    mh_mem_options_init(&o);
    o.vanished_max = 2;
    ASSERT_OK(mh_mem_configure(name, &o, &err));
}

static void teardown_none(const struct mh_endpoint *ep)
{
    (void)ep;
}

static void teardown_mem(const struct mh_endpoint *ep)
{
    mh_mem_drop(ep->path);
}

static void expunge_mem(const struct mh_endpoint *ep, const struct mh_folder *f, uint64_t uid)
{
    cr_assert(mh_mem_expunge(ep->path, f->native, uid));
}

#define FILES (NO_ACL | NO_METADATA | FIXED_NAMES | NO_CHANGES | NO_MOVE | NO_RENAME)

static const struct subject subjects[] = {
    {"maildir", &mh_maildir, FILES | NO_ZONE | FEW_KEYWORDS, setup_maildir, teardown_none, NULL},
    {"maildir in fs layout", &mh_maildir, FILES | NO_ZONE | FEW_KEYWORDS, setup_maildir_fs,
     teardown_none, NULL},
    {"mbox", &mh_mbox, FILES | NO_COUNTS, setup_mbox, teardown_none, NULL},
    {"eml", &mh_eml, FILES, setup_eml, teardown_none, NULL},
    {"mem", &mh_mem, BATCHES, setup_mem, teardown_mem, expunge_mem},
    {"mem without MULTIAPPEND", &mh_mem, NO_CHANGES | NO_MOVE | NO_RENAME, setup_mem_plain,
     teardown_mem, expunge_mem},
    {"mem without QRESYNC", &mh_mem, BATCHES, setup_mem_condstore, teardown_mem, expunge_mem},
    {"mem that forgets", &mh_mem, BATCHES, setup_mem_forgetful, teardown_mem, expunge_mem},
};

/* --- running a body once per subject ---------------------------------------------------------- */

struct bench {
    struct rig *r;
    const struct subject *sub;
    const struct mh_connector *c;
    struct mh_endpoint ep;
    struct mh_session *s;
};

struct run {
    const struct subject *sub;
    void (*body)(struct bench *b);
};

static void run_body(struct rig *r)
{
    struct run *run = r->ctx;
    struct bench b = {.r = r, .sub = run->sub, .c = run->sub->connector};
    b.sub->setup(r, "subject", &b.ep);
    ASSERT_OK(b.c->open(&b.ep, &r->env, true, &b.s, &err));
    run->body(&b);
    b.c->close(b.s);
    b.sub->teardown(&b.ep);
    mh_endpoint_done(&b.ep);
}

/* The session closed and a new one opened, as after a break. */
static void reopen(struct bench *b)
{
    b->c->close(b->s);
    ASSERT_OK(b->c->open(&b->ep, &b->r->env, false, &b->s, &err));
}

static size_t subject_numbers[MH_ARRAY_LEN(subjects)];

static struct criterion_test_params subject_params(void)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(subjects); i++)
        subject_numbers[i] = i;
    return cr_make_param_array(size_t, subject_numbers, MH_ARRAY_LEN(subjects));
}

/* CONFORM(test) { … } is a test of every subject; the body has `b`. */
#define CONFORM(test)                                                                              \
    static void body_##test(struct bench *b);                                                      \
    ParameterizedTestParameters(conform, test)                                                     \
    {                                                                                              \
        return subject_params();                                                                   \
    }                                                                                              \
    ParameterizedTest(size_t *nth, conform, test, .timeout = 300)                                  \
    {                                                                                              \
        struct run run = {&subjects[*nth], body_##test};                                           \
        (void)fprintf(stderr, "%s: %s\n", #test, run.sub->name);                                   \
        rig_run(run_body, &run);                                                                   \
    }                                                                                              \
    static void body_##test(struct bench *b)

static void append_all(struct bench *b, const struct mh_folder *f, const struct mail *mails,
                       size_t n, size_t step, struct verdicts *vs)
{
    verdicts_init(vs, n);
    ASSERT_OK(b->c->append_open(b->s, f, &vs->sink, &err));
    for (size_t i = 0; i < n; i++) {
        ASSERT_OK(send_mail(b->r, b->c, b->s, &mails[i], i, step, &err));
        if (i % 100 == 99)
            ASSERT_OK(b->c->append_cut(b->s, &err));
    }
    ASSERT_OK(b->c->append_flush(b->s, &err));
    cr_assert_eq(vs->n, n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(vs->v[i].code, 0, "message %zu: %s", i, mh_code_name(vs->v[i].code));
        cr_assert_neq(vs->v[i].uid, 0u);
    }
}

/* Each of MAILS must be found under its verdict's uid as it was sent. */
static void expect_mails(struct bench *b, const struct mh_folder *f, const struct mail *mails,
                         size_t n, const struct verdicts *vs)
{
    struct mh_scan scan;
    struct collector got;
    scan_folder(b->c, b->s, f, &scan);
    cr_assert_eq(scan.n, n);
    const struct mh_item **items = malloc(n * sizeof *items);
    for (size_t i = 0; i < n; i++) {
        items[i] = mh_scan_find(&scan, vs->v[i].uid);
        cr_assert_not_null(items[i], "message %zu is not there", i);
        const char *keywords = mails[i].keywords ? mails[i].keywords : "";
        cr_expect_eq(items[i]->flags, mails[i].flags, "message %zu", i);
        cr_expect_str_eq(mh_kwsets_text(scan.kwsets, items[i]->kwset), keywords);
        cr_expect(items[i]->date.is_set);
        if (mails[i].date.is_set)
            cr_expect_eq(items[i]->date.unix_s, mails[i].date.unix_s);
        if (mails[i].date.is_set && !(b->sub->deviations & NO_ZONE))
            cr_expect_eq(items[i]->date.zone_min, mails[i].date.zone_min);
    }
    collector_init(&got);
    ASSERT_OK(b->c->fetch(b->s, items, n, &got.sink, &err));
    cr_assert_eq(got.n, n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(got.v[i].uid, vs->v[i].uid, "the order is not kept");
        cr_assert(got.v[i].ended, "message %zu was missed: %s", i, got.v[i].reason);
        cr_assert_eq(got.v[i].bytes.len, mails[i].bytes.len, "message %zu has %zu octets, not %zu",
                     i, got.v[i].bytes.len, mails[i].bytes.len);
        cr_assert(memcmp(got.v[i].bytes.data, mails[i].bytes.data, mails[i].bytes.len) == 0,
                  "message %zu (%zu octets) came back changed", i, mails[i].bytes.len);
    }
    collector_free(&got);
    free(items);
    mh_scan_done(&scan);
}

/* --- opening ---------------------------------------------------------------------------------- */

CONFORM(a_missing_source_is_an_error)
{
    struct mh_endpoint ep;
    struct mh_session *s = NULL;
    struct mh_err err;
    mh_endpoint_init(&ep);
    ep.type = mh_strdup(b->ep.type);
    ep.path = mh_asprintf("%s-missing", b->ep.path);
    mh_err_reset(&err);
    b->r->env.is_source = true;
    cr_expect_eq(b->c->open(&ep, &b->r->env, false, &s, &err), MH_EUSAGE);
    cr_expect_neq(err.text[0], '\0');
    mh_endpoint_done(&ep);
}

CONFORM(an_empty_mailbox_opens_again)
{
    struct mh_folders l = MH_FOLDERS_INIT;
    const struct mh_caps *caps = b->c->caps(b->s);
    cr_expect_eq(caps->multiappend, (b->sub->deviations & BATCHES) != 0);
    cr_expect_eq(caps->cert_days_left, -1);
    reopen(b);
    ASSERT_OK(b->c->list(b->s, MH_LIST_STATUS, &l, &err));
    for (size_t i = 0; i < l.n; i++)
        cr_expect_eq(l.v[i].messages, 0u);
    mh_folders_done(&l);
}

/* --- folders ---------------------------------------------------------------------------------- */

CONFORM(folders_roles_and_subscriptions)
{
    static const struct {
        const char *path;
        enum mh_role role;
        bool subscribe;
    } rows[] = {
        {"INBOX", MH_ROLE_INBOX, true},
        {"Gesendet", MH_ROLE_SENT, true},
        {"Archive/2019/Q1", 0, false},
        {"Archive/2019", MH_ROLE_ARCHIVE, true},
        {"INBOX/below", 0, false},
        {"Papierkorb", MH_ROLE_TRASH, false},
        {"\xd0\x9f\xd0\xb8\xd1\x81\xd1\x8c\xd0\xbc\xd0\xb0", 0, true},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
        struct made m;
        make_folder(b->c, b->s, rows[i].path, rows[i].role, &m);
        cr_expect_str_eq(m.folder.path, rows[i].path);
        if (rows[i].subscribe)
            ASSERT_OK(b->c->subscribe(b->s, &m.folder, &err));
        made_free(&m);
        make_folder(b->c, b->s, rows[i].path, rows[i].role, &m); /* is there: the same again */
        made_free(&m);
    }
    reopen(b);
    struct mh_folders l = MH_FOLDERS_INIT;
    ASSERT_OK(b->c->list(b->s, MH_LIST_NAMES, &l, &err));
    cr_expect_str_eq(l.v[0].path, "INBOX", "the inbox is first");
    for (size_t i = 1; i < l.n; i++)
        cr_expect_str_neq(l.v[i - 1].path, l.v[i].path);
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
        const struct mh_folder *f = mh_folders_find(&l, rows[i].path);
        cr_assert_not_null(f, "%s is not listed", rows[i].path);
        cr_expect_eq(f->role, rows[i].role, "%s: %s", f->path, mh_role_name(f->role));
        cr_expect_eq((f->attrs & MH_FOLDER_ROLE_ANNOUNCED) != 0, rows[i].role != MH_ROLE_NONE);
        cr_expect_eq((f->attrs & MH_FOLDER_SUBSCRIBED) != 0, rows[i].subscribe, "%s", f->path);
        struct mh_opened opened;
        ASSERT_OK(b->c->select(b->s, f, true, &opened, &err));
        cr_expect_eq(opened.messages, 0u);
        cr_expect_neq(opened.uidvalidity, 0u);
        cr_expect_eq(opened.uidvalidity, f->uidvalidity);
        cr_expect_eq(opened.flags_ok & 0x1f, 0x1f);
    }
    cr_expect_not_null(mh_folders_find(&l, "Archive"), "parents are made");
    mh_folders_done(&l);
}

CONFORM(selecting_a_missing_folder_is_an_error)
{
    char *path = NULL;
    char *native = NULL;
    struct mh_opened opened;
    struct mh_err why;
    mh_err_reset(&why);
    ASSERT_OK(b->c->plan_name(b->s, "Not there", &path, &native, &err));
    struct mh_folder f = {.path = path, .native = native};
    cr_expect_eq(b->c->select(b->s, &f, false, &opened, &why), MH_ENOENT);
    cr_expect_neq(why.text[0], '\0');
    struct verdicts vs;
    verdicts_init(&vs, 1);
    cr_expect_eq(b->c->append_open(b->s, &f, &vs.sink, &why), MH_ENOENT);
    verdicts_free(&vs);
    mh_free(path);
    mh_free(native);
}

/* A folder with one message of that NUMBER. */
static void make_with_mail(struct bench *b, const char *path, unsigned number, struct made *out)
{
    struct mail m = {.bytes = bytes_message(200, number)};
    struct verdicts vs;
    make_folder(b->c, b->s, path, MH_ROLE_NONE, out);
    append_all(b, &out->folder, &m, 1, 64, &vs);
    verdicts_free(&vs);
    bytes_free(&m.bytes);
}

/* PATH is listed once, can be opened, and holds that one message. */
static const struct mh_folder *expect_folder(struct bench *b, const struct mh_folders *l,
                                             const char *path, unsigned number)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += strcmp(l->v[i].path, path) == 0;
    cr_assert_eq(n, 1u, "%s is listed %zu times", path, n);
    const struct mh_folder *f = mh_folders_find(l, path);
    struct bytes want = bytes_message(200, number);
    struct mh_scan scan;
    struct collector got;
    scan_folder(b->c, b->s, f, &scan);
    cr_assert_eq(scan.n, 1u, "%s: %zu messages", path, scan.n);
    const struct mh_item *item = &scan.items[0];
    collector_init(&got);
    ASSERT_OK(b->c->fetch(b->s, &item, 1, &got.sink, &err));
    cr_assert_eq(got.n, 1u);
    cr_expect(got.v[0].bytes.len == want.len &&
                  memcmp(got.v[0].bytes.data, want.data, want.len) == 0,
              "%s has another's mail", path);
    collector_free(&got);
    mh_scan_done(&scan);
    bytes_free(&want);
    return f;
}

/* Raw components as hostile servers and old clients have them. */
static const struct {
    const char *name;
    const char *raw;
    size_t len;
} hostile[] = {
#define H(name, raw)                                                                               \
    {                                                                                              \
        name, raw, sizeof(raw) - 1                                                                 \
    }
    H("dot", "."),
    H("dot dot", ".."),
    H("dots inside", "v1.2.3"),
    H("leading dot", ".hidden"),
    H("trailing dot", "end."),
    H("trailing blank", "end "),
    H("blanks", "  "),
    H("slash", "a/b"),
    H("escape of the tree", "../../../../tmp/x"),
    H("absolute", "/etc/passwd"),
    H("backslash", "a\\b"),
    H("percent", "100%"),
    H("looks escaped", "%2F"),
    H("looks escaped, lower case", "%2f"),
    H("escaped twice", "%252F"),
    H("ESC", "\x1b[31mred\x1b[0m"),
    H("line ends", "a\r\nb"),
    H("tab", "a\tb"),
    H("NUL", "a\0b"),
    H("DEL", "a\x7f"),
    H("invalid UTF-8", "Entw\xfcrfe"),
    H("cut UTF-8", "x\xe2\x82"),
    H("surrogate", "\xed\xa0\x80"),
    H("ampersand", "A&B"),
    H("looks like modified UTF-7", "&AOk-"),
    H("emoji", "\xf0\x9f\x93\xa7 mail"),
    H("combining", "e\xcc\x81"),
    H("right to left", "\xe2\x80\xae"
                       "abc"),
    H("quotes", "\"'`$(id)"),
    H("wild cards", "*?[a-z]"),
    H("colon", "a:b"),
    H("cur", "cur"),
    H("new", "new"),
    H("tmp", "tmp"),
    H("upper case", "CUR"),
    H("index", ".mailhaul-index"),
    H("an mbox", "x.mbox"),
    H("an mbox's index", "x.mbox.index"),
    H("an eml", "x.eml"),
    H("tilde", "~"),
    H("minus", "-rf"),
    H("200 octets", "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
                    "dddddddddddddddddddddd"
                    "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
                    "dddddddddddddddddddddd"),
    H("300 octets", "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
                    "eeeeeeeeeeeeeeeeeeeeee"
                    "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
                    "eeeeeeeeeeeeeeeeeeeeee"
                    "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
                    "eeeeeeeeeeeeeeeeeeeeee"),
    H("300 octets, another", "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
                             "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
                             "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
                             "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
                             "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
                             "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeX"),
#undef H
};

/* Each name, at the top and below another folder, is made, listed once under the path that create()
 * said, holds a message of its own, and nothing leaves the archive. */
CONFORM(hostile_folder_names)
{
    enum { N = MH_ARRAY_LEN(hostile) };
    static struct made made[2 * N];
    struct mh_folders l = MH_FOLDERS_INIT;
    for (size_t i = 0; i < 2 * N; i++) {
        struct mh_buf path = MH_BUF_INIT;
        char *planned = NULL;
        char *planned_native = NULL;
        if (i >= N)
            mh_buf_adds(&path, "Top.1/");
        mh_path_add_component(&path, hostile[i % N].raw, hostile[i % N].len);
        ASSERT_OK(b->c->plan_name(b->s, mh_buf_str(&path), &planned, &planned_native, &err));
        make_with_mail(b, mh_buf_str(&path), (unsigned)i, &made[i]);
        cr_expect_str_eq(made[i].folder.path, planned, "%s", hostile[i % N].name);
        cr_expect_str_eq(made[i].folder.native, planned_native, "%s", hostile[i % N].name);
        bool may_change = hostile[i % N].len > 150 && (b->sub->deviations & FIXED_NAMES);
        if (!may_change)
            cr_expect_str_eq(made[i].folder.path, mh_buf_str(&path), "%s", hostile[i % N].name);
        mh_free(planned);
        mh_free(planned_native);
        mh_buf_done(&path);
    }
    reopen(b);
    ASSERT_OK(b->c->list(b->s, MH_LIST_NAMES, &l, &err));
    for (size_t i = 0; i < 2 * N; i++) {
        const struct mh_folder *f = expect_folder(b, &l, made[i].folder.path, (unsigned)i);
        cr_expect_str_eq(f->native, made[i].folder.native, "%s", hostile[i % N].name);
        made_free(&made[i]);
    }
    mh_folders_done(&l);
    char *outside = mh_asprintf("ls -A '%s' | grep -v '^subject$'", b->r->dir);
    cr_expect_neq(system(outside), 0, "something was made outside of the archive");
    mh_free(outside);
}

CONFORM(deep_folders)
{
    struct mh_buf path = MH_BUF_INIT;
    for (int i = 0; i < 60; i++)
        mh_buf_addf(&path, "%s%d", i ? "/" : "", i);
    struct made m;
    make_folder(b->c, b->s, mh_buf_str(&path), MH_ROLE_NONE, &m);
    if (!(b->sub->deviations & FIXED_NAMES))
        cr_expect_str_eq(m.folder.path, mh_buf_str(&path));
    struct mh_opened opened;
    ASSERT_OK(b->c->select(b->s, &m.folder, false, &opened, &err));
    struct mh_folders l = MH_FOLDERS_INIT;
    ASSERT_OK(b->c->list(b->s, MH_LIST_NAMES, &l, &err));
    cr_expect_not_null(mh_folders_find(&l, m.folder.path));
    mh_folders_done(&l);
    made_free(&m);
    mh_buf_done(&path);
}

/* --- messages --------------------------------------------------------------------------------- */

static const size_t sizes[] = {0,     1,     2,     63,    64,     65,     4095,    4096,
                               65535, 65536, 65537, 65538, 131072, 131073, 1 << 20, (1 << 20) + 1};

CONFORM(sizes_come_back_exactly)
{
    enum { N = MH_ARRAY_LEN(sizes) };
    struct mail mails[N] = {0};
    struct made m;
    struct verdicts vs;
    make_folder(b->c, b->s, "Sizes", MH_ROLE_NONE, &m);
    for (size_t i = 0; i < N; i++)
        mails[i] = (struct mail){.bytes = bytes_message(sizes[i], (unsigned)i)};
    append_all(b, &m.folder, mails, N, 16384, &vs);
    expect_mails(b, &m.folder, mails, N, &vs);
    reopen(b);
    expect_mails(b, &m.folder, mails, N, &vs);
    struct mh_scan scan;
    scan_folder(b->c, b->s, &m.folder, &scan);
    for (size_t i = 0; i < N; i++)
        cr_expect_eq(mh_scan_find(&scan, vs.v[i].uid)->size, sizes[i], "announced size");
    mh_scan_done(&scan);
    verdicts_free(&vs);
    mails_free(mails, N);
    made_free(&m);
}

static const struct {
    const char *name;
    const char *data;
    size_t len;
} odd[] = {
#define O(name, data)                                                                              \
    {                                                                                              \
        name, data, sizeof(data) - 1                                                               \
    }
    O("no final line end", "Subject: a\r\n\r\nbody"),
    O("bare LF only", "Subject: a\n\nbody\n"),
    O("bare LF, no final line end", "Subject: a\n\nbody"),
    O("bare CR only", "Subject: a\r\rbody\r"),
    O("mixed line ends", "Subject: a\r\n\r\nbody\nmore\rend\r\n"),
    O("CRLF, then one bare LF at the end", "Subject: a\r\n\r\nbody\n"),
    O("NUL", "Subject: a\r\n\r\nbo\0dy\0\0\r\n"),
    O("8-bit header", "Subject: \xe4\xf6\xfc\r\n\r\n\x80\xff\xfe\r\n"),
    O("no header", "just text\r\n"),
    O("empty header", "\r\nbody\r\n"),
    O("header only", "Subject: a\r\n"),
    O("header and empty line", "Subject: a\r\n\r\n"),
    O("only a line end", "\r\n"),
    O("only an LF", "\n"),
    O("only a CR", "\r"),
    O("many line ends", "\r\n\r\n\r\n\r\n"),
    O("many LFs", "\n\n\n\n\n"),
    O("ends in empty lines", "Subject: a\r\n\r\nbody\r\n\r\n\r\n\r\n"),
    O("From line in the body", "Subject: a\r\n\r\nFrom me to you\r\n"),
    O("From line like an mbox's", "Subject: a\r\n\r\nFrom x Sun Nov 22 12:00:00 2026\r\nb\r\n"),
    O("From line after LF", "Subject: a\n\nFrom x Sun Nov 22 12:00:00 2026\nb\n"),
    O("begins with a From line", "From x Sun Nov 22 12:00:00 2026\r\nSubject: a\r\n\r\nb\r\n"),
    O("is a From line", "From x Sun Nov 22 12:00:00 2026\r\n"),
    O("quoted From lines",
      "Subject: a\r\n\r\n>From x\r\n>>From y\r\n>>>From z\r\n> From\r\n>Fro\r\n"),
    O("cut From line at the end", "Subject: a\r\n\r\n>>From"),
    O("From with a blank at the end", "Subject: a\r\n\r\nFrom "),
    O("quotes at the end", "Subject: a\r\n\r\n>>>"),
    O("F at the end", "Subject: a\r\n\r\nF"),
    O("From line in LF text without end", "a: b\n\nx\n\nFrom "),
    O("Status fields", "Status: RO\r\nX-Status: AF\r\nSubject: a\r\n\r\nb\r\n"),
    O("only a Status field", "Status: RO\r\n\r\n"),
    O("another Status field only", "Status: O\r\n\r\n"),
    O("Content-Length that lies", "Content-Length: 99999\r\n\r\nb\r\n"),
    O("tab and blank lines", "a: b\r\n\tfolded\r\n \r\n\t\r\nc\r\n"),
#undef O
};

CONFORM(odd_octets_come_back_exactly)
{
    enum { N = MH_ARRAY_LEN(odd) };
    static const size_t steps[] = {1, 7, 65536};
    for (size_t s = 0; s < MH_ARRAY_LEN(steps); s++) {
        struct mail mails[N + 1] = {0};
        struct made m;
        struct verdicts vs;
        char path[16];
        (void)snprintf(path, sizeof path, "Odd %zu", steps[s]);
        make_folder(b->c, b->s, path, MH_ROLE_NONE, &m);
        for (size_t i = 0; i < N; i++)
            mails[i] = (struct mail){.bytes = bytes_of(odd[i].data, odd[i].len)};
        mails[N] = (struct mail){.bytes = bytes_message(1 << 20, 0)}; /* one line of 1 MiB */
        memset(mails[N].bytes.data + 100, 'x', (1 << 20) - 200);
        size_t n = steps[s] == 1 ? N : N + 1;
        append_all(b, &m.folder, mails, n, steps[s], &vs);
        reopen(b);
        expect_mails(b, &m.folder, mails, n, &vs);
        verdicts_free(&vs);
        mails_free(mails, N + 1);
        made_free(&m);
    }
}

/* Random line ends, quotes and Froms: what the tables do not think of. */
CONFORM(random_octets_come_back_exactly)
{
    enum { N = 400 };
    static const char *const pieces[] = {"\r\n",
                                         "\n",
                                         "\r",
                                         "From ",
                                         ">",
                                         "Fro",
                                         "a",
                                         "\r\n\r\n",
                                         "\n\n",
                                         "Subject: x\r\n",
                                         "From x Sun Nov 22 12:00:00 2026\n",
                                         " ",
                                         "\t"};
    static struct mail mails[N];
    struct made m;
    struct verdicts vs;
    uint64_t seed = 7;
    make_folder(b->c, b->s, "Random", MH_ROLE_NONE, &m);
    for (size_t i = 0; i < N; i++) {
        struct mh_buf text = MH_BUF_INIT;
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        size_t n = (seed >> 33) % 12;
        unsigned kinds = (seed >> 50) % 2 ? MH_ARRAY_LEN(pieces) : 5;
        for (size_t j = 0; j < n; j++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            mh_buf_adds(&text, pieces[(seed >> 33) % kinds]);
        }
        mails[i] = (struct mail){.bytes = bytes_of(mh_buf_str(&text), text.len)};
        mh_buf_done(&text);
    }
    append_all(b, &m.folder, mails, N, 3, &vs);
    reopen(b);
    expect_mails(b, &m.folder, mails, N, &vs);
    verdicts_free(&vs);
    mails_free(mails, N);
    made_free(&m);
}

CONFORM(flags_keywords_and_dates)
{
    static const struct mail rows[] = {
        {.flags = 0, .date = {1, 0, true}},
        {.flags = MH_SEEN, .date = {951825600, 330, true}},
        {.flags = MH_ANSWERED, .keywords = "$Forwarded", .date = {2147483648, -720, true}},
        {.flags = MH_FLAGGED, .keywords = "NonJunk work", .date = {1795349100, 60, true}},
        {.flags = MH_DELETED, .keywords = "work", .date = {1795349100, 840, true}},
        {.flags = MH_DRAFT},
        {.flags = 0x1f,
         .keywords = "$Forwarded $label1 $MDNSent NonJunk \xc3\xa9t\xc3\xa9",
         .date = {1795349100, -300, true}},
        {.keywords = "a/b 100% [x] %41"},
    };
    enum { N = MH_ARRAY_LEN(rows) };
    struct mail mails[N];
    struct made m;
    struct verdicts vs;
    make_folder(b->c, b->s, "Flags", MH_ROLE_NONE, &m);
    for (size_t i = 0; i < N; i++) {
        mails[i] = rows[i];
        mails[i].bytes = bytes_message(100 + i, (unsigned)i);
    }
    append_all(b, &m.folder, mails, N, 4096, &vs);
    /* Sets come back in their canonical order. */
    mails[6].keywords = "$Forwarded $label1 $MDNSent NonJunk \xc3\xa9t\xc3\xa9";
    mails[7].keywords = "%41 100% [x] a/b";
    expect_mails(b, &m.folder, mails, N, &vs);
    reopen(b);
    expect_mails(b, &m.folder, mails, N, &vs);
    for (size_t i = 0; i < N; i++)
        cr_expect_neq(vs.v[i].uidvalidity, 0u);
    verdicts_free(&vs);
    mails_free(mails, N);
    made_free(&m);
}

CONFORM(flags_can_be_changed)
{
    enum { N = 5 };
    struct mail mails[N];
    struct made m;
    struct verdicts vs;
    struct mh_opened opened;
    make_folder(b->c, b->s, "Change", MH_ROLE_NONE, &m);
    for (size_t i = 0; i < N; i++)
        mails[i] = (struct mail){.bytes = bytes_message(300, (unsigned)i),
                                 .flags = MH_SEEN,
                                 .keywords = "old",
                                 .date = {1000000000 + (int64_t)i, 0, true}};
    append_all(b, &m.folder, mails, N, 4096, &vs);
    uint64_t uids[] = {vs.v[1].uid, vs.v[3].uid, 12345 /* not there */, vs.v[4].uid};
    ASSERT_OK(b->c->select(b->s, &m.folder, true, &opened, &err));
    ASSERT_OK(
        b->c->store_flags(b->s, uids, 4, true, MH_FLAGGED | MH_ANSWERED, "new $Forwarded", &err));
    ASSERT_OK(b->c->store_flags(b->s, uids, 2, false, MH_SEEN | MH_ANSWERED, "old", &err));
    ASSERT_OK(b->c->store_flags(b->s, &uids[3], 1, false, 0, NULL, &err));
    mails[1].flags = mails[3].flags = MH_FLAGGED;
    mails[1].keywords = mails[3].keywords = "$Forwarded new";
    mails[4].flags = MH_SEEN | MH_FLAGGED | MH_ANSWERED;
    mails[4].keywords = "$Forwarded new old";
    expect_mails(b, &m.folder, mails, N, &vs);
    reopen(b);
    expect_mails(b, &m.folder, mails, N, &vs);
    verdicts_free(&vs);
    mails_free(mails, N);
    made_free(&m);
}

CONFORM(twins_are_two_messages)
{
    enum { N = 6 };
    struct mail mails[N];
    struct made m;
    struct verdicts vs;
    make_folder(b->c, b->s, "Twins", MH_ROLE_NONE, &m);
    for (size_t i = 0; i < N; i++)
        mails[i] = (struct mail){.bytes = bytes_message(500, 1), .date = {1000000000, 0, true}};
    append_all(b, &m.folder, mails, 4, 4096, &vs);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < i; j++)
            cr_expect_neq(vs.v[i].uid, vs.v[j].uid);
    expect_mails(b, &m.folder, mails, 4, &vs);
    uint64_t first = vs.v[0].uid;
    verdicts_free(&vs);
    reopen(b); /* two more in another session get uids of their own */
    append_all(b, &m.folder, mails, 2, 4096, &vs);
    cr_expect_neq(vs.v[0].uid, first);
    cr_expect_neq(vs.v[1].uid, vs.v[0].uid);
    verdicts_free(&vs);
    struct mh_scan scan;
    scan_folder(b->c, b->s, &m.folder, &scan);
    cr_expect_eq(scan.n, 6u);
    cr_expect_not_null(mh_scan_find(&scan, first));
    mh_scan_done(&scan);
    mails_free(mails, N);
    made_free(&m);
}

CONFORM(five_thousand_messages)
{
    enum { N = 5000 };
    static struct mail mails[N];
    struct made m;
    struct verdicts vs;
    make_folder(b->c, b->s, "Many", MH_ROLE_NONE, &m);
    for (size_t i = 0; i < N; i++)
        mails[i] = (struct mail){.bytes = bytes_message(200 + i % 3000, (unsigned)i),
                                 .flags = i % 3 ? MH_SEEN : 0,
                                 .keywords = i % 7 ? NULL : "seven",
                                 .date = {1000000000 + (int64_t)i * 1000, 0, true}};
    append_all(b, &m.folder, mails, N, 8192, &vs);
    expect_mails(b, &m.folder, mails, N, &vs);
    struct mh_scan part;
    struct mh_scan all;
    scan_folder(b->c, b->s, &m.folder, &all);
    ASSERT_OK(mh_scan_init(&part, &err));
    ASSERT_OK(b->c->scan(b->s, all.items[3000].uid, &part, &err));
    cr_expect_eq(part.n, 2000u);
    cr_expect_eq(part.items[0].uid, all.items[3000].uid);
    mh_scan_done(&part);
    mh_scan_done(&all);
    struct mh_folders l = MH_FOLDERS_INIT;
    ASSERT_OK(b->c->list(b->s, MH_LIST_STATUS, &l, &err));
    const struct mh_folder *f = mh_folders_find(&l, "Many");
    cr_assert_not_null(f);
    cr_expect_eq((f->attrs & MH_FOLDER_HAS_STATUS) != 0, !(b->sub->deviations & NO_COUNTS));
    if (f->attrs & MH_FOLDER_HAS_STATUS) {
        cr_expect_eq(f->messages, (uint64_t)N);
        cr_expect(f->size_known);
    }
    mh_folders_done(&l);
    verdicts_free(&vs);
    mails_free(mails, N);
    made_free(&m);
}

/* --- listing by UID --------------------------------------------------------------------------- */

enum { LISTED = 60 };

/* Messages that differ in all that a scan tells; their folder is selected. */
struct listed {
    struct made m;
    struct mh_scan all; /* as scan() from 1 has them */
    uint64_t uids[LISTED];
};

/* The table says it too, so that a connector that loses it does not pass by skipping. */
static bool can_list(const struct bench *b)
{
    cr_assert_eq(b->c->scan_uids != NULL, b->sub->expunge != NULL);
    return b->c->scan_uids != NULL;
}

static void listed_make(struct bench *b, struct listed *l)
{
    static const char *const keywords[] = {NULL, "work", "$Forwarded", "$Forwarded NonJunk work"};
    static struct mail mails[LISTED];
    struct verdicts vs;
    make_folder(b->c, b->s, "Listed", MH_ROLE_NONE, &l->m);
    for (size_t i = 0; i < LISTED; i++)
        mails[i] = (struct mail){.bytes = bytes_message(100 + 37 * i, (unsigned)i),
                                 .flags = (uint8_t)(i & 0x1f),
                                 .keywords = keywords[i % 4],
                                 .date = {1000000000 + (int64_t)i * 5000, (int16_t)(i * 7), true}};
    append_all(b, &l->m.folder, mails, LISTED, 4096, &vs);
    verdicts_free(&vs);
    mails_free(mails, LISTED);
    scan_folder(b->c, b->s, &l->m.folder, &l->all);
    cr_assert_eq(l->all.n, (size_t)LISTED);
    for (size_t i = 0; i < LISTED; i++)
        l->uids[i] = l->all.items[i].uid;
}

static void listed_free(struct listed *l)
{
    mh_scan_done(&l->all);
    made_free(&l->m);
}

/* Both sets have ids of their own: the texts are compared. */
static void expect_same_item(const struct mh_scan *got, const struct mh_item *g,
                             const struct mh_scan *want, const struct mh_item *w)
{
    unsigned long long uid = w->uid;
    cr_assert_eq(g->uid, w->uid);
    cr_expect_eq(g->size, w->size, "UID %llu", uid);
    cr_expect_eq(g->flags, w->flags, "UID %llu", uid);
    cr_expect_eq(g->modseq, w->modseq, "UID %llu", uid);
    cr_expect_eq(g->date.is_set, w->date.is_set, "UID %llu", uid);
    cr_expect_eq(g->date.unix_s, w->date.unix_s, "UID %llu", uid);
    cr_expect_eq(g->date.zone_min, w->date.zone_min, "UID %llu", uid);
    cr_expect_str_eq(mh_kwsets_text(got->kwsets, g->kwset), mh_kwsets_text(want->kwsets, w->kwset),
                     "UID %llu", uid);
}

/* scan_uids() of UIDS gives those of ALL that are among them, each as it is there, and nothing else;
 * N_THERE is how many that must be. */
static void expect_listed(struct bench *b, const struct mh_scan *all, const uint64_t *uids,
                          size_t n, size_t n_there)
{
    struct mh_scan got;
    size_t k = 0;
    ASSERT_OK(mh_scan_init(&got, &err));
    ASSERT_OK(b->c->scan_uids(b->s, uids, n, &got, &err));
    cr_assert_eq(got.n, n_there, "%zu messages are listed, not %zu", got.n, n_there);
    for (size_t i = 0; i < n; i++) {
        const struct mh_item *want = mh_scan_find(all, uids[i]);
        if (!want)
            continue;
        cr_assert_lt(k, got.n, "UID %llu is left out", (unsigned long long)uids[i]);
        expect_same_item(&got, &got.items[k++], all, want);
    }
    cr_expect_eq(k, got.n);
    mh_scan_done(&got);
}

/* Three UIDs that no message has yet. */
static void uids_to_come(struct bench *b, const struct listed *l, uint64_t *uids)
{
    struct mh_opened opened;
    ASSERT_OK(b->c->select(b->s, &l->m.folder, false, &opened, &err));
    uids[0] = MH_MAX(opened.uidnext, l->uids[LISTED - 1] + 1);
    uids[1] = uids[0] + 1;
    uids[2] = uids[0] + 1000000;
}

CONFORM(listing_by_uid)
{
    struct listed l;
    uint64_t some[LISTED];
    size_t n = 0;
    if (!can_list(b))
        return;
    listed_make(b, &l);
    expect_listed(b, &l.all, l.uids, LISTED, LISTED);
    for (size_t i = 0; i < LISTED; i++) /* alone and in pairs, gaps between */
        if (i % 7 == 0 || i % 7 == 2 || i % 7 == 3)
            some[n++] = l.uids[i];
    expect_listed(b, &l.all, some, n, n);
    expect_listed(b, &l.all, &l.uids[0], 1, 1);
    expect_listed(b, &l.all, &l.uids[LISTED - 1], 1, 1);
    some[0] = l.uids[0];
    some[1] = l.uids[LISTED - 1];
    expect_listed(b, &l.all, some, 2, 2);
    uids_to_come(b, &l, &some[2]);
    expect_listed(b, &l.all, &some[2], 3, 0);
    expect_listed(b, &l.all, some, 5, 2);
    listed_free(&l);
}

CONFORM(listing_no_uids)
{
    struct listed l;
    struct mh_scan scan;
    if (!can_list(b))
        return;
    listed_make(b, &l);
    ASSERT_OK(mh_scan_init(&scan, &err));
    ASSERT_OK(b->c->scan_uids(b->s, NULL, 0, &scan, &err));
    cr_expect_eq(scan.n, 0u);
    cr_expect_null(mh_scan_find(&scan, l.uids[0]));
    mh_scan_done(&scan);
    expect_listed(b, &l.all, l.uids, LISTED, LISTED); /* the session goes on */
    struct made empty;                                /* a folder with nothing in it */
    struct mh_opened opened;
    make_folder(b->c, b->s, "Empty", MH_ROLE_NONE, &empty);
    ASSERT_OK(b->c->select(b->s, &empty.folder, false, &opened, &err));
    expect_listed(b, &l.all, NULL, 0, 0);
    ASSERT_OK(mh_scan_init(&scan, &err));
    ASSERT_OK(b->c->scan_uids(b->s, l.uids, LISTED, &scan, &err));
    cr_expect_eq(scan.n, 0u);
    mh_scan_done(&scan);
    made_free(&empty);
    listed_free(&l);
}

/* What went, what came and what changed since the folder was opened. */
CONFORM(listing_by_uid_what_has_changed)
{
    struct listed l;
    struct mh_scan now;
    struct verdicts vs;
    struct mail mail = {.flags = MH_DRAFT, .keywords = "late"};
    uint64_t some[LISTED + 1];
    if (!can_list(b))
        return;
    mail.bytes = bytes_message(333, 99);
    listed_make(b, &l);
    memcpy(some, l.uids, sizeof l.uids);
    b->sub->expunge(&b->ep, &l.m.folder, l.uids[0]);
    b->sub->expunge(&b->ep, &l.m.folder, l.uids[30]);
    b->sub->expunge(&b->ep, &l.m.folder, l.uids[31]);
    b->sub->expunge(&b->ep, &l.m.folder, l.uids[LISTED - 1]);
    ASSERT_OK(b->c->store_flags(b->s, &l.uids[40], 2, true, MH_FLAGGED | MH_DELETED, "new", &err));
    append_all(b, &l.m.folder, &mail, 1, 4096, &vs);
    some[LISTED] = vs.v[0].uid;
    ASSERT_OK(mh_scan_init(&now, &err));
    ASSERT_OK(b->c->scan(b->s, 1, &now, &err));
    cr_assert_eq(now.n, (size_t)LISTED - 3);
    expect_listed(b, &now, some, LISTED + 1, LISTED - 3);
    expect_listed(b, &now, &l.uids[29], 4, 2);
    expect_listed(b, &now, &l.uids[30], 2, 0);
    expect_listed(b, &now, &l.uids[40], 1, 1); /* \Deleted is not gone */
    expect_listed(b, &now, &some[LISTED], 1, 1);
    mh_scan_done(&now);
    verdicts_free(&vs);
    bytes_free(&mail.bytes);
    listed_free(&l);
}

/* --- what has changed ------------------------------------------------------------------------- */

/* The table says it too, so that a connector that loses it does not pass by skipping. */
static bool can_tell_changes(const struct bench *b)
{
    bool can = b->c->select_changes && b->c->caps(b->s)->condstore;
    cr_assert_eq(can, !(b->sub->deviations & NO_CHANGES));
    return can;
}

static struct mh_since since_of(const struct mh_opened *o)
{
    return (struct mh_since){.uidvalidity = o->uidvalidity,
                             .uidnext = o->uidnext,
                             .messages = o->messages,
                             .highestmodseq = o->highestmodseq,
                             .messages_known = true};
}

static bool is_gone(const struct mh_changes *c, uint64_t uid)
{
    return c->gone_by == MH_GONE_LISTED       ? mh_uids_has(&c->gone, uid)
           : c->gone_by == MH_GONE_BY_PRESENT ? !mh_uids_has(&c->present, uid)
                                              : false;
}

/* A folder with the messages of struct listed, and how it was before anything changed. */
struct history {
    struct listed l;
    struct mh_opened opened;
    struct mh_since since;
    struct mh_changes changes;
};

static void history_begin(struct bench *b, struct history *h)
{
    *h = (struct history){.changes = {.gone_by = MH_GONE_NONE}};
    listed_make(b, &h->l);
    ASSERT_OK(b->c->select(b->s, &h->l.m.folder, true, &h->opened, &err));
    cr_assert_gt(h->opened.highestmodseq, 0u);
    h->since = since_of(&h->opened);
}

/* What happened since then; the folder is open afterwards as select() would have it. */
static void history_ask(struct bench *b, struct history *h)
{
    struct mh_opened plain;
    mh_changes_done(&h->changes);
    ASSERT_OK(b->c->select_changes(b->s, &h->l.m.folder, &h->since, &h->opened, &h->changes, &err));
    ASSERT_OK(b->c->select(b->s, &h->l.m.folder, false, &plain, &err));
    cr_expect_eq(h->opened.uidvalidity, plain.uidvalidity);
    cr_expect_eq(h->opened.uidnext, plain.uidnext);
    cr_expect_eq(h->opened.messages, plain.messages);
    cr_expect_eq(h->opened.highestmodseq, plain.highestmodseq);
}

static void history_free(struct history *h)
{
    mh_changes_done(&h->changes);
    listed_free(&h->l);
}

/* MH_ENOSUP, and the folder is open all the same. */
static void expect_cannot_tell(struct bench *b, struct history *h)
{
    struct mh_err why;
    mh_err_reset(&why);
    h->opened = (struct mh_opened){0};
    cr_expect_eq(
        b->c->select_changes(b->s, &h->l.m.folder, &h->since, &h->opened, &h->changes, &why),
        MH_ENOSUP);
    cr_expect_neq(why.text[0], '\0');
    cr_expect_neq(h->opened.uidvalidity, 0u);
    cr_expect_eq(h->opened.messages, (uint64_t)LISTED);
    cr_expect_eq(h->changes.scan.n, 0u);
    cr_expect_eq(h->changes.gone_by, MH_GONE_NONE);
    expect_listed(b, &h->l.all, h->l.uids, LISTED, LISTED);
    mh_changes_done(&h->changes);
}

CONFORM(changes_are_told_only_where_the_server_can)
{
    struct history h = {.changes = {.gone_by = MH_GONE_NONE}};
    if (can_tell_changes(b) || !b->c->select_changes)
        return;
    listed_make(b, &h.l);
    h.since = (struct mh_since){.uidvalidity = 1, .uidnext = 1, .highestmodseq = 1};
    expect_cannot_tell(b, &h);
    history_free(&h);
}

CONFORM(no_changes_since_now)
{
    struct history h;
    struct made empty;
    if (!can_tell_changes(b))
        return;
    history_begin(b, &h);
    for (int again = 0; again < 2; again++) {
        history_ask(b, &h);
        cr_expect_eq(h.changes.scan.n, 0u);
        cr_expect_eq(h.changes.gone_by, MH_GONE_NONE);
        expect_listed(b, &h.l.all, h.l.uids, LISTED, LISTED);
        h.since = since_of(&h.opened);
    }
    make_folder(b->c, b->s, "Empty", MH_ROLE_NONE, &empty);
    ASSERT_OK(b->c->select(b->s, &empty.folder, false, &h.opened, &err));
    h.since = since_of(&h.opened);
    mh_changes_done(&h.changes);
    ASSERT_OK(b->c->select_changes(b->s, &empty.folder, &h.since, &h.opened, &h.changes, &err));
    cr_expect_eq(h.changes.scan.n, 0u);
    cr_expect_eq(h.changes.gone_by, MH_GONE_NONE);
    made_free(&empty);
    history_free(&h);
}

/* Exactly UIDS are listed as changed, each as scan() has it now. */
static void expect_changed(struct bench *b, const struct mh_changes *c, const uint64_t *uids,
                           size_t n)
{
    struct mh_scan now;
    ASSERT_OK(mh_scan_init(&now, &err));
    ASSERT_OK(b->c->scan(b->s, 1, &now, &err));
    cr_assert_eq(c->scan.n, n, "%zu messages are listed as changed, not %zu", c->scan.n, n);
    for (size_t i = 0; i < n; i++) {
        const struct mh_item *got = mh_scan_find(&c->scan, uids[i]);
        const struct mh_item *want = mh_scan_find(&now, uids[i]);
        cr_assert_not_null(got, "UID %llu is left out", (unsigned long long)uids[i]);
        cr_assert_not_null(want);
        expect_same_item(&c->scan, got, &now, want);
    }
    mh_scan_done(&now);
}

CONFORM(changes_since_then)
{
    struct history h;
    struct verdicts vs;
    struct mail late[2] = {{.flags = MH_DRAFT, .keywords = "late"}, {.flags = 0}};
    if (!can_tell_changes(b))
        return;
    late[0].bytes = bytes_message(333, 98);
    late[1].bytes = bytes_message(334, 99);
    history_begin(b, &h);
    const uint64_t *uids = h.l.uids;
    static const size_t gone[] = {0, 10, 11, 12, LISTED - 1};
    ASSERT_OK(b->c->store_flags(b->s, &uids[40], 2, true, MH_DELETED, "new", &err));
    ASSERT_OK(b->c->store_flags(b->s, &uids[12], 1, true, MH_DELETED, "new", &err));
    for (size_t i = 0; i < MH_ARRAY_LEN(gone); i++)
        b->sub->expunge(&b->ep, &h.l.m.folder, uids[gone[i]]);
    append_all(b, &h.l.m.folder, late, 2, 4096, &vs);
    b->sub->expunge(&b->ep, &h.l.m.folder, vs.v[1].uid); /* came and went */
    uint64_t changed[] = {uids[40], uids[41], vs.v[0].uid};
    for (int known = 0; known < 2; known++) {
        h.since.messages_known = known;
        /* What is not known must not be used: by this number none would be missing. */
        h.since.messages = known ? LISTED : LISTED - MH_ARRAY_LEN(gone);
        history_ask(b, &h);
        expect_changed(b, &h.changes, changed, 3);
        size_t n_gone = 0;
        for (size_t i = 0; i < LISTED; i++) {
            bool went = false;
            for (size_t k = 0; k < MH_ARRAY_LEN(gone); k++)
                went |= gone[k] == i;
            cr_expect_eq(is_gone(&h.changes, uids[i]), went, "message %zu", i);
            n_gone += is_gone(&h.changes, uids[i]);
        }
        cr_expect_eq(n_gone, MH_ARRAY_LEN(gone));
        cr_expect_not(is_gone(&h.changes, vs.v[0].uid));
    }
    h.since = since_of(&h.opened); /* and that was all */
    history_ask(b, &h);
    cr_expect_eq(h.changes.scan.n, 0u);
    cr_expect_eq(h.changes.gone_by, MH_GONE_NONE);
    verdicts_free(&vs);
    mails_free(late, 2);
    history_free(&h);
}

/* All that was there has gone: nothing is present, and that is said. */
CONFORM(changes_when_all_are_gone)
{
    struct history h;
    if (!can_tell_changes(b))
        return;
    history_begin(b, &h);
    for (size_t i = 0; i < LISTED; i++)
        b->sub->expunge(&b->ep, &h.l.m.folder, h.l.uids[i]);
    history_ask(b, &h);
    cr_expect_eq(h.changes.scan.n, 0u);
    cr_expect_eq(h.opened.messages, 0u);
    for (size_t i = 0; i < LISTED; i++)
        cr_expect(is_gone(&h.changes, h.l.uids[i]));
    history_free(&h);
}

CONFORM(changes_of_another_folder_cannot_be_told)
{
    struct history h;
    struct mh_err why;
    if (!can_tell_changes(b))
        return;
    history_begin(b, &h);
    struct mh_since was = h.since;
    h.since.uidvalidity++;
    expect_cannot_tell(b, &h);
    h.since.uidvalidity = UINT32_MAX;
    expect_cannot_tell(b, &h);
    h.since = was; /* a server that was set back to an older day: what it says now starts anew */
    h.since.highestmodseq += 1000;
    expect_cannot_tell(b, &h);
    h.since.highestmodseq = INT64_MAX;
    expect_cannot_tell(b, &h);
    h.since = was;
    struct mh_folder missing = {.path = (char *)(uintptr_t) "Missing",
                                .native = (char *)(uintptr_t) "Missing"};
    mh_err_reset(&why);
    cr_expect_eq(b->c->select_changes(b->s, &missing, &h.since, &h.opened, &h.changes, &why),
                 MH_ENOENT);
    cr_expect_eq(h.changes.scan.n, 0u);
    history_ask(b, &h); /* the session goes on */
    cr_expect_eq(h.changes.scan.n, 0u);
    history_free(&h);
}

/* Whatever is said of the folder's past, no message is called gone that is there. */
CONFORM(changes_since_a_past_that_never_was)
{
    static const struct {
        const char *name;
        uint64_t uidnext, messages, modseq;
    } rows[] = {
        {"from the beginning", 1, 0, 1},
        {"UIDs beyond", UINT32_MAX, LISTED, 0},
        {"UIDs far beyond", UINT64_MAX, UINT64_MAX, 0},
        {"no UIDs", 0, 0, 0},
        {"more messages", 0, LISTED + 7, 1},
        {"numbers at their ends", 0, UINT64_MAX, 1},
    };
    struct history h;
    if (!can_tell_changes(b))
        return;
    history_begin(b, &h);
    struct mh_since was = h.since;
    b->sub->expunge(&b->ep, &h.l.m.folder, h.l.uids[5]);
    for (size_t r = 0; r < MH_ARRAY_LEN(rows); r++) {
        h.since = was;
        h.since.uidnext = rows[r].uidnext;
        h.since.messages = rows[r].messages;
        if (rows[r].modseq)
            h.since.highestmodseq = rows[r].modseq;
        history_ask(b, &h);
        cr_expect_eq(h.changes.scan.n, rows[r].modseq ? LISTED - 1u : 0u, "%s", rows[r].name);
        for (size_t i = 0; i < LISTED; i++)
            if (i != 5)
                cr_expect_not(is_gone(&h.changes, h.l.uids[i]), "%s: message %zu", rows[r].name, i);
    }
    history_free(&h);
}

/* --- a mirror that lives on changes alone --- */

enum { MIRROR_MAX = 1000 };

struct mirror {
    uint64_t uid[MIRROR_MAX]; /* ascending */
    uint8_t flags[MIRROR_MAX];
    char keywords[MIRROR_MAX][32];
    size_t n;
};

static void mirror_drop(struct mirror *m, size_t at)
{
    m->n--;
    memmove(&m->uid[at], &m->uid[at + 1], (m->n - at) * sizeof m->uid[0]);
    memmove(&m->flags[at], &m->flags[at + 1], (m->n - at) * sizeof m->flags[0]);
    memmove(&m->keywords[at], &m->keywords[at + 1], (m->n - at) * sizeof m->keywords[0]);
}

static void mirror_apply(struct mirror *m, const struct mh_changes *c)
{
    for (size_t i = m->n; i > 0; i--)
        if (is_gone(c, m->uid[i - 1]))
            mirror_drop(m, i - 1);
    for (size_t i = 0; i < c->scan.n; i++) {
        const struct mh_item *item = &c->scan.items[i];
        size_t at = 0;
        while (at < m->n && m->uid[at] != item->uid)
            at++;
        cr_assert_lt(at, (size_t)MIRROR_MAX);
        if (at == m->n) {
            cr_assert(m->n == 0 || m->uid[m->n - 1] < item->uid, "an old message comes as new");
            m->uid[m->n++] = item->uid;
        }
        m->flags[at] = item->flags;
        (void)snprintf(m->keywords[at], sizeof m->keywords[at], "%s",
                       mh_kwsets_text(c->scan.kwsets, item->kwset));
    }
}

static void mirror_check(struct bench *b, const struct mirror *m, unsigned step)
{
    struct mh_scan all;
    ASSERT_OK(mh_scan_init(&all, &err));
    ASSERT_OK(b->c->scan(b->s, 1, &all, &err));
    cr_assert_eq(all.n, m->n, "step %u: %zu messages in the mirror, %zu in the folder", step, m->n,
                 all.n);
    for (size_t i = 0; i < all.n; i++) {
        cr_assert_eq(all.items[i].uid, m->uid[i], "step %u", step);
        cr_assert_eq(all.items[i].flags, m->flags[i], "step %u", step);
        cr_assert_str_eq(mh_kwsets_text(all.kwsets, all.items[i].kwset), m->keywords[i], "step %u",
                         step);
    }
    mh_scan_done(&all);
}

static unsigned long long dice;

static size_t roll(size_t n)
{
    dice = dice * 6364136223846793005ull + 1442695040888963407ull;
    return n ? (size_t)(dice >> 33) % n : 0;
}

/* One thing that users do. */
static void live_on(struct bench *b, struct history *h, const struct mirror *m)
{
    static const char *const words[] = {"", "work", "late work", "$Forwarded"};
    struct mail mail = {.flags = (uint8_t)roll(32), .keywords = words[roll(4)]};
    struct mh_opened opened;
    struct mh_scan all;
    struct verdicts vs;
    ASSERT_OK(mh_scan_init(&all, &err));
    ASSERT_OK(b->c->select(b->s, &h->l.m.folder, true, &opened, &err));
    ASSERT_OK(b->c->scan(b->s, 1, &all, &err));
    uint64_t uid = all.n ? all.items[roll(all.n)].uid : 0;
    size_t what = roll(m->n > MIRROR_MAX / 2 ? 6 : 10);
    if (what < 2 && uid) {
        b->sub->expunge(&b->ep, &h->l.m.folder, uid);
    } else if (what < 6 && uid) {
        ASSERT_OK(b->c->store_flags(b->s, &uid, 1, roll(2) != 0, mail.flags, mail.keywords, &err));
    } else {
        mail.bytes = bytes_message(100 + roll(900), (unsigned)dice);
        append_all(b, &h->l.m.folder, &mail, 1, 4096, &vs);
        verdicts_free(&vs);
        bytes_free(&mail.bytes);
    }
    mh_scan_done(&all);
}

CONFORM(changes_keep_a_mirror_true)
{
    static struct mirror m;
    struct history h;
    if (!can_tell_changes(b))
        return;
    const char *seed = getenv("MH_TEST_SEED");
    dice = seed ? strtoull(seed, NULL, 10) : (unsigned long long)mh_clock_mono_us();
    (void)fprintf(stderr, "MH_TEST_SEED=%llu\n", dice);
    history_begin(b, &h);
    m.n = 0;
    h.since =
        (struct mh_since){.uidvalidity = h.opened.uidvalidity, .uidnext = 1, .highestmodseq = 1};
    for (unsigned step = 0; step < 150; step++) {
        for (size_t k = roll(6); k > 0; k--)
            live_on(b, &h, &m);
        history_ask(b, &h);
        mirror_apply(&m, &h.changes);
        mirror_check(b, &m, step);
        h.since = since_of(&h.opened);
        h.since.messages_known = roll(4) != 0;
    }
    history_free(&h);
}

/* --- moving ----------------------------------------------------------------------------------- */

static bool can_move(const struct bench *b)
{
    bool can = b->c->move && b->c->caps(b->s)->move;
    cr_assert_eq(can, !(b->sub->deviations & NO_MOVE));
    return can;
}

struct moves {
    uint64_t uid[LISTED], new_uid[LISTED];
    size_t n, fail_at; /* the callback fails at this call (1 = first); 0 = never */
};

static int note_move(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    struct moves *m = ctx;
    cr_assert_lt(m->n, (size_t)LISTED);
    for (size_t i = 0; i < m->n; i++)
        cr_assert_neq(m->uid[i], uid, "told twice");
    m->uid[m->n] = uid;
    m->new_uid[m->n++] = new_uid;
    return m->n == m->fail_at ? mh_err_set(err, MH_ELATER, "test", "no room for it") : 0;
}

static uint64_t moved_to(const struct moves *m, uint64_t uid)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->uid[i] == uid)
            return m->new_uid[i];
    return 0;
}

static size_t count_messages(struct bench *b, const struct mh_folder *f)
{
    struct mh_opened opened;
    ASSERT_OK(b->c->select(b->s, f, true, &opened, &err));
    return (size_t)opened.messages;
}

CONFORM(a_move_is_refused_where_the_server_cannot)
{
    struct listed l;
    struct moves moves = {.n = 0};
    struct mh_err why;
    if (can_move(b) || !b->c->move)
        return;
    listed_make(b, &l);
    mh_err_reset(&why);
    cr_expect_eq(b->c->move(b->s, l.uids, 3, &l.m.folder, note_move, &moves, &why), MH_ENOSUP);
    cr_expect_eq(moves.n, 0u);
    expect_listed(b, &l.all, l.uids, LISTED, LISTED);
    listed_free(&l);
}

/* Every third goes; all of it arrives, and the octets are the same. */
CONFORM(moved_messages_keep_what_they_have)
{
    struct listed l;
    struct made to;
    struct moves moves = {.n = 0};
    struct verdicts vs;
    struct mail first = {.flags = 0};
    uint64_t uids[LISTED];
    uint64_t rest[LISTED];
    struct mh_scan after;
    struct collector got;
    size_t n = 0;
    if (!can_move(b))
        return;
    first.bytes = bytes_message(77, 7);
    listed_make(b, &l);
    make_folder(b->c, b->s, "Elsewhere/deep", MH_ROLE_NONE, &to);
    append_all(b, &to.folder, &first, 1, 4096, &vs);
    for (size_t i = 0; i < LISTED; i++)
        if (i % 3)
            rest[i - n] = l.uids[i];
        else
            uids[n++] = l.uids[i];
    cr_assert_eq(count_messages(b, &l.m.folder), (size_t)LISTED);
    ASSERT_OK(b->c->move(b->s, uids, n, &to.folder, note_move, &moves, &err));
    cr_assert_eq(moves.n, n);
    cr_expect_eq(count_messages(b, &l.m.folder), LISTED - n);
    ASSERT_OK(mh_scan_init(&after, &err));
    ASSERT_OK(b->c->scan_uids(b->s, uids, n, &after, &err));
    cr_expect_eq(after.n, 0u, "%zu have stayed", after.n);
    mh_scan_done(&after);
    expect_listed(b, &l.all, rest, LISTED - n, LISTED - n);
    scan_folder(b->c, b->s, &to.folder, &after);
    cr_assert_eq(after.n, n + 1);
    cr_expect_not_null(mh_scan_find(&after, vs.v[0].uid), "what was there before is gone");
    const struct mh_item **items = item_list(&after);
    collector_init(&got);
    ASSERT_OK(b->c->fetch(b->s, items, after.n, &got.sink, &err));
    for (size_t i = 0; i < LISTED; i += 3) {
        const struct mh_item *was = &l.all.items[i];
        const struct mh_item *is = mh_scan_find(&after, moved_to(&moves, was->uid));
        cr_assert_not_null(is, "message %zu has not arrived", i);
        cr_expect_neq(is->uid, vs.v[0].uid);
        struct mh_item same = *is;
        same.uid = was->uid;
        same.modseq = was->modseq;
        expect_same_item(&after, &same, &l.all, was);
        cr_expect_eq(is->object_id, was->object_id);
        cr_expect_eq(is->object_id != 0, b->c->caps(b->s)->object_id);
        struct bytes want = bytes_message(100 + 37 * i, (unsigned)i);
        const struct got *g = &got.v[is - after.items];
        cr_expect(g->bytes.len == want.len && memcmp(g->bytes.data, want.data, want.len) == 0,
                  "message %zu came with other octets", i);
        bytes_free(&want);
    }
    collector_free(&got);
    free(items);
    mh_scan_done(&after);
    verdicts_free(&vs);
    bytes_free(&first.bytes);
    made_free(&to);
    listed_free(&l);
}

CONFORM(moving_what_is_not_there)
{
    struct listed l;
    struct made to;
    struct moves moves = {.n = 0};
    uint64_t beyond[3];
    if (!can_move(b))
        return;
    listed_make(b, &l);
    make_folder(b->c, b->s, "Elsewhere", MH_ROLE_NONE, &to);
    uids_to_come(b, &l, beyond);
    cr_assert_eq(count_messages(b, &l.m.folder), (size_t)LISTED);
    ASSERT_OK(b->c->move(b->s, NULL, 0, &to.folder, note_move, &moves, &err));
    ASSERT_OK(b->c->move(b->s, beyond, 3, &to.folder, note_move, &moves, &err));
    b->sub->expunge(&b->ep, &l.m.folder, l.uids[0]);
    b->sub->expunge(&b->ep, &l.m.folder, l.uids[2]);
    ASSERT_OK(b->c->move(b->s, &l.uids[0], 1, &to.folder, note_move, &moves, &err));
    cr_expect_eq(moves.n, 0u);
    uint64_t uids[] = {l.uids[0], l.uids[1], l.uids[2], l.uids[3], beyond[0], beyond[2]};
    ASSERT_OK(b->c->move(b->s, uids, 6, &to.folder, note_move, &moves, &err));
    cr_assert_eq(moves.n, 2u);
    cr_expect_neq(moved_to(&moves, l.uids[1]), 0u);
    cr_expect_neq(moved_to(&moves, l.uids[3]), 0u);
    ASSERT_OK(b->c->move(b->s, uids, 6, &to.folder, note_move, &moves, &err)); /* once more */
    cr_expect_eq(moves.n, 2u);
    cr_expect_eq(count_messages(b, &to.folder), 2u);
    cr_expect_eq(count_messages(b, &l.m.folder), LISTED - 4u);
    made_free(&to);
    listed_free(&l);
}

CONFORM(moving_to_odd_places)
{
    struct listed l;
    struct made to;
    struct moves moves = {.n = 0};
    struct mh_err why;
    struct mh_folder missing = {.path = (char *)(uintptr_t) "Missing",
                                .native = (char *)(uintptr_t) "Missing"};
    if (!can_move(b))
        return;
    listed_make(b, &l);
    make_folder(b->c, b->s, "Elsewhere", MH_ROLE_NONE, &to);
    cr_assert_eq(count_messages(b, &l.m.folder), (size_t)LISTED);
    mh_err_reset(&why);
    cr_expect_eq(b->c->move(b->s, l.uids, LISTED, &missing, note_move, &moves, &why), MH_ENOENT);
    cr_expect_neq(why.text[0], '\0');
    cr_expect_eq(moves.n, 0u);
    expect_listed(b, &l.all, l.uids, LISTED, LISTED);
    /* Into the folder it lies in: refused or done, but nothing is lost or doubled. */
    (void)!b->c->move(b->s, &l.uids[4], 3, &l.m.folder, note_move, &moves, &why);
    cr_expect_eq(count_messages(b, &l.m.folder), (size_t)LISTED);
    /* The caller gives up in the middle: each message lies in one of the two. */
    moves = (struct moves){.fail_at = 5};
    cr_expect_eq(b->c->move(b->s, &l.uids[10], 20, &to.folder, note_move, &moves, &why), MH_ELATER);
    cr_expect_str_eq(why.text, "no room for it");
    cr_expect_eq(moves.n, 5u);
    cr_expect_eq(count_messages(b, &l.m.folder) + count_messages(b, &to.folder), (size_t)LISTED);
    made_free(&to);
    listed_free(&l);
}

/* A move is a going here and a coming there. */
CONFORM(moves_are_changes_on_both_sides)
{
    struct history h;
    struct made to;
    struct moves moves = {.n = 0};
    struct mh_opened before;
    struct mh_opened after;
    struct mh_changes there = {.gone_by = MH_GONE_NONE};
    if (!can_move(b) || !can_tell_changes(b))
        return;
    history_begin(b, &h);
    make_folder(b->c, b->s, "Elsewhere", MH_ROLE_NONE, &to);
    ASSERT_OK(b->c->select(b->s, &to.folder, false, &before, &err));
    ASSERT_OK(b->c->select(b->s, &h.l.m.folder, true, &after, &err));
    ASSERT_OK(b->c->move(b->s, &h.l.uids[20], 10, &to.folder, note_move, &moves, &err));
    history_ask(b, &h);
    cr_expect_eq(h.changes.scan.n, 0u);
    for (size_t i = 0; i < LISTED; i++)
        cr_expect_eq(is_gone(&h.changes, h.l.uids[i]), i >= 20 && i < 30, "message %zu", i);
    struct mh_since since = since_of(&before);
    ASSERT_OK(b->c->select_changes(b->s, &to.folder, &since, &after, &there, &err));
    expect_changed(b, &there, moves.new_uid, 10);
    cr_expect_eq(there.gone_by, MH_GONE_NONE);
    mh_changes_done(&there);
    made_free(&to);
    history_free(&h);
}

/* --- renaming --------------------------------------------------------------------------------- */

static bool can_rename(const struct bench *b)
{
    bool can = b->c->rename && b->c->caps(b->s)->rename;
    cr_assert_eq(can, !(b->sub->deviations & NO_RENAME));
    return can;
}

static int rename_folder(struct bench *b, struct made *m, const char *path, struct mh_err *err)
{
    struct made now = {.folder = {.role = m->folder.role}};
    int rc = b->c->rename(b->s, &m->folder, path, &now.folder.path, &now.folder.native, err);
    if (rc < 0)
        return rc;
    made_free(m);
    *m = now;
    return 0;
}

CONFORM(a_rename_is_refused_where_the_server_cannot)
{
    struct made m;
    struct mh_folders l = MH_FOLDERS_INIT;
    struct mh_err why;
    if (can_rename(b) || !b->c->rename)
        return;
    make_with_mail(b, "Old", 1, &m);
    mh_err_reset(&why);
    cr_expect_eq(rename_folder(b, &m, "New", &why), MH_ENOSUP);
    ASSERT_OK(b->c->list(b->s, MH_LIST_STATUS, &l, &err));
    (void)expect_folder(b, &l, "Old", 1);
    cr_expect_null(mh_folders_find(&l, "New"));
    mh_folders_done(&l);
    made_free(&m);
}

CONFORM(a_renamed_folder_takes_all_along)
{
    static const struct {
        const char *before, *after;
    } rows[] = {
        {"Work", "Jobs/2020/Work %41"},
        {"Work/a", "Jobs/2020/Work %41/a"},
        {"Work/a/b", "Jobs/2020/Work %41/a/b"},
        {"Workshop", "Workshop"},
        {"Work.x", "Work.x"},
        {"Other/Work", "Other/Work"},
    };
    enum { N = MH_ARRAY_LEN(rows) };
    struct made m[N];
    uint64_t ids[N];
    struct mh_folders l = MH_FOLDERS_INIT;
    if (!can_rename(b))
        return;
    for (unsigned i = 0; i < N; i++)
        make_with_mail(b, rows[i].before, i, &m[i]);
    ASSERT_OK(b->c->subscribe(b->s, &m[0].folder, &err));
    ASSERT_OK(b->c->subscribe(b->s, &m[2].folder, &err));
    ASSERT_OK(b->c->list(b->s, MH_LIST_STATUS, &l, &err));
    for (size_t i = 0; i < N; i++)
        ids[i] = mh_folders_find(&l, rows[i].before)->object_id;
    mh_folders_done(&l);
    ASSERT_OK(rename_folder(b, &m[0], rows[0].after, &err));
    cr_expect_str_eq(m[0].folder.path, rows[0].after);
    for (int again = 0; again < 2; again++) {
        l = (struct mh_folders)MH_FOLDERS_INIT;
        ASSERT_OK(b->c->list(b->s, MH_LIST_STATUS, &l, &err));
        for (unsigned i = 0; i < N; i++) {
            const struct mh_folder *f = expect_folder(b, &l, rows[i].after, i);
            cr_expect_eq((f->attrs & MH_FOLDER_SUBSCRIBED) != 0, i == 0 || i == 2, "%s", f->path);
            cr_expect_eq(f->object_id, ids[i], "%s", f->path);
            cr_expect_eq(f->object_id != 0, b->c->caps(b->s)->object_id);
            if (strcmp(rows[i].before, rows[i].after) != 0)
                cr_expect_null(mh_folders_find(&l, rows[i].before), "%s is still there",
                               rows[i].before);
        }
        cr_expect_str_eq(mh_folders_find(&l, rows[0].after)->native, m[0].folder.native);
        cr_expect_not_null(mh_folders_find(&l, "Jobs/2020"), "parents are made");
        mh_folders_done(&l);
        reopen(b);
    }
    for (size_t i = 0; i < N; i++)
        made_free(&m[i]);
}

CONFORM(renames_that_cannot_be)
{
    static const struct {
        const char *name, *from, *to;
        int code; /* 0: any error */
    } rows[] = {
        {"onto another", "A", "B", MH_EEXIST},
        {"onto a folder below another", "A", "B/x", MH_EEXIST},
        {"onto the inbox", "A", "INBOX", MH_EEXIST},
        {"onto itself", "A", "A", 0},
        {"below itself", "A", "A/x", 0},
        {"deep below itself", "A", "A/new/x", 0},
        {"the inbox", "INBOX", "New", 0},
        {"to nothing", "A", "", 0},
    };
    static const char *const paths[] = {"INBOX", "A", "A/x", "B", "B/x"};
    enum { N = MH_ARRAY_LEN(paths) };
    struct made m[N];
    struct mh_folders l = MH_FOLDERS_INIT;
    if (!can_rename(b))
        return;
    for (unsigned i = 0; i < N; i++)
        make_with_mail(b, paths[i], i, &m[i]);
    for (size_t r = 0; r < MH_ARRAY_LEN(rows); r++) {
        struct mh_err why;
        struct made *from = &m[strcmp(rows[r].from, "A") == 0 ? 1 : 0];
        mh_err_reset(&why);
        int rc = rename_folder(b, from, rows[r].to, &why);
        cr_expect(rows[r].code ? rc == rows[r].code : rc < 0, "%s: %s", rows[r].name,
                  mh_code_name(rc));
        cr_expect_neq(why.text[0], '\0', "%s", rows[r].name);
        l = (struct mh_folders)MH_FOLDERS_INIT;
        ASSERT_OK(b->c->list(b->s, MH_LIST_STATUS, &l, &err));
        cr_expect_eq(l.n, (size_t)N, "%s: %zu folders", rows[r].name, l.n);
        for (unsigned i = 0; i < N; i++)
            (void)expect_folder(b, &l, paths[i], i);
        mh_folders_done(&l);
    }
    struct made gone = {.folder = {.path = mh_strdup("Gone"), .native = mh_strdup("Gone")}};
    struct mh_err why;
    mh_err_reset(&why);
    cr_expect_eq(rename_folder(b, &gone, "New", &why), MH_ENOENT);
    made_free(&gone);
    /* What stands in the way may go out of the way. */
    ASSERT_OK(rename_folder(b, &m[3], "C", &err));
    ASSERT_OK(rename_folder(b, &m[1], "B", &err));
    l = (struct mh_folders)MH_FOLDERS_INIT;
    ASSERT_OK(b->c->list(b->s, MH_LIST_STATUS, &l, &err));
    (void)expect_folder(b, &l, "B", 1);
    (void)expect_folder(b, &l, "B/x", 2);
    (void)expect_folder(b, &l, "C", 3);
    (void)expect_folder(b, &l, "C/x", 4);
    mh_folders_done(&l);
    for (size_t i = 0; i < N; i++)
        made_free(&m[i]);
}

/* To each odd name, below another folder, and from there to the next. */
CONFORM(renames_to_hostile_names)
{
    struct made m;
    if (!can_rename(b))
        return;
    make_with_mail(b, "Start", 5, &m);
    for (size_t i = 0; i < MH_ARRAY_LEN(hostile); i++) {
        struct mh_buf path = MH_BUF_INIT;
        struct mh_folders l = MH_FOLDERS_INIT;
        char *planned = NULL;
        char *native = NULL;
        mh_buf_adds(&path, "Top.1/");
        mh_path_add_component(&path, hostile[i].raw, hostile[i].len);
        ASSERT_OK(b->c->plan_name(b->s, mh_buf_str(&path), &planned, &native, &err));
        ASSERT_OK(rename_folder(b, &m, mh_buf_str(&path), &err));
        cr_expect_str_eq(m.folder.path, planned, "%s", hostile[i].name);
        cr_expect_str_eq(m.folder.native, native, "%s", hostile[i].name);
        ASSERT_OK(b->c->list(b->s, MH_LIST_STATUS, &l, &err));
        (void)expect_folder(b, &l, planned, 5);
        cr_expect_null(mh_folders_find(&l, "Start"));
        mh_folders_done(&l);
        mh_free(planned);
        mh_free(native);
        mh_buf_done(&path);
    }
    made_free(&m);
}

/* --- several folders, several verdicts --------------------------------------------------------- */

CONFORM(two_folders_in_one_session)
{
    struct made one;
    struct made two;
    struct verdicts vs1;
    struct verdicts vs2;
    struct mail m1 = {.bytes = bytes_message(1000, 1)};
    struct mail m2 = {.bytes = bytes_message(2000, 2)};
    make_folder(b->c, b->s, "One", MH_ROLE_NONE, &one);
    make_folder(b->c, b->s, "Two", MH_ROLE_NONE, &two);
    append_all(b, &one.folder, &m1, 1, 100, &vs1);
    append_all(b, &two.folder, &m2, 1, 100, &vs2);
    expect_mails(b, &one.folder, &m1, 1, &vs1);
    expect_mails(b, &two.folder, &m2, 1, &vs2);
    verdicts_free(&vs1);
    verdicts_free(&vs2);
    bytes_free(&m1.bytes);
    bytes_free(&m2.bytes);
    made_free(&one);
    made_free(&two);
}

/* A verdict comes without anybody flushing, unless the batch is still open. */
CONFORM(verdicts_come_by_themselves)
{
    struct made m;
    struct verdicts vs;
    struct mail mail = {.bytes = bytes_message(1000, 1)};
    make_folder(b->c, b->s, "Verdicts", MH_ROLE_NONE, &m);
    verdicts_init(&vs, 1);
    ASSERT_OK(b->c->append_open(b->s, &m.folder, &vs.sink, &err));
    ASSERT_OK(send_mail(b->r, b->c, b->s, &mail, 0, 100, &err));
    if (b->sub->deviations & BATCHES)
        ASSERT_OK(b->c->append_cut(b->s, &err));
    int64_t patience = mh_now_ms() + 30000;
    while (vs.n == 0 && mh_now_ms() < patience)
        cr_assert_eq(mh_sleep_until(mh_now_ms() + 1), 0);
    cr_expect_eq(vs.n, 1u);
    verdicts_free(&vs);
    bytes_free(&mail.bytes);
    made_free(&m);
}

/* --- what goes wrong -------------------------------------------------------------------------- */

struct stock {
    struct made folder;
    struct mail *mails;
    size_t n;
    struct verdicts vs;
    struct mh_scan scan;
    const struct mh_item **items;
};

static void stock_make(struct bench *b, struct stock *st, size_t n, size_t size)
{
    make_folder(b->c, b->s, "Stock", MH_ROLE_NONE, &st->folder);
    st->n = n;
    st->mails = calloc(n, sizeof *st->mails);
    for (size_t i = 0; i < n; i++)
        st->mails[i].bytes = bytes_message(size, (unsigned)i);
    append_all(b, &st->folder.folder, st->mails, n, 65536, &st->vs);
    scan_folder(b->c, b->s, &st->folder.folder, &st->scan);
    st->items = item_list(&st->scan);
}

static void stock_free(struct stock *st)
{
    mails_free(st->mails, st->n);
    free(st->mails);
    free(st->items);
    verdicts_free(&st->vs);
    mh_scan_done(&st->scan);
    made_free(&st->folder);
}

CONFORM(a_vanished_message_is_missed_once)
{
    struct stock st;
    struct collector got;
    struct mh_item gone = {.uid = 4711, .size = 10};
    stock_make(b, &st, 3, 1000);
    const struct mh_item *items[] = {st.items[0], &gone, st.items[1], st.items[2], &gone};
    collector_init(&got);
    ASSERT_OK(b->c->fetch(b->s, items, 5, &got.sink, &err));
    cr_assert_eq(got.n, 5u);
    for (size_t i = 0; i < 5; i++) {
        cr_expect_eq(got.v[i].uid, items[i]->uid);
        cr_expect_eq(got.v[i].missed, items[i] == &gone);
        if (got.v[i].missed) {
            cr_expect_eq(got.v[i].why, MH_EITEM);
            cr_expect_str_eq(got.v[i].reason, "vanished");
        }
    }
    collector_free(&got);
    stock_free(&st);
}

CONFORM(a_failing_sink_ends_the_fetch)
{
    struct stock st;
    stock_make(b, &st, 20, 30000);
    static const enum fail_at points[] = {FAIL_BEGIN, FAIL_DATA, FAIL_END, FAIL_MISSED};
    struct mh_item gone = {.uid = 4711};
    for (size_t i = 0; i < MH_ARRAY_LEN(points); i++) {
        for (size_t after = 0; after < 12; after += 5) {
            struct collector got;
            struct mh_err err;
            mh_err_reset(&err);
            collector_init(&got);
            got.fail_at = points[i];
            got.fail_after = points[i] == FAIL_MISSED ? 0 : after;
            const struct mh_item *items[21];
            for (size_t j = 0; j < 20; j++)
                items[j] = st.items[j];
            items[20] = &gone;
            cr_expect_eq(b->c->fetch(b->s, items, 21, &got.sink, &err), MH_ELATER);
            cr_expect_str_eq(err.text, "the sink is full");
            collector_free(&got);
        }
    }
    struct collector got; /* and the session goes on */
    collector_init(&got);
    ASSERT_OK(b->c->fetch(b->s, st.items, 20, &got.sink, &err));
    cr_expect_eq(got.n, 20u);
    collector_free(&got);
    stock_free(&st);
}

CONFORM(a_slow_sink_gets_everything)
{
    struct stock st;
    struct collector got;
    stock_make(b, &st, 12, 150000);
    collector_init(&got);
    got.waits = true;
    ASSERT_OK(b->c->fetch(b->s, st.items, 12, &got.sink, &err));
    cr_assert_eq(got.n, 12u);
    for (size_t i = 0; i < 12; i++)
        cr_expect(got.v[i].ended);
    collector_free(&got);
    stock_free(&st);
}

struct cancel_job {
    struct bench *b;
    struct stock *st;
    struct collector got;
    struct mh_task *self;
    int rc;
    bool waits;
};

static void fetch_task(void *arg)
{
    struct cancel_job *job = arg;
    struct mh_err err;
    job->got.cancel = mh_task_self();
    job->got.waits = job->waits;
    job->rc = job->b->c->fetch(job->b->s, job->st->items, job->st->n, &job->got.sink, &err);
}

CONFORM(a_cancelled_fetch_stops)
{
    struct stock st;
    stock_make(b, &st, 40, 400000);
    for (int waits = 0; waits < 2; waits++) {
        struct cancel_job job = {.b = b, .st = &st, .waits = waits};
        collector_init(&job.got);
        job.got.drops = true;
        ASSERT_OK(mh_task_spawn(b->r->sched, "fetch", fetch_task, &job, &job.self, &err));
        mh_task_join(job.self);
        cr_expect_eq(job.rc, MH_ECANCEL, "%s", mh_code_name(job.rc));
        cr_expect_lt(job.got.n, 40u, "it went on to the end");
        struct mh_pool_stats stats;
        mh_pool_stats(b->r->pool, &stats);
        cr_expect_leq(stats.in_use_bytes, MH_SLAB_BYTES, "slabs were kept");
        collector_free(&job.got);
    }
    struct collector got; /* the session goes on */
    collector_init(&got);
    ASSERT_OK(b->c->fetch(b->s, st.items, 2, &got.sink, &err));
    cr_expect_eq(got.n, 2u);
    collector_free(&got);
    stock_free(&st);
}

/* Closing in the middle: every message that was begun gets one verdict, what has none is not there in
 * part, and what was acknowledged is there. */
CONFORM(closing_in_the_middle)
{
    struct made m;
    struct verdicts vs;
    struct mail mail = {.bytes = bytes_message(100000, 1)};
    struct mh_append what = {.octets = 500000, .cookie = 3};
    make_folder(b->c, b->s, "Close", MH_ROLE_NONE, &m);
    verdicts_init(&vs, 4);
    ASSERT_OK(b->c->append_open(b->s, &m.folder, &vs.sink, &err));
    ASSERT_OK(send_mail(b->r, b->c, b->s, &mail, 0, 65536, &err));
    ASSERT_OK(b->c->append_flush(b->s, &err));
    ASSERT_OK(send_mail(b->r, b->c, b->s, &mail, 1, 65536, &err));
    ASSERT_OK(send_mail(b->r, b->c, b->s, &mail, 2, 65536, &err));
    ASSERT_OK(b->c->append_begin(b->s, &what, &err));
    for (int i = 0; i < 5; i++) {
        send_slab(b->r, b->c, b->s);
        mh_yield();
    }
    reopen(b);
    cr_expect_eq(vs.n, 4u, "%zu verdicts", vs.n);
    cr_expect_eq(vs.v[0].code, 0);
    size_t stored = 0;
    for (size_t i = 0; i < 3; i++) {
        stored += vs.v[i].code == 0;
        cr_expect(vs.v[i].code == 0 || vs.v[i].code == MH_ERETRY);
    }
    cr_expect_eq(vs.v[3].code, MH_ERETRY);
    struct mh_scan scan;
    struct collector got;
    scan_folder(b->c, b->s, &m.folder, &scan);
    cr_expect_eq(scan.n, stored);
    const struct mh_item **items = item_list(&scan);
    collector_init(&got);
    ASSERT_OK(b->c->fetch(b->s, items, scan.n, &got.sink, &err));
    cr_expect_eq(got.n, scan.n);
    for (size_t i = 0; i < got.n; i++) {
        cr_expect_eq(got.v[i].bytes.len, mail.bytes.len);
        cr_expect(memcmp(got.v[i].bytes.data, mail.bytes.data, mail.bytes.len) == 0);
    }
    collector_free(&got);
    free(items);
    mh_scan_done(&scan);
    verdicts_free(&vs);
    /* And it can be written to again. */
    append_all(b, &m.folder, &mail, 1, 65536, &vs);
    scan_folder(b->c, b->s, &m.folder, &scan);
    cr_expect_eq(scan.n, stored + 1);
    mh_scan_done(&scan);
    verdicts_free(&vs);
    bytes_free(&mail.bytes);
    made_free(&m);
}

/* --- from one to the other -------------------------------------------------------------------- */

/* A sink that appends to another session, as the engine's does. */
struct pump {
    struct mh_sink sink;
    const struct mh_connector *to;
    struct mh_session *session;
    uint64_t cookie;
};

static int pump_begin(struct mh_sink *sink, const struct mh_item *item, uint64_t octets,
                      struct mh_err *err)
{
    struct pump *p = mh_container_of(sink, struct pump, sink);
    struct mh_append what = {
        .date = item->date, .flags = item->flags, .octets = octets, .cookie = p->cookie++};
    return p->to->append_begin(p->session, &what, err);
}

static int pump_data(struct mh_sink *sink, struct mh_slice slice_take, struct mh_err *err)
{
    struct pump *p = mh_container_of(sink, struct pump, sink);
    return p->to->append_data(p->session, slice_take, err);
}

static int pump_end(struct mh_sink *sink, struct mh_err *err)
{
    struct pump *p = mh_container_of(sink, struct pump, sink);
    return p->to->append_end(p->session, err);
}

static int pump_missed(struct mh_sink *sink, const struct mh_item *item, const struct mh_err *why,
                       struct mh_err *err)
{
    (void)sink, (void)err;
    cr_assert_fail("message %llu was missed: %s", (unsigned long long)item->uid, why->text);
    return 0;
}

/* Messages of 20 MB through a pool of 8 MiB into every other kind of mailbox, and odd ones. */
CONFORM(copying_to_every_other)
{
    enum { N = 9 };
    struct stock st = {.n = N, .mails = calloc(N, sizeof *st.mails)};
    make_folder(b->c, b->s, "Stock", MH_ROLE_NONE, &st.folder);
    for (size_t i = 0; i < N; i++)
        st.mails[i] =
            (struct mail){.bytes = bytes_message(i % 4 == 1 ? 20000000 : 3000 * i, (unsigned)i),
                          .flags = (uint8_t)i,
                          .date = {1000000000 + (int64_t)i, 0, true}};
    append_all(b, &st.folder.folder, st.mails, N, 65536, &st.vs);
    scan_folder(b->c, b->s, &st.folder.folder, &st.scan);
    st.items = item_list(&st.scan);
    for (size_t i = 0; i < MH_ARRAY_LEN(subjects); i++) {
        struct bench other = {.r = b->r, .sub = &subjects[i], .c = subjects[i].connector};
        struct made m;
        struct verdicts vs;
        other.sub->setup(b->r, "other", &other.ep);
        ASSERT_OK(other.c->open(&other.ep, &b->r->env, true, &other.s, &err));
        make_folder(other.c, other.s, "Copy", MH_ROLE_NONE, &m);
        verdicts_init(&vs, N);
        ASSERT_OK(other.c->append_open(other.s, &m.folder, &vs.sink, &err));
        struct pump pump = {.sink = {pump_begin, pump_data, pump_end, pump_missed},
                            .to = other.c,
                            .session = other.s};
        ASSERT_OK(b->c->fetch(b->s, st.items, N, &pump.sink, &err));
        ASSERT_OK(other.c->append_flush(other.s, &err));
        cr_assert_eq(vs.n, (size_t)N);
        struct mail mails[N] = {{.flags = 0}};
        for (size_t j = 0; j < N; j++)
            for (size_t k = 0; k < N; k++)
                if (st.vs.v[k].uid == st.items[j]->uid)
                    mails[j] = st.mails[k];
        expect_mails(&other, &m.folder, mails, N, &vs);
        other.c->close(other.s);
        other.sub->teardown(&other.ep);
        char *command = mh_asprintf("rm -rf '%s/other'", b->r->dir);
        cr_assert_eq(system(command), 0);
        mh_free(command);
        mh_endpoint_done(&other.ep);
        verdicts_free(&vs);
        made_free(&m);
    }
    stock_free(&st);
}

/* Several sessions write to one folder at the same time. */
struct writer_job {
    struct bench *b;
    const struct mh_folder *folder;
    unsigned number;
    struct mh_task *task;
};

static void writer_main(void *arg)
{
    struct writer_job *job = arg;
    struct bench b = *job->b;
    struct mail mails[30] = {0};
    struct verdicts vs;
    ASSERT_OK(b.c->open(&b.ep, &b.r->env, false, &b.s, &err));
    for (size_t i = 0; i < 30; i++)
        mails[i] = (struct mail){.bytes = bytes_message(40000, job->number * 100 + (unsigned)i),
                                 .flags = MH_SEEN,
                                 .keywords = job->number % 2 ? "odd" : "even"};
    append_all(&b, job->folder, mails, 30, 30000, &vs);
    b.c->close(b.s);
    mails_free(mails, 30);
    verdicts_free(&vs);
}

CONFORM(several_writers_to_one_folder)
{
    struct made m;
    struct writer_job jobs[4];
    make_folder(b->c, b->s, "Shared", MH_ROLE_NONE, &m);
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = (struct writer_job){b, &m.folder, i, NULL};
        ASSERT_OK(mh_task_spawn(b->r->sched, "writer", writer_main, &jobs[i], &jobs[i].task, &err));
    }
    for (unsigned i = 0; i < 4; i++)
        mh_task_join(jobs[i].task);
    struct mh_scan scan;
    scan_folder(b->c, b->s, &m.folder, &scan);
    cr_expect_eq(scan.n, 120u);
    const struct mh_item **items = item_list(&scan);
    struct collector got;
    collector_init(&got);
    ASSERT_OK(b->c->fetch(b->s, items, scan.n, &got.sink, &err));
    cr_expect_eq(got.n, scan.n);
    bool seen[400] = {false};
    for (size_t i = 0; i < got.n; i++) {
        unsigned number = 0;
        cr_assert_eq(sscanf((char *)got.v[i].bytes.data, "Subject: message %u", &number), 1);
        cr_assert(number < 400 && !seen[number]);
        seen[number] = true;
        struct bytes want = bytes_message(40000, number);
        cr_expect(got.v[i].bytes.len == 40000 &&
                  memcmp(got.v[i].bytes.data, want.data, 40000) == 0);
        bytes_free(&want);
        const char *keywords = mh_kwsets_text(scan.kwsets, items[i]->kwset);
        cr_expect_str_eq(keywords, number / 100 % 2 ? "odd" : "even");
    }
    collector_free(&got);
    free(items);
    mh_scan_done(&scan);
    made_free(&m);
}

/* --- around the mail -------------------------------------------------------------------------- */

static int count_entry(void *ctx, const char *name, const char *value, size_t len)
{
    cr_expect_str_eq(name, "/private/comment");
    cr_expect_eq(len, 5u);
    cr_expect(memcmp(value, "a\0b\r\n", 5) == 0);
    ++*(int *)ctx;
    return 0;
}

CONFORM(rights_and_metadata)
{
    struct made m;
    make_folder(b->c, b->s, "Around", MH_ROLE_NONE, &m);
    cr_expect_eq(b->c->acl_get == NULL, (b->sub->deviations & NO_ACL) != 0);
    cr_expect_eq(b->c->metadata_get == NULL, (b->sub->deviations & NO_METADATA) != 0);
    cr_expect_eq(b->c->caps(b->s)->acl, b->c->acl_get != NULL);
    cr_expect_eq(b->c->caps(b->s)->metadata, b->c->metadata_get != NULL);
    if (b->c->acl_get) {
        struct mh_buf lines = MH_BUF_INIT;
        ASSERT_OK(b->c->acl_set(b->s, &m.folder, "anna", "lr", &err));
        ASSERT_OK(b->c->acl_set(b->s, &m.folder, "bob", "lrs", &err));
        ASSERT_OK(b->c->acl_set(b->s, &m.folder, "anna", "lrswipkxtea", &err));
        ASSERT_OK(b->c->acl_get(b->s, &m.folder, &lines, &err));
        cr_expect_str_eq(mh_buf_str(&lines), "anna lrswipkxtea\nbob lrs\n");
        mh_buf_done(&lines);
    }
    if (b->c->metadata_get) {
        int n = 0;
        ASSERT_OK(b->c->metadata_set(b->s, &m.folder, "/private/comment", "old", 3, &err));
        ASSERT_OK(b->c->metadata_set(b->s, &m.folder, "/private/comment", "a\0b\r\n", 5, &err));
        ASSERT_OK(b->c->metadata_get(b->s, &m.folder, count_entry, &n, &err));
        cr_expect_eq(n, 1);
    }
    if (b->c->quota && b->c->caps(b->s)->quota) {
        struct mh_quota q;
        ASSERT_OK(b->c->quota(b->s, &q, &err));
        cr_expect(q.known);
        cr_expect_gt(q.limit_bytes, 0u);
    }
    made_free(&m);
}

/* --- out of memory ---------------------------------------------------------------------------- */

static int list_one(struct bench *b, struct mh_session *s, uint64_t uid, struct mh_err *err)
{
    struct mh_scan scan = {.n = 0};
    int rc = mh_scan_init(&scan, err);
    if (rc == 0)
        rc = b->c->scan_uids(s, &uid, 1, &scan, err);
    cr_expect(rc < 0 || scan.n == 1);
    mh_scan_done(&scan);
    return rc;
}

static int note_nothing(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    (void)ctx, (void)uid, (void)new_uid, (void)err;
    return 0;
}

/* What only some can; UID lies in F. */
static int change_things(struct bench *b, struct mh_session *s, const struct mh_folder *f,
                         uint64_t uid, struct mh_err *err)
{
    static unsigned number; /* each rename to a name of its own */
    struct mh_changes changes = {.gone_by = MH_GONE_NONE};
    struct mh_opened opened = {0};
    struct made to = {.folder = {.path = NULL}};
    char name[32];
    int rc = b->c->select(s, f, true, &opened, err);
    struct mh_since since = {.uidvalidity = opened.uidvalidity, .uidnext = 1, .highestmodseq = 1};
    if (rc == 0 && !(b->sub->deviations & NO_CHANGES))
        rc = b->c->select_changes(s, f, &since, &opened, &changes, err);
    mh_changes_done(&changes);
    if (rc < 0)
        return rc;
    rc = b->c->create(s, "A/Other", MH_ROLE_NONE, &to.folder.path, &to.folder.native, err);
    if (rc < 0)
        return rc;
    if (!(b->sub->deviations & NO_MOVE)) {
        rc = b->c->select(s, f, true, &opened, err);
        if (rc == 0)
            rc = b->c->move(s, &uid, 1, &to.folder, note_nothing, NULL, err);
    }
    made_free(&to);
    if (rc < 0 || (b->sub->deviations & NO_RENAME))
        return rc;
    (void)snprintf(name, sizeof name, "A/New/%u", number++);
    rc = b->c->rename(s, f, name, &to.folder.path, &to.folder.native, err);
    if (rc == 0)
        made_free(&to);
    return rc;
}

/* Everything once; the first error ends it. */
static int everything(struct bench *b, struct mh_err *err)
{
    struct mh_session *s = NULL;
    struct mh_folders l = MH_FOLDERS_INIT;
    struct mh_folder f = {.path = NULL};
    struct mh_opened opened;
    struct mh_scan scan = {.n = 0};
    struct collector got;
    struct verdicts vs;
    struct mail mail = {.bytes = bytes_message(3000, 1), .flags = MH_SEEN, .keywords = "one two"};
    const struct mh_item *item = NULL;
    uint64_t uid = 0;
    collector_init(&got);
    verdicts_init(&vs, 2);
    int rc = b->c->open(&b->ep, &b->r->env, true, &s, err);
    bool is_open = rc == 0;
    if (rc == 0)
        rc = b->c->create(s, "A/B.c", MH_ROLE_SENT, &f.path, &f.native, err);
    bool is_made = rc == 0;
    if (rc == 0)
        rc = b->c->append_open(s, &f, &vs.sink, err);
    for (uint64_t i = 0; rc == 0 && i < 2; i++)
        rc = send_mail(b->r, b->c, s, &mail, i, 1000, err);
    if (rc == 0)
        rc = b->c->append_flush(s, err);
    if (rc == 0)
        rc = b->c->list(s, MH_LIST_STATUS, &l, err);
    if (rc == 0)
        rc = b->c->subscribe(s, &f, err);
    if (rc == 0)
        rc = b->c->select(s, &f, true, &opened, err);
    if (rc == 0)
        rc = mh_scan_init(&scan, err);
    if (rc == 0)
        rc = b->c->scan(s, 1, &scan, err);
    if (rc == 0 && scan.n) {
        item = &scan.items[0];
        uid = item->uid;
        rc = b->c->scan_uids ? list_one(b, s, uid, err) : 0;
    }
    if (rc == 0 && item)
        rc = b->c->store_flags(s, &uid, 1, true, MH_FLAGGED, "three", err);
    if (rc == 0 && item)
        rc = b->c->fetch(s, &item, 1, &got.sink, err);
    if (rc == 0 && item)
        rc = change_things(b, s, &f, uid, err);
    if (is_open)
        b->c->close(s);
    if (is_made) {
        mh_free(f.path);
        mh_free(f.native);
    }
    mh_folders_done(&l);
    mh_scan_done(&scan);
    collector_free(&got);
    verdicts_free(&vs);
    bytes_free(&mail.bytes);
    return rc;
}

CONFORM(out_of_memory_is_a_clean_error)
{
    unsigned failures = 0;
    unsigned in_a_row = 0;
    for (uint64_t nth = 1; nth < 2000 && in_a_row < 3; nth++) {
        struct mh_err err;
        mh_err_reset(&err);
        uint64_t before = mh_mem_calls();
        mh_mem_fail_nth(nth);
        int rc = everything(b, &err);
        bool was_hit = mh_mem_calls() - before >= nth;
        mh_mem_fail_nth(0);
        cr_assert(rc == 0 || rc == MH_ERUN || rc == MH_EITEM || rc == MH_ERETRY ||
                      rc == MH_EMAILBOX,
                  "call %llu: %s: %s", (unsigned long long)nth, mh_code_name(rc), err.text);
        failures += rc < 0;
        in_a_row = was_hit ? 0 : in_a_row + 1;
    }
    cr_expect_gt(failures, 10u, "the hook was not reached");
    cr_expect_geq(in_a_row, 3u, "the end was not reached");
    struct mh_err err;
    mh_err_reset(&err);
    cr_expect_eq(everything(b, &err), 0, "%s", err.text);
}
