/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Folder names: raw component -> escaped UTF-8 -> modified UTF-7 -> part of a directory's name.
 */
#include <string.h>

#include "base/limits.h"
#include "connectors/maildir/maildir_priv.h"
#include "mail/file_name.h"
#include "wire/mutf7.h"

/* A component's escaped form is never cut by itself: the whole name is (encode_short). */
static const struct mh_file_naming namings[] = {
    [MAILDIR_PLUS_PLUS] = {.special = ".", .no_leading_tilde = true, .max_bytes = SIZE_MAX},
    [MAILDIR_FS] = {.special = "", .no_leading_tilde = true, .max_bytes = SIZE_MAX},
};

/* The names of the boxes inside a folder, which in fs layout stand beside its children. */
static bool is_box_name(const char *s, size_t len)
{
    return len == 3 &&
           (memcmp(s, "cur", 3) == 0 || memcmp(s, "new", 3) == 0 || memcmp(s, "tmp", 3) == 0);
}

/* --- one component ---------------------------------------------------------------------------- */

static int encode_component(enum maildir_layout layout, const struct mh_buf *raw,
                            struct mh_buf *out, struct mh_err *err)
{
    struct mh_buf text = MH_BUF_INIT;
    int rc = 0;
    if (layout == MAILDIR_FS && is_box_name(mh_buf_str(raw), raw->len))
        mh_buf_addf(&text, "%%%02X%s", (unsigned char)raw->data[0], raw->data + 1);
    else
        (void)mh_file_name_encode(&text, mh_buf_str(raw), raw->len, &namings[layout]);
    if (mh_buf_failed(&text) || !mh_mutf7_encode(mh_buf_str(&text), text.len, out) ||
        mh_buf_failed(out))
        rc = mh_err_nomem(err);
    mh_buf_done(&text);
    return rc;
}

/* What is no modified UTF-7 (8-bit names of other programs) stands for itself. */
static void decode_component(enum maildir_layout layout, const char *name, size_t len,
                             struct mh_buf *path)
{
    struct mh_buf text = MH_BUF_INIT;
    struct mh_buf raw = MH_BUF_INIT;
    if (!mh_mutf7_decode(name, len, &text)) {
        mh_buf_add(&raw, name, len);
    } else if (layout == MAILDIR_FS && text.len == 5 && text.data[0] == '%') {
        struct mh_file_naming any = namings[layout];
        any.special = "cnt";
        mh_file_name_decode(&raw, text.data, text.len, &any);
        if (!is_box_name(mh_buf_str(&raw), raw.len)) {
            mh_buf_reset(&raw);
            mh_file_name_decode(&raw, text.data, text.len, &namings[layout]);
        }
    } else {
        mh_file_name_decode(&raw, mh_buf_str(&text), text.len, &namings[layout]);
    }
    mh_path_add_component(path, mh_buf_str(&raw), raw.len);
    path->failed |= text.failed || raw.failed;
    mh_buf_done(&text);
    mh_buf_done(&raw);
}

/* --- whole names ------------------------------------------------------------------------------ */

/* Adds the separator before a component: Maildir++ has one before the first too. */
static void add_separator(enum maildir_layout layout, struct mh_buf *native)
{
    if (layout == MAILDIR_PLUS_PLUS)
        mh_buf_addc(native, '.');
    else if (native->len)
        mh_buf_addc(native, '/');
}

/* Length that a directory's name would have with COMPONENT added. */
static size_t name_len_with(enum maildir_layout layout, const struct mh_buf *native,
                            const struct mh_buf *component)
{
    return component->len + 1 + (layout == MAILDIR_PLUS_PLUS ? native->len : 0);
}

/*
 * A name that is too long for a directory keeps its leading components and ends in a digest of the
 * whole path: one component for the rest in Maildir++, the component itself in fs layout.
 */
static void add_digest(enum maildir_layout layout, const char *text, struct mh_buf *native)
{
    add_separator(layout, native);
    mh_buf_addf(native, "cut~%016llx", (unsigned long long)mh_uid_from_name(text, strlen(text)));
}

int maildir_name_encode(enum maildir_layout layout, const char *path, struct mh_buf *native,
                        struct mh_err *err)
{
    enum { DIGEST_LEN = 21 };
    mh_buf_reset(native);
    if (strcmp(path, "INBOX") == 0) {
        mh_buf_adds(native, MAILDIR_ROOT);
        return mh_buf_failed(native) ? mh_err_nomem(err) : 0;
    }
    struct mh_buf raw = MH_BUF_INIT;
    struct mh_buf part = MH_BUF_INIT;
    const char *cursor = path;
    size_t fits_len = 0; /* of native, with room for a digest */
    bool is_cut = false;
    int rc = *path && mh_path_depth(path) <= MH_FOLDER_DEPTH_MAX
                 ? 0
                 : mh_err_set(err, MH_EFOLDER, "maildir", "the folder's name is empty or too deep");
    while (rc == 0 && !is_cut && mh_path_next(&cursor, &raw)) {
        mh_buf_reset(&part);
        if (mh_buf_failed(&raw))
            rc = mh_err_nomem(err);
        else if (raw.len == 0)
            rc = mh_err_set(err, MH_EFOLDER, "maildir", "a part of the folder's name is empty");
        else
            rc = encode_component(layout, &raw, &part, err);
        size_t len = name_len_with(layout, native, &part);
        is_cut = len > MH_FILE_NAME_MAX_BYTES;
        if (rc == 0 && !is_cut) {
            add_separator(layout, native);
            mh_buf_add(native, mh_buf_str(&part), part.len);
            if (layout == MAILDIR_FS || len + DIGEST_LEN <= MH_FILE_NAME_MAX_BYTES)
                fits_len = native->len;
        }
    }
    if (rc == 0 && is_cut) {
        native->len = fits_len;
        add_digest(layout, path, native);
    }
    if (rc == 0 && mh_buf_failed(native))
        rc = mh_err_nomem(err);
    mh_buf_done(&raw);
    mh_buf_done(&part);
    return rc;
}

int maildir_name_decode(enum maildir_layout layout, const char *native, struct mh_buf *path,
                        struct mh_err *err)
{
    char separator = layout == MAILDIR_PLUS_PLUS ? '.' : '/';
    mh_buf_reset(path);
    if (strcmp(native, MAILDIR_ROOT) == 0) {
        mh_buf_adds(path, "INBOX");
        return mh_buf_failed(path) ? mh_err_nomem(err) : 0;
    }
    const char *p = native + (layout == MAILDIR_PLUS_PLUS);
    size_t total = strlen(p);
    char doubled[3] = {separator, separator, '\0'};
    bool has_empty = *p == separator || strstr(p, doubled) || (total && p[total - 1] == separator);
    if (has_empty || total == 0) { /* no name of ours: one component, as it is */
        mh_path_add_component(path, native, strlen(native));
    } else {
        for (const char *end = p + total; p <= end;) {
            const char *stop = memchr(p, separator, (size_t)(end - p));
            if (!stop)
                stop = end;
            if (path->len)
                mh_buf_addc(path, '/');
            decode_component(layout, p, (size_t)(stop - p), path);
            p = stop + 1;
        }
    }
    return mh_buf_failed(path) ? mh_err_nomem(err) : 0;
}

int maildir_open_folder(int root_fd, const char *native, bool create, int *fd_out,
                        struct mh_err *err)
{
    return mh_file_open_dir(root_fd, strcmp(native, MAILDIR_ROOT) == 0 ? "" : native, create,
                            fd_out, err);
}
