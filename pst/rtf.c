/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst/rtf.h"

enum {
    HEAD_BYTES = 16,
    /* COMPSIZE counts what follows it: the rest of the head too. */
    HEAD_REST_BYTES = 12,
    RING_BYTES = 4096, /* how far back a reference reaches */
    REFERENCE_MIN = 2, /* octets; what is added to its length */
    TOKENS = 8,        /* that one control octet is about */
};

#define MARK_PACKED 0x75465a4cu /* "LZFu" */
#define MARK_PLAIN  0x414c454du /* "MELA" */

/*
 * What the ring holds before anything was written ([MS-OXRTFCP] 2.1.2.1): words that RTF often
 * has.
 */
static const char preset[] =
    "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    "\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    "\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

enum { PRESET_BYTES = sizeof preset - 1 };
_Static_assert(PRESET_BYTES == 207, "the preset is as long as the format says");

struct head {
    uint32_t packed_size; /* as announced: of what follows the head; above 2^32 - 13 when it lies */
    uint32_t plain_size;
    uint32_t mark;
    uint32_t crc;
};

/* --- LZFu ------------------------------------------------------------------------------------- */

enum token_kind { TOKEN_LITERAL, TOKEN_REFERENCE, TOKEN_END, TOKEN_CUT };

struct token {
    enum token_kind kind;
    uint8_t octet;
    uint32_t back; /* how far behind the place that is written */
    uint32_t n;
};

/* Reads tokens; WRITTEN is what the ring has seen, the preset included. */
struct unpacker {
    const uint8_t *p, *end;
    unsigned control;
    unsigned left; /* tokens that CONTROL is about */
    uint64_t written;
};

static void unpacker_init(struct unpacker *u, const uint8_t *p, size_t len)
{
    *u = (struct unpacker){.p = p, .end = p + len, .written = PRESET_BYTES};
}

static struct token next_token(struct unpacker *u)
{
    if (u->left == 0 && u->p < u->end) {
        u->control = *u->p++;
        u->left = TOKENS;
    }
    size_t need = u->control & 1 ? 2 : 1;
    if ((size_t)(u->end - u->p) < need)
        return (struct token){.kind = TOKEN_CUT};
    bool is_reference = u->control & 1;
    u->control >>= 1;
    u->left--;
    if (!is_reference)
        return (struct token){.kind = TOKEN_LITERAL, .octet = *u->p++, .n = 1};
    unsigned word = (unsigned)u->p[0] << 8 | u->p[1];
    u->p += 2;
    uint32_t back = ((uint32_t)u->written - (word >> 4)) % RING_BYTES;
    return (struct token){.kind = back == 0 ? TOKEN_END : TOKEN_REFERENCE,
                          .back = back,
                          .n = (word & 0xf) + REFERENCE_MIN};
}

/* What it will be once it is unpacked. */
struct measure {
    uint64_t plain_size;
    size_t packed_size; /* with the end, without what follows it */
    bool has_end;
    bool is_sound; /* no reference to what never was written */
};

static struct measure measure(const uint8_t *p, size_t len)
{
    struct unpacker u;
    struct measure m = {.is_sound = true};
    unpacker_init(&u, p, len);
    for (;;) {
        struct token t = next_token(&u);
        m.has_end = t.kind == TOKEN_END;
        if (t.kind == TOKEN_END || t.kind == TOKEN_CUT)
            break;
        m.is_sound = m.is_sound && t.back <= u.written;
        u.written += t.n;
    }
    m.plain_size = u.written - PRESET_BYTES;
    m.packed_size = (size_t)(u.p - p);
    return m;
}

/* TO has room for the preset and SIZE octets: one stretch, so that the ring needs no turning. */
static void expand(const uint8_t *p, size_t len, uint8_t *to, size_t size)
{
    struct unpacker u;
    uint64_t end = PRESET_BYTES + (uint64_t)size;
    unpacker_init(&u, p, len);
    memcpy(to, preset, PRESET_BYTES);
    while (u.written < end) {
        struct token t = next_token(&u);
        mh_assert(t.kind == TOKEN_LITERAL || t.kind == TOKEN_REFERENCE);
        if (t.kind == TOKEN_LITERAL) {
            to[u.written++] = t.octet;
            continue;
        }
        /* It may reach into what it writes itself, so octet by octet. */
        for (uint32_t i = 0; i < t.n && u.written < end; i++, u.written++)
            to[u.written] = t.back <= u.written ? to[u.written - t.back] : 0;
    }
}

static struct pst_verdict suspect(enum pst_why why)
{
    return (struct pst_verdict){PST_SUSPECT, why, 0};
}

static struct pst_verdict lost(enum pst_why why)
{
    return (struct pst_verdict){PST_LOST, why, 0};
}

/*
 * A stream without an end is whole when it has all that was announced: what comes behind that is
 * padding, and *SIZE is cut to it.
 */
static bool sizes_fit(const struct head *h, const struct measure *m, uint64_t *size)
{
    if (m->packed_size > h->packed_size)
        return false;
    if (!m->has_end && m->plain_size > h->plain_size)
        *size = h->plain_size;
    return *size == h->plain_size && m->is_sound;
}

/*
 * LEN octets behind the head. Where the CRC proves how long it is, nothing behind that is looked
 * at; otherwise all that there is, up to an end.
 */
static struct pst_verdict unpack(const struct head *h, const uint8_t *p, size_t len,
                                 struct pst_arena *arena, struct pst_span *out)
{
    struct pst_verdict v = {PST_OK, PST_WHY_NONE, 0};
    bool is_proved = h->packed_size <= len && pst_crc(p, h->packed_size) == h->crc;
    if (!is_proved && h->mark != MARK_PACKED)
        return lost(PST_WHY_TYPE);
    size_t n = is_proved ? h->packed_size : len;
    struct measure m = measure(p, n);
    uint64_t size = m.plain_size;
    if (!sizes_fit(h, &m, &size) || h->packed_size > len)
        v = suspect(PST_WHY_SIZE);
    else if (!is_proved)
        v = suspect(PST_WHY_CRC);
    else if (h->mark != MARK_PACKED)
        v = suspect(PST_WHY_TYPE);
    if (size > PST_RTF_MAX_BYTES)
        return lost(PST_WHY_LIMIT);
    uint8_t *room = pst_arena_alloc(arena, PRESET_BYTES + (size_t)size);
    if (!room)
        return lost(PST_WHY_MEMORY);
    expand(p, n, room, (size_t)size);
    *out = (struct pst_span){room + PRESET_BYTES, (size_t)size};
    return v;
}

/* --- what it is ------------------------------------------------------------------------------- */

static bool is_rtf(const uint8_t *p, size_t len)
{
    return len >= 5 && memcmp(p, "{\\rtf", 5) == 0;
}

/*
 * Not compressed: what there is of it, as it stands; there is no CRC. One library that writes
 * archives gives both sizes the same number, which is no harm: what there is tells whether the rest
 * of the head is in it.
 */
static struct pst_verdict take_plain(const struct head *h, const uint8_t *p, size_t len,
                                     struct pst_span *out)
{
    bool is_same = h->plain_size == h->packed_size + HEAD_REST_BYTES;
    size_t n = is_same && h->plain_size <= len ? h->plain_size : h->packed_size;
    if (n <= len && (is_same || n == h->plain_size)) {
        *out = (struct pst_span){p, n};
        return (struct pst_verdict){PST_OK, PST_WHY_NONE, 0};
    }
    *out = (struct pst_span){p, MH_MIN(len, MH_MAX(h->packed_size, h->plain_size))};
    return suspect(PST_WHY_SIZE);
}

struct pst_verdict pst_rtf_unpack(const void *packed, size_t len, struct pst_arena *arena,
                                  struct pst_span *out)
{
    const uint8_t *p = packed;
    *out = (struct pst_span){NULL, 0};
    if (is_rtf(p, len)) {
        *out = (struct pst_span){p, len};
        return suspect(PST_WHY_TYPE);
    }
    if (len < HEAD_BYTES)
        return lost(PST_WHY_SIZE);
    struct head h = {.packed_size = pst_u32(p) - HEAD_REST_BYTES,
                     .plain_size = pst_u32(p + 4),
                     .mark = pst_u32(p + 8),
                     .crc = pst_u32(p + 12)};
    const uint8_t *body = p + HEAD_BYTES;
    size_t body_len = len - HEAD_BYTES;
    if (h.mark == MARK_PLAIN)
        return take_plain(&h, body, body_len, out);
    if (h.mark != MARK_PACKED && is_rtf(body, body_len)) {
        (void)take_plain(&h, body, body_len, out);
        return suspect(PST_WHY_TYPE);
    }
    return unpack(&h, body, body_len, arena, out);
}
