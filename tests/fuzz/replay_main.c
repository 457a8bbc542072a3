/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A fuzz target without libFuzzer: runs every file of the directories given as arguments through
 * it, so that each corpus is a plain test with any compiler. Exit code 1 when there was no file at
 * all.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { INPUT_MAX_BYTES = 16 * 1024 * 1024 };

static int fail(const char *path, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", path, why);
    return -1;
}

/* 0: run; 1: no regular file; -1: cannot be read. */
static int run_file(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fail(path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return 1;
    if (st.st_size > INPUT_MAX_BYTES)
        return fail(path, "too large for a corpus");
    /* Exactly as large as the input: a read behind its end is then seen by AddressSanitizer. */
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    FILE *file = fopen(path, "rb");
    int rc = -1;
    if (!data || !file)
        (void)fail(path, strerror(errno));
    else if (fread(data, 1, size, file) != size)
        (void)fail(path, "cannot be read");
    else
        rc = LLVMFuzzerTestOneInput(data, size);
    if (file)
        (void)fclose(file);
    free(data);
    return rc;
}

static int run_directory(const char *path, unsigned *n_files)
{
    DIR *dir = opendir(path);
    if (!dir)
        return fail(path, strerror(errno));
    int rc = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char file[4096];
        int n = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof file) {
            rc = fail(path, "the path is too long");
            continue;
        }
        int one = run_file(file);
        if (one < 0)
            rc = -1;
        else if (one == 0)
            (*n_files)++;
    }
    (void)closedir(dir);
    return rc;
}

int main(int argc, char **argv)
{
    unsigned n_files = 0;
    int rc = 0;
    for (int i = 1; i < argc; i++) {
        if (run_directory(argv[i], &n_files) != 0)
            rc = -1;
    }
    (void)printf("%u inputs\n", n_files);
    if (n_files == 0)
        (void)fprintf(stderr, "no input: give directories with a corpus\n");
    return rc == 0 && n_files > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
