/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Flags and keywords of a folder: what the target can keep of them, and changes at the source since the last pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/engine_priv.h"

/* --- flags that changed at the source ---------------------------------------------------------------------- */

int flags_note(struct flag_changes *c, const struct mh_state_item *row, const struct mh_item *item,
               uint32_t kw, struct mh_err *err)
{
    if (!mh_grow(c->v, c->cap, c->n + 1))
        return mh_err_nomem(err);
    c->v[c->n++] = (struct flag_change){.row = *row,
                                        .add = item->flags & (uint8_t)~row->flags,
                                        .remove = row->flags & (uint8_t)~item->flags,
                                        .kw_new = kw};
    return MH_OK;
}

static int order_changes(const void *a, const void *b)
{
    const struct flag_change *x = a;
    const struct flag_change *y = b;
    if (x->add != y->add)
        return x->add < y->add ? -1 : 1;
    if (x->remove != y->remove)
        return x->remove < y->remove ? -1 : 1;
    if (x->row.kw != y->row.kw)
        return x->row.kw < y->row.kw ? -1 : 1;
    if (x->kw_new != y->kw_new)
        return x->kw_new < y->kw_new ? -1 : 1;
    if (x->row.theirs != y->row.theirs)
        return x->row.theirs < y->row.theirs ? -1 : 1;
    if (x->row.theirs_kw != y->row.theirs_kw)
        return x->row.theirs_kw < y->row.theirs_kw ? -1 : 1;
    return x->row.dst_uid < y->row.dst_uid ? -1 : x->row.dst_uid > y->row.dst_uid;
}

static int order_by_target(const void *a, const void *b)
{
    const struct flag_change *x = a;
    const struct flag_change *y = b;
    return x->row.dst_uid < y->row.dst_uid ? -1 : x->row.dst_uid > y->row.dst_uid;
}

static bool has_word(const char *words, const char *word, size_t len)
{
    for (const char *at = words; *at;) {
        size_t n = strcspn(at, " ");
        if (n == len && strncasecmp(at, word, n) == 0)
            return true;
        at += n + strspn(at + n, " ");
    }
    return false;
}

/* The words of A that are not in B. */
static void words_minus(const char *a, const char *b, struct mh_buf *out)
{
    mh_buf_reset(out);
    for (const char *at = a; *at;) {
        size_t n = strcspn(at, " ");
        if (n && !has_word(b, at, n)) {
            if (out->len)
                mh_buf_addc(out, ' ');
            mh_buf_add(out, at, n);
        }
        at += n + strspn(at + n, " ");
    }
}

static void add_word(struct mh_buf *words, const char *word, size_t len)
{
    if (words->len)
        mh_buf_addc(words, ' ');
    mh_buf_add(words, word, len);
}

/* Whether the target folder knows the keyword, or has room to get to know it now. */
static bool target_keeps(struct pass *pass, const char *word, size_t len)
{
    const struct mh_opened *dst = &pass->dst_opened;
    if (has_word(dst->keywords, word, len) || has_word(mh_buf_str(&pass->kw_new), word, len))
        return true;
    if (!dst->keywords_ok || pass->n_kw_new == dst->keywords_room)
        return false;
    add_word(&pass->kw_new, word, len);
    pass->n_kw_new++;
    return true;
}

/* Leaves out of TEXT what the target cannot keep; what was dropped is noted once per folder. */
static void filter_keywords(struct pass *pass, struct mh_buf *text)
{
    const struct mh_opened *dst = &pass->dst_opened;
    struct mh_buf kept = MH_BUF_INIT;
    struct mh_buf dropped = MH_BUF_INIT;
    if ((dst->keywords_ok && dst->keywords_room == 0) || text->len == 0)
        return;
    if (!pass->dst.native)
        return; /* a dry run: the folder will be a new one */
    for (const char *at = mh_buf_str(text); *at;) {
        size_t n = strcspn(at, " ");
        if (n)
            add_word(target_keeps(pass, at, n) ? &kept : &dropped, at, n);
        at += n + strspn(at + n, " ");
    }
    if (dropped.len)
        result_item(&pass->job->res->notes, &pass->job->res->n_notes, &pass->job->res->cap_notes,
                    pass->entry->source->path, 0, "keywords", "not-kept-by-target",
                    mh_buf_str(&dropped));
    mh_buf_reset(text);
    mh_buf_add(text, mh_buf_str(&kept), kept.len);
    mh_buf_done(&kept);
    mh_buf_done(&dropped);
}

/* The keywords that the state numbers KW, as the project's rules want them at the target. */
static int words_for_target(const struct pass *pass, uint32_t kw, struct mh_buf *out,
                            struct mh_err *err)
{
    const struct mh_engine_config *cfg = pass->job->run->cfg;
    char text[1024];
    (void)mh_state_kw_text(cfg->state, kw, text, sizeof text);
    if (!cfg->keywords) {
        mh_buf_adds(out, text);
        return MH_OK;
    }
    return cfg->keywords(cfg->callback_ctx, text, out) == MH_OK ? MH_OK : mh_err_nomem(err);
}

/* The words of KW, the state's number, that are not among THEIRS. */
static int words_that_are_ours(const struct pass *pass, uint32_t kw, const char *theirs,
                               struct mh_buf *out, struct mh_err *err)
{
    struct mh_buf all = MH_BUF_INIT;
    int code = words_for_target(pass, kw, &all, err);
    words_minus(mh_buf_str(&all), theirs, out);
    mh_buf_done(&all);
    return code;
}

/* The rows as they are now: what the source has, and what has been carried. */
static int write_rows(struct pass *pass, struct lane *lane, const struct flag_change *c, size_t n,
                      struct mh_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct mh_state_item *row = lane_row(lane);
        if (!row)
            return mh_err_nomem(err);
        *row = c[i].row;
        row->gone = MH_GONE_NOT;
        row->flags = (uint8_t)((row->flags | c[i].add) & ~c[i].remove);
        row->kw = c[i].kw_new;
        bool is_change = c[i].add || c[i].remove || c[i].kw_new != c[i].row.kw;
        pass->res->counts.updated += is_change;
        if (is_change && pass->job->mb->progress)
            atomic_fetch_add_explicit(&pass->job->mb->progress->updated, 1, memory_order_relaxed);
    }
    return lane_push_rows(lane, false, err);
}

/* --- what the target is told ------------------------------------------------------------------------------ */

/* One STORE: messages whose changes come to the same at the target, whatever else is different about them. */
struct flag_store {
    bool add;
    uint8_t flags;
    char *words;    /* owned */
    uint64_t *uids; /* owned */
    size_t n, cap;
    int code; /* what came of it */
};

/* Messages with the same change, and the two STOREs that it takes; NO_STORE: none. */
struct flag_group {
    size_t first, n;
    size_t adding, removing;
};

#define NO_STORE SIZE_MAX

struct flag_plan {
    struct flag_store *stores; /* owned */
    size_t n_stores, cap_stores;
    struct flag_group *groups; /* owned */
    size_t n_groups, cap_groups;
};

static void plan_done(struct flag_plan *plan)
{
    for (size_t i = 0; i < plan->n_stores; i++) {
        mh_free(plan->stores[i].words);
        mh_free(plan->stores[i].uids);
    }
    mh_free(plan->stores);
    mh_free(plan->groups);
}

/* The one with these flags and words, made if there is none; NULL: no memory. */
static struct flag_store *find_store(struct flag_plan *plan, bool add, uint8_t flags,
                                     const char *words)
{
    for (size_t i = 0; i < plan->n_stores; i++) {
        struct flag_store *s = &plan->stores[i];
        if (s->add == add && s->flags == flags && strcmp(s->words, words) == 0)
            return s;
    }
    char *own_words = mh_strdup(words);
    if (!own_words || !mh_grow(plan->stores, plan->cap_stores, plan->n_stores + 1)) {
        mh_free(own_words);
        return NULL;
    }
    struct flag_store *s = &plan->stores[plan->n_stores++];
    *s = (struct flag_store){.add = add, .flags = flags, .words = own_words};
    return s;
}

/* The messages of C go into the store for FLAGS and WORDS, whose number goes to *OUT. */
static int join_store(struct flag_plan *plan, bool add, uint8_t flags, const char *words,
                      const struct flag_change *c, size_t n, size_t *out, struct mh_err *err)
{
    *out = NO_STORE;
    if (flags == 0 && words[0] == '\0')
        return MH_OK;
    struct flag_store *s = find_store(plan, add, flags, words);
    if (!s || !mh_grow(s->uids, s->cap, s->n + n))
        return mh_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        s->uids[s->n++] = c[i].row.dst_uid;
    *out = (size_t)(s - plan->stores);
    return MH_OK;
}

static int plan_group(struct pass *pass, struct flag_plan *plan, const struct flag_change *c,
                      size_t first, size_t n, struct mh_err *err)
{
    struct mh_buf old_kw = MH_BUF_INIT;
    struct mh_buf new_kw = MH_BUF_INIT;
    struct mh_buf words = MH_BUF_INIT;
    struct mh_buf theirs = MH_BUF_INIT;
    struct flag_group g = {.first = first, .n = n, .adding = NO_STORE, .removing = NO_STORE};
    int code = words_for_target(pass, c->row.theirs_kw, &theirs, err);
    if (code == MH_OK)
        code = words_that_are_ours(pass, c->row.kw, mh_buf_str(&theirs), &old_kw, err);
    if (code == MH_OK)
        code = words_that_are_ours(pass, c->kw_new, mh_buf_str(&theirs), &new_kw, err);
    words_minus(mh_buf_str(&new_kw), mh_buf_str(&old_kw), &words);
    filter_keywords(pass, &words);
    if (code == MH_OK)
        code = join_store(plan, true, c->add & (uint8_t)~c->row.theirs, mh_buf_str(&words), c, n,
                          &g.adding, err);
    words_minus(mh_buf_str(&old_kw), mh_buf_str(&new_kw), &words);
    if (code == MH_OK)
        code = join_store(plan, false, c->remove & (uint8_t)~c->row.theirs, mh_buf_str(&words), c,
                          n, &g.removing, err);
    mh_buf_done(&old_kw);
    mh_buf_done(&new_kw);
    mh_buf_done(&words);
    mh_buf_done(&theirs);
    if (code == MH_OK && !mh_grow(plan->groups, plan->cap_groups, plan->n_groups + 1))
        code = mh_err_nomem(err);
    if (code == MH_OK)
        plan->groups[plan->n_groups++] = g;
    return code;
}

/* The target will not have these flags: worth a line, not the folder, nor the other changes. */
static int tolerate_refusal(struct pass *pass, int code, const struct mh_err *err)
{
    struct mh_mailbox_result *res = pass->job->res;
    if (code != MH_EITEM && code != MH_EFOLDER && code != MH_ENOSUP)
        return code;
    result_item(&res->notes, &res->n_notes, &res->cap_notes, pass->entry->source->path, 0, "flags",
                "refused", err->text);
    pass->flag_later = true;
    return MH_OK;
}

/* --- what the target's user has changed ----------------------------------------------------------------------- */

/* What TARGET has already of what the source changed, although it was not carried: somebody there did it, and from now on
 * it is theirs. After a run that broke off it may have been us, and nobody's word is taken for it. */
static int note_theirs(struct pass *pass, struct flag_change *c, const struct mh_item *there,
                       const char *words_there, struct mh_err *err)
{
    struct mh_buf was = MH_BUF_INIT;
    struct mh_buf is = MH_BUF_INIT;
    struct mh_buf words = MH_BUF_INIT;
    struct mh_buf theirs = MH_BUF_INIT;
    uint8_t has = there->flags & c->add;
    uint8_t lacks = (uint8_t)~there->flags & c->remove & pass->dst_opened.flags_ok;
    c->row.theirs |= has | lacks;
    int code = words_for_target(pass, c->row.kw, &was, err);
    if (code == MH_OK)
        code = words_for_target(pass, c->kw_new, &is, err);
    if (code == MH_OK)
        code = words_for_target(pass, c->row.theirs_kw, &theirs, err);
    words_minus(mh_buf_str(&is), mh_buf_str(&was), &words);
    for (const char *at = mh_buf_str(&words); code == MH_OK && *at;) {
        size_t n = strcspn(at, " ");
        if (n && has_word(words_there, at, n))
            add_word(&theirs, at, n);
        at += n + strspn(at + n, " ");
    }
    if (code == MH_OK && theirs.len)
        code =
            mh_state_kw_id(pass->job->run->cfg->state, mh_buf_str(&theirs), &c->row.theirs_kw, err);
    mh_buf_done(&was);
    mh_buf_done(&is);
    mh_buf_done(&words);
    mh_buf_done(&theirs);
    return code;
}

/* The target's flags of the messages that are to be changed; messages that are not there any more keep their rows only. */
static int look_at_target(struct pass *pass, struct lane *lane, struct flag_changes *changes,
                          struct mh_err *err)
{
    const struct mh_connector *tc = pass->job->tc;
    struct mh_scan scan;
    size_t n = 0;
    if (changes->n == 0 || !tc->scan_uids)
        return MH_OK;
    qsort(changes->v, changes->n, sizeof *changes->v, order_by_target);
    uint64_t *uids = mh_alloc(changes->n * sizeof *uids);
    int code = uids ? mh_scan_init(&scan, err) : mh_err_nomem(err);
    if (code != MH_OK) {
        mh_free(uids);
        return code;
    }
    for (size_t i = 0; i < changes->n; i++) {
        uint64_t uid = changes->v[i].row.dst_uid;
        if (uid != 0 && (n == 0 || uids[n - 1] != uid))
            uids[n++] = uid;
    }
    code = tc->scan_uids(lane->dst, uids, n, &scan, err);
    for (size_t i = 0; code == MH_OK && i < changes->n; i++) {
        struct flag_change *c = &changes->v[i];
        const struct mh_item *there = mh_scan_find(&scan, c->row.dst_uid);
        if (there && !pass_may_have_stored(pass))
            code = note_theirs(pass, c, there, mh_kwsets_text(scan.kwsets, there->kwset), err);
    }
    mh_scan_done(&scan);
    mh_free(uids);
    return code;
}

/* How many changes from C on are the same. */
static size_t group_size(const struct flag_change *c, size_t left)
{
    size_t n = 1;
    while (n < left && c[n].add == c->add && c[n].remove == c->remove && c[n].row.kw == c->row.kw &&
           c[n].kw_new == c->kw_new && c[n].row.theirs_kw == c->row.theirs_kw &&
           c[n].row.theirs == c->row.theirs && (c[n].row.dst_uid == 0) == (c->row.dst_uid == 0))
        n++;
    return n;
}

static int plan_all(struct pass *pass, struct lane *lane, struct flag_plan *plan,
                    struct mh_err *err)
{
    struct flag_changes *changes = &pass->changes;
    int code = MH_OK;
    if (changes->n)
        qsort(changes->v, changes->n, sizeof *changes->v, order_changes);
    for (size_t i = 0; code == MH_OK && i < changes->n;) {
        const struct flag_change *c = &changes->v[i];
        size_t n = group_size(c, changes->n - i);
        if (c->row.how == MH_HOW_REMOVED)
            code = write_rows(pass, lane, c, n, err);
        else if (c->row.dst_uid == 0)
            pass->flag_later = true;
        else
            code = plan_group(pass, plan, c, i, n, err);
        i += n;
    }
    return code;
}

static int make_stores(struct pass *pass, struct lane *lane, struct flag_plan *plan,
                       struct mh_err *err)
{
    int code = MH_OK;
    for (size_t i = 0; code == MH_OK && i < plan->n_stores; i++) {
        struct flag_store *s = &plan->stores[i];
        qsort(s->uids, s->n, sizeof *s->uids, order_uids);
        s->code =
            pass->job->tc->store_flags(lane->dst, s->uids, s->n, s->add, s->flags, s->words, err);
        code = tolerate_refusal(pass, s->code, err);
    }
    return code;
}

static bool was_stored(const struct flag_plan *plan, size_t store)
{
    return store == NO_STORE || plan->stores[store].code == MH_OK;
}

int flags_store(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct job *job = pass->job;
    struct flag_plan plan = {.n_stores = 0};
    if (!(job->tc->flags & MH_CAN_FLAGS) || !job->tc->store_flags || job->run->cfg->dry_run)
        return MH_OK;
    int code = look_at_target(pass, lane, &pass->changes, err);
    if (code == MH_OK)
        code = plan_all(pass, lane, &plan, err);
    if (code == MH_OK)
        code = make_stores(pass, lane, &plan, err);
    for (size_t i = 0; code == MH_OK && i < plan.n_groups; i++) {
        const struct flag_group *g = &plan.groups[i];
        if (was_stored(&plan, g->adding) && was_stored(&plan, g->removing))
            code = write_rows(pass, lane, &pass->changes.v[g->first], g->n, err);
    }
    plan_done(&plan);
    return code;
}

/* --- keywords ------------------------------------------------------------------------------------------------ */

/* What the project's keyword rules changed: said once per set and folder. */
static void note_policy(struct pass *pass, const char *source, const char *mapped)
{
    char text[256];
    if (mh_str_ieq(source, mapped))
        return;
    (void)snprintf(text, sizeof text, "%s -> %s", source, *mapped ? mapped : "(none)");
    result_item(&pass->job->res->notes, &pass->job->res->n_notes, &pass->job->res->cap_notes,
                pass->entry->source->path, 0, "keywords", "by-rule", text);
}

static uint32_t count_sets(const struct pass *pass)
{
    return 1 + (pass->scan.kwsets ? mh_kwsets_count(pass->scan.kwsets) : 0);
}

int flags_number_keywords(struct pass *pass, struct mh_err *err)
{
    uint32_t n = count_sets(pass);
    int code = MH_OK;
    if (!mh_grow(pass->kw_ids, pass->cap_kw_ids, n))
        return mh_err_nomem(err);
    if (pass->n_kw_ids == 0)
        pass->kw_ids[pass->n_kw_ids++] = 0;
    while (code == MH_OK && pass->n_kw_ids < n) {
        uint32_t k = (uint32_t)pass->n_kw_ids;
        code = mh_state_kw_id(pass->job->run->cfg->state, mh_kwsets_text(pass->scan.kwsets, k),
                              &pass->kw_ids[k], err);
        pass->n_kw_ids += code == MH_OK;
    }
    return code;
}

int flags_map_keywords(struct pass *pass, struct mh_err *err)
{
    struct mh_engine_config *cfg = pass->job->run->cfg;
    uint32_t n = count_sets(pass);
    pass->kw_texts = mh_zalloc((n + 1) * sizeof *pass->kw_texts); /* NULL-terminated */
    if (!pass->kw_texts)
        return mh_err_nomem(err);
    for (uint32_t k = 0; k < n; k++) {
        const char *source = k ? mh_kwsets_text(pass->scan.kwsets, k) : "";
        struct mh_buf text = MH_BUF_INIT;
        int code = MH_OK;
        if (cfg->keywords)
            code = cfg->keywords(cfg->callback_ctx, source, &text);
        else
            mh_buf_adds(&text, source);
        note_policy(pass, source, mh_buf_str(&text));
        filter_keywords(pass, &text);
        pass->kw_texts[k] = mh_buf_take(&text);
        if (code != MH_OK || !pass->kw_texts[k])
            return mh_err_nomem(err);
    }
    return MH_OK;
}

const char *pass_keywords(const struct pass *pass, const struct mh_item *item)
{
    return pass->kw_texts[item->kwset];
}
