# shellcheck shell=dash
# Takes a site's lock twice at once, in a /run that nobody else sees: the script that takes it, and what is done there before.
mount -t tmpfs -o mode=0755 none /run || exit 9
mkdir -m 1777 /run/lock
eval "$2"
mkfifo /run/input && exec 8<>/run/input
sh -c "$1" phoenix-lock workshop 'anna@desk' <&8 >/run/first 2>/run/said &
first=$!
i=0
while kill -0 "$first" 2>/dev/null && [ ! -s /run/first ] && [ "$i" -lt 200 ]; do
	sleep 0.05
	i=$((i + 1))
done
if [ ! -s /run/first ]; then
	cat /run/said >&2
	wait "$first"
	exit "$?"
fi
cat /run/first
sh -c "$1" phoenix-lock workshop 'ben@desk' </dev/null
kill "$first"
stat -c '%F %u %a' /run/phoenix
