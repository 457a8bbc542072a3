/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_letter.h"

#include "letter.h"
#include "mime.h"
#include "pst_names.h"

#include <math.h>
#include <string.h>

enum {
    RECIPIENTS_MAX = 12,
    DEPTH_MAX = 3, /* of messages in messages */
    FLAG_READ = 0x01,
    FLAG_UNSENT = 0x08,
    FLAG_FROM_ME = 0x20,
    VERB_REPLY = 102,
    VERB_REPLY_ALL = 103,
    VERB_FORWARD = 104,
};

/* The forms of a body that Outlook and Exchange leave behind. */
enum body_form {
    BODY_TEXT,
    BODY_TEXT_AND_HTML,
    BODY_HTML,
    BODY_RTF,      /* of plain text, beside the text */
    BODY_RTF_HTML, /* HTML in RTF, beside the text */
    BODY_RTF_HTML_ALONE,
    BODY_RTF_ALONE,
    BODY_NONE,
    BODY_FORMS,
};

struct addressee {
    enum mhc_recipient_type type;
    struct mhc_pst_person who;
};

/* What the parts of a mail agree on. */
struct mail {
    struct mhc_pst *pst;
    struct mhc_item *item;
    struct mhc_prng prng;
    struct mhc_letter letter;
    const struct mhc_language *language;
    enum mhc_pst_role role;
    enum body_form form;
    unsigned depth;
    struct mhc_pst_person from;
    struct addressee to[RECIPIENTS_MAX];
    size_t to_count;
    struct mhc_buf subject, text, html, id; /* owned */
    const char *prefix;                     /* of the subject */
    bool has_picture;
    char content_id[64];
};

/* --- shared with the other kinds of items --- */

struct mhc_pst_person mhc_pst_any_person(struct mhc_prng *prng)
{
    struct mhc_pst_person who = {.person = mhc_text_person(prng)};
    who.has_x500 = mhc_prng_chance(prng, 333);
    return who;
}

int64_t mhc_pst_any_moment(struct mhc_prng *prng)
{
    static const int64_t last_moment = 1751284800; /* 2025-06-30 12:00:00 UTC */
    static const double span_seconds = 15 * 365.25 * 86400;
    return last_moment - (int64_t)(span_seconds * pow(mhc_prng_unit(prng), 1.6));
}

void mhc_pst_words(struct mhc_buf *buf, struct mhc_prng *prng, const struct mhc_language *language,
                   uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        mhc_buf_puts(buf, i > 0 ? language->space : "");
        mhc_buf_puts(buf, mhc_text_word(prng, language)->utf8);
    }
}

const char *mhc_pst_charset(const struct mhc_pst *pst, const struct mhc_language *language)
{
    return pst->charset != NULL ? mhc_codepage_of(language).charset : NULL;
}

/* --- people --- */

static struct mhc_pst_person owner(void)
{
    return (struct mhc_pst_person){{"Mailbox Owner", "owner", "example.com"}, true};
}

static void choose_people(struct mail *m)
{
    bool is_mine = m->role == MHC_ROLE_SENT || m->role == MHC_ROLE_DRAFTS;
    uint32_t others = mhc_prng_chance(&m->prng, 600) ? mhc_prng_below(&m->prng, 2)
                                                     : mhc_prng_below(&m->prng, RECIPIENTS_MAX);
    m->from = is_mine ? owner() : mhc_pst_any_person(&m->prng);
    if (!is_mine) {
        m->to[m->to_count++] = (struct addressee){MHC_TO, owner()};
    } else if (others == 0 && m->role == MHC_ROLE_SENT) {
        others = 1;
    }
    for (uint32_t i = 0; i < others && m->to_count < RECIPIENTS_MAX; i++) {
        uint32_t dice = mhc_prng_below(&m->prng, 10);
        enum mhc_recipient_type type = i == 0 || dice < 5 ? MHC_TO : dice < 8 ? MHC_CC : MHC_BCC;
        if (type == MHC_BCC && !is_mine) {
            type = MHC_CC; /* nobody sees the others' blind copies */
        }
        m->to[m->to_count++] = (struct addressee){type, mhc_pst_any_person(&m->prng)};
    }
    mhc_item_from(m->item, m->from);
    for (size_t i = 0; i < m->to_count; i++) {
        mhc_item_recipient(m->item, m->to[i].type, m->to[i].who);
    }
}

/* --- transport headers --- */

static void put_subject_field(struct mhc_buf *buf, const char *utf8)
{
    enum { WORD_BYTES = 42 };
    size_t len = strlen(utf8);
    size_t ascii = 0;
    while (ascii < len && (unsigned char)utf8[ascii] < 0x80) {
        ascii++;
    }
    mhc_buf_puts(buf, "Subject: ");
    if (ascii == len) {
        mhc_buf_puts(buf, utf8);
    }
    for (size_t at = 0; ascii < len && at < len;) {
        size_t part = 0;
        while (at + part < len && part < WORD_BYTES) {
            part += mhc_utf8_length(utf8 + at + part, len - at - part);
        }
        mhc_buf_puts(buf, at > 0 ? "\r\n " : "");
        mhc_mime_encoded_word(buf, "utf-8", 'B', utf8 + at, part);
        at += part;
    }
    mhc_buf_puts(buf, "\r\n");
}

static void put_people_field(struct mhc_buf *buf, const struct mail *m, const char *field,
                             enum mhc_recipient_type type)
{
    const char *before = field;
    for (size_t i = 0; i < m->to_count; i++) {
        if (m->to[i].type == type) {
            mhc_buf_printf(buf, "%s", before);
            mhc_mime_address(buf, m->to[i].who.person);
            before = ",\r\n\t";
        }
    }
    mhc_buf_puts(buf, before != field ? "\r\n" : "");
}

static void put_thread_fields(struct mhc_buf *buf, const struct mail *m)
{
    uint64_t parent = mhc_letter_parent(&m->letter, m->letter.index);
    if (parent != m->letter.index) {
        mhc_buf_puts(buf, "In-Reply-To: ");
        mhc_letter_id(buf, &m->letter, parent);
        mhc_buf_puts(buf, "\r\nReferences: ");
        mhc_letter_id(buf, &m->letter, parent);
        mhc_buf_puts(buf, "\r\n");
    }
}

static void put_headers(struct mail *m)
{
    struct mhc_buf buf = {0};
    char when[MHC_DATE_SIZE];
    struct mhc_date date = m->letter.date;
    uint32_t hops = 1 + mhc_prng_below(&m->prng, 4);
    for (uint32_t i = 0; i < hops; i++) {
        mhc_buf_printf(&buf,
                       "Received: from mx%u.%s (198.51.100.%u) by\r\n mail%u.example.com "
                       "(2001:db8::%x) with ESMTPS id %08X;\r\n %s\r\n",
                       i, m->from.person.domain, mhc_prng_below(&m->prng, 256), i,
                       mhc_prng_below(&m->prng, 65536), (unsigned)mhc_prng_next(&m->prng),
                       mhc_date_rfc5322(when, date));
    }
    date.unix_seconds -= 3;
    mhc_buf_puts(&buf, "From: ");
    mhc_mime_address(&buf, m->from.person);
    mhc_buf_puts(&buf, "\r\n");
    put_people_field(&buf, m, "To: ", MHC_TO);
    put_people_field(&buf, m, "CC: ", MHC_CC);
    struct mhc_buf subject = {0};
    mhc_buf_printf(&subject, "%s%s", m->prefix, mhc_buf_str(&m->subject));
    put_subject_field(&buf, mhc_buf_str(&subject));
    mhc_buf_done(&subject);
    mhc_buf_printf(&buf, "Date: %s\r\n", mhc_date_rfc5322(when, date));
    if (m->id.len > 0) {
        mhc_buf_printf(&buf, "Message-ID: %s\r\n", mhc_buf_str(&m->id));
    }
    put_thread_fields(&buf, m);
    mhc_buf_printf(&buf,
                   "Content-Type: multipart/mixed;\r\n\tboundary=\"_004_%016llx_\"\r\n"
                   "MIME-Version: 1.0\r\nX-MS-Exchange-Organization-AuthAs: Internal\r\n"
                   "X-Loop: %u\r\n\r\n",
                   (unsigned long long)mhc_prng_next(&m->prng), mhc_prng_below(&m->prng, 1000));
    if (mhc_prng_chance(&m->prng, 30)) { /* some gateways hand over more than the header */
        mhc_buf_puts(&buf, "--_004_\r\nContent-Type: text/plain\r\n\r\nThe body begins.\r\n");
    }
    mhc_props_text_of(&m->item->props, 0x007d001f, buf.data, buf.len);
    mhc_json_key(&m->item->json, "headers");
    mhc_buf_putc(&m->item->json, '{');
    mhc_json_sum(&m->item->json, buf.data, buf.len);
    mhc_buf_putc(&m->item->json, '}');
    mhc_buf_done(&buf);
}

/* --- bodies --- */

/* Mostly some kilobytes, rarely a megabyte. */
static size_t choose_body_size(struct mhc_prng *prng)
{
    double size = exp(7.3 + 1.1 * mhc_prng_normal(prng));
    size = mhc_prng_chance(prng, 8) ? size * 40 : size;
    return size < 1 ? 1 : size > 2e6 ? (size_t)2000000 : (size_t)size;
}

static void make_text(struct mail *m)
{
    mhc_text_lines(&m->text, &m->prng, m->language, false, choose_body_size(&m->prng));
    if (mhc_prng_chance(&m->prng, 100)) { /* what RTF, mbox and MIME would trip over */
        mhc_buf_puts(&m->text, "From here {on} \\ it = 100% & <odd>\r\n.\r\n\r\n-- \r\n");
    }
}

/* The same words, a paragraph a line. */
static void make_html(struct mail *m, const char *charset)
{
    mhc_buf_printf(&m->html,
                   "<html>\r\n<head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; "
                   "charset=%s\">\r\n</head>\r\n<body lang=\"%s\">\r\n",
                   charset, m->language->tag);
    for (size_t at = 0; at < m->text.len;) {
        const char *line = m->text.data + at;
        const char *end = memchr(line, '\r', m->text.len - at);
        size_t len = end != NULL ? (size_t)(end - line) : m->text.len - at;
        mhc_buf_puts(&m->html, "<p>");
        for (size_t i = 0; i < len; i++) {
            const char *entity = line[i] == '<'   ? "&lt;"
                                 : line[i] == '>' ? "&gt;"
                                 : line[i] == '&' ? "&amp;"
                                                  : NULL;
            if (entity != NULL) {
                mhc_buf_puts(&m->html, entity);
            } else {
                mhc_buf_putc(&m->html, line[i]);
            }
        }
        mhc_buf_puts(&m->html, "</p>\r\n");
        at += len + 2;
    }
    if (m->has_picture) {
        mhc_buf_printf(&m->html, "<p><img src=\"cid:%s\" alt=\"\"></p>\r\n", m->content_id);
    }
    mhc_buf_puts(&m->html, "</body>\r\n</html>\r\n");
}

static void put_bodies(struct mail *m)
{
    struct mhc_item *item = m->item;
    struct mhc_codepage page = mhc_codepage_of(m->language);
    struct mhc_codepage html_page = mhc_codepage_of_html(m->language);
    enum body_form form = m->form;
    bool has_html = form == BODY_HTML || form == BODY_TEXT_AND_HTML;
    bool is_html_in_rtf = form == BODY_RTF_HTML || form == BODY_RTF_HTML_ALONE;
    bool is_compressed = mhc_prng_chance(&m->prng, 800);
    bool is_unicode = mhc_prng_chance(&m->prng, 300);
    mhc_props_i32(&item->props, 0x3fde0003, has_html ? html_page.number : page.number);
    mhc_props_i32(&item->props, 0x3ffd0003, page.number);
    mhc_props_i32(&item->props, 0x3ff10003, mhc_locale_of(m->language));
    mhc_json_number(&item->json, "codepage", page.number);
    if (form == BODY_NONE) {
        return;
    }
    make_text(m);
    if (has_html || is_html_in_rtf) {
        make_html(m, has_html ? html_page.charset : page.charset);
    }
    if (form != BODY_HTML && form != BODY_RTF_HTML_ALONE && form != BODY_RTF_ALONE) {
        mhc_item_plain(item, m->text.data, m->text.len);
    }
    if (has_html) {
        mhc_item_html(item, m->html.data, m->html.len, html_page);
    } else if (is_html_in_rtf) {
        mhc_item_rtf(item, m->html.data, m->html.len, true, page, is_compressed, is_unicode);
    } else if (form == BODY_RTF || form == BODY_RTF_ALONE) {
        mhc_item_rtf(item, m->text.data, m->text.len, false, page, is_compressed, is_unicode);
    }
}

/* --- attachments --- */

static const struct {
    const char *name, *short_name, *mime;
    enum mhc_content content;
} files[] = {
    {"Angebot 2023.pdf", "ANGEBO~1.PDF", "application/pdf", MHC_CONTENT_RANDOM},
    {"Q3 figures (final, really).xlsx", "Q3FIGU~1.XLS",
     "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", MHC_CONTENT_RANDOM},
    {"Übersicht für Müller & Söhne.docx", "BERSIC~1.DOC",
     "application/vnd.openxmlformats-officedocument.wordprocessingml.document", MHC_CONTENT_RANDOM},
    {"見積書.pdf", "ESTIMA~1.PDF", "application/pdf", MHC_CONTENT_RANDOM},
    {"photo.jpg", "PHOTO.JPG", "image/jpeg", MHC_CONTENT_RANDOM},
    {"server.log", "SERVER.LOG", "text/plain", MHC_CONTENT_TEXT},
    {"README", "README", "application/octet-stream", MHC_CONTENT_TEXT},
    {"a very long name that no mail program shows as a whole because it goes on and on, beyond the "
     "seventy-eight columns of a line, and then some.tar.gz",
     "AVERYL~1.GZ", "application/gzip", MHC_CONTENT_RANDOM},
};

static uint64_t choose_file_size(struct mhc_prng *prng)
{
    uint32_t dice = mhc_prng_below(prng, 1000);
    if (dice < 20) {
        return dice % 2; /* empty, or one octet */
    }
    if (dice < 22) {
        return 1000000 + (uint64_t)mhc_prng_below(prng, 6000000);
    }
    if (dice < 60) {
        return 8176u * (uint64_t)(1 + mhc_prng_below(prng, 4)); /* exactly as many blocks */
    }
    return 100 + (uint64_t)(mhc_prng_unit(prng) * mhc_prng_unit(prng) * 80000);
}

static void put_file(struct mail *m, uint32_t which, uint64_t size)
{
    struct mhc_attachment file = {.name = files[which].name,
                                  .short_name = files[which].short_name,
                                  .mime = files[which].mime,
                                  .content = files[which].content,
                                  .size = size,
                                  .prng = &m->prng};
    mhc_item_attach(m->item, &file);
}

/* Once in a large archive: lists of lists of blocks, and lists of lists of subnodes. */
static void put_rare_attachments(struct mail *m)
{
    enum { EVERY = 50000, HUGE_AT = 1000, MANY_AT = 1500, HUGE_BYTES = 17500000, MANY = 700 };
    uint64_t at = m->depth == 0 ? m->letter.index % EVERY : 0;
    if (at == HUGE_AT) {
        put_file(m, 0, HUGE_BYTES);
    }
    for (unsigned i = 0; at == MANY_AT && i < MANY; i++) {
        put_file(m, 0, 40);
    }
}

static void put_attachments(struct mail *m)
{
    struct mhc_prng *prng = &m->prng;
    uint32_t count = mhc_prng_chance(prng, 200) ? 1 + mhc_prng_below(prng, 3) : 0;
    if (m->has_picture) {
        struct mhc_attachment picture = {.name = "image001.png",
                                         .short_name = "IMAGE001.PNG",
                                         .mime = "image/png",
                                         .content_id = m->content_id,
                                         .is_hidden = true,
                                         .size = 400 + mhc_prng_below(prng, 30000),
                                         .prng = prng};
        mhc_item_attach(m->item, &picture);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t which = mhc_prng_below(prng, MHC_COUNT(files));
        put_file(m, which, choose_file_size(prng));
    }
    if (mhc_prng_chance(prng, 8)) {
        mhc_item_attach_reference(m->item, "Übersicht.xlsx", "\\\\server\\share\\Übersicht.xlsx");
    }
    if (m->form == BODY_RTF && mhc_prng_chance(prng, 60)) {
        struct mhc_attachment object = {.name = "Worksheet",
                                        .short_name = "OLE",
                                        .mime = "application/x-oleobject",
                                        .is_ole = true,
                                        .size = 4000 + mhc_prng_below(prng, 30000),
                                        .prng = prng};
        mhc_item_attach(m->item, &object);
    }
    put_rare_attachments(m);
}

/* --- what stands beside the body --- */

static void put_flags(struct mail *m)
{
    static const char *const categories[] = {"Red Category", "Kunde", "À traiter", "работа",
                                             "重要"};
    struct mhc_item *item = m->item;
    struct mhc_prng *prng = &m->prng;
    bool is_draft = m->role == MHC_ROLE_DRAFTS;
    bool is_read = is_draft || m->role == MHC_ROLE_SENT || mhc_prng_chance(prng, 850);
    item->flags |= is_read ? FLAG_READ : 0;
    item->flags |= is_draft ? FLAG_UNSENT : 0;
    item->flags |= m->role == MHC_ROLE_SENT || is_draft ? FLAG_FROM_ME : 0;
    mhc_json_bool(&item->json, "is_read", is_read);
    mhc_json_bool(&item->json, "is_draft", is_draft);
    if (is_read && !is_draft && mhc_prng_chance(prng, 200)) {
        static const uint32_t verbs[] = {VERB_REPLY, VERB_REPLY_ALL, VERB_FORWARD};
        uint32_t which = mhc_prng_below(prng, MHC_COUNT(verbs));
        bool is_forward = verbs[which] == VERB_FORWARD;
        mhc_props_i32(&item->props, 0x10810003, verbs[which]);
        mhc_props_time(&item->props, 0x10820040, m->letter.date.unix_seconds + 7200);
        mhc_props_i32(&item->props, 0x10800003, is_forward ? 262 : 261);
        mhc_json_bool(&item->json, is_forward ? "is_forwarded" : "is_replied", true);
    }
    if (mhc_prng_chance(prng, 60)) {
        enum { FLAG_STATUS_MARKED = 2 };
        mhc_props_i32(&item->props, 0x10900003, FLAG_STATUS_MARKED);
        mhc_props_text(&item->props, mhc_name_tag(MHC_NAME_FLAG_REQUEST, MHC_PT_TEXT), "Follow up");
        mhc_json_bool(&item->json, "is_flagged", true);
    }
    uint32_t importance = mhc_prng_chance(prng, 80) ? mhc_prng_below(prng, 2) * 2 : 1;
    mhc_props_i32(&item->props, 0x00170003, importance);
    mhc_props_i32(&item->props, 0x00360003, 0);
    mhc_json_number(&item->json, "importance", importance);
    if (mhc_prng_chance(prng, 90)) {
        uint32_t first = mhc_prng_below(prng, MHC_COUNT(categories));
        size_t count = 1 + mhc_prng_below(prng, (uint32_t)(MHC_COUNT(categories) - first));
        mhc_item_categories(item, categories + first, count);
    }
}

static void put_ids(struct mail *m)
{
    if (mhc_letter_lacks_id(&m->letter, m->letter.index) || m->role == MHC_ROLE_DRAFTS) {
        return;
    }
    mhc_letter_id(&m->id, &m->letter, m->letter.index);
    mhc_item_text(m->item, 0x1035001f, "message_id", mhc_buf_str(&m->id));
    uint64_t parent = mhc_letter_parent(&m->letter, m->letter.index);
    if (parent != m->letter.index) {
        struct mhc_buf id = {0};
        mhc_letter_id(&id, &m->letter, parent);
        mhc_item_text(m->item, 0x1042001f, "in_reply_to", mhc_buf_str(&id));
        mhc_buf_done(&id);
    }
}

static void put_times(struct mail *m)
{
    int64_t submitted = m->letter.date.unix_seconds;
    if (m->role == MHC_ROLE_DRAFTS) {
        return;
    }
    if (m->role == MHC_ROLE_SENT || !mhc_prng_chance(&m->prng, 30)) {
        mhc_props_time(&m->item->props, 0x00390040, submitted);
        mhc_json_number(&m->item->json, "submitted", submitted);
    }
    mhc_props_time(&m->item->props, 0x0e060040, submitted + 4);
    mhc_json_number(&m->item->json, "delivered", submitted + 4);
}

/* --- the whole --- */

static void make_mail(struct mhc_pst *pst, struct mhc_item *item, enum mhc_pst_role role,
                      uint64_t index, unsigned depth);

static void put_inner_mail(struct mail *m)
{
    if (m->depth < DEPTH_MAX && mhc_prng_chance(&m->prng, m->depth == 0 ? 40 : 300)) {
        enum { INNER_INDEXES = 1 << 30 };
        struct mhc_item inner;
        struct mhc_buf name = {0};
        make_mail(m->pst, &inner, MHC_ROLE_INBOX, INNER_INDEXES + m->letter.index, m->depth + 1);
        mhc_pst_words(&name, &m->prng, m->language, 3);
        mhc_item_attach_item(m->item, &inner, mhc_buf_str(&name));
        mhc_buf_done(&name);
    }
}

static enum body_form choose_form(struct mhc_prng *prng)
{
    static const uint8_t parts[BODY_FORMS] = {
        [BODY_TEXT] = 20,     [BODY_TEXT_AND_HTML] = 34,  [BODY_HTML] = 12,     [BODY_RTF] = 8,
        [BODY_RTF_HTML] = 12, [BODY_RTF_HTML_ALONE] = 10, [BODY_RTF_ALONE] = 2, [BODY_NONE] = 2};
    uint32_t dice = mhc_prng_below(prng, 100);
    unsigned form = 0;
    while (dice >= parts[form]) {
        dice -= parts[form++];
    }
    return (enum body_form)form;
}

static void make_mail(struct mhc_pst *pst, struct mhc_item *item, enum mhc_pst_role role,
                      uint64_t index, unsigned depth)
{
    struct mail m = {.pst = pst, .item = item, .role = role, .depth = depth, .prefix = ""};
    mhc_prng_init(&m.prng, pst->seed, MHC_STREAM_CONTENT, depth, index);
    m.language = mhc_text_any_language(&m.prng);
    m.letter =
        (struct mhc_letter){.seed = pst->seed, .mailbox = 1, .index = index, .owner = "owner"};
    m.letter.date = (struct mhc_date){mhc_pst_any_moment(&m.prng), 60};
    m.form = choose_form(&m.prng);
    bool is_picture_form = m.form != BODY_TEXT && m.form != BODY_RTF && m.form != BODY_NONE &&
                           m.form != BODY_RTF_ALONE;
    m.has_picture = is_picture_form && mhc_prng_chance(&m.prng, 150);
    if (m.has_picture) {
        (void)snprintf(m.content_id, sizeof(m.content_id), "image001.png@%08X.%08X",
                       (unsigned)mhc_prng_next(&m.prng), (unsigned)mhc_prng_next(&m.prng));
    }
    bool is_8bit = pst->charset != NULL || mhc_prng_chance(&m.prng, 40);
    mhc_item_init(item, pst, "IPM.Note",
                  is_8bit ? mhc_codepage_of(m.language).charset : pst->charset,
                  m.letter.date.unix_seconds);
    m.prefix = mhc_letter_parent(&m.letter, index) != index ? "Re: "
               : mhc_prng_chance(&m.prng, 100)              ? "WG: "
                                                            : "";
    mhc_pst_words(&m.subject, &m.prng, m.language, 1 + mhc_prng_below(&m.prng, 8));
    mhc_item_subject(item, m.prefix, mhc_buf_str(&m.subject));
    choose_people(&m);
    put_ids(&m);
    put_times(&m);
    put_flags(&m);
    if (role != MHC_ROLE_SENT && role != MHC_ROLE_DRAFTS && mhc_prng_chance(&m.prng, 700)) {
        put_headers(&m);
    }
    put_bodies(&m);
    put_attachments(&m);
    put_inner_mail(&m);
    mhc_buf_done(&m.subject);
    mhc_buf_done(&m.text);
    mhc_buf_done(&m.html);
    mhc_buf_done(&m.id);
}

void mhc_pst_letter(struct mhc_pst *pst, struct mhc_item *item_out, enum mhc_pst_role role,
                    uint64_t index)
{
    make_mail(pst, item_out, role, index, 0);
}
