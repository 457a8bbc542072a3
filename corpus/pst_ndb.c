/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_ndb_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    WRITE_BYTES = 1 << 20, /* how much is gathered for one call */
    BLOCK_BYTES_MAX = 65536,
    LIST_TYPE = 1,
    SUBNODE_TYPE = 2,
    LIST_HEAD_BYTES = 8,
    BID_STEP = 4, /* the two lowest bits are no part of the number */
    BID_INTERNAL = 2,
};

/* The 4K format is not in [MS-PST]; its maps are those of the others, eight times as wide. */
static const struct mhc_ndb_layout layouts[] = {
    [MHC_PST_ANSI] = {.version = 14,
                      .page_bytes = 512,
                      .entries_bytes = 496,
                      .page_trailer = 500,
                      .map_at = 4,
                      .align = 64,
                      .trailer_bytes = 12,
                      .block_bytes = 8192 - 12,
                      .id_bytes = 4,
                      .node_bytes = 16,
                      .place_bytes = 12,
                      .sub_head_bytes = 4,
                      .first_map = 0x4400,
                      .section_bytes = 253952,
                      .size_max = UINT32_MAX},
    [MHC_PST_UNICODE] = {.version = 23,
                         .page_bytes = 512,
                         .entries_bytes = 488,
                         .page_trailer = 496,
                         .align = 64,
                         .trailer_bytes = 16,
                         .block_bytes = 8192 - 16,
                         .id_bytes = 8,
                         .node_bytes = 32,
                         .place_bytes = 24,
                         .sub_head_bytes = 8,
                         .first_map = 0x4400,
                         .section_bytes = 253952,
                         .size_max = INT64_MAX},
    [MHC_PST_OST4K] = {.version = 36,
                       .page_bytes = 4096,
                       .entries_bytes = 4056,
                       .page_trailer = 4072,
                       .align = 512,
                       .trailer_bytes = 24,
                       .block_bytes = 65536 - 24,
                       .id_bytes = 8,
                       .node_bytes = 32,
                       .place_bytes = 24,
                       .sub_head_bytes = 8,
                       .first_map = 0x22000,
                       .section_bytes = UINT64_C(253952) * 64,
                       .size_max = INT64_MAX},
};

/* --- the file --- */

static void fail(struct mhc_ndb *ndb, const char *what)
{
    if (!ndb->is_failed) {
        (void)mhc_fail(&ndb->err, MHC_EFAIL, "%s: %s", ndb->path, what);
    }
    ndb->is_failed = true;
}

void mhc_ndb_write_at(struct mhc_ndb *ndb, uint64_t at, const void *bytes, size_t len)
{
    const char *from = bytes;
    while (len > 0 && !ndb->is_failed) {
        ssize_t done = pwrite(ndb->fd, from, len, (off_t)at);
        if (done < 0 && errno != EINTR) {
            fail(ndb, strerror(errno));
        } else if (done > 0) {
            from += done;
            at += (uint64_t)done;
            len -= (size_t)done;
        }
    }
}

void mhc_ndb_flush(struct mhc_ndb *ndb)
{
    mhc_ndb_write_at(ndb, ndb->out_at, ndb->out.data, ndb->out.len);
    ndb->out_at += ndb->out.len;
    ndb->out.len = 0;
}

/* Whatever comes lies behind what came before; the room between is a hole. */
void mhc_ndb_put(struct mhc_ndb *ndb, uint64_t at, const void *bytes, size_t len)
{
    if (at != ndb->out_at + ndb->out.len || ndb->out.len + len > WRITE_BYTES) {
        mhc_ndb_flush(ndb);
        ndb->out_at = at;
    }
    mhc_buf_add(&ndb->out, bytes, len);
}

/* --- room --- */

void mhc_extents_done(struct mhc_extents *extents)
{
    free(extents->v);
    *extents = (struct mhc_extents){0};
}

void mhc_extents_add(struct mhc_extents *extents, uint64_t at, uint64_t bytes)
{
    if (extents->count == extents->cap) {
        extents->cap = extents->cap > 0 ? 2 * extents->cap : 4;
        extents->v = mhc_realloc(extents->v, extents->cap * sizeof(*extents->v));
    }
    extents->v[extents->count++] = (struct mhc_extent){at, (uint32_t)bytes};
}

static void leave_gap(struct mhc_ndb *ndb, uint64_t to)
{
    if (to > ndb->end) {
        mhc_extents_add(&ndb->gaps, ndb->end, to - ndb->end);
    }
    ndb->end = to;
}

uint64_t mhc_ndb_section_start(const struct mhc_ndb *ndb, uint64_t section)
{
    return ndb->lay->first_map + section * ndb->lay->section_bytes;
}

/* [MS-PST] 2.2.2.7.2 to 2.2.2.7.5: each section begins with its map, some with three more. */
unsigned mhc_ndb_maps_of(uint64_t section, uint8_t types[MHC_NDB_MAPS_MAX])
{
    enum {
        PMAP_SECTIONS = 8,
        FMAP_FIRST = 128,
        FMAP_SECTIONS = 496,
        FPMAP_FIRST = 8192,
        FPMAP_SECTIONS = 31744
    };
    unsigned n = 0;
    types[n++] = MHC_PAGE_AMAP;
    if (section % PMAP_SECTIONS == 0) {
        types[n++] = MHC_PAGE_PMAP;
    }
    if (section >= FMAP_FIRST && (section - FMAP_FIRST) % FMAP_SECTIONS == 0) {
        types[n++] = MHC_PAGE_FMAP;
    }
    if (section >= FPMAP_FIRST && (section - FPMAP_FIRST) % FPMAP_SECTIONS == 0) {
        types[n++] = MHC_PAGE_FPMAP;
    }
    return n;
}

static void enter_section(struct mhc_ndb *ndb, uint64_t section)
{
    uint8_t types[MHC_NDB_MAPS_MAX];
    leave_gap(ndb, mhc_ndb_section_start(ndb, section));
    ndb->end += (uint64_t)mhc_ndb_maps_of(section, types) * ndb->lay->page_bytes;
    ndb->sections = section + 1;
}

uint64_t mhc_ndb_allocate(struct mhc_ndb *ndb, uint64_t bytes, uint64_t align)
{
    uint64_t at = (ndb->end + align - 1) / align * align;
    if (at + bytes > mhc_ndb_section_start(ndb, ndb->sections)) {
        enter_section(ndb, ndb->sections);
        at = (ndb->end + align - 1) / align * align;
    }
    leave_gap(ndb, at);
    ndb->end = at + bytes;
    if (ndb->end > ndb->lay->size_max) {
        fail(ndb, "an ANSI archive cannot be larger than 4 GiB");
    }
    return at;
}

/* --- opening --- */

static void init_nids(struct mhc_ndb *ndb)
{
    enum { FIRST_INDEX = 0x401, FIRST_SEARCH = 0x4000, FIRST_ASSOCIATED = 0x8000 };
    for (unsigned type = 0; type < MHC_NID_TYPES; type++) {
        ndb->next_index[type] = FIRST_INDEX;
    }
    ndb->next_index[MHC_NID_SEARCH_FOLDER] = FIRST_SEARCH;
    ndb->next_index[MHC_NID_MESSAGE] = 0x10000;
    ndb->next_index[MHC_NID_ASSOCIATED] = FIRST_ASSOCIATED;
}

int mhc_ndb_open(struct mhc_ndb **ndb_out, const char *path, enum mhc_pst_format format,
                 enum pst_encoding encoding, struct mhc_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return mhc_fail(err, MHC_EFAIL, "%s: %s", path, strerror(errno));
    }
    struct mhc_ndb *ndb = mhc_alloc(sizeof(*ndb));
    *ndb = (struct mhc_ndb){.fd = fd,
                            .path = mhc_strdup(path),
                            .format = format,
                            .encoding = encoding,
                            .lay = &layouts[format],
                            .next_bid = BID_STEP,
                            .next_page_bid = BID_STEP};
    ndb->scratch = mhc_alloc(BLOCK_BYTES_MAX);
    ndb->packed = mhc_alloc(BLOCK_BYTES_MAX);
    ndb->end = ndb->lay->first_map;
    enter_section(ndb, 0);
    init_nids(ndb);
    *ndb_out = ndb;
    return MHC_OK;
}

enum mhc_pst_format mhc_ndb_format(const struct mhc_ndb *ndb)
{
    return ndb->format;
}

size_t mhc_ndb_block_bytes(const struct mhc_ndb *ndb)
{
    return ndb->lay->block_bytes;
}

uint32_t mhc_ndb_new_nid(struct mhc_ndb *ndb, unsigned type)
{
    return ndb->next_index[type]++ << 5 | type;
}

/* --- blocks ([MS-PST] 2.2.2.8) --- */

void mhc_ndb_put_id(const struct mhc_ndb *ndb, uint8_t *p, uint64_t id)
{
    if (ndb->lay->id_bytes == 8) {
        pst_put_u64(p, id);
    } else {
        pst_put_u32(p, (uint32_t)id);
    }
}

static void put_trailer(const struct mhc_ndb *ndb, uint8_t *p, const struct mhc_ndb_place *place,
                        uint32_t crc)
{
    pst_put_u16(p, place->size);
    pst_put_u16(p + 2, pst_signature(place->at, place->bid));
    if (ndb->format == MHC_PST_ANSI) {
        pst_put_u32(p + 4, (uint32_t)place->bid);
        pst_put_u32(p + 8, crc);
        return;
    }
    pst_put_u32(p + 4, crc);
    pst_put_u64(p + 8, place->bid);
    if (ndb->format == MHC_PST_OST4K) {
        pst_put_u16(p + 18, place->plain_size);
    }
}

/* The octets as they stand in the file: encoded, then deflated if that is shorter. */
static const uint8_t *pack(struct mhc_ndb *ndb, uint64_t bid, const void *bytes, size_t len,
                           size_t *len_out)
{
    *len_out = len;
    if (bid & BID_INTERNAL) {
        return bytes;
    }
    pst_encode(ndb->encoding, bid, bytes, len, ndb->scratch);
    uLongf packed_len = len;
    if (ndb->format == MHC_PST_OST4K &&
        compress2(ndb->packed, &packed_len, ndb->scratch, len, Z_BEST_SPEED) == Z_OK &&
        packed_len < len) {
        *len_out = packed_len;
        return ndb->packed;
    }
    return ndb->scratch;
}

static void remember(struct mhc_ndb *ndb, const struct mhc_ndb_place *place, uint64_t slot)
{
    if (ndb->place_count == ndb->place_cap) {
        ndb->place_cap = ndb->place_cap > 0 ? 2 * ndb->place_cap : 1024;
        ndb->places = mhc_realloc(ndb->places, ndb->place_cap * sizeof(*ndb->places));
    }
    ndb->places[ndb->place_count++] = *place;
    if (ndb->trace != NULL) {
        mhc_extents_add(ndb->trace, place->at, slot);
    }
}

static uint64_t write_block(struct mhc_ndb *ndb, unsigned kind, const void *bytes, size_t len)
{
    static const uint8_t zeros[1024];
    const struct mhc_ndb_layout *lay = ndb->lay;
    uint8_t trailer[32] = {0};
    size_t size = len;
    struct mhc_ndb_place place = {.bid = ndb->next_bid | kind, .plain_size = (uint16_t)len};
    ndb->next_bid += BID_STEP;
    const uint8_t *packed = pack(ndb, place.bid, bytes, len, &size);
    uint64_t slot = (size + lay->trailer_bytes + lay->align - 1) / lay->align * lay->align;
    place.size = (uint16_t)size;
    place.at = mhc_ndb_allocate(ndb, slot, lay->align);
    put_trailer(ndb, trailer, &place, pst_crc(packed, size));
    mhc_ndb_put(ndb, place.at, packed, size);
    mhc_ndb_put(ndb, place.at + size, zeros, slot - size - lay->trailer_bytes);
    mhc_ndb_put(ndb, place.at + slot - lay->trailer_bytes, trailer, lay->trailer_bytes);
    remember(ndb, &place, slot);
    return place.bid;
}

/* --- data --- */

void mhc_ndb_data_init(struct mhc_ndb_data *data, struct mhc_ndb *ndb)
{
    *data = (struct mhc_ndb_data){.ndb = ndb};
}

static void end_block(struct mhc_ndb_data *data, const void *bytes, size_t len)
{
    data->bids = mhc_realloc(data->bids, (data->count + 1) * sizeof(*data->bids));
    data->bids[data->count++] = write_block(data->ndb, 0, bytes, len);
}

void mhc_ndb_data_add(struct mhc_ndb_data *data, const void *bytes, size_t len)
{
    size_t full = data->ndb->lay->block_bytes;
    const char *from = bytes;
    data->bytes += len;
    while (len > 0) {
        size_t part = full - data->tail.len;
        part = part < len ? part : len;
        if (part == full) {
            end_block(data, from, full);
        } else {
            mhc_buf_add(&data->tail, from, part);
        }
        from += part;
        len -= part;
        if (data->tail.len == full) {
            end_block(data, data->tail.data, full);
            data->tail.len = 0;
        }
    }
}

void mhc_ndb_data_pad(struct mhc_ndb_data *data)
{
    if (data->tail.len > 0) {
        size_t more = data->ndb->lay->block_bytes - data->tail.len;
        mhc_buf_fill(&data->tail, 0, more);
        data->bytes += more;
        end_block(data, data->tail.data, data->tail.len);
        data->tail.len = 0;
    }
}

/* XBLOCK and XXBLOCK ([MS-PST] 2.2.2.8.3.2). */
static uint64_t write_list(struct mhc_ndb *ndb, unsigned level, const uint64_t *bids, size_t count,
                           uint64_t bytes)
{
    struct mhc_buf list = {0};
    size_t id_bytes = ndb->lay->id_bytes;
    uint8_t *p = (uint8_t *)mhc_buf_room(&list, LIST_HEAD_BYTES + count * id_bytes);
    p[0] = LIST_TYPE;
    p[1] = (uint8_t)level;
    pst_put_u16(p + 2, (unsigned)count);
    pst_put_u32(p + 4, (uint32_t)bytes);
    for (size_t i = 0; i < count; i++) {
        mhc_ndb_put_id(ndb, p + LIST_HEAD_BYTES + i * id_bytes, bids[i]);
    }
    uint64_t bid = write_block(ndb, BID_INTERNAL, p, LIST_HEAD_BYTES + count * id_bytes);
    mhc_buf_done(&list);
    return bid;
}

uint64_t mhc_ndb_data_done(struct mhc_ndb_data *data)
{
    struct mhc_ndb *ndb = data->ndb;
    size_t full = ndb->lay->block_bytes;
    size_t most = (full - LIST_HEAD_BYTES) / ndb->lay->id_bytes;
    uint64_t bytes = data->bytes;
    if (data->tail.len > 0) {
        end_block(data, data->tail.data, data->tail.len);
    }
    uint64_t bid = data->count > 0 ? data->bids[0] : 0;
    if (data->count > most) {
        uint64_t left = bytes;
        size_t lists = 0;
        for (size_t at = 0; at < data->count; at += most) {
            size_t part = data->count - at < most ? data->count - at : most;
            uint64_t part_bytes = left < part * full ? left : part * full;
            data->bids[lists++] = write_list(ndb, 1, data->bids + at, part, part_bytes);
            left -= part_bytes;
        }
        bid = write_list(ndb, 2, data->bids, lists, bytes);
    } else if (data->count > 1) {
        bid = write_list(ndb, 1, data->bids, data->count, bytes);
    }
    free(data->bids);
    mhc_buf_done(&data->tail);
    *data = (struct mhc_ndb_data){0};
    return bid;
}

uint64_t mhc_ndb_data_write(struct mhc_ndb *ndb, const void *bytes, size_t len)
{
    struct mhc_ndb_data data;
    mhc_ndb_data_init(&data, ndb);
    mhc_ndb_data_add(&data, bytes, len);
    return mhc_ndb_data_done(&data);
}

/* --- subnodes ([MS-PST] 2.2.2.8.3.3) --- */

uint32_t mhc_subnodes_new_nid(struct mhc_subnodes *subs, unsigned type)
{
    enum { FIRST_INDEX = 0x401 };
    return (FIRST_INDEX + subs->next_index++) << 5 | type;
}

void mhc_subnodes_add(struct mhc_subnodes *subs, uint32_t nid, struct mhc_ndb_body body)
{
    subs->v = mhc_realloc(subs->v, (subs->count + 1) * sizeof(*subs->v));
    subs->v[subs->count++] = (struct mhc_subnode){nid, body};
}

static int by_nid(const void *a, const void *b)
{
    uint32_t x = ((const struct mhc_subnode *)a)->nid;
    uint32_t y = ((const struct mhc_subnode *)b)->nid;
    return x < y ? -1 : x > y;
}

static uint8_t *begin_subnodes(struct mhc_ndb *ndb, struct mhc_buf *block, unsigned level,
                               size_t count, size_t entry_bytes)
{
    size_t len = ndb->lay->sub_head_bytes + count * entry_bytes;
    block->len = 0;
    uint8_t *p = (uint8_t *)mhc_buf_room(block, len);
    memset(p, 0, len);
    p[0] = SUBNODE_TYPE;
    p[1] = (uint8_t)level;
    pst_put_u16(p + 2, (unsigned)count);
    block->len = len;
    return p + ndb->lay->sub_head_bytes;
}

static uint64_t write_subnode_leaf(struct mhc_ndb *ndb, struct mhc_buf *block,
                                   const struct mhc_subnode *v, size_t count)
{
    size_t w = ndb->lay->id_bytes;
    uint8_t *p = begin_subnodes(ndb, block, 0, count, 3 * w);
    for (size_t i = 0; i < count; i++, p += 3 * w) {
        mhc_ndb_put_id(ndb, p, v[i].nid);
        mhc_ndb_put_id(ndb, p + w, v[i].body.data);
        mhc_ndb_put_id(ndb, p + 2 * w, v[i].body.sub);
    }
    return write_block(ndb, BID_INTERNAL, block->data, block->len);
}

uint64_t mhc_subnodes_write(struct mhc_subnodes *subs, struct mhc_ndb *ndb)
{
    size_t w = ndb->lay->id_bytes;
    size_t most = (ndb->lay->block_bytes - ndb->lay->sub_head_bytes) / (3 * w);
    struct mhc_buf block = {0};
    uint64_t bid = 0;
    if (subs->count > 1) {
        qsort(subs->v, subs->count, sizeof(*subs->v), by_nid);
    }
    size_t leaves = (subs->count + most - 1) / most;
    uint64_t *below = mhc_alloc((leaves + 1) * sizeof(*below));
    for (size_t i = 0; i < leaves; i++) {
        size_t left = subs->count - i * most;
        bid = write_subnode_leaf(ndb, &block, subs->v + i * most, left < most ? left : most);
        below[i] = bid;
    }
    if (leaves > 1) {
        uint8_t *p = begin_subnodes(ndb, &block, 1, leaves, 2 * w);
        for (size_t i = 0; i < leaves; i++, p += 2 * w) {
            mhc_ndb_put_id(ndb, p, subs->v[i * most].nid);
            mhc_ndb_put_id(ndb, p + w, below[i]);
        }
        bid = write_block(ndb, BID_INTERNAL, block.data, block.len);
    }
    free(below);
    mhc_buf_done(&block);
    free(subs->v);
    *subs = (struct mhc_subnodes){0};
    return bid;
}

/* --- nodes --- */

void mhc_ndb_node(struct mhc_ndb *ndb, uint32_t nid, uint32_t parent, struct mhc_ndb_body body)
{
    if (ndb->node_count == ndb->node_cap) {
        ndb->node_cap = ndb->node_cap > 0 ? 2 * ndb->node_cap : 1024;
        ndb->nodes = mhc_realloc(ndb->nodes, ndb->node_cap * sizeof(*ndb->nodes));
    }
    ndb->nodes[ndb->node_count++] =
        (struct mhc_ndb_node){.nid = nid, .parent = parent, .body = body};
}

void mhc_ndb_trace(struct mhc_ndb *ndb, struct mhc_extents *extents)
{
    ndb->trace = extents;
}

size_t mhc_ndb_mark(const struct mhc_ndb *ndb)
{
    return ndb->place_count;
}

void mhc_ndb_doom(struct mhc_ndb *ndb, uint32_t nid, size_t mark)
{
    for (size_t i = mark; i < ndb->place_count; i++) {
        ndb->places[i].is_doomed = true;
    }
    for (size_t i = ndb->node_count; i > 0; i--) {
        if (ndb->nodes[i - 1].nid == nid) {
            ndb->nodes[i - 1].is_doomed = true;
            break;
        }
    }
}
