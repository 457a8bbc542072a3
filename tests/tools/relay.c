/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * mh-relay: a TCP relay that is a wire. It adds latency, limits bandwidth and breaks connections at
 * an exact byte, in user space, because kernels without netem exist.
 *
 * How a byte travels. It is read from its sender when the wire of its direction has room, takes its
 * time on that wire (all connections share it), and arrives one delay later. Since the delay is the
 * same for all, things arrive in the order in which they left: one queue per direction (struct
 * wire) holds what is under way. Arrived bytes are written to the receiver as far as it takes them;
 * what it does not take stays in the buffer of the flow, and a full buffer stops the reading, so a
 * slow receiver is felt by the sender as on a real network. End of stream and reset travel the same
 * way, behind the bytes.
 *
 * Memory: bytes live in blocks of a common pool, a flow holds only as many as its bytes need. A
 * connection is freed when nothing under way points at it any more (conn_bury). One thread, edge-
 * triggered epoll; the pointers in one batch of events stay valid because freeing waits for its
 * end. Never: the relay invents, changes or reorders no byte, and lets none pass beyond a cut.
 */
#include "tool.h"

#include <getopt.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

enum {
    BLOCK_BYTES = 64 * 1024,
    BLOCKS_PER_CALL = 8, /* at most 512 KiB in one readv or sendmsg */
    BLOCKS_KEPT = 256,   /* 16 MiB kept for reuse; more goes back to malloc */
    EVENTS_PER_WAIT = 128,
    READS_PER_TURN = 64,     /* then look at timers and new events again */
    QUANTUM_BYTES_MIN = 1500 /* one packet */
};

#define NEVER            INT64_MAX
#define NO_OFFSET        UINT64_MAX
#define WIRE_QUEUE_NS    (5 * TOOL_NS_PER_MS)    /* how far the wire is filled ahead of now */
#define QUANTUM_NS       (1 * TOOL_NS_PER_MS)    /* one turn of one connection on the wire */
#define HOLD_NS          (200 * TOOL_NS_PER_MS)  /* a half-seen --cut-on text waits this long */
#define CLOSE_NS         (1000 * TOOL_NS_PER_MS) /* patience with a side that is being closed */
#define FLUSH_POLL_NS    (1 * TOOL_NS_PER_MS) /* is everything written on its way, before a reset */
#define BUFFER_SLACK     (1024ULL * 1024)
#define BUFFER_UNLIMITED (32ULL * 1024 * 1024)

/* The two directions; also the indices of conn.end: bytes that go UP were sent by the client. */
enum { DIR_UP, DIR_DOWN, DIR_COUNT };
enum { SIDE_CLIENT, SIDE_SERVER, SIDE_COUNT };
/* Where a fault counts its bytes: one direction or both together. */
enum { SPAN_UP, SPAN_DOWN, SPAN_BOTH, SPAN_COUNT };

struct options {
    const char *listen, *to, *port_file;
    int64_t delay_ns;
    uint64_t rate_bits; /* per second and direction; 0: no limit */
    uint64_t buffer_bytes, chunk_bytes;
    int64_t chunk_gap_ns;
    uint64_t cut_at[SPAN_COUNT], stall_at[SPAN_COUNT];
    uint64_t every_min, every_max, seed; /* every_max 0: no random cuts */
    char *text[DIR_COUNT];               /* owned; --cut-on-up, --cut-on-down */
    size_t text_len[DIR_COUNT];
    uint64_t only_connection; /* 0: any */
    uint64_t skip;
    uint64_t count; /* NO_OFFSET: not given */
    bool is_reset, is_bound_to_parent;
};

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
    uint64_t delivered_bytes;
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

/* ------------------------------------------------------------------ the end of a connection */

static void conn_bury(struct relay *relay, struct conn *conn)
{
    if (conn->state != CONN_DEAD || conn->under_way > 0 || conn->is_buried ||
        conn->flow[DIR_UP].is_queued || conn->flow[DIR_DOWN].is_queued)
        return;
    conn->is_buried = true;
    conn->next_buried = relay->buried;
    relay->buried = conn;
}

static void end_close(struct end *end, bool is_reset)
{
    if (end->fd < 0)
        return;
    if (is_reset)
        tool_set_reset_on_close(end->fd);
    close(end->fd);
    end->fd = -1;
    end->is_readable = end->is_writable = false;
}

static void conn_kill(struct relay *relay, struct conn *conn)
{
    conn->state = CONN_DEAD;
    for (int side = 0; side < SIDE_COUNT; side++)
        end_close(&conn->end[side], conn->is_reset);
    timer_cancel(relay, &conn->timer);
    for (int dir = 0; dir < DIR_COUNT; dir++) {
        timer_cancel(relay, &conn->flow[dir].chunk_timer);
        timer_cancel(relay, &conn->flow[dir].hold_timer);
        flow_drop_blocks(relay, &conn->flow[dir]);
    }
    conn_bury(relay, conn);
}

/* Reads and forgets; true when the other side has nothing more to say. */
static bool end_drain(struct end *end)
{
    char bytes[16 * 1024];
    while (end->fd >= 0) {
        ssize_t got = recv(end->fd, bytes, sizeof(bytes), 0);
        if (got == 0)
            return true;
        if (got < 0)
            return errno != EAGAIN && errno != EINTR;
    }
    return true;
}

/*
 * Has the peer's kernel acknowledged every byte that was written? A reset would discard the rest.
 */
static bool end_is_flushed(const struct end *end)
{
    int queued = 0;
    return end->fd < 0 || ioctl(end->fd, SIOCOUTQ, &queued) != 0 || queued == 0;
}

/*
 * One step of closing. With reset: wait until what was written has left, then reset. Otherwise read
 * on until both sides have closed, since close() on a socket with unread bytes sends RST and the
 * other side would then see a different fault from the one that was ordered.
 */
static void conn_close_step(struct relay *relay, struct conn *conn)
{
    bool is_over = relay->now_ns >= conn->close_by_ns;
    if (conn->is_reset) {
        is_over = is_over || (end_is_flushed(&conn->end[SIDE_CLIENT]) &&
                              end_is_flushed(&conn->end[SIDE_SERVER]));
    } else {
        bool client_is_done = end_drain(&conn->end[SIDE_CLIENT]);
        bool server_is_done = end_drain(&conn->end[SIDE_SERVER]);
        is_over = is_over || (client_is_done && server_is_done);
    }
    if (is_over)
        conn_kill(relay, conn);
    else
        timer_set(relay, &conn->timer,
                  conn->is_reset ? relay->now_ns + FLUSH_POLL_NS : conn->close_by_ns);
}

static void conn_close(struct relay *relay, struct conn *conn, bool is_reset)
{
    conn->state = CONN_CLOSING;
    conn->is_reset = is_reset;
    conn->close_by_ns = relay->now_ns + CLOSE_NS;
    for (int dir = 0; dir < DIR_COUNT; dir++) {
        timer_cancel(relay, &conn->flow[dir].chunk_timer);
        timer_cancel(relay, &conn->flow[dir].hold_timer);
    }
    for (int side = 0; side < SIDE_COUNT && !is_reset; side++)
        if (conn->end[side].fd >= 0)
            shutdown(conn->end[side].fd, SHUT_WR);
    conn_close_step(relay, conn);
}

/* The kernel of this side refused: its reset travels to the other side like everything else. */
static void end_is_lost(struct relay *relay, struct flow *flow_from_it)
{
    end_close(flow_from_it->from, true);
    flow_from_it->has_ended = true;
    wire_send(relay, flow_from_it, TRANSIT_RESET, 0);
}

/* ------------------------------------------------------------------ faults */

static uint64_t conn_sent(const struct conn *conn, int span)
{
    uint64_t up = conn->flow[DIR_UP].sent_bytes, down = conn->flow[DIR_DOWN].sent_bytes;
    return span == SPAN_UP ? up : span == SPAN_DOWN ? down : up + down;
}

static bool claim(uint64_t *left)
{
    if (*left == 0)
        return false;
    if (*left != NO_OFFSET)
        --*left;
    return true;
}

static void conn_cut(struct relay *relay, struct conn *conn, const char *why)
{
    relay->cuts++;
    fprintf(stderr, "%s: connection %llu cut %s, up %llu down %llu\n", tool_name,
            (unsigned long long)conn->number, why,
            (unsigned long long)conn->flow[DIR_UP].sent_bytes,
            (unsigned long long)conn->flow[DIR_DOWN].sent_bytes);
    conn_close(relay, conn, relay->options.is_reset);
}

/*
 * Performs the fault whose place has been reached, if any; true when the connection is no longer
 * open.
 */
static bool conn_meets_fault(struct relay *relay, struct conn *conn)
{
    for (int span = 0; span < SPAN_COUNT; span++) {
        if (conn_sent(conn, span) >= conn->cut_at[span]) {
            conn->cut_at[span] = NO_OFFSET;
            if (claim(conn->is_cut_random ? &relay->random_cuts_left : &relay->cuts_left)) {
                conn_cut(relay, conn, "by count");
                return true;
            }
        }
        if (conn_sent(conn, span) >= conn->stall_at[span]) {
            conn->stall_at[span] = NO_OFFSET;
            if (claim(&relay->stalls_left)) {
                conn->state = CONN_STALLED;
                relay->stalls++;
                return true;
            }
        }
    }
    for (int dir = 0; dir < DIR_COUNT; dir++) {
        const struct flow *flow = &conn->flow[dir];
        if (flow->arrived_bytes > flow->text_at && flow->sent_bytes >= flow->text_at) {
            conn_cut(relay, conn, "by text");
            return true;
        }
    }
    return false;
}

/* Looks for the --cut-on text in bytes just read; they are the flow's last len bytes. */
static void flow_look_for_text(struct relay *relay, struct flow *flow, const unsigned char *bytes,
                               size_t len, uint64_t offset)
{
    const char *text = relay->options.text[flow->dir];
    size_t text_len = relay->options.text_len[flow->dir];
    const size_t *fallback = relay->text_fallback[flow->dir];
    for (size_t i = 0; i < len && flow->text_at == NO_OFFSET; i++) {
        while (flow->text_seen > 0 && (char)bytes[i] != text[flow->text_seen])
            flow->text_seen = fallback[flow->text_seen - 1];
        if ((char)bytes[i] == text[flow->text_seen])
            flow->text_seen++;
        if (flow->text_seen < text_len)
            continue;
        flow->text_seen = fallback[text_len - 1];
        if (relay->skips_left > 0)
            relay->skips_left--;
        else if (claim(&relay->text_cuts_left))
            flow->text_at = offset + i + 1 - text_len;
    }
}

/*
 * The last bytes read may be the beginning of the text: they wait for what follows, but not for
 * ever, because the sender may be waiting for an answer to just these bytes.
 */
static void flow_hold_beginning(struct relay *relay, struct flow *flow)
{
    uint64_t hold_at = flow->text_seen && flow->text_at == NO_OFFSET && !flow->has_ended
                           ? flow->read_bytes - flow->text_seen
                           : NO_OFFSET;
    if (hold_at == flow->hold_at)
        return;
    flow->hold_at = hold_at;
    if (hold_at == NO_OFFSET)
        timer_cancel(relay, &flow->hold_timer);
    else
        timer_set(relay, &flow->hold_timer, relay->now_ns + relay->options.delay_ns + HOLD_NS);
}

/* ------------------------------------------------------------------ bytes out */

/* Up to which offset may be written now? */
static uint64_t flow_limit(const struct flow *flow)
{
    const struct conn *conn = flow->conn;
    uint64_t limit = flow->arrived_bytes;
    if (limit > flow->text_at)
        limit = flow->text_at;
    if (limit > flow->hold_at)
        limit = flow->hold_at;
    for (int span = 0; span < SPAN_COUNT; span++) {
        if (span != flow->dir && span != SPAN_BOTH)
            continue;
        uint64_t other = conn_sent(conn, span) - flow->sent_bytes;
        uint64_t at =
            conn->cut_at[span] < conn->stall_at[span] ? conn->cut_at[span] : conn->stall_at[span];
        if (at != NO_OFFSET && limit > at - other)
            limit = at - other;
    }
    /* A text whose first bytes went out before the rest was seen lies behind us. */
    return limit > flow->sent_bytes ? limit : flow->sent_bytes;
}

/* Forgets len bytes at the front that the receiver's socket has taken. */
static void flow_consume(struct relay *relay, struct flow *flow, size_t len)
{
    flow->sent_bytes += len;
    relay->wire[flow->dir].delivered_bytes += len;
    while (len > 0) {
        struct block *block = flow->head;
        size_t part = block->end - block->start < len ? block->end - block->start : len;
        block->start += part;
        len -= part;
        if (block->start < block->end)
            break;
        flow->head = block->next;
        if (!flow->head)
            flow->tail = NULL;
        block_put(relay, block);
    }
}

/*
 * One sendmsg of at most `most` bytes. Returns what was taken, 0 when the socket is full, -1 when
 * it is lost.
 */
static ssize_t flow_send(struct relay *relay, struct flow *flow, uint64_t most)
{
    struct iovec parts[BLOCKS_PER_CALL];
    struct msghdr message = {.msg_iov = parts};
    uint64_t total = 0;
    for (struct block *block = flow->head; block && total < most; block = block->next) {
        if (message.msg_iovlen == BLOCKS_PER_CALL)
            break;
        size_t len = block->end - block->start;
        if (len > most - total)
            len = (size_t)(most - total);
        parts[message.msg_iovlen++] = (struct iovec){block->data + block->start, len};
        total += len;
    }
    ssize_t sent = sendmsg(flow->to->fd, &message, MSG_NOSIGNAL);
    if (sent >= 0) {
        flow_consume(relay, flow, (size_t)sent);
        return sent;
    }
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN)
        return -1;
    flow->to->is_writable = false;
    return 0;
}

static void flow_wants_turn(struct relay *relay, struct flow *flow);

/* Passes on the end of stream once every byte before it is out. */
static void flow_finish(struct relay *relay, struct flow *flow)
{
    struct conn *conn = flow->conn;
    if (!flow->end_has_arrived || flow->is_shut || flow->sent_bytes != flow->arrived_bytes)
        return;
    flow->is_shut = true;
    shutdown(flow->to->fd, SHUT_WR);
    if (conn->flow[DIR_UP].is_shut && conn->flow[DIR_DOWN].is_shut)
        conn_kill(relay, conn);
}

/* Writes what may be written of one flow. */
static void flow_pump(struct relay *relay, struct flow *flow)
{
    struct conn *conn = flow->conn;
    uint64_t sent_before = flow->sent_bytes;
    if (conn->state != CONN_OPEN || conn_meets_fault(relay, conn))
        return;
    while (flow->to->is_writable && !flow->chunk_timer.slot) {
        uint64_t most = flow_limit(flow) - flow->sent_bytes;
        if (most == 0)
            break;
        if (relay->options.chunk_bytes && most > relay->options.chunk_bytes)
            most = relay->options.chunk_bytes;
        ssize_t sent = flow_send(relay, flow, most);
        if (sent < 0) {
            end_is_lost(relay, &conn->flow[!flow->dir]);
            return;
        }
        /* One nanosecond at least: the next chunk belongs to the next turn of the loop. */
        if (sent > 0 && relay->options.chunk_bytes)
            timer_set(relay, &flow->chunk_timer, relay->now_ns + 1 + relay->options.chunk_gap_ns);
        if (conn_meets_fault(relay, conn))
            return;
    }
    if (flow->to->fd >= 0)
        flow_finish(relay, flow);
    if (flow->sent_bytes != sent_before)
        flow_wants_turn(relay, flow);
}

static void on_chunk_timer(struct relay *relay, void *owner)
{
    flow_pump(relay, owner);
}

static void on_hold_timer(struct relay *relay, void *owner)
{
    struct flow *flow = owner;
    flow->hold_at = NO_OFFSET;
    flow_pump(relay, flow);
}

/* ------------------------------------------------------------------ bytes in */

static uint64_t flow_room(const struct relay *relay, const struct flow *flow)
{
    uint64_t held = flow->read_bytes - flow->sent_bytes;
    return held < relay->options.buffer_bytes ? relay->options.buffer_bytes - held : 0;
}

static bool flow_can_read(const struct relay *relay, const struct flow *flow)
{
    enum conn_state state = flow->conn->state;
    return (state == CONN_ACK || state == CONN_CONNECTING || state == CONN_OPEN) &&
           flow->from->is_readable && !flow->has_ended && flow_room(relay, flow) > 0;
}

static void flow_wants_turn(struct relay *relay, struct flow *flow)
{
    struct wire *wire = &relay->wire[flow->dir];
    if (flow->is_queued || !flow_can_read(relay, flow))
        return;
    flow->is_queued = true;
    flow->queue_next = NULL;
    if (wire->turn_tail)
        wire->turn_tail->queue_next = flow;
    else
        wire->turn_head = flow;
    wire->turn_tail = flow;
}

/* Makes len bytes that a readv put behind the tail part of the flow. */
static void flow_commit(struct relay *relay, struct flow *flow, struct block **fresh,
                        size_t fresh_len, size_t len)
{
    size_t next = 0;
    struct block *block = flow->tail && flow->tail->end < BLOCK_BYTES ? flow->tail : NULL;
    while (len > 0) {
        if (!block) {
            block = fresh[next++];
            if (flow->tail)
                flow->tail->next = block;
            else
                flow->head = block;
            flow->tail = block;
        }
        size_t part = BLOCK_BYTES - block->end < len ? BLOCK_BYTES - block->end : len;
        if (flow->looks_for_text)
            flow_look_for_text(relay, flow, block->data + block->end, part, flow->read_bytes);
        block->end += part;
        flow->read_bytes += part;
        len -= part;
        block = NULL;
    }
    while (next < fresh_len)
        block_put(relay, fresh[next++]);
}

/* One readv of at most a quantum. */
static void flow_read(struct relay *relay, struct flow *flow)
{
    uint64_t room = flow_room(relay, flow);
    size_t want = room < relay->quantum_bytes ? (size_t)room : relay->quantum_bytes;
    struct iovec parts[BLOCKS_PER_CALL + 1];
    struct block *fresh[BLOCKS_PER_CALL];
    int parts_len = 0;
    size_t fresh_len = 0, asked = 0;
    if (flow->tail && flow->tail->end < BLOCK_BYTES) {
        size_t len = BLOCK_BYTES - flow->tail->end;
        asked = len < want ? len : want;
        parts[parts_len++] = (struct iovec){flow->tail->data + flow->tail->end, asked};
    }
    while (asked < want && fresh_len < BLOCKS_PER_CALL) {
        struct block *block = fresh[fresh_len++] = block_get(relay);
        size_t len = want - asked < BLOCK_BYTES ? want - asked : BLOCK_BYTES;
        parts[parts_len++] = (struct iovec){block->data, len};
        asked += len;
    }
    ssize_t got = readv(flow->from->fd, parts, parts_len);
    int error = got < 0 ? errno : 0;
    flow_commit(relay, flow, fresh, fresh_len, got > 0 ? (size_t)got : 0);

    relay->now_ns = tool_now_ns();
    if (got > 0) {
        wire_send(relay, flow, TRANSIT_BYTES, (size_t)got);
        /* A short read means empty, unless the other side hung up: that shows only in the next. */
        if ((size_t)got < asked && !flow->from->has_hung_up)
            flow->from->is_readable = false;
    } else if (got == 0) {
        flow->has_ended = true;
        wire_send(relay, flow, TRANSIT_END, 0);
    } else if (error == EAGAIN) {
        flow->from->is_readable = false;
    } else if (error != EINTR) {
        end_is_lost(relay, flow);
    }
    if (flow->looks_for_text && (got > 0 || flow->has_ended))
        flow_hold_beginning(relay, flow);
}

/* Lets flows put bytes on the wire, in turn. True when there is more to do at once. */
static bool wire_take_turns(struct relay *relay, struct wire *wire)
{
    for (int turn = 0; turn < READS_PER_TURN && wire->turn_head; turn++) {
        if (wire_wait_until(relay, wire))
            return false;
        struct flow *flow = wire->turn_head;
        wire->turn_head = flow->queue_next;
        if (!wire->turn_head)
            wire->turn_tail = NULL;
        flow->is_queued = false;
        if (flow_can_read(relay, flow)) {
            flow_read(relay, flow);
            flow_wants_turn(relay, flow);
        }
        conn_bury(relay, flow->conn);
    }
    return wire->turn_head != NULL;
}

/* Hands over what has reached the far end by now. */
static void wire_arrive(struct relay *relay, struct wire *wire)
{
    while (wire->head && wire->head->arrive_ns <= relay->now_ns) {
        struct transit *transit = wire->head;
        struct flow *flow = transit->flow;
        struct conn *conn = flow->conn;
        wire->head = transit->next;
        if (!wire->head)
            wire->tail = NULL;
        conn->under_way--;
        flow->arrived_bytes += transit->bytes;
        if (transit->kind == TRANSIT_END)
            flow->end_has_arrived = true;
        bool is_reset = transit->kind == TRANSIT_RESET;
        transit->next = relay->spare_transits;
        relay->spare_transits = transit;

        /* Bytes of the same flow that are due as well go out in the same write. */
        bool has_more = wire->head && wire->head->flow == flow &&
                        wire->head->kind == TRANSIT_BYTES && wire->head->arrive_ns <= relay->now_ns;
        if (!has_more)
            flow_pump(relay, flow);
        if (is_reset && (conn->state == CONN_OPEN || conn->state == CONN_CONNECTING))
            conn_close(relay, conn, true);
        conn_bury(relay, conn);
    }
}

/* ------------------------------------------------------------------ connections */

static void end_watch(struct relay *relay, struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = end};
    if (epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, end->fd, &event) != 0)
        tool_die("epoll_ctl: %s", strerror(errno));
}

static void conn_call_server(struct relay *relay, struct conn *conn)
{
    struct end *server = &conn->end[SIDE_SERVER];
    conn->state = CONN_CONNECTING;
    server->fd = socket(relay->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->fd < 0)
        tool_die("socket: %s", strerror(errno));
    tool_set_nodelay(server->fd);
    if (connect(server->fd, (struct sockaddr *)&relay->to, relay->to_len) != 0 &&
        errno != EINPROGRESS) {
        relay->refused++;
        conn_close(relay, conn, true);
        return;
    }
    end_watch(relay, server);
}

static void conn_open(struct relay *relay, struct conn *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(conn->end[SIDE_SERVER].fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error) {
        relay->refused++;
        conn_close(relay, conn, true);
        return;
    }
    conn->state = CONN_OPEN;
    flow_pump(relay, &conn->flow[DIR_UP]);
    flow_wants_turn(relay, &conn->flow[DIR_UP]);
}

static void on_conn_timer(struct relay *relay, void *owner)
{
    struct conn *conn = owner;
    if (conn->state == CONN_SYN) {
        conn->state = CONN_ACK;
        timer_set(relay, &conn->timer, conn->timer.at_ns + relay->options.delay_ns);
        flow_wants_turn(relay, &conn->flow[DIR_UP]);
    } else if (conn->state == CONN_ACK) {
        conn_call_server(relay, conn);
    } else if (conn->state == CONN_CLOSING) {
        conn_close_step(relay, conn);
    }
}

static void conn_set_faults(const struct relay *relay, struct conn *conn)
{
    const struct options *options = &relay->options;
    bool is_meant = options->only_connection == 0 || options->only_connection == conn->number;
    for (int dir = 0; dir < DIR_COUNT; dir++)
        conn->flow[dir].looks_for_text = is_meant && options->text[dir];
    for (int span = 0; span < SPAN_COUNT; span++) {
        conn->cut_at[span] = is_meant ? options->cut_at[span] : NO_OFFSET;
        conn->stall_at[span] = is_meant ? options->stall_at[span] : NO_OFFSET;
    }
    if (is_meant && options->every_max) {
        uint64_t dice = tool_mix(tool_mix(options->seed) ^ conn->number);
        conn->cut_at[SPAN_BOTH] =
            options->every_min + dice % (options->every_max - options->every_min + 1);
        conn->is_cut_random = true;
    }
}

static void conn_new(struct relay *relay, int fd)
{
    struct conn *conn = tool_alloc(sizeof(*conn));
    conn->number = ++relay->accepted;
    conn->timer = (struct timer){.fire = on_conn_timer, .owner = conn};
    for (int side = 0; side < SIDE_COUNT; side++)
        conn->end[side] = (struct end){.fd = -1, .conn = conn};
    for (int dir = 0; dir < DIR_COUNT; dir++) {
        struct flow *flow = &conn->flow[dir];
        flow->conn = conn;
        flow->dir = dir;
        flow->from = &conn->end[dir == DIR_UP ? SIDE_CLIENT : SIDE_SERVER];
        flow->to = &conn->end[dir == DIR_UP ? SIDE_SERVER : SIDE_CLIENT];
        flow->text_at = flow->hold_at = NO_OFFSET;
        flow->chunk_timer = (struct timer){.fire = on_chunk_timer, .owner = flow};
        flow->hold_timer = (struct timer){.fire = on_hold_timer, .owner = flow};
    }
    conn_set_faults(relay, conn);
    conn->next = relay->conns;
    if (conn->next)
        conn->next->prev = conn;
    relay->conns = conn;

    conn->end[SIDE_CLIENT].fd = fd;
    tool_set_nodelay(fd);
    end_watch(relay, &conn->end[SIDE_CLIENT]);
    timer_set(relay, &conn->timer, relay->now_ns + 2 * relay->options.delay_ns);
}

static void conn_free(struct relay *relay, struct conn *conn)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        relay->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    free(conn);
}

static void relay_accept(struct relay *relay)
{
    for (;;) {
        int fd = accept4(relay->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            conn_new(relay, fd);
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR && errno != ECONNABORTED)
            tool_die("accept: %s", strerror(errno));
    }
}

static void end_on_event(struct relay *relay, struct end *end, uint32_t events)
{
    struct conn *conn = end->conn;
    if (end->fd < 0)
        return;
    struct flow *flow_from = &conn->flow[end == &conn->end[SIDE_CLIENT] ? DIR_UP : DIR_DOWN];
    struct flow *flow_to = &conn->flow[!flow_from->dir];
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        end->has_hung_up = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        end->is_readable = true;
    if (events & EPOLLOUT)
        end->is_writable = true;

    /* Its stream had ended already, so no read would show this reset. */
    if ((events & EPOLLERR) && conn->state == CONN_OPEN && flow_from->has_ended) {
        end_is_lost(relay, flow_from);
        return;
    }
    if (conn->state == CONN_CONNECTING && end == &conn->end[SIDE_SERVER])
        conn_open(relay, conn);
    if (conn->state == CONN_CLOSING && !conn->is_reset)
        conn_close_step(relay, conn);
    if (end->is_writable)
        flow_pump(relay, flow_to);
    flow_wants_turn(relay, flow_from);
}

/* ------------------------------------------------------------------ the loop */

static void earlier(int64_t *soonest_ns, int64_t at_ns)
{
    if (at_ns < *soonest_ns)
        *soonest_ns = at_ns;
}

/*
 * Sets the clock for the next thing to come; true when that is due already. A timerfd, since
 * epoll's own timeout is rounded up to milliseconds.
 */
static bool relay_arm(struct relay *relay)
{
    int64_t soonest_ns = relay->heap_len ? relay->heap[0]->at_ns : NEVER;
    for (int dir = 0; dir < DIR_COUNT; dir++) {
        const struct wire *wire = &relay->wire[dir];
        if (wire->head)
            earlier(&soonest_ns, wire->head->arrive_ns);
        if (wire->turn_head && wire_wait_until(relay, wire))
            earlier(&soonest_ns, wire_wait_until(relay, wire));
    }
    if (soonest_ns <= tool_now_ns())
        return true;
    if (soonest_ns == relay->armed_ns)
        return false;
    relay->armed_ns = soonest_ns;
    struct itimerspec when = {{0, 0}, {0, 0}};
    if (soonest_ns != NEVER) {
        when.it_value.tv_sec = soonest_ns / TOOL_NS_PER_S;
        when.it_value.tv_nsec = soonest_ns % TOOL_NS_PER_S;
    }
    if (timerfd_settime(relay->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        tool_die("timerfd_settime: %s", strerror(errno));
    return false;
}

static void relay_dispatch(struct relay *relay, const struct epoll_event *event)
{
    uint64_t ignored = 0;
    if (event->data.ptr == &relay->listen_fd) {
        relay_accept(relay);
    } else if (event->data.ptr == &relay->signal_fd) {
        relay->is_stopping = true;
    } else if (event->data.ptr == &relay->timer_fd) {
        if (read(relay->timer_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
            tool_die("timerfd: %s", strerror(errno));
        relay->armed_ns = -1;
    } else {
        end_on_event(relay, event->data.ptr, event->events);
    }
}

static void relay_run(struct relay *relay)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    bool has_work = false;
    while (!relay->is_stopping) {
        has_work = relay_arm(relay) || has_work;
        int len = epoll_wait(relay->epoll_fd, events, EVENTS_PER_WAIT, has_work ? 0 : -1);
        if (len < 0 && errno != EINTR)
            tool_die("epoll_wait: %s", strerror(errno));
        relay->now_ns = tool_now_ns();
        for (int i = 0; i < len; i++)
            relay_dispatch(relay, &events[i]);

        while (relay->heap_len && relay->heap[0]->at_ns <= relay->now_ns) {
            struct timer *timer = relay->heap[0];
            timer_cancel(relay, timer);
            timer->fire(relay, timer->owner);
        }
        has_work = false;
        for (int dir = 0; dir < DIR_COUNT; dir++) {
            wire_arrive(relay, &relay->wire[dir]);
            if (wire_take_turns(relay, &relay->wire[dir]))
                has_work = true;
            wire_arrive(relay, &relay->wire[dir]);
        }
        while (relay->buried) {
            struct conn *conn = relay->buried;
            relay->buried = conn->next_buried;
            conn_free(relay, conn);
        }
    }
}

/* ------------------------------------------------------------------ start and end */

/*
 * fallback[i]: how long a beginning of the text ends at its byte i, when the match fails behind it.
 */
static size_t *text_fallback_dup(const char *text, size_t len)
{
    size_t *fallback = tool_alloc(len * sizeof(*fallback));
    for (size_t i = 1, seen = 0; i < len; i++) {
        while (seen > 0 && text[i] != text[seen])
            seen = fallback[seen - 1];
        if (text[i] == text[seen])
            seen++;
        fallback[i] = seen;
    }
    return fallback;
}

static int relay_watch(const struct relay *relay, int fd, const int *place)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = (void *)(uintptr_t)place};
    if (fd < 0 || epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        tool_die("cannot watch a descriptor: %s", strerror(errno));
    return fd;
}

static void relay_set_up_signals(struct relay *relay)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
        tool_die("sigprocmask: %s", strerror(errno));
    relay->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    relay_watch(relay, relay->signal_fd, &relay->signal_fd);
    if (relay->options.is_bound_to_parent && prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
        tool_die("prctl: %s", strerror(errno));
}

static void relay_set_up_faults(struct relay *relay)
{
    const struct options *options = &relay->options;
    bool is_counted = options->count != NO_OFFSET;
    uint64_t once = is_counted ? options->count : 1;
    relay->cuts_left = relay->text_cuts_left = relay->stalls_left = once;
    relay->random_cuts_left = options->count; /* not given: without end */
    relay->skips_left = options->skip;
    for (int dir = 0; dir < DIR_COUNT; dir++)
        if (options->text[dir])
            relay->text_fallback[dir] =
                text_fallback_dup(options->text[dir], options->text_len[dir]);
}

/*
 * How much one direction of one connection may hold: what is under way at full rate, and some
 * slack.
 */
static uint64_t buffer_bytes_default(const struct options *options)
{
    if (!options->delay_ns)
        return BUFFER_SLACK;
    if (!options->rate_bits)
        return BUFFER_UNLIMITED;
    uint64_t bytes_per_ms = options->rate_bits / 8000 + 1;
    uint64_t under_way_ms = (uint64_t)((options->delay_ns + WIRE_QUEUE_NS) / TOOL_NS_PER_MS) + 1;
    return bytes_per_ms * under_way_ms + BUFFER_SLACK;
}

static void relay_init(struct relay *relay)
{
    struct options *options = &relay->options;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            tool_die("setrlimit: %s", strerror(errno));
    }
    if (!options->buffer_bytes)
        options->buffer_bytes = buffer_bytes_default(options);
    relay->quantum_bytes = BLOCK_BYTES * (BLOCKS_PER_CALL / 2);
    if (options->rate_bits) {
        uint64_t quantum = options->rate_bits / 8 * QUANTUM_NS / TOOL_NS_PER_S;
        relay->quantum_bytes = quantum < QUANTUM_BYTES_MIN ? QUANTUM_BYTES_MIN
                               : quantum > BLOCK_BYTES     ? BLOCK_BYTES
                                                           : (size_t)quantum;
    }
    relay->to_len = tool_address(options->to, &relay->to);
    relay->armed_ns = NEVER;
    relay->now_ns = tool_now_ns();
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (relay->epoll_fd < 0)
        tool_die("epoll_create1: %s", strerror(errno));
    relay->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    relay_watch(relay, relay->timer_fd, &relay->timer_fd);
    relay_set_up_signals(relay);
    relay_set_up_faults(relay);
    uint16_t port = 0;
    relay->listen_fd = tool_listen(options->listen, &port);
    relay_watch(relay, relay->listen_fd, &relay->listen_fd);
    tool_announce_port(port, options->port_file);
}

static void relay_done(struct relay *relay)
{
    fprintf(stderr, "%s: connections=%llu up=%llu down=%llu cuts=%llu stalls=%llu refused=%llu\n",
            tool_name, (unsigned long long)relay->accepted,
            (unsigned long long)relay->wire[DIR_UP].delivered_bytes,
            (unsigned long long)relay->wire[DIR_DOWN].delivered_bytes,
            (unsigned long long)relay->cuts, (unsigned long long)relay->stalls,
            (unsigned long long)relay->refused);
    while (relay->conns) {
        struct conn *conn = relay->conns;
        conn_kill(relay, conn);
        conn_free(relay, conn);
    }
    for (int dir = 0; dir < DIR_COUNT; dir++) {
        struct transit *next = NULL;
        for (struct transit *at = relay->wire[dir].head; at; at = next) {
            next = at->next;
            free(at);
        }
        free(relay->text_fallback[dir]);
        free(relay->options.text[dir]);
    }
    while (relay->spare_transits) {
        struct transit *next = relay->spare_transits->next;
        free(relay->spare_transits);
        relay->spare_transits = next;
    }
    while (relay->spare_blocks) {
        struct block *next = relay->spare_blocks->next;
        free(relay->spare_blocks);
        relay->spare_blocks = next;
    }
    free(relay->heap);
    close(relay->listen_fd);
    close(relay->timer_fd);
    close(relay->signal_fd);
    close(relay->epoll_fd);
}

/* ------------------------------------------------------------------ the command line */

static const char usage[] =
    "usage: mh-relay --listen ADDRESS:PORT --to ADDRESS:PORT [options]\n"
    "  --port-file FILE             write PORT=n there too\n"
    "  --delay-ms N                 one way; fractions allowed (default 0)\n"
    "  --rate-mbit N                per direction, shared by all connections (default: no limit)\n"
    "  --buffer-kib N               per direction and connection (default: fits delay and rate)\n"
    "  --chunk N                    at most N bytes in one write\n"
    "  --chunk-gap-us N             pause after each such write (default 0)\n"
    "  --cut-after-bytes N[:up|down]    close both sides behind N delivered bytes\n"
    "  --stall-after-bytes N[:up|down]  deliver and read nothing more, but stay connected\n"
    "  --cut-every-bytes MIN-MAX    each connection: cut behind a number of bytes drawn by lot\n"
    "  --seed S                     the lot (default 1)\n"
    "  --cut-on-up TEXT, --cut-on-down TEXT   cut when TEXT is about to be delivered\n"
    "  --cut-connection K           only the Kth connection (default: any)\n"
    "  --skip N                     let N occurrences of TEXT pass first\n"
    "  --count N                    how often (default 1; --cut-every-bytes: without end)\n"
    "  --cut-rst                    cut by RST in place of FIN\n"
    "  --with-parent                end when the parent process ends\n";

enum option_id {
    OPT_LISTEN = 256,
    OPT_TO,
    OPT_PORT_FILE,
    OPT_DELAY,
    OPT_RATE,
    OPT_BUFFER,
    OPT_CHUNK,
    OPT_CHUNK_GAP,
    OPT_CUT_AFTER,
    OPT_STALL_AFTER,
    OPT_CUT_EVERY,
    OPT_SEED,
    OPT_CUT_ON_UP,
    OPT_CUT_ON_DOWN,
    OPT_CUT_CONNECTION,
    OPT_SKIP,
    OPT_COUNT,
    OPT_CUT_RST,
    OPT_WITH_PARENT,
    OPT_HELP
};

static const struct option long_options[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"to", required_argument, NULL, OPT_TO},
    {"port-file", required_argument, NULL, OPT_PORT_FILE},
    {"delay-ms", required_argument, NULL, OPT_DELAY},
    {"rate-mbit", required_argument, NULL, OPT_RATE},
    {"buffer-kib", required_argument, NULL, OPT_BUFFER},
    {"chunk", required_argument, NULL, OPT_CHUNK},
    {"chunk-gap-us", required_argument, NULL, OPT_CHUNK_GAP},
    {"cut-after-bytes", required_argument, NULL, OPT_CUT_AFTER},
    {"stall-after-bytes", required_argument, NULL, OPT_STALL_AFTER},
    {"cut-every-bytes", required_argument, NULL, OPT_CUT_EVERY},
    {"seed", required_argument, NULL, OPT_SEED},
    {"cut-on-up", required_argument, NULL, OPT_CUT_ON_UP},
    {"cut-on-down", required_argument, NULL, OPT_CUT_ON_DOWN},
    {"cut-connection", required_argument, NULL, OPT_CUT_CONNECTION},
    {"skip", required_argument, NULL, OPT_SKIP},
    {"count", required_argument, NULL, OPT_COUNT},
    {"cut-rst", no_argument, NULL, OPT_CUT_RST},
    {"with-parent", no_argument, NULL, OPT_WITH_PARENT},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0}};

/* A decimal with a fraction, times `unit`; at most `most` before that. */
static uint64_t parse_decimal(const char *text, const char *what, double unit, double most)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= most))
        tool_die("%s: '%s' is not a number from 0 to %.0f", what, text, most);
    return (uint64_t)(value * unit + 0.5);
}

/* "N", "N:up" or "N:down". */
static void parse_span(char *text, const char *what, uint64_t at[SPAN_COUNT])
{
    int span = SPAN_BOTH;
    char *colon = strchr(text, ':');
    if (colon) {
        *colon++ = '\0';
        if (strcmp(colon, "up") != 0 && strcmp(colon, "down") != 0)
            tool_die("%s: ':%s' is neither ':up' nor ':down'", what, colon);
        span = strcmp(colon, "up") == 0 ? SPAN_UP : SPAN_DOWN;
    }
    at[span] = tool_number(text, what, 0, NO_OFFSET - 1);
}

static void parse_every(char *text, struct options *options)
{
    char *dash = strchr(text, '-');
    if (!dash)
        tool_die("--cut-every-bytes: '%s' is not MIN-MAX", text);
    *dash++ = '\0';
    options->every_min = tool_number(text, "--cut-every-bytes", 0, INT64_MAX);
    options->every_max = tool_number(dash, "--cut-every-bytes", 1, INT64_MAX);
    if (options->every_min > options->every_max)
        tool_die("--cut-every-bytes: MIN is greater than MAX");
}

static void parse_text(const char *text, struct options *options, int dir)
{
    free(options->text[dir]);
    options->text[dir] = tool_unescape(text, &options->text_len[dir]);
    if (!options->text_len[dir])
        tool_die("an empty text is about to pass all the time: give one byte at least");
}

static void parse_fault_option(int id, char *text, struct options *options)
{
    switch (id) {
    case OPT_CUT_AFTER:
        parse_span(text, "--cut-after-bytes", options->cut_at);
        break;
    case OPT_STALL_AFTER:
        parse_span(text, "--stall-after-bytes", options->stall_at);
        break;
    case OPT_CUT_EVERY:
        parse_every(text, options);
        break;
    case OPT_SEED:
        options->seed = tool_number(text, "--seed", 0, UINT64_MAX);
        break;
    case OPT_CUT_ON_UP:
        parse_text(text, options, DIR_UP);
        break;
    case OPT_CUT_ON_DOWN:
        parse_text(text, options, DIR_DOWN);
        break;
    case OPT_CUT_CONNECTION:
        options->only_connection = tool_number(text, "--cut-connection", 1, UINT64_MAX);
        break;
    case OPT_SKIP:
        options->skip = tool_number(text, "--skip", 0, NO_OFFSET - 1);
        break;
    case OPT_COUNT:
        options->count = tool_number(text, "--count", 0, NO_OFFSET - 1);
        break;
    case OPT_CUT_RST:
        options->is_reset = true;
        break;
    case OPT_HELP:
        fputs(usage, stdout);
        exit(TOOL_EXIT_OK);
    default:
        fputs(usage, stderr);
        exit(TOOL_EXIT_USAGE);
    }
}

static void parse_option(int id, char *text, struct options *options)
{
    switch (id) {
    case OPT_LISTEN:
        options->listen = text;
        break;
    case OPT_TO:
        options->to = text;
        break;
    case OPT_PORT_FILE:
        options->port_file = text;
        break;
    case OPT_DELAY:
        options->delay_ns = (int64_t)parse_decimal(text, "--delay-ms", TOOL_NS_PER_MS, 60000);
        break;
    case OPT_RATE:
        options->rate_bits = parse_decimal(text, "--rate-mbit", 1e6, 100000);
        if (options->rate_bits < 8000)
            tool_die("--rate-mbit: at least 0.008 (1000 bytes a second)");
        break;
    case OPT_BUFFER:
        options->buffer_bytes = tool_number(text, "--buffer-kib", 1, 1 << 22) * 1024;
        break;
    case OPT_CHUNK:
        options->chunk_bytes = tool_number(text, "--chunk", 1, UINT32_MAX);
        break;
    case OPT_CHUNK_GAP:
        options->chunk_gap_ns = (int64_t)tool_number(text, "--chunk-gap-us", 0, 60000000) * 1000;
        break;
    case OPT_WITH_PARENT:
        options->is_bound_to_parent = true;
        break;
    default:
        parse_fault_option(id, text, options);
        break;
    }
}

static void parse_options(int argc, char **argv, struct options *options)
{
    *options = (struct options){.seed = 1, .count = NO_OFFSET};
    for (int span = 0; span < SPAN_COUNT; span++)
        options->cut_at[span] = options->stall_at[span] = NO_OFFSET;
    int id = 0;
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        parse_option(id, optarg, options);
    if (optind != argc || !options->listen || !options->to) {
        fputs(usage, stderr);
        exit(TOOL_EXIT_USAGE);
    }
    if (options->every_max && options->cut_at[SPAN_BOTH] != NO_OFFSET)
        tool_die("--cut-every-bytes and --cut-after-bytes without a direction exclude each other");
    if (options->chunk_gap_ns && !options->chunk_bytes)
        tool_die("--chunk-gap-us needs --chunk");
}

int main(int argc, char **argv)
{
    static struct relay relay;
    tool_name = "mh-relay";
    parse_options(argc, argv, &relay.options);
    relay_init(&relay);
    relay_run(&relay);
    relay_done(&relay);
    return TOOL_EXIT_OK;
}
