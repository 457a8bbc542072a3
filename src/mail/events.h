/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the engine tells people: counters that a screen reads, and events that become lines. The
 * engine knows no terminal. Counters are atomics, read at any time from any thread; event() is called
 * from loop threads, must be quick, must not wait, and does its own locking.
 */
#ifndef MH_MAIL_EVENTS_H
#define MH_MAIL_EVENTS_H

#include <stdatomic.h>

#include "base/error.h"

enum mh_event_kind {
    MH_EV_MAILBOX_START,
    MH_EV_MAILBOX_DONE, /* err NULL: finished */
    MH_EV_FOLDER_START,
    MH_EV_FOLDER_DONE,
    MH_EV_ITEM,    /* not plainly copied: state + reason */
    MH_EV_WAITING, /* err says why, until_wall_s says until when */
    MH_EV_NOTE,    /* worked around something: worth one line */
};

struct mh_event {
    enum mh_event_kind kind;
    const char *mailbox;
    const char *folder; /* canonical, or NULL */
    uint64_t uid;
    const char *state;  /* "failed", "skipped", … or NULL */
    const char *reason; /* slug or NULL */
    const char *text;   /* for a person, printable */
    int64_t until_wall_s;
    const struct mh_err *err;
};

struct mh_event_sink {
    void (*event)(struct mh_event_sink *s, const struct mh_event *ev);
};

enum mh_mailbox_phase {
    MH_PHASE_QUEUED,
    MH_PHASE_CONNECTING,
    MH_PHASE_LISTING,
    MH_PHASE_MOVING,
    MH_PHASE_WAITING,
    MH_PHASE_WATCHING, /* between two passes: both sides are equal as far as is known */
    MH_PHASE_DONE,
    MH_PHASE_FAILED
};

/* One mailbox's counters of this run. */
struct mh_progress {
    _Atomic int phase; /* enum mh_mailbox_phase */
    _Atomic uint64_t found, found_bytes;
    _Atomic uint64_t copied, adopted, skipped, failed, updated, removed, unchanged;
    _Atomic uint64_t bytes; /* of copied messages */
    _Atomic uint64_t folders, folders_done;
    _Atomic int64_t waiting_until_wall_s;
    _Atomic int64_t lag_ms; /* watching: how long the last change took; 0: none yet */
    _Atomic unsigned connections;
};

#endif
