/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How connectors for files store messages: slices queue up by reference, a task of its own takes all
 * that is there, a worker thread writes and syncs it as one batch, then the verdicts go out. While
 * one batch is on its way to the disk the next one gathers, so batches are as long as the disk is
 * slow, and nobody has to flush to see a verdict.
 *
 * Who owns what: a writer belongs to its session's store; messages are the writer's, their slices are dropped
 * once written. Thread: tasks of one scheduler; the ops run in a worker thread, one call at a time.
 * A message that is still arriving is written piece by piece, so no length of message holds memory.
 * Never: more than MH_FILE_QUEUE_BYTES waiting; a verdict before the batch is on the disk.
 */
#ifndef MH_MAIL_FILE_APPEND_H
#define MH_MAIL_FILE_APPEND_H

#include "mail/file_form.h"
#include "mail/file_store.h"

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
    /* Says where messages go from now on, and closes what was open for the ones before.
     * thread: worker */
    int (*open)(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err);
    /* Writes each message's parts; those that are complete must be on the disk when it returns, or have
     * rc and err set. A message with rc < 0 is not to be touched again. thread: worker */
    void (*write)(struct mh_session *s, struct mh_file_out *batch);
    /* OUT will not be completed or has failed: removes what was written of it and frees what the
     * connector put into it. Called for every message that was begun, last; with rc 0 and
     * is_complete it is stored and only to be freed. thread: worker */
    void (*release)(struct mh_session *s, struct mh_file_out *out);
};

struct mh_file_writer;

/* mh_connector.append_open; the session's first call makes its writer, for which OPS are borrowed. */
int mh_file_append_open(struct mh_session *s, const struct mh_file_writer_ops *ops,
                        const struct mh_folder *folder, struct mh_append_sink *sink,
                        struct mh_err *err) MH_MUST_CHECK;
/* mh_connector.append_* */
int mh_file_append_begin(struct mh_session *s, const struct mh_append *msg,
                         struct mh_err *err) MH_MUST_CHECK;
int mh_file_append_data(struct mh_session *s, struct mh_slice slice_take,
                        struct mh_err *err) MH_MUST_CHECK;
int mh_file_append_end(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;
int mh_file_append_cut(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;
int mh_file_append_flush(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;

/* waits: for the batch that is being written. What is still queued is not stored and its verdict is
 * MH_ERETRY: every message that was begun gets exactly one verdict. W may be NULL. */
void mh_file_writer_close(struct mh_file_writer *w);

/* For the ops where a message is a file: makes it in DIR_FD as NAME_TAKE (NULL: out of memory), then
 * writes all of OUT's parts as they are and scans them; the whole file gets the message's date. The
 * error is in OUT too. */
int mh_file_out_make(struct mh_file_out *out, int dir_fd, char *name_take) MH_MUST_CHECK;
int mh_file_out_write(struct mh_file_out *out) MH_MUST_CHECK;
/* For the ops: appends to LINES what the index is to say of OUT, which has OCTETS in the archive. */
void mh_file_out_index(const struct mh_file_out *out, const char *name, uint64_t octets,
                       struct mh_buf *lines);
/* Puts the complete messages of BATCH, each in the file of its fd, on the disk; sets rc and err of those
 * that fail. */
void mh_file_batch_sync(struct mh_file_out *batch);
/* Gives all complete messages of BATCH that have no error yet this one. */
void mh_file_batch_fail(struct mh_file_out *batch, int rc, const struct mh_err *err);
/* The verdict for a failed system call: no space is MH_ELATER, a name or size that the file system
 * does not take MH_EITEM, everything else stops the mailbox. */
int mh_file_out_errno(struct mh_err *err, int errnum, const char *what);

#endif
