/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What refusals mean, what servers announce, which UIDs an append got. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/imap/imap_priv.h"

static const struct {
    const char *code, *text; /* CODE NULL: none */
    int means;
    const char *reason;
    int64_t retry_after_ms;
} refusals[] = {
    {"OVERQUOTA", "Quota exceeded (mailbox for user is full)", MH_ELATER, "over-quota", 0},
    {NULL, "Quota exceeded", MH_ELATER, "over-quota", 0},
    {"OVERQUOTA", "Account exceeded command or bandwidth limits. (Failure)", MH_ELATER, "throttled",
     0},
    {"TOOBIG", "Message too large", MH_EITEM, "too-big", 0},
    {NULL, "Maximum size of appendable message has been exceeded.", MH_EITEM, "too-big", 0},
    {NULL, "Message exceeds the maximum allowed size", MH_EITEM, "too-big", 0},
    {"LIMIT", "Too many operations", MH_ELATER, "throttled", 0},
    {"LIMIT", "Message too big", MH_EITEM, "too-big", 0},
    {"LIMIT", "Too many keywords on this message", MH_EITEM, "keyword-refused", 0},
    {"INUSE", "Mailbox is locked", MH_ELATER, "unavailable", 0},
    {"UNAVAILABLE", "Internal error occurred. Refer to server log for more information.", MH_ELATER,
     "unavailable", 0},
    {"SERVERBUG", "Internal error", MH_ELATER, "unavailable", 0},
    {"THROTTLED", "Rate limited", MH_ELATER, "throttled", 0},
    {NULL, "Request is throttled. Suggested Backoff Time: 299962 milliseconds", MH_ELATER,
     "throttled", 299962},
    {NULL, "request is throttled. SUGGESTED BACKOFF TIME: 1 milliseconds", MH_ELATER, "throttled",
     1},
    {NULL, "Suggested Backoff Time: 99999999999999999999 milliseconds", MH_ELATER, "throttled",
     IMAP_BACKOFF_MAX_MS},
    {NULL, "Suggested Backoff Time: soon", MH_ELATER, "throttled", 0},
    {NULL, "Suggested Backoff Time", MH_ELATER, "throttled", 0},
    {"ALERT", "Too many simultaneous connections. (Failure)", MH_ELATER, "throttled", 0},
    {NULL, "Maximum number of connections from user+IP exceeded", MH_ELATER, "throttled", 0},
    {NULL, "User is authenticated but not connected.", MH_ELATER, "unavailable", 0},
    {"ALREADYEXISTS", "Mailbox exists", MH_EEXIST, "exists", 0},
    {NULL, "Mailbox already exists", MH_EEXIST, "exists", 0},
    {"TRYCREATE", "Mailbox doesn't exist: Sent", MH_ENOENT, "no-folder", 0},
    {"NONEXISTENT", "No such mailbox", MH_ENOENT, "no-folder", 0},
    {"AUTHENTICATIONFAILED", "Authentication failed.", MH_EAUTH, "login-refused", 0},
    {"EXPIRED", "Password expired", MH_EAUTH, "login-refused", 0},
    {"EXPUNGEISSUED", "Some messages no longer exist", MH_EITEM, "vanished", 0},
    {"NOPERM", "Permission denied", MH_EITEM, "no-permission", 0},
    {NULL, "Message contains NUL characters", MH_EITEM, "nul-byte", 0},
    {NULL, "Message contains bare newlines", MH_EITEM, "bare-newline", 0},
    {NULL, "Message contains invalid header", MH_EITEM, "bad-header", 0},
    {"CANNOT", "Message contains invalid header", MH_EITEM, "bad-header", 0},
    {NULL, "Line too long", MH_EITEM, "line-too-long", 0},
    {NULL, "Invalid date-time in Append command", MH_EITEM, "bad-date", 0},
    {NULL, "Invalid internal date.", MH_EITEM, "bad-date", 0},
    {NULL, "Invalid keyword name '\xc3\xbc': Only ASCII characters are allowed", MH_EITEM,
     "keyword-refused", 0},
    {NULL, "Your message was flagged as spam", MH_EITEM, "refused", 0},
    {NULL, "", MH_EITEM, "refused", 0},
    {"UNHEARD-OF", "no", MH_EITEM, "refused", 0},
    {"OVERQUOTATION", "no", MH_EITEM, "refused", 0},
};

Test(imap_refuse, meaning)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(refusals); i++) {
        const char *code = refusals[i].code;
        struct imap_refusal r = imap_refusal_of(code, code ? strlen(code) : 0, refusals[i].text,
                                                strlen(refusals[i].text));
        cr_expect_eq(r.code, refusals[i].means, "[%s] %s: %s", code, refusals[i].text,
                     mh_code_name(r.code));
        cr_expect_str_eq(r.reason, refusals[i].reason, "[%s] %s", code, refusals[i].text);
        cr_expect_eq(r.retry_after_ms, refusals[i].retry_after_ms, "[%s] %s", code,
                     refusals[i].text);
    }
}

Test(imap_refuse, server_text_is_printable_and_bounded)
{
    struct mh_err err;
    char code[600];
    char text[600];
    memset(code, 'C', sizeof code);
    memset(text, '\x1b', sizeof text);
    cr_expect_eq(imap_refused(MH_EITEM, "the message", code, sizeof code, text, sizeof text, &err),
                 MH_EITEM);
    cr_expect_lt(strlen(err.server_text), sizeof err.server_text);
    cr_expect_eq(imap_refused(MH_ELATER, "it", "OVERQUOTA", 9, "\x1b[2J full", 9, &err), MH_ELATER);
    cr_expect_str_eq(err.server_text, "[OVERQUOTA] ?[2J full");
    cr_expect_str_eq(err.reason, "over-quota");
}

Test(imap_refuse, codes)
{
    size_t len = 0;
    cr_expect(imap_code_is("appenduid 1 2", 13, "APPENDUID"));
    cr_expect_not(imap_code_is("APPENDUIDS 1 2", 14, "APPENDUID"));
    cr_expect_not(imap_code_is(NULL, 0, "APPENDUID"));
    cr_expect(imap_code_is("ALERT", 5, "ALERT"));
    const char *code = "APPENDUID  38505 3955";
    const char *args = imap_code_args(code, strlen(code), &len);
    cr_expect_eq(len, 10);
    cr_expect_arr_eq(args, "38505 3955", 10);
    (void)imap_code_args("ALERT", 5, &len);
    cr_expect_eq(len, 0);
}

/* --- APPENDUID -------------------------------------------------------------------------------- */

static const struct {
    const char *name, *args;
    size_t n;
    bool ok;
    uint32_t uidvalidity;
} appenduids[] = {
    {"one", "38505 3955", 1, true, 38505},
    {"a range", "38505 3955:4054", 100, true, 38505},
    {"ranges", "1 1:3,7,9:10", 6, true, 1},
    {"too few", "1 1:3", 4, false, 0},
    {"too many", "1 1:5", 4, false, 0},
    {"all numbers there are", "1 1:4294967295", 4, false, 0},
    {"no set", "1", 1, false, 0},
    {"an empty set", "1 ", 1, false, 0},
    {"no number", "x 1", 1, false, 0},
    {"validity too large", "4294967296 1", 1, false, 0},
    {"uid zero", "1 0", 1, false, 0},
    {"star", "1 *", 1, false, 0},
    {"nothing", "", 1, false, 0},
};

Test(imap_append, appenduid)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(appenduids); i++) {
        struct imap_appenduid got = {0};
        bool ok = imap_appenduid_parse(appenduids[i].args, strlen(appenduids[i].args),
                                       appenduids[i].n, &got);
        cr_expect_eq(ok, appenduids[i].ok, "%s", appenduids[i].name);
        if (ok)
            cr_expect_eq(got.uidvalidity, appenduids[i].uidvalidity, "%s", appenduids[i].name);
    }
}

/* --- capabilities ----------------------------------------------------------------------------- */

Test(imap_caps, tokens)
{
    struct imap_capset c;
    imap_capset_reset(&c);
    cr_expect_not(c.is_known);
    static const char line[] =
        "IMAP4rev1 literal+ MULTIAPPEND  AUTH=SCRAM-SHA-256 APPENDLIMIT=35651584 X-Y ";
    imap_capset_add_all(&c, line, sizeof line - 1);
    imap_capset_finish(&c);
    cr_expect(c.is_known);
    cr_expect(imap_has(&c, IMAP_CAP_LITERAL_PLUS));
    cr_expect(imap_has(&c, IMAP_CAP_MULTIAPPEND));
    cr_expect(imap_has(&c, IMAP_CAP_AUTH_SCRAM_SHA_256));
    cr_expect_not(imap_has(&c, IMAP_CAP_AUTH_SCRAM_SHA_1));
    cr_expect_not(imap_has(&c, IMAP_CAP_UIDPLUS));
    cr_expect_eq(c.append_limit, 35651584);
    cr_expect_str_eq(c.text, "IMAP4rev1 literal+ MULTIAPPEND AUTH=SCRAM-SHA-256 "
                             "APPENDLIMIT=35651584 X-Y");
}

Test(imap_caps, append_limits_that_are_none)
{
    static const char *const tokens[] = {"APPENDLIMIT", "APPENDLIMIT=", "APPENDLIMIT=x",
                                         "APPENDLIMIT=99999999999999999999"};
    for (size_t i = 0; i < MH_ARRAY_LEN(tokens); i++) {
        struct imap_capset c;
        imap_capset_reset(&c);
        imap_capset_add(&c, tokens[i], strlen(tokens[i]));
        cr_expect_eq(c.append_limit, 0, "%s", tokens[i]);
    }
}

Test(imap_caps, rev2_alone_has_its_parts_built_in)
{
    struct imap_capset c;
    imap_capset_reset(&c);
    imap_capset_add_all(&c, "IMAP4rev2", 9);
    imap_capset_finish(&c);
    cr_expect(imap_has(&c, IMAP_CAP_UIDPLUS));
    cr_expect(imap_has(&c, IMAP_CAP_LIST_STATUS));
    cr_expect(imap_has(&c, IMAP_CAP_LITERAL_MINUS));
    imap_capset_reset(&c);
    imap_capset_add_all(&c, "IMAP4rev1 IMAP4rev2", 19); /* not enabled: not in force */
    imap_capset_finish(&c);
    cr_expect_not(imap_has(&c, IMAP_CAP_UIDPLUS));
}

Test(imap_caps, a_long_list_is_cut_between_two_tokens)
{
    struct imap_capset c;
    imap_capset_reset(&c);
    for (int i = 0; i < 1000; i++)
        imap_capset_add(&c, "X-TOKEN", 7);
    imap_capset_add(&c, "bad\x1btoken", 9);
    imap_capset_add(&c, "UIDPLUS", 7);
    cr_expect_lt(strlen(c.text), sizeof c.text);
    cr_expect_eq((strlen(c.text) + 1) % 8, 0);
    cr_expect_not(strchr(c.text, '\x1b'));
    cr_expect(imap_has(&c, IMAP_CAP_UIDPLUS), "what does not fit the text counts all the same");
}

/* --- sets of UIDs ----------------------------------------------------------------------------- */

Test(imap_caps, uid_chunks_are_bounded)
{
    static uint64_t uids[2000];
    for (size_t i = 0; i < MH_ARRAY_LEN(uids); i++)
        uids[i] = 4294960000u + i;
    cr_expect_eq(imap_uid_chunk(uids, MH_ARRAY_LEN(uids)), MH_ARRAY_LEN(uids), "one range");
    for (size_t i = 0; i < MH_ARRAY_LEN(uids); i++)
        uids[i] = 4294000000u + 2 * i;
    size_t n = imap_uid_chunk(uids, MH_ARRAY_LEN(uids));
    cr_expect_eq(n, IMAP_UID_RANGES_MAX);
    struct mh_cmd c;
    mh_cmd_init(&c, MH_LITERAL_PLUS);
    mh_cmd_uid_set(&c, uids, n);
    cr_expect_lt(c.text.len, 8000);
    mh_cmd_done(&c);
    cr_expect_eq(imap_uid_chunk(uids, 0), 0);
}

Test(imap_caps, keywords_that_are_no_atoms_are_left_out)
{
    struct mh_session *s = calloc(1, sizeof *s);
    struct mh_buf out = MH_BUF_INIT;
    imap_flags_add(s, MH_SEEN, "ok $Forwarded a(b \xc3\xbc * c\\d x\"y  $MDNSent", &out);
    cr_expect_str_eq(mh_buf_str(&out), "\\Seen ok $Forwarded $MDNSent");
    cr_expect_eq(s->counters.dropped_keywords, 5);
    mh_buf_reset(&out);
    imap_flags_add(s, 0, NULL, &out);
    cr_expect_str_eq(mh_buf_str(&out), "");
    mh_buf_done(&out);
    free(s);
}
