/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The script of mh-scripted as data: words, variables, and the steps of each dialogue.
 *
 * A script is read once, before the first connection, and then only read from: any thread may look
 * at it. Variables are the exception: each connection has its own set, which falls back on the
 * script's. Set-up lines (USER, FOLDER, MESSAGES, FAULT, …) are handed to the model as words while
 * reading. Never: a line that is not understood is never skipped, it ends the program with its
 * number.
 */
#ifndef MH_TESTS_SCRIPTED_SCRIPT_H
#define MH_TESTS_SCRIPTED_SCRIPT_H

#include "tool.h"

enum { WORDS_MAX = 64, NAME_BYTES_MAX = 64, NESTING_MAX = 16 };

/* One word of a set-up line: may contain any byte, and has a NUL behind it. */
struct word {
    char *text; /* owned by the list */
    size_t len;
    bool is_quoted; /* began with a quote */
};

struct words {
    struct word word[WORDS_MAX];
    size_t len;
    const char *file; /* borrowed: where the line stands, for complaints */
    unsigned line;
};

struct variable {
    char name[NAME_BYTES_MAX];
    char *value; /* owned */
    size_t len;
    struct variable *next;
};

struct variables {
    struct variable *first;         /* owned */
    const struct variables *parent; /* borrowed; NULL: none */
};

enum step_kind {
    STEP_SEND,        /* S: text, with CR LF */
    STEP_SEND_RAW,    /* S+: bytes */
    STEP_EXPECT,      /* C: pattern */
    STEP_REJECT,      /* REJECT pattern: no line of this connection may match from here on */
    STEP_LITERAL,     /* LITERAL n [pattern] */
    STEP_REPEAT,      /* REPEAT n [name] … END */
    STEP_LOOP,        /* LOOP … END */
    STEP_END,         /* END */
    STEP_SLEEP,       /* SLEEP ms */
    STEP_STALL,       /* STALL */
    STEP_CLOSE,       /* CLOSE */
    STEP_TRUNCATE,    /* TRUNCATE */
    STEP_RST,         /* RST */
    STEP_HALFCLOSE,   /* HALFCLOSE */
    STEP_TLS,         /* TLS name [max=1.1] */
    STEP_STARTTLS,    /* STARTTLS name [max=1.1] */
    STEP_SET,         /* SET name value */
    STEP_NOCONT,      /* NOCONT [off] */
    STEP_ECHO_MATCH,  /* ECHO-MATCH [off] */
    STEP_UNTIL_CLOSE, /* UNTIL-CLOSE */
    STEP_MODEL        /* MODEL [file] */
};

struct step {
    enum step_kind kind;
    unsigned line;
    char *text; /* owned; what follows the keyword, S+ with escapes resolved */
    size_t len;
    uint64_t number;           /* REPEAT, LITERAL, SLEEP: how many */
    char name[NAME_BYTES_MAX]; /* SET, REPEAT: the variable; TLS: the certificate */
    size_t jump;               /* REPEAT, LOOP: their END; END: their beginning */
};

struct dialogue {
    uint64_t connection; /* CONN k; 0: CONN * */
    struct step *steps;  /* owned */
    size_t len, room;
};

struct script {
    const char *file; /* borrowed: argv */
    struct variables globals;
    struct dialogue *dialogues; /* owned */
    size_t len, room;
    bool has_model_file, is_in_model_file;
    /* Takes USER, FOLDER, FOLDERS, MESSAGES, MESSAGE, FAULT; false: no such word. */
    bool (*set_up)(void *model, const struct words *words);
    /* Makes sure that the certificate of a TLS step can be served. */
    void (*need_certificate)(void *model, const char *name);
    void *model; /* borrowed */
};

/* ------------------------------------------------------------------ words */

/*
 * One word: bare bytes as they are, "quoted parts" with escapes, both may stand together
 * (match="x").
 */
static const char *word_read(struct words *words, const char *at)
{
    char *text = tool_alloc(strlen(at) + 1);
    size_t len = 0;
    bool is_quoted = *at == '"';
    while (*at && *at != ' ' && *at != '\t') {
        if (*at != '"') {
            text[len++] = *at++;
            continue;
        }
        const char *end = ++at;
        while (*end && *end != '"')
            end += *end == '\\' && end[1] ? 2 : 1;
        if (!*end)
            tool_die("a quoted word has no end");
        char *escaped = tool_copy(at, (size_t)(end - at));
        size_t part_len = 0;
        char *part = tool_unescape(escaped, &part_len);
        memcpy(text + len, part, part_len); /* never longer than its escaped form */
        len += part_len;
        free(part);
        free(escaped);
        at = end + 1;
    }
    text[len] = '\0';
    words->word[words->len++] = (struct word){text, len, is_quoted};
    return at;
}

static void words_read(struct words *words, const char *line)
{
    for (const char *at = line; *at;) {
        if (*at == ' ' || *at == '\t') {
            at++;
            continue;
        }
        if (words->len == WORDS_MAX)
            tool_die("more than %d words", WORDS_MAX);
        at = word_read(words, at);
    }
}

static void words_done(struct words *words)
{
    for (size_t i = 0; i < words->len; i++)
        free(words->word[i].text);
    words->len = 0;
}

/* The value of the word "key=value", or NULL. */
static const struct word *words_find(const struct words *words, const char *key,
                                     struct word *value_out)
{
    size_t key_len = strlen(key);
    for (size_t i = 1; i < words->len; i++) {
        const struct word *word = &words->word[i];
        if (word->len > key_len && strncasecmp(word->text, key, key_len) == 0 &&
            word->text[key_len] == '=') {
            *value_out = (struct word){word->text + key_len + 1, word->len - key_len - 1, false};
            return value_out;
        }
    }
    return NULL;
}

static bool word_is(const struct word *word, const char *text)
{
    return word->len == strlen(text) && strcasecmp(word->text, text) == 0;
}

/* ------------------------------------------------------------------ variables */

static const struct variable *variables_find(const struct variables *variables, const char *name,
                                             size_t len)
{
    for (; variables; variables = variables->parent)
        for (const struct variable *at = variables->first; at; at = at->next)
            if (strlen(at->name) == len && memcmp(at->name, name, len) == 0)
                return at;
    return NULL;
}

static void variables_set(struct variables *variables, const char *name, const char *value,
                          size_t len)
{
    struct variable *at = variables->first;
    while (at && strcmp(at->name, name) != 0)
        at = at->next;
    if (!at) {
        at = tool_alloc(sizeof(*at));
        snprintf(at->name, sizeof(at->name), "%s", name);
        at->next = variables->first;
        variables->first = at;
    }
    free(at->value);
    at->value = tool_copy(value, len);
    at->len = len;
}

static void variables_set_number(struct variables *variables, const char *name, uint64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    variables_set(variables, name, text, (size_t)len);
}

/* The value, or `fallback` where it was never set. Lives until the variable is set again. */
static const char *variables_get(const struct variables *variables, const char *name,
                                 const char *fallback)
{
    const struct variable *found = variables_find(variables, name, strlen(name));
    return found ? found->value : fallback;
}

static bool variables_is_on(const struct variables *variables, const char *name, bool fallback)
{
    const char *value = variables_get(variables, name, NULL);
    return value ? strcasecmp(value, "off") != 0 && strcmp(value, "0") != 0 : fallback;
}

static void variables_done(struct variables *variables)
{
    while (variables->first) {
        struct variable *next = variables->first->next;
        free(variables->first->value);
        free(variables->first);
        variables->first = next;
    }
}

/*
 * Replaces each $NAME of a variable that exists; anything else with a dollar stays, since IMAP's
 * own keywords ($Forwarded) begin so. The caller frees.
 */
static char *variables_expand_dup(const struct variables *variables, const char *text, size_t len,
                                  size_t *len_out)
{
    size_t room = len + 1, out = 0;
    char *result = tool_alloc(room);
    for (size_t at = 0; at < len;) {
        size_t end = at + 1;
        while (text[at] == '$' && end < len &&
               (isalnum((unsigned char)text[end]) || text[end] == '_'))
            end++;
        const struct variable *found =
            end > at + 1 ? variables_find(variables, text + at + 1, end - at - 1) : NULL;
        const char *part = found ? found->value : text + at;
        size_t part_len = found ? found->len : end - at;
        if (out + part_len + 1 > room)
            result = tool_realloc(result, room = 2 * (out + part_len + 1));
        memcpy(result + out, part, part_len);
        out += part_len;
        at = end;
    }
    result[out] = '\0';
    *len_out = out;
    return result;
}

/* ------------------------------------------------------------------ steps */

struct step_word {
    const char *word;
    enum step_kind kind;
    bool has_number, has_name;
};

static const struct step_word step_words[] = {
    {"S:", STEP_SEND, false, false},
    {"S+:", STEP_SEND_RAW, false, false},
    {"C:", STEP_EXPECT, false, false},
    {"REJECT", STEP_REJECT, false, false},
    {"LITERAL", STEP_LITERAL, true, false},
    {"REPEAT", STEP_REPEAT, true, false},
    {"LOOP", STEP_LOOP, false, false},
    {"END", STEP_END, false, false},
    {"SLEEP", STEP_SLEEP, true, false},
    {"STALL", STEP_STALL, false, false},
    {"CLOSE", STEP_CLOSE, false, false},
    {"TRUNCATE", STEP_TRUNCATE, false, false},
    {"RST", STEP_RST, false, false},
    {"HALFCLOSE", STEP_HALFCLOSE, false, false},
    {"TLS", STEP_TLS, false, true},
    {"STARTTLS", STEP_STARTTLS, false, true},
    {"SET", STEP_SET, false, true},
    {"NOCONT", STEP_NOCONT, false, false},
    {"ECHO-MATCH", STEP_ECHO_MATCH, false, false},
    {"UNTIL-CLOSE", STEP_UNTIL_CLOSE, false, false},
    {"MODEL", STEP_MODEL, false, false},
};

/* Cuts the first word off *rest into name, and the blanks behind it. */
static void take_word(const char **rest, char *name, size_t name_size)
{
    size_t len = strcspn(*rest, " \t");
    if (len == 0 || len >= name_size)
        tool_die("a word of 1 to %zu bytes is missing", name_size - 1);
    memcpy(name, *rest, len);
    name[len] = '\0';
    *rest += len;
    *rest += strspn(*rest, " \t");
}

static struct dialogue *script_dialogue(struct script *script, uint64_t connection)
{
    for (size_t i = 0; i < script->len; i++)
        if (script->dialogues[i].connection == connection)
            return &script->dialogues[i];
    if (script->len == script->room) {
        script->room = script->room ? 2 * script->room : 8;
        script->dialogues = tool_realloc(script->dialogues, script->room * sizeof(struct dialogue));
    }
    script->dialogues[script->len] = (struct dialogue){.connection = connection};
    return &script->dialogues[script->len++];
}

static struct step *dialogue_add(struct dialogue *dialogue, enum step_kind kind, unsigned line)
{
    if (dialogue->len == dialogue->room) {
        dialogue->room = dialogue->room ? 2 * dialogue->room : 16;
        dialogue->steps = tool_realloc(dialogue->steps, dialogue->room * sizeof(struct step));
    }
    struct step *step = &dialogue->steps[dialogue->len++];
    *step = (struct step){.kind = kind, .line = line};
    step->text = tool_copy("", 0);
    return step;
}

/* Connects each REPEAT and LOOP with its END. */
static void dialogue_link(struct dialogue *dialogue, const char *file)
{
    size_t open[NESTING_MAX], depth = 0;
    for (size_t i = 0; i < dialogue->len; i++) {
        struct step *step = &dialogue->steps[i];
        if (step->kind == STEP_REPEAT || step->kind == STEP_LOOP) {
            if (depth == NESTING_MAX)
                tool_die("%s:%u: nested deeper than %d", file, step->line, NESTING_MAX);
            open[depth++] = i;
        } else if (step->kind == STEP_END) {
            if (depth == 0)
                tool_die("%s:%u: END without REPEAT or LOOP", file, step->line);
            step->jump = open[--depth];
            dialogue->steps[step->jump].jump = i;
        }
    }
    if (depth > 0)
        tool_die("%s:%u: has no END", file, dialogue->steps[open[depth - 1]].line);
}

static const struct step_word *step_word_find(const char *word)
{
    for (size_t i = 0; i < sizeof(step_words) / sizeof(step_words[0]); i++)
        if (strcmp(step_words[i].word, word) == 0)
            return &step_words[i];
    return NULL;
}

/* A step of the current dialogue; `rest` is what follows its keyword. */
static void script_add_step(struct script *script, struct dialogue *dialogue,
                            const struct step_word *word, const char *rest,
                            const struct words *where)
{
    struct step *step = dialogue_add(dialogue, word->kind, where->line);
    char number[NAME_BYTES_MAX];
    if (word->has_number) {
        take_word(&rest, number, sizeof(number));
        step->number = tool_number(number, word->word, 0, INT64_MAX);
    }
    if (word->has_name)
        take_word(&rest, step->name, sizeof(step->name));
    if (word->kind == STEP_REPEAT) {
        snprintf(step->name, sizeof(step->name), "I");
        if (*rest)
            take_word(&rest, step->name, sizeof(step->name));
    }
    if (word->kind == STEP_TLS || word->kind == STEP_STARTTLS)
        script->need_certificate(script->model, step->name);
    free(step->text);
    if (word->kind == STEP_SEND_RAW || word->kind == STEP_LITERAL) {
        step->text = tool_unescape(rest, &step->len);
    } else {
        step->len = strlen(rest);
        step->text = tool_copy(rest, step->len);
    }
}

static void script_read_model(struct script *script, const char *name, const struct words *where);

/* The path of a file that a script names: beside the script unless absolute. The caller frees. */
static char *script_path_dup(const char *script_file, const char *name)
{
    const char *slash = strrchr(script_file, '/');
    size_t folder_len = name[0] != '/' && slash ? (size_t)(slash - script_file) + 1 : 0;
    size_t size = folder_len + strlen(name) + 1;
    char *path = tool_alloc(size);
    snprintf(path, size, "%.*s%s", (int)folder_len, script_file, name);
    return path;
}

static void script_read_line(struct script *script, struct dialogue **current, const char *line,
                             struct words *where)
{
    line += strspn(line, " \t");
    if (!*line || *line == '#')
        return;
    char keyword[NAME_BYTES_MAX];
    const char *rest = line;
    size_t keyword_len = strcspn(line, " \t");
    if (keyword_len >= sizeof(keyword))
        tool_die("unknown step");
    memcpy(keyword, line, keyword_len);
    keyword[keyword_len] = '\0';
    rest += keyword_len;
    /* One blank belongs to the keyword; more are the text's own. */
    rest += *rest == ' ' || *rest == '\t';

    if (strcmp(keyword, "CONN") == 0) {
        uint64_t number = strcmp(rest, "*") == 0 ? 0 : tool_number(rest, "CONN", 1, UINT64_MAX);
        *current = script_dialogue(script, number);
        return;
    }
    if (strcmp(keyword, "SET") == 0 && !*current) {
        char name[NAME_BYTES_MAX];
        take_word(&rest, name, sizeof(name));
        variables_set(&script->globals, name, rest, strlen(rest));
        if (strcmp(name, "TLS") == 0 || strcmp(name, "STARTTLS") == 0)
            script->need_certificate(script->model, rest);
        return;
    }
    const struct step_word *word = step_word_find(keyword);
    if (word) {
        if (script->is_in_model_file)
            tool_die("a model file holds set-up lines only");
        if (!*current)
            *current = script_dialogue(script, 0);
        if (word->kind == STEP_MODEL && *rest) {
            script_read_model(script, rest, where);
            rest = "";
        }
        script_add_step(script, *current, word, rest, where);
        return;
    }
    words_read(where, line);
    if (!script->set_up(script->model, where))
        tool_die("unknown step '%s'", keyword);
    words_done(where);
}

static void script_read_file(struct script *script, const char *file)
{
    FILE *in = fopen(file, "re");
    if (!in)
        tool_die("cannot read %s: %s", file, strerror(errno));
    struct words *where = tool_alloc(sizeof(*where));
    where->file = file;
    struct dialogue *current = NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t len = 0;
    while ((len = getline(&line, &room, in)) > 0) {
        where->line++;
        snprintf(tool_context, sizeof(tool_context), "%s:%u: ", file, where->line);
        if (strlen(line) != (size_t)len)
            tool_die("a NUL byte: write \\0");
        if (line[len - 1] == '\n')
            line[len - 1] = '\0';
        script_read_line(script, &current, line, where);
    }
    if (ferror(in))
        tool_die("cannot read %s: %s", file, strerror(errno));
    tool_context[0] = '\0';
    free(line);
    free(where);
    (void)fclose(in);
}

/* The store is one for all connections, so what fills it is read once. */
static void script_read_model(struct script *script, const char *name, const struct words *where)
{
    if (script->has_model_file)
        tool_die("the model's file is named once; write MODEL alone elsewhere");
    char *path = script_path_dup(where->file, name);
    script->has_model_file = script->is_in_model_file = true;
    script_read_file(script, path);
    script->is_in_model_file = false;
    free(path);
}

/* Reads the script; one without any step is a model for every connection. */
static void script_read(struct script *script)
{
    script_read_file(script, script->file);
    if (script->len == 0)
        dialogue_add(script_dialogue(script, 0), STEP_MODEL, 0);
    for (size_t i = 0; i < script->len; i++)
        dialogue_link(&script->dialogues[i], script->file);
}

/* The dialogue of the nth connection: its own, else that of CONN *, else NULL. */
static const struct dialogue *script_find(const struct script *script, uint64_t connection)
{
    const struct dialogue *found = NULL;
    for (size_t i = 0; i < script->len; i++)
        if (script->dialogues[i].connection == connection ||
            (!found && script->dialogues[i].connection == 0))
            found = &script->dialogues[i];
    return found;
}

static void script_done(struct script *script)
{
    for (size_t i = 0; i < script->len; i++) {
        for (size_t k = 0; k < script->dialogues[i].len; k++)
            free(script->dialogues[i].steps[k].text);
        free(script->dialogues[i].steps);
    }
    free(script->dialogues);
    variables_done(&script->globals);
}

#endif
