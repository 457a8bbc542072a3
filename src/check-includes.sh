#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Refuses an upward or sideways #include: the mh_module() table in CMakeLists.txt says which module may
# use which; a file may include headers of its own folder and public headers of those modules only.
# usage: src/check-includes.sh   (from anywhere; exit code 1 and one line per offence)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

declare -A folder_of uses_of
while read -r name folder uses; do
    folder_of[$name]=$folder
    uses_of[$name]=" $uses "
done < <(tr '\n' ' ' <CMakeLists.txt | grep -o 'mh_module([^)]*)' | grep 'USES' |
         sed -E 's/mh_module\( *([a-z]+) +([^ ]+) +USES +([^)]*)\)/\1 \2 \3/')
[ ${#folder_of[@]} -ge 10 ] || { echo "check-includes: cannot read the module table" >&2; exit 2; }

# The include path of a folder: src/X is written "X/…", others as they are.
prefix_of() { case $1 in src/*) echo "${1#src/}" ;; *) echo "$1" ;; esac; }

bad=0
for name in "${!folder_of[@]}"; do
    folder=${folder_of[$name]}
    [ -d "$folder" ] || continue
    while IFS=: read -r file line text; do
        header=$(sed -E 's/.*#include "([^"]+)".*/\1/' <<<"$text")
        case $header in
        */*) ;;
        *) [ -f "$folder/$header" ] && continue ;;
        esac
        allowed=no
        for other in "$name" ${uses_of[$name]}; do
            [ -n "${folder_of[$other]:-}" ] || continue
            case $header in
            "$(prefix_of "${folder_of[$other]}")"/*)
                allowed=yes
                if [ "$other" != "$name" ] && [[ $header == *_priv.h ]]; then allowed=private; fi ;;
            esac
        done
        if [ "$allowed" != yes ]; then
            echo "$file:$line: $name may not include \"$header\"$([ $allowed = private ] && echo ' (private)')"
            bad=1
        fi
    done < <(grep -nE '^#include "' "$folder"/*.c "$folder"/*.h 2>/dev/null || true)
done
exit $bad
