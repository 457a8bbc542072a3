/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every limit of mailhaul, each with its reason. A limit that a server can reach ends in a protocol
 * error with a text, never in an assertion. No code; any thread.
 */
#ifndef MH_BASE_LIMITS_H
#define MH_BASE_LIMITS_H

/* --- memory ------------------------------------------------------------------------------------ */

/* One slab: large enough for 15 ordinary small messages, small enough that a pinned one is cheap. */
#define MH_SLAB_BYTES           (64u * 1024u)
/* Default of --memory: the friday case stays below half of it. */
#define MH_MEMORY_DEFAULT_BYTES (256ull << 20)
/* Below this no lane can work: two connections and one held message. */
#define MH_MEMORY_MIN_BYTES     (8ull << 20)
/* Messages up to this are held whole before the target sees their first byte, so that a source that
 * dies in mid-message costs nothing at the target; longer ones are cut through. */
#define MH_CUT_THROUGH_BYTES    (256u * 1024u)
/* What one connection may have queued for writing before its writer waits. */
#define MH_CONN_OUTQ_BYTES      (512u * 1024u)
/* Free read space below which a connection starts a new slab: a TLS record is at most 16 KiB. */
#define MH_SLAB_MIN_READ_BYTES  4096u

/* --- tasks -------------------------------------------------------------------------------------- */

/* Stack of one task: an OpenSSL handshake with name resolution offloaded needs about 24 KiB; pages
 * that are never touched cost nothing. */
#define MH_TASK_STACK_BYTES (256u * 1024u)
/* At most this many loops: a TLS relay costs 1.4-1.9 ns/B, so one core carries over 0.5 GB/s. */
#define MH_LOOPS_MAX        4
/* Threads for blocking work (name resolution, file systems) per scheduler. */
#define MH_OFFLOAD_THREADS  4

/* --- IMAP wire: caps against hostile servers ------------------------------------------------------ */

#define MH_IMAP_LINE_MAX_BYTES     (1u << 20)   /* a response outside literals */
#define MH_IMAP_GREETING_MAX_BYTES (8u * 1024u) /* before login we trust less */
#define MH_IMAP_DEPTH_MAX          64           /* parentheses */
#define MH_IMAP_LITERAL_MAX_BYTES  (16u << 20)  /* a literal that is not a message body */
#define MH_FOLDERS_MAX             1000000u     /* folders of one mailbox */
#define MH_KEYWORD_SETS_MAX        65535u       /* distinct keyword combinations in one folder */
#define MH_FOLDER_DEPTH_MAX        128          /* real trees stay below 60 */
#define MH_UID_RANGES_MAX          4000000u /* of one UID set: every second of 8 million messages */

/* --- time ---------------------------------------------------------------------------------------- */

#define MH_TIMEOUT_DEFAULT_MS  (60 * 1000) /* one read that brings nothing */
#define MH_CONNECT_TIMEOUT_MS  (20 * 1000) /* TCP connect to one address */
#define MH_GREETING_TIMEOUT_MS (30 * 1000)

#endif
