/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct known_folder {
    const char *path;
    const char *role;
    unsigned weight; /* share of what lies outside INBOX */
};

static const struct known_folder usual[] = {
    {"Sent", "\\Sent", 30},    {"Archive", "\\Archive", 22}, {"Trash", "\\Trash", 10},
    {"Drafts", "\\Drafts", 2}, {"Junk", "\\Junk", 8},
};

/* A parent and its child, so that any window of pairs is a whole tree. */
static const char *const pairs[][2] = {
    {"Projekte", "Projekte\nÜbergabe 2023"},
    {"Clients & Partenaires", "Clients & Partenaires\nÀ relancer"},
    {"Listes", "Listes\nDéveloppement"},
    {"Рабочая почта", "Рабочая почта\nДоговоры"},
    {"家族", "家族\n写真"},
    {"Rechnungen", "Rechnungen\n2019\nBezahlt"},
    {"Viajes", "Viajes\nAño 2022"},
    {"Newsletters", "Newsletters\nUnread later"},
    {"고객", "고객\n견적서"},
    {"Zarządzanie", "Zarządzanie\nUmowy (ważne)"},
    {"Προσωπικά", "Προσωπικά\nΛογαριασμοί"},
    {"Vorstand", "Vorstand\nProtokolle\nEntwürfe"},
};

struct mhc_folder *mhc_folders_add(struct mhc_folder_list *list, const char *path, const char *role)
{
    const size_t step = 32;
    if (list->count % step == 0) {
        list->items = mhc_realloc(list->items, (list->count + step) * sizeof(*list->items));
    }
    struct mhc_folder *folder = &list->items[list->count++];
    *folder = (struct mhc_folder){.path = mhc_strdup(path), .role = role, .is_subscribed = true};
    return folder;
}

void mhc_folders_done(struct mhc_folder_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].path);
    }
    free(list->items);
    *list = (struct mhc_folder_list){0};
}

static void add_numbered(struct mhc_folder_list *list, size_t number)
{
    char path[64];
    snprintf(path, sizeof(path), "Ablage%cOrdner %05zu für später", MHC_LEVEL, number);
    mhc_folders_add(list, path, NULL);
}

/* The folders beside INBOX, up to `wanted`: the usual ones, pairs, then numbered ones. */
static void add_named(struct mhc_folder_list *list, size_t wanted, uint64_t mailbox)
{
    const size_t pair_folders = 2 * MHC_COUNT(pairs);
    size_t window = (size_t)(mailbox * 5 % MHC_COUNT(pairs));
    for (size_t i = 0; list->count < wanted; i++) {
        if (i < MHC_COUNT(usual)) {
            mhc_folders_add(list, usual[i].path, usual[i].role);
        } else if (i - MHC_COUNT(usual) < pair_folders) {
            size_t at = i - MHC_COUNT(usual);
            mhc_folders_add(list, pairs[(window + at / 2) % MHC_COUNT(pairs)][at % 2], NULL);
        } else {
            add_numbered(list, i - MHC_COUNT(usual) - pair_folders + 1);
        }
    }
}

/* What folder `index` (INBOX is 0) weighs of the mail outside INBOX; one folder stays empty. */
static uint64_t weight_of(size_t index, size_t count, uint64_t mailbox)
{
    if (index >= 1 && index <= MHC_COUNT(usual)) {
        return usual[index - 1].weight;
    }
    bool is_empty = index + 1 == count && count > MHC_COUNT(usual) + 2;
    return is_empty ? 0 : 2 + (index * 7 + mailbox * 3) % 9;
}

/* Shares `messages` out by weight, without remainder, and numbers them through. */
static void share_out(struct mhc_folder_list *list, uint64_t messages, unsigned inbox_part,
                      uint64_t mailbox)
{
    uint64_t inbox = list->count > 1 ? messages * inbox_part / 100 : messages;
    uint64_t outside = messages - inbox;
    uint64_t weight_sum = 0;
    for (size_t i = 1; i < list->count; i++) {
        weight_sum += weight_of(i, list->count, mailbox);
    }
    list->items[0].messages = inbox;
    uint64_t weight_before = 0;
    for (size_t i = 1; i < list->count; i++) {
        uint64_t weight_after = weight_before + weight_of(i, list->count, mailbox);
        uint64_t from = outside * weight_before / weight_sum;
        list->items[i].first = inbox + from;
        list->items[i].messages = outside * weight_after / weight_sum - from;
        weight_before = weight_after;
    }
}

void mhc_folders_plan(struct mhc_folder_list *list_out, const struct mhc_profile *profile,
                      uint64_t mailbox)
{
    *list_out = (struct mhc_folder_list){0};
    mhc_folders_add(list_out, "INBOX", NULL);
    if (profile->is_nasty) {
        mhc_folders_plan_nasty(list_out, profile);
        return;
    }
    add_named(list_out, profile->folders, mailbox);
    share_out(list_out, profile->messages, profile->inbox_part, mailbox);
    for (size_t i = 8; i < list_out->count; i += 5) {
        list_out->items[i].is_subscribed = false;
    }
}

static uint32_t decode_utf8(const char *bytes, size_t len)
{
    static const unsigned char first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (unsigned char)bytes[0] & first_mask[len];
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | ((unsigned char)bytes[i] & 0x3f);
    }
    return code;
}

/* The open base64 run of a modified UTF-7 name. */
struct utf7_run {
    uint32_t bits;
    unsigned bit_count;
    bool is_open;
};

static void utf7_digit(struct mhc_buf *buf, uint32_t six_bits)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    mhc_buf_putc(buf, alphabet[six_bits & 63]);
}

/* Adds one UTF-16 unit; up to 4 bits stay behind for the next one. */
static void utf7_unit(struct mhc_buf *buf, struct utf7_run *run, uint32_t unit)
{
    if (!run->is_open) {
        mhc_buf_putc(buf, '&');
        run->is_open = true;
    }
    run->bits = run->bits << 16 | unit;
    run->bit_count += 16;
    while (run->bit_count >= 6) {
        run->bit_count -= 6;
        utf7_digit(buf, run->bits >> run->bit_count);
    }
}

static void utf7_close(struct mhc_buf *buf, struct utf7_run *run)
{
    if (!run->is_open) {
        return;
    }
    if (run->bit_count > 0) {
        utf7_digit(buf, run->bits << (6 - run->bit_count));
    }
    mhc_buf_putc(buf, '-');
    *run = (struct utf7_run){0};
}

void mhc_utf7_encode(struct mhc_buf *buf, const char *utf8, size_t len)
{
    struct utf7_run run = {0};
    for (size_t at = 0; at < len;) {
        size_t step = mhc_utf8_length(utf8 + at, len - at);
        if (step == 0) {
            step = 1;
        }
        uint32_t code = decode_utf8(utf8 + at, step);
        at += step;
        if (code >= 0x20 && code <= 0x7e) {
            utf7_close(buf, &run);
            mhc_buf_putc(buf, (char)code);
            mhc_buf_puts(buf, code == '&' ? "-" : "");
        } else if (code > 0xffff) {
            utf7_unit(buf, &run, 0xd800 + ((code - 0x10000) >> 10));
            utf7_unit(buf, &run, 0xdc00 + ((code - 0x10000) & 0x3ff));
        } else {
            utf7_unit(buf, &run, code);
        }
    }
    utf7_close(buf, &run);
}

void mhc_folder_print(struct mhc_buf *buf, const struct mhc_folder *folder)
{
    const char *at = folder->path;
    for (;;) {
        const char *end = strchr(at, MHC_LEVEL);
        size_t len = end != NULL ? (size_t)(end - at) : strlen(at);
        mhc_buf_add_escaped(buf, at, len, "/%");
        if (end == NULL) {
            return;
        }
        mhc_buf_putc(buf, '/');
        at = end + 1;
    }
}
