#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Bad input of every kind gets one clear line (what, where, what to do) and the exit code of the table.
. "$(dirname "$0")/lib.sh"

users() { printf '%s\n' "$@" >"$scratch/users.csv"; chmod 600 "$scratch/users.csv"; }
project() { printf '%s\n' "$@" >"$scratch/mailhaul.yaml"; }
good_source='source: {type: imap, host: 127.0.0.1, port: 9, tls: none}'
good_target='target: {type: imap, host: 127.0.0.1, port: 9, tls: none}'
cd "$scratch" || exit 1

expect "no command" 2 "usage: mailhaul" "$mailhaul"
expect "unknown command" 2 "did you mean 'verify'" "$mailhaul" verfy
expect "unknown option" 2 "did you mean --memory" "$mailhaul" copy --memmory 1M a: b:
expect "option without value" 2 "needs a value" "$mailhaul" status --state
expect "number that is none" 2 "cannot read 'abc'" "$mailhaul" copy --timeout abc a: b:
expect "too little memory" 2 "at least 8 MiB" "$mailhaul" copy --memory 1M "$(url a 9)" "$(url b 9)"
expect "one address" 2 "a source and a target" "$mailhaul" copy "$(url a 9)"
expect "unknown scheme" 2 "imap" "$mailhaul" copy ftp://a@b/ "$(url a 9)"
expect "password in the address" 2 "password" "$mailhaul" copy "imaps://anna:geheim@old.example/" "$(url a 9)"
grep -qF geheim "$scratch/out" && fail "the password is shown" || pass "the password is not shown"
expect "unknown parameter" 2 "tls" "$mailhaul" copy "imap://a@b/?tsl=none" "$(url a 9)"
expect "bad bwlimit" 2 "25:99" "$mailhaul" copy --bwlimit "25:99,nonsense" "$(url a 9)" "$(url b 9)"
expect "no server at the port" 1 "127.0.0.1" "$mailhaul" check "$(url a 9)" "$(url b 9)"

expect "no project" 10 "mailhaul.yaml" "$mailhaul" run
project 'version: 1' "$good_source" "$good_target" 'users: users.csv' 'conections: 3'
users 'id,source_user,target_user' 'a,a,a'
expect "unknown key" 2 "mailhaul.yaml:5:1" "$mailhaul" run
project 'version: 1' "${good_source%\}}, conections: 3}" "$good_target" 'users: users.csv'
expect "unknown key, nearest named" 2 "connections" "$mailhaul" run
project 'version: 1' "$good_source" "$good_target" 'users: users.csv'
users 'id,source_user' 'a,a'
expect "missing column" 2 "target_user" "$mailhaul" run
users 'id,source_user,target_user' 'a,x,same' 'b,y,same'
expect "two users, one target" 2 "same" "$mailhaul" run
users 'id,source_user,target_user' 'a,x,y' 'a,z,w'
expect "an id twice" 2 "users.csv:3" "$mailhaul" run
users 'id,source_user,target_user' 'a,x'
expect "a short row" 2 "users.csv:2" "$mailhaul" run
printf '' >users.csv
expect "an empty users file" 2 "users.csv" "$mailhaul" run
rm users.csv
expect "no users file" 2 "users.csv" "$mailhaul" run
users 'id,source_user,target_user,source_password' 'a,x,y,geheim'
chmod 644 users.csv
expect "passwords for everybody to read" 2 "600" "$mailhaul" run

expect "no state yet" 10 "none.db" "$mailhaul" status --state "$scratch/none.db"
echo "no database" >"$scratch/text.db"
expect "a state that is none" 1 "text.db" "$mailhaul" status --state "$scratch/text.db"
expect "a state that cannot be written" 1 "/proc" "$mailhaul" copy --state /proc/none/x.db "$(url a 9)" "$(url b 9)"
expect "init" 0 "next:" "$mailhaul" init "$scratch/new"
expect "init never overwrites" 2 "already" "$mailhaul" init "$scratch/new"
expect "the skeleton is readable" 12 "password" "$mailhaul" check --project "$scratch/new/mailhaul.yaml"

expect "help" 0 "Exit: 0 done" "$mailhaul" --help
[ "$("$mailhaul" --help | wc -l)" -lt 60 ] && pass "help is under 60 lines" || fail "help is too long"
expect "version" 0 "mailhaul" "$mailhaul" --version
verdict
