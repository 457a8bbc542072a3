/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Directories of .eml files, read and written: eml:/path. A single .eml file can be read.
 *
 * A directory is a folder; names hold what a folder's name holds, but for what other systems forbid
 * (\ : * ? " < > |), control octets, a leading '.', a trailing '.' or blank: %XX. INBOX is the directory
 * INBOX; files beside it in the root are the folder INBOX when there is no such directory, else
 * "INBOX~root". Flags, keywords and the date with its zone stand in `.mailhaul-index` of each
 * directory (mail/file_index.h); without an entry the date is the file's mtime. Roles and
 * subscriptions stand in `.mailhaul-folders`. Messages are stored octet for octet.
 * Thread and ownership: mail/connector.h. Never: a symbolic link followed below the root.
 */
#ifndef MH_CONNECTORS_EML_H
#define MH_CONNECTORS_EML_H

#include "mail/connector.h"

extern const struct mh_connector mh_eml;

#endif
