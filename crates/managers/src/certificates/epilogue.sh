# shellcheck shell=dash disable=SC2154 # it stands behind functions.sh
sync
if ! { command -v systemctl && command -v openssl; } >/dev/null 2>&1; then exit 0; fi
said=$(tell_all "$restart" "$reload" 2>&1) || printf 'phoenix:note %s\n' "$said"
