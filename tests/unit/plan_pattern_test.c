/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Expressions of map rules: what they fit, their groups, agreement with POSIX, that they end. */
#include <criterion/criterion.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "out_of_memory.h"
#include "plan/map.h"
#include "plan/pattern_priv.h"

static struct plan_pattern *compile(const char *match)
{
    struct plan_pattern *p = NULL;
    struct mh_err err = {0};
    cr_assert_eq(plan_pattern_new(match, &p, &err), 0, "%s: %s", match, err.text);
    return p;
}

/* "1|2|3" of the groups, a missing one as "-"; NULL when PATTERN does not fit. */
static const char *fit(const char *match, const char *text, char *out, size_t out_size)
{
    struct plan_pattern *p = compile(match);
    struct plan_span spans[PLAN_PATTERN_GROUPS];
    struct mh_err err = {0};
    bool fits = false;
    cr_assert_eq(plan_pattern_fits(p, text, &fits, spans, &err), 0);
    size_t groups = MH_MIN(p->groups, (size_t)PLAN_PATTERN_GROUPS - 1);
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 1; fits && i <= groups; i++)
        at += (size_t)snprintf(out + at, out_size - at, "%s%.*s", i > 1 ? "|" : "",
                               spans[i].is_set ? (int)(spans[i].to - spans[i].from) : 1,
                               spans[i].is_set ? text + spans[i].from : "-");
    plan_pattern_free(p);
    return fits ? out : NULL;
}

static const struct {
    const char *match, *text;
    const char *groups; /* NULL: does not fit */
} matches[] = {
    {"abc", "abc", ""},
    {"abc", "abcd", NULL},
    {"bc", "abc", NULL},
    {"INBOX.Old/(.+)", "INBOX/Old/2019/Mai", "2019/Mai"},
    {"(.*)/(.*)", "a/b/c", "a/b|c"},
    {"([^/]+)/(.*)", "a/b/c", "a|b/c"},
    {"(a|ab)(c|bcd)(d*)", "abcd", "a|bcd|"},
    {"(a)|(b)", "b", "-|b"},
    {"a|", "", ""},
    {"()a", "a", ""},
    {"(a(b)?)+", "aba", "a|b"},
    {"(a*)*", "aaa", "aaa"},
    {"(a|b)*", "abab", "b"},
    {"^Old$", "Old", ""},
    {"a^b", "ab", NULL},
    {"(^a|b)$", "a", "a"},
    {"a{2}", "aa", ""},
    {"a{2}", "aaa", NULL},
    {"a{2,}", "aaaa", ""},
    {"a{0,2}b", "aab", ""},
    {"a{0}b", "b", ""},
    {"(ab){2,3}", "ababab", "ab"},
    {"a**", "aa", ""},
    {"\\.\\*\\[\\(\\{\\\\", ".*[({\\", ""},
    {"[]a]+", "]a", ""},
    {"[^]a]", "b", ""},
    {"[^]a]", "]", NULL},
    {"[a-c-]+", "ab-c", ""},
    {"[a\\]+", "a\\", ""},
    {"[[:digit:][:upper:]_]+", "A_9", ""},
    {"[[:alpha:]]+", "éÀz", ""},
    {"[[:space:]]", " ", ""},
    {"[à-ü]", "é", ""},
    {"[à-ü]", "z", NULL},
    {"[^a]", "é", ""},
    {".", "é", ""},
    {"..", "é", NULL},
    {"(.).*", "日本", "日"},
    {"}", "}", ""},
    {"(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", "abcdefghijk", "a|b|c|d|e|f|g|h|i"},
};

Test(plan_pattern, fits_whole_texts)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(matches); i++) {
        char out[128];
        const char *groups = fit(matches[i].match, matches[i].text, out, sizeof out);
        cr_expect_eq(groups != NULL, matches[i].groups != NULL, "%s on %s", matches[i].match,
                     matches[i].text);
        if (groups && matches[i].groups)
            cr_expect_str_eq(groups, matches[i].groups, "%s on %s: %s", matches[i].match,
                             matches[i].text, groups);
    }
}

static const struct {
    const char *match, *why;
} faults[] = {
    {"", "match is empty; write .* for every folder"},
    {"(a", "match is no expression: a ( is never closed"},
    {"a)", "match is no expression: a ) closes nothing"},
    {"[a", "match is no expression: a [ is never closed"},
    {"[]", "match is no expression: a [ is never closed"},
    {"[z-a]", "match is no expression: a range in brackets runs backwards"},
    {"[[:letter:]]", "match is no expression: [: in brackets begins a class"},
    {"[[:alpha]", "match is no expression: [: in brackets begins a class"},
    {"[[.a.]]", "match is no expression: [. and [= are not supported"},
    {"*a", "match is no expression: a repetition"},
    {"a|*b", "match is no expression: a repetition"},
    {"(+)", "match is no expression: a repetition"},
    {"a{", "match is no expression: a repetition in braces"},
    {"a{x}", "match is no expression: a repetition in braces"},
    {"a{3,2}", "match is no expression: a repetition in braces"},
    {"a{256}", "match is no expression: a repetition in braces"},
    {"a{99999999999999999999}", "match is no expression: a repetition in braces"},
    {"a\\", "match is no expression: a \\ stands before a sign"},
    {"\\w+", "match is no expression: a \\ stands before a sign"},
    {"(a)\\1", "match is no expression: back-references"},
    {"((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))",
     "match is no expression: too many parentheses"},
    {"((a{1,255}){1,255}){1,255}", "match is no expression: too long once"},
    {"((((((((((((()", "match is no expression: a ( is never closed"},
    {"(((((((((a)))))))))((((((){255}){255}){255}){255}){255}){255}",
     "match is no expression: too many repetitions in each other"},
};

Test(plan_pattern, refuses_what_it_cannot_match)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(faults); i++) {
        struct plan_pattern *p = NULL;
        struct mh_err err = {0};
        cr_expect_eq(plan_pattern_new(faults[i].match, &p, &err), MH_EUSAGE, "%s", faults[i].match);
        cr_expect(mh_str_starts(err.text, faults[i].why), "%s: %s", faults[i].match, err.text);
    }
}

/* --- agreement with POSIX --------------------------------------------------------------------- */

struct source {
    uint64_t state;
    char text[64];
    size_t len;
};

static unsigned roll(struct source *s, unsigned sides)
{
    s->state = s->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(s->state >> 33) % sides;
}

static void put(struct source *s, const char *text)
{
    size_t len = strlen(text);
    cr_assert(s->len + len < sizeof s->text);
    memcpy(s->text + s->len, text, len + 1);
    s->len += len;
}

/* A small expression over a and b; small, for the other matcher's sake. */
static void make_expression(struct source *s, unsigned depth)
{
    static const char *const atoms[] = {"a", "b", ".", "[ab]", "[^a]"};
    static const char *const repeats[] = {"", "", "", "*", "+", "?", "{2}", "{0,1}", "{1,}"};
    unsigned parts = 1 + roll(s, 3);
    for (unsigned i = 0; i < parts && s->len < 20; i++) {
        if (i > 0 && roll(s, 4) == 0)
            put(s, "|");
        if (depth > 0 && roll(s, 3) == 0) {
            put(s, "(");
            make_expression(s, depth - 1);
            put(s, ")");
        } else {
            put(s, atoms[roll(s, MH_ARRAY_LEN(atoms))]);
        }
        put(s, repeats[roll(s, MH_ARRAY_LEN(repeats))]);
    }
}

Test(plan_pattern, agrees_with_regcomp)
{
    struct source s = {.state = 42};
    unsigned n_fit = 0, n_other = 0;
    for (int i = 0; i < 4000; i++) {
        char anchored[80], text[8], out[128];
        regex_t posix;
        s.len = 0;
        make_expression(&s, 2);
        (void)snprintf(anchored, sizeof anchored, "^(%s)$", s.text);
        cr_assert_eq(regcomp(&posix, anchored, REG_EXTENDED | REG_NOSUB), 0, "%s", s.text);
        for (int k = 0; k < 8; k++) {
            size_t len = roll(&s, 7);
            for (size_t c = 0; c < len; c++)
                text[c] = roll(&s, 2) ? 'a' : 'b';
            text[len] = '\0';
            bool wanted = regexec(&posix, text, 0, NULL, 0) == 0;
            bool got = fit(s.text, text, out, sizeof out) != NULL;
            cr_assert_eq(got, wanted, "%s on '%s'", s.text, text);
            n_fit += got;
            n_other += !got;
        }
        regfree(&posix);
    }
    cr_expect_gt(n_fit, 1000u);
    cr_expect_gt(n_other, 1000u);
}

/* --- bounds ----------------------------------------------------------------------------------- */

/* Expressions that take other matchers (glibc's regexec() too) for ever; a hang is the failure. */
Test(plan_pattern, ends_on_expressions_that_explode, .timeout = 60)
{
    static const struct {
        const char *match;
        int rc;
        bool fits;
    } hard[] = {
        {"(a*)*b", 0, false},
        {"(a|a)*b", 0, false},
        {"(a|aa)+$b?c", 0, false},
        {"((a[ab]|a){0,3}|a*[ab]*.*|[ab]?)+|[ab]{5}b([ab]*.)*c", 0, true},
        {"(((a{0,3}a*)*|.?))((a*(a+)*(b?|(a{0,3}.?a{5}).{0,3}|[ab]*)*)|b*)|[ab]*b*c", 0, true},
        {"((((a?)+)+)+)+b", 0, false},
        {"((((((((((a?)+)+)+)+)+)+)+)+)+)+b", MH_EUSAGE, false}, /* too long once written out */
        {"(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)b", 0, false},
        {"(a?){30}a{30}.*b", 0, false},
        {"(a?){200}a{200}b", MH_EUSAGE, false},
    };
    char text[MH_MAP_MATCH_PATH_MAX_BYTES + 1];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    for (size_t i = 0; i < MH_ARRAY_LEN(hard); i++) {
        struct plan_pattern *p = NULL;
        struct mh_err err = {0};
        struct plan_span spans[PLAN_PATTERN_GROUPS];
        bool fits = false;
        int rc = plan_pattern_new(hard[i].match, &p, &err);
        cr_expect_eq(rc, hard[i].rc, "%s: %s", hard[i].match, err.text);
        if (rc == 0)
            cr_expect_eq(plan_pattern_fits(p, text, &fits, spans, &err), 0, "%s", hard[i].match);
        cr_expect_eq(fits, hard[i].fits, "%s", hard[i].match);
        plan_pattern_free(p);
    }
}

Test(plan_pattern, survives_each_failed_allocation)
{
    for (int step = 0; step < 2; step++) {
        for (struct oom o = {0}; oom_next(&o);) {
            struct plan_pattern *p = NULL;
            struct plan_span spans[PLAN_PATTERN_GROUPS];
            struct mh_err err = {0};
            bool fits = false;
            if (step)
                p = compile("([a-c]|[[:alnum:]]|(b|c)*)*");
            oom_begin(&o);
            int rc = step ? plan_pattern_fits(p, "abcabcabcabcabcabcabcabcabc", &fits, spans, &err)
                          : plan_pattern_new("([a-c]|[[:alnum:]])*", &p, &err);
            oom_end(&o);
            cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u", o.nth);
            if (rc == 0 && step)
                cr_expect(fits);
            if (rc == 0 || step)
                plan_pattern_free(p);
        }
    }
}
