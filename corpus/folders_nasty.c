/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "folders.h"
#include "nasty.h"

#include <stdio.h>
#include <string.h>

enum {
    DEEP_LEVELS = 60,   /* fault row 22 */
    LONG_BYTES = 200,   /* long, yet within every store */
    LONGER_BYTES = 240, /* just within the 255 bytes of a directory name */
    HOLDERS = 2,        /* folders of the tree that share the awkward messages with INBOX */
    LONG_CJK = 66,      /* 198 bytes of UTF-8, 178 of modified UTF-7 */
};

enum trait {
    HOLDER = 1, /* the awkward messages lie here */
    EMPTY = 2,
    RAW = 4, /* the name goes to the store as it stands */
    UNSUBSCRIBED = 8,
};

struct nasty_folder {
    const char *path;
    const char *role;
    unsigned traits;
};

static const struct nasty_folder tree[] = {
    /* Roles: some set, some to be guessed from a localised name, some not at all. */
    {"Gesendet", "\\Sent", 0},
    {"Entwürfe", "\\Drafts", 0},
    {"Papierkorb", "\\Trash", 0},
    {"Spamverdacht", "\\Junk", 0},
    {"Archive", "\\Archive", HOLDER}, /* counted in HOLDERS */
    {"Éléments envoyés", NULL, 0},
    {"Corbeille", NULL, EMPTY},
    {"Отправленные", NULL, HOLDER}, /* counted in HOLDERS */
    {"送信済みアイテム", NULL, 0},
    /* Scripts. */
    {"보낸 편지함", NULL, 0},
    {"الرسائل الواردة", NULL, 0},
    {"דואר נכנס", NULL, UNSUBSCRIBED},
    {"हिंदी फ़ोल्डर", NULL, 0},
    {"Ελληνικά", NULL, EMPTY},
    {"กล่องจดหมาย", NULL, 0},
    {"📬 Inbox zero 🎉", NULL, 0},
    {"👨‍👩‍👧‍👦", NULL, EMPTY},
    /* Characters that IMAP, shells or stores give a meaning to. */
    {"trailing space ", NULL, 0},
    {" leading space", NULL, 0},
    {"two  spaces", NULL, EMPTY},
    {"~tilde", NULL, 0},
    {"quo\"te", NULL, 0},
    {"back\\slash", NULL, 0},
    {"per%cent", NULL, 0},
    {"st*r", NULL, UNSUBSCRIBED},
    {"R&D", NULL, 0},
    {"&", NULL, EMPTY},
    {"A&-B", NULL, 0},
    {"(paren) {3}", NULL, 0},
    {"{10}", NULL, EMPTY},
    {"NIL", NULL, 0},
    {"#news", NULL, EMPTY},
    {"esc\033[31mred", NULL, 0},
    {"bell\aand\ttab", NULL, EMPTY},
    {"bidi \xe2\x80\xaegnp_exe", NULL, EMPTY},
    {"zero\xe2\x80\x8bwidth", NULL, EMPTY},
    /* Separators of other servers, and what looks like a path. */
    {"dot.ted", NULL, 0},
    {"sla/sh", NULL, 0},
    {"car^et", NULL, 0},
    {".leading dot", NULL, 0},
    {"..", NULL, 0},
    {"../../escape", NULL, 0},
    /* Names that fall together: by letter case, by Unicode form, by looking like INBOX. */
    {"Projekte", NULL, 0},
    {"projekte", NULL, 0},
    {"PROJEKTE", NULL, 0},
    {"Caf\xc3\xa9", NULL, 0},
    {"Cafe\xcc\x81", NULL, 0},
    {"INBOX\nchild", NULL, 0},
    {"InBoX\nother child", NULL, 0},
    {"Archive\nINBOX", NULL, 0},
    {"INBOXes", NULL, EMPTY},
    {"subscriptions", NULL, EMPTY},
    /* A parent that exists only through its child, and empty folders all the way down. */
    {"no parent\nchild", NULL, 0},
    {"Empty\nNested\nDeeper", NULL, EMPTY},
    /* Modified UTF-7 that no encoder writes (RFC 3501 section 5.1.3). */
    {"shift only &", NULL, RAW},
    {"unterminated &AOk", NULL, RAW},
    {"twice &AOk-&AOk-", NULL, RAW},
    {"needless &AGE-", NULL, RAW | EMPTY},
    {"hidden dot &AC4-", NULL, RAW | EMPTY},
    {"lone surrogate &2D3-", NULL, RAW | EMPTY},
    {"not base64 &!!!-", NULL, RAW | EMPTY},
    {"raw latin \xe9t\xe9", NULL, RAW},
    {"raw utf-8 \xc3\xa9t\xc3\xa9", NULL, RAW},
};

static void add_marked(struct mhc_folder_list *list, const char *path, uint64_t *next_marker)
{
    struct mhc_folder *folder = mhc_folders_add(list, path, NULL);
    folder->first = (*next_marker)++;
    folder->messages = 1;
}

/* Sixty levels whose whole name still fits a Maildir++ directory. */
static void add_deep(struct mhc_folder_list *list, uint64_t *next_marker)
{
    char path[DEEP_LEVELS * 4 + 1];
    size_t len = 0;
    for (int level = 1; level <= DEEP_LEVELS; level++) {
        len += (size_t)snprintf(path + len, sizeof(path) - len, "%sd%02d", level > 1 ? "\n" : "",
                                level);
    }
    add_marked(list, path, next_marker);
}

static void add_long(struct mhc_folder_list *list, uint64_t *next_marker)
{
    char path[LONGER_BYTES + 1];
    for (size_t size = LONG_BYTES; size <= LONGER_BYTES; size += LONGER_BYTES - LONG_BYTES) {
        memset(path, size == LONG_BYTES ? 'l' : 'x', size);
        path[size] = '\0';
        add_marked(list, path, next_marker);
    }
    for (size_t i = 0; i < LONG_CJK; i++) {
        memcpy(path + 3 * i, "\xe6\xbc\xa2", 4);
    }
    add_marked(list, path, next_marker);
}

/*
 * The index space: the awkward cases first, shared out over INBOX and the holders; then one marker
 * message for every odd folder that is not empty; then the ordinary ones that were asked for.
 */
void mhc_folders_plan_nasty(struct mhc_folder_list *list, const struct mhc_profile *profile)
{
    const uint64_t cases = mhc_nasty_count();
    const uint64_t share = cases / (HOLDERS + 1);
    uint64_t next_case = cases - HOLDERS * share;
    uint64_t next_marker = cases;
    list->items[0].messages = next_case;
    for (size_t i = 0; i < MHC_COUNT(tree); i++) {
        struct mhc_folder *folder = mhc_folders_add(list, tree[i].path, tree[i].role);
        folder->is_raw = (tree[i].traits & RAW) != 0;
        folder->is_subscribed = (tree[i].traits & UNSUBSCRIBED) == 0;
        if ((tree[i].traits & HOLDER) != 0) {
            folder->first = next_case;
            folder->messages = share;
            next_case += share;
        } else if ((tree[i].traits & EMPTY) == 0) {
            folder->first = next_marker++;
            folder->messages = 1;
        }
    }
    add_deep(list, &next_marker);
    add_long(list, &next_marker);
    if (profile->messages > 0) {
        struct mhc_folder *folder = mhc_folders_add(list, "Ordinary", NULL);
        folder->first = next_marker;
        folder->messages = profile->messages;
    }
}
