#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Archives that mailhaul-corpus writes, read by two programs that know nothing of mailhaul: readpst (libpst) and
# pffexport (libpff). What they can show must be what the truth file says.
. "$(dirname "$0")/lib.sh"

cd "$scratch" || exit 1

expect "unknown format" 2 "--format must be one of" "$corpus" --pst x --format msg
expect "unknown encoding" 2 "--encoding must be one of" "$corpus" --pst x --encoding rot13
expect "archive and mailboxes" 2 "with --pst go" "$corpus" --pst x --profile demo
expect "truth without an archive" 2 "need --pst" "$corpus" --profile demo --maildir x --truth y
expect "no such directory" 1 "/dev/null/x" "$corpus" --pst /dev/null/x
expect "full disk" 1 "No space left" "$corpus" --pst /dev/full
expect "full disk for the truth" 1 "No space left" "$corpus" --pst x --truth /dev/full
expect "an archive" 0 "folders" "$corpus" --pst x --messages 3

for tool in readpst pffexport python3; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed (Debian: pst-utils, pff-tools, python3)"
        verdict
    fi
done
messages=${CORPUS_PST_MESSAGES:-200}

# compare READER TRUTH FOLDER: one line for each kind of thing, ok or FAILED with numbers
compare() {
    python3 - "$@" <<'PYTHON'
import collections, email, email.policy, hashlib, json, os, sys

reader, truth, folder = sys.argv[1:]
sha = lambda octets: hashlib.sha256(octets).hexdigest()
count = collections.Counter
MANY = 300  # attachments: libpst follows no second level of subnodes, nor of the index of a table


def files():
    for where, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(where, name), "rb") as file:
                yield os.path.basename(where), name, file.read()


def all_of(item):
    """The item and those in it. libpff gives an item up whose RTF is MELA: it asks for a sum that this has not."""
    if item.get("rtf", {}).get("packed") == "MELA":
        return
    yield item
    for one in item["attachments"]:
        if "item" in one:
            yield from all_of(one["item"])


def verdict(what, want, got):
    missing = want - got
    ok = not missing and want
    print(f"{'ok' if ok else 'FAILED'} {reader} {truth}: {sum(want.values())} {what}, {sum(missing.values())} missing")
    return bool(ok)


with open(truth, encoding="utf-8") as lines:
    items = [x for x in map(json.loads, lines) if x["kind"] == "item"]
good = True
if reader == "readpst":
    mails = [x for x in items if x["class"].startswith(("IPM.Note", "IPM.Schedule", "REPORT"))]
    parts, written = count(), 0
    for _, name, octets in files():
        if name.endswith(".eml"):
            written += 1
            for part in email.message_from_bytes(octets, policy=email.policy.compat32).walk():
                if not part.is_multipart():
                    parts[sha(part.get_payload(decode=True) or b"")] += 1
    want = count(a["sha256"] for x in mails if len(x["attachments"]) < MANY
                 for a in x["attachments"] if a["method"] == "value" and a["size"] > 0)
    good &= verdict("mails", count(mail=len(mails)), count(mail=written))
    good &= verdict("attachments", want, parts)
else:
    # A series of appointments has recipients that pffexport shows for single ones alone.
    shown = [y for x in items if x["class"].startswith("IPM.Note") for y in all_of(x)]
    got = collections.defaultdict(count)
    for where, name, octets in files():
        if where == "Attachments":
            got["attachments"][sha(octets)] += 1
        elif name == "Recipients.txt":
            for line in octets.decode("utf-8", "replace").splitlines():
                field, _, value = line.partition(":")
                got[field][value.strip()] += 1
        elif name == "Message.rtf":
            got[name][sha(octets[:-1])] += 1  # libpff adds a NUL
        else:
            got[name][sha(octets) if name == "Message.html" else name] += 1
    recipients = [r for x in shown for r in x["recipients"]]
    good &= verdict("mails", count({"OutlookHeaders.txt": len(shown)}), got["OutlookHeaders.txt"])
    good &= verdict("recipients", count(r.get("x500", r["smtp"]) for r in recipients), got["Email address"])
    good &= verdict("recipient types", count({"to": "To", "cc": "CC", "bcc": "BCC"}[r["type"]] for r in recipients),
                    got["Recipient type"])
    heads = sum("headers" in x for x in shown)
    good &= verdict("transport headers", count({"InternetHeaders.txt": heads}), got["InternetHeaders.txt"])
    texts = sum("text" in x for x in shown)
    good &= verdict("texts", count({"Message.txt": texts}), got["Message.txt"])
    good &= verdict("HTML bodies", count(x["html"]["sha256"] for x in shown if "html" in x), got["Message.html"])
    good &= verdict("RTF bodies", count(x["rtf"]["sha256"] for x in shown if "rtf" in x), got["Message.rtf"])
    good &= verdict("attachments", count(a["sha256"] for x in shown for a in x["attachments"]
                                         if a["method"] == "value" and a["size"] > 0), got["attachments"])
sys.exit(0 if good else 1)
PYTHON
}

for format in ansi unicode ost4k; do
    for encoding in none permute cyclic; do
        name=$format-$encoding
        rm -rf eml pff.export pff.orphans pff.recovered
        mkdir eml
        "$corpus" --pst archive.pst --truth "$name" --format "$format" --encoding "$encoding" \
            --messages "$messages" --seed 4 >/dev/null || fail "$name cannot be written"
        readpst -q -j 0 -D -e -o eml archive.pst >readpst.log 2>&1 || fail "readpst on $name: exit code $?"
        compare readpst "$name" eml || failures=$((failures + 1))
        # Of a deflated block libpff decodes no more octets than it has in the file.
        [ "$name" = ost4k-permute ] && continue
        pffexport -q -f all -t pff archive.pst >pff.log 2>&1 || fail "pffexport on $name: exit code $?"
        compare pffexport "$name" pff.export || failures=$((failures + 1))
    done
done
verdict
