/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

enum { LINE_MAX_BYTES = 1024, CONTEXT_DEPTH_MAX = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mh_log_fn *output;
static void *output_ctx;
static _Atomic int max_level = MH_LOG_WARNING;
static FILE *trace_file; /* set before threads start, closed after they ended */
static int64_t trace_start_us;

void mh_log_set_output(mh_log_fn *fn, void *ctx)
{
    (void)pthread_mutex_lock(&lock);
    output = fn;
    output_ctx = ctx;
    (void)pthread_mutex_unlock(&lock);
}

void mh_log_set_level(enum mh_log_level level)
{
    atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

bool mh_log_enabled(enum mh_log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

/* "mailbox anna, folder INBOX: " into B. */
static void add_context(struct mh_buf *b, const struct mh_log *ctx)
{
    const struct mh_log *chain[CONTEXT_DEPTH_MAX];
    size_t n = 0;
    for (; ctx && n < CONTEXT_DEPTH_MAX; ctx = ctx->parent) {
        if (ctx->name)
            chain[n++] = ctx;
    }
    for (size_t i = n; i > 0; i--) {
        const struct mh_log *c = chain[i - 1];
        mh_buf_addf(b, "%s ", c->kind);
        mh_buf_add_printable(b, c->name, strlen(c->name));
        mh_buf_adds(b, i > 1 ? ", " : ": ");
    }
}

static void emit(enum mh_log_level level, const struct mh_buf *line)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)pthread_mutex_lock(&lock);
    if (output)
        output(output_ctx, level, mh_buf_str(line));
    else
        (void)fprintf(stderr, "mailhaul: %s: %s\n", names[level], mh_buf_str(line));
    (void)pthread_mutex_unlock(&lock);
}

void mh_log(const struct mh_log *ctx, enum mh_log_level level, const char *fmt, ...)
{
    if (!mh_log_enabled(level))
        return;
    char text[LINE_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct mh_buf line = MH_BUF_INIT;
    add_context(&line, ctx);
    mh_buf_add_printable(&line, text, strlen(text));
    emit(level, &line);
    mh_buf_done(&line);
}

void mh_log_err(const struct mh_log *ctx, enum mh_log_level level, const struct mh_err *err)
{
    char line[LINE_MAX_BYTES];
    mh_log(ctx, level, "%s", mh_err_line(err, line, sizeof line));
}

int mh_trace_open(const char *path, struct mh_err *err)
{
    trace_file = fopen(path, "we");
    if (!trace_file)
        return mh_err_sys(err, MH_EUSAGE, "trace", errno, "cannot write the trace file %s", path);
    trace_start_us = mh_clock_mono_us();
    return MH_OK;
}

bool mh_trace_enabled(void)
{
    return trace_file != NULL;
}

void mh_trace(const struct mh_log *ctx, char direction, const char *bytes, size_t len)
{
    if (!trace_file)
        return;
    struct mh_buf line = MH_BUF_INIT;
    mh_buf_addf(&line, "%10.6f ", (double)(mh_clock_mono_us() - trace_start_us) / 1e6);
    add_context(&line, ctx);
    mh_buf_addc(&line, direction);
    mh_buf_addc(&line, ' ');
    mh_buf_add_printable(&line, bytes, len);
    mh_buf_addc(&line, '\n');
    (void)pthread_mutex_lock(&lock);
    (void)fwrite(mh_buf_str(&line), 1, line.len, trace_file);
    (void)pthread_mutex_unlock(&lock);
    mh_buf_done(&line);
}

void mh_trace_close(void)
{
    if (trace_file)
        (void)fclose(trace_file);
    trace_file = NULL;
}
