# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# A scratch Dovecot 2.3. Sourced by `server`.

# What Dovecot 2.3.19 announces after login with the plugins below. As soon as one is hidden or
# added the list has to be given as a whole, and it is then announced before the login as well.
readonly DOVECOT_CAPABILITIES='IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY
    THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT
    CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES
    WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE
    SAVEDATE LITERAL+ NOTIFY METADATA SPECIAL-USE COMPRESS=DEFLATE QUOTA ACL RIGHTS=texk'

readonly DOVECOT_CLIENTS_MAX=1500

# dovecot_capability_line: the imap_capability setting, when anything is hidden or added.
dovecot_capability_line() {
    local name list=()
    [[ ${#HIDDEN[@]} -gt 0 || ${#ADDED[@]} -gt 0 ]] || return 0
    for name in $DOVECOT_CAPABILITIES; do
        if ! is_hidden "$name" && ! { [[ $name == RIGHTS=* ]] && is_hidden ACL; }; then
            list+=("$name")
        fi
    done
    printf 'imap_capability = %s\n' "${list[*]} ${ADDED[*]}"
}

# dovecot_accounts: the password files; the second field is the password in the clear, which is what
# lets SCRAM and every other mechanism work with one entry.
dovecot_accounts() {
    local name
    while read -r name; do
        printf '%s:{PLAIN}%s:%s:%s::%s::\n' "$name" "$PASSWORD" "$RUN_UID" "$RUN_GID" \
            "$DIR/home/$name"
    done < <(account_names "$USERS") >"$DIR/etc/users"
    printf '%s:{PLAIN}%s\n' "$ADMIN" "$ADMIN_PASSWORD" >"$DIR/etc/masters"
}

dovecot_mail_location() {
    if [[ -n $MAILDIR_ROOT ]]; then
        printf 'maildir:%s/%%u' "$MAILDIR_ROOT"
    else
        printf '%s:%s/mail/%%u' "$STORE" "$DIR"
    fi
}

# dovecot_special_use: one mailbox block for each NAME=\Attribute.
dovecot_special_use() {
    local entry
    for entry in "${SPECIAL_USE[@]}"; do
        [[ $entry != none ]] || continue
        printf '  mailbox "%s" {\n    special_use = %s\n  }\n' "${entry%%=*}" "${entry#*=}"
    done
}

dovecot_tls_settings() {
    if [[ -z $TLS_PORT ]]; then
        printf 'ssl = no\n'
        return 0
    fi
    printf 'ssl = yes\nssl_cert = <%s\nssl_key = <%s\nssl_dh = <%s\n' "$DIR/tls/cert.pem" \
        "$DIR/tls/key.pem" "$PACKAGES_DIR/usr/share/dovecot/dh.pem"
}

dovecot_imaps_listener() {
    if [[ -n $TLS_PORT ]]; then
        printf '  inet_listener imaps {\n    port = %s\n    ssl = yes\n  }\n' "$TLS_PORT"
    else
        printf '  inet_listener imaps {\n    port = 0\n  }\n'
    fi
}

# dovecot_settings: the whole configuration. Nothing is chrooted and every process runs as the one
# user.
dovecot_settings() {
    cat <<CONF
base_dir = $DIR/run
state_dir = $DIR/state
instance_name = ${DIR##*/}
libexec_dir = $PACKAGES_DIR/usr/lib/dovecot
mail_plugin_dir = $PACKAGES_DIR/usr/lib/dovecot/modules
login_plugin_dir = $PACKAGES_DIR/usr/lib/dovecot/modules/login
import_environment = LD_LIBRARY_PATH TZ
log_path = $LOG
mail_temp_dir = $DIR/tmp
listen = $LOOPBACK
protocols = imap
default_login_user = $RUN_USER
default_internal_user = $RUN_USER
default_internal_group = $RUN_GROUP
first_valid_uid = 1
$(dovecot_tls_settings)

# Accounts: every mechanism that needs a password, and the master user as user01*admin or as the
# authorisation identity of PLAIN. A refused login is answered within half a second, which is built
# in.
disable_plaintext_auth = no
auth_mechanisms = plain login scram-sha-1 scram-sha-256 xoauth2 oauthbearer
auth_master_user_separator = *
auth_failure_delay = 0
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = $DIR/etc/oauth2.conf
}
passdb {
  driver = passwd-file
  mechanisms = plain login
  args = $DIR/etc/masters
  master = yes
}
passdb {
  driver = passwd-file
  mechanisms = plain login scram-sha-1 scram-sha-256
  args = $DIR/etc/users
}
userdb {
  driver = passwd-file
  args = $DIR/etc/users
}

mail_location = $(dovecot_mail_location)
mail_fsync = $FSYNC
mail_plugins = acl quota zlib
mail_attribute_dict = file:%h/attributes
namespace inbox {
  inbox = yes
  separator = $SEPARATOR
  prefix = "$PREFIX"
$(dovecot_special_use)
}
protocol imap {
  mail_plugins = \$mail_plugins imap_acl imap_quota imap_zlib
  imap_metadata = yes
  mail_max_userip_connections = 0
}
plugin {
  acl = vfile
  # A master user acts with the rights of the account's owner.
  acl_user = %u
  quota = count:User quota
  quota_vsizes = yes
  ${QUOTA_BYTES:+quota_rule = *:bytes=$QUOTA_BYTES}
}
$(dovecot_capability_line)

# Logins by the hundred: login processes that live on and serve many, mail processes that are kept
# for the next client, no limit that 600 connections would meet.
default_vsz_limit = 0
service imap-login {
  chroot =
  service_count = 0
  process_min_avail = 1
  process_limit = 2
  client_limit = $DOVECOT_CLIENTS_MAX
  inet_listener imap {
    port = $PORT
  }
$(dovecot_imaps_listener)
}
service imap {
  service_count = 100
  process_min_avail = 2
  process_limit = $DOVECOT_CLIENTS_MAX
}
service auth {
  client_limit = $((DOVECOT_CLIENTS_MAX * 2))
}
service anvil {
  chroot =
  client_limit = $((DOVECOT_CLIENTS_MAX * 2))
  # No growing delay after wrong passwords.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  client_limit = $((DOVECOT_CLIENTS_MAX * 2))
}
service imap-urlauth-login {
  chroot =
}
CONF
    printf '%s' "$EXTRA"
    if [[ ${#OPTIONS[@]} -gt 0 ]]; then
        printf '%s\n' "${OPTIONS[@]/=/ = }"
    fi
}

# Access tokens are checked against a key in a file: no authorisation server is needed.
dovecot_oauth() {
    mkdir -p "$DIR/etc/keys/default/HS256"
    if [[ ! -s $DIR/etc/keys/default/HS256/default ]]; then
        openssl rand -hex 32 | tr -d '\n' >"$DIR/etc/token-key"
        base64 -w 0 <"$DIR/etc/token-key" >"$DIR/etc/keys/default/HS256/default"
    fi
    cat >"$DIR/etc/oauth2.conf" <<CONF
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$DIR/etc/keys/
username_attribute = sub
CONF
}

dovecot_prepare() {
    mkdir -p "$DIR"/{etc,home,state,tmp}
    rm -rf "$DIR/run"
    mkdir -p "$DIR/run"
    ln -s "$PACKAGES_DIR/usr/lib/dovecot/modules" "$DIR/run/modules"
    ln -s "$PACKAGES_DIR/usr/bin/doveconf" "$DIR/run/doveconf"
    [[ -n $MAILDIR_ROOT ]] || mkdir -p "$DIR/mail"
    dovecot_accounts
    dovecot_oauth
    dovecot_settings >"$DIR/etc/dovecot.conf"
}

dovecot_launch() {
    spawn "$DIR/run" "LD_LIBRARY_PATH=$(library_path dovecot "$PACKAGES_DIR")" -- \
        "$PACKAGES_DIR/usr/sbin/dovecot" -F -c "$DIR/etc/dovecot.conf"
    wait_listening "${LEADERS[0]}" "$PORT" yes
}

dovecot_finish() {
    :
}

# dovecot_exec COMMAND ARG...: doveadm or doveconf on this instance.
dovecot_exec() {
    local command=$1
    shift
    cd "$DIR/run" || die "no $DIR/run"
    "${RUN_AS[@]}" env "LD_LIBRARY_PATH=$(library_path dovecot "$PACKAGES_DIR")" \
        "$PACKAGES_DIR/usr/bin/$command" -c "$DIR/etc/dovecot.conf" "$@"
}
