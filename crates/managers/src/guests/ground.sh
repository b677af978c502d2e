#!/bin/sh
# Prints which of these are not there: folder:PATH, device:PATH, link:NAME, script:VOLUME. Nothing is changed.
for it; do
    name=${it#*:}
    case $it in
        folder:*) test -d "$name" ;;
        device:*) test -b "$name" || test -c "$name" ;;
        script:*) path=$(pvesm path "$name" 2>/dev/null) && test -f "$path" && test -x "$path" ;;
        link:*) test -e "/sys/class/net/$name" ;;
        *) false ;;
    esac || printf '%s\n' "$it"
done
