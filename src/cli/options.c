/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The options, one table: parsing, --help and the completion files are checked against it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/cli.h"

enum option_id {
    OPT_JSON,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_TRACE,
    OPT_STATE,
    OPT_PROJECT,
    OPT_USERS,
    OPT_TIMEOUT,
    OPT_MEMORY,
    OPT_BWLIMIT,
    OPT_CONNECTIONS,
    OPT_PER_MAILBOX,
    OPT_COMPRESS,
    OPT_WATCH,
    OPT_UNTIL,
    OPT_POLL,
    OPT_RETRY_FAILED,
    OPT_DRY_RUN,
    OPT_PILOT,
    OPT_WAVE,
    OPT_DEEP,
    OPT_SAMPLE,
    OPT_FRESH,
    OPT_COLOR,
    OPT_SOURCE_FILE,
    OPT_TARGET_FILE,
    OPT_SOURCE_COMMAND,
    OPT_TARGET_COMMAND,
    OPT_HELP,
    OPT_VERSION,
};

struct option_row {
    const char *name;
    char letter; /* 0: none */
    enum option_id id;
    const char *value; /* NULL: a switch */
    const char *help;
};

static const struct option_row rows[] = {
    {"source-password-file", 0, OPT_SOURCE_FILE, "FILE", "its first line is the source's password"},
    {"target-password-file", 0, OPT_TARGET_FILE, "FILE", "likewise for the target"},
    {"source-password-command", 0, OPT_SOURCE_COMMAND, "CMD", "the first line it prints; no shell"},
    {"target-password-command", 0, OPT_TARGET_COMMAND, "CMD", "likewise for the target"},
    {"users", 0, OPT_USERS, "CSV", "copy: one mailbox for each row (id,source_user,target_user)"},
    {"project", 0, OPT_PROJECT, "FILE", "the project file (default: mailhaul.yaml)"},
    {"state", 0, OPT_STATE, "FILE", "where the state lies"},
    {"dry-run", 'n', OPT_DRY_RUN, NULL, "decide and count, change nothing"},
    {"pilot", 0, OPT_PILOT, "N", "only the first N mailboxes"},
    {"wave", 0, OPT_WAVE, "NAME", "only the mailboxes of this wave"},
    {"watch", 0, OPT_WATCH, NULL, "run: go on as a service, pass after pass"},
    {"until", 0, OPT_UNTIL, "TIME", "run: stop then: 06:00, or 2026-12-01T06:00"},
    {"poll", 0, OPT_POLL, "SECONDS",
     "run --watch: how often quiet servers are asked (default: 60)"},
    {"retry-failed", 0, OPT_RETRY_FAILED, NULL, "run: only messages that failed before"},
    {"deep", 0, OPT_DEEP, NULL, "verify: read both sides, believe no digest of an earlier run"},
    {"sample", 0, OPT_SAMPLE, "PERCENT",
     "verify: the content of so many messages, the listing of all"},
    {"fresh", 0, OPT_FRESH, NULL, "verify: begin anew instead of going on"},
    {"memory", 0, OPT_MEMORY, "SIZE", "cap for message bytes in memory (default: 256MiB)"},
    {"bwlimit", 0, OPT_BWLIMIT, "TIMETABLE", "\"2M\" or \"08:00,512K 19:00,off\""},
    {"connections", 0, OPT_CONNECTIONS, "N", "at most N connections to each server"},
    {"per-mailbox", 0, OPT_PER_MAILBOX, "N", "at most N connections for one mailbox"},
    {"compress", 0, OPT_COMPRESS, "WHEN", "auto (where the wire is the limit), always or never"},
    {"timeout", 0, OPT_TIMEOUT, "SECONDS", "for one read that brings nothing (default: 60)"},
    {"json", 0, OPT_JSON, NULL, "one JSON object on standard output"},
    {"quiet", 'q', OPT_QUIET, NULL, "only errors"},
    {"verbose", 'v', OPT_VERBOSE, NULL, "more lines; twice: per command"},
    {"trace", 0, OPT_TRACE, "FILE", "protocol text, secrets and bodies removed"},
    {"color", 0, OPT_COLOR, "WHEN", "auto, always or never (and NO_COLOR)"},
    {"help", 'h', OPT_HELP, NULL, "this text"},
    {"version", 0, OPT_VERSION, NULL, "version and libraries"},
};

/* --- help ---------------------------------------------------------------------------------------------- */

static void print_options(FILE *out)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
        char left[48];
        (void)snprintf(left, sizeof left, "%c%c%s--%s%s%s", rows[i].letter ? '-' : ' ',
                       rows[i].letter ? rows[i].letter : ' ', rows[i].letter ? ", " : "  ",
                       rows[i].name, rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
        (void)fprintf(out, "  %-34s %s\n", left, rows[i].help);
    }
}

void mh_cli_help(FILE *out, const struct mh_cli_command *command)
{
    if (command) {
        (void)fprintf(out, "usage: mailhaul %s %s [OPTION...]\n\n%s\n\n", command->name,
                      command->args, command->summary);
    } else {
        (void)fputs(
            "usage: mailhaul COMMAND [ARGUMENT...] [OPTION...]\n\n"
            "Moves mailboxes between mail servers and archives, whole and accounted for.\n\n",
            out);
        for (const struct mh_cli_command *c = mh_cli_commands; c->name; c++)
            (void)fprintf(out, "  %-8s %s\n", c->name, c->summary);
        (void)fputs(
            "\nAddresses: imaps://user@host/  imap://user@host/ (STARTTLS)  maildir:/path  "
            "mbox:/path\n"
            "  eml:/path, with ?ca=FILE ?pin=sha256:HEX "
            "?auth=plain|login|scram|xoauth2|oauthbearer\n"
            "  ?admin=USER ?tls=none. Passwords: the options below, MAILHAUL_SOURCE_PASSWORD and\n"
            "  MAILHAUL_TARGET_PASSWORD, or a prompt; never in an address.\n\n",
            out);
    }
    print_options(out);
    (void)fputs(
        "\nExit: 0 done, 1 error, 2 usage, 3 failed items, 4 not met, 10 no project, 11 locked,\n"
        "  12 login refused, 130 interrupted.  More: man mailhaul\n",
        out);
}

/* --- parsing -------------------------------------------------------------------------------------------- */

static int unknown(const char *name, size_t len, struct mh_err *err)
{
    char given[64];
    const char *nearest = NULL;
    unsigned best = 4;
    (void)snprintf(given, sizeof given, "%.*s", (int)MH_MIN(len, sizeof given - 1), name);
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
        unsigned d = mh_str_distance(given, rows[i].name, 3);
        if (d < best) {
            best = d;
            nearest = rows[i].name;
        }
    }
    if (nearest)
        return mh_err_set(err, MH_EUSAGE, "usage", "unknown option --%s; did you mean --%s?", given,
                          nearest);
    return mh_err_set(err, MH_EUSAGE, "usage", "unknown option --%s; see mailhaul --help", given);
}

static int bad_value(const struct option_row *row, const char *value, struct mh_err *err)
{
    return mh_err_set(err, MH_EUSAGE, "usage", "--%s: cannot read '%s' as %s", row->name, value,
                      row->value);
}

static int set_number(const struct option_row *row, const char *value, unsigned max, unsigned *out,
                      struct mh_err *err)
{
    uint64_t n = 0;
    if (!mh_parse_u64(value, strlen(value), max, &n) || n == 0)
        return bad_value(row, value, err);
    *out = (unsigned)n;
    return MH_OK;
}

/* "12", "0.5", "100%": above 0 and at most 100, four places behind the point. */
static int set_percent(const struct option_row *row, const char *value, uint32_t *ppm_out,
                       struct mh_err *err)
{
    enum { PPM_PER_PERCENT = 10000, PLACES = 4 };
    size_t len = strlen(value);
    uint64_t whole = 0;
    uint64_t part = 0;
    if (len > 1 && value[len - 1] == '%')
        len--;
    const char *point = memchr(value, '.', len);
    size_t n_whole = point ? (size_t)(point - value) : len;
    size_t n_part = point ? len - n_whole - 1 : 0;
    bool ok = mh_parse_u64(value, n_whole, 100, &whole) && n_part <= PLACES &&
              (!point || mh_parse_u64(point + 1, n_part, PPM_PER_PERCENT - 1, &part));
    for (; n_part < PLACES; n_part++)
        part *= 10;
    uint64_t ppm = whole * PPM_PER_PERCENT + part;
    if (!ok || ppm == 0 || ppm > 100 * PPM_PER_PERCENT)
        return bad_value(row, value, err);
    *ppm_out = (uint32_t)ppm;
    return MH_OK;
}

/* The order is that of enum mh_color and enum mh_compress. */
static int set_when(const struct option_row *row, const char *value, unsigned *out,
                    struct mh_err *err)
{
    static const char *const names[] = {"auto", "always", "never"};
    for (unsigned i = 0; i < MH_ARRAY_LEN(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *out = i;
            return MH_OK;
        }
    }
    return bad_value(row, value, err);
}

/* The moment at which local clocks, with or without daylight saving, show WANT; false when they do not. */
static bool moment_of(const struct tm *want, int is_dst, int64_t *out)
{
    struct tm tm = *want;
    struct tm shown = *want;
    tm.tm_isdst = is_dst;
    time_t at = mktime(&tm);
    *out = (int64_t)at;
    /* timegm() counts the same days in both, also where WANT's is the 32nd. */
    return localtime_r(&at, &tm) && timegm(&tm) == timegm(&shown);
}

/* The first moment after NOW_S at which local clocks show WANT, else the last one. */
static int64_t next_moment(const struct tm *want, int64_t now_s)
{
    int64_t summer = 0;
    int64_t winter = 0;
    bool in_summer = moment_of(want, 1, &summer);
    bool in_winter = moment_of(want, 0, &winter);
    if (in_summer && (!in_winter || summer > now_s))
        return summer;
    return winter; /* also where neither shows it */
}

bool mh_cli_time(const char *value, int64_t now_s, int64_t *wall_s_out)
{
    time_t now = (time_t)now_s;
    struct tm tm;
    bool is_clock = value[strcspn(value, "-")] == '\0';
    if (!localtime_r(&now, &tm))
        return false;
    const char *end = strptime(value, is_clock ? "%H:%M" : "%Y-%m-%dT%H:%M", &tm);
    if (!end || *end)
        return false;
    tm.tm_sec = 0;
    *wall_s_out = next_moment(&tm, now_s);
    if (is_clock && *wall_s_out <= now_s) {
        tm.tm_mday++;
        *wall_s_out = next_moment(&tm, now_s);
    }
    return true;
}

static int set_time(const struct option_row *row, const char *value, int64_t now_s, int64_t *out,
                    struct mh_err *err)
{
    if (!mh_cli_time(value, now_s, out))
        return bad_value(row, value, err);
    if (*out <= now_s)
        return mh_err_set(err, MH_EUSAGE, "usage", "--%s: %s is over", row->name, value);
    return MH_OK;
}

static int set_command(struct mh_cli_options *o, unsigned side, const char *value,
                       struct mh_err *err)
{
    struct mh_plan_secret *secret = side ? &o->app.secrets.target : &o->app.secrets.source;
    mh_strings_done(&o->commands[side]);
    int code = mh_plan_split_command(value, &o->commands[side], err);
    secret->command = o->commands[side].v;
    return code;
}

static int apply_switch(struct mh_cli_options *o, enum option_id id)
{
    switch (id) {
    case OPT_JSON:
        o->app.json = true;
        break;
    case OPT_QUIET:
        o->app.quiet = true;
        break;
    case OPT_VERBOSE:
        o->verbose++;
        break;
    case OPT_WATCH:
        o->app.watch = true;
        break;
    case OPT_RETRY_FAILED:
        o->app.retry_failed = true;
        break;
    case OPT_DRY_RUN:
        o->app.dry_run = true;
        break;
    case OPT_DEEP:
        o->app.verify.deep = true;
        break;
    case OPT_FRESH:
        o->app.verify.fresh = true;
        break;
    case OPT_HELP:
        o->help = true;
        break;
    case OPT_VERSION:
        o->version = true;
        break;
    default:
        break;
    }
    return MH_OK;
}

/* Where the value goes as it is; NULL: it means something else than itself. */
static const char **text_of(struct mh_cli_options *o, enum option_id id)
{
    struct mh_app *app = &o->app;
    switch (id) {
    case OPT_TRACE:
        return &o->trace_file;
    case OPT_STATE:
        return &app->state_path;
    case OPT_PROJECT:
        return &app->project_file;
    case OPT_USERS:
        return &app->users_csv;
    case OPT_BWLIMIT:
        return &app->bwlimit;
    case OPT_WAVE:
        return &app->wave;
    case OPT_SOURCE_FILE:
        return &app->secrets.source.file;
    case OPT_TARGET_FILE:
        return &app->secrets.target.file;
    default:
        return NULL;
    }
}

static int apply_value(struct mh_cli_options *o, const struct option_row *row, const char *value,
                       struct mh_err *err)
{
    struct mh_app *app = &o->app;
    unsigned n = 0;
    int code = MH_OK;
    switch (row->id) {
    case OPT_TIMEOUT:
        code = set_number(row, value, 24 * 3600, &n, err);
        app->timeout_ms = (int64_t)n * 1000;
        return code;
    case OPT_POLL:
        code = set_number(row, value, 24 * 3600, &n, err);
        app->poll_ms = (int64_t)n * 1000;
        return code;
    case OPT_MEMORY:
        return mh_parse_size(value, &app->memory_bytes) ? MH_OK : bad_value(row, value, err);
    case OPT_CONNECTIONS:
        return set_number(row, value, MH_PLAN_CONNECTIONS_MAX, &app->connections, err);
    case OPT_PER_MAILBOX:
        return set_number(row, value, MH_PLAN_PER_MAILBOX_MAX, &app->per_mailbox, err);
    case OPT_PILOT:
        return set_number(row, value, MH_MAILBOXES_MAX, &app->pilot, err);
    case OPT_SAMPLE:
        return set_percent(row, value, &app->verify.sample_ppm, err);
    case OPT_UNTIL:
        return set_time(row, value, mh_clock_wall_s(), &app->until_wall_s, err);
    case OPT_COLOR:
        code = set_when(row, value, &n, err);
        o->color = (enum mh_color)n;
        return code;
    case OPT_COMPRESS:
        code = set_when(row, value, &n, err);
        app->compress = (enum mh_compress)n;
        return code;
    case OPT_SOURCE_COMMAND:
        return set_command(o, 0, value, err);
    case OPT_TARGET_COMMAND:
        return set_command(o, 1, value, err);
    default:
        return MH_OK;
    }
}

static int apply(struct mh_cli_options *o, const struct option_row *row, const char *value,
                 struct mh_err *err)
{
    if (!row->value)
        return apply_switch(o, row->id);
    mh_assert(value);
    const char **text = text_of(o, row->id);
    if (!text)
        return apply_value(o, row, value, err);
    *text = value;
    o->app.project_is_given = o->app.project_is_given || row->id == OPT_PROJECT;
    return MH_OK;
}

static const struct option_row *find_long(const char *name, size_t len)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
        if (strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0)
            return &rows[i];
    }
    return NULL;
}

static int parse_long(struct mh_cli_options *o, int argc, char **argv, int *at, struct mh_err *err)
{
    const char *name = argv[*at] + 2;
    size_t len = strcspn(name, "=");
    const struct option_row *row = find_long(name, len);
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    if (!row)
        return unknown(name, len, err);
    if (!row->value && value)
        return mh_err_set(err, MH_EUSAGE, "usage", "--%s takes no value", row->name);
    if (row->value && !value) {
        if (*at + 1 >= argc)
            return mh_err_set(err, MH_EUSAGE, "usage", "--%s needs a value (%s)", row->name,
                              row->value);
        value = argv[++*at];
    }
    return apply(o, row, value, err);
}

static int parse_letters(struct mh_cli_options *o, const char *letters, struct mh_err *err)
{
    for (; *letters; letters++) {
        const struct option_row *row = NULL;
        for (size_t i = 0; i < MH_ARRAY_LEN(rows); i++) {
            if (rows[i].letter == *letters)
                row = &rows[i];
        }
        if (!row)
            return mh_err_set(err, MH_EUSAGE, "usage", "unknown option -%c; see mailhaul --help",
                              *letters);
        int code = apply(o, row, NULL, err);
        if (code != MH_OK)
            return code;
    }
    return MH_OK;
}

int mh_cli_parse(int argc, char **argv, struct mh_cli_options *out, int *argc_out,
                 struct mh_err *err)
{
    int kept = 0;
    bool only_arguments = false;
    int code = MH_OK;
    for (int i = 0; i < argc && code == MH_OK; i++) {
        if (only_arguments || argv[i][0] != '-' || argv[i][1] == '\0')
            argv[kept++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_arguments = true;
        else if (argv[i][1] == '-')
            code = parse_long(out, argc, argv, &i, err);
        else
            code = parse_letters(out, argv[i] + 1, err);
    }
    *argc_out = kept;
    return code;
}

void mh_cli_options_done(struct mh_cli_options *o)
{
    mh_strings_done(&o->commands[0]);
    mh_strings_done(&o->commands[1]);
}
