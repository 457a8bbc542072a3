/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * letter.h: one ordinary message, as real mail looks: its header (letter_head.c), its body
 * (letter_body.c).
 *
 * A letter is a pure function of (seed, mailbox, index, wanted size): a reply works out the
 * Message-IDs and the subject of the letters before it without their having been kept.
 * Memory: bytes are appended to the caller's buffer. Threads: one.
 */
#ifndef MHC_LETTER_H
#define MHC_LETTER_H

#include "base.h"
#include "date.h"
#include "prng.h"
#include "text.h"

enum mhc_letter_place {
    MHC_PLACE_INBOX, /* somebody wrote to the owner */
    MHC_PLACE_SENT,  /* the owner wrote to somebody */
    MHC_PLACE_DRAFTS /* the owner was about to: no trace of transport */
};

struct mhc_letter {
    uint64_t seed;
    uint64_t mailbox;
    uint64_t index;    /* within the mailbox */
    uint64_t floor;    /* no reply goes back beyond this index: the first of the folder */
    const char *owner; /* borrowed: local part of the mailbox's own address */
    enum mhc_letter_place place;
    struct mhc_date date;
    size_t want_bytes;
};

/* What the parts of a letter agree on; made by mhc_letter_write(). */
struct mhc_letter_draft {
    const struct mhc_letter *letter;
    const struct mhc_language *language;
    struct mhc_prng prng;
    struct mhc_person from;
    uint64_t root;   /* the index that began the thread */
    uint64_t parent; /* the index replied to, or the letter's own */
    size_t start;    /* where the letter begins in the buffer */
};

/* Below this size a letter has only the five headers that it must have. */
enum { MHC_TINY_LETTER_BYTES = 700, MHC_SHORT_LETTER_BYTES = 3000 };

void mhc_letter_write(struct mhc_buf *buf, const struct mhc_letter *letter);

/* letter_head.c: the header without the MIME fields and without the blank line. */
void mhc_letter_head(struct mhc_buf *buf, struct mhc_letter_draft *draft);
/* letter_body.c: the MIME fields, the blank line and the body. */
void mhc_letter_body(struct mhc_buf *buf, struct mhc_letter_draft *draft);
/* letter_head.c: the Message-ID that letter `index` has, in its angle brackets. */
void mhc_letter_id(struct mhc_buf *buf, const struct mhc_letter *letter, uint64_t index);
/* letter_head.c: true where the letter has no Message-ID at all. */
bool mhc_letter_lacks_id(const struct mhc_letter *letter, uint64_t index);
/* letter_head.c: the index that `index` replies to, or `index` itself. */
uint64_t mhc_letter_parent(const struct mhc_letter *letter, uint64_t index);

#endif
