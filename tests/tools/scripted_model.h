/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The model of mh-scripted: a small correct IMAP4rev1 server in memory, whose mail, capabilities
 * and faults come from the script.
 *
 * This file holds the set-up lines, the commands around the login, and the loop that reads commands
 * and hands them to the files about folders, messages and APPEND. One session per connection and
 * thread; the store is shared. Never: the model corrects no client. What is wrong gets BAD, what a
 * client must never do is counted as a violation and makes the program's exit code 1.
 */
#ifndef MH_TESTS_SCRIPTED_MODEL_H
#define MH_TESTS_SCRIPTED_MODEL_H

#include "scripted_append.h"

enum { SASL_BYTES_MAX = 16 * 1024 };

/* ------------------------------------------------------------------ set-up lines */

/* The account that set-up lines are about: the last USER's, else everybody's. */
static struct account *model_account(const struct model *model)
{
    return model->store.accounts[model->store.len - 1];
}

static struct folder *model_folder(struct model *model, const struct word *name)
{
    struct account *account = model_account(model);
    struct folder *folder = folder_find(account, name->text, name->len);
    if (name->len == 0)
        tool_die("a folder needs a name");
    return folder ? folder : folder_new(&model->store, account, name->text, name->len);
}

/* FOLDER name [uidvalidity=N] [uidnext=N] [subscribed] [\Attribute …] */
static void set_up_folder(struct model *model, const struct words *words)
{
    struct folder *folder = model_folder(model, &words->word[1]);
    struct word value;
    if (words_find(words, "uidvalidity", &value))
        folder->uidvalidity = (uint32_t)tool_number(value.text, "uidvalidity", 1, UINT32_MAX);
    if (words_find(words, "uidnext", &value))
        folder->uidnext = (uint32_t)tool_number(value.text, "uidnext", 1, UINT32_MAX);
    struct text attributes = {NULL, 0, 0};
    for (size_t i = 2; i < words->len; i++) {
        if (word_is(&words->word[i], "subscribed"))
            folder->is_subscribed = true;
        else if (words->word[i].text[0] == '\\')
            text_print(&attributes, "%s%s", attributes.len ? " " : "", words->word[i].text);
        else if (!memchr(words->word[i].text, '=', words->word[i].len))
            tool_die("FOLDER does not know '%s'", words->word[i].text);
    }
    if (attributes.len > 0) {
        free(folder->attributes);
        folder->attributes = tool_copy(attributes.bytes, attributes.len);
    }
    text_done(&attributes);
}

/* FOLDERS prefix n: prefix000001 … */
static void set_up_folders(struct model *model, const struct words *words)
{
    uint64_t count = tool_number(words->word[2].text, "FOLDERS", 1, 10000000);
    for (uint64_t i = 1; i <= count; i++) {
        struct text name = {NULL, 0, 0};
        text_add(&name, words->word[1].text, words->word[1].len);
        text_print(&name, "%06llu", (unsigned long long)i);
        struct word word = {name.bytes, name.len, false};
        model_folder(model, &word);
        text_done(&name);
    }
}

/* MESSAGES folder n SIZE, or MIN-MAX */
static void set_up_messages(struct model *model, const struct words *words)
{
    char *size = tool_copy(words->word[3].text, words->word[3].len);
    char *dash = strchr(size, '-');
    if (dash)
        *dash++ = '\0';
    uint64_t least = tool_number(size, "size", 0, INT64_MAX);
    uint64_t most = dash ? tool_number(dash, "size", least, INT64_MAX) : least;
    folder_add_generated(model_folder(model, &words->word[1]),
                         tool_number(words->word[2].text, "MESSAGES", 0, UINT32_MAX - 1), least,
                         most);
    free(size);
}

static struct message *message_from_file(const struct words *words, const char *name)
{
    char *path = script_path_dup(words->file, name);
    FILE *in = fopen(path, "re");
    if (!in)
        tool_die("cannot read %s: %s", path, strerror(errno));
    struct text bytes = {NULL, 0, 0};
    char part[4096];
    size_t got = 0;
    while ((got = fread(part, 1, sizeof(part), in)) > 0)
        text_add(&bytes, part, got);
    if (ferror(in))
        tool_die("cannot read %s", path);
    (void)fclose(in);
    free(path);
    return message_keep(bytes.bytes, bytes.len);
}

/* MESSAGE folder flags date FILE|size=N|text="…"; flags and date may be "-". */
static void set_up_message(struct model *model, const struct words *words)
{
    struct word value;
    struct folder *folder = model_folder(model, &words->word[1]);
    struct message *message = NULL;
    if (words_find(words, "text", &value))
        message = message_keep(tool_copy(value.text, value.len), value.len);
    else if (words_find(words, "size", &value))
        message = message_generate(tool_mix(folder->uidnext ^ (uint64_t)words->line << 32),
                                   tool_number(value.text, "size", 0, INT64_MAX));
    else
        message = message_from_file(words, words->word[4].text);
    if (!word_is(&words->word[2], "-"))
        flags_add_all(&message->flags, words->word[2].text);
    struct text date = {words->word[3].text, words->word[3].len, 0};
    if (!word_is(&words->word[3], "-") && !date_normalise(&date, message->date))
        tool_die("'%s' is no date-time of RFC 3501", date.bytes);
    folder_add_take(folder, message);
}

/* USER name password, or USER * password */
static void set_up_user(struct model *model, const struct words *words)
{
    if (word_is(&words->word[1], "*")) {
        free(model->store.password_of_any);
        model->store.password_of_any = tool_copy(words->word[2].text, words->word[2].len);
    } else {
        store_add_account(&model->store, words->word[1].text, words->word[2].text);
    }
}

/* One set-up line; false when its first word is none of ours. */
static bool model_set_up(void *model_of_script, const struct words *words)
{
    static const struct {
        const char *word;
        size_t words_min, words_max;
        void (*set_up)(struct model *model, const struct words *words);
    } lines[] = {{"USER", 3, 3, set_up_user},
                 {"FOLDER", 2, WORDS_MAX, set_up_folder},
                 {"FOLDERS", 3, 3, set_up_folders},
                 {"MESSAGES", 4, 4, set_up_messages},
                 {"MESSAGE", 5, 5, set_up_message}};
    struct model *model = model_of_script;
    /* Folders made now need the separator that the script has set by now. */
    model->store.separator = variables_get(model->globals, "SEPARATOR", "/")[0];
    if (words->len > 0 && word_is(&words->word[0], "FAULT")) {
        faults_read(&model->faults, words);
        return true;
    }
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (words->len == 0 || !word_is(&words->word[0], lines[i].word))
            continue;
        if (words->len < lines[i].words_min || words->len > lines[i].words_max)
            tool_die("%s has %zu words, see README.md", lines[i].word, words->len - 1);
        lines[i].set_up(model, words);
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------ certificates */

static SSL_CTX *model_certificate(const struct model *model, const char *name)
{
    for (const struct certificate *at = model->certificates; at; at = at->next)
        if (strcmp(at->name, name) == 0)
            return at->context;
    return NULL;
}

/*
 * Loads name.crt (with its chain) and name.key, so weak that every case of the kit can be served.
 */
static void model_need_certificate(void *model_of_script, const char *name)
{
    struct model *model = model_of_script;
    if (model_certificate(model, name))
        return;
    if (!model->certificates_folder)
        tool_die("the script serves TLS: give --certs DIR, made by certkit.sh");
    struct certificate *certificate = tool_alloc(sizeof(*certificate));
    snprintf(certificate->name, sizeof(certificate->name), "%s", name);
    char path[4096];
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context)
        tool_die("cannot make a TLS context");
    SSL_CTX_set_security_level(context, 0);
    int is_set = SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0") &&
                 SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    snprintf(path, sizeof(path), "%s/%s.crt", model->certificates_folder, name);
    is_set = is_set && SSL_CTX_use_certificate_chain_file(context, path) == 1;
    snprintf(path, sizeof(path), "%s/%s.key", model->certificates_folder, name);
    is_set = is_set && SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) == 1;
    if (!is_set)
        tool_die("certificate '%s' of %s: %s", name, model->certificates_folder,
                 ERR_reason_error_string(ERR_peek_last_error()));
    certificate->context = context;
    certificate->next = model->certificates;
    model->certificates = certificate;
}

/* ------------------------------------------------------------------ before the login */

static void send_capabilities(struct session *session, struct text *line)
{
    bool offers_tls = !session->account && !session->peer->tls &&
                      variables_get(session->variables, "STARTTLS", NULL);
    text_print(line, "CAPABILITY %s%s", session_capabilities(session),
               offers_tls ? " STARTTLS" : "");
}

static void do_capability(struct session *session)
{
    if (session_event_here(session, "CAPABILITY") != GO_ON)
        return;
    struct text line = {NULL, 0, 0};
    text_print(&line, "* ");
    send_capabilities(session, &line);
    session_send(session, &line);
    session_reply(session, "OK", "capability done");
}

/* NOOP and CHECK */
static void do_noop(struct session *session)
{
    if (session_event_here(session, "NOOP") != GO_ON)
        return;
    session_sync(session);
    session_reply(session, "OK", "noop done");
}

static void do_logout(struct session *session)
{
    if (session_event_here(session, "LOGOUT") != GO_ON)
        return;
    session_untagged(session, "BYE logging out");
    session_reply(session, "OK", "logout done");
    session->is_logged_out = true;
}

/* The arguments do not matter; command_finish() goes over them. */
static void do_id(struct session *session)
{
    if (session_event_here(session, "ID") != GO_ON)
        return;
    session_untagged(session, "ID (\"name\" \"mh-scripted\")");
    session_reply(session, "OK", "id done");
}

/* Nothing that the model has can be enabled, and RFC 5161 lets a server say so. */
static void do_enable(struct session *session)
{
    if (session_event_here(session, "ENABLE") != GO_ON)
        return;
    session_untagged(session, "ENABLED");
    session_reply(session, "OK", "enable done");
}

static void do_starttls(struct session *session)
{
    const char *name = variables_get(session->variables, "STARTTLS", NULL);
    if (!name || session->peer->tls || !command_is_at_end(session)) {
        session_bad(session, "no STARTTLS here");
        return;
    }
    if (session_event_here(session, "STARTTLS") != GO_ON)
        return;
    session_reply(session, "OK", "begin");
    peer_start_tls(session->peer, model_certificate(session->model, name), TLS_NEWEST);
}

/* ------------------------------------------------------------------ LOGIN and AUTHENTICATE */

/* The end of every login: words that open an account, or do not. */
static void login_finish(struct session *session, const char *user, const char *password)
{
    if (session_can(session, "LOGINDISABLED")) {
        session_violation(session, "credentials sent although LOGINDISABLED");
        return;
    }
    pthread_mutex_lock(&session->model->store.lock);
    struct account *account = store_login(&session->model->store, user, password);
    pthread_mutex_unlock(&session->model->store.lock);
    if (!account) {
        session_reply(session, "NO", "[AUTHENTICATIONFAILED] wrong user or password");
        return;
    }
    session->account = account;
    struct text line = {NULL, 0, 0};
    send_capabilities(session, &line);
    if (variables_is_on(session->variables, "CAPABILITY-IN-LOGIN", true))
        session_reply(session, "OK", "[%s] logged in", line.bytes);
    else
        session_reply(session, "OK", "logged in");
    text_done(&line);
}

static void do_login(struct session *session)
{
    struct text user = {NULL, 0, 0}, password = {NULL, 0, 0};
    if (!command_space_string(session, &user) || !command_space_string(session, &password) ||
        !command_is_at_end(session))
        session_bad(session, "expected LOGIN user password");
    else if (session_event_here(session, "LOGIN") == GO_ON)
        login_finish(session, user.bytes, password.bytes);
    text_done(&user);
    text_done(&password);
}

/* Decodes base64; false when it is none. NUL-terminated. */
static bool sasl_decode(const char *encoded, size_t len, unsigned char *plain_out, size_t *len_out)
{
    *len_out = 0;
    if (len == 1 && encoded[0] == '=') /* RFC 4959: an empty initial response */
        len = 0;
    if (len > SASL_BYTES_MAX || len % 4)
        return false;
    int decoded = len ? EVP_DecodeBlock(plain_out, (const unsigned char *)encoded, (int)len) : 0;
    if (decoded < 0)
        return false;
    while (len > 0 && encoded[len - 1] == '=' && decoded > 0) {
        decoded--;
        len--;
    }
    plain_out[decoded] = '\0';
    *len_out = (size_t)decoded;
    return true;
}

/* authzid NUL authcid NUL password, RFC 4616. */
static void sasl_plain(struct session *session, const char *plain, size_t len)
{
    const char *user = memchr(plain, '\0', len);
    const char *password = user ? memchr(user + 1, '\0', len - (size_t)(user + 1 - plain)) : NULL;
    if (!password) {
        session_reply(session, "NO", "[AUTHENTICATIONFAILED] not PLAIN");
        return;
    }
    user++;
    password++;
    if (plain[0] == '\0') {
        login_finish(session, user, password);
        return;
    }
    pthread_mutex_lock(&session->model->store.lock);
    bool is_admin = store_login(&session->model->store, user, password) != NULL;
    pthread_mutex_unlock(&session->model->store.lock);
    if (is_admin)
        login_finish(session, plain, NULL);
    else
        session_reply(session, "NO", "[AUTHENTICATIONFAILED] wrong user or password");
}

/* user=U ^A auth=Bearer T ^A ^A, or n,a=U, ^A … (RFC 7628): the token is the account's password. */
static void sasl_bearer(struct session *session, const char *plain)
{
    const char *user = strstr(plain, "user=");
    const char *token = strcasestr(plain, "auth=Bearer ");
    if (!user)
        user = strstr(plain, "a=");
    if (!user || !token) {
        session_reply(session, "NO", "[AUTHENTICATIONFAILED] not a bearer token");
        return;
    }
    user = strchr(user, '=') + 1;
    token += strlen("auth=Bearer ");
    char *name = tool_copy(user, strcspn(user, "\x01,"));
    char *secret = tool_copy(token, strcspn(token, "\x01"));
    pthread_mutex_lock(&session->model->store.lock);
    bool is_good = store_login(&session->model->store, name, secret) != NULL;
    pthread_mutex_unlock(&session->model->store.lock);
    if (!is_good) { /* the reason comes as a challenge, which the client answers with nothing */
        static const char challenge[] = "+ eyJzdGF0dXMiOiI0MDEifQ=="; /* {"status":"401"} */
        peer_write_line(session->peer, challenge, sizeof(challenge) - 1);
        command_next_line(session);
    }
    login_finish(session, name, secret);
    free(name);
    free(secret);
}

static void do_authenticate(struct session *session)
{
    char mechanism[ATOM_BYTES_MAX + 1], announced[ATOM_BYTES_MAX + 8];
    if (!command_take(session, ' ') || !command_keyword(session, mechanism)) {
        session_bad(session, "expected AUTHENTICATE mechanism");
        return;
    }
    snprintf(announced, sizeof(announced), "AUTH=%s", mechanism);
    bool is_plain = strcmp(mechanism, "PLAIN") == 0;
    bool is_bearer = strcmp(mechanism, "XOAUTH2") == 0 || strcmp(mechanism, "OAUTHBEARER") == 0;
    if (!session_can(session, announced) || (!is_plain && !is_bearer)) {
        session_reply(session, "NO", "[CANNOT] mechanism not offered");
        return;
    }
    if (command_is_at_end(session)) {
        peer_write_line(session->peer, "+ ", 2);
        if (!command_next_line(session))
            return;
    } else if (!command_take(session, ' ') || !session_can(session, "SASL-IR")) {
        session_bad(session, "an initial response without SASL-IR");
        return;
    }
    unsigned char *plain = tool_alloc(SASL_BYTES_MAX + 1);
    size_t len = 0;
    bool is_decoded =
        sasl_decode(session->line + session->at, session->len - session->at, plain, &len);
    enum verdict verdict = is_decoded ? session_event_here(session, "LOGIN") : ANSWERED;
    if (!is_decoded)
        session_bad(session, "not base64");
    else if (verdict == GO_ON && is_plain)
        sasl_plain(session, (const char *)plain, len);
    else if (verdict == GO_ON)
        sasl_bearer(session, (const char *)plain);
    free(plain);
}

/* ------------------------------------------------------------------ IDLE */

static void do_idle(struct session *session)
{
    if (!session_can(session, "IDLE")) {
        session_bad(session, "no IDLE here");
        return;
    }
    if (session_event_here(session, "IDLE") != GO_ON)
        return;
    peer_write_line(session->peer, "+ idling", 8);
    if (!command_next_line(session))
        return;
    bool is_done = session->len == 4 && strncasecmp(session->line, "DONE", 4) == 0;
    session_sync(session);
    if (is_done)
        session_reply(session, "OK", "idle done");
    else
        session_bad(session, "expected DONE");
}

/* ------------------------------------------------------------------ the loop */

enum session_need { NEED_NOTHING, NEED_STRANGER, NEED_ACCOUNT, NEED_FOLDER };

struct command {
    const char *word;
    enum session_need need;
    void (*run)(struct session *session);                     /* NULL: run_set */
    void (*run_set)(struct session *session, bool is_by_uid); /* also behind UID */
};

static void run_copy(struct session *session, bool is_by_uid)
{
    copy_run(session, is_by_uid, false);
}

static void run_move(struct session *session, bool is_by_uid)
{
    copy_run(session, is_by_uid, true);
}

static const struct command commands[] = {
    {"CAPABILITY", NEED_NOTHING, do_capability, NULL},
    {"NOOP", NEED_NOTHING, do_noop, NULL},
    {"LOGOUT", NEED_NOTHING, do_logout, NULL},
    {"ID", NEED_NOTHING, do_id, NULL},
    {"STARTTLS", NEED_STRANGER, do_starttls, NULL},
    {"LOGIN", NEED_STRANGER, do_login, NULL},
    {"AUTHENTICATE", NEED_STRANGER, do_authenticate, NULL},
    {"ENABLE", NEED_ACCOUNT, do_enable, NULL},
    {"NAMESPACE", NEED_ACCOUNT, do_namespace, NULL},
    {"LIST", NEED_ACCOUNT, do_list, NULL},
    {"LSUB", NEED_ACCOUNT, do_lsub, NULL},
    {"STATUS", NEED_ACCOUNT, do_status, NULL},
    {"CREATE", NEED_ACCOUNT, do_create, NULL},
    {"DELETE", NEED_ACCOUNT, do_delete, NULL},
    {"SUBSCRIBE", NEED_ACCOUNT, do_subscribe, NULL},
    {"UNSUBSCRIBE", NEED_ACCOUNT, do_unsubscribe, NULL},
    {"GETQUOTAROOT", NEED_ACCOUNT, do_getquotaroot, NULL},
    {"SELECT", NEED_ACCOUNT, do_select, NULL},
    {"EXAMINE", NEED_ACCOUNT, do_examine, NULL},
    {"APPEND", NEED_ACCOUNT, do_append, NULL},
    {"IDLE", NEED_ACCOUNT, do_idle, NULL},
    {"CHECK", NEED_FOLDER, do_noop, NULL},
    {"CLOSE", NEED_FOLDER, do_close, NULL},
    {"UNSELECT", NEED_FOLDER, do_unselect, NULL},
    {"FETCH", NEED_FOLDER, NULL, fetch_run},
    {"STORE", NEED_FOLDER, NULL, store_run},
    {"SEARCH", NEED_FOLDER, NULL, search_run},
    {"COPY", NEED_FOLDER, NULL, run_copy},
    {"MOVE", NEED_FOLDER, NULL, run_move},
    {"EXPUNGE", NEED_FOLDER, NULL, expunge_run},
};

static const struct command *command_find(const char *word)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].word, word) == 0)
            return &commands[i];
    return NULL;
}

static const char *session_lacks(const struct session *session, enum session_need need)
{
    switch (need) {
    case NEED_STRANGER:
        return session->account ? "already logged in" : NULL;
    case NEED_ACCOUNT:
        return session->account ? NULL : "log in first";
    case NEED_FOLDER:
        return session->selected ? NULL : "select a mailbox first";
    case NEED_NOTHING:
        break;
    }
    return NULL;
}

/* Reads the tag and the word of the command on the current line, and has it done. */
static void session_run_command(struct session *session)
{
    size_t tag_len = strcspn(session->line, " ");
    char word[ATOM_BYTES_MAX + 1] = "";
    bool is_by_uid = false;
    size_t kept_len = tag_len < TAG_BYTES_MAX ? tag_len : TAG_BYTES_MAX;
    memcpy(session->tag, session->line, kept_len);
    session->tag[kept_len] = '\0';
    session->at = tag_len;
    bool is_right = tag_len > 0 && tag_len <= TAG_BYTES_MAX && command_take(session, ' ') &&
                    command_keyword(session, word);
    if (is_right && strcmp(word, "UID") == 0) {
        is_by_uid = true;
        is_right = command_take(session, ' ') && command_keyword(session, word);
    }
    const struct command *command = is_right ? command_find(word) : NULL;
    if (!command || (is_by_uid && !command->run_set)) {
        session_bad(session, "unknown command");
        return;
    }
    const char *lacks = session_lacks(session, command->need);
    if (lacks)
        session_bad(session, lacks);
    else if (command->run)
        command->run(session);
    else
        command->run_set(session, is_by_uid);
}

static void session_greet(struct session *session)
{
    const char *greeting = variables_get(session->variables, "GREETING", NULL);
    if (session_event(session, "GREETING", NULL, 0) != GO_ON)
        return;
    struct text line = {NULL, 0, 0};
    if (greeting) {
        text_print(&line, "* %s", greeting);
        pthread_mutex_lock(&session->model->store.lock);
        if (strncasecmp(greeting, "PREAUTH", 7) == 0)
            session->account = session->model->store.accounts[0];
        pthread_mutex_unlock(&session->model->store.lock);
    } else if (variables_is_on(session->variables, "CAPABILITY-IN-GREETING", true)) {
        text_print(&line, "* OK [");
        send_capabilities(session, &line);
        text_print(&line, "] ready");
    } else {
        text_print(&line, "* OK ready");
    }
    session_send(session, &line);
}

/*
 * Serves one connection until it ends. has_spoken: the script has sent a greeting of its own. SET
 * MODEL-USER name: the script has also done the login. Thread: the connection's.
 */
static void model_serve(struct model *model, struct peer *peer, const struct variables *variables,
                        bool has_spoken)
{
    struct session session = {.model = model, .peer = peer, .variables = variables, .tag = "*"};
    const char *tls = variables_get(variables, "TLS", NULL);
    const char *user = variables_get(variables, "MODEL-USER", NULL);
    if (tls && !peer->tls && !has_spoken &&
        !peer_start_tls(peer, model_certificate(model, tls), TLS_NEWEST))
        return;
    pthread_mutex_lock(&model->store.lock);
    if (user)
        session.account = store_login(&model->store, user, NULL);
    pthread_mutex_unlock(&model->store.lock);
    if (!has_spoken)
        session_greet(&session);
    while (!peer->is_over && !session.is_logged_out && command_next_line(&session)) {
        session.is_answered = session.is_silent = session.is_tag_wrong = false;
        session_run_command(&session);
        command_finish(&session);
    }
    session_unselect(&session);
    free(session.line);
    peer_end(peer, PEER_END_CLOSE);
}

static void model_init(struct model *model, const struct variables *globals)
{
    model->globals = globals;
    store_init(&model->store);
}

static void model_done(struct model *model)
{
    while (model->certificates) {
        struct certificate *next = model->certificates->next;
        SSL_CTX_free(model->certificates->context);
        free(model->certificates);
        model->certificates = next;
    }
    faults_done(&model->faults);
    store_done(&model->store);
}

#endif
