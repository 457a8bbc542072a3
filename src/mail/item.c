/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/item.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "mail/digest.h"

/* --- flags ------------------------------------------------------------------------------------ */

static const struct {
    uint8_t bit;
    const char *name;
} flag_names[] = {
    {MH_SEEN, "\\Seen"},       {MH_ANSWERED, "\\Answered"}, {MH_FLAGGED, "\\Flagged"},
    {MH_DELETED, "\\Deleted"}, {MH_DRAFT, "\\Draft"},
};

void mh_flags_format(uint8_t flags, struct mh_buf *b)
{
    const char *blank = "";
    for (size_t i = 0; i < MH_ARRAY_LEN(flag_names); i++) {
        if (!(flags & flag_names[i].bit))
            continue;
        mh_buf_adds(b, blank);
        mh_buf_adds(b, flag_names[i].name);
        blank = " ";
    }
}

uint8_t mh_flag_parse(const char *name, size_t len)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(flag_names); i++)
        if (mh_mem_ieq(name, len, flag_names[i].name))
            return flag_names[i].bit;
    return 0;
}

/* --- keyword sets ----------------------------------------------------------------------------- */

/* One keyword of the list that is being interned. */
struct word {
    const char *s; /* borrowed: the list */
    size_t len;
};

struct mh_kwsets {
    char **texts; /* owned; texts[id - 1] */
    uint32_t n;
    size_t cap;
    size_t text_bytes;   /* of all texts */
    uint32_t *slots;     /* owned: ids by hash, open addressing, 0 = free */
    uint32_t slots_mask; /* number of slots - 1 */
    struct word *words;  /* owned scratch: one list's words, so that a known set costs no malloc */
    size_t words_cap;
    struct mh_buf canonical; /* scratch */
};

#define SLOTS_FIRST 64u

int mh_kwsets_new(struct mh_kwsets **out, struct mh_err *err)
{
    struct mh_kwsets *k = mh_zalloc(sizeof *k);
    if (!k)
        return mh_err_nomem(err);
    k->slots = mh_zalloc(SLOTS_FIRST * sizeof *k->slots);
    if (!k->slots) {
        mh_free(k);
        return mh_err_nomem(err);
    }
    k->slots_mask = SLOTS_FIRST - 1;
    *out = k;
    return 0;
}

void mh_kwsets_free(struct mh_kwsets *k)
{
    if (!k)
        return;
    for (uint32_t i = 0; i < k->n; i++)
        mh_free(k->texts[i]);
    mh_free(k->texts);
    mh_free(k->slots);
    mh_free(k->words);
    mh_buf_done(&k->canonical);
    mh_free(k);
}

uint32_t mh_kwsets_count(const struct mh_kwsets *k)
{
    return k->n;
}

const char *mh_kwsets_text(const struct mh_kwsets *k, uint32_t id)
{
    mh_assert(id <= k->n);
    return id ? k->texts[id - 1] : "";
}

static unsigned char fold(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* Folded bytewise order; the shorter of two with one beginning first. */
static int word_cmp(const struct word *a, const struct word *b)
{
    size_t len = MH_MIN(a->len, b->len);
    for (size_t i = 0; i < len; i++) {
        int d = fold(a->s[i]) - fold(b->s[i]);
        if (d)
            return d;
    }
    return (a->len > b->len) - (a->len < b->len);
}

/* Equal words stay in their order in the list, so that the first spelling is found first. */
static int word_order(const void *pa, const void *pb)
{
    const struct word *a = pa;
    const struct word *b = pb;
    int d = word_cmp(a, b);
    return d ? d : (a->s > b->s) - (a->s < b->s);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool words_push(struct mh_kwsets *k, size_t at, const char *s, size_t len)
{
    if (!mh_grow(k->words, k->words_cap, at + 1))
        return false;
    k->words[at] = (struct word){s, len};
    return true;
}

/* The set's canonical text into k->canonical. */
static int canonicalise(struct mh_kwsets *k, const char *list, size_t len, struct mh_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        if (is_blank(list[i])) {
            i++;
            continue;
        }
        size_t start = i;
        while (i < len && !is_blank(list[i]))
            i++;
        if (!words_push(k, n++, list + start, i - start))
            return mh_err_nomem(err);
    }
    if (n > 1)
        qsort(k->words, n, sizeof *k->words, word_order);
    mh_buf_reset(&k->canonical);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && word_cmp(&k->words[i - 1], &k->words[i]) == 0)
            continue;
        if (k->canonical.len)
            mh_buf_addc(&k->canonical, ' ');
        mh_buf_add(&k->canonical, k->words[i].s, k->words[i].len);
    }
    return mh_buf_failed(&k->canonical) ? mh_err_nomem(err) : 0;
}

/* FNV-1a over the folded text: a server that crafts collisions gains a linear search in at most
 * MH_KEYWORD_SETS_MAX sets of its own folder. */
static uint32_t text_hash(const char *s)
{
    uint32_t h = 2166136261u;
    for (; *s; s++)
        h = (h ^ fold(*s)) * 16777619u;
    return h;
}

/* The slot that holds TEXT, or the free one where it belongs. */
static uint32_t *slot_for(const struct mh_kwsets *k, const char *text)
{
    uint32_t i = text_hash(text) & k->slots_mask;
    while (k->slots[i] && !mh_str_ieq(k->texts[k->slots[i] - 1], text))
        i = (i + 1) & k->slots_mask;
    return &k->slots[i];
}

/* Room for one more set: at most half of the slots are used. */
static int kwsets_grow(struct mh_kwsets *k, struct mh_err *err)
{
    if (!mh_grow(k->texts, k->cap, k->n + 1))
        return mh_err_nomem(err);
    uint32_t size = k->slots_mask + 1;
    if ((k->n + 1) * 2 <= size)
        return 0;
    uint32_t *slots = mh_zalloc((size_t)size * 2 * sizeof *slots);
    if (!slots)
        return mh_err_nomem(err);
    mh_free(k->slots);
    k->slots = slots;
    k->slots_mask = size * 2 - 1;
    for (uint32_t id = 1; id <= k->n; id++)
        *slot_for(k, k->texts[id - 1]) = id;
    return 0;
}

int mh_kwsets_intern(struct mh_kwsets *k, const char *keywords, size_t len, uint32_t *id_out,
                     struct mh_err *err)
{
    int rc = canonicalise(k, keywords, len, err);
    if (rc < 0)
        return rc;
    const char *text = mh_buf_str(&k->canonical);
    if (!*text) {
        *id_out = 0;
        return 0;
    }
    uint32_t known = *slot_for(k, text);
    if (known) {
        *id_out = known;
        return 0;
    }
    if (k->n == MH_KEYWORD_SETS_MAX || k->text_bytes > MH_KEYWORD_TEXT_MAX_BYTES)
        return mh_err_set(err, MH_EFOLDER, "mail",
                          "more than %u different keyword combinations (or %u MiB of them) in one "
                          "folder: remove keywords at the source",
                          MH_KEYWORD_SETS_MAX, MH_KEYWORD_TEXT_MAX_BYTES >> 20);
    rc = kwsets_grow(k, err);
    if (rc < 0)
        return rc;
    char *own = mh_strdup(text);
    if (!own)
        return mh_err_nomem(err);
    k->texts[k->n++] = own;
    k->text_bytes += strlen(own);
    *slot_for(k, own) = k->n;
    *id_out = k->n;
    return 0;
}

/* --- scans ------------------------------------------------------------------------------------ */

int mh_scan_init(struct mh_scan *s, struct mh_err *err)
{
    *s = (struct mh_scan){0};
    return mh_kwsets_new(&s->kwsets, err);
}

void mh_scan_done(struct mh_scan *s)
{
    mh_free(s->items);
    mh_free(s->spare);
    mh_kwsets_free(s->kwsets);
    *s = (struct mh_scan){0};
}

int mh_scan_add(struct mh_scan *s, const struct mh_item *item, struct mh_err *err)
{
    bool in_order = s->n == 0 || s->items[s->n - 1].uid < item->uid;
    bool with_spare = s->spare || !in_order;
    if (!mh_grow(s->items, s->cap, s->n + 1) ||
        (with_spare && !mh_grow(s->spare, s->spare_cap, s->cap)))
        return mh_err_nomem(err);
    s->items[s->n++] = *item;
    if (s->grown && s->n % MH_SCAN_STRETCH == 0)
        s->grown(s->grown_ctx);
    return 0;
}

/* Merges A[lo..mid) and A[mid..hi) into B[lo..hi); equal uids keep their order. */
static void merge(const struct mh_item *a, struct mh_item *b, size_t lo, size_t mid, size_t hi)
{
    size_t i = lo;
    size_t j = mid;
    for (size_t k = lo; k < hi; k++) {
        if (j == hi || (i < mid && a[i].uid <= a[j].uid))
            b[k] = a[i++];
        else
            b[k] = a[j++];
    }
}

/* Merge sort by hand: it must be stable (the last of two equal uids wins) and must not fail, so its
 * room was allocated in mh_scan_add(). */
static void scan_sort(struct mh_scan *s)
{
    struct mh_item *a = s->items;
    struct mh_item *b = s->spare;
    size_t n = s->n;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width)
            merge(a, b, lo, MH_MIN(lo + width, n), MH_MIN(lo + 2 * width, n));
        struct mh_item *was = a;
        a = b;
        b = was;
    }
    if (a == s->items)
        return;
    size_t items_cap = s->cap;
    s->items = a;
    s->cap = s->spare_cap;
    s->spare = b;
    s->spare_cap = items_cap;
}

void mh_scan_finish(struct mh_scan *s)
{
    if (s->spare) {
        scan_sort(s);
        size_t kept = 0;
        for (size_t i = 0; i < s->n; i++)
            if (i + 1 == s->n || s->items[i + 1].uid != s->items[i].uid)
                s->items[kept++] = s->items[i];
        s->n = kept;
        s->was_out_of_order = true;
    }
    mh_free(s->spare);
    s->spare = NULL;
    s->spare_cap = 0;
}

void mh_scan_shrink(struct mh_scan *s)
{
    size_t cap = MH_MAX(s->n, (size_t)1);
    struct mh_item *items = s->items ? mh_realloc_array(s->items, cap, sizeof *items) : NULL;
    if (!items)
        return; /* it stays as large as it is */
    s->items = items;
    s->cap = cap;
}

static int by_uid(const void *pkey, const void *pitem)
{
    const uint64_t *uid = pkey;
    const struct mh_item *item = pitem;
    return (*uid > item->uid) - (*uid < item->uid);
}

const struct mh_item *mh_scan_find(const struct mh_scan *s, uint64_t uid)
{
    return s->n ? bsearch(&uid, s->items, s->n, sizeof *s->items, by_uid) : NULL;
}

/* --- names ------------------------------------------------------------------------------------ */

uint64_t mh_uid_from_name(const char *name, size_t len)
{
    struct mh_digest d;
    mh_digest_of(name, len, &d);
    uint64_t uid = 0;
    for (int i = 0; i < 8; i++)
        uid = uid << 8 | d.bytes[i];
    uid &= INT64_MAX;
    return uid ? uid : 1;
}
