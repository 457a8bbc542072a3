/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One run at a time per store: a lock on a file beside it that the kernel drops when the holder dies. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "state/state_priv.h"

static int held_by_other(int fd, const char *path, struct mh_err *err)
{
    char holder[200] = "";
    ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    holder[n > 0 ? n : 0] = '\0';
    return mh_err_set(err, MH_ELOCKED, "state",
                      "%s is in use by another run%s%s; wait for it or stop it", path,
                      holder[0] ? ": " : "", holder);
}

static void write_holder(int fd)
{
    char host[64] = "";
    char text[200];
    char when[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    (void)gethostname(host, sizeof host - 1);
    if (localtime_r(&now, &tm))
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
    int n = snprintf(text, sizeof text, "pid %ld on %s since %s", (long)getpid(), host, when);
    /* Only words for people: a holder without them is still a holder. */
    bool ok = ftruncate(fd, 0) == 0 && n > 0 && pwrite(fd, text, (size_t)n, 0) == n;
    if (!ok)
        mh_log(NULL, MH_LOG_DEBUG, "cannot write who holds the lock: %s", strerror(errno));
}

int state_lock(const char *path, int *fd_out, struct mh_err *err)
{
    char *name = mh_asprintf("%s.lock", path);
    if (!name)
        return mh_err_nomem(err);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int errnum = errno;
    mh_free(name);
    if (fd < 0)
        return mh_err_sys(
            err, MH_ERUN, "state", errnum,
            "cannot make the lock file %s.lock (check the rights and the room there, or "
            "choose another place with --state)",
            path);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        int code = errno == EAGAIN || errno == EACCES
                       ? held_by_other(fd, path, err)
                       : mh_err_sys(err, MH_ERUN, "state", errno, "cannot lock %s", path);
        (void)close(fd);
        return code;
    }
    write_holder(fd);
    *fd_out = fd;
    return MH_OK;
}
