/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A program that is killed at the nth step, without a process to kill. A step is a call of a connector that reaches a
 * store, or a change of a file of the state. From the step on nothing reaches a store or the disk any more, and the stop
 * is raised; kill_heal() is the start of the next program. What the dead program still does in memory nobody sees.
 *
 * Or a connection is lost at the nth step, and at the next ones: the program lives on, and steps of the disk do not count.
 *
 * Steps come from the scheduler's thread and from the one that writes the state; the test's thread sets and reads
 * between runs. A keeper for gate.h, and the disk of state_disk.h; owns nothing.
 */
#ifndef MH_TESTS_CONFORM_KILL_H
#define MH_TESTS_CONFORM_KILL_H

#include "connectors/mem/session.h"
#include "gate.h"
#include "state_disk.h"

enum kill_fate {
    KILL_LIVES,
    KILL_NOW, /* this step is the one: whether it reaches the store is killer.reaches */
    KILL_DEAD,
};

static struct killer {
    pthread_mutex_t lock;
    uint64_t steps, at; /* at 0: never */
    bool reaches, is_dead;
    uint64_t losses;  /* so many steps from AT on lose their connection; 0: AT kills */
    const char *only; /* steps of this name count; NULL: all */
    const char *what; /* the step it was; NULL: not killed yet */
    _Atomic int *stop;
} killer = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline enum kill_fate kill_step(const char *what)
{
    (void)pthread_mutex_lock(&killer.lock);
    enum kill_fate fate = killer.is_dead ? KILL_DEAD : KILL_LIVES;
    bool counts = !killer.only || strcmp(what, killer.only) == 0;
    uint64_t step = fate == KILL_LIVES && counts ? ++killer.steps : 0;
    if (killer.at && step >= killer.at && step < killer.at + MH_MAX(killer.losses, 1u)) {
        fate = KILL_NOW;
        if (!killer.what)
            killer.what = what;
        if (killer.losses == 0) {
            killer.is_dead = true;
            atomic_store(killer.stop, MH_STOP_NOW);
        }
    }
    (void)pthread_mutex_unlock(&killer.lock);
    return fate;
}

static inline enum kill_fate kill_disk_step(const char *what)
{
    return killer.losses ? KILL_LIVES : kill_step(what);
}

static inline bool kill_is_dead(void)
{
    (void)pthread_mutex_lock(&killer.lock);
    bool is_dead = killer.is_dead;
    (void)pthread_mutex_unlock(&killer.lock);
    return is_dead;
}

/* Between runs: nobody takes steps. AT counts from here. */
static inline void kill_arm(uint64_t at, bool reaches, _Atomic int *stop)
{
    killer.steps = 0;
    killer.at = at;
    killer.reaches = reaches;
    killer.is_dead = false;
    killer.losses = 0;
    killer.only = NULL;
    killer.what = NULL;
    killer.stop = stop;
}

static inline const char *kill_what(void)
{
    return killer.what ? killer.what : "nothing";
}

static inline void kill_heal(void)
{
    killer.is_dead = false;
    killer.at = killer.losses = 0;
    killer.only = NULL;
    atomic_store(killer.stop, MH_STOP_NOT);
}

/* S (may be NULL) is lost when that is what the step was for. */
static inline int kill_lost(struct mh_session *s, struct mh_err *err)
{
    if (s && killer.losses)
        s->is_dead = true;
    return mh_err_set(err, MH_ERETRY, "test",
                      killer.losses ? "the connection was lost" : "the program is dead");
}

/* At the step itself what changes the store may be made, and its answer lost. */
static inline enum gate_way kill_ask(struct mh_session *s, enum gate_kind kind, const char *what)
{
    (void)s;
    enum kill_fate fate = kill_step(what);
    if (fate == KILL_LIVES)
        return GATE_OPEN;
    return fate == KILL_NOW && kind != GATE_READS && killer.reaches ? GATE_ONE_WAY : GATE_SHUT;
}

/* --- the disk ------------------------------------------------------------------------------------------- */

/* Of the write that the program dies in a half is made. */
static inline int kill_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
    enum kill_fate fate = kill_disk_step("write");
    if (fate == KILL_LIVES)
        return shim_methods.xWrite(f, buf, n, at);
    if (fate == KILL_NOW && killer.reaches && n > 1)
        (void)shim_methods.xWrite(f, buf, n / 2, at);
    return SQLITE_IOERR_WRITE;
}

static inline int kill_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    enum kill_fate fate = kill_disk_step("truncate");
    int rc = SQLITE_IOERR_TRUNCATE;
    if (fate == KILL_LIVES || (fate == KILL_NOW && killer.reaches))
        rc = shim_methods.xTruncate(f, size);
    return fate == KILL_LIVES ? rc : SQLITE_IOERR_TRUNCATE;
}

static inline int kill_sync(sqlite3_file *f, int flags)
{
    return kill_disk_step("sync") == KILL_LIVES ? shim_methods.xSync(f, flags) : SQLITE_IOERR_FSYNC;
}

static inline int kill_file_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    return kill_disk_step("delete") == KILL_LIVES ? shim_delete(vfs, name, sync_folder)
                                                  : SQLITE_IOERR_DELETE;
}

/* Before the first state of the process is opened; once is enough. A test that has installed a disk of its own keeps it. */
static inline void kill_install(void)
{
    if (state_disk_is_installed())
        return;
    state_disk_install();
    state_disk.xWrite = kill_write;
    state_disk.xTruncate = kill_truncate;
    state_disk.xSync = kill_sync;
    shim.vfs.xDelete = kill_file_delete;
}

/* After each haul_open(). */
static inline void kill_between(struct haul *h)
{
    gate_between(h, &(struct gate){.ask = kill_ask, .lost = kill_lost, .tells_moves = true});
}

#endif
