/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/mem.h"
#include "connectors/eml/eml_priv.h"
#include "mail/file_name.h"

static const struct mh_file_naming naming = {
    .special = "\\:*?\"<>|",
    .extension = "eml",
    .no_trailing_dot = true,
    .max_bytes = MH_FILE_NAME_MAX_BYTES,
};

bool eml_is_message_name(const char *name)
{
    size_t len = strlen(name);
    return len > strlen(EML_SUFFIX) && name[0] != '.' &&
           mh_str_ieq(name + len - strlen(EML_SUFFIX), EML_SUFFIX);
}

int eml_open_folder(struct mh_session *s, const char *native, int *fd_out, struct mh_err *err)
{
    const char *rel = strcmp(native, EML_ROOT) == 0 ? "" : native;
    return mh_file_open_dir(s->store.root_fd, rel, false, fd_out, err);
}

int eml_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                  struct mh_err *err)
{
    (void)s;
    struct mh_buf native = MH_BUF_INIT;
    struct mh_buf back = MH_BUF_INIT;
    int rc = mh_file_path_encode(path, &naming, &native, err);
    if (rc == 0)
        rc = mh_file_path_decode(mh_buf_str(&native), native.len, &naming, &back, err);
    return mh_file_store_planned(rc, &back, &native, path_out, native_out, err);
}

/* --- listing (worker thread) ------------------------------------------------------------------ */

struct listing {
    enum mh_listing what;
    bool has_inbox;
    struct mh_folders *out;
};

/* What a look into one directory found. */
struct found {
    uint64_t messages;
    uint64_t size;
};

static int add_folder(const struct listing *l, const char *native, const struct found *found,
                      struct mh_err *err)
{
    bool is_root = strcmp(native, EML_ROOT) == 0;
    if (is_root && found->messages == 0)
        return 0;
    struct mh_buf path = MH_BUF_INIT;
    struct mh_folder *f = NULL;
    int rc = 0;
    if (is_root)
        mh_buf_adds(&path, l->has_inbox ? "INBOX~root" : "INBOX");
    else
        rc = mh_file_path_decode(native, strlen(native), &naming, &path, err);
    if (rc == 0)
        rc = mh_file_store_add(l->out, mh_buf_str(&path), native, &f, err);
    if (rc == 0 && l->what != MH_LIST_NAMES) {
        f->messages = found->messages;
        f->size = found->size;
        f->size_known = true;
        f->attrs |= MH_FOLDER_HAS_STATUS;
    }
    mh_buf_done(&path);
    return rc;
}

/* The directory NAME in DIR_FD as a folder, with what is below it. */
static int list_dir(const struct listing *l, int dir_fd, const char *name, const char *native,
                    unsigned depth, struct mh_err *err)
{
    DIR *d = mh_file_opendir(dir_fd, name);
    if (!d)
        return mh_err_sys(err, MH_EMAILBOX, "eml", errno, "cannot list %s", native);
    const char *prefix = strcmp(native, EML_ROOT) == 0 ? "" : native;
    const struct dirent *e = NULL;
    struct found found = {0, 0};
    int rc = 0;
    while (rc == 0 && (e = readdir(d)) != NULL) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(st.st_mode) && eml_is_message_name(e->d_name)) {
            found.messages++;
            found.size += (uint64_t)st.st_size;
        }
        if (!S_ISDIR(st.st_mode) || depth > MH_FOLDER_DEPTH_MAX)
            continue;
        char *child = mh_asprintf("%s%s%s", prefix, *prefix ? "/" : "", e->d_name);
        rc = child ? list_dir(l, dirfd(d), e->d_name, child, depth + 1, err) : mh_err_nomem(err);
        mh_free(child);
    }
    (void)closedir(d);
    return rc == 0 ? add_folder(l, native, &found, err) : rc;
}

static int add_folders(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
                       struct mh_err *err)
{
    const struct mh_file_store *store = &s->store;
    struct listing l = {.what = what, .out = out};
    struct stat st;
    if (store->single) {
        bool is_there = fstatat(store->root_fd, store->single, &st, 0) == 0;
        struct found one = {1, is_there ? (uint64_t)st.st_size : 0};
        return add_folder(&l, EML_ROOT, &one, err);
    }
    l.has_inbox =
        fstatat(store->root_fd, "INBOX", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    return list_dir(&l, store->root_fd, ".", EML_ROOT, 0, err);
}

int eml_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out, struct mh_err *err)
{
    return mh_file_store_list(s, add_folders, what, out, err);
}

/* --- making ----------------------------------------------------------------------------------- */

static int make(struct mh_session *s, const struct mh_folder *folder, struct mh_err *err)
{
    int fd = -1;
    int rc = mh_file_open_dir(s->store.root_fd, folder->native, true, &fd, err);
    mh_file_close(&fd);
    return rc;
}

int eml_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
               char **native_out, struct mh_err *err)
{
    int rc = eml_plan_name(s, path, path_out, native_out, err);
    return rc == 0 ? mh_file_store_create(s, make, role, path_out, native_out, err) : rc;
}
