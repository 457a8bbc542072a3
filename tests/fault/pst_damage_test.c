/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Archives of the corpus, whole and damaged. The corpus writes beside each what is in it and where every
 * block of every item lies: so what must be read after a damage is computed, not looked up.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pst/account.h"
#include "pst/ndb_priv.h"
#include "tests/unit/scratch.h"

TestSuite(pst_damage, .init = scratch_make, .fini = scratch_drop, .timeout = 120);

enum { MESSAGES = 60, ARENA_BYTES = 64 << 20, SECTOR = 512, ITEMS_MAX = 1000, ROUNDS = 12 };

/* --- an archive and its truth ----------------------------------------------------------------- */

struct item {
    uint32_t nid;
    bool is_hit;       /* by the damage: a block of it */
    enum pst_state is; /* as it was read */
    bool was_seen;
};

struct archive {
    const char *format, *encoding;
    uint8_t *bytes; /* owned */
    size_t size;
    json_t *truth; /* owned: an array of the items */
    struct item items[ITEMS_MAX];
    size_t n;
    uint32_t deleted[ITEMS_MAX];
    size_t n_deleted;
    bool may_revive; /* without its newer leaf a deleted item looks alive */
};

static void read_truth(struct archive *a, const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(path, "r");
    cr_assert(f);
    a->truth = json_array();
    while (getline(&line, &cap, f) > 0) {
        json_t *j = json_loads(line, 0, NULL);
        cr_assert(j, "%s", line);
        const char *kind = json_string_value(json_object_get(j, "kind"));
        uint32_t nid = (uint32_t)json_integer_value(json_object_get(j, "nid"));
        cr_assert(a->n < ITEMS_MAX && a->n_deleted < ITEMS_MAX);
        if (strcmp(kind, "deleted") == 0)
            a->deleted[a->n_deleted++] = nid;
        if (strcmp(kind, "item") != 0) {
            json_decref(j);
            continue;
        }
        a->items[a->n++].nid = nid;
        (void)json_array_append_new(a->truth, j);
    }
    free(line);
    (void)fclose(f);
    cr_assert_geq(a->n, (size_t)MESSAGES);
}

static void archive_make(struct archive *a, const char *format, const char *encoding)
{
    const char *build = getenv("MH_BUILD");
    char command[600];
    char path[128];
    *a = (struct archive){.format = format, .encoding = encoding};
    (void)snprintf(command, sizeof command,
                   "%s/corpus/mailhaul-corpus --pst a.pst --truth truth --format %s --encoding %s "
                   "--messages %d --seed 7 >out 2>&1 || { cat out; false; }",
                   build ? build : ".", format, encoding, (int)MESSAGES);
    scratch_shell(command);
    (void)snprintf(path, sizeof path, "%s/a.pst", scratch_dir);
    FILE *f = fopen(path, "rb");
    cr_assert(f);
    (void)fseek(f, 0, SEEK_END);
    a->size = (size_t)ftell(f);
    rewind(f);
    a->bytes = malloc(a->size);
    cr_assert(a->bytes);
    cr_assert_eq(fread(a->bytes, 1, a->size, f), a->size);
    (void)fclose(f);
    (void)snprintf(path, sizeof path, "%s/truth", scratch_dir);
    read_truth(a, path);
}

static void archive_drop(struct archive *a)
{
    free(a->bytes);
    json_decref(a->truth);
}

static struct item *find_item(struct archive *a, uint32_t nid)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->items[i].nid == nid)
            return &a->items[i];
    return NULL;
}

static bool is_deleted(const struct archive *a, uint32_t nid)
{
    for (size_t i = 0; i < a->n_deleted; i++)
        if (a->deleted[i] == nid)
            return true;
    return false;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct sight {
    struct archive *a;
    struct pst_reader *r;
    unsigned strangers; /* items that the truth does not know */
};

static int on_item(void *ctx, const struct pst_entry *e)
{
    struct sight *s = ctx;
    uint64_t bytes = 0;
    struct item *item = find_item(s->a, e->nid);
    if (!item) {
        s->strangers += !(s->a->may_revive && is_deleted(s->a, e->nid));
        return 0;
    }
    cr_expect_not(item->was_seen, "item %x is there twice", e->nid);
    item->was_seen = true;
    item->is = pst_account_node(s->r, &e->node, &bytes).state;
    return 0;
}

/* What OCTETS are read as; the items know it then. False: as no archive. */
static bool look_at(struct archive *a, const uint8_t *octets, size_t n, struct pst_facts *facts,
                    const char *what)
{
    char path[128];
    struct pst_file *f = NULL;
    struct mh_err err;
    struct pst_reader r;
    struct pst_store store;
    struct pst_verdict ignored;
    for (size_t i = 0; i < a->n; i++)
        a->items[i].was_seen = false;
    scratch_write("b.pst", (const char *)octets, n, 0600);
    (void)snprintf(path, sizeof path, "%s/b.pst", scratch_dir);
    mh_err_reset(&err);
    if (pst_file_open(path, PST_ACCESS_BEST, &f, &err) != MH_OK)
        return false;
    *facts = *pst_file_facts(f);
    pst_reader_init(&r, f, ARENA_BYTES);
    cr_assert_eq(pst_store_read(&r, &store, &err), MH_OK, "%s: %s", what, err.text);
    struct sight s = {.a = a, .r = &r};
    for (size_t i = 0; i < store.n_folders; i++)
        (void)pst_store_items(&r, &store, &store.folders[i], false, on_item, &s, &ignored);
    cr_expect_eq(s.strangers, 0, "%s %s, %s: %u items that nobody wrote", a->format, a->encoding,
                 what, s.strangers);
    pst_store_done(&store);
    pst_reader_done(&r);
    pst_file_close(f);
    return true;
}

/* Each item that no damage hit is read to its last octet. */
static void expect_unhurt(struct archive *a, const char *what, size_t hits_wanted)
{
    size_t hit = 0;
    size_t hurt = 0;
    for (size_t i = 0; i < a->n; i++) {
        const struct item *item = &a->items[i];
        hit += item->is_hit;
        hurt += !item->was_seen || item->is != PST_OK;
        if (!item->is_hit)
            cr_expect(item->was_seen && item->is == PST_OK, "%s %s, %s: item %x is %s", a->format,
                      a->encoding, what, item->nid, item->was_seen ? "hurt" : "not there");
    }
    cr_expect_geq(hit, hits_wanted, "%s: only %zu items are hit", what, hit);
    if (hits_wanted > 0)
        cr_expect(hurt > 0, "%s: no item is hurt, though %zu are hit", what, hit);
}

/* --- kinds of damage -------------------------------------------------------------------------- */

static const struct layout *layout_of(const struct archive *a)
{
    return &layouts[strcmp(a->format, "ansi") == 0    ? PST_ANSI
                    : strcmp(a->format, "ost4k") == 0 ? PST_UNICODE_4K
                                                      : PST_UNICODE];
}

static bool is_tree_page(const struct archive *a, size_t at, enum page_type type)
{
    const struct layout *lay = layout_of(a);
    struct trailer t;
    if (at + lay->page_bytes > a->size)
        return false;
    page_trailer_get(lay, a->bytes + at + lay->page_trailer, &t);
    return t.type == type && t.type_again == type &&
           t.crc == pst_crc(a->bytes + at, lay->page_trailer);
}

static size_t root_field(const struct archive *a, bool blocks)
{
    bool is_ansi = layout_of(a)->format == PST_ANSI;
    return is_ansi ? (blocks ? 192 : 184) : (blocks ? 232 : 216);
}

static void zero_root(const struct archive *a, uint8_t *b, bool blocks)
{
    const struct layout *lay = layout_of(a);
    uint64_t at = get_id(lay, a->bytes + root_field(a, blocks) + lay->id_bytes);
    cr_assert_leq(at + lay->page_bytes, a->size);
    memset(b + at, 0, lay->page_bytes);
}

static void no_header(struct archive *a, uint8_t *b)
{
    (void)a;
    memset(b, 0, 564);
}

static void wrong_magic(struct archive *a, uint8_t *b)
{
    (void)a;
    memcpy(b, "ABCD", 4);
}

static void wrong_version(struct archive *a, uint8_t *b)
{
    (void)a;
    b[10] ^= 0xff;
}

static void wrong_encoding(struct archive *a, uint8_t *b)
{
    size_t at = layout_of(a)->format == PST_ANSI ? 461 : 513;
    b[at] = b[at] == 1 ? 2 : 1;
}

static void node_root_gone(struct archive *a, uint8_t *b)
{
    zero_root(a, b, false);
}

static void block_root_gone(struct archive *a, uint8_t *b)
{
    zero_root(a, b, true);
}

static void both_roots_gone(struct archive *a, uint8_t *b)
{
    zero_root(a, b, false);
    zero_root(a, b, true);
}

/* As in a file that was not closed: the header names a root page that has been written anew since. */
static void stale_root(struct archive *a, uint8_t *b)
{
    b[root_field(a, false)] ^= 4;
    pst_put_u32(b + 4, pst_crc(b + 8, 471));
    if (layout_of(a)->format != PST_ANSI)
        pst_put_u32(b + 524, pst_crc(b + 8, 516));
}

static void all_block_pages_gone(struct archive *a, uint8_t *b)
{
    for (size_t at = 0; at < a->size; at += SECTOR)
        if (is_tree_page(a, at, PAGE_BLOCKS))
            memset(b + at, 0, layout_of(a)->page_bytes);
}

static const struct {
    const char *name;
    void (*make)(struct archive *a, uint8_t *b);
} kinds[] = {
    {"no header", no_header},
    {"wrong magic", wrong_magic},
    {"wrong version", wrong_version},
    {"wrong encoding", wrong_encoding},
    {"root of the nodes gone", node_root_gone},
    {"root of the blocks gone", block_root_gone},
    {"both roots gone", both_roots_gone},
    {"stale root", stale_root},
    {"all pages of the block tree gone", all_block_pages_gone},
};

static const struct {
    const char *format, *encoding;
} forms[] = {
    {"unicode", "permute"}, {"unicode", "cyclic"}, {"unicode", "none"},  {"ansi", "permute"},
    {"ansi", "cyclic"},     {"ansi", "none"},      {"ost4k", "permute"}, {"ost4k", "none"},
};

Test(pst_damage, what_no_item_is_part_of)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(forms); i++) {
        struct archive a;
        struct pst_facts facts;
        archive_make(&a, forms[i].format, forms[i].encoding);
        cr_assert(look_at(&a, a.bytes, a.size, &facts, "whole"));
        cr_expect_not(facts.is_salvaged);
        expect_unhurt(&a, "whole", 0);
        uint8_t *b = malloc(a.size);
        for (size_t k = 0; b && k < MH_ARRAY_LEN(kinds); k++) {
            memcpy(b, a.bytes, a.size);
            kinds[k].make(&a, b);
            cr_assert_neq(memcmp(a.bytes, b, a.size), 0, "%s: nothing is damaged", kinds[k].name);
            cr_expect(look_at(&a, b, a.size, &facts, kinds[k].name), "%s %s, %s", a.format,
                      a.encoding, kinds[k].name);
            cr_expect(facts.is_salvaged, "%s", kinds[k].name);
            cr_expect_eq(facts.format, layout_of(&a)->format, "%s", kinds[k].name);
            expect_unhurt(&a, kinds[k].name, 0);
        }
        free(b);
        archive_drop(&a);
    }
}

Test(pst_damage, everything_is_moved)
{
    static const int shifts[] = {64, 512, 4096 + 64, -512, -1024};
    for (size_t i = 0; i < MH_ARRAY_LEN(forms); i++) {
        struct archive a;
        struct pst_facts facts;
        archive_make(&a, forms[i].format, forms[i].encoding);
        uint8_t *b = calloc(1, a.size + 8192);
        for (size_t k = 0; b && k < MH_ARRAY_LEN(shifts); k++) {
            char what[64];
            size_t n = (size_t)((long)a.size + shifts[k]);
            (void)snprintf(what, sizeof what, "moved by %d octets", shifts[k]);
            memset(b, 0, a.size + 8192);
            if (shifts[k] > 0)
                memcpy(b + shifts[k], a.bytes, a.size);
            else
                memcpy(b, a.bytes - shifts[k], n);
            cr_expect(look_at(&a, b, n, &facts, what), "%s %s, %s", a.format, a.encoding, what);
            cr_expect_eq(facts.shift, shifts[k], "%s: %lld", what, (long long)facts.shift);
            expect_unhurt(&a, what, 0);
        }
        free(b);
        archive_drop(&a);
    }
}

/* --- damage that hits items ------------------------------------------------------------------- */

static void hit(struct archive *a, uint64_t from, uint64_t len)
{
    for (size_t i = 0; i < a->n; i++) {
        json_t *blocks = json_object_get(json_array_get(a->truth, i), "blocks");
        size_t n = json_array_size(blocks);
        cr_assert_gt(n, 0u);
        for (size_t k = 0; k < n; k++) {
            json_t *block = json_array_get(blocks, k);
            uint64_t at = (uint64_t)json_integer_value(json_array_get(block, 0));
            uint64_t size = (uint64_t)json_integer_value(json_array_get(block, 1));
            if (at < from + len && from < at + size)
                a->items[i].is_hit = true;
        }
    }
}

static uint64_t chance(uint64_t *state, uint64_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (*state * UINT64_C(0x2545f4914f6cdd1d) >> 11) % below;
}

/* The pages that say which nodes there are are left alone. */
static bool is_spared(const struct archive *a, size_t at)
{
    const struct layout *lay = layout_of(a);
    size_t page = at / lay->page_bytes * lay->page_bytes;
    return is_tree_page(a, page, PAGE_NODES);
}

Test(pst_damage, sectors_and_bits)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(forms); i++) {
        struct archive a;
        struct pst_facts facts;
        uint64_t seed = 77 + i;
        archive_make(&a, forms[i].format, forms[i].encoding);
        uint8_t *b = malloc(a.size);
        for (int round = 0; b && round < ROUNDS; round++) {
            bool bits = round % 2 != 0;
            memcpy(b, a.bytes, a.size);
            for (size_t k = 0; k < a.n; k++)
                a.items[k].is_hit = false;
            for (size_t k = 0; k < a.size / SECTOR / 100 + 3; k++) {
                size_t at = (size_t)chance(&seed, a.size / SECTOR) * SECTOR;
                if (is_spared(&a, at))
                    continue;
                size_t octet = at + (size_t)chance(&seed, SECTOR);
                if (bits)
                    b[octet] ^= (uint8_t)(1u << chance(&seed, 8));
                else
                    memset(b + at, 0, SECTOR);
                hit(&a, bits ? octet : at, bits ? 1 : SECTOR);
            }
            const char *what = bits ? "flipped bits" : "zeroed sectors";
            cr_expect(look_at(&a, b, a.size, &facts, what), "%s %s, %s", a.format, a.encoding,
                      what);
            expect_unhurt(&a, what, 1);
        }
        free(b);
        archive_drop(&a);
    }
}

/* Wherever it is cut: nothing is read whole that is not all there, and what is read is what was written. */
Test(pst_damage, cut_anywhere)
{
    struct archive a;
    struct pst_facts facts;
    size_t read = 0;
    size_t gone = 0;
    archive_make(&a, "unicode", "permute");
    a.may_revive = true;
    for (size_t i = 1; i < 80; i++) { /* the trees lie at the end, where it is cut more finely */
        size_t n = i < 40 ? a.size * i / 40 + i : a.size - (i - 40) * (i - 40) * 37;
        for (size_t k = 0; k < a.n; k++)
            a.items[k].is_hit = false;
        if (n < a.size)
            hit(&a, n, a.size - n);
        if (!look_at(&a, a.bytes, n, &facts, "cut"))
            continue;
        for (size_t k = 0; k < a.n; k++) {
            const struct item *item = &a.items[k];
            bool is_whole = item->was_seen && item->is == PST_OK;
            cr_expect_not(item->is_hit && is_whole, "cut at %zu: item %x is whole", n, item->nid);
            if (facts.nodes.verdict.state == PST_OK && !item->is_hit)
                cr_expect(is_whole, "cut at %zu: item %x is hurt", n, item->nid);
            read += is_whole;
            gone += !is_whole;
        }
    }
    cr_expect(read > 0 && gone > 0, "%zu were read, %zu were not", read, gone);
    archive_drop(&a);
}
