/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asking for a password on a terminal. Main thread, before anything is started. */
#ifndef MH_COMMANDS_PROMPT_H
#define MH_COMMANDS_PROMPT_H

#include "mail/endpoint.h"

/* Fills E's secret from the terminal when it needs one and has none; without a terminal it does nothing: the login
 * then says what is missing. */
int prompt_for_secret(struct mh_endpoint *e, struct mh_err *err) MH_MUST_CHECK;

#endif
