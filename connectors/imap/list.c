/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Namespaces and the list of folders: one LIST where the server can do it all in one (RFC 5258, RFC
 * 5819, RFC 6154), else LIST, LSUB and pipelined STATUS. */
#include <string.h>

#include "base/mem.h"
#include "connectors/imap/imap_priv.h"

/* --- namespaces (RFC 2342) -------------------------------------------------------------------- */

static void add_namespace(struct mh_session *s, const struct mh_val *v, enum imap_ns_kind kind)
{
    struct imap_namespace *ns = &s->namespaces[s->n_namespaces];
    const struct mh_val *prefix = &v[1];
    const struct mh_val *separator = &v[2];
    if (v->kind != MH_VAL_LIST || v->children < 2 || prefix->kind == MH_VAL_LIST ||
        prefix->len >= sizeof ns->prefix || s->n_namespaces == IMAP_NAMESPACES_MAX)
        return;
    if (prefix->len > 0)
        memcpy(ns->prefix, prefix->s, prefix->len);
    ns->prefix[prefix->len] = '\0';
    ns->separator =
        separator->kind == MH_VAL_STRING && separator->len == 1 ? separator->s[0] : '\0';
    ns->kind = kind;
    bool is_first_personal = kind == IMAP_NS_PERSONAL;
    for (unsigned i = 0; i < s->n_namespaces; i++)
        is_first_personal = is_first_personal && s->namespaces[i].kind != IMAP_NS_PERSONAL;
    if (is_first_personal) {
        memcpy(s->names.prefix, ns->prefix, sizeof s->names.prefix);
        s->names.separator = ns->separator;
    }
    s->n_namespaces++;
}

static bool take_namespace(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct mh_session *s = cmd->s;
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "NAMESPACE"))
        return false;
    s->n_namespaces = 0;
    for (unsigned kind = 0; kind < 3; kind++) {
        const struct mh_val *group = imap_val(ev, kind);
        if (!group || group->kind != MH_VAL_LIST)
            continue;
        unsigned i = (unsigned)(group - ev->vals) + 1;
        for (unsigned k = 0; k < group->children; k++, i = ev->vals[i].next)
            add_namespace(s, &ev->vals[i], (enum imap_ns_kind)kind);
    }
    return true;
}

/* `LIST "" ""` answers with the separator where there is no NAMESPACE. */
static bool take_separator(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    const struct mh_val *separator = imap_val(ev, 1);
    if (ev->type != MH_RESP_UNTAGGED || !mh_resp_is(ev->name, ev->name_len, "LIST") || !separator)
        return false;
    if (separator->kind == MH_VAL_STRING && separator->len == 1)
        cmd->s->names.separator = separator->s[0];
    return true;
}

int imap_namespace_start(struct mh_session *s, struct imap_cmd **out, struct mh_err *err)
{
    bool has_namespace = imap_has(&s->capset, IMAP_CAP_NAMESPACE);
    int rc = imap_cmd_start(s, has_namespace ? "NAMESPACE" : "LIST \"\" \"\"", out, err);
    if (rc)
        return rc;
    (*out)->untagged = has_namespace ? take_namespace : take_separator;
    return imap_cmd_send(*out, err);
}

/* The longest prefix that fits says whose it is; the personal one wins a tie, and what is below
 * none is the user's own. */
bool imap_is_own(const struct mh_session *s, const char *native, size_t len)
{
    enum imap_ns_kind kind = IMAP_NS_PERSONAL;
    long best = -1;
    if (imap_is_inbox(native, len))
        return true;
    if (s->names.prefix[0] && imap_name_is_personal(&s->names, native, len))
        best = (long)strlen(s->names.prefix);
    for (unsigned i = 0; i < s->n_namespaces; i++) {
        const struct imap_namespace *ns = &s->namespaces[i];
        size_t n = strlen(ns->prefix);
        /* Also the namespace's own root, without the separator at its end. */
        size_t compared = n > 1 && len == n - 1 ? len : n;
        if (compared > len || memcmp(native, ns->prefix, compared) != 0)
            continue;
        if ((long)n > best || ((long)n == best && ns->kind == IMAP_NS_PERSONAL)) {
            kind = ns->kind;
            best = (long)n;
        }
    }
    return kind == IMAP_NS_PERSONAL;
}

/*
 * What Cyrus calls MAILBOXID (RFC 8474) has another name there too. Asked with STATUS, 3.6.1 (Debian 12) sends
 * what lies where the name was: freed memory, any bytes, which may end the dialogue. As an annotation in
 * the list (RFC 9590) it is right.
 */
#define CYRUS_UNIQUE_ID "/shared/vendor/cmu/cyrus-imapd/uniqueid"

/* --- a list under way ------------------------------------------------------------------------- */

struct listing {
    struct mh_session *s;
    enum mh_listing what;
    struct mh_folders *out;
    uint32_t *slots; /* owned: index + 1 of a folder by its native name; power of two */
    size_t n_slots;
    uint64_t seed; /* so that no server can choose names that collide */
    struct mh_buf native, path;
};

static uint64_t hash_name(const struct listing *l, const char *s, size_t len)
{
    uint64_t h = l->seed ^ UINT64_C(14695981039346656037);
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * UINT64_C(1099511628211);
    h ^= h >> 29;
    return h * UINT64_C(0xbf58476d1ce4e5b9) >> 17;
}

/* The slot of NATIVE, or the empty one where it belongs. */
static uint32_t *find_slot(const struct listing *l, const char *native)
{
    size_t i = hash_name(l, native, strlen(native)) & (l->n_slots - 1);
    while (l->slots[i] && strcmp(l->out->v[l->slots[i] - 1].native, native) != 0)
        i = (i + 1) & (l->n_slots - 1);
    return &l->slots[i];
}

static struct mh_folder *find_native(const struct listing *l, const char *native)
{
    uint32_t *slot = l->n_slots ? find_slot(l, native) : NULL;
    return slot && *slot ? &l->out->v[*slot - 1] : NULL;
}

static int grow_slots(struct listing *l, struct mh_err *err)
{
    if (l->out->n * 2 < l->n_slots)
        return MH_OK;
    size_t n = l->n_slots ? l->n_slots * 2 : 256;
    uint32_t *old = l->slots;
    l->slots = mh_zalloc(n * sizeof *l->slots);
    if (!l->slots) {
        l->slots = old;
        return mh_err_nomem(err);
    }
    mh_free(old);
    l->n_slots = n;
    for (size_t i = 0; i < l->out->n; i++)
        *find_slot(l, l->out->v[i].native) = (uint32_t)i + 1;
    return MH_OK;
}

/* V's text as l->native; false if it is no name. The INBOX is always spelled so. */
static bool take_name(struct listing *l, const struct mh_val *v)
{
    mh_buf_reset(&l->native);
    if (!v || (v->kind != MH_VAL_ATOM && v->kind != MH_VAL_STRING) || v->len == 0 ||
        memchr(v->s, '\0', v->len))
        return false;
    if (imap_is_inbox(v->s, v->len))
        mh_buf_adds(&l->native, "INBOX");
    else
        mh_buf_add(&l->native, v->s, v->len);
    return !mh_buf_failed(&l->native);
}

static void add_attribute(struct mh_folder *f, const struct mh_val *v)
{
    static const struct {
        const char *name;
        unsigned attr;
    } attrs[] = {
        {"\\Noselect", MH_FOLDER_NOSELECT},
        {"\\NonExistent", MH_FOLDER_NOSELECT},
        {"\\Subscribed", MH_FOLDER_SUBSCRIBED},
        {"\\Noinferiors", MH_FOLDER_NOINFERIORS},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(attrs); i++) {
        if (imap_val_is(v, attrs[i].name))
            f->attrs |= attrs[i].attr;
    }
    enum mh_role role = v->kind == MH_VAL_ATOM ? mh_role_parse(v->s, v->len) : MH_ROLE_NONE;
    if (role != MH_ROLE_NONE && v->s[0] == '\\' && f->role == MH_ROLE_NONE) {
        f->role = role;
        f->attrs |= MH_FOLDER_ROLE_ANNOUNCED;
    }
}

static int add_folder(struct listing *l, char separator, struct mh_folder **out, struct mh_err *err)
{
    const char *native = mh_buf_str(&l->native);
    size_t len = l->native.len;
    bool own = imap_is_own(l->s, native, len);
    *out = find_native(l, native);
    if (*out)
        return MH_OK;
    mh_buf_reset(&l->path);
    if (!imap_name_to_path(&l->s->names, separator, own, native, len, &l->path)) {
        l->s->counters.dropped_names++;
        return MH_OK;
    }
    int rc = mh_buf_failed(&l->path) ? mh_err_nomem(err) : grow_slots(l, err);
    if (rc == MH_OK)
        rc = mh_folders_add(l->out, mh_buf_str(&l->path), native, out, err);
    if (rc)
        return rc;
    *find_slot(l, native) = (uint32_t)l->out->n;
    if (strcmp((*out)->path, "INBOX") == 0) {
        (*out)->role = MH_ROLE_INBOX;
        (*out)->attrs |= MH_FOLDER_ROLE_ANNOUNCED;
    }
    (*out)->attrs |= own ? 0 : MH_FOLDER_FOREIGN;
    return MH_OK;
}

static int take_list(struct listing *l, const struct mh_resp_event *ev, struct mh_err *err)
{
    const struct mh_val *attrs = imap_val(ev, 0);
    const struct mh_val *separator = imap_val(ev, 1);
    const struct mh_val *name = imap_val(ev, 2);
    bool is_named = take_name(l, name);
    if (mh_buf_failed(&l->native))
        return mh_err_nomem(err);
    if (!is_named || attrs->kind != MH_VAL_LIST) {
        l->s->counters.dropped_names++;
        return MH_OK;
    }
    char sep = separator->kind == MH_VAL_STRING && separator->len == 1 ? separator->s[0] : '\0';
    struct mh_folder *f = NULL;
    int rc = add_folder(l, sep, &f, err);
    if (rc || !f)
        return rc;
    unsigned i = (unsigned)(attrs - ev->vals) + 1;
    for (unsigned k = 0; k < attrs->children; k++, i = ev->vals[i].next)
        add_attribute(f, &ev->vals[i]);
    return MH_OK;
}

static void take_lsub(struct listing *l, const struct mh_resp_event *ev)
{
    struct mh_folder *f = take_name(l, imap_val(ev, 2)) ? find_native(l, l->native.data) : NULL;
    const struct mh_val *attrs = imap_val(ev, 0);
    /* LSUB "*" shows no parents of subscribed names, but some servers add them as \Noselect. */
    bool is_name_only = attrs && attrs->kind == MH_VAL_LIST && attrs->children > 0 &&
                        imap_val_is(attrs + 1, "\\Noselect") && f &&
                        !(f->attrs & MH_FOLDER_NOSELECT);
    if (f && !is_name_only)
        f->attrs |= MH_FOLDER_SUBSCRIBED;
}

static void take_status(struct listing *l, const struct mh_resp_event *ev)
{
    const struct mh_val *pairs = imap_val(ev, 1);
    struct mh_folder *f = take_name(l, imap_val(ev, 0)) ? find_native(l, l->native.data) : NULL;
    if (!f || !pairs || pairs->kind != MH_VAL_LIST) {
        l->s->counters.ignored_data++;
        return;
    }
    unsigned i = (unsigned)(pairs - ev->vals) + 1;
    for (unsigned k = 0; k + 1 < pairs->children; k += 2) {
        const struct mh_val *name = &ev->vals[i];
        i = ev->vals[i].next;
        const struct mh_val *value = &ev->vals[i];
        i = ev->vals[i].next;
        uint64_t n = 0;
        if (imap_val_is(name, "MAILBOXID") && value->kind == MH_VAL_LIST && value->children == 1 &&
            value[1].kind == MH_VAL_ATOM)
            f->object_id = mh_uid_from_name(value[1].s, value[1].len);
        if (value->kind != MH_VAL_ATOM || !mh_parse_u64(value->s, value->len, INT64_MAX, &n))
            continue;
        if (imap_val_is(name, "MESSAGES"))
            f->messages = n;
        else if (imap_val_is(name, "UIDNEXT"))
            f->uidnext = n;
        else if (imap_val_is(name, "UIDVALIDITY"))
            f->uidvalidity = n <= UINT32_MAX ? (uint32_t)n : 0;
        else if (imap_val_is(name, "HIGHESTMODSEQ"))
            f->highestmodseq = n;
        else if (imap_val_is(name, "SIZE"))
            f->size = n, f->size_known = true;
    }
    f->attrs |= MH_FOLDER_HAS_STATUS;
}

/* `METADATA name (entry value)` */
static void take_unique_id(struct listing *l, const struct mh_resp_event *ev)
{
    const struct mh_val *pair = imap_val(ev, 1);
    struct mh_folder *f = take_name(l, imap_val(ev, 0)) ? find_native(l, l->native.data) : NULL;
    if (!f || !pair || pair->kind != MH_VAL_LIST || pair->children < 2)
        return;
    if (imap_val_is(pair + 1, CYRUS_UNIQUE_ID) && pair[2].kind == MH_VAL_STRING && pair[2].len > 0)
        f->object_id = mh_uid_from_name(pair[2].s, pair[2].len);
}

static bool take(struct imap_cmd *cmd, const struct mh_resp_event *ev)
{
    struct listing *l = cmd->ctx;
    if (ev->type != MH_RESP_UNTAGGED || ev->has_number)
        return false;
    if (mh_resp_is(ev->name, ev->name_len, "LIST") && ev->n_top >= 3) {
        int rc = cmd->rc ? cmd->rc : take_list(l, ev, &cmd->err);
        if (rc)
            cmd->rc = rc;
        return true;
    }
    if (mh_resp_is(ev->name, ev->name_len, "LSUB") && ev->n_top >= 3) {
        take_lsub(l, ev);
        return true;
    }
    if (mh_resp_is(ev->name, ev->name_len, "STATUS") && ev->n_top >= 2) {
        take_status(l, ev);
        return true;
    }
    if (mh_resp_is(ev->name, ev->name_len, "METADATA") && ev->n_top >= 2) {
        take_unique_id(l, ev);
        return true;
    }
    return false;
}

/* --- the commands ----------------------------------------------------------------------------- */

static void add_status_items(const struct listing *l, struct mh_cmd *c)
{
    const struct mh_session *s = l->s;
    mh_cmd_raw(c, "(MESSAGES UIDNEXT UIDVALIDITY");
    if (imap_has(&s->capset, IMAP_CAP_CONDSTORE) || imap_has(&s->capset, IMAP_CAP_QRESYNC))
        mh_cmd_raw(c, " HIGHESTMODSEQ");
    if (l->what == MH_LIST_SIZES && imap_has(&s->capset, IMAP_CAP_STATUS_SIZE))
        mh_cmd_raw(c, " SIZE");
    if (imap_has(&s->capset, IMAP_CAP_OBJECTID) && s->names.family != IMAP_CYRUS)
        mh_cmd_raw(c, " MAILBOXID");
    mh_cmd_raw(c, ")");
}

static int start(struct listing *l, const char *name, struct imap_cmd **out, struct mh_err *err)
{
    int rc = imap_cmd_start(l->s, name, out, err);
    if (rc)
        return rc;
    (*out)->untagged = take;
    (*out)->ctx = l;
    return MH_OK;
}

static int list_extended(struct listing *l, struct mh_err *err)
{
    struct mh_session *s = l->s;
    struct imap_cmd *cmd = NULL;
    int rc = start(l, "LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN", &cmd, err);
    if (rc == MH_OK) {
        if (imap_has(&s->capset, IMAP_CAP_SPECIAL_USE))
            mh_cmd_raw(&cmd->text, " SPECIAL-USE");
        if (l->what != MH_LIST_NAMES && imap_has(&s->capset, IMAP_CAP_LIST_STATUS)) {
            mh_cmd_raw(&cmd->text, " STATUS ");
            add_status_items(l, &cmd->text);
        }
        if (l->what != MH_LIST_NAMES && s->names.family == IMAP_CYRUS &&
            imap_has(&s->capset, IMAP_CAP_LIST_METADATA))
            mh_cmd_raw(&cmd->text, " METADATA (" CYRUS_UNIQUE_ID ")");
        mh_cmd_raw(&cmd->text, ")");
        rc = imap_cmd_run(cmd, MH_EMAILBOX, err);
    }
    imap_cmd_done(cmd);
    return rc;
}

static int list_plain(struct listing *l, struct mh_err *err)
{
    struct imap_cmd *list = NULL;
    struct imap_cmd *lsub = NULL;
    int rc = start(l, "LIST \"\" \"*\"", &list, err);
    if (rc == MH_OK)
        rc = start(l, "LSUB \"\" \"*\"", &lsub, err);
    if (rc == MH_OK)
        rc = imap_cmd_send(list, err);
    if (rc == MH_OK)
        rc = imap_cmd_send(lsub, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(list, err);
    if (rc == MH_OK && list->status != MH_ST_OK)
        rc = imap_cmd_refused(list, MH_EMAILBOX, err);
    if (rc == MH_OK)
        rc = imap_cmd_wait(lsub, err);
    if (rc == MH_OK && lsub->status != MH_ST_OK)
        mh_log(&l->s->log, MH_LOG_WARNING, "the server does not tell the subscriptions: %s",
               lsub->reply);
    imap_cmd_done(list);
    imap_cmd_done(lsub);
    return rc;
}

static int send_status(struct listing *l, const struct mh_folder *f, struct imap_cmd **out,
                       struct mh_err *err)
{
    int rc = start(l, "STATUS ", out, err);
    if (rc)
        return rc;
    mh_cmd_string(&(*out)->text, f->native, strlen(f->native));
    mh_cmd_raw(&(*out)->text, " ");
    add_status_items(l, &(*out)->text);
    return imap_cmd_send(*out, err);
}

static bool wants_status(const struct mh_folder *f)
{
    return !(f->attrs & (MH_FOLDER_NOSELECT | MH_FOLDER_FOREIGN | MH_FOLDER_HAS_STATUS));
}

/* A refused STATUS leaves the folder without numbers; select() will say why. */
static int status_all(struct listing *l, struct mh_err *err)
{
    struct imap_cmd *window[IMAP_WINDOW];
    size_t first = 0;
    size_t n = 0;
    int rc = MH_OK;
    for (size_t i = 0; rc == MH_OK && (i < l->out->n || n > 0);) {
        if (i < l->out->n && n < IMAP_WINDOW) {
            struct mh_folder *f = &l->out->v[i++];
            if (wants_status(f)) {
                struct imap_cmd **slot = &window[(first + n++) % IMAP_WINDOW];
                *slot = NULL;
                rc = send_status(l, f, slot, err);
            }
            continue;
        }
        struct imap_cmd *oldest = window[first];
        rc = imap_cmd_wait(oldest, err);
        if (rc == MH_OK) {
            imap_cmd_done(oldest);
            first = (first + 1) % IMAP_WINDOW;
            n--;
        }
    }
    for (; n > 0; n--, first = (first + 1) % IMAP_WINDOW)
        imap_cmd_done(window[first]);
    return rc;
}

/* --- one path each ---------------------------------------------------------------------------- */

/* Of two folders with one path the own one keeps it, then the one whose name comes first. */
static bool keeps_path(const struct mh_folder *a, const struct mh_folder *b)
{
    bool a_foreign = a->attrs & MH_FOLDER_FOREIGN;
    bool b_foreign = b->attrs & MH_FOLDER_FOREIGN;
    if (a_foreign != b_foreign)
        return b_foreign;
    return strcmp(a->native, b->native) <= 0;
}

/* F's path with the first character of its last component as %XX: another spelling of the same
 * name. */
static int respell(struct mh_folder *f, struct mh_err *err)
{
    const char *slash = strrchr(f->path, '/');
    const char *name = slash ? slash + 1 : f->path;
    size_t seq = mh_utf8_seq(name, strlen(name));
    struct mh_buf path = MH_BUF_INIT;
    mh_buf_add(&path, f->path, (size_t)(name - f->path));
    for (size_t i = 0; i < MH_MAX(seq, 1u); i++)
        mh_buf_addf(&path, "%%%02X", (unsigned char)name[i]);
    mh_buf_adds(&path, name + MH_MAX(seq, 1u));
    char *spelled = mh_buf_take(&path);
    if (!spelled)
        return mh_err_nomem(err);
    mh_free(f->path);
    f->path = spelled;
    if (f->role == MH_ROLE_INBOX) {
        f->role = MH_ROLE_NONE;
        f->attrs &= ~(unsigned)MH_FOLDER_ROLE_ANNOUNCED;
    }
    return MH_OK;
}

/* Sorted, and no path twice: "Inbox/A" and "INBOX/A" are two folders of some servers. */
static int make_distinct(struct listing *l, struct mh_err *err)
{
    struct mh_folders *out = l->out;
    for (bool changed = true; changed;) {
        changed = false;
        mh_folders_sort(out);
        for (size_t i = 1; i < out->n; i++) {
            struct mh_folder *a = &out->v[i - 1];
            struct mh_folder *b = &out->v[i];
            if (strcmp(a->path, b->path) != 0)
                continue;
            int rc = respell(keeps_path(a, b) ? b : a, err);
            if (rc)
                return rc;
            changed = true;
            i++; /* the order of these two is open until the next sort */
        }
    }
    return MH_OK;
}

int imap_list(struct mh_session *s, enum mh_listing what, struct mh_folders *out,
              struct mh_err *err)
{
    struct listing l = {
        .s = s, .what = what, .out = out, .native = MH_BUF_INIT, .path = MH_BUF_INIT};
    l.seed = (uint64_t)mh_clock_mono_us() * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)out;
    uint64_t dropped = s->counters.dropped_names;
    bool extended = imap_has(&s->capset, IMAP_CAP_LIST_EXTENDED);
    int rc = grow_slots(&l, err);
    if (rc == MH_OK)
        rc = extended ? list_extended(&l, err) : list_plain(&l, err);
    if (rc == MH_OK && what != MH_LIST_NAMES)
        rc = status_all(&l, err);
    if (rc == MH_OK)
        rc = make_distinct(&l, err);
    if (s->counters.dropped_names > dropped)
        mh_log(&s->log, MH_LOG_WARNING, "%llu folders have names that cannot be worked with",
               (unsigned long long)(s->counters.dropped_names - dropped));
    mh_free(l.slots);
    mh_buf_done(&l.native);
    mh_buf_done(&l.path);
    return rc;
}
