/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * imap_store.c: mailboxes written straight to an IMAP server.
 *
 * Ordinary mail goes in batches where the server has MULTIAPPEND (RFC 3502): a refused batch stored
 * nothing and is sent again one by one. Awkward mail always goes alone, because a server may close
 * the connection over it, and then it must be known which message that was.
 */
#include "imap_conn.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

enum {
    BATCH_MESSAGES = 100, /* where MULTIAPPEND stops gaining */
    BATCH_BYTES = 4 << 20,
    ALONE_BYTES = 1 << 20,      /* bigger messages are sent from where they are */
    LITERAL_MINUS_BYTES = 4096, /* RFC 7888 section 5 */
    FILLER_BLOCK_LINES = 1024,
};

struct waiting {
    struct mhc_record record;
    size_t offset; /* of its bytes in the batch */
    size_t len;
};

struct imap_store {
    struct mhc_store store;
    struct mhc_imap_target target;
    struct mhc_imap conn;
    const char *user;                /* borrowed, between mailbox_open and mailbox_close */
    const struct mhc_folder *folder; /* borrowed, between folder_open and folder_close */
    struct mhc_buf name;             /* owned: the folder as an IMAP string */
    struct mhc_buf bytes;            /* owned: of the batch */
    struct mhc_buf out;              /* owned: what is about to be sent */
    struct waiting batch[BATCH_MESSAGES];
    size_t batch_count;
};

static struct imap_store *imap_of(struct mhc_store *store)
{
    return (struct imap_store *)store; /* the head is the first member */
}

static int imap_mailbox_open(struct mhc_store *store, const char *user, struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    imap->user = user;
    return mhc_imap_dial(&imap->conn, &imap->target, user, err);
}

static int imap_mailbox_close(struct mhc_store *store, struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    (void)err;
    mhc_imap_logout(&imap->conn);
    imap->user = NULL;
    return MHC_OK;
}

/* --- folders --- */

/* Adds one component; a reason where this server cannot have it. */
static const char *add_component(const struct mhc_imap *conn, struct mhc_buf *name,
                                 const struct mhc_folder *folder, const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (conn->separator != '\0' && at[i] == conn->separator) {
            return "the server's own separator is inside the name";
        }
        if (folder->is_raw && ((unsigned char)at[i] < 0x20 || (unsigned char)at[i] >= 0x7f)) {
            return "raw 8-bit bytes are no IMAP name";
        }
    }
    if (folder->is_raw) {
        mhc_buf_add(name, at, len);
    } else {
        mhc_utf7_encode(name, at, len);
    }
    return NULL;
}

/* The server's name of the folder; a reason where it can have none. */
static const char *server_name(const struct mhc_imap *conn, struct mhc_buf *name,
                               const struct mhc_folder *folder)
{
    const char *at = folder->path;
    if (strncmp(at, "INBOX", 5) != 0 || (at[5] != '\0' && at[5] != MHC_LEVEL)) {
        mhc_buf_add(name, conn->prefix.data, conn->prefix.len);
    }
    for (;;) {
        const char *end = strchr(at, MHC_LEVEL);
        const char *reason =
            add_component(conn, name, folder, at, end != NULL ? (size_t)(end - at) : strlen(at));
        if (reason != NULL || end == NULL) {
            return reason;
        }
        if (conn->separator == '\0') {
            return "the server's folders are flat";
        }
        mhc_buf_putc(name, conn->separator);
        at = end + 1;
    }
}

struct search {
    const char *name;
    bool is_found;
};

static void on_list_entry(void *context, const char *line, size_t len)
{
    struct search *search = context;
    struct mhc_buf name = {0};
    bool is_selectable = false;
    if (mhc_imap_read_list(line, len, &name, &is_selectable) && is_selectable &&
        strcmp(mhc_buf_str(&name), search->name) == 0) {
        search->is_found = true;
    }
    mhc_buf_done(&name);
}

/* Whether the server has a folder of exactly this name: not of another letter case. */
static int folder_exists(struct imap_store *imap, const char *name, bool *exists_out,
                         struct mhc_err *err)
{
    struct search search = {.name = name};
    struct mhc_buf command = {0};
    mhc_buf_printf(&command, "LIST \"\" %s", mhc_buf_str(&imap->name));
    int rc = mhc_imap_command(&imap->conn, mhc_buf_str(&command), on_list_entry, &search, err);
    mhc_buf_done(&command);
    *exists_out = search.is_found;
    return rc == MHC_SKIPPED ? MHC_OK : rc;
}

/* CREATE, with its role where the server takes one (RFC 6154 section 3). */
static int create(struct imap_store *imap, const struct mhc_folder *folder, struct mhc_err *err)
{
    struct mhc_buf command = {0};
    int rc = MHC_SKIPPED;
    if (folder->role != NULL && imap->conn.has_create_special_use) {
        mhc_buf_printf(&command, "CREATE %s (USE (%s))", mhc_buf_str(&imap->name), folder->role);
        rc = mhc_imap_command(&imap->conn, mhc_buf_str(&command), NULL, NULL, err);
    }
    if (rc == MHC_SKIPPED) {
        command.len = 0;
        mhc_buf_printf(&command, "CREATE %s", mhc_buf_str(&imap->name));
        rc = mhc_imap_command(&imap->conn, mhc_buf_str(&command), NULL, NULL, err);
    }
    mhc_buf_done(&command);
    return rc;
}

static int create_or_adopt(struct imap_store *imap, const struct mhc_folder *folder,
                           const char *name, struct mhc_err *err)
{
    bool exists = false;
    int rc = strcmp(name, "INBOX") == 0 ? MHC_OK : create(imap, folder, err);
    if (rc == MHC_SKIPPED) {
        struct mhc_err said = *err;
        rc = folder_exists(imap, name, &exists, err);
        if (rc == MHC_OK && !exists) {
            *err = said;
            return MHC_SKIPPED;
        }
    }
    return rc;
}

static int subscribe(struct imap_store *imap, const struct mhc_folder *folder, struct mhc_err *err)
{
    struct mhc_buf command = {0};
    mhc_buf_printf(&command, "SUBSCRIBE %s", mhc_buf_str(&imap->name));
    int rc = mhc_imap_command(&imap->conn, mhc_buf_str(&command), NULL, NULL, err);
    mhc_buf_done(&command);
    if (rc == MHC_SKIPPED) {
        mhc_report_subscription_refused(imap->store.report, folder, err->text);
        rc = MHC_OK;
    }
    return rc;
}

/* Gets a connection again after a server closed one over a message or a name. */
static int redial(struct imap_store *imap, struct mhc_err *err)
{
    mhc_imap_hangup(&imap->conn);
    return mhc_imap_dial(&imap->conn, &imap->target, imap->user, err);
}

static int imap_folder_open(struct mhc_store *store, const struct mhc_folder *folder,
                            struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    struct mhc_buf name = {0};
    imap->folder = folder;
    imap->name.len = 0;
    const char *reason = server_name(&imap->conn, &name, folder);
    if (reason != NULL) {
        mhc_buf_done(&name);
        return mhc_fail(err, MHC_SKIPPED, "%s", reason);
    }
    mhc_imap_quote(&imap->name, mhc_buf_str(&name));
    int rc = create_or_adopt(imap, folder, mhc_buf_str(&name), err);
    if (rc == MHC_OK && folder->is_subscribed) {
        rc = subscribe(imap, folder, err);
    }
    mhc_buf_done(&name);
    if (rc == MHC_ECLOSED) {
        struct mhc_err said = *err;
        rc = redial(imap, err);
        return rc != MHC_OK ? rc : mhc_fail(err, MHC_SKIPPED, "%s", said.text);
    }
    return rc;
}

/* --- APPEND --- */

/* " (flags) "date" {n+}" and CRLF; true where the server must say go before the octets. */
static bool add_literal_head(struct imap_store *imap, const struct mhc_record *record,
                             uint64_t size_bytes)
{
    char date[MHC_DATE_SIZE];
    struct mhc_buf *out = &imap->out;
    mhc_buf_puts(out, " (");
    mhc_flags_print(out, record->flags);
    mhc_buf_puts(out, record->flags != 0 && record->keywords != 0 ? " " : "");
    mhc_keywords_print(out, record->keywords);
    bool is_free = imap->conn.has_literal_plus ||
                   (imap->conn.has_literal_minus && size_bytes <= LITERAL_MINUS_BYTES);
    mhc_buf_printf(out, ") \"%s\" {%llu%s}\r\n", mhc_date_imap(date, record->date),
                   (unsigned long long)size_bytes, is_free ? "+" : "");
    return !is_free;
}

static int send_out(struct imap_store *imap, struct mhc_err *err)
{
    int rc = mhc_imap_send(&imap->conn, imap->out.data, imap->out.len, err);
    imap->out.len = 0;
    return rc;
}

static void begin_append(struct imap_store *imap)
{
    imap->out.len = 0;
    mhc_imap_begin(&imap->conn, &imap->out);
    mhc_buf_printf(&imap->out, "APPEND %s", mhc_buf_str(&imap->name));
}

static int send_filler(struct imap_store *imap, uint64_t filler_bytes, struct mhc_err *err)
{
    char block[FILLER_BLOCK_LINES * MHC_FILLER_LINE_BYTES];
    for (uint64_t at = 0; at < filler_bytes;) {
        uint64_t left = filler_bytes - at;
        size_t part = left < sizeof(block) ? (size_t)left : sizeof(block);
        mhc_filler_copy(block, at, part);
        int rc = mhc_imap_send(&imap->conn, block, part, err);
        if (rc != MHC_OK) {
            return rc;
        }
        at += part;
    }
    return MHC_OK;
}

/* One message in one command. */
static int append_one(struct imap_store *imap, const struct mhc_record *record, const char *bytes,
                      size_t len, uint64_t filler_bytes, struct mhc_err *err)
{
    begin_append(imap);
    bool must_wait = add_literal_head(imap, record, len + filler_bytes);
    int rc = send_out(imap, err);
    if (rc == MHC_OK && must_wait) {
        rc = mhc_imap_await_continuation(&imap->conn, err);
    }
    if (rc == MHC_OK) {
        rc = mhc_imap_send(&imap->conn, bytes, len, err);
    }
    if (rc == MHC_OK) {
        rc = send_filler(imap, filler_bytes, err);
    }
    if (rc == MHC_OK) {
        rc = mhc_imap_send(&imap->conn, "\r\n", 2, err);
    }
    return rc != MHC_OK ? rc : mhc_imap_await_tagged(&imap->conn, NULL, NULL, err);
}

/* The whole batch in one command. */
static int append_batch(struct imap_store *imap, struct mhc_err *err)
{
    int rc = MHC_OK;
    begin_append(imap);
    for (size_t i = 0; i < imap->batch_count && rc == MHC_OK; i++) {
        const struct waiting *waiting = &imap->batch[i];
        bool must_wait = add_literal_head(imap, &waiting->record, waiting->len);
        if (must_wait) {
            rc = send_out(imap, err);
            rc = rc != MHC_OK ? rc : mhc_imap_await_continuation(&imap->conn, err);
        }
        mhc_buf_add(&imap->out, imap->bytes.data + waiting->offset, waiting->len);
    }
    if (rc == MHC_OK) {
        mhc_buf_puts(&imap->out, "\r\n");
        rc = send_out(imap, err);
    }
    return rc != MHC_OK ? rc : mhc_imap_await_tagged(&imap->conn, NULL, NULL, err);
}

/* Tells the report how one message fared; after a lost connection there is a new one. */
static int conclude(struct imap_store *imap, int rc, const struct mhc_record *record,
                    struct mhc_err *err)
{
    struct mhc_report *report = imap->store.report;
    if (rc == MHC_OK) {
        mhc_report_message(report, imap->folder, record);
    } else if (rc == MHC_SKIPPED || rc == MHC_ECLOSED) {
        mhc_report_message_refused(report, imap->folder, record, err->text);
        rc = rc == MHC_ECLOSED ? redial(imap, err) : MHC_OK;
    }
    return rc;
}

static int flush_batch(struct imap_store *imap, struct mhc_err *err)
{
    int rc = MHC_SKIPPED;
    if (imap->batch_count > 1) {
        rc = append_batch(imap, err);
    }
    for (size_t i = 0; i < imap->batch_count && (rc == MHC_OK || rc == MHC_SKIPPED); i++) {
        const struct waiting *waiting = &imap->batch[i];
        if (rc == MHC_OK) {
            mhc_report_message(imap->store.report, imap->folder, &waiting->record);
            continue;
        }
        int one = append_one(imap, &waiting->record, imap->bytes.data + waiting->offset,
                             waiting->len, 0, err);
        one = one == MHC_ECLOSED ? one : conclude(imap, one, &waiting->record, err);
        rc = one == MHC_OK ? MHC_SKIPPED : one;
    }
    imap->batch_count = 0;
    imap->bytes.len = 0;
    return rc == MHC_SKIPPED ? MHC_OK : rc;
}

static int imap_put(struct mhc_store *store, const struct mhc_message *message, struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    struct mhc_record record;
    mhc_record_init(&record, message, store->report->manifest != NULL);
    size_t len = message->bytes.len;
    bool is_alone = message->is_awkward || !imap->conn.has_multiappend || len > ALONE_BYTES;
    if (is_alone || imap->batch_count == BATCH_MESSAGES || imap->bytes.len + len > BATCH_BYTES) {
        int rc = flush_batch(imap, err);
        if (rc != MHC_OK) {
            return rc;
        }
    }
    if (is_alone) {
        int rc = append_one(imap, &record, message->bytes.data, len, message->filler_bytes, err);
        return conclude(imap, rc, &record, err);
    }
    imap->batch[imap->batch_count++] = (struct waiting){record, imap->bytes.len, len};
    mhc_buf_add(&imap->bytes, message->bytes.data, len);
    return MHC_OK;
}

static int imap_folder_close(struct mhc_store *store, struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    int rc = flush_batch(imap, err);
    imap->folder = NULL;
    return rc;
}

/* --- work day --- */

struct names {
    char **items; /* owned */
    size_t count;
};

static void on_name(void *context, const char *line, size_t len)
{
    struct names *names = context;
    struct mhc_buf name = {0};
    bool is_selectable = false;
    if (mhc_imap_read_list(line, len, &name, &is_selectable) && is_selectable &&
        strpbrk(mhc_buf_str(&name), "\r\n") == NULL) {
        names->items = mhc_realloc(names->items, (names->count + 1) * sizeof(*names->items));
        names->items[names->count++] = mhc_strdup(mhc_buf_str(&name));
    }
    mhc_buf_done(&name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int imap_list(struct mhc_store *store, struct mhc_buf *names_out, struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    struct names names = {0};
    int rc = mhc_imap_command(&imap->conn, "LIST \"\" \"*\"", on_name, &names, err);
    if (names.count > 0) {
        qsort(names.items, names.count, sizeof(*names.items), by_name);
    }
    for (size_t i = 0; i < names.count; i++) {
        mhc_buf_printf(names_out, "%s\n", names.items[i]);
        free(names.items[i]);
    }
    free(names.items);
    return rc == MHC_SKIPPED ? MHC_EFAIL : rc;
}

static unsigned read_flags(const char *text, const char *end)
{
    unsigned flags = 0;
    struct mhc_buf word = {0};
    while (text < end && *text != ')') {
        word.len = 0;
        if (!mhc_imap_read_string(&text, end, &word)) {
            break;
        }
        for (size_t i = 0; i < MHC_FLAG_COUNT; i++) {
            flags |= strcasecmp(mhc_buf_str(&word), mhc_flag_names[i]) == 0 ? 1u << i : 0;
        }
    }
    mhc_buf_done(&word);
    return flags;
}

/* "* 7 FETCH (UID 12 FLAGS (\Seen))", the items in any order. */
static void on_fetch(void *context, const char *line, size_t len)
{
    struct mhc_item_list *items = context;
    const char *uid = strcasestr(line, "UID ");
    const char *flags = strcasestr(line, "FLAGS (");
    if (strcasestr(line, " FETCH (") == NULL || uid == NULL || flags == NULL) {
        return;
    }
    uid += strlen("UID ");
    size_t digits = strspn(uid, "0123456789");
    if (digits > 0 && digits <= 10) {
        mhc_items_add(items, uid, digits, read_flags(flags + strlen("FLAGS ("), line + len));
    }
}

static void on_exists(void *context, const char *line, size_t len)
{
    bool *has_messages = context;
    size_t digits = len > 2 ? strspn(line + 2, "0123456789") : 0;
    if (digits > 0 && strcasecmp(line + 2 + digits, " EXISTS") == 0) {
        *has_messages = strtoul(line + 2, NULL, 10) > 0;
    }
}

static int imap_select(struct mhc_store *store, const char *name, struct mhc_item_list *items_out,
                       struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    struct mhc_buf command = {0};
    bool has_messages = false;
    mhc_buf_puts(&command, "SELECT ");
    mhc_imap_quote(&command, name);
    int rc = mhc_imap_command(&imap->conn, mhc_buf_str(&command), on_exists, &has_messages, err);
    mhc_buf_done(&command);
    if (rc == MHC_OK && has_messages) {
        rc = mhc_imap_command(&imap->conn, "UID FETCH 1:* (FLAGS)", on_fetch, items_out, err);
    }
    return rc;
}

/* UID STORE; `sign` is '+' or '-'. */
static int store_flags(struct imap_store *imap, const char *uids, char sign, unsigned flags,
                       struct mhc_err *err)
{
    struct mhc_buf command = {0};
    mhc_buf_printf(&command, "UID STORE %s %cFLAGS.SILENT (", uids, sign);
    mhc_flags_print(&command, flags);
    mhc_buf_putc(&command, ')');
    int rc = mhc_imap_command(&imap->conn, mhc_buf_str(&command), NULL, NULL, err);
    mhc_buf_done(&command);
    return rc == MHC_SKIPPED ? MHC_EFAIL : rc;
}

static int imap_set_flags(struct mhc_store *store, const struct mhc_item *item, unsigned flags,
                          struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    unsigned added = flags & ~item->flags;
    unsigned removed = item->flags & ~flags;
    int rc = added != 0 ? store_flags(imap, item->id, '+', added, err) : MHC_OK;
    if (rc == MHC_OK && removed != 0) {
        rc = store_flags(imap, item->id, '-', removed, err);
    }
    return rc;
}

/* "* SEARCH 4 7": as the set 4,7. */
static void on_search(void *context, const char *line, size_t len)
{
    struct mhc_buf *set = context;
    (void)len;
    if (strncasecmp(line, "* SEARCH ", 9) != 0) {
        return;
    }
    for (const char *at = line + 9; *at != '\0';) {
        size_t digits = strspn(at, "0123456789");
        if (digits > 0) {
            mhc_buf_puts(set, set->len > 0 ? "," : "");
            mhc_buf_add(set, at, digits);
        }
        at += digits > 0 ? digits : 1;
    }
}

/* Without UIDPLUS, EXPUNGE takes all that is \Deleted: what must stay loses the flag meanwhile. */
static int expunge_without_uidplus(struct imap_store *imap, const char *uids, struct mhc_err *err)
{
    struct mhc_buf spared = {0};
    int rc = mhc_imap_command(&imap->conn, "UID SEARCH DELETED", on_search, &spared, err);
    if (rc == MHC_OK && spared.len > 0) {
        rc = store_flags(imap, mhc_buf_str(&spared), '-', MHC_DELETED, err);
    }
    if (rc == MHC_OK) {
        rc = store_flags(imap, uids, '+', MHC_DELETED, err);
    }
    if (rc == MHC_OK) {
        rc = mhc_imap_command(&imap->conn, "EXPUNGE", NULL, NULL, err);
    }
    /* Those of them that were expunged are no longer there to be flagged. */
    if (rc == MHC_OK && spared.len > 0) {
        rc = store_flags(imap, mhc_buf_str(&spared), '+', MHC_DELETED, err);
    }
    mhc_buf_done(&spared);
    return rc;
}

static int expunge_by_uid(struct imap_store *imap, const char *uids, struct mhc_err *err)
{
    int rc = store_flags(imap, uids, '+', MHC_DELETED, err);
    if (rc == MHC_OK) {
        struct mhc_buf command = {0};
        mhc_buf_printf(&command, "UID EXPUNGE %s", uids);
        rc = mhc_imap_command(&imap->conn, mhc_buf_str(&command), NULL, NULL, err);
        mhc_buf_done(&command);
    }
    return rc;
}

static int imap_expunge(struct mhc_store *store, const struct mhc_item *const *items, size_t count,
                        struct mhc_err *err)
{
    struct imap_store *imap = imap_of(store);
    struct mhc_buf uids = {0};
    for (size_t i = 0; i < count; i++) {
        mhc_buf_printf(&uids, "%s%s", i > 0 ? "," : "", items[i]->id);
    }
    const char *set = mhc_buf_str(&uids);
    int rc = imap->conn.has_uidplus ? expunge_by_uid(imap, set, err)
                                    : expunge_without_uidplus(imap, set, err);
    mhc_buf_done(&uids);
    return rc == MHC_SKIPPED ? MHC_EFAIL : rc;
}

static void imap_free(struct mhc_store *store)
{
    struct imap_store *imap = imap_of(store);
    mhc_imap_hangup(&imap->conn);
    mhc_buf_done(&imap->name);
    mhc_buf_done(&imap->bytes);
    mhc_buf_done(&imap->out);
    free(imap);
}

static const struct mhc_store_ops imap_ops = {
    .mailbox_open = imap_mailbox_open,
    .folder_open = imap_folder_open,
    .put = imap_put,
    .folder_close = imap_folder_close,
    .mailbox_close = imap_mailbox_close,
    .list = imap_list,
    .select = imap_select,
    .set_flags = imap_set_flags,
    .expunge = imap_expunge,
    .free = imap_free,
};

struct mhc_store *mhc_imap_new(struct mhc_report *report, const struct mhc_imap_target *target)
{
    struct imap_store *imap = mhc_alloc(sizeof(*imap));
    imap->store = (struct mhc_store){.ops = &imap_ops, .report = report};
    imap->target = *target;
    imap->conn.fd = -1;
    return &imap->store;
}
