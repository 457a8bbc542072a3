/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The command line of mh-relay: what the wire is like and what is to break.
 *
 * parse_options() fills a struct options or ends the program with one line that says what is wrong.
 * The texts in it belong to the struct; all other pointers are argv's. Called once, by main().
 */
#ifndef MH_TESTS_RELAY_OPTIONS_H
#define MH_TESTS_RELAY_OPTIONS_H

#include "tool.h"

#include <getopt.h>

#define NO_OFFSET UINT64_MAX

/* The two directions; also the indices of conn.end: bytes that go UP were sent by the client. */
enum { DIR_UP, DIR_DOWN, DIR_COUNT };
enum { SIDE_CLIENT, SIDE_SERVER, SIDE_COUNT };
/* Where a fault counts its bytes: one direction or both together. */
enum { SPAN_UP, SPAN_DOWN, SPAN_BOTH, SPAN_COUNT };

struct options {
    const char *listen, *to, *port_file;
    int64_t delay_ns;
    uint64_t rate_bits; /* per second and direction; 0: no limit */
    uint64_t buffer_bytes, chunk_bytes;
    int64_t chunk_gap_ns;
    uint64_t cut_at[SPAN_COUNT], stall_at[SPAN_COUNT];
    uint64_t every_min, every_max, seed; /* every_max 0: no random cuts */
    char *text[DIR_COUNT];               /* owned; --cut-on-up, --cut-on-down */
    size_t text_len[DIR_COUNT];
    uint64_t only_connection; /* 0: any */
    uint64_t skip;
    uint64_t count; /* NO_OFFSET: not given */
    bool is_reset, is_bound_to_parent;
};

static const char usage[] =
    "usage: mh-relay --listen ADDRESS:PORT --to ADDRESS:PORT [options]\n"
    "  --port-file FILE             write PORT=n there too\n"
    "  --delay-ms N                 one way; fractions allowed (default 0)\n"
    "  --rate-mbit N                per direction, shared by all connections (default: no limit)\n"
    "  --buffer-kib N               per direction and connection (default: fits delay and rate)\n"
    "  --chunk N                    at most N bytes in one write\n"
    "  --chunk-gap-us N             pause after each such write (default 0)\n"
    "  --cut-after-bytes N[:up|down]    close both sides behind N delivered bytes\n"
    "  --stall-after-bytes N[:up|down]  deliver and read nothing more, but stay connected\n"
    "  --cut-every-bytes MIN-MAX    each connection: cut behind a number of bytes drawn by lot\n"
    "  --seed S                     the lot (default 1)\n"
    "  --cut-on-up TEXT, --cut-on-down TEXT   cut when TEXT is about to be delivered\n"
    "  --cut-connection K           only the Kth connection (default: any)\n"
    "  --skip N                     let N occurrences of TEXT pass first\n"
    "  --count N                    how often (default 1; --cut-every-bytes: without end)\n"
    "  --cut-rst                    cut by RST in place of FIN\n"
    "  --with-parent                end when the parent process ends\n";

enum option_id {
    OPT_LISTEN = 256,
    OPT_TO,
    OPT_PORT_FILE,
    OPT_DELAY,
    OPT_RATE,
    OPT_BUFFER,
    OPT_CHUNK,
    OPT_CHUNK_GAP,
    OPT_CUT_AFTER,
    OPT_STALL_AFTER,
    OPT_CUT_EVERY,
    OPT_SEED,
    OPT_CUT_ON_UP,
    OPT_CUT_ON_DOWN,
    OPT_CUT_CONNECTION,
    OPT_SKIP,
    OPT_COUNT,
    OPT_CUT_RST,
    OPT_WITH_PARENT,
    OPT_HELP
};

static const struct option long_options[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"to", required_argument, NULL, OPT_TO},
    {"port-file", required_argument, NULL, OPT_PORT_FILE},
    {"delay-ms", required_argument, NULL, OPT_DELAY},
    {"rate-mbit", required_argument, NULL, OPT_RATE},
    {"buffer-kib", required_argument, NULL, OPT_BUFFER},
    {"chunk", required_argument, NULL, OPT_CHUNK},
    {"chunk-gap-us", required_argument, NULL, OPT_CHUNK_GAP},
    {"cut-after-bytes", required_argument, NULL, OPT_CUT_AFTER},
    {"stall-after-bytes", required_argument, NULL, OPT_STALL_AFTER},
    {"cut-every-bytes", required_argument, NULL, OPT_CUT_EVERY},
    {"seed", required_argument, NULL, OPT_SEED},
    {"cut-on-up", required_argument, NULL, OPT_CUT_ON_UP},
    {"cut-on-down", required_argument, NULL, OPT_CUT_ON_DOWN},
    {"cut-connection", required_argument, NULL, OPT_CUT_CONNECTION},
    {"skip", required_argument, NULL, OPT_SKIP},
    {"count", required_argument, NULL, OPT_COUNT},
    {"cut-rst", no_argument, NULL, OPT_CUT_RST},
    {"with-parent", no_argument, NULL, OPT_WITH_PARENT},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0}};

/* A decimal with a fraction, times `unit`; at most `most` before that. */
static uint64_t parse_decimal(const char *text, const char *what, double unit, double most)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= most))
        tool_die("%s: '%s' is not a number from 0 to %.0f", what, text, most);
    return (uint64_t)(value * unit + 0.5);
}

/* "N", "N:up" or "N:down". */
static void parse_span(char *text, const char *what, uint64_t at[SPAN_COUNT])
{
    int span = SPAN_BOTH;
    char *colon = strchr(text, ':');
    if (colon) {
        *colon++ = '\0';
        if (strcmp(colon, "up") != 0 && strcmp(colon, "down") != 0)
            tool_die("%s: ':%s' is neither ':up' nor ':down'", what, colon);
        span = strcmp(colon, "up") == 0 ? SPAN_UP : SPAN_DOWN;
    }
    at[span] = tool_number(text, what, 0, NO_OFFSET - 1);
}

static void parse_every(char *text, struct options *options)
{
    char *dash = strchr(text, '-');
    if (!dash)
        tool_die("--cut-every-bytes: '%s' is not MIN-MAX", text);
    *dash++ = '\0';
    options->every_min = tool_number(text, "--cut-every-bytes", 0, INT64_MAX);
    options->every_max = tool_number(dash, "--cut-every-bytes", 1, INT64_MAX);
    if (options->every_min > options->every_max)
        tool_die("--cut-every-bytes: MIN is greater than MAX");
}

static void parse_text(const char *text, struct options *options, int dir)
{
    free(options->text[dir]);
    options->text[dir] = tool_unescape(text, &options->text_len[dir]);
    if (!options->text_len[dir])
        tool_die("an empty text is about to pass all the time: give one byte at least");
}

static void parse_fault_option(int id, char *text, struct options *options)
{
    switch (id) {
    case OPT_CUT_AFTER:
        parse_span(text, "--cut-after-bytes", options->cut_at);
        break;
    case OPT_STALL_AFTER:
        parse_span(text, "--stall-after-bytes", options->stall_at);
        break;
    case OPT_CUT_EVERY:
        parse_every(text, options);
        break;
    case OPT_SEED:
        options->seed = tool_number(text, "--seed", 0, UINT64_MAX);
        break;
    case OPT_CUT_ON_UP:
        parse_text(text, options, DIR_UP);
        break;
    case OPT_CUT_ON_DOWN:
        parse_text(text, options, DIR_DOWN);
        break;
    case OPT_CUT_CONNECTION:
        options->only_connection = tool_number(text, "--cut-connection", 1, UINT64_MAX);
        break;
    case OPT_SKIP:
        options->skip = tool_number(text, "--skip", 0, NO_OFFSET - 1);
        break;
    case OPT_COUNT:
        options->count = tool_number(text, "--count", 0, NO_OFFSET - 1);
        break;
    case OPT_CUT_RST:
        options->is_reset = true;
        break;
    case OPT_HELP:
        fputs(usage, stdout);
        exit(TOOL_EXIT_OK);
    default:
        fputs(usage, stderr);
        exit(TOOL_EXIT_USAGE);
    }
}

static void parse_option(int id, char *text, struct options *options)
{
    switch (id) {
    case OPT_LISTEN:
        options->listen = text;
        break;
    case OPT_TO:
        options->to = text;
        break;
    case OPT_PORT_FILE:
        options->port_file = text;
        break;
    case OPT_DELAY:
        options->delay_ns = (int64_t)parse_decimal(text, "--delay-ms", TOOL_NS_PER_MS, 60000);
        break;
    case OPT_RATE:
        options->rate_bits = parse_decimal(text, "--rate-mbit", 1e6, 100000);
        if (options->rate_bits < 8000)
            tool_die("--rate-mbit: at least 0.008 (1000 bytes a second)");
        break;
    case OPT_BUFFER:
        options->buffer_bytes = tool_number(text, "--buffer-kib", 1, 1 << 22) * 1024;
        break;
    case OPT_CHUNK:
        options->chunk_bytes = tool_number(text, "--chunk", 1, UINT32_MAX);
        break;
    case OPT_CHUNK_GAP:
        options->chunk_gap_ns = (int64_t)tool_number(text, "--chunk-gap-us", 0, 60000000) * 1000;
        break;
    case OPT_WITH_PARENT:
        options->is_bound_to_parent = true;
        break;
    default:
        parse_fault_option(id, text, options);
        break;
    }
}

static void parse_options(int argc, char **argv, struct options *options)
{
    *options = (struct options){.seed = 1, .count = NO_OFFSET};
    for (int span = 0; span < SPAN_COUNT; span++)
        options->cut_at[span] = options->stall_at[span] = NO_OFFSET;
    int id = 0;
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        parse_option(id, optarg, options);
    if (optind != argc || !options->listen || !options->to) {
        fputs(usage, stderr);
        exit(TOOL_EXIT_USAGE);
    }
    if (options->every_max && options->cut_at[SPAN_BOTH] != NO_OFFSET)
        tool_die("--cut-every-bytes and --cut-after-bytes without a direction exclude each other");
    if (options->chunk_gap_ns && !options->chunk_bytes)
        tool_die("--chunk-gap-us needs --chunk");
}

#endif
