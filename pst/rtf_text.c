/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/rtf_text.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "pst/rtf_words_priv.h"

enum {
    /* Within how many braces and words a body says what it was ([MS-OXRTFEX] 2.2.3.1). */
    HEAD_TOKENS = 10,
    NUMBER_MAX = 999999999, /* a parameter beyond that is none */
};

enum destination { IN_BODY, IN_HTML_TAG, IN_FONT_TABLE, IN_INSTRUCTION, IN_NOTHING };

/* What a group inherits from the one around it, and gives back at its end. */
struct group {
    enum destination in;
    bool is_cut_out; /* by \htmlrtf */
    bool is_hidden;
    int fallback; /* characters behind each \u for those who cannot read it */
    int font;     /* -1: none was chosen */
};

struct pst_rtf_reader {
    struct pst_charset *charset; /* borrowed */
    uint16_t *font_pages;        /* owned; by font number; 0: the document's */
    size_t font_cap;
    struct mh_buf run;  /* octets that wait for the end of their code page */
    struct mh_buf link; /* the last field's instruction */

    /* What follows is one body's. */
    const uint8_t *start, *p, *end;
    struct mh_buf *out; /* borrowed */
    struct pst_rtf_result result;
    size_t n_fonts;
    unsigned page; /* the document's */
    bool has_page; /* … and it was told by number */
    int default_font;
    int table_font; /* the one that the font table tells of */
    unsigned n_tokens;
    bool is_starred; /* \* was the last token */
    bool is_cut;
    int skip; /* characters that stand for one that we could read */

    unsigned run_page;
    struct mh_buf *run_to;
    bool run_has_lead; /* its last octet begins a character */
    uint32_t high;     /* half a pair that waits for the other; 0: none */
    struct mh_buf *high_to;
    bool is_starved; /* of memory */

    size_t field_depth; /* of the field whose instruction LINK is; 0: none */
    size_t field_at;    /* in OUT */
    size_t link_seen;   /* how long LINK was when it was looked at … */
    bool link_leads;    /* … and whether it leads somewhere */

    size_t depth;    /* groups that are open; the first is what is around them */
    size_t too_deep; /* groups beyond the limit that are open */
    struct group groups[PST_RTF_DEPTH_MAX + 1];
};

struct pst_rtf_reader *pst_rtf_reader_new(struct pst_charset *charset)
{
    struct pst_rtf_reader *r = mh_zalloc(sizeof *r);
    if (r)
        r->charset = charset;
    return r;
}

void pst_rtf_reader_free(struct pst_rtf_reader *r)
{
    if (!r)
        return;
    mh_buf_done(&r->run);
    mh_buf_done(&r->link);
    mh_free(r->font_pages);
    mh_free(r);
}

static struct group *group(struct pst_rtf_reader *r)
{
    return &r->groups[r->depth];
}

static void worsen(struct pst_rtf_reader *r, enum pst_state state, enum pst_why why)
{
    struct pst_verdict *v = &r->result.verdict;
    if (v->state < state)
        *v = (struct pst_verdict){state, why, 0};
}

/* --- text out --------------------------------------------------------------------------------- */

/* What there is of the present instruction. */
static size_t link_bytes(const struct pst_rtf_reader *r)
{
    return r->link.len + (r->run_to == &r->link ? r->run.len : 0);
}

/* Where text goes just now; NULL: nowhere. */
static struct mh_buf *sink(struct pst_rtf_reader *r)
{
    const struct group *g = group(r);
    if (g->in == IN_INSTRUCTION)
        return link_bytes(r) < PST_RTF_LINK_MAX ? &r->link : NULL;
    bool is_shown = g->in == IN_BODY || g->in == IN_HTML_TAG;
    return is_shown && !g->is_cut_out && !g->is_hidden ? r->out : NULL;
}

static void flush_run(struct pst_rtf_reader *r)
{
    if (r->run.len > 0)
        r->result.replaced +=
            pst_charset_add(r->charset, r->run_page, r->run.data, r->run.len, r->run_to);
    r->is_starved = r->is_starved || mh_buf_failed(&r->run);
    r->run_has_lead = false;
    mh_buf_reset(&r->run);
}

/* Half a pair that stayed alone. */
static void flush_high(struct pst_rtf_reader *r)
{
    if (r->high)
        r->result.replaced += !mh_buf_add_utf8(r->high_to, r->high);
    r->high = 0;
}

/* Text of another kind comes: what waits will not be completed any more. */
static void settle(struct pst_rtf_reader *r)
{
    flush_run(r);
    flush_high(r);
}

static void put(struct pst_rtf_reader *r, const char *s)
{
    struct mh_buf *to = sink(r);
    if (!to)
        return;
    settle(r);
    mh_buf_adds(to, s);
}

/* What fonts of pictures are mostly used for: the marks of lists. */
static uint32_t picture_point(uint32_t point)
{
    switch (point) {
    case 0xf0a7:
        return 0x25aa;
    case 0xf0b7:
        return 0x2022;
    case 0xf0d8:
        return 0x27a2;
    case 0xf0fc:
        return 0x2713;
    default:
        return point;
    }
}

static void put_point(struct pst_rtf_reader *r, uint32_t point)
{
    struct mh_buf *to = sink(r);
    if (!to)
        return;
    if (point == '\n' || point == '\r') {
        put(r, "\r\n");
        return;
    }
    flush_run(r);
    if (r->high && point >= 0xdc00 && point <= 0xdfff) {
        point = 0x10000 + ((r->high - 0xd800) << 10) + (point - 0xdc00);
        r->high = 0;
    }
    flush_high(r);
    if (point >= 0xd800 && point <= 0xdbff) {
        r->high = point;
        r->high_to = to;
        return;
    }
    if (r->result.kind == PST_RTF_CONVERTED)
        point = picture_point(point);
    /* NUL is no text. */
    r->result.replaced += !mh_buf_add_utf8(to, point ? point : UINT32_MAX);
}

/* The code page of octets that stand here; tags have the document's ([MS-OXRTFEX] 2.2.3.2). */
static unsigned page_here(struct pst_rtf_reader *r)
{
    const struct group *g = group(r);
    int font = g->font >= 0 ? g->font : r->default_font;
    unsigned page = 0;
    if (g->in != IN_HTML_TAG && font >= 0 && (size_t)font < r->n_fonts)
        page = r->font_pages[font];
    /* Fonts have no number for UTF-8: a body that is UTF-8 can only call them ANSI. */
    bool is_utf8 = page == PST_PAGE_WINDOWS && r->page == PST_PAGE_UTF8;
    return page && !is_utf8 ? page : r->page;
}

static bool is_ascii(const uint8_t *p, size_t n)
{
    uint8_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= p[i];
    return all < 0x80;
}

/*
 * Octets of text, at least one. A character may lie in several of these calls, with commands
 * between them: the run is kept until one of another page comes, or something that is no octet. A
 * page that changes within a character has to wait for its end.
 */
static void put_octets(struct pst_rtf_reader *r, const uint8_t *p, size_t n)
{
    struct mh_buf *to = sink(r);
    if (!to)
        return;
    unsigned page = page_here(r);
    if (page == RTF_PAGE_SYMBOL)
        page = PST_PAGE_WINDOWS;
    if (to == &r->link)
        n = MH_MIN(n, PST_RTF_LINK_MAX - link_bytes(r));
    flush_high(r);
    if (r->run.len > 0 && (to != r->run_to || page != r->run_page)) {
        if (r->run_has_lead && to == r->run_to) {
            mh_buf_add(&r->run, p++, 1);
            n--;
        }
        flush_run(r);
    }
    if (n == 0)
        return;
    if (!r->run_has_lead && is_ascii(p, n) && pst_charset_has_ascii(page)) {
        flush_run(r);
        mh_buf_add(to, p, n);
        return;
    }
    r->run_page = page;
    r->run_to = to;
    mh_buf_add(&r->run, p, n);
    for (size_t i = 0; i < n; i++)
        r->run_has_lead = !r->run_has_lead && p[i] >= 0x80 && pst_charset_is_lead(page, p[i]);
}

/* True when the next character is one that we do without. */
static bool is_skipped(struct pst_rtf_reader *r)
{
    if (r->skip == 0)
        return false;
    r->skip--;
    return true;
}

/* --- links ------------------------------------------------------------------------------------ */

/*
 * The address in a field's instruction, `HYPERLINK "address"`; empty when it leads into the text.
 */
static struct pst_span link_address(const struct mh_buf *instruction)
{
    static const char verb[] = "HYPERLINK";
    const char *s = mh_buf_str(instruction);
    s += strspn(s, " \t\r\n");
    if (!mh_str_istarts(s, verb))
        return (struct pst_span){NULL, 0};
    s += sizeof verb - 1;
    s += strspn(s, " \t\r\n");
    bool is_quoted = *s == '"';
    s += is_quoted;
    size_t n = strcspn(s, is_quoted ? "\"" : " \t\r\n\\");
    return (struct pst_span){(const uint8_t *)s, memchr(s, ':', n) ? n : 0};
}

/* The text that a field brought says where it leads to, unless it was a name for it. */
static bool shows(const struct mh_buf *out, size_t from, struct pst_span address)
{
    static const char mail[] = "mailto:";
    size_t prefix = sizeof mail - 1;
    size_t n = out->len - from;
    if (address.n > prefix && mh_mem_ieq((const char *)address.p, prefix, mail)) {
        address.p += prefix;
        address.n -= prefix;
    }
    /* A longer text is no address; and looking through it once for each field would be too much. */
    return n > 0 && n <= 2 * PST_RTF_LINK_MAX && memmem(out->data + from, n, address.p, address.n);
}

/*
 * The present field leads somewhere. Asked by each field within it, so not to be found out each
 * time.
 */
static bool leads(struct pst_rtf_reader *r)
{
    if (r->link_seen != r->link.len) {
        r->link_seen = r->link.len;
        r->link_leads = link_address(&r->link).n > 0;
    }
    return r->link_leads;
}

static void forget_link(struct pst_rtf_reader *r)
{
    r->is_starved = r->is_starved || mh_buf_failed(&r->link);
    r->field_depth = 0;
    r->link_seen = 0;
    r->link_leads = false;
    mh_buf_reset(&r->link);
}

/* The present field has ended, and with it what stands in its place. */
static void end_field(struct pst_rtf_reader *r)
{
    settle(r);
    struct pst_span address = link_address(&r->link);
    struct mh_buf *to = sink(r);
    if (to && to == r->out && address.n > 0 && !shows(to, r->field_at, address)) {
        bool is_bare = to->len == r->field_at;
        mh_buf_adds(to, is_bare ? "" : " <");
        mh_buf_add(to, address.p, address.n);
        mh_buf_adds(to, is_bare ? "" : ">");
    }
    forget_link(r);
}

/*
 * A field within another one gives way to that when it leads somewhere, and else takes its place.
 */
static void begin_field(struct pst_rtf_reader *r)
{
    if (r->result.kind != PST_RTF_CONVERTED || r->depth <= 1 || r->too_deep > 0)
        return;
    settle(r);
    if (r->field_depth > 0 && leads(r))
        return;
    forget_link(r);
    r->field_depth = r->depth;
    r->field_at = r->out->len;
}

/* --- groups and fonts ------------------------------------------------------------------------- */

static void open_group(struct pst_rtf_reader *r)
{
    r->skip = 0;
    r->is_starred = false;
    r->n_tokens++;
    if (r->depth == PST_RTF_DEPTH_MAX) {
        r->too_deep++;
        worsen(r, PST_SUSPECT, PST_WHY_NESTING);
        return;
    }
    r->groups[r->depth + 1] = *group(r);
    r->depth++;
}

/* Called with a group open. */
static void close_group(struct pst_rtf_reader *r)
{
    r->skip = 0;
    r->is_starred = false;
    if (r->too_deep > 0) {
        r->too_deep--;
        return;
    }
    bool is_field = r->depth == r->field_depth;
    r->depth--;
    if (is_field)
        end_field(r);
}

/* The page of the font that the table tells of. */
static void set_font_page(struct pst_rtf_reader *r, unsigned page)
{
    if (r->table_font < 0 || group(r)->in != IN_FONT_TABLE)
        return;
    size_t need = (size_t)r->table_font + 1;
    if (!mh_grow(r->font_pages, r->font_cap, need)) {
        r->is_starved = true;
        return;
    }
    if (need > r->n_fonts) {
        memset(r->font_pages + r->n_fonts, 0, (need - r->n_fonts) * sizeof *r->font_pages);
        r->n_fonts = need;
    }
    r->font_pages[r->table_font] = (uint16_t)page;
}

static void set_font(struct pst_rtf_reader *r, int number)
{
    bool is_valid = number >= 0 && number < PST_RTF_FONTS_MAX;
    if (group(r)->in == IN_FONT_TABLE)
        r->table_font = is_valid ? number : -1;
    else
        group(r)->font = is_valid ? number : -1;
}

/* --- control words ---------------------------------------------------------------------------- */

struct word {
    const struct rtf_word *known; /* NULL: none that we know */
    bool has_number;
    int number;
};

/* What the group's text is for. Not the outermost one: the whole body would be gone. */
static void enter(struct pst_rtf_reader *r, enum destination in)
{
    if (r->depth > 1 && r->too_deep == 0 && group(r)->in != IN_NOTHING)
        group(r)->in = in;
}

/* True when the word names what its group is for. */
static bool on_destination(struct pst_rtf_reader *r, enum rtf_op op)
{
    enum pst_rtf_kind kind = r->result.kind;
    switch (op) {
    case RTF_SKIP:
        enter(r, IN_NOTHING);
        return true;
    case RTF_SKIP_LABEL:
        if (kind != PST_RTF_CONVERTED)
            enter(r, IN_NOTHING);
        return true;
    case RTF_FONT_TABLE:
        enter(r, IN_FONT_TABLE);
        return true;
    case RTF_HTML_TAG:
        enter(r, kind == PST_RTF_HTML ? IN_HTML_TAG : IN_NOTHING);
        return true;
    case RTF_INSTRUCTION:
        enter(r,
              r->field_depth > 0 && r->depth == r->field_depth + 1 ? IN_INSTRUCTION : IN_NOTHING);
        return true;
    case RTF_FIELD:
        begin_field(r);
        return true;
    default:
        return false;
    }
}

/* True when the word is text. */
static bool on_text(struct pst_rtf_reader *r, const struct rtf_word *w)
{
    bool is_converted = r->result.kind == PST_RTF_CONVERTED;
    switch (w->op) {
    case RTF_POINT:
        if (!is_skipped(r))
            put_point(r, w->value);
        return true;
    case RTF_BLOCK_LINE:
    case RTF_LINE:
        if (is_converted || w->op == RTF_LINE)
            put(r, "\r\n");
        return true;
    case RTF_BLOCK_TAB:
    case RTF_TAB:
        if (is_converted || w->op == RTF_TAB)
            put(r, "\t");
        return true;
    default:
        return false;
    }
}

/* What the body was made of; only its head can tell. */
static void set_kind(struct pst_rtf_reader *r, enum pst_rtf_kind kind)
{
    if (r->n_tokens <= HEAD_TOKENS && r->depth == 1 && r->result.kind == PST_RTF_CONVERTED)
        r->result.kind = kind;
}

static void set_page(struct pst_rtf_reader *r, unsigned page, bool is_told)
{
    if (!pst_charset_is_known(page) || (r->has_page && !is_told))
        return;
    r->page = page;
    r->has_page = is_told;
}

/* A number may be any 16-bit one with a sign, or a code point as it is. */
static void on_unicode(struct pst_rtf_reader *r, int number)
{
    put_point(r, number < 0 ? (uint32_t)number + 0x10000 : (uint32_t)number);
    r->skip = group(r)->fallback;
}

/* Octets that are no RTF follow. */
static void on_binary(struct pst_rtf_reader *r, int number)
{
    size_t left = (size_t)(r->end - r->p);
    size_t n = number > 0 ? (size_t)number : 0;
    r->is_cut = r->is_cut || n > left;
    r->p += MH_MIN(n, left);
    (void)is_skipped(r);
}

static void on_state(struct pst_rtf_reader *r, const struct word *w)
{
    struct group *g = group(r);
    bool is_on = !w->has_number || w->number != 0;
    unsigned positive = w->number > 0 ? (unsigned)w->number : 0;
    switch (w->known->op) {
    case RTF_FROM_HTML:
        if (is_on)
            set_kind(r, PST_RTF_HTML);
        break;
    case RTF_FROM_TEXT:
        set_kind(r, PST_RTF_TEXT);
        break;
    case RTF_HIDE_FROM_HTML:
        g->is_cut_out = is_on && r->result.kind == PST_RTF_HTML;
        break;
    case RTF_HIDDEN:
        g->is_hidden = is_on && r->result.kind == PST_RTF_CONVERTED;
        break;
    case RTF_PLAIN:
        g->is_hidden = false;
        g->font = -1;
        break;
    case RTF_UNICODE:
        if (w->has_number)
            on_unicode(r, w->number);
        break;
    case RTF_FALLBACK:
        g->fallback = w->has_number ? (int)positive : 1;
        break;
    case RTF_BINARY:
        on_binary(r, w->number);
        break;
    case RTF_PAGE:
        set_page(r, w->known->value, false);
        break;
    case RTF_PAGE_IS:
        set_page(r, positive, true);
        break;
    case RTF_FONT:
        set_font(r, w->has_number ? w->number : 0);
        if (g->in == IN_FONT_TABLE)
            set_font_page(r, 0);
        break;
    case RTF_FONT_DEFAULT:
        r->default_font = w->has_number ? w->number : 0;
        break;
    case RTF_FONT_CHARSET:
        set_font_page(r, rtf_charset_page(w->number));
        break;
    case RTF_FONT_PAGE:
        if (pst_charset_is_known(positive))
            set_font_page(r, positive);
        break;
    default:
        break;
    }
}

static void on_word(struct pst_rtf_reader *r, const struct word *w)
{
    bool is_starred = r->is_starred;
    r->is_starred = false;
    r->n_tokens++;
    if (w->known && on_destination(r, w->known->op))
        return;
    /* "\*" in front of what we do not know: a destination that we are asked to leave out. */
    if (is_starred)
        enter(r, IN_NOTHING);
    if (w->known && !on_text(r, w->known))
        on_state(r, w);
}

/* --- tokens ----------------------------------------------------------------------------------- */

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Behind "\", at a letter. */
static void read_word(struct pst_rtf_reader *r)
{
    const uint8_t *name = r->p;
    struct word w = {.known = NULL};
    while (r->p < r->end && is_letter(*r->p))
        r->p++;
    w.known = rtf_word_find((const char *)name, (size_t)(r->p - name));
    bool is_negative = r->end - r->p > 1 && r->p[0] == '-' && is_digit(r->p[1]);
    r->p += is_negative;
    for (; r->p < r->end && is_digit(*r->p); r->p++) {
        w.has_number = true;
        w.number = w.number > NUMBER_MAX / 10 ? NUMBER_MAX : w.number * 10 + (*r->p - '0');
    }
    if (is_negative)
        w.number = -w.number;
    if (r->p < r->end && *r->p == ' ')
        r->p++;
    on_word(r, &w);
}

/* Behind "\'0a": "\'0d" comes before it, and was the line end already. */
static bool follows_cr(const struct pst_rtf_reader *r)
{
    return r->p - r->start >= 8 && memcmp(r->p - 8, "\\'0d", 4) == 0;
}

/* Behind "\'": two hexadecimal digits. */
static void read_hex(struct pst_rtf_reader *r)
{
    bool is_whole = r->end - r->p >= 2;
    int high = is_whole ? mh_hex_value((char)r->p[0]) : -1;
    int low = is_whole ? mh_hex_value((char)r->p[1]) : -1;
    bool is_hex = high >= 0 && low >= 0;
    uint8_t octet = is_hex ? (uint8_t)(high * 16 + low) : 0;
    r->p += is_hex ? 2 : 0;
    if (is_skipped(r))
        return;
    uint32_t picture = 0xf000u + octet;
    if (octet == 0)
        put_point(r, 0);
    else if (octet == '\r' || (octet == '\n' && !follows_cr(r)))
        put_point(r, '\n');
    else if (octet == '\n')
        return;
    else if (r->result.kind == PST_RTF_CONVERTED && page_here(r) == RTF_PAGE_SYMBOL &&
             picture_point(picture) != picture)
        put_point(r, picture);
    else
        put_octets(r, &octet, 1);
}

/* Behind "\", at what is no letter. */
static void read_symbol(struct pst_rtf_reader *r)
{
    const uint8_t *c = r->p++;
    bool was_text = r->result.kind != PST_RTF_CONVERTED;
    r->is_starred = *c == '*';
    switch (*c) {
    case '\'':
        read_hex(r);
        break;
    case '\\':
    case '{':
    case '}':
        if (!is_skipped(r))
            put_octets(r, c, 1);
        break;
    case '~':
        if (!is_skipped(r))
            put_point(r, 0xa0);
        break;
    case '-':
        if (!is_skipped(r))
            put_point(r, 0xad);
        break;
    case '_': /* a hyphen that does not break; encapsulated, it is the one that may */
        if (!is_skipped(r))
            put_point(r, was_text ? 0xad : 0x2011);
        break;
    case '\t':
        put(r, "\t");
        break;
    case '\r':
        r->p += r->p < r->end && *r->p == '\n';
        put(r, "\r\n");
        break;
    case '\n':
        put(r, "\r\n");
        break;
    default:
        break;
    }
}

/* Text up to what is none: a command, a brace, a line end or NUL, which mean nothing in RTF. */
static void read_text(struct pst_rtf_reader *r)
{
    const uint8_t *from = r->p;
    while (r->p < r->end && *r->p != '\\' && *r->p != '{' && *r->p != '}' && *r->p != '\r' &&
           *r->p != '\n' && *r->p != '\0')
        r->p++;
    size_t n = (size_t)(r->p - from);
    size_t skipped = MH_MIN((size_t)r->skip, n);
    r->skip -= (int)skipped;
    r->is_starred = false;
    if (n > skipped)
        put_octets(r, from + skipped, n - skipped);
}

static void read_token(struct pst_rtf_reader *r)
{
    switch (*r->p) {
    case '{':
        r->p++;
        open_group(r);
        break;
    case '}':
        r->p++;
        close_group(r);
        break;
    case '\\':
        r->p++;
        if (r->p == r->end)
            break;
        if (is_letter(*r->p))
            read_word(r);
        else
            read_symbol(r);
        break;
    case '\r':
    case '\n':
    case '\0':
        r->p++;
        break;
    default:
        read_text(r);
    }
}

/* --- a body ----------------------------------------------------------------------------------- */

static void begin(struct pst_rtf_reader *r, const uint8_t *p, size_t len, struct mh_buf *out)
{
    r->start = r->p = p;
    r->end = p + len;
    r->out = out;
    r->result = (struct pst_rtf_result){.kind = PST_RTF_CONVERTED};
    r->n_fonts = 0;
    r->page = PST_PAGE_WINDOWS;
    r->has_page = false;
    r->default_font = -1;
    r->table_font = -1;
    r->n_tokens = 0;
    r->is_starred = r->is_cut = r->run_has_lead = false;
    r->run_to = NULL;
    r->skip = 0;
    r->high = 0;
    r->depth = r->too_deep = r->field_depth = 0;
    r->groups[0] = (struct group){.in = IN_BODY, .fallback = 1, .font = -1};
    mh_buf_reset(&r->run);
    forget_link(r);
    r->is_starved = false; /* by the body before */
}

/* What may stand in front of a body and behind it. */
static bool is_filler(uint8_t c)
{
    return c == '\0' || c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_rtf(const struct pst_rtf_reader *r)
{
    return r->end - r->p >= 5 && memcmp(r->p, "{\\rtf", 5) == 0;
}

struct pst_rtf_result pst_rtf_text(struct pst_rtf_reader *r, const void *rtf, size_t len,
                                   struct mh_buf *out)
{
    size_t before = out->len;
    begin(r, len > 0 ? rtf : (const void *)"", len, out);
    while (r->p < r->end && is_filler(*r->p))
        r->p++;
    if (!is_rtf(r)) {
        worsen(r, PST_LOST, PST_WHY_TYPE);
        return r->result;
    }
    do {
        read_token(r);
    } while (r->p < r->end && r->depth > 0);
    settle(r);
    if (r->depth > 0 || r->is_cut)
        worsen(r, PST_SUSPECT, PST_WHY_CUT);
    while (r->p < r->end && is_filler(*r->p))
        r->p++;
    if (r->p < r->end) /* more than it says that it is */
        worsen(r, PST_SUSPECT, PST_WHY_SIZE);
    if (r->is_starved || mh_buf_failed(out)) {
        worsen(r, PST_LOST, PST_WHY_MEMORY);
        out->len = before;
        if (out->data)
            out->data[before] = '\0';
    }
    return r->result;
}
