/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The project file: every key of it, and one clear line for everything that is wrong with it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "out_of_memory.h"
#include "plan/plan.h"
#include "scratch.h"

/* The smallest project file; the cases add to it. */
#define HEAD    "version: 1\n"
#define SOURCE  "source: {type: imap, host: imap.old.example}\n"
#define TARGET  "target: {type: imap, host: imap.new.example}\n"
#define USERS   "users: users.csv\n"
#define MINIMAL HEAD SOURCE TARGET USERS

static const char whole[] =
    "version: 1\n"
    "project: {name: acme-2026, timezone: Europe/Paris, state: acme.db}\n"
    "source: {type: imap, host: imap.old.example, tls: implicit, admin-user: migadmin,\n"
    "         password-command: [pass, show, acme/old-admin], connections: 12, per-mailbox: 2}\n"
    "target: {type: imap, profile: exchange-online, host: outlook.office365.com, auth: xoauth2,\n"
    "         oauth: {tenant: contoso.example, client-id: 0000, client-secret-file: "
    "secrets/m365},\n"
    "         max-message: 35MiB}\n"
    "users: users.csv\n"
    "limits: {bandwidth: [\"Mon-Fri 08:00-19:00 2MiB/s\"], memory: 256MiB}\n"
    "policy: {oversize: export-eml, deletions: never, keywords: {\"$MDNSent\": drop}}\n"
    "map: [{role: sent, to: \"@sent\"}, {match: \"INBOX.Old/(.+)\", to: \"Archive/$1\"}]\n"
    "waves: [{name: pilot, select: \"pilot == yes\"}, {name: sales, select: \"dept == sales\",\n"
    "         after: pilot, gate: [verify.complete]}]\n"
    "criteria: {items.failed: {max: 0}, verify.content: {coverage: 100%}, dns.ttl: {record: MX,\n"
    "          max: 300}}\n";

static struct mh_plan *parse(const char *text, const char *file)
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    char line[1024];
    int rc = mh_plan_parse(text, strlen(text), file, &p, &err);
    cr_assert_eq(rc, 0, "%s", mh_err_line(&err, line, sizeof line));
    return p;
}

Test(plan_project, reads_every_key_of_the_design)
{
    struct mh_plan *p = parse(whole, "/srv/acme/mailhaul.yaml");
    cr_expect_str_eq(p->name, "acme-2026");
    cr_expect_str_eq(p->timezone, "Europe/Paris");
    cr_expect_str_eq(p->state, "/srv/acme/acme.db");
    cr_expect_str_eq(p->users_file, "/srv/acme/users.csv");
    const struct mh_endpoint *s = &p->source.endpoint;
    cr_expect_str_eq(s->type, "imap");
    cr_expect_str_eq(s->host, "imap.old.example");
    cr_expect_eq(s->port, 993);
    cr_expect_eq(s->tls, MH_TLS_IMPLICIT);
    cr_expect_str_eq(s->admin_user, "migadmin");
    cr_expect_not(s->admin_by_name);
    cr_expect_str_eq(s->secret.command[0], "pass");
    cr_expect_str_eq(s->secret.command[2], "acme/old-admin");
    cr_expect_null(s->secret.command[3]);
    cr_expect_eq(s->connections, 12u);
    cr_expect_eq(s->per_mailbox, 2u);
    const struct mh_endpoint *t = &p->target.endpoint;
    cr_expect_str_eq(t->profile, "exchange-online");
    cr_expect_eq(t->auth, MH_AUTH_XOAUTH2);
    cr_expect_eq(t->max_message, 35u << 20);
    cr_expect_str_eq(p->target.oauth.tenant, "contoso.example");
    cr_expect_str_eq(p->target.oauth.client_id, "0000");
    cr_expect_str_eq(p->target.oauth.client_secret_file, "/srv/acme/secrets/m365");
    cr_expect_eq(p->bandwidth.n, 1u);
    cr_expect_str_eq(p->bandwidth.v[0], "Mon-Fri 08:00-19:00 2MiB/s");
    cr_expect_eq(p->memory_bytes, 256u << 20);
    cr_expect_eq(p->oversize, MH_OVERSIZE_EXPORT_EML);
    cr_expect_eq(p->deletions, MH_DELETIONS_NEVER);
    cr_expect_eq(p->keywords.n, 1u);
    cr_expect_null(p->keywords.v[0].to);
    cr_expect_eq(mh_map_rules_count(p->map), 2u);
    cr_expect_str_eq(mh_map_rules_text(p->map, 2), "match \"INBOX.Old/(.+)\" to \"Archive/$1\"");
    cr_expect_eq(p->n_waves, 2u);
    cr_expect_str_eq(p->waves[1].after, "pilot");
    cr_expect_str_eq(p->waves[1].gate.v[0], "verify.complete");
    cr_expect_eq(p->n_criteria, 3u);
    cr_expect_str_eq(p->criteria[1].name, "verify.content");
    cr_expect(p->criteria[1].has_coverage && p->criteria[1].coverage_bp == 10000);
    cr_expect(p->criteria[2].has_max && p->criteria[2].max == 300 && !p->criteria[2].has_min);
    cr_expect_str_eq(p->criteria[2].record, "MX");
    mh_plan_free(p);
}

Test(plan_project, reads_the_other_keys)
{
    struct mh_plan *p = parse(
        HEAD "source:\n  type: imap\n  host: '[2001:db8::1]'\n  port: 1143\n  tls: starttls\n"
             "  ca: certs/ca.pem\n"
             "  pin: sha256:AA:bb:000000000000000000000000000000000000000000000000000000000000\n"
             "  auth: scram\n  admin-user: '*master'\n  password-file: /etc/pw\n"
             "target:\n  type: maildir\n  path: backup/{user}\n  folder-prefix: inbox/Old\n" USERS
             "limits: {bandwidth: 2M, memory: 64MiB}\n"
             "policy: {deletions: quarantine, keywords: {Foo: Bar, Old: \"drop\"}}\n"
             "map:\n- {match: 'A(.*)', skip: yes}\n- {role: junk, skip: true}\n"
             "waves:\n- {name: w, select: a == b, window: [Fri 20:00-06:00, Mon-Thu 19:00-24:00]}\n"
             "criteria:\n  found.items: {min: 5, max: 10}\n  x: {coverage: 99.5%}\n",
        "mailhaul.yaml");
    const struct mh_endpoint *s = &p->source.endpoint;
    cr_expect_str_eq(s->host, "2001:db8::1");
    cr_expect_eq(s->port, 1143);
    cr_expect_eq(s->tls, MH_TLS_STARTTLS);
    cr_expect_str_eq(s->ca_file, "certs/ca.pem");
    cr_expect_str_eq(s->pin, "aabb000000000000000000000000000000000000000000000000000000000000");
    cr_expect_eq(s->auth, MH_AUTH_SCRAM);
    cr_expect_str_eq(s->admin_user, "master");
    cr_expect(s->admin_by_name);
    cr_expect_str_eq(s->secret.file, "/etc/pw");
    cr_expect_str_eq(p->target.endpoint.path, "backup/{user}");
    cr_expect_str_eq(p->target.endpoint.folder_prefix, "INBOX/Old");
    cr_expect_str_eq(p->bandwidth.v[0], "2M");
    cr_expect_eq(p->deletions, MH_DELETIONS_QUARANTINE);
    cr_expect_str_eq(p->keywords.v[0].to, "Bar");
    cr_expect_null(p->keywords.v[1].to);
    cr_expect_eq(mh_map_rules_count(p->map), 2u);
    cr_expect_eq(p->waves[0].window.n, 2u);
    cr_expect(p->criteria[0].has_min && p->criteria[0].min == 5 && p->criteria[0].max == 10);
    cr_expect_eq(p->criteria[1].coverage_bp, 9950u);
    mh_plan_free(p);
}

Test(plan_project, has_defaults)
{
    struct mh_plan *p = parse("\xef\xbb\xbf" MINIMAL, "sub/mailhaul.yaml");
    cr_expect_str_eq(p->name, "mailhaul");
    cr_expect_str_eq(p->state, "sub/mailhaul.db");
    cr_expect_null(p->timezone);
    cr_expect_eq(p->memory_bytes, MH_MEMORY_DEFAULT_BYTES);
    cr_expect_eq(p->oversize, MH_OVERSIZE_SKIP);
    cr_expect_eq(p->deletions, MH_DELETIONS_NEVER);
    cr_expect_eq(p->source.endpoint.port, 993);
    cr_expect_eq(p->notes.n, 0u);
    mh_plan_free(p);
}

static const struct {
    const char *name, *tls;
    unsigned port;
} ports[] = {{"implicit", "implicit", 993}, {"starttls", "starttls", 143}, {"none", "none", 143}};

Test(plan_project, port_follows_tls)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(ports); i++) {
        char text[512];
        (void)snprintf(text, sizeof text,
                       HEAD "source: {type: imap, host: h, tls: %s}\n" TARGET USERS, ports[i].tls);
        struct mh_plan *p = parse(text, "mailhaul.yaml");
        cr_expect_eq(p->source.endpoint.port, ports[i].port, "%s", ports[i].name);
        /* Plaintext has a name, and `check` repeats it. */
        cr_expect_eq(p->notes.n, strcmp(ports[i].tls, "none") == 0 ? 1u : 0u, "%s", ports[i].name);
        mh_plan_free(p);
    }
}

/* --- what is wrong ---------------------------------------------------------------------------- */

static const struct {
    const char *name, *text;
    const char *line; /* how the error line begins */
} faults[] = {
    {"unknown key", HEAD "source:\n  type: imap\n  host: h\n  conections: 12\n" TARGET USERS,
     "mailhaul.yaml:5:3: unknown key 'conections' in source; did you mean 'connections'?"},
    {"unknown key in flow", HEAD "source: {type: imap, host: h, pot: 3}\n" TARGET USERS,
     "mailhaul.yaml:2:31: unknown key 'pot' in source; did you mean 'port'?"},
    {"underscore for dash", HEAD "source: {type: imap, admin_user: x}\n" TARGET USERS,
     "mailhaul.yaml:2:22: unknown key 'admin_user' in source; did you mean 'admin-user'?"},
    {"password in the file", HEAD "source: {type: imap, host: h, password: hunter2}\n" TARGET USERS,
     "mailhaul.yaml:2:31: unknown key 'password' in source; did you mean 'password-command'?"},
    {"nothing near", MINIMAL "zzzzzz: 1\n",
     "mailhaul.yaml:5:1: unknown key 'zzzzzz' in the project file; it knows version, project,"},
    {"key is not ASCII", MINIMAL "pölicy: {}\n",
     "mailhaul.yaml:5:1: unknown key 'pölicy' in the project file; did you mean 'policy'?"},
    {"column counts characters",
     HEAD "source: {type: imap, host: h, ca: éé, pot: 3}\n" TARGET USERS,
     "mailhaul.yaml:2:39: unknown key 'pot'"},
    {"key twice", MINIMAL "users: b.csv\n",
     "mailhaul.yaml:5:1: key 'users' is here twice, first in line 4; remove one of them"},
    {"key twice in flow", HEAD "source: {type: imap, host: a, host: b}\n",
     "mailhaul.yaml:2:31: key 'host' is here twice, first in line 2"},
    {"missing version", SOURCE TARGET USERS,
     "mailhaul.yaml:1:1: the project file needs the key 'version'"},
    {"missing target", HEAD SOURCE USERS,
     "mailhaul.yaml:1:1: the project file needs the key 'target'"},
    {"missing users", HEAD SOURCE TARGET,
     "mailhaul.yaml:1:1: the project file needs the key 'users'"},
    {"missing type", HEAD "source: {host: h}\n" TARGET USERS,
     "mailhaul.yaml:2:9: source needs the key 'type'"},
    {"missing host", HEAD "source: {type: imap}\n" TARGET USERS,
     "mailhaul.yaml:2:9: type imap needs the key 'host'"},
    {"missing path", HEAD "source: {type: mbox}\n" TARGET USERS,
     "mailhaul.yaml:2:9: type mbox needs the key 'path'"},
    {"missing in oauth", HEAD "source: {type: imap, host: h, oauth: {tenant: t}}\n",
     "mailhaul.yaml:2:38: oauth needs the key 'client-id'"},
    {"wrong version", "version: 2\n" SOURCE TARGET USERS,
     "mailhaul.yaml:1:10: version must be 1, not '2'"},
    {"version is a list", "version: [1]\n",
     "mailhaul.yaml:1:10: version must be a single value, not a list"},
    {"section is a word", HEAD "source: imap\n",
     "mailhaul.yaml:2:9: source must be a mapping, not a single value"},
    {"section is a list", HEAD "source: [imap]\n",
     "mailhaul.yaml:2:9: source must be a mapping, not a list"},
    {"section is empty", HEAD "source:\n",
     "mailhaul.yaml:2:8: source must be a mapping, not empty"},
    {"value is empty", HEAD "source: {type: }\n", "mailhaul.yaml:2:16: type has no value"},
    {"value is null", HEAD "source: {type: ~}\n", "mailhaul.yaml:2:16: type has no value"},
    {"value is a mapping", HEAD "source: {type: {a: b}}\n",
     "mailhaul.yaml:2:16: type must be a single value, not a mapping"},
    {"file is a list", "- a\n",
     "mailhaul.yaml:1:1: the project file must be a mapping, not a list"},
    {"file is a word", "hello\n",
     "mailhaul.yaml:1:1: the project file must be a mapping, not a single value"},
    {"wrong type", HEAD "source: {type: imaps}\n",
     "mailhaul.yaml:2:16: type is imap, ews, graph, pst, maildir, mbox or eml, not 'imaps'; did "
     "you mean 'imap'?"},
    {"wrong tls", HEAD "source: {type: imap, tls: strattls}\n",
     "mailhaul.yaml:2:27: tls is implicit, starttls or none, not 'strattls'; did you mean "
     "'starttls'?"},
    {"wrong auth", HEAD "source: {type: imap, auth: cram}\n",
     "mailhaul.yaml:2:28: auth is plain, login, scram, xoauth2 or oauthbearer, not 'cram'; did you "
     "mean 'scram'?"},
    {"wrong profile", HEAD "target: {type: imap, profile: gmial}\n",
     "mailhaul.yaml:2:31: profile is generic, exchange-online, exchange-server or gmail, not "
     "'gmial'; did you mean 'gmail'?"},
    {"port zero", HEAD "source: {type: imap, port: 0}\n",
     "mailhaul.yaml:2:28: port must be a whole number from 1 to 65535, not '0'"},
    {"port too large", HEAD "source: {type: imap, port: 65536}\n",
     "mailhaul.yaml:2:28: port must be"},
    {"port is hex", HEAD "source: {type: imap, port: 0x1f}\n", "mailhaul.yaml:2:28: port must be"},
    {"port overflows", HEAD "source: {type: imap, port: 99999999999999999999999}\n",
     "mailhaul.yaml:2:28: port must be"},
    {"negative", HEAD "source: {type: imap, connections: -1}\n",
     "mailhaul.yaml:2:35: connections must be a whole number from 1 to 1000, not '-1'"},
    {"too many", HEAD "source: {type: imap, connections: 1001}\n",
     "mailhaul.yaml:2:35: connections must"},
    {"more per mailbox than in all",
     HEAD "source: {type: imap, host: h, connections: 2, per-mailbox: 3}\n",
     "mailhaul.yaml:2:60: per-mailbox is 3, more than the 2 connections"},
    {"no size", HEAD "target: {type: imap, max-message: big}\n",
     "mailhaul.yaml:2:35: max-message must be a size such as 35MiB, not 'big'"},
    {"size too small", HEAD "target: {type: imap, max-message: 10}\n",
     "mailhaul.yaml:2:35: max-message must be from 1.0 KiB to 1.0 TiB, not '10'"},
    {"memory too small", MINIMAL "limits: {memory: 1MiB}\n",
     "mailhaul.yaml:5:18: memory must be from 8.0 MiB"},
    {"host is a URL", HEAD "source: {type: imap, host: imaps://h/}\n",
     "mailhaul.yaml:2:28: host 'imaps://h/' must be the server's name alone, not a URL"},
    {"host with port", HEAD "source: {type: imap, host: 'h:993'}\n",
     "mailhaul.yaml:2:28: host 'h:993' has a port in it; write the port as 'port: …'"},
    {"host with user", HEAD "source: {type: imap, host: a@h}\n",
     "mailhaul.yaml:2:28: host 'a@h' must be the server's name alone, without a user"},
    {"host not ASCII", HEAD "source: {type: imap, host: hö.example}\n",
     "mailhaul.yaml:2:28: host 'hö.example' has letters outside ASCII; write its xn-- form"},
    {"host with blank", HEAD "source: {type: imap, host: a b}\n",
     "mailhaul.yaml:2:28: host 'a b' is not a host name"},
    {"short pin", HEAD "source: {type: imap, pin: 'sha256:abcd'}\n",
     "mailhaul.yaml:2:27: pin must be sha256: and 64 hex digits, not 'sha256:abcd'"},
    {"pin is MD5", HEAD "source: {type: imap, pin: 'md5:abcd'}\n",
     "mailhaul.yaml:2:27: pin must be"},
    {"two passwords",
     HEAD "source: {type: imap, host: h, password-file: f, password-command: [c]}\n",
     "mailhaul.yaml:2:31: password-file and password-command: keep one of them"},
    {"command is a string", HEAD "source: {type: imap, password-command: pass show x}\n",
     "mailhaul.yaml:2:40: password-command must be a list, not a single value: write it word by "
     "word"},
    {"command is empty", HEAD "source: {type: imap, password-command: []}\n",
     "mailhaul.yaml:2:40: password-command is empty"},
    {"command with user as program", HEAD "source: {type: imap, password-command: ['{user}', a]}\n",
     "mailhaul.yaml:2:41: {user} stands for arguments"},
    {"home", HEAD "source: {type: imap, password-file: ~/pw}\n",
     "mailhaul.yaml:2:37: password-file: ~ is not expanded here"},
    {"oauth without auth",
     HEAD
     "source: {type: imap, host: h, oauth: {tenant: a, client-id: b, client-secret-file: c}}\n",
     "mailhaul.yaml:2:31: oauth needs auth: xoauth2"},
    {"tls none with pin", HEAD "source: {type: imap, host: h, tls: none, ca: f}\n",
     "mailhaul.yaml:2:36: ca means nothing with tls: none"},
    {"tls of ews", HEAD "source: {type: ews, host: h, tls: starttls}\n",
     "mailhaul.yaml:2:35: type ews is always implicit TLS"},
    {"path of a server", HEAD "source: {type: imap, host: h, path: /x}\n",
     "mailhaul.yaml:2:31: 'path' means nothing for type imap"},
    {"port of an archive", HEAD "source: {type: mbox, path: /x, port: 1}\n",
     "mailhaul.yaml:2:32: 'port' means nothing for type mbox"},
    {"prefix at the source", HEAD "source: {type: imap, host: h, folder-prefix: X}\n",
     "mailhaul.yaml:2:31: 'folder-prefix' is about writing; move it to target"},
    {"prefix with slash", HEAD "target: {type: imap, host: h, folder-prefix: X/}\n",
     "mailhaul.yaml:2:46: folder-prefix is a path"},
    {"prefix doubled slash", HEAD "target: {type: imap, host: h, folder-prefix: X//Y}\n",
     "mailhaul.yaml:2:46: folder-prefix is a path"},
    {"bad name", MINIMAL "project: {name: ../x}\n",
     "mailhaul.yaml:5:17: name '../x' is not a name"},
    {"control by escape", MINIMAL "project: {state: \"a\\x07b\"}\n",
     "mailhaul.yaml:5:18: state has a line end or control character"},
    {"NUL by escape", MINIMAL "project: {state: \"a\\0b\"}\n",
     "mailhaul.yaml:5:18: state has a line end or control character"},
    {"bad zone", MINIMAL "project: {timezone: Mars/Olympus}\n",
     "mailhaul.yaml:5:21: timezone 'Mars/Olympus' is not known here"},
    {"zone leads out", MINIMAL "project: {timezone: ../../../etc/passwd}\n",
     "mailhaul.yaml:5:21: timezone '../../../etc/passwd' is not known here"},
    {"bandwidth is a mapping", MINIMAL "limits: {bandwidth: {a: b}}\n",
     "mailhaul.yaml:5:21: bandwidth must be a list, not a mapping"},
    {"bandwidth holds a list", MINIMAL "limits: {bandwidth: [[a]]}\n",
     "mailhaul.yaml:5:22: an entry of bandwidth must be a single value, not a list"},
    {"oversize", MINIMAL "policy: {oversize: export}\n",
     "mailhaul.yaml:5:20: oversize is skip or export-eml, not 'export'; did you mean "
     "'export-eml'?"},
    {"deletions", MINIMAL "policy: {deletions: yes}\n",
     "mailhaul.yaml:5:21: deletions is never or quarantine, not 'yes'"},
    {"keyword system flag", MINIMAL "policy: {keywords: {\"\\\\Seen\": drop}}\n",
     "mailhaul.yaml:5:21: '\\Seen' is a system flag"},
    {"keyword twice", MINIMAL "policy: {keywords: {foo: a, FOO: b}}\n",
     "mailhaul.yaml:5:29: keyword 'FOO' is here twice"},
    {"keyword is no atom", MINIMAL "policy: {keywords: {foo: 'a b'}}\n",
     "mailhaul.yaml:5:21: keyword 'a b' cannot be made"},
    {"map is a mapping", MINIMAL "map: {role: sent}\n",
     "mailhaul.yaml:5:6: map must be a list, not a mapping"},
    {"rule without to", MINIMAL "map: [{role: sent}]\n",
     "mailhaul.yaml:5:7: a map rule needs either to or skip: yes: it has none"},
    {"rule with both", MINIMAL "map: [{role: sent, to: X, skip: yes}]\n",
     "mailhaul.yaml:5:7: a map rule needs either to or skip: yes: it has both"},
    {"rule with neither", MINIMAL "map: [{to: X}]\n",
     "mailhaul.yaml:5:7: a map rule needs either role or match: it has none"},
    {"rule role", MINIMAL "map: [{role: snet, to: X}]\n",
     "mailhaul.yaml:5:14: role is inbox, all, archive, drafts, flagged, junk, sent, trash or "
     "important, not 'snet'; did you mean 'sent'?"},
    {"rule to role", MINIMAL "map: [{role: sent, to: '@snet'}]\n",
     "mailhaul.yaml:5:24: to '@snet' names no role"},
    {"rule regex", MINIMAL "map: [{match: 'a(', to: X}]\n",
     "mailhaul.yaml:5:15: match is no expression: a ( is never closed"},
    {"rule group", MINIMAL "map: [{match: 'a(b)', to: X$2}]\n",
     "mailhaul.yaml:5:27: to uses $2, but match has 1 group in"},
    {"rule dollar", MINIMAL "map: [{match: 'a', to: US$}]\n",
     "mailhaul.yaml:5:24: to has a '$' that is no group"},
    {"rule skip word", MINIMAL "map: [{match: 'a', skip: maybe}]\n",
     "mailhaul.yaml:5:26: skip must be yes or no, not 'maybe'"},
    {"waves is a mapping", MINIMAL "waves: {name: x}\n",
     "mailhaul.yaml:5:8: waves must be a list, not a mapping"},
    {"wave without name", MINIMAL "waves: [{select: a == b}]\n",
     "mailhaul.yaml:5:9: a wave needs the key 'name'"},
    {"wave without select", MINIMAL "waves: [{name: x}]\n",
     "mailhaul.yaml:5:9: a wave needs the key 'select'"},
    {"wave twice", MINIMAL "waves: [{name: x, select: a == b},\n  {name: x, select: a == c}]\n",
     "mailhaul.yaml:6:10: a second wave is called 'x', the first is in line 5"},
    {"wave after nobody",
     MINIMAL "waves: [{name: pilot, select: a == b}, {name: x, select: a == c, after: pliot}]\n",
     "mailhaul.yaml:5:73: after: there is no wave 'pliot'; did you mean 'pilot'?"},
    {"wave after itself", MINIMAL "waves: [{name: x, select: a == c, after: x}]\n",
     "mailhaul.yaml:5:42: after: wave 'x' would wait for itself"},
    {"waves in a ring",
     MINIMAL "waves: [{name: x, select: a == c, after: y}, {name: y, select: a == c, after: x}]\n",
     "mailhaul.yaml:5:42: after: wave 'x' would wait for itself"},
    {"wave window", MINIMAL "waves: [{name: x, select: a == c, window: Fri 25:00-06:00}]\n",
     "mailhaul.yaml:5:43: window 'Fri 25:00-06:00' is not a time"},
    {"wave gate", MINIMAL "waves: [{name: x, select: a == c, gate: [a b]}]\n",
     "mailhaul.yaml:5:41: gate 'a b' is not the name of a criterion"},
    {"criterion empty", MINIMAL "criteria: {a: {}}\n",
     "mailhaul.yaml:5:15: criterion 'a' has no max, min or coverage to hold"},
    {"criterion name", MINIMAL "criteria: {a b: {max: 1}}\n",
     "mailhaul.yaml:5:12: 'a b' is not the name of a criterion"},
    {"criterion key", MINIMAL "criteria: {a: {maxx: 1}}\n",
     "mailhaul.yaml:5:16: unknown key 'maxx' in a criterion; did you mean 'max'?"},
    {"criterion upside down", MINIMAL "criteria: {a: {max: 1, min: 2}}\n",
     "mailhaul.yaml:5:15: criterion 'a' has a min above its max"},
    {"coverage without sign", MINIMAL "criteria: {a: {coverage: 100}}\n",
     "mailhaul.yaml:5:26: coverage must be from 0% to 100% such as 99.5%, not '100'"},
    {"coverage above all", MINIMAL "criteria: {a: {coverage: 100.01%}}\n",
     "mailhaul.yaml:5:26: coverage must be"},
    /* YAML itself */
    {"empty file", "", "mailhaul.yaml: the file is empty; 'mailhaul init' writes one"},
    {"only comments", "# nothing\n", "mailhaul.yaml: the file is empty"},
    {"tab", HEAD "source:\n\ttype: imap\n",
     "mailhaul.yaml:3:1: a tab where YAML wants blanks; indent with spaces"},
    {"open bracket", HEAD "source: {type: imap\n", "mailhaul.yaml:3:1: not valid YAML: "},
    {"bad indentation", HEAD "source:\n  type: imap\n host: h\n",
     "mailhaul.yaml:4:2: not valid YAML: "},
    {"unquoted place", HEAD "source: {type: imap, password-file: pw/{user}}\n",
     "mailhaul.yaml:2:40: not valid YAML: did not find expected ',' or '}' while parsing a flow "
     "mapping; look at the "
     "indentation and brackets here (a value with any of {}[]:#&*! in it needs quotes)"},
    {"anchor", HEAD "source: &a {type: imap}\n",
     "mailhaul.yaml:2:9: anchors (&) and aliases (*) are not read"},
    {"alias", HEAD "source: *a\n", "mailhaul.yaml:2:9: anchors (&) and aliases (*) are not read"},
    {"unquoted star", HEAD "source: {admin-user: *master}\n",
     "mailhaul.yaml:2:22: anchors (&) and aliases (*) are not read; write the value out, in "
     "quotes"},
    {"bomb", "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n",
     "mailhaul.yaml:1:4: anchors (&) and aliases (*)"},
    {"merge key", HEAD "source: {<<: {type: imap}}\n",
     "mailhaul.yaml:2:10: unknown key '<<' in source"},
    {"tag", HEAD "source: !!map {type: imap}\n", "mailhaul.yaml:2:9: tags (!) are not read"},
    {"second document", MINIMAL "---\nversion: 1\n",
     "mailhaul.yaml:5:1: a second document begins here"},
    {"complex key", HEAD "? [a]\n: b\n", "mailhaul.yaml:2:3: a key must be a plain word"},
    {"empty key", HEAD "?\n: b\n", "mailhaul.yaml:2:2: a key must be a plain word"},
    {"not UTF-8", HEAD "users: \xe9t\xe9.csv\n",
     "mailhaul.yaml:2:8: byte 0xE9 is not UTF-8; save the file as UTF-8"},
    {"control byte", HEAD "users: a\x1b[2J\n",
     "mailhaul.yaml:2:9: control character 0x1B; remove it"},
    {"C1 control", HEAD "users: a\xc2\x9b\n",
     "mailhaul.yaml:2:9: control character 0x9B; remove it"},
    {"byte order mark inside", HEAD "users: a\xef\xbb\xbf\n",
     "mailhaul.yaml:2:9: a byte order mark in the middle; remove it"},
    {"old line ends", "version: 1\rzz: 1\r", "mailhaul.yaml:2:1: unknown key 'zz'"},
    {"quoted in the error", MINIMAL "\"a\\eb\": 1\n", "mailhaul.yaml:5:1: unknown key 'a\\x1Bb'"},
};

static void expect_fault(const char *name, const char *text, size_t len, const char *begin)
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    char line[1024];
    int rc = mh_plan_parse(text, len, "mailhaul.yaml", &p, &err);
    cr_assert_eq(rc, MH_EUSAGE, "%s: %d", name, rc);
    cr_expect_eq(err.code, MH_EUSAGE, "%s", name);
    mh_err_line(&err, line, sizeof line);
    cr_expect(mh_str_starts(line, begin), "%s:\n  got  %s\n  want %s", name, line, begin);
    cr_expect_null(strchr(line, '\n'), "%s: more than one line", name);
}

Test(plan_project, says_what_is_wrong_and_where)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(faults); i++)
        expect_fault(faults[i].name, faults[i].text, strlen(faults[i].text), faults[i].line);
}

Test(plan_project, refuses_bytes_that_are_no_text)
{
    static const char nul[] = HEAD "users: a\0b\n";
    static const char utf16[] = "\xff\xfev\0e\0r\0";
    expect_fault("NUL", nul, sizeof nul - 1, "mailhaul.yaml:2:9: a NUL byte");
    expect_fault("UTF-16", utf16, sizeof utf16 - 1,
                 "mailhaul.yaml:1:1: the file is UTF-16; save it as UTF-8");
}

static char *repeat(const char *head, const char *part, size_t n, size_t *len_out)
{
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_adds(&b, head);
    for (size_t i = 0; i < n; i++)
        mh_buf_adds(&b, part);
    *len_out = b.len;
    char *text = mh_buf_take(&b);
    cr_assert_not_null(text);
    return text;
}

Test(plan_project, bounds_hostile_documents)
{
    static const struct {
        const char *name, *head, *part;
        size_t n;
        const char *line;
    } cases[] = {
        {"too large", "", "# padding padding padding\n", 50000,
         "mailhaul.yaml: larger than 1024 KiB"},
        {"too deep", "a: ", "[", 5000, "mailhaul.yaml:1:19: nested deeper than 16 levels"},
        {"too many values", "a: [", "x,", 200000, "mailhaul.yaml:1:"},
        {"too many keys", "a: {", "?,", 200000, "mailhaul.yaml:1:"},
        {"long scalar", "version: ", "x", 900000, "mailhaul.yaml:1:10: version is longer than"},
        {"many waves", MINIMAL "waves:\n", "- {name: x}\n", 101,
         "mailhaul.yaml:6:1: more than 100 waves"},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        size_t len = 0;
        char *text = repeat(cases[i].head, cases[i].part, cases[i].n, &len);
        expect_fault(cases[i].name, text, len, cases[i].line);
        mh_free(text);
    }
}

Test(plan_project, bounds_the_number_of_keys)
{
    struct mh_buf b = MH_BUF_INIT;
    mh_buf_adds(&b, "a:\n");
    for (int i = 0; i < 1100; i++)
        mh_buf_addf(&b, "  k%d: x\n", i);
    expect_fault("keys", b.data, b.len, "mailhaul.yaml:1002:3: more than 1000 keys in one mapping");
    mh_buf_done(&b);
}

/* --- files ------------------------------------------------------------------------------------ */

Test(plan_project, names_files_that_are_not_there)
{
    struct mh_plan *p = NULL;
    struct mh_err err = {0};
    char path[64], words[96];
    scratch_make();
    (void)snprintf(path, sizeof path, "%s/mailhaul.yaml", scratch_dir);
    cr_expect_eq(mh_plan_load(path, NULL, &p, &err), MH_ENOENT);
    cr_expect_not_null(strstr(err.text, "mailhaul init"));

    scratch_write("mailhaul.yaml", MINIMAL, sizeof MINIMAL - 1, 0600);
    cr_expect_eq(mh_plan_load(path, NULL, &p, &err), MH_EUSAGE);
    (void)snprintf(words, sizeof words, "there is no users file %s/", scratch_dir);
    cr_expect_not_null(strstr(err.text, words), "%s", err.text);
    cr_expect_eq(mh_plan_load(scratch_dir, NULL, &p, &err), MH_EUSAGE,
                 "a folder is no project file");
    scratch_drop();
}

Test(plan_project, survives_each_failed_allocation)
{
    unsigned failed = 0;
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_plan *p = NULL;
        struct mh_err err = {0};
        oom_begin(&o);
        int rc = mh_plan_parse(whole, strlen(whole), "a/mailhaul.yaml", &p, &err);
        oom_end(&o);
        cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u: %s", o.nth, err.text);
        failed += rc == MH_ERUN;
        if (rc == 0)
            mh_plan_free(p);
    }
    cr_expect_gt(failed, 100u);
}
