#!/bin/sh
# Writes files, each a path and what it holds; one that is to hold nothing goes. What the node starts from learns of it.
set -u
umask 022
changed=
mkdir -p /etc/systemd/network || exit 1
while [ $# -ge 2 ]; do
    path=$1 text=$2
    shift 2
    if [ -z "$text" ]; then
        [ ! -e "$path" ] || { rm -f "$path" && changed=1; } || exit 1
    elif [ "$(cat "$path" 2>/dev/null)" != "${text%?}" ]; then
        printf '%s' "$text" >"$path.new" && mv -f "$path.new" "$path" || exit 1
        changed=1
    fi
done
[ -z "$changed" ] || ! command -v update-initramfs >/dev/null || update-initramfs -u >/dev/null
