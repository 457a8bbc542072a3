/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A look back at what the target has made of the messages it took: each lane lists those that it has sent for size, date,
 * flags and keywords, and the content of those few whose bytes servers are known to change (NUL, 8-bit header,
 * another size). What is not as it was sent is itemised; the message stays copied.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

static void note(struct pass *pass, size_t todo, const char *reason, const char *text)
{
    struct job *job = pass->job;
    const struct mh_item *item = &pass->scan.items[pass->todo[todo].item];
    result_item(&job->res->items, &job->res->n_items, &job->res->cap_items,
                pass->entry->source->path, item->uid, "copied", reason, text);
}

static void compare_date(struct pass *pass, size_t i, const struct mh_item *s,
                         const struct mh_item *t)
{
    char want[32];
    char have[32];
    char text[80];
    if (!(pass->job->tc->flags & MH_HAS_DATES) || !s->date.is_set)
        return;
    if (t->date.is_set && t->date.unix_s == s->date.unix_s)
        return;
    mh_date_format_iso(&s->date, want);
    mh_date_format_iso(&t->date, have);
    (void)snprintf(text, sizeof text, "%s became %s", want, t->date.is_set ? have : "none");
    note(pass, i, "date-changed-by-target", text);
}

static void compare_flags(struct pass *pass, size_t i, const struct mh_item *s,
                          const struct mh_item *t, const char *there)
{
    const char *sent = pass_keywords(pass, s);
    if (s->flags == t->flags && mh_str_ieq(sent, there))
        return;
    struct mh_buf text = MH_BUF_INIT;
    mh_flags_format(s->flags, &text);
    mh_buf_addf(&text, " %s became ", sent);
    mh_flags_format(t->flags, &text);
    mh_buf_addf(&text, " %s", there);
    note(pass, i, "flags-changed-by-target", mh_buf_str(&text));
    mh_buf_done(&text);
}

/* Those whose content is worth a second look. */
struct looks {
    const struct mh_item **there; /* owned */
    size_t *todo;                 /* owned */
    size_t n;
};

static void compare_contents(struct pass *pass, const struct looks *l, const struct content *there,
                             const struct content *here)
{
    char text[96];
    for (size_t k = 0; k < l->n; k++) {
        if (!there[k].is_ok || !here[k].is_ok ||
            memcmp(&there[k].exact, &here[k].exact, sizeof here[k].exact) == 0)
            continue;
        bool same = memcmp(&there[k].canonical, &here[k].canonical, sizeof here[k].canonical) == 0;
        (void)snprintf(text, sizeof text, "%llu octets became %llu, target UID %llu",
                       (unsigned long long)here[k].octets, (unsigned long long)there[k].octets,
                       (unsigned long long)l->there[k]->uid);
        note(pass, l->todo[k],
             same ? "line-ends-rewritten-by-target" : "content-rewritten-by-target", text);
    }
}

static int look_closer(struct pass *pass, struct lane *lane, const struct looks *l,
                       struct mh_err *err)
{
    const struct mh_item **items = mh_alloc(l->n * sizeof(struct mh_item *));
    struct content *there = mh_alloc(l->n * sizeof *there);
    struct content *here = mh_alloc(l->n * sizeof *here);
    int code = items && there && here ? MH_OK : mh_err_nomem(err);
    for (size_t k = 0; code == MH_OK && k < l->n; k++)
        items[k] = &pass->scan.items[pass->todo[l->todo[k]].item];
    if (code == MH_OK)
        code = match_digests(lane->dst, pass->job->tc, l->there, l->n, there, err);
    if (code == MH_OK)
        code = match_digests(lane->src, pass->job->sc, items, l->n, here, err);
    if (code == MH_OK)
        compare_contents(pass, l, there, here);
    mh_free(items);
    mh_free(there);
    mh_free(here);
    return code;
}

enum {
    ANY_OWNER = -1,
    RUN_MIN = 16, /* messages, on average: shorter ones make long commands of few messages each */
};

/* Sent by OWNER (or anybody), its UID known, not looked back at yet. */
static bool is_due(const struct todo *t, int owner)
{
    return t->status == TODO_DONE && t->is_new && !t->is_seen && t->dst_uid != 0 &&
           (owner == ANY_OWNER || t->owner == owner);
}

static int compare_all(struct pass *pass, struct lane *lane, const struct mh_scan *scan, int owner,
                       struct mh_err *err)
{
    struct looks l = {.there = mh_alloc(pass->n_todo * sizeof(struct mh_item *)),
                      .todo = mh_alloc(pass->n_todo * sizeof *l.todo)};
    int code = l.there && l.todo ? MH_OK : mh_err_nomem(err);
    for (size_t i = 0; code == MH_OK && i < pass->n_todo; i++) {
        struct todo *t = &pass->todo[i];
        if (!is_due(t, owner))
            continue;
        const struct mh_item *s = &pass->scan.items[t->item];
        const struct mh_item *there = mh_scan_find(scan, t->dst_uid);
        t->is_seen = true;
        if (!there) {
            note(pass, i, "gone-at-target", "the target took it and does not list it any more");
            continue;
        }
        compare_date(pass, i, s, there);
        compare_flags(pass, i, s, there, mh_kwsets_text(scan->kwsets, there->kwset));
        if (t->is_odd || there->size != t->octets) {
            l.there[l.n] = there;
            l.todo[l.n++] = i;
        }
    }
    if (code == MH_OK && l.n)
        code = look_closer(pass, lane, &l, err);
    mh_free(l.there);
    mh_free(l.todo);
    return code;
}

/* The UIDs at the target of what is due, ascending; *N_RUNS_OUT: how many stretches without a gap. */
static int due_uids(const struct pass *pass, int owner, uint64_t **uids_out, size_t *n_out,
                    size_t *n_runs_out, struct mh_err *err)
{
    size_t n = 0;
    uint64_t *uids = mh_alloc(pass->n_todo * sizeof *uids);
    if (!uids)
        return mh_err_nomem(err);
    for (size_t i = 0; i < pass->n_todo; i++) {
        if (is_due(&pass->todo[i], owner))
            uids[n++] = pass->todo[i].dst_uid;
    }
    if (n)
        qsort(uids, n, sizeof *uids, order_uids);
    *n_runs_out = n > 0;
    for (size_t i = 1; i < n; i++)
        *n_runs_out += uids[i] != uids[i - 1] + 1;
    *uids_out = uids;
    *n_out = n;
    return MH_OK;
}

int look_back(struct pass *pass, struct lane *lane, bool own_only, struct mh_err *err)
{
    const struct mh_connector *tc = pass->job->tc;
    struct mh_scan scan;
    int owner = own_only ? (int)lane->number : ANY_OWNER;
    uint64_t *uids = NULL;
    size_t n = 0;
    size_t n_runs = 0;
    if (!lane->dst || (tc->flags & MH_IS_LOCAL))
        return MH_OK;
    int code = due_uids(pass, owner, &uids, &n, &n_runs, err);
    if (code != MH_OK)
        return code;
    /* Batches of several lanes lie side by side; single messages lie mixed, and then it is the last lane's. */
    bool by_uid = tc->scan_uids && n >= RUN_MIN * n_runs;
    if (n > 0 && (by_uid || !own_only)) {
        code = mh_scan_init(&scan, err);
        if (code == MH_OK)
            code = by_uid ? tc->scan_uids(lane->dst, uids, n, &scan, err)
                          : tc->scan(lane->dst, pass->window, &scan, err);
        if (code == MH_OK)
            code = compare_all(pass, lane, &scan, owner, err);
        mh_scan_done(&scan);
    }
    mh_free(uids);
    return code;
}
