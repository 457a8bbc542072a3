/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The fingerprint: a message known by its stable headers and its body.
 *
 *     ┌ bytes 0…19: SHA-256 of ────────────────────────────────────────┐ ┌ bytes 20…31: of ┐
 *     │ Date │ From │ To │ Cc │ Subject │ body │ (unknown? whole header) │ │ Message-ID      │
 *     └────────────────────────────────────────────────────────────────┘ └─────────────────┘
 *
 * Each part is a SHA-256 of its own that is fed as the header passes, so the order of the fields does not matter,
 * a value may have any length, and nothing of it is kept. Of a value all blanks and line ends are left out, because
 * tools fold where there was no blank and join with two; a field without a value counts as no field, because some
 * servers drop it. Fields of one name count in their order, with an end mark each.
 *
 * What is no header must not be passed over: two messages of which nothing is compared would be one. So a
 * line that is no field ends the header and is body with all that follows, and so does what lies beyond HEADER_MAX_BYTES; and a
 * message that has neither Date nor Message-ID is compared by its whole header.
 */
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "mail/digest_priv.h"

enum {
    NAME_MAX_BYTES = 128,       /* longer field names are no field names: real ones stay below 80 */
    HEADER_MAX_BYTES = 1 << 20, /* what follows is body; real headers stay below 256 KiB */
    OUT_BYTES = 128,            /* gathered before OpenSSL is called */
};

enum part { DATE, FROM, TO, CC, SUBJECT, MESSAGE_ID, HEADER, BODY, PARTS, NONE = PARTS };

static const char *const names[] = {
    [DATE] = "date", [FROM] = "from",       [TO] = "to",
    [CC] = "cc",     [SUBJECT] = "subject", [MESSAGE_ID] = "message-id",
};

/*
 *     LINE_START ──name──> NAME ──":"──> VALUE ──line end──> LINE_START ──blank──> VALUE
 *          │                └─ no field name ──> IN_BODY
 *          └─ empty line, or a first line that begins with a blank ──> IN_BODY
 */
enum where { LINE_START, NAME, VALUE, IN_BODY };

struct fingerprint {
    EVP_MD_CTX *parts[PARTS]; /* owned */
    bool has[PARTS];          /* something was fed */
    enum where where;
    enum part field; /* of VALUE; NONE: a field that does not count */
    bool has_field;  /* a blank at the start of a line continues one */
    bool in_value;   /* something of this value was fed: an end mark is due */
    bool name_ended; /* a blank behind the name: only a colon may follow (RFC 5322 section 4.5) */
    size_t header_bytes;
    size_t n_name;
    unsigned char name[NAME_MAX_BYTES]; /* the line so far, as it came */
    size_t n_out;
    unsigned char out[OUT_BYTES]; /* of the value, not fed yet */
};

int fingerprint_new(const EVP_MD *sha256, struct fingerprint **out, struct mh_err *err)
{
    struct fingerprint *f = mh_zalloc(sizeof *f);
    if (!f)
        return mh_err_nomem(err);
    for (size_t i = 0; i < PARTS; i++) {
        f->parts[i] = EVP_MD_CTX_new();
        if (!f->parts[i] || EVP_DigestInit_ex2(f->parts[i], sha256, NULL) != 1) {
            fingerprint_free(f);
            return mh_err_nomem(err);
        }
    }
    *out = f;
    return MH_OK;
}

void fingerprint_free(struct fingerprint *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < PARTS; i++)
        EVP_MD_CTX_free(f->parts[i]);
    mh_free(f);
}

void fingerprint_start(struct fingerprint *f)
{
    for (size_t i = 0; i < PARTS; i++) {
        if (f->has[i]) {
            int ok = EVP_DigestInit_ex2(f->parts[i], NULL, NULL);
            mh_assert(ok == 1);
        }
        f->has[i] = false;
    }
    f->where = LINE_START;
    f->field = NONE;
    f->has_field = f->in_value = f->name_ended = false;
    f->header_bytes = f->n_name = f->n_out = 0;
}

static void feed(struct fingerprint *f, enum part part, const void *data, size_t len)
{
    if (len == 0)
        return;
    int ok = EVP_DigestUpdate(f->parts[part], data, len);
    mh_assert(ok == 1);
    f->has[part] = true;
}

/* --- header ---------------------------------------------------------------------------------------- */

static void flush_value(struct fingerprint *f)
{
    feed(f, f->field, f->out, f->n_out);
    f->n_out = 0;
}

static void add_value(struct fingerprint *f, unsigned char b)
{
    bool left_out = b == ' ' || b == '\t' || b == '\r' || b == '\n' ||
                    (f->field == MESSAGE_ID && (b == '<' || b == '>'));
    if (left_out)
        return;
    if (f->n_out == sizeof f->out)
        flush_value(f);
    f->out[f->n_out++] = b < 0x80 ? b : 'X';
    f->in_value = true;
}

/* The field is over, with all its lines. */
static void end_field(struct fingerprint *f)
{
    static const unsigned char end_mark = '\n';
    if (f->in_value) {
        flush_value(f);
        feed(f, f->field, &end_mark, 1);
    }
    f->in_value = false;
    f->field = NONE;
}

static enum part find_part(const unsigned char *name, size_t len)
{
    for (size_t p = 0; p < MH_ARRAY_LEN(names); p++) {
        if (strlen(names[p]) != len)
            continue;
        size_t i = 0;
        while (i < len &&
               (name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]) == names[p][i])
            i++;
        if (i == len)
            return (enum part)p;
    }
    return NONE;
}

/* What was taken for a field's name is the beginning of the body. */
static void begin_body(struct fingerprint *f)
{
    end_field(f);
    f->where = IN_BODY;
    feed(f, BODY, f->name, f->n_name);
    f->n_name = 0;
}

static void begin_value(struct fingerprint *f)
{
    size_t len = f->n_name;
    while (len > 0 && (f->name[len - 1] == ' ' || f->name[len - 1] == '\t'))
        len--;
    f->where = VALUE;
    f->has_field = true;
    f->field = find_part(f->name, len);
    f->n_name = 0;
}

/* "From anna@example …" is the separator of an mbox that some tools leave in; it is no field and ends nothing. */
static bool is_from_line(const struct fingerprint *f)
{
    return (f->n_name == 5 && memcmp(f->name, "From ", 5) == 0) ||
           (f->n_name == 6 && memcmp(f->name, ">From ", 6) == 0);
}

static void name_byte(struct fingerprint *f, unsigned char b)
{
    if (b == ':' && f->n_name > 0) {
        begin_value(f);
        return;
    }
    bool blank = b == ' ' || b == '\t';
    bool fits = b > ' ' && b < 0x7f && b != ':' && !f->name_ended;
    if (f->n_name < sizeof f->name && (fits || (blank && f->n_name > 0))) {
        f->name[f->n_name++] = b;
        f->name_ended = blank;
        if (is_from_line(f)) {
            f->where = VALUE;
            f->n_name = 0;
        }
        return;
    }
    begin_body(f);
    feed(f, BODY, &b, 1);
}

/* The first octet of a line. */
static void line_start(struct fingerprint *f, unsigned char b)
{
    bool blank = b == ' ' || b == '\t';
    if (blank && f->has_field) {
        f->where = VALUE;
    } else if (b == '\r') {
        end_field(f); /* an empty line: its LF is swallowed in NAME's place */
        f->where = NAME;
        f->n_name = 0;
        f->name_ended = false;
    } else {
        end_field(f);
        f->where = NAME;
        f->n_name = 0;
        f->name_ended = false;
        name_byte(f, b);
    }
}

/* Takes octets of the header; returns how many until the body begins. */
static size_t header_bytes(struct fingerprint *f, const unsigned char *p, size_t len)
{
    size_t i = 0;
    while (i < len && f->where != IN_BODY) {
        unsigned char b = p[i++];
        switch (f->where) {
        case LINE_START:
            line_start(f, b);
            break;
        case NAME:
            if (b == '\n' && f->n_name == 0) {
                f->where = IN_BODY; /* the empty line belongs to neither */
            } else {
                name_byte(f, b);
            }
            break;
        case VALUE:
            if (b == '\n')
                f->where = LINE_START;
            else if (f->field != NONE)
                add_value(f, b);
            break;
        case IN_BODY:
            break;
        }
        if (++f->header_bytes >= HEADER_MAX_BYTES && f->where != IN_BODY)
            begin_body(f);
    }
    return i;
}

/* The whole header, for messages that have nothing better; as little of it as the server's rewrites leave. */
static void feed_whole(struct fingerprint *f, const unsigned char *p, size_t len)
{
    unsigned char seven[OUT_BYTES];
    for (size_t i = 0; i < len;) {
        size_t n = 0;
        for (; n < sizeof seven && i < len; i++, n++)
            seven[n] = p[i] < 0x80 ? p[i] : 'X';
        feed(f, HEADER, seven, n);
    }
}

void fingerprint_feed(struct fingerprint *f, const unsigned char *p, size_t len)
{
    size_t head = 0;
    if (f->where != IN_BODY) {
        head = header_bytes(f, p, len);
        feed_whole(f, p, head);
    }
    feed(f, BODY, p + head, len - head);
}

/* --- the end ---------------------------------------------------------------------------------------- */

static void part_end(struct fingerprint *f, enum part part, struct mh_digest *out)
{
    unsigned len = 0;
    memset(out, 0, sizeof *out);
    if (!f->has[part])
        return; /* all zero: there is nothing */
    int ok = EVP_DigestFinal_ex(f->parts[part], out->bytes, &len);
    mh_assert(ok == 1 && len == MH_DIGEST_BYTES);
}

void fingerprint_end(struct fingerprint *f, struct mh_digest *out)
{
    struct mh_digest parts[PARTS];
    struct mh_digest whole;
    if (f->where == NAME)
        begin_body(f);
    end_field(f);
    bool is_known = f->has[DATE] || f->has[MESSAGE_ID];
    for (enum part p = 0; p < PARTS; p++)
        part_end(f, p, &parts[p]);
    if (is_known)
        memset(&parts[HEADER], 0, sizeof parts[HEADER]);
    struct mh_digest id = parts[MESSAGE_ID];
    memset(&parts[MESSAGE_ID], 0, sizeof parts[MESSAGE_ID]);
    mh_digest_of(parts, sizeof parts, &whole);
    memcpy(out->bytes, whole.bytes, MH_FINGERPRINT_BYTES);
    memcpy(out->bytes + MH_FINGERPRINT_BYTES, id.bytes, MH_DIGEST_BYTES - MH_FINGERPRINT_BYTES);
}
