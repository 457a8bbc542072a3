/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How connectors for files store messages: slices queue up by reference, a task of its own takes all
 * that is there, a worker thread writes and syncs it as one batch, then the verdicts go out. While
 * one batch is on its way to the disk the next one gathers, so batches are as long as the disk is
 * slow, and nobody has to flush to see a verdict.
 *
 * Who owns what: a writer belongs to its session; messages are the writer's, their slices are dropped
 * once written. Thread: tasks of one scheduler; the ops run in a worker thread, one call at a time.
 * A message that is still arriving is written piece by piece, so no length of message holds memory.
 * Never: more than MH_FILE_QUEUE_BYTES waiting; a verdict before the batch is on the disk.
 */
#ifndef MH_MAIL_FILE_APPEND_H
#define MH_MAIL_FILE_APPEND_H

#include "mail/connector.h"
#include "mail/file_form.h"

/* Octets that may wait for the writer; a slice counts as a page at least, for the slab it holds. */
#define MH_FILE_QUEUE_BYTES ((size_t)1 << 20)

struct mh_file_slices {
    struct mh_slice *v; /* owned, with their references */
    size_t n;
    size_t cap;
};

/* A message on its way to the disk. */
struct mh_file_out {
    struct mh_file_out *next;    /* in the batch */
    struct mh_append what;       /* keywords: owned copy, never NULL */
    struct mh_file_slices parts; /* to be written now */
    bool is_complete;            /* nothing follows `parts` */
    struct mh_form_scan scan;    /* of what mh_file_out_write() wrote */
    /* The connector's, kept from batch to batch; zero at first. */
    int fd;          /* -1 at first */
    char *name;      /* owned, freed with mh_free() */
    uint64_t offset; /* where it begins */
    void *state;     /* freed by the connector's release() */
    /* The verdict, set by the ops for complete messages. */
    int rc;
    struct mh_err err; /* with rc < 0 */
    uint64_t uid;
    /* The writer's own. */
    struct mh_file_slices incoming;
    uint64_t arrived;
    bool all_arrived;
    bool is_released;
};

struct mh_file_writer_ops {
    /* Writes each message's parts; those that are complete must be on the disk when it returns, or have
     * rc and err set. A message with rc < 0 is not to be touched again. thread: worker */
    void (*write)(void *ctx, struct mh_file_out *batch);
    /* OUT will not be completed or has failed: removes what was written of it and frees what the
     * connector put into it. Called for every message that was begun, last; with rc 0 and
     * is_complete it is stored and only to be freed. thread: worker */
    void (*release)(void *ctx, struct mh_file_out *out);
};

struct mh_file_writer;

int mh_file_writer_new(const struct mh_file_writer_ops *ops, void *ctx, struct mh_file_writer **out,
                       struct mh_err *err) MH_MUST_CHECK;
/* waits: for the batch that is being written. What is still queued is not stored and its verdict is
 * MH_ERETRY: every message that was begun gets exactly one verdict. */
void mh_file_writer_close(struct mh_file_writer *w);

/* Where the verdicts go. No message may be under way (flush first). */
void mh_file_writer_target(struct mh_file_writer *w, struct mh_append_sink *sink,
                           uint32_t uidvalidity);
/* mh_connector.append_* */
int mh_file_append_begin(struct mh_file_writer *w, const struct mh_append *msg,
                         struct mh_err *err) MH_MUST_CHECK;
int mh_file_append_data(struct mh_file_writer *w, struct mh_slice slice_take,
                        struct mh_err *err) MH_MUST_CHECK;
int mh_file_append_end(struct mh_file_writer *w, struct mh_err *err) MH_MUST_CHECK;
int mh_file_append_flush(struct mh_file_writer *w, struct mh_err *err) MH_MUST_CHECK;

/* mh_connector.quota: the room left on the file system of FD. waits */
int mh_file_quota(int fd, struct mh_quota *out, struct mh_err *err) MH_MUST_CHECK;

/* For the ops: writes all of OUT's parts as they are to OUT->fd and scans them. */
int mh_file_out_write(struct mh_file_out *out, struct mh_err *err) MH_MUST_CHECK;
/* Puts the complete messages of BATCH, each in the file of its fd, on the disk; sets rc and err of those
 * that fail. */
void mh_file_batch_sync(struct mh_file_out *batch);
/* Gives all complete messages of BATCH that have no error yet this one. */
void mh_file_batch_fail(struct mh_file_out *batch, int rc, const struct mh_err *err);
/* The verdict for a failed system call: no space is MH_ELATER, a name or size that the file system
 * does not take MH_EITEM, everything else stops the mailbox. */
int mh_file_out_errno(struct mh_err *err, int errnum, const char *what);

#endif
