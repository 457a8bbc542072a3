/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Changing what is there: flags, moves, renames. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "connectors/mem/session.h"
#include "mail/file_index.h"

static bool change_flags(struct mh_session *s, struct mem_message *m, bool add, uint8_t flags,
                         const char *keywords, struct mh_buf *words)
{
    struct mh_file_record had = {
        .flags = m->flags, .keywords = m->keywords, .keywords_len = strlen(m->keywords)};
    struct mh_file_record now;
    mh_file_record_change(&had, add, flags, s->caps.keywords ? keywords : NULL, words, &now);
    char *canonical = mh_buf_failed(words) ? NULL : mem_keywords(mh_buf_str(words));
    if (canonical)
        mem_message_set(s->store, s->selected, m, now.flags, canonical);
    return canonical != NULL;
}

int mem_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                    const char *keywords, struct mh_err *err)
{
    struct mh_buf words = MH_BUF_INIT;
    bool failed = false;
    int rc = s->is_dead ? mem_lost(s, err) : mem_ask(s, 1, err);
    if (rc < 0)
        return rc;
    mem_lock(s);
    rc = mem_check_selected(s, err);
    for (size_t i = 0; rc == 0 && i < n && !failed; i++) {
        struct mem_message *m = mem_message_find(s->selected, uids[i]);
        failed = m && !change_flags(s, m, add, flags, keywords, &words);
    }
    mem_unlock(s);
    mh_buf_done(&words);
    return failed ? mh_err_nomem(err) : rc;
}

/* --- moving ----------------------------------------------------------------------------------- */

/* Lock held. How many, or a code. */
static long move_now(struct mh_session *s, const uint64_t *uids, size_t n,
                     const struct mh_folder *to, uint64_t *old_uids, uint64_t *new_uids,
                     struct mh_err *err)
{
    int rc = mem_check_selected(s, err);
    if (rc < 0)
        return rc;
    struct mem_folder *into = mem_need_folder(s, to, &rc, err);
    if (!into)
        return rc;
    if (!s->may_write)
        return mh_err_set(err, MH_EFOLDER, "mem", "the folder is open for reading only");
    long moved = mem_message_move(s->store, s->selected, into, uids, n, old_uids, new_uids);
    if (moved < 0)
        return mh_err_nomem(err);
    s->store->stats.moved += (uint64_t)moved;
    return moved;
}

int mem_move(struct mh_session *s, const uint64_t *uids, size_t n, const struct mh_folder *to,
             mh_moved_fn *moved, void *ctx, struct mh_err *err)
{
    if (s->is_dead)
        return mem_lost(s, err);
    if (!s->caps.move)
        return mem_no_such(err, "MOVE");
    int rc = n ? mem_ask(s, 1, err) : 0;
    if (rc < 0)
        return rc;
    uint64_t *pairs = mh_realloc_array(NULL, 2 * n + 1, sizeof *pairs);
    if (!pairs)
        return mh_err_nomem(err);
    mem_lock(s);
    long k = move_now(s, uids, n, to, pairs, pairs + n, err);
    mem_unlock(s);
    rc = k < 0 ? (int)k : 0;
    for (long i = 0; rc == 0 && i < k; i++)
        rc = moved(ctx, pairs[i], s->caps.uidplus ? pairs[n + (size_t)i] : 0, err);
    mh_free(pairs);
    return rc;
}

/* --- renaming --------------------------------------------------------------------------------- */

int mem_rename(struct mh_session *s, const struct mh_folder *folder, const char *path,
               char **path_out, char **native_out, struct mh_err *err)
{
    if (!s->caps.rename && !s->is_dead)
        return mem_no_such(err, "RENAME");
    int rc = mem_plan_name(s, path, path_out, native_out, err);
    if (rc < 0)
        return rc;
    rc = mem_ask(s, 1, err);
    if (rc == 0) {
        mem_lock(s);
        struct mem_folder *f = mem_need_folder(s, folder, &rc, err);
        if (f)
            rc = mem_folder_rename(s->store, f, *native_out, err);
        mem_unlock(s);
    }
    if (rc == 0)
        return 0;
    mh_free(mh_take(*path_out));
    mh_free(mh_take(*native_out));
    return rc;
}
