# SPDX-License-Identifier: GPL-3.0-or-later
# What the benchmarks share: a scratch folder, real servers that are stopped at the end, timed commands, the table's rows.
# Sourced by the scripts beside it, from the project's root.
repeat=${REPEAT:-3}
mailhaul=$PWD/build/release/mailhaul
corpus=$PWD/build/release/corpus/mailhaul-corpus
relay=$PWD/build/release/tests/mh-relay
server=$PWD/tests/servers/server
export MH_SERVERS=${MH_SERVERS:-$PWD/build/servers}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/mailhaul-bench.XXXXXX")
chmod 755 "$scratch"
export MAILHAUL_SOURCE_PASSWORD=secret MAILHAUL_TARGET_PASSWORD=secret XDG_STATE_HOME=$scratch/state
started=() relays=()

finish() {
    local x
    for x in "${relays[@]}"; do kill "$x" 2>/dev/null; done
    for x in "${started[@]}"; do "$server" stop "$x" >/dev/null 2>&1; done
    rm -rf "$scratch"
}
trap finish EXIT
note() { printf '%s\n' "$*" >&2; }

start() { # NAME USERS OPTION…  -> port_NAME
    "$server" start dovecot "$scratch/$1" --users "$2" "${@:3}" >"$scratch/$1.env" || exit 1
    started+=("$scratch/$1")
    declare -g "port_$1=$(sed -n 's/^PORT=//p' "$scratch/$1.env")"
}
# An empty target in a folder of its own -> port_target. The old ones are deleted at the very end only: ext4 passes
# over inodes that were freed in the last half minute one by one, which makes whoever comes next look slow.
fresh() { # USERS OPTION…
    [ -z "${port_target:-}" ] || "$server" stop "$scratch/target" >/dev/null
    [ ! -d "$scratch/target" ] || mv "$scratch/target" "$scratch/old.$((++olds))"
    rm -rf "$scratch/state"
    start target "$1" --store sdbox "${@:2}"
    sync # nobody pays for what the last one wrote
}
olds=0
through() { # PORT OPTION…  -> port_relay
    local out=$scratch/relay.${#relays[@]}
    "$relay" --listen 127.0.0.1:0 --to "127.0.0.1:$1" "${@:2}" >"$out" 2>/dev/null &
    relays+=($!)
    until grep -q PORT= "$out"; do kill -0 $! || exit 1; done
    port_relay=$(sed -n 's/^PORT=//p' "$out")
}
median() { sort -n | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }

users_csv() { echo id,source_user,target_user; for i in $(seq -f %02g "$1"); do echo "user$i,user$i,user$i"; done; }

# timed COMMAND…: wall seconds, CPU seconds and peak RSS in KiB of the whole process tree's leader into $T
timed() {
    /usr/bin/time -f '%e %U %S %M' -o "$scratch/time" "$@" >"$scratch/out" 2>&1 ||
        { note "failed: $*"; tail -n 5 "$scratch/out" >&2; exit 1; }
    read -r T_WALL T_USER T_SYS T_RSS <"$scratch/time"
    T_CPU=$(awk "BEGIN{print $T_USER+$T_SYS}")
}

haul_one() { timed "$mailhaul" copy -q "imap://user01@127.0.0.1:$1/?tls=none&auth=login" "imap://user01@127.0.0.1:$2/?tls=none&auth=login" "${@:3}"; }
haul_all() { timed "$mailhaul" copy -q --users "$scratch/users.csv" "imap://127.0.0.1:$1/?tls=none&auth=login" "imap://127.0.0.1:$2/?tls=none&auth=login" "${@:3}"; }

mbsync_config() { # USERS SOURCE-PORT TARGET-PORT
    local i
    for i in $(seq -f %02g "$1"); do
        rm -rf "$scratch/mbs$i"; mkdir -p "$scratch/mbs$i"
        cat >"$scratch/mbs$i/rc" <<TXT
IMAPStore old
Host 127.0.0.1
Port $2
User user$i
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore new
Host 127.0.0.1
Port $3
User user$i
Pass secret
SSLType None
AuthMechs LOGIN

Channel all
Far :old:
Near :new:
Patterns *
Create Near
Sync Pull
CopyArrivalDate yes
SyncState $scratch/mbs$i/
TXT
    done
}
mbsync_all() { # USERS
    cat >"$scratch/mbsync.sh" <<TXT
for i in $(seq -f %02g "$1" | tr '\n' ' '); do mbsync -q -c $scratch/mbs\$i/rc all & done; wait
TXT
    timed bash "$scratch/mbsync.sh"
}

row() { printf '| %s | %s | %s | %s |\n' "$@"; }
rate() { awk "BEGIN{printf \"%.0f\", $1/$2}"; }
ratio() { awk "BEGIN{printf \"%.2f\", $1/$2}"; }
per_message_us() { awk "BEGIN{printf \"%.0f\", $1*1e6/$2}"; }
mid() { printf '%s\n' "$@" | median; }

fill() { # NAME USERS CORPUS-OPTION…: a source of that name
    [ -d "$scratch/$1-mail" ] || "$corpus" "${@:3}" --maildir "$scratch/$1-mail" >/dev/null || exit 1
    [ -n "$(declare -p "port_$1" 2>/dev/null)" ] || start "$1" "$2" --maildir-root "$scratch/$1-mail"
    users_csv "$2" >"$scratch/users.csv"; chmod 600 "$scratch/users.csv"
}
warm() { # NAME: the source's indexes exist and its files are read, for whoever comes first too
    find "$scratch/$1-mail" -type f -path '*/cur/*' -exec cat {} + >/dev/null
    fresh "$2"
    if [ "$2" = 1 ]; then haul_one "$(eval echo "\$port_$1")" "$port_target" --dry-run
    else haul_all "$(eval echo "\$port_$1")" "$port_target" --dry-run; fi
}

# run_cases CASE…: the table
run_cases() {
    local c
    note "machine: $(nproc) cores, $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
    printf '| case | measured | wanted | beside |\n| --- | --- | --- | --- |\n'
    for c in "$@"; do
        declare -F "case_$c" >/dev/null || { note "bench: no case '$c'"; exit 2; }
        note "case $c"
        "case_$c"
    done
}
