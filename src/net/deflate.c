/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/deflate_priv.h"

#include <zlib.h>

#include "base/mem.h"

enum {
    RAW_WINDOW_BITS = -15, /* no zlib header (RFC 4978, 3) */
    MEMORY_LEVEL = 8,
    /* Mail is mostly base64: Huffman coding brings the gain, long searches for matches bring
     * little. */
    LEVEL = Z_BEST_SPEED,
};

struct mh_deflate {
    z_stream in, out;
    bool in_is_full;     /* the last decode filled its room, or met the end */
    bool out_is_pending; /* encoded since the last complete flush */
};

static void *zlib_alloc(void *ctx, unsigned n, unsigned size)
{
    (void)ctx;
    return mh_realloc_array(NULL, n, size);
}

static void zlib_free(void *ctx, void *p)
{
    (void)ctx;
    mh_free(p);
}

int mh_deflate_new(struct mh_deflate **out, struct mh_err *err)
{
    struct mh_deflate *z = mh_zalloc(sizeof *z);
    if (!z)
        return mh_err_nomem(err);
    z->in.zalloc = z->out.zalloc = zlib_alloc;
    z->in.zfree = z->out.zfree = zlib_free;
    if (inflateInit2(&z->in, RAW_WINDOW_BITS) != Z_OK) {
        mh_free(z);
        return mh_err_nomem(err);
    }
    if (deflateInit2(&z->out, LEVEL, Z_DEFLATED, RAW_WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        (void)inflateEnd(&z->in);
        mh_free(z);
        return mh_err_nomem(err);
    }
    *out = z;
    return MH_OK;
}

void mh_deflate_free(struct mh_deflate *z)
{
    if (!z)
        return;
    (void)inflateEnd(&z->in);
    (void)deflateEnd(&z->out);
    mh_free(z);
}

int mh_deflate_decode(struct mh_deflate *z, const void *in, size_t in_len, void *out,
                      size_t out_len, struct mh_deflate_step *step, struct mh_err *err)
{
    z->in.next_in = (Bytef *)(uintptr_t)in;
    z->in.avail_in = (uInt)in_len;
    z->in.next_out = out;
    z->in.avail_out = (uInt)out_len;
    int rc = inflate(&z->in, Z_SYNC_FLUSH);
    step->used = in_len - z->in.avail_in;
    step->made = out_len - z->in.avail_out;
    bool is_over = rc != Z_OK && rc != Z_BUF_ERROR;
    /* What came out before the stream ended or broke is good; the next call tells the end again. */
    z->in_is_full = z->in.avail_out == 0 || is_over;
    if (!is_over || step->made > 0)
        return MH_OK;
    if (rc == Z_MEM_ERROR)
        return mh_err_nomem(err);
    if (rc == Z_STREAM_END)
        return mh_err_set(err, MH_ERETRY, "deflate", "the server ended the compressed stream");
    return mh_err_set(err, MH_ERETRY, "deflate", "the compressed stream is damaged (%s)",
                      z->in.msg ? z->in.msg : "no detail");
}

bool mh_deflate_has_output(const struct mh_deflate *z)
{
    return z->in_is_full;
}

void mh_deflate_encode(struct mh_deflate *z, const void *in, size_t in_len, bool is_last, void *out,
                       size_t out_len, struct mh_deflate_step *step)
{
    z->out.next_in = (Bytef *)(uintptr_t)in;
    z->out.avail_in = (uInt)in_len;
    z->out.next_out = out;
    z->out.avail_out = (uInt)out_len;
    /* Z_BUF_ERROR says that there was nothing to do; no other answer is possible here. */
    (void)deflate(&z->out, is_last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    step->used = in_len - z->out.avail_in;
    step->made = out_len - z->out.avail_out;
    /* A flush is complete when it leaves room (zlib.h, deflate()). */
    z->out_is_pending = !(is_last && z->out.avail_in == 0 && z->out.avail_out > 0);
}

bool mh_deflate_is_pending(const struct mh_deflate *z)
{
    return z->out_is_pending;
}
