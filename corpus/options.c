/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_MAILBOXES = 100000,
    MAX_FOLDERS = 1000000, /* fault row 22 and ten times more */
    MAX_MESSAGES = 100000000,
    MAX_MEAN_BYTES = 100 << 20,
    MAX_WORK_DAY = 10000,
};

static const uint64_t big_bytes = UINT64_C(150) << 20; /* fault row 21 */
static const uint64_t max_size_bytes = UINT64_C(1) << 40;

const char mhc_options_help[] =
    "mailhaul-corpus: makes realistic mailboxes, the same ones for the same arguments\n"
    "\n"
    "usage: mailhaul-corpus --profile NAME (--maildir DIR | --imap HOST:PORT --password P) ...\n"
    "       mailhaul-corpus --pst FILE ...\n"
    "\n"
    "  --profile NAME       small: 1 mailbox x 20,000 x 4 KB     friday: 30 x 600 x 25 KB\n"
    "                       huge: 1 x 200,000 x 300 bytes        demo: 30 x 120 x 16 KB\n"
    "                       nasty: hostile folders and messages\n"
    "  --seed N             other mail of the same kind (default 1)\n"
    "  --mailboxes N        how many mailboxes\n"
    "  --messages N         in each mailbox; for nasty: ordinary ones beside the awkward\n"
    "  --mean-size BYTES    mean size of a message\n"
    "  --folders N          in each mailbox, INBOX included\n"
    "  --sizes LIST         messages of exactly these sizes into each INBOX: "
    "0,1,35M,2G,4294967297\n"
    "                       (K, M, G are powers of 1024; nasty begins with 0,1)\n"
    "  --big                the same as one more size, 150M\n"
    "\n"
    "  --maildir DIR        write DIR/user01, DIR/user02 ... as Maildir++, as Dovecot reads it\n"
    "  --imap HOST:PORT     write to an IMAP server, in plaintext: for servers on this machine\n"
    "  --user-format TEXT   names of the mailboxes (default user%02d)\n"
    "  --password P         the same for every user\n"
    "\n"
    "  --work-day N         instead: play work day N on mailboxes that were filled before:\n"
    "                       2 % new mail, 2 % changed flags, 1 % expunged, one new folder\n"
    "  --pst FILE           instead: write an Outlook archive, with --seed and --messages (200)\n"
    "  --format NAME        unicode (default), ansi, ost4k\n"
    "  --encoding NAME      permute (default), cyclic, none\n"
    "  --truth FILE         what is in it, in JSON lines (see corpus/README.md)\n"
    "\n"
    "  --manifest FILE      one TSV line for each folder and message (see corpus/README.md)\n"
    "  --verbose            one line for each mailbox on stderr\n"
    "  --help, --version\n"
    "\n"
    "Refused folders and messages are printed and are no error. Exit codes: 0 done, 1 error, "
    "2 usage.\n";

enum option_id {
    OPT_PROFILE = 256,
    OPT_SEED,
    OPT_MAILBOXES,
    OPT_MESSAGES,
    OPT_MEAN_SIZE,
    OPT_FOLDERS,
    OPT_SIZES,
    OPT_BIG,
    OPT_MAILDIR,
    OPT_IMAP,
    OPT_USER_FORMAT,
    OPT_PASSWORD,
    OPT_WORK_DAY,
    OPT_MANIFEST,
    OPT_PST,
    OPT_FORMAT,
    OPT_ENCODING,
    OPT_TRUTH,
    OPT_VERBOSE,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"profile", required_argument, NULL, OPT_PROFILE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"mailboxes", required_argument, NULL, OPT_MAILBOXES},
    {"messages", required_argument, NULL, OPT_MESSAGES},
    {"mean-size", required_argument, NULL, OPT_MEAN_SIZE},
    {"folders", required_argument, NULL, OPT_FOLDERS},
    {"sizes", required_argument, NULL, OPT_SIZES},
    {"big", no_argument, NULL, OPT_BIG},
    {"maildir", required_argument, NULL, OPT_MAILDIR},
    {"imap", required_argument, NULL, OPT_IMAP},
    {"user-format", required_argument, NULL, OPT_USER_FORMAT},
    {"password", required_argument, NULL, OPT_PASSWORD},
    {"work-day", required_argument, NULL, OPT_WORK_DAY},
    {"manifest", required_argument, NULL, OPT_MANIFEST},
    {"pst", required_argument, NULL, OPT_PST},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"encoding", required_argument, NULL, OPT_ENCODING},
    {"truth", required_argument, NULL, OPT_TRUTH},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

/* What the switches said, before it is known which profile they change. */
struct switches {
    const char *profile;
    const char *mailboxes;
    const char *messages;
    const char *mean_size;
    const char *folders;
    const char *sizes;
    const char *seed;
    const char *work_day;
    const char *imap;
    const char *format;
    const char *encoding;
    bool has_big;
};

static int parse_number(const char *option, const char *text, uint64_t least, uint64_t most,
                        uint64_t *value_out, struct mhc_err *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        return mhc_fail(err, MHC_EUSAGE, "--%s takes a number from %llu to %llu, not \"%s\"",
                        option, (unsigned long long)least, (unsigned long long)most, text);
    }
    *value_out = value;
    return MHC_OK;
}

/* A number that may be left out: then `value` stays what it is. */
static int parse_given(const char *option, const char *text, uint64_t least, uint64_t most,
                       uint64_t *value, struct mhc_err *err)
{
    return text != NULL ? parse_number(option, text, least, most, value, err) : MHC_OK;
}

static void add_size(struct mhc_options *options, uint64_t size_bytes)
{
    options->sizes =
        mhc_realloc(options->sizes, (options->size_count + 1) * sizeof(*options->sizes));
    options->sizes[options->size_count++] = size_bytes;
}

/* "0,1,35M,2G". */
static int parse_sizes(struct mhc_options *options, const char *text, struct mhc_err *err)
{
    const char *at = text;
    for (;;) {
        char *end = NULL;
        errno = 0;
        unsigned long long value = strtoull(at, &end, 10);
        static const char units[] = "KMG";
        const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
        unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
        end += unit != NULL ? 1 : 0;
        bool is_number = *at >= '0' && *at <= '9' && errno == 0;
        if (!is_number || (*end != ',' && *end != '\0') || value > max_size_bytes >> shift) {
            return mhc_fail(err, MHC_EUSAGE,
                            "--sizes takes sizes with commas between, such as 0,1,35M,2G, not "
                            "\"%s\"",
                            text);
        }
        add_size(options, value << shift);
        if (*end == '\0') {
            return MHC_OK;
        }
        at = end + 1;
    }
}

/* "host:port" or "[v6]:port". */
static int parse_imap(struct mhc_options *options, const char *text, struct mhc_err *err)
{
    options->imap_address = mhc_strdup(text);
    char *host = options->imap_address;
    char *colon = strrchr(host, ':');
    uint64_t port = 0;
    if (colon == NULL || colon == host) {
        return mhc_fail(err, MHC_EUSAGE, "--imap takes HOST:PORT, not \"%s\"", text);
    }
    *colon = '\0';
    if (host[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        host++;
    }
    options->imap.host = host;
    options->imap.port = colon + 1;
    return parse_number("imap (its port)", colon + 1, 1, 65535, &port, err);
}

static int take_switch(struct mhc_options *options, struct switches *given, int id)
{
    const char **const texts[] = {
        [OPT_PROFILE - OPT_PROFILE] = &given->profile,
        [OPT_SEED - OPT_PROFILE] = &given->seed,
        [OPT_MAILBOXES - OPT_PROFILE] = &given->mailboxes,
        [OPT_MESSAGES - OPT_PROFILE] = &given->messages,
        [OPT_MEAN_SIZE - OPT_PROFILE] = &given->mean_size,
        [OPT_FOLDERS - OPT_PROFILE] = &given->folders,
        [OPT_SIZES - OPT_PROFILE] = &given->sizes,
        [OPT_MAILDIR - OPT_PROFILE] = &options->maildir,
        [OPT_IMAP - OPT_PROFILE] = &given->imap,
        [OPT_USER_FORMAT - OPT_PROFILE] = &options->user_format,
        [OPT_PASSWORD - OPT_PROFILE] = &options->imap.password,
        [OPT_WORK_DAY - OPT_PROFILE] = &given->work_day,
        [OPT_MANIFEST - OPT_PROFILE] = &options->manifest,
        [OPT_PST - OPT_PROFILE] = &options->pst.path,
        [OPT_FORMAT - OPT_PROFILE] = &given->format,
        [OPT_ENCODING - OPT_PROFILE] = &given->encoding,
        [OPT_TRUTH - OPT_PROFILE] = &options->pst.truth,
    };
    bool *const facts[] = {
        [OPT_BIG - OPT_PROFILE] = &given->has_big,
        [OPT_VERBOSE - OPT_PROFILE] = &options->is_verbose,
        [OPT_HELP - OPT_PROFILE] = &options->wants_help,
        [OPT_VERSION - OPT_PROFILE] = &options->wants_version,
    };
    size_t at = (size_t)(id - OPT_PROFILE);
    if (at < MHC_COUNT(texts) && texts[at] != NULL) {
        *texts[at] = optarg;
    } else {
        *facts[at] = true;
    }
    return MHC_OK;
}

static int read_switches(struct mhc_options *options, struct switches *given, int argc, char **argv,
                         struct mhc_err *err)
{
    opterr = 0;
    for (;;) {
        int here = optind;
        int id = getopt_long(argc, argv, "+:", long_options, NULL);
        if (id == -1) {
            break;
        }
        if (id == ':') {
            return mhc_fail(err, MHC_EUSAGE, "%s needs a value", argv[here]);
        }
        if (id == '?') {
            return mhc_fail(err, MHC_EUSAGE, "unknown or ambiguous option %s; see --help",
                            argv[here]);
        }
        int rc = take_switch(options, given, id);
        if (rc != MHC_OK) {
            return rc;
        }
    }
    if (optind < argc) {
        return mhc_fail(err, MHC_EUSAGE, "\"%s\" is no option; see --help", argv[optind]);
    }
    return MHC_OK;
}

static int apply_profile(struct mhc_options *options, const struct switches *given,
                         struct mhc_err *err)
{
    const struct mhc_profile *found =
        given->profile != NULL ? mhc_profile_find(given->profile) : NULL;
    if (found == NULL) {
        return mhc_fail(err, MHC_EUSAGE,
                        "--profile must be one of small, friday, nasty, huge, demo");
    }
    struct mhc_profile *profile = &options->profile;
    *profile = *found;
    uint64_t mailboxes = profile->mailboxes;
    uint64_t folders = profile->folders;
    uint64_t mean_bytes = profile->mean_bytes;
    if (profile->is_nasty && given->folders != NULL) {
        return mhc_fail(err, MHC_EUSAGE, "--folders does not go with nasty, which has its own");
    }
    int rc = parse_given("mailboxes", given->mailboxes, 1, MAX_MAILBOXES, &mailboxes, err);
    if (rc == MHC_OK) {
        rc = parse_given("messages", given->messages, 0, MAX_MESSAGES, &profile->messages, err);
    }
    if (rc == MHC_OK) {
        rc = parse_given("mean-size", given->mean_size, 200, MAX_MEAN_BYTES, &mean_bytes, err);
    }
    if (rc == MHC_OK) {
        rc = parse_given("folders", given->folders, 1, MAX_FOLDERS, &folders, err);
    }
    profile->mailboxes = (unsigned)mailboxes;
    profile->folders = (unsigned)folders;
    profile->mean_bytes = (size_t)mean_bytes;
    return rc;
}

static int apply_sizes(struct mhc_options *options, const struct switches *given,
                       struct mhc_err *err)
{
    if (options->profile.is_nasty) {
        add_size(options, 0);
        add_size(options, 1);
    }
    if (given->has_big) {
        add_size(options, big_bytes);
    }
    return given->sizes != NULL ? parse_sizes(options, given->sizes, err) : MHC_OK;
}

/* One %d, perhaps with a width such as %02d, and no other %. */
static int check_user_format(const struct mhc_options *options, struct mhc_err *err)
{
    const char *text = options->user_format;
    const char *percent = strchr(text, '%');
    const char *d = percent != NULL ? percent + 1 + strspn(percent + 1, "0123456789") : text;
    bool is_one = percent != NULL && *d == 'd' && d - percent <= 3 && strchr(d, '%') == NULL;
    if (!is_one || strpbrk(text, "/\r\n") != NULL) {
        return mhc_fail(err, MHC_EUSAGE,
                        "--user-format needs one %%d (or %%02d) and no slash, not \"%s\"", text);
    }
    return MHC_OK;
}

static int check_destination(const struct mhc_options *options, struct mhc_err *err)
{
    bool has_imap = options->imap.host != NULL;
    if (has_imap == (options->maildir != NULL)) {
        return mhc_fail(err, MHC_EUSAGE, "give either --maildir DIR or --imap HOST:PORT");
    }
    if (options->maildir != NULL && options->maildir[0] == '\0') {
        return mhc_fail(err, MHC_EUSAGE, "--maildir needs the name of a directory");
    }
    if (has_imap && options->imap.password == NULL) {
        return mhc_fail(err, MHC_EUSAGE, "--imap needs --password");
    }
    if (has_imap && strpbrk(options->imap.password, "\r\n") != NULL) {
        return mhc_fail(err, MHC_EUSAGE, "--password cannot hold a line end");
    }
    return MHC_OK;
}

/* One of `names`; its place among them. NULL: the first. */
static int parse_choice(const char *option, const char *text, const char *const names[3],
                        unsigned *choice_out, struct mhc_err *err)
{
    *choice_out = 0;
    for (unsigned i = 0; i < 3 && text != NULL; i++) {
        if (strcmp(names[i], text) == 0) {
            *choice_out = i;
            return MHC_OK;
        }
    }
    return text == NULL ? MHC_OK
                        : mhc_fail(err, MHC_EUSAGE, "--%s must be one of %s, %s, %s", option,
                                   names[0], names[1], names[2]);
}

/* Of the switches for mailboxes an archive takes two. */
static int apply_pst(struct mhc_options *options, const struct switches *given, struct mhc_err *err)
{
    static const char *const formats[] = {"unicode", "ansi", "ost4k"};
    static const enum mhc_pst_format format_of[] = {MHC_PST_UNICODE, MHC_PST_ANSI, MHC_PST_OST4K};
    static const char *const encodings[] = {"permute", "cyclic", "none"};
    static const enum pst_encoding encoding_of[] = {PST_PERMUTE, PST_CYCLIC, PST_PLAIN};
    enum { DEFAULT_MESSAGES = 200 };
    struct mhc_pst_wish *wish = &options->pst;
    unsigned format;
    unsigned encoding;
    bool has_more = given->profile || given->mailboxes || given->mean_size || given->folders ||
                    given->sizes || given->work_day || given->imap || given->has_big ||
                    options->maildir || options->manifest || options->imap.password;
    if (has_more) {
        return mhc_fail(err, MHC_EUSAGE,
                        "with --pst go --format, --encoding, --messages, --seed and --truth alone");
    }
    wish->messages = DEFAULT_MESSAGES;
    wish->seed = options->seed;
    int rc = parse_choice("format", given->format, formats, &format, err);
    if (rc == MHC_OK) {
        rc = parse_choice("encoding", given->encoding, encodings, &encoding, err);
    }
    if (rc == MHC_OK) {
        rc = parse_given("messages", given->messages, 0, MAX_MESSAGES, &wish->messages, err);
    }
    if (rc == MHC_OK) {
        rc = parse_given("seed", given->seed, 0, UINT64_MAX, &wish->seed, err);
    }
    if (rc == MHC_OK) {
        wish->format = format_of[format];
        wish->encoding = encoding_of[encoding];
    }
    return rc;
}

int mhc_options_parse(struct mhc_options *options_out, int argc, char **argv, struct mhc_err *err)
{
    struct switches given = {0};
    *options_out = (struct mhc_options){.seed = 1, .user_format = "user%02d"};
    int rc = read_switches(options_out, &given, argc, argv, err);
    if (rc != MHC_OK || options_out->wants_help || options_out->wants_version) {
        return rc;
    }
    if (options_out->pst.path != NULL) {
        return apply_pst(options_out, &given, err);
    }
    if (given.format != NULL || given.encoding != NULL || options_out->pst.truth != NULL) {
        return mhc_fail(err, MHC_EUSAGE, "--format, --encoding and --truth need --pst");
    }
    rc = apply_profile(options_out, &given, err);
    if (rc == MHC_OK) {
        rc = apply_sizes(options_out, &given, err);
    }
    if (rc == MHC_OK) {
        rc = parse_given("seed", given.seed, 0, UINT64_MAX, &options_out->seed, err);
    }
    if (rc == MHC_OK) {
        rc = parse_given("work-day", given.work_day, 1, MAX_WORK_DAY, &options_out->work_day, err);
    }
    if (rc == MHC_OK && given.imap != NULL) {
        rc = parse_imap(options_out, given.imap, err);
    }
    if (rc == MHC_OK) {
        rc = check_user_format(options_out, err);
    }
    return rc == MHC_OK ? check_destination(options_out, err) : rc;
}

void mhc_options_done(struct mhc_options *options)
{
    free(options->imap_address);
    free(options->sizes);
    *options = (struct mhc_options){0};
}

void mhc_options_user(struct mhc_buf *user_out, const struct mhc_options *options, uint64_t number)
{
    const char *format = options->user_format;
    size_t before = strcspn(format, "%"); /* there is one: mhc_options_parse() looked */
    const char *width = format + before + 1;
    int columns = (int)strtoul(width, NULL, 10);
    bool is_zero_padded = *width == '0';
    const char *rest = width + strspn(width, "0123456789") + 1;
    mhc_buf_add(user_out, format, before);
    if (is_zero_padded) {
        mhc_buf_printf(user_out, "%0*llu", columns, (unsigned long long)number);
    } else {
        mhc_buf_printf(user_out, "%*llu", columns, (unsigned long long)number);
    }
    mhc_buf_puts(user_out, rest);
}
