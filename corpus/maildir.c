/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * maildir.c: mailboxes as Maildir++ trees, the way Dovecot reads them: DIR/user01/{cur,new,tmp},
 * folders as .Name.Sub in modified UTF-7, keywords as letters explained in dovecot-keywords,
 * INTERNALDATE as the time of the file.
 *
 * Messages go straight into cur: nobody reads the tree while it grows, so the detour through tmp
 * would only double the system calls.
 */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAME_MAX_BYTES = 255, /* of a directory entry */
    NO_LETTER = -1,
};

/* When every directory of a fresh tree says it was changed: after the last message. */
static const time_t tree_time = 1751285000;

struct maildir {
    struct mhc_store store;
    const char *root;                /* borrowed */
    const struct mhc_folder *folder; /* borrowed, between folder_open and folder_close */
    struct mhc_buf user_path;        /* owned: DIR/user01 */
    struct mhc_buf folder_path;      /* owned: DIR/user01/.Name */
    struct mhc_buf subscriptions;    /* owned: lines for the file of that name */
    int folder_fd;                   /* owned; -1: none */
    int cur_fd;                      /* owned; -1: none */
    int new_fd;                      /* owned; -1: none */
    uint64_t sequence;               /* in the file names of this mailbox */
    int letters[MHC_KEYWORD_COUNT];  /* which letter a keyword has in this folder */
    int letter_count;
    bool is_work_day; /* directory times must tell the truth then, or a server misses the change */
};

static struct maildir *maildir_of(struct mhc_store *store)
{
    return (struct maildir *)store; /* the head is the first member */
}

static int fail_at(struct mhc_err *err, const char *what, const char *directory, const char *name)
{
    return mhc_fail(err, MHC_EFAIL, "cannot %s %s/%s: %s", what, directory, name, strerror(errno));
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static int make_directory(const char *path, struct mhc_err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return mhc_fail(err, MHC_EFAIL, "cannot create %s: %s", path, strerror(errno));
    }
    return MHC_OK;
}

/* Like mkdir -p. */
static int make_directories(const char *path, struct mhc_err *err)
{
    char *copy = mhc_strdup(path);
    int rc = MHC_OK;
    for (char *slash = strchr(copy + 1, '/'); slash != NULL && rc == MHC_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = make_directory(copy, err);
        *slash = '/';
    }
    if (rc == MHC_OK) {
        rc = make_directory(copy, err);
    }
    free(copy);
    return rc;
}

static int maildir_mailbox_open(struct mhc_store *store, const char *user, struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    (void)err;
    maildir->user_path.len = 0;
    mhc_buf_printf(&maildir->user_path, "%s/%s", maildir->root, user);
    maildir->subscriptions.len = 0;
    maildir->sequence = 0;
    return MHC_OK;
}

/* --- folders --- */

/* The name of the folder's directory without its leading dot; a reason where it can have none. */
static const char *directory_name(struct mhc_buf *name, const struct mhc_folder *folder)
{
    const char *at = folder->path;
    if (folder->is_raw) {
        mhc_buf_puts(name, at);
        return strpbrk(at, "./") != NULL ? "a raw name with a separator" : NULL;
    }
    for (;;) {
        const char *end = strchr(at, MHC_LEVEL);
        size_t len = end != NULL ? (size_t)(end - at) : strlen(at);
        if (len == 0 || memchr(at, '.', len) != NULL || memchr(at, '/', len) != NULL) {
            return "Maildir++ cannot name it: '.' and '/' are separators";
        }
        mhc_utf7_encode(name, at, len);
        if (end == NULL) {
            return name->len + 1 > NAME_MAX_BYTES ? "longer than a directory name may be" : NULL;
        }
        mhc_buf_putc(name, '.');
        at = end + 1;
    }
}

static int open_directory(int parent_fd, const char *path, int *fd_out, struct mhc_err *err)
{
    *fd_out = openat(parent_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd_out < 0) {
        return mhc_fail(err, MHC_EFAIL, "cannot open %s: %s", path, strerror(errno));
    }
    return MHC_OK;
}

/* Opens folder_path and its cur and new. */
static int open_folder_fds(struct maildir *maildir, struct mhc_err *err)
{
    int rc = open_directory(AT_FDCWD, mhc_buf_str(&maildir->folder_path), &maildir->folder_fd, err);
    if (rc == MHC_OK) {
        rc = open_directory(maildir->folder_fd, "cur", &maildir->cur_fd, err);
    }
    if (rc == MHC_OK) {
        rc = open_directory(maildir->folder_fd, "new", &maildir->new_fd, err);
    }
    return rc;
}

static void close_folder_fds(struct maildir *maildir)
{
    close_fd(&maildir->folder_fd);
    close_fd(&maildir->cur_fd);
    close_fd(&maildir->new_fd);
}

/* Writes a small file into a directory; on a work day behind what it holds. */
static int write_file(const struct maildir *maildir, int directory_fd, const char *directory,
                      const char *name, const struct mhc_buf *text, struct mhc_err *err)
{
    int mode = maildir->is_work_day ? O_APPEND : O_TRUNC;
    int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC | mode, 0600);
    if (fd < 0) {
        return fail_at(err, "create", directory, name);
    }
    ssize_t written = text->len > 0 ? write(fd, text->data, text->len) : 0;
    const struct timespec times[2] = {{.tv_sec = tree_time}, {.tv_sec = tree_time}};
    bool is_good =
        written == (ssize_t)text->len && (maildir->is_work_day || futimens(fd, times) == 0);
    if (close(fd) != 0 || !is_good) {
        return fail_at(err, "write", directory, name);
    }
    return MHC_OK;
}

static int create_folder(struct maildir *maildir, bool is_inbox, struct mhc_err *err)
{
    static const char *const parts[] = {"cur", "new", "tmp"};
    const char *path = mhc_buf_str(&maildir->folder_path);
    int rc = is_inbox ? make_directories(path, err) : make_directory(path, err);
    struct mhc_buf part = {0};
    for (size_t i = 0; rc == MHC_OK && i < MHC_COUNT(parts); i++) {
        part.len = 0;
        mhc_buf_printf(&part, "%s/%s", path, parts[i]);
        rc = make_directory(mhc_buf_str(&part), err);
    }
    mhc_buf_done(&part);
    if (rc == MHC_OK) {
        rc = open_folder_fds(maildir, err);
    }
    if (rc == MHC_OK && !is_inbox) {
        const struct mhc_buf nothing = {0};
        rc = write_file(maildir, maildir->folder_fd, path, "maildirfolder", &nothing, err);
    }
    return rc;
}

static int maildir_folder_open(struct mhc_store *store, const struct mhc_folder *folder,
                               struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    struct mhc_buf name = {0};
    bool is_inbox = strcmp(folder->path, "INBOX") == 0;
    const char *reason = directory_name(&name, folder);
    if (reason != NULL) {
        mhc_buf_done(&name);
        return mhc_fail(err, MHC_SKIPPED, "%s", reason);
    }
    close_folder_fds(maildir);
    maildir->folder = folder;
    maildir->letter_count = 0;
    for (size_t i = 0; i < MHC_KEYWORD_COUNT; i++) {
        maildir->letters[i] = NO_LETTER;
    }
    maildir->folder_path.len = 0;
    mhc_buf_puts(&maildir->folder_path, mhc_buf_str(&maildir->user_path));
    if (!is_inbox) {
        mhc_buf_printf(&maildir->folder_path, "/.%s", mhc_buf_str(&name));
    }
    int rc = create_folder(maildir, is_inbox, err);
    if (rc == MHC_OK && folder->is_subscribed) {
        mhc_buf_printf(&maildir->subscriptions, "%s\n", mhc_buf_str(&name));
    }
    mhc_buf_done(&name);
    return rc;
}

static int write_keywords(struct maildir *maildir, struct mhc_err *err)
{
    struct mhc_buf text = {0};
    for (int letter = 0; letter < maildir->letter_count; letter++) {
        for (size_t i = 0; i < MHC_KEYWORD_COUNT; i++) {
            if (maildir->letters[i] == letter) {
                mhc_buf_printf(&text, "%d %s\n", letter, mhc_keyword_names[i]);
            }
        }
    }
    int rc = MHC_OK;
    if (text.len > 0) {
        rc = write_file(maildir, maildir->folder_fd, mhc_buf_str(&maildir->folder_path),
                        "dovecot-keywords", &text, err);
    }
    mhc_buf_done(&text);
    return rc;
}

/* Gives the directories of a fresh folder their time, the last thing that is done to it. */
static int set_tree_times(int folder_fd, const char *path, struct mhc_err *err)
{
    static const char *const parts[] = {"cur", "new", "tmp", "."};
    const struct timespec times[2] = {{.tv_sec = tree_time}, {.tv_sec = tree_time}};
    for (size_t i = 0; i < MHC_COUNT(parts); i++) {
        if (utimensat(folder_fd, parts[i], times, 0) != 0) {
            return fail_at(err, "date", path, parts[i]);
        }
    }
    return MHC_OK;
}

static int maildir_folder_close(struct mhc_store *store, struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    int rc = write_keywords(maildir, err);
    if (rc == MHC_OK && !maildir->is_work_day) {
        rc = set_tree_times(maildir->folder_fd, mhc_buf_str(&maildir->folder_path), err);
    }
    close_folder_fds(maildir);
    maildir->folder = NULL;
    return rc;
}

static int maildir_mailbox_close(struct mhc_store *store, struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    const char *path = mhc_buf_str(&maildir->user_path);
    int fd = -1;
    int rc = open_directory(AT_FDCWD, path, &fd, err);
    if (rc == MHC_OK && maildir->subscriptions.len > 0) {
        rc = write_file(maildir, fd, path, "subscriptions", &maildir->subscriptions, err);
    }
    if (rc == MHC_OK && !maildir->is_work_day) {
        rc = set_tree_times(fd, path, err);
    }
    close_fd(&fd);
    return rc;
}

/* --- messages --- */

static char keyword_letter(struct maildir *maildir, size_t keyword)
{
    _Static_assert(MHC_KEYWORD_COUNT <= 26, "a keyword needs a letter");
    if (maildir->letters[keyword] == NO_LETTER) {
        maildir->letters[keyword] = maildir->letter_count++;
    }
    return (char)('a' + maildir->letters[keyword]);
}

static void add_flag_letters(struct mhc_buf *name, unsigned flags)
{
    static const char letters[] = "DFRST"; /* in the order of the flags, and of ASCII */
    for (size_t i = 0; i < MHC_FLAG_COUNT; i++) {
        if ((flags >> i & 1) != 0) {
            mhc_buf_putc(name, letters[i]);
        }
    }
}

static void add_keyword_letters(struct mhc_buf *name, struct maildir *maildir, uint32_t keywords)
{
    uint32_t letters = 0;
    for (size_t i = 0; i < MHC_KEYWORD_COUNT; i++) {
        if ((keywords >> i & 1) != 0) {
            letters |= 1u << (keyword_letter(maildir, i) - 'a');
        }
    }
    for (int i = 0; i < maildir->letter_count; i++) {
        if ((letters >> i & 1) != 0) {
            mhc_buf_putc(name, (char)('a' + i));
        }
    }
}

static void file_name(struct mhc_buf *name, struct maildir *maildir,
                      const struct mhc_message *message, const struct mhc_record *record)
{
    int64_t seconds = message->date.unix_seconds > 0 ? message->date.unix_seconds : 0;
    mhc_buf_printf(name, "%" PRId64 ".M%" PRIu64 "P1.corpus,S=%" PRIu64 ",W=%" PRIu64, seconds,
                   maildir->sequence++, mhc_message_size(message), record->size_bytes);
    if (!message->is_delivery) {
        mhc_buf_puts(name, ":2,");
        add_flag_letters(name, message->flags);
        add_keyword_letters(name, maildir, message->keywords);
    }
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t got = write(fd, bytes, len);
        if (got < 0 && errno != EINTR) {
            return -1;
        }
        if (got > 0) {
            bytes += got;
            len -= (size_t)got;
        }
    }
    return 0;
}

static int write_message(int fd, const struct mhc_message *message)
{
    char block[1024 * MHC_FILLER_LINE_BYTES];
    const struct timespec times[2] = {{.tv_sec = message->date.unix_seconds},
                                      {.tv_sec = message->date.unix_seconds}};
    if (write_all(fd, message->bytes.data, message->bytes.len) != 0) {
        return -1;
    }
    for (uint64_t at = 0; at < message->filler_bytes;) {
        uint64_t left = message->filler_bytes - at;
        size_t part = left < sizeof(block) ? (size_t)left : sizeof(block);
        mhc_filler_copy(block, at, part);
        if (write_all(fd, block, part) != 0) {
            return -1;
        }
        at += part;
    }
    return futimens(fd, times);
}

static int maildir_put(struct mhc_store *store, const struct mhc_message *message,
                       struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    struct mhc_record record;
    struct mhc_buf name = {0};
    int rc = MHC_OK;
    mhc_record_init(&record, message, store->report->manifest != NULL);
    mhc_buf_puts(&name, message->is_delivery ? "new/" : "cur/");
    file_name(&name, maildir, message, &record);
    const char *folder = mhc_buf_str(&maildir->folder_path);
    const char *entry = mhc_buf_str(&name) + strlen("cur/");
    int fd = openat(message->is_delivery ? maildir->new_fd : maildir->cur_fd, entry,
                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        rc = mhc_fail(err, MHC_EFAIL, "%s/%s is there already: this mailbox was filled before",
                      folder, name.data);
    } else if (fd < 0) {
        rc = fail_at(err, "create", folder, name.data);
    } else {
        bool is_good = write_message(fd, message) == 0;
        rc = is_good ? MHC_OK : fail_at(err, "write", folder, name.data);
        if (close(fd) != 0 && is_good) {
            rc = fail_at(err, "write", folder, name.data);
        }
    }
    if (rc == MHC_OK) {
        record.date.zone_minutes = 0; /* a file's time has no zone */
        mhc_report_message(store->report, maildir->folder, &record);
    }
    mhc_buf_done(&name);
    return rc;
}

/* --- work day --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct mhc_item *)a)->id, ((const struct mhc_item *)b)->id);
}

/* NULL where the directory cannot be read; errno says why. */
static DIR *open_stream(int directory_fd, const char *name)
{
    int fd = openat(directory_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        close_fd(&fd);
    }
    return stream;
}

static int maildir_list(struct mhc_store *store, struct mhc_buf *names_out, struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    const char *path = mhc_buf_str(&maildir->user_path);
    char **names = NULL;
    size_t count = 0;
    DIR *stream = open_stream(AT_FDCWD, path);
    maildir->is_work_day = true;
    if (stream == NULL) {
        return mhc_fail(err, MHC_EFAIL, "no mailbox at %s (%s): fill it before a work day", path,
                        strerror(errno));
    }
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        if (entry->d_name[0] == '.' && strspn(entry->d_name, ".") != strlen(entry->d_name)) {
            names = mhc_realloc(names, (count + 1) * sizeof(*names));
            names[count++] = mhc_strdup(entry->d_name + 1);
        }
    }
    closedir(stream);
    if (count > 0) {
        qsort(names, count, sizeof(*names), by_name);
    }
    mhc_buf_puts(names_out, "INBOX\n");
    for (size_t i = 0; i < count; i++) {
        mhc_buf_printf(names_out, "%s\n", names[i]);
        free(names[i]);
    }
    free(names);
    return MHC_OK;
}

static unsigned flags_of_name(const char *name)
{
    static const char letters[] = "DFRST";
    const char *info = strstr(name, ":2,");
    unsigned flags = 0;
    for (const char *at = info != NULL ? info + 3 : ""; *at != '\0'; at++) {
        const char *letter = strchr(letters, *at);
        flags |= letter != NULL ? 1u << (letter - letters) : 0;
    }
    return flags;
}

static int list_messages(struct maildir *maildir, const char *part, struct mhc_item_list *items,
                         struct mhc_err *err)
{
    DIR *stream = open_stream(maildir->folder_fd, part);
    struct mhc_buf id = {0};
    if (stream == NULL) {
        return fail_at(err, "read", mhc_buf_str(&maildir->folder_path), part);
    }
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        if (entry->d_name[0] != '.') {
            id.len = 0;
            mhc_buf_printf(&id, "%s/%s", part, entry->d_name);
            mhc_items_add(items, id.data, id.len, flags_of_name(entry->d_name));
        }
    }
    closedir(stream);
    mhc_buf_done(&id);
    return MHC_OK;
}

static int maildir_select(struct mhc_store *store, const char *name,
                          struct mhc_item_list *items_out, struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    close_folder_fds(maildir);
    maildir->folder_path.len = 0;
    mhc_buf_puts(&maildir->folder_path, mhc_buf_str(&maildir->user_path));
    if (strcmp(name, "INBOX") != 0) {
        mhc_buf_printf(&maildir->folder_path, "/.%s", name);
    }
    int rc = open_folder_fds(maildir, err);
    if (rc == MHC_OK) {
        rc = list_messages(maildir, "cur", items_out, err);
    }
    if (rc == MHC_OK) {
        rc = list_messages(maildir, "new", items_out, err);
    }
    if (rc == MHC_OK && items_out->count > 0) {
        qsort(items_out->items, items_out->count, sizeof(*items_out->items), by_id);
    }
    return rc;
}

static int maildir_set_flags(struct mhc_store *store, const struct mhc_item *item, unsigned flags,
                             struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    const char *base = item->id + strlen("cur/");
    const char *info = strstr(base, ":2,");
    size_t base_len = info != NULL ? (size_t)(info - base) : strlen(base);
    struct mhc_buf to = {0};
    mhc_buf_puts(&to, "cur/");
    mhc_buf_add(&to, base, base_len);
    mhc_buf_puts(&to, ":2,");
    add_flag_letters(&to, flags);
    for (const char *at = info != NULL ? info + 3 : ""; *at != '\0'; at++) {
        if (*at >= 'a' && *at <= 'z') {
            mhc_buf_putc(&to, *at);
        }
    }
    int rc = MHC_OK;
    if (renameat(maildir->folder_fd, item->id, maildir->folder_fd, mhc_buf_str(&to)) != 0) {
        rc = fail_at(err, "rename", mhc_buf_str(&maildir->folder_path), item->id);
    }
    mhc_buf_done(&to);
    return rc;
}

static int maildir_expunge(struct mhc_store *store, const struct mhc_item *const *items,
                           size_t count, struct mhc_err *err)
{
    struct maildir *maildir = maildir_of(store);
    for (size_t i = 0; i < count; i++) {
        if (unlinkat(maildir->folder_fd, items[i]->id, 0) != 0) {
            return fail_at(err, "remove", mhc_buf_str(&maildir->folder_path), items[i]->id);
        }
    }
    return MHC_OK;
}

static void maildir_free(struct mhc_store *store)
{
    struct maildir *maildir = maildir_of(store);
    close_folder_fds(maildir);
    mhc_buf_done(&maildir->user_path);
    mhc_buf_done(&maildir->folder_path);
    mhc_buf_done(&maildir->subscriptions);
    free(maildir);
}

static const struct mhc_store_ops maildir_ops = {
    .mailbox_open = maildir_mailbox_open,
    .folder_open = maildir_folder_open,
    .put = maildir_put,
    .folder_close = maildir_folder_close,
    .mailbox_close = maildir_mailbox_close,
    .list = maildir_list,
    .select = maildir_select,
    .set_flags = maildir_set_flags,
    .expunge = maildir_expunge,
    .free = maildir_free,
};

struct mhc_store *mhc_maildir_new(struct mhc_report *report, const char *root)
{
    struct maildir *maildir = mhc_alloc(sizeof(*maildir));
    maildir->store = (struct mhc_store){.ops = &maildir_ops, .report = report};
    maildir->root = root;
    maildir->folder_fd = -1;
    maildir->cur_fd = -1;
    maildir->new_fd = -1;
    return &maildir->store;
}
