/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a person sees while it runs: on a terminal a table that is drawn again four times a second, problems first;
 * elsewhere one plain line per event. Everything goes to stderr; results go to stdout later.
 *
 * One thread draws; loops only touch atomics and, for events, the list of problems behind the lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"

enum {
    REDRAW_MS = 250,
    PROBLEMS_KEPT = 64,
    PROBLEMS_SHOWN = 6,
    ROWS_DEFAULT = 24,
    COLUMNS_DEFAULT = 80,
    ID_WIDTH = 20,
};

struct totals {
    uint64_t found, found_bytes, decided, bytes, failed, skipped;
    unsigned phases[MH_PHASE_FAILED + 1];
};

struct screen {
    struct mh_screen face; /* first */
    bool quiet, is_live, has_color;
    const char *verb;
    const char *const *ids;
    struct mh_progress *progress;
    size_t n;
    int64_t start_ms;
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock; /* problems, stop, writing */
    pthread_cond_t wake;
    bool must_stop;
    char *problems[PROBLEMS_KEPT]; /* owned; a ring, the newest last */
    size_t n_problems;             /* ever */
    unsigned lines_drawn;
};

/* --- text ------------------------------------------------------------------------------------------------ */

static const char *duration(int64_t seconds, char *buf, size_t size)
{
    if (seconds < 3600)
        (void)snprintf(buf, size, "%" PRId64 ":%02" PRId64, seconds / 60, seconds % 60);
    else
        (void)snprintf(buf, size, "%" PRId64 ":%02" PRId64 ":%02" PRId64, seconds / 3600,
                       seconds / 60 % 60, seconds % 60);
    return buf;
}

static const char *clock_time(int64_t wall_s, char *buf, size_t size)
{
    time_t t = (time_t)wall_s;
    struct tm tm;
    if (!localtime_r(&t, &tm) || strftime(buf, size, "%H:%M:%S", &tm) == 0)
        (void)snprintf(buf, size, "?");
    return buf;
}

static void sum_up(const struct screen *s, struct totals *t)
{
    *t = (struct totals){0};
    for (size_t i = 0; i < s->n; i++) {
        struct mh_progress *p = &s->progress[i];
        t->found += atomic_load_explicit(&p->found, memory_order_relaxed);
        t->found_bytes += atomic_load_explicit(&p->found_bytes, memory_order_relaxed);
        t->bytes += atomic_load_explicit(&p->bytes, memory_order_relaxed);
        t->failed += atomic_load_explicit(&p->failed, memory_order_relaxed);
        t->skipped += atomic_load_explicit(&p->skipped, memory_order_relaxed);
        t->decided += atomic_load_explicit(&p->copied, memory_order_relaxed) +
                      atomic_load_explicit(&p->adopted, memory_order_relaxed) +
                      atomic_load_explicit(&p->skipped, memory_order_relaxed) +
                      atomic_load_explicit(&p->failed, memory_order_relaxed);
        t->phases[atomic_load_explicit(&p->phase, memory_order_relaxed)]++;
    }
}

/* When it will end, as a range: the rate so far, a quarter either way. Only once every mailbox was listed
 * can this mean anything; before that it says so. */
static void add_eta(const struct screen *s, const struct totals *t, struct mh_buf *b)
{
    char from[24];
    char to[24];
    int64_t ms = mh_clock_mono_ms() - s->start_ms;
    bool all_listed =
        t->phases[MH_PHASE_QUEUED] + t->phases[MH_PHASE_CONNECTING] + t->phases[MH_PHASE_LISTING] ==
        0;
    if (t->decided == 0 || t->found <= t->decided || ms < 2000)
        return;
    int64_t left =
        (int64_t)((double)(t->found - t->decided) * (double)ms / (double)t->decided / 1000);
    if (!all_listed)
        mh_buf_addf(b, "   left at least %s", duration(left * 3 / 4, from, sizeof from));
    else
        mh_buf_addf(b, "   left %s-%s", duration(left * 3 / 4, from, sizeof from),
                    duration(left * 5 / 4 + 1, to, sizeof to));
}

static void add_head(const struct screen *s, const struct totals *t, struct mh_buf *b)
{
    char size[32];
    char time[24];
    int64_t ms = MH_MAX(mh_clock_mono_ms() - s->start_ms, (int64_t)1);
    mh_buf_addf(b, "mailhaul %s  %s   mailboxes %zu: done %u, working %u, waiting %u, queued %u",
                s->verb, duration(ms / 1000, time, sizeof time), s->n, t->phases[MH_PHASE_DONE],
                t->phases[MH_PHASE_MOVING] + t->phases[MH_PHASE_LISTING] +
                    t->phases[MH_PHASE_CONNECTING],
                t->phases[MH_PHASE_WAITING], t->phases[MH_PHASE_QUEUED]);
    if (t->phases[MH_PHASE_WATCHING])
        mh_buf_addf(b, ", in step %u", t->phases[MH_PHASE_WATCHING]);
    if (t->phases[MH_PHASE_FAILED])
        mh_buf_addf(b, ", FAILED %u", t->phases[MH_PHASE_FAILED]);
    mh_buf_addf(b, "\n%" PRIu64 " of %" PRIu64 " messages   %s   %.0f messages/s", t->decided,
                t->found, mh_format_size(t->bytes, size, sizeof size),
                (double)t->decided * 1000 / (double)ms);
    add_eta(s, t, b);
    mh_buf_addc(b, '\n');
}

/* Columns that a text takes, near enough: one per code point. */
static size_t columns(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

static void add_padded(struct mh_buf *b, const char *text, size_t width)
{
    struct mh_buf safe = MH_BUF_INIT;
    mh_buf_add_printable(&safe, text, strlen(text));
    const char *t = mh_buf_str(&safe);
    size_t cut = 0;
    for (size_t used = 0; t[cut] && used < width; used++)
        cut += MH_MAX(mh_utf8_seq(t + cut, safe.len - cut), (size_t)1);
    mh_buf_add(b, t, cut);
    for (size_t used = columns(t, cut); used < width; used++)
        mh_buf_addc(b, ' ');
    mh_buf_done(&safe);
}

static void add_row(const struct screen *s, size_t i, struct mh_buf *b)
{
    static const char *const names[] = {"queued",  "connecting", "listing", "moving",
                                        "waiting", "done",       "FAILED"};
    struct mh_progress *p = &s->progress[i];
    char size[32];
    char time[24];
    int phase = atomic_load_explicit(&p->phase, memory_order_relaxed);
    int64_t until = atomic_load_explicit(&p->waiting_until_wall_s, memory_order_relaxed);
    uint64_t found = atomic_load_explicit(&p->found, memory_order_relaxed);
    uint64_t failed = atomic_load_explicit(&p->failed, memory_order_relaxed);
    uint64_t done = atomic_load_explicit(&p->copied, memory_order_relaxed) +
                    atomic_load_explicit(&p->adopted, memory_order_relaxed) +
                    atomic_load_explicit(&p->skipped, memory_order_relaxed) + failed;
    mh_buf_addc(b, ' ');
    add_padded(b, s->ids[i], ID_WIDTH);
    mh_buf_addf(
        b, " %-10s %9" PRIu64 "/%-9" PRIu64 " %10s", names[phase], done, found,
        mh_format_size(atomic_load_explicit(&p->bytes, memory_order_relaxed), size, sizeof size));
    if (failed)
        mh_buf_addf(b, "  failed %" PRIu64, failed);
    if (until)
        mh_buf_addf(b, "  until %s", clock_time(until, time, sizeof time));
    mh_buf_addc(b, '\n');
}

/* Rows for whoever is at work, waiting ones first: they may need a person. */
static void add_rows(const struct screen *s, unsigned most, struct mh_buf *b)
{
    static const int order[] = {MH_PHASE_FAILED, MH_PHASE_WAITING, MH_PHASE_MOVING,
                                MH_PHASE_LISTING, MH_PHASE_CONNECTING};
    unsigned shown = 0;
    for (size_t k = 0; k < MH_ARRAY_LEN(order); k++) {
        for (size_t i = 0; i < s->n && shown < most; i++) {
            if (atomic_load_explicit(&s->progress[i].phase, memory_order_relaxed) != order[k])
                continue;
            add_row(s, i, b);
            shown++;
        }
    }
}

/* Lock held. */
static unsigned add_problems(const struct screen *s, struct mh_buf *b)
{
    size_t first = s->n_problems > PROBLEMS_SHOWN ? s->n_problems - PROBLEMS_SHOWN : 0;
    if (s->n_problems > PROBLEMS_SHOWN)
        mh_buf_addf(b, "! %zu problems, the newest:\n", s->n_problems);
    for (size_t i = first; i < s->n_problems; i++) {
        const char *line = s->problems[i % PROBLEMS_KEPT];
        if (line)
            mh_buf_addf(b, "! %s\n", line);
    }
    return (unsigned)MH_MIN(s->n_problems, (size_t)PROBLEMS_SHOWN + 1);
}

/* --- drawing ------------------------------------------------------------------------------------------------ */

static void terminal_size(unsigned *rows_out, unsigned *columns_out)
{
    struct winsize w;
    bool ok = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 4 && w.ws_col > 20;
    *rows_out = ok ? w.ws_row : ROWS_DEFAULT;
    *columns_out = ok ? w.ws_col : COLUMNS_DEFAULT;
}

/* Cuts every line at the edge, so that the number of lines drawn is the number of lines seen. */
static unsigned write_cut(const struct mh_buf *text, unsigned width, struct mh_buf *out)
{
    unsigned lines = 0;
    const char *at = mh_buf_str(text);
    while (*at) {
        size_t len = strcspn(at, "\n");
        size_t cut = 0;
        for (unsigned used = 0; cut < len && used + 1 < width; used++)
            cut += MH_MAX(mh_utf8_seq(at + cut, len - cut), (size_t)1);
        mh_buf_add(out, at, MH_MIN(cut, len));
        mh_buf_adds(out, "\x1b[K\n");
        lines++;
        at += len + (at[len] == '\n');
    }
    return lines;
}

/* Lock held. */
static void write_all(const struct mh_buf *b)
{
    const char *at = mh_buf_str(b);
    size_t left = b->len;
    while (left) {
        ssize_t n = write(STDERR_FILENO, at, left);
        if (n < 0 && errno != EINTR)
            return; /* nobody watches any more: the work goes on */
        if (n > 0) {
            at += n;
            left -= (size_t)n;
        }
    }
}

/* Lock held. */
static void erase(struct screen *s)
{
    struct mh_buf b = MH_BUF_INIT;
    if (s->lines_drawn)
        mh_buf_addf(&b, "\x1b[%uA\x1b[J", s->lines_drawn);
    write_all(&b);
    s->lines_drawn = 0;
    mh_buf_done(&b);
}

/* Lock held. */
static void draw(struct screen *s)
{
    unsigned rows = 0;
    unsigned width = 0;
    struct totals totals;
    struct mh_buf text = MH_BUF_INIT;
    struct mh_buf out = MH_BUF_INIT;
    terminal_size(&rows, &width);
    sum_up(s, &totals);
    unsigned used = 3 + add_problems(s, &text);
    add_head(s, &totals, &text);
    add_rows(s, rows > used ? rows - used : 0, &text);
    if (s->lines_drawn)
        mh_buf_addf(&out, "\x1b[%uA", s->lines_drawn);
    s->lines_drawn = write_cut(&text, width, &out);
    mh_buf_adds(&out, "\x1b[J");
    write_all(&out);
    mh_buf_done(&text);
    mh_buf_done(&out);
}

static void *draw_main(void *arg)
{
    struct screen *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->must_stop) {
        struct timespec until;
        draw(s);
        (void)clock_gettime(CLOCK_MONOTONIC,
                            &until); /* as WAKE: a jump of the wall clock stops nothing */
        until.tv_nsec += REDRAW_MS * 1000000l;
        until.tv_sec += until.tv_nsec / 1000000000l;
        until.tv_nsec %= 1000000000l;
        (void)pthread_cond_timedwait(&s->wake, &s->lock, &until);
    }
    erase(s);
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* --- events ---------------------------------------------------------------------------------------------------- */

static bool is_problem(const struct mh_event *ev)
{
    return ev->kind == MH_EV_WAITING || (ev->kind == MH_EV_MAILBOX_DONE && ev->err) ||
           (ev->kind == MH_EV_ITEM && ev->state && strcmp(ev->state, "failed") == 0);
}

static void describe(const struct mh_event *ev, struct mh_buf *b)
{
    char line[1024];
    char time[24];
    mh_buf_add_printable(b, ev->mailbox, strlen(ev->mailbox));
    if (ev->folder) {
        mh_buf_adds(b, ": ");
        mh_buf_add_printable(b, ev->folder, strlen(ev->folder));
    }
    if (ev->uid)
        mh_buf_addf(b, ", UID %" PRIu64, ev->uid);
    switch (ev->kind) {
    case MH_EV_MAILBOX_START:
        mh_buf_adds(b, ": started");
        break;
    case MH_EV_MAILBOX_DONE:
        mh_buf_addf(b, ": %s", ev->err ? mh_err_line(ev->err, line, sizeof line) : "done");
        break;
    case MH_EV_WAITING:
        mh_buf_addf(b, ": waiting until %s: %s", clock_time(ev->until_wall_s, time, sizeof time),
                    ev->text ? ev->text : "");
        break;
    case MH_EV_ITEM:
        mh_buf_addf(b, ": %s, %s%s%s", ev->state, ev->reason, ev->text && *ev->text ? ": " : "",
                    ev->text ? ev->text : "");
        break;
    case MH_EV_FOLDER_START:
    case MH_EV_FOLDER_DONE:
    case MH_EV_NOTE:
        if (ev->text)
            mh_buf_addf(b, ": %s", ev->text);
        break;
    }
}

/* Called by loops. */
static void on_event(struct mh_event_sink *sink, const struct mh_event *ev)
{
    struct screen *s = mh_container_of(sink, struct screen, face.events);
    bool wanted = s->is_live ? is_problem(ev) : ev->kind != MH_EV_FOLDER_START;
    struct mh_buf line = MH_BUF_INIT;
    if (!wanted || (s->quiet && !is_problem(ev)))
        return;
    describe(ev, &line);
    (void)pthread_mutex_lock(&s->lock);
    if (s->is_live) {
        char **slot = &s->problems[s->n_problems++ % PROBLEMS_KEPT];
        mh_free(*slot);
        *slot = mh_buf_take(&line);
    } else {
        mh_buf_addc(&line, '\n');
        write_all(&line);
    }
    (void)pthread_mutex_unlock(&s->lock);
    mh_buf_done(&line);
}

/* Log lines go through the screen, so that they do not tear the table. */
static void on_log(void *ctx, enum mh_log_level level, const char *text)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    struct screen *s = ctx;
    struct mh_buf line = MH_BUF_INIT;
    mh_buf_addf(&line, "mailhaul: %s: %s\n", names[level], text);
    (void)pthread_mutex_lock(&s->lock);
    if (s->is_live && s->is_running)
        erase(s);
    write_all(&line);
    (void)pthread_mutex_unlock(&s->lock);
    mh_buf_done(&line);
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

static void screen_start(struct mh_screen *face, const char *verb, const char *const *ids,
                         struct mh_progress *progress, size_t n)
{
    struct screen *s = mh_container_of(face, struct screen, face);
    s->verb = verb;
    s->ids = ids;
    s->progress = progress;
    s->n = n;
    s->start_ms = mh_clock_mono_ms();
    s->must_stop = false;
    /* Without the thread there is no table: the work goes on all the same. */
    if (s->is_live && !s->quiet)
        s->is_running = pthread_create(&s->thread, NULL, draw_main, s) == 0;
}

static void screen_stop(struct mh_screen *face)
{
    struct screen *s = mh_container_of(face, struct screen, face);
    if (!s->is_running)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->must_stop = true;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->thread, NULL);
    s->is_running = false;
}

int mh_screen_new(bool quiet, enum mh_color color, struct mh_screen **out, struct mh_err *err)
{
    struct screen *s = mh_zalloc(sizeof *s);
    const char *term = getenv("TERM");
    if (!s)
        return mh_err_nomem(err);
    s->face.start = screen_start;
    s->face.stop = screen_stop;
    s->face.events.event = on_event;
    s->quiet = quiet;
    s->is_live = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    s->has_color =
        color == MH_COLOR_ALWAYS || (color == MH_COLOR_AUTO && s->is_live && !getenv("NO_COLOR"));
    (void)pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    mh_log_set_output(on_log, s);
    *out = &s->face;
    return MH_OK;
}

void mh_screen_free(struct mh_screen *face)
{
    struct screen *s = mh_container_of(face, struct screen, face);
    screen_stop(face);
    mh_log_set_output(NULL, NULL);
    for (size_t i = 0; i < PROBLEMS_KEPT; i++)
        mh_free(s->problems[i]);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->wake);
    mh_free(s);
}
