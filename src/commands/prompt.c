/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "commands/prompt.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"

static bool has_secret(const struct mh_secret_source *s)
{
    return s->file || s->command || s->value;
}

/* One line from the terminal without showing it; false when it was ended or is empty. */
static bool read_hidden(struct mh_buf *out)
{
    struct termios shown;
    char c = 0;
    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return false;
    struct termios hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) != 0)
        return false;
    while (out->len < 1024 && read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
        mh_buf_addc(out, c);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    (void)fputc('\n', stderr);
    return out->len > 0 && !mh_buf_failed(out);
}

int prompt_for_secret(struct mh_endpoint *e, struct mh_err *err)
{
    struct mh_buf secret = MH_BUF_INIT;
    if (!e->host || has_secret(&e->secret) || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return MH_OK;
    const char *who = e->admin_user ? e->admin_user : e->user ? e->user : "?";
    struct mh_buf shown = MH_BUF_INIT;
    mh_buf_add_printable(&shown, who, strlen(who));
    (void)fprintf(stderr, "Password of %s at %s: ", mh_buf_str(&shown), e->host);
    mh_buf_done(&shown);
    (void)fflush(stderr);
    int code = MH_OK;
    if (!read_hidden(&secret))
        code = mh_err_set(err, MH_EAUTH, "password", "no password was typed for %s", e->host);
    else if (!(e->secret.value = mh_strdup(mh_buf_str(&secret))))
        code = mh_err_nomem(err);
    mh_secret_wipe(&secret);
    return code;
}
