# shellcheck shell=dash
# What waits for a restart of the node, a line for each fact, words with tabs between them. Changes nothing.
# Argument: a folder in place of /, for tests.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
root=${1-}
state=$root/var/lib/phoenix
# Which start the node is in.
read -r boot <"$root/proc/sys/kernel/random/boot_id" || exit 1
printf 'boot\t%s\n' "$boot"
# What changed that counts from the next one, in which start that was, and the fingerprint that the feature had at its begin.
for file in "$state/restart/"*; do
	[ -f "$file" ] || continue
	read -r id was <"$file"
	printf 'waits\t%s\t%s\t%s\n' "${file##*/}" "$id" "${was:-?}"
done
# The features that have something of that kind, so that it waits when they go.
for file in "$state/made/"*; do
	[ -f "$file" ] || continue
	! grep -q 'at-restart' "$file" || printf 'counts\t%s\n' "${file##*/}"
done
# A restart that was begun: in which start, for which site, and what ran then.
if [ -f "$state/restarting" ]; then
	read -r id site <"$state/restarting"
	printf 'begun\t%s\t%s\n' "$id" "$site"
	sed -n '2,$s/^/ran\t/p' "$state/restarting"
fi
echo end
