/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a server announces, and what of it the engine is told. Pure but for imap_caps_fill(). */
#include <string.h>

#include "connectors/imap/imap_priv.h"

static const struct {
    const char *token;
    enum imap_cap cap;
} known[] = {
    {"IMAP4REV1", IMAP_CAP_IMAP4REV1},
    {"IMAP4REV2", IMAP_CAP_IMAP4REV2},
    {"STARTTLS", IMAP_CAP_STARTTLS},
    {"LOGINDISABLED", IMAP_CAP_LOGINDISABLED},
    {"SASL-IR", IMAP_CAP_SASL_IR},
    {"LITERAL+", IMAP_CAP_LITERAL_PLUS},
    {"LITERAL-", IMAP_CAP_LITERAL_MINUS},
    {"ID", IMAP_CAP_ID},
    {"ENABLE", IMAP_CAP_ENABLE},
    {"NAMESPACE", IMAP_CAP_NAMESPACE},
    {"UIDPLUS", IMAP_CAP_UIDPLUS},
    {"MULTIAPPEND", IMAP_CAP_MULTIAPPEND},
    {"CONDSTORE", IMAP_CAP_CONDSTORE},
    {"QRESYNC", IMAP_CAP_QRESYNC},
    {"LIST-EXTENDED", IMAP_CAP_LIST_EXTENDED},
    {"LIST-STATUS", IMAP_CAP_LIST_STATUS},
    {"LIST-METADATA", IMAP_CAP_LIST_METADATA},
    {"STATUS=SIZE", IMAP_CAP_STATUS_SIZE},
    {"SPECIAL-USE", IMAP_CAP_SPECIAL_USE},
    {"CREATE-SPECIAL-USE", IMAP_CAP_CREATE_SPECIAL_USE},
    {"ACL", IMAP_CAP_ACL},
    {"METADATA", IMAP_CAP_METADATA},
    {"QUOTA", IMAP_CAP_QUOTA},
    {"COMPRESS=DEFLATE", IMAP_CAP_COMPRESS},
    {"UTF8=ACCEPT", IMAP_CAP_UTF8_ACCEPT},
    {"UTF8=ONLY", IMAP_CAP_UTF8_ACCEPT},
    {"OBJECTID", IMAP_CAP_OBJECTID},
    {"X-GM-EXT-1", IMAP_CAP_X_GM_EXT_1},
    {"ESEARCH", IMAP_CAP_ESEARCH},
    {"APPENDLIMIT", IMAP_CAP_APPENDLIMIT},
    {"MOVE", IMAP_CAP_MOVE},
    {"IDLE", IMAP_CAP_IDLE},
    {"NOTIFY", IMAP_CAP_NOTIFY},
    {"UNSELECT", IMAP_CAP_UNSELECT},
    {"AUTH=PLAIN", IMAP_CAP_AUTH_PLAIN},
    {"AUTH=SCRAM-SHA-1", IMAP_CAP_AUTH_SCRAM_SHA_1},
    {"AUTH=SCRAM-SHA-256", IMAP_CAP_AUTH_SCRAM_SHA_256},
    {"AUTH=XOAUTH2", IMAP_CAP_AUTH_XOAUTH2},
    {"AUTH=OAUTHBEARER", IMAP_CAP_AUTH_OAUTHBEARER},
};

/* RFC 9051 appendix E: extensions that IMAP4rev2 has built in. */
static const enum imap_cap in_rev2[] = {
    IMAP_CAP_NAMESPACE, IMAP_CAP_UIDPLUS,       IMAP_CAP_ENABLE,      IMAP_CAP_IDLE,
    IMAP_CAP_SASL_IR,   IMAP_CAP_LIST_EXTENDED, IMAP_CAP_LIST_STATUS, IMAP_CAP_MOVE,
    IMAP_CAP_UNSELECT,  IMAP_CAP_LITERAL_MINUS, IMAP_CAP_SPECIAL_USE, IMAP_CAP_STATUS_SIZE,
    IMAP_CAP_ESEARCH,
};

void imap_capset_reset(struct imap_capset *c)
{
    *c = (struct imap_capset){.is_known = false};
}

static void add_text(struct imap_capset *c, const char *token, size_t len)
{
    size_t at = strlen(c->text);
    if (at + (at > 0) + len + 1 > sizeof c->text)
        return;
    for (size_t i = 0; i < len; i++) {
        if (token[i] <= 0x20 || token[i] > 0x7e)
            return;
    }
    if (at > 0)
        c->text[at++] = ' ';
    memcpy(c->text + at, token, len);
    c->text[at + len] = '\0';
}

void imap_capset_add(struct imap_capset *c, const char *token, size_t len)
{
    static const char limit[] = "APPENDLIMIT=";
    c->is_known = true;
    add_text(c, token, len);
    for (size_t i = 0; i < MH_ARRAY_LEN(known); i++) {
        if (mh_mem_ieq(token, len, known[i].token))
            c->bits |= UINT64_C(1) << known[i].cap;
    }
    size_t n = sizeof limit - 1;
    if (len > n && mh_mem_ieq(token, n, limit))
        if (!mh_parse_u64(token + n, len - n, INT64_MAX, &c->append_limit))
            c->append_limit = 0;
}

void imap_capset_add_all(struct imap_capset *c, const char *tokens, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t end = i;
        while (end < len && tokens[end] != ' ')
            end++;
        if (end > i)
            imap_capset_add(c, tokens + i, end - i);
        i = end + 1;
    }
}

/* A server that announces both speaks IMAP4rev1 until IMAP4rev2 is enabled (RFC 9051 section
 * 6.3.1), which we never do; its extensions are then announced one by one. */
void imap_capset_finish(struct imap_capset *c)
{
    if (!imap_has(c, IMAP_CAP_IMAP4REV2) || imap_has(c, IMAP_CAP_IMAP4REV1))
        return;
    for (size_t i = 0; i < MH_ARRAY_LEN(in_rev2); i++)
        c->bits |= UINT64_C(1) << in_rev2[i];
}

static void fill_tls(struct mh_session *s)
{
    const struct mh_conn_info *info = s->conn ? mh_conn_info(s->conn) : NULL;
    struct mh_caps *caps = &s->caps;
    caps->cert_days_left = -1;
    caps->tls[0] = '\0';
    if (!info || !info->tls)
        return;
    int64_t left_s = info->cert_not_after - mh_clock_wall_s();
    caps->cert_days_left = left_s > 0 ? left_s / (24 * 3600) : 0;
    mh_assert(sizeof caps->tls >= sizeof info->tls_version + 1);
    size_t version = strlen(info->tls_version);
    size_t cipher = MH_MIN(strlen(info->tls_cipher), sizeof caps->tls - version - 2);
    memcpy(caps->tls, info->tls_version, version);
    caps->tls[version] = ' ';
    memcpy(caps->tls + version + 1, info->tls_cipher, cipher);
    caps->tls[version + 1 + cipher] = '\0';
}

void imap_caps_fill(struct mh_session *s)
{
    const struct imap_capset *c = &s->capset;
    struct mh_caps *caps = &s->caps;
    *caps = (struct mh_caps){
        .multiappend = imap_has(c, IMAP_CAP_MULTIAPPEND),
        .uidplus = imap_has(c, IMAP_CAP_UIDPLUS),
        .keywords = true, /* said per folder only: PERMANENTFLAGS */
        .condstore = imap_has(c, IMAP_CAP_CONDSTORE) || imap_has(c, IMAP_CAP_QRESYNC),
        .qresync = imap_has(c, IMAP_CAP_QRESYNC),
        .list_status = imap_has(c, IMAP_CAP_LIST_STATUS),
        .special_use = imap_has(c, IMAP_CAP_SPECIAL_USE),
        .create_special_use = imap_has(c, IMAP_CAP_CREATE_SPECIAL_USE),
        .acl = imap_has(c, IMAP_CAP_ACL),
        .metadata = imap_has(c, IMAP_CAP_METADATA),
        .quota = imap_has(c, IMAP_CAP_QUOTA),
        .move = imap_has(c, IMAP_CAP_MOVE) || imap_has(c, IMAP_CAP_UIDPLUS),
        .rename = true,
        .watch = imap_has(c, IMAP_CAP_IDLE),
        .watch_all = imap_has(c, IMAP_CAP_IDLE) && imap_has(c, IMAP_CAP_NOTIFY),
        .object_id = imap_has(c, IMAP_CAP_OBJECTID) || imap_has(c, IMAP_CAP_X_GM_EXT_1),
        .append_sync_literal = imap_literal_mode(s) != MH_LITERAL_PLUS,
        .can_compress = imap_has(c, IMAP_CAP_COMPRESS),
        .compressed = s->is_compressed,
        .round_trip_ms = s->round_trip_ms,
        .append_limit = c->append_limit,
        .separator = s->names.separator,
    };
    memcpy(caps->extensions, c->text, sizeof caps->extensions);
    const char *name = s->id_name[0] ? s->id_name : s->greeting_text;
    size_t len = MH_MIN(strlen(name), sizeof caps->server_name - 1);
    memcpy(caps->server_name, name, len);
    caps->server_name[len] = '\0';
    fill_tls(s);
}
