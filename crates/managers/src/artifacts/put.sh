# Puts the program on standard input in place: name, path, pin, SHA-256, then features and the units that run it, as
# `feature unit unit …`, one argument each. What has to be restarted is written down first, where the features' script
# looks for what an earlier run still owed: a run that is cut off in between forgets nothing.
set -eu
LC_ALL=C
export LC_ALL
name=$1 path=$2 pin=$3 wanted=$4 state=/var/lib/phoenix
shift 4
new=${path%/*}/.phoenix-new-$name
mkdir -p "${path%/*}" "$state/artifacts" "$state/pending"
chmod 0711 "$state"
chmod 0700 "$state/pending"
trap 'rm -f "$new"' EXIT
rm -f "$new"
(umask 077 && cat >"$new")
sum=$(sha256sum <"$new")
if [ "${sum%% *}" != "$wanted" ]; then
	printf 'what arrived has the SHA-256 %s\n' "${sum%% *}" >&2
	exit 3
fi
chown 0:0 "$new"
chmod 0755 "$new"
if ! cmp -s "$new" "$path"; then
	for owed; do
		feature=${owed%% *}
		for unit in ${owed#"$feature"}; do printf 'restart:%s\n' "$unit" >>"$state/pending/$feature"; done
	done
fi
sync -- "$new"
mv -fT -- "$new" "$path"
printf '%s\n' "$pin $wanted $(stat -c '%s %y %z %i %f %u:%g' -- "$path")" >"$state/artifacts/$name"
