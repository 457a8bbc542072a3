#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every pair of Dovecot, Cyrus and Courier as source and target: the hostile mailbox `nasty`, and a folder
# of real messages where there is one ($MH_SOURCE/../shared/mail-samples). What one server does to names,
# dates or bytes, its own way, is allowed as long as the ledger says so; the ledger is what is tested here.
. "$(dirname "$0")/lib.sh"

kinds=(dovecot cyrus courier)
samples=${MH_SOURCE:-$here/..}/../shared/mail-samples
declare -A found_nasty
filling=()

# carry SOURCE-ADDRESS TARGET-ADDRESS OUT [again]: copies; with "again" a second copy and verify
carry() {
    local from=$1 to=$2 out=$3
    timeout 120 "$mailhaul" copy "$from" "$to" --json >"$out.copy" 2>"$out.log"
    echo $? >"$out.rc"
    [ "${4:-}" = again ] || return 0
    timeout 120 "$mailhaul" copy "$from" "$to" --json >"$out.again" 2>>"$out.log"
    echo $? >"$out.rc2"
    timeout 120 "$mailhaul" verify "$from" "$to" --json >"$out.verify" 2>>"$out.log"
}

address() { local port=port_$1; url "$2" "${!port}"; }

# count KIND USER: the messages in the folders that the server opens under the names it lists
count() {
    local port=port_$1
    python3 - "${!port}" "$2" <<'PY'
import imaplib, re, sys
imaplib._MAXLINE = 1 << 20
m = imaplib.IMAP4("127.0.0.1", int(sys.argv[1])); m.login(sys.argv[2], "secret")
names = []
for line in m.list('""', "*")[1]:
    if isinstance(line, tuple):                    # the name as a literal
        attributes, name = line[0], b'"' + line[1].replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    elif line:
        attributes, name = re.fullmatch(rb'(\(.*?\)) (?:"\\?."|NIL) (.*)', line).groups()
    if line and b"\\noselect" not in attributes.lower() and b"\\nonexistent" not in attributes.lower():
        names.append(name)
total = 0
for name in names:
    kind, data = m._simple_command("EXAMINE", name)
    exists = m.untagged_responses.pop("EXISTS", [b"0"])
    total += int(exists[-1]) if kind == "OK" else 0
    m.untagged_responses.clear()
    m.state = "AUTH"
print(total)
m.logout()
PY
}

# judge OUT: one line for each question, "yes" or what is wrong
judge() {
    python3 - "$1" <<'PY'
import json, os, re, sys
out = sys.argv[1]
load = lambda what: json.load(open(f"{out}.{what}"))
def answer(question, wrong): print(f"{question}\t{'yes' if not wrong else str(wrong)[:400]}")
try:
    copy = load("copy")
    mailbox = copy["mailboxes"][0]
except (ValueError, KeyError, IndexError) as why:
    answer("copy says what it did", f"{why!r}: {open(out + '.log').read()[:300]}")
    sys.exit()
key = lambda i: (i["folder"], i["uid"])
remainder = lambda j: j["found"] - j["copied"] - j["adopted"] - sum(j["skipped"].values()) - sum(j["failed"].values())
lost = [i for i in mailbox["items"] if i["state"] in ("failed", "skipped")]
n_lost = sum(copy["failed"].values()) + sum(copy["skipped"].values())
altered = {}
for i in mailbox["items"]:
    if i["state"] == "copied": altered.setdefault(i["reason"], set()).add(key(i))
refused = [f for f in mailbox["folders"] if f["error"]]
rc = int(open(out + ".rc").read())

answer("copy exits 0, or 3 when something failed", rc not in (0, 3) and rc or
       (rc == 3) != bool(copy["failed"] or refused) and (rc, copy["failed"]) or mailbox["error"])
answer("the remainder is zero", remainder(copy) or [f["source"] for f in mailbox["folders"] if f["found"]
       != f["copied"] + f["adopted"] + f["skipped"] + f["failed"]])
answer("every failed or skipped message has a reason and a text",
       [i for i in lost if not re.fullmatch("[a-z0-9-]+", i["reason"]) or not i["text"]] or
       len(lost) != n_lost and f"{len(lost)} items, {n_lost} counted")
answer("nothing went after the target had taken it", altered.get("gone-at-target"))
# Dovecot lists Maildir folders whose names are no valid modified UTF-7 (or begin with "~") under a name
# that it does not open then; nothing that a client does helps. At the target no name is a reason to fail.
answer("every folder that the source opens has been made",
       [f["error"]["text"] for f in refused if not f["error"]["text"].startswith("source, ")])
if not os.path.exists(out + ".again"): sys.exit()

again, verify = load("again"), load("verify")
rc2 = int(open(out + ".rc2").read())
answer("a second run copies nothing and ends the same",
       (rc2, again["found"], again["copied"], again["adopted"], again["failed"], remainder(again)) !=
       (rc, copy["found"], 0, copy["copied"] + copy["adopted"], copy["failed"], 0) and
       {k: again[k] for k in ("found", "copied", "adopted", "failed")} | {"exit": rc2})
lost = {key(i) for i in lost}
closed = {f["source"] for f in refused}
rewritten = altered.get("content-rewritten-by-target", set()) | altered.get("line-ends-rewritten-by-target", set())
allowed = {"missing": lost, "skipped": lost, "differs": rewritten, "same": rewritten,
           "date": altered.get("date-changed-by-target", set()),
           "flags": altered.get("flags-changed-by-target", set())}
answer("verify names nothing but what the ledger had named", verify["errors"] or
       [i for i in verify["items"] if (i["folder"] not in closed if i["state"] == "folder" else
        not (i["state"] == "missing" and i["folder"] in closed) and key(i) not in allowed.get(i["state"], ()))])
answer("verify counts what it names, nothing extra", verify["extra"] or
       verify["differs"] != sum(i["state"] == "differs" for i in verify["items"]) and verify["differs"] or
       verify["missing"] < sum(i["state"] == "missing" for i in verify["items"]) and verify["missing"])
answer("verify has seen every message", verify["exact"] + verify["same"] + verify["differs"] != copy["copied"] + copy["adopted"]
       and verify)
PY
}

# report LABEL OUT
report() {
    local question answer
    while IFS=$'\t' read -r question answer; do
        equal "$1: $question" yes "$answer"
    done < <(judge "$2")
}

# all_pairs MAIL USER FIRST-TARGET-USER [again]: from USER of each server to a user of each server; the
# targets work side by side, the results come in order
all_pairs() {
    local mail=$1 user=$2 next=$3 source target
    for source in "${kinds[@]}"; do
        for target in "${kinds[@]}"; do
            carry "$(address "$source" "$user")" "$(address "$target" "user0$next")" \
                "$scratch/$mail-$source-$target" "${4:-}" &
        done
        wait
        next=$((next + 1))
    done
    for source in "${kinds[@]}"; do
        for target in "${kinds[@]}"; do
            report "$mail, $source to $target" "$scratch/$mail-$source-$target"
        done
    done
}

"$corpus" --profile nasty --maildir "$scratch/mail" >/dev/null || exit 1
start dovecot dovecot --users 8 --maildir-root "$scratch/mail"
start cyrus cyrus --users 8
start courier courier --users 8
for kind in cyrus courier; do
    port=port_$kind
    "$corpus" --profile nasty --imap "127.0.0.1:${!port}" --password secret >"$scratch/fill-$kind" 2>&1 &
    filling+=($!)
done
for pid in "${filling[@]}"; do wait "$pid" || { cat "$scratch"/fill-*; fail "filling the sources"; verdict; }; done

for kind in "${kinds[@]}"; do
    found_nasty[$kind]=$(count "$kind" user01)
    [ "${found_nasty[$kind]:-0}" -gt 100 ] || fail "$kind holds ${found_nasty[$kind]:-nothing} of the corpus"
done
all_pairs nasty user01 3 again
for source in "${kinds[@]}"; do
    for target in "${kinds[@]}"; do
        equal "nasty, $source to $target: everything was found" "${found_nasty[$source]}" \
            "$(json "$scratch/nasty-$source-$target.copy" 'j["found"]')"
    done
done

if [ -d "$samples" ]; then
    for kind in "${kinds[@]}"; do
        carry "eml:$samples" "$(address "$kind" user02)" "$scratch/samples-eml-$kind" &
    done
    wait
    for kind in "${kinds[@]}"; do
        report "samples, files to $kind" "$scratch/samples-eml-$kind"
        equal "samples, files to $kind: everything was found" \
            "$(find "$samples" -name '*.eml' | wc -l)" "$(json "$scratch/samples-eml-$kind.copy" 'j["found"]')"
    done
    all_pairs samples user02 6
else
    echo "skipped: no sample messages in $samples"
fi
verdict
