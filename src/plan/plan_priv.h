/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the plan module: input text and its errors, the YAML tree, the schema reader, sets of
 * names, and the parts of a plan that several files build. Each function's file is named above its
 * block.
 *
 * Ownership: trees and sets are freed by their _free/_done; everything read into a struct mh_plan
 * is owned by the plan at once, so that mh_plan_free() cleans up after any error. One thread.
 */
#ifndef MH_PLAN_PRIV_H
#define MH_PLAN_PRIV_H

#include "plan/plan.h"

/* --- text.c: reading, checking, pointing at, quoting ------------------------------------------ */

/* Bytes of a quoted piece of input in an error line. */
#define PLAN_QUOTE_BYTES 128

/* mh_err_nomem(), for all callers to see that it is never 0 (the static analyser among them). */
static inline int plan_nomem(struct mh_err *err)
{
    (void)mh_err_nomem(err);
    return MH_ERUN;
}

/* Fills ERR with MH_EUSAGE and the place FILE:line:column (as far as POS has them). */
int plan_fail(struct mh_err *err, const char *file, struct mh_pos pos, const char *fmt, ...)
    MH_PRINTF(4, 5) MH_MUST_CHECK;
/* 'TEXT' printable and cut, into BUF. */
const char *plan_quote(char buf[PLAN_QUOTE_BYTES], const char *text, size_t len);
/* A file's contents, terminated, at most MAX bytes; its permission bits into *MODE_OUT.
 * MH_ENOENT when there is no such file. WHAT is "project file", "users file". */
int plan_read_file(const char *path, const char *what, size_t max, char **text_out, size_t *len_out,
                   unsigned *mode_out, struct mh_err *err) MH_MUST_CHECK;
/* UTF-8 without control bytes but tab and line ends? *START_OUT is behind a byte order mark. */
int plan_check_text(const char *file, const char *text, size_t len, size_t *start_out,
                    struct mh_err *err) MH_MUST_CHECK;
/* The name of N nearest to NAME, or NULL if none is near. NAMES are STRIDE bytes apart. */
const char *plan_nearest(const char *name, const void *names, size_t n, size_t stride);
/* PATH seen from FOLDER; caller frees. */
char *plan_path_in(const char *folder, const char *path) MH_MUST_CHECK;
/* The folder of a file's path ("." for a bare name); caller frees. */
char *plan_path_folder(const char *path) MH_MUST_CHECK;
/* Appends a copy of TEXT. */
int plan_strings_add(struct mh_strings *s, const char *text, size_t len,
                     struct mh_err *err) MH_MUST_CHECK;
/* Appends a finished line to the plan's notes. */
int plan_note(struct mh_plan *p, struct mh_err *err, const char *fmt, ...)
    MH_PRINTF(3, 4) MH_MUST_CHECK;

/* --- fold.c ----------------------------------------------------------------------------------- */

/* TEXT (UTF-8) without letter case: simple folding of Latin, Greek, Cyrillic, Armenian. Caller
 * frees. */
char *plan_fold(const char *text) MH_MUST_CHECK;
/* The same for ASCII letters only. */
char *plan_lower(const char *text) MH_MUST_CHECK;
void plan_lower_in_place(char *text);

/* --- strset.c --------------------------------------------------------------------------------- */

/* Strings, each with a number: a crit-bit tree, so that no choice of names can make it slow. */
struct plan_strset {
    struct plan_strset_node *nodes;  /* owned */
    struct plan_strset_leaf *leaves; /* owned */
    size_t n;
    size_t cap;
    struct mh_buf keys; /* owned: copies */
};

void plan_strset_done(struct plan_strset *s);
/* The number of KEY, for reading and changing until the next put; NULL if absent. */
size_t *plan_strset_get(const struct plan_strset *s, const char *key);
/* Adds KEY with VALUE. MH_EEXIST (ERR untouched): it is there; its number stays. */
int plan_strset_put(struct plan_strset *s, const char *key, size_t value,
                    struct mh_err *err) MH_MUST_CHECK;

/* --- doc.c: YAML to a tree with positions ----------------------------------------------------- */

/* Nesting: the deepest value of a project file is four levels down. */
#define PLAN_DOC_DEPTH_MAX 16
/* Values of a document: bounds what 1 MiB of "[[],[],…" may cost. */
#define PLAN_DOC_NODES_MAX 100000
/* Keys of one mapping: each is compared with all others. */
#define PLAN_DOC_KEYS_MAX  1000

enum plan_node_kind { PLAN_SCALAR, PLAN_LIST, PLAN_MAP };

struct plan_node {
    enum plan_node_kind kind;
    struct mh_pos pos;
    bool is_null; /* a scalar without a value: nothing, ~, null */
    char *text;   /* owned: of a scalar, terminated */
    size_t len;
    struct plan_node *key;   /* owned: of a member of a mapping */
    struct plan_node *next;  /* owned: sibling */
    struct plan_node *first; /* owned: children */
    struct plan_node *last;  /* borrowed */
    size_t n;                /* children */
};

/* MH_EUSAGE with FILE:line:column. TEXT has passed plan_check_text(). */
int plan_doc_parse(const char *file, const char *text, size_t len, struct plan_node **root_out,
                   struct mh_err *err) MH_MUST_CHECK;
void plan_node_free(struct plan_node *n);
/* The member KEY of a mapping; NULL if absent. */
const struct plan_node *plan_node_get(const struct plan_node *map, const char *key);

/* --- schema.c: a tree into structs, by tables ------------------------------------------------- */

enum plan_field_type {
    PLAN_TEXT,    /* char *: one line of text */
    PLAN_NAME,    /* char *: letters, digits, "-", "_", "." */
    PLAN_PATH,    /* char *: seen from the project file's folder */
    PLAN_UINT,    /* unsigned of `width` bytes, min … max */
    PLAN_SIZE,    /* uint64_t: "35MiB", min … max */
    PLAN_CHOICE,  /* enum of `width` bytes */
    PLAN_BOOL,    /* bool: yes, no, true, false */
    PLAN_TEXTS,   /* struct mh_strings: a list of texts; with `one_is_list` also a single one */
    PLAN_MAPPING, /* a struct at the offset, by `schema` */
    PLAN_READ     /* whatever `read` makes of it */
};

struct plan_choice {
    const char *name;
    int value;
};

struct plan_reader {
    const char *file; /* borrowed: for errors */
    struct mh_plan *plan;
    struct mh_err *err;
};

struct plan_field {
    const char *key;
    enum plan_field_type type;
    bool required;
    bool one_is_list;
    size_t offset;
    size_t width;
    uint64_t min, max;
    const struct plan_choice *choices; /* to a NULL name */
    const struct plan_schema *schema;
    int (*read)(struct plan_reader *r, const struct plan_node *node, void *obj);
};

struct plan_schema {
    const char *name; /* for people: "source" */
    const char *form; /* what it looks like: "{type: imap, host: …}" */
    const struct plan_field *fields;
    size_t n_fields;
    /* Looks at the whole once all members were read; may be NULL. */
    int (*check)(struct plan_reader *r, const struct plan_node *node, void *obj);
};

/* plan_fail() at a node. */
int plan_node_fail(struct plan_reader *r, const struct plan_node *node, const char *fmt, ...)
    MH_PRINTF(3, 4) MH_MUST_CHECK;
int plan_read_mapping(struct plan_reader *r, const struct plan_schema *schema,
                      const struct plan_node *node, void *obj) MH_MUST_CHECK;
/* One value, or a list of texts, into SLOT: for PLAN_READ fields that keep more than the value. */
int plan_read_scalar(struct plan_reader *r, const struct plan_field *f,
                     const struct plan_node *node, void *slot) MH_MUST_CHECK;
int plan_read_texts(struct plan_reader *r, const struct plan_field *f, const struct plan_node *node,
                    struct mh_strings *slot) MH_MUST_CHECK;
/* Is NODE a list (WHAT, FORM for the error)? */
int plan_expect(struct plan_reader *r, const struct plan_node *node, enum plan_node_kind kind,
                const char *what, const char *form) MH_MUST_CHECK;
/* A scalar with printable text in it? */
int plan_expect_text(struct plan_reader *r, const struct plan_node *node,
                     const char *what) MH_MUST_CHECK;
/* Letters, digits, "-", "_", ".", at most 64 bytes? */
bool plan_is_name(const char *text);

/* --- project.c, side.c, waves.c, select.c ----------------------------------------------------- */

int plan_read_project(struct plan_reader *r, const struct plan_node *root) MH_MUST_CHECK;

extern const struct plan_schema plan_source_schema; /* of struct mh_side */
extern const struct plan_schema plan_target_schema;

int plan_read_waves(struct plan_reader *r, const struct plan_node *node, void *plan) MH_MUST_CHECK;
int plan_read_criteria(struct plan_reader *r, const struct plan_node *node,
                       void *plan) MH_MUST_CHECK;
void plan_wave_done(struct mh_wave *w);

/* Once users.csv is known: resolves columns, notes waves without mailboxes and mailboxes without
 * a wave. */
int plan_bind_waves(struct mh_plan *p, struct mh_err *err) MH_MUST_CHECK;

/* MH_EUSAGE without a place. */
int plan_select_parse(const char *text, struct mh_select **out, struct mh_err *err) MH_MUST_CHECK;
void plan_select_free(struct mh_select *s);
/* The name of a column that COLUMNS has not, or NULL when all are found; binds them. */
const char *plan_select_bind(struct mh_select *s, const struct mh_strings *columns);
bool plan_select_matches(const struct mh_select *s, char *const *cells);

/* --- users.c, resolve.c ----------------------------------------------------------------------- */

/* Indexes of the mailboxes. */
struct mh_plan_users {
    struct plan_strset by_id;
    struct plan_strset by_source;
    struct plan_strset by_target;
};

/* What a row of users.csv adds to the sides; borrowed while the row is resolved. */
struct plan_row {
    const char *source_password, *target_password;           /* NULL or "": none */
    const char *source_password_file, *target_password_file; /* likewise */
};

/* All that is said about one side's secret of one mailbox. */
struct plan_secret_words {
    const char *side;                 /* "source", "target" */
    const struct mh_plan_secret *opt; /* NULL: none */
    const char *password;             /* of the row; NULL or "": none */
    const char *password_file;        /* likewise */
};

/* Makes the endpoints of M, which has its id, users and pst. ROW and OPTS may be NULL. */
int plan_resolve(struct mh_plan *p, struct mh_mailbox *m, const struct plan_row *row,
                 const struct mh_plan_opts *opts, struct mh_err *err) MH_MUST_CHECK;
/* Adds a mailbox that is resolved to the plan and its indexes; takes M's contents when it
 * returns 0. */
int plan_add_mailbox(struct mh_plan *p, const char *file, struct mh_mailbox *m,
                     struct mh_err *err) MH_MUST_CHECK;
void plan_mailbox_done(struct mh_mailbox *m);

/* --- plan.c ----------------------------------------------------------------------------------- */

/* An empty plan with its defaults. FILE may be NULL. */
int plan_new(const char *file, struct mh_plan **out, struct mh_err *err) MH_MUST_CHECK;

#endif
