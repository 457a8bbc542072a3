/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store: a registry of them by name, folders, messages, what has vanished. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "connectors/mem/mem_priv.h"

enum { VANISHED_MAX_DEFAULT = 10000 };

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mem_store *registry;

/* --- the registry ----------------------------------------------------------------------------- */

static struct mem_store *find(const char *name)
{
    struct mem_store *s = registry;
    while (s && strcmp(s->name, name) != 0)
        s = s->next;
    return s;
}

static struct mem_store *make(const char *name)
{
    struct mem_store *s = calloc(1, sizeof *s);
    char *copy = s ? strdup(name) : NULL;
    if (!copy) {
        free(s);
        return NULL;
    }
    s->name = copy;
    s->next_uidvalidity = 1000;
    (void)pthread_mutex_init(&s->lock, NULL);
    mh_mem_options_init(&s->options);
    struct mem_folder *inbox = mem_folder_make(s, "INBOX");
    if (!inbox) {
        (void)pthread_mutex_destroy(&s->lock);
        free(s->name);
        free(s);
        return NULL;
    }
    inbox->role = MH_ROLE_INBOX;
    s->next = registry;
    registry = s;
    return s;
}

struct mem_store *mem_store_open(const char *name, bool create)
{
    (void)pthread_mutex_lock(&registry_lock);
    struct mem_store *s = find(name);
    if (!s && create)
        s = make(name);
    if (s)
        s->users++;
    (void)pthread_mutex_unlock(&registry_lock);
    return s;
}

void mem_store_close(struct mem_store *s)
{
    (void)pthread_mutex_lock(&registry_lock);
    mh_assert(s->users > 0);
    s->users--;
    (void)pthread_mutex_unlock(&registry_lock);
}

void mh_mem_drop(const char *name)
{
    (void)pthread_mutex_lock(&registry_lock);
    struct mem_store *s = find(name);
    if (s) {
        mh_assert(s->users == 0);
        struct mem_store **at = &registry;
        while (*at != s)
            at = &(*at)->next;
        *at = s->next;
        for (size_t i = 0; i < s->n_folders; i++)
            mem_folder_free(s->folders[i]);
        free(s->folders);
        free(s->name);
        (void)pthread_mutex_destroy(&s->lock);
        free(s);
    }
    (void)pthread_mutex_unlock(&registry_lock);
}

/* --- folders ---------------------------------------------------------------------------------- */

/* A name that nothing else in the store has, as EMAILID and MAILBOXID are (RFC 8474). */
static uint64_t new_object_id(struct mem_store *s, char kind)
{
    char name[32];
    int len = snprintf(name, sizeof name, "%c%llu", kind, (unsigned long long)++s->next_object);
    return mh_uid_from_name(name, (size_t)len);
}

struct mem_folder *mem_folder_find(const struct mem_store *s, const char *path)
{
    for (size_t i = 0; i < s->n_folders; i++)
        if (strcmp(s->folders[i]->path, path) == 0)
            return s->folders[i];
    return NULL;
}

struct mem_folder *mem_folder_make(struct mem_store *s, const char *path)
{
    struct mem_folder *f = calloc(1, sizeof *f);
    char *copy = strdup(path);
    struct mem_folder **v = realloc(s->folders, (s->n_folders + 1) * sizeof(struct mem_folder *));
    if (v)
        s->folders = v;
    if (!f || !copy || !v) {
        free(f);
        free(copy);
        return NULL;
    }
    f->path = copy;
    f->uidvalidity = s->next_uidvalidity++;
    f->uidnext = 1;
    f->highestmodseq = 1;
    f->object_id = new_object_id(s, 'F');
    s->folders[s->n_folders++] = f;
    mem_tell(s, NULL);
    return f;
}

struct mem_folder *mem_folder_make_path(struct mem_store *s, const char *path)
{
    for (const char *p = path;; p++) {
        p += strcspn(p, "/");
        char *part = strndup(path, (size_t)(p - path));
        struct mem_folder *f = part ? mem_folder_find(s, part) : NULL;
        if (part && !f)
            f = mem_folder_make(s, part);
        free(part);
        if (!f || !*p)
            return f;
    }
}

/* What PATH, which is FROM or below it, is called when FROM is called TO; malloc. */
static char *renamed(const char *path, const char *from, const char *to)
{
    char *out = NULL;
    return asprintf(&out, "%s%s", to, path + strlen(from)) < 0 ? NULL : out;
}

/* The new names of all folders, NULL for those that keep theirs; none of them taken by one that stays. */
static int plan_rename(const struct mem_store *s, const char *from, const char *to, char **names,
                       struct mh_err *err)
{
    for (size_t i = 0; i < s->n_folders; i++) {
        const char *path = s->folders[i]->path;
        if (!mh_path_is_below(path, from))
            continue;
        names[i] = renamed(path, from, to);
        if (!names[i])
            return mh_err_nomem(err);
        const struct mem_folder *there = mem_folder_find(s, names[i]);
        if (there && !mh_path_is_below(there->path, from))
            return mh_err_set(err, MH_EEXIST, "mem", "there is a folder %s already", names[i]);
    }
    return MH_OK;
}

static int make_parent(struct mem_store *s, const char *path, struct mh_err *err)
{
    const char *last = strrchr(path, '/');
    if (!last || last == path)
        return MH_OK;
    char *parent = strndup(path, (size_t)(last - path));
    bool made = parent && mem_folder_make_path(s, parent);
    free(parent);
    return made ? MH_OK : mh_err_nomem(err);
}

int mem_folder_rename(struct mem_store *s, struct mem_folder *f, const char *path,
                      struct mh_err *err)
{
    if (strcmp(f->path, path) == 0)
        return mh_err_set(err, MH_EEXIST, "mem", "there is a folder %s already", path);
    if (f->role == MH_ROLE_INBOX || mh_path_is_below(path, f->path))
        return mh_err_set(err, MH_EFOLDER, "mem", "%s cannot be renamed to %s", f->path, path);
    size_t n = s->n_folders; /* parents that are made come behind */
    char **names = calloc(n, sizeof(char *));
    int rc = names ? plan_rename(s, f->path, path, names, err) : mh_err_nomem(err);
    if (rc == MH_OK)
        rc = make_parent(s, path, err);
    for (size_t i = 0; names && i < n; i++) {
        if (rc == MH_OK && names[i]) {
            free(s->folders[i]->path);
            s->folders[i]->path = names[i];
        } else {
            free(names[i]);
        }
    }
    free(names);
    if (rc == MH_OK)
        mem_tell(s, NULL);
    return rc;
}

static void pairs_done(struct mem_pairs *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].name);
        free(l->v[i].value);
    }
    free(l->v);
    *l = (struct mem_pairs){NULL, 0};
}

static void empty_folder(struct mem_folder *f)
{
    for (size_t i = 0; i < f->n; i++)
        mem_message_done(&f->v[i]);
    f->n = 0;
    pairs_done(&f->acl);
    pairs_done(&f->metadata);
}

void mem_folder_free(struct mem_folder *f)
{
    empty_folder(f);
    free(f->v);
    free(f->gone);
    free(f->path);
    free(f);
}

void mem_folder_remove(struct mem_store *s, struct mem_folder *f)
{
    size_t at = 0;
    while (s->folders[at] != f)
        at++;
    s->n_folders--;
    for (; at < s->n_folders; at++)
        s->folders[at] = s->folders[at + 1];
    for (size_t i = 0; i < f->n; i++)
        s->used_bytes -= f->v[i].len;
    empty_folder(f);
    f->is_removed = true;
    mem_tell(s, f);
    if (f->users == 0)
        mem_folder_free(f);
}

void mem_folder_ref(struct mem_folder *f)
{
    f->users++;
}

void mem_folder_unref(struct mem_folder *f)
{
    if (f && --f->users == 0 && f->is_removed)
        mem_folder_free(f);
}

/* --- what has vanished ------------------------------------------------------------------------ */

/* The older half is forgotten: asked about it, the folder says what is not there. */
static void forget_half(struct mem_folder *f)
{
    size_t half = (f->n_gone + 1) / 2;
    f->forgotten_modseq = f->gone[half - 1].modseq;
    f->n_gone -= half;
    memmove(f->gone, f->gone + half, f->n_gone * sizeof *f->gone);
}

static void note_gone(const struct mem_store *s, struct mem_folder *f, uint64_t uid)
{
    uint64_t max = s->options.vanished_max ? s->options.vanished_max : VANISHED_MAX_DEFAULT;
    uint64_t modseq = ++f->highestmodseq;
    while (f->n_gone >= max)
        forget_half(f);
    if (f->n_gone == f->cap_gone) {
        size_t cap = f->cap_gone ? f->cap_gone * 2 : 16;
        struct mem_gone *v = realloc(f->gone, cap * sizeof *v);
        if (!v) {
            f->n_gone = 0;
            f->forgotten_modseq = modseq;
            return;
        }
        f->gone = v;
        f->cap_gone = cap;
    }
    f->gone[f->n_gone++] = (struct mem_gone){uid, modseq};
}

/* --- messages --------------------------------------------------------------------------------- */

/* The first message with a uid of at least UID. */
static size_t first_from(const struct mem_folder *f, uint64_t uid)
{
    return mh_lower_bound(i, 0, f->n, f->v[i].uid < uid);
}

struct mem_message *mem_message_find(const struct mem_folder *f, uint64_t uid)
{
    size_t at = first_from(f, uid);
    return at < f->n && f->v[at].uid == uid ? &f->v[at] : NULL;
}

void mem_message_done(struct mem_message *m)
{
    free(m->keywords);
    free(m->data);
    *m = (struct mem_message){0};
}

static bool make_room(struct mem_folder *f, size_t more)
{
    size_t cap = f->cap ? f->cap : 16;
    while (cap < f->n + more)
        cap *= 2;
    if (cap == f->cap)
        return true;
    struct mem_message *v = realloc(f->v, cap * sizeof *v);
    if (!v)
        return false;
    f->v = v;
    f->cap = cap;
    return true;
}

/* There is room. */
static uint64_t put_last(struct mem_folder *f, struct mem_message *m)
{
    m->uid = f->uidnext++;
    m->modseq = ++f->highestmodseq;
    f->v[f->n++] = *m;
    *m = (struct mem_message){0};
    return f->v[f->n - 1].uid;
}

uint64_t mem_message_add(struct mem_store *s, struct mem_folder *f, struct mem_message *m)
{
    if (!make_room(f, 1)) {
        mem_message_done(m);
        return 0;
    }
    s->used_bytes += m->len;
    if (m->object_id == 0)
        m->object_id = new_object_id(s, 'M');
    uint64_t uid = put_last(f, m);
    mem_tell(s, f);
    return uid;
}

void mem_message_expunge(struct mem_store *s, struct mem_folder *f, uint64_t uid)
{
    struct mem_message *m = mem_message_find(f, uid);
    mh_assert(m);
    s->used_bytes -= m->len;
    mem_message_done(m);
    size_t behind = f->n - (size_t)(m - f->v) - 1;
    memmove(m, m + 1, behind * sizeof *m);
    f->n--;
    note_gone(s, f, uid);
    mem_tell(s, f);
}

void mem_message_set(struct mem_store *s, struct mem_folder *f, struct mem_message *m,
                     uint8_t flags, char *keywords_take)
{
    bool is_new = m->flags != flags || strcmp(m->keywords, keywords_take) != 0;
    free(m->keywords);
    m->keywords = keywords_take;
    m->flags = flags;
    if (!is_new)
        return;
    m->modseq = ++f->highestmodseq;
    mem_tell(s, f);
}

/* Out of F into TAKEN, which has room for N. */
static size_t take_out(struct mem_folder *f, const uint64_t *uids, size_t n,
                       struct mem_message *taken)
{
    size_t n_taken = 0;
    size_t kept = n ? first_from(f, uids[0]) : f->n;
    size_t k = 0;
    for (size_t i = kept; i < f->n; i++) {
        while (k < n && uids[k] < f->v[i].uid)
            k++;
        if (k < n && uids[k] == f->v[i].uid)
            taken[n_taken++] = f->v[i];
        else
            f->v[kept++] = f->v[i];
    }
    f->n = kept;
    return n_taken;
}

long mem_message_move(struct mem_store *s, struct mem_folder *f, struct mem_folder *to,
                      const uint64_t *uids, size_t n, uint64_t *old_out, uint64_t *new_out)
{
    struct mem_message *taken = calloc(n + 1, sizeof *taken);
    if (!taken || !make_room(to, n)) {
        free(taken);
        return -1;
    }
    size_t n_taken = take_out(f, uids, n, taken);
    for (size_t i = 0; i < n_taken; i++) {
        old_out[i] = taken[i].uid;
        note_gone(s, f, taken[i].uid);
        new_out[i] = put_last(to, &taken[i]);
    }
    free(taken);
    if (n_taken) {
        mem_tell(s, f);
        mem_tell(s, to);
    }
    return (long)n_taken;
}

/* --- texts ------------------------------------------------------------------------------------ */

struct word {
    const char *s;
    size_t len;
};

static int order_words(const struct word *a, const struct word *b)
{
    int c = strncasecmp(a->s, b->s, MH_MIN(a->len, b->len));
    return c != 0 ? c : a->len < b->len ? -1 : a->len > b->len;
}

char *mem_keywords(const char *words)
{
    size_t len = strlen(words);
    char *out = calloc(1, len + 1);
    struct word *v = calloc(len / 2 + 1, sizeof *v);
    size_t n = 0;
    for (const char *p = words + strspn(words, " "); out && v && *p; p += strspn(p, " ")) {
        struct word w = {p, strcspn(p, " ")};
        size_t at = n;
        p += w.len;
        while (at > 0 && order_words(&v[at - 1], &w) > 0)
            at--;
        if (at > 0 && order_words(&v[at - 1], &w) == 0)
            continue;
        memmove(&v[at + 1], &v[at], (n - at) * sizeof *v);
        v[at] = w;
        n++;
    }
    char *end = out;
    for (size_t i = 0; out && v && i < n; i++) {
        if (i)
            *end++ = ' ';
        memcpy(end, v[i].s, v[i].len);
        end += v[i].len;
    }
    if (!v) {
        free(out);
        out = NULL;
    }
    free(v);
    return out;
}

bool mem_pair_set(struct mem_pairs *l, const char *name, const char *value, size_t len)
{
    size_t i = 0;
    while (i < l->n && strcmp(l->v[i].name, name) != 0)
        i++;
    char *copy = calloc(1, len + 1);
    if (!copy)
        return false;
    memcpy(copy, value, len);
    if (i == l->n) {
        struct mem_pair *v = realloc(l->v, (l->n + 1) * sizeof *v);
        char *own = strdup(name);
        if (v)
            l->v = v;
        if (!v || !own) {
            free(own);
            free(copy);
            return false;
        }
        l->v[l->n++] = (struct mem_pair){own, NULL, 0};
    }
    free(l->v[i].value);
    l->v[i].value = copy;
    l->v[i].len = len;
    return true;
}
