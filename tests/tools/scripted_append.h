/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The model's APPEND: waiting and unasked literals, MULTIAPPEND, APPENDUID (RFC 3501 section
 * 6.3.11, RFC 3502, RFC 4315, RFC 7888, RFC 7889).
 *
 * A command stores all of its messages or, when one is refused, none. Bodies are read without the
 * lock. Faults have three chances at each message: when its literal is announced, at a byte of it,
 * and (match=) when its body is known.
 */
#ifndef MH_TESTS_SCRIPTED_APPEND_H
#define MH_TESTS_SCRIPTED_APPEND_H

#include "scripted_change.h"

/* A message on its way into the store. */
struct arrival {
    struct message *message; /* owned reference; NULL: its bytes were thrown away */
    enum fault_kind how;     /* LOSE, DOUBLE, ALTER or FAULT_NONE */
};

struct append {
    struct text name;
    struct folder *folder;    /* borrowed; NULL: no such */
    struct arrival *arrivals; /* owned */
    size_t len, room;
    struct text refusal; /* "NO [TOOBIG] …" once the command cannot succeed */
};

/* ------------------------------------------------------------------ dates */

static int two_digits(const char *text)
{
    return (text[0] - '0') * 10 + (text[1] - '0');
}

/* dd-Mon-yyyy hh:mm:ss +zzzz, RFC 3501 date-time; a blank as first digit becomes 0. */
static bool date_normalise(const struct text *given, char date_out[DATE_BYTES + 1])
{
    static const char shape[] = "00-Aaa-0000 00:00:00 +0000";
    static const char months[] = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    if (given->len != DATE_BYTES)
        return false;
    memcpy(date_out, given->bytes, DATE_BYTES + 1);
    if (date_out[0] == ' ')
        date_out[0] = '0';
    for (size_t i = 0; i < DATE_BYTES; i++) {
        unsigned char byte = (unsigned char)date_out[i];
        bool fits = shape[i] == '0'   ? isdigit(byte) != 0
                    : shape[i] == '+' ? byte == '+' || byte == '-'
                    : i >= 3 && i < 6 ? isalpha(byte) != 0
                                      : byte == (unsigned char)shape[i];
        if (!fits)
            return false;
    }
    char month[4] = {date_out[3], date_out[4], date_out[5], '\0'};
    int day = two_digits(date_out);
    return strstr(months, month) && day >= 1 && day <= 31 && two_digits(date_out + 12) < 24 &&
           two_digits(date_out + 15) < 60 && two_digits(date_out + 18) < 61;
}

static void date_now(char date_out[DATE_BYTES + 1])
{
    time_t now = time(NULL);
    struct tm parts;
    if (now == (time_t)-1 || !gmtime_r(&now, &parts) ||
        strftime(date_out, DATE_BYTES + 1, "%d-%b-%Y %H:%M:%S +0000", &parts) != DATE_BYTES)
        tool_die("the clock does not work");
}

/* ------------------------------------------------------------------ one message */

/* What stands between the mailbox and the literal of one message. */
struct append_head {
    char *flags; /* owned */
    char date[DATE_BYTES + 1];
    uint64_t size;
    bool is_waiting;
};

static bool append_read_head(struct session *session, struct append_head *head)
{
    if (!command_take(session, ' '))
        return false;
    if (command_peek(session) == '(' &&
        (!command_flags(session, &head->flags) || !command_take(session, ' ')))
        return false;
    if (command_peek(session) == '"') {
        struct text date = {NULL, 0, 0};
        bool is_right = command_quoted(session, &date) && date_normalise(&date, head->date) &&
                        command_take(session, ' ');
        text_done(&date);
        if (!is_right)
            return false;
    } else {
        date_now(head->date);
    }
    return command_literal_size(session, &head->size, &head->is_waiting);
}

/* Reads the literal and hands its bytes to a new message, unless nobody will keep them. */
static struct message *append_read_body(struct session *session, const struct append_head *head,
                                        bool is_kept, const struct fault *fault)
{
    bool is_digest_only =
        strcasecmp(variables_get(session->variables, "STORE", "bytes"), "digest") == 0;
    struct text body = {NULL, 0, 0};
    unsigned char digest[DIGEST_BYTES];
    char part[16 * 1024];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    if (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL))
        tool_die("SHA-256 is not available");
    uint64_t done = 0;
    while (!session->peer->is_over && (done < head->size || fault)) {
        uint64_t stop =
            fault && fault_offset(fault) < head->size ? fault_offset(fault) : head->size;
        if (fault && done == stop) {
            act_in_literal(session, fault);
            fault = NULL;
            continue;
        }
        size_t got = peer_read(session->peer, part,
                               stop - done < sizeof(part) ? (size_t)(stop - done) : sizeof(part));
        if (!EVP_DigestUpdate(hash, part, got))
            tool_die("SHA-256 failed");
        if (is_kept && !is_digest_only)
            text_add(&body, part, got);
        done += got;
    }
    if (!EVP_DigestFinal_ex(hash, digest, NULL))
        tool_die("SHA-256 failed");
    EVP_MD_CTX_free(hash);
    if (done < head->size || session->peer->is_over || !is_kept) {
        text_done(&body);
        return NULL;
    }
    struct message *message = message_keep(body.bytes, done);
    message->kind = is_digest_only ? BODY_DIGEST : BODY_BYTES;
    memcpy(message->digest, digest, sizeof(digest));
    message->has_digest = true;
    message->flags = head->flags ? tool_copy(head->flags, strlen(head->flags)) : NULL;
    memcpy(message->date, head->date, sizeof(message->date));
    return message;
}

static void append_refuse(struct append *append, const char *how, const char *text)
{
    if (append->refusal.len == 0)
        text_print(&append->refusal, "%s %s", how, text);
}

/* Reasons of the model's own. */
static void append_judge(const struct session *session, struct append *append,
                         const struct append_head *head)
{
    const char *limit = variables_get(session->variables, "APPENDLIMIT", NULL);
    if (!append->folder)
        append_refuse(append, "NO", "[TRYCREATE] no such mailbox");
    else if (limit && head->size > tool_number(limit, "APPENDLIMIT", 0, UINT64_MAX))
        append_refuse(append, "NO", "[TOOBIG] over APPENDLIMIT");
    else if (head->size == 0 && !variables_is_on(session->variables, "EMPTY", false))
        append_refuse(append, "NO", "empty message");
}

/* Is this a fault that waits until the message has been received? */
static bool fault_is_after_body(const struct fault *fault)
{
    switch (fault->kind) {
    case FAULT_BYE:
    case FAULT_CLOSE:
    case FAULT_RST:
    case FAULT_STALL:
        return !fault->is_early && fault->at_byte == FAULT_WITHOUT_END;
    default:
        return false;
    }
}

/* What a fault does to a message that has been or will be received. */
static enum verdict append_act(struct session *session, struct append *append,
                               struct arrival *arrival, const struct fault *fault)
{
    switch (fault->kind) {
    case FAULT_NO:
    case FAULT_BAD:
    case FAULT_THROTTLE:
        append_refuse(append, fault->kind == FAULT_NO ? "NO" : "BAD", fault->text);
        return GO_ON;
    case FAULT_LOSE:
    case FAULT_DOUBLE:
    case FAULT_ALTER:
        arrival->how = fault->kind;
        return GO_ON;
    default:
        return session_act(session, fault, append->folder, 0);
    }
}

static struct occasion append_occasion(const struct append *append)
{
    return (struct occasion){
        .event = "APPEND", .folder = append->name.bytes, .folder_len = append->name.len};
}

/* The faults that know the body. */
static enum verdict append_inspect(struct session *session, struct append *append,
                                   struct arrival *arrival)
{
    struct occasion occasion = append_occasion(append);
    occasion.message = arrival->message;
    occasion.is_about_body = true;
    const struct fault *fault = arrival->message ? session_fault(session, occasion) : NULL;
    return fault ? append_act(session, append, arrival, fault) : GO_ON;
}

static struct arrival *append_add(struct append *append)
{
    if (append->len == append->room) {
        append->room = append->room ? 2 * append->room : 16;
        append->arrivals = tool_realloc(append->arrivals, append->room * sizeof(struct arrival));
    }
    append->arrivals[append->len] = (struct arrival){.message = NULL};
    return &append->arrivals[append->len++];
}

/* A waiting literal of a command that cannot succeed is not asked for: the answer comes now. */
static bool append_answers_early(struct session *session, const struct append *append,
                                 const struct append_head *head)
{
    if (!head->is_waiting || append->refusal.len == 0)
        return false;
    bool is_no = append->refusal.bytes[0] == 'N';
    session_reply(session, is_no ? "NO" : "BAD", "%s", append->refusal.bytes + (is_no ? 3 : 4));
    return true;
}

/* One message, from its announcement to its last byte. */
static enum verdict append_take_message(struct session *session, struct append *append,
                                        const struct append_head *head)
{
    struct arrival *arrival = append_add(append);
    if (!command_literal_is_allowed(session, head->size, head->is_waiting))
        return ANSWERED;
    append_judge(session, append, head);
    if (append_answers_early(session, append, head))
        return ANSWERED;
    const struct fault *fault = session_fault(session, append_occasion(append));
    bool is_inside =
        fault && (fault->kind == FAULT_CUT_AFTER || fault->at_byte != FAULT_WITHOUT_END);
    bool is_after = fault && fault_is_after_body(fault);
    if (fault && !is_inside && !is_after && append_act(session, append, arrival, fault) == ANSWERED)
        return ANSWERED;
    if (fault && fault->is_early && append_answers_early(session, append, head))
        return ANSWERED;
    command_invite_literal(session, head->is_waiting);
    arrival->message =
        append_read_body(session, head, append->refusal.len == 0, is_inside ? fault : NULL);
    if (session->peer->is_over)
        return ANSWERED;
    if (is_after && append_act(session, append, arrival, fault) == ANSWERED)
        return ANSWERED;
    return append_inspect(session, append, arrival);
}

/* ------------------------------------------------------------------ storing */

static struct message *message_altered_take(struct message *message_take)
{
    static const char added[] = "X-Altered: yes\r\n";
    struct text bytes = {NULL, 0, 0};
    text_add(&bytes, added, sizeof(added) - 1);
    if (message_take->bytes)
        text_add(&bytes, message_take->bytes, (size_t)message_take->size);
    struct message *altered = message_keep(bytes.bytes, bytes.len);
    altered->flags = message_take->flags;
    message_take->flags = NULL;
    memcpy(altered->date, message_take->date, sizeof(altered->date));
    message_unref(message_take);
    return altered;
}

/* Adds a UID to "4:6,9", whose last run is first:last. */
static void uids_add(struct text *uids, uint32_t *first, uint32_t *last, uint32_t uid)
{
    if (uids->len > 0 && uid == *last + 1) {
        const char *colon = memrchr(uids->bytes, ':', uids->len);
        const char *comma = memrchr(uids->bytes, ',', uids->len);
        if (colon && (!comma || colon > comma))
            uids->len = (size_t)(colon - uids->bytes);
        text_print(uids, ":%u", uid);
    } else {
        text_print(uids, "%s%u", uids->len ? "," : "", uid);
        *first = uid;
    }
    *last = uid;
}

/* Stores what arrived, as its faults would have it. Wants store.lock. */
static void append_store(struct append *append, struct text *uids)
{
    uint32_t first = 0, last = 0;
    struct folder *folder = append->folder;
    for (size_t i = 0; i < append->len; i++) {
        struct arrival *arrival = &append->arrivals[i];
        struct message *message = arrival->message;
        arrival->message = NULL;
        uids_add(uids, &first, &last, folder->uidnext);
        if (arrival->how == FAULT_ALTER)
            message = message_altered_take(message);
        struct message *twin = arrival->how == FAULT_DOUBLE ? message_copy(message) : NULL;
        if (arrival->how == FAULT_LOSE) {
            folder->uidnext++;
            message_unref(message);
        } else {
            folder_add_take(folder, message);
        }
        if (twin)
            folder_add_take(folder, twin);
    }
}

static void append_finish(struct session *session, struct append *append)
{
    if (append->refusal.len > 0) {
        bool is_no = append->refusal.bytes[0] == 'N';
        session_reply(session, is_no ? "NO" : "BAD", "%s", append->refusal.bytes + (is_no ? 3 : 4));
        return;
    }
    struct text uids = {NULL, 0, 0};
    pthread_mutex_lock(&session->model->store.lock);
    append_store(append, &uids);
    uint32_t uidvalidity = append->folder->uidvalidity;
    pthread_mutex_unlock(&session->model->store.lock);
    if (session->selected == append->folder)
        session_sync(session);
    if (session_can(session, "UIDPLUS"))
        session_reply(session, "OK", "[APPENDUID %u %s] appended", uidvalidity, uids.bytes);
    else
        session_reply(session, "OK", "appended");
    text_done(&uids);
}

static void append_done(struct append *append)
{
    for (size_t i = 0; i < append->len; i++)
        if (append->arrivals[i].message)
            message_unref(append->arrivals[i].message); /* not stored yet, so nobody else's */
    free(append->arrivals);
    text_done(&append->name);
    text_done(&append->refusal);
}

/* The messages of one command, one after the other. False: it has been answered already. */
static bool append_take_messages(struct session *session, struct append *append)
{
    for (;;) {
        struct append_head head = {NULL, "", 0, false};
        bool is_right = append_read_head(session, &head);
        bool goes_on = is_right && append_take_message(session, append, &head) == GO_ON;
        free(head.flags);
        if (!is_right) {
            session_bad(session, "expected APPEND mailbox [(flags)] [date] literal");
            return false;
        }
        if (!goes_on || !command_next_line(session))
            return false;
        if (command_is_at_end(session))
            return true;
        if (!session_can(session, "MULTIAPPEND")) {
            session_bad(session, "one message per APPEND: no MULTIAPPEND here");
            return false;
        }
    }
}

static void do_append(struct session *session)
{
    struct append append = {.folder = NULL};
    if (!command_space_string(session, &append.name)) {
        session_bad(session, "expected APPEND mailbox");
    } else {
        append.folder = session_folder(session, &append.name);
        if (append_take_messages(session, &append))
            append_finish(session, &append);
    }
    append_done(&append);
}

#endif
