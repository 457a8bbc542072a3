/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Input text: read with a cap, checked, pointed at in errors. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

/* A suggestion may differ by this many letters, and by a third of the name. */
enum { NEAR_MAX = 3 };

#define READ_FIRST_BYTES ((size_t)64 * 1024)

int plan_fail(struct mh_err *err, const char *file, struct mh_pos pos, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)mh_err_set(err, MH_EUSAGE, "plan", "%s", text);
    if (pos.column)
        mh_err_at(err, "%s:%u:%u", file, pos.line, pos.column);
    else if (pos.line)
        mh_err_at(err, "%s:%u", file, pos.line);
    else
        mh_err_at(err, "%s", file);
    return MH_EUSAGE;
}

const char *plan_quote(char buf[PLAN_QUOTE_BYTES], const char *text, size_t len)
{
    enum { SHOWN_BYTES = 60 };
    size_t cut = len;
    if (cut > SHOWN_BYTES) {
        cut = SHOWN_BYTES;
        while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80)
            cut--;
    }
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_add_printable(&b, text, cut);
    (void)snprintf(buf, PLAN_QUOTE_BYTES, "'%.110s%s'", mh_buf_str(&b), cut < len ? "…" : "");
    mh_buf_done(&b);
    return buf;
}

/* --- files ------------------------------------------------------------------------------------ */

/* A file on its way into memory. */
struct loading {
    char *data; /* owned; may hold passwords */
    size_t len;
    size_t cap;
};

static void loading_done(struct loading *l)
{
    if (l->data)
        explicit_bzero(l->data, l->cap);
    mh_free(l->data);
}

/* realloc() would leave a copy behind. */
static int loading_grow(struct loading *l, struct mh_err *err)
{
    size_t cap = l->cap ? l->cap * 2 : READ_FIRST_BYTES;
    char *data = mh_alloc(cap);
    if (!data)
        return plan_nomem(err);
    if (l->len)
        memcpy(data, l->data, l->len);
    size_t len = l->len;
    loading_done(l);
    *l = (struct loading){data, len, cap};
    return 0;
}

static int read_all(int fd, const char *path, const char *what, size_t max, struct loading *l,
                    struct mh_err *err)
{
    for (;;) {
        int rc = l->cap - l->len < 2 ? loading_grow(l, err) : 0;
        if (rc)
            return rc;
        ssize_t n = read(fd, l->data + l->len, l->cap - l->len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mh_err_sys(err, MH_EUSAGE, "plan", errno, "cannot read the %s %.200s", what,
                              path);
        if (n == 0)
            break;
        l->len += (size_t)n;
        if (l->len > max)
            return mh_err_set(err, MH_EUSAGE, "plan", "%.200s is larger than %zu KiB: not a %s",
                              path, max / 1024, what);
    }
    l->data[l->len] = '\0';
    return 0;
}

int plan_read_file(const char *path, const char *what, size_t max, char **text_out, size_t *len_out,
                   unsigned *mode_out, struct mh_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return mh_err_sys(err, errno == ENOENT ? MH_ENOENT : MH_EUSAGE, "plan", errno,
                          "cannot open the %s %.200s", what, path);
    struct stat st = {0};
    struct loading l = {NULL, 0, 0};
    int rc = 0;
    if (fstat(fd, &st) != 0)
        rc = mh_err_sys(err, MH_EUSAGE, "plan", errno, "cannot look at the %s %.200s", what, path);
    else
        rc = read_all(fd, path, what, max, &l, err);
    (void)close(fd);
    if (rc) {
        loading_done(&l);
        return rc;
    }
    *mode_out = st.st_mode & 07777u;
    *len_out = l.len;
    *text_out = l.data;
    return 0;
}

/* --- checking --------------------------------------------------------------------------------- */

static bool is_forbidden(const char *s, size_t seq)
{
    unsigned char c = (unsigned char)s[0];
    bool is_c1 = seq == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0;
    return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f || is_c1;
}

static int fail_encoding(const char *file, const char *text, size_t len, struct mh_pos pos,
                         struct mh_err *err)
{
    bool is_utf16 =
        len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
    if (is_utf16 && pos.line == 1 && pos.column == 1)
        return plan_fail(err, file, pos, "the file is UTF-16; save it as UTF-8");
    return plan_fail(err, file, pos, "byte 0x%02X is not UTF-8; save the file as UTF-8",
                     (unsigned char)text[0]);
}

int plan_check_text(const char *file, const char *text, size_t len, size_t *start_out,
                    struct mh_err *err)
{
    static const char bom[] = "\xef\xbb\xbf";
    struct mh_pos pos = {1, 1};
    size_t start = len >= 3 && memcmp(text, bom, 3) == 0 ? 3 : 0;
    for (size_t i = start; i < len;) {
        size_t seq = mh_utf8_seq(text + i, len - i);
        if (seq == 0)
            return fail_encoding(file, text + i, len - i, pos, err);
        if (text[i] == '\0')
            return plan_fail(err, file, pos,
                             "a NUL byte; the file is damaged or UTF-16: save it as UTF-8 text");
        if (is_forbidden(text + i, seq))
            return plan_fail(err, file, pos, "control character 0x%02X; remove it",
                             (unsigned char)text[i + seq - 1]);
        if (seq == 3 && memcmp(text + i, bom, 3) == 0)
            return plan_fail(err, file, pos, "a byte order mark in the middle; remove it");
        bool is_line_end =
            text[i] == '\n' || (text[i] == '\r' && (i + 1 == len || text[i + 1] != '\n'));
        pos.column = is_line_end ? 1 : pos.column + 1;
        pos.line += is_line_end;
        i += seq;
    }
    *start_out = start;
    return 0;
}

static const char *name_at(const void *names, size_t i, size_t stride)
{
    const char *name = *(const char *const *)((const char *)names + i * stride);
    mh_assert(name);
    return name;
}

const char *plan_nearest(const char *name, const void *names, size_t n, size_t stride)
{
    const char *best = NULL;
    unsigned allowed = (unsigned)MH_MIN((size_t)NEAR_MAX, 1 + strlen(name) / 3);
    for (size_t i = 0; i < n; i++) {
        const char *known = name_at(names, i, stride);
        unsigned distance = mh_str_distance(name, known, allowed);
        if (distance < allowed + (best == NULL)) {
            best = known;
            allowed = distance;
        }
    }
    /* "password" is far from "password-file", but means it. */
    for (size_t i = 0; !best && i < n; i++) {
        const char *known = name_at(names, i, stride);
        if (strlen(name) >= 4 && strlen(known) >= 4 &&
            (mh_str_istarts(known, name) || mh_str_istarts(name, known)))
            best = known;
    }
    return best;
}

/* --- paths and lists -------------------------------------------------------------------------- */

char *plan_path_in(const char *folder, const char *path)
{
    if (path[0] == '/' || strcmp(folder, ".") == 0)
        return mh_strdup(path);
    return mh_asprintf("%s%s%s", folder, mh_str_starts(folder, "/") && !folder[1] ? "" : "/", path);
}

char *plan_path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mh_strdup(".");
    return mh_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int plan_strings_add(struct mh_strings *s, const char *text, size_t len, struct mh_err *err)
{
    char **v = mh_realloc_array(s->v, s->n + 2, sizeof *v);
    if (!v)
        return plan_nomem(err);
    s->v = v;
    v[s->n] = mh_strndup(text, len);
    if (!v[s->n])
        return plan_nomem(err);
    v[++s->n] = NULL;
    return 0;
}

void mh_strings_done(struct mh_strings *s)
{
    for (size_t i = 0; i < s->n; i++)
        mh_free(s->v[i]);
    mh_free(s->v);
    *s = (struct mh_strings){NULL, 0};
}

int plan_note(struct mh_plan *p, struct mh_err *err, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_add_printable(&b, text, strlen(text));
    int rc = mh_buf_failed(&b) ? plan_nomem(err)
                               : plan_strings_add(&p->notes, mh_buf_str(&b), b.len, err);
    mh_buf_done(&b);
    return rc;
}
