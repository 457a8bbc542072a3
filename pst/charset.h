/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Text in the code pages of Windows, as UTF-8. Through iconv, but for those that need none, and for
 * ISO-2022-JP, of which Outlook writes more than the C library reads.
 *
 * struct pst_charset holds the converters: one for each thread, embedded by its owner, who ends it
 * with pst_charset_done(). A converter is opened when it is needed first and kept, so there are
 * never more than there are pages. Opening one loads a module of the C library:
 * pst_charset_open_all() does that before a process gives up the right to open files.
 *
 * Nothing is left out in silence: what is no character becomes U+FFFD and is counted.
 */
#ifndef MH_PST_CHARSET_H
#define MH_PST_CHARSET_H

#include <stdbool.h>

#include "base/str.h"

/* The pages that have names of their own here. */
enum {
    PST_PAGE_UTF16 = 1200,
    PST_PAGE_WINDOWS = 1252,
    PST_PAGE_ASCII = 20127,
    PST_PAGE_UTF8 = 65001,
};

enum { PST_CHARSET_CONVERTERS = 80 };

struct pst_charset {
    void *converters[PST_CHARSET_CONVERTERS]; /* owned; NULL: not opened yet */
};

void pst_charset_init(struct pst_charset *c);
void pst_charset_done(struct pst_charset *c);
/* All pages there are; how many of them the C library does not have here. */
unsigned pst_charset_open_all(struct pst_charset *c);

bool pst_charset_is_known(unsigned page);

/*
 * Appends LEN octets at S, whole text in PAGE, to OUT. The number of octets or groups of octets
 * that are no character: each of them is U+FFFD in OUT. Of a page that is not known only ASCII is.
 * ASCII itself (20127) often is a lie: what is above 0x7f is taken for UTF-8 if it is, for Windows'
 * own page otherwise, and counted all the same. A failed allocation is remembered by OUT.
 */
uint64_t pst_charset_add(struct pst_charset *c, unsigned page, const void *s, size_t len,
                         struct mh_buf *out);

/* OCTET begins a character of two or more octets, the second of which may be below 0x80. */
bool pst_charset_is_lead(unsigned page, uint8_t octet);
/* Where a character may begin, an octet below 0x80 is ASCII in it, whatever comes next. */
bool pst_charset_has_ascii(unsigned page);

#endif
