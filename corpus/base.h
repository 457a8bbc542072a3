/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * base.h: what every file of the generator stands on: errors, memory, a growing byte buffer.
 *
 * The generator is what mailhaul is judged by, so it shares no code with it: its symbols begin with
 * mhc_ (mailhaul corpus), and it needs libc and libm alone.
 *
 * Memory: a struct mhc_buf owns its bytes; mhc_buf_done() gives them back. Running out of memory
 * ends the program with one line and exit code 1, so no caller checks an allocation.
 * Threads: the generator has one.
 * Never: read a clock, a locale or rand(); the same arguments must give the same bytes.
 */
#ifndef MHC_BASE_H
#define MHC_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MHC_MUST_CHECK   __attribute__((warn_unused_result))
#define MHC_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define MHC_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What a fallible function returns. The negative ones come with a text in struct mhc_err. */
enum {
    MHC_OK = 0,
    MHC_SKIPPED = 1,  /* the store cannot or will not hold this item; reported, carry on */
    MHC_EFAIL = -1,   /* the run stops, exit code 1 */
    MHC_EUSAGE = -2,  /* the arguments are wrong, exit code 2 */
    MHC_ECLOSED = -3, /* the server closed the connection; the text says where */
};

struct mhc_err {
    char text[768];
};

/* Fills `err` with a formatted text and returns `code`, to be used as `return mhc_fail(...)`. */
int mhc_fail(struct mhc_err *err, int code, const char *format, ...) MHC_PRINTF(3, 4);

void *mhc_alloc(size_t size_bytes);
void *mhc_realloc(void *old, size_t size_bytes);
char *mhc_strdup(const char *text);

/* A growing run of bytes. All-zero is a valid empty buffer. */
struct mhc_buf {
    char *data; /* owned */
    size_t len;
    size_t cap;
};

void mhc_buf_done(struct mhc_buf *buf);
/* Makes room for `more` bytes behind the end and returns the place to write them to. */
char *mhc_buf_room(struct mhc_buf *buf, size_t more);
void mhc_buf_add(struct mhc_buf *buf, const void *bytes, size_t len);
void mhc_buf_puts(struct mhc_buf *buf, const char *text);
void mhc_buf_putc(struct mhc_buf *buf, char byte);
void mhc_buf_fill(struct mhc_buf *buf, char byte, size_t count);
void mhc_buf_printf(struct mhc_buf *buf, const char *format, ...) MHC_PRINTF(2, 3);
/* Adds `text` with every LF turned into CRLF. */
void mhc_buf_puts_crlf(struct mhc_buf *buf, const char *text);
/* Terminates with a NUL that does not count into len, and returns the bytes. */
const char *mhc_buf_str(struct mhc_buf *buf);

/*
 * Adds `len` bytes of a name so that they fit one field of a line and a screen: bytes that are not
 * part of valid UTF-8, controls, direction marks and the bytes of `also` become %XX. With '%' among
 * those the way back is clear.
 */
void mhc_buf_add_escaped(struct mhc_buf *buf, const char *bytes, size_t len, const char *also);

/* The length of the valid UTF-8 sequence at `bytes` (1-4), or 0 when there is none. */
size_t mhc_utf8_length(const char *bytes, size_t len);

#endif
