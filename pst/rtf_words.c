/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/rtf_words_priv.h"

#include <string.h>

/* Sorted by name, as octets. */
static const struct rtf_word words[] = {
    {"ansi", RTF_PAGE, 1252},
    {"ansicpg", RTF_PAGE_IS, 0},
    {"bin", RTF_BINARY, 0},
    {"bkmkend", RTF_SKIP, 0},
    {"bkmkstart", RTF_SKIP, 0},
    {"bullet", RTF_POINT, 0x2022},
    {"cell", RTF_BLOCK_TAB, 0},
    {"colortbl", RTF_SKIP, 0},
    {"column", RTF_BLOCK_LINE, 0},
    {"cpg", RTF_FONT_PAGE, 0},
    {"datafield", RTF_SKIP, 0},
    {"deff", RTF_FONT_DEFAULT, 0},
    {"emdash", RTF_POINT, 0x2014},
    {"emspace", RTF_POINT, 0x2003},
    {"endash", RTF_POINT, 0x2013},
    {"enspace", RTF_POINT, 0x2002},
    {"f", RTF_FONT, 0},
    {"falt", RTF_SKIP, 0},
    {"fcharset", RTF_FONT_CHARSET, 0},
    {"field", RTF_FIELD, 0},
    {"filetbl", RTF_SKIP, 0},
    {"fldinst", RTF_INSTRUCTION, 0},
    {"fontemb", RTF_SKIP, 0},
    {"fontfile", RTF_SKIP, 0},
    {"fonttbl", RTF_FONT_TABLE, 0},
    {"footer", RTF_SKIP, 0},
    {"footerf", RTF_SKIP, 0},
    {"footerl", RTF_SKIP, 0},
    {"footerr", RTF_SKIP, 0},
    {"formfield", RTF_SKIP, 0},
    {"fromhtml", RTF_FROM_HTML, 0},
    {"fromtext", RTF_FROM_TEXT, 0},
    {"generator", RTF_SKIP, 0},
    {"header", RTF_SKIP, 0},
    {"headerf", RTF_SKIP, 0},
    {"headerl", RTF_SKIP, 0},
    {"headerr", RTF_SKIP, 0},
    {"htmlrtf", RTF_HIDE_FROM_HTML, 0},
    {"htmltag", RTF_HTML_TAG, 0},
    {"info", RTF_SKIP, 0},
    {"ldblquote", RTF_POINT, 0x201c},
    {"line", RTF_LINE, 0},
    {"listoverridetable", RTF_SKIP, 0},
    {"listtable", RTF_SKIP, 0},
    {"listtext", RTF_SKIP_LABEL, 0},
    {"lquote", RTF_POINT, 0x2018},
    {"ltrmark", RTF_POINT, 0x200e},
    {"mac", RTF_PAGE, 10000},
    {"mhtmltag", RTF_SKIP, 0},
    {"nestcell", RTF_BLOCK_TAB, 0},
    {"nestrow", RTF_BLOCK_LINE, 0},
    {"nonesttables", RTF_SKIP, 0},
    {"nonshppict", RTF_SKIP, 0},
    {"objalias", RTF_SKIP, 0},
    {"objclass", RTF_SKIP, 0},
    {"objdata", RTF_SKIP, 0},
    {"objname", RTF_SKIP, 0},
    {"objsect", RTF_SKIP, 0},
    {"page", RTF_BLOCK_LINE, 0},
    {"par", RTF_LINE, 0},
    {"pc", RTF_PAGE, 437},
    {"pca", RTF_PAGE, 850},
    {"pict", RTF_SKIP, 0},
    {"plain", RTF_PLAIN, 0},
    {"pn", RTF_SKIP, 0},
    {"pntext", RTF_SKIP_LABEL, 0},
    {"pntxta", RTF_SKIP, 0},
    {"pntxtb", RTF_SKIP, 0},
    {"qmspace", RTF_POINT, 0x2005},
    {"rdblquote", RTF_POINT, 0x201d},
    {"revtbl", RTF_SKIP, 0},
    {"row", RTF_BLOCK_LINE, 0},
    {"rquote", RTF_POINT, 0x2019},
    {"rsidtbl", RTF_SKIP, 0},
    {"rtlmark", RTF_POINT, 0x200f},
    {"rxe", RTF_SKIP, 0},
    {"sect", RTF_BLOCK_LINE, 0},
    {"stylesheet", RTF_SKIP, 0},
    {"tab", RTF_TAB, 0},
    {"tc", RTF_SKIP, 0},
    {"themedata", RTF_SKIP, 0},
    {"txe", RTF_SKIP, 0},
    {"u", RTF_UNICODE, 0},
    {"uc", RTF_FALLBACK, 0},
    {"v", RTF_HIDDEN, 0},
    {"xe", RTF_SKIP, 0},
    {"zwj", RTF_POINT, 0x200d},
    {"zwnj", RTF_POINT, 0x200c},
};

/* NAME against a table's name, as strcmp() of two strings. */
static int compare(const char *name, size_t len, const char *other)
{
    int d = strncmp(name, other, len);
    return d != 0 ? d : -(other[len] != '\0');
}

const struct rtf_word *rtf_word_find(const char *name, size_t len)
{
    size_t n = MH_ARRAY_LEN(words);
    size_t at = mh_lower_bound(i, 0, n, compare(name, len, words[i].name) > 0);
    return at < n && compare(name, len, words[at].name) == 0 ? &words[at] : NULL;
}

unsigned rtf_charset_page(int charset)
{
    static const struct {
        int charset;
        unsigned page;
    } charsets[] = {
        {0, 1252},   {2, RTF_PAGE_SYMBOL}, {77, 10000}, {78, 10001}, {79, 10003}, {80, 10008},
        {81, 10002}, {88, 10029},          {89, 10007}, {128, 932},  {129, 949},  {130, 1361},
        {134, 936},  {136, 950},           {161, 1253}, {162, 1254}, {163, 1258}, {177, 1255},
        {178, 1256}, {179, 1256},          {180, 1256}, {181, 1255}, {186, 1257}, {204, 1251},
        {222, 874},  {238, 1250},          {254, 437},  {255, 850},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(charsets); i++) {
        if (charsets[i].charset == charset)
            return charsets[i].page;
    }
    return 0;
}
