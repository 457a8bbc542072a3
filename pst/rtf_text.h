/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What RTF says, without being RTF: the HTML or the text that was put into it ([MS-OXRTFEX]), or,
 * of any other RTF, its text. UTF-8, lines end in CRLF.
 *
 * struct pst_rtf_reader is what one thread needs for it, made once and used for one body after the
 * other: groups, fonts, the run of octets that waits for its code page. The converters are
 * borrowed, and used by the same thread.
 *
 * RTF is hostile: groups deeper than the limit share one state, \bin is held against what there is,
 * no count is believed. What comes out is at most six times as long as what went in; it is HTML as
 * the sender wrote it, with scripts if there were any.
 *
 * Worked example. `{\rtf1\ansi\ansicpg1251\fromhtml1{\fonttbl{\f0\fcharset204 Arial;}}
 * {\*\htmltag64 <p>}\htmlrtf \f0\b \htmlrtf0 \'cf\'f0{\*\htmltag84 &nbsp;}\'e9\par}`: the head says
 * that it was HTML. The tags come out as they stand; `\f0\b` between \htmlrtf and \htmlrtf0 is
 * RTF's own way to say <p> and brings no text, but it does choose the font, so the octets are
 * Cyrillic.
 */
#ifndef MH_PST_RTF_TEXT_H
#define MH_PST_RTF_TEXT_H

#include "base/str.h"
#include "pst/charset.h"
#include "pst/ndb.h"

enum {
    PST_RTF_DEPTH_MAX = 512,   /* groups; Word itself stays below 100 */
    PST_RTF_FONTS_MAX = 32768, /* \f has 16 bits and a sign */
    PST_RTF_LINK_MAX = 4096,   /* octets of a field's instruction: twice an URL's most */
};

enum pst_rtf_kind {
    PST_RTF_HTML,      /* was HTML, and is again */
    PST_RTF_TEXT,      /* was text */
    PST_RTF_CONVERTED, /* was written as RTF: its text alone */
};

struct pst_rtf_result {
    enum pst_rtf_kind kind;
    uint64_t replaced; /* what was no character: U+FFFD stands for it */
    /*
     * SUSPECT: it ends within a group (PST_WHY_CUT), or lies deeper than the limit
     * (PST_WHY_NESTING); LOST: it is no RTF (PST_WHY_TYPE), or memory is out (PST_WHY_MEMORY).
     */
    struct pst_verdict verdict;
};

struct pst_rtf_reader;

/* NULL: out of memory. CHARSET: borrowed for the reader's life. */
struct pst_rtf_reader *pst_rtf_reader_new(struct pst_charset *charset) MH_MUST_CHECK;
/* NULL is allowed. */
void pst_rtf_reader_free(struct pst_rtf_reader *r);

/* Appends what LEN octets of RTF say to OUT. A body that is lost leaves OUT as it was. */
struct pst_rtf_result pst_rtf_text(struct pst_rtf_reader *r, const void *rtf, size_t len,
                                   struct mh_buf *out);

#endif
