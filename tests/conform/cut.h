/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection that is lost at the nth call of a connector: the call is not made, or made and its
 * answer lost. What is open beside it lives on, and a new connection can be had at once. A keeper
 * for gate.h, for the sessions of mem; owns nothing. Calls come from the scheduler's thread, the
 * test's thread sets and reads between runs.
 */
#ifndef MH_TESTS_CONFORM_CUT_H
#define MH_TESTS_CONFORM_CUT_H

#include "connectors/mem/session.h"
#include "gate.h"

static struct cutter {
    uint64_t calls, at; /* at 0: never */
    bool reaches;
    bool was_hit, is_source; /* which side it was */
    const char *what;
} cutter;

/* Between runs. AT counts from here. */
static inline void cut_arm(uint64_t at, bool reaches)
{
    cutter = (struct cutter){.at = at, .reaches = reaches, .what = "nothing"};
}

/*
 * A call on a dead session answers that it is. A batch is stored, if this is what stores it, and
 * the answer is lost; or it is lost with the connection.
 */
static inline enum gate_way cut_ask(struct mh_session *s, enum gate_kind kind, const char *what)
{
    if (!s || ++cutter.calls != cutter.at || s->is_dead)
        return GATE_OPEN;
    cutter.was_hit = true;
    cutter.is_source = s->env->is_source;
    cutter.what = what;
    if (kind == GATE_CHANGES)
        return cutter.reaches ? GATE_ONE_WAY : GATE_SHUT;
    if (kind == GATE_APPENDS && cutter.reaches && s->n_batch > 0)
        s->batch[s->n_batch - 1].loses_answer = true;
    else
        s->is_dead = true;
    return GATE_OPEN;
}

/* After each haul_open(). */
static inline void cut_between(struct haul *h)
{
    gate_between(h, &(struct gate){.ask = cut_ask, .lost = mem_lost});
}

#endif
