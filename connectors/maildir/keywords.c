/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * dovecot-keywords: lines "0 $Forwarded", the number being the letter's (0 = a). Written as Dovecot
 * writes it: into dovecot-keywords.lock, which is the lock as well, renamed over the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_index.h"
#include "mail/file_name.h"

#define KEYWORDS_FILE      "dovecot-keywords"
#define KEYWORDS_LOCK      "dovecot-keywords.lock"
#define KEYWORDS_MAX_BYTES ((size_t)64 << 10)

enum {
    LOCK_STALE_S = 120, /* Dovecot's own idea of a lock whose holder died */
    LOCK_TRIES = 100,
    LOCK_WAIT_MS = 20,
    LOST_TEXT_MAX = 512, /* of names of lost keywords in one line of the log */
};

void maildir_keywords_done(struct maildir_keywords *k)
{
    for (size_t i = 0; i < MAILDIR_KEYWORDS; i++)
        mh_free(k->names[i]);
    mh_buf_done(&k->lost);
    *k = (struct maildir_keywords){.n_lost = 0};
}

/* One line; what is no such line is passed over, as Dovecot does. */
static int load_line(struct maildir_keywords *k, const char *line, size_t len, struct mh_err *err)
{
    const char *blank = len ? memchr(line, ' ', len) : NULL;
    uint64_t index = 0;
    if (!blank || !mh_parse_u64(line, (size_t)(blank - line), MAILDIR_KEYWORDS - 1, &index))
        return 0;
    const char *name = blank + 1;
    size_t name_len = len - (size_t)(name - line);
    if (name_len == 0 || name_len > MAILDIR_KEYWORD_MAX || memchr(name, ' ', name_len) ||
        memchr(name, '\0', name_len))
        return 0;
    mh_free(k->names[index]);
    k->names[index] = mh_strndup(name, name_len);
    return k->names[index] ? 0 : mh_err_nomem(err);
}

int maildir_keywords_load(int dir_fd, struct maildir_keywords *k, struct mh_err *err)
{
    *k = (struct maildir_keywords){.n_lost = 0};
    struct mh_buf text = MH_BUF_INIT;
    int rc = mh_file_read_all(dir_fd, KEYWORDS_FILE, KEYWORDS_MAX_BYTES, &text, err);
    for (size_t at = 0; rc == 0 && at < text.len;) {
        const char *line = text.data + at;
        const char *lf = memchr(line, '\n', text.len - at);
        size_t len = lf ? (size_t)(lf - line) : text.len - at;
        rc = load_line(k, line, len, err);
        at += len + 1;
    }
    mh_buf_done(&text);
    if (rc < 0 && rc != MH_ENOENT)
        maildir_keywords_done(k);
    return rc == MH_ENOENT ? 0 : rc;
}

/* The letter of WORD, or MAILDIR_KEYWORDS. */
static unsigned find_letter(const struct maildir_keywords *k, const char *word, size_t len)
{
    unsigned i = 0;
    while (i < MAILDIR_KEYWORDS && !(k->names[i] && mh_mem_ieq(word, len, k->names[i])))
        i++;
    return i;
}

/* The letter of WORD, a new one if there is any left, or MAILDIR_KEYWORDS. */
static int letter_for(struct maildir_keywords *k, const char *word, size_t len, unsigned *out,
                      struct mh_err *err)
{
    *out = find_letter(k, word, len);
    if (*out < MAILDIR_KEYWORDS || len > MAILDIR_KEYWORD_MAX)
        return 0;
    unsigned unused = 0;
    while (unused < MAILDIR_KEYWORDS && k->names[unused])
        unused++;
    *out = unused;
    if (unused == MAILDIR_KEYWORDS)
        return 0;
    k->names[unused] = mh_strndup(word, len);
    k->is_unsaved = true;
    return k->names[unused] ? 0 : mh_err_nomem(err);
}

/* Keeps the name of a keyword that has no letter for the report. */
static void note_lost(struct maildir_keywords *k, const char *word, size_t len)
{
    if (mh_file_words_have(mh_buf_str(&k->lost), k->lost.len, word, len))
        return;
    if (k->lost.len + len > LOST_TEXT_MAX) {
        k->has_lost_more = true;
        return;
    }
    if (k->lost.len)
        mh_buf_addc(&k->lost, ' ');
    mh_buf_add(&k->lost, word, len);
    k->n_lost++;
}

void maildir_keywords_report(struct maildir_keywords *k, const struct mh_log *log, const char *path)
{
    if (k->n_lost || k->has_lost_more)
        mh_log(log, MH_LOG_WARNING,
               "folder %s: a Maildir holds %d different keywords at most: %s%zu were not kept: %s",
               path, MAILDIR_KEYWORDS, k->has_lost_more ? "more than " : "", k->n_lost,
               mh_buf_str(&k->lost));
    mh_buf_reset(&k->lost);
    k->n_lost = 0;
    k->has_lost_more = false;
}

int maildir_keywords_letters(struct maildir_keywords *k, const char *words, uint32_t *letters_out,
                             bool *is_new_out, unsigned *n_lost_out, struct mh_err *err)
{
    *letters_out = 0;
    for (const char *p = words + strspn(words, " "); *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        unsigned letter = MAILDIR_KEYWORDS;
        int rc = letter_for(k, p, len, &letter, err);
        if (rc < 0)
            return rc;
        if (letter < MAILDIR_KEYWORDS) {
            *letters_out |= 1u << letter;
        } else {
            note_lost(k, p, len);
            ++*n_lost_out;
        }
        p += len;
    }
    *is_new_out |= k->is_unsaved;
    return 0;
}

uint32_t maildir_keywords_known(const struct maildir_keywords *k, const char *words)
{
    uint32_t letters = 0;
    for (const char *p = words + strspn(words, " "); *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        unsigned letter = find_letter(k, p, len);
        letters |= letter < MAILDIR_KEYWORDS ? 1u << letter : 0;
        p += len;
    }
    return letters;
}

/* --- saving ----------------------------------------------------------------------------------- */

/* Looks whether the lock file is still the one of SEEN, which then is the one that lies there. */
static bool is_still(int dir_fd, struct stat *seen)
{
    struct stat now = {0};
    (void)fstatat(dir_fd, KEYWORDS_LOCK, &now, AT_SYMLINK_NOFOLLOW);
    bool is_same = now.st_ino == seen->st_ino && now.st_mtim.tv_sec == seen->st_mtim.tv_sec &&
                   now.st_mtim.tv_nsec == seen->st_mtim.tv_nsec;
    *seen = now;
    return is_same;
}

/*
 * A lock that nobody has touched while we waited, and whose time is far from now, either way: the clock may have been set
 * since. By the clock alone a jump of it would break the lock of somebody who is writing, or keep a dead one for ever.
 */
static bool break_stale(int dir_fd, const struct stat *seen)
{
    int64_t age_s = (int64_t)time(NULL) - (int64_t)seen->st_mtim.tv_sec;
    return seen->st_ino != 0 && (age_s > LOCK_STALE_S || age_s < -LOCK_STALE_S) &&
           unlinkat(dir_fd, KEYWORDS_LOCK, 0) == 0;
}

static int take_lock(int dir_fd, int *fd_out, struct mh_err *err)
{
    struct stat seen = {0};
    bool was_still = true; /* all the time but for the first look */
    for (int i = 0; i <= LOCK_TRIES; i++) {
        int fd = openat(dir_fd, KEYWORDS_LOCK, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0) {
            *fd_out = fd;
            return 0;
        }
        if (errno != EEXIST)
            return mh_err_sys(err, MH_EFOLDER, "maildir", errno, "cannot make %s", KEYWORDS_LOCK);
        was_still &= is_still(dir_fd, &seen) || i == 0;
        if (i == LOCK_TRIES - 1 && !(was_still && break_stale(dir_fd, &seen)))
            break;
        /* A file that exists tells nobody when it goes: asking again is all there is. */
        struct timespec pause = {0, LOCK_WAIT_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    return mh_err_set(err, MH_EFOLDER, "maildir",
                      "%s is held by another program: stop it or remove the file", KEYWORDS_LOCK);
}

static int write_table(int fd, const struct maildir_keywords *k)
{
    struct mh_buf text = MH_BUF_INIT;
    for (unsigned i = 0; i < MAILDIR_KEYWORDS; i++)
        if (k->names[i])
            mh_buf_addf(&text, "%u %s\n", i, k->names[i]);
    int errnum = mh_buf_failed(&text) ? ENOMEM : 0;
    for (size_t done = 0; errnum == 0 && done < text.len;) {
        ssize_t n = write(fd, text.data + done, text.len - done);
        if (n < 0 && errno != EINTR)
            errnum = errno;
        done += n > 0 ? (size_t)n : 0;
    }
    if (errnum == 0 && fsync(fd) < 0)
        errnum = errno;
    mh_buf_done(&text);
    return errnum;
}

/* Ours added to what is in the file now; *CHANGED_OUT when a letter of ours means something else. */
static int merge(struct maildir_keywords *in_file, const struct maildir_keywords *ours,
                 bool *changed_out, struct mh_err *err)
{
    *changed_out = false;
    for (unsigned i = 0; i < MAILDIR_KEYWORDS; i++) {
        unsigned letter = i;
        if (!ours->names[i])
            continue;
        int rc = letter_for(in_file, ours->names[i], strlen(ours->names[i]), &letter, err);
        if (rc < 0)
            return rc;
        *changed_out |= letter != i;
    }
    return 0;
}

int maildir_keywords_save(int dir_fd, struct maildir_keywords *k, bool *changed_out,
                          struct mh_err *err)
{
    int fd = -1;
    struct maildir_keywords now;
    int rc = take_lock(dir_fd, &fd, err);
    if (rc < 0)
        return rc;
    rc = maildir_keywords_load(dir_fd, &now, err);
    if (rc == 0)
        rc = merge(&now, k, changed_out, err);
    int errnum = rc == 0 ? write_table(fd, &now) : 0;
    (void)close(fd);
    if (rc == 0 && errnum == 0 && renameat(dir_fd, KEYWORDS_LOCK, dir_fd, KEYWORDS_FILE) < 0)
        errnum = errno;
    if (errnum)
        rc = mh_err_sys(err, MH_EFOLDER, "maildir", errnum, "cannot write %s", KEYWORDS_FILE);
    if (rc < 0) {
        (void)unlinkat(dir_fd, KEYWORDS_LOCK, 0);
        maildir_keywords_done(&now);
        return rc;
    }
    for (size_t i = 0; i < MAILDIR_KEYWORDS; i++) {
        mh_free(k->names[i]);
        k->names[i] = now.names[i];
    }
    k->is_unsaved = false;
    return 0;
}
