#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# mailhaul pst info and check: archives of the corpus against what it wrote beside them, a damaged one, what is
# none, and real ones where there are some ($MH_SOURCE/../shared/pst-samples).
. "$(dirname "$0")/lib.sh"
samples=${MH_SOURCE:-$here/..}/../shared/pst-samples

for format in unicode ansi ost4k; do
    "$corpus" --pst "$scratch/$format.pst" --format "$format" --messages 120 --seed 5 \
        --truth "$scratch/$format.truth" >/dev/null || { fail "writing $format"; continue; }
    expect "$format: info" 0 "index of nodes whole" "$mailhaul" pst info "$scratch/$format.pst"
    "$mailhaul" pst check --json "$scratch/$format.pst" >"$scratch/$format.json" 2>&1
    equal "$format: check ends well" 0 $?
    equal "$format: every item that was written has been read" \
        "$(grep -c '"kind":"item"' "$scratch/$format.truth")" \
        "$(json "$scratch/$format.json" 'j["archives"][0]["account"]["total"]["read"]')"
    equal "$format: the sums are those of the folders, and announced" True "$(json "$scratch/$format.json" \
        'all(f["by_both"] == f["announced"] == f["read"] and not f["by_table"] + f["by_parent"] + f["suspect"] + f["lost"]
             for f in j["archives"][0]["account"]["folders"])')"
done

# One octet of an item's block.
python3 - "$scratch" <<'PY'
import json, sys
item = next(j for j in map(json.loads, open(sys.argv[1] + "/unicode.truth")) if j["kind"] == "item")
octets = bytearray(open(sys.argv[1] + "/unicode.pst", "rb").read())
octets[item["blocks"][0][0] + 20] ^= 1
open(sys.argv[1] + "/hurt.pst", "wb").write(octets)
open(sys.argv[1] + "/no-header.pst", "wb").write(bytes(564) + octets[564:])
PY
expect "a changed octet" 3 "suspect: its octets have changed" "$mailhaul" pst check "$scratch/hurt.pst"
expect "no header" 3 "read by a scan of the whole file" "$mailhaul" pst check "$scratch/no-header.pst"
expect "no header: what it is" 0 "encoding permute (found out, not announced)" "$mailhaul" pst info "$scratch/no-header.pst"

: >"$scratch/empty"
head -c 100000 /dev/urandom >"$scratch/noise"
mkfifo "$scratch/pipe"
expect "an empty file" 2 "is empty" "$mailhaul" pst check "$scratch/empty"
expect "noise" 2 "is no Outlook archive" "$mailhaul" pst check "$scratch/noise"
expect "a directory" 2 "is a directory" "$mailhaul" pst check "$scratch"
expect "a pipe" 2 "is no file" "$mailhaul" pst check "$scratch/pipe"
expect "no such file" 2 "cannot be opened" "$mailhaul" pst check "$scratch/none.pst"
expect "one of several is none" 2 "is no Outlook archive" "$mailhaul" pst info "$scratch/noise" "$scratch/unicode.pst"
expect "… and the others are told" 2 "unicode.pst: PST" "$mailhaul" pst info "$scratch/noise" "$scratch/unicode.pst"
expect "an error in JSON" 2 '"code":"usage"' "$mailhaul" pst info --json "$scratch/noise"
expect "nothing to do" 2 "mailhaul pst info|check FILE" "$mailhaul" pst
expect "nothing that we do" 2 "mailhaul pst info|check FILE" "$mailhaul" pst mend "$scratch/unicode.pst"
expect "no file" 2 "no file is named" "$mailhaul" pst check

# A path may have octets that are no text, and an escape code.
odd=$scratch/$(printf 'a\xff\033[31mb.pst')
cp "$scratch/unicode.pst" "$odd"
cp "$scratch/noise" "$odd.noise"
"$mailhaul" pst check --json "$odd" "$odd.noise" >"$scratch/odd.json" 2>/dev/null
equal "odd names: one of them is none" 2 $?
equal "odd names: both are told" "[True, True]" \
    "$(json "$scratch/odd.json" '[r"a\xFF\x1B[31mb.pst" in a["file"] for a in j["archives"]]')"
"$mailhaul" pst info "$odd" >"$scratch/odd.text"
equal "odd names: no escape code" 0 "$(grep -c "$(printf '\033')" "$scratch/odd.text")"
equal "odd names: exceptions and no archive" 2 "$("$mailhaul" pst check "$scratch/hurt.pst" "$scratch/noise" >"$scratch/out" 2>&1; echo $?)"
equal "odd names: exceptions behind a whole one" 3 \
    "$("$mailhaul" pst check "$scratch/hurt.pst" "$scratch/unicode.pst" >"$scratch/out" 2>&1; echo $?)"

# Real ones: how many messages an independent reader counted in each.
if [ -d "$samples" ]; then
    while read -r file messages; do
        set -- "$samples/$file"*
        "$mailhaul" pst check --json "$1" >"$scratch/sample.json" 2>&1
        equal "$file: check ends well" 0 $?
        equal "$file: messages" "$messages" "$(json "$scratch/sample.json" 'j["archives"][0]["account"]["total"]["read"]')"
    done <<'END'
apache-68f514 4
aquasync-d95e45 1
aspose-ema-049481 72
aspose-ema-1b206a 1
aspose-ema-1ef470 17
aspose-ema-6496b1 3
aspose-ema-7bd2e4 3
aspose-ema-7ebdb5 3
aspose-ema-867d52 18
aspose-ema-a66a0a 2
atalayerdg-008ad6 150
emk-05a9b5 1
emk-3e353b 1
groupdocs--69390f 5
hiraokahyp-25f2d4 1
icij-f2a6b1 7
mailbirdin-b619c5 1
mailbirdin-f1ff59 1
microsoft-c16ae9 0
rjohnsonde-c86841 4
END
else
    echo "skipped: no sample archives in $samples"
fi
verdict
