#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Between two real Dovecots: copy, proof, delta, a kill in the middle, tampering that verify must name.
. "$(dirname "$0")/lib.sh"

"$corpus" --profile friday --mailboxes 3 --messages 120 --seed 7 --maildir "$scratch/mail" >/dev/null || exit 1
start old dovecot --users 3 --maildir-root "$scratch/mail"
start new dovecot --users 3 --store sdbox
{ echo id,source_user,target_user; for i in 1 2 3; do echo "user0$i,user0$i,user0$i"; done; } >"$scratch/users.csv"
chmod 600 "$scratch/users.csv"
haul() {
    local command=$1
    shift
    "$mailhaul" "$command" --users "$scratch/users.csv" "imap://127.0.0.1:$port_old/?tls=none" \
        "imap://127.0.0.1:$port_new/?tls=none" "$@" 2>"$scratch/err"
}
counts='j["found"],j["copied"],j["adopted"],sum(j["skipped"].values()),sum(j["failed"].values())'

haul check --json >"$scratch/check.json"
equal "check exits 0" 0 $?
equal "check counts the source" 360 "$(json "$scratch/check.json" 'sum(m["source"]["messages"] for m in j["mailboxes"])')"
haul copy --dry-run --json >"$scratch/dry.json"
equal "a dry run decides" "360" "$(json "$scratch/dry.json" 'j["skipped"]["dry-run"]')"

# Killed in the middle, several times, then to the end: nothing lost, nothing doubled.
for seconds in 0.2 0.4 0.8; do
    timeout -s KILL "$seconds" "$mailhaul" copy --users "$scratch/users.csv" "imap://127.0.0.1:$port_old/?tls=none" \
        "imap://127.0.0.1:$port_new/?tls=none" >/dev/null 2>&1
done
haul copy --json >"$scratch/copy.json"
equal "copy exits 0 after kills" 0 $?
equal "the ledger's remainder is zero" 0 "$(json "$scratch/copy.json" 'j["found"]-j["copied"]-j["adopted"]-sum(j["skipped"].values())-sum(j["failed"].values())')"
equal "everything was found" 360 "$(json "$scratch/copy.json" 'j["found"]')"
haul verify --json >"$scratch/verify.json"
equal "verify exits 0" 0 $?
equal "every message exact, none extra, flags and dates equal" "360 0 0 0 0 0 0" \
    "$(json "$scratch/verify.json" '" ".join(str(j[k]) for k in ("exact","same","differs","missing","extra","flags","dates"))')"
haul copy --json >"$scratch/again.json"
equal "a second run copies nothing" "360 0 360 0 0" "$(json "$scratch/again.json" "$counts")"

"$corpus" --profile friday --mailboxes 3 --messages 120 --seed 7 --work-day 1 --imap "127.0.0.1:$port_old" \
    --password secret >"$scratch/day" || fail "the working day"
haul copy --json >"$scratch/delta.json"
equal "the delta carries new mail" True "$(json "$scratch/delta.json" '0 < j["copied"] < 40')"
equal "the delta carries flags" True "$(json "$scratch/delta.json" '0 < j["updated"] < 60')"
equal "deletions are counted and kept" True "$(json "$scratch/delta.json" 'j["gone"] > 0 and j["removed"] == 0')"
haul verify --json >"$scratch/verify2.json"
equal "verify after the delta" "0 0 0 0 0" \
    "$(json "$scratch/verify2.json" '" ".join(str(j[k]) for k in ("differs","missing","extra","flags","dates"))')"

# Behind its back: drop one, double one, flag one, change one.
python3 - "$port_new" <<'PY'
import imaplib, sys
m = imaplib.IMAP4("127.0.0.1", int(sys.argv[1])); m.login("user01", "secret"); m.select("INBOX")
uids = m.uid("search", "UNDELETED")[1][0].split()
body = m.uid("fetch", uids[0], "(BODY.PEEK[])")[1][0][1]
m.append("INBOX", "", None, body)                                   # doubled
m.uid("store", uids[1], "-FLAGS.SILENT" if b"\\Flagged" in m.uid("fetch", uids[1], "(FLAGS)")[1][0] else "+FLAGS.SILENT", "(\\Flagged)")
body = m.uid("fetch", uids[3], "(BODY.PEEK[])")[1][0][1]
m.append("INBOX", "", None, body.replace(b"e", b"E", 1))            # changed: one gone, one extra
for u in (uids[2], uids[3]):
    m.uid("store", u, "+FLAGS.SILENT", "(\\Deleted)"); m.uid("expunge", u)
m.logout()
PY
haul verify --json >"$scratch/tampered.json"
equal "verify exits 4" 4 $?
equal "dropped, doubled, changed and flagged are named" "2 2 1" \
    "$(json "$scratch/tampered.json" '" ".join(str(j[k]) for k in ("missing","extra","flags"))')"
equal "each as an item of its folder" True \
    "$(json "$scratch/tampered.json" 'all(i["folder"]=="INBOX" and i["mailbox"]=="user01" and i["uid"] for i in j["items"])')"

expect "wrong password" 12 "user01" env MAILHAUL_TARGET_PASSWORD=wrong "$mailhaul" copy "$(url user01 "$port_old")" "$(url user01 "$port_new")"
haul copy >/dev/null &
"$mailhaul" status --state "$(find "$XDG_STATE_HOME" -name '*.db' | head -n 1)" >"$scratch/status" 2>&1
equal "status reads while a run writes" 0 $?
wait
grep -rqsF secret "$XDG_STATE_HOME" "$scratch/err" && fail "a secret is in the state or the log" || pass "no secret in state and log"
verdict
