/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/imap/imap_priv.h"

#define A100                                                                                       \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaa"
#define U10 "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc"

static struct imap_names names_of(const char *prefix, char separator, enum imap_family family,
                                  bool utf8)
{
    struct imap_names n = {.separator = separator, .utf8 = utf8, .family = family};
    strcpy(n.prefix, prefix);
    return n;
}

static const struct {
    const char *name, *prefix;
    char separator;
    bool utf8;
    const char *native;
    const char *path; /* NULL: none */
} to_path_cases[] = {
    {"plain", "", '/', false, "Sent", "Sent"},
    {"inbox", "", '/', false, "INBOX", "INBOX"},
    {"inbox in lower case", "", '/', false, "inbox", "INBOX"},
    {"inbox in mixed case below a prefix", "INBOX.", '.', false, "InBox", "INBOX"},
    {"child of the inbox", "", '/', false, "INBOX/Old", "INBOX/Old"},
    {"child of the inbox in another case", "", '/', false, "Inbox/Old", "INBOX/Old"},
    {"the prefix goes", "INBOX.", '.', false, "INBOX.Sent", "Sent"},
    {"the prefix in another case goes", "INBOX.", '.', false, "Inbox.Sent.2019", "Sent/2019"},
    {"INBOX below INBOX is not the inbox", "INBOX.", '.', false, "INBOX.INBOX", "INBOX/INBOX"},
    {"and its children", "INBOX.", '.', false, "INBOX.INBOX.Old", "INBOX/Old"},
    {"two of them", "INBOX.", '.', false, "INBOX.INBOX.INBOX", "INBOX/INBOX/INBOX"},
    {"inbox in lower case below INBOX", "INBOX.", '.', false, "INBOX.inbox", "inbox"},
    {"a prefix that is no inbox", "Mail/", '/', false, "Mail/Sent", "Sent"},
    {"outside of the prefix", "Mail/", '/', false, "Other/Sent", "Other/Sent"},
    {"the prefix alone", "Mail/", '/', false, "Mail/", NULL},
    {"dot separator, slash in a component", "", '.', false, "A/B.C", "A%2FB/C"},
    {"no separator", "", '\0', false, "A.B/C", "A.B%2FC"},
    {"modified UTF-7", "", '/', false, "Entw&APw-rfe", "Entw\xc3\xbcrfe"},
    {"ampersand", "", '/', false, "a&-b", "a&b"},
    {"broken: no base64", "", '/', false, "a&b", "a%26b"},
    {"broken: shift for ASCII", "", '/', false, "&AGE-", "%26AGE-"},
    {"broken in one component only", "", '/', false, "Entw&APw-rfe/&x", "Entw\xc3\xbcrfe/%26x"},
    {"raw UTF-8 where UTF-7 is due", "", '/', false, "Entw\xc3\xbcrfe", "Entw\xc3\xbcrfe"},
    {"raw Latin-1", "", '/', false, "Entw\xfcrfe", "Entw%FCrfe"},
    {"UTF8=ACCEPT", "", '/', true, "Entw\xc3\xbcrfe&", "Entw\xc3\xbcrfe&"},
    {"escape codes", "", '/', false, "\x1b[31mred", "%1B[31mred"},
    {"line end", "", '/', false, "a\r\nb", "a%0D%0Ab"},
    {"looks like an escape", "", '/', false, "a%2Fb", "a%252Fb"},
    {"empty component", "", '/', false, "A//B", "A/%2FB"},
    {"empty component, dots", "", '.', false, "A..B", "A/.B"},
    {"leading separator", "", '/', false, "/home/anna", "%2Fhome/anna"},
    {"trailing separator", "", '/', false, "dir/", "dir"},
    {"separators only", "", '/', false, "///", NULL},
    {"dots", "", '/', false, "../../etc", "../../etc"},
    {"trailing blank", "", '/', false, "Old ", "Old "},
};

Test(imap_names, to_path)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(to_path_cases); i++) {
        struct imap_names n = names_of(to_path_cases[i].prefix, to_path_cases[i].separator,
                                       IMAP_ANY, to_path_cases[i].utf8);
        struct mh_buf path = MH_BUF_INIT;
        bool has = imap_name_to_path(&n, n.separator, true, to_path_cases[i].native,
                                     strlen(to_path_cases[i].native), &path);
        cr_expect_eq(has, to_path_cases[i].path != NULL, "%s", to_path_cases[i].name);
        if (to_path_cases[i].path)
            cr_expect_str_eq(mh_buf_str(&path), to_path_cases[i].path, "%s", to_path_cases[i].name);
        mh_buf_done(&path);
    }
}

Test(imap_names, foreign_names_keep_their_prefix)
{
    struct imap_names n = names_of("INBOX.", '.', IMAP_ANY, false);
    struct mh_buf path = MH_BUF_INIT;
    cr_assert(imap_name_to_path(&n, '.', false, "shared.team", 11, &path));
    cr_expect_str_eq(mh_buf_str(&path), "shared/team");
    mh_buf_done(&path);
}

static const struct {
    const char *name, *prefix;
    char separator;
    enum imap_family family;
    enum imap_name_level level;
    const char *path, *native;
} from_path_cases[] = {
    {"plain", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "Archive/2019", "Archive/2019"},
    {"other separator", "", '.', IMAP_ANY, IMAP_NAME_AS_IS, "Archive/2019", "Archive.2019"},
    {"prefix", "INBOX.", '.', IMAP_ANY, IMAP_NAME_AS_IS, "Sent", "INBOX.Sent"},
    {"the inbox has no prefix", "INBOX.", '.', IMAP_ANY, IMAP_NAME_AS_IS, "INBOX", "INBOX"},
    {"child of the inbox below a prefix", "INBOX.", '.', IMAP_ANY, IMAP_NAME_AS_IS, "INBOX/Old",
     "INBOX.INBOX.Old"},
    {"INBOX below INBOX", "INBOX.", '.', IMAP_CYRUS, IMAP_NAME_AS_IS, "INBOX/INBOX", "INBOX.INBOX"},
    {"INBOX below INBOX at Dovecot", "INBOX.", '.', IMAP_DOVECOT, IMAP_NAME_AS_IS, "INBOX/INBOX",
     "INBOX.%49NBOX"},
    {"INBOX below INBOX and a child", "INBOX.", '.', IMAP_DOVECOT, IMAP_NAME_AS_IS, "INBOX/INBOX/a",
     "INBOX.INBOX.INBOX.a"},
    {"child of the inbox", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "INBOX/Old", "INBOX/Old"},
    {"a folder that would be the inbox", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "inbox", "%69nbox"},
    {"the same below a prefix", "INBOX.", '.', IMAP_CYRUS, IMAP_NAME_AS_IS, "inbox", "INBOX.inbox"},
    {"the same at Dovecot", "INBOX.", '.', IMAP_DOVECOT, IMAP_NAME_AS_IS, "inbox/a",
     "INBOX.%69nbox.a"},
    {"umlaut", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "Entw\xc3\xbcrfe", "Entw&APw-rfe"},
    {"ampersand", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "a&b", "a&-b"},
    {"separator inside", "", '.', IMAP_ANY, IMAP_NAME_AS_IS, "v1.2/x", "v1%2E2.x"},
    {"slash inside", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "A%2FB", "A%2FB"},
    {"slash inside, other separator", "", '.', IMAP_ANY, IMAP_NAME_AS_IS, "A%2FB", "A/B"},
    {"slash inside at Dovecot", "", '.', IMAP_DOVECOT, IMAP_NAME_AS_IS, "A%2FB", "A%2FB"},
    {"tilde at Dovecot", "", '.', IMAP_DOVECOT, IMAP_NAME_AS_IS, "~tilde", "%7Etilde"},
    {"tilde later", "", '.', IMAP_DOVECOT, IMAP_NAME_AS_IS, "a~", "a~"},
    {"what Cyrus refuses", "INBOX.", '.', IMAP_CYRUS, IMAP_NAME_AS_IS, "100%/a!b",
     "INBOX.100=25.a=21b"},
    {"our escape in a name, at Cyrus", "INBOX.", '.', IMAP_CYRUS, IMAP_NAME_AS_IS, "a=25b",
     "INBOX.a=3D25b"},
    {"control bytes", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "a%01b%0D%0A", "a%01b%0D%0A"},
    {"NUL", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "a%00b", "a%00b"},
    {"invalid UTF-8", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "a%FCb", "a%FCb"},
    {"dots", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "../.", "%2E%2E/%2E"},
    {"three dots are a name", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "...", "..."},
    {"a blank in a URL is kept", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "a%2520b", "a%20b"},
    {"what could be our escape", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "a%252Fb", "a%252Fb"},
    {"a percent sign alone", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "100% sure", "100% sure"},
    {"trailing blank", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, "Old ", "Old "},
    {"no hierarchy", "", '\0', IMAP_ANY, IMAP_NAME_AS_IS, "a/b", "a%2Fb"},
    {"strict", "", '/', IMAP_ANY, IMAP_NAME_STRICT, "a*b/ c (d)/e-f_g", "a%2Ab/%20c %28d%29/e-f_g"},
    {"strict keeps what is not ASCII", "", '/', IMAP_ANY, IMAP_NAME_STRICT, "\xc3\xbc", "&APw-"},
    {"short escapes without %", "", '/', IMAP_ANY, IMAP_NAME_SHORT, "a*b", "a=2Ab"},
    {"too long for a file system", "", '/', IMAP_ANY, IMAP_NAME_AS_IS, A100 A100 A100,
     A100 A100 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-9835fa6b"},
    {"too long as a whole", "INBOX.", '.', IMAP_COURIER, IMAP_NAME_AS_IS, A100 "/" A100 "/" A100,
     "INBOX." A100 "." A100 ".cut-5b9aadfd"},
};

Test(imap_names, from_path)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(from_path_cases); i++) {
        struct imap_names n = names_of(from_path_cases[i].prefix, from_path_cases[i].separator,
                                       from_path_cases[i].family, false);
        struct mh_buf native = MH_BUF_INIT;
        imap_name_from_path(&n, from_path_cases[i].path, from_path_cases[i].level, &native);
        cr_expect_not(mh_buf_failed(&native), "%s", from_path_cases[i].name);
        cr_expect_str_eq(mh_buf_str(&native), from_path_cases[i].native, "%s",
                         from_path_cases[i].name);
        mh_buf_done(&native);
    }
}

Test(imap_names, utf8_names_are_not_encoded)
{
    struct imap_names n = names_of("", '/', IMAP_ANY, true);
    struct mh_buf native = MH_BUF_INIT;
    imap_name_from_path(&n, "Entw\xc3\xbcrfe/a&b", IMAP_NAME_AS_IS, &native);
    cr_expect_str_eq(mh_buf_str(&native), "Entw\xc3\xbcrfe/a&b");
    mh_buf_done(&native);
}

/* A cut must never leave half a character or more than the limit, whatever the length. */
Test(imap_names, cuts_fit_at_every_length)
{
    struct imap_names n = names_of("", '/', IMAP_ANY, false);
    struct mh_buf path = MH_BUF_INIT;
    for (int i = 0; i < 60; i++) {
        struct mh_buf native = MH_BUF_INIT;
        struct mh_buf back = MH_BUF_INIT;
        mh_buf_adds(&path, i % 3 ? U10 : "ab");
        imap_name_from_path(&n, mh_buf_str(&path), IMAP_NAME_AS_IS, &native);
        cr_assert_not(mh_buf_failed(&native));
        cr_expect_leq(native.len, 255);
        cr_expect(imap_name_to_path(&n, '/', true, native.data, native.len, &back));
        cr_expect_not(strstr(back.data, "%26"), "undecodable: %s", native.data);
        mh_buf_done(&native);
        mh_buf_done(&back);
    }
    mh_buf_done(&path);
}

/* Two paths never get one name, and what has one name on its way out has one path on its way back.
 */
Test(imap_names, no_two_paths_get_one_name)
{
    static const char *const parts[] = {
        "a",     "a%2Fb", "a%252Fb", "a.b",  "a%252Eb", "%2569nbox", "inbox", "Inbox",
        "INBOX", "%00",   "%2500",   "a%25", "a=2Eb",   "a=3D2Eb",   "~",     "%257E"};
    static const struct {
        const char *prefix;
        char separator;
        enum imap_family family;
    } servers[] = {
        {"", '/', IMAP_ANY},         {"", '.', IMAP_DOVECOT},     {"INBOX.", '.', IMAP_COURIER},
        {"INBOX.", '.', IMAP_CYRUS}, {"INBOX/", '/', IMAP_CYRUS},
    };
    for (size_t k = 0; k < MH_ARRAY_LEN(servers); k++) {
        struct imap_names n =
            names_of(servers[k].prefix, servers[k].separator, servers[k].family, false);
        char *made[MH_ARRAY_LEN(parts) * MH_ARRAY_LEN(parts)];
        size_t n_made = 0;
        for (size_t a = 0; a < MH_ARRAY_LEN(parts); a++) {
            for (size_t b = 0; b < MH_ARRAY_LEN(parts); b++) {
                struct mh_buf path = MH_BUF_INIT;
                struct mh_buf native = MH_BUF_INIT;
                mh_buf_addf(&path, "%s/%s", parts[a], parts[b]);
                imap_name_from_path(&n, mh_buf_str(&path), IMAP_NAME_AS_IS, &native);
                for (size_t i = 0; i < n_made; i++)
                    cr_expect_str_neq(made[i], native.data, "server %zu: %s", k, path.data);
                made[n_made++] = mh_buf_take(&native);
                mh_buf_done(&path);
            }
        }
        for (size_t i = 0; i < n_made; i++)
            free(made[i]);
    }
}

/* A name without escapes is the same name when its path goes to the same server again. */
Test(imap_names, names_come_back)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(from_path_cases); i++) {
        const char *name = from_path_cases[i].native;
        struct imap_names n = names_of(from_path_cases[i].prefix, from_path_cases[i].separator,
                                       from_path_cases[i].family, false);
        struct mh_buf path = MH_BUF_INIT;
        struct mh_buf native = MH_BUF_INIT;
        if (strpbrk(name, "%="))
            continue;
        cr_assert(imap_name_to_path(&n, n.separator, true, name, strlen(name), &path));
        imap_name_from_path(&n, mh_buf_str(&path), IMAP_NAME_AS_IS, &native);
        cr_expect_str_eq(mh_buf_str(&native), name, "%s", from_path_cases[i].name);
        mh_buf_done(&path);
        mh_buf_done(&native);
    }
}

static const struct {
    const char *text;
    enum imap_family family;
} family_cases[] = {
    {"Dovecot", IMAP_DOVECOT},
    {"Dovecot (Debian) ready.", IMAP_DOVECOT},
    {"Cyrus IMAPD", IMAP_CYRUS},
    {"mail.example.org Cyrus IMAP 3.6.1-Debian-3.6.1-4 server ready", IMAP_CYRUS},
    {"Courier-IMAP ready. Copyright 1998-2019 Double Precision, Inc.", IMAP_COURIER},
    {"The Microsoft Exchange IMAP4 service is ready.", IMAP_EXCHANGE},
    {"Gimap ready for requests", IMAP_ANY},
    {"", IMAP_ANY},
};

Test(imap_names, family)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(family_cases); i++)
        cr_expect_eq(imap_family_of(family_cases[i].text), family_cases[i].family, "%s",
                     family_cases[i].text);
}

static const struct {
    const char *name;
    bool own;
} own_cases[] = {
    {"INBOX", true},      {"inbox", true},     {"INBOX.Sent", true},   {"Inbox.Sent", true},
    {"user.bert", false}, {"user", false},     {"user.bert.x", false}, {"Public.News", false},
    {"Public", false},    {"Elsewhere", true}, {"userland", true},
};

Test(imap_names, whose_it_is)
{
    struct mh_session *s = calloc(1, sizeof *s);
    s->names = names_of("INBOX.", '.', IMAP_ANY, false);
    s->namespaces[0] = (struct imap_namespace){"INBOX.", '.', IMAP_NS_PERSONAL};
    s->namespaces[1] = (struct imap_namespace){"user.", '.', IMAP_NS_OTHER};
    s->namespaces[2] = (struct imap_namespace){"Public.", '.', IMAP_NS_SHARED};
    s->n_namespaces = 3;
    for (size_t i = 0; i < MH_ARRAY_LEN(own_cases); i++)
        cr_expect_eq(imap_is_own(s, own_cases[i].name, strlen(own_cases[i].name)), own_cases[i].own,
                     "%s", own_cases[i].name);
    /* Cyrus: everything at the top is shared. */
    s->namespaces[2] = (struct imap_namespace){"", '.', IMAP_NS_SHARED};
    cr_expect_not(imap_is_own(s, "News", 4));
    cr_expect(imap_is_own(s, "INBOX.News", 10));
    /* The ordinary case: one empty prefix. */
    s->names.prefix[0] = '\0';
    s->namespaces[0] = (struct imap_namespace){"", '/', IMAP_NS_PERSONAL};
    cr_expect(imap_is_own(s, "News", 4));
    free(s);
}
