# SPDX-License-Identifier: GPL-3.0-or-later
# What the end-to-end scripts share: a scratch folder, servers that are stopped at the end, checks that
# print what they saw. Sourced by the scripts beside it; $1 of a script is the mailhaul binary.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mailhaul=$(realpath "${1:?usage: script MAILHAUL}")
corpus=$(dirname "$mailhaul")/corpus/mailhaul-corpus
server=$here/servers/server
scratch=$(mktemp -d /tmp/mailhaul-test.XXXXXX)
chmod 755 "$scratch"
servers=()
failures=0
export MAILHAUL_SOURCE_PASSWORD=secret MAILHAUL_TARGET_PASSWORD=secret XDG_STATE_HOME=$scratch/state
unset MAILHAUL_PROJECT NO_COLOR

finish() {
    local dir
    for dir in "${servers[@]}"; do "$server" stop "$dir" >/dev/null 2>&1; done
    rm -rf "$scratch"
}
trap finish EXIT

# start NAME KIND OPTION…: a server; its port in port_NAME
start() {
    local name=$1
    shift
    "$server" start "$1" "$scratch/$name" "${@:2}" >"$scratch/$name.env" || { echo "cannot start $name"; exit 1; }
    servers+=("$scratch/$name")
    declare -g "port_$name=$(sed -n 's/^PORT=//p' "$scratch/$name.env")"
}
url() { echo "imap://$1@127.0.0.1:$2/?tls=none"; }

fail() { failures=$((failures + 1)); printf 'FAILED %s\n' "$*"; }
pass() { printf 'ok %s\n' "$*"; }

# expect NAME EXIT-CODE WORDS COMMAND…: the exit code, and WORDS somewhere in the output
expect() {
    local name=$1 want=$2 words=$3 rc
    shift 3
    timeout 300 "$@" >"$scratch/out" 2>&1 </dev/null
    rc=$?
    if [ "$rc" != "$want" ]; then
        fail "$name: exit code $rc, expected $want"
        head -n 5 "$scratch/out"
    elif ! grep -qF -- "$words" "$scratch/out"; then
        fail "$name: no '$words' in:"
        head -n 5 "$scratch/out"
    else
        pass "$name"
    fi
}

# json FILE EXPRESSION: a value of a JSON object, by python
json() { python3 -c "import json,sys; j=json.load(open(sys.argv[1])); print($2)" "$1"; }

# equal NAME WANT GOT
equal() { [ "$2" = "$3" ] && pass "$1" || fail "$1: expected $2, got $3"; }

verdict() { [ "$failures" = 0 ] && exit 0; echo "$failures checks failed"; exit 1; }
