/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The octets of one archive: a mapping of the file, or reads of it where the file is not on a local
 * disk.
 *
 * Whoever opened it closes it, after the last reader. Any thread may read, all at once, without a
 * lock. It must never end the process: a file that becomes shorter while it is mapped, a disk that
 * cannot read a sector, a share that is gone all end as "these octets are not there".
 */
#ifndef MH_PST_BYTES_H
#define MH_PST_BYTES_H

#include <stdbool.h>

#include "base/error.h"

struct pst_bytes;

/* What is asked of the way to read. */
enum pst_access {
    PST_ACCESS_BEST, /* a mapping on a local disk, reads elsewhere */
    PST_ACCESS_READ, /* reads, wherever it is */
};

/* PATH, for reading. MH_EUSAGE: no such file, no permission, a directory, an empty file. */
int pst_bytes_open(const char *path, enum pst_access access, struct pst_bytes **out,
                   struct mh_err *err) MH_MUST_CHECK;
/* NULL is allowed. */
void pst_bytes_close(struct pst_bytes *b);

/* As it was at open. */
uint64_t pst_bytes_size(const struct pst_bytes *b);
bool pst_bytes_is_mapped(const struct pst_bytes *b);

/*
 * LEN octets from AT on, borrowed: from the mapping, or read into ROOM (LEN octets, the caller's).
 * NULL: they are not all in the file, or cannot be read.
 */
const uint8_t *pst_bytes_at(const struct pst_bytes *b, uint64_t at, size_t len, uint8_t *room);

/* Some of it could not be read, or is not there any more; what was asked for may have been zeros. */
bool pst_bytes_is_hurt(const struct pst_bytes *b);

#endif
