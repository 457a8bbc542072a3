/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads a mapping into a struct by a table of its keys; every complaint names the place and the
 * remedy. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

enum { NAME_MAX_BYTES = 64, TEXT_MAX_BYTES = 4096 };

int plan_node_fail(struct plan_reader *r, const struct plan_node *node, const char *fmt, ...)
{
    char text[sizeof r->err->text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return plan_fail(r->err, r->file, node->pos, "%s", text);
}

bool plan_is_name(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    return len > 0 && len <= NAME_MAX_BYTES && text[len] == '\0' && text[0] != '.' &&
           text[0] != '-';
}

int plan_expect(struct plan_reader *r, const struct plan_node *node, enum plan_node_kind kind,
                const char *what, const char *form)
{
    static const char *const names[] = {"a single value", "a list", "a mapping"};
    if (node->kind == kind)
        return 0;
    return plan_node_fail(r, node, "%s must be %s, not %s: %s", what, names[kind],
                          node->is_null ? "empty" : names[node->kind], form);
}

/* Text from double quotes may hold any character by escapes: "\0", "\e". */
static bool is_clean(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    }
    return mh_utf8_valid(text, len);
}

int plan_expect_text(struct plan_reader *r, const struct plan_node *node, const char *what)
{
    static const char *const names[] = {"", "a list", "a mapping"};
    if (node->kind != PLAN_SCALAR)
        return plan_node_fail(r, node, "%s must be a single value, not %s", what,
                              names[node->kind]);
    if (node->is_null || node->len == 0)
        return plan_node_fail(r, node, "%s has no value; give it one or remove the key", what);
    if (node->len > TEXT_MAX_BYTES)
        return plan_node_fail(r, node, "%s is longer than %d bytes", what, TEXT_MAX_BYTES);
    if (!is_clean(node->text, node->len))
        return plan_node_fail(r, node, "%s has a line end or control character in it; remove it",
                              what);
    return 0;
}

/* --- values ----------------------------------------------------------------------------------- */

static int set_text(struct plan_reader *r, const struct plan_field *f, const struct plan_node *node,
                    void *slot)
{
    char quoted[PLAN_QUOTE_BYTES];
    char **text = slot;
    if (f->type == PLAN_NAME && !plan_is_name(node->text))
        return plan_node_fail(r, node,
                              "%s %s is not a name: use up to %d letters, digits, '-', '_' and '.'",
                              f->key, plan_quote(quoted, node->text, node->len), NAME_MAX_BYTES);
    if (f->type == PLAN_PATH && mh_str_starts(node->text, "~"))
        return plan_node_fail(r, node,
                              "%s: ~ is not expanded here; write the whole path, or one "
                              "relative to the project file",
                              f->key);
    *text =
        f->type == PLAN_PATH ? plan_path_in(r->plan->folder, node->text) : mh_strdup(node->text);
    return *text ? 0 : plan_nomem(r->err);
}

static void store_number(void *slot, size_t width, uint64_t n)
{
    if (width == sizeof(uint16_t))
        *(uint16_t *)slot = (uint16_t)n;
    else if (width == sizeof(unsigned))
        *(unsigned *)slot = (unsigned)n;
    else
        *(uint64_t *)slot = n;
}

static int set_number(struct plan_reader *r, const struct plan_field *f,
                      const struct plan_node *node, void *slot)
{
    char quoted[PLAN_QUOTE_BYTES];
    uint64_t n = 0;
    if (!mh_parse_u64(node->text, node->len, f->max, &n) || n < f->min)
        return plan_node_fail(r, node, "%s must be a whole number from %llu to %llu, not %s",
                              f->key, (unsigned long long)f->min, (unsigned long long)f->max,
                              plan_quote(quoted, node->text, node->len));
    store_number(slot, f->width, n);
    return 0;
}

static int set_size(struct plan_reader *r, const struct plan_field *f, const struct plan_node *node,
                    void *slot)
{
    char quoted[PLAN_QUOTE_BYTES], low[32], high[32];
    uint64_t n = 0;
    if (!mh_parse_size(node->text, &n))
        return plan_node_fail(r, node, "%s must be a size such as 35MiB, not %s", f->key,
                              plan_quote(quoted, node->text, node->len));
    if (n < f->min || n > f->max)
        return plan_node_fail(r, node, "%s must be from %s to %s, not %s", f->key,
                              mh_format_size(f->min, low, sizeof low),
                              mh_format_size(f->max, high, sizeof high),
                              plan_quote(quoted, node->text, node->len));
    *(uint64_t *)slot = n;
    return 0;
}

static int set_choice(struct plan_reader *r, const struct plan_field *f,
                      const struct plan_node *node, void *slot)
{
    char quoted[PLAN_QUOTE_BYTES];
    size_t n = 0;
    for (; f->choices[n].name; n++) {
        if (strcmp(f->choices[n].name, node->text) == 0) {
            mh_assert(f->width == sizeof(int));
            *(int *)slot = f->choices[n].value;
            return 0;
        }
    }
    struct mh_buf all = MH_BUF_INIT;
    for (size_t i = 0; i < n; i++)
        mh_buf_addf(&all, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", f->choices[i].name);
    const char *near = plan_nearest(node->text, f->choices, n, sizeof *f->choices);
    int rc = plan_node_fail(r, node, "%s is %s, not %s%s%s%s", f->key, mh_buf_str(&all),
                            plan_quote(quoted, node->text, node->len),
                            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    mh_buf_done(&all);
    return rc;
}

static int set_bool(struct plan_reader *r, const struct plan_field *f, const struct plan_node *node,
                    bool *slot)
{
    static const struct {
        const char *name;
        bool value;
    } words[] = {{"yes", true}, {"true", true},   {"on", true},
                 {"no", false}, {"false", false}, {"off", false}};
    for (size_t i = 0; i < MH_ARRAY_LEN(words); i++) {
        if (mh_str_ieq(words[i].name, node->text)) {
            *slot = words[i].value;
            return 0;
        }
    }
    char quoted[PLAN_QUOTE_BYTES];
    return plan_node_fail(r, node, "%s must be yes or no, not %s", f->key,
                          plan_quote(quoted, node->text, node->len));
}

int plan_read_texts(struct plan_reader *r, const struct plan_field *f, const struct plan_node *node,
                    struct mh_strings *slot)
{
    bool is_one = f->one_is_list && node->kind == PLAN_SCALAR && !node->is_null;
    if (!is_one) {
        char form[64];
        (void)snprintf(form, sizeof form, "write %s: [first, second]", f->key);
        int rc = plan_expect(r, node, PLAN_LIST, f->key, form);
        if (rc)
            return rc;
        if (node->n == 0)
            return plan_node_fail(r, node, "%s is an empty list; fill it or remove the key",
                                  f->key);
    }
    for (const struct plan_node *n = is_one ? node : node->first; n; n = is_one ? NULL : n->next) {
        char what[64];
        (void)snprintf(what, sizeof what, "an entry of %s", f->key);
        int rc = plan_expect_text(r, n, what);
        if (rc == 0)
            rc = plan_strings_add(slot, n->text, n->len, r->err);
        if (rc)
            return rc;
    }
    return 0;
}

int plan_read_scalar(struct plan_reader *r, const struct plan_field *f,
                     const struct plan_node *node, void *slot)
{
    int rc = plan_expect_text(r, node, f->key);
    if (rc)
        return rc;
    switch (f->type) {
    case PLAN_UINT:
        return set_number(r, f, node, slot);
    case PLAN_SIZE:
        return set_size(r, f, node, slot);
    case PLAN_CHOICE:
        return set_choice(r, f, node, slot);
    case PLAN_BOOL:
        return set_bool(r, f, node, slot);
    default:
        return set_text(r, f, node, slot);
    }
}

static int read_field(struct plan_reader *r, const struct plan_field *f,
                      const struct plan_node *node, void *obj)
{
    void *slot = (char *)obj + f->offset;
    if (f->type == PLAN_MAPPING)
        return plan_read_mapping(r, f->schema, node, slot);
    if (f->type == PLAN_READ)
        return f->read(r, node, slot);
    if (f->type == PLAN_TEXTS)
        return plan_read_texts(r, f, node, slot);
    return plan_read_scalar(r, f, node, slot);
}
/* --- mappings --------------------------------------------------------------------------------- */

static int unknown_key(struct plan_reader *r, const struct plan_schema *schema,
                       const struct plan_node *key)
{
    char quoted[PLAN_QUOTE_BYTES];
    (void)plan_quote(quoted, key->text, key->len);
    const char *near =
        plan_nearest(key->text, schema->fields, schema->n_fields, sizeof *schema->fields);
    if (near)
        return plan_node_fail(r, key, "unknown key %s in %s; did you mean '%s'?", quoted,
                              schema->name, near);
    struct mh_buf all = MH_BUF_INIT;
    for (size_t i = 0; i < schema->n_fields; i++)
        mh_buf_addf(&all, "%s%s", i ? ", " : "", schema->fields[i].key);
    int rc = plan_node_fail(r, key, "unknown key %s in %s; it knows %s", quoted, schema->name,
                            mh_buf_str(&all));
    mh_buf_done(&all);
    return rc;
}

static const struct plan_field *find_field(const struct plan_schema *schema, const char *key)
{
    for (size_t i = 0; i < schema->n_fields; i++) {
        if (strcmp(schema->fields[i].key, key) == 0)
            return &schema->fields[i];
    }
    return NULL;
}

int plan_read_mapping(struct plan_reader *r, const struct plan_schema *schema,
                      const struct plan_node *node, void *obj)
{
    int rc = plan_expect(r, node, PLAN_MAP, schema->name, schema->form);
    for (const struct plan_node *n = node->first; rc == 0 && n; n = n->next) {
        const struct plan_field *f = find_field(schema, n->key->text);
        rc = f ? read_field(r, f, n, obj) : unknown_key(r, schema, n->key);
    }
    for (size_t i = 0; rc == 0 && i < schema->n_fields; i++) {
        const struct plan_field *f = &schema->fields[i];
        if (f->required && !plan_node_get(node, f->key))
            rc = plan_node_fail(r, node, "%s needs the key '%s': %s", schema->name, f->key,
                                schema->form);
    }
    if (rc == 0 && schema->check)
        rc = schema->check(r, node, obj);
    return rc;
}
