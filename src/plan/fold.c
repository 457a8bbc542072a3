/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Text without letter case, to find names that a target may take for one. */
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

/*
 * Simple case folding (Unicode CaseFolding.txt, status C and S) of the scripts people name folders
 * in. A range adds `add` to every step-th character from `first` on. What is missing here folds to
 * itself: the cost is a warning that does not come.
 */
static const struct {
    uint32_t first, last, step;
    int32_t add;
} folds[] = {
    {'A', 'Z', 1, 32},       {0x00C0, 0x00D6, 1, 32},   {0x00D8, 0x00DE, 1, 32},
    {0x0100, 0x012E, 2, 1},  {0x0132, 0x0136, 2, 1},    {0x0139, 0x0147, 2, 1},
    {0x014A, 0x0176, 2, 1},  {0x0178, 0x0178, 1, -121}, {0x0179, 0x017D, 2, 1},
    {0x01CD, 0x01DB, 2, 1},  {0x0200, 0x021E, 2, 1},    {0x0386, 0x0386, 1, 38},
    {0x0388, 0x038A, 1, 37}, {0x038C, 0x038C, 1, 64},   {0x038E, 0x038F, 1, 63},
    {0x0391, 0x03A1, 1, 32}, {0x03A3, 0x03AB, 1, 32},   {0x03C2, 0x03C2, 1, 1},
    {0x0400, 0x040F, 1, 80}, {0x0410, 0x042F, 1, 32},   {0x0460, 0x0480, 2, 1},
    {0x048A, 0x04BE, 2, 1},  {0x04C1, 0x04CD, 2, 1},    {0x04D0, 0x052E, 2, 1},
    {0x0531, 0x0556, 1, 48}, {0x1E00, 0x1E94, 2, 1},    {0x1EA0, 0x1EFE, 2, 1},
    {0xFF21, 0xFF3A, 1, 32},
};

static uint32_t fold_point(uint32_t c)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(folds) && c >= folds[i].first; i++) {
        if (c <= folds[i].last && (c - folds[i].first) % folds[i].step == 0)
            return (uint32_t)((int64_t)c + folds[i].add);
    }
    return c;
}

char *plan_fold(const char *text)
{
    struct mh_buf b = MH_BUF_INIT;
    size_t len = strlen(text);
    for (size_t i = 0; i < len;) {
        const unsigned char *s = (const unsigned char *)text + i;
        size_t seq = mh_utf8_seq(text + i, len - i);
        if (seq == 1)
            (void)mh_buf_add_utf8(&b, fold_point(s[0]));
        else if (seq == 2)
            (void)mh_buf_add_utf8(&b, fold_point((s[0] & 0x1fu) << 6 | (s[1] & 0x3fu)));
        else if (seq == 3)
            (void)mh_buf_add_utf8(
                &b, fold_point((s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu)));
        else /* above the basic plane, or no UTF-8: as it is */
            mh_buf_add(&b, text + i, seq ? seq : 1);
        i += seq ? seq : 1;
    }
    return mh_buf_take(&b);
}

void plan_lower_in_place(char *text)
{
    for (char *p = text; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
    }
}

char *plan_lower(const char *text)
{
    char *copy = mh_strdup(text);
    if (copy)
        plan_lower_in_place(copy);
    return copy;
}
