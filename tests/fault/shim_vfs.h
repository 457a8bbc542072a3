/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A disk below SQLite that counts, fails, kills its process or loses power at the nth operation: a VFS that hands
 * everything on to the real one. shim_install() makes it the default for stores opened afterwards. All state
 * is of the process (a child has its own after fork()); operations come from any thread.
 *
 * Loss of power: the shim remembers what each file held when it was synced last and everything written since. At the
 * cut it rewrites the files to what such a disk could hold (enum shim_loss) and kills the process.
 */
#ifndef MH_TESTS_FAULT_SHIM_VFS_H
#define MH_TESTS_FAULT_SHIM_VFS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum shim_op {
    SHIM_READ = 1 << 0,
    SHIM_WRITE = 1 << 1,
    SHIM_TRUNCATE = 1 << 2,
    SHIM_SYNC = 1 << 3,
    SHIM_DELETE = 1 << 4,
    SHIM_CREATE = 1 << 5,
    SHIM_CHANGES = SHIM_WRITE | SHIM_TRUNCATE | SHIM_SYNC | SHIM_DELETE,
};

enum shim_loss {
    SHIM_LOSE_NOTHING,
    SHIM_LOSE_ALL,     /* whatever was not synced is gone */
    SHIM_LOSE_SECTORS, /* of what was not synced any 512 bytes may be there or not */
    SHIM_LOSE_TAIL,    /* fsync did nothing; the disk wrote in order and stopped somewhere */
    SHIM_LOSE_PAGES,   /* fsync did nothing, and any write may be there or not */
};

enum { SHIM_FILES_MAX = 8, SHIM_SECTOR = 512 };

struct shim_node {
    char *name;
    unsigned char *bytes; /* as on the disk for certain */
    size_t len;
    bool exists;   /* on the disk */
    bool is_there; /* for the program */
};

struct shim_change {
    struct shim_change *next;
    struct shim_node *node;
    enum shim_op op;
    size_t at, len; /* of a truncation: the new length is AT */
    unsigned char data[];
};

static struct shim {
    sqlite3_vfs vfs;
    sqlite3_vfs *base;
    pthread_mutex_t lock;
    uint64_t changes, syncs, reads; /* so far */
    /* The nth of OPS from now fails with RC and ERRNUM, and with IS_LASTING all that come later too. */
    unsigned fail_ops;
    uint64_t fail_nth;
    bool is_lasting, has_failed;
    int fail_rc, fail_errnum;
    uint64_t kill_at; /* the change that is not made any more */
    uint64_t cut_at;
    enum shim_loss loss;
    uint64_t seed;
    struct shim_node nodes[SHIM_FILES_MAX];
    size_t n_nodes;
    struct shim_change *first, **end; /* not synced, in order */
} shim = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct shim_file {
    sqlite3_file file;
    struct shim_node *node; /* NULL: nothing is remembered of it */
    sqlite3_file *real;     /* behind this */
};

static inline uint64_t shim_random(void)
{
    shim.seed ^= shim.seed << 13;
    shim.seed ^= shim.seed >> 7;
    shim.seed ^= shim.seed << 17;
    return shim.seed;
}

/* --- what a disk remembers ------------------------------------------------------------------------------ */

static inline void shim_resize(struct shim_node *n, size_t len)
{
    n->bytes = realloc(n->bytes, len + 1);
    if (!n->bytes)
        abort();
    if (len > n->len)
        memset(n->bytes + n->len, 0, len - n->len);
    n->len = len;
}

static inline void shim_apply(const struct shim_change *c, size_t from, size_t len)
{
    struct shim_node *n = c->node;
    switch (c->op) {
    case SHIM_WRITE:
        if (n->len < c->at + from + len)
            shim_resize(n, c->at + from + len);
        memcpy(n->bytes + c->at + from, c->data + from, len);
        n->exists = true;
        break;
    case SHIM_TRUNCATE:
        shim_resize(n, c->at);
        break;
    case SHIM_DELETE:
    case SHIM_CREATE:
        shim_resize(n, 0);
        n->exists = c->op == SHIM_CREATE;
        break;
    default:
        break;
    }
}

/* All that was done to N (NULL: to any file) since is on the disk now. */
static inline void shim_settle(const struct shim_node *n)
{
    struct shim_change **at = &shim.first;
    while (*at) {
        struct shim_change *c = *at;
        if (n && c->node != n) {
            at = &c->next;
            continue;
        }
        shim_apply(c, 0, c->len);
        *at = c->next;
        free(c);
    }
    shim.end = at;
}

static inline void shim_remember(struct shim_node *n, enum shim_op op, size_t at, const void *data,
                                 size_t len)
{
    struct shim_change *c = malloc(sizeof *c + len);
    if (!c)
        abort();
    *c = (struct shim_change){NULL, n, op, at, len};
    if (len)
        memcpy(c->data, data, len);
    *shim.end = c;
    shim.end = &c->next;
}

/* Some of what was not synced is there all the same. */
static inline void shim_lose(void)
{
    size_t n = 0;
    for (struct shim_change *c = shim.first; c; c = c->next)
        n++;
    size_t keep = shim_random() % (n + 1);
    size_t i = 0;
    for (struct shim_change *c = shim.first; c; c = c->next, i++) {
        if (shim.loss == SHIM_LOSE_TAIL ? i < keep
                                        : shim.loss == SHIM_LOSE_PAGES && shim_random() % 2) {
            shim_apply(c, 0, c->len);
        } else if (shim.loss == SHIM_LOSE_SECTORS) {
            if (c->op != SHIM_WRITE && shim_random() % 2)
                shim_apply(c, 0, 0);
            for (size_t from = 0; c->op == SHIM_WRITE && from < c->len; from += SHIM_SECTOR)
                if (shim_random() % 2)
                    shim_apply(c, from, c->len - from < SHIM_SECTOR ? c->len - from : SHIM_SECTOR);
        }
    }
}

static inline void shim_cut(void)
{
    shim_lose();
    for (size_t i = 0; i < shim.n_nodes; i++) {
        struct shim_node *n = &shim.nodes[i];
        int fd = n->exists ? open(n->name, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
        if (n->exists && (fd < 0 || write(fd, n->bytes, n->len) != (ssize_t)n->len))
            abort();
        if (!n->exists)
            (void)unlink(n->name);
        char shared[512]; /* memory, gone with the power */
        (void)snprintf(shared, sizeof shared, "%s-shm", n->name);
        (void)unlink(shared);
    }
    (void)kill(getpid(), SIGKILL);
    abort();
}

/* Lock held. The disk's content of a file that is opened for the first time is what it has. */
static inline struct shim_node *shim_node(const char *name, int flags)
{
    const int known = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL;
    if (!shim.cut_at || !name || !(flags & known))
        return NULL;
    for (size_t i = 0; i < shim.n_nodes; i++)
        if (strcmp(shim.nodes[i].name, name) == 0)
            return &shim.nodes[i];
    if (shim.n_nodes == SHIM_FILES_MAX)
        abort();
    struct shim_node *n = &shim.nodes[shim.n_nodes++];
    *n = (struct shim_node){.name = strdup(name), .exists = true, .is_there = true};
    shim_resize(n, 0);
    FILE *f = fopen(name, "rb");
    int c = 0;
    while (f && (c = fgetc(f)) != EOF) {
        shim_resize(n, n->len + 1);
        n->bytes[n->len - 1] = (unsigned char)c;
    }
    if (f)
        (void)fclose(f);
    return n;
}

/* --- where everything passes ------------------------------------------------------------------------------ */

static inline bool shim_lies(void)
{
    return shim.loss == SHIM_LOSE_TAIL || shim.loss == SHIM_LOSE_PAGES;
}

/* SQLITE_OK, or what the operation must end with. Remembers the change, when it is one. */
static inline int shim_pass(enum shim_op op, struct shim_node *node, size_t at, const void *data,
                            size_t len)
{
    int rc = SQLITE_OK;
    (void)pthread_mutex_lock(&shim.lock);
    shim.reads += op == SHIM_READ;
    shim.syncs += op == SHIM_SYNC;
    shim.changes += (op & SHIM_CHANGES) != 0;
    if ((op & SHIM_CHANGES) && shim.kill_at == shim.changes)
        (void)kill(getpid(), SIGKILL);
    if ((op & SHIM_CHANGES) && shim.cut_at == shim.changes)
        shim_cut();
    if (op & shim.fail_ops) {
        if (shim.fail_nth && --shim.fail_nth == 0) {
            rc = shim.fail_rc;
            shim.has_failed = true;
            shim.fail_nth = shim.is_lasting;
        }
    }
    if (rc == SQLITE_OK && node && op == SHIM_SYNC && !shim_lies())
        shim_settle(node);
    else if (rc == SQLITE_OK && node && (op & (SHIM_WRITE | SHIM_TRUNCATE | SHIM_DELETE)))
        shim_remember(node, op, at, data, len);
    (void)pthread_mutex_unlock(&shim.lock);
    return rc;
}

static inline struct shim_file *shim_of(sqlite3_file *f)
{
    return (struct shim_file *)(void *)f;
}

#define SHIM_REAL(f, method, ...) shim_of(f)->real->pMethods->method(shim_of(f)->real, __VA_ARGS__)

static int shim_close(sqlite3_file *f)
{
    return shim_of(f)->real->pMethods->xClose(shim_of(f)->real);
}
static int shim_read(sqlite3_file *f, void *buf, int n, sqlite3_int64 at)
{
    int rc = shim_pass(SHIM_READ, NULL, 0, NULL, 0);
    return rc == SQLITE_OK ? SHIM_REAL(f, xRead, buf, n, at) : rc;
}
static int shim_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
    int rc = shim_pass(SHIM_WRITE, shim_of(f)->node, (size_t)at, buf, (size_t)n);
    return rc == SQLITE_OK ? SHIM_REAL(f, xWrite, buf, n, at) : rc;
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    int rc = shim_pass(SHIM_TRUNCATE, shim_of(f)->node, (size_t)size, NULL, 0);
    return rc == SQLITE_OK ? SHIM_REAL(f, xTruncate, size) : rc;
}
/* The machine that runs the tests keeps its power: nothing is really synced. */
static int shim_sync(sqlite3_file *f, int flags)
{
    (void)flags;
    return shim_pass(SHIM_SYNC, shim_of(f)->node, 0, NULL, 0);
}
static int shim_file_size(sqlite3_file *f, sqlite3_int64 *out)
{
    return SHIM_REAL(f, xFileSize, out);
}
static int shim_lock(sqlite3_file *f, int level)
{
    return SHIM_REAL(f, xLock, level);
}
static int shim_unlock(sqlite3_file *f, int level)
{
    return SHIM_REAL(f, xUnlock, level);
}
static int shim_check_lock(sqlite3_file *f, int *out)
{
    return SHIM_REAL(f, xCheckReservedLock, out);
}
static int shim_control(sqlite3_file *f, int op, void *arg)
{
    return SHIM_REAL(f, xFileControl, op, arg);
}
static int shim_sector(sqlite3_file *f)
{
    return shim_of(f)->real->pMethods->xSectorSize(shim_of(f)->real);
}
/* No promise of the real disk holds for one that loses power. */
static int shim_traits(sqlite3_file *f)
{
    return shim.cut_at ? 0 : shim_of(f)->real->pMethods->xDeviceCharacteristics(shim_of(f)->real);
}
static int shim_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return SHIM_REAL(f, xShmMap, page, size, extend, out);
}
static int shim_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return SHIM_REAL(f, xShmLock, at, n, flags);
}
static void shim_shm_barrier(sqlite3_file *f)
{
    shim_of(f)->real->pMethods->xShmBarrier(shim_of(f)->real);
}
static int shim_shm_unmap(sqlite3_file *f, int remove_it)
{
    return SHIM_REAL(f, xShmUnmap, remove_it);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_file_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_lock,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_traits,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    struct shim_file *f = shim_of(file);
    (void)vfs;
    f->file.pMethods = NULL;
    f->real = (sqlite3_file *)(void *)(f + 1);
    (void)pthread_mutex_lock(&shim.lock);
    f->node = shim_node(name, flags);
    if (f->node && !f->node->is_there) {
        shim_remember(f->node, SHIM_CREATE, 0, NULL, 0);
        f->node->is_there = true;
        if (!shim_lies()) /* that the one before was deleted is on the disk by now */
            shim_settle(f->node);
    }
    (void)pthread_mutex_unlock(&shim.lock);
    int rc = shim.base->xOpen(shim.base, name, f->real, flags, out);
    if (f->real->pMethods)
        f->file.pMethods = &shim_methods;
    return rc;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    (void)pthread_mutex_lock(&shim.lock);
    struct shim_node *node = NULL;
    for (size_t i = 0; i < shim.n_nodes; i++)
        if (strcmp(shim.nodes[i].name, name) == 0)
            node = &shim.nodes[i];
    (void)pthread_mutex_unlock(&shim.lock);
    int rc = shim_pass(SHIM_DELETE, node, 0, NULL, 0);
    if (rc == SQLITE_OK && node) {
        (void)pthread_mutex_lock(&shim.lock);
        node->is_there = false;
        if (sync_folder && !shim_lies())
            shim_settle(node);
        (void)pthread_mutex_unlock(&shim.lock);
    }
    return rc == SQLITE_OK ? shim.base->xDelete(shim.base, name, sync_folder) : rc;
}

static int shim_last_error(sqlite3_vfs *vfs, int n, char *text)
{
    (void)vfs;
    return shim.has_failed ? shim.fail_errnum : shim.base->xGetLastError(shim.base, n, text);
}

/* A VFS is a table of functions: all that is not caught above is the real one's own. */
static inline void shim_install(void)
{
    shim.base = sqlite3_vfs_find(NULL);
    shim.end = &shim.first;
    shim.vfs = *shim.base;
    shim.vfs.zName = "shim";
    shim.vfs.szOsFile = (int)sizeof(struct shim_file) + shim.base->szOsFile;
    shim.vfs.xOpen = shim_open;
    shim.vfs.xDelete = shim_delete;
    shim.vfs.xGetLastError = shim_last_error;
    if (sqlite3_vfs_register(&shim.vfs, 1) != SQLITE_OK)
        abort();
}

/* The NTH of OPS from now on fails; LASTING: and all later ones. */
static inline void shim_fail(unsigned ops, uint64_t nth, bool lasting, int rc, int errnum)
{
    (void)pthread_mutex_lock(&shim.lock);
    shim.fail_ops = ops;
    shim.fail_nth = nth;
    shim.is_lasting = lasting;
    shim.fail_rc = rc;
    shim.fail_errnum = errnum;
    shim.has_failed = false;
    (void)pthread_mutex_unlock(&shim.lock);
}

#endif
