/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * mbox files, read and written: mbox:/path. A directory holds one "NAME.mbox" per folder and a
 * directory NAME for what is below it; a single file is one folder.
 *
 * Read: a line "From … date" after an empty line (or at the start) begins a message, Content-Length is
 * not believed, ">From " loses one '>' (mboxrd). Flags come from Status, X-Status and X-Keywords, which
 * stay in the message; the date is the From_ line's, in UTC. A message has no name in such a file: its
 * uid is made of its content without those fields, so that it is the same after other programs have
 * rewritten the file.
 *
 * Written: messages octet for octet, mboxrd-quoted, at the end, under a lock (fcntl). Flags, keywords,
 * the date with its zone and the exact length stand in "NAME.mbox.index" (mail/file_index.h), which
 * goes before the fields when it is there; names in it are "<16 hex digits>-<nth with this content>".
 * "NAME.mbox.journal" holds the length before an unfinished append: readers stop there, the next
 * append removes what is behind it unless another program has appended since.
 * Thread and ownership: mail/connector.h. Never: a symbolic link followed below the root, an existing
 * message changed.
 */
#ifndef MH_CONNECTORS_MBOX_H
#define MH_CONNECTORS_MBOX_H

#include "mail/connector.h"

extern const struct mh_connector mh_mbox;

#endif
