/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A FETCH stream made from the input: messages with a body (literal, literal8, quoted, NIL,
 * partial), metadata on either side, unknown items with lists and literals, any bytes in the
 * bodies, any slicing. Whoever makes the stream knows what must come out: uid, flags, size, octets
 * and each byte.
 */
#include "fuzz.h"
#include "tests/unit/wire_transcript.h"

/* The input as a supply of choices; 0 when it is used up. */
struct supply {
    const uint8_t *data;
    size_t left;
};

static unsigned next(struct supply *s)
{
    if (s->left == 0)
        return 0;
    s->left--;
    return *s->data++;
}

static size_t cut_by_supply(void *ctx, size_t left)
{
    static const size_t lens[] = {1, 2, 3, 7, 30, 200, 5000, 65536};
    struct supply *s = ctx;
    size_t n = lens[next(s) % MH_ARRAY_LEN(lens)];
    return MH_MIN(n, left);
}

/* One message: what is sent and what is expected of it. */
struct message {
    unsigned uid;
    unsigned flags; /* index into flag_lists */
    uint64_t size;
    const char *body;
    size_t octets;
    unsigned form;
    bool uid_first;
};

enum form { LITERAL, LITERAL8, PARTIAL, QUOTED, NIL, NO_BODY, FORMS };

static const char *const sections[] = {"BODY[]", "BINARY[]", "BODY[]<0>", "RFC822", "BODY[]"};
static const char *const flag_lists[] = {"", "\\Seen", "\\Seen \\Flagged $Forwarded", "kw"};
static const char *const fillers[] = {
    "",
    "X-A NIL ",
    "X-B (a (b \"c)\\\"\" NIL)) ",
    "X-C {4}\r\n)\r\n( ",
    "X-D ({0}\r\n ~{2+}\r\n\"\" x) ",
    "BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"x\") NIL) ",
    "BINARY.SIZE[1.2] 7 ",
    "X[HEADER.FIELDS (A \"b]\")]<7> {1}\r\nx ",
};

static bool is_quotable(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\0' || s[i] == '\n')
            return false;
    }
    return true;
}

static void add_quoted(struct mh_buf *b, const char *s, size_t len)
{
    mh_buf_addc(b, '"');
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '"' || s[i] == '\\')
            mh_buf_addc(b, '\\');
        mh_buf_addc(b, s[i]);
    }
    mh_buf_addc(b, '"');
}

static void add_body(struct mh_buf *b, const struct message *m)
{
    if (m->form == NO_BODY)
        return;
    mh_buf_adds(b, sections[m->form]);
    if (m->form == NIL) {
        mh_buf_adds(b, " NIL ");
    } else if (m->form == QUOTED) {
        mh_buf_addc(b, ' ');
        add_quoted(b, m->body, m->octets);
        mh_buf_addc(b, ' ');
    } else {
        mh_buf_addf(b, " %s{%zu%s}\r\n", m->form == LITERAL8 ? "~" : "", m->octets,
                    m->form == PARTIAL ? "+" : "");
        mh_buf_add(b, m->body, m->octets);
        mh_buf_addc(b, ' ');
    }
}

static void send(struct mh_buf *b, const struct message *m, unsigned seq, struct supply *s)
{
    mh_buf_addf(b, "* %u FETCH (", seq);
    mh_buf_adds(b, fillers[next(s) % MH_ARRAY_LEN(fillers)]);
    if (m->uid_first)
        mh_buf_addf(b, "UID %u ", m->uid);
    mh_buf_addf(b, "FLAGS (%s) ", flag_lists[m->flags]);
    add_body(b, m);
    mh_buf_adds(b, fillers[next(s) % MH_ARRAY_LEN(fillers)]);
    if (!m->uid_first)
        mh_buf_addf(b, "UID %u ", m->uid);
    mh_buf_addf(b, "RFC822.SIZE %llu)\r\n", (unsigned long long)m->size);
}

/* --- what the transcript must say ------------------------------------------------------------ */

struct cursor {
    const char *at;
    const char *end;
};

static void expect(struct cursor *c, const struct mh_buf *text)
{
    mh_assert((size_t)(c->end - c->at) >= text->len);
    mh_assert(memcmp(c->at, text->data, text->len) == 0);
    c->at += text->len;
}

/* BEGIN has what was known by then: the uid, if it came first, and always the count. */
static void expect_begin(struct cursor *c, const struct message *m, unsigned seq)
{
    struct mh_buf text = MH_BUF_INIT;
    mh_buf_addf(&text, "BEGIN %u uid=", seq);
    expect(c, &text);
    mh_buf_reset(&text);
    const char *eol = memchr(c->at, '\n', (size_t)(c->end - c->at));
    unsigned long uid = strtoul(c->at, NULL, 10);
    mh_assert(eol && (uid == m->uid || (uid == 0 && !m->uid_first)));
    mh_buf_addf(&text, " section=<%s> octets=%zu\n", sections[m->form], m->octets);
    mh_assert((size_t)(eol + 1 - c->at) > text.len);
    c->at = eol + 1 - text.len;
    expect(c, &text);
    mh_buf_done(&text);
}

static void expect_message(struct cursor *c, const struct message *m, unsigned seq)
{
    struct mh_buf text = MH_BUF_INIT;
    if (m->form != NIL && m->form != NO_BODY) {
        expect_begin(c, m, seq);
        mh_buf_adds(&text, "DATA <");
        mh_buf_add(&text, m->body, m->octets);
        mh_buf_adds(&text, ">\nEND\n");
    }
    mh_buf_addf(&text, "FETCH %u uid=%u flags=<%s> size=%llu", seq, m->uid, flag_lists[m->flags],
                (unsigned long long)m->size);
    if (m->form != NO_BODY)
        mh_buf_addf(&text, " section=<%s>", sections[m->form]);
    if (m->form == NIL)
        mh_buf_adds(&text, " nil");
    else if (m->form != NO_BODY)
        mh_buf_addf(&text, " octets=%zu", m->octets);
    mh_buf_adds(&text, "\n");
    expect(c, &text);
    mh_buf_done(&text);
}

enum { MESSAGES_MAX = 12, BODY_MAX = 600 };

static void choose(struct supply *s, struct message *m)
{
    m->uid = 1 + next(s) * 16777215u;
    m->flags = next(s) % MH_ARRAY_LEN(flag_lists);
    m->size = (uint64_t)next(s) << (next(s) % 54);
    m->form = next(s) % FORMS;
    m->uid_first = next(s) & 1;
    size_t octets = next(s) * 2u + (next(s) & 1);
    m->octets = MH_MIN(MH_MIN(octets, s->left), (size_t)BODY_MAX);
    m->body = (const char *)s->data;
    s->data += m->octets;
    s->left -= m->octets;
    if (m->form == QUOTED && !is_quotable(m->body, m->octets))
        m->form = LITERAL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct supply s = {data, size};
    struct message messages[MESSAGES_MAX];
    struct mh_buf stream = MH_BUF_INIT;
    struct transcript t;
    unsigned n = 1 + next(&s) % MESSAGES_MAX;
    for (unsigned i = 0; i < n; i++) {
        choose(&s, &messages[i]);
        send(&stream, &messages[i], i + 1, &s);
    }
    mh_assert(!mh_buf_failed(&stream));
    transcript_init(&t);
    /* What is left of the input, or all of it again, says where the stream is cut. */
    struct supply cuts = s.left ? s : (struct supply){data, size};
    struct cursor c = {
        .at = transcript_run(&t, stream.data, stream.len, cut_by_supply, &cuts, size & 1)};
    c.end = c.at + t.out.len;
    for (unsigned i = 0; i < n; i++)
        expect_message(&c, &messages[i], i + 1);
    mh_assert(c.at == c.end);
    transcript_done(&t);
    mh_buf_done(&stream);
    return 0;
}
