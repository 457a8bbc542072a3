# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# A scratch Cyrus 3.6. Sourced by `server`. Accounts are in a sasldb of its own; mailboxes are
# created by the administrator over IMAP once the server answers.

readonly CYRUS_CLIENTS_MAX=2000
readonly CYRUS_PREFORK=2

# cyrus_environment: what the servers and the tools are started with. The logs of Cyrus go to syslog
# and nowhere else, unless the preloaded library is there.
cyrus_environment() {
    printf '%s\n' "LD_LIBRARY_PATH=$(library_path cyrus "$PACKAGES_DIR")" \
        "SASL_PATH=$(compgen -G "$PACKAGES_DIR/usr/lib/*-linux-gnu/sasl2")"
    if [[ -f $PACKAGES_DIR/syslog_file.so ]]; then
        printf '%s\n' "LD_PRELOAD=$PACKAGES_DIR/syslog_file.so" "MH_SYSLOG_FILE=$LOG"
    fi
}

cyrus_tls_settings() {
    if [[ -n $TLS_PORT ]]; then
        printf 'tls_server_cert: %s\ntls_server_key: %s\n' "$DIR/tls/cert.pem" "$DIR/tls/key.pem"
    fi
}

# cyrus_settings: imapd.conf. The last of two equal keys does not win in Cyrus, it is an error: what
# the caller sets is left out here.
cyrus_settings() {
    local key line given unixhierarchysep=no
    [[ $SEPARATOR != / ]] || unixhierarchysep=yes
    given=$(printf '%s\n' "${OPTIONS[@]/=/:}" "$EXTRA" | sed -n 's/^\([a-z0-9_-]*\):.*/ \1 /p')
    while IFS= read -r line; do
        key=${line%%:*}
        if [[ -n $line && $given != *" $key "* ]]; then
            printf '%s\n' "$line"
        fi
    done <<CONF
configdirectory: $DIR/conf
proc_path: $DIR/conf/proc
mboxname_lockpath: $DIR/conf/lock
temp_path: $DIR/tmp
sievedir: $DIR/conf/sieve
defaultpartition: default
partition-default: $DIR/mail
cyrus_user: $RUN_USER
cyrus_group: $RUN_GROUP
servername: localhost
syslog_prefix: cyrus
admins: $ADMIN
proxyservers: $ADMIN
unix_group_enable: 0
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: $DIR/etc/sasldb2
sasl_mech_list: PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256
altnamespace: no
unixhierarchysep: $unixhierarchysep
umask: 022
failedloginpause: 0
${HIDDEN[*]:+suppress_capabilities: ${HIDDEN[*]}}
$(cyrus_tls_settings)
CONF
    if [[ ${#OPTIONS[@]} -gt 0 ]]; then
        printf '%s\n' "${OPTIONS[@]/=/: }"
    fi
    printf '%s' "$EXTRA"
}

cyrus_services() {
    local imapd="$PACKAGES_DIR/usr/lib/cyrus/bin/imapd"
    printf 'START {\n}\nSERVICES {\n'
    printf '  imap cmd="%s -C %s" listen="%s:%s" proto="tcp4" prefork=%s maxchild=%s\n' "$imapd" \
        "$DIR/etc/imapd.conf" "$LOOPBACK" "$PORT" "$CYRUS_PREFORK" "$CYRUS_CLIENTS_MAX"
    if [[ -n $TLS_PORT ]]; then
        printf '  imaps cmd="%s -s -C %s" listen="%s:%s" proto="tcp4" prefork=1 maxchild=%s\n' \
            "$imapd" "$DIR/etc/imapd.conf" "$LOOPBACK" "$TLS_PORT" "$CYRUS_CLIENTS_MAX"
    fi
    printf '}\nDAEMON {\n  idled cmd="%s -C %s"\n}\nEVENTS {\n}\n' \
        "$PACKAGES_DIR/usr/lib/cyrus/bin/idled" "$DIR/etc/imapd.conf"
}

# cyrus_accounts: the sasldb, in one go: its keys are name, realm and property with NULs between,
# its values the passwords in the clear (which is what lets SCRAM work).
cyrus_accounts() {
    local name
    rm -f "$DIR/etc/sasldb2"
    {
        printf 'VERSION=3\nformat=print\ntype=hash\nHEADER=END\n'
        printf ' %s\\00localhost\\00userPassword\n %s\n' "$ADMIN" "$ADMIN_PASSWORD"
        while read -r name; do
            printf ' %s\\00localhost\\00userPassword\n %s\n' "$name" "$PASSWORD"
        done < <(account_names "$USERS")
        printf 'DATA=END\n'
    } | LD_LIBRARY_PATH=$(library_path cyrus "$PACKAGES_DIR") \
        "$PACKAGES_DIR/usr/bin/db5.3_load" "$DIR/etc/sasldb2" || die "db5.3_load made no sasldb"
}

cyrus_prepare() {
    mkdir -p "$DIR"/{etc,mail,tmp} \
        "$DIR"/conf/{db,socket,log,msg,ptclient,quota,user,proc,lock,sieve,backup}
    cyrus_settings >"$DIR/etc/imapd.conf"
    cyrus_services >"$DIR/etc/cyrus.conf"
    cyrus_accounts
}

cyrus_launch() {
    local environment bin=$PACKAGES_DIR/usr/lib/cyrus/bin
    mapfile -t environment < <(cyrus_environment)
    # Creates the databases, or recovers those of an instance that was killed.
    "${RUN_AS[@]}" env "${environment[@]}" "$bin/ctl_cyrusdb" -C "$DIR/etc/imapd.conf" -r \
        </dev/null >>"$LOG" 2>&1 || die "ctl_cyrusdb failed, see $LOG"
    spawn "$DIR" "${environment[@]}" -- "$bin/master" -C "$DIR/etc/imapd.conf" \
        -M "$DIR/etc/cyrus.conf" -p "$DIR/conf/master.pid"
    wait_listening "${LEADERS[0]}" "$PORT" yes &&
        { [[ -z $TLS_PORT ]] || wait_listening "${LEADERS[0]}" "$TLS_PORT" no; }
}

# cyrus_finish: the mailboxes and quotas, by the administrator.
cyrus_finish() {
    local name root
    imap_open "$PORT" && imap_command "LOGIN $ADMIN $ADMIN_PASSWORD" ||
        die "the administrator cannot log in: $REPLY_LINE"
    imap_command NAMESPACE || die "no NAMESPACE: $REPLY_LINE"
    root='user.'
    [[ $REPLY_TEXT != *'"user/"'* ]] || root='user/'
    while read -r name; do
        imap_command "CREATE $root$name" || [[ $REPLY_LINE == *'already exists'* ]] ||
            die "no mailbox for $name: $REPLY_LINE"
        if [[ -n $QUOTA_BYTES ]]; then
            imap_command "SETQUOTA $root$name (STORAGE $(((QUOTA_BYTES + 1023) / 1024)))" ||
                die "no quota for $name: $REPLY_LINE"
        fi
    done < <(account_names "$USERS")
    imap_close
}

# cyrus_exec COMMAND ARG...: one of the tools of Cyrus (quota, reconstruct, ctl_mboxlist ...) on
# this instance.
cyrus_exec() {
    local command=$1 environment
    shift
    mapfile -t environment < <(cyrus_environment)
    cd "$DIR"
    "${RUN_AS[@]}" env "${environment[@]}" "$PACKAGES_DIR/usr/lib/cyrus/bin/$command" \
        -C "$DIR/etc/imapd.conf" "$@"
}
