/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "connectors/eml/eml.h"
#include "connectors/imap/imap.h"
#include "connectors/maildir/maildir.h"
#include "connectors/mbox/mbox.h"

const struct mh_connector *const mh_cli_connectors[] = {&mh_imap, &mh_maildir, &mh_mbox, &mh_eml};
const size_t mh_cli_n_connectors = MH_ARRAY_LEN(mh_cli_connectors);

const struct mh_cli_command mh_cli_commands[] = {
    {"copy", mh_command_copy, "SRC DST",
     "copy one mailbox or archive (with --users: one for each row)"},
    {"init", mh_command_init, "[FOLDER]", "make the skeleton of a project"},
    {"check", mh_command_check, "[SRC DST | MAILBOX...]",
     "logins, quotas, limits, certificates, names"},
    {"map", mh_command_map, "[SRC DST | MAILBOX...]", "show where each folder will go, and why"},
    {"run", mh_command_run, "[MAILBOX...]",
     "carry the project's mailboxes; a delta where state exists"},
    {"status", mh_command_status, "", "one line per mailbox, problems first"},
    {"verify", mh_command_verify, "[SRC DST | MAILBOX...]", "compare source and target by content"},
    {"pst", mh_command_pst, "info|check FILE...",
     "look into Outlook archives: what they are, what of them can be read"},
    {NULL, NULL, NULL, NULL},
};
