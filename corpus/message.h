/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * message.h: one message as a store gets it: bytes, flags, keywords, INTERNALDATE; and the run's
 * rules by which message n of a folder gets its own.
 *
 * Memory: a struct mhc_message owns its bytes and is used again for the next message;
 * mhc_message_done() frees them. Threads: one.
 * A message of a size that was asked for ends in `filler_bytes` octets that are made as they are
 * written, so that 4 GiB need no memory.
 */
#ifndef MHC_MESSAGE_H
#define MHC_MESSAGE_H

#include "base.h"
#include "date.h"
#include "folders.h"
#include "profile.h"
#include "sha256.h"

/* RFC 3501 section 2.3.2; the order of the bits is that of mhc_flag_names. */
enum {
    MHC_DRAFT = 1,
    MHC_FLAGGED = 2,
    MHC_ANSWERED = 4,
    MHC_SEEN = 8,
    MHC_DELETED = 16,
    MHC_ALL_FLAGS = 31,
    MHC_FLAG_COUNT = 5,
};
extern const char *const mhc_flag_names[MHC_FLAG_COUNT];

enum { MHC_KEYWORD_COUNT = 10 };
extern const char *const mhc_keyword_names[MHC_KEYWORD_COUNT];

struct mhc_message {
    struct mhc_buf bytes;  /* owned */
    uint64_t filler_bytes; /* follow `bytes`; a multiple of MHC_FILLER_LINE_BYTES */
    struct mhc_date date;  /* INTERNALDATE */
    unsigned flags;
    uint32_t keywords; /* bit n: mhc_keyword_names[n] */
    const char *label; /* what kind of message this is, for the manifest */
    bool is_awkward;   /* a store may refuse it */
    bool is_delivery;  /* new mail: nobody has seen it, the store has not filed it */
};

/* What a mailbox's messages have in common. */
struct mhc_mailbox {
    const struct mhc_profile *profile;
    const struct mhc_size_plan *sizes;
    uint64_t seed;
    uint64_t number;   /* 1 is the first */
    const char *owner; /* borrowed */
};

enum { MHC_FILLER_LINE_BYTES = 78 };

void mhc_message_done(struct mhc_message *message);
/* Message `at` (0 is the first) of a planned folder. */
void mhc_message_make(struct mhc_message *message, const struct mhc_mailbox *mailbox,
                      const struct mhc_folder *folder, uint64_t at);
/* A message of exactly `size_bytes`. */
void mhc_message_make_sized(struct mhc_message *message, const struct mhc_mailbox *mailbox,
                            uint64_t size_bytes);
/* New mail number `at` of work day `day`. */
void mhc_message_make_new(struct mhc_message *message, const struct mhc_mailbox *mailbox,
                          uint64_t day, uint64_t at);

uint64_t mhc_message_size(const struct mhc_message *message);
/* Puts filler octets [offset, offset + len) into `out`. */
void mhc_filler_copy(char *out, uint64_t offset, size_t len);
/* Flags and keywords, parted by spaces. */
void mhc_flags_print(struct mhc_buf *buf, unsigned flags);
void mhc_keywords_print(struct mhc_buf *buf, uint32_t keywords);

/* What the manifest says about a message. */
struct mhc_record {
    char sha256[MHC_SHA256_HEX_SIZE]; /* with CRLF line ends; "-" where nobody asked */
    uint64_t size_bytes;              /* with CRLF line ends */
    struct mhc_date date;
    unsigned flags;
    uint32_t keywords;
    const char *label;
};

/* Fills the record; the sum is left out unless `want_sha256`, it costs as much as the rest. */
void mhc_record_init(struct mhc_record *record_out, const struct mhc_message *message,
                     bool want_sha256);

#endif
