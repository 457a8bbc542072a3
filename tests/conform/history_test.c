/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random histories: both sides live between passes, connections break within them, a model says
 * what the target must be after each, and a pass without news changes nothing. MH_TEST_SEED=n
 * repeats one; MH_TEST_ROUNDS=n plays more; MH_TEST_TELL=1 tells the story.
 *
 * The model knows each message by its text. What the source does is carried; what the target's
 * user has moved or removed is left alone, a flag that both have changed is the target's from then
 * on. A folder that is renamed at the source is renamed at the target when it can be known again.
 * When the UIDs of a folder become others on one side, its messages are found again by content, and
 * by the other side's UIDs what was known of them; what nobody can tell then is not looked at.
 */
#include "chance.h"
#include "cut.h"

#define POOL_BYTES (16ull << 20)

enum {
    FOLDERS_AT_FIRST = 4,
    FOLDERS_MAX = 64,
    MESSAGES_MAX = 200,
    PASSES = 8,
    ENOUGH = 20,     /* histories, for chance to be even */
    RUNS_MAX = 4,    /* until a pass with a broken connection is through */
    MISSING_MAX = 3, /* folders that leave their names between two passes; more are not believed */
    FLAGS = MH_SEEN | MH_FLAGGED | MH_ANSWERED,
};

static const char mine[] = "Mine"; /* the target user's own folder */

/* --- the model ----------------------------------------------------------------------------- */

enum place {
    PLACE_QUARANTINE = -2,
    PLACE_NONE = -1,
    PLACE_MINE = 0
}; /* > 0: another of the target's folders */

/* A folder at the source; one that is made again under the same name is another. */
struct model_folder {
    char path[64];
    bool is_there;
    int place; /* at the target; PLACE_NONE: not carried yet */
    /* Made, removed, renamed or renumbered since the last pass: not again before the next. */
    bool is_changed;
    bool is_renamed, is_removed;
    bool is_forgotten; /* its UIDs are others, or there was one of its name before */
    bool is_renumbered, is_renumbered_at_target; /* likewise, on one side */
};

struct model_message {
    char text[96];
    int src, was_src; /* folder, -1: gone; WAS: at the last pass */
    uint64_t src_uid; /* where it lies now */
    bool is_reborn;   /* has left its folder since the last pass */
    uint8_t src_flags, base;
    bool is_carried;
    int dst;        /* enum place */
    bool is_theirs; /* moved or removed by the target's user */
    uint8_t dst_flags, theirs;
    /* Flags that both have changed alike while a connection broke: nobody knows whose they are. */
    uint8_t unsure;
    /*
     * What was forgotten while a copy of it lay at the target is there more than once: so many
     * more at most.
     */
    unsigned extras;
    bool is_adopted; /* was found by content: who put it there is not known for certain */
    bool is_wild;    /* the target's user had taken it away, and that was forgotten */
};

static struct model_folder folders[FOLDERS_MAX];
static int n_folders;
static char places[FOLDERS_MAX][64];
static int n_places;
static struct model_message messages[MESSAGES_MAX];
static unsigned n_messages;
static unsigned n_names;   /* given so far */
static unsigned n_missing; /* folders that have left their names since the last pass */
static bool quarantines, has_object_ids;
static bool was_disturbed; /* the pass's connection broke */
static unsigned n_disturbed;

static int place_of(const char *path)
{
    for (int p = 0; p < n_places; p++)
        if (strcmp(places[p], path) == 0)
            return p;
    return PLACE_NONE;
}

static int place_make(const char *path)
{
    int p = place_of(path);
    if (p != PLACE_NONE)
        return p;
    cr_assert_lt(n_places, FOLDERS_MAX);
    (void)snprintf(places[n_places], sizeof places[0], "%s", path);
    return n_places++;
}

static void path_copy(char to[64], const char *from)
{
    size_t len = strlen(from);
    cr_assert_lt(len, 64);
    memcpy(to, from, len + 1);
}

/* PATH lies below FROM, or is it: it lies below TO now. */
static void path_follow(char path[64], const char *from, const char *to)
{
    char moved[128];
    size_t len = strlen(from);
    if (strncmp(path, from, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return;
    (void)snprintf(moved, sizeof moved, "%s%s", to, path + len);
    path_copy(path, moved);
}

/* By its name at the server, or because some of what was in it is in it still. */
static bool is_recognised(int f)
{
    bool is = has_object_ids;
    for (unsigned i = 0; i < n_messages && !is; i++) {
        const struct model_message *m = &messages[i];
        is = m->is_carried && m->was_src == f && m->src == f && !m->is_reborn;
    }
    return is;
}

static unsigned depth_of(const char *path)
{
    unsigned depth = 0;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

/*
 * It went with the folder above it, and nothing is in it by which it can be known again: where the
 * messages that have left it lie is forgotten.
 */
static void model_gone_along(struct model_folder *folder)
{
    if (folder->is_renamed && folder->place != PLACE_NONE &&
        strcmp(places[folder->place], folder->path) == 0)
        folder->is_forgotten = true;
}

/* Folders find their places at the target, those above others first. */
static void model_folders(void)
{
    for (unsigned depth = 0; depth < 8; depth++) {
        for (int f = 0; f < n_folders; f++) {
            struct model_folder *folder = &folders[f];
            if (!folder->is_there || depth_of(folder->path) != depth)
                continue;
            if (folder->is_renamed && folder->place != PLACE_NONE && is_recognised(f)) {
                char from[64];
                path_copy(from, places[folder->place]);
                for (int p = 0; p < n_places; p++)
                    path_follow(places[p], from, folder->path);
            } else {
                model_gone_along(folder);
            }
            if (folder->place == PLACE_NONE || folder->is_renamed)
                folder->place = place_make(folder->path);
        }
    }
}

/* As if it had never been carried. */
static void carry_anew(struct model_message *m)
{
    m->extras += m->is_carried && m->dst != PLACE_NONE;
    m->is_carried = true;
    m->is_theirs = false;
    m->is_adopted |= m->extras > 0;
    m->dst = folders[m->src].place;
    m->dst_flags = m->base = m->src_flags;
    m->theirs = m->unsure = 0;
}

static void model_flags(struct model_message *m)
{
    uint8_t changed = (m->src_flags ^ m->base) & (uint8_t)~m->theirs;
    uint8_t agree = changed & (uint8_t) ~(m->src_flags ^ m->dst_flags);
    m->theirs |= agree;
    m->unsure |= was_disturbed ? agree : 0;
    changed &= (uint8_t)~agree;
    m->dst_flags = (uint8_t)((m->dst_flags & ~changed) | (m->src_flags & changed));
    m->base = m->src_flags;
}

/* The folder that it was in is not known any more. */
static void model_forgotten(struct model_message *m)
{
    if (m->src < 0) {
        m->is_adopted = true; /* nobody will look at it again */
    } else if (m->src == m->was_src && m->dst == folders[m->src].place) {
        /* By the other side's UIDs. */
        const struct model_folder *in = &folders[m->src];
        bool is_known = in->is_renumbered && !(in->is_renumbered_at_target && m->is_reborn);
        if (!is_known || was_disturbed) {
            m->unsure |= (uint8_t)(m->theirs | (m->src_flags ^ m->base)); /* or after all */
            m->is_adopted = true;
        }
        if (is_known) {
            model_flags(m);
        } else { /* found, as it is */
            m->base = m->src_flags;
            m->theirs = 0;
        }
    } else {
        m->is_wild |= m->is_theirs;
        carry_anew(m);
    }
}

static void model_message(struct model_message *m)
{
    bool has_left = m->src != m->was_src || m->is_reborn;
    if (!m->is_carried) {
        if (m->src >= 0)
            carry_anew(m);
        return;
    }
    if (m->was_src >= 0 && folders[m->was_src].is_forgotten) {
        model_forgotten(m);
        return;
    }
    if (m->src >= 0 && has_left && folders[m->src].is_forgotten) {
        /* It is moved there, or carried there and the old one put away. */
        m->is_wild |= m->is_theirs;
        carry_anew(m);
        return;
    }
    if (!m->is_theirs && m->src >= 0)
        m->dst = folders[m->src].place;
    else if (!m->is_theirs && m->was_src >= 0 && quarantines)
        m->dst = PLACE_QUARANTINE;
    if (m->src >= 0 && !m->is_theirs)
        model_flags(m);
    /*
     * A move that was made and not answered is found by content: what was flagged with it stays as
     * it is.
     */
    if (has_left && was_disturbed)
        m->unsure = FLAGS;
}

/* What a pass does. */
static void model_pass(void)
{
    model_folders();
    for (unsigned i = 0; i < n_messages; i++) {
        model_message(&messages[i]);
        messages[i].was_src = messages[i].src;
        messages[i].is_reborn = false;
    }
    for (int f = 0; f < n_folders; f++)
        folders[f].is_changed = folders[f].is_renamed = folders[f].is_removed =
            folders[f].is_forgotten = folders[f].is_renumbered =
                folders[f].is_renumbered_at_target = false;
    n_missing = 0;
}

/* --- the story, for whoever looks for the cause -------------------------------------------- */

static bool tells;

#define TELL(...)                                                                                  \
    do {                                                                                           \
        if (tells)                                                                                 \
            (void)fprintf(stderr, __VA_ARGS__);                                                    \
    } while (0)

/* --- what the stores hold ------------------------------------------------------------------ */

struct found {
    const struct model_message *m;
    unsigned n;
    unsigned n_in[FOLDERS_MAX], n_quarantined;
    uint64_t uid;
    uint8_t flags;
};

static bool on_message(void *ctx, const struct mh_mem_message *m)
{
    struct found *f = ctx;
    if (m->len != strlen(f->m->text) || memcmp(m->bytes, f->m->text, m->len) != 0)
        return true;
    int place = place_of(m->path);
    f->n++;
    f->n_quarantined += strncmp(m->path, "mailhaul-removed/", 17) == 0;
    if (place >= 0)
        f->n_in[place]++;
    f->uid = m->uid;
    f->flags = m->flags;
    return true;
}

static struct found find(const char *store, const struct model_message *m)
{
    struct found f;
    memset(&f, 0, sizeof f);
    f.m = m;
    cr_assert(mh_mem_each(store, on_message, &f));
    return f;
}

static unsigned found_in(const struct found *f, int place)
{
    return place == PLACE_QUARANTINE ? f->n_quarantined : place >= 0 ? f->n_in[place] : 0;
}

/*
 * What was found by content is another one's, or ours after all, when the books were lost: deleted
 * at the source it is kept, or put away.
 */
static bool may_be_kept(const struct model_message *m)
{
    return m->is_adopted && m->src < 0;
}

static void check_message(const struct model_message *m, const char *when, unsigned i)
{
    struct found f = find("dst0", m);
    unsigned want = m->is_carried && m->dst != PLACE_NONE;
    cr_assert_leq(f.n, want + m->extras + m->is_wild,
                  "%s: message %u lies at the target %u times, not %u", when, i, f.n, want);
    if (!want || m->is_wild)
        return;
    cr_assert_geq(f.n, 1, "%s: message %u is lost", when, i);
    if (may_be_kept(m))
        return;
    cr_assert_geq(found_in(&f, m->dst), 1, "%s: message %u does not lie in %s", when, i,
                  m->dst < 0 ? "quarantine" : places[m->dst]);
    if (m->extras == 0)
        cr_assert_eq((f.flags ^ m->dst_flags) & FLAGS & ~m->unsure, 0,
                     "%s: message %u has flags %02x, not %02x", when, i, f.flags, m->dst_flags);
}

static void check(const char *when)
{
    for (unsigned i = 0; i < n_messages; i++)
        check_message(&messages[i], when, i);
}

/* --- chance -------------------------------------------------------------------------------- */

static uint8_t random_flags(void)
{
    return (uint8_t)(below(32) & FLAGS);
}

static int any_folder(void)
{
    int f = 0;
    do
        f = (int)below((unsigned)n_folders);
    while (!folders[f].is_there);
    return f;
}

/* --- what happens to folders --------------------------------------------------------------- */

static void folder_make(const char *path)
{
    if (n_folders == FOLDERS_MAX)
        return;
    bool was_there = false; /* the state knows one of this name */
    for (int f = 0; f < n_folders; f++) {
        was_there |= strcmp(folders[f].path, path) == 0;
        if (folders[f].is_removed && strcmp(folders[f].path, path) == 0)
            folders[f].is_forgotten = true;
    }
    struct model_folder *folder = &folders[n_folders++];
    *folder = (struct model_folder){
        .is_there = true, .is_changed = true, .is_forgotten = was_there, .place = PLACE_NONE};
    (void)snprintf(folder->path, sizeof folder->path, "%s", path);
    if (strcmp(path, "INBOX") != 0)
        cr_assert(mh_mem_make_folder("src0", path));
    TELL("  folder %d, %s, is made\n", n_folders - 1, path);
}

static bool is_at_source(const char *path, size_t len)
{
    bool is = false;
    for (int f = 0; f < n_folders; f++)
        is |= folders[f].is_there && strlen(folders[f].path) == len &&
              strncmp(folders[f].path, path, len) == 0;
    return is;
}

/* A new one, or one of a name that there was before. */
static void folder_make_some(void)
{
    char path[64];
    int f = (int)below((unsigned)n_folders);
    const char *up = strrchr(folders[f].path, '/');
    bool may = !folders[f].is_there && !is_at_source(folders[f].path, strlen(folders[f].path)) &&
               (!up || is_at_source(folders[f].path, (size_t)(up - folders[f].path)));
    if (may && below(4))
        path_copy(path, folders[f].path);
    else
        (void)snprintf(path, sizeof path, "Made%u", n_names++);
    folder_make(path);
}

static void folder_remove(int f)
{
    if (f == 0 || folders[f].is_changed || n_missing == MISSING_MAX)
        return;
    cr_assert(mh_mem_remove_folder("src0", folders[f].path));
    TELL("  folder %d, %s, is removed\n", f, folders[f].path);
    for (unsigned i = 0; i < n_messages; i++)
        if (messages[i].src == f)
            messages[i].src = -1;
    folders[f].is_there = false;
    folders[f].is_changed = folders[f].is_removed = true;
    n_missing++;
}

/* Folder F is there, and FROM or below it: *PATH is what it is called when FROM is TO. */
static bool goes_along(int f, const char *from, const char *to, char path[64])
{
    path_copy(path, folders[f].path);
    path_follow(path, from, to);
    return folders[f].is_there && strcmp(path, folders[f].path) != 0;
}

/* With all below it. */
static void folder_rename(int f)
{
    char from[64];
    char to[64];
    char path[64];
    unsigned n = 0;
    bool may = f != 0;
    path_copy(from, folders[f].path);
    (void)snprintf(to, sizeof to, below(3) ? "Named%u" : "Work/Named%u", n_names++);
    for (int i = 0; i < n_folders; i++) {
        if (!goes_along(i, from, to, path))
            continue;
        may &= !folders[i].is_changed;
        n++;
    }
    if (!may || n_missing + n > MISSING_MAX || strncmp(to, from, strlen(from)) == 0 ||
        (strncmp(to, "Work/", 5) == 0 && !is_at_source("Work", 4)))
        return;
    cr_assert(mh_mem_rename("src0", from, to));
    TELL("  %s becomes %s\n", from, to);
    for (int i = 0; i < n_folders; i++) {
        if (!goes_along(i, from, to, path))
            continue;
        path_copy(folders[i].path, path);
        folders[i].is_changed = folders[i].is_renamed = true;
        n_missing++;
    }
}

static void folder_renumber(int f, bool at_source)
{
    struct model_folder *folder = &folders[f];
    if (folder->is_changed || (!at_source && folder->place == PLACE_NONE))
        return;
    cr_assert(mh_mem_renumber(at_source ? "src0" : "dst0",
                              at_source ? folder->path : places[folder->place]));
    TELL("  folder %d, %s, is renumbered at the %s\n", f, folder->path,
         at_source ? "source" : "target");
    folder->is_changed = folder->is_forgotten = folder->is_renumbered = true;
    folder->is_renumbered_at_target = !at_source;
    for (unsigned i = 0; i < n_messages; i++)
        if (at_source && messages[i].src == f)
            messages[i].src_uid = find("src0", &messages[i]).uid;
}

static void to_folders_at_source(void)
{
    switch (below(6)) {
    case 0:
        folder_make_some();
        break;
    case 1:
        folder_remove(any_folder());
        break;
    case 2:
    case 3:
        folder_rename(any_folder());
        break;
    default:
        folder_renumber(any_folder(), true);
        break;
    }
}

/* --- what happens to messages -------------------------------------------------------------- */

/* Some are of one size and one second, so that likeness alone proves nothing. */
static void deliver(void)
{
    if (n_messages == MESSAGES_MAX)
        return;
    unsigned i = n_messages++;
    struct model_message *m = &messages[i];
    *m = (struct model_message){.src = any_folder(), .was_src = -1, .src_flags = random_flags()};
    (void)snprintf(m->text, sizeof m->text, "Subject: %06u\r\n\r\n%.*s\r\n", i, (int)below(3),
                   "xxxx");
    const struct mh_date date = {.unix_s = 1000000 + below(4), .is_set = true};
    cr_assert(mh_mem_deliver("src0", folders[m->src].path, m->text, strlen(m->text), m->src_flags,
                             "", &date, &m->src_uid));
    TELL("  message %u comes to folder %d\n", i, m->src);
}

static struct model_message *any_at_source(void)
{
    for (unsigned tries = 0; n_messages && tries < 10; tries++) {
        struct model_message *m = &messages[below(n_messages)];
        if (m->src >= 0)
            return m;
    }
    return NULL;
}

static void at_source(void)
{
    struct model_message *m = any_at_source();
    unsigned what = below(5);
    if (what < 2 || !m) {
        deliver();
        return;
    }
    const char *from = folders[m->src].path;
    TELL("  message %td in folder %d is %s\n", m - messages, m->src,
         what == 2   ? "flagged"
         : what == 3 ? "moved"
                     : "expunged");
    if (what == 2) {
        m->src_flags = random_flags();
        cr_assert(mh_mem_set_flags("src0", from, m->src_uid, m->src_flags, ""));
    } else if (what == 3) {
        int to = any_folder();
        if (to == m->src)
            return;
        cr_assert(mh_mem_move("src0", from, m->src_uid, folders[to].path));
        TELL("  … to %d\n", to);
        m->src = to;
        m->src_uid = find("src0", m).uid;
        m->is_reborn = true;
    } else {
        cr_assert(mh_mem_expunge("src0", from, m->src_uid));
        m->src = -1;
    }
}

static void at_target(void)
{
    struct model_message *m = n_messages ? &messages[below(n_messages)] : NULL;
    if (below(12) == 0) {
        folder_renumber(any_folder(), false);
        return;
    }
    if (!m || !m->is_carried || m->dst <= PLACE_MINE || m->extras || m->is_wild || may_be_kept(m))
        return;
    struct found f = find("dst0", m);
    cr_assert_eq(f.n, 1);
    TELL("  at the target message %td in %s is touched\n", m - messages, places[m->dst]);
    switch (below(4)) {
    case 0:
        cr_assert(mh_mem_move("dst0", places[m->dst], f.uid, mine));
        m->dst = PLACE_MINE;
        m->is_theirs = true;
        break;
    case 1:
        cr_assert(mh_mem_expunge("dst0", places[m->dst], f.uid));
        m->dst = PLACE_NONE;
        m->is_theirs = true;
        break;
    default:
        m->dst_flags = random_flags();
        cr_assert(mh_mem_set_flags("dst0", places[m->dst], f.uid, m->dst_flags, ""));
        break;
    }
}

/* --- one history --------------------------------------------------------------------------- */

/* A pass, in which one connection may break. */
static void run_somehow(struct haul *h, const char *when)
{
    unsigned runs = 0;
    cut_arm(below(3) ? 1 + below(80) : 0, below(2));
    do {
        cr_assert_lt(runs++, RUNS_MAX, "%s: it does not end", when);
        (void)haul_run(h);
        TELL("  run %u: call %llu of the %s (%s) was %s\n", runs, (unsigned long long)cutter.at,
             cutter.is_source ? "source" : "target", cutter.what,
             !cutter.was_hit  ? "not reached"
             : cutter.reaches ? "made, its answer lost"
                              : "lost");
    } while (!haul_went_through(h));
    cutter.at = 0;
}

static void set_up(struct haul *h)
{
    static const char *const paths[FOLDERS_AT_FIRST] = {"INBOX", "Work", "Old", "Old/2024"};
    struct mh_mem_options o;
    mh_mem_options_init(&o);
    unsigned way = below(3);
    o.condstore = way != 0;
    o.qresync = way == 2;
    o.object_id = has_object_ids = below(2) != 0;
    o.multiappend = below(2) != 0;
    configure("src0", &o);
    configure("dst0", &o);
    quarantines = h->cfg.quarantines = below(2) != 0;
    n_messages = n_missing = 0;
    n_folders = n_places = 0;
    n_names = 0;
    (void)place_make(mine);
    for (int i = 0; i < FOLDERS_AT_FIRST; i++)
        folder_make(paths[i]);
}

static void play(unsigned long long seed)
{
    char when[160];
    chance_begin(seed);
    struct haul *h = haul_open(1, 1, true, POOL_BYTES);
    cut_between(h);
    cut_arm(0, false);
    was_disturbed = false;
    set_up(h);
    TELL("MH_TEST_SEED=%llu: object ids %d, quarantine %d\n", seed, has_object_ids, quarantines);
    haul_run_ok(h);
    model_pass();
    cr_assert(mh_mem_make_folder("dst0", mine));
    for (unsigned pass = 0; pass < PASSES; pass++) {
        for (unsigned n = below(20); n > 0; n--) {
            if (below(10) == 0)
                to_folders_at_source();
            else
                at_source();
        }
        for (unsigned n = pass ? below(6) : 0; n > 0; n--)
            at_target();
        (void)snprintf(when, sizeof when, "MH_TEST_SEED=%llu, pass %u", seed, pass);
        TELL("pass %u\n", pass);
        run_somehow(h, when);
        (void)snprintf(when, sizeof when, "MH_TEST_SEED=%llu, pass %u (%s)", seed, pass,
                       cutter.was_hit ? cutter.what : "undisturbed");
        was_disturbed = cutter.was_hit;
        n_disturbed += was_disturbed;
        model_pass();
        check(when);
        haul_run_quiet(h, when);
        check(when);
    }
    haul_close(h);
}

Test(history, ends_as_the_model_says, .timeout = 240)
{
    const char *rounds = getenv("MH_TEST_ROUNDS");
    unsigned n = rounds ? (unsigned)strtoul(rounds, NULL, 10) : getenv("MH_TEST_SEED") ? 1 : 60;
    unsigned long long first = chance_seed();
    tells = getenv("MH_TEST_TELL") != NULL;
    (void)fprintf(stderr, "MH_TEST_SEED=%llu to %llu\n", first, first + n - 1);
    cr_assert_gt(n, 0);
    for (unsigned i = 0; i < n; i++)
        play(first + i);
    (void)fprintf(stderr, "%u of %u passes disturbed\n", n_disturbed, n * PASSES);
    if (n >= ENOUGH)
        cr_expect_gt(n_disturbed, n * PASSES / 8);
}
