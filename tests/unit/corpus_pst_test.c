/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Archives that mailhaul-corpus writes, against the reader's node database: every page and block of each
 * format and encoding proves, the trees know what the truth file knows, and the places that it names
 * hold what it says. The writer and the reader share the sums and encodings alone.
 */
#include <jansson.h>

#include "pst/ndb.h"
#include "scratch.h"

TestSuite(corpus_pst, .init = scratch_make, .fini = scratch_drop);

enum { READER_BYTES = 256 << 20, LINE_BYTES = 1 << 20, NESTING_MAX = 16 };

static const struct archive {
    const char *name, *format, *encoding;
    enum pst_format is_format;
    enum pst_encoding is_encoding;
    unsigned version, trailer_bytes;
    bool is_ost;
} archives[] = {
    {"ansi none", "ansi", "none", PST_ANSI, PST_PLAIN, 14, 12, false},
    {"ansi permute", "ansi", "permute", PST_ANSI, PST_PERMUTE, 14, 12, false},
    {"ansi cyclic", "ansi", "cyclic", PST_ANSI, PST_CYCLIC, 14, 12, false},
    {"unicode none", "unicode", "none", PST_UNICODE, PST_PLAIN, 23, 16, false},
    {"unicode permute", "unicode", "permute", PST_UNICODE, PST_PERMUTE, 23, 16, false},
    {"unicode cyclic", "unicode", "cyclic", PST_UNICODE, PST_CYCLIC, 23, 16, false},
    {"ost4k none", "ost4k", "none", PST_UNICODE_4K, PST_PLAIN, 36, 24, true},
    {"ost4k permute", "ost4k", "permute", PST_UNICODE_4K, PST_PERMUTE, 36, 24, true},
    {"ost4k cyclic", "ost4k", "cyclic", PST_UNICODE_4K, PST_CYCLIC, 36, 24, true},
};

static const char *path_of(const char *name)
{
    static char path[4][128];
    static unsigned turn;
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", scratch_dir, name);
    return p;
}

static void write_archive(const struct archive *a, const char *to, int messages)
{
    char command[1024];
    const char *build = getenv("MH_BUILD");
    cr_assert_not_null(build, "MH_BUILD names the build's folder");
    (void)snprintf(
        command, sizeof command,
        "%s/corpus/mailhaul-corpus --pst %s.pst --truth %s.truth --format %s --encoding %s "
        "--messages %d --seed 11 >/dev/null",
        build, to, to, a->format, a->encoding, messages);
    scratch_shell(command);
}

/* --- every node, every block ------------------------------------------------------------------ */

struct walk {
    const struct archive *archive;
    struct pst_reader reader;
    uint64_t nodes, blocks, subnodes, octets;
    uint64_t most_octets, most_subnodes; /* of one node, of one node with all below it */
    unsigned depth;
};

static void read_data(struct walk *w, uint64_t bid, uint32_t nid)
{
    struct pst_data data;
    struct pst_verdict v = pst_data_open(&w->reader, bid, &data);
    uint64_t size = 0;
    cr_assert_eq(v.state, PST_OK, "%s, node %x: %s", w->archive->name, nid, pst_why_text(v.why));
    for (uint32_t i = 0; i < data.n; i++) {
        struct pst_span span;
        v = pst_block_read(&w->reader, data.bids[i], &span);
        cr_assert_eq(v.state, PST_OK, "%s, block %llx: %s", w->archive->name,
                     (unsigned long long)data.bids[i], pst_why_text(v.why));
        size += span.n;
    }
    if (data.n > 1)
        cr_assert_eq(size, data.size, "%s, node %x", w->archive->name, nid);
    w->blocks += data.n;
    w->octets += size;
    w->most_octets = MH_MAX(w->most_octets, size);
}

static int on_subnode(void *ctx, const struct pst_subnode *sub)
{
    struct walk *w = ctx;
    struct pst_verdict v;
    w->subnodes++;
    read_data(w, sub->data, sub->nid);
    cr_assert_lt(w->depth, (unsigned)NESTING_MAX);
    w->depth++;
    cr_assert_eq(pst_subnode_walk(&w->reader, sub->sub, on_subnode, w, &v), 0);
    w->depth--;
    cr_assert_eq(v.state, PST_OK, "%s: %s", w->archive->name, pst_why_text(v.why));
    return 0;
}

static int on_node(void *ctx, const struct pst_node *node)
{
    struct walk *w = ctx;
    struct pst_mark mark = pst_arena_mark(&w->reader.arena);
    struct pst_verdict v;
    uint64_t before = w->subnodes;
    w->nodes++;
    read_data(w, node->data, node->nid);
    cr_assert_eq(pst_subnode_walk(&w->reader, node->sub, on_subnode, w, &v), 0);
    cr_assert_eq(v.state, PST_OK, "%s: %s", w->archive->name, pst_why_text(v.why));
    w->most_subnodes = MH_MAX(w->most_subnodes, w->subnodes - before);
    pst_arena_return(&w->reader.arena, mark);
    return 0;
}

static void check_facts(const struct archive *a, const struct pst_facts *facts)
{
    cr_assert_eq(facts->format, a->is_format, "%s", a->name);
    cr_assert_eq(facts->encoding, a->is_encoding, "%s", a->name);
    cr_assert_eq(facts->version, a->version, "%s", a->name);
    cr_assert_eq(facts->is_ost, a->is_ost, "%s", a->name);
}

static void check_health(const struct archive *a, const struct pst_facts *facts)
{
    cr_assert_eq(facts->announced_size, facts->size, "%s", a->name);
    cr_assert_eq(facts->header.state, PST_OK, "%s: %s", a->name, pst_why_text(facts->header.why));
    cr_assert_eq(facts->nodes.verdict.state, PST_OK, "%s", a->name);
    cr_assert_eq(facts->blocks.verdict.state, PST_OK, "%s", a->name);
}

static struct pst_file *open_archive(const char *name)
{
    struct pst_file *f;
    struct mh_err err;
    mh_err_reset(&err);
    cr_assert_eq(pst_file_open(path_of(name), PST_ACCESS_BEST, &f, &err), MH_OK, "%s", err.text);
    return f;
}

static void walk_archive(const struct archive *a, const char *name, struct walk *w)
{
    struct pst_file *f = open_archive(name);
    *w = (struct walk){.archive = a};
    check_facts(a, pst_file_facts(f));
    check_health(a, pst_file_facts(f));
    pst_reader_init(&w->reader, f, READER_BYTES);
    cr_assert_eq(pst_node_walk(f, on_node, w), 0);
    cr_assert_eq(w->nodes, pst_file_facts(f)->nodes.entries, "%s", a->name);
    pst_reader_done(&w->reader);
    pst_file_close(f);
}

Test(corpus_pst, every_page_and_block_proves)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(archives); i++) {
        struct walk w;
        write_archive(&archives[i], "a", 120);
        walk_archive(&archives[i], "a.pst", &w);
        cr_assert_gt(w.nodes, 120u, "%s", archives[i].name);
        cr_assert_gt(w.subnodes, 120u, "%s", archives[i].name);
        cr_assert_gt(w.octets, 1000000u, "%s", archives[i].name);
    }
}

Test(corpus_pst, the_three_encodings_hold_the_same)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(archives); i += 3) {
        struct walk w[3];
        for (size_t k = 0; k < 3; k++) {
            write_archive(&archives[i + k], "a", 60);
            walk_archive(&archives[i + k], "a.pst", &w[k]);
            cr_assert_eq(w[k].nodes, w[0].nodes, "%s", archives[i + k].name);
            cr_assert_eq(w[k].blocks, w[0].blocks, "%s", archives[i + k].name);
            cr_assert_eq(w[k].octets, w[0].octets, "%s", archives[i + k].name);
        }
    }
}

/* 17 MB in one attachment, 700 attachments on one mail: one level of lists holds neither. */
Test(corpus_pst, lists_of_lists_prove)
{
    for (size_t i = 1; i < MH_ARRAY_LEN(archives); i += 3) {
        struct walk w;
        write_archive(&archives[i], "a", 1600);
        walk_archive(&archives[i], "a.pst", &w);
        cr_assert_gt(w.most_octets, 17000000u, "%s", archives[i].name);
        cr_assert_gt(w.most_subnodes, 700u, "%s", archives[i].name);
    }
}

Test(corpus_pst, an_archive_without_a_message_is_one)
{
    struct walk w;
    write_archive(&archives[4], "a", 0);
    walk_archive(&archives[4], "a.pst", &w);
    cr_assert_gt(w.nodes, 40u);
}

Test(corpus_pst, the_same_arguments_give_the_same_octets)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(archives); i += 4) {
        write_archive(&archives[i], "a", 50);
        write_archive(&archives[i], "b", 50);
        scratch_shell("cmp a.pst b.pst && cmp a.truth b.truth");
    }
}

/* --- the truth -------------------------------------------------------------------------------- */

typedef void line_fn(void *ctx, const json_t *line);

static void each_line(const char *name, line_fn *fn, void *ctx)
{
    FILE *f = fopen(path_of(name), "r");
    char *line = malloc(LINE_BYTES);
    cr_assert_not_null(f);
    cr_assert_not_null(line);
    while (fgets(line, LINE_BYTES, f)) {
        json_error_t why;
        json_t *json = json_loads(line, 0, &why);
        cr_assert_not_null(json, "%s in %.200s", why.text, line);
        fn(ctx, json);
        json_decref(json);
    }
    cr_assert_eq(fclose(f), 0);
    free(line);
}

static uint64_t number_of(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    cr_assert(json_is_integer(value), "%s", key);
    return (uint64_t)json_integer_value(value);
}

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    cr_assert_not_null(text, "%s", key);
    return text;
}

struct truth {
    const struct archive *archive;
    const struct pst_file *file;
    FILE *octets;
    unsigned items, deleted, associated, folders, announced;
};

/* The block that ends at the end of this room proves, wherever the trees think it is. */
static void check_block(const struct truth *t, uint64_t at, uint64_t bytes)
{
    static uint8_t room[65536];
    const struct archive *a = t->archive;
    cr_assert_leq(bytes, sizeof room, "%s", a->name);
    cr_assert_eq(fseeko(t->octets, (off_t)at, SEEK_SET), 0);
    cr_assert_eq(fread(room, 1, bytes, t->octets), bytes, "%s", a->name);
    const uint8_t *trailer = room + bytes - a->trailer_bytes;
    bool is_ansi = a->is_format == PST_ANSI;
    uint64_t bid = is_ansi ? pst_u32(trailer + 4) : pst_u64(trailer + 8);
    size_t len = pst_u16(trailer);
    cr_assert_leq(len, bytes - a->trailer_bytes, "%s, %llu", a->name, (unsigned long long)at);
    cr_assert_eq(pst_u16(trailer + 2), pst_signature(at, bid), "%s", a->name);
    cr_assert_eq(pst_u32(trailer + (is_ansi ? 8 : 4)), pst_crc(room, len), "%s", a->name);
}

/* Where a format's allocation maps lie, and how ([MS-PST] 2.2.2.7.2). */
static const struct maps {
    uint64_t first, section;
    unsigned page, trailer, bits_at, align;
} all_maps[] = {
    [PST_ANSI] = {0x4400, 253952, 512, 500, 4, 64},
    [PST_UNICODE] = {0x4400, 253952, 512, 496, 0, 64},
    [PST_UNICODE_4K] = {0x22000, UINT64_C(253952) * 64, 4096, 4072, 0, 512},
};

/* The map that knows the octet AT proves; true: it calls the octet taken. */
static bool is_allocated(const struct truth *t, uint64_t at)
{
    enum { MAP_TYPE = 0x84 };
    static uint8_t page[4096];
    const struct maps *maps = &all_maps[t->archive->is_format];
    bool is_ansi = t->archive->is_format == PST_ANSI;
    uint64_t start = maps->first + (at - maps->first) / maps->section * maps->section;
    const uint8_t *trailer = page + maps->trailer;
    cr_assert_eq(fseeko(t->octets, (off_t)start, SEEK_SET), 0);
    cr_assert_eq(fread(page, 1, maps->page, t->octets), maps->page, "%s", t->archive->name);
    cr_assert(trailer[0] == MAP_TYPE && trailer[1] == MAP_TYPE, "%s", t->archive->name);
    cr_assert_eq(pst_u32(trailer + (is_ansi ? 8 : 4)), pst_crc(page, maps->trailer));
    cr_assert_eq(is_ansi ? pst_u32(trailer + 4) : pst_u64(trailer + 8), start);
    uint64_t bit = (at - start) / maps->align;
    return (page[maps->bits_at + bit / 8] & 0x80u >> bit % 8) != 0;
}

static void check_item(struct truth *t, const json_t *line, bool is_there)
{
    size_t i;
    json_t *extent;
    struct pst_node node;
    uint32_t nid = (uint32_t)number_of(line, "nid");
    struct pst_verdict v = pst_node_find(t->file, nid, &node);
    cr_assert_eq(v.state, is_there ? PST_OK : PST_LOST, "%s, node %x", t->archive->name, nid);
    if (is_there)
        cr_assert_eq(node.parent, number_of(line, "parent"), "%s, node %x", t->archive->name, nid);
    else
        cr_assert_eq(v.why, PST_WHY_NO_NODE, "%s, node %x", t->archive->name, nid);
    cr_assert_gt(json_array_size(json_object_get(line, "blocks")), 0u);
    json_array_foreach(json_object_get(line, "blocks"), i, extent)
    {
        uint64_t at = (uint64_t)json_integer_value(json_array_get(extent, 0));
        uint64_t bytes = (uint64_t)json_integer_value(json_array_get(extent, 1));
        check_block(t, at, bytes);
        cr_assert_eq(is_allocated(t, at), is_there, "%s, %llu", t->archive->name,
                     (unsigned long long)at);
        cr_assert_eq(is_allocated(t, at + bytes - 1), is_there, "%s", t->archive->name);
    }
}

/* A folder is four nodes ([MS-PST] 2.4.4). */
static void check_folder(const struct truth *t, uint32_t nid)
{
    static const enum pst_nid_type types[] = {PST_NID_FOLDER, PST_NID_HIERARCHY_TABLE,
                                              PST_NID_CONTENTS_TABLE, PST_NID_ASSOCIATED_TABLE};
    for (size_t i = 0; i < MH_ARRAY_LEN(types); i++) {
        struct pst_node node;
        struct pst_verdict v = pst_node_find(t->file, pst_nid_of(nid, types[i]), &node);
        cr_assert_eq(v.state, PST_OK, "%s, node %x", t->archive->name, pst_nid_of(nid, types[i]));
        cr_assert_neq(node.data, 0u, "%x", node.nid);
    }
}

static int count_folder(void *ctx, const struct pst_node *node)
{
    *(unsigned *)ctx += pst_nid_type(node->nid) == PST_NID_FOLDER;
    return 0;
}

static void check_line(void *ctx, const json_t *line)
{
    struct truth *t = ctx;
    const char *kind = text_of(line, "kind");
    if (strcmp(kind, "folder") == 0) {
        check_folder(t, (uint32_t)number_of(line, "nid"));
        t->announced += (unsigned)number_of(line, "items");
        t->folders++;
        return;
    }
    bool is_deleted = strcmp(kind, "deleted") == 0;
    t->deleted += is_deleted;
    t->items += strcmp(kind, "item") == 0;
    t->associated += strcmp(kind, "associated") == 0;
    check_item(t, line, !is_deleted);
}

Test(corpus_pst, the_truth_is_where_it_says)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(archives); i++) {
        struct truth t = {.archive = &archives[i]};
        write_archive(&archives[i], "a", 200);
        struct pst_file *f = open_archive("a.pst");
        t.file = f;
        t.octets = fopen(path_of("a.pst"), "r");
        cr_assert_not_null(t.octets);
        each_line("a.truth", check_line, &t);
        cr_assert_eq(t.items, t.announced, "%s", archives[i].name);
        cr_assert_gt(t.items, 200u, "%s", archives[i].name);
        cr_assert_gt(t.deleted, 0u, "%s", archives[i].name);
        cr_assert_eq(t.associated, 1u, "%s", archives[i].name);
        unsigned folders = 0;
        cr_assert_eq(pst_node_walk(f, count_folder, &folders), 0);
        cr_assert_eq(t.folders, folders, "%s", archives[i].name);
        cr_assert_gt(t.folders, 20u, "%s", archives[i].name);
        cr_assert_eq(fclose(t.octets), 0);
        pst_file_close(f);
    }
}

/* Every shape that mail has in an archive is there, or a reader would not be tried on it. */
struct shapes {
    unsigned texts, htmls, rtfs, melas, htmls_in_rtf, headers, bccs, x500s, embedded, references,
        objects, pictures, large, replied, forwarded, flagged, drafts, categories, unread;
    unsigned kinds[12];
};

static void count_attachment(struct shapes *s, const json_t *a)
{
    const char *method = text_of(a, "method");
    s->embedded += strcmp(method, "embedded") == 0;
    s->references += strcmp(method, "reference") == 0;
    s->objects += strcmp(method, "ole") == 0;
    s->pictures += json_object_get(a, "content_id") != NULL;
    if (strcmp(method, "value") == 0)
        s->large += number_of(a, "size") > 65536;
}

static void count_shapes(void *ctx, const json_t *line)
{
    static const char *const classes[] = {"IPM.Note",           "IPM.Contact",
                                          "IPM.DistList",       "IPM.Appointment",
                                          "IPM.Task",           "IPM.StickyNote",
                                          "IPM.Activity",       "IPM.Schedule.Meeting.Request",
                                          "IPM.Note.SMIME",     "IPM.Note.SMIME.MultipartSigned",
                                          "REPORT.IPM.Note.NDR"};
    struct shapes *s = ctx;
    size_t i;
    json_t *one;
    const json_t *rtf = json_object_get(line, "rtf");
    if (strcmp(text_of(line, "kind"), "item") != 0)
        return;
    for (size_t k = 0; k < MH_ARRAY_LEN(classes); k++)
        s->kinds[k] += strcmp(text_of(line, "class"), classes[k]) == 0;
    s->texts += json_object_get(line, "text") != NULL;
    s->htmls += json_object_get(line, "html") != NULL;
    s->headers += json_object_get(line, "headers") != NULL;
    s->categories += json_object_get(line, "categories") != NULL;
    s->replied += json_is_true(json_object_get(line, "is_replied"));
    s->forwarded += json_is_true(json_object_get(line, "is_forwarded"));
    s->flagged += json_is_true(json_object_get(line, "is_flagged"));
    s->drafts += json_is_true(json_object_get(line, "is_draft"));
    s->unread += json_is_false(json_object_get(line, "is_read"));
    if (rtf) {
        s->rtfs++;
        s->melas += strcmp(text_of(rtf, "packed"), "MELA") == 0;
        s->htmls_in_rtf += json_is_true(json_object_get(rtf, "is_html"));
    }
    json_array_foreach(json_object_get(line, "recipients"), i, one)
    {
        s->bccs += strcmp(text_of(one, "type"), "bcc") == 0;
        s->x500s += json_object_get(one, "x500") != NULL;
    }
    json_array_foreach(json_object_get(line, "attachments"), i, one) count_attachment(s, one);
}

Test(corpus_pst, every_shape_of_mail_is_there)
{
    struct shapes s = {0};
    write_archive(&archives[4], "a", 400);
    each_line("a.truth", count_shapes, &s);
    const struct {
        const char *name;
        unsigned n;
    } seen[] = {{"text", s.texts},
                {"HTML", s.htmls},
                {"RTF", s.rtfs},
                {"RTF, plain", s.melas},
                {"HTML in RTF", s.htmls_in_rtf},
                {"headers", s.headers},
                {"Bcc", s.bccs},
                {"X.500", s.x500s},
                {"embedded", s.embedded},
                {"reference", s.references},
                {"OLE", s.objects},
                {"picture", s.pictures},
                {"large", s.large},
                {"replied", s.replied},
                {"forwarded", s.forwarded},
                {"flagged", s.flagged},
                {"draft", s.drafts},
                {"categories", s.categories},
                {"unread", s.unread}};
    for (size_t i = 0; i < MH_ARRAY_LEN(seen); i++)
        cr_assert_gt(seen[i].n, 0u, "%s", seen[i].name);
    for (size_t i = 0; i < 11; i++)
        cr_assert_gt(s.kinds[i], 0u, "kind %zu", i);
    cr_assert_lt(s.headers, s.kinds[0]);
}
