/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SASL mechanisms, the client's side: PLAIN (RFC 4616), SCRAM (scram.c), XOAUTH2 (Google,
 * Microsoft) and OAUTHBEARER (RFC 7628). Messages here are raw; login.c puts them into base64 and
 * onto the wire. */
#include <ctype.h>
#include <string.h>

#include "connectors/imap/imap_priv.h"

const char *imap_mech_name(enum imap_mech mech)
{
    static const char *const names[] = {
        [IMAP_MECH_SCRAM_SHA_256] = "SCRAM-SHA-256",
        [IMAP_MECH_SCRAM_SHA_1] = "SCRAM-SHA-1",
        [IMAP_MECH_PLAIN] = "PLAIN",
        [IMAP_MECH_XOAUTH2] = "XOAUTH2",
        [IMAP_MECH_OAUTHBEARER] = "OAUTHBEARER",
        [IMAP_MECH_LOGIN] = "LOGIN",
    };
    return names[mech];
}

void imap_sasl_init(struct imap_sasl *x, enum imap_mech mech)
{
    *x = (struct imap_sasl){.mech = mech};
    imap_scram_init(&x->scram, mech == IMAP_MECH_SCRAM_SHA_256);
}

void imap_sasl_done(struct imap_sasl *x)
{
    imap_scram_done(&x->scram);
}

static int unexpected(const struct imap_sasl *x, struct mh_err *err)
{
    return mh_err_set(err, MH_EAUTH, "imap", "the server asks for more than %s has to say",
                      imap_mech_name(x->mech));
}

static int plain_step(struct imap_sasl *x, struct mh_buf *out, struct mh_err *err)
{
    if (x->step > 0)
        return unexpected(x, err);
    mh_buf_adds(out, x->authzid);
    mh_buf_addc(out, '\0');
    mh_buf_adds(out, x->authcid);
    mh_buf_addc(out, '\0');
    mh_buf_add(out, x->secret->data, x->secret->len);
    return MH_OK;
}

static int scram_step(struct imap_sasl *x, const char *challenge, size_t len, struct mh_buf *out,
                      struct mh_err *err)
{
    switch (x->step) {
    case 0:
        return imap_scram_first(&x->scram, x->authcid, x->authzid, out, err);
    case 1:
        return imap_scram_final(&x->scram, challenge, len, x->secret, out, err);
    case 2:
        return imap_scram_verify(&x->scram, challenge, len, err); /* answered with an empty line */
    default:
        return unexpected(x, err);
    }
}

/*
 * The value of "status" in an OAuth error's JSON: "invalid_token" (RFC 7628 section 3.2.2), "401"
 * (Google's form for XOAUTH2). Of all that the server sends only this word goes further, into an
 * error's text, and only if it is a short one: the rest may repeat what was sent.
 */
static void take_status(const char *json, size_t len, char *out, size_t size)
{
    static const char key[] = "\"status\"";
    const char *end = json + len;
    const char *p = memmem(json, len, key, sizeof key - 1);
    size_t n = 0;
    out[0] = '\0';
    if (!p)
        return;
    for (p += sizeof key - 1; p < end && strchr(" \t\r\n:\"", *p) && *p; p++)
        ;
    while (p + n < end && n < size && (isalnum((unsigned char)p[n]) || p[n] == '_' || p[n] == '-'))
        n++;
    if (n == size)
        return;
    memcpy(out, p, n);
    out[n] = '\0';
}

/* Step 1 happens on errors only: the server's JSON says why, and wants an answer before its NO. */
static int oauth_step(struct imap_sasl *x, const char *challenge, size_t len, struct mh_buf *out,
                      struct mh_err *err)
{
    bool is_bearer = x->mech == IMAP_MECH_OAUTHBEARER;
    if (x->step == 1) {
        take_status(challenge, len, x->oauth_status, sizeof x->oauth_status);
        if (is_bearer)
            mh_buf_addc(out, '\1');
        return MH_OK;
    }
    if (x->step > 1)
        return unexpected(x, err);
    if (is_bearer) {
        mh_buf_adds(out, "n,a=");
        imap_saslname_add(out, x->authzid[0] ? x->authzid : x->authcid);
        mh_buf_addf(out, ",\1host=%s\1port=%u", x->host, (unsigned)x->port);
    } else {
        mh_buf_addf(out, "user=%s", x->authzid[0] ? x->authzid : x->authcid);
    }
    mh_buf_adds(out, "\1auth=Bearer ");
    mh_buf_add(out, x->secret->data, x->secret->len);
    mh_buf_adds(out, "\1\1");
    return MH_OK;
}

int imap_sasl_step(struct imap_sasl *x, const char *challenge, size_t len, struct mh_buf *out,
                   struct mh_err *err)
{
    int rc = MH_OK;
    mh_buf_reset(out);
    switch (x->mech) {
    case IMAP_MECH_PLAIN:
        rc = plain_step(x, out, err);
        break;
    case IMAP_MECH_SCRAM_SHA_256:
    case IMAP_MECH_SCRAM_SHA_1:
        rc = scram_step(x, challenge, len, out, err);
        break;
    case IMAP_MECH_XOAUTH2:
    case IMAP_MECH_OAUTHBEARER:
        rc = oauth_step(x, challenge, len, out, err);
        break;
    case IMAP_MECH_LOGIN:
        rc = unexpected(x, err);
        break;
    }
    x->step++;
    if (rc == MH_OK && mh_buf_failed(out))
        rc = mh_err_nomem(err);
    return rc;
}

int imap_sasl_finish(const struct imap_sasl *x, struct mh_err *err)
{
    bool is_scram = x->mech == IMAP_MECH_SCRAM_SHA_256 || x->mech == IMAP_MECH_SCRAM_SHA_1;
    if (!is_scram || x->scram.is_verified)
        return MH_OK;
    (void)mh_err_set(
        err, MH_EAUTH, "imap",
        "the server accepts the login without proof that it knows the password: it may "
        "be an impostor");
    if (err)
        err->reason = "impostor";
    return MH_EAUTH;
}
