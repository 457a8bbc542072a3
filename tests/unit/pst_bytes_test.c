/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The octets of an archive: mapped and read alike, and what happens when the file goes away beneath. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "pst/bytes.h"
#include "scratch.h"

TestSuite(pst_bytes, .init = scratch_make, .fini = scratch_drop);

enum { PAGE = 4096, PAGES = 64 };

static const enum pst_access ways[] = {PST_ACCESS_BEST, PST_ACCESS_READ};

static const char *path_of(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", scratch_dir, name);
    return path;
}

/* Each page full of its number, from 1 on. */
static void write_pages(void)
{
    static char pages[PAGES * PAGE];
    for (int i = 0; i < PAGES; i++)
        memset(pages + (size_t)i * PAGE, i + 1, PAGE);
    scratch_write("a.pst", pages, sizeof pages, 0600);
}

static struct pst_bytes *open_way(enum pst_access way)
{
    struct pst_bytes *b = NULL;
    struct mh_err err;
    cr_assert_eq(pst_bytes_open(path_of("a.pst"), way, &b, &err), MH_OK, "%s", err.text);
    return b;
}

Test(pst_bytes, what_is_there)
{
    uint8_t room[2 * PAGE];
    write_pages();
    for (size_t i = 0; i < MH_ARRAY_LEN(ways); i++) {
        struct pst_bytes *b = open_way(ways[i]);
        cr_expect_eq(pst_bytes_is_mapped(b), ways[i] == PST_ACCESS_BEST);
        cr_expect_eq(pst_bytes_size(b), (uint64_t)PAGES * PAGE);
        const uint8_t *p = pst_bytes_at(b, 5 * PAGE - 1, 2, room);
        cr_assert(p);
        cr_expect(p[0] == 5 && p[1] == 6);
        cr_expect(pst_bytes_at(b, 0, 0, room));
        cr_expect(pst_bytes_at(b, (uint64_t)PAGES * PAGE - 1, 1, room));
        cr_expect_not(pst_bytes_is_hurt(b));
        pst_bytes_close(b);
    }
}

Test(pst_bytes, what_is_not_there)
{
    static const struct {
        uint64_t at;
        size_t len;
    } not_there[] = {{(uint64_t)PAGES * PAGE, 1},
                     {(uint64_t)PAGES * PAGE - 1, 2},
                     {UINT64_MAX, 1},
                     {UINT64_MAX - 1, 4},
                     {0, SIZE_MAX},
                     {1, (size_t)PAGES * PAGE}};
    write_pages();
    for (size_t i = 0; i < MH_ARRAY_LEN(ways); i++) {
        struct pst_bytes *b = open_way(ways[i]);
        for (size_t k = 0; k < MH_ARRAY_LEN(not_there); k++)
            cr_expect_null(pst_bytes_at(b, not_there[k].at, not_there[k].len, NULL), "case %zu", k);
        cr_expect_not(pst_bytes_is_hurt(b), "nothing is wrong with the file");
        pst_bytes_close(b);
    }
}

Test(pst_bytes, a_file_that_shrinks)
{
    uint8_t room[PAGE];
    for (size_t i = 0; i < MH_ARRAY_LEN(ways); i++) {
        write_pages();
        struct pst_bytes *b = open_way(ways[i]);
        cr_assert_eq(truncate(path_of("a.pst"), 3 * PAGE), 0);
        const uint8_t *p = pst_bytes_at(b, 10 * PAGE, PAGE, room);
        cr_expect_eq(p != NULL, ways[i] == PST_ACCESS_BEST);
        for (size_t k = 0; p && k < PAGE; k++)
            cr_assert_eq(p[k], 0, "octet %zu", k);
        cr_expect(pst_bytes_is_hurt(b));
        p = pst_bytes_at(b, PAGE, PAGE, room);
        cr_expect(p && p[0] == 2, "what is left can still be read");
        pst_bytes_close(b);
    }
}

/* Several threads meet the pages that are gone, and each reads on. */
static void *read_all(void *arg)
{
    const struct pst_bytes *b = arg;
    uint64_t sum = 0;
    for (int round = 0; round < 50; round++)
        for (uint64_t i = 0; i < PAGES; i++)
            sum += *pst_bytes_at(b, i * PAGE + 7, 1, NULL);
    return (void *)(uintptr_t)(sum > 0);
}

Test(pst_bytes, threads_on_a_file_that_shrinks)
{
    pthread_t threads[4];
    write_pages();
    struct pst_bytes *b = open_way(PST_ACCESS_BEST);
    cr_assert_eq(truncate(path_of("a.pst"), PAGE), 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, read_all, b), 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(threads); i++) {
        void *saw = NULL;
        cr_assert_eq(pthread_join(threads[i], &saw), 0);
        cr_expect(saw, "the first page is still there");
    }
    cr_expect(pst_bytes_is_hurt(b));
    pst_bytes_close(b);
}

/* One more archive than the table of mappings has room for is read. */
Test(pst_bytes, many_at_once)
{
    static struct pst_bytes *all[100];
    size_t mapped = 0;
    uint8_t room[1];
    write_pages();
    for (size_t i = 0; i < MH_ARRAY_LEN(all); i++) {
        all[i] = open_way(PST_ACCESS_BEST);
        mapped += pst_bytes_is_mapped(all[i]);
    }
    cr_expect(mapped > 0 && mapped < MH_ARRAY_LEN(all), "%zu are mapped", mapped);
    for (size_t i = 0; i < MH_ARRAY_LEN(all); i++) {
        const uint8_t *p = pst_bytes_at(all[i], (i % PAGES) * PAGE, 1, room);
        cr_expect(p && *p == i % PAGES + 1, "archive %zu", i);
        pst_bytes_close(all[i]);
    }
    struct pst_bytes *again = open_way(PST_ACCESS_BEST);
    cr_expect(pst_bytes_is_mapped(again), "closed ones make room");
    pst_bytes_close(again);
}

static const struct {
    const char *name, *make, *says;
} refused[] = {
    {"none", "true", "cannot be opened"},
    {"a directory", "mkdir a.pst", "is a directory"},
    {"empty", ": > a.pst", "is empty"},
    {"a pipe without a writer", "mkfifo a.pst", "is no file"},
    {"a link to itself", "ln -s a.pst a.pst", "cannot be opened"},
};

Test(pst_bytes, what_is_no_file)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(refused); i++) {
        struct pst_bytes *b = NULL;
        struct mh_err err;
        scratch_shell("rm -rf a.pst");
        scratch_shell(refused[i].make);
        mh_err_reset(&err);
        cr_expect_eq(pst_bytes_open(path_of("a.pst"), PST_ACCESS_BEST, &b, &err), MH_EUSAGE, "%s",
                     refused[i].name);
        cr_expect_null(b);
        cr_expect(strstr(err.text, refused[i].says), "%s: %s", refused[i].name, err.text);
    }
    pst_bytes_close(NULL);
}
