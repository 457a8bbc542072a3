/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The faults that a script orders of the model: when each one fires, and the count that it did.
 *
 * A fault waits for an event (a command's name, or GREETING, or FETCH and APPEND for each single
 * message), perhaps only of one folder, UID, connection or body, lets nth - 1 of these pass, and
 * fires count times. What firing means is the business of the command that asked. Memory: faults
 * live as long as the model. Threads: fault_next() wants store.lock held; all but the counters is
 * fixed once the script has been read. Never: a fault does not act by itself.
 */
#ifndef MH_TESTS_SCRIPTED_FAULT_H
#define MH_TESTS_SCRIPTED_FAULT_H

#include "scripted_script.h"
#include "scripted_store.h"

#define FAULT_WITHOUT_END UINT64_MAX
#define THROTTLE_TEXT     "Request is throttled. Suggested Backoff Time: 300 milliseconds"

enum { GARBAGE_BYTES = 200, LONG_LINE_BYTES = 2 * 1024 * 1024, EVENT_BYTES_MAX = 24 };

enum fault_kind {
    FAULT_NONE,
    FAULT_NO,
    FAULT_BAD,
    FAULT_BYE,
    FAULT_CLOSE,
    FAULT_RST,
    FAULT_STALL,
    FAULT_CUT_AFTER,
    FAULT_THROTTLE,
    FAULT_DROP_REPLY,
    FAULT_GARBAGE,
    FAULT_LONG_LINE,
    FAULT_UNSOLICITED,
    FAULT_WRONG_TAG,
    FAULT_SLEEP,
    FAULT_LIE_SIZE,
    FAULT_LIE_LITERAL,
    FAULT_VANISH,
    FAULT_FLAG,
    FAULT_ARRIVE,
    FAULT_UIDVALIDITY,
    FAULT_LOSE,
    FAULT_DOUBLE,
    FAULT_ALTER
};

/* What follows do=KIND in a FAULT line. */
enum fault_argument {
    ARGUMENT_NONE,
    ARGUMENT_TEXT,
    ARGUMENT_NUMBER,        /* must be there */
    ARGUMENT_NUMBER_OR_NONE /* fault_words says what it is otherwise */
};

struct fault_word {
    const char *word;
    enum fault_kind kind;
    enum fault_argument argument;
    uint64_t number; /* the default */
};

static const struct fault_word fault_words[] = {
    {"NO", FAULT_NO, ARGUMENT_TEXT, 0},
    {"BAD", FAULT_BAD, ARGUMENT_TEXT, 0},
    {"BYE", FAULT_BYE, ARGUMENT_TEXT, 0},
    {"CLOSE", FAULT_CLOSE, ARGUMENT_NONE, 0},
    {"RST", FAULT_RST, ARGUMENT_NONE, 0},
    {"STALL", FAULT_STALL, ARGUMENT_NONE, 0},
    {"CUT-AFTER", FAULT_CUT_AFTER, ARGUMENT_NUMBER, 0},
    {"THROTTLE", FAULT_THROTTLE, ARGUMENT_TEXT, 0},
    {"DROP-REPLY", FAULT_DROP_REPLY, ARGUMENT_NONE, 0},
    {"GARBAGE", FAULT_GARBAGE, ARGUMENT_NUMBER_OR_NONE, GARBAGE_BYTES},
    {"LONG-LINE", FAULT_LONG_LINE, ARGUMENT_NUMBER_OR_NONE, LONG_LINE_BYTES},
    {"UNSOLICITED", FAULT_UNSOLICITED, ARGUMENT_TEXT, 0},
    {"WRONG-TAG", FAULT_WRONG_TAG, ARGUMENT_NONE, 0},
    {"SLEEP", FAULT_SLEEP, ARGUMENT_NUMBER, 0},
    {"LIE-SIZE", FAULT_LIE_SIZE, ARGUMENT_NUMBER, 0},
    {"LIE-LITERAL", FAULT_LIE_LITERAL, ARGUMENT_NUMBER, 0},
    {"VANISH", FAULT_VANISH, ARGUMENT_NUMBER_OR_NONE, 0},
    {"FLAG", FAULT_FLAG, ARGUMENT_TEXT, 0},
    {"ARRIVE", FAULT_ARRIVE, ARGUMENT_NUMBER, 0},
    {"UIDVALIDITY", FAULT_UIDVALIDITY, ARGUMENT_NUMBER, 0},
    {"LOSE", FAULT_LOSE, ARGUMENT_NONE, 0},
    {"DOUBLE", FAULT_DOUBLE, ARGUMENT_NONE, 0},
    {"ALTER", FAULT_ALTER, ARGUMENT_NONE, 0},
};

struct fault {
    unsigned line;
    char event[EVENT_BYTES_MAX];
    uint64_t nth;             /* the first event that fires it; 0: each one */
    uint64_t count;           /* how often at most */
    uint64_t connection, uid; /* 0: any */
    char *folder, *match;     /* owned; NULL: any */
    size_t folder_len, match_len;
    uint64_t at_byte; /* of the literal; FAULT_WITHOUT_END: not given */
    bool is_early;    /* APPEND with a waiting literal: refuse ahead of it */
    enum fault_kind kind;
    char *text; /* owned; may be "" */
    size_t text_len;
    uint64_t number;
    bool is_number_negative; /* LIE-SIZE and LIE-LITERAL know directions */
    uint64_t seen, fired;
    int64_t throttled_until_ns; /* THROTTLE: who comes before that comes early */
    uint64_t came_early;
};

struct faults {
    struct fault **fault; /* owned, in the order of the script */
    size_t len, room;
};

/* What is happening, as far as the asking command knows. */
struct occasion {
    const char *event;
    uint64_t connection;
    const char *folder; /* NULL: no folder in sight */
    size_t folder_len;
    uint64_t uid;                  /* 0: no message in sight */
    const struct message *message; /* NULL: its body is not known (yet) */
    bool is_about_body;            /* only faults with match=: the others had their turn */
    enum fault_kind only;          /* FAULT_NONE: any but those asked for by kind */
};

/* Asked for by kind at their own places, so they do not count other events of the same name. */
static bool fault_is_of_values(enum fault_kind kind)
{
    return kind == FAULT_LIE_SIZE || kind == FAULT_LIE_LITERAL;
}

static bool fault_matches(const struct fault *fault, const struct occasion *occasion)
{
    if (strcmp(fault->event, occasion->event) != 0)
        return false;
    if (occasion->only ? fault->kind != occasion->only : fault_is_of_values(fault->kind))
        return false;
    if (occasion->is_about_body && !fault->match)
        return false;
    if (fault->connection && fault->connection != occasion->connection)
        return false;
    if (fault->uid && fault->uid != occasion->uid)
        return false;
    if (fault->folder && (!occasion->folder || occasion->folder_len != fault->folder_len ||
                          memcmp(occasion->folder, fault->folder, fault->folder_len) != 0))
        return false;
    return !fault->match || (occasion->message &&
                             message_contains(occasion->message, fault->match, fault->match_len));
}

/* "… Backoff Time: 300 milliseconds": 300; 0 when the text says nothing. */
static uint64_t throttle_ms(const char *text)
{
    const char *at = strcasestr(text, "Backoff Time: ");
    return at ? strtoull(at + strlen("Backoff Time: "), NULL, 10) : 0;
}

static bool fault_fires(struct fault *fault)
{
    fault->seen++;
    if (fault->kind == FAULT_THROTTLE && tool_now_ns() < fault->throttled_until_ns) {
        fault->came_early++;
        return true;
    }
    if (fault->seen < fault->nth || fault->fired >= fault->count)
        return false;
    fault->fired++;
    if (fault->kind == FAULT_THROTTLE)
        fault->throttled_until_ns =
            tool_now_ns() + (int64_t)throttle_ms(fault->text) * TOOL_NS_PER_MS;
    return true;
}

/*
 * The fault that this occasion fires, or NULL. Every matching fault counts the occasion; of several
 * that fire, the first of the script wins and the others count as not fired. Wants store.lock.
 */
static struct fault *fault_next(struct faults *faults, const struct occasion *occasion)
{
    struct fault *first = NULL;
    for (size_t i = 0; i < faults->len; i++) {
        struct fault *fault = faults->fault[i];
        if (!fault_matches(fault, occasion))
            continue;
        if (first)
            fault->seen++;
        else if (fault_fires(fault))
            first = fault;
    }
    return first;
}

/* ------------------------------------------------------------------ reading FAULT lines */

/* The words behind do=KIND. Returns how many were used. */
static size_t fault_read_argument(struct fault *fault, const struct fault_word *kind,
                                  const struct words *words, size_t next)
{
    const struct word *word = next < words->len ? &words->word[next] : NULL;
    bool is_number =
        word &&
        (isdigit((unsigned char)word->text[0]) || word->text[0] == '-' || word->text[0] == '+') &&
        !memchr(word->text, '=', word->len);
    fault->number = kind->number;
    if (kind->argument == ARGUMENT_TEXT) {
        if (word && !word->is_quoted && memchr(word->text, '=', word->len))
            word = NULL;
        const char *otherwise = kind->kind == FAULT_THROTTLE ? THROTTLE_TEXT : "ordered fault";
        fault->text_len = word ? word->len : strlen(otherwise);
        fault->text = tool_copy(word ? word->text : otherwise, fault->text_len);
        return word != NULL;
    }
    fault->text = tool_copy("", 0);
    if (kind->argument == ARGUMENT_NUMBER && !is_number)
        tool_die("do=%s needs a number", kind->word);
    if (kind->argument == ARGUMENT_NONE || !is_number)
        return 0;
    fault->is_number_negative = word->text[0] == '-';
    bool has_sign = word->text[0] == '-' || word->text[0] == '+';
    if (fault->is_number_negative && !fault_is_of_values(kind->kind))
        tool_die("do=%s takes no negative number", kind->word);
    fault->number = tool_number(word->text + has_sign, kind->word, 0, INT64_MAX);
    return 1;
}

/* One key=value word. */
static void fault_read_word(struct fault *fault, const struct word *word)
{
    const char *equals = memchr(word->text, '=', word->len);
    const char *value = equals ? equals + 1 : "";
    size_t key_len = equals ? (size_t)(equals - word->text) : word->len;
    size_t value_len = equals ? word->len - key_len - 1 : 0;
    if (word_is(word, "early")) {
        fault->is_early = true;
    } else if (key_len == 2 && strncasecmp(word->text, "on", 2) == 0) {
        if (value_len == 0 || value_len >= sizeof(fault->event))
            tool_die("on= names an event");
        for (size_t i = 0; i < value_len; i++)
            fault->event[i] = (char)toupper((unsigned char)value[i]);
    } else if (key_len == 3 && strncasecmp(word->text, "nth", 3) == 0) {
        bool is_every = strcasecmp(value, "every") == 0;
        fault->nth = is_every ? 0 : tool_number(value, "nth", 1, UINT64_MAX);
    } else if (key_len == 5 && strncasecmp(word->text, "count", 5) == 0) {
        fault->count = tool_number(value, "count", 1, FAULT_WITHOUT_END);
    } else if (key_len == 5 && strncasecmp(word->text, "bytes", 5) == 0) {
        fault->at_byte = tool_number(value, "bytes", 0, INT64_MAX);
    } else if (key_len == 4 && strncasecmp(word->text, "conn", 4) == 0) {
        fault->connection = tool_number(value, "conn", 1, UINT64_MAX);
    } else if (key_len == 3 && strncasecmp(word->text, "uid", 3) == 0) {
        fault->uid = tool_number(value, "uid", 1, UINT32_MAX);
    } else if (key_len == 6 && strncasecmp(word->text, "folder", 6) == 0) {
        fault->folder = tool_copy(value, value_len);
        fault->folder_len = value_len;
    } else if (key_len == 5 && strncasecmp(word->text, "match", 5) == 0 && value_len > 0) {
        fault->match = tool_copy(value, value_len);
        fault->match_len = value_len;
    } else {
        tool_die("FAULT does not know '%s'", word->text);
    }
}

static bool fault_fits_literal(enum fault_kind kind)
{
    return kind == FAULT_CLOSE || kind == FAULT_RST || kind == FAULT_STALL || kind == FAULT_SLEEP;
}

static void fault_check(const struct fault *fault)
{
    bool is_at_literal = strcmp(fault->event, "APPEND") == 0 || strcmp(fault->event, "FETCH") == 0;
    if (!fault->event[0] || fault->kind == FAULT_NONE)
        tool_die("FAULT needs on=EVENT and do=KIND");
    if (fault->at_byte != FAULT_WITHOUT_END && !is_at_literal)
        tool_die("bytes= is for on=FETCH and on=APPEND");
    if (fault->at_byte != FAULT_WITHOUT_END && !fault_fits_literal(fault->kind))
        tool_die("inside a literal only CLOSE, RST, STALL and SLEEP make sense");
    if (fault->match && !is_at_literal)
        tool_die("match= is for on=FETCH and on=APPEND");
    if (fault->match && strcmp(fault->event, "APPEND") == 0 &&
        (fault->at_byte != FAULT_WITHOUT_END || fault->is_early || fault->kind == FAULT_CUT_AFTER))
        tool_die("on=APPEND match= knows the body only behind its last byte");
}

/* FAULT on=EVENT [key=value …] do=KIND [argument] */
static void faults_read(struct faults *faults, const struct words *words)
{
    struct fault *fault = tool_alloc(sizeof(*fault));
    *fault = (struct fault){.line = words->line, .nth = 1, .at_byte = FAULT_WITHOUT_END};
    for (size_t i = 1; i < words->len; i++) {
        const struct word *word = &words->word[i];
        if (word->len < 3 || strncasecmp(word->text, "do=", 3) != 0) {
            fault_read_word(fault, word);
            continue;
        }
        const struct fault_word *kind = NULL;
        for (size_t k = 0; k < sizeof(fault_words) / sizeof(fault_words[0]); k++)
            if (strcasecmp(fault_words[k].word, word->text + 3) == 0)
                kind = &fault_words[k];
        if (!kind)
            tool_die("do=%s is unknown", word->text + 3);
        fault->kind = kind->kind;
        free(fault->text);
        i += fault_read_argument(fault, kind, words, i + 1);
    }
    if (!fault->count)
        fault->count = fault->nth ? 1 : FAULT_WITHOUT_END;
    fault_check(fault);
    if (faults->len == faults->room) {
        faults->room = faults->room ? 2 * faults->room : 8;
        faults->fault = tool_realloc(faults->fault, faults->room * sizeof(struct fault *));
    }
    faults->fault[faults->len++] = fault;
}

static const char *fault_kind_word(enum fault_kind kind)
{
    for (size_t i = 0; i < sizeof(fault_words) / sizeof(fault_words[0]); i++)
        if (fault_words[i].kind == kind)
            return fault_words[i].word;
    return "?";
}

/* One line per fault on stderr, so that a test can tell that its fault did happen. */
static void faults_report(const struct faults *faults)
{
    for (size_t i = 0; i < faults->len; i++) {
        const struct fault *fault = faults->fault[i];
        fprintf(stderr, "%s: fault line=%u on=%s do=%s seen=%llu fired=%llu early=%llu\n",
                tool_name, fault->line, fault->event, fault_kind_word(fault->kind),
                (unsigned long long)fault->seen, (unsigned long long)fault->fired,
                (unsigned long long)fault->came_early);
    }
}

static void faults_done(struct faults *faults)
{
    for (size_t i = 0; i < faults->len; i++) {
        free(faults->fault[i]->folder);
        free(faults->fault[i]->match);
        free(faults->fault[i]->text);
        free(faults->fault[i]);
    }
    free(faults->fault);
}

#endif
