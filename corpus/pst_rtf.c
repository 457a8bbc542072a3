/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_rtf.h"

#include "pst/code.h"

#include <stdlib.h>
#include <string.h>

/* --- text --- */

static uint32_t code_point(const char *utf8, size_t len)
{
    const unsigned char *b = (const unsigned char *)utf8;
    if (len == 1) {
        return b[0];
    }
    uint32_t c = b[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        c = c << 6 | (b[i] & 0x3fu);
    }
    return c;
}

static void put_unicode(struct mhc_buf *rtf, uint32_t c)
{
    if (c > 0xffff) {
        put_unicode(rtf, 0xd800 + ((c - 0x10000) >> 10));
        c = 0xdc00 + ((c - 0x10000) & 0x3ff);
    }
    mhc_buf_printf(rtf, "\\u%d?", (int)(int16_t)c);
}

/* One character; false: it has no place in the code page. */
static bool put_in_codepage(struct mhc_buf *rtf, const char *utf8, size_t len,
                            struct mhc_codepage page)
{
    struct mhc_buf bytes = {0};
    mhc_text_to(&bytes, page.charset, utf8, len);
    bool is_there = bytes.len > 0 && bytes.data[0] != '?';
    for (size_t i = 0; is_there && i < bytes.len; i++) {
        mhc_buf_printf(rtf, "\\'%02x", (unsigned char)bytes.data[i]);
    }
    mhc_buf_done(&bytes);
    return is_there;
}

/* Text between tags, or in one; line ends are \par. */
static void put_text(struct mhc_buf *rtf, const char *utf8, size_t len, struct mhc_codepage page,
                     enum mhc_rtf_style style)
{
    bool is_utf8 = strcmp(page.charset, "UTF-8") == 0; /* which \ansicpg cannot name */
    for (size_t at = 0; at < len;) {
        size_t n = mhc_utf8_length(utf8 + at, len - at);
        char c = utf8[at];
        if (n > 1) {
            if (style == MHC_RTF_UNICODE || is_utf8 || !put_in_codepage(rtf, utf8 + at, n, page)) {
                put_unicode(rtf, code_point(utf8 + at, n));
            }
        } else if (c == '\n') {
            mhc_buf_puts(rtf, "\\par\r\n");
        } else if (c == '\\' || c == '{' || c == '}') {
            mhc_buf_putc(rtf, '\\');
            mhc_buf_putc(rtf, c);
        } else if (c == '\t') {
            mhc_buf_puts(rtf, "\\tab ");
        } else if (c != '\r') {
            mhc_buf_putc(rtf, c);
        }
        at += n > 0 ? n : 1;
    }
}

static void put_head(struct mhc_buf *rtf, struct mhc_codepage page, const char *from)
{
    uint32_t number = page.number == 65001 ? 1252 : page.number;
    mhc_buf_printf(rtf,
                   "{\\rtf1\\ansi\\ansicpg%u%s \\deff0{\\fonttbl\r\n"
                   "{\\f0\\fswiss Arial;}\r\n{\\f1\\fmodern Courier New;}}\r\n"
                   "{\\colortbl\\red0\\green0\\blue0;\\red0\\green0\\blue255;}\r\n"
                   "\\uc1\\pard\\plain\\deftab360 \\f0\\fs20 ",
                   number, from);
}

void mhc_rtf_of_text(struct mhc_buf *rtf, const char *utf8, size_t len, struct mhc_codepage page,
                     enum mhc_rtf_style style)
{
    put_head(rtf, page, "");
    put_text(rtf, utf8, len, page, style);
    mhc_buf_puts(rtf, "}\r\n");
}

/* [MS-OXRTFEX] 2.1.3: tags in groups that RTF readers pass over, RTF's own in \htmlrtf. */
void mhc_rtf_of_html(struct mhc_buf *rtf, const char *utf8, size_t len, struct mhc_codepage page,
                     enum mhc_rtf_style style)
{
    enum { TAG_KIND = 64 };
    put_head(rtf, page, "\\fromhtml1");
    for (size_t at = 0; at < len;) {
        const char *tag = memchr(utf8 + at, '<', len - at);
        size_t text_len = tag != NULL ? (size_t)(tag - utf8) - at : len - at;
        put_text(rtf, utf8 + at, text_len, page, style);
        at += text_len;
        const char *end = tag != NULL ? memchr(tag, '>', len - at) : NULL;
        if (end == NULL) {
            continue;
        }
        size_t tag_len = (size_t)(end - tag) + 1;
        mhc_buf_printf(rtf, "{\\*\\htmltag%d ", TAG_KIND);
        put_text(rtf, tag, tag_len, page, style);
        mhc_buf_puts(rtf, "}");
        if (tag_len == 4 && memcmp(tag, "</p>", 4) == 0) {
            mhc_buf_puts(rtf, "\\htmlrtf \\par\r\n\\htmlrtf0 ");
        }
        at += tag_len;
    }
    mhc_buf_puts(rtf, "}\r\n");
}

/* --- compression --- */

/* [MS-OXRTFCP] 2.2.1.1: what both sides know before the first octet. */
static const char known[] = "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman "
                            "\\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes "
                            "New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
                            "\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

enum {
    KNOWN_BYTES = sizeof(known) - 1,
    WINDOW_BYTES = 4096,
    MATCH_LEAST = 3,
    MATCH_MOST = 17,
    HASHES = 4096,
    HEAD_BYTES = 16,
    TOKENS = 8, /* that one octet of flags stands for */
};
_Static_assert(KNOWN_BYTES == 207, "as the document has it");

struct packer {
    const unsigned char *in; /* what is known, then the text */
    size_t len;
    size_t latest[HASHES]; /* where three such octets stood, plus one */
    struct mhc_buf *out;
    size_t flags_at;
    unsigned tokens;
};

static size_t hash_of(const unsigned char *p)
{
    return ((size_t)p[0] << 6 ^ (size_t)p[1] << 3 ^ p[2]) % HASHES;
}

static void note(struct packer *p, size_t at)
{
    if (at + MATCH_LEAST <= p->len) {
        p->latest[hash_of(p->in + at)] = at + 1;
    }
}

/* How many octets at `at` stood at `*from_out` before, within the window; 0: too few. */
static size_t match(const struct packer *p, size_t at, size_t *from_out)
{
    if (at + MATCH_LEAST > p->len || p->latest[hash_of(p->in + at)] == 0) {
        return 0;
    }
    size_t from = p->latest[hash_of(p->in + at)] - 1;
    size_t most = p->len - at < MATCH_MOST ? p->len - at : MATCH_MOST;
    size_t n = 0;
    while (n < most && p->in[from + n] == p->in[at + n]) {
        n++;
    }
    *from_out = from;
    return n >= MATCH_LEAST && at - from < WINDOW_BYTES - MATCH_MOST ? n : 0;
}

static void begin_token(struct packer *p, bool is_reference)
{
    if (p->tokens % TOKENS == 0) {
        p->flags_at = p->out->len;
        mhc_buf_putc(p->out, 0);
    }
    if (is_reference) {
        p->out->data[p->flags_at] = (char)(p->out->data[p->flags_at] | 1 << p->tokens % TOKENS);
    }
    p->tokens++;
}

static void put_reference(struct packer *p, size_t from, size_t n)
{
    unsigned word = (unsigned)(from % WINDOW_BYTES) << 4 | (unsigned)(n - 2);
    begin_token(p, true);
    mhc_buf_putc(p->out, (char)(word >> 8));
    mhc_buf_putc(p->out, (char)word);
}

static void compress_rtf(struct mhc_buf *out, const char *rtf, size_t len)
{
    struct mhc_buf in = {0};
    mhc_buf_add(&in, known, KNOWN_BYTES);
    mhc_buf_add(&in, rtf, len);
    struct packer p = {.in = (const unsigned char *)in.data, .len = in.len, .out = out};
    for (size_t at = 0; at < KNOWN_BYTES; at++) {
        note(&p, at);
    }
    for (size_t at = KNOWN_BYTES; at < in.len;) {
        size_t from = 0;
        size_t n = match(&p, at, &from);
        if (n > 0) {
            put_reference(&p, from, n);
        } else {
            begin_token(&p, false);
            mhc_buf_putc(out, in.data[at]);
            n = 1;
        }
        for (; n > 0; n--) {
            note(&p, at++);
        }
    }
    put_reference(&p, in.len, 2); /* to itself: the end */
    mhc_buf_done(&in);
}

void mhc_rtf_pack(struct mhc_buf *packed, const char *rtf, size_t len, bool is_compressed)
{
    static const uint8_t lzfu[] = {'L', 'Z', 'F', 'u'};
    static const uint8_t mela[] = {'M', 'E', 'L', 'A'};
    size_t start = packed->len;
    mhc_buf_fill(packed, 0, HEAD_BYTES);
    if (is_compressed) {
        compress_rtf(packed, rtf, len);
    } else {
        mhc_buf_add(packed, rtf, len);
    }
    uint8_t *head = (uint8_t *)packed->data + start;
    size_t body_len = packed->len - start - HEAD_BYTES;
    pst_put_u32(head, (uint32_t)body_len + HEAD_BYTES - 4);
    pst_put_u32(head + 4, (uint32_t)len);
    memcpy(head + 8, is_compressed ? lzfu : mela, sizeof(lzfu));
    pst_put_u32(head + 12, is_compressed ? pst_crc(head + HEAD_BYTES, body_len) : 0);
}
