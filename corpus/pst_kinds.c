/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_kinds.h"

#include "pst_letter.h"
#include "pst_names.h"
#include "special.h"

#include <string.h>

/* One item on its way. */
struct other {
    struct mhc_pst *pst;
    struct mhc_item *item;
    struct mhc_prng prng;
    const struct mhc_language *language;
    int64_t made;
};

static const char *const classes[MHC_KIND_COUNT] = {
    [MHC_KIND_CONTACT] = "IPM.Contact",
    [MHC_KIND_LIST] = "IPM.DistList",
    [MHC_KIND_APPOINTMENT] = "IPM.Appointment",
    [MHC_KIND_SERIES] = "IPM.Appointment",
    [MHC_KIND_TASK] = "IPM.Task",
    [MHC_KIND_NOTE] = "IPM.StickyNote",
    [MHC_KIND_JOURNAL] = "IPM.Activity",
    [MHC_KIND_MEETING] = "IPM.Schedule.Meeting.Request",
    [MHC_KIND_SIGNED] = "IPM.Note.SMIME.MultipartSigned",
    [MHC_KIND_ENVELOPED] = "IPM.Note.SMIME",
    [MHC_KIND_REPORT] = "REPORT.IPM.Note.NDR",
};

/* --- one property of this or that type, and the truth about it --- */

static void number(struct other *o, uint32_t tag, const char *key, uint32_t value)
{
    mhc_props_i32(&o->item->props, tag, value);
    mhc_json_number(&o->item->json, key, value);
}

static void moment(struct other *o, uint32_t tag, const char *key, int64_t unix_seconds)
{
    mhc_props_time(&o->item->props, tag, unix_seconds);
    mhc_json_number(&o->item->json, key, unix_seconds);
}

static void fact(struct other *o, uint32_t tag, const char *key, bool value)
{
    mhc_props_bool(&o->item->props, tag, value);
    mhc_json_bool(&o->item->json, key, value);
}

static uint32_t named(enum mhc_name name, unsigned type)
{
    return mhc_name_tag(name, type);
}

/* --- what most have --- */

static void put_subject(struct other *o, uint32_t words)
{
    struct mhc_buf text = {0};
    mhc_pst_words(&text, &o->prng, o->language, words);
    mhc_item_subject(o->item, "", mhc_buf_str(&text));
    mhc_buf_done(&text);
}

static void put_body(struct other *o, size_t want)
{
    struct mhc_buf text = {0};
    struct mhc_codepage page = mhc_codepage_of(o->language);
    mhc_text_lines(&text, &o->prng, o->language, false, want);
    mhc_item_plain(o->item, text.data, text.len);
    mhc_props_i32(&o->item->props, 0x3fde0003, page.number);
    mhc_props_i32(&o->item->props, 0x3ffd0003, page.number);
    mhc_json_number(&o->item->json, "codepage", page.number);
    mhc_buf_done(&text);
}

static void put_mail_fields(struct other *o)
{
    put_subject(o, 4);
    mhc_item_from(o->item, mhc_pst_any_person(&o->prng));
    mhc_item_recipient(o->item, MHC_TO, mhc_pst_any_person(&o->prng));
    mhc_item_recipient(o->item, MHC_CC, mhc_pst_any_person(&o->prng));
    moment(o, 0x00390040, "submitted", o->made);
    moment(o, 0x0e060040, "delivered", o->made + 5);
}

/* --- people --- */

static void make_contact(struct other *o)
{
    struct mhc_person who = mhc_text_person(&o->prng);
    struct mhc_item *item = o->item;
    struct mhc_buf text = {0};
    const char *space = strrchr(who.name, ' ');
    size_t given_len = space != NULL ? (size_t)(space - who.name) : strlen(who.name);
    mhc_item_subject(item, "", who.name);
    mhc_item_text(item, 0x3001001f, "display_name", who.name);
    mhc_buf_add(&text, who.name, given_len);
    mhc_item_text(item, 0x3a06001f, "given_name", mhc_buf_str(&text));
    mhc_item_text(item, 0x3a11001f, "surname", space != NULL ? space + 1 : "");
    mhc_item_text(item, 0x3a16001f, "company", "Nordwind GmbH & Co. KG");
    mhc_item_text(item, 0x3a17001f, "title", "Head of \"Everything\", Ltd.; retired");
    text.len = 0;
    mhc_buf_printf(&text, "+49 30 %07u", mhc_prng_below(&o->prng, 10000000));
    mhc_item_text(item, 0x3a08001f, "business_phone", mhc_buf_str(&text));
    text.len = 0;
    mhc_buf_printf(&text, "+49 170 %07u", mhc_prng_below(&o->prng, 10000000));
    mhc_item_text(item, 0x3a1c001f, "mobile_phone", mhc_buf_str(&text));
    moment(o, 0x3a420040, "birthday", mhc_prng_below(&o->prng, 10000) * INT64_C(86400));
    mhc_item_text(item, named(MHC_NAME_FILE_AS, MHC_PT_TEXT), "file_as", who.name);
    mhc_item_text(item, named(MHC_NAME_EMAIL1_DISPLAY, MHC_PT_TEXT), "email_name", who.name);
    mhc_item_text(item, named(MHC_NAME_EMAIL1_TYPE, MHC_PT_TEXT), "email_type", "SMTP");
    text.len = 0;
    mhc_buf_printf(&text, "%s@%s", who.local, who.domain);
    mhc_item_text(item, named(MHC_NAME_EMAIL1_ADDRESS, MHC_PT_TEXT), "email", mhc_buf_str(&text));
    mhc_item_text(item, named(MHC_NAME_WORK_STREET, MHC_PT_TEXT), "work_street",
                  "Straße des 17. Juni 135\r\nHinterhaus");
    mhc_item_text(item, named(MHC_NAME_WORK_CITY, MHC_PT_TEXT), "work_city", "Berlin");
    mhc_item_text(item, named(MHC_NAME_WORK_ZIP, MHC_PT_TEXT), "work_zip", "10623");
    mhc_item_text(item, named(MHC_NAME_WORK_COUNTRY, MHC_PT_TEXT), "work_country", "Germany");
    put_body(o, 200);
    mhc_buf_done(&text);
}

static void put_utf16z(struct mhc_buf *buf, const char *utf8)
{
    mhc_text_to(buf, "UTF-16LE", utf8, strlen(utf8) + 1);
}

/* [MS-OXCDATA] 2.2.5.1: an address that stands for itself. */
static void put_one_off(struct mhc_buf *buf, struct mhc_person who)
{
    static const uint8_t head[24] = {0,    0,    0,    0,    0x81, 0x2b, 0x1f, 0xa4,
                                     0xbe, 0xa3, 0x10, 0x19, 0x9d, 0x6e, 0x00, 0xdd,
                                     0x01, 0x0f, 0x54, 0x02, 0,    0,    0x01, 0x80};
    struct mhc_buf address = {0};
    mhc_buf_add(buf, head, sizeof(head));
    mhc_buf_printf(&address, "%s@%s", who.local, who.domain);
    put_utf16z(buf, who.name);
    put_utf16z(buf, "SMTP");
    put_utf16z(buf, mhc_buf_str(&address));
    mhc_buf_done(&address);
}

static void make_list(struct other *o)
{
    enum { MEMBERS_MAX = 20 };
    uint32_t count = 1 + mhc_prng_below(&o->prng, MEMBERS_MAX);
    struct mhc_buf members = {0};
    struct mhc_buf name = {0};
    mhc_pst_words(&name, &o->prng, o->language, 2);
    mhc_item_subject(o->item, "", mhc_buf_str(&name));
    mhc_item_text(o->item, 0x3001001f, "display_name", mhc_buf_str(&name));
    mhc_item_text(o->item, named(MHC_NAME_LIST_NAME, MHC_PT_TEXT), "list_name", mhc_buf_str(&name));
    mhc_buf_fill(&members, 0, 4 * ((size_t)count + 1));
    pst_put_u32((uint8_t *)members.data, count);
    mhc_json_key(&o->item->json, "members");
    for (uint32_t i = 0; i < count; i++) {
        struct mhc_person who = mhc_text_person(&o->prng);
        pst_put_u32((uint8_t *)members.data + 4 * ((size_t)i + 1), (uint32_t)members.len);
        put_one_off(&members, who);
        mhc_buf_printf(&o->item->json, "%s\"%s@%s\"", i == 0 ? "[" : ",", who.local, who.domain);
    }
    mhc_buf_putc(&o->item->json, ']');
    mhc_props_bytes(&o->item->props, named(MHC_NAME_LIST_MEMBERS, MHC_PT_BINARIES), members.data,
                    members.len);
    mhc_props_bytes(&o->item->props, named(MHC_NAME_LIST_ONE_OFFS, MHC_PT_BINARIES), members.data,
                    members.len);
    mhc_buf_done(&members);
    mhc_buf_done(&name);
}

/* --- the calendar --- */

static void put_u16(struct mhc_buf *buf, unsigned value)
{
    uint8_t p[2];
    pst_put_u16(p, value);
    mhc_buf_add(buf, p, sizeof(p));
}

static void put_u32(struct mhc_buf *buf, uint32_t value)
{
    uint8_t p[4];
    pst_put_u32(p, value);
    mhc_buf_add(buf, p, sizeof(p));
}

/* [MS-OXOCAL] 2.2.1.44: each week on that day, `count` times, the second one cancelled. */
static void put_series(struct other *o, int64_t start, uint32_t count)
{
    enum { WEEK_MINUTES = 10080, DAY_MINUTES = 1440, VERSION = 0x3004, VERSION2 = 0x3006 };
    static const int64_t since_1601 = INT64_C(11644473600);
    struct mhc_buf blob = {0};
    uint32_t minutes = (uint32_t)((start + since_1601) / 60);
    uint32_t day = minutes / DAY_MINUTES * DAY_MINUTES;
    uint32_t weekday = (day / DAY_MINUTES + 1) % 7; /* 1601 began with a Monday; 0 is Sunday */
    put_u16(&blob, VERSION);
    put_u16(&blob, VERSION);
    put_u16(&blob, 0x200b); /* weekly */
    put_u16(&blob, 1);
    put_u16(&blob, 0);
    put_u32(&blob, (day - weekday * DAY_MINUTES) % WEEK_MINUTES);
    put_u32(&blob, 1);
    put_u32(&blob, 0);
    put_u32(&blob, 1u << weekday);
    put_u32(&blob, 0x2022); /* ends after so many */
    put_u32(&blob, count);
    put_u32(&blob, 0);
    put_u32(&blob, 1);
    put_u32(&blob, day + WEEK_MINUTES);
    put_u32(&blob, 0);
    put_u32(&blob, day);
    put_u32(&blob, day + (count - 1) * WEEK_MINUTES);
    put_u32(&blob, VERSION2);
    put_u32(&blob, VERSION2 + 3);
    put_u32(&blob, minutes - day);
    put_u32(&blob, minutes - day + 60);
    put_u16(&blob, 0);
    put_u32(&blob, 0);
    put_u32(&blob, 0);
    mhc_props_bytes(&o->item->props, named(MHC_NAME_APPT_RECUR, MHC_PT_BINARY), blob.data,
                    blob.len);
    mhc_json_number(&o->item->json, "weekly_count", count);
    mhc_json_number(&o->item->json, "cancelled", start + INT64_C(7) * 86400);
    mhc_buf_done(&blob);
}

static void put_times(struct other *o, bool is_series)
{
    enum { STATE_MEETING = 1, BUSY = 2, HOUR = 3600 };
    uint8_t id[40] = {0x04, 0,    0,    0,    0x82, 0,    0xe0, 0,
                      0x74, 0xc5, 0xb7, 0x10, 0x1a, 0x82, 0xe0, 0x08};
    int64_t start = o->made / HOUR * HOUR + INT64_C(30) * 86400;
    moment(o, named(MHC_NAME_APPT_START, MHC_PT_TIME), "start", start);
    moment(o, named(MHC_NAME_APPT_END, MHC_PT_TIME), "end", start + HOUR);
    mhc_props_time(&o->item->props, named(MHC_NAME_COMMON_START, MHC_PT_TIME), start);
    mhc_props_time(&o->item->props, named(MHC_NAME_COMMON_END, MHC_PT_TIME), start + HOUR);
    mhc_item_text(o->item, named(MHC_NAME_APPT_LOCATION, MHC_PT_TEXT), "location",
                  "Room 4, \"Aquarium\"; 2nd floor");
    number(o, named(MHC_NAME_APPT_BUSY, MHC_PT_I32), "busy", BUSY);
    number(o, named(MHC_NAME_APPT_STATE, MHC_PT_I32), "state", STATE_MEETING);
    fact(o, named(MHC_NAME_APPT_ALL_DAY, MHC_PT_BOOL), "is_all_day", false);
    fact(o, named(MHC_NAME_APPT_RECURRING, MHC_PT_BOOL), "is_recurring", is_series);
    fact(o, named(MHC_NAME_REMINDER_SET, MHC_PT_BOOL), "has_reminder", false);
    mhc_item_text(o->item, named(MHC_NAME_APPT_TIME_ZONE, MHC_PT_TEXT), "time_zone", "(UTC) UTC");
    pst_put_u64(id + 32, mhc_prng_next(&o->prng));
    mhc_props_bytes(&o->item->props, named(MHC_NAME_GLOBAL_ID, MHC_PT_BINARY), id, sizeof(id));
    if (is_series) {
        put_series(o, start, 2 + mhc_prng_below(&o->prng, 20));
    }
}

static void make_appointment(struct other *o)
{
    put_mail_fields(o);
    put_times(o, false);
    put_body(o, 300);
}

static void make_series(struct other *o)
{
    put_mail_fields(o);
    put_times(o, true);
    put_body(o, 100);
}

/* --- tasks, notes, journal --- */

static void make_task(struct other *o)
{
    enum { IN_PROGRESS = 1, DONE = 2 };
    bool is_done = mhc_prng_chance(&o->prng, 500);
    double percent = is_done ? 1.0 : 0.25;
    put_subject(o, 5);
    number(o, named(MHC_NAME_TASK_STATUS, MHC_PT_I32), "status", is_done ? DONE : IN_PROGRESS);
    mhc_props_f64(&o->item->props, named(MHC_NAME_TASK_PERCENT, MHC_PT_F64), percent);
    mhc_json_number(&o->item->json, "percent", is_done ? 100 : 25);
    moment(o, named(MHC_NAME_TASK_START, MHC_PT_TIME), "start", o->made / 86400 * 86400);
    moment(o, named(MHC_NAME_TASK_DUE, MHC_PT_TIME), "due", o->made / 86400 * 86400 + 864000);
    fact(o, named(MHC_NAME_TASK_COMPLETE, MHC_PT_BOOL), "is_complete", is_done);
    mhc_item_text(o->item, named(MHC_NAME_TASK_OWNER, MHC_PT_TEXT), "owner", "Mailbox Owner");
    put_body(o, 400);
}

static void make_note(struct other *o)
{
    put_subject(o, 3);
    number(o, named(MHC_NAME_NOTE_COLOUR, MHC_PT_I32), "colour", mhc_prng_below(&o->prng, 5));
    number(o, named(MHC_NAME_NOTE_WIDTH, MHC_PT_I32), "width", 200);
    number(o, named(MHC_NAME_NOTE_HEIGHT, MHC_PT_I32), "height", 166);
    put_body(o, 150);
}

static void make_journal(struct other *o)
{
    put_subject(o, 4);
    mhc_item_text(o->item, named(MHC_NAME_LOG_TYPE, MHC_PT_TEXT), "log_type", "Phone call");
    moment(o, named(MHC_NAME_LOG_START, MHC_PT_TIME), "start", o->made);
    moment(o, named(MHC_NAME_LOG_END, MHC_PT_TIME), "end", o->made + 900);
    number(o, named(MHC_NAME_LOG_DURATION, MHC_PT_I32), "minutes", 15);
    put_body(o, 100);
}

/* --- special mail --- */

static void make_meeting(struct other *o)
{
    put_mail_fields(o);
    put_times(o, false);
    put_body(o, 300);
}

static void attach_one(struct other *o, const char *mime, const char *bytes, size_t len)
{
    struct mhc_attachment what = {
        .name = "smime.p7m", .short_name = "SMIME.P7M", .mime = mime, .bytes = bytes, .size = len};
    mhc_item_attach(o->item, &what);
}

/* [MS-OXOSMIME] 2.1.2: the whole MIME entity lies in one attachment. */
static void make_signed(struct other *o)
{
    struct mhc_buf mime = {0};
    put_mail_fields(o);
    mhc_special_smime_signed(&mime, &o->prng);
    attach_one(o, "multipart/signed", mime.data, mime.len);
    mhc_buf_done(&mime);
}

static void make_enveloped(struct other *o)
{
    static const uint8_t head[] = {0x30, 0x82, 0x0f, 0xa0, 0x06, 0x09, 0x2a, 0x86,
                                   0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03};
    struct mhc_buf der = {0};
    put_mail_fields(o);
    mhc_buf_add(&der, head, sizeof(head));
    while (der.len < 4004) {
        uint64_t dice = mhc_prng_next(&o->prng);
        mhc_buf_add(&der, &dice, sizeof(dice));
    }
    attach_one(o, "application/pkcs7-mime", der.data, 4004);
    mhc_buf_done(&der);
}

static void make_report(struct other *o)
{
    put_mail_fields(o);
    mhc_item_text(o->item, 0x1001001f, "report", "550 5.1.1 User unknown");
    put_body(o, 500);
}

void mhc_pst_other(struct mhc_pst *pst, struct mhc_item *item_out, enum mhc_pst_kind kind,
                   uint64_t index)
{
    static void (*const makers[MHC_KIND_COUNT])(struct other *) = {
        [MHC_KIND_CONTACT] = make_contact,
        [MHC_KIND_LIST] = make_list,
        [MHC_KIND_APPOINTMENT] = make_appointment,
        [MHC_KIND_SERIES] = make_series,
        [MHC_KIND_TASK] = make_task,
        [MHC_KIND_NOTE] = make_note,
        [MHC_KIND_JOURNAL] = make_journal,
        [MHC_KIND_MEETING] = make_meeting,
        [MHC_KIND_SIGNED] = make_signed,
        [MHC_KIND_ENVELOPED] = make_enveloped,
        [MHC_KIND_REPORT] = make_report,
    };
    enum { FLAG_READ = 1 };
    struct other o = {.pst = pst, .item = item_out};
    mhc_prng_init(&o.prng, pst->seed, MHC_STREAM_META, kind, index);
    o.language = mhc_text_any_language(&o.prng);
    o.made = mhc_pst_any_moment(&o.prng);
    mhc_item_init(item_out, pst, classes[kind], mhc_pst_charset(pst, o.language), o.made);
    item_out->flags = FLAG_READ;
    makers[kind](&o);
}
