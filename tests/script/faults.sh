#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The fault matrix against the whole program: a scripted server orders each fault, a second one (or a
# Maildir) is the other side, and the dumps of both say what was lost or doubled. Rows are those of the
# matrix of promises; every case must end by itself within a minute.
. "$(dirname "$0")/lib.sh"

scripted=$(dirname "$mailhaul")/tests/mh-scripted
declare -A pids=()
password=Sesame-4711
export MAILHAUL_SOURCE_PASSWORD=$password MAILHAUL_TARGET_PASSWORD=$password
encoded=$(printf '\0user01\0%s' "$password" | base64)
cases=0
mkdir -p "$scratch"/none/{cur,new,tmp} # a target that is in order, where only the source matters

# serve NAME SCRIPT [no-dump]: a scripted server; its port in port_NAME. A dump hashes all mail, which for
# 4 GiB takes longer than the case.
serve() {
    local dump=(--dump "$scratch/$1.dump" --dump-folders "$scratch/$1.folders")
    [ "${3:-}" = no-dump ] && dump=()
    printf '%s\n' "$2" >"$scratch/$1.script"
    rm -f "$scratch/$1.port"
    "$scripted" "$scratch/$1.script" --with-parent --certs "$scratch/certs" "${dump[@]}" \
        --transcript "$scratch/$1.talk" --port-file "$scratch/$1.port" >/dev/null 2>"$scratch/$1.end" &
    pids[$1]=$!
    until [ -s "$scratch/$1.port" ]; do
        kill -0 "${pids[$1]}" 2>/dev/null || { echo "no server $1: $(cat "$scratch/$1.end")"; exit 1; }
        sleep 0.01
    done
    declare -g "port_$1=$(tr -dc 0-9 <"$scratch/$1.port")"
}

# halt NAME: ends a server; its exit code, so violations and lines that nobody expected show
halt() {
    local pid=${pids[$1]}
    unset "pids[$1]"
    kill -TERM "$pid"
    wait "$pid"
}

finish_scripted() {
    local pid
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null; done
    finish
}
trap finish_scripted EXIT

# haul COMMAND URL URL [option…]: exit code in rc, output in out and err
haul() {
    cases=$((cases + 1))
    timeout -s KILL 60 "$mailhaul" "$@" --state "$scratch/$cases.db" >"$scratch/out" 2>"$scratch/err" </dev/null
    rc=$?
}
tally='" ".join(str(x) for x in (j["found"],j["copied"],j["adopted"],sum(j["skipped"].values()),sum(j["failed"].values())))'
counts() { json "$scratch/out" "$tally" 2>/dev/null; }

# mail NAME: what a server holds, without UIDs
mail() { cut -f 1,3-6 "$scratch/$1.dump" | LC_ALL=C sort; }
# fired NAME [FIELD [N]]: a field of the closing line of the Nth fault
fired() { sed -n 's/^.*fault line=/line=/p' "$scratch/$1.end" | sed -n "${3:-1}p" | tr ' ' '\n' | sed -n "s/^${2:-fired}=//p"; }

# between ROW SOURCE-LINES TARGET-LINES [option…]: one copy between two scripted servers
between() {
    row=$1
    serve source "$2"
    serve target "$3"
    haul copy "$(url user01 "$port_source")" "$(url user01 "$port_target")" --json "${@:4}"
    halt source || fail "$row: the source was talked to wrongly: $(tail -n 1 "$scratch/source.end")"
    halt target || fail "$row: the target was talked to wrongly: $(tail -n 1 "$scratch/target.end")"
}

# whole SIDE N: the fault of SIDE was met N times, and nothing is lost or doubled
whole() {
    local got
    got="exit $rc fired $(fired "$1") left $(counts | cut -d ' ' -f 4-)"
    if [ "$got" != "exit 0 fired $2 left 0 0" ]; then
        fail "$row: $got, expected exit 0 fired $2 left 0 0"
        head -n 3 "$scratch/err"
    elif [ "$(mail source)" != "$(mail target)" ]; then
        fail "$row: the sides differ"
        diff <(mail source) <(mail target) | head -n 4
    else
        pass "$row"
    fi
}

box='MESSAGES INBOX 12 1000-9000
FOLDER Archive
MESSAGES Archive 8 1000-9000'
plain='SET CAPABILITY IMAP4rev1'

# --- connections that end --------------------------------------------------------------------------

between "4: cut in mid-literal at the source" "$box
FAULT on=FETCH nth=5 do=CUT-AFTER 700" ""
whole source 1
between "4: cut in a message that is passed through" "MESSAGE INBOX - - size=3000000
FAULT on=FETCH do=CUT-AFTER 2000000" ""
whole source 1
between "4: reset in mid-literal, twice" "$box
FAULT on=FETCH nth=3 count=2 do=RST bytes=500" ""
whole source 2
between "4: a message that takes the connection with it each time" "$box
FAULT on=FETCH uid=3 folder=INBOX nth=every do=RST bytes=500" ""
equal "$row is given up, the others are not" "3 20 19 0 0 1" "$rc $(counts)"
equal "4: after three tries" 3 "$(fired source)"
between "5: stored, but the answer is lost" "$box" "FAULT on=APPEND nth=5 do=DROP-REPLY"
whole target 1
between "5: three lost answers" "$box" "FAULT on=APPEND nth=2 do=DROP-REPLY
FAULT on=APPEND nth=7 do=DROP-REPLY
FAULT on=APPEND nth=15 do=DROP-REPLY"
whole target 1
equal "5: all three happened" "1 1" "$(fired target fired 2) $(fired target fired 3)"
between "5: a lost answer without UIDPLUS and LITERAL+" "$box" "$plain
FAULT on=APPEND nth=5 do=DROP-REPLY"
whole target 1
between "5: a lost answer between identical twins" "MESSAGE INBOX - - text=\"Subject: a\r\n\r\ntwin\r\n\"
MESSAGE INBOX - - text=\"Subject: a\r\n\r\ntwin\r\n\"
MESSAGE INBOX - - text=\"Subject: a\r\n\r\ntwin\r\n\"" "$plain
FAULT on=APPEND nth=2 do=DROP-REPLY"
whole target 1
between "6: cut inside the APPEND literal" "$box" "FAULT on=APPEND nth=5 do=CUT-AFTER 500"
whole target 1
between "6: reset inside a waiting literal" "$box" "$plain
FAULT on=APPEND nth=5 do=RST bytes=500"
whole target 1
between "6: cut inside a message that is passed through" "MESSAGE INBOX - - size=3000000" \
    "FAULT on=APPEND do=CUT-AFTER 2000000"
whole target 1
between "8: BYE with a reason at the source" "$box
FAULT on=FETCH nth=5 do=BYE \"Too many connections, come back\"" ""
whole source 1
between "8: BYE without a reason at the source" "$box
FAULT on=FETCH nth=5 do=BYE \"\"" ""
whole source 1
between "8: BYE at the target" "$box" "FAULT on=APPEND nth=5 do=BYE \"Server shutting down\""
whole target 1
between "8: the target closes at SELECT" "$box" "FAULT on=SELECT do=CLOSE"
whole target 1
between "8: BYE instead of a greeting" "$box
FAULT on=GREETING do=BYE \"Busy\"" ""
whole source 1

# --- refusals --------------------------------------------------------------------------------------

between "9: over quota, then room again" "$box" "FAULT on=APPEND nth=3 count=2 do=NO \"[OVERQUOTA] full\""
whole target 2
between "10: APPENDLIMIT is known before sending" "$box
MESSAGE INBOX - - size=50000" "SET APPENDLIMIT 20000
SET CAPABILITY IMAP4rev1 LITERAL+ UIDPLUS MULTIAPPEND APPENDLIMIT=20000
FAULT on=APPEND nth=every match=\"zzzzzzzz-never\" do=BYE \"\""
equal "$row" "21 20 0 1 0" "$(counts)"
equal "10: by name" too-big "$(json "$scratch/out" '" ".join(j["skipped"])')"
grep -q '{50000' "$scratch/target.talk" && fail "10: it was announced" || pass "10: it was never announced"
between "10: TOOBIG that nobody announced" "$box
MESSAGE INBOX - - text=\"Subject: needle\r\n\r\nbody\r\n\"" "FAULT on=APPEND nth=every match=\"needle\" do=NO \"[TOOBIG] no\""
equal "$row" "21 20" "$(counts | cut -d ' ' -f 1,2)"
grep -q '"too-big":1' "$scratch/out" && pass "10: by name too" || fail "10: no too-big: $(cut -c 1-300 "$scratch/out")"
between "11: NO [UNAVAILABLE] passes" "$box" "FAULT on=APPEND nth=4 do=NO \"[UNAVAILABLE] later\""
whole target 1
# The last message is the one refused: nothing else is on its way that the server would count as early.
between "12: throttled with milliseconds" "MESSAGES INBOX 4 1000-9000" "$plain UIDPLUS
FAULT on=APPEND nth=4 do=THROTTLE \"Request is throttled. Suggested Backoff Time: 1500 milliseconds\""
whole target 1
equal "12: shown as waiting" 1 "$(grep -c 'waiting until.*Backoff' "$scratch/err")"
equal "12: obeyed to the millisecond" 0 "$(fired target early)"
between "12: throttled in the middle of a batch" "$box" "FAULT on=APPEND nth=4 do=THROTTLE \"Request is throttled. Suggested Backoff Time: 700 milliseconds\""
whole target 1
between "12: the source throttles" "$box
FAULT on=FETCH-COMMAND nth=2 do=THROTTLE \"Request is throttled. Suggested Backoff Time: 1500 milliseconds\"" ""
whole source 1
equal "12: obeyed at the source" 0 "$(fired source early)"
between "14: BAD on one message of a batch" "$box
MESSAGE INBOX - - text=\"Subject: needle\r\n\r\nbody\r\n\"" "FAULT on=APPEND nth=every match=\"needle\" do=BAD \"cannot parse\""
equal "$row is isolated" "3 21 20 0 0 1" "$rc $(counts)"
equal "14: the others are there" 1 "$(diff <(mail source) <(mail target) | grep -c '^[<>]')"
between "14: BAD where each message waits" "$box
MESSAGE INBOX - - text=\"Subject: needle\r\n\r\nbody\r\n\"" "$plain
FAULT on=APPEND nth=every match=\"needle\" do=BAD \"cannot parse\""
equal "$row is isolated" "3 21 20 0 0 1" "$rc $(counts)"
between "15: TRYCREATE, and the folder is there after all" "$box" \
    "FAULT on=APPEND folder=Archive do=NO \"[TRYCREATE] no such folder\""
whole target 1
between "15: created, but the answer is lost" "$box" "FAULT on=CREATE do=DROP-REPLY"
whole target 1

# --- a source that changes or lies -----------------------------------------------------------------

between "17: expunged between list and fetch" "$box
FAULT on=FETCH nth=4 do=VANISH" ""
equal "$row" "20 19 1" "$(counts | cut -d ' ' -f 1,2,4)"
grep -q '"vanished":1' "$scratch/out" && pass "17: counted as vanished" || fail "17: $(cut -c 1-300 "$scratch/out")"
equal "17: the others are there" "$(mail source)" "$(mail target)"
between "19: RFC822.SIZE is too small" "$box
FAULT on=FETCH nth=every do=LIE-SIZE -100" ""
[ "$(fired source)" -gt 0 ] && whole source "$(fired source)" || fail "$row: it never lied"
between "19: RFC822.SIZE is too large" "$box
FAULT on=FETCH nth=every do=LIE-SIZE +100" ""
[ "$(fired source)" -gt 0 ] && whole source "$(fired source)" || fail "$row: it never lied"
between "11: the source is busy at SELECT" "$box
FAULT on=SELECT nth=2 do=NO \"[INUSE] busy\"" ""
whole source 1

# --- sizes and numbers -----------------------------------------------------------------------------

# measured COMMAND…: like haul, and the largest resident set in KiB in rss
measured() {
    cases=$((cases + 1))
    timeout -s KILL 60 python3 -c 'import resource, subprocess, sys
rc = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(rc)' "$scratch/rss" "$mailhaul" "$@" --state "$scratch/$cases.db" >"$scratch/out" 2>"$scratch/err" </dev/null
    rc=$?
    rss=$(cat "$scratch/rss")
}
# below NAME MIB: the resident set stayed under MIB
below() { [ "$rss" -lt $(($2 * 1024)) ] && pass "$1: $((rss / 1024)) MiB" || fail "$1: $((rss / 1024)) MiB, allowed $2"; }

serve source "MESSAGE INBOX - - size=0
MESSAGE INBOX - - size=1
MESSAGE INBOX - - size=157286400"
serve target "SET STORE digest
SET EMPTY on"
measured copy "$(url user01 "$port_source")" "$(url user01 "$port_target")" --json --memory 32MiB
halt source || fail "21: the source was talked to wrongly"
halt target || fail "21: the target was talked to wrongly"
equal "21: messages of 0 bytes, 1 byte and 150 MiB are carried" "0 3 3 0 0 0" "$rc $(counts)"
equal "21: byte-exact" "$(cut -f 3,4 "$scratch/source.dump" | LC_ALL=C sort)" "$(cut -f 3,4 "$scratch/target.dump" | LC_ALL=C sort)"
below "21: memory" 96
serve source "MESSAGE INBOX - - size=4294967297
MESSAGE INBOX - - size=1000" no-dump
serve target "SET CAPABILITY IMAP4rev1 LITERAL+ UIDPLUS APPENDLIMIT=200000000
SET APPENDLIMIT 200000000"
measured copy "$(url user01 "$port_source")" "$(url user01 "$port_target")" --json --memory 32MiB
halt source || fail "21: the source was talked to wrongly"
halt target || fail "21: the target was talked to wrongly"
equal "21: 4 GiB + 1 is skipped" "0 2 1 0 1 0" "$rc $(counts)"
grep -qE 'C: .*FETCH 1[ :,].*BODY' "$scratch/source.talk" && fail "21: 4 GiB are fetched to be thrown away" ||
    pass "21: and not fetched either"
equal "21: too big, by name" too-big "$(json "$scratch/out" '" ".join(j["skipped"])' 2>/dev/null)"
below "21: memory" 96

serve source "FOLDERS many/box 10000"
measured check "$(url user01 "$port_source")" "maildir:$scratch/none" --json
halt source
equal "22: 10,000 folders are listed" "0 10001" "$rc $(json "$scratch/out" 'j["mailboxes"][0]["source"]["folders"]' 2>/dev/null)"
below "22: memory" 96

# --- names -----------------------------------------------------------------------------------------

names='FOLDER "\e[31mred\e]0;owned\x07"
FOLDER ".."
FOLDER "../../escape"
FOLDER "a&b"
FOLDER "&AGE-"
FOLDER "trailing "
FOLDER "bell\x07"
FOLDER "line\nfeed"
FOLDER "CASE"
FOLDER "case"
MESSAGES "\e[31mred\e]0;owned\x07" 1 500
MESSAGES "../../escape" 1 500
MESSAGES ".." 1 500'
for kind in maildir eml scripted; do
    serve source "$names"
    serve target ""
    case $kind in
    scripted) to=$(url user01 "$port_target") ;;
    *) to=$kind:$scratch/jail/deep/down/$kind && mkdir -p "$scratch/jail/deep/down" ;;
    esac
    haul copy "$(url user01 "$port_source")" "$to" -vv --trace "$scratch/names.trace"
    halt source
    halt target
    equal "23: hostile names to $kind: everything carried" "0" "$rc"
    cat "$scratch/out" "$scratch/err" "$scratch/names.trace" >"$scratch/all" 2>/dev/null
    LC_ALL=C grep -q $'[\e\a\x01-\x08]' "$scratch/all" && fail "23: a raw control byte is printed ($kind)" ||
        pass "23: no control byte is printed ($kind)"
done
equal "23: no name is a path" "deep deep/down deep/down/eml deep/down/maildir" \
    "$(cd "$scratch/jail" && find . -mindepth 1 -maxdepth 3 | sed 's,^\./,,' | LC_ALL=C sort | xargs)"
serve source 'S: * OK [CAPABILITY IMAP4rev1] hello
LOOP
C: * *
S: $TAG OK done
END'
haul check "$(url user01 "$port_source")" "maildir:$scratch/none"
halt source
[ "$rc" -lt 128 ] && pass "34: a server that says OK to everything: exit $rc" || fail "34: a server that says OK to everything: exit $rc"

# --- hostile servers -------------------------------------------------------------------------------

# hostile NAME LINES WORDS: mailhaul stops by itself with one line about the source that has WORDS
hostile() {
    local command
    for command in check copy; do
        start=$SECONDS
        serve source "$box
$2"
        haul $command "$(url user01 "$port_source")" "maildir:$scratch/none"
        halt source
        stopped "34: $command: $1" "$3"
    done
}
# stopped NAME WORDS: the run of haul that began at start ended by itself, with one line that has WORDS
stopped() {
    local line
    line=$(cat "$scratch/out" "$scratch/err" | grep -E '^(  ! )?user01: source')
    if [ "$rc" = 0 ] || [ "$rc" -gt 128 ]; then
        fail "$1: exit $rc after $((SECONDS - start)) s: $(tail -n 1 "$scratch/err")"
    elif [ "$(wc -l <<<"$line")" != 1 ] || ! grep -qE -- "$2" <<<"$line"; then
        fail "$1: no single line with '$2': $line"
    elif LC_ALL=C grep -q $'[\e\a]' "$scratch/out" "$scratch/err"; then
        fail "$1: a raw control byte"
    else
        pass "$1: exit $rc, ${line:0:110}"
    fi
}
deep=$(printf '(%.0s' $(seq 100))
hostile "endless line" "FAULT on=LIST nth=every do=LONG-LINE 3000000" 'longer than'
hostile "deep parentheses" "FAULT on=LIST nth=every do=UNSOLICITED \"LIST $deep\"" 'parenthes'
hostile "literal of 4 GiB outside a body" 'FAULT on=LIST nth=every do=UNSOLICITED "LIST () \"/\" {4294967296}"' 'literal'
hostile "wrong tag" "FAULT on=LIST nth=every do=WRONG-TAG" 'not sent'
hostile "number overflow" 'FAULT on=LIST nth=every do=UNSOLICITED "99999999999999999999999 EXISTS"' 'number'
hostile "noise" "FAULT on=LIST nth=every do=GARBAGE 5000" 'source'
hostile "escape codes in a refusal" 'FAULT on=LOGIN nth=every do=NO "\e[2J\e]0;owned\x07 go away"' 'refuses'
hostile "endless greeting" 'FAULT on=GREETING nth=every do=LONG-LINE 3000000' 'greet|IMAP'
for fault in 'on=LIST nth=every do=WRONG-TAG' 'on=LOGIN nth=every do=BAD "no"' 'on=GREETING do=CLOSE'; do
    serve source "FAULT $fault"
    haul check "$(url user01 "$port_source")" "maildir:$scratch/none"
    halt source
    equal "34: check blames the source alone: $fault" "source" \
        "$(sed -n 's/^  ! user01: \([a-z]*\)[:,].*/\1/p' "$scratch/out" "$scratch/err" | xargs)"
    [ "$rc" != 10 ] && pass "34: exit $rc is that of the source" || fail "34: exit 10 (no project) for a source that fails"
done

# --- TLS -------------------------------------------------------------------------------------------

"$here/tools/certkit.sh" "$scratch/certs" || exit 1
ca="ca=$scratch/certs/ca.crt"
# quiet NAME: neither a login nor the password came to the source
quiet() {
    if grep -qE 'C: .*(LOGIN|AUTHENTICATE)' "$scratch/source.talk" || grep -qF -e "$password" -e "$encoded" "$scratch/source.talk"; then
        fail "$1: credentials were sent"
        return 1
    fi
}
# refused NAME WORDS: the run of haul ended with a text that has WORDS, and nothing was given away
refused() {
    quiet "$1" || return
    if [ "$rc" = 0 ] || [ "$rc" -gt 128 ]; then
        fail "$1: exit $rc: $(tail -n 1 "$scratch/err")"
    elif ! cat "$scratch/out" "$scratch/err" | grep -E 'user01: source[:,]' | grep -iE -- "$2" >/dev/null; then
        fail "$1: no '$2' in: $(cat "$scratch/out" "$scratch/err" | head -n 3)"
    else
        pass "$1"
    fi
}
while IFS=$'\t' read -r certificate host want why; do
    case $host in
    localhost | 127.0.0.1) ;;
    *)
        echo "skipped TLS $certificate as $host: needs a resolver (net_tls_test has it)"
        continue
        ;;
    esac
    serve source "$box
SET TLS $certificate"
    haul check "imaps://user01@$host:$port_source/?$ca" "maildir:$scratch/none"
    halt source
    if [ "$want" = refuse ]; then
        refused "TLS $certificate as $host: ${why:-refused}" 'certificate|tls'
        grep -qiE '([0-9a-f]{2}:?){32}' "$scratch/out" "$scratch/err" || fail "TLS $certificate: no fingerprint"
    else
        equal "TLS $certificate as $host" 0 "$rc"
    fi
done <"$scratch/certs/cases.tsv"
serve source 'TLS good max=1.1
UNTIL-CLOSE'
haul check "imaps://user01@localhost:$port_source/?$ca" "maildir:$scratch/none"
halt source
refused "TLS 1.1 at most" 'tls|protocol|version'
serve source "$box
CONN 1
TLS good
S: * OK hello
TRUNCATE
CONN *
TLS good
MODEL"
haul copy "imaps://user01@localhost:$port_source/?$ca" "maildir:$scratch/tls" --json
halt source
equal "TLS cut without close_notify: tried again" "0 20 20 0 0 0" "$rc $(counts)"

# --- a certificate that changes in the middle ---------------------------------------------------------

# other_certificate SIDE CERTIFICATE QUERY: from the second connection to SIDE on its certificate is another one, and the first
# breaks in the middle of a message
other_certificate() {
    local side=$1 lines fault='FAULT on=FETCH nth=5 do=CUT-AFTER 700'
    [ "$side" = target ] && fault='FAULT on=APPEND nth=5 do=CUT-AFTER 500'
    lines="$fault
CONN 1
TLS good
MODEL
CONN *
TLS $2
MODEL"
    if [ "$side" = source ]; then
        serve source "$box
$lines"
        serve target ""
    else
        serve source "$box"
        serve target "$lines"
    fi
    ask "$side" "$3"
    start=$SECONDS
    haul copy "$source_url" "$target_url" --json --per-mailbox 1
}
# ask SIDE QUERY: the addresses, SIDE's over TLS
ask() {
    source_url=$(url user01 "$port_source") target_url=$(url user01 "$port_target")
    [ "$1" = source ] && source_url="imaps://user01@localhost:$port_source/?$2" ||
        target_url="imaps://user01@localhost:$port_target/?$2"
}
fingerprint() { openssl x509 -in "$scratch/certs/$1.crt" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f; }
logins() { grep -cE 'C: .*(LOGIN|AUTHENTICATE)' "$scratch/$1.talk"; }

good_pin=pin=sha256:$(fingerprint good)
for side in source target; do
    while read -r certificate query words; do
        [ "$side $certificate" = "target expired" ] || [ "$side $certificate" = "target wrong-host" ] && continue # as the source's
        row="33: $side: $certificate behind ?${query%%=*}="
        other_certificate "$side" "$certificate" "$query"
        got=$(cat "$scratch/out" "$scratch/err")
        if [ "$rc" = 0 ] || [ "$rc" -gt 128 ]; then
            fail "$row: exit $rc after $((SECONDS - start)) s"
        elif ! grep -q "certificate refused.*$words" <<<"$got" || ! grep -q "$(fingerprint "$certificate")" <<<"$got"; then
            fail "$row: no refusal with '$words' and the fingerprint: ${got:0:400}"
        else
            pass "$row: stopped, exit $rc, with the reason and the new fingerprint"
        fi
        equal "$row: no password went to it" 1 "$(logins "$side")"
        # The answer to the question: it is the server's.
        ask "$side" "pin=sha256:$(fingerprint "$certificate")"
        cases=$((cases - 1)) # the same state
        haul copy "$source_url" "$target_url" --json
        halt source
        halt target
        equal "$row: goes on when it is pinned" 0 "$rc"
        equal "$row: nothing lost, nothing doubled" "$(mail source)" "$(mail target)"
    done <<LIST
self-signed $ca self-signed
unknown-root $ca unknown
expired $ca expired
wrong-host $ca not for localhost
chain $good_pin not the pinned one
LIST
    row="33: $side: renewed, by an authority that is trusted"
    other_certificate "$side" chain "$ca"
    halt source
    halt target
    equal "$row: goes on" "0 2" "$rc $(logins "$side")"
    equal "$row: nothing lost, nothing doubled" "$(mail source)" "$(mail target)"
done

# in_the_clear NAME WORDS URL-QUERY SCRIPT: nothing is given away over a connection without TLS
in_the_clear() {
    serve source "$4"
    haul check "imap://user01@localhost:$port_source/?$3" "maildir:$scratch/none"
    halt source || fail "$1: $(head -n 1 "$scratch/source.end")"
    refused "$1" "$2"
}
serve source "$box
SET STARTTLS good"
haul check "imap://user01@localhost:$port_source/?$ca" "maildir:$scratch/none"
halt source
equal "STARTTLS" 0 "$rc"
in_the_clear "STARTTLS with a certificate of nobody" certificate "$ca" "SET STARTTLS unknown-root"
in_the_clear "STARTTLS followed by answers in the clear" clear "$ca" 'REJECT * LOGIN *
REJECT * AUTHENTICATE *
S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hello
C: * STARTTLS
S+: $TAG OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n
UNTIL-CLOSE'
in_the_clear "STARTTLS that is missing" STARTTLS "$ca" "SET CAPABILITY IMAP4rev1 AUTH=PLAIN"
in_the_clear "STARTTLS that is refused" STARTTLS "$ca" 'S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hello
LOOP
C: * *
S: $TAG NO not today
END'
in_the_clear "PREAUTH in the clear" "logged in before" "$ca" "SET GREETING PREAUTH welcome"
in_the_clear "LOGINDISABLED" 'LOGIN|log' "tls=none" "SET CAPABILITY IMAP4rev1 LOGINDISABLED"
grep -rqsF -e "$password" "$scratch"/*.db "$scratch/names.trace" && fail "the password is in a state or trace" ||
    pass "the password is in no state and no trace"
verdict
