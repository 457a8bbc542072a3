/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The model's commands about folders: LIST, LSUB, STATUS, CREATE, DELETE, SUBSCRIBE, SELECT and
 * their relatives (RFC 3501 section 6.3, RFC 5258, 5819, 6154, 8438, 2342, 2087).
 *
 * Each function is called with the command's name read and the arguments ahead, and answers the
 * command. Folder names are bytes: nothing here checks them for modified UTF-7, so that a script
 * can hold names that no decent server would.
 */
#ifndef MH_TESTS_SCRIPTED_FOLDERS_H
#define MH_TESTS_SCRIPTED_FOLDERS_H

#include "scripted_session.h"

enum { PATTERNS_MAX = 16 };

/* What a STATUS may ask for; also the bits of a set of them. */
enum status_item {
    STATUS_MESSAGES = 1,
    STATUS_RECENT = 2,
    STATUS_UIDNEXT = 4,
    STATUS_UIDVALIDITY = 8,
    STATUS_UNSEEN = 16,
    STATUS_SIZE = 32,
    STATUS_APPENDLIMIT = 64
};

static const struct {
    const char *word;
    enum status_item item;
} status_words[] = {
    {"MESSAGES", STATUS_MESSAGES},       {"RECENT", STATUS_RECENT}, {"UIDNEXT", STATUS_UIDNEXT},
    {"UIDVALIDITY", STATUS_UIDVALIDITY}, {"UNSEEN", STATUS_UNSEEN}, {"SIZE", STATUS_SIZE},
    {"APPENDLIMIT", STATUS_APPENDLIMIT},
};

static struct folder *session_folder(struct session *session, const struct text *name)
{
    pthread_mutex_lock(&session->model->store.lock);
    struct folder *folder = folder_find(session->account, name->bytes, name->len);
    pthread_mutex_unlock(&session->model->store.lock);
    return folder;
}

/* ------------------------------------------------------------------ STATUS */

/* "(MESSAGES UIDNEXT …)" */
static bool status_read_items(struct session *session, unsigned *items_out)
{
    *items_out = 0;
    if (!command_take(session, '('))
        return false;
    do {
        char word[ATOM_BYTES_MAX + 1];
        if (!command_keyword(session, word))
            return false;
        unsigned found = 0;
        for (size_t i = 0; i < sizeof(status_words) / sizeof(status_words[0]); i++)
            if (strcmp(status_words[i].word, word) == 0)
                found = status_words[i].item;
        if (!found || (found == STATUS_SIZE && !session_can(session, "STATUS=SIZE")))
            return false;
        *items_out |= found;
    } while (command_take(session, ' '));
    return command_take(session, ')');
}

/* One value, as the folder stands. Wants store.lock. */
static uint64_t status_value(const struct folder *folder, enum status_item item)
{
    uint64_t sum = 0;
    switch (item) {
    case STATUS_MESSAGES:
        return folder->messages_len;
    case STATUS_UIDNEXT:
        return folder->uidnext;
    case STATUS_UIDVALIDITY:
        return folder->uidvalidity;
    case STATUS_UNSEEN:
        for (size_t i = 0; i < folder->messages_len; i++)
            sum += !flags_has(folder->messages[i]->flags, "\\Seen");
        return sum;
    case STATUS_SIZE:
        for (size_t i = 0; i < folder->messages_len; i++)
            sum += folder->messages[i]->size;
        return sum;
    case STATUS_RECENT:
    case STATUS_APPENDLIMIT:
        break;
    }
    return 0;
}

static void status_send(struct session *session, const struct folder *folder, unsigned items)
{
    struct text text = {NULL, 0, 0};
    text_print(&text, "* STATUS ");
    text_add_name(&text, folder->name, folder->len);
    const char *separator = " (";
    pthread_mutex_lock(&session->model->store.lock);
    for (size_t i = 0; i < sizeof(status_words) / sizeof(status_words[0]); i++) {
        enum status_item item = status_words[i].item;
        if (!(items & item))
            continue;
        text_print(&text, "%s%s ", separator, status_words[i].word);
        if (item == STATUS_APPENDLIMIT)
            text_print(&text, "%s", variables_get(session->variables, "APPENDLIMIT", "NIL"));
        else
            text_print(&text, "%llu", (unsigned long long)status_value(folder, item));
        separator = " ";
    }
    pthread_mutex_unlock(&session->model->store.lock);
    text_add(&text, ")", 1);
    session_send(session, &text);
}

static bool folder_is_selectable(const struct folder *folder)
{
    return !strcasestr(folder->attributes, "\\Noselect") &&
           !strcasestr(folder->attributes, "\\NonExistent");
}

static void do_status(struct session *session)
{
    struct text name = {NULL, 0, 0};
    unsigned items = 0;
    if (!command_space_string(session, &name) || !command_take(session, ' ') ||
        !status_read_items(session, &items) || !command_is_at_end(session)) {
        session_bad(session, "expected STATUS mailbox (items)");
    } else if (session_event(session, "STATUS", name.bytes, name.len) == GO_ON) {
        const struct folder *folder = session_folder(session, &name);
        if (!folder || !folder_is_selectable(folder)) {
            session_reply(session, "NO", "[NONEXISTENT] no such mailbox");
        } else {
            status_send(session, folder, items);
            session_reply(session, "OK", "status done");
        }
    }
    text_done(&name);
}

/* ------------------------------------------------------------------ LIST */

struct list {
    struct text patterns[PATTERNS_MAX]; /* with the reference in front */
    size_t patterns_len;
    bool only_subscribed, only_special;
    bool shows_subscribed, shows_status;
    unsigned status_items;
};

/* Does the name fit? '*' stands for anything, '%' for anything within one level. */
static bool list_match(const char *pattern, size_t pattern_len, const char *name, size_t len,
                       char separator)
{
    bool *reached =
        tool_alloc(len + 1); /* the beginnings of the name that the pattern so far fits */
    reached[0] = true;
    bool is_inbox = folder_name_is_inbox(name, len);
    for (size_t p = 0; p < pattern_len; p++) {
        char byte = pattern[p];
        if (byte == '*' || byte == '%') {
            for (size_t i = 1; i <= len; i++)
                reached[i] =
                    reached[i] || (reached[i - 1] && (byte == '*' || name[i - 1] != separator));
            continue;
        }
        for (size_t i = len; i > 0; i--)
            reached[i] =
                reached[i - 1] &&
                (name[i - 1] == byte ||
                 (is_inbox && toupper((unsigned char)byte) == toupper((unsigned char)name[i - 1])));
        reached[0] = false;
    }
    bool is_match = reached[len];
    free(reached);
    return is_match;
}

/* "(SUBSCRIBED SPECIAL-USE …)" ahead of the reference, RFC 5258 section 3.1. */
static bool list_read_selection(struct session *session, struct list *list)
{
    if (!command_take(session, '('))
        return true;
    while (!command_take(session, ')')) {
        char word[ATOM_BYTES_MAX + 1];
        if (!command_keyword(session, word))
            return false;
        if (strcmp(word, "SUBSCRIBED") == 0)
            list->only_subscribed = list->shows_subscribed = true;
        else if (strcmp(word, "SPECIAL-USE") == 0)
            list->only_special = true;
        else if (strcmp(word, "REMOTE") != 0 && strcmp(word, "RECURSIVEMATCH") != 0)
            return false;
        command_take(session, ' ');
    }
    return command_take(session, ' ');
}

static bool list_read_pattern(struct session *session, struct list *list,
                              const struct text *reference)
{
    if (list->patterns_len == PATTERNS_MAX)
        return false;
    struct text *pattern = &list->patterns[list->patterns_len++];
    text_add(pattern, reference->bytes, reference->len);
    return command_string(session, pattern);
}

/* " RETURN (CHILDREN STATUS (…) …)", RFC 5258 section 3.2 and RFC 5819. */
static bool list_read_return(struct session *session, struct list *list)
{
    char word[ATOM_BYTES_MAX + 1];
    if (!command_take(session, ' '))
        return true;
    if (!command_keyword(session, word) || strcmp(word, "RETURN") != 0 ||
        !command_take(session, ' ') || !command_take(session, '('))
        return false;
    while (!command_take(session, ')')) {
        if (!command_keyword(session, word))
            return false;
        if (strcmp(word, "SUBSCRIBED") == 0)
            list->shows_subscribed = true;
        else if (strcmp(word, "STATUS") == 0 && session_can(session, "LIST-STATUS"))
            list->shows_status =
                command_take(session, ' ') && status_read_items(session, &list->status_items);
        else if (strcmp(word, "CHILDREN") != 0 && strcmp(word, "SPECIAL-USE") != 0)
            return false;
        command_take(session, ' ');
    }
    return true;
}

static bool list_read(struct session *session, struct list *list, bool is_lsub)
{
    struct text reference = {NULL, 0, 0};
    bool is_right = command_take(session, ' ') && (is_lsub || list_read_selection(session, list)) &&
                    command_string(session, &reference) && command_take(session, ' ');
    if (is_right && !is_lsub && command_take(session, '(')) {
        do
            is_right = list_read_pattern(session, list, &reference);
        while (is_right && command_take(session, ' '));
        is_right = is_right && command_take(session, ')');
    } else if (is_right) {
        is_right = list_read_pattern(session, list, &reference);
    }
    is_right = is_right && (is_lsub || list_read_return(session, list));
    text_done(&reference);
    return is_right && command_is_at_end(session);
}

static bool list_wants(const struct list *list, const struct folder *folder, char separator)
{
    if (list->only_special && !strpbrk(folder->attributes, "\\"))
        return false;
    for (size_t i = 0; i < list->patterns_len; i++)
        if (list_match(list->patterns[i].bytes, list->patterns[i].len, folder->name, folder->len,
                       separator))
            return true;
    return false;
}

static void list_send(struct session *session, const struct list *list, struct folder *folder,
                      const char *command)
{
    const struct store *store = &session->model->store;
    struct text text = {NULL, 0, 0};
    pthread_mutex_lock(&session->model->store.lock);
    bool is_wanted = !folder->is_gone && (!list->only_subscribed || folder->is_subscribed);
    text_print(&text, "* %s (%s", command, folder->attributes);
    const char *blank = folder->attributes[0] ? " " : "";
    if (session_can(session, "CHILDREN")) {
        text_print(&text, "%s%s", blank, folder->children ? "\\HasChildren" : "\\HasNoChildren");
        blank = " ";
    }
    if (list->shows_subscribed && folder->is_subscribed)
        text_print(&text, "%s\\Subscribed", blank);
    pthread_mutex_unlock(&session->model->store.lock);
    text_print(&text, ") \"%s%c\" ", store->separator == '\\' ? "\\" : "", store->separator);
    text_add_name(&text, folder->name, folder->len);
    if (is_wanted && list_wants(list, folder, store->separator)) {
        session_send(session, &text);
        if (list->shows_status && folder_is_selectable(folder))
            status_send(session, folder, list->status_items);
    }
    text_done(&text);
}

/* All folders of the account as they are now. The caller frees the array. */
static struct folder **session_folders_dup(struct session *session, size_t *len_out)
{
    pthread_mutex_lock(&session->model->store.lock);
    const struct account *account = session->account;
    *len_out = account->len;
    struct folder **folders = tool_alloc(account->len * sizeof(struct folder *));
    memcpy(folders, account->folders, account->len * sizeof(struct folder *));
    pthread_mutex_unlock(&session->model->store.lock);
    return folders;
}

static void list_run(struct session *session, bool is_lsub)
{
    struct list list = {.only_subscribed = is_lsub};
    const char *command = is_lsub ? "LSUB" : "LIST";
    if (!list_read(session, &list, is_lsub)) {
        session_bad(session, "expected LIST reference pattern");
    } else if (session_event(session, command, NULL, 0) == GO_ON) {
        if (!is_lsub && list.patterns_len == 1 && list.patterns[0].len == 0)
            session_untagged(session, "LIST (\\Noselect) \"%c\" \"\"",
                             session->model->store.separator);
        size_t len = 0;
        struct folder **folders = session_folders_dup(session, &len);
        for (size_t i = 0; i < len && !session->peer->is_over; i++)
            list_send(session, &list, folders[i], command);
        free(folders);
        session_reply(session, "OK", "list done");
    }
    for (size_t i = 0; i < list.patterns_len; i++)
        text_done(&list.patterns[i]);
}

static void do_list(struct session *session)
{
    list_run(session, false);
}

static void do_lsub(struct session *session)
{
    list_run(session, true);
}

static void do_namespace(struct session *session)
{
    if (session_event_here(session, "NAMESPACE") != GO_ON)
        return;
    char built[32];
    char separator = session->model->store.separator;
    snprintf(built, sizeof(built), "((\"\" \"%s%c\")) NIL NIL", separator == '\\' ? "\\" : "",
             separator);
    session_untagged(session, "NAMESPACE %s",
                     variables_get(session->variables, "NAMESPACE", built));
    session_reply(session, "OK", "namespace done");
}

/*
 * ------------------------------------------------------------------ CREATE, DELETE, subscriptions
 */

/* " (USE (\Sent …))", RFC 6154 section 3. */
static bool create_read_use(struct session *session, struct text *use)
{
    static const char before[] = " (USE (";
    for (const char *at = before; *at; at++)
        if (!command_take(session, *at) && !command_take(session, (char)tolower(*at)))
            return false;
    while (command_peek(session) != ')' && !command_is_at_end(session))
        text_add(use, session->line + session->at++, 1);
    text_add(use, "", 0);
    return command_take(session, ')') && command_take(session, ')') && command_is_at_end(session);
}

/*
 * Makes the folder and the parents that are missing. Wants store.lock; NULL: it is there already.
 */
static struct folder *create_with_parents(struct store *store, struct account *account,
                                          const char *name, size_t len)
{
    if (folder_find(account, name, len))
        return NULL;
    for (size_t i = 1; i + 1 < len; i++)
        if (name[i] == store->separator && !folder_find(account, name, i))
            folder_new(store, account, name, i);
    return folder_new(store, account, name, len);
}

static void do_create(struct session *session)
{
    struct text name = {NULL, 0, 0}, use = {NULL, 0, 0};
    bool is_right = command_space_string(session, &name);
    bool has_use = is_right && !command_is_at_end(session);
    struct store *store = &session->model->store;
    if (name.len > 1 && name.bytes[name.len - 1] == store->separator)
        name.bytes[--name.len] = '\0';
    if (!is_right || name.len == 0 ||
        (has_use &&
         (!session_can(session, "CREATE-SPECIAL-USE") || !create_read_use(session, &use)))) {
        session_bad(session, "expected CREATE mailbox");
    } else if (session_event(session, "CREATE", name.bytes, name.len) == GO_ON) {
        pthread_mutex_lock(&store->lock);
        struct folder *folder = create_with_parents(store, session->account, name.bytes, name.len);
        if (folder && has_use) {
            free(folder->attributes);
            folder->attributes = tool_copy(use.bytes, use.len);
        }
        pthread_mutex_unlock(&store->lock);
        if (folder)
            session_reply(session, "OK", "created");
        else
            session_reply(session, "NO", "[ALREADYEXISTS] mailbox exists");
    }
    text_done(&name);
    text_done(&use);
}

static void do_delete(struct session *session)
{
    struct text name = {NULL, 0, 0};
    if (command_only_name(session, &name) &&
        session_event(session, "DELETE", name.bytes, name.len) == GO_ON) {
        struct store *store = &session->model->store;
        pthread_mutex_lock(&store->lock);
        struct folder *folder = folder_find(session->account, name.bytes, name.len);
        bool may = folder && !folder_name_is_inbox(name.bytes, name.len);
        if (may)
            folder_delete(store, session->account, folder);
        pthread_mutex_unlock(&store->lock);
        if (may)
            session_reply(session, "OK", "deleted");
        else
            session_reply(session, "NO", folder ? "[CANNOT] not INBOX" : "[NONEXISTENT] no such");
    }
    text_done(&name);
}

static void subscribe_run(struct session *session, const char *event, bool is_subscribed)
{
    struct text name = {NULL, 0, 0};
    if (command_only_name(session, &name) &&
        session_event(session, event, name.bytes, name.len) == GO_ON) {
        struct store *store = &session->model->store;
        pthread_mutex_lock(&store->lock);
        struct folder *folder = folder_find(session->account, name.bytes, name.len);
        if (folder)
            folder->is_subscribed = is_subscribed;
        pthread_mutex_unlock(&store->lock);
        if (folder)
            session_reply(session, "OK", "done");
        else
            session_reply(session, "NO", "[NONEXISTENT] no such mailbox");
    }
    text_done(&name);
}

static void do_subscribe(struct session *session)
{
    subscribe_run(session, "SUBSCRIBE", true);
}

static void do_unsubscribe(struct session *session)
{
    subscribe_run(session, "UNSUBSCRIBE", false);
}

/* ------------------------------------------------------------------ SELECT and its end */

static void select_run(struct session *session, bool is_read_only)
{
    struct text name = {NULL, 0, 0};
    session_unselect(session); /* RFC 3501 6.3.1: even when the new one fails */
    if (!command_only_name(session, &name) ||
        session_event(session, "SELECT", name.bytes, name.len) != GO_ON) {
        text_done(&name);
        return;
    }
    struct folder *folder = session_folder(session, &name);
    text_done(&name);
    if (!folder || !folder_is_selectable(folder)) {
        session_reply(session, "NO", "[NONEXISTENT] no such mailbox");
        return;
    }
    session->selected = folder;
    session->is_read_only = is_read_only;
    pthread_mutex_lock(&session->model->store.lock);
    session_take_view(session);
    uint32_t uidnext = folder->uidnext, uidvalidity = folder->uidvalidity;
    pthread_mutex_unlock(&session->model->store.lock);
    session_untagged(session, "FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)");
    session_untagged(session, "OK [PERMANENTFLAGS (%s)] limits",
                     is_read_only
                         ? ""
                         : variables_get(session->variables, "PERMANENTFLAGS",
                                         "\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*"));
    session_untagged(session, "%zu EXISTS", session->view_len);
    session_untagged(session, "0 RECENT");
    session_untagged(session, "OK [UIDVALIDITY %u] valid", uidvalidity);
    session_untagged(session, "OK [UIDNEXT %u] next", uidnext);
    session_reply(session, "OK", is_read_only ? "[READ-ONLY] examined" : "[READ-WRITE] selected");
}

static void do_select(struct session *session)
{
    select_run(session, false);
}

static void do_examine(struct session *session)
{
    select_run(session, true);
}

/* Removes what is flagged \Deleted, of these UIDs only when a set is given. Wants store.lock. */
static void expunge_deleted(struct folder *folder, bool (*is_meant)(const void *set, uint64_t uid),
                            const void *set)
{
    for (size_t i = folder->messages_len; i > 0; i--) {
        struct message *message = folder->messages[i - 1];
        if (flags_has(message->flags, "\\Deleted") && (!is_meant || is_meant(set, message->uid)))
            folder_expunge(folder, message);
    }
}

static void do_close(struct session *session)
{
    if (session_event_here(session, "CLOSE") != GO_ON)
        return;
    if (!session->is_read_only) {
        pthread_mutex_lock(&session->model->store.lock);
        expunge_deleted(session->selected, NULL, NULL);
        pthread_mutex_unlock(&session->model->store.lock);
    }
    session_unselect(session);
    session_reply(session, "OK", "closed");
}

static void do_unselect(struct session *session)
{
    if (session_event_here(session, "UNSELECT") != GO_ON)
        return;
    session_unselect(session);
    session_reply(session, "OK", "unselected");
}

/* ------------------------------------------------------------------ quota */

/* SET QUOTA kib: one root for the whole account, RFC 2087. */
static void quota_send(struct session *session)
{
    uint64_t used_bytes = 0;
    pthread_mutex_lock(&session->model->store.lock);
    for (size_t i = 0; i < session->account->len; i++)
        if (!session->account->folders[i]->is_gone)
            used_bytes += status_value(session->account->folders[i], STATUS_SIZE);
    pthread_mutex_unlock(&session->model->store.lock);
    session_untagged(session, "QUOTA \"root\" (STORAGE %llu %s)",
                     (unsigned long long)(used_bytes + 1023) / 1024,
                     variables_get(session->variables, "QUOTA", "0"));
}

static void do_getquotaroot(struct session *session)
{
    struct text name = {NULL, 0, 0};
    if (command_only_name(session, &name) &&
        session_event(session, "GETQUOTAROOT", name.bytes, name.len) == GO_ON) {
        struct text answer = {NULL, 0, 0};
        text_print(&answer, "* QUOTAROOT ");
        text_add_name(&answer, name.bytes, name.len);
        text_print(&answer, " \"root\"");
        session_send(session, &answer);
        quota_send(session);
        session_reply(session, "OK", "quota done");
    }
    text_done(&name);
}

#endif
