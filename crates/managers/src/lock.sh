# shellcheck shell=dash
# Takes the lock of a site: its name, and who takes it. It lies in a folder that is this user's alone: where others may put
# something, a lock can be kept from whoever needs it, and taken from whoever has it.
folder=/run/phoenix
mkdir -m 0700 "$folder" 2>/dev/null
found=$(stat -c '%F %u %a' "$folder" 2>&1)
case $found in
"directory $(id -u) 700") ;;
"directory $(id -u) 7"[05][05]) chmod 0700 "$folder" || exit 3 ;;
*)
	echo "$folder is no folder of this user's alone: $found" >&2
	exit 3
	;;
esac
file=$folder/$1.lock
exec 9<>"$file" || exit 3
if flock -n 9; then
	printf '%s\n' "$2" >"$file.owner"
	echo locked
	cat >/dev/null
else
	echo "held by $(cat "$file.owner" 2>/dev/null)"
	exit 1
fi
