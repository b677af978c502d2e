
# Names of the site at hand, where a name can stand; else what the above knows.
_phoenix_cli_names() {
    local -a names
    names=("${(@f)$(phoenix-cli __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    names=(${names:#})
    if (( $#names )); then
        compadd -a names
    else
        _phoenix-cli "$@"
    fi
}
compdef _phoenix_cli_names phoenix-cli
