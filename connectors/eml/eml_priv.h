/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside the eml connector. What blocks runs in worker threads; the vtable's functions run in tasks.
 */
#ifndef MH_CONNECTORS_EML_PRIV_H
#define MH_CONNECTORS_EML_PRIV_H

#include "connectors/eml/eml.h"
#include "mail/file_entries.h"
#include "mail/file_store.h"

#define EML_INDEX  ".mailhaul-index"
#define EML_SUFFIX ".eml"
/* The native name of the root. */
#define EML_ROOT   "."

struct eml_selected {
    int dir_fd;   /* -1: none selected */
    char *native; /* owned */
    struct mh_file_entries list;
    struct mh_file_index *index; /* owned */
};

struct mh_session {
    struct mh_file_store store; /* first: mail/file_store.h */
    struct eml_selected sel;
    int target_fd; /* -1: none */
};

/* folders.c */
int eml_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
             struct mh_err *err);
int eml_create(struct mh_session *s, const char *path, enum mh_role role, char **path_out,
               char **native_out, struct mh_err *err);
int eml_plan_name(struct mh_session *s, const char *path, char **path_out, char **native_out,
                  struct mh_err *err);
int eml_open_folder(struct mh_session *s, const char *native, int *fd_out, struct mh_err *err);
bool eml_is_message_name(const char *name);

/* read.c */
int eml_select(struct mh_session *s, const struct mh_folder *folder, bool for_write,
               struct mh_opened *out, struct mh_err *err);
int eml_scan(struct mh_session *s, uint64_t uid_from, struct mh_scan *out, struct mh_err *err);
int eml_fetch(struct mh_session *s, const struct mh_item *const *items, size_t n,
              struct mh_sink *sink, struct mh_err *err);
int eml_store_flags(struct mh_session *s, const uint64_t *uids, size_t n, bool add, uint8_t flags,
                    const char *keywords, struct mh_err *err);
void eml_selected_done(struct eml_selected *sel);

/* write.c */
int eml_append_open(struct mh_session *s, const struct mh_folder *folder,
                    struct mh_append_sink *sink, struct mh_err *err);

#endif
