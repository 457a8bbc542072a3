/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * text.h: words, sentences, people and places of the mail, in a dozen languages.
 *
 * Each language has its words twice: in UTF-8 and in the legacy charset that its mail was written
 * in (words.c), so that no conversion library is needed.
 * Memory: everything here is constant; results go into the caller's buffer. Threads: one.
 */
#ifndef MHC_TEXT_H
#define MHC_TEXT_H

#include "base.h"
#include "prng.h"

/* One word, as bytes in both forms. */
struct mhc_word {
    const char *utf8;
    const char *legacy;
};

struct mhc_language {
    const char *tag;     /* BCP 47, for Content-Language */
    const char *charset; /* of the legacy form; "us-ascii" where both forms are the same */
    const struct mhc_word *words;
    size_t count;
    const char *space; /* between words; "" where the script has none */
    struct mhc_word stop;
};

/* words.c */
extern const struct mhc_language mhc_languages[];
extern const size_t mhc_language_count;

/* A person that writes or gets mail; the address is pure ASCII. */
struct mhc_person {
    const char *name; /* UTF-8, may be non-ASCII */
    const char *local;
    const char *domain;
};

/* The language at `index` in mhc_languages; English is the first. */
const struct mhc_language *mhc_text_language(size_t index);
/* English half of the time, else any other. */
const struct mhc_language *mhc_text_any_language(struct mhc_prng *prng);
struct mhc_person mhc_text_person(struct mhc_prng *prng);
/* A word of `language`; its bytes live for ever. */
const struct mhc_word *mhc_text_word(struct mhc_prng *prng, const struct mhc_language *language);
/* Latin script: most octets are ASCII, which is what quoted-printable is for. */
bool mhc_text_is_latin(const struct mhc_language *language);
/* Lines of text, each ended by CRLF, until at least `want` bytes were added, and little more. */
void mhc_text_lines(struct mhc_buf *buf, struct mhc_prng *prng, const struct mhc_language *language,
                    bool is_legacy, size_t want);

#endif
