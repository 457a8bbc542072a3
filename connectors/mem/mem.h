/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Mailboxes in memory, for tests: mem:name.
 *
 * A store is found by its name in a registry of the process; sessions of any scheduler share it. It
 * can do everything a server can, and has switches to do less or to fail. Without mh_mem_configure() a
 * store that is opened for writing is made with everything switched on. Functions: any thread.
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
    bool condstore; /* items have modseqs */
    bool special_use;
    bool acl, metadata;
    bool append_sync_literal;
    uint64_t append_limit; /* octets; 0 = none; larger messages are refused by append_begin() */
    uint64_t quota_bytes;  /* 0 = none; above it messages get MH_ELATER, reason "quota" */

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

/* Everything on, no limits, no faults. */
void mh_mem_options_init(struct mh_mem_options *o);
/* Makes the store if it is missing; replaces its options and restarts the counts. */
int mh_mem_configure(const char *name, const struct mh_mem_options *options,
                     struct mh_err *err) MH_MUST_CHECK;
/* Forgets the store and its mail. No session may be open. */
void mh_mem_drop(const char *name);

/* What others do to a mailbox behind our back; false when there is no such message or folder. */
bool mh_mem_expunge(const char *name, const char *path, uint64_t uid);
/* New uidvalidity, and all messages get new uids. */
bool mh_mem_renumber(const char *name, const char *path);

struct mh_mem_stats {
    uint64_t appends; /* messages begun since the configuration */
    uint64_t stored;  /* messages stored since */
    uint64_t batches; /* cuts with something to store */
    uint64_t largest_batch;
    uint64_t fetched;  /* messages given away whole */
    uint64_t messages; /* in the store now */
};
void mh_mem_stats(const char *name, struct mh_mem_stats *out);

#endif
