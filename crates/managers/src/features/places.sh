# shellcheck shell=dash disable=SC2154 # what the engine sets and reads
# ---- places ----------------------------------------------------------------------------------------------------------
#
# Users of the guest may turn what is theirs into a link at any moment, and a path leads root wherever they like. So nothing
# is done to a path: its folder is entered and then held, and what is in it is called by its name alone, by calls that follow
# no link there. A new file is made in a folder below it that nobody but root can enter, and is moved up when it is complete.

# Whoever cannot guess a name cannot take it first.
token=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')

# roots FOLDER: whether nobody but root can change what it and all those above it hold.
roots() {
	local path="${1%/}" all
	set -- /
	while [ -n "$path" ]; do
		set -- "$@" "$path"
		path=${path%/*}
	done
	all=$(stat -c '%u %g %A' -- "$@" 2>/dev/null) || return 1
	! printf '%s\n' "$all" | grep -qvE '^0 (0 d.......-|[0-9]+ d....-..-)'
}

# into FOLDER [make]: goes there, where links lead that only root could make, and never along others; makes what is missing.
# What is entered is held: the path may lead elsewhere from then on, but one is where one is.
into() {
	local rest="${1#/}" part target above links=0
	if [ -z "$rest" ]; then
		cd /
		return
	fi
	if [ -d "$1" ] && cd -P "$1" 2>/dev/null && [ "$PWD" = "$1" ]; then return 0; fi
	cd / || return 1
	while [ -n "$rest" ]; do
		part=${rest%%/*}
		case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
		case $part in
		'' | .) continue ;;
		..)
			cd -P .. || return 1
			continue
			;;
		esac
		above=${PWD%/}
		if [ -h "./$part" ]; then
			if ! roots "${above:-/}"; then
				printf '%s is a link, and others than root can change where it leads\n' "$above/$part" >&2
				return 1
			fi
			links=$((links + 1))
			if [ "$links" -gt 40 ]; then
				printf '%s leads through more than 40 links\n' "$1" >&2
				return 1
			fi
			target=$(readlink -- "./$part") || return 1
			case $target in /*) cd / || return 1 ;; esac
			rest=$target${rest:+/$rest}
			continue
		fi
		if [ ! -d "./$part" ] && [ "${2:-}" = make ]; then mkdir -- "./$part" || return 1; fi
		if ! cd -P "./$part" 2>/dev/null || [ "$PWD" != "$above/$part" ]; then
			printf '%s is no folder that can be entered\n' "$above/$part" >&2
			return 1
		fi
	done
}

# staged FOLDER FUNCTION ARGUMENT...: calls it in a new folder within that one, which nobody but root can enter or move to
# another place, so that `../NAME` is in that one for certain. In a process of its own, which may go where it likes.
staged() (
	local above status name
	name=.phoenix-new-$token
	into "$1" || exit 1
	above=${PWD%/}
	printf 'temp:%s\n' "$above/$name" >>"$pending"
	if [ -e "./$name" ] || [ -h "./$name" ]; then rm -rf -- "./$name"; fi
	umask 077
	mkdir -- "./$name" && cd -P "./$name" || exit 1
	case "$PWD $(stat -c '%u %a' .)" in
	"$above/$name 0 700" | "$above/$name 0 2700") ;;
	*)
		printf '%s was changed by somebody else\n' "$above/$name" >&2
		exit 1
		;;
	esac
	shift
	"$@"
	status=$?
	rm -rf -- "../$name"
	exit "$status"
)

# removed PATH: takes away a file or a link, and never what the link leads to.
removed() {
	[ -e "$1" ] || [ -h "$1" ] || return 0
	(into "${1%/*}" && rm -f -- "./${1##*/}")
}

# These are called where `staged` goes, so what is up there has another name for as long as that is looked at.

# pin NAME: what has that name up there, as `was`.
pin() {
	ln -P -- "../$1" was 2>/dev/null && return 0
	# Not every file system has more than one name for a file.
	roots "${PWD%/*}" && cp -aT -- "../$1" was
}

# copy NAME TO: a copy of a file or a link.
copy() {
	pin "$1" || return 1
	if [ ! -f was ] && [ ! -h was ]; then
		printf '%s is no file\n' "${PWD%/*}/$1" >&2
		return 1
	fi
	cp -aT -- was "$2"
}

# restore FROM NAME: such a copy in its place.
restore() { cp -aT -- "$1" new && mv -fT -- new "../$2"; }

# write NUMBER MODE OWNER NAME: a new file in the place of the old one.
write() {
	"content_$1" >new || return 1
	give "$2" "$3" && mv -fT -- new "../$4"
}

# give MODE OWNER: the new file, before anybody can see it.
give() {
	if [ "$2" != root:root ] || [ -g . ]; then chown "$2" new || return 1; fi
	chmod "$1" new
}

# write_block NUMBER MODE OWNER NAME WORD: the same with the block in what is there, which keeps its owner and mode.
write_block() {
	local mode="$2" owner="$3"
	: >before
	if [ -e "../$4" ] || [ -h "../$4" ]; then
		pin "$4" || return 1
		if [ -h was ] && roots "${PWD%/*}"; then
			# It leads where root has it lead.
			(cd .. && run 30 cat -- "./$4") >before || return 1
			owner=$(cd .. && stat -L -c %u:%g "./$4") && mode=$(cd .. && stat -L -c %a "./$4") || return 1
		elif [ -h was ] || [ ! -f was ]; then
			printf '%s is no file\n' "${PWD%/*}/$4" >&2
			return 1
		else
			cat was >before && owner=$(stat -c %u:%g was) && mode=$(stat -c %a was) || return 1
		fi
	fi
	with_block "$1" "$5" <before >new || return 1
	chown "$owner" new && chmod "$mode" new && mv -fT -- new "../$4"
}
