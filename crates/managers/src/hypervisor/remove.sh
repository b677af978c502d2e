# shellcheck shell=dash disable=SC2154 # mark is told in front of it
set -u
rm -rf /var/lib/phoenix/certificates /etc/phoenix/certificates /etc/phoenix/certificates.d || exit 1
state=/var/lib/phoenix
# Whatever else keeps something there keeps its folder.
for folder in "$state/made" "$state/kept" "$state/pending" "$state/undo"; do
	[ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty "$folder" || exit 1
done
[ -d "$state/made" ] || rm -f /etc/phoenix/applied.json || exit 1
rm -f "$mark" || exit 1
for folder in "$state" /etc/phoenix; do
	[ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty "$folder" || exit 1
done
echo phoenix: removed certificates
