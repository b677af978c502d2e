# Makes what is missing of pools, roles, a user and a token, and leaves what is there; the commands follow, a line each.
set -u
LC_ALL=C
export LC_ALL

fail() {
	printf '%s: %s\n' "$1" "$2" >&2
	exit 1
}
# must COMMAND...
must() {
	said=$("$@" 2>&1 </dev/null) || fail "$*" "$said"
}
# made COMMAND...: what it makes may be there.
made() {
	said=$("$@" 2>&1 </dev/null) && return
	case $said in *'already exist'*) ;; *) fail "$*" "$said" ;; esac
}
# role NAME PRIVILEGES
role() {
	said=$(pveum role add "$1" --privs "$2" 2>&1 </dev/null) && return
	case $said in
		*'already exist'*) must pveum role modify "$1" --privs "$2" ;;
		*) fail "pveum role add $1" "$said" ;;
	esac
}
# token USER NAME: nobody can be told the secret of one that is there.
token() {
	pveum user token remove "$1" "$2" >/dev/null 2>&1 </dev/null
	pveum user token add "$1" "$2" --privsep 1 --output-format json </dev/null || fail "pveum user token add $1 $2" 'no token was made'
}

