/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who works with a store. The locks lie on two files beside it, and the kernel drops them when the holder dies, so that a
 * dead holder never keeps anybody out. All of them belong to the open file description: two handles of one process exclude
 * each other like two processes do.
 *
 *     PATH.lock          one run at a time, for as long as it works. Behind the holder's words: when it wrote last, by
 *                        a clock that nobody sets
 *     PATH.verify.lock   byte 0       one process at a time opens the store and sets it up
 *                        byte 1       somebody, or several, beside the run wait to write: the run leaves them a gap
 *                        RECORD * n   mailbox n is being verified; the holder's words lie there
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "state/state_priv.h"

enum {
    RECORD_BYTES = 256, /* of words, and of the range that is locked for them */
    STAMP_AT = RECORD_BYTES,
    STAMP_BYTES = 96,
    OPENING_BYTE = 0,
    WAITING_BYTE = 1,
    /* Opening takes moments, but for a big store of an older schema or one that has to be looked through. */
    OPENING_WAIT_MS = 60 * 1000,
    OPENING_LOOK_MS = 10,
};

static bool set_range(int fd, short type, off_t start, off_t len)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* True when somebody else holds the range. */
static bool is_held(int fd, off_t start, off_t len)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int open_file(const char *path, const char *suffix, int *fd_out, struct mh_err *err)
{
    char *name = mh_asprintf("%s%s", path, suffix);
    if (!name)
        return mh_err_nomem(err);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int errnum = errno;
    mh_free(name);
    if (fd < 0)
        return mh_err_sys(err, MH_ERUN, "state", errnum,
                          "cannot make the lock file %s%s (check the rights and the room there, or "
                          "choose another place with --state)",
                          path, suffix);
    *fd_out = fd;
    return MH_OK;
}

/* --- words about the holder ---------------------------------------------------------------------------------- */

static void write_holder(int fd, off_t at, const char *what)
{
    char host[64] = "";
    char text[RECORD_BYTES] = "";
    char when[32] = "";
    time_t now = (time_t)mh_clock_wall_s();
    struct tm tm;
    (void)gethostname(host, sizeof host - 1);
    if (localtime_r(&now, &tm))
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
    (void)snprintf(text, sizeof text, "%s%spid %ld on %s since %s", what, *what ? ", " : "",
                   (long)getpid(), host, when);
    /* Only words for people: a holder without them is still a holder. */
    if (pwrite(fd, text, sizeof text, at) != (ssize_t)sizeof text)
        mh_log(NULL, MH_LOG_DEBUG, "cannot write who holds the lock: %s", strerror(errno));
}

static const char *read_holder(int fd, off_t at, char text[RECORD_BYTES])
{
    ssize_t n = pread(fd, text, RECORD_BYTES - 1, at);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* --- the run --------------------------------------------------------------------------------------------------- */

int state_lock(const char *path, int *fd_out, struct mh_err *err)
{
    char holder[RECORD_BYTES];
    int fd = -1;
    int code = open_file(path, ".lock", &fd, err);
    if (code != MH_OK)
        return code;
    if (!set_range(fd, F_WRLCK, 0, 0)) {
        int errnum = errno;
        if (errnum != EAGAIN && errnum != EACCES) {
            code = mh_err_sys(err, MH_ERUN, "state", errnum, "cannot lock %s", path);
        } else {
            (void)read_holder(fd, 0, holder);
            code = mh_err_set(err, MH_ELOCKED, "state",
                              "%s is in use by another run%s%s; wait for it or stop it", path,
                              holder[0] ? ": " : "", holder);
        }
        (void)close(fd);
        return code;
    }
    write_holder(fd, 0, "");
    *fd_out = fd;
    return MH_OK;
}

bool mh_state_run_is_on(const struct mh_state *st)
{
    bool is_on = false;
    int fd = -1;
    if (st->lock_fd >= 0)
        return false; /* it is ours */
    char *name = mh_asprintf("%s.lock", st->path);
    if (name)
        fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        is_on = is_held(fd, 0, 0);
        (void)close(fd);
    }
    mh_free(name);
    return is_on;
}

/* --- when it wrote last ------------------------------------------------------------------------------------------ */

/* Counts from the machine's start, through its sleep too; the name says which start. */
static int64_t boot_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void state_read_boot_name(struct mh_state *st)
{
    char *name = st->boot_name;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, name, sizeof st->boot_name - 1) : 0;
    name[n > 0 ? n : 0] = '\0';
    name[strcspn(name, " \n")] = '\0';
    if (fd >= 0)
        (void)close(fd);
}

void state_stamp(struct mh_state *st)
{
    char text[STAMP_BYTES] = "";
    if (st->lock_fd < 0 || !st->boot_name[0])
        return;
    (void)snprintf(text, sizeof text, "%s %" PRId64 "\n", st->boot_name, boot_ms());
    /* Without it the age is told by the file's own time, which is right as long as nobody sets the clock. */
    if (pwrite(st->lock_fd, text, sizeof text, STAMP_AT) != (ssize_t)sizeof text)
        mh_log(NULL, MH_LOG_DEBUG, "cannot write when the state was written: %s", strerror(errno));
}

/*
 * The stamp of this very start of the machine tells the age whatever was done to the wall clock. A stamp of another start, or
 * none: as old as the file says, but not older than this start, and never from the future. Too young costs the next
 * run a short wait; too old could cost a doubled message.
 */
int64_t state_stamp_age_ms(struct mh_state *st, int64_t file_wall_s)
{
    char text[STAMP_BYTES + 1];
    char *end = text;
    int64_t now_ms = boot_ms();
    ssize_t n = pread(st->lock_fd, text, STAMP_BYTES, STAMP_AT);
    text[n > 0 ? n : 0] = '\0';
    size_t len = strlen(st->boot_name);
    if (len > 0 && strncmp(text, st->boot_name, len) == 0 && text[len] == ' ') {
        int64_t then_ms = strtoll(text + len, &end, 10);
        if (*end == '\n' && then_ms >= 0 && then_ms <= now_ms)
            return now_ms - then_ms;
    }
    int64_t by_wall_s = MH_MAX(mh_clock_wall_s() - file_wall_s, (int64_t)0);
    return MH_MIN(by_wall_s, now_ms / 1000) * 1000;
}

/* --- beside a run ------------------------------------------------------------------------------------------------- */

int state_begin_opening(struct mh_state *st, struct mh_err *err)
{
    const struct timespec look = {0, OPENING_LOOK_MS * 1000000L};
    int64_t until_ms = mh_clock_mono_ms() + OPENING_WAIT_MS;
    int code = open_file(st->path, ".verify.lock", &st->verify_fd, err);
    if (code != MH_OK)
        return code;
    while (!set_range(st->verify_fd, F_WRLCK, OPENING_BYTE, 1)) {
        if (errno != EAGAIN && errno != EACCES)
            return mh_err_sys(err, MH_ERUN, "state", errno, "cannot lock %s.verify.lock", st->path);
        if (mh_clock_mono_ms() >= until_ms)
            return mh_err_set(err, MH_ELOCKED, "state",
                              "%s is being opened by another mailhaul that comes to no end; stop "
                              "that and run the same command again",
                              st->path);
        /* The kernel could wait for us, but not with an end to it. */
        (void)nanosleep(&look, NULL);
    }
    return MH_OK;
}

void state_end_opening(struct mh_state *st)
{
    if (st->verify_fd >= 0)
        (void)set_range(st->verify_fd, F_UNLCK, OPENING_BYTE, 1);
}

void state_want_turn(struct mh_state *st, bool wanted)
{
    if (wanted != st->wants_turn)
        (void)set_range(st->verify_fd, wanted ? F_RDLCK : F_UNLCK, WAITING_BYTE, 1);
    st->wants_turn = wanted;
}

bool state_turn_is_wanted(const struct mh_state *st)
{
    return is_held(st->verify_fd, WAITING_BYTE, 1);
}

static off_t record_of(uint32_t mailbox)
{
    return (off_t)mailbox * RECORD_BYTES;
}

int mh_state_lock_verify(struct mh_state *st, uint32_t mailbox, const char *what,
                         struct mh_err *err)
{
    char holder[RECORD_BYTES];
    mh_assert(mailbox > 0 && st->verify_fd >= 0);
    if (set_range(st->verify_fd, F_WRLCK, record_of(mailbox), RECORD_BYTES)) {
        write_holder(st->verify_fd, record_of(mailbox), what);
        return MH_OK;
    }
    if (errno != EAGAIN && errno != EACCES)
        return mh_err_sys(err, MH_ERUN, "state", errno, "cannot lock %s.verify.lock", st->path);
    (void)read_holder(st->verify_fd, record_of(mailbox), holder);
    return mh_err_set(err, MH_ELOCKED, "state",
                      "is in the hands of another verify%s%s; wait for it or stop it",
                      holder[0] ? ": " : "", holder);
}

void mh_state_unlock_verify(struct mh_state *st, uint32_t mailbox)
{
    (void)set_range(st->verify_fd, F_UNLCK, record_of(mailbox), RECORD_BYTES);
}
