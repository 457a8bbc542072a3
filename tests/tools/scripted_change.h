/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The model's other commands about messages: STORE, SEARCH, COPY, MOVE, EXPUNGE (RFC 3501 section
 * 6.4, RFC 4315, RFC 6851). As in scripted_fetch.h, sets are resolved against the client's view.
 */
#ifndef MH_TESTS_SCRIPTED_CHANGE_H
#define MH_TESTS_SCRIPTED_CHANGE_H

#include "scripted_fetch.h"
#include "scripted_folders.h"

enum { SEARCH_KEYS_MAX = 32 };

/* ------------------------------------------------------------------ STORE */

/* "(\Seen $Work)" or the same without parentheses. */
static bool command_flags(struct session *session, char **flags_out)
{
    bool has_parentheses = command_take(session, '(');
    while (!command_is_at_end(session) && command_peek(session) != ')') {
        size_t began = session->at;
        while (is_atom_byte(command_peek(session)))
            session->at++;
        if (session->at == began)
            return false;
        flags_add(flags_out, session->line + began, session->at - began);
        if (!command_take(session, ' '))
            break;
    }
    flags_remove(flags_out, "\\Recent", 7);
    return !has_parentheses || command_take(session, ')');
}

/* Applies one STORE to one message. Wants store.lock. */
static void store_flags(struct message *message, char sign, const char *flags)
{
    if (sign == '\0') {
        free(message->flags);
        message->flags = NULL;
    }
    for (const char *at = flags ? flags : ""; *at;) {
        size_t len = strcspn(at, " ");
        if (sign == '-')
            flags_remove(&message->flags, at, len);
        else
            flags_add(&message->flags, at, len);
        at += len;
        at += *at == ' ';
    }
}

static void store_run(struct session *session, bool is_by_uid)
{
    struct targets targets = {NULL, 0};
    char word[ATOM_BYTES_MAX + 1] = "", *flags = NULL;
    char sign = '\0';
    bool is_right = targets_read(session, is_by_uid, &targets) && command_take(session, ' ');
    if (is_right && (command_peek(session) == '+' || command_peek(session) == '-'))
        sign = session->line[session->at++];
    is_right = is_right && command_keyword(session, word) && command_take(session, ' ') &&
               (strcmp(word, "FLAGS") == 0 || strcmp(word, "FLAGS.SILENT") == 0) &&
               command_flags(session, &flags) && command_is_at_end(session);
    if (!is_right) {
        session_bad(session, "expected STORE set FLAGS (flags)");
    } else if (session_event_here(session, "STORE") == GO_ON) {
        struct fetch told = {.wants_flags = true};
        for (size_t i = 0; i < targets.len && !session->is_read_only; i++) {
            struct message *message = session->view[targets.places[i]];
            pthread_mutex_lock(&session->model->store.lock);
            store_flags(message, sign, flags);
            pthread_mutex_unlock(&session->model->store.lock);
            struct answer answer = {.message = message};
            if (word[5] == '\0')
                answer_message(session, &told, &answer, targets.places[i], is_by_uid);
        }
        session_reply(session, session->is_read_only ? "NO" : "OK",
                      session->is_read_only ? "[READ-ONLY] examined only" : "stored");
    }
    free(flags);
    free(targets.places);
}

/* ------------------------------------------------------------------ SEARCH */

enum search_kind {
    SEARCH_ALL,
    SEARCH_FLAG,
    SEARCH_UIDS,
    SEARCH_NUMBERS,
    SEARCH_LARGER,
    SEARCH_SMALLER,
    SEARCH_HEADER
};

struct search_key {
    enum search_kind kind;
    bool is_not;
    struct number_set set;
    uint64_t number;
    struct text name, value; /* SEARCH_FLAG: the flag in name */
};

struct search {
    struct search_key keys[SEARCH_KEYS_MAX]; /* all must hold */
    size_t len;
};

static bool search_read_flag_word(const char *word, struct search_key *key)
{
    static const struct {
        const char *word, *flag;
        bool is_not;
    } flag_words[] = {{"ANSWERED", "\\Answered", false}, {"UNANSWERED", "\\Answered", true},
                      {"DELETED", "\\Deleted", false},   {"UNDELETED", "\\Deleted", true},
                      {"DRAFT", "\\Draft", false},       {"UNDRAFT", "\\Draft", true},
                      {"FLAGGED", "\\Flagged", false},   {"UNFLAGGED", "\\Flagged", true},
                      {"SEEN", "\\Seen", false},         {"UNSEEN", "\\Seen", true}};
    for (size_t i = 0; i < sizeof(flag_words) / sizeof(flag_words[0]); i++) {
        if (strcmp(flag_words[i].word, word) != 0)
            continue;
        key->kind = SEARCH_FLAG;
        key->is_not ^= flag_words[i].is_not;
        text_print(&key->name, "%s", flag_words[i].flag);
        return true;
    }
    return false;
}

static bool search_read_key(struct session *session, struct search_key *key)
{
    char word[ATOM_BYTES_MAX + 1];
    if (isdigit((unsigned char)command_peek(session)) || command_peek(session) == '*') {
        key->kind = SEARCH_NUMBERS;
        return set_read(session, &key->set, view_star(session, false));
    }
    if (!command_keyword(session, word))
        return false;
    if (strcmp(word, "NOT") == 0) {
        key->is_not = !key->is_not;
        return command_take(session, ' ') && search_read_key(session, key);
    }
    if (strcmp(word, "ALL") == 0 || search_read_flag_word(word, key))
        return true;
    if (strcmp(word, "UID") == 0) {
        key->kind = SEARCH_UIDS;
        return command_take(session, ' ') && set_read(session, &key->set, view_star(session, true));
    }
    if (strcmp(word, "KEYWORD") == 0 || strcmp(word, "UNKEYWORD") == 0) {
        key->kind = SEARCH_FLAG;
        key->is_not ^= word[0] == 'U';
        return command_space_string(session, &key->name);
    }
    if (strcmp(word, "LARGER") == 0 || strcmp(word, "SMALLER") == 0) {
        key->kind = word[0] == 'L' ? SEARCH_LARGER : SEARCH_SMALLER;
        return command_take(session, ' ') && command_number(session, &key->number);
    }
    key->kind = SEARCH_HEADER;
    return strcmp(word, "HEADER") == 0 && command_space_string(session, &key->name) &&
           command_space_string(session, &key->value);
}

static bool search_header_has(const struct message *message, const struct search_key *key)
{
    if (message->kind == BODY_DIGEST)
        return false;
    struct text header = {NULL, 0, 0};
    message_header(message, &header);
    const char *end = header.bytes + header.len;
    bool is_found = false;
    for (const char *at = header.bytes; at < end && !is_found;) {
        size_t len = header_field_len(at, end);
        if (field_is_named(at, len, &key->name)) {
            char *field = tool_copy(at + key->name.len + 1, len - key->name.len - 1);
            is_found = strcasestr(field, key->value.bytes) != NULL;
            free(field);
        }
        at += len;
    }
    text_done(&header);
    return is_found;
}

/* Wants store.lock, for the flags. */
static bool search_key_holds(const struct search_key *key, struct message *message, size_t place)
{
    switch (key->kind) {
    case SEARCH_ALL:
        return !key->is_not;
    case SEARCH_FLAG:
        return flags_has(message->flags, key->name.bytes) != key->is_not;
    case SEARCH_UIDS:
        return set_has(&key->set, message->uid) != key->is_not;
    case SEARCH_NUMBERS:
        return set_has(&key->set, place + 1) != key->is_not;
    case SEARCH_LARGER:
        return (message->size > key->number) != key->is_not;
    case SEARCH_SMALLER:
        return (message->size < key->number) != key->is_not;
    case SEARCH_HEADER:
        return search_header_has(message, key) != key->is_not;
    }
    return false;
}

static bool search_read(struct session *session, struct search *search)
{
    while (command_take(session, ' ')) {
        if (search->len == SEARCH_KEYS_MAX ||
            !search_read_key(session, &search->keys[search->len++]))
            return false;
    }
    return search->len > 0 && command_is_at_end(session);
}

static void search_run(struct session *session, bool is_by_uid)
{
    struct search *search = tool_alloc(sizeof(*search));
    if (!search_read(session, search)) {
        session_bad(session, "this SEARCH is not known");
    } else if (session_event_here(session, "SEARCH") == GO_ON) {
        struct text line = {NULL, 0, 0};
        text_print(&line, "* SEARCH");
        pthread_mutex_lock(&session->model->store.lock);
        for (size_t place = 0; place < session->view_len; place++) {
            struct message *message = session->view[place];
            bool holds = !message->is_expunged;
            for (size_t k = 0; k < search->len && holds; k++)
                holds = search_key_holds(&search->keys[k], message, place);
            if (holds)
                text_print(&line, " %zu", is_by_uid ? (size_t)message->uid : place + 1);
        }
        pthread_mutex_unlock(&session->model->store.lock);
        session_send(session, &line);
        session_reply(session, "OK", "search done");
    }
    for (size_t k = 0; k < search->len; k++) {
        free(search->keys[k].set.ranges);
        text_done(&search->keys[k].name);
        text_done(&search->keys[k].value);
    }
    free(search);
}

/* ------------------------------------------------------------------ COPY and MOVE */

/* Copies the targets that still exist; the words of COPYUID (RFC 4315 section 3) go into code. */
static void copy_messages(struct session *session, const struct targets *targets,
                          struct folder *folder, bool is_move, struct text *code)
{
    struct text from = {NULL, 0, 0}, to = {NULL, 0, 0};
    pthread_mutex_lock(&session->model->store.lock);
    for (size_t i = 0; i < targets->len; i++) {
        struct message *message = session->view[targets->places[i]];
        if (message->is_expunged)
            continue;
        struct message *copy = message_copy(message);
        folder_add_take(folder, copy);
        text_print(&from, "%s%u", from.len ? "," : "", message->uid);
        text_print(&to, "%s%u", to.len ? "," : "", copy->uid);
        if (is_move)
            folder_expunge(session->selected, message);
    }
    if (from.len > 0 && session_can(session, "UIDPLUS"))
        text_print(code, "[COPYUID %u %s %s] ", folder->uidvalidity, from.bytes, to.bytes);
    pthread_mutex_unlock(&session->model->store.lock);
    text_done(&from);
    text_done(&to);
}

static void copy_run(struct session *session, bool is_by_uid, bool is_move)
{
    struct targets targets = {NULL, 0};
    struct text name = {NULL, 0, 0}, code = {NULL, 0, 0};
    const char *event = is_move ? "MOVE" : "COPY";
    if (!targets_read(session, is_by_uid, &targets) || !command_space_string(session, &name) ||
        !command_is_at_end(session) || (is_move && !session_can(session, "MOVE"))) {
        session_bad(session, "expected COPY set mailbox");
    } else if (session_event(session, event, name.bytes, name.len) == GO_ON) {
        struct folder *folder = session_folder(session, &name);
        if (folder)
            copy_messages(session, &targets, folder, is_move, &code);
        if (code.len > 0 && is_move) { /* RFC 6851 section 4.3: the code comes first, untagged */
            session_untagged(session, "OK %smoved", code.bytes);
            text_done(&code);
        }
        session_sync(session);
        if (folder)
            session_reply(session, "OK", "%sdone", code.bytes ? code.bytes : "");
        else
            session_reply(session, "NO", "[TRYCREATE] no such mailbox");
    }
    text_done(&name);
    text_done(&code);
    free(targets.places);
}

/* ------------------------------------------------------------------ EXPUNGE */

static void expunge_run(struct session *session, bool is_by_uid)
{
    struct number_set set = {NULL, 0, 0};
    bool is_right = !is_by_uid || (session_can(session, "UIDPLUS") && command_take(session, ' ') &&
                                   set_read(session, &set, view_star(session, true)));
    if (!is_right || !command_is_at_end(session)) {
        session_bad(session, "expected EXPUNGE, or UID EXPUNGE set");
    } else if (session_event_here(session, "EXPUNGE") == GO_ON) {
        pthread_mutex_lock(&session->model->store.lock);
        if (!session->is_read_only)
            expunge_deleted(session->selected, is_by_uid ? set_has : NULL, &set);
        pthread_mutex_unlock(&session->model->store.lock);
        session_sync(session);
        session_reply(session, session->is_read_only ? "NO" : "OK", "expunged");
    }
    free(set.ranges);
}

#endif
