/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Moving, renaming and watching against dialogues that no real server holds. */
#include "dialogue.h"

#include "connectors/imap/imap_priv.h"

/* --- operations ------------------------------------------------------------------------------- */

static int on_moved(void *ctx, uint64_t uid, uint64_t new_uid, struct mh_err *err)
{
    struct client *c = ctx;
    (void)err;
    if (uid <= 1000 || uid % 100 == 1) /* not each of thousands */
        mh_buf_addf(&c->log, "%llu>%llu ", (unsigned long long)uid, (unsigned long long)new_uid);
    return 0;
}

/* "move 1:3,7 B" */
static int op_move(struct client *c, char *arg, struct mh_err *err)
{
    static uint64_t uids[5000];
    char *to = strchr(arg, ' ');
    cr_assert(to);
    *to++ = '\0';
    struct mh_folder folder = folder_of(to);
    size_t n = parse_uids(arg, uids, MH_ARRAY_LEN(uids));
    int rc = mh_imap.move(c->session, uids, n, &folder, on_moved, c, err);
    mh_buf_addf(&c->log, "moved\n");
    return rc;
}

/* "rename A B/C"; "rename+": A is subscribed */
static int op_rename(struct client *c, char *arg, bool subscribed, struct mh_err *err)
{
    char *to = strchr(arg, ' ');
    char *path = NULL;
    char *native = NULL;
    cr_assert(to);
    *to++ = '\0';
    struct mh_folder folder = folder_of(arg);
    folder.attrs = subscribed ? MH_FOLDER_SUBSCRIBED : 0;
    int rc = mh_imap.rename(c->session, &folder, to, &path, &native, err);
    if (rc == 0)
        mh_buf_addf(&c->log, "renamed to %s as %s\n", path, native);
    mh_free(path);
    mh_free(native);
    return rc;
}

/* "finish A B": A became B, by somebody who was never heard of again. */
static int op_finish(struct client *c, char *arg, struct mh_err *err)
{
    char *to = strchr(arg, ' ');
    cr_assert(to);
    *to++ = '\0';
    struct mh_folder folder = folder_of(to);
    return mh_imap.finish_rename(c->session, arg, &folder, err);
}

static int op_watch(struct client *c, int64_t until_ms, struct mh_err *err)
{
    bool changed = false;
    int rc = mh_imap.watch(c->session, until_ms, &changed, err);
    if (rc == 0)
        mh_buf_adds(&c->log, changed ? "changed\n" : "nothing\n");
    return rc;
}

static void watch_main(void *arg)
{
    struct client *c = arg;
    struct mh_err err;
    mh_err_reset(&err);
    if (op_watch(c, MH_NEVER, &err) != 0)
        say_error(c, "watch", &err);
}

/* Until the IDLE under way has been allowed, or (EARLY) only asked for. */
static void await_idle(struct client *c, bool early)
{
    while (early && !c->session->plus.is_wanted && mh_sleep_until(mh_now_ms() + 1) == 0)
        ;
    if (early)
        return;
    while (!c->session->watch.idle && !c->session->is_dead && mh_sleep_until(mh_now_ms() + 1) == 0)
        ;
}

/* Another task watches and is cancelled; nothing is held while it waits. */
static int op_cancel(struct client *c, bool early, struct mh_err *err)
{
    struct mh_task *task = NULL;
    struct mh_pool_stats stats;
    int rc = mh_task_spawn(mh_sched_self(), "watch", watch_main, c, &task, err);
    if (rc)
        return rc;
    await_idle(c, early);
    mh_pool_stats(c->pool, &stats);
    if (!early)
        mh_buf_addf(&c->log, "%llu held\n", (unsigned long long)stats.in_use_bytes);
    mh_task_cancel(task);
    mh_task_join(task);
    return 0;
}

static int more_ops(struct client *c, const char *op, char *arg, struct mh_err *err)
{
    const struct mh_caps *caps = mh_imap.caps(c->session);
    if (strcmp(op, "move") == 0)
        return op_move(c, arg, err);
    if (strcmp(op, "rename") == 0 || strcmp(op, "rename+") == 0)
        return op_rename(c, arg, op[6] == '+', err);
    if (strcmp(op, "finish") == 0)
        return op_finish(c, arg, err);
    if (strcmp(op, "watch") == 0)
        return op_watch(c, *arg ? mh_now_ms() + (int64_t)strtoul(arg, NULL, 10) : MH_NEVER, err);
    if (strcmp(op, "watch-cancelled") == 0)
        return op_cancel(c, *arg != '\0', err);
    if (strcmp(op, "renew") == 0)
        c->session->watch.renew_ms = (int64_t)strtoul(arg, NULL, 10);
    else if (strcmp(op, "caps") == 0)
        mh_buf_addf(&c->log, "move %d rename %d watch %d %d\n", caps->move, caps->rename,
                    caps->watch, caps->watch_all);
    else
        return MH_EUSAGE;
    return 0;
}

static void play_more(struct dialogue *dialogues, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dialogues[i].more_ops = more_ops;
    play_all(dialogues, n);
}

/* --- scripts ---------------------------------------------------------------------------------- */

/* HOW is SELECT or EXAMINE. */
#define OPENS(tag, how, name, messages, validity, next)                                            \
    "C: " tag " " how " \"" name "\"\nS: * " messages " EXISTS\n"                                  \
    "S: * OK [UIDVALIDITY " validity "]\nS: * OK [UIDNEXT " next "]\nS: " tag " OK\n"

/* --- moving ----------------------------------------------------------------------------------- */

/* A folder that is open for writing; the next tag is A4. What expunges more than it was told to, or
 * anything at all, is never said. */
#define OPEN(caps)                                                                                 \
    LOGIN(caps)                                                                                    \
    "REJECT A* EXPUNGE\nREJECT A* CLOSE\nC: A3 SELECT \"A\"\nS: * FLAGS (\\Seen \\Deleted)\n"      \
    "S: * 9 EXISTS\nS: * OK [UIDVALIDITY 3]\nS: * OK [UIDNEXT 100]\nS: A3 OK\n"
#define OPENED "selected 9 messages, next 100, \n"

/* clang-format off */
static struct dialogue moves[] = {
    {.name = "MOVE: the sets of COPYUID belong together by position, in any order",
     .ops = "open A; move 1:3,7 B b",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 UID MOVE 1:3,7 \"B b\"\nS: * OK [COPYUID 5 7,3:1 40,12:10] here\n"
         "S: * VANISHED 1:3,7\nS: A4 OK done\nUNTIL-CLOSE\n",
     .log = OPENED "1>10 2>11 3>12 7>40 moved\n"},
    {.name = "MOVE: COPYUID in the answer; what others have removed is left out",
     .ops = "open A; move 1,4:5,9 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 UID MOVE 1,4:5,9 \"B\"\nS: * 3 EXPUNGE\nS: A4 OK [COPYUID 5 4,9 1:2] done\n"
         "UNTIL-CLOSE\n",
     .log = OPENED "4>1 9>2 moved\n"},
    {.name = "MOVE: several COPYUIDs, some for messages that were not asked for",
     .ops = "open A; move 1:3,7 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 UID MOVE *\nS: * OK [COPYUID 5 1 8]\nS: * OK [COPYUID 5 1:3,6 20:23]\n"
         "S: * OK [COPYUID 5 4294967290:4294967295 1:6]\nS: A4 OK\nUNTIL-CLOSE\n",
     .log = OPENED "1>8 2>21 3>22 moved\n"},
    {.name = "MOVE: sets of different lengths tell only what was moved",
     .ops = "open A; move 1:3,7 B; move 8 B; move 9 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 UID MOVE *\nS: * OK [COPYUID 5 1:2,7 30:31]\nS: A4 OK\n"
         "C: A5 UID MOVE *\nS: * OK [COPYUID 5 1:4294967295 1:4294967295,7]\nS: A5 OK\n"
         "C: A6 UID MOVE *\nS: * OK [COPYUID 5 1:4294967295 1:4294967295]\nS: A6 OK\nUNTIL-CLOSE\n",
     .log = OPENED "1>0 2>0 7>0 moved\n8>0 moved\n9>0 moved\n"},
    {.name = "MOVE: no COPYUID, or none that can be read",
     .ops = "open A; move 1:2 B; move 1:2 B; move 5 B; move 6 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 UID MOVE *\nS: A4 OK nothing found\n"
         "C: A5 UID MOVE *\nS: * 1 EXPUNGE\nS: * 1 EXPUNGE\nS: A5 OK\n"
         "C: A6 UID MOVE *\nS: * OK [COPYUID 5 x 1]\nS: * OK [COPYUID]\nS: * OK [COPYUID 5 5]\n"
         "S: A6 OK\n"
         "C: A7 UID MOVE *\nS: * OK [COPYUID 5 6 *]\nS: A7 OK\nUNTIL-CLOSE\n",
     .log = OPENED "moved\n1>0 2>0 moved\nmoved\n6>0 moved\n"},
    {.name = "MOVE without UIDPLUS: what is there is asked first",
     .ops = "open A; move 1:3,7 B",
     .script =
         OPEN("MOVE")
         "C: A4 UID SEARCH UID 1:3,7\nS: * SEARCH 2 7 8 99999999999\nS: A4 OK\n"
         "C: A5 UID MOVE 1:3,7 \"B\"\nS: A5 OK\nUNTIL-CLOSE\n",
     .log = OPENED "2>0 7>0 moved\n"},
    {.name = "COPY, a mark, and UID EXPUNGE of what was copied",
     .ops = "caps; open A; move 1:3,7 B",
     .script =
         OPEN("UIDPLUS")
         "C: A4 UID COPY 1:3,7 \"B\"\nS: A4 OK [COPYUID 5 1,3,7 10:12]\n"
         "C: A5 UID STORE 1,3,7 +FLAGS.SILENT (\\Deleted)\nS: A5 OK\n"
         "C: A6 UID EXPUNGE 1,3,7\nS: * 3 EXPUNGE\nS: A6 OK\nUNTIL-CLOSE\n",
     .log = "move 1 rename 1 watch 0 0\n" OPENED "1>10 3>11 7>12 moved\n"},
    {.name = "COPY that does not say where to; of nothing",
     .ops = "open A; move 1:2 B; move 3 B",
     .script =
         OPEN("UIDPLUS")
         "C: A4 UID COPY 1:2 \"B\"\nS: A4 OK\n"
         "C: A5 UID SEARCH UID 1:2\nS: * SEARCH 2\nS: A5 OK\n"
         "C: A6 UID STORE 2 +FLAGS.SILENT (\\Deleted)\nS: A6 OK\n"
         "C: A7 UID EXPUNGE 2\nS: A7 OK\n"
         "C: A8 UID COPY 3 \"B\"\nS: A8 OK\n"
         "C: A9 UID SEARCH *\nS: * SEARCH\nS: A9 OK\nUNTIL-CLOSE\n",
     .log = OPENED "2>0 moved\nmoved\n"},
    {.name = "neither: nothing is said",
     .ops = "caps; open A; move 1 B; scan 100",
     .script = OPEN("IDLE") "C: A4 UID FETCH 100:* *\nS: A4 OK\nUNTIL-CLOSE\n",
     .log = "move 0 rename 1 watch 1 0\n" OPENED "moved\nmove: no-such-feature\n"},
    {.name = "nothing to move, and what no message can be called",
     .ops = "open A; move 4294967296:4294967297 B; move 9,4294967296 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 UID MOVE 9 \"B\"\nS: A4 OK [COPYUID 1 9 9]\nUNTIL-CLOSE\n",
     .log = OPENED "moved\n9>9 moved\n"},
    {.name = "refusals",
     .ops = "open A; move 1 B; move 1 B; move 1 B; move 1 B; move 1 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 *\nS: A4 NO [TRYCREATE] none\n"
         "C: A5 *\nS: A5 NO [NONEXISTENT] none\n"
         "C: A6 *\nS: A6 NO [OVERQUOTA] full\n"
         "C: A7 *\nS: A7 NO [NOPERM] not yours\n"
         "C: A8 *\nS: A8 BAD Request is throttled. Suggested Backoff Time: 300 milliseconds\n"
         "UNTIL-CLOSE\n",
     .log = OPENED "moved\nmove: no-entry no-folder ([TRYCREATE] none)\n"
                   "moved\nmove: no-entry no-folder ([NONEXISTENT] none)\n"
                   "moved\nmove: later over-quota ([OVERQUOTA] full)\n"
                   "moved\nmove: folder no-permission ([NOPERM] not yours)\n"
                   "moved\nmove: later throttled after 300 (Request is throttled. Suggested "
                   "Backoff Time: 300 milliseconds)\n"},
    {.name = "others have removed some: the session has to learn it, and asks again",
     .ops = "open A; move 1:2 B; move 3 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 *\nS: A4 NO [EXPUNGEISSUED] gone\n"
         "C: A5 NOOP\nS: * 1 EXPUNGE\nS: A5 OK\n"
         "C: A6 UID MOVE 1:2 \"B\"\nS: * OK [COPYUID 5 2 4]\nS: * 1 EXPUNGE\nS: A6 OK\n"
         "REPEAT 2\nC: * UID MOVE 3 *\nS: $TAG NO [EXPUNGEISSUED] gone\n"
         "C: * NOOP\nS: $TAG OK\nEND\n"
         "C: * UID MOVE 3 *\nS: $TAG NO [EXPUNGEISSUED] gone\nUNTIL-CLOSE\n",
     .log = OPENED "2>4 moved\nmoved\nmove: folder vanished ([EXPUNGEISSUED] gone)\n"},
    {.name = "a refused MOVE has moved a part: it is told",
     .ops = "open A; move 1:4 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 *\nS: * OK [COPYUID 5 1:3 11:13]\nS: * VANISHED 1:2\nS: A4 NO [SERVERBUG] broken\n"
         "C: A5 UID SEARCH UID 1:4\nS: * SEARCH 3 4\nS: A5 OK\nUNTIL-CLOSE\n",
     .log = OPENED "1>11 2>12 moved\nmove: later unavailable ([SERVERBUG] broken)\n"},
    {.name = "the mark is refused, the expunge is refused: the messages stay visible",
     .ops = "open A; move 1:2 B; move 1:2 B",
     .script =
         OPEN("UIDPLUS")
         "C: A4 UID COPY *\nS: A4 OK [COPYUID 5 1:2 3:4]\n"
         "C: A5 UID STORE 1:2 +FLAGS*\nS: A5 NO [NOPERM] keep\n"
         "C: A6 UID STORE 1:2 -FLAGS.SILENT (\\Deleted)\nS: A6 OK\n"
         "C: A7 UID COPY *\nS: A7 OK [COPYUID 5 1:2 3:4]\n"
         "C: A8 UID STORE 1:2 +FLAGS*\nS: A8 OK\n"
         "C: A9 UID EXPUNGE 1:2\nS: A9 NO [NOPERM] keep\n"
         "C: A10 UID STORE 1:2 -FLAGS.SILENT (\\Deleted)\nS: A10 OK\nUNTIL-CLOSE\n",
     .log = OPENED "moved\nmove: folder no-permission ([NOPERM] keep)\n"
                   "moved\nmove: folder no-permission ([NOPERM] keep)\n"},
    {.name = "a folder in which nothing can be deleted: nothing is copied",
     .ops = "open A; move 1:2 B",
     .script =
         LOGIN("UIDPLUS")
         "C: A3 SELECT \"A\"\nS: * 9 EXISTS\nS: * OK [PERMANENTFLAGS (\\Seen)]\n"
         "S: * OK [UIDNEXT 100]\nS: A3 OK\nUNTIL-CLOSE\n",
     .log = OPENED "moved\nmove: folder\n"},
    {.name = "the connection is lost behind COPYUID: nothing is sure",
     .ops = "open A; move 1:2 B; move 1 B",
     .script = OPEN("MOVE UIDPLUS") "C: A4 *\nS: * OK [COPYUID 5 1:2 3:4]\nCLOSE\n",
     .log = OPENED "moved\nmove: retry\nmoved\nmove: retry\n"},
    {.name = "the connection is lost between the copy and the expunge",
     .ops = "open A; move 1:2 B",
     .script = OPEN("UIDPLUS") "C: A4 *\nS: A4 OK [COPYUID 5 1:2 3:4]\nC: A5 UID STORE *\nCLOSE\n",
     .log = OPENED "moved\nmove: retry\n"},
    {.name = "in parts: so many messages, or so many ranges, at a time",
     .ops = "open A; move 1001:3002 B",
     .script =
         OPEN("MOVE UIDPLUS")
         "C: A4 UID MOVE 1001:2000 \"B\"\nS: * OK [COPYUID 5 1001:2000 1:1000]\nS: A4 OK\n"
         "C: A5 UID MOVE 2001:3000 \"B\"\nS: * OK [COPYUID 5 2001:3000 1001:2000]\nS: A5 OK\n"
         "C: A6 UID MOVE 3001:3002 \"B\"\nS: A6 NO [NONEXISTENT] just deleted\nUNTIL-CLOSE\n",
     .log = OPENED "1001>1 1101>101 1201>201 1301>301 1401>401 1501>501 1601>601 1701>701 "
                   "1801>801 1901>901 2001>1001 2101>1101 2201>1201 2301>1301 2401>1401 "
                   "2501>1501 2601>1601 2701>1701 2801>1801 2901>1901 moved\n"
                   "move: no-entry no-folder ([NONEXISTENT] just deleted)\n"},
};
/* clang-format on */

Test(imap_coexist, moving)
{
    play_more(moves, MH_ARRAY_LEN(moves));
}

/* --- renaming --------------------------------------------------------------------------------- */

#define NO_SUBSCRIPTIONS(tag, name) "C: " tag " LSUB \"\" \"" name "/*\"\nS: " tag " OK\n"
/* RENAME and, behind it, LIST of the new name. */
#define RENAMED(tag, from, to, list)                                                               \
    "C: " tag " RENAME \"" from "\" \"" to "\"\nC: " list " LIST \"\" \"" to "\"\nS: " tag         \
    " OK\nS: * LIST () \"/\" \"" to "\"\nS: " list " OK\n"
#define REFUSED(tag, from, to, list, why)                                                          \
    "C: " tag " RENAME \"" from "\" \"" to "\"\nC: " list " LIST \"\" \"" to "\"\nS: " tag " " why \
    "\nS: " list " OK\n"

/* clang-format off */
static struct dialogue renames[] = {
    {.name = "parents first; the subscriptions go along, those below too",
     .ops = "rename+ A X/Entw\xc3\xbcrfe",
     .script =
         LOGIN("")
         "C: A3 CREATE \"X\"\nS: A3 OK\n"
         "C: A4 LSUB \"\" \"A/*\"\nS: * LSUB () \"/\" A/B\nS: * LSUB (\\Noselect) \"/\" A/C\n"
         "S: * LSUB () \"/\" {5}\nLITERAL 5 A/C/D\nS:\nS: * LSUB () \"/\" AB\nS: A4 OK\n"
         RENAMED("A5", "A", "X/Entw&APw-rfe", "A6")
         "C: A7 SUBSCRIBE \"X/Entw&APw-rfe\"\nC: A8 UNSUBSCRIBE \"A\"\nS: A7 OK\nS: A8 OK\n"
         "C: A9 SUBSCRIBE \"X/Entw&APw-rfe/B\"\nC: A10 UNSUBSCRIBE \"A/B\"\nS: A9 OK\n"
         "S: A10 NO was not\n"
         "C: A11 SUBSCRIBE \"X/Entw&APw-rfe/C/D\"\nC: A12 UNSUBSCRIBE \"A/C/D\"\nS: A11 NO hm\n"
         "S: A12 OK\nUNTIL-CLOSE\n",
     .log = "renamed to X/Entw\xc3\xbcrfe as X/Entw&APw-rfe\n"},
    {.name = "LIST-EXTENDED says what is subscribed",
     .ops = "rename A B",
     .script =
         LOGIN("LIST-EXTENDED")
         "C: A3 LIST (SUBSCRIBED) \"\" \"A/*\"\nS: * LIST (\\Subscribed \\NonExistent) \"/\" A/B\n"
         "S: A3 OK\n" RENAMED("A4", "A", "B", "A5")
         "C: A6 SUBSCRIBE \"B/B\"\nC: A7 UNSUBSCRIBE \"A/B\"\nS: A6 OK\nS: A7 OK\nUNTIL-CLOSE\n",
     .log = "renamed to B as B\n"},
    {.name = "what a rename has left under the old name: its own subscription too",
     .ops = "finish A B; finish A B",
     .script =
         LOGIN("LIST-EXTENDED")
         "C: A3 LIST (SUBSCRIBED) \"\" \"A*\"\nS: * LIST (\\Subscribed \\NonExistent) \"/\" A\n"
         "S: * LIST (\\Subscribed) \"/\" AB\nS: * LIST (\\Subscribed \\NonExistent) \"/\" A/C\n"
         "S: A3 OK\n"
         "C: A4 SUBSCRIBE \"B\"\nC: A5 UNSUBSCRIBE \"A\"\nS: A4 OK\nS: A5 OK\n"
         "C: A6 SUBSCRIBE \"B/C\"\nC: A7 UNSUBSCRIBE \"A/C\"\nS: A6 OK\nS: A7 OK\n"
         "C: A8 LIST (SUBSCRIBED) \"\" \"A*\"\nS: A8 NO hm\nUNTIL-CLOSE\n",
     .log = "finish: folder refused (hm)\n"},
    {.name = "the inbox stays, and no other becomes it",
     .ops = "rename inbox A; rename A INBOX",
     .script = LOGIN("") "UNTIL-CLOSE\n",
     .log = "rename: folder\nrename: exists\n"},
    {.name = "there is one already, by code, by words, by looking; OK, but there was none",
     .ops = "rename A B; rename A B; rename A B; rename A B",
     .script =
         LOGIN("") NO_SUBSCRIPTIONS("A3", "A")
         REFUSED("A4", "A", "B", "A5", "NO [ALREADYEXISTS] x")
         NO_SUBSCRIPTIONS("A6", "A") REFUSED("A7", "A", "B", "A8", "NO Mailbox already exists")
         NO_SUBSCRIPTIONS("A9", "A")
         "C: A10 RENAME *\nC: A11 LIST \"\" \"B\"\nS: A10 NO no\nS: * LIST () \"/\" B\nS: A11 OK\n"
         NO_SUBSCRIPTIONS("A12", "A") REFUSED("A13", "A", "B", "A14", "OK renamed") "UNTIL-CLOSE\n",
     .log = "rename: exists exists ([ALREADYEXISTS] x)\n"
            "rename: exists exists (Mailbox already exists)\nrename: exists refused (no)\n"
            "rename: folder (renamed)\n"},
    {.name = "another spelling of the name; refusals that no spelling helps",
     .ops = "rename A b*c; rename A B; rename A B; rename A B; rename A B",
     .script =
         LOGIN("") NO_SUBSCRIPTIONS("A3", "A") REFUSED("A4", "A", "b*c", "A5", "NO [CANNOT] star")
         RENAMED("A6", "A", "b%2Ac", "A7")
         NO_SUBSCRIPTIONS("A8", "A") REFUSED("A9", "A", "B", "A10", "NO [NONEXISTENT] gone")
         NO_SUBSCRIPTIONS("A11", "A") REFUSED("A12", "A", "B", "A13", "NO [NOPERM] no")
         NO_SUBSCRIPTIONS("A14", "A") REFUSED("A15", "A", "B", "A16", "NO no")
         NO_SUBSCRIPTIONS("A17", "A") REFUSED("A18", "A", "B", "A19", "NO [INUSE] later")
         "UNTIL-CLOSE\n",
     .log = "renamed to b%252Ac as b%2Ac\nrename: folder no-folder ([NONEXISTENT] gone)\n"
            "rename: folder no-permission ([NOPERM] no)\nrename: folder refused (no)\n"
            "rename: later unavailable ([INUSE] later)\n"},
    {.name = "a folder below the renamed one is open, for writing: it is left, and opened anew",
     .ops = "open A/B; rename A C; scan 5; rename C/B D; scan 5",
     .script =
         LOGIN("UNSELECT")
         "REJECT A* CLOSE\n"
         OPENS("A3", "SELECT", "A/B", "9", "3", "100")
         NO_SUBSCRIPTIONS("A4", "A")
         "C: A5 UNSELECT\nS: A5 OK\n" RENAMED("A6", "A", "C", "A7")
         OPENS("A8", "SELECT", "C/B", "8", "3", "100")
         "C: A9 NOOP\nC: A10 UID FETCH 5:* *\nS: A9 OK\nS: A10 OK\n"
         NO_SUBSCRIPTIONS("A11", "C/B")
         "C: A12 UNSELECT\nS: A12 OK\n" RENAMED("A13", "C/B", "D", "A14")
         OPENS("A15", "SELECT", "D", "8", "4", "100") "UNTIL-CLOSE\n",
     .log =
         "selected 9 messages, next 100, \nrenamed to C as C\nrenamed to D as D\nscan: folder\n"},
    {.name = "… without UNSELECT; a refused rename; and appends go on there",
     .ops = "open A; to A; rename A C; rename C D; uids 7; append 1,3; flush",
     .script =
         LOGIN("LITERAL+")
         "REJECT A* CLOSE\n"
         OPENS("A3", "SELECT", "A", "9", "3", "100")
         NO_SUBSCRIPTIONS("A4", "A")
         "C: A5 EXAMINE INBOX\nS: * 77 EXISTS\nS: A5 OK\n" RENAMED("A6", "A", "C", "A7")
         NO_SUBSCRIPTIONS("A8", "C") REFUSED("A9", "C", "D", "A10", "NO [NOPERM] no")
         OPENS("A11", "SELECT", "C", "9", "3", "100")
         "C: A12 NOOP\nC: A13 UID FETCH 7 *\nS: A12 OK\nS: A13 OK\n"
         "C: A14 APPEND \"C\" {3+}\nC:\nS: A14 OK\nUNTIL-CLOSE\n",
     .log = "selected 9 messages, next 100, \nrenamed to C as C\n"
            "rename: folder no-permission ([NOPERM] no)\n0 listed\n#1=0/0\n"},
    {.name = "the connection is lost",
     .ops = "rename A B; rename A B",
     .script = LOGIN("") NO_SUBSCRIPTIONS("A3", "A") "C: A4 RENAME *\nC: A5 LIST *\nCLOSE\n",
     .log = "rename: retry\nrename: retry\n"},
};
/* clang-format on */

Test(imap_coexist, renaming)
{
    play_more(renames, MH_ARRAY_LEN(renames));
}

/* --- watching --------------------------------------------------------------------------------- */

#define EXAMINE(tag, messages, next) OPENS(tag, "EXAMINE", "INBOX", messages, "3", next)
#define IDLE(tag)                    "C: " tag " IDLE\nS: + idling\n"
#define DONE(tag)                    "C: DONE\nS: " tag " OK\n"
#define NOOP(tag)                    "C: " tag " NOOP\nS: " tag " OK\n"
/* One change in an IDLE of its own. */
#define CHANGE(n, m, what)           NOOP(n) IDLE(m) "S: " what "\n" DONE(m)
#define NOTIFY(tag)                                                                                \
    "C: " tag " NOTIFY SET STATUS (selected-delayed (MessageNew MessageExpunge FlagChange)) "      \
    "(personal (MessageNew MessageExpunge FlagChange MailboxName))\n"

/* clang-format off */
static struct dialogue watches[] = {
    {.name = "each kind of change, and what is none",
     .ops = "watch; watch; watch; watch; watch 150",
     .script =
         LOGIN("IDLE") EXAMINE("A3", "9", "100") IDLE("A4") "S: * OK Still here\nS: * 9 EXISTS\n"
         "S: * 2 RECENT\nS: * FLAGS (\\Seen x)\nS: * OK [HIGHESTMODSEQ 99] so far\nSLEEP 30\n"
         "S: * 10 EXISTS\n" DONE("A4")
         CHANGE("A5", "A6", "* 1 EXPUNGE")
         CHANGE("A7", "A8", "* VANISHED 3:4")
         CHANGE("A9", "A10", "* 2 FETCH (FLAGS (\\Seen))") NOOP("A11") IDLE("A12")
         "S: * OK Still here\nSLEEP 30\nS: * 1 RECENT\n" DONE("A12") "UNTIL-CLOSE\n",
     .log = "changed\nchanged\nchanged\nchanged\nnothing\n"},
    {.name = "no IDLE, or none that is meant",
     .ops = "caps; watch; list",
     .script = LOGIN("NOTIFY") "C: A3 LIST *\nC: A4 LSUB *\nS: A3 OK\nS: A4 OK\nUNTIL-CLOSE\n",
     .log = "move 0 rename 1 watch 0 0\nwatch: no-such-feature\n"},
    {.name = "IDLE is refused",
     .ops = "watch; caps; watch",
     .script = LOGIN("IDLE") EXAMINE("A3", "9", "100") "C: A4 IDLE\nS: A4 BAD what\nUNTIL-CLOSE\n",
     .log = "watch: no-such-feature refused (what)\nmove 0 rename 1 watch 0 0\nwatch: "
            "no-such-feature\n"},
    {.name = "IDLE ends of itself: begun again, and given up when it never lasts",
     .ops = "watch; watch; caps",
     .script =
         LOGIN("IDLE") EXAMINE("A3", "9", "100") IDLE("A4") "S: A4 OK\n" IDLE("A5") "S: A5 OK\n"
         IDLE("A6") "S: * 1 EXPUNGE\n" DONE("A6") NOOP("A7")
         "REPEAT 3\nC: * IDLE\nSET T $TAG\nS: + idling\nS: $T OK\nEND\nUNTIL-CLOSE\n",
     .log = "changed\nwatch: no-such-feature\nmove 0 rename 1 watch 0 0\n"},
    {.name = "renewed in time; the time-out of answers does not count meanwhile",
     .ops = "renew 400; watch 1000; renew 10000; watch",
     .timeout_ms = 150,
     .script =
         LOGIN("IDLE") EXAMINE("A3", "9", "100") IDLE("A4") DONE("A4") IDLE("A5") DONE("A5")
         IDLE("A6") DONE("A6") NOOP("A7") IDLE("A8") "SLEEP 500\nS: * 10 EXISTS\n" DONE("A8")
         "UNTIL-CLOSE\n",
     .log = "nothing\nchanged\n"},
    {.name = "a server that does not answer DONE, or IDLE",
     .ops = "watch 10; watch 10",
     .timeout_ms = 150,
     .script = LOGIN("IDLE") EXAMINE("A3", "9", "100") IDLE("A4") "C: DONE\nSTALL\n",
     .log = "watch: retry timeout\nwatch: retry timeout\n"},
    {.name = "a change between two calls: said when it is asked, or with another command",
     .ops = "watch 0; watch; watch; rights A; watch; watch 0",
     .script =
         LOGIN("IDLE ACL") EXAMINE("A3", "9", "100")
         "C: A4 NOOP\nS: * 10 EXISTS\nS: A4 OK\n"
         CHANGE("A5", "A6", "* 11 EXISTS")
         "C: A7 GETACL *\nS: * 3 EXPUNGE\nS: A7 OK\n" NOOP("A8") "UNTIL-CLOSE\n",
     .log = "nothing\nchanged\nchanged\nchanged\nnothing\n"},
    {.name = "the caller has looked at another folder: its changes are none, the inbox's are",
     .ops = "watch 0; select A; scan 1; watch; select A; watch 0; select INBOX; watch 0",
     .script =
         LOGIN("IDLE") EXAMINE("A3", "9", "100") OPENS("A4", "EXAMINE", "A", "1", "8", "2")
         "C: A5 UID FETCH 1:* *\nS: * 2 EXISTS\nS: * 1 FETCH (UID 1 RFC822.SIZE 5)\n"
         "S: * 2 FETCH (UID 2 RFC822.SIZE 5)\nS: A5 OK\n"
         EXAMINE("A6", "9", "101") OPENS("A7", "EXAMINE", "A", "2", "8", "3")
         EXAMINE("A8", "9", "101") NOOP("A9") NOOP("A10") "UNTIL-CLOSE\n",
     .log = "nothing\nselected 1 messages, next 2, \n1 5 0 () -\n2 5 0 () -\nchanged\n"
            "selected 2 messages, next 3, \nnothing\nselected 9 messages, next 101, \nnothing\n"},
    {.name = "NOTIFY: any folder, once per session, whatever is open",
     .ops = "caps; watch; watch; select A; watch; watch; watch 0",
     .script =
         LOGIN("IDLE NOTIFY") NOTIFY("A3") "S: * STATUS INBOX (MESSAGES 1)\n"
         "S: * STATUS A (MESSAGES 2)\nS: A3 OK\n" IDLE("A4") "SLEEP 30\n"
         "S: * STATUS A (HIGHESTMODSEQ 4)\n" DONE("A4")
         CHANGE("A5", "A6", "* LIST () \"/\" B (\"OLDNAME\" (A))")
         OPENS("A7", "EXAMINE", "A", "1", "8", "2")
         CHANGE("A8", "A9", "* 2 EXISTS")
         CHANGE("A10", "A11", "* 1 FETCH (FLAGS ())") NOOP("A12") "UNTIL-CLOSE\n",
     .log = "move 0 rename 1 watch 1 1\nchanged\nchanged\nselected 1 messages, next 2, \n"
            "changed\nchanged\nnothing\n"},
    {.name = "NOTIFY: what comes while something else is asked is told; what was asked for is not",
     .ops = "watch 0; list x; watch 0; rights A; watch",
     .script =
         LOGIN("IDLE NOTIFY ACL LIST-EXTENDED LIST-STATUS") NOTIFY("A3") "S: A3 OK\n"
         "C: A4 LIST *\nS: * LIST () \"/\" A\nS: * STATUS A (MESSAGES 1)\nS: A4 OK\n" NOOP("A5")
         "C: A6 GETACL *\nS: * STATUS A (MESSAGES 2)\nS: A6 OK\nUNTIL-CLOSE\n",
     .log = "nothing\nA 1\nnothing\nchanged\n"},
    {.name = "NOTIFY: an event that the server does not know; refused; too much for it",
     .ops = "watch 0; caps; watch; caps; watch",
     .script =
         LOGIN("IDLE NOTIFY") NOTIFY("A3") "S: A3 NO [BADEVENT (MessageNew)] no\n"
         "C: A4 NOTIFY SET STATUS (selected-delayed (MessageNew MessageExpunge FlagChange)) "
         "(personal (MessageNew MessageExpunge FlagChange))\nS: A4 OK\n" NOOP("A5") IDLE("A6")
         "S: * OK [NOTIFICATIONOVERFLOW] too much\n" DONE("A6")
         EXAMINE("A7", "9", "100") NOOP("A8") IDLE("A9") "S: * 10 EXISTS\n" DONE("A9")
         "UNTIL-CLOSE\n",
     .log = "nothing\nmove 0 rename 1 watch 1 1\nchanged\nmove 0 rename 1 watch 1 0\nchanged\n"},
    {.name = "NOTIFY is refused: the inbox it is",
     .ops = "watch; caps",
     .script =
         LOGIN("IDLE NOTIFY") NOTIFY("A3") "S: A3 BAD no\n"
         "C: A4 NOTIFY *\nS: A4 BAD no\n"
         EXAMINE("A5", "9", "100") IDLE("A6") "S: * 10 EXISTS\n" DONE("A6") "UNTIL-CLOSE\n",
     .log = "changed\nmove 0 rename 1 watch 1 0\n"},
    {.name = "cancelled: DONE is said, nothing was held, the session goes on",
     .ops = "watch-cancelled; list; watch 0",
     .script =
         LOGIN("IDLE") EXAMINE("A3", "9", "100") IDLE("A4")
         "C: DONE\nC: A5 LIST *\nC: A6 LSUB *\nS: * 10 EXISTS\nS: A4 OK\nS: A5 OK\nS: A6 OK\n"
         "UNTIL-CLOSE\n",
     .log = "0 held\nwatch: cancel\nchanged\n"},
    {.name = "cancelled before the server allows IDLE: the session ends, nothing can be said",
     .ops = "watch-cancelled early; watch",
     .script = LOGIN("IDLE") EXAMINE("A3", "9", "100") "C: A4 IDLE\nUNTIL-CLOSE\n",
     .log = "watch: cancel\nwatch: retry\n"},
    {.name = "the server says goodbye, the connection is lost",
     .ops = "watch; watch",
     .script = LOGIN("IDLE") EXAMINE("A3", "9", "100") IDLE("A4") "S: * BYE restarting\nCLOSE\n",
     .log =
         "watch: retry connection-lost (restarting)\nwatch: retry connection-lost (restarting)\n"},
    {.name = "lost without a word",
     .ops = "watch; watch",
     .script = LOGIN("IDLE") EXAMINE("A3", "9", "100") IDLE("A4") "RST\n",
     .log = "watch: retry\nwatch: retry\n"},
};
/* clang-format on */

Test(imap_coexist, watching)
{
    play_more(watches, MH_ARRAY_LEN(watches));
}
