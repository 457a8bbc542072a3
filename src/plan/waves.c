/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The `waves` and `criteria` of a project file. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

/* Mailbox names that one note lists. */
enum { NOTE_NAMES_MAX = 5, HUNDRED_PERCENT_BP = 10000 };

void plan_wave_done(struct mh_wave *w)
{
    mh_free(w->name);
    mh_free(w->select_text);
    plan_select_free(w->select);
    mh_free(w->after);
    mh_strings_done(&w->gate);
    mh_strings_done(&w->window);
}

/* --- one wave --------------------------------------------------------------------------------- */

static int read_select(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    struct mh_wave *w = slot;
    int rc = plan_expect_text(r, node, "select");
    if (rc)
        return rc;
    w->select_pos = node->pos;
    w->select_text = mh_strdup(node->text);
    if (!w->select_text)
        return plan_nomem(r->err);
    rc = plan_select_parse(node->text, &w->select, r->err);
    if (rc == MH_EUSAGE)
        mh_err_at(r->err, "%s:%u:%u", r->file, node->pos.line, node->pos.column);
    return rc;
}

static int read_gate(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    static const struct plan_field f = {.key = "gate", .type = PLAN_TEXTS, .one_is_list = true};
    char quoted[PLAN_QUOTE_BYTES];
    struct mh_strings *gate = slot;
    int rc = plan_read_texts(r, &f, node, gate);
    for (size_t i = 0; rc == 0 && i < gate->n; i++) {
        if (!plan_is_name(gate->v[i]))
            rc = plan_node_fail(r, node,
                                "gate %s is not the name of a criterion such as verify.complete",
                                plan_quote(quoted, gate->v[i], strlen(gate->v[i])));
    }
    return rc;
}

/* The length of "HH:MM" at S, 0 if it is none. */
static size_t clock_len(const char *s)
{
    static const char digits[] = "0123456789";
    if (strspn(s, digits) != 2 || s[2] != ':' || strspn(s + 3, digits) != 2)
        return 0;
    bool is_day_end = strncmp(s, "24:00", 5) == 0;
    return is_day_end || (strncmp(s, "23", 2) <= 0 && s[3] <= '5') ? 5 : 0;
}

static size_t day_len(const char *s)
{
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    for (size_t i = 0; i < MH_ARRAY_LEN(days); i++) {
        if (mh_str_istarts(s, days[i]))
            return 3;
    }
    return 0;
}

/* "20:00-06:00", "Fri 20:00-06:00", "Mon-Thu 20:00-06:00". */
static bool is_window(const char *s)
{
    size_t day = day_len(s);
    if (day) {
        s += day;
        if (*s == '-') {
            day = day_len(s + 1);
            if (!day)
                return false;
            s += 1 + day;
        }
        if (*s != ' ')
            return false;
        s += strspn(s, " ");
    }
    size_t from = clock_len(s);
    if (!from || s[from] != '-')
        return false;
    size_t to = clock_len(s + from + 1);
    return to && s[from + 1 + to] == '\0' && strncmp(s, s + from + 1, from) != 0;
}

static int read_window(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    static const struct plan_field f = {.key = "window", .type = PLAN_TEXTS, .one_is_list = true};
    char quoted[PLAN_QUOTE_BYTES];
    struct mh_strings *window = slot;
    int rc = plan_read_texts(r, &f, node, window);
    for (size_t i = 0; rc == 0 && i < window->n; i++) {
        if (!is_window(window->v[i]))
            rc = plan_node_fail(r, node,
                                "window %s is not a time such as \"Fri 20:00-06:00\" or "
                                "\"Mon-Thu 19:00-07:00\"",
                                plan_quote(quoted, window->v[i], strlen(window->v[i])));
    }
    return rc;
}

static const struct plan_field wave_fields[] = {
    {.key = "name", .type = PLAN_NAME, .required = true, .offset = offsetof(struct mh_wave, name)},
    {.key = "select", .type = PLAN_READ, .required = true, .read = read_select},
    {.key = "after", .type = PLAN_NAME, .offset = offsetof(struct mh_wave, after)},
    {.key = "gate", .type = PLAN_READ, .offset = offsetof(struct mh_wave, gate), .read = read_gate},
    {.key = "window",
     .type = PLAN_READ,
     .offset = offsetof(struct mh_wave, window),
     .read = read_window},
};

static const struct plan_schema wave_schema = {
    .name = "a wave",
    .form = "{name: pilot, select: \"pilot == yes\"}",
    .fields = wave_fields,
    .n_fields = MH_ARRAY_LEN(wave_fields),
};

/* --- all waves -------------------------------------------------------------------------------- */

static struct mh_wave *find_wave(const struct mh_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_waves; i++) {
        if (strcmp(p->waves[i].name, name) == 0)
            return &p->waves[i];
    }
    return NULL;
}

static int read_wave(struct plan_reader *r, const struct plan_node *node)
{
    struct mh_plan *p = r->plan;
    struct mh_wave *waves = mh_realloc_array(p->waves, p->n_waves + 1, sizeof *waves);
    if (!waves)
        return plan_nomem(r->err);
    p->waves = waves;
    struct mh_wave w = {.pos = node->pos};
    int rc = plan_read_mapping(r, &wave_schema, node, &w);
    const struct mh_wave *before = rc == 0 ? find_wave(p, w.name) : NULL;
    if (before)
        rc = plan_node_fail(r, plan_node_get(node, "name"),
                            "a second wave is called '%s', the first is in line %u", w.name,
                            before->pos.line);
    if (rc)
        plan_wave_done(&w);
    else
        p->waves[p->n_waves++] = w;
    return rc;
}

/* `after` names a wave, and following it never comes back. */
static int check_after(struct plan_reader *r, const struct plan_node *node, const struct mh_wave *w)
{
    const struct mh_plan *p = r->plan;
    const struct plan_node *at = plan_node_get(node, "after");
    size_t steps = 0;
    for (const struct mh_wave *next = w; next->after; steps++) {
        const char *name = next->after;
        next = find_wave(p, name);
        if (!next && steps > 0)
            return 0; /* the wave before has its own complaint */
        if (!next) {
            const char *near = plan_nearest(name, p->waves, p->n_waves, sizeof *p->waves);
            return plan_node_fail(r, at, "after: there is no wave '%s'%s%s%s", name,
                                  near ? "; did you mean '" : "", near ? near : "",
                                  near ? "'?" : "");
        }
        if (next == w || steps > p->n_waves)
            return plan_node_fail(r, at, "after: wave '%s' would wait for itself", w->name);
    }
    return 0;
}

int plan_read_waves(struct plan_reader *r, const struct plan_node *node, void *plan)
{
    (void)plan;
    int rc = plan_expect(r, node, PLAN_LIST, "waves",
                         "waves: [{name: pilot, select: \"pilot == yes\"}]");
    if (rc == 0 && node->n > MH_WAVES_MAX)
        rc = plan_node_fail(r, node, "more than %u waves", MH_WAVES_MAX);
    for (const struct plan_node *n = node->first; rc == 0 && n; n = n->next)
        rc = read_wave(r, n);
    size_t i = 0;
    for (const struct plan_node *n = node->first; rc == 0 && n; n = n->next)
        rc = check_after(r, n, &r->plan->waves[i++]);
    return rc;
}

/* --- criteria --------------------------------------------------------------------------------- */

/* "100%", "99.5%", "99.95%" in hundredths of a percent. */
static int read_coverage(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    char quoted[PLAN_QUOTE_BYTES];
    struct mh_criterion *c = slot;
    int rc = plan_expect_text(r, node, "coverage");
    if (rc)
        return rc;
    size_t whole_len = strspn(node->text, "0123456789");
    const char *rest = node->text + whole_len;
    size_t part_len = *rest == '.' ? strspn(rest + 1, "0123456789") : 0;
    const char *end = rest + (*rest == '.' ? part_len + 1 : 0);
    uint64_t whole = 0, part = 0;
    bool ok = mh_parse_u64(node->text, whole_len, 100, &whole) && strcmp(end, "%") == 0 &&
              (*rest != '.' || (part_len <= 2 && mh_parse_u64(rest + 1, part_len, 99, &part)));
    uint64_t bp = whole * 100 + (part_len == 1 ? part * 10 : part);
    if (!ok || bp > HUNDRED_PERCENT_BP)
        return plan_node_fail(r, node, "coverage must be from 0%% to 100%% such as 99.5%%, not %s",
                              plan_quote(quoted, node->text, node->len));
    c->has_coverage = true;
    c->coverage_bp = (unsigned)bp;
    return 0;
}

static int read_bound(struct plan_reader *r, const struct plan_node *node, const char *what,
                      uint64_t *bound, bool *has)
{
    const struct plan_field f = {
        .key = what, .type = PLAN_UINT, .width = sizeof *bound, .max = (uint64_t)INT64_MAX};
    *has = true;
    return plan_read_scalar(r, &f, node, bound);
}

static int read_max(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    struct mh_criterion *c = slot;
    return read_bound(r, node, "max", &c->max, &c->has_max);
}

static int read_min(struct plan_reader *r, const struct plan_node *node, void *slot)
{
    struct mh_criterion *c = slot;
    return read_bound(r, node, "min", &c->min, &c->has_min);
}

static int check_criterion(struct plan_reader *r, const struct plan_node *node, void *obj)
{
    const struct mh_criterion *c = obj;
    if (!c->has_max && !c->has_min && !c->has_coverage)
        return plan_node_fail(r, node, "criterion '%s' has no max, min or coverage to hold",
                              c->name);
    if (c->has_max && c->has_min && c->min > c->max)
        return plan_node_fail(r, node, "criterion '%s' has a min above its max", c->name);
    return 0;
}

static const struct plan_field criterion_fields[] = {
    {.key = "max", .type = PLAN_READ, .read = read_max},
    {.key = "min", .type = PLAN_READ, .read = read_min},
    {.key = "coverage", .type = PLAN_READ, .read = read_coverage},
    {.key = "record", .type = PLAN_NAME, .offset = offsetof(struct mh_criterion, record)},
};

static const struct plan_schema criterion_schema = {
    .name = "a criterion",
    .form = "{max: 0}, {min: 10} or {coverage: 100%}",
    .fields = criterion_fields,
    .n_fields = MH_ARRAY_LEN(criterion_fields),
    .check = check_criterion,
};

static int read_criterion(struct plan_reader *r, const struct plan_node *node)
{
    char quoted[PLAN_QUOTE_BYTES];
    struct mh_plan *p = r->plan;
    if (!plan_is_name(node->key->text))
        return plan_node_fail(r, node->key,
                              "%s is not the name of a criterion such as items.failed",
                              plan_quote(quoted, node->key->text, node->key->len));
    struct mh_criterion *criteria =
        mh_realloc_array(p->criteria, p->n_criteria + 1, sizeof *criteria);
    if (!criteria)
        return plan_nomem(r->err);
    p->criteria = criteria;
    struct mh_criterion *c = &criteria[p->n_criteria];
    *c = (struct mh_criterion){.name = mh_strdup(node->key->text), .pos = node->key->pos};
    if (!c->name)
        return plan_nomem(r->err);
    p->n_criteria++;
    return plan_read_mapping(r, &criterion_schema, node, c);
}

int plan_read_criteria(struct plan_reader *r, const struct plan_node *node, void *plan)
{
    (void)plan;
    int rc = plan_expect(r, node, PLAN_MAP, "criteria", "criteria: {items.failed: {max: 0}}");
    for (const struct plan_node *n = node->first; rc == 0 && n; n = n->next)
        rc = read_criterion(r, n);
    return rc;
}

/* --- waves and mailboxes ---------------------------------------------------------------------- */

static int bind_wave(struct mh_plan *p, struct mh_wave *w, struct mh_err *err)
{
    const char *missing = plan_select_bind(w->select, &p->columns);
    if (!missing)
        return 0;
    const char *near = plan_nearest(missing, p->columns.v, p->columns.n, sizeof *p->columns.v);
    return plan_fail(err, p->file, w->select_pos,
                     "wave '%s' selects by '%s', which is no column of %s%s%s%s", w->name, missing,
                     p->users_file ? p->users_file : "the users file",
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int note_empty_waves(struct mh_plan *p, struct mh_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->n_waves; i++) {
        const struct mh_wave *w = &p->waves[i];
        size_t n = 0;
        for (size_t m = 0; n == 0 && m < p->n_mailboxes; m++)
            n += mh_wave_selects(w, &p->mailboxes[m]);
        if (n == 0)
            rc = plan_note(p, err, "%s:%u: wave '%s' selects no mailbox", p->file,
                           w->select_pos.line, w->name);
    }
    return rc;
}

/* Mailboxes with another number of waves than one. */
struct odd {
    size_t n;
    struct mh_buf names;
};

static void add_odd(struct odd *o, const char *id)
{
    if (o->n < NOTE_NAMES_MAX)
        mh_buf_addf(&o->names, "%s%s", o->n ? ", " : "", id);
    o->n++;
}

static int note_odd(struct mh_plan *p, const struct odd *o, const char *what, struct mh_err *err)
{
    if (o->n == 0)
        return 0;
    return plan_note(p, err, "%s: %zu %s %s: %s%s", p->file, o->n,
                     o->n == 1 ? "mailbox is" : "mailboxes are", what, mh_buf_str(&o->names),
                     o->n > NOTE_NAMES_MAX ? ", …" : "");
}

static int note_odd_mailboxes(struct mh_plan *p, struct mh_err *err)
{
    struct odd none = {0, MH_BUF_INIT}, many = {0, MH_BUF_INIT};
    for (size_t m = 0; m < p->n_mailboxes; m++) {
        size_t n = 0;
        for (size_t i = 0; n < 2 && i < p->n_waves; i++)
            n += mh_wave_selects(&p->waves[i], &p->mailboxes[m]);
        if (n != 1)
            add_odd(n == 0 ? &none : &many, p->mailboxes[m].id);
    }
    int rc = note_odd(p, &none, "in no wave", err);
    if (rc == 0)
        rc = note_odd(p, &many, "in more than one wave", err);
    mh_buf_done(&none.names);
    mh_buf_done(&many.names);
    return rc;
}

int plan_bind_waves(struct mh_plan *p, struct mh_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->n_waves; i++)
        rc = bind_wave(p, &p->waves[i], err);
    if (rc == 0)
        rc = note_empty_waves(p, err);
    if (rc == 0 && p->n_waves > 0)
        rc = note_odd_mailboxes(p, err);
    return rc;
}
