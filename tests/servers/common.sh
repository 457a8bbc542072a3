# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034 # these are read by the scripts that source this
#
# What the scripts in this folder share: messages, ports, the unprivileged user, processes of an
# instance, readiness, certificates. Sourced by `server` and by `selftest`; it does nothing by
# itself.
#
# Everything about a running instance hangs on DIR/instance, a file of shell assignments. Processes
# are found by session: each top-level process of an instance is started as a session leader, so
# that its children can be found after it died. Nothing is ever stopped by name.

readonly LOOPBACK=127.0.0.1
# Below the kernel's range for outgoing connections, so that none of those sits on a chosen port.
readonly PORT_MIN=20000
readonly PORT_MAX=32000
# sockaddr_un holds 108 bytes, and the longest socket name below the folder needs 31 of them.
readonly DIR_LENGTH_MAX=76
readonly OPEN_FILES_MAX=16384
readonly POLL_S=0.02
readonly READY_TIMEOUT_S=15
readonly STOP_TIMEOUT_S=10
# What the top processes have to stop the others themselves.
readonly STOP_LEADERS_MS=100
# With another port each, when somebody was faster at binding it.
readonly START_TRIES=5

# Of what fetch-packages leaves; raised for a kind when `server` needs more than it left before.
declare -Ar PACKAGES_FORMAT=([dovecot]=1 [cyrus]=2 [courier]=1)

note() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    note "$*"
    exit 1
}

# now_ms: milliseconds of the wall clock; only differences are used, and only to bound loops.
now_ms() {
    local t=${EPOCHREALTIME/[.,]/}
    printf '%s' "${t%???}"
}

# --- the user that the servers run as ------------------------------------------------------------

# RUN_AS is the command prefix that turns the caller into that user; empty for an ordinary user.
# Servers never run as root: started by root they run as `nobody` (or $MH_SERVER_USER), and
# everything below the scratch folder is given to that user. When this user cannot even walk to the
# folders (a checkout below /root), it keeps the one capability to override file permissions: files
# only.
RUN_AS=()
RUN_USER=
RUN_GROUP=
RUN_UID=
RUN_GID=

set_run_user() {
    if [[ $EUID -ne 0 ]]; then
        RUN_USER=$(id -un 2>/dev/null) || die "user id $EUID has no name, which the servers need"
    else
        RUN_USER=${MH_SERVER_USER:-nobody}
        id -u "$RUN_USER" >/dev/null 2>&1 || die "no such user: $RUN_USER"
    fi
    RUN_UID=$(id -u "$RUN_USER")
    RUN_GID=$(id -g "$RUN_USER")
    RUN_GROUP=$(id -gn "$RUN_USER")
    [[ $RUN_UID -ne 0 ]] ||
        die "the servers do not run as root: let MH_SERVER_USER be an ordinary user"
    if [[ $EUID -eq 0 ]]; then
        RUN_AS=(setpriv "--reuid=$RUN_UID" "--regid=$RUN_GID" --clear-groups)
    fi
}

# can_use FOLDER...: whether the run user gets there. By stat(2), since access(2) leaves out what a
# process may do by capability.
can_use() {
    local folder
    for folder in "$@"; do
        "${RUN_AS[@]}" test -e "$folder/." 2>/dev/null || return 1
    done
}

# reach_folders FOLDER...: makes sure that the run user gets there, see above.
reach_folders() {
    if can_use "$@"; then
        return 0
    fi
    [[ $EUID -eq 0 ]] || die "no access to all of these: $*"
    RUN_AS+=(--securebits=+no_setuid_fixup --inh-caps=+dac_override --ambient-caps=+dac_override)
    can_use "$@" || die "user $RUN_USER cannot reach all of these, use others: $*"
}

# give_to_run_user PATH...: changes the owner of what is not yet the run user's; never follows
# links.
give_to_run_user() {
    if [[ $EUID -eq 0 ]]; then
        find "$@" ! -user "$RUN_USER" -exec chown -h "$RUN_UID:$RUN_GID" {} +
    fi
}

# --- ports ---------------------------------------------------------------------------------------

# listener_inode PORT: the inode of the socket that listens on 127.0.0.1:PORT; empty when none does.
listener_inode() {
    local wanted slot at remote state rest inode fields
    printf -v wanted '0100007F:%04X' "$1"
    while read -r slot at remote state rest; do
        if [[ $at == "$wanted" && $state == 0A ]]; then
            # The inode is the tenth field of the line, the sixth of the rest.
            read -r -a fields <<<"$rest"
            inode=${fields[5]}
            printf '%s' "$inode"
            return 0
        fi
    done </proc/net/tcp
    : "$slot" "$remote"
}

# is_port_taken PORT: whether any socket of this machine uses the local port, in whatever state.
is_port_taken() {
    local wanted table
    printf -v wanted ':%04X ' "$1"
    for table in /proc/net/tcp /proc/net/tcp6; do
        if [[ -r $table ]] && grep -qE "^ *[0-9]+: [0-9A-F]+$wanted" "$table"; then
            return 0
        fi
    done
    return 1
}

# free_port: a port that is free now. Somebody can still be faster: callers check who listens.
free_port() {
    local port try
    for ((try = 0; try < 1000; try++)); do
        port=$((PORT_MIN + SRANDOM % (PORT_MAX - PORT_MIN)))
        if ! is_port_taken "$port"; then
            printf '%s' "$port"
            return 0
        fi
    done
    die "no free port between $PORT_MIN and $PORT_MAX"
}

# --- processes -----------------------------------------------------------------------------------

# process_stat PID: sets STAT_PARENT, STAT_SESSION, STAT_STATE and STAT_START; false when it is
# gone.
process_stat() {
    local line fields
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The command name is in parentheses and may contain anything, a parenthesis included.
    read -r -a fields <<<"${line##*) }"
    STAT_STATE=${fields[0]}
    STAT_PARENT=${fields[1]}
    STAT_SESSION=${fields[3]}
    STAT_START=${fields[19]}
}

# file_limit: how many open files a server may have: the hard limit, bounded because some programs
# close all of them one by one when they start.
file_limit() {
    local limit
    limit=$(ulimit -Hn)
    if [[ $limit == unlimited || $limit -gt $OPEN_FILES_MAX ]]; then
        limit=$OPEN_FILES_MAX
    fi
    printf '%s' "$limit"
}

# spawn FOLDER NAME=VALUE... -- COMMAND...: starts a session leader of this instance in that folder,
# with exactly this environment and its output in the log, appends it to LEADERS as pid:start-time,
# and records that.
spawn() {
    local folder=$1 environment=()
    shift
    while [[ $1 != -- ]]; do
        environment+=("$1")
        shift
    done
    shift
    (
        cd "$folder"
        ulimit -Sn "$(file_limit)"
        exec setsid "${RUN_AS[@]}" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "HOME=$DIR" \
            ${TZ:+"TZ=$TZ"} "${environment[@]}" "$@" \
            </dev/null >>"$LOG" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    ) &
    local pid=$!
    # A process that died at once has no start time any more; 0 matches nothing.
    STAT_START=0
    process_stat "$pid" || true
    LEADERS+=("$pid:$STAT_START")
    save_instance
}

# instance_processes LEADER...: prints the pids of all living processes of the instance: the
# leaders, their sessions, and whatever descends from either.
instance_processes() {
    local leader pid entry again
    local -A ours=() parent_of=()
    local -A sessions=()
    for leader in "$@"; do
        pid=${leader%:*}
        # Another process may have got the number since; then the session is not ours either.
        if process_stat "$pid" && [[ $STAT_START != "${leader#*:}" ]]; then
            continue
        fi
        sessions[$pid]=1
    done
    [[ ${#sessions[@]} -gt 0 ]] || return 0
    for entry in /proc/[0-9]*; do
        pid=${entry#/proc/}
        process_stat "$pid" || continue
        [[ $STAT_STATE != Z && $STAT_STATE != X ]] || continue
        parent_of[$pid]=$STAT_PARENT
        if [[ -n ${sessions[$pid]:-} || -n ${sessions[$STAT_SESSION]:-} ]]; then
            ours[$pid]=1
        fi
    done
    again=1
    while [[ $again -eq 1 ]]; do
        again=0
        for pid in "${!parent_of[@]}"; do
            if [[ -z ${ours[$pid]:-} && -n ${ours[${parent_of[$pid]}]:-} ]]; then
                ours[$pid]=1
                again=1
            fi
        done
    done
    [[ ${#ours[@]} -eq 0 ]] || printf '%s\n' "${!ours[@]}"
}

# signal_all SIGNAL PID...: ignores those that are gone already.
signal_all() {
    local signal=$1 pid
    shift
    for pid in "$@"; do
        kill -s "$signal" "$pid" 2>/dev/null || true
    done
}

# only_named NAMES PID...: whether each of the processes has one of these command names.
only_named() {
    local names=$1 pid comm
    shift
    for pid in "$@"; do
        { read -r comm <"/proc/$pid/comm"; } 2>/dev/null || continue
        [[ " $names " == *" $comm "* ]] || return 1
    done
}

# stop_processes TIMEOUT_S LINGERING LEADER...: TERM to the leaders, a moment later to everything (a
# mail process with a client outlives its Dovecot otherwise), in the end KILL; returns when nothing
# of the instance lives. With timeout 0 it is KILL at once. LINGERING are the command names of
# processes that have nothing left to do once they are alone (Dovecot's master waits a second for
# its own log process).
stop_processes() {
    local timeout_s=$1 lingering=$2 start_ms spent_ms pids leader stage=0
    shift 2
    start_ms=$(now_ms)
    if [[ $timeout_s -gt 0 ]]; then
        mapfile -t pids < <(instance_processes "$@")
        for leader in "$@"; do
            if [[ " ${pids[*]} " == *" ${leader%:*} "* ]]; then
                signal_all TERM "${leader%:*}"
            fi
        done
    fi
    while mapfile -t pids < <(instance_processes "$@") && [[ ${#pids[@]} -gt 0 ]]; do
        spent_ms=$(($(now_ms) - start_ms))
        if [[ $spent_ms -ge $((timeout_s * 1000)) ]] || only_named "$lingering" "${pids[@]}"; then
            signal_all KILL "${pids[@]}"
        elif [[ $stage -eq 0 && $spent_ms -ge $STOP_LEADERS_MS ]]; then
            stage=1
            signal_all TERM "${pids[@]}"
        fi
        if [[ $spent_ms -ge $(((timeout_s + 5) * 1000)) ]]; then
            die "these processes do not end: ${pids[*]}"
        fi
        sleep "$POLL_S"
    done
}

# --- readiness -----------------------------------------------------------------------------------

# greeting PORT: true when an IMAP server there says it is ready; says goodbye to it.
greeting() {
    (
        exec 3<>"/dev/tcp/$LOOPBACK/$1"
        while IFS= read -r -t "$READY_TIMEOUT_S" line <&3; do
            case $line in
            '* OK Waiting '*) ;; # Dovecot, while its authentication process starts
            '* OK'*)
                printf 'z LOGOUT\r\n' >&3
                while IFS= read -r -t "$READY_TIMEOUT_S" line <&3; do :; done
                exit 0
                ;;
            *) exit 1 ;;
            esac
        done
        exit 1
    ) 2>/dev/null
}

# process_sockets PID: the inodes of its sockets. Asked as the run user when the caller may not
# look: reading another user's descriptors takes more than root has in a container.
process_sockets() {
    local found as
    for as in '' "${RUN_AS[*]}"; do
        # shellcheck disable=SC2086 # a list of words
        found=$($as find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null) || true
        if [[ -n $found ]]; then
            printf '%s\n' "$found" | tr -dc '0-9\n'
            return 0
        fi
    done
}

# owns_listener PID PORT: whether this process has the socket that listens there.
owns_listener() {
    local inode
    inode=$(listener_inode "$2")
    [[ -n $inode ]] && process_sockets "$1" | grep -x "$inode" >/dev/null # -q would end it by SIGPIPE
}

# wait_listening LEADER PORT: returns 0 when that leader listens there and, for IMAP in the clear,
# greets; 1 when it died or somebody else has the port; ends the script when time is over.
wait_listening() {
    local leader=$1 port=$2 greets=$3 pid=${1%:*} deadline_ms
    deadline_ms=$(($(now_ms) + READY_TIMEOUT_S * 1000))
    while true; do
        if ! process_stat "$pid" || [[ $STAT_START != "${leader#*:}" || $STAT_STATE == Z ]]; then
            return 1
        fi
        if [[ -n $(listener_inode "$port") ]]; then
            owns_listener "$pid" "$port" || return 1
            if [[ $greets != yes ]] || greeting "$port"; then
                return 0
            fi
        fi
        if [[ $(now_ms) -ge $deadline_ms ]]; then
            show_log
            die "no greeting on $LOOPBACK:$port within $READY_TIMEOUT_S s"
        fi
        sleep "$POLL_S"
    done
}

# show_log: the end of the instance's log, for a person who has to find out why it did not start.
show_log() {
    note "the last lines of $LOG:"
    tail -n 20 "$LOG" >&2 || true
}

# --- a plain dialogue ----------------------------------------------------------------------------

# One conversation at a time: descriptor 3 is read, 4 is written. REPLY_TEXT is the whole of the
# last answer, REPLY_LINE its last line; both without the line ends' CR. For text only: bash strings
# hold no NUL.
REPLY_TEXT=
REPLY_LINE=

# imap_line: the next line from the server; false at the end of the connection or after too long a
# silence.
imap_line() {
    IFS= read -r -t "$READY_TIMEOUT_S" REPLY_LINE <&3 || return 1
    REPLY_LINE=${REPLY_LINE%$'\r'}
    REPLY_TEXT+=$REPLY_LINE$'\n'
}

# imap_open PORT: connects and reads the greeting.
imap_open() {
    { exec 3<>"/dev/tcp/$LOOPBACK/$1" 4>&3; } 2>/dev/null || return 1
    REPLY_TEXT=
    imap_line
    while [[ $REPLY_LINE == '* OK Waiting '* ]]; do
        imap_line || return 1
    done
    [[ $REPLY_LINE == '* '* ]]
}

# imap_send TEXT: TEXT and a line end.
imap_send() {
    printf '%s\r\n' "$1" >&4
}

# imap_reply [PREFIX...]: reads up to a line that starts with one of these; the tagged one without
# an argument.
imap_reply() {
    local prefix
    [[ $# -gt 0 ]] || set -- 'x '
    REPLY_TEXT=
    while imap_line; do
        for prefix in "$@"; do
            if [[ $REPLY_LINE == "$prefix"* ]]; then
                return 0
            fi
        done
    done
    return 1
}

# imap_command TEXT: sends a command and reads its answer; true when that is OK.
imap_command() {
    imap_send "x $1"
    imap_reply && [[ $REPLY_LINE == 'x OK'* ]]
}

# imap_append FOLDER ARGUMENTS MESSAGE: one APPEND with a synchronising literal.
imap_append() {
    imap_send "x APPEND $1 $2{${#3}}"
    imap_reply 'x ' '+' && [[ $REPLY_LINE == +* ]] || return 1
    imap_send "$3"
    imap_reply && [[ $REPLY_LINE == 'x OK'* ]]
}

imap_close() {
    imap_command LOGOUT || true
    imap_drop
}

imap_drop() {
    exec 3>&- 4>&-
}

# --- certificates --------------------------------------------------------------------------------

# make_certificates FOLDER DAYS: a CA (ca.pem) and a certificate for localhost and 127.0.0.1
# (cert.pem, key.pem), and both in one file (both.pem) for servers that want that. Kept when there
# already, so that a pin survives a restart.
make_certificates() {
    local folder=$1 days=$2
    if [[ -s $folder/both.pem ]] &&
        openssl x509 -in "$folder/cert.pem" -noout -checkend 60 >/dev/null; then
        return 0
    fi
    mkdir -p "$folder"
    (
        umask 077
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$((days + 1))" \
            -keyout "$folder/ca.key" -out "$folder/ca.pem" \
            -subj "/CN=mailhaul scratch CA $SRANDOM" \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" \
            -CA "$folder/ca.pem" -CAkey "$folder/ca.key" \
            -keyout "$folder/key.pem" -out "$folder/cert.pem" -subj /CN=localhost \
            -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
            -addext extendedKeyUsage=serverAuth -addext subjectAltName=DNS:localhost,IP:127.0.0.1
        cat "$folder/key.pem" "$folder/cert.pem" >"$folder/both.pem"
        chmod 644 "$folder/ca.pem" "$folder/cert.pem"
    ) 2>"$folder/openssl.log" || die "openssl made no certificate, see $folder/openssl.log"
}

# --- accounts ------------------------------------------------------------------------------------

# account_names N: user01 ... userN, one a line.
account_names() {
    local i
    for ((i = 1; i <= $1; i++)); do
        printf 'user%02d\n' "$i"
    done
}

# size_in_bytes SIZE: 500, 10K, 20M, 3G.
size_in_bytes() {
    local number=${1%[KMG]}
    [[ $number =~ ^[0-9]{1,12}$ ]] || die "not a size: $1 (use 500, 10K, 20M, 3G)"
    case $1 in
    *K) printf '%s' $((number * 1024)) ;;
    *M) printf '%s' $((number * 1024 * 1024)) ;;
    *G) printf '%s' $((number * 1024 * 1024 * 1024)) ;;
    *) printf '%s' "$number" ;;
    esac
}

# --- the unpacked packages -----------------------------------------------------------------------

# library_path KIND FOLDER: what LD_LIBRARY_PATH has to be for the packages unpacked in FOLDER.
library_path() {
    local folder path=
    local folders=("$2"/usr/lib/*-linux-gnu "$2"/lib/*-linux-gnu)
    case $1 in
    dovecot)
        folders+=("$2/usr/lib/dovecot" "$2/usr/lib/dovecot/modules"
            "$2/usr/lib/dovecot/modules/old-stats")
        ;;
    courier) folders+=("$2/usr/lib") ;;
    esac
    for folder in "${folders[@]}"; do
        if [[ -d $folder ]]; then
            path+=${path:+:}$folder
        fi
    done
    printf '%s' "$path"
}
