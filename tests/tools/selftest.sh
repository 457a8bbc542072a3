#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Checks the test tools themselves: mh-relay, mh-scripted, certkit.sh.
#
#   selftest.sh BUILD_DIR [NAME…]
#
# Each t_… function is one test, run in a folder of its own; names on the command line choose some of
# them. Times are printed, never asserted. What a test starts it stops by its process id.
#
# shellcheck disable=SC2154,SC2016,SC2059
# 2154: start() sets VAR_port and VAR_pid. 2016: the dollars are the dialogues' own. 2059: formats.
set -u

here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 1 ]; then
    echo "usage: selftest.sh BUILD_DIR [NAME…]" >&2
    exit 2
fi
build=$(cd "$1" && pwd) || exit 2
shift
[ -x "$build/tests/mh-relay" ] && build=$build/tests
for tool in mh-relay mh-scripted mh-probe; do
    if [ ! -x "$build/$tool" ]; then
        echo "selftest.sh: $build/$tool is missing: build first" >&2
        exit 2
    fi
done
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

# ---------------------------------------------------------------- helpers, used inside a test

pids=()

# start VAR COMMAND…: runs a server, waits for its PORT=n; sets VAR_port and VAR_pid
start() {
    local var=$1 pid fd line
    shift
    mkfifo "$var.out"
    "$@" > "$var.out" 2> "$var.err" &
    pid=$!
    pids+=("$pid")
    exec {fd}< "$var.out"
    if ! read -r line <&"$fd"; then
        cat "$var.err"
        fail "$var did not start"
    fi
    printf -v "${var}_port" %s "${line#PORT=}"
    printf -v "${var}_pid" %s "$pid"
    printf -v "${var}_fd" %s "$fd"
}

# report VAR: the next line that a server prints
report() {
    local fd=$1_fd line
    read -r line <&"${!fd}" || fail "$1 says nothing more"
    echo "$line"
}

# stop VAR [STATUS]: ends a server and compares its exit status
stop() {
    local pid=$1_pid status=0
    kill -TERM "${!pid}"
    wait "${!pid}" || status=$?
    cat "$1.err"
    [ "$status" -eq "${2:-0}" ] || fail "$1 ended with $status, not ${2:-0}"
}

stop_all() {
    local pid
    for pid in "${pids[@]}"; do
        kill -KILL "$pid"
        wait "$pid"
    done 2> /dev/null
}

fail() {
    echo "FAILED: $*"
    exit 1
}

# has TEXT PATTERN: does the text contain a match of the extended regular expression?
has() {
    grep -Eq -- "$2" <<< "$1" || fail "no match of '$2' in: $1"
}

has_not() {
    ! grep -Eq -- "$2" <<< "$1" || fail "a match of '$2' in: $1"
}

# value TEXT KEY: the value of KEY=… in a report
value() {
    sed -n "s/.*\\b$2=\\([^ ]*\\).*/\\1/p" <<< "$1"
}

same() {
    [ "$1" = "$2" ] || fail "${3:-different}: '$1' is not '$2'"
}

relay() {
    start relay "$build/mh-relay" --listen 127.0.0.1:0 --to "$@"
}

scripted() {
    start scripted "$build/mh-scripted" script --dump dump --dump-folders folders \
        --transcript transcript "$@"
}

# talk PORT: a dialogue from stdin
talk() {
    "$build/mh-probe" talk "$1" - || fail "the dialogue above"
}

# model: a script from stdin whose one dialogue is the model
model() {
    cat > script
    scripted
}

digest() {
    sha256sum | cut -d ' ' -f 1
}

hash_of() {
    value "$("$build/mh-probe" hash "$1" "$2")" sha256
}

# ---------------------------------------------------------------- the relay

t_relay_passes_bytes() {
    start sink "$build/mh-probe" sink
    relay "127.0.0.1:$sink_port"
    "$build/mh-probe" put "$relay_port" 20000000 7
    local got
    got=$(report sink)
    same "$(value "$got" received)" 20000000
    same "$(value "$got" sha256)" "$(hash_of 20000000 7)"
    same "$(value "$got" end)" FIN
    stop relay
    has "$(cat relay.err)" 'connections=1 up=20000000 down=0 cuts=0'
}

t_relay_delay_and_rate_change_no_byte() {
    start source "$build/mh-probe" source 3000000 9
    relay "127.0.0.1:$source_port" --delay-ms 7.5 --rate-mbit 200
    local got
    got=$("$build/mh-probe" get "$relay_port")
    same "$(value "$got" sha256)" "$(hash_of 3000000 9)"
    stop relay
    has "$(cat relay.err)" 'down=3000000'
}

t_relay_one_byte_chunks() {
    start sink "$build/mh-probe" sink
    relay "127.0.0.1:$sink_port" --chunk 1
    "$build/mh-probe" put "$relay_port" 40000 3
    local got
    got=$(report sink)
    same "$(value "$got" sha256)" "$(hash_of 40000 3)"
    echo "NOTE largest read at --chunk 1: $(value "$got" largest-read)"
    stop relay
    has "$(cat relay.err)" 'up=40000 .*up-writes=40000 '
    start slow "$build/mh-probe" sink
    start relay2 "$build/mh-relay" --listen 127.0.0.1:0 --to "127.0.0.1:$slow_port" --chunk 1 \
        --chunk-gap-us 100
    "$build/mh-probe" put "$relay2_port" 3000 4
    got=$(report slow)
    same "$(value "$got" sha256)" "$(hash_of 3000 4)"
    echo "NOTE largest read at --chunk 1 --chunk-gap-us 100: $(value "$got" largest-read)"
}

t_relay_cut_after_bytes() {
    local at got way option
    for at in 0 1 65536 100001; do
        for way in fin rst; do
            option=()
            [ $way = fin ] || option=(--cut-rst)
            start "sink$at$way" "$build/mh-probe" sink
            local port=sink$at${way}_port
            start "relay$at$way" "$build/mh-relay" --listen 127.0.0.1:0 --to "127.0.0.1:${!port}" \
                --cut-after-bytes "$at:up" "${option[@]}"
            port=relay$at${way}_port
            "$build/mh-probe" put "${!port}" 300000 5 > /dev/null
            got=$(report "sink$at$way")
            same "$(value "$got" received)" "$at"
            same "$(value "$got" sha256)" "$(hash_of "$at" 5)"
            same "$(value "$got" end)" "${way^^}"
            stop "relay$at$way"
            has "$(cat "relay$at$way.err")" "up=$at down=0 cuts=1"
        done
    done
    start source "$build/mh-probe" source 300000 6
    relay "127.0.0.1:$source_port" --cut-after-bytes 77777:down
    got=$("$build/mh-probe" get "$relay_port")
    same "$(value "$got" received)" 77777
    same "$(value "$got" end)" FIN
}

t_relay_cut_counts_both_directions() {
    start echo "$build/mh-probe" echo
    relay "127.0.0.1:$echo_port" --cut-after-bytes 7
    printf '> 1234\n<+ 1\n= FIN\n' | talk "$relay_port"
    # 6 bytes up, so the echo gets one byte back
    has "$(cat relay.err)" 'cut by count, up 6 down 1$'
}

t_relay_cut_on_text() {
    cat > script << 'SCRIPT'
CONN 1
S+: hello\r\nA1 OK [APPENDUID 1 2] done\r\n
UNTIL-CLOSE
CONN 2
S+: hello\r\nA1 O
SLEEP 20
S+: K done\r\n
UNTIL-CLOSE
CONN 3
S+: A1 A1 A1 O
C: go on
S: ver
UNTIL-CLOSE
SCRIPT
    scripted
    relay "127.0.0.1:$scripted_port" --cut-on-down 'A1 OK' --count 9
    printf '< hello\n= FIN\n' | talk "$relay_port"
    printf '< hello\n= FIN\n' | talk "$relay_port"
    # the beginning of the text alone is let go after a while
    printf '<+ A1 A1 A1 O\n> go on\n< ver\n!FIN\n= FIN\n' | talk "$relay_port"
    stop relay
    has "$(cat relay.err)" 'cuts=2 '
    stop scripted
}

t_relay_cut_on_text_skip_and_rst() {
    start sink "$build/mh-probe" sink
    relay "127.0.0.1:$sink_port" --cut-on-up 'a\r\nb' --skip 2 --cut-rst --chunk 1
    printf '> xa\n> ba\n> ba\n> ba\n= RST\n' | talk "$relay_port"
    # "xa CRLF ba CRLF b" stands before the "a" of the third occurrence
    has "$(report sink)" 'received=9 .*end=RST'
}

t_relay_cut_connection() {
    start sink "$build/mh-probe" sink 3
    relay "127.0.0.1:$sink_port" --cut-after-bytes 10 --cut-connection 2
    local i
    for i in 1 2 3; do
        "$build/mh-probe" put "$relay_port" 1000 1 > /dev/null
        same "$(value "$(report sink)" received)" "$([ $i = 2 ] && echo 10 || echo 1000)"
    done
}

t_relay_random_cuts_repeat() {
    local run got=('' '')
    for run in 0 1; do
        start "sink$run" "$build/mh-probe" sink 5
        local port=sink${run}_port i
        start "relay$run" "$build/mh-relay" --listen 127.0.0.1:0 --to "127.0.0.1:${!port}" \
            --cut-every-bytes 1000-90000 --seed 11
        port=relay${run}_port
        for i in 1 2 3 4 5; do
            "$build/mh-probe" put "${!port}" 100000 1 > /dev/null
            got[run]+=" $(value "$(report "sink$run")" received)"
        done
        stop "relay$run"
        has "$(cat "relay$run.err")" 'cuts=5 '
    done
    same "${got[0]}" "${got[1]}"
    same "$(tr ' ' '\n' <<< "${got[0]}" | sort -u | wc -l)" 6 'five different places and a blank'
}

t_relay_stall() {
    printf 'S+: 0123456789\nUNTIL-CLOSE\n' > script
    scripted
    relay "127.0.0.1:$scripted_port" --stall-after-bytes 4:down
    printf '<+ 0123\n=SILENT 300\n' | talk "$relay_port"
    stop relay
    has "$(cat relay.err)" 'down=4 cuts=0 stalls=1'
}

t_relay_half_close() {
    start echo "$build/mh-probe" echo
    relay "127.0.0.1:$echo_port" --delay-ms 2
    local got
    got=$("$build/mh-probe" put "$relay_port" 100000 8)
    same "$(grep -c "sha256=$(hash_of 100000 8)" <<< "$got")" 2
    has "$got" 'received=100000 .*end=FIN'
}

t_relay_passes_reset() {
    start sink "$build/mh-probe" sink
    relay "127.0.0.1:$sink_port" --delay-ms 3
    "$build/mh-probe" put "$relay_port" 1000 1 rst
    has "$(report sink)" 'end=RST'
    printf 'S: hello\nRST\n' > script
    scripted
    start relay2 "$build/mh-relay" --listen 127.0.0.1:0 --to "127.0.0.1:$scripted_port"
    printf '< hello\n= RST\n' | talk "$relay2_port"
}

t_relay_refused_target() {
    start sink "$build/mh-probe" sink
    relay "127.0.0.1:$sink_port"
    kill -KILL "$sink_pid"
    wait "$sink_pid" 2> /dev/null || true
    printf '= RST\n' | talk "$relay_port"
    stop relay
    has "$(cat relay.err)" 'refused=1'
}

t_relay_slow_receiver_is_felt() {
    printf 'STALL\n' > script
    scripted
    relay "127.0.0.1:$scripted_port" --buffer-kib 64
    # 64 MiB into a receiver that reads nothing: the sender must stop, so this put cannot finish
    "$build/mh-probe" put "$relay_port" 67108864 1 > put.out &
    local put=$!
    pids+=("$put")
    printf '=SILENT 300\n' | talk "$relay_port"
    kill -KILL "$put"
    same "$(cat put.out)" '' 'the relay swallowed 64 MiB'
    stop relay
    [ "$(value "$(tail -1 relay.err)" up-held-max)" -le 65536 ] || fail 'held more than ordered'
}

# A buffer that is full most of the time: a wake-up that is missed shows as a transfer that never ends.
t_relay_small_buffer() {
    start source "$build/mh-probe" source 5000000 9 20
    relay "127.0.0.1:$source_port" --buffer-kib 64
    local i got
    for i in $(seq 20); do
        got=$("$build/mh-probe" get "$relay_port")
        same "$(value "$got" received)" 5000000 "transfer $i"
    done
    same "$(value "$got" sha256)" "$(hash_of 5000000 9)"
}

t_relay_many_connections() {
    start echo "$build/mh-probe" echo
    relay "127.0.0.1:$echo_port" --delay-ms 5 --rate-mbit 2000
    same "$("$build/mh-probe" many "$relay_port" 300 60000)" 'equal=300 of=300'
    stop relay
    has "$(cat relay.err)" 'connections=300 up=18000000 down=18000000'
}

# No test here asks how fast something is, but a wire is never faster than it was ordered to be.
t_relay_is_no_faster_than_ordered() {
    start echo "$build/mh-probe" echo
    relay "127.0.0.1:$echo_port" --delay-ms 10
    local got
    got=$("$build/mh-probe" ping "$relay_port" 5)
    [ "$(value "$got" least-us)" -ge 20000 ] || fail "a round trip of less than two delays: $got"
    [ "$(value "$got" first-us)" -ge 40000 ] || fail "the handshake cost no round trip: $got"
    start source "$build/mh-probe" source 1000000 1 2
    start relay2 "$build/mh-relay" --listen 127.0.0.1:0 --to "127.0.0.1:$source_port" --rate-mbit 80
    "$build/mh-probe" get "$relay2_port" > one &
    local one=$!
    got=$("$build/mh-probe" get "$relay2_port")
    wait "$one"
    # 2 MB through 10 MB/s, one after the other or both at once: 200 ms from the first's beginning on
    got=$(($(value "$got" us) + $(value "$(cat one)" us)))
    [ "$got" -ge 190000 ] || fail "both together took $got us"
}

t_relay_figures() {
    start echo "$build/mh-probe" echo
    relay "127.0.0.1:$echo_port" --delay-ms 20
    echo "NOTE --delay-ms 20: $("$build/mh-probe" ping "$relay_port" 20)"
    local opts n=0 began ended
    for opts in '' '--delay-ms 20' '--delay-ms 20 --rate-mbit 1000' \
        '--delay-ms 20 --rate-mbit 100'; do
        local bytes=100000000
        case $opts in *' 100') bytes=10000000 ;; esac
        n=$((n + 1))
        start "sink$n" "$build/mh-probe" sink
        local port=sink${n}_port
        # shellcheck disable=SC2086 # options are words
        start "relay$n" "$build/mh-relay" --listen 127.0.0.1:0 --to "127.0.0.1:${!port}" $opts
        port=relay${n}_port
        began=$(date +%s%N)
        "$build/mh-probe" put "${!port}" $bytes 2 > /dev/null
        same "$(value "$(report "sink$n")" received)" "$bytes"
        ended=$(date +%s%N)
        echo "NOTE relay ${opts:-without options}: $((bytes * 1000 / (ended - began))) MB/s"
    done
}

t_relay_wrong_use() {
    local arguments
    while read -r arguments; do
        # shellcheck disable=SC2086 # arguments are words
        "$build/mh-relay" $arguments > /dev/null 2> err && fail "accepted: $arguments"
        same $? 2 "$arguments"
        [ -s err ] || fail "no word about: $arguments"
    done << 'ARGUMENTS'

--listen 127.0.0.1:0
--listen 127.0.0.1:0 --to nowhere:1
--listen 127.0.0.1:0 --to 127.0.0.1:1 --delay-ms -1
--listen 127.0.0.1:0 --to 127.0.0.1:1 --rate-mbit x
--listen 127.0.0.1:0 --to 127.0.0.1:1 --cut-after-bytes 5:sideways
--listen 127.0.0.1:0 --to 127.0.0.1:1 --cut-every-bytes 9-3
--listen 127.0.0.1:0 --to 127.0.0.1:1 --cut-on-up \q
--listen 127.0.0.1:0 --to 127.0.0.1:1 --chunk-gap-us 5
--listen 127.0.0.1:0 --to 127.0.0.1:1 --chunk 0
ARGUMENTS
}

# ---------------------------------------------------------------- dialogues

t_dialogue_steps() {
    cat > script << 'SCRIPT'
# comment
SET WHO world
CONN 1
S: * OK hello $WHO $Forwarded
C: * LOGIN * *
S: * $2 and $3
S+: $TAG OK\x20done\r\n
C: * APPEND {*}
S: * got $LITERAL
C:
S: $TAG OK appended
C: * APPEND {*+}
C: (more) {*}
C:
S: $TAG OK twice
REPEAT 2
S: * $I
REPEAT 2 K
S: * $I-$K
END
END
S+: * 1 FETCH (BODY[] {100000}\r\n
LITERAL 100000 ab\r\n
S: )
SET WHO you
S: * bye $WHO
CLOSE
CONN *
S: * OK other $WHO
LOOP
C: * NOOP
S: $TAG OK
END
SCRIPT
    scripted
    talk "$scripted_port" << 'TALK' > out
< * OK hello world $Forwarded
> a1 login joe "pass word"
< * joe and "pass word"
< a1 OK done
> a2 APPEND {5}
< + ok
>+ 12345
< * got 12345
>
< a2 OK appended
> a3 APPEND {2+}
>+ xy
> (more) {3}
< + ok
>+ abc
>
< a3 OK twice
< * 1
< * 1-1
< * 1-2
< * 2
< * 2-1
< * 2-2
< * 1 FETCH (BODY[] {100000}
< )
< * bye you
= FIN
TALK
    has "$(cat out)" "literal=100000 sha256=$(yes $'ab\r' | head -c 100000 | digest)"
    printf '< * OK other world\n> b1 NOOP\n< b1 OK\n> b2 noop\n< b2 OK\n!FIN\n= FIN\n' |
        talk "$scripted_port"
    stop scripted
    has "$(cat transcript)" '^2 C: b2 noop$'
    has "$(cat scripted.err)" 'connections=2 mismatches=0'
}

t_dialogue_mismatch_is_told() {
    printf 'S: * OK\nC: * NOOP\n' > script
    scripted
    printf '< * OK\n> a1 LOGOUT\n= FIN\n' | talk "$scripted_port"
    stop scripted 1
    has "$(cat scripted.err)" "script:2: connection 1: expected '. NOOP', got a1 LOGOUT"
}

t_dialogue_early_end_is_told() {
    printf 'S: * OK\nC: * NOOP\n' > script
    scripted
    printf '< * OK\n!FIN\n= FIN\n' | talk "$scripted_port"
    stop scripted 1
    has "$(cat scripted.err)" 'got the end of the stream'
}

t_dialogue_reject() {
    printf 'S: * PREAUTH hi\nREJECT * LOGIN *\nREJECT * AUTHENTICATE *\nUNTIL-CLOSE\n' > script
    scripted
    printf '< * PREAUTH hi\n> a1 LOGOUT\n!FIN\n= FIN\n' | talk "$scripted_port"
    printf '< * PREAUTH hi\n> a1 login x secret\n= FIN\n' | talk "$scripted_port"
    stop scripted 1
    has "$(cat scripted.err)" 'connection 2: forbidden by REJECT'
    has "$(cat scripted.err)" 'mismatches=1'
}

t_dialogue_echo_match() {
    printf 'ECHO-MATCH\nC: * X\\x *\nS: $TAG OK\n' > script
    scripted
    printf '> a1 X\\x it\n< a1 OK\n= FIN\n' | talk "$scripted_port"
    same "$(report scripted)" 'MATCH 1 a1 X\\x it'
}

t_dialogue_nocont_and_stall() {
    printf 'CONN 1\nNOCONT\nC: * APPEND {*}\nSTALL\nCONN 2\nS: * OK\nSTALL\n' > script
    scripted
    printf '> a1 APPEND {5}\n=SILENT 200\n!FIN\n= FIN\n' | talk "$scripted_port"
    printf '< * OK\n> a1 NOOP\n=SILENT 200\n' | talk "$scripted_port"
    stop scripted
}

t_dialogue_ends() {
    cat > script << 'SCRIPT'
CONN 1
S+: \0\xff\t!\r\n
SLEEP 10
HALFCLOSE
C: * still here
CONN 2
S: * OK
RST
CONN 3
S: * OK
CLOSE
SCRIPT
    scripted
    printf '<+ \\0\\xff\\t!\n<+ \\r\\n\n= FIN\n> a1 still here\n' | talk "$scripted_port"
    printf '< * OK\n= RST\n' | talk "$scripted_port"
    printf '> a1 not read yet\n< * OK\n= FIN\n' | talk "$scripted_port"
    stop scripted
}

t_dialogue_wrong_scripts() {
    local text
    while read -r text; do
        printf '# one\n%b\n' "$text" > script
        "$build/mh-scripted" script > /dev/null 2> err && fail "accepted: $text"
        same $? 2 "$text"
        has "$(cat err)" '^mh-scripted: (script:[0-9]+: |.*END)'
    done << 'SCRIPTS'
FROBNICATE 3
END
LOOP
REPEAT x\nEND
SLEEP soon
S+: \\q
FAULT do=NO
FAULT on=APPEND do=EXPLODE
FAULT on=APPEND do=NO bytes=3
FAULT on=LOGIN match=x do=NO
FAULT on=APPEND do=CUT-AFTER
FAULT on=APPEND nth=0 do=NO
MESSAGES INBOX 3
MESSAGE INBOX - yesterday text=x
MESSAGE INBOX - - no-such-file
MODEL no-such-file
TLS good
SCRIPTS
}

# ---------------------------------------------------------------- the model

# row FILE FOLDER UID COLUMN: one field of the dump
row() {
    awk -F '\t' -v folder="$2" -v uid="$3" -v column="$4" \
        '$1 == folder && $2 == uid { print $column }' "$1"
}

t_model_dialogue() {
    printf 'Subject: one\r\n\r\nbody\r\n' > one.eml
    model << 'SCRIPT'
SET CAPABILITY IMAP4rev1 LITERAL+ UIDPLUS MULTIAPPEND NAMESPACE LIST-EXTENDED LIST-STATUS STATUS=SIZE CHILDREN SPECIAL-USE CREATE-SPECIAL-USE MOVE UNSELECT ID ENABLE AUTH=PLAIN AUTH=XOAUTH2 SASL-IR
SET APPENDLIMIT 1000
SET QUOTA 10
USER joe secret
FOLDER INBOX uidvalidity=77
MESSAGE INBOX "\\Seen $Work" "01-Feb-2003 04:05:06 +0700" one.eml
MESSAGE INBOX - - text="X: y\r\nSubject: two\r\n folded\r\n\r\n\x00\xff"
MESSAGES INBOX 3 500-600
FOLDER Sent \Sent subscribed
FOLDER "A \"quoted\" \\ name"
FOLDER "line\r\nbreak"
FOLDER deep/er/est
SCRIPT
    talk "$scripted_port" << 'TALK' > out
< * OK [CAPABILITY IMAP4rev1 LITERAL+ * SASL-IR] ready
> a1 LOGIN joe wrong
< a1 NO [AUTHENTICATIONFAILED] *
> a2 SELECT INBOX
< a2 BAD log in first
> a3 LOGIN joe "secret"
< a3 OK [CAPABILITY *] logged in
> a4 namespace
< * NAMESPACE (("" "/")) NIL NIL
< a4 OK *
> b1 LIST "" "*"
< * LIST (\HasNoChildren) "/" "INBOX"
< * LIST (\Sent \HasNoChildren) "/" "Sent"
< * LIST (\HasNoChildren) "/" "A \"quoted\" \\ name"
< * LIST (\HasNoChildren) "/" {11}
<
< * LIST (\HasNoChildren) "/" "deep/er/est"
< b1 OK *
> b2 LIST "" %
< * "INBOX"
< * "Sent"
< * name"
< * {11}
<
< b2 OK *
> b3 LIST (SUBSCRIBED) "" ("S*" "I%") RETURN (CHILDREN STATUS (MESSAGES SIZE UIDNEXT UNSEEN UIDVALIDITY))
< * LIST (\HasNoChildren \Subscribed) "/" "INBOX"
< * STATUS "INBOX" (MESSAGES 5 UIDNEXT 6 UIDVALIDITY 77 UNSEEN 4 SIZE *)
< * LIST (\Sent \HasNoChildren \Subscribed) "/" "Sent"
< * STATUS "Sent" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY * UNSEEN 0 SIZE 0)
< b3 OK *
> b4 LSUB "" *
< * LSUB * "INBOX"
< * LSUB * "Sent"
< b4 OK *
> b5 STATUS inbox (MESSAGES APPENDLIMIT)
< * STATUS "INBOX" (MESSAGES 5 APPENDLIMIT 1000)
< b5 OK *
> b6 STATUS nowhere (MESSAGES)
< b6 NO [NONEXISTENT] *
> b7 GETQUOTAROOT INBOX
< * QUOTAROOT "INBOX" "root"
< * QUOTA "root" (STORAGE 2 10)
< b7 OK *
> b8 LIST "" ""
< * LIST (\Noselect) "/" ""
< b8 OK *
> c1 SELECT INBOX
< * FLAGS *
< * OK [PERMANENTFLAGS (*\*)] *
< * 5 EXISTS
< * 0 RECENT
< * OK [UIDVALIDITY 77] *
< * OK [UIDNEXT 6] *
< c1 OK [READ-WRITE] *
> c2 UID FETCH 1:2 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])
< * 1 FETCH (UID 1 FLAGS (\Seen $Work) INTERNALDATE "01-Feb-2003 04:05:06 +0700" RFC822.SIZE 22 BODY[] {22}
< )
< * 2 FETCH (UID 2 FLAGS () INTERNALDATE "*" RFC822.SIZE 33 BODY[] {33}
< )
< c2 OK *
> c3 FETCH 2 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[]<3.4>)
< * 2 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {25}
<+  BODY[HEADER] {31}\r\nX: y\r\nSubject: two\r\n folded\r\n\r\n
<+  BODY[TEXT] {2}\r\n\x00\xff
<+  BODY[]<3> {4}\r\ny\r\nS)\r\n
< c3 OK *
> c4 UID STORE 2 +FLAGS (\Deleted Zebra apple)
< * 2 FETCH (UID 2 FLAGS (\Deleted apple Zebra))
< c4 OK *
> c5 UID STORE 2 -FLAGS.SILENT (Zebra)
< c5 OK *
> c6 UID SEARCH DELETED
< * SEARCH 2
< c6 OK *
> c7 SEARCH UID 3:* LARGER 100 NOT SEEN
< * SEARCH 3 4 5
< c7 OK *
> c8 UID SEARCH HEADER Subject folded
< * SEARCH 2
< c8 OK *
> c9 UID EXPUNGE 1:*
< * 2 EXPUNGE
< c9 OK *
> d1 CREATE New/Folder/
< d1 OK *
> d2 CREATE New
< d2 NO [ALREADYEXISTS] *
> d3 CREATE Junk (USE (\Junk))
< d3 OK *
> d4 UID COPY 3:4 New/Folder
< d4 OK [COPYUID * 3,4 1,2] *
> d5 UID MOVE 3 New/Folder
< * OK [COPYUID * 3 3] *
< * 2 EXPUNGE
< d5 OK *
> d6 DELETE Junk
< d6 OK *
> d6 LIST "" "*e*"
< * LIST (\Sent \HasNoChildren) "/" "Sent"
< * LIST (\HasNoChildren) "/" "A \"quoted\" \\ name"
< * LIST (\HasNoChildren) "/" {11}
<
< * LIST (\HasNoChildren) "/" "deep/er/est"
< * LIST (\HasChildren) "/" "New"
< * LIST (\HasNoChildren) "/" "New/Folder"
< d6 OK *
> d6 CREATE deep
< d6 OK *
> d6 LIST "" deep
< * LIST (\HasChildren) "/" "deep"
< d6 OK *
> d6 DELETE New/Folder2
< d6 NO [NONEXISTENT] *
> d7 SUBSCRIBE New
< d7 OK *
> d8 UNSUBSCRIBE Sent
< d8 OK *
> e1 UID FETCH 1 BODY[]
< * 1 FETCH (UID 1 BODY[] {22}
< )
< e1 OK *
> e2 UNSELECT
< e2 OK *
> e3 EXAMINE "New/Folder"
<~ e3 OK [READ-ONLY] *
> e4 STORE 1 FLAGS (\Seen)
< e4 NO *
> e5 CLOSE
< e5 OK *
> f1 FROBNICATE
< f1 BAD *
> f2 ID ("name" {3+}
>+ abc
> )
< * ID *
< f2 OK *
> f3 ENABLE UTF8=ACCEPT
< * ENABLED
< f3 OK *
> z LOGOUT
< * BYE *
< z OK *
= FIN
TALK
    has "$(cat out)" "literal=22 sha256=$(digest < one.eml)"
    stop scripted
    same "$(row dump INBOX 1 3)" "$(digest < one.eml)"
    same "$(row dump INBOX 1 5)" '\Seen $Work'
    same "$(row dump INBOX 1 6)" '01-Feb-2003 04:05:06 +0700'
    same "$(row dump INBOX 1 7)" joe
    same "$(row dump INBOX 2 3)" ''
    has "$(row dump New/Folder 1 4)" '^[0-9]+$'
    same "$(row dump New/Folder 3 4)" "$(row dump New/Folder 1 4)"
    same "$(wc -l < dump)" 6
    has "$(cat folders)" $'^line\\\\x0d\\\\x0abreak\t'
    has "$(cat folders)" $'^New\t.*\tsubscribed\t'
    has_not "$(cat folders)" '^Junk'
}

t_model_append() {
    model << 'SCRIPT'
SET APPENDLIMIT 100
FOLDER Box uidvalidity=9
SCRIPT
    talk "$scripted_port" << 'TALK'
<~ * ready
> a LOGIN any body
<~ a OK *
> b1 APPEND Box (\Seen $Work) " 1-Feb-2003 04:05:06 +0700" {8}
< + ok
>+ 12345678\r\n
< b1 OK [APPENDUID 9 1] *
> b2 APPEND "Box" {3+}
>+ abc (\\Draft) {4+}\r\n\x00\xff\r\n {2+}\r\nxy\r\n
< b2 OK [APPENDUID 9 2:4] *
> b3 APPEND {3+}
>+ Box {1+}\r\nz\r\nb4 APPEND Box {2+}\r\nyy\r\n
< b3 OK [APPENDUID 9 5] *
< b4 OK [APPENDUID 9 6] *
> c1 APPEND Nowhere {5}
< c1 NO [TRYCREATE] *
> c2 APPEND Nowhere {5+}
>+ 12345\r\n
< c2 NO [TRYCREATE] *
> c3 APPEND Box {101}
< c3 NO [TOOBIG] *
> c4 APPEND Box {0+}
>
< c4 NO *
> c5 APPEND Box "yesterday" {3+}
>+ abc\r\n
< c5 BAD *
> c6 APPEND Box "31-Foo-2003 04:05:06 +0700" {3}
< c6 BAD *
> c7 APPEND Box (\Seen) {2+}
>+ no {101+}\r\n
>* 101 1
>
< c7 NO [TOOBIG] *
> z NOOP
< z OK *
TALK
    stop scripted
    same "$(cut -f 2,4,5,7 dump | tr '\t\n' '|;')" \
        '1|8|\Seen $Work|;2|3||;3|4|\Draft|;4|2||;5|1||;6|2||;'
    same "$(row dump Box 1 6)" '01-Feb-2003 04:05:06 +0700'
    same "$(row dump Box 3 3)" "$(printf '\0\377\r\n' | digest)"
}

t_model_without_extensions() {
    model << 'SCRIPT'
SET CAPABILITY IMAP4rev1 LITERAL-
SET CAPABILITY-LOGIN IMAP4rev1 LOGINDISABLED
CONN 1
SET CAPABILITY-LOGIN IMAP4rev1
MODEL
CONN 3
SET MODEL-USER joe
S: * PREAUTH hello
SET CAPABILITY IMAP4rev1
MODEL
CONN *
MODEL
SCRIPT
    talk "$scripted_port" << 'TALK'
< * OK [CAPABILITY IMAP4rev1] ready
> a LOGIN any body
< a OK [CAPABILITY IMAP4rev1 LITERAL-] *
> b APPEND INBOX {3+}
>+ abc\r\n
< b OK appended
> c APPEND INBOX {1}
< + ok
>+ z {1}\r\n
< c BAD one message per APPEND*
> d UID EXPUNGE 1
< d BAD *
> z LOGOUT
<~ z OK *
= FIN
TALK
    printf '<~ * ready\n> a LOGIN any body\n< * BYE credentials *\n= FIN\n' | talk "$scripted_port"
    printf '< * PREAUTH hello\n> b APPEND INBOX {3+}\n< * BYE a literal that *\n= FIN\n' |
        talk "$scripted_port"
    stop scripted 1
    has "$(cat scripted.err)" 'violations=2'
    same "$(wc -l < dump)" 1
}

t_model_logins() {
    model << 'SCRIPT'
SET CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER IDLE
USER joe secret
USER admin root
USER * guest
SCRIPT
    b64() { printf "$1" | base64 -w0; }
    talk "$scripted_port" << TALK
<~ * ready
> a AUTHENTICATE PLAIN
< + 
> $(b64 '\0joe\0wrong')
< a NO *
> b AUTHENTICATE PLAIN $(b64 '\0joe\0secret')
< b OK *
> c APPEND INBOX {1}
< + ok
>+ j\r\n
< c OK *
> d IDLE
< + idling
> DONE
< d OK *
TALK
    talk "$scripted_port" << TALK
<~ * ready
> a AUTHENTICATE PLAIN $(b64 'joe\0admin\0root')
< a OK *
> b STATUS INBOX (MESSAGES)
< * STATUS "INBOX" (MESSAGES 1)
TALK
    talk "$scripted_port" << TALK
<~ * ready
> a AUTHENTICATE XOAUTH2 $(b64 'user=joe\001auth=Bearer stale\001\001')
< + *
>
< a NO *
> b AUTHENTICATE OAUTHBEARER $(b64 'n,a=joe,\001host=x\001port=1\001auth=Bearer secret\001\001')
< b OK *
> c STATUS INBOX (MESSAGES)
< * STATUS "INBOX" (MESSAGES 1)
TALK
    talk "$scripted_port" << 'TALK'
<~ * ready
> a LOGIN new guest
< a OK *
> c STATUS INBOX (MESSAGES)
< * STATUS "INBOX" (MESSAGES 0)
TALK
    stop scripted
    has "$(cut -f 7 folders | tr '\n' ' ')" '^ joe admin new $'
}

t_model_state_is_shared() {
    model << 'SCRIPT'
SET STORE digest
SCRIPT
    talk "$scripted_port" << 'TALK'
<~ * ready
> a LOGIN any body
<~ a OK *
> b APPEND INBOX {100000+}
>* 100000 6
>
< b OK *
TALK
    talk "$scripted_port" << 'TALK'
<~ * ready
> a LOGIN any body
<~ a OK *
> b SELECT INBOX
<~ b OK *
> c FETCH 1 RFC822.SIZE
< * 1 FETCH (RFC822.SIZE 100000)
< c OK *
> d FETCH 1 BODY[]
< d NO [SERVERBUG] *
TALK
    kill -USR1 "$scripted_pid"
    # signals are looked at before new connections, so a greeting means that the dump is written
    printf '<~ * ready\n> z LOGOUT\n<~ z OK *\n' | talk "$scripted_port"
    same "$(row dump INBOX 1 4)" 100000
    has "$(cat folders)" $'^INBOX\t'
    stop scripted
    same "$(row dump INBOX 1 3)" "$(hash_of 100000 6)"
}

t_model_generated_mail() {
    model << 'SCRIPT'
MESSAGES INBOX 100000 2000-90000
FOLDERS tree/branch 100000
MESSAGES small 1 0
MESSAGES small 1 1
MESSAGES small 1 2
MESSAGE small - - size=300
MESSAGE big - - size=4294967297
SCRIPT
    talk "$scripted_port" << 'TALK' > out
<~ * ready
> a LOGIN any body
<~ a OK *
> b STATUS big (MESSAGES)
< * STATUS "big" (MESSAGES 1)
< b OK *
> b SELECT small
<~ b OK *
> c UID FETCH 1:* BODY.PEEK[]
< *UID 1 BODY[] {0}
< )
< *UID 2 BODY[] {1}
< )
< *UID 3 BODY[] {2}
< )
< *UID 4 BODY[] {300}
< )
< c OK *
> d SELECT INBOX
<~ d OK *
> e UID FETCH 99998:* (RFC822.SIZE BODY.PEEK[])
< *UID 99998 *
< )
< *UID 99999 *
< )
< *UID 100000 *
< )
< e OK *
> f SELECT big
<~ f OK *
> g FETCH 1 (RFC822.SIZE BODY.PEEK[]<4294967290.100>)
< * 1 FETCH (RFC822.SIZE 4294967297 BODY[]<4294967290> {7}
< )
< g OK *
> h LIST "" "tree/branch10000*"
< * LIST (\HasNoChildren) "/" "tree/branch100000"
< h OK *
TALK
    printf 'MESSAGES INBOX 3 2000\n' > script2
    start other "$build/mh-scripted" script2 --dump dump2
    stop other
    same "$(cut -f 2,4 dump2 | tr '\t\n' ' ;')" '1 2000;2 2000;3 2000;'
    start again "$build/mh-scripted" script2 --dump dump3
    stop again
    same "$(cat dump3)" "$(cat dump2)" 'generated mail is the same each time'
}

t_model_many_connections() {
    model << 'SCRIPT'
MESSAGES INBOX 50 1000-5000
SCRIPT
    local i clients=()
    for i in $(seq 20); do
        talk "$scripted_port" << TALK > "out$i" &
<~ * ready
> a LOGIN any body
<~ a OK *
> b CREATE box$i
< b OK *
> c SELECT INBOX
<~ c OK *
> d UID FETCH 1:* (FLAGS BODY.PEEK[])
<~ d OK *
> e APPEND box$i {5000+}
>* 5000 $i
>
< e OK *
> f UID STORE 1:* +FLAGS.SILENT (flag$i)
< f OK *
> g LIST "" *
<~ g OK *
> h LOGOUT
<~ h OK *
TALK
        clients+=($!)
    done
    for i in "${clients[@]}"; do
        wait "$i" || fail 'a client'
    done
    stop scripted
    for i in $(seq 20); do
        same "$(row dump "box$i" 1 3)" "$(hash_of 5000 "$i")"
        same "$(grep -c '^literal=' "out$i")" 50
    done
    same "$(row dump INBOX 50 5 | wc -w)" 20
}

# ---------------------------------------------------------------- each fault

# faulty FAULT-ARGUMENTS: a model with three messages and this fault
faulty() {
    printf 'MESSAGES INBOX 3 500\nFOLDER Box uidvalidity=9\nFAULT %s\n' "$1" > script
    scripted
}

# session: logs in and goes on with the dialogue of stdin
session() {
    { printf '<~ * ready\n> a LOGIN any body\n<~ a OK *\n' && cat; } | talk "$scripted_port"
}

# fired N: ends the server; its fault has fired N times
fired() {
    stop scripted
    has "$(cat scripted.err)" "fired=$1 "
}

t_fault_no_bad_throttle() {
    faulty 'on=APPEND nth=2 do=NO "[OVERQUOTA] full"'
    session << 'TALK'
> b APPEND Box {1+}
>+ a\r\n
< b OK *
> c APPEND Box {1+}
>+ b\r\n
< c NO [OVERQUOTA] full
> d APPEND Box {1+}
>+ c\r\n
< d OK *
TALK
    fired 1
    same "$(wc -l < dump)" 5
    rm scripted.out
    faulty 'on=APPEND nth=2 do=NO "[OVERQUOTA] full" count=2 early'
    session << 'TALK'
> b APPEND Box {1+}
>+ a {1+}\r\nb\r\n
< b NO [OVERQUOTA] full
> c APPEND Box {1}
< c NO [OVERQUOTA] full
> d APPEND Box {1}
< + ok
>+ c\r\n
< d OK [APPENDUID 9 1] *
TALK
    fired 2
    rm scripted.out
    faulty 'on=SELECT nth=every do=BAD'
    printf '> b SELECT INBOX\n< b BAD ordered fault\n> c EXAMINE Box\n< c BAD *\n' | session
    fired 2
    rm scripted.out
    faulty 'on=FETCH do=THROTTLE "Request is throttled. Suggested Backoff Time: 60000 milliseconds"'
    session << 'TALK'
> b SELECT INBOX
<~ b OK *
> c UID FETCH 2 BODY.PEEK[]
< c BAD Request is throttled. Suggested Backoff Time: 60000 milliseconds
> d UID FETCH 2 BODY.PEEK[]
< d BAD Request is throttled. *
TALK
    fired 1
    has "$(cat scripted.err)" 'early=1'
}

t_fault_login_and_greeting() {
    faulty 'on=LOGIN do=NO "[AUTHENTICATIONFAILED] no"'
    talk "$scripted_port" << 'TALK'
<~ * ready
> a LOGIN x y
< a NO [AUTHENTICATIONFAILED] no
> b LOGIN x y
< b OK *
TALK
    fired 1
    rm scripted.out
    faulty 'on=GREETING conn=2 do=BYE "too many"'
    printf '<~ * ready\n' | talk "$scripted_port"
    printf '< * BYE too many\n= FIN\n' | talk "$scripted_port"
    fired 1
    rm scripted.out
    faulty 'on=GREETING do=LONG-LINE 20000'
    printf '< * OK xxx*\n< * ready\n' | talk "$scripted_port" > out
    fired 1
    same "$(head -1 out | wc -c)" 20001
}

t_fault_bye_close_rst() {
    local way
    for way in BYE CLOSE RST; do
        faulty "on=APPEND do=$way"
        { printf '> b APPEND Box {3+}\n>+ abc\\r\\n\n'
            [ $way = BYE ] && printf '< * BYE ordered fault\n'
            [ $way = RST ] && echo '= RST' || echo '= FIN'; } | session
        fired 1
        same "$(wc -l < dump)" 3 "$way stores nothing"
        rm scripted.out
    done
}

t_fault_stall() {
    faulty 'on=STATUS do=STALL'
    printf '> b NOOP\n< b OK *\n> c STATUS INBOX (MESSAGES)\n=SILENT 200\n!FIN\n= FIN\n' | session
    fired 1
}

t_fault_drop_reply() {
    faulty 'on=APPEND do=DROP-REPLY'
    printf '> b APPEND Box {3}\n< + ok\n>+ abc\\r\\n\n= FIN\n' | session
    fired 1
    same "$(row dump Box 1 4)" 3
    rm scripted.out
    faulty 'on=CREATE do=DROP-REPLY'
    printf '> b CREATE new\n= FIN\n' | session
    fired 1
    has "$(cat folders)" '^new'
}

t_fault_cut_after() {
    faulty 'on=APPEND do=CUT-AFTER 100000'
    printf '> b APPEND Box {200000+}\n>* 100000 1\n= FIN\n' | session
    fired 1
    same "$(wc -l < dump)" 3
    rm scripted.out
    faulty 'on=FETCH nth=2 do=CUT-AFTER 123'
    session << 'TALK' > out
> b SELECT INBOX
<~ b OK *
> c UID FETCH 1:3 BODY.PEEK[]
< *UID 1 *
< )
< *UID 2 *
= FIN
TALK
    fired 1
    # the literal of 500 ended early: 500 whole bytes of the first, 123 of the second
    same "$(grep -o '^literal=[0-9]*' out | tr '\n' ' ')" 'literal=500 literal=123 '
    rm scripted.out
    faulty 'on=LIST do=CUT-AFTER 7'
    printf '> b LIST "" *\n<+ * LIST \n= FIN\n' | session
    fired 1
}

t_fault_at_byte() {
    faulty 'on=FETCH bytes=20 do=RST'
    printf '> b SELECT INBOX\n<~ b OK *\n> c FETCH 3 RFC822\n< * 3 FETCH *\n= RST\n' | session > out
    has "$(cat out)" 'literal=20 '
    fired 1
    rm scripted.out
    faulty 'on=APPEND bytes=2 do=STALL'
    printf '> b APPEND Box {3}\n< + ok\n>+ abc\\r\\n\n=SILENT 200\n!FIN\n= FIN\n' | session
    fired 1
    same "$(wc -l < dump)" 3
    rm scripted.out
    faulty 'on=FETCH bytes=500 do=CLOSE'
    printf '> b SELECT INBOX\n<~ b OK *\n> c FETCH 3 RFC822\n< * 3 FETCH *\n= FIN\n' | session > out
    has "$(cat out)" 'literal=500 '
    fired 1
}

t_fault_noise() {
    faulty 'on=NOOP do=GARBAGE 50'
    printf '> b NOOP\n<~ b OK *\n' | session
    fired 1
    rm scripted.out
    faulty 'on=NOOP do=LONG-LINE 2000000'
    printf '> b NOOP\n<~ * OK xxx*\n< b OK *\n' | session > out
    fired 1
    [ "$(wc -L < out)" -ge 2000000 ] || fail 'the line is short'
    rm scripted.out
    faulty 'on=NOOP do=UNSOLICITED "7 FETCH (FLAGS (\\Seen))"'
    printf '> b NOOP\n< * 7 FETCH (FLAGS (\\Seen))\n< b OK *\n' | session
    fired 1
    rm scripted.out
    faulty 'on=NOOP do=WRONG-TAG'
    printf '> b NOOP\n< WRONG-TAG OK *\n> c NOOP\n< c OK *\n' | session
    fired 1
    rm scripted.out
    faulty 'on=NOOP do=SLEEP 20'
    printf '> b NOOP\n< b OK *\n' | session
    fired 1
}

t_fault_lies() {
    faulty 'on=FETCH nth=every do=LIE-SIZE -100'
    session << 'TALK'
> b SELECT INBOX
<~ b OK *
> c UID FETCH 1 RFC822.SIZE
< * 1 FETCH (UID 1 RFC822.SIZE 400)
< c OK *
> d UID FETCH 2 (RFC822.SIZE BODY.PEEK[])
< * RFC822.SIZE 400 BODY[] {500}
< )
< d OK *
TALK
    fired 2
    rm scripted.out
    faulty 'on=FETCH uid=2 do=LIE-LITERAL +7'
    session << 'TALK'
> b SELECT INBOX
<~ b OK *
> c UID FETCH 1:2 RFC822
< * {500}
< )
< * {507}
TALK
    fired 1
}

t_fault_behind_the_back() {
    faulty 'on=FETCH nth=2 do=VANISH'
    session << 'TALK'
> b SELECT INBOX
<~ b OK *
> c UID FETCH 1:3 BODY.PEEK[]
< *UID 1 *
< )
< *UID 3 *
< )
< c OK *
> d NOOP
< * 2 EXPUNGE
< d OK *
TALK
    fired 1
    rm scripted.out
    faulty 'on=SELECT nth=2 do=UIDVALIDITY 4711'
    printf '> b SELECT INBOX\n<~ b OK *\n> c SELECT INBOX\n<~ * [UIDVALIDITY 4711] *\n<~ c OK *\n' |
        session
    fired 1
    rm scripted.out
    faulty 'on=FETCH-META uid=2 do=FLAG "3 (\\Deleted $Work)"'
    session << 'TALK'
> b SELECT INBOX
<~ b OK *
> c FETCH 1:3 FLAGS
<~ * 3 FETCH (FLAGS (\Deleted $Work))
TALK
    fired 1
    rm scripted.out
    faulty 'on=NOOP do=ARRIVE 1234'
    printf '> b SELECT INBOX\n<~ b OK *\n> c NOOP\n< * 4 EXISTS\n< c OK *\n' | session
    fired 1
    same "$(row dump INBOX 4 4)" 1234
    rm scripted.out
    faulty 'on=STATUS folder=Box nth=2 do=ARRIVE 7'
    session << 'TALK'
> b STATUS INBOX (MESSAGES)
<~ b OK *
> c STATUS Box (MESSAGES)
< * STATUS "Box" (MESSAGES 0)
< c OK *
TALK
    printf '> b STATUS Box (MESSAGES)\n< * STATUS "Box" (MESSAGES 1)\n' | session
    fired 1
}

t_fault_unfaithful_target() {
    local way
    for way in LOSE DOUBLE ALTER; do
        faulty "on=APPEND nth=2 do=$way"
        session << 'TALK'
> b APPEND Box {1+}
>+ a\r\n
< b OK [APPENDUID 9 1] *
> c APPEND Box {1+}
>+ b\r\n
< c OK [APPENDUID 9 2] *
TALK
        fired 1
        case $way in
        LOSE) same "$(grep -c '^Box' dump)" 1 ;;
        DOUBLE)
            same "$(row dump Box 2 3)" "$(printf b | digest)"
            same "$(row dump Box 3 3)" "$(printf b | digest)"
            ;;
        ALTER) same "$(row dump Box 2 3)" "$(printf 'X-Altered: yes\r\nb' | digest)" ;;
        esac
        same "$(row dump Box 1 3)" "$(printf a | digest)"
        rm scripted.out
    done
}

t_fault_by_content() {
    faulty 'on=APPEND match="\x00" nth=every do=BAD "NUL in message"'
    session << 'TALK'
> b APPEND Box {2+}
>+ ok\r\n
< b OK *
> c APPEND Box {1+}
>+ a {3+}\r\nx\0y {1+}\r\nz\r\n
< c BAD NUL in message
> d APPEND Box {3}
< + ok
>+ x\0z\r\n
< d BAD NUL in message
TALK
    fired 2
    same "$(grep -c '^Box' dump)" 1
}

t_fault_through_relay() {
    printf 'FOLDER Box\n' > script
    scripted
    relay "127.0.0.1:$scripted_port" --cut-on-down '[APPENDUID' --chunk 1 --count 1
    local dialogue='<~ * ready\n> a LOGIN any body\n<~ a OK *\n> b APPEND Box {3+}\n>+ abc\\r\\n\n'
    # The cut comes behind "b OK ": the answer's beginning is out, its meaning is not.
    printf "$dialogue<+ b OK \n= FIN\n" | talk "$relay_port"
    printf "$dialogue< b OK [APPENDUID *\n" | talk "$relay_port"
    stop scripted
    same "$(wc -l < dump)" 2
}

# ---------------------------------------------------------------- TLS

# client CERTIFICATE HOST [option…]: openssl's verdict as a client at the running server
client() {
    local host=$2 by=-verify_hostname
    shift 2
    case $host in [0-9]*) by=-verify_ip ;; esac
    timeout 30 openssl s_client -connect "127.0.0.1:$scripted_port" -CAfile certs/ca.crt \
        -verify_return_error -quiet "$by" "$host" "$@" < quit 2>&1
}

# What openssl says when it, or the server, ends the handshake.
refused='verify error|:error:|alert'

t_tls_cases() {
    local began ended
    began=$(date +%s%N)
    "$here/certkit.sh" certs
    ended=$(date +%s%N)
    echo "NOTE certkit.sh took $(((ended - began) / 1000000)) ms"
    printf 'a LOGOUT\r\n' > quit
    local name host verdict got
    while IFS=$'\t' read -r name host verdict _; do
        printf 'SET TLS %s\n' "$name" > script
        scripted --certs certs
        got=$(client "$name" "$host") || true
        case $name:$verdict in
        # s_client takes the CN where there is no subjectAltName; mailhaul must not
        *:pass | cn-only:*) has "$got" '\* BYE' ;;
        *)
            has "$got" "$refused"
            has_not "$got" '\* (OK|BYE)'
            ;;
        esac
        stop scripted
        rm scripted.out
    done < certs/cases.tsv
    same "$(wc -l < certs/cases.tsv)" 19
    has "$(openssl x509 -in certs/sha1.crt -noout -text)" 'ecdsa-with-SHA1'
    has "$(openssl x509 -in certs/rsa-1024.crt -noout -text)" '\(1024 bit\)'
    has "$(openssl x509 -in certs/nul-in-name.crt -outform DER | od -An -c | tr -d ' \n')" \
        'localhost\\0\.evil\.test'
}

t_tls_starttls() {
    "$here/certkit.sh" certs
    printf 'SET STARTTLS good\nSET CAPABILITY-LOGIN IMAP4rev1\n' > script
    scripted --certs certs
    printf 'a LOGIN x y\r\nb LOGOUT\r\n' > quit
    has "$(client good localhost -starttls imap)" 'a OK'
    stop scripted
    rm scripted.out
    local number=0 end got
    for end in TRUNCATE CLOSE; do
        number=$((number + 1))
        cat << SCRIPT
CONN $number
S: * OK hi
C: * CAPABILITY
S: * CAPABILITY IMAP4rev1 STARTTLS
S: \$TAG OK
STARTTLS good
C: * LOGIN x y
S: \$TAG OK in
$end
SCRIPT
    done > script
    printf 'CONN *\nTLS good max=1.1\nS: * OK old\nCLOSE\n' >> script
    scripted --certs certs
    got=$(client good localhost -starttls imap) || true
    has "$got" 'a OK in'
    has "$got" 'unexpected eof'
    got=$(client good localhost -starttls imap) || true
    has "$got" 'a OK in'
    has_not "$got" 'unexpected eof'
    got=$(client good localhost) || true
    has "$got" "$refused"
    has_not "$got" 'OK old'
    has "$(client good localhost -tls1_1 -cipher ALL:@SECLEVEL=0)" '\* OK old'
    stop scripted
    has "$(cat transcript)" '^1 !: tls TLSv1.3$'
    has "$(cat transcript)" '^4 !: tls TLSv1.1$'
}

# ---------------------------------------------------------------- the end: run what was asked for

failed=0 passed=0
tests=("$@")
[ ${#tests[@]} -gt 0 ] || mapfile -t tests < <(compgen -A function t_)
for name in "${tests[@]}"; do
    mkdir "$scratch/$name"
    began=$(date +%s%N)
    # Not as the condition of an `if`: that would switch off errexit inside.
    (
        cd "$scratch/$name" || exit 1
        trap 'status=$?; set +e; stop_all; exit $status' EXIT
        set -e
        "$name"
    ) > "$scratch/log" 2>&1
    status=$?
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok      $name ($((($(date +%s%N) - began) / 1000000)) ms)"
        sed -n 's/^NOTE /        /p' "$scratch/log"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        sed 's/^/        /' "$scratch/log"
    fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
