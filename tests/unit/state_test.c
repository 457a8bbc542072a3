/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store: what is written is read, in order, after closing, beside a reader, under a lock. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "state/state.h"

static char dir[64];
static char path[96];

static void make_dir(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/mh-state-test-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/state.db", dir);
}

static void drop_dir(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(state, .init = make_dir, .fini = drop_dir);

static struct mh_state *open_store(bool read_only)
{
    struct mh_state *st = NULL;
    struct mh_err err;
    mh_err_reset(&err);
    cr_assert_eq(mh_state_open(path, read_only, &st, &err), MH_OK, "%s", err.text);
    return st;
}

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
    uint32_t mailbox = 0;
    uint32_t kw = 0;
    cr_assert_eq(mh_state_mailbox(st, "anna", "a", "b", &mailbox, &err), MH_OK);
    uint32_t folder = make_folder(st, mailbox, "INBOX");
    cr_assert_eq(mh_state_kw_id(st, "$Forwarded NonJunk", &kw, &err), MH_OK);
    put_items(st, folder, 1, 1000);
    cr_assert_eq(mh_state_close(st, &err), MH_OK);

    st = open_store(false);
    uint32_t again = 0;
    char text[128];
    struct mh_state_folders folders;
    struct mh_state_items items;
    cr_assert_eq(mh_state_mailbox(st, "anna", "a", "b", &again, &err), MH_OK);
    cr_assert_eq(again, mailbox);
    cr_assert_eq(mh_state_folders(st, mailbox, &folders, &err), MH_OK);
    cr_assert_eq(folders.n, 1);
    cr_assert_str_eq(folders.v[0].src_path, "INBOX");
    cr_assert_str_eq(folders.v[0].dst_native, "Z&APw-");
    cr_assert_eq(folders.v[0].src_highestmodseq, UINT64_C(9007199254740993));
    cr_assert_eq(folders.v[0].dst_uidvalidity, 4000000000u);
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
    cr_assert(one->has_digest && memcmp(&one->digest, &want, sizeof want) == 0);
    cr_assert_null(mh_state_items_find(&items, 1001));
    cr_assert_str_eq(mh_state_kw_text(st, kw, text, sizeof text), "$Forwarded NonJunk");
    uint32_t same = 0;
    cr_assert_eq(mh_state_kw_id(st, "NonJunk $Forwarded", &same, &err), MH_OK);
    cr_assert_eq(same, kw);
    cr_assert_gt(mh_state_new_folder_id(st), folder, "numbers are never given twice");
    mh_state_items_done(&items);
    mh_state_folders_done(&folders);
    cr_assert_eq(mh_state_close(st, &err), MH_OK);
}

Test(state, a_folder_is_written_again_and_cleared)
{
    struct mh_err err;
    struct mh_state *st = open_store(false);
    uint32_t mailbox = 0;
    struct mh_state_items items;
    cr_assert_eq(mh_state_mailbox(st, "anna", "a", "b", &mailbox, &err), MH_OK);
    uint32_t folder = make_folder(st, mailbox, "INBOX");
    put_items(st, folder, 1, 5);
    put_items(st, folder, 3, 5); /* rows 3-5 again */
    cr_assert_eq(mh_state_sync(st, &err), MH_OK);
    cr_assert_eq(mh_state_items(st, folder, &items, &err), MH_OK);
    cr_assert_eq(items.n, 7);
    mh_state_items_done(&items);
    cr_assert_eq(mh_state_clear_items(st, folder, &err), MH_OK);
    cr_assert_eq(mh_state_sync(st, &err), MH_OK);
    cr_assert_eq(mh_state_items(st, folder, &items, &err), MH_OK);
    cr_assert_eq(items.n, 0);
    mh_state_items_done(&items);
    cr_assert_eq(mh_state_close(st, &err), MH_OK);
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
    uint32_t mailbox = 0;
    int n = 0;
    cr_assert_eq(mh_state_mailbox(st, "anna", "a", "b", &mailbox, &err), MH_OK);
    uint32_t folder = make_folder(st, mailbox, "INBOX");
    struct mh_ledger_row row = {folder, 9, "failed", "refused", "once"};
    cr_assert_eq(mh_state_put_ledger(st, &row, &err), MH_OK);
    row = (struct mh_ledger_row){folder, 9, "skipped", "too-big", "again"};
    cr_assert_eq(mh_state_put_ledger(st, &row, &err), MH_OK);
    cr_assert_eq(mh_state_sync(st, &err), MH_OK);
    cr_assert_eq(mh_state_ledger(st, mailbox, count_ledger, &n, &err), MH_OK);
    cr_assert_eq(n, 1);
    cr_assert_eq(mh_state_clear_ledger(st, folder, &err), MH_OK);
    cr_assert_eq(mh_state_sync(st, &err), MH_OK);
    cr_assert_eq(mh_state_ledger(st, mailbox, count_ledger, &n, &err), MH_OK);
    cr_assert_eq(n, 1);
    cr_assert_eq(mh_state_close(st, &err), MH_OK);
}

Test(state, a_second_run_is_locked_out_and_told_by_whom)
{
    struct mh_err err;
    struct mh_state *other = NULL;
    struct mh_state *st = open_store(false);
    char pid[32];
    cr_assert_eq(mh_state_open(path, false, &other, &err), MH_ELOCKED);
    (void)snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    cr_assert_not_null(strstr(err.text, pid), "%s", err.text);
    struct mh_state *reader = open_store(true);
    cr_assert_eq(
        mh_state_put_folder(reader, &(struct mh_state_folder){.src_path = (char *)"x"}, &err),
        MH_ERUN, "a reader never writes");
    cr_assert_eq(mh_state_close(reader, &err), MH_OK);
    cr_assert_eq(mh_state_close(st, &err), MH_OK);
    st = open_store(false);
    cr_assert_eq(mh_state_close(st, &err), MH_OK);
}

static void refuse(const char *words)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    mh_err_reset(&err);
    cr_assert_neq(mh_state_open(path, false, &st, &err), MH_OK);
    cr_assert_not_null(strstr(err.text, words), "%s", err.text);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
}

Test(state, a_file_that_is_no_database_is_refused)
{
    FILE *out = fopen(path, "w");
    cr_assert_not_null(out);
    for (int i = 0; i < 100; i++)
        (void)fputs("this is not a database, but a text of some length that says so\n", out);
    (void)fclose(out);
    refuse("not a database");
}

Test(state, a_database_of_another_program_is_refused)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "CREATE TABLE x(y)", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
    refuse("another program");
}

Test(state, a_newer_schema_is_refused)
{
    struct mh_err err;
    sqlite3 *db = NULL;
    struct mh_state *st = open_store(false);
    cr_assert_eq(mh_state_close(st, &err), MH_OK);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
    refuse("newer");
}

Test(state, a_folder_that_cannot_be_written_is_named)
{
    struct mh_err err;
    struct mh_state *st = NULL;
    (void)snprintf(path, sizeof path, "%s/none/state.db", dir);
    cr_assert_eq(mh_state_open(path, false, &st, &err), MH_ERUN);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
    cr_assert_eq(mh_state_open(path, true, &st, &err), MH_ENOENT);
}
