# shellcheck shell=dash
set -e
rm -f "$1/etc/machine-id" "$1/etc/resolv.conf" "$1/etc/hostname"
touch "$1/etc/machine-id" "$1/etc/resolv.conf"
tar -C "$1" --numeric-owner --owner-map="$3" --group-map="$3" --exclude='./dev/*' -cf - . |
	tar -C "$2" --numeric-owner -xpf -
