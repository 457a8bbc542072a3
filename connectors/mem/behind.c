/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For tests: how a store is set up, what others do to it, and what is in it. */
#include <stdlib.h>
#include <string.h>

#include "connectors/mem/mem_priv.h"

/* NULL: there is no such store. */
static struct mem_store *enter(const char *name)
{
    struct mem_store *s = mem_store_open(name, false);
    if (s)
        (void)pthread_mutex_lock(&s->lock);
    return s;
}

static bool leave(struct mem_store *s, bool answer)
{
    (void)pthread_mutex_unlock(&s->lock);
    mem_store_close(s);
    return answer;
}

/* --- setting up ------------------------------------------------------------------------------- */

void mh_mem_options_init(struct mh_mem_options *o)
{
    *o = (struct mh_mem_options){
        .multiappend = true,
        .uidplus = true,
        .keywords = true,
        .condstore = true,
        .qresync = true,
        .special_use = true,
        .acl = true,
        .metadata = true,
        .move = true,
        .rename = true,
        .watch = true,
        .watch_all = true,
        .object_id = true,
        .can_compress = true,
        .refuse_code = MH_EITEM,
    };
}

int mh_mem_configure(const char *name, const struct mh_mem_options *options, struct mh_err *err)
{
    struct mem_store *s = mem_store_open(name, true);
    if (!s)
        return mh_err_nomem(err);
    (void)pthread_mutex_lock(&s->lock);
    uint64_t sessions = s->stats.sessions;
    s->options = *options;
    s->stats = (struct mh_mem_stats){.sessions = sessions};
    s->fetched_octets = s->appended_octets = 0;
    (void)leave(s, true);
    return 0;
}

/* --- what others do --------------------------------------------------------------------------- */

bool mh_mem_make_folder(const char *name, const char *path)
{
    struct mem_store *s = enter(name);
    if (!s)
        return false;
    bool is_new = *path && !mem_folder_find(s, path);
    return leave(s, is_new && mem_folder_make_path(s, path));
}

bool mh_mem_remove_folder(const char *name, const char *path)
{
    struct mem_store *s = enter(name);
    if (!s)
        return false;
    struct mem_folder *f = mem_folder_find(s, path);
    bool may = f && f->role != MH_ROLE_INBOX;
    if (may)
        mem_folder_remove(s, f);
    return leave(s, may);
}

bool mh_mem_rename(const char *name, const char *path, const char *to_path)
{
    struct mem_store *s = enter(name);
    if (!s)
        return false;
    struct mem_folder *f = mem_folder_find(s, path);
    return leave(s, f && *to_path && mem_folder_rename(s, f, to_path, NULL) == MH_OK);
}

bool mh_mem_deliver(const char *name, const char *path, const void *bytes, size_t len,
                    uint8_t flags, const char *keywords, const struct mh_date *date,
                    uint64_t *uid_out)
{
    struct mem_store *s = enter(name);
    if (!s)
        return false;
    struct mem_folder *f = mem_folder_find(s, path);
    struct mem_message m = {.date = date ? *date : (struct mh_date){mh_clock_wall_s(), 0, true},
                            .flags = flags,
                            .keywords = mem_keywords(keywords ? keywords : ""),
                            .data = malloc(len ? len : 1),
                            .len = len};
    if (!f || !m.keywords || !m.data) {
        mem_message_done(&m);
        return leave(s, false);
    }
    if (len)
        memcpy(m.data, bytes, len);
    uint64_t uid = mem_message_add(s, f, &m);
    if (uid_out)
        *uid_out = uid;
    return leave(s, uid != 0);
}

bool mh_mem_set_flags(const char *name, const char *path, uint64_t uid, uint8_t flags,
                      const char *keywords)
{
    struct mem_store *s = enter(name);
    if (!s)
        return false;
    struct mem_folder *f = mem_folder_find(s, path);
    struct mem_message *m = f ? mem_message_find(f, uid) : NULL;
    char *words = m ? mem_keywords(keywords ? keywords : "") : NULL;
    if (words)
        mem_message_set(s, f, m, flags, words);
    return leave(s, words != NULL);
}

bool mh_mem_move(const char *name, const char *path, uint64_t uid, const char *to_path)
{
    struct mem_store *s = enter(name);
    if (!s)
        return false;
    struct mem_folder *f = mem_folder_find(s, path);
    struct mem_folder *to = mem_folder_find(s, to_path);
    uint64_t old_uid = 0;
    uint64_t new_uid = 0;
    return leave(s, f && to && mem_message_move(s, f, to, &uid, 1, &old_uid, &new_uid) == 1);
}

bool mh_mem_expunge(const char *name, const char *path, uint64_t uid)
{
    struct mem_store *s = enter(name);
    if (!s)
        return false;
    struct mem_folder *f = mem_folder_find(s, path);
    bool is_there = f && mem_message_find(f, uid);
    if (is_there)
        mem_message_expunge(s, f, uid);
    return leave(s, is_there);
}

bool mh_mem_renumber(const char *name, const char *path)
{
    struct mem_store *s = enter(name);
    if (!s)
        return false;
    struct mem_folder *f = mem_folder_find(s, path);
    if (!f)
        return leave(s, false);
    f->uidvalidity = s->next_uidvalidity++;
    f->uidnext = 1; /* as servers do: the same numbers stand for other messages now */
    f->n_gone = 0;  /* of the old numbers; nobody may ask for them */
    f->forgotten_modseq = f->highestmodseq;
    for (size_t i = 0; i < f->n; i++)
        f->v[i].uid = f->uidnext++;
    mem_tell(s, f);
    return leave(s, true);
}

/* --- what is in it ---------------------------------------------------------------------------- */

bool mh_mem_each(const char *name, bool (*fn)(void *ctx, const struct mh_mem_message *m), void *ctx)
{
    struct mem_store *s = enter(name);
    bool goes_on = true;
    if (!s)
        return false;
    for (size_t i = 0; goes_on && i < s->n_folders; i++) {
        const struct mem_folder *f = s->folders[i];
        for (size_t k = 0; goes_on && k < f->n; k++) {
            const struct mem_message *m = &f->v[k];
            struct mh_mem_message out = {f->path,  m->uid,      m->modseq, m->object_id, m->date,
                                         m->flags, m->keywords, m->data,   m->len};
            goes_on = fn(ctx, &out);
        }
    }
    return leave(s, goes_on);
}

bool mh_mem_each_folder(const char *name, bool (*fn)(void *ctx, const struct mh_mem_folder *f),
                        void *ctx)
{
    struct mem_store *s = enter(name);
    bool goes_on = true;
    if (!s)
        return false;
    for (size_t i = 0; goes_on && i < s->n_folders; i++) {
        const struct mem_folder *f = s->folders[i];
        struct mh_mem_folder out = {.path = f->path,
                                    .role = f->role,
                                    .is_subscribed = f->is_subscribed,
                                    .uidvalidity = f->uidvalidity,
                                    .uidnext = f->uidnext,
                                    .highestmodseq = f->highestmodseq,
                                    .messages = f->n,
                                    .object_id = f->object_id};
        goes_on = fn(ctx, &out);
    }
    return leave(s, goes_on);
}

void mh_mem_stats(const char *name, struct mh_mem_stats *out)
{
    *out = (struct mh_mem_stats){0};
    struct mem_store *s = enter(name);
    if (!s)
        return;
    *out = s->stats;
    for (size_t i = 0; i < s->n_folders; i++)
        out->messages += s->folders[i]->n;
    (void)leave(s, true);
}
