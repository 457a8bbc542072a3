/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Maildir++ and nested Maildirs ("fs layout"), read and written: maildir:/path.
 *
 * INBOX is the root. Folder names are modified UTF-7, what a directory's name cannot hold is escaped
 * as %XX. Flags are the info part's, keywords those of `dovecot-keywords`, INTERNALDATE is the file's
 * mtime (its zone is not kept), subscriptions are those of Dovecot's `subscriptions`; roles stand in
 * `.mailhaul-folders`. Messages are stored octet for octet; one whose lines all end with a bare LF
 * gets ",R=1" in its name, because such a file otherwise means CRLF.
 * Thread and ownership: mail/connector.h. Never: a symbolic link followed below the root.
 */
#ifndef MH_CONNECTORS_MAILDIR_H
#define MH_CONNECTORS_MAILDIR_H

#include "mail/connector.h"

extern const struct mh_connector mh_maildir;

#endif
