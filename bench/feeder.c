/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The limit: how fast a target takes messages when there is no source. Messages lie in memory, are sent by
 * MULTIAPPEND with LITERAL+, three commands on the way per connection, nothing is computed or remembered.
 * What mailhaul reaches is quoted as a share of the best that this finds.
 *
 * --waiting is the other end: each message with a synchronising literal, `+` and answer waited for, which is
 * what a plain client does.
 *
 * usage: feeder --port P --maildir DIR [--users N] [--connections N] [--batch N] [--messages N] [--single | --waiting]
 *   DIR holds user01 …; user I's messages go into the INBOX of account I, spread over N connections.
 * Prints one line: messages seconds messages/s MB/s.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 3, READ_BYTES = 65536 };

struct message {
    char *data;
    size_t len;
};

struct mailbox {
    struct message *v;
    size_t n, cap;
    size_t next; /* shared by its connections */
    pthread_mutex_t lock;
};

struct feed {
    struct mailbox *box;
    unsigned user;
    int fd;
    sem_t credit; /* commands that may still be on the way */
    sem_t done;
    pthread_t writer, reader;
    size_t commands; /* sent; published by done */
    size_t sent;
};

static char line_end[] = "\r\n";
static unsigned port, users = 1, connections = 1, batch = 100;
static size_t most = SIZE_MAX;
static bool is_single, is_waiting;

static void die(const char *what)
{
    (void)fprintf(stderr, "feeder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void load_file(struct mailbox *box, const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) != 0)
        die(path);
    if (box->n == box->cap) {
        box->cap = box->cap ? 2 * box->cap : 256;
        box->v = realloc(box->v, box->cap * sizeof *box->v);
    }
    struct message m = {malloc((size_t)st.st_size + 1), (size_t)st.st_size};
    if (!box->v || !m.data || fread(m.data, 1, m.len, f) != m.len)
        die(path);
    (void)fclose(f);
    box->v[box->n++] = m;
}

/* All messages of a Maildir++ tree, whatever folder they are in. */
static void load_tree(struct mailbox *box, const char *dir)
{
    char path[4096];
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d)) && box->n < most;) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        bool is_cur = strcmp(e->d_name, "cur") == 0;
        if (is_cur || (e->d_name[0] == '.' && e->d_name[1] && strcmp(e->d_name, "..") != 0))
            load_tree(box, path);
        else if (strlen(dir) > 4 && strcmp(dir + strlen(dir) - 4, "/cur") == 0 &&
                 e->d_name[0] != '.')
            load_file(box, path);
    }
    (void)closedir(d);
}

static void send_all(int fd, struct iovec *v, int n)
{
    while (n) {
        ssize_t sent = writev(fd, v, n);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            die("write");
        while (n && (size_t)sent >= v->iov_len) {
            sent -= (ssize_t)v->iov_len;
            v++;
            n--;
        }
        if (n) {
            v->iov_base = (char *)v->iov_base + sent;
            v->iov_len -= (size_t)sent;
        }
    }
}

/* The next messages of the mailbox, at most one batch. */
static size_t take(struct mailbox *box, size_t *first)
{
    (void)pthread_mutex_lock(&box->lock);
    size_t n = box->n - box->next < batch ? box->n - box->next : batch;
    *first = box->next;
    box->next += n;
    (void)pthread_mutex_unlock(&box->lock);
    return n;
}

static void *write_main(void *arg)
{
    struct feed *f = arg;
    char(*heads)[64] = malloc(batch * sizeof *heads);
    struct iovec *v = malloc((2 * batch + 1) * sizeof *v);
    size_t first = 0;
    size_t n = 0;
    if (!heads || !v)
        die("memory");
    while ((n = take(f->box, &first))) {
        int k = 0;
        for (size_t i = 0; i < n; i++) {
            bool opens = is_single || i == 0;
            int len = snprintf(heads[i], sizeof heads[i],
                               opens ? "%sA APPEND INBOX {%zu+}\r\n" : "%s {%zu+}\r\n",
                               opens && i ? "\r\n" : "", f->box->v[first + i].len);
            v[k++] = (struct iovec){heads[i], (size_t)len};
            v[k++] = (struct iovec){f->box->v[first + i].data, f->box->v[first + i].len};
        }
        v[k++] = (struct iovec){line_end, 2};
        while (sem_wait(&f->credit) != 0)
            ;
        send_all(f->fd, v, k);
        f->commands += is_single ? n : 1;
        f->sent += n;
    }
    free(heads);
    free(v);
    (void)sem_post(&f->done);
    return NULL;
}

/* Reads until a line that begins with START. */
static void await(int fd, const char *start)
{
    char line[512];
    size_t at = 0;
    for (;;) {
        ssize_t n = recv(fd, line + at, 1, 0);
        if (n < 0 && errno == EAGAIN)
            continue;
        if (n <= 0)
            die("read");
        if (line[at] != '\n') {
            at += at < sizeof line - 1;
            continue;
        }
        if (strncmp(line, start, strlen(start)) == 0)
            return;
        if (line[0] == 'A') {
            (void)fprintf(stderr, "feeder: refused: %.*s\n", (int)at, line);
            exit(1);
        }
        at = 0;
    }
}

static void *wait_main(void *arg)
{
    struct feed *f = arg;
    char head[64];
    size_t first = 0;
    batch = 1;
    while (take(f->box, &first)) {
        struct message *m = &f->box->v[first];
        int len = snprintf(head, sizeof head, "A APPEND INBOX {%zu}\r\n", m->len);
        struct iovec v[] = {{head, (size_t)len}, {m->data, m->len}, {line_end, 2}};
        send_all(f->fd, &v[0], 1);
        await(f->fd, "+");
        send_all(f->fd, &v[1], 2);
        await(f->fd, "A OK");
    }
    return NULL;
}

static void *read_main(void *arg)
{
    struct feed *f = arg;
    char buf[READ_BYTES];
    char line[160] = "";
    size_t at = 0;
    size_t answered = 0;
    bool is_over = false;
    for (;;) {
        is_over = is_over || sem_trywait(&f->done) == 0;
        if (is_over && answered == f->commands)
            return NULL;
        ssize_t n = recv(f->fd, buf, sizeof buf, 0);
        if (n < 0 && errno == EAGAIN)
            continue; /* the receive timeout: look whether the writer has ended */
        if (n <= 0)
            die("read");
        for (ssize_t i = 0; i < n; i++) {
            if (at < sizeof line - 1)
                line[at++] = buf[i];
            if (buf[i] != '\n')
                continue;
            if (strncmp(line, "A OK", 4) == 0) {
                answered++;
                if (!is_single || answered % batch == 0)
                    (void)sem_post(&f->credit);
            } else if (line[0] == 'A') {
                (void)fprintf(stderr, "feeder: refused: %.*s\n", (int)at, line);
                exit(1);
            }
            at = 0;
            memset(line, 0, sizeof line);
        }
    }
}

static void log_in(struct feed *f)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval timeout = {.tv_usec = 20000};
    char text[64];
    char answer[4096] = "";
    size_t at = 0;
    int one = 1;
    (void)inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    f->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (f->fd < 0 || connect(f->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    (void)setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int len = snprintf(text, sizeof text, "L LOGIN user%02u secret\r\n", f->user);
    if (write(f->fd, text, (size_t)len) != len)
        die("login");
    while (!strstr(answer, "L OK")) {
        ssize_t n = read(f->fd, answer + at, sizeof answer - 1 - at);
        if (n <= 0 || strstr(answer, "L NO"))
            die("login");
        at += (size_t)n;
    }
    (void)setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

static double now(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void read_options(int argc, char **argv, const char **dir)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},        {"maildir", 1, NULL, 'm'}, {"users", 1, NULL, 'u'},
        {"connections", 1, NULL, 'c'}, {"batch", 1, NULL, 'b'},   {"messages", 1, NULL, 'n'},
        {"single", 0, NULL, 's'},      {"waiting", 0, NULL, 'w'}, {NULL, 0, NULL, 0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;
        switch (o) {
        case 'p':
            port = (unsigned)n;
            break;
        case 'm':
            *dir = optarg;
            break;
        case 'u':
            users = (unsigned)n;
            break;
        case 'c':
            connections = (unsigned)n;
            break;
        case 'b':
            batch = (unsigned)n;
            break;
        case 'n':
            most = n;
            break;
        case 's':
            is_single = true;
            break;
        case 'w':
            is_waiting = true;
            break;
        default:
            exit(2);
        }
    }
    if (!*dir || !port || !users || !connections || !batch) {
        (void)fprintf(
            stderr,
            "usage: feeder --port P --maildir DIR [--users N] [--connections N] [--batch N] "
            "[--messages N] [--single | --waiting]\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    const char *dir = NULL;
    size_t messages = 0;
    size_t bytes = 0;
    read_options(argc, argv, &dir);
    struct mailbox *boxes = calloc(users, sizeof *boxes);
    struct feed *feeds = calloc((size_t)users * connections, sizeof *feeds);
    if (!boxes || !feeds)
        die("memory");
    for (unsigned u = 0; u < users; u++) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/user%02u", dir, u + 1);
        (void)pthread_mutex_init(&boxes[u].lock, NULL);
        load_tree(&boxes[u], path);
        messages += boxes[u].n;
        for (size_t i = 0; i < boxes[u].n; i++)
            bytes += boxes[u].v[i].len;
    }
    size_t n = (size_t)users * connections;
    for (size_t i = 0; i < n; i++) {
        feeds[i].box = &boxes[i / connections];
        feeds[i].user = (unsigned)(i / connections) + 1;
        (void)sem_init(&feeds[i].credit, 0, WINDOW);
        (void)sem_init(&feeds[i].done, 0, 0);
        log_in(&feeds[i]);
    }
    double start = now();
    for (size_t i = 0; i < n; i++) {
        (void)pthread_create(&feeds[i].writer, NULL, is_waiting ? wait_main : write_main,
                             &feeds[i]);
        if (!is_waiting)
            (void)pthread_create(&feeds[i].reader, NULL, read_main, &feeds[i]);
    }
    for (size_t i = 0; i < n; i++) {
        (void)pthread_join(feeds[i].writer, NULL);
        if (!is_waiting)
            (void)pthread_join(feeds[i].reader, NULL);
    }
    double seconds = now() - start;
    (void)printf("%zu %.3f %.0f %.1f\n", messages, seconds, (double)messages / seconds,
                 (double)bytes / seconds / 1e6);
    return 0;
}
