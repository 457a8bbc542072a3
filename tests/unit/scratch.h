/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A directory of the test's own, for the tests that need files: made before each test, gone behind it, whatever
 * is in it then. Criterion runs each test in a process, so there is one at a time. As a suite's fixture:
 *
 *     TestSuite(mail_file_index, .init = scratch_make, .fini = scratch_drop);
 */
#ifndef MH_TESTS_SCRATCH_H
#define MH_TESTS_SCRATCH_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch_dir[] = "/tmp/mh-unit-XXXXXX";
static int scratch_fd; /* of the directory */

static inline void scratch_make(void)
{
    cr_assert_not_null(mkdtemp(scratch_dir));
    scratch_fd = open(scratch_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(scratch_fd, 0);
}

/* COMMAND in the directory; it must end well. */
static inline void scratch_shell(const char *command)
{
    char line[4096];
    int len = snprintf(line, sizeof line, "cd %s && { %s; }", scratch_dir, command);
    cr_assert(len > 0 && (size_t)len < sizeof line, "%s", command);
    cr_assert_eq(system(line), 0, "%s", command);
}

static inline void scratch_drop(void)
{
    char command[64];
    (void)close(scratch_fd);
    (void)snprintf(command, sizeof command, "rm -rf %s", scratch_dir);
    cr_expect_eq(system(command), 0);
}

/* The file NAME in it, made anew with DATA and MODE. */
static inline void scratch_write(const char *name, const char *data, size_t len, mode_t mode)
{
    int fd = openat(scratch_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s", name);
    cr_assert_eq(write(fd, data, len), (ssize_t)len, "%s", name);
    cr_assert_eq(fchmod(fd, mode), 0, "%s", name);
    cr_assert_eq(close(fd), 0, "%s", name);
}

#endif
