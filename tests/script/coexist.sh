#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Coexistence between two real Dovecots, by a project: moves, renames, quarantine, and the service: ready, awake, in step, stopped.
. "$(dirname "$0")/lib.sh"

start old dovecot --users 2
start new dovecot --users 2 --store sdbox
mkdir "$scratch/project"
cd "$scratch/project" || exit 1
{ echo id,source_user,target_user; for i in 1 2; do echo "user0$i,user0$i,user0$i"; done; } >users.csv
chmod 600 users.csv
cat >mailhaul.yaml <<YAML
version: 1
project: {name: coexist, state: state.db}
source: {type: imap, host: 127.0.0.1, port: $port_old, tls: none}
target: {type: imap, host: 127.0.0.1, port: $port_new, tls: none}
users: users.csv
policy: {deletions: quarantine}
YAML

# old USER COMMAND…: what a user does, and what both sides hold. In python, so that it is nobody's own code.
cat >"$scratch/user.py" <<'PY'
import imaplib, random, sys, time
port, user, what, *rest = sys.argv[1:]
m = imaplib.IMAP4("127.0.0.1", int(port)); m.login(user, "secret")
def text(s): return ("Subject: %s\r\nFrom: a@b.example\r\n\r\n%s\r\n" % (s, s)).encode()
def find(folder, s):
    if m.select('"%s"' % folder)[0] != "OK": return None
    r = m.uid("search", "HEADER", "SUBJECT", s)[1][0].split()
    return r[0] if r else None
def folders():
    return sorted(l.decode().split('"')[-2] if l.endswith(b'"') else l.decode().split()[-1] for l in m.list()[1])
if what == "deliver": assert m.append('"%s"' % rest[0], "", None, text(rest[1]))[0] == "OK"
elif what == "make": assert m.create('"%s"' % rest[0])[0] == "OK"
elif what == "flag": assert m.uid("store", find(rest[0], rest[1]), "+FLAGS", rest[2])[0] == "OK"
elif what == "move": assert m.uid("move", find(rest[0], rest[1]), '"%s"' % rest[2])[0] == "OK"
elif what == "rename": assert m.rename('"%s"' % rest[0], '"%s"' % rest[1])[0] == "OK"
elif what == "delete":
    u = find(rest[0], rest[1]); m.uid("store", u, "+FLAGS", r"(\Deleted)"); assert m.uid("expunge", u)[0] == "OK"
elif what == "where":
    hits = [f.replace(".", "/") for f in folders() if find(f, rest[0])]
    print(" ".join(hits) or "nowhere")
elif what == "fill":
    for i in range(int(rest[1])): assert m.append('"%s"' % rest[0], "", None, text("%s %d %s" % (rest[0], i, "x" * int(rest[2]))))[0] == "OK"
elif what == "busy": # one who does this and that in two folders for so long
    r, until, n = random.Random(4711), time.time() + float(rest[2]), 0
    while time.time() < until:
        folder, n = r.choice(rest[:2]), n + 1
        assert m.append('"%s"' % folder, "", None, text("busy %d" % n))[0] == "OK"
        m.select('"%s"' % folder)
        uid = r.choice(m.uid("search", "ALL")[1][0].split())
        do = r.randrange(4)
        if do == 0: m.uid("store", uid, "+FLAGS", r"(\Flagged)")
        elif do == 1: m.uid("move", uid, '"%s"' % rest[rest[0] == folder])
        elif do == 2: m.uid("store", uid, "+FLAGS", r"(\Deleted)"); m.uid("expunge", uid)
    print(n)
elif what == "flags":
    print(m.uid("fetch", find(rest[0], rest[1]), "(FLAGS)")[1][0].decode().count(rest[2]))
m.logout()
PY
old() { python3 "$scratch/user.py" "$port_old" "$@" || fail "old $*"; }
new() { python3 "$scratch/user.py" "$port_new" "$@"; }
run() { "$mailhaul" run --json "$@" >"$scratch/run.json" 2>"$scratch/err"; }
numbers() { json "$scratch/run.json" '" ".join(str(j[k]) for k in ("copied","moved","updated","removed","gone"))'; }

old user01 make Work
old user01 make Archive
for s in alpha beta gamma; do old user01 deliver INBOX "$s"; done
old user01 deliver Work delta
run
equal "the first run" "0 4 0 0 0 0" "$? $(numbers)"

old user01 move INBOX alpha Archive
old user01 flag Archive alpha '(\Flagged)'
old user01 rename Work Projects
old user01 delete INBOX beta
run
equal "a move with a new flag, a rename, a deletion" "0 0 1 1 1 0" "$? $(numbers)"
equal "moved" "Archive" "$(new user01 where alpha)"
equal "flagged there" 1 "$(new user01 flags Archive alpha Flagged)"
equal "renamed" "Projects" "$(new user01 where delta)"
equal "in quarantine" "mailhaul-removed/$(date -u +%F)/INBOX" "$(new user01 where beta)"

# What the target's user does stays done.
new user01 delete INBOX gamma
old user01 flag INBOX gamma '(\Seen)'
old user01 move INBOX gamma Archive
run
equal "removed at the target, moved at the source" "0 0 0 0 0 0" "$? $(numbers)"
equal "not brought back" "nowhere" "$(new user01 where gamma)"
run
equal "a run without news" "0 0 0 0 0 0" "$? $(numbers)"

# --- the service -------------------------------------------------------------------------------------
export NOTIFY_SOCKET=$scratch/notify
python3 - "$NOTIFY_SOCKET" >"$scratch/notified" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); s.settimeout(120)
print("listening", flush=True)
while True:
    m = s.recv(4096).decode(); print(m.replace("\n", " "), flush=True)
    if "STOPPING" in m: break
PY
listener=$!
until grep -qs listening "$scratch/notified"; do kill -0 "$listener" || exit 1; done
"$mailhaul" run --watch --poll 5 >"$scratch/watch.out" 2>"$scratch/watch.err" &
service=$!

# await NAME WANT COMMAND…: within a minute
await() {
    local name=$1 want=$2 got= until=$((SECONDS + 60))
    shift 2
    while [ "$SECONDS" -lt "$until" ]; do
        got=$("$@")
        [ "$got" = "$want" ] && { pass "$name"; return; }
        kill -0 "$service" 2>/dev/null || break
    done
    fail "$name: expected $want, got $got"
}
ready() { grep -c READY=1 "$scratch/notified"; }
await "systemd is told that it is ready" 1 ready
old user01 deliver Projects epsilon
await "new mail in a folder comes" "Projects" new user01 where epsilon
old user02 deliver INBOX zeta
await "and another mailbox's" "INBOX" new user02 where zeta
old user01 move Projects epsilon INBOX
await "and a move" "INBOX" new user01 where epsilon
"$mailhaul" run --json >"$scratch/second.json" 2>"$scratch/second.err"
equal "a second run is locked out" 11 $?
lag() {
    "$mailhaul" status --json >"$scratch/status.json" 2>/dev/null &&
        json "$scratch/status.json" 'all(0 <= m["lag_ms"] < 20000 and m["equal"] > 0 for m in j["mailboxes"])'
}
await "status tells the lag" True lag

# --- verify beside it --------------------------------------------------------------------------------
# found, wrong, right: the sums of its account
account='" ".join(str(x) for x in (j["found"] - j["exact"] - j["same"] - j["skipped"] - j["listed"] - j["later"], j["differs"] + j["missing"] + j["extra"] + j["dates"]))'
verify() { timeout 60 "$mailhaul" verify --json "$@" >"$scratch/verify.json" 2>"$scratch/verify.err"; }
settled() {
    verify user02
    echo "$? $(json "$scratch/verify.json" 'j["found"] - j["exact"]')"
}
old user02 make Work
old user02 fill INBOX 300 2000
old user02 fill Work 200 100
await "what was put in by hundreds is carried, and verify says so beside the service" "0 0" settled
old user02 busy INBOX Work 8 >"$scratch/busy" &
user=$!
verifies=0 wrong=0
while kill -0 "$user" 2>/dev/null; do
    verify user02
    rc=$?
    verifies=$((verifies + 1))
    got="$(json "$scratch/verify.json" "$account") $(json "$scratch/verify.json" 'j["pending"] + j["flags"] > 0')"
    case "$rc $got" in
    "0 0 0 False" | "4 0 0 True") ;;
    *) wrong=$((wrong + 1)); echo "exit $rc, $got: $(cut -c 1-600 "$scratch/verify.json")" ;;
    esac
done
wait "$user"
equal "a user who is busy: none of $verifies verifies accuses anybody ($(cat "$scratch/busy") changes)" 0 "$wrong"
await "and all is equal when it is over" "0 0" settled
"$mailhaul" verify --deep --bwlimit 1K user02 >"$scratch/slow.out" 2>"$scratch/slow.err" &
slow=$!
# Not before it has the mailbox: whoever comes first locks the other out.
until grep -aqs "pid $slow on " state.db.verify.lock; do
    kill -0 "$slow" 2>/dev/null || { cat "$scratch/slow.err" "$scratch/slow.out"; break; }
done
verify user02
equal "a second verify of the mailbox is locked out" 11 $?
grep -q "verify --deep of user02, pid $slow on " "$scratch/verify.json" && pass "and told by whom" ||
    fail "not told by whom: $(cat "$scratch/verify.json")"
verify user01
equal "one of another mailbox is not" 0 $?
kill -9 "$slow"
wait "$slow" 2>/dev/null
verify user02
equal "a dead one's lock is free" 0 $?
kill -0 "$service" && pass "the service works on" || fail "the service has ended"
old user01 deliver INBOX iota
await "and carries" "INBOX" new user01 where iota
kill -INT "$service"
wait "$service"
equal "the service ends well" 0 $?
equal "systemd is told of the end" 1 "$(timeout 20 sh -c "until grep -c STOPPING $scratch/notified; do :; done" | tail -n 1)"
unset NOTIFY_SOCKET
run
equal "nothing is left to do" "0 0 0 0 0 0" "$? $(numbers)"
"$mailhaul" verify --json >"$scratch/verify.json" 2>"$scratch/err"
equal "verify agrees" "0 0 0 0" "$(json "$scratch/verify.json" '" ".join(str(j[k]) for k in ("differs","flags","dates","missing"))')"
expect "until a time that is over" 2 "is over" "$mailhaul" run --until 2020-01-01T00:00
expect "until no time" 2 "cannot read" "$mailhaul" run --until tomorrow
expect "watch without doing" 2 "--dry-run" "$mailhaul" run --watch --dry-run
verdict
