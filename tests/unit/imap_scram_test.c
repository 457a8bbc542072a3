/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SCRAM with the examples of RFC 5802 and RFC 7677, and the other mechanisms' messages. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "connectors/imap/imap_priv.h"

static void set(struct mh_buf *b, const char *s)
{
    mh_buf_reset(b);
    mh_buf_adds(b, s);
}

/* A login as far as the proof that the password is known. */
struct login {
    struct imap_scram c;
    struct mh_buf first, final; /* what the client has said */
    struct mh_err err;
};

/* With NONCE as the client's own and CHALLENGE as the server's answer: what becomes of the final message. */
static int login_prove(struct login *l, bool sha256, const char *nonce, const char *challenge)
{
    struct mh_buf password = MH_BUF_INIT;
    *l = (struct login){.first = MH_BUF_INIT, .final = MH_BUF_INIT};
    set(&password, "pencil");
    imap_scram_init(&l->c, sha256);
    (void)snprintf(l->c.nonce, sizeof l->c.nonce, "%s", nonce);
    cr_assert_eq(imap_scram_first(&l->c, "user", "", &l->first, &l->err), 0);
    int rc = imap_scram_final(&l->c, challenge, strlen(challenge), &password, &l->final, &l->err);
    mh_buf_done(&password);
    return rc;
}

static int login_verify(struct login *l, const char *verdict)
{
    return imap_scram_verify(&l->c, verdict, strlen(verdict), &l->err);
}

static void login_done(struct login *l)
{
    imap_scram_done(&l->c);
    mh_buf_done(&l->first);
    mh_buf_done(&l->final);
}

static const struct {
    const char *name;
    bool sha256;
    const char *nonce, *first, *challenge, *final, *verdict;
} vectors[] = {
    {"RFC 5802 section 5", false, "fyko+d2lbbFgONRv9qkxdawL",
     "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
     "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
     "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    {"RFC 7677 section 3", true, "rOprNGfwEbeRWgbNEkqO", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
     "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
     "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

Test(imap_scram, vectors)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(vectors); i++) {
        const char *name = vectors[i].name;
        struct login l;
        cr_assert_eq(login_prove(&l, vectors[i].sha256, vectors[i].nonce, vectors[i].challenge), 0,
                     "%s", name);
        cr_expect_str_eq(mh_buf_str(&l.first), vectors[i].first, "%s", name);
        cr_expect_str_eq(mh_buf_str(&l.final), vectors[i].final, "%s", name);
        cr_expect_not(l.c.is_verified, "%s", name);
        cr_expect_eq(login_verify(&l, vectors[i].verdict), 0, "%s", name);
        cr_expect(l.c.is_verified, "%s", name);
        login_done(&l);
    }
}

static const struct {
    const char *name, *challenge, *words;
} bad_challenges[] = {
    {"empty", "", "malformed"},
    {"another nonce", "r=fyko+d2lbbFgONRv9qkxdaw,s=QSXCR+Q6sek8bf92,i=4096", "not the answer"},
    {"our nonce and nothing of theirs", "r=abc,s=QSXCR+Q6sek8bf92,i=4096", "not the answer"},
    {"an extension we must know", "m=x,r=abcdef,s=QSXCR+Q6sek8bf92,i=4096", "malformed"},
    {"too few iterations", "r=abcdef,s=QSXCR+Q6sek8bf92,i=4095", "iterations"},
    {"zero iterations", "r=abcdef,s=QSXCR+Q6sek8bf92,i=0", "iterations"},
    {"so many that we would burn", "r=abcdef,s=QSXCR+Q6sek8bf92,i=1000001", "iterations"},
    {"more than an int", "r=abcdef,s=QSXCR+Q6sek8bf92,i=99999999999", "malformed"},
    {"no number", "r=abcdef,s=QSXCR+Q6sek8bf92,i=many", "malformed"},
    {"no salt", "r=abcdef,s=,i=4096", "salt"},
    {"salt is no base64", "r=abcdef,s=*,i=4096", "salt"},
};

Test(imap_scram, bad_challenges_are_refused)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(bad_challenges); i++) {
        const char *name = bad_challenges[i].name;
        struct login l;
        cr_expect_eq(login_prove(&l, true, "abc", bad_challenges[i].challenge), MH_EAUTH, "%s",
                     name);
        cr_expect(strstr(l.err.text, bad_challenges[i].words), "%s: %s", name, l.err.text);
        cr_expect_not(strstr(mh_buf_str(&l.final), "p="), "%s: a proof was made", name);
        login_done(&l);
    }
}

static const char *const bad_verdicts[] = {
    "",
    "v=",
    "v=AAAA",
    "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    "e=invalid-proof",
    "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    "x=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
};

Test(imap_scram, the_server_must_prove_itself)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(bad_verdicts); i++) {
        struct login l;
        cr_assert_eq(login_prove(&l, true, vectors[1].nonce, vectors[1].challenge), 0);
        cr_expect_eq(login_verify(&l, bad_verdicts[i]), MH_EAUTH, "%s", bad_verdicts[i]);
        cr_expect_not(l.c.is_verified, "%s", bad_verdicts[i]);
        login_done(&l);
    }
}

Test(imap_scram, no_proof_before_our_own)
{
    struct imap_scram c;
    struct mh_err err;
    imap_scram_init(&c, true);
    cr_expect_eq(imap_scram_verify(&c, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 46, &err),
                 MH_EAUTH);
    imap_scram_done(&c);
}

Test(imap_scram, nonces_differ_and_names_are_escaped)
{
    struct imap_scram a;
    struct imap_scram b;
    struct mh_buf first = MH_BUF_INIT;
    struct mh_buf second = MH_BUF_INIT;
    struct mh_err err;
    imap_scram_init(&a, true);
    imap_scram_init(&b, true);
    cr_assert_eq(imap_scram_first(&a, "a=b,c", "x,y", &first, &err), 0);
    cr_assert_eq(imap_scram_first(&b, "a=b,c", "x,y", &second, &err), 0);
    cr_expect(mh_str_starts(mh_buf_str(&first), "n,a=x=2Cy,n=a=3Db=2Cc,r="));
    cr_expect_str_neq(mh_buf_str(&first), mh_buf_str(&second));
    cr_expect_geq(strlen(a.nonce), 24);
    cr_expect_not(strchr(a.nonce, ','));
    imap_scram_done(&a);
    imap_scram_done(&b);
    mh_buf_done(&first);
    mh_buf_done(&second);
}

#define RAW(s) (s), sizeof(s) - 1

static const struct {
    const char *name;
    enum imap_mech mech;
    const char *authcid, *authzid;
    const char *message;
    size_t len;
} first_messages[] = {
    {"PLAIN", IMAP_MECH_PLAIN, "anna", "", RAW("\0anna\0s3cret")},
    {"PLAIN on behalf", IMAP_MECH_PLAIN, "admin", "anna", RAW("anna\0admin\0s3cret")},
    {"XOAUTH2", IMAP_MECH_XOAUTH2, "anna@example.org", "",
     RAW("user=anna@example.org\1auth=Bearer s3cret\1\1")},
    {"XOAUTH2 names the mailbox", IMAP_MECH_XOAUTH2, "app", "anna",
     RAW("user=anna\1auth=Bearer s3cret\1\1")},
    {"OAUTHBEARER", IMAP_MECH_OAUTHBEARER, "a,b", "",
     RAW("n,a=a=2Cb,\1host=imap.example\1port=993\1auth=Bearer s3cret\1\1")},
};

Test(imap_sasl, first_messages)
{
    struct mh_buf secret = MH_BUF_INIT;
    set(&secret, "s3cret");
    for (size_t i = 0; i < MH_ARRAY_LEN(first_messages); i++) {
        struct imap_sasl x;
        struct mh_buf out = MH_BUF_INIT;
        struct mh_err err;
        imap_sasl_init(&x, first_messages[i].mech);
        x.authcid = first_messages[i].authcid;
        x.authzid = first_messages[i].authzid;
        x.host = "imap.example";
        x.port = 993;
        x.secret = &secret;
        cr_assert_eq(imap_sasl_step(&x, "", 0, &out, &err), 0);
        cr_expect_eq(out.len, first_messages[i].len, "%s: %zu", first_messages[i].name, out.len);
        cr_expect_arr_eq(out.data, first_messages[i].message,
                         MH_MIN(out.len, first_messages[i].len), "%s", first_messages[i].name);
        imap_sasl_done(&x);
        mh_buf_done(&out);
    }
    mh_buf_done(&secret);
}

/* For a login in which nothing but the mechanism matters. */
static void sasl_init(struct imap_sasl *x, enum imap_mech mech, const struct mh_buf *secret)
{
    imap_sasl_init(x, mech);
    x->authcid = x->authzid = x->host = "h";
    x->secret = secret;
}

Test(imap_sasl, challenges_end)
{
    struct mh_buf secret = MH_BUF_INIT;
    struct mh_buf out = MH_BUF_INIT;
    struct mh_err err;
    set(&secret, "s3cret");
    static const struct {
        enum imap_mech mech;
        unsigned steps; /* that have an answer */
    } cases[] = {{IMAP_MECH_PLAIN, 1}, {IMAP_MECH_XOAUTH2, 2}, {IMAP_MECH_OAUTHBEARER, 2}};
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct imap_sasl x;
        sasl_init(&x, cases[i].mech, &secret);
        for (unsigned k = 0; k < cases[i].steps; k++)
            cr_expect_eq(imap_sasl_step(&x, "{}", 2, &out, &err), 0);
        cr_expect_eq(imap_sasl_step(&x, "{}", 2, &out, &err), MH_EAUTH, "%zu", i);
        cr_expect_eq(out.len, 0, "nothing is said behind the end");
        imap_sasl_done(&x);
    }
    mh_buf_done(&secret);
    mh_buf_done(&out);
}

/* The word for the error, and nothing else of what the server sends. */
Test(imap_sasl, oauth_status)
{
    static const struct {
        const char *json;
        const char *status;
    } cases[] = {
        {"{\"status\":\"401\"}", "401"},
        {"{\"status\":\"invalid_token\",\"scope\":\"mail\"}", "invalid_token"},
        {"{ \"scope\" : \"x\" , \"status\" : 400 }", "400"},
        {"{\"status\":\"a.b\"}", "a"},
        {"{\"status\":\"\"}", ""},
        {"{\"status\":{\"a\":1}}", ""},
        {"{\"status\"", ""},
        {"{\"Status\":\"401\"}", ""},
        {"{}", ""},
        {"", ""},
        {"not JSON at all", ""},
        {"{\"status\":\"1234567890123456789012345678901\"}", "1234567890123456789012345678901"},
        {"{\"status\":\"12345678901234567890123456789012\"}", ""}, /* no word: a token, perhaps */
        {"{\"status\":\"123456789012345678901234567890123", ""},
    };
    struct mh_buf secret = MH_BUF_INIT;
    struct mh_buf out = MH_BUF_INIT;
    struct mh_err err;
    set(&secret, "t");
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct imap_sasl x;
        sasl_init(&x, IMAP_MECH_OAUTHBEARER, &secret);
        cr_assert_eq(imap_sasl_step(&x, "", 0, &out, &err), 0);
        cr_assert_eq(imap_sasl_step(&x, cases[i].json, strlen(cases[i].json), &out, &err), 0);
        cr_expect_eq(out.len, 1);
        cr_expect_eq(out.data[0], '\1');
        cr_expect_str_eq(x.oauth_status, cases[i].status, "%s", cases[i].json);
        imap_sasl_done(&x);
    }
    mh_buf_done(&secret);
    mh_buf_done(&out);
}

Test(imap_sasl, ok_without_the_servers_proof_is_no_login)
{
    struct imap_sasl x;
    struct mh_err err;
    imap_sasl_init(&x, IMAP_MECH_SCRAM_SHA_1);
    cr_expect_eq(imap_sasl_finish(&x, &err), MH_EAUTH);
    cr_expect_str_eq(err.reason, "impostor");
    x.scram.is_verified = true;
    cr_expect_eq(imap_sasl_finish(&x, &err), 0);
    imap_sasl_done(&x);
    imap_sasl_init(&x, IMAP_MECH_PLAIN);
    cr_expect_eq(imap_sasl_finish(&x, &err), 0);
    imap_sasl_done(&x);
}
