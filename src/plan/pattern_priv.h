/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The expressions of map rules: POSIX extended regular expressions without back-references, matched
 * against whole paths in time and memory bounded by (instructions x bytes of the path).
 *
 * regcomp(3) does not do: glibc's takes exponential time on expressions of 40 characters
 * ("((a|b)*)+" forms, both to compile and to find the groups), nested bounds take memory without
 * end, and its notion of a character hangs on the process's locale. Here characters are UTF-8
 * always. What differs from POSIX: where groups could be set in several ways the first alternative
 * and the longest repetition win, from left to right (as in Perl); [:alpha:], [:alnum:], [:graph:]
 * and [:print:] hold everything outside ASCII.
 *
 * A pattern does not change once it is made: any thread may match with it. The caller frees it.
 */
#ifndef MH_PLAN_PATTERN_PRIV_H
#define MH_PLAN_PATTERN_PRIV_H

#include <stdbool.h>

#include "base/error.h"

/* $1 … $9, and 0 for the whole. */
#define PLAN_PATTERN_GROUPS    10
/* Instructions, with repetitions written out. A rule that people write has thirty. */
#define PLAN_PATTERN_CODE_MAX  512
/* Parentheses in parentheses. */
#define PLAN_PATTERN_DEPTH_MAX 32

enum plan_op {
    PLAN_OP_CHAR, /* this code point */
    PLAN_OP_ANY,
    PLAN_OP_SET,   /* number of a set */
    PLAN_OP_BEGIN, /* at the text's begin */
    PLAN_OP_END,   /* at its end */
    PLAN_OP_SPLIT, /* on at x, else at y */
    PLAN_OP_JUMP,  /* on at x */
    PLAN_OP_SAVE,  /* the place into slot x: 2n begin and 2n + 1 end of group n */
    PLAN_OP_FIT    /* the expression ends here */
};

struct plan_inst {
    enum plan_op op;
    uint32_t x, y;
};

struct plan_range {
    uint32_t first, last;
};

struct plan_set {
    size_t from, n; /* of the pattern's ranges */
    bool is_negated;
};

struct plan_pattern {
    struct plan_inst code[PLAN_PATTERN_CODE_MAX];
    size_t n_code;
    struct plan_range *ranges; /* owned */
    size_t n_ranges;
    struct plan_set *sets; /* owned */
    size_t n_sets;
    size_t groups; /* pairs of parentheses */
};

struct plan_span {
    size_t from, to; /* offsets */
    bool is_set;
};

/* MH_EUSAGE says what is wrong, beginning with "match". */
int plan_pattern_new(const char *text, struct plan_pattern **out, struct mh_err *err) MH_MUST_CHECK;
void plan_pattern_free(struct plan_pattern *p);
/* Does P fit the whole of TEXT? The groups into SPANS when it does. */
int plan_pattern_fits(const struct plan_pattern *p, const char *text, bool *fits_out,
                      struct plan_span spans[PLAN_PATTERN_GROUPS],
                      struct mh_err *err) MH_MUST_CHECK;

#endif
