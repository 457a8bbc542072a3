/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A real program over real sockets, ended at its nth step. A step is a line that is read or
 * written (a literal is one too), or a change of a file of the state; at it the process gets a
 * SIGKILL (of what is written the half or all of it was), or the connection is cut and the program
 * goes on.
 *
 * Steps are counted where they happen: this program has recv(), sendmsg(), pwrite64() and so on of
 * its own, which the engine and SQLite call in place of the C library's.
 *
 *     test ── player (one account on either side) ─┬─ program: the engine, killed
 *                                                  └─ program: the engine again
 *
 * The script: a first copy, a day of changes at the source, a pass. It is played once undisturbed
 * and once for each step (sampled when there are many; MH_TEST_ALL=1: all, each way), the program
 * being run again until it goes through: the target must end as the undisturbed one, and a pass
 * behind it must change nothing. MH_TEST_SEED=n repeats a sample; MH_TEST_STEP=target<17 (source>,
 * state, …: enum kind) with MH_TEST_HOW=half|whole|cut one step.
 *
 * What lies in the accounts is changed and read by a client of this file's own, which knows no
 * line of mailhaul. Everything is static, since each test is a program of its own. Players and
 * programs end by _exit().
 */
#ifndef MH_TESTS_SERVER_KILLED_H
#define MH_TESTS_SERVER_KILLED_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../conform/lines.h"
#include "base/clock.h"
#include "base/mem.h"
#include "connectors/imap/imap.h"
#include "engine/engine.h"
#include "net/loop.h"
#include "net/net.h"

enum {
    KILLED_STEPS_ALL = 500, /* of more than that a sample is tried with MH_TEST_ALL too */
    KILLED_PLAYERS = 20,    /* at once: most of a play is waiting until the target has settled */
    KILLED_TRIES = 4,       /* of runs after a kill; one should do */
    KILLED_PROGRAM_S = 100, /* a program that takes longer hangs */
    KILLED_USER_DIGITS = 2, /* as the servers' own accounts are named: user01 */
};

enum how { HOW_HALF, HOW_WHOLE, HOW_CUT, HOWS };
static const char *const how_names[HOWS] = {"half", "whole", "cut"};

/* --- steps --------------------------------------------------------------------------------- */

/*
 * What steps are counted by: lines as they are read from and written to each side, and changes of
 * the state's files. The nth of one kind is the same in every play, whatever else happens beside
 * it.
 */
enum kind { SOURCE_IN, SOURCE_OUT, TARGET_IN, TARGET_OUT, DISK, KINDS };
static const char *const kind_names[KINDS] = {"source<", "source>", "target<", "target>", "state"};

struct point {
    enum kind kind;
    uint64_t n; /* 1 = first; 0: none */
    enum how how;
};

/* Shared by a program and its player. */
struct killer {
    _Atomic uint64_t steps[KINDS];
    struct point at;
    bool was_hit;
    char what[160];
    unsigned port[2];
    /* what the program says at its end */
    bool is_done;
    struct mh_counts counts;
    char problem[600];
};

static struct killer *killer; /* NULL: this process is not a program */

/* True: this is the step. BYTES are shown to whoever reads of it. */
static bool is_the_step(enum kind kind, const char *what, const void *bytes, size_t len)
{
    if (atomic_fetch_add(&killer->steps[kind], 1) + 1 != killer->at.n || kind != killer->at.kind)
        return false;
    size_t at =
        (size_t)snprintf(killer->what, sizeof killer->what, "%s of %zu octets: ", what, len);
    for (size_t i = 0; i < len && i < 80 && kind != DISK; i++) {
        int c = ((const unsigned char *)bytes)[i];
        killer->what[at++] = (char)(isprint(c) ? c : '.');
    }
    killer->what[at] = '\0';
    killer->was_hit = true;
    return true;
}

/* Of LEN octets that are written at the step so many are. */
static size_t what_is_made(size_t len)
{
    return killer->at.how == HOW_WHOLE ? len : len / 2;
}

static void end_here(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

static void end_connection(int fd)
{
    if (killer->at.how != HOW_CUT)
        end_here();
    (void)shutdown(fd, SHUT_RDWR);
}

/* --- lines --------------------------------------------------------------------------------- */

/* One direction of a connection. */
struct stream {
    char tail[32]; /* the end of the line so far */
    size_t n_tail;
    uint64_t literal_left;
    bool is_fresh; /* nothing of the literal has been seen */
};

/* Of one connection, by its descriptor; the loop's thread alone. */
static struct wire {
    bool is_known;
    int side;
    struct stream in, out;
    int epoll;
    struct epoll_event event;
} wires[1024];

/* "{310+}" at the end of the line: so many octets follow. */
static void end_line(struct stream *s)
{
    const char *open = memchr(s->tail, '{', s->n_tail);
    for (const char *next = open; next;) {
        next = memchr(open + 1, '{', s->n_tail - (size_t)(open + 1 - s->tail));
        open = next ? next : open;
    }
    s->tail[s->n_tail] = '\0';
    s->n_tail = 0;
    char *end = NULL;
    uint64_t n = open ? strtoull(open + 1, &end, 10) : 0;
    if (n > 0 && (strcmp(end, "}\r\n") == 0 || strcmp(end, "+}\r\n") == 0)) {
        s->literal_left = n;
        s->is_fresh = true;
    }
}

static void add_tail(struct stream *s, const char *p, size_t n)
{
    size_t room = sizeof s->tail - 1;
    if (n > room) {
        p += n - room;
        n = room;
    }
    if (s->n_tail + n > room) {
        size_t drop = s->n_tail + n - room;
        memmove(s->tail, s->tail + drop, s->n_tail - drop);
        s->n_tail -= drop;
    }
    memcpy(s->tail + s->n_tail, p, n);
    s->n_tail += n;
}

/*
 * The first line of the N octets at P, or what there is of a literal, or of a line without an end.
 * *IS_STEP_OUT: a line ends, or a literal begins.
 */
static size_t first_unit(struct stream *s, const char *p, size_t n, bool *is_step_out)
{
    if (s->literal_left > 0) {
        size_t part = s->literal_left < n ? (size_t)s->literal_left : n;
        *is_step_out = s->is_fresh;
        s->is_fresh = false;
        s->literal_left -= part;
        return part;
    }
    const char *end = memchr(p, '\n', n);
    size_t len = end ? (size_t)(end - p) + 1 : n;
    add_tail(s, p, len);
    if (end)
        end_line(s);
    *is_step_out = end != NULL;
    return len;
}

/* NULL: not between us and one of the servers. */
static struct wire *wire_of(int fd)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    struct wire *w = killer && fd >= 0 && (size_t)fd < MH_ARRAY_LEN(wires) ? &wires[fd] : NULL;
    if (!w || w->is_known)
        return w;
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
        return NULL;
    w->side = ntohs(peer.sin_port) == killer->port[1];
    w->is_known = true;
    return w;
}

/* --- what takes the place of the C library's ----------------------------------------------- */

/* A new descriptor is another connection. What a short read leaves is told again: see recv(). */
int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    if (killer && fd >= 0 && (size_t)fd < MH_ARRAY_LEN(wires) && op != EPOLL_CTL_DEL) {
        if (op == EPOLL_CTL_ADD)
            wires[fd] = (struct wire){.is_known = false};
        wires[fd].epoll = epoll;
        wires[fd].event = *event;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, op, fd, event);
}

/* How many of the LEN octets are sent when the step is among them; 0: it is not. */
static size_t find_step(struct wire *w, const char *bytes, size_t len)
{
    struct stream s = w->out;
    uint64_t n = killer->steps[w->side ? TARGET_OUT : SOURCE_OUT];
    for (size_t at = 0; at < len;) {
        bool is_step = false;
        size_t unit = first_unit(&s, bytes + at, len - at, &is_step);
        n += is_step;
        if (is_step && n == killer->at.n)
            return at + what_is_made(unit) + (unit == 1);
        at += unit;
    }
    return 0;
}

static void count_sent(struct wire *w, const char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        bool is_step = false;
        size_t unit = first_unit(&w->out, bytes + at, len - at, &is_step);
        if (is_step)
            (void)is_the_step(w->side ? TARGET_OUT : SOURCE_OUT, "a send", bytes + at, unit);
        at += unit;
    }
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct wire *w = wire_of(fd);
    char *flat = NULL;
    size_t len = 0;
    if (!w)
        return syscall(SYS_sendmsg, fd, msg, flags);
    FILE *f = open_memstream(&flat, &len);
    for (size_t i = 0; f && i < (size_t)msg->msg_iovlen; i++)
        (void)fwrite(msg->msg_iov[i].iov_base, 1, msg->msg_iov[i].iov_len, f);
    if (!f || fclose(f) != 0)
        abort();
    enum kind kind = w->side ? TARGET_OUT : SOURCE_OUT;
    size_t part = kind == killer->at.kind ? find_step(w, flat, len) : 0;
    ssize_t sent = part ? (ssize_t)len : syscall(SYS_sendmsg, fd, msg, flags);
    if (part)
        (void)!syscall(SYS_sendto, fd, flat, part, flags, NULL, 0);
    if (sent > 0)
        count_sent(w, flat, (size_t)sent);
    free(flat);
    if (part)
        end_connection(fd);
    return sent;
}

/* Line by line, however the lines come. */
ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    struct wire *w = flags & MSG_PEEK ? NULL : wire_of(fd);
    ssize_t there = syscall(SYS_recvfrom, fd, buf, len, flags | (w ? MSG_PEEK : 0), NULL, NULL);
    if (!w || there <= 0)
        return there;
    bool is_step = false;
    size_t unit = first_unit(&w->in, buf, (size_t)there, &is_step);
    ssize_t n = syscall(SYS_recvfrom, fd, buf, unit, flags, NULL, NULL);
    if (n != (ssize_t)unit)
        abort();
    if (n < there) /* who reads less than there was waits for news */
        (void)syscall(SYS_epoll_ctl, w->epoll, EPOLL_CTL_MOD, fd, &w->event);
    if (is_step && is_the_step(w->side ? TARGET_IN : SOURCE_IN, "a read", buf, unit))
        end_connection(fd);
    return n;
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
    if (killer && is_the_step(DISK, "a write to the state", buf, len)) {
        (void)!syscall(SYS_pwrite64, fd, buf, what_is_made(len), at);
        end_here();
    }
    return syscall(SYS_pwrite64, fd, buf, len, at);
}

int fdatasync(int fd)
{
    if (killer && is_the_step(DISK, "a sync of the state", "", 0))
        end_here();
    return (int)syscall(SYS_fdatasync, fd);
}

int unlink(const char *path)
{
    if (killer && is_the_step(DISK, "a file of the state that goes", "", 0))
        end_here();
    return (int)syscall(SYS_unlink, path);
}

/* --- a pair of servers --------------------------------------------------------------------- */

struct pair {
    const char *name;
    unsigned port[2]; /* source, target */
    char separator[2];
    bool can_rename; /* the source */
};

/* Of one player: never twice the same account. */
struct play {
    const struct pair *pair;
    unsigned number;
    struct point at;
    char user[16];
    char dir[64], state_path[96];
    struct killer *killer;
    bool in_copy; /* was killed there */
};

/* The player gives up. */
#define GIVE_UP(...)                                                                               \
    do {                                                                                           \
        (void)fprintf(stderr, __VA_ARGS__);                                                        \
        (void)fputc('\n', stderr);                                                                 \
        _exit(3);                                                                                  \
    } while (0)

/* --- a client of our own ------------------------------------------------------------------- */

struct talk {
    FILE *in, *out;
    unsigned tag;
    char separator;
};

/* An untagged answer, with the literal in it, if there is one. */
typedef void line_fn(void *ctx, const char *line, const char *body, size_t len);

static char *get_line(struct talk *t)
{
    char *line = NULL;
    size_t cap = 0;
    if (getline(&line, &cap, t->in) < 0)
        GIVE_UP("the server has gone");
    line[strcspn(line, "\r\n")] = '\0';
    return line;
}

/* Behind a line that ends in {n}: the octets, and the rest of the line is put behind it. */
static char *get_literal(struct talk *t, char **line, size_t *len_out)
{
    size_t n = strlen(*line);
    const char *open = strrchr(*line, '{');
    if (n == 0 || (*line)[n - 1] != '}' || !open)
        return NULL;
    *len_out = strtoul(open + 1, NULL, 10);
    char *body = malloc(*len_out + 1);
    if (!body || fread(body, 1, *len_out, t->in) != *len_out)
        GIVE_UP("a literal breaks off");
    char *rest = get_line(t);
    char *both = NULL;
    if (asprintf(&both, "%s%s", *line, rest) < 0)
        GIVE_UP("no memory");
    free(rest);
    free(*line);
    *line = both;
    return body;
}

/* Reads to the tagged answer, which must be OK. */
static void hear(struct talk *t, const char *command, line_fn *each, void *ctx)
{
    char tag[16];
    (void)snprintf(tag, sizeof tag, "t%u ", t->tag);
    for (bool is_over = false; !is_over;) {
        size_t len = 0;
        char *line = get_line(t);
        char *body = get_literal(t, &line, &len);
        is_over = strncmp(line, tag, strlen(tag)) == 0;
        if (is_over && strncmp(line + strlen(tag), "OK", 2) != 0)
            GIVE_UP("%s: %s", command, line);
        if (!is_over && each)
            each(ctx, line, body, len);
        free(body);
        free(line);
    }
}

static void ask(struct talk *t, line_fn *each, void *ctx, const char *fmt, ...)
{
    char command[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    if (fprintf(t->out, "t%u %s\r\n", ++t->tag, command) < 0 || fflush(t->out) != 0)
        GIVE_UP("%s: cannot be sent", command);
    hear(t, command, each, ctx);
}
#define TELL(t, ...) ask(t, NULL, NULL, __VA_ARGS__)

static void talk_open(struct talk *t, const struct play *play, int side)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)play->pair->port[side]),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        GIVE_UP("no connection to port %u", play->pair->port[side]);
    *t = (struct talk){.in = fdopen(fd, "r"),
                       .out = fdopen(dup(fd), "w"),
                       .separator = play->pair->separator[side]};
    if (!t->in || !t->out)
        GIVE_UP("no memory");
    free(get_line(t));
    TELL(t, "LOGIN %s secret", play->user);
}

static void talk_close(struct talk *t)
{
    TELL(t, "LOGOUT");
    (void)fclose(t->in);
    (void)fclose(t->out);
}

/* In a ring of few: for one call. */
static const char *native(const struct talk *t, const char *path)
{
    static char ring[4][128];
    static unsigned next;
    char *name = ring[next++ % 4];
    (void)snprintf(name, sizeof ring[0], "%s", path);
    for (char *p = name; *p; p++)
        *p = *p == '/' ? t->separator : *p;
    return name;
}

/* --- the script ---------------------------------------------------------------------------- */

static void deliver(struct talk *t, const char *path, unsigned i, size_t size, const char *flags)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        GIVE_UP("no memory");
    (void)fprintf(
        f, "Subject: number %u\r\nFrom: a@b.example\r\nMessage-ID: <%u@b.example>\r\n\r\n", i, i);
    for (size_t n = 0; n < size; n += 64)
        (void)fprintf(f, "%08zu %.54s\r\n", n + i,
                      "the quick brown fox jumps over the lazy dog and back again");
    (void)fclose(f);
    (void)fprintf(t->out, "t%u APPEND \"%s\" (%s) \"%02u-Mar-2025 10:%02u:00 +0100\" {%zu}\r\n",
                  ++t->tag, native(t, path), flags, 1 + i % 28, i % 60, len);
    (void)fflush(t->out);
    char *go_on = get_line(t);
    if (go_on[0] != '+')
        GIVE_UP("APPEND %s: %s", path, go_on);
    free(go_on);
    (void)fwrite(text, 1, len, t->out);
    (void)fputs("\r\n", t->out);
    (void)fflush(t->out);
    hear(t, "APPEND", NULL, NULL);
    free(text);
}

static void deliver_numbers(struct talk *t, const char *path, unsigned first, unsigned n)
{
    static const char *const flags[] = {"", "\\Seen", "\\Seen \\Answered $Forwarded",
                                        "\\Flagged work", "\\Draft"};
    for (unsigned i = first; i < first + n; i++)
        deliver(t, path, i, 200 + i * 137 % 4000, flags[i % 5]);
}

static void make(struct talk *t, const char *path)
{
    TELL(t, "CREATE \"%s\"", native(t, path));
    TELL(t, "SUBSCRIBE \"%s\"", native(t, path));
}

static void fill(const struct play *play)
{
    static const char *const folders[] = {"Work", "Work/Plans", "Old", "Empty", "Gone"};
    struct talk t;
    talk_open(&t, play, 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(folders); i++)
        make(&t, folders[i]);
    deliver_numbers(&t, "INBOX", 0, 20);
    deliver(&t, "INBOX", 100, 700, "\\Seen work"); /* twins: UIDs 21 and 22 */
    deliver(&t, "INBOX", 100, 700, "\\Seen work");
    deliver_numbers(&t, "Work", 200, 12);
    deliver_numbers(&t, "Work/Plans", 300, 8);
    deliver(&t, "Work/Plans", 101, 500, "");
    deliver(&t, "Work/Plans", 101, 500, "\\Flagged"); /* twins that differ in their flags */
    deliver_numbers(&t, "Old", 400, 10);
    deliver(&t, "Old", 420, 300000, "\\Seen"); /* is cut through */
    deliver_numbers(&t, "Gone", 500, 5);
    talk_close(&t);
}

static void live_a_day(const struct play *play)
{
    struct talk t;
    talk_open(&t, play, 0);
    deliver_numbers(&t, "INBOX", 600, 3);
    deliver_numbers(&t, "Work", 700, 2);
    make(&t, "New");
    deliver_numbers(&t, "New", 800, 2);
    TELL(&t, "SELECT INBOX");
    TELL(&t, "UID STORE 1 +FLAGS (\\Flagged work)");
    TELL(&t, "UID STORE 2 FLAGS ($Forwarded later)");
    TELL(&t, "UID MOVE 3,9 \"Work\"");
    TELL(&t, "UID STORE 4,22 +FLAGS (\\Deleted)"); /* one of the twins */
    TELL(&t, "UID EXPUNGE 4,22");
    TELL(&t, "SELECT \"Work\"");
    TELL(&t, "UID MOVE 2,5 \"Old\"");
    TELL(&t, "SELECT \"Old\"");
    TELL(&t, "UID STORE 2 FLAGS (\\Answered)");
    TELL(&t, "UID STORE 1 +FLAGS (\\Deleted)");
    TELL(&t, "UID EXPUNGE 1");
    if (play->pair->can_rename)
        TELL(&t, "RENAME \"%s\" \"%s\"", native(&t, "Work/Plans"), native(&t, "Work/Done"));
    TELL(&t, "DELETE \"Gone\"");
    talk_close(&t);
}

/* --- what lies at the target, as text ------------------------------------------------------ */

static const char quarantine[] = "mailhaul-removed/";

static bool is_quarantine(const char *path)
{
    return strncmp(path, quarantine, sizeof quarantine - 1) == 0;
}

/* The quarantine is named after the day of the pass. */
static char *timeless(const char *path)
{
    const char *rest = is_quarantine(path) ? strchr(path + sizeof quarantine - 1, '/') : NULL;
    return rest ? mh_asprintf("%sDATE%s", quarantine, rest) : mh_strdup(path);
}

struct place {
    struct lines *lines;
    struct lines folders;
    const char *path; /* of the folder being read */
    char separator;
};

/* The last word of a LIST or LSUB line, without quotes, as a path. */
static char *listed_path(const struct place *p, const char *line)
{
    const char *attrs = strchr(line, ')');
    const char *from = attrs ? strchr(attrs + 2, ' ') : NULL;
    if (!from)
        return NULL;
    from += from[1] == '"' ? 2 : 1;
    char *path = mh_strdup(from);
    for (char *c = path; c && *c; c++)
        *c = *c == '"' ? '\0' : *c == p->separator ? '/' : *c;
    return path;
}

static void on_listed(void *ctx, const char *line, const char *body, size_t len)
{
    struct place *p = ctx;
    (void)body;
    (void)len;
    if (strncmp(line, "* LIST ", 7) != 0 || strstr(line, "\\Noselect") ||
        strstr(line, "\\NonExistent"))
        return;
    char *path = listed_path(p, line);
    if (!path)
        GIVE_UP("cannot read: %s", line);
    if (!is_quarantine(path)) /* those of the quarantine come and go with what is in them */
        lines_add(p->lines, mh_asprintf("folder %s", path));
    lines_add(&p->folders, path);
}

static void on_subscribed(void *ctx, const char *line, const char *body, size_t len)
{
    struct place *p = ctx;
    (void)body;
    (void)len;
    char *path = strncmp(line, "* LSUB ", 7) == 0 ? listed_path(p, line) : NULL;
    if (path && !is_quarantine(path))
        lines_add(p->lines, mh_asprintf("subscribed %s", path));
    mh_free(path);
}

/* "(\Seen work)" behind NAME, its words in order. */
static char *sorted_flags(const char *line)
{
    const char *from = strstr(line, "FLAGS (");
    struct lines words = {NULL, 0, 0};
    struct mh_buf out = MH_BUF_INIT;
    if (!from)
        GIVE_UP("no flags: %s", line);
    from += 7;
    char *list = strndup(from, strcspn(from, ")"));
    for (char *w = strtok(list, " "); w; w = strtok(NULL, " "))
        if (strcmp(w, "\\Recent") != 0)
            lines_add(&words, mh_strdup(w));
    lines_sort(&words);
    for (size_t i = 0; i < words.n; i++)
        mh_buf_addf(&out, "%s%s", i ? " " : "", words.v[i]);
    free(list);
    return mh_strdup(mh_buf_str(&out));
}

static void on_message(void *ctx, const char *line, const char *body, size_t len)
{
    struct place *p = ctx;
    const char *date = strstr(line, "INTERNALDATE \"");
    uint64_t hash = 14695981039346656037ull;
    if (!strstr(line, " FETCH (") || !body)
        return;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)body[i]) * 1099511628211ull;
    char *path = timeless(p->path);
    lines_add(p->lines,
              mh_asprintf("%s: %zu octets %016llx, flags [%s], date %.26s", path, len,
                          (unsigned long long)hash, sorted_flags(line), date ? date + 14 : "none"));
    mh_free(path);
}

static struct lines lines_of(const struct play *play, int side)
{
    struct lines l = {NULL, 0, 0};
    struct talk t;
    struct place p = {.lines = &l, .separator = play->pair->separator[side]};
    talk_open(&t, play, side);
    ask(&t, on_listed, &p, "LIST \"\" \"*\"");
    ask(&t, on_subscribed, &p, "LSUB \"\" \"*\"");
    for (size_t i = 0; i < p.folders.n; i++) {
        p.path = p.folders.v[i];
        TELL(&t, "EXAMINE \"%s\"", native(&t, p.path));
        ask(&t, on_message, &p, "UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
    }
    talk_close(&t);
    lines_sort(&l);
    return l;
}

/* --- the program --------------------------------------------------------------------------- */

struct loop_thread {
    pthread_t thread;
    sem_t ready;
    struct mh_loop *loop;
};

static void *loop_main(void *arg)
{
    struct loop_thread *t = arg;
    struct mh_err err;
    if (mh_loop_new(&t->loop, &err) == 0)
        mh_sched_hold(mh_loop_sched(t->loop));
    (void)sem_post(&t->ready);
    if (t->loop)
        mh_sched_run(mh_loop_sched(t->loop));
    return NULL;
}

static int same_names(void *ctx, const struct mh_map_question *q, struct mh_engine_map *out,
                      struct mh_err *err)
{
    (void)ctx;
    out->v = mh_zalloc(q->source->n * sizeof *out->v);
    for (size_t i = 0; out->v && i < q->source->n; i++) {
        struct mh_engine_map_entry *e = &out->v[out->n++];
        *e = (struct mh_engine_map_entry){.source = &q->source->v[i], .why = "same"};
        e->target_path = mh_strdup(q->source->v[i].path);
        if (!e->target_path)
            return mh_err_nomem(err);
    }
    return out->v ? 0 : mh_err_nomem(err);
}

static int endpoint_of(const struct play *play, int side, struct mh_endpoint *ep,
                       struct mh_err *err)
{
    char url[128];
    (void)snprintf(url, sizeof url, "imap://%s@127.0.0.1:%u/?tls=none", play->user,
                   play->pair->port[side]);
    mh_endpoint_init(ep);
    int rc = mh_endpoint_parse_url(url, ep, err);
    ep->secret.value = mh_strdup("secret");
    return rc;
}

static void say_problem(const struct mh_err *err)
{
    if (err->code != 0 && !killer->problem[0])
        (void)mh_err_line(err, killer->problem, sizeof killer->problem);
}

/* Everything was decided, and nothing has failed. */
static bool went_through(const struct mh_result *res)
{
    bool is_fine = res->counts.failed == 0;
    for (size_t i = 0; i < res->n_mailboxes; i++) {
        const struct mh_mailbox_result *m = &res->mailboxes[i];
        is_fine = is_fine && m->err.code == 0;
        say_problem(&m->err);
        for (size_t k = 0; k < m->n_folders; k++) {
            is_fine = is_fine && m->folders[k].err.code == 0;
            say_problem(&m->folders[k].err);
        }
    }
    return is_fine;
}

/* The engine, from its start to its end, in a process of its own. */
static int run_engine(const struct play *play, struct mh_sched *sched, struct mh_err *err)
{
    static struct mh_progress progress;
    static _Atomic int stop;
    struct mh_endpoint ep[2];
    struct mh_result res = {.n_mailboxes = 0};
    const struct mh_engine_mailbox mailbox = {
        .id = play->user, .source = &ep[0], .target = &ep[1], .progress = &progress};
    const struct mh_connector *const connectors[] = {&mh_imap};
    struct mh_engine_config cfg = {.scheds = &sched,
                                   .n_scheds = 1,
                                   .connectors = connectors,
                                   .n_connectors = 1,
                                   .timeout_ms = 30000,
                                   .mailboxes = &mailbox,
                                   .n_mailboxes = 1,
                                   .map = same_names,
                                   .quarantines = true,
                                   .stop = &stop};
    int rc = endpoint_of(play, 0, &ep[0], err);
    rc = rc ? rc : endpoint_of(play, 1, &ep[1], err);
    rc = rc ? rc : mh_pool_new(32u << 20, &cfg.pool, err);
    rc = rc ? rc : mh_net_new(NULL, NULL, &cfg.net, err);
    rc = rc ? rc : mh_state_open(play->state_path, false, &cfg.state, err);
    rc = rc ? rc : mh_engine_run(&cfg, &res, err);
    killer->is_done = rc == 0 && went_through(&res);
    killer->counts = res.counts;
    mh_result_done(&res);
    int closed = cfg.state ? mh_state_close(cfg.state, err) : 0;
    return rc ? rc : closed;
}

static _Noreturn void program_main(const struct play *play)
{
    struct loop_thread t = {.loop = NULL};
    struct mh_err err;
    killer = play->killer;
    mh_log_set_level(MH_LOG_ERROR);
    mh_err_reset(&err);
    (void)alarm(KILLED_PROGRAM_S);
    if (sem_init(&t.ready, 0, 0) != 0 || pthread_create(&t.thread, NULL, loop_main, &t) != 0)
        _exit(2);
    while (sem_wait(&t.ready) != 0)
        ;
    if (!t.loop)
        _exit(2);
    int rc = run_engine(play, mh_loop_sched(t.loop), &err);
    say_problem(&err);
    mh_sched_release(mh_loop_sched(t.loop));
    (void)pthread_join(t.thread, NULL);
    _exit(rc == 0 ? 0 : 1);
}

/* --- a play -------------------------------------------------------------------------------- */

/* As whoever reads of a failure repeats it. */
static const char *name_of(const struct play *play)
{
    static char name[400];
    (void)snprintf(name, sizeof name, "%s, MH_TEST_STEP='%s%llu' MH_TEST_HOW=%s (in the %s: %s)",
                   play->pair->name, kind_names[play->at.kind], (unsigned long long)play->at.n,
                   how_names[play->at.how], play->in_copy ? "copy" : "delta", play->killer->what);
    return name;
}

/* True: it has done its work. */
static bool program(struct play *play)
{
    int status = 0;
    struct killer *k = play->killer;
    bool was_hit = k->was_hit;
    k->is_done = false;
    k->problem[0] = '\0';
    pid_t pid = fork();
    if (pid == 0)
        program_main(play);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        GIVE_UP("a process cannot be had");
    bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (is_killed && k->was_hit && !was_hit)
        k->at.n = 0;
    else if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
        GIVE_UP("%s: the program ended with status %x: %s", name_of(play), (unsigned)status,
                k->problem);
    return !is_killed && k->is_done;
}

static void program_until_done(struct play *play)
{
    struct killer *k = play->killer;
    for (unsigned tries = 0; !program(play); tries++)
        if (tries == KILLED_TRIES)
            GIVE_UP("%s: it does not end: %s", name_of(play), k->problem);
}

/* A pass without news changes nothing, at the target neither. */
static bool is_quiet(struct play *play, const char *what)
{
    struct lines before = lines_of(play, 1);
    play->killer->at.n = 0;
    program_until_done(play);
    struct lines after = lines_of(play, 1);
    const struct mh_counts *c = &play->killer->counts;
    uint64_t changes = c->copied + c->moved + c->updated + c->removed + c->failed;
    if (!lines_same(&before, &after)) {
        (void)fprintf(stderr, "%s: a pass without news changed something\n", what);
        lines_report(what, &before, &after);
        return false;
    }
    if (changes > 0)
        (void)fprintf(
            stderr,
            "%s: a pass without news: %llu copied, %llu moved, %llu updated, %llu removed, "
            "%llu failed\n",
            what, (unsigned long long)c->copied, (unsigned long long)c->moved,
            (unsigned long long)c->updated, (unsigned long long)c->removed,
            (unsigned long long)c->failed);
    return changes == 0;
}

static void play_init(struct play *play)
{
    (void)snprintf(play->user, sizeof play->user, "user%0*u", KILLED_USER_DIGITS, play->number + 1);
    (void)snprintf(play->dir, sizeof play->dir, "/tmp/mh-killed-XXXXXX");
    if (!mkdtemp(play->dir))
        GIVE_UP("no folder");
    (void)snprintf(play->state_path, sizeof play->state_path, "%s/state.db", play->dir);
}

static void play_done(const struct play *play)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", play->dir);
    if (system(command) != 0)
        GIVE_UP("%s stays", play->dir);
}

/* WANT NULL: this is the undisturbed one; its end goes to FD, line by line. */
static _Noreturn void play_main(struct play *play, const struct lines *want, int fd)
{
    uint64_t steps[KINDS];
    struct killer *k = play->killer;
    play_init(play);
    k->at = play->at;
    k->port[0] = play->pair->port[0];
    k->port[1] = play->pair->port[1];
    fill(play);
    program_until_done(play);
    play->in_copy = k->was_hit;
    live_a_day(play);
    program_until_done(play);
    for (int i = 0; i < KINDS; i++)
        steps[i] = k->steps[i];
    struct lines got = lines_of(play, 1);
    bool is_fine = is_quiet(play, name_of(play));
    for (size_t i = 0; !want && i < got.n; i++)
        is_fine = is_fine && dprintf(fd, "%s\n", got.v[i]) > 0;
    if (want) {
        if (!lines_same(want, &got)) {
            (void)fprintf(stderr, "%s: not the undisturbed end\n", name_of(play));
            lines_report(name_of(play), want, &got);
            is_fine = false;
        }
    }
    for (int i = 0; i < KINDS; i++)
        k->steps[i] = steps[i];
    play_done(play);
    _exit(is_fine ? 0 : 1);
}

/* --- all plays ----------------------------------------------------------------------------- */

static struct killer *killer_new(void)
{
    struct killer *k =
        mmap(NULL, sizeof *k, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(k, MAP_FAILED);
    return k;
}

struct tally {
    const struct pair *pair;
    struct lines want;
    uint64_t steps[KINDS]; /* of the undisturbed play */
    uint64_t plays, hits, failures;
    struct {
        pid_t pid;
        struct killer *killer;
    } players[KILLED_PLAYERS];
    unsigned n;
};

static void tally_one(struct tally *tally)
{
    int status = 0;
    pid_t pid = waitpid(-1, &status, 0);
    cr_assert_gt(pid, 0);
    for (unsigned i = 0; i < tally->n; i++) {
        if (tally->players[i].pid != pid)
            continue;
        tally->plays++;
        tally->hits += tally->players[i].killer->was_hit;
        tally->failures += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        (void)munmap(tally->players[i].killer, sizeof(struct killer));
        tally->players[i] = tally->players[--tally->n];
        return;
    }
}

static void play_at(struct tally *tally, struct point at)
{
    static unsigned number;
    if (tally->n == KILLED_PLAYERS)
        tally_one(tally);
    struct play play = {.pair = tally->pair, .number = ++number, .at = at, .killer = killer_new()};
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        play_main(&play, &tally->want, -1);
    tally->players[tally->n].pid = pid;
    tally->players[tally->n++].killer = play.killer;
}

/* The undisturbed end, and how many steps there are. */
static void play_undisturbed(struct tally *tally)
{
    char *line = NULL;
    size_t cap = 0;
    int status = 0;
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    struct play play = {.pair = tally->pair, .killer = killer_new()};
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        play_main(&play, NULL, fds[1]);
    (void)close(fds[1]);
    FILE *f = fdopen(fds[0], "r");
    cr_assert(f);
    while (getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        lines_add(&tally->want, mh_strdup(line));
    }
    free(line);
    (void)fclose(f);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: undisturbed: status %x",
              tally->pair->name, (unsigned)status);
    for (int i = 0; i < KINDS; i++) {
        tally->steps[i] = play.killer->steps[i];
        cr_assert_gt(tally->steps[i], 20, "%s: %llu steps of %s only", tally->pair->name,
                     (unsigned long long)tally->steps[i], kind_names[i]);
    }
    cr_assert_gt(tally->want.n, 60);
    (void)munmap(play.killer, sizeof *play.killer);
}

static uint64_t steps_of(const struct tally *tally, bool is_cut)
{
    uint64_t n = 0;
    for (int i = 0; i < (is_cut ? DISK : KINDS); i++)
        n += tally->steps[i];
    return n;
}

/* The Ith (0 = first) of all steps, the kinds behind each other. */
static struct point point_of(const struct tally *tally, uint64_t i, enum how how)
{
    int kind = 0;
    while (i >= tally->steps[kind])
        i -= tally->steps[kind++];
    return (struct point){.kind = (enum kind)kind, .n = i + 1, .how = how};
}

static unsigned long long state_of_chance;

static unsigned long long chance_below(unsigned long long n)
{
    state_of_chance ^= state_of_chance << 13;
    state_of_chance ^= state_of_chance >> 7;
    state_of_chance ^= state_of_chance << 17;
    return (state_of_chance * 0x2545f4914f6cdd1dull >> 11) % n;
}

/* N of the steps, one out of each stretch. */
static void play_sample(struct tally *tally, uint64_t n, bool is_cut)
{
    uint64_t steps = steps_of(tally, is_cut);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t from = i * steps / n;
        uint64_t at = from + chance_below((i + 1) * steps / n - from);
        play_at(tally, point_of(tally, at, is_cut ? HOW_CUT : at % 2 ? HOW_WHOLE : HOW_HALF));
    }
}

static void play_them_all(struct tally *tally)
{
    for (int how = 0; how < HOWS; how++) {
        uint64_t steps = steps_of(tally, how == HOW_CUT);
        uint64_t n = steps > KILLED_STEPS_ALL ? KILLED_STEPS_ALL : steps;
        for (uint64_t i = 0; i < n; i++)
            play_at(tally, point_of(tally, i * steps / n, (enum how)how));
    }
}

/* "target<17" */
static struct point point_named(const char *step, const char *how)
{
    struct point p = {.how = HOW_WHOLE};
    for (int i = 0; i < KINDS; i++) {
        if (strncmp(step, kind_names[i], strlen(kind_names[i])) == 0)
            p = (struct point){.kind = (enum kind)i,
                               .n = strtoull(step + strlen(kind_names[i]), NULL, 10),
                               .how = HOW_WHOLE};
    }
    for (int i = 0; how && i < HOWS; i++)
        p.how = strcmp(how, how_names[i]) == 0 ? (enum how)i : p.how;
    cr_assert_gt(p.n, 0, "no step: %s", step);
    return p;
}

/* How many are tried without MH_TEST_ALL. */
struct effort {
    uint64_t kills, cuts;
};

static void end_everywhere(const struct pair *pair, struct effort effort)
{
    struct tally tally = {.pair = pair};
    const char *given = getenv("MH_TEST_SEED");
    const char *step = getenv("MH_TEST_STEP");
    unsigned long long seed =
        given ? strtoull(given, NULL, 10) : (unsigned long long)mh_clock_wall_s();
    state_of_chance = seed * 2654435769u + 88172645463325252ull;
    play_undisturbed(&tally);
    (void)fprintf(stderr, "%s: MH_TEST_SEED=%llu, %llu steps, %llu of them on the wire\n",
                  pair->name, seed, (unsigned long long)steps_of(&tally, false),
                  (unsigned long long)steps_of(&tally, true));
    if (step) {
        play_at(&tally, point_named(step, getenv("MH_TEST_HOW")));
    } else if (getenv("MH_TEST_ALL")) {
        play_them_all(&tally);
    } else {
        play_sample(&tally, effort.kills, false);
        play_sample(&tally, effort.cuts, true);
    }
    while (tally.n > 0)
        tally_one(&tally);
    (void)fprintf(stderr, "%s: %llu plays, %llu ended at their step, %llu failed\n", pair->name,
                  (unsigned long long)tally.plays, (unsigned long long)tally.hits,
                  (unsigned long long)tally.failures);
    cr_expect_eq(tally.failures, 0, "%s: %llu plays failed", pair->name,
                 (unsigned long long)tally.failures);
    cr_expect_geq(tally.hits * 10, tally.plays * 8, "%s: %llu plays, %llu hits", pair->name,
                  (unsigned long long)tally.plays, (unsigned long long)tally.hits);
    for (size_t i = 0; i < tally.want.n; i++)
        mh_free(tally.want.v[i]);
    free(tally.want.v);
}

#endif
