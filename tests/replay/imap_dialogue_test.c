/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Logging in, folders, reading, appending: see dialogue.h. */
#include "dialogue.h"

/* clang-format off */
static const struct dialogue logins[] = {
    {.name = "PLAIN with an initial response",
     .script = LOGIN("") "C: Z LOGOUT\n",
     .log = "open\n"},
    {.name = "PLAIN without one, capabilities asked for twice",
     .script = "CONN 1\nS: * OK hello\nC: * CAPABILITY\n"
               "S: * CAPABILITY IMAP4rev1 AUTH=PLAIN\nS: $TAG OK\n"
               "C: * AUTHENTICATE PLAIN\nS: + \nC: AGFubmEAc2VjcmV0\nSET TAG A2\nS: A2 OK in\n"
               "C: * CAPABILITY\nC: * LIST \"\" \"\"\nS: * CAPABILITY IMAP4rev1\nS: A3 OK\n"
               "S: A4 OK\nC: Z LOGOUT\n",
     .log = "open\n"},
    {.name = "LOGIN with a quoted password",
     .password = "a\"b\\c",
     .script =
         GREETING("")
         "C: * LOGIN \"anna\" \"a\\\"b\\\\c\"\n" LOGGED_IN(""),
     .log = "open\n"},
    {.name = "LOGIN with a password that needs a literal",
     .password = "p\xc3\xa4ss",
     .script =
         GREETING("")
         "C: * LOGIN \"anna\" {5}\nC: \nS: A1 OK [CAPABILITY IMAP4rev1] in\n"
         "C: * LIST \"\" \"\"\nS: $TAG OK\n",
     .log = "open\n"},
    {.name = "LOGIN is never used where it is forbidden",
     .script = "CONN 1\nREJECT *LOGIN*\nS: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello\n"
               "UNTIL-CLOSE\n",
     .log = "open: auth\n"},
    {.name = "refused",
     .script = HELLO "C: * AUTHENTICATE *\nS: $TAG NO [AUTHENTICATIONFAILED] wrong\nUNTIL-CLOSE\n",
     .log = "open: auth login-refused ([AUTHENTICATIONFAILED] wrong)\n"},
    {.name = "refused for now",
     .script = HELLO "C: * AUTHENTICATE *\nS: $TAG NO [UNAVAILABLE] later\nUNTIL-CLOSE\n",
     .log = "open: later unavailable ([UNAVAILABLE] later)\n"},
    {.name = "refused without a code, and the end behind it",
     .script = HELLO "C: * AUTHENTICATE *\nS: * BYE too many tries\nCLOSE\n",
     .log = "open: retry connection-lost (too many tries)\n"},
    {.name = "throttled",
     .script =
         HELLO
         "C: * AUTHENTICATE *\n"
         "S: $TAG NO Request is throttled. Suggested Backoff Time: 4711 milliseconds\n"
         "UNTIL-CLOSE\n",
     .log = "open: later throttled after 4711 (Request is throttled. Suggested Backoff Time: 4711 "
            "milliseconds)\n"},
    {.name = "SCRAM fails in the clear: the password itself is not sent",
     .script = "CONN 1\nREJECT *PLAIN*\nREJECT *LOGIN*\n"
               "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-256] hello\n"
               "C: * AUTHENTICATE SCRAM-SHA-256 *\nS: $TAG NO no\nUNTIL-CLOSE\n",
     .log = "open: auth refused (no)\n"},
    {.name = "SCRAM: an answer to another question is cancelled",
     .script =
         GREETING(" SASL-IR AUTH=SCRAM-SHA-256")
         "C: * AUTHENTICATE SCRAM-SHA-256 *\nS: + cj1hYmMscz1RU1hDUitRNnNlazhiZjkyLGk9NDA5Ng==\n"
         "C: *\nS: A1 BAD cancelled\nUNTIL-CLOSE\n",
     .log = "open: auth\n"},
    {.name = "SCRAM: OK without proof",
     .script =
         GREETING(" SASL-IR AUTH=SCRAM-SHA-256")
         "C: * AUTHENTICATE SCRAM-SHA-256 *\nS: $TAG OK welcome\nUNTIL-CLOSE\n",
     .log = "open: auth impostor\n"},
    {.name = "XOAUTH2: the reason is in the challenge",
     .url_rest = "?tls=none&auth=xoauth2",
     .script =
         GREETING(" SASL-IR AUTH=XOAUTH2")
         "C: * AUTHENTICATE XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHNlY3JldAEB\n"
         "S: + eyJzdGF0dXMiOiI0MDAifQ==\n"
         "C: \nS: A1 NO SASL failed\nUNTIL-CLOSE\n",
     .log =
         "open: auth refused the server refuses the access token (400): it is over, or for another "
         "user or purpose (SASL failed)\n"},
    {.name = "OAUTHBEARER without an initial response, no reason given",
     .url_rest = "?tls=none&auth=oauthbearer",
     .script =
         GREETING(" AUTH=OAUTHBEARER")
         "C: * AUTHENTICATE OAUTHBEARER\nS: + \n"
         "C: *\nS: A1 NO [AUTHENTICATIONFAILED] no\nUNTIL-CLOSE\n",
     .log = "open: auth login-refused the server refuses the access token: it is over, or for "
            "another user or purpose ([AUTHENTICATIONFAILED] no)\n"},
    {.name = "XOAUTH2: the token server is down, which is no refusal",
     .url_rest = "?tls=none&auth=xoauth2",
     .script =
         GREETING(" SASL-IR AUTH=XOAUTH2")
         "C: * AUTHENTICATE XOAUTH2 *\nS: $TAG NO [UNAVAILABLE] later\nUNTIL-CLOSE\n",
     .log = "open: later unavailable ([UNAVAILABLE] later)\n"},
    {.name = "challenges that do not end",
     .script = HELLO "C: * AUTHENTICATE PLAIN *\nS: + AAAA\nC: *\nS: A1 BAD\nUNTIL-CLOSE\n",
     .log = "open: auth\n"},
    {.name = "PREAUTH in the clear",
     .script = "CONN 1\nREJECT *\nS: * PREAUTH welcome\nUNTIL-CLOSE\n",
     .log = "open: mailbox\n"},
    {.name = "no STARTTLS",
     .url_rest = "",
     .script = "CONN 1\nREJECT *AUTHENTICATE*\nREJECT *LOGIN*\n"
               "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\nUNTIL-CLOSE\n",
     .log = "open: mailbox\n"},
    {.name = "STARTTLS refused",
     .url_rest = "",
     .script = "CONN 1\nREJECT *AUTHENTICATE*\nS: * OK [CAPABILITY IMAP4rev1 STARTTLS] hello\n"
               "C: * STARTTLS\nS: $TAG NO not today\nUNTIL-CLOSE\n",
     .log = "open: mailbox refused (not today)\n"},
    {.name = "bytes behind the answer to STARTTLS",
     .url_rest = "",
     .script = "CONN 1\nREJECT *AUTHENTICATE*\nS: * OK [CAPABILITY IMAP4rev1 STARTTLS] hello\n"
               "C: * STARTTLS\nS+: $TAG OK go\\r\\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\\r\\n\n"
               "UNTIL-CLOSE\n",
     .log = "open: mailbox starttls-injection\n"},
    {.name = "an answer to a command that was not sent",
     .script = "CONN 1\nREJECT *AUTHENTICATE*\nS: * OK hello\nS: A2 OK in\nUNTIL-CLOSE\n",
     .log = "open: mailbox\n"},
    {.name = "BYE as greeting",
     .script = "CONN 1\nS: * BYE [UNAVAILABLE] maintenance\nCLOSE\n",
     .log = "open: later unavailable ([UNAVAILABLE] maintenance)\n"},
    {.name = "another protocol",
     .script = "CONN 1\nS: 220 mail.example.org ESMTP\nUNTIL-CLOSE\n",
     .log = "open: mailbox (220 mail.example.org ESMTP)\n"},
    {.name = "a greeting without end",
     .script = "CONN 1\nS+: * OK \nLITERAL 20000 x\nUNTIL-CLOSE\n",
     .log = "open: mailbox\n"},
    {.name = "silence",
     .timeout_ms = 100,
     .script = HELLO "C: * AUTHENTICATE *\nSTALL\n",
     .log = "open: retry timeout\n"},
    {.name = "what is injected before the login is not used",
     .ops = "list",
     .script =
         HELLO "S: * LIST () \"/\" injected\n"
         "S: * OK [ALERT] call this number\nS: * NAMESPACE ((\"evil.\" \".\")) NIL NIL\n"
         "C: * AUTHENTICATE PLAIN *\n" LOGGED_IN("")
         "C: * LIST \"\" \"*\"\nC: * LSUB \"\" \"*\"\nS: * LIST () \"/\" INBOX\nS: A3 OK\n"
         "S: A4 OK\nUNTIL-CLOSE\n",
     .log = "INBOX inbox\n"},
};
/* clang-format on */

Test(imap_dialogue, login)
{
    play_all(logins, MH_ARRAY_LEN(logins));
}

/* --- folders ---------------------------------------------------------------------------------- */

/* clang-format off */
static const struct dialogue folders[] = {
    {.name = "LIST, LSUB and STATUS",
     .ops = "list with-status",
     .script =
         LOGIN("")
         "C: * LIST \"\" \"*\"\nC: * LSUB \"\" \"*\"\nS: * LIST (\\HasNoChildren) \"/\" inbox\n"
         "S: * LIST (\\Noselect) \"/\" Archive\nS: * LIST () \"/\" \"Archive/v 1\"\n"
         "S: * LIST () \"/\" Entw&APw-rfe\nS: * LIST () \"/\" a&b\n"
         "S+: * LIST () \"/\" {8}\\r\\nline\\r\\n2!\\r\\n\nS: * LIST () NIL flat/one\n"
         "S: * LIST (\\Sent) \"/\" \"Sent/\"\nS: * LIST () \"/\" Sent\nS: A3 OK\n"
         "S: * LSUB () \"/\" Entw&APw-rfe\nS: * LSUB () \"/\" Gone\nS: * LSUB () \"/\" INBOX\n"
         "S: A4 OK\n"
         "C: * STATUS \"INBOX\" (MESSAGES UIDNEXT UIDVALIDITY)\nC: * STATUS \"Archive/v 1\" *\n"
         "C: * STATUS \"Entw&APw-rfe\" *\nC: * STATUS \"a&b\" *\nC: * STATUS {8}\nC:  (MESS*\n"
         "C: * STATUS \"flat/one\" *\nC: * STATUS \"Sent/\" *\nC: * STATUS \"Sent\" *\n"
         "S: * STATUS Inbox (MESSAGES 5 UIDNEXT 9 UIDVALIDITY 1)\nS: A5 OK\n"
         "S: * STATUS \"Archive/v 1\" (UIDNEXT 2 MESSAGES 3)\nS: A6 OK\n"
         "S: * STATUS Elsewhere (MESSAGES 99)\nS: A7 NO no\nS: A8 OK\nS: A9 OK\nS: A10 OK\n"
         "S: A11 OK\nS: * STATUS Sent (MESSAGES x)\nS: A12 OK\nUNTIL-CLOSE\n",
     .log = "INBOX subscribed inbox 5\n%53ent sent\nArchive noselect\nArchive/v 1 3\n"
            "Entw\xc3\xbcrfe subscribed\nSent 0\na%26"
            "b\nflat%2Fone\nline%0D%0A2!\n"},
    {.name = "everything in one command, and namespaces",
     .ops = "list sizes",
     .script = HELLO
     "C: * AUTHENTICATE *\n"
     "S: $TAG OK [CAPABILITY IMAP4rev1 NAMESPACE LIST-EXTENDED LIST-STATUS SPECIAL-USE "
     "STATUS=SIZE CONDSTORE ID] in\n"
     "C: * ID (*mailhaul*)\nC: * NAMESPACE\n"
     "S: * ID (\"name\" \"Dovecot\")\nS: A2 OK\n"
     "S: * NAMESPACE ((\"INBOX.\" \".\")) ((\"user.\" \".\")) ((\"Public.\" \".\"))\n"
     "S: A3 OK\n"
     "C: * LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES UIDNEXT "
     "UIDVALIDITY HIGHESTMODSEQ SIZE))\n"
     "S: * LIST (\\Subscribed) \".\" INBOX\nS: * STATUS INBOX (MESSAGES 1)\n"
     "S: * LIST (\\HasNoChildren \\Trash) \".\" INBOX.Papierkorb (OLDNAME (\"x\"))\n"
     "S: * STATUS INBOX.Papierkorb (MESSAGES 2)\n"
     "S: * LIST (\\NonExistent) \".\" INBOX.A\nS: * LIST () \".\" INBOX.A.B\n"
     "S: * STATUS INBOX.A.B (MESSAGES 3)\nS: * LIST () \".\" INBOX.INBOX\n"
     "S: * STATUS INBOX.INBOX (MESSAGES 4)\n"
     "S: * LIST () \".\" user.bert.Sent\nS: * LIST () \".\" Public.A\n"
     "S: A4 OK\nUNTIL-CLOSE\n",
     .log = "INBOX subscribed inbox 1\nINBOX/INBOX 4\nA noselect\nA/B 3\nPapierkorb trash 2\n"
            "Public/A foreign\nuser/bert/Sent foreign\n"},
    {.name = "names that differ in the case of INBOX only stay apart",
     .ops = "list",
     .script =
         LOGIN("")
         "C: * LIST \"\" \"*\"\nC: * LSUB \"\" \"*\"\nS: * LIST () \"/\" INBOX\n"
         "S: * LIST () \"/\" Inbox\nS: * LIST () \"/\" INBOX/A\nS: * LIST () \"/\" inbox/A\n"
         "S: * LIST () \"/\" iNBOX/A\nS: A3 OK\nS: A4 NO no subscriptions\nUNTIL-CLOSE\n",
     .log = "INBOX inbox\nINBOX/%2541\nINBOX/%41\nINBOX/A\n"},
    {.name = "create: parents, another spelling, what is there already",
     .ops = "create A/B; create a*b; create There; create Case; create No",
     .script = LOGIN("")
     /* refused although nothing is wrong with the name: the parent is missing */
     "C: * CREATE \"A/B\"\nS: A3 NO no parent\nC: * LIST \"\" \"A/B\"\nS: A4 OK\n"
     "C: * CREATE \"A\"\nS: A5 OK\n"
     "C: * CREATE \"A/B\"\nS: A6 OK\n"
     /* the second form of the name */
     "C: * CREATE \"a*b\"\nC: * LIST *\nS: A7 NO [CANNOT] no stars\nS: * LIST () \"/\" axb\n"
     "S: A8 OK\nC: * CREATE \"a*b\"\nC: * LIST *\nS: A9 NO [CANNOT] no stars\nS: A10 OK\n"
     "C: * CREATE \"a%2Ab\"\nC: * LIST *\nS: A11 OK\nS: * LIST () \"/\" \"a%2Ab\"\nS: A12 OK\n"
     /* adopted, in words that say nothing */
     "C: * CREATE \"There\"\nS: A13 NO hm\nC: * LIST \"\" \"There\"\n"
     "S: * LIST () \"/\" There\nS: A14 OK\n"
     "C: * CREATE \"Case\"\nS: A15 NO [ALREADYEXISTS] there\nC: * LIST \"\" \"Case\"\n"
     "S: * LIST () \"/\" cASE\nS: A16 OK\n"
     "REPEAT 4\nC: * CREATE *\nS: $TAG NO [NOPERM] not here\nC: * LIST *\nS: $TAG OK\n"
     "END\nUNTIL-CLOSE\n",
     .log = "created A/B as A/B\ncreated a%252Ab as a%2Ab\ncreated There as There\n"
            "created cASE as cASE\ncreate: folder no-permission ([NOPERM] not here)\n"},
    {.name = "create asks to wait",
     .ops = "create A",
     .script =
         LOGIN("")
         "C: * CREATE \"A\"\nS: A3 NO [INUSE] busy\n"
         "C: * LIST *\nS: A4 OK\nUNTIL-CLOSE\n",
     .log = "create: later unavailable ([INUSE] busy)\n"},
    {.name = "rights, quota, annotations",
     .ops = "rights A; quota; metadata A; annotate A",
     .script =
         LOGIN("ACL QUOTA METADATA")
         "C: * GETACL \"A\"\nS: * ACL A anna lrswi \"group one\" lr \"\" NIL\nS: $TAG OK\n"
         "C: * GETQUOTAROOT \"INBOX\"\nS: * QUOTAROOT INBOX a b\n"
         "S: * QUOTA a (STORAGE 10 100 MESSAGE 1 2)\nS: * QUOTA b (STORAGE 20 50)\n"
         "S: * QUOTA c (MESSAGE 1 2)\nS: * QUOTA d ()\nS: $TAG OK\n"
         "C: * GETMETADATA (DEPTH infinity MAXSIZE 1048576) \"A\" (/private /shared)\n"
         "S: * METADATA A /shared/x\n"
         "S+: * METADATA A (/private/comment {4}\\r\\na\\r\\nb /shared/x NIL /shared/y "
         "\"z\")\\r\\n\nS: $TAG OK\n"
         "C: * SETMETADATA \"A\" (\"/private/comment\" {4}\nC: )\nS: A6 NO [NOPERM] no\n"
         "UNTIL-CLOSE\n",
     .log =
         "anna lrswi\ngroup one lr\nquota 1 20480 of 51200\n/private/comment=a\r\nb\n/shared/y=z\n"
         "annotate: folder no-permission ([NOPERM] no)\n"},
    {.name = "annotations that the server computes, and the role",
     .ops = "metadata A",
     .script =
         LOGIN("METADATA SPECIAL-USE")
         "C: * GETMETADATA *\n"
         "S: * METADATA A (/shared/vendor/cmu/cyrus-imapd/size \"9\" "
         "/Shared/Vendor/CMU/cyrus-imapd/UniqueID abc /shared/vendor/cmu/cyrus-imapd/sharedseen "
         "false /shared/vendor/cmu/cyrus-imapd/duplicatedeliver \"true\" "
         "/private/vendor/cmu/cyrus-imapd/size \"8\" /shared/vendor/cmu/cyrus-imapd/sizes \"7\" "
         "/shared/vendor/cmu/cyrus-imapd/expire \"30\")\n"
         "S+: * METADATA A (/private/specialuse {5}\\r\\n\\\\Junk)\\r\\n\n"
         "S+: * METADATA A (/private/specialuse \"\\\\\\\\Junk \\\\\\\\Sent\")\\r\\n\n"
         "S+: * METADATA A (/private/specialuse \"\\\\\\\\Memos\" /private/x Junk)\\r\\n\n"
         "S: $TAG OK\nUNTIL-CLOSE\n",
     .log = "/shared/vendor/cmu/cyrus-imapd/duplicatedeliver=true\n"
            "/private/vendor/cmu/cyrus-imapd/size=8\n/shared/vendor/cmu/cyrus-imapd/sizes=7\n"
            "/shared/vendor/cmu/cyrus-imapd/expire=30\n/private/specialuse=\\Junk \\Sent\n"
            "/private/specialuse=\\Memos\n/private/x=Junk\n"},
    {.name = "annotations: the role is kept where LIST does not tell it",
     .ops = "metadata A",
     .script =
         LOGIN("METADATA")
         "C: * GETMETADATA *\nS+: * METADATA A (/private/specialuse {5}\\r\\n\\\\Junk)\\r\\n\n"
         "S: $TAG OK\nUNTIL-CLOSE\n",
     .log = "/private/specialuse=\\Junk\n"},
    {.name = "more annotations and rights than a folder can have: the rest is left out, and said",
     .ops = "count A; count B; quota",
     .script = LOGIN("METADATA ACL QUOTA LITERAL+")
     /* by their number */
     "C: * GETMETADATA *\nREPEAT 4099\nS: * METADATA A (/private/$I x)\nEND\nS: $TAG OK\n"
     "C: * GETACL *\nREPEAT 4100\nS: * ACL A u$I lr\nEND\nS: $TAG OK\n"
     /* by their size: 4 MiB, in literals of 1 MiB less 100 */
     "C: * GETMETADATA *\nREPEAT 6\nS+: * METADATA B (/private/$I {1048476}\\r\\n\n"
     "LITERAL 1048476 x\nS: )\nEND\n"
     "S: $TAG OK [METADATA LONGENTRIES 9999999] more\n"
     "C: * GETACL *\nREPEAT 6\nS+: * ACL B {1048476}\\r\\n\nLITERAL 1048476 u\nS:  lr\nEND\n"
     "S: $TAG OK\nC: * GETQUOTAROOT *\nS: $TAG OK\nUNTIL-CLOSE\n",
     .log = "4096 annotations\nmetadata: item too-big\n4096 rights\ncount: item too-big\n"
            "4 annotations\nmetadata: item too-big\n4 rights\ncount: item too-big\n"
            "quota 0 0 of 0\n"},
    {.name = "annotations above the size that was asked for",
     .ops = "metadata A",
     .script =
         LOGIN("METADATA")
         "C: * GETMETADATA *\nS: * METADATA A (/private/x y)\n"
         "S: $TAG OK [METADATA LONGENTRIES 9999999] more\nUNTIL-CLOSE\n",
     .log = "/private/x=y\nmetadata: item too-big\n"},
    {.name = "a server that talks of everything but what it was asked",
     .ops = "metadata A; quota",
     .timeout_ms = 20,
     .script =
         LOGIN("METADATA QUOTA")
         "C: * GETMETADATA *\nLOOP\nS: * OK still here\nS: * METADATA A (/private/x y)\nSLEEP 5\n"
         "END\n",
     .log = "metadata: retry timeout\nquota: retry timeout\n"},
    {.name = "annotations with NUL bytes: read in both forms, sent as literal8, never unasked",
     .ops = "metadata A; annotate-nul A; annotate-nul A; annotate-nul A; quota",
     .script =
         LOGIN("METADATA LITERAL+ QUOTA")
         "C: * GETMETADATA *\n"
         "S+: * METADATA A (/private/x ~{3}\\r\\na\\0b /private/y {2}\\r\\n\\0\\0)\\r\\n\n"
         "S: $TAG OK\n"
         "C: * SETMETADATA \"A\" (\"/private/comment\" ~{3}\nC: )\nS: A4 OK\n"
         "C: * SETMETADATA \"A\" (\"/private/comment\" ~{3}\nC: )\n"
         "S: A5 NO [CANNOT] Attribute string value has NULs\n"
         "NOCONT\nC: * SETMETADATA \"A\" (\"/private/comment\" ~{3}\nS: $TAG BAD what is that\n"
         "C: * GETQUOTAROOT *\nS: $TAG OK\nUNTIL-CLOSE\n",
     .log = "/private/x=a@b\n/private/y=@@\n"
            "annotate-nul: folder nul-byte ([CANNOT] Attribute string value has NULs)\n"
            "annotate-nul: folder nul-byte (what is that)\nquota 0 0 of 0\n"},
    {.name = "annotations with NUL bytes: Cyrus takes a plain literal",
     .ops = "annotate-nul A",
     .script =
         "CONN 1\nS: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Cyrus IMAP 3.6.1\n"
         "C: * AUTHENTICATE *\n" LOGGED_IN("METADATA LITERAL+")
         "C: * SETMETADATA \"A\" (\"/private/comment\" {3}\nC: )\nS: $TAG OK\nUNTIL-CLOSE\n",
     .log = ""},
    {.name = "what the server has not got",
     .ops = "rights A; quota; metadata A",
     .script = LOGIN("") "UNTIL-CLOSE\n",
     .log = "rights: no-such-feature\nquota: no-such-feature\nmetadata: no-such-feature\n"},
};
/* clang-format on */

Test(imap_dialogue, folders)
{
    play_all(folders, MH_ARRAY_LEN(folders));
}

/* --- reading ---------------------------------------------------------------------------------- */

#define OPENED                                                                                     \
    "C: * EXAMINE \"INBOX\"\nS: * FLAGS (\\Seen kw)\nS: * 9 EXISTS\n"                              \
    "S: * OK [UIDVALIDITY 7]\nS: * OK [UIDNEXT 100]\n"                                             \
    "S: * OK [PERMANENTFLAGS (\\Seen kw $Forwarded \\*)]\nS: $TAG OK [READ-ONLY]\n"
#define READING  LOGIN("") OPENED
#define SELECTED "selected 9 messages, next 100, kw $Forwarded*\n"

/* clang-format off */
static const struct dialogue readings[] = {
    {.name = "scan: order, repeats, last message, broken dates, unsolicited flags",
     .ops = "select INBOX; scan 5",
     .script = READING
     "C: * UID FETCH 5:* (UID FLAGS INTERNALDATE RFC822.SIZE)\n"
     "S: * 3 FETCH (UID 4 FLAGS () INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 9)\n"
     "S: * 6 FETCH (UID 8 FLAGS (\\Seen \\Recent $Forwarded b a) INTERNALDATE \"17-Jul-1996 "
     "02:44:25 -0700\" RFC822.SIZE 4294967297 X-GM-MSGID 12)\n"
     "S: * 5 FETCH (FLAGS (\\Deleted) UID 6)\n"
     "S: * 5 FETCH (RFC822.SIZE 10 INTERNALDATE \"31-Feb-1996 99:99:99 +9999\" UID 6 FLAGS "
     "(\\DELETED))\n"
     "S: * 6 FETCH (UID 8 FLAGS () INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 11)\n"
     "S: $TAG OK\nUNTIL-CLOSE\n",
     .log = SELECTED "6 10 8 () -\n8 11 0 () 1996-07-17T02:44:25-07:00\n"},
    {.name = "scan: messages that the server leaves out are found",
     .ops = "select INBOX; scan 1",
     .script = READING
     "C: * UID FETCH 1:* *\n"
     "S: * 1 FETCH (UID 1 FLAGS () RFC822.SIZE 5)\nS: $TAG NO some messages could not be FETCHed\n"
     "C: * UID SEARCH 1:9\nS: * SEARCH 1 2 3\nS: $TAG OK\n"
     "C: * UID FETCH 2:3 *\nS: * 2 FETCH (UID 2 FLAGS () RFC822.SIZE 6)\nS: $TAG NO again\n"
     "UNTIL-CLOSE\n",
     .log = SELECTED "1 5 0 () -\n2 6 0 () -\n3 0 0 () -\n"},
    {.name = "fetch: order, what was not asked, what comes twice, what is gone, what is empty",
     .ops = "select INBOX; fetch 1,2,3,4,5,6",
     .script =
         READING
         "C: * UID FETCH 1:6 (UID BODY.PEEK[])\nS+: * 1 FETCH (UID 1 BODY[] {3}\\r\\none)\\r\\n\n"
         "S+: * 9 FETCH (UID 77 BODY[] {3}\\r\\nbad)\\r\\n\n"
         "S+: * 1 FETCH (UID 1 BODY[] {3}\\r\\nbad)\\r\\n\nS: * 2 FETCH (FLAGS (\\Seen) UID 2)\n"
         "S+: * 2 FETCH (UID 2 BODY[HEADER] {3}\\r\\nbad)\\r\\n\n"
         "S+: * 2 FETCH (UID 2 BODY[] \\\"t\\\\\\\"o\\\")\\r\\n\n"
         "S+: * 3 FETCH (UID 3 BODY[] NIL)\\r\\n\nS+: * 4 FETCH (UID 4 BODY[] {0}\\r\\n)\\r\\n\n"
         "S: * 12 EXISTS\nS: * OK [ALERT] hm\nS: * 6 EXPUNGE\nS: $TAG OK\nUNTIL-CLOSE\n",
     .log = SELECTED "1[3]one.\n2[3]t\"o.\nmissed 3: item unreadable\n4[0].\n"
                     "missed 5: item vanished\nmissed 6: item vanished\n"},
    {.name = "fetch: the UID behind the body",
     .ops = "select INBOX; fetch 1,2,3",
     .script = READING
     "C: * UID FETCH 1:3 (UID BODY.PEEK[])\n"
     "S+: * 1 FETCH (BODY[] {3}\\r\\none UID 1)\\r\\n\n"
     "S+: * 2 FETCH (BODY[] {3}\\r\\ntwo UID 2)\\r\\n\nS: $TAG OK\n"
     "C: * UID FETCH 1 (UID BODY.PEEK[])\nC: * UID FETCH 2 (UID BODY.PEEK[])\n"
     "C: * UID FETCH 3 (UID BODY.PEEK[])\n"
     "S+: * 1 FETCH (BODY[] {3}\\r\\none UID 1)\\r\\n\nS: A5 OK\n"
     "S+: * 2 FETCH (BODY[] {3}\\r\\ntwo UID 2)\\r\\n\nS: A6 OK\nS: A7 OK\nUNTIL-CLOSE\n",
     .log = SELECTED "1[3]one.\n2[3]two.\nmissed 3: item vanished\n"},
    {.name = "fetch: another message than the one that was asked for",
     .ops = "select INBOX; fetch 1:300000",
     .script =
         READING
         "C: * UID FETCH 1 *\nS+: * 1 FETCH (BODY[] {3}\\r\\none UID 2)\\r\\n\nUNTIL-CLOSE\n",
     .log = SELECTED "1[3]onemissed 1: retry connection-lost\nfetch: mailbox\n"},
    {.name = "fetch: a culprit is found and the others come",
     .ops = "select INBOX; fetch 1,2,3,9",
     .script =
         READING
         "C: * UID FETCH 1:3,9 *\nS+: * 1 FETCH (UID 1 BODY[] {3}\\r\\none)\\r\\n\n"
         "S: $TAG NO [SERVERBUG] broken\nUNTIL-CLOSE\n",
     .log = SELECTED "1[3]one.\nfetch: later unavailable ([SERVERBUG] broken)\n"},
    {.name = "fetch: a culprit is found by asking one by one",
     .ops = "select INBOX; fetch 1,2,3,9",
     .script =
         READING
         "C: * UID FETCH 1:3,9 *\nS+: * 1 FETCH (UID 1 BODY[] {3}\\r\\none)\\r\\n\n"
         "S: $TAG NO message is corrupt\n"
         "C: * UID FETCH 2 *\nC: * UID FETCH 3 *\nC: * UID FETCH 9 *\n"
         "S: A5 NO message is corrupt\nS+: * 3 FETCH (UID 3 BODY[] {5}\\r\\nthree)\\r\\n\n"
         "S: A6 OK\nS: A7 NO [EXPUNGEISSUED] gone\nUNTIL-CLOSE\n",
     .log = SELECTED "1[3]one.\nmissed 2: item unreadable (message is corrupt)\n3[5]three.\n"
                     "missed 9: item vanished ([EXPUNGEISSUED] gone)\n"},
    {.name = "fetch: cut through, two commands on their way",
     .ops = "select INBOX; fetch 1:3000000,2:3000000,3:3000000,4:5",
     .script = READING
     "C: * UID FETCH 1 *\nC: * UID FETCH 2 *\nREJECT * UID FETCH 4 *\n"
     "S+: * 1 FETCH (UID 1 BODY[] {300000}\\r\\n\nLITERAL 300000\nS+: )\\r\\n\nS: A4 OK\n"
     "C: * UID FETCH 3 *\nCLOSE\n",
     .log = SELECTED "1[300000]=300000.\nfetch: retry\n"},
    {.name = "fetch: cut in the middle of a body",
     .ops = "select INBOX; fetch 1,2; fetch 2",
     .script =
         READING
         "C: * UID FETCH 1:2 *\nS+: * 1 FETCH (UID 1 BODY[] {9}\\r\\none\nCLOSE\n",
     .log = SELECTED "1[9]onemissed 1: retry connection-lost\nfetch: retry\nfetch: retry\n"},
    {.name = "fetch: BYE in between",
     .ops = "select INBOX; fetch 1,2; fetch 2",
     .script =
         READING
         "C: * UID FETCH 1:2 *\nS+: * 1 FETCH (UID 1 BODY[] {3}\\r\\none)\\r\\n\n"
         "S: * BYE Too many requests. Suggested Backoff Time: 60000 milliseconds\nCLOSE\n",
     .log = SELECTED "1[3]one.\nfetch: later throttled after 60000 (Too many requests. Suggested "
                     "Backoff Time: 60000 "
                     "milliseconds)\nfetch: retry throttled after 60000 (Too many requests. "
                     "Suggested Backoff Time: "
                     "60000 milliseconds)\n"},
    {.name = "fetch: the sink has enough, the rest runs out and the session lives",
     .ops = "select INBOX; fetch 1,2,3; fetch 9",
     .sink_fails_at = 2,
     .script =
         READING
         "C: * UID FETCH 1:3 *\nS+: * 1 FETCH (UID 1 BODY[] {3}\\r\\none)\\r\\n\n"
         "S+: * 2 FETCH (UID 2 BODY[] {3}\\r\\ntwo)\\r\\n\n"
         "S+: * 3 FETCH (UID 3 BODY[] {5}\\r\\nthree)\\r\\n\nS: $TAG OK\n"
         "C: * UID FETCH 9 *\nS+: * 9 FETCH (UID 9 BODY[] {4}\\r\\nnine)\\r\\n\nS: $TAG OK\n"
         "UNTIL-CLOSE\n",
     .log = SELECTED "1[3]one.\nfetch: item\n9[4]nine.\n"},
    {.name = "fetch: silence in the middle of a body",
     .ops = "select INBOX; fetch 1",
     .timeout_ms = 150,
     .script = READING "C: * UID FETCH 1 *\nS+: * 1 FETCH (UID 1 BODY[] {9}\\r\\none\nSTALL\n",
     .log = SELECTED "1[9]onemissed 1: retry connection-lost\nfetch: retry timeout\n"},
    {.name = "fetch: a tag that is not ours",
     .ops = "select INBOX; fetch 1",
     .script = READING "C: * UID FETCH 1 *\nS: A99 OK\nUNTIL-CLOSE\n",
     .log = SELECTED "fetch: mailbox\n"},
    {.name = "flags",
     .ops = "select INBOX; store kw; store kw b(d; store x",
     .script =
         READING
         "C: * UID STORE 1:3,7 +FLAGS.SILENT (\\Seen kw)\nS: $TAG OK\n"
         "C: * UID STORE 1:3,7 +FLAGS.SILENT (\\Seen kw)\nS: $TAG OK\n"
         "C: * UID STORE 1:3,7 +FLAGS.SILENT (\\Seen x)\nS: $TAG NO [LIMIT] Too many keywords\n"
         "UNTIL-CLOSE\n",
     .log = SELECTED "store: item keyword-refused ([LIMIT] Too many keywords)\n"},
};
/* clang-format on */

/* Courier's bodies are whole in RFC822 only, which sets \\Seen unless the folder is read-only. */
#define COURIER                                                                                    \
    "CONN 1\nREJECT *BODY*\nS: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Courier-IMAP\n"      \
    "C: * AUTHENTICATE *\nS: $TAG OK [CAPABILITY IMAP4rev1 ENABLE UTF8=ACCEPT ACL2=UNION] in\n"    \
    "C: * LIST \"\" \"\"\nC: * ENABLE UTF8=ACCEPT\nS: * LIST (\\Noselect) \".\" \"\"\nS: A2 OK\n"  \
    "S: * ENABLED UTF8=ACCEPT\nS: A3 OK\n"
#define COURIER_OPENED(how, validity, next)                                                        \
    "C: * " how " \"INBOX\"\nS: * 2 EXISTS\nS: * OK [UIDVALIDITY " validity "] Ok\n"               \
    "S: * OK [UIDNEXT " next "] Ok\nS: * OK [PERMANENTFLAGS (\\Seen \\*)] Ok\nS: $TAG OK\n"
#define C_SELECT        COURIER_OPENED("SELECT", "7", "3")
#define C_EXAMINE       COURIER_OPENED("EXAMINE", "7", "3")
#define C_EXAMINE_MORE  COURIER_OPENED("EXAMINE", "7", "4")
#define C_EXAMINE_OTHER COURIER_OPENED("EXAMINE", "8", "3")
#define C_FETCH                                                                                    \
    "C: * UID FETCH 1 (UID RFC822)\nS+: * 1 FETCH (UID 1 RFC822 {3}\\r\\none)\\r\\n\nS: $TAG OK\n"
#define C_STORE "C: * UID STORE 1:3,7 +FLAGS.SILENT (\\Seen x)\nS: $TAG OK\n"
#define OPENED2 "selected 2 messages, next 3, *\n"

/* clang-format off */
static const struct dialogue couriers[] = {
    {.name = "read-only for the fetch, for writing again for the flags",
     .ops = "open INBOX; fetch 1; fetch 1; open INBOX; store x; fetch 1",
     .script = COURIER C_SELECT C_EXAMINE C_FETCH C_FETCH C_SELECT C_STORE C_EXAMINE C_FETCH
     "UNTIL-CLOSE\n",
     .log = OPENED2 "1[3]one.\n1[3]one.\n" OPENED2 "1[3]one.\n"},
    {.name = "what came meanwhile is seen by the next select",
     .ops = "open INBOX; fetch 1; open INBOX",
     .script = COURIER C_SELECT C_EXAMINE_MORE C_FETCH C_SELECT "UNTIL-CLOSE\n",
     .log = OPENED2 "1[3]one.\n" OPENED2},
    {.name = "another folder of that name, none at all, and the same again",
     .ops = "open INBOX; fetch 1; fetch 1; scan 1; fetch 1",
     .script = COURIER C_SELECT C_EXAMINE_OTHER
     "C: * EXAMINE *\nS: $TAG NO [NONEXISTENT] gone\nC: * SELECT *\nS: $TAG NO [NOPERM] "
     "no\n" C_EXAMINE C_FETCH "UNTIL-CLOSE\n",
     .log = OPENED2 "fetch: folder\nfetch: folder no-folder ([NONEXISTENT] gone)\n"
                    "scan: folder no-permission ([NOPERM] no)\n1[3]one.\n"},
    {.name = "the connection breaks while the folder is opened again",
     .ops = "open INBOX; fetch 1; fetch 1",
     .script = COURIER C_SELECT "C: * EXAMINE *\nCLOSE\n",
     .log = OPENED2 "fetch: retry\nfetch: retry\n"},
};
/* clang-format on */

Test(imap_dialogue, courier)
{
    play_all(couriers, MH_ARRAY_LEN(couriers));
}

Test(imap_dialogue, reading)
{
    play_all(readings, MH_ARRAY_LEN(readings));
}

/* --- listing by UID --------------------------------------------------------------------------- */

/* clang-format off */
static const struct dialogue listings[] = {
    {.name = "ranges and gaps; out of order, twice, without size; what is gone is left out",
     .ops = "select INBOX; uids 1:3,7,9:10,99; uids 5",
     .script =
         READING
         "C: A4 UID FETCH 1:3,7,9:10,99 (UID FLAGS INTERNALDATE RFC822.SIZE)\n"
         "S: * 1 FETCH (UID 9 FLAGS (k9) RFC822.SIZE 90)\n"
         "S: * 1 FETCH (UID 1 FLAGS (k1) RFC822.SIZE 10)\n"
         "S: * 1 FETCH (UID 10 FLAGS (k10) RFC822.SIZE 5)\nS: * 2 FETCH (UID 2 FLAGS (\\Seen))\n"
         "S: * 1 FETCH (UID 7 FLAGS (k7) RFC822.SIZE 70)\n"
         "S: * 1 FETCH (UID 10 FLAGS (k10) RFC822.SIZE 100)\nS: A4 OK\n"
         "C: A5 NOOP\nC: A6 UID FETCH 5 (UID FLAGS INTERNALDATE RFC822.SIZE)\nS: A5 OK\nS: A6 OK\n"
         "UNTIL-CLOSE\n",
     .log = SELECTED "1/10(k1) 7/70(k7) 9/90(k9) 10/100(k10) 4 listed\n0 listed\n"},
    {.name = "with CONDSTORE",
     .ops = "select INBOX; uids 3",
     .script =
         LOGIN("CONDSTORE")
         "C: * EXAMINE \"INBOX\" (CONDSTORE)\nS: * 9 EXISTS\nS: * OK [UIDNEXT 100]\nS: $TAG OK\n"
         "C: * UID FETCH 3 (UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ)\n"
         "S: * 3 FETCH (UID 3 FLAGS (a) RFC822.SIZE 4 MODSEQ (12))\nS: $TAG OK\nUNTIL-CLOSE\n",
     .log = "selected 9 messages, next 100, \n3/4(a) 1 listed\n"},
    {.name = "no UIDs, none that IMAP can have: the server is asked nothing",
     .ops = "select INBOX; uids 3; uids; uids 4294967296:4294967297; uids 4,4294967296",
     .script =
         READING
         "C: A4 UID FETCH 3 (UID FLAGS INTERNALDATE RFC822.SIZE)\n"
         "S: * 1 FETCH (UID 3 FLAGS (k3) RFC822.SIZE 1)\nS: A4 OK\n"
         "C: A5 NOOP\nC: A6 UID FETCH 4 (UID FLAGS INTERNALDATE RFC822.SIZE)\nS: A5 OK\n"
         "S: * 1 FETCH (UID 4 FLAGS (k4) RFC822.SIZE 2)\nS: A6 OK\nUNTIL-CLOSE\n",
     .log = SELECTED "3/1(k3) 1 listed\n0 listed\n0 listed\n4/2(k4) 1 listed\n"},
    {.name = "refused for now: nothing is known of what was not listed",
     .ops = "select INBOX; uids 1:3; uids 2",
     .script =
         READING
         "C: * UID FETCH 1:3 *\nS: * 1 FETCH (UID 1 FLAGS (k1) RFC822.SIZE 10)\n"
         "S: $TAG NO [UNAVAILABLE] busy\n"
         "C: * NOOP\nC: A6 UID FETCH 2 (UID FLAGS INTERNALDATE RFC822.SIZE)\nS: A5 OK\n"
         "S: * 1 FETCH (UID 2 FLAGS (k2) RFC822.SIZE 20)\nS: A6 OK\nUNTIL-CLOSE\n",
     .log = SELECTED "uids: later unavailable ([UNAVAILABLE] busy)\n"
                     "2/20(k2) 1 listed\n"},
    {.name = "refused: not the same as not there",
     .ops = "select INBOX; uids 1:3; uids 2",
     .script = READING
     "C: * UID FETCH 1:3 *\nS: * 1 FETCH (UID 1 FLAGS (k1) RFC822.SIZE 10)\n"
     "S: $TAG NO some could not be fetched\nC: * NOOP\n"
     "C: A6 UID FETCH 2 (UID FLAGS INTERNALDATE RFC822.SIZE)\nS: A5 OK\nS: A6 BAD what?\n"
     "UNTIL-CLOSE\n",
     .log = SELECTED "uids: folder refused (some could not be fetched)\n"
                     "uids: folder refused (what?)\n"},
    {.name = "refused for those that are gone",
     .ops = "select INBOX; uids 1:3",
     .script =
         READING
         "C: * UID FETCH 1:3 *\nS: * 1 FETCH (UID 1 FLAGS (k1) RFC822.SIZE 10)\n"
         "S: * 1 FETCH (UID 3 FLAGS (k3) RFC822.SIZE 30)\n"
         "S: $TAG NO [EXPUNGEISSUED] some are gone\nUNTIL-CLOSE\n",
     .log = SELECTED "1/10(k1) 3/30(k3) 2 listed\n"},
    {.name = "scan: those that it left out are refused for now",
     .ops = "select INBOX; scan 1",
     .script =
         READING
         "C: * UID FETCH 1:* *\nS: * 1 FETCH (UID 1 FLAGS () RFC822.SIZE 5)\nS: $TAG OK\n"
         "C: * UID SEARCH 1:9\nS: * SEARCH 1 2 3\nS: $TAG OK\n"
         "C: * UID FETCH 2:3 *\nS: $TAG NO Request is throttled\nUNTIL-CLOSE\n",
     .log = SELECTED "scan: later throttled (Request is throttled)\n"},
    {.name = "cut between two messages",
     .ops = "select INBOX; uids 1:3; uids 1",
     .script =
         READING "C: * UID FETCH 1:3 *\nS: * 1 FETCH (UID 1 FLAGS (k1) RFC822.SIZE 10)\nCLOSE\n",
     .log = SELECTED "uids: retry\nuids: retry\n"},
    {.name = "cut in the middle of a message",
     .ops = "select INBOX; uids 1:3; uids; scan 1",
     .script =
         READING
         "C: * UID FETCH 1:3 *\nS: * 1 FETCH (UID 1 FLAGS (k1) RFC822.SIZE 10)\n"
         "S+: * 2 FETCH (UID 2 FLAGS (k2) RFC822.SI\nCLOSE\n",
     .log = SELECTED "uids: retry\nuids: retry\nscan: retry\n"},
    {.name = "BYE in between",
     .ops = "select INBOX; uids 1:3",
     .script =
         READING
         "C: * UID FETCH 1:3 *\nS: * 1 FETCH (UID 1 FLAGS (k1) RFC822.SIZE 10)\n"
         "S: * BYE going down\nCLOSE\n",
     .log = SELECTED "uids: retry connection-lost (going down)\n"},
    {.name = "silence",
     .ops = "select INBOX; uids 1:3",
     .timeout_ms = 100,
     .script =
         READING "C: * UID FETCH 1:3 *\nS: * 1 FETCH (UID 1 FLAGS (k1) RFC822.SIZE 10)\nSTALL\n",
     .log = SELECTED "uids: retry timeout\n"},
};
/* clang-format on */

Test(imap_dialogue, listing)
{
    play_all(listings, MH_ARRAY_LEN(listings));
}

/* --- listing by UID: what was not asked for --------------------------------------------------- */

/* Keeps the line that a session says at its end about what it has ignored. */
static void keep_ignored(void *ctx, enum mh_log_level level, const char *line)
{
    struct mh_buf *kept = ctx;
    const char *at = strstr(line, "ignored: ");
    (void)level;
    if (at)
        mh_buf_adds(kept, at);
}

Test(imap_dialogue, listing_ignores_what_was_not_asked)
{
    const struct dialogue d = {
        .name = "UIDs below, between, above, without end; asked for before",
        .ops = "select INBOX; uids 20,30:32,40; uids 50",
        .script =
            READING "C: A4 UID FETCH 20,30:32,40 (UID FLAGS INTERNALDATE RFC822.SIZE)\n"
                    "S: * 1 FETCH (UID 10 FLAGS (k10) RFC822.SIZE 1)\n"
                    "S: * 1 FETCH (UID 20 FLAGS (k20) RFC822.SIZE 2)\n"
                    "S: * 1 FETCH (UID 25 FLAGS (k25) RFC822.SIZE 3)\n"
                    "S: * 1 FETCH (UID 31 FLAGS (k31) RFC822.SIZE 4)\n"
                    "S: * 1 FETCH (UID 33 FLAGS (k33) RFC822.SIZE 5)\n"
                    "S: * 1 FETCH (UID 40 FLAGS (k40) RFC822.SIZE 6)\n"
                    "S: * 1 FETCH (UID 41 FLAGS (k41) RFC822.SIZE 7)\n"
                    "S: * 1 FETCH (UID 4294967295 FLAGS (k4294967295) RFC822.SIZE 8)\nS: A4 OK\n"
                    "C: A5 NOOP\nC: A6 UID FETCH 50 (UID FLAGS INTERNALDATE RFC822.SIZE)\n"
                    "S: * 1 FETCH (UID 20 FLAGS (k20) RFC822.SIZE 9)\nS: A5 OK\n"
                    "S: * 1 FETCH (UID 50 FLAGS (k50) RFC822.SIZE 10)\nS: A6 OK\nUNTIL-CLOSE\n",
        .log = SELECTED "20/2(k20) 31/4(k31) 40/6(k40) 3 listed\n50/10(k50) 1 listed\n"};
    struct mh_buf ignored = MH_BUF_INIT;
    mh_log_set_output(keep_ignored, &ignored);
    mh_log_set_level(MH_LOG_DEBUG);
    play(&d);
    cr_expect_str_eq(mh_buf_str(&ignored),
                     "ignored: 6 unsolicited responses, 0 bodies, 0 continuations");
    mh_buf_done(&ignored);
}

/* --- listing by UID: sets that need several commands ------------------------------------------ */

/* What a server must be able to read (RFC 7162 section 4); CR LF included. */
enum { COMMAND_LINE_MAX = 8192 };

/* Adds one command for N ranges of RANGE UIDs each, GAP apart, the first at *UID, and answers with
 * one message of each range; with BREAK the connection ends behind the first half of them. */
static void add_chunk(struct mh_buf *script, struct mh_buf *set, struct mh_buf *log, uint64_t *uid,
                      size_t n, uint64_t range, uint64_t gap, bool is_cut)
{
    static const char scan_items[] = " (UID FLAGS INTERNALDATE RFC822.SIZE)";
    struct mh_buf answers = MH_BUF_INIT;
    struct mh_buf line = MH_BUF_INIT;
    for (size_t i = 0; i < n; i++, *uid += range + gap) {
        unsigned long long first = *uid;
        mh_buf_addf(&line, range > 1 ? "%s%llu:%llu" : "%s%llu", i ? "," : "", first,
                    first + range - 1);
        if (!is_cut || i < n / 2)
            mh_buf_addf(&answers, "S: * 1 FETCH (UID %llu FLAGS () RFC822.SIZE 5)\n", first);
        mh_buf_addf(log, "%llu/5() ", first);
    }
    mh_buf_addf(set, "%s%s", set->len ? "," : "", mh_buf_str(&line));
    mh_buf_addf(script, "C: * UID FETCH %s%s\n%s%s", mh_buf_str(&line), scan_items,
                mh_buf_str(&answers), is_cut ? "CLOSE\n" : "S: $TAG OK\n");
    cr_expect_lt(strlen("A1000 UID FETCH ") + line.len + strlen(scan_items) + 2, COMMAND_LINE_MAX);
    mh_buf_done(&answers);
    mh_buf_done(&line);
}

static void play_chunks(const char *name, const size_t *chunks, uint64_t first, uint64_t range,
                        uint64_t gap, bool is_last_cut)
{
    struct mh_buf script = MH_BUF_INIT;
    struct mh_buf set = MH_BUF_INIT;
    struct mh_buf listed = MH_BUF_INIT;
    size_t n = 0;
    mh_buf_adds(&script, READING);
    for (; *chunks; chunks++) {
        add_chunk(&script, &set, &listed, &first, *chunks, range, gap, is_last_cut && !chunks[1]);
        n += *chunks;
    }
    mh_buf_adds(&script, is_last_cut ? "" : "UNTIL-CLOSE\n");
    char *ops = mh_asprintf("select INBOX; uids %s", mh_buf_str(&set));
    char *log = is_last_cut ? mh_asprintf(SELECTED "uids: retry\n")
                            : mh_asprintf(SELECTED "%s%zu listed\n", mh_buf_str(&listed), n);
    cr_assert(ops && log && !mh_buf_failed(&script));
    const struct dialogue d = {.name = name, .ops = ops, .script = mh_buf_str(&script), .log = log};
    play_all(&d, 1);
    mh_free(ops);
    mh_free(log);
    mh_buf_done(&script);
    mh_buf_done(&set);
    mh_buf_done(&listed);
}

/* 340 ranges a command, IMAP_UID_RANGES_MAX: the ends of the sets are what they must be, and the
 * longest possible line is short enough. */
static const struct {
    const char *name;
    uint64_t first;
    size_t chunks[4]; /* ranges; 0 ends */
    uint64_t range, gap;
    bool is_last_cut;
} sparse[] = {
    {"as many as one command has", 1, {340}, 1, 1, false},
    {"one more", 1, {340, 1}, 1, 1, false},
    {"three commands", 1000, {340, 340, 20}, 1, 9, false},
    {"ranges, of the longest numbers", 4294960000, {340, 2}, 2, 1, false},
    {"one range is one range, however long", 100, {1}, 1500, 1, false},
    {"cut in the second command", 1, {340, 340}, 1, 1, true},
};

Test(imap_dialogue, listing_of_sparse_sets)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(sparse); i++)
        play_chunks(sparse[i].name, sparse[i].chunks, sparse[i].first, sparse[i].range,
                    sparse[i].gap, sparse[i].is_last_cut);
}

/* --- appending -------------------------------------------------------------------------------- */

#define SINGLE LOGIN("LITERAL+ UIDPLUS")
#define MULTI  LOGIN("LITERAL+ UIDPLUS MULTIAPPEND")

/* clang-format off */
static const struct dialogue appends[] = {
    {.name = "one by one, none waits for the answer before",
     .ops = "to A; append 1,3; append 2,4; flush",
     .script =
         SINGLE
         "C: * APPEND \"A\" {3+}\nC: \nC: * APPEND \"A\" {4+}\nC: \nS: A3 OK [APPENDUID 7 41]\n"
         "S: A4 NO [TOOBIG] no\nUNTIL-CLOSE\n",
     .log = "#1=41/7\n#2: item too-big ([TOOBIG] no)\n"},
    {.name = "a batch: UIDs in its order",
     .ops = "to A; append 1,3; append 2,4; append 3,5; cut; append 4,1; flush",
     .script =
         MULTI "C: * APPEND \"A\" {3+}\nC:  {4+}\nC:  {5+}\nC: \nC: * APPEND \"A\" {1+}\nC: \n"
               "S: A3 OK [APPENDUID 7 41:42,50]\nS: A4 OK [APPENDUID 7 51:52]\nUNTIL-CLOSE\n",
     .log = "#1=41/7\n#2=42/7\n#3=50/7\n#4=0/0\n"},
    {.name = "dates that servers refuse or misread become the nearest one that they keep",
     .ops =
         "to A; append 1,1,-3600,0; append 2,1,0,0; append 3,1,3600,-120; append 4,1,90000,-120; "
         "append 5,1,4294967295,60; append 6,1,4294967296,60; flush",
     .script =
         MULTI
         "C: * APPEND \"A\" \" 1-Jan-1970 00:00:01 +0000\" {1+}\n"
         "C:  \" 1-Jan-1970 00:00:01 +0000\" {1+}\nC:  \" 1-Jan-1970 01:00:00 +0000\" {1+}\n"
         "C:  \" 1-Jan-1970 23:00:00 -0200\" {1+}\nC:  \" 7-Feb-2106 07:28:15 +0100\" {1+}\n"
         "C:  \" 7-Feb-2106 06:28:15 +0000\" {1+}\nC: \nS: A3 OK [APPENDUID 7 41:46]\n"
         "UNTIL-CLOSE\n",
     .log = "#1=41/7\n#2=42/7\n#3=43/7\n#4=44/7\n#5=45/7\n#6=46/7\n"},
    {.name = "a batch is refused: none of it is stored",
     .ops = "to A; append 1,3; append 2,4; cut; append 3,1; cut; append 4,1; append 5,1; flush",
     .script =
         MULTI
         "C: * APPEND \"A\" {3+}\nC:  {4+}\nC: \nC: * APPEND \"A\" {1+}\nC: \n"
         "C: * APPEND \"A\" {1+}\nC:  {1+}\nC: \nS: A3 NO Message contains NUL characters\n"
         "S: A4 BAD Message contains NUL characters\nS: A5 NO [OVERQUOTA] full\nUNTIL-CLOSE\n",
     .log = "#1: split nul-byte (Message contains NUL characters)\n"
            "#2: split nul-byte (Message contains NUL characters)\n"
            "#3: item nul-byte (Message contains NUL characters)\n"
            "#4: later over-quota ([OVERQUOTA] full)\n#5: later over-quota ([OVERQUOTA] full)\n"},
    {.name = "no octets: a command of its own",
     .ops = "to A; append 1,3; append 2,0; append 3,4; flush",
     .script =
         MULTI "C: * APPEND \"A\" {3+}\nC: \nC: * APPEND \"A\" {0+}\nC: \n"
               "C: * APPEND \"A\" {4+}\nC: \nS: A3 OK\nS: A4 NO zero\nS: A5 OK\nUNTIL-CLOSE\n",
     .log = "#1=0/0\n#2: item refused (zero)\n#3=0/0\n"},
    {.name = "a command in between ends the batch",
     .ops = "to A; append 1,3; quota; append 2,4; flush",
     .script =
         LOGIN("LITERAL+ MULTIAPPEND QUOTA")
         "C: * APPEND \"A\" {3+}\nC: \nC: * GETQUOTAROOT *\nS: A3 OK\nS: A4 OK\n"
         "C: * APPEND \"A\" {4+}\nC: \nS: A5 OK\nUNTIL-CLOSE\n",
     .log = "#1=0/0\nquota 0 0 of 0\n#2=0/0\n"},
    {.name = "synchronising literals",
     .ops = "to A; append 1,3; append 2,4; flush",
     .script =
         LOGIN("UIDPLUS")
         "C: * APPEND \"A\" {3}\nC: \nS: A3 OK [APPENDUID 7 1]\n"
         "C: * APPEND \"A\" {4}\nC: \nS: A4 OK [APPENDUID 7 2]\nUNTIL-CLOSE\n",
     .log = "#1=1/7\n#2=2/7\n"},
    {.name = "LITERAL-: above 4096 octets the server is asked",
     .ops = "to A; append 1,4096; append 2,4097; flush",
     .script =
         LOGIN("LITERAL-")
         "C: * APPEND \"A\" {4096+}\nC: \nC: * APPEND \"A\" {4097}\nC: \nS: A3 OK\nS: A4 OK\n"
         "UNTIL-CLOSE\n",
     .log = "#1=0/0\n#2=0/0\n"},
    {.name = "refused before the octets",
     .ops = "to A; append 1,3; append 2,4; append 3,5; flush",
     .script =
         LOGIN("")
         "NOCONT\nC: * APPEND \"A\" {3}\nS: $TAG NO [TOOBIG] big\n"
         "C: * APPEND \"A\" {4}\nS: $TAG NO [OVERQUOTA] full\nNOCONT off\n"
         "C: * APPEND \"A\" {5}\nC: \nS: A5 OK\nUNTIL-CLOSE\n",
     .log = "append: item too-big ([TOOBIG] big)\n#2: later over-quota ([OVERQUOTA] full)\n"
            "#3=0/0\n"},
    {.name = "a batch ends at a literal that is not let in",
     .ops = "to A; append 1,3; append 2,4; append 3,5; append 4,6; append 5,1; flush",
     .script =
         LOGIN("MULTIAPPEND")
         "C: * APPEND \"A\" {3}\nNOCONT\nC:  {4}\nS: A3 NO [TOOBIG] big\nNOCONT off\n"
         "C: * APPEND \"A\" {5}\nNOCONT\nC:  {6}\nS: A4 NO bad header\nNOCONT off\n"
         "C: * APPEND \"A\" {1}\nC: \nS: A5 OK\nUNTIL-CLOSE\n",
     .log = "#1: split too-big ([TOOBIG] big)\nappend: item too-big ([TOOBIG] big)\n"
            "#3: split refused (bad header)\n#4: split refused (bad header)\n#5=0/0\n"},
    {.name = "refused while it is still being written",
     .ops = "to A; append 1,3; begin 2,100000; await 1; rest; append 3,1; flush",
     .script =
         MULTI
         "C: * APPEND \"A\" {3+}\nS: A3 NO [LIMIT] too many keywords\n"
         "C:  {100000+}\nC: \nC: * APPEND \"A\" {1+}\nC: \nS: A4 OK\nUNTIL-CLOSE\n",
     .log = "#1: split keyword-refused ([LIMIT] too many keywords)\n"
            "#2: split keyword-refused ([LIMIT] too many keywords)\n#3=0/0\n"},
    {.name = "refused between two messages",
     .ops = "to A; append 1,3; await 1; append 2,1; flush",
     .script =
         MULTI
         "C: * APPEND \"A\" {3+}\nS: A3 NO [TOOBIG] big\n"
         "C: \nC: * APPEND \"A\" {1+}\nC: \nS: A4 OK\nUNTIL-CLOSE\n",
     .log = "#1: item too-big ([TOOBIG] big)\n#2=0/0\n"},
    {.name = "the folder is missing: it is made once",
     .ops = "to A; append 1,3; flush; append 1,3; flush; append 2,3; flush",
     .script =
         SINGLE
         "C: * APPEND \"A\" {3+}\nC: \nS: A3 NO [TRYCREATE] no such folder\n"
         "C: * CREATE \"A\"\nS: A4 OK\n"
         "C: * APPEND \"A\" {3+}\nC: \nS: A5 OK\n"
         "C: * APPEND \"A\" {3+}\nC: \nS: A6 NO [TRYCREATE] again\nUNTIL-CLOSE\n",
     .log = "#1: later no-folder after 100 ([TRYCREATE] no such folder)\n#1=0/0\n"
            "#2: item no-folder ([TRYCREATE] again)\n"},
    {.name = "throttled",
     .ops = "to A; append 1,3; append 2,3; cut; flush",
     .script =
         MULTI
         "C: * APPEND \"A\" {3+}\nC:  {3+}\nC: \n"
         "S: A3 NO Request is throttled. Suggested Backoff Time: 300 milliseconds\nUNTIL-CLOSE\n",
     .log = "#1: later throttled after 300 (Request is throttled. Suggested Backoff Time: 300 "
            "milliseconds)\n#2: later throttled after 300 (Request is throttled. Suggested Backoff "
            "Time: 300 milliseconds)\n"},
    {.name = "the answer is lost",
     .ops = "to A; append 1,3; cut; append 2,4; flush; append 3,1",
     .script = MULTI "C: * APPEND \"A\" {3+}\nC: \nC: * APPEND \"A\" {4+}\nC: \nCLOSE\n",
     .log = "#1: retry\n#2: retry\nflush: retry\nappend: retry\n"},
    {.name = "BYE with a time: the fate is unknown, the next call says to wait",
     .ops = "to A; append 1,3; flush; append 2,1",
     .script =
         SINGLE
         "C: * APPEND \"A\" {3+}\nC: \nS: * BYE Suggested Backoff Time: 70 milliseconds\nCLOSE\n",
     .log = "#1: retry throttled after 70 (Suggested Backoff Time: 70 milliseconds)\n"
            "flush: later throttled after 70 (Suggested Backoff Time: 70 milliseconds)\n"
            "append: retry throttled after 70 (Suggested Backoff Time: 70 milliseconds)\n"},
    {.name = "closing with a batch open: its verdicts come first",
     .ops = "to A; append 1,3; append 2,3",
     .script = MULTI "C: * APPEND \"A\" {3+}\nC:  {3+}\nUNTIL-CLOSE\n",
     .log = "#1: retry\n#2: retry\n"},
    {.name = "the server's limit is known before",
     .ops = "to A; append 1,101; append 2,100; flush",
     .script =
         LOGIN("LITERAL+ APPENDLIMIT=100")
         "C: * APPEND \"A\" {100+}\nC: \nS: A3 OK\nUNTIL-CLOSE\n",
     .log = "append: item too-big\n#2=0/0\n"},
    {.name = "each folder has its own limit",
     .ops = "to A; append 1,101; append 2,100; to A; append 3,101; to B; append 4,101; to A; flush",
     .script =
         LOGIN("LITERAL+ APPENDLIMIT")
         "C: * STATUS \"A\" (APPENDLIMIT)\nS: * STATUS B (MESSAGES 1)\n"
         "S: * STATUS A (APPENDLIMIT 100)\nS: $TAG OK\n"
         "C: * APPEND \"A\" {100+}\nC: \nC: * STATUS \"B\" (APPENDLIMIT)\nS: A4 OK\n"
         "S: * STATUS B (APPENDLIMIT NIL)\nS: A5 OK\n"
         "C: * APPEND \"B\" {101+}\nC: \nC: * STATUS \"A\" *\nS: A6 OK\nS: A7 OK\nUNTIL-CLOSE\n",
     .log = "append: item too-big\nappend: item too-big\n#2=0/0\n#4=0/0\n"},
    {.name = "a folder that takes no messages, one that is not there, a number that is none",
     .ops = "to A; append 1,1; to B; append 2,1; flush; to C; append 3,1; flush",
     .script =
         LOGIN("LITERAL+ APPENDLIMIT")
         "C: * STATUS \"A\" *\nS: * STATUS A (APPENDLIMIT 0)\nS: $TAG OK\n"
         "C: * STATUS \"B\" *\nS: $TAG NO [NONEXISTENT] none\n"
         "C: * APPEND \"B\" {1+}\nC: \nS: A5 OK\n"
         "C: * STATUS \"C\" *\nS: * STATUS C (APPENDLIMIT -1)\nS: $TAG OK\n"
         "C: * APPEND \"C\" {1+}\nC: \nS: A7 OK\nUNTIL-CLOSE\n",
     .log = "append: item too-big\n#2=0/0\n#3=0/0\n"},
    {.name = "the endpoint's own limit and the folder's: the lower one counts",
     .max_message = 50,
     .ops = "to A; append 1,51; append 2,50; flush; to B; append 3,41; flush",
     .script =
         LOGIN("LITERAL+ APPENDLIMIT")
         "C: * STATUS \"A\" *\nS: * STATUS A (APPENDLIMIT 100)\nS: $TAG OK\n"
         "C: * APPEND \"A\" {50+}\nC: \nS: A4 OK\n"
         "C: * STATUS \"B\" *\nS: * STATUS B (APPENDLIMIT 40)\nS: $TAG OK\nUNTIL-CLOSE\n",
     .log = "append: item too-big\n#2=0/0\nappend: item too-big\n"},
    {.name = "the connection breaks while the limit is asked",
     .ops = "to A; append 1,1",
     .script = LOGIN("LITERAL+ APPENDLIMIT") "C: * STATUS \"A\" *\nCLOSE\n",
     .log = "to: retry\nappend: retry\n"},
    {.name = "OK before the end of the command",
     .ops = "to A; append 1,3; await 1; flush",
     .script = MULTI "C: * APPEND \"A\" {3+}\nS: A3 OK\nUNTIL-CLOSE\n",
     .log = "#1: retry\nflush: retry\n"},
    {.name = "the connection breaks in the middle of a message",
     .ops = "to A; append 1,3; begin 2,5; await 1; rest; append 3,1",
     .script = MULTI "C: * APPEND \"A\" {3+}\nCLOSE\n",
     .log = "#1: retry\nrest: retry\nappend: retry\n#2: retry\n"},
    {.name = "silence: the answer is due",
     .ops = "to A; append 1,3; flush",
     .timeout_ms = 150,
     .script = SINGLE "C: * APPEND \"A\" {3+}\nC: \nSTALL\n",
     .log = "#1: retry timeout\nflush: retry timeout\n"},
};
/* clang-format on */

Test(imap_dialogue, appending)
{
    play_all(appends, MH_ARRAY_LEN(appends));
}
