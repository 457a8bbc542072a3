# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for mailhaul: commands and options as mailhaul --help prints them.
_mailhaul() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local commands="copy init check map run status verify pst"
    local options="--source-password-file --target-password-file --source-password-command
        --target-password-command --users --project --state --dry-run --pilot --wave --deep --sample --fresh --memory --bwlimit
        --connections --per-mailbox --watch --until --poll --retry-failed --compress --timeout --json --quiet --verbose --trace --color --help
        --version"
    case $prev in
    --source-password-file | --target-password-file | --users | --project | --state | --trace)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return ;;
    --color | --compress) mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$cur"); return ;;
    --memory | --bwlimit | --connections | --per-mailbox | --timeout | --until | --poll | --pilot | --wave | --sample | --*-password-command)
        return ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [ "${COMP_WORDS[1]}" = pst ] && [ "$COMP_CWORD" = 2 ]; then
        mapfile -t COMPREPLY < <(compgen -W "info check" -- "$cur")
    elif [ "${COMP_WORDS[1]}" = pst ] && [ "$COMP_CWORD" -gt 2 ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    elif [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "imaps:// imap:// maildir: mbox: eml:" -- "$cur")
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _mailhaul mailhaul
