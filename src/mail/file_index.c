/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mail/file_index.h"

#include <string.h>

#include "base/mem.h"
#include "mail/file_name.h"

enum { FIELDS = 6 };

struct mh_file_index {
    struct mh_buf text;           /* the file; records borrow keywords from it */
    struct mh_file_record *slots; /* owned: open addressing, uid 0 is free */
    size_t mask;                  /* number of slots - 1 */
    size_t n;
    char **extra; /* owned: keywords that came by put */
    size_t n_extra, cap_extra;
    size_t odd_lines;
};

/* In the order of the letters, which is the order of Maildir. */
static const struct {
    char letter;
    uint8_t flag;
} letters[] = {
    {'D', MH_DRAFT}, {'F', MH_FLAGGED}, {'R', MH_ANSWERED}, {'S', MH_SEEN}, {'T', MH_DELETED},
};

/* --- the table -------------------------------------------------------------------------------- */

static struct mh_file_record *slot_for(const struct mh_file_index *x, uint64_t uid)
{
    size_t i = (size_t)uid & x->mask; /* a uid is a digest already */
    while (x->slots[i].uid && x->slots[i].uid != uid)
        i = (i + 1) & x->mask;
    return &x->slots[i];
}

static int grow(struct mh_file_index *x, struct mh_err *err)
{
    struct mh_file_index old = *x;
    size_t size = (x->mask + 1) * 2;
    x->slots = mh_zalloc(size * sizeof *x->slots);
    if (!x->slots) {
        x->slots = old.slots;
        return mh_err_nomem(err);
    }
    x->mask = size - 1;
    for (size_t i = 0; i <= old.mask; i++)
        if (old.slots[i].uid)
            *slot_for(x, old.slots[i].uid) = old.slots[i];
    mh_free(old.slots);
    return 0;
}

static int put(struct mh_file_index *x, const struct mh_file_record *rec, struct mh_err *err)
{
    if ((x->n + 1) * 2 > x->mask + 1) {
        int rc = grow(x, err);
        if (rc < 0)
            return rc;
    }
    struct mh_file_record *slot = slot_for(x, rec->uid);
    x->n += slot->uid == 0;
    *slot = *rec;
    return 0;
}

const struct mh_file_record *mh_file_index_find(const struct mh_file_index *x, uint64_t uid)
{
    const struct mh_file_record *slot = slot_for(x, uid);
    return slot->uid ? slot : NULL;
}

int mh_file_index_put(struct mh_file_index *x, const struct mh_file_record *rec, struct mh_err *err)
{
    if (!mh_grow(x->extra, x->cap_extra, x->n_extra + 1))
        return mh_err_nomem(err);
    char *own = mh_strndup(rec->keywords_len ? rec->keywords : "", rec->keywords_len);
    if (!own)
        return mh_err_nomem(err);
    x->extra[x->n_extra++] = own;
    struct mh_file_record copy = *rec;
    copy.keywords = own;
    return put(x, &copy, err);
}

size_t mh_file_index_odd_lines(const struct mh_file_index *x)
{
    return x->odd_lines;
}

void mh_file_index_free(struct mh_file_index *x)
{
    if (!x)
        return;
    mh_buf_done(&x->text);
    mh_free(x->slots);
    for (size_t i = 0; i < x->n_extra; i++)
        mh_free(x->extra[i]);
    mh_free(x->extra);
    mh_free(x);
}

/* --- lines ------------------------------------------------------------------------------------ */

struct field {
    char *s;
    size_t len;
};

/* The next line of TEXT from *AT on, split at tabs; the last field takes the rest. Returns the number
 * of fields, 0 at the end. A last line without its end was torn by a crash and is passed over. */
static size_t next_line(const struct mh_buf *text, size_t *at, struct field *fields, size_t max)
{
    char *p = text->data + *at;
    char *lf = text->len > *at ? memchr(p, '\n', text->len - *at) : NULL;
    if (!lf)
        return 0;
    *at += (size_t)(lf - p) + 1;
    size_t n = 0;
    for (;;) {
        char *tab = n + 1 < max ? memchr(p, '\t', (size_t)(lf - p)) : NULL;
        fields[n++] = (struct field){p, (size_t)((tab ? tab : lf) - p)};
        if (!tab)
            return n;
        p = tab + 1;
    }
}

static bool field_is(const struct field *f, const char *s)
{
    return f->len == strlen(s) && memcmp(f->s, s, f->len) == 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes mh_path_add_component() in place. */
static void unescape(struct field *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->len; i++) {
        int high = f->s[i] == '%' && i + 2 < f->len ? hex_value(f->s[i + 1]) : -1;
        int low = high >= 0 ? hex_value(f->s[i + 2]) : -1;
        if (low < 0) {
            f->s[n++] = f->s[i];
        } else {
            f->s[n++] = (char)(high * 16 + low);
            i += 2;
        }
    }
    f->len = n;
}

static bool parse_flags(const struct field *f, uint8_t *flags)
{
    *flags = 0;
    if (field_is(f, "-"))
        return true;
    for (size_t i = 0; i < f->len; i++) {
        size_t j = 0;
        while (j < MH_ARRAY_LEN(letters) && letters[j].letter != f->s[i])
            j++;
        if (j == MH_ARRAY_LEN(letters))
            return false;
        *flags |= letters[j].flag;
    }
    return f->len > 0;
}

/* "2026-11-22T13:05:00+01:00", by way of the other notation's parser, which knows the calendar. */
static bool parse_date(const struct field *f, struct mh_date *d)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    *d = (struct mh_date){0};
    if (field_is(f, "-"))
        return true;
    uint64_t month = 0;
    if (f->len != 25 || f->s[4] != '-' || f->s[7] != '-' || f->s[10] != 'T' || f->s[22] != ':' ||
        !mh_parse_u64(f->s + 5, 2, 12, &month) || month == 0)
        return false;
    char imap[26] = {
        f->s[8], f->s[9], '-', names[month * 3 - 3], names[month * 3 - 2], names[month * 3 - 1],
        '-'};
    memcpy(imap + 7, f->s, 4);
    imap[11] = ' ';
    memcpy(imap + 12, f->s + 11, 8);
    imap[20] = ' ';
    memcpy(imap + 21, f->s + 19, 3);
    memcpy(imap + 24, f->s + 23, 2);
    return mh_date_parse_imap(imap, sizeof imap, d);
}

static bool parse_record(struct field *f, size_t n, struct mh_file_record *r)
{
    *r = (struct mh_file_record){0};
    if (n != FIELDS || f[0].len == 0 || !parse_flags(&f[1], &r->flags) ||
        !parse_date(&f[2], &r->date))
        return false;
    r->is_raw = field_is(&f[3], "raw");
    if (!r->is_raw && !field_is(&f[3], "-"))
        return false;
    r->has_octets = !field_is(&f[4], "-");
    if (r->has_octets && !mh_parse_u64(f[4].s, f[4].len, INT64_MAX, &r->octets))
        return false;
    unescape(&f[0]);
    unescape(&f[5]);
    r->uid = mh_uid_from_name(f[0].s, f[0].len);
    r->keywords = f[5].s;
    r->keywords_len = f[5].len;
    return true;
}

void mh_file_index_format(struct mh_buf *b, const char *name, const struct mh_file_record *rec)
{
    mh_path_add_component(b, name, strlen(name));
    mh_buf_addc(b, '\t');
    size_t before = b->len;
    for (size_t i = 0; i < MH_ARRAY_LEN(letters); i++)
        if (rec->flags & letters[i].flag)
            mh_buf_addc(b, letters[i].letter);
    if (b->len == before)
        mh_buf_addc(b, '-');
    char date[32] = "-";
    if (rec->date.is_set)
        mh_date_format_iso(&rec->date, date);
    mh_buf_addf(b, "\t%s\t%s\t", date, rec->is_raw ? "raw" : "-");
    if (rec->has_octets)
        mh_buf_addf(b, "%llu\t", (unsigned long long)rec->octets);
    else
        mh_buf_adds(b, "-\t");
    mh_path_add_component(b, rec->keywords_len ? rec->keywords : "", rec->keywords_len);
    mh_buf_addc(b, '\n');
}

/* --- loading ---------------------------------------------------------------------------------- */

static int parse_lines(struct mh_file_index *x, struct mh_err *err)
{
    struct field fields[FIELDS];
    size_t n = 0;
    size_t at = 0;
    while ((n = next_line(&x->text, &at, fields, FIELDS)) != 0) {
        struct mh_file_record rec;
        if (!parse_record(fields, n, &rec)) {
            x->odd_lines++;
            continue;
        }
        int rc = put(x, &rec, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int mh_file_index_load(int dir_fd, const char *file, struct mh_file_index **out, struct mh_err *err)
{
    enum { SLOTS_FIRST = 64 };
    struct mh_file_index *x = mh_zalloc(sizeof *x);
    if (!x)
        return mh_err_nomem(err);
    x->slots = mh_zalloc(SLOTS_FIRST * sizeof *x->slots);
    x->mask = SLOTS_FIRST - 1;
    int rc = x->slots ? 0 : mh_err_nomem(err);
    if (rc == 0)
        rc = mh_file_read_all(dir_fd, file, MH_FILE_INDEX_MAX_BYTES, &x->text, err);
    if (rc == 0 && x->text.len)
        rc = parse_lines(x, err);
    if (rc < 0 && rc != MH_ENOENT) {
        mh_file_index_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

/* --- changes ---------------------------------------------------------------------------------- */

bool mh_file_words_have(const char *words, size_t words_len, const char *word, size_t len)
{
    for (size_t i = 0; i < words_len;) {
        size_t end = i;
        while (end < words_len && words[end] != ' ')
            end++;
        bool same = end - i == len;
        for (size_t j = 0; same && j < len; j++) {
            char a = words[i + j];
            char b = word[j];
            a = (char)(a >= 'A' && a <= 'Z' ? a + 32 : a);
            b = (char)(b >= 'A' && b <= 'Z' ? b + 32 : b);
            same = a == b;
        }
        if (same)
            return true;
        i = end + 1;
    }
    return false;
}

/* Appends the words of LIST that OTHER does not hold. */
static void add_words_without(struct mh_buf *b, const char *list, size_t list_len,
                              const char *other, size_t other_len)
{
    for (size_t i = 0; i < list_len;) {
        size_t end = i;
        while (end < list_len && list[end] != ' ')
            end++;
        if (end > i && !mh_file_words_have(other, other_len, list + i, end - i)) {
            if (b->len)
                mh_buf_addc(b, ' ');
            mh_buf_add(b, list + i, end - i);
        }
        i = end + 1;
    }
}

void mh_file_record_change(const struct mh_file_record *rec, bool add, uint8_t flags,
                           const char *keywords, struct mh_buf *words, struct mh_file_record *out)
{
    const char *change = keywords ? keywords : "";
    const char *had = rec->keywords_len ? rec->keywords : "";
    *out = *rec;
    out->flags = (uint8_t)(add ? rec->flags | flags : rec->flags & ~flags);
    mh_buf_reset(words);
    if (add)
        mh_buf_add(words, had, rec->keywords_len);
    if (add)
        add_words_without(words, change, strlen(change), had, rec->keywords_len);
    else
        add_words_without(words, had, rec->keywords_len, change, strlen(change));
    out->keywords = mh_buf_str(words);
    out->keywords_len = words->len;
}

int mh_file_index_change(struct mh_file_index *x, const char *name,
                         const struct mh_file_record *had, const struct mh_file_flags *change,
                         struct mh_buf *lines, struct mh_err *err)
{
    const struct mh_file_record *known = mh_file_index_find(x, had->uid);
    struct mh_buf words = MH_BUF_INIT;
    struct mh_file_record now;
    mh_file_record_change(known ? known : had, change->add, change->flags, change->keywords, &words,
                          &now);
    mh_file_index_format(lines, name, &now);
    int rc = mh_buf_failed(&words) ? mh_err_nomem(err) : mh_file_index_put(x, &now, err);
    mh_buf_done(&words);
    return rc;
}

uint32_t mh_file_uidvalidity(const char *path)
{
    uint32_t v = (uint32_t)(mh_uid_from_name(path, strlen(path)) & INT32_MAX);
    return v ? v : 1;
}

/* --- folders ---------------------------------------------------------------------------------- */

static void note_fact(struct mh_folder *folder, const struct field *f)
{
    if (field_is(&f[1], "role")) {
        folder->role = mh_role_parse(f[2].s, f[2].len);
        folder->attrs |= MH_FOLDER_ROLE_ANNOUNCED;
        if (folder->role == MH_ROLE_NONE)
            folder->attrs &= ~(unsigned)MH_FOLDER_ROLE_ANNOUNCED;
    } else if (field_is(&f[1], "subscribed")) {
        folder->attrs |= MH_FOLDER_SUBSCRIBED;
    }
}

int mh_file_folders_load(int root_fd, struct mh_folders *l, struct mh_err *err)
{
    struct mh_buf text = MH_BUF_INIT;
    int rc = mh_file_read_all(root_fd, MH_FILE_FOLDERS_NAME, MH_FILE_FOLDERS_MAX_BYTES, &text, err);
    bool has_subscriptions = false;
    struct field f[3];
    size_t at = 0;
    size_t n = 0;
    while (rc == 0 && (n = next_line(&text, &at, f, 3)) != 0) {
        f[0].s[f[0].len] = '\0';
        struct mh_folder *folder = n == 3 ? mh_folders_find(l, f[0].s) : NULL;
        has_subscriptions |= n == 3 && field_is(&f[1], "subscribed");
        if (folder)
            note_fact(folder, f);
    }
    mh_buf_done(&text);
    for (size_t i = 0; !has_subscriptions && i < l->n; i++)
        l->v[i].attrs |= MH_FOLDER_SUBSCRIBED;
    return rc == MH_ENOENT ? 0 : rc;
}

static int note(int root_fd, const char *path, const char *what, const char *value,
                struct mh_err *err)
{
    struct mh_buf line = MH_BUF_INIT;
    mh_buf_addf(&line, "%s\t%s\t%s\n", path, what, value);
    int rc = mh_file_append_text(root_fd, MH_FILE_FOLDERS_NAME, &line, err);
    mh_buf_done(&line);
    return rc;
}

int mh_file_folders_note_role(int root_fd, const char *path, enum mh_role role, struct mh_err *err)
{
    return role == MH_ROLE_NONE ? 0 : note(root_fd, path, "role", mh_role_name(role), err);
}

int mh_file_folders_note_subscribed(int root_fd, const char *path, struct mh_err *err)
{
    return note(root_fd, path, "subscribed", "yes", err);
}

int mh_file_folders_finish(struct mh_folders *l, const struct mh_log *log, struct mh_err *err)
{
    bool changed = false;
    size_t first = 0; /* of those with one path */
    mh_folders_sort(l);
    for (size_t i = 1; i < l->n; i++) {
        struct mh_folder *f = &l->v[i];
        if (strcmp(f->path, l->v[first].path) != 0) {
            first = i;
            continue;
        }
        char *path =
            mh_asprintf("%s~%016llx", f->path,
                        (unsigned long long)mh_uid_from_name(f->native, strlen(f->native)));
        if (!path)
            return mh_err_nomem(err);
        mh_log(log, MH_LOG_WARNING, "two directories stand for the folder %s: one is read as %s",
               f->path, path);
        mh_free(f->path);
        f->path = path;
        changed = true;
    }
    if (changed)
        mh_folders_sort(l);
    struct mh_folder *inbox = mh_folders_find(l, "INBOX");
    if (inbox) {
        inbox->role = MH_ROLE_INBOX;
        inbox->attrs |= MH_FOLDER_ROLE_ANNOUNCED;
    }
    return 0;
}
