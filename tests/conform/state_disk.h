/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The disk that the state lies on, with calls of the test's own: a test puts its functions into
 * state_disk, and each file of a state that is opened from then on has them. What they do not do
 * themselves shim_methods does (shim_vfs.h). They are called by the state's thread.
 */
#ifndef MH_TESTS_CONFORM_STATE_DISK_H
#define MH_TESTS_CONFORM_STATE_DISK_H

#include "../fault/shim_vfs.h"

static sqlite3_io_methods state_disk;

static inline int state_disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                                  int *out)
{
    int rc = shim_open(vfs, name, file, flags, out);
    if (file->pMethods)
        file->pMethods = &state_disk;
    return rc;
}

static inline bool state_disk_is_installed(void)
{
    return state_disk.xWrite != NULL;
}

/* Once, before the first state of the process is opened. */
static inline void state_disk_install(void)
{
    shim_install();
    state_disk = shim_methods;
    shim.vfs.xOpen = state_disk_open;
}

#endif
