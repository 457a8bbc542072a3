/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/prints.h"

enum { DIGESTS = 3, FETCH_MAX = 1024 /* items of one fetch() */ };

struct prints_sink {
    struct mh_sink sink;
    struct mh_digest_ctx *ctx[DIGESTS]; /* NULL: not asked for */
    const struct mh_item *const *items;
    size_t n;
    size_t at; /* the item that is arriving */
    struct prints now;
    size_t base; /* of ITEMS in what the caller asked for */
    prints_fn *fn;
    void *fn_ctx;
};

static size_t find_item(const struct prints_sink *d, const struct mh_item *item)
{
    for (size_t k = 0; k < d->n; k++) {
        size_t i =
            (d->at + k) % d->n; /* they come in order, so this is the first look or the second */
        if (d->items[i] == item)
            return i;
    }
    mh_assert(d->n == 0);
    return 0;
}

static int on_begin(struct mh_sink *s, const struct mh_item *item, uint64_t octets,
                    struct mh_err *err)
{
    struct prints_sink *d = mh_container_of(s, struct prints_sink, sink);
    (void)err;
    d->at = find_item(d, item);
    d->now = (struct prints){.octets = octets};
    for (size_t k = 0; k < DIGESTS; k++) {
        if (d->ctx[k])
            mh_digest_start(d->ctx[k]);
    }
    return MH_OK;
}

static int on_data(struct mh_sink *s, struct mh_slice slice_take, struct mh_err *err)
{
    struct prints_sink *d = mh_container_of(s, struct prints_sink, sink);
    (void)err;
    for (size_t k = 0; k < DIGESTS; k++) {
        if (d->ctx[k])
            mh_digest_add(d->ctx[k], mh_slice_data(&slice_take), slice_take.len);
    }
    mh_slice_drop(&slice_take);
    return MH_OK;
}

static int on_end(struct mh_sink *s, struct mh_err *err)
{
    struct prints_sink *d = mh_container_of(s, struct prints_sink, sink);
    struct mh_digest *const to[DIGESTS] = {&d->now.exact, &d->now.canonical, &d->now.fingerprint};
    (void)err;
    for (size_t k = 0; k < DIGESTS; k++) {
        if (d->ctx[k])
            mh_digest_end(d->ctx[k], to[k]);
    }
    d->now.is_ok = true;
    d->fn(d->fn_ctx, d->base + d->at, &d->now);
    return MH_OK;
}

static int on_missed(struct mh_sink *s, const struct mh_item *item, const struct mh_err *why,
                     struct mh_err *err)
{
    struct prints_sink *d = mh_container_of(s, struct prints_sink, sink);
    const struct prints none = {.is_ok = false};
    (void)why;
    (void)err;
    d->at = find_item(d, item);
    d->fn(d->fn_ctx, d->base + d->at, &none);
    return MH_OK;
}

int prints_read(struct mh_session *s, const struct mh_connector *c,
                const struct mh_item *const *items, size_t n, unsigned kinds, prints_fn *fn,
                void *ctx, struct mh_err *err)
{
    static const enum mh_digest_kind digests[DIGESTS] = {MH_DIGEST_EXACT, MH_DIGEST_CANONICAL,
                                                         MH_DIGEST_FINGERPRINT};
    struct prints_sink d = {
        .sink = {on_begin, on_data, on_end, on_missed}, .fn = fn, .fn_ctx = ctx};
    int code = MH_OK;
    for (size_t k = 0; n > 0 && code == MH_OK && k < DIGESTS; k++) {
        if (kinds & (1u << k))
            code = mh_digest_ctx_new(digests[k], &d.ctx[k], err);
    }
    for (; code == MH_OK && d.base < n; d.base += d.n) {
        d.items = items + d.base;
        d.n = MH_MIN(n - d.base, (size_t)FETCH_MAX);
        d.at = 0;
        code = c->fetch(s, d.items, d.n, &d.sink, err);
    }
    for (size_t k = 0; k < DIGESTS; k++)
        mh_digest_ctx_free(d.ctx[k]);
    return code;
}
