/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The header, and the archive as a whole ([MS-PST] 2.2.2.6).
 */
#include "pst/ndb_priv.h"

#include "base/mem.h"

enum { HEADER_BYTES = 564, CRC_FROM = 8, CRC_PARTIAL_BYTES = 471, CRC_FULL_BYTES = 516 };

/* Where the header has what we need; ANSI and Unicode agree up to wVer. */
struct header_layout {
    unsigned eof, node_root, block_root, encoding;
    unsigned crc_full; /* 0: has none */
};

static const struct header_layout ansi_header = {168, 184, 192, 461, 0};
static const struct header_layout unicode_header = {184, 216, 232, 513, 524};

/* The 4K pages are not in [MS-PST]; measured on files of Outlook 2013 and later by others. */
const struct layout layouts[3] = {
    [PST_ANSI] = {PST_ANSI, 512, 496, 500, 64, 12, 8192, 4, 12, 16, 12, 8, 4},
    [PST_UNICODE] = {PST_UNICODE, 512, 488, 496, 64, 16, 8192, 8, 24, 32, 24, 8, 8},
    [PST_UNICODE_4K] = {PST_UNICODE_4K, 4096, 4056, 4072, 512, 24, 65536, 8, 24, 32, 24, 8, 8},
};

/* --- verdicts --------------------------------------------------------------------------------- */

void pst_worsen(struct pst_verdict *v, struct pst_verdict other)
{
    if (other.state > v->state)
        *v = other;
}

const char *pst_why_text(enum pst_why why)
{
    static const char *const texts[] = {
        [PST_WHY_NONE] = "nothing is wrong",
        [PST_WHY_CUT] = "behind the end of the file, or not readable",
        [PST_WHY_TYPE] = "something else lies there",
        [PST_WHY_SIGNATURE] = "it belongs to another place",
        [PST_WHY_CRC] = "its octets have changed",
        [PST_WHY_IDENTITY] = "another one lies there",
        [PST_WHY_SIZE] = "its sizes contradict each other",
        [PST_WHY_ORDER] = "its entries are not in order",
        [PST_WHY_NO_BLOCK] = "no index knows the block",
        [PST_WHY_NO_NODE] = "no index knows the node",
        [PST_WHY_NESTING] = "it leads back to itself or too deep",
        [PST_WHY_LIMIT] = "more than such an archive can hold",
        [PST_WHY_DEFLATE] = "its compressed octets are broken",
        [PST_WHY_MEMORY] = "no memory for it",
    };
    return why < MH_ARRAY_LEN(texts) ? texts[why] : "unknown";
}

/* --- the header ------------------------------------------------------------------------------- */

static bool has_magic(const uint8_t *h)
{
    return memcmp(h, "!BDN", 4) == 0;
}

static bool format_of(unsigned version, enum pst_format *out)
{
    if (version == 14 || version == 15)
        *out = PST_ANSI;
    else if (version >= 23 && version < 36)
        *out = PST_UNICODE;
    else if (version >= 36 && version < 64)
        *out = PST_UNICODE_4K;
    else
        return false;
    return true;
}

static struct pst_verdict judge_header(const uint8_t *h, const struct header_layout *hl)
{
    if (!has_magic(h))
        return verdict(PST_SUSPECT, PST_WHY_TYPE, 0);
    if (pst_crc(h + CRC_FROM, CRC_PARTIAL_BYTES) != pst_u32(h + 4))
        return verdict(PST_SUSPECT, PST_WHY_CRC, 0);
    if (hl->crc_full && pst_crc(h + CRC_FROM, CRC_FULL_BYTES) != pst_u32(h + hl->crc_full))
        return verdict(PST_SUSPECT, PST_WHY_CRC, 0);
    return fine();
}

static struct tree get_root(const struct layout *lay, const uint8_t *p, enum page_type type)
{
    return (struct tree){
        .type = type, .root_bid = get_id(lay, p), .root_at = get_id(lay, p + lay->id_bytes)};
}

/* What the header says, as far as it can be used. False: it names no format. */
static bool read_header(struct pst_file *f)
{
    uint8_t room[HEADER_BYTES];
    struct pst_facts *facts = &f->facts;
    const uint8_t *h = pst_bytes_at(f->bytes, 0, HEADER_BYTES, room);
    facts->header = verdict(PST_LOST, PST_WHY_CUT, 0);
    if (!h)
        return false;
    facts->version = pst_u16(h + 10);
    if (!format_of(facts->version, &facts->format)) {
        facts->header = verdict(PST_LOST, PST_WHY_TYPE, 0);
        return false;
    }
    const struct header_layout *hl = facts->format == PST_ANSI ? &ansi_header : &unicode_header;
    f->lay = &layouts[facts->format];
    facts->header = judge_header(h, hl);
    facts->is_ost = h[8] == 'S' && h[9] == 'O';
    facts->encoding = (enum pst_encoding)h[hl->encoding];
    if (facts->encoding > PST_CYCLIC)
        pst_worsen(&facts->header, verdict(PST_SUSPECT, PST_WHY_TYPE, hl->encoding));
    facts->announced_size = get_id(f->lay, h + hl->eof);
    f->nodes = get_root(f->lay, h + hl->node_root, PAGE_NODES);
    f->blocks = get_root(f->lay, h + hl->block_root, PAGE_BLOCKS);
    tree_prove(f, &f->nodes, &facts->nodes);
    tree_prove(f, &f->blocks, &facts->blocks);
    return true;
}

static bool is_whole(const struct pst_facts *facts)
{
    return facts->nodes.verdict.state == PST_OK && facts->blocks.verdict.state == PST_OK;
}

/* --- salvage ---------------------------------------------------------------------------------- */

/* The scan of F as an archive of FORMAT takes the place of a worse one. */
static int try_format(struct pst_file *f, enum pst_format format, struct mh_err *err)
{
    const struct layout *before = f->lay;
    struct pst_scan *scan = mh_zalloc(sizeof *scan);
    if (!scan)
        return mh_err_nomem(err);
    f->lay = &layouts[format];
    int code = pst_scan_run(f, scan, err);
    bool is_better = code == MH_OK && scan->n_blocks + scan->n_nodes > 0 &&
                     (!f->salvage || scan->n_blocks > f->salvage->n_blocks);
    if (is_better) {
        pst_scan_free(f->salvage);
        f->salvage = scan;
        f->facts.format = format;
        return MH_OK;
    }
    f->lay = before;
    pst_scan_free(scan);
    return code;
}

/* Heaps have a signature at their third octet: under which encoding do most of the blocks have it? */
static enum pst_encoding guess_encoding(struct pst_file *f)
{
    enum { TRIED = 2000, HEAP_SIGNATURE = 0xec, LOOK_BYTES = 3, ARENA_BYTES = 1 << 20 };
    size_t hits[PST_CYCLIC + 1] = {0};
    const struct pst_scan *s = f->salvage;
    struct pst_reader r;
    pst_reader_init(&r, f, ARENA_BYTES);
    f->facts.encoding = PST_PLAIN; /* as they lie there, inflated */
    for (size_t i = 0; i < s->n_blocks; i += s->n_blocks / TRIED + 1) {
        struct pst_span raw;
        const struct pst_found_block *b = &s->blocks[i];
        struct pst_mark mark = pst_arena_mark(&r.arena);
        bool is_usable = !pst_bid_is_internal(b->key) &&
                         pst_block_read(&r, b->key, &raw).state == PST_OK && raw.n >= LOOK_BYTES;
        for (int e = PST_PLAIN; is_usable && e <= PST_CYCLIC; e++) {
            uint8_t plain[LOOK_BYTES];
            pst_decode((enum pst_encoding)e, b->key, raw.p, sizeof plain, plain);
            hits[e] += plain[2] == HEAP_SIGNATURE;
        }
        pst_arena_return(&r.arena, mark);
    }
    pst_reader_done(&r);
    enum pst_encoding best = PST_PERMUTE; /* Outlook's own choice */
    for (int e = PST_PLAIN; e <= PST_CYCLIC; e++)
        if (hits[e] > hits[best])
            best = (enum pst_encoding)e;
    return best;
}

/* The header names no format, or what it names is not there: all of them are tried. */
static int salvage(struct pst_file *f, bool is_named, const char *path, struct mh_err *err)
{
    struct pst_facts *facts = &f->facts;
    int code = is_named ? try_format(f, facts->format, err) : MH_OK;
    facts->is_guessed = !f->salvage || f->salvage->n_nodes == 0;
    for (int i = PST_ANSI; facts->is_guessed && code == MH_OK && i <= PST_UNICODE_4K; i++)
        code = try_format(f, (enum pst_format)i, err);
    if (code != MH_OK)
        return code;
    if (!f->salvage)
        return mh_err_set(err, MH_EUSAGE, "pst",
                          "%s is no Outlook archive, nor what is left of one", path);
    if (!is_named)
        facts->nodes.verdict = facts->blocks.verdict = lost(facts->header.why, 0);
    if (facts->header.state != PST_OK) {
        facts->is_guessed = true;
        facts->encoding = guess_encoding(f);
    }
    facts->is_salvaged = true;
    facts->shift = f->salvage->n_shifts > 1 ? f->salvage->shifts[1] : 0;
    return MH_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

int pst_file_open(const char *path, enum pst_access access, struct pst_file **out,
                  struct mh_err *err)
{
    struct pst_file *f = mh_zalloc(sizeof *f);
    *out = NULL;
    if (!f)
        return mh_err_nomem(err);
    int code = pst_bytes_open(path, access, &f->bytes, err);
    if (code == MH_OK) {
        f->facts.size = pst_bytes_size(f->bytes);
        bool is_named = read_header(f);
        if (!is_named || f->facts.header.state != PST_OK || !is_whole(&f->facts))
            code = salvage(f, is_named, path, err);
    }
    if (code != MH_OK) {
        pst_file_close(f);
        return code;
    }
    *out = f;
    return MH_OK;
}

void pst_file_close(struct pst_file *f)
{
    if (!f)
        return;
    pst_scan_free(f->salvage);
    pst_bytes_close(f->bytes);
    mh_free(f);
}

const struct pst_facts *pst_file_facts(const struct pst_file *f)
{
    return &f->facts;
}

void pst_reader_init(struct pst_reader *r, const struct pst_file *f, size_t arena_bytes)
{
    r->file = f;
    pst_arena_init(&r->arena, arena_bytes);
}

void pst_reader_done(struct pst_reader *r)
{
    pst_arena_done(&r->arena);
}
