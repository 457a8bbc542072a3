/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Matching: every way through the code is tried in order of preference, by an explicit stack. Which
 * ways are left from an instruction at a place of the text does not depend on how one came there,
 * so a bit per (instruction, place) keeps the walk from going anywhere twice: that is the bound.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#include "plan/pattern_priv.h"
#include "plan/plan_priv.h"

/* Something to do later: go on at an instruction, or put a slot back to what it was. */
struct job {
    uint32_t code; /* or slot */
    uint32_t place;
    bool is_restore;
};

#define UNSET UINT32_MAX

struct walk {
    const struct plan_pattern *pattern;
    const char *text;
    size_t len;
    unsigned char *been; /* owned: bits */
    struct job *jobs;    /* owned */
    size_t n_jobs;
    size_t cap_jobs;
    uint32_t slots[2 * PLAN_PATTERN_GROUPS];
    bool failed; /* memory */
};

static bool is_in_set(const struct plan_pattern *p, size_t number, uint32_t c)
{
    const struct plan_set *set = &p->sets[number];
    bool is_member = false;
    for (size_t i = 0; !is_member && i < set->n; i++) {
        const struct plan_range *r = &p->ranges[set->from + i];
        is_member = c >= r->first && c <= r->last;
    }
    return is_member != set->is_negated;
}

static void push(struct walk *w, struct job job)
{
    if (mh_grow(w->jobs, w->cap_jobs, w->n_jobs + 1))
        w->jobs[w->n_jobs++] = job;
    else
        w->failed = true;
}

/* Was the walk here before? It is now. */
static bool was_here(struct walk *w, uint32_t code, uint32_t place)
{
    size_t bit = (size_t)code * (w->len + 1) + place;
    unsigned char mask = (unsigned char)(1u << (bit & 7));
    bool was = w->been[bit >> 3] & mask;
    w->been[bit >> 3] |= mask;
    return was;
}

/* Takes the character at *PLACE if INST wants it. */
static bool take(const struct walk *w, const struct plan_inst *inst, uint32_t *place)
{
    const char *at = w->text + *place;
    if (*place == w->len)
        return false;
    uint32_t c = mh_utf8_next(&at, w->text + w->len);
    *place = (uint32_t)(at - w->text);
    if (inst->op == PLAN_OP_CHAR)
        return c == inst->x;
    return inst->op == PLAN_OP_ANY || is_in_set(w->pattern, inst->x, c);
}

/* Follows one way from CODE at PLACE until it ends; true: it fits the whole text. */
static bool follow(struct walk *w, uint32_t code, uint32_t place)
{
    while (!w->failed && !was_here(w, code, place)) {
        const struct plan_inst *inst = &w->pattern->code[code++];
        switch (inst->op) {
        case PLAN_OP_CHAR:
        case PLAN_OP_ANY:
        case PLAN_OP_SET:
            if (!take(w, inst, &place))
                return false;
            break;
        case PLAN_OP_BEGIN:
            if (place != 0)
                return false;
            break;
        case PLAN_OP_END:
            if (place != w->len)
                return false;
            break;
        case PLAN_OP_SPLIT:
            push(w, (struct job){inst->y, place, false});
            code = inst->x;
            break;
        case PLAN_OP_JUMP:
            code = inst->x;
            break;
        case PLAN_OP_SAVE:
            push(w, (struct job){inst->x, w->slots[inst->x], true});
            w->slots[inst->x] = place;
            break;
        case PLAN_OP_FIT:
            return place == w->len;
        }
    }
    return false;
}

static bool search(struct walk *w)
{
    push(w, (struct job){0, 0, false});
    while (w->n_jobs > 0 && !w->failed) {
        struct job job = w->jobs[--w->n_jobs];
        if (job.is_restore)
            w->slots[job.code] = job.place;
        else if (follow(w, job.code, job.place))
            return !w->failed;
    }
    return false;
}

int plan_pattern_fits(const struct plan_pattern *p, const char *text, bool *fits_out,
                      struct plan_span spans[PLAN_PATTERN_GROUPS], struct mh_err *err)
{
    struct walk w = {.pattern = p, .text = text, .len = strlen(text)};
    mh_assert(w.len < UNSET);
    memset(w.slots, 0xff, sizeof w.slots);
    w.been = mh_zalloc(p->n_code * (w.len + 1) / 8 + 1);
    w.failed = !w.been;
    *fits_out = search(&w);
    for (size_t i = 1; *fits_out && i < PLAN_PATTERN_GROUPS; i++) {
        bool is_set = w.slots[2 * i] != UNSET && w.slots[2 * i + 1] != UNSET;
        spans[i] = (struct plan_span){is_set ? w.slots[2 * i] : 0, is_set ? w.slots[2 * i + 1] : 0,
                                      is_set};
    }
    spans[0] = (struct plan_span){0, w.len, true};
    mh_free(w.been);
    mh_free(w.jobs);
    return w.failed ? plan_nomem(err) : 0;
}
