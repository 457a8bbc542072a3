#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# corpus-selftest.sh BINARY [HOST:PORT [PASSWORD [USER_FORMAT]]]
#
# Checks what corpus/README.md claims of mailhaul-corpus: one line for each check, exit 1 when any failed.
# Needs coreutils, findutils, grep, awk and about 600 MB in TMPDIR. With HOST:PORT, an IMAP server in plaintext
# with at least one empty mailbox of its own for this test, the way over IMAP is checked too.
# shellcheck disable=SC2016 # dollars in single quotes are awk's
set -uo pipefail
export LC_ALL=C

if [[ $# -lt 1 || ! -x $1 ]]; then
    echo "usage: ${0##*/} BINARY [HOST:PORT [PASSWORD [USER_FORMAT]]]" >&2
    exit 2
fi
corpus=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
imap=${2:-}
password=${3:-secret}
user_format=${4:-user%02d}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/corpus-selftest.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1

failures=0
tab=$'\t'

# check WHAT COMMAND...: one line; the command's exit code is the verdict.
check() {
    local what=$1
    shift
    if "$@" >/dev/null 2>"$scratch/why"; then
        printf 'ok      %s\n' "$what"
    else
        printf 'FAILED  %s\n' "$what"
        sed 's/^/        /' "$scratch/why"
        failures=$((failures + 1))
    fi
}

equal() {
    [[ $1 == "$2" ]] || { echo "got \"$1\", expected \"$2\"" >&2; return 1; }
}

# between VALUE LEAST MOST, whole numbers
between() {
    [[ $1 -ge $2 && $1 -le $3 ]] || { echo "$1 is not in $2..$3" >&2; return 1; }
}

# fails_with CODE ARGUMENT...: that exit code, nothing on stdout, exactly one line on stderr.
fails_with() {
    local code=$1 got
    shift
    "$corpus" "$@" >out.txt 2>err.txt
    got=$?
    equal "$got" "$code" && equal "$(wc -l <err.txt)" 1 && equal "$(wc -c <out.txt)" 0
}

# tree DIR: everything that two equal trees have in common: names, types, modes, sizes, times, contents.
tree() {
    (cd "$1" && find . -mindepth 1 -printf '%P %y %m %T@' \( -type f -printf ' %s' -o -true \) -printf '\n' | sort
        find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

same_trees() {
    tree "$1" >one.txt
    tree "$2" >two.txt
    cmp one.txt two.txt
}

different_trees() {
    ! same_trees "$1" "$2"
}

# messages MANIFEST: the lines of stored messages.
messages() {
    grep "^message$tab" "$1"
}

# sizes MANIFEST: count, mean, median, biggest, how many of a megabyte and more.
size_figures() {
    messages "$1" | cut -f5 | sort -n | awk '{ s[NR] = $1; sum += $1; if ($1 >= 1000000) big++ }
        END { printf "%d %d %d %d %d\n", NR, sum / NR, s[int((NR + 1) / 2)], s[NR], big }'
}

# in_files DIR PATTERN: some message has it (a fixed string).
in_files() {
    grep -raqF -e "$2" "$1"
}

# the file of an awkward case
case_file() {
    grep -rlaF -e "Subject: awkward: $2" "$1" | head -n 1
}

# octets FILE SET: how many octets of that tr set the file has.
octets() {
    tr -cd "$2" <"$1" | wc -c
}

# --- arguments and errors -------------------------------------------------------------------------

check "help" "$corpus" --help
check "version" "$corpus" --version
check "no arguments: usage" fails_with 2
check "unknown profile: usage" fails_with 2 --profile monday --maildir x
check "unknown option: usage" fails_with 2 --profile demo --maildir x --frobnicate
check "stray argument: usage" fails_with 2 --profile demo --maildir x y
check "both destinations: usage" fails_with 2 --profile demo --maildir x --imap localhost:20000 --password p
check "no destination: usage" fails_with 2 --profile demo
check "bad number: usage" fails_with 2 --profile demo --maildir x --messages 1e3
check "bad sizes: usage" fails_with 2 --profile demo --maildir x --sizes 1,,2
check "bad user format: usage" fails_with 2 --profile demo --maildir x --user-format 'user%s'
check "bad port: usage" fails_with 2 --profile demo --imap localhost:70000 --password p
check "refused connection: error" fails_with 1 --profile demo --imap 127.0.0.1:1 --password p
check "full disk: error" fails_with 1 --profile demo --mailboxes 1 --maildir full --manifest /dev/full
check "no such directory: error" fails_with 1 --profile demo --maildir /dev/null/x
check "work day without mailboxes: error" fails_with 1 --profile demo --maildir missing --work-day 1
check "usage errors leave nothing behind" test ! -e x

# --- determinism ----------------------------------------------------------------------------------

demo=(--profile demo --mailboxes 3)
"$corpus" "${demo[@]}" --seed 7 --maildir a --manifest a.tsv >a.out
TZ=Asia/Kathmandu LC_ALL=tr_TR.UTF-8 "$corpus" "${demo[@]}" --seed 7 --maildir b --manifest b.tsv >b.out
"$corpus" "${demo[@]}" --seed 8 --maildir c --manifest c.tsv >c.out
check "one seed, two runs, two time zones: equal trees, times included" same_trees a b
check "one seed: equal manifests" cmp a.tsv b.tsv
check "one seed: equal words" cmp a.out b.out
check "another seed: another tree" different_trees a c
check "filling twice is refused" fails_with 1 "${demo[@]}" --seed 7 --maildir a
check "three mailboxes, thirty folders, 360 messages" \
    grep -q '^3 mailboxes, 30 folders, 360 messages, ' a.out

# --- the tree is what the manifest says -----------------------------------------------------------

find a -path '*/cur/*' -type f -printf '%s %f\n' | sed 's/^\([0-9]*\) .*,S=\([0-9]*\),W=.*/\1 \2/' >s.txt
check "S= is the size of each file" equal "$(awk '$1 == $2' s.txt | wc -l)" 360
find a -path '*/cur/*' -type f -printf '%T@ %p\n' | while read -r time path; do
    printf '%s %s\n' "$(sha256sum <"$path" | cut -c1-64)" "${time%.*}"
done | sort >files.txt
messages a.tsv | awk -F '\t' '{ split($6, date, " "); print $4, date[1] }' | sort >claims.txt
check "digest and INTERNALDATE of every file are those of the manifest" cmp files.txt claims.txt
check "every folder line has its directory" test \
    "$(grep -c "^folder$tab" a.tsv)" -eq "$(find a -name cur | wc -l)"
# The flags and keywords that the files of one folder have, read back as Dovecot would.
read_back() {
    find "$1/cur" -type f -printf '%f\n' | awk -v keywords="$1/dovecot-keywords" '
        BEGIN {
            split("D \\Draft F \\Flagged R \\Answered S \\Seen T \\Deleted", pair, " ")
            for (i = 1; i < 10; i += 2) name[pair[i]] = pair[i + 1]
            while ((getline line <keywords) > 0) {
                split(line, field, " ")
                name[sprintf("%c", 97 + field[1])] = field[2]
            }
        }
        {
            match($0, /,W=[0-9]+/)
            line = substr($0, 1, index($0, ".") - 1) " " substr($0, RSTART + 3, RLENGTH - 3)
            info = substr($0, index($0, ":2,") + 3)
            for (i = 1; i <= length(info); i++) print line, name[substr(info, i, 1)]
        }'
}
flags_are_right() {
    find a -name cur | while read -r folder; do
        read_back "${folder%/cur}"
    done | sort >one.txt
    messages a.tsv | awk -F '\t' '{
        split($6, date, " ")
        n = split($7 " " $8, words, " ")
        for (i = 1; i <= n; i++) print date[1], $5, words[i]
    }' | sort >two.txt
    test -s one.txt && cmp one.txt two.txt
}
check "flags, and keywords by way of dovecot-keywords" flags_are_right
subscriptions_are_right() {
    [[ $(sort a/user01/subscriptions | wc -l) -eq \
        $(grep -c "^folder${tab}user01${tab}[^${tab}]*${tab}subscribed$tab" a.tsv) ]] || return 1
    while IFS= read -r folder; do
        [[ $folder == INBOX || -d a/user01/.$folder ]] || return 1
    done <a/user01/subscriptions
}
check "subscriptions: the folders of the manifest that have one" subscriptions_are_right
check "subscriptions: not every folder has one" grep -q "${tab}unsubscribed$tab" a.tsv

# --- friday: how real mail looks ------------------------------------------------------------------

"$corpus" --profile friday --maildir friday --manifest friday.tsv >friday.out
read -r count mean median biggest big < <(size_figures friday.tsv)
check "friday: 18,000 messages" equal "$count" 18000
check "friday: 30 mailboxes of 14 folders" equal "$(grep -c "^folder$tab" friday.tsv)" 420
check "friday: 600 messages in each mailbox" equal \
    "$(messages friday.tsv | cut -f2 | sort | uniq -c | awk '$1 == 600' | wc -l)" 30
check "friday: mean size $mean is 25 KB" between "$mean" 24000 27500
check "friday: median size $median is 15-30 KB" between "$median" 15000 30000
check "friday: the biggest has 20 MB" between "$biggest" 19000000 20100000
check "friday: $big messages of a megabyte and more" between "$big" 8 40
check "friday: an empty folder in every mailbox" equal "$(awk -F '\t' '
    $1 == "folder" { folder[$2 "\t" $3] = 1 }
    $1 == "message" { delete folder[$2 "\t" $3] }
    END { n = 0; for (f in folder) n++; print n }' friday.tsv)" 30
check "friday: five roles in every mailbox" equal \
    "$(awk -F '\t' '$1 == "folder" && $5 != "-"' friday.tsv | wc -l)" 150
check "friday: twins" between "$(messages friday.tsv | grep -c "${tab}twin$")" 40 200
twins_are_equal() {
    messages friday.tsv | awk -F '\t' '
        $9 == "twin" && !seen[$2, $3, $4] { exit 1 } { seen[$2, $3, $4] = 1 }'
}
check "friday: a twin follows its like in the same folder" twins_are_equal
years=$(messages friday.tsv | cut -f6 | awk '{ y[int($1 / 31557600)] = 1 } END { n = 0; for (i in y) n++; print n }')
check "friday: INTERNALDATEs over fifteen years" between "$years" 15 17
for charset in utf-8 us-ascii iso-8859-1 iso-8859-2 iso-8859-15 windows-1252 koi8-r shift_jis iso-2022-jp gb18030 \
    big5 euc-kr; do
    check "friday: charset $charset" in_files friday "charset=$charset"
done
for text in 'multipart/alternative' 'multipart/mixed' 'multipart/related' 'Content-Transfer-Encoding: 8bit' \
    'Content-Transfer-Encoding: base64' 'Content-Transfer-Encoding: quoted-printable' 'In-Reply-To: ' 'List-Id: ' \
    'DKIM-Signature: ' 'Subject: =?utf-8?B?' 'Subject: =?utf-8?Q?' 'Subject: =?koi8-r?B?' 'text/calendar' \
    'Content-Disposition: inline' "filename*=utf-8''"; do
    check "friday: $text" in_files friday "$text"
done
check "friday: flags and keywords" awk -F '\t' '
    { n = split($7 " " $8, words, " "); for (i = 1; i <= n; i++) seen[words[i]] = 1 }
    END {
        exit !(("\\Seen" in seen) && ("\\Answered" in seen) && ("\\Flagged" in seen) && ("\\Draft" in seen) &&
               ("\\Deleted" in seen) && ("$Forwarded" in seen) && ("$MDNSent" in seen) && ("NonJunk" in seen) &&
               ("Project-X" in seen))
    }' friday.tsv
lacking=$(find friday -path '*/cur/*' -type f -print0 | xargs -0 grep -LaiF 'Message-ID: ' | wc -l)
check "friday: $lacking messages without a Message-ID" between "$lacking" 50 400
repeated=$(find friday -path '*/cur/*' -type f -size -200k -print0 | xargs -0 grep -haiE '^Message-ID: ' | sort |
    uniq -d | wc -l)
check "friday: $repeated Message-IDs twice and more" between "$repeated" 50 600
find friday -path '*/cur/*' -type f -size -100k -print0 | xargs -0 grep -aLF $'\r' >no-crlf.txt
check "friday: no file without CRLF" equal "$(wc -l <no-crlf.txt)" 0
rm -rf friday

# --- the other profiles ---------------------------------------------------------------------------

"$corpus" --profile small --messages 4000 --maildir small --manifest small.tsv >small.out
read -r count mean _ biggest _ < <(size_figures small.tsv)
check "small: one mailbox, 4 KB each ($mean)" between "$mean" 3900 4700
check "small: no giant ($biggest)" between "$biggest" 8000 60000
check "small: most lies in INBOX" equal "$(messages small.tsv | cut -f3 | grep -c '^INBOX$')" 3400
"$corpus" --profile huge --messages 4000 --maildir huge --manifest huge.tsv >huge.out
read -r count mean _ < <(size_figures huge.tsv)
check "huge: tiny messages ($mean bytes)" between "$mean" 250 350
check "huge: one folder" equal "$(grep -c "^folder$tab" huge.tsv)" 1
"$corpus" --profile demo --mailboxes 2 --messages 300 --mean-size 60000 --folders 25 --maildir moved \
    --manifest moved.tsv >moved.out
read -r count mean _ < <(size_figures moved.tsv)
check "--mean-size moves the mean ($mean)" between "$mean" 52000 68000
check "--folders and --messages are obeyed" equal "$count $(grep -c "^folder$tab" moved.tsv)" "600 50"
"$corpus" --profile demo --mailboxes 1 --messages 0 --sizes 0,1,17,511,512,513,600,1M,3M --maildir sized \
    --manifest sized.tsv >sized.out
check "--sizes makes exactly these" equal \
    "$(find sized -path '*/cur/*' -type f -printf '%s\n' | sort -n | tr '\n' ' ')" \
    "0 1 17 511 512 513 600 1048576 3145728 "
sized_digests() {
    find sized -path '*/cur/*' -type f -exec sha256sum {} + | cut -c1-64 | sort >one.txt
    messages sized.tsv | cut -f4 | sort >two.txt
    cmp one.txt two.txt
}
check "--sizes: digests of what was never in memory" sized_digests

# --- nasty ----------------------------------------------------------------------------------------

"$corpus" --profile nasty --maildir nasty --manifest nasty.tsv >nasty.out
check "nasty: what Maildir++ cannot name is said" grep -q '^refused folder: user01, dot.ted: ' nasty.out
check "nasty: and is in the manifest" grep -q "^refused-folder${tab}user01${tab}sla%2Fsh$tab" nasty.tsv
for name in nul-in-body nul-in-header bare-cr bare-lf mixed-line-ends all-octets line-1mib field-64kib header-8bit-utf8 \
    header-8bit-latin1 no-header empty-body headers-only no-final-newline content-length-too-big \
    content-length-too-small imap-text imap-continuation dot-lines from-lines huge-header many-recipients \
    no-message-id repeated-id-1 repeated-id-2 repeated-id-3 boundary-unclosed boundary-missing mime-deep-100 \
    mime-deep-1000 utf16-raw nested-messages dsn mdn invitation smime-signed smime-enveloped pgp-mime pgp-inline \
    winmail-dat twin all-flags date-1969 date-1970 date-2038 date-2099 zone-plus-1400 zone-plus-0545 sized marker; do
    check "nasty: case $name" grep -q "^message$tab.*$tab$name$" nasty.tsv
done
check "nasty: NUL" between "$(octets "$(case_file nasty nul-in-body)" '\000')" 4 4
bare_cr() {
    grep -qaP '\r(?!\n)' "$1"
}
check "nasty: bare CR" bare_cr "$(case_file nasty bare-cr)"
check "nasty: bare LF alone" equal "$(octets "$(case_file nasty bare-lf)" '\r')" 0
check "nasty: a line of 1 MiB" between "$(wc -L <"$(case_file nasty line-1mib)")" 1048576 1048600
check "nasty: a header of 256 KiB" between "$(stat -c %s "$(case_file nasty huge-header)")" 262144 300000
check "nasty: 5,000 recipients" between "$(grep -ac '@' "$(case_file nasty many-recipients)")" 5000 5010
check "nasty: IMAP text behind a parenthesis" in_files nasty $')\r\n* 1 FETCH'
check "nasty: no newline at the end" equal "$(tail -c 1 "$(case_file nasty no-final-newline)")" d
check "nasty: eight twins" equal "$(messages nasty.tsv | grep "${tab}twin$" | cut -f3,4 | sort | uniq -c |
    awk '{ print $1 }')" 8
check "nasty: 1969 in the time of a file" between "$(find nasty -type f ! -newermt '1970-01-01 00:00:00 UTC' | wc -l)" 2 2
check "nasty: 2099 in the time of a file" equal "$(find nasty -type f -newermt '2099-01-01' | wc -l)" 1
check "nasty: an empty and a one-byte message" equal \
    "$(find nasty -path '*/cur/*' -type f -size -2c -printf '%s\n' | sort | tr '\n' ' ')" "0 1 "
for name in '.Gesendet' '.&AMk-l&AOk-ments envoy&AOk-s' '.trailing space ' '.~tilde' '.quo"te' '.back\slash' \
    '.per%cent' '.st*r' '.R&-D' '.&-' '.car^et' '.Projekte' '.projekte' '.INBOX.child' '.InBoX.other child' \
    '.Archive.INBOX' '.&2D3c7A- Inbox zero &2DzfiQ-' '.esc&ABs-[31mred' '.unterminated &AOk' '.twice &AOk-&AOk-' \
    '.lone surrogate &2D3-' $'.raw latin \xe9t\xe9' '.Empty.Nested.Deeper'; do
    check "nasty: folder $(printf '%q' "$name")" test -d "nasty/user01/$name/cur"
done
check "nasty: sixty levels" equal "$(find nasty/user01 -maxdepth 1 -name '.d01.*.d60' | tr -cd . | wc -c)" 60
check "nasty: names of 200 bytes and more" between \
    "$(find nasty/user01 -maxdepth 1 -printf '%f\n' | awk 'length > 199' | wc -l)" 2 9
check "nasty: the manifest is valid UTF-8 without control characters" bash -c \
    'iconv -f utf-8 -t utf-8 nasty.tsv >/dev/null && ! grep -qP "[\x00-\x08\x0b-\x1f\x7f]" nasty.tsv'

# --- the work day ---------------------------------------------------------------------------------

"$corpus" "${demo[@]}" --seed 7 --maildir a --work-day 1 --manifest day.tsv >day-a.out
"$corpus" "${demo[@]}" --seed 7 --maildir b --work-day 1 >day-b.out
same_names() {
    (cd a && find . -printf '%P %s\n' | sort) >one.txt
    (cd b && find . -printf '%P %s\n' | sort) >two.txt
    cmp one.txt two.txt
}
check "work day: the same mailbox has the same day" same_names
check "work day: says so" cmp day-a.out day-b.out
check "work day: 9 new, 9 with other flags, 6 expunged, 3 folders" grep -q \
    '^work day 1 in 3 mailboxes: 9 new messages, 9 with other flags, 6 expunged, 3 new folders; ' day-a.out
check "work day: new mail lies in new" equal "$(find a -path '*/new/*' -type f | wc -l)" 9
check "work day: 360 - 6 + 9 messages" equal "$(find a -path '*/[cn]*/*,S=*' -type f | wc -l)" 363
check "work day: its folder is subscribed" grep -qx 'Arbeitstag 1.&ANw-bergabe' a/user03/subscriptions
expunged_are_gone() {
    grep "^expunged$tab" day.tsv | while IFS=$tab read -r _ user folder id; do
        [[ $folder == INBOX ]] && folder= || folder=.$folder
        [[ ! -e a/$user/$folder/$id ]] || exit 1
    done
}
check "work day: what was expunged is gone" expunged_are_gone
check "work day: a day is played once" fails_with 1 "${demo[@]}" --seed 7 --maildir a --work-day 1
check "work day: another day follows" "$corpus" "${demo[@]}" --seed 7 --maildir a --work-day 2

# --- IMAP -----------------------------------------------------------------------------------------

# say TAG COMMAND: one command over descriptor 3, and its answer to the end.
say() {
    local line
    printf '%s %s\r\n' "$1" "$2" >&3
    while IFS= read -r -t 60 line <&3; do
        printf '%s\n' "${line%$'\r'}"
        [[ $line != "$1 "* ]] || return 0
    done
    return 1
}

# ask COMMAND: what the server says to one command, as the first user. Courier forgets what stands behind a LOGIN
# that it has not answered yet, so one waits.
ask() {
    local user
    # shellcheck disable=SC2059 # it is a format
    user=$(printf "$user_format" 1)
    exec 3<>"/dev/tcp/${imap%:*}/${imap##*:}" || return 1
    say a "LOGIN \"$user\" \"$password\"" && say b "$1" && say c LOGOUT
    exec 3<&-
}

if [[ -n $imap ]]; then
    over_imap=(--profile demo --mailboxes 1 --imap "$imap" --password "$password" --user-format "$user_format")
    "$corpus" "${over_imap[@]}" --manifest imap.tsv >imap.out
    check "IMAP: 120 messages, nothing refused" grep -q \
        '^1 mailboxes, 10 folders, 120 messages, .*refused: 0 folders, 0 messages, 0 subscriptions$' imap.out
    "$corpus" --profile demo --mailboxes 1 --maildir imap-twin --user-format "$user_format" \
        --manifest maildir.tsv >/dev/null
    imap_like_maildir() {
        messages imap.tsv | cut -f2-5,7- | sort >one.txt
        messages maildir.tsv | cut -f2-5,7- | sort >two.txt
        cmp one.txt two.txt
    }
    check "IMAP: the same messages as in the maildir" imap_like_maildir
    in_inbox=$(messages imap.tsv | cut -f3 | grep -c '^INBOX$')
    check "IMAP: the server has them" grep -qi "MESSAGES $in_inbox)" <(ask 'STATUS INBOX (MESSAGES)')
    "$corpus" "${over_imap[@]}" --work-day 1 >imap-day.out
    check "IMAP: a work day" grep -q '^work day 1 in 1 mailboxes: 3 new messages, 3 with other flags, 2 expunged, ' \
        imap-day.out
    check "IMAP: a day is played once" fails_with 1 "${over_imap[@]}" --work-day 1
    check "IMAP: wrong password: error" fails_with 1 "${over_imap[@]}" --password not-this-one
fi

if [[ $failures -gt 0 ]]; then
    printf '%d checks failed\n' "$failures"
    exit 1
fi
echo "all checks passed"
