/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The connector contract: what the engine asks of any place where mail lives.
 *
 * A connector is one const struct mh_connector. A session (struct mh_session) is one open connection
 * to one mailbox; it belongs to one scheduler. All functions are called from a task and may wait; they
 * return when the work is done or failed. A session serves one reading task (list, select, scan, fetch,
 * flags, rights) and one appending task at a time; they may be the same task or two. close() is called when neither is inside.
 *
 * Message bytes arrive by mh_sink calls from fetch() and leave by append_*(). Slices are passed by reference.
 * The engine's sink usually calls another session's append_data() directly; when that waits because
 * its write list is full, fetch() waits, reads nothing more, and the source's server is held by TCP.
 *
 * Errors: MH_ERETRY = the session is dead, open a new one; MH_ELATER = wait first; MH_EITEM, MH_EFOLDER = go on with
 * the next; MH_ENOSUP = this server has not got it; others stop the mailbox.
 */
#ifndef MH_MAIL_CONNECTOR_H
#define MH_MAIL_CONNECTOR_H

#include "base/log.h"
#include "base/slab.h"
#include "mail/digest.h"
#include "mail/endpoint.h"
#include "mail/folder.h"
#include "mail/item.h"
#include "mail/uids.h"

struct mh_session; /* a connector's own */
struct mh_net; /* src/net: TLS contexts, rate limits, counters shared by connections; opaque here */

/* What every session is given. Borrowed by the session; outlives it. */
struct mh_env {
    struct mh_pool *pool;
    struct mh_net *net; /* NULL for connectors that need no network */
    const struct mh_log *log;
    int64_t timeout_ms; /* per read */
    bool is_source;     /* which side of the migration: chooses the rate limit and the trace mark */
    bool compress;      /* where the server can */
};

/* Facts about an open session's server. */
struct mh_caps {
    bool multiappend; /* begin() calls between two cuts are one command: all or none stored */
    bool uidplus;     /* append results carry the new uid */
    bool keywords;    /* new keywords can be made (in general: per folder see mh_opened) */
    bool condstore, qresync;
    bool list_status, special_use, create_special_use;
    bool acl, metadata, quota;
    bool move;                /* move() is one step (RFC 6851), or safe by UID EXPUNGE */
    bool rename;              /* rename() */
    bool watch;               /* watch() learns of changes in the inbox (IDLE) … */
    bool watch_all;           /* … or in all folders (NOTIFY, RFC 5465) */
    bool object_id;           /* items and folders have it */
    bool append_sync_literal; /* each message costs a round trip: hide it with more connections */
    bool can_compress, compressed;
    int64_t round_trip_ms;  /* a small command's answer, about; 0 where there is no wire */
    uint64_t append_limit;  /* bytes; 0 = none announced */
    char separator;         /* in native names; 0 = flat */
    char server_name[64];   /* from ID or the greeting, printable; "" unknown */
    char extensions[512];   /* what the server announced, for `check` and the log */
    int64_t cert_days_left; /* -1: no TLS */
    char tls[64];           /* "TLSv1.3 TLS_AES_256_GCM_SHA384"; "" none */
};

struct mh_quota {
    bool known;
    uint64_t used_bytes;
    uint64_t limit_bytes; /* 0 = none */
};

/* What opening a folder told. */
struct mh_opened {
    uint32_t uidvalidity;
    uint64_t uidnext;
    uint64_t messages;
    uint64_t highestmodseq;
    bool keywords_ok;       /* PERMANENTFLAGS has \* */
    unsigned keywords_room; /* with keywords_ok: how many new ones fit; 0 = any number */
    uint8_t flags_ok;       /* system flags that stay */
    char keywords[1024];    /* keywords that may be used even without \*; blank-separated */
};

/* A folder as it was when it was looked at last: mh_opened of then, or what STATUS said. */
struct mh_since {
    uint32_t uidvalidity;
    uint64_t uidnext;
    uint64_t messages;      /* in it then; 0 and NOT messages_known: unknown */
    uint64_t highestmodseq; /* never 0 */
    bool messages_known;
};

enum mh_gone_by { MH_GONE_NONE, MH_GONE_LISTED, MH_GONE_BY_PRESENT };

/* What has happened in a folder since then. {0} before; mh_changes_done() in any case. */
struct mh_changes {
    struct mh_scan scan; /* messages that are new, or whose flags or keywords changed; finished */
    /* Which messages are not there any more, in the form the server has it in: GONE (may name UIDs that never were;
     * QRESYNC's VANISHED), or PRESENT (all that are there), or neither: none is missing. Finished. */
    enum mh_gone_by gone_by;
    struct mh_uids gone, present;
};
void mh_changes_done(struct mh_changes *c);

/* Where a moved message lies now; UID 0: the server does not say. In the calling task; must not wait. */
typedef int mh_moved_fn(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err);

/* Where fetch() puts messages; embedded by its user. Called in the fetching task; may wait. */
struct mh_sink {
    /* A message of exactly OCTETS follows (the literal's count, which may differ from item->size). */
    int (*begin)(struct mh_sink *s, const struct mh_item *item, uint64_t octets,
                 struct mh_err *err);
    /* Takes SLICE. */
    int (*data)(struct mh_sink *s, struct mh_slice slice_take, struct mh_err *err);
    int (*end)(struct mh_sink *s, struct mh_err *err);
    /* ITEM did not come: WHY (reason "vanished", "unreadable", …). May follow begin() when the
     * connection broke: what came so far is void. An error return ends the fetch. */
    int (*missed)(struct mh_sink *s, const struct mh_item *item, const struct mh_err *why,
                  struct mh_err *err);
};

/* One message to append. */
struct mh_append {
    struct mh_date date; /* not set: the target's own choice */
    uint8_t flags;
    const char *keywords; /* blank-separated; borrowed until append_begin returns */
    uint64_t octets;
    uint64_t cookie; /* comes back with the verdict */
};

/* Verdicts of appends, in any task of the scheduler; must not wait. WHY NULL: stored, UID at the target or 0
 * if the server does not say. WHY->code: MH_EITEM refused; MH_ESPLIT its batch was refused and nothing of it
 * stored; MH_ELATER; MH_ERETRY: fate unknown (the connection broke after the bytes left). */
struct mh_append_sink {
    void (*done)(struct mh_append_sink *s, uint64_t cookie, uint64_t uid, uint32_t uidvalidity,
                 const struct mh_err *why);
};

/* What list() brings of each folder. */
enum mh_listing {
    MH_LIST_NAMES,
    MH_LIST_STATUS, /* STATUS: counts, UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ */
    MH_LIST_SIZES,  /* … and octets: servers add up each message's size for that */
};

enum mh_connector_flag {
    MH_CAN_READ = 1 << 0,
    MH_CAN_WRITE = 1 << 1,
    MH_CAN_FLAGS = 1 << 2, /* store_flags */
    MH_IS_LOCAL = 1 << 3,  /* no connection budget */
    MH_HAS_KEYWORDS = 1 << 4,
    MH_HAS_DATES = 1 << 5, /* keeps INTERNALDATE */
    MH_HAS_ZONES = 1 << 6, /* keeps its zone */
    MH_HAS_FOLDERS = 1 << 7,
    MH_UIDS_ASCEND = 1 << 8, /* a new message's uid is above all before (uidnext means something) */
};

struct mh_connector {
    const char *name; /* the endpoint's type */
    unsigned flags;   /* enum mh_connector_flag */

    /* Connects, logs in, learns the capabilities. MH_EAUTH when the login is refused. CREATE: the caller
     * means to write (a missing local archive is made). */
    int (*open)(const struct mh_endpoint *ep, const struct mh_env *env, bool create,
                struct mh_session **out, struct mh_err *err);
    /* Says goodbye when that costs no waiting, frees everything. Verdicts still due come as MH_ERETRY first. */
    void (*close)(struct mh_session *s);
    const struct mh_caps *(*caps)(struct mh_session *s); /* borrowed: the session */

    /* --- folders --- */
    /* All folders of the user's own, sorted, roles announced (not guessed), with WHAT is wanted of each. */
    int (*list)(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                struct mh_err *err);
    /* Opens FOLDER (read-only unless FOR_WRITE) for scan/fetch/store_flags. */
    int (*select)(struct mh_session *s, const struct mh_folder *folder, bool for_write,
                  struct mh_opened *out, struct mh_err *err);
    /* Makes PATH (parents too) with ROLE if the server can; *NATIVE_OUT its own name (caller frees), *PATH_OUT
     * the canonical path it really has there (caller frees; differs when the name had to change). Exists already: 0. */
    int (*create)(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
                  char **native_out, struct mh_err *err);
    /* What create() would name it, without doing it: for `map` and `check`. */
    int (*plan_name)(struct mh_session *s, const char *path, char **path_out, char **native_out,
                     struct mh_err *err);
    int (*subscribe)(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err);

    /* --- reading the selected folder --- */
    /* Metadata of all messages with uid >= FROM, into OUT (initialised; finished by the call). */
    int (*scan)(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err);
    /* Likewise of the N messages UIDS (ascending; N may be 0) alone; what is not there is left out. NULL: scan() must
     * do. */
    int (*scan_uids)(struct mh_session *s, const uint64_t *uids, size_t n, struct mh_scan *out,
                     struct mh_err *err);
    /* select() for reading, and what has happened since SINCE, in as few round trips as the server allows (QRESYNC: in
     * the SELECT itself; CONDSTORE: one more, and another one when messages are missing). Only if caps condstore.
     * MH_ENOSUP when it cannot be told, the folder being open then: UIDVALIDITY is not SINCE's (see *OPENED_OUT), or
     * the server has no MODSEQ for this folder: use scan(). NULL: never. */
    int (*select_changes)(struct mh_session *s, const struct mh_folder *folder,
                          const struct mh_since *since, struct mh_opened *opened_out,
                          struct mh_changes *out, struct mh_err *err);
    /* The bodies of N items in their order, each exactly once begin…end or missed. Behind a fetch that SINK ended, what
     * was still on its way may come first. */
    int (*fetch)(struct mh_session *s, const struct mh_item *const *items, size_t n,
                 struct mh_sink *sink, struct mh_err *err);

    /* --- writing --- */
    /* Says where the next appends go. SINK gets the verdicts until the next call. */
    int (*append_open)(struct mh_session *s, const struct mh_folder *folder,
                       struct mh_append_sink *sink, struct mh_err *err);
    /* begin, data…, end per message. MH_EITEM from begin: refused before sending, its verdict is this answer and
     * done() is not called for it; the session goes on. Other errors: the session is dead. */
    int (*append_begin)(struct mh_session *s, const struct mh_append *msg, struct mh_err *err);
    int (*append_data)(struct mh_session *s, struct mh_slice slice_take, struct mh_err *err);
    int (*append_end)(struct mh_session *s, struct mh_err *err);
    /* Ends the batch: its verdicts will come. Does not wait for them. No-op without multiappend. */
    int (*append_cut)(struct mh_session *s, struct mh_err *err);
    /* Cut, and waits until no verdict is due. */
    int (*append_flush)(struct mh_session *s, struct mh_err *err);

    /* Adds ADD and removes REMOVE (flags), sets the keyword changes, on N uids of the selected folder. */
    int (*store_flags)(struct mh_session *s, const uint64_t *uids, size_t n, bool add,
                       uint8_t flags, const char *keywords, struct mh_err *err);

    /* Moves the N messages UIDS (ascending) of the folder selected for writing into folder TO of the same account, with flags
     * and dates; MOVED is told of each that was there, those that are not there any more are left out. With MOVE, else COPY,
     * \Deleted and UID EXPUNGE of just these. MH_ENOSUP: the server has neither, nothing was done. MH_ENOENT: no
     * such folder TO. NULL: never. */
    int (*move)(struct mh_session *s, const uint64_t *uids, size_t n, const struct mh_folder *to,
                mh_moved_fn *moved, void *ctx, struct mh_err *err);
    /* Renames FOLDER (with all below it) to the canonical PATH, parents made first; *PATH_OUT, *NATIVE_OUT as create().
     * MH_EEXIST: there is one already. The subscriptions go along. NULL: never. */
    int (*rename)(struct mh_session *s, const struct mh_folder *folder, const char *path,
                  char **path_out, char **native_out, struct mh_err *err);
    /* FOLDER got its name from a rename() whose end nobody has seen: what that may have left under the native name
     * FROM, of which there is no folder any more, goes along now. NULL: rename() is one step. */
    int (*finish_rename)(struct mh_session *s, const char *from, const struct mh_folder *folder,
                         struct mh_err *err);
    /* Waits until the server tells of a change anywhere (caps watch_all) or in the inbox, or until UNTIL_MS (mh_now_ms();
     * MH_NEVER). *CHANGED_OUT; a change between two calls is told by the next. Renews what servers let expire (RFC 9051: 29
     * minutes). Holds no slab while nothing comes. Nothing may be selected by the caller around it. NULL: never. */
    int (*watch)(struct mh_session *s, int64_t until_ms, bool *changed_out, struct mh_err *err);

    /* --- around the mail: any of these may be NULL (MH_ENOSUP). A get that ends with MH_EITEM has given all
     * but what its text names. --- */
    int (*quota)(struct mh_session *s, struct mh_quota *out, struct mh_err *err);
    /* ACL of a folder as "identifier rights" lines (RFC 4314); the target call sets one pair. */
    int (*acl_get)(struct mh_session *s, const struct mh_folder *folder, struct mh_buf *lines_out,
                   struct mh_err *err);
    int (*acl_set)(struct mh_session *s, const struct mh_folder *folder, const char *identifier,
                   const char *rights, struct mh_err *err);
    /* METADATA entries of a folder (RFC 5464), one callback each; set writes one. */
    int (*metadata_get)(struct mh_session *s, const struct mh_folder *folder,
                        int (*entry)(void *ctx, const char *name, const char *value, size_t len),
                        void *ctx, struct mh_err *err);
    int (*metadata_set)(struct mh_session *s, const struct mh_folder *folder, const char *name,
                        const char *value, size_t len, struct mh_err *err);
};

#endif
