
# Names of the site at hand, where a name can stand; else what the above knows.
_phoenix_cli_names() {
    local line="${COMP_LINE:0:COMP_POINT}" names
    local -a words
    read -ra words <<<"$line"
    [[ $line != *[[:space:]] ]] || words+=('')
    local last="${words[-1]}"
    mapfile -t names < <("$1" __complete -- "${words[@]:1}" 2>/dev/null)
    if ((${#names[@]})); then
        # Bash takes `@`, `=` and `:` for the beginning of another word; what is before it stays as it is.
        COMPREPLY=("${names[@]#"${last%"$2"}"}")
    else
        _phoenix__cli "$@"
    fi
}
if ((BASH_VERSINFO[0] > 4 || BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] >= 4)); then
    complete -F _phoenix_cli_names -o nosort -o bashdefault -o default phoenix-cli
fi
