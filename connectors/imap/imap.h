/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The IMAP connector: mailboxes on IMAP servers (RFC 9051, RFC 3501), as source and as target.
 *
 * For: the table of connectors, which names it; everything else goes through the vtable's functions
 * (mail/connector.h says who owns what). One session is one connection. It belongs to the loop it
 * was opened on: every function is called from a task of that loop and may wait. Never: a secret
 * before the certificate is verified, plaintext unless the endpoint says so, a deletion.
 */
#ifndef MH_CONNECTORS_IMAP_IMAP_H
#define MH_CONNECTORS_IMAP_IMAP_H

#include "mail/connector.h"

extern const struct mh_connector mh_imap;

#endif
