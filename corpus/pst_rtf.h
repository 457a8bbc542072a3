/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_rtf.h: RTF as Outlook stores it: of plain text, around HTML ([MS-OXRTFEX]), compressed or not
 * ([MS-OXRTFCP]).
 *
 * Memory: everything is appended to the caller's buffer. Threads: one.
 */
#ifndef MHC_PST_RTF_H
#define MHC_PST_RTF_H

#include "pst_prop.h"

/* How characters above ASCII are written. */
enum mhc_rtf_style {
    MHC_RTF_CODEPAGE, /* \'xx in the code page, \u where it has none */
    MHC_RTF_UNICODE,  /* \u, with a question mark for those who cannot read it */
};

/* RTF of UTF-8 text with CRLF line ends. */
void mhc_rtf_of_text(struct mhc_buf *rtf, const char *utf8, size_t len, struct mhc_codepage page,
                     enum mhc_rtf_style style);
/* RTF that holds HTML, from which it comes back octet by octet; tags in it hold no line end. */
void mhc_rtf_of_html(struct mhc_buf *rtf, const char *utf8, size_t len, struct mhc_codepage page,
                     enum mhc_rtf_style style);
/* The value of the property: "LZFu", or "MELA", which is not compressed. */
void mhc_rtf_pack(struct mhc_buf *packed, const char *rtf, size_t len, bool is_compressed);

#endif
