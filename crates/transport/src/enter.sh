# Into a container of this node: ID NONCE COMMAND ARGUMENT...
#
# That nothing in the container was run is told here, before anything is: by a word that nobody in there can know, since what
# comes after it is all theirs.
id=$1 nonce=$2
shift 2
state=$(lxc-info -n "$id" -s -H 2>&1) || state="it is not defined on this node (${state:-lxc-info says nothing})"
case $state in
RUNNING | STARTING | FREEZING | FROZEN | THAWED) exec lxc-attach -n "$id" --clear-env -- "$@" ;;
*)
	printf 'phoenix-not-entered-%s %s\n' "$nonce" "$state" >&2
	exit 1
	;;
esac
