/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Flags and keywords of a folder: what the target can keep of them, and changes at the source since the last pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/engine_priv.h"

/* --- flags that changed at the source ---------------------------------------------------------------------- */

int flags_note(struct flag_changes *c, const struct mh_state_item *row, size_t row_index,
               const struct mh_item *item, uint32_t kw, struct mh_err *err)
{
    if (!mh_grow(c->v, c->cap, c->n + 1))
        return mh_err_nomem(err);
    c->v[c->n++] = (struct flag_change){.dst_uid = row->dst_uid,
                                        .row = row_index,
                                        .add = item->flags & (uint8_t)~row->flags,
                                        .remove = row->flags & (uint8_t)~item->flags,
                                        .kw_old = row->kw,
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
    if (x->kw_old != y->kw_old)
        return x->kw_old < y->kw_old ? -1 : 1;
    if (x->kw_new != y->kw_new)
        return x->kw_new < y->kw_new ? -1 : 1;
    return x->dst_uid < y->dst_uid ? -1 : x->dst_uid > y->dst_uid;
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

static int store_one_way(struct pass *pass, struct lane *lane, const uint64_t *uids, size_t n,
                         bool add, uint8_t flags, const char *keywords, struct mh_err *err)
{
    if (flags == 0 && keywords[0] == '\0')
        return MH_OK;
    return pass->job->tc->store_flags(lane->dst, uids, n, add, flags, keywords, err);
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

/* One group of messages with the same change. */
static int store_group(struct pass *pass, struct lane *lane, const struct flag_change *c, size_t n,
                       struct mh_state_items *known, struct mh_err *err)
{
    struct mh_buf old_kw = MH_BUF_INIT;
    struct mh_buf new_kw = MH_BUF_INIT;
    struct mh_buf words = MH_BUF_INIT;
    uint64_t *uids = mh_alloc(n * sizeof *uids);
    int code = uids ? words_for_target(pass, c->kw_old, &old_kw, err) : mh_err_nomem(err);
    if (code == MH_OK)
        code = words_for_target(pass, c->kw_new, &new_kw, err);
    for (size_t i = 0; code == MH_OK && i < n; i++)
        uids[i] = c[i].dst_uid;
    words_minus(mh_buf_str(&new_kw), mh_buf_str(&old_kw), &words);
    filter_keywords(pass, &words);
    if (code == MH_OK)
        code = store_one_way(pass, lane, uids, n, true, c->add, mh_buf_str(&words), err);
    words_minus(mh_buf_str(&old_kw), mh_buf_str(&new_kw), &words);
    if (code == MH_OK)
        code = store_one_way(pass, lane, uids, n, false, c->remove, mh_buf_str(&words), err);
    for (size_t i = 0; code == MH_OK && i < n; i++) {
        struct mh_state_item *row = lane_row(lane);
        if (!row) {
            code = mh_err_nomem(err);
            break;
        }
        *row = known->v[c[i].row];
        row->flags = (uint8_t)((row->flags | c->add) & ~c->remove);
        row->kw = c->kw_new;
        pass->res->counts.updated++;
        if (pass->job->mb->progress)
            atomic_fetch_add_explicit(&pass->job->mb->progress->updated, 1, memory_order_relaxed);
    }
    mh_buf_done(&old_kw);
    mh_buf_done(&new_kw);
    mh_buf_done(&words);
    mh_free(uids);
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

int flags_store(struct pass *pass, struct lane *lane, struct flag_changes *changes,
                struct mh_state_items *known, struct mh_err *err)
{
    struct job *job = pass->job;
    int code = MH_OK;
    if (!(job->tc->flags & MH_CAN_FLAGS) || !job->tc->store_flags || job->run->cfg->dry_run)
        return MH_OK;
    if (changes->n)
        qsort(changes->v, changes->n, sizeof *changes->v, order_changes);
    for (size_t i = 0; code == MH_OK && i < changes->n;) {
        size_t n = 1;
        const struct flag_change *c = &changes->v[i];
        while (i + n < changes->n && c[n].add == c->add && c[n].remove == c->remove &&
               c[n].kw_old == c->kw_old && c[n].kw_new == c->kw_new)
            n++;
        if (c->dst_uid == 0)
            pass->flag_later = true;
        else
            code = tolerate_refusal(pass, store_group(pass, lane, c, n, known, err), err);
        i += n;
    }
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

/* Numbers and target texts of all keyword sets of the listing. */
int flags_map_keywords(struct pass *pass, struct mh_err *err)
{
    struct mh_engine_config *cfg = pass->job->run->cfg;
    uint32_t n = 1;
    for (size_t i = 0; i < pass->scan.n; i++)
        n = MH_MAX(n, pass->scan.items[i].kwset + 1);
    pass->kw_ids = mh_zalloc(n * sizeof *pass->kw_ids);
    pass->kw_texts = mh_zalloc((n + 1) * sizeof *pass->kw_texts); /* NULL-terminated */
    if (!pass->kw_ids || !pass->kw_texts)
        return mh_err_nomem(err);
    for (uint32_t k = 0; k < n; k++) {
        const char *source = mh_kwsets_text(pass->scan.kwsets, k);
        struct mh_buf text = MH_BUF_INIT;
        int code = mh_state_kw_id(cfg->state, source, &pass->kw_ids[k], err);
        if (code != MH_OK)
            return code;
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
