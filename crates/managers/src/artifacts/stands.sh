# shellcheck shell=dash disable=SC2034 # what stands behind it reads what it says
# stands NAME PATH PIN: how a program stands that was put in place from outside, said in `stands`: `as-put`; `touched`, where
# `noted` is what to remember from now on; `missing`; `attributes`, where it is the same, and its owner or mode is not; and
# `differs`. What was put is remembered (pin, SHA-256, and what `stat` says), so that a large program is read again only when
# something touched it. Nothing is changed.
stands() {
	local pin='' sum='' was='' is now
	stands=missing
	is=$(stat -c '%s %y %z %i %f %u:%g' -- "$2" 2>/dev/null) || return 0
	if [ -e "/var/lib/phoenix/artifacts/$1" ]; then read -r pin sum was <"/var/lib/phoenix/artifacts/$1"; fi
	stands=differs
	[ "$pin" = "$3" ] || return 0
	stands=as-put
	[ "$is" != "$was" ] || return 0
	now=$(sha256sum <"$2")
	noted="$pin $sum $is"
	# A plain file of root's that everybody may run: 0100755.
	case "${now%% *} $(stat -c '%f %u:%g' -- "$2")" in
	"$sum 81ed 0:0") stands=touched ;;
	"$sum 8"*) stands=attributes ;;
	*) stands=differs ;;
	esac
}
