/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How connectors for files give messages to a sink: read in batches by a worker thread into slabs,
 * turned into wire form there, and handed over in the fetching task.
 *
 * Who owns what: the source's locate() opens, mh_file_fetch() closes. Slabs come from the session's
 * pool, at most MH_FILE_BATCH_BYTES and one more at a time (an eighth of a small pool), and go by
 * reference. Thread: a task; locate() runs in a worker thread while the task waits.
 * Never: a message held whole when it is longer than a batch; a copy when the file is in wire form.
 */
#ifndef MH_MAIL_FILE_FETCH_H
#define MH_MAIL_FILE_FETCH_H

#include "mail/connector.h"

/* What one offload reads or writes: long enough that its hand-over (some 10 µs) does not count, short
 * enough that a lane's memory stays near its connections'. */
#define MH_FILE_BATCH_BYTES    ((size_t)1 << 20)
/* Messages of one batch: a cancel is looked at between batches. */
#define MH_FILE_BATCH_MESSAGES 256u

/* Where a message's octets are. */
struct mh_file_extent {
    int fd;
    bool keep_open; /* fd belongs to the source; else it is closed after use */
    bool is_raw;    /* wire form already, whatever its line ends look like */
    bool is_quoted; /* mboxrd: ^>+From_ loses a '>' */
    uint64_t off;
    uint64_t len;
};

struct mh_file_source {
    /* MH_ENOENT: vanished. Any other error: unreadable. thread: worker */
    int (*locate)(void *ctx, const struct mh_item *item, struct mh_file_extent *out,
                  struct mh_err *err);
    void *ctx; /* borrowed */
};

/* For locate(): all of FD, which is taken; MH_EITEM when it is no regular file. */
int mh_file_extent_whole(int fd, const char *name, bool is_raw, struct mh_file_extent *out,
                         struct mh_err *err) MH_MUST_CHECK;

/* mh_connector.fetch for such a source. waits */
int mh_file_fetch(const struct mh_file_source *source, struct mh_pool *pool,
                  const struct mh_item *const *items, size_t n, struct mh_sink *sink,
                  struct mh_err *err) MH_MUST_CHECK;

#endif
