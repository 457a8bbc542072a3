/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Learns what one target server likes, by trying: how many messages per MULTIAPPEND, how many connections
 * of one mailbox into one folder, how many over its folders, and whether the wire is the limit, so that compression
 * pays. All mailboxes that go to the server share one tuner, so
 * what the first has learnt serves the others.
 *
 * A stretch of work is measured, then one knob is turned by one step and measured again. A step is kept when it
 * wins clearly twice, otherwise taken back. When no step wins, the tuner rests for a while and tries anew: servers
 * are busier at some hours than at others.
 *
 * Work is counted in messages and octets, so that a folder of photographs is comparable to one of
 * notes. The clock is the caller's. Nothing is allocated after tuner_new().
 *
 * thread: any; each function takes the tuner's own lock.
 */
#ifndef MH_ENGINE_TUNE_H
#define MH_ENGINE_TUNE_H

#include <stdbool.h>
#include <stdint.h>

enum tune_knob {
    TUNE_JOINED, /* connections into one folder */
    TUNE_LANES,  /* connections of one mailbox, each in a folder of its own */
    TUNE_BATCH,  /* messages per MULTIAPPEND */
    TUNE_WIRE,   /* compressed or not */
    TUNE_KNOBS,
};

/* What to do at present. */
struct tuned {
    unsigned batch, lanes, joined;
    bool compress; /* what goes over the wire (COMPRESS=DEFLATE, RFC 4978) */
};

struct tuner;

/* NULL: no memory. */
struct tuner *tuner_new(void);
void tuner_free(struct tuner *t);

/* What the server can, as soon as the first session knows; later calls change nothing. Without MULTIAPPEND the
 * batch is not tried; where each message costs a round trip more connections are begun with. */
void tuner_begin(struct tuner *t, bool multiappend, bool sync_literal);

struct tuned tuner_now(struct tuner *t);

/* The present value of KNOB holds somebody back: there is work for more. Only such knobs are turned. */
void tuner_press(struct tuner *t, enum tune_knob knob);

/* The wire is far enough to hold somebody back who has so much left to do: TUNE_WIRE is turned if that takes long. */
void tuner_press_wire(struct tuner *t, uint64_t messages, uint64_t octets);

/* A message of OCTETS was stored at NOW_MS. True when a knob was turned: look at tuner_now() again. */
bool tuner_verdict(struct tuner *t, uint64_t octets, int64_t now_ms);

/* A connection that could be either is there (BY 1) or gone (-1), COMPRESSED or not. After TUNE_WIRE was turned what
 * comes can be measured once none is left as it was. */
void tuner_wired(struct tuner *t, bool compressed, int by, int64_t now_ms);

/* A pause, a lost connection: the stretch that is being measured says nothing. */
void tuner_disturbed(struct tuner *t);

#endif
