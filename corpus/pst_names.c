/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_names.h"

#include "pst/code.h"

#include <string.h>

enum set { PUBLIC_STRINGS, HEADERS, COMMON, APPOINTMENT, MEETING, TASK, ADDRESS, NOTE, LOG };

/* The first four octets of each set's GUID, of which most end alike. */
static const uint8_t guids[][16] = {
    [PUBLIC_STRINGS] = {0x29, 0x03, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46},
    [HEADERS] = {0x86, 0x03, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46},
    [COMMON] = {0x08, 0x20, 0x06, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46},
    [APPOINTMENT] = {0x02, 0x20, 0x06, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46},
    [MEETING] = {0x90, 0xda, 0xd8, 0x6e, 0x0b, 0x45, 0x1b, 0x10, 0x98, 0xda, 0, 0xaa, 0, 0x3f, 0x13,
                 0x05},
    [TASK] = {0x03, 0x20, 0x06, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46},
    [ADDRESS] = {0x04, 0x20, 0x06, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46},
    [NOTE] = {0x0e, 0x20, 0x06, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46},
    [LOG] = {0x0a, 0x20, 0x06, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46},
};

static const struct {
    enum set set;
    uint32_t number;
    const char *text; /* instead of a number */
} names[MHC_NAME_COUNT] = {
    [MHC_NAME_KEYWORDS] = {PUBLIC_STRINGS, 0, "Keywords"},
    [MHC_NAME_X_MAILER] = {HEADERS, 0, "x-mailer"},
    [MHC_NAME_REMINDER_SET] = {COMMON, 0x8503, NULL},
    [MHC_NAME_COMMON_START] = {COMMON, 0x8516, NULL},
    [MHC_NAME_COMMON_END] = {COMMON, 0x8517, NULL},
    [MHC_NAME_FLAG_REQUEST] = {COMMON, 0x8530, NULL},
    [MHC_NAME_PRIVATE] = {COMMON, 0x8506, NULL},
    [MHC_NAME_APPT_START] = {APPOINTMENT, 0x820d, NULL},
    [MHC_NAME_APPT_END] = {APPOINTMENT, 0x820e, NULL},
    [MHC_NAME_APPT_LOCATION] = {APPOINTMENT, 0x8208, NULL},
    [MHC_NAME_APPT_BUSY] = {APPOINTMENT, 0x8205, NULL},
    [MHC_NAME_APPT_ALL_DAY] = {APPOINTMENT, 0x8215, NULL},
    [MHC_NAME_APPT_RECURRING] = {APPOINTMENT, 0x8223, NULL},
    [MHC_NAME_APPT_RECUR] = {APPOINTMENT, 0x8216, NULL},
    [MHC_NAME_APPT_STATE] = {APPOINTMENT, 0x8217, NULL},
    [MHC_NAME_APPT_TIME_ZONE] = {APPOINTMENT, 0x8234, NULL},
    [MHC_NAME_GLOBAL_ID] = {MEETING, 0x0003, NULL},
    [MHC_NAME_TASK_STATUS] = {TASK, 0x8101, NULL},
    [MHC_NAME_TASK_PERCENT] = {TASK, 0x8102, NULL},
    [MHC_NAME_TASK_START] = {TASK, 0x8104, NULL},
    [MHC_NAME_TASK_DUE] = {TASK, 0x8105, NULL},
    [MHC_NAME_TASK_COMPLETE] = {TASK, 0x811c, NULL},
    [MHC_NAME_TASK_OWNER] = {TASK, 0x811f, NULL},
    [MHC_NAME_FILE_AS] = {ADDRESS, 0x8005, NULL},
    [MHC_NAME_EMAIL1_DISPLAY] = {ADDRESS, 0x8080, NULL},
    [MHC_NAME_EMAIL1_TYPE] = {ADDRESS, 0x8082, NULL},
    [MHC_NAME_EMAIL1_ADDRESS] = {ADDRESS, 0x8083, NULL},
    [MHC_NAME_WORK_STREET] = {ADDRESS, 0x8045, NULL},
    [MHC_NAME_WORK_CITY] = {ADDRESS, 0x8046, NULL},
    [MHC_NAME_WORK_ZIP] = {ADDRESS, 0x8048, NULL},
    [MHC_NAME_WORK_COUNTRY] = {ADDRESS, 0x8049, NULL},
    [MHC_NAME_LIST_NAME] = {ADDRESS, 0x8053, NULL},
    [MHC_NAME_LIST_MEMBERS] = {ADDRESS, 0x8055, NULL},
    [MHC_NAME_LIST_ONE_OFFS] = {ADDRESS, 0x8054, NULL},
    [MHC_NAME_NOTE_COLOUR] = {NOTE, 0x8b00, NULL},
    [MHC_NAME_NOTE_WIDTH] = {NOTE, 0x8b02, NULL},
    [MHC_NAME_NOTE_HEIGHT] = {NOTE, 0x8b03, NULL},
    [MHC_NAME_LOG_TYPE] = {LOG, 0x8700, NULL},
    [MHC_NAME_LOG_START] = {LOG, 0x8706, NULL},
    [MHC_NAME_LOG_DURATION] = {LOG, 0x8707, NULL},
    [MHC_NAME_LOG_END] = {LOG, 0x8708, NULL},
};

enum {
    BUCKETS = 251,
    TAG_BUCKET_COUNT = 0x00010003,
    TAG_GUIDS = 0x00020102,
    TAG_ENTRIES = 0x00030102,
    TAG_TEXTS = 0x00040102,
    TAG_FIRST_BUCKET = 0x10000102,
    ENTRY_BYTES = 8,
    GUID_OF_STRINGS = 2, /* has a number of its own; 3 is the first in the list */
    GUID_FIRST = 3,
};

/* Which GUID, and whether the name is a text (2.4.7.1). */
static unsigned guid_word(size_t i)
{
    unsigned index = names[i].set == PUBLIC_STRINGS ? (unsigned)GUID_OF_STRINGS
                                                    : (unsigned)names[i].set - 1 + GUID_FIRST;
    return index << 1 | (names[i].text != NULL ? 1 : 0);
}

static void put_entry(struct mhc_buf *buf, size_t i, uint32_t id)
{
    uint8_t entry[ENTRY_BYTES];
    pst_put_u32(entry, id);
    pst_put_u16(entry + 4, guid_word(i));
    pst_put_u16(entry + 6, (unsigned)i);
    mhc_buf_add(buf, entry, sizeof(entry));
}

/* Length and UTF-16, padded to four octets; `*crc_out` is that of the text. */
static uint32_t put_name(struct mhc_buf *texts, const char *name, uint32_t *crc_out)
{
    uint32_t at = (uint32_t)texts->len;
    mhc_buf_fill(texts, 0, 4);
    mhc_text_to(texts, "UTF-16LE", name, strlen(name));
    uint32_t len = (uint32_t)texts->len - at - 4;
    pst_put_u32((uint8_t *)texts->data + at, len);
    *crc_out = pst_crc(texts->data + at + 4, len);
    mhc_buf_fill(texts, 0, (4 - texts->len % 4) % 4);
    return at;
}

void mhc_names_put(struct mhc_props *props)
{
    struct mhc_buf entries = {0};
    struct mhc_buf texts = {0};
    struct mhc_buf buckets[BUCKETS] = {{0}};
    for (size_t i = 0; i < MHC_NAME_COUNT; i++) {
        uint32_t id = names[i].number;
        uint32_t hashed = id;
        if (names[i].text != NULL) {
            id = put_name(&texts, names[i].text, &hashed);
        }
        put_entry(&entries, i, id);
        put_entry(&buckets[(hashed ^ guid_word(i)) % BUCKETS], i, hashed);
    }
    mhc_props_i32(props, TAG_BUCKET_COUNT, BUCKETS);
    mhc_props_bytes(props, TAG_GUIDS, guids[HEADERS], sizeof(guids) - sizeof(guids[0]));
    mhc_props_bytes(props, TAG_ENTRIES, entries.data, entries.len);
    mhc_props_bytes(props, TAG_TEXTS, texts.data, texts.len);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        if (buckets[i].len > 0) {
            mhc_props_bytes(props, TAG_FIRST_BUCKET + (i << 16), buckets[i].data, buckets[i].len);
        }
        mhc_buf_done(&buckets[i]);
    }
    mhc_buf_done(&entries);
    mhc_buf_done(&texts);
}
