/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Preloaded into a scratch Cyrus, which can log to syslog only: sends its log lines to the file
 * named by MH_SYSLOG_FILE instead, so that nothing outside the scratch folder is written and the
 * log can be read.
 *
 * Lines are cut at 4 KiB and appended with one write, so that those of several processes do not
 * mix. Any thread may call; no memory is kept; nothing here ever fails loudly, because the caller
 * cannot act on it.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE_BYTES 4096

/* What <syslog.h> turns syslog() and vsyslog() into under _FORTIFY_SOURCE. */
void __syslog_chk(int priority, int flag, const char *format, ...);
void __vsyslog_chk(int priority, int flag, const char *format, va_list args);

static size_t put_prefix(char *line, int priority)
{
    struct timespec now;
    struct tm parts;
    char when[32];

    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || localtime_r(&now.tv_sec, &parts) == NULL ||
        strftime(when, sizeof when, "%b %d %H:%M:%S", &parts) == 0)
        when[0] = '\0';
    int n =
        snprintf(line, LINE_SIZE_BYTES, "%s [%ld] <%d> ", when, (long)getpid(), LOG_PRI(priority));
    return n < 0 ? 0 : (size_t)n;
}

static void put_line(int priority, const char *format, va_list args)
{
    const char *path = getenv("MH_SYSLOG_FILE");
    if (path == NULL)
        return;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;

    char line[LINE_SIZE_BYTES];
    size_t used = put_prefix(line, priority);
    int n = vsnprintf(line + used, sizeof line - used, format, args);
    if (n > 0) {
        used += (size_t)n;
        if (used > sizeof line - 1)
            used = sizeof line - 1;
        if (line[used - 1] != '\n')
            line[used++] = '\n';
        /* A full disk loses log lines; the server's own writes say so louder. */
        if (write(fd, line, used) < 0)
            (void)0;
    }
    (void)close(fd);
}

void vsyslog(int priority, const char *format, va_list args)
{
    put_line(priority, format, args);
}

void syslog(int priority, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_line(priority, format, args);
    va_end(args);
}

void __vsyslog_chk(int priority, int flag, const char *format, va_list args)
{
    (void)flag;
    put_line(priority, format, args);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
    (void)flag;
    va_list args;
    va_start(args, format);
    put_line(priority, format, args);
    va_end(args);
}
