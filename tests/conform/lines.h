/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What lies somewhere, as lines of text: to be sorted and compared with what should lie there. One thread. */
#ifndef MH_TESTS_CONFORM_LINES_H
#define MH_TESTS_CONFORM_LINES_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct lines {
    char **v; /* owned, with what they point to */
    size_t n, cap;
};

static inline void lines_add(struct lines *l, char *line_take)
{
    if (!line_take || !mh_grow(l->v, l->cap, l->n + 1)) {
        (void)fputs("no memory for the lines of a test\n", stderr);
        abort();
    }
    l->v[l->n++] = line_take;
}

static inline void lines_free(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        mh_free(l->v[i]);
    mh_free(l->v);
    *l = (struct lines){NULL, 0, 0};
}

static inline int line_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void lines_sort(struct lines *l)
{
    if (l->n)
        qsort(l->v, l->n, sizeof *l->v, line_order);
}

/* What differs, both sorted, on standard error. */
static inline void lines_report(const char *what, const struct lines *want, const struct lines *got)
{
    size_t i = 0;
    size_t k = 0;
    while (i < want->n || k < got->n) {
        int c = i == want->n ? 1 : k == got->n ? -1 : strcmp(want->v[i], got->v[k]);
        if (c < 0)
            (void)fprintf(stderr, "%s: lost: %s\n", what, want->v[i]);
        if (c > 0)
            (void)fprintf(stderr, "%s: not wanted: %s\n", what, got->v[k]);
        i += c <= 0;
        k += c >= 0;
    }
}

static inline bool lines_same(const struct lines *a, const struct lines *b)
{
    bool is_same = a->n == b->n;
    for (size_t i = 0; is_same && i < a->n; i++)
        is_same = strcmp(a->v[i], b->v[i]) == 0;
    return is_same;
}

#endif
