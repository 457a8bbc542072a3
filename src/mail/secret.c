/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/endpoint.h"

extern char **environ;

#define AUTH(err, ...) mh_err_set(err, MH_EAUTH, "secret", __VA_ARGS__)

void mh_secret_wipe(struct mh_buf *b)
{
    if (b->data)
        OPENSSL_cleanse(b->data, b->cap);
    mh_buf_done(b);
}

/* What a file or command gave; of fixed size, so that no growing leaves copies behind. */
struct raw {
    char *data; /* owned: MH_SECRET_MAX_BYTES, wiped when freed */
    size_t len;
};

static void raw_done(struct raw *r)
{
    if (r->data)
        OPENSSL_cleanse(r->data, MH_SECRET_MAX_BYTES);
    mh_free(r->data);
}

/* Reads FD to its end or to DEADLINE_MS. WHAT names it in messages. */
static int raw_read(struct raw *r, int fd, int64_t deadline_ms, const char *what,
                    struct mh_err *err)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - mh_clock_mono_ms();
        int ready = poll(&p, 1, (int)MH_MAX(left_ms, 0));
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            return AUTH(err, "%s brought nothing for %d seconds", what,
                        MH_SECRET_COMMAND_TIMEOUT_MS / 1000);
        if (r->len == MH_SECRET_MAX_BYTES)
            return AUTH(err, "%s gives more than %zu KiB: that is no password", what,
                        MH_SECRET_MAX_BYTES / 1024);
        ssize_t n = read(fd, r->data + r->len, MH_SECRET_MAX_BYTES - r->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mh_err_sys(err, MH_EAUTH, "secret", errno, "cannot read %s", what);
        if (n == 0)
            return 0;
        r->len += (size_t)n;
    }
}

/* The first line of R, without its end, into OUT. */
static int take_first_line(const struct raw *r, const char *what, struct mh_buf *out,
                           struct mh_err *err)
{
    const char *lf = r->len ? memchr(r->data, '\n', r->len) : NULL;
    size_t len = lf ? (size_t)(lf - r->data) : r->len;
    if (len && r->data[len - 1] == '\r')
        len--;
    if (len == 0)
        return AUTH(err, "the first line of %s is empty: the password must stand there", what);
    if (memchr(r->data, '\0', len))
        return AUTH(err, "%s has a NUL byte in its first line: it must be text (UTF-8)", what);
    mh_buf_add(out, r->data, len);
    return mh_buf_failed(out) ? mh_err_nomem(err) : 0;
}

/* --- from a file ------------------------------------------------------------------------------ */

static void warn_if_readable(int fd, const char *file)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRGRP | S_IROTH)))
        mh_log(NULL, MH_LOG_WARNING,
               "the password file %s can be read by other users of this machine: chmod 600 it",
               file);
}

static int from_file(const char *file, struct raw *r, const char *what, struct mh_err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return mh_err_sys(err, MH_EAUTH, "secret", errno, "cannot open %s", what);
    warn_if_readable(fd, file);
    int rc = raw_read(r, fd, mh_clock_mono_ms() + MH_SECRET_COMMAND_TIMEOUT_MS, what, err);
    (void)close(fd);
    return rc;
}

/* --- from a command --------------------------------------------------------------------------- */

/* Starts ARGV with its output into WRITE_FD, nothing to read, and our own stderr. */
static int spawn(char *const *argv, int write_fd, pid_t *pid_out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t defaults;
    sigset_t none;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&attr) != 0) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    (void)sigemptyset(&none);
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    (void)sigaddset(&defaults, SIGINT);
    (void)sigaddset(&defaults, SIGTERM);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &defaults);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, write_fd, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawnp(pid_out, argv[0], &actions, &attr, argv, environ);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static int check_status(int status, const char *what, struct mh_err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFSIGNALED(status))
        return AUTH(err, "%s was ended by signal %d", what, WTERMSIG(status));
    return AUTH(err, "%s failed with exit code %d: try it by hand", what, WEXITSTATUS(status));
}

static int from_command(char *const *argv, struct raw *r, const char *what, struct mh_err *err)
{
    if (!argv[0])
        return AUTH(err, "the password command is empty");
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return mh_err_sys(err, MH_EAUTH, "secret", errno, "cannot make a pipe for %s", what);
    pid_t pid = 0;
    int errnum = spawn(argv, fds[1], &pid);
    (void)close(fds[1]);
    if (errnum != 0) {
        (void)close(fds[0]);
        return mh_err_sys(err, MH_EAUTH, "secret", errnum, "cannot run %s", what);
    }
    int rc = raw_read(r, fds[0], mh_clock_mono_ms() + MH_SECRET_COMMAND_TIMEOUT_MS, what, err);
    (void)close(fds[0]);
    if (rc < 0)
        (void)kill(pid, SIGKILL);
    int status = 0;
    pid_t waited = 0;
    do
        waited = waitpid(pid, &status, 0);
    while (waited < 0 && errno == EINTR);
    if (rc == 0 && waited < 0)
        rc = mh_err_sys(err, MH_EAUTH, "secret", errno, "lost %s", what);
    return rc < 0 ? rc : check_status(status, what, err);
}

/* --- the contract ----------------------------------------------------------------------------- */

static int get_external(const struct mh_secret_source *s, struct mh_buf *out, struct mh_err *err)
{
    char *what = s->file
                     ? mh_asprintf("the password file %s", s->file)
                     : mh_asprintf("the password command %s", s->command[0] ? s->command[0] : "");
    struct raw r = {.data = mh_alloc(MH_SECRET_MAX_BYTES)};
    int rc = 0;
    if (!what || !r.data)
        rc = mh_err_nomem(err);
    else
        rc = s->file ? from_file(s->file, &r, what, err) : from_command(s->command, &r, what, err);
    if (rc == 0)
        rc = take_first_line(&r, what, out, err);
    raw_done(&r);
    mh_free(what);
    return rc;
}

int mh_secret_get(const struct mh_secret_source *s, struct mh_buf *out, struct mh_err *err)
{
    mh_buf_reset(out);
    if (s->file || s->command)
        return get_external(s, out, err);
    if (!s->value)
        return AUTH(err, "no password is configured: give --source-password-file or "
                         "--target-password-file (or -command), set MAILHAUL_SOURCE_PASSWORD or "
                         "MAILHAUL_TARGET_PASSWORD, or run it on a terminal to be asked");
    if (!*s->value)
        return AUTH(err, "the password is empty (from the environment, the prompt or the CSV)");
    mh_buf_adds(out, s->value);
    return mh_buf_failed(out) ? mh_err_nomem(err) : 0;
}
