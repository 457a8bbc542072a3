/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One client at the model: its state, the reading of its commands, the writing of answers, and what
 * a fault does.
 *
 * For: the command files (scripted_folders.h, scripted_fetch.h, scripted_append.h,
 * scripted_model.h). A command is read line by line: the parsing functions look at the current
 * line, and meet a literal only at its end, where they fetch its bytes and then the next line.
 * Memory: a session belongs to its connection's thread. Locks: store.lock is taken for looking at
 * and changing the store, and never held over the network. Never: a client's literal that was not
 * announced as possible is never guessed at; it is a violation, counted, and ends the connection.
 */
#ifndef MH_TESTS_SCRIPTED_SESSION_H
#define MH_TESTS_SCRIPTED_SESSION_H

#include "scripted_fault.h"
#include "scripted_peer.h"
#include "scripted_script.h"
#include "scripted_store.h"

#include <stdatomic.h>

enum {
    TAG_BYTES_MAX = 64,
    ATOM_BYTES_MAX = 64,
    ARGUMENT_BYTES_MAX = 1024 * 1024,
    LITERAL_MINUS_MAX = 4096 /* RFC 7888 section 5 */
};

#define CAPABILITY_DEFAULT                                                                         \
    "IMAP4rev1 AUTH=PLAIN SASL-IR ID ENABLE NAMESPACE CHILDREN LIST-EXTENDED LIST-STATUS "         \
    "SPECIAL-USE CREATE-SPECIAL-USE UIDPLUS MOVE UNSELECT LITERAL+ MULTIAPPEND"

struct certificate {
    char name[NAME_BYTES_MAX];
    SSL_CTX *context; /* owned */
    struct certificate *next;
};

struct model {
    struct store store;
    struct faults faults;             /* counters under store.lock */
    const struct variables *globals;  /* borrowed: the script's */
    const char *certificates_folder;  /* borrowed: argv; NULL: none given */
    struct certificate *certificates; /* owned; complete before the first connection */
    atomic_ullong violations;
};

/* Growing bytes, always with a NUL behind them. */
struct text {
    char *bytes; /* owned */
    size_t len, room;
};

struct session {
    struct model *model;
    struct peer *peer;
    const struct variables *variables; /* borrowed: the connection's */
    struct account *account;           /* borrowed; NULL: not logged in */
    char *login_user;                  /* owned; AUTHENTICATE's words between its steps */
    struct folder *selected;           /* borrowed */
    bool is_read_only;
    struct message **view; /* owned array of references: sequence number n is view[n - 1] */
    size_t view_len;
    char tag[TAG_BYTES_MAX + 1];
    char *line; /* owned: the current line of the command */
    size_t len, at;
    bool is_answered, is_silent, is_tag_wrong, is_logged_out;
};

enum verdict { GO_ON, ANSWERED };

/* ------------------------------------------------------------------ text */

static void text_add(struct text *text, const void *bytes, size_t len)
{
    if (text->len + len + 1 > text->room) {
        text->room = 2 * (text->len + len + 1);
        text->bytes = tool_realloc(text->bytes, text->room);
    }
    if (len)
        memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
    text->bytes[text->len] = '\0';
}

TOOL_PRINTF(2, 0)
static void text_vprint(struct text *text, const char *format, va_list args)
{
    char *part = NULL;
    int len = vasprintf(&part, format, args);
    if (len < 0)
        tool_die("out of memory");
    text_add(text, part, (size_t)len);
    free(part);
}

TOOL_PRINTF(2, 3) static void text_print(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_vprint(text, format, args);
    va_end(args);
}

static void text_done(struct text *text)
{
    free(text->bytes);
    *text = (struct text){NULL, 0, 0};
}

/* A mailbox name as the wire has it: quoted, or a literal when quoting cannot carry it. */
static void text_add_name(struct text *text, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (name[i] != '\0' && name[i] != '\r' && name[i] != '\n')
            continue;
        text_print(text, "{%zu}\r\n", len);
        text_add(text, name, len);
        return;
    }
    text_add(text, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '"' || name[i] == '\\')
            text_add(text, "\\", 1);
        text_add(text, name + i, 1);
    }
    text_add(text, "\"", 1);
}

/* ------------------------------------------------------------------ answers */

/* Sends the text as a line and empties it. */
static void session_send(struct session *session, struct text *text)
{
    if (!session->is_silent)
        peer_write_line(session->peer, text->bytes ? text->bytes : "", text->len);
    text_done(text);
}

TOOL_PRINTF(2, 3) static void session_untagged(struct session *session, const char *format, ...)
{
    struct text text = {NULL, 0, 0};
    text_add(&text, "* ", 2);
    va_list args;
    va_start(args, format);
    text_vprint(&text, format, args);
    va_end(args);
    session_send(session, &text);
}

/* The answer that ends a command: `how` is OK, NO or BAD. */
TOOL_PRINTF(3, 4)
static void session_reply(struct session *session, const char *how, const char *format, ...)
{
    if (session->is_silent) { /* DROP-REPLY: done, but nobody will know */
        session->is_answered = true;
        peer_end(session->peer, PEER_END_CLOSE);
        return;
    }
    struct text text = {NULL, 0, 0};
    text_print(&text, "%s %s ", session->is_tag_wrong ? "WRONG-TAG" : session->tag, how);
    va_list args;
    va_start(args, format);
    text_vprint(&text, format, args);
    va_end(args);
    session_send(session, &text);
    session->is_answered = true;
}

static void session_bad(struct session *session, const char *what)
{
    session_reply(session, "BAD", "%s", what);
}

static void session_violation(struct session *session, const char *what)
{
    atomic_fetch_add(&session->model->violations, 1);
    fprintf(stderr, "%s: connection %llu violates the protocol: %s\n", tool_name,
            (unsigned long long)session->peer->number, what);
    peer_remark(session->peer, "violation: %s", what);
    session_untagged(session, "BYE %s", what);
    peer_end(session->peer, PEER_END_CLOSE);
}

/* ------------------------------------------------------------------ capabilities */

static const char *session_capabilities(const struct session *session)
{
    const char *all = variables_get(session->variables, "CAPABILITY", CAPABILITY_DEFAULT);
    return session->account ? all : variables_get(session->variables, "CAPABILITY-LOGIN", all);
}

/* Is the word among the capabilities announced in this state? */
static bool session_can(const struct session *session, const char *capability)
{
    size_t len = strlen(capability);
    for (const char *at = session_capabilities(session); *at;) {
        at += strspn(at, " ");
        size_t word_len = strcspn(at, " ");
        if (word_len == len && strncasecmp(at, capability, len) == 0)
            return true;
        at += word_len;
    }
    return false;
}

/* ------------------------------------------------------------------ reading a command */

static bool command_next_line(struct session *session)
{
    free(session->line);
    session->at = session->len = 0;
    session->line = peer_read_line_dup(session->peer, &session->len);
    return session->line != NULL;
}

static bool command_is_at_end(const struct session *session)
{
    return session->line && session->at == session->len;
}

static char command_peek(const struct session *session)
{
    return session->line && session->at < session->len ? session->line[session->at] : '\0';
}

/* Goes past the byte when it is the next one. */
static bool command_take(struct session *session, char byte)
{
    if (command_is_at_end(session) || command_peek(session) != byte)
        return false;
    session->at++;
    return true;
}

/* RFC 3501 ATOM-CHAR, and ']' and '\\' beside it, which names, flags and attributes need. */
static bool is_atom_byte(char byte)
{
    unsigned char value = (unsigned char)byte;
    return value > 0x20 && value < 0x7f && !strchr("(){\"", byte);
}

/* An atom of up to ATOM_BYTES_MAX bytes, in capitals. */
static bool command_keyword(struct session *session, char atom_out[ATOM_BYTES_MAX + 1])
{
    size_t len = 0;
    while (is_atom_byte(command_peek(session)) && len < ATOM_BYTES_MAX) {
        atom_out[len++] = (char)toupper((unsigned char)command_peek(session));
        session->at++;
    }
    atom_out[len] = '\0';
    return len > 0 && !is_atom_byte(command_peek(session));
}

static bool command_number(struct session *session, uint64_t *number_out)
{
    uint64_t number = 0;
    size_t began = session->at;
    while (isdigit((unsigned char)command_peek(session))) {
        uint64_t digit = (uint64_t)(command_peek(session) - '0');
        if (number > (INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
        session->at++;
    }
    *number_out = number;
    return session->at > began;
}

/* "{n}" or "{n+}" at the end of the line. */
static bool command_literal_size(struct session *session, uint64_t *size_out, bool *is_waiting_out)
{
    if (!command_take(session, '{') || !command_number(session, size_out))
        return false;
    *is_waiting_out = !command_take(session, '+');
    return command_take(session, '}') && command_is_at_end(session);
}

/* May the client send this literal unasked? If not, the connection is over. */
static bool command_literal_is_allowed(struct session *session, uint64_t size, bool is_waiting)
{
    if (is_waiting || session_can(session, "LITERAL+") ||
        (session_can(session, "LITERAL-") && size <= LITERAL_MINUS_MAX))
        return true;
    session_violation(session, "a literal that does not wait, without LITERAL+");
    return false;
}

static void command_invite_literal(struct session *session, bool is_waiting)
{
    if (is_waiting)
        peer_write_line(session->peer, "+ ok", 4);
}

/* The bytes of a literal argument; then the next line is the current one. */
static bool command_literal(struct session *session, struct text *text)
{
    uint64_t size = 0;
    bool is_waiting = false;
    if (!command_literal_size(session, &size, &is_waiting) ||
        !command_literal_is_allowed(session, size, is_waiting))
        return false;
    if (size > ARGUMENT_BYTES_MAX) {
        session_violation(session, "a literal argument of more than 1 MiB");
        return false;
    }
    command_invite_literal(session, is_waiting);
    while (size > 0) {
        char part[4096];
        size_t got =
            peer_read(session->peer, part, size < sizeof(part) ? (size_t)size : sizeof(part));
        if (!got)
            return false;
        text_add(text, part, got);
        size -= got;
    }
    text_add(text, "", 0);
    return command_next_line(session);
}

static bool command_quoted(struct session *session, struct text *text)
{
    session->at++;
    while (!command_is_at_end(session) && command_peek(session) != '"') {
        if (command_peek(session) == '\\')
            session->at++;
        if (command_is_at_end(session))
            return false;
        text_add(text, session->line + session->at++, 1);
    }
    text_add(text, "", 0);
    return command_take(session, '"');
}

/*
 * astring, and also list-mailbox: atom, quoted or literal. The caller does text_done(), in any
 * case.
 */
static bool command_string(struct session *session, struct text *text)
{
    if (command_peek(session) == '"')
        return command_quoted(session, text);
    if (command_peek(session) == '{')
        return command_literal(session, text);
    size_t began = session->at;
    while (is_atom_byte(command_peek(session)))
        session->at++;
    text_add(text, session->line + began, session->at - began);
    return session->at > began;
}

static bool command_space_string(struct session *session, struct text *text)
{
    return command_take(session, ' ') && command_string(session, text);
}

/* " mailbox" and the end of the command, for the commands that have nothing else. */
static bool command_only_name(struct session *session, struct text *name)
{
    if (command_space_string(session, name) && command_is_at_end(session))
        return true;
    session_bad(session, "expected a mailbox name");
    return false;
}

/*
 * A command that was answered before its end: literals that are on their way all the same are read
 * and forgotten. One that waits will not come, for its client got the tagged answer in place of
 * "+".
 */
static void command_finish(struct session *session)
{
    while (session->line && session->len > 0 && session->line[session->len - 1] == '}') {
        char *open = memrchr(session->line, '{', session->len);
        if (!open || (size_t)(open - session->line) < session->at)
            return;
        session->at = (size_t)(open - session->line);
        uint64_t size = 0;
        bool is_waiting = false;
        if (!command_literal_size(session, &size, &is_waiting) || is_waiting)
            return;
        if (!peer_skip(session->peer, size) || !command_next_line(session))
            return;
    }
}

/*
 * ------------------------------------------------------------------ what a client sees of a folder
 */

static void session_forget_view(struct session *session)
{
    for (size_t i = 0; i < session->view_len; i++)
        message_unref(session->view[i]);
    free(session->view);
    session->view = NULL;
    session->view_len = 0;
}

/* Takes the folder as it is now. Wants store.lock. */
static void session_take_view(struct session *session)
{
    session_forget_view(session);
    const struct folder *folder = session->selected;
    session->view = tool_alloc(folder->messages_len * sizeof(struct message *));
    session->view_len = folder->messages_len;
    for (size_t i = 0; i < folder->messages_len; i++)
        session->view[i] = message_ref(folder->messages[i]);
}

/*
 * Tells of expunged and new messages and renews the view. Takes the lock; not for FETCH and STORE.
 */
static void session_sync(struct session *session)
{
    if (!session->selected)
        return;
    struct text told = {NULL, 0, 0};
    pthread_mutex_lock(&session->model->store.lock);
    size_t left = session->view_len;
    for (size_t i = session->view_len; i > 0; i--) {
        if (session->view[i - 1]->is_expunged) {
            text_print(&told, "* %zu EXPUNGE\r\n", i);
            left--;
        }
    }
    if (session->selected->messages_len != left)
        text_print(&told, "* %zu EXISTS\r\n", session->selected->messages_len);
    session_take_view(session);
    pthread_mutex_unlock(&session->model->store.lock);
    if (told.len > 0 && !session->is_silent)
        peer_write(session->peer, told.bytes, told.len);
    text_done(&told);
}

static void session_unselect(struct session *session)
{
    pthread_mutex_lock(&session->model->store.lock);
    session_forget_view(session);
    pthread_mutex_unlock(&session->model->store.lock);
    session->selected = NULL;
}

/* ------------------------------------------------------------------ faults */

static void act_garbage(struct session *session, uint64_t len)
{
    unsigned char bytes[4096];
    for (uint64_t at = 0; at < len; at += sizeof(bytes)) {
        size_t part = len - at < sizeof(bytes) ? (size_t)(len - at) : sizeof(bytes);
        tool_fill(bytes, part, 42, at);
        peer_write(session->peer, bytes, part);
    }
    peer_write(session->peer, "\r\n", 2);
}

static void act_long_line(struct session *session, uint64_t len)
{
    char bytes[4096];
    memset(bytes, 'x', sizeof(bytes));
    peer_write(session->peer, "* OK ", 5);
    for (uint64_t at = 5; at < len; at += sizeof(bytes))
        peer_write(session->peer, bytes,
                   len - at < sizeof(bytes) ? (size_t)(len - at) : sizeof(bytes));
    peer_write(session->peer, "\r\n", 2);
}

/* Changes a folder behind the client's back. Wants store.lock. */
static void act_on_folder(const struct fault *fault, struct folder *folder, uint64_t uid)
{
    char *flags = NULL;
    uint64_t named = fault->kind == FAULT_FLAG ? strtoull(fault->text, &flags, 10) : fault->number;
    struct message *message = folder_message(folder, named ? named : uid);
    if (fault->kind == FAULT_VANISH && message) {
        folder_expunge(folder, message);
    } else if (fault->kind == FAULT_FLAG && message) {
        free(message->flags);
        message->flags = NULL;
        flags_add_all(&message->flags, flags);
    } else if (fault->kind == FAULT_ARRIVE) {
        folder_add_generated(folder, 1, fault->number, fault->number);
    } else if (fault->kind == FAULT_UIDVALIDITY) {
        folder_renumber(folder, (uint32_t)fault->number);
    }
}

/* Performs a fault that has fired. ANSWERED: the command is over, or the whole connection. */
static enum verdict session_act(struct session *session, const struct fault *fault,
                                struct folder *folder, uint64_t uid)
{
    struct peer *peer = session->peer;
    peer_remark(peer, "fault of line %u", fault->line);
    switch (fault->kind) {
    case FAULT_NO:
        session_reply(session, "NO", "%s", fault->text);
        return ANSWERED;
    case FAULT_BAD:
    case FAULT_THROTTLE: /* Exchange Online says BAD (2024) */
        session_reply(session, "BAD", "%s", fault->text);
        return ANSWERED;
    case FAULT_BYE:
        session_untagged(session, "BYE %s", fault->text);
        peer_end(peer, PEER_END_CLOSE);
        break;
    case FAULT_CLOSE:
        peer_end(peer, PEER_END_CLOSE);
        break;
    case FAULT_RST:
        peer_flush(peer);
        peer_end(peer, PEER_END_RESET);
        break;
    case FAULT_STALL:
        peer_stall(peer);
        break;
    case FAULT_CUT_AFTER:
        peer_cut_after(peer, fault->number, PEER_END_CLOSE);
        break;
    case FAULT_DROP_REPLY:
        session->is_silent = true;
        break;
    case FAULT_GARBAGE:
        act_garbage(session, fault->number);
        break;
    case FAULT_LONG_LINE:
        act_long_line(session, fault->number);
        break;
    case FAULT_UNSOLICITED:
        peer_write(peer, "* ", 2);
        peer_write_line(peer, fault->text, fault->text_len);
        break;
    case FAULT_WRONG_TAG:
        session->is_tag_wrong = true;
        break;
    case FAULT_SLEEP:
        peer_sleep(peer, fault->number);
        break;
    case FAULT_VANISH:
    case FAULT_FLAG:
    case FAULT_ARRIVE:
    case FAULT_UIDVALIDITY:
        pthread_mutex_lock(&session->model->store.lock);
        if (folder)
            act_on_folder(fault, folder, uid);
        pthread_mutex_unlock(&session->model->store.lock);
        break;
    default: /* LOSE and its like are looked at by APPEND itself */
        break;
    }
    return peer->is_over ? ANSWERED : GO_ON;
}

/* The fault for this occasion, or NULL; takes the lock. */
static const struct fault *session_fault(struct session *session, struct occasion occasion)
{
    occasion.connection = session->peer->number;
    pthread_mutex_lock(&session->model->store.lock);
    const struct fault *fault = fault_next(&session->model->faults, &occasion);
    pthread_mutex_unlock(&session->model->store.lock);
    return fault;
}

/* A command's arguments are known and it would now be done: does a fault want it otherwise? */
static enum verdict session_event(struct session *session, const char *event, const char *name,
                                  size_t len)
{
    const struct fault *fault = session_fault(
        session, (struct occasion){.event = event, .folder = name, .folder_len = len});
    if (!fault)
        return GO_ON;
    struct folder *folder = session->selected;
    if (name && session->account) {
        pthread_mutex_lock(&session->model->store.lock);
        folder = folder_find(session->account, name, len);
        pthread_mutex_unlock(&session->model->store.lock);
    }
    return session_act(session, fault, folder, 0);
}

/* The same for commands on the selected folder. */
static enum verdict session_event_here(struct session *session, const char *event)
{
    const struct folder *folder = session->selected;
    return session_event(session, event, folder ? folder->name : NULL, folder ? folder->len : 0);
}

#endif
