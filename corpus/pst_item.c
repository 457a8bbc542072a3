/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_item.h"

#include "pst_names.h"
#include "pst_rtf.h"

#include <string.h>

enum {
    RECIPIENT_TABLE = 0x692,
    ATTACHMENT_TABLE = 0x671,
    FLAG_HAS_ATTACHMENT = 0x10,
    OBJECT_MAIL_USER = 6,
};

const uint32_t mhc_recipient_columns[] = {
    0x0c150003, 0x0e0f000b, 0x0ff90102, 0x0ffe0003, 0x3001001f, 0x3002001f,
    0x3003001f, 0x300b0102, 0x39000003, 0x39fe001f, 0x39ff001f, 0x3a40000b,
};
const uint32_t mhc_attachment_columns[] = {0x0e200003, 0x3704001f, 0x37050003, 0x370b0003};
const size_t mhc_recipient_column_count = MHC_COUNT(mhc_recipient_columns);
const size_t mhc_attachment_column_count = MHC_COUNT(mhc_attachment_columns);

/* The tables of an archive with UTF-16 have UTF-16, whatever their item has. */
static const char *table_charset(const struct mhc_item *item)
{
    return item->pst->charset != NULL ? item->props.charset : NULL;
}

void mhc_item_init(struct mhc_item *item, struct mhc_pst *pst, const char *class,
                   const char *charset, int64_t made)
{
    *item = (struct mhc_item){.pst = pst, .made = made};
    item->props.charset = charset;
    mhc_table_init(&item->recipients, pst->ndb, mhc_recipient_columns, mhc_recipient_column_count,
                   table_charset(item));
    mhc_table_init(&item->attachments, pst->ndb, mhc_attachment_columns,
                   mhc_attachment_column_count, table_charset(item));
    mhc_json_string(&item->json, "class", class);
    mhc_props_text(&item->props, 0x001a001f, class);
}

/* As a reader finds it, when it does not fit into the code page. */
static void add_as_stored(struct mhc_buf *out, const char *charset, const char *utf8, size_t len)
{
    if (charset == NULL) {
        mhc_buf_add(out, utf8, len);
        return;
    }
    struct mhc_buf bytes = {0};
    mhc_text_to(&bytes, charset, utf8, len);
    mhc_text_from(out, charset, bytes.data, bytes.len);
    mhc_buf_done(&bytes);
}

static void tell_text(struct mhc_buf *json, const char *key, const char *charset, const char *utf8)
{
    struct mhc_buf text = {0};
    add_as_stored(&text, charset, utf8, strlen(utf8));
    mhc_json_key(json, key);
    mhc_json_text(json, text.data, text.len);
    mhc_buf_done(&text);
}

void mhc_item_text(struct mhc_item *item, uint32_t tag, const char *key, const char *utf8)
{
    mhc_props_text(&item->props, tag, utf8);
    tell_text(&item->json, key, item->props.charset, utf8);
}

/* [MS-PST] 2.5.3.1.1.1: the subject begins with where its prefix ends; 1 is none. */
void mhc_item_subject(struct mhc_item *item, const char *prefix, const char *utf8)
{
    struct mhc_buf marked = {0};
    struct mhc_buf whole = {0};
    mhc_buf_printf(&whole, "%s%s", prefix, utf8);
    mhc_buf_putc(&marked, 1);
    mhc_buf_putc(&marked, (char)(strlen(prefix) + 1));
    mhc_buf_puts(&marked, mhc_buf_str(&whole));
    mhc_props_text(&item->props, 0x0037001f, mhc_buf_str(&marked));
    mhc_props_text(&item->props, 0x003d001f, prefix);
    mhc_props_text(&item->props, 0x0e1d001f, utf8);
    mhc_props_text(&item->props, 0x0070001f, utf8);
    tell_text(&item->json, "subject", item->props.charset, mhc_buf_str(&whole));
    mhc_buf_done(&marked);
    mhc_buf_done(&whole);
}

/* --- people --- */

static void put_smtp(struct mhc_buf *buf, struct mhc_person who)
{
    mhc_buf_printf(buf, "%s@%s", who.local, who.domain);
}

static void put_x500(struct mhc_buf *buf, struct mhc_person who)
{
    mhc_buf_printf(buf,
                   "/O=NORDWIND/OU=EXCHANGE ADMINISTRATIVE GROUP (FYDIBOHF23SPDLT)/CN=RECIPIENTS/"
                   "CN=%s",
                   who.local);
}

struct person_tags {
    uint32_t name, type, address, smtp;
};

static void put_person(struct mhc_props *props, const struct person_tags *tags,
                       struct mhc_pst_person who)
{
    struct mhc_buf smtp = {0};
    struct mhc_buf x500 = {0};
    put_smtp(&smtp, who.person);
    put_x500(&x500, who.person);
    mhc_props_text(props, tags->name, who.person.name);
    mhc_props_text(props, tags->type, who.has_x500 ? "EX" : "SMTP");
    mhc_props_text(props, tags->address, mhc_buf_str(who.has_x500 ? &x500 : &smtp));
    mhc_props_text(props, tags->smtp, mhc_buf_str(&smtp));
    mhc_buf_done(&smtp);
    mhc_buf_done(&x500);
}

static void tell_person(struct mhc_buf *json, const char *charset, struct mhc_pst_person who)
{
    struct mhc_buf address = {0};
    tell_text(json, "name", charset, who.person.name);
    put_smtp(&address, who.person);
    mhc_json_string(json, "smtp", mhc_buf_str(&address));
    if (who.has_x500) {
        address.len = 0;
        put_x500(&address, who.person);
        mhc_json_string(json, "x500", mhc_buf_str(&address));
    }
    mhc_buf_done(&address);
}

void mhc_item_from(struct mhc_item *item, struct mhc_pst_person who)
{
    static const struct person_tags sender = {0x0c1a001f, 0x0c1e001f, 0x0c1f001f, 0x5d01001f};
    static const struct person_tags author = {0x0042001f, 0x0064001f, 0x0065001f, 0x5d02001f};
    put_person(&item->props, &sender, who);
    put_person(&item->props, &author, who);
    mhc_json_key(&item->json, "from");
    mhc_buf_putc(&item->json, '{');
    tell_person(&item->json, item->props.charset, who);
    mhc_buf_putc(&item->json, '}');
}

void mhc_item_recipient(struct mhc_item *item, enum mhc_recipient_type type,
                        struct mhc_pst_person who)
{
    static const struct person_tags tags = {0x3001001f, 0x3002001f, 0x3003001f, 0x39fe001f};
    static const char *const names[] = {[MHC_TO] = "to", [MHC_CC] = "cc", [MHC_BCC] = "bcc"};
    struct mhc_props row = {.charset = table_charset(item)};
    uint32_t id = ++item->recipient_count;
    uint8_t key[16] = {0};
    pst_put_u32(key, id);
    put_person(&row, &tags, who);
    mhc_props_i32(&row, 0x0c150003, type);
    mhc_props_bool(&row, 0x0e0f000b, true);
    mhc_props_bytes(&row, 0x0ff90102, key, sizeof(key));
    mhc_props_i32(&row, 0x0ffe0003, OBJECT_MAIL_USER);
    mhc_props_i32(&row, 0x39000003, 0);
    mhc_props_text(&row, 0x39ff001f, who.person.local);
    mhc_props_bool(&row, 0x3a40000b, who.has_x500);
    mhc_table_row(&item->recipients, id, &row);
    item->bytes += row.bytes.len;
    struct mhc_buf *json = &item->recipient_json;
    mhc_buf_puts(json, id > 1 ? ",{" : "{");
    mhc_json_string(json, "type", names[type]);
    tell_person(json, row.charset, who);
    mhc_buf_putc(json, '}');
    mhc_buf_printf(&item->display[type], "%s%s", item->display[type].len > 0 ? "; " : "",
                   who.person.name);
    mhc_props_done(&row);
}

void mhc_item_categories(struct mhc_item *item, const char *const *names, size_t count)
{
    mhc_props_texts(&item->props, mhc_name_tag(MHC_NAME_KEYWORDS, MHC_PT_TEXTS), names, count);
    mhc_json_key(&item->json, "categories");
    for (size_t i = 0; i < count; i++) {
        struct mhc_buf text = {0};
        add_as_stored(&text, item->props.charset, names[i], strlen(names[i]));
        mhc_buf_putc(&item->json, i == 0 ? '[' : ',');
        mhc_json_text(&item->json, text.data, text.len);
        mhc_buf_done(&text);
    }
    mhc_buf_putc(&item->json, ']');
}

/* --- bodies --- */

static void begin_object(struct mhc_item *item, const char *key)
{
    mhc_json_key(&item->json, key);
    mhc_buf_putc(&item->json, '{');
}

static void tell_utf8(struct mhc_item *item, const char *charset, const char *utf8, size_t len)
{
    struct mhc_buf text = {0};
    add_as_stored(&text, charset, utf8, len);
    begin_object(item, "utf8");
    mhc_json_sum(&item->json, text.data, text.len);
    mhc_buf_puts(&item->json, "}");
    mhc_buf_done(&text);
}

void mhc_item_plain(struct mhc_item *item, const char *utf8, size_t len)
{
    mhc_props_text_of(&item->props, 0x1000001f, utf8, len);
    begin_object(item, "text");
    tell_utf8(item, item->props.charset, utf8, len);
    mhc_buf_puts(&item->json, "}");
}

void mhc_item_html(struct mhc_item *item, const char *utf8, size_t len, struct mhc_codepage page)
{
    struct mhc_buf bytes = {0};
    mhc_text_to(&bytes, page.charset, utf8, len);
    mhc_props_bytes(&item->props, 0x10130102, bytes.data, bytes.len);
    begin_object(item, "html");
    mhc_json_sum(&item->json, bytes.data, bytes.len);
    mhc_json_number(&item->json, "codepage", page.number);
    tell_utf8(item, page.charset, utf8, len);
    mhc_buf_puts(&item->json, "}");
    mhc_buf_done(&bytes);
}

void mhc_item_rtf(struct mhc_item *item, const char *utf8, size_t len, bool is_html,
                  struct mhc_codepage page, bool is_compressed, bool is_unicode)
{
    struct mhc_buf rtf = {0};
    struct mhc_buf packed = {0};
    enum mhc_rtf_style style = is_unicode ? MHC_RTF_UNICODE : MHC_RTF_CODEPAGE;
    if (is_html) {
        mhc_rtf_of_html(&rtf, utf8, len, page, style);
    } else {
        mhc_rtf_of_text(&rtf, utf8, len, page, style);
    }
    mhc_rtf_pack(&packed, rtf.data, rtf.len, is_compressed);
    mhc_props_bytes(&item->props, 0x10090102, packed.data, packed.len);
    mhc_props_bool(&item->props, 0x0e1f000b, true);
    begin_object(item, "rtf");
    mhc_json_sum(&item->json, rtf.data, rtf.len);
    mhc_json_string(&item->json, "packed", is_compressed ? "LZFu" : "MELA");
    mhc_json_bool(&item->json, "is_html", is_html);
    tell_utf8(item, NULL, utf8, len);
    mhc_buf_puts(&item->json, "}");
    mhc_buf_done(&rtf);
    mhc_buf_done(&packed);
}

/* --- attachments --- */

static void make_octets(char *out, size_t len, enum mhc_content content, struct mhc_prng *prng)
{
    static const char text[] = "the quick brown fox jumps over the lazy dog 0123456789;\r\n";
    for (size_t at = 0; at < len;) {
        uint64_t dice = mhc_prng_next(prng);
        size_t part = content == MHC_CONTENT_TEXT ? sizeof(text) - 1 - dice % 40 : sizeof(dice);
        part = part < len - at ? part : len - at;
        memcpy(out + at, content == MHC_CONTENT_TEXT ? text + dice % 40 : (const char *)&dice,
               part);
        at += part;
    }
}

/* [MS-PST] 2.3.3.5: a value that is a subnode. */
static void put_object(struct mhc_props *props, uint32_t nid, uint64_t size)
{
    enum { TAG_OBJECT = 0x3701000d };
    uint8_t object[8];
    pst_put_u32(object, nid);
    pst_put_u32(object + 4, (uint32_t)size);
    mhc_props_bytes(props, (uint32_t)TAG_OBJECT, object, sizeof(object));
}

/* The octets go to a subnode, or into the properties where they are few. */
static void put_content(struct mhc_item *item, const struct mhc_attachment *what,
                        struct mhc_props *props, struct mhc_subnodes *subs, struct mhc_sha256 *sha)
{
    enum { TAG_DATA = 0x37010102, PIECE = 65536 };
    struct mhc_ndb_data data;
    struct mhc_buf piece = {0};
    bool is_small = what->size <= MHC_HEAP_ITEM_MAX && !what->is_ole;
    mhc_ndb_data_init(&data, item->pst->ndb);
    mhc_sha256_init(sha);
    for (uint64_t at = 0; at < what->size || (at == 0 && is_small); at += PIECE) {
        size_t len = what->size - at < PIECE ? (size_t)(what->size - at) : PIECE;
        const char *bytes = what->bytes != NULL ? what->bytes + at : mhc_buf_room(&piece, len + 1);
        if (what->bytes == NULL) {
            make_octets(piece.data, len, what->content, what->prng);
        }
        mhc_sha256_add(sha, bytes, len);
        if (is_small) {
            mhc_props_bytes(props, TAG_DATA, bytes, len);
        } else {
            mhc_ndb_data_add(&data, bytes, len);
        }
    }
    uint64_t bid = mhc_ndb_data_done(&data);
    if (!is_small) {
        uint32_t nid = mhc_subnodes_new_nid(subs, MHC_NID_LTP);
        mhc_subnodes_add(subs, nid, (struct mhc_ndb_body){.data = bid});
        if (what->is_ole) {
            put_object(props, nid, what->size);
        } else {
            mhc_props_in_subnode(props, TAG_DATA, nid);
        }
    }
    mhc_buf_done(&piece);
}

/* What all attachments have; then its row and its subnode. */
static void end_attachment(struct mhc_item *item, const struct mhc_attachment *what,
                           struct mhc_props *props, struct mhc_subnodes *subs, uint32_t method)
{
    uint32_t nid = mhc_subnodes_new_nid(&item->subs, MHC_NID_ATTACHMENT);
    const char *dot = strrchr(what->name, '.');
    struct mhc_props row = {.charset = table_charset(item)};
    mhc_props_i32(props, 0x0e200003, (uint32_t)what->size + 512);
    mhc_props_i32(props, 0x0e210003, item->attachment_count);
    mhc_props_text(props, 0x3001001f, what->name);
    mhc_props_text(props, 0x3704001f, what->short_name);
    mhc_props_text(props, 0x3707001f, what->name);
    mhc_props_text(props, 0x3703001f, dot != NULL ? dot : "");
    mhc_props_i32(props, 0x37050003, method);
    mhc_props_i32(props, 0x370b0003, UINT32_MAX);
    mhc_props_time(props, 0x30070040, item->made);
    mhc_props_time(props, 0x30080040, item->made);
    mhc_props_i32(&row, 0x0e200003, (uint32_t)what->size + 512);
    mhc_props_text(&row, 0x3704001f, what->short_name);
    mhc_props_i32(&row, 0x37050003, method);
    mhc_props_i32(&row, 0x370b0003, UINT32_MAX);
    mhc_table_row(&item->attachments, nid, &row);
    mhc_props_done(&row);
    mhc_subnodes_add(&item->subs, nid, mhc_pc_write(item->pst->ndb, props, subs));
    mhc_props_done(props);
    item->attachment_count++;
    item->bytes += what->size;
    if (!what->is_hidden) {
        item->flags |= FLAG_HAS_ATTACHMENT;
    }
}

void mhc_item_attach(struct mhc_item *item, const struct mhc_attachment *what)
{
    struct mhc_props props = {.charset = item->props.charset};
    struct mhc_subnodes subs = {0};
    struct mhc_sha256 sha;
    struct mhc_buf *json = &item->attachment_json;
    put_content(item, what, &props, &subs, &sha);
    mhc_props_text(&props, 0x370e001f, what->mime);
    mhc_buf_puts(json, item->attachment_count > 0 ? ",{" : "{");
    tell_text(json, "name", props.charset, what->name);
    mhc_json_string(json, "method", what->is_ole ? "ole" : "value");
    mhc_json_string(json, "mime", what->mime);
    if (what->content_id != NULL) {
        enum { FLAG_IN_HTML = 4 };
        mhc_props_text(&props, 0x3712001f, what->content_id);
        mhc_props_text(&props, 0x3713001f, what->name);
        mhc_props_i32(&props, 0x37140003, FLAG_IN_HTML);
        mhc_json_string(json, "content_id", what->content_id);
    }
    if (what->is_hidden) {
        mhc_props_bool(&props, 0x7ffe000b, true);
        mhc_json_bool(json, "is_hidden", true);
    }
    mhc_json_sum_of(json, what->size, &sha);
    mhc_buf_putc(json, '}');
    end_attachment(item, what, &props, &subs, what->is_ole ? MHC_OLE : MHC_BY_VALUE);
}

void mhc_item_attach_reference(struct mhc_item *item, const char *name, const char *path)
{
    struct mhc_props props = {.charset = item->props.charset};
    struct mhc_subnodes subs = {0};
    struct mhc_buf *json = &item->attachment_json;
    struct mhc_attachment what = {.name = name, .short_name = "LINK"};
    mhc_props_text(&props, 0x370d001f, path);
    mhc_buf_puts(json, item->attachment_count > 0 ? ",{" : "{");
    tell_text(json, "name", props.charset, name);
    mhc_json_string(json, "method", "reference");
    tell_text(json, "path", props.charset, path);
    mhc_buf_putc(json, '}');
    end_attachment(item, &what, &props, &subs, MHC_BY_REFERENCE);
}

void mhc_item_attach_item(struct mhc_item *item, struct mhc_item *inner, const char *name)
{
    struct mhc_props props = {.charset = item->props.charset};
    struct mhc_subnodes subs = {0};
    struct mhc_buf *json = &item->attachment_json;
    uint32_t nid = mhc_subnodes_new_nid(&subs, MHC_NID_MESSAGE);
    mhc_subnodes_add(&subs, nid, mhc_item_write(inner));
    put_object(&props, nid, inner->bytes);
    mhc_buf_puts(json, item->attachment_count > 0 ? ",{" : "{");
    tell_text(json, "name", props.charset, name);
    mhc_json_string(json, "method", "embedded");
    mhc_json_key(json, "item");
    mhc_buf_putc(json, '{');
    mhc_buf_add(json, inner->json.data, inner->json.len);
    mhc_buf_puts(json, "}}");
    struct mhc_attachment what = {.name = name, .short_name = "message", .size = inner->bytes};
    end_attachment(item, &what, &props, &subs, MHC_EMBEDDED);
    mhc_item_done(inner);
}

/* --- the whole --- */

static void put_tables(struct mhc_item *item)
{
    mhc_subnodes_add(&item->subs, RECIPIENT_TABLE, mhc_table_write(&item->recipients));
    if (item->attachment_count > 0) {
        mhc_subnodes_add(&item->subs, ATTACHMENT_TABLE, mhc_table_write(&item->attachments));
    } else {
        mhc_table_drop(&item->attachments);
    }
}

struct mhc_ndb_body mhc_item_write(struct mhc_item *item)
{
    static const uint32_t display_tags[] = {
        [MHC_TO] = 0x0e04001f, [MHC_CC] = 0x0e03001f, [MHC_BCC] = 0x0e02001f};
    struct mhc_props *props = &item->props;
    uint8_t key[16] = {0};
    put_tables(item);
    for (size_t i = MHC_TO; i <= MHC_BCC; i++) {
        mhc_props_text(props, display_tags[i], mhc_buf_str(&item->display[i]));
    }
    pst_put_u64(key, item->pst->seed);
    pst_put_u64(key + 8, ++item->pst->entries);
    mhc_props_bytes(props, 0x300b0102, key, sizeof(key));
    mhc_props_time(props, 0x30070040, item->made);
    mhc_props_time(props, 0x30080040, item->made + 60);
    mhc_props_bool(props, 0x0e1b000b, (item->flags & FLAG_HAS_ATTACHMENT) != 0);
    mhc_props_i32(props, 0x0e070003, item->flags);
    mhc_props_i32(props, 0x0e170003, 0);
    item->bytes += props->bytes.len;
    mhc_props_i32(props, 0x0e080003, (uint32_t)item->bytes);
    mhc_json_key(&item->json, "recipients");
    mhc_buf_printf(&item->json, "[%s]", mhc_buf_str(&item->recipient_json));
    mhc_json_key(&item->json, "attachments");
    mhc_buf_printf(&item->json, "[%s]", mhc_buf_str(&item->attachment_json));
    return mhc_pc_write(item->pst->ndb, props, &item->subs);
}

void mhc_item_done(struct mhc_item *item)
{
    mhc_props_done(&item->props);
    mhc_buf_done(&item->recipient_json);
    mhc_buf_done(&item->attachment_json);
    mhc_buf_done(&item->json);
    for (size_t i = 0; i < MHC_COUNT(item->display); i++) {
        mhc_buf_done(&item->display[i]);
    }
}
