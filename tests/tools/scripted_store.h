/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The mail that the model of mh-scripted holds: accounts, folders, messages, in memory.
 *
 * For: the model's commands and the dump. One store per process, so a client that comes back finds
 * what it left. Memory: folders live as long as the store (a deleted one is only marked), messages
 * are counted, because a FETCH may still send one that was expunged meanwhile. The bytes of
 * generated messages are computed when read, so a million messages or one of 4 GiB cost nothing.
 * Threads: every function here wants store.lock held by the caller, except those that only read a
 * message's body (message_read, message_digest): bodies never change. Never: no function here does
 * I/O but store_dump and its kind, at the end.
 */
#ifndef MH_TESTS_SCRIPTED_STORE_H
#define MH_TESTS_SCRIPTED_STORE_H

#include "tool.h"

#include <openssl/evp.h>
#include <pthread.h>

enum {
    DIGEST_BYTES = 32,
    DATE_BYTES = 26, /* dd-Mon-yyyy hh:mm:ss +zzzz */
    FOLDER_BUCKETS = 16384,
    BODY_LINE_BYTES = 78, /* of generated bodies, CR LF included */
    LETTERS_PER_DICE = 10,
    FLAG_WORDS_MAX = 256
};

enum body_kind {
    BODY_BYTES,     /* kept as they came */
    BODY_GENERATED, /* computed from the seed */
    BODY_DIGEST     /* SET STORE digest: size and SHA-256 only */
};

struct message {
    unsigned refs;
    uint32_t uid;
    uint64_t size, seed;
    enum body_kind kind;
    char *bytes; /* owned; BODY_BYTES only */
    char *flags; /* owned; sorted words between single blanks; NULL: none */
    unsigned char digest[DIGEST_BYTES];
    bool has_digest, is_expunged;
    char date[DATE_BYTES + 1];
};

struct folder {
    char *name; /* owned; the raw bytes of the wire */
    size_t len;
    char *attributes; /* owned; "\Sent \Marked" or "" */
    uint32_t uidvalidity, uidnext;
    bool is_subscribed, is_gone;
    size_t children;           /* also of children that are only a level of a name */
    bool is_counted;           /* among its parent's */
    struct message **messages; /* owned array of references, by ascending UID */
    size_t messages_len, messages_room;
    struct folder *next_in_bucket;
};

struct account {
    char *user, *password;   /* owned; user NULL: whoever comes */
    struct folder **folders; /* owned, in the order of their making */
    size_t len, room;
    struct folder **buckets; /* owned array of borrowed folders, by name */
};

struct store {
    pthread_mutex_t lock;
    char separator;
    struct account **accounts; /* owned */
    size_t len, room;
    char *password_of_any; /* owned; USER *: each new name gets an account of its own */
    uint32_t next_uidvalidity;
};

/* ------------------------------------------------------------------ sets of flags */

/* System flags first, then keywords, each without regard to case. */
static int flag_compare(const char *left, size_t left_len, const char *right, size_t right_len)
{
    bool left_is_system = left[0] == '\\', right_is_system = right[0] == '\\';
    if (left_is_system != right_is_system)
        return left_is_system ? -1 : 1;
    size_t len = left_len < right_len ? left_len : right_len;
    int order = strncasecmp(left, right, len);
    return order ? order : left_len < right_len ? -1 : left_len > right_len;
}

/* Where in the set the flag stands, or NULL; where it would have to stand goes to place_out. */
static char *flags_find(char *set, const char *flag, size_t len, char **place_out)
{
    char *at = set;
    while (at && *at) {
        size_t word_len = strcspn(at, " ");
        int order = flag_compare(flag, len, at, word_len);
        *place_out = at;
        if (order == 0)
            return at;
        if (order < 0)
            return NULL;
        at += word_len;
        at += *at == ' ';
    }
    *place_out = at;
    return NULL;
}

static bool flags_has(char *set, const char *flag)
{
    char *place = NULL;
    return flags_find(set, flag, strlen(flag), &place) != NULL;
}

static void flags_add(char **set, const char *flag, size_t len)
{
    char *place = NULL;
    if (len == 0 || flags_find(*set, flag, len, &place))
        return;
    size_t set_len = *set ? strlen(*set) : 0;
    size_t before = *set ? (size_t)(place - *set) : 0;
    char *grown = tool_alloc(set_len + len + 2);
    const char *old = *set ? *set : "";
    if (before == set_len) /* behind all others */
        snprintf(grown, set_len + len + 2, "%s%s%.*s", old, set_len ? " " : "", (int)len, flag);
    else
        snprintf(grown, set_len + len + 2, "%.*s%.*s %s", (int)before, old, (int)len, flag,
                 old + before);
    free(*set);
    *set = grown;
}

static void flags_remove(char **set, const char *flag, size_t len)
{
    char *place = NULL;
    char *found = flags_find(*set, flag, len, &place);
    if (!found)
        return;
    char *rest = found + strcspn(found, " ");
    if (*rest == ' ')
        rest++;
    else if (found > *set)
        found--;
    memmove(found, rest, strlen(rest) + 1);
}

/* Adds each word of "\Seen $Work" or "(\Seen $Work)", but not \Recent, which no client can set. */
static void flags_add_all(char **set, const char *words)
{
    static const char separators[] = " ()";
    for (const char *at = words; *at;) {
        at += strspn(at, separators);
        size_t len = strcspn(at, separators);
        if (len > 0 && !(len == 7 && strncasecmp(at, "\\Recent", 7) == 0))
            flags_add(set, at, len);
        at += len;
    }
}

/* ------------------------------------------------------------------ messages */

static struct message *message_ref(struct message *message)
{
    message->refs++;
    return message;
}

static void message_unref(struct message *message)
{
    if (--message->refs > 0)
        return;
    free(message->bytes);
    free(message->flags);
    free(message);
}

/* A date that belongs to the seed: years, hours and zones differ, so a lost zone is seen. */
static void message_make_date(struct message *message)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const char *const zones[] = {"+0000", "-0700", "+0200", "+0530", "-0330", "+1245"};
    uint64_t dice = tool_mix(message->seed);
    unsigned day = 1 + (unsigned)(dice % 28), month = (unsigned)(dice / 28 % 12);
    unsigned year = 1998 + (unsigned)(dice / 336 % 28), second = (unsigned)(dice >> 40) % 86400;
    snprintf(message->date, sizeof(message->date), "%02u-%.3s-%04u %02u:%02u:%02u %s", day % 100,
             months + 3 * (size_t)month, year % 10000, second / 3600 % 100, second / 60 % 60,
             second % 60, zones[(dice >> 60) % 6]);
}

/* A message whose size bytes follow from seed. */
static struct message *message_generate(uint64_t seed, uint64_t size)
{
    struct message *message = tool_alloc(sizeof(*message));
    message->refs = 1;
    message->kind = BODY_GENERATED;
    message->seed = seed;
    message->size = size;
    message_make_date(message);
    return message;
}

/* A message of these bytes, which it takes over; NULL for none. */
static struct message *message_keep(char *bytes_take, uint64_t size)
{
    struct message *message = tool_alloc(sizeof(*message));
    message->refs = 1;
    message->kind = BODY_BYTES;
    message->bytes = bytes_take ? bytes_take : tool_copy("", 0);
    message->size = size;
    message->seed = size;
    message_make_date(message);
    return message;
}

/* The same body as another message's of its own: what COPY makes. */
static struct message *message_copy(const struct message *from)
{
    struct message *message = tool_alloc(sizeof(*message));
    *message = *from;
    message->refs = 1;
    message->is_expunged = false;
    message->flags = from->flags ? tool_copy(from->flags, strlen(from->flags)) : NULL;
    message->bytes = from->bytes ? tool_copy(from->bytes, (size_t)from->size) : NULL;
    return message;
}

/* The generated body: a header that names the seed, then lines of letters. */
static char generated_byte(const struct message *message, const char *header, size_t header_len,
                           uint64_t at, uint64_t dice)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (at < header_len)
        return header[at];
    if (at + 2 >= message->size) /* ends in CR LF, as a message should */
        return at + 2 == message->size ? '\r' : '\n';
    uint64_t column = (at - header_len) % BODY_LINE_BYTES;
    bool is_before_end = at + 3 == message->size;
    if (column == BODY_LINE_BYTES - 2 && !is_before_end)
        return '\r';
    if (column == BODY_LINE_BYTES - 1)
        return '\n';
    return letters[dice >> (6 * (at % LETTERS_PER_DICE)) & 63];
}

/*
 * Copies bytes [offset, offset + len) of the body, which must exist. Thread: any, no lock needed.
 */
static void message_read(const struct message *message, uint64_t offset, char *bytes_out,
                         size_t len)
{
    if (message->kind == BODY_BYTES) {
        memcpy(bytes_out, message->bytes + offset, len);
        return;
    }
    char header[320];
    int header_len = snprintf(header, sizeof(header),
                              "Message-ID: <%016llx@model.test>\r\n"
                              "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
                              "From: Sender <sender@model.test>\r\n"
                              "To: Receiver <receiver@model.test>\r\n"
                              "Subject: generated %016llx\r\n\r\n",
                              (unsigned long long)message->seed, (unsigned long long)message->seed);
    uint64_t group = UINT64_MAX, dice = 0;
    for (size_t i = 0; i < len; i++) {
        uint64_t at = offset + i;
        if (at / LETTERS_PER_DICE != group) {
            group = at / LETTERS_PER_DICE;
            dice = tool_mix(message->seed ^ group);
        }
        bytes_out[i] = generated_byte(message, header, (size_t)header_len, at, dice);
    }
}

/* Thread: any, no lock needed. */
static void message_digest(const struct message *message, unsigned char digest_out[DIGEST_BYTES])
{
    if (message->has_digest) {
        memcpy(digest_out, message->digest, DIGEST_BYTES);
        return;
    }
    enum { PART = 64 * 1024 };
    char *part = tool_alloc(PART);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    if (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL))
        tool_die("SHA-256 is not available");
    for (uint64_t at = 0; at < message->size; at += PART) {
        size_t len = message->size - at < PART ? (size_t)(message->size - at) : PART;
        message_read(message, at, part, len);
        if (!EVP_DigestUpdate(hash, part, len))
            tool_die("SHA-256 failed");
    }
    if (!EVP_DigestFinal_ex(hash, digest_out, NULL))
        tool_die("SHA-256 failed");
    EVP_MD_CTX_free(hash);
    free(part);
}

/* Does the body contain these bytes? Bodies of which only the digest is kept contain nothing. */
static bool message_contains(const struct message *message, const char *bytes, size_t len)
{
    enum { GENERATED_MAX = 1024 * 1024 };
    if (message->kind == BODY_BYTES)
        return memmem(message->bytes, (size_t)message->size, bytes, len) != NULL;
    if (message->kind == BODY_DIGEST || message->size > GENERATED_MAX)
        return false;
    char *body = tool_alloc((size_t)message->size);
    message_read(message, 0, body, (size_t)message->size);
    bool is_found = memmem(body, (size_t)message->size, bytes, len) != NULL;
    free(body);
    return is_found;
}

/* ------------------------------------------------------------------ folders */

static bool folder_name_is_inbox(const char *name, size_t len)
{
    return len == 5 && strncasecmp(name, "INBOX", 5) == 0;
}

static size_t folder_bucket(const char *name, size_t len)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < len; i++)
        hash = tool_mix(hash ^ (unsigned char)name[i]);
    return hash % FOLDER_BUCKETS;
}

/* The newest folder of this name, also one that is gone. */
static struct folder *folder_find_any(const struct account *account, const char *name, size_t len)
{
    if (folder_name_is_inbox(name, len))
        name = "INBOX";
    struct folder *folder = account->buckets[folder_bucket(name, len)];
    while (folder && (folder->len != len || memcmp(folder->name, name, len) != 0))
        folder = folder->next_in_bucket;
    return folder;
}

static struct folder *folder_find(const struct account *account, const char *name, size_t len)
{
    struct folder *folder = folder_find_any(account, name, len);
    return folder && !folder->is_gone ? folder : NULL;
}

/* Length of the parent's name, 0 for a folder at the top. */
static size_t folder_parent_len(const char *name, size_t len, char separator)
{
    const char *last = len ? memrchr(name, separator, len) : NULL;
    return last ? (size_t)(last - name) : 0;
}

static struct folder *folder_record(struct account *account, const char *name, size_t len)
{
    if (folder_name_is_inbox(name, len))
        name = "INBOX";
    struct folder *folder = tool_alloc(sizeof(*folder));
    folder->name = tool_copy(name, len);
    folder->len = len;
    folder->attributes = tool_copy("", 0);
    folder->uidnext = 1;
    if (account->len == account->room) {
        account->room = account->room ? 2 * account->room : 16;
        account->folders = tool_realloc(account->folders, account->room * sizeof(struct folder *));
    }
    account->folders[account->len++] = folder;
    size_t bucket = folder_bucket(folder->name, len);
    folder->next_in_bucket = account->buckets[bucket];
    account->buckets[bucket] = folder;
    return folder;
}

/*
 * Counts a new folder with its parent. A parent that does not exist gets a record that is gone from
 * the beginning: it keeps the count for the day on which somebody makes the folder.
 */
static void folder_count(const struct store *store, struct account *account, struct folder *folder)
{
    while (!folder->is_counted) {
        size_t len = folder_parent_len(folder->name, folder->len, store->separator);
        folder->is_counted = true;
        if (len == 0)
            return;
        struct folder *parent = folder_find_any(account, folder->name, len);
        if (!parent) {
            parent = folder_record(account, folder->name, len);
            parent->is_gone = true;
        }
        parent->children++;
        if (!parent->is_gone)
            return;
        folder = parent;
    }
}

/* A new folder; the name must be free. */
static struct folder *folder_new(struct store *store, struct account *account, const char *name,
                                 size_t len)
{
    const struct folder *former = folder_find_any(account, name, len);
    struct folder *folder = folder_record(account, name, len);
    folder->uidvalidity = store->next_uidvalidity++;
    if (former) {
        folder->children = former->children;
        folder->is_counted = former->is_counted;
    }
    folder_count(store, account, folder);
    return folder;
}

/* Marks it as gone. With folders below it, it stays a level of their names. */
static void folder_delete(const struct store *store, const struct account *account,
                          struct folder *folder)
{
    folder->is_gone = true;
    size_t len = folder_parent_len(folder->name, folder->len, store->separator);
    struct folder *parent = len ? folder_find_any(account, folder->name, len) : NULL;
    if (!parent || folder->children > 0)
        return;
    folder->is_counted = false;
    parent->children--;
}

/* Puts a message at the end; the folder takes over the caller's reference. */
static void folder_add_take(struct folder *folder, struct message *message_take)
{
    if (folder->messages_len == folder->messages_room) {
        folder->messages_room = folder->messages_room ? 2 * folder->messages_room : 16;
        folder->messages =
            tool_realloc(folder->messages, folder->messages_room * sizeof(struct message *));
    }
    message_take->uid = folder->uidnext++;
    folder->messages[folder->messages_len++] = message_take;
}

/* The place, among messages by ascending UID, of the first whose UID is at least uid. */
static size_t messages_place(struct message *const *messages, size_t len, uint64_t uid)
{
    size_t low = 0, high = len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (messages[middle]->uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t folder_place(const struct folder *folder, uint64_t uid)
{
    return messages_place(folder->messages, folder->messages_len, uid);
}

static struct message *folder_message(const struct folder *folder, uint64_t uid)
{
    size_t place = folder_place(folder, uid);
    bool is_there = place < folder->messages_len && folder->messages[place]->uid == uid;
    return is_there ? folder->messages[place] : NULL;
}

static void folder_expunge(struct folder *folder, struct message *message)
{
    size_t place = folder_place(folder, message->uid);
    memmove(folder->messages + place, folder->messages + place + 1,
            (folder->messages_len - place - 1) * sizeof(struct message *));
    folder->messages_len--;
    message->is_expunged = true;
    message_unref(message);
}

/* count generated messages; their seeds follow from the folder's name and the UIDs. */
static void folder_add_generated(struct folder *folder, uint64_t count, uint64_t size_min,
                                 uint64_t size_max)
{
    uint64_t seed = 0;
    for (size_t i = 0; i < folder->len; i++)
        seed = tool_mix(seed ^ (unsigned char)folder->name[i]);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t own = tool_mix(seed ^ folder->uidnext);
        folder_add_take(folder, message_generate(own, size_min + own % (size_max - size_min + 1)));
    }
}

/* A new UIDVALIDITY with the same messages under new UIDs, as after a restore. */
static void folder_renumber(struct folder *folder, uint32_t uidvalidity)
{
    folder->uidvalidity = uidvalidity;
    folder->uidnext = 1;
    for (size_t i = 0; i < folder->messages_len; i++) {
        struct message *fresh = message_copy(folder->messages[i]);
        folder->messages[i]->is_expunged = true;
        message_unref(folder->messages[i]);
        fresh->uid = folder->uidnext++;
        folder->messages[i] = fresh;
    }
}

/* ------------------------------------------------------------------ accounts and the store */

static struct account *store_add_account(struct store *store, const char *user,
                                         const char *password)
{
    if (store->len == store->room) {
        store->room = store->room ? 2 * store->room : 4;
        store->accounts = tool_realloc(store->accounts, store->room * sizeof(struct account *));
    }
    struct account *account = tool_alloc(sizeof(*account));
    account->user = user ? tool_copy(user, strlen(user)) : NULL;
    account->password = password ? tool_copy(password, strlen(password)) : NULL;
    account->buckets = tool_alloc(FOLDER_BUCKETS * sizeof(struct folder *));
    store->accounts[store->len++] = account;
    folder_new(store, account, "INBOX", 5)->is_subscribed = true;
    return account;
}

/* The account that these words open, or NULL. A password of NULL asks for the name alone. */
static struct account *store_login(struct store *store, const char *user, const char *password)
{
    bool has_users = false;
    for (size_t i = 0; i < store->len; i++) {
        struct account *account = store->accounts[i];
        has_users = has_users || account->user;
        if (account->user && strcmp(account->user, user) == 0)
            return !password || strcmp(account->password, password) == 0 ? account : NULL;
    }
    if (store->password_of_any)
        return !password || strcmp(store->password_of_any, password) == 0
                   ? store_add_account(store, user, store->password_of_any)
                   : NULL;
    return has_users ? NULL : store->accounts[0];
}

static void store_init(struct store *store)
{
    *store = (struct store){.separator = '/', .next_uidvalidity = 1700000001};
    pthread_mutex_init(&store->lock, NULL);
    store_add_account(store, NULL, NULL);
}

static void dump_message(FILE *out, const struct account *account, const struct folder *folder,
                         const struct message *message)
{
    unsigned char digest[DIGEST_BYTES];
    message_digest(message, digest);
    tool_print_escaped(out, folder->name, folder->len);
    fprintf(out, "\t%u\t", message->uid);
    for (int i = 0; i < DIGEST_BYTES; i++)
        fprintf(out, "%02x", digest[i]);
    fprintf(out, "\t%llu\t%s\t%s\t%s\n", (unsigned long long)message->size,
            message->flags ? message->flags : "", message->date,
            account->user ? account->user : "");
}

static void dump_folder(FILE *out, const struct account *account, const struct folder *folder)
{
    tool_print_escaped(out, folder->name, folder->len);
    fprintf(out, "\t%u\t%u\t%zu\t%s\t%s\t%s\n", folder->uidvalidity, folder->uidnext,
            folder->messages_len, folder->is_subscribed ? "subscribed" : "", folder->attributes,
            account->user ? account->user : "");
}

/* Writes aside and renames, so that a reader sees a whole table. Takes the lock itself. */
static void store_dump(struct store *store, const char *file, bool is_of_folders)
{
    size_t size = strlen(file) + 5;
    char *aside = tool_alloc(size);
    snprintf(aside, size, "%s.tmp", file);
    FILE *out = fopen(aside, "we");
    if (!out)
        tool_die("cannot write %s: %s", aside, strerror(errno));
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->len; i++) {
        const struct account *account = store->accounts[i];
        for (size_t k = 0; k < account->len; k++) {
            const struct folder *folder = account->folders[k];
            if (folder->is_gone)
                continue;
            if (is_of_folders)
                dump_folder(out, account, folder);
            for (size_t m = 0; !is_of_folders && m < folder->messages_len; m++)
                dump_message(out, account, folder, folder->messages[m]);
        }
    }
    pthread_mutex_unlock(&store->lock);
    if (fclose(out) != 0 || rename(aside, file) != 0)
        tool_die("cannot write %s: %s", file, strerror(errno));
    free(aside);
}

static void store_done(struct store *store)
{
    for (size_t i = 0; i < store->len; i++) {
        struct account *account = store->accounts[i];
        for (size_t k = 0; k < account->len; k++) {
            struct folder *folder = account->folders[k];
            for (size_t m = 0; m < folder->messages_len; m++)
                message_unref(folder->messages[m]);
            free(folder->messages);
            free(folder->name);
            free(folder->attributes);
            free(folder);
        }
        free(account->folders);
        free(account->buckets);
        free(account->user);
        free(account->password);
        free(account);
    }
    free(store->accounts);
    free(store->password_of_any);
    pthread_mutex_destroy(&store->lock);
}

#endif
