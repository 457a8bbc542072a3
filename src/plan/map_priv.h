/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Between the rules of a mapping (map_rules.c) and the mapping itself (map.c). One thread per
 * mapping; rules are only read.
 */
#ifndef MH_PLAN_MAP_PRIV_H
#define MH_PLAN_MAP_PRIV_H

#include "plan/map.h"

/* The spellings of one path that `match` is tried on, and where a group's bytes are taken from. */
struct plan_forms {
    char *text[4]; /* owned */
    char *base[4]; /* owned: as long as text */
    size_t n;
};

struct plan_rule_hit {
    size_t number; /* from 1; 0: no rule fits */
    bool skip;
    enum mh_role to_role; /* the words are below this role's folder */
    bool too_long;        /* match rules were not tried */
};

/* The first rule that fits F; its target's words (not yet a canonical path) into TO. */
int plan_rules_find(const struct mh_map_rules *rules, const struct mh_folder *f, char separator,
                    struct plan_rule_hit *hit, struct mh_buf *to, struct mh_err *err) MH_MUST_CHECK;
/* Is rule NUMBER about a role? */
bool plan_rules_is_role(const struct mh_map_rules *rules, size_t number);

#endif
