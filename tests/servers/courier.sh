# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# A scratch Courier 5.0. Sourced by `server`. An instance is four programs: authdaemond with a
# userdb, gam_server (tells the mail processes about changed folders; without it each login takes a
# second), and one couriertcpd for each port.

readonly COURIER_CLIENTS_MAX=1000
readonly COURIER_AUTH_PROCESSES=5

# Debian's settings for the capabilities; ACL, STARTTLS and ENABLE UTF8=ACCEPT are added by the
# server itself.
readonly COURIER_CAPABILITIES='IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT
    THREAD=REFERENCES SORT QUOTA IDLE'

courier_capability_list() {
    local name list=()
    for name in $COURIER_CAPABILITIES; do
        is_hidden "$name" || list+=("$name")
    done
    printf '%s' "${list[*]}${ADDED[*]:+ ${ADDED[*]}}"
}

# courier_settings: the environment of the mail processes, which is all the configuration they have.
# Debian's values, but nothing is emptied out of Trash: a migrated message there is old, and would
# be gone at the next login.
courier_settings() {
    local capabilities
    capabilities=$(courier_capability_list)
    cat <<CONF
IMAP_CAPABILITY=$capabilities
IMAP_CAPABILITY_TLS=$capabilities AUTH=PLAIN
IMAP_KEYWORDS=1
IMAP_ACL=$(is_hidden ACL && printf 0 || printf 1)
IMAP_IDLE_TIMEOUT=60
IMAP_MAILBOX_SANITY_CHECK=1
IMAP_DISABLETHREADSORT=0
IMAP_CHECK_ALL_FOLDERS=0
IMAP_OBSOLETE_CLIENT=0
IMAP_UMASK=022
IMAP_USELOCKS=1
IMAP_ENHANCEDIDLE=0
IMAP_TRASHFOLDERNAME=Trash
IMAP_MOVE_EXPUNGE_TO_TRASH=0
IMAP_SHAREDINDEXFILE=$DIR/etc/shared-index
GAM_CLIENT_ID=mailhaul-$PORT
CONF
    if [[ -n $TLS_PORT ]]; then
        cat <<CONF
COURIERTLS=$PACKAGES_DIR/usr/bin/couriertls
TLS_CERTFILE=$DIR/tls/both.pem
TLS_VERIFYPEER=NONE
CONF
    fi
    if [[ ${#OPTIONS[@]} -gt 0 ]]; then
        printf '%s\n' "${OPTIONS[@]}"
    fi
    printf '%s' "$EXTRA"
}

# courier_make_database NAME: lines of key, tab and value on the standard input become run/NAME.
courier_make_database() {
    local program=$PACKAGES_DIR/usr/lib/courier/courier-authlib/makedatprog
    { cat && printf '.\n'; } | LD_LIBRARY_PATH=$(library_path courier "$PACKAGES_DIR") \
        "$program" - "$DIR/run/$1.new" "$DIR/run/$1" || die "makedatprog made no $1"
}

courier_accounts() {
    local name hash
    # A salt that stays, so that many accounts cost one hash; this guards nothing.
    hash=$(openssl passwd -1 -salt mailhaul "$PASSWORD")
    while read -r name; do
        printf '%s\tuid=%s|gid=%s|home=%s|shell=/bin/false|mail=%s\n' "$name" "$RUN_UID" \
            "$RUN_GID" "$DIR/mail/$name" "$DIR/mail/$name"
    done < <(account_names "$USERS") | courier_make_database userdb.dat
    while read -r name; do
        printf '%s\tsystempw=%s\n' "$name" "$hash"
    done < <(account_names "$USERS") | courier_make_database userdbshadow.dat
}

courier_maildirs() {
    local name folders=()
    while read -r name; do
        folders+=("$DIR/mail/$name/cur" "$DIR/mail/$name/new" "$DIR/mail/$name/tmp")
    done < <(account_names "$USERS")
    mkdir -p "${folders[@]}"
    # The quota lives in each Maildir, in the file maildirsize.
    while [[ -n $QUOTA_BYTES ]] && read -r name; do
        LD_LIBRARY_PATH=$(library_path courier "$PACKAGES_DIR") \
            "$PACKAGES_DIR/usr/bin/maildirmake.courier" -q "${QUOTA_BYTES}S" "$DIR/mail/$name" ||
            die "no quota for $name"
    done < <(account_names "$USERS")
}

courier_prepare() {
    rm -rf "$DIR/run"
    mkdir -p "$DIR"/{etc,run/authd,mail,tmp}
    ln -s "$PACKAGES_DIR/usr/lib/courier-authlib" "$DIR/run/authmodules"
    cat >"$DIR/run/authdaemonrc" <<CONF
authmodulelist="authuserdb"
daemons=$COURIER_AUTH_PROCESSES
DEBUG_LOGIN=0
DEFAULTOPTIONS=""
CONF
    # STARTTLS wants to become the user "courier", whom no machine of ours has.
    printf '%s:x:%s:%s::%s:/bin/false\n' "$RUN_USER" "$RUN_UID" "$RUN_GID" "$DIR" \
        courier "$RUN_UID" "$RUN_GID" "$DIR" >"$DIR/etc/passwd"
    printf '%s:x:%s:\n' "$RUN_GROUP" "$RUN_GID" >"$DIR/etc/group"
    courier_accounts
    courier_maildirs
    courier_settings >"$DIR/etc/environment"
}

# courier_listen PORT [PROGRAM ARG...]: one couriertcpd; the program stands before the login program
# (TLS).
courier_listen() {
    local port=$1 environment
    shift
    mapfile -t environment < <(grep . "$DIR/etc/environment")
    environment+=("LD_LIBRARY_PATH=$(library_path courier "$PACKAGES_DIR")"
        "LD_PRELOAD=$(compgen -G "$PACKAGES_DIR/usr/lib/*-linux-gnu/libnss_wrapper.so")"
        "NSS_WRAPPER_PASSWD=$DIR/etc/passwd" "NSS_WRAPPER_GROUP=$DIR/etc/group")
    spawn "$DIR/run" "${environment[@]}" \
        ${TLS_PORT:+"IMAP_STARTTLS=$([[ $port == "$TLS_PORT" ]] && printf NO || printf YES)"} \
        ${TLS_PORT:+"IMAP_TLS=$([[ $port == "$TLS_PORT" ]] && printf 1 || printf 0)"} -- \
        "$PACKAGES_DIR/usr/sbin/couriertcpd" "-address=$LOOPBACK" \
        "-maxprocs=$COURIER_CLIENTS_MAX" "-maxperip=$COURIER_CLIENTS_MAX" \
        -nodnslookup -noidentlookup "$port" "$@" \
        "$PACKAGES_DIR/usr/lib/courier/courier/imaplogin" "$PACKAGES_DIR/usr/bin/imapd" .
}

courier_launch() {
    local library_path
    library_path=LD_LIBRARY_PATH=$(library_path courier "$PACKAGES_DIR")
    courier_listen "$PORT"
    [[ -z $TLS_PORT ]] ||
        courier_listen "$TLS_PORT" "$PACKAGES_DIR/usr/bin/couriertls" -server -tcpd
    spawn "$DIR/run" "$library_path" -- "$PACKAGES_DIR/usr/lib/courier/courier-authlib/authdaemond"
    spawn "$DIR/run" "$library_path" -- \
        "$PACKAGES_DIR/usr/libexec/gam_server" --notimeout "mailhaul-$PORT"
    wait_listening "${LEADERS[0]}" "$PORT" yes &&
        { [[ -z $TLS_PORT ]] || wait_listening "${LEADERS[1]}" "$TLS_PORT" no; } &&
        courier_wait_helpers
}

# courier_wait_helpers: a greeting does not need them, a login does.
courier_wait_helpers() {
    local deadline_ms gamin="@/tmp/fam-$RUN_USER-mailhaul-$PORT"
    deadline_ms=$(($(now_ms) + READY_TIMEOUT_S * 1000))
    until [[ -S $DIR/run/authd/socket ]] && grep -qF "$gamin" /proc/net/unix; do
        [[ $(now_ms) -lt $deadline_ms ]] || return 1
        sleep "$POLL_S"
    done
}

courier_finish() {
    :
}

# courier_exec COMMAND ARG...: one of the tools of Courier (maildiracl, maildirkw ...), in the
# folder of the mailboxes.
courier_exec() {
    local command=$1
    shift
    cd "$DIR/mail"
    "${RUN_AS[@]}" env "LD_LIBRARY_PATH=$(library_path courier "$PACKAGES_DIR")" \
        "$PACKAGES_DIR/usr/bin/$command" "$@"
}
