/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * users.csv: RFC 4180 by libcsv, a header row, one mailbox per row. libcsv knows no lines, so it is
 * fed byte by byte and the lines are counted here. Passwords pass through buffers that are wiped.
 */
#include <csv.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

/* The first allocation for a cell: a password never moves to a larger one and leaves a copy
 * behind. */
#define CELL_BLOCK_BYTES ((size_t)2 * MH_USERS_CELL_MAX_BYTES)

/* Columns that mean something. */
enum column {
    COL_ID,
    COL_SOURCE_USER,
    COL_TARGET_USER,
    COL_SOURCE_PASSWORD_FILE,
    COL_TARGET_PASSWORD_FILE,
    COL_SOURCE_PASSWORD,
    COL_TARGET_PASSWORD,
    COL_PST,
    COL_COUNT
};

static const char *const column_names[COL_COUNT] = {
    [COL_ID] = "id",
    [COL_SOURCE_USER] = "source_user",
    [COL_TARGET_USER] = "target_user",
    [COL_SOURCE_PASSWORD_FILE] = "source_password_file",
    [COL_TARGET_PASSWORD_FILE] = "target_password_file",
    [COL_SOURCE_PASSWORD] = "source_password",
    [COL_TARGET_PASSWORD] = "target_password",
    [COL_PST] = "pst",
};

enum { REQUIRED_COLUMNS = COL_TARGET_USER + 1, NO_COLUMN = -1 };

struct reader {
    struct mh_plan *plan;
    const struct mh_plan_opts *opts;
    const char *file;
    unsigned mode;
    struct mh_err *err;
    int rc;            /* the first error; later callbacks do nothing */
    unsigned line;     /* of the byte that is fed */
    unsigned row_line; /* where the row began */
    bool in_row;
    struct mh_strings cells; /* owned: of the row; may hold passwords */
    bool has_header;
    int at[COL_COUNT]; /* index of a known column, or NO_COLUMN */
};

static int fail(struct reader *r, const char *fmt, ...) MH_PRINTF(2, 3);

static int fail(struct reader *r, const char *fmt, ...)
{
    char text[sizeof r->err->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return plan_fail(r->err, r->file, (struct mh_pos){r->row_line, 0}, "%s", text);
}

static void wipe(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
}

static void drop_cells(struct reader *r)
{
    for (size_t i = 0; i < r->cells.n; i++)
        wipe(r->cells.v[i]);
    mh_strings_done(&r->cells);
}

/* --- the header ------------------------------------------------------------------------------- */

static int check_separator(struct reader *r)
{
    if (r->cells.n != 1)
        return 0;
    const char *wrong = strpbrk(r->cells.v[0], ";\t|");
    if (!wrong)
        return 0;
    return fail(r, "the columns are separated by %s; save the file with commas (CSV, RFC 4180)",
                *wrong == '\t'  ? "tabs"
                : *wrong == ';' ? "';'"
                                : "'|'");
}

/* A column of the admin's own may have any name, so a misspelt one of ours would go unnoticed. */
static int note_near_miss(struct reader *r, const char *name)
{
    const char *near = plan_nearest(name, column_names, COL_COUNT, sizeof *column_names);
    if (!near || mh_str_distance(name, near, 2) > 2)
        return 0;
    return plan_note(r->plan, r->err,
                     "%s:%u: column '%.60s' is taken as your own; did you mean '%s'?", r->file,
                     r->row_line, name, near);
}

static int read_column(struct reader *r, size_t i)
{
    char quoted[PLAN_QUOTE_BYTES];
    const char *name = r->cells.v[i];
    if (!*name)
        return fail(r, "column %zu has no name; name it or remove it", i + 1);
    for (size_t j = 0; j < i; j++) {
        if (mh_str_ieq(r->cells.v[j], name))
            return fail(r, "column %s is here twice; rename one",
                        plan_quote(quoted, name, strlen(name)));
    }
    for (size_t c = 0; c < COL_COUNT; c++) {
        if (mh_str_ieq(column_names[c], name)) {
            r->at[c] = (int)i;
            return 0;
        }
    }
    return note_near_miss(r, name);
}

static int check_required(struct reader *r)
{
    for (size_t c = 0; c < REQUIRED_COLUMNS; c++) {
        if (r->at[c] != NO_COLUMN)
            continue;
        const char *near =
            plan_nearest(column_names[c], r->cells.v, r->cells.n, sizeof *r->cells.v);
        return fail(r,
                    "the column '%s' is missing%s%.60s%s; the first line names the columns: "
                    "id,source_user,target_user",
                    column_names[c], near ? " (there is '" : "", near ? near : "",
                    near ? "')" : "");
    }
    return 0;
}

static int check_mode(struct reader *r)
{
    if (r->at[COL_SOURCE_PASSWORD] == NO_COLUMN && r->at[COL_TARGET_PASSWORD] == NO_COLUMN)
        return 0;
    if ((r->mode & 0177u) == 0)
        return 0;
    return fail(
        r, "a file with passwords must be yours alone, but its mode is %04o: run chmod 600 %.100s",
        r->mode & 0777u, r->file);
}

static int read_header(struct reader *r)
{
    int rc = check_separator(r);
    for (size_t i = 0; rc == 0 && i < r->cells.n; i++)
        rc = read_column(r, i);
    if (rc == 0)
        rc = check_required(r);
    if (rc == 0)
        rc = check_mode(r);
    if (rc == 0) {
        r->plan->columns = r->cells;
        r->cells = (struct mh_strings){NULL, 0};
        r->has_header = true;
    }
    return rc;
}

/* --- rows ------------------------------------------------------------------------------------- */

static const char *cell(const struct reader *r, enum column c)
{
    return r->at[c] == NO_COLUMN ? "" : r->cells.v[r->at[c]];
}

static int check_count(struct reader *r)
{
    size_t want = r->plan->columns.n;
    if (r->cells.n == want)
        return 0;
    return fail(r,
                "%zu value%s, but the first line names %zu columns; a value with a comma in it is "
                "written in quotes",
                r->cells.n, r->cells.n == 1 ? "" : "s", want);
}

static int check_values(struct reader *r)
{
    for (size_t c = 0; c < COL_COUNT; c++) {
        const char *value = cell(r, (enum column)c);
        if (strpbrk(value, "\r\n\t"))
            return fail(r, "%s has a line end or tab in it; check the quotes", column_names[c]);
    }
    if (!*cell(r, COL_ID))
        return fail(r, "the id is empty; give each mailbox a name");
    return 0;
}

/* Password cells are kept by the endpoints alone. */
static void blank_passwords(struct reader *r)
{
    static const enum column secret[] = {COL_SOURCE_PASSWORD, COL_TARGET_PASSWORD};
    for (size_t i = 0; i < MH_ARRAY_LEN(secret); i++) {
        if (r->at[secret[i]] != NO_COLUMN)
            wipe(r->cells.v[r->at[secret[i]]]);
    }
}

static int fill_mailbox(struct reader *r, struct mh_mailbox *m)
{
    m->line = r->row_line;
    m->id = mh_strdup(cell(r, COL_ID));
    m->source_user = mh_strdup(cell(r, COL_SOURCE_USER));
    m->target_user = mh_strdup(cell(r, COL_TARGET_USER));
    if (!m->id || !m->source_user || !m->target_user)
        return plan_nomem(r->err);
    if (*cell(r, COL_PST)) {
        m->pst = plan_path_in(r->plan->folder, cell(r, COL_PST));
        if (!m->pst)
            return plan_nomem(r->err);
    }
    const struct plan_row row = {
        .source_password = cell(r, COL_SOURCE_PASSWORD),
        .target_password = cell(r, COL_TARGET_PASSWORD),
        .source_password_file = cell(r, COL_SOURCE_PASSWORD_FILE),
        .target_password_file = cell(r, COL_TARGET_PASSWORD_FILE),
    };
    return plan_resolve(r->plan, m, &row, r->opts, r->err);
}

static int read_row(struct reader *r)
{
    struct mh_mailbox m = {0};
    int rc = check_count(r);
    if (rc == 0)
        rc = check_values(r);
    if (rc == 0) {
        rc = fill_mailbox(r, &m);
        if (rc == MH_EUSAGE && !r->err->where[0])
            mh_err_at(r->err, "%s:%u", r->file, r->row_line);
    }
    if (rc == 0) {
        blank_passwords(r);
        m.cells = r->cells.v;
        rc = plan_add_mailbox(r->plan, r->file, &m, r->err);
        if (rc == 0)
            r->cells = (struct mh_strings){NULL, 0};
        else
            m.cells = NULL;
    }
    if (rc)
        plan_mailbox_done(&m);
    return rc;
}

/* --- libcsv ----------------------------------------------------------------------------------- */

static void on_cell(void *text, size_t len, void *ctx)
{
    struct reader *r = ctx;
    if (r->rc)
        return;
    if (r->cells.n >= MH_USERS_COLUMNS_MAX)
        r->rc = fail(r, "more than %u columns", MH_USERS_COLUMNS_MAX);
    else if (len > MH_USERS_CELL_MAX_BYTES)
        r->rc = fail(r, "column %zu is longer than %u bytes; is a quote missing?", r->cells.n + 1,
                     MH_USERS_CELL_MAX_BYTES);
    else
        r->rc = plan_strings_add(&r->cells, text ? text : "", len, r->err);
}

static void on_row(int end, void *ctx)
{
    struct reader *r = ctx;
    (void)end;
    r->in_row = false;
    if (r->rc == 0)
        r->rc = r->has_header ? read_row(r) : read_header(r);
    drop_cells(r);
}

static void *csv_realloc(void *p, size_t size)
{
    return mh_realloc(p, size);
}

static int csv_failed(struct reader *r, struct csv_parser *parser)
{
    if (csv_error(parser) == CSV_ENOMEM)
        return plan_nomem(r->err);
    return fail(r, "a quote where none can be: a value with quotes, commas or line ends is put in "
                   "quotes as a whole, and quotes in it are doubled");
}

/* Feeds one byte and keeps the count of lines. */
static int feed(struct reader *r, struct csv_parser *parser, const char *at, bool is_last)
{
    bool is_blank = *at == ' ' || *at == '\t' || *at == '\r' || *at == '\n';
    if (!r->in_row && !is_blank) {
        r->in_row = true;
        r->row_line = r->line;
    }
    if (csv_parse(parser, at, 1, on_cell, on_row, r) != 1 && r->rc == 0)
        r->rc = csv_failed(r, parser);
    if (*at == '\n' || (*at == '\r' && (is_last || at[1] != '\n')))
        r->line++;
    return r->rc;
}

static int parse(struct reader *r, const char *text, size_t len)
{
    struct csv_parser parser;
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) != 0)
        return plan_nomem(r->err);
    csv_set_realloc_func(&parser, csv_realloc);
    csv_set_free_func(&parser, mh_free);
    csv_set_blk_size(&parser, CELL_BLOCK_BYTES);
    for (size_t i = 0; r->rc == 0 && i < len; i++)
        r->rc = feed(r, &parser, text + i, i + 1 == len);
    if (r->rc == 0 && csv_fini(&parser, on_cell, on_row, r) != 0 && r->rc == 0)
        r->rc = fail(r, "the quote that is opened here is never closed");
    if (parser.entry_buf)
        explicit_bzero(parser.entry_buf, parser.entry_size);
    csv_free(&parser);
    drop_cells(r);
    return r->rc;
}

int mh_plan_add_users(struct mh_plan *p, const char *text, size_t len, const char *file,
                      unsigned mode, const struct mh_plan_opts *opts, struct mh_err *err)
{
    struct mh_err unused;
    struct reader r = {
        .plan = p, .opts = opts, .file = file, .mode = mode, .err = err ? err : &unused, .line = 1};
    size_t start = 0;
    mh_assert(p->n_mailboxes == 0 && p->columns.n == 0);
    for (size_t c = 0; c < COL_COUNT; c++)
        r.at[c] = NO_COLUMN;
    int rc = plan_check_text(file, text, len, &start, r.err);
    if (rc == 0)
        rc = parse(&r, text + start, len - start);
    if (rc == 0 && !r.has_header)
        rc = plan_fail(r.err, file, (struct mh_pos){0, 0},
                       "the file is empty; its first line is "
                       "id,source_user,target_user, and a line for each mailbox follows");
    if (rc == 0 && p->n_mailboxes == 0)
        rc = plan_fail(r.err, file, (struct mh_pos){0, 0},
                       "there is no mailbox behind the first line; add "
                       "a line for each");
    return rc ? rc : plan_bind_waves(p, r.err);
}
