/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The plan of a migration: the project file, the users and the options of the command line, read,
 * checked and resolved into one source and one target endpoint per mailbox.
 *
 * Who owns what: the plan owns all it points to; mh_plan_free() frees it and wipes secrets. What
 * the caller passes in is copied.
 * Threads: built in one thread; afterwards it does not change and any thread may read it.
 * Never: read the environment (the caller passes those secrets in), open a connection, run a
 * command, or read a password file (mh_secret_get() does when it is needed).
 *
 * Every fault of the input is MH_EUSAGE with the place in err->where ("mailhaul.yaml:7:3",
 * "users.csv:12") and what to do in err->text; mh_err_line() makes one line of both. A project file
 * that does not exist is MH_ENOENT (exit code 10). The project file is YAML 1.1 as libyaml reads
 * it, without anchors, aliases, tags and a second document; keys are checked against tables.
 * users.csv is RFC 4180.
 *
 * `{user}` in path, password-file and the arguments of password-command stands for the mailbox's
 * user of that side. Relative paths of the project file and of its users file start at the project
 * file's folder; those of the command line and its CSV at the working directory.
 *
 * Example. The project file says source imap.old.example with admin-user migadmin, target
 * imap.new.example with password-file pw/{user}; users.csv has the line
 * "anna,anna@old.example,anna@new.example". The plan has one mailbox "anna": its source is a copy
 * of the source's endpoint with the user anna@old.example, its target one with anna@new.example
 * whose secret is the file pw/anna@new.example beside the project file.
 */
#ifndef MH_PLAN_PLAN_H
#define MH_PLAN_PLAN_H

#include "mail/endpoint.h"
#include "plan/map.h"

/* A project file is some kilobytes; a generated one with a thousand rules stays below 100 KiB. */
#define MH_PROJECT_MAX_BYTES    (1u << 20)
/* 100,000 users with forty columns of ten characters. */
#define MH_USERS_MAX_BYTES      (64u << 20)
#define MH_MAILBOXES_MAX        100000u
#define MH_USERS_COLUMNS_MAX    256u
#define MH_USERS_CELL_MAX_BYTES 4096u
/* Connections to one server, and for one mailbox: servers allow tens, large installations
 * hundreds. */
#define MH_PLAN_CONNECTIONS_MAX 1000
#define MH_PLAN_PER_MAILBOX_MAX 64
/* More waves than a migration has weekends. */
#define MH_WAVES_MAX            100u

/* A place in the project file, both from 1; zero when it came from elsewhere. */
struct mh_pos {
    unsigned line;
    unsigned column; /* in characters */
};

struct mh_strings {
    char **v; /* owned; v[n] is NULL (v is NULL while n is 0) */
    size_t n;
};

/* OAuth client credentials of one side (exchange, later gmail); all NULL when not given. */
struct mh_oauth {
    char *tenant;
    char *client_id;
    char *client_secret_file; /* may not be readable by others: checked when it is read */
};

/* One side as the project file or the URL gives it: the template of its mailboxes' endpoints. */
struct mh_side {
    struct mh_endpoint endpoint; /* user NULL but for a plan from two URLs */
    struct mh_oauth oauth;
};

struct mh_mailbox {
    char *id; /* its name in all outputs */
    char *source_user;
    char *target_user;
    struct mh_endpoint source;
    struct mh_endpoint target;
    char *pst;     /* users.csv: an archive to carry along; NULL = none */
    char **cells;  /* owned: one per column of the plan; NULL without a CSV; passwords are "" */
    unsigned line; /* in the users file; 0 = from the command line */
};

enum mh_oversize {
    MH_OVERSIZE_SKIP,       /* ledger: skipped(too-big) */
    MH_OVERSIZE_EXPORT_EML, /* the same, and the message is kept as a file beside the state */
};

enum mh_deletions {
    MH_DELETIONS_NEVER,      /* what vanished at the source stays at the target */
    MH_DELETIONS_QUARANTINE, /* it goes to a quarantine folder there */
};

struct mh_select; /* a wave's expression over the columns of users.csv */

struct mh_wave {
    char *name;
    char *select_text; /* as written */
    struct mh_select *select;
    char *after;              /* name of the wave that must have passed its gate; NULL = none */
    struct mh_strings gate;   /* names of criteria: "verify.complete" */
    struct mh_strings window; /* "Fri 20:00-06:00", checked; none = any time */
    struct mh_pos pos;
    struct mh_pos select_pos;
};

struct mh_criterion {
    char *name; /* "items.failed" */
    bool has_max, has_min, has_coverage;
    uint64_t max;
    uint64_t min;
    unsigned coverage_bp; /* hundredths of a percent: 0 … 10000 */
    char *record;         /* "MX"; NULL = none */
    struct mh_pos pos;
};

struct mh_plan_users; /* index of mailboxes by id and by source user */

struct mh_plan {
    char *file;   /* the project file as it was named; NULL: from URLs */
    char *folder; /* where its relative paths start; "." */

    char *name;     /* project.name; "mailhaul" */
    char *timezone; /* "Europe/Paris"; NULL = the machine's */
    char *state;    /* path; `<name>.db`; NULL for a plan from URLs */

    struct mh_side source;
    struct mh_side target;

    struct mh_strings bandwidth; /* entries for mh_timetable_parse() */
    struct mh_pos bandwidth_pos;
    uint64_t memory_bytes; /* MH_MEMORY_DEFAULT_BYTES */

    enum mh_oversize oversize;
    enum mh_deletions deletions;
    struct mh_keyword_map keywords;
    struct mh_map_rules *map; /* never NULL */

    struct mh_wave *waves;
    size_t n_waves;
    struct mh_criterion *criteria;
    size_t n_criteria;

    char *users_file;          /* path; NULL = none */
    struct mh_strings columns; /* its header */
    struct mh_mailbox *mailboxes;
    size_t n_mailboxes;
    size_t cap_mailboxes;
    struct mh_plan_users *users;

    struct mh_strings notes; /* what `check` should say: one line each, nothing that stops a run */
};

/* --- making one ------------------------------------------------------------------------------- */

/*
 * What the command line and the environment say about one side's secret; all may be NULL, all are
 * copied. FILE and COMMAND (at most one) go before what users.csv and the project file say, VALUE
 * (the environment's) is taken when nobody says anything.
 */
struct mh_plan_secret {
    const char *file;
    char *const *command; /* NULL-terminated argv */
    const char *value;
};

struct mh_plan_opts {
    struct mh_plan_secret source;
    struct mh_plan_secret target;
};

/* Reads the project file PATH and its users. OPTS may be NULL (here and below). */
int mh_plan_load(const char *path, const struct mh_plan_opts *opts, struct mh_plan **out,
                 struct mh_err *err) MH_NONNULL(1, 3) MH_MUST_CHECK;
/* The same from memory, called FILE in errors, and without opening the users file: no mailboxes. */
int mh_plan_parse(const char *text, size_t len, const char *file, struct mh_plan **out,
                  struct mh_err *err) MH_NONNULL(1, 3, 4) MH_MUST_CHECK;
/* Adds the mailboxes of a CSV in memory, called FILE in errors, MODE being the file's permission
 * bits. Once per plan. */
int mh_plan_add_users(struct mh_plan *p, const char *text, size_t len, const char *file,
                      unsigned mode, const struct mh_plan_opts *opts, struct mh_err *err)
    MH_NONNULL(1, 2, 4) MH_MUST_CHECK;
/* `copy SRC DST`: one mailbox, its id the user's name, or the archive's where there is no user. */
int mh_plan_from_urls(const char *source_url, const char *target_url,
                      const struct mh_plan_opts *opts, struct mh_plan **out, struct mh_err *err)
    MH_NONNULL(1, 2, 4) MH_MUST_CHECK;
/* `copy --users CSV SRC DST`: two servers (URLs without a user), or archives with {user} in
 * their path; one mailbox for each row. */
int mh_plan_from_urls_and_users(const char *source_url, const char *target_url,
                                const char *users_path, const struct mh_plan_opts *opts,
                                struct mh_plan **out, struct mh_err *err)
    MH_NONNULL(1, 2, 3, 5) MH_MUST_CHECK;
void mh_plan_free(struct mh_plan *p);

/* --- asking it -------------------------------------------------------------------------------- */

/* By id, letter case ignored; NULL if there is none. Borrowed: P. */
const struct mh_mailbox *mh_plan_mailbox(const struct mh_plan *p, const char *id) MH_NONNULL(1, 2);
/* The target user of SOURCE_USER (letter case ignored), for ACL identifiers; NULL if unknown. Of
 * several rows with one source user the first counts. Borrowed: P. */
const char *mh_plan_map_user(const struct mh_plan *p, const char *source_user) MH_NONNULL(1, 2);
/* A mailbox's value in a column of users.csv; NULL if there is no such column. Borrowed: P. */
const char *mh_plan_cell(const struct mh_plan *p, const struct mh_mailbox *m, const char *column)
    MH_NONNULL(1, 2, 3);
/* NULL if there is none. Borrowed: P. */
const struct mh_wave *mh_plan_wave(const struct mh_plan *p, const char *name) MH_NONNULL(1, 2);
bool mh_wave_selects(const struct mh_wave *w, const struct mh_mailbox *m) MH_NONNULL(1, 2);
/* How the folders of M are mapped: prefix and folders of its endpoints, letter case by the
 * target's profile. The strings are borrowed from M. */
struct mh_map_opts mh_plan_map_opts(const struct mh_mailbox *m, char source_separator)
    MH_NONNULL(1);

/* Splits `pass show "a b"` into words as --source-password-command wants it: blanks separate,
 * '…' and "…" keep together, a backslash takes the next character as it is; no variables, no
 * globs, no shell. */
int mh_plan_split_command(const char *text, struct mh_strings *out, struct mh_err *err)
    MH_NONNULL(1, 2) MH_MUST_CHECK;
void mh_strings_done(struct mh_strings *s);

#endif
