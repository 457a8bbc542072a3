/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A command line as words, without a shell. */
#include <string.h>

#include "base/mem.h"

#include "plan/plan_priv.h"

enum { WORDS_MAX = 256 };

/* Reads one word at *AT into B; MH_EUSAGE for a quote that is not closed. */
static int read_word(const char **at, struct mh_buf *b, struct mh_err *err)
{
    char quote = '\0';
    const char *p = *at;
    for (; *p && (quote || (*p != ' ' && *p != '\t')); p++) {
        if (*p == '\\' && quote != '\'' && p[1])
            mh_buf_addc(b, *++p);
        else if (quote && *p == quote)
            quote = '\0';
        else if (!quote && (*p == '"' || *p == '\''))
            quote = *p;
        else
            mh_buf_addc(b, *p);
    }
    *at = p;
    if (quote)
        return mh_err_set(err, MH_EUSAGE, "plan", "the command has a %c quote that is never closed",
                          quote);
    return mh_buf_failed(b) ? plan_nomem(err) : 0;
}

int mh_plan_split_command(const char *text, struct mh_strings *out, struct mh_err *err)
{
    *out = (struct mh_strings){NULL, 0};
    struct mh_buf word = MH_BUF_INIT;
    int rc = 0;
    for (const char *p = text + strspn(text, " \t"); rc == 0 && *p; p += strspn(p, " \t")) {
        mh_buf_reset(&word);
        rc = read_word(&p, &word, err);
        if (rc == 0 && out->n == WORDS_MAX)
            rc =
                mh_err_set(err, MH_EUSAGE, "plan", "the command has more than %d words", WORDS_MAX);
        if (rc == 0)
            rc = plan_strings_add(out, mh_buf_str(&word), word.len, err);
    }
    mh_buf_done(&word);
    if (rc == 0 && out->n == 0)
        rc = mh_err_set(err, MH_EUSAGE, "plan", "the command is empty");
    if (rc)
        mh_strings_done(out);
    return rc;
}
