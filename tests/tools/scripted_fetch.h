/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The model's commands about messages of the selected folder: FETCH (RFC 3501 section 6.4.5).
 *
 * What a FETCH answers is fixed when it begins (the client's view); bodies are sent without the
 * lock, since they never change and the view holds a reference. A fault may act before a message,
 * in the middle of its literal, or on the numbers that are told about it.
 */
#ifndef MH_TESTS_SCRIPTED_FETCH_H
#define MH_TESTS_SCRIPTED_FETCH_H

#include "scripted_session.h"

enum { SECTIONS_MAX = 8, FIELDS_MAX = 16, HEADER_BYTES_MAX = 1024 * 1024 };

/* ------------------------------------------------------------------ sets of numbers */

struct range {
    uint64_t first, last; /* both inclusive */
};

struct number_set {
    struct range *ranges; /* owned; ascending once sorted */
    size_t len, room;
};

static int range_compare(const void *left, const void *right)
{
    const struct range *a = left, *b = right;
    return a->first < b->first ? -1 : a->first > b->first;
}

/* "1:5,7,9:*"; star is what '*' stands for. */
static bool set_read(struct session *session, struct number_set *set, uint64_t star)
{
    do {
        struct range range;
        if (command_take(session, '*'))
            range.first = star;
        else if (!command_number(session, &range.first) || range.first == 0)
            return false;
        range.last = range.first;
        if (command_take(session, ':')) {
            if (command_take(session, '*'))
                range.last = star;
            else if (!command_number(session, &range.last) || range.last == 0)
                return false;
        }
        if (range.first > range.last)
            range = (struct range){range.last, range.first};
        if (set->len == set->room) {
            set->room = set->room ? 2 * set->room : 16;
            set->ranges = tool_realloc(set->ranges, set->room * sizeof(struct range));
        }
        set->ranges[set->len++] = range;
    } while (command_take(session, ','));
    qsort(set->ranges, set->len, sizeof(struct range), range_compare);
    return true;
}

static bool set_has(const void *set_of_numbers, uint64_t number)
{
    const struct number_set *set = set_of_numbers;
    for (size_t i = 0; i < set->len && set->ranges[i].first <= number; i++)
        if (number <= set->ranges[i].last)
            return true;
    return false;
}

/* Which messages of the view a command is about: places in the view, ascending, each once. */
struct targets {
    size_t *places; /* owned */
    size_t len;
};

static size_t view_place(const struct session *session, uint64_t uid)
{
    return messages_place(session->view, session->view_len, uid);
}

static uint64_t view_star(const struct session *session, bool is_by_uid)
{
    if (!is_by_uid)
        return session->view_len ? session->view_len : 1;
    return session->view_len ? session->view[session->view_len - 1]->uid : 1;
}

static void targets_find(const struct session *session, const struct number_set *set,
                         bool is_by_uid, struct targets *targets)
{
    targets->places = tool_alloc(session->view_len * sizeof(size_t));
    size_t next = 0;
    for (size_t i = 0; i < set->len; i++) {
        uint64_t first = set->ranges[i].first, last = set->ranges[i].last;
        size_t place = is_by_uid ? view_place(session, first) : (size_t)first - 1;
        for (place = place > next ? place : next; place < session->view_len; place++) {
            if ((is_by_uid ? session->view[place]->uid : place + 1) > last)
                break;
            targets->places[targets->len++] = place;
            next = place + 1;
        }
    }
}

/* " set" ahead; false after a wrong one. */
static bool targets_read(struct session *session, bool is_by_uid, struct targets *targets)
{
    struct number_set set = {NULL, 0, 0};
    bool is_right =
        command_take(session, ' ') && set_read(session, &set, view_star(session, is_by_uid));
    if (is_right)
        targets_find(session, &set, is_by_uid, targets);
    free(set.ranges);
    return is_right;
}

/* ------------------------------------------------------------------ what is asked for */

enum section_kind {
    SECTION_FULL,
    SECTION_HEADER,
    SECTION_TEXT,
    SECTION_FIELDS,
    SECTION_FIELDS_NOT
};

struct section {
    enum section_kind kind;
    struct text label; /* as the answer names it: BODY[HEADER] */
    struct text fields[FIELDS_MAX];
    size_t fields_len;
    bool is_partial, sets_seen;
    uint64_t offset, count;
};

struct fetch {
    bool wants_uid, wants_flags, wants_date, wants_size;
    struct section sections[SECTIONS_MAX];
    size_t sections_len;
};

static bool fetch_read_fields(struct session *session, struct section *section)
{
    if (!command_take(session, ' ') || !command_take(session, '('))
        return false;
    text_print(&section->label, " (");
    do {
        if (section->fields_len == FIELDS_MAX)
            return false;
        struct text *field = &section->fields[section->fields_len++];
        if (!command_string(session, field))
            return false;
        text_print(&section->label, "%s%s", section->fields_len > 1 ? " " : "", field->bytes);
    } while (command_take(session, ' '));
    text_print(&section->label, ")");
    return command_take(session, ')');
}

/* "<offset.count>" */
static bool fetch_read_partial(struct session *session, struct section *section)
{
    if (!command_take(session, '<'))
        return true;
    section->is_partial = true;
    text_print(&section->label, "<");
    if (!command_number(session, &section->offset) || !command_take(session, '.') ||
        !command_number(session, &section->count))
        return false;
    text_print(&section->label, "%llu>", (unsigned long long)section->offset);
    return command_take(session, '>');
}

/* What stands between the brackets of BODY[…]. */
static bool fetch_read_section(struct session *session, struct section *section)
{
    static const struct {
        const char *word;
        enum section_kind kind;
    } kinds[] = {{"HEADER.FIELDS.NOT", SECTION_FIELDS_NOT},
                 {"HEADER.FIELDS", SECTION_FIELDS},
                 {"HEADER", SECTION_HEADER},
                 {"TEXT", SECTION_TEXT},
                 {"", SECTION_FULL}};
    text_print(&section->label, "BODY[");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t len = strlen(kinds[i].word);
        if (session->len - session->at < len ||
            strncasecmp(session->line + session->at, kinds[i].word, len) != 0)
            continue;
        section->kind = kinds[i].kind;
        session->at += len;
        text_print(&section->label, "%s", kinds[i].word);
        break;
    }
    bool has_fields = section->kind == SECTION_FIELDS || section->kind == SECTION_FIELDS_NOT;
    if (has_fields && !fetch_read_fields(session, section))
        return false;
    text_print(&section->label, "]");
    return command_take(session, ']') && fetch_read_partial(session, section);
}

/* Letters, digits and dots of an item's name: it ends at '[', which is_atom_byte() takes. */
static void fetch_read_word(struct session *session, char word_out[ATOM_BYTES_MAX + 1])
{
    size_t len = 0;
    while (len < ATOM_BYTES_MAX &&
           (isalnum((unsigned char)command_peek(session)) || command_peek(session) == '.')) {
        word_out[len++] = (char)toupper((unsigned char)command_peek(session));
        session->at++;
    }
    word_out[len] = '\0';
}

static bool fetch_read_item(struct session *session, struct fetch *fetch)
{
    char word[ATOM_BYTES_MAX + 1];
    fetch_read_word(session, word);
    if (strcmp(word, "UID") == 0)
        return fetch->wants_uid = true;
    if (strcmp(word, "FLAGS") == 0)
        return fetch->wants_flags = true;
    if (strcmp(word, "INTERNALDATE") == 0)
        return fetch->wants_date = true;
    if (strcmp(word, "RFC822.SIZE") == 0)
        return fetch->wants_size = true;
    if (strcmp(word, "FAST") == 0)
        return fetch->wants_flags = fetch->wants_date = fetch->wants_size = true;
    if (fetch->sections_len == SECTIONS_MAX)
        return false;
    struct section *section = &fetch->sections[fetch->sections_len++];
    if (strcmp(word, "BODY.PEEK") == 0 || strcmp(word, "BODY") == 0) {
        section->sets_seen = word[4] == '\0';
        return command_take(session, '[') && fetch_read_section(session, section);
    }
    text_print(&section->label, "%s", word);
    section->sets_seen = strcmp(word, "RFC822.HEADER") != 0;
    section->kind = strcmp(word, "RFC822.HEADER") == 0 ? SECTION_HEADER
                    : strcmp(word, "RFC822.TEXT") == 0 ? SECTION_TEXT
                                                       : SECTION_FULL;
    return section->kind != SECTION_FULL || strcmp(word, "RFC822") == 0;
}

static bool fetch_read(struct session *session, struct fetch *fetch)
{
    if (!command_take(session, ' '))
        return false;
    if (!command_take(session, '('))
        return fetch_read_item(session, fetch) && command_is_at_end(session);
    do
        if (!fetch_read_item(session, fetch))
            return false;
    while (command_take(session, ' '));
    return command_take(session, ')') && command_is_at_end(session);
}

static void fetch_done(struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->sections_len; i++) {
        text_done(&fetch->sections[i].label);
        for (size_t k = 0; k < fetch->sections[i].fields_len; k++)
            text_done(&fetch->sections[i].fields[k]);
    }
}

/* ------------------------------------------------------------------ headers */

/* The header with its empty line; the whole of a message that has none. The caller frees. */
static void message_header(const struct message *message, struct text *header)
{
    size_t len = message->size < HEADER_BYTES_MAX ? (size_t)message->size : HEADER_BYTES_MAX;
    char *bytes = tool_alloc(len + 1);
    message_read(message, 0, bytes, len);
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    text_add(header, bytes, end ? (size_t)(end - bytes) + 4 : len);
    free(bytes);
}

/* Length of the field that begins at line, with its continuation lines. */
static size_t header_field_len(const char *line, const char *end)
{
    const char *at = line;
    do {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline ? newline + 1 : end;
    } while (at < end && (*at == ' ' || *at == '\t'));
    return (size_t)(at - line);
}

static bool field_is_named(const char *line, size_t len, const struct text *name)
{
    return len > name->len && line[name->len] == ':' &&
           strncasecmp(line, name->bytes, name->len) == 0;
}

/* The fields that were asked for, or all but these, and the empty line. */
static void header_pick(const struct section *section, const struct text *header,
                        struct text *picked)
{
    const char *end = header->bytes + header->len;
    for (const char *at = header->bytes; at < end;) {
        size_t len = header_field_len(at, end);
        bool is_named = false, is_empty = len <= 2 && (*at == '\r' || *at == '\n');
        for (size_t i = 0; i < section->fields_len; i++)
            is_named = is_named || field_is_named(at, len, &section->fields[i]);
        if (!is_empty && is_named == (section->kind == SECTION_FIELDS))
            text_add(picked, at, len);
        at += len;
    }
    text_add(picked, "\r\n", 2);
}

/* ------------------------------------------------------------------ answering */

/* One message being answered. */
struct answer {
    const struct message *message; /* borrowed: the view's */
    const struct fault *fault;     /* acts inside the literal; NULL: none */
};

static uint64_t fault_offset(const struct fault *fault)
{
    return fault->kind == FAULT_CUT_AFTER ? fault->number : fault->at_byte;
}

/*
 * In the middle of a literal only these make sense; CUT-AFTER n there means: CLOSE behind n bytes.
 */
static void act_in_literal(struct session *session, const struct fault *fault)
{
    struct fault close = {.line = fault->line, .kind = FAULT_CLOSE};
    peer_flush(session->peer);
    session_act(session, fault->kind == FAULT_CUT_AFTER ? &close : fault, NULL, 0);
}

/* Sends bytes [offset, offset + len) of a body, with a fault on the way perhaps. */
static void answer_send_body(struct session *session, struct answer *answer, uint64_t offset,
                             uint64_t len)
{
    enum { PART = 32 * 1024 };
    char *part = tool_alloc(PART);
    const struct fault *fault = answer->fault;
    answer->fault = NULL;
    uint64_t done = 0;
    while (!session->peer->is_over && (done < len || fault)) {
        if (fault && (done == len || done >= fault_offset(fault))) {
            act_in_literal(session, fault);
            fault = NULL;
            continue;
        }
        uint64_t stop = fault && fault_offset(fault) < len ? fault_offset(fault) : len;
        size_t now = stop - done < PART ? (size_t)(stop - done) : PART;
        message_read(answer->message, offset + done, part, now);
        if (!session->is_silent)
            peer_write(session->peer, part, now);
        done += now;
    }
    free(part);
}

static uint64_t lie(uint64_t truth, const struct fault *fault)
{
    if (!fault)
        return truth;
    if (!fault->is_number_negative)
        return truth + fault->number;
    return truth > fault->number ? truth - fault->number : 0;
}

static const struct fault *answer_value_fault(struct session *session, const struct answer *answer,
                                              enum fault_kind kind)
{
    return session_fault(session, (struct occasion){.event = "FETCH",
                                                    .folder = session->selected->name,
                                                    .folder_len = session->selected->len,
                                                    .uid = answer->message->uid,
                                                    .message = answer->message,
                                                    .only = kind});
}

static void answer_section(struct session *session, struct answer *answer,
                           const struct section *section, struct text *line)
{
    const struct message *message = answer->message;
    struct text held = {NULL, 0, 0};
    uint64_t offset = 0, len = message->size;
    if (section->kind != SECTION_FULL) {
        struct text header = {NULL, 0, 0};
        message_header(message, &header);
        if (section->kind == SECTION_FIELDS || section->kind == SECTION_FIELDS_NOT)
            header_pick(section, &header, &held);
        else if (section->kind == SECTION_TEXT)
            offset = header.len;
        len = section->kind == SECTION_TEXT     ? message->size - header.len
              : section->kind == SECTION_HEADER ? header.len
                                                : held.len;
        text_done(&header);
    }
    if (section->is_partial) {
        uint64_t skip = section->offset < len ? section->offset : len;
        offset += skip;
        len = len - skip < section->count ? len - skip : section->count;
    }
    uint64_t told = lie(len, answer_value_fault(session, answer, FAULT_LIE_LITERAL));
    text_print(line, "%s {%llu}", section->label.bytes, (unsigned long long)told);
    session_send(session, line);
    if (held.bytes && !session->is_silent)
        peer_write(session->peer, held.bytes + offset, (size_t)len);
    else if (!held.bytes)
        answer_send_body(session, answer, offset, len);
    text_done(&held);
}

static void answer_message(struct session *session, const struct fetch *fetch,
                           struct answer *answer, size_t place, bool is_by_uid)
{
    const struct message *message = answer->message;
    struct text line = {NULL, 0, 0};
    const char *blank = "";
    text_print(&line, "* %zu FETCH (", place + 1);
    if (fetch->wants_uid || is_by_uid) {
        text_print(&line, "UID %u", message->uid);
        blank = " ";
    }
    if (fetch->wants_flags) {
        pthread_mutex_lock(&session->model->store.lock);
        text_print(&line, "%sFLAGS (%s)", blank, message->flags ? message->flags : "");
        pthread_mutex_unlock(&session->model->store.lock);
        blank = " ";
    }
    if (fetch->wants_date) {
        text_print(&line, "%sINTERNALDATE \"%s\"", blank, message->date);
        blank = " ";
    }
    if (fetch->wants_size) {
        uint64_t told = lie(message->size, answer_value_fault(session, answer, FAULT_LIE_SIZE));
        text_print(&line, "%sRFC822.SIZE %llu", blank, (unsigned long long)told);
        blank = " ";
    }
    for (size_t i = 0; i < fetch->sections_len && !session->peer->is_over; i++) {
        text_print(&line, "%s", blank);
        answer_section(session, answer, &fetch->sections[i], &line);
        blank = " ";
    }
    text_print(&line, ")");
    session_send(session, &line);
}

/* BODY[] without PEEK marks the message as read (RFC 3501 6.4.5). */
static void answer_set_seen(struct session *session, const struct fetch *fetch, size_t place)
{
    bool sets_seen = false;
    for (size_t i = 0; i < fetch->sections_len; i++)
        sets_seen = sets_seen || fetch->sections[i].sets_seen;
    if (!sets_seen || session->is_read_only)
        return;
    pthread_mutex_lock(&session->model->store.lock);
    flags_add(&session->view[place]->flags, "\\Seen", 5);
    pthread_mutex_unlock(&session->model->store.lock);
}

/* One message of a FETCH. ANSWERED: the command has been answered, by a fault. */
static enum verdict fetch_message(struct session *session, const struct fetch *fetch, size_t place,
                                  bool is_by_uid)
{
    struct message *message = session->view[place];
    struct answer answer = {.message = message};
    const struct fault *fault = session_fault(
        session, (struct occasion){.event = fetch->sections_len ? "FETCH" : "FETCH-META",
                                   .folder = session->selected->name,
                                   .folder_len = session->selected->len,
                                   .uid = message->uid,
                                   .message = message});
    if (fault && (fault->kind == FAULT_CUT_AFTER || fault->at_byte != FAULT_WITHOUT_END) &&
        fetch->sections_len)
        answer.fault = fault;
    else if (fault && session_act(session, fault, session->selected, message->uid) == ANSWERED)
        return ANSWERED;
    pthread_mutex_lock(&session->model->store.lock);
    bool is_expunged = message->is_expunged;
    pthread_mutex_unlock(&session->model->store.lock);
    if (is_expunged)
        return GO_ON;
    if (message->kind == BODY_DIGEST && fetch->sections_len) {
        session_reply(session, "NO", "[SERVERBUG] SET STORE digest keeps no bodies");
        return ANSWERED;
    }
    answer_set_seen(session, fetch, place);
    answer_message(session, fetch, &answer, place, is_by_uid);
    return session->peer->is_over ? ANSWERED : GO_ON;
}

static void fetch_run(struct session *session, bool is_by_uid)
{
    struct targets targets = {NULL, 0};
    struct fetch *fetch = tool_alloc(sizeof(*fetch));
    if (!targets_read(session, is_by_uid, &targets) || !fetch_read(session, fetch)) {
        session_bad(session, "expected FETCH set items");
    } else if (session_event_here(session, "FETCH-COMMAND") == GO_ON) {
        enum verdict verdict = GO_ON;
        for (size_t i = 0; i < targets.len && verdict == GO_ON; i++)
            verdict = fetch_message(session, fetch, targets.places[i], is_by_uid);
        if (verdict == GO_ON)
            session_reply(session, "OK", "fetch done");
    }
    fetch_done(fetch);
    free(fetch);
    free(targets.places);
}

#endif
