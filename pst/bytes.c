/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A mapped page that is not there any more raises SIGBUS in whoever reads it. The handler puts a page
 * of zeros in its place and notes the archive as hurt: the reader goes on and finds that the zeros
 * do not prove. It finds the archive in a table without a lock, since it may interrupt anything.
 */
#include "pst/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/mem.h"

/* File systems whose files can go away behind a mapping, or whose pages cost a round trip each. */
enum {
    FS_NFS = 0x6969,
    FS_SMB = 0x517b,
    FS_9P = 0x01021997,
    FS_FUSE = 0x65735546,
    FS_CODA = 0x73757245,
    FS_CEPH = 0x00c36400,
    FS_AFS = 0x5346414f,
};
#define FS_CIFS 0xff534d42u
#define FS_SMB2 0xfe534d42u

struct pst_bytes {
    int fd;
    uint64_t size;
    const uint8_t *map; /* NULL: it is read */
    _Atomic bool is_hurt;
};

/* --- pages that are gone ---------------------------------------------------------------------- */

/* Archives that are mapped at once; more than that are read. */
enum { MAPS_MAX = 64 };

static struct {
    _Atomic uintptr_t start; /* 0: free */
    _Atomic uintptr_t end;
    struct pst_bytes *_Atomic owner;
} maps[MAPS_MAX];

static struct sigaction before_us;
static uintptr_t page_bytes;

static bool put_zeros(uintptr_t at)
{
    void *page = (void *)(at & ~(page_bytes - 1)); // NOLINT(performance-no-int-to-ptr): an address
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    return mmap(page, page_bytes, PROT_READ, flags, -1, 0) != MAP_FAILED;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    bool is_ours = false;
    for (int i = 0; i < MAPS_MAX && !is_ours; i++) {
        uintptr_t start = atomic_load(&maps[i].start);
        if (start == 0 || at < start || at >= atomic_load(&maps[i].end))
            continue;
        struct pst_bytes *owner = atomic_load(&maps[i].owner);
        is_ours = put_zeros(at);
        if (is_ours)
            atomic_store(&owner->is_hurt, true);
    }
    errno = saved;
    if (is_ours)
        return;
    if (before_us.sa_flags & SA_SIGINFO)
        before_us.sa_sigaction(number, info, context);
    else if (before_us.sa_handler != SIG_DFL && before_us.sa_handler != SIG_IGN)
        before_us.sa_handler(number);
    else
        (void)sigaction(SIGBUS, &before_us, NULL); /* it happens again, and ends us */
}

static void watch_for_bus_errors(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    long size = sysconf(_SC_PAGESIZE);
    mh_assert(size > 0);
    page_bytes = (uintptr_t)size;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, &before_us);
}

/* False: the table is full. */
static bool enter_map(struct pst_bytes *b)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_for_bus_errors);
    for (int i = 0; i < MAPS_MAX; i++) {
        struct pst_bytes *nobody = NULL;
        if (!atomic_compare_exchange_strong(&maps[i].owner, &nobody, b))
            continue;
        atomic_store(&maps[i].end, (uintptr_t)b->map + b->size);
        atomic_store(&maps[i].start, (uintptr_t)b->map);
        return true;
    }
    return false;
}

static void leave_map(const struct pst_bytes *b)
{
    for (int i = 0; i < MAPS_MAX; i++) {
        if (atomic_load(&maps[i].owner) != b)
            continue;
        atomic_store(&maps[i].start, 0);
        atomic_store(&maps[i].owner, NULL);
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool is_local(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return false;
    static const unsigned far[] = {FS_NFS,  FS_SMB, FS_9P,   FS_FUSE, FS_CODA,
                                   FS_CEPH, FS_AFS, FS_CIFS, FS_SMB2};
    for (size_t i = 0; i < MH_ARRAY_LEN(far); i++)
        if ((unsigned)fs.f_type == far[i])
            return false;
    return true;
}

static int open_file(const char *path, int *fd_out, uint64_t *size_out, struct mh_err *err)
{
    struct stat st;
    /* Not a blocking open: a FIFO without a writer would hold us for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return mh_err_sys(err, MH_EUSAGE, "pst", errno, "%s cannot be opened", path);
    int code = MH_OK;
    if (fstat(fd, &st) != 0)
        code = mh_err_sys(err, MH_EUSAGE, "pst", errno, "%s cannot be looked at", path);
    else if (S_ISDIR(st.st_mode))
        code =
            mh_err_set(err, MH_EUSAGE, "pst", "%s is a directory; name the archives in it", path);
    else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        code = mh_err_set(err, MH_EUSAGE, "pst", "%s is no file", path);
    off_t size = code == MH_OK ? lseek(fd, 0, SEEK_END) : 0;
    if (code == MH_OK && size == 0)
        code = mh_err_set(err, MH_EUSAGE, "pst", "%s is empty", path);
    else if (code == MH_OK && size < 0)
        code = mh_err_sys(err, MH_EUSAGE, "pst", errno, "%s has no size", path);
    if (code != MH_OK) {
        (void)close(fd);
        return code;
    }
    *fd_out = fd;
    *size_out = (uint64_t)size;
    return MH_OK;
}

int pst_bytes_open(const char *path, enum pst_access access, struct pst_bytes **out,
                   struct mh_err *err)
{
    struct pst_bytes *b = mh_zalloc(sizeof *b);
    *out = NULL;
    if (!b)
        return mh_err_nomem(err);
    int code = open_file(path, &b->fd, &b->size, err);
    if (code != MH_OK) {
        mh_free(b);
        return code;
    }
    if (access == PST_ACCESS_BEST && is_local(b->fd)) {
        void *map = mmap(NULL, b->size, PROT_READ, MAP_SHARED, b->fd, 0);
        b->map = map == MAP_FAILED ? NULL : map;
        if (b->map && !enter_map(b)) {
            (void)munmap(map, b->size);
            b->map = NULL;
        }
    }
    *out = b;
    return MH_OK;
}

void pst_bytes_close(struct pst_bytes *b)
{
    if (!b)
        return;
    if (b->map) {
        leave_map(b);
        (void)munmap((void *)(uintptr_t)b->map, b->size);
    }
    (void)close(b->fd);
    mh_free(b);
}

uint64_t pst_bytes_size(const struct pst_bytes *b)
{
    return b->size;
}

bool pst_bytes_is_mapped(const struct pst_bytes *b)
{
    return b->map != NULL;
}

bool pst_bytes_is_hurt(const struct pst_bytes *b)
{
    return atomic_load_explicit(&b->is_hurt, memory_order_relaxed);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool read_whole(const struct pst_bytes *b, uint64_t at, size_t len, uint8_t *room)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(b->fd, room + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

const uint8_t *pst_bytes_at(const struct pst_bytes *b, uint64_t at, size_t len, uint8_t *room)
{
    if (at > b->size || len > b->size - at)
        return NULL;
    if (b->map)
        return b->map + at;
    if (read_whole(b, at, len, room))
        return room;
    /* The one thing that changes in it, and it only ever becomes true. */
    atomic_store_explicit(&((struct pst_bytes *)(uintptr_t)b)->is_hurt, true, memory_order_relaxed);
    return NULL;
}
