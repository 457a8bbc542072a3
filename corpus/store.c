/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store.h"

#include <stdlib.h>
#include <string.h>

void mhc_items_add(struct mhc_item_list *list, const char *id, size_t id_len, unsigned flags)
{
    const size_t step = 1024;
    if (list->count % step == 0) {
        list->items = mhc_realloc(list->items, (list->count + step) * sizeof(*list->items));
    }
    struct mhc_item *item = &list->items[list->count++];
    item->id = mhc_alloc(id_len + 1);
    memcpy(item->id, id, id_len);
    item->flags = flags;
}

void mhc_items_done(struct mhc_item_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].id);
    }
    free(list->items);
    *list = (struct mhc_item_list){0};
}
