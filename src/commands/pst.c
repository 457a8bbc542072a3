/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mailhaul pst info|check FILE…: what an archive is, and an account of everything that is in it. */
#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "commands/report.h"
#include "commands/session.h"
#include "pst/account.h"

/* What one item may need at once: the largest property in one piece. */
#define ARENA_BYTES ((size_t)96 << 20)

/* One archive, open, and what is known of it. */
struct archive {
    const char *shown; /* borrowed: its path, made printable */
    struct pst_file *file;
    struct pst_reader reader;
    struct pst_store store;
    struct pst_account account;
    bool is_accounted;
};

/* --- words ------------------------------------------------------------------------------------ */

static const char *format_word(enum pst_format f)
{
    return f == PST_ANSI ? "ansi" : f == PST_UNICODE ? "unicode" : "unicode-4k";
}

static const char *encoding_word(enum pst_encoding e)
{
    return e == PST_PLAIN ? "none" : e == PST_PERMUTE ? "permute" : "cyclic";
}

static const char *state_word(enum pst_state s)
{
    return s == PST_OK ? "ok" : s == PST_SUSPECT ? "suspect" : "lost";
}

static const char *role_word(enum pst_role r)
{
    static const char *const words[] = {
        [PST_ROLE_NONE] = "",
        [PST_ROLE_INBOX] = "inbox",
        [PST_ROLE_SENT] = "sent",
        [PST_ROLE_OUTBOX] = "outbox",
        [PST_ROLE_DELETED] = "trash",
        [PST_ROLE_DRAFTS] = "drafts",
        [PST_ROLE_JUNK] = "junk",
        [PST_ROLE_CALENDAR] = "calendar",
        [PST_ROLE_CONTACTS] = "contacts",
        [PST_ROLE_JOURNAL] = "journal",
        [PST_ROLE_NOTES] = "notes",
        [PST_ROLE_TASKS] = "tasks",
    };
    return words[r];
}

/* The folder's path; of one that no mail program shows, its own name in brackets. */
static void add_folder(const struct archive *a, size_t folder, struct mh_buf *out)
{
    const struct pst_folder *f = &a->store.folders[folder];
    struct mh_buf path = MH_BUF_INIT;
    pst_store_path(&a->store, f, &path);
    const char *text = path.len ? mh_buf_str(&path) : f->nid == a->store.top_nid ? "/" : "(root)";
    mh_buf_add_printable(out, text, strlen(text));
    if (!f->is_visible && path.len)
        mh_buf_adds(out, f->is_orphan ? " (without its parent)" : " (not shown)");
    mh_buf_done(&path);
}

static bool has_failed(const struct archive *a)
{
    const struct pst_account *c = &a->account;
    return c->total.suspect + c->total.lost + c->homeless > 0;
}

/* Associated items are nobody's mail. */
static size_t count_items(const struct archive *a)
{
    size_t n = 0;
    for (size_t i = 0; i < a->store.n_children; i++)
        n += pst_nid_type(a->store.children[i].nid) == PST_NID_MESSAGE;
    return n;
}

/* --- text ------------------------------------------------------------------------------------- */

static void say_tree(FILE *out, const char *name, const struct pst_tree_facts *t)
{
    if (t->verdict.state == PST_OK)
        (void)fprintf(out, "  %s whole: %" PRIu64 " entries in %" PRIu64 " pages\n", name,
                      t->entries, t->pages);
    else
        (void)fprintf(out, "  %s %s at offset %" PRIu64 ": %s\n", name,
                      t->verdict.state == PST_LOST ? "gone, its root is hurt" : "hurt",
                      t->verdict.about, pst_why_text(t->verdict.why));
}

static void say_facts(FILE *out, const struct archive *a)
{
    const struct pst_facts *f = pst_file_facts(a->file);
    char size[32];
    struct mh_buf name = MH_BUF_INIT;
    mh_buf_add_printable(&name, a->store.name, strlen(a->store.name));
    (void)fprintf(out, "%s: %s, %s, encoding %s%s, %s, \"%s\", %zu folders, %zu items\n", a->shown,
                  f->is_ost ? "OST" : "PST", format_word(f->format), encoding_word(f->encoding),
                  f->is_guessed ? " (found out, not announced)" : "",
                  mh_format_size(f->size, size, sizeof size), mh_buf_str(&name), a->store.n_folders,
                  count_items(a));
    if (f->header.state != PST_OK)
        (void)fprintf(out, "  header hurt: %s\n", pst_why_text(f->header.why));
    say_tree(out, "index of nodes", &f->nodes);
    say_tree(out, "index of blocks", &f->blocks);
    if (f->is_salvaged)
        (void)fputs("  read by a scan of the whole file for what proves by itself\n", out);
    if (f->shift)
        (void)fprintf(out, "  its contents lie %" PRId64 " octets from their places\n", f->shift);
    if (f->announced_size > f->size && f->header.state != PST_LOST)
        (void)fprintf(out, "  cut off: %" PRIu64 " of %" PRIu64 " octets are there\n", f->size,
                      f->announced_size);
    if (a->store.has_password)
        (void)fputs("  has a password, which encrypts nothing\n", out);
    mh_buf_done(&name);
}

static void say_folder(FILE *out, const struct archive *a, const struct pst_account_folder *f,
                       const char *name)
{
    char announced[24] = "-";
    char size[32];
    if (f->folder != SIZE_MAX && a->store.folders[f->folder].announced >= 0)
        (void)snprintf(announced, sizeof announced, "%" PRId64,
                       a->store.folders[f->folder].announced);
    (void)fprintf(out,
                  "  %9s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64
                  " %10s  %s\n",
                  announced, f->by_both, f->by_table, f->by_parent, f->read, f->suspect, f->lost,
                  mh_format_size(f->bytes, size, sizeof size), name);
}

static void say_account(FILE *out, const struct archive *a)
{
    const struct pst_account *c = &a->account;
    (void)fprintf(out, "  %9s %9s %9s %9s %9s %9s %9s %10s  %s\n", "announced", "listed",
                  "list only", "node only", "read", "suspect", "lost", "size", "folder");
    for (size_t i = 0; i < c->n_folders; i++) {
        struct mh_buf name = MH_BUF_INIT;
        add_folder(a, c->folders[i].folder, &name);
        say_folder(out, a, &c->folders[i], mh_buf_str(&name));
        mh_buf_done(&name);
    }
    say_folder(out, a, &c->total, "in all");
    if (c->homeless)
        (void)fprintf(out, "  %" PRIu64 " items lie in folders that are not there any more\n",
                      c->homeless);
    for (size_t i = 0; i < c->n_items; i++) {
        const struct pst_account_item *item = &c->items[i];
        struct mh_buf name = MH_BUF_INIT;
        add_folder(a, item->folder, &name);
        (void)fprintf(out, "  %s, item %" PRIx32 ": %s: %s\n", mh_buf_str(&name), item->nid,
                      state_word(item->verdict.state), pst_why_text(item->verdict.why));
        mh_buf_done(&name);
    }
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *verdict_json(const struct pst_verdict *v)
{
    if (v->state == PST_OK)
        return json_pack("{s:s}", "state", "ok");
    return json_pack("{s:s,s:s,s:I}", "state", state_word(v->state), "why", pst_why_text(v->why),
                     "about", (json_int_t)v->about);
}

static json_t *tree_json(const struct pst_tree_facts *t)
{
    return json_pack("{s:o,s:I,s:I}", "verdict", verdict_json(&t->verdict), "pages",
                     (json_int_t)t->pages, "entries", (json_int_t)t->entries);
}

static json_t *facts_json(const struct archive *a)
{
    const struct pst_facts *f = pst_file_facts(a->file);
    return json_pack(
        "{s:s,s:s,s:s,s:i,s:b,s:b,s:b,s:I,s:I,s:I,s:s,s:b,s:I,s:I,s:o,s:o,s:o}", "file", a->shown,
        "format", format_word(f->format), "encoding", encoding_word(f->encoding), "version",
        (int)f->version, "ost", f->is_ost, "guessed", f->is_guessed, "salvaged", f->is_salvaged,
        "size", (json_int_t)f->size, "announced_size", (json_int_t)f->announced_size, "shift",
        (json_int_t)f->shift, "name", a->store.name, "password", a->store.has_password, "folders",
        (json_int_t)a->store.n_folders, "items", (json_int_t)count_items(a), "header",
        verdict_json(&f->header), "nodes", tree_json(&f->nodes), "blocks", tree_json(&f->blocks));
}

static json_t *counts_json(const struct pst_account_folder *f)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "by_both", (json_int_t)f->by_both,
                     "by_table", (json_int_t)f->by_table, "by_parent", (json_int_t)f->by_parent,
                     "read", (json_int_t)f->read, "suspect", (json_int_t)f->suspect, "lost",
                     (json_int_t)f->lost, "hidden", (json_int_t)f->hidden, "bytes",
                     (json_int_t)f->bytes);
}

static json_t *folder_json(const struct archive *a, const struct pst_account_folder *f)
{
    const struct pst_folder *of = &a->store.folders[f->folder];
    struct mh_buf path = MH_BUF_INIT;
    pst_store_path(&a->store, of, &path);
    json_t *j = counts_json(f);
    (void)json_object_set_new(j, "path", json_string(mh_buf_str(&path)));
    (void)json_object_set_new(j, "nid", json_integer(of->nid));
    (void)json_object_set_new(j, "role", json_string(role_word(of->role)));
    (void)json_object_set_new(j, "shown", json_boolean(of->is_visible));
    (void)json_object_set_new(j, "orphan", json_boolean(of->is_orphan));
    (void)json_object_set_new(j, "announced",
                              of->announced < 0 ? json_null() : json_integer(of->announced));
    (void)json_object_set_new(j, "table", verdict_json(&f->table));
    (void)json_object_set_new(j, "properties", verdict_json(&of->verdict));
    mh_buf_done(&path);
    return j;
}

static void add_account_json(const struct archive *a, json_t *to)
{
    const struct pst_account *c = &a->account;
    json_t *folders = json_array();
    json_t *items = json_array();
    for (size_t i = 0; i < c->n_folders; i++)
        (void)json_array_append_new(folders, folder_json(a, &c->folders[i]));
    for (size_t i = 0; i < c->n_items; i++) {
        const struct pst_account_item *item = &c->items[i];
        json_t *j = verdict_json(&item->verdict);
        (void)json_object_set_new(j, "folder", json_integer(a->store.folders[item->folder].nid));
        (void)json_object_set_new(j, "nid", json_integer(item->nid));
        (void)json_array_append_new(items, j);
    }
    (void)json_object_set_new(to, "account",
                              json_pack("{s:o,s:o,s:o,s:I}", "total", counts_json(&c->total),
                                        "folders", folders, "items", items, "homeless",
                                        (json_int_t)c->homeless));
}

/* --- the command ------------------------------------------------------------------------------ */

static int open_archive(struct archive *a, const char *path, struct mh_err *err)
{
    int code = pst_file_open(path, PST_ACCESS_BEST, &a->file, err);
    if (code != MH_OK)
        return code;
    pst_reader_init(&a->reader, a->file, ARENA_BYTES);
    return pst_store_read(&a->reader, &a->store, err);
}

static void close_archive(struct archive *a)
{
    if (!a->file)
        return;
    pst_account_done(&a->account);
    pst_store_done(&a->store);
    pst_reader_done(&a->reader);
    pst_file_close(a->file);
}

/* LIST NULL: as text. A path may have any octets: what is shown of it has not. */
static int look_into(struct mh_app *app, const char *path, bool accounts, json_t *list)
{
    struct mh_err err;
    struct mh_buf shown = MH_BUF_INIT;
    mh_buf_add_printable(&shown, path, strlen(path));
    struct archive a = {.shown = mh_buf_str(&shown)};
    mh_err_reset(&err);
    int rc = MH_EXIT_OK;
    int code = open_archive(&a, path, &err);
    if (code == MH_OK && accounts)
        code = pst_account_run(&a.reader, &a.store, app->stop, &a.account, &err);
    if (code != MH_OK) {
        char line[1024];
        (void)mh_err_line(&err, line, sizeof line);
        (void)fprintf(stderr, "mailhaul: %s\n", line);
        if (list)
            (void)json_array_append_new(list,
                                        json_pack("{s:s,s:{s:s,s:s}}", "file", a.shown, "error",
                                                  "code", mh_code_name(code), "text", line));
        rc = code == MH_ECANCEL ? MH_EXIT_INTERRUPTED : mh_exit_of(&err);
    } else if (list) {
        json_t *j = facts_json(&a);
        if (accounts)
            add_account_json(&a, j);
        (void)json_array_append_new(list, j);
    } else {
        say_facts(app->out, &a);
        if (accounts)
            say_account(app->out, &a);
    }
    if (rc == MH_EXIT_OK && accounts && has_failed(&a))
        rc = MH_EXIT_ITEMS;
    close_archive(&a);
    mh_buf_done(&shown);
    return rc;
}

/* Of several archives: the first error counts, before it exceptions, and Ctrl-C before all. */
static int worse(int rc, int one)
{
    bool is_open = rc == MH_EXIT_OK || (rc == MH_EXIT_ITEMS && one != MH_EXIT_OK);
    return is_open || one == MH_EXIT_INTERRUPTED ? one : rc;
}

static int usage(struct mh_app *app, const char *text)
{
    struct mh_err err;
    (void)mh_err_set(&err, MH_EUSAGE, "usage", "%s: mailhaul pst info|check FILE...", text);
    return mh_fail(app, &err);
}

int mh_command_pst(struct mh_app *app, int argc, char **argv)
{
    if (argc < 1)
        return usage(app, "what is to be done");
    bool accounts = strcmp(argv[0], "check") == 0;
    if (!accounts && strcmp(argv[0], "info") != 0)
        return usage(app, "there is no such thing to do");
    if (argc < 2)
        return usage(app, "no file is named");
    json_t *list = app->json ? json_array() : NULL;
    int rc = MH_EXIT_OK;
    for (int i = 1; i < argc && rc != MH_EXIT_INTERRUPTED; i++)
        rc = worse(rc, look_into(app, argv[i], accounts, list));
    if (list)
        report_json(app->out, json_pack("{s:i,s:o}", "schema", MH_JSON_SCHEMA, "archives", list));
    return rc;
}
