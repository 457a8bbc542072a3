/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What becomes of each folder and each keyword: the mapping rules, applied. Pure functions: no I/O,
 * no clock, no locale; the same input gives the same output.
 *
 * Who owns what: rules and mappings are owned by the caller and freed with their _free/_done; a
 * mapping borrows the two folder lists it was made from, which must outlive it unchanged.
 * Threads: rules do not change once they are built, so any number of threads may apply them.
 * Never: lose a folder. Every source folder has exactly one entry, with a target or with the reason
 * why it has none.
 *
 * In this order, for each source folder:
 *   1. the project file's rules, the first that fits ("rule", or "skip");
 *   2. the path an earlier run gave it ("known");
 *   3. with a folder prefix (or a target folder of the command line): the same path below it
 *      ("prefix");
 *   4. INBOX to INBOX, and a folder with a role to the target's folder of that role, announced
 *      before guessed, or to the role's usual name where the target has none ("role");
 *   5. below a folder that 4, a role rule or a collision gave another name: along with it
 *      ("parent");
 *   6. the same path ("same").
 * Two folders fold into one only where a rule says so (flag MERGED). Where the defaults would send
 * two folders to one path, INBOX comes before announced roles, roles before plain folders, then
 * path order; the later one gets " (2)", " (3)", … behind its name (flag RENAMED), never a name
 * that another source folder has. The numbers depend on the source's folders alone, so a second run
 * makes the same ones.
 *
 * Example. The source has Gesendet (role sent), Gesendet/2019 and a plain folder Sent; the target
 * announces Sent Items as \Sent. Gesendet -> "Sent Items" (role), Gesendet/2019 -> "Sent
 * Items/2019" (parent), Sent -> "Sent" (same). If the target announced nothing, Gesendet would
 * become "Sent" and the plain folder "Sent (2)".
 */
#ifndef MH_PLAN_MAP_H
#define MH_PLAN_MAP_H

#include "mail/folder.h"

/* --- rules ------------------------------------------------------------------------------------ */

/* Rules of one project: a person writes a dozen, a generator perhaps hundreds. */
#define MH_MAP_RULES_MAX            1000
/* Bytes of one expression. */
#define MH_MAP_MATCH_MAX_BYTES      512
/* Paths above this take the default: matching time grows with the length, and a server chooses
 * it. */
#define MH_MAP_MATCH_PATH_MAX_BYTES 1024

struct mh_map_rules; /* the rules of a project file, compiled */

/*
 * One rule as it is written. Either ROLE or MATCH chooses the folders; either TO or SKIP says what
 * becomes of them.
 *   match  a POSIX extended regular expression (no back-references; characters are UTF-8) that
 *          must fit the whole path. It is tried on the canonical path ("INBOX/Old/2019"), on the
 *          same with the source's own separator ("INBOX.Old.2019"), and where the server keeps
 *          everything below INBOX, with that in front.
 *   to     a canonical path; $1 … $9 are the groups of match, $$ is a dollar sign. "@sent" in front
 *          is the target's folder of that role ("@archive/$1" is below it); a name that really
 *          begins with @ is written %40.
 */
struct mh_map_rule {
    enum mh_role role; /* MH_ROLE_NONE: by match */
    const char *match; /* borrowed during the call, or NULL */
    const char *to;    /* likewise */
    bool skip;
};

int mh_map_rules_new(struct mh_map_rules **out, struct mh_err *err) MH_MUST_CHECK;
void mh_map_rules_free(struct mh_map_rules *r);
/* Appends a rule. MH_EUSAGE says what is wrong with it (without a position: the caller knows
 * it). */
int mh_map_rules_add(struct mh_map_rules *r, const struct mh_map_rule *rule, struct mh_err *err)
    MH_NONNULL(1, 2) MH_MUST_CHECK;
size_t mh_map_rules_count(const struct mh_map_rules *r); /* NULL: 0 */
/* Rule NUMBER (from 1) for people: `match "INBOX.Old/(.+)" to "Archive/$1"`. Borrowed: R. */
const char *mh_map_rules_text(const struct mh_map_rules *r, size_t number) MH_NONNULL(1);

/* --- the mapping of one mailbox --------------------------------------------------------------- */

enum mh_map_why {
    MH_MAP_SAME,    /* the same path */
    MH_MAP_ROLE,    /* the target's folder of this role; INBOX */
    MH_MAP_PARENT,  /* goes along with the folder it is in */
    MH_MAP_PREFIX,  /* below the folder prefix or the target folder of the command line */
    MH_MAP_KNOWN,   /* as in an earlier run */
    MH_MAP_RULE,    /* rule number `rule` */
    MH_MAP_SKIP,    /* not carried: rule number `rule` says skip */
    MH_MAP_FOREIGN, /* not carried: another user's or a shared folder */
    MH_MAP_OUTSIDE, /* not carried: outside the source folder of the command line */
};

enum mh_map_flag {
    MH_MAP_MERGED = 1 << 0,  /* a rule sends several source folders to this target */
    MH_MAP_RENAMED = 1 << 1, /* got " (2)" because another folder has the name */
    MH_MAP_CASE = 1 << 2,    /* warning: differs from another name in letter case only */
    MH_MAP_VIRTUAL =
        1 << 3, /* warning: \All, \Flagged, \Important usually repeat other folders' mail */
    MH_MAP_NOSELECT =
        1 << 4, /* warning: the target has the name, but it cannot hold messages yet */
    MH_MAP_UNMATCHED =
        1 << 5, /* warning: the path is too long for match rules, it took the default */
};

struct mh_map_entry {
    const struct mh_folder *source;   /* borrowed */
    char *target;                     /* owned: canonical path; NULL: not carried */
    const struct mh_folder *existing; /* borrowed: the target has it already; NULL: to be made */
    enum mh_role role;                /* to make it with; MH_ROLE_NONE for an ordinary folder */
    enum mh_map_why why;
    size_t rule;    /* from 1; 0: no rule */
    unsigned flags; /* enum mh_map_flag */
    char *note;     /* owned: one line for a person about the flags, or NULL */
};

struct mh_mapping {
    struct mh_map_entry *v; /* owned: v[i] is about source->v[i] */
    size_t n;
    size_t carried, merged, renamed, warned; /* how many entries */
};

#define MH_MAPPING_INIT                                                                            \
    {                                                                                              \
        NULL, 0, 0, 0, 0, 0                                                                        \
    }

struct mh_map_opts {
    const char *folder_prefix; /* put everything below this path (but what a rule sends to @role) */
    const char *source_folder; /* carry only this folder and what is below it */
    const char *target_folder; /* source_folder becomes this one; without one: like folder_prefix */
    char source_separator;     /* of native names; 0 = none */
    bool target_ignores_case;  /* Exchange: "Notes" and "notes" are one folder */
    /* The target path an earlier run gave this source folder, or NULL: guessed roles and numbers
     * may come out otherwise once folders were added. Borrowed until the next call. NULL: no
     * earlier run. */
    const char *(*known)(void *ctx, const char *source_path);
    void *known_ctx;
};

/*
 * Maps every folder of SOURCE. Both lists have their roles set (mh_folders_guess_roles). RULES and
 * OPTS may be NULL. *OUT is initialised or zero; mh_mapping_done() it also after an error.
 * MH_EUSAGE: a rule makes an empty name of a folder.
 */
int mh_map_apply(const struct mh_map_rules *rules, const struct mh_folders *source,
                 const struct mh_folders *target, const struct mh_map_opts *opts,
                 struct mh_mapping *out, struct mh_err *err) MH_NONNULL(2, 3, 5) MH_MUST_CHECK;
void mh_mapping_done(struct mh_mapping *m);
/* "same", "role", …, for tables and JSON. */
const char *mh_map_why_name(enum mh_map_why why);

/* --- keywords --------------------------------------------------------------------------------- */

/* Rules of one project: each costs a comparison per renamed keyword. */
#define MH_KEYWORD_RULES_MAX 256

struct mh_keyword_rule {
    char *from; /* owned; letter case is ignored (RFC 9051 section 2.3.2) */
    char *to;   /* owned; NULL: dropped */
};

struct mh_keyword_map {
    struct mh_keyword_rule *v; /* owned */
    size_t n;
};

void mh_keyword_map_done(struct mh_keyword_map *m);
/* TO NULL: drop. MH_EUSAGE when TO cannot be a keyword (an atom), FROM has a rule, or there are
 * too many. */
int mh_keyword_map_add(struct mh_keyword_map *m, const char *from, const char *to,
                       struct mh_err *err) MH_NONNULL(1, 2) MH_MUST_CHECK;
/*
 * Appends the blank-separated keywords IN, mapped, to OUT and those that were dropped to DROPPED
 * (blank-separated too). Two that become one appear once. M may be NULL.
 * True: OUT is another set than IN.
 */
bool mh_map_keywords(const struct mh_keyword_map *m, const char *in, struct mh_buf *out,
                     struct mh_buf *dropped) MH_NONNULL(2, 3, 4);

#endif
