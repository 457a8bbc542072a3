/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Log lines for people and for the trace file. A context (run > mailbox > folder) supplies the
 * prefix; it is a plain value that points to its parent, which must outlive it. Any thread; lines
 * are written whole. Never logged: secrets, message text.
 *
 * Levels: error (a person must act), warning (we worked around it), info (one line per mailbox
 * phase), debug (per command).
 */
#ifndef MH_BASE_LOG_H
#define MH_BASE_LOG_H

#include <stdbool.h>

#include "base/error.h"

enum mh_log_level { MH_LOG_ERROR, MH_LOG_WARNING, MH_LOG_INFO, MH_LOG_DEBUG };

struct mh_log {
    const struct mh_log *parent; /* borrowed, or NULL */
    const char *kind;            /* static: "mailbox", "folder", "server" */
    const char *name;            /* borrowed */
};

/* Where finished lines go (one call per line, no newline, printable). Default: stderr. */
typedef void mh_log_fn(void *ctx, enum mh_log_level level, const char *line);
void mh_log_set_output(mh_log_fn *fn, void *ctx);
void mh_log_set_level(enum mh_log_level level);
bool mh_log_enabled(enum mh_log_level level);

void mh_log(const struct mh_log *ctx, enum mh_log_level level, const char *fmt, ...)
    MH_PRINTF(3, 4);
/* An error object as a line. */
void mh_log_err(const struct mh_log *ctx, enum mh_log_level level, const struct mh_err *err);

/* The protocol trace (--trace FILE): opened once before any thread starts. DIRECTION is '>' or '<'.
 * The caller has removed secrets and bodies. */
int mh_trace_open(const char *path, struct mh_err *err) MH_MUST_CHECK;
bool mh_trace_enabled(void);
void mh_trace(const struct mh_log *ctx, char direction, const char *bytes, size_t len);
void mh_trace_close(void);

#endif
