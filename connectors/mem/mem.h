/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Mailboxes in memory, for tests: mem:name.
 *
 * A store is found by its name in a registry of the process; sessions of any scheduler share it. It
 * can do everything a server can, and has switches to do less, to be far away or to fail. Without
 * mh_mem_configure() a store that is opened for writing is made with everything switched on, at no
 * distance. What a server must tell of a change it tells, and no more than that: a caller that gets
 * along with it gets along with the barest real one.
 *
 * Functions: any thread. They own nothing of the caller's; bytes and texts are copied.
 */
#ifndef MH_CONNECTORS_MEM_H
#define MH_CONNECTORS_MEM_H

#include "mail/connector.h"

extern const struct mh_connector mh_mem;

struct mh_mem_options {
    /* what it can do */
    bool multiappend;
    bool uidplus;
    bool keywords;
    bool condstore; /* items and folders have modseqs; select_changes() */
    bool qresync;   /* with condstore: what has vanished is listed; else found by what is present */
    bool special_use;
    bool acl, metadata;
    bool move;      /* move() */
    bool rename;    /* rename() */
    bool watch;     /* watch() learns of changes in the inbox … */
    bool watch_all; /* … with watch: in all folders */
    bool object_id; /* messages and folders keep one wherever they go */
    bool append_sync_literal;
    uint64_t append_limit; /* octets; 0 = none; larger messages are refused by append_begin() */
    uint64_t quota_bytes;  /* 0 = none; above it messages get MH_ELATER, reason "quota" */
    /* Of so many vanished messages per folder it is remembered when they went; asked about earlier ones it
     * lists every UID that is not there (RFC 7162 section 3.2.5.2 allows it). 0 = 10,000. */
    uint64_t vanished_max;

    /* How far away it is. Waits are mh_sleep_until(): under a virtual clock they take no time. All sessions
     * that wait must be of schedulers with one clock. */
    int64_t round_trip_ms;      /* of each command; 0 = none is waited for */
    uint64_t wire_octets_per_s; /* each way, shared by all sessions of the store; 0 = no limit */
    bool can_compress;          /* sessions whose env asks for it are compressed … */
    unsigned compress_gain_percent; /* … and carry so much more in the same time */

    /* how it fails; all counts start with the configuration */
    bool refuse_list;          /* list() answers MH_EMAILBOX */
    uint64_t refuse_nth;       /* this message (1 = first) is refused, once; 0 = none */
    uint64_t refuse_octets;    /* each message of this length is refused; 0 = none */
    int refuse_code;           /* the verdict for both: MH_EITEM, MH_ELATER, … */
    const char *refuse_reason; /* static slug, or NULL */
    uint64_t lose_answer_nth;  /* this message is stored, then the connection is lost; once */
    uint64_t drop_fetch_at;  /* the connection is lost before this octet (1 = first) of all that is
                                fetched; once; 0 = never */
    uint64_t drop_append_at; /* the same for what is appended: nothing of that message is stored */
};

/* Everything on, no limits, no distance, no faults. */
void mh_mem_options_init(struct mh_mem_options *o);
/* Makes the store if it is missing; replaces its options and restarts the counts. Open sessions keep
 * their capabilities. */
int mh_mem_configure(const char *name, const struct mh_mem_options *options,
                     struct mh_err *err) MH_MUST_CHECK;
/* Forgets the store and its mail. No session may be open. */
void mh_mem_drop(const char *name);

/* --- what others do to a mailbox behind our back ------------------------------------------------ */
/* All: false, and nothing done, when there is no such store, folder or message, or when a server would
 * refuse it. Whoever watches the store is woken. */

bool mh_mem_make_folder(const char *name, const char *path);
/* Its messages go with it; folders below stay. Not the inbox. A session that has it open is cut off. */
bool mh_mem_remove_folder(const char *name, const char *path);
/* With all below it. False also when there is one of the new name already. Not the inbox. */
bool mh_mem_rename(const char *name, const char *path, const char *to_path);
/* New mail. KEYWORDS blank-separated, in any order; NULL = none. DATE NULL: now. *UID_OUT may be NULL. */
bool mh_mem_deliver(const char *name, const char *path, const void *bytes, size_t len,
                    uint8_t flags, const char *keywords, const struct mh_date *date,
                    uint64_t *uid_out);
/* All of them at once: FLAGS and KEYWORDS are what the message has afterwards. */
bool mh_mem_set_flags(const char *name, const char *path, uint64_t uid, uint8_t flags,
                      const char *keywords);
bool mh_mem_move(const char *name, const char *path, uint64_t uid, const char *to_path);
bool mh_mem_expunge(const char *name, const char *path, uint64_t uid);
/* New uidvalidity, and all messages get new uids, from 1 on. Who has it open loses the connection. */
bool mh_mem_renumber(const char *name, const char *path);

/* --- what is in it ------------------------------------------------------------------------------- */

/* Borrowed during the call. */
struct mh_mem_message {
    const char *path;
    uint64_t uid, modseq, object_id;
    struct mh_date date;
    uint8_t flags;
    const char *keywords; /* canonical, "" for none */
    const unsigned char *bytes;
    uint64_t len;
};
/* Every message, folder by folder in the order of their making, ascending by uid. False ends the walk and
 * is the answer; false also when there is no such store. The store is locked meanwhile: FN must not call
 * anything of it. */
bool mh_mem_each(const char *name, bool (*fn)(void *ctx, const struct mh_mem_message *m),
                 void *ctx);

struct mh_mem_folder {
    const char *path;
    enum mh_role role;
    bool is_subscribed;
    uint32_t uidvalidity;
    uint64_t uidnext, highestmodseq, messages, object_id;
};
/* Likewise every folder, empty ones too. */
bool mh_mem_each_folder(const char *name, bool (*fn)(void *ctx, const struct mh_mem_folder *f),
                        void *ctx);

/* Counts begin with the configuration. */
struct mh_mem_stats {
    uint64_t appends; /* messages begun */
    uint64_t stored;  /* messages stored */
    uint64_t batches; /* cuts with something to store */
    uint64_t largest_batch;
    uint64_t fetched;     /* messages given away whole */
    uint64_t moved;       /* messages moved by move() */
    uint64_t opened;      /* sessions opened … */
    uint64_t compressed;  /* … of which compressed */
    uint64_t round_trips; /* commands that were waited for, at whatever distance */
    uint64_t sessions;    /* open now */
    uint64_t messages;    /* in the store now */
};
void mh_mem_stats(const char *name, struct mh_mem_stats *out);

#endif
