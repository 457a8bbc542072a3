/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Killed at every network step and every state write between two real Dovecots; what is played and
 * how one step is repeated stands in killed.h. Skipped where the packages are not unpacked.
 */
#include "killed.h"
#include "live.h"

/* Accounts for every step that MH_TEST_ALL=1 may try, each way. */
#define PAIR_OPTIONS "--users 1600 --fast-fsync never --special-use none "
#define BARE                                                                                       \
    "--no-capability CONDSTORE --no-capability QRESYNC --no-capability MULTIAPPEND "               \
    "--no-capability UIDPLUS --no-capability MOVE --no-capability LIST-STATUS "

static void end_everywhere_between(const char *name, const char *source, const char *target,
                                   struct effort effort)
{
    struct server servers[2] = {{.kind = "dovecot"}, {.kind = "dovecot"}};
    server_start(&servers[0], source);
    server_start(&servers[1], target);
    const struct pair pair = {.name = name,
                              .port = {servers[0].port, servers[1].port},
                              .separator = {'.', '/'},
                              .can_rename = true};
    end_everywhere(&pair, effort);
}

Test(imap_kill_dovecot, at_every_step_of_servers_that_can_everything, .timeout = 3600)
{
    end_everywhere_between("everything", PAIR_OPTIONS, PAIR_OPTIONS "--store sdbox",
                           (struct effort){.kills = 28, .cuts = 12});
}

/*
 * The source's day is another client's, which needs UIDPLUS and MOVE: it does not tell of
 * CONDSTORE alone.
 */
Test(imap_kill_dovecot, at_every_step_of_servers_that_can_nothing, .timeout = 3600)
{
    end_everywhere_between(
        "nothing", PAIR_OPTIONS "--no-capability CONDSTORE --no-capability QRESYNC",
        PAIR_OPTIONS BARE "--store sdbox", (struct effort){.kills = 14, .cuts = 6});
}
