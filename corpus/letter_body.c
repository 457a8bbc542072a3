/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "letter.h"
#include "mime.h"
#include "special.h"

#include <string.h>

/* The text of one part: its language, its form and how it is carried. */
struct form {
    const struct mhc_language *language;
    bool is_legacy;
    enum mhc_encoding encoding;
};

static const char *const encoding_names[] = {"7bit", "8bit", "quoted-printable", "base64"};

static struct form choose_form(struct mhc_letter_draft *draft)
{
    struct mhc_prng *prng = &draft->prng;
    struct form form = {.language = draft->language, .is_legacy = mhc_prng_chance(prng, 450)};
    if (strcmp(draft->language->charset, "us-ascii") == 0) {
        form.encoding = mhc_prng_chance(prng, 700) ? MHC_7BIT : MHC_QUOTED_PRINTABLE;
    } else if (form.is_legacy && strcmp(draft->language->charset, "iso-2022-jp") == 0) {
        form.encoding = MHC_7BIT;
    } else if (mhc_text_is_latin(draft->language)) {
        form.encoding = mhc_prng_chance(prng, 500) ? MHC_8BIT : MHC_QUOTED_PRINTABLE;
    } else {
        form.encoding = mhc_prng_chance(prng, 500) ? MHC_8BIT : MHC_BASE64;
    }
    return form;
}

static void text_fields(struct mhc_buf *buf, const struct form *form, const char *subtype)
{
    mhc_buf_printf(
        buf, "Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n", subtype,
        form->is_legacy ? form->language->charset : "utf-8", encoding_names[form->encoding]);
}

/* Encodes what stands in `buf` from `start` on, in place. */
static void encode_tail(struct mhc_buf *buf, size_t start, enum mhc_encoding encoding)
{
    if (encoding == MHC_7BIT || encoding == MHC_8BIT) {
        return;
    }
    struct mhc_buf raw = {0};
    mhc_buf_add(&raw, buf->data + start, buf->len - start);
    buf->len = start;
    if (encoding == MHC_BASE64) {
        mhc_mime_base64(buf, raw.data, raw.len);
    } else {
        mhc_mime_quoted_printable(buf, raw.data, raw.len);
    }
    mhc_buf_done(&raw);
}

/* How many octets of text become about `want` encoded ones. */
static size_t raw_size(const struct form *form, size_t want)
{
    switch (form->encoding) {
    case MHC_BASE64:
        return want * 57 / 78;
    case MHC_QUOTED_PRINTABLE:
        return strcmp(form->language->charset, "us-ascii") == 0 ? want : want * 4 / 5;
    case MHC_7BIT:
    case MHC_8BIT:
        break;
    }
    return want;
}

static void quoted_lines(struct mhc_buf *buf, struct mhc_letter_draft *draft,
                         const struct form *form, size_t want)
{
    mhc_buf_printf(buf, "\r\nOn that day, %s@example.com wrote:\r\n", draft->letter->owner);
    for (size_t done = 0; done < want;) {
        size_t before = buf->len;
        mhc_buf_puts(buf, mhc_prng_chance(&draft->prng, 300) ? "> > " : "> ");
        mhc_text_lines(buf, &draft->prng, form->language, form->is_legacy, 60);
        done += buf->len - before;
    }
}

static void plain_text(struct mhc_buf *buf, struct mhc_letter_draft *draft, size_t want)
{
    struct form form = choose_form(draft);
    bool is_reply = draft->parent != draft->letter->index;
    text_fields(buf, &form, "plain");
    size_t start = buf->len;
    size_t raw = raw_size(&form, want);
    size_t quoted = is_reply && raw > 400 ? raw / 3 : 0;
    mhc_text_lines(buf, &draft->prng, form.language, form.is_legacy, raw - quoted);
    if (quoted > 0) {
        quoted_lines(buf, draft, &form, quoted);
    }
    if (want > 600) {
        mhc_buf_printf(buf, "\r\n-- \r\n%s@%s\r\n", draft->from.local, draft->from.domain);
    }
    encode_tail(buf, start, form.encoding);
}

static void html_text(struct mhc_buf *buf, struct mhc_letter_draft *draft, size_t want,
                      const char *content_id)
{
    struct form form = choose_form(draft);
    text_fields(buf, &form, "html");
    size_t start = buf->len;
    size_t raw = raw_size(&form, want);
    mhc_buf_printf(buf,
                   "<!DOCTYPE html>\r\n<html lang=\"%s\"><head><meta charset=\"%s\">\r\n"
                   "<style>body{font-family:Calibri,Arial,sans-serif;font-size:11pt}"
                   "td{padding:4px}</style>\r\n</head><body>\r\n",
                   form.language->tag, form.is_legacy ? form.language->charset : "utf-8");
    if (content_id != NULL) {
        mhc_buf_printf(buf, "<p><img src=\"cid:%s\" alt=\"logo\" width=\"120\"></p>\r\n",
                       content_id);
    }
    while (buf->len - start + 200 < raw) {
        size_t left = raw - (buf->len - start);
        mhc_buf_puts(buf, mhc_prng_chance(&draft->prng, 250)
                              ? "<blockquote style=\"margin:0 0 0 .8ex;border-left:1px solid\">\r\n"
                              : "<p style=\"margin:0 0 12px 0;color:#1f2937\">\r\n");
        mhc_text_lines(buf, &draft->prng, form.language, form.is_legacy, left < 900 ? left : 700);
        mhc_buf_puts(buf, "<br>\r\n");
    }
    mhc_buf_puts(buf, "</body></html>\r\n");
    encode_tail(buf, start, form.encoding);
}

static void alternative(struct mhc_buf *buf, struct mhc_letter_draft *draft, size_t want)
{
    char boundary[MHC_BOUNDARY_SIZE];
    size_t start = buf->len;
    mhc_mime_boundary(boundary, &draft->prng);
    mhc_mime_multipart(buf, "alternative", boundary, "");
    mhc_mime_part(buf, boundary);
    plain_text(buf, draft, want / 4);
    mhc_mime_part(buf, boundary);
    size_t used = buf->len - start + 400;
    html_text(buf, draft, want > used ? want - used : 0, NULL);
    mhc_mime_end(buf, boundary);
}

struct file_kind {
    const char *type;
    const char *extension;
    const char *magic; /* the beginning of such a file, in base64 */
};

static const struct file_kind documents[] = {
    {"application/pdf", "pdf", "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoK"},
    {"application/zip", "zip", "UEsDBBQAAAAIAAAAIQ"},
    {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx",
     "UEsDBBQABgAIAAAAIQ"},
    {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx",
     "UEsDBBQABgAIAAAAIQ"},
    {"image/jpeg", "jpg", "/9j/4AAQSkZJRgABAQEAYABgAAD"},
    {"application/msword", "doc", "0M8R4KGxGuEAAAAAAAAAAA"},
    {"application/octet-stream", "bin", ""},
};

/* The name parameter: plain, as an encoded word (as Outlook does), or by RFC 2231. */
static void file_name(struct mhc_buf *buf, struct mhc_prng *prng, const char *extension)
{
    unsigned int number = 1 + mhc_prng_below(prng, 9000);
    switch (mhc_prng_below(prng, 4)) {
    case 0:
        mhc_buf_puts(buf, "\r\n filename=\"=?utf-8?Q?=C3=9Cbersicht_");
        mhc_buf_printf(buf, "%u.%s?=\"", number, extension);
        break;
    case 1:
        mhc_buf_printf(buf, "\r\n filename*=utf-8''relev%%C3%%A9%%20%u.%s", number, extension);
        break;
    default:
        mhc_buf_printf(buf, "\r\n filename=\"scan_%04u.%s\"", number, extension);
        break;
    }
}

static void attachment(struct mhc_buf *buf, struct mhc_prng *prng, size_t want)
{
    const struct file_kind *kind = &documents[mhc_prng_below(prng, MHC_COUNT(documents))];
    mhc_buf_printf(buf,
                   "Content-Type: %s\r\nContent-Transfer-Encoding: base64\r\n"
                   "Content-Disposition: attachment;",
                   kind->type);
    file_name(buf, prng, kind->extension);
    mhc_buf_puts(buf, "\r\n\r\n");
    mhc_mime_base64_random(buf, prng, kind->magic, want);
}

static void mixed(struct mhc_buf *buf, struct mhc_letter_draft *draft, size_t want)
{
    char boundary[MHC_BOUNDARY_SIZE];
    size_t start = buf->len;
    mhc_mime_boundary(boundary, &draft->prng);
    mhc_mime_multipart(buf, "mixed", boundary, "");
    mhc_buf_puts(buf, "This is a multi-part message in MIME format.\r\n");
    mhc_mime_part(buf, boundary);
    size_t text_bytes = want / 4 < 6000 ? want / 4 : 6000;
    if (mhc_prng_chance(&draft->prng, 500)) {
        alternative(buf, draft, text_bytes);
    } else {
        plain_text(buf, draft, text_bytes);
    }
    uint32_t files = 1 + mhc_prng_below(&draft->prng, want > 40000 ? 3 : 1);
    for (uint32_t i = 0; i < files; i++) {
        size_t used = buf->len - start + 300;
        size_t left = want > used ? want - used : 0;
        mhc_mime_part(buf, boundary);
        attachment(buf, &draft->prng, left / (files - i));
    }
    mhc_mime_end(buf, boundary);
}

/* RFC 2387: a page and its picture. */
static void related(struct mhc_buf *buf, struct mhc_letter_draft *draft, size_t want)
{
    char boundary[MHC_BOUNDARY_SIZE];
    char content_id[] = "image001.png@01D9A2B3.C4D5E6F0";
    size_t start = buf->len;
    mhc_mime_boundary(boundary, &draft->prng);
    mhc_mime_multipart(buf, "related", boundary, ";\r\n type=\"text/html\"");
    mhc_mime_part(buf, boundary);
    html_text(buf, draft, want / 3 < 9000 ? want / 3 : 9000, content_id);
    mhc_mime_part(buf, boundary);
    mhc_buf_printf(buf,
                   "Content-Type: image/png; name=\"image001.png\"\r\nContent-ID: <%s>\r\n"
                   "Content-Disposition: inline; filename=\"image001.png\"\r\n"
                   "Content-Transfer-Encoding: base64\r\n\r\n",
                   content_id);
    size_t used = buf->len - start + 60;
    mhc_mime_base64_random(buf, &draft->prng, "iVBORw0KGgoAAAANSUhEUgAAAHgAAAAo",
                           want > used ? want - used : 0);
    mhc_mime_end(buf, boundary);
}

typedef void body_writer(struct mhc_buf *, struct mhc_letter_draft *, size_t);

static void invitation(struct mhc_buf *buf, struct mhc_letter_draft *draft, size_t want)
{
    (void)want;
    mhc_special_invite(buf, &draft->prng, draft->letter->date, "REQUEST");
}

static void bounce(struct mhc_buf *buf, struct mhc_letter_draft *draft, size_t want)
{
    (void)want;
    mhc_special_dsn(buf, &draft->prng, draft->letter->date);
}

static body_writer *choose_body(struct mhc_prng *prng, size_t want)
{
    static body_writer *const small[] = {plain_text, plain_text, alternative};
    static body_writer *const medium[] = {plain_text, alternative, alternative, alternative,
                                          mixed,      mixed,       related};
    static body_writer *const large[] = {mixed, mixed, mixed, mixed, related};
    if (want < 800) {
        return plain_text;
    }
    if (want < 5000) {
        if (mhc_prng_chance(prng, 20)) {
            return mhc_prng_chance(prng, 700) ? invitation : bounce;
        }
        return small[mhc_prng_below(prng, MHC_COUNT(small))];
    }
    if (want < 48000) {
        return medium[mhc_prng_below(prng, MHC_COUNT(medium))];
    }
    return large[mhc_prng_below(prng, MHC_COUNT(large))];
}

void mhc_letter_body(struct mhc_buf *buf, struct mhc_letter_draft *draft)
{
    size_t used = buf->len - draft->start;
    size_t total = draft->letter->want_bytes;
    size_t want = total > used + 20 ? total - used : 20;
    if (total < MHC_TINY_LETTER_BYTES) {
        mhc_buf_puts(buf, "\r\n");
        mhc_text_lines(buf, &draft->prng, mhc_text_language(0), false, want - 2);
        return;
    }
    choose_body(&draft->prng, want)(buf, draft, want);
}

void mhc_letter_write(struct mhc_buf *buf, const struct mhc_letter *letter)
{
    struct mhc_letter_draft draft = {.letter = letter, .start = buf->len};
    draft.parent = mhc_letter_parent(letter, letter->index);
    draft.root = draft.parent;
    for (uint64_t at = mhc_letter_parent(letter, draft.root); at != draft.root;) {
        draft.root = at;
        at = mhc_letter_parent(letter, at);
    }
    struct mhc_prng thread;
    mhc_prng_init(&thread, letter->seed, MHC_STREAM_THREAD, letter->mailbox + 1000000, draft.root);
    draft.language = mhc_text_any_language(&thread);
    mhc_prng_init(&draft.prng, letter->seed, MHC_STREAM_CONTENT, letter->mailbox, letter->index);
    draft.from = mhc_text_person(&draft.prng);
    if (letter->place != MHC_PLACE_INBOX) {
        draft.from = (struct mhc_person){"Mailbox Owner", letter->owner, "example.com"};
    }
    mhc_letter_head(buf, &draft);
    mhc_letter_body(buf, &draft);
}
