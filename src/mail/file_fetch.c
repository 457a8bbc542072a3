/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/file_fetch.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/task.h"
#include "mail/file_form.h"

enum { BATCH_SLABS = MH_FILE_BATCH_BYTES / MH_SLAB_BYTES };

/* --- room for octets -------------------------------------------------------------------------- */

/* Slabs that are filled one after the other. */
struct arena {
    struct mh_slab *slabs[BATCH_SLABS]; /* one reference each */
    unsigned n;
    unsigned cur;
    uint32_t fill; /* of slabs[cur]; MH_SLAB_BYTES only in the last one */
};

struct place {
    unsigned slab;
    uint32_t off;
};

static size_t arena_space(const struct arena *a)
{
    return (size_t)(a->n - a->cur) * MH_SLAB_BYTES - a->fill;
}

/* The free stretch of the present slab. */
static unsigned char *arena_room(const struct arena *a, size_t *len_out)
{
    *len_out = MH_SLAB_BYTES - a->fill;
    return a->slabs[a->cur]->data + a->fill;
}

static void arena_advance(struct arena *a, size_t len)
{
    a->fill += (uint32_t)len;
    if (a->fill == MH_SLAB_BYTES && a->cur + 1 < a->n) {
        a->cur++;
        a->fill = 0;
    }
}

/* Copies what fits; how much that was. */
static size_t arena_put(struct arena *a, const void *data, size_t len)
{
    size_t done = 0;
    while (done < len && arena_space(a)) {
        size_t room = 0;
        unsigned char *to = arena_room(a, &room);
        size_t part = MH_MIN(room, len - done);
        mh_slab_copy(to, (const unsigned char *)data + done, part);
        arena_advance(a, part);
        done += part;
    }
    return done;
}

static void arena_drop(struct arena *a)
{
    for (unsigned i = 0; i < a->n; i++)
        mh_slab_unref(a->slabs[i]);
    a->n = 0;
}

/* Makes A empty, of slabs nobody else looks at: waits for the first one only, so that a lane never
 * sits on many slabs while it waits for more. */
static int arena_refill(struct arena *a, struct mh_pool *pool, struct mh_err *err)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < a->n; i++) {
        if (mh_slab_is_sole(a->slabs[i]))
            a->slabs[kept++] = a->slabs[i];
        else
            mh_slab_unref(a->slabs[i]);
    }
    a->n = kept;
    a->cur = 0;
    a->fill = 0;
    struct mh_pool_stats stats;
    mh_pool_stats(pool, &stats);
    uint64_t share = stats.cap_bytes / MH_SLAB_BYTES / 8;
    unsigned want = (unsigned)MH_MIN(MH_MAX(share, 1), BATCH_SLABS);
    if (a->n == 0) {
        int rc = mh_slab_get_wait(pool, MH_NEVER, &a->slabs[0], err);
        if (rc < 0)
            return rc;
        a->n = 1;
    }
    while (a->n < want && (a->slabs[a->n] = mh_slab_get(pool)) != NULL)
        a->n++;
    return 0;
}

/* --- one message being read (worker thread) --------------------------------------------------- */

struct reader {
    struct mh_file_extent extent;
    struct mh_slab *scratch; /* borrowed: the batch */
    struct mh_form_scan scan;
    struct mh_form form;
    uint64_t at;          /* next octet of the extent to read */
    size_t in_at, in_len; /* what of the scratch is still to be changed */
    struct mh_form_seg seg;
    bool form_ended;
    uint64_t octets; /* of the wire form */
    uint64_t given;  /* of them so far */
};

static void reader_close(struct reader *r)
{
    if (r->extent.fd >= 0 && !r->extent.keep_open)
        (void)close(r->extent.fd);
    r->extent.fd = -1;
}

/* Fills BUF with the extent's next octets. */
static int read_next(struct reader *r, unsigned char *buf, size_t len, struct mh_err *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(r->extent.fd, buf + done, len - done, (off_t)(r->extent.off + r->at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mh_err_sys(err, MH_EITEM, "file", errno, "cannot read the message");
        if (n == 0)
            return mh_err_set(err, MH_EITEM, "file", "the file became shorter while it was read");
        done += (size_t)n;
        r->at += (uint64_t)n;
    }
    return 0;
}

/* Starts over with the extent's first octet. */
static void reader_rewind(struct reader *r, unsigned flags)
{
    r->form = (struct mh_form){.flags = flags};
    r->seg = (struct mh_form_seg){"", 0, (const unsigned char *)"", 0, "", 0};
    r->at = 0;
    r->in_at = r->in_len = 0;
    r->form_ended = flags == 0;
    r->given = 0;
}

/* What the wire form takes, once the whole message was scanned. */
static unsigned needed_flags(const struct reader *r)
{
    unsigned flags = 0;
    if (!r->extent.is_raw && mh_form_scan_is_unix(&r->scan))
        flags |= MH_FORM_TO_CRLF;
    if (r->extent.is_quoted && r->scan.quoted)
        flags |= MH_FORM_UNQUOTE;
    return flags;
}

/* Scans the whole message through the scratch slab. A message that fits in there is left in it. */
static int reader_scan(struct reader *r, struct mh_err *err)
{
    r->scan = (struct mh_form_scan){0};
    reader_rewind(r, 0);
    while (r->at < r->extent.len) {
        size_t len = (size_t)MH_MIN(r->extent.len - r->at, MH_SLAB_BYTES);
        int rc = read_next(r, r->scratch->data, len, err);
        if (rc < 0)
            return rc;
        mh_form_scan_feed(&r->scan, r->scratch->data, len);
    }
    unsigned flags = needed_flags(r);
    r->octets = mh_form_octets(&r->scan, flags);
    reader_rewind(r, flags);
    if (flags && r->extent.len <= MH_SLAB_BYTES) {
        r->at = r->extent.len;
        r->in_len = (size_t)r->extent.len;
    }
    return 0;
}

/* Reads straight into A, scanning on the way: no copy of ours. */
static int fill_as_is(struct reader *r, struct arena *a, struct mh_err *err)
{
    while (r->at < r->extent.len && arena_space(a)) {
        size_t room = 0;
        unsigned char *to = arena_room(a, &room);
        size_t len = (size_t)MH_MIN(room, r->extent.len - r->at);
        int rc = read_next(r, to, len, err);
        if (rc < 0)
            return rc;
        if (r->scan.octets < r->extent.len)
            mh_form_scan_feed(&r->scan, to, len);
        arena_advance(a, len);
        r->given += len;
    }
    return 0;
}

/* Puts what fits of the segment; true when all of it is out. */
static bool put_segment(struct reader *r, struct arena *a)
{
    struct mh_form_seg *s = &r->seg;
    size_t n = arena_put(a, s->before, s->before_len);
    s->before += n;
    s->before_len -= n;
    r->given += n;
    n = arena_put(a, s->data, s->len);
    s->data += n;
    s->len -= n;
    r->given += n;
    n = arena_put(a, s->after, s->after_len);
    s->after += n;
    s->after_len -= n;
    r->given += n;
    return s->before_len + s->len + s->after_len == 0;
}

static int fill_changed(struct reader *r, struct arena *a, struct mh_err *err)
{
    while (put_segment(r, a)) {
        if (r->in_at < r->in_len) {
            r->in_at +=
                mh_form_next(&r->form, r->scratch->data + r->in_at, r->in_len - r->in_at, &r->seg);
        } else if (r->at < r->extent.len) {
            size_t len = (size_t)MH_MIN(r->extent.len - r->at, MH_SLAB_BYTES);
            int rc = read_next(r, r->scratch->data, len, err);
            if (rc < 0)
                return rc;
            r->in_at = 0;
            r->in_len = len;
        } else if (!r->form_ended) {
            mh_form_end(&r->form, &r->seg);
            r->form_ended = true;
        } else {
            break;
        }
    }
    return 0;
}

/* Fills A as far as both go. */
static int reader_fill(struct reader *r, struct arena *a, struct mh_err *err)
{
    int rc = r->form.flags ? fill_changed(r, a, err) : fill_as_is(r, a, err);
    if (rc == 0 && r->given > r->octets)
        rc = mh_err_set(err, MH_EITEM, "file", "the file changed while it was read");
    return rc;
}

static bool reader_is_done(const struct reader *r)
{
    return r->given == r->octets;
}

/* --- a batch of messages (worker thread) ------------------------------------------------------ */

enum batch_end {
    BATCH_FULL,   /* the next message goes into the next batch */
    BATCH_FAILED, /* the next message cannot be had: `why` */
    BATCH_LARGE,  /* the next message is longer than a batch: `large` */
};

struct batch {
    const struct mh_file_source *source;
    const struct mh_item *const *items; /* what is left to fetch */
    size_t n_items;
    struct arena arena;
    struct mh_slab *scratch; /* one reference */
    /* The last message was in wire form, so the next one is read as if it were: files of one folder
     * were mostly written by one program. */
    bool expects_wire;
    struct {
        struct place from;
        uint64_t octets;
    } loaded[MH_FILE_BATCH_MESSAGES];
    size_t n_loaded;
    enum batch_end end;
    struct reader large;
    struct mh_err why;
};

/* Reads R's message as if it were in wire form; *OK_OUT: it was. */
static int try_as_is(struct batch *b, struct reader *r, bool *ok_out)
{
    struct arena before = b->arena;
    r->octets = r->extent.len;
    reader_rewind(r, 0);
    int rc = reader_fill(r, &b->arena, &b->why);
    *ok_out = rc == 0 && needed_flags(r) == 0;
    if (!*ok_out)
        b->arena = before;
    return rc;
}

static bool load_one(struct batch *b, struct reader *r)
{
    struct place from = {b->arena.cur, b->arena.fill};
    bool is_wire = r->extent.is_raw && !r->extent.is_quoted;
    bool is_loaded = false;
    bool may_fit = r->extent.len <= arena_space(&b->arena);
    if (!may_fit && b->n_loaded)
        return b->end = BATCH_FULL, false;
    int rc = 0;
    if (may_fit && (is_wire || b->expects_wire))
        rc = try_as_is(b, r, &is_loaded);
    if (rc == 0 && !is_loaded) {
        rc = reader_scan(r, &b->why);
        if (rc == 0 && r->octets > arena_space(&b->arena))
            return b->end = b->n_loaded ? BATCH_FULL : BATCH_LARGE, false;
        struct arena before = b->arena;
        if (rc == 0)
            rc = reader_fill(r, &b->arena, &b->why);
        if (rc == 0 && !reader_is_done(r))
            rc = mh_err_set(&b->why, MH_EITEM, "file", "the file changed while it was read");
        if (rc < 0)
            b->arena = before;
        b->expects_wire = r->form.flags == 0;
    }
    if (rc < 0)
        return b->end = BATCH_FAILED, false;
    b->loaded[b->n_loaded].from = from;
    b->loaded[b->n_loaded++].octets = r->octets;
    return true;
}

static void load_batch(void *arg)
{
    struct batch *b = arg;
    b->n_loaded = 0;
    b->end = BATCH_FULL;
    while (b->n_loaded < b->n_items && b->n_loaded < MH_FILE_BATCH_MESSAGES) {
        struct reader r = {.extent.fd = -1, .scratch = b->scratch};
        int rc = b->source->locate(b->source->ctx, b->items[b->n_loaded], &r.extent, &b->why);
        if (rc < 0) {
            b->end = BATCH_FAILED;
            break;
        }
        bool goes_on = load_one(b, &r);
        if (b->end == BATCH_LARGE)
            b->large = r;
        else
            reader_close(&r);
        if (!goes_on)
            break;
    }
}

/* --- handing over (the task) ------------------------------------------------------------------ */

/* Gives OCTETS from FROM on to the sink. */
static int give(const struct arena *a, struct place from, uint64_t octets, struct mh_sink *sink,
                struct mh_err *err)
{
    while (octets) {
        if (from.off == MH_SLAB_BYTES) {
            from.slab++;
            from.off = 0;
        }
        uint32_t len = (uint32_t)MH_MIN(octets, MH_SLAB_BYTES - from.off);
        int rc = sink->data(sink, mh_slice_of(a->slabs[from.slab], from.off, len), err);
        if (rc < 0)
            return rc;
        from.off += len;
        octets -= len;
    }
    return 0;
}

static int give_loaded(struct batch *b, struct mh_sink *sink, struct mh_err *err)
{
    for (size_t i = 0; i < b->n_loaded; i++) {
        int rc = sink->begin(sink, b->items[i], b->loaded[i].octets, err);
        if (rc == 0)
            rc = give(&b->arena, b->loaded[i].from, b->loaded[i].octets, sink, err);
        if (rc == 0)
            rc = sink->end(sink, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int give_missed(const struct mh_item *item, struct mh_err *why, struct mh_sink *sink,
                       struct mh_err *err)
{
    why->reason = why->code == MH_ENOENT ? "vanished" : "unreadable";
    why->code = MH_EITEM;
    return sink->missed(sink, item, why, err);
}

struct fill_job {
    struct batch *b;
    int rc;
};

static void fill_large(void *arg)
{
    struct fill_job *job = arg;
    job->rc = reader_fill(&job->b->large, &job->b->arena, &job->b->why);
}

/* A message longer than a batch, a batch's worth at a time. */
static int give_large(struct batch *b, const struct mh_item *item, struct mh_pool *pool,
                      struct mh_sink *sink, struct mh_err *err)
{
    struct reader *r = &b->large;
    int rc = sink->begin(sink, item, r->octets, err);
    while (rc == 0 && !reader_is_done(r)) {
        if (mh_task_cancelled())
            return mh_err_set(err, MH_ECANCEL, "file", "stopped");
        rc = arena_refill(&b->arena, pool, err);
        if (rc < 0)
            return rc;
        uint64_t before = r->given;
        struct fill_job job = {b, 0};
        mh_offload(fill_large, &job);
        if (job.rc == 0 && r->given == before)
            job.rc = mh_err_set(&b->why, MH_EITEM, "file", "the file changed while it was read");
        if (job.rc < 0)
            return give_missed(item, &b->why, sink, err);
        rc = give(&b->arena, (struct place){0, 0}, r->given - before, sink, err);
    }
    return rc == 0 ? sink->end(sink, err) : rc;
}

static int fetch_batches(struct batch *b, struct mh_pool *pool, struct mh_sink *sink,
                         struct mh_err *err)
{
    while (b->n_items) {
        if (mh_task_cancelled())
            return mh_err_set(err, MH_ECANCEL, "file", "stopped");
        int rc = arena_refill(&b->arena, pool, err);
        if (rc < 0)
            return rc;
        mh_offload(load_batch, b);
        rc = give_loaded(b, sink, err);
        const struct mh_item *next = b->n_loaded < b->n_items ? b->items[b->n_loaded] : NULL;
        size_t done = b->n_loaded + (b->end != BATCH_FULL);
        if (rc == 0 && b->end == BATCH_FAILED)
            rc = give_missed(next, &b->why, sink, err);
        if (rc == 0 && b->end == BATCH_LARGE)
            rc = give_large(b, next, pool, sink, err);
        if (b->end == BATCH_LARGE)
            reader_close(&b->large);
        if (rc < 0)
            return rc;
        b->items += done;
        b->n_items -= done;
    }
    return 0;
}

int mh_file_extent_whole(int fd, const char *name, bool is_raw, struct mh_file_extent *out,
                         struct mh_err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return mh_err_set(err, MH_EITEM, "file", "%s is no regular file", name);
    }
    *out = (struct mh_file_extent){.fd = fd, .is_raw = is_raw, .len = (uint64_t)st.st_size};
    return 0;
}

int mh_file_fetch(const struct mh_file_source *source, struct mh_pool *pool,
                  const struct mh_item *const *items, size_t n, struct mh_sink *sink,
                  struct mh_err *err)
{
    struct batch *b = mh_zalloc(sizeof *b);
    if (!b)
        return mh_err_nomem(err);
    b->source = source;
    b->items = items;
    b->n_items = n;
    b->expects_wire = true;
    int rc = mh_slab_get_wait(pool, MH_NEVER, &b->scratch, err);
    if (rc == 0) {
        rc = fetch_batches(b, pool, sink, err);
        mh_slab_unref(b->scratch);
    }
    arena_drop(&b->arena);
    mh_free(b);
    return rc;
}
