# shellcheck shell=dash disable=SC2154 # it stands behind stands.sh
# Which programs are not as they were put: three arguments for each, its name, path and pin. Printed are the names of those
# that are to be put, and `checked` at the end.
set -u
LC_ALL=C
export LC_ALL
while [ "$#" -ge 3 ]; do
	stands "$1" "$2" "$3"
	case $stands in
	as-put) ;;
	touched) printf '%s\n' "$noted" >"/var/lib/phoenix/artifacts/$1" || exit 1 ;;
	*) printf '%s\n' "$1" ;;
	esac
	shift 3
done
echo checked
