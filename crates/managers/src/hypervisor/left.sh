# shellcheck shell=dash
# What the engine keeps on a host: nothing of it is of use where nothing is remembered any more. Whatever else keeps something
# there keeps its folder.
state=/var/lib/phoenix
# What waited for a start that has been.
for file in "$state/restart/"*; do
	if [ -f "$file" ] && [ "$(cat "$file")" != "$(cat /proc/sys/kernel/random/boot_id)" ]; then rm -f "$file" || exit 1; fi
done
for folder in "$state/made" "$state/kept" "$state/pending" "$state/undo" "$state/restart"; do
	[ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty "$folder" || exit 1
done
[ -d "$state/made" ] || rm -f /etc/phoenix/applied.json || exit 1
for folder in "$state" /etc/phoenix /usr/local/lib/phoenix; do
	[ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty "$folder" || exit 1
done
