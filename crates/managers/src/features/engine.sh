# shellcheck shell=dash disable=SC2154 # acting and version are told in front of it
# What follows is the engine, the same for every guest; what this guest gets stands after it.
# It is one POSIX shell script (dash), read in full before anything runs: the last line calls main.
# Reports go to file descriptor 3, one JSON object a line; everything else goes to standard error.
set -u
umask 022
LC_ALL=C
DEBIAN_FRONTEND=noninteractive
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL DEBIAN_FRONTEND PATH
unset TMPDIR

state=/var/lib/phoenix
record=/etc/phoenix/applied.json
policy=/usr/sbin/policy-rc.d
boot_id=/proc/sys/kernel/random/boot_id
contained=/run/systemd/container
nl='
'
tab=$(printf '\t')
total=0
feature=
fingerprint=
pending=
applied=
undo=
apt_updated=
apt_tried=
arrived=
policy_ours=

# ---- reports -------------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$1" >&3; }

# Text on standard input as the inside of a JSON string.
escape() {
	tr -d '\000-\010\013-\037\177' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e "s/$tab/\\\\t/g" |
		awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
}

# quoted TEXT: the same for one argument, without a process in the usual case.
quoted() {
	case $1 in
	*[!a-zA-Z0-9\ /._:=+@,-]*) printf '%s' "$1" | escape ;;
	*) printf '%s' "$1" ;;
	esac
}

# act KIND KEY TARGET CHANGE: an action that was done (or, when only checking, is due).
act() {
	changed=$((changed + 1))
	say "{\"feature\":\"$feature\",\"action\":\"$1\",\"$2\":\"$(quoted "$3")\",\"change\":\"$4\",\"done\":$acting}"
}

# fail TEXT: the feature has failed. Always false, so that callers can return it.
fail() {
	error=$1
	return 1
}

# last TEXT: its last 15 lines.
last() { printf '%s\n' "$1" | tail -n 15; }

# run SECONDS COMMAND...: its output, all of it, on standard output; no longer than that.
run() {
	local seconds="$1"
	shift
	# What bounds it has the lock, too: a script that is killed leaves both running, and the next one waits for their end. The
	# command itself has not, since it may leave something running for good.
	# shellcheck disable=SC2016 # for that shell
	timeout -k 10 "$seconds" sh -c 'exec "$@" 9>&-' sh "$@" </dev/null 3>&- 2>&1
}

# run_text SECONDS TEXT: the same for a line of shell.
run_text() { run "$1" sh -c "$2"; }

# ---- changing ------------------------------------------------------------------------------------------------------

# Before the first change of a feature: from here until its end its record is gone and what it still owes is written down.
begin_change() {
	[ -n "$began" ] && return 0
	began=1
	# Others may pass through to what a feature keeps there, but not look around.
	if ! mkdir -p "$state/pending" "$state/undo" /etc/phoenix || ! chmod 0711 "$state" || ! chmod 0700 "$state/pending" "$state/undo"; then
		fail "cannot write to $state"
		return 1
	fi
	open_record || return 1
	applied=$([ ! -e "$record" ] || sed -n "s/^  \"$feature\": {\"fingerprint\":\"\([^\"]*\)\".*/\1/p" "$record")
	if [ -z "$applied" ]; then if [ -s "$made" ] && [ "$recorded" != "$nl" ]; then applied='?'; else applied=-; fi; fi
	write_record drop || {
		fail "cannot write $record"
		return 1
	}
	: >>"$pending" || fail "cannot write $pending"
}

# owe NOTES: reloads, restarts and commands that must follow, kept where a kill does not lose them.
owe() {
	[ "$1" = - ] && return 0
	case ",$1," in *,at-restart,* | *,at-restart:*) at_restart "$1" || return 1 ;; esac
	printf '%s\n' "$1" >>"$pending" || return 1
	# A unit starts with what it has, but nothing runs a command again where the power was cut between a file and that.
	case ",$1," in *,run:*) run 60 sync -- "$pending" >&2 ;; esac
}

# at_restart NOTES: what is about to change counts from the next start of the machine. With it is written down which start this
# is, so that it is known when the next one was. The kernel of a container is another's: there is nothing to wait for.
at_restart() {
	local out
	[ ! -e "$contained" ] || return 0
	out=$({
		mkdir -p "$state/restart" && chmod 0700 "$state/restart" && counting "$1" >"$state/restart/.new" &&
			mv -fT "$state/restart/.new" "$state/restart/$feature"
	} 2>&1) || fail "cannot write down that $feature counts from the next start: $out"
}

# carried_on: what was begun in another start, and is only brought to its end now, counts from the start after this one.
carried_on() {
	case $notes in *,at-restart,* | *,at-restart:*) ;; *) return 0 ;; esac
	case $(cat "$state/restart/$feature" 2>/dev/null) in
	"$(cat "$boot_id")"*) ;;
	*) at_restart at-restart ;;
	esac
}

# counting NOTES: what is written down, so that what is set back before the next start is known to wait for nothing. A line with
# this start and the fingerprint of what the feature was in it (`-` for none, `?` where that is not known); and for each file
# that changes its digest before the first change, `?` where nothing tells what counted.
counting() {
	local boot lines='' files='' word
	boot=$(cat "$boot_id") || return 1
	[ ! -e "$state/restart/$feature" ] || lines=$(cat "$state/restart/$feature")
	case $lines in
	"$boot "*) ;;
	"$boot") lines="$boot ?$nl? -" ;;
	*) lines="$boot $applied" ;;
	esac
	# The fingerprint of what was not there is `-`, too, and is no file.
	case $lines in *"$nl"*) files=${lines#*"$nl"} ;; esac
	printf '%s\n' "$lines"
	printf '%s\n' "$1" | tr ',' '\n' | sed -n -e 's/^at-restart$/-/p' -e 's/^at-restart://p' | while IFS= read -r word; do
		case $files$nl in *" $word$nl"*) continue ;; esac
		printf '%s %s\n' "$(digest "$word")" "$word"
	done
}

# digest PATH: of what is in a file; `-` where it is not there, `?` for none.
digest() {
	case $1 in
	-) echo '?' ;;
	*) if [ -e "$1" ]; then sha256sum <"$1" | cut -c 1-64; else echo -; fi ;;
	esac
}

# set_back: where all that this feature changed is as it was at this start, it waits for nothing.
set_back() {
	local file="$state/restart/$feature" boot was sum path
	[ -f "$file" ] || return 0
	{
		read -r boot was
		[ -n "$was" ] && [ "$boot" = "$(cat "$boot_id")" ] || return 0
		while read -r sum path; do [ "$sum" != '?' ] && [ "$sum" = "$(digest "$path")" ] || return 0; done
	} <"$file"
	rm -f -- "$file"
}

# due NOTES: the same for this run.
due() {
	[ "$1" = - ] || notes="$notes,$1,"
}

is_due() {
	case $notes in
	*",$1,"*) return 0 ;;
	esac
	return 1
}

# write_record drop|keep: the record without this feature, or with it.
write_record() {
	local old='' new entry
	if [ -e "$record" ]; then old=$(cat "$record"); fi
	entry="  \"$feature\": {\"fingerprint\":\"$fingerprint\",\"version\":\"$version\"}"
	new=$(printf '%s\n' "$old" | MODE=$1 NAME="  \"$feature\": " ENTRY=$entry awk '
		/^  "[^"]*": \{.*\},?$/ {
			if (index($0, ENVIRON["NAME"]) == 1) next
			sub(/,$/, "")
			lines[++n] = $0
		}
		END {
			if (ENVIRON["MODE"] == "keep") lines[++n] = ENVIRON["ENTRY"]
			print "{"
			for (i = 1; i <= n; i++) print lines[i] (i < n ? "," : "")
			print "}"
		}')
	[ "$new" = "$old" ] && return 0
	[ "$1" = drop ] && [ -z "$old" ] && return 0
	mkdir -p /etc/phoenix && printf '%s\n' "$new" >"$record.new" && mv -f "$record.new" "$record"
}

# preflight MESSAGE COMMAND: what must hold before anything is changed.
preflight() {
	local out
	out=$(run_text 60 "$2") && return 0
	fail "$1${out:+: $(last "$out")}"
}

# ---- packages ------------------------------------------------------------------------------------------------------

# Those of the arguments (name or name=version) that are not installed.
missing() {
	local have
	# shellcheck disable=SC2046 # names hold no blanks
	have=$nl$(dpkg-query -W -f '${db:Status-Status} ${Package}=${Version}\n' $(printf '%s\n' "$@" | sed 's/=.*//') 2>/dev/null |
		sed -n 's/^installed //p')$nl
	for package; do
		case $package in
		*=*) case $have in *"$nl$package$nl"*) continue ;; esac ;;
		*) case $have in *"$nl$package="*) continue ;; esac ;;
		esac
		printf '%s\n' "$package"
	done
}

# Services that packages bring are not started before their files are in place.
hold_services() {
	[ -e "$policy" ] && return 0
	policy_ours=1
	printf '#!/bin/sh\n# put here by Phoenix while packages are installed\nexit 101\n' >"$policy" && chmod 0755 "$policy"
}

release_services() {
	if [ -e "$policy" ] && grep -q '^# put here by Phoenix' "$policy" 2>/dev/null; then rm -f "$policy"; fi
	policy_ours=
}

# A server that takes a connection and then says nothing is given up after a minute.
apt() {
	run 1800 apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
		-o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# Package lists are fetched once a run, when one of the packages is unknown or they are older than a day. Right after a
# guest's start its network may not be up yet, so a failure is tried again, for half a minute in all.
update_lists() {
	local known=1 wait=2 out
	[ -n "$apt_updated" ] && return 0
	for package; do
		apt-cache show "$package" >/dev/null 2>&1 || known=
	done
	if [ -n "$known" ] && [ -n "$(find "$state/lists" -mmin -1440 2>/dev/null)" ]; then return 0; fi
	while :; do
		if out=$(apt -o APT::Update::Error-Mode=any update); then
			apt_updated=1
			: >"$state/lists"
			return 0
		fi
		[ "$wait" -le 16 ] || break
		sleep "$wait"
		wait=$((wait * 2))
	done
	printf '%s\n' "$out" >&2
	[ -n "$known" ] && return 0
	fail "failed to fetch the package lists: $(last "$out")"
}

# get_packages PACKAGE...: a line that breaks down, or lists that name what is no longer there, are no reason to give up: three
# more times, with lists that are new. What has arrived is kept. What apt said last is in `out`.
get_packages() {
	local wait=5
	while :; do
		out=$(apt --no-install-recommends install "$@") && return 0
		case $out in *'Failed to fetch'* | *'Unable to fetch'*) ;; *) return 1 ;; esac
		# It was tried often enough when all were to be fetched together.
		[ "$wait" -le 20 ] && [ -z "$apt_tried" ] || return 1
		printf '%s\n' "$(last "$out"); trying again in $wait s" >&2
		sleep "$wait"
		wait=$((wait * 2))
		apt -o APT::Update::Error-Mode=any update >/dev/null
	done
}

# install PACKAGE...: in one transaction. What went wrong is in `error`.
install() {
	local out still
	hold_services || {
		fail "cannot write $policy"
		return 1
	}
	# What a kill left half installed comes first.
	if [ -n "$(dpkg --audit 2>/dev/null | head -c 1)" ]; then run 900 dpkg --force-confdef --force-confold --configure -a >&2; fi
	update_lists "$@" || return 1
	if ! get_packages "$@"; then
		fail "failed to install $*: $(last "$out")"
		return 1
	fi
	printf '%s\n' "$out" >&2
	release_services
	still=$(missing "$@")
	if [ -n "$still" ]; then
		fail "not installed, though apt-get reported success: $(printf '%s' "$still" | tr '\n' ' ')"
		return 1
	fi
}

# remember_packages PACKAGE...: that they were installed here.
remember_packages() {
	local package
	for package; do remember package "${package%%=*}" new - || return 1; done
}

packages() {
	local wanted package
	wanted=$(missing "$@")
	if [ -n "$wanted" ] && [ "$acting" = true ]; then
		begin_change || return 1
		# shellcheck disable=SC2086 # one word each
		if ! remember_packages $wanted || ! install $wanted; then return 1; fi
	fi
	for package; do
		case "$nl$wanted$nl$arrived$nl" in
		*"$nl$package$nl"*)
			act package name "${package%%=*}" install
			# Installed for all that list it, and told of once.
			arrived=$(printf '%s\n' "$arrived" | grep -vxF -e "$package")
			;;
		esac
	done
	return 0
}

# together NUMBER...: the packages of these features in one transaction, after those of their files that packages read.
# Where it fails, each feature tries for itself, so that it is known whose they are, and what is good arrives.
together() {
	local number name list all wanted='' own
	[ "$acting" = true ] || return 0
	all=$(for number; do eval "printf '%s ' \"\$packages_$number\""; done)
	all=${all%"${all##*[! ]}"}
	[ -n "$all" ] || return 0
	# shellcheck disable=SC2086 # one word each
	all=$(missing $all)
	[ -n "$all" ] || return 0
	for number; do
		eval "name=\$name_$number list=\$packages_$number"
		own=
		# shellcheck disable=SC2086
		[ -z "$list" ] || own=$(missing $list)
		enter "$name"
		# What cannot be is said when its turn comes.
		if ! "first_$number"; then continue; fi
		if ! "settings_$number"; then return 0; fi
		eval "before_$number=$changed"
		[ -n "$own" ] || continue
		# shellcheck disable=SC2086
		if ! begin_change || ! remember_packages $own; then return 0; fi
		wanted="$wanted$own$nl"
	done
	wanted=$(printf '%s' "$wanted" | sort -u)
	[ -n "$wanted" ] || return 0
	# shellcheck disable=SC2086
	if install $wanted; then
		arrived=$wanted
	else
		printf '%s; each feature tries for itself\n' "$error" >&2
		release_services
		case $error in *'Failed to fetch'* | *'Unable to fetch'*) apt_tried=1 ;; esac
	fi
}

# ---- programs ------------------------------------------------------------------------------------------------------

# program NAME PATH PIN NOTES...: one that no package brings. It is put in place before the script runs that changes things, so
# it is only looked at, with what follows when it is put.
program() {
	local path="$2" note change=update
	[ "$acting" != true ] || return 0
	stands "$1" "$2" "$3"
	case $stands in
	as-put | touched) return 0 ;;
	missing) change=create ;;
	esac
	act file path "$path" "$change"
	[ "$stands" != attributes ] || return 0
	shift 3
	for note; do due "$note"; done
}

# ---- users and folders ---------------------------------------------------------------------------------------------

# user NAME SYSTEM HOME SHELL GROUPS (comma-separated)
user() {
	local entry out groups='' home="$3" shell="$4" group
	entry=$(getent passwd "$1")
	for group in $(printf '%s' "$5" | tr ',' ' '); do
		case " $(id -nG "$1" 2>/dev/null) " in
		*" $group "*) ;;
		*) groups="$groups,$group" ;;
		esac
	done
	groups=${groups#,}
	if [ -z "$entry" ]; then
		[ "$acting" = true ] || {
			act user name "$1" create
			return 0
		}
		begin_change || return 1
		remember user "$1" new - || return 1
		# A group of that name may be left of an earlier user.
		local own="--user-group"
		if getent group "$1" >/dev/null; then own="--gid=$1"; fi
		if [ "$2" = true ]; then
			set -- "$1" --system "$own" --home-dir "${home:-/nonexistent}" --shell "${shell:-/usr/sbin/nologin}"
		else
			set -- "$1" "$own" --create-home --home-dir "${home:-/home/$1}" --shell "${shell:-/bin/bash}"
		fi
		local name="$1"
		shift
		out=$(run 60 useradd "$@" ${groups:+--groups "$groups"} -- "$name") || {
			fail "failed to make the user $name: $(last "$out")"
			return 1
		}
		act user name "$name" create
		return 0
	fi
	[ "$home" = "$(printf '%s' "$entry" | cut -d: -f6)" ] && home=
	[ "$shell" = "$(printf '%s' "$entry" | cut -d: -f7)" ] && shell=
	[ -n "$home$shell$groups" ] || return 0
	if [ "$acting" = true ]; then
		begin_change || return 1
		out=$(run 60 usermod ${home:+--home "$home"} ${shell:+--shell "$shell"} ${groups:+--append --groups "$groups"} -- "$1") || {
			fail "failed to change the user $1: $(last "$out")"
			return 1
		}
	fi
	act user name "$1" update
}

# lend GROUP PATH: has the group read it. It is a link to a file, both in folders that are root's alone.
lend() {
	local name="${2##*/}" real
	if into "${2%/*}" && roots "$PWD" && real=$(realpath -e -- "./$name") && into "${real%/*}" && roots "$PWD"; then
		chgrp "$1" -- "./${real##*/}" && chmod 0640 -- "./${real##*/}"
		return
	fi
	printf 'others than root can change it\n' >&2
	return 1
}

# readable GROUP PATH: the key of a certificate, for a service that is not root. The certificate was there before the group.
readable() {
	local out
	[ -e "$2" ] || return 0
	[ "$(stat -L -c '%a %G' -- "$2")" = "640 $1" ] && return 0
	if [ "$acting" = true ]; then
		begin_change || return 1
		out=$(lend "$1" "$2" 2>&1) || {
			fail "failed to let $1 read $2: $out"
			return 1
		}
	fi
	act file path "$2" update
}

# folder PATH MODE OWNER (each may be empty: as it is)
folder() {
	local change=update out
	if [ ! -e "$1" ] && [ ! -h "$1" ]; then
		change=create
	elif [ ! -d "$1" ]; then
		fail "$1 is there and is no folder"
		return 1
	else
		set -- "$1" "$2" "$3" "$(stat -L -c '%a %U:%G' -- "$1")"
		case "${2:-${4% *}} ${3:-${4#* }}" in "$4") return 0 ;; esac
	fi
	if [ "$acting" = true ]; then
		begin_change || return 1
		remember_folders "$1" || return 1
		out=$({ into "$1" make && { [ -z "$3" ] || chown "$3" .; } && { [ -z "$2" ] || chmod "$2" .; }; } 2>&1) || {
			fail "$out"
			return 1
		}
	fi
	act folder path "$1" "$change"
}

# ---- files ---------------------------------------------------------------------------------------------------------

# A manifest on standard input: number, SHA-256, type and mode in hexadecimal, owner, notes, path. Printed are the lines
# of those files that are not like that, with what is to be done in front. A few processes for any number of files.
differing() {
	local manifest there
	manifest=$(cat)
	there=$(printf '%s\n' "$manifest" | cut -f 6 | xargs -d '\n' stat -c '%f %U:%G %n' -- 2>/dev/null)
	{
		printf '%s\n' "$manifest" | sed "s/^/M$tab/"
		printf '%s\n' "$there" | sed "s/^/T$tab/"
		# Only files: whoever may put a pipe there does not keep anybody waiting.
		printf '%s\n' "$there" | sed -n 's/^8[^ ]* [^ ]* //p' | timeout -k 5 600 xargs -r -d '\n' sha256sum -- 2>/dev/null | sed "s/^/S$tab/"
	} | awk -F '\t' -v OFS='\t' '
		$1 == "M" { n++; line[n] = substr($0, 3); sum[n] = $3; attributes[n] = $4 " " $5; path[n] = $7 }
		$1 == "T" { split($2, f, " "); there[substr($2, length(f[1]) + length(f[2]) + 3)] = f[1] " " f[2] }
		$1 == "S" { have[substr($2, 67)] = substr($2, 1, 64) }
		END {
			for (i = 1; i <= n; i++) {
				p = path[i]
				if (!(p in there)) print "create", line[i]
				else if (have[p] != sum[i] || substr(there[p], 1, 1) != "8" || length(there[p]) < 5) print "update", line[i]
				else if (there[p] != attributes[i]) print "update", line[i]
			}
		}'
}

# fresh PATH: that there can be a file, in `dir`.
fresh() {
	local out
	dir=${1%/*}
	dir=${dir:-/}
	if [ -d "$1" ] && [ ! -h "$1" ]; then
		fail "$1 is a folder, and a file belongs there"
		return 1
	fi
	[ ! -d "$dir" ] || return 0
	remember_folders "$dir" || return 1
	out=$(into "$dir" make 2>&1) || fail "cannot make $dir: $out"
}

# place NUMBER MODE(hexadecimal) OWNER PATH NOTES: the new file in the place of the old one, at once and complete.
place() {
	local mode out dir
	mode=$(printf '%o' "$((0x$2 & 0xfff))")
	fresh "$4" || return 1
	remember_file "$4" "$5" || return 1
	out=$(staged "$dir" write "$1" "$mode" "$3" "${4##*/}" 2>&1) || fail "failed to write $4: $out"
}

# Files with a check can be taken back, also by the next run when this one is killed.
undo_begin() {
	undo_forget && mkdir -p "$undo" && : >"$undo/list"
}

undo_save() {
	local was=absent
	if [ -e "$2" ] || [ -h "$2" ]; then
		was=there
		staged "${2%/*}" copy "${2##*/}" "$undo/$1" || return 1
	fi
	printf '%s\t%s\t%s\n' "$1" "$was" "$2" >>"$undo/list"
}

# The list goes first: copies without a list mean nothing.
undo_forget() {
	rm -f "$undo/list" && rm -rf "$undo"
}

undo_all() {
	local number was path status=0
	if [ ! -e "$undo/list" ]; then
		# Copies that a kill left behind their list.
		[ ! -d "$undo" ] || undo_forget
		return
	fi
	while IFS="$tab" read -r number was path; do
		if [ "$was" = there ]; then
			staged "${path%/*}" restore "$undo/$number" "${path##*/}"
		else
			removed "$path"
		fi || status=1
	done <"$undo/list"
	undo_forget && return "$status"
}

# try LINES CHECK: all of them in place, then the check; on failure all as before.
try() {
	local change number sum mode owner note path out owed
	error=
	owed=$(cat "$pending")
	undo_begin || {
		fail "cannot write to $undo"
		return 1
	}
	while IFS="$tab" read -r change number sum mode owner note path; do
		owe "$note" || error=${error:-cannot write "$pending"}
		[ -n "$error" ] || out=$(undo_save "$number" "$path" 2>&1) || error="failed to keep the old $path: $out"
		if [ -n "$error" ] || ! place "$number" "$mode" "$owner" "$path" "$note"; then
			undo_all
			return 1
		fi
	done <<-LINES
		$1
	LINES
	if ! out=$(run_text 120 "$2"); then
		# With the old files, nothing has to follow.
		if undo_all; then
			printf '%s\n' "$owed" >"$pending"
			fail "the check \`$2\` failed, so the old files are back: $(last "$out")"
		else
			fail "the check \`$2\` failed, and not all of the old files could be put back: $(last "$out")"
		fi
		return 1
	fi
	undo_forget
	placed "$1"
}

# placed LINES: reports them.
placed() {
	local change number sum mode owner note path
	while IFS="$tab" read -r change number sum mode owner note path; do
		due "$note"
		act file path "$path" "$change"
		# Other sources, other lists.
		case $path in /etc/apt/sources.list*) [ "$acting" != true ] || { apt_updated= && rm -f "$state/lists"; } ;; esac
	done <<-LINES
		$1
	LINES
}

# files GROUP CHECK ONE_OF_MANY: the files of a manifest.
files() {
	local todo line bad='' change number sum mode owner note path
	todo=$("manifest_$1" | differing)
	[ -n "$todo" ] || return 0
	if [ "$acting" != true ]; then
		placed "$todo"
		return 0
	fi
	begin_change || return 1
	if [ -z "$2" ]; then
		while IFS="$tab" read -r change number sum mode owner note path; do
			owe "$note" || return 1
			place "$number" "$mode" "$owner" "$path" "$note" || return 1
			placed "$change$tab$number$tab$sum$tab$mode$tab$owner$tab$note$tab$path"
		done <<-LINES
			$todo
		LINES
		return 0
	fi
	try "$todo" "$2" && return 0
	[ "$3" = true ] || return 1
	# One of many is bad: the others need not wait for it. The feature still counts as failed.
	while IFS= read -r line; do
		try "$line" "$2" || bad="$bad${bad:+$nl}${line##*"$tab"}: $error"
	done <<-LINES
		$todo
	LINES
	error=
	later=$bad
}

# with_block NUMBER WORD: standard input, with the block in it.
with_block() {
	BODY=$("content_$1") WORD=$2 awk '
		{ lines[++n] = $0 }
		END {
			begin = "# BEGIN phoenix " ENVIRON["WORD"]
			end = "# END phoenix " ENVIRON["WORD"]
			body = ENVIRON["BODY"] == "" ? "" : begin "\n" ENVIRON["BODY"] "\n" end
			if (n == 1 && lines[1] == "") n = 0
			for (i = 1; i <= n; i++) {
				if (lines[i] == begin) {
					# Without its end it is no block, and what follows is not ours.
					for (j = i + 1; j <= n && lines[j] != end && lines[j] != begin; j++);
					if (body != "" && !put++) print body
					if (j <= n && lines[j] == end) i = j
				} else if (lines[i] != end) print lines[i]
			}
			if (body != "" && !put) print body
		}'
}

# block NUMBER MODE OWNER NOTES WORD CHECK PATH: the lines between two markers of a file that others write too.
block() {
	local path="$7" old='' out dir mode
	if [ -f "$path" ]; then old=$(run 30 cat -- "$path"); fi
	[ "$(printf '%s\n' "$old" | with_block "$1" "$5")" = "$old" ] && return 0
	local change=update
	[ -e "$path" ] || change=create
	if [ "$acting" = true ]; then
		begin_change || return 1
		owe "$4" || return 1
		fresh "$path" || return 1
		local how=into
		[ "$change" = update ] || how=new
		if [ "$1" != none ]; then remember "block:$5" "$path" "$how" "$4" || return 1; fi
		mode=$(printf '%o' "$((0x$2 & 0xfff))")
		if ! out=$({ undo_begin && undo_save "$1" "$path"; } 2>&1); then
			undo_forget
			fail "cannot keep the old $path: $out"
			return 1
		fi
		out=$(staged "$dir" write_block "$1" "$mode" "$3" "${path##*/}" "$5" 2>&1) || {
			undo_forget
			fail "failed to write $path: $out"
			return 1
		}
		if [ -n "$6" ] && ! out=$(run_text 120 "$6"); then
			if undo_all; then
				fail "the check \`$6\` failed, so the old $path is back: $(last "$out")"
			else
				fail "the check \`$6\` failed, and the old $path could not be put back: $(last "$out")"
			fi
			return 1
		fi
		undo_forget
	fi
	due "$4"
	act file path "$path" "$change"
}

# prune NUMBER FOLDER DEPTH PATTERN NOTES: removes what matches and neither is in the list of that number nor was put there
# by another feature, which may not be in this script.
prune() {
	local gone path out
	[ -d "$2" ] || return 0
	out=$(into "$2" 2>&1) || {
		fail "$2 cannot be tidied: $out"
		return 1
	}
	# shellcheck disable=SC2086 # the depth is two words or none
	gone=$({
		"keep_$1" | sed 's/^/K/'
		printf '%s' "$others" | sed -n "s/^file$tab\([^$tab]*\)$tab.*/K\1/p"
		(into "$2" && find . -xdev -mindepth 1 $3 ! -type d -name "$4" ! -name "*$nl*" -printf 'F%P\n')
	} | awk -v dir="$2/" '
		/^K/ { keep[substr($0, 2)] = 1 }
		/^F/ { p = dir substr($0, 2); if (!(p in keep)) print p }' | sort)
	[ -n "$gone" ] || return 0
	if [ "$acting" = true ]; then
		begin_change || return 1
		owe "$5" || return 1
	fi
	while IFS= read -r path; do
		if [ "$acting" = true ]; then
			out=$(removed "$path" 2>&1) || {
				fail "failed to remove $path: $out"
				return 1
			}
		fi
		due "$5"
		act file path "$path" remove
	done <<-LINES
		$gone
	LINES
	if [ "$acting" = true ] && [ -z "$3" ]; then (into "$2" && find . -xdev -mindepth 1 -type d -empty -delete); fi
	return 0
}

# ---- commands and units --------------------------------------------------------------------------------------------

# command_ ID NAME RUN UNLESS NOTES UNDO: the last is what its record says of how it is taken back.
command_() {
	local out
	if ! is_due "run:$1"; then
		[ -n "$4" ] || return 0
		run_text 60 "$4" >/dev/null && return 0
	fi
	if [ "$acting" = true ]; then
		begin_change || return 1
		if [ -n "${6:-}" ]; then remember undo "$feature/$1" new "$6" || return 1; fi
		owe "run:$1"
		owe "$5" || return 1
		out=$(run_text 900 "$3") || {
			fail "\"$2\" failed: $(last "$out")"
			return 1
		}
		printf '%s\n' "$out" >&2
		if [ -n "$4" ] && ! out=$(run_text 60 "$4"); then
			fail "\"$2\" was run, but \`$4\` still fails: $(last "$out")"
			return 1
		fi
	fi
	due "$5"
	act command name "$2" run
}

# journal UNIT: what it said last.
journal() { journalctl -u "$1" -n 15 --no-pager -o cat 2>/dev/null; }

# systemd UNIT VERB: with the end of the unit's journal where it fails.
systemd() {
	local out
	[ "$acting" = true ] || return 0
	begin_change || return 1
	if [ ! -d /run/systemd/system ]; then
		case $2 in enable | disable | unmask) ;; *)
			fail "cannot $2 $1: systemd does not run in this guest"
			return 1
			;;
		esac
	fi
	out=$(run 300 systemctl --no-ask-password "$2" "$1") && return 0
	fail "failed to $2 $1: $(last "$out")$nl$(journal "$1")"
}

reload_units() {
	is_due daemon-reload || return 0
	[ "$acting" = true ] && [ -d /run/systemd/system ] || return 0
	local out
	out=$(run 120 systemctl daemon-reload) || fail "systemd cannot reload its units: $(last "$out")"
}

# unit NAME ENABLED RUNNING
unit() {
	local is active was file=$1
	is=$(systemctl is-enabled "$1" 2>/dev/null)
	active=$(systemctl is-active "$1" 2>/dev/null)
	was=${active:-none}
	# One that the feature brought did not run before, whoever has started it by now.
	case $file in *.*) ;; *) file=$file.service ;; esac
	case $recorded in *"${nl}file$tab/etc/systemd/system/$file${tab}new$tab"*) was=inactive ;; esac
	remember unit "$1" "${is:-none}/$was" - || return 1
	if [ "$2" = true ]; then
		case $is in
		enabled | enabled-runtime | static | alias | indirect | generated | transient) ;;
		*)
			case $is in masked*) systemd "$1" unmask || return 1 ;; esac
			systemd "$1" enable || return 1
			act unit name "$1" enable
			;;
		esac
	else
		case $is in
		enabled | enabled-runtime)
			systemd "$1" disable || return 1
			act unit name "$1" disable
			;;
		esac
	fi
	is=$active
	if [ "$3" = true ]; then
		running="$running $1"
		case $is in
		active | activating | reloading)
			refresh "$1" || return 1
			;;
		*)
			[ "$is" = failed ] && [ "$acting" = true ] && run 60 systemctl reset-failed "$1" >&2
			systemd "$1" start || return 1
			act unit name "$1" start
			;;
		esac
	else
		case $is in
		active | activating | reloading)
			systemd "$1" stop || return 1
			act unit name "$1" stop
			;;
		esac
	fi
}

# refresh UNIT: restarts or reloads a running unit whose files changed.
refresh() {
	if is_due "restart:$1"; then
		systemd "$1" restart || return 1
		act unit name "$1" restart
	elif is_due "reload:$1"; then
		systemd "$1" reload-or-restart || return 1
		act unit name "$1" reload
	fi
}

# other_unit NAME: one that a file names, but that the feature does not look after.
other_unit() {
	case $(systemctl is-active "$1" 2>/dev/null) in
	active | activating | reloading) refresh "$1" ;;
	esac
}

# still_up UNIT: a service that dies right after its start has not been started.
still_up() {
	local is
	[ "$acting" = true ] || return 0
	is=$(systemctl is-active "$1" 2>/dev/null)
	case $is in
	failed | inactive)
		fail "$1 is $is:$nl$(journal "$1")"
		return 1
		;;
	esac
}

# ---- health --------------------------------------------------------------------------------------------------------

# health_http URL STATUS: http:// is asked with what every guest has; for https:// the feature brings curl.
health_http() {
	local status rest server path
	case $1 in
	http://*)
		rest=${1#*://}
		server=${rest%%/*}
		path=/
		case $rest in */*) path=/${rest#*/} ;; esac
		case $server in *:*) ;; *) server=$server:80 ;; esac
		# shellcheck disable=SC2016 # for bash
		status=$(run 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n" "$2" "$0" >&3 &&
			IFS= read -r line <&3 && printf %s "$line"' "${server%:*}" "${server##*:}" "$path") || {
			printf '%s' "${status:-no answer}"
			return 1
		}
		case $status in
		HTTP/*\ [1-5][0-9][0-9]*) status=${status#* } status=${status%"${status#???}"} ;;
		*)
			printf 'what it answers is no HTTP'
			return 1
			;;
		esac
		;;
	*)
		status=$(run 10 curl -s -S -o /dev/null -m 5 --noproxy '*' -w '%{http_code}' "$1") || {
			printf '%s' "$status"
			return 1
		}
		;;
	esac
	if [ -n "$2" ]; then [ "$status" = "$2" ] && return 0; else [ "$status" -lt 400 ] && return 0; fi
	printf 'it answers %s' "$status"
	return 1
}

# shellcheck disable=SC2016 # it is bash that fills in its own arguments
health_tcp() { run 5 bash -c 'exec 4<>"/dev/tcp/$0/$1"' "$1" "$2"; }

health_command() { run_text 30 "$1"; }

# health SECONDS WHAT KIND ARGUMENT ARGUMENT: tried again until then.
health() {
	local until out unit
	[ "$acting" = true ] || return 0
	until=$(($(date +%s) + $1))
	while :; do
		out=$("health_$3" "$4" "${5:-}") && return 0
		[ "$(date +%s)" -lt "$until" ] || break
		sleep 0.3
	done
	local after=" after $1 s"
	[ "$1" = 0 ] && after=
	out="$2 is not healthy$after: $(last "$out")"
	# Why nobody answers is mostly in the journal of who should.
	for unit in $running; do
		[ "$(systemctl is-active "$unit" 2>/dev/null)" = active ] || out="$out$nl$(journal "$unit")"
	done
	fail "$out"
}

# ---- a feature, and all of them ------------------------------------------------------------------------------------

clean() {
	[ "$acting" = true ] || return 0
	[ -n "$policy_ours" ] && release_services
	[ -n "$undo" ] && [ -e "$undo/list" ] && undo_all
	if [ -n "$pending" ] && [ -e "$pending" ]; then
		sed -n 's/^temp://p' "$pending" | sort -u | while IFS= read -r path; do
			if [ -e "$path" ] || [ -h "$path" ]; then (into "${path%/*}" && rm -rf -- "./${path##*/}"); fi
		done
	fi
	return 0
}

# enter NAME: what follows is of this feature.
enter() {
	feature=$1
	pending=$state/pending/$feature
	undo=$state/undo/$feature
	changed=0
	error=
	later=
	notes=
	running=
	began=
	load_record
}

# failed: says so.
failed() {
	printf '%s: %s\n' "$feature" "$error" >&2
	say "{\"feature\":\"$feature\",\"result\":\"failed\",\"changed\":$changed,\"error\":\"$(printf '%s' "$error" | escape)\"}"
}

# feature NUMBER NAME FINGERPRINT
feature() {
	enter "$2"
	fingerprint=$3
	# What was done ahead of its turn.
	eval "changed=\${before_$1:-0}"
	if [ "$acting" = true ]; then
		undo_all
		clean
	fi
	# What a run that was killed still owed.
	if [ -e "$pending" ]; then
		notes=,$(sed '/^temp:/d' "$pending" | sort -u | tr '\n' ',')
		notes=$(printf '%s' "$notes" | sed 's/,/,,/g')
		[ "$acting" = true ] && { begin_change || :; }
		[ "$acting" != true ] || [ -n "$error" ] || carried_on
	fi
	if [ -z "$error" ]; then
		if "feature_$1"; then :; else error=${error:-failed}; fi
		error=$error${error:+${later:+$nl}}$later
	fi
	total=$((total + changed))
	if [ -n "$error" ]; then
		failed
		return 1
	fi
	if [ "$acting" = true ]; then
		clean
		set_back
		if ! write_record keep; then
			say "{\"feature\":\"$feature\",\"result\":\"failed\",\"changed\":$changed,\"error\":\"cannot write $record\"}"
			return 1
		fi
		rm -f "$pending"
	fi
	say "{\"feature\":\"$feature\",\"result\":\"ok\",\"changed\":$changed}"
}

skipped() {
	say "{\"feature\":\"$1\",\"result\":\"skipped\",\"changed\":0,\"error\":\"$feature failed before it\"}"
}

main() {
	exec 3>&1 1>&2
	if [ "$acting" = true ]; then
		trap clean EXIT
		trap 'exit 129' HUP
		trap 'exit 130' INT
		trap 'exit 143' TERM
		# Open to the users who may read a key below it, whoever made it.
		mkdir -p /etc/phoenix && chmod 0755 /etc/phoenix
		mkdir -p "$state/pending" && chmod 0711 "$state" && chmod 0700 "$state/pending"
	fi
	# Never two at once in a guest. A folder is the lock, so that checking need not write anything; one that nobody else can
	# open, or they could hold it.
	if [ -d "$state/pending" ]; then
		exec 9<"$state/pending"
		if ! flock -w 120 9; then
			say '{"result":"failed","changed":0,"error":"another script of Phoenix has been running in this guest for 120 s"}'
			return 1
		fi
	fi
	[ "$acting" = true ] && release_services
	local ok=1
	all || ok=
	# What is said to be there is there after a power cut, too. A container's file system is its node's, and all guests' at once.
	if [ "$acting" = true ] && [ "$total" != 0 ] && [ ! -e "$contained" ]; then run 60 sync -f "$state" >&2; fi
	if [ -n "$ok" ]; then
		say "{\"result\":\"ok\",\"changed\":$total}"
	else
		say "{\"result\":\"failed\",\"changed\":$total}"
		return 1
	fi
}
