/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What mh-relay is made of: connections, their two flows, the two wires, and the timers and blocks
 * that they use.
 *
 * relay.c says how a byte travels; here are the data and the parts that know nothing of sockets.
 * One struct relay owns everything. Timers are embedded in their owners, which outlive them; blocks
 * and transits go back to the relay's spares. One thread.
 */
#ifndef MH_TESTS_RELAY_WIRE_H
#define MH_TESTS_RELAY_WIRE_H

#include "relay_options.h"

#include <sys/socket.h>

enum {
    BLOCK_BYTES = 64 * 1024,
    BLOCKS_PER_CALL = 8, /* at most 512 KiB in one readv or sendmsg */
    BLOCKS_KEPT = 256,   /* 16 MiB kept for reuse; more goes back to malloc */
    EVENTS_PER_WAIT = 128,
    READS_PER_TURN = 64,     /* then look at timers and new events again */
    QUANTUM_BYTES_MIN = 1500 /* one packet */
};

#define NEVER            INT64_MAX
#define WIRE_QUEUE_NS    (5 * TOOL_NS_PER_MS)    /* how far the wire is filled ahead of now */
#define QUANTUM_NS       (1 * TOOL_NS_PER_MS)    /* one turn of one connection on the wire */
#define HOLD_NS          (200 * TOOL_NS_PER_MS)  /* a half-seen --cut-on text waits this long */
#define CLOSE_NS         (1000 * TOOL_NS_PER_MS) /* patience with a side that is being closed */
#define FLUSH_POLL_NS    (1 * TOOL_NS_PER_MS) /* is everything written on its way, before a reset */
#define BUFFER_SLACK     (1024ULL * 1024)
#define BUFFER_UNLIMITED (32ULL * 1024 * 1024)

struct relay;

/* A moment at which something is to be done; embedded in its owner, armed at most once. */
struct timer {
    int64_t at_ns;
    size_t slot; /* place in the heap plus one; 0: not armed */
    void (*fire)(struct relay *relay, void *owner);
    void *owner; /* borrowed: the struct it is embedded in */
};

struct block {
    struct block *next;
    size_t start, end; /* the bytes not yet written are data[start .. end) */
    unsigned char data[BLOCK_BYTES];
};

struct conn;

struct end {
    int fd; /* -1: gone */
    bool is_readable, is_writable;
    bool has_hung_up;  /* the kernel said so once: read on until it shows */
    bool was_reset;    /* so is this; what came ahead of the reset can still be read */
    struct conn *conn; /* borrowed: the parent */
};

/* One direction of one connection. Offsets count bytes since its beginning. */
struct flow {
    struct conn *conn;     /* borrowed: the parent */
    struct end *from, *to; /* borrowed: the parent's */
    int dir;
    struct block *head, *tail; /* owned */
    uint64_t read_bytes;       /* taken from the sender */
    uint64_t arrived_bytes;    /* of these: whose time on the wire is over */
    uint64_t sent_bytes;       /* of these: taken by the receiver's socket */
    bool has_ended, end_has_arrived, is_shut;
    bool is_queued;
    struct flow *queue_next;
    struct timer chunk_timer; /* armed: the next --chunk must wait */
    /* --cut-on: how much of the text has been seen, where it began, what must wait for the rest. */
    bool looks_for_text;
    size_t text_seen;
    uint64_t text_at, hold_at;
    struct timer hold_timer;
};

/*
 *  SYN ──2 delays──► ACK ──1 delay──► CONNECTING ──► OPEN ──► CLOSING ──► DEAD
 *                                                      └────► STALLED
 * A client that calls connect() on a real wire is through after one round trip and its server after
 * one and a half. Here the kernel says yes at once, so the relay reads nothing from the client for
 * two delays and calls the server after three: first bytes then show up when they would have.
 */
enum conn_state {
    CONN_SYN,
    CONN_ACK,
    CONN_CONNECTING,
    CONN_OPEN,
    CONN_STALLED,
    CONN_CLOSING,
    CONN_DEAD
};

struct conn {
    uint64_t number; /* from 1, in the order of arrival */
    enum conn_state state;
    struct end end[SIDE_COUNT];
    struct flow flow[DIR_COUNT];
    struct timer timer; /* handshake; patience while closing */
    uint64_t cut_at[SPAN_COUNT], stall_at[SPAN_COUNT];
    bool is_cut_random, is_reset;
    int64_t close_by_ns;
    size_t under_way; /* entries of the wires that point here */
    bool is_buried;
    struct conn *prev, *next, *next_buried;
};

enum transit_kind { TRANSIT_BYTES, TRANSIT_END, TRANSIT_RESET };

/* Something on the wire: it reaches the far end at arrive_ns. */
struct transit {
    struct transit *next;
    struct flow *flow; /* borrowed; conn.under_way keeps it alive */
    int64_t arrive_ns;
    enum transit_kind kind;
    size_t bytes;
};

struct wire {
    struct transit *head, *tail;        /* owned, in the order of arrival */
    int64_t free_ns;                    /* when the last byte put on it has left */
    struct flow *turn_head, *turn_tail; /* flows that want to put bytes on it, in turn */
    uint64_t delivered_bytes, writes;
    uint64_t held_bytes_max; /* by one flow: the figure that --buffer-kib bounds */
};

struct relay {
    struct options options;
    struct sockaddr_storage to;
    socklen_t to_len;
    int epoll_fd, listen_fd, timer_fd, signal_fd;
    int64_t now_ns, armed_ns;
    size_t quantum_bytes;
    struct wire wire[DIR_COUNT];
    struct timer **heap; /* owned array of borrowed timers */
    size_t heap_len, heap_room;
    struct block *spare_blocks;
    size_t spare_blocks_len;
    struct transit *spare_transits;
    size_t *text_fallback[DIR_COUNT]; /* Knuth-Morris-Pratt: where to go on after a mismatch */
    struct conn *conns, *buried;
    uint64_t accepted, cuts, stalls, refused;
    uint64_t cuts_left, random_cuts_left, text_cuts_left, stalls_left, skips_left;
    bool is_stopping;
};

/* ------------------------------------------------------------------ timers: a binary heap */

static void heap_put(struct relay *relay, size_t slot, struct timer *timer)
{
    relay->heap[slot] = timer;
    timer->slot = slot + 1;
}

static void heap_settle(struct relay *relay, size_t slot)
{
    struct timer *timer = relay->heap[slot];
    while (slot > 0 && relay->heap[(slot - 1) / 2]->at_ns > timer->at_ns) {
        heap_put(relay, slot, relay->heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child + 1 < relay->heap_len &&
            relay->heap[child + 1]->at_ns < relay->heap[child]->at_ns)
            child++;
        if (child >= relay->heap_len || relay->heap[child]->at_ns >= timer->at_ns)
            break;
        heap_put(relay, slot, relay->heap[child]);
        slot = child;
    }
    heap_put(relay, slot, timer);
}

static void timer_cancel(struct relay *relay, struct timer *timer)
{
    if (!timer->slot)
        return;
    size_t slot = timer->slot - 1;
    timer->slot = 0;
    struct timer *last = relay->heap[--relay->heap_len];
    if (last != timer) {
        relay->heap[slot] = last;
        heap_settle(relay, slot);
    }
}

static void timer_set(struct relay *relay, struct timer *timer, int64_t at_ns)
{
    timer_cancel(relay, timer);
    if (relay->heap_len == relay->heap_room) {
        relay->heap_room = relay->heap_room ? 2 * relay->heap_room : 64;
        relay->heap = tool_realloc(relay->heap, relay->heap_room * sizeof(struct timer *));
    }
    timer->at_ns = at_ns;
    relay->heap[relay->heap_len++] = timer;
    heap_settle(relay, relay->heap_len - 1);
}

/* ------------------------------------------------------------------ blocks */

static struct block *block_get(struct relay *relay)
{
    struct block *block = relay->spare_blocks;
    if (block) {
        relay->spare_blocks = block->next;
        relay->spare_blocks_len--;
    } else {
        block = malloc(sizeof(*block)); /* not zeroed: 64 KiB that a read fills */
        if (!block)
            tool_die("out of memory");
    }
    block->next = NULL;
    block->start = block->end = 0;
    return block;
}

static void block_put(struct relay *relay, struct block *block)
{
    if (relay->spare_blocks_len >= BLOCKS_KEPT) {
        free(block);
        return;
    }
    block->next = relay->spare_blocks;
    relay->spare_blocks = block;
    relay->spare_blocks_len++;
}

static void flow_drop_blocks(struct relay *relay, struct flow *flow)
{
    while (flow->head) {
        struct block *next = flow->head->next;
        block_put(relay, flow->head);
        flow->head = next;
    }
    flow->tail = NULL;
}

/* ------------------------------------------------------------------ the wire */

/* Puts something on the wire now; it arrives when its bytes have passed and the delay is over. */
static void wire_send(struct relay *relay, struct flow *flow, enum transit_kind kind, size_t bytes)
{
    struct wire *wire = &relay->wire[flow->dir];
    if (wire->free_ns < relay->now_ns)
        wire->free_ns = relay->now_ns;
    if (relay->options.rate_bits)
        wire->free_ns +=
            (int64_t)((uint64_t)bytes * 8 * (uint64_t)TOOL_NS_PER_S / relay->options.rate_bits);

    struct transit *transit = relay->spare_transits;
    if (transit)
        relay->spare_transits = transit->next;
    else
        transit = tool_alloc(sizeof(*transit));
    *transit = (struct transit){.flow = flow,
                                .arrive_ns = wire->free_ns + relay->options.delay_ns,
                                .kind = kind,
                                .bytes = bytes};
    if (wire->tail)
        wire->tail->next = transit;
    else
        wire->head = transit;
    wire->tail = transit;
    flow->conn->under_way++;
}

/* When the wire takes more: 0 (now) or a moment to come. */
static int64_t wire_wait_until(const struct relay *relay, const struct wire *wire)
{
    if (!relay->options.rate_bits || wire->free_ns - relay->now_ns < WIRE_QUEUE_NS)
        return 0;
    return wire->free_ns - WIRE_QUEUE_NS + 1;
}

#endif
