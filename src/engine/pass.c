/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A pass over one folder: what is there, what is missing, what has changed; the todo list that lanes
 * work off; the row that says how far we got.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/engine_priv.h"

enum {
    CHUNK_BATCHES = 4,       /* so soon a lane asks whether it is still wanted */
    CHUNK_SINGLES_MIN = 16,  /* without batches: less is not worth a FETCH */
    CHUNK_SINGLES_MAX = 256, /* likewise CHUNK_BATCHES */
};

/* --- the list of what to do --------------------------------------------------------------------------- */

static int alloc_todo(struct pass *pass, size_t n, struct mh_err *err)
{
    pass->todo = mh_zalloc(n * sizeof *pass->todo);
    return pass->todo ? MH_OK : mh_err_nomem(err);
}

static void add_todo(struct pass *pass, size_t item)
{
    pass->todo[pass->n_todo++] = (struct todo){.item = (uint32_t)item, .status = TODO_OPEN};
}

/* A message that was carried before. */
static void count_unchanged(struct pass *pass)
{
    pass->res->counts.adopted++;
    pass->res->counts.unchanged++;
}

struct flag_change {
    uint64_t dst_uid;
    size_t row;
    uint8_t add, remove;
    uint32_t kw_old, kw_new; /* the state's numbers */
};

struct flag_changes {
    struct flag_change *v; /* owned */
    size_t n, cap;
};

static int note_change(struct flag_changes *c, const struct mh_state_item *row, size_t row_index,
                       const struct mh_item *item, uint32_t kw, struct mh_err *err)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 64;
        struct flag_change *v = mh_realloc_array(c->v, cap, sizeof *v);
        if (!v)
            return mh_err_nomem(err);
        c->v = v;
        c->cap = cap;
    }
    c->v[c->n++] = (struct flag_change){.dst_uid = row->dst_uid,
                                        .row = row_index,
                                        .add = item->flags & (uint8_t)~row->flags,
                                        .remove = row->flags & (uint8_t)~item->flags,
                                        .kw_old = row->kw,
                                        .kw_new = kw};
    return MH_OK;
}

/* Walks the listing and the state side by side, both ascending by source UID. */
static int compare(struct pass *pass, struct lane *lane, struct mh_state_items *known,
                   struct flag_changes *changes, struct mh_err *err)
{
    size_t r = 0;
    int code = alloc_todo(pass, pass->scan.n, err);
    for (size_t i = 0; code == MH_OK && i <= pass->scan.n; i++) {
        const struct mh_item *item = i < pass->scan.n ? &pass->scan.items[i] : NULL;
        for (; r < known->n && (!item || known->v[r].src_uid < item->uid); r++) {
            pass->res->counts.gone++;
            if (known->v[r].src_gone || pass->job->run->cfg->dry_run)
                continue;
            struct mh_state_item *row = lane_row(lane);
            if (!row)
                return mh_err_nomem(err);
            *row = known->v[r];
            row->src_gone = true;
        }
        if (!item)
            break;
        if (r == known->n || known->v[r].src_uid != item->uid) {
            add_todo(pass, i);
            continue;
        }
        count_unchanged(pass);
        uint32_t kw = pass->kw_ids[item->kwset];
        if (item->flags != known->v[r].flags || kw != known->v[r].kw)
            code = note_change(changes, &known->v[r], r, item, kw, err);
        r++;
    }
    return code;
}

/* --- flags that changed at the source ---------------------------------------------------------------------- */

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

static int store_changes(struct pass *pass, struct lane *lane, struct flag_changes *changes,
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
static int map_keywords(struct pass *pass, struct mh_err *err)
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

/* --- preparing -------------------------------------------------------------------------------------------------- */

struct load {
    struct mh_state *st;
    uint32_t folder;
    struct mh_state_items *out;
    struct mh_err err;
    int code;
};

static void load_items(void *arg)
{
    struct load *l = arg;
    l->code = mh_state_items(l->st, l->folder, l->out, &l->err);
}

/* What the state knows of the folder, unless a UIDVALIDITY says that it no longer holds. */
static int load_known(struct pass *pass, struct mh_state_items *known, struct mh_err *err)
{
    struct mh_state_folder *row = &pass->row;
    struct mh_state *st = pass->job->run->cfg->state;
    if (!pass->row_is_known)
        return MH_OK;
    bool same = row->src_uidvalidity == pass->src_opened.uidvalidity &&
                row->dst_uidvalidity == pass->dst_opened.uidvalidity;
    if (!same && pass->job->run->cfg->dry_run)
        return MH_OK;
    if (!same) {
        row->target_uidnext = 0;
        row->complete = false;
        result_item(&pass->job->res->notes, &pass->job->res->n_notes, &pass->job->res->cap_notes,
                    pass->entry->source->path, 0, "folder", "uidvalidity-changed",
                    "matched again by content");
        return mh_state_clear_items(st, row->id, err);
    }
    struct load l = {.st = st, .folder = row->id, .out = known};
    mh_offload(load_items, &l);
    if (l.code != MH_OK)
        *err = l.err;
    return l.code;
}

static int order_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

bool pass_must_wait(const struct pass *pass)
{
    for (const struct pass *p = pass->sibling; p != pass; p = p->sibling) {
        if (p->phase == PASS_PREPARING || p->phase == PASS_COPYING)
            return true;
    }
    return false;
}

static int add_known(struct pass *pass, const struct mh_state_items *rows, struct mh_err *err)
{
    uint64_t *v = mh_realloc_array(pass->known, pass->n_known + rows->n + 1, sizeof *pass->known);
    if (!v)
        return mh_err_nomem(err);
    pass->known = v;
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->v[i].dst_uid)
            pass->known[pass->n_known++] = rows->v[i].dst_uid;
    }
    return MH_OK;
}

/* What SIBLING has in the target folder that both are carried into: from earlier runs and from this one. */
static int add_sibling(struct pass *pass, const struct pass *sibling, struct mh_err *err)
{
    struct mh_state_items rows = {0};
    struct load l = {.st = pass->job->run->cfg->state, .folder = sibling->row.id, .out = &rows};
    if (sibling->row_is_known && sibling->row.dst_uidvalidity == pass->dst_opened.uidvalidity) {
        mh_offload(load_items, &l);
        if (l.code != MH_OK)
            *err = l.err;
    }
    int code = l.code == MH_OK ? add_known(pass, &rows, err) : l.code;
    mh_state_items_done(&rows);
    if (code != MH_OK || sibling->n_todo == 0)
        return code;
    uint64_t *v =
        mh_realloc_array(pass->known, pass->n_known + sibling->n_todo, sizeof *pass->known);
    if (!v)
        return mh_err_nomem(err);
    pass->known = v;
    for (size_t i = 0; i < sibling->n_todo; i++) {
        if (sibling->todo[i].status == TODO_DONE && sibling->todo[i].dst_uid)
            pass->known[pass->n_known++] = sibling->todo[i].dst_uid;
    }
    return MH_OK;
}

static int keep_known_uids(struct pass *pass, const struct mh_state_items *known,
                           struct mh_err *err)
{
    int code = add_known(pass, known, err);
    for (struct pass *p = pass->sibling; code == MH_OK && p != pass; p = p->sibling)
        code = add_sibling(pass, p, err);
    if (code == MH_OK && pass->n_known)
        qsort(pass->known, pass->n_known, sizeof *pass->known, order_u64);
    return code;
}

/* The folder's row goes to the state before the first item of the pass, so that a run that breaks off
 * finds out where its window began. */
static int write_row(struct pass *pass, bool complete, struct mh_err *err)
{
    struct mh_state_folder *row = &pass->row;
    if (pass->job->run->cfg->dry_run)
        return MH_OK;
    row->complete = complete;
    row->src_uidvalidity = pass->src_opened.uidvalidity;
    row->dst_uidvalidity = pass->dst_opened.uidvalidity;
    row->src_uidnext = complete ? pass->src_opened.uidnext : 0;
    row->src_messages = pass->src_opened.messages;
    row->src_highestmodseq = complete ? pass->src_opened.highestmodseq : 0;
    return mh_state_put_folder(pass->job->run->cfg->state, row, err);
}

int pass_open(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct job *job = pass->job;
    struct mh_opened opened;
    int code = job->sc->select(lane->src, pass->entry->source, false, &opened, err);
    if (code != MH_OK) {
        mh_err_at(err, "source");
        return code;
    }
    bool moved = pass->phase == PASS_COPYING && opened.uidvalidity != pass->src_opened.uidvalidity;
    if (pass->phase != PASS_COPYING)
        pass->src_opened = opened;
    if (job->run->cfg->dry_run && !pass->dst.native)
        return MH_OK;
    code = job->tc->select(lane->dst, &pass->dst, !job->run->cfg->dry_run, &opened, err);
    if (code == MH_OK && !job->run->cfg->dry_run)
        code = job->tc->append_open(lane->dst, &pass->dst, &lane->verdicts, err);
    if (code != MH_OK) {
        mh_err_at(err, "target");
        return code;
    }
    moved |= pass->phase == PASS_COPYING && opened.uidvalidity != pass->dst_opened.uidvalidity;
    if (pass->phase != PASS_COPYING)
        pass->dst_opened = opened;
    if (moved)
        return mh_err_set(
            err, MH_EFOLDER, "engine",
            "UIDVALIDITY changed while the folder was being copied; the next run matches "
            "it by content");
    return MH_OK;
}

/* Where the window starts, and a look into it when something may be there. */
static int look_into_window(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool ascend = (pass->job->tc->flags & MH_UIDS_ASCEND) != 0;
    bool trusted = pass->row_is_known && pass->row.target_uidnext > 0;
    pass->window = ascend && trusted ? pass->row.target_uidnext : 1;
    if (pass->created) {
        pass->window = ascend ? MH_MAX(pass->dst_opened.uidnext, (uint64_t)1) : 1;
        return MH_OK;
    }
    bool maybe = pass->n_todo > 0 && pass->dst_opened.messages > 0 &&
                 (!ascend || pass->dst_opened.uidnext > pass->window);
    return maybe ? match_window(pass, lane, pass->window, false, err) : MH_OK;
}

static int scan_and_compare(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct job *job = pass->job;
    struct mh_state_items known = {0};
    struct flag_changes changes = {0};
    int code = mh_scan_init(&pass->scan, err);
    if (code == MH_OK)
        code = load_known(pass, &known, err);
    if (code == MH_OK) {
        code = job->sc->scan(lane->src, 1, &pass->scan, err);
        if (code != MH_OK)
            mh_err_at(err, "source, listing the messages");
    }
    if (code == MH_OK)
        code = map_keywords(pass, err);
    if (code == MH_OK)
        code = write_row(pass, false, err);
    if (code == MH_OK && !job->run->cfg->dry_run)
        code = mh_state_clear_ledger(job->run->cfg->state, pass->row.id, err);
    if (code == MH_OK)
        code = compare(pass, lane, &known, &changes, err);
    if (code == MH_OK)
        code = store_changes(pass, lane, &changes, &known, err);
    if (code == MH_OK)
        code = keep_known_uids(pass, &known, err);
    mh_free(changes.v);
    mh_state_items_done(&known);
    return code;
}

static void count_found(struct pass *pass)
{
    struct mh_progress *p = pass->job->mb->progress;
    uint64_t bytes = 0;
    pass->res->counts.found = pass->scan.n;
    for (size_t i = 0; i < pass->n_todo; i++)
        bytes += pass->scan.items[pass->todo[i].item].size;
    if (!p)
        return;
    atomic_fetch_add_explicit(&p->found, pass->scan.n, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->found_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->adopted, pass->res->counts.unchanged, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->unchanged, pass->res->counts.unchanged, memory_order_relaxed);
}

int pass_prepare(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    struct job *job = pass->job;
    int code = around_folder(job, pass, lane->src, lane->dst, err);
    if (code == MH_OK)
        code = pass_open(pass, lane, err);
    if (code == MH_OK)
        code = scan_and_compare(pass, lane, err);
    if (code != MH_OK)
        return code;
    count_found(pass);
    if (job->run->cfg->dry_run) {
        for (size_t i = 0; i < pass->n_todo; i++)
            pass_close_item(pass, (uint32_t)i, "skipped", "dry-run", "");
        pass->next = pass->n_todo;
        return MH_OK;
    }
    if (!job->tc->caps(lane->dst)->uidplus) {
        pass->digests = mh_zalloc(pass->n_todo * sizeof *pass->digests);
        if (!pass->digests)
            return mh_err_nomem(err);
    }
    code = look_into_window(pass, lane, err);
    pass_enter(pass, PASS_COPYING);
    return code;
}

/* --- handing out work -------------------------------------------------------------------------------------------- */

bool pass_has_work(const struct pass *pass)
{
    return pass->again || pass->next < pass->n_todo;
}

size_t pass_left(const struct pass *pass)
{
    return pass->n_todo - pass->next;
}

void pass_enter(struct pass *pass, enum pass_phase phase)
{
    struct job *job = pass->job;
    uint64_t messages = pass->entry->source->messages;
    job->n_in_phase[pass->phase]--;
    if (pass->phase == PASS_WAITING)
        job->waiting_messages -= messages;
    pass->phase = phase;
    job->n_in_phase[phase]++;
    if (phase != PASS_WAITING)
        return;
    job->waiting_messages += messages;
    job->first_waiting = MH_MIN(job->first_waiting, (size_t)(pass - job->passes));
}

int pass_give_back(struct pass *pass, uint32_t first, uint32_t n, bool alone, struct mh_err *err)
{
    struct group *g = mh_alloc(sizeof *g);
    if (!g)
        return mh_err_nomem(err);
    *g = (struct group){.next = pass->again, .first = first, .n = n, .alone = alone};
    pass->again = g;
    return MH_OK;
}

/* Announced at more than twice of what the target takes: not even a lie about the size brings that below the
 * limit, so it is not fetched to be thrown away. Closer to the limit the literal's count decides. */
static bool close_hopeless(struct pass *pass, uint32_t todo)
{
    const struct job *job = pass->job;
    uint64_t octets = pass->scan.items[pass->todo[todo].item].size;
    char text[128];
    char size[32];
    char limit[32];
    if (!job->max_message || octets / 2 <= job->max_message || job->run->cfg->oversize_dir)
        return false;
    (void)mh_format_size(octets, size, sizeof size);
    (void)mh_format_size(job->max_message, limit, sizeof limit);
    (void)snprintf(text, sizeof text, "%s; the target takes at most %s", size, limit);
    pass_close_item(pass, todo, "skipped", "too-big", text);
    return true;
}

static void fill_chunk(struct pass *pass, struct lane *lane, uint32_t first, uint32_t end,
                       uint32_t *next_out)
{
    uint64_t bytes = 0;
    uint32_t t = first;
    lane->n_chunk = 0;
    for (; t < end && lane->n_chunk < CHUNK_ITEMS && bytes < CHUNK_BYTES; t++) {
        if (pass->todo[t].status != TODO_OPEN || close_hopeless(pass, t))
            continue;
        pass->todo[t].status = TODO_TAKEN;
        pass->todo[t].owner = (uint8_t)lane->number;
        lane->chunk[lane->n_chunk] = &pass->scan.items[pass->todo[t].item];
        lane->chunk_todo[lane->n_chunk++] = t;
        bytes += pass->scan.items[pass->todo[t].item].size;
    }
    *next_out = t;
}

/* How many of what was never handed out LANE takes: a share, so that all lanes come to the end together, in whole
 * batches, because a batch never spans chunks and each costs the target a sync. */
static size_t chunk_share(const struct pass *pass, const struct lane *lane, unsigned batch)
{
    size_t left = pass_left(pass);
    size_t share = left / (pass->lanes + 1);
    if (!pass->job->tc->caps(lane->dst)->multiappend)
        return MH_MIN(MH_MIN(MH_MAX(share, (size_t)CHUNK_SINGLES_MIN), (size_t)CHUNK_SINGLES_MAX),
                      left);
    size_t most = MH_MIN((size_t)CHUNK_BATCHES, (size_t)CHUNK_ITEMS / batch);
    size_t whole = MH_MIN(share / batch + 1, most) * batch;
    return left < whole + batch / 2 ? left : whole;
}

bool pass_take_chunk(struct pass *pass, struct lane *lane)
{
    struct tuned now = tuner_now(pass->job->tuner);
    uint32_t next = 0;
    lane->n_chunk = 0;
    while (pass->again && lane->n_chunk == 0) {
        struct group *g = pass->again;
        lane->is_alone = g->alone;
        lane->batch_limit = g->alone ? MH_MAX(g->n, 1u) : now.batch;
        fill_chunk(pass, lane, g->first, g->first + g->n, &next);
        g->n -= next - g->first;
        g->first = next;
        if (g->n == 0) {
            pass->again = g->next;
            mh_free(g);
        }
    }
    while (pass->next < pass->n_todo && lane->n_chunk == 0) {
        size_t end = pass->next + chunk_share(pass, lane, now.batch);
        lane->is_alone = false;
        lane->batch_limit = now.batch;
        fill_chunk(pass, lane, (uint32_t)pass->next, (uint32_t)end, &next);
        pass->next = next;
    }
    return lane->n_chunk > 0;
}

/* --- verdicts ------------------------------------------------------------------------------------------------------- */

void pass_close_item(struct pass *pass, uint32_t todo, const char *state, const char *reason,
                     const char *text)
{
    struct job *job = pass->job;
    const struct mh_item *item = &pass->scan.items[pass->todo[todo].item];
    struct mh_progress *p = job->mb->progress;
    bool failed = strcmp(state, "failed") == 0;
    pass->todo[todo].status = TODO_CLOSED;
    if (failed) {
        pass->res->counts.failed++;
        pass->has_failed = true;
    } else {
        pass->res->counts.skipped++;
    }
    if (p)
        atomic_fetch_add_explicit(failed ? &p->failed : &p->skipped, 1, memory_order_relaxed);
    reasons_add(failed ? &job->res->failed : &job->res->skipped, reason, 1);
    result_item(&job->res->items, &job->res->n_items, &job->res->cap_items,
                pass->entry->source->path, item->uid, failed ? "failed" : "skipped", reason, text);
    struct mh_ledger_row row = {.folder = pass->row.id,
                                .src_uid = item->uid,
                                .state = state,
                                .reason = reason,
                                .text = text};
    struct mh_err err;
    if (!job->run->cfg->dry_run && mh_state_put_ledger(job->run->cfg->state, &row, &err) != MH_OK)
        run_fatal(job->run, &err);
    struct mh_event ev = {.kind = MH_EV_ITEM,
                          .folder = pass->entry->source->path,
                          .uid = item->uid,
                          .state = state,
                          .reason = reason,
                          .text = text};
    job_event(job, &ev);
}

void pass_item_done(struct pass *pass, struct lane *lane, uint32_t todo, uint64_t dst_uid,
                    uint64_t octets, const struct mh_digest *digest, enum mh_how how)
{
    struct mh_progress *p = pass->job->mb->progress;
    const struct mh_item *item = &pass->scan.items[pass->todo[todo].item];
    mh_assert(pass->todo[todo].status != TODO_DONE);
    pass->todo[todo].status = TODO_DONE;
    pass->todo[todo].dst_uid = dst_uid;
    pass->todo[todo].octets = octets;
    pass->todo[todo].is_new = how == MH_HOW_COPIED;
    if (pass->digests)
        pass->digests[todo] = *digest;
    if (how == MH_HOW_COPIED) {
        pass->res->counts.copied++;
        pass->res->counts.bytes += octets;
    } else {
        pass->res->counts.adopted++;
    }
    if (p) {
        atomic_fetch_add_explicit(how == MH_HOW_COPIED ? &p->copied : &p->adopted, 1,
                                  memory_order_relaxed);
        if (how == MH_HOW_COPIED)
            atomic_fetch_add_explicit(&p->bytes, octets, memory_order_relaxed);
    }
    struct mh_state_item *row = lane_row(lane);
    if (!row) {
        struct mh_err err;
        (void)mh_err_nomem(&err);
        run_fatal(pass->job->run, &err);
        return;
    }
    *row = (struct mh_state_item){.src_uid = item->uid,
                                  .dst_uid = dst_uid,
                                  .size = octets,
                                  .date = item->date,
                                  .kw = pass->kw_ids[item->kwset],
                                  .flags = item->flags,
                                  .how = (uint8_t)how,
                                  .has_digest = true,
                                  .digest = *digest};
}

/* --- the end ------------------------------------------------------------------------------------------------------------ */

static size_t count_status(const struct pass *pass, enum todo_status status)
{
    size_t n = 0;
    for (size_t i = 0; i < pass->n_todo; i++)
        n += pass->todo[i].status == status;
    return n;
}

/* Without UIDPLUS: the new UIDs are found in the window once everything has been answered. */
static int find_uids(struct pass *pass, struct lane *lane, struct mh_err *err)
{
    bool wanted = false;
    for (size_t i = 0; i < pass->n_todo && !wanted; i++)
        wanted = pass->todo[i].status == TODO_DONE && pass->todo[i].dst_uid == 0;
    return wanted ? match_uids(pass, lane, err) : MH_OK;
}

/* The target UID below which everything is now accounted for. */
static uint64_t accounted_uidnext(const struct pass *pass)
{
    uint64_t next = MH_MAX(pass->window, pass->dst_opened.uidnext);
    for (size_t i = 0; i < pass->n_todo; i++) {
        if (pass->todo[i].status == TODO_DONE && pass->todo[i].dst_uid >= next)
            next = pass->todo[i].dst_uid + 1;
    }
    return next;
}

void pass_finish(struct pass *pass, struct lane *lane)
{
    struct mh_err err;
    mh_err_reset(&err);
    int code = pass->phase == PASS_COPYING && lane->dst ? find_uids(pass, lane, &err) : MH_OK;
    size_t open = pass->n_todo - count_status(pass, TODO_DONE) - count_status(pass, TODO_CLOSED);
    if (code == MH_OK && pass->phase == PASS_COPYING)
        code = look_back(pass, lane, &err);
    if (code == MH_OK && pass->phase == PASS_COPYING && open == 0) {
        if (pass->job->tc->flags & MH_UIDS_ASCEND)
            pass->row.target_uidnext = accounted_uidnext(pass);
        bool complete = !pass->has_failed && !pass->flag_later;
        code = lane_push_rows(lane, true, &err);
        if (code == MH_OK)
            code = write_row(pass, complete, &err);
    }
    if (code != MH_OK && pass->res->err.code == MH_OK)
        pass->res->err = err;
    pass_enter(pass, PASS_ENDED);
}

/* Everything that preparing makes. */
static void drop_work(struct pass *pass)
{
    while (pass->again) {
        struct group *g = pass->again;
        pass->again = g->next;
        mh_free(g);
    }
    for (size_t k = 0; pass->kw_texts && pass->kw_texts[k]; k++)
        mh_free(pass->kw_texts[k]);
    mh_free(mh_take(pass->kw_texts));
    mh_free(mh_take(pass->kw_ids));
    mh_buf_done(&pass->kw_new);
    pass->n_kw_new = 0;
    mh_free(mh_take(pass->todo));
    mh_free(mh_take(pass->known));
    mh_free(mh_take(pass->digests));
    mh_scan_done(&pass->scan);
    pass->scan = (struct mh_scan){0};
    pass->n_todo = pass->next = pass->n_known = pass->n_unknown = 0;
}

void pass_restart(struct pass *pass)
{
    struct mh_progress *p = pass->job->mb->progress;
    struct mh_counts *c = &pass->res->counts;
    if (p) {
        atomic_fetch_sub_explicit(&p->found, c->found, memory_order_relaxed);
        atomic_fetch_sub_explicit(&p->adopted, c->adopted, memory_order_relaxed);
        atomic_fetch_sub_explicit(&p->unchanged, c->unchanged, memory_order_relaxed);
    }
    /* Flags that were set stay set; the state knows which. */
    uint64_t updated = c->updated;
    *c = (struct mh_counts){.updated = updated};
    drop_work(pass);
    pass->row_is_known = pass->row_is_known || pass->row.dst_uidvalidity != 0;
    pass_enter(pass, PASS_WAITING);
}

void pass_done(struct pass *pass)
{
    drop_work(pass);
    mh_free(mh_take(pass->dst.path));
    mh_free(mh_take(pass->dst.native));
    mh_free(mh_take(pass->row.src_path));
    mh_free(mh_take(pass->row.dst_path));
    mh_free(mh_take(pass->row.dst_native));
}
