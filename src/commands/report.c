/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "commands/report.h"

#include <inttypes.h>
#include <string.h>

enum { LINES_MAX = 20 /* of exceptions on a screen; all are in the JSON */ };

/* --- JSON ---------------------------------------------------------------------------------------------- */

static json_t *text_json(const char *s)
{
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_add_printable(&b, s, strlen(s));
    json_t *j = json_string(mh_buf_str(&b));
    mh_buf_done(&b);
    return j;
}

static void put_n(json_t *o, const char *key, uint64_t n)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void put_s(json_t *o, const char *key, const char *s)
{
    (void)json_object_set_new(o, key, s ? text_json(s) : json_null());
}

static json_t *reasons_json(const struct mh_reasons *r)
{
    json_t *o = json_object();
    for (size_t i = 0; i < r->n; i++)
        put_n(o, r->v[i].reason, r->v[i].n);
    return o;
}

void report_json(FILE *out, json_t *root_take)
{
    (void)json_dumpf(root_take, out, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    (void)fputc('\n', out);
    json_decref(root_take);
}

void report_error_json(FILE *out, const char *text, const char *code, int exit_code)
{
    json_t *root = json_object();
    put_n(root, "schema", MH_JSON_SCHEMA);
    put_s(root, "error", text);
    put_s(root, "code", code);
    put_n(root, "exit", (uint64_t)exit_code);
    report_json(out, root);
}

static void put_counts(json_t *o, const struct mh_counts *c, const struct mh_reasons *skipped,
                       const struct mh_reasons *failed)
{
    put_n(o, "found", c->found);
    put_n(o, "copied", c->copied);
    put_n(o, "adopted", c->adopted);
    put_n(o, "unchanged", c->unchanged);
    json_t *by = json_object();
    put_n(by, "exact", c->adopted_exact);
    put_n(by, "canonical", c->adopted_canonical);
    put_n(by, "fingerprint", c->adopted_fingerprint);
    (void)json_object_set_new(o, "adopted_by", by);
    if (skipped) {
        (void)json_object_set_new(o, "skipped", reasons_json(skipped));
        (void)json_object_set_new(o, "failed", reasons_json(failed));
    } else {
        put_n(o, "skipped", c->skipped);
        put_n(o, "failed", c->failed);
    }
    put_n(o, "moved", c->moved);
    put_n(o, "updated", c->updated);
    put_n(o, "removed", c->removed);
    put_n(o, "gone", c->gone);
    put_n(o, "bytes", c->bytes);
}

static json_t *item_json(const struct mh_item_result *i)
{
    json_t *o = json_object();
    put_s(o, "folder", i->folder);
    put_n(o, "uid", i->uid);
    put_s(o, "state", i->state);
    put_s(o, "reason", i->reason);
    put_s(o, "text", i->text);
    return o;
}

static json_t *items_json(const struct mh_item_result *v, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(a, item_json(&v[i]));
    return a;
}

static json_t *error_json(const struct mh_err *err)
{
    char line[1024];
    if (err->code == MH_OK)
        return json_null();
    json_t *o = json_object();
    put_s(o, "code", mh_code_name(err->code));
    put_s(o, "text", mh_err_line(err, line, sizeof line));
    return o;
}

static json_t *folder_json(const struct mh_folder_result *f)
{
    json_t *o = json_object();
    put_s(o, "source", f->source);
    put_s(o, "target", f->target);
    put_s(o, "why", f->why);
    put_counts(o, &f->counts, NULL, NULL);
    (void)json_object_set_new(o, "error", error_json(&f->err));
    return o;
}

static json_t *mailbox_json(const struct mh_mailbox_result *m)
{
    json_t *o = json_object();
    put_s(o, "id", m->mailbox->id);
    put_counts(o, &m->counts, &m->skipped, &m->failed);
    json_t *folders = json_array();
    for (size_t i = 0; i < m->n_folders; i++)
        (void)json_array_append_new(folders, folder_json(&m->folders[i]));
    (void)json_object_set_new(o, "folders", folders);
    (void)json_object_set_new(o, "items", items_json(m->items, m->n_items));
    (void)json_object_set_new(o, "notes", items_json(m->notes, m->n_notes));
    (void)json_object_set_new(o, "error", error_json(&m->err));
    return o;
}

void report_run_json(FILE *out, const struct mh_result *r)
{
    json_t *root = json_object();
    put_n(root, "schema", MH_JSON_SCHEMA);
    put_counts(root, &r->counts, &r->skipped, &r->failed);
    (void)json_object_set_new(root, "seconds", json_real((double)r->elapsed_ms / 1000));
    json_t *mailboxes = json_array();
    for (size_t i = 0; i < r->n_mailboxes; i++)
        (void)json_array_append_new(mailboxes, mailbox_json(&r->mailboxes[i]));
    (void)json_object_set_new(root, "mailboxes", mailboxes);
    if (r->err.code != MH_OK)
        (void)json_object_set_new(root, "error", error_json(&r->err));
    report_json(out, root);
}

/* Compared by content. */
static uint64_t checked(const struct mh_verify_counts *c)
{
    return c->exact + c->same + c->differs;
}

static double percent(const struct mh_verify_result *r)
{
    return r->options.sample_ppm ? (double)r->options.sample_ppm / 10000 : 100;
}

static bool is_resumed(const struct mh_verify_result *r)
{
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        if (r->mailboxes[i].resumed_at)
            return true;
    }
    return false;
}

void report_verify_json(FILE *out, const struct mh_verify_result *r)
{
    json_t *root = json_object();
    const struct mh_verify_counts *c = &r->counts;
    put_n(root, "schema", MH_JSON_SCHEMA);
    put_s(root, "mode", r->options.deep ? "deep" : "stored");
    (void)json_object_set_new(root, "sample", json_real(percent(r)));
    (void)json_object_set_new(root, "resumed", json_boolean(is_resumed(r)));
    put_n(root, "found", c->found);
    put_n(root, "checked", checked(c));
    put_n(root, "exact", c->exact);
    put_n(root, "same", c->same);
    put_n(root, "differs", c->differs);
    put_n(root, "missing", c->missing);
    put_n(root, "skipped", c->skipped);
    put_n(root, "listed", c->listed);
    put_n(root, "later", c->later);
    put_n(root, "pending", c->pending);
    put_n(root, "unsettled", c->unsettled);
    put_n(root, "extra", c->extra);
    put_n(root, "flags", c->flags);
    put_n(root, "dates", c->dates);
    json_t *items = json_array();
    json_t *errors = json_array();
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        const struct mh_verify_mailbox *m = &r->mailboxes[i];
        for (size_t k = 0; k < m->n_items; k++) {
            json_t *o = item_json(&m->items[k]);
            put_s(o, "mailbox", m->mailbox->id);
            (void)json_array_append_new(items, o);
        }
        if (m->err.code != MH_OK) {
            json_t *o = error_json(&m->err);
            put_s(o, "mailbox", m->mailbox->id);
            (void)json_array_append_new(errors, o);
        }
    }
    (void)json_object_set_new(root, "items", items);
    (void)json_object_set_new(root, "errors", errors);
    (void)json_object_set_new(root, "seconds", json_real((double)r->elapsed_ms / 1000));
    report_json(out, root);
}

static json_t *side_json(const struct mh_check_side *s)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "error", error_json(&s->err));
    put_s(o, "server", s->caps.server_name);
    put_s(o, "tls", s->caps.tls);
    (void)json_object_set_new(o, "cert_days_left",
                              s->caps.cert_days_left >= 0 ? json_integer(s->caps.cert_days_left)
                                                          : json_null());
    put_s(o, "extensions", s->caps.extensions);
    put_n(o, "append_limit", s->caps.append_limit);
    put_n(o, "folders", s->folders);
    put_n(o, "messages", s->messages);
    (void)json_object_set_new(o, "bytes",
                              s->bytes_known ? json_integer((json_int_t)s->bytes) : json_null());
    json_t *q = s->quota.known ? json_object() : json_null();
    if (s->quota.known) {
        put_n(q, "used", s->quota.used_bytes);
        put_n(q, "limit", s->quota.limit_bytes);
    }
    (void)json_object_set_new(o, "quota", q);
    return o;
}

void report_check_json(FILE *out, const struct mh_check_result *r)
{
    json_t *root = json_object();
    json_t *mailboxes = json_array();
    put_n(root, "schema", MH_JSON_SCHEMA);
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        const struct mh_check_mailbox *m = &r->mailboxes[i];
        json_t *o = json_object();
        put_s(o, "id", m->mailbox->id);
        (void)json_object_set_new(o, "source", side_json(&m->source));
        (void)json_object_set_new(o, "target", side_json(&m->target));
        put_n(o, "biggest", m->biggest);
        put_n(o, "over_limit", m->over_limit);
        (void)json_object_set_new(o, "names", items_json(m->names, m->n_names));
        (void)json_array_append_new(mailboxes, o);
    }
    (void)json_object_set_new(root, "mailboxes", mailboxes);
    (void)json_object_set_new(root, "seconds", json_real((double)r->elapsed_ms / 1000));
    report_json(out, root);
}

/* --- text ------------------------------------------------------------------------------------------------ */

static void print_safe(FILE *out, const char *s)
{
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_add_printable(&b, s, strlen(s));
    (void)fputs(mh_buf_str(&b), out);
    mh_buf_done(&b);
}

static void print_reasons(FILE *out, const char *state, uint64_t n, const struct mh_reasons *r)
{
    (void)fprintf(out, "  %-14s %12" PRIu64, state, n);
    for (size_t i = 0; i < r->n; i++)
        (void)fprintf(out, "%s%s %" PRIu64, i ? ", " : "   ", r->v[i].reason, r->v[i].n);
    (void)fputc('\n', out);
}

static void print_item(FILE *out, const char *mailbox, const struct mh_item_result *i)
{
    (void)fprintf(out, "  %-8s ", i->state);
    print_safe(out, mailbox);
    (void)fputs("  ", out);
    print_safe(out, i->folder);
    if (i->uid)
        (void)fprintf(out, "  UID %" PRIu64, i->uid);
    (void)fprintf(out, "  %s", i->reason);
    if (i->text[0]) {
        (void)fputs(": ", out);
        print_safe(out, i->text);
    }
    (void)fputc('\n', out);
}

static void print_problems(FILE *out, const struct mh_result *r)
{
    char line[1024];
    size_t shown = 0;
    size_t all = 0;
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        const struct mh_mailbox_result *m = &r->mailboxes[i];
        if (m->err.code != MH_OK) {
            (void)fputs("  STOPPED  ", out);
            print_safe(out, m->mailbox->id);
            (void)fprintf(out, ": %s\n", mh_err_line(&m->err, line, sizeof line));
        }
        for (size_t k = 0; k < m->n_folders; k++) {
            if (m->folders[k].err.code == MH_OK)
                continue;
            (void)fputs("  folder   ", out);
            print_safe(out, m->mailbox->id);
            (void)fprintf(out, ": %s\n", mh_err_line(&m->folders[k].err, line, sizeof line));
        }
        for (size_t k = 0; k < m->n_items; k++, all++) {
            if (shown++ < LINES_MAX)
                print_item(out, m->mailbox->id, &m->items[k]);
        }
    }
    if (all > LINES_MAX)
        (void)fprintf(out, "  … and %zu more; --json lists all of them\n", all - LINES_MAX);
}

void report_run_text(FILE *out, const struct mh_result *r, const char *state_path)
{
    const struct mh_counts *c = &r->counts;
    char size[32];
    double seconds = (double)r->elapsed_ms / 1000;
    print_problems(out, r);
    (void)fprintf(out, "Ledger\n  %-14s %12" PRIu64 "\n  %-14s %12" PRIu64 "\n  %-14s %12" PRIu64,
                  "found", c->found, "copied", c->copied, "already there", c->adopted);
    if (c->unchanged)
        (void)fprintf(out, "   from earlier runs %" PRIu64, c->unchanged);
    (void)fputc('\n', out);
    if (c->adopted_canonical || c->adopted_fingerprint)
        (void)fprintf(out,
                      "  %-14s %12" PRIu64 "   same but for line ends %" PRIu64
                      ", same headers and body %" PRIu64 "\n",
                      "  by all bytes", c->adopted_exact, c->adopted_canonical,
                      c->adopted_fingerprint);
    print_reasons(out, "skipped", c->skipped, &r->skipped);
    print_reasons(out, "failed", c->failed, &r->failed);
    (void)fprintf(out, "  %-14s %12" PRId64 "\n", "remainder",
                  (int64_t)(c->found - c->copied - c->adopted - c->skipped - c->failed));
    if (c->updated || c->gone || c->moved || c->removed)
        (void)fprintf(out,
                      "  flags updated %" PRIu64 ", moved with the source %" PRIu64
                      "; deleted at the source: kept here %" PRIu64 ", quarantined %" PRIu64 "\n",
                      c->updated, c->moved, c->gone, c->removed);
    (void)fprintf(out, "  %s in %.1f s, %.0f messages/s\n",
                  mh_format_size(c->bytes, size, sizeof size), seconds,
                  seconds > 0 ? (double)c->copied / seconds : 0);
    if (state_path)
        (void)fprintf(out, "  details: mailhaul status --state %s\n", state_path);
}

static void print_verify_how(FILE *out, const struct mh_verify_result *r)
{
    const struct mh_verify_counts *c = &r->counts;
    (void)fprintf(out, "Verify   %s",
                  r->options.deep ? "both sides read" : "the target against what was read");
    if (r->options.sample_ppm)
        (void)fprintf(out, ", a sample of %.6g %%: %" PRIu64 " of %" PRIu64 " messages", percent(r),
                      checked(c), c->found);
    (void)fputc('\n', out);
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        const struct mh_verify_mailbox *m = &r->mailboxes[i];
        if (m->resumed_at == 0)
            continue;
        (void)fputs("  ", out);
        print_safe(out, m->mailbox->id);
        (void)fprintf(out, ": resumed at folder %zu of %zu\n", m->resumed_at, m->folders);
    }
}

/* The numbers in the order in which they add up. */
static void print_verify_table(FILE *out, const struct mh_verify_result *r)
{
    const struct mh_verify_counts *c = &r->counts;
    print_verify_how(out, r);
    (void)fprintf(out,
                  "  found %" PRIu64 " = exact %" PRIu64 " + same %" PRIu64 " + differs %" PRIu64
                  " + missing %" PRIu64,
                  c->found, c->exact, c->same, c->differs, c->missing);
    if (c->skipped)
        (void)fprintf(out, " + skipped %" PRIu64, c->skipped);
    if (c->listed)
        (void)fprintf(out, " + only listed %" PRIu64, c->listed);
    if (c->later)
        (void)fprintf(out, " + left to the next verify %" PRIu64, c->later);
    (void)fprintf(out,
                  "\n  extra %" PRIu64 "   flags differ %" PRIu64 "   dates differ %" PRIu64
                  "   in %.1f s\n",
                  c->extra, c->flags, c->dates, (double)r->elapsed_ms / 1000);
    if (c->pending)
        (void)fprintf(out, "  a run is at work and has not come to %" PRIu64 " of them yet\n",
                      c->pending);
    if (c->unsettled)
        (void)fprintf(out, "  changed while it was looked at: %" PRIu64 "\n", c->unsettled);
    bool stopped = false;
    for (size_t i = 0; i < r->n_mailboxes; i++)
        stopped |= r->mailboxes[i].err.code != MH_OK;
    bool good = c->differs == 0 && c->missing == 0 && c->pending == 0 && !stopped;
    bool noted = c->extra || c->flags || c->dates || c->skipped;
    (void)fprintf(out, "  verdict: %s%s%s\n",
                  !good   ? "NOT complete: see above"
                  : noted ? "complete, with the differences above"
                          : "complete and equal",
                  c->listed ? ", as far as the sample goes" : "",
                  c->later || c->unsettled ? ", but for what has changed meanwhile" : "");
}

void report_verify_text(FILE *out, const struct mh_verify_result *r)
{
    char line[1024];
    size_t shown = 0;
    size_t all = 0;
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        const struct mh_verify_mailbox *m = &r->mailboxes[i];
        if (m->err.code != MH_OK) {
            (void)fputs("  STOPPED  ", out);
            print_safe(out, m->mailbox->id);
            (void)fprintf(out, ": %s\n", mh_err_line(&m->err, line, sizeof line));
        }
        for (size_t k = 0; k < m->n_items; k++, all++) {
            if (shown++ < LINES_MAX)
                print_item(out, m->mailbox->id, &m->items[k]);
        }
    }
    if (all > LINES_MAX)
        (void)fprintf(out, "  … and %zu more; --json lists all of them\n", all - LINES_MAX);
    print_verify_table(out, r);
}

static void print_side_problem(FILE *out, const char *id, const char *side,
                               const struct mh_check_side *s, unsigned *n)
{
    char line[1024];
    if (s->err.code != MH_OK) {
        (*n)++;
        (void)fputs("  ! ", out);
        print_safe(out, id);
        bool says_side = mh_str_starts(s->err.where, side);
        (void)fprintf(out, ": %s%s%s\n", says_side ? "" : side, says_side ? "" : ": ",
                      mh_err_line(&s->err, line, sizeof line));
        return;
    }
    if (s->caps.cert_days_left >= 0 && s->caps.cert_days_left < 30) {
        (*n)++;
        (void)fprintf(out, "  ! %s: %s: the certificate ends in %" PRId64 " days\n", id, side,
                      s->caps.cert_days_left);
    }
}

static void print_check_problems(FILE *out, const struct mh_check_mailbox *m, unsigned *n)
{
    char a[32];
    char b[32];
    print_side_problem(out, m->mailbox->id, "source", &m->source, n);
    print_side_problem(out, m->mailbox->id, "target", &m->target, n);
    const struct mh_quota *q = &m->target.quota;
    uint64_t room = q->limit_bytes > q->used_bytes ? q->limit_bytes - q->used_bytes : 0;
    if (q->known && q->limit_bytes && m->source.bytes_known && m->source.bytes > room) {
        (*n)++;
        (void)fprintf(out, "  ! %s: the target's quota has room for %s, the source holds %s\n",
                      m->mailbox->id, mh_format_size(room, a, sizeof a),
                      mh_format_size(m->source.bytes, b, sizeof b));
    }
    if (m->over_limit) {
        (*n)++;
        (void)fprintf(
            out, "  ! %s: %" PRIu64 " messages are bigger than the target takes (biggest %s)\n",
            m->mailbox->id, m->over_limit, mh_format_size(m->biggest, a, sizeof a));
    }
    for (size_t i = 0; i < m->n_names; i++) {
        if (strcmp(m->names[i].state, "same") == 0)
            continue;
        (void)fputs("  ~ ", out);
        print_safe(out, m->mailbox->id);
        (void)fputs(": folder ", out);
        print_safe(out, m->names[i].folder);
        (void)fprintf(out, " %s: ", m->names[i].state);
        print_safe(out, m->names[i].text);
        (void)fprintf(out, " (%s)\n", m->names[i].reason);
    }
}

void report_check_text(FILE *out, const struct mh_check_result *r)
{
    unsigned problems = 0;
    char size[32];
    for (size_t i = 0; i < r->n_mailboxes; i++)
        print_check_problems(out, &r->mailboxes[i], &problems);
    (void)fprintf(out, "%-20s %10s %12s %12s  %-18s %-18s\n", "mailbox", "folders", "messages",
                  "bytes", "source", "target");
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        const struct mh_check_mailbox *m = &r->mailboxes[i];
        print_safe(out, m->mailbox->id);
        (void)fprintf(out, "%*s %10" PRIu64 " %12" PRIu64 " %12s  %-18.18s %-18.18s\n",
                      (int)(20 - MH_MIN(strlen(m->mailbox->id), (size_t)20)), "", m->source.folders,
                      m->source.messages,
                      m->source.bytes_known ? mh_format_size(m->source.bytes, size, sizeof size)
                                            : "?",
                      m->source.err.code ? mh_code_name(m->source.err.code) : "ok",
                      m->target.err.code ? mh_code_name(m->target.err.code) : "ok");
    }
    (void)fprintf(out, "%zu mailboxes checked in %.1f s: %u problems\n", r->n_mailboxes,
                  (double)r->elapsed_ms / 1000, problems);
}

void report_map_text(FILE *out, const struct mh_check_result *r)
{
    unsigned problems = 0;
    for (size_t i = 0; i < r->n_mailboxes; i++) {
        const struct mh_check_mailbox *m = &r->mailboxes[i];
        print_side_problem(out, m->mailbox->id, "source", &m->source, &problems);
        print_side_problem(out, m->mailbox->id, "target", &m->target, &problems);
        for (size_t k = 0; k < m->n_names; k++) {
            const struct mh_item_result *n = &m->names[k];
            print_safe(out, m->mailbox->id);
            (void)fputs("  ", out);
            print_safe(out, n->folder);
            (void)fprintf(out, "  ->  ");
            print_safe(out, strcmp(n->state, "skipped") == 0 ? "(not carried)" : n->text);
            (void)fprintf(out, "  (%s%s%s)\n", n->reason, strcmp(n->state, "same") == 0 ? "" : ", ",
                          strcmp(n->state, "same") == 0 ? "" : n->state);
        }
    }
}
