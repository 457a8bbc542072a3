/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Killed at every network step and every state write, and cut at every line, between two scripted
 * servers: what is played and how one step is repeated stands in ../server/killed.h.
 */
#include "../server/killed.h"
#include "dialogue.h"

#define ACCOUNTS "USER * secret\n"
#define CAPABLE(list)                                                                              \
    "SET CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN NAMESPACE UNSELECT UIDPLUS MOVE " list "\n"

static void end_everywhere_between(const char *name, const char *source, const char *target,
                                   struct effort effort)
{
    struct server servers[2];
    server_start(&servers[0], source);
    server_start(&servers[1], target);
    const struct pair pair = {
        .name = name, .port = {servers[0].port, servers[1].port}, .separator = {'/', '/'}};
    end_everywhere(&pair, effort);
    server_stop(&servers[0], name);
    server_stop(&servers[1], name);
}

/* What a delta is without CONDSTORE: every listing is read and compared. */
Test(imap_kill, at_every_line_of_servers_that_can_much, .timeout = 3600)
{
    end_everywhere_between("much", ACCOUNTS CAPABLE("LIST-EXTENDED LIST-STATUS LITERAL+"),
                           ACCOUNTS CAPABLE("LIST-EXTENDED LIST-STATUS LITERAL+ MULTIAPPEND"),
                           (struct effort){.kills = 20, .cuts = 20});
}
