/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "connectors/mbox/mbox_priv.h"

/* Fields that mail programs add to or change in messages of an mbox. */
static const char *const volatile_fields[] = {
    "Status",
    "X-Status",
    "X-Keywords",
    "X-UID",
    "X-IMAP",
    "X-IMAPbase",
    "Lines",
    "Content-Length",
    "X-Mozilla-Keys",
    "X-Mozilla-Status",
    "X-Mozilla-Status2",
};

int mbox_ident_init(struct mbox_ident *i, struct mh_err *err)
{
    *i = (struct mbox_ident){.ctx = NULL};
    return mh_digest_ctx_new(MH_DIGEST_EXACT, &i->ctx, err);
}

void mbox_ident_done(struct mbox_ident *i)
{
    mh_digest_ctx_free(i->ctx);
    i->ctx = NULL;
}

void mbox_ident_start(struct mbox_ident *i)
{
    struct mh_digest_ctx *ctx = i->ctx;
    *i = (struct mbox_ident){.ctx = ctx, .in_header = true, .at_line_start = true};
    mh_digest_start(ctx);
}

/* Feeds octets of a line, after the line ends before them. */
static void give(struct mbox_ident *i, const void *data, size_t len)
{
    static const char ends[] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n";
    if (len == 0)
        return;
    while (i->line_ends) {
        size_t n = (size_t)MH_MIN(i->line_ends, sizeof ends - 1);
        mh_digest_add(i->ctx, ends, n);
        i->line_ends -= n;
    }
    mh_digest_add(i->ctx, data, len);
}

/* A stretch of a line without its LF; a CR at its end waits for what follows. */
static void give_line_part(struct mbox_ident *i, const unsigned char *p, size_t len)
{
    if (len == 0)
        return;
    if (i->has_cr)
        give(i, "\r", 1);
    i->has_cr = p[len - 1] == '\r';
    give(i, p, len - i->has_cr);
}

static bool is_volatile(const struct mbox_ident *i)
{
    for (size_t n = 0; n < MH_ARRAY_LEN(volatile_fields); n++)
        if (mh_mem_ieq(i->head, i->head_len, volatile_fields[n]))
            return true;
    return false;
}

/* The name of the header line is known, or it has none: the line counts or not. */
static void decide(struct mbox_ident *i, bool has_name)
{
    i->in_head = false;
    i->is_excluded = has_name && is_volatile(i);
    if (!i->is_excluded)
        give_line_part(i, (const unsigned char *)i->head, i->head_len);
}

/* The first octet of a header line. */
static void start_line(struct mbox_ident *i, unsigned char c)
{
    i->at_line_start = false;
    bool continues = c == ' ' || c == '\t';
    i->in_head = !continues;
    i->head_len = 0;
    if (!continues)
        i->is_excluded = false;
}

/* One octet of a header; how many of P were taken (more than one once the line is decided). */
static size_t feed_header(struct mbox_ident *i, const unsigned char *p, size_t len)
{
    if (*p == '\n') {
        bool is_empty = i->at_line_start || (i->in_head && i->head_len == 1 && i->head[0] == '\r');
        if (i->in_head)
            decide(i, false);
        i->in_header = !is_empty;
        i->line_ends += !i->is_excluded || is_empty;
        i->has_cr = false;
        i->at_line_start = true;
        return 1;
    }
    if (i->at_line_start)
        start_line(i, *p);
    if (i->in_head) {
        if (*p != ':' && i->head_len < sizeof i->head) {
            i->head[i->head_len++] = (char)*p;
            return 1;
        }
        decide(i, *p == ':');
    }
    const unsigned char *lf = memchr(p, '\n', len);
    size_t part = lf ? (size_t)(lf - p) : len;
    if (!i->is_excluded)
        give_line_part(i, p, part);
    return part;
}

void mbox_ident_feed(struct mbox_ident *i, const void *data, size_t len)
{
    const unsigned char *p = data;
    const unsigned char *end = p + len;
    while (p < end && i->in_header)
        p += feed_header(i, p, (size_t)(end - p));
    while (p < end) {
        const unsigned char *lf = memchr(p, '\n', (size_t)(end - p));
        give_line_part(i, p, (size_t)((lf ? lf : end) - p));
        if (!lf)
            return;
        i->has_cr = false;
        i->line_ends++;
        p = lf + 1;
    }
}

uint64_t mbox_ident_end(struct mbox_ident *i)
{
    struct mh_digest d;
    if (i->in_header && i->in_head)
        decide(i, false);
    mh_digest_end(i->ctx, &d);
    uint64_t ident = 0;
    for (int n = 0; n < 8; n++)
        ident = ident << 8 | d.bytes[n];
    return ident;
}

void mbox_message_name(uint64_t ident, uint32_t nth, char out[MBOX_NAME_MAX])
{
    (void)snprintf(out, MBOX_NAME_MAX, "%016llx-%u", (unsigned long long)ident, nth);
}

/* --- counts ----------------------------------------------------------------------------------- */

static size_t slot_of(const struct mbox_counts *c, uint64_t ident)
{
    size_t i = (size_t)ident & c->mask;
    while (c->slots[i].n && c->slots[i].ident != ident)
        i = (i + 1) & c->mask;
    return i;
}

static int grow(struct mbox_counts *c, struct mh_err *err)
{
    struct mbox_counts old = *c;
    size_t size = old.slots ? (old.mask + 1) * 2 : 64;
    c->slots = mh_zalloc(size * sizeof *c->slots);
    if (!c->slots) {
        *c = old;
        return mh_err_nomem(err);
    }
    c->mask = size - 1;
    for (size_t i = 0; old.slots && i <= old.mask; i++)
        if (old.slots[i].n)
            c->slots[slot_of(c, old.slots[i].ident)] = old.slots[i];
    mh_free(old.slots);
    return 0;
}

int mbox_counts_add(struct mbox_counts *c, uint64_t ident, uint32_t *nth_out, struct mh_err *err)
{
    if (!c->slots || (c->used + 1) * 2 > c->mask + 1) {
        int rc = grow(c, err);
        if (rc < 0)
            return rc;
    }
    size_t i = slot_of(c, ident);
    c->used += c->slots[i].n == 0;
    c->slots[i].ident = ident;
    *nth_out = c->slots[i].n++;
    return 0;
}

void mbox_counts_done(struct mbox_counts *c)
{
    mh_free(c->slots);
    *c = (struct mbox_counts){NULL, 0, 0};
}
