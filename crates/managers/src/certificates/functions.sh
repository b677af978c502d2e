# shellcheck shell=dash disable=SC2015,SC2034,SC2154 # it stands behind prologue.sh and catalog/certificates/pairs
state=/var/lib/phoenix/certificates
mkdir -p "$state" && chmod 0700 "$state" && exec 9>"$state/lock" && flock -w 60 9 || {
	echo "somebody else has been at work on the certificates for a minute" >&2
	exit 3
}
echo phoenix: putting certificates
keep() { cat >"$new/$1"; }
plain() {
	mv -f "$new/key.pem" "$store/$1/key.pem" && chmod 0644 "$new/fullchain.pem" &&
		mv -f "$new/fullchain.pem" "$store/$1/fullchain.pem" && rm -rf "$new"
}
done_with() {
	if command -v openssl >/dev/null 2>&1; then put "$1"; else plain "$1"; fi || {
		echo "cannot write to $store/$1" >&2
		exit 3
	}
	rm -f "/etc/phoenix/certificates.d/$1.conf" "$state/$1.state" "$state/$1.orphan"
	restart="$restart $restarts" reload="$reload $reloads"
}
back() { said=$(read_back "$1" 2>&1) || printf 'phoenix:note %s\n' "$said"; }
