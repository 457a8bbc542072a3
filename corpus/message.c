/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "message.h"
#include "letter.h"
#include "nasty.h"

#include <math.h>
#include <string.h>

const char *const mhc_flag_names[MHC_FLAG_COUNT] = {"\\Draft", "\\Flagged", "\\Answered", "\\Seen",
                                                    "\\Deleted"};
const char *const mhc_keyword_names[MHC_KEYWORD_COUNT] = {
    "$Forwarded", "$MDNSent",  "NonJunk", "Junk",      "$Label1",
    "$Label4",    "Project-X", "work",    "to.do/now", "$HasAttachment",
};

enum {
    KEYWORD_FORWARDED = 1 << 0,
    KEYWORD_NONJUNK = 1 << 2,
    KEYWORD_JUNK = 1 << 3,
    TWIN_PER_MILLE = 5,
    NEW_MAIL_INDEX = 100000000, /* beyond what a fill can reach, times the work day */
    /* What the shortest header of a sized message takes; below it the message is one field. */
    SIZED_HEADER_ROOM = 512,
};

/* The corpus ends here: 2025-06-30 12:00:00 UTC, and begins fifteen years before. */
static const int64_t last_moment = 1751284800;
static const int64_t span_seconds = INT64_C(15) * 36525 * 864;

static const int zones[] = {0, 60, 120, -300, -480, 330, 540, 600, -210, 345};

void mhc_message_done(struct mhc_message *message)
{
    mhc_buf_done(&message->bytes);
}

uint64_t mhc_message_size(const struct mhc_message *message)
{
    return message->bytes.len + message->filler_bytes;
}

void mhc_filler_copy(char *out, uint64_t offset, size_t len)
{
    static const char line[] =
        "0123456789 the quick brown fox jumps over the lazy dog, again and again 9876\r\n";
    _Static_assert(sizeof(line) == MHC_FILLER_LINE_BYTES + 1, "a line and its NUL");
    while (len > 0) {
        size_t from = (size_t)(offset % MHC_FILLER_LINE_BYTES);
        size_t part = MHC_FILLER_LINE_BYTES - from;
        part = part < len ? part : len;
        memcpy(out, line + from, part);
        out += part;
        offset += part;
        len -= part;
    }
}

/* --- what stands beside the bytes --- */

static int choose_zone(const struct mhc_mailbox *mailbox, struct mhc_prng *prng)
{
    if (mhc_prng_chance(prng, 650)) {
        return zones[mailbox->number % MHC_COUNT(zones)];
    }
    return zones[mhc_prng_below(prng, MHC_COUNT(zones))];
}

/* Message `at` of `count`: in order, and the closer to today, the denser. */
static struct mhc_date choose_date(const struct mhc_mailbox *mailbox, struct mhc_prng *prng,
                                   uint64_t at, uint64_t count)
{
    double age = 1.0 - ((double)at + mhc_prng_unit(prng)) / (double)count;
    int64_t before = (int64_t)((double)span_seconds * pow(age, 1.6));
    return (struct mhc_date){last_moment - before, choose_zone(mailbox, prng)};
}

static bool has_role(const struct mhc_folder *folder, const char *role)
{
    return folder->role != NULL && strcmp(folder->role, role) == 0;
}

static unsigned choose_flags(const struct mhc_folder *folder, struct mhc_prng *prng)
{
    bool is_own = has_role(folder, "\\Sent") || has_role(folder, "\\Drafts");
    unsigned flags = mhc_prng_chance(prng, is_own ? 1000 : 880) ? MHC_SEEN : 0;
    flags |= mhc_prng_chance(prng, 150) && flags != 0 ? MHC_ANSWERED : 0;
    flags |= mhc_prng_chance(prng, 45) ? MHC_FLAGGED : 0;
    flags |= mhc_prng_chance(prng, 4) ? MHC_DELETED : 0;
    flags |= has_role(folder, "\\Drafts") ? MHC_DRAFT : 0;
    return flags;
}

static uint32_t choose_keywords(const struct mhc_folder *folder, struct mhc_prng *prng)
{
    uint32_t keywords = 0;
    if (has_role(folder, "\\Junk")) {
        keywords |= KEYWORD_JUNK;
    } else if (mhc_prng_chance(prng, 120)) {
        keywords |= KEYWORD_NONJUNK;
    }
    if (mhc_prng_chance(prng, 30)) {
        keywords |= KEYWORD_FORWARDED;
    }
    while (mhc_prng_chance(prng, 60)) {
        uint32_t bit = mhc_prng_below(prng, MHC_KEYWORD_COUNT);
        if (1u << bit != KEYWORD_JUNK) {
            keywords |= 1u << bit;
        }
    }
    return keywords;
}

/* --- the bytes --- */

static bool is_tail(const struct mhc_mailbox *mailbox, uint64_t index)
{
    uint64_t number = (mailbox->number - 1) * mailbox->profile->messages + index;
    return mhc_size_is_tail(mailbox->sizes, number);
}

/* The index whose bytes message `index` has: its own, or that of the one it is a twin of. */
static uint64_t content_index(const struct mhc_mailbox *mailbox, const struct mhc_folder *folder,
                              uint64_t index)
{
    while (index > folder->first && !is_tail(mailbox, index) && !is_tail(mailbox, index - 1)) {
        struct mhc_prng prng;
        mhc_prng_init(&prng, mailbox->seed, MHC_STREAM_TWIN, mailbox->number, index);
        if (!mhc_prng_chance(&prng, TWIN_PER_MILLE)) {
            break;
        }
        index--;
    }
    return index;
}

static size_t choose_size(const struct mhc_mailbox *mailbox, uint64_t index)
{
    struct mhc_prng prng;
    if (is_tail(mailbox, index)) {
        uint64_t number = (mailbox->number - 1) * mailbox->profile->messages + index;
        return mhc_size_of_tail(mailbox->sizes, number);
    }
    mhc_prng_init(&prng, mailbox->seed, MHC_STREAM_SIZE, mailbox->number, index);
    return mhc_size_of_body(mailbox->sizes, mhc_prng_normal(&prng));
}

static void make_ordinary(struct mhc_message *message, const struct mhc_mailbox *mailbox,
                          const struct mhc_folder *folder, uint64_t index)
{
    struct mhc_prng prng;
    mhc_prng_init(&prng, mailbox->seed, MHC_STREAM_META, mailbox->number, index);
    message->date = choose_date(mailbox, &prng, index - folder->first, folder->messages);
    message->flags = choose_flags(folder, &prng);
    message->keywords = choose_keywords(folder, &prng);
    uint64_t content = content_index(mailbox, folder, index);
    message->label = content == index ? "letter" : "twin";
    struct mhc_letter letter = {
        .seed = mailbox->seed,
        .mailbox = mailbox->number,
        .index = content,
        .floor = folder->first,
        .owner = mailbox->owner,
        .date = message->date,
        .want_bytes = choose_size(mailbox, content),
    };
    if (content != index) {
        mhc_prng_init(&prng, mailbox->seed, MHC_STREAM_META, mailbox->number, content);
        letter.date = choose_date(mailbox, &prng, content - folder->first, folder->messages);
    }
    letter.place = has_role(folder, "\\Sent")     ? MHC_PLACE_SENT
                   : has_role(folder, "\\Drafts") ? MHC_PLACE_DRAFTS
                                                  : MHC_PLACE_INBOX;
    mhc_letter_write(&message->bytes, &letter);
}

static void make_awkward(struct mhc_message *message, const struct mhc_mailbox *mailbox,
                         uint64_t index)
{
    struct mhc_prng prng;
    struct mhc_nasty_traits traits = mhc_nasty_traits(index);
    mhc_prng_init(&prng, mailbox->seed, MHC_STREAM_META, mailbox->number, index);
    message->date = choose_date(mailbox, &prng, index, mhc_nasty_count());
    mhc_nasty_write(&message->bytes, mailbox->seed, index, message->date);
    message->label = traits.name;
    message->is_awkward = true;
    message->flags = mhc_prng_below(&prng, MHC_DELETED);
    message->flags |= mhc_prng_chance(&prng, 80) ? MHC_DELETED : 0;
    message->keywords = mhc_prng_chance(&prng, 300) ? KEYWORD_FORWARDED : 0;
    if (traits.has_all_flags) {
        message->flags = MHC_ALL_FLAGS;
        message->keywords = (1u << MHC_KEYWORD_COUNT) - 1;
    }
    if (traits.has_date) {
        message->date = traits.date;
    }
}

static void reset(struct mhc_message *message)
{
    struct mhc_buf bytes = message->bytes;
    bytes.len = 0;
    *message = (struct mhc_message){.bytes = bytes};
}

void mhc_message_make(struct mhc_message *message, const struct mhc_mailbox *mailbox,
                      const struct mhc_folder *folder, uint64_t at)
{
    uint64_t index = folder->first + at;
    reset(message);
    if (mailbox->profile->is_nasty && index < mhc_nasty_count()) {
        make_awkward(message, mailbox, index);
    } else if (mailbox->profile->is_nasty && folder->messages == 1) {
        message->date = (struct mhc_date){last_moment - (int64_t)index * 86400, 120};
        message->flags = MHC_SEEN;
        message->label = "marker";
        mhc_nasty_marker(&message->bytes, index, message->date);
    } else {
        make_ordinary(message, mailbox, folder, index);
    }
}

void mhc_message_make_sized(struct mhc_message *message, const struct mhc_mailbox *mailbox,
                            uint64_t size_bytes)
{
    char when[MHC_DATE_SIZE];
    struct mhc_buf *bytes = &message->bytes;
    reset(message);
    message->label = "sized";
    message->is_awkward = true;
    message->flags = MHC_SEEN;
    message->date = (struct mhc_date){last_moment, zones[mailbox->number % MHC_COUNT(zones)]};
    if (size_bytes < SIZED_HEADER_ROOM) {
        const char *field = "Subject: ";
        size_t len = (size_t)size_bytes;
        mhc_buf_fill(bytes, 'x', len);
        if (len >= strlen(field) + 4) {
            memcpy(bytes->data, field, strlen(field));
            memcpy(bytes->data + len - 4, "\r\n\r\n", 4);
        }
        return;
    }
    mhc_buf_printf(bytes,
                   "From: Big Sender <big@example.com>\r\nTo: owner@example.com\r\n"
                   "Subject: %llu bytes\r\nDate: %s\r\n"
                   "Message-ID: <%llu@sized.example>\r\nX-Fill: ",
                   (unsigned long long)size_bytes, mhc_date_rfc5322(when, message->date),
                   (unsigned long long)size_bytes);
    /* The padding makes the filler a whole number of lines. */
    size_t padding = (size_t)((size_bytes - bytes->len - 4) % MHC_FILLER_LINE_BYTES);
    mhc_buf_fill(bytes, 'x', padding);
    mhc_buf_puts(bytes, "\r\n\r\n");
    message->filler_bytes = size_bytes - bytes->len;
}

void mhc_message_make_new(struct mhc_message *message, const struct mhc_mailbox *mailbox,
                          uint64_t day, uint64_t at)
{
    struct mhc_prng prng;
    uint64_t floor = NEW_MAIL_INDEX * day;
    reset(message);
    mhc_prng_init(&prng, mailbox->seed, MHC_STREAM_META, mailbox->number, floor + at);
    message->date.unix_seconds = last_moment + (int64_t)day * 86400 + (int64_t)at;
    message->date.zone_minutes = choose_zone(mailbox, &prng);
    message->label = "new";
    message->is_delivery = true;
    struct mhc_letter letter = {
        .seed = mailbox->seed,
        .mailbox = mailbox->number,
        .index = floor + at,
        .floor = floor,
        .owner = mailbox->owner,
        .place = MHC_PLACE_INBOX,
        .date = message->date,
        .want_bytes = mhc_size_of_body(mailbox->sizes, mhc_prng_normal(&prng)),
    };
    mhc_letter_write(&message->bytes, &letter);
}

static void print_names(struct mhc_buf *buf, uint32_t bits, const char *const *names, size_t count)
{
    bool is_first = true;
    for (size_t i = 0; i < count; i++) {
        if ((bits >> i & 1) != 0) {
            mhc_buf_puts(buf, is_first ? "" : " ");
            mhc_buf_puts(buf, names[i]);
            is_first = false;
        }
    }
}

void mhc_flags_print(struct mhc_buf *buf, unsigned flags)
{
    print_names(buf, flags, mhc_flag_names, MHC_FLAG_COUNT);
}

void mhc_keywords_print(struct mhc_buf *buf, uint32_t keywords)
{
    print_names(buf, keywords, mhc_keyword_names, MHC_KEYWORD_COUNT);
}

/* --- the record --- */

/* Adds `len` bytes with every bare LF as CRLF; returns how many CRs that took. */
static uint64_t sum_as_crlf(struct mhc_sha256 *sha, const char *bytes, size_t len)
{
    uint64_t added = 0;
    size_t done = 0;
    if (len == 0) {
        return 0;
    }
    for (const char *lf = memchr(bytes, '\n', len); lf != NULL;) {
        size_t at = (size_t)(lf - bytes);
        if (at == 0 || bytes[at - 1] != '\r') {
            added++;
            if (sha != NULL) {
                mhc_sha256_add(sha, bytes + done, at - done);
                mhc_sha256_add(sha, "\r", 1);
            }
            done = sha != NULL ? at : done;
        }
        lf = memchr(lf + 1, '\n', len - at - 1);
    }
    if (sha != NULL) {
        mhc_sha256_add(sha, bytes + done, len - done);
    }
    return added;
}

static void sum_filler(struct mhc_sha256 *sha, uint64_t filler_bytes)
{
    char block[64 * MHC_FILLER_LINE_BYTES];
    for (uint64_t at = 0; at < filler_bytes;) {
        uint64_t left = filler_bytes - at;
        size_t part = left < sizeof(block) ? (size_t)left : sizeof(block);
        mhc_filler_copy(block, at, part);
        mhc_sha256_add(sha, block, part);
        at += part;
    }
}

void mhc_record_init(struct mhc_record *record_out, const struct mhc_message *message,
                     bool want_sha256)
{
    struct mhc_sha256 sha;
    mhc_sha256_init(&sha);
    *record_out = (struct mhc_record){
        .sha256 = "-",
        .date = message->date,
        .flags = message->flags,
        .keywords = message->keywords,
        .label = message->label,
    };
    uint64_t added =
        sum_as_crlf(want_sha256 ? &sha : NULL, message->bytes.data, message->bytes.len);
    record_out->size_bytes = mhc_message_size(message) + added;
    if (want_sha256) {
        sum_filler(&sha, message->filler_bytes);
        mhc_sha256_hex(&sha, record_out->sha256);
    }
}
