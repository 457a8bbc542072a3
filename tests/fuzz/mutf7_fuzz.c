/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Mailbox names: what decodes must encode to the very same bytes, what encodes must decode to the
 * same text, and a refusal leaves the buffer as it was.
 */
#include <string.h>

#include "base/str.h"
#include "fuzz.h"
#include "wire/mutf7.h"

static bool equals(const struct mh_buf *b, const char *s, size_t len)
{
    return b->len == len && (len == 0 || memcmp(b->data, s, len) == 0);
}

static void expect_kept(const struct mh_buf *b)
{
    mh_assert(equals(b, "kept", 4) && b->data[4] == '\0');
}

static void decode_then_encode(const char *name, size_t len)
{
    struct mh_buf text = MH_BUF_INIT;
    struct mh_buf again = MH_BUF_INIT;
    mh_buf_adds(&text, "kept");
    if (mh_mutf7_decode(name, len, &text)) {
        const char *utf8 = text.data + 4;
        size_t utf8_len = text.len - 4;
        mh_assert(mh_utf8_valid(utf8, utf8_len) && strlen(utf8) == utf8_len);
        mh_assert(mh_mutf7_encode(utf8, utf8_len, &again));
        mh_assert(equals(&again, name, len));
    } else {
        expect_kept(&text);
    }
    mh_buf_done(&text);
    mh_buf_done(&again);
}

static void encode_then_decode(const char *utf8, size_t len)
{
    struct mh_buf name = MH_BUF_INIT;
    struct mh_buf again = MH_BUF_INIT;
    mh_buf_adds(&name, "kept");
    if (mh_mutf7_encode(utf8, len, &name)) {
        for (size_t i = 4; i < name.len; i++)
            mh_assert(name.data[i] >= 0x20 && name.data[i] < 0x7f);
        mh_assert(mh_mutf7_decode(name.data + 4, name.len - 4, &again));
        mh_assert(equals(&again, utf8, len));
    } else {
        mh_assert(!mh_utf8_valid(utf8, len) || memchr(utf8, '\0', len));
        expect_kept(&name);
    }
    mh_buf_done(&name);
    mh_buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *s = size ? (const char *)data : "";
    decode_then_encode(s, size);
    encode_then_decode(s, size);
    return 0;
}
