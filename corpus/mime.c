/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mime.h"

#include <stdio.h>
#include <string.h>

enum {
    LINE_COLUMNS = 76,       /* RFC 2045 section 6.7 and 6.8 */
    WORD_PAYLOAD_BYTES = 39, /* 52 characters of base64: inside the 75 of RFC 2047 section 2 */
};

static const char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char base64_digit(uint32_t six_bits)
{
    return alphabet[six_bits & 63];
}

/* One to three octets as four characters. */
static void base64_group(char out[4], const unsigned char *in, size_t len)
{
    uint32_t bits = (uint32_t)in[0] << 16;
    bits |= len > 1 ? (uint32_t)in[1] << 8 : 0;
    bits |= len > 2 ? (uint32_t)in[2] : 0;
    out[0] = base64_digit(bits >> 18);
    out[1] = base64_digit(bits >> 12);
    out[2] = len > 1 ? base64_digit(bits >> 6) : '=';
    out[3] = len > 2 ? base64_digit(bits) : '=';
}

void mhc_mime_base64_flat(struct mhc_buf *buf, const char *bytes, size_t len)
{
    char *to = mhc_buf_room(buf, (len + 2) / 3 * 4);
    const unsigned char *in = (const unsigned char *)bytes;
    for (size_t at = 0; at < len; at += 3) {
        base64_group(to, in + at, len - at);
        to += 4;
    }
    buf->len += (len + 2) / 3 * 4;
}

void mhc_mime_base64(struct mhc_buf *buf, const char *bytes, size_t len)
{
    const size_t line_octets = (size_t)LINE_COLUMNS / 4 * 3;
    for (size_t at = 0; at < len; at += line_octets) {
        size_t part = len - at < line_octets ? len - at : line_octets;
        mhc_mime_base64_flat(buf, bytes + at, part);
        mhc_buf_puts(buf, "\r\n");
    }
}

void mhc_mime_base64_random(struct mhc_buf *buf, struct mhc_prng *prng, const char *magic,
                            size_t want)
{
    size_t lines = want / (LINE_COLUMNS + 2) + 1;
    char *to = mhc_buf_room(buf, lines * (LINE_COLUMNS + 2));
    char *start = to;
    for (size_t line = 0; line < lines; line++) {
        for (size_t column = 0; column < LINE_COLUMNS;) {
            uint64_t bits = mhc_prng_next(prng);
            for (size_t i = 0; i < 10 && column < LINE_COLUMNS; i++, column++) {
                *to++ = base64_digit((uint32_t)bits);
                bits >>= 6;
            }
        }
        *to++ = '\r';
        *to++ = '\n';
    }
    for (size_t i = 0; magic[i] != '\0'; i++) {
        start[i] = magic[i];
    }
    buf->len += lines * (LINE_COLUMNS + 2);
}

/* Writes one octet as quoted-printable text writes it and returns the columns it took. */
static size_t qp_octet(struct mhc_buf *buf, unsigned char octet, bool is_line_end)
{
    bool is_space = octet == ' ' || octet == '\t';
    if ((octet >= 33 && octet <= 126 && octet != '=') || (is_space && !is_line_end)) {
        mhc_buf_putc(buf, (char)octet);
        return 1;
    }
    const char *hex = "0123456789ABCDEF";
    const char text[3] = {'=', hex[octet >> 4], hex[octet & 15]};
    mhc_buf_add(buf, text, 3);
    return 3;
}

void mhc_mime_quoted_printable(struct mhc_buf *buf, const char *bytes, size_t len)
{
    size_t column = 0;
    for (size_t at = 0; at < len; at++) {
        bool is_line_end = at + 1 < len && bytes[at] == '\r' && bytes[at + 1] == '\n';
        if (is_line_end) {
            mhc_buf_puts(buf, "\r\n");
            column = 0;
            at++;
            continue;
        }
        if (column > LINE_COLUMNS - 4) {
            mhc_buf_puts(buf, "=\r\n");
            column = 0;
        }
        column += qp_octet(buf, (unsigned char)bytes[at], at + 1 == len || bytes[at + 1] == '\r');
    }
}

void mhc_mime_encoded_word(struct mhc_buf *buf, const char *charset, char encoding,
                           const char *bytes, size_t len)
{
    mhc_buf_printf(buf, "=?%s?%c?", charset, encoding);
    if (encoding == 'B') {
        mhc_mime_base64_flat(buf, bytes, len);
    }
    for (size_t at = 0; encoding == 'Q' && at < len; at++) {
        unsigned char c = (unsigned char)bytes[at];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (is_plain) {
            mhc_buf_putc(buf, (char)c);
        } else if (c == ' ') {
            mhc_buf_putc(buf, '_');
        } else {
            mhc_buf_printf(buf, "=%02X", c);
        }
    }
    mhc_buf_puts(buf, "?=");
}

static void plain_phrase(struct mhc_buf *buf, struct mhc_prng *prng,
                         const struct mhc_language *language, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++) {
        mhc_buf_puts(buf, i == 0 ? "" : " ");
        mhc_buf_puts(buf, mhc_text_word(prng, language)->utf8);
    }
}

void mhc_mime_phrase(struct mhc_buf *buf, struct mhc_prng *prng,
                     const struct mhc_language *language, enum mhc_word_style style, uint32_t words)
{
    bool is_legacy = style == MHC_WORD_LEGACY_B || style == MHC_WORD_LEGACY_Q;
    bool is_q = style == MHC_WORD_UTF8_Q || style == MHC_WORD_LEGACY_Q;
    /* A Devanagari word in Q would alone be longer than an encoded word may be. */
    char encoding = is_q && mhc_text_is_latin(language) ? 'Q' : 'B';
    /* Q triples what it encodes, so fewer octets fit the same 75 characters. */
    size_t most = encoding == 'B' ? WORD_PAYLOAD_BYTES : WORD_PAYLOAD_BYTES / 2;
    const char *charset = is_legacy ? language->charset : "utf-8";
    char held[128];
    size_t held_len = 0;
    if (strcmp(language->charset, "us-ascii") == 0) {
        plain_phrase(buf, prng, language, words);
        return;
    }
    for (uint32_t i = 0; i < words; i++) {
        const struct mhc_word *word = mhc_text_word(prng, language);
        const char *bytes = is_legacy ? word->legacy : word->utf8;
        size_t len = strlen(bytes) + strlen(language->space);
        if (held_len > 0 && held_len + len > most) {
            mhc_mime_encoded_word(buf, charset, encoding, held, held_len);
            mhc_buf_puts(buf, "\r\n ");
            held_len = 0;
        }
        held_len += (size_t)snprintf(held + held_len, sizeof(held) - held_len, "%s%s", bytes,
                                     language->space);
    }
    mhc_mime_encoded_word(buf, charset, encoding, held, held_len);
}

static bool is_ascii(const char *text)
{
    while (*text != '\0') {
        if ((unsigned char)*text++ >= 0x80) {
            return false;
        }
    }
    return true;
}

static void quoted_name(struct mhc_buf *buf, const char *name)
{
    mhc_buf_putc(buf, '"');
    for (const char *at = name; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            mhc_buf_putc(buf, '\\');
        }
        mhc_buf_putc(buf, *at);
    }
    mhc_buf_putc(buf, '"');
}

void mhc_mime_address(struct mhc_buf *buf, struct mhc_person person)
{
    if (!is_ascii(person.name)) {
        mhc_mime_encoded_word(buf, "utf-8", 'B', person.name, strlen(person.name));
    } else if (strpbrk(person.name, "\",'.") != NULL) {
        quoted_name(buf, person.name);
    } else {
        mhc_buf_puts(buf, person.name);
    }
    mhc_buf_printf(buf, " <%s@%s>", person.local, person.domain);
}

void mhc_mime_boundary(char out[MHC_BOUNDARY_SIZE], struct mhc_prng *prng)
{
    static const char *const beginnings[] = {"----=_Part_", "=_", "000000000000", "--boundary.",
                                             "Apple-Mail=_"};
    const char *beginning = beginnings[mhc_prng_below(prng, MHC_COUNT(beginnings))];
    snprintf(out, MHC_BOUNDARY_SIZE, "%s%016llx", beginning,
             (unsigned long long)mhc_prng_next(prng));
}

void mhc_mime_part(struct mhc_buf *buf, const char *boundary)
{
    mhc_buf_printf(buf, "--%s\r\n", boundary);
}

void mhc_mime_end(struct mhc_buf *buf, const char *boundary)
{
    mhc_buf_printf(buf, "--%s--\r\n", boundary);
}

void mhc_mime_multipart(struct mhc_buf *buf, const char *subtype, const char *boundary,
                        const char *more)
{
    mhc_buf_printf(buf, "Content-Type: multipart/%s;\r\n boundary=\"%s\"%s\r\n\r\n", subtype,
                   boundary, more);
}
