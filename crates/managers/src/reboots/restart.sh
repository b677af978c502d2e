# shellcheck shell=dash
# A restart of the node, step by step. Arguments: `begin` (on standard input is what ran, which is written down), `reboot`, or `end`
# (what was written down goes, and what waited for a start that has been).
state=/var/lib/phoenix
case $1 in
begin)
	umask 077
	mkdir -p "$state" && chmod 0711 "$state" && cat >"$state/restarting.new" && sync "$state/restarting.new" &&
		mv -f "$state/restarting.new" "$state/restarting"
	;;
reboot) systemctl --no-block reboot ;;
end)
	rm -f "$state/restarting" && boot=$(cat /proc/sys/kernel/random/boot_id) || exit 1
	for file in "$state/restart/"*; do
		if [ -f "$file" ] && [ "$(cat "$file")" != "$boot" ]; then rm -f "$file" || exit 1; fi
	done
	[ ! -d "$state/restart" ] || rmdir --ignore-fail-on-non-empty "$state/restart"
	;;
*) exit 2 ;;
esac
