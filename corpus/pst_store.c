/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_store.h"

#include "pst_item.h"
#include "pst_names.h"

#include <stdlib.h>
#include <string.h>

/* Nodes of every archive ([MS-PST] 2.4.1). */
enum {
    NID_STORE = 0x21,
    NID_NAMES = 0x61,
    NID_ROOT = 0x122,
    NID_QUEUE = 0x1e1,
    NID_HIERARCHY = 0x60d,
    NID_CONTENTS = 0x60e,
    NID_ASSOCIATED = 0x60f,
    NID_SEARCH = 0x610,
    NID_RECEIVE = 0x62b, /* which folder gets mail */
    NID_ATTACHMENTS = 0x671,
    NID_RECIPIENTS = 0x692,
    FLAG_READ = 1,
};

static const uint32_t hierarchy_columns[] = {0x3001001f, 0x36020003, 0x36030003, 0x360a000b,
                                             0x3613001f};
static const uint32_t contents_columns[] = {
    0x00170003, 0x001a001f, 0x00360003, 0x0037001f, 0x00390040, 0x0042001f,
    0x0057000b, 0x0058000b, 0x0070001f, 0x0e03001f, 0x0e04001f, 0x0e060040,
    0x0e070003, 0x0e080003, 0x0e170003, 0x10900003, 0x30080040,
};
static const uint32_t associated_columns[] = {0x001a001f, 0x0e070003, 0x0e170003, 0x3001001f};
static const uint32_t receive_columns[] = {0x001a001f, 0x66050003};

/* --- texts of the store --- */

static void table_of(struct mhc_table *table, const struct mhc_pst *pst, const uint32_t *columns,
                     size_t count)
{
    mhc_table_init(table, pst->ndb, columns, count, pst->charset);
}

static void write_node(struct mhc_pst *pst, uint32_t nid, uint32_t parent, struct mhc_ndb_body body)
{
    mhc_ndb_node(pst->ndb, nid, parent, body);
}

static void write_props(struct mhc_pst *pst, uint32_t nid, uint32_t parent, struct mhc_props *props)
{
    struct mhc_subnodes subs = {0};
    write_node(pst, nid, parent, mhc_pc_write(pst->ndb, props, &subs));
    mhc_props_done(props);
}

/* --- folders --- */

static const struct {
    const char *name; /* in the truth */
    const char *class;
} roles[MHC_ROLE_COUNT] = {
    [MHC_ROLE_NONE] = {"", NULL},
    [MHC_ROLE_ROOT] = {"root", NULL},
    [MHC_ROLE_TOP] = {"top", NULL},
    [MHC_ROLE_FINDER] = {"finder", NULL},
    [MHC_ROLE_DELETED] = {"deleted", "IPF.Note"},
    [MHC_ROLE_INBOX] = {"inbox", "IPF.Note"},
    [MHC_ROLE_OUTBOX] = {"outbox", "IPF.Note"},
    [MHC_ROLE_SENT] = {"sent", "IPF.Note"},
    [MHC_ROLE_DRAFTS] = {"drafts", "IPF.Note"},
    [MHC_ROLE_CALENDAR] = {"calendar", "IPF.Appointment"},
    [MHC_ROLE_CONTACTS] = {"contacts", "IPF.Contact"},
    [MHC_ROLE_TASKS] = {"tasks", "IPF.Task"},
    [MHC_ROLE_NOTES] = {"notes", "IPF.StickyNote"},
    [MHC_ROLE_JOURNAL] = {"journal", "IPF.Journal"},
    [MHC_ROLE_JUNK] = {"junk", "IPF.Note"},
};

/* As mailhaul writes paths: a "/" in a name is "%2F". */
static void put_path(struct mhc_buf *path, const struct mhc_pst *pst, size_t number, size_t parent,
                     const char *name)
{
    if (number == MHC_FOLDER_TOP) {
        return;
    }
    if (parent != MHC_FOLDER_TOP || number <= MHC_FOLDER_FINDER) {
        mhc_buf_printf(path, "%s/",
                       number == MHC_FOLDER_ROOT || parent == MHC_FOLDER_ROOT
                           ? ""
                           : pst->folders[parent].path);
    }
    for (const char *at = name; *at != '\0'; at++) {
        mhc_buf_printf(path, *at == '/' ? "%%2F" : "%c", *at);
    }
}

size_t mhc_pst_folder(struct mhc_pst *pst, size_t parent, const char *name, enum mhc_pst_role role,
                      const char *class)
{
    size_t number = pst->folder_count++;
    struct mhc_buf path = {0};
    pst->folders = mhc_realloc(pst->folders, pst->folder_count * sizeof(*pst->folders));
    put_path(&path, pst, number, parent, name);
    pst->folders[parent].has_children = number != MHC_FOLDER_ROOT;
    pst->folders[number] = (struct mhc_pst_folder){
        .name = mhc_strdup(name),
        .path = mhc_strdup(mhc_buf_str(&path)),
        .parent = parent,
        .role = role,
        .class = class != NULL ? class : roles[role].class,
        .nid = number == MHC_FOLDER_ROOT ? (uint32_t)NID_ROOT
                                         : mhc_ndb_new_nid(pst->ndb, MHC_NID_FOLDER)};
    mhc_buf_done(&path);
    return number;
}

void mhc_pst_folder_begin(struct mhc_pst *pst, size_t number)
{
    pst->open = number;
    table_of(&pst->contents, pst, contents_columns, MHC_COUNT(contents_columns));
    table_of(&pst->associated, pst, associated_columns, MHC_COUNT(associated_columns));
}

static uint32_t nid_of(uint32_t nid, uint32_t type)
{
    return (nid & ~0x1fu) | type;
}

static void tell(struct mhc_pst *pst, struct mhc_buf *json)
{
    if (pst->truth != NULL) {
        mhc_buf_puts(json, "}\n");
        (void)fwrite(json->data, 1, json->len, pst->truth); /* ferror() at the end */
    }
    mhc_buf_done(json);
}

void mhc_pst_folder_end(struct mhc_pst *pst)
{
    const struct mhc_pst_folder *folder = &pst->folders[pst->open];
    struct mhc_extents extents = {0};
    struct mhc_buf json = {0};
    mhc_ndb_trace(pst->ndb, &extents);
    write_node(pst, nid_of(folder->nid, MHC_NID_CONTENTS_TABLE), 0,
               mhc_table_write(&pst->contents));
    write_node(pst, nid_of(folder->nid, MHC_NID_ASSOCIATED_TABLE), 0,
               mhc_table_write(&pst->associated));
    mhc_ndb_trace(pst->ndb, NULL);
    mhc_buf_putc(&json, '{');
    mhc_json_string(&json, "kind", "folder");
    mhc_json_string(&json, "path", folder->path);
    mhc_json_string(&json, "role", roles[folder->role].name);
    mhc_json_number(&json, "nid", folder->nid);
    mhc_json_number(&json, "items", folder->items);
    mhc_json_number(&json, "unread", folder->unread);
    mhc_json_number(&json, "associated", folder->associated);
    mhc_json_extents(&json, "table_blocks", &extents);
    mhc_extents_done(&extents);
    tell(pst, &json);
}

/* --- items --- */

/* The texts of a row as the store has them, where the item has others. */
static void take_row(const struct mhc_pst *pst, const struct mhc_item *item, struct mhc_props *row)
{
    const struct mhc_props *props = &item->props;
    for (size_t i = 0; i < MHC_COUNT(contents_columns); i++) {
        const struct mhc_prop *prop = mhc_props_find(props, contents_columns[i]);
        if (prop == NULL) {
            continue;
        }
        const char *bytes = props->bytes.data + prop->at;
        bool is_other = (prop->tag & 0xffff) == MHC_PT_TEXT8 && pst->charset == NULL;
        struct mhc_buf text = {0};
        if (is_other) {
            mhc_text_from(&text, props->charset, bytes, prop->len);
            mhc_props_text_of(row, contents_columns[i], text.data, text.len);
        } else {
            mhc_props_bytes(row, prop->tag, bytes, prop->len);
        }
        mhc_buf_done(&text);
    }
}

static void add_row(struct mhc_pst *pst, struct mhc_item *item, uint32_t nid,
                    enum mhc_pst_fate fate)
{
    struct mhc_pst_folder *folder = &pst->folders[pst->open];
    struct mhc_props row = {.charset = pst->charset};
    if (fate == MHC_ITEM_ASSOCIATED) {
        folder->associated++;
        mhc_table_row(&pst->associated, nid, &item->props);
    } else if (fate == MHC_ITEM_KEPT) {
        folder->items++;
        folder->unread += (item->flags & FLAG_READ) == 0;
        take_row(pst, item, &row);
        mhc_table_row(&pst->contents, nid, &row);
    }
    mhc_props_done(&row);
}

void mhc_pst_item_begin(struct mhc_pst *pst)
{
    pst->mark = mhc_ndb_mark(pst->ndb);
    pst->extents.count = 0;
    mhc_ndb_trace(pst->ndb, &pst->extents);
}

void mhc_pst_add(struct mhc_pst *pst, struct mhc_item *item, enum mhc_pst_fate fate)
{
    static const char *const kinds[] = {"item", "associated", "deleted"};
    const struct mhc_pst_folder *folder = &pst->folders[pst->open];
    struct mhc_buf json = {0};
    uint32_t nid = mhc_ndb_new_nid(pst->ndb, fate == MHC_ITEM_ASSOCIATED ? MHC_NID_ASSOCIATED
                                                                         : MHC_NID_MESSAGE);
    write_node(pst, nid, folder->nid, mhc_item_write(item));
    mhc_ndb_trace(pst->ndb, NULL);
    add_row(pst, item, nid, fate);
    pst->items++;
    if (fate == MHC_ITEM_DELETED) {
        mhc_ndb_doom(pst->ndb, nid, pst->mark);
        pst->deleted++;
    }
    mhc_buf_putc(&json, '{');
    mhc_json_string(&json, "kind", kinds[fate]);
    mhc_json_string(&json, "folder", folder->path);
    mhc_json_number(&json, "nid", nid);
    mhc_json_number(&json, "parent", folder->nid);
    mhc_buf_putc(&json, ',');
    mhc_buf_add(&json, item->json.data, item->json.len);
    mhc_json_extents(&json, "blocks", &pst->extents);
    mhc_item_done(item);
    tell(pst, &json);
}

/* --- what all stores have --- */

void mhc_pst_entry_id(const struct mhc_pst *pst, uint32_t nid, uint8_t out[MHC_ENTRY_ID_BYTES])
{
    memset(out, 0, 4);
    memcpy(out + 4, pst->key, sizeof(pst->key));
    pst_put_u32(out + 20, nid);
}

static void put_entry_id(const struct mhc_pst *pst, struct mhc_props *props, uint32_t tag,
                         enum mhc_pst_role role)
{
    uint8_t id[MHC_ENTRY_ID_BYTES];
    for (size_t i = 0; i < pst->folder_count; i++) {
        if (pst->folders[i].role == role) {
            mhc_pst_entry_id(pst, pst->folders[i].nid, id);
            mhc_props_bytes(props, tag, id, sizeof(id));
        }
    }
}

/* [MS-OXOSFLD] 2.2.4: five folders in one property; of these only the last is there, junk mail. */
static void put_junk(const struct mhc_pst *pst, struct mhc_props *props)
{
    enum { IDS = 5, HEAD_BYTES = 4 * (IDS + 1) };
    uint8_t many[HEAD_BYTES + MHC_ENTRY_ID_BYTES] = {0};
    pst_put_u32(many, IDS);
    for (size_t i = 1; i <= IDS; i++) {
        pst_put_u32(many + 4 * i, HEAD_BYTES);
    }
    for (size_t i = 0; i < pst->folder_count; i++) {
        if (pst->folders[i].role == MHC_ROLE_JUNK) {
            mhc_pst_entry_id(pst, pst->folders[i].nid, many + HEAD_BYTES);
            mhc_props_bytes(props, 0x36d81102, many, sizeof(many));
        }
    }
}

/* [MS-OXOSFLD] 2.2.3: the root and the inbox tell where the others are. */
static void put_special_folders(const struct mhc_pst *pst, struct mhc_props *props)
{
    static const struct {
        uint32_t tag;
        enum mhc_pst_role role;
    } ids[] = {{0x36d00102, MHC_ROLE_CALENDAR}, {0x36d10102, MHC_ROLE_CONTACTS},
               {0x36d20102, MHC_ROLE_JOURNAL},  {0x36d30102, MHC_ROLE_NOTES},
               {0x36d40102, MHC_ROLE_TASKS},    {0x36d70102, MHC_ROLE_DRAFTS}};
    for (size_t i = 0; i < MHC_COUNT(ids); i++) {
        put_entry_id(pst, props, ids[i].tag, ids[i].role);
    }
    put_junk(pst, props);
}

static void write_store(struct mhc_pst *pst)
{
    enum { ALL_FOLDERS_ARE_VALID = 0xff, PASSWORDS = 5 };
    struct mhc_props props = {.charset = pst->charset};
    mhc_props_bytes(&props, 0x0ff90102, pst->key, sizeof(pst->key));
    mhc_props_text(&props, 0x3001001f, "mailhaul corpus");
    mhc_props_i32(&props, 0x35df0003, ALL_FOLDERS_ARE_VALID);
    put_entry_id(pst, &props, 0x35e00102, MHC_ROLE_TOP);
    put_entry_id(pst, &props, 0x35e20102, MHC_ROLE_OUTBOX);
    put_entry_id(pst, &props, 0x35e30102, MHC_ROLE_DELETED);
    put_entry_id(pst, &props, 0x35e40102, MHC_ROLE_SENT);
    put_entry_id(pst, &props, 0x35e70102, MHC_ROLE_FINDER);
    mhc_props_bool(&props, 0x6633000b, true);
    /* What is left of a password: it opens nothing and encrypts nothing. */
    mhc_props_i32(&props, 0x67ff0003, pst->seed % PASSWORDS == 0 ? 0x5c3a91d7 : 0);
    write_props(pst, NID_STORE, 0, &props);
    mhc_names_put(&props);
    write_props(pst, NID_NAMES, 0, &props);
}

static void write_receive_table(struct mhc_pst *pst)
{
    static const char *const classes[] = {"", "IPM", "REPORT.IPM"};
    struct mhc_table table;
    uint32_t inbox = NID_ROOT;
    for (size_t i = 0; i < pst->folder_count; i++) {
        inbox = pst->folders[i].role == MHC_ROLE_INBOX ? pst->folders[i].nid : inbox;
    }
    table_of(&table, pst, receive_columns, MHC_COUNT(receive_columns));
    for (size_t i = 0; i < MHC_COUNT(classes); i++) {
        struct mhc_props row = {.charset = pst->charset};
        mhc_props_text(&row, 0x001a001f, classes[i]);
        mhc_props_i32(&row, 0x66050003, inbox);
        mhc_table_row(&table, (uint32_t)i + 1, &row);
        mhc_props_done(&row);
    }
    write_node(pst, NID_RECEIVE, 0, mhc_table_write(&table));
}

/* Outlook makes new tables by copying these. */
static void write_templates(struct mhc_pst *pst)
{
    const struct {
        uint32_t nid;
        const uint32_t *columns;
        size_t count;
    } templates[] = {
        {NID_HIERARCHY, hierarchy_columns, MHC_COUNT(hierarchy_columns)},
        {NID_CONTENTS, contents_columns, MHC_COUNT(contents_columns)},
        {NID_ASSOCIATED, associated_columns, MHC_COUNT(associated_columns)},
        {NID_SEARCH, contents_columns, MHC_COUNT(contents_columns)},
        {NID_ATTACHMENTS, mhc_attachment_columns, mhc_attachment_column_count},
        {NID_RECIPIENTS, mhc_recipient_columns, mhc_recipient_column_count},
    };
    for (size_t i = 0; i < MHC_COUNT(templates); i++) {
        struct mhc_table table;
        table_of(&table, pst, templates[i].columns, templates[i].count);
        write_node(pst, templates[i].nid, 0, mhc_table_write(&table));
    }
    write_node(pst, NID_QUEUE, 0, (struct mhc_ndb_body){0});
}

static void put_folder(const struct mhc_pst_folder *folder, struct mhc_props *props)
{
    mhc_props_text(props, 0x3001001f, folder->name);
    mhc_props_i32(props, 0x36020003, folder->items);
    mhc_props_i32(props, 0x36030003, folder->unread);
    mhc_props_bool(props, 0x360a000b, folder->has_children);
    if (folder->class != NULL) {
        mhc_props_text(props, 0x3613001f, folder->class);
    }
}

/* The folder's own properties, and the table of those in it. */
static void write_folder(struct mhc_pst *pst, size_t number)
{
    const struct mhc_pst_folder *folder = &pst->folders[number];
    uint32_t parent = pst->folders[folder->parent].nid;
    struct mhc_props props = {.charset = pst->charset};
    struct mhc_table table;
    table_of(&table, pst, hierarchy_columns, MHC_COUNT(hierarchy_columns));
    for (size_t i = 0; i < pst->folder_count; i++) {
        if (pst->folders[i].parent == number && i != number) {
            put_folder(&pst->folders[i], &props);
            mhc_table_row(&table, pst->folders[i].nid, &props);
            mhc_props_clear(&props);
        }
    }
    put_folder(folder, &props);
    mhc_props_i32(&props, 0x36170003, folder->associated);
    if (folder->role == MHC_ROLE_ROOT || folder->role == MHC_ROLE_INBOX) {
        put_special_folders(pst, &props);
    }
    write_props(pst, folder->nid, parent, &props);
    write_node(pst, nid_of(folder->nid, MHC_NID_HIERARCHY_TABLE), 0, mhc_table_write(&table));
}

/* --- beginning and end --- */

void mhc_pst_init(struct mhc_pst *pst, struct mhc_ndb *ndb, uint64_t seed, FILE *truth)
{
    struct mhc_prng prng;
    *pst = (struct mhc_pst){.ndb = ndb, .seed = seed, .truth = truth};
    pst->charset = mhc_ndb_format(ndb) == MHC_PST_ANSI ? "CP1252" : NULL;
    mhc_prng_init(&prng, seed, MHC_STREAM_MAILBOX, 0, 0);
    pst_put_u64(pst->key, mhc_prng_next(&prng));
    pst_put_u64(pst->key + 8, mhc_prng_next(&prng));
    (void)mhc_pst_folder(pst, MHC_FOLDER_ROOT, "", MHC_ROLE_ROOT, NULL);
    (void)mhc_pst_folder(pst, MHC_FOLDER_ROOT, "Top of Personal Folders", MHC_ROLE_TOP, NULL);
    (void)mhc_pst_folder(pst, MHC_FOLDER_ROOT, "Search Root", MHC_ROLE_FINDER, NULL);
    for (size_t i = 0; i < pst->folder_count; i++) {
        mhc_pst_folder_begin(pst, i);
        mhc_pst_folder_end(pst);
    }
}

void mhc_pst_finish(struct mhc_pst *pst)
{
    for (size_t i = 0; i < pst->folder_count; i++) {
        write_folder(pst, i);
    }
    write_store(pst);
    write_receive_table(pst);
    write_templates(pst);
}

void mhc_pst_done(struct mhc_pst *pst)
{
    for (size_t i = 0; i < pst->folder_count; i++) {
        free(pst->folders[i].name);
        free(pst->folders[i].path);
    }
    free(pst->folders);
    mhc_extents_done(&pst->extents);
    *pst = (struct mhc_pst){0};
}
