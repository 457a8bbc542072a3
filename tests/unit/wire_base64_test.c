/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include <string.h>

#include "wire/base64.h"

/* RFC 4648 section 10, and binary. */
static const struct {
    const char *plain;
    size_t len;
    const char *encoded;
} vectors[] = {
    {"", 0, ""},
    {"f", 1, "Zg=="},
    {"fo", 2, "Zm8="},
    {"foo", 3, "Zm9v"},
    {"foob", 4, "Zm9vYg=="},
    {"fooba", 5, "Zm9vYmE="},
    {"foobar", 6, "Zm9vYmFy"},
    {"\0user\0pass", 10, "AHVzZXIAcGFzcw=="},
    {"\xff\xfe\xfb\xef", 4, "//777w=="},
};

Test(wire_base64, vectors)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(vectors); i++) {
        struct mh_buf b = MH_BUF_INIT;
        mh_base64_encode(vectors[i].plain, vectors[i].len, &b);
        cr_expect_str_eq(mh_buf_str(&b), vectors[i].encoded);
        mh_buf_reset(&b);
        mh_buf_adds(&b, "x");
        cr_expect(mh_base64_decode(vectors[i].encoded, strlen(vectors[i].encoded), &b));
        cr_expect_eq(b.len, vectors[i].len + 1);
        cr_expect_eq(memcmp(b.data + 1, vectors[i].plain, vectors[i].len), 0, "\"%s\"",
                     vectors[i].encoded);
        mh_buf_done(&b);
    }
}

Test(wire_base64, refused)
{
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",      "Zg===",     "====",     "Z===",       "=Zg=",     "Zg==Zg==",
        "Zh==", "Zm9=", "Zm9v\r\n", "Zm9v Zg==", "Zm9v-_8=", "Zm\xc3\xbc", "Zm9vZg=A",
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(bad); i++) {
        struct mh_buf b = MH_BUF_INIT;
        mh_buf_adds(&b, "kept");
        cr_expect_not(mh_base64_decode(bad[i], strlen(bad[i]), &b), "\"%s\"", bad[i]);
        cr_expect_str_eq(mh_buf_str(&b), "kept", "\"%s\"", bad[i]);
        mh_buf_done(&b);
    }
    struct mh_buf empty = MH_BUF_INIT;
    cr_expect_not(mh_base64_decode("Zm9\0", 4, &empty));
    mh_buf_done(&empty);
}

Test(wire_base64, all_lengths_and_bytes_round_trip)
{
    unsigned char data[257];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 167 + 13);
    for (size_t len = 0; len <= sizeof data; len++) {
        struct mh_buf text = MH_BUF_INIT;
        struct mh_buf back = MH_BUF_INIT;
        mh_base64_encode(data, len, &text);
        cr_assert_eq(text.len, (len + 2) / 3 * 4);
        cr_assert(mh_base64_decode(mh_buf_str(&text), text.len, &back));
        cr_assert_eq(back.len, len);
        cr_assert_eq(memcmp(mh_buf_str(&back), data, len), 0);
        mh_buf_done(&text);
        mh_buf_done(&back);
    }
}
