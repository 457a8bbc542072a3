/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside of a connection: conn_open.c makes and ends it, conn_read.c and conn_write.c carry bytes.
 *
 * Layers, outermost first: slices (what callers see), DEFLATE when started, TLS when started,
 * socket. Every function that waits holds a reference (enter/leave) and looks again at `is_closed`
 * after each wait: another task may have closed the connection, and only the struct itself is then
 * still there.
 */
#ifndef MH_NET_CONN_PRIV_H
#define MH_NET_CONN_PRIV_H

#include "net/conn.h"
#include "net/deflate_priv.h"
#include "net/outq_priv.h"
#include "net/sock_priv.h"
#include "net/tls_priv.h"

/* Slices in one queue: a flood of tiny ones is bounded as well as their bytes. */
#define MH_CONN_OUTQ_SLICES 4096u
/* From here on a writer sends without waiting for the end of the round: what was just read is still
 * in the processor's cache then. */
#define MH_CONN_EAGER_BYTES (128u * 1024u)
/* What a task moves before it lets others go first. */
#define MH_CONN_BURST_BYTES (256u * 1024u)
/* A connection that was not read for this long gives back its slab and its TLS buffers. */
#define MH_CONN_REST_MS     1000

/* A slab that is being filled. */
struct mh_fill {
    struct mh_slab *slab; /* one reference, or NULL */
    uint32_t off;         /* the rest is free */
};

struct mh_conn {
    struct mh_sock sock;
    struct mh_loop *loop;                   /* borrowed */
    struct mh_net *net;                     /* borrowed */
    struct mh_pool *pool;                   /* borrowed */
    const struct mh_log *log;               /* borrowed */
    struct mh_bucket *limit_in, *limit_out; /* borrowed, or NULL: not this one's concern */
    int64_t timeout_ms;
    char *host; /* owned, normalised; with ca_file and pin for the day of STARTTLS */
    char *ca_file;
    char *pin;
    uint16_t port;
    bool is_ip;
    bool is_closed;
    unsigned refs;        /* the owner and the tasks inside */
    struct mh_tls *tls;   /* owned, or NULL */
    struct mh_deflate *z; /* owned, or NULL */
    struct mh_conn_info info;

    /* reading */
    struct mh_waitq readers;
    struct mh_fill wire_fill;  /* what the socket or TLS gives */
    struct mh_fill plain_fill; /* what comes out of DEFLATE */
    struct mh_slice unread;    /* given back by the caller */
    struct mh_slice packed;    /* read and not yet inflated */
    size_t read_burst;
    int64_t used_ms; /* when bytes were last read */
    struct mh_due rest_due;
    bool is_reading;
    bool is_read_held;      /* there was input at the last look, and the rate limit held it back */
    struct mh_err read_err; /* sticky; code 0 = none */

    /* writing */
    struct mh_waitq writers;  /* for room */
    struct mh_waitq drainers; /* for an empty queue */
    struct mh_outq outq;
    struct mh_fill text_fill; /* protocol text */
    unsigned char *zblock;    /* of the loop: compressed bytes in [zsent, zfilled) */
    size_t zsent, zfilled;
    size_t write_burst;
    int64_t moved_ms; /* when bytes last left, or a rate limit held them */
    struct mh_due flush_due;
    bool is_throttled;       /* flush_due is booked for the time the limit named */
    struct mh_err write_err; /* sticky; code 0 = none */
};

static inline void mh_conn_enter(struct mh_conn *c)
{
    c->refs++;
}
void mh_conn_leave(struct mh_conn *c); /* the last one frees */

/* MH_ERETRY when the connection was closed here. */
int mh_conn_check_open(const struct mh_conn *c, struct mh_err *err) MH_MUST_CHECK;
int mh_conn_stopped(struct mh_err *err); /* MH_ECANCEL */
/* Adds host and port to ERR. */
void mh_conn_place(const struct mh_conn *c, struct mh_err *err);
/* Both directions answer ERR from now on; queued bytes are dropped, waiting tasks woken. */
void mh_conn_poison(struct mh_conn *c, const struct mh_err *err);

/* conn_read.c */
void mh_conn_rest(struct mh_due *due);
void mh_fill_release(struct mh_fill *f);

/* conn_write.c */
void mh_conn_flush_due(struct mh_due *due);
void mh_conn_flush(struct mh_conn *c);
/* Books a flush for the end of the round, unless a rate limit has set a time. */
void mh_conn_flush_soon(struct mh_conn *c);
void mh_conn_fail_writing(struct mh_conn *c, const struct mh_err *err);

#endif
