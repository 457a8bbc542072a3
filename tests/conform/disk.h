/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For tests of what connectors for files read and leave on the disk: shell commands in the scratch
 * folder, sessions on what is in there, and all of a folder's mail at once.
 */
#ifndef MH_TESTS_CONFORM_DISK_H
#define MH_TESTS_CONFORM_DISK_H

#include <stdarg.h>

#include "rig.h"

/* Runs commands in the scratch folder, to the first that fails; its exit code. */
static inline int shell_rc(const struct rig *r, const char *command)
{
    char *in_dir = mh_asprintf("set -e; cd '%s'; %s", r->dir, command);
    int rc = system(in_dir);
    mh_free(in_dir);
    return rc;
}

static inline void shell(const struct rig *r, const char *command)
{
    cr_assert_eq(shell_rc(r, command), 0, "%s", command);
}

static inline void write_disk(const struct rig *r, const char *name, const char *text, size_t len)
{
    char *path = mh_asprintf("%s/%s", r->dir, name);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fwrite(text, 1, len, f), len);
    cr_assert_eq(fclose(f), 0);
    mh_free(path);
}

/* A session on NAME in the scratch folder; EP is the caller's. */
static inline struct mh_session *open_disk(struct rig *r, const struct mh_connector *c,
                                           const char *name, bool create, struct mh_endpoint *ep)
{
    struct mh_session *s = NULL;
    mh_endpoint_init(ep);
    ep->type = mh_strdup(c->name);
    ep->path = mh_asprintf("%s/%s", r->dir, name);
    ASSERT_OK(c->open(ep, &r->env, create, &s, &err));
    return s;
}

/* A folder's mail, fetched: the caller's to free. All zero is an empty one. */
struct box {
    struct mh_scan scan;
    const struct mh_item **items;
    struct collector got;
};

static inline void box_scan(const struct mh_connector *c, struct mh_session *s,
                            const struct mh_folder *f, struct box *box)
{
    scan_folder(c, s, f, &box->scan);
    box->items = item_list(&box->scan);
    collector_init(&box->got);
}

static inline void box_fetch(const struct mh_connector *c, struct mh_session *s, struct box *box)
{
    ASSERT_OK(c->fetch(s, box->items, box->scan.n, &box->got.sink, &err));
    cr_assert_eq(box->got.n, box->scan.n);
}

static inline void box_read(const struct mh_connector *c, struct mh_session *s,
                            const struct mh_folder *f, struct box *box)
{
    box_scan(c, s, f, box);
    box_fetch(c, s, box);
}

static inline void box_free(struct box *box)
{
    collector_free(&box->got);
    free(box->items);
    mh_scan_done(&box->scan);
    *box = (struct box){.items = NULL};
}

/* The place of the message with exactly this text; the test fails when there is none. */
static inline size_t box_find(const struct box *box, const char *text, size_t len)
{
    for (size_t i = 0; i < box->got.n; i++)
        if (!box->got.v[i].missed && box->got.v[i].bytes.len == len &&
            memcmp(box->got.v[i].bytes.data, text, len) == 0)
            return i;
    cr_assert_fail("no message is: %.*s", (int)len, text);
    return 0;
}

static inline const char *box_keywords(const struct box *box, size_t i)
{
    return mh_kwsets_text(box->scan.kwsets, box->items[i]->kwset);
}

/* A message as it is to be found, however a file has it. */
struct want {
    const char *text;
    uint8_t flags;
    const char *keywords;
    uint64_t size;
    int64_t unix_s;
};

static inline void box_expect(const struct box *box, const struct want *want, size_t n)
{
    cr_assert_eq(box->scan.n, n);
    for (size_t i = 0; i < n; i++) {
        size_t at = box_find(box, want[i].text, strlen(want[i].text));
        const struct mh_item *item = box->items[at];
        cr_expect_eq(item->flags, want[i].flags, "%zu", i);
        cr_expect_str_eq(box_keywords(box, at), want[i].keywords, "%zu", i);
        cr_expect_eq(item->size, want[i].size, "%zu: %llu", i, (unsigned long long)item->size);
        cr_expect_eq(item->date.unix_s, want[i].unix_s, "%zu", i);
    }
}

/* --- an archive with a session on it ---------------------------------------------------------- */

struct disk {
    struct rig *r;
    const struct mh_connector *c;
    struct mh_endpoint ep;
    struct mh_session *s; /* NULL between disk_leave() and disk_enter() */
    struct mh_folders list;
    struct box box; /* of the folder that was read last */
};

static inline void disk_open(struct disk *d, struct rig *r, const struct mh_connector *c,
                             const char *name, bool create)
{
    *d = (struct disk){.r = r, .c = c, .list = MH_FOLDERS_INIT};
    d->s = open_disk(r, c, name, create, &d->ep);
}

static inline void disk_leave(struct disk *d)
{
    d->c->close(d->s);
    d->s = NULL;
}

/* Another session on the same archive. */
static inline void disk_enter(struct disk *d, bool create)
{
    ASSERT_OK(d->c->open(&d->ep, &d->r->env, create, &d->s, &err));
}

static inline void disk_close(struct disk *d)
{
    box_free(&d->box);
    mh_folders_done(&d->list);
    disk_leave(d); /* closing NULL does nothing */
    mh_endpoint_done(&d->ep);
}

/* Lists the folders; the one at PATH or NULL. */
static inline const struct mh_folder *disk_list(struct disk *d, const char *path)
{
    mh_folders_done(&d->list);
    ASSERT_OK(d->c->list(d->s, MH_LIST_STATUS, &d->list, &err));
    return mh_folders_find(&d->list, path);
}

static inline void disk_read(struct disk *d, const struct mh_folder *f)
{
    box_free(&d->box);
    box_read(d->c, d->s, f, &d->box);
}

/* The same, with COMMAND run between the scan, which finds N messages, and the fetch. */
static inline void disk_read_around(struct disk *d, const struct mh_folder *f, size_t n,
                                    const char *command)
{
    box_free(&d->box);
    box_scan(d->c, d->s, f, &d->box);
    cr_assert_eq(d->box.scan.n, n);
    shell(d->r, command);
    box_fetch(d->c, d->s, &d->box);
}

/* Appends N messages, a few octets at a time, and waits for their verdicts: the caller's to free. */
static inline void disk_append(struct disk *d, const struct mh_folder *f, const struct mail *mails,
                               size_t n, struct verdicts *vs)
{
    verdicts_init(vs, n);
    ASSERT_OK(d->c->append_open(d->s, f, &vs->sink, &err));
    for (size_t i = 0; i < n; i++)
        ASSERT_OK(send_mail(d->r, d->c, d->s, &mails[i], i, 5, &err));
    ASSERT_OK(d->c->append_flush(d->s, &err));
    cr_assert_eq(vs->n, n);
}

/* --- line ends -------------------------------------------------------------------------------- */

/* How a message's octets in a file become its octets: the rule all file connectors share. */
static const struct form_case {
    const char *name, *in, *out;
} form_cases[] = {
    {"LF becomes CRLF", "a: b\n\nc\n", "a: b\r\n\r\nc\r\n"},
    {"LF without a last one", "a: b\n\nc", "a: b\r\n\r\nc"},
    {"CRLF stays", "a: b\r\n\r\nc\r\n", "a: b\r\n\r\nc\r\n"},
    {"mixed stays", "a: b\r\n\nc\n", "a: b\r\n\nc\n"},
    {"CR stays", "a: b\r\rc\r", "a: b\r\rc\r"},
    {"CR in LF text stays", "a: b\n\nc\rd\n", "a: b\r\n\r\nc\rd\r\n"},
    {"no line end", "abc", "abc"},
};

#endif
