/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store: what is written is read, in order, after closing, beside a reader, under a lock. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "state/schema.h"
#include "state_store.h"

TestSuite(state, .init = store_make, .fini = scratch_drop);

static uint32_t make_folder(struct mh_state *st, uint32_t mailbox, const char *src)
{
    struct mh_err err;
    struct mh_state_folder f = {.id = mh_state_new_folder_id(st),
                                .mailbox = mailbox,
                                .src_path = (char *)src,
                                .dst_path = (char *)"Ziel",
                                .dst_native = (char *)"Z&APw-",
                                .src_uidvalidity = 7,
                                .dst_uidvalidity = 4000000000u,
                                .src_uidnext = 100,
                                .src_messages = 3,
                                .src_highestmodseq = UINT64_C(9007199254740993),
                                .src_object_id = INT64_MAX,
                                .target_uidnext = 12,
                                .complete = true};
    cr_assert_eq(mh_state_put_folder(st, &f, &err), MH_OK);
    return f.id;
}

static void put_items(struct mh_state *st, uint32_t folder, uint64_t first, unsigned n)
{
    struct mh_err err;
    while (n) {
        struct mh_state_batch *b = NULL;
        cr_assert_eq(mh_state_batch_get(st, folder, &b, &err), MH_OK);
        for (; n && b->n < MH_STATE_BATCH_ROWS; n--, first++) {
            struct mh_state_item *i = &b->rows[b->n++];
            *i = (struct mh_state_item){.src_uid = first,
                                        .dst_uid = first + 1000,
                                        .size = first * 10,
                                        .date = {.unix_s = -5, .zone_min = -210, .is_set = true},
                                        .flags = MH_SEEN | MH_DELETED,
                                        .how = MH_HOW_MOVED,
                                        .theirs = MH_FLAGGED,
                                        .theirs_kw = 1,
                                        .object_id = INT64_MAX - first,
                                        .has_digest = true};
            mh_digest_of(&first, sizeof first, &i->digest);
        }
        cr_assert_eq(mh_state_batch_put(st, b, &err), MH_OK);
    }
}

Test(state, rows_come_back_after_closing)
{
    struct mh_err err;
    struct mh_state *st = open_store(false);
    uint32_t kw = 0;
    uint32_t mailbox = mailbox_of(st, "anna");
    uint32_t folder = make_folder(st, mailbox, "INBOX");
    cr_assert_eq(mh_state_kw_id(st, "$Forwarded NonJunk", &kw, &err), MH_OK);
    put_items(st, folder, 1, 1000);
    close_store(st);

    st = open_store(false);
    char text[128];
    struct mh_state_folders folders;
    struct mh_state_items items;
    uint32_t again = mailbox_of(st, "anna");
    cr_assert_eq(again, mailbox);
    cr_assert_eq(mh_state_folders(st, mailbox, &folders, &err), MH_OK);
    cr_assert_eq(folders.n, 1);
    cr_assert_str_eq(folders.v[0].src_path, "INBOX");
    cr_assert_str_eq(folders.v[0].dst_native, "Z&APw-");
    cr_assert_eq(folders.v[0].src_highestmodseq, UINT64_C(9007199254740993));
    cr_assert_eq(folders.v[0].dst_uidvalidity, 4000000000u);
    cr_assert_eq(folders.v[0].src_object_id, (uint64_t)INT64_MAX);
    cr_assert(folders.v[0].complete);
    cr_assert_eq(mh_state_items(st, folder, &items, &err), MH_OK);
    cr_assert_eq(items.n, 1000);
    for (size_t i = 0; i < items.n; i++)
        cr_assert_eq(items.v[i].src_uid, i + 1);
    const struct mh_state_item *one = mh_state_items_find(&items, 500);
    uint64_t key = 500;
    struct mh_digest want;
    mh_digest_of(&key, sizeof key, &want);
    cr_assert_not_null(one);
    cr_assert_eq(one->dst_uid, 1500);
    cr_assert_eq(one->date.unix_s, -5);
    cr_assert_eq(one->date.zone_min, -210);
    cr_assert_eq(one->how, MH_HOW_MOVED);
    cr_assert_eq(one->theirs, MH_FLAGGED);
    cr_assert_eq(one->theirs_kw, 1);
    cr_assert_eq(one->object_id, (uint64_t)INT64_MAX - 500);
    cr_assert(one->has_digest && memcmp(&one->digest, &want, sizeof want) == 0);
    cr_assert_null(mh_state_items_find(&items, 1001));
    cr_assert_str_eq(mh_state_kw_text(st, kw, text, sizeof text), "$Forwarded NonJunk");
    uint32_t same = 0;
    cr_assert_eq(mh_state_kw_id(st, "NonJunk $Forwarded", &same, &err), MH_OK);
    cr_assert_eq(same, kw);
    cr_assert_gt(mh_state_new_folder_id(st), folder, "numbers are never given twice");
    mh_state_items_done(&items);
    mh_state_folders_done(&folders);
    close_store(st);
}

Test(state, a_folder_is_written_again_and_cleared)
{
    struct mh_err err;
    struct mh_state *st = open_store(false);
    struct mh_state_items items;
    uint32_t mailbox = mailbox_of(st, "anna");
    uint32_t folder = make_folder(st, mailbox, "INBOX");
    put_items(st, folder, 1, 5);
    put_items(st, folder, 3, 5); /* rows 3-5 again */
    sync_store(st);
    cr_assert_eq(mh_state_items(st, folder, &items, &err), MH_OK);
    cr_assert_eq(items.n, 7);
    mh_state_items_done(&items);
    cr_assert_eq(mh_state_clear_items(st, folder, &err), MH_OK);
    sync_store(st);
    cr_assert_eq(mh_state_items(st, folder, &items, &err), MH_OK);
    cr_assert_eq(items.n, 0);
    mh_state_items_done(&items);
    close_store(st);
}

static int count_ledger(void *ctx, const char *src_path, const struct mh_ledger_row *row)
{
    cr_assert_str_eq(src_path, "INBOX");
    cr_assert_str_eq(row->reason, "too-big");
    (*(int *)ctx)++;
    return 0;
}

Test(state, the_ledger_keeps_one_row_a_message)
{
    struct mh_err err;
    struct mh_state *st = open_store(false);
    int n = 0;
    uint32_t mailbox = mailbox_of(st, "anna");
    uint32_t folder = make_folder(st, mailbox, "INBOX");
    struct mh_ledger_row row = {folder, 9, "failed", "refused", "once"};
    cr_assert_eq(mh_state_put_ledger(st, &row, &err), MH_OK);
    row = (struct mh_ledger_row){folder, 9, "skipped", "too-big", "again"};
    cr_assert_eq(mh_state_put_ledger(st, &row, &err), MH_OK);
    sync_store(st);
    cr_assert_eq(mh_state_ledger(st, mailbox, count_ledger, &n, &err), MH_OK);
    cr_assert_eq(n, 1);
    row.src_uid = 10;
    cr_assert_eq(mh_state_put_ledger(st, &row, &err), MH_OK);
    row.src_uid = 11;
    cr_assert_eq(mh_state_put_ledger(st, &row, &err), MH_OK);
    cr_assert_eq(mh_state_clear_ledger_item(st, folder, 10, &err), MH_OK);
    cr_assert_eq(mh_state_clear_ledger_item(st, folder, 4711, &err), MH_OK, "there is none");
    sync_store(st);
    n = 0;
    cr_assert_eq(mh_state_ledger(st, mailbox, count_ledger, &n, &err), MH_OK);
    cr_assert_eq(n, 2);
    cr_assert_eq(mh_state_clear_ledger(st, folder, &err), MH_OK);
    sync_store(st);
    n = 0;
    cr_assert_eq(mh_state_ledger(st, mailbox, count_ledger, &n, &err), MH_OK);
    cr_assert_eq(n, 0);
    close_store(st);
}

Test(state, a_second_run_is_locked_out_and_told_by_whom)
{
    struct mh_err err;
    struct mh_state *other = NULL;
    struct mh_state *st = open_store(false);
    char pid[32];
    cr_assert_eq(mh_state_open(store_path, false, &other, &err), MH_ELOCKED);
    (void)snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    cr_assert_not_null(strstr(err.text, pid), "%s", err.text);
    struct mh_state *reader = open_store(true);
    cr_assert_eq(
        mh_state_put_folder(reader, &(struct mh_state_folder){.src_path = (char *)"x"}, &err),
        MH_ERUN, "a reader never writes");
    close_store(reader);
    close_store(st);
    st = open_store(false);
    close_store(st);
}

static void refuse(const char *words)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    mh_err_reset(&err);
    cr_assert_neq(mh_state_open(store_path, false, &st, &err), MH_OK);
    cr_assert_not_null(strstr(err.text, words), "%s", err.text);
    cr_assert_not_null(strstr(err.text, store_path), "%s", err.text);
}

Test(state, a_file_that_is_no_database_is_refused)
{
    FILE *out = fopen(store_path, "w");
    cr_assert_not_null(out);
    for (int i = 0; i < 100; i++)
        (void)fputs("this is not a database, but a text of some length that says so\n", out);
    (void)fclose(out);
    refuse("not a database");
}

Test(state, a_database_of_another_program_is_refused)
{
    tell_file("CREATE TABLE x(y)");
    refuse("another program");
}

Test(state, a_newer_schema_is_refused)
{
    struct mh_state *st = open_store(false);
    close_store(st);
    tell_file("PRAGMA user_version = 99");
    refuse("newer");
}

Test(state, a_folder_that_cannot_be_written_is_named)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    (void)snprintf(store_path, sizeof store_path, "%s/none/state.db", scratch_dir);
    cr_assert_eq(mh_state_open(store_path, false, &st, &err), MH_ERUN);
    cr_assert_not_null(strstr(err.text, store_path), "%s", err.text);
    cr_assert_eq(mh_state_open(store_path, true, &st, &err), MH_ENOENT);
}

/* --- folders that change their names ----------------------------------------------------------------- */

static void put_path(struct mh_state *st, uint32_t mailbox, uint32_t id, const char *src_path)
{
    struct mh_err err;
    struct mh_state_folder f = {.id = id, .mailbox = mailbox, .src_path = (char *)src_path};
    cr_assert_eq(mh_state_put_folder(st, &f, &err), MH_OK);
}

/* "path=id" of all rows in order, numbers counted from FIRST, joined by blanks. */
static const char *paths(struct mh_state *st, uint32_t mailbox, uint32_t first)
{
    static char text[512];
    struct mh_err err;
    struct mh_state_folders l;
    size_t len = 0;
    text[0] = '\0';
    sync_store(st);
    cr_assert_eq(mh_state_folders(st, mailbox, &l, &err), MH_OK);
    for (size_t i = 0; i < l.n; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s=%u", i ? " " : "",
                                l.v[i].src_path, l.v[i].id - first);
    mh_state_folders_done(&l);
    return text;
}

Test(state, renames_in_any_order)
{
    static const struct {
        const char *name;
        struct {
            uint32_t id;
            const char *path;
        } puts[4];
        bool syncs_between;
        const char *want;
    } cases[] = {
        {"plain", {{1, "D"}}, false, "B=2 C=3 D=1"},
        {"chain, first end first", {{1, "B"}, {2, "C"}, {3, "D"}}, false, "B=1 C=2 D=3"},
        {"chain, last end first", {{3, "D"}, {2, "C"}, {1, "B"}}, false, "B=1 C=2 D=3"},
        {"chain over three transactions", {{1, "B"}, {2, "C"}, {3, "D"}}, true, "B=1 C=2 D=3"},
        {"ring", {{1, "B"}, {2, "C"}, {3, "A"}}, false, "A=3 B=1 C=2"},
        {"swap", {{2, "A"}, {1, "B"}}, false, "A=2 B=1 C=3"},
        {"onto a path whose row stays", {{1, "B"}}, false, "=2 B=1 C=3"},
        {"two onto one path", {{1, "C"}, {2, "C"}}, false, "=1 =3 C=2"},
        {"a new folder on an old path", {{4, "A"}}, false, "=1 A=4 B=2 C=3"},
        {"two that are gone", {{1, ""}, {2, ""}}, false, "=1 =2 C=3"},
        {"gone and back", {{1, ""}, {1, "A"}}, true, "A=1 B=2 C=3"},
        {"gone, put again as it is", {{1, ""}, {1, ""}}, true, "=1 B=2 C=3"},
        {"a path that reads like a number", {{1, "2"}, {2, ""}}, false, "=2 2=1 C=3"},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_err err;
        char name[16];
        struct mh_state *st = open_store(false);
        (void)snprintf(name, sizeof name, "user%zu", i);
        uint32_t mailbox = mailbox_of(st, name);
        uint32_t first = mh_state_new_folder_id(st) - 1;
        put_path(st, mailbox, first + 1, "A");
        put_path(st, mailbox, first + 2, "B");
        put_path(st, mailbox, first + 3, "C");
        for (size_t k = 0; k < MH_ARRAY_LEN(cases[i].puts) && cases[i].puts[k].path; k++) {
            put_path(st, mailbox, first + cases[i].puts[k].id, cases[i].puts[k].path);
            if (cases[i].syncs_between)
                cr_assert_eq(mh_state_sync(st, &err), MH_OK, "%s: %s", cases[i].name, err.text);
        }
        cr_expect_str_eq(paths(st, mailbox, first), cases[i].want, "%s", cases[i].name);
        close_store(st);
        st = open_store(false);
        cr_expect_str_eq(paths(st, mailbox, first), cases[i].want, "%s, opened again",
                         cases[i].name);
        close_store(st);
    }
}

Test(state, a_folder_without_a_path_keeps_its_rows)
{
    struct mh_err err;
    struct mh_state *st = open_store(false);
    struct mh_state_items items;
    int n = 0;
    uint32_t mailbox = mailbox_of(st, "anna");
    uint32_t other = mailbox_of(st, "berta");
    uint32_t old = make_folder(st, mailbox, "INBOX");
    uint32_t hers = make_folder(st, other, "INBOX");
    put_items(st, old, 1, 3);
    struct mh_ledger_row row = {old, 9, "skipped", "too-big", "text"};
    cr_assert_eq(mh_state_put_ledger(st, &row, &err), MH_OK);
    put_path(st, mailbox, mh_state_new_folder_id(st), "INBOX");
    sync_store(st);
    cr_assert_eq(mh_state_items(st, old, &items, &err), MH_OK);
    cr_assert_eq(items.n, 3);
    mh_state_items_done(&items);
    cr_assert_eq(mh_state_ledger(st, mailbox, count_ledger, &n, &err), MH_OK);
    cr_assert_eq(n, 0, "a folder that is not there has no open messages");
    cr_assert_str_eq(paths(st, other, hers - 1), "INBOX=1", "another mailbox's INBOX stays");
    put_path(st, mailbox, old, "INBOX");
    sync_store(st);
    cr_assert_eq(mh_state_ledger(st, mailbox, count_ledger, &n, &err), MH_OK);
    cr_assert_eq(n, 1);
    close_store(st);
}

/* --- some of a folder's items ------------------------------------------------------------------------- */

Test(state, items_of_some_uids)
{
    static const struct {
        const char *name;
        struct mh_uid_range in[3];
        size_t n_in;
        uint64_t want[8];
        size_t n;
    } cases[] = {
        {"none", {{0, 0}}, 0, {0}, 0},
        {"one", {{30, 30}}, 1, {30}, 1},
        {"not there", {{31, 39}}, 1, {0}, 0},
        {"three ranges", {{10, 20}, {39, 41}, {60, 1000}}, 3, {10, 20, 40, 60, 70}, 5},
        {"all", {{1, UINT64_MAX}}, 1, {10, 20, 30, 40, 50, 60, 70}, 7},
        {"above every UID", {{(uint64_t)INT64_MAX + 1, UINT64_MAX}}, 1, {0}, 0},
    };
    struct mh_err err;
    struct mh_state *st = open_store(false);
    uint32_t mailbox = mailbox_of(st, "anna");
    uint32_t folder = make_folder(st, mailbox, "INBOX");
    uint32_t other = make_folder(st, mailbox, "other");
    for (uint64_t uid = 10; uid <= 70; uid += 10)
        put_items(st, folder, uid, 1);
    put_items(st, other, 1, 100);
    sync_store(st);
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_state_items items;
        struct mh_uids in = {(struct mh_uid_range *)cases[i].in, cases[i].n_in, 3};
        cr_assert_eq(mh_state_items_in(st, folder, &in, &items, &err), MH_OK);
        cr_expect_eq(items.n, cases[i].n, "%s: %zu", cases[i].name, items.n);
        for (size_t k = 0; k < items.n && k < cases[i].n; k++)
            cr_expect_eq(items.v[k].src_uid, cases[i].want[k], "%s", cases[i].name);
        mh_state_items_done(&items);
    }
    close_store(st);
}

Test(state, uids_of_either_side)
{
    struct mh_err err;
    struct mh_state *st = open_store(false);
    struct mh_uids uids;
    struct mh_state_batch *b = NULL;
    uint32_t mailbox = mailbox_of(st, "anna");
    uint32_t folder = make_folder(st, mailbox, "INBOX");
    put_items(st, folder, 1, 100); /* at the target 1001-1100 */
    cr_assert_eq(mh_state_batch_get(st, folder, &b, &err), MH_OK);
    b->rows[b->n++] = (struct mh_state_item){.src_uid = 50, .dst_uid = 9, .gone = MH_GONE_KEPT};
    b->rows[b->n++] = (struct mh_state_item){.src_uid = 51, .gone = MH_GONE_MOVED};
    b->rows[b->n++] = (struct mh_state_item){.src_uid = 101, .dst_uid = INT64_MAX};
    cr_assert_eq(mh_state_batch_put(st, b, &err), MH_OK);
    sync_store(st);
    cr_assert_eq(mh_state_src_uids(st, folder, &uids, &err), MH_OK);
    cr_assert_eq(uids.n, 2);
    cr_assert_eq(mh_uids_count(&uids), 99);
    cr_assert(!mh_uids_has(&uids, 50) && !mh_uids_has(&uids, 51) && mh_uids_has(&uids, 101));
    mh_uids_done(&uids);
    cr_assert_eq(mh_state_dst_uids(st, folder, 0, &uids, &err), MH_OK);
    cr_assert_eq(mh_uids_count(&uids), 100, "98, one that was kept, one with the largest number");
    cr_assert(mh_uids_has(&uids, 9) && mh_uids_has(&uids, INT64_MAX) && !mh_uids_has(&uids, 0));
    mh_uids_done(&uids);
    cr_assert_eq(mh_state_dst_uids(st, folder, 1099, &uids, &err), MH_OK);
    cr_assert_eq(mh_uids_count(&uids), 3);
    mh_uids_done(&uids);
    close_store(st);
}

/* --- keywords, runs, verify ----------------------------------------------------------------------------- */

Test(state, long_keyword_sets_come_back_whole)
{
    struct mh_err err;
    static char long_set[8192];
    static char text[8192];
    struct mh_state *st = open_store(false);
    uint32_t ids[3] = {0};
    size_t len = 0;
    for (int i = 1000; i < 1600; i++)
        len += (size_t)snprintf(long_set + len, sizeof long_set - len, "%skeyword%d",
                                i > 1000 ? " " : "", i);
    uint32_t mailbox = mailbox_of(st, "anna");
    cr_assert_eq(mh_state_kw_id(st, "one", &ids[0], &err), MH_OK);
    cr_assert_eq(mh_state_kw_id(st, long_set, &ids[1], &err), MH_OK);
    cr_assert_eq(mh_state_kw_id(st, "two", &ids[2], &err), MH_OK);
    (void)make_folder(st, mailbox, "INBOX");
    close_store(st);
    st = open_store(true);
    cr_assert_str_eq(mh_state_kw_text(st, ids[0], text, sizeof text), "one");
    cr_assert_str_eq(mh_state_kw_text(st, ids[1], text, sizeof text), long_set);
    cr_assert_str_eq(mh_state_kw_text(st, ids[2], text, sizeof text), "two");
    close_store(st);
}

static int see_run(void *ctx, const char *mailbox_id, const struct mh_run_row *row)
{
    cr_assert_str_eq(mailbox_id, "anna");
    cr_assert_str_eq(row->phase, "watching");
    cr_assert_eq(row->found, 5);
    cr_assert_eq(row->bytes, 11);
    cr_assert_eq(row->equal_wall_s, 1700000000);
    cr_assert_eq(row->lag_ms, -1);
    (*(int *)ctx)++;
    return 0;
}

Test(state, runs_keep_lag)
{
    struct mh_err err;
    struct mh_state *st = open_store(false);
    int n = 0;
    uint32_t mailbox = mailbox_of(st, "anna");
    struct mh_run_row row = {.mailbox = mailbox,
                             .phase = "watching",
                             .problem = "",
                             .found = 5,
                             .bytes = 11,
                             .equal_wall_s = 1700000000,
                             .lag_ms = -1};
    cr_assert_eq(mh_state_put_run(st, &row, &err), MH_OK);
    sync_store(st);
    cr_assert_eq(mh_state_runs(st, see_run, &n, &err), MH_OK);
    cr_assert_eq(n, 1);
    close_store(st);
}

struct seen_verify {
    char text[1024];
    int stop_after; /* 0: never */
    int calls;
};

static int see_verify(void *ctx, const struct mh_verify_row *row)
{
    struct seen_verify *s = ctx;
    size_t len = strlen(s->text);
    (void)snprintf(s->text + len, sizeof s->text - len,
                   "[%s %s %" PRIu64 " %" PRIu64 "-%" PRIu64 "]", row->src_path, row->mode,
                   row->next_uid, row->counts[0], row->counts[7]);
    return ++s->calls == s->stop_after;
}

static int see_verify_item(void *ctx, const char *src_path, const struct mh_verify_item *item)
{
    struct seen_verify *s = ctx;
    size_t len = strlen(s->text);
    (void)snprintf(s->text + len, sizeof s->text - len, "(%s %" PRIu64 " %s %s %s)", src_path,
                   item->uid, item->state, item->reason, item->text);
    return ++s->calls == s->stop_after;
}

static void verify_is(struct mh_state *st, uint32_t mailbox, int stop_after, const char *want)
{
    struct mh_err err;
    struct seen_verify s = {.stop_after = stop_after};
    sync_store(st);
    cr_assert_eq(mh_state_verify(st, mailbox, see_verify, see_verify_item, &s, &err), MH_OK);
    cr_expect_str_eq(s.text, want, "%s", s.text);
}

#define DONE "18446744073709551615"

Test(state, verify_goes_on_where_it_was)
{
    struct mh_err err;
    struct mh_state *st = open_store(false);
    const struct mh_verify_item items[] = {{3, "missing", "absent", "no such message"},
                                           {3, "differs", "flags", "Seen"}};
    struct mh_verify_row row = {.src_path = "INBOX", .mode = "deep", .next_uid = 4, .counts = {2}};
    row.counts[7] = UINT64_MAX;
    uint32_t anna = mailbox_of(st, "anna");
    uint32_t berta = mailbox_of(st, "berta");
    row.mailbox = anna;
    cr_assert_eq(mh_state_put_verify(st, &row, items, 2, &err), MH_OK);
    verify_is(st, anna, 0,
              "[INBOX deep 4 2-" DONE "](INBOX 3 missing absent no such message)"
              "(INBOX 3 differs flags Seen)");
    row.next_uid = UINT64_MAX;
    row.counts[7] = 0;
    cr_assert_eq(mh_state_put_verify(st, &row, items + 1, 1, &err), MH_OK);
    row.src_path = "Archive";
    row.mailbox = berta;
    cr_assert_eq(mh_state_put_verify(st, &row, NULL, 0, &err), MH_OK);
    row.mailbox = anna;
    cr_assert_eq(mh_state_put_verify(st, &row, NULL, 0, &err), MH_OK);
    close_store(st);
    st = open_store(false);
    verify_is(st, anna, 0,
              "[Archive deep " DONE " 2-0][INBOX deep " DONE " 2-0]"
              "(INBOX 3 missing absent no such message)(INBOX 3 differs flags Seen)"
              "(INBOX 3 differs flags Seen)");
    verify_is(st, anna, 1, "[Archive deep " DONE " 2-0]");
    verify_is(st, anna, 3,
              "[Archive deep " DONE " 2-0][INBOX deep " DONE " 2-0]"
              "(INBOX 3 missing absent no such message)");
    row.src_path = "INBOX";
    row.next_uid = 2; /* begun anew */
    cr_assert_eq(mh_state_put_verify(st, &row, items, 1, &err), MH_OK);
    row.src_path = "Archive";
    row.mode = "stored";
    row.next_uid = UINT64_MAX;
    cr_assert_eq(mh_state_put_verify(st, &row, items, 1, &err), MH_OK);
    row.mode = "deep";
    cr_assert_eq(mh_state_put_verify(st, &row, NULL, 0, &err), MH_OK);
    verify_is(st, anna, 0,
              "[Archive deep " DONE " 2-0][INBOX deep 2 2-0]"
              "(INBOX 3 missing absent no such message)");
    cr_assert_eq(mh_state_clear_verify(st, anna, &err), MH_OK);
    verify_is(st, anna, 0, "");
    verify_is(st, berta, 0, "[Archive deep " DONE " 2-0]");
    close_store(st);
}

/* --- opening ---------------------------------------------------------------------------------------------- */

static int see_old_run(void *ctx, const char *mailbox_id, const struct mh_run_row *row)
{
    cr_assert_str_eq(mailbox_id, "anna");
    cr_assert_str_eq(row->phase, "done");
    cr_assert_eq(row->copied, 2);
    cr_assert_eq(row->equal_wall_s, -1);
    cr_assert_eq(row->lag_ms, -1);
    (*(int *)ctx)++;
    return 0;
}

/* What a version of schema 1 left behind. */
static void check_old_rows(struct mh_state *st)
{
    struct mh_err err;
    struct mh_state_folders folders;
    struct mh_state_items items;
    struct mh_uids uids;
    int n = 0;
    char text[32];
    uint32_t mailbox = mailbox_of(st, "anna");
    cr_assert_eq(mailbox, 7);
    cr_assert_eq(mh_state_folders(st, mailbox, &folders, &err), MH_OK);
    cr_assert_eq(folders.n, 1);
    cr_assert_str_eq(folders.v[0].src_path, "INBOX");
    cr_assert_eq(folders.v[0].src_highestmodseq, 99);
    cr_assert_eq(folders.v[0].src_object_id, 0);
    mh_state_folders_done(&folders);
    cr_assert_eq(mh_state_items(st, 3, &items, &err), MH_OK);
    cr_assert_eq(items.n, 2);
    cr_assert(items.v[0].has_digest && items.v[0].date.is_set && !items.v[1].date.is_set);
    cr_assert_eq(items.v[0].theirs, 0);
    cr_assert_eq(items.v[0].object_id, 0);
    cr_assert_eq(items.v[1].gone, MH_GONE_KEPT, "that is what it meant before");
    mh_state_items_done(&items);
    cr_assert_eq(mh_state_dst_uids(st, 3, 6, &uids, &err), MH_OK);
    cr_assert(mh_uids_count(&uids) == 1 && mh_uids_has(&uids, 6));
    mh_uids_done(&uids);
    cr_assert_eq(mh_state_ledger(st, mailbox, count_ledger, &n, &err), MH_OK);
    cr_assert_eq(mh_state_runs(st, see_old_run, &n, &err), MH_OK);
    cr_assert_eq(n, 2);
    cr_assert_str_eq(mh_state_kw_text(st, 1, text, sizeof text), "Junk");
}

Test(state, a_store_of_schema_1_is_brought_to_this_one)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    struct mh_state_items items;
    tell_file(migrations[0]);
    tell_file(
        "PRAGMA application_id = 0x6d687374; PRAGMA user_version = 1; PRAGMA journal_mode=WAL;"
        "INSERT INTO mailbox VALUES(7, 'anna', 'a', 'b');"
        "INSERT INTO folder VALUES(3, 7, 'INBOX', 'INBOX', 'INBOX', 1, 2, 30, 2, 99, 12, 1);"
        "INSERT INTO keyword_set VALUES(1, 'Junk');"
        "INSERT INTO item VALUES(3, 10, 5, 100, 0, 60, 1, 1, 0, 0, zeroblob(32));"
        "INSERT INTO item VALUES(3, 11, 6, 200, NULL, 0, 0, 0, 2, 1, NULL);"
        "INSERT INTO ledger VALUES(3, 9, 'skipped', 'too-big', 'text');"
        "INSERT INTO run VALUES(7, 1, 2, 'done', '', 3, 2, 0, 1, 0, 0, 300);");
    mh_err_reset(&err);
    cr_assert_eq(mh_state_open(store_path, true, &st, &err), MH_ERUN, "a reader migrates nothing");
    cr_assert_not_null(strstr(err.text, "schema 1"), "%s", err.text);
    st = open_store(false);
    check_old_rows(st);
    close_store(st);
    st = open_store(true);
    check_old_rows(st);
    close_store(st);
    st = open_store(false);
    put_items(st, 3, 100, 1); /* and takes what only this one knows */
    sync_store(st);
    cr_assert_eq(mh_state_items(st, 3, &items, &err), MH_OK);
    cr_assert_eq(items.v[2].object_id, (uint64_t)INT64_MAX - 100);
    mh_state_items_done(&items);
    close_store(st);
}

/* Runs BODY in a child that dies by SIGKILL at its end. */
static void in_killed_child(void (*body)(void))
{
    int status = 0;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        body();
        (void)kill(getpid(), SIGKILL);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
}

static void write_and_die(void)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    uint32_t mailbox = 0;
    if (mh_state_open(store_path, false, &st, &err) != MH_OK ||
        mh_state_mailbox(st, "anna", "a", "b", &mailbox, &err) != MH_OK)
        _exit(1);
    put_items(st, make_folder(st, mailbox, "INBOX"), 1, 1000);
    if (mh_state_sync(st, &err) != MH_OK)
        _exit(2);
}

Test(state, what_was_synced_survives_a_kill)
{
    struct mh_err err;
    struct mh_state_folders folders;
    struct mh_state_items items;
    in_killed_child(write_and_die);
    struct mh_state *st = open_store(false);
    cr_assert_eq(mh_state_folders(st, 1, &folders, &err), MH_OK);
    cr_assert_eq(folders.n, 1);
    cr_assert_eq(mh_state_items(st, folders.v[0].id, &items, &err), MH_OK);
    cr_assert_eq(items.n, 1000);
    mh_state_items_done(&items);
    mh_state_folders_done(&folders);
    close_store(st);
}

Test(state, a_damaged_page_after_an_unclean_end_is_found)
{
    in_killed_child(write_and_die);
    tell_file("PRAGMA wal_checkpoint(TRUNCATE)"); /* the rows are in the file itself now */
    FILE *f = fopen(store_path, "r+");
    cr_assert_not_null(f);
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    long pages = ftell(f) / 4096;
    cr_assert_gt(pages, 20);
    cr_assert_eq(fseek(f, (pages - 3) * 4096, SEEK_SET), 0);
    for (int i = 0; i < 4096; i++)
        (void)fputc(0xa5, f);
    cr_assert_eq(fclose(f), 0);
    refuse("damaged");
    refuse("damaged"); /* the first look has not made it good */
    refuse("move it away and run again");
    /* What the text advises helps. */
    char other[128];
    (void)snprintf(other, sizeof other, "%s.old", store_path);
    cr_assert_eq(rename(store_path, other), 0);
    struct mh_state *st = open_store(false);
    close_store(st);
}

/* --- several at once --------------------------------------------------------------------------------------- */

static void *ask_mailbox(void *ctx)
{
    struct mh_err err;
    uint32_t mailbox = 0;
    int code = mh_state_mailbox(ctx, "anna", "a", "b", &mailbox, &err);
    return (void *)(uintptr_t)(code == MH_OK ? mailbox : 0);
}

Test(state, a_mailbox_has_one_number_whoever_asks)
{
    for (int round = 0; round < 20; round++) {
        struct mh_state *st = open_store(false);
        pthread_t threads[8];
        void *ids[8];
        for (int i = 0; i < 8; i++)
            cr_assert_eq(pthread_create(&threads[i], NULL, ask_mailbox, st), 0);
        for (int i = 0; i < 8; i++)
            cr_assert_eq(pthread_join(threads[i], &ids[i]), 0);
        for (int i = 0; i < 8; i++)
            cr_assert(ids[i] && ids[i] == ids[0]);
        close_store(st);
        cr_assert_eq(unlink(store_path), 0);
    }
}

enum { WATCHED = 40000, WATCHED_STEP = 200 };

/* Opens, reads and closes as `status` would; what is seen never shrinks and has no holes. */
static bool look(size_t *seen)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    struct mh_state_items items = {0};
    bool ok = mh_state_open(store_path, true, &st, &err) == MH_OK;
    ok = ok && mh_state_items(st, 1, &items, &err) == MH_OK && items.n >= *seen &&
         (items.n == 0 || items.v[items.n - 1].src_uid == items.n);
    *seen = items.n;
    mh_state_items_done(&items);
    return mh_state_close(st, &err) == MH_OK && ok;
}

struct reading {
    _Atomic bool has_ended;
    unsigned looks;
    size_t seen;
    bool ok;
};

static void *read_on(void *ctx)
{
    struct reading *r = ctx;
    bool is_last = false;
    for (r->ok = true; r->ok && !is_last; r->looks++) {
        is_last = atomic_load(&r->has_ended);
        r->ok = look(&r->seen);
    }
    return NULL;
}

/* The other process: looks until its pipe is closed, then once more. */
static int read_until_told(int fd)
{
    size_t seen = 0;
    char byte = 0;
    bool ok = fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
    bool has_ended = false;
    while (ok && !has_ended) {
        has_ended = read(fd, &byte, 1) == 0;
        ok = look(&seen);
    }
    return ok && seen == WATCHED ? 0 : 1;
}

/* Two readers, one of them another process, beside a writer that checkpoints meanwhile. */
Test(state, readers_beside_a_writer)
{
    struct mh_state *st = open_store(false);
    struct reading r = {0};
    pthread_t thread;
    int status = 0;
    int tell[2];
    uint32_t mailbox = mailbox_of(st, "anna");
    cr_assert_eq(make_folder(st, mailbox, "INBOX"), 1);
    close_store(st);
    cr_assert_eq(pipe(tell), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)close(tell[1]);
        _exit(read_until_told(tell[0]));
    }
    st = open_store(false);
    cr_assert_eq(pthread_create(&thread, NULL, read_on, &r), 0);
    for (uint64_t first = 1; first <= WATCHED; first += WATCHED_STEP) {
        put_items(st, 1, first, WATCHED_STEP);
        sync_store(st);
    }
    atomic_store(&r.has_ended, true);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(r.ok);
    cr_assert_eq(r.seen, WATCHED);
    (void)close(tell[0]);
    (void)close(tell[1]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    close_store(st);
}

/* Fault 30: a live holder in another process is named, a dead one's lock is free. */
Test(state, a_lock_outlives_no_process)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    char host[64] = "";
    char want[128];
    char byte = 0;
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        if (mh_state_open(store_path, false, &st, &err) != MH_OK || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    mh_err_reset(&err);
    int code = mh_state_open(store_path, false, &st, &err);
    (void)kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_assert_eq(code, MH_ELOCKED);
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(want, sizeof want, "pid %ld on %s", (long)pid, host);
    cr_assert_not_null(strstr(err.text, want), "%s", err.text);
    st = open_store(false);
    close_store(st);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

/* --- what it costs ----------------------------------------------------------------------------------------- */

enum { FEW = 1000, MANY = 1000000, BYTES_PER_MESSAGE_MAX = 250, FIRST_DST = 100000 };

static struct {
    int64_t vm_steps, scan_steps;
    bool has_scan; /* by the query plan */
    char plan[1024];
} cost;

static int see_plan(void *ctx, int n, char **values, char **names)
{
    size_t len = strlen(cost.plan);
    const char *detail = values[n - 1];
    (void)ctx;
    (void)names;
    if (!strstr(cost.plan, detail))
        (void)snprintf(cost.plan + len, sizeof cost.plan - len, "%s; ", detail);
    if (strncmp(detail, "SCAN", 4) == 0 || strstr(detail, "TEMP B-TREE"))
        cost.has_scan = true;
    return 0;
}

/* Told at the end of every statement: how many steps of SQLite's machine it took, and by which way. */
static int on_profile(unsigned what, void *ctx, void *stmt, void *ns)
{
    static _Thread_local bool is_inside;
    (void)ctx;
    (void)ns;
    if (what != SQLITE_TRACE_PROFILE || is_inside)
        return 0;
    const char *text = sqlite3_sql(stmt);
    cost.vm_steps += sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 1);
    cost.scan_steps += sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_FULLSCAN_STEP, 1) +
                       sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_SORT, 1);
    if (text && strstr(text, "FROM item WHERE")) {
        char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", text);
        is_inside = true;
        (void)sqlite3_exec(sqlite3_db_handle(stmt), explain, see_plan, NULL, NULL);
        is_inside = false;
        sqlite3_free(explain);
    }
    return 0;
}

static int on_new_connection(sqlite3 *db, const char **message, const void *api)
{
    (void)message;
    (void)api;
    return sqlite3_trace_v2(db, SQLITE_TRACE_PROFILE, on_profile, NULL);
}

/* As from a server with OBJECTID: UIDs with gaps, sizes and dates of real mail, digests without any order. */
static void put_many(struct mh_state *st, uint32_t folder, unsigned n, uint32_t kw)
{
    struct mh_err err;
    struct mh_state_batch *b = NULL;
    for (uint64_t i = 0; i < n; i++) {
        if (!b)
            cr_assert_eq(mh_state_batch_get(st, folder, &b, &err), MH_OK);
        struct mh_state_item *it = &b->rows[b->n++];
        *it = (struct mh_state_item){.src_uid = 1 + i * 3,
                                     .dst_uid = FIRST_DST + i,
                                     .date = {1300000000 + (int64_t)i * 300, 60, true},
                                     .kw = kw,
                                     .flags = MH_SEEN,
                                     .has_digest = true};
        mh_digest_of(&i, sizeof i, &it->digest);
        memcpy(&it->object_id, &it->digest, sizeof it->object_id);
        it->object_id >>= 1;
        it->size = 2000 + it->digest.bytes[9] * 500u;
        if (b->n == MH_STATE_BATCH_ROWS || i + 1 == n) {
            cr_assert_eq(mh_state_batch_put(st, b, &err), MH_OK);
            b = NULL;
        }
    }
    sync_store(st);
}

static int64_t steps_of_items_in(struct mh_state *st, uint32_t folder, const struct mh_uids *uids)
{
    struct mh_err err;
    struct mh_state_items items;
    cost.vm_steps = 0;
    cr_assert_eq(mh_state_items_in(st, folder, uids, &items, &err), MH_OK);
    cr_assert_eq(items.n, mh_uids_count(uids));
    mh_state_items_done(&items);
    return cost.vm_steps;
}

static int64_t steps_of_dst_uids(struct mh_state *st, uint32_t folder, uint64_t from, uint64_t want)
{
    struct mh_err err;
    struct mh_uids uids;
    cost.vm_steps = 0;
    cr_assert_eq(mh_state_dst_uids(st, folder, from, &uids, &err), MH_OK);
    cr_assert_eq(mh_uids_count(&uids), want);
    mh_uids_done(&uids);
    return cost.vm_steps;
}

struct costs {
    int64_t none, ten, twenty, newest;
};

static struct costs measure(struct mh_state *st, uint32_t folder, unsigned n)
{
    struct mh_err err;
    struct costs c;
    struct mh_uids uids = {0};
    c.none = steps_of_items_in(st, folder, &uids);
    for (uint64_t i = 0; i < 20; i++) { /* each a range of its own */
        uint64_t uid = 1 + (i * n / 20) * 3;
        cr_assert_eq(mh_uids_add(&uids, uid, uid, &err), MH_OK);
        if (i == 9) {
            mh_uids_finish(&uids);
            c.ten = steps_of_items_in(st, folder, &uids);
        }
    }
    mh_uids_finish(&uids);
    c.twenty = steps_of_items_in(st, folder, &uids);
    mh_uids_done(&uids);
    c.newest = steps_of_dst_uids(st, folder, FIRST_DST + n - 10, 10);
    return c;
}

Test(state, a_million_messages, .timeout = 240)
{
    struct mh_err err;
    struct stat info;
    struct mh_uids uids;
    uint32_t kw = 0;
    /* The type that SQLite asks for leaves out the arguments that it passes. */
    cr_assert_eq(sqlite3_auto_extension((void (*)(void))on_new_connection), SQLITE_OK);
    struct mh_state *st = open_store(false);
    uint32_t mailbox = mailbox_of(st, "anna");
    cr_assert_eq(mh_state_kw_id(st, "$Forwarded", &kw, &err), MH_OK);
    uint32_t small = make_folder(st, mailbox, "small");
    uint32_t large = make_folder(st, mailbox, "large");
    uint32_t behind =
        make_folder(st, mailbox, "behind"); /* so that neither is at the index's end */
    put_many(st, small, FEW, kw);
    put_many(st, large, MANY, kw);
    put_many(st, behind, 1, kw);
    memset(&cost, 0, sizeof cost);
    struct costs few = measure(st, small, FEW);
    struct costs many = measure(st, large, MANY);
    cr_expect_eq(cost.scan_steps, 0);
    cr_expect(!cost.has_scan, "%s", cost.plan);
    cr_expect_not_null(strstr(cost.plan, "SEARCH item USING PRIMARY KEY (folder=? AND src_uid>?"),
                       "%s", cost.plan);
    cr_expect_not_null(strstr(cost.plan, "INDEX item_by_dst (folder=? AND dst_uid>?"), "%s",
                       cost.plan);
    cr_expect_eq(many.ten, few.ten, "%" PRId64 " and %" PRId64 " steps", many.ten, few.ten);
    cr_expect_eq(many.newest, few.newest, "%" PRId64 " and %" PRId64, many.newest, few.newest);
    cr_expect_gt(many.ten, many.none, "the steps are counted");
    cr_expect_eq(many.twenty - many.none, 2 * (many.ten - many.none), "so much for each");
    cr_assert_eq(mh_state_src_uids(st, large, &uids, &err), MH_OK);
    cr_assert_eq(uids.n, MANY);
    mh_uids_done(&uids);
    close_store(st);
    cr_assert_eq(stat(store_path, &info), 0);
    cr_expect_lt(info.st_size, (off_t)MANY * BYTES_PER_MESSAGE_MAX);
    if (getenv("MH_SHOW_COST"))
        (void)fprintf(
            stderr,
            "%.1f bytes a message; steps for 10 of 1000: %" PRId64 ", of 1000000: %" PRId64
            ", 20: %" PRId64 ", the newest 10: %" PRId64 "; %s\n",
            (double)info.st_size / MANY, few.ten, many.ten, many.twenty, many.newest, cost.plan);
}
