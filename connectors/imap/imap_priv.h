/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the IMAP connector: one session, its command pipeline, and the pure parts (capabilities,
 * names, refusals, SASL) that the rest is made of.
 *
 * A session is one connection and one reader task. Any task may send commands; several are in
 * flight at once, in the order in which they were written. The reader task reads while an answer is
 * due, and gives untagged data to the oldest command that wants it, tagged answers to their
 * command. During a fetch the fetching task itself reads, so that a sink waits in the task that it
 * belongs to; nothing else is read meanwhile, which is the back-pressure.
 *
 * Ownership: a struct imap_cmd belongs to who started it until imap_cmd_done(); its memory is used
 * again by later commands. Threads: the session's loop only. Never: a wait in a handler (they run
 * where responses are read), a copy of message bytes.
 */
#ifndef MH_CONNECTORS_IMAP_IMAP_PRIV_H
#define MH_CONNECTORS_IMAP_IMAP_PRIV_H

#include "base/task.h"
#include "connectors/imap/imap.h"
#include "net/conn.h"
#include "wire/cmd.h"
#include "wire/resp.h"

/* --- limits ----------------------------------------------------------------------------------- */

/* One UID FETCH asks for at most this much, and two are in flight: at 40 ms and 1 Gbit/s some 5 MB
 * are on their way, so the server never waits for us. */
#define IMAP_FETCH_CHUNK_MESSAGES 512
#define IMAP_FETCH_CHUNK_BYTES    (8ull << 20)
/* Commands of a fetch in flight when each asks for one small message. */
#define IMAP_FETCH_WINDOW         32
/* A fetch that its user ended lets this much of what was asked for run out (the two commands that
 * are ordinarily in flight); above it a new connection is cheaper. */
#define IMAP_FETCH_DRAIN_BYTES    (2 * IMAP_FETCH_CHUNK_BYTES)
/* Ranges in a UID set: servers take lines of 8 KiB at least (RFC 7162 section 4), a range is at
 * most 22 characters. */
#define IMAP_UID_RANGES_MAX       340
/* STATUS and STORE commands in flight. */
#define IMAP_WINDOW               50
/* So many messages, or so many neighbouring UIDs, are asked about in one command where the answer is one
 * line (VANISHED, SEARCH): at 22 characters for a range it stays below MH_IMAP_LINE_MAX_BYTES. */
#define IMAP_UIDS_PER_LINE        40000
/* That many such commands for one folder; beyond (UIDs with large gaps) each asks about more of them. */
#define IMAP_UID_LINES_MAX        500
/* Messages of one UID MOVE or UID COPY: the server may be silent until it has done them all, which has
 * to be within the time-out. */
#define IMAP_MOVE_CHUNK           1000
/* Where the server says that others removed some of the messages meanwhile: how often it is asked again. */
#define IMAP_MOVE_TRIES           3
/* IDLE is ended and begun anew: servers may log out who is silent for 30 minutes (RFC 9051 section
 * 5.4). */
#define IMAP_IDLE_RENEW_MS        (28ll * 60 * 1000)
/* A server that ends IDLE of itself, sooner than this and so often in a row, has none. */
#define IMAP_IDLE_SHORT_MS        1000
#define IMAP_IDLE_SHORT_MAX       3
/* A folder that was selected this short a time ago is not selected again: its numbers still hold.
 */
#define IMAP_SELECT_FRESH_MS      2000
/* How long the reader may look for a BYE behind a write that failed. */
#define IMAP_LAST_WORDS_MS        1000
/* Namespaces of one server: real ones have three. */
#define IMAP_NAMESPACES_MAX       64
/* Challenges of one SASL exchange. */
#define IMAP_SASL_STEPS_MAX       8
/* SCRAM iterations: RFC 7677 asks for 4096 at least; above a million a server burns our processor.
 */
#define IMAP_SCRAM_ITERATIONS_MIN 4096
#define IMAP_SCRAM_ITERATIONS_MAX 1000000
/* The longest that we wait because a server says so. */
#define IMAP_BACKOFF_MAX_MS       (24ll * 3600 * 1000)
/* Asked of GETMETADATA (RFC 5464 MAXSIZE): colours, comments and filters are far smaller. */
#define IMAP_METADATA_MAX_BYTES   (1u << 20)
/* The annotations, or the rights, of one folder together, and how many: a server may send them
 * without end. */
#define IMAP_AROUND_MAX_BYTES     (4u << 20)
#define IMAP_AROUND_MAX           4096
/* A command whose answer is due and that brings neither messages nor list for this many time-outs is
 * given up, whatever else the server talks about meanwhile: an hour by default. */
#define IMAP_TALK_TIMEOUTS        60

/* --- capabilities (caps.c) -------------------------------------------------------------------- */

enum imap_cap {
    IMAP_CAP_IMAP4REV1,
    IMAP_CAP_IMAP4REV2,
    IMAP_CAP_STARTTLS,
    IMAP_CAP_LOGINDISABLED,
    IMAP_CAP_SASL_IR,
    IMAP_CAP_LITERAL_PLUS,
    IMAP_CAP_LITERAL_MINUS,
    IMAP_CAP_ID,
    IMAP_CAP_ENABLE,
    IMAP_CAP_NAMESPACE,
    IMAP_CAP_UIDPLUS,
    IMAP_CAP_MULTIAPPEND,
    IMAP_CAP_CONDSTORE,
    IMAP_CAP_QRESYNC,
    IMAP_CAP_LIST_EXTENDED,
    IMAP_CAP_LIST_STATUS,
    IMAP_CAP_LIST_METADATA,
    IMAP_CAP_STATUS_SIZE,
    IMAP_CAP_SPECIAL_USE,
    IMAP_CAP_CREATE_SPECIAL_USE,
    IMAP_CAP_ACL,
    IMAP_CAP_METADATA,
    IMAP_CAP_QUOTA,
    IMAP_CAP_COMPRESS,
    IMAP_CAP_UTF8_ACCEPT,
    IMAP_CAP_OBJECTID,
    IMAP_CAP_X_GM_EXT_1,
    IMAP_CAP_ESEARCH,
    IMAP_CAP_APPENDLIMIT, /* without a value: each folder has its own (RFC 7889) */
    IMAP_CAP_MOVE,
    IMAP_CAP_IDLE,
    IMAP_CAP_NOTIFY,
    IMAP_CAP_UNSELECT,
    IMAP_CAP_AUTH_PLAIN,
    IMAP_CAP_AUTH_SCRAM_SHA_1,
    IMAP_CAP_AUTH_SCRAM_SHA_256,
    IMAP_CAP_AUTH_XOAUTH2,
    IMAP_CAP_AUTH_OAUTHBEARER,
    IMAP_CAP_COUNT
};

struct imap_capset {
    uint64_t bits;         /* 1 << enum imap_cap */
    uint64_t append_limit; /* for all folders; 0 none */
    bool is_known;         /* the server has said something */
    char text[512];        /* the tokens, blank-separated, printable; cut between two of them */
};

void imap_capset_reset(struct imap_capset *c);
/* One token of a CAPABILITY answer. */
void imap_capset_add(struct imap_capset *c, const char *token, size_t len);
/* Blank-separated tokens. */
void imap_capset_add_all(struct imap_capset *c, const char *tokens, size_t len);
/* Behind the last token: what IMAP4rev2 implies. */
void imap_capset_finish(struct imap_capset *c);
static inline bool imap_has(const struct imap_capset *c, enum imap_cap cap)
{
    return (c->bits >> cap & 1) != 0;
}

/* --- refusals (refuse.c) ---------------------------------------------------------------------- */

/* What a NO, BAD or BYE means for what to do next: by its response code (RFC 5530), else by
 * well-known texts. CODE: MH_ELATER, MH_EITEM (this one thing is refused), MH_EAUTH, MH_EEXIST,
 * MH_ENOENT. */
struct imap_refusal {
    int code;
    const char *reason; /* static slug; never NULL */
    int64_t retry_after_ms;
};

struct imap_refusal imap_refusal_of(const char *code, size_t code_len, const char *text,
                                    size_t text_len);
/* True if CODE's first word is NAME. */
bool imap_code_is(const char *code, size_t code_len, const char *name);
/* What follows the first word of CODE; *LEN_OUT its length. */
const char *imap_code_args(const char *code, size_t code_len, size_t *len_out);

/* --- names (names.c) -------------------------------------------------------------------------- */

/* How far a name is made to fit. */
enum imap_name_level {
    IMAP_NAME_AS_IS,  /* only what this kind of server is known to refuse is escaped */
    IMAP_NAME_STRICT, /* everything but letters, digits, blanks, '-' and '_' */
    IMAP_NAME_SHORT,  /* that, without '%', in 200 bytes */
    IMAP_NAME_LEVELS
};

/* What a server's names are like. */
struct imap_names {
    char separator;   /* 0: flat */
    char prefix[256]; /* of the personal namespace, on the wire: "INBOX."; "" none */
    bool utf8;        /* names are UTF-8 on the wire (UTF8=ACCEPT enabled, or IMAP4rev2 alone) */
    enum imap_family { IMAP_ANY, IMAP_DOVECOT, IMAP_CYRUS, IMAP_COURIER, IMAP_EXCHANGE } family;
};

/* NATIVE, whose separator is SEPARATOR, as canonical path. STRIP: it is in the personal namespace,
 * whose prefix goes. False: the name has no path (empty). */
bool imap_name_to_path(const struct imap_names *n, char separator, bool strip, const char *native,
                       size_t len, struct mh_buf *path);
/* PATH as the server's own name. */
void imap_name_from_path(const struct imap_names *n, const char *path, enum imap_name_level level,
                         struct mh_buf *native);
/* One more component, given as raw bytes, behind a separator. */
void imap_name_add_part(const struct imap_names *n, const char *raw, size_t len,
                        enum imap_name_level level, struct mh_buf *native);
/* True if NATIVE is below the personal prefix (or there is none), or the INBOX. */
bool imap_name_is_personal(const struct imap_names *n, const char *native, size_t len);
/* Which software this is, from its ID or greeting. */
enum imap_family imap_family_of(const char *server_name);
bool imap_is_inbox(const char *native, size_t len);

/* --- SASL (sasl.c, scram.c) ------------------------------------------------------------------- */

enum imap_mech {
    IMAP_MECH_SCRAM_SHA_256,
    IMAP_MECH_SCRAM_SHA_1,
    IMAP_MECH_PLAIN,
    IMAP_MECH_XOAUTH2,
    IMAP_MECH_OAUTHBEARER,
    IMAP_MECH_LOGIN, /* the LOGIN command: no SASL */
};

#define IMAP_SCRAM_HASH_MAX 32

/* SCRAM (RFC 5802, RFC 7677), the client's side, without channel binding. Nothing here waits but
 * imap_scram_final(), whose key derivation runs in a worker thread. */
struct imap_scram {
    bool sha256;
    char
        nonce[40]; /* ours, printable; set by imap_scram_first() unless it is set already (tests) */
    struct mh_buf bare;                                  /* client-first-message-bare */
    struct mh_buf gs2;                                   /* gs2-header */
    unsigned char server_signature[IMAP_SCRAM_HASH_MAX]; /* what the server has to send */
    bool has_signature;
    bool is_verified;
};

/* NAME as saslname: ',' and '=' are escaped (RFC 5802 section 5.1). */
void imap_saslname_add(struct mh_buf *b, const char *name);
void imap_scram_init(struct imap_scram *c, bool sha256);
void imap_scram_done(struct imap_scram *c);
/* client-first-message into OUT. AUTHZID "" for none. */
int imap_scram_first(struct imap_scram *c, const char *authcid, const char *authzid,
                     struct mh_buf *out, struct mh_err *err) MH_MUST_CHECK;
/* From server-first-message CHALLENGE: client-final-message into OUT. Passwords are not put through
 * SASLprep: ASCII ones are the same with it, others are sent as the UTF-8 that was given. waits */
int imap_scram_final(struct imap_scram *c, const char *challenge, size_t len,
                     const struct mh_buf *password, struct mh_buf *out,
                     struct mh_err *err) MH_MUST_CHECK;
/* server-final-message: MH_EAUTH unless the server has proved that it knows the password too. */
int imap_scram_verify(struct imap_scram *c, const char *challenge, size_t len,
                      struct mh_err *err) MH_MUST_CHECK;

/* One exchange. The strings are borrowed. */
struct imap_sasl {
    enum imap_mech mech;
    const char *authcid, *authzid; /* AUTHZID "" for none */
    const char *host;
    uint16_t port;
    const struct mh_buf *secret;
    unsigned step;
    struct imap_scram scram;
    char oauth_status[32]; /* an OAuth server's word for what it has against the token; "" none */
};

const char *imap_mech_name(enum imap_mech mech);
void imap_sasl_init(struct imap_sasl *x, enum imap_mech mech);
void imap_sasl_done(struct imap_sasl *x);
/* The next message of ours (not yet base64) into OUT, which is reset; step 0 takes no challenge.
 * waits */
int imap_sasl_step(struct imap_sasl *x, const char *challenge, size_t len, struct mh_buf *out,
                   struct mh_err *err) MH_MUST_CHECK;
/* MH_EAUTH when the server says OK before it has proved what it has to. */
int imap_sasl_finish(const struct imap_sasl *x, struct mh_err *err) MH_MUST_CHECK;

/* --- commands (session.c) --------------------------------------------------------------------- */

struct imap_cmd {
    struct imap_cmd *next; /* in the session's list of what is in flight, or of spare ones */
    char tag[16];
    struct mh_cmd text;
    /* Untagged data, in the order of the commands: true takes it. Must not wait. May fail the
     * command by `rc` and `err`. NULL: wants nothing. */
    bool (*untagged)(struct imap_cmd *cmd, const struct mh_resp_event *ev);
    /* The answer, for commands that nobody waits for; EV NULL: the connection died. Must not wait.
     * Whoever set it calls imap_cmd_done(), here or later. */
    void (*answered)(struct imap_cmd *cmd, const struct mh_resp_event *ev);
    struct mh_session *s; /* borrowed */
    void *ctx;            /* borrowed: the starter's */
    unsigned index;       /* the starter's */
    bool is_sent;         /* all of it was written: the answer is due */
    bool is_answered;
    bool is_abandoned; /* nobody waits any more */
    bool in_flight;
    enum mh_status status;
    char code[256];
    char reply[256];
    int rc; /* a handler's failure */
    struct mh_err err;
    struct mh_waitq waiters;
};

/* `A7 NAME`; add the arguments to (*OUT)->text. Ends with imap_cmd_done(). */
int imap_cmd_start(struct mh_session *s, const char *name, struct imap_cmd **out,
                   struct mh_err *err) MH_MUST_CHECK;
/* Ends the line and sends it. Waits for `+` where a literal needs it, so that an answer may be
 * there already. On failure nothing is in flight. waits */
int imap_cmd_send(struct imap_cmd *cmd, struct mh_err *err) MH_MUST_CHECK;
/* waits: for the tagged answer. 0 whatever it says; see CMD->status. */
int imap_cmd_wait(struct imap_cmd *cmd, struct mh_err *err) MH_MUST_CHECK;
/* NULL is allowed. A command that is still in flight is finished by itself, its data ignored. */
void imap_cmd_done(struct imap_cmd *cmd);
/* Send, wait, and unless the answer is OK imap_cmd_refused(FALLBACK). waits */
int imap_cmd_run(struct imap_cmd *cmd, int fallback, struct mh_err *err) MH_MUST_CHECK;
/* A NO or BAD as an error: MH_ELATER when the server asks to wait, else FALLBACK. */
int imap_cmd_refused(const struct imap_cmd *cmd, int fallback, struct mh_err *err);
/* ERR from any refusal; the text names WHAT was refused. */
int imap_refused(int code, const char *what, const char *resp_code, size_t resp_code_len,
                 const char *text, size_t text_len, struct mh_err *err);

/* --- the session ------------------------------------------------------------------------------ */

enum imap_ns_kind { IMAP_NS_PERSONAL, IMAP_NS_OTHER, IMAP_NS_SHARED };
struct imap_namespace {
    char prefix[256];
    char separator;
    enum imap_ns_kind kind;
};

/* Where `+` goes. */
struct imap_continuation {
    bool is_wanted;
    bool is_there;
    struct mh_buf text;
    struct mh_waitq waiters;
};

/* How the server has the folder open. */
enum imap_access {
    IMAP_ACCESS_NONE, /* not any more: opening it in another way failed */
    IMAP_ACCESS_READ, /* EXAMINE */
    IMAP_ACCESS_WRITE /* SELECT */
};

/* The folder that is selected. */
struct imap_selected {
    char *native;       /* owned; NULL none */
    bool has_no_modseq; /* NOMODSEQ (RFC 7162 section 3.1.2.2): MODSEQ must not be asked for */
    bool for_write;     /* what was asked for; ACCESS may differ for the time of a fetch */
    enum imap_access access;
    int64_t at_ms;
    bool was_used; /* scanned, or selected again without asking: others may have changed it since */
    bool has_changed; /* messages came or went that we know of */
    struct mh_opened opened;
};

struct imap_fetching; /* fetch.c */
struct imap_batch;    /* append.c */

/* A message that the server would not let in: its bytes go nowhere, its verdict comes behind its
 * end. */
struct imap_swallowed {
    struct mh_append_sink *sink; /* borrowed */
    uint64_t cookie;
    struct mh_err why;
};

/* How long a message the folder takes, where each has its own limit. */
struct imap_folder_limit {
    bool was_asked;
    bool is_known;
    uint64_t bytes; /* 0: no message at all (RFC 7889 section 3) */
};

/* What append_*() keeps. */
struct imap_append {
    struct mh_append_sink *sink; /* borrowed */
    char *native;                /* owned */
    struct imap_folder_limit limit;
    struct imap_batch *open;  /* owned: the command that is being written, or NULL */
    struct imap_batch *spare; /* owned: for later batches */
    unsigned due;             /* batches that are not finished */
    bool in_message;
    bool is_single;       /* the message ends its command */
    bool is_swallowing;   /* it is `swallowed` */
    uint64_t left;        /* octets of it that are to come */
    struct mh_task *task; /* borrowed: who is inside of it */
    struct imap_swallowed swallowed;
    bool must_create; /* the server said [TRYCREATE] */
    bool has_created;
    struct mh_waitq flushed;
    struct mh_buf flags; /* of the message that begins */
};

/* What watch() keeps from one call to the next. */
struct imap_watch {
    bool is_armed; /* what comes in unasked is looked at */
    bool notifies; /* NOTIFY is in force: of all folders; else of the INBOX while it is selected */
    bool has_changed;      /* since it was told last */
    struct imap_cmd *idle; /* borrowed: the IDLE under way, or NULL */
    unsigned short_idles;  /* in a row */
    int64_t renew_ms;      /* IMAP_IDLE_RENEW_MS; tests have less time */
    /* the INBOX as it was left */
    uint32_t uidvalidity;
    uint64_t uidnext, messages, highestmodseq;
};

/* What was seen and not used: for the debug log. */
struct imap_counters {
    uint64_t ignored_data;   /* untagged data that nothing asked for */
    uint64_t ignored_bodies; /* bodies for messages that were not asked for, or sent twice */
    uint64_t ignored_plus;
    uint64_t dropped_names; /* folders that have no path */
    uint64_t dropped_keywords;
    unsigned round_trips; /* of the login */
};

struct mh_session {
    struct mh_env env;
    struct mh_log log;
    char *host;           /* owned: the log's name */
    struct mh_conn *conn; /* owned; NULL once dead */
    struct mh_resp *resp; /* owned */
    struct mh_task *reader;

    /* dead: every later call says why */
    bool is_dead;
    bool death_was_told;
    struct mh_err death;
    struct mh_waitq death_watch;

    /* reading */
    bool wants_greeting;
    bool is_reading;        /* the reader task is between read and dispatch */
    bool stops_reading;     /* the next tagged answer must be the last byte (STARTTLS, COMPRESS) */
    bool fetch_reads;       /* the fetching task does it */
    struct mh_slice handed; /* what the reader task had read when a fetch began */
    struct mh_waitq work;   /* the reader, when no answer is due */
    struct mh_waitq reader_idle;
    struct mh_buf trace; /* a response's text, only with --trace */

    /* writing */
    bool wire_held; /* somebody is writing a command */
    struct mh_waitq wire;
    bool hides_plus; /* the trace shows no challenges */

    /* commands */
    unsigned last_tag;
    struct imap_cmd *first, *last; /* in flight */
    struct imap_cmd *spare;
    struct imap_continuation plus;

    /* what the server is */
    enum mh_status greeting_status;
    char greeting_text[128];
    struct imap_capset capset;
    bool is_logged_in;
    bool is_compressed;
    bool utf8_enabled;
    bool asks_vanished; /* QRESYNC is on: the server can be asked for what is gone */
    struct imap_names names;
    struct imap_namespace namespaces[IMAP_NAMESPACES_MAX];
    unsigned n_namespaces;
    char id_name[64];
    int64_t round_trip_ms; /* of the questions behind the login */
    struct mh_caps caps;
    uint64_t max_message; /* the endpoint's own limit; 0 none */

    struct imap_selected selected;
    bool asks_uidnext;           /* SELECT does not tell it */
    struct imap_fetching *fetch; /* borrowed: while a fetch runs */
    unsigned char *fetch_states; /* owned: a byte per item, kept for the next fetch */
    size_t fetch_states_cap;
    struct imap_append append;
    struct imap_watch watch;
    struct imap_counters counters;
    bool was_useful; /* since then the server has sent what was asked for, or taken what we sent */
    int64_t useful_ms; /* mh_now_ms() of the read before that */
};

/* Connection, reader, greeting; not logged in. waits */
int imap_session_open(const struct mh_endpoint *ep, const struct mh_env *env,
                      struct mh_session **out, struct mh_err *err) MH_MUST_CHECK;
void imap_session_close(struct mh_session *s);
/* The connection is of no use any more: ERR goes to everything that is in flight. Copies ERR. */
void imap_session_fail(struct mh_session *s, const struct mh_err *err);
/* 0, or why the session is dead. MH_ELATER is said once; from then on it is MH_ERETRY. */
int imap_session_check(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;

/* Reads once and handles what came, in the calling task. waits */
int imap_session_read(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;
/* The calling task reads from now on, until the matching end. waits */
int imap_session_read_begin(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;
void imap_session_read_end(struct mh_session *s);

/* The right to write. waits */
int imap_wire_take(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;
/* The right to write a whole command: a batch of appends that is open is cut first. waits */
int imap_wire_lock(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;
void imap_wire_unlock(struct mh_session *s);
/* Writes with the wire held; a failure kills the session. waits */
int imap_write(struct mh_session *s, const char *text, size_t len,
               struct mh_err *err) MH_MUST_CHECK;
/* TEXT and, behind it, SECRET and a line end. waits */
int imap_write_secret(struct mh_session *s, const char *text, const struct mh_buf *secret,
                      struct mh_err *err) MH_MUST_CHECK;
/* The same for a slice of a message. waits */
int imap_write_slice(struct mh_session *s, struct mh_slice slice_take,
                     struct mh_err *err) MH_MUST_CHECK;
/* waits: for `+` (its text is in s->plus.text then) or CMD's answer instead. */
int imap_wait_plus(struct mh_session *s, struct imap_cmd *cmd, bool *plus_out,
                   struct mh_err *err) MH_MUST_CHECK;
/* CMD's text with a wait behind each literal that has to be allowed. *ALL_OUT false: an answer came
 * instead. waits */
int imap_cmd_write(struct imap_cmd *cmd, bool *all_out, struct mh_err *err) MH_MUST_CHECK;
/* Puts CMD in flight and lets the reader read. */
void imap_cmd_launch(struct imap_cmd *cmd);

/* The next node's index behind node I's subtree is vals[i].next. The top-level value number N; NULL
 * if there are fewer. */
const struct mh_val *imap_val(const struct mh_resp_event *ev, unsigned n);
/* The text of an atom, string or NIL ("NIL" as atom has none). */
bool imap_val_is(const struct mh_val *v, const char *keyword);
enum mh_literal_mode imap_literal_mode(const struct mh_session *s);

/* trace.c: what comes in, for --trace; what goes out is traced by the connection. */
struct imap_trace_mark {
    struct mh_slab *slab; /* one reference, only with --trace */
    uint32_t off, len;
};
void imap_trace_before(struct mh_session *s, const struct mh_slice *in,
                       struct imap_trace_mark *mark);
/* EV NULL: the reader failed. */
void imap_trace_after(struct mh_session *s, const struct mh_resp_event *ev,
                      const struct mh_slice *in, struct imap_trace_mark *mark);

/* --- the parts -------------------------------------------------------------------------------- */

/* login.c: STARTTLS, authentication, and what is asked behind it. waits */
int imap_login(struct mh_session *s, const struct mh_endpoint *ep, const struct mh_buf *secret,
               struct mh_err *err) MH_MUST_CHECK;
/* sets s->caps */
void imap_caps_fill(struct mh_session *s);

/* fetch.c: what the dispatcher gives to a fetch, in the fetching task. Each may wait. */
void imap_fetch_body(struct mh_session *s, struct mh_resp_event *ev);
/* False: the FETCH response is not a fetch's. */
bool imap_fetch_item(struct mh_session *s, const struct mh_resp_event *ev);
/* A command was answered: perhaps one of the fetch's. */
void imap_fetch_answered(struct mh_session *s);
/* select.c: a folder that is being opened. */
struct imap_opening {
    struct mh_session *s; /* borrowed */
    char *native;         /* owned */
    bool for_write;
    struct imap_cmd *status; /* in front of the other, or NULL */
    struct imap_cmd *cmd;    /* SELECT or EXAMINE */
    bool is_open; /* it is answered: what the server tells from now on is of this folder */
    struct mh_opened at_open; /* as it was then; s->selected.opened goes with the time */
    bool has_permanent;
    bool has_no_modseq;
    uint64_t uidnext; /* from STATUS */
    struct mh_buf flags;
};
/* Sends SELECT or EXAMINE and does not wait, so that more commands may follow at once; nothing is selected
 * until imap_open_end(). On failure nothing is left to end. waits */
int imap_open_begin(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                    struct imap_opening *o, struct mh_err *err) MH_MUST_CHECK;
/* The answer. O is of no more use but for what it says. waits */
int imap_open_end(struct imap_opening *o, const struct mh_folder *folder,
                  struct mh_err *err) MH_MUST_CHECK;
/* ` (UID FLAGS …)`: what is asked about each message. */
void imap_add_scan_items(const struct mh_session *s, struct mh_cmd *c);
/* What F says of its message, keywords interned into KWSETS; SCRATCH is overwritten. */
int imap_item_of(const struct mh_fetch *f, struct mh_kwsets *kwsets, struct mh_buf *scratch,
                 struct mh_item *out, struct mh_err *err) MH_MUST_CHECK;
/* select.c: opens the selected folder again unless the server has it open as WANTED (NONE: in any
 * way). MH_EFOLDER when it is not the same folder any more. waits */
int imap_reopen(struct mh_session *s, enum imap_access wanted, struct mh_err *err) MH_MUST_CHECK;
/* append.c */
struct imap_appenduid {
    uint32_t uidvalidity;
    const char *set; /* borrowed: the code's text */
    size_t set_len;
};
/* The arguments of an APPENDUID code; false unless they name N UIDs. */
bool imap_appenduid_parse(const char *args, size_t len, size_t n, struct imap_appenduid *out);
int imap_append_cut_open(struct mh_session *s, struct mh_err *err) MH_MUST_CHECK;
void imap_append_free(struct mh_session *s);
/* watch.c: data that no command asked for; MESSAGES_BEFORE: how many the selected folder had. */
void imap_watch_note(struct mh_session *s, const struct mh_resp_event *ev,
                     uint64_t messages_before);
/* folders.c */
int imap_namespace_start(struct mh_session *s, struct imap_cmd **out,
                         struct mh_err *err) MH_MUST_CHECK;
/* CREATE and nothing else; exists already: 0. waits */
int imap_folder_make(struct mh_session *s, const char *native, struct mh_err *err) MH_MUST_CHECK;
/* True if NATIVE is the user's own: no other user's, not shared. */
bool imap_is_own(const struct mh_session *s, const char *native, size_t len);

/* around.c: 0, why the session is dead, or MH_ENOSUP without CAP; WHAT it is for people. */
int imap_lacks(struct mh_session *s, enum imap_cap cap, const char *what,
               struct mh_err *err) MH_MUST_CHECK;

/* FLAGS and KEYWORDS as IMAP writes them. What is no atom cannot be a keyword there; it is left out
 * and counted. */
void imap_flags_add(struct mh_session *s, uint8_t flags, const char *keywords, struct mh_buf *out);
/* How many of the N ascending UIDS make at most IMAP_UID_RANGES_MAX ranges. */
size_t imap_uid_chunk(const uint64_t *uids, size_t n);

/* --- the vtable's functions ------------------------------------------------------------------- */

int imap_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
              struct mh_err *err);
int imap_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                char **native_out, struct mh_err *err);
int imap_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                   struct mh_err *err);
int imap_subscribe(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err);
int imap_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                struct mh_opened *out, struct mh_err *err);
int imap_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err);
int imap_scan_uids(struct mh_session *s, const uint64_t *uids, size_t n, struct mh_scan *out,
                   struct mh_err *err);
int imap_select_changes(struct mh_session *s, const struct mh_folder *folder,
                        const struct mh_since *since, struct mh_opened *opened_out,
                        struct mh_changes *out, struct mh_err *err);
int imap_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
               struct mh_sink *sink, struct mh_err *err);
int imap_append_open(struct mh_session *s, const struct mh_folder *folder,
                     struct mh_append_sink *sink, struct mh_err *err);
int imap_append_begin(struct mh_session *s, const struct mh_append *msg, struct mh_err *err);
int imap_append_data(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err);
int imap_append_end(struct mh_session *s, struct mh_err *err);
int imap_append_cut(struct mh_session *s, struct mh_err *err);
int imap_append_flush(struct mh_session *s, struct mh_err *err);
int imap_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                     const char *keywords, struct mh_err *err);
int imap_move(struct mh_session *s, const uint64_t *uids, size_t n, const struct mh_folder *to,
              mh_moved_fn *moved, void *ctx, struct mh_err *err);
int imap_rename(struct mh_session *s, const struct mh_folder *folder, const char *path,
                char **path_out, char **native_out, struct mh_err *err);
int imap_finish_rename(struct mh_session *s, const char *from, const struct mh_folder *folder,
                       struct mh_err *err);
int imap_watch(struct mh_session *s, int64_t until_ms, bool *changed_out, struct mh_err *err);
int imap_quota(struct mh_session *s, struct mh_quota *out, struct mh_err *err);
int imap_acl_get(struct mh_session *s, const struct mh_folder *folder, struct mh_buf *lines_out,
                 struct mh_err *err);
int imap_acl_set(struct mh_session *s, const struct mh_folder *folder, const char *identifier,
                 const char *rights, struct mh_err *err);
int imap_metadata_get(struct mh_session *s, const struct mh_folder *folder,
                      int (*entry)(void *ctx, const char *name, const char *value, size_t len),
                      void *ctx, struct mh_err *err);
int imap_metadata_set(struct mh_session *s, const struct mh_folder *folder, const char *name,
                      const char *value, size_t len, struct mh_err *err);

#endif
