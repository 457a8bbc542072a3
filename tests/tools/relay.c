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
#include "relay_wire.h"

#include <assert.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

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

/* This side is reset and read to its end: the reset travels to the other like everything else. */
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
    relay->wire[flow->dir].writes++;
    while (len > 0) {
        struct block *block = flow->head;
        assert(block); /* nobody sends more than the blocks hold */
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

/*
 * The receiver has reset the connection, as a write shows. What it sent before (a BYE, perhaps) is
 * still to be read: the reset goes on when the reading comes to it.
 */
static void flow_lost_receiver(struct relay *relay, struct flow *flow)
{
    struct flow *back = &flow->conn->flow[!flow->dir];
    struct end *end = flow->to;
    end->is_writable = false;
    end->was_reset = end->has_hung_up = end->is_readable = true;
    if (back->has_ended)
        end_is_lost(relay, back);
    else
        flow_wants_turn(relay, back);
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
            flow_lost_receiver(relay, flow);
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
            assert(next < fresh_len);
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
    struct wire *wire = &relay->wire[flow->dir];
    if (wire->held_bytes_max < flow->read_bytes - flow->sent_bytes)
        wire->held_bytes_max = flow->read_bytes - flow->sent_bytes;
    if (got > 0) {
        wire_send(relay, flow, TRANSIT_BYTES, (size_t)got);
        /* A short read means empty, unless the other side hung up: that shows only in the next. */
        if ((size_t)got < asked && !flow->from->has_hung_up)
            flow->from->is_readable = false;
    } else if (got == 0 && !flow->from->was_reset) {
        flow->has_ended = true;
        wire_send(relay, flow, TRANSIT_END, 0);
    } else if (got < 0 && error == EAGAIN) {
        flow->from->is_readable = false;
    } else if (got == 0 || error != EINTR) {
        end_is_lost(relay, flow);
    }
    if (flow->looks_for_text && (got > 0 || flow->has_ended))
        flow_hold_beginning(relay, flow);
}

/* Lets flows put bytes on the wire, in turn. */
static void wire_take_turns(struct relay *relay, struct wire *wire)
{
    for (int turn = 0; turn < READS_PER_TURN && wire->turn_head; turn++) {
        if (wire_wait_until(relay, wire))
            return;
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
    struct end *server = &conn->end[SIDE_SERVER];
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(server->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        tool_die("SO_ERROR: %s", strerror(errno));
    /* A server may accept, speak and reset before we look. */
    server->was_reset = error == ECONNRESET || error == EPIPE;
    if (error && !server->was_reset) {
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
        if (wire->turn_head)
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
    while (!relay->is_stopping) {
        bool is_due = relay_arm(relay);
        int len = epoll_wait(relay->epoll_fd, events, EVENTS_PER_WAIT, is_due ? 0 : -1);
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
        for (int dir = 0; dir < DIR_COUNT; dir++) {
            wire_arrive(relay, &relay->wire[dir]);
            wire_take_turns(relay, &relay->wire[dir]);
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
    relay->quantum_bytes = (size_t)BLOCK_BYTES * (BLOCKS_PER_CALL / 2);
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
    fprintf(stderr,
            "%s: connections=%llu up=%llu down=%llu cuts=%llu stalls=%llu refused=%llu "
            "up-writes=%llu down-writes=%llu up-held-max=%llu down-held-max=%llu\n",
            tool_name, (unsigned long long)relay->accepted,
            (unsigned long long)relay->wire[DIR_UP].delivered_bytes,
            (unsigned long long)relay->wire[DIR_DOWN].delivered_bytes,
            (unsigned long long)relay->cuts, (unsigned long long)relay->stalls,
            (unsigned long long)relay->refused, (unsigned long long)relay->wire[DIR_UP].writes,
            (unsigned long long)relay->wire[DIR_DOWN].writes,
            (unsigned long long)relay->wire[DIR_UP].held_bytes_max,
            (unsigned long long)relay->wire[DIR_DOWN].held_bytes_max);
    while (relay->conns) {
        struct conn *conn = relay->conns;
        assert(!conn->prev);
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
