/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/charset.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#include "base/error.h"

enum { PIECE_BYTES = 4096 };

#define REPLACEMENT 0xfffdu

/* --- the pages -------------------------------------------------------------------------------- */

/* How it is read. */
enum way {
    WAY_ICONV,
    WAY_ASCII,
    WAY_UTF8,
    WAY_UTF16,
    WAY_UTF16_SWAPPED,
    WAY_JIS, /* ISO-2022-JP: unfolded to EUC-JP, then iconv */
};

/* Which octets begin a character of several; in LEADS_EUC none of them is below 0x80. */
enum leads { LEADS_NONE, LEADS_SJIS, LEADS_ALL, LEADS_EUC };

struct page {
    unsigned number;
    const char *name; /* iconv's */
    enum way way;
    enum leads leads;
    bool is_stateful; /* an octet below 0x80 depends on what is around it: escapes, marks */
};

/*
 * Sorted by number. Latin-1, -5 and Thai in ISO's numbers are taken for Windows' own: where they
 * differ ISO has control characters, and what stands there was meant as Windows has it.
 */
static const struct page pages[] = {
    {437, "CP437", .way = WAY_ICONV},
    {708, "ISO-8859-6", .way = WAY_ICONV},
    {737, "CP737", .way = WAY_ICONV},
    {775, "CP775", .way = WAY_ICONV},
    {850, "CP850", .way = WAY_ICONV},
    {852, "CP852", .way = WAY_ICONV},
    {855, "CP855", .way = WAY_ICONV},
    {857, "CP857", .way = WAY_ICONV},
    {858, "CP858", .way = WAY_ICONV},
    {860, "CP860", .way = WAY_ICONV},
    {861, "CP861", .way = WAY_ICONV},
    {862, "CP862", .way = WAY_ICONV},
    {863, "CP863", .way = WAY_ICONV},
    {864, "CP864", .way = WAY_ICONV},
    {865, "CP865", .way = WAY_ICONV},
    {866, "CP866", .way = WAY_ICONV},
    {869, "CP869", .way = WAY_ICONV},
    {874, "CP874", .way = WAY_ICONV},
    {932, "CP932", .way = WAY_ICONV, .leads = LEADS_SJIS},
    {936, "CP936", .way = WAY_ICONV, .leads = LEADS_ALL},
    {949, "CP949", .way = WAY_ICONV, .leads = LEADS_ALL},
    {950, "CP950", .way = WAY_ICONV, .leads = LEADS_ALL},
    {1200, NULL, .way = WAY_UTF16, .is_stateful = true},
    {1201, NULL, .way = WAY_UTF16_SWAPPED, .is_stateful = true},
    {1250, "CP1250", .way = WAY_ICONV},
    {1251, "CP1251", .way = WAY_ICONV},
    {1252, "CP1252", .way = WAY_ICONV},
    {1253, "CP1253", .way = WAY_ICONV},
    {1254, "CP1254", .way = WAY_ICONV},
    {1255, "CP1255", .way = WAY_ICONV},
    {1256, "CP1256", .way = WAY_ICONV},
    {1257, "CP1257", .way = WAY_ICONV},
    {1258, "CP1258", .way = WAY_ICONV, .is_stateful = true},
    {1361, "CP1361", .way = WAY_ICONV, .leads = LEADS_ALL},
    {10000, "MACINTOSH", .way = WAY_ICONV},
    {10001, "CP932", .way = WAY_ICONV, .leads = LEADS_SJIS},
    {10002, "CP950", .way = WAY_ICONV, .leads = LEADS_ALL},
    {10003, "CP949", .way = WAY_ICONV, .leads = LEADS_ALL},
    {10007, "MAC-CYRILLIC", .way = WAY_ICONV},
    {10008, "CP936", .way = WAY_ICONV, .leads = LEADS_ALL},
    {10017, "MAC-UK", .way = WAY_ICONV},
    {10029, "MAC-CENTRALEUROPE", .way = WAY_ICONV},
    {20127, "CP1252", .way = WAY_ASCII},
    {20866, "KOI8-R", .way = WAY_ICONV},
    {20932, "EUC-JP-MS", .way = WAY_ICONV, .leads = LEADS_EUC},
    {20936, "CP936", .way = WAY_ICONV, .leads = LEADS_ALL},
    {20949, "CP949", .way = WAY_ICONV, .leads = LEADS_ALL},
    {21866, "KOI8-U", .way = WAY_ICONV},
    {28591, "CP1252", .way = WAY_ICONV},
    {28592, "ISO-8859-2", .way = WAY_ICONV},
    {28593, "ISO-8859-3", .way = WAY_ICONV},
    {28594, "ISO-8859-4", .way = WAY_ICONV},
    {28595, "ISO-8859-5", .way = WAY_ICONV},
    {28596, "ISO-8859-6", .way = WAY_ICONV},
    {28597, "ISO-8859-7", .way = WAY_ICONV},
    {28598, "ISO-8859-8", .way = WAY_ICONV},
    {28599, "CP1254", .way = WAY_ICONV},
    {28600, "ISO-8859-10", .way = WAY_ICONV},
    {28601, "CP874", .way = WAY_ICONV},
    {28603, "ISO-8859-13", .way = WAY_ICONV},
    {28604, "ISO-8859-14", .way = WAY_ICONV},
    {28605, "ISO-8859-15", .way = WAY_ICONV},
    {28606, "ISO-8859-16", .way = WAY_ICONV},
    {38598, "ISO-8859-8", .way = WAY_ICONV},
    {50220, "EUC-JP-MS", .way = WAY_JIS, .leads = LEADS_EUC, .is_stateful = true},
    {50221, "EUC-JP-MS", .way = WAY_JIS, .leads = LEADS_EUC, .is_stateful = true},
    {50222, "EUC-JP-MS", .way = WAY_JIS, .leads = LEADS_EUC, .is_stateful = true},
    {50225, "ISO-2022-KR", .way = WAY_ICONV, .is_stateful = true},
    {50227, "ISO-2022-CN", .way = WAY_ICONV, .is_stateful = true},
    {51932, "EUC-JP-MS", .way = WAY_ICONV, .leads = LEADS_EUC},
    {51936, "CP936", .way = WAY_ICONV, .leads = LEADS_ALL},
    {51949, "CP949", .way = WAY_ICONV, .leads = LEADS_ALL},
    {51950, "CP950", .way = WAY_ICONV, .leads = LEADS_ALL},
    {54936, "GB18030", .way = WAY_ICONV, .leads = LEADS_ALL},
    {65000, "UTF-7", .way = WAY_ICONV, .is_stateful = true},
    {65001, NULL, .way = WAY_UTF8},
};

_Static_assert(MH_ARRAY_LEN(pages) <= PST_CHARSET_CONVERTERS, "a converter for each page");

/* NULL: not known. */
static const struct page *page_of(unsigned number)
{
    size_t at = mh_lower_bound(i, 0, MH_ARRAY_LEN(pages), pages[i].number < number);
    return at < MH_ARRAY_LEN(pages) && pages[at].number == number ? &pages[at] : NULL;
}

bool pst_charset_is_known(unsigned page)
{
    return page_of(page) != NULL;
}

bool pst_charset_has_ascii(unsigned page)
{
    const struct page *p = page_of(page);
    return !p || !p->is_stateful;
}

static bool is_lead(enum leads leads, uint8_t octet)
{
    switch (leads) {
    case LEADS_SJIS:
        return (octet >= 0x81 && octet <= 0x9f) || (octet >= 0xe0 && octet <= 0xfc);
    case LEADS_ALL:
        return octet >= 0x81 && octet <= 0xfe;
    case LEADS_EUC:
        return (octet >= 0xa1 && octet <= 0xfe) || octet == 0x8e || octet == 0x8f;
    case LEADS_NONE:
        break;
    }
    return false;
}

bool pst_charset_is_lead(unsigned page, uint8_t octet)
{
    const struct page *p = page_of(page);
    return p && p->leads != LEADS_EUC && is_lead(p->leads, octet);
}

/* --- converters ------------------------------------------------------------------------------- */

void pst_charset_init(struct pst_charset *c)
{
    *c = (struct pst_charset){.converters = {NULL}};
}

/* What iconv_open() says when it cannot: not NULL, so that it is asked once only. */
static void *unavailable(void)
{
    return (iconv_t)-1; /* NOLINT(performance-no-int-to-ptr): POSIX defines it so */
}

void pst_charset_done(struct pst_charset *c)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(c->converters); i++) {
        if (c->converters[i] && c->converters[i] != unavailable())
            (void)iconv_close(c->converters[i]);
        c->converters[i] = NULL;
    }
}

/* NULL: the C library has none. */
static iconv_t converter(struct pst_charset *c, const struct page *p)
{
    void **slot = &c->converters[p - pages];
    if (*slot)
        return *slot == unavailable() ? NULL : *slot;
    *slot = iconv_open("UTF-8", p->name);
    if (*slot != unavailable())
        return *slot;
    if (errno != EINVAL) /* other errors may pass */
        *slot = NULL;
    return NULL;
}

unsigned pst_charset_open_all(struct pst_charset *c)
{
    unsigned missing = 0;
    for (size_t i = 0; i < MH_ARRAY_LEN(pages); i++)
        missing += pages[i].name && !converter(c, &pages[i]);
    return missing;
}

/* --- characters ------------------------------------------------------------------------------- */

/* One U+FFFD; what it adds to the count. */
static uint64_t add_replacement(struct mh_buf *out)
{
    (void)mh_buf_add_utf8(out, REPLACEMENT);
    return 1;
}

/* How many octets from S on are ASCII. */
static size_t ascii_span(const uint8_t *s, size_t len)
{
    size_t n = 0;
    for (uint64_t word = 0; len - n >= sizeof word; n += sizeof word) {
        memcpy(&word, s + n, sizeof word);
        if (word & 0x8080808080808080u)
            break;
    }
    while (n < len && s[n] < 0x80)
        n++;
    return n;
}

/* --- without iconv ---------------------------------------------------------------------------- */

static uint64_t add_ascii_alone(const uint8_t *s, size_t len, struct mh_buf *out)
{
    uint64_t replaced = 0;
    while (len > 0) {
        size_t n = ascii_span(s, len);
        mh_buf_add(out, s, n);
        if (n < len) {
            replaced += add_replacement(out);
            n++;
        }
        s += n;
        len -= n;
    }
    return replaced;
}

static uint64_t add_utf8(const uint8_t *s, size_t len, struct mh_buf *out)
{
    uint64_t replaced = 0;
    size_t from = 0;
    size_t at = 0;
    while (at < len) {
        at += ascii_span(s + at, len - at);
        size_t n = mh_utf8_seq((const char *)s + at, len - at);
        at += n;
        if (n > 0 || at == len)
            continue;
        mh_buf_add(out, s + from, at - from);
        replaced += add_replacement(out);
        from = ++at;
    }
    mh_buf_add(out, s + from, len - from);
    return replaced;
}

/* SWAP: 1 when the high octet comes first. */
static uint64_t add_utf16(const uint8_t *s, size_t len, unsigned swap, struct mh_buf *out)
{
    uint64_t replaced = 0;
    for (size_t i = 0; i + 1 < len; i += 2) {
        uint32_t c = (uint32_t)s[i + swap] | (uint32_t)s[i + 1 - swap] << 8;
        if (c < 0x80) {
            mh_buf_addc(out, (char)c);
            continue;
        }
        if (c >= 0xd800 && c <= 0xdbff && i + 3 < len) {
            uint32_t low = (uint32_t)s[i + 2 + swap] | (uint32_t)s[i + 3 - swap] << 8;
            if (low >= 0xdc00 && low <= 0xdfff) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            }
        }
        replaced += !mh_buf_add_utf8(out, c);
    }
    if (len % 2)
        replaced += add_replacement(out);
    return replaced;
}

/* --- through iconv ---------------------------------------------------------------------------- */

/*
 * How many octets at S, which are no character, to leave out: all that would have been one, so that
 * the rest is not read from its middle on; but nothing that is ASCII.
 */
static size_t odd_span(const struct page *p, const uint8_t *s, size_t len)
{
    size_t whole = p->leads == LEADS_EUC && s[0] == 0x8f ? 3 : 2;
    size_t n = 1;
    if (!is_lead(p->leads, s[0]))
        return 1;
    while (n < whole && n < len && s[n] >= 0x80)
        n++;
    return n;
}

static uint64_t add_by_iconv(iconv_t cd, const struct page *p, const uint8_t *s, size_t len,
                             struct mh_buf *out)
{
    char piece[PIECE_BYTES];
    char *in = (char *)(uintptr_t)s;
    size_t left = len;
    uint64_t replaced = 0;
    bool is_flushed = false;
    (void)iconv(cd, NULL, NULL, NULL, NULL);
    while (!is_flushed && !mh_buf_failed(out)) {
        char *to = piece;
        size_t room = sizeof piece;
        is_flushed = left == 0;
        size_t rc = iconv(cd, is_flushed ? NULL : &in, &left, &to, &room);
        int why = rc == (size_t)-1 ? errno : 0;
        mh_buf_add(out, piece, sizeof piece - room);
        if (why == E2BIG && room < sizeof piece) {
            is_flushed = false;
        } else if (why == EINVAL) {
            /* Ends within a character: all that is left is part of it. */
            replaced += add_replacement(out);
            left = 0;
        } else if (why != 0 && left > 0) {
            size_t n = odd_span(p, (const uint8_t *)in, left);
            replaced += add_replacement(out);
            in += n;
            left -= n;
        }
    }
    return replaced;
}

static uint64_t convert(struct pst_charset *c, const struct page *p, const uint8_t *s, size_t len,
                        struct mh_buf *out)
{
    iconv_t cd = converter(c, p);
    return cd ? add_by_iconv(cd, p, s, len, out) : add_ascii_alone(s, len, out);
}

/* What calls itself ASCII and is not. */
static uint64_t add_false_ascii(struct pst_charset *c, const struct page *p, const uint8_t *s,
                                size_t len, struct mh_buf *out)
{
    uint64_t odd = 0;
    for (size_t i = 0; i < len; i++)
        odd += s[i] >= 0x80;
    if (odd == 0 || mh_utf8_valid((const char *)s, len))
        mh_buf_add(out, s, len);
    else
        (void)convert(c, p, s, len, out);
    return odd;
}

/* --- ISO-2022-JP ------------------------------------------------------------------------------ */

/* What is chosen by an escape sequence. */
enum jis_set { JIS_ASCII, JIS_KANA, JIS_TWO, JIS_SUPPLEMENT };

static const struct {
    const char *escape; /* behind ESC */
    enum jis_set set;
} jis_sets[] = {
    {"(B", JIS_ASCII},       {"(J", JIS_ASCII}, {"(H", JIS_ASCII},
    {"(I", JIS_KANA},        {"$@", JIS_TWO},   {"$B", JIS_TWO},
    {"$(D", JIS_SUPPLEMENT}, {"$(@", JIS_TWO},  {"$(B", JIS_TWO},
};

struct jis {
    enum jis_set set;
    bool is_shifted; /* by SO: half-width kana, until SI */
};

/* The escape sequence at S, behind ESC: its length, 0 when it is none. */
static size_t jis_escape(struct jis *j, const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(jis_sets); i++) {
        size_t n = strlen(jis_sets[i].escape);
        if (n <= len && memcmp(s, jis_sets[i].escape, n) == 0) {
            j->set = jis_sets[i].set;
            return n;
        }
    }
    return 0;
}

/* One character at S, in EUC-JP, to OUT; how many octets of S it was. */
static size_t jis_unfold(const struct jis *j, const uint8_t *s, size_t len, struct mh_buf *out)
{
    bool is_graphic = s[0] > 0x20 && s[0] < 0x7f;
    bool is_kana = j->is_shifted || j->set == JIS_KANA;
    if (s[0] > 0xa0 && s[0] < 0xe0) { /* half-width kana in eight bits */
        mh_buf_add(out, (const char[]){(char)0x8e, (char)s[0]}, 2);
        return 1;
    }
    if (is_graphic && is_kana && s[0] < 0x60) {
        mh_buf_add(out, (const char[]){(char)0x8e, (char)(s[0] | 0x80)}, 2);
        return 1;
    }
    if (is_graphic && !is_kana && j->set != JIS_ASCII && len > 1 && s[1] > 0x20 && s[1] < 0x7f) {
        if (j->set == JIS_SUPPLEMENT)
            mh_buf_addc(out, (char)0x8f);
        mh_buf_add(out, (const char[]){(char)(s[0] | 0x80), (char)(s[1] | 0x80)}, 2);
        return 2;
    }
    /* Half a character is no character: an octet that EUC-JP does not have either. */
    bool is_half = is_graphic && (is_kana || j->set != JIS_ASCII);
    mh_buf_addc(out, is_half ? (char)0xff : (char)s[0]);
    return 1;
}

static uint64_t add_jis(struct pst_charset *c, const struct page *p, const uint8_t *s, size_t len,
                        struct mh_buf *out)
{
    struct mh_buf euc = MH_BUF_INIT;
    struct jis j = {.set = JIS_ASCII};
    for (size_t i = 0; i < len;) {
        size_t n = s[i] == 0x1b ? jis_escape(&j, s + i + 1, len - i - 1) : 0;
        if (n > 0) {
            i += 1 + n;
        } else if (s[i] == 0x0e || s[i] == 0x0f) {
            j.is_shifted = s[i++] == 0x0e;
        } else {
            if (s[i] == '\r' || s[i] == '\n')
                j = (struct jis){.set = JIS_ASCII}; /* RFC 1468: a line begins in ASCII */
            i += jis_unfold(&j, s + i, len - i, &euc);
        }
    }
    uint64_t replaced = convert(c, p, (const uint8_t *)mh_buf_str(&euc), euc.len, out);
    out->failed = out->failed || mh_buf_failed(&euc);
    mh_buf_done(&euc);
    return replaced;
}

/* --- all of them ------------------------------------------------------------------------------ */

uint64_t pst_charset_add(struct pst_charset *c, unsigned page, const void *text, size_t len,
                         struct mh_buf *out)
{
    const uint8_t *s = text;
    const struct page *p = page_of(page);
    if (len == 0)
        return 0;
    if (!p)
        return add_ascii_alone(s, len, out);
    if (!p->is_stateful) {
        size_t n = ascii_span(s, len);
        mh_buf_add(out, s, n);
        s += n;
        len -= n;
    }
    switch (p->way) {
    case WAY_UTF8:
        return add_utf8(s, len, out);
    case WAY_UTF16:
        return add_utf16(s, len, 0, out);
    case WAY_UTF16_SWAPPED:
        return add_utf16(s, len, 1, out);
    case WAY_ASCII:
        return add_false_ascii(c, p, s, len, out);
    case WAY_JIS:
        return add_jis(c, p, s, len, out);
    case WAY_ICONV:
        break;
    }
    return len > 0 ? convert(c, p, s, len, out) : 0;
}
