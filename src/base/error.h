/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Errors: a small closed set of codes by what to do next, and the detail for a person.
 *
 * A fallible function returns 0 or a negative MH_E* and takes a struct mh_err * as last argument,
 * filled once where it happened and wrapped on the way up with the folder and message (where).
 * The struct is a plain value owned by the caller; no heap, no global. Any thread.
 * It must never hold a secret or message text: server_text is the human text of a server's reply.
 */
#ifndef MH_BASE_ERROR_H
#define MH_BASE_ERROR_H

#include "base/macros.h"

enum mh_code {
    MH_OK = 0,
    MH_ERETRY = -1,    /* connection lost or a passing fault: reconnect and try again now */
    MH_ELATER = -2,    /* throttled, over quota, unavailable: wait retry_after_ms, then again */
    MH_EITEM = -3,     /* this message cannot be carried: ledger, next message */
    MH_ESPLIT = -4,    /* a batch was refused as a whole and none of it stored: send it in parts */
    MH_EFOLDER = -5,   /* this folder cannot be worked on: ledger, next folder */
    MH_EMAILBOX = -6,  /* this mailbox stops, others go on */
    MH_EAUTH = -7,     /* login refused: this mailbox stops, exit code 12 */
    MH_ERUN = -8,      /* the run stops: state not writable, out of memory */
    MH_EUSAGE = -9,    /* a person has to change the command, the project file or the CSV */
    MH_ECANCEL = -10,  /* stopped by the user or by a sibling's failure */
    MH_ETIMEOUT = -11, /* a deadline passed; wrapped into MH_ERETRY above net */
    MH_ENOSUP = -12,   /* the server or connector has not got this: take the other way */
    MH_ENOENT = -13,   /* no such folder, file or row */
    MH_EEXIST = -14,   /* exists already */
    MH_ELOCKED = -15,  /* another run holds it: exit code 11 */
};

struct mh_err {
    int code;               /* enum mh_code */
    const char *layer;      /* static: "net", "tls", "imap", "state", … */
    const char *reason;     /* static slug for the ledger ("too-big", "refused", …) or NULL */
    int64_t retry_after_ms; /* with MH_ELATER: how long the server asked us to wait; 0 = unknown */
    char text[384];         /* what happened and what to do, one line, printable */
    char server_text[256];  /* what the server said, sanitised; empty if nothing */
    char where[256];        /* "folder Archive/2019, UID 7", filled on the way up */
};

/* Empties ERR. */
void mh_err_reset(struct mh_err *err) MH_NONNULL(1);

/* Fills ERR (may be NULL) and returns CODE, so that `return mh_err_set(err, …)` is one line. */
int mh_err_set(struct mh_err *err, int code, const char *layer, const char *fmt, ...)
    MH_PRINTF(4, 5);

/* mh_err_set() for a failed system call: appends strerror(ERRNUM). */
int mh_err_sys(struct mh_err *err, int code, const char *layer, int errnum, const char *fmt, ...)
    MH_PRINTF(5, 6);

/* Out of memory: MH_ERUN. */
static inline int mh_err_nomem(struct mh_err *err)
{
    (void)mh_err_set(err, MH_ERUN, "memory", "out of memory");
    return MH_ERUN; /* said here, so that an analyzer sees that it is never 0 */
}

/* Adds the place: the outer call's words go in front ("folder X" + "UID 7"). Keeps the code. */
void mh_err_at(struct mh_err *err, const char *fmt, ...) MH_PRINTF(2, 3);

/* Copies a server's text into ERR with control bytes replaced, cut at the buffer. */
void mh_err_server(struct mh_err *err, const char *text, size_t len);

/* One line for a person: "where: text (server said: …)". BUF is always terminated. */
const char *mh_err_line(const struct mh_err *err, char *buf, size_t buf_size) MH_NONNULL(1, 2);

/* The code's name for logs and JSON: "retry", "later", "item", … */
const char *mh_code_name(int code);

#endif
