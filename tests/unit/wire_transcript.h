/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a response reader says about some bytes, as text: for the unit tests and the fuzz targets
 * of src/wire. The same bytes must give the same transcript however they are cut into slices. The
 * bytes go in as a connection would give them, one slab after the other. Between an event and its
 * rendering the driver overwrites whatever slabs are free, so that an event that points into a
 * slab which nobody holds shows as garbage. Everything here is static: each test is a program of
 * its own.
 */
#ifndef MH_TESTS_WIRE_TRANSCRIPT_H
#define MH_TESTS_WIRE_TRANSCRIPT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "wire/resp.h"

enum { SPOILED_BYTES = 1024 };

/* The length of the next slice, given what is left (at least 1). */
typedef size_t transcript_cut(void *ctx, size_t left);

struct transcript {
    struct mh_pool *pool; /* borrowed: transcript_pool() */
    struct mh_resp *resp; /* owned */
    struct mh_buf out;
    struct mh_buf body; /* what came of the present body */
    bool in_body;
    uint64_t octets;
    struct mh_slab *slab; /* being filled; one reference */
    uint32_t used;
    struct mh_err err;
};

/* One pool for all transcripts of a process, kept until it ends: slabs are dear to a fuzzer. */
static inline struct mh_pool *transcript_pool(void)
{
    static struct mh_pool *pool;
    struct mh_err err;
    if (!pool && mh_pool_new(1u << 20, &pool, &err))
        abort();
    return pool;
}

static inline void transcript_init(struct transcript *t)
{
    memset(t, 0, sizeof *t);
    t->pool = transcript_pool();
    if (mh_resp_new(&t->resp, &t->err))
        abort();
}

static inline void transcript_done(struct transcript *t)
{
    struct mh_pool_stats stats;
    if (t->slab)
        mh_slab_unref(t->slab);
    mh_resp_free(t->resp);
    mh_pool_stats(t->pool, &stats); /* every slab is back */
    mh_assert(stats.in_use_bytes == 0);
    mh_buf_done(&t->out);
    mh_buf_done(&t->body);
}

static inline void transcript_text(struct transcript *t, const char *label, const char *s,
                                   size_t len)
{
    if (!s)
        return;
    mh_buf_addf(&t->out, " %s=<", label);
    mh_buf_add(&t->out, s, len);
    mh_buf_adds(&t->out, ">");
}

static inline void transcript_val(struct transcript *t, const struct mh_val *vals, unsigned i)
{
    const struct mh_val *v = &vals[i];
    switch (v->kind) {
    case MH_VAL_ATOM:
        mh_buf_add(&t->out, v->s, v->len);
        break;
    case MH_VAL_NIL:
        mh_buf_adds(&t->out, "NIL");
        break;
    case MH_VAL_STRING:
        mh_buf_adds(&t->out, "\"");
        mh_buf_add(&t->out, v->s, v->len);
        mh_buf_adds(&t->out, "\"");
        break;
    case MH_VAL_LIST: {
        unsigned seen = 0;
        mh_buf_adds(&t->out, "(");
        for (unsigned child = i + 1; child < v->next; child = vals[child].next) {
            mh_buf_adds(&t->out, seen++ ? " " : "");
            transcript_val(t, vals, child);
        }
        mh_assert(seen == v->children);
        mh_buf_adds(&t->out, ")");
        break;
    }
    }
}

static inline void transcript_vals(struct transcript *t, const struct mh_resp_event *ev)
{
    unsigned seen = 0;
    for (unsigned i = 0; i < ev->n_vals; i = ev->vals[i].next, seen++) {
        mh_buf_adds(&t->out, " ");
        transcript_val(t, ev->vals, i);
    }
    mh_assert(seen == ev->n_top);
}

static inline void transcript_fetch(struct transcript *t, const struct mh_fetch *f)
{
    mh_buf_addf(&t->out, " %u uid=%u", f->seq, f->uid);
    if (f->has_flags)
        transcript_text(t, "flags", f->flags, f->flags_len);
    if (f->has_date)
        transcript_text(t, "date", f->date, f->date_len);
    if (f->has_size)
        mh_buf_addf(&t->out, " size=%llu", (unsigned long long)f->size);
    if (f->has_modseq)
        mh_buf_addf(&t->out, " modseq=%llu", (unsigned long long)f->modseq);
    transcript_text(t, "email", f->email_id, f->email_id_len);
    if (f->has_gm_id)
        mh_buf_addf(&t->out, " gm=%llu", (unsigned long long)f->gm_id);
    transcript_text(t, "section", f->section, f->section_len);
    if (f->had_body)
        mh_buf_addf(&t->out, " octets=%llu", (unsigned long long)f->octets);
    if (f->body_is_nil)
        mh_buf_adds(&t->out, " nil");
}

static inline void transcript_status(struct transcript *t, const struct mh_resp_event *ev)
{
    static const char *const names[] = {"", "OK", "NO", "BAD", "BYE", "PREAUTH"};
    mh_buf_addf(&t->out, " %s", names[ev->status]);
    transcript_text(t, "code", ev->code, ev->code_len);
    transcript_text(t, "text", ev->text, ev->text_len);
}

static inline void transcript_body(struct transcript *t)
{
    mh_buf_adds(&t->out, "DATA <");
    mh_buf_add(&t->out, mh_buf_str(&t->body), t->body.len);
    mh_buf_adds(&t->out, ">\n");
    mh_buf_reset(&t->body);
}

/* Renders one event; the order of body events and their counts are checked on the way. */
static inline void transcript_event(struct transcript *t, struct mh_resp_event *ev)
{
    switch (ev->type) {
    case MH_RESP_MORE:
        return;
    case MH_RESP_UNTAGGED:
        mh_assert(!t->in_body);
        mh_buf_adds(&t->out, "UNTAGGED ");
        if (ev->has_number)
            mh_buf_addf(&t->out, "#%llu ", (unsigned long long)ev->number);
        mh_buf_add(&t->out, ev->name, ev->name_len);
        if (ev->status != MH_ST_NONE)
            transcript_status(t, ev);
        transcript_vals(t, ev);
        break;
    case MH_RESP_TAGGED:
        mh_assert(!t->in_body);
        mh_buf_adds(&t->out, "TAGGED ");
        mh_buf_add(&t->out, ev->tag, ev->tag_len);
        transcript_status(t, ev);
        break;
    case MH_RESP_CONTINUE:
        mh_assert(!t->in_body);
        mh_buf_adds(&t->out, "CONTINUE");
        transcript_status(t, ev);
        break;
    case MH_RESP_FETCH:
        mh_assert(!t->in_body);
        mh_buf_adds(&t->out, "FETCH");
        transcript_fetch(t, ev->fetch);
        break;
    case MH_RESP_BODY_BEGIN:
        mh_assert(!t->in_body && ev->fetch->had_body);
        t->in_body = true;
        t->octets = ev->fetch->octets;
        mh_buf_adds(&t->out, "BEGIN");
        transcript_fetch(t, ev->fetch);
        break;
    case MH_RESP_BODY_DATA:
        mh_assert(t->in_body && ev->slice.len > 0 && ev->slice.len <= t->octets - t->body.len);
        mh_buf_add(&t->body, mh_slice_data(&ev->slice), ev->slice.len);
        mh_slice_drop(&ev->slice);
        return;
    case MH_RESP_BODY_END:
        mh_assert(t->in_body && t->body.len == t->octets);
        transcript_body(t);
        t->in_body = false;
        mh_buf_adds(&t->out, "END");
        break;
    }
    mh_buf_adds(&t->out, "\n");
}

/* Spoils the slab that the pool would hand out next. */
static inline void transcript_spoil(struct transcript *t)
{
    struct mh_slab *slab = mh_slab_get(t->pool);
    if (!slab)
        return;
    memset(slab->data, 0xdd, SPOILED_BYTES);
    mh_slab_unref(slab);
}

/* A slice of the next N bytes of DATA in the slab that is being filled. */
static inline struct mh_slice transcript_slice(struct transcript *t, const void *data, uint32_t n)
{
    if (t->slab && MH_SLAB_BYTES - t->used < n) {
        mh_slab_unref(t->slab);
        t->slab = NULL;
    }
    if (!t->slab) {
        t->slab = mh_slab_get(t->pool);
        t->used = 0;
    }
    mh_assert(t->slab);
    memcpy(t->slab->data + t->used, data, n);
    struct mh_slice slice = mh_slice_of(t->slab, t->used, n);
    t->used += n;
    return slice;
}

/* Feeds one slice; false once the reader has failed. */
static inline bool transcript_feed(struct transcript *t, struct mh_slice slice)
{
    struct mh_resp_event ev;
    do {
        int rc = mh_resp_next(t->resp, &slice, &ev, &t->err);
        if (rc) {
            mh_slice_drop(&slice);
            if (t->in_body)
                transcript_body(t);
            mh_buf_addf(&t->out, "ERROR %s\n", mh_code_name(rc));
            return false;
        }
        transcript_spoil(t);
        transcript_event(t, &ev);
    } while (ev.type != MH_RESP_MORE);
    mh_assert(slice.slab == NULL && slice.len == 0);
    return true;
}

/* Feeds DATA in slices that CUT chooses. EAGER: each slab is given up as soon as it is read. */
static inline const char *transcript_run(struct transcript *t, const char *data, size_t len,
                                         transcript_cut *cut, void *ctx, bool eager)
{
    bool ok = true;
    for (size_t at = 0; ok && at < len;) {
        size_t n = cut(ctx, len - at);
        n = MH_MIN(MH_MIN(n, len - at), (size_t)MH_SLAB_BYTES);
        mh_assert(n > 0);
        struct mh_slice slice = transcript_slice(t, data + at, (uint32_t)n);
        if (eager) {
            mh_slab_unref(t->slab);
            t->slab = NULL;
        }
        ok = transcript_feed(t, slice);
        at += n;
    }
    if (ok && t->in_body)
        transcript_body(t);
    if (ok && !mh_resp_is_idle(t->resp))
        mh_buf_adds(&t->out, "MIDWAY\n");
    return mh_buf_str(&t->out);
}

#endif
