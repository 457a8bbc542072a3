/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "letter.h"
#include "mime.h"

enum {
    REFERENCES_MAX = 10, /* as mail programs trim them */
    LACKS_ID_PER_MILLE = 8,
    REPEATS_ID_PER_MILLE = 6,
    REPLY_PER_MILLE = 420,
};

bool mhc_letter_lacks_id(const struct mhc_letter *letter, uint64_t index)
{
    struct mhc_prng prng;
    mhc_prng_init(&prng, letter->seed, MHC_STREAM_ID, letter->mailbox, index);
    return mhc_prng_chance(&prng, LACKS_ID_PER_MILLE);
}

/* Broken senders reuse an ID: such a letter carries that of one a little before it. */
static uint64_t id_index(const struct mhc_letter *letter, struct mhc_prng *prng, uint64_t index)
{
    uint64_t room = index - letter->floor;
    if (room > 0 && mhc_prng_chance(prng, REPEATS_ID_PER_MILLE)) {
        return index - 1 - mhc_prng_below(prng, room < 3 ? (uint32_t)room : 3);
    }
    return index;
}

void mhc_letter_id(struct mhc_buf *buf, const struct mhc_letter *letter, uint64_t index)
{
    static const char *const hosts[] = {"mail.nordwind.example", "smtp.acme.example",
                                        "DB7PR04MB4912.eurprd04.prod.hosted.example",
                                        "mx.example.org", "localhost.localdomain"};
    struct mhc_prng prng;
    mhc_prng_init(&prng, letter->seed, MHC_STREAM_ID, letter->mailbox, index);
    (void)mhc_prng_next(&prng); /* the one that mhc_letter_lacks_id() draws */
    uint64_t source = id_index(letter, &prng, index);
    mhc_prng_init(&prng, letter->seed, MHC_STREAM_ID, letter->mailbox, source);
    (void)mhc_prng_next(&prng);
    unsigned long long unique = mhc_prng_next(&prng);
    mhc_buf_printf(buf, "<%016llx.%llu@%s>", unique, (unsigned long long)source,
                   hosts[mhc_prng_below(&prng, MHC_COUNT(hosts))]);
}

uint64_t mhc_letter_parent(const struct mhc_letter *letter, uint64_t index)
{
    struct mhc_prng prng;
    mhc_prng_init(&prng, letter->seed, MHC_STREAM_THREAD, letter->mailbox, index);
    uint64_t room = index - letter->floor;
    if (room == 0 || !mhc_prng_chance(&prng, REPLY_PER_MILLE)) {
        return index;
    }
    return index - 1 - mhc_prng_below(&prng, room < 8 ? (uint32_t)room : 8);
}

static void subject(struct mhc_buf *buf, const struct mhc_letter_draft *draft)
{
    struct mhc_prng prng;
    const struct mhc_letter *letter = draft->letter;
    mhc_prng_init(&prng, letter->seed, MHC_STREAM_SUBJECT, letter->mailbox, draft->root);
    enum mhc_word_style style = (enum mhc_word_style)mhc_prng_below(&prng, 4);
    uint32_t words = 2 + mhc_prng_below(&prng, letter->want_bytes < MHC_TINY_LETTER_BYTES ? 2 : 7);
    bool is_reply = draft->parent != letter->index;
    mhc_buf_printf(buf, "Subject: %s", is_reply ? "Re: " : "");
    mhc_mime_phrase(buf, &prng, draft->language, style, words);
    mhc_buf_puts(buf, "\r\n");
}

/* In-Reply-To and References (RFC 5322 section 3.6.4), the root first. */
static void references(struct mhc_buf *buf, const struct mhc_letter_draft *draft)
{
    const struct mhc_letter *letter = draft->letter;
    if (draft->parent == letter->index) {
        return;
    }
    uint64_t chain[REFERENCES_MAX];
    size_t count = 0;
    uint64_t at = draft->parent;
    for (;;) {
        chain[count++] = at;
        uint64_t before = mhc_letter_parent(letter, at);
        if (before == at || count == REFERENCES_MAX) {
            break;
        }
        at = before;
    }
    mhc_buf_puts(buf, "In-Reply-To: ");
    mhc_letter_id(buf, letter, draft->parent);
    mhc_buf_puts(buf, "\r\nReferences:");
    while (count > 0) {
        mhc_buf_puts(buf, "\r\n ");
        mhc_letter_id(buf, letter, chain[--count]);
    }
    mhc_buf_puts(buf, "\r\n");
}

static void received_chain(struct mhc_buf *buf, struct mhc_letter_draft *draft, uint32_t hops)
{
    char when[MHC_DATE_SIZE];
    struct mhc_prng *prng = &draft->prng;
    for (uint32_t hop = 0; hop < hops; hop++) {
        struct mhc_date date = draft->letter->date;
        date.unix_seconds -= (int64_t)hop * (1 + mhc_prng_below(prng, 5));
        unsigned int address = (unsigned int)mhc_prng_next(prng);
        mhc_buf_printf(buf,
                       "Received: from mx%u.%s (mx%u.%s [198.51.100.%u])\r\n"
                       "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
                       "\tby relay%u.example.net (Postfix) with ESMTPS id %08X\r\n"
                       "\tfor <%s@example.com>; %s\r\n",
                       hop + 1, draft->from.domain, hop + 1, draft->from.domain, address & 255,
                       address >> 8 & 7, (unsigned int)mhc_prng_next(prng), draft->letter->owner,
                       mhc_date_rfc5322(when, date));
    }
}

static void random_base64(struct mhc_buf *buf, struct mhc_prng *prng, size_t octets)
{
    char bytes[48];
    for (size_t at = 0; at < octets; at++) {
        bytes[at] = (char)mhc_prng_next(prng);
    }
    mhc_mime_base64_flat(buf, bytes, octets);
}

/* A header that looks like RFC 6376 and signs nothing. */
static void dkim_signature(struct mhc_buf *buf, struct mhc_letter_draft *draft)
{
    static const char *const selectors[] = {"s2048", "sel2021", "google", "k1", "default"};
    struct mhc_prng *prng = &draft->prng;
    mhc_buf_printf(buf,
                   "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=%s;\r\n"
                   "\tt=%lld; h=from:to:cc:subject:date:message-id:mime-version:content-type;\r\n"
                   "\tbh=",
                   draft->from.domain, selectors[mhc_prng_below(prng, MHC_COUNT(selectors))],
                   (long long)draft->letter->date.unix_seconds);
    random_base64(buf, prng, 32);
    mhc_buf_puts(buf, ";\r\n\tb=");
    for (size_t line = 0; line < 5; line++) {
        random_base64(buf, prng, 48);
        mhc_buf_puts(buf, "\r\n\t ");
    }
    random_base64(buf, prng, 16);
    mhc_buf_puts(buf, "\r\n");
}

static void transport(struct mhc_buf *buf, struct mhc_letter_draft *draft)
{
    struct mhc_prng *prng = &draft->prng;
    mhc_buf_printf(buf, "Return-Path: <%s@%s>\r\nDelivered-To: %s@example.com\r\n",
                   draft->from.local, draft->from.domain, draft->letter->owner);
    received_chain(buf, draft, 2 + mhc_prng_below(prng, 3));
    if (mhc_prng_chance(prng, 650)) {
        mhc_buf_printf(buf,
                       "Authentication-Results: mx.example.com;\r\n\tdkim=pass header.d=%s;\r\n"
                       "\tspf=pass smtp.mailfrom=%s@%s\r\n",
                       draft->from.domain, draft->from.local, draft->from.domain);
        dkim_signature(buf, draft);
    }
    if (mhc_prng_chance(prng, 400)) {
        mhc_buf_printf(buf,
                       "X-Spam-Status: No, score=-%u.%u required=5.0 tests=BAYES_00,DKIM_SIGNED,"
                       "\r\n\tDKIM_VALID,HTML_MESSAGE,SPF_PASS autolearn=ham\r\n",
                       mhc_prng_below(prng, 6), mhc_prng_below(prng, 10));
    }
}

/* RFC 2919 and RFC 2369. */
static void mailing_list(struct mhc_buf *buf, struct mhc_prng *prng)
{
    static const char *const lists[] = {"users", "announce", "dev", "betriebsrat", "club-photo"};
    const char *list = lists[mhc_prng_below(prng, MHC_COUNT(lists))];
    mhc_buf_printf(buf,
                   "List-Id: The %s list <%s.lists.libre.example>\r\n"
                   "List-Unsubscribe: <mailto:%s-leave@lists.libre.example>,\r\n"
                   "\t<https://lists.libre.example/%s/leave>\r\n"
                   "List-Post: <mailto:%s@lists.libre.example>\r\n"
                   "List-Archive: <https://lists.libre.example/archives/%s>\r\n"
                   "Precedence: list\r\nErrors-To: %s-bounces@lists.libre.example\r\n",
                   list, list, list, list, list, list, list);
}

static void address_list(struct mhc_buf *buf, struct mhc_prng *prng, const char *field,
                         uint32_t count)
{
    mhc_buf_printf(buf, "%s: ", field);
    for (uint32_t i = 0; i < count; i++) {
        mhc_buf_puts(buf, i == 0 ? "" : ",\r\n\t");
        mhc_mime_address(buf, mhc_text_person(prng));
    }
    mhc_buf_puts(buf, "\r\n");
}

static void people(struct mhc_buf *buf, struct mhc_letter_draft *draft)
{
    struct mhc_prng *prng = &draft->prng;
    mhc_buf_puts(buf, "From: ");
    mhc_mime_address(buf, draft->from);
    mhc_buf_puts(buf, "\r\n");
    if (draft->letter->place == MHC_PLACE_INBOX) {
        mhc_buf_printf(buf, "To: %s@example.com\r\n", draft->letter->owner);
    } else {
        address_list(buf, prng, "To", 1 + mhc_prng_below(prng, 3));
    }
    if (draft->letter->want_bytes >= MHC_SHORT_LETTER_BYTES && mhc_prng_chance(prng, 300)) {
        address_list(buf, prng, "Cc", 1 + mhc_prng_below(prng, 6));
    }
}

static void program(struct mhc_buf *buf, struct mhc_prng *prng)
{
    static const char *const programs[] = {
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:102.0) Thunderbird/102.11\r\n",
        "X-Mailer: Apple Mail (2.3731.400.51.1.1)\r\n",
        "X-Mailer: Microsoft Outlook 16.0\r\nThread-Index: AQHZ0k3q7Yw5b0m1\r\n",
        "X-Mailer: Claws Mail 3.17.5\r\n",
        "User-Agent: Mutt/2.2.9\r\n",
        "",
    };
    mhc_buf_puts(buf, programs[mhc_prng_below(prng, MHC_COUNT(programs))]);
}

void mhc_letter_head(struct mhc_buf *buf, struct mhc_letter_draft *draft)
{
    const struct mhc_letter *letter = draft->letter;
    char when[MHC_DATE_SIZE];
    bool is_full = letter->want_bytes >= MHC_SHORT_LETTER_BYTES;
    bool is_tiny = letter->want_bytes < MHC_TINY_LETTER_BYTES;
    if (letter->place == MHC_PLACE_INBOX && is_full) {
        transport(buf, draft);
    } else if (letter->place == MHC_PLACE_INBOX && !is_tiny) {
        received_chain(buf, draft, 1);
    }
    if (letter->place == MHC_PLACE_INBOX && is_full && mhc_prng_chance(&draft->prng, 200)) {
        mailing_list(buf, &draft->prng);
    }
    if (!mhc_letter_lacks_id(letter, letter->index)) {
        mhc_buf_puts(buf, "Message-ID: ");
        mhc_letter_id(buf, letter, letter->index);
        mhc_buf_puts(buf, "\r\n");
    }
    if (!is_tiny) {
        references(buf, draft);
    }
    struct mhc_date written = letter->date;
    written.unix_seconds -= 1 + mhc_prng_below(&draft->prng, 90);
    mhc_buf_printf(buf, "Date: %s\r\n", mhc_date_rfc5322(when, written));
    people(buf, draft);
    subject(buf, draft);
    if (!is_tiny) {
        program(buf, &draft->prng);
        mhc_buf_puts(buf, "MIME-Version: 1.0\r\n");
    }
}
