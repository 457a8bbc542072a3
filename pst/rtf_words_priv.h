/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The control words of RTF that mean something for its text, and the code pages of its fonts.
 * Tables alone; any thread.
 */
#ifndef MH_PST_RTF_WORDS_H
#define MH_PST_RTF_WORDS_H

#include <stdbool.h>

#include "base/macros.h"

/* What a control word does. */
enum rtf_op {
    RTF_NOTHING,
    RTF_POINT,      /* stands for the character VALUE */
    RTF_LINE,       /* a line ends */
    RTF_TAB,        /* a tabulator */
    RTF_BLOCK_LINE, /* the same two, which only RTF that never was anything else has */
    RTF_BLOCK_TAB,
    RTF_SKIP,       /* a destination without text */
    RTF_SKIP_LABEL, /* a paragraph's number: text, unless the HTML or text had it already */
    RTF_FONT_TABLE, /* destinations that we read */
    RTF_HTML_TAG,
    RTF_INSTRUCTION,
    RTF_FIELD,
    RTF_FROM_HTML, /* what it was made of */
    RTF_FROM_TEXT,
    RTF_HIDE_FROM_HTML, /* \htmlrtf */
    RTF_HIDDEN,         /* \v */
    RTF_PLAIN,
    RTF_UNICODE,  /* \u */
    RTF_FALLBACK, /* \uc */
    RTF_BINARY,   /* \bin */
    RTF_PAGE,     /* the document's code page is VALUE */
    RTF_PAGE_IS,  /* … is the parameter */
    RTF_FONT,
    RTF_FONT_DEFAULT,
    RTF_FONT_CHARSET,
    RTF_FONT_PAGE,
};

struct rtf_word {
    const char *name;
    enum rtf_op op;
    unsigned value;
};

/* The number that Windows gives to fonts of pictures: their octets are no characters. */
enum { RTF_PAGE_SYMBOL = 42 };

/* NULL: means nothing to us. */
const struct rtf_word *rtf_word_find(const char *name, size_t len);

/* The code page of a font's \fcharset; 0: the document's. */
unsigned rtf_charset_page(int charset);

#endif
