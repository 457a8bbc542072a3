/* SPDX-License-Identifier: GPL-3.0-or-later */
/* select_changes() against dialogues: QRESYNC, CONDSTORE, servers that have neither or lie; object ids. */
#include "tests/replay/dialogue.h"

/* --- operations ------------------------------------------------------------------------------- */

static void log_uids(struct client *c, const char *what, const struct mh_uids *u)
{
    mh_buf_addf(&c->log, "%s ", what);
    for (size_t i = 0; i < u->n; i++) {
        mh_buf_addf(&c->log, "%s%llu", i ? "," : "", (unsigned long long)u->v[i].lo);
        if (u->v[i].hi > u->v[i].lo)
            mh_buf_addf(&c->log, ":%llu", (unsigned long long)u->v[i].hi);
    }
    mh_buf_addc(&c->log, '\n');
}

static void log_items(struct client *c, const struct mh_scan *scan)
{
    for (size_t i = 0; i < scan->n; i++) {
        const struct mh_item *item = &scan->items[i];
        mh_buf_addf(&c->log, "%llu/%llu %x (%s)", (unsigned long long)item->uid,
                    (unsigned long long)item->size, item->flags,
                    mh_kwsets_text(scan->kwsets, item->kwset));
        if (item->modseq)
            mh_buf_addf(&c->log, " @%llu", (unsigned long long)item->modseq);
        if (item->object_id)
            mh_buf_addf(&c->log, " id %llu", (unsigned long long)item->object_id);
        if (item->date.is_set)
            mh_buf_addf(&c->log, " dated");
        mh_buf_addc(&c->log, '\n');
    }
}

/* "changes 7/100/10/40": UIDVALIDITY, UIDNEXT, messages ("-": unknown), HIGHESTMODSEQ of then. */
static int op_changes(struct client *c, const char *arg, struct mh_err *err)
{
    struct mh_folder folder = folder_of("INBOX");
    struct mh_since since = {0};
    struct mh_opened opened = {0};
    struct mh_changes changes = {0};
    char *end = NULL;
    since.uidvalidity = (uint32_t)strtoul(arg, &end, 10);
    since.uidnext = strtoull(end + 1, &end, 10);
    since.messages_known = end[1] != '-';
    since.messages = since.messages_known ? strtoull(end + 1, &end, 10) : 0;
    since.highestmodseq = strtoull(strrchr(arg, '/') + 1, NULL, 10);
    int rc = mh_imap.select_changes(c->session, &folder, &since, &opened, &changes, err);
    if (rc == 0 || rc == MH_ENOSUP)
        mh_buf_addf(&c->log, "opened %u: %llu messages, next %llu, modseq %llu\n",
                    opened.uidvalidity, (unsigned long long)opened.messages,
                    (unsigned long long)opened.uidnext, (unsigned long long)opened.highestmodseq);
    if (rc == 0) {
        log_items(c, &changes.scan);
        if (changes.gone_by == MH_GONE_LISTED)
            log_uids(c, "gone", &changes.gone);
        else if (changes.gone_by == MH_GONE_BY_PRESENT)
            log_uids(c, "present", &changes.present);
        else
            mh_buf_adds(&c->log, "none gone\n");
    } else {
        cr_expect(changes.scan.n == 0 && changes.gone.n == 0 && changes.present.n == 0);
    }
    mh_changes_done(&changes);
    return rc;
}

/* What a scan gives besides what dialogue.h shows. */
static int op_ids(struct client *c, struct mh_err *err)
{
    struct mh_scan scan;
    int rc = mh_scan_init(&scan, err);
    if (rc == 0)
        rc = mh_imap.scan(c->session, 1, &scan, err);
    if (rc == 0)
        log_items(c, &scan);
    mh_scan_done(&scan);
    return rc;
}

static int op_folder_ids(struct client *c, struct mh_err *err)
{
    struct mh_folders folders = MH_FOLDERS_INIT;
    int rc = mh_imap.list(c->session, MH_LIST_STATUS, &folders, err);
    for (size_t i = 0; rc == 0 && i < folders.n; i++)
        mh_buf_addf(&c->log, "%s %llu id %llu\n", folders.v[i].path,
                    (unsigned long long)folders.v[i].messages,
                    (unsigned long long)folders.v[i].object_id);
    mh_folders_done(&folders);
    return rc;
}

static int more_ops(struct client *c, const char *op, char *arg, struct mh_err *err)
{
    if (strcmp(op, "changes") == 0)
        return op_changes(c, arg, err);
    if (strcmp(op, "ids") == 0)
        return op_ids(c, err);
    if (strcmp(op, "folder-ids") == 0)
        return op_folder_ids(c, err);
    if (strcmp(op, "caps") == 0) {
        const struct mh_caps *caps = mh_imap.caps(c->session);
        mh_buf_addf(&c->log, "condstore %d qresync %d object_id %d\n", caps->condstore,
                    caps->qresync, caps->object_id);
        return 0;
    }
    return MH_EUSAGE;
}

static void play_changes(struct dialogue *dialogues, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dialogues[i].more_ops = more_ops;
    play_all(dialogues, n);
}

/* --- scripts ---------------------------------------------------------------------------------- */

#define ITEMS "(UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ)"
#define ENABLED                                                                                    \
    LOGIN("ENABLE CONDSTORE QRESYNC ESEARCH")                                                      \
    "C: A3 ENABLE QRESYNC\nS: * ENABLED QRESYNC\nS: A3 OK\n"
#define EXAMINE "C: A4 EXAMINE \"INBOX\" (CONDSTORE)\n"
/* All of it before the server says a word. */
#define ASKED                                                                                      \
    ENABLED EXAMINE "C: A5 UID FETCH 1:99 " ITEMS " (CHANGEDSINCE 40 VANISHED)\n"                  \
                    "C: A6 UID FETCH 100:4294967295 (UID) (CHANGEDSINCE 40 VANISHED)\n"            \
                    "C: A7 UID FETCH 100:* " ITEMS "\n"
#define OPENED(tag, messages, next, modseq)                                                        \
    "S: * FLAGS (\\Seen)\nS: * " messages " EXISTS\nS: * OK [UIDVALIDITY 7] x\n"                   \
    "S: * OK [UIDNEXT " next "] x\nS: * OK [HIGHESTMODSEQ " modseq "] x\nS: " tag                  \
    " OK [READ-ONLY] x\n"
#define FETCHED(uid, flags, modseq)                                                                \
    "S: * 1 FETCH (UID " uid " FLAGS (" flags ") INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" "     \
    "RFC822.SIZE 1" uid " MODSEQ (" modseq "))\n"
/* The last message, which `100:*` names in any case. */
#define LAST FETCHED("99", "", "3")
#define END  "UNTIL-CLOSE\n"

#define SEARCHED(tag, found)                                                                       \
    "C: " tag " UID SEARCH RETURN (ALL) UID 1:*\nS: * ESEARCH (TAG \"" tag "\") UID ALL " found    \
    "\nS: " tag " OK\n"

/* Of 10 messages and UIDNEXT 100. */
#define SINCE   "changes 7/100/10/40"
#define NO_NEW  "S: A6 OK\n" LAST "S: A7 OK\n"
#define NO_LIST "S: A5 OK\nS: A6 OK\n" LAST "S: A7 OK\n"

/* --- QRESYNC ---------------------------------------------------------------------------------- */

/* clang-format off */
static struct dialogue qresyncs[] = {
    {.name = "nothing has happened",
     .ops = SINCE "; caps",
     .script = ASKED OPENED("A4", "10", "100", "40") NO_LIST END,
     .log = "opened 7: 10 messages, next 100, modseq 40\nnone gone\n"
            "condstore 1 qresync 1 object_id 0\n"},
    {.name = "flags, new ones, gone ones",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "10", "102", "50") "S: * VANISHED (EARLIER) 41,50:51,99\n"
         FETCHED("7", "\\Seen b a", "44") FETCHED("3", "", "45") "S: A5 OK\n"
         "S: * 9 FETCH (UID 100 MODSEQ (46))\nS: * 10 FETCH (UID 101 MODSEQ (50))\nS: A6 OK\n"
         FETCHED("100", "", "46") FETCHED("101", "kw", "50") "S: A7 OK\n" END,
     .log = "opened 7: 10 messages, next 102, modseq 50\n3/13 0 () @45 dated\n"
            "7/17 1 (a b) @44 dated\n100/1100 0 () @46 dated\n101/1101 0 (kw) @50 dated\n"
            "gone 41,50:51,99\n"},
    {.name = "all data in front of all ends; the last message without its MODSEQ",
     .ops = SINCE "; " SINCE,
     .script =
         ASKED OPENED("A4", "11", "101", "50") FETCHED("7", "", "41") LAST
         "S: * 9 FETCH (UID 100 MODSEQ (46))\n" FETCHED("100", "", "46")
         "S: * VANISHED (EARLIER) 5\nS: A5 OK\nS: A6 OK\nS: A7 OK\n"
         "C: A8 EXAMINE *\nC: A9 *\nC: A10 *\nC: A11 *\n"
         OPENED("A8", "10", "100", "50") "S: A9 OK\nS: A10 OK\n"
         "S: * 9 FETCH (UID 99 FLAGS () RFC822.SIZE 5)\nS: A11 OK\n" END,
     .log = "opened 7: 11 messages, next 101, modseq 50\n7/17 0 () @41 dated\n"
            "100/1100 0 () @46 dated\nnone gone\n"
            "opened 7: 10 messages, next 100, modseq 50\nnone gone\n"},
    {.name = "a folder that was empty, one that is empty now",
     .ops = "changes 7/1/0/40; changes 7/3/2/40; scan 1",
     .script =
         ENABLED EXAMINE
         "C: A5 UID FETCH 1:4294967295 (UID) (CHANGEDSINCE 40 VANISHED)\n"
         "C: A6 UID FETCH 1:* " ITEMS "\n"
         OPENED("A4", "1", "3", "41") "S: * VANISHED (EARLIER) 1\n"
         "S: * 1 FETCH (UID 2 MODSEQ (41))\nS: A5 OK\n" FETCHED("2", "", "41") "S: A6 OK\n"
         "C: A7 EXAMINE \"INBOX\" (CONDSTORE)\n"
         "C: A8 UID FETCH 1:2 " ITEMS " (CHANGEDSINCE 40 VANISHED)\n"
         "C: A9 UID FETCH 3:4294967295 (UID) (CHANGEDSINCE 40 VANISHED)\n"
         "C: A10 UID FETCH 3:* " ITEMS "\n"
         OPENED("A7", "0", "3", "60") "S: A8 NO nothing here\nS: A9 BAD nothing\nS: A10 NO none\n"
         END,
     /* the refusals told nothing, and the number says it all */
     .log = "opened 7: 1 messages, next 3, modseq 41\n2/12 0 () @41 dated\ngone 1\n"
            "opened 7: 0 messages, next 3, modseq 60\npresent \n"},
    {.name = "the server has forgotten: all gaps are gone, all messages changed",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "3", "100", "90") "S: * VANISHED (EARLIER) 1:41,43:97\n"
         FETCHED("42", "", "90") FETCHED("98", "", "41") LAST NO_LIST END,
     .log = "opened 7: 3 messages, next 100, modseq 90\n42/142 0 () @90 dated\n98/198 0 () @41 "
            "dated\ngone 1:41,43:97\n"},
    {.name = "all gaps are gone, but the numbers prove that nothing is",
     .ops = "changes 7/100/3/40",
     .script =
         ASKED OPENED("A4", "3", "100", "90") "S: * VANISHED (EARLIER) 1:41,43:97\n" NO_LIST END,
     .log = "opened 7: 3 messages, next 100, modseq 90\nnone gone\n"},
    {.name = "what came after the numbers of then, and went: it may be known",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "11", "102", "50") "S: A5 OK\nS: * VANISHED (EARLIER) 101\nS: A6 OK\n"
         FETCHED("100", "", "44") "S: A7 OK\n" END,
     .log = "opened 7: 11 messages, next 102, modseq 50\n100/1100 0 () @44 dated\ngone 101\n"},
    {.name = "how many there were is not known: the list counts",
     .ops = "changes 7/100/-/40",
     .script = ASKED OPENED("A4", "10", "100", "50") "S: * VANISHED (EARLIER) 7\n" NO_LIST END,
     .log = "opened 7: 10 messages, next 100, modseq 50\ngone 7\n"},
    {.name = "UIDNEXT of then is not known, or there is none any more",
     .ops = "changes 7/0/10/40; changes 7/4294967296/10/40",
     .script =
         ENABLED EXAMINE
         "C: A5 UID FETCH 1:4294967295 " ITEMS " (CHANGEDSINCE 40 VANISHED)\n"
         OPENED("A4", "9", "100", "50") "S: * VANISHED (EARLIER) 7\n" FETCHED("8", "", "41")
         "S: A5 OK\n"
         "C: A6 EXAMINE \"INBOX\" (CONDSTORE)\n"
         "C: A7 UID FETCH 1:4294967295 " ITEMS " (CHANGEDSINCE 40 VANISHED)\n"
         OPENED("A6", "10", "4294967296", "40") "S: A7 OK\n" END,
     .log = "opened 7: 9 messages, next 100, modseq 50\n8/18 0 () @41 dated\ngone 7\n"
            "opened 7: 10 messages, next 4294967296, modseq 40\nnone gone\n"},
    {.name = "the session is as select() leaves it",
     .ops = SINCE "; select INBOX; fetch 3; scan 1",
     .script =
         ASKED OPENED("A4", "1", "100", "50") "S: * VANISHED (EARLIER) 40:50\n" NO_LIST
         "C: A8 UID FETCH 3 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 3 BODY[] {2}\nS+: ok)\\r\\n\n"
         "S: A8 OK\n"
         /* the second select saw no server, so the scan asks what is new */
         "C: A9 NOOP\nC: A10 UID FETCH 1:* " ITEMS "\nS: A9 OK\n" FETCHED("3", "", "4")
         "S: A10 OK\n" END,
     .log = "opened 7: 1 messages, next 100, modseq 50\ngone 40:50\n"
            "selected 1 messages, next 100, \n3[2]ok.\n"
            "3 13 0 () 1996-07-17T02:44:25-07:00\n"},
    {.name = "what belongs to the folder before is let go",
     .ops = "select A; " SINCE,
     .script =
         ENABLED
         "C: A4 EXAMINE \"A\" (CONDSTORE)\nS: * 3 EXISTS\nS: * OK [UIDVALIDITY 9] x\n"
         "S: * OK [UIDNEXT 4] x\nS: * OK [HIGHESTMODSEQ 9] x\nS: A4 OK\n"
         "C: A5 EXAMINE \"INBOX\" (CONDSTORE)\nC: A6 *\nC: A7 *\nC: A8 *\nS: * VANISHED 1\n"
         "S: * VANISHED (EARLIER) 5\n" FETCHED("4", "", "90") "S: * OK [CLOSED] x\n"
         OPENED("A5", "10", "100", "50") "S: A6 OK\nS: A7 OK\nS: A8 OK\n" END,
     .log = "selected 3 messages, next 4, \n"
            "opened 7: 10 messages, next 100, modseq 50\nnone gone\n"},
    {.name = "changes of this moment: counted, told the next time",
     .ops = SINCE "; select INBOX",
     .script =
         ASKED OPENED("A4", "10", "100", "50") FETCHED("3", "", "50") "S: A5 OK\n"
         "S: * VANISHED 3:5,7\nS: * 7 EXISTS\nS: * 2 FETCH (UID 9 FLAGS (\\Seen) MODSEQ (51))\n"
         NO_NEW
         "C: A8 EXAMINE \"INBOX\" (CONDSTORE)\n"
         OPENED("A8", "7", "101", "51") END,
     .log = "opened 7: 10 messages, next 100, modseq 50\n3/13 0 () @50 dated\nnone gone\n"
            "selected 7 messages, next 101, \n"},
    {.name = "VANISHED in place of EXPUNGE is counted in a scan, EARLIER is not",
     .ops = "select INBOX; scan 1; select INBOX",
     .script =
         ENABLED EXAMINE OPENED("A4", "9", "100", "50")
         "C: A5 UID FETCH 1:* " ITEMS "\nS: * VANISHED 4:6,1,9:9\nS: * VANISHED (EARLIER) 1:99\n"
         "S: * VANISHED\nS: * VANISHED 4294967296\n" FETCHED("2", "", "1") FETCHED("3", "", "1")
         FETCHED("7", "", "1") FETCHED("8", "", "1")
         /* 4 of 4: were the count higher, the scan would look for the others */
         "S: A5 OK\n"
         "C: A6 EXAMINE \"INBOX\" (CONDSTORE)\n"
         OPENED("A6", "4", "100", "50") END,
     .log = "selected 9 messages, next 100, \n2 12 0 () 1996-07-17T02:44:25-07:00\n"
            "3 13 0 () 1996-07-17T02:44:25-07:00\n7 17 0 () 1996-07-17T02:44:25-07:00\n"
            "8 18 0 () 1996-07-17T02:44:25-07:00\nselected 4 messages, next 100, \n"},
    {.name = "more VANISHED than there is",
     .ops = "select INBOX; scan 1",
     .script =
         ENABLED EXAMINE OPENED("A4", "9", "100", "50")
         "C: A5 UID FETCH 1:* " ITEMS "\nS: * VANISHED 1:4294967295\nS: A5 OK\n" END,
     .log = "selected 9 messages, next 100, \n"},
    {.name = "many messages: no line is asked for that is too long",
     .ops = "changes 7/100001/40001/40",
     .script =
         ENABLED EXAMINE
         "C: A5 UID FETCH 1:40000 " ITEMS " (CHANGEDSINCE 40 VANISHED)\n"
         "C: A6 UID FETCH 40001:80000 " ITEMS " (CHANGEDSINCE 40 VANISHED)\n"
         "C: A7 UID FETCH 80001:100000 " ITEMS " (CHANGEDSINCE 40 VANISHED)\n"
         "C: A8 UID FETCH 100001:4294967295 (UID) (CHANGEDSINCE 40 VANISHED)\n"
         "C: A9 UID FETCH 100001:* " ITEMS "\n"
         OPENED("A4", "39999", "100001", "50") "S: * VANISHED (EARLIER) 7\nS: A5 OK\nS: A6 OK\n"
         "S: * VANISHED (EARLIER) 90000\nS: A7 OK\nS: A8 OK\nS: A9 OK\n" END,
     .log = "opened 7: 39999 messages, next 100001, modseq 50\ngone 7,90000\n"},
};
/* clang-format on */

Test(imap_changes, qresync)
{
    play_changes(qresyncs, MH_ARRAY_LEN(qresyncs));
}

/* --- CONDSTORE -------------------------------------------------------------------------------- */

#define C_ASKED(caps)                                                                              \
    LOGIN(caps)                                                                                    \
    "C: A3 EXAMINE \"INBOX\" (CONDSTORE)\nC: A4 UID FETCH 1:99 " ITEMS " (CHANGEDSINCE 40)\n"      \
    "C: A5 UID FETCH 100:* " ITEMS "\n"
#define C_NONE "S: A4 OK\n" LAST "S: A5 OK\n"

/* clang-format off */
static struct dialogue condstores[] = {
    {.name = "nothing has happened: one round trip",
     .ops = SINCE "; caps",
     .script = C_ASKED("CONDSTORE") OPENED("A3", "10", "100", "40") C_NONE END,
     .log = "opened 7: 10 messages, next 100, modseq 40\nnone gone\n"
            "condstore 1 qresync 0 object_id 0\n"},
    {.name = "flags and new ones, none is missing: one round trip",
     .ops = SINCE,
     .script =
         C_ASKED("CONDSTORE") OPENED("A3", "12", "102", "50") FETCHED("7", "\\Seen", "44")
         "S: A4 OK\n" FETCHED("100", "", "46") FETCHED("101", "", "50") "S: A5 OK\n" END,
     .log = "opened 7: 12 messages, next 102, modseq 50\n7/17 1 () @44 dated\n"
            "100/1100 0 () @46 dated\n101/1101 0 () @50 dated\nnone gone\n"},
    {.name = "one is missing: what is there, by ESEARCH",
     .ops = SINCE,
     .script =
         C_ASKED("CONDSTORE ESEARCH") OPENED("A3", "10", "101", "50") "S: A4 OK\n"
         FETCHED("100", "", "46") "S: A5 OK\n" SEARCHED("A6", "1:9,100") END,
     .log = "opened 7: 10 messages, next 101, modseq 50\n100/1100 0 () @46 dated\n"
            "present 1:9,100\n"},
    {.name = "the same by SEARCH",
     .ops = SINCE,
     .script = C_ASKED("CONDSTORE") OPENED("A3", "9", "100", "50") C_NONE
     "C: A6 UID SEARCH UID 1:*\nS: * SEARCH 1 2 3 5 4 99 7 8 10 (MODSEQ 12)\nS: A6 OK\n" END,
     .log = "opened 7: 9 messages, next 100, modseq 50\npresent 1:5,7:8,10,99\n"},
    {.name = "one came and went between: the numbers prove nothing",
     .ops = SINCE,
     .script = C_ASKED("CONDSTORE ESEARCH") OPENED("A3", "10", "101", "50") C_NONE
     "C: A6 UID SEARCH RETURN (ALL) UID 1:*\nS: * ESEARCH UID ALL 1:10\nS: A6 OK\n" END,
     .log = "opened 7: 10 messages, next 101, modseq 50\npresent 1:10\n"},
    {.name = "how many there were is not known",
     .ops = "changes 7/100/-/40",
     .script = C_ASKED("CONDSTORE ESEARCH") OPENED("A3", "10", "100", "40") C_NONE
     "C: A6 UID SEARCH RETURN (ALL) UID 1:*\nS: * ESEARCH (TAG \"A6\") UID ALL 1:10\n"
     "S: A6 OK\n" END,
     .log = "opened 7: 10 messages, next 100, modseq 40\npresent 1:10\n"},
    {.name = "all are gone: that needs no question",
     .ops = SINCE,
     .script = C_ASKED("CONDSTORE") OPENED("A3", "0", "100", "41") "S: A4 OK\nS: A5 BAD none\n" END,
     .log = "opened 7: 0 messages, next 100, modseq 41\npresent \n"},
    {.name = "many messages: in parts by UIDs, which expunges do not shift",
     .ops = "changes 7/90001/50000/40",
     .script =
         LOGIN("CONDSTORE ESEARCH")
         "C: A3 EXAMINE *\nC: A4 UID FETCH 1:90000 " ITEMS " (CHANGEDSINCE 40)\n"
         "C: A5 UID FETCH 90001:* " ITEMS "\n"
         OPENED("A3", "49999", "90001", "50") "S: A4 OK\nS: A5 OK\n"
         "C: A6 UID SEARCH RETURN (ALL) UID 1:40000\n"
         "C: A7 UID SEARCH RETURN (ALL) UID 40001:80000\n"
         "C: A8 UID SEARCH RETURN (ALL) UID 80001:*\nS: * ESEARCH (TAG \"A6\") UID ALL 1:40000\n"
         "S: A6 OK\nS: * ESEARCH (TAG \"A7\") UID ALL 40002:50000\nS: A7 OK\n"
         "S: * ESEARCH (TAG \"A8\") UID\nS: A8 OK\n" END,
     .log = "opened 7: 49999 messages, next 90001, modseq 50\npresent 1:40000,40002:50000\n"},
    {.name = "QRESYNC is announced, and not enabled when asked",
     .ops = SINCE,
     .script =
         LOGIN("ENABLE CONDSTORE QRESYNC")
         "C: A3 ENABLE QRESYNC\nS: * ENABLED\nS: A3 OK\n"
         EXAMINE
         "C: A5 UID FETCH 1:99 " ITEMS " (CHANGEDSINCE 40)\nC: A6 UID FETCH 100:* " ITEMS "\n"
         OPENED("A4", "10", "100", "40") "S: A5 OK\nS: A6 OK\n" END,
     .log = "opened 7: 10 messages, next 100, modseq 40\nnone gone\n"},
    {.name = "QRESYNC is enabled beside UTF8=ACCEPT, which is on only if the server says so",
     .ops = SINCE,
     .script = HELLO
     "C: * AUTHENTICATE *\nS: $TAG OK [CAPABILITY IMAP4rev1 ENABLE QRESYNC UTF8=ACCEPT "
     "ACL2=UNION] in\nC: * LIST \"\" \"\"\nC: A3 ENABLE UTF8=ACCEPT\nC: A4 ENABLE QRESYNC\n"
     "S: * LIST (\\Noselect) \".\" \"\"\nS: A2 OK\nS: A3 BAD no\nS: * ENABLED QRESYNC\n"
     "S: A4 OK\nC: A5 EXAMINE \"INBOX\" (CONDSTORE)\nC: A6 UID FETCH *\nC: A7 UID FETCH *\n"
     "C: A8 UID FETCH *\n" OPENED("A5", "10", "100", "40") "S: A6 OK\nS: A7 OK\nS: A8 OK\n" END,
     .log = "opened 7: 10 messages, next 100, modseq 40\nnone gone\n"},
};
/* clang-format on */

Test(imap_changes, condstore)
{
    play_changes(condstores, MH_ARRAY_LEN(condstores));
}

/* --- what cannot be told ---------------------------------------------------------------------- */

#define NOT_TOLD "changes: no-such-feature\n"
#define BEGAN(validity, next, modseq)                                                              \
    "S: * 1 EXISTS\nS: * OK [UIDVALIDITY " validity "] x\nS: * OK [UIDNEXT " next "] x\n"          \
    "S: * OK [" modseq "] x\nS: A4 OK\n"
/* The scan behind it, which is the 8th command and is told nothing by the answers of the others. */
#define SCAN_OF(items)                                                                             \
    "C: A8 UID FETCH 1:* " items "\nS: * 1 FETCH (UID 9 FLAGS () RFC822.SIZE 5)\nS: A8 OK\n" END
#define SCANNED "9 5 0 () -\n"

/* clang-format off */
static struct dialogue untold[] = {
    {.name = "UIDVALIDITY is another one",
     .ops = SINCE "; scan 1",
     .script =
         ASKED BEGAN("8", "10", "HIGHESTMODSEQ 90") "S: * VANISHED (EARLIER) 1:8\n"
         FETCHED("9", "\\Deleted", "4") "S: A5 OK\nS: A6 OK\nS: A7 OK\n" SCAN_OF(ITEMS),
     .log = "opened 8: 1 messages, next 10, modseq 90\n" NOT_TOLD SCANNED},
    {.name = "no MODSEQ in this folder: the scan does not ask for it",
     .ops = SINCE "; scan 1; select A; scan 1",
     .script =
         ASKED BEGAN("7", "100", "NOMODSEQ") "S: A5 BAD x\nS: A6 BAD x\nS: A7 BAD x\n"
         "C: A8 UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\n"
         "S: * 1 FETCH (UID 9 FLAGS () RFC822.SIZE 5)\nS: A8 OK\n"
         "C: * EXAMINE \"A\" (CONDSTORE)\nS: * 1 EXISTS\nS: * OK [UIDNEXT 2] x\n"
         "S: * OK [HIGHESTMODSEQ 3] x\nS: $TAG OK\n"
         "C: * UID FETCH 1:* " ITEMS "\nS: * 1 FETCH (UID 1 FLAGS () RFC822.SIZE 5)\nS: $TAG OK\n"
         END,
     .log = "opened 7: 1 messages, next 100, modseq 0\n" NOT_TOLD SCANNED
            "selected 1 messages, next 2, \n1 5 0 () -\n"},
    {.name = "HIGHESTMODSEQ is lower: the server's index was lost",
     .ops = SINCE "; scan 1",
     .script =
         ASKED BEGAN("7", "100", "HIGHESTMODSEQ 39") "S: A5 OK\nS: A6 OK\nS: A7 OK\n"
         SCAN_OF(ITEMS),
     .log = "opened 7: 1 messages, next 100, modseq 39\n" NOT_TOLD SCANNED},
    {.name = "UIDNEXT is lower",
     .ops = SINCE "; scan 1",
     .script =
         ASKED BEGAN("7", "99", "HIGHESTMODSEQ 40") "S: A5 OK\nS: A6 OK\nS: A7 OK\n" SCAN_OF(ITEMS),
     .log = "opened 7: 1 messages, next 99, modseq 40\n" NOT_TOLD SCANNED},
    {.name = "no CONDSTORE: the folder is open",
     .ops = "caps; " SINCE "; scan 1",
     .script =
         LOGIN("")
         "C: A3 EXAMINE \"INBOX\"\nS: * 1 EXISTS\nS: * OK [UIDVALIDITY 7] x\n"
         "S: * OK [UIDNEXT 100] x\nS: A3 OK\n"
         "C: A4 UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)\n"
         "S: * 1 FETCH (UID 9 FLAGS () RFC822.SIZE 5)\nS: A4 OK\n" END,
     .log = "condstore 0 qresync 0 object_id 0\nopened 7: 1 messages, next 100, modseq 0\n" NOT_TOLD
         SCANNED},
    {.name = "CHANGEDSINCE is refused",
     .ops = SINCE "; scan 1",
     .script =
         C_ASKED("CONDSTORE") OPENED("A3", "1", "100", "50") "S: A4 BAD what\nS: A5 OK\n"
         "C: A6 UID FETCH 1:* " ITEMS "\nS: * 1 FETCH (UID 9 FLAGS () RFC822.SIZE 5)\nS: A6 OK\n"
         END,
     .log = "opened 7: 1 messages, next 100, modseq 50\nchanges: no-such-feature refused "
            "(what)\n" SCANNED},
    {.name = "the search is refused, finds less than there is, says nothing",
     .ops = SINCE "; " SINCE "; " SINCE,
     .script =
         C_ASKED("CONDSTORE") OPENED("A3", "8", "100", "50") C_NONE
         "C: A6 UID SEARCH UID 1:*\nS: A6 NO too busy\n"
         "C: A7 EXAMINE *\nC: A8 UID FETCH *\nC: A9 UID FETCH *\n"
         OPENED("A7", "8", "100", "50") "S: A8 OK\nS: A9 OK\n"
         "C: A10 UID SEARCH UID 1:*\nS: * SEARCH 1 2 3 4 5 6 7\nS: A10 OK\n"
         "C: A11 EXAMINE *\nC: A12 UID FETCH *\nC: A13 UID FETCH *\n"
         OPENED("A11", "8", "100", "50") "S: A12 OK\nS: A13 OK\n"
         "C: A14 UID SEARCH UID 1:*\nS: A14 OK\n" END,
     .log =
         "opened 7: 8 messages, next 100, modseq 50\nchanges: no-such-feature refused (too busy)\n"
         "opened 7: 8 messages, next 100, modseq 50\n" NOT_TOLD
         "opened 7: 8 messages, next 100, modseq 50\n" NOT_TOLD},
    {.name = "there are more than the server lists",
     .ops = SINCE,
     .script = C_ASKED("CONDSTORE")
         OPENED("A3", "12", "102", "50") "S: A4 OK\n" FETCHED("101", "", "50") "S: A5 OK\n" END,
     .log = "opened 7: 12 messages, next 102, modseq 50\n" NOT_TOLD},
    {.name = "the server asks to wait",
     .ops = SINCE,
     .script =
         C_ASKED("CONDSTORE") OPENED("A3", "8", "100", "50")
         "S: A4 NO [LIMIT] Request is throttled. Suggested Backoff Time: 2000 milliseconds\n"
         "S: A5 OK\n" END,
     .log = "changes: later throttled after 2000 ([LIMIT] Request is throttled. Suggested "
            "Backoff Time: 2000 milliseconds)\n"},
    {.name = "no such folder; nothing is selected",
     .ops = SINCE "; select INBOX",
     .script =
         ASKED "S: A4 NO [NONEXISTENT] none\nS: A5 BAD x\nS: A6 BAD x\nS: A7 BAD x\n"
         "C: A8 EXAMINE \"INBOX\" (CONDSTORE)\nS: * 2 EXISTS\nS: * OK [UIDNEXT 3] x\nS: A8 OK\n"
         END,
     .log = "changes: no-entry no-folder ([NONEXISTENT] none)\nselected 2 messages, next 3, \n"},
    {.name = "the connection breaks in the changes",
     .ops = SINCE "; " SINCE,
     .script = ASKED OPENED("A4", "9", "100", "50") "S: * VANISHED (EARLIER) 7\nS: A5 OK\nCLOSE\n",
     .log = "changes: retry\nchanges: retry\n"},
    {.name = "the connection breaks in front of them",
     .ops = SINCE "; select INBOX",
     .script = ASKED "S: * 10 EXISTS\nCLOSE\n",
     .log = "changes: retry\nselect: retry\n"},
    {.name = "the connection breaks in the search",
     .ops = SINCE "; scan 1",
     .script = C_ASKED("CONDSTORE") OPENED("A3", "8", "100", "50") C_NONE
     "C: A6 UID SEARCH UID 1:*\nS+: * SEARCH 1 2\nCLOSE\n",
     .log = "changes: retry\nscan: retry\n"},
};
/* clang-format on */

Test(imap_changes, untold)
{
    play_changes(untold, MH_ARRAY_LEN(untold));
}

/* --- servers that lie ------------------------------------------------------------------------- */

/* What is asked once more, without VANISHED, when that is of no use. */
#define AGAIN                                                                                      \
    "C: A8 UID FETCH 1:99 " ITEMS " (CHANGEDSINCE 40)\nC: A9 UID FETCH 100:* " ITEMS "\n"          \
    "S: A8 OK\n" LAST "S: A9 OK\n"

/* clang-format off */
static struct dialogue lies[] = {
    {.name = "billions have vanished: a range is a range, and what has no UID yet is not gone",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "9", "100", "50") "S: * VANISHED (EARLIER) 1:4294967295\n"
         "S: * VANISHED (EARLIER) 5,4294967295:3,200\n" NO_LIST END,
     .log = "opened 7: 9 messages, next 100, modseq 50\ngone 1:99\n"},
    {.name = "gone and listed at the same time: what is there is asked",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "9", "100", "50") "S: * VANISHED (EARLIER) 1:50\n"
         FETCHED("7", "", "44") NO_LIST SEARCHED("A8", "2:10") END,
     .log = "opened 7: 9 messages, next 100, modseq 50\n7/17 0 () @44 dated\npresent 2:10\n"},
    {.name = "fewer are gone than are missing",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "8", "100", "50") "S: * VANISHED (EARLIER) 7\n" NO_LIST
         SEARCHED("A8", "1:8") END,
     .log = "opened 7: 8 messages, next 100, modseq 50\npresent 1:8\n"},
    {.name = "numbers out of range, no set, an empty one, a string: asked in the other way",
     .ops = SINCE "; " SINCE,
     .script =
         ASKED OPENED("A4", "9", "100", "50") "S: * VANISHED (EARLIER) 4294967296\n"
         "S: * VANISHED (EARLIER)\nS: * VANISHED (EARLIER) \"5\"\nS: * VANISHED (EARLIER) ()\n"
         FETCHED("7", "", "44") NO_LIST AGAIN SEARCHED("A10", "1:9")
         /* from now on at once */
         "C: A11 EXAMINE *\nC: A12 UID FETCH 1:99 " ITEMS " (CHANGEDSINCE 40)\n"
         "C: A13 UID FETCH *\n"
         OPENED("A11", "10", "100", "50") "S: A12 OK\nS: A13 OK\n" END,
     .log = "opened 7: 9 messages, next 100, modseq 50\npresent 1:9\n"
            "opened 7: 10 messages, next 100, modseq 50\nnone gone\n"},
    {.name = "VANISHED is refused: asked in the other way",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "10", "100", "50") "S: A5 BAD unknown modifier\n"
         "S: A6 BAD unknown modifier\n" LAST "S: A7 OK\n" AGAIN END,
     .log = "opened 7: 10 messages, next 100, modseq 50\nnone gone\n"},
    {.name = "UIDs outside, twice, without UID, without size, with a body",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "11", "101", "50") "S: * 1 FETCH (FLAGS (x))\n"
         "S: * 1 FETCH (UID 5 FLAGS (x) MODSEQ (44))\nS: * 1 FETCH (RFC822.SIZE 9 FLAGS (x))\n"
         "S: * 1 FETCH (UID 6 RFC822.SIZE 9 BODY[] {1}\nS+: x)\\r\\n\n" FETCHED("7", "old", "44")
         FETCHED("7", "new", "45") FETCHED("4294967295", "", "50") "S: A5 OK\nS: A6 OK\n"
         FETCHED("50", "", "60") FETCHED("100", "", "50") "S: A7 OK\n" END,
     .log = "opened 7: 11 messages, next 101, modseq 50\n7/17 0 (new) @45 dated\n50/150 0 () @60 "
            "dated\n"
            "100/1100 0 () @50 dated\n4294967295/14294967295 0 () @50 dated\nnone gone\n"},
    {.name = "messages without end",
     .ops = SINCE,
     .script =
         ASKED OPENED("A4", "10", "100", "50")
         "REPEAT 5000\n" FETCHED("$I", "", "44") "END\nS: A5 OK\nS: A6 OK\nS: A7 OK\n" END,
     .log = "changes: folder\n"},
    {.name = "a search that finds what is none",
     .ops = SINCE,
     .script = C_ASKED("CONDSTORE ESEARCH") OPENED("A3", "9", "100", "50") C_NONE
     "C: A6 UID SEARCH *\nS: * ESEARCH (TAG \"A6\") UID ALL 0:9\nS: A6 OK\n" END,
     .log = "opened 7: 9 messages, next 100, modseq 50\n" NOT_TOLD},
    {.name = "numbers that no server has: MODSEQ beyond 63 bits is none",
     .ops = SINCE,
     .script =
         ASKED BEGAN("7", "100", "HIGHESTMODSEQ 9223372036854775808") "S: A5 OK\nS: A6 OK\n"
         "S: A7 OK\n" END,
     .log = "opened 7: 1 messages, next 100, modseq 0\n" NOT_TOLD},
    {.name = "EARLIER of an answer that nobody waits for any more is let go",
     .ops = "changes 8/100/10/40; changes 7/100/10/40",
     .script =
         ASKED OPENED("A4", "10", "100", "50")
         "C: A8 EXAMINE *\nC: A9 *\nC: A10 *\nC: A11 *\nS: * VANISHED (EARLIER) 5\n"
         FETCHED("5", "", "44") "S: A5 OK\nS: A6 OK\nS: A7 OK\n"
         OPENED("A8", "10", "100", "50") "S: A9 OK\nS: A10 OK\nS: A11 OK\n" END,
     .log = "opened 7: 10 messages, next 100, modseq 50\n" NOT_TOLD
            "opened 7: 10 messages, next 100, modseq 50\nnone gone\n"},
};
/* clang-format on */

Test(imap_changes, lies)
{
    play_changes(lies, MH_ARRAY_LEN(lies));
}

/* --- names that stay -------------------------------------------------------------------------- */

/* The first 63 bits of SHA-256 of the names. */
#define M1  "3251964684395790933" /* M1 */
#define GM  "2081229486003885081" /* 1278455344230334865 */
#define F22 "5355390495845707536" /* F22 */

/* clang-format off */
static struct dialogue ids[] = {
    {.name = "EMAILID, in scans and in changes",
     .ops = "caps; select INBOX; ids; " SINCE,
     .script =
         LOGIN("CONDSTORE OBJECTID X-GM-EXT-1")
         "C: A3 EXAMINE \"INBOX\" (CONDSTORE)\n"
         OPENED("A3", "2", "100", "40")
         "C: A4 UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ EMAILID)\n"
         "S: * 1 FETCH (UID 1 RFC822.SIZE 1 EMAILID (M1))\n"
         "S: * 2 FETCH (UID 2 RFC822.SIZE 1 EMAILID NIL)\nS: A4 OK\n"
         "C: A5 EXAMINE \"INBOX\" (CONDSTORE)\n"
         "C: A6 UID FETCH 1:99 (UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ EMAILID) (CHANGEDSINCE "
         "40)\nC: A7 UID FETCH 100:* (UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ EMAILID)\n"
         OPENED("A5", "10", "100", "41")
         "S: * 1 FETCH (UID 1 FLAGS () RFC822.SIZE 1 MODSEQ (41) EMAILID (M1))\nS: A6 OK\n"
         "S: A7 OK\n" END,
     .log = "condstore 1 qresync 0 object_id 1\nselected 2 messages, next 100, \n"
            "1/1 0 () id " M1 "\n2/1 0 ()\n"
            "opened 7: 10 messages, next 100, modseq 41\n1/1 0 () @41 id " M1 "\nnone gone\n"},
    {.name = "X-GM-MSGID",
     .ops = "caps; select INBOX; ids",
     .script =
         LOGIN("X-GM-EXT-1")
         "C: A3 EXAMINE \"INBOX\"\n"
         OPENED("A3", "2", "100", "40")
         "C: A4 UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE X-GM-MSGID)\n"
         "S: * 1 FETCH (UID 1 RFC822.SIZE 1 X-GM-MSGID 1278455344230334865)\n"
         "S: * 2 FETCH (UID 2 RFC822.SIZE 1 X-GM-MSGID x)\nS: A4 OK\n" END,
     .log = "condstore 0 qresync 0 object_id 1\nselected 2 messages, next 100, \n"
            "1/1 0 () id " GM "\n2/1 0 ()\n"},
    {.name = "MAILBOXID with STATUS",
     .ops = "folder-ids",
     .script =
         LOGIN("OBJECTID")
         "C: A3 LIST \"\" \"*\"\nC: A4 LSUB \"\" \"*\"\nS: * LIST () \"/\" A\n"
         "S: * LIST () \"/\" B\nS: * LIST () \"/\" C\nS: A3 OK\nS: A4 OK\n"
         "C: A5 STATUS \"A\" (MESSAGES UIDNEXT UIDVALIDITY MAILBOXID)\nC: A6 STATUS \"B\" *\n"
         "C: A7 STATUS \"C\" *\nS: * STATUS A (MAILBOXID (F22) MESSAGES 3)\nS: A5 OK\n"
         "S: * STATUS B (MESSAGES 4 MAILBOXID F22)\nS: A6 OK\n"
         "S: * STATUS C (MAILBOXID () MESSAGES 5)\nS: A7 OK\n" END,
     .log = "A 3 id " F22 "\nB 4 id 0\nC 5 id 0\n"},
    {.name = "MAILBOXID in LIST-STATUS",
     .ops = "folder-ids",
     .script =
         LOGIN("OBJECTID LIST-EXTENDED LIST-STATUS")
         "C: A3 LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES UIDNEXT UIDVALIDITY "
         "MAILBOXID))\nS: * LIST () \"/\" A\nS: * STATUS A (MESSAGES 3 MAILBOXID (F22))\n"
         "S: A3 OK\n" END,
     .log = "A 3 id " F22 "\n"},
    {.name = "Cyrus has it as an annotation",
     .ops = "folder-ids",
     .script = HELLO
     "C: * AUTHENTICATE *\nS: $TAG OK [CAPABILITY IMAP4rev1 ID OBJECTID LIST-EXTENDED "
     "LIST-STATUS LIST-METADATA] in\nC: * ID *\nS: * ID (\"name\" \"Cyrus IMAPD\")\nS: $TAG OK\n"
     "C: * LIST \"\" \"\"\nS: * LIST (\\Noselect) \"/\" \"\"\nS: $TAG OK\n"
     "C: A4 LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES UIDNEXT UIDVALIDITY) "
     "METADATA "
     "(/shared/vendor/cmu/cyrus-imapd/uniqueid))\n"
     "S: * METADATA A (\"/shared/vendor/cmu/cyrus-imapd/uniqueid\" \"F1\")\n" /* not listed yet */
     "S: * LIST () \"/\" A\nS: * STATUS A (MESSAGES 3)\n"
     "S: * METADATA A (\"/shared/vendor/cmu/cyrus-imapd/uniqueid\" \"F22\")\n"
     "S: * METADATA A (\"/shared/comment\" \"x\")\nS: * METADATA A ()\nS: * METADATA A "
     "/shared/comment\n"
     "S: * LIST () \"/\" B\nS: * STATUS B (MESSAGES 4)\n"
     "S: * METADATA B (\"/shared/vendor/cmu/cyrus-imapd/uniqueid\" NIL)\nS: A4 OK\n" END,
     .log = "A 3 id " F22 "\nB 4 id 0\n"},
};
/* clang-format on */

Test(imap_changes, object_ids)
{
    play_changes(ids, MH_ARRAY_LEN(ids));
}
