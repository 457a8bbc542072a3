/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_letter.h: mails of an archive, of all the shapes that Outlook gives them.
 *
 * A mail is a pure function of (seed, index, role). Words, people, dates, Message-IDs and threads
 * are those of letter.h and text.h.
 * Memory: the item is the caller's, to be handed to mhc_pst_add(). Threads: one.
 */
#ifndef MHC_PST_LETTER_H
#define MHC_PST_LETTER_H

#include "pst_item.h"

void mhc_pst_letter(struct mhc_pst *pst, struct mhc_item *item_out, enum mhc_pst_role role,
                    uint64_t index);

/* Somebody of text.h; a third of them are in the owner's company and have an address of X.500. */
struct mhc_pst_person mhc_pst_any_person(struct mhc_prng *prng);
/* A moment of the fifteen years that the corpus spans. */
int64_t mhc_pst_any_moment(struct mhc_prng *prng);
/* Some words of a language. */
void mhc_pst_words(struct mhc_buf *buf, struct mhc_prng *prng, const struct mhc_language *language,
                   uint32_t count);
/* The charset of an item's 8-bit texts in this archive; NULL: it has UTF-16. */
const char *mhc_pst_charset(const struct mhc_pst *pst, const struct mhc_language *language);

#endif
